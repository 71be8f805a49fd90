//! Benchmarks in which a client asks and waits for its reply: `rps`, `cps` and
//! `latency`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::ends::{CLIENT_PREFIX, Role, SERVER, finish};
use super::{Bench, Common, bare, grouped, number, wrong};
use crate::failure::Failure;

/// Beyond so many connections not every one of them has a request under way:
/// they are chosen at random.
const ALL_BUSY_MAX: u32 = 1000;
/// Requests under way at once then.
const CROWD_OUTSTANDING: u32 = 512;
/// What both ends do before anything counts.
const WARM_UP: f64 = 0.5;
/// EAL's start, the other end's, and the end of both.
const SLACK: Duration = Duration::from_secs(60);
/// Bytes of an HTTP reply, head included, as other stacks were measured with.
const HTTP_REPLY: u32 = 90;
/// Bytes of the body that make it so, behind the head that `serve http` sends.
const HTTP_BODY: u32 = HTTP_REPLY - 80;

#[derive(Debug, Args)]
pub(super) struct RpsArguments {
    #[command(flatten)]
    common: Common,
    /// What is asked for
    #[arg(long, value_delimiter = ',', default_value = "echo,http")]
    workload: Vec<Workload>,
    /// echo: bytes of a request and of its reply
    #[arg(long, value_delimiter = ',', default_value = "1,64,1024", value_parser = clap::value_parser!(u32).range(1..=1400))]
    size: Vec<u32>,
    /// Connections; beyond 1,000 they are asked at random, 512 at once
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    connections: Vec<u32>,
    /// How long each row is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Debug, Args)]
pub(super) struct CpsArguments {
    #[command(flatten)]
    common: Common,
    /// Connections that are there at once
    #[arg(long, value_delimiter = ',', default_value = "256", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: Vec<u32>,
    /// How long each row is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Debug, Args)]
pub(super) struct LatencyArguments {
    #[command(flatten)]
    common: Common,
    /// Bytes of a request and of its reply
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1400))]
    size: u32,
    /// How long it is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Workload {
    /// The same bytes back
    Echo,
    /// HTTP/1.1 keep-alive, a reply of 90 bytes
    Http,
}

#[derive(Debug, Serialize)]
struct Row {
    workload: Workload,
    /// Bytes of a reply.
    size: u32,
    connections: u32,
    outstanding: u32,
    requests_per_second: f64,
    forwarder_per_second: f64,
    forwarder_ratio: f64,
    latency: Value,
    mismatches: u64,
    /// Opens that failed and connections that ended too early.
    failures: u64,
}

#[derive(Serialize)]
struct Rows<T> {
    rows: Vec<T>,
}

/// `crore bench rps`.
pub(super) fn rps(arguments: &RpsArguments) -> Result<(), Failure> {
    let mut bench = Bench::new(&arguments.common)?;
    let seconds = bench.seconds(arguments.seconds);
    let connections = match &arguments.connections[..] {
        [] if bench.quick => vec![256],
        [] => vec![1, 32, 256, 1000, 100_000, 1_000_000],
        some => some.to_vec(),
    };
    let mut rows = Vec::new();
    for &workload in &arguments.workload {
        let sizes = match workload {
            Workload::Echo if bench.quick => vec![64],
            Workload::Echo => arguments.size.clone(),
            Workload::Http => vec![HTTP_REPLY],
        };
        for size in sizes {
            for &count in &connections {
                // HTTP is asked by a client that asks on all of its connections at once.
                if workload == Workload::Http && count > ALL_BUSY_MAX {
                    continue;
                }
                rows.push(row(&mut bench, workload, size, count, seconds)?);
            }
        }
    }
    let mut table = vec![format!(
        "{:<9}{:>6}{:>12}{:>13}{:>16}{:>16}{:>7}{:>10}{:>10}{:>10}",
        "workload",
        "bytes",
        "connections",
        "outstanding",
        "requests/s",
        "forwarder/s",
        "ratio",
        "p50 us",
        "p99 us",
        "max us"
    )];
    table.extend(rows.iter().map(|row| {
        format!(
            "{:<9}{:>6}{:>12}{:>13}{:>16}{:>16}{:>7.2}{:>10.1}{:>10.1}{:>10.1}",
            format!("{:?}", row.workload).to_lowercase(),
            row.size,
            grouped(row.connections.into()),
            grouped(row.outstanding.into()),
            grouped(row.requests_per_second),
            grouped(row.forwarder_per_second),
            row.forwarder_ratio,
            number(&row.latency, "p50_us"),
            number(&row.latency, "p99_us"),
            number(&row.latency, "max_us"),
        )
    }));
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    let (mismatches, failures) = (sum(|row| row.mismatches), sum(|row| row.failures));
    bench.report("rps", &Rows { rows }, &table)?;
    wrong(&[("wrong replies", mismatches), ("failed connections", failures)])
}

fn row(
    bench: &mut Bench,
    workload: Workload,
    size: u32,
    connections: u32,
    seconds: u64,
) -> Result<Row, Failure> {
    let all_busy = connections <= ALL_BUSY_MAX;
    let outstanding = if all_busy { connections } else { CROWD_OUTSTANDING };
    let forwarder_per_second = bare::forwarder(bench, bare::frame_of(size), outstanding)?.per_second;
    let what = format!("{workload:?}").to_lowercase();
    bench.progress.step(format!(
        "{what} of {size} bytes on {} connections",
        grouped(connections.into())
    ));
    let (mut server, mut client) = match workload {
        Workload::Echo => (Role::new("serve echo"), Role::new("load echo")),
        Workload::Http => (
            Role::new("serve http").set("serve.http_body_bytes", HTTP_BODY),
            Role::new("load http"),
        ),
    };
    if !all_busy {
        client = Role::new("load hold");
    }
    let records = connections.max(65_536);
    server = server.set("stack.max_connections", records);
    client = client
        .words(&format!(
            "--target {SERVER} --size {size} --connections {connections}"
        ))
        .set("stack.max_connections", records);
    let found = if all_busy {
        asked(bench, &server, client, seconds)?
    } else {
        chosen(bench, &server, client, connections, outstanding, seconds)?
    };
    Ok(Row {
        workload,
        size,
        connections,
        outstanding,
        requests_per_second: number(&found, "per_second"),
        forwarder_per_second,
        forwarder_ratio: number(&found, "per_second") / forwarder_per_second,
        latency: found["latency"].clone(),
        mismatches: number(&found, "mismatches") as u64,
        failures: number(&found, "failures") as u64,
    })
}

/// A request under way on every connection.
fn asked(bench: &mut Bench, server: &Role, client: Role, seconds: u64) -> Result<Value, Failure> {
    let client = client.words(&timed(seconds));
    let (server, client) = bench.ends.pair(server, &client)?;
    let (ended, _) = finish(client, server, SLACK + Duration::from_secs(seconds))?;
    let mut found = ended["client"].clone();
    found["per_second"] = found["requests_per_second"].clone();
    found["failures"] = (number(&found, "connect_failures") + number(&found, "broken")).into();
    Ok(found)
}

fn timed(seconds: u64) -> String {
    format!("--requests {} --seconds {seconds} --warm-up {WARM_UP}", u64::MAX)
}

/// Requests on connections that are chosen at random.
fn chosen(
    bench: &mut Bench,
    server: &Role,
    client: Role,
    connections: u32,
    outstanding: u32,
    seconds: u64,
) -> Result<Value, Failure> {
    let client = client.words(&format!("--outstanding {outstanding} --local {CLIENT_PREFIX}"));
    let (server, client) = bench.ends.pair(server, &client)?;
    let mut client = client.up()?;
    let mut phase = |command: &str| {
        client.say(command)?;
        client
            .hear(SLACK + Duration::from_secs(seconds))?
            .ok_or_else(|| Failure::run(format!("`{command}` did not end")))
    };
    let opened = phase("open")?;
    let warm = phase(&format!("echo {} {connections}", connections.max(100_000)))?;
    let requests = (number(&warm, "per_second") * seconds as f64) as u64;
    let mut found = phase(&format!("echo {requests} {connections}"))?;
    let closed = phase("close")?;
    client.say("quit")?;
    finish(client, server, SLACK)?;
    let sum = |key: &str| {
        [&opened, &warm, &found, &closed]
            .iter()
            .map(|r| number(r, key))
            .sum::<f64>()
    };
    let (mismatches, failures) = (sum("mismatches"), sum("failures") + sum("resets"));
    found["mismatches"] = mismatches.into();
    found["failures"] = failures.into();
    Ok(found)
}

#[derive(Debug, Serialize)]
struct CpsRow {
    /// Connections that were there at once.
    connections: u32,
    connections_per_second: f64,
    /// Frames that the server received for each.
    frames_per_connection: f64,
    forwarder_per_second: f64,
    /// Frames that the server received a second, divided by those of the forwarder.
    forwarder_ratio: f64,
    /// From the request's write to the reply, the handshake not included.
    latency: Value,
    mismatches: u64,
    failures: u64,
}

/// Records at the client: what it has closed waits in TIME-WAIT, and the oldest
/// makes room when a new connection needs it.
const CPS_RECORDS: u32 = 262_144;
const CPS_SIZE: u32 = 64;

/// `crore bench cps`: connect, 64 bytes there, 64 bytes back, close.
pub(super) fn cps(arguments: &CpsArguments) -> Result<(), Failure> {
    let mut bench = Bench::new(&arguments.common)?;
    let seconds = bench.seconds(arguments.seconds);
    let mut rows = Vec::new();
    for &connections in &arguments.connections {
        let forwarder = bare::forwarder(&mut bench, bare::frame_of(CPS_SIZE), connections)?;
        bench.progress.step(format!(
            "connect, ask, close: {} at once",
            grouped(connections.into())
        ));
        let server = Role::new("serve echo").set("stack.backlog", 2 * connections);
        let client = Role::new("load echo --per-connection 1")
            .words(&format!(
                "--target {SERVER} --local {CLIENT_PREFIX} --size {CPS_SIZE} --connections {connections} \
                 --opening {connections}"
            ))
            .words(&timed(seconds))
            .set("stack.max_connections", CPS_RECORDS);
        let (server, client) = bench.ends.pair(&server, &client)?;
        let (ended, served) = finish(client, server, SLACK + Duration::from_secs(seconds))?;
        let found = &ended["client"];
        let frames_per_connection = number(&served, "segments_in") / number(&served, "accepted").max(1.0);
        let connections_per_second = number(found, "requests_per_second");
        rows.push(CpsRow {
            connections,
            connections_per_second,
            frames_per_connection,
            forwarder_per_second: forwarder.per_second,
            forwarder_ratio: connections_per_second * frames_per_connection / forwarder.per_second,
            latency: found["latency"].clone(),
            mismatches: number(found, "mismatches") as u64,
            failures: (number(found, "connect_failures") + number(found, "broken")) as u64,
        });
    }
    let mut table = vec![format!(
        "{:>8}{:>16}{:>12}{:>16}{:>7}{:>10}{:>10}{:>10}",
        "at once", "connections/s", "frames each", "forwarder/s", "ratio", "p50 us", "p99 us", "failures"
    )];
    table.extend(rows.iter().map(|row| {
        format!(
            "{:>8}{:>16}{:>12.2}{:>16}{:>7.2}{:>10.1}{:>10.1}{:>10}",
            grouped(row.connections.into()),
            grouped(row.connections_per_second),
            row.frames_per_connection,
            grouped(row.forwarder_per_second),
            row.forwarder_ratio,
            number(&row.latency, "p50_us"),
            number(&row.latency, "p99_us"),
            row.failures
        )
    }));
    let sum = |of: fn(&CpsRow) -> u64| rows.iter().map(of).sum();
    let (mismatches, failures) = (sum(|row| row.mismatches), sum(|row| row.failures));
    bench.report("cps", &Rows { rows }, &table)?;
    wrong(&[("wrong replies", mismatches), ("failed connections", failures)])
}

#[derive(Serialize)]
struct Latency {
    size: u32,
    requests: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    forwarder_p50_us: f64,
    forwarder_p99_us: f64,
    forwarder_p999_us: f64,
    forwarder_max_us: f64,
    p50_ratio: f64,
    mismatches: u64,
}

/// `crore bench latency`: one connection, one request at a time.
pub(super) fn latency(arguments: &LatencyArguments) -> Result<(), Failure> {
    let mut bench = Bench::new(&arguments.common)?;
    let (size, seconds) = (arguments.size, bench.seconds(arguments.seconds));
    let forwarder = bare::forwarder(&mut bench, bare::frame_of(size), 1)?;
    bench.progress.step("one request at a time on one connection");
    let client = Role::new("load echo").words(&format!("--target {SERVER} --size {size}"));
    let found = asked(&mut bench, &Role::new("serve echo"), client, seconds)?;
    let ours = |key: &str| number(&found["latency"], key);
    let bare = |key: &str| number(&forwarder.latency, key);
    let figures = Latency {
        size,
        requests: number(&found, "requests") as u64,
        p50_us: ours("p50_us"),
        p99_us: ours("p99_us"),
        p999_us: ours("p999_us"),
        max_us: ours("max_us"),
        forwarder_p50_us: bare("p50_us"),
        forwarder_p99_us: bare("p99_us"),
        forwarder_p999_us: bare("p999_us"),
        forwarder_max_us: bare("max_us"),
        p50_ratio: ours("p50_us") / bare("p50_us"),
        mismatches: number(&found, "mismatches") as u64,
    };
    let mut table = vec![format!(
        "{:<16}{:>10}{:>10}{:>10}{:>10}",
        "", "p50 us", "p99 us", "p99.9 us", "max us"
    )];
    for (name, of) in [
        ("crore", &ours as &dyn Fn(&str) -> f64),
        ("bare forwarder", &bare),
    ] {
        table.push(format!(
            "{name:<16}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
            of("p50_us"),
            of("p99_us"),
            of("p999_us"),
            of("max_us")
        ));
    }
    table.push(format!("ratio of the medians {:.2}", figures.p50_ratio));
    bench.report("latency", &figures, &table)?;
    wrong(&[("wrong replies", figures.mismatches)])
}
