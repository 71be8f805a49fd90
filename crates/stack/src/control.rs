//! The built-in control plane: ARP, neighbour discovery, echo, and the resets
//! for segments that hit nothing. It serves where there is no kernel to ask.
//!
//! Read first: RFC 826, RFC 5227 (conflicts, announcements), RFC 4861 sections
//! 7.2 and 7.3, RFC 1122 section 3.2.2.6 (echo).
//!
//! Always true: at most [`QUEUE_MAX`] answers wait; each is small and of its
//! own; a flood of questions fills this queue and nothing else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::VecDeque;

use crore_base::{DropReason, FourTuple, Instant, MacAddr};
use crore_netbuf::Chunk;
use crore_nic::{Nic, TxMeta};
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, Complaint, ETHERNET_HEADER, IpEmit, IpInfo, Link, NEIGHBOR_FRAME_LEN,
    NeighborAdvertisement, NeighborSolicitation, Packet, Piece, Segment, TxChecksum, echo_reply_len,
    emit_arp, emit_echo_reply, emit_icmp_error, emit_icmp_fragment, emit_neighbor_advertisement,
    emit_neighbor_solicitation, emit_tcp, icmp_error_len, icmp_fragment_len, multicast_mac, solicited_node,
    tcp_headers_len,
};

use crate::Stack;
use crate::neighbor::Solicitation;
use crate::route::Routes;

/// Answers that wait for a transmit buffer.
const QUEUE_MAX: usize = 256;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A frame that is owed and keeps no state.
enum Owed {
    Segment {
        link: Link,
        ip: IpEmit,
        segment: Segment,
    },
    Arp {
        link: Link,
        arp: Arp,
    },
    Solicit {
        link: Link,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        solicitation: NeighborSolicitation,
    },
    Advertise {
        link: Link,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        advertisement: NeighborAdvertisement,
    },
    Echo {
        link: Link,
        ip: IpEmit,
        message: Chunk,
    },
    EchoPiece {
        link: Link,
        ip: IpEmit,
        piece: Piece,
        data: Chunk,
    },
    Complaint {
        link: Link,
        ip: IpEmit,
        complaint: Complaint,
        quote: Chunk,
    },
}

impl Owed {
    fn frame_len(&self) -> usize {
        match self {
            Self::Segment { ip, segment, .. } => tcp_headers_len(ip, segment),
            Self::Arp { .. } => ARP_FRAME_LEN,
            Self::Solicit { .. } | Self::Advertise { .. } => NEIGHBOR_FRAME_LEN,
            Self::Echo { ip, message, .. } => echo_reply_len(ip, message.len()),
            Self::EchoPiece { ip, data, .. } => icmp_fragment_len(ip, data.len()),
            Self::Complaint { ip, quote, .. } => icmp_error_len(ip, quote.len()),
        }
    }

    fn emit(&self, buf: &mut [u8]) -> Option<usize> {
        match self {
            Self::Segment { link, ip, segment } => {
                Some(emit_tcp(buf, link, ip, segment, 0, TxChecksum::Software)).filter(|&len| len > 0)
            }
            Self::Arp { link, arp } => emit_arp(buf, link, arp),
            Self::Solicit {
                link,
                src,
                dst,
                solicitation,
            } => emit_neighbor_solicitation(buf, link, *src, *dst, solicitation),
            Self::Advertise {
                link,
                src,
                dst,
                advertisement,
            } => emit_neighbor_advertisement(buf, link, *src, *dst, advertisement),
            Self::Echo { link, ip, message } => emit_echo_reply(buf, link, ip, message),
            Self::EchoPiece {
                link,
                ip,
                piece,
                data,
            } => emit_icmp_fragment(buf, link, ip, *piece, data),
            Self::Complaint {
                link,
                ip,
                complaint,
                quote,
            } => emit_icmp_error(buf, link, ip, *complaint, quote),
        }
    }
}

/// What the control plane has to send.
pub(crate) struct ControlQueue {
    owed: VecDeque<Owed>,
    overflowed: u64,
}

impl ControlQueue {
    pub(crate) fn new() -> Self {
        Self {
            owed: VecDeque::with_capacity(QUEUE_MAX),
            overflowed: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    //= rfc5227#section-2.3 (MUST)
    // An address that is taken into use is announced, so that stale entries of
    // its former owner (or of a former MAC address) are replaced; for IPv6 the
    // same by an unsolicited advertisement (RFC 4861 section 7.2.6).
    pub(crate) fn announce(&mut self, routes: &Routes, mac: MacAddr) {
        for addr in routes.addresses().take(QUEUE_MAX / 2) {
            match addr {
                IpAddr::V4(ip) => self.push(Owed::Arp {
                    link: Link {
                        src: mac,
                        dst: MacAddr::BROADCAST,
                    },
                    arp: Arp {
                        operation: ArpOperation::Request,
                        sender_mac: mac,
                        sender_ip: ip,
                        target_mac: MacAddr::default(),
                        target_ip: ip,
                    },
                }),
                IpAddr::V6(ip) => self.advertise(mac, multicast_mac(ALL_NODES), ip, ALL_NODES, false),
            }
        }
    }

    /// Owes a segment of no connection: a reset.
    pub(crate) fn segment(&mut self, link: &Link, tuple: &FourTuple, segment: &Segment, hop_limit: u8) {
        let ip = IpEmit {
            src: tuple.local_addr,
            dst: tuple.remote_addr,
            hop_limit,
            ecn: 0,
            ident: 0,
        };
        self.push(Owed::Segment {
            link: *link,
            ip,
            segment: *segment,
        });
    }

    fn advertise(&mut self, mac: MacAddr, to: MacAddr, target: Ipv6Addr, dst: Ipv6Addr, solicited: bool) {
        self.push(Owed::Advertise {
            link: Link { src: mac, dst: to },
            src: target,
            dst,
            advertisement: NeighborAdvertisement {
                target,
                target_mac: Some(mac),
                router: false,
                solicited,
                overriding: true,
            },
        });
    }

    /// How many more can be owed.
    pub(crate) fn room(&self) -> usize {
        QUEUE_MAX - self.owed.len()
    }

    pub(crate) fn echo(&mut self, link: Link, ip: IpEmit, message: Chunk) {
        self.push(Owed::Echo { link, ip, message });
    }

    pub(crate) fn echo_piece(&mut self, link: Link, ip: IpEmit, piece: Piece, data: Chunk) {
        self.push(Owed::EchoPiece {
            link,
            ip,
            piece,
            data,
        });
    }

    pub(crate) fn complain(&mut self, link: Link, ip: IpEmit, complaint: Complaint, quote: Chunk) {
        self.push(Owed::Complaint {
            link,
            ip,
            complaint,
            quote,
        });
    }

    fn push(&mut self, owed: Owed) {
        if self.owed.len() < QUEUE_MAX {
            self.owed.push_back(owed);
        } else {
            self.overflowed += 1;
        }
    }
}

impl Stack {
    /// Everything that is not TCP.
    pub(crate) fn on_control(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        packet: Packet,
        frame: &Chunk,
    ) -> Result<(), DropReason> {
        self.counters.control_in += 1;
        match packet {
            Packet::Arp(arp) => self.on_arp(now, &arp),
            Packet::NeighborSolicitation { ip, solicitation } => {
                self.on_solicitation(now, src_mac, &ip, &solicitation)
            }
            Packet::NeighborAdvertisement { ip, advertisement } => {
                self.on_advertisement(now, src_mac, &ip, &advertisement)
            }
            Packet::EchoRequest { ip, message } => self.on_echo(now, src_mac, &ip, frame.slice(message)),
            Packet::IcmpError { ip, error } => {
                self.check_addressed(&ip)?;
                self.on_icmp_error(now, &error)
            }
            Packet::OtherIcmp { .. } => Err(DropReason::UnhandledIcmp),
            Packet::Problem { ip, problem } => self.on_problem(now, src_mac, &ip, problem, frame),
            Packet::Unhandled {
                ip,
                protocol,
                named_at,
            } => self.on_unhandled(now, src_mac, &ip, (protocol, named_at), frame),
            Packet::Tcp { .. } => Err(DropReason::MalformedTcp),
            Packet::Fragment(_) => Err(DropReason::MalformedFragment),
        }
    }

    pub(crate) fn check_addressed(&self, ip: &IpInfo) -> Result<(), DropReason> {
        if !self.routes.is_ours(ip.dst) {
            return Err(DropReason::NotOurAddress);
        }
        self.check_source(ip)
    }

    // RFC 826: a sender that we have an entry for is updated; one that asks for
    // us gets an entry, since it is about to talk to us.
    fn on_arp(&mut self, now: Instant, arp: &Arp) -> Result<(), DropReason> {
        let for_us = self.routes.is_ours(IpAddr::V4(arp.target_ip));
        let sender = IpAddr::V4(arp.sender_ip);
        let probe = arp.sender_ip.is_unspecified();
        if !probe {
            if self.routes.is_ours(sender) {
                return Err(DropReason::BadSourceAddress);
            }
            if !self.routes.is_on_link(sender) {
                return Err(DropReason::OffLinkNeighbor);
            }
            let Self {
                neighbors, wakeups, ..
            } = self;
            neighbors.learn(now, sender, arp.sender_mac, for_us, wakeups);
        }
        if !for_us {
            // An announcement asks for nothing, and has said what it had to say.
            let announcement = arp.sender_ip == arp.target_ip;
            return if announcement {
                Ok(())
            } else {
                Err(DropReason::NotOurAddress)
            };
        }
        if arp.operation == ArpOperation::Request && !self.overhearing {
            self.control.push(Owed::Arp {
                link: Link {
                    src: self.mac,
                    dst: arp.sender_mac,
                },
                arp: Arp {
                    operation: ArpOperation::Reply,
                    sender_mac: self.mac,
                    sender_ip: arp.target_ip,
                    target_mac: arp.sender_mac,
                    target_ip: arp.sender_ip,
                },
            });
        }
        Ok(())
    }

    //= rfc4861#section-7.2.4 (MUST)
    // A solicitation is answered to its source, or to all nodes when it comes
    // from the unspecified address (somebody checks for a duplicate).
    fn on_solicitation(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        ip: &IpInfo,
        solicitation: &NeighborSolicitation,
    ) -> Result<(), DropReason> {
        let target = solicitation.target;
        let to_group = matches!(ip.dst, IpAddr::V6(dst) if self.routes.is_solicited_node(dst));
        if !self.routes.is_ours(IpAddr::V6(target)) || !(to_group || self.routes.is_ours(ip.dst)) {
            return Err(DropReason::NotOurAddress);
        }
        let IpAddr::V6(asker) = ip.src else {
            return Err(DropReason::MalformedIcmp);
        };
        if asker.is_unspecified() {
            if self.overhearing {
                return Ok(());
            }
            self.control
                .advertise(self.mac, multicast_mac(ALL_NODES), target, ALL_NODES, false);
            return Ok(());
        }
        self.check_neighbor(ip.src)?;
        let mac = solicitation.source_mac.unwrap_or(src_mac);
        let Self {
            neighbors, wakeups, ..
        } = self;
        neighbors.learn(now, ip.src, mac, true, wakeups);
        if self.overhearing {
            return Ok(());
        }
        self.control.advertise(self.mac, mac, target, asker, true);
        Ok(())
    }

    fn on_advertisement(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        ip: &IpInfo,
        advertisement: &NeighborAdvertisement,
    ) -> Result<(), DropReason> {
        let target = IpAddr::V6(advertisement.target);
        self.check_neighbor(target)?;
        if !self.routes.is_ours(ip.dst) && ip.dst != IpAddr::V6(ALL_NODES) {
            return Err(DropReason::NotOurAddress);
        }
        let mac = advertisement.target_mac.unwrap_or(src_mac);
        let Self {
            neighbors, wakeups, ..
        } = self;
        neighbors.learn(now, target, mac, false, wakeups);
        Ok(())
    }

    /// An address that claims to be on this link: it must be, and not be ours.
    fn check_neighbor(&self, addr: IpAddr) -> Result<(), DropReason> {
        if self.routes.is_ours(addr) {
            return Err(DropReason::BadSourceAddress);
        }
        if self.routes.is_on_link(addr) {
            Ok(())
        } else {
            Err(DropReason::OffLinkNeighbor)
        }
    }

    /// Asks for the neighbours whose request is due.
    pub(crate) fn solicit_neighbors(&mut self, now: Instant) {
        loop {
            let Self {
                neighbors, wakeups, ..
            } = self;
            let Some(Solicitation { target, unicast }) = neighbors.poll_solicitation(now, wakeups) else {
                break;
            };
            let src = self.routes.source_for(target);
            match (target, src) {
                (IpAddr::V4(target), Some(IpAddr::V4(src))) => self.ask_v4(src, target, unicast),
                (IpAddr::V6(target), Some(IpAddr::V6(src))) => self.ask_v6(src, target, unicast),
                _ => {}
            }
        }
        self.wake_waiting(now);
    }

    fn ask_v4(&mut self, src: Ipv4Addr, target: Ipv4Addr, unicast: Option<MacAddr>) {
        self.control.push(Owed::Arp {
            link: Link {
                src: self.mac,
                dst: unicast.unwrap_or(MacAddr::BROADCAST),
            },
            arp: Arp {
                operation: ArpOperation::Request,
                sender_mac: self.mac,
                sender_ip: src,
                target_mac: MacAddr::default(),
                target_ip: target,
            },
        });
    }

    fn ask_v6(&mut self, src: Ipv6Addr, target: Ipv6Addr, unicast: Option<MacAddr>) {
        let group = solicited_node(target);
        let (mac, dst) = match unicast {
            Some(mac) => (mac, target),
            None => (multicast_mac(group), group),
        };
        self.control.push(Owed::Solicit {
            link: Link {
                src: self.mac,
                dst: mac,
            },
            src,
            dst,
            solicitation: NeighborSolicitation {
                target,
                source_mac: Some(self.mac),
            },
        });
    }

    /// Writes at most `most` of the frames that the control plane owes; returns how many.
    pub(crate) fn transmit_control<N: Nic>(&mut self, now: Instant, nic: &mut N, most: usize) -> usize {
        if self.neighbors.has_pending() {
            self.solicit_neighbors(now);
        }
        let overflowed = core::mem::take(&mut self.control.overflowed);
        self.counters
            .drops
            .count_many(DropReason::ControlQueueFull, overflowed);
        let mut sent = 0;
        while sent < most
            && let Some(owed) = self.control.owed.front()
        {
            let Some(buf) = nic.reserve(owed.frame_len()) else {
                self.counters.tx_dry += 1;
                break;
            };
            if let Some(len) = owed.emit(buf) {
                nic.commit(
                    len,
                    TxMeta {
                        l2_len: ETHERNET_HEADER as u8,
                        ..TxMeta::default()
                    },
                );
                self.counters.tx_frames += 1;
                self.counters.tx_bytes += len as u64;
                match owed {
                    Owed::Segment { .. } => self.counters.segments_out += 1,
                    _ => self.counters.control_out += 1,
                }
                sent += 1;
            }
            self.control.owed.pop_front();
        }
        sent
    }
}
