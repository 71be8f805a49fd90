//! What time brings: retransmission, probes, and the ends of waits.
//!
//! Read first: RFC 6298 section 5, RFC 9293 sections 3.8.3, 3.8.4 and 3.8.6.1.
//!
//! Always true: one main timer runs at most, since what it waits for excludes
//! each other: an acknowledgment, a window, the peer's FIN, the end of TIME-WAIT.

use crore_base::{Duration, Instant};

use super::{Connection, Owed};
use crate::recovery::Phase;
use crate::{Config, State, Unreachable};

/// The main timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    at: Instant,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Off,
    Retransmit,
    /// A tail loss probe, before the retransmission timer.
    Probe,
    /// What is late is lost then.
    Reorder,
    Persist,
    FinWait2,
    TimeWait,
}

impl Timer {
    pub(super) const OFF: Self = Self {
        at: Instant::FAR_FUTURE,
        kind: Kind::Off,
    };

    pub(super) const fn retransmit(at: Instant) -> Self {
        Self {
            at,
            kind: Kind::Retransmit,
        }
    }

    pub(super) const fn probe(at: Instant) -> Self {
        Self {
            at,
            kind: Kind::Probe,
        }
    }

    pub(super) const fn reorder(at: Instant) -> Self {
        Self {
            at,
            kind: Kind::Reorder,
        }
    }

    pub(super) const fn fin_wait_2(at: Instant) -> Self {
        Self {
            at,
            kind: Kind::FinWait2,
        }
    }

    /// The wait of a connection in `state` that began at `since`, if the
    /// application has `released` it.
    #[inline]
    pub(super) fn of_state(config: &Config, state: State, released: bool, since: Instant) -> Self {
        match state {
            State::FinWait2 if released => Self::fin_wait_2(since + config.fin_wait_2),
            State::TimeWait => Self::time_wait(since + config.time_wait),
            _ => Self::OFF,
        }
    }

    pub(super) const fn time_wait(at: Instant) -> Self {
        Self {
            at,
            kind: Kind::TimeWait,
        }
    }

    /// Whether it would notice that something unacknowledged got lost.
    pub(super) const fn guards_flight(self) -> bool {
        matches!(self.kind, Kind::Retransmit | Kind::Probe | Kind::Reorder)
    }

    pub(super) const fn is_probe(self) -> bool {
        matches!(self.kind, Kind::Probe)
    }

    pub(super) const fn is_reorder(self) -> bool {
        matches!(self.kind, Kind::Reorder)
    }
}

/// How long an application that holds small segments back may do so: what is a
/// pause to it is a delay to the peer.
const CORK_MAX: Duration = Duration::from_millis(200);

/// How long TIME-WAIT is drawn out for an acknowledgment that could not be sent:
/// longer than a neighbour takes to be found or given up.
const LAST_ACK_GRACE: Duration = Duration::from_secs(5);

impl Connection {
    /// When [`Self::on_timeout`] wants to be called, if at all. Calling it
    /// earlier does no harm.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        // Asked after every segment, and most connections have one timer at most.
        let has_others = self.released
            || self.owed.ack_at().is_some()
            || self.pacing.due().is_some()
            || self.config.keepalive.idle().is_some();
        if has_others {
            self.earliest_timeout()
        } else {
            self.main_deadline()
        }
    }

    #[inline(never)]
    fn earliest_timeout(&self) -> Option<Instant> {
        let earlier = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        earlier(
            earlier(self.main_deadline(), self.owed.ack_at()),
            earlier(
                if self.released {
                    self.linger_until
                } else {
                    self.keepalive_at()
                },
                self.departure(),
            ),
        )
    }

    /// When the segment can go that the pace holds back, if it is only that.
    #[inline]
    fn departure(&self) -> Option<Instant> {
        let due = self.pacing.due()?;
        let waits = self.state.can_transmit() && self.pick(due, self.smss()).is_some();
        waits.then_some(due)
    }

    fn main_deadline(&self) -> Option<Instant> {
        match self.timer.kind {
            Kind::Off => None,
            // The peer's FIN is acknowledged first, however short the wait; but
            // if that can't be sent, the wait must end all the same.
            Kind::TimeWait if self.owed.has(Owed::ACK) => Some(self.timer.at + LAST_ACK_GRACE),
            _ => Some(self.timer.at),
        }
    }

    /// Time has passed. Records what is owed; sends nothing.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.owed.ack_at().is_some_and(|at| at <= now) {
            self.owed.add(Owed::ACK);
        }
        self.pacing.on_timeout(now);
        if self.main_deadline().is_some_and(|at| at <= now) {
            self.note_app_limited();
            match self.timer.kind {
                Kind::Off => {}
                Kind::Retransmit => self.on_retransmission_timeout(now),
                Kind::Probe => self.on_probe_timeout(now),
                Kind::Reorder => self.on_reorder_timeout(now),
                Kind::Persist => self.on_persist_timeout(now),
                Kind::FinWait2 | Kind::TimeWait => self.finish(),
            }
        }
        if self.released {
            if self.linger_until.is_some_and(|at| at <= now) {
                self.on_linger_timeout();
            }
        } else if self.keepalive_at().is_some_and(|at| at <= now) {
            self.on_keepalive_timeout(now);
        }
    }

    /// An ICMP error says `what` can't be reached; `hard` if the condition is not
    /// expected to pass.
    ///
    //= rfc5927#section-5.2 (SHOULD)
    // Once synchronised, hard errors are taken for soft ones: a forged message
    // must not end a connection.
    pub fn on_unreachable(&mut self, _now: Instant, what: Unreachable, hard: bool) {
        match self.state {
            State::Closed | State::TimeWait => {}
            State::SynSent | State::SynReceived if hard => self.fail(what.reason()),
            _ => self.soft_error = Some(what),
        }
    }

    //= rfc6298#section-5 (MUST)
    // (5.4) The earliest unacknowledged segment is sent again, the time-out is
    // doubled (5.5) and the timer started anew (5.6).
    fn on_retransmission_timeout(&mut self, now: Instant) {
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        if !self.bears_another(now) {
            return;
        }
        self.retries += 1;
        self.counts.timeouts = self.counts.timeouts.saturating_add(1);
        self.ecn.on_timeout();
        self.rtt.back_off();
        self.guard_flight(now);
        if opening {
            self.syn_lost = true;
            self.owed.add(Owed::SYN);
            return;
        }
        self.shrink_after_timeout(now);
        self.enter_loss(now);
    }

    //= rfc9293#section-3.8.6.1 (MUST)
    // A shut window is probed, less and less often.
    fn on_persist_timeout(&mut self, now: Instant) {
        self.timer = Timer::OFF;
        if !self.is_stuck(now) {
            return;
        }
        if self.corked && self.snd.window_beyond(self.snd.nxt) > 0 {
            // It is the application that keeps it, not the peer.
            self.owed.add(Owed::PROBE);
            self.timer = self.persist_timer(now);
            return;
        }
        if !self.bears_another(now) {
            return;
        }
        self.retries += 1;
        self.rtt.back_off();
        self.owed.add(Owed::PROBE);
        self.timer = self.persist_timer(now);
    }

    /// Something waits, nothing is in flight, and the window does not let it
    /// out: without a probe a lost window update would be a silence for ever.
    #[inline]
    pub(super) fn arm_persist_if_stuck(&mut self, now: Instant) {
        // With nothing in flight and room for a whole segment, something goes.
        let goes = self.recovery.phase == Phase::Open && self.snd.wnd >= u32::from(self.mss) && !self.corked;
        if self.timer.kind == Kind::Off && !goes && self.is_stuck(now) {
            self.timer = self.persist_timer(now);
        }
    }

    pub(super) fn arm_fin_wait_2(&mut self, now: Instant) {
        if self.released {
            self.timer = Timer::fin_wait_2(now + self.config.fin_wait_2);
        }
    }

    /// Whether time, the peer and the application find nothing to be done:
    /// nothing is in flight, waits to be sent, to be read or to be told, nothing
    /// is owed and no loss is being repaired. A wait may run (FIN-WAIT-2,
    /// TIME-WAIT) if it is the application's no more.
    pub(crate) fn is_quiet(&self) -> bool {
        let waits = match self.state {
            State::Established | State::CloseWait => self.timer.kind == Kind::Off && !self.released,
            State::FinWait2 => !self.released || self.timer.kind == Kind::FinWait2,
            State::TimeWait => self.released,
            _ => false,
        };
        waits
            && self.snd.una == self.snd.nxt
            && !self.snd.has_unsent()
            && !self.snd.starved
            && self.rcv.is_drained()
            && self.owed.is_settled()
            && self.events.is_empty()
            && self.recovery.is_silent()
            && self.keepalives == 0
            && self.linger_until.is_none()
            && (self.urgent.is_none() || !self.awaits_urgent())
    }

    /// Since when it has been as it is: the wait's beginning, or the peer's last word.
    pub(crate) fn waited_since(&self) -> Instant {
        let length = match self.timer.kind {
            Kind::FinWait2 => self.config.fin_wait_2,
            Kind::TimeWait => self.config.time_wait,
            _ => return self.heard_at,
        };
        Instant::ZERO + self.timer.at.since(Instant::ZERO + length)
    }

    /// Something is in flight, and the retransmission timer starts anew.
    pub(crate) fn guard_flight(&mut self, now: Instant) {
        self.rto_at = now + self.wait_at_most(now, self.rtt.rto());
        self.timer = Timer::retransmit(self.rto_at);
    }

    /// The later of the two moments that this end knows of without a clock.
    pub(super) fn last_activity(&self) -> Instant {
        self.heard_at.max(self.sent_at)
    }

    fn persist_timer(&self, now: Instant) -> Timer {
        let wait = if self.corked && self.snd.window_beyond(self.snd.nxt) > 0 {
            CORK_MAX
        } else {
            self.wait_at_most(now, self.rtt.rto())
        };
        Timer {
            at: now + wait,
            kind: Kind::Persist,
        }
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.snd.una == self.snd.nxt
            && self.snd.has_unsent()
            && self.state.can_transmit()
            && self.pick(now, self.smss()).is_none()
    }
}
