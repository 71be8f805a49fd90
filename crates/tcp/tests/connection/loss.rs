//! Losing, finding out, and sending again.

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, CongestionKind, Event, PathMtuVerdict, Stats};
use crore_wire::{SackBlocks, Segment, Timestamps};

use crate::lone::{ACK, IRS, ISS, Lone, MSS, path, plain, seg, syn};
use crate::pair::{A, DELAY, Pair, text};

const M: u32 = MSS as u32;

/// The round trip of [`sack_flight`].
const RTT: Duration = Duration::from_millis(20);

fn with_sack() -> Config {
    Config {
        sack: true,
        ..plain()
    }
}

/// Established with SACK, `segments` full ones in flight since [`RTT`].
fn sack_flight(segments: u32) -> Lone {
    sack_flight_in(segments, 40)
}

/// As [`sack_flight`], with a congestion window of so many segments.
fn sack_flight_in(segments: u32, initial_window: u32) -> Lone {
    let mut first = syn();
    first.options.sack_permitted = true;
    let config = Config {
        initial_window,
        ..with_sack()
    };
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.pass(RTT);
    lone.recv(&seg(ACK, 1, 1), b"");
    lone.conn.write(&text(1, (segments * M) as usize)).expect("open");
    assert_eq!(lone.data().len(), segments as usize, "all are in flight");
    lone.pass(RTT);
    lone
}

/// Full segments: the `n`-th ones of the stream.
fn full(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, usize)> {
    numbers
        .into_iter()
        .map(|n| (1 + n * M, usize::from(MSS)))
        .collect()
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

pub fn sacks(ack: u32, blocks: &[(u32, u32)]) -> Segment {
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
    assert_eq!(sent, full([0, 2, 4]), "each hole once, in one round trip");
    lone.recv(&seg(ACK, 1, 1 + 20 * M), b"");
    let stats = lone.conn.stats();
    assert_eq!(stats.timeouts, 0, "no time-out");
    assert_eq!(stats.cwnd, 10 * M, "half");
}

//= rfc9937#section-6.2 (MUST)
#[test]
fn recovery_sends_as_much_as_arrives_up_to_the_halved_window() {
    // The first half of 20 is lost; six are thought to be on their way.
    let mut lone = sack_flight(20);
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 14 * M)]), b"");
    assert_eq!(lone.conn.stats().ssthresh, 10 * M, "half of what was in flight");
    assert_eq!(
        lone.data(),
        full(0..4),
        "as much as has arrived: all ten are in flight"
    );
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 15 * M)]), b"");
    assert_eq!(lone.data(), full(4..5), "as much as has left the network");
    lone.recv(&sacks(1, &[(1 + 10 * M, 1 + 17 * M)]), b"");
    assert_eq!(lone.data(), full(5..7), "no more, no less");
    lone.pass(RTT);
    lone.recv(&sacks(1 + M, &[(1 + 10 * M, 1 + 17 * M)]), b"");
    assert_eq!(
        lone.data(),
        full(7..8),
        "and not above the threshold, however safe"
    );
}

//= rfc9937#section-6.2 (MUST)
#[test]
fn a_recovery_reduces_evenly_over_the_round_trip() {
    let mut lone = sack_flight_in(20, 20);
    lone.conn.write(&text(2, 20_000)).expect("open");
    let mut sent = Vec::new();
    for n in 2..=20 {
        lone.recv(&sacks(1, &[(1 + M, 1 + n * M)]), b"");
        sent.push(lone.data().len());
    }
    // Two by limited transmit, then the third duplicate begins the recovery.
    assert_eq!(sent[..3], [1, 1, 1], "the retransmission at once");
    assert!(sent.iter().all(|&n| n <= 1), "no burst: {sent:?}");
    let stats = lone.conn.stats();
    let pipe = stats.in_flight - 19 * M;
    assert!(
        pipe.abs_diff(stats.ssthresh) <= M,
        "half of it at the end: {pipe}, {sent:?}"
    );
    assert!(
        sent.windows(4).all(|w| w.iter().sum::<usize>() >= 1),
        "and no silence: {sent:?}"
    );
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

//= rfc8985#section-6.2 (MUST)
#[test]
fn a_lost_tail_shows_when_what_was_sent_after_it_arrives() {
    // 0 is lost, and 9, the last one; the rest arrives.
    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + M, 1 + 9 * M)]), b"");
    assert_eq!(lone.data(), full([0]), "nothing was sent after the last one");
    lone.pass(RTT);
    lone.recv(&sacks(1 + 9 * M, &[]), b"");
    assert_eq!(lone.data(), full([9]), "the retransmission was");
    lone.recv(&sacks(1 + 9 * M, &[]), b"");
    assert_eq!(lone.data(), [], "once");
    assert_eq!(lone.conn.stats().timeouts, 0, "without a time-out");
}

//= rfc2018#section-8 (MUST)
#[test]
fn a_receiver_that_takes_its_word_back_gets_everything_again() {
    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + 2 * M, 1 + 10 * M)]), b"");
    assert_eq!(lone.data(), full(0..2), "both holes");
    lone.wait();
    let mut sent = lone.data();
    // It had dropped all that it SACKed: each ACK moves by one segment.
    while lone.conn.snd_una() != lone.conn.snd_nxt() {
        let una = ISS.distance_to(lone.conn.snd_una());
        lone.recv(&seg(ACK, 1, una + M), b"");
        sent.extend(lone.data());
        assert!(sent.len() <= 10, "no time-out is waited for: {sent:?}");
    }
    assert_eq!(sent, full(0..10), "what was SACKed is not passed over");
}

//= rfc2018#section-8 (MUST)
#[test]
fn what_is_sacked_and_not_acknowledged_is_sent_again() {
    let mut lone = sack_flight(4);
    // A liar: it SACKs the byte after `una` on, then everything but that.
    lone.recv(&sacks(1, &[(2, 1 + 4 * M)]), b"");
    lone.out();
    lone.recv(&sacks(2, &[]), b"");
    assert_eq!(lone.data(), [(2, 1000), (1002, 1000)], "from there on, at once");
}

#[test]
fn sack_blocks_after_a_timeout_are_used_again() {
    let mut lone = sack_flight(10);
    lone.wait();
    assert_eq!(lone.data(), full([9]), "the tail is probed first");
    lone.wait();
    assert_eq!(lone.data(), full([0]), "one segment");
    lone.recv(&sacks(1 + M, &[(1 + 3 * M, 1 + 9 * M)]), b"");
    assert_eq!(lone.data(), full([1, 2]), "the hole, as far as slow start lets");
    lone.pass(RTT);
    lone.recv(&sacks(1 + 9 * M, &[]), b"");
    assert_eq!(lone.data(), full([9]), "what is SACKed is passed over");
}

//= rfc8985#section-6.2 (MUST)
#[test]
fn reordering_is_waited_for_and_a_loss_found_by_time() {
    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + M, 1 + 2 * M)]), b"");
    assert_eq!(lone.data(), [], "one segment behind it may be reordering");
    let waited = lone.wait();
    assert_eq!(waited, Duration::from_millis(5), "a quarter of the round trip");
    assert_eq!(lone.data(), full([0]), "then it is lost");
    assert_eq!(lone.conn.stats().fast_recoveries, 1, "without a third duplicate");

    let mut lone = sack_flight(10);
    lone.recv(&sacks(1, &[(1 + M, 1 + 2 * M)]), b"");
    lone.pass(Duration::from_millis(1));
    lone.recv(&seg(ACK, 1, 1 + 2 * M), b"");
    assert!(lone.conn.stats().reordering_seen, "it came late");
    lone.recv(&sacks(1 + 2 * M, &[(1 + 3 * M, 1 + 10 * M)]), b"");
    assert_eq!(lone.data(), [], "now three duplicates are no proof");
    assert!(lone.wait() <= Duration::from_millis(5), "but time is");
    assert_eq!(lone.data(), full([2]), "lost");
}

//= rfc8985#section-6.2 (MUST)
#[test]
fn a_lost_retransmission_is_found_without_a_timeout() {
    let mut lone = sack_flight(10);
    lone.conn.write(&text(2, 8_000)).expect("open");
    lone.recv(&sacks(1, &[(1 + M, 1 + 5 * M)]), b"");
    let sent = lone.data();
    assert_eq!(sent[..1], full([0]), "the head, and new data");
    lone.recv(&sacks(1, &[(1 + M, 1 + 10 * M)]), b"");
    let new = lone.data();
    assert!(sent.len() + new.len() > 2, "something was sent after it");
    lone.pass(RTT);
    lone.recv(&sacks(1, &[(1 + M, 1 + 11 * M)]), b"");
    lone.pass(Duration::from_millis(6));
    assert_eq!(
        lone.data()[..1],
        full([0]),
        "that has arrived, and the head has not"
    );
    assert_eq!(lone.conn.stats().timeouts, 0, "no time-out");
}

//= rfc8985#section-7.3 (MUST)
#[test]
fn the_tail_is_probed_before_it_times_out() {
    let mut lone = sack_flight(4);
    lone.recv(&seg(ACK, 1, 1 + 2 * M), b"");
    let waited = lone.wait();
    assert_eq!(waited, Duration::from_millis(42), "two round trips and a tick");
    assert_eq!(lone.data(), full([3]), "the last segment again");
    let stats = lone.conn.stats();
    assert_eq!((stats.probes, stats.timeouts), (1, 0), "no time-out");
    // Both were lost; the probe's arrival shows the other one.
    lone.pass(RTT);
    lone.recv(&sacks(1 + 2 * M, &[(1 + 3 * M, 1 + 4 * M)]), b"");
    lone.pass(Duration::from_millis(5));
    assert_eq!(lone.data(), full([2]), "by RACK");
    assert_eq!(lone.conn.stats().fast_recoveries, 1, "as any loss");
    assert_eq!(lone.conn.stats().timeouts, 0, "without a time-out");
}

//= rfc8985#section-7.3 (MUST)
#[test]
fn a_probe_is_new_data_where_there_is_some() {
    let mut lone = sack_flight(40);
    lone.conn.write(&text(2, 3_000)).expect("open");
    assert_eq!(lone.data(), [], "the window is full");
    lone.wait();
    assert_eq!(lone.data(), full([40]), "one more all the same");
    let cwnd = lone.conn.stats().cwnd;
    lone.recv(&seg(ACK, 1, 1 + 41 * M), b"");
    assert!(lone.conn.stats().cwnd >= cwnd, "nothing was lost");
}

//= rfc8985#section-7.4.2 (MUST)
#[test]
fn a_loss_that_a_probe_has_repaired_is_told_to_congestion_control() {
    for duplicate in [false, true] {
        let mut lone = sack_flight(4);
        let before = lone.conn.stats().ssthresh;
        lone.wait();
        assert_eq!(lone.data(), full([3]), "the probe");
        lone.pass(RTT);
        lone.recv(&seg(ACK, 1, 1 + 4 * M), b"");
        if duplicate {
            lone.recv(&sacks(1 + 4 * M, &[(1 + 3 * M, 1 + 4 * M)]), b"");
        }
        lone.conn.write(&text(2, 1_000)).expect("open");
        lone.out();
        lone.pass(RTT);
        lone.recv(&seg(ACK, 1, 1 + 5 * M), b"");
        let after = lone.conn.stats().ssthresh;
        assert_eq!(after == before, duplicate, "{after}: lost unless it came twice");
    }
}

//= rfc8985#section-7.2 (MUST)
#[test]
fn one_probe_and_then_the_retransmission_timer() {
    let mut lone = sack_flight(4);
    let mut sent = Vec::new();
    for _ in 0..3 {
        lone.wait();
        sent.extend(lone.data());
    }
    assert_eq!(sent, full([3, 0, 0]), "a probe, and two time-outs");
    let stats = lone.conn.stats();
    assert_eq!((stats.probes, stats.timeouts), (1, 2), "one probe");
}

//= rfc8985#section-6.3 (MUST)
#[test]
fn what_left_a_moment_before_a_timeout_is_not_thought_lost() {
    let mut lone = sack_flight(2);
    // The peer's other window lets two more out only just before.
    lone.wait();
    assert_eq!(lone.data(), full([1]), "the probe");
    lone.pass(Duration::from_millis(195));
    lone.conn.write(&text(2, 2_000)).expect("open");
    assert_eq!(lone.data(), full([2, 3]), "new data");
    lone.wait();
    assert_eq!(lone.data(), full([0]), "the head");
    assert_eq!(lone.conn.stats().timeouts, 1, "by the timer");
    lone.pass(RTT);
    lone.recv(&sacks(1 + 2 * M, &[]), b"");
    assert_eq!(lone.data(), [], "2 and 3 are still on their way");
}

/// Options of a segment with a timestamp.
fn stamped(mut segment: Segment, value: u32, echo: u32) -> Segment {
    segment.options.timestamps = Some(Timestamps { value, echo });
    segment
}

/// As [`sack_flight`] or [`plain_flight`], with timestamps.
fn stamped_flight(segments: u32, sack: bool) -> Lone {
    let config = Config {
        initial_window: 40,
        timestamps: true,
        sack,
        ..plain()
    };
    let mut first = stamped(syn(), 1, 0);
    first.options.sack_permitted = true;
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.pass(RTT);
    lone.recv(&stamped(seg(ACK, 1, 1), 2, 1_000), b"");
    let len = segments * (M - 12);
    lone.conn.write(&text(1, len as usize)).expect("open");
    assert_eq!(lone.data().len(), segments as usize, "all are in flight");
    lone.pass(RTT);
    lone
}

//= rfc3522#section-3.2 (MUST)
//= rfc4015#section-3.1 (MAY)
#[test]
fn a_timestamp_shows_that_a_timeout_was_false() {
    for sack in [false, true] {
        let mut lone = stamped_flight(8, sack);
        let before = lone.conn.stats();
        while lone.conn.stats().timeouts == 0 {
            lone.out();
            lone.wait();
        }
        assert!(!lone.data().is_empty(), "the head again");
        // The first copy arrives after all, late.
        lone.pass(Duration::from_millis(5));
        let m = M - 12;
        lone.recv(&stamped(seg(ACK, 1, 1 + m), 3, 1_020), b"");
        let after = lone.conn.stats();
        assert_eq!(after.spurious, 1, "so it was false");
        assert!(after.cwnd >= before.cwnd, "the window is as it was");
        assert_eq!(after.ssthresh, before.ssthresh, "and the threshold");
        assert_eq!(lone.data(), [], "nothing else is sent again");
        lone.recv(&stamped(seg(ACK, 1, 1 + 8 * m), 4, 1_020), b"");
        assert_eq!(lone.conn.next_timeout(), None, "all has arrived");
    }
}

//= rfc3522#section-3.2 (MUST)
#[test]
fn a_timestamp_shows_that_a_timeout_was_right() {
    let mut lone = stamped_flight(8, false);
    lone.wait();
    let (again, _) = lone.out_raw()[0];
    let value = again.options.timestamps.expect("negotiated").value;
    lone.pass(RTT);
    lone.recv(&stamped(seg(ACK, 1, 1 + 8 * (M - 12)), 3, value), b"");
    let stats = lone.conn.stats();
    assert_eq!(stats.spurious, 0, "the second copy was needed");
    assert!(stats.ssthresh < 100 * M, "the reduction stands");
}

//= rfc3522#section-3.2 (MUST)
#[test]
fn a_timestamp_shows_that_a_fast_retransmission_was_false() {
    let mut lone = stamped_flight(10, true);
    let m = M - 12;
    let before = lone.conn.stats();
    let mut dup = stamped(sacks(1, &[(1 + m, 1 + 5 * m)]), 3, 1_020);
    lone.recv(&dup, b"");
    assert_eq!(lone.data().len(), 1, "the head");
    assert!(lone.conn.stats().ssthresh < before.ssthresh, "reduced");
    lone.pass(Duration::from_millis(3));
    dup = stamped(seg(ACK, 1, 1 + 5 * m), 4, 1_020);
    lone.recv(&dup, b"");
    let after = lone.conn.stats();
    assert_eq!(
        (after.spurious, after.ssthresh),
        (1, before.ssthresh),
        "given back"
    );
    assert!(after.reordering_seen, "and the path is known to reorder");
}

//= rfc2883#section-5 (MAY)
#[test]
fn dsacks_of_all_that_was_sent_again_undo_a_recovery() {
    for all in [true, false] {
        let mut lone = sack_flight(20);
        let before = lone.conn.stats();
        lone.recv(&sacks(1, &[(1 + 2 * M, 1 + 6 * M)]), b"");
        assert_eq!(lone.data(), full([0, 1]), "two holes");
        lone.pass(Duration::from_millis(5));
        lone.recv(&seg(ACK, 1, 1 + 20 * M), b"");
        assert!(lone.conn.stats().ssthresh < before.ssthresh, "over, and reduced");
        lone.recv(&sacks(1 + 20 * M, &[(1, 1 + M)]), b"");
        assert_eq!(lone.conn.stats().spurious, 0, "one of two came twice");
        if all {
            lone.recv(&sacks(1 + 20 * M, &[(1 + M, 1 + 2 * M)]), b"");
        }
        let after = lone.conn.stats();
        assert_eq!(after.spurious, u32::from(all), "both did");
        assert_eq!(after.ssthresh == before.ssthresh, all, "so nothing was lost");
    }
}

//= rfc5682#section-2.1 (SHOULD)
#[test]
fn without_timestamps_new_data_asks_whether_a_timeout_was_false() {
    for right in [false, true] {
        let mut lone = plain_flight(6);
        let before = lone.conn.stats();
        lone.wait();
        assert_eq!(lone.data(), full([0]), "the head");
        lone.conn.write(&text(2, 4_000)).expect("open");
        assert_eq!(lone.data(), [], "until it is known");
        lone.recv(&seg(ACK, 1, 1 + M), b"");
        assert_eq!(lone.data(), full([6, 7]), "two new segments");
        if right {
            lone.recv(&seg(ACK, 1, 1 + M), b"");
            assert_eq!(lone.conn.stats().spurious, 0, "a duplicate: they were lost");
            // Without waiting: else each time-out would bring one segment forward.
            assert_eq!(lone.data(), full([1]), "which are sent again");
            lone.recv(&seg(ACK, 1, 1 + 2 * M), b"");
            assert_eq!(lone.data()[..1], full([2]), "and so on");
        } else {
            lone.recv(&seg(ACK, 1, 1 + 2 * M), b"");
            let after = lone.conn.stats();
            assert_eq!(after.spurious, 1, "what was sent once arrives");
            assert!(after.cwnd >= before.cwnd, "given back");
            assert_eq!(lone.data(), full([8, 9]), "and new data goes on");
        }
    }
}

/// Protects what was lost from waiting for a time-out each, where a model of the path
/// lets more go than slow start would.
#[test]
fn with_a_model_too_what_was_lost_finds_room_beside_the_new_data() {
    let config = Config {
        congestion: CongestionKind::Bbr,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(&text(1, 6 * MSS as usize)).expect("open");
    while lone.conn.stats().timeouts == 0 {
        lone.out();
        lone.wait();
    }
    assert_eq!(lone.data(), full([0]), "the head");
    lone.conn.write(&text(2, 8 * MSS as usize)).expect("open");
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    let mut new = lone.data();
    lone.pass(Duration::from_millis(50));
    new.extend(lone.data());
    assert_eq!(new, full([6, 7]), "two, and no more");
    lone.recv(&seg(ACK, 1, 1 + M), b"");
    lone.pass(Duration::from_millis(50));
    assert_eq!(lone.data()[..1], full([1]), "a duplicate: it was lost");
    assert_eq!(lone.conn.stats().timeouts, 1, "and no other is waited for");
}

//= rfc5682#section-3.1 (SHOULD)
#[test]
fn with_sack_whatever_arrives_of_the_first_copies_shows_it() {
    let mut lone = sack_flight(6);
    let before = lone.conn.stats();
    while lone.conn.stats().timeouts == 0 {
        lone.out();
        lone.wait();
    }
    assert_eq!(lone.data(), full([0]), "the head");
    lone.recv(&sacks(1, &[(1 + M, 1 + 2 * M)]), b"");
    let after = lone.conn.stats();
    assert_eq!((after.spurious, after.ssthresh), (1, before.ssthresh), "no loss");
}

//= rfc5681#section-3.2 (SHOULD)
#[test]
fn a_peer_that_permits_sack_and_sends_none_gets_its_fast_retransmit() {
    let mut lone = sack_flight(10);
    for _ in 0..3 {
        lone.recv(&seg(ACK, 1, 1), b"");
    }
    assert_eq!(lone.data()[..1], full([0]), "by the third duplicate");
    assert_eq!(lone.conn.stats().fast_recoveries, 1, "one recovery");
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
    let head = lone.conn.snd_una();
    let too_big = |lone: &mut Lone, mss| lone.conn.on_path_mtu(lone.now, head, mss);
    assert_eq!(too_big(&mut lone, 600), PathMtuVerdict::Taken, "smaller");
    let sent = lone.data();
    assert_eq!(sent[0], (1, 600), "in smaller pieces");
    assert_eq!(sent.iter().map(|s| s.1).sum::<usize>(), 4_000, "all of it");
    assert_eq!(lone.conn.stats().cwnd, cwnd, "no sign of congestion");
    assert_eq!(
        too_big(&mut lone, 10),
        PathMtuVerdict::Taken,
        "a value has a floor"
    );
    assert_eq!(lone.conn.stats().mss, 512, "a forged value has a floor");
    assert_eq!(too_big(&mut lone, 9_000), PathMtuVerdict::Ignored, "larger");
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

/// How long 2 MB take over 20 ms there and back, in milliseconds, and what the
/// sender has to say of it.
fn transfer(
    seed: u64,
    mut fate: impl FnMut(&mut crate::chaos::Dice) -> Vec<Duration> + 'static,
) -> (u64, Stats) {
    let mut pair = Pair::connected();
    let mut dice = crate::chaos::Dice::new(seed);
    pair.fate = Box::new(move |_| fate(&mut dice));
    pair.ends[A].to_send = text(3, 2_000_000);
    let began = pair.now;
    assert!(
        pair.drive(Duration::from_secs(600), |p| p.is_delivered()),
        "all arrives"
    );
    pair.assert_delivered();
    (pair.now.since(began).as_millis(), pair.ends[A].conn().stats())
}

/// Protects goodput from collapsing where a path loses, in either direction, one
/// by one or in bursts, or holds back: what time-outs would cost shows at once.
#[test]
fn goodput_does_not_collapse_under_loss_bursts_and_reordering() {
    let soon = || vec![DELAY];
    for seed in 0..5 {
        let (clean, _) = transfer(seed, move |_| soon());
        let one = transfer(
            seed,
            move |dice| if dice.below(100) < 1 { vec![] } else { soon() },
        );
        let five = transfer(
            seed,
            move |dice| if dice.below(100) < 5 { vec![] } else { soon() },
        );
        let mut left = 0;
        let bursts = transfer(seed, move |dice| {
            if left == 0 && dice.below(500) == 0 {
                left = 8;
            }
            if left > 0 {
                left -= 1;
                return vec![];
            }
            soon()
        });
        let reordered = transfer(seed, move |dice| match dice.below(10) {
            0 => vec![DELAY + Duration::from_millis(dice.below(4))],
            _ => soon(),
        });
        println!("seed {seed}: clean {clean} ms");
        for (name, (ms, stats), most) in [
            ("1%", one, 6_000),
            ("5%", five, 15_000),
            ("bursts", bursts, 3_000),
            ("reordered", reordered, 700),
        ] {
            println!(
                "  {name}: {ms} ms, {} again, {} time-outs, {} recoveries, {} probes, {} undone",
                stats.retransmits, stats.timeouts, stats.fast_recoveries, stats.probes, stats.spurious
            );
            assert!(ms < most, "{name}, seed {seed}: {ms} ms");
        }
        assert_eq!(reordered.1.timeouts, 0, "nothing was lost");
        assert!(reordered.1.reordering_seen, "and that was found out");
    }
}

//= rfc6582#section-3.2 (SHOULD)
/// Protects the path from a receiver that acknowledges byte by byte.
#[test]
fn partial_acknowledgments_of_a_byte_each_let_nothing_new_out() {
    let mut lone = plain_flight(10);
    lone.conn.write(&text(2, 50_000)).expect("open");
    for _ in 0..3 {
        lone.recv(&seg(ACK, 1, 1), b"");
    }
    assert_eq!(lone.data(), full([0]), "the head again");
    for n in 1..=500 {
        lone.recv(&seg(ACK, 1, 1 + n), b"");
        let sent = lone.data();
        assert_eq!(sent.len(), 1, "{n}: the head, and no more: {sent:?}");
        assert_eq!(sent[0].0, 1 + n, "{n}");
    }
}
