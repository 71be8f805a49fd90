//! IPv4 and IPv6 headers as received.
//!
//! Read first: RFC 791 section 3.1, RFC 8200 sections 3 and 4.
//!
//! Always true: the range handed on lies within the frame and ends where the
//! IP header says, so Ethernet padding never reaches the layers above.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crore_base::{DropReason, RxChecksum};

use crate::{ETHERNET_HEADER, be16, checksum, protocol};

/// How many IPv6 extension headers are skipped before a packet is given up:
/// RFC 8200 section 4.1 orders at most one of each kind (destination options
/// twice), so more is nobody's honest traffic.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// The parts of a received IP header that matter above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpInfo {
    /// Source address.
    pub src: IpAddr,
    /// Destination address; of the same family as the source.
    pub dst: IpAddr,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// The ECN codepoint, 0 to 3 (RFC 3168 section 5).
    pub ecn: u8,
    /// Bytes from the start of the IP header to the transport header, IPv4
    /// options and IPv6 extension headers included.
    pub header_len: u16,
}

/// An IP header taken apart: what it says, the protocol above it, and where in
/// the frame that lies.
pub(crate) struct IpPacket {
    pub(crate) info: IpInfo,
    pub(crate) protocol: u8,
    pub(crate) payload: Range<usize>,
}

/// Takes the IPv4 header behind the Ethernet header apart.
#[inline(always)]
pub(crate) fn parse_v4(frame: &[u8], rx: RxChecksum) -> Result<IpPacket, DropReason> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let header: &[u8; 20] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(be16(header, 2));
    if header[0] >> 4 != 4 || header_len < header.len() || total_len < header_len {
        return Err(DropReason::MalformedIp);
    }
    if total_len > packet.len() {
        return Err(DropReason::Truncated);
    }
    if matches!(rx, RxChecksum::Unknown | RxChecksum::Bad) {
        let partial = if header_len == header.len() {
            checksum::sum_ipv4_header(header)
        } else {
            checksum::sum(&packet[..header_len])
        };
        if !checksum::verifies(partial) {
            return Err(DropReason::BadIpChecksum);
        }
    }
    // More fragments, or an offset.
    if be16(header, 6) & 0x3fff != 0 {
        return Err(DropReason::Fragment);
    }
    Ok(IpPacket {
        info: IpInfo {
            src: IpAddr::V4(Ipv4Addr::new(header[12], header[13], header[14], header[15])),
            dst: IpAddr::V4(Ipv4Addr::new(header[16], header[17], header[18], header[19])),
            hop_limit: header[8],
            ecn: header[1] & 3,
            header_len: header_len as u16,
        },
        protocol: header[9],
        payload: ETHERNET_HEADER + header_len..ETHERNET_HEADER + total_len,
    })
}

/// Takes the IPv6 header behind the Ethernet header apart, and skips its
/// extension headers.
#[inline(always)]
pub(crate) fn parse_v6(frame: &[u8]) -> Result<IpPacket, DropReason> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let header: &[u8; 40] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::MalformedIp);
    }
    let end = header.len() + usize::from(be16(header, 4));
    let packet = packet.get(..end).ok_or(DropReason::Truncated)?;
    let mut protocol = header[6];
    let mut start = header.len();
    if is_extension(protocol) {
        (protocol, start) = skip_extensions(packet, protocol, start)?;
    }
    let (src, dst) = v6_addresses(header);
    Ok(IpPacket {
        info: IpInfo {
            src,
            dst,
            hop_limit: header[7],
            ecn: (header[1] >> 4) & 3,
            header_len: start as u16,
        },
        protocol,
        payload: ETHERNET_HEADER + start..ETHERNET_HEADER + end,
    })
}

/// Source and destination of an IPv6 header.
#[inline]
pub(crate) fn v6_addresses(header: &[u8; 40]) -> (IpAddr, IpAddr) {
    let mut src = [0; 16];
    let mut dst = [0; 16];
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    (IpAddr::V6(Ipv6Addr::from(src)), IpAddr::V6(Ipv6Addr::from(dst)))
}

#[inline]
const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
    )
}

/// Walks the extension headers that start at `at` of an IPv6 packet; gives the
/// protocol behind them and where it starts.
#[cold]
pub(crate) fn skip_extensions(
    packet: &[u8],
    mut next_header: u8,
    mut at: usize,
) -> Result<(u8, usize), DropReason> {
    for nth in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(next_header) {
            return Ok((next_header, at));
        }
        if next_header == protocol::FRAGMENT {
            return Err(DropReason::Fragment);
        }
        let rest = packet.get(at..).unwrap_or_default();
        let &[following, units, ..] = rest else {
            return Err(DropReason::Truncated);
        };
        let len = (usize::from(units) + 1) * 8;
        let body = rest.get(2..len).ok_or(DropReason::Truncated)?;
        let acceptable = match next_header {
            // Only right behind the IPv6 header (RFC 8200 section 4.1).
            protocol::HOP_BY_HOP => nth == 0 && options_may_be_ignored(body),
            // The second byte counts the segments left; we are no router.
            protocol::ROUTING => body[1] == 0,
            _ => options_may_be_ignored(body),
        };
        if !acceptable {
            return Err(DropReason::MalformedIp);
        }
        next_header = following;
        at += len;
    }
    if is_extension(next_header) {
        return Err(DropReason::MalformedIp);
    }
    Ok((next_header, at))
}

//= rfc8200#section-4.2 (MUST)
// The two highest bits of an option's type say what to do when it is not
// known: 00 is to skip it, anything else to discard the packet.
fn options_may_be_ignored(mut body: &[u8]) -> bool {
    const PAD1: u8 = 0;
    loop {
        match *body {
            [] => return true,
            [PAD1, ref rest @ ..] => body = rest,
            [kind, len, ref rest @ ..] if kind >> 6 == 0 && usize::from(len) <= rest.len() => {
                body = &rest[usize::from(len)..];
            }
            _ => return false,
        }
    }
}
