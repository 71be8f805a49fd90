//! `vopr`: runs simulated worlds from seeds until one fails.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use crore_sim::{Failure, Kind, Report, Scenario, compare_parking, run};
use serde::Serialize;

/// Plays two hosts against each other under virtual time, seed by seed.
///
/// Every seed determines a scenario: the link between the hosts, what goes
/// wrong on it, their configuration, and the transfers that their applications
/// make. Every byte, every ending and every buffer is checked. The same seed
/// always gives the same frames at the same (virtual) times.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  vopr --seeds 1000             run seeds 0 to 999, stop at the first failure
  vopr --seeds 500 --start 7000 run seeds 7000 to 7499
  vopr --seed 7123              replay one seed; a failure shows its last frames
  vopr --seed 7123 --trace      replay it and print every frame
  vopr --seeds 200 --kind storm only one family of scenarios
  vopr --seeds 100 --parking    connections parked whenever idle, against never parked
  vopr --minutes 30 --kind swarm hunt with seeds that nobody has run before

The exit code is 0 when every seed passed and 1 when one failed."
)]
struct Arguments {
    /// Replay one seed.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "start"])]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// The first seed to run.
    #[arg(long, value_name = "S", default_value_t = 0)]
    start: u64,
    /// Run seeds that nobody has run before (drawn from the clock) for so long.
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "seeds", "start"])]
    minutes: Option<f64>,
    /// Draw scenarios of this family only (by default each seed draws its own).
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Go on after a failure, and list all failing seeds at the end.
    #[arg(long)]
    keep_going: bool,
    /// Run each seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Run each seed with connections parked whenever nothing goes on, and again with
    /// none ever parked, and compare what the applications saw.
    #[arg(long, conflicts_with = "twice")]
    parking: bool,
    /// Print every frame.
    #[arg(long)]
    trace: bool,
    /// Print the summary as JSON on standard output; progress goes to standard error.
    #[arg(long)]
    json: bool,
}

/// What came of it all.
#[derive(Serialize, Default)]
struct Summary {
    /// The first one that was run.
    first_seed: u64,
    seeds: u64,
    failed: Vec<u64>,
    frames: u64,
    bytes: u64,
    faults: u64,
    /// How often connections were parked, and woken.
    parked: u64,
    woken: u64,
    virtual_seconds: f64,
    wall_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Report>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = seeds(&arguments);
    let (started, mut spoke) = (Instant::now(), Instant::now());
    let limit = arguments
        .minutes
        .map(|minutes| Duration::from_secs_f64(60.0 * minutes.max(0.0)));
    let mut summary = Summary {
        first_seed: seeds.start,
        ..Summary::default()
    };
    for seed in seeds {
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            break;
        }
        let scenario = match arguments.kind {
            Some(kind) => Scenario::of(kind, seed),
            None => Scenario::from_seed(seed),
        };
        summary.seeds += 1;
        match play(&scenario, &arguments) {
            Ok(report) => {
                summary.frames += report.frames;
                summary.bytes += report.bytes;
                summary.faults += report.faults;
                summary.parked += report.parked;
                summary.woken += report.woken;
                summary.virtual_seconds += report.virtual_nanos as f64 / 1e9;
                summary.last = Some(report);
            }
            Err(failure) => {
                eprintln!("{failure}\nreplay: vopr --seed {seed}{}", flags(&arguments));
                summary.failed.push(seed);
                if !arguments.keep_going {
                    break;
                }
            }
        }
        if spoke.elapsed().as_secs() >= 2 {
            spoke = Instant::now();
            eprintln!(
                "seed {seed}: {} run, {} failed",
                summary.seeds,
                summary.failed.len()
            );
        }
    }
    summary.wall_seconds = started.elapsed().as_secs_f64();
    conclude(&summary, &arguments);
    // A comparison in which nothing was ever parked and woken compares nothing.
    let vain = arguments.parking && arguments.seed.is_none() && summary.woken == 0;
    if vain {
        eprintln!("no connection was parked and woken: nothing was compared");
    }
    ExitCode::from(u8::from(!summary.failed.is_empty() || vain))
}

fn seeds(arguments: &Arguments) -> core::ops::Range<u64> {
    if let Some(seed) = arguments.seed {
        return seed..seed.saturating_add(1);
    }
    if arguments.minutes.is_some() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        return now.map_or(0, |since| since.as_secs() * 1_000)..u64::MAX;
    }
    arguments.start..arguments.start.saturating_add(arguments.seeds)
}

fn play(scenario: &Scenario, arguments: &Arguments) -> Result<Report, Box<Failure>> {
    if arguments.parking {
        return compare_parking(scenario, arguments.trace).map(|comparison| comparison.forced);
    }
    let report = run(scenario, arguments.trace)?;
    if arguments.twice {
        let again = run(scenario, false)?;
        if again != report {
            return Err(Box::new(Failure {
                seed: scenario.seed,
                scenario: scenario.describe(),
                at: crore_base::Instant::from_nanos(report.virtual_nanos),
                what: format!("not repeatable: {report:?}, then {again:?}"),
                state: Vec::new(),
                trace: Vec::new(),
            }));
        }
    }
    Ok(report)
}

fn flags(arguments: &Arguments) -> String {
    use clap::ValueEnum;
    let name = arguments.kind.and_then(|kind| kind.to_possible_value());
    let mut flags = name.map_or_else(String::new, |value| format!(" --kind {}", value.get_name()));
    if arguments.parking {
        flags.push_str(" --parking");
    }
    flags
}

fn conclude(summary: &Summary, arguments: &Arguments) {
    if arguments.json {
        match serde_json::to_string_pretty(summary) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the summary can't be printed: {error}"),
        }
        return;
    }
    if let (Some(_), Some(report)) = (arguments.seed, &summary.last) {
        println!("{}", report.scenario);
        println!("trace hash {:016x}, drops {:?}", report.trace_hash, report.drops);
    }
    if arguments.parking {
        println!(
            "parking compared: parked {} times, woken {} times, against never",
            summary.parked, summary.woken
        );
    }
    println!(
        "{} seeds from {}, {} failed {:?}: {} frames ({} lost or damaged), {} bytes checked, {:.1} s of virtual time in {:.1} s",
        summary.seeds,
        summary.first_seed,
        summary.failed.len(),
        summary.failed,
        summary.frames,
        summary.faults,
        summary.bytes,
        summary.virtual_seconds,
        summary.wall_seconds,
    );
}
