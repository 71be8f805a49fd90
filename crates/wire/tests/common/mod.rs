//! What the property tests share: drawn segments, and frames made of them.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

use core::net::IpAddr;

use crore_base::{MacAddr, SeqNum, WindowScale};
use crore_wire::{
    AccEcnOption, AccEcnOrder, FastOpenCookie, Flags, IpEmit, Link, SackBlocks, Segment, TcpOptions,
    Timestamps, TxChecksum, emit_tcp, tcp_headers_len,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub const LINK: Link = Link {
    src: MacAddr([2, 0, 0, 0, 0, 1]),
    dst: MacAddr([2, 0, 0, 0, 0, 2]),
};

pub fn options() -> impl Strategy<Value = TcpOptions> {
    (
        option::of(any::<u16>()),
        option::of(0u8..=14),
        any::<bool>(),
        option::of(any::<(u32, u32)>()),
        vec(any::<(u32, u32)>(), 0..=4),
        option::of(vec(any::<u8>(), 0..=16)),
        option::of((any::<bool>(), vec(any::<u32>(), 0..=3))),
    )
        .prop_map(
            |(mss, scale, sack_permitted, timestamps, blocks, cookie, counters)| {
                let mut sack = SackBlocks::new();
                for (left, right) in blocks {
                    sack.push(SeqNum(left), SeqNum(right));
                }
                TcpOptions {
                    mss,
                    window_scale: scale.map(WindowScale::new),
                    sack_permitted,
                    timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
                    sack,
                    fast_open: cookie.and_then(|cookie| FastOpenCookie::new(&cookie)),
                    accurate_ecn: counters.map(|(ect1_first, counters)| {
                        let order = if ect1_first {
                            AccEcnOrder::Ect1First
                        } else {
                            AccEcnOrder::Ect0First
                        };
                        AccEcnOption::new(order, &counters)
                    }),
                    ..TcpOptions::default()
                }
            },
        )
}

pub fn segment() -> impl Strategy<Value = Segment> {
    let numbers = any::<(u16, u16, u32, u32, u16, u16, u16)>();
    (numbers, options()).prop_map(
        |((src_port, dst_port, seq, ack, flags, window, urgent), options)| Segment {
            src_port,
            dst_port,
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags: Flags::from_bits(flags),
            window,
            urgent,
            options,
            ..Segment::default()
        },
    )
}

pub fn ip() -> impl Strategy<Value = IpEmit> {
    let addresses = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| (IpAddr::from(src), IpAddr::from(dst))),
    ];
    (addresses, any::<u8>(), 0u8..4, any::<u16>()).prop_map(|((src, dst), hop_limit, ecn, ident)| IpEmit {
        src,
        dst,
        hop_limit,
        ecn,
        ident,
    })
}

/// The frame that carries `payload`, with nothing behind it.
pub fn tcp_frame(ip: &IpEmit, segment: &Segment, payload: &[u8], checksum: TxChecksum) -> Vec<u8> {
    let at = tcp_headers_len(ip, segment);
    let mut frame = vec![0xa5; at + payload.len()];
    frame[at..].copy_from_slice(payload);
    let len = emit_tcp(&mut frame, &LINK, ip, segment, payload.len(), checksum);
    assert_eq!(len, frame.len(), "the length is that of headers and payload");
    frame
}
