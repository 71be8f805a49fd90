//! Between the two tiers: idle connections are parked in their records, and
//! woken when a packet, the application or time asks for them.
//!
//! Read first: DESIGN section 4, `crore_tcp::Parked`.
//!
//! Always true: a connection is parked only when nothing would be lost by it;
//! when the pool is used up, what can't be woken now is counted (a packet, which
//! its sender repeats) or remembered (a wish of the application), never lost.

use core::net::IpAddr;

use crore_base::{Duration, FourTuple, Instant};
use crore_tcp::{Challenges, Connection, EcnMode, HalfOpen, State};
use crore_wire::Segment;

use crate::pool::Active;
use crate::record::{Kind, Wish};
use crate::sweep;
use crate::{ConnId, Event, ListenerId, Stack};

/// Places of the pool looked at for one that can be given up, at most.
const LOOK: usize = 64;

/// When idle connections are parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ParkPolicy {
    /// Never, unless the pool is used up.
    Late,
    /// As soon as nothing is going on.
    AtOnce,
    /// After nothing has moved for so long; at once while the pool is pressed, and in TIME-WAIT.
    After(Duration),
}

impl ParkPolicy {
    pub(crate) fn new(park_after: Option<Duration>) -> Self {
        match park_after {
            None => Self::Late,
            Some(Duration::ZERO) => Self::AtOnce,
            Some(time) => Self::After(time),
        }
    }
}

impl Stack {
    /// The place in the pool of the connection at `slot`, which is woken if it
    /// was parked; none if there is no place for it, or no connection.
    #[inline]
    pub(crate) fn activate(&mut self, now: Instant, slot: u32) -> Option<u32> {
        let record = self.slots.record(slot)?;
        match record.kind() {
            Kind::Active => Some(record.index()),
            Kind::Parked => self.wake(now, slot),
            Kind::Free | Kind::HalfOpen => None,
        }
    }

    fn wake(&mut self, now: Instant, slot: u32) -> Option<u32> {
        let record = self.slots.record(slot)?;
        // A close that still has to be carried out has not reached the connection.
        let released = record.is_released() && record.wish() == Wish::None;
        let parked = record.parked()?;
        if !self.make_room() {
            return None;
        }
        let tuple = self.slots.tuple(slot)?;
        let ts_offset = self.isn.ts_offset(&tuple);
        let path = self.path_to(tuple.remote_addr);
        let probed = sweep::last_probed(self.tcp.of(slot), now, parked.heard_at());
        let challenges = self.challenges.take(now, slot);
        let (next_hop, config) = (self.next_hop(&tuple), self.tcp.of(slot));
        let (index, place) = self.slots.activate(slot);
        place.fill(Active::new(
            slot,
            Connection::wake(config, &parked, ts_offset, path, released),
            tuple,
            next_hop,
            None,
            parked.heard_at(),
        ));
        let told = parked.marks() & sweep::TOLD != 0;
        if told || probed.is_some() || challenges.is_some() {
            self.remember(index, told, probed, challenges);
        }
        self.counters.woken += 1;
        // Whatever becomes of what woke it: its timer is armed, or it is parked
        // again, at the end of its turn.
        self.mark_ready(index);
        Some(index)
    }

    /// What few parked connections have to remember: that the application was told
    /// of a silence, when the peer was probed last, which challenges were sent.
    #[cold]
    fn remember(&mut self, index: u32, told: bool, probed: Option<Instant>, challenges: Option<Challenges>) {
        let Some(active) = self.slots.pool.get_mut(index) else {
            return;
        };
        active.told = told;
        if let Some(at) = probed {
            active.conn.assume_heard(at);
        }
        if let Some(sent) = challenges {
            active.conn.resume_challenges(sent);
        }
    }

    /// The handshake at `slot` becomes a connection; none if there is no place for it.
    pub(crate) fn wake_half_open(&mut self, now: Instant, slot: u32, half: &HalfOpen) -> Option<u32> {
        if !self.make_room() {
            return None;
        }
        let tuple = self.slots.tuple(slot)?;
        let path = self.path_to(tuple.remote_addr);
        let conn = half.wake(self.tcp.of(slot), now, self.isn.ts_offset(&tuple), path);
        let active = self.make_active(now, conn, tuple, Some(ListenerId(half.tag())));
        let (index, place) = self.slots.activate(slot);
        place.fill(Active { slot, ..active });
        self.mark_ready(index);
        Some(index)
    }

    /// The handshake at `slot` ends with `segment`, a bare acknowledgment: it
    /// becomes a parked connection without ever taking a place in the pool.
    /// Whether it did.
    pub(crate) fn park_half_open(
        &mut self,
        now: Instant,
        slot: u32,
        half: &HalfOpen,
        segment: &Segment,
    ) -> bool {
        if self.park_policy == ParkPolicy::Late && !self.slots.pool.is_full() {
            return false;
        }
        let Some(tuple) = self.slots.tuple(slot) else {
            return false;
        };
        let path = self.path_to(tuple.remote_addr);
        let ts_offset = || self.isn.ts_offset(&tuple);
        let Some(parked) = half.park(self.tcp.of(slot), now, ts_offset, path, segment) else {
            return false;
        };
        self.slots.park_half_open(slot, parked);
        let listener = ListenerId(half.tag());
        self.listeners.handshake_ended(listener);
        self.counters.accepted += 1;
        self.counters.ecn_agreed += u64::from(half.ecn() != EcnMode::Off);
        self.ended.push_back(Event::Opened {
            conn: self.slots.id(slot),
            listener: Some(listener),
        });
        true
    }

    /// What is kept beside `conn`, whose record is yet to be told.
    pub(crate) fn make_active(
        &self,
        now: Instant,
        conn: Connection,
        tuple: FourTuple,
        listener: Option<ListenerId>,
    ) -> Active {
        Active::new(0, conn, tuple, self.next_hop(&tuple), listener, now)
    }

    #[inline]
    fn next_hop(&self, tuple: &FourTuple) -> IpAddr {
        let remote = tuple.remote_addr;
        self.routes.next_hop(remote).unwrap_or(remote)
    }

    /// Parks the connection at `index` of the pool if nothing is going on.
    pub(crate) fn park(&mut self, index: u32) -> bool {
        let Some(active) = self.slots.pool.get(index) else {
            return false;
        };
        if active.ready
            || active.has_events
            || active.awaits_neighbor
            || active.half_open
            || active.fast_opening
        {
            return false;
        }
        let Some(parked) = active.conn.park() else {
            return false;
        };
        let parked = self.keep_silence(active, parked);
        // What its path bears is no part of the record: who wakes it asks there.
        if let Some(mss) = active.conn.path_limit() {
            self.paths.raise(active.tuple.remote_addr, mss);
        }
        debug_assert_eq!(active.charged, 0, "nothing is held, so nothing is charged");
        self.memory.forget(active);
        debug_assert!(!active.orphan, "an orphan is not quiet");
        self.counters.take_over(&active.conn.stats());
        let (slot, challenges) = (active.slot, active.conn.challenges(self.clock));
        self.challenges.keep(self.clock, slot, challenges);
        self.timers.cancel(index);
        self.slots.park(index, parked);
        self.counters.parked += 1;
        true
    }

    /// The end of a connection's turn, while it is still in the cache: should it
    /// be parked at once?
    #[inline]
    pub(crate) fn park_if_due(&mut self, index: u32) {
        let due = match self.park_policy {
            ParkPolicy::Late => false,
            ParkPolicy::AtOnce => true,
            ParkPolicy::After(_) => {
                let waits = |a: &Active| a.conn.state() == State::TimeWait;
                self.slots.pool.is_pressed() || self.slots.pool.get(index).is_some_and(waits)
            }
        };
        if due {
            self.park(index);
        }
    }

    /// Makes sure that the pool has a place: some that are idle are parked if it
    /// must be. Whether it has one.
    pub(crate) fn make_room(&mut self) -> bool {
        if !self.slots.pool.is_full() {
            return true;
        }
        let bound = self.slots.pool.bound();
        for _ in 0..LOOK.min(bound) {
            self.pool_hand = if self.pool_hand + 1 < bound {
                self.pool_hand + 1
            } else {
                0
            };
            if self.park(self.pool_hand as u32) {
                return true;
            }
        }
        self.counters.pool_exhausted += 1;
        false
    }

    /// Parks some of those on which nothing has moved for long; a step of the
    /// slow walk.
    pub(crate) fn park_aged(&mut self, now: Instant, range: core::ops::Range<usize>) {
        let ParkPolicy::After(age) = self.park_policy else {
            return;
        };
        for index in range {
            let aged = |active: &Active| now.since(active.moved_at) >= age;
            if self.slots.pool.get(index as u32).is_some_and(aged) {
                self.park(index as u32);
            }
        }
    }

    /// Remembers what the application wants of a parked connection that can't
    /// be woken now.
    pub(crate) fn wish(&mut self, slot: u32, wish: Wish) {
        let Some(record) = self.slots.record_mut(slot) else {
            return;
        };
        if record.wish() == Wish::None {
            self.wishes.push_back(slot);
        }
        if record.wish() < wish {
            record.set_wish(wish);
        }
    }

    /// Carries out what was remembered, as far as the pool has places.
    pub(crate) fn grant_wishes(&mut self, now: Instant) {
        for _ in 0..self.wishes.len().min(LOOK) {
            let Some(&slot) = self.wishes.front() else { return };
            let Some(record) = self.slots.record_mut(slot) else {
                return;
            };
            let wish = record.wish();
            if wish != Wish::None && !matches!(record.kind(), Kind::Free | Kind::HalfOpen) {
                let Some(index) = self.activate(now, slot) else {
                    return;
                };
                self.grant(now, slot, index, wish);
            }
            self.wishes.pop_front();
        }
    }

    fn grant(&mut self, now: Instant, slot: u32, index: u32, wish: Wish) {
        if let Some(record) = self.slots.record_mut(slot) {
            record.set_wish(Wish::None);
        }
        let Some(active) = self.slots.pool.get_mut(index) else {
            return;
        };
        match wish {
            Wish::None => {}
            Wish::Write => {
                let conn: ConnId = self.slots.id(slot);
                self.ended.push_back(Event::Writable { conn });
            }
            Wish::Shutdown => active.conn.shutdown_write(),
            Wish::Close => active.conn.close(now),
            Wish::Abort => active.conn.abort(),
        }
        self.touch(index);
    }
}
