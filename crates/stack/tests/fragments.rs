//! Fragments and IPv6 extension headers, and the ICMP errors about them.

mod support;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crore_base::{DropReason, Duration, MacAddr, RxChecksum};
use crore_netbuf::Chunk;
use crore_nic::RxFrame;
use crore_nic::sim::End;
use crore_stack::{Share, StackConfig};
use crore_wire::{
    Flags, IpEmit, Link as EthernetLink, Packet, Piece, Segment, Steering, TxChecksum, checksum,
    emit_echo_reply, emit_icmp_fragment, emit_tcp, fragment_room, parse, tcp_headers_len,
};
use support::{MOMENT, World, syn};

const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const LINK: EthernetLink = EthernetLink {
    src: STRANGER,
    dst: MacAddr([2, 0, 0, 0, 0, 2]),
};

fn ip(v6: bool) -> IpEmit {
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        ("fd00::9".parse().unwrap(), "fd00::2".parse().unwrap())
    } else {
        ("10.0.0.9".parse().unwrap(), "10.0.0.2".parse().unwrap())
    };
    IpEmit {
        src,
        dst,
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    }
}

/// A host that is talked to frame by frame, and what it has sent.
struct Talk {
    world: World,
    sent: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Talk {
    fn new(v6: bool) -> Self {
        Self::with(v6, |_| {})
    }

    fn with(v6: bool, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let world = World::new(v6, tune);
        let sent = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&sent);
        world.link.set_tap(Some(Box::new(move |tapped| {
            if tapped.from == End::Right && tapped.frame[12..14] != [8, 6] {
                tap.borrow_mut().push(tapped.frame.to_vec());
            }
        })));
        let mut talk = Self { world, sent };
        talk.world.run(MOMENT);
        talk.sent.borrow_mut().clear();
        talk
    }

    fn send(&mut self, frame: &[u8]) {
        let now = self.world.now;
        self.world.link.inject(End::Left, now, Chunk::copy_from(frame));
    }

    fn answers(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        frames.iter().for_each(|frame| self.send(frame));
        self.world.run(MOMENT);
        self.sent.borrow_mut().drain(..).collect()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.world.server.stack.counters().drops.get(reason)
    }
}

/// An echo request of `len` bytes, in fragments that fit into `mtu`.
fn ping(v6: bool, len: usize, mtu: u16) -> Vec<Vec<u8>> {
    let mut message: Vec<u8> = (0..len).map(|i| i as u8).collect();
    message[..8].copy_from_slice(&[if v6 { 128 } else { 8 }, 0, 0, 0, 1, 2, 3, 4]);
    let ip = ip(v6);
    let mut sum = checksum::sum(&message);
    if v6 {
        sum += checksum::pseudo_header(ip.src, ip.dst, 58, len as u32);
    }
    message[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    let room = fragment_room(v6, mtu);
    let piece = |offset: usize| {
        let data = &message[offset..(offset + room).min(len)];
        let piece = Piece {
            id: 77,
            offset: offset as u16,
            more: offset + room < len,
        };
        let mut buf = vec![0; 2000];
        let len = emit_icmp_fragment(&mut buf, &LINK, &ip, piece, data).expect("there is room");
        buf.truncate(len);
        buf
    };
    (0..len).step_by(room).map(piece).collect()
}

#[test]
fn a_large_ping_in_fragments_is_answered_in_fragments() {
    for v6 in [false, true] {
        for len in [1700, 4008, 65_000] {
            let mut talk = Talk::new(v6);
            let mut request = ping(v6, len, 1280);
            request.reverse();
            let answer = talk.answers(&request);
            assert!(answer.len() > 1, "more than one packet holds");
            // Whoever asked puts the pieces together.
            let mut data = vec![0; len];
            let mut ids = Vec::new();
            for frame in &answer {
                assert!(frame.len() <= 1514, "each fits the link");
                let parsed = parse(frame, RxChecksum::Unknown).expect("well-formed");
                let Packet::Fragment(fragment) = parsed.packet else {
                    panic!("a fragment, not {:?}", parsed.packet);
                };
                ids.push(fragment.id);
                let at = usize::from(fragment.offset);
                data[at..at + fragment.data.len()].copy_from_slice(&frame[fragment.data.clone()]);
            }
            ids.dedup();
            assert_eq!(ids.len(), 1, "one identification");
            assert_eq!(data[0], if v6 { 129 } else { 0 }, "an echo reply");
            assert_eq!(data[4..8], [1, 2, 3, 4], "identifier and number");
            assert!(
                (8..len).all(|i| data[i] == i as u8),
                "with the data that was sent"
            );
            let ip = ip(v6);
            let mut sum = checksum::sum(&data);
            if v6 {
                sum += checksum::pseudo_header(ip.dst, ip.src, 58, len as u32);
            }
            assert!(checksum::verifies(sum), "and its checksum holds");
            assert_eq!(talk.world.server.stack.counters().reassembled, 1, "counted");
        }
    }
}

/// A SYN from `port` in two fragments, the second one first.
fn syn_in_fragments(port: u16) -> [Vec<u8>; 2] {
    let (ip, syn) = (ip(false), syn(port, 9));
    let mut frame = vec![0; tcp_headers_len(&ip, &syn)];
    emit_tcp(&mut frame, &LINK, &ip, &syn, 0, TxChecksum::Software);
    let cut = |from: usize, to: usize, more: bool| {
        let mut part = frame[..34].to_vec();
        part.extend_from_slice(&frame[34 + from..34 + to]);
        part[16..18].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
        part[20..22].copy_from_slice(&((from / 8) as u16 | u16::from(more) << 13).to_be_bytes());
        part[24..26].copy_from_slice(&[0, 0]);
        let sum = checksum::finish(checksum::sum(&part[14..34]));
        part[24..26].copy_from_slice(&sum.to_be_bytes());
        part
    };
    let len = frame.len() - 34;
    [cut(24, len, false), cut(0, 24, true)]
}

fn tcp(frame: &[u8]) -> Option<Segment> {
    match parse(frame, RxChecksum::Unknown).ok()?.packet {
        Packet::Tcp { segment, .. } => Some(segment),
        _ => None,
    }
}

fn has_syn_ack(answers: &[Vec<u8>]) -> bool {
    let is_one = |segment: Segment| segment.flags == Flags::SYN | Flags::ACK;
    answers.iter().filter_map(|frame| tcp(frame)).any(is_one)
}

#[test]
fn tcp_in_fragments_opens_a_connection() {
    let mut talk = Talk::new(false);
    let any = "0.0.0.0:80".parse().unwrap();
    talk.world.server.stack.listen(any, 4).unwrap();
    let answers = talk.answers(&syn_in_fragments(4000));
    assert!(
        has_syn_ack(&answers),
        "a SYN in two fragments is a SYN: {answers:?}"
    );
}

/// Fragments have no ports, so that they meet on the shard of their addresses.
#[test]
fn a_datagram_that_is_another_shards_is_handed_on_whole() {
    let steering = Arc::new(Steering::symmetric(2, 2));
    let mut talk = Talk::with(false, |config| config.share = Some(Share { steering, shard: 0 }));
    let any = "0.0.0.0:80".parse().unwrap();
    talk.world.server.stack.listen(any, 64).unwrap();
    let (mut here, mut strays) = (0, Vec::new());
    for port in 4_000..4_032 {
        let answers = talk.answers(&syn_in_fragments(port));
        let before = strays.len();
        talk.world.server.stack.take_strays(&mut strays);
        let stray = strays[before..].first().and_then(|frame| tcp(&frame.data));
        assert_eq!(stray.is_none(), has_syn_ack(&answers), "{port}: either, or");
        match stray {
            Some(segment) => assert_eq!(segment.src_port, port, "as it was"),
            None => here += 1,
        }
    }
    assert!(
        here > 4 && strays.len() > 4,
        "{here} here, {} there",
        strays.len()
    );
}

/// Type, code, and the word behind the checksum of an ICMP message.
fn icmp(frame: &[u8]) -> (u8, u8, u32) {
    let at = if frame[12] == 8 { 34 } else { 54 };
    let word = u32::from_be_bytes(frame[at + 4..at + 8].try_into().unwrap());
    (frame[at], frame[at + 1], word)
}

#[test]
fn a_datagram_whose_rest_never_comes_is_answered_if_its_beginning_came() {
    for (v6, wait, expected) in [(false, 30, (11, 1, 0)), (true, 60, (3, 1, 0))] {
        for (which, told) in [(0, true), (1, false)] {
            let mut talk = Talk::new(v6);
            let fragments = ping(v6, 4008, 1500);
            let at_once = talk.answers(&fragments[which..=which]);
            assert_eq!(at_once.len(), 0, "the rest is waited for");
            talk.world.run(Duration::from_secs(wait + 1));
            let later: Vec<_> = talk.sent.borrow_mut().drain(..).collect();
            let told = told.then_some(expected);
            assert_eq!(
                later.iter().map(|frame| icmp(frame)).collect::<Vec<_>>(),
                Vec::from_iter(told),
                "fragment {which} alone"
            );
            if let Some(frame) = later.first() {
                let quoted = &frame[if v6 { 62 } else { 42 }..];
                let original = &fragments[which][14..];
                assert_eq!(
                    quoted,
                    &original[..quoted.len()],
                    "it quotes the fragment as it came"
                );
            }
            assert_eq!(talk.drops(DropReason::FragmentTimedOut), 1, "counted");
        }
    }
}

#[test]
fn overlapping_fragments_are_thrown_away_in_silence() {
    for v6 in [false, true] {
        let mut talk = Talk::new(v6);
        let mut fragments = ping(v6, 4008, 1500);
        let overlap = ping(v6, 4008, 1280).swap_remove(1);
        fragments.insert(1, overlap);
        assert_eq!(talk.answers(&fragments).len(), 0, "no echo, no error");
        talk.world.run(Duration::from_secs(100));
        assert_eq!(talk.sent.borrow().len(), 0, "nor later");
        assert_eq!(
            talk.drops(DropReason::OverlappingFragment),
            fragments.len() as u64,
            "every one counted"
        );
    }
}

/// An IPv6 packet to `dst` whose header names `first`, followed by `rest`.
fn v6_packet(dst: &str, first: u8, rest: &[u8]) -> Vec<u8> {
    let ip = IpEmit {
        dst: dst.parse().unwrap(),
        ..ip(true)
    };
    let mut message = vec![0; 8 + rest.len()];
    message[8..].copy_from_slice(rest);
    let mut frame = vec![0; 62 + rest.len()];
    emit_echo_reply(&mut frame, &LINK, &ip, &message).expect("there is room");
    frame.splice(54..62, []);
    frame[18..20].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    frame[20] = first;
    frame
}

#[test]
fn problems_in_ipv6_headers_are_told_where_rfc_8200_wants_them_told() {
    let host = "fd00::2";
    type Case = (&'static str, Vec<u8>, Option<(u8, u8, u32)>);
    let cases: [Case; 8] = [
        (
            "an unknown next header",
            v6_packet(host, 200, &[0; 8]),
            Some((4, 1, 6)),
        ),
        ("UDP to nobody", v6_packet(host, 17, &[0; 8]), Some((1, 4, 0))),
        ("no next header", v6_packet(host, 59, &[0; 8]), None),
        (
            "a routing header with segments left",
            v6_packet(host, 43, &[6, 0, 0, 1, 0, 0, 0, 0]),
            Some((4, 0, 42)),
        ),
        (
            "an option to be silent about",
            v6_packet(host, 60, &[6, 0, 0x7e, 4, 0, 0, 0, 0]),
            None,
        ),
        (
            "an option to be told of",
            v6_packet(host, 60, &[6, 0, 0xbe, 4, 0, 0, 0, 0]),
            Some((4, 2, 42)),
        ),
        (
            "a first fragment without the upper header",
            v6_packet(host, 44, &[6, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
            Some((4, 3, 0)),
        ),
        ("somebody else's", v6_packet("fd00::7", 200, &[0; 8]), None),
    ];
    for (what, frame, expected) in cases {
        let mut talk = Talk::new(true);
        let answers = talk.answers(std::slice::from_ref(&frame));
        let got: Vec<_> = answers.iter().map(|frame| icmp(frame)).collect();
        assert_eq!(got, Vec::from_iter(expected), "{what}");
        if let Some(answer) = answers.first() {
            assert_eq!(answer[62..], frame[14..], "{what}: it quotes the packet");
        }
    }
}

#[test]
fn icmp_errors_are_limited_and_never_about_errors() {
    let mut talk = Talk::new(true);
    let flood = vec![v6_packet("fd00::2", 200, &[0; 8]); 500];
    let answers = talk.answers(&flood).len();
    assert!((1..=200).contains(&answers), "{answers} of a thousand a second");
    // The first fragment of an error whose rest never comes.
    let mut talk = Talk::new(true);
    let mut error = ping(true, 4008, 1500).swap_remove(0);
    error[62] = 3;
    talk.answers(&[error]);
    talk.world.run(Duration::from_secs(61));
    assert_eq!(talk.sent.borrow().len(), 0, "no error about an error");
}

#[test]
fn an_unspoken_ipv4_protocol_is_answered_by_what_is_unreachable() {
    for (protocol, expected) in [(17, (3, 3, 0)), (132, (3, 2, 0))] {
        let mut talk = Talk::new(false);
        let ip = ip(false);
        let mut frame = vec![0; 14 + 20 + 16];
        emit_echo_reply(&mut frame, &LINK, &ip, &[0; 16]).expect("there is room");
        frame[23] = protocol;
        frame[24..26].copy_from_slice(&[0, 0]);
        let sum = checksum::finish(checksum::sum(&frame[14..34]));
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let answers = talk.answers(&[frame]);
        let got: Vec<_> = answers.iter().map(|frame| icmp(frame)).collect();
        assert_eq!(got, [expected], "protocol {protocol}");
    }
}

#[test]
fn a_ping_is_answered_and_a_flood_of_them_is_limited() {
    for v6 in [false, true] {
        let mut talk = Talk::new(v6);
        let answers = talk.answers(&ping(v6, 64, 1500));
        assert_eq!(answers.len(), 1, "{answers:?}");
        let (kind, _, word) = icmp(&answers[0]);
        assert_eq!((kind, word), (if v6 { 129 } else { 0 }, 0x0102_0304));
        let flood = vec![ping(v6, 64, 1500).remove(0); 3_000];
        let answers = talk.answers(&flood).len() as u64;
        assert!((1..3_000).contains(&answers), "{answers}");
        let limited = talk.drops(DropReason::ReplyRateLimited);
        assert_eq!(
            answers + limited + talk.drops(DropReason::ControlQueueFull),
            3_000,
            "the rest is counted"
        );
        assert!(limited > 0);
    }
}

/// Protects the queue from requests whose answers are many packets each.
#[test]
fn pings_whose_answers_do_not_fit_into_the_queue_are_dropped_whole() {
    for v6 in [false, true] {
        let mut talk = Talk::new(v6);
        let mut pings = Vec::new();
        for id in 0..8 {
            for mut piece in ping(v6, 60_000, 1500) {
                // Another identification.
                let at = if v6 { 61 } else { 19 };
                piece[at] = id;
                if !v6 {
                    piece[24..26].copy_from_slice(&[0, 0]);
                    let sum = checksum::finish(checksum::sum(&piece[14..34]));
                    piece[24..26].copy_from_slice(&sum.to_be_bytes());
                }
                pings.push(piece);
            }
        }
        let now = talk.world.now;
        let stack = &mut talk.world.server.stack;
        for piece in &pings {
            let frame = RxFrame {
                data: Chunk::copy_from(piece),
                checksum: RxChecksum::Unknown,
            };
            stack.on_burst(now, &mut vec![frame]);
        }
        assert_eq!(stack.counters().reassembled, 8);
        let dropped = talk.drops(DropReason::ControlQueueFull);
        assert!((1..8).contains(&dropped), "{dropped} of eight");
        let each = pings.len() as u64 / 8;
        let answers = talk.answers(&[]).len() as u64;
        assert_eq!(answers, (8 - dropped) * each, "the others are whole");
    }
}

#[test]
fn a_fragment_to_a_group_of_stations_or_within_fragments_is_dropped() {
    for v6 in [false, true] {
        let mut talk = Talk::new(v6);
        let mut to_group = ping(v6, 4008, 1500);
        to_group
            .iter_mut()
            .for_each(|f| f[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]));
        assert_eq!(talk.answers(&to_group).len(), 0);
        assert_eq!(talk.drops(DropReason::NotOurAddress), to_group.len() as u64);
    }
    let mut talk = Talk::new(true);
    let mut nested = ping(true, 4008, 1500);
    // What is put together begins with another fragment header.
    nested.iter_mut().for_each(|frame| frame[54] = 44);
    nested[0][62..70].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 5]);
    assert_eq!(talk.answers(&nested).len(), 0);
    assert_eq!(talk.drops(DropReason::MalformedFragment), 1);
    assert_eq!(talk.world.server.stack.counters().reassembled, 1, "once");
}

//= rfc8200#section-4.2 (MUST)
#[test]
fn of_problems_in_what_was_sent_to_a_group_only_some_options_are_told() {
    for (what, frame, expected) in [
        ("an unknown next header", v6_packet("ff02::1", 200, &[0; 8]), None),
        (
            "an option to be told of",
            v6_packet("ff02::1", 60, &[6, 0, 0xbe, 4, 0, 0, 0, 0]),
            Some((4, 2, 42)),
        ),
        (
            "an option to be told of by who was meant alone",
            v6_packet("ff02::1", 60, &[6, 0, 0xfe, 4, 0, 0, 0, 0]),
            None,
        ),
    ] {
        let mut talk = Talk::new(true);
        let answers = talk.answers(&[frame]);
        let got: Vec<_> = answers.iter().map(|frame| icmp(frame)).collect();
        assert_eq!(got, Vec::from_iter(expected), "{what}");
        if let Some(answer) = answers.first() {
            assert_eq!(
                answer[22..38],
                ip(true)
                    .dst
                    .to_string()
                    .parse::<std::net::Ipv6Addr>()
                    .unwrap()
                    .octets(),
                "from an address of its own"
            );
        }
    }
}
