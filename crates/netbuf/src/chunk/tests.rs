//! Chunks against plain vectors, and their owners against a count.

use super::*;
use core::cell::Cell;
use core::pin::Pin;
use proptest::prelude::*;

/// A foreign buffer that counts its views, and never frees itself: the test
/// looks at the count.
struct Foreign {
    refs: Cell<usize>,
    retains: Cell<usize>,
    bytes: Vec<u8>,
}

static FOREIGN: ExternalVtable = ExternalVtable {
    retain: |owner| {
        // SAFETY: every owner in these tests is a pinned `Foreign` that outlives its chunks.
        let foreign = unsafe { owner.cast::<Foreign>().as_ref() };
        assert_ne!(foreign.refs.get(), 0, "a view of a buffer that was given back");
        foreign.refs.set(foreign.refs.get() + 1);
        foreign.retains.set(foreign.retains.get() + 1);
    },
    release: |owner| {
        // SAFETY: as in `retain`.
        let foreign = unsafe { owner.cast::<Foreign>().as_ref() };
        assert_ne!(foreign.refs.get(), 0, "a buffer given back twice");
        foreign.refs.set(foreign.refs.get() - 1);
    },
    footprint: 2048,
};

impl Foreign {
    fn new(bytes: &[u8]) -> Pin<Box<Self>> {
        Box::pin(Self {
            refs: Cell::new(0),
            retains: Cell::new(0),
            bytes: bytes.to_vec(),
        })
    }

    fn chunk(self: &Pin<Box<Self>>) -> Chunk {
        self.refs.set(self.refs.get() + 1);
        let owner = NonNull::from(&**self).cast();
        // SAFETY: the bytes are never written, the count was raised for this
        // chunk, and each test keeps the box until its chunks are gone.
        unsafe { Chunk::from_external(self.bytes.as_ptr(), self.bytes.len(), owner, &FOREIGN) }
    }
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|i| i as u8).collect()
}

#[test]
fn every_kind_of_chunk_shows_its_bytes_and_what_it_pins() {
    let heap = Chunk::copy_from(b"heap");
    assert_eq!(heap, b"heap", "a copy");
    assert_eq!((heap.footprint(), heap.is_external()), (4, false), "exact");

    let fixed = Chunk::from_static(b"static");
    assert_eq!(fixed, b"static", "the program's own");
    assert_eq!(
        (fixed.footprint(), fixed.is_external()),
        (0, false),
        "pins nothing"
    );

    let foreign = Foreign::new(b"foreign");
    let view = foreign.chunk();
    assert_eq!(view, b"foreign", "the buffer's own bytes");
    assert_eq!(
        (view.footprint(), view.is_external()),
        (2048, true),
        "pins a whole buffer"
    );
    assert_eq!(
        view.as_ptr(),
        foreign.bytes.as_ptr(),
        "nothing was copied on the way"
    );

    assert!(
        Chunk::empty().is_empty() && Chunk::copy_from(b"").is_empty(),
        "nothing"
    );
    assert_eq!(Chunk::copy_from(b"").footprint(), 0, "nothing pins nothing");
    assert_eq!(Chunk::default(), b"", "the default is empty");
}

#[test]
fn the_last_view_of_a_foreign_buffer_gives_it_back() {
    let foreign = Foreign::new(&numbered(100));
    let whole = foreign.chunk();
    let mut tail = whole.slice(10..100);
    let head = tail.split_to(20);
    let copy = head.clone();
    assert_eq!(foreign.refs.get(), 4, "one for each view");
    assert_eq!(
        (&head[..], &tail[..]),
        (&numbered(100)[10..30], &numbered(100)[30..]),
        "the cut is where it was asked for"
    );
    drop(whole);
    drop(head);
    assert_eq!(
        copy,
        numbered(100)[10..30].to_vec(),
        "others' drops leave it alone"
    );
    drop(copy);
    assert_eq!(foreign.refs.get(), 1, "the tail is left");
    drop(tail);
    assert_eq!(foreign.refs.get(), 0, "all given back");
}

#[test]
fn taking_a_chunk_whole_does_not_touch_the_count() {
    let foreign = Foreign::new(b"abc");
    let mut chunk = foreign.chunk();
    let whole = chunk.split_to(3);
    assert_eq!(foreign.retains.get(), 0, "moved, not cloned");
    assert!(
        chunk.is_empty() && !chunk.is_external(),
        "what is left pins nothing"
    );
    assert!(
        !whole.slice(1..1).is_external() && foreign.retains.get() == 0,
        "an empty view pins nothing"
    );
    let mut whole = whole;
    assert!(!whole.split_to(0).is_external(), "nor does an empty cut");
    assert_eq!(whole, b"abc", "which takes nothing away");
}

#[test]
fn a_block_grows_only_behind_its_only_view() {
    let mut chunk = Chunk::with_capacity(8);
    assert_eq!(chunk.footprint(), 8, "the whole block");
    assert_eq!(chunk.try_extend(b"abcdef"), 6, "room for all");
    let shared = chunk.clone();
    assert_eq!(
        (chunk.try_extend(b"x"), chunk.spare_capacity()),
        (0, 0),
        "another view could see the same bytes come twice"
    );
    drop(shared);
    assert_eq!(chunk.try_extend(b"ghijk"), 2, "what fits");
    assert_eq!(chunk, b"abcdefgh", "in order");
    chunk.advance(3);
    assert_eq!(
        chunk.try_extend(b"z"),
        0,
        "room at the front is no room at the end"
    );
    chunk.truncate(2);
    assert_eq!(chunk.try_extend(b"ZZ"), 2, "what nobody sees is room");
    assert_eq!(chunk, b"deZZ", "over the cut bytes");

    assert_eq!(
        Chunk::from_static(b"a").try_extend(b"b"),
        0,
        "never the program's bytes"
    );
    assert_eq!(Chunk::empty().try_extend(b"b"), 0, "never without a block");
    let foreign = Foreign::new(b"abc");
    let mut view = foreign.chunk();
    view.truncate(1);
    assert_eq!(view.try_extend(b"b"), 0, "never a foreign buffer");
}

#[test]
fn a_fresh_block_is_aligned_for_vector_loads() {
    for capacity in [1, 15, 100, 5000] {
        let mut chunk = Chunk::with_capacity(capacity);
        chunk.try_extend(b"x");
        assert_eq!(chunk.as_ptr() as usize % 16, 0, "capacity {capacity}");
    }
}

#[test]
#[should_panic(expected = "advance 4 in a chunk of 3")]
fn advancing_past_the_end_is_refused() {
    Chunk::copy_from(b"abc").advance(4);
}

#[test]
#[should_panic(expected = "split at 4")]
fn splitting_past_the_end_is_refused() {
    let _ = Chunk::copy_from(b"abc").split_to(4);
}

#[test]
#[should_panic(expected = "of a chunk of 3")]
fn slicing_past_the_end_is_refused() {
    let _ = Chunk::copy_from(b"abc").slice(2..4);
}

#[test]
fn debug_output_is_short() {
    let text = format!("{:?}", Chunk::copy_from(&[0xab; 10_000]));
    assert!(text.starts_with("Chunk(heap, 10000 bytes: ab ab"), "{text}");
    assert!(text.len() < 100, "a megabyte would bury the message: {text}");
}

#[derive(Clone, Debug)]
enum Op {
    Clone(usize),
    Drop(usize),
    Slice(usize, usize, usize),
    IntoSlice(usize, usize, usize),
    Advance(usize, usize),
    Truncate(usize, usize),
    SplitTo(usize, usize),
    Extend(usize, Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let (i, n) = (0..64usize, 0..200usize);
    prop_oneof![
        i.clone().prop_map(Op::Clone),
        i.clone().prop_map(Op::Drop),
        (i.clone(), n.clone(), n.clone()).prop_map(|(i, a, b)| Op::Slice(i, a, b)),
        (i.clone(), n.clone(), n.clone()).prop_map(|(i, a, b)| Op::IntoSlice(i, a, b)),
        (i.clone(), n.clone()).prop_map(|(i, n)| Op::Advance(i, n)),
        (i.clone(), n.clone()).prop_map(|(i, n)| Op::Truncate(i, n)),
        (i.clone(), n).prop_map(|(i, n)| Op::SplitTo(i, n)),
        (i, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(i, d)| Op::Extend(i, d)),
    ]
}

fn apply(views: &mut Vec<(Chunk, Vec<u8>)>, op: Op) {
    let count = views.len();
    let at = |i: usize| i % count.max(1);
    match op {
        _ if count == 0 => {}
        Op::Clone(i) => views.push(views[at(i)].clone()),
        Op::Drop(i) => drop(views.swap_remove(at(i))),
        Op::Slice(i, a, b) => {
            let (chunk, model) = &views[at(i)];
            let end = b.min(model.len());
            let start = a.min(end);
            views.push((chunk.slice(start..end), model[start..end].to_vec()));
        }
        Op::IntoSlice(i, a, b) => {
            let (chunk, model) = views.swap_remove(at(i));
            let end = b.min(model.len());
            let start = a.min(end);
            views.push((chunk.into_slice(start..end), model[start..end].to_vec()));
        }
        Op::Advance(i, n) => {
            let (chunk, model) = &mut views[at(i)];
            let n = n.min(model.len());
            chunk.advance(n);
            model.drain(..n);
        }
        Op::Truncate(i, n) => {
            let (chunk, model) = &mut views[at(i)];
            chunk.truncate(n);
            model.truncate(n);
        }
        Op::SplitTo(i, n) => {
            let (chunk, model) = &mut views[at(i)];
            let n = n.min(model.len());
            let head: Vec<u8> = model.drain(..n).collect();
            let head = (chunk.split_to(n), head);
            views.push(head);
        }
        Op::Extend(i, data) => {
            let (chunk, model) = &mut views[at(i)];
            let room = chunk.spare_capacity();
            let n = chunk.try_extend(&data);
            assert_eq!(n, room.min(data.len()), "takes exactly what there is room for");
            model.extend(&data[..n]);
        }
    }
}

proptest! {
    #[test]
    fn any_run_of_cuts_and_copies_equals_vectors(
        ops in prop::collection::vec(op(), 1..120),
        capacity in 0..300usize,
    ) {
        let blocks = crate::live_heap_blocks();
        let foreign = Foreign::new(&numbered(150));
        let mut views = vec![
            (foreign.chunk(), numbered(150)),
            (Chunk::with_capacity(capacity), Vec::new()),
            (Chunk::copy_from(&numbered(120)), numbered(120)),
            (Chunk::from_static(b"static bytes"), b"static bytes".to_vec()),
        ];
        for op in ops {
            apply(&mut views, op);
            for (chunk, model) in &views {
                prop_assert_eq!(&**chunk, &model[..], "a view changed under another's operation");
            }
            let external = views.iter().filter(|(chunk, _)| chunk.is_external()).count();
            prop_assert_eq!(foreign.refs.get(), external, "one count for each view");
        }
        drop(views);
        prop_assert_eq!(foreign.refs.get(), 0, "no foreign buffer leaked");
        prop_assert_eq!(crate::live_heap_blocks(), blocks, "no heap block leaked");
    }
}
