//! The window of RFC 5681, counted in bytes.
//!
//! Read first: RFC 5681 section 3.1, RFC 3465, RFC 8511 (marks).

use super::{Acked, Window};

/// What NewReno knows besides the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NewReno {
    /// Bytes acknowledged towards the next step of congestion avoidance.
    credit: u32,
}

impl NewReno {
    //= rfc5681#section-3.1 (RECOMMENDED)
    // One segment more for each window's worth of acknowledged bytes.
    pub(super) fn avoid(&mut self, window: &mut Window, ack: &Acked) {
        self.credit = self.credit.saturating_add(ack.acked);
        if self.credit >= window.size {
            self.credit = (self.credit - window.size).min(window.size);
            window.grow(window.mss);
        }
    }

    //= rfc5681#section-3.1 (MUST)
    // Half of what is in flight.
    pub(super) fn on_loss(&mut self, window: &mut Window, flight: u32) {
        window.reduce_to(flight / 2);
        self.stop();
    }

    //= rfc8511#section-3 (SHOULD)
    // A mark comes from a short queue, earlier than a loss: four fifths.
    pub(super) fn on_ecn(&mut self, window: &mut Window, flight: u32) {
        window.reduce_to((u64::from(flight) * 4 / 5) as u32);
        self.stop();
    }

    /// The window was set anew.
    pub(super) const fn stop(&mut self) {
        self.credit = 0;
    }
}
