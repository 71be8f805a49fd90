//! What is in flight: when it was sent, and what became of it as far as is known.
//!
//! Read first: RFC 2018 sections 5 and 8, RFC 8985 section 5.
//!
//! Always true: the runs lie one behind the other without a gap, from `una` to
//! `nxt`; there are at most [`MAX_RUNS`] of them; `sacked` and `lost` are what the
//! runs so marked add up to; no run is both.
//!
//! ```text
//!     una                                               nxt
//!   ---|-----lost-----|##sacked##|-in flight-|##sacked##|---
//!      | run A | run B|  run C   |   run D   |  run E   |
//! ```
//!
//! A run is what left in one burst and shares one fate, so that a transfer has
//! about as many runs as it has bursts in flight, and a request has one, for
//! which there is room without an allocation. An acknowledgment costs by what it
//! covers: runs that are SACKed are joined with their neighbours.

mod run;

use std::collections::VecDeque;

use crore_base::{Instant, SeqNum};

pub(crate) use self::run::Run;

/// More runs than this are not kept, whatever the peer reports and however it
/// is sent (96 KiB for one connection). As many segments, each sent at a moment of
/// its own, are 6 MB in flight: more than the default buffers bear. With a quarter
/// of that, what was in flight beyond 0.7 MB had no round trip measured and no loss
/// found before a time-out, and slow start overshot by as much.
pub(crate) const MAX_RUNS: usize = 4096;

/// With so many runs new bursts join the last one, and are not timed.
const MAX_BURSTS: usize = MAX_RUNS / 4 * 3;

/// With so many runs a SACK block that would split one is cut down to what
/// splits none: the rest stays unknown, and is sent again at worst.
const MAX_SPLIT: usize = MAX_RUNS / 8 * 7;

/// What [`SentMap::mark_lost`] is told of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is lost.
    Lost,
    /// It may be, when more time has passed.
    Late,
    /// Nothing has arrived that was sent after it.
    Newer,
}

/// All that was sent and is not acknowledged.
#[derive(Debug)]
pub(crate) struct SentMap {
    /// The newest run, at hand for the request that is alone in flight.
    last: Option<Run>,
    /// The runs before it.
    older: VecDeque<Run>,
    sacked: u32,
    lost: u32,
    /// No run is lost that ends before this.
    lost_from: SeqNum,
    /// No run is other than new that begins at or after this.
    touched: SeqNum,
}

impl SentMap {
    pub(crate) const fn new(una: SeqNum) -> Self {
        Self {
            last: None,
            older: VecDeque::new(),
            sacked: 0,
            lost: 0,
            lost_from: una,
            touched: una,
        }
    }

    /// Nothing is in flight.
    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.older.clear();
        (self.sacked, self.lost) = (0, 0);
    }

    /// `start..end` was sent for the first time, behind all that was sent before.
    #[inline]
    pub(crate) fn push(&mut self, start: SeqNum, end: SeqNum, now: Instant) {
        if let Some(last) = &mut self.last {
            debug_assert!(last.end == start, "without a gap");
            if last.sent_at == now && last.is_untouched() {
                last.end = end;
                return;
            }
            self.push_behind(end, now);
            return;
        }
        self.push_run(start, end, now, 0);
    }

    /// As [`Self::push`], for what was sent at a moment that nobody remembers.
    pub(crate) fn push_untimed(&mut self, start: SeqNum, end: SeqNum, now: Instant) {
        self.push_run(start, end, now, Run::BLURRED);
    }

    #[inline(never)]
    fn push_behind(&mut self, end: SeqNum, now: Instant) {
        let count = self.len();
        let Some(last) = &mut self.last else { return };
        let start = last.end;
        if count < MAX_BURSTS || (count < MAX_RUNS && !last.is_untouched()) {
            self.push_run(start, end, now, 0);
            return;
        }
        if last.is_sacked() {
            self.sacked -= last.len();
        }
        if last.is_lost() {
            self.lost -= last.len();
        }
        let again = last.marks & Run::AGAIN;
        last.end = end;
        last.sent_at = now;
        last.marks = again | Run::BLURRED;
        if again != 0 {
            self.touched = end;
        }
    }

    fn push_run(&mut self, start: SeqNum, end: SeqNum, now: Instant, marks: u8) {
        let run = Run {
            start,
            end,
            sent_at: now,
            marks,
        };
        if let Some(before) = self.last.replace(run) {
            self.older.push_back(before);
        }
    }

    /// The burst that was alone in flight, sent once, of which nothing was known, if
    /// all before `ack` has arrived with it. Else [`Self::acknowledge`] tells.
    #[inline]
    pub(crate) fn take_lone_burst(&mut self, ack: SeqNum) -> Option<Run> {
        let last = self.last?;
        if last.marks != 0 || last.end != ack || !self.older.is_empty() {
            return None;
        }
        self.last = None;
        (self.touched, self.lost_from) = (ack, ack);
        Some(last)
    }

    /// All before `ack` has arrived. `news` is told of each part that was not
    /// known to have.
    pub(crate) fn acknowledge(&mut self, ack: SeqNum, mut news: impl FnMut(&Run)) {
        self.touched = self.touched.max(ack);
        self.lost_from = self.lost_from.max(ack);
        while let Some(front) = self.older.front_mut().or(self.last.as_mut()) {
            if !front.start.before(ack) {
                return;
            }
            let mut part = *front;
            part.end = part.end.min(ack);
            if part.is_lost() {
                self.lost -= part.len();
            }
            if !part.is_sacked() {
                news(&part);
            }
            if front.end.after(ack) {
                if part.is_sacked() {
                    // Acknowledged by halves: the receiver has dropped what it
                    // had SACKed of the rest, or it would have acknowledged it.
                    self.sacked -= front.len();
                    front.marks = Run::AGAIN | Run::BLURRED;
                }
                front.start = ack;
                return;
            }
            if part.is_sacked() {
                self.sacked -= part.len();
            }
            if self.older.pop_front().is_none() {
                self.last = None;
            }
        }
    }

    /// The peer holds `left..right`, it says. Blocks that are empty, below or at
    /// `una` (RFC 2883's duplicates), or beyond what was sent tell nothing.
    /// `news` is told of each part that was not known to have arrived.
    pub(crate) fn sack(&mut self, left: SeqNum, right: SeqNum, mut news: impl FnMut(&Run)) {
        let (Some(una), Some(last)) = (self.una(), self.last) else {
            return;
        };
        if !left.before(right) || !left.after(una) || right.after(last.end) {
            return;
        }
        let (first, end) = self.carve(left, right, MAX_SPLIT, false);
        if first >= end {
            return;
        }
        let mut fresh = 0;
        for index in first..end {
            let run = *self.run(index);
            if !run.is_sacked() {
                fresh += run.len();
                if run.is_lost() {
                    self.lost -= run.len();
                }
                news(&run);
            }
        }
        if fresh == 0 {
            return;
        }
        self.sacked += fresh;
        let mut whole = self.join(first, end, Run::SACKED);
        if whole + 1 < self.len() && self.run(whole + 1).is_sacked() {
            self.join(whole, whole + 2, Run::SACKED);
        }
        if whole > 0 && self.run(whole - 1).is_sacked() {
            self.join(whole - 1, whole + 1, Run::SACKED);
            whole -= 1;
        }
        self.touched = self.touched.max(self.run(whole).end);
    }

    /// `start..end`, which had been sent, was sent again.
    pub(crate) fn resend(&mut self, start: SeqNum, end: SeqNum, now: Instant) {
        let (first, last) = self.carve(start, end, MAX_RUNS, true);
        let mut index = first;
        let mut limit = last;
        while index < limit {
            // A stretch without a SACKed run becomes one run.
            let mut until = index;
            while until < limit && !self.run(until).is_sacked() {
                if self.run(until).is_lost() {
                    self.lost -= self.run(until).len();
                }
                until += 1;
            }
            if until > index {
                self.join(index, until, Run::AGAIN);
                self.run_mut(index).sent_at = now;
                self.touched = self.touched.max(self.run(index).end);
                limit -= until - index - 1;
                let before = index.checked_sub(1).map(|i| *self.run(i));
                if before.is_some_and(|b| b.marks == Run::AGAIN && b.sent_at == now) {
                    self.join(index - 1, index + 1, Run::AGAIN);
                    index -= 1;
                    limit -= 1;
                }
            }
            index += 1;
        }
        if !self.lost_from.before(start) {
            self.lost_from = self.lost_from.max(end);
        }
    }

    /// Marks lost what `judge` says so of. It is asked no more once a run is
    /// newer that nothing is known of: so are those behind it.
    pub(crate) fn mark_lost(&mut self, mut judge: impl FnMut(&Run) -> Verdict) {
        let touched = self.touched;
        self.mark(|run| match judge(run) {
            Verdict::Lost => Some(true),
            Verdict::Newer if !run.start.before(touched) => None,
            Verdict::Newer | Verdict::Late => Some(false),
        });
    }

    /// Marks lost what `is_lost` says so of.
    pub(crate) fn mark_any_lost(&mut self, mut is_lost: impl FnMut(&Run) -> bool) {
        self.mark(|run| Some(is_lost(run)));
    }

    /// Marks what `is_lost` says so of, until it says nothing.
    fn mark(&mut self, mut is_lost: impl FnMut(&Run) -> Option<bool>) {
        let mut marked = 0;
        for run in self.older.iter_mut().chain(self.last.as_mut()) {
            if run.is_sacked() || run.is_lost() {
                continue;
            }
            match is_lost(run) {
                Some(true) => {}
                Some(false) => continue,
                None => break,
            }
            run.marks |= Run::LOST;
            if marked == 0 {
                self.lost_from = self.lost_from.min(run.start);
            }
            marked += run.len();
            self.touched = self.touched.max(run.end);
        }
        self.lost += marked;
    }

    /// Marks the first `bytes` lost; `told` hears of what was not known to be.
    pub(crate) fn mark_head_lost(&mut self, bytes: u32, mut told: impl FnMut(&Run)) {
        let Some(una) = self.una() else { return };
        let (first, end) = self.carve(una, una + bytes, MAX_SPLIT, true);
        for index in first..end {
            let run = self.run_mut(index);
            if !run.is_sacked() && !run.is_lost() {
                told(run);
                run.marks |= Run::LOST;
                let (bytes, end) = (run.len(), run.end);
                self.lost += bytes;
                self.touched = self.touched.max(end);
            }
        }
        self.lost_from = una;
    }

    /// What is marked lost is in flight after all.
    pub(crate) fn unmark_lost(&mut self) {
        for run in self.older.iter_mut().chain(self.last.as_mut()) {
            run.marks &= !Run::LOST;
        }
        self.lost = 0;
    }

    //= rfc2018#section-8 (MUST)
    // The receiver may drop what it has only SACKed: when a time-out finds that
    // it has, nothing but the cumulative acknowledgment counts.
    pub(crate) fn forget_sacks(&mut self) {
        for run in self.older.iter_mut().chain(self.last.as_mut()) {
            if run.is_sacked() {
                run.marks = Run::AGAIN | Run::BLURRED;
            }
        }
        self.sacked = 0;
    }

    /// The first stretch that is lost, of `most` bytes or a little more where
    /// there are as many.
    pub(crate) fn next_lost(&self, most: u32) -> Option<(SeqNum, SeqNum)> {
        if self.lost == 0 {
            return None;
        }
        let from = self.index_of(self.lost_from);
        let first = (from..self.len()).find(|&i| self.run(i).is_lost())?;
        let (start, mut end) = (self.run(first).start, self.run(first).end);
        for index in first + 1..self.len() {
            let run = self.run(index);
            if start.distance_to(end) >= most || !run.is_lost() {
                break;
            }
            end = run.end;
        }
        Some((start, end))
    }

    /// Bytes that the peer has SACKed.
    #[inline]
    pub(crate) const fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes that are thought lost and were not sent again since.
    #[inline]
    pub(crate) const fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes that were sent more than once, and are neither SACKed nor lost again.
    pub(crate) fn resent(&self) -> u32 {
        let touched = self.touched;
        let known = self.iter().take_while(|run| run.start.before(touched));
        let out = known.filter(|run| run.was_sent_again() && !run.is_sacked() && !run.is_lost());
        out.map(Run::len).sum()
    }

    /// Whether all of it was sent once, and nothing is known of it.
    #[inline]
    pub(crate) fn is_untouched(&self) -> bool {
        match self.older.front().or(self.last.as_ref()) {
            Some(front) => !front.start.before(self.touched),
            None => true,
        }
    }

    /// Whether the peer has SACKed at least `count` separate ranges.
    pub(crate) fn has_ranges(&self, count: usize) -> bool {
        let touched = self.touched;
        let known = self.iter().take_while(|run| run.start.before(touched));
        self.sacked > 0 && known.filter(|run| run.is_sacked()).take(count).count() >= count
    }

    /// The first run.
    pub(crate) fn head(&self) -> Option<&Run> {
        self.older.front().or(self.last.as_ref())
    }

    /// The runs in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Run> {
        self.older.iter().chain(self.last.as_ref())
    }

    fn una(&self) -> Option<SeqNum> {
        self.head().map(|run| run.start)
    }

    fn len(&self) -> usize {
        self.older.len() + usize::from(self.last.is_some())
    }

    fn run(&self, index: usize) -> &Run {
        match self.older.get(index) {
            Some(run) => run,
            None => self.last.as_ref().expect("asked for a run that there is"),
        }
    }

    fn run_mut(&mut self, index: usize) -> &mut Run {
        match self.older.get_mut(index) {
            Some(run) => run,
            None => self.last.as_mut().expect("asked for a run that there is"),
        }
    }

    /// The index of the run that holds `seq`, or of the first one behind it.
    fn index_of(&self, seq: SeqNum) -> usize {
        let index = self.older.partition_point(|run| run.end.at_or_before(seq));
        if index == self.older.len() && self.last.is_some_and(|run| run.end.at_or_before(seq)) {
            return index + 1;
        }
        index
    }

    /// Splits runs so that `left..right` begins and ends with one, and says
    /// which those are: from the first index up to the second. SACKed runs are
    /// not split. Where there would be more than `most` runs, what can't be cut
    /// off is taken whole (`outward`), or left out.
    fn carve(&mut self, left: SeqNum, right: SeqNum, most: usize, outward: bool) -> (usize, usize) {
        let mut first = self.index_of(left);
        if first < self.len() && self.run(first).start.before(left) {
            if self.run(first).is_sacked() {
                first += 1;
            } else if self.len() < most {
                self.split(first, left);
                first += 1;
            } else if !outward {
                first += 1;
            }
        }
        let mut end = self.index_of(right);
        if end < self.len() && self.run(end).start.before(right) {
            if self.run(end).is_sacked() {
                end += 1;
            } else if self.len() < most {
                self.split(end, right);
                end += 1;
            } else if outward {
                end += 1;
            }
        }
        (first, end)
    }

    fn split(&mut self, index: usize, at: SeqNum) {
        let run = self.run_mut(index);
        let low = Run { end: at, ..*run };
        run.start = at;
        self.older.insert(index, low);
    }

    /// Makes one run of those from `first` up to `end`, with these marks, and
    /// says where it is.
    fn join(&mut self, first: usize, end: usize, marks: u8) -> usize {
        let (start, mut sent_at) = (self.run(first).start, self.run(first).sent_at);
        for run in self.older.drain(first..end - 1) {
            sent_at = sent_at.max(run.sent_at);
        }
        let run = self.run_mut(first);
        run.start = start;
        run.sent_at = run.sent_at.max(sent_at);
        run.marks = marks;
        first
    }
}

#[cfg(test)]
mod tests;
