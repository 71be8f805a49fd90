//! `crore plan`: what a number of connections and a rate take, from measured
//! constants. `docs/CAPACITY.md` says where each comes from.

use std::path::PathBuf;

use clap::Args;
use crore::{Stack, StackConfig};
use crore_dpdk::MempoolConfig;
use serde::Serialize;

use crate::failure::Failure;
use crate::summary::print_json;
use crore::config::ConfigError;

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Connections that are open at once
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    connections: u64,
    /// Of these, how many are active at any moment: something in flight, unread or owed
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    active_percent: f64,
    /// Requests a second, all together
    #[arg(long, default_value_t = 0, value_name = "R")]
    rps: u64,
    /// Bytes of a request, and of its reply
    #[arg(long, default_value_t = 64, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    payload: u64,
    /// The NIC's speed, as in 100G
    #[arg(long, default_value = "100G", value_name = "SPEED", value_parser = speed)]
    nic: u64,
    /// Requests a second of one core; without it, what was measured (docs/CAPACITY.md)
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    rps_per_core: Option<u64>,
    /// The same from a report of `crore bench c10m`
    #[arg(long, value_name = "FILE", conflicts_with = "rps_per_core")]
    measured: Option<PathBuf>,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Requests a second of a server core with ten million connections, memif,
/// 64 bytes; `crore bench c10m`, docs/BENCHMARKS.md.
const RPS_PER_CORE: u64 = 777_000;
/// Of a core's rate, how much is planned with.
const LOAD: f64 = 0.7;
/// Ethernet, IPv4, TCP with timestamps; and, on the wire, preamble, check
/// sequence and gap.
const HEADERS: u64 = 14 + 20 + 32;
const FRAMING: u64 = 24;
/// The shortest frame, its check sequence not included, and the most payload in one.
const FRAME_MIN: u64 = 60;
const SEGMENT: u64 = 1448;
/// Packets in the rings and caches of one shard: both rings of 1,024, the pool's
/// cache with its slack, a burst each way.
const PACKETS_PER_SHARD: u64 = 1024 + 1024 + 512 * 3 / 2 + 64;
/// Received packets wait for the application so long at most, in seconds.
const UNREAD_SECONDS: f64 = 0.002;
const HUGE_PAGE: u64 = 2 << 20;
/// What the program and EAL take besides.
const BESIDES: u64 = 64 << 20;

/// What it takes.
#[derive(Debug, PartialEq, Serialize)]
struct Plan {
    connections: u64,
    active: u64,
    requests_per_second: u64,
    requests_per_core: u64,
    shards: u64,
    connections_per_shard: u64,
    nic_bits_per_second: u64,
    /// The busier way.
    wire_bits_per_second: u64,
    nics: u64,
    records_bytes: u64,
    flow_table_bytes: u64,
    active_bytes: u64,
    unacknowledged_bytes: u64,
    packet_buffers: u64,
    packet_buffer_bytes: u64,
    memory_bytes: u64,
    bytes_per_connection: f64,
    huge_pages_2m: u64,
}

pub(crate) fn plan(arguments: &PlanArguments) -> Result<(), Failure> {
    if !(0.0..=100.0).contains(&arguments.active_percent) {
        return Err(ConfigError::of_origin("--active-percent", "takes 0 to 100").into());
    }
    let per_core = match (&arguments.measured, arguments.rps_per_core) {
        (Some(path), _) => measured(path)?,
        (None, Some(rate)) => rate,
        (None, None) => RPS_PER_CORE,
    };
    let plan = Plan::of(arguments, per_core);
    if arguments.json {
        return print_json(&plan);
    }
    plan.say();
    Ok(())
}

/// The rate that a report of `crore bench c10m` holds.
fn measured(path: &std::path::Path) -> Result<u64, Failure> {
    let wrong = |why: String| ConfigError::of_origin("--measured", format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    match report["echo_per_second"].as_f64() {
        Some(rate) if rate >= 1.0 => Ok(rate as u64),
        _ => Err(wrong("is no report of `crore bench c10m`: it has no echo_per_second".into()).into()),
    }
}

impl Plan {
    fn of(arguments: &PlanArguments, per_core: u64) -> Self {
        let PlanArguments {
            connections,
            active_percent,
            rps,
            payload,
            nic,
            ..
        } = *arguments;
        let active = (connections as f64 * active_percent / 100.0).ceil() as u64;
        // A slot is named by 30 bits.
        let most = u64::from(u32::MAX >> 2) - 1;
        let by_rate = (rps as f64 / (per_core as f64 * LOAD)).ceil() as u64;
        let shards = by_rate.max(connections.div_ceil(most)).max(1);
        let each = StackConfig {
            max_connections: connections.div_ceil(shards) as u32,
            max_active: active.div_ceil(shards).max(1) as u32,
            ..StackConfig::default()
        };
        let memory = Stack::memory(&each);
        let unread = (rps as f64 * payload.div_ceil(SEGMENT) as f64 * UNREAD_SECONDS) as u64;
        // Pools use memory best at a power of two less one.
        let buffers = (shards * PACKETS_PER_SHARD + unread + 1).next_power_of_two() - 1;
        let pool = MempoolConfig::default().bytes() / u64::from(MempoolConfig::default().buffers);
        let unacknowledged_bytes = active * payload;
        let huge = shards * memory.total() + buffers * pool;
        let memory_bytes = huge + unacknowledged_bytes + BESIDES;
        let wire_bits_per_second = rps * wire_bytes(payload) * 8;
        Self {
            connections,
            active,
            requests_per_second: rps,
            requests_per_core: per_core,
            shards,
            connections_per_shard: u64::from(each.max_connections),
            nic_bits_per_second: nic,
            wire_bits_per_second,
            nics: wire_bits_per_second.div_ceil(nic).max(1),
            records_bytes: shards * memory.records,
            flow_table_bytes: shards * memory.flow_table,
            active_bytes: shards * memory.active,
            unacknowledged_bytes,
            packet_buffers: buffers,
            packet_buffer_bytes: buffers * pool,
            memory_bytes,
            bytes_per_connection: memory_bytes as f64 / connections as f64,
            huge_pages_2m: huge.div_ceil(HUGE_PAGE),
        }
    }

    fn say(&self) {
        let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let rows = [
            ("connections", self.connections.to_string()),
            ("  active at once", self.active.to_string()),
            ("requests a second", self.requests_per_second.to_string()),
            (
                "  of one core, of which 70% are used",
                self.requests_per_core.to_string(),
            ),
            ("shards, a core each", self.shards.to_string()),
            ("  connections of each", self.connections_per_shard.to_string()),
            (
                "on the wire, the busier way",
                format!("{:.3} Gbit/s", self.wire_bits_per_second as f64 / 1e9),
            ),
            (
                "NICs",
                format!(
                    "{} of {} Gbit/s",
                    self.nics,
                    self.nic_bits_per_second / 1_000_000_000
                ),
            ),
            ("records", mib(self.records_bytes)),
            ("flow table", mib(self.flow_table_bytes)),
            ("active connections", mib(self.active_bytes)),
            ("sent, not acknowledged", mib(self.unacknowledged_bytes)),
            (
                "packet buffers",
                format!("{}, {}", self.packet_buffers, mib(self.packet_buffer_bytes)),
            ),
            ("memory in all", mib(self.memory_bytes)),
            (
                "  a connection",
                format!("{:.1} bytes", self.bytes_per_connection),
            ),
            ("huge pages of 2 MiB", self.huge_pages_2m.to_string()),
        ];
        for (name, value) in rows {
            println!("{name:<40}{value:>24}");
        }
        println!(
            "\nset stack.max_connections={} stack.max_active={} wire.buffers={}",
            self.connections,
            self.active.max(1),
            self.packet_buffers
        );
        println!("as root: echo {} > /proc/sys/vm/nr_hugepages", self.huge_pages_2m);
    }
}

/// Bytes on the wire that a payload takes one way, in as many frames as it needs,
/// and one for the acknowledgment of what came the other way is in it.
fn wire_bytes(payload: u64) -> u64 {
    let frames = payload.div_ceil(SEGMENT);
    let last = payload - (frames - 1) * SEGMENT;
    (frames - 1) * (HEADERS + SEGMENT + FRAMING) + (HEADERS + last).max(FRAME_MIN) + FRAMING
}

/// Bits a second from a text as 100G, 25g, 40000M.
fn speed(text: &str) -> Result<u64, String> {
    let wanted = || format!("{text:?} is no speed, as in 100G");
    let (digits, unit) = text
        .char_indices()
        .last()
        .map(|(at, unit)| (&text[..at], unit))
        .ok_or_else(wanted)?;
    let factor: u64 = match unit {
        'M' | 'm' => 1_000_000,
        'G' | 'g' => 1_000_000_000,
        'T' | 't' => 1_000_000_000_000,
        _ => return Err(wanted()),
    };
    let number: u64 = digits.parse().map_err(|_| wanted())?;
    number
        .checked_mul(factor)
        .filter(|&bits| bits > 0)
        .ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(connections: u64, active_percent: f64, rps: u64) -> PlanArguments {
        PlanArguments {
            connections,
            active_percent,
            rps,
            payload: 64,
            nic: 100_000_000_000,
            rps_per_core: None,
            measured: None,
            json: false,
        }
    }

    #[test]
    fn ten_million_idle_ones_take_what_their_records_and_table_take() {
        let plan = Plan::of(&arguments(10_000_000, 0.0, 0), RPS_PER_CORE);
        assert_eq!((plan.shards, plan.nics, plan.active), (1, 1, 0));
        assert_eq!(plan.records_bytes, 640_000_000);
        assert!((70.0..95.0).contains(&plan.bytes_per_connection), "{plan:?}");
        assert!(plan.memory_bytes > plan.records_bytes + plan.flow_table_bytes + plan.packet_buffer_bytes);
    }

    #[test]
    fn a_rate_takes_cores_and_packets_and_is_not_promised_more_than_a_nic_has() {
        let plan = Plan::of(&arguments(1_000_000, 1.0, 7_000_000), 1_000_000);
        assert_eq!(plan.shards, 10, "seventy hundredths of a million each");
        assert_eq!(plan.connections_per_shard, 100_000);
        assert_eq!(plan.wire_bits_per_second, 7_000_000 * (66 + 64 + 24) * 8);
        let fast = Plan::of(&arguments(1_000_000, 1.0, 200_000_000), 1_000_000);
        assert_eq!(fast.nics, 3, "{fast:?}");
        assert!(fast.packet_buffers > plan.packet_buffers);
    }

    #[test]
    fn a_payload_of_many_frames_is_counted_frame_by_frame() {
        for (payload, bytes) in [
            (1, 66 + 1 + 24),
            (1448, 66 + 1448 + 24),
            (1449, 66 + 1448 + 24 + 66 + 1 + 24),
        ] {
            assert_eq!(wire_bytes(payload), bytes, "{payload} bytes");
        }
    }

    #[test]
    fn speeds_are_read_and_what_is_none_is_refused() {
        assert_eq!(speed("100G"), Ok(100_000_000_000));
        assert_eq!(speed("2500m"), Ok(2_500_000_000));
        for text in ["", "G", "100", "0G", "-1G", "99999999999999T", "1 G", "10µ"] {
            assert!(speed(text).is_err(), "{text:?}");
        }
    }
}
