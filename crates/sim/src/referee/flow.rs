//! One connection, as its one end's frames show it.

use crore_base::{Duration, Instant, SeqNum};
use crore_wire::{AccEcnOption, Ecn, Flags, Segment};

use super::ranges::Ranges;
use crate::pattern::Pattern;

/// How often, within [`SPAN`], an end may repeat what it has said last though
/// nothing new has come: TCP's own limits on challenges allow about ten.
const REPEATS: u32 = 100;
const SPAN: Duration = Duration::from_secs(1);
/// Numbers that lie farther apart belong to different lives of a tuple, or to forgeries.
const FAR: u32 = 1 << 28;
/// SYN-ACKs whose number may still become the connection's: a cookie has another
/// one each time.
const CANDIDATES: usize = 32;

/// The two directions of a connection.
pub(super) struct Flow {
    pattern: Pattern,
    /// Bytes that this end is ever to send.
    total: u64,
    sent: Sent,
    received: Received,
    /// A reset was sent, or a second life began: nothing is judged any more.
    over: bool,
    /// A reset has come, which may have been believed.
    may_be_over: bool,
    chatter: Chatter,
    duplicates: u64,
    dsacks: u64,
}

/// What this end has sent.
#[derive(Default)]
struct Sent {
    /// Numbers of the SYNs that were sent, the connection's among them.
    candidates: Vec<SeqNum>,
    iss: Option<SeqNum>,
    scale: Option<u8>,
    sack: bool,
    /// One past the highest number sent, from `iss`.
    highest: u32,
    /// Where the FIN stands.
    fin: Option<u32>,
    /// Up to where the peer was ever allowed to send, from its first number.
    offered: Option<u32>,
}

/// What this end was handed.
#[derive(Default)]
struct Received {
    irs: Option<SeqNum>,
    scale: Option<u8>,
    sack: bool,
    got: Ranges,
    /// The highest acknowledgment.
    ack: Option<SeqNum>,
    /// The farthest that this end was ever allowed to send.
    edge: Option<SeqNum>,
    /// What the peer's SYN allowed, from our first byte on.
    first_window: Option<u16>,
    /// Acknowledgment and window of the last segment.
    last: Option<(SeqNum, u16)>,
    /// Bytes of text that came with ECT(0), CE and ECT(1).
    marked: [u64; 3],
}

/// How much an end repeats itself.
#[derive(Default)]
struct Chatter {
    last: Option<(SeqNum, SeqNum, u16, Flags, Option<AccEcnOption>)>,
    /// Segments that came since and may each be answered: with text, or with
    /// another acknowledgment or window.
    news: u32,
    since: Instant,
    repeats: u32,
}

impl Flow {
    pub(super) fn new(pattern: Pattern, total: u64) -> Self {
        Self {
            pattern,
            total,
            sent: Sent::default(),
            received: Received::default(),
            over: false,
            may_be_over: false,
            chatter: Chatter::default(),
            duplicates: 0,
            dsacks: 0,
        }
    }

    pub(super) fn on_received(&mut self, seg: &Segment, len: u32) {
        let received = &mut self.received;
        match seg.ecn {
            Ecn::NotEct => {}
            Ecn::Ect0 => received.marked[0] += u64::from(len),
            Ecn::Ce => received.marked[1] += u64::from(len),
            Ecn::Ect1 => received.marked[2] += u64::from(len),
        }
        if seg.flags.has_rst() {
            self.may_be_over = true;
            return;
        }
        if seg.flags.has_syn() {
            match received.irs {
                // Another life, or somebody's forgery: which of them the stack
                // believes can't be seen from here.
                Some(irs) if irs != seg.seq => {
                    self.over = true;
                    return;
                }
                _ => received.irs = Some(seg.seq),
            }
            received.scale = seg.options.window_scale.map(|scale| scale.shift());
            received.sack = seg.options.sack_permitted;
        }
        if seg.flags.has_ack() && self.sent.has_sent(seg.ack) {
            let scaled = !seg.flags.has_syn() && self.sent.scale.is_some();
            let shift = if scaled { received.scale.unwrap_or(0) } else { 0 };
            let edge = seg.ack + (u32::from(seg.window) << shift);
            received.edge = Some(received.edge.map_or(edge, |other| other.max(edge)));
            received.ack = Some(received.ack.map_or(seg.ack, |other| other.max(seg.ack)));
            self.chatter.news += u32::from(len == 0 && received.last != Some((seg.ack, seg.window)));
            received.last = Some((seg.ack, seg.window));
        } else if seg.flags.has_syn() && !seg.flags.has_ack() {
            received.first_window = Some(seg.window);
            let edge = SeqNum(u32::from(seg.window));
            // Counted from our own number, which a crossing SYN has not named.
            received.edge = received
                .edge
                .or(self.sent.candidates.last().map(|iss| *iss + 1 + edge.0));
        }
        let Some(irs) = received.irs else { return };
        let from = irs.distance_to(seg.seq);
        let to = from.wrapping_add(seg.sequence_len(len as usize));
        if from < FAR && to < FAR {
            let new = received.got.add(from, to);
            self.duplicates += u64::from(!new && to > from && received.sack && self.sent.sack);
        }
        self.chatter.news += u32::from(to != from);
    }

    pub(super) fn on_sent(&mut self, now: Instant, seg: &Segment, bytes: &[u8]) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        if seg.flags.has_rst() {
            self.over = true;
            return Ok(());
        }
        if seg.flags.has_syn() {
            // The peer's SYN once more, after everything: the tuple's next life.
            self.over = self.sent.iss.is_some_and(|iss| iss != seg.seq);
            if self.over {
                return Ok(());
            }
            self.sent.on_syn(seg, bytes.len() as u32);
            self.judge_early_text(seg, bytes)?;
        }
        if seg.flags.has_ack() {
            self.judge_acknowledgment(seg)?;
            // A SYN-ACK that was on its way out while the handshake ended says
            // what it said before.
            if !seg.flags.has_syn() {
                self.judge_window(seg)?;
            }
            self.chatter.judge(now, seg, bytes.len())?;
        }
        self.judge_marks(seg)?;
        if seg.flags.has_syn() {
            return Ok(());
        }
        let iss = self.sent.settle(seg.seq)?;
        let from = iss.distance_to(seg.seq);
        let to = from.wrapping_add(bytes.len() as u32);
        self.judge_text(seg, from, bytes)?;
        if seg.flags.has_fin() && *self.sent.fin.get_or_insert(to) != to {
            return Err(format!("its FIN stands at {to}, and once stood elsewhere"));
        }
        if self.sent.fin.is_some_and(|fin| to > fin && !bytes.is_empty()) {
            return Err(format!("sends bytes up to {to} behind its FIN"));
        }
        self.sent.highest = self.sent.highest.max(to + u32::from(seg.flags.has_fin()));
        Ok(())
    }

    /// Whether something is unacknowledged and the connection not over.
    pub(super) fn awaits_acknowledgment(&self) -> bool {
        let (Some(iss), Some(ack)) = (self.sent.iss, self.received.ack) else {
            return false;
        };
        let live = !self.over && !self.may_be_over;
        live && iss.distance_to(ack) < self.sent.highest
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(super) fn dsacks(&self) -> u64 {
        self.dsacks
    }

    fn judge_acknowledgment(&mut self, seg: &Segment) -> Result<(), String> {
        let got = &self.received.got;
        let Some(irs) = self.received.irs else {
            return Err(format!(
                "acknowledges {:?} of a peer that was never heard",
                seg.ack
            ));
        };
        let (ack, come) = (irs.distance_to(seg.ack), got.contiguous());
        if ack > come {
            return Err(format!("acknowledges {ack} where {come} have come"));
        }
        let mut blocks = seg.options.sack.iter();
        for (index, (left, right)) in blocks.by_ref().enumerate() {
            let (from, to) = (irs.distance_to(left), irs.distance_to(right));
            if from >= to || !got.contains(from, to) {
                return Err(format!("reports {from}..{to}, which has not come"));
            }
            if index == 0 && to <= ack {
                self.dsacks += 1;
            } else if to <= ack {
                return Err(format!(
                    "reports {from}..{to}, which it has acknowledged up to {ack}"
                ));
            }
        }
        Ok(())
    }

    //= rfc9293#section-3.8.6 (SHOULD NOT)
    // What was offered stays offered, but for what a scaled field can't name.
    fn judge_window(&mut self, seg: &Segment) -> Result<(), String> {
        let scaled = self.received.scale.is_some();
        let shift = if scaled { self.sent.scale.unwrap_or(0) } else { 0 };
        let Some(irs) = self.received.irs else {
            return Ok(());
        };
        let edge = irs.distance_to(seg.ack) + (u32::from(seg.window) << shift);
        let offered = self.sent.offered.unwrap_or(edge).max(edge);
        self.sent.offered = Some(offered);
        if edge + (1 << shift) <= offered {
            return Err(format!("takes its window back from {offered} to {edge}"));
        }
        Ok(())
    }

    //= rfc9768#section-3.2.3.2.1 (MUST NOT)
    // The option has no place on a SYN. Elsewhere nothing is told of as marked that did
    // not come so.
    fn judge_marks(&self, seg: &Segment) -> Result<(), String> {
        let Some(option) = &seg.options.accurate_ecn else {
            return Ok(());
        };
        if !seg.flags.has_ack() {
            return Err("counts marks before it has heard any".to_owned());
        }
        // As long as the counters have not turned.
        let [ect0, ce, ect1] = self.received.marked;
        for (told, first, came) in [
            (option.e0b(), 1, ect0),
            (option.ceb(), 0, ce),
            (option.e1b(), 1, ect1),
        ] {
            let told = told.map(u64::from);
            let is_true = told.is_none_or(|told| (first..=first + came).contains(&told));
            if came < 1 << 23 && !is_true {
                return Err(format!(
                    "tells of {told:?} bytes with a mark where {came} have come"
                ));
            }
        }
        Ok(())
    }

    //= rfc7413#section-4.2.2 (MUST)
    // What a SYN carries is the beginning of the stream; a SYN-ACK of ours carries nothing.
    fn judge_early_text(&self, seg: &Segment, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        if seg.flags.has_ack() {
            return Err("sends data with a SYN-ACK".to_owned());
        }
        if bytes.len() as u64 > self.total {
            return Err(format!(
                "sends {} of {} bytes with its SYN",
                bytes.len(),
                self.total
            ));
        }
        match self.pattern.first_difference(0, bytes) {
            None => Ok(()),
            Some(at) => Err(format!("byte {at} of its SYN is not what it was given")),
        }
    }

    fn judge_text(&self, seg: &Segment, from: u32, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        let to = seg.seq + bytes.len() as u32;
        // Before any acknowledgment, to whom has brought data with a SYN.
        let first = self.sent.iss.zip(self.received.first_window);
        let first = first.map(|(iss, window)| iss + 1 + u32::from(window));
        let edge = self.received.edge.or(first);
        if !edge.is_some_and(|edge| to.at_or_before(edge + 1)) {
            return Err(format!(
                "sends up to {to:?} where the peer has never allowed more than {edge:?}"
            ));
        }
        // A keepalive may carry what was sent before; our own never does.
        let Some(position) = u64::from(from).checked_sub(1) else {
            return Err("sends a byte in the place of its SYN".to_owned());
        };
        if position + bytes.len() as u64 > self.total {
            return Err(format!(
                "sends more than the {} bytes that it was given",
                self.total
            ));
        }
        match self.pattern.first_difference(position, bytes) {
            None => Ok(()),
            Some(at) => Err(format!("byte {at} of its stream is not what it was given")),
        }
    }
}

impl Sent {
    /// Whether `ack` acknowledges nothing but what was sent: else nobody believes it.
    fn has_sent(&self, ack: SeqNum) -> bool {
        let begins = self.iss.as_slice().iter().chain(&self.candidates);
        begins.into_iter().any(|iss| iss.distance_to(ack) <= self.highest)
    }

    fn on_syn(&mut self, seg: &Segment, len: u32) {
        self.highest = self.highest.max(1 + len);
        self.scale = seg.options.window_scale.map(|scale| scale.shift());
        self.sack = seg.options.sack_permitted;
        if self.candidates.contains(&seg.seq) {
            return;
        }
        if self.candidates.len() == CANDIDATES {
            self.candidates.remove(0);
        }
        self.candidates.push(seg.seq);
    }

    /// The number that the connection began with, by its first segment without SYN.
    fn settle(&mut self, seq: SeqNum) -> Result<SeqNum, String> {
        if let Some(iss) = self.iss {
            return Ok(iss);
        }
        // What it sent first may have gone nowhere, its neighbour being unreachable;
        // and a keepalive has the number of the SYN.
        let distance = |iss: &SeqNum| iss.distance_to(seq);
        let near = |iss: &SeqNum| (0..FAR).contains(&distance(iss));
        let candidates = self.candidates.iter().copied();
        match candidates.filter(near).min_by_key(distance) {
            Some(iss) => Ok(*self.iss.insert(iss)),
            None => Err(format!("begins with {seq:?}, which follows none of its SYNs")),
        }
    }
}

impl Chatter {
    fn judge(&mut self, now: Instant, seg: &Segment, len: usize) -> Result<(), String> {
        // The flags and the option count marks (RFC 9768): another count is something new.
        let says = (seg.seq, seg.ack, seg.window, seg.flags, seg.options.accurate_ecn);
        let plain = len == 0 && !seg.flags.intersects(Flags::SYN | Flags::FIN);
        let repeats = plain && self.last == Some(says) && self.news == 0;
        self.last = Some(says);
        if plain {
            // Text is sent for its own sake: what came stays to be answered.
            self.news = self.news.saturating_sub(1);
        }
        if now.since(self.since) > SPAN {
            self.since = now;
            self.repeats = 0;
        }
        self.repeats += u32::from(repeats);
        if self.repeats > REPEATS {
            return Err(format!("repeats itself {} times in {SPAN:?}", self.repeats));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
