//! A flood of SYNs from addresses that nobody has, sent beside an honest client's
//! own frames over the same wire: what a server has to live with.
//!
//! Always true: the honest client's frames go first; SYN-ACKs to the addresses
//! that nobody has are thrown away here, and never reach its stack.

use std::net::SocketAddrV4;

use crore_base::{Instant, MacAddr};
use crore_nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use serde::Serialize;

use crate::Pace;
use crate::dice::Dice;

/// 198.18.0.0/15, which is for benchmarks and nobody's (RFC 2544).
const NOBODY: u32 = 0xc612_0000;
const NOBODY_BITS: u32 = 17;
/// SYNs sent in one turn at most.
const TURN: usize = 2 * BURST;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// MSS 1460, SACK permitted, timestamps, window scale 7: what a client of today sends.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
const TCP: usize = 20 + OPTIONS.len();
const FRAME: usize = ETHERNET + IPV4 + TCP;

/// What the flood was.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FloodReport {
    /// SYNs that the wire took.
    pub sent: u64,
    /// Frames that came back for the addresses that nobody has.
    pub answered: u64,
    /// Seconds since the flood began.
    pub seconds: f64,
    /// SYNs a second.
    pub per_second: f64,
}

/// A NIC on which a flood is sent besides what its user sends.
pub struct FloodNic<N> {
    inner: N,
    syn: Syn,
    /// How fast; none: as fast as the wire takes them.
    pace: Option<Pace>,
    dice: Dice,
    /// Known from the first frame that came: then it begins.
    target_mac: Option<MacAddr>,
    ended: bool,
    began: Instant,
    last: Instant,
    report: FloodReport,
}

impl<N: Nic> FloodNic<N> {
    /// A flood of `target`, `pace` at most.
    pub fn new(inner: N, target: SocketAddrV4, pace: Option<Pace>) -> Self {
        Self {
            syn: Syn::to(target, inner.capabilities().mac),
            inner,
            pace,
            dice: Dice::new(1),
            target_mac: None,
            ended: false,
            began: Instant::ZERO,
            last: Instant::ZERO,
            report: FloodReport::default(),
        }
    }

    /// Ends the flood; what its user sends goes on.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The figures so far.
    pub fn report(&self) -> FloodReport {
        let seconds = self.last.since(self.began).as_secs_f64();
        let per_second = if seconds > 0.0 {
            self.report.sent as f64 / seconds
        } else {
            0.0
        };
        FloodReport {
            seconds,
            per_second,
            ..self.report
        }
    }

    fn attack(&mut self, now: Instant) {
        if self.target_mac.is_none() || self.ended {
            return;
        }
        self.last = now;
        let due = match self.pace {
            Some(pace) => pace.due(now.since(self.began)).saturating_sub(self.report.sent),
            None => TURN as u64,
        };
        for _ in 0..due.min(TURN as u64) {
            let Some(buf) = self.inner.reserve(FRAME) else {
                return;
            };
            let drawn = self.dice.below(u64::MAX);
            self.syn
                .write(&mut buf[..FRAME], drawn, self.dice.below(1 << 32) as u32);
            self.inner.commit(
                FRAME,
                TxMeta {
                    l2_len: ETHERNET as u8,
                    l3_len: IPV4 as u16,
                    l4_len: TCP as u8,
                    ..TxMeta::default()
                },
            );
            self.report.sent += 1;
        }
    }
}

impl<N: Nic> Nic for FloodNic<N> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        let before = into.len();
        self.inner.rx_burst(now, into);
        if self.target_mac.is_none()
            && let Some(frame) = into.get(before)
            && let Some(source) = frame.data.get(6..12)
        {
            let mut mac = [0; 6];
            mac.copy_from_slice(source);
            self.syn.frame[..6].copy_from_slice(&mac);
            self.target_mac = Some(MacAddr(mac));
            (self.began, self.last) = (now, now);
        }
        let came = into.len();
        into.retain(|frame| !is_for_nobody(&frame.data));
        self.report.answered += (came - into.len()) as u64;
        into.len() - before
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.inner.reserve(len)
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        self.inner.commit(len, meta);
    }

    fn flush(&mut self, now: Instant) -> usize {
        self.attack(now);
        self.inner.flush(now)
    }

    fn rx_pressure(&self) -> bool {
        self.inner.rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.inner.next_arrival()
    }
}

fn is_for_nobody(frame: &[u8]) -> bool {
    let Some([kind @ .., a, b, c, d]) = frame.get(12..34) else {
        return false;
    };
    let to = u32::from_be_bytes([*a, *b, *c, *d]);
    kind.starts_with(&[8, 0]) && to >> NOBODY_BITS == NOBODY >> NOBODY_BITS
}

/// A SYN, of which all but who sends it is always the same.
struct Syn {
    frame: [u8; FRAME],
    /// Sums of what never changes, for the checksums.
    ip_sum: u32,
    tcp_sum: u32,
}

impl Syn {
    fn to(target: SocketAddrV4, from: MacAddr) -> Self {
        let mut frame = [0; FRAME];
        frame[6..12].copy_from_slice(&from.0);
        frame[12..14].copy_from_slice(&[8, 0]);
        let (ip, tcp) = frame[ETHERNET..].split_at_mut(IPV4);
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&((IPV4 + TCP) as u16).to_be_bytes());
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = 6;
        ip[16..20].copy_from_slice(&target.ip().octets());
        tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
        tcp[12] = (TCP as u8 / 4) << 4;
        tcp[13] = 2;
        tcp[14..16].copy_from_slice(&[0xff, 0xff]);
        tcp[20..].copy_from_slice(&OPTIONS);
        // The pseudo-header: both addresses, the protocol, the length.
        let tcp_sum = sum(tcp) + sum(&ip[16..20]) + 6 + TCP as u32;
        let ip_sum = sum(ip);
        Self {
            frame,
            ip_sum,
            tcp_sum,
        }
    }

    /// The SYN of a sender that is drawn.
    fn write(&self, buf: &mut [u8], drawn: u64, sequence: u32) {
        let source = NOBODY | (drawn as u32 & ((1 << NOBODY_BITS) - 1));
        let port = 1024 + (drawn >> 32) as u16 % 64_000;
        let halves = (source >> 16) + (source & 0xffff);
        let tcp_sum = self.tcp_sum + halves + u32::from(port) + (sequence >> 16) + (sequence & 0xffff);
        buf.copy_from_slice(&self.frame);
        let (ip, tcp) = buf[ETHERNET..].split_at_mut(IPV4);
        ip[12..16].copy_from_slice(&source.to_be_bytes());
        ip[10..12].copy_from_slice(&complement(self.ip_sum + halves).to_be_bytes());
        tcp[..2].copy_from_slice(&port.to_be_bytes());
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        tcp[16..18].copy_from_slice(&complement(tcp_sum).to_be_bytes());
    }
}

/// The sum of 16-bit words of an even number of bytes.
fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    bytes.chunks_exact(2).map(word).sum()
}

fn complement(sum: u32) -> u16 {
    let folded = (sum >> 16) + (sum & 0xffff);
    !((folded + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore_base::Duration;
    use crore_nic::sim::{LinkConfig, link};

    fn target() -> SocketAddrV4 {
        "10.0.0.2:7".parse().unwrap()
    }

    /// Runs a flood for `millis` against somebody who says one word, and gives
    /// what came there.
    fn flood(pace: Option<Pace>, millis: u64) -> (Vec<Vec<u8>>, FloodReport) {
        let (near, mut far) = link(LinkConfig::default());
        let mut nic = FloodNic::new(near, target(), pace);
        let (mut frames, mut seen) = (Vec::new(), Vec::new());
        let word = {
            let mut word = [0u8; 64];
            word[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
            word
        };
        for micro in 0..millis * 100 {
            let now = Instant::from_nanos(micro * 10_000);
            if micro == 0 {
                far.reserve(64).expect("room")[..64].copy_from_slice(&word);
                far.commit(64, TxMeta::default());
            }
            far.flush(now);
            nic.rx_burst(now, &mut frames);
            frames.clear();
            nic.flush(now);
            far.rx_burst(now, &mut frames);
            seen.extend(frames.drain(..).map(|frame| frame.data.to_vec()));
        }
        (seen, nic.report())
    }

    #[test]
    fn each_is_a_syn_that_a_stack_takes_for_one_and_from_somebody_else() {
        let (seen, report) = flood(None, 5);
        assert!(report.sent >= seen.len() as u64 && seen.len() > 100, "{report:?}");
        let mut senders = std::collections::BTreeSet::new();
        for frame in &seen {
            assert_eq!(&frame[..6], &[2, 0, 0, 0, 0, 9], "to who was heard");
            let (ip, tcp) = frame[ETHERNET..].split_at(IPV4);
            assert_eq!(complement(sum(ip)), 0, "the checksum of the IP header");
            let pseudo = sum(&ip[12..20]) + 6 + TCP as u32;
            assert_eq!(complement(pseudo + sum(tcp)), 0, "the checksum of the segment");
            assert_eq!((tcp[13], &tcp[2..4]), (2, &[0, 7][..]), "a SYN to the port");
            assert_eq!(ip[12], 198, "from nobody");
            senders.insert((ip[12..16].to_vec(), tcp[..2].to_vec()));
        }
        assert!(
            senders.len() > seen.len() * 9 / 10,
            "{} of {}",
            senders.len(),
            seen.len()
        );
    }

    #[test]
    fn a_rate_is_kept() {
        let (_, report) = flood(Some(Pace::new(10_000, Duration::ZERO)), 100);
        assert!(
            (995..=1001).contains(&report.sent),
            "a tenth of a second: {report:?}"
        );
    }

    #[test]
    fn what_comes_back_for_nobody_is_counted_and_kept_from_the_stack() {
        let (near, mut far) = link(LinkConfig::default());
        let mut nic = FloodNic::new(near, target(), None);
        let mut frame = [0u8; 64];
        frame[12..14].copy_from_slice(&[8, 0]);
        for to in [
            [198, 18, 0, 1],
            [10, 0, 0, 1],
            [198, 19, 255, 255],
            [198, 20, 0, 0],
        ] {
            frame[30..34].copy_from_slice(&to);
            far.reserve(64).expect("room")[..64].copy_from_slice(&frame);
            far.commit(64, TxMeta::default());
        }
        far.flush(Instant::ZERO);
        let mut frames = Vec::new();
        let got = nic.rx_burst(Instant::from_millis(1), &mut frames);
        assert_eq!((got, frames.len(), nic.report().answered), (2, 2, 2));
    }
}
