//! What a stack counts. Plain numbers, read by whoever reports them.

use crore_base::DropCounters;
use crore_tcp::Stats;

use crate::cut::Written;

/// Totals since the stack was made.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Why things were thrown away.
    pub drops: DropCounters,
    /// Frames received, whatever became of them.
    pub rx_frames: u64,
    /// Bytes in them, Ethernet header included.
    pub rx_bytes: u64,
    /// Frames handed to the NIC.
    pub tx_frames: u64,
    /// Bytes in them.
    pub tx_bytes: u64,
    /// TCP segments received for a connection or a listener.
    pub segments_in: u64,
    /// TCP segments sent.
    pub segments_out: u64,
    /// Connections that listeners got as far as ESTABLISHED.
    pub accepted: u64,
    /// Connections that this host opened as far as ESTABLISHED.
    pub connected: u64,
    /// Connections that came to their end, however.
    pub closed: u64,
    /// Connections that ended by the peer's reset, a refusal or a time-out.
    pub broken: u64,
    /// Resets received for a connection.
    pub resets_in: u64,
    /// Resets sent.
    pub resets_out: u64,
    /// Segments sent again, of those connections that have ended.
    pub retransmits: u64,
    /// Keepalive probes sent, by those connections that have ended or were parked.
    pub keepalives: u64,
    /// Connections that agreed on explicit congestion notification.
    pub ecn_agreed: u64,
    /// Data segments that came marked by a congested router, of those
    /// connections that have ended.
    pub ce_in: u64,
    /// Acknowledgments that told of marked segments of ours, likewise.
    pub ece_in: u64,
    /// ARP, neighbour discovery and ICMP packets received for this host.
    pub control_in: u64,
    /// ARP, neighbour discovery and ICMP packets sent.
    pub control_out: u64,
    /// Datagrams put together from fragments.
    pub reassembled: u64,
    /// How often a router was believed that the path bears less than was thought.
    pub path_mtu_learnt: u64,
    /// How often a transmit buffer was wanted and not to be had; what was to be
    /// sent is sent later.
    pub tx_dry: u64,
    /// SYNs that were answered by a cookie, and not remembered.
    pub cookies_sent: u64,
    /// Cookies that came back, and became connections.
    pub cookies_accepted: u64,
    /// SYNs whose data was taken before the handshake was over (TCP Fast Open).
    pub fast_opens_in: u64,
    /// SYNs with a Fast Open cookie that began an ordinary handshake: the cookie was
    /// bad, or too many others were under way.
    pub fast_opens_refused: u64,
    /// SYN-ACKs with a Fast Open cookie.
    pub fast_open_cookies: u64,
    /// Connections opened by a SYN with a Fast Open cookie.
    pub fast_opens_out: u64,
    /// Segments that were taken in together with the one before them.
    pub merged: u64,
    /// Segments that were planned together with the one before them.
    pub cut: u64,
    /// Segments that the NIC has cut out of larger ones (TSO).
    pub cut_by_nic: u64,
    /// Idle connections put away into their records.
    pub parked: u64,
    /// Parked connections taken into the pool again.
    pub woken: u64,
    /// How often a place in the pool was wanted and none could be had.
    pub pool_exhausted: u64,
    /// Connections in TIME-WAIT ended early because their record, or their port, was
    /// needed.
    pub time_wait_recycled: u64,
    /// Connections whose peer has finished and whose application has not
    /// (CLOSE-WAIT), as the last walk over all of them found.
    pub close_wait: u64,
    /// Those of them on which nothing has moved for 10 seconds: forgotten by
    /// their application, most likely.
    pub close_wait_stuck: u64,
    /// The largest that `close_wait` has been.
    pub close_wait_peak: u64,
    /// Connections ended because they stayed so for too long.
    pub close_wait_ended: u64,
    /// The largest number of connection slots in use at once.
    pub connections_peak: u64,
}

impl Counters {
    /// A connection ends, or is put away: what it counted is not forgotten.
    pub(crate) fn take_over(&mut self, stats: &Stats) {
        self.retransmits += u64::from(stats.retransmits);
        self.keepalives += u64::from(stats.keepalives);
        self.ce_in += u64::from(stats.ce_received);
        self.ece_in += u64::from(stats.ece_received);
    }

    /// The segments of a large plan were sent, one at least.
    pub(crate) fn on_cut(&mut self, written: &Written) {
        let count = u64::from(written.count);
        self.segments_out += count;
        self.tx_frames += count;
        self.tx_bytes += written.bytes;
        self.cut += count.saturating_sub(1);
        self.cut_by_nic += if written.by_nic { count } else { 0 };
    }

    /// Adds what another shard has counted. The peaks of all shards together are
    /// at least as high as the peak of their sum.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            drops,
            rx_frames,
            rx_bytes,
            tx_frames,
            tx_bytes,
            segments_in,
            segments_out,
            accepted,
            connected,
            closed,
            broken,
            resets_in,
            resets_out,
            retransmits,
            keepalives,
            ecn_agreed,
            ce_in,
            ece_in,
            control_in,
            control_out,
            reassembled,
            path_mtu_learnt,
            tx_dry,
            cookies_sent,
            cookies_accepted,
            fast_opens_in,
            fast_opens_refused,
            fast_open_cookies,
            fast_opens_out,
            merged,
            cut,
            cut_by_nic,
            parked,
            woken,
            pool_exhausted,
            time_wait_recycled,
            close_wait,
            close_wait_stuck,
            close_wait_peak,
            close_wait_ended,
            connections_peak,
        } = other;
        self.drops.merge(drops);
        self.rx_frames += rx_frames;
        self.rx_bytes += rx_bytes;
        self.tx_frames += tx_frames;
        self.tx_bytes += tx_bytes;
        self.segments_in += segments_in;
        self.segments_out += segments_out;
        self.accepted += accepted;
        self.connected += connected;
        self.closed += closed;
        self.broken += broken;
        self.resets_in += resets_in;
        self.resets_out += resets_out;
        self.retransmits += retransmits;
        self.keepalives += keepalives;
        self.ecn_agreed += ecn_agreed;
        self.ce_in += ce_in;
        self.ece_in += ece_in;
        self.control_in += control_in;
        self.control_out += control_out;
        self.reassembled += reassembled;
        self.path_mtu_learnt += path_mtu_learnt;
        self.tx_dry += tx_dry;
        self.cookies_sent += cookies_sent;
        self.cookies_accepted += cookies_accepted;
        self.fast_opens_in += fast_opens_in;
        self.fast_opens_refused += fast_opens_refused;
        self.fast_open_cookies += fast_open_cookies;
        self.fast_opens_out += fast_opens_out;
        self.merged += merged;
        self.cut += cut;
        self.cut_by_nic += cut_by_nic;
        self.parked += parked;
        self.woken += woken;
        self.pool_exhausted += pool_exhausted;
        self.time_wait_recycled += time_wait_recycled;
        self.close_wait += close_wait;
        self.close_wait_stuck += close_wait_stuck;
        self.close_wait_peak += close_wait_peak;
        self.close_wait_ended += close_wait_ended;
        self.connections_peak += connections_peak;
    }
}

#[cfg(test)]
mod tests {
    use crore_base::DropReason;

    use super::*;

    /// One of each.
    #[allow(
        clippy::needless_update,
        reason = "a counter that is missing here stays zero in both"
    )]
    fn ones() -> Counters {
        Counters {
            drops: DropCounters::new(),
            rx_frames: 1,
            rx_bytes: 1,
            tx_frames: 1,
            tx_bytes: 1,
            segments_in: 1,
            segments_out: 1,
            accepted: 1,
            connected: 1,
            closed: 1,
            broken: 1,
            resets_in: 1,
            resets_out: 1,
            retransmits: 1,
            keepalives: 1,
            ecn_agreed: 1,
            ce_in: 1,
            ece_in: 1,
            control_in: 1,
            control_out: 1,
            reassembled: 1,
            path_mtu_learnt: 1,
            tx_dry: 1,
            cookies_sent: 1,
            cookies_accepted: 1,
            fast_opens_in: 1,
            fast_opens_refused: 1,
            fast_open_cookies: 1,
            fast_opens_out: 1,
            parked: 1,
            woken: 1,
            pool_exhausted: 1,
            time_wait_recycled: 1,
            close_wait: 1,
            close_wait_stuck: 1,
            close_wait_peak: 1,
            close_wait_ended: 1,
            connections_peak: 1,
            ..Counters::default()
        }
    }

    #[test]
    fn the_sum_over_shards_leaves_nothing_out() {
        let mut sum = ones();
        sum.merge(&ones());
        let expected = format!("{:?}", ones())
            .replace(": 1,", ": 2,")
            .replace(": 1 }", ": 2 }");
        assert_eq!(format!("{sum:?}"), expected);
        let mut drops = Counters::default();
        drops.drops.count(DropReason::NoRoute);
        sum.merge(&drops);
        assert_eq!(sum.drops.get(DropReason::NoRoute), 1);
    }
}
