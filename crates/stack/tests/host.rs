//! Two hosts on a simulated link: what a stack does as a whole.

mod support;

use crore_base::{DropReason, Duration, MacAddr};
use crore_nic::Nic;
use crore_nic::sim::{LinkConfig, link};
use crore_stack::{CloseReason, ConnId, CookiePolicy, Event, ListenerId, State};
use support::{Host, MOMENT, World};

#[test]
fn a_connection_opens_carries_bytes_both_ways_and_leaves_nothing_behind() {
    for (v6, any, server) in [
        (false, "0.0.0.0:80", "10.0.0.2:80"),
        (true, "[::]:80", "[fd00::2]:80"),
    ] {
        let mut world = World::new(v6, |c| c.tcp.time_wait = Duration::from_secs(1));
        world.server.stack.listen(any.parse().unwrap(), 16).unwrap();
        let conn = world.connect(server);
        world.run(MOMENT);
        assert_eq!(world.client.opened(), [conn], "established");
        let accepted = world.server.opened()[0];
        assert_eq!(
            world.client.stack.write(conn, b"hello"),
            Ok(5),
            "room for five bytes"
        );
        world.run(MOMENT);
        assert_eq!(world.server.read_all(accepted), b"hello", "there");
        assert_eq!(
            world.server.stack.write(accepted, b"good day"),
            Ok(8),
            "room for eight"
        );
        world.run(MOMENT);
        assert_eq!(world.client.read_all(conn), b"good day", "and back");
        world.client.stack.close(world.now, conn);
        world.run(MOMENT);
        assert!(
            world
                .server
                .events
                .contains(&Event::PeerClosed { conn: accepted }),
            "told of the end"
        );
        world.server.stack.close(world.now, accepted);
        world.run(Duration::from_secs(100));
        assert_eq!(
            world.client.stack.connections() + world.server.stack.connections(),
            0,
            "no slot in use"
        );
        assert_eq!(world.server.stack.received_held(), 0, "no byte held");
        let drops: Vec<_> = world.server.stack.counters().drops.nonzero().collect();
        assert!(drops.is_empty(), "nothing dropped on a clean link: {drops:?}");
    }
}

#[test]
fn a_closed_port_refuses_at_once() {
    let mut world = World::new(false, |_| {});
    world.connect("10.0.0.2:81");
    world.run(MOMENT);
    assert_eq!(world.client.closed(), [CloseReason::Refused], "refused");
    assert_eq!(world.client.stack.connections(), 0, "the slot is free again");
    assert_eq!(
        world
            .server
            .stack
            .counters()
            .drops
            .get(DropReason::NoSuchConnection),
        1,
        "counted"
    );
}

#[test]
fn a_neighbour_that_does_not_answer_ends_the_open() {
    let mut world = World::new(false, |_| {});
    world.connect("10.0.0.77:80");
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.client.closed(),
        [CloseReason::Unreachable],
        "EHOSTUNREACH's meaning"
    );
    assert_eq!(world.client.stack.connections(), 0, "the slot is free again");
}

#[test]
fn a_full_backlog_drops_the_syn_and_goes_on_when_there_is_room() {
    let mut world = World::new(false, |c| c.syn_cookies = CookiePolicy::Never);
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 2)
        .unwrap();
    for _ in 0..10 {
        world.connect("10.0.0.2:80");
    }
    world.run(Duration::from_secs(60));
    assert_eq!(
        world.client.opened().len(),
        10,
        "every retransmitted SYN finds room in the end"
    );
    assert!(
        world.server.stack.counters().drops.get(DropReason::BacklogFull) >= 8,
        "counted"
    );
}

#[test]
fn all_slots_taken_refuses_new_connections_and_keeps_the_old() {
    let mut world = World::new(false, |c| c.max_connections = 4);
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 16)
        .unwrap();
    for _ in 0..6 {
        world.connect("10.0.0.2:80");
    }
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 4, "as many as there are slots");
    assert_eq!(
        world
            .server
            .stack
            .counters()
            .drops
            .get(DropReason::ConnectionsExhausted),
        2,
        "counted"
    );
}

#[test]
fn a_dry_pool_loses_nothing_and_goes_on_when_it_refills() {
    let mut world = World::new(false, |_| {});
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 16)
        .unwrap();
    let conn = world.connect("10.0.0.2:80");
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    let data: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    world.link.set_dry(crore_nic::sim::End::Left, true);
    assert_eq!(
        world.client.stack.write(conn, &data),
        Ok(data.len()),
        "the send buffer takes it"
    );
    for _ in 0..20 {
        world.now += Duration::from_millis(1);
        world.client.turn(world.now);
        world.server.turn(world.now);
    }
    assert!(world.client.stack.counters().tx_dry >= 20, "counted each time");
    world.link.set_dry(crore_nic::sim::End::Left, false);
    let mut got = Vec::new();
    for _ in 0..100 {
        world.run(Duration::from_millis(1));
        got.extend(world.server.read_all(accepted));
    }
    assert_eq!(got, data, "every byte, in order");
    let retransmits = world.client.stack.stats(conn).map(|stats| stats.retransmits);
    assert_eq!(
        retransmits,
        Some(0),
        "nothing was lost, so nothing was sent twice"
    );
}

#[test]
fn a_closed_handle_is_recognised_even_when_its_slot_is_reused() {
    let mut world = World::new(false, |_| {});
    world
        .server
        .stack
        .listen("10.0.0.2:80".parse().unwrap(), 16)
        .unwrap();
    let old = world.connect("10.0.0.2:80");
    world.run(MOMENT);
    world.client.stack.abort(old);
    world.run(MOMENT);
    assert_eq!(
        world.server.closed(),
        [CloseReason::ResetByPeer],
        "the peer hears of it"
    );
    let new = world.connect("10.0.0.2:80");
    assert_eq!(new.index(), old.index(), "the slot is reused");
    assert!(
        world.client.stack.write(old, b"x").is_err(),
        "the old handle is dead"
    );
    assert_ne!(old, new, "and not the new one");
}

#[test]
fn mac_addresses_of_others_are_not_ours() {
    let mut world = World::new(false, |_| {});
    world.run(MOMENT);
    let mut other = Host::new(
        {
            let (a, _) = link(LinkConfig {
                mac: [MacAddr([2, 9, 9, 9, 9, 9]); 2],
                ..LinkConfig::default()
            });
            a
        },
        &["10.0.0.2"],
        3,
        |_| {},
    );
    other.stack.listen("10.0.0.2:80".parse().unwrap(), 1).unwrap();
    world.connect("10.0.0.2:80");
    world.run(MOMENT);
    let mut frames = Vec::new();
    world.client.stack.poll_transmit(world.now, &mut world.client.nic);
    world.server.nic.rx_burst(world.now + MOMENT, &mut frames);
    let n = frames.len() as u64;
    other.stack.on_burst(world.now, &mut frames);
    assert_eq!(
        other.stack.counters().drops.get(DropReason::NotForThisStation),
        n,
        "left alone"
    );
}

/// A world in which the server keeps a connection in TIME-WAIT, and its client
/// is gone; the client's last words are still unread.
fn waiting_world(last_words: &[u8]) -> (World, ConnId, ListenerId) {
    let mut world = World::new(false, |_| {});
    let server = "10.0.0.2:80".parse().unwrap();
    let listener = world.server.stack.listen(server, 16).unwrap();
    let from = "10.0.0.1:5000".parse().unwrap();
    let conn = world.client.stack.connect_from(world.now, from, server).unwrap();
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    world.server.stack.set_user(accepted, 7);
    world.server.stack.shutdown_write(accepted);
    world.run(MOMENT);
    world.client.stack.write(conn, last_words).unwrap();
    world.client.stack.close(world.now, conn);
    world.run(MOMENT);
    assert_eq!(world.client.stack.connections(), 0, "the client's is gone");
    assert_eq!(
        world.server.stack.state(accepted),
        Some(State::TimeWait),
        "the server's waits"
    );
    world.server.events.clear();
    world.client.stack.connect_from(world.now, from, server).unwrap();
    (world, accepted, listener)
}

#[test]
fn a_connection_that_a_newer_one_replaces_is_told_closed_first() {
    let (mut world, old, listener) = waiting_world(b"");
    world.run(MOMENT);
    let new = world.server.opened()[0];
    let expected = [
        Event::Closed {
            conn: old,
            reason: CloseReason::Finished,
            user: 7,
        },
        Event::Opened {
            conn: new,
            listener: Some(listener),
        },
    ];
    assert_eq!(world.server.events, expected, "the end, then the beginning");
    assert_ne!(old, new, "the old handle is dead");
}

#[test]
fn what_is_unread_keeps_a_connection_from_being_replaced() {
    let (mut world, old, _) = waiting_world(b"last words");
    world.run(MOMENT);
    assert_eq!(world.server.closed(), [], "it waits on");
    assert_eq!(world.server.read_all(old), b"last words", "for its reader");
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.server.closed(),
        [CloseReason::Finished],
        "then it makes room"
    );
    assert_eq!(world.server.opened().len(), 1, "for the client's second try");
}

#[test]
fn a_syn_does_not_end_a_wait_where_nobody_listens() {
    let (mut world, old, listener) = waiting_world(b"");
    world.server.stack.unlisten(listener);
    world.run(MOMENT);
    assert_eq!(world.server.events, [], "nothing happened");
    assert_eq!(
        world.server.stack.state(old),
        Some(State::TimeWait),
        "it waits on"
    );
}
