//! What explicit congestion notification has a connection do.
//!
//! Read first: `../ecn/mod.rs` and `../ecn/accurate.rs`, which know what flags and
//! marks mean.

use crore_base::{DropReason, Instant};
use crore_wire::{AccEcnOption, Segment, TcpOptions};

use super::{Connection, Owed, Plan};
use crate::ecn::EcnState;
use crate::recovery::News;
use crate::{CloseReason, EcnMode, State, SynAgain};

impl Connection {
    /// What the peer's SYN or SYN-ACK, with what we have sent, leads to.
    pub(super) fn agreed_ecn(&self, syn: &Segment) -> EcnMode {
        let policy = self.config.ecn;
        match self.state {
            State::SynSent if syn.flags.has_ack() => policy.accept(self.retries, syn),
            // The SYNs have crossed, and ours was without.
            State::SynSent if policy.offer(self.retries).is_empty() => EcnMode::Off,
            _ => policy.answer(syn),
        }
    }

    /// The peer's SYN, or its SYN-ACK where SYNs have crossed, came again, in
    /// SYN-RECEIVED. Whether the connection goes on.
    pub(super) fn on_syn_again(&mut self, syn: &Segment) -> bool {
        let policy = self.config.ecn;
        let said = if syn.flags.has_ack() {
            policy.accept(0, syn)
        } else {
            policy.answer(syn)
        };
        self.ecn = self.ecn.heard_syn(syn.ecn);
        self.ecn.suspect_option();
        match (self.ecn.mode().on_syn_again(said), self.ecn.mode()) {
            (SynAgain::Same, _) => {}
            (SynAgain::Changed, EcnMode::Accurate) => self.ecn.send_unmarked(),
            (SynAgain::Changed, _) => self.ecn = EcnState::OFF,
            (SynAgain::Reset, _) => {
                self.fail_with_reset(CloseReason::Aborted);
                return false;
            }
        }
        true
    }

    //= rfc9768#section-3.2.2.1 (SHOULD)
    // The SYN-ACK is acknowledged by a bare segment, before any data.
    /// The SYN-ACK that answers our SYN came, with `len` bytes of text.
    pub(super) fn on_accurate_syn_ack(&mut self, now: Instant, syn_ack: &Segment, len: u32) {
        if self.ecn.mode() != EcnMode::Accurate {
            return;
        }
        self.owed.add(Owed::FIRST_ACK);
        if self.ecn.on_syn_ack(syn_ack, len) {
            self.congestion.on_ecn(now, self.congestion.window());
        }
    }

    //= rfc9768#section-3.2.2.1 (MUST)
    // So is a SYN-ACK that comes again. (Within the limit of challenges.)
    /// A SYN-ACK in an open connection: if it is the one that opened it, what is
    /// owed for it, and why it goes no further.
    pub(super) fn on_syn_ack_again(&mut self, now: Instant, seg: &Segment) -> Option<DropReason> {
        let is_same = self.ecn.mode() == EcnMode::Accurate
            && seg.seq == self.rcv.irs
            && seg.ack == self.snd.iss + 1
            && !seg.flags.has_rst();
        if !is_same || self.state == State::SynReceived {
            return None;
        }
        if self.owed.add_challenge(now) {
            self.owed.add(Owed::FIRST_ACK);
            // Its text, if any, is old; our answer may have been lost for its option.
            self.ecn.on_syn_ack(seg, 0);
            self.ecn.suspect_option();
        }
        Some(DropReason::SynInConnection)
    }

    /// The segment that establishes what the peer has opened came, `bare` without text.
    pub(super) fn on_accurate_final_ack(&mut self, now: Instant, seg: &Segment, bare: bool) {
        if self.ecn.mode() == EcnMode::Accurate && !seg.flags.has_syn() && self.ecn.on_final_ack(seg, bare) {
            self.congestion.on_ecn(now, self.congestion.window());
        }
    }

    /// An acknowledgment came that is not older than the last, and has told
    /// `news`; `flight` bytes were out until then.
    #[inline(never)]
    pub(super) fn on_ecn_feedback(&mut self, now: Instant, seg: &Segment, flight: u32, news: &News) {
        let acked = flight - self.snd.flight();
        let tells = match self.ecn.mode() {
            EcnMode::Off => false,
            EcnMode::Classic => self.ecn.on_echo(seg),
            //= rfc9768#section-3.2.2.2 (MUST)
            // What acknowledges nothing new may be older than what came before it:
            // its count is not looked at. The next one repeats it.
            EcnMode::Accurate => {
                let is_news = (acked > 0 || news.bytes > 0) && !seg.flags.has_syn();
                let smss = self.smss().max(1);
                is_news && self.ecn.on_count(seg, acked.div_ceil(smss), smss)
            }
        };
        if !tells {
            return;
        }
        if self.ecn.reduces(seg.ack, self.snd.nxt) {
            self.congestion.on_ecn(now, flight);
        } else {
            //= rfc4015#section-3.4 (MUST NOT)
            // What was reduced for a loss stays so when there was a mark as well.
            self.congestion.confirm_reduction();
        }
    }

    /// Whether a segment sent now, with text or without, is to tell of bytes by marks.
    #[inline(always)]
    pub(super) fn shows_bytes(&self, text: bool) -> bool {
        if text {
            self.ecn.shows_bytes_with_text(|| self.recovery.is_silent())
        } else {
            self.ecn.shows_bytes()
        }
    }

    //= rfc9768#section-3.2.3.3 (MUST)
    // Losses go before marks: two SACK blocks have their room before the option has.
    // The others (SHOULD) come behind it.
    /// The option of accurate ECN beside `options`, if it fits.
    #[cold]
    pub(super) fn bytes_beside(&self, options: &TcpOptions) -> Option<AccEcnOption> {
        let blocks = options.sack.len().min(2);
        let reserved = if blocks > 0 { 4 + 8 * blocks } else { 0 };
        self.ecn.option(options.spare_len().saturating_sub(reserved))
    }

    /// What `plan` tells of bytes by marks is on its way.
    #[cold]
    pub(super) fn on_option_sent(&mut self, plan: &Plan) {
        let text_end = plan.new_text_end();
        self.ecn.option_sent(text_end);
    }
}
