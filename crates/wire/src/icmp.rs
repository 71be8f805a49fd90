//! ICMPv4 and ICMPv6: echo, and errors about what this host sent.
//!
//! Read first: RFC 792, RFC 1191 section 4 (the MTU of "fragmentation
//! needed"), RFC 4443, RFC 5927 (why an error counts only when the sequence
//! number in it does).

use core::net::{IpAddr, Ipv4Addr};

use crore_base::{DropReason, FourTuple, SeqNum};
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet};

use crate::emit::write_headers;
use crate::extensions::{Upper, Walked, walk};
use crate::ip::{IpPacket, v6_addresses};
use crate::{ETHERNET_HEADER, IpEmit, Link, Packet, TxChecksum, be16, be32, checksum, ndp, protocol};

/// The shortest ICMP message with an identifier, in bytes.
const ECHO_HEADER: usize = 8;

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: IcmpErrorKind,
    /// The TCP segment that it is about; `None` when it is about no TCP
    /// segment, or quotes too little of it.
    pub embedded: Option<Embedded>,
}

/// What an ICMP error complains of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpErrorKind {
    /// ICMPv4 type 3 (but "fragmentation needed"), ICMPv6 type 1.
    Unreachable {
        /// The code, whose meaning differs between the two.
        code: u8,
    },
    /// ICMPv4 type 3 code 4, ICMPv6 type 2.
    PacketTooBig {
        /// The next hop's IP MTU in bytes, as the router claims it: 0 from
        /// routers older than RFC 1191.
        mtu: u32,
    },
    /// ICMPv4 type 11, ICMPv6 type 3.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// ICMPv4 type 12, ICMPv6 type 4.
    ParameterProblem {
        /// The code, whose meaning differs between the two.
        code: u8,
    },
}

/// What an ICMP error quotes of the TCP segment that it is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Embedded {
    /// The connection; local is who sent the quoted segment, which is this host
    /// if the error is honest.
    pub flow: FourTuple,
    /// The quoted segment's sequence number: in flight, if the error is honest.
    pub seq: SeqNum,
    /// Length of the IP packet that it went in, as its header said.
    pub len: u16,
}

/// Takes apart and verifies the ICMP message of `packet`, of the version that
/// its addresses say.
#[cold]
pub(crate) fn parse(frame: &[u8], packet: IpPacket) -> Result<Packet, DropReason> {
    let message = frame.get(packet.payload.clone()).unwrap_or_default();
    let mut partial = checksum::sum(message);
    if packet.info.src.is_ipv6() {
        let (src, dst) = (packet.info.src, packet.info.dst);
        partial += checksum::pseudo_header(src, dst, protocol::ICMPV6, message.len() as u32);
    }
    if message.len() < 4 || !checksum::verifies(partial) {
        return Err(DropReason::MalformedIcmp);
    }
    if packet.info.src.is_ipv6() {
        parse_v6(message, packet)
    } else {
        parse_v4(message, packet)
    }
}

fn parse_v4(message: &[u8], packet: IpPacket) -> Result<Packet, DropReason> {
    let view = Icmpv4Packet::new_checked(message).map_err(|_| DropReason::MalformedIcmp)?;
    let code = view.msg_code();
    let kind = match view.msg_type() {
        Icmpv4Message::EchoRequest if code == 0 => return echo_request(message, packet),
        Icmpv4Message::DstUnreachable if code == 4 => IcmpErrorKind::PacketTooBig {
            mtu: u32::from(u16::from_be_bytes([message[6], message[7]])),
        },
        Icmpv4Message::DstUnreachable => IcmpErrorKind::Unreachable { code },
        Icmpv4Message::TimeExceeded => IcmpErrorKind::TimeExceeded { code },
        Icmpv4Message::ParamProblem => IcmpErrorKind::ParameterProblem { code },
        other => {
            return Ok(Packet::OtherIcmp {
                ip: packet.info,
                kind: other.into(),
            });
        }
    };
    let embedded = embedded_v4(view.data());
    Ok(Packet::IcmpError {
        ip: packet.info,
        error: IcmpError { kind, embedded },
    })
}

fn parse_v6(message: &[u8], packet: IpPacket) -> Result<Packet, DropReason> {
    let message_type = Icmpv6Message::from(message[0]);
    if matches!(
        message_type,
        Icmpv6Message::Unknown(_) | Icmpv6Message::RplControl | Icmpv6Message::RouterSolicit
    ) {
        // The view knows no such message, and we want none.
        return Ok(Packet::OtherIcmp {
            ip: packet.info,
            kind: message[0],
        });
    }
    let view = Icmpv6Packet::new_checked(message).map_err(|_| DropReason::MalformedIcmp)?;
    let code = view.msg_code();
    let kind = match message_type {
        Icmpv6Message::EchoRequest if code == 0 => return echo_request(message, packet),
        Icmpv6Message::NeighborSolicit => return ndp::parse_solicitation(&view, packet.info),
        Icmpv6Message::NeighborAdvert => return ndp::parse_advertisement(&view, packet.info),
        Icmpv6Message::DstUnreachable => IcmpErrorKind::Unreachable { code },
        Icmpv6Message::PktTooBig => IcmpErrorKind::PacketTooBig {
            mtu: view.pkt_too_big_mtu(),
        },
        Icmpv6Message::TimeExceeded => IcmpErrorKind::TimeExceeded { code },
        Icmpv6Message::ParamProblem => IcmpErrorKind::ParameterProblem { code },
        _ => {
            return Ok(Packet::OtherIcmp {
                ip: packet.info,
                kind: message[0],
            });
        }
    };
    let embedded = embedded_v6(view.payload());
    Ok(Packet::IcmpError {
        ip: packet.info,
        error: IcmpError { kind, embedded },
    })
}

fn echo_request(message: &[u8], packet: IpPacket) -> Result<Packet, DropReason> {
    if message.len() < ECHO_HEADER {
        return Err(DropReason::MalformedIcmp);
    }
    Ok(Packet::EchoRequest {
        ip: packet.info,
        message: packet.payload,
    })
}

/// The segment quoted by an ICMPv4 error: an IP header and at least eight bytes
/// of what followed it. Its lengths are those of the original, not of the quote.
fn embedded_v4(quote: &[u8]) -> Option<Embedded> {
    let header: &[u8; 20] = quote.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    // Only a first fragment has the ports.
    let first_fragment = be16(header, 6) & 0x1fff == 0;
    if header[0] >> 4 != 4 || header_len < header.len() || header[9] != protocol::TCP || !first_fragment {
        return None;
    }
    let src = Ipv4Addr::from(be32(header, 12));
    let dst = Ipv4Addr::from(be32(header, 16));
    embedded_tcp(src.into(), dst.into(), be16(header, 2), quote.get(header_len..)?)
}

fn embedded_v6(quote: &[u8]) -> Option<Embedded> {
    let header: &[u8; 40] = quote.first_chunk()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    // What this host sends has no extension headers; a gateway may have added some.
    let Walked::Upper(Upper {
        protocol: protocol::TCP,
        at,
        ..
    }) = walk(quote, true)
    else {
        return None;
    };
    let (src, dst) = v6_addresses(header);
    embedded_tcp(src, dst, be16(header, 4).saturating_add(40), quote.get(at..)?)
}

fn embedded_tcp(src: IpAddr, dst: IpAddr, len: u16, tcp: &[u8]) -> Option<Embedded> {
    let start: &[u8; 8] = tcp.first_chunk()?;
    Some(Embedded {
        flow: FourTuple {
            local_addr: src,
            local_port: be16(start, 0),
            remote_addr: dst,
            remote_port: be16(start, 2),
        },
        seq: SeqNum(be32(start, 4)),
        len,
    })
}

/// Length of the frame that answers an echo request of `message_len` bytes
/// (the ICMP message, header included).
pub fn echo_reply_len(ip: &IpEmit, message_len: usize) -> usize {
    ETHERNET_HEADER + ip.header_len() + message_len
}

/// Writes the frame that answers the echo request `message` (the ICMP message
/// whole, as [`Packet::EchoRequest`] places it) to the start of `buf`; gives
/// its length, or `None` when `buf` is too short, `message` too long or short,
/// or the addresses are not of one family.
//= rfc4443#section-4.2 (MUST)
// Identifier, sequence number and data go back as they came; so does
// RFC 1122 section 3.2.2.6 ask for ICMPv4.
pub fn emit_echo_reply(buf: &mut [u8], link: &Link, ip: &IpEmit, message: &[u8]) -> Option<usize> {
    let len = echo_reply_len(ip, message.len());
    let protocol = match ip.src {
        IpAddr::V4(_) => protocol::ICMPV4,
        IpAddr::V6(_) => protocol::ICMPV6,
    };
    let frame = buf.get_mut(..len)?;
    let reply = write_headers(frame, link, ip, protocol, TxChecksum::Software)?;
    reply.copy_from_slice(message);
    make_echo_reply(reply, ip)?;
    Some(len)
}

/// The message that answers the echo request `message`, to be sent in
/// fragments; none when that is too short.
pub fn echo_reply(ip: &IpEmit, message: &[u8]) -> Option<Vec<u8>> {
    let mut reply = message.to_vec();
    make_echo_reply(&mut reply, ip)?;
    Some(reply)
}

/// Makes of an echo request its answer.
fn make_echo_reply(message: &mut [u8], ip: &IpEmit) -> Option<()> {
    const REPLY_V4: u8 = 0;
    const REPLY_V6: u8 = 129;
    if message.len() < ECHO_HEADER {
        return None;
    }
    let reply_type = if ip.src.is_ipv4() { REPLY_V4 } else { REPLY_V6 };
    message[..4].copy_from_slice(&[reply_type, 0, 0, 0]);
    fill_checksum(message, ip);
    Some(())
}

/// Fills the checksum of an ICMP message that `ip` is to carry; the field must
/// be zero.
pub(crate) fn fill_checksum(message: &mut [u8], ip: &IpEmit) {
    let mut partial = checksum::sum(message);
    if ip.src.is_ipv6() {
        partial += checksum::pseudo_header(ip.src, ip.dst, protocol::ICMPV6, message.len() as u32);
    }
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&checksum::finish(partial).to_be_bytes());
    }
}
