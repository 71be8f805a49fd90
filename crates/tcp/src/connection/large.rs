//! Several full segments in one plan, to be cut apart by whoever sends it: the NIC
//! (TSO), or what writes into its buffers.
//!
//! Always true: a large plan stands for just those segments that as many plans and
//! commitments in a row would have made at the same moment, so nobody can tell by
//! what is sent whether there was one.

use crore_base::Instant;
use crore_wire::Flags;

use super::pick::Why;
use super::transmit::What;
use super::{Connection, Plan};

/// Payload of a large plan, at most: with the longest headers that fits an IP packet.
const MOST: u32 = 65_535 - 60 - 60;

impl Plan {
    /// Keeps the first `count` segments of a large plan.
    pub fn keep(&mut self, count: u16) {
        let len = self.segment_len.saturating_mul(count);
        if len < self.payload_len {
            self.payload_len = len;
            self.segment.flags = self.segment.flags.without(Flags::PSH);
        }
    }
}

impl Connection {
    /// Makes `plan`, which is this connection's and still true, stand for up to
    /// `most` segments, if more full ones of new data may follow at once.
    #[inline]
    pub fn enlarge(&self, now: Instant, plan: &mut Plan, most: u16) {
        // What ends with the last byte has nothing behind it.
        let last = Flags::PSH | Flags::FIN | Flags::SYN | Flags::RST;
        if plan.what == What::Data(Why::New) && plan.segment.flags.without(last) == plan.segment.flags {
            self.enlarge_full(now, plan, most);
        }
    }

    // What needs a look between two segments is sent one by one: an urgent pointer,
    // a pace, options that the first one pays for all, a size that is tried, a window
    // reduction that one segment tells of (of accurate ECN the same flag is a part of
    // a number, which a NIC that cuts would take for that), and all repairs.
    #[inline(never)]
    fn enlarge_full(&self, now: Instant, plan: &mut Plan, most: u16) {
        let each = u32::from(plan.payload_len);
        let is_plain = each > 0
            && self.urgent.is_none()
            && !self.pacing.is_on()
            && !self.path_mtu.wants_sent(true)
            && !plan.segment.flags.contains(Flags::CWR)
            && self.recovery.is_silent()
            && self.recovery.dup_acks == 0
            && plan.segment.options.sack.is_empty()
            && plan.segment.options.accurate_ecn.is_none();
        if !is_plain || each < self.smss() || plan.segment.seq != self.snd.nxt {
            return;
        }
        let budget = self.window_at(now).saturating_sub(self.pipe());
        let (unsent, window) = (self.snd.unsent_data(), self.snd.window_beyond(self.snd.nxt));
        let len = budget.min(unsent).min(window).min(MOST);
        let count = (len / each).min(most.into());
        if count < 2 {
            return;
        }
        plan.segment_len = plan.payload_len;
        plan.payload_len = (count * each) as u16;
        if count * each == unsent && !self.snd.fin_queued {
            plan.segment.flags |= Flags::PSH;
        } else if count * each == unsent {
            // The FIN goes with the last one.
            plan.keep((count - 1) as u16);
        }
        if plan.payload_len == plan.segment_len {
            plan.segment_len = 0;
        }
    }
}
