//! ARP for IPv4 over Ethernet.
//!
//! Read first: RFC 826, RFC 5227 (probes: a sender of 0.0.0.0).

use core::net::Ipv4Addr;

use crore_base::{DropReason, MacAddr};
use smoltcp::wire::{ArpHardware, ArpOperation as View, ArpPacket, EthernetProtocol};

use crate::emit::write_ethernet;
use crate::{ETHERNET_HEADER, Link, ethertype};

/// Length of an ARP packet for IPv4 over Ethernet, in bytes.
const ARP_PACKET: usize = 28;

/// Length of the frame that [`emit_arp`] writes, in bytes.
pub const ARP_FRAME_LEN: usize = ETHERNET_HEADER + ARP_PACKET;

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's Ethernet address; never a multicast one when received.
    pub sender_mac: MacAddr,
    /// The sender's address, or 0.0.0.0 in a probe; never multicast or
    /// broadcast when received.
    pub sender_ip: Ipv4Addr,
    /// Whom a reply is for; meaningless in a request.
    pub target_mac: MacAddr,
    /// Which address is asked for, or whom a reply is for.
    pub target_ip: Ipv4Addr,
}

/// What an ARP packet wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

pub(crate) fn parse(packet: &[u8]) -> Result<Arp, DropReason> {
    let view = ArpPacket::new_checked(packet).map_err(|_| DropReason::MalformedArp)?;
    if view.hardware_type() != ArpHardware::Ethernet
        || view.protocol_type() != EthernetProtocol::Ipv4
        || view.hardware_len() != 6
        || view.protocol_len() != 4
    {
        return Err(DropReason::MalformedArp);
    }
    let operation = match view.operation() {
        View::Request => ArpOperation::Request,
        View::Reply => ArpOperation::Reply,
        View::Unknown(_) => return Err(DropReason::MalformedArp),
    };
    let arp = Arp {
        operation,
        sender_mac: mac(view.source_hardware_addr()),
        sender_ip: ip(view.source_protocol_addr()),
        target_mac: mac(view.target_hardware_addr()),
        target_ip: ip(view.target_protocol_addr()),
    };
    // Nobody is a group: such a binding would poison the neighbour cache.
    if arp.sender_mac.is_multicast() || arp.sender_ip.is_multicast() || arp.sender_ip.is_broadcast() {
        return Err(DropReason::MalformedArp);
    }
    Ok(arp)
}

/// Writes an ARP frame to the start of `buf`; gives its length, or `None` when
/// `buf` is too short.
pub fn emit_arp(buf: &mut [u8], link: &Link, arp: &Arp) -> Option<usize> {
    let frame = buf.get_mut(..ARP_FRAME_LEN)?;
    let packet = write_ethernet(frame, link, ethertype::ARP)?;
    let mut view = ArpPacket::new_unchecked(packet);
    view.set_hardware_type(ArpHardware::Ethernet);
    view.set_protocol_type(EthernetProtocol::Ipv4);
    view.set_hardware_len(6);
    view.set_protocol_len(4);
    view.set_operation(match arp.operation {
        ArpOperation::Request => View::Request,
        ArpOperation::Reply => View::Reply,
    });
    view.set_source_hardware_addr(&arp.sender_mac.0);
    view.set_source_protocol_addr(&arp.sender_ip.octets());
    view.set_target_hardware_addr(&arp.target_mac.0);
    view.set_target_protocol_addr(&arp.target_ip.octets());
    Some(ARP_FRAME_LEN)
}

/// `bytes` has the length that was checked, so the default is never seen.
fn mac(bytes: &[u8]) -> MacAddr {
    MacAddr(bytes.try_into().unwrap_or_default())
}

fn ip(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap_or_default())
}
