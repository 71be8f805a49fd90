//! What an application chooses for one connection is that connection's own, from
//! its handshake on, in both tiers, and gone with it.

mod support;

use crore_base::Duration;
use crore_stack::{
    CloseReason, ConnId, ConnectOptions, CookiePolicy, Keepalive, ListenOptions, OptionError, Options,
    TcpOption,
};

use crore_tcp::CongestionKind;
use support::{MOMENT, World};

const SECOND: Duration = Duration::from_secs(1);
const PARKING: [Option<Duration>; 3] = [Some(Duration::ZERO), Some(Duration::from_millis(500)), None];

fn changed(mut options: Options, changes: &[TcpOption]) -> Options {
    for &change in changes {
        options.set(change);
    }
    options
}

/// A server on port 80 whose connections have `changes`, and a client of it.
fn served(
    parking: Option<Duration>,
    cookies: CookiePolicy,
    changes: &[TcpOption],
) -> (World, ConnId, ConnId) {
    let mut world = World::new(false, |c| {
        c.park_after = parking;
        c.syn_cookies = cookies;
    });
    let stack = &mut world.server.stack;
    let how = ListenOptions {
        backlog: 8,
        tcp: Some(changed(stack.default_options(), changes)),
    };
    let listener = stack.listen_with("10.0.0.2:80".parse().unwrap(), &how).unwrap();
    assert_eq!(stack.listener_options(listener), how.tcp, "as asked for");
    let conn = world.connect("10.0.0.2:80");
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    (world, conn, accepted)
}

#[test]
fn an_accepted_connection_has_its_listeners_options_in_both_tiers() {
    let changes = [
        TcpOption::ReceiveBuffer(3_000_000),
        TcpOption::Nodelay(false),
        TcpOption::Keepalive(Keepalive::every(SECOND)),
    ];
    for parking in PARKING {
        for cookies in [CookiePolicy::Never, CookiePolicy::Always] {
            let (mut world, conn, accepted) = served(parking, cookies, &changes);
            let expected = changed(world.server.stack.default_options(), &changes);
            assert_eq!(
                world.server.stack.options(accepted),
                Some(expected),
                "{parking:?}"
            );
            let before = world.server.stack.counters().segments_out;
            world.run(SECOND.saturating_mul(10));
            let probes = world.server.stack.counters().segments_out - before;
            assert!(
                (7..=10).contains(&probes),
                "{parking:?}, {cookies:?}: {probes} probes in 10 s"
            );
            // Its window was scaled for its own buffer from the first SYN on.
            world.client.stack.write(conn, b"x").unwrap();
            world.run(MOMENT);
            let window = world.client.stack.stats(conn).unwrap().send_window;
            assert!(window > 2_900_000, "{parking:?}, {cookies:?}: {window}");
        }
    }
}

#[test]
fn an_option_that_is_set_later_counts_though_the_connection_is_parked() {
    for parking in PARKING {
        let (mut world, conn, accepted) = served(parking, CookiePolicy::Never, &[]);
        world.run(SECOND.saturating_mul(5));
        let server = &mut world.server.stack;
        let before = server.counters().segments_out;
        let keepalive = Keepalive::every(SECOND.saturating_mul(2));
        server
            .set_option(accepted, TcpOption::Keepalive(keepalive))
            .unwrap();
        server.set_option(accepted, TcpOption::SendBuffer(100)).unwrap();
        server.set_option(accepted, TcpOption::Nodelay(false)).unwrap();
        let options = server.options(accepted).unwrap();
        assert_eq!(
            (options.keepalive, options.send_buffer),
            (keepalive, 100),
            "{parking:?}"
        );
        assert!(!options.nodelay, "{parking:?}");
        world.run(SECOND.saturating_mul(10));
        let probes = world.server.stack.counters().segments_out - before;
        assert!((4..=6).contains(&probes), "{parking:?}: {probes} probes in 10 s");
        assert_eq!(
            world.server.stack.write(accepted, &[7; 500]),
            Ok(100),
            "{parking:?}: no more than the buffer takes"
        );
        world.run(MOMENT);
        assert_eq!(
            world.client.read_all(conn).len(),
            100,
            "{parking:?}: and it arrives"
        );
    }
}

#[test]
fn a_receive_buffer_that_is_changed_moves_the_window_and_takes_nothing_back() {
    let (mut world, conn, accepted) = served(None, CookiePolicy::Never, &[]);
    world.client.stack.write(conn, b"x").unwrap();
    world.run(MOMENT);
    let small = TcpOption::ReceiveBuffer(8_000);
    world.server.stack.set_option(accepted, small).unwrap();
    world.client.stack.write(conn, b"y").unwrap();
    world.run(MOMENT);
    let offered = world.client.stack.stats(conn).unwrap().send_window;
    assert!(offered > 200_000, "what was offered stands: {offered}");
    // Nobody reads: what was promised is taken, and no more is offered.
    while world.client.stack.write(conn, &[1; 10_000]).unwrap_or(0) > 0 {
        world.run(MOMENT);
    }
    world.run(SECOND);
    assert!(
        world.server.stack.readable(accepted) > 200_000,
        "the promise is kept"
    );
    world.server.read_all(accepted);
    world.run(SECOND);
    let offered = world.client.stack.stats(conn).unwrap().send_window;
    assert!(offered <= 8_000, "then the new size counts: {offered}");
}

#[test]
fn a_window_clamp_bounds_the_window_and_not_its_scale() {
    let (mut world, conn, _) = served(None, CookiePolicy::Never, &[TcpOption::WindowClamp(20_000)]);
    world.client.stack.write(conn, b"x").unwrap();
    world.run(MOMENT);
    let offered = world.client.stack.stats(conn).unwrap().send_window;
    assert!((19_000..=20_000).contains(&offered), "{offered}");
}

#[test]
fn each_open_has_its_own_patience() {
    let (mut world, _, _) = served(None, CookiePolicy::Never, &[]);
    // It is there, and does not answer any more.
    world.link.set_down(true);
    let stack = &mut world.client.stack;
    let hasty = changed(stack.default_options(), &[TcpOption::SynRetries(0)]);
    let how = ConnectOptions {
        tcp: Some(hasty),
        ..ConnectOptions::default()
    };
    let remote = "10.0.0.2:80".parse().unwrap();
    stack.connect_with(world.now, remote, &how).unwrap();
    let patient = stack
        .connect_with(world.now, remote, &ConnectOptions::default())
        .unwrap();
    world.run(SECOND.saturating_mul(2));
    assert_eq!(world.client.closed().len(), 1, "the hasty one is over");
    assert!(
        world.client.stack.state(patient).is_some(),
        "the other one goes on"
    );
}

#[test]
fn options_end_with_their_connection() {
    let (mut world, _, accepted) = served(None, CookiePolicy::Never, &[TcpOption::MssMax(600)]);
    let before = world.server.stack.options(accepted).unwrap();
    assert_eq!(before.mss_max, 600, "its own");
    world.server.stack.abort(accepted);
    world.run(MOMENT);
    assert_eq!(
        world.server.stack.set_option(accepted, TcpOption::Cork(true)),
        Err(OptionError::Gone),
        "the handle is stale"
    );
    world
        .server
        .stack
        .listen("10.0.0.2:81".parse().unwrap(), 8)
        .unwrap();
    world.connect("10.0.0.2:81");
    world.run(MOMENT);
    let next = *world.server.opened().last().unwrap();
    assert_eq!(next.index(), accepted.index(), "the same slot");
    let options = world.server.stack.options(next);
    assert_eq!(
        options,
        Some(world.server.stack.default_options()),
        "has the stack's own"
    );
}

#[test]
fn a_connection_from_a_chosen_port_and_a_port_in_use() {
    let (mut world, _, _) = served(None, CookiePolicy::Never, &[]);
    let how = ConnectOptions {
        local_port: Some(4_000),
        ..ConnectOptions::default()
    };
    let remote = "10.0.0.2:80".parse().unwrap();
    let conn = world.client.stack.connect_with(world.now, remote, &how).unwrap();
    assert_eq!(
        world.client.stack.four_tuple(conn).unwrap().local_port,
        4_000,
        "as asked for"
    );
    assert_eq!(
        world.client.stack.connect_with(world.now, remote, &how),
        Err(crore_stack::ConnectError::InUse),
        "it is taken"
    );
    world.run(MOMENT);
    assert_eq!(world.client.closed(), [] as [CloseReason; 0], "it goes on");
}

/// Protects small writes from being held for ever, and from being sent one by one.
#[test]
fn a_corked_connection_gathers_and_lets_go_after_a_moment_or_when_told() {
    for parking in PARKING {
        let (mut world, conn, accepted) = served(parking, CookiePolicy::Never, &[TcpOption::Cork(true)]);
        for _ in 0..10 {
            world.server.stack.write(accepted, &[7; 100]).unwrap();
            world.run(Duration::from_millis(2));
        }
        assert_eq!(world.client.stack.readable(conn), 0, "{parking:?}: held");
        world.server.stack.write(accepted, &[7; 600]).unwrap();
        world.run(Duration::from_millis(2));
        let full = world.client.read_all(conn).len();
        assert!(
            (1_400..1_600).contains(&full),
            "{parking:?}: a full segment goes, {full}"
        );
        world.run(Duration::from_millis(300));
        assert_eq!(
            world.client.read_all(conn).len(),
            1_600 - full,
            "{parking:?}: the rest after 200 ms"
        );
        world.server.stack.write(accepted, b"bye").unwrap();
        world.run(Duration::from_millis(2));
        assert_eq!(world.client.stack.readable(conn), 0, "{parking:?}: held again");
        world
            .server
            .stack
            .set_option(accepted, TcpOption::Cork(false))
            .unwrap();
        world.run(Duration::from_millis(2));
        assert_eq!(world.client.read_all(conn), b"bye", "{parking:?}: let go");
    }
}

//= rfc9293#section-3.9.1.9 (MUST)
#[test]
fn the_dscp_is_passed_to_ip_as_it_is_and_can_be_changed() {
    use std::cell::RefCell;
    use std::rc::Rc;
    // Expedited forwarding, in its place in the byte.
    let (mut world, conn, accepted) = served(None, CookiePolicy::Never, &[TcpOption::Dscp(46 << 2)]);
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let tap = Rc::clone(&bytes);
    world.link.set_tap(Some(Box::new(move |tapped| {
        if tapped.from == crore_nic::sim::End::Right && tapped.frame[12..14] == [0x08, 0x00] {
            tap.borrow_mut().push(tapped.frame[15]);
        }
    })));
    let seen = |world: &mut World| {
        world.client.stack.write(conn, b"?").expect("open");
        world.run(MOMENT);
        world.server.stack.write(accepted, b"!").expect("open");
        world.run(MOMENT);
        bytes.take()
    };
    let first = seen(&mut world);
    assert!(
        !first.is_empty() && first.iter().all(|&byte| byte == 46 << 2),
        "on acknowledgments and data: {first:?}"
    );
    world
        .server
        .stack
        .set_option(accepted, TcpOption::Dscp(8 << 2))
        .expect("it is open");
    let second = seen(&mut world);
    assert!(
        !second.is_empty() && second.iter().all(|&byte| byte == 8 << 2),
        "from then on: {second:?}"
    );
}

#[test]
fn another_congestion_control_and_a_smaller_segment_size_count_from_then_on() {
    for parking in PARKING {
        let (mut world, conn, accepted) = served(parking, CookiePolicy::Never, &[]);
        world.server.stack.write(accepted, &[7; 100_000]).unwrap();
        world.run(MOMENT);
        assert_eq!(world.client.read_all(conn).len(), 100_000);
        let before = world.server.stack.stats(accepted);
        let server = &mut world.server.stack;
        let newreno = TcpOption::Congestion(CongestionKind::NewReno);
        server.set_option(accepted, newreno).unwrap();
        server.set_option(accepted, TcpOption::MssMax(600)).unwrap();
        let options = server.options(accepted).unwrap();
        assert_eq!(
            (options.congestion, options.mss_max),
            (CongestionKind::NewReno, 600)
        );
        if let (None, Some(before), Some(after)) = (parking, before, server.stats(accepted)) {
            assert!(
                before.cwnd - after.cwnd < u32::from(before.mss),
                "the window goes on"
            );
            assert!(after.mss <= 600, "in smaller segments: {}", after.mss);
        }
        let sent = server.counters().segments_out;
        server.write(accepted, &[7; 6_000]).unwrap();
        world.run(MOMENT);
        assert_eq!(world.client.read_all(conn).len(), 6_000, "{parking:?}");
        let segments = world.server.stack.counters().segments_out - sent;
        assert!(segments >= 10, "{parking:?}: {segments} of 600 bytes at most");
    }
}
