//! How much may wait: buffers that grow with what the path carries.
//!
//! Read first: RFC 9293 section 3.8.6 (who says how large a window is), RFC 7323
//! section 1.1 (what a window costs that is smaller than rate times round trip);
//! Fisk and Feng, "Dynamic Right-Sizing in TCP" (2001); Semke, Mahdavi and
//! Mathis, "Automatic TCP Buffer Tuning" (1998).
//!
//! Always true: a buffer starts with what the configuration says, never shrinks
//! by itself, and never grows beyond its ceiling. It grows only by what the peer
//! really delivers and the application really reads, or by what the peer really
//! acknowledges; a connection that was parked starts anew. While memory is scarce
//! over all connections, none grows, and what has grown counts for what it started
//! with: what was offered to the peer, or taken from the application, stands.

use crore_base::{Duration, Instant};
use crore_wire::Segment;

use super::Connection;

impl Connection {
    /// Looks whether the receive buffer is about to be what keeps the peer from
    /// sending more, once what came since the last look is worth it.
    #[inline]
    pub(super) fn fit_receive_buffer(&mut self, now: Instant, seg: &Segment) {
        if self.rcv.is_worth_a_look() {
            self.look_at_receive_buffer(now, seg);
        }
    }

    // Half a buffer within a round trip and a half: the peer sends a third of the
    // window for each round trip, and may double that with the next one. So a
    // window that is not the limit stays about twice what is under way.
    #[cold]
    fn look_at_receive_buffer(&mut self, now: Instant, seg: &Segment) {
        if self.is_short_of_memory || !self.rcv.is_looked_at() {
            self.rcv.begin_looking(now);
            return;
        }
        let ceiling = self.config.receive_ceiling();
        let elapsed = now.since(self.rcv.looked_at());
        let is_fast = self
            .peers_round_trip(now, seg)
            .is_some_and(|round_trip| elapsed <= round_trip + round_trip.div(2));
        self.rcv.look(now, is_fast, ceiling);
    }

    /// How long what we acknowledge takes to bring new data. The peer's echo
    /// tells, where our clock's milliseconds can; else what was measured for our
    /// own segments, be it for the SYN alone.
    fn peers_round_trip(&self, now: Instant, seg: &Segment) -> Option<Duration> {
        const COARSE: Duration = Duration::from_millis(2);
        let echo = seg.options.timestamps.filter(|_| self.ts.enabled);
        let echoed = echo.and_then(|timestamps| self.ts.round_trip(now, timestamps.echo));
        match (echoed, self.rtt.srtt()) {
            (Some(echoed), Some(srtt)) if echoed <= COARSE => Some(srtt.min(echoed)),
            (Some(echoed), _) => Some(echoed),
            (None, srtt) => srtt,
        }
    }

    /// Makes room for a write of `len` bytes, if congestion control would have
    /// that much more on its way.
    #[inline]
    pub(super) fn fit_send_buffer(&mut self, len: usize) {
        if len > self.snd.room() {
            self.grow_send_buffer();
        }
    }

    // What is in flight, and as much again to follow it: the application is asked
    // for more only when a part of what it wrote was acknowledged.
    #[cold]
    fn grow_send_buffer(&mut self) {
        if self.is_short_of_memory {
            return;
        }
        let in_flight = self.congestion.window().min(self.snd.max_wnd);
        let wanted = in_flight.saturating_mul(2).min(self.config.send_ceiling());
        self.snd.grow(wanted);
    }

    /// Whether memory is scarce over all connections, as their owner says. It is
    /// asked for before data is handed over, read or written.
    #[inline]
    pub fn set_short_of_memory(&mut self, is_short: bool) {
        if self.is_short_of_memory != is_short {
            self.change_allowance(is_short);
        }
    }

    //= rfc9293#section-3.8.6 (SHOULD NOT)
    // The window does not shrink for it: its edge stays until the peer has come
    // so near that the smaller buffer would offer more.
    #[cold]
    fn change_allowance(&mut self, is_short: bool) {
        self.is_short_of_memory = is_short;
        if is_short {
            self.rcv.shrink(self.config.receive_limit());
            self.snd.shrink(self.config.send_buffer);
        }
    }

    /// Whether `seg` has what comes next, while nothing waits for the reader: what is
    /// held, if anything, waits for that.
    pub fn unblocks(&self, seg: &Segment) -> bool {
        self.rcv.readable() == 0 && seg.seq.at_or_before(self.rcv.nxt)
    }

    /// How many bytes are written and not acknowledged beyond what the
    /// configuration grants each connection.
    #[inline]
    pub fn written_beyond(&self) -> u32 {
        self.snd.queued().saturating_sub(self.config.send_buffer)
    }

    /// Pieces of out-of-order data that may be held: as many as configured for each
    /// 256 KiB that were ever offered, be it before the connection was parked.
    pub(super) fn reassembly_limit(&self) -> usize {
        const EACH: u32 = 256 << 10;
        let times = self.rcv.most().div_ceil(EACH) as usize;
        times * usize::from(self.config.max_reassembly_chunks)
    }
}
