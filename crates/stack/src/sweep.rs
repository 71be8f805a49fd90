//! The slow walk over all connections, for time-outs so long and so seldom due
//! that a timer for each connection would cost more than looking.
//!
//! Always true: a step looks at a bounded number of slots; a round takes no
//! longer than a quarter of the shortest time-out that it serves (but no step is
//! taken more than once a millisecond), so that such a time-out is at most so
//! much late; with no such time-out nothing is walked.

use crore_base::{Duration, Instant};

use crate::{Event, Stack};

/// The time between two steps.
const STEP: Duration = Duration::from_millis(1);
/// A round takes at least and at most so long.
const ROUND: (Duration, Duration) = (Duration::from_millis(4), Duration::from_secs(10));
/// Slots looked at in one step, at most.
const STEP_MAX: usize = 16_384;

/// Where the walk stands.
pub(crate) struct Sweep {
    idle_timeout: Duration,
    /// How many steps a round has.
    steps: usize,
    hand: usize,
    due: Instant,
}

impl Sweep {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        let round = idle_timeout.div(4).clamp(ROUND.0, ROUND.1);
        Self {
            idle_timeout,
            steps: (round.as_nanos() / STEP.as_nanos()) as usize,
            hand: 0,
            due: Instant::ZERO,
        }
    }

    /// When the next step is due; `None` when there is nothing to look for.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.idle_timeout != Duration::ZERO).then_some(self.due)
    }

    /// The slots that this step looks at, of `bound` in all.
    fn step(&mut self, now: Instant, bound: usize) -> core::ops::Range<usize> {
        self.due = now + STEP;
        let first = if self.hand < bound { self.hand } else { 0 };
        let count = bound.div_ceil(self.steps).clamp(1, STEP_MAX);
        self.hand = (first + count).min(bound);
        first..self.hand
    }
}

impl Stack {
    /// Takes the next step of the walk, if it is due.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.sweep.next().is_none_or(|due| now < due) {
            return;
        }
        for index in self.sweep.step(now, self.slots.bound()) {
            let Some(slot) = self.slots.get_mut(index as u32) else {
                continue;
            };
            if slot.known_to_app && !slot.released && now.since(slot.moved_at) >= self.sweep.idle_timeout {
                slot.moved_at = now;
                let conn = self.slots.id(index as u32);
                self.ended.push_back(Event::Idle { conn });
            }
        }
    }
}
