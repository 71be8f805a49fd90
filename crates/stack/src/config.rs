//! What a stack is told at construction.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use std::sync::Arc;

use crore_base::{Duration, FourTuple};
use crore_slab::MemoryError;
use crore_wire::Steering;
use thiserror::Error;

use crate::FastOpenPolicy;

use crate::FragmentLimits;

/// The configuration of one host on one shard. Everything here is a limit or
/// an address; nothing grows beyond it later.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// This host's addresses with their prefix lengths. An IPv6 link-local
    /// address is added from the MAC address when any IPv6 address is given.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Next hop for IPv4 destinations that are not on the link.
    pub gateway_v4: Option<Ipv4Addr>,
    /// Next hop for IPv6 destinations that are not on the link.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Connection slots, all states included. Default 65,536.
    pub max_connections: u32,
    /// Connections that may be active at once: with something in flight,
    /// unread, out of order or owed. The others are parked. Default 65,536.
    pub max_active: u32,
    /// After how long without data an idle connection is parked; zero: at once;
    /// none: not before the pool of active ones is used up. Default 1 s.
    pub park_after: Option<Duration>,
    /// Connections given up by their application that may still have something to
    /// bring to their peer (FIN-WAIT-1, CLOSING, LAST-ACK); one more is reset at
    /// its close. 0: as many as are active. Default 0.
    pub max_orphans: u32,
    /// When a SYN is answered without remembering it. Default [`CookiePolicy::Overflow`].
    pub syn_cookies: CookiePolicy,
    /// Who uses TCP Fast Open. Default nobody.
    pub fast_open: FastOpenPolicy,
    /// Handshakes of a listener whose data may be taken before they are over.
    /// Default 256.
    pub fast_open_queue: u32,
    /// Keys for Fast Open cookies, the first of which makes them; none: such as
    /// follow from [`Self::fast_open_secret`], and change as time goes. Default none.
    pub fast_open_keys: Vec<[u8; 16]>,
    /// What those keys follow from. It has to be the same for all shards, to any of
    /// which a client may come with its cookie; none: the stack's own key. Default
    /// none.
    pub fast_open_secret: Option<[u8; 16]>,
    /// Entries of the neighbour cache. Default 4,096.
    pub max_neighbors: u32,
    /// Bytes of received data that connections may hold together, in order and
    /// out of order. Default 1 GiB.
    pub receive_budget: u64,
    /// Bytes of written data that connections may hold together beyond
    /// `tcp.send_buffer` of each. From three quarters of it on, and of
    /// [`Self::receive_budget`], no buffer grows, and what has grown counts for what
    /// it started with. Default 1 GiB.
    pub send_budget: u64,
    /// Resets a second sent for segments that hit no connection, to each network
    /// but a part of them. Default 100,000.
    pub resets_per_second: u32,
    /// ICMP echo replies a second. Default 10,000.
    pub echo_replies_per_second: u32,
    /// ICMP errors a second. Default 1,000.
    pub icmp_errors_per_second: u32,
    /// How much of fragmented datagrams may wait for the rest. Default 4 MiB, of
    /// 1,024 datagrams.
    pub fragments: FragmentLimits,
    /// First port that active opens use. Default 10,000.
    pub ephemeral_first: u16,
    /// Last port that active opens use. Default 65,535.
    pub ephemeral_last: u16,
    //= rfc9293#section-3.9.2 (MUST)
    // How far segments travel can be chosen.
    /// IPv4 TTL and IPv6 hop limit. Default 64.
    pub hop_limit: u8,
    /// How long a neighbour entry is trusted without confirmation. Default 30 s.
    pub neighbor_reachable: Duration,
    /// After how long without data, either way, the application is told of a
    /// connection by [`crate::Event::Idle`]; zero: never. Default zero.
    pub idle_timeout: Duration,
    /// After how long a connection whose peer has finished is ended although the
    /// application has not (CLOSE-WAIT); zero: never. Default zero.
    pub close_wait_limit: Duration,
    /// Whether segments of a burst that go on where the one before them ends are
    /// taken in at once. Default true.
    pub gro: bool,
    /// Whether full segments that may leave at once are planned together. Default true.
    pub gso: bool,
    /// Which of the flows are this shard's, where there are several. Default: all.
    pub share: Option<Share>,
    /// TCP's own knobs.
    pub tcp: crore_tcp::Config,
}

/// One shard's part of the flows.
#[derive(Clone, Debug)]
pub struct Share {
    /// How flows are divided.
    pub steering: Arc<Steering>,
    /// This shard's number, from 0.
    pub shard: u16,
}

impl Share {
    /// Whether a flow is this shard's.
    #[inline]
    pub fn owns(&self, flow: &FourTuple) -> bool {
        self.steering.shard_of(flow) == self.shard
    }
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            gateway_v4: None,
            gateway_v6: None,
            max_connections: 65_536,
            max_active: 65_536,
            park_after: Some(Duration::from_secs(1)),
            max_orphans: 0,
            syn_cookies: CookiePolicy::default(),
            fast_open: FastOpenPolicy::Off,
            fast_open_queue: 256,
            fast_open_keys: Vec::new(),
            fast_open_secret: None,
            max_neighbors: 4_096,
            receive_budget: 1 << 30,
            send_budget: 1 << 30,
            resets_per_second: 100_000,
            echo_replies_per_second: 10_000,
            icmp_errors_per_second: 1_000,
            fragments: FragmentLimits {
                bytes: 4 << 20,
                datagrams: 1_024,
            },
            ephemeral_first: 10_000,
            ephemeral_last: 65_535,
            hop_limit: 64,
            neighbor_reachable: Duration::from_secs(30),
            idle_timeout: Duration::ZERO,
            close_wait_limit: Duration::ZERO,
            gro: true,
            gso: true,
            share: None,
            tcp: crore_tcp::Config::default(),
        }
    }
}

/// When a SYN is answered by a cookie ([`crore_tcp::SynCookies`]), which takes no
/// record until the peer has shown that it is where it says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CookiePolicy {
    /// Never: beyond the listener's backlog a SYN is dropped.
    Never,
    /// Beyond the listener's backlog, and when handshakes fill the last records.
    #[default]
    Overflow,
    /// Always.
    Always,
}

/// What is wrong with a [`StackConfig`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ConfigError {
    /// No address at all.
    #[error("a stack needs at least one address")]
    NoAddress,
    /// A multicast, broadcast, loopback or unspecified address.
    #[error("{0} can't be a host's address")]
    BadAddress(IpAddr),
    /// A prefix longer than the address.
    #[error("prefix length {prefix} is too long for {addr}")]
    BadPrefix {
        /// The address.
        addr: IpAddr,
        /// Its prefix length.
        prefix: u8,
    },
    /// A gateway that no address has on its link.
    #[error("gateway {0} is not on the link of any address")]
    GatewayOffLink(IpAddr),
    /// A limit that is zero, or a range that is empty.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// `ephemeral_first` lies above `ephemeral_last`.
    #[error("the range of ephemeral ports is empty")]
    EmptyPortRange,
    /// The records or the flow table find no memory.
    #[error("max_connections: {0}")]
    NoMemory(#[from] MemoryError),
    /// More slots than an index can name.
    #[error("max_connections can be at most {0}")]
    TooManyConnections(u32),
}

/// Slots are named by 30-bit indices.
const MAX_CONNECTIONS: u32 = crate::flow_table::SLOTS_MAX;

impl StackConfig {
    /// Says what is wrong, before anything is made.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        for &(addr, prefix) in &self.addresses {
            let (bits, bad) = match addr {
                IpAddr::V4(a) => (
                    32,
                    a.is_multicast() || a.is_broadcast() || a.is_loopback() || a.is_unspecified(),
                ),
                IpAddr::V6(a) => (128, a.is_multicast() || a.is_loopback() || a.is_unspecified()),
            };
            if bad {
                return Err(ConfigError::BadAddress(addr));
            }
            if prefix > bits {
                return Err(ConfigError::BadPrefix { addr, prefix });
            }
        }
        let gateways = [self.gateway_v4.map(IpAddr::V4), self.gateway_v6.map(IpAddr::V6)];
        for gateway in gateways.into_iter().flatten() {
            let link_local = matches!(gateway, IpAddr::V6(a) if a.is_unicast_link_local());
            if !link_local
                && !self
                    .addresses
                    .iter()
                    .any(|&(a, p)| crate::route::same_link(a, p, gateway))
            {
                return Err(ConfigError::GatewayOffLink(gateway));
            }
        }
        if self.max_connections == 0 {
            return Err(ConfigError::Zero("max_connections"));
        }
        if self.max_connections > MAX_CONNECTIONS {
            return Err(ConfigError::TooManyConnections(MAX_CONNECTIONS));
        }
        if self.max_active == 0 {
            return Err(ConfigError::Zero("max_active"));
        }
        if self.max_neighbors == 0 {
            return Err(ConfigError::Zero("max_neighbors"));
        }
        if self.ephemeral_first > self.ephemeral_last || self.ephemeral_first == 0 {
            return Err(ConfigError::EmptyPortRange);
        }
        Ok(())
    }

    /// What connections are told: none may hold, by a buffer that has grown, more
    /// than a sixteenth of what all may hold together.
    pub(crate) fn tcp_within_budget(&self) -> crore_tcp::Config {
        const PART: u64 = 16;
        let part = |budget: u64| u32::try_from(budget / PART).unwrap_or(u32::MAX);
        crore_tcp::Config {
            receive_buffer_max: self.tcp.receive_buffer_max.min(part(self.receive_budget)),
            send_buffer_max: self.tcp.send_buffer_max.min(part(self.send_budget)),
            ..self.tcp.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_work_is_refused_with_its_reason() {
        let fine = || StackConfig {
            addresses: vec![("10.0.0.2".parse().unwrap(), 24)],
            ..StackConfig::default()
        };
        assert_eq!(fine().validate(), Ok(()));
        assert_eq!(StackConfig::default().validate(), Err(ConfigError::NoAddress));
        for bad in [
            "224.0.0.1",
            "255.255.255.255",
            "127.0.0.1",
            "0.0.0.0",
            "ff02::1",
            "::1",
            "::",
        ] {
            let addr = bad.parse().unwrap();
            let config = StackConfig {
                addresses: vec![(addr, 8)],
                ..fine()
            };
            assert_eq!(config.validate(), Err(ConfigError::BadAddress(addr)));
        }
        for (addr, most) in [("10.0.0.2", 32), ("fd00::2", 128)] {
            let addr = addr.parse().unwrap();
            let with = |prefix| StackConfig {
                addresses: vec![(addr, prefix)],
                ..fine()
            };
            assert_eq!(with(most).validate(), Ok(()));
            let prefix = most + 1;
            assert_eq!(
                with(prefix).validate(),
                Err(ConfigError::BadPrefix { addr, prefix })
            );
        }
        type Change = fn(&mut StackConfig);
        let cases: [(Change, Result<(), ConfigError>); 9] = [
            (
                |c| c.gateway_v4 = Some([10, 0, 9, 1].into()),
                Err(ConfigError::GatewayOffLink([10, 0, 9, 1].into())),
            ),
            (|c| c.gateway_v4 = Some([10, 0, 0, 1].into()), Ok(())),
            (|c| c.gateway_v6 = Some("fe80::1".parse().unwrap()), Ok(())),
            (
                |c| c.max_connections = 0,
                Err(ConfigError::Zero("max_connections")),
            ),
            (
                |c| c.max_connections = MAX_CONNECTIONS + 1,
                Err(ConfigError::TooManyConnections(MAX_CONNECTIONS)),
            ),
            (|c| c.max_active = 0, Err(ConfigError::Zero("max_active"))),
            (|c| c.max_neighbors = 0, Err(ConfigError::Zero("max_neighbors"))),
            (|c| c.ephemeral_first = 0, Err(ConfigError::EmptyPortRange)),
            (
                |c| (c.ephemeral_first, c.ephemeral_last) = (2, 1),
                Err(ConfigError::EmptyPortRange),
            ),
        ];
        for (change, expected) in cases {
            let mut config = fine();
            change(&mut config);
            assert_eq!(config.validate(), expected);
        }
    }

    #[test]
    fn a_buffer_does_not_outgrow_the_budget_of_all() {
        let mut config = StackConfig::default();
        config.tcp.receive_buffer_max = 6 << 20;
        assert_eq!(
            config.tcp_within_budget().receive_buffer_max,
            6 << 20,
            "a small part"
        );
        config.receive_budget = 16 << 20;
        assert_eq!(
            config.tcp_within_budget().receive_buffer_max,
            1 << 20,
            "a sixteenth"
        );
        config.tcp.send_buffer_max = 4 << 20;
        config.send_budget = 32 << 20;
        assert_eq!(
            config.tcp_within_budget().send_buffer_max,
            2 << 20,
            "of either budget"
        );
    }
}
