//! A TCP header as received.
//!
//! Read first: RFC 9293 section 3.1.

use core::ops::Range;

use crore_base::{DropReason, RxChecksum, SeqNum};

use crate::ip::IpPacket;
use crate::segment::TCP_HEADER;
use crate::{Flags, IpInfo, Segment, TcpOptions, be16, be32, checksum, protocol};

/// Verifies and takes apart the TCP header of `packet`; gives it with the
/// place of the payload in the frame.
#[inline]
pub(crate) fn parse(
    frame: &[u8],
    packet: &IpPacket,
    rx: RxChecksum,
) -> Result<(Segment, Range<usize>), DropReason> {
    let bytes = frame.get(packet.payload.clone()).unwrap_or_default();
    let header: &[u8; TCP_HEADER] = bytes.first_chunk().ok_or(DropReason::MalformedTcp)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let options = bytes
        .get(TCP_HEADER..header_len)
        .ok_or(DropReason::MalformedTcp)?;
    match rx {
        RxChecksum::Good | RxChecksum::Partial => {}
        RxChecksum::Unknown => verify(bytes, header, &packet.info)?,
        RxChecksum::Bad => return Err(why_bad(bytes, header, &packet.info)),
    }
    let segment = Segment {
        src_port: be16(header, 0),
        dst_port: be16(header, 2),
        seq: SeqNum(be32(header, 4)),
        ack: SeqNum(be32(header, 8)),
        flags: Flags::from_bits(header[13]),
        window: be16(header, 14),
        urgent: be16(header, 18),
        options: TcpOptions::parse(options),
    };
    Ok((segment, packet.payload.start + header_len..packet.payload.end))
}

//= rfc9293#section-3.1 (MUST)
// The receiver checks the checksum, pseudo-header included.
#[inline]
fn verify(bytes: &[u8], header: &[u8; TCP_HEADER], ip: &IpInfo) -> Result<(), DropReason> {
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::TCP, bytes.len() as u32);
    if checksum::verifies(pseudo + checksum::sum(bytes)) {
        return Ok(());
    }
    // A sender that leaves the checksum to an offload puts the pseudo-header's
    // sum there; when the offload never happens, that is what arrives.
    if be16(header, 16) == checksum::fold(pseudo) {
        return Err(DropReason::PartialTcpChecksum);
    }
    Err(DropReason::BadTcpChecksum)
}

/// Names what is wrong with a segment that the NIC called bad.
#[cold]
fn why_bad(bytes: &[u8], header: &[u8; TCP_HEADER], ip: &IpInfo) -> DropReason {
    match verify(bytes, header, ip) {
        Err(reason) => reason,
        Ok(()) => DropReason::BadTcpChecksum,
    }
}
