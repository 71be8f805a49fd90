//! What a shard is there for: to serve, or to ask.

use crore::services::{App, AppCounters, Families};
use crore::{Event, Instant, Service, Stack};
use crore_load::{Client, LoadReport};

use crate::failure::Failure;

/// What a shard is there for: it serves, or it asks.
pub(crate) trait Work: Service {
    /// Begins: listens, if that is its kind.
    fn begin(&mut self, stack: &mut Stack) -> Result<(), Failure>;
    /// What it has done so far.
    fn counters(&self) -> AppCounters;
    /// How many connections it holds.
    fn open(&self) -> usize;
    /// Whether it has done all that it was there for.
    fn is_finished(&self) -> bool {
        false
    }
    /// Begins to end.
    fn drain(&mut self, stack: &mut Stack, now: Instant);
    /// Ends what is left.
    fn abort_all(&mut self, stack: &mut Stack);
    /// What a client found out.
    fn report(&self, _now: Instant) -> Option<LoadReport> {
        None
    }
}

/// A shard that serves.
pub(crate) struct Serving<A> {
    pub(crate) app: A,
    pub(crate) families: Families,
    pub(crate) port: u16,
    pub(crate) backlog: u32,
}

impl<A: App> Service for Serving<A> {
    #[inline]
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        self.app.on_event(stack, now, event);
    }

    #[inline]
    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.app.on_turn(stack, now);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.app.next_wakeup()
    }
}

impl<A: App> Work for Serving<A> {
    fn begin(&mut self, stack: &mut Stack) -> Result<(), Failure> {
        self.app
            .listen(stack, self.families, self.port, self.backlog)
            .map_err(|e| Failure::run(format!("can't listen on port {}: {e}", self.port)))
    }

    fn counters(&self) -> AppCounters {
        *self.app.counters()
    }

    fn open(&self) -> usize {
        self.app.open()
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        self.app.drain(stack, now);
    }

    fn abort_all(&mut self, stack: &mut Stack) {
        self.app.abort_all(stack);
    }
}

/// A shard that asks.
pub(crate) struct Asking<C>(pub(crate) C);

impl<C: Client> Service for Asking<C> {
    #[inline]
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        self.0.on_event(stack, now, event);
    }

    #[inline]
    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.0.on_turn(stack, now);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.0.next_wakeup()
    }
}

impl<C: Client> Work for Asking<C> {
    fn begin(&mut self, _stack: &mut Stack) -> Result<(), Failure> {
        Ok(())
    }

    fn counters(&self) -> AppCounters {
        AppCounters {
            requests: self.0.requests(),
            ..AppCounters::default()
        }
    }

    fn open(&self) -> usize {
        self.0.open()
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        self.0.finish(stack, now);
    }

    fn abort_all(&mut self, _stack: &mut Stack) {}

    fn report(&self, now: Instant) -> Option<LoadReport> {
        Some(self.0.report(now))
    }
}
