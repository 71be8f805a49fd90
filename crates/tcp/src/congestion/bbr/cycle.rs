//! The cycle that probes for more rate: Down, Cruise, Refill, Up.
//!
//! Read first: draft-ietf-ccwg-bbr-06 section 5.3.3.

use crore_base::{Duration, Instant};

use super::bounds::UNBOUNDED;
use super::control::{least_window, part};
use super::rate::Sample;
use super::{Bbr, BbrState, Delivered};
use crate::congestion::{MAX_WINDOW, Window};

/// At most so many round trips lie between two probes, so that Reno would probe
/// as often on a path where it does well.
const MOST_ROUNDS: u32 = 63;
/// What is left free of a volume that was too much, in percent.
const HEADROOM: u32 = 15;

/// What acknowledgments tell at this point of a cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckPhase {
    /// Nothing of a probe.
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    /// The probe is over, its acknowledgments still come.
    ProbeStopping,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    pub(super) phase: AckPhase,
    /// Samples come from a probe that was not answered by a loss yet.
    pub(super) is_probe_sample: bool,
    pub(super) rounds_since_up: u32,
    pub(super) began: Instant,
    /// How long it is waited for the next probe at most.
    pub(super) wait: Duration,
    /// Acknowledged towards the next step of the bound, how much makes a step,
    /// and how often that was halved.
    acked: u32,
    acked_per_step: u32,
    up_rounds: u8,
    /// The last probe lost too much.
    pub(super) was_too_high: bool,
    /// The last probe ended where the one before it had lost too much.
    was_cautious: bool,
}

impl Cycle {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: AckPhase::Init,
            is_probe_sample: false,
            rounds_since_up: 0,
            began: now,
            wait: Duration::ZERO,
            acked: 0,
            acked_per_step: u32::MAX,
            up_rounds: 0,
            was_too_high: false,
            was_cautious: false,
        }
    }
}

impl Bbr {
    //= draft-ietf-ccwg-bbr-06#section-5.3.3.9 (TEXT)
    // From state to state, unless a probe's outcome has decided already.
    pub(super) fn update_cycle(&mut self, window: &Window, ack: &Delivered, sample: &Sample) {
        if !self.full.reached || self.adapt_long_term(window, sample) {
            return;
        }
        match self.state {
            BbrState::Down => {
                if !self.refill_if_due(ack.now, window) && self.may_cruise(window, ack.in_flight) {
                    self.state = BbrState::Cruise;
                }
            }
            BbrState::Cruise => {
                self.refill_if_due(ack.now, window);
            }
            BbrState::Refill => {
                if self.rounds.starts {
                    self.cycle.is_probe_sample = true;
                    self.start_up(window, sample);
                }
            }
            BbrState::Up => {
                if self.must_go_down(window, ack.in_flight, sample) {
                    self.cycle.was_too_high = false;
                    self.start_down(ack.now);
                }
            }
            BbrState::Startup | BbrState::Drain | BbrState::ProbeRtt => {}
        }
    }

    pub(super) fn start_down(&mut self, now: Instant) {
        self.reset_congestion_signals();
        self.cycle.acked_per_step = u32::MAX;
        self.pick_wait();
        self.cycle.began = now;
        self.cycle.phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = BbrState::Down;
    }

    pub(super) fn start_cruise(&mut self) {
        self.state = BbrState::Cruise;
    }

    // What losses have said of late is forgotten: the path may have changed.
    pub(super) fn start_refill(&mut self) {
        self.reset_short_term();
        self.cycle.up_rounds = 0;
        self.cycle.acked = 0;
        self.cycle.was_cautious = false;
        self.cycle.phase = AckPhase::Refilling;
        self.start_round();
        self.state = BbrState::Refill;
    }

    fn start_up(&mut self, window: &Window, sample: &Sample) {
        self.cycle.phase = AckPhase::ProbeStarting;
        self.start_round();
        self.look_for_full_pipe(sample.rate);
        self.state = BbrState::Up;
        self.steepen(window);
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.3.8 (TEXT)
    // Two to three seconds, or as many round trips as Reno would need to gain
    // what the path carries.
    fn pick_wait(&mut self) {
        const LEAST: Duration = Duration::from_secs(2);
        self.cycle.rounds_since_up = self.draw(2) as u32;
        self.cycle.wait = LEAST + Duration::from_nanos(self.draw(1_000_000_000));
    }

    fn refill_if_due(&mut self, now: Instant, window: &Window) -> bool {
        let rounds = (self.target(window) / window.mss.max(1)).min(MOST_ROUNDS);
        let due = now > self.cycle.began + self.cycle.wait || self.cycle.rounds_since_up >= rounds;
        if due {
            self.start_refill();
        }
        due
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.3.1 (TEXT)
    // The queue is drained, and of what once was too much some is free.
    fn may_cruise(&self, window: &Window, in_flight: u32) -> bool {
        in_flight <= self.with_headroom(window) && in_flight <= self.volume(window, self.max_bw.get(), 100)
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.3.7 (TEXT)
    // A probe ends when more brings nothing; the first one after a loss when it
    // has come as far as that. (Losses that are too many end it where they are
    // found.)
    fn must_go_down(&mut self, window: &Window, in_flight: u32, sample: &Sample) -> bool {
        let most = self.bounds.inflight_longterm;
        if self.cycle.was_too_high && in_flight >= most {
            self.cycle.was_cautious = true;
            return true;
        }
        if self.is_window_limited() && window.size >= most {
            // It is the bound that limits, so the rate says nothing.
            self.look_for_full_pipe(sample.rate);
            return false;
        }
        self.full.now
    }

    /// Some of what was too much is left to others.
    pub(super) fn with_headroom(&self, window: &Window) -> u32 {
        let most = self.bounds.inflight_longterm;
        if most == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = part(most, HEADROOM).max(window.mss);
        most.saturating_sub(headroom).max(least_window(window))
    }

    pub(super) fn is_window_limited(&self) -> bool {
        self.limited[0] || self.limited[1]
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.3.5 (TEXT)
    // By 1, 2, 4, ... segments in a round.
    fn steepen(&mut self, window: &Window) {
        const MOST: u8 = 30;
        let growth = 1u32 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(MOST);
        self.cycle.acked_per_step = (window.size / growth).max(window.mss).max(1);
    }

    fn raise_long_term(&mut self, window: &Window, bytes: u32) {
        if !self.is_window_limited() || window.size < self.bounds.inflight_longterm {
            return;
        }
        self.cycle.acked = self.cycle.acked.saturating_add(bytes);
        let steps = self.cycle.acked / self.cycle.acked_per_step;
        self.cycle.acked -= steps * self.cycle.acked_per_step;
        self.bounds.inflight_longterm = self
            .bounds
            .inflight_longterm
            .saturating_add(steps.saturating_mul(window.mss))
            .min(MAX_WINDOW);
        if self.rounds.starts {
            self.steepen(window);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.3.9 (TEXT)
    // What a probe has shown, a round after it: rates older than the last cycle
    // are forgotten, and the bound rises to what was borne.
    /// Says whether it has decided on the next state.
    fn adapt_long_term(&mut self, window: &Window, sample: &Sample) -> bool {
        if self.cycle.phase == AckPhase::ProbeStarting && self.rounds.starts {
            self.cycle.phase = AckPhase::ProbeFeedback;
        }
        if self.cycle.phase == AckPhase::ProbeStopping && self.rounds.starts {
            self.cycle.is_probe_sample = false;
            self.cycle.phase = AckPhase::Init;
            if self.state.is_probe_bw() && !sample.app_limited {
                self.max_bw.advance();
            }
            //= draft-ietf-ccwg-bbr-06#section-5.3.3.6 (TEXT)
            // What was dared with caution went well, so it is dared.
            if self.state.is_probe_bw() && self.cycle.was_cautious && !self.cycle.was_too_high {
                self.start_refill();
                return true;
            }
        }
        if !self.is_too_much(sample.lost, sample.in_flight) && self.bounds.inflight_longterm != UNBOUNDED {
            self.bounds.inflight_longterm = self.bounds.inflight_longterm.max(sample.in_flight);
            if self.state == BbrState::Up {
                self.raise_long_term(window, sample.newly);
            }
        }
        false
    }
}
