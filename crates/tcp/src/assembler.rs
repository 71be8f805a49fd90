//! Data that came before its turn.
//!
//! Read first: RFC 9293 section 3.10.7.4 (segment text), RFC 2018 section 4.
//!
//! Positions are 64-bit offsets in the peer's stream, so that they have an order.
//!
//! Always true: the chunks are disjoint; `runs` are their union, disjoint and
//! not touching; there are at most as many chunks as the configuration allows.
//! Inserting costs a logarithm for each hole that it fills, and filling a hole
//! removes it.
//!
//! ```text
//!   nxt        run            run
//!  --|----|##a##|##b##|----|##c##|----
//! ```

use std::collections::BTreeMap;

use crore_netbuf::Chunk;

/// Bytes of bookkeeping that a stored chunk costs besides what it pins.
const ENTRY: usize = 64;
/// Blocks for small pieces that follow each other grow up to this.
const BLOCK_MAX: usize = 4096;
/// How many of the last arrivals are remembered, to report their runs first.
const RECENT: usize = 4;

/// The out-of-order data of one connection.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    chunks: BTreeMap<u64, Chunk>,
    /// Start to end.
    runs: BTreeMap<u64, u64>,
    /// Positions of the last arrivals, the latest first.
    recent: [u64; RECENT],
    recent_len: u8,
    footprint: usize,
}

/// What became of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inserted {
    /// Some of it was new, and all of that is held.
    New,
    /// All of it was held before.
    Duplicate,
    /// There was no room for all of it.
    Full,
}

/// Start and end of some of the stream, or nothing.
pub(crate) type Stretch = Option<(u64, u64)>;

impl Assembler {
    /// Holds `data`, which starts at `position` of the stream; at most `limit`
    /// chunks are held. Besides what became of it, says which first stretch of
    /// it was held already.
    pub(crate) fn insert(&mut self, position: u64, data: &Chunk, limit: usize) -> (Inserted, Stretch) {
        let end = position + data.len() as u64;
        let mut outcome = Inserted::Duplicate;
        let mut duplicate = None;
        let mut cursor = position;
        while cursor < end {
            if let Some((_, run_end)) = self.run_at(cursor) {
                duplicate = duplicate.or(Some((cursor, run_end.min(end))));
                cursor = run_end;
                continue;
            }
            let next_run = self.runs.range(cursor..).next().map_or(end, |(&start, _)| start);
            let gap_end = next_run.min(end);
            let piece = data.slice((cursor - position) as usize..(gap_end - position) as usize);
            let held = self.store(cursor, piece, limit);
            self.mark(cursor, cursor + held);
            if cursor + held < gap_end {
                outcome = Inserted::Full;
                break;
            }
            outcome = Inserted::New;
            cursor = gap_end;
        }
        self.remember(position);
        (outcome, duplicate)
    }

    /// Takes what is held at `position`, and forgets what lies before it.
    pub(crate) fn pop(&mut self, position: u64) -> Option<Chunk> {
        while let Some(first) = self.chunks.first_entry() {
            let start = *first.key();
            if start > position {
                break;
            }
            let mut chunk = first.remove();
            self.footprint -= chunk.footprint();
            let end = start + chunk.len() as u64;
            if end > position {
                chunk.advance((position - start) as usize);
                self.forget_runs(end);
                return Some(chunk);
            }
        }
        self.forget_runs(position);
        None
    }

    /// The runs to report: the one that the latest segment fell into first, then
    /// those of the segments before it.
    pub(crate) fn recent_runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let recent = &self.recent[..usize::from(self.recent_len)];
        recent.iter().enumerate().filter_map(|(i, &position)| {
            let run = self.run_at(position)?;
            let told = recent[..i].iter().any(|&p| run.0 <= p && p < run.1);
            (!told).then_some(run)
        })
    }

    /// The first stretch of `start..end` that is held.
    pub(crate) fn first_held(&self, start: u64, end: u64) -> Stretch {
        if let Some((_, run_end)) = self.run_at(start) {
            return Some((start, run_end.min(end)));
        }
        let (&run_start, &run_end) = self.runs.range(start..end).next()?;
        Some((run_start, run_end.min(end)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Memory pinned, in bytes.
    pub(crate) const fn footprint(&self) -> usize {
        self.footprint
    }

    /// The run that holds `position`.
    fn run_at(&self, position: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.runs.range(..=position).next_back()?;
        (position < end).then_some((start, end))
    }

    /// Holds a piece that overlaps nothing; says how many bytes of it are held.
    fn store(&mut self, position: u64, mut piece: Chunk, limit: usize) -> u64 {
        let mut held = 0;
        let mut before = 0;
        // Small pieces that follow each other share a block.
        if let Some((&start, chunk)) = self.chunks.range_mut(..position).next_back()
            && start + chunk.len() as u64 == position
        {
            held = chunk.try_extend(&piece);
            piece.advance(held);
            before = chunk.len();
        }
        if piece.is_empty() || self.chunks.len() >= limit {
            return held as u64;
        }
        let len = piece.len();
        if piece.footprint() + ENTRY > 4 * len {
            let mut block = Chunk::with_capacity((2 * before).clamp(len, BLOCK_MAX.max(len)));
            block.try_extend(&piece);
            piece = block;
        }
        self.footprint += piece.footprint();
        self.chunks.insert(position + held as u64, piece);
        (held + len) as u64
    }

    /// Adds `start..end`, which overlaps no run, to the runs.
    fn mark(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        let end = self.runs.remove(&end).unwrap_or(end);
        match self.runs.range_mut(..start).next_back() {
            Some((_, before)) if *before == start => *before = end,
            _ => {
                self.runs.insert(start, end);
            }
        }
    }

    /// All before `position` was taken.
    fn forget_runs(&mut self, position: u64) {
        while let Some(first) = self.runs.first_entry() {
            let (start, end) = (*first.key(), *first.get());
            if start >= position {
                break;
            }
            first.remove();
            if end > position {
                self.runs.insert(position, end);
            }
        }
    }

    //= rfc2018#section-4 (SHOULD)
    // As many different blocks as there is room for, so that each is told in
    // several acknowledgments: of the arrivals in one run only the last counts.
    fn remember(&mut self, position: u64) {
        let (start, end) = self.run_at(position).unwrap_or((position, position + 1));
        let mut kept = [position; RECENT];
        let mut len = 1;
        for &earlier in &self.recent[..usize::from(self.recent_len)] {
            if len < RECENT && !(start <= earlier && earlier < end) {
                kept[len] = earlier;
                len += 1;
            }
        }
        self.recent = kept;
        self.recent_len = len as u8;
    }
}

#[cfg(test)]
mod tests;
