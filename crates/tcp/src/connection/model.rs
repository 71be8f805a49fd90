//! What congestion control is told that goes by a model of the path (BBR).
//!
//! Read first: draft-ietf-ccwg-bbr-06 section 4.1.2; `../congestion/bbr/mod.rs`.
//!
//! With another congestion control nothing of it is done.

use crore_base::{Instant, SeqNum};

use super::Connection;
use crate::congestion::{Delivered, Sent};
use crate::recovery::News;

impl Connection {
    //= draft-ietf-ccwg-bbr-06#section-4.1.2.4 (TEXT)
    // Asked before anything is written, acknowledged or found lost. What pace,
    // window or peer hold back is not the application's.
    /// Notes whether more could be sent than there is.
    #[inline]
    pub(super) fn note_app_limited(&mut self) {
        if self.congestion.is_model() {
            self.ask_whether_app_limited();
        }
    }

    #[inline(never)]
    fn ask_whether_app_limited(&mut self) {
        let in_flight = self.out_there();
        if !self.snd.has_unsent()
            && self.sent.lost() == 0
            && in_flight.saturating_add(self.smss()) <= self.congestion.window()
        {
            self.congestion.on_app_limited(in_flight);
        }
    }

    /// Without SACK nothing is marked, and it is the first segment that is lost.
    pub(super) fn tell_model_of_lost_head(&mut self, now: Instant) {
        if let Some(mut head) = self.sent.head().copied() {
            head.end = head.end.min(head.start + self.smss());
            self.congestion.on_run_lost(now, &head);
        }
    }

    /// What is in flight, less what duplicate acknowledgments have said of.
    fn out_there(&self) -> u32 {
        self.pipe().saturating_sub(self.congestion.ahead())
    }

    /// `len` bytes were sent, SND.NXT having been `old_nxt`.
    #[inline(never)]
    pub(super) fn tell_model_of_sent(&mut self, now: Instant, old_nxt: SeqNum, len: u32) {
        let after = self.out_there();
        self.congestion.on_sent(&Sent {
            now,
            old_nxt,
            nxt: self.snd.nxt,
            before: after.saturating_sub(len),
            after,
            srtt: self.rtt.srtt(),
            sack: self.sack,
        });
    }

    /// An acknowledgment has told `news`, and what is lost by it is known.
    #[inline(never)]
    pub(super) fn tell_model_of_news(&mut self, now: Instant, news: &News) {
        self.congestion.on_delivered(&Delivered {
            now,
            una: self.snd.una,
            in_flight: self.out_there(),
            rtt: news.timed.map(|(_, last)| now.since(last)),
            min_rtt: self.rack.min_rtt(),
        });
    }
}
