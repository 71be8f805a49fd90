//! How much may be in flight.
//!
//! Read first: RFC 5681, RFC 3465 (byte counting), RFC 6928 (initial window),
//! RFC 9406 section 4.2 (why the limit per ACK may be larger than two segments).
//!
//! The algorithms say how large the window is; which segments are lost and what
//! is sent again is the business of `recovery.rs`.
//!
//! Always true: `mss <= window`, and `2 * mss <= ssthresh`.

use crate::config::CongestionKind;

/// The congestion control of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Congestion {
    NewReno(NewReno),
}

impl Congestion {
    pub(crate) fn new(kind: CongestionKind, mss: u32, initial_segments: u32) -> Self {
        match kind {
            CongestionKind::NewReno => Self::NewReno(NewReno::new(mss, initial_segments)),
        }
    }

    /// `acked` bytes were acknowledged; `limited` says whether the window was
    /// what kept more from being sent.
    pub(crate) fn on_ack(&mut self, acked: u32, limited: bool, after_timeout: bool) {
        let Self::NewReno(reno) = self;
        reno.on_ack(acked, limited, after_timeout);
    }

    /// A loss was found out by duplicate acknowledgments.
    pub(crate) fn on_loss(&mut self, flight: u32) {
        let Self::NewReno(reno) = self;
        reno.on_loss(flight);
    }

    /// Fast recovery without SACK is over; `flight` bytes are out.
    pub(crate) fn on_recovered(&mut self, flight: u32) {
        let Self::NewReno(reno) = self;
        reno.on_recovered(flight);
    }

    /// The retransmission timer ran out; `first` unless it did so for the same
    /// data before.
    pub(crate) fn on_timeout(&mut self, flight: u32, first: bool) {
        let Self::NewReno(reno) = self;
        reno.on_timeout(flight, first);
    }

    /// The SYN or the SYN-ACK had to be sent again.
    pub(crate) fn on_syn_lost(&mut self) {
        let Self::NewReno(reno) = self;
        reno.initial = reno.mss;
        reno.window = reno.mss;
    }

    /// Nothing was sent for longer than a time-out.
    pub(crate) fn on_idle(&mut self) {
        let window = self.window_after_idle();
        let Self::NewReno(reno) = self;
        reno.window = window;
    }

    /// A new window takes over from one that was put away: it is `window`
    /// where that was below the initial one, and the `threshold` stays, both in
    /// segments.
    pub(crate) fn resume(&mut self, window: Option<u32>, threshold: Option<u32>) {
        let Self::NewReno(reno) = self;
        if let Some(segments) = window {
            reno.window = segments.max(1).saturating_mul(reno.mss);
        }
        if let Some(segments) = threshold {
            reno.threshold = segments.max(2).saturating_mul(reno.mss).min(NewReno::MAX);
        }
    }

    /// The threshold in segments, if a loss has ever set one.
    pub(crate) fn threshold_segments(&self) -> Option<u32> {
        let Self::NewReno(reno) = self;
        (reno.threshold < NewReno::MAX).then(|| reno.threshold / reno.mss.max(1))
    }

    /// The segment size became `mss`.
    pub(crate) fn set_mss(&mut self, mss: u32) {
        let Self::NewReno(reno) = self;
        reno.mss = mss;
        reno.window = reno.window.max(mss);
        reno.threshold = reno.threshold.max(2 * mss);
    }

    /// The congestion window in bytes.
    pub(crate) const fn window(&self) -> u32 {
        let Self::NewReno(reno) = self;
        reno.window
    }

    //= rfc5681#section-4.1 (SHOULD)
    // After an idle time the old window says nothing about the path of today.
    /// What the window is if the connection was idle for a time-out.
    pub(crate) fn window_after_idle(&self) -> u32 {
        let Self::NewReno(reno) = self;
        reno.window.min(reno.initial)
    }

    pub(crate) const fn threshold(&self) -> u32 {
        let Self::NewReno(reno) = self;
        reno.threshold
    }
}

/// RFC 5681's window, counted in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReno {
    mss: u32,
    window: u32,
    threshold: u32,
    initial: u32,
    /// Bytes acknowledged towards the next step of congestion avoidance.
    credit: u32,
}

impl NewReno {
    /// Beyond what the largest scaled window allows, growth has no meaning.
    const MAX: u32 = 1 << 30;

    fn new(mss: u32, initial_segments: u32) -> Self {
        let initial = mss.saturating_mul(initial_segments.max(1)).min(Self::MAX);
        Self {
            mss,
            window: initial,
            threshold: Self::MAX,
            initial,
            credit: 0,
        }
    }

    fn on_ack(&mut self, acked: u32, limited: bool, after_timeout: bool) {
        // A window that was not used was not tested, and does not grow.
        if !limited {
            return;
        }
        if self.window < self.threshold {
            //= rfc5681#section-3.1 (RECOMMENDED)
            // Grow by what was acknowledged, but within a limit for each ACK.
            // The limit is eight segments, since a receiver that acknowledges
            // once a burst would else hold us down; one after a time-out, when
            // an ACK may cover what arrived long before.
            let limit = if after_timeout { self.mss } else { 8 * self.mss };
            self.window = self.window.saturating_add(acked.min(limit)).min(Self::MAX);
        } else {
            //= rfc5681#section-3.1 (RECOMMENDED)
            // One segment more for each window's worth of acknowledged bytes.
            self.credit = self.credit.saturating_add(acked);
            if self.credit >= self.window {
                self.credit -= self.window;
                self.credit = self.credit.min(self.window);
                self.window = (self.window + self.mss).min(Self::MAX);
            }
        }
    }

    //= rfc5681#section-3.1 (MUST)
    // Half of what is in flight, but not less than two segments.
    fn halve(&mut self, flight: u32) {
        self.threshold = (flight / 2).max(2 * self.mss);
        self.credit = 0;
    }

    fn on_loss(&mut self, flight: u32) {
        self.halve(flight);
        self.window = self.threshold;
    }

    //= rfc6582#section-3.2 (SHOULD)
    // On leaving recovery, no more than one segment beyond what is in flight,
    // so that no burst follows.
    fn on_recovered(&mut self, flight: u32) {
        self.window = self.threshold.min(flight.max(self.mss) + self.mss);
    }

    //= rfc5681#section-3.1 (MUST)
    // A time-out leaves one segment; when the same data times out again, the
    // threshold stays as the first one set it.
    fn on_timeout(&mut self, flight: u32, first: bool) {
        if first {
            self.halve(flight);
        }
        self.window = self.mss;
        self.credit = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn reno() -> Congestion {
        Congestion::new(CongestionKind::NewReno, MSS, 10)
    }

    #[test]
    fn slow_start_grows_by_what_was_acknowledged_within_a_limit() {
        let mut cc = reno();
        cc.on_ack(2 * MSS, true, false);
        assert_eq!(cc.window(), 12 * MSS, "byte for byte");
        cc.on_ack(64 * MSS, true, false);
        assert_eq!(cc.window(), 20 * MSS, "a huge ACK counts eight segments");
        cc.on_ack(64 * MSS, true, true);
        assert_eq!(cc.window(), 21 * MSS, "and one after a time-out");
        cc.on_ack(MSS, false, false);
        assert_eq!(cc.window(), 21 * MSS, "an unused window does not grow");
    }

    #[test]
    fn avoidance_adds_one_segment_for_each_window() {
        let mut cc = reno();
        cc.on_loss(20 * MSS);
        assert_eq!((cc.window(), cc.threshold()), (10 * MSS, 10 * MSS), "halved");
        for _ in 0..9 {
            cc.on_ack(MSS, true, false);
        }
        assert_eq!(cc.window(), 10 * MSS, "nine tenths of a window");
        cc.on_ack(MSS, true, false);
        assert_eq!(cc.window(), 11 * MSS, "a whole one");
    }

    #[test]
    fn a_second_timeout_of_the_same_data_keeps_the_threshold() {
        let mut cc = reno();
        cc.on_timeout(20 * MSS, true);
        assert_eq!((cc.window(), cc.threshold()), (MSS, 10 * MSS), "one segment");
        cc.on_timeout(MSS, false);
        assert_eq!(cc.threshold(), 10 * MSS, "held");
        cc.on_timeout(MSS, true);
        assert_eq!(cc.threshold(), 2 * MSS, "never below two segments");
    }
}
