//! How a program is driven that another one started: by lines on its standard
//! input, each answered by a line of JSON on standard output.
//!
//! Always true: when standard input closes, the program is asked to end, so
//! that it never outlives the one that started it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crore::DropCounters;
use serde::Serialize;

use crate::clock;
use crate::failure::Failure;
use crate::run::Running;
use crate::signals::Interrupted;
use crate::summary::{named, print_json};
use crate::worker::Shared;

/// How often it is looked whether standard input has closed.
const LOOK: Duration = Duration::from_millis(5);

/// How far the program is.
#[derive(Serialize)]
struct Phase {
    phase: &'static str,
}

/// What `stats` is answered by: the figures of all shards of the first kind, at most some tens of
/// milliseconds old.
#[derive(Default, Serialize)]
struct Stats {
    /// What this line answers.
    answer: &'static str,
    /// Connections that the application was told of and has not ended.
    established: u64,
    accepted: u64,
    connected: u64,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    segments_in: u64,
    segments_out: u64,
    resets_in: u64,
    resets_out: u64,
    retransmits: u64,
    ecn_agreed: u64,
    ce_in: u64,
    ece_in: u64,
    drops: BTreeMap<&'static str, u64>,
}

impl Stats {
    fn of(shards: &[Arc<Shared>]) -> Self {
        let mut all = Self {
            answer: "stats",
            ..Self::default()
        };
        for shard in shards {
            let live = shard.live();
            let (counters, app) = (&live.counters, &live.app);
            all.established += live.open as u64;
            all.accepted += counters.accepted;
            all.connected += counters.connected;
            all.requests += app.requests;
            all.bytes_in += app.bytes_in;
            all.bytes_out += app.bytes_out;
            all.segments_in += counters.segments_in;
            all.segments_out += counters.segments_out;
            all.resets_in += counters.resets_in;
            all.resets_out += counters.resets_out;
            all.retransmits += counters.retransmits;
            all.ecn_agreed += counters.ecn_agreed;
            all.ce_in += counters.ce_in;
            all.ece_in += counters.ece_in;
            all.add_drops(&counters.drops);
        }
        all
    }

    fn add_drops(&mut self, drops: &DropCounters) {
        for (name, count) in named(drops) {
            *self.drops.entry(name).or_default() += count;
        }
    }
}

/// Says that the wire is up and commands are taken.
pub(crate) fn ready() -> Result<(), Failure> {
    print_json(&Phase { phase: "ready" })
}

/// Answers `stats` until standard input closes, which asks for the end.
pub(crate) fn answer(running: &Running, interrupted: &Interrupted) -> Result<(), Failure> {
    let shards = running.figures();
    listen(interrupted, move |line| match line {
        "stats" => tell_stats(&shards),
        other => eprintln!("not understood: {other:?}"),
    })
}

/// Answers `stats`.
pub(crate) fn tell_stats(shards: &[Arc<Shared>]) {
    // Whoever asked may be gone.
    let _ = print_json(&Stats::of(shards));
}

/// Asks for the end when standard input closes.
pub(crate) fn end_with_input(interrupted: &Interrupted) -> Result<(), Failure> {
    listen(interrupted, |_| {})
}

/// Says that nothing is polled any more, and waits until standard input closes.
///
/// When one end of a memif goes, the driver unmaps the rings at the other, on a
/// thread of its own and without regard to one that is reading them (DPDK 22.11,
/// `memif_disconnect`). So one that starts both ends has both stop before either goes.
pub(crate) fn stopped(interrupted: &Interrupted) -> Result<(), Failure> {
    print_json(&Phase { phase: "stopped" })?;
    while !interrupted.asked() {
        clock::rest(LOOK);
    }
    Ok(())
}

/// Hands on each line of standard input, and asks for the end when it closes.
pub(crate) fn listen(
    interrupted: &Interrupted,
    mut on_line: impl FnMut(&str) + Send + 'static,
) -> Result<(), Failure> {
    let interrupted = interrupted.clone();
    thread::Builder::new()
        .name("control".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                on_line(line.trim());
            }
            interrupted.ask();
        })
        .map(drop)
        .map_err(|e| Failure::run(format!("no thread: {e}")))
}
