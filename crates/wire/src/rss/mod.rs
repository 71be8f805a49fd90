//! Which queue, and so which shard, a flow falls on.
//!
//! Always true: the answer depends on the flow alone, so that every shard gives
//! the same one; both directions of a flow fall on the same queue where the key
//! is ours.

mod toeplitz;

pub use toeplitz::{RSS_KEY_MIN, Toeplitz};

use crore_base::{FourTuple, RxChecksum};

use crate::{ETHERNET_HEADER, Packet, be16, be32, ethertype, parse, protocol};

/// Entries of the table where no NIC has one: what most NICs have.
const TABLE: usize = 128;

/// Whom a received frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// A flow's, and so this shard's.
    Shard(u16),
    /// News that every shard wants: who has which Ethernet address.
    Everybody,
    /// Nobody's in particular: for the shard that received it.
    Finder,
}

/// From a flow to its queue, as the NIC does it, and from a queue to the shard
/// that polls it.
#[derive(Clone, Debug)]
pub struct Steering {
    toeplitz: Toeplitz,
    /// The NIC's redirection table; its length is a power of two.
    queues: Box<[u16]>,
    shards: u16,
}

impl Steering {
    /// As a NIC with this `key` and redirection `table` does it; none if either
    /// has a length that no NIC has.
    pub fn of_nic(key: &[u8], table: &[u16], shards: u16) -> Option<Self> {
        let toeplitz = Toeplitz::new(key)?;
        (table.len().is_power_of_two() && shards > 0).then(|| Self {
            toeplitz,
            queues: table.into(),
            shards,
        })
    }

    /// By software alone, with the key that treats both directions alike: two
    /// programs with as many queues agree without a word.
    pub fn symmetric(queues: u16, shards: u16) -> Self {
        let key = Toeplitz::symmetric_key(RSS_KEY_MIN);
        let queues = queues.max(1);
        Self {
            toeplitz: Toeplitz::new(&key).expect("a key of the right length"),
            queues: (0..TABLE as u32)
                .map(|entry| (entry % u32::from(queues)) as u16)
                .collect(),
            shards: shards.max(1),
        }
    }

    /// Among how many shards the flows are divided.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Whether both directions of a flow fall on the same queue.
    pub fn is_symmetric(&self) -> bool {
        self.toeplitz.is_symmetric()
    }

    /// The shard that a flow belongs to: the one that polls its queue.
    #[inline]
    pub fn shard_of(&self, flow: &FourTuple) -> u16 {
        self.shard(self.toeplitz.of_received(flow))
    }

    /// Whom a received frame is for. Any bytes may come.
    #[inline]
    pub fn whose(&self, frame: &[u8]) -> Whose {
        match self.hash_tcp(frame) {
            Some(hash) => Whose::Shard(self.shard(hash)),
            None => self.whose_control(frame),
        }
    }

    /// The queue on which the other end, if it steers as this one does, expects a
    /// frame that is sent; none for what is no flow's.
    #[inline]
    pub fn queue_of_sent(&self, frame: &[u8]) -> Option<u16> {
        self.hash_tcp(frame).map(|hash| self.queue(hash))
    }

    #[inline]
    fn queue(&self, hash: u32) -> u16 {
        self.queues[hash as usize & (self.queues.len() - 1)]
    }

    #[inline]
    fn shard(&self, hash: u32) -> u16 {
        self.queue(hash) % self.shards
    }

    /// The hash of a TCP packet without IPv6 extension headers.
    #[inline]
    fn hash_tcp(&self, frame: &[u8]) -> Option<u32> {
        let header: &[u8; ETHERNET_HEADER] = frame.first_chunk()?;
        let packet = &frame[ETHERNET_HEADER..];
        match be16(header, 12) {
            ethertype::IPV4 => {
                let ip: &[u8; 20] = packet.first_chunk()?;
                // A fragment has no ports, or none that count.
                if ip[9] != protocol::TCP || be16(ip, 6) & 0x3fff != 0 {
                    return None;
                }
                let ports: &[u8; 4] = packet.get(usize::from(ip[0] & 0xf) * 4..)?.first_chunk()?;
                let (src, dst) = (be32(ip, 12).to_be_bytes(), be32(ip, 16).to_be_bytes());
                Some(self.toeplitz.of_v4(src, dst, be16(ports, 0), be16(ports, 2)))
            }
            ethertype::IPV6 => {
                let ip: &[u8; 44] = packet.first_chunk()?;
                if ip[6] != protocol::TCP {
                    return None;
                }
                let (mut src, mut dst) = ([0; 16], [0; 16]);
                src.copy_from_slice(&ip[8..24]);
                dst.copy_from_slice(&ip[24..40]);
                Some(self.toeplitz.of_v6(src, dst, be16(ip, 40), be16(ip, 42)))
            }
            _ => None,
        }
    }

    #[cold]
    fn whose_control(&self, frame: &[u8]) -> Whose {
        match parse(frame, RxChecksum::Unknown).map(|frame| frame.packet) {
            Ok(Packet::Arp(_)) => Whose::Everybody,
            Ok(Packet::NeighborSolicitation { .. } | Packet::NeighborAdvertisement { .. }) => {
                Whose::Everybody
            }
            Ok(Packet::IcmpError { error, .. }) => match error.embedded {
                Some(embedded) => Whose::Shard(self.shard_of(&embedded.flow)),
                None => Whose::Finder,
            },
            Ok(Packet::Tcp { ip, segment, .. }) => Whose::Shard(self.shard_of(&FourTuple {
                local_addr: ip.dst,
                local_port: segment.dst_port,
                remote_addr: ip.src,
                remote_port: segment.src_port,
            })),
            // So that those of one datagram meet, whatever the NIC did with them.
            Ok(Packet::Fragment(fragment)) => Whose::Shard(self.shard_of(&FourTuple {
                local_addr: fragment.ip.dst,
                local_port: fragment.id as u16,
                remote_addr: fragment.ip.src,
                remote_port: (fragment.id >> 16) as u16,
            })),
            _ => Whose::Finder,
        }
    }
}

#[cfg(test)]
mod tests;
