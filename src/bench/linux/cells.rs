//! The matrix: each way, each direction, each congestion control, against Linux
//! to Linux over the same way.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::lane::{Pair, Way};
use super::{Arguments, Congestion, Direction, Found, GOODPUT_MIN, Run, median};
use crate::failure::Failure;

/// What is done to frames, besides delay and bottleneck, in tenths of a percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Harm {
    loss: u32,
    reorder: u32,
}

/// One run of the matrix.
#[derive(Clone, Debug)]
pub(super) struct Job {
    harm: Harm,
    rtt_ms: u64,
    congestion: Congestion,
    pair: Pair,
    repeat: u64,
}

/// One cell, as found.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    loss_percent: f64,
    reorder_percent: f64,
    rtt_ms: u64,
    /// Connections at once: several where chance decides, so that it evens out.
    connections: u32,
    direction: Direction,
    /// The sender's.
    congestion: Congestion,
    crore_mbit_per_second: f64,
    linux_mbit_per_second: f64,
    ratio: f64,
    /// Within a tenth of Linux, or better.
    reached: bool,
    /// Each repeat.
    crore: Vec<Measured>,
    linux: Vec<Measured>,
}

#[derive(Clone, Debug, Serialize)]
struct Measured {
    mbit_per_second: f64,
    retransmits: u64,
    wrong: u64,
    relay: Value,
}

impl Cell {
    pub(super) fn wrong(&self) -> u64 {
        self.crore.iter().chain(&self.linux).map(|one| one.wrong).sum()
    }
}

impl Harm {
    fn all(arguments: &Arguments) -> Vec<Self> {
        let tenths = |percent: f64| (percent * 10.0).round() as u32;
        let losses = arguments.loss.iter().map(|&loss| Self {
            loss: tenths(loss),
            reorder: 0,
        });
        let reorders = arguments.reorder.iter().map(|&reorder| Self {
            loss: 0,
            reorder: tenths(reorder),
        });
        losses.chain(reorders).collect()
    }

    /// The fewer segments a connection carries in its time, the more chance decides
    /// how it fares: so many at once that they even out, and do not fill the
    /// bottleneck as far as losses allow (Mathis and others, "The Macroscopic
    /// Behavior of the TCP Congestion Avoidance Algorithm", 1997).
    fn connections(self, arguments: &Arguments, rtt_ms: u64) -> u32 {
        const SEGMENT_BITS: f64 = 1448.0 * 8.0;
        const PART: f64 = 0.3;
        if self.loss == 0 {
            return 1;
        }
        let chance = f64::from(self.loss) / 1000.0;
        let seconds = (rtt_ms as f64 / 1000.0).max(0.001);
        let one = SEGMENT_BITS * 1.22 / (seconds * chance.sqrt());
        ((arguments.rate as f64 * 1e6 * PART / one) as u32).clamp(4, 24)
    }
}

/// All runs. Those of a cell and of what it is compared with stand together, so
/// that they meet the machine in the same mood.
pub(super) fn jobs(arguments: &Arguments) -> Vec<Job> {
    let mut jobs = Vec::new();
    let pairs = |congestion: Congestion| {
        let mut pairs = vec![Pair::Linux];
        for direction in &arguments.direction {
            match direction {
                Direction::Sends if super::crore_has(congestion) => pairs.push(Pair::CroreSends),
                Direction::Sends => {}
                Direction::Receives => pairs.push(Pair::CroreReceives),
            }
        }
        pairs
    };
    for harm in Harm::all(arguments) {
        for &rtt_ms in &arguments.rtt {
            for &congestion in &arguments.congestion {
                for repeat in 0..arguments.repeats() {
                    jobs.extend(pairs(congestion).into_iter().map(|pair| Job {
                        harm,
                        rtt_ms,
                        congestion,
                        pair,
                        repeat,
                    }));
                }
            }
        }
    }
    jobs
}

pub(super) fn run_of(arguments: &Arguments, job: &Job) -> Run {
    let Harm { loss, reorder } = job.harm;
    Run {
        pair: job.pair,
        way: Way {
            faults: format!(
                "{},loss={},reorder={},seed={}",
                arguments.way(job.rtt_ms),
                f64::from(loss) / 1000.0,
                f64::from(reorder) / 1000.0,
                arguments.seed + job.repeat
            ),
        },
        congestion: job.congestion.word(),
        connections: job.harm.connections(arguments, job.rtt_ms),
        warm_up: 0,
        seconds: arguments.seconds(),
    }
}

/// The cells, of what the jobs found.
pub(super) fn evaluate(arguments: &Arguments, jobs: &[Job], found: &[Result<Found, Failure>]) -> Vec<Cell> {
    let mut by_cell: BTreeMap<(Harm, u64, Congestion, Pair), Vec<Measured>> = BTreeMap::new();
    for (job, found) in jobs.iter().zip(found) {
        if let Ok(found) = found {
            by_cell
                .entry((job.harm, job.rtt_ms, job.congestion, job.pair))
                .or_default()
                .push(Measured {
                    mbit_per_second: found.bits_per_second / 1e6,
                    retransmits: found.retransmits,
                    wrong: found.wrong,
                    relay: found.relay.clone(),
                });
        }
    }
    let of = |key| by_cell.get(&key).cloned().unwrap_or_default();
    let middle =
        |all: &[Measured]| median(&mut all.iter().map(|one| one.mbit_per_second).collect::<Vec<_>>());
    let mut cells = Vec::new();
    for &direction in &arguments.direction {
        let pair = match direction {
            Direction::Sends => Pair::CroreSends,
            Direction::Receives => Pair::CroreReceives,
        };
        for &(harm, rtt_ms, congestion, _) in by_cell.keys().filter(|key| key.3 == pair) {
            let crore = of((harm, rtt_ms, congestion, pair));
            let linux = of((harm, rtt_ms, congestion, Pair::Linux));
            let (ours, theirs) = (middle(&crore), middle(&linux));
            let ratio = if theirs > 0.0 { ours / theirs } else { 0.0 };
            cells.push(Cell {
                loss_percent: f64::from(harm.loss) / 10.0,
                reorder_percent: f64::from(harm.reorder) / 10.0,
                rtt_ms,
                connections: harm.connections(arguments, rtt_ms),
                direction,
                congestion,
                crore_mbit_per_second: ours,
                linux_mbit_per_second: theirs,
                ratio,
                reached: ratio >= GOODPUT_MIN,
                crore,
                linux,
            });
        }
    }
    cells
}

pub(super) fn table(cells: &[Cell]) -> Vec<String> {
    if cells.is_empty() {
        return Vec::new();
    }
    let mut table = vec![format!(
        "{:<10}{:<8}{:>7}{:>9}{:>9}{:>7}{:>14}{:>14}{:>8}",
        "Crore", "sender", "loss %", "reord. %", "rtt ms", "conns", "Crore Mbit/s", "Linux Mbit/s", "ratio"
    )];
    table.extend(cells.iter().map(|cell| {
        format!(
            "{:<10}{:<8}{:>7}{:>9}{:>9}{:>7}{:>14.2}{:>14.2}{:>8.2}{}",
            format!("{:?}", cell.direction).to_lowercase(),
            cell.congestion.word(),
            cell.loss_percent,
            cell.reorder_percent,
            cell.rtt_ms,
            cell.connections,
            cell.crore_mbit_per_second,
            cell.linux_mbit_per_second,
            cell.ratio,
            if cell.reached { "" } else { "  below" },
        )
    }));
    let reached = cells.iter().filter(|cell| cell.reached).count();
    table.push(format!(
        "{reached} of {} cells within a tenth of Linux, or better",
        cells.len()
    ));
    table
}
