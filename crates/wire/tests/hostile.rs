//! Whatever the bytes, parsing ends, without a panic and with an answer that
//! lies within the frame.

mod common;

use common::*;
use core::ops::Range;
use crore_base::{DropReason, RxChecksum};
use crore_wire::{ETHERNET_HEADER, IpEmit, Packet, Segment, TxChecksum, checksum, parse};
use proptest::collection::vec;
use proptest::prelude::*;

const VERDICTS: [RxChecksum; 4] = [
    RxChecksum::Unknown,
    RxChecksum::Good,
    RxChecksum::Bad,
    RxChecksum::Partial,
];

fn parse_every_way(frame: &[u8]) {
    for verdict in VERDICTS {
        let range = match parse(frame, verdict).map(|frame| frame.packet) {
            Ok(Packet::Tcp { payload, .. }) => payload,
            Ok(Packet::EchoRequest { message, .. }) => message,
            Ok(Packet::Fragment(fragment)) => {
                assert!(!fragment.data.is_empty(), "a fragment has data");
                fragment.data
            }
            _ => Range::default(),
        };
        assert!(frame.get(range).is_some(), "what is handed on lies in the frame");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_are_survived(frame in vec(any::<u8>(), 0..200)) {
        parse_every_way(&frame);
    }

    #[test]
    fn any_bytes_behind_a_known_ethertype_are_survived(kind in 0usize..5, mut frame in vec(any::<u8>(), 14..200)) {
        let (ethertype, first, protocol): ([u8; 2], u8, u8) = [
            ([8, 0], 0x45, 6), ([8, 0], 0x46, 1), ([8, 6], 0, 0), ([0x86, 0xdd], 0x60, 58), ([0x86, 0xdd], 0x60, 0),
        ][kind];
        frame[12..14].copy_from_slice(&ethertype);
        if frame.len() > 60 && kind != 2 {
            let len = frame.len() - ETHERNET_HEADER;
            frame[14] = first;
            if first >> 4 == 4 {
                frame[16..18].copy_from_slice(&(len as u16).to_be_bytes());
                frame[20..22].copy_from_slice(&[0, 0]);
                frame[23] = protocol;
            } else {
                frame[18..20].copy_from_slice(&((len - 40) as u16).to_be_bytes());
                frame[20] = protocol;
            }
        }
        parse_every_way(&frame);
    }

    #[test]
    fn mutated_frames_are_survived(
        ip in ip(), segment in segment(), payload in vec(any::<u8>(), 0..64),
        mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), do_cut: bool,
    ) {
        let mut frame = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if do_cut {
            frame.truncate(cut.index(frame.len()));
        }
        parse_every_way(&frame);
    }

    #[test]
    fn a_frame_cut_anywhere_is_dropped(ip in ip(), segment in segment(), payload in vec(any::<u8>(), 0..64), cut in any::<prop::sample::Index>()) {
        let frame = tcp_frame(&ip, &segment, &payload, TxChecksum::Software);
        let cut = cut.index(frame.len());
        prop_assert_eq!(parse(&frame[..cut], RxChecksum::Good), Err(DropReason::Truncated));
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

/// An IPv4 TCP frame with `change` made to its IP header, whose checksum is
/// then made right again.
fn v4_changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = tcp_frame(
        &ip_of("10.0.0.1", "10.0.0.2"),
        &Segment::default(),
        b"data",
        TxChecksum::Software,
    );
    change(&mut frame);
    frame[24..26].copy_from_slice(&[0, 0]);
    let header_len = usize::from(frame[14] & 15) * 4;
    let end = (ETHERNET_HEADER + header_len).min(frame.len());
    let sum = checksum::finish(checksum::sum(&frame[ETHERNET_HEADER..end]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Puts IPv4 options behind the header of a frame.
fn v4_options(frame: &mut Vec<u8>, options: [u8; 8]) {
    frame[14] = 0x47;
    frame[17] += 8;
    frame.splice(34..34, options);
}

#[test]
fn ipv4_headers_that_contradict_themselves_are_dropped() {
    type Case = (&'static str, fn(&mut Vec<u8>), DropReason);
    let cases: &[Case] = &[
        ("version 5", |f| f[14] = 0x55, DropReason::MalformedIp),
        ("a header of 16 bytes", |f| f[14] = 0x44, DropReason::MalformedIp),
        (
            "shorter than its header",
            |f| f[16..18].copy_from_slice(&[0, 19]),
            DropReason::MalformedIp,
        ),
        (
            "longer than the frame",
            |f| f[16..18].copy_from_slice(&[0, 45]),
            DropReason::Truncated,
        ),
        (
            "a part of 28 bytes before others",
            |f| {
                f[20] = 0x20;
                f[17] += 4;
                f.extend([0; 4]);
            },
            DropReason::MalformedFragment,
        ),
        (
            "a part that reaches beyond the longest packet",
            |f| f[20..22].copy_from_slice(&[0x1f, 0xff]),
            DropReason::MalformedFragment,
        ),
        (
            "a loose source route",
            |f| v4_options(f, [131, 7, 4, 10, 0, 0, 9, 0]),
            DropReason::SourceRoute,
        ),
        (
            "a strict source route behind another option",
            |f| v4_options(f, [1, 137, 7, 4, 10, 0, 0, 9]),
            DropReason::SourceRoute,
        ),
        (
            "an option that reaches beyond the header",
            |f| v4_options(f, [68, 9, 0, 0, 0, 0, 0, 0]),
            DropReason::MalformedIp,
        ),
        (
            "an option of no length",
            |f| v4_options(f, [1, 68, 1, 0, 0, 0, 0, 0]),
            DropReason::MalformedIp,
        ),
        (
            "no room for TCP",
            |f| f[16..18].copy_from_slice(&[0, 39]),
            DropReason::MalformedTcp,
        ),
        (
            "TCP header below 20 bytes",
            |f| f[46] = 0x40,
            DropReason::MalformedTcp,
        ),
        (
            "TCP header past the end",
            |f| f[46] = 0xf0,
            DropReason::MalformedTcp,
        ),
        (
            "another ethertype",
            |f| f[12] = 0x81,
            DropReason::UnknownEtherType,
        ),
    ];
    for &(what, change, reason) in cases {
        assert_eq!(
            parse(&v4_changed(change), RxChecksum::Good),
            Err(reason),
            "{what}"
        );
    }
}

#[test]
fn ipv4_options_are_skipped() {
    let frame = v4_changed(|f| {
        v4_options(f, [1, 68, 4, 5, 0, 0, 131, 7]);
    });
    match parse(&frame, RxChecksum::Unknown).map(|f| f.packet) {
        Ok(Packet::Tcp { ip, payload, .. }) => {
            assert_eq!(ip.header_len, 28, "the options count in");
            assert_eq!(&frame[payload], b"data", "the payload is found behind them");
        }
        other => panic!("options are legal, but it was read as {other:?}"),
    }
}

/// An IPv6 TCP frame with `extensions` between IP and TCP, the first one of
/// kind `first`.
fn v6_extended(first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut frame = tcp_frame(
        &ip_of("fd00::1", "fd00::2"),
        &Segment::default(),
        b"data",
        TxChecksum::Software,
    );
    let len = u16::from_be_bytes([frame[18], frame[19]]) + extensions.len() as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame[20] = first;
    frame.splice(54..54, extensions.iter().copied());
    frame
}

#[test]
fn ipv6_extension_headers_are_skipped_within_bounds() {
    const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let destination = |next: u8| [&[next, 0], &PAD[..]].concat();
    let many = |n: usize| [destination(60).repeat(n - 1), destination(6)].concat();
    let routing = |left: u8| vec![6, 0, 2, left, 0, 0, 0, 0];
    let malformed = Err(DropReason::MalformedIp);
    type Case = (&'static str, u8, Vec<u8>, Result<u16, DropReason>);
    // What has a problem of which the sender is told counts as this here; which
    // problem that is, the walk's own test says.
    let problem = Err(DropReason::Ipv6HeaderProblem);
    let cases: Vec<Case> = vec![
        ("hop by hop", 0, destination(6), Ok(48)),
        ("destination options", 60, destination(6), Ok(48)),
        ("a routing header at its end", 43, routing(0), Ok(48)),
        ("a routing header still to follow", 43, routing(1), problem),
        (
            "hop by hop, then destination",
            0,
            [destination(60), destination(6)].concat(),
            Ok(56),
        ),
        (
            "hop by hop not at the front",
            60,
            [destination(0), destination(6)].concat(),
            problem,
        ),
        ("six of them", 60, many(6), Ok(88)),
        ("seven of them", 60, many(7), malformed),
        ("an atomic fragment", 44, vec![6, 0, 0, 0, 0, 0, 0, 1], Ok(48)),
        (
            "a fragment that is no multiple of eight",
            44,
            vec![6, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0],
            problem,
        ),
        (
            "a fragment that reaches beyond the longest packet",
            44,
            vec![6, 0, 0xff, 0xf8, 0, 0, 0, 1],
            problem,
        ),
        (
            "a first fragment whose headers end in the next one",
            44,
            vec![60, 0, 0, 1, 0, 0, 0, 1, 6, 9, 1, 4, 0, 0, 0, 0],
            problem,
        ),
        (
            "an unknown option that may be skipped",
            60,
            vec![6, 0, 0x1e, 2, 9, 9, 1, 0],
            Ok(48),
        ),
        (
            "an unknown option that may not",
            60,
            vec![6, 0, 0xc2, 4, 9, 9, 9, 9],
            problem,
        ),
        (
            "an option past its header",
            60,
            vec![6, 0, 1, 5, 0, 0, 0, 0],
            problem,
        ),
        (
            "longer than the packet",
            60,
            vec![6, 200, 1, 4, 0, 0, 0, 0],
            Err(DropReason::Truncated),
        ),
    ];
    for (what, first, extensions, wanted) in cases {
        let frame = v6_extended(first, &extensions);
        let got = match parse(&frame, RxChecksum::Unknown).map(|f| f.packet) {
            Ok(Packet::Tcp { ip, payload, .. }) => {
                assert_eq!(&frame[payload], b"data", "{what}: the payload is found");
                Ok(ip.header_len)
            }
            Ok(Packet::Problem { .. }) => problem,
            Ok(other) => panic!("{what}: read as {other:?}"),
            Err(reason) => Err(reason),
        };
        assert_eq!(got, wanted, "{what}");
    }
}
