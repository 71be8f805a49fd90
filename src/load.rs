//! `crore load`: asks a server over a wire, and checks every byte of its answers.

mod both;
mod flood;
mod hold;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, ValueEnum};
use crore::Duration;
use crore::config::{Config, ConfigError, Prefix, WireKind};
use crore::services::{App, Chargen, Discard, Echo, Http, PATTERN_PERIOD, Pattern};
use crore_load::{
    Bulk, BulkConfig, Client, Direction, LoadClient, LoadConfig, OPENING, Pace, Periodic, Workload,
};

use crate::cli::ConfigArguments;
use crate::control;
use crate::failure::Failure;
use crate::run::{Launch, Running};
use crate::signals::Interrupted;
use crate::summary::{Summary, WireFacts, print_json};
use crate::work::Asking;
use crate::worker::Part;

/// Most local addresses.
const ADDRESSES_MAX: u32 = 65_536;

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// What the server is asked for
    kind: Kind,
    #[command(flatten)]
    config: ConfigArguments,
    /// The server's address
    #[arg(long, value_name = "ADDRESS")]
    target: IpAddr,
    /// The server's port, if not the service's own
    #[arg(long)]
    port: Option<u16>,
    /// Connections held at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Local addresses, all of an IPv4 prefix, as in 10.81.0.0/21; the server must route them here
    #[arg(long, value_name = "PREFIX")]
    local: Option<Prefix>,
    /// Opens under way at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    opening: Option<u32>,
    /// Opens a second, at most
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    opens_per_second: Option<u64>,
    /// Reach the rates within so many seconds; without one, open all connections within them
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    ramp: f64,
    /// Requests in all
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// echo, http: requests a second; latency then counts from when each was due
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// echo, http: after so many requests, close the connection and open another
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    per_connection: Option<u64>,
    /// echo, http, bulk: check, and do not count, what happens within so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    warm_up: f64,
    /// End after so many seconds even if not all requests were made
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// echo, hold: bytes of a request
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// http: the path
    #[arg(long, default_value = "/")]
    path: String,
    /// bulk: up to discard, down from chargen, or to echo and back
    #[arg(long, default_value = "down")]
    direction: Way,
    /// bulk: bytes in all; without it, as many as go until the time is over
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// hold: requests under way at once
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    outstanding: u32,
    /// flood: SYNs a second, at most; without it, as many as the wire takes
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    spoofed_per_second: Option<u64>,
    /// Only the JSON summary at the end
    #[arg(long)]
    json: bool,
    /// Answer `stats` on standard input by a line of JSON, and end when it closes; hold: take commands there, one a line (open, echo REQUESTS AMONG, rest SECONDS, close, quit), and answer each by a line of JSON
    #[arg(long)]
    control: bool,
    #[command(flatten)]
    other_end: both::OtherEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Sends bytes and expects them back
    Echo,
    /// Fetches a path by HTTP/1.1
    Http,
    /// Carries as much as goes
    Bulk,
    /// Like echo, with SYNs from addresses that nobody has beside it
    Flood,
    /// Opens very many connections, asks some of them at random, closes them
    Hold,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Way {
    Up,
    Down,
    Both,
}

/// Asks until all is answered, time is over, or somebody asks for the end.
pub(crate) fn load(arguments: &LoadArguments) -> Result<(), Failure> {
    let mut config = arguments.config.load(Vec::new())?;
    if config.wire.kind == WireKind::Ring && !arguments.other_end.is_here() {
        let file = arguments.config.config.display().to_string();
        let message = "a ring wire reaches no other process; `crore serve` brings its own client there";
        return Err(ConfigError::of_key(file, "wire.kind", message).into());
    }
    let local = arguments.local_addresses()?;
    let alone = |&address: &IpAddr| Prefix { address, length: 32 };
    config.net.addresses.extend(local.iter().map(alone));
    match arguments.kind {
        Kind::Echo => {
            let size = arguments.size as usize;
            let load = arguments.requests_of(Workload::Echo { size }, Echo::PORT, local)?;
            run(arguments, &config, move |part| {
                LoadClient::new(part_of(&load, part))
            })
        }
        Kind::Http => {
            let path = arguments.path.clone();
            let load = arguments.requests_of(Workload::Http { path }, Http::PORT, local)?;
            run(arguments, &config, move |part| {
                LoadClient::new(part_of(&load, part))
            })
        }
        Kind::Flood => {
            let size = arguments.size as usize;
            let load = arguments.requests_of(Workload::Echo { size }, Echo::PORT, local)?;
            flood::flood(arguments, &config, load)
        }
        Kind::Bulk => {
            let bulk = arguments.bulk(local)?;
            run(arguments, &config, move |part| {
                Bulk::new(part_of_bulk(&bulk, part))
            })
        }
        Kind::Hold => hold::hold(arguments, &config, local),
    }
}

/// What one of the shards asks, so that all together ask what `load` says.
pub(crate) fn part_of(load: &LoadConfig, part: Part) -> LoadConfig {
    let connections = u64::from(load.connections);
    let requests = match load.requests {
        u64::MAX => u64::MAX,
        requests => part.share_among(requests, connections),
    };
    LoadConfig {
        connections: part.share(connections) as u32,
        opening: (part.share(load.opening.into()) as u32).max(1),
        open_pace: load.open_pace.map(|pace| pace.part(part.of)),
        requests,
        pace: load.pace.map(|pace| pace.part(part.of)),
        ..load.clone()
    }
}

/// What one of the shards carries, so that all together carry what `bulk` says.
fn part_of_bulk(bulk: &BulkConfig, part: Part) -> BulkConfig {
    let connections = u64::from(bulk.connections);
    let bytes = match bulk.bytes {
        u64::MAX => u64::MAX,
        bytes => part.share_among(bytes, connections),
    };
    BulkConfig {
        connections: part.share(connections) as u32,
        bytes,
        ..bulk.clone()
    }
}

/// Lets a client ask until it has ended, and says what came of it.
fn run<C: Client + 'static>(
    arguments: &LoadArguments,
    config: &Config,
    make: impl Fn(Part) -> C + Send + Sync + 'static,
) -> Result<(), Failure> {
    let interrupted = Interrupted::watch()?;
    let launch = Launch::new("load", config, move |_, part| Ok(Asking(make(part))));
    let running = Running::start(config, arguments.other_end.before(config, launch)?)?;
    let wire = WireFacts::of(config, &running);
    let on = wire.as_ref().map(WireFacts::in_words).unwrap_or_default();
    log::info!(
        "asking {} on {} connections over {on}",
        arguments.target,
        arguments.connections
    );
    if arguments.control {
        control::ready()?;
        control::answer(&running, &interrupted)?;
    }
    running.watch(config, &interrupted, arguments.json || arguments.control);
    let ended = running.finish_when(|| match arguments.control {
        true => control::stopped(&interrupted),
        false => Ok(()),
    })?;
    if arguments.other_end.is_here() {
        return both::tell(wire, ended);
    }
    let summary = Summary::new("load", wire, ended)?.of_client();
    if !arguments.json && !arguments.control {
        summary.say();
    }
    print_json(&summary)?;
    summary.check()
}

impl LoadArguments {
    fn remote(&self, usual_port: u16) -> SocketAddr {
        SocketAddr::new(self.target, self.port.unwrap_or(usual_port))
    }

    fn time_limit(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }

    /// How fast connections are opened.
    fn open_pace(&self) -> Result<Option<Pace>, Failure> {
        let ramp = seconds_of("--ramp", self.ramp)?;
        Ok(match self.opens_per_second {
            Some(rate) => Some(Pace::new(rate, ramp)),
            None if self.rate.is_none() && self.ramp > 0.0 => {
                let rate = (f64::from(self.connections) / self.ramp).ceil();
                Some(Pace::new(rate as u64, Duration::ZERO))
            }
            None => None,
        })
    }

    fn requests_of(
        &self,
        workload: Workload,
        usual_port: u16,
        local: Vec<IpAddr>,
    ) -> Result<LoadConfig, Failure> {
        let ramp = seconds_of("--ramp", self.ramp)?;
        Ok(LoadConfig {
            local,
            connections: self.connections,
            opening: self.opening.unwrap_or(OPENING),
            open_pace: self.open_pace()?,
            requests: self.requests,
            pace: self.rate.map(|rate| Pace::new(rate, ramp)),
            per_connection: self.per_connection,
            warm_up: seconds_of("--warm-up", self.warm_up)?,
            time_limit: self.time_limit(),
            ..LoadConfig::new(self.remote(usual_port), workload)
        })
    }

    fn bulk(&self, local: Vec<IpAddr>) -> Result<BulkConfig, Failure> {
        let (direction, usual_port) = match self.direction {
            Way::Up => (Direction::Up, Discard::PORT),
            Way::Down => (Direction::Down, Chargen::PORT),
            Way::Both => (Direction::Both, Echo::PORT),
        };
        let pattern = match direction {
            Direction::Down => Periodic::of(&Pattern::new().piece(0, PATTERN_PERIOD)),
            Direction::Up | Direction::Both => Periodic::of(&crore_load::Pattern::period()),
        };
        Ok(BulkConfig {
            remote: self.remote(usual_port),
            local,
            connections: self.connections,
            direction,
            bytes: self.bytes.unwrap_or(u64::MAX),
            warm_up: seconds_of("--warm-up", self.warm_up)?,
            time_limit: self.time_limit(),
            pattern,
        })
    }

    /// All host addresses of the prefix that was named.
    fn local_addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        let Some(prefix) = &self.local else {
            return Ok(Vec::new());
        };
        let wrong = |message: &str| Failure::from(ConfigError::of_origin("--local", message));
        let IpAddr::V4(address) = prefix.address else {
            return Err(wrong("takes an IPv4 prefix"));
        };
        let count = 1u64 << (32 - u32::from(prefix.length));
        if count > u64::from(ADDRESSES_MAX) {
            return Err(wrong("is too large: at most 65,536 addresses, a /16"));
        }
        let first = u64::from(u32::from(address)) / count * count;
        let last = first + count - 1;
        // A network's own address and its broadcast address are nobody's.
        let hosts = if count > 2 {
            first + 1..=last - 1
        } else {
            first..=last
        };
        Ok(hosts.map(|a| IpAddr::V4(Ipv4Addr::from(a as u32))).collect())
    }
}

fn seconds_of(option: &'static str, seconds: f64) -> Result<Duration, Failure> {
    const DAY: f64 = 86_400.0;
    if !(0.0..=DAY).contains(&seconds) {
        return Err(ConfigError::of_origin(option, "takes 0 to 86,400 seconds").into());
    }
    Ok(Duration::from_nanos((seconds * 1e9) as u64))
}
