use super::*;

use std::collections::BTreeSet;

use proptest::prelude::*;

/// The byte at `position` of the stream.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn piece(position: u64, len: usize) -> Chunk {
    let bytes: Vec<u8> = (position..position + len as u64).map(byte).collect();
    Chunk::copy_from(&bytes)
}

/// The plain model: the set of positions that are held.
#[derive(Default)]
struct Model {
    held: BTreeSet<u64>,
}

impl Model {
    fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for &position in &self.held {
            match runs.last_mut() {
                Some(run) if run.1 == position => run.1 += 1,
                _ => runs.push((position, position + 1)),
            }
        }
        runs
    }
}

fn check(assembler: &Assembler, model: &Model) {
    let runs: Vec<_> = assembler.runs.iter().map(|(&s, &e)| (s, e)).collect();
    assert_eq!(runs, model.runs(), "the runs are the union of what came");
    let mut bytes = 0;
    let mut end = 0;
    let mut footprint = 0;
    for (&start, chunk) in &assembler.chunks {
        assert!(
            start >= end && !chunk.is_empty(),
            "chunks are disjoint and not empty"
        );
        end = start + chunk.len() as u64;
        bytes += chunk.len();
        footprint += chunk.footprint();
        assert!(
            chunk.iter().zip(start..).all(|(&b, p)| b == byte(p)),
            "every byte is at its place"
        );
    }
    assert_eq!(bytes, model.held.len(), "no byte is held twice");
    assert_eq!(footprint, assembler.footprint(), "the footprint is kept right");
    for run in assembler.recent_runs() {
        assert!(runs.contains(&run), "a reported run is a whole run");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert { offset: u64, len: usize },
    Advance { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..120u64, 1..40usize).prop_map(|(offset, len)| Step::Insert { offset, len }),
        1 => (1..30u64).prop_map(|by| Step::Advance { by }),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_plain_set_of_bytes(steps in proptest::collection::vec(step(), 1..200)) {
        let mut assembler = Assembler::default();
        let mut model = Model::default();
        let mut nxt = 1000u64;
        for step in steps {
            match step {
                Step::Insert { offset, len } => {
                    let position = nxt + offset;
                    let old = model.held.clone();
                    model.held.extend(position..position + len as u64);
                    let expected = if model.held.len() == old.len() { Inserted::Duplicate } else { Inserted::New };
                    let twice = (position..position + len as u64).find(|at| old.contains(at));
                    let first = assembler.first_held(position, position + len as u64);
                    let (got, held) = assembler.insert(position, &piece(position, len), usize::MAX);
                    prop_assert_eq!(got, expected, "what became of it");
                    prop_assert_eq!(first, held, "asked or inserted");
                    prop_assert_eq!(held.map(|(start, _)| start), twice, "where it came twice first");
                    if let Some((start, end)) = held {
                        let all = (start..end).all(|at| old.contains(&at));
                        prop_assert!(all && end <= position + len as u64, "all of that was held");
                    }
                    let first = assembler.recent_runs().next();
                    prop_assert!(
                        first.is_some_and(|run| run.0 <= position && position < run.1),
                        "the run of the latest segment comes first"
                    );
                }
                Step::Advance { by } => {
                    // As if `by` bytes had come in order.
                    nxt += by;
                    model.held = model.held.split_off(&nxt);
                    while let Some(chunk) = assembler.pop(nxt) {
                        for &b in chunk.iter() {
                            prop_assert_eq!(b, byte(nxt), "taken in order");
                            prop_assert!(model.held.remove(&nxt), "only what was held");
                            nxt += 1;
                        }
                    }
                    prop_assert!(!model.held.contains(&nxt), "all that has its turn was taken");
                }
            }
            check(&assembler, &model);
        }
    }

    #[test]
    fn never_holds_more_chunks_than_allowed(
        pieces in proptest::collection::vec((1..2000u64, 1..40usize), 1..300),
        limit in 1..20usize,
    ) {
        let mut assembler = Assembler::default();
        for (position, len) in pieces {
            let (outcome, _) = assembler.insert(position, &piece(position, len), limit);
            prop_assert!(assembler.chunks.len() <= limit, "{:?} kept to the limit", outcome);
            let held: u64 = assembler.runs.iter().map(|(s, e)| e - s).sum();
            let bytes: usize = assembler.chunks.values().map(|c| c.len()).sum();
            prop_assert_eq!(held, bytes as u64, "runs tell of nothing that was thrown away");
        }
    }
}

#[test]
fn single_bytes_in_a_row_share_blocks() {
    let mut assembler = Assembler::default();
    for position in 10..40_010 {
        assembler.insert(position, &piece(position, 1), 512);
    }
    assert!(assembler.chunks.len() < 40, "{} chunks", assembler.chunks.len());
    assert!(
        assembler.footprint() < 2 * 40_000,
        "{} bytes pinned for 40,000",
        assembler.footprint()
    );
}

#[test]
fn a_small_piece_of_a_large_buffer_does_not_pin_it() {
    let mut assembler = Assembler::default();
    let frame = Chunk::copy_from(&[7; 2048]);
    assembler.insert(5, &frame.slice(100..101), 512);
    assert!(assembler.footprint() <= 64, "a copy, not 2 KiB for one byte");
}

#[test]
fn a_flood_of_single_bytes_apart_costs_no_more_than_its_bound() {
    let mut assembler = Assembler::default();
    let mut full = 0;
    for position in (10..400_010).step_by(2) {
        full += usize::from(assembler.insert(position, &piece(position, 1), 512).0 == Inserted::Full);
    }
    assert_eq!(assembler.chunks.len(), 512, "the bound");
    assert_eq!(full, 200_000 - 512, "the rest is refused");
}

#[test]
fn the_latest_runs_are_reported_first_and_once() {
    let mut assembler = Assembler::default();
    for position in [10, 30, 50, 70, 90] {
        assembler.insert(position, &piece(position, 5), 512);
    }
    assembler.insert(35, &piece(35, 5), 512);
    let runs: Vec<_> = assembler.recent_runs().collect();
    assert_eq!(
        runs,
        [(30, 40), (90, 95), (70, 75), (50, 55)],
        "RFC 2018 section 4: the changed one first, then the more recent ones"
    );
}

#[test]
fn arrivals_in_one_run_take_one_place_in_the_report() {
    let mut assembler = Assembler::default();
    // Two runs that grow by turns must not drive the others out of the report.
    for position in [100, 200, 300, 400, 305, 405, 310, 410] {
        assembler.insert(position, &piece(position, 5), 512);
    }
    assert_eq!(
        assembler.recent_runs().collect::<Vec<_>>(),
        [(400, 415), (300, 315), (200, 205), (100, 105)],
        "the latest first, and all four"
    );
}
