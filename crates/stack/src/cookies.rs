//! Handshakes that the peer remembers for us, while there are too many for our records.
//!
//! Read first: RFC 4987 section 3.6, [`crore_tcp::SynCookies`].
//!
//! Always true: a SYN that is answered by a cookie leaves nothing behind but its
//! answer in a bounded queue; a cookie makes at most one connection, as far as
//! [`Used`] remembers.

use crore_base::{DropReason, Instant, SeqNum};
use crore_tcp::SynCookies;

use crate::input::Pending;
use crate::listener::Door;
use crate::{CookiePolicy, Stack};

/// What cookies need to be sent and recognised.
pub(crate) struct Cookies {
    pub(crate) policy: CookiePolicy,
    codec: SynCookies,
    /// When the last one was sent.
    sent_at: Option<Instant>,
    used: Used,
}

impl Cookies {
    pub(crate) fn new(policy: CookiePolicy, key: [u8; 16]) -> Self {
        Self {
            policy,
            codec: SynCookies::new(key),
            sent_at: None,
            used: Used::new(),
        }
    }

    /// Whether any that was sent may still be good. While not, an
    /// acknowledgment of nothing is no more than that.
    pub(crate) fn are_out(&self, now: Instant) -> bool {
        self.sent_at
            .is_some_and(|sent| SynCookies::may_be_good(sent, now))
    }
}

impl Stack {
    /// A SYN that is answered, and forgotten.
    pub(crate) fn answer_with_cookie(
        &mut self,
        now: Instant,
        pending: &Pending,
        listener: Door,
    ) -> Result<(), DropReason> {
        let path = self.path_to(pending.tuple.remote_addr);
        let half = self.cookies.codec.begin(
            self.tcp.get(listener.profile),
            now,
            &pending.tuple,
            path,
            &pending.segment,
        );
        if !self.owe_syn_ack(now, &pending.tuple, &half, listener.profile, pending.src_mac) {
            return Err(DropReason::HandshakeQueueFull);
        }
        self.cookies.sent_at = Some(now);
        self.counters.cookies_sent += 1;
        Ok(())
    }

    /// An acknowledgment of nothing that is known, on a port where somebody
    /// listens, while cookies are out: it completes a handshake, or it is nothing.
    pub(crate) fn on_cookie(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        listener: Door,
    ) -> Result<(), DropReason> {
        let Pending { tuple, segment, .. } = &*pending;
        let half = self
            .cookies
            .codec
            .complete(self.tcp.get(listener.profile), now, tuple, segment, listener.id.0)
            .filter(|half| !self.cookies.used.holds(pending.hash, half.iss()));
        let Some(half) = half else {
            self.owe_reset(now, pending);
            return Err(DropReason::BadSynCookie);
        };
        // The peer is there, which none of those is known to be that only wait.
        if self.slots.is_full() && !self.recycle_time_wait() && !self.evict_handshake() {
            self.owe_reset(now, pending);
            return Err(DropReason::ConnectionsExhausted);
        }
        let slot = self
            .slots
            .insert_half_open(tuple, half)
            .ok_or(DropReason::ConnectionsExhausted)?;
        self.tcp.assign(slot, listener.profile);
        self.cookies.used.note(pending.hash, half.iss());
        self.listeners.handshake_began(listener.id);
        self.flows.insert(pending.hash, slot);
        self.note_peak();
        self.counters.cookies_accepted += 1;
        self.on_half_open(now, slot, &half, pending)
    }
}

/// Cookies that became connections not long ago. A late copy of the segment that
/// completed one, or of the first data, would open the connection again after
/// its end. It forgets: of those that share a place the last one is known.
struct Used(Box<[u64]>);

/// Places, a power of two: 128 KiB.
const PLACES: usize = 1 << 14;

impl Used {
    fn new() -> Self {
        Self(vec![0; PLACES].into_boxed_slice())
    }

    fn holds(&self, hash: u32, cookie: SeqNum) -> bool {
        self.0[Self::place(cookie)] == Self::word(hash, cookie)
    }

    fn note(&mut self, hash: u32, cookie: SeqNum) {
        self.0[Self::place(cookie)] = Self::word(hash, cookie);
    }

    /// The low bits of a cookie are as good as random.
    fn place(cookie: SeqNum) -> usize {
        cookie.0 as usize % PLACES
    }

    /// With the keyed hash of whom it was for: a cookie alone has so few bits
    /// that are random that of some ten thousand honest peers one has another's.
    fn word(hash: u32, cookie: SeqNum) -> u64 {
        u64::from(hash) << 32 | u64::from(cookie.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_peers_equal_cookie_is_not_taken_for_a_used_one() {
        let mut used = Used::new();
        used.note(7, SeqNum(0x1234_5678));
        assert!(used.holds(7, SeqNum(0x1234_5678)), "a late copy");
        assert!(!used.holds(8, SeqNum(0x1234_5678)), "somebody else's");
        assert!(
            !used.holds(7, SeqNum(0x1234_5679)),
            "another one of the same peer"
        );
    }
}
