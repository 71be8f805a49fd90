//! How much may be in flight.
//!
//! Read first: RFC 5681, RFC 3465 (byte counting), RFC 6928 (initial window),
//! RFC 9406 section 4.2 (why the limit per ACK may be larger than two segments).
//!
//! The algorithms say how large the window is; which segments are lost and what
//! is sent again is the business of `recovery.rs`.
//!
//! Always true: `mss <= window`, and `2 * mss <= threshold`.

mod new_reno;

use crore_base::{Duration, Instant, SeqNum};

use self::new_reno::NewReno;
use crate::config::CongestionKind;

/// Beyond what the largest scaled window allows, growth has no meaning.
const MAX_WINDOW: u32 = 1 << 30;

/// The congestion control of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    window: Window,
    /// What stood before the last reduction, until it is known to be right.
    checkpoint: Option<Checkpoint>,
    algorithm: Algorithm,
}

/// What an acknowledgment means to congestion control.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "not every algorithm asks for all of it")]
pub(crate) struct Acked {
    pub(crate) now: Instant,
    /// Bytes that it says have arrived, cumulatively or by SACK, and that were
    /// not known to have.
    pub(crate) acked: u32,
    /// SND.UNA after it, and SND.NXT.
    pub(crate) una: SeqNum,
    pub(crate) nxt: SeqNum,
    /// The round trip that this very acknowledgment tells.
    pub(crate) rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
    /// Whether the window was what kept more from being sent.
    pub(crate) limited: bool,
    /// Whether a time-out is being repaired.
    pub(crate) after_timeout: bool,
}

/// The state that every algorithm has, in bytes.
#[derive(Clone, Copy, Debug)]
struct Window {
    mss: u32,
    size: u32,
    /// Below it is slow start.
    threshold: u32,
    initial: u32,
}

/// What a reduction took.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    size: u32,
    threshold: u32,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    NewReno(NewReno),
}

impl Congestion {
    pub(crate) fn new(kind: CongestionKind, mss: u32, initial_segments: u32) -> Self {
        let initial = mss.saturating_mul(initial_segments.max(1)).min(MAX_WINDOW);
        Self {
            window: Window {
                mss,
                size: initial,
                threshold: MAX_WINDOW,
                initial,
            },
            checkpoint: None,
            algorithm: match kind {
                CongestionKind::NewReno => Algorithm::NewReno(NewReno::default()),
            },
        }
    }

    /// Something was acknowledged.
    pub(crate) fn on_ack(&mut self, ack: &Acked) {
        // A window that was not used was not tested, and does not grow.
        if !ack.limited {
            return;
        }
        if self.window.size < self.window.threshold {
            self.window.slow_start(ack);
        } else {
            let Algorithm::NewReno(reno) = &mut self.algorithm;
            reno.avoid(&mut self.window, ack);
        }
    }

    /// A loss was found out by acknowledgments, and its recovery begins;
    /// `flight` bytes are out.
    pub(crate) fn on_loss(&mut self, _now: Instant, flight: u32) {
        self.save();
        let Algorithm::NewReno(reno) = &mut self.algorithm;
        reno.on_loss(&mut self.window, flight);
    }

    /// The network marked a segment that would have been lost otherwise. The
    /// caller sees to it that a window is reduced once.
    #[allow(dead_code, reason = "no mark is read yet")]
    pub(crate) fn on_ecn(&mut self, _now: Instant, flight: u32) {
        // A mark is never false.
        self.checkpoint = None;
        let Algorithm::NewReno(reno) = &mut self.algorithm;
        reno.on_ecn(&mut self.window, flight);
    }

    //= rfc6582#section-3.2 (SHOULD)
    // On leaving recovery, no more than one segment beyond what is in flight,
    // so that no burst follows.
    /// Fast recovery without SACK is over; `flight` bytes are out.
    pub(crate) fn on_recovered(&mut self, flight: u32) {
        let Window { mss, threshold, .. } = self.window;
        self.window.size = threshold.min(flight.max(mss).saturating_add(mss));
    }

    //= rfc5681#section-3.1 (MUST)
    // A time-out leaves one segment; when the same data times out again, the
    // threshold stays as the first one set it.
    /// The retransmission timer ran out; `first` unless it did so for the same
    /// data before.
    pub(crate) fn on_timeout(&mut self, _now: Instant, flight: u32, first: bool) {
        if first {
            self.save();
            let Algorithm::NewReno(reno) = &mut self.algorithm;
            reno.on_loss(&mut self.window, flight);
        }
        self.window.size = self.window.mss;
    }

    /// The last reduction was for a loss that was none: what it took is given
    /// back.
    #[allow(dead_code, reason = "loss recovery does not find false losses yet")]
    pub(crate) fn undo(&mut self) {
        if let Some(before) = self.checkpoint.take() {
            self.window.size = self.window.size.max(before.size);
            self.window.threshold = self.window.threshold.max(before.threshold);
        }
    }

    /// The SYN or the SYN-ACK had to be sent again.
    pub(crate) fn on_syn_lost(&mut self) {
        self.window.initial = self.window.mss;
        self.window.size = self.window.mss;
    }

    /// Nothing was sent for longer than a time-out.
    pub(crate) fn on_idle(&mut self, _now: Instant) {
        self.window.size = self.window_after_idle();
    }

    /// A new window takes over from one that was put away: it is `window`
    /// where that was below the initial one, and the `threshold` stays, both in
    /// segments.
    pub(crate) fn resume(&mut self, window: Option<u32>, threshold: Option<u32>) {
        let mss = self.window.mss;
        if let Some(segments) = window {
            self.window.size = segments.max(1).saturating_mul(mss);
        }
        if let Some(segments) = threshold {
            self.window.threshold = segments.max(2).saturating_mul(mss).min(MAX_WINDOW);
        }
    }

    /// The threshold in segments, if a loss has ever set one.
    pub(crate) fn threshold_segments(&self) -> Option<u32> {
        let Window { mss, threshold, .. } = self.window;
        (threshold < MAX_WINDOW).then(|| threshold / mss.max(1))
    }

    /// The segment size became `mss`.
    pub(crate) fn set_mss(&mut self, mss: u32) {
        self.window.mss = mss;
        self.window.size = self.window.size.max(mss);
        self.window.threshold = self.window.threshold.max(2 * mss);
    }

    /// The congestion window in bytes.
    pub(crate) const fn window(&self) -> u32 {
        self.window.size
    }

    //= rfc5681#section-4.1 (SHOULD)
    // After an idle time the old window says nothing about the path of today.
    /// What the window is if the connection was idle for a time-out.
    pub(crate) fn window_after_idle(&self) -> u32 {
        self.window.size.min(self.window.initial)
    }

    pub(crate) const fn threshold(&self) -> u32 {
        self.window.threshold
    }

    /// At how many bytes a second segments are to leave, if they are not to
    /// leave as the window allows.
    #[allow(dead_code, reason = "nothing is paced yet")]
    pub(crate) const fn pacing_rate(&self) -> Option<u64> {
        None
    }

    const fn save(&mut self) {
        self.checkpoint = Some(Checkpoint {
            size: self.window.size,
            threshold: self.window.threshold,
        });
    }
}

impl Window {
    //= rfc5681#section-3.1 (RECOMMENDED)
    // Grow by what was acknowledged, but within a limit for each ACK. The limit
    // is eight segments, since a receiver that acknowledges once a burst would
    // else hold us down; one after a time-out, when an ACK may cover what
    // arrived long before.
    fn slow_start(&mut self, ack: &Acked) {
        let limit = if ack.after_timeout { self.mss } else { 8 * self.mss };
        self.grow(ack.acked.min(limit));
    }

    fn grow(&mut self, by: u32) {
        self.size = self.size.saturating_add(by).min(MAX_WINDOW);
    }

    //= rfc5681#section-3.1 (MUST)
    // A loss leaves a part of what is in flight, but not less than two segments.
    /// Sets the threshold to `tenths` of `flight`.
    fn reduce(&mut self, flight: u32, tenths: u64) {
        let part = u64::from(flight) * tenths / 10;
        self.threshold = (part as u32).max(2 * self.mss);
        self.size = self.threshold;
    }
}

#[cfg(test)]
mod tests;
