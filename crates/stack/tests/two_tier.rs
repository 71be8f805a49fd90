//! Parked and active connections, handshakes and waits, under plenty and under want.

mod support;

use crore_base::{DropReason, Duration, FourTuple};
use crore_nic::{Nic, TxMeta};
use crore_stack::{CloseReason, ConnId, Event, Read, SocketError, Stack, StackConfig, State, TcpOption};
use crore_wire::{Flags, IpEmit, Link, Packet, Segment, TxChecksum, emit_tcp, tcp_headers_len};
use support::{Host, MOMENT, Stranger, World, answer, syn};

const ANY: &str = "0.0.0.0:80";
const SERVER: &str = "10.0.0.2:80";

/// A world whose server is set by `tune`, with `count` connections established.
fn crowd(count: usize, tune: impl FnOnce(&mut StackConfig)) -> (World, Vec<ConnId>, Vec<ConnId>) {
    let mut world = World::new(false, tune);
    world.server.stack.listen(ANY.parse().unwrap(), 64).unwrap();
    let clients: Vec<_> = (0..count).map(|_| world.connect(SERVER)).collect();
    world.run(MOMENT);
    let accepted = world.server.opened();
    assert_eq!(accepted.len(), count, "all are established");
    (world, clients, accepted)
}

fn at_once(config: &mut StackConfig) {
    config.park_after = Some(Duration::ZERO);
}

fn echo(host: &mut Host) {
    let readable: Vec<_> = host.events.drain(..).collect();
    for event in readable {
        if let Event::Readable { conn } | Event::Writable { conn } = event {
            let bytes = host.read_all(conn);
            assert_eq!(
                host.stack.write(conn, &bytes),
                Ok(bytes.len()),
                "it was just active"
            );
        }
    }
}

#[test]
fn an_idle_connection_is_parked_and_goes_on_as_if_it_had_not_been() {
    for after in [Duration::ZERO, Duration::from_millis(500)] {
        let (mut world, clients, accepted) = crowd(3, |c| c.park_after = Some(after));
        world.run(after.saturating_mul(2) + MOMENT);
        assert_eq!(world.server.stack.active_connections(), 0, "nothing is going on");
        assert_eq!(world.server.stack.connections(), 3, "they are there all the same");
        assert_eq!(
            world.server.stack.state(accepted[0]),
            Some(State::Established),
            "as they were"
        );
        assert_eq!(
            world.server.stack.read(accepted[0]),
            Ok(Read::WouldBlock),
            "nothing to read"
        );
        let room = world.server.stack.write_capacity(accepted[0]);
        assert!(room > 0, "a parked connection can be written");
        for (i, &conn) in clients.iter().enumerate() {
            world.client.stack.write(conn, &[i as u8; 100]).unwrap();
        }
        world.run(MOMENT);
        echo(&mut world.server);
        world.run(MOMENT + after.saturating_mul(2));
        for (i, &conn) in clients.iter().enumerate() {
            assert_eq!(world.client.read_all(conn), [i as u8; 100], "each its own");
        }
        assert_eq!(world.server.stack.active_connections(), 0, "and parked again");
        let stats = world.server.stack.stats(accepted[0]).expect("it is there");
        assert!(stats.srtt.is_some(), "the round-trip time is kept");
        assert!(
            stats.parked && stats.timestamps && stats.sack,
            "and what was agreed on"
        );
        assert_eq!((stats.state, stats.path_mtu), (State::Established, 1500));
        assert_eq!(stats.congestion.name(), "cubic");
        assert_eq!(
            world.server.stack.active_connections(),
            0,
            "nobody was woken for that"
        );
    }
}

#[test]
fn parked_connections_of_ipv6_keep_their_two_ends() {
    let mut world = World::new(true, at_once);
    world.server.stack.listen("[::]:80".parse().unwrap(), 16).unwrap();
    let conn = world.connect("[fd00::2]:80");
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    assert_eq!(world.server.stack.active_connections(), 0, "parked");
    let tuple = world.server.stack.four_tuple(accepted).expect("it is there");
    assert_eq!(tuple.local_addr, "fd00::2".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(tuple.remote_addr, "fd00::1".parse::<std::net::IpAddr>().unwrap());
    world.client.stack.write(conn, b"six").unwrap();
    world.run(MOMENT);
    assert_eq!(world.server.read_all(accepted), b"six", "found again");
}

/// Protects against a pool pinned by connections that only wait to be told apart.
#[test]
fn a_small_pool_serves_many_connections_that_are_idle_in_turn() {
    let (mut world, clients, _) = crowd(40, |c| {
        c.max_active = 4;
        c.park_after = None;
    });
    for round in 0..3u8 {
        for &conn in &clients {
            world.client.stack.write(conn, &[round; 10]).unwrap();
            world.run(Duration::from_millis(2));
            echo(&mut world.server);
            world.run(Duration::from_millis(2));
            assert_eq!(world.client.read_all(conn), [round; 10], "answered");
        }
    }
    assert!(world.server.stack.active_connections() <= 4, "within the pool");
    assert!(world.server.stack.counters().woken > 100, "by parking and waking");
    assert_eq!(
        world.server.stack.counters().pool_exhausted,
        0,
        "nothing had to wait"
    );
}

#[test]
fn what_finds_no_place_in_the_pool_is_done_when_there_is_one() {
    let (mut world, clients, accepted) = crowd(6, |c| {
        c.max_active = 2;
        c.park_after = None;
    });
    // Two that are never read keep the pool to themselves.
    for &conn in &clients[..2] {
        world.client.stack.write(conn, b"unread").unwrap();
    }
    world.run(MOMENT);
    let tuple = |host: &Host, conn| host.stack.four_tuple(conn).unwrap();
    let peer_of = |world: &World, client| {
        let port = tuple(&world.client, client).local_port;
        *accepted
            .iter()
            .find(|&&c| tuple(&world.server, c).remote_port == port)
            .unwrap()
    };
    let last = peer_of(&world, clients[5]);
    let (held, writer, closer, aborted) = (
        [peer_of(&world, clients[0]), peer_of(&world, clients[1])],
        peer_of(&world, clients[2]),
        peer_of(&world, clients[3]),
        peer_of(&world, clients[4]),
    );
    world.server.events.clear();
    assert_eq!(
        world.server.stack.write(writer, b"later"),
        Ok(0),
        "no place: nothing fits"
    );
    world.server.stack.close(world.now, closer);
    world.server.stack.abort(aborted);
    assert_eq!(world.server.stack.state(closer), None, "given back at once");
    world.run(MOMENT);
    assert!(
        world.server.stack.counters().pool_exhausted > 0,
        "that is counted"
    );
    world.client.stack.write(clients[5], b"dropped for now").unwrap();
    world.run(MOMENT);
    assert!(
        world.server.stack.counters().drops.get(DropReason::PoolExhausted) > 0,
        "and so is the packet"
    );
    for conn in held {
        assert_eq!(world.server.read_all(conn), b"unread", "they go on unharmed");
    }
    world.run(Duration::from_secs(3));
    assert!(
        world.server.events.contains(&Event::Writable { conn: writer }),
        "told that there is room"
    );
    assert_eq!(world.server.stack.write(writer, b"later"), Ok(5), "there is");
    world.run(MOMENT);
    assert_eq!(world.client.read_all(clients[2]), b"later", "it came");
    assert!(
        world
            .client
            .events
            .contains(&Event::PeerClosed { conn: clients[3] }),
        "the close was carried out"
    );
    assert_eq!(world.client.closed(), [CloseReason::ResetByPeer], "and the abort");
    assert_eq!(
        world.server.read_all(last),
        b"dropped for now",
        "sent again, and taken"
    );
}

#[test]
fn a_crowd_that_is_aborted_with_a_small_pool_leaves_nothing_behind() {
    let (mut world, clients, _) = crowd(40, |c| c.max_active = 2);
    world.server.stack.abort_all();
    world.run(MOMENT);
    assert_eq!(world.server.stack.connections(), 0, "all are gone");
    assert_eq!(world.client.closed().len(), clients.len(), "each peer was told");
}

#[test]
fn a_handshake_takes_no_place_in_the_pool_and_ends_by_itself() {
    let mut world = World::new(false, |c| {
        c.tcp.syn_retries = 2;
        c.tcp.rto_initial = Duration::from_millis(100);
    });
    world.server.stack.listen(ANY.parse().unwrap(), 64).unwrap();
    for _ in 0..10 {
        world.connect(SERVER);
    }
    // The client's SYNs get through; it hears nothing of the answers.
    world.client.turn(world.now);
    world.run(Duration::from_micros(10));
    world.client.turn(world.now);
    world.link.set_down(true);
    world.run(Duration::from_millis(1));
    let half_open = world.server.stack.connections();
    assert!(world.server.stack.active_connections() == 0, "no place is taken");
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.server.stack.connections(),
        0,
        "nobody went on: nothing is left"
    );
    assert_eq!(
        world
            .server
            .stack
            .counters()
            .drops
            .get(DropReason::HandshakeTimedOut),
        half_open as u64,
        "and it is counted"
    );
}

#[test]
fn a_wait_is_cut_short_rather_than_keep_a_new_connection_out() {
    let (mut world, _, accepted) = crowd(8, |c| {
        c.max_connections = 8;
        c.tcp.time_wait = Duration::from_secs(60);
    });
    for &conn in &accepted[..4] {
        world.server.stack.close(world.now, conn);
    }
    world.run(MOMENT);
    let closing: Vec<_> = world
        .client
        .events
        .iter()
        .filter_map(|e| match e {
            Event::PeerClosed { conn } => Some(*conn),
            _ => None,
        })
        .collect();
    for conn in closing {
        world.client.stack.close(world.now, conn);
    }
    world.run(MOMENT);
    assert_eq!(world.server.stack.connections(), 8, "four wait, four live");
    for _ in 0..4 {
        world.connect(SERVER);
    }
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 12, "four new ones came in");
    assert_eq!(
        world.server.stack.counters().time_wait_recycled,
        4,
        "for four waits"
    );
    world.connect(SERVER);
    world.run(MOMENT);
    assert_eq!(
        world.server.opened().len(),
        12,
        "those that live are not given up"
    );
}

#[test]
fn an_idle_connection_is_told_of_again_and_again() {
    for after in [Some(Duration::ZERO), None] {
        let (mut world, clients, accepted) = crowd(2, |c| {
            c.idle_timeout = Duration::from_secs(2);
            c.park_after = after;
        });
        let told = |world: &mut World, conn| {
            let count = world
                .server
                .events
                .iter()
                .filter(|&&e| e == Event::Idle { conn })
                .count();
            world.server.events.clear();
            count
        };
        world.run(Duration::from_secs(1));
        let busy = world.server.stack.four_tuple(accepted[0]).unwrap().remote_port
            == world.client.stack.four_tuple(clients[0]).unwrap().local_port;
        let silent = accepted[usize::from(busy)];
        world.client.stack.write(clients[0], b"busy").unwrap();
        world.run(Duration::from_millis(1800));
        assert_eq!(told(&mut world, silent), 1, "parking {after:?}: silent for 2 s");
        world.run(Duration::from_millis(2600));
        assert_eq!(told(&mut world, silent), 1, "parking {after:?}: and for 2 s more");
    }
}

#[test]
fn connections_that_their_application_forgets_are_told_apart_from_those_at_work() {
    let (mut world, clients, accepted) = crowd(5, |_| {});
    for &conn in &clients[..3] {
        world.client.stack.shutdown_write(conn);
    }
    let port = world.client.stack.four_tuple(clients[0]).unwrap().local_port;
    let same = |c: &&ConnId| world.server.stack.four_tuple(**c).unwrap().remote_port == port;
    let at_work = *accepted.iter().find(same).unwrap();
    for _ in 0..30 {
        assert_eq!(world.server.stack.write(at_work, b"more"), Ok(4), "room");
        world.run(Duration::from_secs(1));
    }
    let counters = world.server.stack.counters();
    assert_eq!(counters.close_wait, 3, "three wait");
    assert_eq!(counters.close_wait_stuck, 2, "on two of them nothing moves");
    for &conn in &accepted {
        world.server.stack.close(world.now, conn);
    }
    world.connect(SERVER);
    world.run(Duration::from_secs(30));
    let counters = world.server.stack.counters();
    assert_eq!(
        (
            counters.close_wait,
            counters.close_wait_stuck,
            counters.close_wait_peak
        ),
        (0, 0, 3),
        "all were closed"
    );
}

#[test]
fn a_connection_that_nobody_closes_is_counted_and_ended_where_that_is_wanted() {
    let (mut world, clients, _) = crowd(2, |c| {
        c.close_wait_limit = Duration::from_secs(5);
        c.park_after = Some(Duration::ZERO);
    });
    world.client.stack.shutdown_write(clients[0]);
    world.run(Duration::from_secs(3));
    assert_eq!(
        world.server.stack.counters().close_wait,
        1,
        "the operator can see it"
    );
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.server.stack.counters().close_wait_ended,
        1,
        "its time is over"
    );
    assert_eq!(
        world.server.closed(),
        [CloseReason::Aborted],
        "the application is told"
    );
    assert_eq!(world.client.closed(), [CloseReason::ResetByPeer], "and the peer");
    assert_eq!(world.server.stack.connections(), 1, "the other one lives");
}

/// What came out of order is dropped when a FIN without data says that its turn
/// will not come; the budget has to be given back with it. Found by fuzzing.
#[test]
fn data_beyond_a_fin_is_given_back_to_the_budget() {
    let (mut world, clients, accepted) = crowd(1, |c| c.park_after = Some(Duration::from_millis(500)));
    let Some(FourTuple {
        local_addr,
        local_port,
        remote_addr,
        remote_port,
    }) = world.client.stack.four_tuple(clients[0])
    else {
        panic!("it is open");
    };
    // A segment that the client sends tells what the next one has to say.
    world.client.stack.write(clients[0], b"x").unwrap();
    world.client.turn(world.now);
    let at = world.server.nic.next_arrival().expect("it was sent");
    world.now = at;
    let mut frames = Vec::new();
    world.server.nic.rx_burst(at, &mut frames);
    let parsed = crore_wire::parse(&frames[0].data, frames[0].checksum).expect("it is well formed");
    let Packet::Tcp { segment: sent, .. } = parsed.packet else {
        panic!("it is TCP");
    };
    let link = Link {
        src: parsed.src_mac,
        dst: parsed.dst_mac,
    };
    let mut send = |seq, flags, payload: &[u8]| {
        let segment = Segment {
            seq,
            flags,
            src_port: local_port,
            dst_port: remote_port,
            ..sent
        };
        let ip = IpEmit {
            src: local_addr,
            dst: remote_addr,
            hop_limit: 64,
            ecn: 0,
            ident: 0,
        };
        let headers = tcp_headers_len(&ip, &segment);
        let buf = world
            .client
            .nic
            .reserve(headers + payload.len())
            .expect("there is room");
        buf[headers..headers + payload.len()].copy_from_slice(payload);
        let len = emit_tcp(buf, &link, &ip, &segment, payload.len(), TxChecksum::Software);
        world.client.nic.commit(len, TxMeta::default());
        world.client.nic.flush(at);
    };
    send(sent.seq + 10, Flags::ACK, &[7; 100]);
    send(sent.seq, Flags::ACK | Flags::FIN, &[]);
    let end = at + Duration::from_secs(2);
    while world.now < end {
        world.server.turn(world.now);
        world.now += Duration::from_millis(10);
    }
    assert_eq!(
        world.server.stack.state(accepted[0]),
        Some(State::CloseWait),
        "the FIN counts"
    );
    assert_eq!(world.server.stack.received_held(), 0, "nothing is held");
    assert_eq!(world.server.stack.active_connections(), 0, "so it was parked");
}

/// How often the server was told that `conn` is silent, since it was last asked.
fn told_idle(world: &mut World, conn: ConnId) -> usize {
    let idle = Event::Idle { conn };
    let count = world.server.events.iter().filter(|&&e| e == idle).count();
    world.server.events.clear();
    count
}

const PARKING: [Option<Duration>; 3] = [Some(Duration::ZERO), Some(Duration::from_millis(500)), None];

/// Protects the idle time-out from a peer that is there and says nothing.
#[test]
fn a_connection_is_silent_though_its_peer_answers_keepalives() {
    for after in PARKING {
        let (mut world, _, accepted) = crowd(1, |c| {
            c.idle_timeout = Duration::from_secs(7);
            c.tcp.keepalive = crore_tcp::Keepalive::every(Duration::from_secs(2));
            c.park_after = after;
        });
        let before = world.server.stack.counters().segments_out;
        world.run(Duration::from_secs(9));
        assert_eq!(
            told_idle(&mut world, accepted[0]),
            1,
            "parking {after:?}: silent for 7 s"
        );
        world.run(Duration::from_secs(7));
        assert_eq!(
            told_idle(&mut world, accepted[0]),
            1,
            "parking {after:?}: and once more"
        );
        let probes = world.server.stack.counters().segments_out - before;
        assert!(
            (6..=8).contains(&probes),
            "parking {after:?}: {probes} probes in 16 s"
        );
    }
}

/// Protects the other time-outs of a silence from the telling of it.
#[test]
fn being_told_of_a_silence_puts_off_neither_keepalives_nor_the_limit_of_close_wait() {
    for after in PARKING {
        let (mut world, clients, _) = crowd(2, |c| {
            c.idle_timeout = Duration::from_secs(2);
            c.tcp.keepalive = crore_tcp::Keepalive::every(Duration::from_secs(5));
            c.close_wait_limit = Duration::from_secs(7);
            c.park_after = after;
        });
        let before = world.server.stack.counters().segments_out;
        world.run(Duration::from_secs(4));
        let sent = world.server.stack.counters().segments_out - before;
        assert_eq!(sent, 0, "parking {after:?}: not before their time");
        world.run(Duration::from_secs(3));
        let probes = world.server.stack.counters().segments_out - before;
        assert_eq!(probes, 2, "parking {after:?}: a keepalive of each");
        world.client.stack.shutdown_write(clients[0]);
        world.run(Duration::from_secs(5));
        assert_eq!(
            world.server.stack.counters().close_wait_ended,
            0,
            "parking {after:?}: it counts from the peer's FIN"
        );
        world.run(Duration::from_secs(4));
        assert_eq!(
            world.server.stack.counters().close_wait_ended,
            1,
            "parking {after:?}: 7 s are over"
        );
    }
}

//= rfc7323#section-5.5 (MUST)
/// Protects a connection that is silent for so long that the peer's timestamps
/// seem to have gone back (24.8 days), or our own have come round (49.7).
#[test]
fn a_connection_that_was_parked_for_weeks_goes_on() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for (days, idle) in [(25u64, 0u64), (25, 12), (49, 0), (50, 12), (63, 0)] {
        let (mut world, clients, accepted) = crowd(1, |c| {
            at_once(c);
            c.idle_timeout = DAY.saturating_mul(idle).div(24);
        });
        world.client.stack.write(clients[0], b"before").unwrap();
        world.run(MOMENT);
        assert_eq!(world.server.read_all(accepted[0]), b"before");
        for _ in 0..days {
            world.run(DAY);
        }
        assert_eq!(world.server.stack.active_connections(), 0, "parked all the time");
        let told = told_idle(&mut world, accepted[0]) as u64;
        assert_eq!(
            told,
            (days * 24).checked_div(idle).unwrap_or(0),
            "{days} days: told"
        );
        for _ in 0..2 {
            world.client.stack.write(clients[0], b"after").unwrap();
            world.run(Duration::from_secs(3));
            assert_eq!(world.server.read_all(accepted[0]), b"after", "{days} days: heard");
            world.server.stack.write(accepted[0], b"and").unwrap();
            world.run(Duration::from_secs(3));
            assert_eq!(world.client.read_all(clients[0]), b"and", "{days} days: answered");
        }
    }
}

/// The server's end of what the client calls `client`.
fn peer_of(world: &World, accepted: &[ConnId], client: ConnId) -> ConnId {
    let tuple = |host: &Host, conn| host.stack.four_tuple(conn).unwrap();
    let port = tuple(&world.client, client).local_port;
    let is_it = |&&conn: &&ConnId| tuple(&world.server, conn).remote_port == port;
    *accepted.iter().find(is_it).expect("both ends are there")
}

/// Fills a pool of two with connections that have something to read.
fn fill_the_pool(world: &mut World, clients: &[ConnId]) {
    for &conn in &clients[..2] {
        world.client.stack.write(conn, b"unread").unwrap();
    }
    world.run(MOMENT);
    assert_eq!(world.server.stack.active_connections(), 2, "no place is left");
}

/// Lets those that fill the pool go.
fn empty_the_pool(world: &mut World, accepted: &[ConnId], clients: &[ConnId]) {
    for &client in &clients[..2] {
        let conn = peer_of(world, accepted, client);
        assert_eq!(world.server.read_all(conn), b"unread", "they go on unharmed");
    }
    world.run(Duration::from_secs(3));
}

/// Protects RFC 9293 section 3.6's reset from being forgotten by parking, and by
/// a close that had to wait for its place.
#[test]
fn data_for_a_connection_that_was_given_back_is_refused_though_it_is_parked() {
    for waits_for_a_place in [false, true] {
        let (mut world, clients, accepted) = crowd(3, |c| {
            c.max_active = 2;
            at_once(c);
        });
        let conn = peer_of(&world, &accepted, clients[2]);
        if waits_for_a_place {
            fill_the_pool(&mut world, &clients);
        }
        world.server.stack.close(world.now, conn);
        if waits_for_a_place {
            world.run(MOMENT);
            assert!(
                world
                    .client
                    .events
                    .iter()
                    .all(|e| !matches!(e, Event::PeerClosed { .. })),
                "not yet"
            );
            empty_the_pool(&mut world, &accepted, &clients);
        }
        world.run(MOMENT);
        assert!(
            world
                .client
                .events
                .contains(&Event::PeerClosed { conn: clients[2] }),
            "closed"
        );
        assert_eq!(world.server.stack.active_connections(), 0, "parked in FIN-WAIT-2");
        world.client.stack.write(clients[2], b"too late").unwrap();
        world.run(MOMENT);
        assert_eq!(
            world.client.closed(),
            [CloseReason::ResetByPeer],
            "nobody will read it"
        );
        assert_eq!(world.server.stack.connections(), 2, "it is gone");
    }
}

/// Protects a half-close that had to wait from being lost, and from what is tried after it.
#[test]
fn a_shutdown_that_finds_no_place_in_the_pool_is_carried_out_later() {
    let (mut world, clients, accepted) = crowd(3, |c| {
        c.max_active = 2;
        at_once(c);
    });
    let conn = peer_of(&world, &accepted, clients[2]);
    fill_the_pool(&mut world, &clients);
    world.server.stack.shutdown_write(conn);
    assert_eq!(world.server.stack.write(conn, b"x"), Ok(0), "nothing fits");
    empty_the_pool(&mut world, &accepted, &clients);
    assert!(
        world
            .client
            .events
            .contains(&Event::PeerClosed { conn: clients[2] }),
        "our side has finished"
    );
    world.client.stack.write(clients[2], b"answer").unwrap();
    world.run(MOMENT);
    assert_eq!(world.server.read_all(conn), b"answer", "the other one has not");
}

/// Protects a switch that is turned while there is no place, and the pool from being woken for it.
#[test]
fn nodelay_is_set_without_waking() {
    let (mut world, clients, accepted) = crowd(3, |c| {
        c.max_active = 2;
        c.tcp.nodelay = false;
        at_once(c);
    });
    let conn = peer_of(&world, &accepted, clients[2]);
    let woken = world.server.stack.counters().woken;
    world.server.stack.set_nodelay(conn, true);
    assert_eq!(world.server.stack.counters().woken, woken, "it sleeps on");
    // Two small writes, nothing acknowledged between them.
    world.run(MOMENT);
    let before = world.link.counters(crore_nic::sim::End::Right).sent;
    for _ in 0..2 {
        world.server.stack.write(conn, b"x").unwrap();
        world.server.turn(world.now);
    }
    let sent = world.link.counters(crore_nic::sim::End::Right).sent - before;
    assert_eq!(sent, 2, "each at once");
}

/// Protects a peer that is alive from being probed, and given up, for all the
/// time that it was parked.
#[test]
fn a_woken_connection_is_probed_only_when_its_time_has_come() {
    let (mut world, _, accepted) = crowd(1, |c| {
        c.tcp.keepalive = crore_tcp::Keepalive::every(Duration::from_secs(2));
        c.park_after = Some(Duration::from_millis(500));
    });
    world.run(Duration::from_millis(20_800));
    assert_eq!(world.server.stack.active_connections(), 0, "parked");
    let before = world.server.stack.counters().segments_out;
    world.server.stack.write(accepted[0], b"").unwrap();
    assert_eq!(world.server.stack.active_connections(), 1, "woken");
    world.run(Duration::from_millis(400));
    let probes = world.server.stack.counters().segments_out - before;
    assert_eq!(probes, 0, "it was heard a second ago");
}

/// Protects a small pool from being kept full by those that were busy a moment ago.
#[test]
fn a_pressed_pool_parks_what_is_idle_at_once() {
    let (mut world, clients, _) = crowd(8, |c| {
        c.max_active = 8;
        c.park_after = Some(Duration::from_secs(3600));
    });
    for &conn in &clients {
        world.client.stack.write(conn, b"ping").unwrap();
    }
    world.run(Duration::from_millis(2));
    echo(&mut world.server);
    world.run(MOMENT);
    for &conn in &clients {
        assert_eq!(world.client.read_all(conn), b"ping", "answered");
    }
    let active = world.server.stack.active_connections();
    assert!((1..=6).contains(&active), "{active} of 8 places are kept");
}

/// Protects the totals from what is forgotten when a connection is parked.
#[test]
fn parked_connections_stay_counted() {
    let (mut world, clients, accepted) = crowd(3, at_once);
    assert_eq!(
        world.server.stack.counters().accepted,
        3,
        "though none was ever active"
    );
    world.link.set_down(true);
    world.server.stack.write(accepted[0], b"lost at first").unwrap();
    world.run(Duration::from_millis(100));
    world.link.set_down(false);
    world.run(Duration::from_secs(5));
    assert_eq!(world.server.stack.active_connections(), 0, "parked again");
    let came: Vec<_> = clients.iter().map(|&c| world.client.read_all(c)).collect();
    assert!(came.contains(&b"lost at first".to_vec()), "sent again");
    assert!(world.server.stack.counters().retransmits > 0, "which is counted");
}

/// Protects the records from peers that never finish: whoever has given a
/// connection back waits for them only so long, parked or not.
#[test]
fn a_peer_that_does_not_finish_is_waited_for_only_so_long() {
    let (mut world, clients, accepted) = crowd(2, |c| {
        c.tcp.fin_wait_2 = Duration::from_secs(8);
        at_once(c);
    });
    let [given_back, half_closed] = [clients[0], clients[1]].map(|c| peer_of(&world, &accepted, c));
    world.server.stack.close(world.now, given_back);
    world.server.stack.shutdown_write(half_closed);
    world.run(Duration::from_secs(7));
    assert_eq!(world.server.stack.active_connections(), 0, "both are parked");
    assert_eq!(world.server.stack.connections(), 2, "FIN-WAIT-2");
    world.run(Duration::from_secs(4));
    assert_eq!(
        world.server.stack.connections(),
        1,
        "nobody waits for it any more"
    );
    world.run(Duration::from_secs(60));
    assert_eq!(
        world.server.stack.state(half_closed),
        Some(State::FinWait2),
        "the application still does for the other"
    );
}

/// Protects an application that waits for the end of what it has closed.
#[test]
fn a_close_with_time_that_finds_no_place_in_the_pool_is_told_at_once() {
    let (mut world, clients, accepted) = crowd(3, |c| {
        c.max_active = 2;
        at_once(c);
    });
    let conn = peer_of(&world, &accepted, clients[2]);
    let server = &mut world.server.stack;
    server.set_user(conn, 9);
    let linger = TcpOption::Linger(Some(Duration::from_secs(10)));
    server.set_option(conn, linger).unwrap();
    fill_the_pool(&mut world, &clients);
    world.server.events.clear();
    world.server.stack.close(world.now, conn);
    world.run(MOMENT);
    let end = Event::Closed {
        conn,
        reason: CloseReason::Finished,
        user: 9,
    };
    assert_eq!(world.server.events, [end], "nothing was left to be brought");
    empty_the_pool(&mut world, &accepted, &clients);
    let told = Event::PeerClosed { conn: clients[2] };
    assert!(world.client.events.contains(&told), "but the FIN, by and by");
}

#[test]
fn a_handshake_that_ends_with_data_waits_for_a_place_in_the_pool() {
    let (mut world, clients, accepted) = crowd(2, |c| {
        c.max_active = 2;
        at_once(c);
    });
    fill_the_pool(&mut world, &clients);
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 9);
    stranger.send(world.now, 9, &syn(4_000, 1_000), b"");
    world.run(Duration::from_millis(1));
    let syn_ack = stranger.seen().pop().expect("answered");
    let last = answer(&syn_ack, Flags::ACK);
    stranger.send(world.now, 9, &last, b"at once");
    world.run(Duration::from_millis(1));
    let exhausted = world.server.stack.counters().drops.get(DropReason::PoolExhausted);
    assert_eq!(exhausted, 1, "counted");
    assert_eq!(world.server.opened().len(), 2, "not yet");
    for &client in &clients {
        let conn = peer_of(&world, &accepted, client);
        assert_eq!(world.server.read_all(conn), b"unread");
    }
    world.run(Duration::from_millis(10));
    stranger.send(world.now, 9, &last, b"at once");
    world.run(Duration::from_millis(1));
    let opened = world.server.opened();
    assert_eq!(opened.len(), 3, "its client has repeated it");
    assert_eq!(world.server.read_all(opened[2]), b"at once");
}

#[test]
fn the_connections_of_an_application_can_be_visited() {
    let (mut world, clients, accepted) = crowd(3, at_once);
    let visit = |stack: &Stack| -> Vec<_> {
        (0..stack.slot_bound())
            .filter_map(|index| stack.connection_at(index))
            .collect()
    };
    let mut all = visit(&world.server.stack);
    all.sort_unstable_by_key(|conn| accepted.iter().position(|a| a == conn));
    assert_eq!(all, accepted, "each once, parked or not");
    let (gone, user) = (accepted[1], 5);
    world.server.stack.set_user(accepted[0], user);
    world.server.stack.abort(gone);
    world.run(MOMENT);
    assert_eq!(visit(&world.server.stack).len(), 2, "without those given back");
    assert_eq!(
        world.server.stack.connection_at(1 << 40),
        None,
        "beyond all slots"
    );
    assert_eq!(
        world.server.stack.read_up_to(accepted[0], 1),
        Ok(Read::WouldBlock),
        "what is parked has nothing"
    );
    assert_eq!(world.server.stack.read_up_to(gone, 1), Err(SocketError::Gone));
    world.server.stack.set_nodelay(gone, true);
    assert_eq!(clients.len(), 3);
}

#[test]
fn what_connections_take_is_said_before_any_is_made() {
    let config = StackConfig {
        max_connections: 1_000_000,
        max_active: 10,
        ..StackConfig::default()
    };
    let memory = Stack::memory(&config);
    let (record, place) = Stack::connection_bytes();
    assert_eq!(memory.records, 1_000_000 * record as u64);
    let idle = (memory.records + memory.flow_table) / 1_000_000;
    assert!(idle <= 80, "{idle} bytes for each that is idle");
    assert!(memory.active >= 10 * place as u64 && memory.active < 20 * place as u64);
    assert_eq!(memory.total(), memory.records + memory.flow_table + memory.active);
}
