//! What the peer's acknowledgment, window and SACK blocks mean.
//!
//! Read first: RFC 9293 section 3.10.7.4 (fifth), RFC 5961 section 5,
//! RFC 5681 section 3.2, RFC 6582, RFC 6675.

use crore_base::{DropReason, Duration, Instant, SeqNum};
use crore_wire::Segment;

use super::{Connection, Owed, Stall, Timer};
use crate::State;
use crate::congestion::Acked;
use crate::event::PendingEvents;
use crate::recovery::Phase;
use crate::sack::DUP_THRESH;

impl Connection {
    /// The acknowledgment of a segment in a synchronised state, whose text and
    /// FIN take `len` numbers from `seq` on.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        seg: &Segment,
        seq: SeqNum,
        len: u32,
    ) -> Option<DropReason> {
        let ack = seg.ack;
        //= rfc5961#section-5.2 (MUST)
        // What acknowledges something never sent, or is older than any window
        // that the peer ever had, is challenged and dropped.
        if ack.after(self.snd.nxt) || ack.before(self.snd.una - self.snd.max_wnd) {
            self.owed.add_challenge(now);
            return Some(DropReason::UnacceptableAck);
        }
        if ack.before(self.snd.una) {
            // An old acknowledgment says nothing, but its text may be new.
            return None;
        }
        if self.ecn.is_echo(seg) && self.ecn.on_echo(ack, self.snd.nxt) {
            self.congestion.on_ecn(now, self.snd.flight());
        }
        let was_shut = self.snd.wnd == 0;
        let sack_news = !seg.options.sack.is_empty() && self.on_sack_blocks(seg);
        let window = u32::from(seg.window) << self.snd.scale.shift();
        if ack == self.snd.una {
            let window_changed = self.snd.update_window(seq, ack, window);
            let plain = len == 0 && !window_changed && seg.options.sack.is_empty();
            if self.snd.una != self.snd.nxt && (sack_news || (plain && !was_shut)) {
                self.on_duplicate_ack(now, sack_news);
            }
        } else {
            self.on_new_ack(now, seg);
            // What acknowledges more is newer in that respect, even if its own
            // number is older (a retransmission): the old window, counted from
            // the new `una`, would reach beyond what the peer ever allowed.
            self.snd.set_window(seq, ack, window);
        }
        if self.snd.wnd == 0 || was_shut {
            self.on_window_at_zero(now, was_shut);
        }
        self.after_ack(now);
        None
    }

    fn on_sack_blocks(&mut self, seg: &Segment) -> bool {
        if !self.sack {
            return false;
        }
        let una = seg.ack;
        let mut news = false;
        for (left, right) in seg.options.sack.iter() {
            news |= self.scoreboard.record(una, self.snd.nxt, left, right);
        }
        news
    }

    /// `una` moves.
    pub(super) fn on_new_ack(&mut self, now: Instant, seg: &Segment) {
        let ack = seg.ack;
        let flight = self.snd.flight();
        let acked = self.snd.una.distance_to(ack);
        let limited = self.congestion.is_limiting(self.snd.una, self.snd.nxt, flight);
        let echoed = self.echoed_round_trip(now, seg);
        let rtt = self.rtt.on_ack(ack, now, echoed);
        self.snd.acknowledge(ack);
        self.scoreboard.advance(ack);
        self.retries = 0;
        self.soft_error = None;
        //= rfc6298#section-5.2 (RECOMMENDED)
        // When all is acknowledged, the timer is off; when some is (5.3), it
        // starts anew.
        self.timer = if self.snd.una == self.snd.nxt {
            Timer::OFF
        } else {
            Timer::retransmit(now + self.rtt.rto())
        };
        let acked = Acked {
            now,
            acked,
            una: ack,
            nxt: self.snd.nxt,
            rtt,
            srtt: self.rtt.srtt(),
            //= rfc3168#section-6.1.2 (MUST)
            // What tells of a mark lets nothing grow.
            limited: limited && !self.ecn.is_echo(seg),
            after_timeout: self.recovery.phase == Phase::Resend,
        };
        match self.recovery.phase {
            Phase::Open => {
                self.recovery.dup_acks = 0;
                self.congestion.on_ack(&acked);
                self.enter_recovery_if_lost(now);
            }
            Phase::Fast => self.on_ack_in_recovery(acked.acked),
            Phase::Resend => {
                self.congestion.on_ack(&acked);
                self.recovery.resend = self.recovery.resend.max(ack);
                if ack.at_or_after(self.recovery.recover) {
                    self.recovery.leave();
                }
            }
        }
        self.recovery.on_progress(ack);
        if self.snd.may_wake_writer() {
            self.snd.starved = false;
            self.events.add(PendingEvents::WRITABLE);
        }
    }

    /// In fast recovery `acked` bytes were acknowledged: all that was out when
    /// it began, or a part.
    fn on_ack_in_recovery(&mut self, acked: u32) {
        let smss = self.smss();
        let una = self.snd.una;
        if una.at_or_after(self.recovery.recover) {
            if !self.sack {
                self.congestion.on_recovered(self.snd.flight());
            }
            self.recovery.leave();
            return;
        }
        if self.sack {
            self.measure_pipe();
        } else {
            //= rfc6582#section-3.2 (SHOULD)
            // A partial acknowledgment shows the next hole: it is filled at
            // once, and the window falls by what was acknowledged, less the one
            // segment that has left.
            self.recovery.head_owed = true;
            let inflation = self.recovery.inflation.saturating_sub(acked);
            self.recovery.inflation = if acked >= smss {
                inflation + smss
            } else {
                inflation
            };
        }
    }

    /// An acknowledgment that moves nothing while data is out: something has
    /// arrived beyond a hole.
    fn on_duplicate_ack(&mut self, now: Instant, sack_news: bool) {
        match self.recovery.phase {
            Phase::Open => {
                self.recovery.dup_acks = self.recovery.dup_acks.saturating_add(1);
                self.enter_recovery_if_lost(now);
            }
            Phase::Fast if self.sack => {
                if sack_news {
                    self.measure_pipe();
                }
            }
            //= rfc5681#section-3.2 (MUST)
            // Each further one says that a segment has left the network.
            Phase::Fast => {
                let most = self.snd.flight();
                self.recovery.inflation = (self.recovery.inflation + self.smss()).min(most);
            }
            Phase::Resend => {}
        }
    }

    //= rfc6675#section-5 (MUST)
    // Recovery begins with the third duplicate acknowledgment, or as soon as
    // the scoreboard shows the first byte lost.
    fn enter_recovery_if_lost(&mut self, now: Instant) {
        let smss = self.smss();
        let una = self.snd.una;
        let lost = u32::from(self.recovery.dup_acks) >= DUP_THRESH
            || self
                .scoreboard
                .lost_edge(smss)
                .is_some_and(|edge| edge.after(una));
        if !lost || una == self.snd.nxt || (!self.sack && self.recovery.bars_fast_retransmit(una)) {
            return;
        }
        self.congestion.on_loss(now, self.snd.flight());
        self.ecn.on_window_reduced(self.snd.nxt);
        let inflation = if self.sack { 0 } else { DUP_THRESH * smss };
        self.recovery.enter_fast(una, self.snd.nxt, inflation);
        self.measure_pipe();
        self.counts.fast_recoveries += 1;
    }

    pub(super) fn measure_pipe(&mut self) {
        let (una, nxt, high_rxt) = (self.snd.una, self.snd.nxt, self.recovery.high_rxt);
        let pipe = self.scoreboard.pipe(una, nxt, self.smss(), high_rxt);
        self.recovery.pipe = pipe;
    }

    /// The window is shut, or was until now.
    fn on_window_at_zero(&mut self, now: Instant, was_shut: bool) {
        //= rfc9293#section-3.8.6.1 (MUST)
        // A peer that answers probes is alive, however long its window stays shut.
        self.retries = 0;
        if !was_shut || self.snd.wnd == 0 {
            return;
        }
        // It opens: whatever was out when it was shut (a probe, as a rule) was
        // thrown away, and is sent again without waiting for a timer.
        self.rtt.forget_backoff();
        self.stall = Stall::NONE;
        self.owed.pay(Owed::PROBE);
        if self.snd.una == self.snd.nxt {
            self.timer = Timer::OFF;
        } else {
            self.recovery.enter_resend(self.snd.una, self.snd.nxt);
            self.rtt.on_retransmitted();
            self.timer = Timer::retransmit(now + self.rtt.rto());
        }
    }

    //= rfc9293#section-3.10.7.4 (MUST)
    // What an acknowledgment of our FIN brings.
    fn after_ack(&mut self, now: Instant) {
        if !self.snd.fin_acked() {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.arm_fin_wait_2(now);
            }
            State::Closing => self.enter_time_wait(now),
            State::LastAck => self.finish(),
            _ => {}
        }
    }

    /// The round trip that the segment's timestamp echo tells.
    pub(super) fn echoed_round_trip(&self, now: Instant, seg: &Segment) -> Option<Duration> {
        match seg.options.timestamps {
            Some(timestamps) if self.ts.enabled => self.ts.round_trip(now, timestamps.echo),
            _ => None,
        }
    }
}
