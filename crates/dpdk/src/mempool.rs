//! Pools of packet buffers.
//!
//! Always true: a pool is freed only when each of its buffers has come back; else
//! it (and the EAL under it) stays for the rest of the process, since somebody
//! still points into it.

use core::ptr::NonNull;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::eal::Eal;
use crate::error::{Error, errno_text, rte_errno};
use crate::log_capture::{self, Listening};
use crate::wire::Wire;

/// The size of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MempoolConfig {
    /// How many buffers. Count the descriptors of all queues that it feeds, what
    /// applications hold unread, and caches (512 for each polling thread).
    pub buffers: u32,
    /// Bytes of a frame that fit into one buffer.
    pub frame: u16,
    /// Buffers kept by each polling thread, at most 512.
    pub cache: u16,
    /// The NUMA node; `None`: any.
    pub numa_node: Option<u32>,
}

impl Default for MempoolConfig {
    /// 16,383 buffers (37 MiB) for frames of an MTU of 1500.
    fn default() -> Self {
        Self {
            buffers: 16_383,
            frame: 2048,
            cache: 256,
            numa_node: None,
        }
    }
}

impl MempoolConfig {
    /// Bytes of memory that the pool takes: for each buffer its frame, the
    /// headroom before it, the mbuf, and the pool's own word, each on cache
    /// lines of its own.
    pub const fn bytes(&self) -> u64 {
        const LINE: u64 = 64;
        let data = (self.frame as u64 + dpdk_sys::CRORE_MBUF_HEADROOM as u64).div_ceil(LINE) * LINE;
        let each = LINE + size_of::<dpdk_sys::rte_mbuf>() as u64 + data;
        self.buffers as u64 * each
    }

    /// Buffers for a port on this wire with this IP MTU.
    pub fn for_wire(buffers: u32, wire: &Wire, mtu: u16) -> Self {
        Self {
            buffers,
            frame: wire.buffer_frame(mtu),
            ..Self::default()
        }
    }
}

/// A pool of packet buffers: a cheap handle that any thread may hold.
#[derive(Clone, Debug)]
pub struct Mempool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raw: NonNull<dpdk_sys::rte_mempool>,
    config: MempoolConfig,
    /// Bytes of each buffer, headroom included.
    size: u16,
    /// A driver is known not to give back all that it took.
    losses: AtomicBool,
    /// Keeps EAL up; leaked with the pool when buffers are still out.
    eal: Eal,
}

// SAFETY: rte_mempool is made for concurrent use: its ring is multi-producer and
// multi-consumer, and each cache belongs to one registered thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Mempool {
    /// Makes a pool.
    ///
    /// # Errors
    /// [`Error::Mempool`], usually for want of packet memory.
    pub fn new(eal: &Eal, config: MempoolConfig) -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        const HEADROOM: u32 = dpdk_sys::CRORE_MBUF_HEADROOM;
        const ANY_NODE: i32 = -1;
        let size = u16::try_from(u32::from(config.frame) + HEADROOM).map_err(|_| Error::BadArgument {
            what: format!("frames of {} bytes", config.frame),
            why: format!("a buffer holds at most {}", u32::from(u16::MAX) - HEADROOM),
        })?;
        // rte_mempool refuses a cache of 1.5 times itself beyond the pool.
        let cache = u32::from(config.cache.min(512)).min(config.buffers * 2 / 3);
        let name = format!("crore-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).unwrap_or_default();
        let node = config.numa_node.map_or(ANY_NODE, |node| node as i32);
        let _listening = Listening::start();
        // SAFETY: EAL is up (`eal`); the name is NUL-terminated and copied by DPDK.
        let raw =
            unsafe { dpdk_sys::rte_pktmbuf_pool_create(name.as_ptr(), config.buffers, cache, 0, size, node) };
        let raw = NonNull::new(raw).ok_or_else(|| Error::Mempool {
            count: config.buffers,
            size,
            said: log_capture::said().unwrap_or_else(|| errno_text(rte_errno())),
            hint: if eal.uses_huge_pages() {
                "give DPDK more huge pages, or ask for fewer buffers"
            } else {
                "raise the amount of packet memory, or ask for fewer buffers"
            },
        })?;
        Ok(Self(Arc::new(Inner {
            raw,
            config,
            size,
            losses: AtomicBool::new(false),
            eal: eal.clone(),
        })))
    }

    /// Buffers that are out: with an application, in a driver's rings, or on a wire
    /// inside this process. Walks every thread's cache, so it is not for each packet;
    /// exact only while nobody takes or gives back.
    pub fn in_use(&self) -> u32 {
        self.0.in_use()
    }

    /// Buffers that are free, with [`Mempool::in_use`]'s cost and exactness.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.0.raw.as_ptr()) }
    }

    /// How it was made.
    pub fn config(&self) -> &MempoolConfig {
        &self.0.config
    }

    pub(crate) fn raw(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.raw.as_ptr()
    }

    pub(crate) fn expect_losses(&self) {
        self.0.losses.store(true, Ordering::Relaxed);
    }

    pub(crate) fn buffer_bytes(&self) -> u16 {
        self.0.size
    }
}

impl Inner {
    fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let out = self.in_use();
        if out == 0 {
            // SAFETY: this was the last handle, and no buffer of the pool is out.
            unsafe { dpdk_sys::rte_mempool_free(self.raw.as_ptr()) };
        } else {
            let level = if self.losses.load(Ordering::Relaxed) {
                log::Level::Debug
            } else {
                log::Level::Warn
            };
            log::log!(
                level,
                "{out} packet buffers are still held while their pool goes; it stays in memory"
            );
            core::mem::forget(self.eal.clone());
        }
    }
}
