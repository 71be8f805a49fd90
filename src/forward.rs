//! `crore forward` and `crore bounce`: the wire without a stack, the limit that
//! a stack's rate is a ratio of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;
use crore::MacAddr;
use crore::config::{Config, ConfigError};
use crore::nic::Nic;
use crore_dpdk::{ForwardStats, PortNic};
use crore_load::Bounce;
use serde::Serialize;

use crate::cli::ConfigArguments;
use crate::clock::Clock;
use crate::control;
use crate::failure::Failure;
use crate::signals::Interrupted;
use crate::summary::print_json;
use crate::wire::OpenWire;

#[derive(Debug, Args)]
pub(crate) struct ForwardArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// End after so many seconds; without it, on SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// End when standard input closes
    #[arg(long)]
    control: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BounceArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Bytes of a frame
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=9014))]
    size: u16,
    /// Frames under way at most
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// How long
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u64,
    /// The core of the forwarder on the other end of a ring wire, which is in this process
    #[arg(long, hide = true, value_name = "CORE")]
    forwarder_core: Option<u16>,
    /// End when standard input closes
    #[arg(long)]
    control: bool,
}

/// What a forwarder did.
#[derive(Serialize)]
struct Forwarded {
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Forwarded {
    fn of(stats: &ForwardStats) -> Self {
        Self {
            received: stats.received,
            sent: stats.sent,
            dropped: stats.dropped,
        }
    }
}

/// Longer than anything runs.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Sends every frame back to where it came from.
pub(crate) fn forward(arguments: &ForwardArguments) -> Result<(), Failure> {
    let interrupted = Interrupted::watch()?;
    let (wire, mut nic) = open(&arguments.config, || {
        if arguments.control {
            control::ready()?;
            control::end_with_input(&interrupted)?;
        }
        Ok(())
    })?;
    log::info!("forwarding");
    let time = arguments.seconds.map_or(FOREVER, Duration::from_secs);
    let stats = crore_dpdk::forward(&mut nic, time, &|| interrupted.asked());
    drop(nic);
    wire.close();
    print_json(&Forwarded::of(&stats))
}

/// Sends frames to a forwarder and counts those that come back.
pub(crate) fn bounce(arguments: &BounceArguments) -> Result<(), Failure> {
    let interrupted = Interrupted::watch()?;
    let (wire, mut nic) = open(&arguments.config, || {
        if arguments.control {
            control::end_with_input(&interrupted)?;
        }
        Ok(())
    })?;
    let forwarder = match arguments.forwarder_core {
        Some(core) => Some(Forwarder::start(&wire, core)?),
        None => None,
    };
    let source: MacAddr = nic.capabilities().mac;
    let mut bounce = Bounce::new(source, usize::from(arguments.size), arguments.window);
    let mut clock = Clock::start();
    let end = clock.now() + crore::Duration::from_secs(arguments.seconds);
    loop {
        let now = clock.now();
        if now >= end || interrupted.asked() {
            break;
        }
        bounce.turn(now, &mut nic);
    }
    if arguments.control {
        control::stopped(&interrupted)?;
    }
    let forwarded = forwarder.map(Forwarder::end).transpose()?;
    drop(nic);
    wire.close();
    match forwarded {
        Some(server) => print_json(&Both {
            server,
            load: bounce.report(),
        }),
        None => print_json(&bounce.report()),
    }
}

/// What both ends of a ring wire found.
#[derive(Serialize)]
struct Both<T> {
    server: Forwarded,
    load: T,
}

/// A forwarder on the second port of a wire, on a thread of its own.
struct Forwarder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<ForwardStats, Failure>>,
}

impl Forwarder {
    fn start(wire: &OpenWire, core: u16) -> Result<Self, Failure> {
        let port = wire
            .ports
            .get(1)
            .ok_or_else(|| ConfigError::of_origin("--forwarder-core", "wants a ring wire"))?;
        let queues = port
            .take_queues()
            .pop()
            .ok_or_else(|| Failure::run("the port has no queues"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = thread::Builder::new()
            .name("forward".into())
            .spawn(move || {
                crore_dpdk::pin_to_core(core)?;
                let mut nic = PortNic::new(queues)?;
                Ok(crore_dpdk::forward(&mut nic, FOREVER, &|| {
                    asked.load(Ordering::Relaxed)
                }))
            })
            .map_err(|e| Failure::run(format!("no thread: {e}")))?;
        Ok(Self { stop, thread })
    }

    fn end(self) -> Result<Forwarded, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(stats) => Ok(Forwarded::of(&stats?)),
            Err(_) => Err(Failure::run("a bug ended the forwarder's thread (see above)")),
        }
    }
}

fn open(
    arguments: &ConfigArguments,
    is_up: impl FnOnce() -> Result<(), Failure>,
) -> Result<(OpenWire, PortNic), Failure> {
    let config = arguments.load(Vec::new())?;
    let wire = open_wire(&config, is_up)?;
    let nic = take_nic(&wire)?;
    Ok((wire, nic))
}

/// Opens the wire, for a thread that polls it without a stack's usual loop; when
/// its ports are up, and before they are linked, calls `is_up`.
pub(crate) fn open_wire(
    config: &Config,
    is_up: impl FnOnce() -> Result<(), Failure>,
) -> Result<OpenWire, Failure> {
    if config.queues() > 1 {
        let message = "has to be a single one here: the bare wire is polled on one queue";
        return Err(ConfigError::of_key("the configuration", "eal.cores", message).into());
    }
    let wire = OpenWire::open(config)?;
    is_up()?;
    crore_dpdk::pin_to_core(config.eal.cores.first().copied().unwrap_or(0))?;
    Ok(wire)
}

/// The first queues of the wire's first port, once the other end is there.
pub(crate) fn take_nic(wire: &OpenWire) -> Result<PortNic, Failure> {
    let port = wire
        .ports
        .first()
        .ok_or_else(|| Failure::run("the wire has no port"))?;
    let queues = port
        .take_queues()
        .pop()
        .ok_or_else(|| Failure::run("the port has no queues"))?;
    port.wait_for_link(Duration::from_secs(10));
    Ok(PortNic::new(queues)?)
}
