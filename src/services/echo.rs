//! RFC 862: what comes goes back, in the very buffers in which it came.

use crore_base::{Duration, Instant};
use crore_netbuf::Chunk;
use crore_shard::Service;
use crore_stack::{ConnId, Event, ListenError, Read, SocketError, Stack};

use super::{App, AppCounters, Families, Listeners, Roster};

/// The echo service. A peer that does not read is not read from either: what
/// its send buffer refuses waits here, at most one chunk, and reading goes on
/// when there is room.
#[derive(Debug)]
pub struct Echo {
    roster: Roster<Chunk>,
    listeners: Listeners,
    counters: AppCounters,
    silent: Vec<ConnId>,
    draining: bool,
}

impl Echo {
    /// An echo service that ends connections that are silent for `idle_timeout` (zero: never).
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            roster: Roster::new(idle_timeout),
            listeners: Listeners::default(),
            counters: AppCounters::default(),
            silent: Vec::new(),
            draining: false,
        }
    }

    fn pump(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        match self.echo(stack, now, conn) {
            Ok(Flow::Open) => {}
            Ok(Flow::Ended) => {
                self.roster.remove(conn);
                stack.close(now, conn);
            }
            // `Closed` tells why, and comes by itself.
            Err(_) => {}
        }
    }

    fn echo(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) -> Result<Flow, SocketError> {
        if Roster::<Chunk>::has_state(stack, conn)
            && let Some(rest) = self.roster.take(stack, conn)
            && !self.send(stack, now, conn, *rest)?
        {
            return Ok(Flow::Open);
        }
        loop {
            match stack.read(conn)? {
                Read::Data(chunk) => {
                    self.counters.requests += 1;
                    self.counters.bytes_in += chunk.len() as u64;
                    if !self.send(stack, now, conn, chunk)? {
                        return Ok(Flow::Open);
                    }
                }
                Read::WouldBlock if self.draining => return Ok(Flow::Ended),
                Read::WouldBlock => return Ok(Flow::Open),
                Read::Eof => return Ok(Flow::Ended),
            }
        }
    }

    /// Writes a chunk; `false` when a rest of it must wait for room.
    fn send(
        &mut self,
        stack: &mut Stack,
        now: Instant,
        conn: ConnId,
        mut chunk: Chunk,
    ) -> Result<bool, SocketError> {
        let accepted = stack.write_chunk(conn, chunk.clone())?;
        self.counters.bytes_out += accepted as u64;
        if accepted > 0 {
            Roster::<Chunk>::touch(stack, now, conn);
        }
        if accepted == chunk.len() {
            return Ok(true);
        }
        chunk.advance(accepted);
        self.roster.put(stack, conn, Box::new(chunk));
        Ok(false)
    }
}

enum Flow {
    Open,
    Ended,
}

impl Service for Echo {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => self.roster.add(stack, now, conn),
            Event::Readable { conn } | Event::Writable { conn } | Event::PeerClosed { conn } => {
                self.pump(stack, now, conn);
            }
            Event::Idle { .. } => {}
            Event::Closed { conn, .. } => {
                self.roster.remove(conn);
            }
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.roster.sweep(stack, now, &mut self.silent);
        while let Some(conn) = self.silent.pop() {
            // A peer that does not read its echo would keep a polite end waiting for ever.
            let stuck = self.roster.state(conn).is_some();
            if self.roster.remove(conn) {
                self.counters.idle_closed += 1;
                if stuck {
                    stack.abort(conn)
                } else {
                    stack.close(now, conn)
                }
            }
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.roster.next_sweep()
    }
}

impl App for Echo {
    const NAME: &'static str = "echo";
    const PORT: u16 = 7;

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
