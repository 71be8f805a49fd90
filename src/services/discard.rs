//! RFC 863: what comes is counted and thrown away.

use crore_base::{Duration, Instant};
use crore_shard::Service;
use crore_stack::{ConnId, Event, ListenError, Read, Stack};

use super::{App, AppCounters, Families, Listeners, Roster};

/// The discard service.
#[derive(Debug)]
pub struct Discard {
    roster: Roster<()>,
    listeners: Listeners,
    counters: AppCounters,
    silent: Vec<ConnId>,
}

impl Discard {
    /// A discard service that ends connections that are silent for `idle_timeout` (zero: never).
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            roster: Roster::new(idle_timeout),
            listeners: Listeners::default(),
            counters: AppCounters::default(),
            silent: Vec::new(),
        }
    }

    fn pump(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        loop {
            match stack.read(conn) {
                Ok(Read::Data(chunk)) => {
                    self.counters.requests += 1;
                    self.counters.bytes_in += chunk.len() as u64;
                    Roster::<()>::touch(stack, now, conn);
                }
                Ok(Read::Eof) => {
                    self.roster.remove(conn);
                    stack.close(now, conn);
                    return;
                }
                // After an error `Closed` comes by itself.
                Ok(Read::WouldBlock) | Err(_) => return,
            }
        }
    }
}

impl Service for Discard {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Opened { conn, .. } => self.roster.add(stack, now, conn),
            Event::Readable { conn } | Event::PeerClosed { conn } => self.pump(stack, now, conn),
            Event::Writable { .. } => {}
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
                stack.close(now, conn);
            }
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.roster.next_sweep()
    }
}

impl App for Discard {
    const NAME: &'static str = "discard";
    const PORT: u16 = 9;

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

    /// The write side is shut, by which a polite peer knows that it should end;
    /// what it still sends is still taken.
    fn drain(&mut self, stack: &mut Stack, _now: Instant) {
        self.listeners.close(stack);
        for conn in self.roster.all() {
            stack.shutdown_write(conn);
        }
    }

    fn abort_all(&mut self, stack: &mut Stack) {
        for conn in self.roster.all() {
            self.roster.remove(conn);
            stack.abort(conn);
        }
    }
}
