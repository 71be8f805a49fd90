//! Bytes to segments and back: what lies between an Ethernet frame and TCP.
//!
//! [`parse`] takes a received frame apart and verifies it; the `emit_*`
//! functions write frames into a buffer that the caller reserved. Nothing here
//! allocates, keeps state or panics on what came from the wire.
//!
//! No type of smoltcp's shows in this interface. Its packet views serve for
//! ARP, ICMP and neighbour discovery; Ethernet, IP and TCP are read directly,
//! because each packet pays for them, and because TCP options must be read
//! leniently and ECE and CWR kept.
#![forbid(unsafe_code)]

mod accurate_ecn;
mod arp;
pub mod checksum;
mod ecn;
mod emit;
mod extensions;
mod fast_open;
mod fragment;
mod frame;
mod icmp;
mod icmp_error;
mod ip;
mod ndp;
mod options;
mod plain;
mod rss;
mod segment;
mod tcp;

pub use accurate_ecn::{AccEcnOption, AccEcnOrder};
pub use arp::{ARP_FRAME_LEN, Arp, ArpOperation, emit_arp};
pub use ecn::Ecn;
pub use emit::{IpEmit, Link, TxChecksum, emit_tcp, make_large, tcp_headers_len};
pub use extensions::{MAX_EXTENSION_BYTES, MAX_EXTENSION_HEADERS, MAX_OPTIONS};
pub use fast_open::FastOpenCookie;
pub use fragment::{Fragment, Piece, emit_icmp_fragment, fragment_room, icmp_fragment_len};
pub use frame::{Frame, Packet, parse};
pub use icmp::{Embedded, IcmpError, IcmpErrorKind, echo_reply, echo_reply_len, emit_echo_reply};
pub use icmp_error::{Complaint, HeaderProblem, emit_icmp_error, icmp_error_len, quote_max};
pub use ip::IpInfo;
pub use ndp::{
    NEIGHBOR_FRAME_LEN, NeighborAdvertisement, NeighborSolicitation, emit_neighbor_advertisement,
    emit_neighbor_solicitation, multicast_mac, solicited_node,
};
pub use options::{OptionOrder, SackBlocks, TcpOptions, Timestamps};
pub use plain::{PlainTcp, parse_plain};
pub use rss::{RSS_KEY_MIN, Steering, Toeplitz, Whose};
pub use segment::{Flags, Segment};

/// Length of an Ethernet header, in bytes.
pub const ETHERNET_HEADER: usize = 14;

/// The EtherTypes that are spoken here (IEEE 802 numbers).
mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    pub(crate) const IPV6: u16 = 0x86dd;
}

/// The IP protocol numbers that are spoken here (IANA).
mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMPV4: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const NO_NEXT_HEADER: u8 = 59;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}

/// The big-endian `u16` at `at` of a header whose length is known.
#[inline(always)]
fn be16<const N: usize>(header: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

/// The big-endian `u32` at `at` of a header whose length is known.
#[inline(always)]
fn be32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
