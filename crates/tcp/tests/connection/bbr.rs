//! BBR as a path sees it.

use crore_base::Duration;
use crore_tcp::{BbrState, BbrStats, Config, CongestionKind};

use crate::bottleneck::{Bottleneck, Way, fairness};

const MS: fn(u64) -> Duration = Duration::from_millis;
const FOR_EVER: u64 = u64::MAX;

fn bbr() -> Config {
    of(CongestionKind::Bbr)
}

fn of(congestion: CongestionKind) -> Config {
    Config {
        congestion,
        // The receiver is to hold whatever comes behind a hole.
        max_reassembly_chunks: 20_000,
        ..Config::default()
    }
}

/// 100 Mbit/s, with twice the product as a queue.
fn way(round_trip: u64) -> Way {
    Way {
        rate: 12_500_000,
        queue: 12_500 * round_trip * 2,
        round_trip: MS(round_trip),
    }
}

fn model(way: &Bottleneck, flow: usize) -> BbrStats {
    way.stats(flow).bbr.expect("data was sent")
}

/// What of the line's bytes can be text, in `seconds`.
fn most(way: Way, seconds: u64) -> u64 {
    way.rate * seconds * 1448 / 1514
}

/// What `config` makes of a path in 20 s after the first ten: how much of the
/// line it fills, in percent, and how long the queue is, in percent of the product.
fn steady(config: &Config, way: Way, loss: u32) -> (u64, u64) {
    let mut sim = Bottleneck::new(way);
    let flow = sim.add(config, MS(0), FOR_EVER);
    sim.flows[flow].loss = loss;
    sim.run(MS(10_000));
    sim.mean_queue();
    let got = sim.measure(MS(20_000))[0];
    (got * 100 / most(way, 20), sim.mean_queue() * 100 / way.bdp())
}

#[test]
fn a_long_path_is_filled_and_its_queue_is_short() {
    for round_trip in [40, 100] {
        let way = way(round_trip);
        let (filled, queued) = steady(&bbr(), way, 0);
        let (_, cubic) = steady(&of(CongestionKind::Cubic), way, 0);
        assert!(filled >= 90, "{round_trip} ms: {filled} per cent");
        assert!(queued <= 30, "{round_trip} ms: {queued} per cent of the product");
        assert!(
            queued * 3 < cubic,
            "CUBIC's is {cubic} per cent, this one's {queued}"
        );
    }
}

#[test]
fn startup_finds_the_rate_and_drains_what_it_has_queued() {
    let way = way(40);
    let mut sim = Bottleneck::new(way);
    let flow = sim.add(&bbr(), MS(0), FOR_EVER);
    assert!(sim.run_until(MS(2_000), |sim| {
        sim.stats(flow)
            .bbr
            .is_some_and(|bbr| bbr.state == BbrState::Drain)
    }));
    let found = model(&sim, flow).bandwidth;
    let carried = way.rate * 1448 / 1514;
    assert!(
        found.abs_diff(carried) * 50 < carried,
        "{found} instead of {carried}"
    );
    assert!(
        sim.longest < way.bdp() * 3 / 2,
        "about once the product: {}",
        sim.longest
    );
    assert!(sim.run_until(MS(300), |sim| model(sim, flow).state == BbrState::Cruise));
    sim.run(MS(100));
    sim.mean_queue();
    sim.run(MS(100));
    assert!(sim.mean_queue() < way.bdp() / 20, "the queue is gone");
    assert_eq!(sim.flows[flow].dropped, 0);
}

#[test]
fn one_loss_in_a_hundred_hardly_slows_it_down() {
    for round_trip in [40, 100] {
        let (filled, _) = steady(&bbr(), way(round_trip), 100);
        let (cubic, _) = steady(&of(CongestionKind::Cubic), way(round_trip), 100);
        assert!(
            filled >= 70 && filled > 5 * cubic,
            "{round_trip} ms: {filled} per cent, where CUBIC has {cubic}"
        );
    }
}

/// With a queue of a tenth of what the path carries.
#[test]
fn a_short_queue_is_no_obstacle() {
    let way = Way {
        queue: 50_000,
        ..way(40)
    };
    let mut sim = Bottleneck::new(way);
    let flow = sim.add(&bbr(), MS(0), FOR_EVER);
    sim.run(MS(10_000));
    let (dropped, sent) = (sim.flows[flow].dropped, sim.flows[flow].sent);
    let got = sim.measure(MS(20_000))[0];
    let (dropped, sent) = (sim.flows[flow].dropped - dropped, sim.flows[flow].sent - sent);
    assert!(
        got * 100 >= most(way, 20) * 85,
        "{} per cent",
        got * 100 / most(way, 20)
    );
    assert!(dropped * 50 < sent, "{dropped} of {sent} lost");
}

#[test]
fn a_path_that_becomes_longer_or_shorter_is_measured_anew() {
    let mut sim = Bottleneck::new(way(40));
    let flow = sim.add(&bbr(), MS(0), FOR_EVER);
    sim.run(MS(5_000));
    sim.way.round_trip = MS(20);
    sim.run(MS(2_000));
    let shorter = model(&sim, flow).min_rtt.expect("measured");
    assert!(shorter < MS(22), "at once: {shorter:?}");
    sim.way.round_trip = MS(80);
    sim.way.queue = way(80).queue;
    sim.run(MS(5_000));
    assert!(
        model(&sim, flow).min_rtt < Some(MS(22)),
        "a queue looks the same at first"
    );
    sim.run(MS(15_000));
    let longer = model(&sim, flow).min_rtt.expect("measured");
    assert!((MS(80)..MS(90)).contains(&longer), "{longer:?}");
    let got = sim.measure(MS(10_000))[0];
    assert!(got * 100 >= most(sim.way, 10) * 90, "and filled");
}

#[test]
fn a_line_that_becomes_slower_or_faster_is_followed() {
    let mut sim = Bottleneck::new(way(40));
    let flow = sim.add(&bbr(), MS(0), FOR_EVER);
    sim.run(MS(5_000));
    sim.way.rate /= 5;
    sim.run(MS(15_000));
    let found = model(&sim, flow).bandwidth;
    let carried = sim.way.rate * 1448 / 1514;
    assert!(
        found.abs_diff(carried) * 10 < carried,
        "{found} instead of {carried}"
    );
    sim.mean_queue();
    sim.run(MS(10_000));
    let queued = sim.mean_queue() * 100 / sim.way.bdp();
    assert!(queued < 100, "no queue stands for long: {queued} per cent");
    sim.way.rate *= 10;
    sim.run(MS(25_000));
    let got = sim.measure(MS(10_000))[0];
    let share = got * 100 / most(sim.way, 10);
    assert!(share >= 85, "{share} per cent of twice what it was at first");
}

/// The application writes a fifth of what the line carries.
#[test]
fn an_application_that_has_little_to_send_does_not_spoil_the_model() {
    let way = way(40);
    let mut sim = Bottleneck::new(way);
    let flow = sim.add(&bbr(), MS(0), 20_000_000);
    sim.run(MS(3_000));
    let found = model(&sim, flow).bandwidth;
    for _ in 0..1_000 {
        sim.flows[flow].write(25_000);
        sim.run(MS(10));
    }
    let now = model(&sim, flow);
    assert!(now.app_limited);
    assert!(
        now.bandwidth * 100 >= found * 98,
        "{} instead of {found}",
        now.bandwidth
    );
    assert_eq!(sim.flows[flow].dropped, 0);
    // A long pause, and then all that the path bears at once.
    sim.run(MS(20_000));
    let before = sim.flows[flow].received;
    sim.flows[flow].write(20_000_000);
    sim.run(MS(500));
    let got = (sim.flows[flow].received - before) * 2;
    assert!(
        got * 100 >= most(way, 1) * 75,
        "{} per cent in the first half second",
        got * 100 / most(way, 1)
    );
}

#[test]
fn a_trickle_alone_never_ends_startup() {
    let mut sim = Bottleneck::new(way(40));
    let flow = sim.add(&bbr(), MS(0), 1_000);
    for _ in 0..1_000 {
        sim.flows[flow].write(1_000);
        sim.run(MS(10));
    }
    assert_eq!(model(&sim, flow).state, BbrState::Startup);
    sim.flows[flow].write(50_000_000);
    sim.run(MS(1_000));
    let got = sim.measure(MS(1_000))[0];
    assert!(got * 100 >= most(sim.way, 1) * 90, "{got}");
}

#[test]
fn flows_that_share_a_line_come_to_equal_shares() {
    for (round_trip, flows) in [(20, 2), (40, 2), (40, 4)] {
        let mut sim = Bottleneck::new(way(round_trip));
        for n in 0..flows {
            sim.add(&bbr(), MS(3_000 * n), FOR_EVER);
        }
        sim.run(MS(40_000));
        let shares = sim.measure(MS(40_000));
        assert!(fairness(&shares) > 0.9, "{flows} at {round_trip} ms: {shares:?}");
        let sum: u64 = shares.iter().sum();
        assert!(
            sum * 100 > most(sim.way, 40) * 90,
            "{flows} at {round_trip} ms: {shares:?}"
        );
    }
}

/// With a queue of once the product CUBIC and BBR live side by side.
#[test]
fn beside_cubic_neither_starves() {
    let mut sim = Bottleneck::new(Way {
        queue: 500_000,
        ..way(40)
    });
    sim.add(&bbr(), MS(0), FOR_EVER);
    sim.add(&of(CongestionKind::Cubic), MS(0), FOR_EVER);
    sim.run(MS(20_000));
    let shares = sim.measure(MS(60_000));
    assert!(
        shares.iter().all(|&share| share * 100 >= most(sim.way, 60) * 10),
        "{shares:?}"
    );
}

#[test]
fn losses_without_sack_are_borne() {
    let config = Config { sack: false, ..bbr() };
    let mut sim = Bottleneck::new(way(20));
    let flow = sim.add(&config, MS(0), 20_000_000);
    sim.flows[flow].loss = 10;
    let done = sim.run_until(MS(60_000), |sim| sim.flows[flow].received == 20_000_000);
    assert!(done, "{} arrived", sim.flows[flow].received);
}

/// Paths as in `paced_flows_never_stall`, with losses: everything arrives, and in
/// little more than the line takes.
#[test]
fn on_no_path_does_it_stall() {
    for (rate, queue, round_trip) in [
        (125_000_000, 500_000, Duration::from_micros(200)),
        (12_500, 20_000, MS(50)),
        (2_500_000, 50_000, MS(20)),
        (125_000_000, 4_000_000, MS(100)),
    ] {
        for loss in [0, 100] {
            let mut sim = Bottleneck::new(Way {
                rate,
                queue,
                round_trip,
            });
            let bytes = (rate * 5).min(60_000_000);
            let flow = sim.add(&bbr(), MS(0), bytes);
            sim.flows[flow].loss = loss;
            let begin = sim.now;
            let done = sim.run_until(MS(60_000), |sim| sim.flows[flow].received == bytes);
            let took = sim.now.since(begin).as_secs_f64();
            let least = bytes as f64 / rate as f64 + 12.0 * round_trip.as_secs_f64();
            assert!(
                done && took < 2.0 * least,
                "{rate} B/s, {round_trip:?}, {loss}: {took} s instead of {least}"
            );
        }
    }
}

#[test]
fn it_changes_hands_in_the_middle_of_a_transfer() {
    use std::rc::Rc;
    let mut sim = Bottleneck::new(way(40));
    let flow = sim.add(&of(CongestionKind::Cubic), MS(0), FOR_EVER);
    for kind in [CongestionKind::Bbr, CongestionKind::NewReno, CongestionKind::Bbr] {
        sim.run(MS(2_000));
        let config = Config {
            send_buffer: 1 << 24,
            receive_buffer: 1 << 24,
            ..of(kind)
        };
        sim.flows[flow].sender.configure(Rc::new(config));
    }
    sim.run(MS(10_000));
    let got = sim.measure(MS(5_000))[0];
    assert!(got * 100 >= most(sim.way, 5) * 85, "{got}");
}
