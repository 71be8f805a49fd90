//! What the connection owes the peer.
//!
//! Always true: owing is remembered, however often it happens, once; paying is
//! the business of `commit_transmit` alone.

use crore_base::{Duration, Instant, SeqNum};

/// The debts of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    bits: u8,
    /// How many more ACKs are owed besides the one: duplicates, each of which
    /// tells a peer without SACK that a segment has arrived.
    repeats: u8,
    /// The number of the reset that a wrong acknowledgment earned.
    pub(super) stray_seq: SeqNum,
    /// When a delayed ACK is due.
    ack_at: Instant,
    /// Challenge ACKs of the current span.
    challenges: Challenges,
}

/// Challenge ACKs that a connection has sent of late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenges {
    /// When the span began in which they are counted.
    pub since: Instant,
    /// How many it has seen.
    pub count: u8,
}

impl Challenges {
    /// How many there may be in a span (RFC 5961 section 7 suggests these figures).
    pub const MOST: u8 = 10;
    /// How long a span lasts.
    pub const SPAN: Duration = Duration::from_secs(5);
}

impl Owed {
    /// An acknowledgment, now.
    pub(super) const ACK: u8 = 1;
    /// An acknowledgment, within a while.
    const DELAYED_ACK: u8 = 2;
    /// Our SYN, or SYN-ACK.
    pub(super) const SYN: u8 = 4;
    /// The reset that ends the connection.
    pub(super) const RESET: u8 = 8;
    /// A reset that answers a wrong acknowledgment during the handshake.
    pub(super) const STRAY_RESET: u8 = 16;
    /// A probe of a window that is shut, or too small to be used willingly.
    pub(super) const PROBE: u8 = 32;
    /// A keepalive probe.
    pub(super) const KEEPALIVE: u8 = 64;
    /// The bare acknowledgment of a SYN-ACK (accurate ECN).
    pub(super) const FIRST_ACK: u8 = 128;
    /// What goes before all else.
    pub(super) const URGENT: u8 = Self::RESET | Self::STRAY_RESET | Self::FIRST_ACK;

    pub(super) const fn new(bits: u8) -> Self {
        Self {
            bits,
            repeats: 0,
            stray_seq: SeqNum(0),
            ack_at: Instant::ZERO,
            challenges: Challenges {
                since: Instant::ZERO,
                count: 0,
            },
        }
    }

    pub(super) const fn add(&mut self, bit: u8) {
        self.bits |= bit;
    }

    pub(super) const fn pay(&mut self, bit: u8) {
        self.bits &= !bit;
    }

    pub(super) const fn has(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    /// The challenges that still count at `now`.
    pub(super) fn challenges(&self, now: Instant) -> Option<Challenges> {
        let sent = self.challenges;
        (sent.count > 0 && now.since(sent.since) < Challenges::SPAN).then_some(sent)
    }

    /// What was sent before the connection was parked counts.
    pub(super) const fn resume_challenges(&mut self, sent: Challenges) {
        self.challenges = sent;
    }

    /// Whether nothing is to be sent now.
    pub(super) const fn is_empty(&self) -> bool {
        self.bits & !Self::DELAYED_ACK == 0
    }

    /// Whether nothing is to be sent now or later.
    pub(super) const fn is_settled(&self) -> bool {
        self.bits == 0
    }

    /// An acknowledgment went out, with whatever segment; `bare` if with none
    /// but itself, since only such a one counts as a duplicate.
    pub(super) const fn pay_ack(&mut self, bare: bool) {
        self.bits &= !Self::DELAYED_ACK;
        if self.repeats == 0 {
            self.bits &= !Self::ACK;
        } else if bare {
            self.repeats -= 1;
        }
    }

    //= rfc5681#section-4.2 (SHOULD)
    // Each segment beyond a hole earns an ACK of its own, within a limit. (With
    // SACK one for a burst says as much.)
    pub(super) const fn add_duplicate_ack(&mut self) {
        const MOST: u8 = 8;
        if self.has(Self::ACK) && self.repeats < MOST {
            self.repeats += 1;
        }
        self.add(Self::ACK);
    }

    /// The connection ends: nothing is owed but what `bits` says.
    pub(super) const fn keep_only(&mut self, bits: u8) {
        self.bits &= bits;
        self.repeats = 0;
    }

    //= rfc5681#section-4.2 (SHOULD)
    // A lone segment's acknowledgment may wait a while; the second one's may not.
    //= rfc9293#section-3.8.6.3 (MUST)
    // What is owed is paid once, when all that has come was looked at: one
    // acknowledgment for a burst.
    //= rfc9293#section-3.8.6.3 (SHOULD)
    // There is one for every second full segment at least, or for as much text.
    /// Text came: that of `several` segments (which a NIC may have put together), or of one.
    pub(super) fn add_data_ack(&mut self, now: Instant, delay: Duration, several: bool) {
        if delay == Duration::ZERO || several || self.has(Self::DELAYED_ACK) {
            self.add(Self::ACK);
        } else {
            self.add(Self::DELAYED_ACK);
            self.ack_at = now + delay;
        }
    }

    /// When a delayed ACK is due, if one waits.
    pub(super) fn ack_at(&self) -> Option<Instant> {
        (self.has(Self::DELAYED_ACK) && !self.has(Self::ACK)).then_some(self.ack_at)
    }

    //= rfc5961#section-7 (SHOULD)
    // Challenges are limited, so that forged segments can't be turned into a
    // stream of ACKs; the limit is each connection's own, since a shared one
    // tells an attacker about others.
    /// An ACK that answers something that does not fit. Says whether it is owed.
    pub(super) fn add_challenge(&mut self, now: Instant) -> bool {
        let Challenges { since, count } = &mut self.challenges;
        if now.since(*since) >= Challenges::SPAN {
            (*since, *count) = (now, 0);
        }
        if *count >= Challenges::MOST {
            return false;
        }
        *count += 1;
        self.add(Self::ACK);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_limited_for_a_span() {
        let mut owed = Owed::new(0);
        let now = Instant::from_millis(7_000);
        let earned = (0..100).filter(|_| owed.add_challenge(now)).count();
        assert_eq!(earned, 10, "ten in five seconds");
        assert!(
            owed.add_challenge(now + Duration::from_secs(5)),
            "the next span starts anew"
        );
    }

    #[test]
    fn the_second_segment_ends_the_delay() {
        let mut owed = Owed::new(0);
        let delay = Duration::from_millis(40);
        owed.add_data_ack(Instant::ZERO, delay, false);
        assert!(owed.is_empty(), "the first one waits");
        assert_eq!(owed.ack_at(), Some(Instant::from_millis(40)), "for a while");
        owed.add_data_ack(Instant::ZERO, delay, false);
        assert!(owed.has(Owed::ACK), "the second one does not");
        assert_eq!(owed.ack_at(), None, "and the wait is over");
    }
}
