//! An idle connection, in the few bytes that it needs.
//!
//! Read first: DESIGN section 4, RFC 5681 section 4.1 (what an idle time does to
//! the congestion window), RFC 7323 section 5 (timestamps).
//!
//! A connection on which nothing is in flight, unread, out of order or owed is
//! *parked*: what RFC 9293 and RFC 7323 need to go on is kept exactly, the
//! round-trip time to a part in 32, its variation to a part in 128,
//! moments to 67 ms. The congestion window starts anew, as after any idle time,
//! but never larger than it was, and slow start ends where a loss last said so,
//! or a little before.
//!
//! Always true: a connection that is woken behaves towards its peer and its
//! application as if it had never been parked (the simulator proves it).

mod handshake;

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum, WindowScale};

use crate::congestion::{Congestion, initial_window};
use crate::connection::{first_mss, smss_of};
use crate::ecn::EcnState;
use crate::receive::ReceiveSpace;
use crate::rtt::RttEstimator;
use crate::send::SendSpace;
use crate::timestamps::TimestampState;
use crate::{Config, Connection, Path, State};

/// The parked form of a connection, without owner or address. As bytes
/// ([`Parked::to_bytes`]) it fits a cache line together with the two ends' addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parked {
    snd_nxt: u32,
    rcv_nxt: u32,
    ts_recent: u32,
    heard: Stamp,
    /// How far beyond RCV.NXT the peer may send, below 2^30; above it the owner's marks.
    rcv_wnd: u32,
    /// SND.WND in the peer's own units, or in bytes ([`bits::UNSCALED`]).
    snd_wnd: u16,
    mss: u16,
    srtt: RoundTrip,
    rttvar: Variation,
    /// The peer's window scale, and ours in the upper half.
    scales: u8,
    bits: u8,
}

/// Length of [`Parked::to_bytes`] and [`crate::HalfOpen::to_bytes`].
pub const PARKED_LEN: usize = 30;

/// A moment in units of 2^26 ns (67 ms), rounded down. It lasts for nine years.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Stamp(u32);

impl Stamp {
    const SHIFT: u32 = 26;

    /// The unit that holds `at`.
    pub const fn of(at: Instant) -> Self {
        Self((at.as_nanos() >> Self::SHIFT) as u32)
    }

    /// Its beginning.
    pub const fn instant(self) -> Instant {
        Instant::from_nanos((self.0 as u64) << Self::SHIFT)
    }
}

/// A time in microseconds as a 12-bit number and a 4-bit exponent: up to 134 s.
/// Zero says that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
struct ShortTime(u16);

impl ShortTime {
    const MANTISSA: u32 = 12;

    fn of(time: Duration) -> Self {
        let micros = time.as_micros().clamp(1, 0xfff << 15);
        let exponent = (u64::BITS - micros.leading_zeros()).saturating_sub(Self::MANTISSA);
        Self((exponent as u16) << Self::MANTISSA | (micros >> exponent) as u16)
    }

    fn get(self) -> Option<Duration> {
        let micros = u64::from(self.0 & 0xfff) << (self.0 >> Self::MANTISSA);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

/// SRTT in microseconds as a 6-bit number and a 5-bit exponent, rounded up: to a
/// part in 32, exact below 64 us. Zero says that there is none. In the last five
/// bits what is to be remembered of ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
struct RoundTrip(u16);

impl RoundTrip {
    const MANTISSA: u32 = 6;
    const REST: u32 = 5;

    fn of(srtt: Duration) -> Self {
        let micros = srtt.as_micros().clamp(1, u64::from(u32::MAX));
        let exponent = (u64::BITS - micros.leading_zeros()).saturating_sub(Self::MANTISSA);
        let mantissa = (micros + (1 << exponent) - 1) >> exponent;
        // Rounded up to a power of two: the sum carries into the exponent.
        let full = u64::from(mantissa >> Self::MANTISSA != 0);
        let (exponent, mantissa) = (u64::from(exponent) + full, mantissa >> full);
        Self(((exponent << Self::MANTISSA | mantissa) << Self::REST) as u16)
    }

    fn get(self) -> Option<Duration> {
        let time = u64::from(self.0 >> Self::REST);
        let micros = (time & ((1 << Self::MANTISSA) - 1)) << (time >> Self::MANTISSA);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    fn with_rest(self, rest: u8) -> Self {
        Self(self.0 >> Self::REST << Self::REST | u16::from(rest))
    }

    fn rest(self) -> u8 {
        self.0 as u8 & ((1 << Self::REST) - 1)
    }
}

/// RTTVAR as a [`ShortTime`] without its last four bits, rounded up, and in their
/// place the slow start threshold as a power of two segments, rounded down: 1 to
/// 15, or 0 if no loss has ever set one. Where no round trip was measured, any
/// variation but zero says that the SYN was lost, or data sent in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
struct Variation(u16);

impl Variation {
    const THRESHOLD: u16 = 0xf;
    const SYN_LOST: Self = Self(Self::THRESHOLD + 1);

    fn of(rttvar: Duration) -> Self {
        let ShortTime(exact) = ShortTime::of(rttvar);
        let (exponent, mantissa) = (exact & !0xfff, exact & 0xfff);
        match (mantissa + Self::THRESHOLD) & !Self::THRESHOLD {
            rounded if rounded <= 0xfff => Self(exponent | rounded),
            _ if exponent < 0xf000 => Self((exponent + 0x1000) | 0x800),
            _ => Self(exponent | 0xff0),
        }
    }

    fn get(self) -> Option<Duration> {
        ShortTime(self.0 & !Self::THRESHOLD).get()
    }

    fn with_threshold(self, segments: Option<u32>) -> Self {
        let power = segments.map_or(0, |n| n.max(2).ilog2().min(u32::from(Self::THRESHOLD)));
        Self(self.0 & !Self::THRESHOLD | power as u16)
    }

    fn threshold(self) -> Option<u32> {
        match self.0 & Self::THRESHOLD {
            0 => None,
            power => Some(1 << power),
        }
    }
}

/// The bits of [`Parked::bits`]: two for the state, two for a congestion window
/// below the initial one, and a flag each.
mod bits {
    pub(super) const STATE: u8 = 0b11;
    pub(super) const NODELAY: u8 = 4;
    pub(super) const SACK: u8 = 8;
    /// The window came with a SYN, and is no multiple of the scale's unit.
    pub(super) const UNSCALED: u8 = 16;
    pub(super) const TIMESTAMPS: u8 = 32;
    pub(super) const WINDOW_SHIFT: u8 = 6;
}

/// The largest window that can be offered, 65,535 << 14, lies below it.
const MARKS_SHIFT: u32 = 30;
const WINDOW_MASK: u32 = (1 << MARKS_SHIFT) - 1;

/// The states that can be parked, by their number.
const STATES: [State; 4] = [
    State::Established,
    State::CloseWait,
    State::FinWait2,
    State::TimeWait,
];

/// Congestion windows below the initial one, in segments, by their number; 0
/// stands for the initial window.
const SMALL_WINDOWS: [u32; 4] = [0, 1, 2, 4];

impl Parked {
    /// Where the connection stands.
    pub const fn state(&self) -> State {
        STATES[(self.bits & bits::STATE) as usize]
    }

    /// SND.NXT, which is SND.UNA too.
    pub const fn snd_nxt(&self) -> SeqNum {
        SeqNum(self.snd_nxt)
    }

    /// RCV.NXT.
    pub const fn rcv_nxt(&self) -> SeqNum {
        SeqNum(self.rcv_nxt)
    }

    /// Whether both ends use timestamps.
    pub const fn has_timestamps(&self) -> bool {
        self.bits & bits::TIMESTAMPS != 0
    }

    /// When the peer was last heard, or what the owner put in its place; in
    /// TIME-WAIT and FIN-WAIT-2, when the wait began.
    pub const fn heard_at(&self) -> Instant {
        self.heard.instant()
    }

    /// The same connection, silent since `at`. It is woken as if the peer had
    /// been heard then for the last time, so `at` must not lie later than that.
    pub const fn silent_since(mut self, at: Instant) -> Self {
        self.heard = Stamp::of(at);
        self
    }

    /// The same connection, sending small writes at once or gathering them.
    pub const fn with_nodelay(mut self, nodelay: bool) -> Self {
        self.bits &= !bits::NODELAY;
        if nodelay {
            self.bits |= bits::NODELAY;
        }
        self
    }

    /// Whether small writes are sent at once.
    pub const fn has_nodelay(&self) -> bool {
        self.bits & bits::NODELAY != 0
    }

    /// Two bits for the owner to remember something by.
    pub const fn marks(&self) -> u8 {
        (self.rcv_wnd >> MARKS_SHIFT) as u8
    }

    /// The same connection with other marks.
    pub const fn with_marks(mut self, marks: u8) -> Self {
        self.rcv_wnd = self.rcv_wnd & WINDOW_MASK | (marks as u32) << MARKS_SHIFT;
        self
    }

    /// As bytes, for a place where every one counts.
    #[inline]
    pub fn to_bytes(self) -> [u8; PARKED_LEN] {
        let mut out = [0; PARKED_LEN];
        out[0..4].copy_from_slice(&self.snd_nxt.to_ne_bytes());
        out[4..8].copy_from_slice(&self.rcv_nxt.to_ne_bytes());
        out[8..12].copy_from_slice(&self.ts_recent.to_ne_bytes());
        out[12..16].copy_from_slice(&self.heard.0.to_ne_bytes());
        out[16..20].copy_from_slice(&self.rcv_wnd.to_ne_bytes());
        out[20..22].copy_from_slice(&self.snd_wnd.to_ne_bytes());
        out[22..24].copy_from_slice(&self.mss.to_ne_bytes());
        out[24..26].copy_from_slice(&self.srtt.0.to_ne_bytes());
        out[26..28].copy_from_slice(&self.rttvar.0.to_ne_bytes());
        out[28] = self.scales;
        out[29] = self.bits;
        out
    }

    /// From what [`Self::to_bytes`] gave.
    #[inline]
    pub fn from_bytes(bytes: &[u8; PARKED_LEN]) -> Self {
        let long = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let short = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            snd_nxt: long(0),
            rcv_nxt: long(4),
            ts_recent: long(8),
            heard: Stamp(long(12)),
            rcv_wnd: long(16),
            snd_wnd: short(20),
            mss: short(22),
            srtt: RoundTrip(short(24)),
            rttvar: Variation(short(26)),
            scales: bytes[28],
            bits: bytes[29],
        }
    }

    fn flag(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }
}

impl Connection {
    /// The parked form, if there is nothing that it would lose: nothing in
    /// flight, unread, out of order, owed or untold. The caller adds what only
    /// it knows: the two ends, whether the application has given it back.
    #[inline]
    pub fn park(&self) -> Option<Parked> {
        if !self.is_quiet() {
            return None;
        }
        let state = STATES.iter().position(|&state| state == self.state())? as u8;
        let (shift, wnd) = (self.snd.scale.shift(), self.snd.wnd);
        let unscaled = wnd >> shift << shift != wnd;
        let snd_wnd = if unscaled { wnd } else { wnd >> shift };
        let window = small_window(self.congestion.window(), self.smss(), self.config.initial_window);
        let flags = [
            (self.nodelay, bits::NODELAY),
            (self.sack, bits::SACK),
            (unscaled, bits::UNSCALED),
            (self.ts.enabled, bits::TIMESTAMPS),
        ];
        let flags = flags
            .iter()
            .fold(0, |sum, &(on, bit)| sum | if on { bit } else { 0 });
        let (srtt, rttvar) = match self.rtt.measured() {
            Some((srtt, rttvar)) => (RoundTrip::of(srtt), Variation::of(rttvar)),
            None if self.syn_lost || self.rtt.is_backed_off() => (RoundTrip::default(), Variation::SYN_LOST),
            None => Default::default(),
        };
        Some(Parked {
            snd_nxt: self.snd.nxt.0,
            rcv_nxt: self.rcv.nxt.0,
            ts_recent: self.ts.recent(),
            heard: Stamp::of(self.waited_since()),
            rcv_wnd: self.rcv.window().min(WINDOW_MASK),
            // Either fits: a scaled window by its origin, an unscaled one came with a SYN.
            snd_wnd: u16::try_from(snd_wnd).unwrap_or(u16::MAX),
            mss: self.path_mtu.kept(self.mss),
            srtt: srtt.with_rest(self.ecn.park()),
            rttvar: rttvar.with_threshold(self.congestion.threshold_segments()),
            scales: shift | self.rcv.scale.shift() << 4,
            bits: state | flags | window << bits::WINDOW_SHIFT,
        })
    }

    /// A parked connection as it was. `ts_offset` and `path` are those that it
    /// was opened with; `released` says that the application has given it back.
    // Inlined, and nobody is called with a reference to it, so that it is made where
    // it is to be: it is large, and each copy on its way would cost as much as making it.
    #[inline(always)]
    pub fn wake(config: &Rc<Config>, parked: &Parked, ts_offset: u32, path: Path, released: bool) -> Self {
        let (nxt, rcv_nxt, heard_at) = (parked.snd_nxt(), parked.rcv_nxt(), parked.heard_at());
        let state = parked.state();
        let finished = matches!(state, State::FinWait2 | State::TimeWait);
        let peer_finished = matches!(state, State::CloseWait | State::TimeWait);
        let has_timestamps = parked.flag(bits::TIMESTAMPS);
        let mut ts = TimestampState::new(ts_offset);
        if has_timestamps {
            ts.enable(heard_at, parked.ts_recent);
        }
        let mut rtt = RttEstimator::new(config.rto_initial, config.rto_min, config.rto_max);
        let mut syn_lost = false;
        match (parked.srtt.get(), parked.rttvar.get()) {
            (Some(srtt), Some(rttvar)) => rtt.restore(srtt, rttvar),
            (None, Some(_)) => {
                syn_lost = true;
                rtt.on_syn_lost();
            }
            (_, None) => {}
        }
        // It may have been lowered since.
        let (mss, path_mtu) = first_mss(config, path, heard_at, config.segment_limit(parked.mss));
        //= rfc5681#section-4.1 (SHOULD)
        // After an idle time the restart window is the initial one, or what the
        // window was if that was less. The threshold stays.
        let mut congestion = Congestion::new(config, smss_of(mss, has_timestamps));
        let small = SMALL_WINDOWS[usize::from(parked.bits >> bits::WINDOW_SHIFT)];
        congestion.resume((small > 0).then_some(small), parked.rttvar.threshold());
        let scale = WindowScale::new(parked.scales & 0xf);
        let unit = if parked.flag(bits::UNSCALED) {
            0
        } else {
            scale.shift()
        };
        let window = u32::from(parked.snd_wnd) << unit;
        let scales = (WindowScale::new(parked.scales >> 4), config.offered_scale());
        let allowed = parked.rcv_wnd & WINDOW_MASK;
        let ecn = match parked.srtt.rest() {
            0 => EcnState::OFF,
            rest => EcnState::wake(rest, nxt),
        };
        let snd = SendSpace::idle(nxt, config.send_buffer, (scale, window), rcv_nxt, finished);
        let rcv = ReceiveSpace::idle(rcv_nxt, config.receive_limit(), scales, allowed, peer_finished);
        let state = (state, released);
        let mut connection =
            Self::with_spaces(Rc::clone(config), heard_at, (snd, rcv), ts_offset, path, state);
        connection.nodelay = parked.flag(bits::NODELAY);
        connection.sack = parked.flag(bits::SACK);
        connection.syn_lost = syn_lost;
        (connection.mss, connection.path_mtu) = (mss, path_mtu);
        connection.ts = ts;
        connection.rtt = rtt;
        connection.congestion = congestion;
        connection.ecn = ecn;
        connection
    }
}

/// The number of the largest small window that the congestion window still
/// covers; 0 if it covers the initial window, of so many segments.
fn small_window(window: u32, smss: u32, initial: u32) -> u8 {
    let segments = window / smss.max(1);
    if window >= initial_window(smss, initial) {
        return 0;
    }
    SMALL_WINDOWS
        .iter()
        .rposition(|&w| w <= segments.max(1))
        .unwrap_or(1) as u8
}

#[cfg(test)]
mod tests;
