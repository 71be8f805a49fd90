use super::*;

use proptest::prelude::*;

/// What is known of one byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Byte {
    sent_at: Instant,
    sacked: bool,
    lost: bool,
    again: bool,
}

/// The plain model: every byte for itself, by offset from a base.
struct Model {
    base: SeqNum,
    una: u32,
    bytes: Vec<Byte>,
}

impl Model {
    fn nxt(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn seq(&self, offset: u32) -> SeqNum {
        self.base + offset
    }

    fn flight(&mut self) -> &mut [Byte] {
        &mut self.bytes[self.una as usize..]
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Acknowledge(u32),
    Sack(u32, u32),
    ResendLost(u32),
    ResendHead(u32),
    Lose(u64),
    LoseHead(u32),
    Unmark,
    Forget,
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..80u32).prop_map(Step::Send),
        2 => (1..90u32).prop_map(Step::Acknowledge),
        6 => (0..400u32, 1..60u32).prop_map(|(at, len)| Step::Sack(at, len)),
        3 => (1..50u32).prop_map(Step::ResendLost),
        1 => (1..50u32).prop_map(Step::ResendHead),
        2 => (0..30u64).prop_map(Step::Lose),
        1 => (1..50u32).prop_map(Step::LoseHead),
        1 => Just(Step::Unmark),
        1 => Just(Step::Forget),
        4 => Just(Step::Tick),
    ]
}

/// Takes one step with both, and compares what it told.
fn take(map: &mut SentMap, model: &mut Model, now: Instant, step: &Step) {
    let una = model.una;
    let flight = model.nxt() - una;
    match *step {
        Step::Tick => {}
        Step::Send(len) => {
            map.push(model.seq(model.nxt()), model.seq(model.nxt() + len), now);
            let byte = Byte {
                sent_at: now,
                sacked: false,
                lost: false,
                again: false,
            };
            model.bytes.extend(std::iter::repeat_n(byte, len as usize));
        }
        Step::Acknowledge(len) => {
            let to = una + len.min(flight);
            let mut told = Vec::new();
            match map.take_lone_burst(model.seq(to)) {
                Some(run) => told.push(run),
                None => map.acknowledge(model.seq(to), |run| told.push(*run)),
            }
            let fresh = model.bytes[una as usize..to as usize]
                .iter()
                .filter(|b| !b.sacked)
                .count();
            assert_eq!(
                told.iter().map(|r| r.len() as usize).sum::<usize>(),
                fresh,
                "what was not known"
            );
            // Up to the inside of what was SACKed: the rest was dropped.
            let mut at = to as usize;
            if to > una && model.bytes[to as usize - 1].sacked {
                while at < model.bytes.len() && model.bytes[at].sacked {
                    unsack(map, model, at);
                    at += 1;
                }
            }
            model.una = to;
        }
        Step::Sack(at, len) => {
            let (left, right) = (una + at, una + at + len);
            let mut told = 0;
            map.sack(model.seq(left), model.seq(right), |run| told += run.len());
            if left > una && right <= model.nxt() {
                let block = &mut model.bytes[left as usize..right as usize];
                assert_eq!(
                    told as usize,
                    block.iter().filter(|b| !b.sacked).count(),
                    "what was not known"
                );
                for byte in block {
                    (byte.sacked, byte.lost) = (true, false);
                }
            } else {
                assert_eq!(told, 0, "a block that can't be true tells nothing");
            }
        }
        Step::ResendLost(most) => {
            let lost = model.bytes.iter().skip(una as usize).position(|b| b.lost);
            let next = map.next_lost(most);
            assert_eq!(
                next.map(|n| n.0),
                lost.map(|o| model.seq(una + o as u32)),
                "the first that is lost"
            );
            if let Some((start, end)) = next {
                let end = end.min(start + most);
                map.resend(start, end, now);
                resent(model, start, end, now);
            }
        }
        Step::ResendHead(len) => {
            let (start, end) = (model.seq(una), model.seq(una + len.min(flight)));
            if flight > 0 {
                map.resend(start, end, now);
                resent(model, start, end, now);
            }
        }
        Step::Lose(age) => {
            let is_old = |at: Instant| now.since(at).as_millis() > age;
            map.mark_any_lost(|run| is_old(run.sent_at));
            for byte in model.flight() {
                byte.lost |= !byte.sacked && is_old(byte.sent_at);
            }
        }
        Step::LoseHead(bytes) => {
            map.mark_head_lost(bytes, |_| {});
            for byte in model.flight().iter_mut().take(bytes as usize) {
                byte.lost |= !byte.sacked;
            }
        }
        Step::Unmark => {
            map.unmark_lost();
            model.flight().iter_mut().for_each(|byte| byte.lost = false);
        }
        Step::Forget => {
            map.forget_sacks();
            for at in una as usize..model.bytes.len() {
                if model.bytes[at].sacked {
                    unsack(map, model, at);
                }
            }
        }
    }
}

/// The byte at `at` was dropped again. When it was sent is known roughly, but it
/// is not thought older than it is.
fn unsack(map: &SentMap, model: &mut Model, at: usize) {
    let seq = model.seq(at as u32);
    let run = map
        .iter()
        .find(|run| run.end.after(seq))
        .expect("it is in flight");
    let byte = &mut model.bytes[at];
    assert!(run.sent_at >= byte.sent_at, "not older than it is");
    (byte.sacked, byte.again, byte.sent_at) = (false, true, run.sent_at);
}

fn resent(model: &mut Model, start: SeqNum, end: SeqNum, now: Instant) {
    let (start, end) = (model.base.distance_to(start), model.base.distance_to(end));
    for byte in model.bytes[start as usize..end as usize]
        .iter_mut()
        .filter(|b| !b.sacked)
    {
        (byte.sent_at, byte.lost, byte.again) = (now, false, true);
    }
}

fn compare(map: &SentMap, model: &Model) {
    let mut at = model.una;
    let (mut sacked, mut lost) = (0, 0);
    for run in map.iter() {
        assert_eq!(run.start, model.seq(at), "the runs lie end to end");
        assert!(run.len() > 0, "and none is empty");
        for offset in at..at + run.len() {
            let byte = model.bytes[offset as usize];
            assert_eq!(
                (run.is_sacked(), run.is_lost()),
                (byte.sacked, byte.lost),
                "byte {offset}"
            );
            if !byte.sacked && run.is_timed() {
                assert_eq!(
                    (run.sent_at, false),
                    (byte.sent_at, byte.again),
                    "byte {offset} is timed"
                );
            }
            if !byte.sacked && byte.again {
                assert!(run.was_sent_again(), "byte {offset} was sent again");
            }
        }
        at += run.len();
        sacked += if run.is_sacked() { run.len() } else { 0 };
        lost += if run.is_lost() { run.len() } else { 0 };
    }
    assert_eq!(at, model.nxt(), "from una to nxt");
    assert_eq!((map.sacked(), map.lost()), (sacked, lost), "the sums");
    assert!(map.iter().count() <= MAX_RUNS, "the bound");
    let touched = |run: &Run| run.is_sacked() || run.is_lost() || run.was_sent_again();
    assert!(
        !map.is_untouched() || !map.iter().any(touched),
        "untouched is what it says"
    );
    let runs: Vec<_> = map.iter().collect();
    assert!(
        runs.windows(2)
            .all(|pair| !(pair[0].is_sacked() && pair[1].is_sacked())),
        "what is SACKed is joined"
    );
}

proptest! {
    #[test]
    fn agrees_with_a_plain_byte_by_byte_model(
        base in prop_oneof![Just(u32::MAX - 150), any::<u32>()],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut model = Model { base: SeqNum(base), una: 0, bytes: Vec::new() };
        let mut map = SentMap::new(SeqNum(base));
        let mut now = Instant::from_millis(1);
        for step in &steps {
            if matches!(step, Step::Tick) {
                now += crore_base::Duration::from_millis(7);
            }
            take(&mut map, &mut model, now, step);
            compare(&map, &model);
        }
    }
}

/// Protects the request path: what leaves in one burst is one run, at hand.
#[test]
fn a_burst_is_one_run_and_needs_no_allocation() {
    let now = Instant::from_millis(1);
    let mut map = SentMap::new(SeqNum(0));
    for round in 0..100 {
        for i in 0..3 {
            map.push(
                SeqNum(300 * round + 100 * i),
                SeqNum(300 * round + 100 * i + 100),
                now,
            );
        }
        assert_eq!(map.iter().count(), 1, "one burst");
        map.acknowledge(SeqNum(300 * round + 300), |_| {});
        assert_eq!(map.iter().count(), 0, "all of it");
    }
    assert_eq!(map.older.capacity(), 0, "nothing was allocated");
}

/// Protects memory and time from a peer that SACKs every other byte, and from
/// whatever is sent on top of that.
#[test]
fn a_peer_that_reports_endless_ranges_is_cut_short() {
    let mut map = SentMap::new(SeqNum(0));
    map.push(SeqNum(0), SeqNum(1_000_000), Instant::from_millis(1));
    for i in 1..100_000 {
        map.sack(SeqNum(4 * i), SeqNum(4 * i + 2), |_| {});
    }
    assert!(
        map.iter().count() <= MAX_SPLIT + 1,
        "no more are remembered: {}",
        map.iter().count()
    );
    map.mark_any_lost(|_| true);
    let mut turns = 0;
    while let Some((start, end)) = map.next_lost(1) {
        turns += 1;
        assert!(turns < 1_000_000, "what is sent again is not lost any more");
        map.resend(start, end.min(start + 1), Instant::from_millis(turns));
        assert!(map.iter().count() <= MAX_RUNS, "the bound");
    }
    for i in 0..10_000u32 {
        let at = 1_000_000 + 10 * i;
        map.push(
            SeqNum(at),
            SeqNum(at + 10),
            Instant::from_millis(u64::from(2_000_000 + i)),
        );
        map.sack(SeqNum(at), SeqNum(at + 10), |_| {});
        map.mark_any_lost(|_| i % 3 == 0);
        assert!(map.iter().count() <= MAX_RUNS, "the bound");
    }
    map.acknowledge(SeqNum(1_100_000), |_| {});
    assert_eq!(
        (map.iter().count(), map.sacked(), map.lost()),
        (0, 0, 0),
        "all of it"
    );
}

/// Protects a fast path with a burst for each acknowledgment from runs without end.
#[test]
fn more_bursts_than_are_kept_join_the_last_one_untimed() {
    let mut map = SentMap::new(SeqNum(0));
    for i in 0..5_000u32 {
        map.push(
            SeqNum(10 * i),
            SeqNum(10 * i + 10),
            Instant::from_millis(u64::from(i) + 1),
        );
    }
    assert_eq!(map.iter().count(), MAX_BURSTS, "as many as are kept");
    let last = map.iter().last().copied().expect("there are some");
    assert_eq!(
        last.sent_at,
        Instant::from_millis(5_000),
        "none of it is thought older than it is"
    );
    assert!(!last.is_timed(), "nor measured");
}

#[test]
fn blocks_that_can_not_be_true_tell_nothing() {
    let mut map = SentMap::new(SeqNum(100));
    map.push(SeqNum(100), SeqNum(200), Instant::from_millis(1));
    for (left, right, why) in [
        (150, 150, "empty"),
        (160, 150, "reversed"),
        (50, 90, "below: a duplicate (RFC 2883)"),
        (100, 120, "at una: it would be acknowledged"),
        (190, 201, "never sent"),
    ] {
        map.sack(SeqNum(left), SeqNum(right), |_| panic!("{why}"));
    }
    assert!(map.sacked() == 0 && map.is_untouched(), "nothing was remembered");
}
