//! A handshake that somebody else began, in the few bytes that it needs until
//! the peer has shown that it is where it says it is.
//!
//! Read first: RFC 9293 sections 3.5 and 3.10.7.4 (SYN-RECEIVED), RFC 4987
//! section 3.4 (the SYN cache), RFC 7323 sections 2.2 and 3.2.
//!
//! Always true: it holds nothing but what the SYN said and what our SYN-ACK
//! promised, so that the connection made of it goes on as if it had been one all
//! along.

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum, WindowScale};
use crore_wire::{AccEcnOption, Ecn, Flags, Segment, TcpOptions, Timestamps};

use crate::cookie::CookieOptions;
use crate::ecn::{EcnState, syn_ack_option};
use crate::park::PARKED_LEN;
use crate::{Config, Connection, EcnMode, Path, State, SynAgain};

/// A handshake in SYN-RECEIVED whose SYN-ACK was sent, or is about to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HalfOpen {
    iss: u32,
    irs: u32,
    ts_recent: u32,
    /// When the SYN came, in milliseconds modulo 2^32.
    began: u32,
    /// Whatever the owner wants to remember: the listener.
    tag: u32,
    /// The window that the SYN named.
    window: u16,
    /// The MSS that it named, or zero.
    mss: u16,
    /// How often the SYN-ACK was sent again.
    resent: u8,
    /// The peer's window scale.
    scale: u8,
    bits: u8,
    ecn: u8,
}

const SACK: u8 = 1;
const SCALING: u8 = 2;
const TIMESTAMPS: u8 = 4;
/// Its SYN-ACK is a cookie, or was: when that was sent, nobody remembers.
const COOKIE: u8 = 8;
/// The peer is to be given a Fast Open cookie.
const GRANT: u8 = 16;

/// What [`HalfOpen::ecn`] is made of: the mode, the mark of the latest SYN,
/// whether a SYN without ECN came too, and whether any came again.
const MODE: u8 = 0b11;
const MARK_SHIFT: u8 = 2;
const UNMARKED: u8 = 16;
const AGAIN: u8 = 32;

impl HalfOpen {
    /// The handshake that `syn` begins (it has SYN, and neither ACK nor RST),
    /// with our initial sequence number. `tag` is kept for the caller.
    pub fn new(config: &Config, now: Instant, iss: SeqNum, syn: &Segment, tag: u32) -> Self {
        let options = &syn.options;
        let mut half = Self {
            iss: iss.0,
            irs: syn.seq.0,
            began: now.as_millis() as u32,
            tag,
            window: syn.window,
            mss: options.mss.unwrap_or(0),
            ..Self::default()
        };
        if let (true, Some(scale)) = (config.window_scaling, options.window_scale) {
            half.bits |= SCALING;
            half.scale = scale.shift();
        }
        if let (true, Some(timestamps)) = (config.timestamps, options.timestamps) {
            half.bits |= TIMESTAMPS;
            half.ts_recent = timestamps.value;
        }
        if config.sack && options.sack_permitted {
            half.bits |= SACK;
        }
        half.ecn = config.ecn.answer(syn) as u8 | syn.ecn.bits() << MARK_SHIFT;
        half
    }

    /// The SYN came again, as `syn`.
    pub fn on_syn_again(&mut self, config: &Config, syn: &Segment) -> SynAgain {
        let mode = self.ecn();
        let said = mode.on_syn_again(config.ecn.answer(syn));
        let unmarked = self.ecn & UNMARKED;
        self.ecn = match (said, mode) {
            (SynAgain::Changed, EcnMode::Classic) => 0,
            (SynAgain::Changed, _) => mode as u8 | UNMARKED | AGAIN,
            _ => mode as u8 | unmarked | AGAIN,
        } | syn.ecn.bits() << MARK_SHIFT;
        said
    }

    /// The same handshake, whose peer gets a Fast Open cookie by the SYN-ACK.
    pub const fn with_grant(mut self) -> Self {
        self.bits |= GRANT;
        self
    }

    /// Whether its peer gets a Fast Open cookie.
    pub const fn grants(&self) -> bool {
        self.bits & GRANT != 0
    }

    /// The same handshake with nothing but what its cookie will bring back; see
    /// [`crate::SynCookies`]. Scaling and SACK need timestamps to ride on. RFC 3168's
    /// ECN would make those coarser yet, for a moment of need: it is given up.
    /// Accurate ECN shows by the acknowledgment's own flags.
    pub(crate) fn into_cookie(mut self) -> Self {
        self.bits |= COOKIE;
        if self.ecn() == EcnMode::Classic {
            self.ecn = 0;
        }
        if self.bits & TIMESTAMPS == 0 {
            self.bits &= !(SCALING | SACK);
        }
        self
    }

    /// The handshake that a cookie brought back at `now`.
    pub(crate) fn from_cookie(
        now: Instant,
        (iss, irs): (SeqNum, SeqNum),
        mss: u16,
        options: Option<CookieOptions>,
        (ecn, ts_recent): (EcnMode, u32),
        tag: u32,
    ) -> Self {
        let mut half = Self {
            iss: iss.0,
            irs: irs.0,
            ts_recent,
            began: now.as_millis() as u32,
            tag,
            mss,
            bits: COOKIE,
            ecn: ecn as u8,
            ..Self::default()
        };
        if let Some(CookieOptions { scale, sack }) = options {
            half.bits |= TIMESTAMPS;
            if let Some(scale) = scale {
                half.bits |= SCALING;
                half.scale = scale.shift();
            }
            if sack {
                half.bits |= SACK;
            }
        }
        half
    }

    /// What the timestamp has to carry; none without timestamps.
    pub(crate) fn cookie_options(&self) -> Option<CookieOptions> {
        let with = |bit| self.bits & bit != 0;
        with(TIMESTAMPS).then(|| CookieOptions {
            scale: with(SCALING).then(|| WindowScale::new(self.scale)),
            sack: with(SACK),
        })
    }

    /// With `iss` for its initial sequence number.
    pub(crate) const fn with_iss(mut self, iss: SeqNum) -> Self {
        self.iss = iss.0;
        self
    }

    /// The MSS that the SYN named.
    pub(crate) fn named_mss(&self) -> Option<u16> {
        (self.mss > 0).then_some(self.mss)
    }

    /// As bytes, for a place where every one counts.
    #[inline]
    pub fn to_bytes(self) -> [u8; PARKED_LEN] {
        let mut out = [0; PARKED_LEN];
        out[0..4].copy_from_slice(&self.iss.to_ne_bytes());
        out[4..8].copy_from_slice(&self.irs.to_ne_bytes());
        out[8..12].copy_from_slice(&self.ts_recent.to_ne_bytes());
        out[12..16].copy_from_slice(&self.began.to_ne_bytes());
        out[16..20].copy_from_slice(&self.tag.to_ne_bytes());
        out[20..22].copy_from_slice(&self.window.to_ne_bytes());
        out[22..24].copy_from_slice(&self.mss.to_ne_bytes());
        out[24..28].copy_from_slice(&[self.resent, self.scale, self.bits, self.ecn]);
        out
    }

    /// From what [`Self::to_bytes`] gave.
    #[inline]
    pub fn from_bytes(bytes: &[u8; PARKED_LEN]) -> Self {
        let long = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let short = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            iss: long(0),
            irs: long(4),
            ts_recent: long(8),
            began: long(12),
            tag: long(16),
            window: short(20),
            mss: short(22),
            resent: bytes[24],
            scale: bytes[25],
            bits: bytes[26],
            ecn: bytes[27],
        }
    }

    /// Our initial sequence number.
    pub const fn iss(&self) -> SeqNum {
        SeqNum(self.iss)
    }

    /// The peer's.
    pub const fn irs(&self) -> SeqNum {
        SeqNum(self.irs)
    }

    /// What [`Self::new`] was given to keep.
    pub const fn tag(&self) -> u32 {
        self.tag
    }

    /// How often the SYN-ACK was sent again.
    pub const fn resent(&self) -> u8 {
        self.resent
    }

    /// How long ago the SYN came.
    pub const fn age(&self, now: Instant) -> Duration {
        let millis = (now.as_millis() as u32).wrapping_sub(self.began);
        Duration::from_millis(millis as u64)
    }

    //= rfc6298#section-5 (MUST)
    // (5.5) The wait doubles each time, up to the longest that there is.
    /// How long after the SYN the SYN-ACK is to be sent again, after it was sent
    /// again `resent` times.
    pub fn patience(config: &Config, resent: u8) -> Duration {
        let wait = |resent: u8| config.rto_initial.saturating_mul(1 << resent).min(config.rto_max);
        (0..=resent.min(30)).fold(Duration::ZERO, |total, resent| total + wait(resent))
    }

    /// The SYN-ACK is sent again.
    pub const fn count_resent(&mut self) {
        self.resent = self.resent.saturating_add(1);
    }

    /// The window that the SYN-ACK names.
    pub fn offered(&self, config: &Config) -> u16 {
        config.receive_limit().min(0xffff) as u16
    }

    /// The SYN-ACK; the ports are 0, for the owner to fill in.
    #[inline]
    pub fn syn_ack(&self, config: &Config, now: Instant, ts_offset: u32, path: Path) -> Segment {
        let with = |bit| self.bits & bit != 0;
        let clock = (now.as_millis() as u32).wrapping_add(ts_offset);
        let timestamps = self.cookie_options().map(|options| Timestamps {
            value: if with(COOKIE) {
                options.ride_on(clock)
            } else {
                clock
            },
            echo: self.ts_recent,
        });
        Segment {
            seq: self.iss(),
            ack: self.irs() + 1,
            flags: Flags::SYN
                | Flags::ACK
                | self
                    .ecn()
                    .syn_ack_flags(Ecn::from_bits(self.ecn >> MARK_SHIFT), self.resent),
            window: self.offered(config),
            options: TcpOptions {
                mss: Some(config.segment_limit(path.mss)),
                window_scale: with(SCALING).then(|| config.offered_scale()),
                sack_permitted: with(SACK),
                timestamps,
                accurate_ecn: if self.ecn() == EcnMode::Accurate {
                    self.syn_ack_option()
                } else {
                    None
                },
                order: config.syn_option_order,
                ..TcpOptions::default()
            },
            ..Segment::default()
        }
    }

    //= rfc9768#section-3.2.3.2.1 (MAY)
    // A cookie goes without the option: nobody would know that it was lost for it.
    /// The option of accurate ECN. All others take half of the header.
    #[cold]
    fn syn_ack_option(&self) -> Option<AccEcnOption> {
        let may = self.bits & COOKIE == 0 && !self.may_have_lost_option();
        may.then(|| syn_ack_option(20)).flatten()
    }

    /// Whether a SYN-ACK with accurate ECN's option seems lost.
    const fn may_have_lost_option(&self) -> bool {
        self.resent > 0 || self.ecn & AGAIN != 0
    }

    /// The connection that the handshake becomes when an acknowledgment comes,
    /// which is to be handed to it next: SYN-RECEIVED, its SYN-ACK sent.
    pub fn wake(&self, config: &Rc<Config>, now: Instant, ts_offset: u32, path: Path) -> Connection {
        let state = State::SynReceived;
        let mut connection = Connection::new(Rc::clone(config), now, self.iss(), ts_offset, path, state, 0);
        let terms = self.terms(config);
        connection.scaling = terms.scaling;
        connection.sack = terms.sack;
        if let Some(recent) = terms.timestamps {
            connection.ts.enable(now, recent);
        }
        (connection.snd.scale, connection.rcv.scale) = terms.scales;
        let promised = u32::from(connection.rcv.offer_on_syn());
        connection.rcv.synchronize(self.irs(), promised);
        connection.set_peer_mss(self.named_mss());
        if self.ecn() != EcnMode::Off {
            connection.ecn = self.ecn_state();
        }
        connection
            .snd
            .set_window(self.irs(), self.iss(), u32::from(self.window));
        connection.snd.nxt = self.iss() + 1;
        match self.timed_since(now) {
            Some(sent) => connection.sent.push(self.iss(), self.iss() + 1, sent),
            None => connection.sent.push_untimed(self.iss(), self.iss() + 1, now),
        }
        connection.guard_flight(now);
        connection.syn_lost = self.resent > 0;
        connection
    }

    /// What was agreed on about ECN.
    pub const fn ecn(&self) -> EcnMode {
        match self.ecn & MODE {
            0 => EcnMode::Off,
            1 => EcnMode::Classic,
            _ => EcnMode::Accurate,
        }
    }

    /// ECN as it stands before the acknowledgment of the SYN-ACK.
    #[cold]
    pub(crate) fn ecn_state(&self) -> EcnState {
        let mark = Ecn::from_bits(self.ecn >> MARK_SHIFT);
        let mut ecn = EcnState::new(self.ecn(), self.iss()).heard_syn(mark);
        if self.ecn & UNMARKED != 0 {
            ecn.send_unmarked();
        }
        ecn.on_syn_ack_sent(self.resent);
        if self.may_have_lost_option() {
            ecn.suspect_option();
        }
        ecn
    }

    /// What both ends have agreed on.
    #[inline(always)]
    pub(crate) fn terms(&self, config: &Config) -> Terms {
        let with = |bit| self.bits & bit != 0;
        Terms {
            scaling: with(SCALING),
            scales: if with(SCALING) {
                (WindowScale::new(self.scale), config.offered_scale())
            } else {
                (WindowScale::ZERO, WindowScale::ZERO)
            },
            sack: with(SACK),
            timestamps: with(TIMESTAMPS).then_some(self.ts_recent),
        }
    }

    /// Since when the SYN-ACK is being timed, if nothing else tells the round trip.
    pub(crate) fn timed_since(&self, now: Instant) -> Option<Instant> {
        let is_timed = self.resent == 0 && self.bits & (TIMESTAMPS | COOKIE) == 0;
        is_timed.then(|| Instant::ZERO + now.since(Instant::ZERO + self.age(now)))
    }
}

/// What a handshake has settled.
pub(crate) struct Terms {
    pub(crate) scaling: bool,
    /// The peer's, and ours.
    pub(crate) scales: (WindowScale, WindowScale),
    pub(crate) sack: bool,
    /// The peer's last timestamp, if both ends use them.
    pub(crate) timestamps: Option<u32>,
}
