//! How long to wait for an acknowledgment.
//!
//! Read first: RFC 6298, RFC 7323 section 4.
//!
//! Always true: `min <= base <= rto <= max`; one measurement counts in a round trip, or
//! the smoothing would forget too fast where many acknowledgments come.

use crore_base::{Duration, SeqNum};

/// Smoothed round-trip time and the retransmission time-out derived from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RttEstimator {
    srtt: Option<Duration>,
    rttvar: Duration,
    /// Before backing off.
    base: Duration,
    min: Duration,
    max: Duration,
    /// How often the time-out was doubled since the last measurement.
    backoff: u8,
    /// The next measurement counts when all before this is acknowledged.
    round: Option<SeqNum>,
}

impl RttEstimator {
    #[inline]
    pub(crate) fn new(initial: Duration, min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        let max = max.max(min);
        Self {
            srtt: None,
            rttvar: Duration::ZERO,
            base: initial.clamp(min, max),
            min,
            max,
            backoff: 0,
            round: None,
        }
    }

    //= rfc9293#section-3.8.1 (MUST)
    //= rfc6298#section-3 (MUST)
    // Which of two copies was acknowledged can't be known, so what was sent
    // twice has no `measured` round trip (Karn's algorithm).
    //= rfc7323#section-4.1 (MAY)
    // With timestamps even a retransmission's round trip is known: `echoed`.
    /// `ack` acknowledges new data, when `nxt` is the next number. Says what the
    /// round trip was, if that is known.
    #[inline]
    pub(crate) fn on_ack(
        &mut self,
        ack: SeqNum,
        nxt: SeqNum,
        measured: Option<Duration>,
        echoed: Option<Duration>,
    ) -> Option<Duration> {
        let rtt = measured.or(echoed)?;
        if self.backoff > 0 || self.round.is_none_or(|round| ack.at_or_after(round)) {
            self.round = Some(nxt);
            self.sample(rtt);
        }
        Some(rtt)
    }

    //= rfc6298#section-2 (MUST)
    // SRTT moves by an eighth and RTTVAR by a quarter; RTO = SRTT + 4 RTTVAR.
    fn sample(&mut self, rtt: Duration) {
        // An hour bounds the arithmetic below; no path is that long.
        let rtt = rtt.min(Duration::from_secs(3600));
        let srtt = match self.srtt {
            None => {
                self.rttvar = rtt.div(2);
                rtt
            }
            Some(srtt) => {
                let error = srtt.saturating_sub(rtt).max(rtt.saturating_sub(srtt));
                self.rttvar = Duration::from_nanos((3 * self.rttvar.as_nanos() + error.as_nanos()) / 4);
                Duration::from_nanos((7 * srtt.as_nanos() + rtt.as_nanos()) / 8)
            }
        };
        self.srtt = Some(srtt);
        self.derive(srtt);
        self.backoff = 0;
    }

    fn derive(&mut self, srtt: Duration) {
        const GRANULARITY: Duration = Duration::from_millis(1);
        self.base = (srtt + self.rttvar.saturating_mul(4).max(GRANULARITY)).clamp(self.min, self.max);
    }

    //= rfc6298#section-5 (MUST)
    // (5.5) A time-out that was backed off stays so until there is a measurement: else
    // a path that has become slower than the time-out would never be measured.
    /// What was measured: SRTT and RTTVAR, the latter such that the time-out
    /// made of them is the one that holds now.
    pub(crate) fn measured(&self) -> Option<(Duration, Duration)> {
        let srtt = self.srtt?;
        let rttvar = if self.backoff == 0 {
            self.rttvar
        } else {
            self.rto().saturating_sub(srtt).div(4)
        };
        Some((srtt, rttvar))
    }

    /// Whether the time-out was doubled since the last measurement.
    pub(crate) const fn is_backed_off(&self) -> bool {
        self.backoff > 0
    }

    /// What was measured before.
    #[inline]
    pub(crate) fn restore(&mut self, srtt: Duration, rttvar: Duration) {
        self.rttvar = rttvar;
        self.srtt = Some(srtt);
        self.derive(srtt);
    }

    //= rfc6298#section-5 (MUST)
    // (5.5) Each time-out doubles the next one, up to a bound.
    pub(crate) fn back_off(&mut self) {
        if self.rto() < self.max {
            self.backoff = self.backoff.saturating_add(1);
        }
    }

    /// The peer answers, though nothing could be measured: a window opened.
    pub(crate) const fn forget_backoff(&mut self) {
        self.backoff = 0;
    }

    //= rfc6298#section-5 (MUST)
    // (5.7) If the SYN had to be sent again and the RTO is below 3 s, data starts
    // with 3 s.
    pub(crate) fn on_syn_lost(&mut self) {
        if self.srtt.is_none() {
            self.base = self.base.max(Duration::from_secs(3)).clamp(self.min, self.max);
        }
        self.backoff = 0;
    }

    /// The time-out as it stands.
    #[inline]
    pub(crate) fn rto(&self) -> Duration {
        if self.backoff == 0 {
            return self.base;
        }
        self.base
            .saturating_mul(1 << u32::from(self.backoff.min(32)))
            .min(self.max)
    }

    pub(crate) const fn srtt(&self) -> Option<Duration> {
        self.srtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimator() -> RttEstimator {
        RttEstimator::new(
            Duration::from_secs(1),
            Duration::from_millis(200),
            Duration::from_secs(60),
        )
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// An acknowledgment of all that is out.
    fn ack(rtt: &mut RttEstimator, ack: u32, measured: Option<Duration>, echoed: Option<Duration>) {
        rtt.on_ack(SeqNum(ack), SeqNum(ack), measured, echoed);
    }

    #[test]
    fn the_first_sample_sets_and_later_ones_smooth() {
        let mut rtt = estimator();
        assert_eq!(rtt.rto(), Duration::from_secs(1), "RFC 6298 section 2.1");
        ack(&mut rtt, 10, Some(ms(100)), None);
        assert_eq!(rtt.srtt(), Some(ms(100)), "R itself");
        assert_eq!(rtt.rto(), ms(300), "R + 4 * R/2");
        ack(&mut rtt, 20, Some(ms(180)), None);
        assert_eq!(rtt.srtt(), Some(ms(110)), "7/8 + 1/8");
        // RTTVAR = 3/4 * 50 + 1/4 * 80 = 57.5 ms.
        assert_eq!(rtt.rto(), ms(340), "110 + 4 * 57.5");
    }

    #[test]
    fn a_segment_sent_twice_is_timed_by_its_timestamp_only() {
        let mut rtt = estimator();
        ack(&mut rtt, 10, None, None);
        assert_eq!(rtt.srtt(), None, "Karn's algorithm");
        ack(&mut rtt, 20, None, Some(ms(5)));
        assert_eq!(rtt.srtt(), Some(ms(5)), "a timestamp tells which copy it was");
    }

    #[test]
    fn one_measurement_counts_in_a_round_trip() {
        let mut rtt = estimator();
        rtt.on_ack(SeqNum(10), SeqNum(100), Some(ms(100)), None);
        for n in 11..100 {
            rtt.on_ack(SeqNum(n), SeqNum(200), Some(ms(900)), None);
        }
        assert_eq!(rtt.srtt(), Some(ms(100)), "all of one flight");
        rtt.on_ack(SeqNum(100), SeqNum(200), Some(ms(900)), None);
        assert_eq!(rtt.srtt(), Some(ms(200)), "the next one");
    }

    #[test]
    fn backing_off_doubles_up_to_the_bound_and_ends_with_a_sample() {
        let mut rtt = estimator();
        let mut seconds = Vec::new();
        for _ in 0..8 {
            rtt.back_off();
            seconds.push(rtt.rto().as_millis() / 1000);
        }
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60, 60], "doubled, then bounded");
        ack(&mut rtt, 10, Some(ms(1)), None);
        assert_eq!(rtt.rto(), ms(200), "the floor");
    }
}
