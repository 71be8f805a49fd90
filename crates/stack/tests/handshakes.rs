//! Handshakes beyond what can be remembered: SYN cookies, floods, and the
//! budgets that keep them apart from everything else.

mod support;

use crore_base::{DropReason, Duration, Instant, MacAddr, RxChecksum, SeqNum};
use crore_nic::{Capabilities, Nic, RxFrame, TxMeta};
use crore_stack::{ConnId, CookiePolicy, Event, Stack, StackConfig, State};
use crore_wire::{Flags, Packet, Segment, parse};
use support::{Host, MOMENT, Stranger, World, answer, arp_frame, forged_frame, syn};

const ANY: &str = "0.0.0.0:80";
const SERVER: &str = "10.0.0.2:80";
/// Longer than any cookie is good for.
const LONG: Duration = Duration::from_secs(140);

fn server(backlog: u32, tune: impl FnOnce(&mut StackConfig)) -> World {
    let mut world = World::new(false, tune);
    world.server.stack.listen(ANY.parse().unwrap(), backlog).unwrap();
    world
}

fn always(config: &mut StackConfig) {
    config.syn_cookies = CookiePolicy::Always;
}

fn drops(host: &Host, reason: DropReason) -> u64 {
    host.stack.counters().drops.get(reason)
}

/// Lets `conn` of the client send to the server, which sends it back.
fn echo(world: &mut World, conn: ConnId, accepted: ConnId, bytes: &[u8]) {
    assert_eq!(world.client.stack.write(conn, bytes), Ok(bytes.len()), "room");
    world.run(MOMENT);
    let read = world.server.read_all(accepted);
    assert_eq!(read, bytes, "there");
    assert_eq!(world.server.stack.write(accepted, &read), Ok(read.len()), "room");
    world.run(MOMENT);
    assert_eq!(world.client.read_all(conn), bytes, "and back");
}

/// The SYN-ACK that answers a SYN of the stranger's from `port`.
fn syn_ack(world: &mut World, stranger: &Stranger, host: u8, port: u16) -> Segment {
    stranger.send(world.now, host, &syn(port, 1000), b"");
    world.run(Duration::from_millis(1));
    let answered = |s: &Segment| s.dst_port == port && s.flags == Flags::SYN | Flags::ACK;
    stranger
        .seen()
        .into_iter()
        .find(answered)
        .expect("the SYN is answered")
}

#[test]
fn a_connection_by_cookie_has_all_that_was_negotiated() {
    let mut world = server(16, |c| {
        always(c);
        c.park_after = Some(Duration::ZERO);
    });
    let conn = world.connect(SERVER);
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    let counters = world.server.stack.counters();
    assert_eq!((counters.cookies_sent, counters.cookies_accepted), (1, 1));
    assert_eq!(
        (world.server.stack.active_connections(), counters.woken),
        (0, 0),
        "it went straight into its record"
    );
    let stats = world.server.stack.stats(accepted).expect("it is there");
    assert!(stats.send_window > 65_535, "windows are scaled: {stats:?}");
    assert_eq!(stats.mss, 1460 - 12, "the MSS, less timestamps");
    echo(&mut world, conn, accepted, &[7; 10_000]);
    world.client.stack.close(world.now, conn);
    world.run(MOMENT);
    world.server.stack.close(world.now, accepted);
    world.run(LONG);
    assert_eq!(world.server.stack.connections(), 0, "nothing is left");
    let dropped: Vec<_> = world.server.stack.counters().drops.nonzero().collect();
    assert!(dropped.is_empty(), "and nothing was dropped: {dropped:?}");
}

#[test]
fn a_client_without_timestamps_gets_a_plain_connection_by_cookie() {
    let mut world = World::of(false, |c| c.tcp.timestamps = false, always);
    world.server.stack.listen(ANY.parse().unwrap(), 16).unwrap();
    let conn = world.connect(SERVER);
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    let stats = world.server.stack.stats(accepted).expect("it is there");
    assert_eq!(stats.mss, 1460, "the MSS is kept");
    assert!(stats.send_window <= 65_535, "windows are not scaled");
    echo(&mut world, conn, accepted, &[7; 100_000]);
}

#[test]
fn cookies_work_over_ipv6() {
    let mut world = World::new(true, always);
    world.server.stack.listen("[::]:80".parse().unwrap(), 16).unwrap();
    let conn = world.connect("[fd00::2]:80");
    world.run(MOMENT);
    let accepted = world.server.opened()[0];
    assert_eq!(world.server.stack.counters().cookies_accepted, 1);
    echo(&mut world, conn, accepted, b"six");
}

#[test]
fn a_cookie_may_be_completed_by_the_first_data() {
    let mut world = server(16, always);
    let stranger = Stranger::new(&world);
    let syn_ack = syn_ack(&mut world, &stranger, 7, 4000);
    let first = answer(&syn_ack, Flags::ACK | Flags::PSH);
    stranger.send(world.now, 7, &first, b"hello");
    world.run(MOMENT);
    let conn = world.server.opened()[0];
    assert!(
        world.server.events.contains(&Event::Readable { conn }),
        "told at once"
    );
    assert_eq!(world.server.read_all(conn), b"hello", "none of it is lost");
}

#[test]
fn cookies_begin_where_the_backlog_ends() {
    let mut world = server(2, |_| {});
    let clients: Vec<_> = (0..10).map(|_| world.connect(SERVER)).collect();
    world.run(MOMENT);
    assert_eq!(world.client.opened().len(), clients.len(), "nobody had to wait");
    assert_eq!(world.server.opened().len(), clients.len(), "at both ends");
    let counters = world.server.stack.counters();
    assert_eq!(counters.cookies_accepted, 8, "all but two by cookie");
    assert_eq!(counters.drops.get(DropReason::BacklogFull), 0, "nothing dropped");
}

#[test]
fn an_acknowledgment_of_nothing_earns_its_reset_whether_cookies_are_out_or_not() {
    let mut world = server(16, always);
    let stranger = Stranger::new(&world);
    let stray = Segment {
        src_port: 5000,
        dst_port: 80,
        seq: SeqNum(77),
        ack: SeqNum(88),
        flags: Flags::ACK,
        ..Segment::default()
    };
    let send = |world: &mut World| {
        stranger.send(world.now, 7, &stray, b"");
        world.run(Duration::from_millis(1));
        stranger
            .seen()
            .iter()
            .filter(|s| s.flags == Flags::RST && s.seq == stray.ack)
            .count()
    };
    assert_eq!(send(&mut world), 1, "reset");
    assert_eq!(drops(&world.server, DropReason::NoSuchConnection), 1, "a stray");
    syn_ack(&mut world, &stranger, 7, 4000);
    assert_eq!(send(&mut world), 1, "reset");
    assert_eq!(drops(&world.server, DropReason::BadSynCookie), 1, "no cookie");
    world.run(LONG);
    assert_eq!(send(&mut world), 1, "reset");
    assert_eq!(
        drops(&world.server, DropReason::NoSuchConnection),
        2,
        "a stray again"
    );
    assert_eq!(world.server.stack.connections(), 0, "nothing came of it");
}

#[test]
fn a_listener_drops_what_asks_for_nothing_and_answers_nothing() {
    let mut world = server(16, |_| {});
    let stranger = Stranger::new(&world);
    for flags in [Flags::default(), Flags::FIN, Flags::PSH] {
        let stray = Segment {
            flags,
            ..syn(4000, 1000)
        };
        stranger.send(world.now, 7, &stray, b"text");
    }
    world.run(MOMENT);
    assert_eq!(stranger.seen(), [], "no answer, not even a reset");
    assert_eq!(
        drops(&world.server, DropReason::NoSuchConnection),
        3,
        "and counted"
    );
}

#[test]
fn a_cookie_expires() {
    let mut world = server(16, always);
    let stranger = Stranger::new(&world);
    let old = syn_ack(&mut world, &stranger, 7, 4000);
    world.run(LONG);
    syn_ack(&mut world, &stranger, 7, 4001);
    stranger.send(world.now, 7, &answer(&old, Flags::ACK), b"");
    world.run(MOMENT);
    assert_eq!(drops(&world.server, DropReason::BadSynCookie), 1, "too late");
    assert_eq!(world.server.opened(), [], "refused");
}

/// Protects against a connection that opens again after its end, by a late copy.
#[test]
fn a_cookie_makes_one_connection_only() {
    let mut world = server(16, always);
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    let syn_ack = syn_ack(&mut world, &stranger, 7, 4000);
    let ack = answer(&syn_ack, Flags::ACK);
    stranger.send(world.now, 7, &ack, b"");
    world.run(MOMENT);
    let conn = world.server.opened()[0];
    world.server.stack.abort(conn);
    world.run(MOMENT);
    assert_eq!(world.server.stack.connections(), 0, "over");
    stranger.send(world.now, 7, &ack, b"");
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 1, "it does not open again");
    assert_eq!(drops(&world.server, DropReason::BadSynCookie), 1, "counted");
}

#[test]
fn a_flood_of_forged_syns_keeps_nobody_out_and_leaves_nothing_behind() {
    let mut world = server(8, |c| {
        c.max_connections = 64;
        c.tcp.syn_retries = 2;
    });
    let stranger = Stranger::new(&world);
    let mut clients = Vec::new();
    let mut most = 0;
    for round in 0..200u16 {
        for i in 0..50u16 {
            let host = 20 + (i % 200) as u8;
            stranger.send(world.now, host, &syn(1000 + round * 50 + i, u32::from(i)), b"");
        }
        if round % 5 == 0 {
            clients.push(world.connect(SERVER));
        }
        world.run(Duration::from_millis(1));
        most = most.max(world.server.stack.connections());
        stranger.seen();
    }
    world.run(MOMENT);
    assert_eq!(
        world.client.opened().len(),
        clients.len(),
        "every honest client got in"
    );
    assert_eq!(world.server.opened().len(), clients.len(), "at both ends");
    assert!(
        most <= clients.len() + 8,
        "{most} records: the honest, and a backlog"
    );
    let counters = world.server.stack.counters();
    assert!(
        counters.cookies_sent >= 9_900,
        "{} cookies for 10,000 SYNs",
        counters.cookies_sent
    );
    let tuple = |host: &Host, conn| host.stack.four_tuple(conn).unwrap();
    let accepted = world.server.opened();
    for conn in clients {
        let port = tuple(&world.client, conn).local_port;
        let peer = *accepted
            .iter()
            .find(|&&c| tuple(&world.server, c).remote_port == port)
            .unwrap();
        echo(&mut world, conn, peer, &[9; 3000]);
    }
    world.run(Duration::from_secs(10));
    assert_eq!(
        world.server.stack.connections(),
        accepted.len(),
        "the flood left nothing"
    );
}

/// Simulation seed 10337 (hostile): the second one was dropped for want of a
/// place in the pool.
#[test]
fn what_comes_in_one_burst_behind_a_reset_finds_no_handshake() {
    let mut world = server(16, |_| {});
    let stranger = Stranger::new(&world);
    let syn_ack = syn_ack(&mut world, &stranger, 7, 4000);
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::RST), b"");
    stranger.send(world.now, 7, &answer(&syn_ack, Flags::ACK), b"late");
    world.run(MOMENT);
    assert_eq!(
        drops(&world.server, DropReason::PoolExhausted),
        0,
        "there is room"
    );
    assert_eq!(
        drops(&world.server, DropReason::NoSuchConnection),
        1,
        "but nobody there"
    );
}

//= rfc5927#section-4.1 (SHOULD)
//= rfc9293#section-3.9.2.2 (SHOULD)
#[test]
fn a_hard_error_that_quotes_the_syn_ack_ends_a_handshake_and_nothing_else_does() {
    const PORT_UNREACHABLE: (u8, u8) = (3, 3);
    let mut world = server(1, |c| c.syn_cookies = CookiePolicy::Never);
    let stranger = Stranger::new(&world);
    stranger.introduce(world.now, 7);
    let sent = syn_ack(&mut world, &stranger, 7, 4000);
    let mut guess = sent;
    let expect = |world: &mut World, reason, connections, why| {
        world.run(Duration::from_millis(1));
        assert_eq!(world.server.stack.connections(), connections, "{why}");
        assert_eq!(drops(&world.server, reason), 1, "{why}: counted");
    };
    guess.seq = sent.seq + 1;
    stranger.complain(world.now, 7, PORT_UNREACHABLE, &guess);
    expect(&mut world, DropReason::IcmpNotInFlight, 1, "a guess, one off");
    // An unreachable host may come back.
    stranger.complain(world.now, 7, (3, 1), &sent);
    expect(&mut world, DropReason::UnhandledIcmp, 1, "a soft error");
    stranger.complain(world.now, 7, PORT_UNREACHABLE, &sent);
    expect(&mut world, DropReason::HandshakeUnreachable, 0, "a hard one");
    assert!(world.server.opened().is_empty(), "nobody is told");
    world.run(Duration::from_secs(5));
    assert!(stranger.seen().is_empty(), "and nothing sent again");
    // Its place at the listener is free.
    syn_ack(&mut world, &stranger, 7, 4001);
}

/// Protects the neighbour cache, and the link, against hosts that are not there.
#[test]
fn handshakes_ask_for_few_that_have_not_asked_for_us() {
    let mut world = server(1000, |c| c.max_connections = 1000);
    let stranger = Stranger::new(&world);
    for host in 20..120 {
        stranger.send(world.now, host, &syn(2000, 1), b"");
    }
    stranger.introduce(world.now, 7);
    stranger.send(world.now, 7, &syn(2000, 1), b"");
    world.run(MOMENT);
    assert_eq!(stranger.seen().len(), 101, "all are answered");
    let asked = world.server.stack.counters().control_out;
    world.run(Duration::from_millis(2_500));
    let more = world.server.stack.counters().control_out - asked;
    assert!((32..=64).contains(&more), "32 at a time, each second: {more}");
    world.run(Duration::from_millis(17_500));
    let again = stranger.seen();
    assert_eq!(
        again.len(),
        4,
        "the one who is there is answered again: {again:?}"
    );
}

/// Protects those who wait for the server to speak first: their ACK may get lost, and
/// they have no reason to say anything more.
#[test]
fn a_silent_client_whose_ack_was_lost_gets_the_syn_ack_again() {
    let mut world = server(1000, |c| c.max_connections = 1000);
    let stranger = Stranger::new(&world);
    stranger.send(world.now, 7, &syn(2000, 1), b"");
    world.run(MOMENT);
    assert_eq!(stranger.seen().len(), 1, "the SYN-ACK; its answer gets lost");
    let asked = world.server.stack.counters().control_out;
    world.run(Duration::from_millis(1_500));
    assert!(stranger.seen().is_empty(), "the server does not know where to");
    let more = world.server.stack.counters().control_out - asked;
    assert_eq!(more, 1, "and asks");
    stranger.introduce(world.now, 7);
    world.run(Duration::from_secs(3));
    assert_eq!(stranger.seen().len(), 1, "now it knows");
}

/// Protects a small table against a backlog that is larger than it.
#[test]
fn handshakes_that_fill_the_table_give_way_to_peers_that_are_there() {
    let mut world = server(1000, |c| c.max_connections = 16);
    let stranger = Stranger::new(&world);
    for port in 0..16 {
        stranger.send(world.now, 50, &syn(2000 + port, 1), b"");
    }
    world.run(Duration::from_millis(1));
    assert_eq!(
        world.server.stack.connections(),
        16,
        "the table is full of handshakes"
    );
    let clients: Vec<_> = (0..10).map(|_| world.connect(SERVER)).collect();
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), clients.len(), "all the same");
    assert_eq!(
        drops(&world.server, DropReason::HandshakeEvicted),
        10,
        "each for one of those"
    );
    for _ in 0..10 {
        world.connect(SERVER);
    }
    world.run(MOMENT);
    assert_eq!(world.server.opened().len(), 16, "as many as there are records");
    assert!(
        drops(&world.server, DropReason::ConnectionsExhausted) > 0,
        "the others are refused"
    );
    assert_eq!(world.server.stack.connections(), 16, "those that live stay");
}

/// A NIC with so many buffers for each call, and room for whatever it is given.
struct ScarceNic {
    capabilities: Capabilities,
    buffer: Vec<u8>,
    room: usize,
    sent: Vec<Vec<u8>>,
}

impl Nic for ScarceNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, _into: &mut Vec<RxFrame>) -> usize {
        0
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        (self.sent.len() < self.room).then(|| &mut self.buffer[..len])
    }

    fn commit(&mut self, len: usize, _meta: TxMeta) {
        self.sent.push(self.buffer[..len].to_vec());
    }

    fn flush(&mut self, _now: Instant) -> usize {
        0
    }
}

fn deliver(stack: &mut Stack, now: Instant, host: u8, segment: &Segment) {
    let data = forged_frame(host, segment, b"");
    let checksum = RxChecksum::Unknown;
    stack.on_burst(now, &mut vec![RxFrame { data, checksum }]);
}

/// What the stack sends when there are `room` buffers.
fn sent(stack: &mut Stack, nic: &mut ScarceNic, now: Instant, room: usize) -> Vec<Segment> {
    nic.room = room;
    stack.poll_transmit(now, nic);
    let segments = nic.sent.drain(..).filter_map(|frame| {
        match parse(&frame, RxChecksum::Unknown).expect("it is a frame").packet {
            Packet::Tcp { segment, .. } => Some(segment),
            _ => None,
        }
    });
    segments.collect()
}

#[test]
fn a_flood_of_syns_takes_an_eighth_of_scarce_buffers_and_all_that_data_leaves() {
    let mut nic = ScarceNic {
        capabilities: Capabilities {
            mac: MacAddr([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: false,
            tx_tso: false,
            rx_checksum: false,
        },
        buffer: vec![0; 2048],
        room: 0,
        sent: Vec::new(),
    };
    let mut config = StackConfig {
        addresses: vec![("10.0.0.2".parse().unwrap(), 24)],
        ..StackConfig::default()
    };
    config.tcp.send_buffer = 10_000_000;
    config.tcp.initial_window = 1000;
    let mut stack = Stack::new(config, &nic.capabilities, [3; 16]).unwrap();
    stack.listen(ANY.parse().unwrap(), 4).unwrap();
    let mut now = Instant::from_millis(1);
    let frame = RxFrame {
        data: arp_frame(7),
        checksum: RxChecksum::Unknown,
    };
    stack.on_burst(now, &mut vec![frame]);
    sent(&mut stack, &mut nic, now, 100);
    // One connection, whose peer's address is known.
    let mut first = syn(4000, 1);
    first.options.window_scale = Some(crore_base::WindowScale::new(14));
    deliver(&mut stack, now, 7, &first);
    let syn_ack = sent(&mut stack, &mut nic, now, 100)[0];
    deliver(&mut stack, now, 7, &answer(&syn_ack, Flags::ACK));
    let Some(Event::Opened { conn, .. }) = stack.poll_event() else {
        panic!("it opens");
    };
    assert_eq!(stack.state(conn), Some(State::Established));
    stack.write(conn, &[0; 1_000_000]).unwrap();
    sent(&mut stack, &mut nic, now, 100);
    let (mut replies, mut payload) = (0, 0);
    for turn in 0..100u16 {
        now += Duration::from_micros(10);
        for i in 0..32 {
            deliver(&mut stack, now, 50, &syn(5000 + turn * 32 + i, 9));
        }
        for segment in sent(&mut stack, &mut nic, now, 4) {
            let counter = if segment.flags.has_syn() {
                &mut replies
            } else {
                &mut payload
            };
            *counter += 1;
        }
    }
    assert_eq!(replies + payload, 400, "no buffer stays unused");
    assert!((40..=50).contains(&replies), "{replies} of 400 for the flood");
    let dropped = stack.counters().drops.get(DropReason::HandshakeQueueFull);
    assert!(
        dropped > 2000,
        "what finds no place is dropped and counted: {dropped}"
    );
    let all = sent(&mut stack, &mut nic, now, 10_000);
    let replies = all.iter().filter(|s| s.flags.has_syn()).count();
    assert!(replies >= 64, "with plenty, all go: {replies} of {}", all.len());
}

/// Protects the memory for answers from whoever asks faster than they can leave.
#[test]
fn with_the_queue_of_answers_full_no_syn_is_answered_and_each_is_counted() {
    for policy in [CookiePolicy::Never, CookiePolicy::Always] {
        let mut world = server(1_000, |c| {
            c.max_connections = 1_000;
            c.syn_cookies = policy;
        });
        world.run(MOMENT);
        let mut now = world.now;
        let stack = &mut world.server.stack;
        let known = RxFrame {
            data: arp_frame(50),
            checksum: RxChecksum::Unknown,
        };
        stack.on_burst(now, &mut vec![known]);
        let first = syn(4_000, 9);
        deliver(stack, now, 7, &first);
        for port in 0..300 {
            deliver(stack, now, 50, &syn(5_000 + port, 9));
        }
        let full = |stack: &Stack| stack.counters().drops.get(DropReason::HandshakeQueueFull);
        let dropped = full(stack);
        assert_eq!(dropped, 301 - 256, "{policy:?}: as many as find no place");
        deliver(stack, now, 7, &first);
        assert_eq!(full(stack), dropped + 1, "{policy:?}: the first one again");
        if policy == CookiePolicy::Never {
            assert_eq!(stack.connections(), 256, "no record for those");
            now += Duration::from_secs(2);
            stack.on_timeout(now);
            assert!(full(stack) > dropped + 1, "what is to be sent again counts too");
        }
    }
}
