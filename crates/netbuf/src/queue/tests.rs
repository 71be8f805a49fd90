//! The queue against a plain `VecDeque<u8>`.

use super::*;
use proptest::prelude::*;

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn small_writes_share_blocks() {
    let mut queue = ByteQueue::new();
    for i in 0..10_000 {
        queue.push_slice_coalescing(&pattern(i, 1));
    }
    assert!(queue.chunks().count() < 20, "{queue:?}");
    assert!(
        queue.footprint() < 2 * queue.len(),
        "blocks of a size that suits what is queued: {queue:?}"
    );
    let mut out = vec![0; 10_000];
    assert_eq!(queue.copy_at(0, &mut out), 10_000, "all there");
    assert_eq!(out, pattern(0, 10_000), "in order");
}

#[test]
fn a_lone_small_write_takes_a_small_block() {
    let mut queue = ByteQueue::new();
    queue.push_slice_coalescing(b"HTTP/1.1 200 OK\r\n");
    assert_eq!(
        queue.footprint(),
        BLOCK_MIN - HeapOwner::OVERHEAD,
        "the smallest block"
    );
}

#[test]
fn a_large_write_is_one_chunk() {
    let mut queue = ByteQueue::new();
    queue.push_slice_coalescing(&pattern(0, 100_000));
    assert_eq!(
        (queue.chunks().count(), queue.footprint()),
        (1, 100_000),
        "{queue:?}"
    );
}

#[test]
fn what_was_handed_out_is_never_written_behind() {
    let mut queue = ByteQueue::new();
    queue.push_slice_coalescing(b"abcdef");
    let head = queue.pop_up_to(4);
    queue.push_slice_coalescing(b"ghi");
    assert_eq!(head.as_deref(), Some(&b"abcd"[..]), "the head is as it was");
    let mut out = [0; 5];
    queue.copy_at(0, &mut out);
    assert_eq!(&out, b"efghi", "and the rest goes on");
}

#[test]
fn copying_follows_a_tail_that_grows() {
    let mut queue = ByteQueue::new();
    let mut copied = 0;
    for i in 0..2000 {
        queue.push_slice_coalescing(&pattern(3 * i, 3));
        let mut out = [0; 3];
        assert_eq!(queue.copy_at(copied, &mut out), 3, "what was just written");
        assert_eq!(out.to_vec(), pattern(3 * i, 3), "byte for byte");
        copied += 3;
    }
}

#[test]
fn a_copy_past_the_end_stops_there() {
    let mut queue = ByteQueue::new();
    queue.push(Chunk::from_static(b"abc"));
    let mut out = [b'.'; 5];
    assert_eq!(queue.copy_at(1, &mut out), 2, "two are left");
    assert_eq!(&out, b"bc...", "the rest of the buffer is untouched");
    assert_eq!(queue.copy_at(3, &mut out), 0, "none at the end");
    assert_eq!(queue.copy_at(usize::MAX, &mut out), 0, "nor far beyond");
}

#[test]
fn empty_chunks_are_not_kept() {
    let mut queue = ByteQueue::new();
    queue.push(Chunk::empty());
    queue.push(Chunk::with_capacity(100));
    queue.push_slice_coalescing(b"");
    assert_eq!((queue.chunks().count(), queue.footprint()), (0, 0), "{queue:?}");
    assert!(
        queue.pop().is_none() && queue.pop_up_to(5).is_none(),
        "nothing to take"
    );
}

#[test]
fn clearing_forgets_the_bytes_and_the_memory() {
    let mut queue = ByteQueue::new();
    queue.push_slice_coalescing(&pattern(0, 1000));
    queue.clear();
    assert_eq!((queue.len(), queue.footprint()), (0, 0), "nothing left");
    assert!(queue.rest.is_none(), "no memory either");
    queue.push(Chunk::from_static(b"x"));
    queue.consume(1);
    assert!(queue.rest.is_none(), "one chunk at a time needs none");
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    PushStatic,
    Coalesce(usize),
    Pop,
    PopUpTo(usize),
    Consume(usize),
    CopyAt(usize, usize),
    CopyOn(usize),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..600usize).prop_map(Op::Push),
        1 => Just(Op::PushStatic),
        4 => (0..900usize).prop_map(Op::Coalesce),
        1 => Just(Op::Pop),
        2 => (0..700usize).prop_map(Op::PopUpTo),
        2 => (0..1500usize).prop_map(Op::Consume),
        3 => (0..6000usize, 0..1500usize).prop_map(|(at, n)| Op::CopyAt(at, n)),
        4 => (0..1500usize).prop_map(Op::CopyOn),
        1 => Just(Op::Clear),
    ]
}

/// The queue, the model, and where the last copy ended.
struct Pair {
    queue: ByteQueue,
    model: VecDeque<u8>,
    written: usize,
    cursor: usize,
}

impl Pair {
    fn next(&mut self, len: usize) -> Vec<u8> {
        let data = pattern(self.written, len);
        self.written += len;
        self.model.extend(&data);
        data
    }

    fn took(&mut self, taken: Option<Chunk>) {
        let taken = taken.unwrap_or_default();
        let expected: Vec<u8> = self.model.drain(..taken.len()).collect();
        assert_eq!(taken, expected, "taken from the front");
        self.cursor = self.cursor.saturating_sub(taken.len());
    }

    fn copied(&mut self, offset: usize, len: usize) {
        let mut out = vec![0; len];
        let n = self.queue.copy_at(offset, &mut out);
        let expected: Vec<u8> = self.model.iter().skip(offset).take(len).copied().collect();
        assert_eq!(out[..n], expected, "copied at {offset}");
        self.cursor = offset + n;
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push(n) => {
                let data = self.next(n);
                self.queue.push(Chunk::copy_from(&data));
            }
            Op::PushStatic => {
                self.model.extend(b"static");
                self.queue.push(Chunk::from_static(b"static"));
            }
            Op::Coalesce(n) => {
                let data = self.next(n);
                self.queue.push_slice_coalescing(&data);
            }
            Op::Pop => {
                let taken = self.queue.pop();
                assert_eq!(taken.is_some(), !self.model.is_empty(), "something to take");
                self.took(taken);
            }
            Op::PopUpTo(n) => {
                let taken = self.queue.pop_up_to(n);
                assert!(
                    taken.as_ref().is_none_or(|t| t.len() <= n),
                    "no more than asked for"
                );
                assert_eq!(
                    taken.is_some(),
                    n != 0 && !self.model.is_empty(),
                    "something to take"
                );
                self.took(taken);
            }
            Op::Consume(n) => {
                self.queue.consume(n);
                self.model.drain(..n.min(self.model.len()));
                self.cursor = self.cursor.saturating_sub(n);
            }
            Op::CopyAt(at, n) => self.copied(at, n),
            Op::CopyOn(n) => self.copied(self.cursor, n),
            Op::Clear => {
                self.queue.clear();
                self.model.clear();
                self.cursor = 0;
            }
        }
    }
}

proptest! {
    #[test]
    fn any_run_of_operations_equals_a_deque_of_bytes(ops in prop::collection::vec(op(), 1..150)) {
        let mut pair = Pair {
            queue: ByteQueue::new(),
            model: VecDeque::new(),
            written: 0,
            cursor: 0,
        };
        for op in ops {
            pair.apply(op);
            let Pair { queue, model, .. } = &pair;
            prop_assert_eq!(queue.len(), model.len(), "length");
            prop_assert_eq!(queue.is_empty(), model.is_empty(), "emptiness");
            prop_assert!(queue.chunks().all(|chunk| !chunk.is_empty()), "no empty entries");
            let footprint: usize = queue.chunks().map(Chunk::footprint).sum();
            prop_assert_eq!(queue.footprint(), footprint, "the sum over the entries");
            let flat: Vec<u8> = queue.chunks().flat_map(|chunk| chunk.iter().copied()).collect();
            prop_assert!(flat.iter().eq(model.iter()), "the same bytes");
        }
    }
}
