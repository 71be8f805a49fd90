//! Which bytes go next: lost ones, new ones, or none.
//!
//! Read first: RFC 9293 section 3.8.6.2.1 (silly windows, sender), RFC 6582,
//! RFC 3042 (limited transmit), RFC 8985 section 7.3 (the tail loss probe).

use crore_base::{Instant, SeqNum};

use super::Connection;
use crate::State;
use crate::recovery::{Frto, Phase};

/// A stretch of the sequence space to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pick {
    pub(super) seq: SeqNum,
    /// Data bytes.
    pub(super) len: u32,
    /// Our FIN follows them.
    pub(super) fin: bool,
    pub(super) why: Why,
}

/// Why it is sent, which decides what its sending changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// It was never sent.
    New,
    /// The first unacknowledged bytes, by fast retransmit.
    Head,
    /// The first bytes that are lost.
    Lost,
    /// The tail loss probe.
    Tail,
    /// The window is probed.
    Probe,
}

impl Connection {
    /// What to send next in a segment with room for `room` bytes.
    #[inline(always)]
    pub(super) fn pick(&self, now: Instant, room: u32) -> Option<Pick> {
        if !self.recovery.is_silent() {
            return self.pick_in_recovery(room);
        }
        if !self.snd.has_unsent() {
            return None;
        }
        // What is sent before the SYN is acknowledged (RFC 7413) has a whole window.
        let syn = u32::from(self.state == State::SynReceived);
        let in_flight = self.pipe().saturating_sub(syn);
        self.pick_new(self.open_window(now).saturating_sub(in_flight), room)
    }

    //= rfc3042#section-2 (SHOULD)
    // The first two duplicate acknowledgments let one new segment out each, to
    // find out whether a third one comes. (What is SACKed is in flight no more,
    // which lets out as much.)
    #[inline]
    fn open_window(&self, now: Instant) -> u32 {
        let window = self.window_at(now);
        if self.recovery.dup_acks == 0 || self.sent.sacked() > 0 {
            return window;
        }
        window + u32::from(self.recovery.dup_acks.min(2)) * self.smss()
    }

    #[inline(never)]
    fn pick_in_recovery(&self, room: u32) -> Option<Pick> {
        let recovery = &self.recovery;
        match recovery.phase {
            Phase::Open => self.pick_tail(room),
            //= rfc9937#section-6.3 (MUST)
            // A segment leaves whole, however little of it is allowed: the rest
            // is taken from the next one's share.
            Phase::Fast if self.sack => match self.recovery_budget() {
                0 => None,
                budget => self
                    .pick_lost(room, Why::Lost)
                    .or_else(|| self.pick_new(budget.max(room), room)),
            },
            Phase::Fast if recovery.head_owed => self.pick_again(self.snd.una, self.snd.nxt, room, Why::Head),
            Phase::Fast => {
                let window = self.congestion.window() + recovery.inflation;
                self.pick_new(window.saturating_sub(self.snd.flight()), room)
            }
            Phase::Loss => self.pick_after_timeout(room),
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.6.4.4 (TEXT)
    // A model has answered the losses already, and its window counts.
    fn recovery_budget(&self) -> u32 {
        let pipe = self.pipe();
        if self.congestion.is_model() {
            self.congestion.window().saturating_sub(pipe)
        } else {
            self.recovery.prr.budget(pipe)
        }
    }

    /// After a time-out: the head at once, then what is lost as far as slow start
    /// lets, and new data when nothing is; or new data first, if F-RTO asks.
    fn pick_after_timeout(&self, room: u32) -> Option<Pick> {
        if self.recovery.head_owed
            && let Some(head) = self.pick_lost(room, Why::Head)
        {
            return Some(head);
        }
        let pipe = self.pipe();
        let budget = self.congestion.window().saturating_sub(pipe);
        if self.recovery.frto == Frto::Probing {
            //= rfc5682#section-2.1 (SHOULD)
            // Two new segments at most, however much a model would let go: what was
            // lost must find room beside them.
            let new = self.pick_new(budget.min((2 * self.smss()).saturating_sub(pipe)), room);
            // Nagle's algorithm may hold it back; then what is lost must go on.
            if new.is_some() || self.snd.nxt != self.recovery.recover {
                return new;
            }
        }
        if self.sent.lost() == 0 {
            return self.pick_new(budget, room);
        }
        let lost = self.pick_lost(room, Why::Lost)?;
        (pipe == 0 || budget >= self.smss().min(lost.len)).then_some(lost)
    }

    /// The first bytes that are lost.
    fn pick_lost(&self, room: u32, why: Why) -> Option<Pick> {
        let (start, end) = self.sent.next_lost(room)?;
        // Behind the last of it new data may fill the segment.
        let end = if end == self.snd.nxt { self.snd.end() } else { end };
        self.pick_again(start, end, room, why)
    }

    //= rfc8985#section-7.3 (MUST)
    // The probe is a new segment if there is one and the peer's window has room
    // (ours is overdrawn by it), else the last one again.
    fn pick_tail(&self, room: u32) -> Option<Pick> {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        if una == nxt {
            return None;
        }
        if self.snd.has_unsent() && self.snd.window_beyond(nxt) > 0 {
            return self.pick_again(nxt, self.snd.end(), room, Why::Tail);
        }
        let start = nxt - room.min(una.distance_to(nxt));
        self.pick_again(start, nxt, room, Why::Tail)
    }

    /// A part of `start..end`, whether it was sent before or not.
    ///
    //= rfc9293#section-3.8.6 (MUST)
    // A peer that takes its window back is borne: nothing beyond it is sent,
    // but one byte at its very edge, which is a probe.
    fn pick_again(&self, start: SeqNum, end: SeqNum, room: u32, why: Why) -> Option<Pick> {
        let window = match self.snd.window_beyond(start) {
            0 if start == self.snd.una => 1,
            0 => return None,
            window => window,
        };
        let data_end = self.snd.data_end();
        let data = if start.before(data_end) {
            start.distance_to(end.min(data_end))
        } else {
            0
        };
        let len = data.min(room).min(window);
        let fin = self.snd.fin_queued && end.after(data_end) && start + len == data_end && window > len;
        (len > 0 || fin).then_some(Pick {
            seq: start,
            len,
            fin,
            why,
        })
    }

    /// New data, of which congestion control allows `budget` bytes.
    #[inline(always)]
    fn pick_new(&self, budget: u32, room: u32) -> Option<Pick> {
        let snd = &self.snd;
        let unsent = snd.unsent_data();
        let window = snd.window_beyond(snd.nxt);
        let len = unsent.min(window).min(budget).min(room);
        let all = len == unsent;
        let fin = all && snd.fin_queued && snd.nxt.before(snd.end()) && window > len;
        if len == 0 && !fin {
            return None;
        }
        //= rfc9293#section-3.8.6.2.1 (MUST)
        // A segment goes if it is full; if it is all that there is, and Nagle's
        // algorithm does not hold it (nor the application); if it is half of the largest window that
        // the peer ever had. Else more room is waited for (if nothing is in
        // flight, with a timer: `is_stuck`).
        let goes = len == room
            || (all
                && (fin || (!self.corked && (self.nodelay || !snd.has_data_out() || self.sends_urgent()))))
            || (len == window && u64::from(len) * 2 >= u64::from(snd.max_wnd));
        goes.then_some(Pick {
            seq: snd.nxt,
            len,
            fin,
            why: Why::New,
        })
    }

    /// The probe of a window that is shut or too small: one byte if it must be
    /// (our FIN, if there is none), more where the window allows it.
    pub(super) fn pick_probe(&self, room: u32) -> Option<Pick> {
        let snd = &self.snd;
        if !snd.has_unsent() || snd.una != snd.nxt {
            return None;
        }
        let len = snd.unsent_data().min(snd.window_beyond(snd.nxt).max(1)).min(room);
        Some(Pick {
            seq: snd.nxt,
            len,
            fin: len == 0 && snd.fin_queued,
            why: Why::Probe,
        })
    }

    /// Whether the congestion window of before says nothing any more.
    pub(super) fn was_idle(&self, now: Instant) -> bool {
        self.snd.una == self.snd.nxt && now.since(self.sent_at) > self.rtt.rto()
    }

    pub(super) fn window_at(&self, now: Instant) -> u32 {
        if self.was_idle(now) {
            self.congestion.window_after_idle()
        } else {
            self.congestion.window()
        }
    }
}
