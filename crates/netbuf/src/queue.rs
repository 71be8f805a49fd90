//! Bytes in order, as a queue of chunks.
//!
//! Always true: positions are counted from the queue's birth and never go back;
//! the entries lie end to end from `front` to `back`; none of them is empty;
//! `footprint` is the sum over the entries.
//!
//! ```text
//!   consumed ...|---- chunk ----|-- chunk --|------ chunk ------|
//!             front         entry.start                       back
//! ```

use core::cell::Cell;
use std::collections::VecDeque;

use crate::chunk::Chunk;
use crate::heap::HeapOwner;

/// The smallest and the largest block that coalescing small writes allocates,
/// header included: a lone short reply takes a block that the allocator has at
/// hand, a stream of them takes few blocks.
const BLOCK_MIN: usize = 256;
const BLOCK_MAX: usize = 16 * 1024;

/// An ordered run of bytes, held as chunks: a send or a receive queue.
#[derive(Default)]
pub struct ByteQueue {
    entries: VecDeque<Entry>,
    /// Position of the first byte still held.
    front: u64,
    /// Position behind the last byte.
    back: u64,
    /// How many entries left at the front: what makes `hint` outlive a pop.
    popped: u64,
    /// Where the last [`ByteQueue::copy_at`] ended, as `popped` + index.
    hint: Cell<u64>,
    footprint: usize,
}

struct Entry {
    /// Position of the chunk's first byte.
    start: u64,
    chunk: Chunk,
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + self.chunk.len() as u64
    }
}

impl ByteQueue {
    /// An empty queue, which holds no memory.
    pub const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            front: 0,
            back: 0,
            popped: 0,
            hint: Cell::new(0),
            footprint: 0,
        }
    }

    /// Appends `chunk` without copying it; an empty one is dropped.
    pub fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        let start = self.back;
        self.back += chunk.len() as u64;
        self.footprint += chunk.footprint();
        self.entries.push_back(Entry { start, chunk });
    }

    /// Appends a copy of `data`: into the last chunk while it has room and is
    /// not shared, then into a new block with room for what may follow.
    pub fn push_slice_coalescing(&mut self, data: &[u8]) {
        let mut rest = data;
        if let Some(tail) = self.entries.back_mut() {
            let copied = tail.chunk.try_extend(rest);
            self.back += copied as u64;
            rest = &rest[copied..];
        }
        if rest.is_empty() {
            return;
        }
        let block = rest
            .len()
            .max(self.len())
            .next_power_of_two()
            .clamp(BLOCK_MIN, BLOCK_MAX);
        let mut chunk = Chunk::with_capacity((block - HeapOwner::OVERHEAD).max(rest.len()));
        chunk.try_extend(rest);
        self.push(chunk);
    }

    /// Takes the first chunk whole.
    pub fn pop(&mut self) -> Option<Chunk> {
        let entry = self.entries.pop_front()?;
        self.popped += 1;
        self.front = entry.end();
        self.footprint -= entry.chunk.footprint();
        Some(entry.chunk)
    }

    /// Takes at most `n` bytes, as one view of the first chunk.
    pub fn pop_up_to(&mut self, n: usize) -> Option<Chunk> {
        let first = self.entries.front_mut()?;
        if n >= first.chunk.len() {
            return self.pop();
        }
        if n == 0 {
            return None;
        }
        let head = first.chunk.split_to(n);
        first.start += n as u64;
        self.front = first.start;
        Some(head)
    }

    /// Drops `n` bytes from the front, or all when there are fewer.
    pub fn consume(&mut self, n: usize) {
        let until = self.front + n.min(self.len()) as u64;
        while let Some(first) = self.entries.front_mut() {
            if first.end() > until {
                first.chunk.advance((until - first.start) as usize);
                first.start = until;
                break;
            }
            self.footprint -= first.chunk.footprint();
            self.popped += 1;
            self.entries.pop_front();
        }
        self.front = until;
    }

    /// Drops everything, and the queue's own memory with it.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Gives the queue's own memory back if it holds nothing.
    pub fn release_if_empty(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Copies the bytes at `offset` from the front into `out`, and says how many
    /// there were: `out.len()`, unless the queue ends before.
    ///
    /// Constant time where the last copy ended or at the front, logarithmic in
    /// the number of chunks elsewhere.
    pub fn copy_at(&self, offset: usize, out: &mut [u8]) -> usize {
        let available = self.len().saturating_sub(offset);
        let wanted = out.len().min(available);
        if wanted == 0 {
            return 0;
        }
        let mut index = self.entry_at(self.front + offset as u64);
        let mut within = (self.front + offset as u64 - self.entries[index].start) as usize;
        let mut done = 0;
        loop {
            let bytes = &self.entries[index].chunk[within..];
            let n = bytes.len().min(wanted - done);
            out[done..done + n].copy_from_slice(&bytes[..n]);
            done += n;
            if n == bytes.len() {
                index += 1;
                within = 0;
            }
            if done == wanted {
                break;
            }
        }
        self.hint.set(self.popped + index as u64);
        wanted
    }

    /// The entry that holds `position`, which lies inside the queue.
    fn entry_at(&self, position: u64) -> usize {
        let holds = |index: usize| {
            let entry = self.entries.get(index)?;
            (entry.start <= position && position < entry.end()).then_some(index)
        };
        let hint = self.hint.get().saturating_sub(self.popped) as usize;
        // The chunk before the hint grows when small writes are coalesced into it.
        holds(hint)
            .or_else(|| holds(hint.saturating_sub(1)))
            .or_else(|| holds(0))
            .unwrap_or_else(|| self.entries.partition_point(|entry| entry.end() <= position))
    }

    /// Bytes held.
    pub const fn len(&self) -> usize {
        (self.back - self.front) as usize
    }

    /// Whether no bytes are held.
    pub const fn is_empty(&self) -> bool {
        self.back == self.front
    }

    /// Bytes of memory that the chunks pin; a buffer seen by two of them counts
    /// twice.
    pub const fn footprint(&self) -> usize {
        self.footprint
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &Chunk> + DoubleEndedIterator + '_ {
        self.entries.iter().map(|entry| &entry.chunk)
    }
}

impl core::fmt::Debug for ByteQueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ByteQueue")
            .field("bytes", &self.len())
            .field("chunks", &self.entries.len())
            .field("footprint", &self.footprint)
            .finish()
    }
}

#[cfg(test)]
mod tests;
