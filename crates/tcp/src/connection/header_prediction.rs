//! The short way for the segment that was to be expected: the next one of an
//! undisturbed transfer, with new text, a new acknowledgment, or both.
//!
//! Read first: RFC 9293 section 3.10.7.4, whose order `segment_arrives.rs`
//! follows for all the others; Van Jacobson's "4BSD Header Prediction" (1990).
//!
//! Always true: what is taken here has the outcome that the long way would have
//! given it, since each step that is left out would have found nothing to do.

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_wire::Segment;

use super::Connection;
use crate::State;
use crate::event::PendingEvents;
use crate::timestamps::is_older;

impl Connection {
    /// Whether `seg`, with so many bytes of text, is the one to be expected.
    #[inline]
    pub(super) fn expects(&self, seg: &Segment, text_len: usize) -> bool {
        let Segment { seq, ack, .. } = *seg;
        let snd = &self.snd;
        let stamp_is_fine = match seg.options.timestamps {
            Some(timestamps) => !self.ts.enabled || !is_older(timestamps.value, self.ts.recent()),
            None => !self.ts.enabled,
        };
        // A bare repetition of the last acknowledgment may be the sign of a loss.
        let says_something = text_len > 0 || ack != snd.una;
        self.state == State::Established
            && !self.released
            && self.ecn.expects(seg)
            && self.rcv.expects(seq, text_len)
            && stamp_is_fine
            && ack.at_or_after(snd.una)
            && ack.at_or_before(snd.nxt)
            && says_something
            && snd.wnd > 0
            && seg.window > 0
            && seg.options.sack.is_empty()
            && self.sent.is_untouched()
            && !self.sent.head().is_some_and(|run| self.rack.is_later_than(run))
            && self.recovery.is_calm()
    }

    /// Whether a run of segments, of which `first` is the first one and the others
    /// differ from it in nothing but their number, can be taken as if it were one
    /// ([`Self::on_run`]); `text_len` is the text of them all. If not, each is to be
    /// taken for itself.
    pub fn expects_run(&self, first: &Segment, text_len: usize) -> bool {
        text_len > 0 && self.expects(first, text_len)
    }

    // It is acknowledged as two segments are, without delay.
    /// Takes a run that [`Self::expects_run`] said yes to; `texts` is the text of
    /// each segment. What happens for each of them otherwise happens once, but for the
    /// look whether the buffer is to grow, which depends on what waits just then.
    pub fn on_run(&mut self, now: Instant, first: &Segment, texts: impl Iterator<Item = Chunk>) {
        self.on_expected_header(now, first);
        let mut count = 0;
        for text in texts {
            self.rcv.deliver(text);
            self.fit_receive_buffer(now, first);
            count += 1;
        }
        self.received_at = now;
        self.events.add(PendingEvents::READABLE);
        self.owed.add_data_ack(now, self.config.delayed_ack, count > 1);
        self.arm_persist_if_stuck(now);
    }

    /// Takes a segment that [`Self::expects`] said yes to.
    #[inline]
    pub(super) fn on_expected(&mut self, now: Instant, seg: &Segment, text: Chunk) {
        self.on_expected_header(now, seg);
        if !text.is_empty() {
            let several = self.holds_several(text.len());
            self.rcv.deliver(text);
            self.received_at = now;
            self.fit_receive_buffer(now, seg);
            self.events.add(PendingEvents::READABLE);
            self.owed.add_data_ack(now, self.config.delayed_ack, several);
        }
    }

    /// Whether so much text is that of several segments: more than the link takes in
    /// one.
    #[inline]
    pub(super) const fn holds_several(&self, len: usize) -> bool {
        len > self.path.mss as usize
    }

    #[inline(always)]
    fn on_expected_header(&mut self, now: Instant, seg: &Segment) {
        self.heard(now);
        if let Some(timestamps) = seg.options.timestamps
            && self.ts.enabled
        {
            self.ts
                .update(now, timestamps.value, seg.seq, self.rcv.last_ack_sent);
        }
        let window = u32::from(seg.window) << self.snd.scale.shift();
        if seg.ack == self.snd.una {
            self.snd.update_window(seg.seq, seg.ack, window);
        } else {
            self.on_expected_ack(now, seg);
            self.snd.set_window(seg.seq, seg.ack, window);
        }
    }
}
