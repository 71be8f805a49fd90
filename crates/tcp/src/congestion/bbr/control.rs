//! What follows of the model: the pace, and how much may be in flight.
//!
//! Read first: draft-ietf-ccwg-bbr-06 section 5.6.

use crore_base::Duration;

use super::{Bbr, BbrState};
use crate::congestion::{MAX_WINDOW, Window};

/// What is sent less than the path delivers, in percent.
const MARGIN: u64 = 1;
/// What leaves at once at most, however fast the path is.
const MOST_QUANTUM: u64 = 64 * 1024;

/// Four segments: two on their way, and acknowledgments of two.
pub(super) const fn least_window(window: &Window) -> u32 {
    window.mss.saturating_mul(4)
}

pub(super) fn part(of: u32, percent: u32) -> u32 {
    (u64::from(of) * u64::from(percent) / 100) as u32
}

impl BbrState {
    //= draft-ietf-ccwg-bbr-06#section-5.6.1 (TEXT)
    // Each state has its gains.
    /// At how many hundredths of its rate the path is sent to.
    const fn pacing_gain(self) -> u64 {
        match self {
            Self::Startup => 277,
            Self::Drain => 50,
            Self::Down => 90,
            Self::Cruise | Self::Refill | Self::ProbeRtt => 100,
            Self::Up => 125,
        }
    }

    /// How many hundredths of what fills the path may be in flight.
    const fn window_gain(self) -> u64 {
        match self {
            Self::Up => 225,
            Self::ProbeRtt => 50,
            Self::Startup | Self::Drain | Self::Down | Self::Cruise | Self::Refill => 200,
        }
    }
}

impl Bbr {
    //= draft-ietf-ccwg-bbr-06#section-5.6.2 (TEXT)
    // The initial window in a round trip, or in a millisecond where none was
    // measured, and as much more as Startup takes.
    pub(super) fn init_pacing_rate(&mut self, window: &Window, srtt: Option<Duration>) {
        let nanos = srtt.unwrap_or(Duration::from_millis(1)).as_nanos().max(1);
        let nominal = u64::from(window.initial) * 1_000_000_000 / nanos;
        self.pacing_rate = nominal.saturating_mul(BbrState::Startup.pacing_gain()) / 100;
    }

    pub(super) fn set_pacing_rate(&mut self, window: &Window) {
        self.set_pacing_rate_with(self.state.pacing_gain(), window);
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.2 (TEXT)
    // Until the pipe was full once, the pace does not fall.
    pub(super) fn set_pacing_rate_with(&mut self, gain: u64, window: &Window) {
        let rate = u128::from(self.bw) * u128::from(gain * (100 - MARGIN)) / 10_000;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        if self.bw > 0 && (self.full.reached || rate > self.pacing_rate) {
            self.pacing_rate = rate.max(self.slowest(window));
        }
    }

    /// A segment each round trip: samples taken in a time-out must not silence
    /// the sender for longer than that.
    fn slowest(&self, window: &Window) -> u64 {
        let nanos = self.rtt.min().map_or(1_000_000_000, Duration::as_nanos).max(1);
        (u64::from(window.mss) * 1_000_000_000 / nanos).max(1)
    }

    pub(in crate::congestion) const fn pacing_rate(&self) -> u64 {
        self.pacing_rate
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.3 (TEXT)
    // (The pace lets out what is due within a tick of the wheel, a millisecond:
    // as much as this.)
    fn quantum(&self, window: &Window) -> u32 {
        let quantum = (self.pacing_rate / 1_000).min(MOST_QUANTUM) as u32;
        quantum.max(window.mss.saturating_mul(2))
    }

    /// What fills a path of `bw`, times `gain` hundredths; none if no round trip
    /// was measured.
    pub(super) fn bdp(&self, bw: u64, gain: u64) -> Option<u32> {
        let nanos = u128::from(self.rtt.min()?.as_nanos());
        let bytes = (u128::from(bw) * nanos / 1_000_000_000).min(u128::from(MAX_WINDOW));
        Some((bytes as u64 * gain / 100).min(u64::from(MAX_WINDOW)) as u32)
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.2 (TEXT)
    // With what the ends hold back to send and to acknowledge several segments
    // at once (section 5.5.8).
    pub(super) fn volume(&self, window: &Window, bw: u64, gain: u64) -> u32 {
        self.quantized(window, self.bdp(bw, gain).unwrap_or(window.initial))
    }

    fn quantized(&self, window: &Window, volume: u32) -> u32 {
        let budget = self.quantum(window).saturating_mul(3);
        let volume = volume.max(budget).max(least_window(window));
        if self.state == BbrState::Up {
            volume.saturating_add(window.mss.saturating_mul(2))
        } else {
            volume
        }
    }

    /// What is to be in flight, where congestion has not cut the window.
    pub(super) fn target(&self, window: &Window) -> u32 {
        self.bdp(self.bw, 100).unwrap_or(window.initial).min(window.size)
    }

    pub(super) fn max_inflight(&self, window: &Window) -> u32 {
        let gain = self.state.window_gain();
        let volume = self.bdp(self.bw, gain).unwrap_or(window.initial);
        self.quantized(window, volume.saturating_add(self.aggregation.most.get()))
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.6 (TEXT)
    // Down at once, up by what arrives.
    pub(super) fn set_window(&mut self, window: &mut Window, bytes: u32) {
        let most = self.max_inflight(window);
        if self.full.reached {
            window.size = window.size.saturating_add(bytes).min(most);
        } else if window.size < most || self.sampler.delivered < u64::from(window.initial) {
            window.size = window.size.saturating_add(bytes);
        }
        window.size = window.size.max(least_window(window));
        if self.state == BbrState::ProbeRtt {
            window.size = window.size.min(self.probe_rtt_window(window));
        }
        self.bound_window(window);
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.7 (TEXT)
    // Within what losses have shown: all of it where more is tried, less else.
    fn bound_window(&self, window: &mut Window) {
        let longterm = match self.state {
            BbrState::Cruise | BbrState::ProbeRtt => self.with_headroom(window),
            BbrState::Down | BbrState::Refill | BbrState::Up => self.bounds.inflight_longterm,
            BbrState::Startup | BbrState::Drain => MAX_WINDOW,
        };
        let most = longterm.min(self.bounds.inflight_shortterm).min(MAX_WINDOW);
        window.size = window.size.min(most.max(least_window(window)));
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.4 (TEXT)
    // The last window that neither losses nor a look at the round trip had cut.
    pub(super) fn save_window(&mut self, window: &Window) {
        self.prior_window = if self.losses.are_repaired() && self.state != BbrState::ProbeRtt {
            window.size
        } else {
            self.prior_window.max(window.size)
        };
    }

    pub(super) fn restore_window(&self, window: &mut Window) {
        window.size = window.size.max(self.prior_window);
    }
}
