//! What the peer may send, what has come, and what the application has not read.
//!
//! Read first: RFC 9293 sections 3.4, 3.8.6 and 3.10.7.4, RFC 7323 section 2,
//! RFC 2018 and 2883 (what is told of out-of-order and duplicate data).
//!
//! Always true: `nxt <= edge <= nxt + (buffer - unread)`, so that whatever is
//! accepted has room; `edge` never goes back.
//!
//! ```text
//!    unread       nxt                       edge
//!  |#############|-----------|##early##|-----|--------
//!   for the reader   free       held          not offered
//! ```

mod sizing;

use crore_base::{DropReason, Instant, SeqNum, WindowScale};
use crore_netbuf::{ByteQueue, Chunk};
use crore_wire::SackBlocks;

use crate::assembler::{Assembler, Inserted};

/// Bytes of bookkeeping that a queued chunk costs besides what it pins.
const ENTRY: usize = 64;

/// The receive sequence space.
#[derive(Debug)]
pub(crate) struct ReceiveSpace {
    /// RCV.NXT: next number expected.
    pub(crate) nxt: SeqNum,
    /// IRS: the peer's initial sequence number.
    pub(crate) irs: SeqNum,
    /// One past the highest number that the peer was ever allowed to send.
    edge: SeqNum,
    /// The acknowledgment that was sent last (RFC 7323's Last.ACK.sent).
    pub(crate) last_ack_sent: SeqNum,
    /// Where `nxt` is in the peer's stream.
    position: u64,
    /// How we scale our window field.
    pub(crate) scale: WindowScale,
    /// How we offer to scale it on a SYN of ours. What was offered stands.
    pub(crate) offered_scale: WindowScale,
    /// The peer's FIN was taken.
    pub(crate) fin_received: bool,
    /// Number of the peer's FIN, once seen.
    fin: Option<SeqNum>,
    /// Bytes that may wait for the reader.
    buffer: u32,
    /// The most that it ever was: as much may have been offered.
    most: u32,
    /// When it was looked last whether the buffer is large enough (zero: never),
    /// and when `nxt` is so far that it is worth another look.
    looked_at: Instant,
    next_look: SeqNum,
    queue: ByteQueue,
    /// What came before its turn; none while nothing did, which is nearly always.
    early: Option<Box<Assembler>>,
    /// What came a second time and has not been told of yet (RFC 2883).
    duplicate: Option<(SeqNum, SeqNum)>,
}

/// What a segment's text brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Received {
    /// New bytes for the reader.
    pub(crate) readable: bool,
    /// It lies beyond a hole.
    pub(crate) early: bool,
    /// The peer's FIN was reached.
    pub(crate) finished: bool,
    /// Something is amiss (a hole, a duplicate): the peer must learn at once
    /// where we stand.
    pub(crate) ack_now: bool,
    /// Why some of it was thrown away.
    pub(crate) dropped: Option<DropReason>,
}

impl ReceiveSpace {
    /// `limit` bytes may wait for the reader.
    pub(crate) fn new(limit: u32, offered_scale: WindowScale) -> Self {
        Self {
            nxt: SeqNum(0),
            irs: SeqNum(0),
            edge: SeqNum(0),
            last_ack_sent: SeqNum(0),
            position: 0,
            scale: WindowScale::ZERO,
            offered_scale,
            fin_received: false,
            fin: None,
            buffer: limit.max(1),
            most: limit.max(1),
            looked_at: Instant::ZERO,
            next_look: SeqNum(0),
            queue: ByteQueue::new(),
            early: None,
            duplicate: None,
        }
    }

    /// The peer's SYN came; `promised` is the window that our own SYN named.
    pub(crate) fn synchronize(&mut self, irs: SeqNum, promised: u32) {
        self.irs = irs;
        self.nxt = irs + 1;
        self.edge = self.nxt + promised;
        self.last_ack_sent = self.nxt;
        self.next_look = self.nxt;
    }

    /// Of a connection that was established, with nothing unread and nothing out
    /// of order, whose peer may send `wnd` bytes; `finished` if its FIN was taken.
    #[inline]
    pub(crate) fn idle(
        nxt: SeqNum,
        limit: u32,
        (scale, offered_scale): (WindowScale, WindowScale),
        wnd: u32,
        finished: bool,
    ) -> Self {
        let limit = limit.max(1);
        Self {
            irs: nxt - 1,
            nxt,
            edge: nxt + wnd,
            last_ack_sent: nxt,
            next_look: nxt,
            most: limit.max(wnd),
            fin_received: finished,
            fin: finished.then_some(nxt - 1),
            scale,
            ..Self::new(limit, offered_scale)
        }
    }

    /// Whether `len` bytes from `seq` on are just what comes next: they fit the
    /// window, nothing is missing before them, and no FIN is known of.
    #[inline]
    pub(crate) fn expects(&self, seq: SeqNum, len: usize) -> bool {
        seq == self.nxt && len <= self.window() as usize && self.fin.is_none() && self.early.is_none()
    }

    /// The peer sent `payload` from `seq` on, and `fin` behind it. What lies
    /// outside the window is cut off.
    pub(crate) fn accept(&mut self, seq: SeqNum, mut payload: Chunk, fin: bool, limit: usize) -> Received {
        let mut seq = seq;
        let mut received = Received::default();
        let fin_seq = seq + payload.len() as u32;
        let came = payload.len();
        let begins_old = seq.before(self.nxt);
        if begins_old {
            let old = (seq.distance_to(self.nxt) as usize).min(payload.len());
            self.note_duplicate(seq, old as u32);
            payload.advance(old);
            seq += old as u32;
            received.ack_now = true;
        }
        let limit_seq = self.fin.map_or(self.edge, |fin| fin.min(self.edge));
        let allowed = if seq.before(limit_seq) {
            seq.distance_to(limit_seq) as usize
        } else {
            0
        };
        if payload.len() > allowed {
            payload.truncate(allowed);
            received.ack_now = true;
            received.dropped = Some(DropReason::OutOfWindow);
        }
        if fin && self.fin.is_none() && fin_seq.at_or_after(self.nxt) && fin_seq.at_or_before(self.edge) {
            self.fin = Some(fin_seq);
            received.ack_now = true;
        }
        if payload.is_empty() {
            if came > 0 && received.dropped.is_none() {
                received.dropped = Some(DropReason::Duplicate);
            }
        } else if seq == self.nxt {
            let end = self.position + payload.len() as u64;
            let held = self
                .early
                .as_ref()
                .and_then(|early| early.first_held(self.position, end));
            // Of one segment the first duplicate stretch is told.
            if let Some((start, end)) = held
                && !begins_old
            {
                self.note_duplicate(seq + (start - self.position) as u32, (end - start) as u32);
            }
            self.deliver(payload);
            received.readable = true;
            if self.early.is_some() {
                // Filling a hole is acknowledged at once (RFC 5681 section 4.2).
                received.ack_now = true;
                self.deliver_held();
            }
        } else {
            received.ack_now = true;
            received.early = true;
            let position = self.position + u64::from(self.nxt.distance_to(seq));
            let early = self.early.get_or_insert_default();
            let (inserted, held) = early.insert(position, &payload, limit);
            match inserted {
                Inserted::New => {}
                Inserted::Duplicate => received.dropped = Some(DropReason::Duplicate),
                Inserted::Full => received.dropped = Some(DropReason::ReassemblyFull),
            }
            if let Some((start, end)) = held {
                self.note_duplicate(seq + (start - position) as u32, (end - start) as u32);
            }
            self.forget_if_empty();
        }
        if self.fin == Some(self.nxt) {
            self.finish();
            received.finished = true;
            received.ack_now = true;
        }
        received
    }

    //= rfc2883#section-4 (MUST)
    // What arrives a second time is told once, in the next acknowledgment. Of
    // several segments in one burst the last is told of, with those that it
    // continues.
    /// `len` numbers from `seq` on, no new ones, came again. What lies before all
    /// that came (since the connection was woken) came for the first time: a forgery.
    pub(crate) fn note_duplicate(&mut self, seq: SeqNum, len: u32) {
        let come = self.position + u64::from(self.fin_received);
        let is_old = seq.before(self.nxt);
        if len == 0 || (is_old && u64::from(seq.distance_to(self.nxt)) > come) {
            return;
        }
        let start = match self.duplicate {
            Some((start, end)) if end == seq => start,
            _ => seq,
        };
        self.duplicate = Some((start, seq + len));
    }

    /// What was held and now has its turn; nothing beyond the peer's FIN.
    fn deliver_held(&mut self) {
        while let Some(early) = &mut self.early
            && let Some(mut chunk) = early.pop(self.position)
        {
            if let Some(fin) = self.fin {
                if self.nxt.at_or_after(fin) {
                    break;
                }
                chunk.truncate(self.nxt.distance_to(fin) as usize);
            }
            self.deliver(chunk);
        }
        self.forget_if_empty();
    }

    /// Gives the memory for early data back once there is none.
    fn forget_if_empty(&mut self) {
        if self.early.as_ref().is_some_and(|early| early.is_empty()) {
            self.early = None;
        }
    }

    fn finish(&mut self) {
        self.fin_received = true;
        self.nxt += 1;
        self.edge = self.edge.max(self.nxt);
        self.early = None;
    }

    /// Bytes in order, for the reader. They stay in the packet's own buffer if
    /// they fill enough of it, or if nothing waits before them, since they are
    /// then read at once as a rule; else small ones share a block.
    #[inline]
    pub(crate) fn deliver(&mut self, chunk: Chunk) {
        let len = chunk.len();
        self.nxt += len as u32;
        self.position += len as u64;
        if self.queue.is_empty() || chunk.footprint() + ENTRY <= 4 * len {
            self.queue.push(chunk);
        } else {
            self.queue.push_slice_coalescing(&chunk);
        }
    }

    /// The next piece for the reader.
    #[inline]
    pub(crate) fn read(&mut self) -> Option<Chunk> {
        self.queue.pop()
    }

    /// The next piece for the reader, of at most `most` bytes.
    pub(crate) fn read_up_to(&mut self, most: usize) -> Option<Chunk> {
        self.queue.pop_up_to(most)
    }

    /// Copies what the reader would get, from `skip` bytes on, and says how much that was.
    pub(crate) fn peek(&self, skip: usize, out: &mut [u8]) -> usize {
        self.queue.copy_at(skip, out)
    }

    /// What the window field is to say in a segment sent now, and the edge that
    /// it stands for.
    ///
    //= rfc9293#section-3.8.6.2.2 (MUST)
    // The window opens in steps of a segment or half the buffer, whichever is
    // smaller, so that the peer is not tempted into tiny segments.
    //= rfc9293#section-3.8.6 (SHOULD NOT)
    // The right edge does not move left. A scaled field can't always name it
    // exactly: it is then rounded up where there is room (RFC 7323 section 2.4
    // tells what a sender must bear where there is none).
    pub(crate) fn offer(&self, mss: u32) -> (u16, SeqNum) {
        let shift = self.scale.shift();
        let free = self.free();
        let offered = self.window();
        let step = (self.buffer / 2).min(mss).max(1);
        let units = if free >= offered.saturating_add(step) {
            free >> shift
        } else {
            let up = (offered >> shift) + u32::from(offered & ((1 << shift) - 1) != 0);
            if u64::from(up) << shift <= u64::from(free) {
                up
            } else {
                offered >> shift
            }
        };
        let field = units.min(0xffff) as u16;
        let edge = self.nxt + (u32::from(field) << shift);
        (field, edge.max(self.edge))
    }

    /// The window for a SYN: never scaled.
    pub(crate) fn offer_on_syn(&self) -> u16 {
        Self::offered_on_syn(self.buffer)
    }

    /// The window for a SYN-ACK, and the edge that it stands for: data that came
    /// with the SYN has moved RCV.NXT, and may fill the buffer.
    pub(crate) fn offer_on_syn_ack(&self) -> (u16, SeqNum) {
        let field = self.free().min(0xffff) as u16;
        (field, self.edge.max(self.nxt + u32::from(field)))
    }

    /// The same, of a buffer of so many bytes.
    pub(crate) const fn offered_on_syn(buffer: u32) -> u16 {
        match buffer {
            0 => 1,
            1..=0xffff => buffer as u16,
            _ => 0xffff,
        }
    }

    /// An acknowledgment of `ack` that allows up to `edge` was sent.
    pub(crate) fn on_ack_sent(&mut self, ack: SeqNum, edge: SeqNum) {
        self.last_ack_sent = ack;
        self.edge = self.edge.max(edge);
        self.duplicate = None;
    }

    /// Whether the window has opened so far since the peer heard of it that it
    /// is worth a segment of its own: by two segments or half the buffer, and
    /// the peer may be short of it.
    pub(crate) fn update_is_due(&self, mss: u32) -> bool {
        let (free, offered) = (self.free(), self.window());
        let is_missed = free - offered >= self.buffer / 4
            || offered <= self.buffer / 8
            || self.buffer <= mss.saturating_mul(8);
        if !is_missed {
            return false;
        }
        let (_, edge) = self.offer(mss);
        let opened = self.edge.distance_to(edge);
        opened >= (self.buffer / 2).min(mss.saturating_mul(2)).max(1)
    }

    //= rfc2018#section-4 (MUST)
    // The block with the segment that came last stands first; others follow,
    // the more recent before the older.
    //= rfc2883#section-4 (MUST)
    // Before all of them stands what came twice, be it acknowledged by then or
    // not; if it is part of a block, that block is the next one, since it holds
    // the segment that came last.
    pub(crate) fn sack_blocks(&self) -> SackBlocks {
        let mut blocks = SackBlocks::new();
        if let Some((start, end)) = self.duplicate {
            blocks.push(start, end);
        }
        for (start, end) in self.early.iter().flat_map(|early| early.recent_runs()) {
            let number = |position: u64| self.nxt + (position - self.position) as u32;
            if !blocks.push(number(start), number(end)) {
                break;
            }
        }
        blocks
    }

    /// Drops all that was received.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.early = None;
    }

    /// Drops what came out of order: its turn will not come.
    pub(crate) fn clear_early(&mut self) {
        self.early = None;
    }

    /// RCV.WND: how much of what was offered is unused.
    pub(crate) const fn window(&self) -> u32 {
        self.nxt.distance_to(self.edge)
    }

    /// One past the last number that the peer may send.
    pub(crate) const fn edge(&self) -> SeqNum {
        self.edge
    }

    /// Room behind `nxt`.
    fn free(&self) -> u32 {
        self.buffer
            .saturating_sub(self.queue.len() as u32)
            .max(self.window())
    }

    /// Bytes that have come in order, modulo 2^32; since it was woken, if it was parked.
    pub(crate) const fn received(&self) -> u32 {
        self.position as u32
    }

    pub(crate) fn readable(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing that came waits for anything.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.early.is_none() && self.fin.is_some() == self.fin_received
    }

    pub(crate) fn has_early_data(&self) -> bool {
        self.early.is_some()
    }

    /// Whether there is something to be told by SACK blocks.
    #[inline]
    pub(crate) fn has_sack_news(&self) -> bool {
        self.early.is_some() || self.duplicate.is_some()
    }

    pub(crate) fn footprint(&self) -> (usize, usize) {
        (
            self.queue.footprint(),
            self.early.as_ref().map_or(0, |early| early.footprint()),
        )
    }
}
