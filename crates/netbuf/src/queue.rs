//! Bytes in order, as a queue of chunks.
//!
//! Always true: positions are counted from the queue's birth and never go back;
//! the chunks lie end to end from `front` to `back`; none of them is empty, but
//! `head` when there is none; `footprint` is the sum over them.
//!
//! ```text
//!   consumed ...|---- head ----|-- chunk --|------ chunk ------|
//!             front       entry.start                         back
//! ```

use core::cell::Cell;
use core::mem;
use std::collections::VecDeque;

use crate::chunk::Chunk;
use crate::heap::HeapOwner;

/// The smallest and the largest block that coalescing small writes allocates,
/// header included: a lone short reply takes a block that the allocator has at
/// hand, a stream of them takes few blocks.
const BLOCK_MIN: usize = 256;
const BLOCK_MAX: usize = 16 * 1024;

/// An ordered run of bytes, held as chunks: a send or a receive queue.
///
/// The first chunk lies in the queue itself: where one request and one reply
/// follow each other, there is never a second one, and no memory apart is
/// allocated or touched.
#[derive(Default)]
pub struct ByteQueue {
    /// The first chunk; empty if there is none.
    head: Chunk,
    /// Those behind it; none if there never were any.
    rest: Option<Box<Rest>>,
    /// Position of the first byte still held.
    front: u64,
    /// Position behind the last byte.
    back: u64,
    footprint: usize,
}

const _: () = assert!(size_of::<ByteQueue>() == 64);

/// The chunks behind the first one.
#[derive(Default)]
struct Rest {
    entries: VecDeque<Entry>,
    /// How many entries left at the front: what makes `hint` outlive a pop.
    popped: u64,
    /// Where the last [`ByteQueue::copy_at`] ended, as `popped` + index.
    hint: Cell<u64>,
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
            head: Chunk::empty(),
            rest: None,
            front: 0,
            back: 0,
            footprint: 0,
        }
    }

    /// Appends `chunk` without copying it; an empty one is dropped.
    #[inline]
    pub fn push(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        let was_empty = self.is_empty();
        let start = self.back;
        self.back += chunk.len() as u64;
        self.footprint += chunk.footprint();
        if was_empty {
            self.head = chunk;
        } else {
            let rest = self.rest.get_or_insert_default();
            rest.entries.push_back(Entry { start, chunk });
        }
    }

    /// Appends a copy of `data`: into the last chunk while it has room and is
    /// not shared, then into a new block with room for what may follow.
    pub fn push_slice_coalescing(&mut self, data: &[u8]) {
        let mut rest = data;
        if let Some(tail) = self.tail() {
            let copied = tail.try_extend(rest);
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

    /// The last chunk.
    fn tail(&mut self) -> Option<&mut Chunk> {
        if self.is_empty() {
            return None;
        }
        match self.rest.as_mut().and_then(|rest| rest.entries.back_mut()) {
            Some(last) => Some(&mut last.chunk),
            None => Some(&mut self.head),
        }
    }

    /// Takes the first chunk whole.
    #[inline]
    pub fn pop(&mut self) -> Option<Chunk> {
        if self.is_empty() {
            return None;
        }
        let next = match &mut self.rest {
            Some(rest) => rest.pop(),
            None => Chunk::empty(),
        };
        let chunk = mem::replace(&mut self.head, next);
        self.front += chunk.len() as u64;
        self.footprint -= chunk.footprint();
        Some(chunk)
    }

    /// Takes at most `n` bytes, as one view of the first chunk.
    pub fn pop_up_to(&mut self, n: usize) -> Option<Chunk> {
        if n >= self.head.len() {
            return self.pop();
        }
        if n == 0 {
            return None;
        }
        self.front += n as u64;
        Some(self.head.split_to(n))
    }

    /// Drops `n` bytes from the front, or all when there are fewer.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        let mut left = n.min(self.len());
        while left > 0 {
            let first = self.head.len();
            if left < first {
                self.head.advance(left);
                self.front += left as u64;
                return;
            }
            left -= first;
            self.pop();
        }
    }

    /// Drops everything, and the queue's own memory with it.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Copies the bytes at `offset` from the front into `out`, and says how many
    /// there were: `out.len()`, unless the queue ends before.
    ///
    /// Constant time where the last copy ended or at the front, logarithmic in
    /// the number of chunks elsewhere.
    #[inline]
    pub fn copy_at(&self, offset: usize, out: &mut [u8]) -> usize {
        let within = self.head.get(offset..).and_then(|bytes| bytes.get(..out.len()));
        if let Some(bytes) = within {
            out.copy_from_slice(bytes);
            return bytes.len();
        }
        self.copy_across(offset, out)
    }

    /// [`Self::copy_at`] where the first chunk alone has not all that is wanted.
    fn copy_across(&self, offset: usize, out: &mut [u8]) -> usize {
        let available = self.len().saturating_sub(offset);
        let wanted = out.len().min(available);
        let mut done = 0;
        if let Some(bytes) = self.head.get(offset..) {
            done = bytes.len().min(wanted);
            out[..done].copy_from_slice(&bytes[..done]);
        }
        if let Some(rest) = &self.rest
            && done < wanted
        {
            rest.copy_at(self.front + (offset + done) as u64, &mut out[done..wanted]);
        }
        wanted
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
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> + '_ {
        let head = (!self.is_empty()).then_some(&self.head);
        let rest = self.rest.iter().flat_map(|rest| &rest.entries);
        head.into_iter().chain(rest.map(|entry| &entry.chunk))
    }
}

impl Rest {
    /// Takes the first chunk; an empty one if there is none.
    fn pop(&mut self) -> Chunk {
        match self.entries.pop_front() {
            Some(entry) => {
                self.popped += 1;
                entry.chunk
            }
            None => Chunk::empty(),
        }
    }

    /// Fills `out`, which is not empty, with the bytes at `position`; all of them are held here.
    fn copy_at(&self, position: u64, out: &mut [u8]) {
        let mut index = self.entry_at(position);
        let mut within = (position - self.entries[index].start) as usize;
        let mut done = 0;
        loop {
            let bytes = &self.entries[index].chunk[within..];
            let n = bytes.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&bytes[..n]);
            done += n;
            if n == bytes.len() {
                index += 1;
                within = 0;
            }
            if done == out.len() {
                break;
            }
        }
        self.hint.set(self.popped + index as u64);
    }

    /// The entry that holds `position`, which is held here.
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
}

impl core::fmt::Debug for ByteQueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ByteQueue")
            .field("bytes", &self.len())
            .field("chunks", &self.chunks().count())
            .field("footprint", &self.footprint)
            .finish()
    }
}

#[cfg(test)]
mod tests;
