//! Ports under shards, shards on threads, and the thread that watches over them.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crore::config::{Config, WireKind};
use crore::{Peers, Steering};
use crore_dpdk::{Port, PortStats, QueuePair};

use crate::capacity;
use crate::clock;
use crate::failure::Failure;
use crate::host;
use crate::live::LiveLine;
use crate::signals::Interrupted;
use crate::wire::{self, OpenWire};
use crate::work::Work;
use crate::worker::{self, Live, Outcome, Part, Place, Shared};

/// How often the watching thread looks around.
const LOOK: Duration = Duration::from_millis(20);

type Body =
    dyn Fn(Place, Vec<QueuePair>, &Shared, mpsc::Sender<()>) -> Result<Outcome, Failure> + Send + Sync;

/// Shards of one kind to be started: how they are called, what each does.
pub(crate) struct Launch {
    name: &'static str,
    body: Arc<Body>,
    /// Where they run; the wire's own cores, in order, where this names none.
    cores: Vec<u16>,
}

impl Launch {
    /// The shards of `config`, whose work `make` makes, each on its own thread: it
    /// is told one shard's part of the limits, and which one it is.
    pub(crate) fn new<W: Work>(
        name: &'static str,
        config: &Config,
        make: impl Fn(&Config, Part) -> Result<W, Failure> + Send + Sync + 'static,
    ) -> Self {
        let config = config.of_one_shard();
        let body: Arc<Body> = Arc::new(move |place, queues, shared, ready| {
            let work = make(&config, place.part)?;
            worker::run(&config, queues, place, work, shared, || {
                let _ = ready.send(());
            })
        });
        Self {
            name,
            body,
            cores: Vec::new(),
        }
    }

    /// The same on cores of its own choice.
    pub(crate) fn on(mut self, cores: &[u16]) -> Self {
        self.cores = cores.to_vec();
        self
    }
}

/// Shards that run.
pub(crate) struct Running {
    wire: OpenWire,
    /// In the order of the launches, each with its shards.
    groups: Vec<Vec<RunningShard>>,
    started: Instant,
}

struct RunningShard {
    name: &'static str,
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Outcome, Failure>>,
}

impl RunningShard {
    fn is_over(&self) -> bool {
        self.shared.is_finished() || self.thread.is_finished()
    }
}

/// What is known at the end.
pub(crate) struct Ended {
    /// In the order of the launches, each with how its shards ended.
    pub(crate) outcomes: Vec<Vec<Outcome>>,
    pub(crate) ports: Vec<Option<PortStats>>,
    pub(crate) mbufs_in_use: u32,
    pub(crate) duration: Duration,
}

impl Ended {
    /// What is known of the first kind, and of the second.
    pub(crate) fn split(self) -> (Self, Option<Self>) {
        let Self {
            outcomes,
            ports,
            mbufs_in_use,
            duration,
        } = self;
        let mut kinds = outcomes.into_iter().zip(ports).map(|(outcomes, port)| Self {
            outcomes: vec![outcomes],
            ports: vec![port],
            mbufs_in_use,
            duration,
        });
        let first = kinds.next().unwrap_or(Self {
            outcomes: Vec::new(),
            ports: Vec::new(),
            mbufs_in_use,
            duration,
        });
        (first, kinds.next())
    }
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
        capacity::check(config)?;
        let wire = OpenWire::open(config)?;
        let mut running = Self {
            wire,
            groups: Vec::new(),
            started: Instant::now(),
        };
        let mut cores = cores(config).into_iter().cycle();
        let up = launches
            .into_iter()
            .enumerate()
            .try_for_each(|(port, launch)| running.launch(config, port, launch, &mut cores));
        match up.and_then(|()| {
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

    /// Starts the shards of one kind on a port, each with its part of the queues.
    fn launch(
        &mut self,
        config: &Config,
        port: usize,
        launch: Launch,
        cores: &mut impl Iterator<Item = u16>,
    ) -> Result<(), Failure> {
        let port = self.wire.ports.get(port);
        let port = port.ok_or_else(|| Failure::run("the wire has too few ports"))?;
        let of = config.shards();
        let steering = Arc::new(steering(port, config));
        let mut queues: Vec<Vec<QueuePair>> = (0..of).map(|_| Vec::new()).collect();
        for queue in port.take_queues() {
            queues[usize::from(queue.index() % of)].push(queue);
        }
        let mut peers = Peers::of(&steering).into_iter();
        let unsettled = Arc::new(AtomicUsize::new(of.into()));
        self.groups.push(Vec::new());
        for (index, queues) in (0..of).zip(queues) {
            let place = Place {
                part: Part { index, of },
                core: match launch.cores.get(usize::from(index)) {
                    Some(&core) => core,
                    None => cores.next().unwrap_or(0),
                },
                steering: steering.clone(),
                peers: peers.next().filter(|_| of > 1),
            };
            let shared = Arc::new(Shared::new(unsettled.clone()));
            let (ready, is_ready) = mpsc::channel();
            let (name, body, theirs) = (launch.name, launch.body.clone(), shared.clone());
            let thread = thread::Builder::new()
                .name(name.into())
                .spawn(move || body(place, queues, &theirs, ready))
                .map_err(|e| Failure::run(format!("no thread: {e}")))?;
            if let Some(group) = self.groups.last_mut() {
                group.push(RunningShard { name, shared, thread });
            }
            is_ready
                .recv()
                .map_err(|_| Failure::run(format!("{name} did not start")))?;
        }
        Ok(())
    }

    /// The figures of the first kind's shards, as they go on.
    pub(crate) fn figures(&self) -> Vec<Arc<Shared>> {
        let shards = self.groups.iter().take(1).flatten();
        shards.map(|shard| shard.shared.clone()).collect()
    }

    pub(crate) fn wire(&self) -> &OpenWire {
        &self.wire
    }

    /// Shows a live line until somebody asks for the end, the shards of a kind have
    /// done what they were there for, or the configured time is over.
    pub(crate) fn watch(&self, config: &Config, interrupted: &Interrupted, quiet: bool) {
        let every = Duration::from_secs(config.serve.live_seconds);
        let mut line = LiveLine::new();
        let mut next_line = Instant::now() + every;
        loop {
            let over = config
                .duration()
                .is_some_and(|limit| self.started.elapsed() >= limit);
            if interrupted.asked() || over || self.groups.iter().any(|group| is_over(group)) {
                break;
            }
            if !quiet && !every.is_zero() && Instant::now() >= next_line {
                next_line += every;
                let mut live = Live::default();
                for shard in self.groups.first().into_iter().flatten() {
                    live.merge(&shard.shared.live());
                }
                line.show(&live);
            }
            clock::rest(LOOK);
        }
        line.end();
    }

    /// Ends the shards, the last launched kind first, closes the wire, and says what was.
    pub(crate) fn finish(self) -> Result<Ended, Failure> {
        self.finish_when(|| Ok(()))
    }

    /// The same; the wire stays until `may_close` comes back, although nobody
    /// polls it any more.
    pub(crate) fn finish_when(
        self,
        may_close: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Ended, Failure> {
        let Self {
            wire,
            groups,
            started,
        } = self;
        let mut outcomes = Vec::new();
        let mut failure = None;
        for group in groups.into_iter().rev() {
            for shard in &group {
                shard.shared.stop();
            }
            let mut ended = Vec::new();
            for RunningShard { name, thread, .. } in group {
                match thread.join() {
                    Ok(Ok(outcome)) => ended.push(outcome),
                    Ok(Err(error)) => failure = Some(error),
                    Err(_) => {
                        failure = Some(Failure::run(format!(
                            "{name}: a bug ended its thread (see above)"
                        )))
                    }
                }
            }
            outcomes.push(ended);
        }
        outcomes.reverse();
        failure = failure.or(may_close().err());
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

/// Whether the shards of a kind have all done what they were there for, or one of
/// them is no more.
fn is_over(group: &[RunningShard]) -> bool {
    group.iter().all(RunningShard::is_over) || group.iter().any(|shard| shard.thread.is_finished())
}

/// How flows are divided: as the NIC says that it does, else by software, which
/// is how another Crore on the other end divides them too.
pub(crate) fn steering(port: &Port, config: &Config) -> Steering {
    let shards = config.shards();
    port.rss()
        .and_then(|rss| Steering::of_nic(&rss.key, &rss.table, shards))
        .unwrap_or_else(|| Steering::symmetric(config.queues(), shards))
}

/// The cores for shards, in order: those that are configured, then the others that
/// this process may use, for the shards on the second port of a wire.
fn cores(config: &Config) -> Vec<u16> {
    let mut cores = config.eal.cores.clone();
    let more = allowed_cores()
        .into_iter()
        .filter(|core| !config.eal.cores.contains(core));
    cores.extend(more);
    cores
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
