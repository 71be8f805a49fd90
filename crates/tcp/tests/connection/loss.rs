//! Losing, finding out, and sending again.

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, Event};
use crore_wire::{SackBlocks, Segment, Timestamps};

use crate::lone::{ACK, IRS, ISS, Lone, MSS, path, plain, seg, syn};
use crate::pair::{A, Pair, text};

const M: u32 = MSS as u32;

fn with_sack() -> Config {
    Config {
        sack: true,
        ..plain()
    }
}

/// Established with SACK, `segments` full ones in flight.
fn sack_flight(segments: u32) -> Lone {
    let mut first = syn();
    first.options.sack_permitted = true;
    let config = Config {
        initial_window: 40,
        ..with_sack()
    };
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.recv(&seg(ACK, 1, 1), b"");
    lone.conn.write(&text(1, (segments * M) as usize)).expect("open");
    assert_eq!(lone.data().len(), segments as usize, "all are in flight");
    lone
}

/// As [`sack_flight`], without SACK.
fn plain_flight(segments: u32) -> Lone {
    let config = Config {
        initial_window: 40,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(&text(1, (segments * M) as usize)).expect("open");
    assert_eq!(lone.data().len(), segments as usize, "all are in flight");
    lone
}

fn sacks(ack: u32, blocks: &[(u32, u32)]) -> Segment {
    let mut segment = seg(ACK, 1, ack);
    let mut sack = SackBlocks::new();
    for &(left, right) in blocks {
        sack.push(ISS + left, ISS + right);
    }
    segment.options.sack = sack;
    segment
}

#[test]
fn the_third_duplicate_ack_sends_the_head_again() {
    let mut lone = plain_flight(10);
    for _ in 0..2 {
        lone.recv(&seg(ACK, 1, 1), b"");
        assert_eq!(lone.data(), [], "two may be reordering");
    }
    lone.recv(&seg(ACK, 1, 1), b"");
    assert_eq!(lone.data(), [(1, MSS.into())], "three are a loss");
    assert_eq!(lone.conn.stats().ssthresh, 5 * M, "half of what was in flight");
    lone.recv(&seg(ACK, 1, 1 + 10 * M), b"");
    assert_eq!(lone.conn.stats().cwnd, 2 * M, "RFC 6582: no burst on leaving");
}

#[test]
fn the_first_two_duplicate_acks_let_new_segments_out() {
    let mut lone = plain_flight(40);
    lone.conn.write(&text(2, 10_000)).expect("open");
    assert_eq!(lone.data(), [], "the window is full");
    for n in 0..2 {
        lone.recv(&seg(ACK, 1, 1), b"");
        assert_eq!(lone.data(), [(1 + (40 + n) * M, MSS.into())], "RFC 3042");
    }
}

#[test]
fn an_ack_with_data_or_another_window_is_no_duplicate() {
    let mut lone = plain_flight(10);
    for n in 0..5 {
        lone.recv(&seg(ACK, 1 + n, 1), b"x");
    }
    for n in 0..5 {
        let segment = Segment {
            window: 40_000 + n,
            ..seg(ACK, 6, 1)
        };
        lone.recv(&segment, b"");
    }
    assert_eq!(lone.data(), [], "RFC 5681 section 2");
}

#[test]
fn without_sack_each_partial_ack_fills_the_next_hole() {
    // Segments 0, 3 and 6 of ten are lost.
    let mut lone = plain_flight(10);
    for _ in 0..7 {
        lone.recv(&seg(ACK, 1, 1), b"");
    }
    assert_eq!(lone.data(), [(1, MSS.into())], "the first hole");
    lone.recv(&seg(ACK, 1, 1 + 3 * M), b"");
    assert_eq!(lone.data(), [(1 + 3 * M, MSS.into())], "the second");
    lone.recv(&seg(ACK, 1, 1 + 6 * M), b"");
    assert_eq!(lone.data(), [(1 + 6 * M, MSS.into())], "the third");
    lone.recv(&seg(ACK, 1, 1 + 10 * M), b"");
    assert_eq!(lone.conn.stats().fast_recoveries, 1, "one loss, one halving");
}

#[test]
fn with_sack_all_holes_are_filled_at_once() {
    // Segments 0, 2 and 4 of 20 are lost; all others arrive.
    let mut lone = sack_flight(20);
    lone.recv(&sacks(1, &[(1 + M, 1 + 2 * M)]), b"");
    lone.recv(&sacks(1, &[(1 + 3 * M, 1 + 4 * M), (1 + M, 1 + 2 * M)]), b"");
    assert_eq!(lone.data(), [], "not yet known to be lost");
    let mut sent = Vec::new();
    for n in 6..=20 {
        let blocks = [(1 + 5 * M, 1 + n * M), (1 + 3 * M, 1 + 4 * M), (1 + M, 1 + 2 * M)];
        lone.recv(&sacks(1, &blocks), b"");
        sent.extend(lone.data());
    }
    let rescue = sent.pop();
    assert_eq!(
        rescue,
        Some((1 + 19 * M, MSS.into())),
        "RFC 6675 rule 4: the tail, once"
    );
    let holes = [0, 2, 4].map(|n| (1 + n * M, usize::from(MSS)));
    assert_eq!(sent, holes, "each hole once, in one round trip");
    lone.recv(&seg(ACK, 1, 1 + 20 * M), b"");
    let stats = lone.conn.stats();
    assert_eq!(stats.timeouts, 0, "no time-out");
    assert_eq!(stats.cwnd, 10 * M, "half");
}

#[test]
fn recovery_sends_as_much_as_the_halved_window_holds() {
    // The first half of 20 is lost; six and a bit are thought to be on their way.
    let mut lone = sack_flight(20);
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 14 * M - 500)]), b"");
    assert_eq!(lone.conn.stats().cwnd, 10 * M, "half of what was in flight");
    let holes =
        |from: u32, n: u32| -> Vec<_> { (from..from + n).map(|i| (1 + i * M, usize::from(MSS))).collect() };
    assert_eq!(
        lone.data(),
        holes(0, 3),
        "RFC 6675: up to the window, whole segments"
    );
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 14 * M)]), b"");
    assert_eq!(lone.data(), holes(3, 1), "as much as has left the network");
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 16 * M)]), b"");
    assert_eq!(lone.data(), holes(4, 2), "no more, no less");
}

#[test]
fn the_scoreboard_alone_may_show_a_loss() {
    let mut lone = sack_flight(10);
    // One ACK that covers a whole burst.
    lone.recv(&sacks(1, &[(1 + M, 1 + 9 * M)]), b"");
    assert_eq!(
        lone.data()[0],
        (1, MSS.into()),
        "RFC 6675: more than two segments lie above it"
    );
}

#[test]
fn a_lost_tail_is_rescued_without_a_timeout() {
    // 0 is lost, and 9, the last one; the rest arrives.
    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + M, 1 + 9 * M)]), b"");
    assert_eq!(
        lone.data(),
        [(1, MSS.into()), (1 + 9 * M, MSS.into())],
        "the head, and by RFC 6675's rule 4 the last one"
    );
    lone.recv(&sacks(1 + 9 * M, &[]), b"");
    assert_eq!(lone.data(), [], "once");
}

#[test]
fn a_receiver_that_takes_its_word_back_gets_everything_again() {
    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + 2 * M, 1 + 10 * M)]), b"");
    lone.out();
    lone.wait();
    // It had dropped all that it SACKed: each ACK moves by one segment.
    let mut sent = lone.data();
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    let next = lone.data();
    assert_eq!(
        next,
        [(1 + M, MSS.into()), (1 + 2 * M, MSS.into())],
        "what was SACKed before is not passed over"
    );
    sent.extend(next);
    while lone.conn.snd_una() != lone.conn.snd_nxt() {
        let una = ISS.distance_to(lone.conn.snd_una());
        lone.recv(&seg(ACK, 1, una + M), b"");
        sent.extend(lone.data());
    }
    let all: Vec<_> = (0..10).map(|n| (1 + n * M, usize::from(MSS))).collect();
    assert_eq!(sent, all, "RFC 2018 section 8");
}

#[test]
fn sack_blocks_after_a_timeout_are_used_again() {
    let mut lone = sack_flight(10);
    lone.wait();
    assert_eq!(lone.data(), [(1, MSS.into())], "one segment");
    lone.recv(&sacks(1 + M, &[(1 + 3 * M, 1 + 9 * M)]), b"");
    let sent = lone.data();
    assert_eq!(
        sent,
        [(1 + M, MSS.into()), (1 + 2 * M, MSS.into())],
        "the hole, as far as slow start lets"
    );
    lone.recv(&sacks(1 + 9 * M, &[]), b"");
    assert_eq!(
        lone.data(),
        [(1 + 9 * M, MSS.into())],
        "what is SACKed is passed over"
    );
}

#[test]
fn a_timeout_doubles_each_time_and_ends_in_giving_up() {
    let config = Config {
        data_retries: 5,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"hello").expect("open");
    assert_eq!(lone.data(), [(1, 5)], "sent");
    let mut waits = Vec::new();
    while !lone.conn.is_closed() {
        waits.push(lone.wait().as_millis());
        lone.data();
        if lone.events().contains(&Event::Closed(CloseReason::TimedOut)) {
            break;
        }
    }
    assert_eq!(
        waits,
        [200, 400, 800, 1600, 3200, 6400],
        "five retries, then the end"
    );
}

#[test]
fn after_a_timeout_everything_is_sent_anew_in_slow_start() {
    let mut lone = plain_flight(8);
    lone.wait();
    assert_eq!(lone.data(), [(1, MSS.into())], "one segment");
    assert_eq!(lone.conn.stats().cwnd, M, "RFC 5681 section 3.1");
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    assert_eq!(lone.data().len(), 2, "then two");
    lone.recv(&seg(ACK, 1, 1 + 8 * M), b"");
    assert_eq!(lone.data(), [], "all had arrived but the first");
    assert_eq!(lone.conn.next_timeout(), None, "nothing is in flight");
}

#[test]
fn duplicate_acks_after_a_timeout_start_no_recovery() {
    let mut lone = plain_flight(8);
    lone.wait();
    lone.data();
    for _ in 0..5 {
        lone.recv(&seg(ACK, 1, 1), b"");
    }
    assert_eq!(lone.conn.stats().fast_recoveries, 0, "RFC 6582 section 4");
}

#[test]
fn a_retransmission_is_timed_only_by_its_timestamp() {
    let mut lone = plain_flight(1);
    let before = lone.conn.stats().srtt;
    lone.wait();
    lone.data();
    let rto = lone.conn.stats().rto;
    lone.pass(Duration::from_millis(300));
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    assert_eq!(
        lone.conn.stats().srtt,
        before,
        "Karn: which copy it was is not known"
    );
    assert_eq!(lone.conn.stats().rto, rto, "and the doubling stays until it is");
}

#[test]
fn the_timestamp_echo_measures_a_retransmission() {
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let stamped = |mut segment: Segment, value: u32, echo: u32| {
        segment.options.timestamps = Some(Timestamps { value, echo });
        segment
    };
    let mut lone = Lone::answering(config, &stamped(syn(), 1, 0));
    lone.out();
    lone.pass(Duration::from_millis(50));
    lone.recv(&stamped(seg(ACK, 1, 1), 2, 1_000), b"");
    lone.conn.write(b"hello").expect("open");
    lone.out();
    lone.wait();
    let sent = lone.out_raw();
    let value = sent[0].0.options.timestamps.expect("negotiated").value;
    lone.pass(Duration::from_millis(50));
    lone.recv(&stamped(seg(ACK, 1, 6), 3, value), b"");
    assert_eq!(
        lone.conn.stats().srtt,
        Some(Duration::from_millis(50)),
        "50 ms for the handshake, 50 for the retransmission"
    );
    assert_eq!(
        lone.conn.stats().rto,
        Duration::from_millis(200),
        "the doubling is over"
    );
}

#[test]
fn a_smaller_path_mtu_cuts_what_is_sent_again_but_not_the_rate() {
    let mut lone = plain_flight(4);
    let cwnd = lone.conn.stats().cwnd;
    lone.conn.on_path_mtu(lone.now, 600);
    let sent = lone.data();
    assert_eq!(sent[0], (1, 600), "in smaller pieces");
    assert_eq!(sent.iter().map(|s| s.1).sum::<usize>(), 4_000, "all of it");
    assert_eq!(lone.conn.stats().cwnd, cwnd, "no sign of congestion");
    lone.conn.on_path_mtu(lone.now, 10);
    assert_eq!(lone.conn.stats().mss, 512, "a forged value has a floor");
    lone.conn.on_path_mtu(lone.now, 9_000);
    assert_eq!(lone.conn.stats().mss, 512, "and nothing makes it grow");
    assert_eq!(path().mss, MSS, "where it began");
}

#[test]
fn sack_blocks_tell_the_latest_segment_first() {
    let mut first = syn();
    first.options.sack_permitted = true;
    let mut lone = Lone::answering(with_sack(), &first);
    lone.out();
    lone.recv(&seg(ACK, 1, 1), b"");
    let mut told = Vec::new();
    for start in [1_001, 3_001, 5_001, 2_001] {
        lone.recv(&seg(ACK, start, 1), &[7; 500]);
        told = lone.out_raw()[0]
            .0
            .options
            .sack
            .iter()
            .map(|(l, r)| (IRS.distance_to(l), IRS.distance_to(r)))
            .collect();
    }
    assert_eq!(
        told,
        [(2_001, 2_501), (5_001, 5_501), (3_001, 3_501), (1_001, 1_501)],
        "RFC 2018 section 4"
    );
}

#[test]
fn each_early_segment_earns_an_ack_where_the_peer_has_no_sack() {
    let mut lone = Lone::established(plain());
    for n in 1..4 {
        lone.recv(&seg(ACK, 1 + n * M, 1), &[7; MSS as usize]);
    }
    let acks: Vec<_> = lone.out().iter().map(|s| s.ack).collect();
    assert_eq!(acks, [1, 1, 1], "three duplicates, though they came in one burst");
    let mut lone = sack_flight(0);
    for n in 1..4 {
        lone.recv(&seg(ACK, 1 + n * M, 1), &[7; MSS as usize]);
    }
    assert_eq!(lone.out().len(), 1, "its blocks say as much at once");
}

#[test]
fn heavy_loss_of_a_large_transfer_is_survived_with_and_without_sack() {
    for sack in [true, false] {
        let config = Config {
            sack,
            ..Config::default()
        };
        let mut pair = Pair::connected_with(config.clone(), config);
        let mut dice = crate::chaos::Dice::new(42);
        pair.lose(move |_| dice.below(100) < 3);
        pair.ends[A].to_send = text(3, 2_000_000);
        let began = pair.now;
        assert!(
            pair.drive(Duration::from_secs(3600), |p| p.is_delivered()),
            "all arrives"
        );
        pair.assert_delivered();
        let stats = pair.ends[A].conn().stats();
        let seconds = pair.now.since(began).as_secs_f64();
        println!("sack {sack}: {seconds:.1} s, {stats:?}");
        if sack {
            assert!(
                stats.fast_recoveries > 2 * stats.timeouts,
                "mostly without time-outs: {stats:?}"
            );
        }
    }
}
