//! A pair of queues as the stack's NIC.
//!
//! Always true: a frame that was committed is sent in order or still kept; a full
//! ring or a dry pool shows in `reserve`, before anything is promised; each
//! buffer is in one place: the cache, the reservation, the backlog, the driver, or
//! a chunk.

use core::fmt;
use core::ptr::{self, NonNull};

use crore_base::{Instant, RxChecksum};
use crore_netbuf::{Chunk, ExternalVtable};
use crore_nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use dpdk_sys::{crore_frame, rte_mbuf};

use crate::error::Error;
use crate::mbuf;
use crate::mempool::Mempool;
use crate::port::Port;
use crate::queue::{QueuePair, RxQueue, TxQueue};

/// Frames kept behind a full ring. Eight bursts: enough to ride out a peer that
/// stops for some microseconds, little enough that what is kept is not stale.
const BACKLOG: usize = 8 * BURST;
/// Buffers taken from the pool at once.
const REFILL: usize = 32;
/// Buffers of one large segment, at most: what 64 KiB take in buffers of 2 KiB, and
/// some. (A ring has several times as many descriptors.)
const MAX_SEGMENTS: u8 = 40;
/// The pool counts as low while less than a quarter of it is free: a receive ring
/// refilled from an empty pool would stop receiving ACKs as well.
const LOW_SHARE: u32 = 4;

/// One receive queue and one transmit queue of a port, as a [`Nic`]. Belongs to
/// the thread that made it.
pub struct PortNic {
    // Dropped in this order: buffers go back before the queues (and with them,
    // perhaps, the port) and the pool go.
    cache: Cache,
    large: Option<Large>,
    /// What `reserve` was asked for last.
    asked: usize,
    backlog: Backlog,
    /// Where a burst is described; empty between bursts. Kept, since clearing it costs
    /// more than an empty poll.
    frames: Box<[crore_frame; BURST]>,
    rx: RxQueue,
    tx: TxQueue,
    /// Where buffers to send come from; that of the port.
    pool: Mempool,
    vtable: &'static ExternalVtable,
    capabilities: Capabilities,
    pressure: Pressure,
}

impl fmt::Debug for PortNic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortNic")
            .field("rx", &self.rx)
            .field("backlog", &self.backlog())
            .field("pressure", &self.pressure)
            .finish_non_exhaustive()
    }
}

impl PortNic {
    /// Claims the queues for the calling thread.
    ///
    /// # Errors
    /// When EAL has no id left for the thread.
    pub fn new(queues: QueuePair) -> Result<Self, Error> {
        let port = queues.port().clone();
        let (rx, tx) = queues.claim()?;
        let pool = port.pool().clone();
        let offloads = port.offloads();
        Ok(Self {
            rx,
            tx,
            capabilities: Capabilities {
                mac: port.mac(),
                mtu: port.mtu(),
                tx_ipv4_checksum: offloads.tx_ipv4_checksum,
                tx_tcp_checksum: offloads.tx_tcp_checksum,
                tx_tso: offloads.tso && offloads.tx_tcp_checksum,
                rx_checksum: offloads.rx_checksum,
            },
            vtable: mbuf::vtable(pool.buffer_bytes()),
            pressure: Pressure::new(&pool),
            pool,
            frames: Box::new([EMPTY; BURST]),
            cache: Cache {
                mbufs: [ptr::null_mut(); REFILL],
                len: 0,
            },
            large: None,
            asked: 0,
            backlog: Backlog {
                mbufs: Vec::with_capacity(BACKLOG),
            },
        })
    }

    /// The port, for its counters and its link.
    pub fn port(&self) -> &Port {
        self.rx.port()
    }

    /// Frames kept behind a full ring.
    pub fn backlog(&self) -> usize {
        self.backlog.mbufs.len()
    }

    /// The queues, to be used without the NIC's bookkeeping. What is kept is given
    /// back to the pool.
    pub(crate) fn queues(&mut self) -> (&mut RxQueue, &mut TxQueue) {
        (&mut self.rx, &mut self.tx)
    }
}

impl Nic for PortNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, into: &mut Vec<RxFrame>) -> usize {
        let got = self.rx.frames(self.frames.as_mut_slice());
        if got == 0 {
            self.pressure.idle(&self.pool);
            return 0;
        }
        into.reserve(got);
        for frame in &self.frames[..got] {
            let Some(mbuf) = NonNull::new(frame.mbuf) else {
                continue;
            };
            into.push(RxFrame {
                data: self.chunk(mbuf, frame),
                checksum: verdict(frame.ol_flags),
            });
        }
        self.pressure.used(got as u32, &self.pool);
        got
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.large = None;
        self.asked = len;
        if self.backlog.is_full() {
            self.backlog.send(&mut self.tx);
            if self.backlog.is_full() {
                return None;
            }
        }
        if self.cache.len == 0 {
            self.cache.refill(&self.pool);
        }
        let mbuf = self.cache.top()?;
        // SAFETY: the cache owns a live, fresh mbuf.
        let (data, room) = unsafe { mbuf::data_room(mbuf) };
        if len > room {
            return None;
        }
        // SAFETY: `room` bytes from `data` lie in the mbuf's buffer (mapped memory that
        // DPDK handed out, any bytes are valid), and nobody else has the mbuf while
        // `self` is borrowed.
        Some(unsafe { core::slice::from_raw_parts_mut(data.as_ptr(), room) })
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        // While the ring takes nothing more, what is kept is to pin few buffers.
        if !self.capabilities.tx_tso || self.backlog.mbufs.len() >= BURST {
            return None;
        }
        if self.large.is_none() {
            let head = self.cache.top().expect("extend follows a reserve that gave room");
            // SAFETY: the cache owns a live, fresh mbuf; what was asked for fits it, as
            // `reserve` has checked.
            unsafe { mbuf::finish(head, self.asked as u16, 0, 0) };
            self.cache.len -= 1;
            self.large = Some(Large {
                head,
                last: head,
                len: self.asked,
                segments: 1,
            });
        }
        if self.cache.len == 0 {
            self.cache.refill(&self.pool);
        }
        let next = self.cache.top()?;
        let large = self.large.as_mut()?;
        // SAFETY: the cache owns a live, fresh mbuf.
        let (data, room) = unsafe { mbuf::data_room(next) };
        let len = len.min(room);
        if len == 0 || large.segments >= MAX_SEGMENTS {
            return None;
        }
        self.cache.len -= 1;
        // SAFETY: all are live and, from here on, `large`'s; `len` fits, and so fits 16 bits.
        unsafe { mbuf::append(large.head, large.last, next, len as u16) };
        large.last = next;
        large.len += len;
        large.segments += 1;
        // SAFETY: as in `reserve`; `large` has the mbuf while `self` is borrowed.
        Some(unsafe { core::slice::from_raw_parts_mut(data.as_ptr(), len) })
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        let (flags, lengths) = self.offload_words(meta);
        if let Some(large) = self.large.take() {
            assert!(
                len == large.len && meta.segment_len > 0,
                "commit of all that was reserved"
            );
            let head = large.into_head();
            // SAFETY: the chain is this NIC's alone.
            unsafe { mbuf::offload(head, flags, lengths) };
            self.queue_up(head);
            return;
        }
        let mbuf = self.cache.top().expect("commit follows a reserve that gave room");
        // SAFETY: the cache owns a live mbuf.
        let (_, room) = unsafe { mbuf::data_room(mbuf) };
        assert!(len <= room, "commit of no more than was reserved");
        // SAFETY: fresh from the pool, so one segment and one owner; `len` fits `room`,
        // which fits 16 bits.
        unsafe { mbuf::finish(mbuf, len as u16, flags, lengths) };
        self.cache.len -= 1;
        self.queue_up(mbuf);
    }

    fn flush(&mut self, _now: Instant) -> usize {
        self.backlog.send(&mut self.tx);
        self.backlog.mbufs.len()
    }

    fn rx_pressure(&self) -> bool {
        self.pressure.low
    }
}

impl PortNic {
    fn chunk(&self, mbuf: NonNull<rte_mbuf>, frame: &crore_frame) -> Chunk {
        if frame.nb_segs != 1 {
            let chunk = mbuf::copy_chain(mbuf, frame.len as usize);
            // SAFETY: this burst owns the chain, and nothing points into it.
            unsafe { dpdk_sys::crore_free(mbuf.as_ptr()) };
            return chunk;
        }
        let vtable = if self.vtable.footprint == u32::from(frame.buf_len) {
            self.vtable
        } else {
            mbuf::vtable(frame.buf_len)
        };
        // SAFETY: the mbuf's one reference passes to the chunk, whose vtable counts and
        // frees mbufs; `len` bytes from `data` are the frame, which nobody writes to now.
        unsafe { Chunk::from_external(frame.data, frame.len as usize, mbuf.cast(), vtable) }
    }

    #[inline]
    fn queue_up(&mut self, mbuf: NonNull<rte_mbuf>) {
        self.backlog.mbufs.push(mbuf.as_ptr());
        if self.backlog.mbufs.len() == BURST {
            self.backlog.send(&mut self.tx);
        }
    }

    fn offload_words(&self, meta: TxMeta) -> (u64, u64) {
        if !meta.offload_checksum || !self.capabilities.tx_tcp_checksum {
            return (0, 0);
        }
        let ip = match (meta.ipv6, self.capabilities.tx_ipv4_checksum) {
            (true, _) => dpdk_sys::CRORE_TX_IPV6,
            (false, true) => dpdk_sys::CRORE_TX_IPV4 | dpdk_sys::CRORE_TX_IP_CKSUM,
            (false, false) => dpdk_sys::CRORE_TX_IPV4,
        };
        let lengths = u64::from(meta.l2_len)
            | u64::from(meta.l3_len) << dpdk_sys::CRORE_MBUF_L3_LEN_SHIFT
            | u64::from(meta.l4_len) << dpdk_sys::CRORE_MBUF_L4_LEN_SHIFT;
        if meta.segment_len == 0 {
            return (ip | dpdk_sys::CRORE_TX_TCP_CKSUM, lengths);
        }
        // Each segment's IPv4 header is the NIC's to write, and so is its checksum.
        let ip = match meta.ipv6 {
            true => ip,
            false => ip | dpdk_sys::CRORE_TX_IP_CKSUM,
        };
        let each = u64::from(meta.segment_len) << dpdk_sys::CRORE_MBUF_SEGMENT_LEN_SHIFT;
        (
            ip | dpdk_sys::CRORE_TX_TCP_CKSUM | dpdk_sys::CRORE_TX_TCP_SEG,
            lengths | each,
        )
    }
}

impl Drop for PortNic {
    fn drop(&mut self) {
        // The queues, and with them the port, go after this: what is kept gets a last
        // chance, so that a RST sent at shutdown leaves.
        self.backlog.send(&mut self.tx);
    }
}

const EMPTY: crore_frame = crore_frame {
    mbuf: ptr::null_mut(),
    data: ptr::null(),
    ol_flags: 0,
    len: 0,
    buf_len: 0,
    nb_segs: 0,
};

/// What the driver's flags say about a frame's checksums.
fn verdict(flags: u64) -> RxChecksum {
    let l4 = flags & dpdk_sys::CRORE_RX_L4_MASK;
    if flags & dpdk_sys::CRORE_RX_IP_MASK == dpdk_sys::CRORE_RX_IP_BAD || l4 == dpdk_sys::CRORE_RX_L4_BAD {
        RxChecksum::Bad
    } else if l4 == dpdk_sys::CRORE_RX_L4_GOOD {
        // The transport's sum covers the addresses and the length, which are all that
        // matters of an IPv4 header whose own sum the NIC did not look at.
        RxChecksum::Good
    } else if l4 == dpdk_sys::CRORE_RX_L4_NONE {
        // "Not in the packet, but the data is intact": a virtio peer that offloads.
        RxChecksum::Partial
    } else {
        RxChecksum::Unknown
    }
}

/// Fresh buffers, taken from the pool in bulk; the top one is what `reserve` hands out.
#[derive(Debug)]
struct Cache {
    mbufs: [*mut rte_mbuf; REFILL],
    len: usize,
}

impl Cache {
    /// All at once, or (the pool is nearly dry) a single one.
    fn refill(&mut self, pool: &Mempool) {
        for count in [REFILL, 1] {
            // SAFETY: the pool is live; the array has room for `count` and holds nothing.
            let status =
                unsafe { dpdk_sys::crore_alloc_bulk(pool.raw(), self.mbufs.as_mut_ptr(), count as u32) };
            if status == 0 {
                self.len = count;
                return;
            }
        }
    }

    fn top(&self) -> Option<NonNull<rte_mbuf>> {
        NonNull::new(self.mbufs[self.len.checked_sub(1)?])
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        free_all(&mut self.mbufs[..self.len]);
    }
}

/// A frame of several segments that is being written.
#[derive(Debug)]
struct Large {
    head: NonNull<rte_mbuf>,
    last: NonNull<rte_mbuf>,
    /// Bytes of all segments.
    len: usize,
    segments: u8,
}

impl Large {
    fn into_head(self) -> NonNull<rte_mbuf> {
        let head = self.head;
        core::mem::forget(self);
        head
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        // SAFETY: the chain is live, and nobody else has it.
        unsafe { dpdk_sys::crore_free(self.head.as_ptr()) };
    }
}

/// Frames on their way to the ring, in order.
#[derive(Debug)]
struct Backlog {
    mbufs: Vec<*mut rte_mbuf>,
}

impl Backlog {
    fn is_full(&self) -> bool {
        self.mbufs.len() >= BACKLOG
    }

    /// Hands over what the ring takes.
    fn send(&mut self, tx: &mut TxQueue) {
        let mut sent = 0;
        while sent < self.mbufs.len() {
            let end = self.mbufs.len().min(sent + BURST);
            // SAFETY: the backlog owns live mbufs; those that are taken leave it below.
            let taken = unsafe { tx.send(&mut self.mbufs[sent..end]) };
            sent += taken;
            if sent < end {
                break;
            }
        }
        self.mbufs.drain(..sent);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        free_all(&mut self.mbufs);
    }
}

fn free_all(mbufs: &mut [*mut rte_mbuf]) {
    if !mbufs.is_empty() {
        // SAFETY: callers own these live mbufs and forget them after this.
        unsafe { dpdk_sys::rte_pktmbuf_free_bulk(mbufs.as_mut_ptr(), mbufs.len() as u32) };
    }
}

/// Whether the pool is low, looked up seldom: counting walks every thread's cache.
/// With `n` buffers above the mark, the mark can't be reached before `n` were
/// taken, so that is when to look again.
#[derive(Debug)]
struct Pressure {
    low: bool,
    mark: u32,
    budget: u32,
}

impl Pressure {
    /// Never looks more often than each so many frames.
    const LEAST: u32 = 256;
    /// While low, looks again after so many empty polls.
    const IDLE: u32 = 32;

    fn new(pool: &Mempool) -> Self {
        let mut pressure = Self {
            low: false,
            mark: pool.config().buffers / LOW_SHARE,
            budget: 0,
        };
        pressure.look(pool);
        pressure
    }

    #[inline]
    fn used(&mut self, frames: u32, pool: &Mempool) {
        self.budget = self.budget.saturating_sub(frames);
        if self.budget == 0 {
            self.look(pool);
        }
    }

    #[inline]
    fn idle(&mut self, pool: &Mempool) {
        if self.low {
            self.used(Self::LEAST / Self::IDLE, pool);
        }
    }

    fn look(&mut self, pool: &Mempool) {
        let available = pool.available();
        self.low = available < self.mark;
        // Other threads and the send side draw on the pool too: half of the distance.
        self.budget = (available.saturating_sub(self.mark) / 2).max(Self::LEAST);
    }
}
