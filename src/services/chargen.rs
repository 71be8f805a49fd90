//! RFC 864: the rotating pattern, as fast as the peer takes it.

use crore_base::{Duration, Instant};
use crore_shard::Service;
use crore_stack::{ConnId, Event, ListenError, Read, SocketError, Stack};

use super::{App, AppCounters, Families, Listeners, Pattern, Roster};

/// The character generator.
#[derive(Debug)]
pub struct Chargen {
    roster: Roster<Position>,
    listeners: Listeners,
    counters: AppCounters,
    silent: Vec<ConnId>,
    pattern: Pattern,
    /// Bytes for each connection; `None`: until the peer closes.
    limit: Option<u64>,
    draining: bool,
}

/// How far a connection is.
#[derive(Debug)]
struct Position {
    sent: u64,
    /// The write side is shut: all was sent.
    finished: bool,
}

impl Chargen {
    /// A generator of `limit` bytes for each connection (`None`: endless) that
    /// ends connections on which nothing moves for `idle_timeout` (zero: never).
    pub fn new(limit: Option<u64>, idle_timeout: Duration) -> Self {
        Self {
            roster: Roster::new(idle_timeout),
            listeners: Listeners::default(),
            counters: AppCounters::default(),
            silent: Vec::new(),
            pattern: Pattern::new(),
            limit,
            draining: false,
        }
    }

    /// Writes until the send buffer refuses.
    fn fill(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) -> Result<(), SocketError> {
        let Some(position) = self.roster.state(conn).filter(|p| !p.finished) else {
            return Ok(());
        };
        let limit = self.limit.unwrap_or(u64::MAX);
        let before = position.sent;
        while position.sent < limit && !self.draining {
            let len = (limit - position.sent).min(Pattern::PIECE_MAX as u64) as usize;
            let accepted = stack.write_chunk(conn, self.pattern.piece(position.sent, len))?;
            position.sent += accepted as u64;
            if accepted < len {
                break;
            }
        }
        if position.sent > before {
            self.counters.bytes_out += position.sent - before;
            Roster::<Position>::touch(stack, now, conn);
        }
        if position.sent >= limit || self.draining {
            position.finished = true;
            self.counters.requests += 1;
            stack.shutdown_write(conn);
        }
        Ok(())
    }

    /// Throws away what the peer says, and ends when it does.
    fn drop_input(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        loop {
            match stack.read(conn) {
                Ok(Read::Data(chunk)) => self.counters.bytes_in += chunk.len() as u64,
                Ok(Read::Eof) => {
                    let done = self.limit.is_none() || self.roster.state(conn).is_none_or(|p| p.finished);
                    if done {
                        self.roster.remove(conn);
                        stack.close(now, conn);
                    }
                    return;
                }
                Ok(Read::WouldBlock) | Err(_) => return,
            }
        }
    }

    fn pump(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        // After an error `Closed` comes by itself.
        if self.fill(stack, now, conn).is_ok() {
            self.drop_input(stack, now, conn);
        }
    }
}

impl Service for Chargen {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => {
                self.roster.add(stack, now, conn);
                self.roster.put(
                    stack,
                    conn,
                    Box::new(Position {
                        sent: 0,
                        finished: false,
                    }),
                );
                self.pump(stack, now, conn);
            }
            Event::Writable { conn } => self.pump(stack, now, conn),
            Event::Readable { conn } | Event::PeerClosed { conn } => self.drop_input(stack, now, conn),
            Event::Idle { .. } => {}
            Event::Closed { conn, .. } => {
                self.roster.remove(conn);
            }
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.roster.sweep(stack, now, &mut self.silent);
        while let Some(conn) = self.silent.pop() {
            if self.roster.remove(conn) {
                self.counters.idle_closed += 1;
                stack.abort(conn);
            }
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.roster.next_sweep()
    }
}

impl App for Chargen {
    const NAME: &'static str = "chargen";
    const PORT: u16 = 19;

    fn listen(
        &mut self,
        stack: &mut Stack,
        families: Families,
        port: u16,
        backlog: u32,
    ) -> Result<(), ListenError> {
        self.listeners.open(stack, families, port, backlog)
    }

    fn counters(&self) -> &AppCounters {
        &self.counters
    }

    fn open(&self) -> usize {
        self.roster.open()
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        self.listeners.close(stack);
        self.draining = true;
        for conn in self.roster.all() {
            self.pump(stack, now, conn);
        }
    }

    fn abort_all(&mut self, stack: &mut Stack) {
        for conn in self.roster.all() {
            self.roster.remove(conn);
            stack.abort(conn);
        }
    }
}
