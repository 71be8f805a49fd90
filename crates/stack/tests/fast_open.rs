//! TCP Fast Open between two hosts, and against a stranger who abuses it.
//!
//! Read first: RFC 7413.

mod support;

use crore_base::Duration;
use crore_stack::{
    CloseReason, ConnId, ConnectOptions, CookiePolicy, FastOpenPolicy, ListenerId, StackConfig, State,
};
use crore_wire::{FastOpenCookie, Flags, Segment};
use support::{MOMENT, Stranger, World, answer, syn};

const SECOND: Duration = Duration::from_secs(1);

/// A client and a server that both use it.
fn world(v6: bool, tune: impl FnOnce(&mut StackConfig)) -> (World, ListenerId) {
    let mut world = World::of(
        v6,
        |c| c.fast_open = FastOpenPolicy::Client,
        |c| {
            c.fast_open = FastOpenPolicy::Server;
            tune(c);
        },
    );
    let any = if v6 { "[::]:80" } else { "0.0.0.0:80" };
    let listener = world.server.stack.listen(any.parse().unwrap(), 64).unwrap();
    (world, listener)
}

fn remote(v6: bool) -> std::net::SocketAddr {
    if v6 { "[fd00::2]:80" } else { "10.0.0.2:80" }.parse().unwrap()
}

fn connect_with(world: &mut World, v6: bool, data: &[u8]) -> ConnId {
    let how = ConnectOptions::default();
    let stack = &mut world.client.stack;
    let (conn, taken) = stack
        .connect_with_data(world.now, remote(v6), &how, data)
        .unwrap();
    assert_eq!(taken, data.len(), "there is room");
    conn
}

//= rfc7413#section-3 (MUST)
#[test]
fn the_second_connection_brings_its_data_with_the_syn() {
    for v6 in [false, true] {
        for park_after in [Some(Duration::ZERO), None] {
            let (mut world, _) = world(v6, |c| c.park_after = park_after);
            let first = connect_with(&mut world, v6, b"hello");
            world.run(MOMENT);
            let accepted = world.server.opened()[0];
            assert_eq!(
                world.server.read_all(accepted),
                b"hello",
                "v6 {v6}: the ordinary way"
            );
            world.client.stack.close(world.now, first);
            world.run(MOMENT);
            let counters = world.server.stack.counters();
            assert_eq!(
                (counters.fast_open_cookies, counters.fast_opens_in),
                (1, 0),
                "v6 {v6}"
            );

            let second = connect_with(&mut world, v6, b"hello again");
            // Half a round trip: the SYN has arrived, and its answer not yet.
            world.client.stack.poll_transmit(world.now, &mut world.client.nic);
            let mut steps = 0;
            while world.server.opened().len() < 2 {
                world.run(Duration::from_micros(10));
                steps += 1;
                assert!(steps < 1_000, "v6 {v6}: it arrives");
            }
            let accepted = world.server.opened()[1];
            assert_eq!(
                world.server.stack.state(accepted),
                Some(State::SynReceived),
                "v6 {v6}: early"
            );
            assert_eq!(
                world.server.read_all(accepted),
                b"hello again",
                "v6 {v6}: readable"
            );
            world.server.stack.write(accepted, b"welcome back").unwrap();
            world.run(MOMENT);
            assert_eq!(
                world.client.read_all(second),
                b"welcome back",
                "v6 {v6}: answered"
            );
            assert_eq!(
                world.server.stack.state(accepted),
                Some(State::Established),
                "v6 {v6}"
            );
            assert_eq!(world.server.stack.counters().fast_opens_in, 1, "v6 {v6}: counted");
            assert_eq!(
                world.client.stack.counters().fast_opens_out,
                1,
                "v6 {v6}: counted"
            );
            assert_eq!(
                world.client.stack.counters().retransmits,
                0,
                "v6 {v6}: nothing twice"
            );
            world.client.stack.close(world.now, second);
            world.server.stack.close(world.now, accepted);
            world.run(SECOND.saturating_mul(100));
            let left = world.client.stack.connections() + world.server.stack.connections();
            assert_eq!(left, 1, "v6 {v6}: only the one that the server did not close");
            assert_eq!(world.server.stack.received_held(), 0, "v6 {v6}: no byte held");
        }
    }
}

/// The stranger's SYN from 10.0.0.`host` with `cookie` and `data`; what comes back.
fn strange_syn(
    world: &mut World,
    stranger: &Stranger,
    host: u8,
    port: u16,
    cookie: Option<FastOpenCookie>,
    data: &[u8],
) -> Vec<Segment> {
    let mut segment = syn(port, 1_000);
    segment.options.fast_open = cookie;
    stranger.introduce(world.now, host);
    stranger.seen();
    stranger.send(world.now, host, &segment, data);
    world.run(Duration::from_millis(2));
    let for_it = |s: &Segment| s.dst_port == port;
    stranger.seen().into_iter().filter(for_it).collect()
}

/// A server as [`world`] has it, and the cookie for 10.0.0.7.
fn strange_world(tune: impl FnOnce(&mut StackConfig)) -> (World, Stranger, ListenerId, FastOpenCookie) {
    let (mut world, listener) = world(false, tune);
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    stranger.introduce(world.now, 8);
    let asks = Some(FastOpenCookie::REQUEST);
    let seen = strange_syn(&mut world, &stranger, 7, 3_999, asks, b"");
    let cookie = seen[0].options.fast_open.expect("a cookie");
    stranger.send(world.now, 7, &answer(&seen[0], Flags::RST), b"");
    world.run(MOMENT);
    (world, stranger, listener, cookie)
}

//= rfc7413#section-4.2.2 (MUST)
#[test]
fn a_bad_cookie_earns_an_ordinary_handshake_and_a_good_one() {
    let (mut world, stranger, _, cookie) = strange_world(|_| {});
    let guess = FastOpenCookie::new(&[1; 8]);
    // One that was guessed, and one that is somebody else's.
    for (port, host, shown) in [(4_000, 7, guess), (4_001, 8, Some(cookie))] {
        let seen = strange_syn(&mut world, &stranger, host, port, shown, b"hello");
        assert_eq!(seen.len(), 1, "one answer: {seen:?}");
        assert_eq!(seen[0].ack.0, 1_001, "the data is not acknowledged");
        let given = seen[0].options.fast_open.expect("a cookie");
        assert_eq!(given == cookie, host == 7, "for its own address");
        assert!(world.server.opened().is_empty(), "nobody is told");
    }
    assert_eq!(world.server.stack.counters().fast_opens_refused, 2, "counted");
    let seen = strange_syn(&mut world, &stranger, 7, 4_002, Some(cookie), b"hello");
    assert_eq!(seen[0].ack.0, 1_006, "the right one in the right hands");
    assert_eq!(seen[0].options.fast_open, None, "needs no other");
}

//= rfc7413#section-5.1 (MUST)
/// Protects a server from doing ever more work for peers that are not there.
#[test]
fn beyond_the_limit_handshakes_are_ordinary_and_failed_ones_go_on_counting() {
    let (mut world, stranger, listener, cookie) = strange_world(|c| c.fast_open_queue = 2);
    let early = |world: &mut World, port| {
        let seen = strange_syn(world, &stranger, 7, port, Some(cookie), b"hello");
        (seen[0].ack.0 == 1_006, seen[0])
    };
    let (first, syn_ack) = early(&mut world, 4_000);
    assert!(first && early(&mut world, 4_001).0, "two at once");
    assert!(!early(&mut world, 4_002).0, "not a third");
    // One is completed: there is room for another.
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::ACK), b"");
    world.run(MOMENT);
    let (again, syn_ack) = early(&mut world, 4_003);
    assert!(again, "one is over");
    // One is reset by whoever has that address: it counts for a minute.
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::RST), b"");
    world.run(MOMENT);
    assert_eq!(
        world.server.closed(),
        [CloseReason::ResetByPeer],
        "the application is told"
    );
    assert!(!early(&mut world, 4_004).0, "its place is held");
    world.run(SECOND.saturating_mul(130));
    assert!(early(&mut world, 4_005).0, "later it is free");
    // Off for this listener.
    assert!(world.server.stack.set_fast_open_queue(listener, 0), "it is there");
    world.run(SECOND.saturating_mul(130));
    let seen = strange_syn(
        &mut world,
        &stranger,
        7,
        4_006,
        Some(FastOpenCookie::REQUEST),
        b"",
    );
    assert_eq!(seen[0].options.fast_open, None, "it gives no cookies either");
}

//= rfc7413#section-7.3 (MAY)
#[test]
fn where_cookies_are_not_wanted_the_first_connection_brings_its_data() {
    let (mut world, listener) = world(false, |c| c.fast_open_queue = 1);
    let how = ConnectOptions {
        without_cookie: true,
        ..ConnectOptions::default()
    };
    let connect = |world: &mut World| {
        let stack = &mut world.client.stack;
        let (conn, _) = stack
            .connect_with_data(world.now, remote(false), &how, &[])
            .unwrap();
        assert_eq!(stack.syn_room(conn), 1_420, "a whole segment's");
        stack.write(conn, b"hello").unwrap();
        world.run(MOMENT);
        let accepted = *world.server.opened().last().unwrap();
        assert_eq!(world.server.read_all(accepted), b"hello", "it arrives");
    };
    connect(&mut world);
    assert_eq!(
        world.server.stack.counters().fast_opens_in,
        0,
        "a listener trusts nobody unless told to"
    );
    let stack = &mut world.server.stack;
    assert!(stack.set_fast_open_without_cookie(listener, true), "it is there");
    connect(&mut world);
    assert_eq!(world.server.stack.counters().fast_opens_in, 1, "with the SYN");
    assert_eq!(world.client.stack.counters().fast_opens_out, 2, "both times");
    // Its limit holds all the same.
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    let acks = [4_000, 4_001].map(|port| {
        strange_syn(&mut world, &stranger, 7, port, None, b"hello")[0]
            .ack
            .0
    });
    assert_eq!(acks, [1_006, 1_001], "one at once");
}

/// Protects everybody else from Fast Open: without it, and where cookies are the
/// rule, a SYN takes the way that it always took.
#[test]
fn where_it_is_off_the_option_means_nothing() {
    for (policy, cookies) in [
        (FastOpenPolicy::Off, CookiePolicy::Overflow),
        (FastOpenPolicy::Client, CookiePolicy::Overflow),
        (FastOpenPolicy::Both, CookiePolicy::Always),
    ] {
        let (mut world, _) = world(false, |c| {
            c.fast_open = policy;
            c.syn_cookies = cookies;
        });
        let stranger = Stranger::new(&world);
        stranger.introduce(world.now, 7);
        for cookie in [Some(FastOpenCookie::REQUEST), FastOpenCookie::new(&[1; 8])] {
            let seen = strange_syn(&mut world, &stranger, 7, 4_000, cookie, b"hello");
            assert_eq!(seen.len(), 1, "{policy:?}: answered");
            assert_eq!(seen[0].options.fast_open, None, "{policy:?}: without a cookie");
            assert_eq!(seen[0].ack.0, 1_001, "{policy:?}: the data is left");
        }
        assert_eq!(
            world.server.stack.active_connections(),
            0,
            "{policy:?}: no place is taken"
        );
    }
    // And a client that does not use it sends its data afterwards.
    let mut world = World::new(false, |_| {});
    world.server.stack.listen(remote(false), 8).unwrap();
    let conn = connect_with(&mut world, false, b"hello");
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    assert_eq!(world.server.read_all(accepted), b"hello", "as ever");
    assert!(world.client.stack.state(conn).is_some(), "open");
}

//= rfc7413#section-4.1.3.1 (SHOULD)
#[test]
fn a_path_that_swallows_syns_with_data_is_not_given_more_of_them() {
    let (mut world, _) = world(false, |_| {});
    connect_with(&mut world, false, b"first");
    world.run(MOMENT);
    let sent_with = |world: &World| world.client.stack.counters().fast_opens_out;
    // The SYN with data is lost; the one without gets through.
    world.link.set_down(true);
    let conn = connect_with(&mut world, false, b"second");
    world.run(Duration::from_millis(500));
    world.link.set_down(false);
    world.run(SECOND.saturating_mul(3));
    assert_eq!(sent_with(&world), 1, "one went with data");
    let accepted = *world.server.opened().last().unwrap();
    assert_eq!(
        world.server.read_all(accepted),
        b"second",
        "the data arrives all the same"
    );
    assert!(world.client.stack.state(conn).is_some(), "open");
    connect_with(&mut world, false, b"third");
    world.run(MOMENT);
    assert_eq!(sent_with(&world), 1, "no more for a while");
    world.run(SECOND.saturating_mul(3_700));
    connect_with(&mut world, false, b"fourth");
    world.run(MOMENT);
    connect_with(&mut world, false, b"fifth");
    world.run(MOMENT);
    assert_eq!(sent_with(&world), 2, "an hour later it is tried anew");
}

#[test]
fn a_cookie_that_grows_old_is_replaced_while_it_is_still_good() {
    let (mut world, _) = world(false, |_| {});
    connect_with(&mut world, false, b"first");
    world.run(MOMENT);
    // A period of keys lasts 19.5 hours.
    world.run(Duration::from_secs(20 * 3_600));
    for n in 1..=3u64 {
        connect_with(&mut world, false, b"again");
        world.run(MOMENT);
        assert_eq!(world.server.stack.counters().fast_opens_in, n, "good");
        if n == 2 {
            // The first cookie would be bad by then.
            world.run(Duration::from_secs(20 * 3_600));
        }
    }
    assert_eq!(
        world.server.stack.counters().fast_opens_refused,
        0,
        "never a bad one"
    );
}
