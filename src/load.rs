//! `crore load`: asks a server over a wire, and checks every byte of its answers.

mod hold;

use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};
use crore::Duration;
use crore::config::{ConfigError, WireKind};
use crore::services::{App, Echo, Http};
use crore_load::{LoadClient, LoadConfig, Workload};

use self::hold::HoldArguments;
use crate::cli::ConfigArguments;
use crate::control;
use crate::failure::Failure;
use crate::run::{Launch, Running};
use crate::signals::Interrupted;
use crate::summary::{Summary, WireFacts, print_json};
use crate::worker::Asking;

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
    /// Requests in all
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// End after so many seconds even if not all requests were made
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// echo: bytes of a request
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// http: the path
    #[arg(long, default_value = "/")]
    path: String,
    #[command(flatten)]
    hold: HoldArguments,
    /// Only the JSON summary at the end
    #[arg(long)]
    json: bool,
    /// Answer `stats` on standard input by a line of JSON, and end when it closes; hold: take commands there, one a line (open, echo REQUESTS AMONG, rest SECONDS, close, quit), and answer each by a line of JSON
    #[arg(long)]
    control: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Sends bytes and expects them back
    Echo,
    /// Fetches a path by HTTP/1.1
    Http,
    /// Opens very many connections, asks some of them at random, closes them
    Hold,
}

/// Asks until all is answered, time is over, or somebody asks for the end.
pub(crate) fn load(arguments: &LoadArguments) -> Result<(), Failure> {
    let config = arguments.config.load(Vec::new())?;
    if config.wire.kind == WireKind::Ring {
        let file = arguments.config.config.display().to_string();
        let message = "a ring wire reaches no other process; `crore serve` brings its own client there";
        return Err(ConfigError::of_key(file, "wire.kind", message).into());
    }
    let (usual_port, workload) = match arguments.kind {
        Kind::Echo => {
            let size = arguments.size as usize;
            (Echo::PORT, Workload::Echo { size })
        }
        Kind::Http => {
            let path = arguments.path.clone();
            (Http::PORT, Workload::Http { path })
        }
        Kind::Hold => return hold::hold(arguments, config),
    };
    let load = LoadConfig {
        remote: SocketAddr::new(arguments.target, arguments.port.unwrap_or(usual_port)),
        local: Vec::new(),
        connections: arguments.connections,
        requests: arguments.requests,
        time_limit: arguments.seconds.map(Duration::from_secs),
        workload,
    };
    let remote = load.remote;
    let interrupted = Interrupted::watch()?;
    let launch = Launch::new("load", &config, move |_| Ok(Asking(LoadClient::new(load))));
    let running = Running::start(&config, vec![launch])?;
    let wire = WireFacts::of(&config, &running);
    let on = wire.as_ref().map(WireFacts::in_words).unwrap_or_default();
    log::info!(
        "asking {remote} on {} connections over {on}",
        arguments.connections
    );
    if arguments.control {
        control::ready()?;
        control::answer(&running, &interrupted)?;
    }
    running.watch(&config, &interrupted, arguments.json || arguments.control);
    let summary = Summary::new("load", wire, running.finish()?)?.of_client();
    if !arguments.json && !arguments.control {
        summary.say();
    }
    print_json(&summary)?;
    summary.check()
}
