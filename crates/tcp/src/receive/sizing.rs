//! How many bytes may wait for the reader, and when it is looked whether they are
//! enough; what makes them enough is said in `connection/buffers.rs`.

use crore_base::Instant;

use super::ReceiveSpace;

impl ReceiveSpace {
    /// From now on `limit` bytes may wait for the reader. What the peer was
    /// allowed to send it may send all the same.
    pub(crate) fn set_limit(&mut self, limit: u32) {
        self.buffer = limit.max(1);
        self.most = self.most.max(self.buffer);
        self.look_after(self.buffer / 2);
    }

    /// From now on no more than `limit` bytes, if it was more.
    pub(crate) fn shrink(&mut self, limit: u32) {
        if limit < self.buffer {
            self.set_limit(limit);
        }
    }

    /// How many bytes may wait for the reader from now on.
    pub(crate) const fn limit(&self) -> u32 {
        self.buffer
    }

    /// The most that may wait for the reader.
    pub(crate) const fn most(&self) -> u32 {
        self.most
    }

    /// Whether enough has come to ask whether the buffer is large enough.
    #[inline]
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.nxt.at_or_after(self.next_look)
    }

    /// When that was asked last.
    pub(crate) const fn looked_at(&self) -> Instant {
        self.looked_at
    }

    /// Whether it ever was.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.looked_at != Instant::ZERO
    }

    /// Data has come: how fast more comes counts from `now`.
    pub(crate) fn begin_looking(&mut self, now: Instant) {
        self.looked_at = now;
        self.look_after(self.buffer / 2);
    }

    /// Doubles the buffer, up to `ceiling`, if the peer `is_fast` and the
    /// application keeps up with it.
    pub(crate) fn look(&mut self, now: Instant, is_fast: bool, ceiling: u32) {
        /// As good as never.
        const LONG: u32 = 1 << 30;
        if self.buffer >= ceiling {
            self.look_after(LONG);
            return;
        }
        if is_fast && self.readable() > self.buffer as usize / 4 {
            // What a hole kept back came all at once, or the reader falls behind:
            // a little later it shows which.
            self.look_after(self.buffer / 8);
            return;
        }
        if is_fast {
            self.set_limit(self.buffer.saturating_mul(2).min(ceiling));
        }
        self.looked_at = now;
        self.look_after(self.buffer / 2);
    }

    fn look_after(&mut self, bytes: u32) {
        self.next_look = self.nxt + bytes.max(1);
    }
}
