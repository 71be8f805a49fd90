//! What a connection tells of itself.

use crore_base::Duration;

use super::Connection;
use crate::recovery::Phase;
use crate::{Buffered, Recovery, Stats};

impl Connection {
    /// A snapshot of what the connection knows and holds.
    pub fn stats(&self) -> Stats {
        let (receive, reassembly) = self.rcv.footprint();
        let srtt = self.rtt.srtt();
        let (acknowledged, sacked) = (self.snd.acknowledged(), self.sent.sacked());
        let headers = if self.path.ipv6 { 60 } else { 40 };
        Stats {
            state: self.state,
            parked: false,
            srtt,
            rttvar: self.rtt.measured().map_or(Duration::ZERO, |(_, rttvar)| rttvar),
            rto: self.rtt.rto(),
            congestion: self.config.congestion,
            cwnd: self.congestion.window(),
            ssthresh: self.congestion.threshold(),
            in_flight: self.snd.flight(),
            send_queued: self.snd.queued(),
            unsent: self.snd.unsent_data(),
            send_window: self.snd.wnd,
            receive_window: self.rcv.window(),
            mss: self.smss() as u16,
            receive_mss: self.config.segment_limit(self.path.mss),
            retransmits: self.counts.retransmits,
            timeouts: self.counts.timeouts.into(),
            fast_recoveries: self.counts.fast_recoveries.into(),
            keepalives: self.counts.keepalives.into(),
            ecn: self.ecn.mode(),
            ce_received: self.ecn.ce_received,
            ece_received: self.ecn.ece_received,
            ecn_bytes: self.ecn.bytes_told(),
            retries: self.retries,
            received: self.rcv.received(),
            acknowledged,
            heard_at: self.heard_at,
            sent_at: self.sent_at,
            received_at: self.received_at,
            timestamps: self.ts.enabled,
            sack: self.sack,
            scales: self
                .scaling
                .then(|| (self.snd.scale.shift(), self.rcv.scale.shift())),
            recovery: match self.recovery.phase {
                Phase::Open => Recovery::None,
                Phase::Fast => Recovery::Fast,
                Phase::Loss => Recovery::Loss,
            },
            sacked,
            lost: self.sent.lost(),
            resent: self.sent.resent(),
            delivered: acknowledged.wrapping_add(sacked),
            duplicates: self.counts.duplicates.into(),
            path_mtu: self.path.send_mss.saturating_add(headers),
            probes: self.counts.probes.into(),
            spurious: self.counts.spurious.into(),
            reordering_seen: self.rack.reordering_seen,
            reordering_window: self.rack.reordering_window(false, srtt),
            min_rtt: self.rack.min_rtt(),
            pacing_rate: (self.pacing.is_on())
                .then(|| self.congestion.pacing_rate(srtt))
                .flatten(),
            syn_data: self.syn_data_taken(),
            bbr: self.congestion.model_stats(),
            send_buffer: self.snd.limit(),
            receive_buffer: self.rcv.limit(),
            buffered: Buffered {
                send: self.snd.footprint(),
                receive,
                reassembly,
            },
        }
    }
}
