use super::*;

const MSS: u32 = 1000;
const NOW: Instant = Instant::from_millis(1_000);

fn reno() -> Congestion {
    of(CongestionKind::NewReno)
}

fn of(kind: CongestionKind) -> Congestion {
    let config = Config {
        congestion: kind,
        ..Config::default()
    };
    Congestion::new(&config, MSS)
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

/// What the window is after an acknowledgment of all of a flight of so many
/// segments.
fn after_flight(cc: &mut Congestion, segments: u32) -> u32 {
    let (una, nxt) = (SeqNum(0), SeqNum(segments * MSS));
    let limited = cc.is_limiting(una, nxt, segments * MSS);
    cc.on_ack(&Acked {
        limited,
        ..acked(MSS)
    });
    cc.window()
}

//= rfc7661#section-4.4 (MUST NOT)
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut cc = reno();
    assert_eq!(
        after_flight(&mut cc, 5),
        10 * MSS,
        "slow start: half is not enough"
    );
    assert_eq!(after_flight(&mut cc, 6), 11 * MSS, "more than half is");
    let mut cc = reno();
    cc.on_loss(NOW, 20 * MSS);
    for _ in 0..100 {
        assert_eq!(
            after_flight(&mut cc, 9),
            10 * MSS,
            "avoidance: all of it must be used"
        );
    }
}

#[test]
fn a_full_window_counts_until_all_of_it_is_acknowledged() {
    let mut cc = reno();
    cc.on_loss(NOW, 20 * MSS);
    let end = SeqNum(10 * MSS);
    for n in 0..10 {
        let una = SeqNum(n * MSS);
        assert!(cc.is_limiting(una, end, una.distance_to(end)), "{n} acknowledged");
    }
    let (una, nxt) = (end, SeqNum(14 * MSS));
    assert!(!cc.is_limiting(una, nxt, 4 * MSS), "the next one is not full");
}

//= rfc6928#section-2 (SHOULD)
#[test]
fn the_initial_window_is_ten_segments_but_not_of_any_size() {
    for (mss, bytes) in [
        (536, 5_360),
        (1448, 14_480),
        (1460, 14_600),
        (1461, 14_600),
        (4000, 14_600),
        (8948, 17_896),
    ] {
        assert_eq!(initial_window(mss, 10), bytes, "{mss}");
    }
    assert_eq!((initial_window(1460, 1), initial_window(1460, 0)), (1460, 1460));
    assert_eq!(initial_window(1000, 40), 40_000);
}

//= rfc5681#section-4.1 (SHOULD)
//= rfc7661#section-4.4.3 (MUST)
#[test]
fn after_a_pause_slow_start_leads_back_to_three_quarters() {
    for kind in [CongestionKind::Cubic, CongestionKind::NewReno] {
        let mut cc = of(kind);
        cc.on_loss(NOW, 200 * MSS);
        let threshold = cc.threshold();
        while cc.window() < 240 * MSS {
            cc.on_ack(&acked(cc.window()));
        }
        cc.on_idle();
        assert_eq!(cc.window(), 10 * MSS, "the restart window");
        assert_eq!(cc.threshold(), threshold.max(240 * MSS / 4 * 3));
        cc.on_idle();
        assert_eq!(cc.threshold(), threshold.max(240 * MSS / 4 * 3), "it stays");
    }
}

#[test]
fn slow_start_ends_at_the_threshold() {
    let mut cc = reno();
    cc.on_timeout(NOW, 25 * MSS, true);
    for _ in 0..11 {
        cc.on_ack(&acked(2 * MSS));
    }
    assert_eq!(cc.window(), 12_500, "not beyond it");
}

/// Protects the memory of an active connection.
#[test]
fn it_is_small() {
    assert!(size_of::<Congestion>() <= 120, "{}", size_of::<Congestion>());
}

//= rfc9406#section-4.3 (SHOULD)
#[test]
fn paced_slow_start_counts_all_that_was_acknowledged() {
    let paced = Config {
        pacing: true,
        ..Config::default()
    };
    let mut cc = Congestion::new(&paced, MSS);
    cc.on_ack(&acked(64 * MSS));
    assert_eq!(cc.window(), 74 * MSS);
    let srtt = Duration::from_millis(100);
    assert_eq!(cc.pacing_rate(Some(srtt)), Some(1_480_000), "twice the window");
    assert_eq!(cc.pacing_rate(None), None, "nothing is known yet");
    cc.on_loss(NOW, 100 * MSS);
    assert_eq!(cc.pacing_rate(Some(srtt)), Some(840_000), "1.2 times the window");
}
