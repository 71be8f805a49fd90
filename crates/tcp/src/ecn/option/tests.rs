//! The counters, what of them goes out, and what is made of the other end's.

use super::*;

const ORDER0: AccEcnOrder = AccEcnOrder::Ect0First;
const ORDER1: AccEcnOrder = AccEcnOrder::Ect1First;

fn options(order: AccEcnOrder, counters: &[u32]) -> TcpOptions {
    TcpOptions {
        accurate_ecn: Some(AccEcnOption::new(order, counters)),
        ..TcpOptions::default()
    }
}

/// The peer was told of everything until now.
fn told(counts: &mut ByteCounts) {
    counts.option_sent(None);
}

#[test]
fn text_is_counted_under_its_mark_and_what_has_moved_is_told() {
    let mut counts = ByteCounts::NEW;
    counts.receive(Ecn::NotEct, 1_000);
    counts.receive(Ecn::Ce, 0);
    assert!(!counts.is_due() && counts.is_fresh(), "nothing has moved");
    assert_eq!(
        counts.option(12),
        Some(AccEcnOption::new(ORDER0, &[1, 0, 1])),
        "all three show that nobody wipes them"
    );
    // What came with which mark, and the shortest option that has it.
    for (mark, order, fields) in [
        (Ecn::Ect0, ORDER0, &[1_001][..]),
        (Ecn::Ect1, ORDER1, &[1_001]),
        (Ecn::Ce, ORDER0, &[1, 1_000]),
    ] {
        let mut counts = ByteCounts::NEW;
        counts.receive(mark, 1_000);
        assert!(counts.is_due() && !counts.is_fresh(), "{mark:?}");
        assert_eq!(
            counts.option(40),
            Some(AccEcnOption::new(order, fields)),
            "{mark:?}"
        );
        told(&mut counts);
        assert!(!counts.is_due(), "once");
    }
}

//= rfc9768#section-3.2.3.3 (MUST)
#[test]
fn where_room_is_scarce_what_has_moved_since_goes_or_nothing() {
    let mut counts = ByteCounts::NEW;
    counts.receive(Ecn::Ect0, 10);
    counts.receive(Ecn::Ect1, 20);
    told(&mut counts);
    counts.receive(Ecn::Ect1, 1);
    assert_eq!(counts.option(12), Some(AccEcnOption::new(ORDER0, &[11, 0, 22])));
    assert_eq!(
        counts.option(8),
        Some(AccEcnOption::new(ORDER1, &[22])),
        "the news"
    );
    assert_eq!(counts.option(7), None);
    counts.receive(Ecn::Ce, 5);
    assert_eq!(counts.option(11), Some(AccEcnOption::new(ORDER1, &[22, 5])));
    counts.receive(Ecn::Ect0, 1);
    assert_eq!(counts.option(11), None, "all three are news");
    assert!(counts.is_due(), "and stay so");
}

#[test]
fn the_first_text_tests_the_path_and_again_if_it_was_lost() {
    let mut counts = ByteCounts::NEW;
    assert!(counts.is_due_with_text(true) && !counts.is_due());
    assert!(!counts.is_due_with_text(false), "not what is sent again");
    counts.option_sent(None);
    assert!(counts.is_due_with_text(true), "an acknowledgment proves nothing");
    counts.option_sent(Some(SeqNum(100)));
    counts.receive(Ecn::Ect0, 1);
    assert!(counts.is_due_with_text(true) && !counts.is_due_with_text(false));
    counts.on_sent_again(SeqNum(100));
    assert_eq!(counts.passage, Passage::Tried(SeqNum(100)), "another segment");
    counts.on_sent_again(SeqNum(99));
    assert_eq!(counts.passage, Passage::Untried, "once more");
    assert!(!counts.is_due(), "but with text, of which one learns");
    counts.option_sent(Some(SeqNum(300)));
    counts.on_acknowledged(SeqNum(299));
    assert_eq!(counts.passage, Passage::Tried(SeqNum(300)), "not yet");
    let mut lost = counts;
    lost.on_sent_again(SeqNum(200));
    lost.receive(Ecn::Ect0, 1);
    assert!(!lost.is_due() && !lost.is_due_with_text(true), "no more");
    assert!(!lost.is_fresh(), "not even after it was parked");
    counts.on_acknowledged(SeqNum(300));
    assert_eq!(counts.passage, Passage::Open);
    counts.on_sent_again(SeqNum(200));
    counts.receive(Ecn::Ect0, 1);
    assert!(counts.is_due_with_text(false), "it gets through");
}

#[test]
fn a_lost_syn_ack_leaves_one_try() {
    let mut counts = ByteCounts::NEW;
    counts.suspect();
    counts.suspect();
    assert!(!counts.is_unsuspected());
    counts.option_sent(Some(SeqNum(100)));
    counts.on_sent_again(SeqNum(0));
    assert_eq!(counts.passage, Passage::Shut);
}

//= rfc9768#section-3.2.3.2.2 (SHOULD)
#[test]
fn what_comes_again_after_each_acknowledgment_ends_the_option() {
    let acknowledge = |counts: &mut ByteCounts, times| {
        for _ in 0..times {
            counts.receive(Ecn::Ect0, 1);
            told(counts);
        }
        counts.on_text_again();
        counts.on_text_again();
    };
    let mut counts = ByteCounts::NEW;
    for _ in 0..10 {
        acknowledge(&mut counts, 9);
    }
    assert_eq!(counts.passage, Passage::Untried, "now and then is no matter");
    acknowledge(&mut counts, 2);
    assert_eq!(counts.passage, Passage::Untried, "nor is twice");
    acknowledge(&mut counts, 8);
    assert_eq!(counts.passage, Passage::Shut, "always is");
}

#[test]
fn a_timeout_has_an_open_path_tested_anew() {
    let mut counts = ByteCounts::NEW;
    let test = |counts: &mut ByteCounts| {
        counts.option_sent(Some(SeqNum(1)));
        counts.on_acknowledged(SeqNum(1));
    };
    for _ in 0..10 {
        test(&mut counts);
        assert_eq!(counts.passage, Passage::Open);
        counts.on_timeout();
        assert_eq!(counts.passage, Passage::Untried);
    }
    counts.option_sent(Some(SeqNum(1)));
    counts.on_timeout();
    counts.on_sent_again(SeqNum(0));
    assert_eq!(counts.passage, Passage::Shut, "it is another path");
}

#[test]
fn counters_are_followed_over_their_turn() {
    let mut counts = ByteCounts::NEW;
    assert_eq!(counts.hear(&TcpOptions::default()), None);
    assert_eq!(counts.hear(&options(ORDER0, &[1_001])), None, "nothing of CE");
    assert_eq!(counts.hear(&options(ORDER1, &[1, 500, 1_001])), Some(500));
    let heard = EcnBytes {
        ect0: 1_001,
        ce: 500,
        ect1: 1,
    };
    assert_eq!(counts.heard(), heard);
    assert_eq!(
        counts.hear(&options(ORDER0, &[1_001, MODULUS - 1])),
        Some(MODULUS - 501)
    );
    assert_eq!(counts.hear(&options(ORDER0, &[1_001, 1_460 - 1])), Some(1_460));
    assert_eq!(counts.heard().ce, MODULUS + 1_459);
}

//= rfc9768#section-3.2.3.2.4 (MAY)
#[test]
fn wiped_counters_are_not_believed_but_any_other_beginning_is() {
    for (order, fields) in [(ORDER0, &[0, 0, 0][..]), (ORDER0, &[1, 0, 0]), (ORDER1, &[0])] {
        let mut counts = ByteCounts::NEW;
        assert_eq!(counts.hear(&options(order, fields)), None);
        assert_eq!(counts.hear(&options(ORDER0, &[9, 9, 9])), None, "{fields:?}");
    }
    let mut counts = ByteCounts::NEW;
    assert_eq!(counts.hear(&options(ORDER0, &[])), None, "nothing is not zero");
    assert_eq!(counts.hear(&options(ORDER0, &[77, 7, 777])), Some(7));
    assert_eq!(counts.hear(&options(ORDER0, &[0, 8, 0])), Some(1), "a turn");
}

#[test]
fn a_syn_ack_that_comes_late_sets_nothing_back() {
    let mut counts = ByteCounts::NEW;
    counts.hear(&options(ORDER0, &[5_001, 10]));
    counts.hear_syn_ack(&options(ORDER0, &[1, 0, 1]));
    assert_eq!(counts.heard().ect0, 5_001);
}

#[test]
fn a_woken_connection_learns_what_it_was_told_and_tells_only_from_the_start() {
    let mut counts = ByteCounts::woken(true);
    assert_eq!(
        counts.hear(&options(ORDER0, &[4_000, 500])),
        None,
        "since when, nobody knows"
    );
    assert_eq!(counts.hear(&options(ORDER0, &[4_000, 600])), Some(100));
    assert!(counts.is_due_with_text(true) && counts.is_fresh());
    let mut counts = ByteCounts::woken(false);
    counts.receive(Ecn::Ect0, 100);
    assert!(!counts.is_due() && !counts.is_due_with_text(true) && !counts.is_fresh());
}

//= rfc9768#section-3.2.3.2.5 (MUST)
#[test]
fn bytes_without_a_marked_segment_are_a_lie_when_it_is_certain() {
    let mut counts = ByteCounts::NEW;
    assert!(counts.reconcile(0, Some(0), true) && counts.reconcile(1, Some(1), true));
    for _ in 0..9 {
        assert!(counts.reconcile(1, None, true));
        assert!(counts.reconcile(0, Some(1_000), true), "told of before");
        assert!(counts.reconcile(0, None, false));
        assert!(counts.reconcile(0, Some(1_000), true), "may have turned before");
        assert!(counts.reconcile(0, Some(1_000), false), "may have turned");
    }
    assert!(counts.reconcile(0, Some(1), true) && counts.reconcile(0, Some(1), true));
    assert!(counts.reconcile(0, Some(0), true), "nothing said");
    assert!(!counts.reconcile(0, Some(1), true), "the third time in a row");
}

//= rfc9768#section-3.2.3.2.1 (SHOULD)
#[test]
fn a_syn_ack_has_as_much_of_it_as_fits() {
    for (room, option) in [
        (20, Some(AccEcnOption::new(ORDER0, &[1, 0, 1]))),
        (8, Some(AccEcnOption::new(ORDER0, &[1, 0]))),
        (4, Some(AccEcnOption::new(ORDER0, &[]))),
        (0, None),
    ] {
        assert_eq!(on_syn_ack(room), option, "{room} bytes");
    }
}
