//! Memory for what waits, over all connections: received and not read, written
//! and not acknowledged.
//!
//! Read first: RFC 9293 section 3.8.6 (windows), `crates/tcp/src/connection/buffers.rs`.
//!
//! Always true: `received` is the sum of what the active connections were charged
//! with, and so is `written`, which counts only what goes beyond the send buffer
//! that each may fill; while [`Memory::is_short`], no buffer that is touched
//! grows, and none that has grown offers or takes more than it started with.

use crate::StackConfig;
use crate::pool::Active;

/// What all connections hold together, in bytes.
pub(crate) struct Memory {
    /// Received data, in order and out of order.
    received: u64,
    /// Written data beyond `tcp.send_buffer` of each connection.
    written: u64,
    receive_budget: u64,
    send_budget: u64,
    /// Packet buffers are scarce: received data is copied out of them.
    packets_are_low: bool,
    is_short: bool,
}

impl Memory {
    pub(crate) const fn new(config: &StackConfig) -> Self {
        Self {
            received: 0,
            written: 0,
            receive_budget: config.receive_budget,
            send_budget: config.send_budget,
            packets_are_low: false,
            is_short: false,
        }
    }

    pub(crate) const fn set_packets_low(&mut self, are_low: bool) {
        self.packets_are_low = are_low;
        self.weigh();
    }

    #[inline]
    pub(crate) const fn packets_are_low(&self) -> bool {
        self.packets_are_low
    }

    /// Looks how much is held. The rest is for the connections that hold little,
    /// and for what was offered to peers already.
    #[inline]
    pub(crate) const fn weigh(&mut self) {
        self.is_short = self.packets_are_low
            || self.received >= self.receive_budget / 4 * 3
            || self.written >= self.send_budget / 4 * 3;
    }

    #[inline]
    pub(crate) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether the budget for received data is used up.
    #[inline]
    pub(crate) const fn is_received_full(&self) -> bool {
        self.received >= self.receive_budget
    }

    /// Whether there is plenty, so much more received data included.
    pub(crate) const fn has_plenty_for(&self, received: u64) -> bool {
        !self.is_short && self.received + received < self.receive_budget
    }

    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// A connection is no longer active.
    pub(crate) fn forget(&mut self, active: &Active) {
        self.received -= u64::from(active.charged);
        self.written -= u64::from(active.charged_written);
    }
}

impl Active {
    /// Counts the received bytes that it holds anew.
    #[inline]
    pub(crate) fn settle(&mut self, memory: &mut Memory) {
        let now = self.conn.received_footprint() as u32;
        memory.received = memory.received - u64::from(self.charged) + u64::from(now);
        self.charged = now;
        self.conn.set_short_of_memory(memory.is_short);
    }

    /// Counts what it has written beyond its send buffer anew.
    #[inline]
    pub(crate) fn settle_written(&mut self, memory: &mut Memory) {
        let now = self.conn.written_beyond();
        if now != self.charged_written {
            memory.written = memory.written - u64::from(self.charged_written) + u64::from(now);
            self.charged_written = now;
            memory.weigh();
        }
    }
}
