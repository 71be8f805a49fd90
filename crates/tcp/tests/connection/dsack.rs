//! What came twice is told of (RFC 2883), and in which order SACK blocks stand
//! (RFC 2018 section 4). Numbers are relative to the peer's first byte, 1.

use crore_base::SeqNum;
use crore_tcp::{Config, State};
use crore_wire::Flags;

use crate::lone::{ACK, FIN, IRS, Lone, plain, seg, syn};
use crate::pair::{A, B, DELAY, Pair, text};

fn with_sack() -> Lone {
    let mut first = syn();
    first.options.sack_permitted = true;
    let config = Config {
        sack: true,
        ..plain()
    };
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.recv(&seg(ACK, 1, 1), b"");
    lone
}

/// The SACK blocks of the one segment that is sent now, and its ACK.
fn told(lone: &mut Lone) -> (u32, Vec<(u32, u32)>) {
    let sent = lone.out_raw();
    assert_eq!(sent.len(), 1, "one acknowledgment");
    let segment = &sent[0].0;
    let relative = |n: SeqNum| IRS.distance_to(n);
    let blocks = segment.options.sack.iter();
    (
        relative(segment.ack),
        blocks.map(|(l, r)| (relative(l), relative(r))).collect(),
    )
}

fn data(lone: &mut Lone, seq: u32, len: usize) {
    lone.recv(&seg(ACK, seq, 1), &vec![b'x'; len]);
}

#[test]
fn what_was_acknowledged_and_comes_again_is_told_once() {
    let mut lone = with_sack();
    data(&mut lone, 1, 500);
    assert_eq!(told(&mut lone), (501, vec![]), "nothing came twice");
    data(&mut lone, 101, 200);
    assert_eq!(told(&mut lone), (501, vec![(101, 301)]), "below the ACK");
    data(&mut lone, 501, 500);
    assert_eq!(told(&mut lone), (1001, vec![]), "once only");
}

#[test]
fn what_overlaps_the_next_byte_is_told_as_far_as_it_is_old() {
    let mut lone = with_sack();
    data(&mut lone, 1, 500);
    lone.out();
    data(&mut lone, 301, 500);
    assert_eq!(told(&mut lone), (801, vec![(301, 501)]), "200 bytes of it");
}

#[test]
fn a_duplicate_beyond_a_hole_is_followed_by_its_block() {
    let mut lone = with_sack();
    data(&mut lone, 501, 500);
    data(&mut lone, 2001, 500);
    lone.out();
    data(&mut lone, 501, 200);
    assert_eq!(
        told(&mut lone),
        (1, vec![(501, 701), (501, 1001), (2001, 2501)]),
        "the duplicate, the block around it, the others"
    );
}

#[test]
fn of_a_segment_that_is_old_in_parts_the_first_part_is_told() {
    let mut lone = with_sack();
    data(&mut lone, 501, 100);
    data(&mut lone, 801, 100);
    lone.out();
    data(&mut lone, 401, 600);
    assert_eq!(
        told(&mut lone),
        (1, vec![(501, 601), (401, 1001)]),
        "the first stretch that was held, and the block that it is part of now"
    );
}

#[test]
fn what_fills_a_hole_and_goes_on_is_told_where_it_covers_what_was_held() {
    let mut lone = with_sack();
    data(&mut lone, 1001, 2000);
    data(&mut lone, 4001, 1000);
    data(&mut lone, 7001, 1000);
    lone.out();
    data(&mut lone, 1, 6000);
    assert_eq!(
        told(&mut lone),
        (6001, vec![(1001, 3001), (7001, 8001)]),
        "the first stretch that was held, though it is acknowledged by now"
    );
    data(&mut lone, 6001, 2000);
    assert_eq!(told(&mut lone), (8001, vec![(7001, 8001)]));
    data(&mut lone, 1, 1000);
    assert_eq!(told(&mut lone), (8001, vec![(1, 1001)]), "an older one");
    data(&mut lone, 8501, 100);
    lone.out();
    data(&mut lone, 7901, 900);
    assert_eq!(
        told(&mut lone),
        (8801, vec![(7901, 8001)]),
        "the first of two stretches"
    );
}

#[test]
fn duplicates_in_a_row_are_told_as_one_stretch() {
    let mut lone = with_sack();
    data(&mut lone, 1, 900);
    lone.out();
    for seq in [1, 301, 601] {
        data(&mut lone, seq, 300);
    }
    assert_eq!(told(&mut lone), (901, vec![(1, 901)]), "one burst, one ACK");
}

#[test]
fn a_fin_that_comes_again_is_told() {
    let mut lone = with_sack();
    lone.recv(&seg(FIN | ACK, 1, 1), b"bye");
    lone.out();
    lone.recv(&seg(FIN | ACK, 1, 1), b"bye");
    assert_eq!(told(&mut lone), (5, vec![(1, 5)]), "text and FIN");
    assert_eq!(lone.conn.state(), State::CloseWait, "and nothing else happens");
}

#[test]
fn what_lies_before_the_stream_is_a_forgery_and_is_not_told() {
    let mut lone = with_sack();
    data(&mut lone, 1, 500);
    lone.out();
    for seq in [0, u32::MAX - 50, 1 << 31] {
        data(&mut lone, seq, 100);
        assert_eq!(told(&mut lone), (501, vec![]), "from {seq} on");
    }
}

#[test]
fn without_sack_duplicates_earn_a_plain_ack() {
    let mut lone = Lone::established(plain());
    data(&mut lone, 1, 500);
    lone.out();
    data(&mut lone, 1, 500);
    assert_eq!(told(&mut lone), (501, vec![]), "no option that was not agreed on");
}

#[test]
fn the_latest_block_stands_first_and_the_others_are_repeated() {
    let mut lone = with_sack();
    for seq in [1001, 2001, 3001, 4001] {
        data(&mut lone, seq, 100);
    }
    data(&mut lone, 2101, 100);
    assert_eq!(
        told(&mut lone),
        (1, vec![(2001, 2201), (4001, 4101), (3001, 3101), (1001, 1101)]),
        "by when they last grew"
    );
}

#[test]
fn doubled_segments_are_told_on_a_whole_transfer() {
    let mut pair = Pair::connected();
    let delay = DELAY;
    pair = pair.with_fate(move |packet| {
        if packet.from == A && !packet.payload.is_empty() {
            vec![delay, delay + delay]
        } else {
            vec![delay]
        }
    });
    pair.ends[A].to_send = text(1, 50_000);
    pair.settle();
    pair.assert_delivered();
    let below = pair.sent_by(B).filter(|packet| {
        let ack = packet.segment.ack;
        let mut blocks = packet.segment.options.sack.iter();
        packet.has(Flags::ACK) && blocks.next().is_some_and(|(_, right)| right.at_or_before(ack))
    });
    let told = below.count();
    assert!(told >= 3, "every burst of doubles is reported, not {told}");
}
