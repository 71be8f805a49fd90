//! `crore bench c10m`: what this project is named for.

use std::time::{Duration, Instant};

use clap::Args;
use crore::{Stack, StackConfig};
use serde::Serialize;
use serde_json::Value;

use super::ends::{CLIENT_PREFIX, End, Role, SERVER, finish};
use super::{Bench, Common, bare, grouped, number, wrong};
use crate::capacity;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Connections to hold
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    connections: u32,
    /// Requests made among all connections, and as many among a thousand; without it, about five seconds of each, and at least a million
    #[arg(long, value_name = "N")]
    echoes: Option<u64>,
    /// Bytes of a request
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    size: u32,
    /// Requests under way at once
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    outstanding: u32,
    /// Opens under way at once
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    opening: u32,
}

/// What is measured. The names are part of the program's interface.
#[derive(Debug, Default, Serialize)]
struct Figures {
    connections_requested: u64,
    server_established: u64,
    client_established: u64,
    open_seconds: f64,
    opens_per_second: f64,
    /// Memory of the server with all connections, less that of one made for a
    /// thousand, without any.
    /// None where the client is in the same process.
    server_bytes_total: Option<u64>,
    server_bytes_per_connection: Option<f64>,
    echoes: u64,
    echo_bytes: u32,
    outstanding: u32,
    echo_per_second: f64,
    echo_p99_us: f64,
    /// The same, among a thousand of the connections.
    echo_per_second_1000: f64,
    echo_ratio: f64,
    /// Frames of the same length through a bare forwarder.
    forwarder_per_second: f64,
    forwarder_ratio: f64,
    mismatches: u64,
    resets: u64,
    close_seconds: f64,
    /// Connections that the server still had when the client had closed all of its own.
    server_left: u64,
}

/// The choice is made among so many, for comparison.
const FEW: u32 = 1000;
/// Each kind of request is made in so many parts, in turn, so that a machine
/// that becomes slower does so for both.
const ROUNDS: u64 = 4;
/// The fewest requests, and how long they take if that is not many.
const ECHOES_MIN: u64 = 1_000_000;
const ECHO_SECONDS: f64 = 5.0;
const QUICK_ECHOES: u64 = 100_000;
/// How often it is shown how far a phase is.
const SHOW: Duration = Duration::from_secs(1);
/// A phase that brings nothing for so long has failed.
const STALL: Duration = Duration::from_secs(60);
/// How long the server may take to see what the client saw.
const SETTLE: Duration = Duration::from_secs(10);
/// How long both ends may take to end.
const SLACK: Duration = Duration::from_secs(60);
/// What both ends take besides their connections: buffers, rings, the program.
const BESIDES: u64 = 512 << 20;

fn told(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "not known on a ring".into())
}

/// Opens, holds, asks, closes.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    check_memory(arguments.connections)?;
    let mut bench = Bench::new(&arguments.common)?;
    let mut figures = Figures {
        connections_requested: arguments.connections.into(),
        echo_bytes: arguments.size,
        outstanding: arguments.outstanding,
        ..Figures::default()
    };
    let frame = bare::frame_of(arguments.size);
    figures.forwarder_per_second = bare::forwarder(&mut bench, frame, arguments.outstanding)?.per_second;
    let without = memory_without(&mut bench, arguments)?;
    crowd(&mut bench, arguments, &mut figures, without)?;
    figures.echo_ratio = figures.echo_per_second / figures.echo_per_second_1000;
    figures.forwarder_ratio = figures.echo_per_second / figures.forwarder_per_second;
    let table = figures.table();
    bench.report("c10m", &figures, &table)?;
    figures.check()
}

/// Both ends' records and tables lie in one machine.
fn check_memory(connections: u32) -> Result<(), Failure> {
    let each = StackConfig {
        max_connections: connections,
        ..StackConfig::default()
    };
    let wanted = 2 * Stack::memory(&each).total() + BESIDES;
    capacity::require(
        wanted,
        &format!("{} connections at both ends", grouped(connections.into())),
    )
}

fn server(max_connections: u32, arguments: &Arguments) -> Role {
    Role::new("serve echo")
        .set("stack.max_connections", max_connections)
        .set("stack.backlog", arguments.opening * 2)
}

fn client(max_connections: u32, arguments: &Arguments) -> Role {
    let Arguments {
        size,
        outstanding,
        opening,
        ..
    } = arguments;
    Role::new(&format!(
        "load hold --target {SERVER} --local {CLIENT_PREFIX} --connections {max_connections} --size {size} \
         --outstanding {outstanding} --opening {opening}"
    ))
    .set("stack.max_connections", max_connections)
}

/// What a server takes that is made for a thousand connections and has none.
fn memory_without(bench: &mut Bench, arguments: &Arguments) -> Result<Option<u64>, Failure> {
    bench.progress.step("a server without connections");
    let (server, client) = bench
        .ends
        .pair(&server(FEW, arguments), &client(FEW, arguments))?;
    let mut client = client.up()?;
    let bytes = server.memory()?;
    client.say("quit")?;
    finish(client, server, SLACK)?;
    Ok(bytes)
}

/// The run itself.
fn crowd(
    bench: &mut Bench,
    arguments: &Arguments,
    figures: &mut Figures,
    without: Option<u64>,
) -> Result<(), Failure> {
    let wanted = arguments.connections;
    bench.progress.step("starting both ends");
    let (mut server, client) = bench
        .ends
        .pair(&server(wanted, arguments), &client(wanted, arguments))?;
    let mut client = client.up()?;

    bench
        .progress
        .step(format!("opening {} connections", grouped(wanted.into())));
    let opened = phase(bench, &mut client, &mut server, "open", figures)?;
    figures.open_seconds = number(&opened, "seconds");
    figures.opens_per_second = number(&opened, "per_second");
    figures.client_established = number(&opened, "established") as u64;
    figures.server_established = settled(&mut server, wanted.into())?;
    let opened_memory = server.memory()?;

    echoes(bench, arguments, figures, &mut client, &mut server)?;

    let bytes = server.memory()?.max(opened_memory);
    figures.server_bytes_total = bytes
        .zip(without)
        .map(|(with, without)| with.saturating_sub(without));
    figures.server_bytes_per_connection = figures
        .server_bytes_total
        .map(|total| total as f64 / f64::from(wanted));

    bench
        .progress
        .step(format!("closing {} connections", grouped(wanted.into())));
    let closed = phase(bench, &mut client, &mut server, "close", figures)?;
    figures.close_seconds = number(&closed, "seconds");
    figures.server_left = settled(&mut server, 0)?;
    client.say("quit")?;
    finish(client, server, SLACK)?;
    Ok(())
}

/// Asks among all and among few, in turn.
fn echoes(
    bench: &mut Bench,
    arguments: &Arguments,
    figures: &mut Figures,
    client: &mut End,
    server: &mut End,
) -> Result<(), Failure> {
    let all = arguments.connections;
    bench.progress.step("warming up");
    let warm = phase(
        bench,
        client,
        server,
        &format!("echo {QUICK_ECHOES} {all}"),
        figures,
    )?;
    let wanted = match arguments.echoes {
        Some(wanted) => wanted,
        None if bench.quick => QUICK_ECHOES,
        None => ((number(&warm, "per_second") * ECHO_SECONDS) as u64).max(ECHOES_MIN),
    };
    let part = wanted.div_ceil(ROUNDS);
    figures.echoes = part * ROUNDS;
    let (mut among_all, mut among_few) = (0.0, 0.0);
    for round in 1..=ROUNDS {
        for (among, seconds) in [(all, &mut among_all), (FEW, &mut among_few)] {
            bench.progress.step(format!(
                "asking {} times among {}, {round} of {ROUNDS}",
                grouped(part as f64),
                grouped(among.into())
            ));
            let asked = phase(bench, client, server, &format!("echo {part} {among}"), figures)?;
            *seconds += number(&asked, "seconds");
            if among == all {
                figures.echo_p99_us = figures.echo_p99_us.max(number(&asked["latency"], "p99_us"));
            }
        }
    }
    figures.echo_per_second = figures.echoes as f64 / among_all;
    figures.echo_per_second_1000 = figures.echoes as f64 / among_few;
    Ok(())
}

/// Has the client do one thing, and gives its report; counts what went wrong.
fn phase(
    bench: &Bench,
    client: &mut End,
    server: &mut End,
    command: &str,
    figures: &mut Figures,
) -> Result<Value, Failure> {
    client.say(command)?;
    let mut before = Value::Null;
    let mut moved = Instant::now();
    let report = loop {
        if let Some(report) = client.hear(SHOW)? {
            break report;
        }
        let now = server.stats()?;
        bench.progress.tick(&format!(
            "{} established, {} requests, {} segments sent again, at the server",
            grouped(number(&now, "established")),
            grouped(number(&now, "requests")),
            grouped(number(&now, "retransmits")),
        ));
        if now["segments_in"] != before["segments_in"] {
            moved = Instant::now();
        } else if moved.elapsed() > STALL {
            return Err(Failure::run(format!(
                "`{command}` has stalled; the server: {now}"
            )));
        }
        before = now;
    };
    figures.mismatches += number(&report, "mismatches") as u64;
    figures.resets += number(&report, "resets") as u64;
    Ok(report)
}

/// Waits until the server counts `wanted` connections, and gives what it counted last.
fn settled(server: &mut End, wanted: u64) -> Result<u64, Failure> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let established = number(&server.stats()?, "established") as u64;
        if established == wanted || Instant::now() >= deadline {
            return Ok(established);
        }
        crate::clock::rest(Duration::from_millis(50));
    }
}

impl Figures {
    fn table(&self) -> Vec<String> {
        let row = |name: &str, value: String| format!("{name:<34}{value:>16}");
        vec![
            row("connections", grouped(self.connections_requested as f64)),
            row(
                "established at the server",
                grouped(self.server_established as f64),
            ),
            row(
                "established at the client",
                grouped(self.client_established as f64),
            ),
            row("opens a second", grouped(self.opens_per_second)),
            row("seconds to open all", format!("{:.2}", self.open_seconds)),
            row(
                "server, bytes",
                told(self.server_bytes_total.map(|bytes| grouped(bytes as f64))),
            ),
            row(
                "server, bytes a connection",
                told(
                    self.server_bytes_per_connection
                        .map(|bytes| format!("{bytes:.1}")),
                ),
            ),
            row("requests", grouped(self.echoes as f64)),
            row("requests a second, among all", grouped(self.echo_per_second)),
            row(
                "requests a second, among 1,000",
                grouped(self.echo_per_second_1000),
            ),
            row("ratio", format!("{:.2}", self.echo_ratio)),
            row(
                "bare forwarder, frames a second",
                grouped(self.forwarder_per_second),
            ),
            row(
                "ratio to the bare forwarder",
                format!("{:.2}", self.forwarder_ratio),
            ),
            row("wrong replies", grouped(self.mismatches as f64)),
            row("resets", grouped(self.resets as f64)),
            row("seconds to close all", format!("{:.2}", self.close_seconds)),
        ]
    }

    /// Whether every connection was there, and every reply right.
    fn check(&self) -> Result<(), Failure> {
        let wanted = self.connections_requested;
        wrong(&[
            (
                "connections missing at the server",
                wanted.abs_diff(self.server_established),
            ),
            (
                "connections missing at the client",
                wanted.abs_diff(self.client_established),
            ),
            ("wrong replies", self.mismatches),
            ("resets", self.resets),
            ("connections left at the server", self.server_left),
        ])
    }
}
