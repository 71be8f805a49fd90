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

mod ip;
mod options;
mod segment;

pub use ip::IpInfo;
pub use options::{SackBlocks, TcpOptions, Timestamps};
pub use segment::{Flags, Segment};

/// Length of an Ethernet header, in bytes.
pub const ETHERNET_HEADER: usize = 14;
