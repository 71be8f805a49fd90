//! The short way from a handshake to a parked connection.
//!
//! Read first: `half_open.rs` and `connection/handshake.rs`, the long way, which
//! says why each of these things is so.
//!
//! Always true: what comes out is what the long way gives, to the bit: a
//! connection made of the handshake, which takes the segment and is parked. It
//! gives none where the long way takes no segment (a property test compares them).

use crore_base::Instant;
use crore_wire::Segment;

use super::{Parked, RoundTrip, Stamp, Variation, bits, small_window};
use crate::config::MSS_FLOOR;
use crate::congestion::{Congestion, initial_window};
use crate::connection::{peer_mss, smss_of};
use crate::half_open::Terms;
use crate::receive::ReceiveSpace;
use crate::rtt::RttEstimator;
use crate::timestamps::TimestampState;
use crate::{Config, EcnMode, HalfOpen, Path};

impl HalfOpen {
    /// The parked connection that the handshake becomes by `segment`, without
    /// text, if that is the bare acknowledgment which ends it. `ts_offset` is
    /// asked for where it matters.
    pub fn park(
        &self,
        config: &Config,
        now: Instant,
        ts_offset: impl FnOnce() -> u32,
        path: Path,
        segment: &Segment,
    ) -> Option<Parked> {
        let flags = segment.flags;
        let nxt = self.irs() + 1;
        let promised = u32::from(ReceiveSpace::offered_on_syn(config.receive_limit()));
        let is_bare = flags.has_ack() && !flags.has_syn() && !flags.has_fin() && !flags.has_rst();
        let is_acceptable = segment.seq.at_or_after(nxt) && segment.seq.at_or_before(nxt + promised);
        if !is_bare || !is_acceptable || segment.ack != self.iss() + 1 {
            return None;
        }
        let Terms {
            scales: (theirs, ours),
            sack,
            timestamps,
            ..
        } = self.terms(config);
        let mut rtt = RttEstimator::new(config.rto_initial, config.rto_min, config.rto_max);
        let measured = self.timed_since(now).map(|sent| now.since(sent));
        let (mut recent, mut echoed) = (0, None);
        if let Some(value) = timestamps {
            let mut ts = TimestampState::new(ts_offset());
            ts.enable(now, value);
            let theirs = segment.options.timestamps?;
            if ts.is_too_old(now, theirs.value) {
                return None;
            }
            ts.update(now, theirs.value, segment.seq, nxt);
            recent = ts.recent();
            echoed = ts.round_trip(now, theirs.echo);
        }
        rtt.on_ack(segment.ack, segment.ack, measured, echoed);
        let mss = peer_mss(config, path, self.named_mss());
        let smss = smss_of(mss.min(path.send_mss.max(MSS_FLOOR)), timestamps.is_some());
        let syn_lost = self.resent() > 0;
        let (ecn, window, threshold) = if self.ecn() == EcnMode::Off && !syn_lost {
            (0, initial_window(smss, config.initial_window), None)
        } else {
            self.end_unusually(now, segment, config, smss)
        };
        let window = small_window(window, smss, config.initial_window);
        let (srtt, rttvar) = match rtt.measured() {
            Some((srtt, rttvar)) => (RoundTrip::of(srtt), Variation::of(rttvar)),
            None if syn_lost => (RoundTrip::default(), Variation::SYN_LOST),
            None => Default::default(),
        };
        let bit = |on, bit| if on { bit } else { 0 };
        Some(Parked {
            snd_nxt: segment.ack.0,
            rcv_nxt: nxt.0,
            ts_recent: recent,
            heard: Stamp::of(now),
            rcv_wnd: promised,
            snd_wnd: segment.window,
            mss,
            srtt: srtt.with_rest(ecn),
            rttvar: rttvar.with_threshold(threshold),
            scales: theirs.shift() | ours.shift() << 4,
            bits: window << bits::WINDOW_SHIFT
                | bit(config.nodelay, bits::NODELAY)
                | bit(sack, bits::SACK)
                | bit(timestamps.is_some(), bits::TIMESTAMPS),
        })
    }

    /// The end of a handshake with ECN, or whose SYN-ACK got lost: what is to be
    /// remembered of the former, the window and the threshold.
    #[cold]
    fn end_unusually(
        &self,
        now: Instant,
        segment: &Segment,
        config: &Config,
        smss: u32,
    ) -> (u8, u32, Option<u32>) {
        let mut congestion = Congestion::new(config, smss);
        if self.resent() > 0 {
            congestion.on_syn_lost();
        }
        let mut parked = 0;
        if self.ecn() != EcnMode::Off {
            let mut ecn = self.ecn_state();
            if ecn.mode() == EcnMode::Accurate && ecn.on_final_ack(segment, true) {
                congestion.on_ecn(now, congestion.window());
            }
            ecn.on_segment(segment, 0, false);
            parked = ecn.park();
        }
        (parked, congestion.window(), congestion.threshold_segments())
    }
}
