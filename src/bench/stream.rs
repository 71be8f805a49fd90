//! `crore bench stream`: as much as goes, each byte checked where it arrives.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::ends::{Role, SERVER, finish};
use super::{Bench, Common, bare, grouped, number, wrong};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Which way: down from the server, every byte checked by the client, or up to it
    #[arg(long, value_delimiter = ',', default_value = "down,up")]
    direction: Vec<Direction>,
    /// Connections
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,
    /// What is done for several segments at once at both ends (`wire.gro`, `wire.gso`, `wire.tso`); a row for each
    #[arg(long, value_delimiter = ',', default_value = "all")]
    offload: Vec<Offload>,
    /// The largest segment
    #[arg(long, default_value_t = 1460, value_parser = clap::value_parser!(u16).range(88..=1460))]
    mss: u16,
    /// The send buffer and the receive buffer of each connection
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    buffer: u32,
    /// How long each row is measured
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Down,
    Up,
}

/// What is done for several segments at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Offload {
    None,
    /// Taken in, in software
    Gro,
    /// Sent, in software
    Gso,
    /// Sent, by ports that can
    Tso,
    All,
}

#[derive(Serialize)]
struct Figures {
    mss: u16,
    buffer_bytes: u32,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    direction: Direction,
    connections: u32,
    offload: Offload,
    /// Payload.
    gbit_per_second: f64,
    /// What payload of that size would be in the frames that a bare forwarder sends back.
    forwarder_gbit_per_second: f64,
    forwarder_ratio: f64,
    retransmits: u64,
    mismatches: u64,
    failures: u64,
}

/// Frames under way for the bare forwarder: half a ring.
const WINDOW: u32 = 512;
const WARM_UP: u32 = 1;
const SLACK: Duration = Duration::from_secs(60);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut bench = Bench::new(&arguments.common)?;
    let seconds = bench.seconds(arguments.seconds);
    let payload = u32::from(arguments.mss);
    let frames = bare::forwarder(&mut bench, bare::frame_of(payload - 12), WINDOW)?.per_second;
    let forwarder = frames * f64::from(payload) * 8.0 / 1e9;
    let mut rows = Vec::new();
    for &direction in &arguments.direction {
        for &connections in &arguments.connections {
            for &offload in &arguments.offload {
                let what = (direction, connections, offload);
                rows.push(row(&mut bench, arguments, what, seconds, forwarder)?);
            }
        }
    }
    let mut table = vec![format!(
        "{:<10}{:>12}{:>9}{:>10}{:>18}{:>7}{:>12}",
        "direction", "connections", "offload", "Gbit/s", "forwarder Gbit/s", "ratio", "sent again"
    )];
    table.extend(rows.iter().map(|row| {
        format!(
            "{:<10}{:>12}{:>9}{:>10.2}{:>18.2}{:>7.2}{:>12}",
            format!("{:?}", row.direction).to_lowercase(),
            grouped(row.connections.into()),
            format!("{:?}", row.offload).to_lowercase(),
            row.gbit_per_second,
            row.forwarder_gbit_per_second,
            row.forwarder_ratio,
            grouped(row.retransmits as f64),
        )
    }));
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    let (mismatches, failures) = (sum(|row| row.mismatches), sum(|row| row.failures));
    let figures = Figures {
        mss: arguments.mss,
        buffer_bytes: arguments.buffer,
        rows,
    };
    bench.report("stream", &figures, &table)?;
    wrong(&[("wrong bytes", mismatches), ("failed connections", failures)])
}

fn row(
    bench: &mut Bench,
    arguments: &Arguments,
    (direction, connections, offload): (Direction, u32, Offload),
    seconds: u64,
    forwarder: f64,
) -> Result<Row, Failure> {
    let (service, way, rate) = match direction {
        Direction::Down => ("serve chargen", "down", "received_bits_per_second"),
        Direction::Up => ("serve discard", "up", "sent_bits_per_second"),
    };
    bench
        .progress
        .step(format!("{way} on {} connections", grouped(connections.into())));
    let sized = |role: Role| {
        role.set("tcp.mss", arguments.mss)
            .set("tcp.send_buffer_bytes", arguments.buffer)
            .set("tcp.receive_buffer_bytes", arguments.buffer)
            .set("wire.gro", matches!(offload, Offload::Gro | Offload::All))
            .set("wire.gso", matches!(offload, Offload::Gso | Offload::All))
            .set("wire.tso", matches!(offload, Offload::Tso | Offload::All))
            .set("tcp.send_buffer_max_bytes", 0)
            .set("tcp.receive_buffer_max_bytes", 0)
    };
    let client = format!(
        "load bulk --direction {way} --target {SERVER} --connections {connections} --seconds {seconds} \
         --warm-up {WARM_UP}"
    );
    let (server, client) = bench
        .ends
        .pair(&sized(Role::new(service)), &sized(Role::new(&client)))?;
    let (ended, served) = finish(client, server, SLACK + Duration::from_secs(seconds))?;
    let found = &ended["client"];
    let gbit_per_second = number(found, rate) / 1e9;
    Ok(Row {
        direction,
        connections,
        offload,
        gbit_per_second,
        forwarder_gbit_per_second: forwarder,
        forwarder_ratio: gbit_per_second / forwarder,
        retransmits: (number(&ended, "retransmits") + number(&served, "retransmits")) as u64,
        mismatches: number(found, "mismatches") as u64,
        failures: (number(found, "connect_failures") + number(found, "broken")) as u64,
    })
}
