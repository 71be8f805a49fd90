//! Opening: actively, passively, and both at once.
//!
//! Read first: RFC 9293 sections 3.5 and 3.10.7.3, RFC 7323 sections 2.2 and 3.2.

use std::rc::Rc;

use crore_base::{DropReason, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_wire::Segment;

use super::{Connection, Disposition, Owed, Timer};
use crate::ecn::EcnState;
use crate::event::PendingEvents;
use crate::recovery::News;
use crate::{CloseReason, Config, Path, State};

impl Connection {
    /// A connection that this end opens: SYN-SENT, its SYN owed. `iss` and
    /// `ts_offset` come from an [`crate::IsnGenerator`].
    pub fn open_active(config: Rc<Config>, now: Instant, iss: SeqNum, ts_offset: u32, path: Path) -> Self {
        let mut connection = Self::new(config, now, iss, ts_offset, path, State::SynSent, Owed::SYN);
        connection.set_peer_mss(None);
        connection
    }

    /// A connection that the peer opens by `syn` (which has SYN, and neither
    /// ACK nor RST): SYN-RECEIVED, the SYN-ACK owed.
    pub fn open_passive(
        config: Rc<Config>,
        now: Instant,
        iss: SeqNum,
        ts_offset: u32,
        path: Path,
        syn: &Segment,
    ) -> Self {
        let mut connection = Self::new(config, now, iss, ts_offset, path, State::SynReceived, Owed::SYN);
        connection.on_peer_syn(now, syn);
        // Before the first acknowledgment, so that a SYN-ACK can name it.
        connection.snd.set_window(syn.seq, iss, u32::from(syn.window));
        connection
    }

    //= rfc9293#section-3.10.7.3 (MUST)
    // First the ACK, then RST, then SYN; a segment with none of them means
    // nothing yet.
    pub(super) fn on_segment_syn_sent(&mut self, now: Instant, seg: &Segment, payload: Chunk) -> Disposition {
        let acks_syn = seg.ack.after(self.snd.una) && seg.ack.at_or_before(self.snd.nxt);
        if seg.flags.has_ack() && !acks_syn {
            if !seg.flags.has_rst() {
                self.owed.stray_seq = seg.ack;
                self.owed.add(Owed::STRAY_RESET);
            }
            return Disposition::Dropped(DropReason::UnacceptableAck);
        }
        if seg.flags.has_rst() {
            //= rfc5961#section-3.2 (MUST)
            // In SYN-SENT a reset counts if it acknowledges our SYN.
            if seg.flags.has_ack() {
                self.fail(CloseReason::Refused);
                return Disposition::Accepted;
            }
            return Disposition::Dropped(DropReason::ResetOutOfPlace);
        }
        if !seg.flags.has_syn() {
            return Disposition::Dropped(DropReason::BadFlags);
        }
        self.on_peer_syn(now, seg);
        // The window of a SYN is never scaled (RFC 7323 section 2.2).
        let window = u32::from(seg.window);
        if seg.flags.has_ack() {
            self.on_syn_acked(now, seg);
            self.snd.set_window(seg.seq, seg.ack, window);
            self.establish();
            self.owed.add(Owed::ACK);
            self.on_accurate_syn_ack(now, seg, payload.len() as u32);
            let fin = seg.flags.has_fin();
            if fin || !payload.is_empty() {
                //= rfc9293#section-3.10.7.3 (MUST)
                // Text and FIN of a SYN-ACK count as those of any other segment.
                let dropped = self.on_text(now, seg.seq + 1, fin, payload);
                return dropped.map_or(Disposition::Accepted, Disposition::Dropped);
            }
        } else {
            //= rfc9293#section-3.5 (MUST)
            // The SYNs have crossed: ours is sent again, now with an ACK. Text beside
            // the peer's is left for it to send again: who it is, is not proven yet.
            self.state = State::SynReceived;
            self.snd.set_window(seg.seq, self.snd.una, window);
            self.owed.add(Owed::SYN);
        }
        Disposition::Accepted
    }

    /// In SYN-RECEIVED, an acknowledgment.
    ///
    //= rfc9293#section-3.10.7.4 (MUST)
    // If it covers our SYN, the connection is established; if not, it answers
    // some other SYN, and earns a reset.
    pub(super) fn on_ack_syn_received(
        &mut self,
        now: Instant,
        seg: &Segment,
        seq: SeqNum,
        len: u32,
    ) -> Option<DropReason> {
        if !seg.ack.after(self.snd.una) || seg.ack.after(self.snd.nxt) {
            self.owed.stray_seq = seg.ack;
            self.owed.add(Owed::STRAY_RESET);
            return Some(DropReason::UnacceptableAck);
        }
        self.on_syn_acked(now, seg);
        let window = if seg.flags.has_syn() {
            u32::from(seg.window)
        } else {
            u32::from(seg.window) << self.snd.scale.shift()
        };
        self.snd.set_window(seq, seg.ack, window);
        self.establish();
        if self.sends_early() && self.snd.una != self.snd.nxt {
            // What was sent before counts as any other data from here on.
            self.guard_sent(now, true);
        }
        self.on_accurate_final_ack(now, seg, len == 0);
        None
    }

    /// What the peer's SYN says: its number and what it can do.
    fn on_peer_syn(&mut self, now: Instant, syn: &Segment) {
        let options = &syn.options;
        let config = Rc::clone(&self.config);
        self.heard_at = now;
        self.rcv.synchronize(syn.seq, u32::from(self.rcv.offer_on_syn()));
        //= rfc7323#section-2.2 (MUST)
        // Windows are scaled only if both SYNs carry the option.
        if let (true, Some(scale)) = (config.window_scaling, options.window_scale) {
            self.scaling = true;
            self.snd.scale = scale;
            self.rcv.scale = self.rcv.offered_scale;
        }
        //= rfc7323#section-3.2 (MUST)
        // Timestamps are used only if both SYNs carry the option.
        if let (true, Some(timestamps)) = (config.timestamps, options.timestamps) {
            self.ts.enable(now, timestamps.value);
        }
        self.sack = config.sack && options.sack_permitted;
        self.set_peer_mss(options.mss);
        self.ecn = EcnState::new(self.agreed_ecn(syn), self.snd.iss).heard_syn(syn.ecn);
    }

    fn on_syn_acked(&mut self, now: Instant, seg: &Segment) {
        self.take_progress(now, seg, &mut News::default());
        self.timer = Timer::OFF;
        self.owed.pay(Owed::SYN);
        if self.fast_open.is_some() {
            self.settle_fast_open(seg.options.fast_open, seg.options.mss);
            self.guard_early_data(now);
            self.wake_writer();
        }
        //= rfc5681#section-3.1 (MUST)
        // If the SYN or the SYN-ACK was lost, one segment is the initial window.
        if self.syn_lost {
            self.congestion.on_syn_lost();
            self.rtt.on_syn_lost();
        }
    }

    fn establish(&mut self) {
        self.state = if self.snd.fin_queued {
            State::FinWait1
        } else {
            State::Established
        };
        if !self.sends_early() {
            self.events.add(PendingEvents::CONNECTED);
        }
    }
}
