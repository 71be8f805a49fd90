//! `crore-script`: runs scripts in packetdrill's language against Crore.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use crore_sim::script::{self, Outcome, Verdict};
use serde::Serialize;

/// Runs scripts in packetdrill's language against Crore's TCP, in virtual time.
///
/// A script says which socket calls an application makes, which packets come in
/// (<), and which packets must come out (>), and when. It needs no root, no network
/// and no waiting.
#[derive(Parser)]
#[command(
    version,
    after_help = "A script:
  // rfc9293 section 3.5: a SYN to a listener is answered, and acknowledged.
  0   socket(..., SOCK_STREAM, IPPROTO_TCP) = 3     the application calls; `...` is the usual value
  +0  bind(3, ..., ...) = 0                         +0: at the time of the line before
  +0  listen(3, 1) = 0
  +.1 < S 0:0(0) win 65535 <mss 1460>               a packet comes in
  +0  > S. 0:0(0) ack 1 <...>                       this one must go out, with any options
  +.1 < . 1:1(0) ack 1 win 65535
  +0  accept(3, ..., ...) = 4
  +.1...0.3 read(4, ..., 10) = 10                   a call that waits from 0.1 to 0.3
  +.2 < P. 1:11(10) ack 1 win 65535
  +0  > . 1:1(0) ack 11

Times: 1.5 (since the start), +1.5 (since the line before), +0~+.5 (a range), * (any).
Options stand at the top: --ip_version=ipv6, --tolerance_usecs=4000, --tcp_ts_tick_usecs=1000,
  --mtu=1500, --strict (nothing unexpected may be left at the end), --knob_NAME=VALUE
  (a knob of the host: --knob_delayed_ack_ms=40). Lines such as `sysctl net.ipv4.tcp_sack=0`
  set knobs too; those without a meaning here are named in the verdict.

Verdicts: pass; fail (with what was expected and what was seen); does not apply (the script
asks for what is not TCP's business, or for an assertion that can't be judged here).

The exit code is 0 when nothing failed, 1 when a script failed, 2 when one can't be read.
docs/TESTING.md says more."
)]
struct Arguments {
    /// Scripts, or folders with scripts (*.pkt).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one line for each script that passed, too.
    #[arg(long, short)]
    verbose: bool,
    /// Print what happened in each script: calls that came back, and packets.
    #[arg(long)]
    trace: bool,
    /// Read the scripts without running them.
    #[arg(long)]
    check: bool,
    /// Print the outcome of every script and the summary as JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// What came of all scripts.
#[derive(Serialize, Default)]
struct Summary {
    scripts: u64,
    passed: u64,
    failed: u64,
    not_applicable: u64,
    unreadable: u64,
    packets: u64,
    virtual_seconds: f64,
    wall_seconds: f64,
    outcomes: Vec<Named>,
}

/// What came of one.
#[derive(Serialize)]
struct Named {
    file: String,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut summary = Summary::default();
    for path in arguments.files.iter().flat_map(|path| scripts(path)) {
        one(&path, &arguments, &mut summary);
    }
    summary.wall_seconds = started.elapsed().as_secs_f64();
    conclude(&summary, &arguments)
}

/// The scripts that a path stands for, in order.
fn scripts(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return vec![path.to_owned()];
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "pkt"))
        .collect();
    found.sort();
    found
        .iter()
        .flat_map(|path| {
            if path.is_dir() {
                scripts(path)
            } else {
                vec![path.clone()]
            }
        })
        .collect()
}

fn one(path: &Path, arguments: &Arguments, summary: &mut Summary) {
    summary.scripts += 1;
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{file}: {error}"));
    let read = text.and_then(|text| script::parse(&text).map_err(|error| format!("{file}:{error}")));
    let (outcome, error) = match read {
        Ok(_) if arguments.check => (None, None),
        Ok(script) => (Some(played(&script, arguments)), None),
        Err(error) => (None, Some(error)),
    };
    if let Some(error) = &error {
        summary.unreadable += 1;
        eprintln!("{error}");
    }
    if let Some(outcome) = &outcome {
        summary.packets += outcome.packets;
        summary.virtual_seconds += outcome.virtual_micros as f64 / 1e6;
        let told = match &outcome.verdict {
            Verdict::Pass => {
                summary.passed += 1;
                arguments.verbose.then(|| format!("{file}: pass"))
            }
            Verdict::Fail(failure) => {
                summary.failed += 1;
                Some(format!("{file}:{}: fail: {failure}", failure.line))
            }
            Verdict::NotApplicable(reason) => {
                summary.not_applicable += 1;
                Some(format!("{file}: does not apply: {reason}"))
            }
        };
        if let Some(told) = told {
            eprintln!("{told}");
            outcome
                .notes
                .iter()
                .for_each(|note| eprintln!("    note      {note}"));
        }
    }
    if arguments.json {
        summary.outcomes.push(Named { file, outcome, error });
    }
}

/// Plays a script; what happened is printed, or forgotten.
fn played(script: &script::ast::Script, arguments: &Arguments) -> Outcome {
    let mut outcome = script::run(script);
    let trace = core::mem::take(&mut outcome.trace);
    if arguments.trace {
        trace.iter().for_each(|line| eprintln!("    {line}"));
    }
    outcome
}

fn conclude(summary: &Summary, arguments: &Arguments) -> ExitCode {
    if arguments.json {
        match serde_json::to_string_pretty(summary) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("no JSON: {error}"),
        }
    } else {
        println!(
            "{} scripts: {} passed, {} failed, {} do not apply, {} could not be read ({} packets, {:.1} s virtual, {:.2} s real)",
            summary.scripts,
            summary.passed,
            summary.failed,
            summary.not_applicable,
            summary.unreadable,
            summary.packets,
            summary.virtual_seconds,
            summary.wall_seconds,
        );
    }
    match (summary.unreadable, summary.failed) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}
