//! Segments that are spread over the round trip instead of leaving in one burst.
//!
//! Read first: RFC 9406 section 4.3 (what it is good for in slow start),
//! draft-cheng-iccrg-delivery-rate-estimation (who is to blame for what).
//!
//! Each segment has an earliest time of departure, its predecessor's plus what
//! the rate asks for it. The wheel that wakes a connection has ticks of 1.05 ms,
//! so what is due within the next one goes at once: on a path of a millisecond
//! or less nothing is ever held, on a longer one bursts are a millisecond's
//! worth. What the wheel is late by is caught up, so the rate holds on average.
//!
//! Always true: nothing is held longer than one segment takes at the rate.

use crore_base::{Duration, Instant};

/// What is due within this time goes now: a tick of the stack's timer wheel.
const AHEAD: Duration = Duration::from_nanos(1 << 20);
/// How much of the past counts as time in which could have been sent: what the
/// wheel and the loop may be late by, but not a pause of the application's.
const CATCH_UP: Duration = Duration::from_nanos(2 << 20);

/// When the next segment may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacing {
    /// When the next one is due.
    next: Instant,
    on: bool,
    /// It is not due yet, and nobody was woken for it.
    waits: bool,
}

impl Pacing {
    pub(crate) const fn new(on: bool) -> Self {
        Self {
            next: Instant::ZERO,
            on,
            waits: false,
        }
    }

    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether what is to be sent has to wait.
    #[inline]
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.on && self.next > now + AHEAD
    }

    /// When the next segment can go, if it could not when the last one went and
    /// the time has not come yet.
    #[inline]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waits.then(|| self.next - AHEAD)
    }

    /// `bytes` went, at `rate` bytes a second; without a rate all may follow.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u32, rate: Option<u64>) {
        let Some(rate) = rate else {
            return;
        };
        let nanos = u64::from(bytes) * 1_000_000_000 / rate.max(1);
        self.next = self.next.max(now - CATCH_UP) + Duration::from_nanos(nanos);
        self.waits = self.holds(now);
    }

    /// Time has passed.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if !self.holds(now) {
            self.waits = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(1_000 * MILLI + nanos)
    }

    #[test]
    fn segments_leave_at_the_rate_however_late_the_wheel() {
        let mut pacing = Pacing::new(true);
        let (mut now, mut sent) = (0, 0u64);
        // 1,000 bytes each 0.5 ms, woken up to two ticks after they are due.
        while now < 1_000 * MILLI {
            pacing.on_timeout(at(now));
            let mut burst = 0;
            while !pacing.holds(at(now)) {
                pacing.on_sent(at(now), 1000, Some(2_000_000));
                burst += 1;
            }
            assert!(burst <= 7, "no more than three ticks' worth at once: {burst}");
            sent += burst;
            let due = pacing.due().expect("it waits");
            now = due.since(at(0)).as_nanos() + MILLI * (1 + sent % 2);
        }
        assert!((1_990..=2_010).contains(&sent), "two a millisecond: {sent}");
    }

    #[test]
    fn off_it_holds_nothing() {
        let mut pacing = Pacing::new(false);
        pacing.on_sent(at(0), 1000, Some(1));
        assert!(!pacing.holds(at(0)) && pacing.due().is_none());
    }

    #[test]
    fn what_was_told_once_is_not_told_again() {
        let mut pacing = Pacing::new(true);
        pacing.on_sent(at(0), 100_000, Some(10_000_000));
        let due = pacing.due().expect("10 ms are far ahead");
        assert!(pacing.holds(due - Duration::from_nanos(1)) && !pacing.holds(due));
        pacing.on_timeout(due - Duration::from_nanos(1));
        assert_eq!(pacing.due(), Some(due), "not yet");
        pacing.on_timeout(due);
        assert_eq!(pacing.due(), None, "a dry pool must not make a busy loop");
    }

    #[test]
    fn a_pause_earns_no_burst() {
        let mut pacing = Pacing::new(true);
        pacing.on_sent(at(0), 1000, Some(1_000_000));
        let later = at(60_000 * MILLI);
        let mut burst = 0;
        while !pacing.holds(later) {
            pacing.on_sent(later, 1000, Some(1_000_000));
            burst += 1;
        }
        assert!(burst <= 4, "three ticks' worth: {burst}");
    }
}
