//! The connections that an application holds, what it keeps for each, and which
//! of them have fallen silent.
//!
//! Always true: an entry is found by the connection's slot index, so there is
//! no hashing; state exists only for connections that need some; when a
//! connection last moved stands in its own word in the stack, which the packet
//! that moved it has in the cache already.

use crore_base::{Duration, Instant};
use crore_stack::{ConnId, Stack};

/// Entries looked at in one step of the search for silent connections, at least.
const SWEEP_MIN: usize = 64;
/// Entries looked at in one step, at most.
const SWEEP_MAX: usize = 1024;
/// Shortest and longest time between two steps.
const SWEEP_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

/// The connections of one application, with a state `S` for those that need it.
#[derive(Debug)]
pub struct Roster<S> {
    entries: Vec<Entry<S>>,
    open: usize,
    idle_timeout: Duration,
    hand: usize,
    next_sweep: Instant,
}

#[derive(Debug)]
struct Entry<S> {
    conn: Option<ConnId>,
    state: Option<Box<S>>,
}

/// The flag in a connection's word that says that the roster holds state for it.
const HAS_STATE: u64 = 1;

impl<S> Roster<S> {
    /// An empty roster; connections are silent when nothing has moved for
    /// `idle_timeout` (zero: never).
    pub const fn new(idle_timeout: Duration) -> Self {
        Self {
            entries: Vec::new(),
            open: 0,
            idle_timeout,
            hand: 0,
            next_sweep: Instant::ZERO,
        }
    }

    /// Takes a connection in.
    pub fn add(&mut self, stack: &mut Stack, now: Instant, conn: ConnId) {
        let index = conn.index();
        while self.entries.len() <= index {
            self.entries.push(Entry {
                conn: None,
                state: None,
            });
        }
        let entry = &mut self.entries[index];
        if entry.conn.replace(conn).is_none() {
            self.open += 1;
        }
        entry.state = None;
        stack.set_user(conn, word(now, false));
    }

    /// Forgets a connection; whether it was there.
    pub fn remove(&mut self, conn: ConnId) -> bool {
        match self.entries.get_mut(conn.index()) {
            Some(entry) if entry.conn == Some(conn) => {
                entry.conn = None;
                entry.state = None;
                self.open -= 1;
                true
            }
            _ => false,
        }
    }

    /// Whether there is state for the connection; reads no memory of the roster's.
    #[inline]
    pub fn has_state(stack: &Stack, conn: ConnId) -> bool {
        stack.user(conn) & HAS_STATE != 0
    }

    /// The connection's state, if it has some.
    #[inline]
    pub fn state(&mut self, conn: ConnId) -> Option<&mut S> {
        let entry = self
            .entries
            .get_mut(conn.index())
            .filter(|e| e.conn == Some(conn))?;
        entry.state.as_deref_mut()
    }

    /// Takes the connection's state out, leaving it with none.
    pub fn take(&mut self, stack: &mut Stack, conn: ConnId) -> Option<Box<S>> {
        let entry = self
            .entries
            .get_mut(conn.index())
            .filter(|e| e.conn == Some(conn))?;
        let state = entry.state.take()?;
        stack.set_user(conn, stack.user(conn) & !HAS_STATE);
        Some(state)
    }

    /// Puts state there for a connection of the roster.
    pub fn put(&mut self, stack: &mut Stack, conn: ConnId, state: Box<S>) {
        if let Some(entry) = self
            .entries
            .get_mut(conn.index())
            .filter(|e| e.conn == Some(conn))
        {
            entry.state = Some(state);
            stack.set_user(conn, stack.user(conn) | HAS_STATE);
        }
    }

    /// Notes that something moved on the connection.
    #[inline]
    pub fn touch(stack: &mut Stack, now: Instant, conn: ConnId) {
        let old = stack.user(conn);
        let new = word(now, old & HAS_STATE != 0);
        if old != new {
            stack.set_user(conn, new);
        }
    }

    /// How many connections there are.
    pub const fn open(&self) -> usize {
        self.open
    }

    /// All connections.
    pub fn all(&self) -> Vec<ConnId> {
        self.entries.iter().filter_map(|e| e.conn).collect()
    }

    /// Appends to `silent` some of the connections on which nothing has moved
    /// for the idle time-out. Each call does a bounded piece of the round, and
    /// nothing at all before [`Self::next_sweep`].
    pub fn sweep(&mut self, stack: &Stack, now: Instant, silent: &mut Vec<ConnId>) {
        if now < self.next_sweep || self.idle_timeout == Duration::ZERO {
            return;
        }
        let total = self.entries.len();
        let step = (total / 512).clamp(SWEEP_MIN, SWEEP_MAX).min(total);
        for _ in 0..step {
            self.hand = if self.hand + 1 < total { self.hand + 1 } else { 0 };
            if let Some(conn) = self.entries[self.hand].conn {
                let moved = Instant::from_millis(stack.user(conn) >> 1);
                if now.since(moved) >= self.idle_timeout {
                    silent.push(conn);
                }
            }
        }
        // Once around takes about a second, as long as the steps suffice.
        let pause = Duration::from_secs(1)
            .saturating_mul(step as u64)
            .div(total.max(1) as u64);
        self.next_sweep = now + pause.clamp(SWEEP_PAUSE.0, SWEEP_PAUSE.1);
    }

    /// When [`Self::sweep`] has something to do again; `None` while it has not.
    pub fn next_sweep(&self) -> Option<Instant> {
        (self.open > 0 && self.idle_timeout != Duration::ZERO).then_some(self.next_sweep)
    }
}

/// When the connection last moved, to 64 ms (the word then seldom changes), and
/// whether it has state.
const fn word(now: Instant, has_state: bool) -> u64 {
    (now.as_millis() & !63) << 1 | has_state as u64
}
