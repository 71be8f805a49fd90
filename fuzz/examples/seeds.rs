//! Writes the seeds that are made by hand, for the targets that read frames
//! and options: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//! The scripts of the other targets are what the fuzzer itself found.

use std::fs;
use std::net::IpAddr;

use crore_base::{MacAddr, SeqNum, WindowScale};
use crore_fuzz::frames::fix_checksums;
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, Flags, IpEmit, Link, NEIGHBOR_FRAME_LEN, NeighborAdvertisement,
    NeighborSolicitation, SackBlocks, Segment, TcpOptions, Timestamps, TxChecksum, emit_arp,
    emit_neighbor_advertisement, emit_neighbor_solicitation, emit_tcp, tcp_headers_len,
};

const LINK: Link = Link {
    src: MacAddr([2, 0, 0, 0, 0, 1]),
    dst: MacAddr([2, 0, 0, 0, 0, 2]),
};

fn main() {
    for (name, bytes) in options() {
        write("options", name, &bytes);
    }
    for (name, frame) in frames() {
        write("parse", name, &frame);
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = format!("{}/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(format!("{folder}/seed-{name}"), bytes).expect("the file can be written");
}

fn options() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "syn",
            vec![2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7],
        ),
        ("timestamps", vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        (
            "sack",
            [&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 26][..], &[9; 24]].concat(),
        ),
        (
            "accurate-ecn",
            vec![
                1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 172, 11, 0, 5, 180, 0, 0, 9, 0, 0, 1, 1,
            ],
        ),
        (
            "accurate-ecn-sack",
            [&[174, 8, 0, 5, 180, 0, 0, 9, 1, 1, 5, 26][..], &[9; 24]].concat(),
        ),
        ("accurate-ecn-odd", vec![172, 7, 0, 0, 1, 9, 9, 174, 2, 172, 3, 1]),
        ("no-length", vec![2, 4, 5, 180, 3, 0, 7, 0]),
        ("truncated", vec![2, 4, 5, 180, 8, 10, 1, 2]),
        ("unknown", vec![254, 6, 9, 9, 9, 9, 2, 4, 5, 180]),
    ]
}

fn ip(src: &str, dst: &str) -> IpEmit {
    IpEmit {
        src: src.parse().expect("an address"),
        dst: dst.parse().expect("an address"),
        hop_limit: 64,
        ecn: 1,
        ident: 7,
    }
}

fn tcp(ip: &IpEmit, options: TcpOptions, payload: &[u8]) -> Vec<u8> {
    let segment = Segment {
        src_port: 40_000,
        dst_port: 80,
        seq: SeqNum(1000),
        ack: SeqNum(2000),
        flags: Flags::ACK | Flags::PSH,
        window: 500,
        options,
        ..Segment::default()
    };
    let at = tcp_headers_len(ip, &segment);
    let mut frame = vec![0; at + payload.len()];
    frame[at..].copy_from_slice(payload);
    emit_tcp(
        &mut frame,
        &LINK,
        ip,
        &segment,
        payload.len(),
        TxChecksum::Software,
    );
    frame
}

/// A frame with any IP payload; the checksums are right.
fn raw(ip: &IpEmit, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&LINK.dst.0[..], &LINK.src.0].concat();
    match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [high, low] = (20 + payload.len() as u16).to_be_bytes();
            frame.extend([
                8,
                0,
                0x45,
                0,
                high,
                low,
                0,
                0,
                0x40,
                0,
                ip.hop_limit,
                protocol,
                0,
                0,
            ]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let [high, low] = (payload.len() as u16).to_be_bytes();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, ip.hop_limit]);
            frame.extend(src.octets());
            frame.extend(dst.octets());
        }
        _ => unreachable!("seeds have addresses of one family"),
    }
    frame.extend(payload);
    fix_checksums(&mut frame);
    frame
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let (four, six) = (ip("10.0.0.1", "10.0.0.2"), ip("fd00::1", "fd00::2"));
    let stamps = TcpOptions {
        timestamps: Some(Timestamps { value: 1, echo: 2 }),
        ..TcpOptions::default()
    };
    let mut sack = SackBlocks::new();
    sack.push(SeqNum(3000), SeqNum(4000));
    let all = TcpOptions {
        mss: Some(1460),
        window_scale: Some(WindowScale::new(7)),
        sack_permitted: true,
        sack,
        ..stamps
    };
    let tcp6 = tcp(&six, stamps, b"data");
    let extended = |first: u8, header: &[u8]| raw(&six, first, &[header, &tcp6[54..]].concat());
    let quote4 = &tcp(&four, stamps, b"")[14..];
    let quote6 = &tcp6[14..];
    let error = |header: [u8; 8], quote: &[u8]| [&header[..], quote].concat();
    vec![
        ("tcp4", tcp(&four, stamps, b"data")),
        ("tcp4-plain", tcp(&four, TcpOptions::default(), b"x")),
        ("tcp4-options", tcp(&four, all, b"")),
        ("tcp6-options", tcp(&six, all, b"data")),
        ("tcp6", tcp6.clone()),
        ("tcp6-destination", extended(60, &[6, 0, 0x1e, 2, 9, 9, 1, 0])),
        ("tcp6-hop-by-hop", extended(0, &[6, 0, 1, 4, 0, 0, 0, 0])),
        ("tcp6-routing", extended(43, &[6, 0, 2, 0, 0, 0, 0, 0])),
        ("tcp6-fragment", extended(44, &[6, 0, 0, 1, 0, 0, 0, 1])),
        ("udp4", raw(&four, 17, &[0, 53, 0, 53, 0, 8, 0, 0])),
        ("echo4", raw(&four, 1, &[8, 0, 0, 0, 0, 1, 0, 1, b'p'])),
        ("echo6", raw(&six, 58, &[128, 0, 0, 0, 0, 1, 0, 1, b'p'])),
        (
            "unreachable4",
            raw(&four, 1, &error([3, 3, 0, 0, 0, 0, 0, 0], quote4)),
        ),
        (
            "too-big4",
            raw(&four, 1, &error([3, 4, 0, 0, 0, 0, 5, 0], quote4)),
        ),
        ("time4", raw(&four, 1, &error([11, 0, 0, 0, 0, 0, 0, 0], quote4))),
        (
            "unreachable6",
            raw(&six, 58, &error([1, 4, 0, 0, 0, 0, 0, 0], quote6)),
        ),
        (
            "too-big6",
            raw(&six, 58, &error([2, 0, 0, 0, 0, 0, 5, 0], quote6)),
        ),
        (
            "router",
            raw(&six, 58, &[134, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("mld", raw(&six, 58, &[143, 0, 0, 0, 0, 0, 0, 0])),
        ("arp", arp()),
        ("solicitation", solicitation()),
        ("advertisement", advertisement()),
    ]
}

fn arp() -> Vec<u8> {
    let arp = Arp {
        operation: ArpOperation::Request,
        sender_mac: LINK.src,
        sender_ip: [10, 0, 0, 1].into(),
        target_mac: MacAddr::default(),
        target_ip: [10, 0, 0, 2].into(),
    };
    let mut frame = vec![0; ARP_FRAME_LEN];
    emit_arp(&mut frame, &LINK, &arp).expect("there is room");
    frame
}

fn solicitation() -> Vec<u8> {
    let message = NeighborSolicitation {
        target: [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
        source_mac: Some(LINK.src),
    };
    let src = [0xfd00, 0, 0, 0, 0, 0, 0, 1].into();
    let mut frame = vec![0; NEIGHBOR_FRAME_LEN];
    emit_neighbor_solicitation(&mut frame, &LINK, src, message.target, &message).expect("there is room");
    frame
}

fn advertisement() -> Vec<u8> {
    let message = NeighborAdvertisement {
        target: [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
        target_mac: Some(LINK.src),
        router: false,
        solicited: true,
        overriding: true,
    };
    let dst = [0xfd00, 0, 0, 0, 0, 0, 0, 2].into();
    let mut frame = vec![0; NEIGHBOR_FRAME_LEN];
    emit_neighbor_advertisement(&mut frame, &LINK, message.target, dst, &message).expect("there is room");
    frame
}
