//! `crore bench scaling`: what a second core brings.
//!
//! The load costs about as much as the server, so it is counted: what grows is
//! the number of pairs, a server's shard and a client's, and the cores that they
//! take. With four cores each shard has its own; with two or three both shards of
//! a pair share a core, and let each other have it in turn.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::ends::{Role, SERVER, finish};
use super::{Bench, Common, grouped, number, wrong};
use crate::failure::Failure;
use crate::run::allowed_cores;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Bytes of a request and of its reply
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1400))]
    size: u32,
    /// Connections of each pair of shards, each with one request under way
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How long each row is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Serialize)]
struct Figures {
    size: u32,
    connections_per_pair: u32,
    /// Whether the two shards of a pair share a core, for want of four.
    pairs_share_a_core: bool,
    rows: Vec<Row>,
    /// Requests a second of two pairs, divided by those of one: the median of the rounds.
    ratio: f64,
    ratios: Vec<f64>,
}

#[derive(Serialize)]
struct Row {
    /// Shards of the server, and as many of the client.
    shards: u16,
    server_cores: Vec<u16>,
    client_cores: Vec<u16>,
    requests_per_second: f64,
    /// Frames that came to a shard that was not theirs, at both ends.
    rescued: u64,
    mismatches: u64,
    failures: u64,
}

/// One pair and two are measured in turn, so that a machine that becomes slower
/// does so for both.
const ROUNDS: usize = 3;
const WARM_UP: f64 = 0.5;
const SLACK: Duration = Duration::from_secs(60);

/// One pair of shards, then two.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut bench = Bench::new(&arguments.common)?;
    let seconds = bench.seconds(arguments.seconds);
    let rounds = if bench.quick { 1 } else { ROUNDS };
    let cores = in_order(bench.ends.cores);
    let share = cores.len() < 4;
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let mut rate = [0.0; 2];
        for (shards, rate) in (1u16..).zip(&mut rate) {
            bench
                .progress
                .step(format!("{shards} of 2 pairs, {round} of {rounds}"));
            let row = row(&mut bench, arguments, shards, &cores, seconds)?;
            *rate = row.requests_per_second;
            rows.push(row);
        }
        ratios.push(rate[1] / rate[0]);
    }
    let mut sorted = ratios.clone();
    sorted.sort_by(f64::total_cmp);
    let figures = Figures {
        size: arguments.size,
        connections_per_pair: arguments.connections,
        pairs_share_a_core: share,
        rows,
        ratio: sorted[rounds / 2],
        ratios,
    };
    let table = figures.table();
    let sum = |of: fn(&Row) -> u64| figures.rows.iter().map(of).sum();
    let (mismatches, failures) = (sum(|row| row.mismatches), sum(|row| row.failures));
    bench.report("scaling", &figures, &table)?;
    wrong(&[("wrong replies", mismatches), ("failed connections", failures)])
}

/// All cores that may be used, those first that were named.
fn in_order(first: [u16; 2]) -> Vec<u16> {
    let mut cores = first.to_vec();
    cores.extend(allowed_cores().into_iter().filter(|core| !first.contains(core)));
    cores
}

/// The cores of the server's shards and of the client's.
fn divided(cores: &[u16], shards: u16) -> (Vec<u16>, Vec<u16>) {
    let shards = usize::from(shards);
    if cores.len() < 4 {
        return (cores[..shards].to_vec(), cores[..shards].to_vec());
    }
    let every_second = |from: usize| cores[from..].iter().step_by(2).take(shards).copied().collect();
    (every_second(0), every_second(1))
}

fn row(
    bench: &mut Bench,
    arguments: &Arguments,
    shards: u16,
    cores: &[u16],
    seconds: u64,
) -> Result<Row, Failure> {
    let (server_cores, client_cores) = divided(cores, shards);
    let placed = |role: Role, cores: &[u16]| {
        let role = role.set("eal.cores", format!("{cores:?}"));
        if cores_are_shared(&server_cores, &client_cores) {
            role.set("serve.poll", "\"yield\"")
        } else {
            role
        }
    };
    let client = format!(
        "load echo --target {SERVER} --size {} --connections {} --requests {} --seconds {seconds} --warm-up {WARM_UP}",
        arguments.size,
        arguments.connections * u32::from(shards),
        u64::MAX,
    );
    let server = placed(Role::new("serve echo"), &server_cores);
    let client = placed(Role::new(&client), &client_cores);
    let (server, client) = bench.ends.pair(&server, &client)?;
    let (ended, served) = finish(client, server, SLACK + Duration::from_secs(seconds))?;
    let found = &ended["client"];
    Ok(Row {
        shards,
        requests_per_second: number(found, "requests_per_second"),
        rescued: (number(&ended, "rescued") + number(&served, "rescued")) as u64,
        mismatches: number(found, "mismatches") as u64,
        failures: (number(found, "connect_failures") + number(found, "broken")) as u64,
        server_cores,
        client_cores,
    })
}

fn cores_are_shared(server: &[u16], client: &[u16]) -> bool {
    server.iter().any(|core| client.contains(core))
}

impl Figures {
    fn table(&self) -> Vec<String> {
        let mut table = vec![format!(
            "{:>6}{:>15}{:>15}{:>16}{:>10}",
            "pairs", "server cores", "client cores", "requests/s", "rescued"
        )];
        table.extend(self.rows.iter().map(|row| {
            format!(
                "{:>6}{:>15}{:>15}{:>16}{:>10}",
                row.shards,
                format!("{:?}", row.server_cores),
                format!("{:?}", row.client_cores),
                grouped(row.requests_per_second),
                grouped(row.rescued as f64),
            )
        }));
        table.push(format!("two pairs against one: {:.2}", self.ratio));
        if self.pairs_share_a_core {
            table.push(
                "fewer than four cores: a server's shard and a client's share each core, so this is what two \
                 cores do together against one, load included; a server alone on its cores is not shown"
                    .into(),
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::divided;

    #[test]
    fn each_shard_has_a_core_of_its_own_where_there_are_four() {
        for (cores, shards, server, client) in [
            (&[0, 1, 2, 3][..], 1, &[0][..], &[1][..]),
            (&[0, 1, 2, 3], 2, &[0, 2], &[1, 3]),
            (&[0, 1], 1, &[0], &[0]),
            (&[4, 1, 2], 2, &[4, 1], &[4, 1]),
        ] {
            assert_eq!(divided(cores, shards), (server.to_vec(), client.to_vec()));
        }
    }
}
