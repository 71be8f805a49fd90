use proptest::prelude::*;

use super::*;
use crate::Config;
use crate::congestion::Congestion;
use crore_base::SeqNum;

const MSS: u32 = 1000;

fn window(segments: u32) -> Window {
    Window {
        mss: MSS,
        size: segments * MSS,
        threshold: MAX_WINDOW,
        initial: 10 * MSS,
    }
}

fn ack(now: Instant, acked: u32, rtt: Duration) -> Acked {
    Acked {
        now,
        acked,
        una: SeqNum(0),
        nxt: SeqNum(0),
        rtt: None,
        srtt: Some(rtt),
        limited: true,
        after_timeout: false,
    }
}

/// Acknowledges windows in whole round trips until `until`; gives the window at
/// the end of each of them.
fn run(cubic: &mut Cubic, window: &mut Window, now: &mut Instant, rtt: Duration, until: Instant) -> Vec<u32> {
    let mut sizes = Vec::new();
    while *now < until {
        *now += rtt;
        for _ in 0..window.size / MSS {
            cubic.avoid(window, &ack(*now, MSS, rtt));
        }
        sizes.push(window.size);
    }
    sizes
}

const RTT: Duration = Duration::from_millis(100);

//= rfc9438#section-4.2 (MUST)
#[test]
fn after_a_loss_the_window_follows_the_curve() {
    let (mut cubic, mut window) = (Cubic::default(), window(1000));
    cubic.on_loss(&mut window, 1000 * MSS);
    assert_eq!(
        (window.size, window.threshold),
        (700 * MSS, 700 * MSS),
        "beta is 0.7"
    );
    let begin = Instant::from_millis(5_000);
    let mut now = begin;
    // K = cbrt(300 / 0.4) = 9.086 s.
    for tenths in [10u32, 30, 60, 91, 120, 150] {
        let end = begin + Duration::from_millis(u64::from(tenths) * 100);
        run(&mut cubic, &mut window, &mut now, RTT, end);
        // The window is where the curve is a round trip ahead.
        let t = f64::from(tenths) / 10.0 - 9.086;
        let curve = 1000.0 + 0.4 * t * t * t;
        let size = f64::from(window.size) / f64::from(MSS);
        assert!(
            (size - curve).abs() < 10.0,
            "{size} segments instead of {curve} after {tenths} tenths of a second"
        );
    }
}

//= rfc9438#section-4.3 (SHOULD)
#[test]
fn on_a_short_path_it_is_not_slower_than_reno() {
    let (mut cubic, mut window) = (Cubic::default(), window(100));
    let rtt = Duration::from_millis(10);
    cubic.on_loss(&mut window, 100 * MSS);
    let mut now = Instant::from_millis(1_000);
    // K is 4.2 s; Reno's window is back after 30 / (9/17) round trips.
    let sizes = run(
        &mut cubic,
        &mut window,
        &mut now,
        rtt,
        Instant::from_millis(2_200),
    );
    let back = sizes
        .iter()
        .position(|&size| size >= 100 * MSS)
        .expect("it is back");
    assert!((50..=62).contains(&back), "after {back} round trips");
    let later = sizes[back + 20] - sizes[back];
    assert!(
        (19 * MSS..=21 * MSS).contains(&later),
        "beyond the last plateau a segment each round trip: {later}"
    );
}

//= rfc9438#section-4.7 (SHOULD)
#[test]
fn who_has_a_rival_makes_room() {
    let (mut cubic, mut window) = (Cubic::default(), window(1000));
    cubic.on_loss(&mut window, 1000 * MSS);
    assert_eq!(cubic.w_max, 1000 * MSS);
    cubic.on_loss(&mut window, 700 * MSS);
    assert_eq!(cubic.w_max, 595 * MSS, "0.85 of what it was, and not that");
    assert_eq!(window.size, 490 * MSS);
}

//= rfc8511#section-3.1 (SHOULD)
#[test]
fn a_mark_takes_fifteen_percent() {
    let (mut cubic, mut window) = (Cubic::default(), window(1000));
    cubic.on_ecn(&mut window, 1000 * MSS);
    assert_eq!((window.size, cubic.w_max), (850 * MSS, 1000 * MSS));
    cubic.on_ecn(&mut window, 850 * MSS);
    assert_eq!(cubic.w_max, 850 * MSS * 92 / 100, "and fast convergence less too");
}

//= rfc9438#section-4.8 (SHOULD)
//= rfc9438#section-4.10 (SHOULD)
#[test]
fn without_a_plateau_the_window_is_one() {
    let (mut cubic, mut window) = (Cubic::default(), window(100));
    let mut now = Instant::from_millis(1_000);
    cubic.avoid(&mut window, &ack(now, MSS, RTT));
    assert_eq!((cubic.k, cubic.w_max, cubic.prior), (0, 100 * MSS, 100 * MSS));
    let end = now + Duration::from_secs(3);
    run(&mut cubic, &mut window, &mut now, RTT, end);
    let risen = window.size - 100 * MSS;
    // Reno would have gained 30; 0.4 * 3.1^3 is 12.
    assert!((28 * MSS..34 * MSS).contains(&risen), "{risen}");
    cubic.on_timeout(&mut window, 100 * MSS);
    assert_eq!((window.threshold, cubic.w_max), (70 * MSS, 0));
    cubic.avoid(&mut window, &ack(now, MSS, RTT));
    assert_eq!(
        (cubic.k, cubic.w_max),
        (0, 70 * MSS),
        "the last plateau is forgotten"
    );
}

//= rfc9438#section-4.2 (MUST NOT)
#[test]
fn time_without_need_of_the_window_does_not_count() {
    let (mut cubic, mut window) = (Cubic::default(), window(1000));
    cubic.on_loss(&mut window, 1000 * MSS);
    let mut now = Instant::from_millis(5_000);
    run(
        &mut cubic,
        &mut window,
        &mut now,
        RTT,
        Instant::from_millis(8_000),
    );
    let (mut paused, mut same) = (cubic, window);
    let later = now + Duration::from_secs(3600);
    paused.stand_still(now + Duration::from_secs(1000));
    paused.stand_still(later);
    cubic.avoid(&mut window, &ack(now, 100 * MSS, RTT));
    paused.avoid(&mut same, &ack(later, 100 * MSS, RTT));
    assert!(
        window.size.abs_diff(same.size) < MSS / 10,
        "{} as if nothing had been: {}",
        same.size,
        window.size
    );
}

//= rfc9438#section-4.9.2 (MAY)
#[test]
fn a_false_loss_leaves_the_curve_as_it_was() {
    let mut cc = Congestion::new(&Config::default(), MSS);
    let mut now = Instant::from_millis(1_000);
    cc.on_loss(now, 1000 * MSS);
    for _ in 0..100 {
        now += RTT;
        cc.on_ack(&ack(now, cc.window(), RTT));
    }
    let before = cc.clone();
    cc.on_loss(now, cc.window());
    cc.undo();
    assert_eq!(cc.window(), before.window());
    let next = ack(now + RTT, 50 * MSS, RTT);
    let (mut one, mut other) = (cc.clone(), before.clone());
    one.on_ack(&next);
    other.on_ack(&next);
    assert_eq!(one.window(), other.window(), "it grows on as it would have");
    cc.on_loss(now, cc.window());
    cc.on_loss(now, cc.window());
    cc.undo();
    cc.undo();
    assert!(cc.window() < before.window(), "only the last one is undone");
}

proptest! {
    #[test]
    fn a_cube_root_is_the_largest_that_fits(n in any::<u64>()) {
        for n in [n, n >> 20, n >> 40, n >> 60] {
            let root = u128::from(cube_root(n));
            prop_assert!(root.pow(3) <= u128::from(n) && (root + 1).pow(3) > u128::from(n));
        }
    }

    /// Protects the arithmetic, whatever the windows and times.
    #[test]
    fn nothing_overflows(
        mss in 52u32..65_535,
        events in prop::collection::vec((0u8..6, any::<u32>(), 0u64..1 << 44, 0u64..1 << 42), 1..60),
    ) {
        let mut cc = Congestion::new(&Config::default(), mss);
        let mut now = Instant::ZERO;
        for (what, bytes, pause, rtt) in events {
            now += Duration::from_nanos(pause);
            let before = cc.window();
            match what {
                0 => cc.on_loss(now, bytes),
                1 => cc.on_timeout(now, bytes, bytes % 2 == 0),
                2 => cc.on_ecn(now, bytes),
                3 => assert!(!(cc.undo() && cc.undo()), "given back once"),
                4 => cc.on_restart(now),
                _ => {
                    cc.on_ack(&ack(now, bytes, Duration::from_nanos(rtt)));
                    prop_assert!(cc.window() >= before, "an acknowledgment takes nothing");
                    prop_assert!(cc.window() <= before.max(mss).saturating_mul(2).min(MAX_WINDOW).max(before + 8 * mss));
                }
            }
            prop_assert!((mss..=MAX_WINDOW).contains(&cc.window()), "{}", cc.window());
            prop_assert!((2 * mss..=MAX_WINDOW).contains(&cc.threshold()));
        }
    }
}
