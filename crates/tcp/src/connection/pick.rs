//! Which bytes go next: lost ones, new ones, or none.
//!
//! Read first: RFC 9293 section 3.8.6.2.1 (silly windows, sender), RFC 6675
//! section 4 (NextSeg), RFC 6582, RFC 3042 (limited transmit).

use crore_base::{Instant, SeqNum};

use super::Connection;
use crate::recovery::Phase;

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
    /// A hole that the scoreboard shows.
    Hole,
    /// The rescue retransmission.
    Rescue,
    /// Everything is sent anew from here.
    Resend,
    /// The window is probed.
    Probe,
}

impl Connection {
    /// What to send next in a segment with room for `room` bytes.
    #[inline(always)]
    pub(super) fn pick(&self, now: Instant, room: u32) -> Option<Pick> {
        if self.recovery.phase != Phase::Open {
            return self.pick_in_recovery(room);
        }
        let dup_acks = u32::from(self.recovery.dup_acks);
        if !self.snd.has_unsent() {
            return None;
        }
        //= rfc3042#section-2 (SHOULD)
        // The first two duplicate acknowledgments let one new segment out each,
        // to find out whether a third one comes.
        let window = self.window_at(now) + dup_acks.min(2) * self.smss();
        self.pick_new(window.saturating_sub(self.snd.flight()), room)
    }

    #[inline(never)]
    fn pick_in_recovery(&self, room: u32) -> Option<Pick> {
        match self.recovery.phase {
            Phase::Open => None,
            Phase::Fast if self.sack => self.pick_by_scoreboard(room),
            Phase::Fast if self.recovery.head_owed => {
                self.pick_again(self.snd.una, self.snd.nxt, room, Why::Head)
            }
            Phase::Fast => {
                let window = self.congestion.window() + self.recovery.inflation;
                self.pick_new(window.saturating_sub(self.snd.flight()), room)
            }
            Phase::Resend => self.pick_resend(room),
        }
    }

    //= rfc6675#section-4 (MUST)
    // NextSeg: first what is presumed lost, then new data, then what is not
    // known to have arrived, then once the last unacknowledged stretch.
    fn pick_by_scoreboard(&self, room: u32) -> Option<Pick> {
        let (una, nxt, board) = (self.snd.una, self.snd.nxt, &self.scoreboard);
        if self.recovery.head_owed {
            let (start, end) = board.next_hole(una, nxt)?;
            return self.pick_again(start, end, room, Why::Head);
        }
        let smss = self.smss();
        let budget = self.congestion.window().saturating_sub(self.recovery.pipe);
        if budget < smss {
            return None;
        }
        let from = self.recovery.high_rxt.max(una);
        let hole_until = |until: SeqNum| board.next_hole(from, until);
        if let Some((start, end)) = board.lost_edge(smss).and_then(hole_until) {
            return self.pick_again(start, end, room, Why::Hole);
        }
        if let Some(new) = self.pick_new(budget, room) {
            return Some(new);
        }
        if let Some((start, end)) = board.highest().and_then(hole_until) {
            return self.pick_again(start, end, room, Why::Hole);
        }
        if self.recovery.rescued {
            return None;
        }
        let (start, end) = board.last_hole(una, nxt)?;
        let start = start.max(end - room.min(una.distance_to(end)));
        self.pick_again(start, end, room, Why::Rescue)
    }

    /// After a time-out: from `resend` on, past what was SACKed since.
    fn pick_resend(&self, room: u32) -> Option<Pick> {
        let (una, nxt) = (self.snd.una, self.snd.nxt);
        let resend = self.recovery.resend;
        let window = self.congestion.window();
        if let Some((start, end)) = self.scoreboard.next_hole(resend, nxt) {
            let out = una
                .distance_to(resend)
                .saturating_sub(self.scoreboard.sacked_below(resend));
            if out > 0 && window.saturating_sub(out) < self.smss().min(start.distance_to(end)) {
                return None;
            }
            // Behind the last of it new data may fill the segment.
            let end = if end == nxt { self.snd.end() } else { end };
            return self.pick_again(start, end, room, Why::Resend);
        }
        let out = self
            .snd
            .flight()
            .saturating_sub(self.scoreboard.sacked_below(nxt));
        self.pick_new(window.saturating_sub(out), room)
    }

    /// A part of `start..end`, whose beginning was sent before.
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
            || (all && (fin || (!self.corked && (self.nodelay || snd.una == snd.nxt))))
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

    fn window_at(&self, now: Instant) -> u32 {
        if self.was_idle(now) {
            self.congestion.window_after_idle()
        } else {
            self.congestion.window()
        }
    }
}
