//! How much may be in flight.
//!
//! Read first: RFC 5681, RFC 3465 (byte counting), RFC 6928 (initial window).
//! Then `cubic.rs` (RFC 9438), `new_reno.rs`, `hystart.rs` (RFC 9406), `usage.rs`.
//!
//! The algorithms say how large the window is; which segments are lost and what
//! is sent again is the business of `recovery.rs`.
//!
//! Always true: `mss <= window`, and `2 * mss <= threshold`.

mod cubic;
mod hystart;
mod new_reno;
mod usage;

use crore_base::{Duration, Instant, SeqNum};

use self::cubic::Cubic;
use self::hystart::HyStart;
use self::new_reno::NewReno;
use self::usage::Usage;
use crate::config::{Config, CongestionKind};

/// Beyond what the largest scaled window allows, growth has no meaning.
const MAX_WINDOW: u32 = 1 << 30;

/// The congestion control of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    window: Window,
    usage: Usage,
    hystart: HyStart,
    algorithm: Algorithm,
    /// What stood before the last reduction, until it is known to be right.
    checkpoint: Option<Checkpoint>,
}

/// What an acknowledgment means to congestion control.
#[derive(Clone, Copy, Debug)]
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
    /// Below it is slow start; [`MAX_WINDOW`] until it is found.
    threshold: u32,
    initial: u32,
}

/// What a reduction took.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    size: u32,
    threshold: u32,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl Congestion {
    /// That of a new connection with segments of `mss` bytes.
    #[inline]
    pub(crate) fn new(config: &Config, mss: u32) -> Self {
        let initial = initial_window(mss, config.initial_window);
        Self {
            window: Window {
                mss,
                size: initial,
                threshold: MAX_WINDOW,
                initial,
            },
            usage: Usage::new(),
            hystart: HyStart::new(config.paces()),
            algorithm: match config.congestion {
                CongestionKind::Cubic => Algorithm::Cubic(Cubic::default()),
                CongestionKind::NewReno => Algorithm::NewReno(NewReno::default()),
            },
            checkpoint: None,
        }
    }

    /// Nothing was sent yet, and segments will have `mss` bytes.
    #[inline]
    pub(crate) fn start(&mut self, config: &Config, mss: u32) {
        let initial = initial_window(mss, config.initial_window);
        self.window.mss = mss;
        self.window.size = initial;
        self.window.initial = initial;
    }

    /// `flight` bytes from `una` to `nxt` were in flight until an acknowledgment
    /// came just now. Says whether the window was what kept more from being sent.
    #[inline]
    pub(crate) fn is_limiting(&mut self, una: SeqNum, nxt: SeqNum, flight: u32) -> bool {
        self.usage.observe(una, nxt, flight, &self.window)
    }

    /// Something was acknowledged.
    #[inline]
    pub(crate) fn on_ack(&mut self, ack: &Acked) {
        if ack.limited {
            self.grow(ack);
        } else {
            self.stand_still(ack.now);
        }
    }

    #[inline(never)]
    fn grow(&mut self, ack: &Acked) {
        if self.window.is_slow() {
            self.slow_start(ack);
        } else {
            match &mut self.algorithm {
                Algorithm::Cubic(cubic) => cubic.avoid(&mut self.window, ack),
                Algorithm::NewReno(reno) => reno.avoid(&mut self.window, ack),
            }
        }
    }

    //= rfc9406#section-4.3 (SHOULD)
    // The first slow start, which knows of no threshold, looks at the delay; a
    // later one ends at the threshold that was found.
    fn slow_start(&mut self, ack: &Acked) {
        let limit = self.hystart.most_segments();
        let divisor = if self.window.threshold == MAX_WINDOW {
            self.hystart.on_ack(&mut self.window, ack)
        } else {
            1
        };
        self.window.slow_start(ack, limit, divisor);
    }

    /// A loss was found out by acknowledgments, and its recovery begins;
    /// `flight` bytes are out.
    pub(crate) fn on_loss(&mut self, _now: Instant, flight: u32) {
        self.save();
        match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.on_loss(&mut self.window, flight),
            Algorithm::NewReno(reno) => reno.on_loss(&mut self.window, flight),
        }
    }

    /// The network marked a segment that would have been lost otherwise. The
    /// caller sees to it that a window is reduced once.
    pub(crate) fn on_ecn(&mut self, _now: Instant, flight: u32) {
        // A mark is never false.
        self.checkpoint = None;
        match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.on_ecn(&mut self.window, flight),
            Algorithm::NewReno(reno) => reno.on_ecn(&mut self.window, flight),
        }
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
            match &mut self.algorithm {
                Algorithm::Cubic(cubic) => cubic.on_timeout(&mut self.window, flight),
                Algorithm::NewReno(reno) => reno.on_loss(&mut self.window, flight),
            }
        }
        self.window.size = self.window.mss;
        self.stop();
    }

    /// The last reduction was right, whatever comes of the loss that it was for:
    /// what was sent before it was marked as well.
    pub(crate) const fn confirm_reduction(&mut self) {
        self.checkpoint = None;
    }

    //= rfc9438#section-4.9.2 (MAY)
    // After a false time-out (4.9.1) or a false loss (4.9.2) the window, the
    // threshold and the curve are what they would be without it; not less than
    // what they have become since.
    /// The last reduction was for a loss that was none: what it took is given
    /// back. Says whether it was.
    pub(crate) fn undo(&mut self) -> bool {
        let Some(before) = self.checkpoint.take() else {
            return false;
        };
        if before.size >= self.window.size {
            self.window.size = before.size;
            self.algorithm = before.algorithm;
        }
        self.window.threshold = self.window.threshold.max(before.threshold);
        true
    }

    /// The SYN or the SYN-ACK had to be sent again.
    pub(crate) fn on_syn_lost(&mut self) {
        self.window.initial = self.window.mss;
        self.window.size = self.window.mss;
    }

    /// New data is about to go while nothing is in flight: what of the time has
    /// passed since the last acknowledgment was the application's.
    #[inline]
    pub(crate) fn on_restart(&mut self, now: Instant) {
        self.stand_still(now);
    }

    //= rfc7661#section-4.4.3 (MUST)
    // Slow start leads back from the restart window to three quarters of what
    // was used before the pause.
    /// Nothing was sent for longer than a time-out.
    pub(crate) fn on_idle(&mut self) {
        self.window.threshold = self.threshold_after_idle();
        self.window.size = self.window_after_idle();
        self.checkpoint = None;
        self.stop();
    }

    /// A new window takes over from one that was put away: it is `window`
    /// where that was below the initial one, and the `threshold` stays, both in
    /// segments.
    #[inline]
    pub(crate) fn resume(&mut self, window: Option<u32>, threshold: Option<u32>) {
        let mss = self.window.mss;
        if let Some(segments) = window {
            self.window.size = segments.max(1).saturating_mul(mss);
        }
        if let Some(segments) = threshold {
            self.window.threshold = segments.max(2).saturating_mul(mss).min(MAX_WINDOW);
        }
    }

    /// The threshold in segments as it is after an idle time, if one was ever
    /// found.
    pub(crate) fn threshold_segments(&self) -> Option<u32> {
        let threshold = self.threshold_after_idle();
        (threshold < MAX_WINDOW).then(|| threshold / self.window.mss.max(1))
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

    fn threshold_after_idle(&self) -> u32 {
        let Window {
            size,
            threshold,
            initial,
            ..
        } = self.window;
        if size > initial {
            threshold.max(size / 4 * 3)
        } else {
            threshold
        }
    }

    pub(crate) const fn threshold(&self) -> u32 {
        self.window.threshold
    }

    /// At how many bytes a second segments leave, if they are paced and the round
    /// trip is known: faster than they are acknowledged, so that it is still the
    /// window which limits them, and twice as fast where it doubles.
    pub(crate) fn pacing_rate(&self, srtt: Option<Duration>) -> Option<u64> {
        let tenths = if self.window.is_slow() { 20 } else { 12 };
        let nanos = srtt?.as_nanos().max(1);
        Some(u64::from(self.window.size) * tenths * 100_000_000 / nanos)
    }

    const fn save(&mut self) {
        self.checkpoint = Some(Checkpoint {
            size: self.window.size,
            threshold: self.window.threshold,
            algorithm: self.algorithm,
        });
    }

    #[inline]
    const fn stand_still(&mut self, now: Instant) {
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.stand_still(now);
        }
    }

    const fn stop(&mut self) {
        match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.stop(),
            Algorithm::NewReno(reno) => reno.stop(),
        }
    }
}

//= rfc6928#section-2 (SHOULD)
// Ten segments, but of large ones no more than 14,600 bytes, if those are two;
// for another number than ten the bytes are in proportion.
/// The initial window for `segments` of `mss` bytes.
pub(crate) fn initial_window(mss: u32, segments: u32) -> u32 {
    let segments = segments.max(1);
    let most = segments.saturating_mul(1460).max(2 * mss);
    mss.saturating_mul(segments).min(most).min(MAX_WINDOW)
}

impl Window {
    #[inline]
    const fn is_slow(&self) -> bool {
        self.size < self.threshold
    }

    //= rfc5681#section-3.1 (RECOMMENDED)
    // Grow by what was acknowledged, but within a limit for each ACK, and not
    // beyond the threshold. The limit is `segments`; one after a time-out, when
    // an ACK may cover what arrived long before.
    fn slow_start(&mut self, ack: &Acked, segments: u32, divisor: u32) {
        let segments = if ack.after_timeout { 1 } else { segments };
        let limit = self.mss.saturating_mul(segments);
        let room = self.threshold.saturating_sub(self.size);
        self.grow((ack.acked.min(limit) / divisor).min(room));
    }

    fn grow(&mut self, by: u32) {
        self.size = self.size.saturating_add(by).min(MAX_WINDOW);
    }

    //= rfc5681#section-3.1 (MUST)
    // Not less than two segments.
    fn reduce_to(&mut self, size: u32) {
        self.threshold = size.clamp(2 * self.mss, MAX_WINDOW);
        self.size = self.threshold;
    }
}

#[cfg(test)]
mod tests;
