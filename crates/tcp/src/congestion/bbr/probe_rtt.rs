//! The shortest round trip, and looking for it with little in flight.
//!
//! Read first: draft-ietf-ccwg-bbr-06 sections 5.3.4 and 5.5.7.

use crore_base::{Duration, Instant};

use super::control::least_window;
use super::cycle::AckPhase;
use super::rate::Sample;
use super::{Bbr, BbrState, Delivered};
use crate::congestion::Window;

/// How long a round trip counts as the shortest.
const FILTER: Duration = Duration::from_secs(10);
/// How long without a shorter one until one is looked for. All flows have the
/// same, so that they drain a queue together.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long little stays in flight.
const LENGTH: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeRtt {
    min: Option<Duration>,
    min_at: Instant,
    /// The shortest since the last probe.
    recent: Option<Duration>,
    recent_at: Instant,
    expired: bool,
    pub(super) done_at: Option<Instant>,
    round_done: bool,
}

impl ProbeRtt {
    pub(super) const fn new(now: Instant, srtt: Option<Duration>) -> Self {
        Self {
            min: srtt,
            min_at: now,
            recent: None,
            recent_at: now,
            expired: false,
            done_at: None,
            round_done: false,
        }
    }

    pub(super) const fn min(&self) -> Option<Duration> {
        self.min
    }
}

impl Bbr {
    //= draft-ietf-ccwg-bbr-06#section-5.3.4.3 (TEXT)
    // The shortest of ten seconds counts; that of five says when to look for
    // one.
    pub(super) fn update_min_rtt(&mut self, ack: &Delivered) {
        let rtt = &mut self.rtt;
        rtt.expired = ack.now > rtt.recent_at + INTERVAL;
        if let Some(sample) = ack.rtt
            && (rtt.expired || rtt.recent.is_none_or(|recent| sample < recent))
        {
            rtt.recent = Some(sample);
            rtt.recent_at = ack.now;
        }
        let Some(recent) = rtt.recent else { return };
        let is_old = ack.now > rtt.min_at + FILTER;
        if is_old || rtt.min.is_none_or(|min| recent < min) {
            rtt.min = Some(recent);
            rtt.min_at = rtt.recent_at;
        }
    }

    pub(super) fn check_probe_rtt(&mut self, window: &mut Window, ack: &Delivered, sample: &Sample) {
        if self.state != BbrState::ProbeRtt && self.rtt.expired && !self.idle_restart {
            self.save_window(window);
            self.state = BbrState::ProbeRtt;
            self.rtt.done_at = None;
            self.cycle.phase = AckPhase::ProbeStopping;
            self.start_round();
        }
        if self.state == BbrState::ProbeRtt {
            self.probe_rtt(window, ack);
        }
        if sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    // Little for 200 ms and a round trip at least, and what is measured meanwhile
    // says nothing about the rate.
    fn probe_rtt(&mut self, window: &mut Window, ack: &Delivered) {
        self.sampler.mark_app_limited(ack.in_flight);
        if self.rtt.done_at.is_none() {
            if ack.in_flight <= self.probe_rtt_window(window) {
                self.rtt.done_at = Some(ack.now + LENGTH);
                self.rtt.round_done = false;
                self.start_round();
            }
            return;
        }
        self.rtt.round_done |= self.rounds.starts;
        if self.rtt.round_done {
            self.check_probe_rtt_done(ack.now, window);
        }
    }

    pub(super) fn check_probe_rtt_done(&mut self, now: Instant, window: &mut Window) {
        if self.rtt.done_at.is_some_and(|at| now > at) {
            self.rtt.recent_at = now;
            self.restore_window(window);
            self.end_probe_rtt(now);
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.4.4 (TEXT)
    // The pipe is not full, so Down is passed over.
    fn end_probe_rtt(&mut self, now: Instant) {
        self.reset_short_term();
        if self.full.reached {
            self.start_down(now);
            self.start_cruise();
        } else {
            self.state = BbrState::Startup;
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.5 (TEXT)
    // Half of what fills the path, so that a queue drains.
    pub(super) fn probe_rtt_window(&self, window: &Window) -> u32 {
        const GAIN: u64 = 50;
        let half = self.bdp(self.bw, GAIN).unwrap_or(window.initial);
        half.max(least_window(window))
    }
}
