//! `crore bench`: both ends of a wire on this machine, each on a core of its own.
//!
//! Where to look: `ends` starts and drives the two processes, `bare` measures the
//! wire without a stack, `machine` says on what it ran; each benchmark has a file
//! of its own.

mod bare;
mod c10m;
mod ends;
mod link;
mod linux;
mod machine;
mod micro;
mod namespace;
mod progress;
mod requests;
mod scaling;
mod stream;
mod synflood;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use crore::config::ConfigError;
use serde::Serialize;
use serde_json::Value;

use self::ends::Ends;
use self::machine::Machine;
use self::progress::Progress;
use crate::cli::crore_version;
use crate::failure::Failure;
use crate::run::allowed_cores;
use crate::signals::Interrupted;

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    #[command(subcommand)]
    name: Name,
}

#[derive(Debug, Subcommand)]
enum Name {
    /// Very many connections: opened, held, asked at random with every reply checked, closed
    C10m(c10m::Arguments),
    /// Requests a second: replies of several sizes on few and on many connections
    Rps(requests::RpsArguments),
    /// Connections a second: connect, 64 bytes there and back, close
    Cps(requests::CpsArguments),
    /// Streams: as much as goes
    Stream(stream::Arguments),
    /// The time for one request at a time on one connection
    Latency(requests::LatencyArguments),
    /// Time to take a frame apart; in this process, without a wire
    Parse(micro::ParseArguments),
    /// Time to find a connection in tables of several sizes; in this process, without a wire
    Lookup(micro::LookupArguments),
    /// What a second core brings: one and two pairs of shards, a server's and a client's
    Scaling(scaling::Arguments),
    /// Honest clients with and without a flood of SYNs from addresses that nobody has
    Synflood(synflood::Arguments),
    /// Goodput over bad networks against Linux's TCP over the same ones, and fairness; takes root
    Linux(linux::Arguments),
}

/// What every benchmark between two ends takes.
#[derive(Debug, Args)]
struct Common {
    /// What joins the two ends
    #[arg(long, default_value = "memif")]
    wire: BenchWire,
    /// Write everything to this file as JSON; `-` for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The server's core and the client's; without it, the first two that this process may use
    #[arg(long, value_name = "CORES", value_delimiter = ',', num_args = 1)]
    cores: Vec<u16>,
    /// A short run that shows that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
}

/// What a benchmark in this process takes.
#[derive(Debug, Args)]
struct MicroCommon {
    /// Write everything to this file as JSON; `-` for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A short run that shows that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
}

/// Wires between two processes of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum BenchWire {
    /// Shared memory, copied by both drivers
    Memif,
    /// Virtio: a vhost port at the server, a virtio_user port at the client
    Vhost,
    /// Two rings within one process, where nothing is copied: the server's memory is not told apart; without synflood
    Ring,
    /// The kernel: a veth pair in a network namespace that is made for it; takes root
    #[value(name = "af_packet")]
    AfPacket,
}

impl BenchWire {
    const fn word(self) -> &'static str {
        match self {
            Self::Memif => "memif",
            Self::Vhost => "vhost",
            Self::Ring => "ring",
            Self::AfPacket => "af_packet",
        }
    }
}

/// Runs the benchmark that was named.
pub(crate) fn bench(arguments: &BenchArguments) -> Result<(), Failure> {
    match &arguments.name {
        Name::C10m(arguments) => c10m::run(arguments),
        Name::Rps(arguments) => requests::rps(arguments),
        Name::Cps(arguments) => requests::cps(arguments),
        Name::Stream(arguments) => stream::run(arguments),
        Name::Latency(arguments) => requests::latency(arguments),
        Name::Parse(arguments) => micro::parsing(arguments),
        Name::Lookup(arguments) => micro::lookups(arguments),
        Name::Synflood(arguments) => synflood::run(arguments),
        Name::Scaling(arguments) => scaling::run(arguments),
        Name::Linux(arguments) => linux::run(arguments),
    }
}

/// What a benchmark works with.
struct Bench {
    ends: Ends,
    progress: Progress,
    quick: bool,
    /// The wire without a stack, by length of frame and frames under way.
    bare: BTreeMap<(u32, u32), bare::Bare>,
    /// Opened before the run: a long one must not fail at its end.
    json: Option<Output>,
}

enum Output {
    Standard,
    File(File),
}

/// The head of every report.
#[derive(Serialize)]
struct Report<'a, T> {
    bench: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<[u16; 2]>,
    quick: bool,
    machine: Machine,
    versions: Versions,
    #[serde(flatten)]
    figures: &'a T,
}

#[derive(Serialize)]
struct Versions {
    crore: &'static str,
    dpdk: String,
}

impl Bench {
    fn new(common: &Common) -> Result<Self, Failure> {
        let allowed = allowed_cores();
        let cores = match common.cores[..] {
            [] => allowed.clone(),
            [_, _] => common.cores.clone(),
            _ => return Err(ConfigError::of_origin("--cores", "wants two, as in 0,1").into()),
        };
        let &[server, client, ..] = &cores[..] else {
            return Err(Failure::run(format!(
                "both ends want a core of their own, and this process may use {} (`taskset -p $$`)",
                allowed.len()
            )));
        };
        if server == client || ![server, client].iter().all(|core| allowed.contains(core)) {
            let message = format!("wants two different ones of {allowed:?}");
            return Err(ConfigError::of_origin("--cores", message).into());
        }
        Ok(Self {
            ends: Ends::new(common.wire, [server, client], Interrupted::watch()?)?,
            progress: Progress::new(),
            quick: common.quick,
            bare: BTreeMap::new(),
            json: Output::of(common.json.as_deref())?,
        })
    }

    /// How long something is measured that would be measured for so long.
    fn seconds(&self, usual: u64) -> u64 {
        if self.quick { 1 } else { usual }
    }

    /// Writes the report; says on standard output, line by line, what `table` has.
    fn report(self, bench: &'static str, figures: &impl Serialize, table: &[String]) -> Result<(), Failure> {
        let Self {
            ends,
            progress,
            quick,
            bare: _,
            json,
        } = self;
        drop(progress);
        let report = Report {
            bench,
            wire: Some(ends.wire.word()),
            cores: Some(ends.cores),
            quick,
            machine: Machine::read(),
            versions: Versions::of_this(),
            figures,
        };
        write(&report, json, table)
    }
}

/// The report of a benchmark in this process.
fn report_of(
    bench: &'static str,
    common: &MicroCommon,
    figures: &impl Serialize,
    table: &[String],
) -> Result<(), Failure> {
    let report = Report {
        bench,
        wire: None,
        cores: None,
        quick: common.quick,
        machine: Machine::read(),
        versions: Versions::of_this(),
        figures,
    };
    write(&report, Output::of(common.json.as_deref())?, table)
}

impl Output {
    fn of(path: Option<&Path>) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        if path.as_os_str() == "-" {
            return Ok(Some(Self::Standard));
        }
        let file = File::create(path)
            .map_err(|e| ConfigError::of_origin("--json", format!("{}: {e}", path.display())))?;
        Ok(Some(Self::File(file)))
    }
}

impl Versions {
    fn of_this() -> Self {
        Self {
            crore: crore_version(),
            dpdk: crore_dpdk::version(),
        }
    }
}

/// Writes the report; says on standard output, line by line, what `table` has.
fn write<T: Serialize>(report: &Report<T>, json: Option<Output>, table: &[String]) -> Result<(), Failure> {
    match json {
        Some(Output::Standard) => return crate::summary::print_json(report),
        Some(Output::File(file)) => serde_json::to_writer_pretty(&file, report)
            .map_err(|e| Failure::run(format!("the report can't be written: {e}")))?,
        None => {}
    }
    let wire = report.wire.map_or_else(String::new, |wire| format!(", {wire}"));
    println!(
        "crore bench {}{wire}: {}",
        report.bench,
        report.machine.in_words()
    );
    for line in table {
        println!("{line}");
    }
    Ok(())
}

/// An error when any of these is not zero.
fn wrong(counts: &[(&str, u64)]) -> Result<(), Failure> {
    let said: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{what}: {count}"))
        .collect();
    if said.is_empty() {
        return Ok(());
    }
    Err(Failure::run(said.join(", ")))
}

/// A figure of an end's report; zero where there is none.
fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or(0.0)
}

/// A whole number with commas between its thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (value, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (-12_345_678.0, "-12,345,678"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }
}
