//! What a TCP must never do, judged by the frames that its host sends and
//! receives, and by nothing else.
//!
//! Read first: RFC 9293 sections 3.4 and 3.8, RFC 2018 section 4.
//!
//! A referee stands between one host's stack and its NIC, in front of all
//! faults: what it sees received is what the stack was handed, what it sees sent
//! is what the stack wanted to send. So each rule is exact, whatever the network
//! does in between:
//!
//! * nothing is acknowledged, cumulatively or selectively, that has not come;
//! * nothing is sent beyond what the peer ever allowed, but one byte as a probe;
//! * every byte is the stream's, however often it is sent, and so is the place
//!   of the FIN;
//! * what was offered to the peer is not taken back;
//! * nothing is said again and again that the peer was told before;
//! * while something is unacknowledged, the host wants to be woken.

mod flow;
mod ranges;

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::{Instant, RxChecksum};
use crore_nic::sim::End;
use crore_nic::{Capabilities, Nic, RxFrame, TxMeta, tso};
use crore_wire::{Packet, parse};

use self::flow::Flow;
use crate::host::LinkNic;
use crate::pattern::Pattern;
use crate::plan::ConnPlan;
use crate::tasks::Tasks;

/// Judges one host.
pub struct Referee {
    end: End,
    plans: Rc<[ConnPlan]>,
    flows: Vec<Flow>,
    now: Instant,
    foul: Option<String>,
}

impl Referee {
    /// The referee of the host at `end`, which is to carry out `plans` with the
    /// patterns of `seed`.
    pub fn new(end: End, plans: Rc<[ConnPlan]>, seed: u64) -> Self {
        let flow = |plan: &ConnPlan| {
            let pattern = Pattern::new(seed, plan.index, end == End::Left);
            Flow::new(pattern, plan.end(end).send)
        };
        Self {
            end,
            flows: plans.iter().map(flow).collect(),
            plans,
            now: Instant::ZERO,
            foul: None,
        }
    }

    /// The stack is handed `frame`.
    pub fn on_received(&mut self, frame: &[u8], checksum: RxChecksum) {
        if let Some((index, packet)) = self.find(frame, checksum, self.end.other())
            && let Packet::Tcp { segment, payload, .. } = packet
        {
            self.flows[index].on_received(&segment, payload.len() as u32);
        }
    }

    /// The stack sends `frame`.
    pub fn on_sent(&mut self, frame: &[u8]) {
        // Its checksum may be left to the NIC; others check it.
        let Some((index, packet)) = self.find(frame, RxChecksum::Partial, self.end) else {
            return;
        };
        if let Packet::Tcp { segment, payload, .. } = packet {
            let bytes = &frame[payload];
            if let Err(what) = self.flows[index].on_sent(self.now, &segment, bytes) {
                let foul = format!("{:?} broke a rule on connection {index}: {what}", self.end);
                self.foul.get_or_insert(foul);
            }
        }
    }

    /// The first rule that was broken.
    pub fn foul(&self) -> Option<&str> {
        self.foul.as_deref()
    }

    /// Whether something is out that the peer has not acknowledged, on a
    /// connection that its application still has, by `tasks`: then a timer must run.
    pub fn awaits_acknowledgment(&self, tasks: &Tasks) -> bool {
        let mut flows = self.flows.iter().enumerate();
        flows.any(|(index, flow)| flow.awaits_acknowledgment() && !tasks.has_ended(index))
    }

    /// Duplicate segments that came where DSACK could tell, and how often it did.
    pub fn duplicates(&self) -> (u64, u64) {
        let sum = |of: fn(&Flow) -> u64| self.flows.iter().map(of).sum();
        (sum(Flow::duplicates), sum(Flow::dsacks))
    }

    /// The planned connection that a frame from the host at `from` belongs to.
    fn find(&self, frame: &[u8], checksum: RxChecksum, from: End) -> Option<(usize, Packet)> {
        let packet = parse(frame, checksum).ok()?.packet;
        let Packet::Tcp { ip, segment, .. } = &packet else {
            return None;
        };
        let belongs = |plan: &&ConnPlan| {
            let (ours, theirs) = (plan.address(from), plan.address(from.other()));
            (ours.ip(), ours.port()) == (ip.src, segment.src_port)
                && (theirs.ip(), theirs.port()) == (ip.dst, segment.dst_port)
        };
        let index = self.plans.iter().find(belongs)?.index;
        Some((index, packet))
    }
}

/// A NIC whose frames a referee sees.
pub struct WatchedNic {
    inner: LinkNic,
    referee: Rc<RefCell<Referee>>,
    scratch: Vec<u8>,
    reserved: usize,
    /// What of it was there before it was extended.
    first: usize,
}

impl WatchedNic {
    /// Has `referee` see what goes through `inner`.
    pub fn new(inner: LinkNic, referee: Rc<RefCell<Referee>>) -> Self {
        Self {
            inner,
            referee,
            scratch: Vec::new(),
            reserved: 0,
            first: 0,
        }
    }

    /// The NIC below.
    pub fn inner(&self) -> &LinkNic {
        &self.inner
    }

    /// The NIC below.
    pub fn inner_mut(&mut self) -> &mut LinkNic {
        &mut self.inner
    }
}

impl Nic for WatchedNic {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        let before = into.len();
        let count = self.inner.rx_burst(now, into);
        let mut referee = self.referee.borrow_mut();
        referee.now = now;
        for frame in &into[before..] {
            referee.on_received(&frame.data, frame.checksum);
        }
        count
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.reserved = 0;
        self.inner.reserve(len)?;
        (self.reserved, self.first) = (len, len);
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
        Some(&mut self.scratch[..len])
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        let (start, len) = (self.reserved, self.inner.extend(len)?.len());
        self.reserved += len;
        if self.scratch.len() < self.reserved {
            self.scratch.resize(self.reserved, 0);
        }
        Some(&mut self.scratch[start..self.reserved])
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        let frame = &self.scratch[..len];
        for sent in tso::frames_of(frame, &meta) {
            self.referee.borrow_mut().on_sent(&sent);
        }
        let mut rest = frame;
        let mut room = self.inner.reserve(self.first);
        while let Some(buffer) = room {
            let count = buffer
                .len()
                .min(rest.len())
                .min(if rest.len() == len { self.first } else { len });
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            if rest.is_empty() {
                self.inner.commit(len, meta);
                return;
            }
            room = self.inner.extend(rest.len());
        }
    }

    fn flush(&mut self, now: Instant) -> usize {
        self.referee.borrow_mut().now = now;
        self.inner.flush(now)
    }

    fn rx_pressure(&self) -> bool {
        self.inner.rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.inner.next_arrival()
    }
}
