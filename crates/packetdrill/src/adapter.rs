//! The host on a thread of its own, and the threads that ask it.
//!
//! A stack belongs to one thread, so the host has one; whoever calls sends it a
//! job and sleeps until that is done. Jobs are done in the order in which they
//! were sent, so that a thread that is seen asleep has handed its call over: what
//! the other one does afterwards comes after it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time;

use crore_base::{Duration, Instant};
use crore_sim::posix::{Call, Errno, Host, Knobs, Outcome, Output, Packet, Reply, Ticket};

use crate::descriptor::Descriptors;
use crate::flags::{Flags, InitError};

/// What a look at the clock takes, since the tool spins on it.
const TICK: Duration = Duration::from_micros(1);
/// How often it is looked whether everybody waits for a time-out, in real time.
const LOOK: time::Duration = time::Duration::from_millis(50);
/// In how many looks in a row nobody must have been seen awake.
const LOOKS: u32 = 10;

/// What the host's thread is to do.
type Job = Box<dyn FnOnce(&mut Owner) + Send>;

/// One host, and its descriptors.
pub(crate) struct Adapter {
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    pub(crate) descriptors: Mutex<Descriptors>,
}

/// What is known without asking the host's thread.
#[derive(Default)]
struct Shared {
    /// The time in nanoseconds: the host's, or later by the looks at the clock since.
    clock: AtomicU64,
    /// When the call was done in which a thread has slept, until it asks for the time.
    done_at: Mutex<HashMap<ThreadId, Instant>>,
}

/// What the host's thread has.
struct Owner {
    host: Host,
    shared: Arc<Shared>,
    sleepers: Vec<Sleeper>,
    is_over: bool,
}

/// A thread that sleeps in a call.
struct Sleeper {
    ticket: Ticket,
    thread: ThreadId,
    answer: SyncSender<Reply>,
}

impl Adapter {
    pub(crate) fn from_flags(text: &str) -> Result<Self, InitError> {
        let flags = Flags::parse(text)?;
        let knobs = flags.read_knobs()?;
        Self::start(&flags, knobs)
    }

    fn start(flags: &Flags, knobs: Knobs) -> Result<Self, InitError> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, is_ready) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let (endpoints, theirs) = (flags.endpoints, Arc::clone(&shared));
        let body = move || match Host::new(endpoints, knobs) {
            Ok(host) => {
                // Whoever waits for it may have given up only by dying.
                let _ = ready.send(Ok(()));
                let mut owner = Owner {
                    host,
                    shared: theirs,
                    sleepers: Vec::new(),
                    is_over: false,
                };
                owner.run(&inbox);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let guarded = move || {
            if catch_unwind(AssertUnwindSafe(body)).is_err() {
                eprintln!("crore_packetdrill: the host has failed; this is a bug in Crore");
                std::process::abort();
            }
        };
        let thread = std::thread::Builder::new()
            .name("crore".to_owned())
            .spawn(guarded)
            .map_err(InitError::Thread)?;
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.into()),
            // Its thread aborts the process before this can be seen.
            Err(_) => return Err(InitError::Gone),
        }
        Ok(Self {
            jobs,
            thread: Mutex::new(Some(thread)),
            shared,
            descriptors: Mutex::new(Descriptors::default()),
        })
    }

    /// Makes a call, and sleeps as long as it takes.
    pub(crate) fn call(&self, call: Call) -> Reply {
        let thread = std::thread::current().id();
        lock(&self.shared.done_at).remove(&thread);
        let (answer, is_answered) = sync_channel(1);
        let job: Job = Box::new(move |owner| match owner.host.call(call) {
            Outcome::Ready(reply) => {
                owner.publish();
                // Whoever asked is waiting for it.
                let _ = answer.send(reply);
            }
            Outcome::WouldBlock(ticket) => owner.sleepers.push(Sleeper {
                ticket,
                thread,
                answer,
            }),
        });
        let sent = self.jobs.send(job).is_ok();
        let reply = sent.then(|| is_answered.recv().ok()).flatten();
        reply.unwrap_or(Reply {
            result: Err(Errno(libc::EIO)),
            output: Output::None,
            at: Instant::ZERO,
        })
    }

    /// A packet comes in.
    pub(crate) fn input(&self, packet: Vec<u8>) {
        self.ask(move |owner| owner.host.input(&packet));
    }

    /// The next packet that leaves. Time goes on until there is one, or for so long
    /// that none is to be expected any more.
    pub(crate) fn output(&self) -> Option<Packet> {
        self.ask(|owner| {
            let host = &mut owner.host;
            let limit = host.now() + Duration::from_millis(host.knobs().receive_timeout_ms);
            loop {
                if let Some(packet) = host.output() {
                    return Some(packet);
                }
                if !host.advance_to_next(limit) {
                    return None;
                }
            }
        })
        .flatten()
    }

    /// Time goes on.
    pub(crate) fn sleep(&self, span: Duration) {
        self.ask(move |owner| {
            let to = owner.host.now() + span;
            owner.host.advance(to);
        });
    }

    /// The time; each look takes a microsecond. Whoever comes out of a call in
    /// which it slept is told when that was done.
    pub(crate) fn time(&self) -> Instant {
        let done_at = lock(&self.shared.done_at).remove(&std::thread::current().id());
        done_at.unwrap_or_else(|| {
            let tick = TICK.as_nanos();
            Instant::from_nanos(self.shared.clock.fetch_add(tick, Ordering::Relaxed) + tick)
        })
    }

    /// The end: whoever sleeps in a call is woken with `EINTR`; the host goes, and
    /// all descriptors with it.
    pub(crate) fn stop(&self) {
        self.ask(|owner| {
            let tickets: Vec<Ticket> = owner.host.waiting().collect();
            for ticket in tickets {
                owner.host.interrupt(ticket);
            }
            owner.is_over = true;
        });
        if let Some(thread) = lock(&self.thread).take() {
            // One that panics aborts the process.
            let _ = thread.join();
        }
        lock(&self.descriptors).close_all();
    }

    fn ask<T: Send + 'static>(&self, what: impl FnOnce(&mut Owner) -> T + Send + 'static) -> Option<T> {
        lock(&self.shared.done_at).remove(&std::thread::current().id());
        let (answer, is_answered) = sync_channel(1);
        let job: Job = Box::new(move |owner| {
            let value = what(owner);
            owner.publish();
            // Whoever asked is waiting for it.
            let _ = answer.send(value);
        });
        self.jobs.send(job).ok()?;
        is_answered.recv().ok()
    }
}

impl Owner {
    fn run(&mut self, inbox: &Receiver<Job>) {
        let mut idle = 0;
        while !self.is_over {
            let job = match self.next_deadline() {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => inbox.recv_timeout(LOOK),
            };
            match job {
                Ok(job) => {
                    idle = 0;
                    // What the looks at the clock took has passed by now.
                    let now = self.shared.clock.load(Ordering::Relaxed);
                    self.host.advance(Instant::from_nanos(now));
                    job(self);
                }
                Err(RecvTimeoutError::Timeout) => {
                    idle = if others_sleep() { idle + 1 } else { 0 };
                    if idle >= LOOKS {
                        idle = 0;
                        self.give_time();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.publish();
            self.wake();
        }
    }

    /// When the first of the calls gives up in which threads sleep.
    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self
            .sleepers
            .iter()
            .filter_map(|sleeper| self.host.deadline(sleeper.ticket));
        deadlines.min()
    }

    /// Everybody sleeps, and there is nobody who could move the time: it is the
    /// call itself that is to take it.
    fn give_time(&mut self) {
        if let Some(deadline) = self.next_deadline() {
            self.host.advance(deadline);
        }
    }

    fn publish(&self) {
        let now = self.host.now().as_nanos();
        self.shared.clock.fetch_max(now, Ordering::Relaxed);
    }

    /// Wakes those whose calls are done.
    fn wake(&mut self) {
        let Self {
            host,
            shared,
            sleepers,
            ..
        } = self;
        sleepers.retain(|sleeper| {
            let Some(reply) = host.reply(sleeper.ticket) else {
                return true;
            };
            lock(&shared.done_at).insert(sleeper.thread, reply.at);
            // It sleeps until then.
            let _ = sleeper.answer.send(reply);
            false
        });
    }
}

/// Whether all other threads of this process sleep.
fn others_sleep() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    // Of all of them only this one runs.
    let awake = tasks
        .flatten()
        .filter(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name, in brackets, may hold anything.
            let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
            !state.starts_with('S')
        })
        .count();
    awake <= 1
}

/// Nothing panics with one of these locks held; if it did, what they hold would
/// still be whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
