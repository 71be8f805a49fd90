//! How losses are found, repaired, and found to have been none.
//!
//! Read first: RFC 8985 (RACK and tail loss probes), RFC 6298 section 5 (the
//! timer), RFC 6582 (without SACK), RFC 3522, 4015 and 5682 (false recoveries).
//!
//! Always true: nothing stays marked lost but in a recovery; while something is
//! in flight, one of three timers runs: that of the reordering window, of the
//! tail loss probe, or of the retransmission, and none later than the last.

use crore_base::{Duration, Instant};
use crore_wire::Segment;

use super::acknowledgment::Arrived;
use super::{Connection, Timer};
use crate::EcnMode;
use crate::recovery::{DUP_THRESH, Frto, News, Phase};
use crate::sent::Run;

/// How long a peer may hold back the acknowledgment of a lone segment: as long
/// as the usual systems do at most (TLP.max_ack_delay of RFC 8985).
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);

/// Added to two round trips where more is in flight: a peer's clock that ticks
/// in milliseconds, and a busy turn of its loop, are no loss of the tail.
const PROBE_SLACK: Duration = Duration::from_millis(2);

/// When the first probe is sent where no round trip was measured (RFC 8985 section 7.2).
const PROBE_UNMEASURED: Duration = Duration::from_secs(1);

impl Connection {
    /// An acknowledgment has told `news`, or is a duplicate: what is lost now?
    pub(super) fn on_news(&mut self, now: Instant, seg: &Segment, ack: &Arrived, news: &News) {
        let marked = self.ecn.is_echo(seg);
        self.settle_probe(now, seg, ack);
        let undone = self.is_false_loss(now, seg, ack, news);
        if undone {
            self.undo();
        }
        if self.snd.una == self.snd.nxt && !ack.progress {
            return;
        }
        if ack.progress && self.sent.head().is_some_and(|head| head.is_sacked()) {
            self.on_reneging(now);
        }
        if ack.duplicate && !self.sack {
            let (smss, flight) = (self.smss(), self.snd.flight());
            self.congestion.on_duplicate(now, smss, flight);
        }
        let was_lost = self.sent.lost();
        let wait = self.mark_lost(now);
        let is_safe = ack.progress && self.sent.lost() == was_lost;
        match self.recovery.phase {
            Phase::Open => {
                if ack.duplicate {
                    self.recovery.dup_acks = self.recovery.dup_acks.saturating_add(1);
                } else if ack.progress {
                    self.recovery.dup_acks = 0;
                }
                if !self.enter_fast_if_lost(now, news) && ack.progress && !self.congestion.is_model() {
                    self.grow(now, ack.flight, marked, news);
                }
            }
            Phase::Fast if self.sack => {
                self.recovery.prr.on_ack(
                    news.bytes,
                    self.pipe(),
                    self.congestion.threshold(),
                    self.smss(),
                    is_safe,
                );
                self.leave_if_repaired(now, news);
            }
            Phase::Fast => self.on_ack_without_sack(now, ack),
            Phase::Loss => {
                self.step_frto(ack);
                self.recovery.head_owed &= !ack.progress;
                if ack.progress && !self.congestion.is_model() {
                    self.grow(now, ack.flight, marked, news);
                }
                self.leave_if_repaired(now, news);
            }
        }
        if news.bytes > 0 && self.congestion.is_model() {
            self.tell_model_of_news(now, news);
        }
        self.guard_after_ack(now, ack.progress || undone, wait);
    }

    /// Fast recovery without SACK goes on, or is over.
    fn on_ack_without_sack(&mut self, now: Instant, ack: &Arrived) {
        let smss = self.smss();
        if !ack.progress {
            //= rfc5681#section-3.2 (MUST)
            // Each further duplicate says that a segment has left the network.
            if ack.duplicate {
                let most = self.snd.flight();
                self.recovery.inflation = (self.recovery.inflation + smss).min(most);
            }
            return;
        }
        if self.snd.una.at_or_after(self.recovery.recover) {
            self.congestion.on_recovered(self.snd.flight());
            self.leave_recovery();
            return;
        }
        //= rfc6582#section-3.2 (SHOULD)
        // A partial acknowledgment shows the next hole: it is filled at once, and
        // the window falls by what was acknowledged, less the one segment that
        // has left.
        self.tell_model_of_lost_head(now);
        self.recovery.head_owed = true;
        let acked = ack.flight.saturating_sub(self.snd.flight());
        let inflation = self.recovery.inflation.saturating_sub(acked);
        self.recovery.inflation = if acked >= smss {
            inflation + smss
        } else {
            inflation
        };
    }

    /// Marks what time and later arrivals show to be lost, and says after what
    /// time more may be.
    fn mark_lost(&mut self, now: Instant) -> Option<Duration> {
        if !self.sack {
            return None;
        }
        let window = self.reordering_window();
        let congestion = &mut self.congestion;
        let told = |run: &Run| congestion.on_run_lost(now, run);
        self.rack.mark_lost(now, &mut self.sent, window, told)
    }

    //= rfc8985#section-6.2 (MUST)
    // While no reordering was seen, three duplicates' worth of SACKs are waited
    // for no longer than RFC 6675 would: three ranges, or more than two segments.
    fn reordering_window(&self) -> Duration {
        let threshold = DUP_THRESH as usize;
        let is_sure = self.recovery.phase != Phase::Open
            || usize::from(self.recovery.dup_acks) >= threshold
            || self.sent.sacked() > (DUP_THRESH - 1) * self.smss()
            || self.sent.has_ranges(threshold);
        self.rack.reordering_window(is_sure, self.rtt.srtt())
    }

    /// Whether fast recovery has begun.
    //= rfc5681#section-3.2 (SHOULD)
    // It begins with the third duplicate acknowledgment, where no SACK tells
    // more; with SACK, as soon as something is known to be lost.
    fn enter_fast_if_lost(&mut self, now: Instant, news: &News) -> bool {
        let una = self.snd.una;
        let third = u32::from(self.recovery.dup_acks) >= DUP_THRESH && una != self.snd.nxt;
        if self.sack {
            // A peer that permits SACK and sends none.
            if third && self.sent.sacked() == 0 && !self.recovery.bars_fast_retransmit(una) {
                let (smss, congestion) = (self.smss(), &mut self.congestion);
                self.sent
                    .mark_head_lost(smss, |run| congestion.on_run_lost(now, run));
            }
            if self.sent.lost() == 0 {
                return false;
            }
        } else if !third || self.recovery.bars_fast_retransmit(una) {
            return false;
        }
        if self.only_a_try_is_lost(now) {
            self.recovery.enter_loss(una, self.snd.nxt, false);
            self.recovery.episode.close();
            // What a model was told of it was no congestion.
            if self.congestion.is_model() {
                self.congestion.undo();
            }
            return true;
        }
        //= rfc3168#section-6.1.2 (SHOULD)
        // A mark may have reduced the window in which this was sent: once is enough.
        if self.ecn.mode() == EcnMode::Off || !self.ecn.has_reduced(una, self.snd.nxt) {
            //= rfc5681#section-3.2 (MUST)
            // What left beyond the window, while the reordering window was waited for
            // or for the first duplicates (RFC 3042), is no part of what is reduced.
            let flight = self.snd.flight().min(self.congestion.window());
            self.congestion.on_loss(now, flight);
            self.ecn.on_window_reduced(self.snd.nxt);
        }
        //= rfc9937#section-6.1 (MUST)
        // What was SACKed before does not count as in flight at the beginning,
        // what this acknowledgment reports does.
        let flight = self.snd.flight() - self.sent.sacked() + news.bytes;
        self.recovery.enter_fast(una, self.snd.nxt, flight);
        self.counts.fast_recoveries = self.counts.fast_recoveries.saturating_add(1);
        if self.sack {
            let (pipe, threshold, smss) = (self.pipe(), self.congestion.threshold(), self.smss());
            self.recovery.prr.on_ack(news.bytes, pipe, threshold, smss, false);
        } else {
            self.tell_model_of_lost_head(now);
            self.recovery.head_owed = true;
            self.recovery.inflation = DUP_THRESH * self.smss();
        }
        true
    }

    /// The recovery is over when all that was out at its beginning is
    /// acknowledged. What was lost of that sent since then begins another.
    fn leave_if_repaired(&mut self, now: Instant, news: &News) {
        if self.snd.una.before(self.recovery.recover) {
            return;
        }
        self.rack.on_recovered();
        self.leave_recovery();
        self.enter_fast_if_lost(now, news);
    }

    //= rfc8985#section-7.4.2 (MUST)
    // What was in flight at the probe is acknowledged. If the probe was new data,
    // or a duplicate as the peer says, nothing was lost; else it has repaired a
    // loss that nothing else will show, and congestion control is told of it.
    fn settle_probe(&mut self, now: Instant, seg: &Segment, ack: &Arrived) {
        let Some(probe) = self.recovery.probe else { return };
        if seg.ack.before(probe.end) {
            return;
        }
        let was_duplicate = ack.of_probe || ack.bare;
        if !probe.again || was_duplicate || seg.ack.after(probe.end) {
            self.recovery.probe = None;
            if probe.again && !was_duplicate {
                self.congestion.on_probe_loss(now, ack.flight);
                self.ecn.on_window_reduced(self.snd.nxt);
            }
        }
    }

    /// Whether the recovery under way, or the last one, was for nothing.
    fn is_false_loss(&self, now: Instant, seg: &Segment, ack: &Arrived, news: &News) -> bool {
        let recovery = &self.recovery;
        //= rfc2883#section-5 (MAY)
        // All that was sent again was there already.
        if recovery.episode.was_in_vain() {
            return true;
        }
        if recovery.phase == Phase::Open {
            return false;
        }
        //= rfc3522#section-3.2 (MUST)
        // The acknowledgment that moves on answers what was sent before the
        // first retransmission.
        let was_una = self.snd.nxt - ack.flight;
        if ack.progress
            && let (Some(first), Some(timestamps)) =
                (recovery.episode.first_resent(was_una), seg.options.timestamps)
            && self.ts.round_trip(now, timestamps.echo).is_some()
        {
            return self.ts.enabled && crate::timestamps::is_older(timestamps.echo, first);
        }
        //= rfc5682#section-3.1 (SHOULD)
        // With SACK, whatever arrives that was not sent again says that the
        // first copies are on their way; without (section 2.1), it is what the
        // second acknowledgment moves over.
        news.original
            && self.snd.una.before(recovery.recover)
            && match recovery.frto {
                Frto::Off => false,
                Frto::Asked => self.sack,
                Frto::Probing => ack.progress,
            }
    }

    //= rfc4015#section-3.1 (MAY)
    // A loss that was none: the window is what it was, what was marked lost is
    // in flight, and new data goes on.
    fn undo(&mut self) {
        if self.congestion.undo() {
            self.ecn.on_reduction_undone(self.snd.una);
        }
        self.counts.spurious = self.counts.spurious.saturating_add(1);
        if self.recovery.episode.timed_out {
            self.rtt.forget_backoff();
        } else {
            // The path has held back what it did not lose.
            self.rack.reordering_seen = true;
        }
        self.recovery.episode.close();
        if self.recovery.phase != Phase::Open {
            self.sent.unmark_lost();
            self.leave_recovery();
        }
    }

    fn leave_recovery(&mut self) {
        self.recovery.leave(self.snd.nxt);
        self.congestion.on_repaired();
    }

    //= rfc5682#section-2.1 (SHOULD)
    // The first acknowledgment after a time-out, if it moves on but not over
    // all, is followed by new data; if it does not, or there is none, by what
    // was lost, as ever.
    fn step_frto(&mut self, ack: &Arrived) {
        let new_may_go = self.snd.unsent_data() > 0 && self.snd.window_beyond(self.snd.nxt) > 0;
        let asks_on = self.recovery.frto == Frto::Asked
            && !self.sack
            && ack.progress
            && self.snd.una.before(self.recovery.recover)
            && new_may_go;
        //= rfc5682#section-2.1 (MUST)
        // A duplicate instead of progress: the time-out was right. Two new segments
        // are out, beside which one at least of what was lost has to find room.
        if self.recovery.frto == Frto::Probing && !ack.progress {
            self.congestion.resume(Some(3), None);
        }
        self.recovery.frto = if asks_on { Frto::Probing } else { Frto::Off };
    }

    //= rfc6298#section-5 (MUST)
    // (5.4) After a time-out the earliest unacknowledged segment is sent again.
    pub(super) fn enter_loss(&mut self, now: Instant) {
        // At a shut window it is a probe that was not acknowledged: the network
        // is not to blame.
        if self.snd.wnd > 0 {
            self.congestion
                .on_timeout(now, self.snd.flight(), self.retries == 1);
            self.ecn.on_window_reduced(self.snd.nxt);
        }
        if self.sent.head().is_some_and(|head| head.is_sacked()) {
            self.sent.forget_sacks();
        }
        self.mark_lost_on_timeout(now);
        let again = self.recovery.phase == Phase::Loss && self.retries > 1;
        self.recovery.enter_loss(self.snd.una, self.snd.nxt, again);
        self.recovery.head_owed = true;
        if !again && !self.ts.enabled && self.snd.wnd > 0 {
            self.recovery.frto = Frto::Asked;
        }
    }

    fn mark_lost_on_timeout(&mut self, now: Instant) {
        let (window, smss, is_probe) = (self.reordering_window(), self.smss(), self.snd.wnd == 0);
        let congestion = &mut self.congestion;
        let mut told = |run: &Run| {
            if !is_probe {
                congestion.on_run_lost(now, run);
            }
        };
        if self.sack {
            self.rack
                .mark_lost_on_timeout(now, &mut self.sent, window, smss, told);
        } else {
            self.sent.mark_any_lost(|run| {
                told(run);
                true
            });
        }
        if self.snd.wnd > 0 {
            self.congestion.on_timeout_judged(self.pipe());
        }
    }

    //= rfc2018#section-8 (MUST)
    // Acknowledged up to what it had SACKed, and not over it: the receiver has
    // dropped that. Nothing but the cumulative acknowledgment counts any more.
    fn on_reneging(&mut self, now: Instant) {
        self.sent.forget_sacks();
        if self.recovery.phase == Phase::Loss {
            self.sent.mark_any_lost(|_| true);
        } else {
            self.resend_all(now);
        }
    }

    /// All that is in flight was thrown away, as is known from elsewhere, and
    /// not by congestion.
    pub(super) fn resend_all(&mut self, now: Instant) {
        self.sent.mark_any_lost(|_| true);
        self.recovery.enter_loss(self.snd.una, self.snd.nxt, false);
        self.recovery.episode.close();
        self.guard_flight(now);
    }

    //= rfc8985#section-6.2 (MUST)
    // Step 5: what had not arrived when the window had passed is lost.
    pub(super) fn on_reorder_timeout(&mut self, now: Instant) {
        let was_lost = self.sent.lost();
        let wait = self.mark_lost(now);
        match self.recovery.phase {
            Phase::Open => {
                self.enter_fast_if_lost(now, &News::default());
            }
            Phase::Fast if self.sent.lost() > was_lost => {
                let (pipe, smss) = (self.pipe(), self.smss());
                self.recovery.prr.on_timer(pipe, smss);
            }
            Phase::Fast | Phase::Loss => {}
        }
        self.guard(now, wait);
    }

    //= rfc8985#section-7.3 (MUST)
    // The tail is probed, once, and after that the retransmission timer runs.
    pub(super) fn on_probe_timeout(&mut self, now: Instant) {
        self.recovery.probe_owed = self.may_probe();
        self.guard_flight(now);
    }

    /// Something was sent; the retransmission timer starts anew if `restart`.
    #[inline(always)]
    pub(super) fn guard_sent(&mut self, now: Instant, restart: bool) {
        if restart || !self.timer.guards_flight() {
            self.rto_at = now + self.wait_at_most(now, self.rtt.rto());
        }
        if !self.timer.is_reorder() {
            self.guard(now, None);
        }
    }

    //= rfc6298#section-5 (RECOMMENDED)
    // (5.2) When all is acknowledged, the timer is off; when some is (5.3), it starts
    // anew.
    #[inline]
    pub(super) fn guard_after_ack(&mut self, now: Instant, progress: bool, wait: Option<Duration>) {
        if self.snd.una == self.snd.nxt {
            self.recovery.probe_owed = false;
            if progress {
                self.timer = Timer::OFF;
            }
            return;
        }
        if progress {
            self.rto_at = now + self.rtt.rto();
        }
        // A duplicate does not put the probe off.
        if progress || !self.timer.is_probe() || !self.may_probe() {
            self.guard(now, wait);
        }
    }

    /// Sets the timer that is due first; `wait` is for the reordering window.
    #[inline]
    fn guard(&mut self, now: Instant, wait: Option<Duration>) {
        self.timer = match wait {
            Some(wait) if now + wait < self.rto_at => Timer::reorder(now + wait),
            None if self.may_probe() => Timer::probe(self.probe_at(now).min(self.rto_at)),
            _ => Timer::retransmit(self.rto_at),
        };
    }

    //= rfc8985#section-7.2 (MUST)
    // A probe needs SACK, is not sent while a loss is suspected or repaired, nor
    // while an earlier one is not settled.
    #[inline]
    fn may_probe(&self) -> bool {
        self.sack
            && self.recovery.is_calm()
            && !self.recovery.probe_owed
            && self.sent.sacked() == 0
            && self.snd.wnd > 0
            && self.state.can_transmit()
    }

    //= rfc8985#section-7.2 (SHOULD)
    // Two round trips, and the peer's delay where one segment is in flight; one
    // second where none was measured.
    #[inline]
    fn probe_at(&self, now: Instant) -> Instant {
        let Some(srtt) = self.rtt.srtt() else {
            return now + PROBE_UNMEASURED;
        };
        let delay = if self.snd.flight() <= self.smss() {
            MAX_ACK_DELAY
        } else {
            PROBE_SLACK
        };
        now + srtt.saturating_mul(2) + delay
    }

    /// What is in flight, as far as is known: neither SACKed nor lost.
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        self.snd.flight() - self.sent.sacked() - self.sent.lost()
    }
}
