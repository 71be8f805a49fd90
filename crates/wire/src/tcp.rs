//! A TCP header as received.
//!
//! Read first: RFC 9293 section 3.1.

use crore_base::{DropReason, RxChecksum, SeqNum};

use crate::frame::macs;
use crate::ip::IpPacket;
use crate::segment::TCP_HEADER;
use crate::{
    ETHERNET_HEADER, Ecn, Flags, Frame, Packet, Segment, TcpOptions, be16, be32, checksum, options, protocol,
};

//= rfc9293#section-3.1 (MUST)
// A segment counts only if its checksum is right, by the NIC's word or by ours.
/// Verifies and takes apart the TCP segment that `packet` carries in the frame
/// whose Ethernet header is `ethernet`.
#[inline(always)]
pub(crate) fn parse(
    frame: &[u8],
    ethernet: &[u8; ETHERNET_HEADER],
    packet: IpPacket,
    rx: RxChecksum,
) -> Result<Frame, DropReason> {
    let IpPacket {
        info: ip, payload, ..
    } = packet;
    let bytes = frame.get(payload.start..payload.end).unwrap_or_default();
    let header: &[u8; TCP_HEADER] = bytes.first_chunk().ok_or(DropReason::MalformedTcp)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let option_bytes = bytes
        .get(TCP_HEADER..header_len)
        .ok_or(DropReason::MalformedTcp)?;
    if matches!(rx, RxChecksum::Unknown | RxChecksum::Bad) {
        let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::TCP, bytes.len() as u32);
        verify(bytes, header, pseudo, rx)?;
    }
    let finish = |options: TcpOptions| {
        let (dst_mac, src_mac) = macs(ethernet);
        // Data offset, flags and window.
        let word = be32(header, 12);
        Ok(Frame {
            src_mac,
            dst_mac,
            packet: Packet::Tcp {
                ip,
                segment: Segment {
                    src_port: be16(header, 0),
                    dst_port: be16(header, 2),
                    seq: SeqNum(be32(header, 4)),
                    ack: SeqNum(be32(header, 8)),
                    flags: Flags::from_bits((word >> 16) as u16),
                    window: word as u16,
                    urgent: be16(header, 18),
                    ecn: Ecn::from_bits(ip.ecn),
                    options,
                },
                payload: payload.start + header_len..payload.end,
            },
        })
    };
    // Each of these builds the whole frame, so that the usual ones need not
    // meet the unusual one in memory.
    match option_bytes {
        [] => finish(TcpOptions::default()),
        _ => match options::timestamps_alone(option_bytes) {
            Some(options) => finish(options),
            None => finish(TcpOptions::parse(option_bytes)),
        },
    }
}

//= rfc9293#section-3.1 (MUST)
// The receiver checks the checksum, pseudo-header included (`pseudo` is that
// one's partial sum). What the NIC called bad stays bad, under its best name.
#[inline]
fn verify(bytes: &[u8], header: &[u8; TCP_HEADER], pseudo: u32, rx: RxChecksum) -> Result<(), DropReason> {
    if checksum::verifies(pseudo + checksum::sum(bytes)) {
        return match rx {
            RxChecksum::Bad => Err(DropReason::BadTcpChecksum),
            _ => Ok(()),
        };
    }
    // A sender that leaves the checksum to an offload puts the pseudo-header's
    // sum there; when the offload never happens, that is what arrives.
    if be16(header, 16) == checksum::fold(pseudo) {
        return Err(DropReason::PartialTcpChecksum);
    }
    Err(DropReason::BadTcpChecksum)
}
