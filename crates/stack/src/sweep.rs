//! The slow walk over all connections, for time-outs so long and so seldom due
//! that a timer for each connection would cost more than looking.
//!
//! Always true: a step looks at a bounded number of places; a round takes no
//! longer than a quarter of the shortest time-out that it serves (but no step is
//! taken more than once a millisecond), so that such a time-out is at most so
//! much late; with no such time-out nothing is walked.
//!
//! A silence counts from when data last moved, and nothing that comes of it
//! shortens it: neither a telling of the application nor a keepalive and its
//! answer. What is to be done once in each further period of a silence (to tell,
//! to probe) is remembered in a bit: whether it was last done in an odd one.

use core::ops::Range;

use crore_base::{Duration, Instant};
use crore_tcp::{CloseReason, Config, Options, Parked, State};

use crate::pool::Active;
use crate::record::Kind;
use crate::{Event, Stack, StackConfig};

/// The time between two steps is at least so long.
const STEP: Duration = Duration::from_millis(1);
/// A round takes at least and at most so long.
const ROUND: (Duration, Duration) = (Duration::from_millis(4), Duration::from_secs(10));
/// An application that has not closed what its peer finished so long ago, and has
/// not moved a byte since, has most likely forgotten it.
const STUCK: Duration = Duration::from_secs(10);
/// Places looked at in one step, at least and at most.
const LOOK: (usize, usize) = (64, 16_384);

/// The marks of a parked connection ([`Parked::marks`]).
pub(crate) const TOLD: u8 = 1;
const PROBED: u8 = 2;

/// Whether a silence is in another period of `every` than the last time that
/// something was done; zero: never.
fn in_new_period(silent: Duration, every: Duration, done_in_odd: bool) -> bool {
    every != Duration::ZERO && silent >= every && is_odd(silent, every) != done_in_odd
}

/// Whether a silence is in an odd period of `every`.
fn is_odd(silent: Duration, every: Duration) -> bool {
    silent >= every && silent.as_nanos() / every.as_nanos().max(1) % 2 == 1
}

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

    /// A time-out of `time` is to be served too.
    fn shorten(&mut self, time: Duration) {
        let length = time.div(4).clamp(ROUND.0, ROUND.1);
        if length < self.length {
            self.length = length;
            // The step that is due was planned for a longer round.
            self.due = Instant::ZERO;
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
    park_after: Option<Duration>,
    records: Round,
    pool: Round,
    /// Connections in CLOSE-WAIT seen in this round, and those of them on which
    /// nothing moves.
    close_wait: u64,
    close_wait_stuck: u64,
}

impl Sweep {
    pub(crate) fn new(config: &StackConfig) -> Self {
        let set = |time: Duration| Some(time).filter(|&time| time != Duration::ZERO);
        let shortest = [
            set(config.idle_timeout),
            set(config.close_wait_limit),
            config.tcp.keepalive.idle(),
            Some(config.tcp.fin_wait_2),
        ];
        let shortest = shortest.into_iter().flatten().min().unwrap_or(Duration::MAX);
        let park_after = config.park_after.and_then(set);
        Self {
            idle_timeout: config.idle_timeout,
            close_wait_limit: config.close_wait_limit,
            park_after,
            records: Round::new(shortest),
            pool: Round::new(park_after.unwrap_or(Duration::MAX)),
            close_wait: 0,
            close_wait_stuck: 0,
        }
    }
}

impl Sweep {
    /// Some connection has these options: its time-outs are served too.
    pub(crate) fn serve(&mut self, options: &Options) {
        let idle = options.keepalive.idle().unwrap_or(Duration::MAX);
        self.records.shorten(idle.min(options.fin_wait_2));
    }
}

/// When a parked connection was due to be probed last, and has answered since, if
/// keepalives are wanted: it is not to be probed for all the periods of its
/// silence when it is woken.
pub(crate) fn last_probed(config: &Config, now: Instant, silent_since: Instant) -> Option<Instant> {
    let every = config.keepalive.idle()?.as_nanos().max(1);
    let into = now.since(silent_since).as_nanos() % every;
    Some(now - Duration::from_nanos(into))
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
            let counters = &mut self.counters;
            counters.close_wait = core::mem::take(&mut self.sweep.close_wait);
            counters.close_wait_stuck = core::mem::take(&mut self.sweep.close_wait_stuck);
            counters.close_wait_peak = counters.close_wait_peak.max(counters.close_wait);
        }
    }

    fn look_at(&mut self, now: Instant, slot: u32) {
        let Some(record) = self.slots.record(slot) else {
            return;
        };
        let held = record.is_held();
        let (state, moved_at, marks) = match record.kind() {
            Kind::Free | Kind::HalfOpen => return,
            Kind::Parked => match record.parked() {
                Some(parked) => (parked.state(), parked.heard_at(), parked.marks()),
                None => return,
            },
            Kind::Active => match self.slots.pool.get(record.index()) {
                Some(active) => {
                    let marks = if active.told { TOLD } else { 0 };
                    (active.conn.state(), active.moved_at, marks)
                }
                None => return,
            },
        };
        let parked = record.kind() == Kind::Parked;
        let silent = now.since(moved_at);
        let over = |limit: Duration| limit != Duration::ZERO && silent >= limit;
        if held && state == State::CloseWait {
            self.sweep.close_wait += 1;
            self.sweep.close_wait_stuck += u64::from(silent >= STUCK);
            if over(self.sweep.close_wait_limit) {
                self.end_close_wait(now, slot);
                return;
            }
        }
        if parked && state == State::FinWait2 && !held && over(self.tcp.of(slot).fin_wait_2) {
            self.delete(slot);
            return;
        }
        if held && in_new_period(silent, self.sweep.idle_timeout, marks & TOLD != 0) {
            self.note_told(slot);
            let conn = self.slots.id(slot);
            self.ended.push_back(Event::Idle { conn });
        }
        let probes = |every| in_new_period(silent, every, marks & PROBED != 0);
        // An active connection has a timer for it, and a wait is left alone.
        if parked
            && held
            && self.tcp.of(slot).keepalive.idle().is_some_and(probes)
            && let Some(index) = self.activate(now, slot)
        {
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.conn.probe(now);
            }
            self.touch(index);
        }
    }

    /// The application is told in this period of the silence.
    fn note_told(&mut self, slot: u32) {
        if let Some(index) = self.slots.active_index(slot) {
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.told = !active.told;
            }
        } else if let Some(record) = self.slots.record_mut(slot)
            && let Some(parked) = record.parked()
        {
            record.set_parked(parked.with_marks(parked.marks() ^ TOLD));
        }
    }

    /// The parked form of a connection with what the walk must know of its
    /// silence. In a wait that is the application's no more it is the wait's age
    /// that counts, which the connection has put there itself.
    #[inline]
    pub(crate) fn keep_silence(&self, active: &Active, parked: Parked) -> Parked {
        if self.slots.record(active.slot).is_some_and(|r| r.is_released()) {
            return parked;
        }
        let silent = self.clock.since(active.moved_at);
        // It was heard since, or it would not be quiet: no probe in this period.
        let every = self.tcp.of(active.slot).keepalive.idle();
        let probed = every.is_some_and(|every| is_odd(silent, every));
        let told = if active.told { TOLD } else { 0 };
        let probed = if probed { PROBED } else { 0 };
        parked.silent_since(active.moved_at).with_marks(told | probed)
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
        self.touch(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects each place from being left out, the walk from costing more than
    /// its bound in a step, and a time-out from being noticed too late.
    #[test]
    fn a_round_looks_at_each_place_in_time_and_in_bounded_steps() {
        for (bound, shortest) in [(1, 1_000), (63, 60), (5_000, 4_000), (3_000_000, 60_000)] {
            let shortest = Duration::from_millis(shortest);
            let mut round = Round::new(shortest);
            let (mut now, mut next, mut rounds) = (Instant::from_millis(5), 0, Vec::new());
            while rounds.len() < 3 {
                let range = round.step(now, bound);
                assert_eq!(range.start, next, "{bound}: where the last step ended");
                assert!(range.end <= bound && range.len() <= LOOK.1, "{bound}: {range:?}");
                assert!(!range.is_empty(), "{bound}: a step that is due goes on");
                assert!(
                    round.step(now, bound).is_empty(),
                    "{bound}: and not again at once"
                );
                next = if range.end == bound { 0 } else { range.end };
                if next == 0 {
                    rounds.push(now);
                }
                assert!(round.due >= now + STEP, "{bound}: a rest between the steps");
                now = round.due;
            }
            let took = rounds[2].since(rounds[1]);
            let most = shortest.div(4).max(ROUND.0) + STEP.saturating_mul(2);
            assert!(took <= most, "{bound}: a round in {took:?} of {most:?}");
        }
        assert!(
            Round::new(Duration::MAX).step(Instant::ZERO, 0).is_empty(),
            "nothing to look at"
        );
    }

    /// Protects against a walk that goes on beyond what has become fewer places.
    #[test]
    fn a_round_begins_anew_when_the_places_have_become_fewer() {
        let mut round = Round::new(Duration::from_secs(1));
        round.step(Instant::ZERO, 1_000);
        let first = round.hand;
        assert_eq!(
            round.step(round.due, first),
            0..first.min(LOOK.0),
            "from the start"
        );
    }

    #[test]
    fn something_is_done_once_in_each_period_of_a_silence() {
        let every = Duration::from_secs(10);
        let (mut done, mut odd) = (Vec::new(), false);
        for second in 0..45 {
            if in_new_period(Duration::from_secs(second), every, odd) {
                odd = !odd;
                done.push(second);
            }
        }
        assert_eq!(
            done,
            [10, 20, 30, 40],
            "not in the first period, and once in the others"
        );
        assert!(
            !in_new_period(Duration::from_secs(99), Duration::ZERO, false),
            "zero: never"
        );
    }
}
