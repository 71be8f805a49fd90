//! Frames to be sent: Ethernet and IP headers, and TCP.
//!
//! Read first: RFC 9293 section 3.1, RFC 791 section 3.1, RFC 8200 section 3,
//! RFC 6864 (the identification of packets that nobody may fragment).

use core::net::IpAddr;

use crore_base::MacAddr;

use crate::segment::TCP_HEADER;
use crate::{ETHERNET_HEADER, Segment, TcpOptions, checksum, ethertype, protocol};

/// The longest IP payload that is written here, in bytes: what IPv4's total
/// length leaves.
const IP_PAYLOAD_MAX: usize = 0xffff - 20;

/// Who sends a frame on this link, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// This station.
    pub src: MacAddr,
    /// The next hop.
    pub dst: MacAddr,
}

/// What an IP header to be sent says. Both addresses are of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpEmit {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// The ECN codepoint, 0 to 3 (RFC 3168 section 5), in the two low bits; above
    /// them the DSCP (RFC 2474 section 3), which is 0 for a host that asks for nothing.
    pub ecn: u8,
    /// IPv4's identification; without meaning, as "don't fragment" is set
    /// (RFC 6864 section 4.1), but middleboxes like it to change.
    pub ident: u16,
}

impl IpEmit {
    /// Length of the IP header, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        if self.src.is_ipv4() { 20 } else { 40 }
    }
}

/// Who fills in the checksums of a packet to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxChecksum {
    /// Software, both.
    Software,
    /// The NIC, both: the IPv4 header's is left zero and TCP's holds the
    /// pseudo-header's sum.
    Offload,
    /// The NIC TCP's, software the IPv4 header's.
    OffloadTcpOnly,
}

/// Length of all headers of a TCP frame, options included: where its payload
/// belongs.
#[inline]
pub fn tcp_headers_len(ip: &IpEmit, seg: &Segment) -> usize {
    ETHERNET_HEADER + ip.header_len() + seg.header_len()
}

//= rfc9293#section-3.1 (MUST)
// Every segment carries its checksum, by software or by the NIC.
/// Writes the headers of a TCP frame to the start of `buf`, where
/// `payload_len` bytes of payload lie in place already, at
/// [`tcp_headers_len`]; gives the frame's length. 0 when the frame fits into
/// `buf` or into IP's lengths not, or the addresses are not of one family: the
/// caller's mistakes, asserted in debug builds.
#[inline]
pub fn emit_tcp(
    buf: &mut [u8],
    link: &Link,
    ip: &IpEmit,
    seg: &Segment,
    payload_len: usize,
    checksum: TxChecksum,
) -> usize {
    let written = try_emit_tcp(buf, link, ip, seg, payload_len, checksum);
    debug_assert!(
        written.is_some(),
        "{payload_len} bytes of payload into {} bytes of buffer, {} to {}",
        buf.len(),
        ip.src,
        ip.dst
    );
    written.unwrap_or(0)
}

#[inline]
fn try_emit_tcp(
    buf: &mut [u8],
    link: &Link,
    ip: &IpEmit,
    seg: &Segment,
    payload_len: usize,
    checksum: TxChecksum,
) -> Option<usize> {
    let header_len = seg.header_len();
    let len = (ETHERNET_HEADER + ip.header_len() + header_len).checked_add(payload_len)?;
    let frame = buf.get_mut(..len)?;
    let bytes = write_headers(frame, link, ip, protocol::TCP, checksum)?;
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::TCP, bytes.len() as u32);
    let (header, rest) = bytes.split_first_chunk_mut::<TCP_HEADER>()?;
    let (options, payload) = rest.split_at_mut_checked(header_len - TCP_HEADER)?;
    let options_sum = write_options(&seg.options, options)?;
    let field = match checksum {
        TxChecksum::Software => {
            let headers = header_sum(seg, header_len) + options_sum;
            checksum::finish(pseudo + headers + checksum::sum(payload))
        }
        TxChecksum::Offload | TxChecksum::OffloadTcpOnly => checksum::fold(pseudo),
    };
    write_tcp(header, seg, header_len, field);
    Some(len)
}

/// Makes the headers at the start of `frame`, which [`emit_tcp`] wrote with a
/// checksum left to the NIC, those of a segment with `payload_len` bytes of
/// payload that the NIC is to cut apart (TSO): it wants the pseudo-header's sum
/// without the length, since each of its segments has another.
pub fn make_large(frame: &mut [u8], ip: &IpEmit, seg: &Segment, payload_len: usize, checksum: TxChecksum) {
    let tcp_len = seg.header_len() + payload_len;
    let l3_len = ip.header_len();
    let Some(packet) = frame.get_mut(ETHERNET_HEADER..tcp_headers_len(ip, seg)) else {
        return;
    };
    let (header, tcp) = packet.split_at_mut(l3_len);
    if ip.src.is_ipv4() {
        header[2..4].copy_from_slice(&((l3_len + tcp_len) as u16).to_be_bytes());
        if checksum != TxChecksum::Offload {
            header[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    } else {
        header[4..6].copy_from_slice(&(tcp_len as u16).to_be_bytes());
    }
    let pseudo = checksum::fold(checksum::pseudo_header(ip.src, ip.dst, protocol::TCP, 0));
    tcp[16..18].copy_from_slice(&pseudo.to_be_bytes());
}

/// Writes the options, which fill `out` exactly; gives their partial sum.
#[inline]
fn write_options(options: &TcpOptions, out: &mut [u8]) -> Option<u32> {
    if let Some(timestamps) = options.timestamps_alone() {
        out.copy_from_slice(&timestamps.encode());
        return Some(timestamps.sum());
    }
    options.write(out)?;
    Some(checksum::sum(out))
}

/// The partial sum of the TCP header that [`write_tcp`] writes, without its
/// checksum. Taken of the values, since reading back together what was just
/// written in pieces stalls the processor.
#[inline]
fn header_sum(seg: &Segment, header_len: usize) -> u32 {
    u32::from(seg.src_port)
        + u32::from(seg.dst_port)
        + checksum::halves(seg.seq.0)
        + checksum::halves(seg.ack.0)
        + ((header_len as u32 / 4) << 12 | u32::from(seg.flags.bits()))
        + u32::from(seg.window)
        + u32::from(seg.urgent)
}

#[inline]
fn write_tcp(header: &mut [u8; TCP_HEADER], seg: &Segment, header_len: usize, checksum: u16) {
    header[0..2].copy_from_slice(&seg.src_port.to_be_bytes());
    header[2..4].copy_from_slice(&seg.dst_port.to_be_bytes());
    header[4..8].copy_from_slice(&seg.seq.0.to_be_bytes());
    header[8..12].copy_from_slice(&seg.ack.0.to_be_bytes());
    let offset_and_flags = (header_len as u16 / 4) << 12 | seg.flags.bits();
    header[12..14].copy_from_slice(&offset_and_flags.to_be_bytes());
    header[14..16].copy_from_slice(&seg.window.to_be_bytes());
    header[16..18].copy_from_slice(&checksum.to_be_bytes());
    header[18..20].copy_from_slice(&seg.urgent.to_be_bytes());
}

/// Writes an Ethernet and an IP header to the start of `frame`, which is as
/// long as the frame shall be; gives the place of the IP payload, or `None`
/// when there is no room, too much, or the addresses are not of one family.
#[inline]
pub(crate) fn write_headers<'a>(
    frame: &'a mut [u8],
    link: &Link,
    ip: &IpEmit,
    protocol: u8,
    checksum: TxChecksum,
) -> Option<&'a mut [u8]> {
    if ip.src.is_ipv4() {
        const DONT_FRAGMENT: u16 = 0x4000;
        write_v4(
            write_ethernet(frame, link, ethertype::IPV4)?,
            ip,
            protocol,
            DONT_FRAGMENT,
            checksum,
        )
    } else {
        write_v6(write_ethernet(frame, link, ethertype::IPV6)?, ip, protocol)
    }
}

/// Writes an IPv4 header to the start of `packet`; gives the rest. `fragment`
/// is what the field of flags and fragment offset says.
#[inline(always)]
pub(crate) fn write_v4<'a>(
    packet: &'a mut [u8],
    ip: &IpEmit,
    protocol: u8,
    fragment: u16,
    checksum: TxChecksum,
) -> Option<&'a mut [u8]> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (ip.src, ip.dst) else {
        return None;
    };
    let (header, payload) = packet.split_first_chunk_mut::<20>()?;
    if payload.len() > IP_PAYLOAD_MAX {
        return None;
    }
    let total_len = (header.len() + payload.len()) as u16;
    header[0] = 0x45;
    header[1] = ip.ecn;
    header[2..4].copy_from_slice(&total_len.to_be_bytes());
    header[4..6].copy_from_slice(&ip.ident.to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[8] = ip.hop_limit;
    header[9] = protocol;
    let sum = match checksum {
        TxChecksum::Offload => 0,
        // Of the values, as in `header_sum`.
        _ => checksum::finish(
            (0x4500 | u32::from(header[1]))
                + u32::from(total_len)
                + u32::from(ip.ident)
                + u32::from(fragment)
                + (u32::from(ip.hop_limit) << 8 | u32::from(protocol))
                + checksum::halves(src.to_bits())
                + checksum::halves(dst.to_bits()),
        ),
    };
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header[12..16].copy_from_slice(&src.octets());
    header[16..20].copy_from_slice(&dst.octets());
    Some(payload)
}

/// Writes an IPv6 header to the start of `packet`; gives the rest.
#[inline(always)]
pub(crate) fn write_v6<'a>(packet: &'a mut [u8], ip: &IpEmit, next_header: u8) -> Option<&'a mut [u8]> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else {
        return None;
    };
    let (header, payload) = packet.split_first_chunk_mut::<40>()?;
    if payload.len() > IP_PAYLOAD_MAX {
        return None;
    }
    // Version 6; the traffic class straddles the first two bytes.
    header[0] = 0x60 | ip.ecn >> 4;
    header[1] = ip.ecn << 4;
    header[2..4].copy_from_slice(&[0, 0]);
    header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    header[6] = next_header;
    header[7] = ip.hop_limit;
    header[8..24].copy_from_slice(&src.octets());
    header[24..40].copy_from_slice(&dst.octets());
    Some(payload)
}

/// Writes an Ethernet header to the start of `frame`; gives the rest.
#[inline]
pub(crate) fn write_ethernet<'a>(frame: &'a mut [u8], link: &Link, ethertype: u16) -> Option<&'a mut [u8]> {
    let (header, rest) = frame.split_first_chunk_mut::<ETHERNET_HEADER>()?;
    header[0..6].copy_from_slice(&link.dst.0);
    header[6..12].copy_from_slice(&link.src.0);
    header[12..14].copy_from_slice(&ethertype.to_be_bytes());
    Some(rest)
}
