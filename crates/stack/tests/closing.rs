//! Parting from connections: with time for it, without, and from too many at once.

mod support;

use crore_base::{DropReason, Duration};
use crore_stack::{CloseReason, ConnId, Event, SocketError, State, TcpOption};
use crore_wire::Flags;

use support::{MOMENT, Stranger, World, answer, syn};

const SECOND: Duration = Duration::from_secs(1);
const PARKING: [Option<Duration>; 3] = [Some(Duration::ZERO), Some(Duration::from_millis(500)), None];

/// `count` connections from the client to a server with `max_orphans`.
fn connected(count: usize, parking: Option<Duration>, max_orphans: u32) -> (World, Vec<ConnId>) {
    let mut world = World::new(false, |c| {
        c.park_after = parking;
        c.max_orphans = max_orphans;
    });
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 64)
        .unwrap();
    for _ in 0..count {
        world.connect("10.0.0.2:80");
    }
    world.run(MOMENT);
    let accepted = world.server.opened();
    assert_eq!(accepted.len(), count, "all of them");
    world.server.events.clear();
    (world, accepted)
}

/// Protects a peer that was never asked for from waiting for ever: the reset goes
/// when the next hop has answered, or the connection ends without it.
#[test]
fn a_reset_waits_for_its_next_hop_as_all_segments_do() {
    for answers in [true, false] {
        let mut world = World::new(false, |_| {});
        world
            .server
            .stack
            .listen("0.0.0.0:80".parse().unwrap(), 8)
            .unwrap();
        let stranger = Stranger::new(&world);
        stranger.send(world.now, 7, &syn(4000, 1000), b"");
        world.run(MOMENT);
        let syn_ack = stranger.seen()[0];
        stranger.send(world.now, 7, &answer(&syn_ack, Flags::ACK), b"");
        world.run(MOMENT);
        let conn = world.server.opened()[0];
        world.server.stack.abort(conn);
        world.run(MOMENT);
        assert!(stranger.seen().is_empty(), "where to, nobody knows yet");
        if answers {
            stranger.introduce(world.now, 7);
        }
        world.run(Duration::from_secs(10));
        let resets = stranger.seen();
        assert_eq!(resets.len(), usize::from(answers), "one, if any: {resets:?}");
        assert!(
            resets.iter().all(|reset| reset.flags.has_rst()),
            "a reset: {resets:?}"
        );
        assert_eq!(world.server.stack.connections(), 0, "nothing is left");
    }
}

#[test]
fn a_close_with_time_is_told_when_all_has_arrived() {
    for parking in PARKING {
        let (mut world, accepted) = connected(1, parking, 0);
        let conn = accepted[0];
        let server = &mut world.server.stack;
        server.set_user(conn, 77);
        server
            .set_option(conn, TcpOption::Linger(Some(SECOND.saturating_mul(10))))
            .unwrap();
        server.write(conn, b"farewell").unwrap();
        server.close(world.now, conn);
        assert!(server.state(conn).is_some(), "{parking:?}: the handle lives on");
        assert!(
            server.write(conn, b"!").is_err(),
            "{parking:?}: for nothing but waiting"
        );
        assert!(
            matches!(server.read(conn), Err(SocketError::ReadClosed)),
            "{parking:?}: nor to be read"
        );
        assert_eq!(
            server.peek_data(conn, 0, &mut [0; 8]),
            0,
            "{parking:?}: nor looked at"
        );
        assert_eq!(server.orphans(), 0, "{parking:?}: somebody waits for it");
        world.run(MOMENT);
        let end = Event::Closed {
            conn,
            reason: CloseReason::Finished,
            user: 77,
        };
        assert_eq!(world.server.events, [end], "{parking:?}: it has arrived");
        assert!(
            world.server.stack.state(conn).is_none(),
            "{parking:?}: the handle is dead"
        );
        world.run(SECOND.saturating_mul(100));
        assert_eq!(world.server.events, [end], "{parking:?}: told once");
        assert_eq!(
            world.server.stack.connections(),
            0,
            "{parking:?}: nothing is left"
        );
    }
}

#[test]
fn a_close_that_takes_too_long_or_no_time_is_a_reset() {
    for (linger, expected) in [
        (SECOND.saturating_mul(3), vec![CloseReason::LingerTimedOut]),
        (Duration::ZERO, vec![]),
    ] {
        let (mut world, accepted) = connected(1, None, 0);
        let conn = accepted[0];
        let server = &mut world.server.stack;
        server.set_option(conn, TcpOption::Linger(Some(linger))).unwrap();
        server.write(conn, b"farewell").unwrap();
        world.link.set_down(true);
        world.server.stack.close(world.now, conn);
        world.run(SECOND.saturating_mul(4));
        assert_eq!(world.server.closed(), expected, "{linger:?}");
        assert_eq!(world.server.stack.connections(), 0, "{linger:?}: nothing is left");
        assert!(
            world.server.stack.counters().resets_out >= 1,
            "{linger:?}: told the peer"
        );
    }
}

/// Protects the memory for connections from peers that never let one end.
#[test]
fn one_orphan_more_than_may_be_is_reset_and_counted() {
    for parking in PARKING {
        let (mut world, accepted) = connected(6, parking, 4);
        world.link.set_down(true);
        for &conn in &accepted {
            world.server.stack.close(world.now, conn);
        }
        assert_eq!(world.server.stack.orphans(), 4, "{parking:?}: as many as may be");
        let drops = |world: &World| {
            let counters = world.server.stack.counters();
            counters.drops.get(DropReason::TooManyOrphans)
        };
        assert_eq!(drops(&world), 2, "{parking:?}: two are counted");
        world.run(MOMENT);
        assert_eq!(world.server.stack.connections(), 4, "{parking:?}: and gone");
        world.link.set_down(false);
        world.run(SECOND.saturating_mul(2));
        assert_eq!(
            world.server.stack.orphans(),
            0,
            "{parking:?}: the FINs have arrived"
        );
        // Those that are done make room for others.
        for conn in world.client.opened() {
            if world.client.stack.state(conn).is_some() {
                world.client.stack.close(world.now, conn);
            }
        }
        world.run(SECOND.saturating_mul(2));
        assert_eq!(drops(&world), 2, "{parking:?}: no more");
        assert_eq!(world.client.stack.orphans(), 0, "{parking:?}: nor here");
    }
}

#[test]
fn orphans_that_nobody_answers_are_given_up_and_not_counted_twice() {
    let (mut world, accepted) = connected(3, Some(Duration::ZERO), 0);
    world.link.set_down(true);
    for &conn in &accepted {
        world.server.stack.write(conn, b"x").unwrap();
        world.server.stack.close(world.now, conn);
    }
    world.run(SECOND);
    assert_eq!(world.server.stack.orphans(), 3, "they try");
    // The limit of attempts counts them out long before that of a live one.
    world.run(SECOND.saturating_mul(200));
    assert_eq!(world.server.stack.orphans(), 0, "given up");
    assert_eq!(world.server.stack.connections(), 0, "nothing is left");
}

#[test]
fn a_half_close_is_no_orphan() {
    let (mut world, accepted) = connected(1, None, 1);
    let conn = accepted[0];
    world.link.set_down(true);
    world.server.stack.shutdown_write(conn);
    world.run(SECOND);
    assert_eq!(
        world.server.stack.state(conn),
        Some(State::FinWait1),
        "on its way"
    );
    assert_eq!(world.server.stack.orphans(), 0, "its application is there");
}

/// Protects an end of all from being held up by what nobody has to be told of.
#[test]
fn aborting_all_ends_what_is_in_each_state() {
    for parking in PARKING {
        let (mut world, accepted) = connected(4, parking, 0);
        let (waiting, gone) = (accepted[0], accepted[1]);
        world.server.stack.close(world.now, waiting);
        world.run(MOMENT);
        let closed = |event: &Event| match event {
            Event::PeerClosed { conn } => Some(*conn),
            _ => None,
        };
        let other = world.client.events.iter().find_map(closed).expect("it is told");
        world.client.stack.close(world.now, other);
        world.run(MOMENT);
        world.server.stack.abort(gone);
        world.run(MOMENT);
        assert_eq!(
            world.server.stack.connections(),
            3,
            "{parking:?}: one waits, one is gone"
        );
        // A handshake, half-way.
        let stranger = Stranger::new(&world);
        stranger.send(world.now, 7, &syn(4_000, 1_000), b"");
        world.run(Duration::from_millis(1));
        assert_eq!(stranger.seen().len(), 1, "{parking:?}: a SYN-ACK");
        assert_eq!(world.server.stack.connections(), 4, "{parking:?}");
        world.server.events.clear();
        world.client.events.clear();
        world.server.stack.abort_all();
        world.run(MOMENT);
        assert_eq!(
            world.server.stack.connections(),
            0,
            "{parking:?}: nothing is left"
        );
        let resets = stranger.seen().iter().filter(|s| s.flags.has_rst()).count();
        assert_eq!(resets, 2, "{parking:?}: one for each that was open");
        let told = [CloseReason::ResetByPeer; 2];
        assert_eq!(world.client.closed(), told, "{parking:?}: whose peers are told");
        assert_eq!(world.server.events, [], "{parking:?}: nobody here is");
    }
}
