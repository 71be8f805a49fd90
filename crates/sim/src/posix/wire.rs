//! The link that the host's programs never see: Ethernet around each packet, and
//! somebody who answers for every other address on it.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crore_base::{Instant, MacAddr, RxChecksum};
use crore_netbuf::Chunk;
use crore_nic::{Capabilities, MAX_FRAME, Nic, RxFrame, TxMeta};
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, ETHERNET_HEADER, Link, NEIGHBOR_FRAME_LEN, NeighborAdvertisement,
    NeighborSolicitation, Packet, emit_arp, emit_neighbor_advertisement, emit_neighbor_solicitation,
};

/// This host's station.
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// The station behind which everybody else is.
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Packets that may wait to be fetched; beyond that the ring is full, and what
/// is to be sent stays owed.
const WAITING: usize = 65_536;

/// Next hops that are remembered as introduced.
const INTRODUCED: usize = 1024;

/// A NIC that has IP packets at its other end.
pub(super) struct IpNic {
    capabilities: Capabilities,
    buffer: Vec<u8>,
    /// Packets of the host, in the order in which they left.
    sent: VecDeque<(Vec<u8>, Instant)>,
    /// Frames that came.
    came: VecDeque<RxFrame>,
    /// This host's address, and who is its next hop if not everybody himself.
    local: IpAddr,
    gateway: Option<IpAddr>,
    /// Next hops that it was told of.
    introduced: BTreeSet<IpAddr>,
    /// Committed since the last flush.
    queued: Vec<Vec<u8>>,
}

impl IpNic {
    pub(super) fn new(local: IpAddr, gateway: Option<IpAddr>, mtu: u16) -> Self {
        Self {
            local,
            gateway,
            introduced: BTreeSet::new(),
            capabilities: Capabilities {
                mac: OURS,
                mtu,
                tx_ipv4_checksum: false,
                tx_tcp_checksum: false,
                tx_tso: false,
                rx_checksum: false,
            },
            buffer: Vec::new(),
            sent: VecDeque::new(),
            came: VecDeque::new(),
            queued: Vec::new(),
        }
    }

    /// The IP packet that left longest ago.
    pub(super) fn fetch(&mut self) -> Option<(Vec<u8>, Instant)> {
        self.sent.pop_front()
    }

    /// Whether a packet waits to be fetched.
    pub(super) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether a frame waits to be received.
    pub(super) fn has_come(&self) -> bool {
        !self.came.is_empty()
    }

    /// An IP packet comes in.
    pub(super) fn deliver(&mut self, packet: &[u8]) {
        let ethertype: [u8; 2] = match packet.first().map(|byte| byte >> 4) {
            Some(6) => [0x86, 0xdd],
            _ => [0x08, 0x00],
        };
        if let Some(source) = source(packet) {
            self.introduce(source);
        }
        let mut frame = Vec::with_capacity(ETHERNET_HEADER + packet.len());
        frame.extend_from_slice(&OURS.0);
        frame.extend_from_slice(&THEIRS.0);
        frame.extend_from_slice(&ethertype);
        frame.extend_from_slice(packet);
        self.take_in(&frame);
    }

    /// The next hop towards `source` asks after this host, who so learns where
    /// it is: nothing that is to be sent later has to wait, or is not worth it.
    fn introduce(&mut self, source: IpAddr) {
        let hop = self.gateway.unwrap_or(source);
        if self.introduced.len() >= INTRODUCED {
            self.introduced.clear();
        }
        if hop == self.local || !self.introduced.insert(hop) {
            return;
        }
        match (hop, self.local) {
            (IpAddr::V4(hop), IpAddr::V4(local)) => {
                let question = Arp {
                    operation: ArpOperation::Request,
                    sender_mac: THEIRS,
                    sender_ip: hop,
                    target_mac: MacAddr::default(),
                    target_ip: local,
                };
                let mut frame = [0; ARP_FRAME_LEN];
                if emit_arp(&mut frame, &BACK, &question).is_some() {
                    self.take_in(&frame);
                }
            }
            (IpAddr::V6(hop), IpAddr::V6(local)) => {
                let question = NeighborSolicitation {
                    target: local,
                    source_mac: Some(THEIRS),
                };
                let mut frame = [0; NEIGHBOR_FRAME_LEN];
                if emit_neighbor_solicitation(&mut frame, &BACK, hop, local, &question).is_some() {
                    self.take_in(&frame);
                }
            }
            _ => {}
        }
    }

    fn take_in(&mut self, frame: &[u8]) {
        self.came.push_back(RxFrame {
            data: Chunk::copy_from(frame),
            checksum: RxChecksum::Unknown,
        });
    }

    /// A frame leaves: its packet, or a question that is answered here.
    fn leave(&mut self, now: Instant, frame: Vec<u8>) {
        let Ok(parsed) = crore_wire::parse(&frame, RxChecksum::Unknown) else {
            return self.send(now, &frame);
        };
        match parsed.packet {
            Packet::Arp(arp) => self.answer_arp(&arp),
            Packet::NeighborSolicitation { ip, solicitation } => {
                self.answer_solicitation(ip.src, solicitation.target);
            }
            Packet::NeighborAdvertisement { .. } => {}
            _ => self.send(now, &frame),
        }
    }

    fn send(&mut self, now: Instant, frame: &[u8]) {
        let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
        self.sent.push_back((packet.to_vec(), now));
    }

    fn answer_arp(&mut self, asked: &Arp) {
        // A host that asks for its own address is announcing itself.
        if asked.operation != ArpOperation::Request || asked.target_ip == asked.sender_ip {
            return;
        }
        let reply = Arp {
            operation: ArpOperation::Reply,
            sender_mac: THEIRS,
            sender_ip: asked.target_ip,
            target_mac: OURS,
            target_ip: asked.sender_ip,
        };
        let mut frame = [0; ARP_FRAME_LEN];
        if emit_arp(&mut frame, &BACK, &reply).is_some() {
            self.take_in(&frame);
        }
    }

    fn answer_solicitation(&mut self, asker: IpAddr, target: Ipv6Addr) {
        let IpAddr::V6(asker) = asker else { return };
        // Without an address it asks whether anybody else has its own.
        if asker.is_unspecified() {
            return;
        }
        let advertisement = NeighborAdvertisement {
            target,
            target_mac: Some(THEIRS),
            router: true,
            solicited: true,
            overriding: true,
        };
        let mut frame = [0; NEIGHBOR_FRAME_LEN];
        if emit_neighbor_advertisement(&mut frame, &BACK, target, asker, &advertisement).is_some() {
            self.take_in(&frame);
        }
    }
}

/// Who an IP packet says that it comes from.
fn source(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => {
            let bytes: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        6 => {
            let bytes: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// From them to us.
const BACK: Link = Link {
    src: THEIRS,
    dst: OURS,
};

impl Nic for IpNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, into: &mut Vec<RxFrame>) -> usize {
        // One at a time: each is answered before the next, as on a quiet wire.
        let count = self.came.len().min(1);
        into.extend(self.came.drain(..count));
        count
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > MAX_FRAME || self.sent.len() + self.queued.len() >= WAITING {
            return None;
        }
        self.buffer.clear();
        self.buffer.resize(len, 0);
        Some(&mut self.buffer)
    }

    fn commit(&mut self, len: usize, _meta: TxMeta) {
        self.queued.push(self.buffer[..len].to_vec());
    }

    fn flush(&mut self, now: Instant) -> usize {
        for frame in core::mem::take(&mut self.queued) {
            self.leave(now, frame);
        }
        0
    }
}
