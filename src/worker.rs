//! What runs on a shard's own thread: one turn after another, until it is told
//! to stop; then an end in order.
//!
//! Always true: the loop reads the clock once a turn, takes no lock but the one
//! for its figures some times a second, and never waits longer than
//! [`PAUSE_LONG`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crore::config::{Config, Poll};
use crore::nic::Nic;
use crore::nic::fault::{FaultNic, FaultStats};
use crore::services::AppCounters;
use crore::{
    Counters, DropReason, Duration, Instant, PeerCounters, Peers, Shard, Share, Spread, Stack, Steering,
};
use crore_dpdk::{PortNic, QueuePair};
use crore_load::LoadReport;

use crate::clock::Clock;
use crate::failure::Failure;
use crate::work::Work;

/// How often the figures are shown to the supervising thread.
const PUBLISH: Duration = Duration::from_millis(50);
/// With nothing to do for so long, a core begins to pause. A peer's answer within
/// this time still finds it polling.
const IDLE_SHORT: Duration = Duration::from_micros(500);
/// With nothing to do for so long, pauses become long ones.
const IDLE_LONG: Duration = Duration::from_millis(50);
const PAUSE_SHORT: Duration = Duration::from_micros(20);
const PAUSE_LONG: Duration = Duration::from_micros(250);
/// What remains to be sent after everything was reset is given up when nothing
/// of it got away for so long.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How often it is asked whether connections are still finishing: the answer
/// takes a walk over all of them.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// The figures that the supervising thread sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) counters: Counters,
    pub(crate) app: AppCounters,
    pub(crate) open: usize,
    pub(crate) peers: PeerCounters,
}

impl Live {
    /// Adds another shard's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.app.merge(&other.app);
        self.open += other.open;
        self.peers.merge(&other.peers);
    }
}

/// Which of how many shards one is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) index: u16,
    pub(crate) of: u16,
}

impl Part {
    /// An even part of `total`, which the shards divide among them.
    pub(crate) fn share(self, total: u64) -> u64 {
        let (index, of) = (u64::from(self.index), u64::from(self.of));
        total / of + u64::from(index < total % of)
    }

    /// The same, where no more than `holders` have anything to do.
    pub(crate) fn share_among(self, total: u64, holders: u64) -> u64 {
        let of = u64::from(self.of).min(holders).max(1) as u16;
        if self.index < of {
            Self { of, ..self }.share(total)
        } else {
            0
        }
    }
}

/// A shard's place in the program.
pub(crate) struct Place {
    pub(crate) part: Part,
    pub(crate) core: u16,
    pub(crate) steering: Arc<Steering>,
    /// None where it is the only one.
    pub(crate) peers: Option<Peers>,
}

/// What both threads share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    finished: AtomicBool,
    /// Shards of the same kind that still have something to settle at the end.
    unsettled: Arc<AtomicUsize>,
    live: Mutex<Live>,
}

impl Shared {
    pub(crate) fn new(unsettled: Arc<AtomicUsize>) -> Self {
        Self {
            unsettled,
            ..Self::default()
        }
    }

    /// Whether it has done all that it was there for.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn live(&self) -> Live {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How a shard ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counters: Counters,
    pub(crate) app: AppCounters,
    /// Connections that are left in the stack although nothing is owed to anybody: a bug.
    pub(crate) connections: usize,
    /// Connections whose reset the wire did not take.
    pub(crate) untold: usize,
    /// Connections that were reset because their time was up.
    pub(crate) reset_at_end: usize,
    pub(crate) faults: Option<FaultStats>,
    pub(crate) load: Option<LoadReport>,
    pub(crate) peers: PeerCounters,
    pub(crate) core: u16,
}

impl Outcome {
    /// Adds how another shard of the same kind ended.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.app.merge(&other.app);
        self.connections += other.connections;
        self.untold += other.untold;
        self.reset_at_end += other.reset_at_end;
        self.peers.merge(&other.peers);
        if let (Some(ours), Some(theirs)) = (&mut self.faults, &other.faults) {
            ours.merge(theirs);
        }
        if let (Some(ours), Some(theirs)) = (&mut self.load, &other.load) {
            ours.merge(theirs);
        }
    }
}

/// Puts a stack and its work on its queues, says so by `ready`, and runs until
/// [`Shared::stop`].
pub(crate) fn run<W: Work>(
    config: &Config,
    queues: Vec<QueuePair>,
    place: Place,
    work: W,
    shared: &Shared,
    ready: impl FnOnce(),
) -> Result<Outcome, Failure> {
    crore_dpdk::pin_to_core(place.core)?;
    let mut nics = Vec::new();
    for queue in queues {
        nics.push((queue.index(), PortNic::new(queue)?));
    }
    if nics.len() > 1 {
        let spread = Spread::new(place.steering.clone(), nics);
        let nic = spread.ok_or_else(|| Failure::run("the port has no queues"))?;
        return run_on(config, nic, place, work, shared, ready);
    }
    let (_, nic) = nics.pop().ok_or_else(|| Failure::run("the port has no queues"))?;
    run_on(config, nic, place, work, shared, ready)
}

fn run_on<N: Nic, W: Work>(
    config: &Config,
    nic: N,
    place: Place,
    work: W,
    shared: &Shared,
    ready: impl FnOnce(),
) -> Result<Outcome, Failure> {
    if config.faults.any() {
        let mut faults = config.faults.to_fault_config();
        faults.seed = faults.seed.wrapping_add(place.part.index.into());
        let nic = FaultNic::new(nic, faults).holding(config.faults.held_frames as usize);
        let (mut outcome, nic) = drive(config, nic, place, work, shared, ready)?;
        outcome.faults = Some(nic.stats());
        Ok(outcome)
    } else {
        drive(config, nic, place, work, shared, ready).map(|(outcome, _)| outcome)
    }
}

fn drive<N: Nic, W: Work>(
    config: &Config,
    nic: N,
    place: Place,
    mut work: W,
    shared: &Shared,
    ready: impl FnOnce(),
) -> Result<(Outcome, N), Failure> {
    let Place {
        part,
        core,
        steering,
        peers,
    } = place;
    let mut limits = config.stack_config();
    limits.share = peers.as_ref().map(|_| Share {
        steering,
        shard: part.index,
    });
    limits.fast_open_secret = Some(shared_secret()?);
    let mut stack =
        Stack::new(limits, nic.capabilities(), secret()?).map_err(|e| Failure::run(e.to_string()))?;
    work.begin(&mut stack)?;
    let shard = Shard::new(nic, stack, work);
    let mut driver = Driver {
        shard: match peers {
            Some(peers) => shard.among(peers),
            None => shard,
        },
        clock: Clock::start(),
        now: Instant::ZERO,
        idle: false,
        shared,
        rest: Rest {
            poll: config.serve.poll,
            last_work: Instant::ZERO,
        },
        next_publish: Instant::ZERO,
        hinted: false,
        close_wait: CloseWaitAlarm::default(),
    };
    ready();
    // One that is finished goes on: others may need what comes to its queue.
    while !shared.stopping() {
        driver.turn();
        if driver.shard.service().is_finished() && !shared.is_finished() {
            let now = driver.clock.now();
            driver.publish(now);
            shared.finished.store(true, Ordering::Relaxed);
        }
    }
    let reset_at_end = driver.drain(Duration::from_secs(config.serve.drain_seconds));
    let now = driver.clock.now();
    driver.publish(now);
    let peers = driver.shard.peer_counters();
    let (nic, stack, work) = driver.shard.into_parts();
    let (connections, untold) = match (stack.connections(), stack.has_work()) {
        (left, true) => (0, left),
        (left, false) => (left, 0),
    };
    let outcome = Outcome {
        peers,
        core,
        counters: stack.counters().clone(),
        app: work.counters(),
        connections,
        untold,
        reset_at_end,
        faults: None,
        load: work.report(now),
    };
    Ok((outcome, nic))
}

struct Driver<'a, N: Nic, W: Work> {
    shard: Shard<N, W>,
    clock: Clock,
    /// When the last turn began, and whether it found nothing to do.
    now: Instant,
    idle: bool,
    shared: &'a Shared,
    rest: Rest,
    next_publish: Instant,
    hinted: bool,
    close_wait: CloseWaitAlarm,
}

impl<N: Nic, W: Work> Driver<'_, N, W> {
    #[inline]
    fn turn(&mut self) -> Instant {
        // What comes while there is nothing else to do has its turn at once, instead
        // of waiting for the end of another one; and the clock is read after it came.
        if self.idle {
            self.shard.listen(self.now);
        }
        let now = self.clock.now();
        self.now = now;
        let turn = self.shard.turn(now);
        self.idle = turn.is_idle();
        if self.idle {
            if self.rest.is_due(now) {
                self.rest.pause(now, self.shard.next_wakeup(now));
            }
        } else {
            self.rest.last_work = now;
        }
        if now >= self.next_publish {
            self.publish(now);
        }
        now
    }

    /// Lets what is open finish, resets what has not within `limit`, and says
    /// how many connections that were.
    fn drain(&mut self, limit: Duration) -> usize {
        let started = self.turn();
        let (stack, work) = self.shard.parts_mut();
        work.drain(stack, started);
        let mut next_look = started;
        let mut settled = false;
        loop {
            let now = self.turn();
            if now >= next_look {
                next_look = now + DRAIN_LOOK;
                if !settled && self.shard.service().open() == 0 && self.shard.stack().unfinished() == 0 {
                    settled = true;
                    self.shared.unsettled.fetch_sub(1, Ordering::Relaxed);
                }
                // What comes to this queue may be for another that is not yet done.
                let all_settled = settled && self.shared.unsettled.load(Ordering::Relaxed) == 0;
                if all_settled || now.since(started) >= limit {
                    break;
                }
            }
        }
        let reset = self.shard.stack().unfinished();
        let (stack, work) = self.shard.parts_mut();
        work.abort_all(stack);
        stack.abort_all();
        // Millions take their time; it is over when it no longer goes on.
        let (mut left, mut went_on) = (self.shard.stack().connections(), self.clock.now());
        while self.shard.stack().has_work() {
            let now = self.turn();
            if self.shard.stack().connections() < left {
                (left, went_on) = (self.shard.stack().connections(), now);
            } else if now.since(went_on) >= LAST_WORDS {
                break;
            }
        }
        // What a full ring refused leaves with these.
        for _ in 0..3 {
            self.turn();
        }
        reset
    }

    fn publish(&mut self, now: Instant) {
        self.next_publish = now + PUBLISH;
        let counters = self.shard.stack().counters();
        let partial = counters.drops.get(DropReason::PartialTcpChecksum);
        if partial > 0 && !self.hinted {
            self.hinted = true;
            log::warn!("{}", checksum_hint(partial));
        }
        if self.close_wait.rings(now, counters.close_wait_stuck) {
            let application = std::thread::current()
                .name()
                .unwrap_or("the application")
                .to_owned();
            log::warn!("{}", close_wait_hint(&application, counters.close_wait_stuck));
        }
        let live = Live {
            counters: counters.clone(),
            app: self.shard.service().counters(),
            open: self.shard.service().open(),
            peers: self.shard.peer_counters(),
        };
        *self.shared.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }
}

/// What to do about a peer that leaves its checksums to a NIC that is none.
pub(crate) fn checksum_hint(count: u64) -> String {
    format!(
        "{count} TCP segments came with a checksum that their sender left to an offload that never happened \
         (ping works, TCP does not); on the peer's end: ethtool -K <the peer's end> tx off"
    )
}

/// What to make of connections that their application does not close.
fn close_wait_hint(application: &str, count: u64) -> String {
    format!(
        "{application}: {count} connections are in CLOSE-WAIT, and nothing has moved on them for 10 s: their \
         peers have finished, and {application} does not close them; stack.close_wait_limit_seconds ends such ones"
    )
}

/// When to tell of connections that wait for their application to close them.
#[derive(Debug, Default)]
struct CloseWaitAlarm {
    not_before: Instant,
}

impl CloseWaitAlarm {
    /// So many are no accident.
    const MANY: u64 = 100;
    const EVERY: Duration = Duration::from_secs(60);

    /// Whether it is to be told now that `stuck` of them are.
    fn rings(&mut self, now: Instant, stuck: u64) -> bool {
        let rings = stuck >= Self::MANY && now >= self.not_before;
        if rings {
            self.not_before = now + Self::EVERY;
        }
        rings
    }
}

/// What a core does while there is nothing to do.
struct Rest {
    poll: Poll,
    last_work: Instant,
}

impl Rest {
    #[inline]
    fn is_due(&self, now: Instant) -> bool {
        match self.poll {
            Poll::Busy => false,
            Poll::Yield => true,
            Poll::Adaptive => now.since(self.last_work) >= IDLE_SHORT,
        }
    }

    fn pause(&self, now: Instant, next_wakeup: Option<Instant>) {
        if self.poll == Poll::Yield {
            std::thread::yield_now();
            return;
        }
        let pause = if now.since(self.last_work) >= IDLE_LONG {
            PAUSE_LONG
        } else {
            PAUSE_SHORT
        };
        // A timer that is due before a pause would be over is worth polling for.
        if next_wakeup.is_none_or(|due| due > now + pause) {
            crate::clock::rest(std::time::Duration::from_nanos(pause.as_nanos()));
        }
    }
}

/// The key that nobody outside must know, afresh for each start.
pub(crate) fn secret() -> Result<[u8; 16], Failure> {
    use std::io::Read;
    let mut key = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut key))
        .map_err(|e| Failure::run(format!("/dev/urandom: {e}")))?;
    Ok(key)
}

/// Another one, which all shards of this process have: what a client was given by
/// one of them it may show to any.
fn shared_secret() -> Result<[u8; 16], Failure> {
    static SHARED: std::sync::OnceLock<[u8; 16]> = std::sync::OnceLock::new();
    // If two shards come at once, the first one's stands.
    let mine = secret()?;
    Ok(*SHARED.get_or_init(|| mine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_that_nobody_closes_are_told_of_once_a_minute() {
        let mut alarm = CloseWaitAlarm::default();
        let told: Vec<u64> = (0..200)
            .filter(|&second| alarm.rings(Instant::from_millis(second * 1000), 50 + second))
            .collect();
        assert_eq!(told, [50, 110, 170], "from a hundred on, each minute");
        let hint = close_wait_hint("echo", 100);
        assert!(
            hint.contains("echo") && hint.contains("100") && hint.contains("stack.close_wait_limit_seconds"),
            "who, how many, and what to do: {hint}"
        );
    }
}
