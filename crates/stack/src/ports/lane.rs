//! The free ports of one destination, a bit each.
//!
//! Always true: a word of the summary has a bit on for each word of ports that
//! has one; so the next free port after any other is found by looking at two
//! words of ports and at the summary, which is sixteen words at most.

/// Bits of a word.
const WORD: u32 = u64::BITS;

#[derive(Debug)]
pub(super) struct Lane {
    /// A bit on: not known to be taken.
    ports: Box<[u64]>,
    summary: Box<[u64]>,
    count: u32,
    /// Where the search goes on.
    cursor: u32,
    /// Ports that were handed out or found taken.
    taken: u32,
}

impl Lane {
    /// All of `count` ports, from `start` on.
    pub(super) fn new(count: u32, start: u32) -> Self {
        Self {
            ports: ones(count),
            summary: ones(count.div_ceil(WORD)),
            count,
            cursor: start % count,
            taken: 0,
        }
    }

    /// The next candidate, in a circle; none when no bit is on.
    pub(super) fn next(&self) -> Option<u16> {
        let found = self.at_or_after(self.cursor).or_else(|| self.at_or_after(0))?;
        Some(found as u16)
    }

    /// The candidate is taken.
    pub(super) fn take(&mut self, at: u16) {
        self.strike(at);
        self.taken += 1;
    }

    /// The candidate is of no use here, ever.
    pub(super) fn strike(&mut self, at: u16) {
        self.pass(at);
        let (word, bit) = place(at.into());
        self.ports[word] &= !bit;
        if self.ports[word] == 0 {
            let (word, bit) = place(word as u32);
            self.summary[word] &= !bit;
        }
    }

    /// The candidate is of no use now.
    pub(super) fn pass(&mut self, at: u16) {
        self.cursor = (u32::from(at) + 1) % self.count;
    }

    /// A port that was taken is free again.
    pub(super) fn give_back(&mut self, at: u16) {
        let (word, bit) = place(at.into());
        if self.ports[word] & bit == 0 {
            self.ports[word] |= bit;
            let (word, bit) = place(word as u32);
            self.summary[word] |= bit;
            self.taken = self.taken.saturating_sub(1);
        }
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    pub(super) fn cursor(&self) -> u32 {
        self.cursor
    }

    fn at_or_after(&self, from: u32) -> Option<u32> {
        let (word, bit) = place(from);
        let here = self.ports[word] & !(bit - 1);
        if here != 0 {
            return Some(word as u32 * WORD + here.trailing_zeros());
        }
        let (group, bit) = place(word as u32 + 1);
        for (nth, &words) in self.summary.iter().enumerate().skip(group) {
            let words = if nth == group { words & !(bit - 1) } else { words };
            if words != 0 {
                let word = nth as u32 * WORD + words.trailing_zeros();
                return Some(word * WORD + self.ports[word as usize].trailing_zeros());
            }
        }
        None
    }
}

const fn place(at: u32) -> (usize, u64) {
    ((at / WORD) as usize, 1 << (at % WORD))
}

/// So many bits, all on.
fn ones(count: u32) -> Box<[u64]> {
    let mut words = vec![u64::MAX; count.div_ceil(WORD) as usize];
    if !count.is_multiple_of(WORD)
        && let Some(last) = words.last_mut()
    {
        *last = (1 << (count % WORD)) - 1;
    }
    words.into()
}
