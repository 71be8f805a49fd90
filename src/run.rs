//! Ports under shards, shards on threads, and the thread that watches over them.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crore::config::{Config, WireKind};
use crore_dpdk::{PortStats, QueuePair};

use crate::clock;
use crate::failure::Failure;
use crate::host;
use crate::live::LiveLine;
use crate::signals::Interrupted;
use crate::wire::{self, OpenWire};
use crate::worker::{self, Outcome, Shared, Work};

/// How often the watching thread looks around.
const LOOK: Duration = Duration::from_millis(20);

type Body = Box<dyn FnOnce(QueuePair, u16, Arc<Shared>, mpsc::Sender<()>) -> Result<Outcome, Failure> + Send>;

/// A shard to be started: how it is called, what it does.
pub(crate) struct Launch {
    name: &'static str,
    body: Body,
}

impl Launch {
    /// A shard of `config` whose work `make` makes, on the shard's own thread.
    pub(crate) fn new<W: Work>(
        name: &'static str,
        config: &Config,
        make: impl FnOnce(&Config) -> Result<W, Failure> + Send + 'static,
    ) -> Self {
        let config = config.clone();
        let body: Body = Box::new(move |queues, core, shared, ready| {
            let work = make(&config)?;
            worker::run(&config, queues, core, work, &shared, || {
                let _ = ready.send(());
            })
        });
        Self { name, body }
    }
}

/// Shards that run.
pub(crate) struct Running {
    wire: OpenWire,
    shards: Vec<RunningShard>,
    started: Instant,
}

struct RunningShard {
    name: &'static str,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Outcome, Failure>>,
}

/// What is known at the end.
pub(crate) struct Ended {
    /// In the order of the launches.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) ports: Vec<Option<PortStats>>,
    pub(crate) mbufs_in_use: u32,
    pub(crate) duration: Duration,
}

impl Running {
    /// Opens the wire, puts the first launch on its first port, the second, if
    /// there is one, on the second, and waits until all are up.
    pub(crate) fn start(config: &Config, launches: Vec<Launch>) -> Result<Self, Failure> {
        let with_host = config.wire.kind == WireKind::Tap && !config.wire.host_addresses.is_empty();
        if with_host && !host::has_iproute2() {
            return Err(Failure::run(
                "wire.host_addresses: `ip` is missing; install the package iproute2",
            ));
        }
        let wire = OpenWire::open(config)?;
        let mut running = Self {
            wire,
            shards: Vec::new(),
            started: Instant::now(),
        };
        match running.launch(config, launches).and_then(|()| {
            if with_host {
                host::set_up(wire::tap_interface(config), &config.wire.host_addresses)
            } else {
                Ok(())
            }
        }) {
            Ok(()) => Ok(running),
            Err(failure) => {
                // Why a shard did not come up is more to the point than what followed.
                running.finish().and(Err(failure))
            }
        }
    }

    fn launch(&mut self, config: &Config, launches: Vec<Launch>) -> Result<(), Failure> {
        let cores = cores(config, launches.len());
        for (i, Launch { name, body }) in launches.into_iter().enumerate() {
            let port = self
                .wire
                .ports
                .get(i)
                .ok_or_else(|| Failure::run("the wire has too few ports"))?;
            let queues = port
                .take_queues()
                .pop()
                .ok_or_else(|| Failure::run("the port has no queues"))?;
            let shared = Arc::new(Shared::default());
            let (ready, is_ready) = mpsc::channel();
            let (core, theirs) = (cores[i], shared.clone());
            let thread = thread::Builder::new()
                .name(name.into())
                .spawn(move || body(queues, core, theirs, ready))
                .map_err(|e| Failure::run(format!("no thread: {e}")))?;
            self.shards.push(RunningShard { name, shared, thread });
            is_ready
                .recv()
                .map_err(|_| Failure::run(format!("{name} did not start")))?;
        }
        Ok(())
    }

    /// The figures of all shards, as they go on.
    pub(crate) fn figures(&self) -> Vec<Arc<Shared>> {
        self.shards.iter().map(|shard| shard.shared.clone()).collect()
    }

    pub(crate) fn wire(&self) -> &OpenWire {
        &self.wire
    }

    /// Shows a live line until somebody asks for the end, a shard ends by
    /// itself, or the configured time is over.
    pub(crate) fn watch(&self, config: &Config, interrupted: &Interrupted, quiet: bool) {
        let every = Duration::from_secs(config.serve.live_seconds);
        let mut line = LiveLine::new();
        let mut next_line = Instant::now() + every;
        loop {
            let over = config
                .duration()
                .is_some_and(|limit| self.started.elapsed() >= limit);
            if interrupted.asked() || over || self.shards.iter().any(|s| s.thread.is_finished()) {
                break;
            }
            if !quiet && !every.is_zero() && Instant::now() >= next_line {
                next_line += every;
                line.show(&self.shards[0].shared.live());
            }
            clock::rest(LOOK);
        }
        line.end();
    }

    /// Ends the shards, the last launched first, closes the wire, and says what was.
    pub(crate) fn finish(self) -> Result<Ended, Failure> {
        let Self {
            wire,
            shards,
            started,
        } = self;
        let mut outcomes = Vec::new();
        let mut failure = None;
        for RunningShard { name, shared, thread } in shards.into_iter().rev() {
            shared.stop();
            match thread.join() {
                Ok(Ok(outcome)) => outcomes.push(outcome),
                Ok(Err(error)) => failure = Some(error),
                Err(_) => {
                    failure = Some(Failure::run(format!(
                        "{name}: a bug ended its thread (see above)"
                    )))
                }
            }
        }
        outcomes.reverse();
        let ports = wire.ports.iter().map(|port| port.stats().ok()).collect();
        let mbufs_in_use = wire.close();
        match failure {
            Some(failure) => Err(failure),
            None => Ok(Ended {
                outcomes,
                ports,
                mbufs_in_use,
                duration: started.elapsed(),
            }),
        }
    }
}

/// A core for each shard: those that are configured, else those that this
/// process may use; the last of them for all that are left over.
fn cores(config: &Config, wanted: usize) -> Vec<u16> {
    let mut cores = config.eal.cores.clone();
    let more = allowed_cores()
        .into_iter()
        .filter(|core| !config.eal.cores.contains(core));
    cores.extend(more);
    let last = cores.last().copied().unwrap_or(0);
    (0..wanted)
        .map(|i| cores.get(i).copied().unwrap_or(last))
        .collect()
}

/// The cores that this process may run on.
pub(crate) fn allowed_cores() -> Vec<u16> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0");
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            cores.extend(first..=last);
        }
    }
    cores
}
