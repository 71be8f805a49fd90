//! Fragments of IP packets, as received and as sent.
//!
//! Read first: RFC 791 section 3.2, RFC 8200 section 4.5.
//!
//! Always true: a [`Fragment`]'s data lies within its frame, is not empty, is a
//! multiple of eight bytes unless it is the last one, and ends within what a
//! packet may hold.

use core::ops::Range;

use crore_base::DropReason;

use crate::emit::{IpEmit, Link, write_ethernet, write_v4, write_v6};
use crate::extensions::{Upper, holds_whole_chain};
use crate::{
    ETHERNET_HEADER, HeaderProblem, IpInfo, Packet, TxChecksum, be16, be32, checksum, ethertype, protocol,
};

/// The longest packet, header included for IPv4 and not for IPv6.
const PACKET_MAX: usize = 0xffff;

/// Length of an IPv6 fragment header.
const FRAGMENT_HEADER: usize = 8;

/// One of the fragments that a datagram was sent in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The IP header; `header_len` reaches to the fragment's data.
    pub ip: IpInfo,
    /// The datagram's identification; 16 bits in IPv4.
    pub id: u32,
    /// The protocol of the datagram; in IPv6 the header that its data starts with.
    pub protocol: u8,
    /// Where the data belongs in the datagram's, in bytes.
    pub offset: u16,
    /// Whether more follows.
    pub more: bool,
    /// Where the data lies in the frame.
    pub data: Range<usize>,
    /// IPv6: where the byte that names the fragment header lies in the packet.
    pub named_at: u16,
}

impl Fragment {
    /// Where the data ends in the datagram's.
    pub fn end(&self) -> u32 {
        u32::from(self.offset) + self.data.len() as u32
    }

    /// The whole packet as one frame: its headers are those of `first`, the
    /// frame of its first fragment, which `self` describes; `data` is all of
    /// its data, in order. `ecn` is what the fragments say together. None if
    /// they don't fit together.
    pub fn whole<'a>(
        &self,
        first: &[u8],
        ecn: u8,
        data: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<Vec<u8>> {
        let headers = first.get(..ETHERNET_HEADER + usize::from(self.ip.header_len))?;
        let len: usize = data.clone().map(<[u8]>::len).sum();
        let mut frame = Vec::with_capacity(headers.len() + len);
        frame.extend_from_slice(headers);
        if self.ip.src.is_ipv4() {
            let total = u16::try_from(headers.len() - ETHERNET_HEADER + len).ok()?;
            let header = frame.get_mut(ETHERNET_HEADER..)?;
            header[1] = header[1] & !3 | ecn & 3;
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[6..8].copy_from_slice(&[0, 0]);
            header[10..12].copy_from_slice(&[0, 0]);
            let sum = checksum::finish(checksum::sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            //= rfc8200#section-4.5 (MUST)
            // The fragment header goes, and the header before it names what
            // the first fragment's named.
            frame.truncate(headers.len() - FRAGMENT_HEADER);
            let named_at = ETHERNET_HEADER + usize::from(self.named_at);
            *frame.get_mut(named_at)? = self.protocol;
            let payload = u16::try_from(frame.len() - ETHERNET_HEADER - 40 + len).ok()?;
            let header = frame.get_mut(ETHERNET_HEADER..)?;
            header[1] = header[1] & !0x30 | (ecn & 3) << 4;
            header[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        data.for_each(|piece| frame.extend_from_slice(piece));
        Some(frame)
    }
}

/// A fragment of IPv4, whose header is checked: `header` and the `data` behind it.
//= rfc791#section-3.2 (MUST)
// All fragments but the last are multiples of eight bytes; none reaches
// beyond the longest datagram, or what is put together would not fit.
pub(crate) fn parse_v4(header: &[u8; 20], ip: IpInfo, data: Range<usize>) -> Result<Packet, DropReason> {
    let field = be16(header, 6);
    let offset = (field & 0x1fff) << 3;
    let more = field & 0x2000 != 0;
    let end = usize::from(offset) + data.len() + usize::from(ip.header_len);
    if data.is_empty() || (more && !data.len().is_multiple_of(8)) || end > PACKET_MAX {
        return Err(DropReason::MalformedFragment);
    }
    Ok(Packet::Fragment(Fragment {
        ip,
        id: u32::from(be16(header, 4)),
        protocol: header[9],
        offset,
        more,
        data,
        named_at: 0,
    }))
}

/// A fragment of IPv6: `packet` lies in the frame behind the Ethernet header,
/// and its fragment header, which the byte at `named_at` names, at `at`.
pub(crate) fn parse_v6(
    packet: &[u8],
    mut ip: IpInfo,
    at: usize,
    named_at: usize,
) -> Result<Packet, DropReason> {
    let head = packet.get(at..).unwrap_or_default();
    let header: &[u8; FRAGMENT_HEADER] = head.first_chunk().ok_or(DropReason::Truncated)?;
    let data = at + FRAGMENT_HEADER..packet.len();
    let field = be16(header, 2);
    let offset = field & !7;
    let more = field & 1 != 0;
    let problem = |problem| Ok(Packet::Problem { ip, problem });
    //= rfc8200#section-4.5 (MUST)
    // A fragment that is not the last and not a multiple of eight bytes: its
    // payload length is the problem.
    if more && !data.len().is_multiple_of(8) {
        return problem(HeaderProblem::erroneous(4));
    }
    //= rfc8200#section-4.5 (MUST)
    // One that would make the packet too long: its offset is.
    let unfragmentable = at - 40;
    if unfragmentable + usize::from(offset) + data.len() > PACKET_MAX {
        return problem(HeaderProblem::erroneous(at + 2));
    }
    if data.is_empty() {
        return Err(DropReason::MalformedFragment);
    }
    let upper = Upper {
        protocol: header[0],
        at: data.start,
        named_at: at,
    };
    if offset == 0 && !holds_whole_chain(packet, upper) {
        return problem(HeaderProblem::INCOMPLETE_CHAIN);
    }
    ip.header_len = data.start as u16;
    Ok(Packet::Fragment(Fragment {
        ip,
        id: be32(header, 4),
        protocol: header[0],
        offset,
        more,
        data: ETHERNET_HEADER + data.start..ETHERNET_HEADER + data.end,
        named_at: named_at as u16,
    }))
}

/// Which part of which datagram a frame to be sent carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The datagram's identification; 16 bits in IPv4.
    pub id: u32,
    /// Where the part begins, a multiple of eight.
    pub offset: u16,
    /// Whether more follows.
    pub more: bool,
}

/// How many bytes of a datagram one fragment holds at most where packets of
/// `mtu` bytes get through: a multiple of eight.
pub fn fragment_room(v6: bool, mtu: u16) -> usize {
    let headers = if v6 { 40 + FRAGMENT_HEADER } else { 20 };
    usize::from(mtu).saturating_sub(headers) & !7
}

/// Length of the frame that carries `len` bytes of an ICMP message, as a
/// fragment.
pub fn icmp_fragment_len(ip: &IpEmit, len: usize) -> usize {
    let extra = if ip.src.is_ipv4() { 0 } else { FRAGMENT_HEADER };
    ETHERNET_HEADER + ip.header_len() + extra + len
}

/// Writes the frame that carries `data`, the part of an ICMP message that
/// `piece` says, to the start of `buf`; gives its length, or none if it does
/// not fit.
pub fn emit_icmp_fragment(
    buf: &mut [u8],
    link: &Link,
    ip: &IpEmit,
    piece: Piece,
    data: &[u8],
) -> Option<usize> {
    let len = icmp_fragment_len(ip, data.len());
    let frame = buf.get_mut(..len)?;
    if ip.src.is_ipv4() {
        let packet = write_ethernet(frame, link, ethertype::IPV4)?;
        let field = piece.offset >> 3 | u16::from(piece.more) << 13;
        let ip = IpEmit {
            ident: piece.id as u16,
            ..*ip
        };
        let body = write_v4(packet, &ip, protocol::ICMPV4, field, TxChecksum::Software)?;
        body.copy_from_slice(data);
    } else {
        let packet = write_ethernet(frame, link, ethertype::IPV6)?;
        let body = write_v6(packet, ip, protocol::FRAGMENT)?;
        let (header, body) = body.split_first_chunk_mut::<FRAGMENT_HEADER>()?;
        header[..2].copy_from_slice(&[protocol::ICMPV6, 0]);
        header[2..4].copy_from_slice(&(piece.offset & !7 | u16::from(piece.more)).to_be_bytes());
        header[4..8].copy_from_slice(&piece.id.to_be_bytes());
        body.copy_from_slice(data);
    }
    Some(len)
}
