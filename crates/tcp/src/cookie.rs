//! SYN cookies: a handshake that the peer remembers for us, so that a SYN whose
//! source is forged costs no memory at all.
//!
//! Read first: RFC 4987 section 3.6 and appendix A, RFC 7323 sections 4.1 and 5.4.
//!
//! The SYN-ACK's sequence number carries the MSS and a code that only this host
//! can make; its acknowledgment brings them back. Where the peer uses
//! timestamps, the low bits of ours carry what else the SYN said, and come back
//! in its echo; where it does not, windows are not scaled and SACK is not used.
//!
//! ```text
//!  sequence number   | 1 bit: time slot | 3 bits: MSS | 28 bits: code |
//!  timestamp         | 27 bits: clock   | 1 bit: SACK | 4 bits: window scale, or none |
//! ```
//!
//! Always true: a number that was not sent to just this four-tuple, in answer to
//! just this SYN, within the last two slots, passes once in 2^28 guesses; the
//! timestamp is never ahead of the clock, and never goes back.

use core::hash::Hasher;

use crore_base::{FourTuple, Instant, SeqNum, WindowScale};
use crore_wire::Segment;
use siphasher::sip::SipHasher24;

use crate::config::MSS_FLOOR;
use crate::isn::{TUPLE_LEN, tuple_bytes};
use crate::{Config, EcnMode, HalfOpen, Path};

/// A slot lasts 2^36 ns, 69 s. A cookie is good in its own and in the next one:
/// for one to two slots, which is longer than a client goes on trying to
/// complete a handshake that got through at all.
const SLOT_SHIFT: u32 = 36;
const SLOT_BIT: u32 = 1 << 31;
const MSS_SHIFT: u32 = 28;
const CODE_MASK: u32 = (1 << MSS_SHIFT) - 1;

/// What a named MSS is rounded down to: the least that is ever used, the
/// defaults of both families, tunnels, and Ethernet of both families with
/// ordinary and with large frames.
const MSS_TABLE: [u16; 8] = [MSS_FLOOR, 536, 1220, 1360, 1400, 1440, 1460, 8940];

/// Bits of the timestamp that options take. A clock of one millisecond becomes
/// one of 32 for this one segment: the round trip measured by it comes out up to
/// that much too long, never too short.
const OPTION_BITS: u32 = 5;
const SACK_BIT: u32 = 16;
const NO_SCALE: u32 = 15;

/// Makes and recognises cookies.
#[derive(Clone)]
pub struct SynCookies {
    key: [u8; 16],
}

impl SynCookies {
    /// Cookies under `key`, which must be random and stay secret.
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The handshake that `syn` (which has SYN, and neither ACK nor RST) begins,
    /// for its [`HalfOpen::syn_ack`] to be sent, and then to be forgotten.
    pub fn begin(
        &self,
        config: &Config,
        now: Instant,
        tuple: &FourTuple,
        path: Path,
        syn: &Segment,
    ) -> HalfOpen {
        let half = HalfOpen::new(config, now, SeqNum(0), syn, 0).into_cookie();
        let mss = half.named_mss().unwrap_or(path.default_mss()).min(path.mss);
        let index = MSS_TABLE.iter().rposition(|&entry| entry <= mss).unwrap_or(0) as u32;
        let slot = slot(now);
        let code = self.code(config, tuple, half.irs(), slot, index, half.cookie_options());
        let slot_bit = if slot & 1 == 1 { SLOT_BIT } else { 0 };
        half.with_iss(SeqNum(slot_bit | index << MSS_SHIFT | code))
    }

    //= rfc4987#section-3.6 (SHOULD)
    // Only a number that we have sent, and of late, is believed.
    /// The handshake that `ack` completes, if it acknowledges a cookie: as if it
    /// had been remembered. It is to be handed `ack` next. `tag` is kept for the
    /// caller.
    pub fn complete(
        &self,
        config: &Config,
        now: Instant,
        tuple: &FourTuple,
        ack: &Segment,
        tag: u32,
    ) -> Option<HalfOpen> {
        let (iss, irs) = (ack.ack - 1, ack.seq - 1);
        let timestamps = ack.options.timestamps.filter(|_| config.timestamps);
        let options = timestamps.map(|timestamps| CookieOptions::read(timestamps.echo));
        let current = slot(now);
        let is_current = (iss.0 & SLOT_BIT != 0) == (current & 1 == 1);
        let slot = if is_current {
            current
        } else {
            current.wrapping_sub(1)
        };
        let index = (iss.0 >> MSS_SHIFT) & 7;
        if self.code(config, tuple, irs, slot, index, options) != iss.0 & CODE_MASK {
            return None;
        }
        let mss = MSS_TABLE[index as usize];
        let ts_recent = timestamps.map_or(0, |timestamps| timestamps.value);
        //= rfc9768#section-5.1 (MAY)
        // Only a peer that speaks accurate ECN, and was told that we do, begins with
        // a number above 1.
        let ecn = if config.ecn.is_accurate() && crate::ecn::accurate_number(ack.flags) > 1 {
            EcnMode::Accurate
        } else {
            EcnMode::Off
        };
        Some(HalfOpen::from_cookie(
            now,
            (iss, irs),
            mss,
            options,
            (ecn, ts_recent),
            tag,
        ))
    }

    /// Whether a cookie that was sent at `sent` may still be good.
    pub fn may_be_good(sent: Instant, now: Instant) -> bool {
        slot(now).wrapping_sub(slot(sent)) <= 1
    }

    /// The code over everything that a cookie vouches for.
    fn code(
        &self,
        config: &Config,
        tuple: &FourTuple,
        irs: SeqNum,
        slot: u32,
        mss_index: u32,
        options: Option<CookieOptions>,
    ) -> u32 {
        let options = options.map_or(u8::MAX, |options| options.bits() as u8);
        // The scale that our SYN-ACK named: a listener's buffer may change meanwhile.
        let ours = config.offered_scale().shift();
        let mut bytes = [0; TUPLE_LEN + 11];
        bytes[..TUPLE_LEN].copy_from_slice(&tuple_bytes(tuple));
        bytes[TUPLE_LEN..][..4].copy_from_slice(&irs.0.to_be_bytes());
        bytes[TUPLE_LEN + 4..][..4].copy_from_slice(&slot.to_be_bytes());
        bytes[TUPLE_LEN + 8..].copy_from_slice(&[mss_index as u8, options, ours]);
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(&bytes);
        hasher.finish() as u32 & CODE_MASK
    }
}

/// The key is not for logs.
impl core::fmt::Debug for SynCookies {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SynCookies(secret)")
    }
}

/// What a timestamp carries of a SYN's options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CookieOptions {
    /// The peer's window scale, if both ends scale.
    pub(crate) scale: Option<WindowScale>,
    /// Whether SACK is used.
    pub(crate) sack: bool,
}

impl CookieOptions {
    fn bits(self) -> u32 {
        let scale = self.scale.map_or(NO_SCALE, |scale| u32::from(scale.shift()));
        scale | if self.sack { SACK_BIT } else { 0 }
    }

    fn read(echo: u32) -> Self {
        let scale = echo & 0xf;
        Self {
            scale: (scale != NO_SCALE).then(|| WindowScale::new(scale as u8)),
            sack: echo & SACK_BIT != 0,
        }
    }

    //= rfc7323#section-5.4 (MUST)
    // A timestamp clock never goes back. For the same options this one goes on
    // with the clock; and whatever is sent later carries the clock itself, which
    // is never behind.
    /// The latest timestamp not after `clock` that carries these options.
    pub(crate) fn ride_on(self, clock: u32) -> u32 {
        let behind = clock.wrapping_sub(self.bits()) & ((1 << OPTION_BITS) - 1);
        clock.wrapping_sub(behind)
    }
}

fn slot(now: Instant) -> u32 {
    (now.as_nanos() >> SLOT_SHIFT) as u32
}

#[cfg(test)]
mod tests;
