//! The slow walk over all connections, for time-outs so long and so seldom due
//! that a timer for each connection would cost more than looking.
//!
//! Always true: a step looks at a bounded number of places; a round takes no
//! longer than a quarter of the shortest time-out that it serves (but no step is
//! taken more than once a millisecond), so that such a time-out is at most so
//! much late; with no such time-out nothing is walked.

use core::ops::Range;

use crore_base::{Duration, Instant};
use crore_tcp::{CloseReason, State};

use crate::record::Kind;
use crate::{Event, Stack, StackConfig};

/// The time between two steps is at least so long.
const STEP: Duration = Duration::from_millis(1);
/// A round takes at least and at most so long.
const ROUND: (Duration, Duration) = (Duration::from_millis(4), Duration::from_secs(10));
/// Places looked at in one step, at least and at most.
const LOOK: (usize, usize) = (64, 16_384);

/// A walk round and round, in steps.
struct Round {
    length: Duration,
    hand: usize,
    due: Instant,
}

impl Round {
    /// A walk for time-outs of which the shortest is `shortest`.
    fn new(shortest: Duration) -> Self {
        Self {
            length: shortest.div(4).clamp(ROUND.0, ROUND.1),
            hand: 0,
            due: Instant::ZERO,
        }
    }

    /// The places that this step looks at, of `bound` in all; none before it is due.
    fn step(&mut self, now: Instant, bound: usize) -> Range<usize> {
        if now < self.due || bound == 0 {
            return 0..0;
        }
        let steps = (self.length.as_nanos() / STEP.as_nanos()).max(1) as usize;
        let count = bound.div_ceil(steps).clamp(LOOK.0, LOOK.1);
        let pause = self.length.div(bound.div_ceil(count) as u64);
        self.due = now + pause.max(STEP);
        let first = if self.hand < bound { self.hand } else { 0 };
        self.hand = (first + count).min(bound);
        first..self.hand
    }
}

/// Where the walks stand.
pub(crate) struct Sweep {
    idle_timeout: Duration,
    close_wait_limit: Duration,
    keepalive: Option<Duration>,
    fin_wait_2: Duration,
    park_after: Option<Duration>,
    records: Round,
    pool: Round,
    /// Connections in CLOSE-WAIT seen in this round.
    close_wait: u64,
}

impl Sweep {
    pub(crate) fn new(config: &StackConfig) -> Self {
        let set = |time: Duration| Some(time).filter(|&time| time != Duration::ZERO);
        let shortest = [
            set(config.idle_timeout),
            set(config.close_wait_limit),
            config.tcp.keepalive,
            Some(config.tcp.fin_wait_2),
        ];
        let shortest = shortest.into_iter().flatten().min().unwrap_or(Duration::MAX);
        let park_after = config.park_after.and_then(set);
        Self {
            idle_timeout: config.idle_timeout,
            close_wait_limit: config.close_wait_limit,
            keepalive: config.tcp.keepalive,
            fin_wait_2: config.tcp.fin_wait_2,
            park_after,
            records: Round::new(shortest),
            pool: Round::new(park_after.unwrap_or(Duration::MAX)),
            close_wait: 0,
        }
    }
}

impl Stack {
    /// When the next step is due; `None` when there is nothing to look at.
    pub(crate) fn next_sweep(&self) -> Option<Instant> {
        let records = (self.slots.len() > 0).then_some(self.sweep.records.due);
        let pool =
            (self.slots.pool.len() > 0 && self.sweep.park_after.is_some()).then_some(self.sweep.pool.due);
        [records, pool].into_iter().flatten().min()
    }

    /// Takes the next steps, if they are due.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.sweep.park_after.is_some() {
            let range = self.sweep.pool.step(now, self.slots.pool.bound());
            self.park_aged(now, range);
        }
        // An application that is slow to hear holds the walk up, so that what
        // it has still to be told does not grow.
        if self.ended.len() >= LOOK.1 {
            return;
        }
        let range = self.sweep.records.step(now, self.slots.bound());
        let last = range.end;
        for slot in range {
            self.look_at(now, slot as u32);
        }
        if last > 0 && last == self.slots.bound() {
            self.counters.close_wait = core::mem::take(&mut self.sweep.close_wait);
        }
    }

    fn look_at(&mut self, now: Instant, slot: u32) {
        let Some(record) = self.slots.record(slot) else {
            return;
        };
        let held = record.is_held();
        let (state, moved_at) = match record.kind() {
            Kind::Free | Kind::HalfOpen => return,
            Kind::Parked => match record.parked() {
                Some(parked) => (parked.state(), parked.heard_at()),
                None => return,
            },
            Kind::Active => match self.slots.pool.get(record.index()) {
                Some(active) => (active.conn.state(), active.moved_at),
                None => return,
            },
        };
        let parked = record.kind() == Kind::Parked;
        let silent = now.since(moved_at);
        let over = |limit: Duration| limit != Duration::ZERO && silent >= limit;
        if held && state == State::CloseWait {
            self.sweep.close_wait += 1;
            if over(self.sweep.close_wait_limit) {
                self.end_close_wait(now, slot);
                return;
            }
        }
        if parked && state == State::FinWait2 && !held && over(self.sweep.fin_wait_2) {
            self.delete(slot);
            return;
        }
        if held && over(self.sweep.idle_timeout) {
            self.note_told(now, slot);
            let conn = self.slots.id(slot);
            self.ended.push_back(Event::Idle { conn });
        }
        if parked
            && self.sweep.keepalive.is_some_and(over)
            && let Some(index) = self.activate(now, slot)
        {
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.conn.on_timeout(now);
            }
            self.touch(index);
        }
    }

    /// The next telling is as far away as the first one was.
    fn note_told(&mut self, now: Instant, slot: u32) {
        if let Some(index) = self.slots.active_index(slot) {
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.moved_at = now;
            }
        } else if let Some(record) = self.slots.record_mut(slot)
            && let Some(parked) = record.parked()
        {
            record.set_parked(parked.heard_again(now));
        }
    }

    /// The peer has finished long ago, and the application does not.
    fn end_close_wait(&mut self, now: Instant, slot: u32) {
        let Some(index) = self.activate(now, slot) else {
            return;
        };
        if let Some(active) = self.slots.pool.get_mut(index) {
            active.conn.abort();
        }
        let Some(record) = self.slots.record_mut(slot) else {
            return;
        };
        record.set_released();
        let user = record.user;
        let conn = self.slots.id(slot);
        self.counters.close_wait_ended += 1;
        self.ended.push_back(Event::Closed {
            conn,
            reason: CloseReason::Aborted,
            user,
        });
        self.settle(index);
        self.touch(index);
    }
}
