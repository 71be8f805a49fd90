//! The short way in for what nearly every frame is: TCP over IPv4 without IP
//! options, and with no TCP options but timestamps.
//!
//! Always true: what it accepts, [`parse`](crate::parse) accepts with the same
//! result; about all the rest it says nothing.

use core::net::Ipv4Addr;

use crore_base::{MacAddr, RxChecksum, SeqNum};

use crate::frame::macs;
use crate::segment::TCP_HEADER;
use crate::{
    ETHERNET_HEADER, Ecn, Flags, Segment, TcpOptions, be16, be32, checksum, ethertype, options, protocol,
};

/// Where the TCP header begins, and where it ends if it has no options.
const TCP: usize = ETHERNET_HEADER + 20;
const HEADERS: usize = TCP + TCP_HEADER;

/// A received TCP segment over IPv4, verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlainTcp {
    /// Who put it on this link.
    pub src_mac: MacAddr,
    /// Whom it is for on this link; not yet compared with anything.
    pub dst_mac: MacAddr,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// The TCP header.
    pub segment: Segment,
    /// Where the payload starts and ends in the frame.
    pub payload: (usize, usize),
}

/// Takes a frame apart if it is of the usual kind and verifies; none does not
/// mean that it is bad, but that [`parse`](crate::parse) is to be asked.
// Inlined, so that what was read goes to its place from registers: assembled in
// memory, it would be copied from place to place, each time waiting for the
// narrow stores before.
#[inline(always)]
pub fn parse_plain(frame: &[u8], rx: RxChecksum) -> Option<PlainTcp> {
    let headers: &[u8; HEADERS] = frame.first_chunk()?;
    let (ethernet, _) = headers.split_first_chunk()?;
    let end = ETHERNET_HEADER + usize::from(be16(headers, ETHERNET_HEADER + 2));
    let header_len = usize::from(headers[TCP + 12] >> 4) * 4;
    let start = TCP + header_len;
    let fragment = be16(headers, ETHERNET_HEADER + 6) & 0x3fff;
    if be16(headers, 12) != ethertype::IPV4
        || headers[ETHERNET_HEADER] != 0x45
        || headers[ETHERNET_HEADER + 9] != protocol::TCP
        || fragment != 0
        || start > end
    {
        return None;
    }
    let options = match header_len {
        TCP_HEADER => TcpOptions::default(),
        _ => options::timestamps_alone(frame.get(HEADERS..start)?)?,
    };
    let src = be32(headers, ETHERNET_HEADER + 12);
    let dst = be32(headers, ETHERNET_HEADER + 16);
    let segment = frame.get(TCP..end)?;
    match rx {
        RxChecksum::Good | RxChecksum::Partial => {}
        RxChecksum::Bad => return None,
        RxChecksum::Unknown => {
            let (ip, _) = headers[ETHERNET_HEADER..].split_first_chunk()?;
            let pseudo = checksum::halves(src)
                + checksum::halves(dst)
                + u32::from(protocol::TCP)
                + segment.len() as u32;
            let holds = checksum::verifies(checksum::sum_ipv4_header(ip))
                && checksum::verifies(pseudo + checksum::sum(segment));
            if !holds {
                return None;
            }
        }
    }
    // Data offset, flags and window.
    let word = be32(headers, TCP + 12);
    let (dst_mac, src_mac) = macs(ethernet);
    Some(PlainTcp {
        src_mac,
        dst_mac,
        src: Ipv4Addr::from_bits(src),
        dst: Ipv4Addr::from_bits(dst),
        segment: Segment {
            src_port: be16(headers, TCP),
            dst_port: be16(headers, TCP + 2),
            seq: SeqNum(be32(headers, TCP + 4)),
            ack: SeqNum(be32(headers, TCP + 8)),
            flags: Flags::from_bits((word >> 16) as u16),
            window: word as u16,
            urgent: be16(headers, TCP + 18),
            ecn: Ecn::from_bits(headers[ETHERNET_HEADER + 1]),
            options,
        },
        payload: (start, end),
    })
}
