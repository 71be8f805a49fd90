//! The Toeplitz hash, as NICs compute it for receive-side scaling.
//!
//! Read first: Microsoft's "RSS hashing functions", whose vectors are the tests.
//! Each set bit of the input adds (by exclusive or) the 32 bits of the key that
//! begin at its place. So the hash is linear, and a table for each byte replaces
//! eight steps.

use core::net::IpAddr;

use crore_base::FourTuple;

/// Bytes of the longest input: both IPv6 addresses and both ports.
const INPUT: usize = 36;
/// The shortest key: the last bit of the input needs 32 bits of its own.
pub const RSS_KEY_MIN: usize = INPUT + 4;
/// Two bytes that, repeated, make a key under which both directions of a flow
/// hash alike (Woo and Park, "Scalable TCP session monitoring with symmetric RSS").
const SYMMETRIC: [u8; 2] = [0x6d, 0x5a];

type ByteTable = [u32; 256];

/// A key, prepared.
#[derive(Clone, Debug)]
pub struct Toeplitz(Tables);

#[derive(Clone, Debug)]
enum Tables {
    /// The key repeats every two bytes: all 16-bit words of the input weigh alike,
    /// so that they are folded into one first.
    Folded(Box<[ByteTable; 2]>),
    /// A table for each byte of the input.
    Full(Box<[ByteTable]>),
}

impl Toeplitz {
    /// The hash under `key`; none if that is shorter than [`RSS_KEY_MIN`].
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < RSS_KEY_MIN {
            return None;
        }
        let periodic = key[..RSS_KEY_MIN].windows(3).all(|bytes| bytes[0] == bytes[2]);
        let tables = if periodic {
            Tables::Folded(Box::new([byte_table(key, 0), byte_table(key, 1)]))
        } else {
            Tables::Full((0..INPUT).map(|at| byte_table(key, at)).collect())
        };
        Some(Self(tables))
    }

    /// A key of `len` bytes under which both directions of a flow hash alike.
    pub fn symmetric_key(len: usize) -> Vec<u8> {
        SYMMETRIC.iter().copied().cycle().take(len).collect()
    }

    /// Whether both directions of a flow hash alike.
    pub fn is_symmetric(&self) -> bool {
        matches!(self.0, Tables::Folded(_))
    }

    /// The hash of what is received on the flow: from the peer to this host.
    #[inline]
    pub fn of_received(&self, flow: &FourTuple) -> u32 {
        match (flow.remote_addr, flow.local_addr) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.of_v4(src.octets(), dst.octets(), flow.remote_port, flow.local_port)
            }
            (src, dst) => self.of_v6(wide(src), wide(dst), flow.remote_port, flow.local_port),
        }
    }

    /// The hash of a TCP packet over IPv4.
    #[inline]
    pub fn of_v4(&self, src: [u8; 4], dst: [u8; 4], src_port: u16, dst_port: u16) -> u32 {
        match &self.0 {
            Tables::Folded(tables) => {
                let mixed = u32::from_be_bytes(src) ^ u32::from_be_bytes(dst);
                folded(tables, (mixed >> 16) as u16 ^ mixed as u16 ^ src_port ^ dst_port)
            }
            Tables::Full(tables) => {
                let mut input = [0; 12];
                input[..4].copy_from_slice(&src);
                input[4..8].copy_from_slice(&dst);
                input[8..10].copy_from_slice(&src_port.to_be_bytes());
                input[10..].copy_from_slice(&dst_port.to_be_bytes());
                full(tables, &input)
            }
        }
    }

    /// The hash of a TCP packet over IPv6.
    #[inline]
    pub fn of_v6(&self, src: [u8; 16], dst: [u8; 16], src_port: u16, dst_port: u16) -> u32 {
        match &self.0 {
            Tables::Folded(tables) => {
                let mixed = u128::from_be_bytes(src) ^ u128::from_be_bytes(dst);
                let mixed = (mixed >> 64) as u64 ^ mixed as u64;
                let mixed = (mixed >> 32) as u32 ^ mixed as u32;
                folded(tables, (mixed >> 16) as u16 ^ mixed as u16 ^ src_port ^ dst_port)
            }
            Tables::Full(tables) => {
                let mut input = [0; INPUT];
                input[..16].copy_from_slice(&src);
                input[16..32].copy_from_slice(&dst);
                input[32..34].copy_from_slice(&src_port.to_be_bytes());
                input[34..].copy_from_slice(&dst_port.to_be_bytes());
                full(tables, &input)
            }
        }
    }
}

#[inline]
fn folded(tables: &[ByteTable; 2], word: u16) -> u32 {
    let [high, low] = word.to_be_bytes();
    tables[0][usize::from(high)] ^ tables[1][usize::from(low)]
}

#[inline]
fn full(tables: &[ByteTable], input: &[u8]) -> u32 {
    let terms = tables
        .iter()
        .zip(input)
        .map(|(table, &byte)| table[usize::from(byte)]);
    terms.fold(0, |hash, term| hash ^ term)
}

/// What each value of the input's byte at `at` adds. `key` reaches 5 bytes beyond.
fn byte_table(key: &[u8], at: usize) -> ByteTable {
    let bits = key[at..at + 5]
        .iter()
        .fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
    let mut table = [0; 256];
    for (value, entry) in table.iter_mut().enumerate() {
        for bit in (0..8).filter(|bit| value >> (7 - bit) & 1 != 0) {
            *entry ^= (bits >> (8 - bit)) as u32;
        }
    }
    table
}

fn wide(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use proptest::prelude::*;

    const MICROSOFT: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Destination, source, hash: Microsoft's "Verifying the RSS hash calculation".
    const VECTORS: &[(&str, &str, u32)] = &[
        ("161.142.100.80:1766", "66.9.149.187:2794", 0x51cc_c178),
        ("65.69.140.83:4739", "199.92.111.2:14230", 0xc626_b0ea),
        ("12.22.207.184:38024", "24.19.198.95:12898", 0x5c2b_394a),
        ("209.142.163.6:2217", "38.27.205.30:48228", 0xafc7_327f),
        ("202.188.127.2:1303", "153.39.163.191:44251", 0x10e8_28a2),
        (
            "[3ffe:2501:200:3::1]:1766",
            "[3ffe:2501:200:1fff::7]:2794",
            0x4020_7d3d,
        ),
        (
            "[ff02::1]:4739",
            "[3ffe:501:8::260:97ff:fe40:efab]:14230",
            0xdde5_1bbf,
        ),
        (
            "[fe80::200:f8ff:fe21:67cf]:38024",
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            0x02d1_feef,
        ),
    ];

    fn flow(local: SocketAddr, remote: SocketAddr) -> FourTuple {
        FourTuple {
            local_addr: local.ip(),
            local_port: local.port(),
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        }
    }

    /// The definition, bit by bit.
    fn by_the_book(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
        let mut hash = 0;
        for at in (0..input.len() * 8).filter(|&at| bit(input, at) != 0) {
            hash ^= (0..32).fold(0, |word, i| word << 1 | u32::from(bit(key, at + i)));
        }
        hash
    }

    #[test]
    fn the_hash_is_that_of_microsofts_vectors() {
        let toeplitz = Toeplitz::new(&MICROSOFT).expect("40 bytes");
        for &(dst, src, hash) in VECTORS {
            let flow = flow(dst.parse().unwrap(), src.parse().unwrap());
            assert_eq!(toeplitz.of_received(&flow), hash, "{src} to {dst}");
        }
        assert!(!toeplitz.is_symmetric(), "directions differ under this key");
        assert!(Toeplitz::new(&MICROSOFT[..39]).is_none(), "too short for IPv6");
    }

    proptest! {
        /// Protects the folding, and that both directions come to the same queue.
        #[test]
        fn the_symmetric_key_agrees_with_the_definition_both_ways(
            src in any::<[u8; 16]>(), dst in any::<[u8; 16]>(), ports in any::<[u16; 2]>(), v4 in any::<bool>(),
        ) {
            let key = Toeplitz::symmetric_key(52);
            let toeplitz = Toeplitz::new(&key).unwrap();
            let len = if v4 { 4 } else { 16 };
            let mut input = [&src[..len], &dst[..len]].concat();
            input.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
            let head = |bytes: [u8; 16]| [bytes[0], bytes[1], bytes[2], bytes[3]];
            let hash = |a, b, p, q| if v4 {
                toeplitz.of_v4(head(a), head(b), p, q)
            } else {
                toeplitz.of_v6(a, b, p, q)
            };
            prop_assert_eq!(hash(src, dst, ports[0], ports[1]), by_the_book(&key, &input), "forward");
            prop_assert_eq!(hash(dst, src, ports[1], ports[0]), by_the_book(&key, &input), "backward");
        }
    }
}
