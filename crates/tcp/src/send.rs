//! What the peer has acknowledged, what is in flight, and what waits.
//!
//! Read first: RFC 9293 sections 3.3.1 and 3.4, RFC 7323 section 2.
//!
//! Always true: `una <= nxt <= data_end (+ 1 for our FIN)`; the queue holds
//! exactly the data bytes from `base` to `data_end`.
//!
//! ```text
//!       una = base          nxt              data_end
//!   ------|------------------|------------------|F|-----
//!   acked |    in flight     |    not yet sent  | FIN, if queued
//!
//!   (while our SYN is unacknowledged, una = iss and base = iss + 1)
//! ```

use crore_base::{SeqNum, WindowScale};
use crore_netbuf::{ByteQueue, Chunk};

/// Bytes of bookkeeping that a queued chunk costs besides what it pins.
const ENTRY: usize = 64;

/// The send sequence space.
#[derive(Debug)]
pub(crate) struct SendSpace {
    /// SND.UNA: oldest unacknowledged number.
    pub(crate) una: SeqNum,
    /// SND.NXT: next number to be used; never goes back.
    pub(crate) nxt: SeqNum,
    /// SND.WND: the peer's window in bytes, from `una`.
    pub(crate) wnd: u32,
    /// The largest it has been.
    pub(crate) max_wnd: u32,
    /// SND.WL1: the segment number of the last window update.
    wl1: SeqNum,
    /// SND.WL2: the acknowledgment of the last window update.
    wl2: SeqNum,
    /// ISS: our initial sequence number.
    pub(crate) iss: SeqNum,
    /// Number of the first byte in the queue.
    base: SeqNum,
    /// How the peer scales its window field.
    pub(crate) scale: WindowScale,
    /// The application has finished; our FIN follows the data.
    pub(crate) fin_queued: bool,
    /// A write was cut short: it is to be told when there is room.
    pub(crate) starved: bool,
    /// Bytes that the queue may hold.
    limit: u32,
    queue: ByteQueue,
}

impl SendSpace {
    #[inline]
    pub(crate) fn new(iss: SeqNum, limit: u32) -> Self {
        Self {
            una: iss,
            nxt: iss,
            wnd: 0,
            max_wnd: 0,
            wl1: SeqNum(0),
            wl2: SeqNum(0),
            iss,
            base: iss + 1,
            scale: WindowScale::ZERO,
            fin_queued: false,
            starved: false,
            limit: limit.max(1),
            queue: ByteQueue::new(),
        }
    }

    /// Of a connection that was established, with nothing in flight and nothing
    /// that waits; the window is `wnd` since the peer sent up to `rcv_nxt`.
    /// `finished` if our FIN is acknowledged.
    #[inline]
    pub(crate) fn idle(
        nxt: SeqNum,
        limit: u32,
        (scale, wnd): (WindowScale, u32),
        rcv_nxt: SeqNum,
        finished: bool,
    ) -> Self {
        Self {
            base: nxt - u32::from(finished),
            scale,
            fin_queued: finished,
            wnd,
            max_wnd: wnd,
            wl1: rcv_nxt,
            wl2: nxt,
            ..Self::new(nxt, limit)
        }
    }

    /// From now on the queue may hold `limit` bytes; what it holds beyond stays.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(1);
    }

    /// How many bytes the queue may hold.
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }

    /// From now on the queue may hold `limit` bytes, if that is more than it might.
    pub(crate) fn grow(&mut self, limit: u32) {
        self.limit = self.limit.max(limit);
    }

    /// From now on it may hold no more than `limit` bytes, if it might hold more.
    pub(crate) fn shrink(&mut self, limit: u32) {
        self.limit = self.limit.min(limit.max(1));
    }

    /// Appends what fits of `data`, and says how much that was.
    pub(crate) fn write(&mut self, data: &[u8]) -> usize {
        let taken = self.room().min(data.len());
        if taken > 0 {
            self.queue.push_slice_coalescing(&data[..taken]);
        }
        self.starved |= taken < data.len();
        taken
    }

    /// Appends what fits of `chunk`; without copying, unless it pins far more
    /// than it holds. (One such may, where nothing waits before it: an echo of a
    /// short request, which is gone a round trip later.)
    pub(crate) fn write_chunk(&mut self, mut chunk: Chunk) -> usize {
        let taken = self.room().min(chunk.len());
        self.starved |= taken < chunk.len();
        if taken > 0 {
            chunk.truncate(taken);
            if self.queue.is_empty() || chunk.footprint() + ENTRY <= 4 * taken {
                self.queue.push(chunk);
            } else {
                self.queue.push_slice_coalescing(&chunk);
            }
        }
        taken
    }

    /// How many bytes a write would take.
    pub(crate) fn room(&self) -> usize {
        (self.limit as usize).saturating_sub(self.queue.len())
    }

    /// Whether a starved writer has enough room again to be worth waking: a
    /// quarter of the buffer.
    pub(crate) fn may_wake_writer(&self) -> bool {
        self.starved && self.room() >= (self.limit as usize / 4).max(1)
    }

    /// Everything before `ack` is acknowledged (`una < ack <= nxt`).
    pub(crate) fn acknowledge(&mut self, ack: SeqNum) {
        if ack.after(self.base) {
            let bytes = (self.base.distance_to(ack) as usize).min(self.queue.len());
            self.queue.consume(bytes);
            self.base += bytes as u32;
        }
        self.una = ack;
    }

    //= rfc9293#section-3.10.7.4 (MUST)
    // The window is taken from a segment no older than the one that set it
    // last, so that a late segment does not undo a newer one's word.
    /// Takes the (scaled) window from a segment, and says whether it changed.
    pub(crate) fn update_window(&mut self, seq: SeqNum, ack: SeqNum, wnd: u32) -> bool {
        if self.wl1.before(seq) || (self.wl1 == seq && self.wl2.at_or_before(ack)) {
            self.set_window(seq, ack, wnd)
        } else {
            false
        }
    }

    /// Takes the window without asking how old the segment is (handshake).
    pub(crate) fn set_window(&mut self, seq: SeqNum, ack: SeqNum, wnd: u32) -> bool {
        let changed = self.wnd != wnd;
        self.wnd = wnd;
        self.max_wnd = self.max_wnd.max(wnd);
        self.wl1 = seq;
        self.wl2 = ack;
        changed
    }

    /// Drops all data that waits.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// Copies the bytes at `seq` and says how many there were.
    pub(crate) fn copy_at(&self, seq: SeqNum, out: &mut [u8]) -> usize {
        // Beyond the queue (a caller's mistake) the distance is huge, and nothing is copied.
        self.queue.copy_at(self.base.distance_to(seq) as usize, out)
    }

    /// One past the last byte that the application has written: our FIN's number.
    pub(crate) fn data_end(&self) -> SeqNum {
        self.base + self.queue.len() as u32
    }

    /// One past all that is to be sent, our FIN included.
    pub(crate) fn end(&self) -> SeqNum {
        self.data_end() + u32::from(self.fin_queued)
    }

    /// Bytes of sequence space sent and not acknowledged.
    pub(crate) const fn flight(&self) -> u32 {
        self.una.distance_to(self.nxt)
    }

    /// Whether data is in flight; a SYN is none.
    #[inline]
    pub(crate) fn has_data_out(&self) -> bool {
        self.base != self.nxt
    }

    /// Whether anything waits to be sent for the first time.
    pub(crate) fn has_unsent(&self) -> bool {
        self.nxt != self.end()
    }

    /// Data bytes that were never sent.
    pub(crate) fn unsent_data(&self) -> u32 {
        let end = self.data_end();
        if self.nxt.before(end) {
            self.nxt.distance_to(end)
        } else {
            0
        }
    }

    /// Data bytes that are acknowledged, modulo 2^32. After parking it is not known
    /// how many there were before.
    pub(crate) fn acknowledged(&self) -> u32 {
        let first = self.iss + 1;
        if self.una.before(first) {
            return 0;
        }
        first.distance_to(self.una.min(self.data_end()))
    }

    /// Data bytes that are not acknowledged, sent or not.
    pub(crate) fn queued(&self) -> u32 {
        self.queue.len() as u32
    }

    /// Data bytes from `seq` on.
    pub(crate) fn unsent_from(&self, seq: SeqNum) -> u32 {
        let end = self.data_end();
        if seq.before(end) { seq.distance_to(end) } else { 0 }
    }

    /// How far the peer's window reaches beyond `seq`, in bytes; zero when it
    /// does not.
    pub(crate) fn window_beyond(&self, seq: SeqNum) -> u32 {
        let edge = self.una + self.wnd;
        if seq.before(edge) {
            seq.distance_to(edge)
        } else {
            0
        }
    }

    /// Whether our FIN is acknowledged.
    pub(crate) fn fin_acked(&self) -> bool {
        self.fin_queued && self.una.after(self.data_end())
    }

    pub(crate) fn footprint(&self) -> usize {
        self.queue.footprint()
    }
}
