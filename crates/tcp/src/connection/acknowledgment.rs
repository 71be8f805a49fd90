//! What the peer's acknowledgment, window and SACK blocks mean.
//!
//! Read first: RFC 9293 section 3.10.7.4 (fifth), RFC 5961 section 5,
//! RFC 2018, RFC 2883. What it says of losses is the business of `loss.rs`.

use crore_base::{DropReason, Instant, SeqNum};
use crore_wire::{SackBlocks, Segment};

use super::{Connection, Owed, Stall, Timer};
use crate::congestion::Acked;
use crate::event::PendingEvents;
use crate::recovery::{News, Phase};
use crate::{EcnMode, State};

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
        self.note_app_limited();
        let was_shut = self.snd.wnd == 0;
        let flight = self.snd.flight();
        let window = u32::from(seg.window) << self.snd.scale.shift();
        let progress = ack != self.snd.una;
        let mut news = News::default();
        if progress {
            self.take_progress(now, seg, &mut news);
        }
        let of_probe = self.sack && self.take_sack_blocks(now, seg, &mut news);
        if self.ecn.mode() != EcnMode::Off {
            self.on_ecn_feedback(now, seg, flight, &news);
        }
        let window_changed = if progress {
            // What acknowledges more is newer in that respect, even if its own
            // number is older (a retransmission): the old window, counted from
            // the new `una`, would reach beyond what the peer ever allowed.
            self.snd.set_window(seq, ack, window)
        } else {
            self.snd.update_window(seq, ack, window)
        };
        let bare = !progress && len == 0 && !window_changed && seg.options.sack.is_empty();
        let arrived = Arrived {
            progress,
            bare,
            duplicate: !progress && flight > 0 && (news.bytes > 0 || (bare && !was_shut)),
            of_probe,
            flight,
        };
        self.on_news(now, seg, &arrived, &news);
        if self.snd.wnd == 0 || was_shut {
            self.on_window_at_zero(now, was_shut);
        }
        self.wake_writer();
        self.after_ack(now);
        None
    }

    /// `una` moves, where nothing hints at a loss.
    #[inline]
    pub(super) fn on_expected_ack(&mut self, now: Instant, seg: &Segment) {
        self.note_app_limited();
        let flight = self.snd.flight();
        let mut news = News::default();
        self.take_progress(now, seg, &mut news);
        if self.congestion.is_model() {
            self.tell_model_of_news(now, &news);
        } else {
            self.grow(now, flight, false, &news);
        }
        self.guard_after_ack(now, true, None);
        self.wake_writer();
    }

    /// `una` moves: what has arrived by that, and how long it took.
    #[inline]
    pub(super) fn take_progress(&mut self, now: Instant, seg: &Segment, news: &mut News) {
        let ack = seg.ack;
        let echo = self.echo(seg);
        // The usual burst is sent once, and alone in flight: no list is walked for it.
        match self.sent.take_lone_burst(ack) {
            Some(run) => {
                news.add(&run, self.recovery.recover);
                self.congestion.on_run_delivered(now, &run);
                self.rack.on_arrival(now, &run, |_| false);
            }
            None => self.take_arrived(now, ack, echo, news),
        }
        self.rack.on_progress(ack);
        let echoed = echo.and_then(|echo| self.ts.round_trip(now, echo));
        let measured = news.timed.map(|(first, _)| now.since(first));
        self.rtt.on_ack(ack, self.snd.nxt, measured, echoed);
        self.snd.acknowledge(ack);
        self.recovery.on_progress(ack);
        if self.path_mtu.wants_acked() {
            self.watch_acked(now);
        }
        self.retries = 0;
        self.soft_error = None;
    }

    /// All before `ack` has arrived, in whatever bursts it was sent.
    #[inline(never)]
    fn take_arrived(&mut self, now: Instant, ack: SeqNum, echo: Option<u32>, news: &mut News) {
        let (ts, recover) = (self.ts, self.recovery.recover);
        let (rack, congestion) = (&mut self.rack, &mut self.congestion);
        self.sent.acknowledge(ack, |run| {
            news.add(run, recover);
            congestion.on_run_delivered(now, run);
            rack.on_arrival(now, run, |at| echo.is_some_and(|echo| ts.echoes_before(echo, at)));
        });
    }

    //= rfc3042#section-2 (MUST)
    // What is only SACKed does not widen the window until it is acknowledged.
    /// Tells congestion control of what was acknowledged, `flight` bytes having
    /// been out until then; `marked` if the peer told of a mark with it.
    #[inline]
    pub(super) fn grow(&mut self, now: Instant, flight: u32, marked: bool, news: &News) {
        let was_una = self.snd.nxt - flight;
        let limited = self.congestion.is_limiting(was_una, self.snd.nxt, flight);
        let acked = Acked {
            now,
            acked: flight - self.snd.flight(),
            una: self.snd.una,
            nxt: self.snd.nxt,
            rtt: news.timed.map(|(_, last)| now.since(last)),
            srtt: self.rtt.srtt(),
            //= rfc3168#section-6.1.2 (SHOULD NOT)
            // What tells of a mark lets nothing grow.
            limited: limited && !marked,
            after_timeout: self.recovery.phase == Phase::Loss,
        };
        self.congestion.on_ack(&acked);
    }

    #[inline]
    pub(super) fn wake_writer(&mut self) {
        if self.snd.may_wake_writer() {
            self.snd.starved = false;
            self.events.add(PendingEvents::WRITABLE);
        }
    }

    /// What the SACK blocks say: whether a tail loss probe came twice.
    fn take_sack_blocks(&mut self, now: Instant, seg: &Segment, news: &mut News) -> bool {
        let una = seg.ack;
        let mut told = seg.options.sack.iter();
        let mut of_probe = false;
        if let Some(first) = dsack(una, told.clone()) {
            of_probe = self.on_dsack(first);
            told.next();
        }
        let mut blocks = [(una, una); SackBlocks::MAX];
        let mut count = 0;
        for block in told {
            blocks[count] = block;
            count += 1;
        }
        // From low to high, or what is told later would seem to come out of order.
        let blocks = &mut blocks[..count];
        blocks.sort_unstable_by_key(|block| una.distance_to(block.0));
        let echo = self.echo(seg);
        let (ts, recover) = (self.ts, self.recovery.recover);
        let (rack, congestion) = (&mut self.rack, &mut self.congestion);
        for &(left, right) in &*blocks {
            self.sent.sack(left, right, |run| {
                news.add(run, recover);
                congestion.on_run_delivered(now, run);
                rack.on_arrival(now, run, |at| echo.is_some_and(|echo| ts.echoes_before(echo, at)));
            });
        }
        of_probe
    }

    /// Something came twice. Says whether it was a tail loss probe.
    fn on_dsack(&mut self, (left, right): (SeqNum, SeqNum)) -> bool {
        let oldest = self.snd.una - self.snd.max_wnd;
        if !left.before(right) || left.before(oldest) || right.after(self.snd.nxt) {
            return false;
        }
        self.counts.duplicates = self.counts.duplicates.saturating_add(1);
        if self
            .recovery
            .probe
            .is_some_and(|probe| probe.again && probe.end == right)
        {
            return true;
        }
        self.rack.on_dsack(self.snd.una, self.snd.nxt);
        self.recovery.episode.on_dsack(left, right);
        false
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
            self.resend_all(now);
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

    /// The timestamp of ours that the segment echoes.
    #[inline]
    fn echo(&self, seg: &Segment) -> Option<u32> {
        match seg.options.timestamps {
            Some(timestamps) if self.ts.enabled => Some(timestamps.echo),
            _ => None,
        }
    }
}

/// How an acknowledgment stands to those before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// It acknowledges more.
    pub(super) progress: bool,
    /// It says nothing at all: no text, no other window, no SACK block.
    pub(super) bare: bool,
    /// It says that something has arrived beyond a hole.
    pub(super) duplicate: bool,
    /// It says that a tail loss probe came twice.
    pub(super) of_probe: bool,
    /// What was in flight until it came, in bytes.
    pub(super) flight: u32,
}

//= rfc2883#section-4 (MUST)
// The first block reports a duplicate if it lies below the acknowledgment, or
// within the second block.
fn dsack(una: SeqNum, mut blocks: impl Iterator<Item = (SeqNum, SeqNum)>) -> Option<(SeqNum, SeqNum)> {
    let first = blocks.next()?;
    let is_duplicate = first.1.at_or_before(una)
        || blocks
            .next()
            .is_some_and(|(left, right)| left.at_or_before(first.0) && first.1.at_or_before(right));
    is_duplicate.then_some(first)
}
