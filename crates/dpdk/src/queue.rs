//! Queues of a port. Each belongs to the thread that claimed it.

use core::marker::PhantomData;

use crore_base::MacAddr;

use crate::error::Error;
use crate::mbuf::Burst;
use crate::mempool::Mempool;
use crate::port::Port;
use crate::thread::register_thread;

/// A receive queue and a transmit queue of the same number, on their way to the
/// thread that will poll them.
#[derive(Debug)]
pub struct QueuePair {
    port: Port,
    index: u16,
}

impl QueuePair {
    /// Made once for each index, by the port.
    pub(crate) fn new(port: Port, index: u16) -> Self {
        Self { port, index }
    }

    /// The queues' number.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Makes the calling thread the one that polls, and gives it an id of EAL's.
    ///
    /// # Errors
    /// When EAL has no id left for the thread.
    pub fn claim(self) -> Result<(RxQueue, TxQueue), Error> {
        register_thread()?;
        let tx = TxQueue {
            port: self.port.clone(),
            index: self.index,
            here: PhantomData,
        };
        Ok((
            RxQueue {
                port: self.port,
                index: self.index,
                here: PhantomData,
            },
            tx,
        ))
    }
}

/// A receive queue; not `Send`.
#[derive(Debug)]
pub struct RxQueue {
    port: Port,
    index: u16,
    here: PhantomData<*const ()>,
}

impl RxQueue {
    /// Fills what room `into` has with received frames; returns how many.
    pub fn burst(&mut self, into: &mut Burst) -> usize {
        let spare = into.spare();
        // SAFETY: the port is started for as long as its handle lives, this is the only
        // object that polls the queue, and `spare` has as many slots as it says.
        let got = unsafe {
            dpdk_sys::crore_rx_burst(self.port.id(), self.index, spare.as_mut_ptr(), spare.len() as u16)
        };
        // SAFETY: the driver filled that many slots and gave the buffers away.
        unsafe { into.filled(got.into()) };
        got.into()
    }

    /// Takes frames together with what has to be known of each.
    pub(crate) fn frames(&mut self, out: &mut [dpdk_sys::crore_frame]) -> usize {
        let room = out.len().min(usize::from(u16::MAX)) as u16;
        // SAFETY: as in `burst`; the shim takes no more than 64 and than `room`.
        unsafe { dpdk_sys::crore_rx_frames(self.port.id(), self.index, out.as_mut_ptr(), room) }.into()
    }

    /// The port.
    pub fn port(&self) -> &Port {
        &self.port
    }
}

/// A transmit queue; not `Send`.
#[derive(Debug)]
pub struct TxQueue {
    port: Port,
    index: u16,
    here: PhantomData<*const ()>,
}

impl TxQueue {
    /// Sends from the front of `from` what the ring takes; returns how many. The
    /// rest stays in it.
    pub fn burst(&mut self, from: &mut Burst) -> usize {
        let raw = from.raw();
        // SAFETY: every slot holds an owned live mbuf.
        let sent = unsafe { self.send(raw) };
        // SAFETY: the driver owns the first `sent` now.
        unsafe { from.taken(sent) };
        sent
    }

    /// Hands mbufs to the driver; returns how many it took from the front.
    ///
    /// # Safety
    /// Each is a live mbuf that the caller owns; those that were taken are no longer
    /// the caller's.
    pub(crate) unsafe fn send(&mut self, mbufs: &mut [*mut dpdk_sys::rte_mbuf]) -> usize {
        let count = mbufs.len().min(usize::from(u16::MAX)) as u16;
        // SAFETY: the port is started for as long as its handle lives, this is the only
        // object that sends on the queue, and the mbufs are the caller's to give.
        unsafe { dpdk_sys::crore_tx_burst(self.port.id(), self.index, mbufs.as_mut_ptr(), count) }.into()
    }

    /// The port's address.
    pub fn mac(&self) -> MacAddr {
        self.port.mac()
    }

    /// The pool that the port receives into, which serves for sending as well.
    pub fn pool(&self) -> &Mempool {
        self.port.pool()
    }
}
