//! Two ports of one process, joined by rings: the purest wire there is.
//!
//! Frames pass by pointer: a buffer that one port sent is received by the other,
//! and goes back to the sender's pool.

use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dpdk_sys::rte_ring;

use crate::eal::Eal;
use crate::error::{Error, errno_text, rte_errno};
use crate::info;
use crate::log_capture::{self, Listening};
use crate::mempool::Mempool;

/// The size of a pair of ring ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RingConfig {
    /// Tells several pairs of one process apart; at most 16 letters and digits.
    pub name: String,
    /// Pairs of queues of each port; queue N of one leads to queue N of the other.
    pub queues: u16,
    /// Frames that fit into each direction of a queue; rounded up to a power of two,
    /// of which one place stays free.
    pub slots: u32,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self {
            name: "crore".into(),
            queues: 1,
            slots: 1024,
        }
    }
}

/// Makes two ports that are each other's peer, and returns their names for
/// [`Port::open`](crate::Port::open).
///
/// # Errors
/// When the name is taken or can't be one, or memory is short.
pub fn ring_ports(eal: &Eal, config: &RingConfig) -> Result<(String, String), Error> {
    if config.name.is_empty()
        || config.name.len() > 16
        || !config.name.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(Error::BadArgument {
            what: format!("name of rings `{}`", config.name),
            why: "has to be 1 to 16 letters and digits".into(),
        });
    }
    let _listening = Listening::start();
    let mut wire = RingWire {
        rings: Vec::new(),
        pools: Mutex::new(Vec::new()),
        _eal: eal.clone(),
    };
    for direction in ["ab", "ba"] {
        for queue in 0..config.queues {
            wire.add(&format!("{}-{direction}-{queue}", config.name), config.slots)?;
        }
    }
    let (ab, ba) = wire.rings.split_at(usize::from(config.queues));
    let first = port(&format!("{}-a", config.name), ba, ab)?;
    let second = port(&format!("{}-b", config.name), ab, ba)?;
    let wire = Arc::new(wire);
    let mut wires = WIRES.lock().unwrap_or_else(PoisonError::into_inner);
    for name in [&first, &second] {
        wires.insert(name.clone(), Pending::Unopened(Arc::clone(&wire)));
    }
    Ok((first, second))
}

/// The rings under a pair of ports, until both are closed.
#[derive(Debug)]
pub(crate) struct RingWire {
    rings: Vec<NonNull<rte_ring>>,
    /// Pools whose buffers may be in the rings.
    pools: Mutex<Vec<Mempool>>,
    _eal: Eal,
}

// SAFETY: the rings are touched by the drivers of the ports, and by `drop`, when
// both ports are closed.
unsafe impl Send for RingWire {}
// SAFETY: as above; `pools` has its lock.
unsafe impl Sync for RingWire {}

#[derive(Debug)]
enum Pending {
    /// Until the port is opened, this keeps the rings.
    Unopened(Arc<RingWire>),
    Opened(Weak<RingWire>),
}

static WIRES: Mutex<BTreeMap<String, Pending>> = Mutex::new(BTreeMap::new());

impl RingWire {
    /// The wire under the port of this name, if it is one of a pair; its buffers may
    /// come from `pool` from now on.
    pub(crate) fn of(port: &str, pool: &Mempool) -> Option<Arc<Self>> {
        let mut wires = WIRES.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = wires.get_mut(port)?;
        let wire = match pending {
            Pending::Unopened(wire) => Arc::clone(wire),
            Pending::Opened(wire) => wire.upgrade()?,
        };
        *pending = Pending::Opened(Arc::downgrade(&wire));
        wire.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pool.clone());
        Some(wire)
    }

    fn add(&mut self, name: &str, slots: u32) -> Result<(), Error> {
        const ANY_NODE: i32 = -1;
        let text = CString::new(name).unwrap_or_default();
        let flags = dpdk_sys::RING_F_SP_ENQ | dpdk_sys::RING_F_SC_DEQ;
        let slots = slots.clamp(64, 1 << 20).next_power_of_two();
        // SAFETY: EAL is up; the name is copied. One thread sends and one receives on
        // each queue, which is what the flags promise.
        let ring = unsafe { dpdk_sys::rte_ring_create(text.as_ptr(), slots, ANY_NODE, flags) };
        match NonNull::new(ring) {
            Some(ring) => {
                self.rings.push(ring);
                Ok(())
            }
            None => Err(Error::Call {
                call: "rte_ring_create",
                said: log_capture::said().unwrap_or_else(|| errno_text(rte_errno())),
            }),
        }
    }
}

impl Drop for RingWire {
    fn drop(&mut self) {
        for ring in &self.rings {
            // SAFETY: both ports are closed or were never opened, so nobody else touches
            // the ring; what is in it are mbufs whose pools are still held in `pools`.
            unsafe {
                dpdk_sys::crore_ring_drain(ring.as_ptr());
                dpdk_sys::rte_ring_free(ring.as_ptr());
            }
        }
    }
}

fn port(name: &str, rx: &[NonNull<rte_ring>], tx: &[NonNull<rte_ring>]) -> Result<String, Error> {
    let text = CString::new(name).unwrap_or_default();
    let raw = |rings: &[NonNull<rte_ring>]| rings.iter().map(|ring| ring.as_ptr()).collect::<Vec<_>>();
    let (rx, tx) = (raw(rx), raw(tx));
    // SAFETY: arrays of live rings with the lengths given; DPDK copies both arrays.
    let id = unsafe {
        dpdk_sys::rte_eth_from_rings(
            text.as_ptr(),
            rx.as_ptr(),
            rx.len() as u32,
            tx.as_ptr(),
            tx.len() as u32,
            0,
        )
    };
    match u16::try_from(id) {
        Ok(id) => Ok(info::name(id)),
        Err(_) => Err(Error::Call {
            call: "rte_eth_from_rings",
            said: log_capture::said().unwrap_or_else(|| errno_text(rte_errno())),
        }),
    }
}
