//! Output, in two steps: a plan that changes nothing, and its commitment once
//! a transmit buffer was had. A dry pool so loses no byte and no timer.
//!
//! Order of what is sent: resets, SYN, lost data, new data and FIN, probes,
//! bare acknowledgments.

use crore_base::{Instant, SeqNum};
use crore_wire::{Ecn, Flags, OptionOrder, SackBlocks, Segment, TcpOptions, Timestamps};

use super::pick::{Pick, Why};
use super::{Connection, Owed, TIMESTAMPS_LEN};
use crate::State;
use crate::recovery::{Phase, Probe};

/// A segment that may be sent. It stays true until the connection is called
/// with `&mut`.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its header; the ports are 0, for the owner to fill in.
    pub segment: Segment,
    /// Bytes of payload that follow it, for [`Connection::copy_payload`].
    pub payload_len: u16,
    /// Bytes of payload of each segment, where [`Connection::enlarge`] has made
    /// several of it; 0 where it is one.
    pub segment_len: u16,
    pub(super) what: What,
    /// Up to where it allows the peer to send.
    edge: SeqNum,
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
struct Shape {
    seq: SeqNum,
    flags: Flags,
    payload_len: u16,
    ecn: Ecn,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Reset,
    StrayReset,
    Syn,
    Data(Why),
    Keepalive,
    FirstAck,
    Ack,
}

impl Plan {
    /// Where its text ends, if that was never sent before.
    pub(super) fn new_text_end(&self) -> Option<SeqNum> {
        let is_new = matches!(self.what, What::Data(Why::New | Why::Probe));
        (is_new && self.payload_len > 0).then(|| self.segment.seq + u32::from(self.payload_len))
    }
}

impl Connection {
    /// What would be sent now, if anything. Changes nothing.
    pub fn plan_transmit(&self, now: Instant) -> Option<Plan> {
        if self.owed.is_empty() && self.recovery.is_silent() && !self.snd.has_unsent() {
            return None;
        }
        if self.owed.has(Owed::URGENT) {
            return self.plan_urgent(now);
        }
        match self.state {
            State::Closed => None,
            State::SynSent | State::SynReceived if self.owed.has(Owed::SYN) => Some(self.plan_syn(now)),
            State::SynSent => None,
            _ => {
                let shape = match self.shape_data(now) {
                    Some(shape) => shape,
                    None => self.shape_ack()?,
                };
                self.plan_shape(now, shape)
            }
        }
    }

    /// Copies the payload of `plan` into `out`, whose length is
    /// `plan.payload_len`.
    pub fn copy_payload(&self, plan: &Plan, out: &mut [u8]) {
        self.copy_payload_from(plan, 0, out);
    }

    /// As [`Self::copy_payload`], a part of it that begins after `skip` bytes.
    pub fn copy_payload_from(&self, plan: &Plan, skip: u32, out: &mut [u8]) {
        // A SYN comes before its data.
        let first = plan.segment.seq + u32::from(plan.segment.flags.has_syn()) + skip;
        let copied = self.snd.copy_at(first, out);
        debug_assert_eq!(copied, out.len(), "the plan is older than the connection");
    }

    /// `plan` is on its way: SND.NXT moves, timers start, what was owed is paid.
    pub fn commit_transmit(&mut self, now: Instant, plan: &Plan) {
        let segment = &plan.segment;
        match plan.what {
            What::Reset => self.owed.pay(Owed::RESET | Owed::ACK),
            What::StrayReset => self.owed.pay(Owed::STRAY_RESET),
            What::Syn => self.on_syn_sent(now, plan.payload_len),
            What::Data(why) => self.on_data_sent(now, segment, u32::from(plan.payload_len), why),
            What::Keepalive => self.owed.pay(Owed::KEEPALIVE),
            What::FirstAck => self.owed.pay(Owed::FIRST_ACK),
            What::Ack => {}
        }
        if segment.flags.has_ack() && !segment.flags.has_rst() {
            self.rcv.on_ack_sent(segment.ack, plan.edge);
            self.ecn.ack_sent();
            if segment.options.accurate_ecn.is_some() {
                self.on_option_sent(plan);
            }
            self.owed.pay_ack(plan.what == What::Ack);
        }
        self.arm_persist_if_stuck(now);
    }

    #[inline(never)]
    fn on_syn_sent(&mut self, now: Instant, len: u16) {
        self.owed.pay(Owed::SYN);
        if self.state == State::SynReceived {
            self.ecn.on_syn_ack_sent(self.retries);
        }
        self.sent_at = now;
        let (iss, first) = (self.snd.iss, self.snd.nxt == self.snd.iss);
        if first {
            self.snd.nxt = iss + 1 + u32::from(len);
            self.sent.push(iss, self.snd.nxt, now);
        } else {
            self.counts.retransmits = self.counts.retransmits.saturating_add(1);
            self.sent.resend(iss, iss + 1, now);
        }
        self.guard_sent(now, false);
    }

    fn on_data_sent(&mut self, now: Instant, segment: &Segment, len: u32, why: Why) {
        let seq = segment.seq;
        let end = seq + len + u32::from(segment.flags.has_fin());
        let old_nxt = self.snd.nxt;
        if end.after(old_nxt) {
            if seq == old_nxt && self.was_idle(now) {
                self.congestion.on_idle();
            } else if seq == old_nxt && self.snd.una == old_nxt {
                self.congestion.on_restart(now);
            }
            if seq == old_nxt
                && self
                    .path_mtu
                    .wants_sent(len + TIMESTAMPS_LEN >= u32::from(self.mss))
            {
                self.watch_sent(now, seq, end, len);
            }
            self.snd.nxt = end;
        }
        if seq.before(old_nxt) {
            self.on_sent_again(now, seq, end.min(old_nxt));
        }
        if end.after(old_nxt) {
            self.sent.push(old_nxt, end, now);
        }
        let restart = match why {
            Why::New => {
                if len > 0 {
                    self.ecn.new_data_sent();
                }
                false
            }
            _ => self.on_repair_sent(seq, seq.before(old_nxt), why),
        };
        if self.recovery.phase == Phase::Fast {
            self.recovery.prr.on_sent(seq.distance_to(end));
        }
        self.owed.pay(Owed::PROBE);
        if self.pacing.is_on() {
            if self.congestion.is_model() {
                self.tell_model_of_sent(now, old_nxt, seq.distance_to(end));
            }
            let rate = self.congestion.pacing_rate(self.rtt.srtt());
            self.pacing.on_sent(now, seq.distance_to(end), rate);
        }
        self.sent_at = now;
        self.guard_sent(now, restart);
    }

    /// What was sent from `seq` on was `again`, or was to find something out. Whether
    /// the retransmission timer starts anew.
    #[inline(never)]
    fn on_repair_sent(&mut self, seq: SeqNum, again: bool, why: Why) -> bool {
        match why {
            Why::Head => {
                self.recovery.head_owed = false;
                true
            }
            //= rfc8985#section-7.3 (MUST)
            // One probe is out at a time, and the retransmission timer starts anew.
            Why::Tail => {
                self.recovery.probe_owed = false;
                let end = self.snd.nxt;
                self.recovery.probe = Some(Probe { end, again });
                self.counts.probes = self.counts.probes.saturating_add(1);
                true
            }
            Why::Lost => seq == self.snd.una,
            Why::New | Why::Probe => false,
        }
    }

    #[inline(never)]
    fn on_sent_again(&mut self, now: Instant, seq: SeqNum, end: SeqNum) {
        self.sent.resend(seq, end, now);
        self.counts.retransmits = self.counts.retransmits.saturating_add(1);
        self.ecn.on_sent_again(seq);
        let clock = self.ts.clock(now);
        if self.recovery.phase != Phase::Open {
            self.recovery.episode.on_resent(seq, seq.distance_to(end), clock);
        }
    }

    /// A reset, or the bare acknowledgment of a SYN-ACK.
    #[cold]
    fn plan_urgent(&self, now: Instant) -> Option<Plan> {
        if self.owed.has(Owed::RESET) {
            return Some(self.plan_reset());
        }
        if self.owed.has(Owed::STRAY_RESET) {
            return Some(self.plan_stray_reset());
        }
        let mut plan = self.plan_shape(
            now,
            Shape {
                seq: self.bare_seq(),
                flags: Flags::ACK,
                ecn: Ecn::NotEct,
                payload_len: 0,
                what: What::FirstAck,
            },
        )?;
        plan.segment.flags = Flags::ACK | self.ecn.first_ack_flags();
        let options = &mut plan.segment.options;
        options.sack = SackBlocks::new();
        options.accurate_ecn = self.ecn.first_ack_option(options.spare_len());
        Some(plan)
    }

    fn plan_syn(&self, now: Instant) -> Plan {
        let answers = self.state == State::SynReceived;
        let config = &self.config;
        let scale = if answers {
            // Only if the peer's SYN had the option (RFC 7323 section 2.2).
            self.scaling.then_some(self.rcv.scale)
        } else {
            config.window_scaling.then_some(self.rcv.offered_scale)
        };
        let uses_timestamps = if answers {
            self.ts.enabled
        } else {
            config.timestamps
        };
        let mut options = TcpOptions {
            //= rfc9293#section-3.7.1 (SHOULD)
            // Every SYN names the MSS.
            mss: Some(config.segment_limit(self.path.mss)),
            window_scale: scale,
            sack_permitted: if answers { self.sack } else { config.sack },
            timestamps: uses_timestamps.then(|| self.ts.option(now)),
            order: config.syn_option_order,
            ..TcpOptions::default()
        };
        let mut payload_len = 0;
        if self.fast_open.is_some() {
            (options.fast_open, payload_len) = self.fast_open_offer();
        }
        let (flags, ack) = if answers {
            let agreed = self.ecn.syn_ack_flags(self.retries);
            options.accurate_ecn = self.ecn.syn_ack_option(self.retries, options.spare_len());
            (Flags::SYN | Flags::ACK | agreed, self.rcv.nxt)
        } else {
            (Flags::SYN | config.ecn.offer(self.retries), SeqNum(0))
        };
        let (window, edge) = if answers {
            self.rcv.offer_on_syn_ack()
        } else {
            (self.rcv.offer_on_syn(), self.rcv.edge())
        };
        Plan {
            segment: Segment {
                seq: self.snd.iss,
                ack,
                flags,
                window,
                options,
                ..Segment::default()
            },
            payload_len,
            segment_len: 0,
            what: What::Syn,
            edge,
        }
    }

    /// Data, or a FIN, or a probe.
    #[inline]
    fn shape_data(&self, now: Instant) -> Option<Shape> {
        if !self.state.can_transmit() && !self.is_fast_opening() {
            return None;
        }
        let room = u32::from(self.mss) - self.options_len().min(u32::from(self.mss) - 1);
        let room = match self.path_mtu.next_try(self.mss) {
            None => room,
            Some(_) => self.room_for_try(now).unwrap_or(room),
        };
        let held = self.pacing.holds(now);
        let pick = match (!held).then(|| self.pick(now, room)).flatten() {
            Some(pick) => pick,
            None if self.owed.has(Owed::PROBE) => self.pick_probe(room)?,
            None => return None,
        };
        let Pick {
            seq,
            len,
            mut fin,
            why,
        } = pick;
        if self.state == State::SynReceived {
            // Our FIN waits for the handshake's end (RFC 9293 section 3.10.4).
            if len == 0 {
                return None;
            }
            fin = false;
        }
        let mut flags = Flags::ACK;
        //= rfc9293#section-3.9.1.2 (MUST)
        // The last byte that is queued is pushed.
        if len > 0 && seq + len == self.snd.data_end() {
            flags |= Flags::PSH;
        }
        if fin {
            flags |= Flags::FIN;
        }
        let mut ecn = Ecn::NotEct;
        if why == Why::New && len > 0 {
            let (mark, cwr) = self.ecn.on_new_data();
            (ecn, flags) = (mark, flags | cwr);
        }
        Some(Shape {
            seq,
            flags,
            ecn,
            payload_len: len as u16,
            what: What::Data(why),
        })
    }

    #[inline]
    fn shape_ack(&self) -> Option<Shape> {
        let (seq, what) = if self.owed.has(Owed::KEEPALIVE) {
            //= rfc9293#section-3.8.4 (SHOULD)
            // A number that was acknowledged already makes the peer answer.
            (self.snd.nxt - 1, What::Keepalive)
        } else if self.owed.has(Owed::ACK) {
            (self.bare_seq(), What::Ack)
        } else {
            return None;
        };
        Some(Shape {
            seq,
            flags: Flags::ACK,
            ecn: Ecn::NotEct,
            payload_len: 0,
            what,
        })
    }

    /// The plan of a segment after the handshake. Inlined, and written where it
    /// is to stay: a plan is too large to be handed from function to function.
    #[inline(always)]
    fn plan_shape(&self, now: Instant, shape: Shape) -> Option<Plan> {
        let (window, edge) = self.rcv.offer(self.smss());
        let mut plan = Some(Plan {
            segment: Segment {
                src_port: 0,
                dst_port: 0,
                seq: shape.seq,
                ack: self.rcv.nxt,
                flags: shape.flags | self.ecn.echo(),
                window,
                urgent: 0,
                ecn: shape.ecn,
                options: TcpOptions {
                    mss: None,
                    window_scale: None,
                    sack_permitted: false,
                    timestamps: self.ts.enabled.then(|| self.ts.option(now)),
                    sack: SackBlocks::new(),
                    order: OptionOrder::Linux,
                    fast_open: None,
                    accurate_ecn: None,
                },
            },
            payload_len: shape.payload_len,
            segment_len: 0,
            what: shape.what,
            edge,
        });
        if self.sends_sack()
            && let Some(plan) = &mut plan
        {
            plan.segment.options.sack = self.rcv.sack_blocks();
        }
        if self.shows_bytes(shape.payload_len > 0)
            && let Some(plan) = &mut plan
        {
            let options = &mut plan.segment.options;
            options.accurate_ecn = self.bytes_beside(options);
        }
        if self.urgent.is_some()
            && let Some(Plan { segment, .. }) = &mut plan
            && let Some((flag, pointer)) = self.urgent_pointer(segment.seq)
        {
            segment.flags |= flag;
            segment.urgent = pointer;
        }
        plan
    }

    //= rfc9293#section-3.10.5 (MUST)
    // An abort is told by a reset numbered SND.NXT.
    fn plan_reset(&self) -> Plan {
        Plan {
            segment: Segment {
                seq: self.bare_seq(),
                ack: self.rcv.nxt,
                flags: Flags::RST | Flags::ACK,
                ..Segment::default()
            },
            payload_len: 0,
            segment_len: 0,
            what: What::Reset,
            edge: self.rcv.edge(),
        }
    }

    fn plan_stray_reset(&self) -> Plan {
        Plan {
            segment: Segment {
                seq: self.owed.stray_seq,
                flags: Flags::RST,
                ..Segment::default()
            },
            payload_len: 0,
            segment_len: 0,
            what: What::StrayReset,
            edge: self.rcv.edge(),
        }
    }

    /// What options a segment sent now will have, in bytes.
    #[inline]
    fn options_len(&self) -> u32 {
        let timestamps = self.ts.enabled.then(Timestamps::default);
        let shows_bytes = self.shows_bytes(true);
        if !self.sends_sack() && !shows_bytes {
            return if timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        }
        let mut options = TcpOptions {
            timestamps,
            ..TcpOptions::default()
        };
        if self.sends_sack() {
            options.sack = self.rcv.sack_blocks();
        }
        if shows_bytes {
            options.accurate_ecn = self.bytes_beside(&options);
        }
        options.encoded_len() as u32
    }

    #[inline]
    pub(super) fn sends_sack(&self) -> bool {
        self.sack && self.rcv.has_sack_news()
    }

    /// The number of a segment without text: SND.NXT, unless the peer has shut
    /// its window on what is in flight; it would take that for out of window,
    /// and our acknowledgment with it.
    pub(super) fn bare_seq(&self) -> SeqNum {
        if self.state == State::SynReceived {
            return self.snd.nxt;
        }
        self.snd.nxt.min(self.snd.una + self.snd.wnd)
    }
}
