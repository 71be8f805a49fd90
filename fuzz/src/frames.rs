//! Frames whose checksums are made right, so that a mutation gets past them.

use core::net::IpAddr;

use crore_wire::{ETHERNET_HEADER, checksum};

/// Makes the IPv4 header's, TCP's and ICMP's checksum of `frame` right, as far
/// as there are such headers.
pub fn fix_checksums(frame: &mut [u8]) {
    if frame.len() < ETHERNET_HEADER {
        return;
    }
    let (ethernet, packet) = frame.split_at_mut(ETHERNET_HEADER);
    match [ethernet[12], ethernet[13]] {
        [0x08, 0x00] => fix_v4(packet),
        [0x86, 0xdd] => fix_v6(packet),
        _ => {}
    }
}

fn fix_v4(packet: &mut [u8]) {
    if packet.len() < 20 {
        return;
    }
    let header_len = usize::from(packet[0] & 15) * 4;
    let end = usize::from(u16::from_be_bytes([packet[2], packet[3]])).min(packet.len());
    if header_len < 20 || end < header_len {
        return;
    }
    put(packet, 10, 0..header_len, 0);
    let src = IpAddr::from([packet[12], packet[13], packet[14], packet[15]]);
    let dst = IpAddr::from([packet[16], packet[17], packet[18], packet[19]]);
    fix_transport(packet[9], src, dst, &mut packet[header_len..end]);
}

fn fix_v6(packet: &mut [u8]) {
    if packet.len() < 40 {
        return;
    }
    let end = (40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]))).min(packet.len());
    let mut at = 40;
    let mut protocol = packet[6];
    // Destination options, hop by hop and routing headers, as `parse` skips them.
    while matches!(protocol, 0 | 43 | 60) && at + 8 <= end {
        protocol = packet[at];
        at += (usize::from(packet[at + 1]) + 1) * 8;
    }
    if at > end {
        return;
    }
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap_or_default());
    let (src, dst) = (address(8), address(24));
    fix_transport(protocol, src, dst, &mut packet[at..end]);
}

fn fix_transport(protocol: u8, src: IpAddr, dst: IpAddr, bytes: &mut [u8]) {
    let pseudo = checksum::pseudo_header(src, dst, protocol, bytes.len() as u32);
    match protocol {
        6 if bytes.len() >= 20 => put(bytes, 16, 0..bytes.len(), pseudo),
        1 if bytes.len() >= 4 => put(bytes, 2, 0..bytes.len(), 0),
        58 if bytes.len() >= 4 => put(bytes, 2, 0..bytes.len(), pseudo),
        _ => {}
    }
}

/// Writes the checksum of `range`, and of what `pseudo` sums up, to `at`.
fn put(bytes: &mut [u8], at: usize, range: core::ops::Range<usize>, pseudo: u32) {
    bytes[at..at + 2].fill(0);
    let sum = checksum::finish(pseudo + checksum::sum(&bytes[range]));
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
