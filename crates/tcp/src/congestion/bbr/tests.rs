use super::bounds::UNBOUNDED;
use super::control::least_window;
use super::cycle::AckPhase;
use super::*;
use crate::congestion::MAX_WINDOW;
use crate::sent::SentMap;

const MSS: u32 = 1000;
const FIRST: SeqNum = SeqNum(7);

const fn at(ms: u64) -> Instant {
    Instant::from_millis(10_000 + ms)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn window(segments: u32) -> Window {
    Window {
        mss: MSS,
        size: segments * MSS,
        threshold: MAX_WINDOW,
        initial: 10 * MSS,
    }
}

fn sent(now: Instant, nxt: SeqNum) -> Sent {
    Sent {
        now,
        old_nxt: nxt,
        nxt: nxt + MSS,
        before: 0,
        after: MSS,
        srtt: Some(ms(40)),
        sack: true,
    }
}

fn new() -> Bbr {
    Bbr::new(&sent(at(0), FIRST), &window(10))
}

/// On a path of 1 MB/s and 40 ms, which has been filled: 40 segments.
fn cruising() -> Bbr {
    let mut bbr = new();
    bbr.full.reached = true;
    bbr.max_bw.update(1_000_000);
    bbr.bw = 1_000_000;
    bbr.state = BbrState::Cruise;
    bbr.cycle.began = at(0);
    bbr
}

fn ack(now: Instant, in_flight: u32) -> Delivered {
    Delivered {
        now,
        una: FIRST,
        in_flight,
        rtt: None,
        min_rtt: Some(ms(40)),
    }
}

fn sample(rate: u64) -> Sample {
    Sample {
        rate,
        delivered: 40_000,
        newly: MSS,
        in_flight: 40_000,
        ..Sample::default()
    }
}

/// A stretch of the sequence space that was sent at `now`.
fn run(now: Instant, start: SeqNum, len: u32) -> Run {
    let mut map = SentMap::new(start);
    map.push(start, start + len, now);
    *map.head().expect("just sent")
}

/// A round trip that shows `rate`.
fn round(bbr: &mut Bbr, rate: u64) {
    bbr.rounds.starts = true;
    bbr.check_full_pipe(&sample(rate));
}

#[test]
fn the_pipe_is_full_after_three_rounds_without_a_quarter_more() {
    let mut bbr = new();
    for rate in [100, 125, 157, 160, 170] {
        round(&mut bbr, rate);
    }
    assert!(!bbr.full.now, "two rounds");
    round(&mut bbr, 197);
    round(&mut bbr, 200);
    round(&mut bbr, 200);
    assert!(!bbr.full.now, "a quarter more begins anew");
    bbr.check_full_pipe(&Sample {
        app_limited: true,
        ..sample(10)
    });
    bbr.rounds.starts = false;
    bbr.check_full_pipe(&sample(10));
    assert!(
        !bbr.full.now,
        "neither the application's rounds nor the middle of one"
    );
    round(&mut bbr, 240);
    assert!(bbr.full.now && bbr.full.reached);
    bbr.check_startup_done(&sample(240));
    assert_eq!(bbr.state, BbrState::Drain);
    assert_eq!(bbr.stats().state, BbrState::Drain);
}

#[test]
fn drain_ends_when_the_queue_is_gone_or_after_three_rounds() {
    for (in_flight, rounds, state) in [
        (40_000, 0, BbrState::Down),
        (40_001, 3, BbrState::Drain),
        (40_001, 4, BbrState::Down),
    ] {
        let mut bbr = cruising();
        bbr.state = BbrState::Drain;
        bbr.rounds.count = rounds;
        bbr.check_drain_done(&window(80), &ack(at(1), in_flight));
        assert_eq!(bbr.state, state, "{in_flight} after {rounds}");
    }
}

/// Loses `stretches` of a segment each, with one between them.
fn lose(bbr: &mut Bbr, stretches: u32) {
    for n in 0..stretches {
        let run = run(at(1), FIRST + 2 * n * MSS, MSS);
        bbr.on_run_lost(at(2), &window(20), &run);
    }
}

#[test]
fn startup_ends_with_many_separate_losses_in_a_round() {
    for (stretches, lost, ends) in [(6, 801, true), (6, 800, false), (5, 2_000, false)] {
        let mut bbr = new();
        bbr.bw = 1_000_000;
        lose(&mut bbr, stretches);
        bbr.note_latest_delivery(&sample(1_000_000));
        let lossy = Sample {
            lost,
            ..sample(1_000_000)
        };
        bbr.check_startup_done(&lossy);
        assert_eq!(bbr.state == BbrState::Drain, ends, "{stretches}, {lost} bytes");
        assert_eq!(bbr.bounds.inflight_longterm == 40_000, ends, "the product");
    }
    let mut bbr = new();
    bbr.has_sack = false;
    lose(&mut bbr, 1);
    bbr.note_latest_delivery(&sample(1));
    bbr.check_startup_done(&sample(1));
    assert_eq!(bbr.state, BbrState::Drain, "without SACK one is all that is seen");
}

#[test]
fn one_long_stretch_is_one_loss() {
    let mut bbr = new();
    for n in 0..9 {
        bbr.on_run_lost(at(2), &window(20), &run(at(1), FIRST + n * MSS, MSS));
    }
    bbr.note_latest_delivery(&sample(1));
    bbr.check_startup_done(&Sample {
        lost: 9_000,
        ..sample(1)
    });
    assert_eq!(bbr.state, BbrState::Startup, "a burst is no full pipe");
}

#[test]
fn a_cycle_goes_through_its_four_states() {
    let (mut bbr, window) = (cruising(), window(80));
    bbr.start_down(at(0));
    assert_eq!(bbr.cycle.phase, AckPhase::ProbeStopping);
    bbr.update_cycle(&window, &ack(at(1), 41_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Down, "a queue is left");
    bbr.update_cycle(&window, &ack(at(2), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Cruise);
    bbr.update_cycle(&window, &ack(at(1_999), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Cruise, "two seconds at least");
    bbr.bounds.bw_shortterm = 5;
    bbr.bounds.inflight_shortterm = 5;
    bbr.update_cycle(&window, &ack(at(3_001), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Refill, "three at most");
    assert_eq!(bbr.bounds.bw_shortterm, u64::MAX, "what was of late is forgotten");
    assert_eq!(bbr.bounds.inflight_shortterm, UNBOUNDED);
    bbr.update_cycle(&window, &ack(at(3_010), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Refill, "for a round");
    bbr.rounds.starts = true;
    bbr.update_cycle(&window, &ack(at(3_041), 40_000), &sample(900_000));
    assert_eq!((bbr.state, bbr.full.rate), (BbrState::Up, 900_000));
    assert!(bbr.cycle.is_probe_sample);
    bbr.rounds.starts = false;
    bbr.full.now = true;
    bbr.update_cycle(&window, &ack(at(3_090), 50_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Down, "no more is to be had");
}

#[test]
fn on_a_small_path_reno_says_when_to_probe() {
    let mut bbr = cruising();
    bbr.cycle.wait = Duration::from_secs(2);
    bbr.cycle.rounds_since_up = 39;
    bbr.update_cycle(&window(80), &ack(at(1), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Cruise, "39 rounds of 40 segments");
    bbr.cycle.rounds_since_up = 40;
    bbr.update_cycle(&window(80), &ack(at(1), 40_000), &sample(1));
    assert_eq!(bbr.state, BbrState::Refill);
}

#[test]
fn a_filter_of_rates_moves_on_with_each_cycle() {
    let (mut bbr, window) = (cruising(), window(80));
    for rate in [1_000_000, 800_000, 700_000] {
        bbr.update_max_bw(&sample(rate));
        bbr.cycle.phase = AckPhase::ProbeStopping;
        bbr.rounds.starts = true;
        bbr.update_cycle(&window, &ack(at(1), 40_000), &sample(rate));
    }
    assert_eq!(bbr.max_bw.get(), 700_000, "after the next sample");
    bbr.update_max_bw(&Sample {
        app_limited: true,
        ..sample(600_000)
    });
    bbr.update_max_bw(&Sample {
        app_limited: true,
        ..sample(900_000)
    });
    assert_eq!(
        bbr.max_bw.get(),
        900_000,
        "the application's count if they are more"
    );
}

/// In Up, with a segment of 100 of those in flight sent at one millisecond.
fn probing() -> Bbr {
    let mut bbr = cruising();
    bbr.state = BbrState::Up;
    bbr.cycle.is_probe_sample = true;
    let (now, nxt) = (at(1), FIRST + 100 * MSS);
    bbr.on_sent(
        &mut window(200),
        &Sent {
            now,
            nxt,
            before: 1,
            after: 100 * MSS,
            ..sent(now, FIRST)
        },
    );
    bbr
}

#[test]
fn a_probe_that_loses_too_much_sets_the_bound_and_the_next_one_is_cautious() {
    let mut bbr = probing();
    let window = window(110);
    bbr.on_run_lost(at(50), &window, &run(at(1), FIRST, 2 * MSS));
    assert_eq!(bbr.state, BbrState::Up, "two in a hundred are borne");
    bbr.on_run_lost(at(50), &window, &run(at(1), FIRST + 3 * MSS, MSS));
    assert_eq!(bbr.state, BbrState::Down);
    // 99 before it, of which two were lost: two per cent would be 1.98.
    assert_eq!(bbr.bounds.inflight_longterm, 99 * MSS, "where it became too much");
    bbr.cycle.is_probe_sample = false;
    bbr.state = BbrState::Up;
    bbr.cycle.phase = AckPhase::Init;
    bbr.update_cycle(&window, &ack(at(90), 98 * MSS), &sample(1_000_000));
    assert_eq!(bbr.state, BbrState::Up, "below it");
    bbr.update_cycle(&window, &ack(at(91), 99 * MSS), &sample(1_000_000));
    assert_eq!(bbr.state, BbrState::Down, "not beyond it at first");
    bbr.rounds.starts = true;
    bbr.update_cycle(&window, &ack(at(130), 40 * MSS), &sample(1_000_000));
    assert_eq!(
        bbr.state,
        BbrState::Refill,
        "it went well: once more, and farther"
    );
}

#[test]
fn the_bound_rises_by_one_two_four_segments_a_round() {
    let (mut bbr, mut window) = (cruising(), window(40));
    bbr.bounds.inflight_longterm = 40 * MSS;
    bbr.state = BbrState::Refill;
    bbr.rounds.starts = true;
    bbr.update_cycle(&window, &ack(at(1), 40_000), &sample(1_000_000));
    assert_eq!(bbr.state, BbrState::Up);
    bbr.limited = [true; 2];
    let mut rises = Vec::new();
    for _ in 0..3 {
        let before = bbr.bounds.inflight_longterm;
        window.size = before;
        for n in 0..40 {
            bbr.rounds.starts = n == 39;
            bbr.update_cycle(&window, &ack(at(2), 40_000), &sample(1_000_000));
            window.size = bbr.bounds.inflight_longterm;
        }
        rises.push((bbr.bounds.inflight_longterm - before) / MSS);
    }
    assert_eq!(rises, [1, 2, 3], "about twice as many each round");
    bbr.limited = [false; 2];
    let before = bbr.bounds.inflight_longterm;
    for _ in 0..100 {
        bbr.update_cycle(&window, &ack(at(2), 40_000), &sample(1_000_000));
    }
    assert_eq!(bbr.bounds.inflight_longterm, before, "only where it is used");
}

/// A round in which something was lost and `rate` was delivered.
fn lossy_round(bbr: &mut Bbr, window: &Window, rate: u64, delivered: u64) {
    bbr.note_loss();
    let sample = Sample {
        rate,
        delivered,
        prior_delivered: bbr.sampler.delivered,
        ..Sample::default()
    };
    bbr.note_latest_delivery(&sample);
    bbr.adapt_to_congestion(window);
    bbr.advance_latest_delivery(&sample);
}

#[test]
fn outside_of_probes_a_lossy_round_lowers_the_bounds_to_what_was_delivered() {
    let (mut bbr, window) = (cruising(), window(80));
    lossy_round(&mut bbr, &window, 900_000, 70_000);
    assert_eq!(bbr.bounds.bw_shortterm, 900_000);
    assert_eq!(bbr.bounds.inflight_shortterm, 70_000);
    bbr.losses.bw_latest = 0;
    bbr.losses.inflight_latest = 0;
    lossy_round(&mut bbr, &window, 1, 1);
    assert_eq!(
        bbr.bounds.bw_shortterm, 630_000,
        "by no more than three tenths a round"
    );
    assert_eq!(bbr.bounds.inflight_shortterm, 49_000);
    let mut bbr = probing();
    lossy_round(&mut bbr, &window, 1, 1);
    assert_eq!(
        bbr.bounds.inflight_shortterm, UNBOUNDED,
        "a probe asks for losses"
    );
}

#[test]
fn a_mark_is_taken_for_too_much() {
    let mut bbr = new();
    bbr.bw = 1_000_000;
    bbr.on_mark(at(2), &window(20), 30_000);
    bbr.check_startup_done(&sample(1_000_000));
    assert_eq!(bbr.state, BbrState::Drain, "the end of Startup");
    let mut bbr = probing();
    bbr.on_mark(at(2), &window(100), 90_000);
    assert_eq!(bbr.state, BbrState::Down, "and of a probe");
    assert_eq!(bbr.bounds.inflight_longterm, 90_000);
    bbr.undo(&mut window(10));
    assert_eq!(bbr.bounds.inflight_longterm, 90_000, "it is never false");
    let mut bbr = cruising();
    bbr.on_mark(at(2), &window(80), 60_000);
    let sample = sample(1_000_000);
    bbr.note_latest_delivery(&sample);
    bbr.adapt_to_congestion(&window(80));
    assert_eq!(bbr.bounds.inflight_shortterm, 56_000, "in between as a loss");
}

#[test]
fn what_a_false_loss_took_is_given_back() {
    let (mut bbr, mut window) = (probing(), window(110));
    bbr.on_run_lost(at(50), &window, &run(at(1), FIRST, 5 * MSS));
    bbr.begin_recovery(&window);
    assert_eq!(bbr.state, BbrState::Down);
    window.size = 20 * MSS;
    bbr.undo(&mut window);
    assert_eq!((bbr.state, window.size), (BbrState::Refill, 110 * MSS));
    assert_eq!(bbr.bounds.inflight_longterm, UNBOUNDED);
    let (mut bbr, mut window) = (new(), super::tests::window(20));
    bbr.bw = 1_000_000;
    lose(&mut bbr, 6);
    bbr.note_latest_delivery(&sample(1_000_000));
    bbr.check_startup_done(&Sample {
        lost: 6_000,
        ..sample(1)
    });
    assert_eq!(bbr.state, BbrState::Drain);
    bbr.undo(&mut window);
    assert_eq!(bbr.state, BbrState::Startup);
    assert!(!bbr.full.reached);
}

#[test]
fn after_a_recovery_the_window_is_what_it_was() {
    let (mut bbr, mut window) = (cruising(), window(80));
    bbr.begin_recovery(&window);
    window.size = MSS;
    bbr.begin_recovery(&window);
    bbr.end_recovery(&mut window);
    assert_eq!(window.size, 80 * MSS);
    window.size = MSS;
    bbr.end_recovery(&mut window);
    assert_eq!(window.size, MSS, "once");
}

/// An acknowledgment with a round trip of `rtt` milliseconds.
fn timed(now: u64, rtt: u64) -> Delivered {
    Delivered {
        rtt: Some(ms(rtt)),
        ..ack(at(now), 10_000)
    }
}

#[test]
fn the_shortest_round_trip_is_of_the_last_ten_seconds() {
    let mut bbr = cruising();
    bbr.update_min_rtt(&timed(1, 40));
    bbr.update_min_rtt(&timed(2, 30));
    bbr.update_min_rtt(&timed(3, 50));
    assert_eq!(bbr.rtt.min(), Some(ms(30)), "it falls at once");
    bbr.update_min_rtt(&timed(5_003, 50));
    assert_eq!(bbr.rtt.min(), Some(ms(30)), "but does not rise so soon");
    bbr.update_min_rtt(&timed(10_003, 45));
    assert_eq!(bbr.rtt.min(), Some(ms(45)));
}

#[test]
fn for_a_shorter_one_little_is_in_flight_for_200_ms_and_a_round() {
    let (mut bbr, mut window) = (cruising(), window(80));
    bbr.update_min_rtt(&timed(1, 40));
    let mut step = |bbr: &mut Bbr, now: u64, in_flight: u32, starts: bool| {
        let ack = Delivered {
            in_flight,
            ..timed(now, 60)
        };
        bbr.rounds.starts = starts;
        bbr.update_min_rtt(&ack);
        bbr.check_probe_rtt(&mut window, &ack, &sample(1));
        bbr.set_window(&mut window, 0);
        window.size
    };
    assert_eq!(step(&mut bbr, 5_001, 80_000, false), 80_000);
    assert_eq!(bbr.state, BbrState::Cruise, "five seconds have not passed");
    assert_eq!(
        step(&mut bbr, 5_002, 80_000, false),
        20_000,
        "half of the product"
    );
    assert_eq!(bbr.state, BbrState::ProbeRtt);
    assert!(
        bbr.sampler.is_app_limited(),
        "what is measured now says nothing of the rate"
    );
    step(&mut bbr, 5_020, 20_000, false);
    step(&mut bbr, 5_230, 20_000, false);
    assert_eq!(bbr.state, BbrState::ProbeRtt, "a round has not passed");
    assert_eq!(
        step(&mut bbr, 5_231, 20_000, true),
        80_000,
        "the window of before"
    );
    assert_eq!(bbr.state, BbrState::Cruise);
    step(&mut bbr, 10_231, 20_000, false);
    assert_eq!(bbr.state, BbrState::Cruise, "five seconds from then");
}

#[test]
fn a_pause_takes_the_place_of_a_probe_for_the_round_trip() {
    let (mut bbr, mut window) = (cruising(), window(80));
    bbr.mark_app_limited(0);
    bbr.on_sent(&mut window, &sent(at(6_000), FIRST));
    assert!(bbr.idle_restart);
    assert_eq!(bbr.pacing_rate(), 990_000, "at the rate of the path");
    bbr.update_min_rtt(&timed(6_050, 50));
    bbr.check_probe_rtt(&mut window, &timed(6_050, 50), &sample(1));
    assert_eq!(bbr.state, BbrState::Cruise);
    assert!(!bbr.idle_restart, "once");
    assert_eq!(window.size, 80 * MSS, "the window stays");
}

#[test]
fn a_probe_for_the_round_trip_may_end_in_a_pause() {
    let (mut bbr, mut window) = (cruising(), window(20));
    bbr.prior_window = 80 * MSS;
    bbr.state = BbrState::ProbeRtt;
    bbr.rtt.done_at = Some(at(100));
    bbr.mark_app_limited(0);
    bbr.on_sent(&mut window, &sent(at(300), FIRST));
    assert_eq!((bbr.state, window.size), (BbrState::Cruise, 80 * MSS));
}

#[test]
fn the_pace_begins_with_the_initial_window_and_does_not_fall_before_the_pipe_was_full() {
    let mut bbr = new();
    assert_eq!(bbr.pacing_rate(), 692_500, "2.77 times ten segments a round trip");
    bbr.bw = 10_000;
    bbr.set_pacing_rate(&window(10));
    assert_eq!(bbr.pacing_rate(), 692_500);
    bbr.bw = 1_000_000;
    bbr.set_pacing_rate(&window(10));
    assert_eq!(bbr.pacing_rate(), 2_742_300, "2.77 times 99 per cent");
    bbr.full.reached = true;
    for (state, rate) in [
        (BbrState::Drain, 495_000),
        (BbrState::Down, 891_000),
        (BbrState::Cruise, 990_000),
        (BbrState::Refill, 990_000),
        (BbrState::Up, 1_237_500),
        (BbrState::ProbeRtt, 990_000),
    ] {
        bbr.state = state;
        bbr.set_pacing_rate(&window(10));
        assert_eq!(bbr.pacing_rate(), rate, "{state:?}");
    }
    bbr.bw = 1;
    bbr.set_pacing_rate(&window(10));
    assert_eq!(bbr.pacing_rate(), 25_000, "a segment each round trip");
}

#[test]
fn the_window_falls_at_once_and_rises_by_what_arrives() {
    let (mut bbr, mut window) = (cruising(), window(100));
    bbr.set_window(&mut window, MSS);
    assert_eq!(window.size, 80_000, "twice the product");
    window.size = 50_000;
    bbr.set_window(&mut window, MSS);
    assert_eq!(window.size, 51_000);
    bbr.bw = 1;
    bbr.set_window(&mut window, MSS);
    assert_eq!(
        window.size,
        6 * MSS,
        "what the ends hold back: three times two segments"
    );
    bbr.bounds.inflight_shortterm = 1;
    bbr.set_window(&mut window, MSS);
    assert_eq!(window.size, least_window(&window), "four segments at least");
    bbr.bounds.inflight_shortterm = UNBOUNDED;
    bbr.bw = 1_000_000;
    bbr.bounds.inflight_longterm = 40_000;
    window.size = 60_000;
    bbr.set_window(&mut window, MSS);
    assert_eq!(
        window.size, 34_000,
        "in Cruise some of what was too much is left free"
    );
    bbr.state = BbrState::Refill;
    window.size = 60_000;
    bbr.set_window(&mut window, MSS);
    assert_eq!(window.size, 40_000, "and not when it is tried");
}

#[test]
fn acknowledgments_that_come_in_heaps_widen_the_window() {
    let mut bbr = cruising();
    let mut heap = |now: u64, newly: u32| {
        let sample = Sample {
            newly,
            ..sample(1_000_000)
        };
        bbr.update_aggregation(&window(80), at(now), &sample);
        bbr.aggregation.most.get()
    };
    assert_eq!(heap(30, 30_000), 30_000, "nothing was owed before this interval");
    assert_eq!(heap(40, 20_000), 40_000, "50,000 in the time of 10,000");
    assert_eq!(bbr.max_inflight(&window(80)), 120_000, "beside twice the product");
}

#[test]
fn cycles_differ_by_seed_and_by_nothing_else() {
    let waits = |first: u32| {
        let mut bbr = Bbr::new(&sent(at(0), SeqNum(first)), &window(10));
        [0; 4].map(|_| bbr.draw(1_000_000_000))
    };
    assert_eq!(waits(1), waits(1), "a simulation can repeat it");
    for first in 0..100u32 {
        assert_ne!(waits(first), waits(first + 1), "{first}");
    }
    let mut bbr = new();
    let heads = (0..1_000).filter(|_| bbr.draw(2) == 1).count();
    assert!((450..550).contains(&heads), "{heads}");
}

/// Protects the memory of an active connection that has BBR.
#[test]
fn it_is_small() {
    assert!(size_of::<Bbr>() <= 640, "{}", size_of::<Bbr>());
}

/// Protects the arithmetic from what a lying peer can make of the figures.
#[test]
fn absurd_figures_do_no_harm() {
    let (mut bbr, mut window) = (cruising(), window(10));
    for rate in [u64::MAX, 1, u64::MAX / 2] {
        for delivered in [u64::MAX, 0] {
            for state in [
                BbrState::Startup,
                BbrState::Up,
                BbrState::Cruise,
                BbrState::ProbeRtt,
            ] {
                bbr.state = state;
                bbr.max_bw.update(rate);
                bbr.bw = rate;
                bbr.note_latest_delivery(&Sample {
                    rate,
                    delivered,
                    ..sample(rate)
                });
                bbr.adapt_to_congestion(&window);
                let ack = ack(at(50_000), u32::MAX);
                let sample = Sample {
                    newly: u32::MAX,
                    ..sample(rate)
                };
                bbr.update_aggregation(&window, at(50_000), &sample);
                bbr.update_cycle(&window, &ack, &sample);
                bbr.on_mark(at(50_000), &window, u32::MAX);
                bbr.set_pacing_rate(&window);
                bbr.set_window(&mut window, u32::MAX);
                assert!(window.size <= MAX_WINDOW && window.size >= 4 * MSS);
                assert!(bbr.pacing_rate() > 0);
            }
        }
    }
}
