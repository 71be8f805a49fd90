//! `crore demo`: what Crore is, to be seen in ten seconds.
//!
//! It makes a TAP device, serves a page on its one end, and has the kernel's own
//! TCP fetch it from the other. Where no TAP device can be made, two stacks of
//! this process do the same over rings.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use crore::config::{Config, Prefix, WireKind};
use crore::services::Http;
use crore_load::{LoadClient, LoadConfig, Workload};
use serde::Serialize;

use crate::failure::Failure;
use crate::host;
use crate::run::{Launch, Running};
use crate::serve::{ring_peer, serving};
use crate::signals::Interrupted;
use crate::summary::{Summary, WireFacts, print_json};
use crate::wire::{TAP_INTERFACE, tap_interface};
use crate::work::Asking;

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Stop after the first page, with a summary in JSON on standard output
    #[arg(long)]
    once: bool,
    /// Two stacks in this process instead of a TAP device
    #[arg(long, hide = true)]
    ring: bool,
}

/// The page. `{what}` becomes what is running, `{url}` where.
const PAGE: &str = include_str!("demo.html");
/// Links that are tried, Crore's end of each; the host gets the address below.
const LINKS: &[(&str, &str)] = &[
    ("10.77.0.2/24", "fd77::2/64"),
    ("10.177.0.2/24", "fd77:1::2/64"),
    ("172.29.77.2/24", "fd77:2::2/64"),
    ("192.168.177.2/24", "fd77:3::2/64"),
];
/// How long the fetch may take: resolving the address, the handshake, the page.
const FETCH_LIMIT: Duration = Duration::from_secs(5);

/// What a fetch brought.
#[derive(Debug, Serialize)]
struct Fetched {
    url: String,
    status: u16,
    bytes: usize,
    /// The client's end: the kernel's, or the other stack's.
    peer: String,
    milliseconds: f64,
}

#[derive(Debug, Serialize)]
struct DemoSummary {
    url: String,
    status: u16,
    bytes: usize,
    /// The kernel's end of the connection; absent where no kernel took part.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_peer: Option<String>,
    fetches: Vec<Fetched>,
    driver: String,
    #[serde(flatten)]
    summary: Summary,
}

/// Serves, fetches, tells.
pub(crate) fn demo(arguments: &DemoArguments) -> Result<(), Failure> {
    let interrupted = Interrupted::watch()?;
    let obstacle = if arguments.ring { None } else { why_no_tap() };
    if let Some(why) = &obstacle {
        say(&format!("No TAP device can be made here: {why}."));
    }
    if arguments.ring || obstacle.is_some() {
        return over_ring(arguments, &interrupted);
    }
    over_tap(arguments, &interrupted)
}

fn over_tap(arguments: &DemoArguments, interrupted: &Interrupted) -> Result<(), Failure> {
    let config = tap_config()?;
    let running = match Running::start(&config, vec![page_launch(&config, "net_tap")]) {
        Ok(running) => running,
        Err(failure) => {
            // EAL starts once in a process, so the other way needs a new one.
            say(&format!("The TAP device did not come up: {failure}"));
            return Err(again_over_ring(arguments));
        }
    };
    let wire = WireFacts::of(&config, &running);
    let interface = tap_interface(&config);
    say(&format!(
        "Made the TAP device {interface}: this host is {} on it, Crore is {}.",
        list(&config.wire.host_addresses),
        list(&config.net.addresses)
    ));
    let fetches: Vec<_> = config.net.addresses.iter().map(|p| fetch(p.address)).collect();
    for fetched in &fetches {
        match fetched {
            Ok(f) => say(&format!(
                "This host's own TCP ({}) fetched {}: status {}, {} bytes, {:.2} ms.",
                f.peer, f.url, f.status, f.bytes, f.milliseconds
            )),
            Err(failure) => say(&format!("{failure}")),
        }
    }
    // One that came is enough to show: a firewall may stand in the other's way.
    let mut failure = None;
    let mut fetched = Vec::new();
    for fetch in fetches {
        match fetch {
            Ok(page) => fetched.push(page),
            Err(why) => failure = Some(why),
        }
    }
    if !arguments.once && !fetched.is_empty() {
        say(&format!(
            "Open http://{}/ here, or aim curl or wrk at it. Ctrl-C ends it.",
            config.net.addresses[0].address
        ));
        running.watch(&config, interrupted, false);
    }
    let ended = running.finish()?;
    let summary = Summary::new("demo", wire, ended)?;
    match (fetched.is_empty(), failure) {
        (true, Some(failure)) => Err(failure),
        _ => tell(arguments, summary, fetched, "net_tap", true),
    }
}

fn over_ring(arguments: &DemoArguments, interrupted: &Interrupted) -> Result<(), Failure> {
    say("Two stacks in this process talk over net_ring instead: the same stack, no kernel in between.");
    let config = ring_config()?;
    let (theirs, remote) = ring_peer(&config).ok_or_else(|| Failure::run("no room for a second address"))?;
    let peer = theirs.net.addresses[0].address.to_string();
    let requests = if arguments.once { 1 } else { u64::MAX };
    let load = LoadConfig {
        connections: if arguments.once { 1 } else { 32 },
        requests,
        time_limit: arguments
            .once
            .then(|| crore::Duration::from_secs(FETCH_LIMIT.as_secs())),
        ..LoadConfig::new(SocketAddr::new(remote, 80), Workload::Http { path: "/".into() })
    };
    let client = Launch::new("client", &theirs, move |_, _| {
        Ok(Asking(LoadClient::new(load.clone())))
    });
    let running = Running::start(&config, vec![page_launch(&config, "net_ring"), client])?;
    let wire = WireFacts::of(&config, &running);
    if !arguments.once {
        say("One serves a page, the other fetches it again and again. Ctrl-C ends it.");
    }
    running.watch(&config, interrupted, arguments.once);
    let summary = Summary::new("demo", wire, running.finish()?)?;
    let fetched = summary
        .client
        .as_ref()
        .filter(|c| c.requests > 0)
        .map(|client| Fetched {
            url: url(remote),
            status: 200,
            bytes: page(&config, "net_ring").len(),
            peer,
            milliseconds: client.latency.p50_us / 1e3,
        });
    let Some(fetched) = fetched else {
        return Err(Failure::run("the page did not come over net_ring"));
    };
    say(&format!(
        "The other stack ({}) fetched {}: status 200, {} bytes.",
        fetched.peer, fetched.url, fetched.bytes
    ));
    tell(arguments, summary, vec![fetched], "net_ring", false)
}

/// Starts this program anew without a TAP device; returns only if that fails.
fn again_over_ring(arguments: &DemoArguments) -> Failure {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(e) => return Failure::run(format!("can't find this program to start it again: {e}")),
    };
    let mut command = std::process::Command::new(program);
    command.args(["demo", "--ring"]);
    if arguments.once {
        command.arg("--once");
    }
    Failure::run(format!("can't start again: {}", command.exec()))
}

fn tell(
    arguments: &DemoArguments,
    summary: Summary,
    fetches: Vec<Fetched>,
    driver: &str,
    by_kernel: bool,
) -> Result<(), Failure> {
    summary.say();
    let leaks = summary.check();
    let Some(first) = fetches.first() else {
        return Err(Failure::run("nothing was fetched"));
    };
    let status = first.status;
    if arguments.once {
        print_json(&DemoSummary {
            url: first.url.clone(),
            status,
            bytes: first.bytes,
            kernel_peer: by_kernel.then(|| first.peer.clone()),
            driver: driver.into(),
            fetches,
            summary,
        })?;
    }
    leaks
}

/// Why no TAP device can be made, as far as can be told before DPDK starts:
/// afterwards there is no second try in this process.
fn why_no_tap() -> Option<String> {
    const CAP_NET_ADMIN: u32 = 12;
    if let Err(e) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
    {
        return Some(format!("/dev/net/tun: {e}"));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    if effective & (1 << CAP_NET_ADMIN) == 0 {
        return Some("it takes CAP_NET_ADMIN, so run it as root".into());
    }
    (!host::has_iproute2()).then(|| "`ip` is missing (package iproute2)".into())
}

/// A TAP wire on a link that this host does not use yet.
fn tap_config() -> Result<Config, Failure> {
    let taken = host::known_prefixes()?;
    let free = |text: &str| {
        let prefix: Prefix = text.parse().ok()?;
        (!taken.iter().any(|other| host::overlap(&prefix, other))).then_some(prefix)
    };
    let v4 = LINKS.iter().find_map(|(v4, _)| free(v4)).ok_or_else(|| {
        Failure::run("this host uses every network that the demonstration knows; serve with a configuration of your own")
    })?;
    let v6 = if host::has_ipv6() {
        LINKS.iter().find_map(|(_, v6)| free(v6))
    } else {
        None
    };
    let interface = (0..16)
        .map(|n| {
            if n == 0 {
                TAP_INTERFACE.to_owned()
            } else {
                format!("crore{n}")
            }
        })
        .find(|name| !Path::new("/sys/class/net").join(name).exists());
    let mut config = Config::default();
    config.wire.kind = WireKind::Tap;
    config.wire.interface = interface;
    config.net.addresses = [Some(v4), v6].into_iter().flatten().collect();
    config.wire.host_addresses = config
        .net
        .addresses
        .iter()
        .filter_map(host::neighbor_of)
        .collect();
    for prefix in &config.wire.host_addresses {
        log::debug!("the host's end: {prefix}");
    }
    Ok(demo_sized(config))
}

fn ring_config() -> Result<Config, Failure> {
    let mut config = Config::default();
    config.wire.kind = WireKind::Ring;
    let prefix = LINKS[0].0.parse::<Prefix>().map_err(Failure::run)?;
    config.net.addresses = vec![prefix];
    Ok(demo_sized(config))
}

/// A demonstration shares the machine with whoever looks at it.
fn demo_sized(mut config: Config) -> Config {
    config.eal.memory_mb = 256;
    config.serve.drain_seconds = 1;
    config
}

fn page_launch(config: &Config, driver: &'static str) -> Launch {
    Launch::new("http", config, move |config, _| {
        let app = Http::with_page(page(config, driver).as_bytes(), "text/html; charset=utf-8");
        Ok(serving(app, config, 80))
    })
}

fn page(config: &Config, driver: &str) -> String {
    let place = config
        .net
        .addresses
        .first()
        .map(|p| url(p.address))
        .unwrap_or_default();
    let what = format!(
        "Crore {}, {}, {driver}",
        crate::cli::crore_version(),
        crore_dpdk::version()
    );
    PAGE.replace("{what}", &what).replace("{url}", &place)
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]/"),
    }
}

/// Fetches the page with the kernel's TCP.
fn fetch(address: IpAddr) -> Result<Fetched, Failure> {
    let url = url(address);
    let failed = |e: std::io::Error| Failure::run(format!("{url} was not fetched: {e}"));
    let started = Instant::now();
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::new(address, 80), FETCH_LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(FETCH_LIMIT)).map_err(failed)?;
    let peer = stream.local_addr().map_err(failed)?.to_string();
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(failed)?;
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let (status, bytes) = status_and_body(&reply)
        .filter(|&(status, _)| status == 200)
        .ok_or_else(|| Failure::run(format!("{url} was answered by no page: {} bytes", reply.len())))?;
    Ok(Fetched {
        url,
        status,
        bytes,
        peer,
        milliseconds,
    })
}

/// The status of a response and the length of its body.
fn status_and_body(reply: &[u8]) -> Option<(u16, usize)> {
    let head = reply.windows(4).position(|w| w == b"\r\n\r\n")?;
    let line = std::str::from_utf8(reply.get(..head)?).ok()?.lines().next()?;
    let status = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some((status, reply.len() - head - 4))
}

fn list(prefixes: &[Prefix]) -> String {
    prefixes
        .iter()
        .map(|p| p.address.to_string())
        .collect::<Vec<_>>()
        .join(" and ")
}

fn say(text: &str) {
    eprintln!("{text}");
}
