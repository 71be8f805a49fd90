//! Windows: shut, silly, shrunk; and when an acknowledgment is sent.

use crore_base::{DropReason, Duration, Instant};
use crore_netbuf::Chunk;
use crore_tcp::{CloseReason, Config, Disposition, Event, Keepalive, State};
use crore_wire::{Flags, Segment, Timestamps};

use crate::lone::{ACK, FIN, IRS, Lone, MSS, Sent, plain, seg, syn};
use crate::pair::{A, B, Pair, text};

const M: u32 = MSS as u32;

fn window(ack: u32, window: u16) -> Segment {
    Segment {
        window,
        ..seg(ACK, 1, ack)
    }
}

#[test]
fn a_shut_window_is_probed_less_and_less_often_but_for_ever() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 0), b"");
    lone.conn.write(b"hello").expect("open");
    assert_eq!(lone.said(), "", "the window is shut");
    let mut waits = Vec::new();
    for _ in 0..60 {
        waits.push(lone.wait().as_millis());
        assert_eq!(lone.data(), [(1, 1)], "one byte");
        lone.recv(&window(1, 0), b"");
    }
    assert_eq!(waits[..5], [200, 400, 800, 1_600, 3_200], "doubled");
    assert_eq!(waits[59], 60_000, "up to the bound");
    assert_eq!(
        lone.conn.state(),
        State::Established,
        "the peer answers: it lives"
    );
    lone.recv(&window(1, 5_000), b"");
    assert_eq!(lone.data(), [(1, 5)], "at once when it opens");
}

#[test]
fn a_probe_that_was_taken_counts() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 0), b"");
    lone.conn.write(b"hello").expect("open");
    lone.wait();
    assert_eq!(lone.data(), [(1, 1)], "the probe");
    lone.recv(&window(2, 30), b"");
    assert_eq!(lone.data(), [(2, 4)], "the rest");
}

#[test]
fn probes_without_answer_end_the_connection() {
    let config = Config {
        data_retries: 4,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.recv(&window(1, 0), b"");
    lone.conn.write(b"hello").expect("open");
    let mut probes = 0;
    while lone.conn.state() != State::Closed {
        lone.wait();
        probes += lone.data().len();
    }
    assert_eq!(probes, 4, "as often as data");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::TimedOut)],
        "then the end"
    );
}

#[test]
fn a_shut_window_holds_the_fin_and_is_probed_with_it() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 0), b"");
    lone.conn.shutdown_write();
    assert_eq!(lone.said(), "", "a FIN takes a number");
    lone.wait();
    assert_eq!(lone.said(), "FIN|ACK", "the probe");
    lone.recv(&window(2, 0), b"");
    assert_eq!(lone.conn.state(), State::FinWait2, "taken");
}

#[test]
fn acknowledgments_pass_while_both_windows_are_shut() {
    let tiny = Config {
        receive_buffer: 100,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(tiny.clone(), tiny);
    pair.send_both(1_000);
    for end in &mut pair.ends {
        end.reading = false;
    }
    pair.run_for(Duration::from_secs(500));
    pair.assert_states(State::Established, State::Established);
    for end in &mut pair.ends {
        end.reading = true;
    }
    assert!(
        pair.drive(Duration::from_secs(500), |p| p.is_delivered()),
        "the dead lock of two probes does not happen"
    );
    pair.assert_delivered();
}

#[test]
fn a_bare_ack_stays_where_a_peer_with_a_shut_window_takes_it() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 0), b"");
    lone.conn.write(b"hello").expect("open");
    lone.wait();
    assert_eq!(
        lone.data(),
        [(1, 1)],
        "a probe is out, which the peer does not take"
    );
    lone.recv(
        &Segment {
            window: 0,
            ..seg(ACK, 1, 1)
        },
        b"text",
    );
    let ack = lone.out();
    assert_eq!(
        (ack[0].seq, ack[0].ack),
        (1, 5),
        "numbered 2 it would lie beyond the peer's window, and its ACK be lost on it"
    );
}

/// Both ends have probed, both probes were taken: each stands a byte behind what
/// the other expects, and must be believed all the same.
#[test]
fn probes_that_crossed_and_were_taken_leave_no_dead_lock() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 0), b"");
    lone.conn.write(b"hello").expect("open");
    lone.wait();
    assert_eq!(lone.data(), [(1, 1)], "our probe");
    lone.recv(&window(1, 0), b"x");
    let ack = lone.out();
    assert_eq!((ack[0].seq, ack[0].ack), (1, 2), "of the peer's probe");
    lone.recv(&window(3, 30), b"");
    assert_eq!(lone.out()[0].seq, 1, "it acknowledges what was never sent");
    lone.recv(&window(2, 30), b"");
    let rest = lone.out();
    assert_eq!(
        (rest[0].seq, rest[0].len, rest[0].ack),
        (2, 4, 2),
        "our probe has come, the window is open"
    );
}

#[test]
fn a_late_segment_does_not_undo_a_newer_window() {
    let mut lone = Lone::established(plain());
    let older = Segment {
        window: 100,
        ..seg(ACK, 1, 1)
    };
    let newer = Segment {
        window: 9_000,
        ..seg(ACK, 4, 1)
    };
    lone.recv(&newer, b"def");
    lone.recv(&older, b"abc");
    assert_eq!(
        lone.conn.stats().send_window,
        9_000,
        "RFC 9293: by SND.WL1 and SND.WL2"
    );
    assert_eq!(lone.read_all(), b"abcdef", "though its text counts");
    lone.conn.write(&[1; 500]).expect("open");
    lone.out();
    let acks_more = Segment {
        window: 8_000,
        ..seg(ACK, 1, 301)
    };
    lone.recv(&acks_more, b"abc");
    assert_eq!(
        lone.conn.stats().send_window,
        9_000,
        "wholly old text is not looked at"
    );
}

#[test]
fn an_older_segment_that_acknowledges_more_does_not_widen_the_window() {
    let mut lone = Lone::established(plain());
    lone.conn.write(&[1; 3_000]).expect("open");
    lone.out();
    // The peer allows up to 4,001, in two words; the one with the smaller
    // number, sent later, comes later.
    lone.recv(
        &Segment {
            window: 4_000,
            ..seg(ACK, 4, 1)
        },
        b"def",
    );
    lone.recv(
        &Segment {
            window: 1_000,
            ..seg(ACK, 1, 3_001)
        },
        b"abc",
    );
    assert_eq!(lone.conn.stats().send_window, 1_000, "still up to 4,001");
}

#[test]
fn a_lost_window_update_is_found_out_by_a_probe() {
    let small = Config {
        receive_buffer: 5_000,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(Config::default(), small);
    pair.ends[A].to_send = text(1, 50_000);
    pair.ends[B].reading = false;
    pair.run_for(Duration::from_secs(2));
    pair.lose(|p| p.from == B);
    pair.ends[B].reading = true;
    pair.run_for(Duration::from_millis(1));
    pair.lose(|_| false);
    assert!(
        pair.drive(Duration::from_secs(100), |p| p.is_delivered()),
        "no silence for ever"
    );
}

#[test]
fn nagle_holds_a_small_segment_while_another_is_out() {
    for nodelay in [false, true] {
        let mut lone = Lone::established(Config { nodelay, ..plain() });
        lone.conn.write(b"one").expect("open");
        assert_eq!(lone.data(), [(1, 3)], "nothing is out: it goes");
        lone.conn.write(b"two").expect("open");
        lone.conn.write(b"three").expect("open");
        let expected: &[(u32, usize)] = if nodelay { &[(4, 8)] } else { &[] };
        assert_eq!(lone.data(), expected, "nodelay {nodelay}");
        lone.recv(&seg(ACK, 1, 4), b"");
        let expected: &[(u32, usize)] = if nodelay { &[] } else { &[(4, 8)] };
        assert_eq!(lone.data(), expected, "together, when the first is acknowledged");
    }
}

#[test]
fn nagle_holds_no_full_segment_and_no_last_one() {
    let mut lone = Lone::established(Config {
        nodelay: false,
        ..plain()
    });
    lone.conn.write(&[1; 1_500]).expect("open");
    assert_eq!(lone.data(), [(1, 1_000)], "a full one; the rest waits");
    lone.conn.shutdown_write();
    assert_eq!(lone.said(), "FIN|ACK+500", "nothing more will come to fill it");
}

#[test]
fn a_silly_window_is_not_filled_until_time_allows() {
    let mut lone = Lone::established(plain());
    lone.recv(&window(1, 400), b"");
    lone.conn.write(&[1; 5_000]).expect("open");
    assert_eq!(
        lone.said(),
        "",
        "neither a segment, nor half of the largest window"
    );
    lone.wait();
    assert_eq!(
        lone.data(),
        [(1, 400)],
        "RFC 9293 section 3.8.6.2.1: in the end it is"
    );
}

#[test]
fn a_peer_with_a_tiny_buffer_is_served() {
    let mut first = syn();
    first.window = 3;
    let mut lone = Lone::answering(plain(), &first);
    lone.out();
    lone.recv(&window(1, 3), b"");
    lone.conn.write(b"hello").expect("open");
    assert_eq!(
        lone.data(),
        [(1, 3)],
        "half of the largest window it ever had, and more"
    );
}

#[test]
fn a_window_taken_back_is_borne() {
    let mut lone = Lone::established(plain());
    lone.conn.write(&[1; 5_000]).expect("open");
    assert_eq!(lone.data().len(), 5, "all is out");
    lone.recv(&window(1, 1_500), b"");
    lone.wait();
    assert_eq!(lone.data(), [(1, 1_000)], "the head again, which is within");
    lone.recv(&window(1_001, 0), b"");
    lone.wait();
    assert_eq!(lone.data(), [(1_001, 1)], "a probe");
    lone.recv(&window(1_001, 9_000), b"");
    assert_eq!(
        lone.data()[0],
        (1_001, 1_000),
        "it opens: what was out is sent anew"
    );
}

#[test]
fn the_offered_edge_never_moves_left_by_more_than_scaling_forces() {
    for buffer in [1_000u32, 70_000, 1 << 20] {
        let config = Config {
            receive_buffer: buffer,
            ..Config::default()
        };
        let mut pair = Pair::connected_with(Config::default(), config);
        let mut dice = crate::chaos::Dice::new(buffer.into());
        pair.ends[A].to_send = text(1, 3_000_000);
        pair.drive(Duration::from_secs(20), |p| {
            p.ends[B].reading = dice.below(4) == 0;
            p.is_delivered()
        });
        let shift = pair
            .sent_by(B)
            .find_map(|p| p.segment.options.window_scale)
            .map_or(0, |s| s.shift());
        let mut edge = None;
        for packet in pair.sent_by(B).filter(|p| !p.has(Flags::SYN)) {
            let new = packet.segment.ack + (u32::from(packet.segment.window) << shift);
            if let Some(old) = edge {
                assert!(
                    (new + ((1 << shift) - 1)).at_or_after(old),
                    "from {old:?} to {new:?} with a unit of {}",
                    1 << shift
                );
                edge = Some(new.max(old));
            } else {
                edge = Some(new);
            }
        }
    }
}

#[test]
fn the_window_opens_in_steps_worth_a_segment() {
    let mut lone = Lone::established(plain());
    for n in 0..10 {
        lone.recv(&seg(ACK, 1 + n * M, 1), &[7; MSS as usize]);
    }
    assert_eq!(lone.out()[0].window, 0, "10,000 bytes are full");
    let mut updates = Vec::new();
    while lone.conn.readable() > 0 {
        lone.conn.read().expect("open");
        updates.extend(lone.out().iter().map(|s| s.window));
    }
    assert_eq!(
        updates,
        [2_000, 5_000, 8_000],
        "two segments when it was shut, then a quarter of the buffer, not each read"
    );
}

/// The same in acknowledgments that go out anyway: a reader of single bytes must
/// not teach its peer to send them.
#[test]
fn an_acknowledgment_opens_the_window_by_no_less_than_a_step() {
    let mut lone = Lone::established(plain());
    for n in 0..10 {
        lone.recv(&seg(ACK, 1 + n * M, 1), &[7; MSS as usize]);
    }
    assert_eq!(lone.out()[0].window, 0, "10,000 bytes are full");
    lone.conn.read_up_to(600).expect("open");
    lone.recv(&seg(ACK, 1 + 10 * M, 1), b"?");
    assert_eq!(lone.out()[0].window, 0, "600 free bytes are not worth telling");
    lone.conn.read_up_to(400).expect("open");
    lone.recv(&seg(ACK, 1 + 10 * M, 1), b"?");
    assert_eq!(lone.out()[0].window, 1_000, "a segment is");
}

#[test]
fn one_ack_for_a_burst() {
    let mut lone = Lone::established(plain());
    for n in 0..9 {
        lone.recv(&seg(ACK, 1 + n * M, 1), &[7; MSS as usize]);
    }
    assert_eq!(
        lone.out(),
        [Sent {
            flags: ACK,
            seq: 1,
            ack: 1 + 9 * M,
            len: 0,
            window: 1_000
        }],
        "for all of them"
    );
}

#[test]
fn data_carries_the_ack() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 1, 1), b"request");
    lone.read_all();
    lone.conn.write(b"response").expect("open");
    let sent = lone.out();
    assert_eq!(
        (sent.len(), sent[0].ack, sent[0].len),
        (1, 8, 8),
        "one segment for both"
    );
}

#[test]
fn every_segment_that_empties_the_buffer_is_pushed() {
    let mut lone = Lone::established(plain());
    lone.conn.write(&[7; 2_500]).expect("open");
    let mut pushed = Vec::new();
    while let Some(plan) = lone.conn.plan_transmit(lone.now) {
        lone.conn.commit_transmit(lone.now, &plan);
        pushed.push((plan.payload_len, plan.segment.flags.has_psh()));
    }
    assert_eq!(
        pushed,
        [(1_000, false), (1_000, false), (500, true)],
        "the last one tells the reader that no more waits here"
    );
}

#[test]
fn a_delayed_ack_waits_for_a_second_segment_or_its_time() {
    let config = Config {
        delayed_ack: Duration::from_millis(40),
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.recv(&seg(ACK, 1, 1), b"one");
    assert_eq!(lone.said(), "", "it waits");
    assert_eq!(lone.wait(), Duration::from_millis(40), "so long");
    assert_eq!(lone.said(), "ACK", "then it goes");
    lone.recv(&seg(ACK, 4, 1), b"two");
    lone.recv(&seg(ACK, 7, 1), b"three");
    assert_eq!(lone.said(), "ACK", "the second segment ends the wait");
    lone.recv(&seg(ACK, 20, 1), b"early");
    assert_eq!(lone.said(), "ACK", "a hole is told at once");
}

#[test]
fn what_does_not_fit_the_window_is_cut_off() {
    let config = Config {
        receive_buffer: 10,
        ..plain()
    };
    let mut lone = Lone::established(config);
    assert_eq!(
        lone.recv(&seg(FIN | ACK, 1, 1), b"0123456789abc"),
        Disposition::Dropped(DropReason::OutOfWindow),
        "in part"
    );
    assert_eq!(
        lone.out()[0].ack,
        11,
        "what fits is kept, the FIN behind it is not"
    );
    assert_eq!(lone.conn.state(), State::Established, "not closed");
    lone.recv(&seg(ACK, 11, 1), b"abc");
    assert_eq!(
        lone.out()[0].ack,
        11,
        "a probe of the shut window is answered, not taken"
    );
    assert_eq!(lone.read_all(), b"0123456789", "the text");
    assert_eq!(lone.out()[0].window, 10, "and the window is open again");
}

#[test]
fn a_fin_needs_no_room() {
    let config = Config {
        receive_buffer: 5,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.recv(&seg(FIN | ACK, 1, 1), b"12345");
    assert_eq!(lone.conn.state(), State::CloseWait, "it lies at the edge");
}

#[test]
fn single_bytes_pin_no_packet_buffers() {
    let mut lone = Lone::established(Config::default());
    let frame = Chunk::copy_from(&[7; 2_048]);
    for n in 0..1_000 {
        let payload = frame.slice(100..101);
        lone.conn.on_segment(lone.now, &seg(ACK, 1 + n, 1), payload);
    }
    for n in (0..1_000).step_by(2) {
        let payload = frame.slice(100..101);
        lone.conn.on_segment(lone.now, &seg(ACK, 5_000 + n, 1), payload);
    }
    let buffered = lone.conn.stats().buffered;
    assert!(buffered.receive < 8_000, "{} bytes for 1,000", buffered.receive);
    assert!(
        buffered.reassembly < 40_000,
        "{} bytes for 500",
        buffered.reassembly
    );
}

#[test]
fn a_dry_pool_loses_nothing() {
    let mut pair = Pair::connected();
    pair.can_send = false;
    pair.ends[A].to_send = text(1, 10_000);
    pair.turn();
    pair.turn();
    pair.can_send = true;
    assert!(
        pair.drive(Duration::from_secs(1), |p| p.is_delivered()),
        "all arrives"
    );
    pair.assert_delivered();
    assert_eq!(pair.ends[A].conn().stats().retransmits, 0, "nothing had moved");
}

#[test]
fn an_outdated_timestamp_is_refused_and_answered() {
    let stamped = |mut segment: Segment, value: u32| {
        segment.options.timestamps = Some(Timestamps { value, echo: 0 });
        segment
    };
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let mut lone = Lone::answering(config, &stamped(syn(), 1_000));
    lone.out();
    lone.recv(&stamped(seg(ACK, 1, 1), 1_001), b"");
    assert_eq!(
        lone.recv(&stamped(seg(ACK, 1, 1), 999), b"old"),
        Disposition::Dropped(DropReason::PawsRejected),
        "RFC 7323 section 5.3"
    );
    assert_eq!(lone.said(), "ACK", "the peer learns where we stand");
    assert_eq!(
        lone.recv(&seg(ACK, 1, 1), b"none"),
        Disposition::Dropped(DropReason::PawsRejected),
        "nor one without a timestamp"
    );
    lone.recv(&stamped(seg(ACK, 1, 1), 1_001), b"new");
    assert_eq!(lone.read_all(), b"new", "the same value is not older");
    lone.pass(Duration::from_secs(25 * 24 * 3600));
    lone.recv(&stamped(seg(ACK, 4, 1), 5), b"after 25 days");
    assert_eq!(lone.read_all(), b"after 25 days", "RFC 7323 section 5.5");
}

#[test]
fn a_timestamp_beside_an_impossible_acknowledgment_does_not_count() {
    let stamped = |mut segment: Segment, value: u32| {
        segment.options.timestamps = Some(Timestamps { value, echo: 0 });
        segment
    };
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let mut lone = Lone::answering(config, &stamped(syn(), 1_000));
    lone.out();
    lone.recv(&stamped(seg(ACK, 1, 1), 1_001), b"");
    assert_eq!(
        lone.recv(&stamped(seg(ACK, 1, 9_999), 200_000), b"forged"),
        Disposition::Dropped(DropReason::UnacceptableAck),
        "nobody has sent so much"
    );
    lone.recv(&stamped(seg(ACK, 1, 1), 1_002), b"true");
    assert_eq!(lone.read_all(), b"true", "what follows is not outdated by it");
}

#[test]
fn the_earliest_segment_of_a_burst_is_echoed() {
    let stamped = |mut segment: Segment, value: u32| {
        segment.options.timestamps = Some(Timestamps { value, echo: 0 });
        segment
    };
    let config = Config {
        timestamps: true,
        ..plain()
    };
    let mut lone = Lone::answering(config, &stamped(syn(), 1_000));
    lone.out();
    lone.recv(&stamped(seg(ACK, 1, 1), 1_001), b"one");
    lone.recv(&stamped(seg(ACK, 4, 1), 1_002), b"two");
    let echo = lone.out_raw()[0].0.options.timestamps.expect("negotiated").echo;
    assert_eq!(
        echo, 1_001,
        "RFC 7323 section 4.3 (A): the sender times the whole delay"
    );
}

#[test]
fn a_writer_is_woken_when_there_is_room_worth_it() {
    let config = Config {
        send_buffer: 4_000,
        ..plain()
    };
    let mut lone = Lone::established(config);
    assert_eq!(lone.conn.write(&[1; 10_000]), Ok(4_000), "what fits");
    lone.out();
    lone.recv(&seg(ACK, 1, 101), b"");
    assert_eq!(lone.events(), [], "100 bytes are not worth it");
    lone.recv(&seg(ACK, 1, 1_001), b"");
    assert_eq!(lone.events(), [Event::Writable], "a quarter is");
    lone.recv(&seg(ACK, 1, 4_001), b"");
    assert_eq!(lone.events(), [], "told once");
}

#[test]
fn an_idle_peer_is_probed_only_if_asked_for() {
    let mut lone = Lone::established(plain());
    assert_eq!(lone.conn.next_timeout(), None, "an idle connection costs nothing");
    let config = Config {
        keepalive: Keepalive::every(Duration::from_secs(100)),
        ..plain()
    };
    lone = Lone::established(config);
    assert_eq!(lone.wait(), Duration::from_secs(100), "the silence");
    let probe = lone.out();
    assert_eq!(
        (probe.len(), probe[0].seq, probe[0].len),
        (1, 0, 0),
        "a number of old"
    );
    lone.recv(&seg(ACK, 1, 1), b"");
    assert_eq!(
        lone.wait(),
        Duration::from_secs(100),
        "an answer starts the silence anew"
    );
    let mut probes = 0;
    while lone.conn.state() != State::Closed {
        probes += lone.out().len();
        lone.wait();
    }
    assert_eq!(probes, 9, "so many without an answer");
    assert_eq!(lone.said(), "RST@1", "the peer is told, if it is there");
    assert_eq!(
        lone.events(),
        [Event::Closed(CloseReason::KeepaliveTimedOut)],
        "are the end"
    );
}

#[test]
fn after_an_idle_time_the_window_starts_anew() {
    let config = Config {
        initial_window: 2,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(&[1; 30_000]).expect("open");
    while lone.conn.snd_una() != lone.conn.snd_nxt() || !lone.data().is_empty() {
        lone.out();
        let ack = lone.conn.snd_nxt();
        let segment = Segment {
            ack,
            ..seg(ACK, 1, 1)
        };
        lone.recv(&segment, b"");
    }
    assert!(lone.conn.stats().cwnd > 4 * M, "it has grown");
    lone.pass(Duration::from_secs(10));
    lone.conn.write(&[1; 30_000]).expect("open");
    assert_eq!(lone.data().len(), 2, "RFC 5681 section 4.1");
}

#[test]
fn challenges_are_limited() {
    let mut lone = Lone::established(plain());
    let mut answers = 0;
    for n in 0..1_000 {
        lone.recv(&seg(Flags::RST, 100 + n, 0), b"");
        answers += lone.out().len();
    }
    assert_eq!(answers, 10, "RFC 5961 section 7");
    lone.pass(Duration::from_secs(5));
    lone.recv(&seg(Flags::RST, 100, 0), b"");
    assert_eq!(lone.said(), "ACK", "later there are more");
}

#[test]
fn two_ends_that_disagree_do_not_talk_for_ever() {
    let mut pair = Pair::connected();
    let mut stray = pair.in_order(A, ACK);
    stray.seq = stray.seq - 5_000;
    pair.inject(A, &stray, b"");
    let mut stray = pair.in_order(B, ACK);
    stray.seq = stray.seq - 5_000;
    pair.inject(B, &stray, b"");
    let before = pair.trace.len();
    pair.run_for(Duration::from_secs(100));
    assert!(
        pair.trace.len() - before < 30,
        "{} ACKs",
        pair.trace.len() - before
    );
    assert!(
        pair.now > Instant::ZERO && IRS != crate::lone::ISS,
        "virtual time passed"
    );
}
