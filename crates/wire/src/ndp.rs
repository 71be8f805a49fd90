//! IPv6 neighbour discovery: solicitations and advertisements.
//!
//! Read first: RFC 4861 sections 4.3, 4.4, 7.1 (what makes one valid).

use core::net::{IpAddr, Ipv6Addr};

use crore_base::{DropReason, MacAddr};
use smoltcp::wire::{Icmpv6Packet, NdiscNeighborFlags, NdiscOptionType};

use crate::emit::write_headers;
use crate::icmp::fill_checksum;
use crate::{ETHERNET_HEADER, IpEmit, IpInfo, Link, Packet, TxChecksum, protocol};

/// Type, code, checksum, flags, target address.
const HEADER: usize = 24;
/// A link-layer address option for Ethernet.
const LINK_LAYER_OPTION: usize = 8;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// The most options that are looked at in one message; two kinds are defined
/// for these messages, and unknown ones are to be ignored.
const OPTIONS_MAX: usize = 8;

/// Length of the longest frame that the neighbour messages here take, in bytes.
pub const NEIGHBOR_FRAME_LEN: usize = ETHERNET_HEADER + 40 + HEADER + LINK_LAYER_OPTION;

/// Who has the target address?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborSolicitation {
    /// The address asked for; never multicast when received.
    pub target: Ipv6Addr,
    /// The asker's Ethernet address; `None` in duplicate address detection,
    /// whose source is the unspecified address.
    pub source_mac: Option<MacAddr>,
}

/// Somebody has the target address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborAdvertisement {
    /// Whose Ethernet address is told; never multicast when received.
    pub target: Ipv6Addr,
    /// That Ethernet address; may be missing from an answer to a unicast
    /// solicitation.
    pub target_mac: Option<MacAddr>,
    /// The sender is a router.
    pub router: bool,
    /// This answers a solicitation.
    pub solicited: bool,
    /// This shall replace what was known.
    pub overriding: bool,
}

pub(crate) fn parse_solicitation(view: &Icmpv6Packet<&[u8]>, ip: IpInfo) -> Result<Packet, DropReason> {
    check(view, &ip)?;
    let solicitation = NeighborSolicitation {
        target: view.target_addr(),
        source_mac: link_layer_option(view.payload(), NdiscOptionType::SourceLinkLayerAddr)?,
    };
    //= rfc4861#section-7.1.1 (MUST)
    // Duplicate address detection asks the solicited-node group, and has no
    // link-layer address to tell.
    if ip.src.is_unspecified()
        && (solicitation.source_mac.is_some() || ip.dst != solicited_node(solicitation.target))
    {
        return Err(DropReason::MalformedIcmp);
    }
    Ok(Packet::NeighborSolicitation { ip, solicitation })
}

pub(crate) fn parse_advertisement(view: &Icmpv6Packet<&[u8]>, ip: IpInfo) -> Result<Packet, DropReason> {
    check(view, &ip)?;
    let flags = view.neighbor_flags();
    let advertisement = NeighborAdvertisement {
        target: view.target_addr(),
        target_mac: link_layer_option(view.payload(), NdiscOptionType::TargetLinkLayerAddr)?,
        router: flags.contains(NdiscNeighborFlags::ROUTER),
        solicited: flags.contains(NdiscNeighborFlags::SOLICITED),
        overriding: flags.contains(NdiscNeighborFlags::OVERRIDE),
    };
    //= rfc4861#section-7.1.2 (MUST)
    // Nobody solicits on behalf of a group.
    if ip.dst.is_multicast() && advertisement.solicited {
        return Err(DropReason::MalformedIcmp);
    }
    Ok(Packet::NeighborAdvertisement { ip, advertisement })
}

//= rfc4861#section-7.1.1 (MUST)
// A hop limit below 255 has passed a router, so the sender is not on the link.
fn check(view: &Icmpv6Packet<&[u8]>, ip: &IpInfo) -> Result<(), DropReason> {
    if ip.hop_limit != 255 {
        return Err(DropReason::OffLinkNeighbor);
    }
    if view.msg_code() != 0 || view.target_addr().is_multicast() {
        return Err(DropReason::MalformedIcmp);
    }
    Ok(())
}

/// The link-layer address of the option `wanted`, if it is there. An option
/// without length makes the whole message void; a group is nobody's address.
fn link_layer_option(mut options: &[u8], wanted: NdiscOptionType) -> Result<Option<MacAddr>, DropReason> {
    let mut found = None;
    for _ in 0..OPTIONS_MAX {
        if options.is_empty() {
            break;
        }
        // Not smoltcp's `NdiscOption`: it refuses short options of kinds that
        // are to be ignored here.
        let &[kind, units, ref body @ ..] = options else {
            return Err(DropReason::MalformedIcmp);
        };
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return Err(DropReason::MalformedIcmp);
        }
        if NdiscOptionType::from(kind) == wanted {
            let mac = MacAddr(*body.first_chunk().ok_or(DropReason::MalformedIcmp)?);
            if mac.is_multicast() {
                return Err(DropReason::MalformedIcmp);
            }
            found = Some(mac);
        }
        options = &options[len..];
    }
    Ok(found)
}

/// The solicited-node multicast address of `target` (RFC 4291 section 2.7.1).
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}

/// The Ethernet address of an IPv6 multicast group (RFC 2464 section 7).
pub fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Writes a neighbour solicitation to the start of `buf`; gives its length, or
/// `None` when `buf` is too short. It goes to `dst`: the target itself (a
/// probe of a known neighbour) or its [`solicited_node`] group, with `link.dst`
/// to match.
pub fn emit_neighbor_solicitation(
    buf: &mut [u8],
    link: &Link,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    solicitation: &NeighborSolicitation,
) -> Option<usize> {
    const SOLICITATION: u8 = 135;
    let option = solicitation.source_mac.map(|mac| (SOURCE_LINK_LAYER, mac));
    emit(
        buf,
        link,
        (src, dst),
        SOLICITATION,
        0,
        solicitation.target,
        option,
    )
}

/// Writes a neighbour advertisement to the start of `buf`; gives its length, or
/// `None` when `buf` is too short.
pub fn emit_neighbor_advertisement(
    buf: &mut [u8],
    link: &Link,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    advertisement: &NeighborAdvertisement,
) -> Option<usize> {
    const ADVERTISEMENT: u8 = 136;
    let flags = u8::from(advertisement.router) << 7
        | u8::from(advertisement.solicited) << 6
        | u8::from(advertisement.overriding) << 5;
    let option = advertisement.target_mac.map(|mac| (TARGET_LINK_LAYER, mac));
    emit(
        buf,
        link,
        (src, dst),
        ADVERTISEMENT,
        flags,
        advertisement.target,
        option,
    )
}

fn emit(
    buf: &mut [u8],
    link: &Link,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    option: Option<(u8, MacAddr)>,
) -> Option<usize> {
    let ip = IpEmit {
        src: IpAddr::V6(src),
        dst: IpAddr::V6(dst),
        hop_limit: 255,
        ecn: 0,
        ident: 0,
    };
    let len = match option {
        Some(_) => NEIGHBOR_FRAME_LEN,
        None => NEIGHBOR_FRAME_LEN - LINK_LAYER_OPTION,
    };
    let frame = buf.get_mut(..len)?;
    let message = write_headers(frame, link, &ip, protocol::ICMPV6, TxChecksum::Software)?;
    let (header, rest) = message.split_first_chunk_mut::<HEADER>()?;
    header[..8].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
    header[8..].copy_from_slice(&target.octets());
    if let Some((option, mac)) = option {
        let [a, b, c, d, e, f] = mac.0;
        rest.copy_from_slice(&[option, 1, a, b, c, d, e, f]);
    }
    fill_checksum(message, &ip);
    Some(len)
}
