//! IPv4 and IPv6 headers as received.
//!
//! Read first: RFC 791 section 3.1, RFC 8200 section 3, RFC 7126 (IPv4 options).
//! IPv6 extension headers are walked in `extensions.rs`, fragments read in
//! `fragment.rs`; the way of the usual packet only finds out that there are some.
//!
//! Always true: the range handed on lies within the frame and ends where the
//! IP header says, so Ethernet padding never reaches the layers above.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crore_base::{DropReason, RxChecksum};

use crate::extensions::{self, Walked, is_extension};
use crate::{ETHERNET_HEADER, Packet, be16, checksum, fragment};

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

/// Why a packet does not go the usual way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It is to be dropped.
    Drop(DropReason),
    /// It is a fragment, or has extension headers.
    Odd,
}

impl From<DropReason> for Stop {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// An IP header taken apart: what it says, the protocol above it, and where in
/// the frame that lies.
pub(crate) struct IpPacket {
    pub(crate) info: IpInfo,
    pub(crate) protocol: u8,
    pub(crate) payload: Range<usize>,
}

//= rfc9293#section-3.9.2.1 (MUST)
// Options of the IP header are skipped: none means anything to TCP.
/// Takes the IPv4 header behind the Ethernet header apart; that of a fragment
/// only if those are `ODD_TOO`.
#[inline(always)]
pub(crate) fn parse_v4<const ODD_TOO: bool>(frame: &[u8], rx: RxChecksum) -> Result<IpPacket, Stop> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let header: &[u8; 20] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(be16(header, 2));
    if header[0] >> 4 != 4 || header_len < header.len() || total_len < header_len {
        return Err(DropReason::MalformedIp.into());
    }
    if total_len > packet.len() {
        return Err(DropReason::Truncated.into());
    }
    if matches!(rx, RxChecksum::Unknown | RxChecksum::Bad) {
        let partial = if header_len == header.len() {
            checksum::sum_ipv4_header(header)
        } else {
            checksum::sum(&packet[..header_len])
        };
        if !checksum::verifies(partial) {
            return Err(DropReason::BadIpChecksum.into());
        }
    }
    // More fragments, or an offset.
    if !ODD_TOO && be16(header, 6) & 0x3fff != 0 {
        return Err(Stop::Odd);
    }
    if header_len > header.len() {
        check_options(&packet[header.len()..header_len])?;
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

//= rfc1122#section-3.2.1.8 (MUST)
// Options that are not known are passed over, within their lengths.
//= rfc7126#section-4.3.5 (SHOULD)
// A packet whose sender wants to say by which way it goes (loose source route,
// and by section 4.4.5 strict) is dropped: it gets around what addresses mean.
#[cold]
fn check_options(mut options: &[u8]) -> Result<(), DropReason> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    loop {
        options = match *options {
            [] | [END, ..] => return Ok(()),
            [NOTHING, ref rest @ ..] => rest,
            [LOOSE_ROUTE | STRICT_ROUTE, ..] => return Err(DropReason::SourceRoute),
            [_, len, ..] if len >= 2 => options.get(usize::from(len)..).ok_or(DropReason::MalformedIp)?,
            _ => return Err(DropReason::MalformedIp),
        };
    }
}

/// The IPv4 packet in `frame`, if need be a fragment.
#[cold]
pub(crate) fn parse_odd_v4(frame: &[u8], rx: RxChecksum) -> Result<Odd, DropReason> {
    let packet = match parse_v4::<true>(frame, rx) {
        Ok(packet) => packet,
        Err(Stop::Drop(reason)) => return Err(reason),
        Err(Stop::Odd) => return Err(DropReason::MalformedIp),
    };
    let header: &[u8; 20] = frame
        .get(ETHERNET_HEADER..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(DropReason::Truncated)?;
    if be16(header, 6) & 0x3fff == 0 {
        return Ok(Odd::Whole(packet, 9));
    }
    fragment::parse_v4(header, packet.info, packet.payload).map(Odd::Other)
}

/// What an unusual packet turns out to be.
// One is made for each such packet, and taken apart at once.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Odd {
    /// As good as the usual ones; where in it the byte is that names its protocol.
    Whole(IpPacket, u16),
    /// Something of its own.
    Other(Packet),
}

/// Takes the IPv6 header behind the Ethernet header apart, if no extension
/// header follows.
#[inline(always)]
pub(crate) fn parse_v6(frame: &[u8]) -> Result<IpPacket, Stop> {
    let (header, packet) = check_v6(frame)?;
    if is_extension(header[6]) {
        return Err(Stop::Odd);
    }
    Ok(v6_packet(header, header[6], header.len(), packet.len()))
}

/// The IPv6 header of a frame, and the packet as long as that says.
#[inline(always)]
fn check_v6(frame: &[u8]) -> Result<(&[u8; 40], &[u8]), DropReason> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    let header: &[u8; 40] = packet.first_chunk().ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::MalformedIp);
    }
    let end = header.len() + usize::from(be16(header, 4));
    let packet = packet.get(..end).ok_or(DropReason::Truncated)?;
    Ok((header, packet))
}

#[inline(always)]
fn v6_packet(header: &[u8; 40], protocol: u8, start: usize, end: usize) -> IpPacket {
    let (src, dst) = v6_addresses(header);
    IpPacket {
        info: IpInfo {
            src,
            dst,
            hop_limit: header[7],
            ecn: (header[1] >> 4) & 3,
            header_len: start as u16,
        },
        protocol,
        payload: ETHERNET_HEADER + start..ETHERNET_HEADER + end,
    }
}

/// The IPv6 packet in `frame`, its extension headers walked.
#[cold]
pub(crate) fn parse_odd_v6(frame: &[u8]) -> Result<Odd, DropReason> {
    let (header, packet) = check_v6(frame)?;
    // Where the IPv6 header ends, in case that nothing else can be said.
    let plain = v6_packet(header, header[6], header.len(), packet.len());
    let to_group = plain.info.dst.is_multicast();
    match extensions::walk(packet, to_group) {
        Walked::Upper(upper) => Ok(Odd::Whole(
            v6_packet(header, upper.protocol, upper.at, packet.len()),
            upper.named_at as u16,
        )),
        Walked::Fragment { at, named_at } => {
            fragment::parse_v6(packet, plain.info, at, named_at).map(Odd::Other)
        }
        Walked::Problem(problem) => Ok(Odd::Other(Packet::Problem {
            ip: plain.info,
            problem,
        })),
        Walked::Discard => Err(DropReason::UnknownIpOption),
        Walked::CutOff => Err(DropReason::Truncated),
        Walked::TooMany => Err(DropReason::MalformedIp),
    }
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
