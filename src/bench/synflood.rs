//! `crore bench synflood`: what is left for honest clients.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::ends::{CLIENT_PREFIX, Role, SERVER, end};
use super::{Bench, BenchWire, Common, bare, grouped, number, wrong};
use crate::failure::Failure;
use crore::config::ConfigError;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Connections of the honest clients at once: connect, 64 bytes there and back, close
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Handshakes that the server keeps (stack.backlog)
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    backlog: u32,
    /// Floods, in hundredths of what the server takes when there is nothing else; 100: as fast as the wire goes
    #[arg(long, value_delimiter = ',', default_value = "25,50,75,100", value_parser = clap::value_parser!(u64).range(1..=100))]
    percent: Vec<u64>,
    /// How long each row is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Serialize)]
struct Figures {
    connections: u32,
    backlog: u32,
    /// SYNs a second that the server takes when there is nearly nothing else.
    syns_per_second_alone: f64,
    /// Connections a second of the honest clients without a flood.
    honest_per_second_alone: f64,
    forwarder_per_second: f64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    percent: u64,
    syns_per_second: f64,
    syn_acks_per_second: f64,
    honest_per_second: f64,
    /// What the flood leaves: the honest clients' rate without it, times the
    /// share of the server that the flood does not take.
    spare_per_second: f64,
    /// Of that, what they got; absent where the flood leaves nearly nothing.
    spare_ratio: Option<f64>,
    p50_us: f64,
    p99_us: f64,
    refused: u64,
    broken: u64,
    mismatches: u64,
    /// The server's memory when the flood begins, and when it has ended.
    server_bytes_before: u64,
    server_bytes_after: u64,
    /// What the server threw away, by reason.
    drops: Value,
}

const SIZE: u32 = 64;
/// The length of a SYN that is sent.
const SYN_FRAME: u32 = 74;
const WINDOW: u32 = 512;
const WARM_UP: f64 = 0.5;
/// As in `cps`: what the client has closed waits there.
const RECORDS: u32 = 262_144;
/// Below such a share of the server nothing can be said of it.
const SPARE_MIN: f64 = 0.05;
const SLACK: Duration = Duration::from_secs(60);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.common.wire == BenchWire::Ring {
        let message = "a flood is sent by a process of its own, which a ring does not reach";
        return Err(ConfigError::of_origin("--wire", message).into());
    }
    let mut bench = Bench::new(&arguments.common)?;
    let seconds = bench.seconds(arguments.seconds);
    let forwarder_per_second = bare::forwarder(&mut bench, SYN_FRAME, WINDOW)?.per_second;
    bench.progress.step("honest clients alone");
    let alone = measured(&mut bench, arguments, seconds, Flood::None)?;
    bench.progress.step("a flood nearly alone");
    let flooded = measured(&mut bench, arguments, seconds, Flood::Alone)?;
    let mut figures = Figures {
        connections: arguments.connections,
        backlog: arguments.backlog,
        syns_per_second_alone: number(&flooded.ended["flood"], "per_second"),
        honest_per_second_alone: number(&alone.ended["client"], "requests_per_second"),
        forwarder_per_second,
        rows: Vec::new(),
    };
    let percents = if bench.quick {
        &[50, 100][..]
    } else {
        &arguments.percent
    };
    for &percent in percents {
        bench
            .progress
            .step(format!("honest clients and a flood of {percent}%"));
        let flood = match percent {
            100 => Flood::Full,
            _ => Flood::Rate((figures.syns_per_second_alone * percent as f64 / 100.0) as u64),
        };
        let found = measured(&mut bench, arguments, seconds, flood)?;
        let row = figures.row(percent, &found);
        figures.rows.push(row);
    }
    let table = figures.table();
    let sum = |of: fn(&Row) -> u64| figures.rows.iter().map(of).sum();
    let counts = [
        ("wrong replies", sum(|row| row.mismatches)),
        ("refused connections of honest clients", sum(|row| row.refused)),
        ("broken connections of honest clients", sum(|row| row.broken)),
    ];
    bench.report("synflood", &figures, &table)?;
    wrong(&counts)
}

#[derive(Clone, Copy)]
enum Flood {
    None,
    /// One honest connection, so that there is a neighbour; nothing besides.
    Alone,
    Rate(u64),
    Full,
}

struct Measured {
    ended: Value,
    served: Value,
    before: u64,
    after: u64,
}

fn measured(
    bench: &mut Bench,
    arguments: &Arguments,
    seconds: u64,
    flood: Flood,
) -> Result<Measured, Failure> {
    let Arguments {
        connections, backlog, ..
    } = arguments;
    let honest = format!("--connections {connections} --opening {connections} --per-connection 1");
    let words = match flood {
        Flood::None => format!("load echo {honest}"),
        Flood::Alone => "load flood --connections 1 --rate 1000".into(),
        Flood::Rate(rate) => format!("load flood {honest} --spoofed-per-second {}", rate.max(1)),
        Flood::Full => format!("load flood {honest}"),
    };
    let client = Role::new(&words)
        .words(&format!(
            "--target {SERVER} --local {CLIENT_PREFIX} --size {SIZE}"
        ))
        .words(&format!(
            "--requests {} --seconds {seconds} --warm-up {WARM_UP}",
            u64::MAX
        ))
        .set("stack.max_connections", RECORDS);
    let server = Role::new("serve echo").set("stack.backlog", backlog);
    let (mut server, mut client) = bench.ends.pair(&server, &client)?;
    let before = server.memory()?.unwrap_or(0);
    client.wait_until_stopped(SLACK + Duration::from_secs(seconds))?;
    let after = server.memory()?.unwrap_or(0);
    // Handshakes that never end keep it only as long as its own limits say.
    server.stats()?;
    let (ended, served) = end(client, server)?;
    Ok(Measured {
        ended,
        served,
        before,
        after,
    })
}

impl Figures {
    fn row(&self, percent: u64, found: &Measured) -> Row {
        let (client, flood) = (&found.ended["client"], &found.ended["flood"]);
        let syns_per_second = number(flood, "per_second");
        let honest_per_second = number(client, "requests_per_second");
        let share = (1.0 - syns_per_second / self.syns_per_second_alone).max(0.0);
        let spare_per_second = self.honest_per_second_alone * share;
        Row {
            percent,
            syns_per_second,
            syn_acks_per_second: number(flood, "answered") / number(flood, "seconds").max(1e-9),
            honest_per_second,
            spare_per_second,
            spare_ratio: (share >= SPARE_MIN).then(|| honest_per_second / spare_per_second),
            p50_us: number(&client["latency"], "p50_us"),
            p99_us: number(&client["latency"], "p99_us"),
            refused: number(client, "connect_failures") as u64,
            broken: number(client, "broken") as u64,
            mismatches: number(client, "mismatches") as u64,
            server_bytes_before: found.before,
            server_bytes_after: found.after,
            drops: found.served["drops"].clone(),
        }
    }

    fn table(&self) -> Vec<String> {
        let mut table = vec![
            format!(
                "honest clients alone {} connections/s; a flood alone {} SYNs/s; bare forwarder {} frames/s",
                grouped(self.honest_per_second_alone),
                grouped(self.syns_per_second_alone),
                grouped(self.forwarder_per_second)
            ),
            format!(
                "{:>6}{:>14}{:>14}{:>16}{:>16}{:>7}{:>10}{:>10}{:>16}",
                "flood",
                "SYNs/s",
                "SYN-ACKs/s",
                "honest/s",
                "spare/s",
                "ratio",
                "p99 us",
                "refused",
                "memory more"
            ),
        ];
        table.extend(self.rows.iter().map(|row| {
            let ratio = row
                .spare_ratio
                .map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
            format!(
                "{:>5}%{:>14}{:>14}{:>16}{:>16}{:>7}{:>10.1}{:>10}{:>16}",
                row.percent,
                grouped(row.syns_per_second),
                grouped(row.syn_acks_per_second),
                grouped(row.honest_per_second),
                grouped(row.spare_per_second),
                ratio,
                row.p99_us,
                row.refused,
                grouped(row.server_bytes_after as f64 - row.server_bytes_before as f64)
            )
        }));
        table
    }
}
