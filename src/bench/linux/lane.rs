//! Two hosts and a bad network between them: three network namespaces, joined by
//! veth pairs, with a relay (`crore relay`) in the middle one.
//!
//! ```text
//!   ours                      between                    theirs
//!   kernel 10.82.0.1  host ---- left  relay  right ---- host  kernel 10.82.0.3
//!   Crore  10.82.0.2  (af_packet on the same interface)
//! ```
//!
//! Crore and the kernel of `ours` send through the same interface, so that the way
//! is the same to the last queue. No end has segmentation offload or leaves
//! checksums to a NIC that there is not; both have MTU 1500, timestamps, and the
//! neighbours' addresses from the start.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::super::BenchWire;
use super::super::ends::End;
use super::super::namespace::Namespace;
use crate::failure::Failure;
use crate::signals::Interrupted;

const OUR_KERNEL: &str = "10.82.0.1";
const CRORE: &str = "10.82.0.2";
const THEIR_KERNEL: &str = "10.82.0.3";
const NETWORK: &str = "10.82.0.0/24";
const OUR_MAC: &str = "02:00:00:52:00:01";
const THEIR_MAC: &str = "02:00:00:52:00:03";
/// Each host's own interface.
const HOST: &str = "host";
/// Where whoever sends listens: RFC 864's port.
const PORT: u16 = 19;
/// Memory that EAL takes for Crore's end.
const EAL_MIB: u32 = 96;
/// How long an end may take to come up, and how long beyond its time to say what it found.
const SLACK: Duration = Duration::from_secs(60);

/// How the kernels are set, whatever the host has: Linux's own defaults for the
/// buffers; nothing remembered from one connection for the next.
const KERNEL: &[(&str, &str)] = &[
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
    ("tcp_no_metrics_save", "1"),
    ("ip_forward", "0"),
];

/// What lies between two hosts for one run.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// As `crore relay --faults` takes them.
    pub(super) faults: String,
}

/// Who sends to whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Pair {
    /// Linux to Linux: what it is compared with.
    Linux,
    /// Crore to Linux.
    CroreSends,
    /// Linux to Crore.
    CroreReceives,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) pair: Pair,
    pub(super) way: Way,
    /// The sender's congestion control, by Linux's name.
    pub(super) congestion: &'static str,
    pub(super) connections: u32,
    pub(super) warm_up: u64,
    pub(super) seconds: u64,
}

/// What a measurement found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bits_per_second: f64,
    /// Bytes of each connection, where the receiver tells.
    pub(super) flows: Vec<u64>,
    /// Wrong bytes, and connections that failed.
    pub(super) wrong: u64,
    /// Segments that Crore sent again.
    pub(super) retransmits: u64,
    pub(super) relay: Value,
}

/// Two hosts with a way between them, one run at a time.
pub(super) struct Lane {
    ours: Namespace,
    between: Namespace,
    theirs: Namespace,
    program: PathBuf,
    config: PathBuf,
    core: u16,
    interrupted: Interrupted,
}

impl Lane {
    /// Lane `number`, with Crore and the relay on `core`, and configurations in `folder`.
    pub(super) fn new(
        number: usize,
        core: u16,
        folder: &std::path::Path,
        interrupted: Interrupted,
    ) -> Result<Self, Failure> {
        let namespace = |part| Namespace::new(&format!("-{number}-{part}"), "`crore bench linux`");
        let lane = Self {
            ours: namespace("ours")?,
            between: namespace("between")?,
            theirs: namespace("theirs")?,
            program: std::env::current_exe()
                .map_err(|e| Failure::run(format!("where this program lies: {e}")))?,
            config: folder.join(format!("lane-{number}.toml")),
            core,
            interrupted,
        };
        for (side, host, mac) in [("left", &lane.ours, OUR_MAC), ("right", &lane.theirs, THEIR_MAC)] {
            let pair = ["link", "add", side, "type", "veth", "peer", "name", HOST];
            lane.between
                .ip(&[&pair[..], &["address", mac, "netns", host.name()]].concat())?;
            lane.between.ip(&["link", "set", side, "up"])?;
            host.ip(&["link", "set", "lo", "up"])?;
            host.ip(&["link", "set", HOST, "up"])?;
            no_offloads(host)?;
            settle(host)?;
        }
        let address = |ip| format!("{ip}/24");
        lane.ours
            .ip(&["address", "add", &address(OUR_KERNEL), "dev", HOST])?;
        lane.theirs
            .ip(&["address", "add", &address(THEIR_KERNEL), "dev", HOST])?;
        // What a lossy way does to ARP is not the question.
        for (host, ip, mac) in [
            (&lane.ours, THEIR_KERNEL, THEIR_MAC),
            (&lane.theirs, OUR_KERNEL, OUR_MAC),
            (&lane.theirs, CRORE, OUR_MAC),
        ] {
            host.ip(&[
                "neighbor",
                "replace",
                ip,
                "lladdr",
                mac,
                "dev",
                HOST,
                "nud",
                "permanent",
            ])?;
        }
        fs::write(&lane.config, lane.crore_config())
            .map_err(|e| Failure::run(format!("{}: {e}", lane.config.display())))?;
        Ok(lane)
    }

    /// Measures.
    pub(super) fn run(&self, run: &Run) -> Result<Found, Failure> {
        self.choose_congestion(run.congestion)?;
        let relay = self.relay(&run.way)?;
        let (source, sink) = match run.pair {
            Pair::Linux => {
                let source = self.kernel_source(&self.ours, OUR_KERNEL)?;
                (source, self.kernel_sink(OUR_KERNEL, run)?)
            }
            Pair::CroreSends => {
                let source = self.crore_source(run.congestion)?;
                (source, self.kernel_sink(CRORE, run)?)
            }
            Pair::CroreReceives => {
                let source = self.kernel_source(&self.theirs, THEIR_KERNEL)?;
                (source, self.crore_sink(run)?)
            }
        };
        self.finish(run, relay, source, sink)
    }

    /// Two streams of Crore's beside two of the kernel's, from the same host:
    /// what either found.
    pub(super) fn side_by_side(&self, run: &Run) -> Result<[Found; 2], Failure> {
        self.choose_congestion(run.congestion)?;
        let relay = self.relay(&run.way)?;
        let kernel = self.kernel_source(&self.ours, OUR_KERNEL)?;
        let crore = self.crore_source(run.congestion)?;
        let sinks = [self.kernel_sink(CRORE, run)?, self.kernel_sink(OUR_KERNEL, run)?];
        let [mut by_crore, mut by_kernel] = sinks;
        let limit = Duration::from_secs(run.warm_up + run.seconds) + SLACK;
        by_crore.wait_until_stopped(limit)?;
        by_kernel.wait_until_stopped(limit)?;
        let mut found = [Found::of(&by_crore.stop()?)?, Found::of(&by_kernel.stop()?)?];
        found[0].retransmits = crore.stop()?["retransmits"].as_u64().unwrap_or(0);
        kernel.stop()?;
        found[0].relay = relay.stop()?;
        Ok(found)
    }

    fn finish(&self, run: &Run, relay: End, source: End, mut sink: End) -> Result<Found, Failure> {
        sink.wait_until_stopped(Duration::from_secs(run.warm_up + run.seconds) + SLACK)?;
        let sunk = sink.stop()?;
        let sourced = source.stop()?;
        let mut found = match run.pair {
            Pair::CroreReceives => Found::of(&sunk["client"])?,
            Pair::Linux | Pair::CroreSends => Found::of(&sunk)?,
        };
        found.retransmits = sourced["retransmits"].as_u64().unwrap_or(0);
        found.relay = relay.stop()?;
        Ok(found)
    }

    fn relay(&self, way: &Way) -> Result<End, Failure> {
        let mut command = self.program(&self.between);
        command.args(["relay", "left", "right", "--control"]);
        command.args(["--core", &self.core.to_string(), "--faults", &way.faults]);
        self.start("relay", command)
    }

    fn kernel_source(&self, host: &Namespace, address: &str) -> Result<End, Failure> {
        let mut command = self.program(host);
        command.args(["kernel", "source", &format!("{address}:{PORT}")]);
        self.start("kernel's source", command)
    }

    fn kernel_sink(&self, from: &str, run: &Run) -> Result<End, Failure> {
        let mut command = self.program(&self.theirs);
        command.args(["kernel", "sink", &format!("{from}:{PORT}")]);
        command.args(["--connections", &run.connections.to_string()]);
        command.args(["--warm-up", &run.warm_up.to_string()]);
        command.args(["--seconds", &run.seconds.to_string()]);
        self.start("kernel's sink", command)
    }

    fn crore_source(&self, congestion: &str) -> Result<End, Failure> {
        let mut command = self.program(&self.ours);
        command
            .args(["serve", "chargen", "--control", "--config"])
            .arg(&self.config);
        if let Some(setting) = super::crore_congestion(congestion) {
            command.args(["--set", &setting]);
        }
        self.start("Crore's source", command)
    }

    fn crore_sink(&self, run: &Run) -> Result<End, Failure> {
        let mut command = self.program(&self.ours);
        command.args(["load", "bulk", "--direction", "down", "--control", "--config"]);
        command.arg(&self.config).args(["--target", THEIR_KERNEL]);
        command.args(["--connections", &run.connections.to_string()]);
        command.args(["--warm-up", &run.warm_up.to_string()]);
        command.args(["--seconds", &run.seconds.to_string()]);
        self.start("Crore's sink", command)
    }

    /// This program in one of the namespaces.
    fn program(&self, host: &Namespace) -> Command {
        let mut command = host.command(&self.program);
        command.args(["--log-level", "error"]);
        command
    }

    fn start(&self, name: &'static str, command: Command) -> Result<End, Failure> {
        End::spawn(name, command, BenchWire::AfPacket, &self.interrupted, None)?.up()
    }

    /// A route's word on it reaches algorithms that a namespace's own default may not be.
    fn choose_congestion(&self, name: &str) -> Result<(), Failure> {
        for (host, address) in [(&self.ours, OUR_KERNEL), (&self.theirs, THEIR_KERNEL)] {
            let route = ["route", "replace", NETWORK, "dev", HOST, "src", address];
            host.ip(&[&route[..], &["congctl", name]].concat())?;
        }
        Ok(())
    }

    fn crore_config(&self) -> String {
        format!(
            "[wire]\nkind = \"af_packet\"\ninterface = \"{HOST}\"\n[net]\naddresses = [\"{CRORE}/24\"]\n\
             [eal]\ncores = [{}]\nmemory_mb = {EAL_MIB}\nhuge_pages = \"never\"\n\
             [serve]\nidle_timeout_seconds = 0\ndrain_seconds = 0\n",
            self.core
        )
    }
}

impl Found {
    fn of(said: &Value) -> Result<Self, Failure> {
        let count = |key: &str| said[key].as_u64().unwrap_or(0);
        let rate = said["received_bits_per_second"].as_f64();
        Ok(Self {
            bits_per_second: rate.ok_or_else(|| Failure::run(format!("the sink said: {said}")))?,
            flows: said["flows"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect(),
            wrong: count("mismatches") + count("broken") + count("connect_failures"),
            retransmits: 0,
            relay: Value::Null,
        })
    }
}

/// The checksum trap of veth, and super-frames: what a kernel sends has to be what
/// a wire would carry.
fn no_offloads(host: &Namespace) -> Result<(), Failure> {
    let mut command = host.command("ethtool");
    command.args(["-K", HOST, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
    let said = command.output();
    match said {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => Err(Failure::run(format!(
            "`ethtool -K`: {} (is the package ethtool installed?)",
            String::from_utf8_lossy(&said.stderr).trim()
        ))),
        Err(e) => Err(Failure::run(format!("`ethtool`: {e}"))),
    }
}

/// Sets the kernel of a namespace.
fn settle(host: &Namespace) -> Result<(), Failure> {
    let writes: Vec<_> = KERNEL
        .iter()
        .map(|(name, value)| format!("echo {value} > /proc/sys/net/ipv4/{name}"))
        .collect();
    let said = host
        .command("sh")
        .args(["-c", &writes.join(" && ")])
        .output()
        .map_err(|e| Failure::run(format!("`sh`: {e}")))?;
    if said.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&said.stderr);
    Err(Failure::run(format!("the kernel's settings: {}", why.trim())))
}
