//! TIME-WAIT, parked: a record each, in the order in which the waits began.
//!
//! Read first: RFC 9293 section 3.6.1, RFC 6191.
//!
//! Always true: connections in TIME-WAIT never keep a new one out; when a record
//! is needed, the one that has waited longest ends early.

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Connection, Disposition, State};
use crore_wire::Segment;

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

    /// Ends the oldest wait to make a record free; whether there was one.
    pub(crate) fn recycle_time_wait(&mut self) -> bool {
        let Some(slot) = self.slots.time_wait.front() else {
            return false;
        };
        self.delete(slot);
        self.counters.time_wait_recycled += 1;
        true
    }

    /// Where the numbers of a new connection have to lie beyond, if `segment` is
    /// a SYN that may open one in the place of the one that is parked in
    /// TIME-WAIT at `slot`. This takes no place in the pool, so that a full one
    /// keeps nobody from coming back.
    pub(crate) fn reopens(&self, now: Instant, slot: u32, segment: &Segment) -> Option<SeqNum> {
        let parked = self.slots.record(slot)?.parked()?;
        if parked.state() != State::TimeWait {
            return None;
        }
        let tuple = self.slots.tuple(slot)?;
        let (ts_offset, path) = (self.isn.ts_offset(&tuple), self.path_to(tuple.remote_addr));
        let mut waiting = Connection::wake(&self.tcp, &parked, ts_offset, path, true);
        match waiting.on_segment(now, segment, Chunk::empty()) {
            Disposition::Reopen { iss_above } => Some(iss_above),
            Disposition::Accepted | Disposition::Dropped(_) => None,
        }
    }

    fn wait_ends(&self, slot: u32) -> Option<Instant> {
        let parked = self.slots.record(slot)?.parked()?;
        Some(parked.heard_at() + self.tcp.time_wait + STAMP_UNIT)
    }
}
