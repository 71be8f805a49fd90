//! Raw IP packets: those that a script puts in, and those that are seen.
//!
//! Written and read here, byte by byte, and not with the code under test: a
//! header that both got wrong in the same way would pass unseen.

use std::net::IpAddr;

use crore_wire::checksum;

use super::ast::{AckSpec, EcnSpec, IpSpec, TcpFlags, TcpOptionSpec, TcpSpec};
use super::options;

/// IP protocol numbers (IANA).
pub(super) const ICMPV4: u8 = 1;
/// See [`ICMPV4`].
pub(super) const TCP: u8 = 6;
/// See [`ICMPV4`].
pub(super) const ICMPV6: u8 = 58;

/// The time to live of what is put in, unless a script says otherwise.
const TTL: u8 = 255;

/// From where to where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Path {
    pub(super) from: (IpAddr, u16),
    pub(super) to: (IpAddr, u16),
}

/// A TCP segment with the numbers that really stand on the wire.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) win: u16,
    pub(super) urg: u16,
    pub(super) options: Vec<TcpOptionSpec>,
    pub(super) payload: Vec<u8>,
}

/// A packet that the stack sent.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) ip: IpSpec,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) carried: Carried,
}

/// What a packet that was seen carries.
#[derive(Clone, Debug)]
pub(super) enum Carried {
    Tcp {
        ports: (u16, u16),
        segment: Segment,
    },
    /// An ICMP message: type, code.
    Icmp(u8, u8),
    /// Another protocol.
    Other(u8),
}

impl Segment {
    /// The packet that carries this.
    pub(super) fn packet(&self, path: &Path, ip: &IpSpec) -> Vec<u8> {
        let options = options::encode(&self.options);
        let mut tcp = Vec::with_capacity(20 + options.len() + self.payload.len());
        tcp.extend(path.from.1.to_be_bytes());
        tcp.extend(path.to.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let offset = ((20 + options.len()) / 4) as u16;
        tcp.extend((offset << 12 | self.flags.0).to_be_bytes());
        tcp.extend(self.win.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urg.to_be_bytes());
        tcp.extend(options);
        tcp.extend(&self.payload);
        let (from, to) = (path.from.0, path.to.0);
        let sum = checksum::pseudo_header(from, to, TCP, tcp.len() as u32) + checksum::sum(&tcp);
        tcp[16..18].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        ip_packet(from, to, TCP, ip, &tcp)
    }

    /// As a script would write it, its numbers as they stand here.
    pub(super) fn spec(&self) -> TcpSpec {
        TcpSpec {
            flags: self.flags,
            seq: Some(self.seq),
            len: self.payload.len() as u32,
            ack: if self.flags.has(TcpFlags::ACK) || self.ack != 0 {
                AckSpec::Exactly(self.ack)
            } else {
                AckSpec::Absent
            },
            win: Some(self.win),
            urg: self.flags.has(TcpFlags::URG).then_some(self.urg),
            options: Some(self.options.clone()),
        }
    }
}

/// An ICMP message about `original`, a packet of the stack.
pub(super) fn icmp_packet(from: IpAddr, to: IpAddr, kind: (u8, u8), rest: u32, original: &[u8]) -> Vec<u8> {
    let mut message = vec![kind.0, kind.1, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(original);
    let (protocol, pseudo) = match from {
        IpAddr::V4(_) => (ICMPV4, 0),
        IpAddr::V6(_) => (
            ICMPV6,
            checksum::pseudo_header(from, to, ICMPV6, message.len() as u32),
        ),
    };
    let sum = checksum::finish(pseudo + checksum::sum(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(from, to, protocol, &IpSpec::default(), &message)
}

/// The two ends are of one family.
pub(super) fn ip_packet(from: IpAddr, to: IpAddr, protocol: u8, ip: &IpSpec, payload: &[u8]) -> Vec<u8> {
    let ecn = match ip.ecn {
        Some(EcnSpec::Exactly(bits)) => bits,
        _ => 0,
    };
    let tos = ip.tos.unwrap_or(ecn);
    let ttl = ip.ttl.unwrap_or(TTL);
    let mut packet = Vec::with_capacity(40 + payload.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, tos]);
            packet.extend(((20 + payload.len()) as u16).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, ttl, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum::finish(checksum::sum(&packet));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            let label = ip.flow_label.unwrap_or_default() & 0xf_ffff;
            packet.extend((6 << 28 | u32::from(tos) << 20 | label).to_be_bytes());
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, ttl]);
            packet.extend(octets(from));
            packet.extend(octets(to));
        }
    }
    packet.extend(payload);
    packet
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Reads a packet of the stack; what is wrong with it, if it should never have left.
pub(super) fn read(packet: &[u8]) -> Result<Seen, &'static str> {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => read_ipv4(packet),
        Some(6) => read_ipv6(packet),
        _ => Err("it is neither IPv4 nor IPv6"),
    }
}

fn read_ipv4(packet: &[u8]) -> Result<Seen, &'static str> {
    let header = packet
        .get(..usize::from(packet[0] & 15) * 4)
        .filter(|h| h.len() >= 20);
    let header = header.ok_or("its IP header is cut short")?;
    if !checksum::verifies(checksum::sum(header)) {
        return Err("its IP checksum is wrong");
    }
    let whole = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if whole != packet.len() {
        return Err("its IP length is wrong");
    }
    let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let ip = IpSpec {
        ecn: Some(EcnSpec::Exactly(header[1] & 3)),
        tos: Some(header[1]),
        ttl: Some(header[8]),
        flow_label: None,
    };
    carried(ip, address(12), address(16), header[9], &packet[header.len()..])
}

fn read_ipv6(packet: &[u8]) -> Result<Seen, &'static str> {
    let (header, payload) = packet
        .split_first_chunk::<40>()
        .ok_or("its IP header is cut short")?;
    let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    if usize::from(u16::from_be_bytes([header[4], header[5]])) != payload.len() {
        return Err("its IP length is wrong");
    }
    let mut addresses = [[0; 16]; 2];
    addresses[0].copy_from_slice(&header[8..24]);
    addresses[1].copy_from_slice(&header[24..40]);
    let tos = (first >> 20) as u8;
    let ip = IpSpec {
        ecn: Some(EcnSpec::Exactly(tos & 3)),
        tos: Some(tos),
        ttl: Some(header[7]),
        flow_label: Some(first & 0xf_ffff),
    };
    carried(ip, addresses[0].into(), addresses[1].into(), header[6], payload)
}

fn carried(ip: IpSpec, from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> Result<Seen, &'static str> {
    let carried = match protocol {
        TCP => read_tcp(from, to, bytes)?,
        ICMPV4 | ICMPV6 => match *bytes {
            [kind, code, ..] => Carried::Icmp(kind, code),
            _ => return Err("its ICMP header is cut short"),
        },
        other => Carried::Other(other),
    };
    Ok(Seen {
        ip,
        from,
        to,
        carried,
    })
}

fn read_tcp(from: IpAddr, to: IpAddr, bytes: &[u8]) -> Result<Carried, &'static str> {
    let header = bytes.first_chunk::<20>().ok_or("its TCP header is cut short")?;
    let sum = checksum::pseudo_header(from, to, TCP, bytes.len() as u32) + checksum::sum(bytes);
    if !checksum::verifies(sum) {
        return Err("its TCP checksum is wrong");
    }
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
    let options_end = usize::from(header[12] >> 4) * 4;
    let options = bytes
        .get(20..options_end)
        .ok_or("its TCP options are cut short")?;
    if header[12] & 0x0e != 0 {
        return Err("it has reserved bits set in its TCP header");
    }
    Ok(Carried::Tcp {
        ports: (word(0), word(2)),
        segment: Segment {
            flags: TcpFlags(word(12) & 0x1ff),
            seq: long(4),
            ack: long(8),
            win: word(14),
            urg: word(18),
            options: options::decode(options),
            payload: bytes[options_end..].to_vec(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        Segment {
            flags: TcpFlags::SYN.with(TcpFlags::ACK).with(TcpFlags::AE),
            seq: 5,
            ack: 0xffff_fff0,
            win: 1000,
            urg: 3,
            options: vec![
                TcpOptionSpec::Mss(Some(1460)),
                TcpOptionSpec::SackPermitted,
                TcpOptionSpec::Timestamps(Some(1), Some(2)),
                TcpOptionSpec::Nop,
                TcpOptionSpec::WindowScale(Some(7)),
                TcpOptionSpec::AccEcn {
                    ect1_first: true,
                    counters: vec![1, 2],
                },
            ],
            payload: b"hello".to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        for (from, to) in [("192.0.2.1", "192.168.0.1"), ("2001:db8::1", "fd3d::1")] {
            let path = Path {
                from: (from.parse().expect("an address"), 8080),
                to: (to.parse().expect("an address"), 5000),
            };
            let ip = IpSpec {
                ecn: Some(EcnSpec::Exactly(3)),
                ttl: Some(9),
                ..IpSpec::default()
            };
            let packet = segment().packet(&path, &ip);
            assert!(crore_wire_reads(&packet), "the stack's own parser takes it too");
            let seen = read(&packet).expect("it is well-formed");
            assert_eq!((seen.from, seen.to), (path.from.0, path.to.0));
            assert_eq!((seen.ip.tos, seen.ip.ttl), (Some(3), Some(9)));
            let Carried::Tcp { ports, segment: read } = seen.carried else {
                panic!("it is TCP");
            };
            assert_eq!(ports, (8080, 5000));
            let (expected, read) = (segment().spec(), read.spec());
            let (Some(expected_options), Some(read_options)) = (&expected.options, &read.options) else {
                panic!("both have options");
            };
            assert!(
                options::match_options(expected_options, read_options),
                "{read_options:?}"
            );
            assert_eq!(
                TcpSpec {
                    options: None,
                    ..expected
                },
                TcpSpec {
                    options: None,
                    ..read
                }
            );
        }
    }

    fn crore_wire_reads(packet: &[u8]) -> bool {
        let mut frame = vec![2; 12];
        frame.extend(if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] });
        frame.extend(packet);
        crore_wire::parse(&frame, crore_base::RxChecksum::Unknown).is_ok()
    }

    #[test]
    fn a_spoilt_packet_is_named() {
        let path = Path {
            from: ([192, 0, 2, 1].into(), 1),
            to: ([192, 0, 2, 2].into(), 2),
        };
        let good = segment().packet(&path, &IpSpec::default());
        let spoilt = |at: usize| {
            let mut packet = good.clone();
            packet[at] ^= 1;
            read(&packet).expect_err("one bit is wrong")
        };
        assert_eq!(spoilt(8), "its IP checksum is wrong");
        assert_eq!(spoilt(30), "its TCP checksum is wrong");
        assert!(read(&good[..good.len() - 1]).is_err(), "cut short");
        assert!(read(&[]).is_err(), "nothing");
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "the first {len} bytes are no packet");
        }
    }

    #[test]
    fn options_match_in_order_and_padding_is_implied() {
        use TcpOptionSpec::{Eol, Mss, Nop, SackPermitted, Timestamps};
        let seen = [Mss(Some(1460)), SackPermitted, Eol, Eol];
        assert!(
            options::match_options(&[Mss(None), SackPermitted], &seen),
            "any MSS"
        );
        assert!(options::match_options(&seen, &seen), "padding written out");
        assert!(
            !options::match_options(&[SackPermitted, Mss(None)], &seen),
            "another order"
        );
        assert!(!options::match_options(&[Mss(Some(1460))], &seen), "one too many");
        assert!(!options::match_options(&[], &seen), "none were expected");
        assert!(!options::match_options(&seen, &[]), "some were expected");
        let stamps = [Nop, Nop, Timestamps(Some(3), Some(4))];
        assert!(options::match_options(
            &[Nop, Nop, Timestamps(None, Some(4))],
            &stamps
        ));
        assert!(!options::match_options(
            &[Nop, Nop, Timestamps(None, Some(5))],
            &stamps
        ));
        for len in 0..12 {
            let bytes = options::encode(&stamps);
            let _ = options::decode(&bytes[..len]);
        }
    }
}
