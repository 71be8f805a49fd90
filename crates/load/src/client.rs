//! The client application.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use crore_base::{Duration, Instant};
use crore_netbuf::Chunk;
use crore_shard::Service;
use crore_stack::{ConnId, ConnectError, Event, Read, Stack};
use hdrhistogram::Histogram;

use crate::http::{Progress, ReplyParser};
use crate::report::rates;
use crate::{Client, Latencies, LoadReport, Pace, Pattern};

/// What is asked of the server.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Sends requests of `size` bytes and expects the same bytes back.
    Echo {
        /// Bytes of a request.
        size: usize,
    },
    /// Fetches `path` by HTTP/1.1 keep-alive and expects status 200 and a Content-Length.
    Http {
        /// The path of the request.
        path: String,
    },
}

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The server.
    pub remote: SocketAddr,
    /// Local addresses, used in turn; empty for the one that fits.
    pub local: Vec<IpAddr>,
    /// Connections held at once.
    pub connections: u32,
    /// Opens under way at once: a server's backlog is not the thing to be tested.
    pub opening: u32,
    /// How fast connections are opened, at most; none: as fast as they can be.
    pub open_pace: Option<Pace>,
    /// Requests in all; the run ends when they are answered.
    pub requests: u64,
    /// How fast requests are made, at most; none: as soon as the reply to the one before has come.
    pub pace: Option<Pace>,
    /// After so many requests a connection is closed and another opened; none: it stays.
    pub per_connection: Option<u64>,
    /// What happens within this time is checked, and not counted.
    pub warm_up: Duration,
    /// The run ends after this time, warm-up not included, even if not all requests were made.
    pub time_limit: Option<Duration>,
    /// What a request is.
    pub workload: Workload,
}

impl LoadConfig {
    /// One connection, without an end and as fast as it goes; what is to be
    /// otherwise is set on top.
    pub const fn new(remote: SocketAddr, workload: Workload) -> Self {
        Self {
            remote,
            local: Vec::new(),
            connections: 1,
            opening: OPENING,
            open_pace: None,
            requests: u64::MAX,
            pace: None,
            per_connection: None,
            warm_up: Duration::ZERO,
            time_limit: None,
            workload,
        }
    }
}

/// Opens under way at once, where nobody says otherwise.
pub const OPENING: u32 = 256;
/// A peer that refuses everything ends the run.
const FAILURES_MAX: u64 = 10_000;

/// One connection's request.
#[derive(Default)]
struct Session {
    conn: Option<ConnId>,
    /// Bytes of this connection's stream that were written, and that came back.
    written: u64,
    received: u64,
    /// Bytes of the current request that did not fit the send buffer yet.
    unsent: usize,
    /// Bytes of the current reply that are still to come (echo).
    awaited: usize,
    asked_at: Instant,
    /// Requests that were answered on this connection.
    answered: u64,
    /// A reply is awaited.
    busy: bool,
    established: bool,
    parser: ReplyParser,
}

/// The client application; see the module's head.
pub struct LoadClient {
    config: LoadConfig,
    pattern: Pattern,
    /// http: what is asked, the same every time.
    request: Chunk,
    /// http: the last reply that was parsed, whole. One that equals it needs no parsing.
    last_reply: Vec<u8>,
    sessions: Vec<Session>,
    /// Sessions to be opened.
    unopened: Vec<u32>,
    /// Sessions whose next request waits for its time (`pace`).
    resting: VecDeque<u32>,
    opening: u32,
    /// Opens begun, and connections that are there.
    opens: u64,
    open: usize,
    /// Everything counts from here.
    started: Option<Instant>,
    warm: bool,
    finished: Option<Instant>,
    issued: u64,
    local_turn: usize,
    latency: Histogram<u64>,
    report: LoadReport,
}

impl LoadClient {
    /// A client that begins with its first turn.
    pub fn new(config: LoadConfig) -> Self {
        let (longest, request) = match &config.workload {
            Workload::Echo { size } => ((*size).max(1), Chunk::empty()),
            Workload::Http { path } => {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", config.remote);
                (1, Chunk::copy_from(request.as_bytes()))
            }
        };
        let mut sessions = Vec::new();
        sessions.resize_with(config.connections as usize, Session::default);
        Self {
            pattern: Pattern::new(longest),
            request,
            last_reply: Vec::new(),
            sessions,
            unopened: (0..config.connections).rev().collect(),
            resting: VecDeque::new(),
            opening: 0,
            opens: 0,
            open: 0,
            started: None,
            warm: config.warm_up == Duration::ZERO,
            finished: None,
            issued: 0,
            local_turn: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constants"),
            report: LoadReport::default(),
            config,
        }
    }

    fn request_len(&self) -> usize {
        match self.config.workload {
            Workload::Echo { size } => size.max(1),
            Workload::Http { .. } => self.request.len(),
        }
    }

    /// The warm-up is over: what was done so far does not count, what went
    /// wrong does.
    fn begin_to_count(&mut self, now: Instant) {
        self.warm = true;
        self.started = Some(now);
        // What is under way belongs to what is counted.
        self.issued -= self.report.requests;
        self.opens = 0;
        self.latency.reset();
        self.report = LoadReport {
            mismatches: self.report.mismatches,
            connect_failures: self.report.connect_failures,
            broken: self.report.broken,
            ..LoadReport::default()
        };
    }

    fn open_more(&mut self, stack: &mut Stack, now: Instant) {
        while self.opening < self.config.opening {
            if let (Some(pace), Some(started)) = (self.config.open_pace, self.started)
                && self.opens >= pace.due(now.since(started))
            {
                break;
            }
            let Some(index) = self.unopened.pop() else { break };
            let local = match self.config.local.len() {
                0 => None,
                n => Some(self.config.local[self.local_turn % n]),
            };
            self.local_turn += 1;
            match stack.connect(now, local, self.config.remote) {
                Ok(conn) => {
                    stack.set_user(conn, u64::from(index));
                    self.sessions[index as usize] = Session {
                        conn: Some(conn),
                        ..Session::default()
                    };
                    self.opening += 1;
                    self.opens += 1;
                    self.open += 1;
                }
                Err(error) => {
                    // Without a place it only has to wait for one.
                    let waits = error == ConnectError::Exhausted && self.open > 0;
                    self.report.connect_failures += u64::from(!waits);
                    self.unopened.push(index);
                    break;
                }
            }
        }
    }

    /// Begins the next request of a session, if any is left to make.
    fn ask(&mut self, stack: &mut Stack, now: Instant, index: u32) {
        if self.issued >= self.config.requests {
            return;
        }
        let mut asked_at = now;
        if let (Some(pace), Some(started)) = (self.config.pace, self.started) {
            // From when it was due: a server that is slow can't hide it by
            // keeping the client from asking.
            asked_at = started + pace.time_of(self.issued);
            if asked_at > now {
                self.resting.push_back(index);
                return;
            }
        }
        self.issued += 1;
        let len = self.request_len();
        let session = &mut self.sessions[index as usize];
        session.busy = true;
        session.asked_at = asked_at;
        session.unsent = len;
        session.awaited = len;
        self.push_request(stack, index);
    }

    /// Writes as much of the current request as the send buffer takes.
    fn push_request(&mut self, stack: &mut Stack, index: u32) {
        let len = self.request_len();
        let session = &mut self.sessions[index as usize];
        let Some(conn) = session.conn else { return };
        let accepted = match self.config.workload {
            Workload::Echo { .. } => {
                let bytes = self.pattern.piece(index, session.written, session.unsent);
                stack.write(conn, bytes)
            }
            Workload::Http { .. } => {
                let rest = self.request.slice(len - session.unsent..len);
                stack.write_chunk(conn, rest)
            }
        };
        let accepted = accepted.unwrap_or(0);
        session.unsent -= accepted;
        session.written += accepted as u64;
        self.report.bytes_sent += accepted as u64;
    }

    fn on_readable(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        let index = stack.user(conn) as u32;
        // It may have been the last reply on this connection.
        while self.sessions[index as usize].conn == Some(conn)
            && let Ok(Read::Data(chunk)) = stack.read(conn)
        {
            self.report.bytes_received += chunk.len() as u64;
            let fine = match self.config.workload {
                Workload::Echo { .. } => self.check_echo(stack, now, index, &chunk),
                Workload::Http { .. } => self.check_http(stack, now, index, &chunk),
            };
            if !fine {
                self.report.mismatches += 1;
                if self.sessions[index as usize].conn == Some(conn) {
                    self.drop_session(stack, conn, index);
                }
                return;
            }
        }
    }

    fn check_echo(&mut self, stack: &mut Stack, now: Instant, index: u32, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let session = &mut self.sessions[index as usize];
            let take = data.len().min(session.awaited);
            let (mine, rest) = data.split_at(take);
            if take == 0 || mine != self.pattern.piece(index, session.received, take) {
                return false;
            }
            session.received += take as u64;
            session.awaited -= take;
            data = rest;
            if session.awaited == 0 {
                self.answered(stack, now, index);
            }
        }
        true
    }

    fn check_http(&mut self, stack: &mut Stack, now: Instant, index: u32, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let session = &mut self.sessions[index as usize];
            if !session.busy {
                return false;
            }
            let is_at_start = session.parser.is_at_start();
            let known = is_at_start && !self.last_reply.is_empty() && data.starts_with(&self.last_reply);
            let used = if known {
                self.last_reply.len()
            } else {
                match session.parser.push(data) {
                    Progress::More => return true,
                    Progress::Bad => return false,
                    Progress::Complete(used) => {
                        if is_at_start {
                            self.last_reply.clear();
                            self.last_reply.extend_from_slice(&data[..used]);
                        }
                        used
                    }
                }
            };
            data = &data[used..];
            self.answered(stack, now, index);
        }
        true
    }

    fn answered(&mut self, stack: &mut Stack, now: Instant, index: u32) {
        let session = &mut self.sessions[index as usize];
        session.busy = false;
        session.answered += 1;
        self.latency
            .saturating_record(now.since(session.asked_at).as_nanos().max(1));
        self.report.requests += 1;
        if self.config.per_connection == Some(session.answered)
            && let Some(conn) = session.conn.take()
        {
            stack.close(now, conn);
            self.open -= 1;
            self.unopened.push(index);
            return;
        }
        self.ask(stack, now, index);
    }

    /// Makes the requests whose time has come.
    fn ask_due(&mut self, stack: &mut Stack, now: Instant) {
        let (Some(pace), Some(started)) = (self.config.pace, self.started) else {
            return;
        };
        while pace.time_of(self.issued) <= now.since(started)
            && let Some(index) = self.resting.pop_front()
        {
            // Those whose connection has gone ask when they have a new one.
            let session = &self.sessions[index as usize];
            if session.established && !session.busy {
                self.ask(stack, now, index);
            }
        }
    }

    /// Resets a connection whose replies are wrong.
    fn drop_session(&mut self, stack: &mut Stack, conn: ConnId, index: u32) {
        stack.abort(conn);
        self.report.broken += 1;
        self.lose(index);
    }

    /// The session's connection is gone; its outstanding request is made again on a new one.
    fn lose(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        if core::mem::take(&mut session.busy) {
            self.issued -= 1;
        }
        if session.conn.take().is_some() {
            self.open -= 1;
        }
        session.established = false;
        if self.finished.is_none() {
            self.unopened.push(index);
        }
    }
}

impl Client for LoadClient {
    fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    fn requests(&self) -> u64 {
        self.report.requests
    }

    fn open(&self) -> usize {
        self.open
    }

    fn report(&self, now: Instant) -> LoadReport {
        let end = self.finished.unwrap_or(now);
        let seconds = self.started.map_or(0.0, |start| end.since(start).as_secs_f64());
        let mut report = self.report.clone();
        report.latencies = Latencies::of(&self.latency);
        report.latency = report.latencies.summary();
        rates(report, seconds)
    }

    fn finish(&mut self, stack: &mut Stack, now: Instant) {
        self.finished.get_or_insert(now);
        for session in &mut self.sessions {
            if let Some(conn) = session.conn.take() {
                stack.close(now, conn);
            }
        }
        self.open = 0;
    }
}

impl Service for LoadClient {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => {
                self.opening = self.opening.saturating_sub(1);
                self.report.connections += 1;
                let index = stack.user(conn) as u32;
                self.sessions[index as usize].established = true;
                self.ask(stack, now, index);
            }
            Event::Readable { conn } => self.on_readable(stack, now, conn),
            Event::Writable { conn } => self.push_request(stack, stack.user(conn) as u32),
            Event::PeerClosed { conn } => {
                let index = stack.user(conn) as u32;
                stack.close(now, conn);
                self.report.broken += 1;
                self.lose(index);
            }
            Event::Idle { .. } | Event::Urgent { .. } => {}
            Event::Closed { user, .. } => {
                if self.sessions[user as usize].established {
                    self.report.broken += 1;
                } else {
                    self.opening = self.opening.saturating_sub(1);
                    self.report.connect_failures += 1;
                }
                self.lose(user as u32);
            }
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        if self.finished.is_some() {
            return;
        }
        let started = *self.started.get_or_insert(now);
        if !self.warm && now.since(started) >= self.config.warm_up {
            self.begin_to_count(now);
            return;
        }
        let done = self.warm && self.report.requests >= self.config.requests;
        let late = self.warm
            && self
                .config
                .time_limit
                .is_some_and(|limit| now.since(started) >= limit);
        let hopeless = self.report.connect_failures + self.report.broken >= FAILURES_MAX;
        if done || late || hopeless {
            self.finish(stack, now);
        } else {
            self.open_more(stack, now);
            self.ask_due(stack, now);
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        let started = self.started.filter(|_| self.finished.is_none())?;
        let wishes = [
            if self.warm {
                self.config.time_limit
            } else {
                Some(self.config.warm_up)
            },
            self.config
                .pace
                .filter(|_| !self.resting.is_empty())
                .map(|pace| pace.time_of(self.issued)),
            self.config
                .open_pace
                .filter(|_| !self.unopened.is_empty())
                .map(|pace| pace.time_of(self.opens)),
        ];
        wishes.into_iter().flatten().min().map(|after| started + after)
    }
}
