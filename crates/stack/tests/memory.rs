//! Buffers of single connections and the memory of all: what grows while there is
//! plenty does not while there is not.

mod support;

use crore_base::{DropReason, Duration};
use crore_stack::{ConnId, StackConfig};
use crore_wire::Flags;
use support::{MOMENT, Stranger, World, answer, syn};

const SERVER: &str = "10.0.0.2:80";
/// What a buffer starts with, either way.
const START: u32 = 16 * 1024;
const BUDGET: u64 = 4 << 20;
const CONNECTIONS: usize = 1000;
const STEP: Duration = Duration::from_micros(200);

fn growing(config: &mut StackConfig) {
    config.max_connections = 2000;
    config.park_after = None;
    config.tcp.receive_buffer = START;
    config.tcp.receive_buffer_max = 6 << 20;
    config.tcp.send_buffer = START;
    config.tcp.send_buffer_max = 4 << 20;
}

/// A thousand connections to a server with small budgets, and its ends of them
/// in the same order.
fn crowd() -> (World, Vec<ConnId>, Vec<ConnId>) {
    let mut world = World::of(false, growing, |config| {
        growing(config);
        config.receive_budget = BUDGET;
        config.send_budget = BUDGET;
    });
    let server = &mut world.server.stack;
    server.listen("0.0.0.0:80".parse().unwrap(), 2000).unwrap();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for opened in 1..=CONNECTIONS {
        clients.push(world.connect(SERVER));
        world.run(Duration::from_millis(1));
        let ends = world.server.opened();
        assert_eq!(ends.len(), opened, "each is let in");
        servers.push(ends[opened - 1]);
    }
    (world, clients, servers)
}

/// The window that the server offers on `conn`.
fn window(world: &World, conn: ConnId) -> u32 {
    world.server.stack.stats(conn).expect("it lives").receive_window
}

/// `from` sends `bytes` more, which the server reads as they come; the most that
/// it offered on that one.
fn carry(world: &mut World, from: ConnId, to: ConnId, bytes: usize) -> u32 {
    let (mut written, mut read, mut widest) = (0, 0, 0);
    for _ in 0..100_000 {
        if read == bytes {
            return widest;
        }
        let block = [3; 16_384];
        let len = block.len().min(bytes - written);
        written += world.client.stack.write(from, &block[..len]).unwrap();
        world.run(STEP);
        read += world.server.read_all(to).len();
        world.run(STEP);
        widest = widest.max(window(world, to));
    }
    panic!("{read} of {bytes} bytes came");
}

#[test]
fn receive_buffers_grow_while_there_is_plenty_and_not_while_there_is_not() {
    const SOME: usize = 2 << 20;
    let (mut world, clients, servers) = crowd();
    let widest = carry(&mut world, clients[0], servers[0], SOME);
    assert!(widest >= 2 * START, "it grew: {widest}");
    // Most send what nobody reads, until memory is scarce.
    for &conn in clients[100..].iter().cycle() {
        if world.server.stack.received_held() >= BUDGET / 5 * 4 {
            break;
        }
        assert_eq!(world.client.stack.write(conn, &[7; 1400]), Ok(1400));
        world.run(STEP);
    }
    // What was offered stands; when that is used, no more is offered than at first.
    carry(&mut world, clients[0], servers[0], widest as usize);
    assert!(
        window(&world, servers[0]) <= START,
        "it counts for what it began with"
    );
    for i in [0, 1] {
        let widest = carry(&mut world, clients[i], servers[i], SOME);
        assert!(widest <= START, "none grows: {widest}");
    }
    let drops = |world: &World| world.server.stack.counters().drops.get(DropReason::ReceiveBudget);
    assert_eq!(drops(&world), 0, "nothing had to be thrown away for it");
    for &conn in &clients[100..] {
        assert_eq!(world.client.stack.write(conn, &[7; 8192]), Ok(8192));
    }
    for _ in 0..200 {
        world.run(STEP);
        let held = world.server.stack.received_held();
        let most = BUDGET + 1600 * CONNECTIONS as u64;
        assert!(held <= most, "the budget, and a segment each: {held}");
    }
    assert!(drops(&world) > 0, "what is beyond it is thrown away, and counted");
    for round in 0..200 {
        for &conn in &servers[100..] {
            world.server.read_all(conn);
        }
        world.run(MOMENT);
        assert!(round < 199 || world.server.stack.received_held() == 0);
    }
    for i in [0, 1] {
        let widest = carry(&mut world, clients[i], servers[i], SOME);
        assert!(widest >= 2 * START, "with plenty they grow again: {widest}");
    }
}

#[test]
fn a_thousand_send_buffers_that_would_grow_stay_within_the_budget() {
    const EACH: usize = 64 * 1024;
    let (mut world, clients, servers) = crowd();
    let mut written = vec![0; CONNECTIONS];
    let mut read = vec![0; CONNECTIONS];
    let mut most = 0;
    // All are served some, so that their windows are open; then the first alone,
    // then all again.
    let block = [5; EACH];
    for round in 0..100_000 {
        assert!(round < 99_999, "all comes");
        for (i, &conn) in servers.iter().enumerate() {
            written[i] += world.server.stack.write(conn, &block[written[i]..]).unwrap();
        }
        let beyond = world.server.stack.written_beyond();
        assert!(beyond <= BUDGET, "within the budget: {beyond}");
        most = most.max(beyond);
        world.run(STEP);
        for (i, &conn) in clients.iter().enumerate() {
            read[i] += world.client.read_all(conn).len();
        }
        if read.iter().all(|&read| read == EACH) {
            break;
        }
    }
    assert!(most > BUDGET / 2, "they would have taken more: {most}");
    world.run(MOMENT);
    assert_eq!(world.server.stack.written_beyond(), 0, "all is given back");
}

#[test]
fn holes_that_use_the_budget_up_can_still_be_filled() {
    const HOLES: u16 = 100;
    let mut world = World::of(
        false,
        |_| {},
        |config| {
            growing(config);
            config.receive_budget = 65_536;
        },
    );
    let server = &mut world.server.stack;
    server.listen("0.0.0.0:80".parse().unwrap(), 2000).unwrap();
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 9);
    world.run(MOMENT);
    stranger.seen();
    let mut next = Vec::new();
    for port in 1..=HOLES {
        stranger.send(world.now, 9, &syn(port, 1000), &[]);
        world.run(MOMENT);
        let syn_ack = *stranger.seen().last().expect("it answers");
        let data = answer(&syn_ack, Flags::ACK);
        stranger.send(world.now, 9, &data, &[]);
        // The first segment is missing.
        let mut early = data;
        early.seq = data.seq + 1000;
        stranger.send(world.now, 9, &early, &[1; 1000]);
        world.run(MOMENT);
        next.push(data);
    }
    assert!(world.server.stack.received_held() >= 65_536, "holes hold it all");
    for data in &next {
        stranger.send(world.now, 9, data, &[2; 1000]);
        world.run(Duration::from_millis(1));
    }
    let servers = world.server.opened();
    assert_eq!(servers.len(), HOLES.into());
    let whole = servers
        .iter()
        .filter(|&&conn| world.server.read_all(conn).len() == 2000);
    assert_eq!(
        whole.count(),
        HOLES.into(),
        "each can be read whole: one moved on, the next could"
    );
}
