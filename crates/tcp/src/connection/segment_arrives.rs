//! SEGMENT ARRIVES, in the order of RFC 9293 section 3.10.7.
//!
//! Read first: RFC 9293 section 3.10.7.4, RFC 5961, RFC 7323 section 5,
//! RFC 6191 and RFC 1337 (TIME-WAIT).

use crore_base::{DropReason, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_wire::{Flags, Segment};

use super::{Connection, Disposition, Owed, Timer};
use crate::event::PendingEvents;
use crate::timestamps::is_older;
use crate::{CloseReason, State};

impl Connection {
    /// A segment came for this connection. Records what is owed; sends nothing.
    #[inline]
    pub fn on_segment(&mut self, now: Instant, seg: &Segment, payload: Chunk) -> Disposition {
        if self.expects(seg, payload.len()) {
            self.on_expected(now, seg, payload);
            self.arm_persist_if_stuck(now);
            return Disposition::Accepted;
        }
        self.on_other_segment(now, seg, payload)
    }

    #[inline(never)]
    fn on_other_segment(&mut self, now: Instant, seg: &Segment, payload: Chunk) -> Disposition {
        let disposition = match self.state {
            State::Closed => return Disposition::Dropped(DropReason::NoSuchConnection),
            State::SynSent => self.on_segment_syn_sent(now, seg, payload),
            State::TimeWait => self.on_segment_time_wait(now, seg, payload.len()),
            _ => match self.on_segment_synchronized(now, seg, payload) {
                None => Disposition::Accepted,
                Some(reason) => Disposition::Dropped(reason),
            },
        };
        self.arm_persist_if_stuck(now);
        disposition
    }

    //= rfc9293#section-3.10.7.4 (MUST)
    // First the sequence number, second RST, third security (not kept), fourth
    // SYN, fifth ACK, sixth URG, seventh the text, eighth FIN.
    fn on_segment_synchronized(&mut self, now: Instant, seg: &Segment, payload: Chunk) -> Option<DropReason> {
        let (mut seq, mut flags) = (seg.seq, seg.flags);
        if self.state == State::SynReceived && seq == self.rcv.irs && flags.has_syn() && !flags.has_rst() {
            if !flags.has_ack() {
                // The peer's SYN again: our SYN-ACK was lost, or is late.
                if !self.on_syn_again(seg) {
                    return Some(DropReason::BadFlags);
                }
                self.owed.add(Owed::SYN);
                return Some(DropReason::Duplicate);
            }
            // The SYNs had crossed, and this is the peer's second one (RFC 9293
            // figure 8); its number is behind us, its ACK is not.
            if !self.on_syn_again(seg) {
                return Some(DropReason::BadFlags);
            }
            flags = flags.without(Flags::SYN);
            seq += 1;
            self.owed.add(Owed::ACK);
        }
        if flags.has_syn()
            && flags.has_ack()
            && let Some(reason) = self.on_syn_ack_again(now, seg)
        {
            return Some(reason);
        }
        if self.ts.enabled
            && let Some(reason) = self.check_timestamp(now, seg, flags, payload.len())
        {
            return Some(reason);
        }
        let len = payload.len() as u32 + u32::from(flags.has_fin()) + u32::from(flags.has_syn());
        if !self.is_acceptable(seq, len) {
            return Some(self.on_unacceptable(now, seg, seq, flags, len));
        }
        if flags.has_rst() {
            return self.on_reset(now, seq);
        }
        if flags.has_syn() {
            return Some(self.on_syn_in_connection(now));
        }
        if !flags.has_ack() {
            return Some(DropReason::MissingAck);
        }
        self.heard(now);
        let dropped = if self.state == State::SynReceived {
            self.on_ack_syn_received(now, seg, seq, len)
        } else {
            self.on_ack(now, seg, seq, len)
        };
        // Not before the acknowledgment is known to be one: else a guess at the
        // number alone would leave a timestamp that makes all that follows outdated.
        if let Some(timestamps) = seg.options.timestamps
            && self.ts.enabled
            && dropped.is_none()
        {
            self.ts.update(now, timestamps.value, seq, self.rcv.last_ack_sent);
        }
        if dropped.is_some() {
            return dropped;
        }
        let data_waits = self.owed.ack_at().is_some();
        let tells_marks = self.ecn.on_segment(seg, payload.len() as u32, data_waits);
        if flags.contains(Flags::URG) {
            self.on_urgent(seg, seq);
        }
        let mut dropped = None;
        if len > 0 {
            //= rfc9293#section-3.8.5 (MUST)
            // Urgent data is data: it is delivered in line.
            dropped = self.on_text(now, seq, flags.has_fin(), payload);
            self.fit_receive_buffer(now, seg);
        }
        // Behind the text, whose own acknowledgment tells it as well: a second one
        // would pass for a duplicate.
        if tells_marks && self.state != State::Closed {
            self.owed.add(Owed::ACK);
        }
        dropped
    }

    //= rfc7323#section-5.3 (MUST)
    // An outdated timestamp makes a segment unacceptable: it is answered by an
    // ACK and dropped. Resets are exempt.
    fn check_timestamp(
        &mut self,
        now: Instant,
        seg: &Segment,
        flags: Flags,
        len: usize,
    ) -> Option<DropReason> {
        if flags.has_rst() {
            return None;
        }
        match seg.options.timestamps {
            Some(timestamps) if !self.ts.is_too_old(now, timestamps.value) => None,
            Some(_) => {
                self.owe_ack_for_misfit(now, seg.seq, len as u32);
                Some(DropReason::PawsRejected)
            }
            //= rfc7323#section-3.2 (SHOULD)
            // Once negotiated, a segment without the option is dropped in
            // silence: it may be a forgery that knows no timestamp.
            None => Some(DropReason::PawsRejected),
        }
    }

    //= rfc9293#section-3.10.7.4 (MUST)
    // The four cases of the acceptability test, with two allowances: at a shut
    // window, what starts at RCV.NXT is looked at for its ACK (its text is then
    // cut off); and a bare ACK may be as old as the last one that we sent, or
    // lie at the very edge, where a peer stands that has filled our window.
    fn is_acceptable(&self, seq: SeqNum, len: u32) -> bool {
        let rcv = &self.rcv;
        if seq == rcv.nxt {
            return true;
        }
        if len == 0 {
            return seq.at_or_after(rcv.last_ack_sent) && seq.at_or_before(rcv.edge());
        }
        (seq + (len - 1)).at_or_after(rcv.nxt) && seq.before(rcv.edge())
    }

    fn on_unacceptable(
        &mut self,
        now: Instant,
        seg: &Segment,
        seq: SeqNum,
        flags: Flags,
        len: u32,
    ) -> DropReason {
        if flags.has_rst() {
            return DropReason::ResetOutOfPlace;
        }
        if flags.has_syn() {
            return self.on_syn_in_connection(now);
        }
        self.owe_ack_for_misfit(now, seq, len);
        //= rfc9293#section-3.10.7.4 (MUST)
        // The allowance for valid ACKs at a shut window: a prober's bare segments
        // stand a byte behind what the peer took, until it hears so. If both ends
        // have probed and neither takes the other's ACK, they never hear.
        let of_prober = len == 0 && flags.has_ack() && seq + 1 == self.rcv.nxt;
        let probing = self.bare_seq() != self.snd.nxt;
        if of_prober && probing && self.snd.una.before(seg.ack) {
            self.on_ack(now, seg, seq, len);
        }
        if len > 0 && seq.before(self.rcv.nxt) {
            // The peer lives, and missed our ACK: what it holds open stays so.
            DropReason::Duplicate
        } else {
            DropReason::OutOfWindow
        }
    }

    /// An ACK that tells the peer where we stand. For text it is always owed,
    /// since the peer may have missed it; for a bare ACK within a limit, since
    /// two ends that disagree would answer each other for ever.
    fn owe_ack_for_misfit(&mut self, now: Instant, seq: SeqNum, len: u32) {
        if len > 0 {
            if seq.before(self.rcv.nxt) {
                self.rcv
                    .note_duplicate(seq, len.min(seq.distance_to(self.rcv.nxt)));
                self.ecn.on_text_again();
            }
            self.owed.add(Owed::ACK);
        } else {
            self.owed.add_challenge(now);
        }
    }

    //= rfc5961#section-3.2 (MUST)
    // A reset counts only when it hits RCV.NXT exactly; elsewhere in the window
    // it earns a challenge, so that a blind guesser needs 2^32 tries.
    fn on_reset(&mut self, now: Instant, seq: SeqNum) -> Option<DropReason> {
        if seq == self.rcv.nxt {
            self.fail(CloseReason::ResetByPeer);
            return None;
        }
        self.owed.add_challenge(now);
        Some(DropReason::ResetOutOfPlace)
    }

    //= rfc5961#section-4.2 (MUST)
    // A SYN in a connection earns a challenge, whatever its number: if the peer
    // did start anew, it answers with a reset that we believe.
    fn on_syn_in_connection(&mut self, now: Instant) -> DropReason {
        self.owed.add_challenge(now);
        DropReason::SynInConnection
    }

    /// Text and FIN of an acceptable segment.
    pub(super) fn on_text(
        &mut self,
        now: Instant,
        seq: SeqNum,
        fin: bool,
        payload: Chunk,
    ) -> Option<DropReason> {
        if !self.state.can_receive() {
            // The peer has finished, or the connection is over.
            if self.state != State::Closed {
                self.rcv.note_duplicate(seq, payload.len() as u32);
                self.owed.add(Owed::ACK);
            }
            return Some(DropReason::Duplicate);
        }
        //= rfc9293#section-3.6.1 (SHOULD)
        // Data that nobody will read: the peer learns by a reset that it is lost. The
        // reset has the number that the peer has acknowledged, which is the only one
        // that it is sure to take (RFC 5961 section 3.2): of a FIN that is still on
        // its way it knows nothing.
        if self.released && (seq + payload.len() as u32).after(self.rcv.nxt) {
            let stray_seq = self.snd.una;
            self.fail(CloseReason::Aborted);
            self.owed.stray_seq = stray_seq;
            self.owed.add(Owed::STRAY_RESET);
            return Some(DropReason::DataAfterClose);
        }
        if !payload.is_empty() {
            self.received_at = now;
        }
        let several = self.holds_several(payload.len());
        let limit = self.reassembly_limit();
        let received = self.rcv.accept(seq, payload, fin, limit);
        if received.readable {
            self.events.add(PendingEvents::READABLE);
        }
        if received.early && !self.sack {
            self.owed.add_duplicate_ack();
        } else if received.ack_now {
            self.owed.add(Owed::ACK);
        } else {
            self.owed.add_data_ack(now, self.config.delayed_ack, several);
        }
        if received.finished {
            self.on_fin(now);
        }
        received.dropped
    }

    //= rfc9293#section-3.10.7.4 (MUST)
    // The peer's FIN was reached: it closes its direction. It is acknowledged.
    fn on_fin(&mut self, now: Instant) {
        self.events.add(PendingEvents::PEER_CLOSED);
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(now),
            _ => {}
        }
    }

    pub(super) fn enter_time_wait(&mut self, now: Instant) {
        self.state = State::TimeWait;
        self.rcv.clear_early();
        self.timer = Timer::time_wait(now + self.config.time_wait);
        if self.released {
            self.events.close(CloseReason::Finished);
        }
    }

    /// In TIME-WAIT only three things matter: the peer's FIN again, a SYN for a
    /// new connection, and that nothing else cuts the wait short.
    fn on_segment_time_wait(&mut self, now: Instant, seg: &Segment, payload_len: usize) -> Disposition {
        //= rfc1337#section-3 (SHOULD)
        // A reset would end the wait, and let old segments into a new connection.
        if seg.flags.has_rst() {
            return Disposition::Dropped(DropReason::ResetOutOfPlace);
        }
        if seg.flags.has_syn() && !seg.flags.has_ack() {
            return self.on_syn_time_wait(now, seg);
        }
        //= rfc9293#section-3.10.7.4 (MUST)
        // A segment without the ACK bit is dropped, here as elsewhere.
        if !seg.flags.has_ack() {
            return Disposition::Dropped(DropReason::MissingAck);
        }
        let end = seg.seq + seg.sequence_len(payload_len);
        //= rfc9293#section-3.10.7.4 (MUST)
        // The peer's FIN again: our last ACK was lost. It is sent anew, and the
        // wait starts anew.
        if seg.flags.has_fin() && !seg.flags.has_syn() && end == self.rcv.nxt {
            self.owed.add(Owed::ACK);
            self.timer = Timer::time_wait(now + self.config.time_wait);
            return Disposition::Dropped(DropReason::Duplicate);
        }
        if seg.seq == self.rcv.nxt && end == seg.seq {
            // A late bare ACK where it should be.
            return Disposition::Accepted;
        }
        self.owed.add_challenge(now);
        Disposition::Dropped(DropReason::OutOfWindow)
    }

    //= rfc6191#section-2 (SHOULD)
    // A SYN may open a new connection when it can't be an old one: its timestamp
    // is newer, or, where timestamps can't tell, its number lies beyond all that
    // the old connection has seen.
    fn on_syn_time_wait(&mut self, now: Instant, seg: &Segment) -> Disposition {
        let number_is_beyond = seg.seq.after(self.rcv.nxt);
        let is_new = match seg.options.timestamps {
            Some(timestamps) if self.ts.enabled => {
                let recent = self.ts.recent();
                is_older(recent, timestamps.value) || (timestamps.value == recent && number_is_beyond)
            }
            Some(_) => self.config.timestamps || number_is_beyond,
            None => number_is_beyond,
        };
        if is_new {
            return Disposition::Reopen {
                iss_above: self.snd.nxt,
            };
        }
        self.owed.add_challenge(now);
        Disposition::Dropped(DropReason::SynInConnection)
    }

    /// The peer lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.keepalives = 0;
    }
}
