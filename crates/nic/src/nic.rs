//! What a stack asks of a NIC.

use crore_base::{Instant, MacAddr, RxChecksum};
use crore_netbuf::Chunk;

/// The most frames that one [`Nic::rx_burst`] delivers, and the batch in which
/// a stack parses and looks up.
pub const BURST: usize = 32;

/// The largest frame that is handled, in bytes: Ethernet's header and an IP
/// packet of the largest MTU that is in use (9000).
pub const MAX_FRAME: usize = 14 + 9000;

/// A whole Ethernet frame without its check sequence, contiguous.
#[derive(Clone, Debug)]
pub struct RxFrame {
    /// The frame's bytes, from the destination address on.
    pub data: Chunk,
    /// What the NIC found out about the checksums inside.
    pub checksum: RxChecksum,
}

/// What a NIC is and can do. Fixed for its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The station's address.
    pub mac: MacAddr,
    /// The largest IP packet, in bytes, that goes into one frame.
    pub mtu: u16,
    /// Fills in the checksum of IPv4 headers that are sent.
    pub tx_ipv4_checksum: bool,
    /// Fills in the checksum of TCP segments that are sent.
    pub tx_tcp_checksum: bool,
    /// Cuts large TCP segments into those of an MTU (TSO), and fills in all their
    /// checksums.
    pub tx_tso: bool,
    /// Checks the checksums of what is received.
    pub rx_checksum: bool,
}

/// Where the headers of a frame to be sent end, and what is left to the NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxMeta {
    /// Bytes of the Ethernet header.
    pub l2_len: u8,
    /// Bytes of the IP header with its options or extensions.
    pub l3_len: u16,
    /// Bytes of the TCP header with its options.
    pub l4_len: u8,
    /// Whether the packet is IPv6.
    pub ipv6: bool,
    /// Whether the NIC is to finish the checksums: the TCP checksum field holds
    /// the pseudo-header's sum, and that of the IPv4 header is 0 when
    /// [`Capabilities::tx_ipv4_checksum`] is set.
    pub offload_checksum: bool,
    /// Payload of each segment that the NIC is to make of this one
    /// ([`Capabilities::tx_tso`]); 0: it is to be sent as it is. The sum of the
    /// pseudo-header is then that without the length.
    pub segment_len: u16,
}

/// One receive queue and one transmit queue of a port.
///
/// Sending takes three steps, so that nothing is promised before a buffer was
/// had: [`reserve`](Nic::reserve) a buffer, write the frame into it,
/// [`commit`](Nic::commit) it; at the end of a burst [`flush`](Nic::flush).
pub trait Nic {
    /// What the NIC is and can do.
    fn capabilities(&self) -> &Capabilities;

    /// Appends at most [`BURST`] received frames to `into`, and says how many.
    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize;

    /// Room for one frame of up to `len` bytes (the slice may be longer), or
    /// `None` when the pool is dry, or the ring and the backlog behind it are
    /// full, or no frame may be that long. Not committing leaves no trace;
    /// reserving again hands out the same buffer.
    fn reserve(&mut self, len: usize) -> Option<&mut [u8]>;

    /// Room for more of the frame that was last reserved, which so far has just as
    /// many bytes as were asked for: at least one and at most `len`. Only for a
    /// segment that the NIC is to cut; `None` when it can't, or no buffer is to be
    /// had. To reserve again gives all of it back.
    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        let _ = len;
        None
    }

    /// Queues the first `len` bytes of what was last reserved; all of them if it was
    /// extended.
    ///
    /// Panics when nothing is reserved or less than `len`: that is the caller's
    /// bug, never the wire's doing.
    fn commit(&mut self, len: usize, meta: TxMeta);

    /// Hands what is queued to the wire. What the ring refuses is kept for the
    /// next call; returns how many frames are kept.
    fn flush(&mut self, now: Instant) -> usize;

    /// True while the pool of packet buffers is so low that received data must
    /// be copied out of them.
    fn rx_pressure(&self) -> bool {
        false
    }

    /// When something becomes receivable, or leaves, by the mere passing of
    /// time (simulation); `None` when nothing does or nobody can know.
    fn next_arrival(&self) -> Option<Instant> {
        None
    }
}

impl<N: Nic + ?Sized> Nic for Box<N> {
    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        (**self).rx_burst(now, into)
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        (**self).reserve(len)
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        (**self).extend(len)
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        (**self).commit(len, meta);
    }

    fn flush(&mut self, now: Instant) -> usize {
        (**self).flush(now)
    }

    fn rx_pressure(&self) -> bool {
        (**self).rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        (**self).next_arrival()
    }
}
