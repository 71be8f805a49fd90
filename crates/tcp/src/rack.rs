//! Which of what is in flight is lost, told by what was sent later and arrived.
//!
//! Read first: RFC 8985 sections 5 and 6, RFC 2883.
//!
//! Always true: only what was sent before something that arrived is thought
//! lost, and only when the reordering window has passed since.

use crore_base::{Duration, Instant, SeqNum};

use crate::sent::{Run, SentMap, Verdict};

/// RACK of one connection: Recent ACKnowledgment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    /// Of all that has arrived, what was sent last: when, and its end.
    sent_at: Instant,
    end: SeqNum,
    /// Its round trip.
    rtt: Duration,
    /// The highest number that has arrived.
    fack: SeqNum,
    /// The shortest round trip of late, and when it was measured.
    min_rtt: Option<(Duration, Instant)>,
    /// Something sent once has arrived after what was sent behind it.
    pub(crate) reordering_seen: bool,
    /// The reordering window in quarters of the shortest round trip.
    multiple: u8,
    /// Recoveries without a DSACK until it is one again.
    persist: u8,
    /// The window grows no more until this is acknowledged.
    dsack_round: Option<SeqNum>,
}

impl Rack {
    /// A path may change; what it was five minutes ago does not count.
    const MIN_RTT_VALID: Duration = Duration::from_secs(300);
    const PERSIST: u8 = 16;

    pub(crate) const fn new(una: SeqNum) -> Self {
        Self {
            sent_at: Instant::ZERO,
            end: una,
            rtt: Duration::ZERO,
            fack: una,
            min_rtt: None,
            reordering_seen: false,
            multiple: 1,
            persist: 0,
            dsack_round: None,
        }
    }

    //= rfc8985#section-6.2 (MUST)
    // Steps 1 to 3. What has arrived of a retransmission may have been its first
    // copy: so says its timestamp's echo (`is_older`, than a moment), or a round
    // trip shorter than any. Such a one tells nothing.
    /// `run` has arrived.
    #[inline]
    pub(crate) fn on_arrival(&mut self, now: Instant, run: &Run, is_older: impl FnOnce(Instant) -> bool) {
        if run.end.after(self.fack) {
            self.fack = run.end;
        } else if run.end.before(self.fack) && !run.was_sent_again() {
            self.reordering_seen = true;
        }
        let rtt = now.since(run.sent_at);
        if run.is_timed() {
            self.note_round_trip(now, rtt);
        } else if is_older(run.sent_at) || self.min_rtt.is_some_and(|(min, _)| rtt < min) {
            return;
        }
        self.rtt = rtt;
        if is_later((run.sent_at, run.end), (self.sent_at, self.end)) {
            self.sent_at = run.sent_at;
            self.end = run.end;
        }
    }

    fn note_round_trip(&mut self, now: Instant, rtt: Duration) {
        let stands = self
            .min_rtt
            .is_some_and(|(min, at)| min < rtt && now.since(at) < Self::MIN_RTT_VALID);
        if !stands {
            self.min_rtt = Some((rtt, now));
        }
    }

    /// A DSACK came: something was sent again in vain. `una` and `nxt` as they are.
    //= rfc8985#section-6.2 (MUST)
    // Step 4: the window grows by a quarter of the round trip for each round
    // that sees one.
    pub(crate) fn on_dsack(&mut self, una: SeqNum, nxt: SeqNum) {
        self.on_progress(una);
        if self.dsack_round.is_none() {
            self.dsack_round = Some(nxt);
            self.multiple = self.multiple.saturating_add(1);
            self.persist = Self::PERSIST;
        }
    }

    /// `una` has moved.
    pub(crate) fn on_progress(&mut self, una: SeqNum) {
        if self.dsack_round.is_some_and(|round| una.at_or_after(round)) {
            self.dsack_round = None;
        }
    }

    //= rfc8985#section-6.2 (MUST)
    // Step 4: after 16 recoveries without a DSACK the window is small again.
    /// A recovery is over.
    pub(crate) const fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.multiple = 1;
        }
    }

    //= rfc8985#section-6.2 (MUST)
    // Step 4: while no reordering was ever seen, a recovery under way, or as many
    // segments as make three duplicates, need no window.
    /// How long what is late is waited for.
    pub(crate) fn reordering_window(&self, sure: bool, srtt: Option<Duration>) -> Duration {
        if !self.reordering_seen && sure {
            return Duration::ZERO;
        }
        let (Some((min_rtt, _)), Some(srtt)) = (self.min_rtt, srtt) else {
            return Duration::ZERO;
        };
        min_rtt.saturating_mul(u64::from(self.multiple)).div(4).min(srtt)
    }

    //= rfc8985#section-6.2 (MUST)
    // Step 5: lost is what was sent before something that has arrived, and has
    // not come a round trip and the window after it was sent.
    /// Marks what is lost, which `told` hears of, and says after what time more may be.
    pub(crate) fn mark_lost(
        &self,
        now: Instant,
        sent: &mut SentMap,
        window: Duration,
        mut told: impl FnMut(&Run),
    ) -> Option<Duration> {
        let mut wait = Duration::ZERO;
        let patience = self.rtt + window;
        sent.mark_lost(|run| {
            if !self.is_later_than(run) {
                return Verdict::Newer;
            }
            let due = run.sent_at + patience;
            if due <= now {
                told(run);
                return Verdict::Lost;
            }
            wait = wait.max(due.since(now));
            Verdict::Late
        });
        (wait > Duration::ZERO).then_some(wait)
    }

    /// Whether something has arrived that was sent after `run`.
    #[inline]
    pub(crate) fn is_later_than(&self, run: &Run) -> bool {
        is_later((self.sent_at, self.end), (run.sent_at, run.end))
    }

    //= rfc8985#section-6.3 (MUST)
    // At a time-out the first segment is lost, and what was sent a round trip
    // and the window ago; what left a moment ago may still arrive.
    pub(crate) fn mark_lost_on_timeout(
        &self,
        now: Instant,
        sent: &mut SentMap,
        window: Duration,
        mss: u32,
        mut told: impl FnMut(&Run),
    ) {
        let patience = self.rtt + window;
        sent.mark_any_lost(|run| {
            let is_lost = run.sent_at + patience <= now;
            if is_lost {
                told(run);
            }
            is_lost
        });
        sent.mark_head_lost(mss, told);
    }

    /// The shortest round trip of late.
    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|(rtt, _)| rtt)
    }
}

/// Whether `a` was sent after `b`; of one burst, what has the higher end.
#[inline]
fn is_later(a: (Instant, SeqNum), b: (Instant, SeqNum)) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1.after(b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Bursts of 100 bytes, one each millisecond from 1,000 ms on.
    fn flight(bursts: u32) -> SentMap {
        let mut sent = SentMap::new(SeqNum(0));
        for i in 0..bursts {
            sent.push(SeqNum(100 * i), SeqNum(100 * i + 100), at(1_000 + u64::from(i)));
        }
        sent
    }

    fn arrive(rack: &mut Rack, sent: &mut SentMap, now: Instant, left: u32, right: u32) {
        sent.sack(SeqNum(left), SeqNum(right), |run| {
            rack.on_arrival(now, run, |_| false)
        });
    }

    /// Protects against a loss that is called one before the window has passed (RFC 8985 section 6.2).
    #[test]
    fn what_was_sent_before_is_lost_when_the_window_has_passed() {
        let mut sent = flight(4);
        let mut rack = Rack::new(SeqNum(0));
        arrive(&mut rack, &mut sent, at(1_042), 200, 300);
        let window = rack.reordering_window(false, Some(ms(40)));
        assert_eq!(window, ms(10), "a quarter of the round trip");
        assert_eq!(
            rack.mark_lost(at(1_042), &mut sent, window, |_| {}),
            Some(ms(9)),
            "the second one has 9 ms left"
        );
        assert_eq!(sent.lost(), 0, "not yet");
        assert_eq!(
            rack.mark_lost(at(1_050), &mut sent, window, |_| {}),
            Some(ms(1)),
            "the first is"
        );
        assert_eq!(sent.lost(), 100, "the first");
        assert_eq!(
            rack.mark_lost(at(1_051), &mut sent, window, |_| {}),
            None,
            "nothing more can be"
        );
        assert_eq!(sent.lost(), 200, "both; what was sent after is not");
        assert_eq!(
            rack.reordering_window(true, Some(ms(40))),
            ms(0),
            "three duplicates wait for nothing"
        );
    }

    /// Protects against a retransmission's first copy being taken for the second (RFC 8985 section 6.2).
    #[test]
    fn a_copy_that_came_too_soon_tells_nothing() {
        let mut sent = flight(3);
        let mut rack = Rack::new(SeqNum(0));
        arrive(&mut rack, &mut sent, at(1_042), 200, 300);
        sent.resend(SeqNum(100), SeqNum(200), at(1_050));
        arrive(&mut rack, &mut sent, at(1_055), 100, 200);
        assert_eq!(
            rack.sent_at,
            at(1_002),
            "5 ms after it was sent again it was the first copy"
        );
        let mut late = rack;
        sent.resend(SeqNum(0), SeqNum(100), at(1_060));
        sent.acknowledge(SeqNum(100), |run| late.on_arrival(at(1_110), run, |_| true));
        assert_eq!(late.sent_at, at(1_002), "so says the timestamp");
        rack.on_arrival(at(1_110), &again(0, 100, 1_060), |_| false);
        assert_eq!(rack.sent_at, at(1_060), "else it was the second");
        assert!(!rack.reordering_seen, "which proves no reordering");
    }

    fn again(start: u32, end: u32, sent: u64) -> Run {
        let mut map = SentMap::new(SeqNum(start));
        map.push(SeqNum(start), SeqNum(end), at(1));
        map.resend(SeqNum(start), SeqNum(end), at(sent));
        *map.head().expect("just sent")
    }

    /// Protects paths that reorder from ever more false recoveries (RFC 8985 section 6.2).
    #[test]
    fn dsacks_widen_the_window_and_sixteen_recoveries_forget_them() {
        let mut sent = flight(4);
        let mut rack = Rack::new(SeqNum(0));
        arrive(&mut rack, &mut sent, at(1_042), 200, 300);
        arrive(&mut rack, &mut sent, at(1_043), 100, 200);
        assert!(rack.reordering_seen, "the second came after the third");
        assert_eq!(
            rack.reordering_window(true, Some(ms(100))),
            ms(10),
            "so it is waited for"
        );
        rack.on_dsack(SeqNum(0), SeqNum(400));
        rack.on_dsack(SeqNum(300), SeqNum(500));
        assert_eq!(
            rack.reordering_window(true, Some(ms(100))),
            ms(20),
            "one step a round"
        );
        rack.on_dsack(SeqNum(400), SeqNum(500));
        assert_eq!(
            rack.reordering_window(true, Some(ms(100))),
            ms(30),
            "the next one"
        );
        assert_eq!(
            rack.reordering_window(true, Some(ms(25))),
            ms(25),
            "never above SRTT"
        );
        for _ in 0..15 {
            rack.on_recovered();
        }
        assert_eq!(
            rack.reordering_window(true, Some(ms(100))),
            ms(30),
            "for 15 recoveries"
        );
        rack.on_recovered();
        assert_eq!(rack.reordering_window(true, Some(ms(100))), ms(10), "not for 16");
    }
}
