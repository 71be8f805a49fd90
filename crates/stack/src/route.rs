//! Which neighbour a packet goes to: the destination itself when it is on the
//! link, else the gateway; and which of this host's addresses it comes from.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crore_base::MacAddr;
use crore_wire::solicited_node;

use crate::StackConfig;

/// This host's addresses and gateways.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Without prefix lengths, in sorted ranges (first and last address) that
    /// don't touch: the thousands of addresses of one prefix are one range.
    ranges: Vec<(IpAddr, IpAddr)>,
    /// For each prefix the first of our addresses in it, in the order of the
    /// configuration, so that thousands of addresses on one link are one entry.
    links: Vec<(IpAddr, u8)>,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
}

impl Routes {
    pub(crate) fn new(config: &StackConfig, mac: MacAddr) -> Self {
        let mut configured = config.addresses.clone();
        if configured.iter().any(|(a, _)| a.is_ipv6()) {
            configured.push((IpAddr::V6(link_local(mac)), 64));
        }
        let mut links: Vec<(IpAddr, u8)> = Vec::new();
        for &(addr, prefix) in &configured {
            // An address that is a link of its own reaches nobody: thousands of
            // them must not make a long list.
            let alone = prefix == if addr.is_ipv4() { 32 } else { 128 };
            if alone && links.iter().any(|(a, _)| a.is_ipv4() == addr.is_ipv4()) {
                continue;
            }
            if !links.iter().any(|&(a, p)| p == prefix && same_link(a, p, addr)) {
                links.push((addr, prefix));
            }
        }
        Self {
            ranges: ranges(configured.into_iter().map(|(a, _)| a).collect()),
            links,
            gateway_v4: config.gateway_v4,
            gateway_v6: config.gateway_v6,
        }
    }

    /// Whether `addr` is one of this host's.
    #[inline]
    pub(crate) fn is_ours(&self, addr: IpAddr) -> bool {
        let within = |&(first, last): &(IpAddr, IpAddr)| first <= addr && addr <= last;
        if self.ranges.len() <= 8 {
            self.ranges.iter().any(within)
        } else {
            let after = self.ranges.partition_point(|&(first, _)| first <= addr);
            self.ranges[..after].last().is_some_and(within)
        }
    }

    /// Whether `group` is the solicited-node group of one of our addresses.
    pub(crate) fn is_solicited_node(&self, group: Ipv6Addr) -> bool {
        self.addresses()
            .any(|a| matches!(a, IpAddr::V6(a) if solicited_node(a) == group))
    }

    /// The neighbour to which packets for `dst` go; `None` without a route.
    pub(crate) fn next_hop(&self, dst: IpAddr) -> Option<IpAddr> {
        if self.is_on_link(dst) {
            return Some(dst);
        }
        match dst {
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// Whether `addr` is on the link.
    pub(crate) fn is_on_link(&self, addr: IpAddr) -> bool {
        self.links.iter().any(|&(a, p)| same_link(a, p, addr))
    }

    //= rfc9293#section-3.9.1.1 (MUST)
    // Where an application names no local address, the way to the peer decides.
    /// The address that a connection to `dst` comes from: one on the same link
    /// if there is one, link-local only towards link-local, else the first of the family.
    pub(crate) fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        let of_family = |&&(a, _): &&(IpAddr, u8)| {
            a.is_ipv4() == dst.is_ipv4() && is_link_local(a) == (is_link_local(dst) && dst.is_ipv6())
        };
        let on_link = self
            .links
            .iter()
            .filter(of_family)
            .find(|&&(a, p)| same_link(a, p, dst));
        on_link
            .or_else(|| self.links.iter().find(of_family))
            .map(|&(a, _)| a)
    }

    /// All of this host's addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| {
            core::iter::successors(Some(first), move |&a| (a < last).then(|| next_address(a)))
        })
    }
}

/// Ranges of the addresses that follow on one another.
fn ranges(mut addresses: Vec<IpAddr>) -> Vec<(IpAddr, IpAddr)> {
    addresses.sort_unstable();
    let mut ranges: Vec<(IpAddr, IpAddr)> = Vec::new();
    for addr in addresses {
        match ranges.last_mut() {
            Some((_, last)) if *last == addr => {}
            Some((_, last)) if next_address(*last) == addr => *last = addr,
            _ => ranges.push((addr, addr)),
        }
    }
    ranges
}

/// The address after `addr`; after the last one of its family, the first.
fn next_address(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a).wrapping_add(1))),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from(u128::from(a).wrapping_add(1))),
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local())
}

/// Whether `other` is covered by the prefix of `addr`.
pub(crate) fn same_link(addr: IpAddr, prefix: u8, other: IpAddr) -> bool {
    match (addr, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            (u32::from(a) ^ u32::from(b)) & mask == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(prefix.min(128)))
                .unwrap_or(0);
            (u128::from(a) ^ u128::from(b)) & mask == 0
        }
        _ => false,
    }
}

/// The link-local address of a station (RFC 4291 appendix A).
pub(crate) fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let mut bytes = [0u8; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let config = StackConfig {
            addresses: vec![
                ("10.1.0.2".parse().unwrap(), 24),
                ("10.2.0.2".parse().unwrap(), 16),
                ("fd00::2".parse().unwrap(), 64),
            ],
            gateway_v4: Some("10.1.0.1".parse().unwrap()),
            ..StackConfig::default()
        };
        Routes::new(&config, MacAddr([2, 0, 0, 0, 0, 1]))
    }

    #[test]
    fn the_next_hop_is_the_destination_on_the_link_and_else_the_gateway() {
        let routes = routes();
        for (dst, hop) in [
            ("10.1.0.7", Some("10.1.0.7")),
            ("10.2.9.9", Some("10.2.9.9")),
            ("192.0.2.1", Some("10.1.0.1")),
            ("fd00::9", Some("fd00::9")),
            ("fe80::9", Some("fe80::9")),
            ("2001:db8::1", None),
        ] {
            let hop: Option<IpAddr> = hop.map(|h| h.parse().unwrap());
            assert_eq!(routes.next_hop(dst.parse().unwrap()), hop, "to {dst}");
        }
    }

    #[test]
    fn thousands_of_addresses_are_a_few_ranges_and_each_is_ours() {
        let mut addresses: Vec<(IpAddr, u8)> = vec![("10.1.0.2".parse().unwrap(), 24)];
        // A /20 without its first, and single ones beside it, in no order.
        let prefix = (1..4096u32).rev().map(|i| Ipv4Addr::from(0x0a51_0000 + i));
        addresses.extend(prefix.map(|a| (IpAddr::V4(a), 32)));
        addresses.extend((0..20u32).map(|i| (IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + 2 * i)), 32)));
        addresses.push(("fd00::2".parse().unwrap(), 64));
        let count = addresses.len() + 1;
        let config = StackConfig {
            addresses,
            ..StackConfig::default()
        };
        let routes = Routes::new(&config, MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(routes.ranges.len(), 1 + 1 + 20 + 2, "{:?}", routes.ranges);
        for (addr, ours) in [
            ("10.1.0.2", true),
            ("10.1.0.1", false),
            ("10.1.0.3", false),
            ("10.81.0.0", false),
            ("10.81.0.1", true),
            ("10.81.9.9", true),
            ("10.81.15.255", true),
            ("10.81.16.0", false),
            ("10.96.0.0", true),
            ("10.96.0.1", false),
            ("10.96.0.38", true),
            ("fd00::2", true),
            ("fd00::3", false),
            ("fe80::ff:fe00:1", true),
        ] {
            assert_eq!(routes.is_ours(addr.parse().unwrap()), ours, "{addr}");
        }
        assert_eq!(
            routes.addresses().count(),
            count,
            "each once, and the link-local one"
        );
    }

    #[test]
    fn a_source_address_fits_its_destination() {
        let routes = routes();
        for (dst, source) in [
            ("10.2.0.9", Some("10.2.0.2")),
            ("192.0.2.1", Some("10.1.0.2")),
            ("fd00::9", Some("fd00::2")),
            ("2001:db8::1", Some("fd00::2")),
            ("fe80::9", Some("fe80::ff:fe00:1")),
        ] {
            let source: Option<IpAddr> = source.map(|h| h.parse().unwrap());
            assert_eq!(routes.source_for(dst.parse().unwrap()), source, "to {dst}");
        }
    }
}
