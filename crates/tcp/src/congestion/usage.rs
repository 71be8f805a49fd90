//! Whether the window is what holds the sender back.
//!
//! Read first: RFC 7661 section 4, RFC 2861 section 3 (why it matters).
//!
//! A window that was not used was not tested: what is acknowledged of it says
//! nothing about what a larger one would do.

use crore_base::SeqNum;

use super::Window;

/// How much of the window was used in the last round trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// What is told below holds until this is acknowledged.
    until: SeqNum,
    /// The most that was in flight, unless the window was full.
    most: u32,
    full: bool,
}

impl Usage {
    pub(super) const fn new() -> Self {
        Self {
            until: SeqNum(0),
            most: 0,
            full: false,
        }
    }

    //= rfc7661#section-4.4 (MUST NOT)
    // A full window remains the measure for all of its acknowledgments, though
    // less and less is in flight while they come. In slow start half a window is
    // enough, since it is to double.
    /// `flight` bytes from `una` to `nxt` were in flight just now. Says whether
    /// the window may grow.
    #[inline]
    pub(super) fn observe(&mut self, una: SeqNum, nxt: SeqNum, flight: u32, window: &Window) -> bool {
        // No further segment would have fitted.
        let full = flight.saturating_add(window.mss) > window.size;
        if full || una.at_or_after(self.until) || (!self.full && flight > self.most) {
            *self = Self {
                until: nxt,
                most: flight,
                full,
            };
        }
        self.full || (window.is_slow() && window.size < self.most.saturating_mul(2))
    }
}
