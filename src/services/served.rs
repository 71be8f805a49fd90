//! What all of these applications have in common: they listen, keep state only
//! for connections in the middle of something, end the silent ones, and finish.
//!
//! Always true: an idle connection costs its application nothing but its word in
//! the stack, where zero says that there is no state; a connection is counted as
//! open from `Opened` until `Closed` or until the application gave it back.

use crore_base::Instant;
use crore_shard::Service;
use crore_stack::{ConnId, Event, ListenError, Stack};
use slab::Slab;

use super::{App, AppCounters, Families, Listeners};

/// Connections looked at in one turn while an application finishes.
const DRAIN_STEP: usize = 1024;

/// What an application does on its connections.
pub trait Talk {
    /// What it is called on the command line and in reports.
    const NAME: &'static str;
    /// The port that it is known under.
    const PORT: u16;
    /// What it keeps for a connection in the middle of something.
    type State;

    /// A connection was opened.
    fn on_opened(&mut self, _desk: &mut Desk<Self::State>, _stack: &mut Stack, _now: Instant, _conn: ConnId) {
    }

    /// There is something to read, room to write, or the peer has finished.
    fn on_ready(&mut self, desk: &mut Desk<Self::State>, stack: &mut Stack, now: Instant, conn: ConnId);

    /// Nothing has moved for the idle time-out. A peer that does not take what
    /// it asked for would keep a polite end waiting for ever.
    fn on_idle(&mut self, desk: &mut Desk<Self::State>, stack: &mut Stack, now: Instant, conn: ConnId) {
        if Desk::<Self::State>::has_state(stack, conn) {
            desk.abort(stack, conn);
        } else {
            desk.close(stack, now, conn);
        }
    }

    /// The application finishes: so does this connection, as soon as its peer
    /// has got what it asked for.
    fn on_drain(&mut self, desk: &mut Desk<Self::State>, stack: &mut Stack, now: Instant, conn: ConnId) {
        self.on_ready(desk, stack, now, conn);
    }

    /// What it has done so far.
    fn counters(&self) -> &AppCounters;

    /// The same, to count on.
    fn counters_mut(&mut self) -> &mut AppCounters;
}

/// The states of one application's connections.
#[derive(Debug)]
pub struct Desk<S> {
    states: Slab<S>,
    open: usize,
    draining: bool,
}

impl<S> Desk<S> {
    /// Whether there is state for the connection.
    #[inline]
    pub fn has_state(stack: &Stack, conn: ConnId) -> bool {
        stack.user(conn) != 0
    }

    /// The connection's state, if it has some.
    #[inline]
    pub fn state(&mut self, stack: &Stack, conn: ConnId) -> Option<&mut S> {
        self.states.get_mut(place(stack.user(conn))?)
    }

    /// Takes the connection's state out, leaving it with none.
    pub fn take(&mut self, stack: &mut Stack, conn: ConnId) -> Option<S> {
        let state = self.states.try_remove(place(stack.user(conn))?);
        stack.set_user(conn, 0);
        state
    }

    /// Puts state there for a connection that has none.
    pub fn put(&mut self, stack: &mut Stack, conn: ConnId, state: S) {
        let place = self.states.insert(state);
        stack.set_user(conn, place as u64 + 1);
    }

    /// Gives the connection back; what was written is still sent.
    pub fn close(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        self.forget(stack.user(conn));
        stack.close(now, conn);
    }

    /// Resets the connection.
    pub fn abort(&mut self, stack: &mut Stack, conn: ConnId) {
        self.forget(stack.user(conn));
        stack.abort(conn);
    }

    /// Whether the application finishes.
    pub const fn is_draining(&self) -> bool {
        self.draining
    }

    fn forget(&mut self, word: u64) {
        self.open -= 1;
        if let Some(place) = place(word) {
            self.states.try_remove(place);
        }
    }
}

fn place(word: u64) -> Option<usize> {
    usize::try_from(word.checked_sub(1)?).ok()
}

/// An application that is served.
#[derive(Debug)]
pub struct Served<T: Talk> {
    pub(super) talk: T,
    desk: Desk<T::State>,
    listeners: Listeners,
    /// How far the walk over all connections is, while it finishes.
    drain_hand: Option<usize>,
}

impl<T: Talk> Served<T> {
    pub(super) fn of(talk: T) -> Self {
        Self {
            talk,
            desk: Desk {
                states: Slab::new(),
                open: 0,
                draining: false,
            },
            listeners: Listeners::default(),
            drain_hand: None,
        }
    }

    fn drain_some(&mut self, stack: &mut Stack, now: Instant) {
        let Some(hand) = self.drain_hand else { return };
        let end = (hand + DRAIN_STEP).min(stack.slot_bound());
        for index in hand..end {
            if let Some(conn) = stack.connection_at(index) {
                self.talk.on_drain(&mut self.desk, stack, now, conn);
            }
        }
        self.drain_hand = (end < stack.slot_bound()).then_some(end);
    }
}

impl<T: Talk> Service for Served<T> {
    #[inline]
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        let Self { talk, desk, .. } = self;
        match event {
            Event::Readable { conn } | Event::Writable { conn } | Event::PeerClosed { conn } => {
                talk.on_ready(desk, stack, now, conn);
            }
            Event::Opened { conn, .. } => {
                desk.open += 1;
                talk.on_opened(desk, stack, now, conn);
                if desk.draining {
                    talk.on_drain(desk, stack, now, conn);
                }
            }
            // It may have ended since it was found idle.
            Event::Idle { conn } if stack.state(conn).is_some() => {
                talk.counters_mut().idle_closed += 1;
                talk.on_idle(desk, stack, now, conn);
            }
            Event::Idle { .. } | Event::Urgent { .. } => {}
            Event::Closed { user, .. } => desk.forget(user),
        }
    }

    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.drain_some(stack, now);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.drain_hand.map(|_| Instant::ZERO)
    }
}

impl<T: Talk> App for Served<T> {
    const NAME: &'static str = T::NAME;
    const PORT: u16 = T::PORT;

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
        self.talk.counters()
    }

    fn open(&self) -> usize {
        self.desk.open
    }

    fn drain(&mut self, stack: &mut Stack, now: Instant) {
        self.listeners.close(stack);
        self.desk.draining = true;
        self.drain_hand = Some(0);
        self.drain_some(stack, now);
    }

    fn abort_all(&mut self, stack: &mut Stack) {
        for index in 0..stack.slot_bound() {
            if let Some(conn) = stack.connection_at(index) {
                self.desk.abort(stack, conn);
            }
        }
    }
}
