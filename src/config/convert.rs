//! From what the operator said to what the crates below are told.

use std::time::Duration as StdDuration;

use crore_base::Duration;
use crore_nic::fault;
use crore_stack::{CookiePolicy, FastOpenPolicy, FragmentLimits, StackConfig};
use crore_tcp::{CongestionKind, EcnPolicy, Keepalive};

use super::keys::{
    Config, CongestionControl, EcnWords, FastOpen, FaultDirection, Faults, MtuProbing, SynCookies, Tcp,
};

impl Config {
    /// How many shards there are: as many as cores were named.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.eal.cores.len()).unwrap_or(u16::MAX).max(1)
    }

    /// How many pairs of queues the port has.
    pub fn queues(&self) -> u16 {
        self.wire.queues.unwrap_or(self.shards())
    }

    /// The same with one shard's part of the limits that are for all together.
    pub fn of_one_shard(&self) -> Self {
        let mut part = self.clone();
        let shards = u32::from(self.shards());
        let stack = &mut part.stack;
        for limit in [
            &mut stack.max_connections,
            &mut stack.max_active,
            &mut stack.max_orphans,
            &mut stack.backlog,
            &mut stack.fast_open_queue,
            &mut stack.resets_per_second,
            &mut stack.echo_replies_per_second,
            &mut stack.icmp_errors_per_second,
            &mut stack.fragment_datagrams,
        ] {
            *limit = limit.div_ceil(shards);
        }
        for budget in [
            &mut stack.receive_budget_bytes,
            &mut stack.send_budget_bytes,
            &mut stack.fragment_budget_bytes,
        ] {
            *budget = budget.div_ceil(shards.into());
        }
        part
    }

    /// What the stack is told.
    pub fn stack_config(&self) -> StackConfig {
        let stack = &self.stack;
        StackConfig {
            addresses: self.net.addresses.iter().map(|p| (p.address, p.length)).collect(),
            gateway_v4: self.net.gateway_v4,
            gateway_v6: self.net.gateway_v6,
            max_connections: stack.max_connections,
            max_active: stack.max_active,
            park_after: Some(Duration::from_millis(stack.park_after_ms)),
            max_orphans: stack.max_orphans,
            close_wait_limit: Duration::from_secs(stack.close_wait_limit_seconds),
            syn_cookies: match stack.syn_cookies {
                SynCookies::Never => CookiePolicy::Never,
                SynCookies::Overflow => CookiePolicy::Overflow,
                SynCookies::Always => CookiePolicy::Always,
            },
            fast_open: match self.tcp.fast_open {
                FastOpen::Off => FastOpenPolicy::Off,
                FastOpen::Client => FastOpenPolicy::Client,
                FastOpen::Server => FastOpenPolicy::Server,
                FastOpen::Both => FastOpenPolicy::Both,
            },
            fast_open_queue: stack.fast_open_queue,
            gro: self.wire.gro,
            gso: self.wire.gso,
            fast_open_keys: self.tcp.fast_open_keys().unwrap_or_default(),
            fast_open_secret: None,
            max_neighbors: stack.max_neighbors,
            receive_budget: stack.receive_budget_bytes,
            send_budget: stack.send_budget_bytes,
            resets_per_second: stack.resets_per_second,
            echo_replies_per_second: stack.echo_replies_per_second,
            icmp_errors_per_second: stack.icmp_errors_per_second,
            fragments: FragmentLimits {
                bytes: usize::try_from(stack.fragment_budget_bytes).unwrap_or(usize::MAX),
                datagrams: stack.fragment_datagrams as usize,
            },
            ephemeral_first: stack.ephemeral_first,
            ephemeral_last: stack.ephemeral_last,
            hop_limit: stack.hop_limit,
            neighbor_reachable: Duration::from_millis(stack.neighbor_reachable_ms),
            idle_timeout: self.idle_timeout(),
            share: None,
            tcp: self.tcp.to_tcp(),
        }
    }

    /// How long a connection may be silent; zero: for ever.
    pub const fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.serve.idle_timeout_seconds)
    }

    /// How long the program runs by itself.
    pub const fn duration(&self) -> Option<StdDuration> {
        match self.serve.duration_seconds {
            0 => None,
            seconds => Some(StdDuration::from_secs(seconds)),
        }
    }
}

impl Tcp {
    /// What each connection is told.
    pub fn to_tcp(&self) -> crore_tcp::Config {
        crore_tcp::Config {
            receive_buffer: self.receive_buffer_bytes,
            receive_buffer_max: self.receive_buffer_max_bytes,
            send_buffer: self.send_buffer_bytes,
            send_buffer_max: self.send_buffer_max_bytes,
            mss_max: self.mss,
            window_scaling: self.window_scaling,
            window_scale: None,
            syn_option_order: crore_wire::OptionOrder::default(),
            timestamps: self.timestamps,
            sack: self.sack,
            ecn: match self.ecn {
                EcnWords::Off => EcnPolicy::Off,
                EcnWords::Passive => EcnPolicy::Passive,
                EcnWords::On => EcnPolicy::On,
                EcnWords::AccuratePassive => EcnPolicy::AccuratePassive,
                EcnWords::Accurate => EcnPolicy::Accurate,
            },
            nodelay: self.nodelay,
            initial_window: self.initial_window,
            rto_initial: Duration::from_millis(self.rto_initial_ms),
            rto_min: Duration::from_millis(self.rto_min_ms),
            rto_max: Duration::from_millis(self.rto_max_ms),
            syn_retries: self.syn_retries,
            data_retries: self.data_retries,
            orphan_retries: self.orphan_retries,
            persist_timeout: unless_zero(self.persist_timeout_ms),
            user_timeout: unless_zero(self.user_timeout_ms),
            time_wait: Duration::from_millis(self.time_wait_ms),
            fin_wait_2: Duration::from_millis(self.fin_wait_2_ms),
            delayed_ack: Duration::from_millis(self.delayed_ack_ms),
            max_reassembly_chunks: self.reassembly_chunks,
            congestion: match self.congestion {
                CongestionControl::Cubic => CongestionKind::Cubic,
                CongestionControl::NewReno => CongestionKind::NewReno,
                CongestionControl::Bbr => CongestionKind::Bbr,
            },
            pacing: self.pacing,
            keepalive: self.keepalive(),
            mtu_probing: match self.mtu_probing {
                MtuProbing::Off => crore_tcp::MtuProbing::Off,
                MtuProbing::BlackHoles => crore_tcp::MtuProbing::BlackHoles,
                MtuProbing::Always => crore_tcp::MtuProbing::Always,
            },
            // These are a connection's own.
            cork: false,
            linger: None,
            dscp: 0,
            hop_limit: None,
            window_clamp: u32::MAX,
        }
    }
}

/// A key of 32 hex digits.
fn key_of(word: &str) -> Option<[u8; 16]> {
    let is_hex = word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u128::from_str_radix(word, 16).ok().filter(|_| is_hex)?;
    Some(number.to_be_bytes())
}

/// Zero is never.
fn unless_zero(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

impl Tcp {
    /// The keys that were chosen; none if they are no keys.
    pub(super) fn fast_open_keys(&self) -> Option<Vec<[u8; 16]>> {
        let keys = self.fast_open_keys.as_deref().unwrap_or_default();
        let words = keys.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(key_of).collect()
    }

    fn keepalive(&self) -> Keepalive {
        let idle = match self.keepalive_ms {
            0 => Keepalive::OFF.idle,
            ms => Duration::from_millis(ms),
        };
        Keepalive {
            on: self.keepalive_ms > 0,
            idle,
            interval: Duration::from_millis(self.keepalive_interval_ms),
            count: self.keepalive_probes,
        }
    }
}

impl Faults {
    /// What the fault-making wrapper around a port is told.
    pub fn to_fault_config(&self) -> fault::FaultConfig {
        let faults = fault::Faults {
            loss: self.loss,
            duplicate: self.duplicate,
            reorder: self.reorder,
            corrupt: self.corrupt,
            mark: self.mark,
            bleach: self.bleach,
            delay: Duration::from_millis(self.delay_ms),
            jitter: Duration::from_millis(self.jitter_ms),
            bursts: fault::Bursts {
                enter: self.burst_enter,
                leave: self.burst_leave,
                loss: self.burst_loss,
            },
            bottleneck: fault::Bottleneck {
                bytes_per_second: self.rate_kbit_per_second * 125,
                queue_bytes: self.queue_bytes,
            },
            acc_ecn: fault::AccEcnFate::Pass,
            // A smaller MTU of the port does as much, and is told of.
            hole_above: 0,
        };
        let only_if = |wanted: bool| if wanted { faults } else { fault::Faults::default() };
        fault::FaultConfig {
            seed: self.seed,
            rx: only_if(self.direction != FaultDirection::Tx),
            tx: only_if(self.direction != FaultDirection::Rx),
        }
    }
}
