//! What losses and marks of congestion do to the model.
//!
//! Read first: draft-ietf-ccwg-bbr-06 sections 5.3.1.3, 5.5.10 and 5.5.11.
//!
//! Two memories: the long one, how much was too much when more was tried; the
//! short one, what the path has delivered since it lost something, until the
//! next probe.

use crore_base::{Instant, SeqNum};

use super::control::part;
use super::rate::Sample;
use super::{Bbr, BbrState};
use crate::congestion::Window;
use crate::sent::Run;

/// A volume that is not bounded.
pub(super) const UNBOUNDED: u32 = u32::MAX;
/// A rate that is not.
const UNBOUNDED_RATE: u64 = u64::MAX;

/// What may be lost of what was in flight, in percent.
const LOSS_THRESHOLD: u64 = 2;
/// What is left after a round with losses at least, in percent.
const BETA: u32 = 70;
/// So many separate stretches have to be lost in a round to end Startup.
const STARTUP_LOSSES: u8 = 6;

/// How much is let out at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bw_shortterm: u64,
    pub(super) inflight_shortterm: u32,
    pub(super) inflight_longterm: u32,
}

impl Bounds {
    pub(super) const NONE: Self = Self {
        bw_shortterm: UNBOUNDED_RATE,
        inflight_shortterm: UNBOUNDED,
        inflight_longterm: UNBOUNDED,
    };
}

/// What is known of the losses of late.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losses {
    in_round: bool,
    /// A round of losses ends with the acknowledgment of what left when so much
    /// was delivered; the one at hand does so.
    round_delivered: u64,
    round_starts: bool,
    pub(super) bw_latest: u64,
    pub(super) inflight_latest: u32,
    /// Separate stretches lost in this round, and the end of the last one.
    stretches: u8,
    last_end: SeqNum,
    /// Losses are being repaired.
    recovering: bool,
    undo: Option<Undo>,
}

/// What is given back where a loss was none.
#[derive(Clone, Copy, Debug)]
struct Undo {
    /// The state that was left for it.
    left: Option<BbrState>,
    bounds: Bounds,
}

impl Losses {
    pub(super) const fn new(nxt: SeqNum) -> Self {
        Self {
            in_round: false,
            round_delivered: 0,
            round_starts: false,
            bw_latest: 0,
            inflight_latest: 0,
            stretches: 0,
            last_end: nxt,
            recovering: false,
            undo: None,
        }
    }

    pub(super) const fn are_repaired(&self) -> bool {
        !self.recovering
    }
}

impl Bbr {
    //= draft-ietf-ccwg-bbr-06#section-5.5.11.1 (TEXT)
    //= draft-ietf-ccwg-bbr-06#section-5.6.4.4 (TEXT)
    // Once for each episode, before anything is changed for its losses.
    /// Something is thought lost, and its repair begins.
    pub(in crate::congestion) fn begin_recovery(&mut self, window: &Window) {
        if self.losses.recovering {
            return;
        }
        self.save_window(window);
        self.losses.recovering = true;
        self.losses.undo = Some(Undo {
            left: None,
            bounds: self.bounds,
        });
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.4 (TEXT)
    // The window of before, within what the model says now.
    /// The losses are repaired.
    pub(in crate::congestion) fn end_recovery(&mut self, window: &mut Window) {
        if core::mem::take(&mut self.losses.recovering) {
            self.restore_window(window);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.10.2 (TEXT)
    // Of what a probe has sent more may not be lost than is borne.
    /// `run` is lost.
    pub(in crate::congestion) fn on_run_lost(&mut self, now: Instant, window: &Window, run: &Run) {
        self.begin_recovery(window);
        self.sampler.lost += u64::from(run.len());
        if self.losses.stretches == 0 || run.start != self.losses.last_end {
            self.losses.stretches = self.losses.stretches.saturating_add(1);
        }
        self.losses.last_end = run.end;
        self.note_loss();
        if !self.cycle.is_probe_sample {
            return;
        }
        let Some(departure) = self.sampler.departure(run) else {
            return;
        };
        let (lost, in_flight) = (self.sampler.lost - departure.lost, departure.in_flight);
        if self.is_too_much(lost, in_flight) {
            let in_flight = volume_at_loss(run.len(), lost, in_flight);
            self.on_too_much(now, window, in_flight, departure.app_limited);
        }
    }

    /// Something was lost in this round.
    pub(in crate::congestion) fn note_loss(&mut self) {
        if !self.losses.in_round {
            self.losses.round_delivered = self.sampler.delivered;
        }
        self.losses.in_round = true;
    }

    //= draft-ietf-ccwg-bbr-06#section-3.7 (TEXT)
    // A mark is never false, and says of a probe what more losses than are
    // borne would.
    /// The network has marked something, `in_flight` bytes being out.
    pub(in crate::congestion) fn on_mark(&mut self, now: Instant, window: &Window, in_flight: u32) {
        self.losses.undo = None;
        self.note_loss();
        if self.state == BbrState::Startup {
            self.end_startup(false);
        } else if self.cycle.is_probe_sample {
            let app_limited = self.sampler.is_app_limited();
            self.on_too_much(now, window, in_flight, app_limited);
        }
    }

    pub(super) fn is_too_much(&self, lost: u64, in_flight: u32) -> bool {
        lost * 100 > u64::from(in_flight) * LOSS_THRESHOLD || (lost > 0 && !self.has_sack)
    }

    fn on_too_much(&mut self, now: Instant, window: &Window, in_flight: u32, app_limited: bool) {
        self.cycle.was_too_high = true;
        // One answer to a probe.
        self.cycle.is_probe_sample = false;
        if !app_limited {
            self.bounds.inflight_longterm = in_flight.max(part(self.target(window), BETA));
        }
        if self.state == BbrState::Up {
            self.note_left(BbrState::Up);
            self.start_down(now);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.1.3 (TEXT)
    // A round of recovery with many separate losses: the pipe is full.
    pub(super) fn check_startup_loss(&mut self, sample: &Sample) {
        let is_much = if self.has_sack {
            self.losses.stretches >= STARTUP_LOSSES && self.is_too_much(sample.lost, sample.in_flight)
        } else {
            self.losses.stretches > 0
        };
        if !self.full.reached && self.losses.round_starts && self.losses.recovering && is_much {
            self.end_startup(true);
        }
        if self.losses.round_starts {
            self.losses.stretches = 0;
        }
    }

    fn end_startup(&mut self, may_be_false: bool) {
        if may_be_false {
            self.note_left(BbrState::Startup);
        }
        self.full.reached = true;
        self.bounds.inflight_longterm = self
            .bdp(self.bw, 100)
            .unwrap_or(0)
            .max(self.losses.inflight_latest);
    }

    fn note_left(&mut self, state: BbrState) {
        if let Some(undo) = &mut self.losses.undo {
            undo.left = Some(state);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.10.3 (TEXT)
    // The most that was delivered in this round of losses.
    pub(super) fn note_latest_delivery(&mut self, sample: &Sample) {
        let delivered = u32::try_from(sample.delivered).unwrap_or(UNBOUNDED);
        self.losses.bw_latest = self.losses.bw_latest.max(sample.rate);
        self.losses.inflight_latest = self.losses.inflight_latest.max(delivered);
        self.losses.round_starts = sample.prior_delivered >= self.losses.round_delivered;
        if self.losses.round_starts {
            self.losses.round_delivered = self.sampler.delivered;
        }
    }

    pub(super) fn advance_latest_delivery(&mut self, sample: &Sample) {
        if self.losses.round_starts {
            self.losses.bw_latest = sample.rate;
            self.losses.inflight_latest = u32::try_from(sample.delivered).unwrap_or(UNBOUNDED);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.10.3 (TEXT)
    // Once a round with losses the bounds fall to what was delivered in it, but
    // not by more than a third.
    pub(super) fn adapt_to_congestion(&mut self, window: &Window) {
        if !self.losses.round_starts {
            return;
        }
        if self.losses.in_round && !self.state.is_probing() {
            let bounds = &mut self.bounds;
            if bounds.bw_shortterm == UNBOUNDED_RATE {
                bounds.bw_shortterm = self.max_bw.get();
            }
            if bounds.inflight_shortterm == UNBOUNDED {
                bounds.inflight_shortterm = window.size;
            }
            let least = (u128::from(bounds.bw_shortterm) * u128::from(BETA) / 100) as u64;
            bounds.bw_shortterm = self.losses.bw_latest.max(least);
            bounds.inflight_shortterm = self
                .losses
                .inflight_latest
                .max(part(bounds.inflight_shortterm, BETA));
        }
        self.losses.in_round = false;
    }

    pub(super) const fn reset_congestion_signals(&mut self) {
        self.losses.in_round = false;
        self.losses.bw_latest = 0;
        self.losses.inflight_latest = 0;
    }

    pub(super) const fn reset_short_term(&mut self) {
        self.bounds.bw_shortterm = UNBOUNDED_RATE;
        self.bounds.inflight_shortterm = UNBOUNDED;
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.11.2 (TEXT)
    // Bounds and window are what they were, and who was probing goes back to
    // it.
    /// What was thought lost was not: what it took is given back. Says whether it was.
    pub(in crate::congestion) fn undo(&mut self, window: &mut Window) -> bool {
        let Some(Undo { left, bounds }) = self.losses.undo.take() else {
            return false;
        };
        self.restore_window(window);
        self.losses.in_round = false;
        self.look_for_full_pipe(0);
        let now = &mut self.bounds;
        now.bw_shortterm = now.bw_shortterm.max(bounds.bw_shortterm);
        now.inflight_shortterm = now.inflight_shortterm.max(bounds.inflight_shortterm);
        now.inflight_longterm = now.inflight_longterm.max(bounds.inflight_longterm);
        let in_probe_rtt = self.state == BbrState::ProbeRtt;
        match left {
            Some(BbrState::Startup) if self.state != BbrState::Startup => {
                self.full.reached = false;
                if !in_probe_rtt {
                    self.state = BbrState::Startup;
                }
            }
            Some(BbrState::Up) if self.state != BbrState::Up && !in_probe_rtt => self.start_refill(),
            _ => {}
        }
        true
    }

    /// Whatever comes of the losses, there was congestion.
    pub(in crate::congestion) const fn confirm(&mut self) {
        self.losses.undo = None;
    }
}

//= draft-ietf-ccwg-bbr-06#section-5.5.10.2 (TEXT)
// With how much of a burst in flight the losses began to be too many.
fn volume_at_loss(size: u32, lost: u64, in_flight: u32) -> u32 {
    let before = in_flight.saturating_sub(size);
    let lost_before = lost.saturating_sub(u64::from(size));
    let borne = u64::from(before) * LOSS_THRESHOLD;
    let prefix = borne.saturating_sub(lost_before * 100) / (100 - LOSS_THRESHOLD);
    before.saturating_add(u32::try_from(prefix).unwrap_or(u32::MAX))
}
