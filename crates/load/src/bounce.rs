//! Frames without TCP, sent to a bare forwarder and counted as they come back:
//! the limit of a wire, against which a stack's rate is a ratio.

use crore_base::{Instant, MacAddr};
use crore_nic::{BURST, Nic, RxFrame, TxMeta};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::LatencySummary;

/// EtherType for local experiments (IEEE 802 clause 9.2.3): no stack answers it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// After this long without a frame back, what is outstanding counts as lost.
const LOST_AFTER: crore_base::Duration = crore_base::Duration::from_millis(20);

/// What came back.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BounceReport {
    /// Frames sent.
    pub sent: u64,
    /// Frames that came back.
    pub returned: u64,
    /// Seconds from the first to the last turn.
    pub seconds: f64,
    /// Frames a second that came back.
    pub frames_per_second: f64,
    /// How long one took to and fro; measured with a window of 1 only, so that
    /// it costs nothing where the rate is what counts.
    pub latency: LatencySummary,
}

/// Keeps up to a fixed number of frames under way to a forwarder and back.
pub struct Bounce {
    frame: Vec<u8>,
    /// Frames under way at most, as connections with one request each would have.
    window: u64,
    outstanding: u64,
    heard: Instant,
    sent_at: Instant,
    latency: Histogram<u64>,
    started: Option<Instant>,
    now: Instant,
    frames: Vec<RxFrame>,
    report: BounceReport,
}

impl Bounce {
    /// Frames of `frame_len` bytes (at least 64) from `source`, `window` under way at most.
    pub fn new(source: MacAddr, frame_len: usize, window: u32) -> Self {
        let mut frame = vec![0u8; frame_len.max(64)];
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0xfe]);
        frame[6..12].copy_from_slice(&source.0);
        frame[12..14].copy_from_slice(&ETHERTYPE);
        Self {
            frame,
            window: u64::from(window.max(1)),
            outstanding: 0,
            heard: Instant::ZERO,
            sent_at: Instant::ZERO,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are constants"),
            started: None,
            now: Instant::ZERO,
            frames: Vec::with_capacity(BURST),
            report: BounceReport::default(),
        }
    }

    /// Takes in what came back and sends as much as the window allows.
    pub fn turn<N: Nic>(&mut self, now: Instant, nic: &mut N) {
        self.started.get_or_insert(now);
        self.now = now;
        nic.rx_burst(now, &mut self.frames);
        for frame in self.frames.drain(..) {
            if frame.data.len() >= 14 && frame.data[12..14] == ETHERTYPE {
                self.report.returned += 1;
                self.outstanding = self.outstanding.saturating_sub(1);
                self.heard = now;
                if self.window == 1 {
                    let took = now.since(self.sent_at).as_nanos().max(1);
                    self.latency.saturating_record(took);
                }
            }
        }
        if now.since(self.heard) > LOST_AFTER {
            self.outstanding = 0;
            self.heard = now;
        }
        for _ in 0..BURST {
            if self.outstanding >= self.window {
                break;
            }
            let Some(buf) = nic.reserve(self.frame.len()) else {
                break;
            };
            buf[..self.frame.len()].copy_from_slice(&self.frame);
            nic.commit(
                self.frame.len(),
                TxMeta {
                    l2_len: 14,
                    ..TxMeta::default()
                },
            );
            self.outstanding += 1;
            self.sent_at = now;
            self.report.sent += 1;
        }
        nic.flush(now);
    }

    /// The figures so far.
    pub fn report(&self) -> BounceReport {
        let seconds = self
            .started
            .map_or(0.0, |start| self.now.since(start).as_secs_f64());
        let rate = if seconds > 0.0 {
            self.report.returned as f64 / seconds
        } else {
            0.0
        };
        BounceReport {
            seconds,
            frames_per_second: rate,
            latency: LatencySummary::of(&self.latency),
            ..self.report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore_nic::sim::{LinkConfig, link};

    #[test]
    fn frames_that_come_back_are_counted_and_lost_ones_replaced() {
        let (mut near, mut far) = link(LinkConfig::default());
        let mut bounce = Bounce::new(MacAddr([2, 0, 0, 0, 0, 1]), 64, 8);
        let mut frames = Vec::new();
        for micro in 0..100_000u64 {
            let now = Instant::from_nanos(micro * 1000);
            bounce.turn(now, &mut near);
            far.rx_burst(now, &mut frames);
            for (i, frame) in frames.drain(..).enumerate() {
                // Every fourth of a burst is lost.
                if i % 4 != 3 {
                    let buf = far.reserve(frame.data.len()).expect("room");
                    buf[..frame.data.len()].copy_from_slice(&frame.data);
                    far.commit(frame.data.len(), TxMeta::default());
                }
            }
            far.flush(now);
        }
        let report = bounce.report();
        assert!(
            report.returned > 100 && report.returned < report.sent,
            "{report:?}"
        );
        assert_eq!(report.latency.max_us, 0.0, "not asked for with a window");
        assert!((report.seconds - 0.1).abs() < 0.001, "{report:?}");
    }

    #[test]
    fn a_window_of_one_measures_the_way_to_and_fro() {
        let (mut near, mut far) = link(LinkConfig::default());
        let mut bounce = Bounce::new(MacAddr([2, 0, 0, 0, 0, 1]), 64, 1);
        let mut frames = Vec::new();
        for micro in 0..10_000u64 {
            let now = Instant::from_nanos(micro * 1000);
            bounce.turn(now, &mut near);
            far.rx_burst(now, &mut frames);
            for frame in frames.drain(..) {
                let buf = far.reserve(frame.data.len()).expect("room");
                buf[..frame.data.len()].copy_from_slice(&frame.data);
                far.commit(frame.data.len(), TxMeta::default());
            }
            far.flush(now);
        }
        let report = bounce.report();
        assert!(
            report.returned > 50 && (100.0..110.0).contains(&report.latency.p50_us),
            "twice the link's 50 us: {report:?}"
        );
    }
}
