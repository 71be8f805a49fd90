//! How much may be in flight.
//!
//! Read first: RFC 5681, RFC 3465 (byte counting), RFC 6928 (initial window).
//! Then `cubic.rs` (RFC 9438), `new_reno.rs`, `hystart.rs` (RFC 9406), `usage.rs`; and
//! `bbr/mod.rs`, whose window follows from a model of the path and not from its own past.
//!
//! The algorithms say how large the window is; which segments are lost and what
//! is sent again is the business of `recovery.rs`.
//!
//! Always true: `mss <= window`, and `2 * mss <= threshold`.

mod bbr;
mod cubic;
mod hystart;
mod new_reno;
mod usage;
mod window;

use crore_base::{Duration, Instant, SeqNum};

use self::bbr::Bbr;
pub use self::bbr::{BbrState, BbrStats};
pub(crate) use self::bbr::{Delivered, Sent};
use self::cubic::Cubic;
use self::hystart::HyStart;
use self::new_reno::NewReno;
use self::usage::Usage;
pub(crate) use self::window::initial_window;
use self::window::{MAX_WINDOW, Window};
use crate::config::{Config, CongestionKind};
use crate::sent::Run;

/// The congestion control of one connection.
#[derive(Clone, Debug)]
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

/// What a reduction took.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    size: u32,
    threshold: u32,
    cubic: Option<Cubic>,
}

#[derive(Clone, Debug)]
enum Algorithm {
    Cubic(Cubic),
    NewReno(NewReno),
    /// Once the first data is about to leave.
    Bbr(Option<Box<Bbr>>),
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
                CongestionKind::Bbr => Algorithm::Bbr(None),
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
                Algorithm::Bbr(_) => {}
            }
        }
    }

    /// Whether it goes by a model, which has to be told of all that is sent, has
    /// arrived and is lost; then [`Self::on_delivered`] takes the place of
    /// [`Self::on_ack`].
    #[inline]
    pub(crate) const fn is_model(&self) -> bool {
        matches!(self.algorithm, Algorithm::Bbr(_))
    }

    #[inline]
    fn model(&mut self) -> Option<(&mut Bbr, &mut Window)> {
        match &mut self.algorithm {
            Algorithm::Bbr(Some(bbr)) => Some((bbr, &mut self.window)),
            _ => None,
        }
    }

    /// A segment with data was sent.
    pub(crate) fn on_sent(&mut self, sent: &Sent) {
        let window = &mut self.window;
        if let Algorithm::Bbr(bbr) = &mut self.algorithm {
            bbr.get_or_insert_with(|| Box::new(Bbr::new(sent, window)))
                .on_sent(window, sent);
        }
    }

    /// `run` has arrived; [`Self::on_delivered`] follows when all was looked at.
    #[inline]
    pub(crate) fn on_run_delivered(&mut self, now: Instant, run: &Run) {
        if let Some((bbr, _)) = self.model() {
            bbr.on_run_delivered(now, run);
        }
    }

    /// Without SACK: a duplicate acknowledgment says that a segment of `size` bytes
    /// has arrived, of the `flight` that is not acknowledged.
    pub(crate) fn on_duplicate(&mut self, now: Instant, size: u32, flight: u32) {
        if let Some((bbr, _)) = self.model() {
            bbr.on_duplicate(now, size, flight);
        }
    }

    /// What has arrived of that and is not acknowledged, as far as a model counts it.
    pub(crate) fn ahead(&self) -> u32 {
        match &self.algorithm {
            Algorithm::Bbr(Some(bbr)) => bbr.ahead(),
            _ => 0,
        }
    }

    /// `run` is thought lost.
    pub(crate) fn on_run_lost(&mut self, now: Instant, run: &Run) {
        if let Some((bbr, window)) = self.model() {
            bbr.on_run_lost(now, window, run);
        }
    }

    /// An acknowledgment was looked at whole.
    pub(crate) fn on_delivered(&mut self, delivered: &Delivered) {
        if let Some((bbr, window)) = self.model() {
            bbr.on_ack(window, delivered);
        }
    }

    /// More could be sent than the application has written; `in_flight` bytes are out.
    pub(crate) fn on_app_limited(&mut self, in_flight: u32) {
        if let Some((bbr, _)) = self.model() {
            bbr.mark_app_limited(in_flight);
        }
    }

    /// What the model says of the path.
    pub(crate) fn model_stats(&self) -> Option<BbrStats> {
        match &self.algorithm {
            Algorithm::Bbr(Some(bbr)) => Some(bbr.stats()),
            _ => None,
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
            Algorithm::Bbr(Some(bbr)) => bbr.begin_recovery(&self.window),
            Algorithm::Bbr(None) => {}
        }
    }

    /// A tail loss probe has repaired a loss, and no recovery follows.
    pub(crate) fn on_probe_loss(&mut self, now: Instant, flight: u32) {
        match &mut self.algorithm {
            Algorithm::Bbr(Some(bbr)) => bbr.note_loss(),
            _ => self.on_loss(now, flight),
        }
    }

    /// The losses are repaired, or were none.
    pub(crate) fn on_repaired(&mut self) {
        if let Some((bbr, window)) = self.model() {
            bbr.end_recovery(window);
        }
    }

    /// The network marked a segment that would have been lost otherwise. The
    /// caller sees to it that a window is reduced once.
    pub(crate) fn on_ecn(&mut self, now: Instant, flight: u32) {
        // A mark is never false.
        self.checkpoint = None;
        match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.on_ecn(&mut self.window, flight),
            Algorithm::NewReno(reno) => reno.on_ecn(&mut self.window, flight),
            Algorithm::Bbr(Some(bbr)) => bbr.on_mark(now, &self.window, flight),
            // A SYN was marked: of the path nothing else is known.
            Algorithm::Bbr(None) => self.window.size = (self.window.size / 2).max(self.window.mss),
        }
    }

    //= rfc6582#section-3.2 (SHOULD)
    // On leaving recovery, no more than one segment beyond what is in flight,
    // so that no burst follows.
    /// Fast recovery without SACK is over; `flight` bytes are out.
    pub(crate) fn on_recovered(&mut self, flight: u32) {
        if self.is_model() {
            return;
        }
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
                Algorithm::Bbr(Some(bbr)) => bbr.begin_recovery(&self.window),
                Algorithm::Bbr(None) => {}
            }
        }
        self.window.size = self.window.mss;
        self.stop();
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.4 (TEXT)
    // Room for one segment beside what is not taken for lost.
    /// It is known what the time-out has left in flight.
    pub(crate) fn on_timeout_judged(&mut self, in_flight: u32) {
        if self.is_model() {
            self.window.size = in_flight.saturating_add(self.window.mss).min(MAX_WINDOW);
        }
    }

    /// The last reduction was right, whatever comes of the loss that it was for:
    /// what was sent before it was marked as well.
    pub(crate) fn confirm_reduction(&mut self) {
        self.checkpoint = None;
        if let Some((bbr, _)) = self.model() {
            bbr.confirm();
        }
    }

    //= rfc9438#section-4.9.2 (MAY)
    // After a false time-out (4.9.1) or a false loss (4.9.2) the window, the
    // threshold and the curve are what they would be without it; not less than
    // what they have become since.
    /// The last reduction was for a loss that was none: what it took is given
    /// back. Says whether it was.
    pub(crate) fn undo(&mut self) -> bool {
        if let Some((bbr, window)) = self.model() {
            return bbr.undo(window);
        }
        let Some(before) = self.checkpoint.take() else {
            return false;
        };
        if before.size >= self.window.size {
            self.window.size = before.size;
            if let (Algorithm::Cubic(cubic), Some(was)) = (&mut self.algorithm, before.cubic) {
                *cubic = was;
            }
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
        // A model lasts.
        if self.is_model() {
            return;
        }
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
        if let Some(segments) = threshold
            && !self.is_model()
        {
            self.window.threshold = segments.max(2).saturating_mul(mss).min(MAX_WINDOW);
        }
    }

    /// The threshold in segments as it is after an idle time, if one was ever
    /// found.
    pub(crate) fn threshold_segments(&self) -> Option<u32> {
        if self.is_model() {
            return None;
        }
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
        if self.is_model() {
            return self.window.size;
        }
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
        if let Algorithm::Bbr(Some(bbr)) = &self.algorithm {
            return Some(bbr.pacing_rate());
        }
        let tenths = if self.window.is_slow() { 20 } else { 12 };
        let nanos = srtt?.as_nanos().max(1);
        Some(u64::from(self.window.size) * tenths * 100_000_000 / nanos)
    }

    const fn save(&mut self) {
        self.checkpoint = Some(Checkpoint {
            size: self.window.size,
            threshold: self.window.threshold,
            cubic: match self.algorithm {
                Algorithm::Cubic(cubic) => Some(cubic),
                _ => None,
            },
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
            Algorithm::Bbr(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
