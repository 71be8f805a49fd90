//! What the peer holds beyond the cumulative acknowledgment.
//!
//! Read first: RFC 2018 section 5, RFC 6675 sections 3 and 4.
//!
//! Always true: the ranges are disjoint, do not touch, are in order, lie within
//! `(una, nxt]` as of the last call, and are at most [`MAX_RANGES`].
//!
//! ```text
//!       una        lost_edge                        nxt
//!   -----|---hole----|##sacked##|-hole-|##|-hole-|##|----
//!         presumed lost          not yet presumed lost
//! ```

use crore_base::SeqNum;

/// More separate ranges than this are not remembered: what is forgotten is only
/// sent again. A sender with 256 KiB in flight has at most half as many.
pub(crate) const MAX_RANGES: usize = 256;

/// How many separate ranges above a byte make it lost (RFC 6675 section 2).
pub(crate) const DUP_THRESH: u32 = 3;

/// The ranges that the peer has reported.
#[derive(Clone, Debug, Default)]
pub(crate) struct SackScoreboard {
    ranges: Vec<(SeqNum, SeqNum)>,
}

impl SackScoreboard {
    pub(crate) const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Remembers one block of an acknowledgment, and says whether it told
    /// anything new. Blocks that are empty, below `una` (RFC 2883's
    /// duplicates), or beyond what was sent tell nothing.
    pub(crate) fn record(&mut self, una: SeqNum, nxt: SeqNum, left: SeqNum, right: SeqNum) -> bool {
        if !left.before(right) || !left.after(una) || right.after(nxt) {
            return false;
        }
        let first = self.ranges.partition_point(|r| r.1.before(left));
        let touched = self.ranges[first..].partition_point(|r| r.0.at_or_before(right));
        if touched == 0 {
            if self.ranges.len() >= MAX_RANGES {
                return false;
            }
            self.ranges.insert(first, (left, right));
            return true;
        }
        let merged = (
            left.min(self.ranges[first].0),
            right.max(self.ranges[first + touched - 1].1),
        );
        let news = touched > 1 || merged != self.ranges[first];
        self.ranges[first] = merged;
        self.ranges.drain(first + 1..first + touched);
        news
    }

    /// Whether the peer has reported nothing.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// All up to `una` is acknowledged.
    pub(crate) fn advance(&mut self, una: SeqNum) {
        if self.ranges.is_empty() {
            return;
        }
        let done = self.ranges.partition_point(|r| r.1.at_or_before(una));
        self.ranges.drain(..done);
        // Acknowledged by halves: the receiver has dropped what it had SACKed
        // of the rest, or else it would have acknowledged that too.
        if self.ranges.first().is_some_and(|r| r.0.at_or_before(una)) {
            self.ranges.remove(0);
        }
    }

    //= rfc2018#section-8 (MUST)
    // The receiver may drop what it has only SACKed: after a time-out nothing
    // but the cumulative acknowledgment counts.
    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Where the bytes end that are presumed lost: those below it which are not
    /// SACKed have three ranges, or more than two segments' bytes, SACKed above
    /// them (IsLost of RFC 6675). None: nothing is.
    pub(crate) fn lost_edge(&self, mss: u32) -> Option<SeqNum> {
        let (mut ranges, mut bytes) = (0, 0u32);
        for &(left, right) in self.ranges.iter().rev() {
            ranges += 1;
            bytes = bytes.saturating_add(left.distance_to(right));
            if ranges >= DUP_THRESH || bytes > (DUP_THRESH - 1) * mss {
                return Some(left);
            }
        }
        None
    }

    /// The first stretch at or after `from` and before `until` that is not SACKed.
    pub(crate) fn next_hole(&self, from: SeqNum, until: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let mut start = from;
        let next = self.ranges.partition_point(|r| r.1.at_or_before(start));
        let mut rest = self.ranges[next..].iter();
        let mut end = until;
        if let Some(&(left, right)) = rest.next() {
            if left.after(start) {
                end = left.min(until);
            } else {
                start = right;
                if let Some(&(left, _)) = rest.next() {
                    end = left.min(until);
                }
            }
        }
        start.before(end).then_some((start, end))
    }

    /// The last stretch before `nxt` that is not SACKed.
    pub(crate) fn last_hole(&self, una: SeqNum, nxt: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let mut end = nxt;
        for &(left, right) in self.ranges.iter().rev() {
            if right.before(end) {
                return Some((right, end));
            }
            end = left;
        }
        una.before(end).then_some((una, end))
    }

    /// How much is thought to be in flight (SetPipe of RFC 6675): what is
    /// neither SACKed nor presumed lost, and what was sent again up to
    /// `high_rxt`.
    pub(crate) fn pipe(&self, una: SeqNum, nxt: SeqNum, mss: u32, high_rxt: SeqNum) -> u32 {
        let lost_edge = self.lost_edge(mss).unwrap_or(una);
        let mut pipe = 0u32;
        let mut count = |start: SeqNum, end: SeqNum| {
            if end.after(lost_edge) {
                pipe = pipe.saturating_add(start.max(lost_edge).distance_to(end));
            }
            if high_rxt.after(start) {
                pipe = pipe.saturating_add(start.distance_to(end.min(high_rxt)));
            }
        };
        let mut start = una;
        for &(left, right) in &self.ranges {
            count(start, left);
            start = right;
        }
        if start.before(nxt) {
            count(start, nxt);
        }
        pipe
    }

    /// SACKed bytes below `until`.
    pub(crate) fn sacked_below(&self, until: SeqNum) -> u32 {
        self.ranges
            .iter()
            .take_while(|r| r.0.before(until))
            .map(|r| r.0.distance_to(r.1.min(until)))
            .sum()
    }

    /// The end of the highest range.
    pub(crate) fn highest(&self) -> Option<SeqNum> {
        self.ranges.last().map(|r| r.1)
    }

    /// The ranges in order.
    pub(crate) fn ranges(&self) -> &[(SeqNum, SeqNum)] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests;
