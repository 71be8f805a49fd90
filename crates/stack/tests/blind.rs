//! Somebody who forges segments without seeing any: what it can bring about, and
//! what it can find out.
//!
//! Read first: RFC 5961, CVE-2016-5696 (a shared limit of challenge ACKs tells of
//! other connections).

mod support;

use crore_base::{DropReason, Duration};
use crore_wire::{Flags, Segment};
use support::{MOMENT, Stranger, World, answer, syn};

const PARKING: [Option<Duration>; 3] = [Some(Duration::ZERO), Some(Duration::from_millis(500)), None];

/// Two peers at the stranger's, 10.0.0.7 and 10.0.0.8, with a connection each;
/// what each of them says next in order.
fn two_peers(parking: Option<Duration>) -> (World, Stranger, [Segment; 2]) {
    let mut world = World::new(false, |c| {
        c.park_after = parking;
        c.resets_per_second = 4_096;
    });
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 64)
        .unwrap();
    let stranger = Stranger::new(&world);
    let peers = [7, 8].map(|host| {
        stranger.introduce(world.now, host);
        stranger.send(world.now, host, &syn(4_000 + u16::from(host), 1_000), b"");
        world.run(Duration::from_millis(1));
        let is_syn_ack = |s: &Segment| s.flags.has_syn() && s.dst_port == 4_000 + u16::from(host);
        let syn_ack = stranger.seen().into_iter().find(is_syn_ack).expect("answered");
        let ack = answer(&syn_ack, Flags::ACK);
        stranger.send(world.now, host, &ack, b"");
        world.run(Duration::from_millis(1));
        ack
    });
    assert_eq!(world.server.opened().len(), 2, "both are open");
    (world, stranger, peers)
}

/// Sends `count` forged SYNs and resets into the connection of `host`, some
/// milliseconds apart; says how many challenges came back.
fn forge(world: &mut World, stranger: &Stranger, host: u8, known: &Segment, count: u32) -> usize {
    stranger.seen();
    let mut answers = 0;
    for n in 0..count {
        let flags = if n % 2 == 0 { Flags::SYN } else { Flags::RST };
        let forged = Segment {
            flags,
            seq: known.seq + 17 + n,
            ..*known
        };
        stranger.send(world.now, host, &forged, b"");
        world.run(Duration::from_millis(3));
        answers += stranger.seen().len();
    }
    answers
}

//= rfc5961#section-7 (SHOULD)
/// Protects against being made to answer without end, also by a connection that
/// is parked after each answer.
#[test]
fn challenges_are_limited_whether_a_connection_is_parked_or_not() {
    for parking in PARKING {
        let (mut world, stranger, [ack, _]) = two_peers(parking);
        let answers = forge(&mut world, &stranger, 7, &ack, 200);
        assert_eq!(answers, 10, "{parking:?}: ten in five seconds");
        world.run(Duration::from_secs(6));
        let answers = forge(&mut world, &stranger, 7, &ack, 200);
        assert_eq!(answers, 10, "{parking:?}: and ten in the next");
        assert_eq!(
            world.server.stack.connections(),
            2,
            "{parking:?}: nothing was broken"
        );
    }
}

//= rfc5961#section-7 (SHOULD)
/// Protects a connection from being found by what it does to another one's
/// answers: whoever has a connection of its own, and forges segments of others',
/// sees the same answers on its own at the same times whether they hit or not.
#[test]
fn a_connection_can_not_be_observed_through_another_ones_challenges() {
    for parking in PARKING {
        let observe = |forged: Option<u16>| {
            let (mut world, stranger, [own, other]) = two_peers(parking);
            let mut seen = Vec::new();
            for round in 0..20 {
                if let Some(port) = forged {
                    let guess = Segment {
                        src_port: port,
                        ..other
                    };
                    forge(&mut world, &stranger, 8, &guess, 30);
                } else {
                    world.run(Duration::from_millis(90));
                }
                stranger.seen();
                let probe = Segment {
                    flags: Flags::SYN,
                    seq: own.seq + 1_000 + round,
                    ..own
                };
                stranger.send(world.now, 7, &probe, b"");
                world.run(Duration::from_millis(3));
                seen.push(
                    stranger
                        .seen()
                        .iter()
                        .filter(|s| s.dst_port == own.src_port)
                        .count(),
                );
            }
            seen
        };
        let quiet = observe(None);
        assert!(
            quiet.contains(&1) && quiet.contains(&0),
            "{parking:?}: a limit is reached: {quiet:?}"
        );
        assert_eq!(observe(Some(4_008)), quiet, "{parking:?}: the guess was right");
        assert_eq!(observe(Some(4_009)), quiet, "{parking:?}: the guess was wrong");
    }
}

//= rfc5961#section-7 (SHOULD)
/// Protects a connection from being found by what is left for others: a forged
/// segment that hits none costs a reset, and one that hits does not, which whoever
/// counts the resets to itself must not see.
#[test]
fn a_connection_can_not_be_observed_through_resets_for_segments_of_none() {
    let observe = |forged: Option<u16>| {
        let (mut world, stranger, [own, other]) = two_peers(None);
        let ask = |world: &mut World, host: u8, known: &Segment, port: u16, count: u32| {
            for n in 0..count {
                let guess = Segment {
                    src_port: port,
                    seq: known.seq + 70_000 + n,
                    ..*known
                };
                stranger.send(world.now, host, &guess, b"");
                if n % 10 == 9 {
                    world.run(Duration::from_millis(1));
                }
            }
            world.run(Duration::from_millis(1));
            let is_reset = |s: &&Segment| s.flags.has_rst() && s.dst_port == port;
            stranger.seen().iter().filter(is_reset).count()
        };
        let mut resets = Vec::new();
        let mut hers = 0;
        for _ in 0..20 {
            world.run(Duration::from_millis(169));
            if let Some(port) = forged {
                hers += ask(&mut world, 8, &other, port, 300);
            } else {
                world.run(Duration::from_millis(31));
            }
            resets.push(ask(&mut world, 7, &own, 5_000, 1_000));
        }
        (resets, hers)
    };
    let (quiet, _) = observe(None);
    assert!(
        quiet.iter().any(|&n| n > 0) && quiet.iter().any(|&n| n < 1_000),
        "a limit is reached: {quiet:?}"
    );
    let (hit, hers) = observe(Some(4_008));
    assert_eq!(hers, 0, "the guess was right");
    assert_eq!(hit, quiet, "the guess was right");
    let (missed, hers) = observe(Some(4_010));
    assert_eq!(missed, quiet, "the guess was wrong");
    assert!(
        (6 * 32..=8 * 32).contains(&hers),
        "all that there was for it: {hers}"
    );
}

/// A handshake that was begun by the stranger at 10.0.0.7.
fn half_open() -> (World, Stranger, Segment) {
    let mut world = World::new(false, |_| {});
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 64)
        .unwrap();
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    stranger.send(world.now, 7, &syn(4_000, 1_000), b"");
    world.run(MOMENT);
    let syn_ack = stranger.seen().pop().expect("answered");
    (world, stranger, syn_ack)
}

//= rfc5961#section-3.2 (MUST)
//= rfc5961#section-4.2 (MUST)
#[test]
fn what_is_forged_into_a_handshake_is_challenged_and_ends_nothing() {
    let (mut world, stranger, syn_ack) = half_open();
    let fitting = answer(&syn_ack, Flags::RST);
    let cases = [
        (Flags::RST, 1, 1, DropReason::ResetOutOfPlace),
        (Flags::RST, 60_000, 1, DropReason::ResetOutOfPlace),
        (Flags::RST, 70_000, 0, DropReason::ResetOutOfPlace),
        (Flags::RST, 0u32.wrapping_sub(1), 0, DropReason::ResetOutOfPlace),
        (Flags::SYN, 5, 1, DropReason::SynInConnection),
        (Flags::SYN, 1 << 30, 1, DropReason::SynInConnection),
        (Flags::FIN, 0, 0, DropReason::MissingAck),
        (Flags::NONE, 0, 0, DropReason::MissingAck),
    ];
    for (flags, offset, answers, reason) in cases {
        let before = world.server.stack.counters().drops.get(reason);
        let forged = Segment {
            flags,
            seq: fitting.seq + offset,
            ..fitting
        };
        stranger.send(world.now, 7, &forged, b"");
        world.run(Duration::from_millis(1));
        let seen = stranger.seen();
        assert_eq!(seen.len(), answers, "{flags:?} at {offset}: {seen:?}");
        assert!(
            seen.iter().all(|s| s.seq == syn_ack.seq && s.ack == syn_ack.ack),
            "{flags:?} at {offset}: says where we stand"
        );
        let after = world.server.stack.counters().drops.get(reason);
        assert_eq!(after, before + 1, "{flags:?} at {offset}: counted");
    }
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::ACK), b"");
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 1, "the peer itself comes through");
}

/// Protects a client that starts anew from the port that it had before.
#[test]
fn a_peer_that_starts_anew_in_mid_handshake_comes_through() {
    let (mut world, stranger, _) = half_open();
    let anew = syn(4_000, 77_000_000);
    stranger.send(world.now, 7, &anew, b"");
    world.run(Duration::from_millis(1));
    let challenge = stranger.seen().pop().expect("challenged");
    assert_ne!(challenge.ack, anew.seq + 1, "the old one's");
    // A host in SYN-SENT answers an acknowledgment that it can't take so.
    let reset = Segment {
        src_port: anew.src_port,
        dst_port: anew.dst_port,
        seq: challenge.ack,
        flags: Flags::RST,
        ..Segment::default()
    };
    stranger.send(world.now, 7, &reset, b"");
    stranger.send(world.now, 7, &anew, b"");
    world.run(Duration::from_millis(1));
    let syn_ack = stranger.seen().pop().expect("answered");
    assert_eq!(syn_ack.ack, anew.seq + 1, "the new one's");
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::ACK), b"");
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 1, "it is open");
}
