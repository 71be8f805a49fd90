//! Fragments on their way in and out, ICMP echo, and the ICMP errors that this
//! host sends.
//!
//! Read first: RFC 8200 sections 4 and 4.5, RFC 4443 section 2.4, RFC 1122
//! section 3.2.2, RFC 7739 (identifications). What keeps the pieces together
//! is `reassembly.rs`.

use core::net::IpAddr;
use std::hash::{BuildHasher, Hasher};

use crore_base::{DropReason, Instant, MacAddr, RxChecksum};
use crore_netbuf::Chunk;
use crore_nic::RxFrame;
use crore_wire::{
    Complaint, ETHERNET_HEADER, Fragment, Frame, HeaderProblem, IpEmit, IpInfo, Link, Packet, Piece, Whose,
    echo_reply, echo_reply_len, fragment_room, parse, quote_max,
};

use crate::Stack;
use crate::input::Pending;
use crate::neighbor::KeyedHash;

/// Gives each datagram that is sent in fragments an identification of its own.
pub(crate) struct FragmentIds {
    key: KeyedHash,
    next: u32,
}

impl FragmentIds {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            key: KeyedHash(key),
            next: 0,
        }
    }

    //= rfc7739#section-5 (SHOULD)
    // Nobody can tell the next one from the last: IPv6's are a keyed hash of a
    // counter. IPv4's 16 bits are too few for chance, and count on from a secret
    // beginning.
    fn draw(&mut self, v6: bool) -> u32 {
        self.next = self.next.wrapping_add(1);
        let hash = |number: u32| {
            let mut hasher = self.key.build_hasher();
            hasher.write_u32(number);
            hasher.finish() as u32
        };
        if v6 {
            hash(self.next)
        } else {
            hash(0).wrapping_add(self.next) & 0xffff
        }
    }
}

impl Stack {
    /// A fragment for this host; with the last one that is missing, the
    /// datagram is dealt with as if it had come whole.
    #[cold]
    pub(crate) fn on_fragment(
        &mut self,
        now: Instant,
        (src_mac, dst_mac): (MacAddr, MacAddr),
        fragment: &Fragment,
        frame: &Chunk,
        tcp: &mut Vec<Pending>,
    ) -> Result<(), DropReason> {
        self.check_macs(src_mac, dst_mac)?;
        if dst_mac.is_multicast() {
            return Err(DropReason::NotOurAddress);
        }
        self.check_addressed(&fragment.ip)?;
        let Self {
            fragments, counters, ..
        } = self;
        let drops = &mut counters.drops;
        let crate::Reassembly::Whole(whole) = fragments.on_fragment(now, fragment, frame, drops)? else {
            return Ok(());
        };
        self.counters.reassembled += 1;
        let frame = RxFrame {
            data: Chunk::copy_from(&whole),
            checksum: RxChecksum::Unknown,
        };
        // Its fragments met here; whose flow it is shows only now.
        if let Some(share) = &self.config.share
            && let Whose::Shard(shard) = share.steering.whose(&frame.data)
            && shard != share.shard
        {
            self.strays.push(frame);
            return Ok(());
        }
        let parsed = parse(&frame.data, frame.checksum)?;
        // Nobody honest sends fragments of fragments.
        if matches!(parsed.packet, Packet::Fragment(_)) {
            return Err(DropReason::MalformedFragment);
        }
        self.sort_parsed(now, parsed, frame.data, tcp)
    }

    /// Moves the frames that were put together here and are another shard's to
    /// the end of `into`.
    pub fn take_strays(&mut self, into: &mut Vec<RxFrame>) {
        into.append(&mut self.strays);
    }

    /// Gives up the datagrams that have waited for too long.
    pub(crate) fn expire_fragments(&mut self, now: Instant) {
        if self.fragments.next_timeout().is_none_or(|at| at > now) {
            return;
        }
        while let Some(expired) = self.fragments.poll_expired(now, &mut self.counters.drops) {
            let Some(first) = expired.first else { continue };
            // What the reassembler keeps was well-formed when it came.
            let Ok(Frame {
                src_mac,
                packet: Packet::Fragment(fragment),
                ..
            }) = parse(&first, RxChecksum::Good)
            else {
                continue;
            };
            if !is_icmp_error(&fragment, &first) {
                self.complain(now, src_mac, &fragment.ip, Complaint::ReassemblyTimeout, &first);
            }
        }
    }

    /// An IPv6 packet with a problem.
    pub(crate) fn on_problem(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        ip: &IpInfo,
        problem: HeaderProblem,
        frame: &Chunk,
    ) -> Result<(), DropReason> {
        const UNKNOWN_OPTION: u8 = 2;
        let to_group = ip.dst.is_multicast();
        if to_group && problem.code != UNKNOWN_OPTION {
            return Err(DropReason::Ipv6HeaderProblem);
        }
        if to_group {
            self.check_source(ip)?;
        } else {
            self.check_addressed(ip)?;
        }
        self.complain(now, src_mac, ip, Complaint::Problem(problem), frame);
        Err(DropReason::Ipv6HeaderProblem)
    }

    //= rfc1122#section-3.2.2.1 (SHOULD)
    // A datagram of a protocol that nobody speaks, or to a port on which nobody
    // listens (RFC 1122 section 4.1.3.1), is answered by an error that says so.
    pub(crate) fn on_unhandled(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        ip: &IpInfo,
        (protocol, named_at): (u8, u16),
        frame: &Chunk,
    ) -> Result<(), DropReason> {
        const UDP: u8 = 17;
        self.check_addressed(ip)?;
        let complaint = match protocol {
            UDP => Complaint::PortUnreachable,
            _ => Complaint::ProtocolUnreachable { named_at },
        };
        self.complain(now, src_mac, ip, complaint, frame);
        Err(DropReason::UnknownProtocol)
    }

    /// Owes an ICMP error about the packet in `frame`, within the limit. That
    /// it is not about an error itself, nor sent to a group, is the caller's to
    /// see to.
    //= rfc4443#section-2.4 (MUST)
    // Errors are sent at a limited rate, so that what is wrong with a flood of
    // packets does not become a flood of its own.
    fn complain(&mut self, now: Instant, src_mac: MacAddr, ip: &IpInfo, complaint: Complaint, frame: &[u8]) {
        if self.overhearing || !self.icmp_error_limit.allow(now) {
            return;
        }
        let src = if ip.dst.is_multicast() {
            self.routes.source_for(ip.src)
        } else {
            Some(ip.dst)
        };
        let Some(src) = src else { return };
        let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
        let quote = &packet[..packet.len().min(quote_max(src.is_ipv6()))];
        let (link, ip) = self.answer_to(src_mac, src, ip.src);
        self.control
            .complain(link, ip, complaint, Chunk::copy_from(quote));
    }

    /// The headers of an answer to the station `to`.
    fn answer_to(&mut self, to: MacAddr, src: IpAddr, dst: IpAddr) -> (Link, IpEmit) {
        let ident = self.ip_ident;
        self.ip_ident = ident.wrapping_add(1);
        let link = Link {
            src: self.mac,
            dst: to,
        };
        let ip = IpEmit {
            src,
            dst,
            hop_limit: self.config.hop_limit,
            ecn: 0,
            ident,
        };
        (link, ip)
    }

    //= rfc1122#section-3.2.2.6 (MUST)
    // A host answers echo requests, with the request's data, from the address
    // that was asked; not those to a group, which would multiply.
    pub(crate) fn on_echo(
        &mut self,
        now: Instant,
        src_mac: MacAddr,
        ip: &IpInfo,
        message: Chunk,
    ) -> Result<(), DropReason> {
        self.check_addressed(ip)?;
        if !self.echo_limit.allow(now) {
            return Err(DropReason::ReplyRateLimited);
        }
        let (link, reply) = self.answer_to(src_mac, ip.dst, ip.src);
        let mtu = self.mtu_to(ip.src);
        if echo_reply_len(&reply, message.len()) > usize::from(mtu) + ETHERNET_HEADER {
            return self.echo_in_fragments((link, reply), &message, mtu);
        }
        self.control.echo(link, reply, message);
        Ok(())
    }

    /// Owes the answer to an echo request that is too large for one packet of `mtu` bytes.
    fn echo_in_fragments(
        &mut self,
        (link, ip): (Link, IpEmit),
        message: &[u8],
        mtu: u16,
    ) -> Result<(), DropReason> {
        let reply = echo_reply(&ip, message).ok_or(DropReason::MalformedIcmp)?;
        let v6 = ip.src.is_ipv6();
        let room = fragment_room(v6, mtu);
        if room == 0 {
            return Err(DropReason::FrameTooLarge);
        }
        if reply.len().div_ceil(room) > self.control.room() {
            return Err(DropReason::ControlQueueFull);
        }
        let id = self.fragment_ids.draw(v6);
        let reply = Chunk::copy_from(&reply);
        for offset in (0..reply.len()).step_by(room) {
            let end = (offset + room).min(reply.len());
            let piece = Piece {
                id,
                offset: offset as u16,
                more: end < reply.len(),
            };
            self.control.echo_piece(link, ip, piece, reply.slice(offset..end));
        }
        Ok(())
    }
}

//= rfc1122#section-3.2.2 (MUST)
// No error is ever sent about an error.
fn is_icmp_error(fragment: &Fragment, frame: &[u8]) -> bool {
    const ICMPV4: u8 = 1;
    const ICMPV6: u8 = 58;
    let kind = frame.get(fragment.data.start).copied().unwrap_or_default();
    match fragment.protocol {
        ICMPV4 if fragment.ip.src.is_ipv4() => matches!(kind, 3 | 4 | 5 | 11 | 12),
        ICMPV6 => kind < 128,
        _ => false,
    }
}
