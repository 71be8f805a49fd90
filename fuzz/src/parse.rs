//! A received frame, taken apart under each verdict of the NIC, as it is and
//! with its checksums made right.

use core::ops::Range;

use crore_base::{MacAddr, RxChecksum};
use crore_wire::{
    Frame, IpEmit, IpInfo, Link, Packet, PlainTcp, Segment, TxChecksum, emit_tcp, parse, parse_plain,
    tcp_headers_len,
};

use crate::frames::fix_checksums;

/// The target.
pub fn run(data: &[u8]) {
    check(data);
    let mut fixed = data.to_vec();
    fix_checksums(&mut fixed);
    check(&fixed);
}

fn check(frame: &[u8]) {
    let verdicts = [
        RxChecksum::Unknown,
        RxChecksum::Good,
        RxChecksum::Bad,
        RxChecksum::Partial,
    ];
    let [unknown, good, bad, partial] = verdicts.map(|verdict| parse(frame, verdict));
    assert_eq!(good, partial, "both skip the checksums");
    if unknown.is_ok() {
        assert_eq!(unknown, good, "what software verifies, a NIC may vouch for");
    }
    for (verdict, long) in verdicts.into_iter().zip([&unknown, &good, &bad, &partial]) {
        if let Some(short) = parse_plain(frame, verdict) {
            same(&short, long.as_ref().expect("what the short way takes is valid"));
        }
    }
    let is_tcp = |frame: &Frame| matches!(frame.packet, Packet::Tcp { .. });
    assert!(!bad.as_ref().is_ok_and(is_tcp), "what a NIC calls bad is dropped");
    let Ok(Frame { packet, .. }) = good else {
        return;
    };
    match packet {
        Packet::Tcp { ip, segment, payload } => {
            inside(frame, &payload);
            write_again(&ip, &segment, &frame[payload]);
        }
        Packet::EchoRequest { message, .. } => {
            inside(frame, &message);
            assert!(message.len() >= 8, "an echo request has an identifier");
        }
        _ => {}
    }
}

/// The short way sees what the long one sees.
fn same(short: &PlainTcp, long: &Frame) {
    assert_eq!(
        (short.src_mac, short.dst_mac),
        (long.src_mac, long.dst_mac),
        "who"
    );
    match &long.packet {
        Packet::Tcp { ip, segment, payload } => {
            assert_eq!(
                (ip.src, ip.dst),
                (short.src.into(), short.dst.into()),
                "addresses"
            );
            assert_eq!(*segment, short.segment, "header");
            assert_eq!((payload.start, payload.end), short.payload, "payload");
        }
        other => panic!("{other:?} is no TCP"),
    }
}

fn inside(frame: &[u8], range: &Range<usize>) {
    assert!(
        range.start <= range.end && range.end <= frame.len(),
        "{range:?} of {} bytes",
        frame.len()
    );
}

/// What was read can be written, and then reads the same.
fn write_again(ip: &IpInfo, segment: &Segment, payload: &[u8]) {
    let link = Link {
        src: MacAddr([2; 6]),
        dst: MacAddr([4; 6]),
    };
    let emit = IpEmit {
        src: ip.src,
        dst: ip.dst,
        hop_limit: ip.hop_limit,
        ecn: ip.ecn,
        ident: 0,
    };
    let at = tcp_headers_len(&emit, segment);
    if at - 14 + payload.len() > 0xffff {
        return; // it had a shorter header, by options that are not written
    }
    let mut frame = vec![0; at + payload.len()];
    frame[at..].copy_from_slice(payload);
    let len = emit_tcp(
        &mut frame,
        &link,
        &emit,
        segment,
        payload.len(),
        TxChecksum::Software,
    );
    assert_eq!(len, frame.len(), "all of it is written");
    match parse(&frame, RxChecksum::Unknown).map(|f| f.packet) {
        Ok(Packet::Tcp {
            segment: again,
            payload: place,
            ..
        }) => {
            assert_eq!(&frame[place], payload, "the payload comes through");
            let fits = again.options.sack.len();
            let mut wanted = *segment;
            wanted.options.sack = crore_wire::SackBlocks::new();
            for (left, right) in segment.options.sack.iter().take(fits) {
                wanted.options.sack.push(left, right);
            }
            assert_eq!(again, wanted, "so does the header");
        }
        other => panic!("written TCP reads as {other:?}"),
    }
}
