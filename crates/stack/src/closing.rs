//! How an application parts from a connection: half, whole, at once, or with a
//! time for it; and what becomes of those that are on their way out.
//!
//! Read first: RFC 9293 sections 3.6 and 3.10.4 to 3.10.5, [`crate::Options::linger`].
//!
//! Always true: [`Stack::orphans`] is the number of places in the pool that are
//! marked as orphans; each is marked before its turn ends.

use crore_base::{DropReason, Instant};
use crore_tcp::{Connection, State};

use crate::record::{Kind, Wish};
use crate::{CloseReason, ConnId, Event, Stack};

impl Stack {
    /// Sends FIN after what has been written; reading goes on.
    pub fn shutdown_write(&mut self, conn: ConnId) {
        if let Ok(Some(index)) = self.active_for(conn, Wish::Shutdown)
            && let Some(active) = self.slots.pool.get_mut(index)
        {
            active.conn.shutdown_write();
            self.touch(index);
        }
    }

    /// Gives the connection back: what was written is still sent, what comes is
    /// answered as RFC 9293 section 3.6 says, and no event follows. The handle
    /// is dead from here on.
    ///
    /// With [`crate::Options::linger`] it is otherwise. A linger of zero makes an
    /// [`Self::abort`] of it. Another one keeps the handle until
    /// [`Event::Closed`], which says `Finished` when all that was written and the
    /// FIN are acknowledged, or why that did not come about in time.
    pub fn close(&mut self, now: Instant, conn: ConnId) {
        self.release(conn, Wish::Close, |connection| connection.close(now));
    }

    /// Resets the connection. No event follows; the handle is dead from here on.
    pub fn abort(&mut self, conn: ConnId) {
        self.release(conn, Wish::Abort, Connection::abort);
    }

    fn release(&mut self, conn: ConnId, wish: Wish, end: impl FnOnce(&mut Connection)) {
        let Ok(index) = self.active_for(conn, wish) else {
            return;
        };
        let active = index.and_then(|index| self.slots.pool.get_mut(index));
        let lingers = match active {
            Some(active) => {
                end(&mut active.conn);
                active.conn.is_lingering()
            }
            // What is parked has nothing to bring but its FIN.
            None => false,
        };
        let may_linger = index.is_none() && wish == Wish::Close && self.tcp.of(conn.slot).linger.is_some();
        if let Some(record) = self.slots.by_id_mut(conn)
            && !lingers
        {
            record.set_released();
            if may_linger {
                let (reason, user) = (CloseReason::Finished, record.user);
                self.ended.push_back(Event::Closed { conn, reason, user });
            }
        }
        if let Some(index) = index {
            self.adopt_or_reset(index);
            self.touch(index);
        }
    }

    //= rfc9293#section-3.10.5 (MAY)
    // A peer that does not let its connection end must not hold one here for each
    // that was closed: beyond a limit, a close is an abort.
    fn adopt_or_reset(&mut self, index: u32) {
        self.count_orphan(index);
        let limit = self.config.max_orphans;
        if limit > 0
            && self.orphans > limit
            && let Some(active) = self.slots.pool.get_mut(index)
            && active.orphan
        {
            active.conn.abort();
            self.counters.drops.count(DropReason::TooManyOrphans);
            self.count_orphan(index);
        }
    }

    /// The connection at `index`, whose record is `slot`, is over; the application's
    /// own word for it.
    #[inline(never)]
    pub(crate) fn on_closed(&mut self, index: u32, slot: u32, reason: CloseReason) -> Option<u64> {
        // The handle dies here; what TCP still owes the peer it pays by itself.
        let record = self.slots.record_mut(slot)?;
        record.set_released();
        let user = record.user;
        self.counters.broken += u64::from(!matches!(reason, CloseReason::Finished | CloseReason::Aborted));
        self.mark_ready(index);
        self.learn_from_fast_open(index);
        Some(user)
    }

    /// Whether the connection at `index` is an orphan may have changed.
    #[inline]
    pub(crate) fn count_orphan(&mut self, index: u32) {
        if let Some(active) = self.slots.pool.get_mut(index) {
            let is = active.conn.is_orphan();
            let was = core::mem::replace(&mut active.orphan, is);
            self.orphans = self.orphans + u32::from(is) - u32::from(was);
        }
    }

    /// Resets everything that is open, to be followed by transmissions until
    /// [`Self::has_work`] says no.
    pub fn abort_all(&mut self) {
        for slot in 0..self.slots.bound() as u32 {
            let Some(record) = self.slots.record_mut(slot) else {
                continue;
            };
            match record.kind() {
                Kind::Free => continue,
                Kind::HalfOpen => {
                    self.delete(slot);
                    continue;
                }
                Kind::Parked if record.parked().is_some_and(|p| p.state() == State::TimeWait) => {
                    self.delete(slot);
                    continue;
                }
                Kind::Parked | Kind::Active => record.set_released(),
            }
            let Some(index) = self.activate(self.clock, slot) else {
                self.wish(slot, Wish::Abort);
                continue;
            };
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.conn.abort();
            }
            self.touch(index);
        }
    }

    /// Connections that their application has given up and that still have something
    /// to bring to their peer.
    pub fn orphans(&self) -> usize {
        self.orphans as usize
    }
}
