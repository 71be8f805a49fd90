//! Somebody on the link who sees frames, repeats them late, and forges others.
//!
//! Read first: RFC 5961 (blind attacks), RFC 9293 section 3.10.7.
//!
//! Nothing that it does may harm a connection: it never guesses a sequence
//! number (it draws from all of them), so that what it forges is acceptable once
//! in 2^28 times or less, and what it repeats was acceptable once.

use std::collections::BTreeMap;

use crore_base::{Duration, Instant, MacAddr, RxChecksum, SeqNum};
use crore_netbuf::Chunk;
use crore_nic::prng::Prng;
use crore_nic::sim::{End, Tapped};
use crore_wire::{Flags, IpEmit, IpInfo, Link, Packet, Segment, TxChecksum, emit_tcp, parse};

/// Frames of one run that it repeats or forges: enough to hit every state, few
/// enough to let the transfers come to their end.
const MOST: usize = 2_000;
/// How many of the frames that it sees make it act.
const CHANCE: f64 = 0.08;
/// The longest that it waits.
const LATEST: Duration = Duration::from_secs(5);

/// The frames that it is going to send.
pub struct Attacker {
    prng: Prng,
    /// By time, then by number.
    planned: BTreeMap<(Instant, usize), (End, Chunk)>,
    count: usize,
    early: bool,
}

impl Attacker {
    /// One whose doings `seed` determines. `early` says that servers may answer before
    /// their clients have seen a SYN-ACK (RFC 7413).
    pub fn new(seed: u64, early: bool) -> Self {
        Self {
            prng: Prng::stream(seed, 200),
            planned: BTreeMap::new(),
            count: 0,
            early,
        }
    }

    /// Sees a frame, and may plan something.
    pub fn on_frame(&mut self, tapped: &Tapped<'_>) {
        if self.count >= MOST || !self.prng.chance(CHANCE) {
            return;
        }
        let frame = match self.prng.below(3) {
            0 => Chunk::copy_from(tapped.frame),
            _ => match self.forge(tapped.frame) {
                Some(forged) => forged,
                None => return,
            },
        };
        let short = self.prng.chance(0.7);
        let wait = if short { LATEST.div(1_000) } else { LATEST };
        let at = tapped.at + Duration::from_nanos(self.prng.between(1, wait.as_nanos()));
        self.count += 1;
        self.planned.insert((at, self.count), (tapped.from, frame));
    }

    /// The next frame that is to be sent by `now`, and as whose.
    pub fn poll(&mut self, now: Instant) -> Option<(End, Chunk)> {
        let first = self.planned.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When it sends next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.planned.first_key_value().map(|((at, _), _)| *at)
    }

    /// A segment of the same connection as `frame` that its sender never sent.
    fn forge(&mut self, frame: &[u8]) -> Option<Chunk> {
        let parsed = parse(frame, RxChecksum::Partial).ok()?;
        let Packet::Tcp { ip, segment, .. } = parsed.packet else {
            return None;
        };
        let anywhere = SeqNum(self.prng.next_u64() as u32);
        let mut forged = segment;
        let mut payload_len = 0;
        match self.prng.below(5) {
            0 => {
                forged.flags = Flags::RST;
                forged.seq = anywhere;
            }
            1 => {
                forged.flags = Flags::RST | Flags::ACK;
                forged.seq = anywhere;
            }
            // While a connection is being opened any SYN is believed: a simultaneous
            // open has nothing else to go by. What is sent then is a SYN, or the
            // reset that answers a wrong acknowledgment, or an early server's data.
            2 if self.early || segment.flags.intersects(Flags::SYN | Flags::RST) => return None,
            2 => {
                forged.flags = Flags::SYN;
                forged.seq = anywhere;
            }
            3 => {
                // Right in sequence, but acknowledging what was never sent.
                forged.flags = Flags::ACK;
                forged.ack = segment.ack + 0x4000_0000;
                forged.window = 0;
            }
            _ => {
                forged.flags = Flags::ACK | self.prng.pick(&[Flags::PSH, Flags::FIN, Flags::URG, Flags::SYN]);
                forged.seq = anywhere;
                forged.ack = SeqNum(self.prng.next_u64() as u32);
                payload_len = self.prng.below(100) as usize;
            }
        }
        // A reset in answer to a SYN is judged by its acknowledgment alone
        // (RFC 9293 section 3.10.7.3): there it would have to be guessed too.
        if forged.flags.contains(Flags::RST) {
            forged.ack = SeqNum(self.prng.next_u64() as u32);
        }
        emit(parsed.src_mac, parsed.dst_mac, &ip, &forged, payload_len)
    }
}

fn emit(src: MacAddr, dst: MacAddr, ip: &IpInfo, segment: &Segment, payload_len: usize) -> Option<Chunk> {
    let ip = IpEmit {
        src: ip.src,
        dst: ip.dst,
        hop_limit: ip.hop_limit,
        ecn: 0,
        ident: 0,
    };
    let mut buffer = [0xee; 512];
    let len = emit_tcp(
        &mut buffer,
        &Link { src, dst },
        &ip,
        segment,
        payload_len,
        TxChecksum::Software,
    );
    buffer.get(..len).map(Chunk::copy_from)
}
