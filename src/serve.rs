//! `crore serve`: an application on a wire, until somebody asks for the end.

use std::net::SocketAddr;

use crore::config::{Config, ConfigError, Prefix, WireKind};
use crore::services::{App, Chargen, Discard, Echo, Families, Http};
use crore_load::{LoadClient, LoadConfig, Workload};

use crate::cli::{ServeArguments, ServiceName};
use crate::control;
use crate::failure::Failure;
use crate::host;
use crate::load::part_of;
use crate::run::{Launch, Running};
use crate::signals::Interrupted;
use crate::summary::{Summary, WireFacts, print_json};
use crate::work::{Asking, Serving};

/// Connections of the client that a ring wire comes with.
const RING_CONNECTIONS: u32 = 32;
/// Bytes of one of its requests to `echo`.
const RING_ECHO_SIZE: usize = 64;

/// Serves until a signal, or until the configured time is over.
pub(crate) fn serve(arguments: &ServeArguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    let port = config.serve.port.unwrap_or(usual_port(arguments.service));
    let mut launches = vec![launch(arguments.service, &config, port)];
    if config.wire.kind == WireKind::Ring {
        let file = arguments.config.config.display().to_string();
        launches.push(ring_client(&config, arguments.service, port, &file)?);
    }
    let name = service_name(arguments.service);
    let interrupted = Interrupted::watch()?;
    let running = Running::start(&config, launches)?;
    let wire = WireFacts::of(&config, &running);
    let on = wire.as_ref().map(WireFacts::in_words).unwrap_or_default();
    log::info!(
        "serving {name} on {} over {on}",
        endpoints(&config.net.addresses, port)
    );
    if config.wire.kind == WireKind::Ring {
        log::info!(
            "a ring wire reaches nobody outside: a client in this process asks on {RING_CONNECTIONS} connections"
        );
    }
    if arguments.control {
        control::ready()?;
        control::answer(&running, &interrupted)?;
    }
    running.watch(&config, &interrupted, arguments.json || arguments.control);
    log::info!("ending: what is open has {} s", config.serve.drain_seconds);
    let summary = Summary::new(name, wire, running.finish()?)?;
    if !arguments.json && !arguments.control {
        summary.say();
    }
    print_json(&summary)?;
    summary.check()
}

/// The shards that serve it.
pub(crate) fn launch(service: ServiceName, config: &Config, port: u16) -> Launch {
    match service {
        ServiceName::Http => Launch::new("http", config, move |config, _| {
            let app = match &config.serve.root {
                Some(root) => Http::with_root(root)
                    .map_err(|e| Failure::run(format!("serve.root: {}: {e}", root.display())))?,
                None => Http::with_body(config.serve.http_body_bytes),
            };
            Ok(serving(app, config, port))
        }),
        ServiceName::Echo => Launch::new("echo", config, move |config, _| {
            Ok(serving(Echo::new(), config, port))
        }),
        ServiceName::Discard => Launch::new("discard", config, move |config, _| {
            Ok(serving(Discard::new(), config, port))
        }),
        ServiceName::Chargen => Launch::new("chargen", config, move |config, _| {
            let limit = Some(config.serve.chargen_bytes).filter(|&n| n > 0);
            Ok(serving(Chargen::new(limit), config, port))
        }),
    }
}

/// An application with what it needs to listen.
pub(crate) fn serving<A: App>(app: A, config: &Config, port: u16) -> Serving<A> {
    let addresses = &config.net.addresses;
    let families = Families {
        v4: addresses.iter().any(|p| p.address.is_ipv4()),
        v6: addresses.iter().any(|p| p.address.is_ipv6()),
    };
    Serving {
        app,
        families,
        port,
        backlog: config.stack.backlog,
    }
}

/// The client on the other end of a ring wire, with the address next to the server's.
fn ring_client(config: &Config, service: ServiceName, port: u16, file: &str) -> Result<Launch, ConfigError> {
    let workload = match service {
        ServiceName::Http => Workload::Http { path: "/".into() },
        ServiceName::Echo => Workload::Echo { size: RING_ECHO_SIZE },
        ServiceName::Discard | ServiceName::Chargen => {
            let message = "the client that a ring wire comes with speaks http and echo only";
            return Err(ConfigError::of_key(file, "wire.kind", message));
        }
    };
    let (theirs, remote) = ring_peer(config).ok_or_else(|| {
        let message = "has no room for the client's address next to the server's";
        ConfigError::of_key(file, "net.addresses", message)
    })?;
    let load = LoadConfig {
        connections: RING_CONNECTIONS,
        ..LoadConfig::new(SocketAddr::new(remote, port), workload)
    };
    Ok(Launch::new("client", &theirs, move |_, part| {
        Ok(Asking(LoadClient::new(part_of(&load, part))))
    }))
}

/// The other end's configuration, and the address that it asks.
pub(crate) fn ring_peer(config: &Config) -> Option<(Config, std::net::IpAddr)> {
    let ours = config.net.addresses.first()?;
    let mut theirs = config.clone();
    theirs.net.addresses = vec![host::neighbor_of(ours)?];
    (theirs.net.gateway_v4, theirs.net.gateway_v6) = (None, None);
    Some((theirs, ours.address))
}

/// Where clients find it.
fn endpoints(addresses: &[Prefix], port: u16) -> String {
    let ends: Vec<_> = addresses
        .iter()
        .map(|p| SocketAddr::new(p.address, port).to_string())
        .collect();
    ends.join(" and ")
}

/// Its port, if none is configured.
pub(crate) const fn usual_port(service: ServiceName) -> u16 {
    match service {
        ServiceName::Http => Http::PORT,
        ServiceName::Echo => Echo::PORT,
        ServiceName::Discard => Discard::PORT,
        ServiceName::Chargen => Chargen::PORT,
    }
}

const fn service_name(service: ServiceName) -> &'static str {
    match service {
        ServiceName::Http => Http::NAME,
        ServiceName::Echo => Echo::NAME,
        ServiceName::Discard => Discard::NAME,
        ServiceName::Chargen => Chargen::NAME,
    }
}
