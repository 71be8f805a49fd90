//! TIME-WAIT, parked: a record each, in the order in which the waits began.
//!
//! Read first: RFC 9293 section 3.6.1, RFC 6191.
//!
//! Always true: connections in TIME-WAIT never keep a new one out; when a record
//! is needed, the one that has waited longest ends early.

use crore_base::{Duration, Instant};

use crate::Stack;

/// Waits ended in one call, at most.
const EXPIRE: usize = 1024;
/// A parked moment is rounded down by less than this.
const STAMP_UNIT: Duration = Duration::from_millis(68);

impl Stack {
    /// Deletes those whose wait is over.
    pub(crate) fn expire_time_wait(&mut self, now: Instant) {
        for _ in 0..EXPIRE {
            match self.slots.time_wait.front() {
                Some(slot) if self.wait_ends(slot).is_some_and(|end| end <= now) => self.delete(slot),
                _ => return,
            }
        }
    }

    /// When the first wait is over.
    pub(crate) fn next_time_wait(&self) -> Option<Instant> {
        self.wait_ends(self.slots.time_wait.front()?)
    }

    /// Ends the oldest wait to make a record free.
    pub(crate) fn recycle_time_wait(&mut self) {
        if let Some(slot) = self.slots.time_wait.front() {
            self.delete(slot);
            self.counters.time_wait_recycled += 1;
        }
    }

    fn wait_ends(&self, slot: u32) -> Option<Instant> {
        let parked = self.slots.record(slot)?.parked()?;
        Some(parked.heard_at() + self.tcp.time_wait + STAMP_UNIT)
    }
}
