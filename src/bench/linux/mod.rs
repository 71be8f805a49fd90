//! `crore bench linux`: goodput over bad networks, against what Linux's TCP makes
//! of the same ones, and whether both share a bottleneck fairly.
//!
//! Where to look: `lane` makes hosts and the way between them and measures one
//! run; `cells` has the matrix and its verdict; `fairness` the shared bottleneck.

mod cells;
mod fairness;
mod lane;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::{Args, ValueEnum};
use crore::config::ConfigError;
use serde::Serialize;

use self::cells::Cell;
use self::fairness::Sharing;
use self::lane::{Found, Lane, Run};
use super::ends::Folder;
use super::machine::Machine;
use super::progress::Progress;
use super::{MicroCommon, Output, Report, Versions, write, wrong};
use crate::failure::Failure;
use crate::run::allowed_cores;
use crate::signals::Interrupted;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: MicroCommon,
    /// Frames of a hundred that are lost, each way
    #[arg(
        long,
        value_name = "PERCENT",
        value_delimiter = ',',
        default_value = "0,0.1,1,5"
    )]
    loss: Vec<f64>,
    /// Round trips besides the machine's own, half of each on either way
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "0,10,100")]
    rtt: Vec<u64>,
    /// Frames of a hundred that are held back by up to a millisecond, in rows of their own
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', num_args = 0.., default_value = "5")]
    reorder: Vec<f64>,
    /// Whether Crore sends to Linux or receives from it
    #[arg(long, value_delimiter = ',', default_value = "sends,receives")]
    direction: Vec<Direction>,
    /// Linux's congestion control: as the sender to Crore, and as that with which Crore's own is compared
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "cubic,reno,bbr"
    )]
    congestion: Vec<Congestion>,
    /// The bottleneck, each way; so slow that no processor is the limit
    #[arg(long, value_name = "MBIT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    rate: u64,
    /// How long each run is measured, from the first connection on
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often each cell is measured, with another seed each time; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    repeats: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs at once, each over a way of its own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    lanes: u16,
    /// What is measured
    #[arg(long, value_delimiter = ',', default_value = "goodput,fairness")]
    parts: Vec<Part>,
    /// How long sharing is measured, after half of that
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    sharing_seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Sends,
    Receives,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Congestion {
    Cubic,
    Reno,
    Bbr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// The matrix: loss, reordering and delay in both directions
    Goodput,
    /// Two streams of Crore's and two of Linux's through one bottleneck
    Fairness,
}

impl Congestion {
    /// What the kernel calls it.
    const fn word(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Reno => "reno",
            Self::Bbr => "bbr",
        }
    }
}

/// The setting that gives Crore the congestion control that Linux calls `name`.
fn crore_congestion(name: &str) -> Option<String> {
    let ours = match name {
        "cubic" => "cubic",
        "reno" => "newreno",
        "bbr" => "bbr",
        _ => return None,
    };
    Some(format!("tcp.congestion={ours}"))
}

/// Whether Crore has one of its own to compare with Linux's.
const fn crore_has(congestion: Congestion) -> bool {
    matches!(congestion, Congestion::Cubic | Congestion::Reno | Congestion::Bbr)
}

/// How much of Linux's goodput has to be reached in every cell.
const GOODPUT_MIN: f64 = 0.9;
/// How even the shares of a bottleneck have to be (Jain's index).
const FAIRNESS_MIN: f64 = 0.9;

#[derive(Serialize)]
struct Figures {
    rate_mbit_per_second: u64,
    seconds: u64,
    repeats: u64,
    first_seed: u64,
    lanes: usize,
    cells: Vec<Cell>,
    sharing: Vec<Sharing>,
    /// Runs that came to nothing, and why.
    failed: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check()?;
    let json = Output::of(arguments.common.json.as_deref())?;
    let interrupted = Interrupted::watch()?;
    let folder = Folder::new()?;
    let cores = allowed_cores();
    let lanes = (0..usize::from(arguments.lanes))
        .map(|number| {
            let core = cores.get(number % cores.len().max(1)).copied().unwrap_or(0);
            Lane::new(number, core, &folder.0, interrupted.clone())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut progress = Progress::new();
    let mut figures = Figures {
        rate_mbit_per_second: arguments.rate,
        seconds: arguments.seconds(),
        repeats: arguments.repeats(),
        first_seed: arguments.seed,
        lanes: lanes.len(),
        cells: Vec::new(),
        sharing: Vec::new(),
        failed: Vec::new(),
    };
    if arguments.parts.contains(&Part::Goodput) {
        let jobs = cells::jobs(arguments);
        let runs: Vec<Run> = jobs.iter().map(|job| cells::run_of(arguments, job)).collect();
        let found = all(&lanes, &runs, &interrupted, &mut progress, Lane::run)?;
        figures.cells = cells::evaluate(arguments, &jobs, &found);
        figures.note_failures(&runs, &found);
    }
    if arguments.parts.contains(&Part::Fairness) {
        let runs = fairness::runs(arguments);
        let found = all(&lanes, &runs, &interrupted, &mut progress, Lane::side_by_side)?;
        figures.sharing = fairness::evaluate(&runs, &found);
        figures.note_failures(&runs, &found);
    }
    drop(progress);
    let report = Report {
        bench: "linux",
        wire: None,
        cores: None,
        quick: arguments.common.quick,
        machine: Machine::read(),
        versions: Versions::of_this(),
        figures: &figures,
    };
    write(&report, json, &figures.table())?;
    let mismatches = figures.cells.iter().map(Cell::wrong).sum::<u64>();
    let shared = figures.sharing.iter().map(|sharing| sharing.wrong).sum();
    wrong(&[
        ("wrong bytes or failed connections", mismatches),
        (
            "wrong bytes or failed connections where a bottleneck was shared",
            shared,
        ),
        ("runs that came to nothing", figures.failed.len() as u64),
    ])
}

impl Arguments {
    fn check(&self) -> Result<(), Failure> {
        let percents = self.loss.iter().chain(&self.reorder);
        if percents.clone().any(|percent| !(0.0..=100.0).contains(percent)) {
            return Err(ConfigError::of_origin("--loss, --reorder", "take percents, 0 to 100").into());
        }
        if self.rtt.iter().any(|&ms| ms > 10_000 || ms % 2 == 1) {
            let message = "takes even numbers of milliseconds, at most 10,000";
            return Err(ConfigError::of_origin("--rtt", message).into());
        }
        Ok(())
    }

    fn seconds(&self) -> u64 {
        if self.common.quick { 1 } else { self.seconds }
    }

    fn repeats(&self) -> u64 {
        if self.common.quick { 1 } else { self.repeats }
    }

    /// The way's bottleneck and delay, as a relay takes them: the queue holds what
    /// a round trip carries, and 20 ms at least.
    fn way(&self, rtt_ms: u64) -> String {
        const QUEUE_MIN_MS: u64 = 20;
        let bytes_per_ms = self.rate * 1_000_000 / 8 / 1000;
        let queue = bytes_per_ms * rtt_ms.max(QUEUE_MIN_MS);
        // The smallest frames, at the rate, for the time that they are under way.
        let held = bytes_per_ms * (rtt_ms.max(QUEUE_MIN_MS) + rtt_ms) / 60;
        format!(
            "delay_ms={},rate_kbit_per_second={},queue_bytes={queue},held_frames={}",
            rtt_ms / 2,
            self.rate * 1000,
            held.clamp(4096, 1 << 20),
        )
    }
}

impl Figures {
    fn note_failures<T>(&mut self, runs: &[Run], found: &[Result<T, Failure>]) {
        for (run, found) in runs.iter().zip(found) {
            if let Err(failure) = found {
                self.failed.push(format!(
                    "{:?}, {}, {}: {failure}",
                    run.pair, run.congestion, run.way.faults
                ));
            }
        }
    }

    fn table(&self) -> Vec<String> {
        let mut table = cells::table(&self.cells);
        table.extend(fairness::table(&self.sharing));
        table.extend(
            self.failed
                .iter()
                .map(|failed| format!("came to nothing: {failed}")),
        );
        table
    }
}

/// Does all runs, as many at once as there are lanes; results in the runs' order.
fn all<T: Send>(
    lanes: &[Lane],
    runs: &[Run],
    interrupted: &Interrupted,
    progress: &mut Progress,
    measure: impl Fn(&Lane, &Run) -> Result<T, Failure> + Sync,
) -> Result<Vec<Result<T, Failure>>, Failure> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(runs.len()));
    let (told, heard) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        for lane in lanes {
            let (next, found, measure, told) = (&next, &found, &measure, told.clone());
            scope.spawn(move || {
                while !interrupted.asked() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(index) else { return };
                    let one = measure(lane, run);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.push((index, one));
                    let _ = told.send(found.len());
                }
            });
        }
        drop(told);
        progress.step(format!("{} runs", runs.len()));
        for done in heard {
            progress.tick(&format!("{done} done"));
        }
    });
    if interrupted.asked() {
        return Err(Failure::run("interrupted"));
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, one)| one).collect())
}

/// The one in the middle, or the mean of the two there; zero of none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 30.0]), 3.0);
    }
}
