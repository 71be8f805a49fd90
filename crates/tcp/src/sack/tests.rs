use super::*;

use std::collections::BTreeSet;

use proptest::prelude::*;

const MSS: u32 = 10;

/// The plain model: the set of SACKed offsets from a base.
struct Model {
    base: SeqNum,
    una: u32,
    nxt: u32,
    sacked: BTreeSet<u32>,
}

impl Model {
    fn seq(&self, offset: u32) -> SeqNum {
        self.base + offset
    }

    fn ranges(&self) -> Vec<(SeqNum, SeqNum)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for &offset in &self.sacked {
            match ranges.last_mut() {
                Some(range) if range.1 == offset => range.1 += 1,
                _ => ranges.push((offset, offset + 1)),
            }
        }
        ranges.iter().map(|&(l, r)| (self.seq(l), self.seq(r))).collect()
    }

    /// IsLost of RFC 6675, byte by byte.
    fn is_lost(&self, offset: u32) -> bool {
        let above: Vec<u32> = self.sacked.range(offset + 1..).copied().collect();
        let ranges = above
            .iter()
            .enumerate()
            .filter(|&(i, &o)| i == 0 || above[i - 1] + 1 != o)
            .count();
        ranges as u32 >= DUP_THRESH || above.len() as u32 > (DUP_THRESH - 1) * MSS
    }

    /// SetPipe of RFC 6675, byte by byte.
    fn pipe(&self, high_rxt: u32) -> u32 {
        (self.una..self.nxt)
            .filter(|o| !self.sacked.contains(o))
            .map(|o| u32::from(!self.is_lost(o)) + u32::from(o < high_rxt))
            .sum()
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_set_of_bytes(
        base in prop_oneof![Just(u32::MAX - 150), any::<u32>()],
        steps in proptest::collection::vec((0..4u8, 0..330u32, 1..60u32), 1..80),
    ) {
        let mut model = Model { base: SeqNum(base), una: 0, nxt: 300, sacked: BTreeSet::new() };
        let mut board = SackScoreboard::new();
        for (kind, left, len) in steps {
            if kind == 0 {
                // An acknowledgment; a receiver that keeps its word never
                // acknowledges up to the inside of a SACKed range.
                let mut una = model.una + len.min(model.nxt - model.una);
                while model.sacked.contains(&una) {
                    una += 1;
                }
                model.una = una;
                model.sacked = model.sacked.split_off(&una);
                board.advance(model.seq(una));
            } else {
                let right = left + len;
                let before = model.sacked.len();
                if left > model.una && right <= model.nxt {
                    model.sacked.extend(left..right);
                }
                let news = board.record(model.seq(model.una), model.seq(model.nxt), model.seq(left), model.seq(right));
                prop_assert_eq!(news, model.sacked.len() != before, "whether it told anything new");
            }
            prop_assert_eq!(board.ranges().to_vec(), model.ranges(), "the ranges");
            let edge = board.lost_edge(MSS);
            for offset in model.una..model.nxt {
                if !model.sacked.contains(&offset) {
                    let lost = edge.is_some_and(|edge| model.seq(offset).before(edge));
                    prop_assert_eq!(lost, model.is_lost(offset), "IsLost({})", offset);
                }
            }
            let high_rxt = model.una + left.min(model.nxt - model.una);
            prop_assert_eq!(
                board.pipe(model.seq(model.una), model.seq(model.nxt), MSS, model.seq(high_rxt)),
                model.pipe(high_rxt),
                "SetPipe"
            );
            let from = model.una + (left % 300).min(model.nxt - model.una);
            let hole = (from..model.nxt).find(|o| !model.sacked.contains(o));
            prop_assert_eq!(
                board.next_hole(model.seq(from), model.seq(model.nxt)).map(|h| h.0),
                hole.map(|o| model.seq(o)),
                "the next hole begins"
            );
            let last = (model.una..model.nxt).rev().find(|o| !model.sacked.contains(o));
            prop_assert_eq!(
                board.last_hole(model.seq(model.una), model.seq(model.nxt)).map(|h| h.1),
                last.map(|o| model.seq(o + 1)),
                "the last hole ends"
            );
            prop_assert_eq!(
                board.sacked_below(model.seq(from)) as usize,
                model.sacked.range(..from).count(),
                "what is SACKed below"
            );
        }
    }
}

#[test]
fn a_peer_that_reports_endless_ranges_is_cut_short() {
    let mut board = SackScoreboard::new();
    let (una, nxt) = (SeqNum(0), SeqNum(1_000_000));
    for i in 1..100_000 {
        board.record(una, nxt, SeqNum(4 * i), SeqNum(4 * i + 2));
    }
    assert_eq!(board.ranges().len(), MAX_RANGES, "no more are remembered");
    assert!(
        board.record(una, nxt, SeqNum(2), SeqNum(900_000)),
        "one that joins others is taken even then"
    );
    assert_eq!(board.ranges(), [(SeqNum(2), SeqNum(900_000))], "and leaves one");
}

#[test]
fn blocks_that_can_not_be_true_tell_nothing() {
    let mut board = SackScoreboard::new();
    let (una, nxt) = (SeqNum(100), SeqNum(200));
    for (left, right, why) in [
        (150, 150, "empty"),
        (160, 150, "reversed"),
        (50, 90, "below: a duplicate (RFC 2883)"),
        (100, 120, "at una: it would be acknowledged"),
        (190, 201, "never sent"),
    ] {
        assert!(!board.record(una, nxt, SeqNum(left), SeqNum(right)), "{why}");
    }
    assert!(board.ranges().is_empty(), "nothing was remembered");
}
