//! TIME-WAIT, parked: a record each, in the order in which the waits began.
//!
//! Read first: RFC 9293 section 3.6.1, RFC 6191.
//!
//! Always true: connections in TIME-WAIT never keep a new one out; when a record
//! is needed, the one that has waited longest ends early.

use core::net::{IpAddr, SocketAddr};

use crore_base::{Duration, FourTuple, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Connection, Disposition, State};
use crore_wire::Segment;

use crate::profiles::ProfileId;
use crate::{ConnId, ConnectError, Stack};

/// Waits ended in one call, at most.
const EXPIRE: usize = 1024;
/// Ports looked at for one whose wait can be cut short.
const LOOK: usize = 64;
/// A wait that is cut short has lasted for so long: what the old connection sent
/// has arrived by then, or is recognised by its timestamp.
const WAIT_LEAST: Duration = Duration::from_secs(1);
/// A parked moment is rounded down by less than this.
const STAMP_UNIT: Duration = Duration::from_millis(68);

impl Stack {
    /// Deletes those whose wait is over.
    pub(crate) fn expire_time_wait(&mut self, now: Instant) {
        for _ in 0..EXPIRE {
            match self.slots.time_wait.front() {
                Some(slot) if self.wait_ends(slot).is_some_and(|end| end <= now) => self.delete(slot),
                _ => return,
            }
        }
    }

    /// When the first wait is over.
    pub(crate) fn next_time_wait(&self) -> Option<Instant> {
        self.wait_ends(self.slots.time_wait.front()?)
    }

    /// Ends the oldest wait to make a record free; whether there was one.
    pub(crate) fn recycle_time_wait(&mut self) -> bool {
        let Some(slot) = self.slots.time_wait.front() else {
            return false;
        };
        match self.wait_ahead {
            Some((conn, hash)) if conn == self.slots.id(slot) => self.delete_hashed(slot, hash),
            _ => self.delete(slot),
        }
        self.counters.time_wait_recycled += 1;
        self.look_ahead();
        true
    }

    /// Brings nearer what the end of the next wait will touch: it began long ago,
    /// and one that ends to make a record free is seldom the only one.
    fn look_ahead(&mut self) {
        self.wait_ahead = None;
        let Some(slot) = self.slots.time_wait.front() else {
            return;
        };
        // Its own record was asked for when the one before it ended.
        self.slots.prefetch_next_wait(slot);
        if let Some(tuple) = self.slots.tuple(slot) {
            let hash = self.hasher.hash(&tuple);
            self.flows.prefetch(hash);
            self.wait_ahead = Some((self.slots.id(slot), hash));
        }
    }

    /// Where the numbers of a new connection have to lie beyond, if `segment` is
    /// a SYN that may open one in the place of the one that is parked in
    /// TIME-WAIT at `slot`. This takes no place in the pool, so that a full one
    /// keeps nobody from coming back.
    pub(crate) fn reopens(&self, now: Instant, slot: u32, segment: &Segment) -> Option<SeqNum> {
        let parked = self.slots.record(slot)?.parked()?;
        if parked.state() != State::TimeWait {
            return None;
        }
        let tuple = self.slots.tuple(slot)?;
        let (ts_offset, path) = (self.isn.ts_offset(&tuple), self.path_to(tuple.remote_addr));
        let mut waiting = Connection::wake(self.tcp.of(slot), &parked, ts_offset, path, true);
        match waiting.on_segment(now, segment, Chunk::empty()) {
            Disposition::Reopen { iss_above } => Some(iss_above),
            Disposition::Accepted | Disposition::Dropped(_) => None,
        }
    }

    //= rfc6191#section-2 (SHOULD)
    // All ports towards a destination are taken: one that only waits in TIME-WAIT
    // may serve again where both ends use timestamps, by which what is left of the
    // old connection is told from the new one. Those used longest ago come first.
    pub(crate) fn open_after_time_wait(
        &mut self,
        now: Instant,
        local_addr: IpAddr,
        remote: SocketAddr,
        profile: ProfileId,
    ) -> Result<ConnId, ConnectError> {
        let tuple_from = |local_port| FourTuple {
            local_addr,
            local_port,
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        };
        let reusable = |port: u16| {
            let tuple = tuple_from(port);
            let slot = self.find(&tuple)?;
            let parked = self.slots.record(slot)?.parked()?;
            let waited = now.since(parked.heard_at()) >= WAIT_LEAST + STAMP_UNIT;
            let waits = parked.state() == State::TimeWait && parked.has_timestamps() && waited;
            waits.then(|| (slot, tuple, parked.snd_nxt()))
        };
        let (slot, tuple, snd_nxt) = self
            .ports
            .oldest(local_addr, remote, LOOK)
            .find_map(reusable)
            .ok_or(ConnectError::PortsExhausted)?;
        self.delete(slot);
        self.counters.time_wait_recycled += 1;
        self.open(now, tuple, self.hasher.hash(&tuple), profile, Some(snd_nxt))
    }

    fn wait_ends(&self, slot: u32) -> Option<Instant> {
        let parked = self.slots.record(slot)?.parked()?;
        Some(parked.heard_at() + self.tcp.base().time_wait + STAMP_UNIT)
    }
}
