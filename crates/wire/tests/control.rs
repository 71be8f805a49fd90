//! ARP, echo, neighbour discovery and ICMP errors: what is written reads back,
//! what must not be believed is not.

mod common;

use common::LINK;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use crore_base::{DropReason, FourTuple, MacAddr, RxChecksum, SeqNum};
use crore_wire::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const US: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x00ab, 0xcdef);

fn read(frame: &[u8]) -> Result<Packet, DropReason> {
    parse(frame, RxChecksum::Unknown).map(|frame| frame.packet)
}

fn ip(src: IpAddr, dst: IpAddr) -> IpEmit {
    IpEmit {
        src,
        dst,
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    }
}

/// An ICMP message in a frame, its checksum made right.
fn icmp_frame(ip: &IpEmit, mut message: Vec<u8>) -> Vec<u8> {
    // An echo reply carries any bytes; then the type and code are put back.
    let (kind, code) = (message[0], message[1]);
    message.resize(message.len().max(8), 0);
    let mut frame = vec![0; echo_reply_len(ip, message.len())];
    emit_echo_reply(&mut frame, &LINK, ip, &message).expect("there is room");
    let at = ETHERNET_HEADER + ip.header_len();
    frame[at..at + 4].copy_from_slice(&[kind, code, 0, 0]);
    let mut partial = checksum::sum(&frame[at..]);
    if ip.src.is_ipv6() {
        partial += checksum::pseudo_header(ip.src, ip.dst, 58, message.len() as u32);
    }
    frame[at + 2..at + 4].copy_from_slice(&checksum::finish(partial).to_be_bytes());
    frame
}

proptest! {
    #[test]
    fn arp_reads_back(reply: bool, s: [u8; 4], t: [u8; 4], sm: [u8; 6], tm: [u8; 6]) {
        let arp = Arp {
            operation: if reply { ArpOperation::Reply } else { ArpOperation::Request },
            sender_mac: MacAddr(sm), sender_ip: s.into(), target_mac: MacAddr(tm), target_ip: t.into(),
        };
        let mut frame = [0; ARP_FRAME_LEN];
        prop_assert_eq!(emit_arp(&mut frame, &LINK, &arp), Some(ARP_FRAME_LEN));
        prop_assert_eq!(emit_arp(&mut [0; ARP_FRAME_LEN - 1], &LINK, &arp), None);
        let honest = sm[0] & 1 == 0 && !arp.sender_ip.is_multicast() && !arp.sender_ip.is_broadcast();
        let wanted = if honest { Ok(Packet::Arp(arp)) } else { Err(DropReason::MalformedArp) };
        prop_assert_eq!(read(&frame), wanted);
    }

    #[test]
    fn an_echo_goes_back_as_it_came(v6: bool, data in vec(any::<u8>(), 0..100)) {
        let (us, peer): (IpAddr, IpAddr) = if v6 { (US.into(), PEER.into()) } else { (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into()) };
        let request = [&[if v6 { 128 } else { 8 }, 0, 0, 0, 1, 2, 3, 4], &data[..]].concat();
        let frame = icmp_frame(&ip(peer, us), request.clone());
        let message = match read(&frame) {
            Ok(Packet::EchoRequest { ip, message }) => {
                prop_assert_eq!((ip.src, ip.dst), (peer, us));
                message
            }
            other => panic!("an echo request was read as {other:?}"),
        };
        let reply_ip = ip(us, peer);
        let mut reply = vec![0xff; echo_reply_len(&reply_ip, message.len())];
        let len = emit_echo_reply(&mut reply, &LINK, &reply_ip, &frame[message]);
        prop_assert_eq!(len, Some(reply.len()));
        prop_assert_eq!(&reply[len.unwrap() - request.len() + 4..], &request[4..]);
        let kind = if v6 { 129 } else { 0 };
        // Reading it back verifies the checksum, too.
        let is_reply = matches!(read(&reply), Ok(Packet::OtherIcmp { kind: k, .. }) if k == kind);
        prop_assert!(is_reply, "read as {:?}", read(&reply));
    }

    #[test]
    fn neighbour_messages_read_back(target: [u8; 16], mac in option::of(any::<[u8; 5]>()), flags: (bool, bool, bool)) {
        let target = Ipv6Addr::from(target);
        prop_assume!(!target.is_multicast());
        let mac = mac.map(|[a, b, c, d, e]| MacAddr([2, a, b, c, d, e]));
        let mut buf = [0; NEIGHBOR_FRAME_LEN];
        let solicitation = NeighborSolicitation { target, source_mac: mac };
        let len = emit_neighbor_solicitation(&mut buf, &LINK, US, solicited_node(target), &solicitation).expect("room");
        match read(&buf[..len]) {
            Ok(Packet::NeighborSolicitation { solicitation: back, .. }) => prop_assert_eq!(back, solicitation),
            other => panic!("read as {other:?}"),
        }
        let (router, solicited, overriding) = flags;
        let advertisement = NeighborAdvertisement { target, target_mac: mac, router, solicited, overriding };
        let len = emit_neighbor_advertisement(&mut buf, &LINK, US, PEER, &advertisement).expect("room");
        match read(&buf[..len]) {
            Ok(Packet::NeighborAdvertisement { advertisement: back, .. }) => prop_assert_eq!(back, advertisement),
            other => panic!("read as {other:?}"),
        }
        prop_assert_eq!(emit_neighbor_advertisement(&mut buf[..len - 1], &LINK, US, PEER, &advertisement), None);
    }
}

#[test]
fn the_solicited_node_group_and_its_mac_are_those_of_the_rfcs() {
    let group = solicited_node(PEER);
    assert_eq!(group.to_string(), "ff02::1:ffab:cdef", "RFC 4291 section 2.7.1");
    assert_eq!(
        multicast_mac(group),
        MacAddr([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]),
        "RFC 2464 section 7"
    );
}

#[test]
fn neighbour_messages_that_must_not_be_believed_are_dropped() {
    let solicit = |src: Ipv6Addr, dst: Ipv6Addr, source_mac| {
        let mut buf = vec![0; NEIGHBOR_FRAME_LEN];
        let solicitation = NeighborSolicitation {
            target: US,
            source_mac,
        };
        let len = emit_neighbor_solicitation(&mut buf, &LINK, src, dst, &solicitation).expect("room");
        buf.truncate(len);
        buf
    };
    let any = Ipv6Addr::UNSPECIFIED;
    let group = solicited_node(US);
    assert!(
        matches!(
            read(&solicit(any, group, None)),
            Ok(Packet::NeighborSolicitation { .. })
        ),
        "duplicate address detection is valid"
    );
    let malformed = Err(DropReason::MalformedIcmp);
    assert_eq!(
        read(&solicit(any, US, None)),
        malformed,
        "detection to a unicast address"
    );
    assert_eq!(
        read(&solicit(any, group, Some(MAC))),
        malformed,
        "detection with a source"
    );
    assert_eq!(
        read(&solicit(PEER, US, Some(MacAddr::BROADCAST))),
        malformed,
        "nobody is a group"
    );
    let mut routed = solicit(PEER, US, Some(MAC));
    routed[ETHERNET_HEADER + 7] = 254;
    assert_eq!(
        read(&routed),
        Err(DropReason::OffLinkNeighbor),
        "it passed a router"
    );
    let mut corrupt = solicit(PEER, US, Some(MAC));
    *corrupt.last_mut().expect("not empty") ^= 1;
    assert_eq!(read(&corrupt), malformed, "the checksum tells");

    let far = IpEmit {
        hop_limit: 255,
        ..ip(PEER.into(), US.into())
    };
    let with_option = |option: &[u8]| {
        let head = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &US.octets()].concat();
        read(&icmp_frame(&far, [&head, option].concat()))
    };
    assert_eq!(
        with_option(&[1, 0, 0, 0, 0, 0, 0, 0]),
        malformed,
        "an option without length"
    );
    assert_eq!(
        with_option(&[1, 2, 0, 0, 0, 0, 0, 0]),
        malformed,
        "an option past the end"
    );
    assert_eq!(with_option(&[1]), malformed, "half an option");
    assert!(
        with_option(&[77, 1, 0, 0, 0, 0, 0, 0]).is_ok(),
        "an unknown option is ignored"
    );
    assert!(
        with_option(&[3, 1, 0, 0, 0, 0, 0, 0]).is_ok(),
        "so is a short prefix option, which is none of this message's"
    );
    let to_group = NeighborAdvertisement {
        target: PEER,
        target_mac: Some(MAC),
        router: false,
        solicited: true,
        overriding: false,
    };
    let mut buf = [0; NEIGHBOR_FRAME_LEN];
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    emit_neighbor_advertisement(&mut buf, &LINK, PEER, all_nodes, &to_group).expect("room");
    assert_eq!(read(&buf), malformed, "no group solicits");
}

#[test]
fn icmp_errors_name_the_connection_that_they_are_about() {
    let flow = |local: IpAddr, remote: IpAddr| FourTuple {
        local_addr: local,
        local_port: 40_000,
        remote_addr: remote,
        remote_port: 80,
    };
    let tcp = [0x9c, 0x40, 0, 80, 0, 1, 0, 0];
    let (us, peer) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let quote4 = |protocol: u8, offset: u8| {
        let fixed = [0x45, 0, 5, 220, 0, 0, 0x40, offset, 64, protocol, 0, 0];
        [&fixed[..], &us.octets(), &peer.octets(), &tcp].concat()
    };
    let quote6 = [
        &[0x60, 0, 0, 0, 4, 0xd0, 6, 64][..],
        &US.octets(),
        &PEER.octets(),
        &tcp,
    ]
    .concat();
    let embedded = |local, remote, len| {
        Some(Embedded {
            flow: flow(local, remote),
            seq: SeqNum(65_536),
            len,
        })
    };
    let v4 = embedded(us.into(), peer.into(), 1500);
    let v6 = embedded(US.into(), PEER.into(), 1272);
    let ip4 = ip(peer.into(), us.into());
    let ip6 = ip(PEER.into(), US.into());
    type Case<'a> = (
        &'a str,
        &'a IpEmit,
        [u8; 8],
        &'a [u8],
        IcmpErrorKind,
        Option<Embedded>,
    );
    let tcp4 = quote4(6, 0);
    let (udp4, later4) = (quote4(17, 0), quote4(6, 1));
    let unreachable = |code| IcmpErrorKind::Unreachable { code };
    let cases: &[Case<'_>] = &[
        ("port", &ip4, [3, 3, 0, 0, 0, 0, 0, 0], &tcp4, unreachable(3), v4),
        (
            "fragmentation needed",
            &ip4,
            [3, 4, 0, 0, 0, 0, 5, 0],
            &tcp4,
            IcmpErrorKind::PacketTooBig { mtu: 1280 },
            v4,
        ),
        (
            "time",
            &ip4,
            [11, 0, 0, 0, 0, 0, 0, 0],
            &tcp4,
            IcmpErrorKind::TimeExceeded { code: 0 },
            v4,
        ),
        (
            "parameter",
            &ip4,
            [12, 0, 0, 0, 20, 0, 0, 0],
            &tcp4,
            IcmpErrorKind::ParameterProblem { code: 0 },
            v4,
        ),
        (
            "about UDP",
            &ip4,
            [3, 3, 0, 0, 0, 0, 0, 0],
            &udp4,
            unreachable(3),
            None,
        ),
        (
            "about a later fragment",
            &ip4,
            [3, 3, 0, 0, 0, 0, 0, 0],
            &later4,
            unreachable(3),
            None,
        ),
        (
            "quoting too little",
            &ip4,
            [3, 3, 0, 0, 0, 0, 0, 0],
            &tcp4[..27],
            unreachable(3),
            None,
        ),
        (
            "v6 port",
            &ip6,
            [1, 4, 0, 0, 0, 0, 0, 0],
            &quote6,
            unreachable(4),
            v6,
        ),
        (
            "v6 too big",
            &ip6,
            [2, 0, 0, 0, 0, 0, 5, 0],
            &quote6,
            IcmpErrorKind::PacketTooBig { mtu: 1280 },
            v6,
        ),
        (
            "v6 time",
            &ip6,
            [3, 1, 0, 0, 0, 0, 0, 0],
            &quote6,
            IcmpErrorKind::TimeExceeded { code: 1 },
            v6,
        ),
        (
            "v6 quoting too little",
            &ip6,
            [1, 4, 0, 0, 0, 0, 0, 0],
            &quote6[..47],
            unreachable(4),
            None,
        ),
    ];
    for (what, ip, header, quote, kind, embedded) in cases {
        let frame = icmp_frame(ip, [&header[..], quote].concat());
        match read(&frame) {
            Ok(Packet::IcmpError { error, .. }) => {
                assert_eq!((error.kind, error.embedded), (*kind, *embedded), "{what}");
            }
            other => panic!("{what}: read as {other:?}"),
        }
        let mut corrupt = frame;
        *corrupt.last_mut().expect("not empty") ^= 1;
        assert_eq!(
            parse(&corrupt, RxChecksum::Good),
            Err(DropReason::MalformedIcmp),
            "{what}: no NIC vouches for an ICMP checksum"
        );
    }
}

#[test]
fn the_other_family_s_icmp_is_nobodys() {
    let mut frame = icmp_frame(&ip(PEER.into(), US.into()), vec![128, 0, 0, 0, 0, 0, 0, 0]);
    frame[ETHERNET_HEADER + 6] = 1;
    assert!(
        matches!(read(&frame), Ok(Packet::Unhandled { protocol: 1, .. })),
        "ICMPv4 in IPv6 means nothing"
    );
}
