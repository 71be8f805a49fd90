//! Want of everything, one thing after another: what lives goes on, what is new
//! is refused and counted, and afterwards all is as it was at the start.

mod support;

use crore_base::{DropReason, Duration, Instant};
use crore_netbuf::live_heap_blocks;
use crore_nic::sim::End;
use crore_stack::{ConnId, ConnectError, Event, Stack, StackConfig};
use support::{Host, MOMENT, Stranger, World, syn};

const SERVER: &str = "10.0.0.2:80";

/// A server with its clients, each of whose connections is numbered.
struct Crowd {
    world: World,
    clients: Vec<ConnId>,
    /// The server's ends of the same connections.
    servers: Vec<ConnId>,
    blocks: usize,
}

impl Crowd {
    fn new(count: usize, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let blocks = live_heap_blocks();
        let mut world = World::of(
            false,
            |c| c.max_connections = 1000,
            |c| {
                c.tcp.time_wait = Duration::from_secs(1);
                tune(c);
            },
        );
        world
            .server
            .stack
            .listen("0.0.0.0:80".parse().unwrap(), 16)
            .unwrap();
        let clients: Vec<_> = (0..count).map(|_| world.connect(SERVER)).collect();
        world.run(MOMENT);
        let mut this = Self {
            world,
            clients,
            servers: Vec::new(),
            blocks,
        };
        this.servers = this.clients.iter().map(|&conn| this.peer_of(conn)).collect();
        this
    }

    /// The server's end of a connection of the client's.
    fn peer_of(&self, conn: ConnId) -> ConnId {
        let port = self.world.client.stack.four_tuple(conn).unwrap().local_port;
        let is_it = |c: &ConnId| {
            let tuple = self.world.server.stack.four_tuple(*c);
            tuple.is_some_and(|t| t.remote_port == port)
        };
        self.world
            .server
            .opened()
            .into_iter()
            .find(is_it)
            .expect("the server has it")
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.world.server.stack.counters().drops.get(reason)
    }

    /// Sends `bytes` on connection `i` and has them back; whether that worked at
    /// once. Over the budget for received data a connection may have one segment.
    fn echo(&mut self, i: usize, bytes: &[u8]) -> bool {
        self.send(i, bytes);
        self.world.run(MOMENT);
        let read = self.world.server.read_all(self.servers[i]);
        let _ = self.world.server.stack.write(self.servers[i], &read);
        self.world.run(MOMENT);
        self.world.client.read_all(self.clients[i]) == bytes
    }

    fn send(&mut self, i: usize, bytes: &[u8]) {
        let written = self.world.client.stack.write(self.clients[i], bytes);
        assert_eq!(written, Ok(bytes.len()), "the client has room");
    }

    /// Everything ends in order; nothing may be left of it.
    fn end(mut self) {
        let Self { world, clients, .. } = &mut self;
        for &conn in &*clients {
            world.client.stack.close(world.now, conn);
        }
        for _ in 0..200 {
            // Those that were let in late, too.
            for conn in world.client.opened() {
                world.client.stack.close(world.now, conn);
            }
            world.run(Duration::from_secs(1));
            let events: Vec<_> = world.server.events.drain(..).collect();
            for event in events {
                match event {
                    Event::PeerClosed { conn } | Event::Readable { conn } => {
                        world.server.read_all(conn);
                        world.server.stack.close(world.now, conn);
                    }
                    _ => {}
                }
            }
        }
        let server: &Stack = &world.server.stack;
        assert_eq!(server.connections(), 0, "every record is free");
        assert_eq!(server.active_connections(), 0, "every place in the pool");
        assert_eq!(server.received_held(), 0, "every byte of the budget");
        assert!(!server.has_work(), "every queue is empty");
        assert_eq!(world.client.stack.connections(), 0, "at the client too");
        let blocks = self.blocks;
        drop(self);
        assert_eq!(live_heap_blocks(), blocks, "and every buffer");
    }
}

#[test]
fn with_the_pool_of_active_connections_used_up_those_in_it_go_on_and_the_others_wait() {
    let mut crowd = Crowd::new(12, |c| {
        c.max_active = 4;
        c.park_after = Some(Duration::ZERO);
    });
    for i in 0..4 {
        crowd.send(i, b"unread");
    }
    crowd.world.run(MOMENT);
    assert_eq!(
        crowd.world.server.stack.active_connections(),
        4,
        "the pool is used up"
    );
    let written = crowd
        .world
        .server
        .stack
        .write(crowd.servers[0], b"to one of them");
    assert_eq!(written, Ok(14), "what has a place can be written");
    crowd.send(5, b"to one of the others");
    crowd.world.run(MOMENT);
    assert_eq!(
        crowd.world.client.read_all(crowd.clients[0]),
        b"to one of them",
        "goes on"
    );
    assert!(
        crowd.drops(DropReason::PoolExhausted) > 0,
        "what finds no place is counted"
    );
    let late = crowd.world.connect(SERVER);
    crowd.world.run(MOMENT);
    assert_eq!(
        crowd.world.server.opened().len(),
        13,
        "a new one needs no place to come in"
    );
    let refused = crowd
        .world
        .server
        .stack
        .connect(crowd.world.now, None, "10.0.0.1:9".parse().unwrap());
    assert_eq!(
        refused,
        Err(ConnectError::Exhausted),
        "the server's own opens are refused"
    );
    for i in 0..4 {
        assert_eq!(
            crowd.world.server.read_all(crowd.servers[i]),
            b"unread",
            "none of it lost"
        );
    }
    crowd.world.run(Duration::from_secs(2));
    let read = crowd.world.server.read_all(crowd.servers[5]);
    assert_eq!(read, b"to one of the others", "sent again, and taken");
    crowd.servers.push(crowd.peer_of(late));
    crowd.clients.push(late);
    assert!(crowd.echo(12, b"late"), "and the late one works");
    crowd.end();
}

#[test]
fn with_the_table_full_those_in_it_go_on_and_each_newcomer_is_refused_until_there_is_room() {
    let mut crowd = Crowd::new(8, |c| c.max_connections = 8);
    for _ in 0..5 {
        crowd.world.connect(SERVER);
    }
    crowd.world.run(MOMENT);
    assert_eq!(
        crowd.drops(DropReason::ConnectionsExhausted),
        5,
        "each refusal is counted"
    );
    for i in 0..8 {
        assert!(crowd.echo(i, &[i as u8; 5000]), "{i} goes on");
    }
    for conn in crowd.servers.drain(..4) {
        crowd.world.server.stack.close(crowd.world.now, conn);
    }
    for conn in crowd.clients.drain(..4) {
        crowd.world.client.stack.close(crowd.world.now, conn);
    }
    crowd.world.run(Duration::from_secs(60));
    assert_eq!(crowd.world.server.opened().len(), 12, "as many as had left");
    crowd.end();
}

/// Protects against a flood that keeps its place in the queues when there are buffers again.
#[test]
fn without_transmit_buffers_nothing_is_lost_and_the_queues_stay_bounded() {
    let mut crowd = Crowd::new(6, |_| {});
    let stranger = Stranger::new(&crowd.world);
    crowd.world.link.set_dry(End::Right, true);
    let data: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
    let written = crowd.world.server.stack.write(crowd.servers[0], &data);
    assert_eq!(written, Ok(data.len()), "the send buffer takes it");
    crowd.send(1, b"a question");
    let step = |world: &mut World, time: Duration| {
        // A dry host has work that it can't do: time must be moved by hand.
        for _ in 0..10 {
            world.now += time.div(10);
            world.client.turn(world.now);
            world.server.turn(world.now);
        }
    };
    for round in 0..20u16 {
        for i in 0..50 {
            stranger.send(crowd.world.now, 50, &syn(1000 + round * 50 + i, 1), b"");
            stranger.introduce(crowd.world.now, 100 + (i % 100) as u8);
        }
        step(&mut crowd.world, Duration::from_millis(10));
    }
    let late = crowd.world.connect(SERVER);
    step(&mut crowd.world, Duration::from_millis(100));
    assert_eq!(
        crowd.world.server.read_all(crowd.servers[1]),
        b"a question",
        "reception goes on"
    );
    assert!(
        crowd.drops(DropReason::HandshakeQueueFull) > 500,
        "SYNs beyond the queue"
    );
    assert!(
        crowd.drops(DropReason::ControlQueueFull) > 500,
        "and questions beyond theirs"
    );
    assert!(
        crowd.world.server.stack.connections() <= 6 + 16,
        "the backlog is the bound"
    );
    assert_eq!(stranger.seen(), [], "nothing could be sent");
    crowd.world.link.set_dry(End::Right, false);
    let mut got = Vec::new();
    for _ in 0..200 {
        crowd.world.run(Duration::from_millis(20));
        got.extend(crowd.world.client.read_all(crowd.clients[0]));
    }
    assert_eq!(got, data, "every byte, in order");
    crowd.servers.push(crowd.peer_of(late));
    crowd.clients.push(late);
    for i in 1..7 {
        assert!(crowd.echo(i, &[i as u8; 3000]), "{i} goes on");
    }
    crowd.end();
}

#[test]
fn an_application_that_does_not_read_a_tenth_of_its_connections_harms_no_other() {
    let mut crowd = Crowd::new(40, |c| {
        c.receive_budget = 100_000;
        c.tcp.receive_buffer = 65_536;
    });
    crowd.world.server.stack.set_rx_pressure(true);
    let data: Vec<u8> = (0..60_000u32).map(|i| (i % 253) as u8).collect();
    for i in 0..4 {
        crowd.send(i, &data);
    }
    crowd.world.run(MOMENT);
    for round in 0..5 {
        for i in 4..40 {
            assert!(crowd.echo(i, &[i as u8; 1000]), "{i} goes on in round {round}");
        }
    }
    assert!(
        crowd.drops(DropReason::ReceiveBudget) > 0,
        "the others pay, and that is counted"
    );
    let held = crowd.world.server.stack.received_held();
    assert!(
        (50_000..=100_000 + 40 * 1500).contains(&held),
        "{held} held: what they may, and a segment each"
    );
    let mut got = [const { Vec::new() }; 4];
    for _ in 0..300 {
        crowd.world.run(Duration::from_millis(200));
        for (i, got) in got.iter_mut().enumerate() {
            got.extend(crowd.world.server.read_all(crowd.servers[i]));
        }
    }
    assert!(got.iter().all(|got| *got == data), "once read, all comes");
    crowd.world.server.stack.set_rx_pressure(false);
    crowd.end();
}

/// All of it together, again and again.
#[test]
fn after_the_worst_of_days_everything_is_as_it_was() {
    let mut crowd = Crowd::new(12, |c| {
        c.max_connections = 20;
        c.max_active = 6;
        c.receive_budget = 65_536;
        c.tcp.syn_retries = 2;
    });
    let stranger = Stranger::new(&crowd.world);
    for day in 0..10u16 {
        for i in 0..60 {
            let port = 1000 + day * 60 + i;
            stranger.send(crowd.world.now, 30 + (i % 20) as u8, &syn(port, 7), b"");
        }
        for i in 0..12 {
            let _ = crowd
                .world
                .client
                .stack
                .write(crowd.clients[i], &[day as u8; 4000]);
        }
        crowd.world.connect(SERVER);
        crowd.world.link.set_dry(End::Right, day % 3 == 1);
        crowd.world.server.stack.set_rx_pressure(day % 2 == 1);
        for _ in 0..30 {
            crowd.world.now += Duration::from_millis(3);
            crowd.world.client.turn(crowd.world.now);
            crowd.world.server.turn(crowd.world.now);
        }
        for i in (usize::from(day) % 3..12).step_by(3) {
            let read = crowd.world.server.read_all(crowd.servers[i]);
            let _ = crowd.world.server.stack.write(crowd.servers[i], &read);
        }
        stranger.seen();
        check(&crowd.world.server, crowd.world.now);
    }
    crowd.world.link.set_dry(End::Right, false);
    crowd.world.server.stack.set_rx_pressure(false);
    for _ in 0..300 {
        crowd.world.run(Duration::from_millis(100));
        for i in 0..12 {
            let read = crowd.world.server.read_all(crowd.servers[i]);
            let _ = crowd.world.server.stack.write(crowd.servers[i], &read);
            crowd.world.client.read_all(crowd.clients[i]);
        }
    }
    for i in 0..12 {
        assert!(crowd.echo(i, b"good morning"), "{i} lives");
    }
    crowd.end();
}

fn check(server: &Host, now: Instant) {
    assert!(server.stack.connections() <= 20, "{now:?}: within the table");
    assert!(server.stack.active_connections() <= 6, "{now:?}: within the pool");
    let most = 65_536 + 20 * 1500;
    assert!(server.stack.received_held() <= most, "{now:?}: within the budget");
}
