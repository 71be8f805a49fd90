use super::*;

const MSS: u32 = 1000;
const NOW: Instant = Instant::from_millis(1_000);

fn reno() -> Congestion {
    Congestion::new(CongestionKind::NewReno, MSS, 10)
}

fn acked(acked: u32) -> Acked {
    Acked {
        now: NOW,
        acked,
        una: SeqNum(1),
        nxt: SeqNum(1),
        rtt: None,
        srtt: None,
        limited: true,
        after_timeout: false,
    }
}

#[test]
fn slow_start_grows_by_what_was_acknowledged_within_a_limit() {
    let mut cc = reno();
    cc.on_ack(&acked(2 * MSS));
    assert_eq!(cc.window(), 12 * MSS, "byte for byte");
    cc.on_ack(&acked(64 * MSS));
    assert_eq!(cc.window(), 20 * MSS, "a huge ACK counts eight segments");
    cc.on_ack(&Acked {
        after_timeout: true,
        ..acked(64 * MSS)
    });
    assert_eq!(cc.window(), 21 * MSS, "and one after a time-out");
    cc.on_ack(&Acked {
        limited: false,
        ..acked(MSS)
    });
    assert_eq!(cc.window(), 21 * MSS, "an unused window does not grow");
}

#[test]
fn avoidance_adds_one_segment_for_each_window() {
    let mut cc = reno();
    cc.on_loss(NOW, 20 * MSS);
    assert_eq!((cc.window(), cc.threshold()), (10 * MSS, 10 * MSS), "halved");
    for _ in 0..9 {
        cc.on_ack(&acked(MSS));
    }
    assert_eq!(cc.window(), 10 * MSS, "nine tenths of a window");
    cc.on_ack(&acked(MSS));
    assert_eq!(cc.window(), 11 * MSS, "a whole one");
}

#[test]
fn a_second_timeout_of_the_same_data_keeps_the_threshold() {
    let mut cc = reno();
    cc.on_timeout(NOW, 20 * MSS, true);
    assert_eq!((cc.window(), cc.threshold()), (MSS, 10 * MSS), "one segment");
    cc.on_timeout(NOW, MSS, false);
    assert_eq!(cc.threshold(), 10 * MSS, "held");
    cc.on_timeout(NOW, MSS, true);
    assert_eq!(cc.threshold(), 2 * MSS, "never below two segments");
}

#[test]
fn a_mark_costs_less_than_a_loss() {
    let mut cc = reno();
    cc.on_ecn(NOW, 20 * MSS);
    assert_eq!((cc.window(), cc.threshold()), (16 * MSS, 16 * MSS), "four fifths");
}

#[test]
fn what_a_false_loss_took_is_given_back_once() {
    let mut cc = reno();
    cc.on_ack(&acked(8 * MSS));
    cc.on_timeout(NOW, 18 * MSS, true);
    cc.on_timeout(NOW, MSS, false);
    cc.undo();
    assert_eq!((cc.window(), cc.threshold()), (18 * MSS, MAX_WINDOW), "as before");
    cc.on_loss(NOW, 18 * MSS);
    cc.undo();
    cc.on_loss(NOW, 18 * MSS);
    cc.on_ecn(NOW, 18 * MSS);
    cc.undo();
    assert_eq!(cc.window(), 14_400, "a mark is never false");
}
