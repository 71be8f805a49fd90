//! ICMP errors that this host sends: what was wrong with a packet.
//!
//! Read first: RFC 1122 section 3.2.2, RFC 4443 sections 2.4 and 3. When one
//! may be sent at all, and how often, is for the stack to say.

use core::net::IpAddr;

use crate::emit::write_headers;
use crate::icmp::fill_checksum;
use crate::{ETHERNET_HEADER, IpEmit, Link, TxChecksum, protocol};

/// Length of an ICMP error in front of what it quotes.
const ERROR_HEADER: usize = 8;

/// A problem in an IPv6 header (RFC 4443 section 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderProblem {
    /// The code of the parameter problem message.
    pub code: u8,
    /// Where in the packet the problem lies.
    pub pointer: u16,
}

impl HeaderProblem {
    /// The first fragment does not hold the whole chain of headers (RFC 7112).
    pub const INCOMPLETE_CHAIN: Self = Self { code: 3, pointer: 0 };

    /// An erroneous field.
    pub(crate) const fn erroneous(at: usize) -> Self {
        Self {
            code: 0,
            pointer: at as u16,
        }
    }

    pub(crate) const fn unknown_next_header(at: usize) -> Self {
        Self {
            code: 1,
            pointer: at as u16,
        }
    }

    pub(crate) const fn unknown_option(at: usize) -> Self {
        Self {
            code: 2,
            pointer: at as u16,
        }
    }
}

/// What an ICMP error to be sent complains of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// Nobody here speaks the protocol. In IPv6 that is a problem of the header
    /// whose byte at `named_at` names it.
    ProtocolUnreachable {
        /// Where in the packet the protocol is named.
        named_at: u16,
    },
    /// Nobody listens on the port.
    PortUnreachable,
    /// Fragments of the packet did not come in time.
    ReassemblyTimeout,
    /// A problem in an IPv6 header.
    Problem(HeaderProblem),
}

impl Complaint {
    /// Type, code, and the four bytes behind the checksum.
    fn fields(self, v6: bool) -> Option<(u8, u8, u32)> {
        Some(match (self, v6) {
            (Self::ProtocolUnreachable { .. }, false) => (3, 2, 0),
            (Self::PortUnreachable, false) => (3, 3, 0),
            (Self::ReassemblyTimeout, false) => (11, 1, 0),
            //= rfc8200#section-4 (MUST)
            // A next header that is not known is a parameter problem of code 1,
            // and its name is pointed at.
            (Self::ProtocolUnreachable { named_at }, true) => (4, 1, u32::from(named_at)),
            (Self::PortUnreachable, true) => (1, 4, 0),
            (Self::ReassemblyTimeout, true) => (3, 1, 0),
            (Self::Problem(problem), true) => (4, problem.code, u32::from(problem.pointer)),
            (Self::Problem(_), false) => return None,
        })
    }
}

/// How much of a packet an ICMP error quotes at most.
//= rfc4443#section-2.4 (MUST)
// As much of the packet as fits into 1,280 bytes with the error around it; in
// IPv4 into 576 (RFC 1812 section 4.3.2.3).
pub const fn quote_max(v6: bool) -> usize {
    if v6 {
        1280 - 40 - ERROR_HEADER
    } else {
        576 - 20 - ERROR_HEADER
    }
}

/// Length of the frame of an ICMP error that quotes `quote` bytes.
pub fn icmp_error_len(ip: &IpEmit, quote: usize) -> usize {
    ETHERNET_HEADER + ip.header_len() + ERROR_HEADER + quote
}

/// Writes the frame of an ICMP error about the packet that `quote` begins to
/// the start of `buf`; gives its length, or none if it does not fit or the
/// family has no such error.
pub fn emit_icmp_error(
    buf: &mut [u8],
    link: &Link,
    ip: &IpEmit,
    complaint: Complaint,
    quote: &[u8],
) -> Option<usize> {
    let (kind, code, word) = complaint.fields(ip.src.is_ipv6())?;
    let protocol = match ip.src {
        IpAddr::V4(_) => protocol::ICMPV4,
        IpAddr::V6(_) => protocol::ICMPV6,
    };
    let len = icmp_error_len(ip, quote.len());
    let frame = buf.get_mut(..len)?;
    let message = write_headers(frame, link, ip, protocol, TxChecksum::Software)?;
    let (header, body) = message.split_first_chunk_mut::<ERROR_HEADER>()?;
    header[..4].copy_from_slice(&[kind, code, 0, 0]);
    header[4..].copy_from_slice(&word.to_be_bytes());
    body.copy_from_slice(quote);
    fill_checksum(message, ip);
    Some(len)
}
