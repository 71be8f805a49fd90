//! What is written reads back, here and in smoltcp's eyes.

mod common;

use common::*;
use core::net::IpAddr;
use crore_base::{DropReason, RxChecksum};
use crore_wire::{
    ETHERNET_HEADER, Ecn, Frame, IpEmit, Packet, Segment, TcpOptions, TxChecksum, emit_tcp, parse,
    parse_plain, tcp_headers_len,
};
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket};

/// `segment` as a receiver sees it: without the SACK blocks that had no room,
/// and with the ECN field of its IP header.
fn as_sent(mut segment: Segment, ip: &IpEmit) -> Segment {
    segment.ecn = Ecn::from_bits(ip.ecn);
    let mut alone = segment.options;
    alone.sack = crore_wire::SackBlocks::new();
    alone.accurate_ecn = alone
        .accurate_ecn
        .filter(|o| o.encoded_len() <= alone.spare_len());
    let room = segment.options.encoded_len() - alone.encoded_len();
    for (left, right) in segment.options.sack.iter().take(room / 8) {
        alone.sack.push(left, right);
    }
    segment.options = alone;
    segment
}

fn take_tcp(frame: Frame) -> (crore_wire::IpInfo, Segment, core::ops::Range<usize>) {
    assert_eq!(
        (frame.src_mac, frame.dst_mac),
        (LINK.src, LINK.dst),
        "who and whom"
    );
    match frame.packet {
        Packet::Tcp { ip, segment, payload } => (ip, segment, payload),
        other => panic!("a TCP frame was read as {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_written_segment_reads_back(ip in ip(), segment in segment(), payload in vec(any::<u8>(), 0..200), padding in 0usize..20) {
        let mut frame = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        let len = frame.len();
        frame.resize(len + padding, 0x5a);
        let (info, read, range) = take_tcp(parse(&frame, RxChecksum::Unknown).expect("a valid frame"));
        prop_assert_eq!(read, as_sent(segment, &ip));
        prop_assert_eq!((info.src, info.dst, info.hop_limit, info.ecn), (ip.src, ip.dst, ip.hop_limit, ip.ecn));
        prop_assert_eq!(usize::from(info.header_len), ip.header_len());
        prop_assert_eq!(&frame[range.clone()], &payload[..], "padding stays out");
        prop_assert_eq!(range.start, tcp_headers_len(&ip, &segment));
    }

    #[test]
    fn the_short_way_sees_what_the_long_one_sees(
        ip in ip(), mut segment in segment(), plain: bool, payload in vec(any::<u8>(), 0..200),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), padding in 0usize..20,
    ) {
        if plain {
            segment.options = TcpOptions { timestamps: segment.options.timestamps, ..TcpOptions::default() };
        }
        let mut frame = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        frame.resize(frame.len() + padding, 0x5a);
        for verdict in [RxChecksum::Unknown, RxChecksum::Good, RxChecksum::Partial] {
            let taken = parse_plain(&frame, verdict).is_some();
            prop_assert!(taken == (ip.src.is_ipv4() && plain) || !plain, "what is usual goes the short way");
        }
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        for verdict in [RxChecksum::Unknown, RxChecksum::Good, RxChecksum::Bad, RxChecksum::Partial] {
            let Some(short) = parse_plain(&frame, verdict) else { continue };
            let long = parse(&frame, verdict).expect("what the short way takes is valid");
            prop_assert_eq!((short.src_mac, short.dst_mac), (long.src_mac, long.dst_mac));
            match long.packet {
                Packet::Tcp { ip, segment, payload } => {
                    prop_assert_eq!((ip.src, ip.dst), (IpAddr::V4(short.src), IpAddr::V4(short.dst)));
                    prop_assert_eq!(segment, short.segment);
                    prop_assert_eq!((payload.start, payload.end), short.payload);
                }
                other => prop_assert!(false, "{other:?} is no TCP"),
            }
        }
    }

    #[test]
    fn smoltcp_agrees_with_what_is_written(ip in ip(), segment in segment(), payload in vec(any::<u8>(), 0..200)) {
        let frame = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        let packet = &frame[ETHERNET_HEADER..];
        let tcp = match ip.src {
            IpAddr::V4(_) => {
                let view = Ipv4Packet::new_checked(packet).expect("valid");
                prop_assert!(view.verify_checksum() && view.dont_frag() && view.ident() == ip.ident);
                view.payload()
            }
            IpAddr::V6(_) => {
                let view = Ipv6Packet::new_checked(packet).expect("valid");
                prop_assert_eq!(view.traffic_class(), ip.ecn);
                view.payload()
            }
        };
        let view = TcpPacket::new_checked(tcp).expect("valid");
        prop_assert!(view.verify_checksum(&ip.src.into(), &ip.dst.into()));
        prop_assert_eq!(view.payload(), &payload[..]);
        prop_assert_eq!(view.header_len() as usize, segment.header_len());
        prop_assert_eq!((view.src_port(), view.dst_port(), view.window_len()), (segment.src_port, segment.dst_port, segment.window));
        prop_assert_eq!(view.ece() && view.cwr(), segment.flags.has_ece() && segment.flags.has_cwr());
    }

    #[test]
    fn a_checksum_left_to_an_offload_is_told_from_a_wrong_one(ip in ip(), segment in segment(), payload in vec(any::<u8>(), 0..100), flip in 0usize..100) {
        let partial = tcp_frame(&ip, &segment, &payload, TxChecksum::OffloadTcpOnly);
        let complete = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        // One segment in 65,536 has both alike.
        prop_assume!(partial != complete);
        prop_assert_eq!(parse(&partial, RxChecksum::Unknown), Err(DropReason::PartialTcpChecksum));
        prop_assert_eq!(parse(&partial, RxChecksum::Bad), Err(DropReason::PartialTcpChecksum), "also when the NIC noticed");
        for vouched in [RxChecksum::Good, RxChecksum::Partial] {
            let (_, read, _) = take_tcp(parse(&partial, vouched).expect("the NIC vouches for it"));
            prop_assert_eq!(read, as_sent(segment, &ip));
        }
        let mut wrong = complete;
        let at = ETHERNET_HEADER + ip.header_len();
        // Not the checksum itself, which could come to look partial, nor the header's length.
        let places: Vec<usize> = (at..wrong.len()).filter(|i| !matches!(i - at, 12 | 16 | 17)).collect();
        wrong[places[flip % places.len()]] ^= 0x10;
        prop_assert_eq!(parse(&wrong, RxChecksum::Unknown), Err(DropReason::BadTcpChecksum));
    }

    #[test]
    fn a_full_offload_leaves_the_ip_header_to_the_nic(ip in ip(), segment in segment()) {
        let frame = tcp_frame(&ip, &segment, &[], TxChecksum::Offload);
        if ip.src.is_ipv4() {
            prop_assert_eq!(&frame[ETHERNET_HEADER + 10..ETHERNET_HEADER + 12], &[0, 0]);
            prop_assert_eq!(parse(&frame, RxChecksum::Unknown), Err(DropReason::BadIpChecksum));
            prop_assert_eq!(parse(&frame, RxChecksum::Bad), Err(DropReason::BadIpChecksum), "it is named");
        }
        prop_assert!(parse(&frame, RxChecksum::Good).is_ok(), "the NIC will have filled it in");
    }
}

#[test]
fn every_combination_of_options_reads_back_at_odd_and_even_payloads() {
    use crore_base::{SeqNum, WindowScale};
    use crore_wire::{AccEcnOption, AccEcnOrder, Flags, SackBlocks, Timestamps};
    let ips = [ip_of("10.0.0.1", "10.0.0.2"), ip_of("fd00::1", "fd00::2")];
    for bits in 0..32 * 5u32 {
        let mut sack = SackBlocks::new();
        for block in 0..bits / 32 {
            sack.push(SeqNum(block * 100), SeqNum(block * 100 + 50));
        }
        let options = TcpOptions {
            mss: (bits & 1 != 0).then_some(1460),
            window_scale: (bits & 2 != 0).then_some(WindowScale::new(7)),
            sack_permitted: bits & 4 != 0,
            timestamps: (bits & 8 != 0).then_some(Timestamps { value: 1, echo: 2 }),
            sack,
            accurate_ecn: (bits & 16 != 0)
                .then(|| AccEcnOption::new(AccEcnOrder::Ect1First, &[1, 2, 3][..bits as usize % 4])),
            ..TcpOptions::default()
        };
        let segment = Segment {
            flags: Flags::ACK,
            options,
            ..Segment::default()
        };
        for ip in &ips {
            for payload in [&b""[..], b"x", b"xy", b"xyz"] {
                let frame = tcp_frame(ip, &segment, payload, TxChecksum::Software);
                let (_, read, range) = take_tcp(parse(&frame, RxChecksum::Unknown).expect("valid"));
                assert_eq!(read, as_sent(segment, ip), "{options:?}");
                assert_eq!(&frame[range], payload, "{options:?}");
            }
        }
    }
}

fn ip_of(src: &str, dst: &str) -> IpEmit {
    IpEmit {
        src: src.parse().expect("an address"),
        dst: dst.parse().expect("an address"),
        hop_limit: 64,
        ecn: 0,
        ident: 1,
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn a_frame_that_does_not_fit_is_not_written() {
    let ip = ip_of("10.0.0.1", "10.0.0.2");
    let segment = Segment::default();
    let emit = |len, payload| {
        emit_tcp(
            &mut vec![0; len],
            &LINK,
            &ip,
            &segment,
            payload,
            TxChecksum::Software,
        )
    };
    assert_eq!(emit(54, 0), 54, "it just fits");
    assert_eq!(emit(53, 0), 0, "no room for the headers");
    assert_eq!(emit(60, 7), 0, "no room for the payload");
    assert_eq!(emit(1 << 17, 65_496), 0, "more than IP can say");
    assert_eq!(emit(1 << 17, usize::MAX), 0, "nor does the sum overflow");
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "bytes of payload into")]
fn a_frame_that_does_not_fit_is_the_callers_mistake() {
    let ip = ip_of("10.0.0.1", "10.0.0.2");
    emit_tcp(
        &mut [0; 53],
        &LINK,
        &ip,
        &Segment::default(),
        0,
        TxChecksum::Software,
    );
}
