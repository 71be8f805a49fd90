//! ICMP errors about what was sent, and what they are believed.

mod support;

use std::net::IpAddr;

use crore_base::{DropReason, Duration, MacAddr};
use crore_netbuf::Chunk;
use crore_nic::Nic;
use crore_nic::sim::End;
use crore_stack::ConnId;
use crore_wire::{IpEmit, Link as EthernetLink, checksum, emit_echo_reply};
use support::{MOMENT, World};

const LINK: EthernetLink = EthernetLink {
    src: MacAddr([2, 0, 0, 0, 0, 2]),
    dst: MacAddr([2, 0, 0, 0, 0, 1]),
};

/// A world in which frames of the client's that are larger than `mtu` bytes of
/// IP meet a router that says so, or says nothing.
struct Routed {
    world: World,
    v6: bool,
}

fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    if v6 {
        ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap())
    } else {
        ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())
    }
}

impl Routed {
    fn new(v6: bool) -> Self {
        let mut world = World::new(v6, |_| {});
        let any = if v6 { "[::]:80" } else { "0.0.0.0:80" };
        world.server.stack.listen(any.parse().unwrap(), 16).unwrap();
        Self { world, v6 }
    }

    fn server(&self) -> &'static str {
        if self.v6 { "[fd00::2]:80" } else { "10.0.0.2:80" }
    }

    fn connect(&mut self) -> ConnId {
        let conn = self.world.connect(self.server());
        self.world.run(MOMENT);
        conn
    }

    /// An ICMP error to the client that quotes `quote`.
    fn error(&mut self, kind: u8, code: u8, word: u32, quote: &[u8]) {
        let (client, server) = addresses(self.v6);
        let ip = IpEmit {
            src: server,
            dst: client,
            hop_limit: 64,
            ecn: 0,
            ident: 0,
        };
        let message = [&[0; 4][..], &word.to_be_bytes(), quote].concat();
        let start = if self.v6 { 54 } else { 34 };
        let mut frame = vec![0; start + message.len()];
        emit_echo_reply(&mut frame, &LINK, &ip, &message).expect("there is room");
        let body = &mut frame[start..];
        body[..4].copy_from_slice(&[kind, code, 0, 0]);
        let mut sum = checksum::sum(body);
        if self.v6 {
            sum += checksum::pseudo_header(ip.src, ip.dst, 58, body.len() as u32);
        }
        body[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        let now = self.world.now;
        self.world.link.inject(End::Right, now, Chunk::copy_from(&frame));
    }

    fn too_big(&mut self, mtu: u32, quote: &[u8]) {
        let (kind, code) = if self.v6 { (2, 0) } else { (3, 4) };
        self.error(kind, code, mtu, quote);
    }

    /// The beginning of the first packet of the client's that is longer than
    /// `len`, of what it sends next.
    fn next_longer_than(&mut self, len: usize) -> Vec<u8> {
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let tap = seen.clone();
        self.world.link.set_tap(Some(Box::new(move |tapped| {
            if tapped.from == End::Left && tapped.frame.len() > 14 + len && tap.borrow().is_empty() {
                let end = tapped.frame.len().min(14 + 64);
                tap.borrow_mut().extend_from_slice(&tapped.frame[14..end]);
            }
        })));
        let now = self.world.now;
        self.world.client.turn(now);
        self.world.link.set_tap(None);
        seen.take()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.world.client.stack.counters().drops.get(reason)
    }

    fn mss(&self, conn: ConnId) -> u16 {
        self.world.client.stack.stats(conn).expect("it is there").mss
    }
}

#[test]
fn a_router_is_believed_and_what_it_said_serves_the_next_connection() {
    for (v6, claimed, expected) in [
        (false, 1400, 1400 - 40 - 12),
        (false, 0, 1492 - 40 - 12),
        (false, 100, 552 - 40 - 12),
        (true, 1300, 1300 - 60 - 12),
    ] {
        let mut routed = Routed::new(v6);
        let conn = routed.connect();
        routed.world.client.stack.write(conn, &[7; 20_000]).expect("room");
        let quote = routed.next_longer_than(1400);
        routed.too_big(claimed, &quote);
        routed.world.run(MOMENT);
        assert_eq!(routed.mss(conn), expected, "{claimed} bytes");
        let accepted = routed.world.server.opened()[0];
        assert_eq!(
            routed.world.server.read_all(accepted).len(),
            20_000,
            "all the same"
        );
        assert_eq!(routed.world.client.stack.counters().path_mtu_learnt, 1, "counted");
        let next = routed.connect();
        assert_eq!(routed.mss(next), expected, "the next one begins so");
        routed.world.run(Duration::from_secs(601));
        routed.world.run(MOMENT);
        let later = routed.connect();
        let full = if v6 { 1428 } else { 1448 };
        assert_eq!(routed.mss(later), full, "ten minutes later it is forgotten");
    }
}

#[test]
fn what_can_not_be_true_is_counted_and_changes_nothing() {
    for v6 in [false, true] {
        let mut routed = Routed::new(v6);
        let conn = routed.connect();
        let full = routed.mss(conn);
        routed.world.client.stack.write(conn, &[7; 5_000]).expect("room");
        let quote = routed.next_longer_than(1400);
        let header = if v6 { 40 } else { 20 };
        let mut elsewhere = quote.clone();
        elsewhere[header + 4] ^= 0x40;
        routed.too_big(1300, &elsewhere);
        let mut nobody = quote.clone();
        nobody[header] ^= 1;
        routed.too_big(1300, &nobody);
        routed.too_big(9000, &quote);
        if v6 {
            routed.too_big(1279, &quote);
        }
        routed.world.run(Duration::from_micros(60));
        assert_eq!(
            routed.drops(DropReason::IcmpNotInFlight),
            2,
            "RFC 5927 section 4.1"
        );
        assert_eq!(
            routed.drops(DropReason::UnhandledIcmp),
            if v6 { 2 } else { 1 },
            "larger than what was sent, or than what IPv6 allows"
        );
        assert_eq!(routed.mss(conn), full, "unmoved");
    }
}

#[test]
fn an_open_ends_by_hard_errors_alone_and_a_connection_by_none() {
    for (v6, kind, code, ends) in [
        (false, 3, 3, true),
        (false, 3, 1, false),
        (false, 11, 0, false),
        (false, 12, 0, false),
        (false, 4, 0, false),
        (true, 1, 4, true),
        (true, 1, 0, false),
        (true, 1, 1, true),
        (true, 1, 3, false),
        (true, 3, 0, false),
        (true, 4, 1, false),
    ] {
        let mut routed = Routed::new(v6);
        let conn = routed.connect();
        routed.world.client.stack.write(conn, &[7; 1_420]).expect("room");
        let quote = routed.next_longer_than(1000);
        routed.error(kind, code, 0, &quote);
        routed.world.run(MOMENT);
        assert_eq!(
            routed.world.client.closed(),
            [],
            "{kind}/{code}: none ends what is established"
        );
        let now = routed.world.now;
        let open = routed.world.connect(routed.server());
        let syn = routed.next_longer_than(40);
        routed.error(kind, code, 0, &syn);
        let mut frames = Vec::new();
        routed
            .world
            .client
            .nic
            .rx_burst(now + Duration::from_micros(60), &mut frames);
        let client = &mut routed.world.client;
        client.stack.on_burst(now, &mut frames);
        let ended = std::iter::from_fn(|| client.stack.poll_event())
            .any(|event| matches!(event, crore_stack::Event::Closed { conn, .. } if conn == open));
        assert_eq!(ended, ends, "{kind}/{code} on an open, IPv6 {v6}");
    }
}

//= rfc5927#section-7.2 (SHOULD)
/// Protects a path that works from a message that anybody could have sent.
#[test]
fn a_router_that_contradicts_what_has_arrived_waits_for_a_time_out() {
    for v6 in [false, true] {
        let mut routed = Routed::new(v6);
        let conn = routed.connect();
        let full = routed.mss(conn);
        let send = |routed: &mut Routed| {
            routed.world.client.stack.write(conn, &[7; 5_000]).expect("room");
            routed.next_longer_than(1400)
        };
        send(&mut routed);
        routed.world.run(MOMENT);
        let quote = send(&mut routed);
        routed.too_big(1300, &quote);
        routed.world.run(MOMENT);
        assert_eq!(routed.mss(conn), full, "it arrives after all");
        assert_eq!(routed.world.client.stack.counters().path_mtu_learnt, 0);
        routed.world.link.set_down(true);
        let quote = send(&mut routed);
        routed.world.link.set_down(false);
        routed.too_big(1300, &quote);
        routed.world.run(Duration::from_secs(2));
        assert!(routed.mss(conn) < full, "it did not: {}", routed.mss(conn));
        let drops: Vec<_> = routed.world.client.stack.counters().drops.nonzero().collect();
        assert_eq!(drops, [], "nothing was wrong with either");
    }
}
