//! Packets as the tool makes and reads them.

use std::net::SocketAddr;

use crore_base::{MacAddr, RxChecksum, SeqNum};
use crore_wire::{ETHERNET_HEADER, Flags, IpEmit, Link, Segment, TxChecksum, emit_tcp, tcp_headers_len};

use crate::library::Library;

/// What a packet is to say.
#[derive(Clone, Copy)]
pub(crate) struct Says<'a> {
    pub(crate) flags: Flags,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) payload: &'a [u8],
}

/// A TCP packet from `from` to `to`.
pub(crate) fn packet(from: SocketAddr, to: SocketAddr, says: Says<'_>) -> Vec<u8> {
    let segment = Segment {
        src_port: from.port(),
        dst_port: to.port(),
        seq: SeqNum(says.seq),
        ack: SeqNum(says.ack),
        flags: says.flags,
        window: 32_792,
        ..Segment::default()
    };
    let ip = IpEmit {
        src: from.ip(),
        dst: to.ip(),
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let link = Link {
        src: MacAddr::default(),
        dst: MacAddr::default(),
    };
    let headers = tcp_headers_len(&ip, &segment);
    let mut frame = vec![0; headers + says.payload.len()];
    frame[headers..].copy_from_slice(says.payload);
    let checksum = TxChecksum::Software;
    let len = emit_tcp(&mut frame, &link, &ip, &segment, says.payload.len(), checksum);
    assert_eq!(len, frame.len(), "all of it");
    frame.split_off(ETHERNET_HEADER)
}

/// The packet that must come next: its header, its payload, and when it left.
pub(crate) fn expect(library: &Library, flags: Flags) -> (Segment, Vec<u8>, i64) {
    let (packet, time) = library.sniff().expect("a packet");
    let ethertype = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let mut frame = vec![0; ETHERNET_HEADER - 2];
    frame.extend_from_slice(&ethertype);
    frame.extend_from_slice(&packet);
    match crore_wire::parse(&frame, RxChecksum::Unknown).map(|frame| frame.packet) {
        Ok(crore_wire::Packet::Tcp { segment, payload, .. }) => {
            assert_eq!(segment.flags, flags, "{segment:?}");
            (segment, frame[payload].to_vec(), time)
        }
        other => panic!("no TCP: {other:?}"),
    }
}
