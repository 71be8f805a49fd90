//! Leaving slow start before the queue overflows.
//!
//! Read first: RFC 9406 section 4.
//!
//! Slow start doubles the window each round trip until something is lost; by
//! then up to half of it is. A queue that builds up shows in the round-trip time
//! before that. When it rises, growth goes on at a quarter of its pace for some
//! rounds; if the time falls again it was mere jitter, and slow start resumes.

use crore_base::{Duration, SeqNum};

use super::{Acked, Window};

const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u64 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

/// The rounds of the first slow start. Times are in microseconds, to be small.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// A round ends when this is acknowledged.
    window_end: SeqNum,
    last_min: u32,
    min: u32,
    /// The shortest round trip in the round that made growth slow.
    baseline: u32,
    samples: u8,
    /// Rounds of slow growth; 0 outside of it.
    slow_rounds: u8,
    begun: bool,
    paced: bool,
}

/// No round trip was measured.
const UNKNOWN: u32 = u32::MAX;

impl HyStart {
    pub(super) const fn new(paced: bool) -> Self {
        Self {
            window_end: SeqNum(0),
            last_min: UNKNOWN,
            min: UNKNOWN,
            baseline: UNKNOWN,
            samples: 0,
            slow_rounds: 0,
            begun: false,
            paced,
        }
    }

    //= rfc9406#section-4.3 (SHOULD)
    // How many segments of one acknowledgment count: eight, since a receiver that
    // acknowledges once a burst would else hold us down; all of them if they are
    // paced, so that no burst follows.
    #[inline]
    pub(super) const fn most_segments(&self) -> u32 {
        if self.paced { u32::MAX } else { 8 }
    }

    /// An acknowledgment in slow start: sets the threshold when slow start is
    /// over, and says what part of the usual growth is due.
    pub(super) fn on_ack(&mut self, window: &mut Window, ack: &Acked) -> u32 {
        if let Some(rtt) = ack.rtt {
            let micros = u32::try_from(rtt.as_micros()).unwrap_or(UNKNOWN - 1);
            self.min = self.min.min(micros);
            self.samples = self.samples.saturating_add(1);
            self.judge();
        }
        let divisor = if self.slow_rounds > 0 {
            CSS_GROWTH_DIVISOR
        } else {
            1
        };
        //= rfc9406#section-4.2 (MUST)
        // A round ends when what was sent last at its beginning is acknowledged.
        if !self.begun || ack.una.at_or_after(self.window_end) {
            self.next_round(window, ack.nxt);
        }
        divisor
    }

    fn next_round(&mut self, window: &mut Window, nxt: SeqNum) {
        if self.slow_rounds > 0 {
            //= rfc9406#section-4.2 (MUST)
            // The delay stays for five rounds, the one in which it rose included:
            // the queue is real, and congestion avoidance begins.
            if self.slow_rounds >= CSS_ROUNDS {
                window.threshold = window.size;
            }
            self.slow_rounds += 1;
        }
        self.begun = true;
        self.window_end = nxt;
        self.last_min = self.min;
        self.min = UNKNOWN;
        self.samples = 0;
    }

    fn judge(&mut self) {
        if self.samples < N_RTT_SAMPLE {
            return;
        }
        if self.slow_rounds > 0 {
            //= rfc9406#section-4.2 (MUST)
            // Shorter than when it rose: it was jitter.
            if self.min < self.baseline {
                self.baseline = UNKNOWN;
                self.slow_rounds = 0;
            }
            return;
        }
        if self.last_min == UNKNOWN {
            return;
        }
        //= rfc9406#section-4.2 (MUST)
        // An eighth more than in the round before, within 4 to 16 ms, is a queue.
        let last = Duration::from_micros(u64::from(self.last_min));
        let threshold = last.div(MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if Duration::from_micros(u64::from(self.min)) >= last + threshold {
            self.baseline = self.min;
            self.slow_rounds = 1;
        }
    }
}

#[cfg(test)]
mod tests;
