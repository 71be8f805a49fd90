//! How many challenge ACKs parked connections have sent of late.
//!
//! Read first: RFC 5961 section 7, [`crore_tcp::Challenges`].
//!
//! The limit is each connection's own, so that nobody can learn of one connection
//! by counting the challenges of another (CVE-2016-5696). A connection that is
//! parked must not forget what it has sent, or each forged segment would find it
//! with a fresh budget. There is no room for that in its record, and it matters for
//! seconds; so it is kept here, two bytes for each slot, in memory that nobody
//! touches until somebody forges.
//!
//! Always true: what is found for a slot was kept by the connection in that slot.

use crore_base::{Duration, Instant};
use crore_tcp::Challenges;

/// Moments are kept in units of 2^28 ns (268 ms), modulo 2^12 (18 minutes).
const SHIFT: u32 = 28;
const COUNT_BITS: u32 = 4;
const UNITS: u64 = 1 << (16 - COUNT_BITS);

/// By slot: the unit in which the span began, and how many were sent in it.
pub(crate) struct ChallengeTable {
    words: Vec<u16>,
    slots_max: u32,
    /// When the last span that is kept ends.
    until: Instant,
}

impl ChallengeTable {
    pub(crate) fn new(slots_max: u32) -> Self {
        Self {
            words: Vec::new(),
            slots_max,
            until: Instant::ZERO,
        }
    }

    /// Keeps what the connection at `slot` has sent, which is being parked.
    #[inline]
    pub(crate) fn keep(&mut self, now: Instant, slot: u32, sent: Option<Challenges>) {
        if let Some(sent) = sent {
            self.put(slot, word(&sent));
            self.until = self.until.max(sent.since + Challenges::SPAN);
        } else {
            self.forget(now, slot);
        }
    }

    /// What was kept of the connection at `slot`, as far as it still counts.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant, slot: u32) -> Option<Challenges> {
        if now >= self.until {
            return None;
        }
        let word = core::mem::take(self.words.get_mut(slot as usize)?);
        let unit = now.as_nanos() >> SHIFT;
        let age = unit.wrapping_sub(u64::from(word >> COUNT_BITS)) % UNITS;
        let since = Instant::from_nanos(unit.saturating_sub(age) << SHIFT);
        let count = (word & ((1 << COUNT_BITS) - 1)) as u8;
        let counts = count > 0 && now.since(since) < Challenges::SPAN + Duration::from_nanos(1 << SHIFT);
        counts.then_some(Challenges { since, count })
    }

    /// The connection at `slot` is over.
    #[inline]
    pub(crate) fn forget(&mut self, now: Instant, slot: u32) {
        if now < self.until {
            self.put(slot, 0);
        }
    }

    #[inline(never)]
    fn put(&mut self, slot: u32, word: u16) {
        if self.words.is_empty() {
            // Address space for all; memory for those that are touched.
            self.words = vec![0; self.slots_max as usize];
        }
        if let Some(place) = self.words.get_mut(slot as usize) {
            *place = word;
        }
    }
}

fn word(sent: &Challenges) -> u16 {
    let unit = (sent.since.as_nanos() >> SHIFT) % UNITS;
    let count = sent.count.min((1 << COUNT_BITS) - 1);
    (unit as u16) << COUNT_BITS | u16::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_remembered_for_a_span_and_for_that_slot_alone() {
        let mut table = ChallengeTable::new(100);
        let since = Instant::from_millis(5_000_123);
        table.keep(since, 7, None);
        assert_eq!(table.words.capacity(), 0, "nothing forged, nothing taken");
        table.keep(since, 7, Some(Challenges { since, count: 9 }));
        let soon = since + Duration::from_secs(2);
        assert_eq!(table.take(soon, 8), None, "another slot");
        let kept = table.take(soon, 7).expect("kept");
        assert_eq!(kept.count, 9, "all of them");
        assert!(
            kept.since <= since && since.since(kept.since) <= Duration::from_millis(269),
            "rounded"
        );
        assert_eq!(table.take(soon, 7), None, "taken once");
        table.keep(since, 7, Some(Challenges { since, count: 9 }));
        table.forget(soon, 7);
        assert_eq!(table.take(soon, 7), None, "the next connection begins anew");
        table.keep(since, 7, Some(Challenges { since, count: 9 }));
        assert_eq!(table.take(since + Duration::from_secs(10), 7), None, "long over");
    }
}
