//! What was, at the end: in words on standard error, as JSON on standard output.

use std::collections::BTreeMap;
use std::io::Write;

use crore::config::Config;
use crore::nic::fault::{FaultCounts, FaultStats};
use crore::{DropCounters, DropReason, PeerCounters};
use crore_dpdk::PortStats;
use crore_load::LoadReport;
use serde::Serialize;

use crate::cli;
use crate::failure::Failure;
use crate::live::scaled;
use crate::run::{Ended, Running};
use crate::worker::{Outcome, checksum_hint};

/// Which wire it was, as it was when it ran.
#[derive(Debug, Serialize)]
pub(crate) struct WireFacts {
    kind: &'static str,
    driver: String,
    mac: String,
    mtu: u16,
    huge_pages: bool,
}

impl WireFacts {
    /// Of the wire's first port.
    pub(crate) fn of(config: &Config, running: &Running) -> Option<Self> {
        let wire = running.wire();
        let port = wire.ports.first()?;
        Some(Self {
            kind: config.wire.kind.word(),
            driver: port.driver().to_owned(),
            mac: port.mac().to_string(),
            mtu: port.mtu(),
            huge_pages: wire.eal.uses_huge_pages(),
        })
    }

    /// For the log line that says that it is up.
    pub(crate) fn in_words(&self) -> String {
        let Self {
            kind,
            driver,
            mac,
            mtu,
            huge_pages: _,
        } = self;
        format!("{kind} ({driver}, {mac}, MTU {mtu})")
    }
}

/// The summary of all shards of a kind.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    program: &'static str,
    version: &'static str,
    dpdk: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<WireFacts>,
    duration_seconds: f64,
    /// Connections that were accepted.
    pub(crate) accepted: u64,
    /// Connections that were opened from here.
    connected: u64,
    /// Connections that are left: none, or there is a bug.
    pub(crate) connections: u64,
    connections_peak: u64,
    reset_at_end: u64,
    /// Connections whose reset the wire did not take, as when the other end is gone.
    untold: u64,
    broken: u64,
    pub(crate) requests: u64,
    refused: u64,
    idle_closed: u64,
    /// Payload that applications read and wrote.
    bytes_in: u64,
    bytes_out: u64,
    frames_in: u64,
    frames_out: u64,
    segments_in: u64,
    segments_out: u64,
    resets_in: u64,
    resets_out: u64,
    /// The most connections that waited at once for the application to close
    /// them, and those that were ended because they waited too long.
    close_wait_peak: u64,
    close_wait_ended: u64,
    cookies_sent: u64,
    cookies_accepted: u64,
    retransmits: u64,
    /// Connections that agreed on ECN, marked segments that came, and acknowledgments
    /// that told of marked segments of ours.
    ecn_agreed: u64,
    ce_in: u64,
    ece_in: u64,
    /// Datagrams put together from fragments, and how often a router was believed that
    /// the path bears less than was thought.
    reassembled: u64,
    /// Segments that were taken in together with the one before them.
    merged: u64,
    /// Segments that were planned together with the one before them.
    cut: u64,
    /// Segments that the NIC has cut out of larger ones.
    cut_by_nic: u64,
    path_mtu_learnt: u64,
    tx_dry: u64,
    drops: BTreeMap<&'static str, u64>,
    hints: Vec<String>,
    /// Frames that came to the wrong shard and were handed to the right one.
    rescued: u64,
    /// Those that were lost because the right one's mailbox was full.
    rescue_full: u64,
    shards: Vec<ShardSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<FaultSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<PortSummary>,
    /// Wrong or missing answers of a client, and connections that failed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<LoadReport>,
    /// Packet buffers that have not come back: none, or there is a leak.
    pub(crate) mbufs_in_use: u64,
}

impl Summary {
    /// What is to be told of the first kind of shards; where the second one was its
    /// client, what that found is told too.
    pub(crate) fn new(program: &'static str, wire: Option<WireFacts>, ended: Ended) -> Result<Self, Failure> {
        let Ended {
            outcomes,
            ports,
            mbufs_in_use,
            duration,
        } = ended;
        let mut outcomes = outcomes.into_iter();
        let first = outcomes.next().unwrap_or_default();
        let shards = ShardSummary::of(&first);
        let Outcome {
            counters,
            app,
            connections,
            untold,
            reset_at_end,
            faults,
            load,
            peers,
            core: _,
        } = merged(first).ok_or_else(|| Failure::run("nothing ran"))?;
        let client = load.or_else(|| outcomes.next().and_then(merged).and_then(|o| o.load));
        let mut hints = Vec::new();
        let partial = counters.drops.get(DropReason::PartialTcpChecksum);
        if partial > 0 {
            hints.push(checksum_hint(partial));
        }
        hints.extend(rescue_hint(&peers, counters.rx_frames));
        hints.extend(silence_hint(&shards));
        Ok(Self {
            program,
            version: cli::crore_version(),
            dpdk: crore_dpdk::version(),
            wire,
            duration_seconds: duration.as_secs_f64(),
            accepted: counters.accepted,
            connected: counters.connected,
            connections: connections as u64,
            connections_peak: counters.connections_peak,
            reset_at_end: reset_at_end as u64,
            untold: untold as u64,
            broken: counters.broken,
            requests: app.requests,
            refused: app.refused,
            idle_closed: app.idle_closed,
            bytes_in: app.bytes_in,
            bytes_out: app.bytes_out,
            frames_in: counters.rx_frames,
            frames_out: counters.tx_frames,
            segments_in: counters.segments_in,
            segments_out: counters.segments_out,
            resets_in: counters.resets_in,
            resets_out: counters.resets_out,
            close_wait_peak: counters.close_wait_peak,
            close_wait_ended: counters.close_wait_ended,
            cookies_sent: counters.cookies_sent,
            cookies_accepted: counters.cookies_accepted,
            retransmits: counters.retransmits,
            ecn_agreed: counters.ecn_agreed,
            ce_in: counters.ce_in,
            ece_in: counters.ece_in,
            reassembled: counters.reassembled,
            merged: counters.merged,
            cut: counters.cut,
            cut_by_nic: counters.cut_by_nic,
            path_mtu_learnt: counters.path_mtu_learnt,
            tx_dry: counters.tx_dry,
            drops: named(&counters.drops),
            hints,
            rescued: peers.handed_on,
            rescue_full: peers.mailbox_full,
            shards,
            faults: faults.map(FaultSummary::of),
            port: ports.into_iter().next().flatten().map(PortSummary::of),
            errors: client
                .as_ref()
                .map(|c| c.mismatches + c.connect_failures + c.broken),
            client,
            mbufs_in_use: mbufs_in_use.into(),
        })
    }

    /// Counts as requests those that a client made, where the program was one.
    pub(crate) fn of_client(mut self) -> Self {
        if let Some(client) = &self.client {
            (self.bytes_in, self.bytes_out) = (client.bytes_received, client.bytes_sent);
            self.requests = client.requests;
        }
        self
    }

    /// The summary in words.
    pub(crate) fn say(&self) {
        let Self {
            duration_seconds,
            accepted,
            connected,
            requests,
            ..
        } = self;
        eprintln!(
            "{:.1} s: {} connections, {requests} requests, {} bytes in, {} out; {} frames in, {} out, {} retransmits",
            duration_seconds,
            accepted + connected,
            self.bytes_in,
            self.bytes_out,
            self.frames_in,
            self.frames_out,
            self.retransmits,
        );
        if let Some(client) = &self.client {
            eprintln!(
                "client: {} requests, {} a second, {:.1} us median, {:.1} us 99th percentile, {} errors",
                client.requests,
                scaled(client.requests_per_second),
                client.latency.p50_us,
                client.latency.p99_us,
                self.errors.unwrap_or(0),
            );
        }
        if self.reset_at_end > 0 {
            eprintln!(
                "{} connections had not ended in time and were reset",
                self.reset_at_end
            );
        }
        if self.untold > 0 {
            eprintln!(
                "{} of them could not be told: the wire took no more frames",
                self.untold
            );
        }
        if self.shards.len() > 1 {
            self.say_shards();
        }
        let drops: Vec<String> = self.drops.iter().map(|(name, n)| format!("{name} {n}")).collect();
        eprintln!(
            "dropped: {}",
            if drops.is_empty() {
                "nothing".into()
            } else {
                drops.join(", ")
            }
        );
        for hint in &self.hints {
            eprintln!("hint: {hint}");
        }
    }

    fn say_shards(&self) {
        for shard in &self.shards {
            eprintln!(
                "shard {} on core {}: {} connections, {} requests; {} frames in, {} out, {} handed on to others",
                shard.shard,
                shard.core,
                shard.accepted + shard.connected,
                shard.requests,
                shard.frames_in,
                shard.frames_out,
                shard.handed_on,
            );
        }
    }

    /// An error when something is left over that ought not to be.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match (self.connections, self.mbufs_in_use) {
            (0, 0) => Ok(()),
            (connections, mbufs) => Err(Failure::run(format!(
                "LEAK: {connections} connections and {mbufs} packet buffers are left at the end; please report this"
            ))),
        }
    }
}

/// One shard's figures.
#[derive(Debug, Serialize)]
struct ShardSummary {
    shard: usize,
    core: u16,
    accepted: u64,
    connected: u64,
    connections_peak: u64,
    requests: u64,
    frames_in: u64,
    frames_out: u64,
    retransmits: u64,
    /// Frames that came here and were another shard's.
    handed_on: u64,
    /// Frames of this shard's that came to another.
    rescued: u64,
    rescue_full: u64,
}

impl ShardSummary {
    fn of(outcomes: &[Outcome]) -> Vec<Self> {
        let row = |(shard, outcome): (usize, &Outcome)| {
            let Outcome {
                counters,
                app,
                peers,
                core,
                load,
                ..
            } = outcome;
            Self {
                shard,
                core: *core,
                accepted: counters.accepted,
                connected: counters.connected,
                connections_peak: counters.connections_peak,
                requests: load.as_ref().map_or(app.requests, |load| load.requests),
                frames_in: counters.rx_frames,
                frames_out: counters.tx_frames,
                retransmits: counters.retransmits,
                handed_on: peers.handed_on,
                rescued: peers.rescued,
                rescue_full: peers.mailbox_full,
            }
        };
        outcomes.iter().enumerate().map(row).collect()
    }
}

/// All shards of a kind as one; none of none.
fn merged(outcomes: Vec<Outcome>) -> Option<Outcome> {
    outcomes.into_iter().reduce(|mut all, one| {
        all.merge(&one);
        all
    })
}

/// What it means that much came to the wrong shard.
fn rescue_hint(peers: &PeerCounters, frames: u64) -> Option<String> {
    const MANY_PERCENT: u64 = 5;
    let percent = peers.handed_on * 100 / frames.max(1);
    (percent >= MANY_PERCENT).then(|| {
        format!(
            "{percent}% of the frames came to the wrong shard and had to be copied to the right one: what feeds the \
             queues (a kernel, a NIC without RSS, a peer with another number of queues) divides the flows otherwise"
        )
    })
}

/// What it means that a shard's queue brought next to nothing.
fn silence_hint(shards: &[ShardSummary]) -> Option<String> {
    const FEW_PERCENT: u64 = 1;
    const ENOUGH: u64 = 10_000;
    let came = |shard: &ShardSummary| shard.frames_in - shard.rescued.min(shard.frames_in) + shard.handed_on;
    let fair = shards.iter().map(came).sum::<u64>() / (shards.len() as u64).max(1);
    let silent = shards
        .iter()
        .find(|shard| came(shard) * 100 < fair * FEW_PERCENT)?;
    (fair >= ENOUGH).then(|| {
        format!(
            "next to nothing came on the queue of shard {}: has the other end as many queues (wire.queues)?",
            silent.shard
        )
    })
}

/// One line of JSON on standard output.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::run(e.to_string()))?;
    // Not println: whoever reads it may be gone, which is no bug.
    writeln!(std::io::stdout().lock(), "{text}").map_err(|e| Failure::run(format!("standard output: {e}")))
}

/// The drops that were, by their names.
pub(crate) fn named(drops: &DropCounters) -> BTreeMap<&'static str, u64> {
    drops
        .nonzero()
        .map(|(reason, count)| (reason.name(), count))
        .collect()
}

#[derive(Debug, Serialize)]
pub(crate) struct FaultSummary {
    rx: FaultDirection,
    tx: FaultDirection,
}

#[derive(Debug, Serialize)]
struct FaultDirection {
    seen: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
    queue_full: u64,
    marked: u64,
    bleached: u64,
    overflowed: u64,
}

impl FaultSummary {
    pub(crate) fn of(stats: FaultStats) -> Self {
        let direction = |FaultCounts {
                             seen,
                             lost,
                             duplicated,
                             reordered,
                             corrupted,
                             queue_full,
                             marked,
                             bleached,
                             // No key of ours makes any.
                             meddled: _,
                             overflowed,
                             passed: _,
                         }| {
            FaultDirection {
                seen,
                lost,
                duplicated,
                reordered,
                corrupted,
                queue_full,
                marked,
                bleached,
                overflowed,
            }
        };
        Self {
            rx: direction(stats.rx),
            tx: direction(stats.tx),
        }
    }
}

#[derive(Debug, Serialize)]
struct PortSummary {
    rx_frames: u64,
    rx_bytes: u64,
    tx_frames: u64,
    tx_bytes: u64,
    rx_missed: u64,
    rx_errors: u64,
    tx_errors: u64,
    rx_no_buffer: u64,
}

impl PortSummary {
    fn of(stats: PortStats) -> Self {
        let PortStats {
            rx_frames,
            rx_bytes,
            tx_frames,
            tx_bytes,
            rx_missed,
            rx_errors,
            tx_errors,
            rx_no_buffer,
        } = stats;
        Self {
            rx_frames,
            rx_bytes,
            tx_frames,
            tx_bytes,
            rx_missed,
            rx_errors,
            tx_errors,
            rx_no_buffer,
        }
    }
}
