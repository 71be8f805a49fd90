//! A NIC that loses, doubles, reorders, corrupts, delays and marks, and that can be
//! a way with a narrowest place ([`Bottleneck`]) and losses that come together
//! ([`Bursts`]).
//!
//! [`FaultNic`] works around any [`Nic`], in either direction. Checksum
//! offloads are masked out of its capabilities, so that software finds the
//! corruption. Only bytes from the IP header on are changed, and the damage to a
//! frame lies within eight bits, which the Internet checksum never misses
//! (RFC 1071): a test may hold that no corrupted byte of a TCP stream is
//! delivered, as long as only one wrapper on the way corrupts.
//!
//! Always true: with all probabilities and times 0, frames pass unchanged and in
//! order; no direction holds more than [`HELD_MAX`] frames, or what
//! [`FaultNic::holding`] says; one seed and the same frames at the same times give
//! the same faults.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crore_base::{Duration, Instant, RxChecksum};
use crore_netbuf::Chunk;

use crate::ecn;
use crate::middlebox;
pub use crate::middlebox::AccEcnFate;
use crate::nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use crate::prng::Prng;

mod counts;
mod path;

pub use counts::{FaultCounts, FaultStats};
use path::Way;
pub use path::{Bottleneck, Bursts};

/// The most frames that a direction holds back, unless told otherwise. More would be delayed: they are
/// lost, and counted as overflowed.
pub const HELD_MAX: usize = 4096;

/// The most frames on their way out that the wrapped NIC does not take, before
/// [`Nic::reserve`] answers `None`.
pub const TX_BACKLOG: usize = 256;

/// The longest that a reordered frame is held back beyond its delay: long
/// against a burst, short against a retransmission time-out.
pub const REORDER_HOLD: Duration = Duration::from_millis(1);

const ETHERNET_HEADER: usize = 14;

/// The seed, and what happens in either direction.
#[derive(Clone, Debug, Default)]
pub struct FaultConfig {
    /// Determines all faults.
    pub seed: u64,
    /// What happens to frames received.
    pub rx: Faults,
    /// What happens to frames sent.
    pub tx: Faults,
}

/// What happens to the frames of one direction. Probabilities lie from 0 to 1
/// and are independent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Faults {
    /// That a frame is lost.
    pub loss: f64,
    /// That a frame comes twice.
    pub duplicate: f64,
    /// That a frame is held back by up to [`REORDER_HOLD`].
    pub reorder: f64,
    /// That one byte of a frame is changed.
    pub corrupt: f64,
    /// That a packet that can be marked (ECT) is marked as by a congested router.
    pub mark: f64,
    /// That a packet's ECN field is wiped, as by a middlebox that takes it for
    /// something else.
    pub bleach: f64,
    /// What a middlebox does to segments with the option of accurate ECN.
    pub acc_ecn: AccEcnFate,
    /// By which every frame is delayed.
    pub delay: Duration,
    /// By up to which every frame is delayed in addition.
    pub jitter: Duration,
    /// Losses that come together, besides `loss`.
    pub bursts: Bursts,
    /// The narrowest place, passed after the losses and before the delay.
    pub bottleneck: Bottleneck,
    /// Bytes of the largest IP packet that gets through: larger ones are lost, and
    /// nobody says so (a black hole); 0: all get through.
    pub hole_above: u16,
}

impl Faults {
    /// Whether frames always pass at once and untouched.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Does what [`FaultConfig`] says to the frames of the NIC inside.
pub struct FaultNic<N> {
    inner: N,
    capabilities: Capabilities,
    rx: Direction<RxChecksum>,
    tx: Direction<TxMeta>,
    scratch: Vec<u8>,
    reserved: usize,
    /// Committed, not yet flushed: their faults are drawn when the time is known.
    staged: VecDeque<(Chunk, TxMeta)>,
    arrivals: Vec<RxFrame>,
}

impl<N: Nic> FaultNic<N> {
    /// Wraps `inner`.
    pub fn new(inner: N, config: FaultConfig) -> Self {
        let mut capabilities = inner.capabilities().clone();
        capabilities.tx_ipv4_checksum = false;
        capabilities.tx_tcp_checksum = false;
        capabilities.tx_tso = false;
        capabilities.rx_checksum = false;
        Self {
            scratch: vec![0; ETHERNET_HEADER + usize::from(capabilities.mtu)],
            capabilities,
            rx: Direction::new(config.rx, config.seed, 0),
            tx: Direction::new(config.tx, config.seed, 1),
            inner,
            reserved: 0,
            staged: VecDeque::new(),
            arrivals: Vec::with_capacity(BURST),
        }
    }

    /// Lets each direction hold back up to `frames`, for a path on which more are
    /// under way: at least what its rate carries in its delay, and its queue.
    pub fn holding(mut self, frames: usize) -> Self {
        self.rx.held_max = frames;
        self.tx.held_max = frames;
        self
    }

    /// Changes what happens to frames from now on; what is held stays held.
    pub fn set_faults(&mut self, rx: Faults, tx: Faults) {
        self.rx.faults = rx;
        self.tx.faults = tx;
    }

    /// What was done so far.
    pub fn stats(&self) -> FaultStats {
        FaultStats {
            rx: self.rx.counts,
            tx: self.tx.counts,
        }
    }

    /// Frames held back in both directions.
    pub fn held(&self) -> usize {
        let Self { rx, tx, staged, .. } = self;
        rx.held.len() + rx.ready.len() + tx.held.len() + tx.ready.len() + staged.len()
    }

    /// The NIC inside.
    pub fn inner(&self) -> &N {
        &self.inner
    }

    /// The NIC inside.
    pub fn inner_mut(&mut self) -> &mut N {
        &mut self.inner
    }

    /// Hands to the NIC inside what is due, as far as it takes it.
    fn release_tx(&mut self, now: Instant) -> bool {
        self.tx.release(now);
        let mut handed_over = false;
        while let Some((frame, meta)) = self.tx.ready.front() {
            let Some(buffer) = self.inner.reserve(frame.len()) else {
                break;
            };
            buffer[..frame.len()].copy_from_slice(frame);
            self.inner.commit(frame.len(), *meta);
            self.tx.ready.pop_front();
            self.tx.counts.passed += 1;
            handed_over = true;
        }
        handed_over
    }
}

impl<N: Nic> Nic for FaultNic<N> {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        if self.release_tx(now) {
            self.inner.flush(now);
        }
        if self.rx.ready.len() < BURST {
            self.inner.rx_burst(now, &mut self.arrivals);
        }
        for RxFrame { data, checksum } in self.arrivals.drain(..) {
            let checksum = match checksum {
                // Nothing was ever computed over it: there is nothing to verify.
                RxChecksum::Partial => RxChecksum::Partial,
                RxChecksum::Unknown | RxChecksum::Good | RxChecksum::Bad => RxChecksum::Unknown,
            };
            self.rx.admit(now, data, checksum);
        }
        self.rx.release(now);
        let count = self.rx.ready.len().min(BURST);
        self.rx.counts.passed += count as u64;
        let due = self.rx.ready.drain(..count);
        into.extend(due.map(|(data, checksum)| RxFrame { data, checksum }));
        count
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.reserved = 0;
        if len > self.scratch.len() || self.staged.len() + self.tx.ready.len() >= TX_BACKLOG {
            return None;
        }
        self.reserved = len;
        Some(&mut self.scratch[..len])
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        assert!(
            len <= self.reserved,
            "committed {len} bytes of {} reserved",
            self.reserved
        );
        assert!(
            !meta.offload_checksum,
            "a checksum left to a NIC without that offload"
        );
        self.reserved = 0;
        self.staged
            .push_back((Chunk::copy_from(&self.scratch[..len]), meta));
    }

    fn flush(&mut self, now: Instant) -> usize {
        while let Some((frame, meta)) = self.staged.pop_front() {
            self.tx.admit(now, frame, meta);
        }
        self.release_tx(now);
        self.inner.flush(now) + self.tx.ready.len()
    }

    fn rx_pressure(&self) -> bool {
        self.inner.rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        if !self.rx.ready.is_empty() {
            return Some(Instant::ZERO);
        }
        let own = [self.rx.next_due(), self.tx.next_due()];
        own.into_iter().flatten().chain(self.inner.next_arrival()).min()
    }
}

/// The frames of one direction between the coming and the going.
struct Direction<M> {
    faults: Faults,
    prng: Prng,
    /// Of its own for marks, so that what else happens does not depend on them.
    marking: Prng,
    counts: FaultCounts,
    way: Way,
    held_max: usize,
    held: BinaryHeap<Reverse<Held<M>>>,
    ready: VecDeque<(Chunk, M)>,
    admitted: u64,
}

impl<M: Copy + Tag> Direction<M> {
    fn new(faults: Faults, seed: u64, direction: u64) -> Self {
        Self {
            faults,
            prng: Prng::stream(seed, direction),
            marking: Prng::stream(seed, 2 + direction),
            counts: FaultCounts::default(),
            way: Way::default(),
            held_max: HELD_MAX,
            held: BinaryHeap::new(),
            ready: VecDeque::new(),
            admitted: 0,
        }
    }

    /// Draws what becomes of a frame.
    fn admit(&mut self, now: Instant, mut frame: Chunk, tag: M) {
        self.counts.seen += 1;
        if self.faults.mark > 0.0 || self.faults.bleach > 0.0 {
            let marks = self.marking.chance(self.faults.mark);
            let bleaches = self.marking.chance(self.faults.bleach);
            frame = ecn::on_way(frame, marks, bleaches, &mut self.counts);
        }
        let Some(frame) = middlebox::on_way(frame, self.faults.acc_ecn, &mut self.counts) else {
            return;
        };
        let in_burst = self.way.swallows(self.faults.bursts, &mut self.prng);
        let too_large =
            self.faults.hole_above > 0 && frame.len() > ETHERNET_HEADER + usize::from(self.faults.hole_above);
        if self.prng.chance(self.faults.loss) || in_burst || too_large {
            self.counts.lost += 1;
            return;
        }
        if self.prng.chance(self.faults.duplicate) {
            self.counts.duplicated += 1;
            self.pass(now, frame.clone(), tag);
        }
        self.pass(now, frame, tag);
    }

    fn pass(&mut self, now: Instant, mut frame: Chunk, mut tag: M) {
        if self.prng.chance(self.faults.corrupt) {
            self.counts.corrupted += 1;
            let Some(damaged) = self.damage(&frame) else {
                return;
            };
            frame = damaged;
            tag.distrust();
        }
        let Some(passed) = self.way.passes(now, frame.len(), self.faults.bottleneck) else {
            self.counts.queue_full += 1;
            return;
        };
        let mut due = passed + self.faults.delay;
        due += Duration::from_nanos(self.prng.between(0, self.faults.jitter.as_nanos()));
        if self.prng.chance(self.faults.reorder) {
            self.counts.reordered += 1;
            due += Duration::from_nanos(self.prng.between(1, REORDER_HOLD.as_nanos()));
        }
        if self.held.len() >= self.held_max {
            self.counts.overflowed += 1;
            return;
        }
        if due > now && frame.is_external() {
            // A frame that is held must not pin a buffer of the NIC's pool.
            frame = Chunk::copy_from(&frame);
        }
        self.admitted += 1;
        let order = self.admitted;
        self.held.push(Reverse(Held {
            due,
            order,
            frame,
            tag,
        }));
    }

    /// A copy with one byte changed, or `None` for a frame without a checksum.
    fn damage(&mut self, frame: &Chunk) -> Option<Chunk> {
        let ip = matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]));
        if !ip || frame.len() <= ETHERNET_HEADER {
            return None;
        }
        let at = self.prng.between(ETHERNET_HEADER as u64, frame.len() as u64 - 1);
        let (before, from) = frame.split_at(at as usize);
        let flipped = from[0] ^ self.prng.between(1, 255) as u8;
        let mut damaged = Chunk::with_capacity(frame.len());
        damaged.try_extend(before);
        damaged.try_extend(&[flipped]);
        damaged.try_extend(&from[1..]);
        Some(damaged)
    }

    /// Moves what is due to `ready`, in order of time.
    fn release(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse(held)) = self.held.pop() else {
                break;
            };
            self.ready.push_back((held.frame, held.tag));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(held)| held.due)
    }
}

/// A frame held back. Ordered by time, then by coming.
struct Held<M> {
    due: Instant,
    order: u64,
    frame: Chunk,
    tag: M,
}

impl<M> Held<M> {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.order)
    }
}

impl<M> PartialEq for Held<M> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<M> Eq for Held<M> {}

impl<M> PartialOrd for Held<M> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for Held<M> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What goes along with a frame.
trait Tag {
    /// The frame was damaged: no verdict on its checksums stands any longer.
    fn distrust(&mut self);
}

impl Tag for RxChecksum {
    fn distrust(&mut self) {
        *self = Self::Unknown;
    }
}

impl Tag for TxMeta {
    fn distrust(&mut self) {}
}

#[cfg(test)]
mod tests;
