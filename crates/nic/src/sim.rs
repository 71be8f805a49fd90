//! Two NICs joined by a link in memory, under virtual time.
//!
//! Always true: a direction delivers in the order in which it was sent, no
//! frame earlier than `delay` after it was flushed; at most
//! [`LinkConfig::queue_frames`] frames are under way in a direction, and at most
//! [`BACKLOG`] wait behind a NIC. The same calls at the same times give the same
//! [`Link::trace_hash`].

use core::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crore_base::{Duration, Instant, MacAddr, RxChecksum};
use crore_netbuf::Chunk;

use crate::ecn;
use crate::nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use crate::tso;

/// Frames that wait behind a NIC whose link is full, before [`Nic::reserve`]
/// answers `None`: eight bursts, as a transmit ring of a real NIC.
pub const BACKLOG: usize = 256;

/// Bytes of an Ethernet header.
const ETHERNET_HEADER: usize = 14;

/// What a link is like; the same in both directions.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The addresses of the two NICs.
    pub mac: [MacAddr; 2],
    /// The largest IP packet in bytes.
    pub mtu: u16,
    /// Time under way, without the time that the line takes to send.
    pub delay: Duration,
    /// Bytes of frames a second; `None` for a line that takes no time.
    pub rate: Option<u64>,
    /// The most frames under way in one direction (waiting for the line
    /// included): more than the product of rate and delay, or it is what limits.
    pub queue_frames: usize,
    /// What becomes of a frame that finds the queue full.
    pub when_full: WhenFull,
    /// Packets that can be marked (ECT) are, when they have to wait for the line
    /// for longer than this.
    pub mark_after: Option<Duration>,
    /// Whether the NICs offer checksum offloads: frames whose checksums were
    /// left to them arrive marked [`RxChecksum::Partial`], as between two
    /// virtio ends.
    pub checksum_offloads: bool,
    /// Whether the NICs cut large segments as well; only with checksum offloads.
    pub tso: bool,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            mac: [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])],
            mtu: 1500,
            delay: Duration::from_micros(50),
            rate: None,
            queue_frames: 4096,
            when_full: WhenFull::Refuse,
            mark_after: None,
            checksum_offloads: false,
            tso: false,
        }
    }
}

/// What a full link does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    /// Leaves it with the NIC, as a full transmit ring does.
    Refuse,
    /// Throws it away, as a switch on the way does.
    Drop,
}

/// One of the two ends of a link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// The first NIC that [`link`] returned.
    Left,
    /// The second one.
    Right,
}

impl End {
    /// The opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What an end has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames handed to the link.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Frames taken from the link.
    pub received: u64,
    /// Frames that the full link threw away ([`WhenFull::Drop`]).
    pub dropped: u64,
    /// Packets that were marked because the line was behind ([`LinkConfig::mark_after`]).
    pub marked: u64,
    /// Frames sent while the link was down.
    pub vanished: u64,
    /// Calls of `reserve` that found no buffer: dry, or the backlog full.
    pub no_buffer: u64,
    /// Calls of `reserve` for more than the MTU: a bug of the caller.
    pub oversize: u64,
    /// Large segments that were cut.
    pub cut: u64,
}

/// What a tap is shown: a frame at the moment when it enters the link.
#[derive(Debug)]
pub struct Tapped<'a> {
    /// When.
    pub at: Instant,
    /// Who sent it.
    pub from: End,
    /// Its bytes.
    pub frame: &'a [u8],
    /// When it can be received; `None` when the link loses it.
    pub arrives: Option<Instant>,
}

/// A tap's callback. It must not call back into the link.
pub type Tap = Box<dyn FnMut(&Tapped<'_>)>;

/// Joins two new NICs. The first one is the [`End::Left`].
pub fn link(config: LinkConfig) -> (SimNic, SimNic) {
    let capabilities = config.mac.map(|mac| Capabilities {
        mac,
        mtu: config.mtu,
        tx_ipv4_checksum: config.checksum_offloads,
        tx_tcp_checksum: config.checksum_offloads,
        tx_tso: config.checksum_offloads && config.tso,
        rx_checksum: config.checksum_offloads,
    });
    let shared = Rc::new(RefCell::new(Shared::new(config)));
    let [left, right] = capabilities;
    (
        SimNic::new(End::Left, left, Rc::clone(&shared)),
        SimNic::new(End::Right, right, shared),
    )
}

/// A hold on the link between two NICs, to steer and to watch it while others
/// own the NICs.
#[derive(Clone)]
pub struct Link(Rc<RefCell<Shared>>);

impl Link {
    /// Whether `end` is out of packet buffers, so that [`Nic::reserve`] answers
    /// `None`.
    pub fn set_dry(&self, end: End, dry: bool) {
        self.0.borrow_mut().ends[end as usize].dry = dry;
    }

    /// What [`Nic::rx_pressure`] says at `end`.
    pub fn set_pressure(&self, end: End, pressure: bool) {
        self.0.borrow_mut().ends[end as usize].pressure = pressure;
    }

    /// While down, what is sent is lost. What is under way still arrives.
    pub fn set_down(&self, down: bool) {
        self.0.borrow_mut().down = down;
    }

    /// Puts a frame on the link as if `from` had sent it. It counts as sent; a
    /// full link loses it.
    pub fn inject(&self, from: End, now: Instant, data: Chunk) {
        let checksum = RxChecksum::Unknown;
        let _ = self.0.borrow_mut().send(from, now, RxFrame { data, checksum });
    }

    /// Shows every frame to `tap` as it enters the link.
    pub fn set_tap(&self, tap: Option<Tap>) {
        self.0.borrow_mut().tap = tap;
    }

    /// What `end` has done so far.
    pub fn counters(&self, end: End) -> Counters {
        self.0.borrow().ends[end as usize].counters
    }

    /// Frames under way in both directions.
    pub fn in_flight(&self) -> usize {
        self.0.borrow().ends.iter().map(|end| end.outgoing.len()).sum()
    }

    /// A hash over every frame that entered the link: when, from where, which
    /// bytes, and when it is to arrive.
    pub fn trace_hash(&self) -> u64 {
        self.0.borrow().hash.0
    }
}

/// One end of a simulated link.
pub struct SimNic {
    end: End,
    capabilities: Capabilities,
    shared: Rc<RefCell<Shared>>,
    scratch: Vec<u8>,
    reserved: usize,
    backlog: VecDeque<(Chunk, RxChecksum)>,
}

impl SimNic {
    fn new(end: End, capabilities: Capabilities, shared: Rc<RefCell<Shared>>) -> Self {
        Self {
            end,
            scratch: vec![0; ETHERNET_HEADER + usize::from(capabilities.mtu)],
            capabilities,
            shared,
            reserved: 0,
            backlog: VecDeque::new(),
        }
    }

    /// A hold on the link.
    pub fn link(&self) -> Link {
        Link(Rc::clone(&self.shared))
    }
}

impl Nic for SimNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        let mut shared = self.shared.borrow_mut();
        let mut count = 0;
        let incoming = &mut shared.ends[self.end.other() as usize].outgoing;
        while count < BURST && incoming.front().is_some_and(|frame| frame.arrives <= now) {
            into.extend(incoming.pop_front().map(|carried| carried.frame));
            count += 1;
        }
        shared.ends[self.end as usize].counters.received += count as u64;
        count
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        let mut shared = self.shared.borrow_mut();
        let end = &mut shared.ends[self.end as usize];
        self.reserved = 0;
        if len > ETHERNET_HEADER + usize::from(self.capabilities.mtu) {
            end.counters.oversize += 1;
            return None;
        }
        if end.dry || self.backlog.len() >= BACKLOG {
            end.counters.no_buffer += 1;
            return None;
        }
        self.reserved = len;
        Some(&mut self.scratch[..len])
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        /// As much as one more buffer holds.
        const PIECE: usize = 2000;
        let mut shared = self.shared.borrow_mut();
        let end = &mut shared.ends[self.end as usize];
        if !self.capabilities.tx_tso || end.dry {
            end.counters.no_buffer += 1;
            return None;
        }
        let start = self.reserved;
        self.reserved += len.min(PIECE);
        if self.scratch.len() < self.reserved {
            self.scratch.resize(self.reserved, 0);
        }
        Some(&mut self.scratch[start..self.reserved])
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        assert!(
            len <= self.reserved,
            "committed {len} bytes of {} reserved",
            self.reserved
        );
        self.reserved = 0;
        let checksum = if meta.offload_checksum {
            assert!(
                self.capabilities.tx_tcp_checksum,
                "a checksum left to a NIC without that offload"
            );
            RxChecksum::Partial
        } else {
            RxChecksum::Unknown
        };
        if meta.segment_len > 0 {
            assert!(
                self.capabilities.tx_tso,
                "a segment left to be cut to a NIC that can't"
            );
            self.shared.borrow_mut().ends[self.end as usize].counters.cut += 1;
        }
        for frame in tso::frames_of(&self.scratch[..len], &meta) {
            let most = ETHERNET_HEADER + usize::from(self.capabilities.mtu);
            assert!(
                frame.len() <= most,
                "a frame of {} bytes on this link",
                frame.len()
            );
            self.backlog.push_back((Chunk::copy_from(&frame), checksum));
        }
    }

    fn flush(&mut self, now: Instant) -> usize {
        let mut shared = self.shared.borrow_mut();
        while let Some((data, checksum)) = self.backlog.pop_front() {
            let frame = RxFrame { data, checksum };
            if let Err(refused) = shared.send(self.end, now, frame) {
                self.backlog.push_front((refused.data, refused.checksum));
                break;
            }
        }
        self.backlog.len()
    }

    fn rx_pressure(&self) -> bool {
        self.shared.borrow().ends[self.end as usize].pressure
    }

    fn next_arrival(&self) -> Option<Instant> {
        let shared = self.shared.borrow();
        let first = |end: End| shared.ends[end as usize].outgoing.front().map(|f| f.arrives);
        // What waits behind a full link can go when its first frame has arrived.
        let room = (!self.backlog.is_empty()).then(|| first(self.end)).flatten();
        first(self.end.other()).into_iter().chain(room).min()
    }
}

struct Shared {
    config: LinkConfig,
    ends: [EndState; 2],
    down: bool,
    tap: Option<Tap>,
    hash: TraceHash,
}

#[derive(Default)]
struct EndState {
    outgoing: VecDeque<Carried>,
    /// When the line has sent everything that it took.
    line_free: Instant,
    dry: bool,
    pressure: bool,
    counters: Counters,
}

struct Carried {
    arrives: Instant,
    frame: RxFrame,
}

impl Shared {
    fn new(config: LinkConfig) -> Self {
        Self {
            config,
            ends: Default::default(),
            down: false,
            tap: None,
            hash: TraceHash::new(),
        }
    }

    /// Puts a frame on its way, or gives it back.
    fn send(&mut self, from: End, now: Instant, mut frame: RxFrame) -> Result<(), RxFrame> {
        let end = &mut self.ends[from as usize];
        let full = end.outgoing.len() >= self.config.queue_frames;
        if full && self.config.when_full == WhenFull::Refuse && !self.down {
            return Err(frame);
        }
        end.counters.sent += 1;
        end.counters.sent_bytes += frame.data.len() as u64;
        let arrives = if self.down {
            end.counters.vanished += 1;
            None
        } else if full {
            end.counters.dropped += 1;
            None
        } else {
            let starts = end.line_free.max(now);
            if self
                .config
                .mark_after
                .is_some_and(|most| starts.since(now) > most)
                && let Some(marked) = ecn::marked(&frame.data)
            {
                end.counters.marked += 1;
                frame.data = marked;
            }
            end.line_free = starts + time_on_line(frame.data.len(), self.config.rate);
            Some(end.line_free + self.config.delay)
        };
        self.hash.word(now.as_nanos());
        self.hash.word(from as u64);
        self.hash.word(arrives.map_or(u64::MAX, Instant::as_nanos));
        self.hash.bytes(&frame.data);
        if let Some(tap) = &mut self.tap {
            tap(&Tapped {
                at: now,
                from,
                frame: &frame.data,
                arrives,
            });
        }
        if let Some(arrives) = arrives {
            end.outgoing.push_back(Carried { arrives, frame });
        }
        Ok(())
    }
}

fn time_on_line(bytes: usize, rate: Option<u64>) -> Duration {
    match rate {
        None => Duration::ZERO,
        Some(rate) => {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        }
    }
}

/// A quick hash that tells traces apart; no adversary chooses them.
struct TraceHash(u64);

impl TraceHash {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }
}

#[cfg(test)]
mod tests;
