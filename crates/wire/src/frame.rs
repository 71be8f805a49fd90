//! The one way in: a received Ethernet frame, taken apart and verified.

use core::ops::Range;

use crore_base::{DropReason, MacAddr, RxChecksum};

use crate::ip::{Odd, Stop};
use crate::{
    Arp, ETHERNET_HEADER, Fragment, HeaderProblem, IcmpError, IpInfo, NeighborAdvertisement,
    NeighborSolicitation, Segment, arp, be16, ethertype, icmp, ip, protocol, tcp,
};

/// A received frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Who put it on this link.
    pub src_mac: MacAddr,
    /// Whom it is for on this link; not yet compared with anything.
    pub dst_mac: MacAddr,
    /// What it carries.
    pub packet: Packet,
}

/// What a frame carries. Addresses are as they came: whether they are this
/// host's, or a host's at all, is for the stack to say.
// A TCP segment is the rule and the others are the exceptions: boxing it would
// put an allocation on each packet.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// A TCP segment whose checksum holds (or was vouched for).
    Tcp {
        /// The IP header.
        ip: IpInfo,
        /// The TCP header.
        segment: Segment,
        /// Where the payload lies in the frame.
        payload: Range<usize>,
    },
    /// An ARP request or reply for IPv4 over Ethernet.
    Arp(Arp),
    /// An ICMPv4 or ICMPv6 echo request.
    EchoRequest {
        /// The IP header; its family tells which ICMP it is.
        ip: IpInfo,
        /// Where the whole ICMP message, header included, lies in the frame:
        /// what [`emit_echo_reply`](crate::emit_echo_reply) wants.
        message: Range<usize>,
    },
    /// A valid neighbour solicitation (RFC 4861 section 7.1.1).
    NeighborSolicitation {
        /// The IP header.
        ip: IpInfo,
        /// The message.
        solicitation: NeighborSolicitation,
    },
    /// A valid neighbour advertisement (RFC 4861 section 7.1.2).
    NeighborAdvertisement {
        /// The IP header.
        ip: IpInfo,
        /// The message.
        advertisement: NeighborAdvertisement,
    },
    /// An ICMPv4 or ICMPv6 error about a packet that this host may have sent.
    IcmpError {
        /// The IP header of the error itself.
        ip: IpInfo,
        /// What it says.
        error: IcmpError,
    },
    /// Any other ICMPv4 or ICMPv6 message.
    OtherIcmp {
        /// The IP header.
        ip: IpInfo,
        /// The ICMP type.
        kind: u8,
    },
    /// One of the fragments of a datagram.
    Fragment(Fragment),
    /// An IPv6 packet with a problem in its headers, of which its sender may be told.
    Problem {
        /// The IP header.
        ip: IpInfo,
        /// The problem.
        problem: HeaderProblem,
    },
    /// An IP protocol that is not spoken here.
    Unhandled {
        /// The IP header.
        ip: IpInfo,
        /// The protocol number, or the last IPv6 next header.
        protocol: u8,
        /// Where in the packet that is named.
        named_at: u16,
    },
}

/// Takes a received frame apart and verifies it, as far as the NIC has not:
/// `checksum` is its verdict on the IPv4 header and the TCP checksum. An ICMP
/// checksum is always verified here.
///
/// Any bytes may come; what makes no sense gives the reason to drop it.
// TCP comes straight through, in registers: nothing on its way lends out a
// reference to what was read, or the compiler would assemble it in memory and
// copy it twice. Whatever is not TCP is read once more.
#[inline(always)]
pub fn parse(frame: &[u8], checksum: RxChecksum) -> Result<Frame, DropReason> {
    let header: &[u8; ETHERNET_HEADER] = frame.first_chunk().ok_or(DropReason::Truncated)?;
    match be16(header, 12) {
        ethertype::IPV4 => match ip::parse_v4::<false>(frame, checksum) {
            Ok(packet) if packet.protocol == protocol::TCP => {
                return tcp::parse(frame, header, packet, checksum);
            }
            Err(Stop::Drop(reason)) => return Err(reason),
            _ => {}
        },
        ethertype::IPV6 => match ip::parse_v6(frame) {
            Ok(packet) if packet.protocol == protocol::TCP => {
                return tcp::parse(frame, header, packet, checksum);
            }
            Err(Stop::Drop(reason)) => return Err(reason),
            _ => {}
        },
        ethertype::ARP => {}
        _ => return Err(DropReason::UnknownEtherType),
    }
    parse_other(frame, header, checksum)
}

/// What is not TCP, the control plane's and nobody's, and TCP in unusual packets.
#[cold]
#[inline(never)]
fn parse_other(
    frame: &[u8],
    header: &[u8; ETHERNET_HEADER],
    checksum: RxChecksum,
) -> Result<Frame, DropReason> {
    let (odd, icmp) = match be16(header, 12) {
        ethertype::IPV4 => (ip::parse_odd_v4(frame, checksum)?, protocol::ICMPV4),
        ethertype::IPV6 => (ip::parse_odd_v6(frame)?, protocol::ICMPV6),
        _ => {
            let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
            return arp::parse(packet).map(|arp| of(header, Packet::Arp(arp)));
        }
    };
    let packet = match odd {
        Odd::Other(packet) => packet,
        Odd::Whole(packet, _) if packet.protocol == protocol::TCP => {
            return tcp::parse(frame, header, packet, checksum);
        }
        Odd::Whole(packet, _) if packet.protocol == icmp => icmp::parse(frame, packet)?,
        //= rfc8200#section-4.7 (MUST)
        // Behind "no next header" nothing is looked at.
        Odd::Whole(packet, _) if packet.protocol == protocol::NO_NEXT_HEADER && packet.info.src.is_ipv6() => {
            return Err(DropReason::NoNextHeader);
        }
        // The other family's ICMP is nobody's.
        Odd::Whole(packet, named_at) => Packet::Unhandled {
            ip: packet.info,
            protocol: packet.protocol,
            named_at,
        },
    };
    Ok(of(header, packet))
}

fn of(header: &[u8; ETHERNET_HEADER], packet: Packet) -> Frame {
    let (dst_mac, src_mac) = macs(header);
    Frame {
        src_mac,
        dst_mac,
        packet,
    }
}

/// Destination and source of an Ethernet header.
#[inline(always)]
pub(crate) fn macs(header: &[u8; ETHERNET_HEADER]) -> (MacAddr, MacAddr) {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _] = *header;
    (
        MacAddr([d0, d1, d2, d3, d4, d5]),
        MacAddr([s0, s1, s2, s3, s4, s5]),
    )
}
