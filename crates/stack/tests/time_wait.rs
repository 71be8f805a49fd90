//! TIME-WAIT: in order, reusable by a SYN that is surely newer, deaf to resets,
//! and never in the way of a new connection.
//!
//! Read first: RFC 9293 section 3.6.1, RFC 6191, RFC 1337.

mod support;

use crore_base::{DropReason, Duration, SeqNum};
use crore_stack::{ConnId, CookiePolicy, StackConfig};
use crore_wire::{Flags, Segment, Timestamps};
use support::{MOMENT, Stranger, World, answer, syn};

const WAIT: Duration = Duration::from_secs(60);

fn server(tune: impl FnOnce(&mut StackConfig)) -> (World, Stranger) {
    let mut world = World::new(false, tune);
    world
        .server
        .stack
        .listen("0.0.0.0:80".parse().unwrap(), 64)
        .unwrap();
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    (world, stranger)
}

/// A SYN from `port` of a peer whose clock shows `clock`, or that has none.
fn syn_at(port: u16, seq: u32, clock: Option<u32>) -> Segment {
    let mut segment = syn(port, seq);
    segment.options.timestamps = clock.map(|value| Timestamps { value, echo: 0 });
    segment
}

/// Sends `segment` from the stranger's 10.0.0.7 and gives the server's last answer.
fn exchange(world: &mut World, stranger: &Stranger, segment: &Segment) -> Option<Segment> {
    stranger.send(world.now, 7, segment, b"");
    world.run(Duration::from_millis(1));
    let port = segment.src_port;
    stranger.seen().into_iter().rfind(|s| s.dst_port == port)
}

/// Opens a connection by `syn`.
fn open(world: &mut World, stranger: &Stranger, syn: &Segment) -> (ConnId, Segment) {
    let syn_ack = exchange(world, stranger, syn).expect("the SYN is answered");
    assert_eq!(syn_ack.flags, Flags::SYN | Flags::ACK, "by a SYN-ACK");
    let before = world.server.opened().len();
    exchange(world, stranger, &answer(&syn_ack, Flags::ACK));
    let opened = world.server.opened();
    assert_eq!(opened.len(), before + 1, "it is open");
    (opened[before], syn_ack)
}

/// Opens a connection by `syn` and leaves it in TIME-WAIT; gives the peer's FIN,
/// and one past the server's last number.
fn wait(world: &mut World, stranger: &Stranger, syn: &Segment) -> (Segment, SeqNum) {
    let (conn, _) = open(world, stranger, syn);
    world.server.stack.close(world.now, conn);
    world.run(Duration::from_millis(1));
    let port = syn.src_port;
    let fin = stranger.seen().into_iter().rfind(|s| s.dst_port == port);
    let fin = fin.filter(|s| s.flags.has_fin()).expect("the server finishes");
    let ours = answer(&fin, Flags::FIN | Flags::ACK);
    let ack = exchange(world, stranger, &ours).expect("the FIN is acknowledged");
    assert_eq!(ack.ack, ours.seq + 1, "all of it");
    (ours, ack.seq)
}

//= rfc6191#section-2 (SHOULD)
#[test]
fn a_syn_that_is_surely_newer_opens_the_next_connection() {
    // The peer's clock and number at the old and at the new SYN, and whether that
    // opens. With the old connection's last segment its clock had come to 102.
    let cases = [
        (Some(100), 1000, Some(103), 900, true),
        (Some(100), 1000, Some(102), 5000, true),
        (Some(100), 1000, Some(102), 900, false),
        (Some(100), 1000, Some(101), 5000, false),
        (None, 1000, None, 5000, true),
        (None, 1000, None, 900, false),
        (None, 1000, Some(1), 900, true),
        (Some(100), 1000, None, 5000, true),
        (Some(100), 1000, None, 900, false),
    ];
    let policies = [CookiePolicy::Overflow, CookiePolicy::Always];
    for (policy, (clock, seq, new_clock, new_seq, opens)) in
        policies.into_iter().flat_map(|p| cases.map(|case| (p, case)))
    {
        let (mut world, stranger) = server(|c| c.syn_cookies = policy);
        let (_, end) = wait(&mut world, &stranger, &syn_at(4000, seq, clock));
        let again = syn_at(4000, new_seq, new_clock);
        let reply = exchange(&mut world, &stranger, &again).expect("some answer");
        let what = format!("{policy:?} {clock:?} {seq} {new_clock:?} {new_seq}");
        if opens {
            assert_eq!(reply.flags, Flags::SYN | Flags::ACK, "{what}");
            assert!(reply.seq.after(end), "{what}: beyond the old numbers");
            exchange(&mut world, &stranger, &answer(&reply, Flags::ACK));
            assert_eq!(world.server.opened().len(), 2, "{what}: open again");
        } else {
            assert_eq!(reply.flags, Flags::ACK, "{what}: challenged");
            assert_eq!(world.server.opened().len(), 1, "{what}: the wait goes on");
        }
        assert_eq!(world.server.stack.connections(), 1, "{what}: one record");
    }
}

#[test]
fn the_next_connection_needs_no_place_in_the_pool_and_none_in_the_backlog() {
    let mut world = World::new(false, |c| {
        c.max_active = 1;
        c.syn_cookies = CookiePolicy::Never;
    });
    world
        .server
        .stack
        .listen("0.0.0.0:80".parse().unwrap(), 1)
        .unwrap();
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    wait(&mut world, &stranger, &syn_at(4000, 1000, Some(100)));
    // One connection with unread data has the pool, one handshake the backlog.
    let (_, syn_ack) = open(&mut world, &stranger, &syn_at(4001, 1, Some(100)));
    let mut data = answer(&syn_ack, Flags::ACK | Flags::PSH);
    data.options.timestamps.as_mut().unwrap().value += 1;
    stranger.send(world.now, 7, &data, b"unread");
    exchange(&mut world, &stranger, &syn_at(4002, 1, Some(100)));
    let refused = exchange(&mut world, &stranger, &syn_at(4003, 1, Some(100)));
    assert_eq!(refused, None, "others are refused");
    let reply = exchange(&mut world, &stranger, &syn_at(4000, 5000, Some(200))).expect("answered");
    assert_eq!(reply.flags, Flags::SYN | Flags::ACK, "it may come back");
    exchange(&mut world, &stranger, &answer(&reply, Flags::ACK));
    assert_eq!(world.server.opened().len(), 3, "and does");
}

//= rfc1337#section-3 (SHOULD)
#[test]
fn a_reset_does_not_end_the_wait() {
    let (mut world, stranger) = server(|_| {});
    let (fin, _) = wait(&mut world, &stranger, &syn_at(4000, 1000, Some(100)));
    let mut reset = answer(&fin, Flags::RST);
    (reset.src_port, reset.dst_port, reset.seq) = (4000, 80, fin.seq + 1);
    assert_eq!(exchange(&mut world, &stranger, &reset), None, "no answer");
    assert_eq!(world.server.stack.connections(), 1, "it waits on");
    let counters = world.server.stack.counters();
    assert_eq!(
        counters.drops.get(DropReason::ResetOutOfPlace),
        1,
        "and that is counted"
    );
    world.run(WAIT + MOMENT + MOMENT);
    assert_eq!(world.server.stack.connections(), 0, "until its time is over");
}

#[test]
fn waits_end_in_the_order_in_which_they_began_and_a_repeated_fin_begins_anew() {
    let (mut world, stranger) = server(|c| c.tcp.time_wait = WAIT);
    let began = world.now;
    let fins: Vec<_> = (0..3)
        .map(|i| {
            let (fin, _) = wait(&mut world, &stranger, &syn_at(4000 + i, 1000, Some(100)));
            world.run(Duration::from_secs(10));
            fin
        })
        .collect();
    let ack = exchange(&mut world, &stranger, &fins[0]).expect("acknowledged again");
    assert_eq!(
        (ack.flags, ack.ack),
        (Flags::ACK, fins[0].seq + 1),
        "the peer missed it"
    );
    let mut left = Vec::new();
    for at in [65, 75, 85, 95] {
        let elapsed = world.now.since(began);
        world.run(Duration::from_secs(at).saturating_sub(elapsed));
        left.push(world.server.stack.connections());
    }
    assert_eq!(left, [3, 2, 1, 0], "the second, the third, then the first");
    let tuple_gone = exchange(&mut world, &stranger, &fins[1]).expect("nobody knows it");
    assert!(tuple_gone.flags.has_rst(), "reset: the wait is over");
}

/// Protects against a heap of waits that stops new connections.
#[test]
fn a_thousand_short_connections_pass_through_sixteen_records() {
    let (mut world, stranger) = server(|c| {
        c.max_connections = 16;
        c.tcp.time_wait = WAIT;
    });
    for port in 0..1000 {
        wait(&mut world, &stranger, &syn_at(2000 + port, 1000, Some(100)));
    }
    let counters = world.server.stack.counters();
    assert_eq!(world.server.stack.connections(), 16, "sixteen still wait");
    assert_eq!(
        counters.time_wait_recycled, 984,
        "the others gave way, the oldest first"
    );
    assert_eq!(
        counters.drops.get(DropReason::ConnectionsExhausted),
        0,
        "nobody was refused"
    );
}
