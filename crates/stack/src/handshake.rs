//! Handshakes that somebody else begins: a record each until the peer has shown
//! that it is where it says it is.
//!
//! Read first: RFC 9293 section 3.10.7.2 and 3.10.7.4 (SYN-RECEIVED), RFC 4987
//! section 3.4 (the SYN cache).
//!
//! Always true: a SYN costs one record and one small answer, no place in the
//! pool and no memory of its own; a listener has at most `backlog` of them, and
//! beyond those a SYN costs the answer alone (see `cookies`).

use crore_base::{DropReason, Duration, Instant, SeqNum};
use crore_tcp::{HalfOpen, SynAgain};

use crate::fast_open::SynWithCookie;
use crate::fifo::Fifo;
use crate::input::Pending;
use crate::listener::Door;
use crate::neighbor::Resolution;
use crate::slots::HANDSHAKE_LISTS;
use crate::{CookiePolicy, Stack};

/// Handshakes dealt with in one call, at most, when their time has come.
const EXPIRE: usize = 128;

impl Stack {
    /// A SYN for a listener. `iss_above` is set when it follows a connection in
    /// TIME-WAIT, whose record was just given up for it.
    pub(crate) fn on_syn(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        listener: Door,
        iss_above: Option<SeqNum>,
    ) -> Result<(), DropReason> {
        let tuple = pending.tuple;
        if self.syn_acks.is_full() {
            return Err(DropReason::HandshakeQueueFull);
        }
        if self.routes.next_hop(tuple.remote_addr).is_none() {
            return Err(DropReason::NoRoute);
        }
        // A record that was given up for this SYN is there for it; and only a
        // number of our own choice surely lies above the old ones.
        if iss_above.is_none() {
            match self.cookies.policy {
                CookiePolicy::Always => return self.answer_with_cookie(now, pending, listener),
                CookiePolicy::Overflow if listener.is_full => {
                    return self.answer_with_cookie(now, pending, listener);
                }
                CookiePolicy::Never if listener.is_full => return Err(DropReason::BacklogFull),
                CookiePolicy::Never | CookiePolicy::Overflow => {}
            }
        }
        if self.slots.is_full() && !self.recycle_time_wait() {
            // If nothing but other handshakes is in the way, this one need not
            // wait for them to fail.
            let may_come =
                self.cookies.policy != CookiePolicy::Never && self.slots.least_handshake().is_some();
            return if may_come {
                self.answer_with_cookie(now, pending, listener)
            } else {
                Err(DropReason::ConnectionsExhausted)
            };
        }
        let mut iss = self.isn.iss(now, &tuple);
        if let Some(above) = iss_above
            && iss.at_or_before(above)
        {
            // Far enough above that no old segment in flight can look new.
            iss = above + 65_535 + 1;
        }
        let mut grants = false;
        if listener.fast_open
            && (pending.segment.options.fast_open.is_some() || listener.trusts && !pending.payload.is_empty())
        {
            match self.on_syn_with_cookie(now, pending, listener, iss) {
                SynWithCookie::Opened => return Ok(()),
                SynWithCookie::Ordinary { grants: gives } => grants = gives,
            }
        }
        let mut half = HalfOpen::new(
            self.tcp.get(listener.profile),
            now,
            iss,
            &pending.segment,
            listener.id.0,
        );
        if grants {
            half = half.with_grant();
        }
        let slot = self
            .slots
            .insert_half_open(&tuple, half)
            .ok_or(DropReason::ConnectionsExhausted)?;
        self.tcp.assign(slot, listener.profile);
        self.listeners.handshake_began(listener.id);
        self.flows.insert(pending.hash, slot);
        self.note_peak();
        self.owe_syn_ack(now, &tuple, &half, listener.profile, pending.src_mac);
        Ok(())
    }

    /// A segment for a handshake that is under way.
    ///
    //= rfc9293#section-3.10.7.4 (MUST)
    // SYN-RECEIVED: a RST that fits ends it; the SYN again is answered again; an
    // ACK of our SYN makes a connection of it; any other ACK earns a RST.
    pub(crate) fn on_half_open(
        &mut self,
        now: Instant,
        slot: u32,
        half: &HalfOpen,
        pending: &mut Pending,
    ) -> Result<(), DropReason> {
        let segment = &pending.segment;
        let flags = segment.flags;
        if flags.has_rst() {
            self.counters.resets_in += 1;
            //= rfc5961#section-3.2 (MUST)
            // One elsewhere in the window is challenged. What says where we stand
            // is the SYN-ACK: one for one, as each copy of the SYN earns.
            if segment.seq != half.irs() + 1 {
                let offered = u32::from(half.offered(self.tcp.of(slot)));
                if (half.irs() + 1).distance_to(segment.seq) < offered {
                    let profile = self.tcp.id_of(slot);
                    self.owe_syn_ack(now, &pending.tuple, half, profile, pending.src_mac);
                }
                return Err(DropReason::ResetOutOfPlace);
            }
            // No connection is broken by it: an old SYN that comes late ends so.
            self.delete(slot);
            return Err(DropReason::HandshakeReset);
        }
        if flags.has_syn() && !flags.has_ack() && segment.seq == half.irs() {
            let mut half = *half;
            if half.on_syn_again(self.tcp.of(slot), segment) == SynAgain::Reset {
                let reset = self.on_stray(now, pending, DropReason::BadFlags);
                self.delete(slot);
                return reset;
            }
            self.slots.renew_half_open(slot, half);
            let owed = self.owe_syn_ack(now, &pending.tuple, &half, self.tcp.id_of(slot), pending.src_mac);
            return Err(if owed {
                DropReason::Duplicate
            } else {
                DropReason::HandshakeQueueFull
            });
        }
        //= rfc5961#section-4.2 (MUST)
        // Another SYN is challenged: a peer that did start anew answers the SYN-ACK
        // of the old one by a reset that we believe, and comes through with its next.
        if flags.has_syn() && !flags.has_ack() {
            let profile = self.tcp.id_of(slot);
            self.owe_syn_ack(now, &pending.tuple, half, profile, pending.src_mac);
            return Err(DropReason::SynInConnection);
        }
        if !flags.has_ack() {
            return Err(DropReason::MissingAck);
        }
        if segment.ack != half.iss() + 1 {
            return self.on_stray(now, pending, DropReason::UnacceptableAck);
        }
        let bare = pending.payload.is_empty() && !flags.has_fin() && !flags.has_syn();
        if bare && self.park_half_open(now, slot, half, segment) {
            return Ok(());
        }
        let index = self
            .wake_half_open(now, slot, half)
            .ok_or(DropReason::PoolExhausted)?;
        self.on_active(now, index, pending)
    }

    /// Gives up the handshake that is least likely to be gone on with, to make a
    /// record free; whether there was one.
    pub(crate) fn evict_handshake(&mut self) -> bool {
        let Some(slot) = self.slots.least_handshake() else {
            return false;
        };
        self.counters.drops.count(DropReason::HandshakeEvicted);
        self.delete(slot);
        true
    }

    /// Sends SYN-ACKs again whose time has come, and ends the handshakes that
    /// nobody goes on with.
    pub(crate) fn expire_handshakes(&mut self, now: Instant) {
        let mut left = EXPIRE;
        for list in 0..HANDSHAKE_LISTS {
            while left > 0 {
                let Some(slot) = self.slots.handshakes[list].front() else {
                    break;
                };
                let Some(half) = self.slots.record(slot).and_then(|r| r.half_open()) else {
                    break;
                };
                if half.age(now) < HalfOpen::patience(self.tcp.base(), half.resent()) {
                    break;
                }
                left -= 1;
                if half.resent() >= self.tcp.of(slot).syn_retries {
                    self.counters.drops.count(DropReason::HandshakeTimedOut);
                    self.delete(slot);
                } else {
                    self.resend_syn_ack(now, slot);
                }
            }
        }
    }

    fn resend_syn_ack(&mut self, now: Instant, slot: u32) {
        let (Some(half), Some(tuple)) = (self.slots.advance_half_open(slot), self.slots.tuple(slot)) else {
            return;
        };
        self.counters.retransmits += 1;
        let Some(next_hop) = self.routes.next_hop(tuple.remote_addr) else {
            return;
        };
        let mac = if next_hop == tuple.remote_addr {
            // Hosts that are not there, whose SYNs were forged, must not fill the
            // neighbour cache. One that is there asks for us or sends its SYN again,
            // unless it had the SYN-ACK and its own ACK got lost: it may wait for us
            // to speak first.
            self.neighbors.resolve_doubtful(now, next_hop)
        } else {
            // A router that has to be asked for first will be known next time.
            match self.neighbors.resolve(now, next_hop, &mut None) {
                Resolution::Known(mac) => Some(mac),
                Resolution::Pending | Resolution::Unreachable => None,
            }
        };
        if let Some(mac) = mac
            && !self.owe_syn_ack(now, &tuple, &half, self.tcp.id_of(slot), mac)
        {
            self.counters.drops.count(DropReason::HandshakeQueueFull);
        }
    }

    /// When a handshake wants to be looked at.
    pub(crate) fn next_handshake(&self) -> Option<Instant> {
        let now = self.clock;
        let due = |list: &Fifo| {
            let half = self.slots.record(list.front()?)?.half_open()?;
            let patience = HalfOpen::patience(self.tcp.base(), half.resent());
            // A millisecond more, since the handshake's own clock rounds down.
            Some(now + patience.saturating_sub(half.age(now)) + Duration::from_millis(1))
        };
        self.slots.handshakes.iter().filter_map(due).min()
    }
}
