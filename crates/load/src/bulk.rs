//! Streams without requests: as much as goes, one way or both, each byte that
//! comes checked.

use core::net::{IpAddr, SocketAddr};

use crore_base::{Duration, Instant};
use crore_netbuf::Chunk;
use crore_shard::Service;
use crore_stack::{ConnId, Event, Read, Stack};

use crate::report::rates;
use crate::{Client, LoadReport, Periodic};

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To the server, which throws them away.
    Up,
    /// From the server, which sends its pattern without being asked.
    Down,
    /// To the server and back.
    Both,
}

/// What to carry, and where.
#[derive(Clone, Debug)]
pub struct BulkConfig {
    /// The server: discard, chargen or echo, as the direction wants it.
    pub remote: SocketAddr,
    /// Local addresses, used in turn; empty for the one that fits.
    pub local: Vec<IpAddr>,
    /// Connections.
    pub connections: u32,
    /// Which way.
    pub direction: Direction,
    /// Bytes in all, after which the run ends.
    pub bytes: u64,
    /// What is carried within this time is checked, and not counted.
    pub warm_up: Duration,
    /// The run ends after this time, warm-up not included, even if not all bytes have gone.
    pub time_limit: Option<Duration>,
    /// What is sent, and what has to come.
    pub pattern: Periodic,
}

/// Connections that fail or end before their time; after so many the run ends.
const FAILURES_MAX: u64 = 1000;
/// Bytes that are handed to the stack at once.
const PIECE: usize = 128 * 1024;

/// One connection's stream.
#[derive(Clone, Copy, Default)]
struct Flow {
    conn: Option<ConnId>,
    written: u64,
    received: u64,
}

/// The client application.
pub struct Bulk {
    config: BulkConfig,
    /// What is sent, in one chunk that all pieces share.
    outgoing: Chunk,
    flows: Vec<Flow>,
    unopened: Vec<u32>,
    open: usize,
    local_turn: usize,
    started: Option<Instant>,
    warm: bool,
    finished: Option<Instant>,
    report: LoadReport,
}

impl Bulk {
    /// A client that begins with its first turn.
    pub fn new(config: BulkConfig) -> Self {
        Self {
            outgoing: Chunk::copy_from(config.pattern.laid_out(PIECE)),
            flows: vec![Flow::default(); config.connections as usize],
            unopened: (0..config.connections).rev().collect(),
            open: 0,
            local_turn: 0,
            started: None,
            warm: config.warm_up == Duration::ZERO,
            finished: None,
            report: LoadReport::default(),
            config,
        }
    }

    fn open_more(&mut self, stack: &mut Stack, now: Instant) {
        while let Some(index) = self.unopened.pop() {
            let local = match self.config.local.len() {
                0 => None,
                n => Some(self.config.local[self.local_turn % n]),
            };
            self.local_turn += 1;
            let Ok(conn) = stack.connect(now, local, self.config.remote) else {
                self.report.connect_failures += 1;
                self.unopened.push(index);
                return;
            };
            stack.set_user(conn, u64::from(index));
            self.open += 1;
            self.flows[index as usize] = Flow {
                conn: Some(conn),
                ..Flow::default()
            };
        }
    }

    /// Writes until the send buffer refuses.
    fn fill(&mut self, stack: &mut Stack, conn: ConnId) {
        if self.config.direction == Direction::Down || self.finished.is_some() {
            return;
        }
        let flow = &mut self.flows[stack.user(conn) as usize];
        loop {
            let start = self.config.pattern.place(flow.written);
            let piece = self.outgoing.slice(start..start + PIECE);
            let accepted = stack.write_chunk(conn, piece).unwrap_or(0);
            flow.written += accepted as u64;
            self.report.bytes_sent += accepted as u64;
            if accepted < PIECE {
                return;
            }
        }
    }

    fn on_readable(&mut self, stack: &mut Stack, conn: ConnId) {
        let index = stack.user(conn);
        while let Ok(Read::Data(chunk)) = stack.read(conn) {
            let flow = &mut self.flows[index as usize];
            if !self.config.pattern.is_at(flow.received, &chunk) {
                self.report.mismatches += 1;
                stack.abort(conn);
                self.lose(index);
                return;
            }
            flow.received += chunk.len() as u64;
            self.report.bytes_received += chunk.len() as u64;
        }
    }

    fn lose(&mut self, index: u64) {
        if self.flows[index as usize].conn.take().is_some() {
            self.open -= 1;
            self.report.broken += 1;
            self.unopened.push(index as u32);
        }
    }

    fn carried(&self) -> u64 {
        match self.config.direction {
            Direction::Up => self.report.bytes_sent,
            Direction::Down | Direction::Both => self.report.bytes_received,
        }
    }
}

impl Client for Bulk {
    fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    fn requests(&self) -> u64 {
        0
    }

    fn open(&self) -> usize {
        self.open
    }

    fn report(&self, now: Instant) -> LoadReport {
        let end = self.finished.unwrap_or(now);
        let seconds = self.started.map_or(0.0, |start| end.since(start).as_secs_f64());
        rates(self.report.clone(), seconds)
    }

    fn finish(&mut self, stack: &mut Stack, now: Instant) {
        self.finished.get_or_insert(now);
        for flow in &mut self.flows {
            // What is under way is not worth waiting for: a reset, not a FIN
            // behind everything that was written.
            if let Some(conn) = flow.conn.take() {
                stack.abort(conn);
            }
        }
        self.open = 0;
    }
}

impl Service for Bulk {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => {
                // Time counts from the first connection on.
                self.started.get_or_insert(now);
                self.report.connections += 1;
                self.fill(stack, conn);
            }
            Event::Readable { conn } => self.on_readable(stack, conn),
            Event::Writable { conn } => self.fill(stack, conn),
            Event::PeerClosed { conn } => {
                let index = stack.user(conn);
                stack.close(now, conn);
                self.lose(index);
            }
            Event::Idle { .. } | Event::Urgent { .. } => {}
            Event::Closed { user, .. } => self.lose(user),
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        if self.finished.is_some() {
            return;
        }
        let elapsed = self.started.map_or(Duration::ZERO, |started| now.since(started));
        if !self.warm && elapsed >= self.config.warm_up {
            self.warm = true;
            self.started = Some(now);
            (self.report.bytes_sent, self.report.bytes_received) = (0, 0);
            return;
        }
        let late = self.warm && self.config.time_limit.is_some_and(|limit| elapsed >= limit);
        let hopeless = self.report.connect_failures + self.report.broken >= FAILURES_MAX;
        if late || hopeless || self.warm && self.carried() >= self.config.bytes {
            self.finish(stack, now);
        } else {
            self.open_more(stack, now);
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        let started = self.started.filter(|_| self.finished.is_none())?;
        if self.warm {
            Some(started + self.config.time_limit?)
        } else {
            Some(started + self.config.warm_up)
        }
    }
}
