//! Very many connections: opened, held, asked at random, closed.
//!
//! Always true: an idle connection costs this client nothing but its own word in
//! the stack ([`Word`]); only what is asked takes a place, and there are at most
//! `outstanding` of those.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use crore_base::{Duration, Instant};
use crore_shard::{Mailbox, Service};
use crore_stack::{ConnId, ConnectError, Event, Read, Stack};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::dice::Dice;
use crate::{Latencies, LatencySummary, Pace, Pattern};

/// What to hold, and where.
#[derive(Clone, Debug)]
pub struct CrowdConfig {
    /// The server; an echo service, if it is to be asked.
    pub remote: SocketAddr,
    /// Local addresses, used in turn; empty for the one that fits.
    pub local: Vec<IpAddr>,
    /// Connections to hold.
    pub connections: u32,
    /// Opens under way at once.
    pub opening: u32,
    /// How fast connections are opened, at most; none: as fast as they can be.
    pub open_pace: Option<Pace>,
    /// Requests under way at once.
    pub outstanding: u32,
    /// Bytes of a request, and of its reply.
    pub size: usize,
    /// What the choice of connections starts from.
    pub seed: u64,
}

/// What the crowd is told to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Open all connections.
    Open,
    /// Make so many requests, each on a connection chosen at random from the
    /// first `among` of them.
    Echo {
        /// How many.
        requests: u64,
        /// Among how many.
        among: u32,
    },
    /// Leave everything as it is for so long.
    Rest(Duration),
    /// Close all connections.
    Close,
    /// End.
    Quit,
}

/// What came of a [`Command`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct PhaseReport {
    /// Which one: `open`, `echo`, `rest` or `close`.
    pub phase: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// Connections that are established at its end.
    pub established: u64,
    /// Opens that failed and were made again.
    pub failures: u64,
    /// Connections that ended although nobody closed them.
    pub resets: u64,
    /// Requests whose replies came back whole and right.
    pub requests: u64,
    /// Things done (opens, requests, closes) a second.
    pub per_second: f64,
    /// Replies that differed from what was expected.
    pub mismatches: u64,
    /// From a request's write to the last byte of its reply.
    pub latency: LatencySummary,
    /// All such times, in nanoseconds, of which `latency` is the summary.
    #[serde(skip)]
    pub latencies: Latencies,
}

impl PhaseReport {
    /// Adds what came of the same command on another shard.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            phase: _,
            seconds,
            established,
            failures,
            resets,
            requests,
            per_second,
            mismatches,
            latency: _,
            latencies,
        } = other;
        let done = self.per_second * self.seconds + per_second * seconds;
        self.seconds = self.seconds.max(*seconds);
        self.per_second = if self.seconds > 0.0 {
            done / self.seconds
        } else {
            0.0
        };
        self.established += established;
        self.failures += failures;
        self.resets += resets;
        self.requests += requests;
        self.mismatches += mismatches;
        self.latencies.merge(latencies);
        self.latency = self.latencies.summary();
    }
}

/// The application's word for a connection: bytes of its stream that have come
/// back (38 bits), whether it is established, and its place while it is asked.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const ESTABLISHED: u64 = 1 << 38;
    const PLACE_SHIFT: u32 = 39;

    const fn position(self) -> u64 {
        self.0 & (Self::ESTABLISHED - 1)
    }

    const fn is_established(self) -> bool {
        self.0 & Self::ESTABLISHED != 0
    }

    const fn place(self) -> Option<u32> {
        match self.0 >> Self::PLACE_SHIFT {
            0 => None,
            above => Some(above as u32 - 1),
        }
    }

    const fn idle(position: u64) -> Self {
        Self(position & (Self::ESTABLISHED - 1) | Self::ESTABLISHED)
    }

    const fn busy(position: u64, place: u32) -> Self {
        Self(Self::idle(position).0 | (place as u64 + 1) << Self::PLACE_SHIFT)
    }
}

/// A request that is under way.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// Bytes of the request that did not fit the send buffer yet.
    unsent: usize,
    /// Bytes of the reply that are still to come.
    awaited: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Opening,
    Echoing { left: u64, among: u32 },
    Resting { until: Instant },
    Closing { hand: usize, look_at: Instant },
    Over,
}

/// Closes begun in one turn, and connections that may be closing at once.
const CLOSES: usize = 512;
const CLOSING_MAX: usize = 8_192;
/// How often it is asked whether all are closed.
const LOOK: Duration = Duration::from_millis(10);
/// Tries to find a connection that is not being asked already.
const TRIES: usize = 4;

/// The client application; see the module's head.
pub struct Crowd {
    config: CrowdConfig,
    commands: Mailbox<Command>,
    reports: Mailbox<PhaseReport>,
    phase: Phase,
    began: Instant,
    pattern: Pattern,
    dice: Dice,
    places: Vec<Option<Asked>>,
    free: Vec<u32>,
    chosen: VecDeque<ConnId>,
    opening: u32,
    established: u64,
    /// Opens begun in this phase.
    begun: u64,
    local_turn: usize,
    latency: Histogram<u64>,
    report: PhaseReport,
    requests: u64,
}

impl Crowd {
    /// A crowd that does what `commands` says and tells what came of it in `reports`.
    pub fn new(config: CrowdConfig, commands: Mailbox<Command>, reports: Mailbox<PhaseReport>) -> Self {
        let outstanding = config.outstanding.clamp(1, 1 << 20);
        Self {
            commands,
            reports,
            phase: Phase::Idle,
            began: Instant::ZERO,
            pattern: Pattern::new(config.size.max(1)),
            dice: Dice::new(config.seed),
            places: vec![None; outstanding as usize],
            free: (0..outstanding).rev().collect(),
            chosen: VecDeque::new(),
            opening: 0,
            established: 0,
            begun: 0,
            local_turn: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constants"),
            report: PhaseReport::default(),
            requests: 0,
            config,
        }
    }

    /// Whether it was told to end.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Connections that are established.
    pub fn open(&self) -> usize {
        self.established as usize
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn begin(&mut self, now: Instant, command: Command) {
        self.began = now;
        self.begun = 0;
        self.latency.reset();
        self.report = PhaseReport::default();
        (self.phase, self.report.phase) = match command {
            Command::Open => (Phase::Opening, "open"),
            Command::Echo { requests, among } => {
                let among = among.min(self.config.connections).max(1);
                let left = requests;
                (Phase::Echoing { left, among }, "echo")
            }
            Command::Rest(time) => (Phase::Resting { until: now + time }, "rest"),
            Command::Close => {
                let closing = Phase::Closing {
                    hand: 0,
                    look_at: now,
                };
                (closing, "close")
            }
            Command::Quit => (Phase::Over, "quit"),
        };
    }

    fn end(&mut self, now: Instant, done: u64) {
        let seconds = now.since(self.began).as_secs_f64();
        let mut report = core::mem::take(&mut self.report);
        report.seconds = seconds;
        report.established = self.established;
        report.per_second = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        report.latencies = Latencies::of(&self.latency);
        report.latency = report.latencies.summary();
        self.phase = Phase::Idle;
        // One report for each command: there is always room.
        let _ = self.reports.send(report);
    }

    fn open_more(&mut self, stack: &mut Stack, now: Instant) {
        let wanted = u64::from(self.config.connections);
        if self.established >= wanted {
            self.end(now, self.begun);
            return;
        }
        let mut allowed = u64::from(self.config.opening - self.opening.min(self.config.opening));
        if let Some(pace) = self.config.open_pace {
            let due = pace.due(now.since(self.began));
            allowed = allowed.min(due.saturating_sub(self.begun));
        }
        allowed =
            allowed.min(wanted - self.established - u64::from(self.opening).min(wanted - self.established));
        for _ in 0..allowed {
            let local = match self.config.local.len() {
                0 => None,
                n => Some(self.config.local[self.local_turn % n]),
            };
            self.local_turn += 1;
            match stack.connect(now, local, self.config.remote) {
                Ok(_) => {
                    self.opening += 1;
                    self.begun += 1;
                }
                // The pool is used up for the moment.
                Err(ConnectError::Exhausted) if self.opening > 0 => return,
                Err(_) => {
                    self.report.failures += 1;
                    return;
                }
            }
        }
    }

    fn on_opened(&mut self, stack: &mut Stack, conn: ConnId) {
        self.opening = self.opening.saturating_sub(1);
        self.established += 1;
        stack.set_user(conn, Word::idle(0).0);
    }

    /// Chooses connections for all free places, then asks them: the cache misses
    /// of the choices overlap.
    fn ask_more(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Echoing { mut left, among } = self.phase else {
            return;
        };
        let wanted = (self.free.len() as u64).min(left) as usize;
        for _ in 0..wanted * TRIES {
            if self.chosen.len() >= wanted {
                break;
            }
            let index = self.dice.below(u64::from(among)) as usize;
            if let Some(conn) = stack.connection_at(index) {
                self.chosen.push_back(conn);
            }
        }
        while let Some(conn) = self.chosen.pop_front() {
            let word = Word(stack.user(conn));
            if !word.is_established() || word.place().is_some() {
                continue;
            }
            let Some(place) = self.free.pop() else { break };
            left -= 1;
            stack.set_user(conn, Word::busy(word.position(), place).0);
            self.places[place as usize] = Some(Asked {
                at: now,
                unsent: self.config.size.max(1),
                awaited: self.config.size.max(1),
            });
            self.push(stack, conn);
        }
        self.chosen.clear();
        self.phase = Phase::Echoing { left, among };
        if left == 0 && self.free.len() == self.places.len() {
            let requests = self.report.requests;
            self.end(now, requests);
        }
    }

    /// Writes as much of a connection's request as the send buffer takes.
    fn push(&mut self, stack: &mut Stack, conn: ConnId) {
        let word = Word(stack.user(conn));
        let Some(asked) = word.place().and_then(|p| self.places[p as usize].as_mut()) else {
            return;
        };
        let size = self.config.size.max(1);
        // The request begins where the reply will.
        let at = word.position() + (size - asked.unsent) as u64;
        let bytes = self.pattern.piece(conn.index() as u32, at, asked.unsent);
        let accepted = stack.write(conn, bytes).unwrap_or(0);
        asked.unsent -= accepted;
    }

    fn on_readable(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        while let Ok(Read::Data(chunk)) = stack.read(conn) {
            if !self.check(stack, now, conn, &chunk) {
                self.report.mismatches += 1;
                self.lose(Word(stack.user(conn)));
                stack.abort(conn);
                return;
            }
        }
    }

    fn check(&mut self, stack: &mut Stack, now: Instant, conn: ConnId, data: &[u8]) -> bool {
        let word = Word(stack.user(conn));
        let Some(place) = word.place() else { return false };
        let Some(asked) = self.places[place as usize].as_mut() else {
            return false;
        };
        let size = self.config.size.max(1);
        let came = size - asked.awaited;
        if data.len() > asked.awaited {
            return false;
        }
        let expected = self
            .pattern
            .piece(conn.index() as u32, word.position() + came as u64, data.len());
        if data != expected {
            return false;
        }
        asked.awaited -= data.len();
        if asked.awaited == 0 {
            let took = now.since(asked.at).as_nanos().max(1);
            self.latency.saturating_record(took);
            self.places[place as usize] = None;
            self.free.push(place);
            self.report.requests += 1;
            self.requests += 1;
            stack.set_user(conn, Word::idle(word.position() + size as u64).0);
        }
        true
    }

    /// A connection is gone; its request, if it had one, is made again elsewhere.
    fn lose(&mut self, word: Word) {
        if let Some(place) = word.place() {
            self.places[place as usize] = None;
            self.free.push(place);
            if let Phase::Echoing { left, .. } = &mut self.phase {
                *left += 1;
            }
        }
        if word.is_established() {
            self.established -= 1;
            self.report.resets += 1;
        } else {
            self.opening = self.opening.saturating_sub(1);
            self.report.failures += 1;
        }
    }

    fn close_more(&mut self, stack: &mut Stack, now: Instant) {
        let Phase::Closing {
            mut hand,
            mut look_at,
        } = self.phase
        else {
            return;
        };
        let bound = stack.slot_bound();
        for _ in 0..CLOSES {
            if hand >= bound || stack.active_connections() >= CLOSING_MAX {
                break;
            }
            if let Some(conn) = stack.connection_at(hand) {
                if Word(stack.user(conn)).is_established() {
                    self.established -= 1;
                    self.begun += 1;
                }
                stack.close(now, conn);
            }
            hand += 1;
        }
        if hand >= bound && now >= look_at {
            look_at = now + LOOK;
            if stack.unfinished() == 0 {
                self.end(now, self.begun);
                return;
            }
        }
        self.phase = Phase::Closing { hand, look_at };
    }
}

impl Service for Crowd {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => self.on_opened(stack, conn),
            Event::Readable { conn } => self.on_readable(stack, now, conn),
            Event::Writable { conn } => self.push(stack, conn),
            Event::PeerClosed { conn } => {
                self.lose(Word(stack.user(conn)));
                stack.close(now, conn);
            }
            Event::Idle { .. } | Event::Urgent { .. } => {}
            Event::Closed { user, .. } => self.lose(Word(user)),
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        match self.phase {
            Phase::Idle => {
                if let Some(command) = self.commands.receive() {
                    self.begin(now, command);
                }
            }
            Phase::Opening => self.open_more(stack, now),
            Phase::Echoing { .. } => self.ask_more(stack, now),
            Phase::Resting { until } if now >= until => self.end(now, 0),
            Phase::Closing { .. } => self.close_more(stack, now),
            Phase::Resting { .. } | Phase::Over => {}
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting { until } => Some(until),
            Phase::Closing { look_at, .. } => Some(look_at),
            _ => None,
        }
    }
}
