//! One turn after another: receive, timers, application, transmit.
//!
//! Read first: DESIGN section 3. Each step of a turn is bounded by a constant,
//! so that no kind of work starves another.

use crore_base::{DropReason, Instant};
use crore_nic::{Nic, RxFrame};
use crore_stack::Stack;

use crate::{PeerCounters, Peers, Service};

/// Receive bursts taken in before anything is sent: an acknowledgment is owed
/// once for all of them.
const RX_BURSTS: usize = 2;
/// How often an idle shard asks the wire before it looks at anything else.
/// Asking takes some 20 ns, so that all else is late by less than a microsecond.
const LISTEN: usize = 32;
/// Events given to the application in one turn.
const EVENTS: usize = 512;

/// What a turn did; all zero means that the core was idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Frames received.
    pub rx: usize,
    /// Frames sent.
    pub tx: usize,
    /// Events given to the application.
    pub events: usize,
}

impl Turn {
    /// Whether there was nothing to do.
    pub fn is_idle(self) -> bool {
        self == Self::default()
    }
}

/// A queue pair, a stack and an application, on one thread.
pub struct Shard<N: Nic, S: Service> {
    nic: N,
    stack: Stack,
    service: S,
    frames: Vec<RxFrame>,
    turns: u64,
    /// None where this is the only shard.
    peers: Option<Box<Peers>>,
}

impl<N: Nic, S: Service> Shard<N, S> {
    /// A shard of its parts.
    pub fn new(nic: N, stack: Stack, service: S) -> Self {
        Self {
            nic,
            stack,
            service,
            frames: Vec::with_capacity(crore_nic::BURST),
            turns: 0,
            peers: None,
        }
    }

    /// The same shard as one of several: what is another's is handed on. The
    /// stack has to be told its share of the flows as well.
    pub fn among(mut self, peers: Peers) -> Self {
        self.peers = Some(Box::new(peers));
        self
    }

    /// Waits for a frame for a moment, as far as there is nothing else to do.
    /// What came is taken in by the next turn. `now` is the time of the last one.
    #[inline]
    pub fn listen(&mut self, now: Instant) {
        if self.stack.has_work() {
            return;
        }
        for _ in 0..LISTEN {
            if !self.frames.is_empty() || self.nic.rx_burst(now, &mut self.frames) > 0 {
                break;
            }
        }
    }

    /// One bounded turn of the loop at time `now`.
    pub fn turn(&mut self, now: Instant) -> Turn {
        let mut turn = Turn::default();
        // Asking the pool costs a few cache misses: now and then is enough.
        if self.turns.is_multiple_of(64) {
            self.stack.set_rx_pressure(self.nic.rx_pressure());
        }
        self.turns += 1;
        for _ in 0..RX_BURSTS {
            // There may be what came while it was listening.
            let received = match self.frames.len() {
                0 => self.nic.rx_burst(now, &mut self.frames),
                heard => heard,
            };
            if received > 0 {
                if let Some(peers) = &mut self.peers {
                    peers.hand_on(&mut self.frames);
                }
                self.stack.on_burst(now, &mut self.frames);
            }
            turn.rx += received;
            if received < crore_nic::BURST {
                break;
            }
        }
        turn.rx += self.take_mail(now);
        // A peer that waits is answered first: what time brings then leaves with the
        // next turn.
        if turn.rx > 0 {
            self.answer(now, &mut turn);
            self.stack.on_timeout(now);
        } else {
            self.stack.on_timeout(now);
            self.answer(now, &mut turn);
        }
        turn
    }

    /// The application hears what happened, and what is owed is sent.
    #[inline]
    fn answer(&mut self, now: Instant, turn: &mut Turn) {
        for _ in 0..EVENTS {
            let Some(event) = self.stack.poll_event() else {
                break;
            };
            self.service.on_event(&mut self.stack, now, event);
            turn.events += 1;
        }
        self.service.on_turn(&mut self.stack, now);
        turn.tx += self.stack.poll_transmit(now, &mut self.nic);
    }

    /// Takes in what other shards have left for this one.
    #[inline]
    fn take_mail(&mut self, now: Instant) -> usize {
        let Some(peers) = &mut self.peers else { return 0 };
        let rescued = peers.rescue(&mut self.frames);
        if rescued > 0 {
            self.stack.on_burst(now, &mut self.frames);
        }
        let news = peers.news(&mut self.frames);
        if news > 0 {
            self.stack.on_overheard(now, &mut self.frames);
        }
        // What came in fragments and is another's, now that it is whole.
        self.stack.take_strays(&mut self.frames);
        if !self.frames.is_empty() {
            peers.hand_on(&mut self.frames);
        }
        let lost = peers.take_losses();
        if lost > 0 {
            self.stack.count_drops(DropReason::ShardMailboxFull, lost);
        }
        rescued + news
    }

    /// When the next turn is due if nothing is received until then; `None` when
    /// only reception can bring work.
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let has_mail = self.peers.as_ref().is_some_and(|peers| peers.has_mail());
        if has_mail || self.stack.has_work() {
            return Some(now);
        }
        let wishes = [
            self.stack.next_timeout(),
            self.service.next_wakeup(),
            self.nic.next_arrival(),
        ];
        wishes.into_iter().flatten().min()
    }

    /// The stack, for calls from outside the loop.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The stack, for calls from outside the loop.
    pub fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// The application.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The application, for commands from the mailbox.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// The stack and the application together, to let one act on the other.
    pub fn parts_mut(&mut self) -> (&mut Stack, &mut S) {
        (&mut self.stack, &mut self.service)
    }

    /// What went between this shard and the others of its program.
    pub fn peer_counters(&self) -> PeerCounters {
        self.peers
            .as_ref()
            .map_or_else(PeerCounters::default, |peers| peers.counters())
    }

    /// The NIC's side.
    pub fn nic(&self) -> &N {
        &self.nic
    }

    /// The NIC's side.
    pub fn nic_mut(&mut self) -> &mut N {
        &mut self.nic
    }

    /// Takes the shard apart again.
    pub fn into_parts(self) -> (N, Stack, S) {
        (self.nic, self.stack, self.service)
    }
}
