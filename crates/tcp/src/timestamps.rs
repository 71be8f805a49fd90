//! The timestamps option: whose value is echoed, and which segments are too old.
//!
//! Read first: RFC 7323 sections 3 to 5.

use crore_base::{Duration, Instant, SeqNum};
use crore_wire::Timestamps;

/// After this long without a segment, TS.Recent proves nothing: a clock of one
/// millisecond could have wrapped half-way.
const RECENT_VALID: Duration = Duration::from_secs(24 * 24 * 3600);

/// Timestamp state of one connection. Our clock ticks in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimestampState {
    /// Both ends sent the option on their SYNs.
    pub(crate) enabled: bool,
    /// Added to our clock (per tuple, secret).
    offset: u32,
    /// TS.Recent: what is echoed.
    recent: u32,
    /// When it was taken.
    recent_at: Instant,
}

impl TimestampState {
    pub(crate) const fn new(offset: u32) -> Self {
        Self {
            enabled: false,
            offset,
            recent: 0,
            recent_at: Instant::ZERO,
        }
    }

    /// Both SYNs carried the option; `value` was the peer's.
    pub(crate) const fn enable(&mut self, now: Instant, value: u32) {
        self.enabled = true;
        self.recent = value;
        self.recent_at = now;
    }

    //= rfc7323#section-5.3 (MUST)
    // A segment whose timestamp is older than TS.Recent is not acceptable,
    // unless TS.Recent itself has outlived its meaning (section 5.5).
    pub(crate) fn is_outdated(&self, now: Instant, value: u32) -> bool {
        is_older(value, self.recent) && now.since(self.recent_at) <= RECENT_VALID
    }

    /// Whether a segment stamped `value` is so old that it can't belong here any more.
    /// A tick is granted: what the path has put behind a retransmission was sent just
    /// before that, and would have to be sent again, in what passes for another loss.
    /// A sequence number of 2^32 bytes ago is older than a tick at any rate (Linux
    /// draws the same line).
    pub(crate) fn is_too_old(&self, now: Instant, value: u32) -> bool {
        self.is_outdated(now, value.wrapping_add(1))
    }

    //= rfc7323#section-4.3 (MUST)
    // TS.Recent follows a segment that is not older and that covers the last
    // acknowledgment sent: so a delayed ACK echoes its earliest segment, and a
    // segment beyond a hole does not count.
    pub(crate) fn update(&mut self, now: Instant, value: u32, seq: SeqNum, last_ack_sent: SeqNum) {
        if seq.at_or_before(last_ack_sent) && !self.is_outdated(now, value) {
            self.recent = value;
            self.recent_at = now;
        }
    }

    /// The option for a segment sent at `now`.
    pub(crate) const fn option(&self, now: Instant) -> Timestamps {
        Timestamps {
            value: self.clock(now),
            echo: self.recent,
        }
    }

    /// The round trip that `echo` speaks of; none if we can't have sent it of late.
    pub(crate) fn round_trip(&self, now: Instant, echo: u32) -> Option<Duration> {
        const LONGEST_MS: u32 = 10 * 60 * 1000;
        let elapsed = self.clock(now).wrapping_sub(echo);
        (elapsed <= LONGEST_MS).then(|| Duration::from_millis(u64::from(elapsed.max(1))))
    }

    /// Whether `echo` is of something sent before `at`, as far as the clock tells.
    pub(crate) fn echoes_before(&self, echo: u32, at: Instant) -> bool {
        is_older(echo, self.clock(at))
    }

    /// TS.Recent.
    pub(crate) const fn recent(&self) -> u32 {
        self.recent
    }

    /// What our timestamps say at `now`.
    pub(crate) const fn clock(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.offset)
    }
}

/// Whether timestamp `a` was taken before `b`, modulo 2^32.
pub(crate) const fn is_older(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ts_recent_moves_only_by_a_segment_that_covers_the_last_ack() {
        let now = Instant::from_millis(1);
        let mut ts = TimestampState::new(0);
        ts.enable(now, 100);
        ts.update(now, 110, SeqNum(51), SeqNum(50));
        assert_eq!(ts.recent(), 100, "a segment beyond a hole does not count");
        ts.update(now, 110, SeqNum(50), SeqNum(50));
        assert_eq!(ts.recent(), 110, "the next one expected does");
        ts.update(now, 109, SeqNum(50), SeqNum(50));
        assert_eq!(ts.recent(), 110, "it never goes back");
    }

    #[test]
    fn what_is_a_tick_late_may_have_been_overtaken() {
        let now = Instant::from_millis(1);
        let mut ts = TimestampState::new(0);
        ts.enable(now, 100);
        assert!(!ts.is_too_old(now, 100) && !ts.is_too_old(now, 99), "on the way");
        assert!(ts.is_too_old(now, 98), "RFC 7323 section 5.3");
        assert!(
            ts.is_outdated(now, 99),
            "though TS.Recent does not go back for it"
        );
    }

    #[test]
    fn after_24_idle_days_an_old_timestamp_is_believed_again() {
        let mut ts = TimestampState::new(0);
        ts.enable(Instant::ZERO, 100);
        let days = |n: u64| Instant::ZERO + Duration::from_secs(n * 24 * 3600);
        assert!(ts.is_outdated(days(24), 99), "still valid on the 24th day");
        assert!(!ts.is_outdated(days(25), 99), "RFC 7323 section 5.5");
        ts.update(days(25), 99, SeqNum(1), SeqNum(1));
        assert_eq!(ts.recent(), 99, "and it replaces what was outlived");
    }

    #[test]
    fn an_echo_of_something_never_sent_measures_nothing() {
        let ts = TimestampState::new(u32::MAX - 5);
        let now = Instant::from_millis(10);
        assert_eq!(
            ts.round_trip(now, ts.option(Instant::from_millis(4)).value),
            Some(Duration::from_millis(6)),
            "our clock wraps without harm"
        );
        assert_eq!(
            ts.round_trip(now, ts.option(Instant::from_millis(11)).value),
            None,
            "an echo from the future"
        );
    }
}
