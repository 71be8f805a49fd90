//! What the layers above need to know of an IP header.

use core::net::IpAddr;

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
