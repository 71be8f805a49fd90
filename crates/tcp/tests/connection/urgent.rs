//! The urgent pointer: RFC 6093, and RFC 9293 section 3.8.5.

use crore_base::Duration;
use crore_tcp::{Config, Event, Read, State};
use crore_wire::{Flags, Segment};

use crate::lone::{ACK, ISS, Lone, MSS, plain, seg};
use crate::pair::{A, B, DELAY, Pair, text};

/// A segment with URG and `pointer`.
fn urgent(seq: u32, pointer: u16) -> Segment {
    Segment {
        urgent: pointer,
        ..seg(ACK | Flags::URG, seq, 1)
    }
}

/// (relative number, length, pointer if URG is set) of what it sends.
fn sent(lone: &mut Lone) -> Vec<(u32, usize, Option<u16>)> {
    let of = |(segment, data): &(Segment, Vec<u8>)| {
        let pointer = segment.flags.has_urg().then_some(segment.urgent);
        (ISS.distance_to(segment.seq), data.len(), pointer)
    };
    lone.out_raw().iter().map(of).collect()
}

//= rfc6093#section-4 (MUST)
#[test]
fn urgent_data_comes_in_line_and_its_last_byte_is_marked() {
    let mut lone = Lone::established(plain());
    // The pointer names the byte behind: "c" is the urgent one.
    lone.recv(&urgent(1, 3), b"abcdef");
    assert_eq!(lone.events(), [Event::Readable, Event::Urgent], "told");
    assert_eq!(lone.conn.urgent_mark(), Some(2), "two bytes before it");
    assert_eq!(lone.conn.readable(), 6, "nothing is taken out of the stream");
    assert_eq!(lone.read_all(), b"abcdef", "all of it, in line");
    assert_eq!(lone.conn.urgent_mark(), None, "passed");
}

#[test]
fn the_mark_is_told_before_its_byte_comes_and_found_piece_by_piece() {
    let mut lone = Lone::established(plain());
    lone.recv(&urgent(1, 5), b"ab");
    assert_eq!(lone.conn.urgent_mark(), Some(4), "ahead of what has come");
    assert!(matches!(lone.conn.read(), Ok(Read::Data(_))), "ab");
    assert_eq!(lone.conn.urgent_mark(), Some(2), "nearer");
    lone.recv(&seg(ACK, 3, 1), b"cd");
    lone.read_all();
    assert_eq!(lone.conn.urgent_mark(), Some(0), "the next one");
    lone.recv(&seg(ACK, 5, 1), b"e");
    lone.read_all();
    assert_eq!(lone.conn.urgent_mark(), None, "read");
}

//= rfc9293#section-3.8.5 (MUST)
#[test]
fn a_mark_moves_on_and_never_back() {
    let mut lone = Lone::established(plain());
    lone.recv(&urgent(1, 10), b"abc");
    lone.events();
    lone.recv(&urgent(4, 2), b"def");
    assert_eq!(lone.conn.urgent_mark(), Some(9), "an older mark means nothing");
    assert_eq!(lone.events(), [Event::Readable], "and is not told");
    lone.recv(&urgent(7, 60_000), b"g");
    assert_eq!(lone.events(), [Event::Readable, Event::Urgent], "a newer one is");
    assert_eq!(lone.conn.urgent_mark(), Some(6 + 60_000 - 1), "however far ahead");
    // What was read already, or is pointed at by nothing, is no news.
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 1, 1), b"abc");
    lone.read_all();
    lone.events();
    for pointer in [0, 1, 3] {
        lone.recv(&urgent(1, pointer), b"abc");
        assert_eq!(
            (lone.events(), lone.conn.urgent_mark()),
            (vec![], None),
            "{pointer}"
        );
    }
    lone.recv(&urgent(4, 0), b"");
    assert_eq!(lone.conn.urgent_mark(), None, "no pointer, no mark");
}

#[test]
fn an_acknowledgment_alone_may_bring_a_mark() {
    let mut lone = Lone::established(plain());
    lone.recv(&urgent(1, 7), b"");
    assert_eq!(lone.events(), [Event::Urgent], "told before any data");
    assert_eq!(lone.conn.urgent_mark(), Some(6), "ahead");
    assert!(lone.conn.park().is_none(), "it is not forgotten");
    lone.recv(&seg(ACK, 1, 1), b"abcdefg");
    lone.read_all();
    lone.events();
    lone.out();
    assert!(
        lone.conn.park().is_some(),
        "once it was read, nothing is left of it"
    );
}

//= rfc9293#section-3.8.5 (MUST)
#[test]
fn each_segment_before_the_mark_says_where_it_is() {
    let mut lone = Lone::established(plain());
    lone.conn.write(&[1; 1_500]).expect("open");
    assert_eq!(lone.conn.write_urgent(&[2; 1_000]), Ok(1_000), "taken");
    lone.conn.write(&[3; 500]).expect("open");
    let m = usize::from(MSS);
    assert_eq!(
        sent(&mut lone),
        [
            (1, m, Some(2_500)),
            (1_001, m, Some(1_500)),
            (2_001, m, Some(500))
        ],
        "the pointer names the byte behind the urgent one"
    );
    // Sent again, they say the same; what lies behind the mark says nothing.
    lone.recv(&seg(ACK, 1, 2_001), b"");
    lone.wait();
    assert_eq!(sent(&mut lone), [(2_001, m, Some(500))], "again");
    lone.recv(&seg(ACK, 1, 3_001), b"");
    lone.conn.write(b"calm").expect("open");
    assert_eq!(sent(&mut lone), [(3_001, 4, None)], "over");
}

#[test]
fn a_mark_too_far_ahead_for_the_field_is_pointed_at_by_steps() {
    let config = Config {
        send_buffer: 200_000,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write_urgent(&[1; 100_000]).expect("open");
    let first = sent(&mut lone);
    assert!(
        first.iter().all(|&(_, _, p)| p == Some(u16::MAX)),
        "as far as it reaches: {first:?}"
    );
}

#[test]
fn urgent_data_does_not_wait_for_other_data_nor_for_a_window_to_be_heard_of() {
    let config = Config {
        nodelay: false,
        ..plain()
    };
    let mut lone = Lone::established(config);
    lone.conn.write(b"a").expect("open");
    assert_eq!(sent(&mut lone), [(1, 1, None)], "nothing is in flight");
    lone.conn.write(b"b").expect("open");
    assert_eq!(sent(&mut lone), [], "Nagle's algorithm");
    lone.conn.write_urgent(b"!").expect("open");
    assert_eq!(sent(&mut lone), [(2, 2, Some(2))], "not for this");
    let shut = Segment {
        window: 0,
        ..seg(ACK, 1, 4)
    };
    lone.recv(&shut, b"");
    lone.conn.write_urgent(b"help").expect("open");
    assert_eq!(sent(&mut lone), [(4, 0, Some(4))], "no data, but the mark");
    assert_eq!(lone.conn.state(), State::Established, "open");
}

/// Simulation: marks at random places through a bad channel. The bytes arrive as
/// they are, and each end hears of the last mark at its place or before.
#[test]
fn marks_corrupt_nothing_on_a_bad_path() {
    for seed in 0..60u64 {
        let mut pair = Pair::connected_with(Config::default(), Config::default());
        let mut dice = crate::chaos::Dice::new(seed);
        let mut fate = crate::chaos::Dice::new(!seed);
        pair.fate = Box::new(move |_| match fate.below(100) {
            0..8 => vec![],
            8..12 => vec![DELAY, DELAY + DELAY],
            12..30 => vec![DELAY + Duration::from_millis(fate.below(30))],
            _ => vec![DELAY],
        });
        let all = text(seed as u32, 150_000);
        let (mut at, mut last_mark, mut marks_heard) = (0, 0, 0);
        let end = pair.now + Duration::from_secs(600);
        pair.ends[B].reading = false;
        while pair.ends[B].received.len() < all.len() && pair.now < end {
            let len = (1 + dice.below(5_000) as usize).min(all.len() - at);
            let piece = &all[at..at + len];
            let conn = pair.ends[A].conn();
            if dice.below(3) == 0 {
                if conn.write_capacity() >= len && conn.write_urgent(piece) == Ok(len) {
                    at += len;
                    last_mark = at;
                }
            } else {
                at += conn.write(piece).unwrap_or(0);
            }
            pair.run_for(Duration::from_millis(dice.below(40)));
            let end = &mut pair.ends[B];
            loop {
                marks_heard += usize::from(end.conn().urgent_mark().is_some());
                let Ok(Read::Data(chunk)) = end.conn().read() else {
                    break;
                };
                end.received.extend_from_slice(&chunk);
            }
        }
        assert!(
            pair.ends[B].received == all,
            "seed {seed}: each byte once, in order"
        );
        assert!(last_mark > 0 && marks_heard > 0, "seed {seed}: there were marks");
        assert_eq!(
            pair.ends[B].conn().urgent_mark(),
            None,
            "seed {seed}: all were passed"
        );
    }
}
