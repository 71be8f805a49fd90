//! TCP options: what was understood of those received, and what is sent.
//!
//! Read first: RFC 9293 section 3.2, RFC 7323 (window scale, timestamps),
//! RFC 2018 (SACK), RFC 6691 (MSS), RFC 9768 section 3.2.3 (accurate ECN).
//!
//! Always true: what [`TcpOptions::encoded_len`] says is what emitting writes,
//! a multiple of 4 and at most 40.

use core::fmt;

use crore_base::{SeqNum, WindowScale};

use crate::accurate_ecn::{ECT0_FIRST, ECT1_FIRST};
use crate::{AccEcnOption, AccEcnOrder, FastOpenCookie, be32, checksum};

/// The most that a TCP header can carry in options, in bytes.
pub(crate) const OPTIONS_MAX: usize = 40;

// Kinds (IANA, TCP Option Kind Numbers).
const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;

/// Length of timestamps with the NOPs that align them.
pub(crate) const TIMESTAMPS_LEN: usize = 12;

/// The options of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// Maximum segment size in bytes; meaningful on a SYN only.
    pub mss: Option<u16>,
    /// Window scale; meaningful on a SYN only. Values above 14 were taken for
    /// 14 (RFC 7323 section 2.3).
    pub window_scale: Option<WindowScale>,
    /// Whether SACK may be used; meaningful on a SYN only.
    pub sack_permitted: bool,
    /// Timestamps (RFC 7323 section 3).
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgments (RFC 2018), first the most recent.
    pub sack: SackBlocks,
    /// A Fast Open cookie, or the question for one; meaningful on a SYN only.
    pub fast_open: Option<FastOpenCookie>,
    /// Bytes by mark (RFC 9768); without meaning on a SYN.
    pub accurate_ecn: Option<AccEcnOption>,
    /// In which order they are sent; of those received nothing is said.
    pub order: OptionOrder,
}

/// The order of the options on a SYN: as short as can be, both. Nobody may
/// depend on it (RFC 9293 section 3.1), but it is part of how a host looks, and
/// tests written for one system expect its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OptionOrder {
    /// MSS, SACK permitted, timestamps, window scale.
    #[default]
    Linux,
    /// MSS, window scale, SACK permitted, timestamps; the end of the list where
    /// Linux pads in front.
    FreeBsd,
}

impl TcpOptions {
    /// Their length in the header, in bytes: a multiple of 4, at most 40.
    /// SACK blocks that don't fit are left out, and so is accurate ECN's option.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        if self.timestamps_alone().is_some() {
            return TIMESTAMPS_LEN;
        }
        let fixed = self.fixed_len();
        let fixed = fixed
            + self
                .accurate_ecn_in(OPTIONS_MAX - fixed)
                .map_or(0, |o| o.encoded_len());
        fixed + self.sack_len(OPTIONS_MAX - fixed)
    }

    /// How much room there is for SACK blocks and accurate ECN's option, in bytes.
    #[inline]
    pub fn spare_len(&self) -> usize {
        OPTIONS_MAX - self.fixed_len()
    }

    //= rfc9293#section-3.1 (MUST)
    // Options stand anywhere in the list, in any segment, aligned or not; an
    // unknown one is skipped by its length, and one whose length can't be true ends
    // the list.
    /// Reads options as leniently as deployed stacks do: an unknown kind, or a
    /// known one of another length than its own, is skipped; one that has no
    /// length, or runs past the header, ends the reading, and what came before
    /// it stands; of several of a kind the last one counts.
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        loop {
            match *bytes {
                [] | [END, ..] => return options,
                [NOP, ref rest @ ..] => bytes = rest,
                [kind, len, ref rest @ ..] => {
                    let Some((body, rest)) = usize::from(len)
                        .checked_sub(2)
                        .and_then(|len| rest.split_at_checked(len))
                    else {
                        return options;
                    };
                    options.take(kind, body);
                    bytes = rest;
                }
                [_] => return options,
            }
        }
    }

    /// Takes one option in, without its kind and length.
    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[shift]) => self.window_scale = Some(WindowScale::new(shift)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                self.timestamps = Some(Timestamps {
                    value: u32::from_be_bytes([a, b, c, d]),
                    echo: u32::from_be_bytes([e, f, g, h]),
                });
            }
            (FAST_OPEN, cookie) => self.fast_open = FastOpenCookie::new(cookie),
            (ECT0_FIRST, counters) => {
                self.accurate_ecn = Some(AccEcnOption::parse(AccEcnOrder::Ect0First, counters));
            }
            (ECT1_FIRST, counters) => {
                self.accurate_ecn = Some(AccEcnOption::parse(AccEcnOrder::Ect1First, counters));
            }
            (SACK, blocks) => {
                let (blocks, rest) = blocks.as_chunks::<8>();
                if !blocks.is_empty() && rest.is_empty() {
                    self.sack = SackBlocks::new();
                    for block in blocks.iter().take(SackBlocks::MAX) {
                        self.sack.push(SeqNum(be32(block, 0)), SeqNum(be32(block, 4)));
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes them to `out`, which has room for [`encoded_len`](Self::encoded_len)
    /// bytes exactly; `None` when it has not.
    pub(crate) fn write(&self, mut out: &mut [u8]) -> Option<()> {
        if self.order == OptionOrder::FreeBsd {
            out = self.write_scale_first(out)?;
        } else {
            out = self.write_scale_last(out)?;
        }
        if let Some(cookie) = &self.fast_open {
            let bytes = cookie.as_bytes();
            let (place, rest) = out.split_at_mut_checked(cookie.encoded_len())?;
            place.fill(NOP);
            let (head, behind) = place.split_first_chunk_mut::<2>()?;
            *head = [FAST_OPEN, 2 + bytes.len() as u8];
            behind.get_mut(..bytes.len())?.copy_from_slice(bytes);
            out = rest;
        }
        if let Some(option) = self.accurate_ecn_in(self.spare_len()) {
            let (place, rest) = out.split_at_mut_checked(option.encoded_len())?;
            place.fill(NOP);
            option.write(place)?;
            out = rest;
        }
        let blocks = self.sack_blocks_in(out.len());
        if blocks > 0 {
            out = put(out, [NOP, NOP, SACK, 2 + 8 * blocks as u8])?;
            for (left, right) in self.sack.iter().take(blocks) {
                out = put(out, left.0.to_be_bytes())?;
                out = put(out, right.0.to_be_bytes())?;
            }
        }
        out.is_empty().then_some(())
    }

    /// All but the SACK blocks, in [`OptionOrder::FreeBsd`]; gives what is left.
    fn write_scale_first<'a>(&self, mut out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            out = put(out, [MSS, 4, high, low])?;
        }
        if let Some(scale) = self.window_scale {
            out = put(out, [NOP, WINDOW_SCALE, 3, scale.shift()])?;
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            let lead = if self.sack_permitted {
                [SACK_PERMITTED, 2]
            } else {
                [NOP, NOP]
            };
            out = put(out, [lead[0], lead[1], TIMESTAMPS, 10])?;
            out = put(out, value.to_be_bytes())?;
            out = put(out, echo.to_be_bytes())?;
        } else if self.sack_permitted {
            // The end of the list, unless something follows.
            let ends = self.fast_open.is_none() && self.accurate_ecn.is_none();
            let pad = if ends { END } else { NOP };
            out = put(out, [SACK_PERMITTED, 2, pad, pad])?;
        }
        Some(out)
    }

    /// All but the SACK blocks, in [`OptionOrder::Linux`]; gives what is left.
    #[inline]
    fn write_scale_last<'a>(&self, mut out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            out = put(out, [MSS, 4, high, low])?;
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            let lead = if self.sack_permitted {
                [SACK_PERMITTED, 2]
            } else {
                [NOP, NOP]
            };
            out = put(out, [lead[0], lead[1], TIMESTAMPS, 10])?;
            out = put(out, value.to_be_bytes())?;
            out = put(out, echo.to_be_bytes())?;
        } else if self.sack_permitted {
            out = put(out, [NOP, NOP, SACK_PERMITTED, 2])?;
        }
        if let Some(scale) = self.window_scale {
            out = put(out, [NOP, WINDOW_SCALE, 3, scale.shift()])?;
        }
        Some(out)
    }

    /// Length of all but the SACK blocks and accurate ECN's, a multiple of 4, at most 40. An
    /// option of 2, 3 or 10 bytes is padded with NOPs in front to a multiple
    /// of 4, except that SACK-permitted takes the place of a timestamp's NOPs.
    #[inline]
    fn fixed_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() {
            TIMESTAMPS_LEN
        } else {
            0
        };
        let permitted = if self.sack_permitted && self.timestamps.is_none() {
            4
        } else {
            0
        };
        let fast_open = self.fast_open.map_or(0, |cookie| cookie.encoded_len());
        mss + scale + timestamps + permitted + fast_open
    }

    /// The timestamps, if nothing else is there: what nearly each segment of a
    /// connection carries.
    #[inline(always)]
    pub(crate) fn timestamps_alone(&self) -> Option<Timestamps> {
        let others = !self.sack.is_empty()
            || self.sack_permitted
            || self.mss.is_some()
            || self.window_scale.is_some()
            || self.fast_open.is_some()
            || self.accurate_ecn.is_some();
        self.timestamps.filter(|_| !others)
    }

    /// Accurate ECN's option, if `room` bytes have room for it.
    #[inline]
    fn accurate_ecn_in(&self, room: usize) -> Option<&AccEcnOption> {
        self.accurate_ecn
            .as_ref()
            .filter(|option| option.encoded_len() <= room)
    }

    /// How many SACK blocks fit into `room` bytes of options.
    #[inline]
    fn sack_blocks_in(&self, room: usize) -> usize {
        self.sack.len().min(room.saturating_sub(4) / 8)
    }

    #[inline]
    fn sack_len(&self, room: usize) -> usize {
        match self.sack_blocks_in(room) {
            0 => 0,
            n => 4 + 8 * n,
        }
    }
}

/// What stands before the two values: padding, kind and length.
const TIMESTAMPS_HEAD: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];

/// The two values of a timestamps option.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the receiver's clock as the sender last saw it; meaningful with
    /// ACK only.
    pub echo: u32,
}

impl Timestamps {
    /// The option with the NOPs that align it.
    #[inline]
    pub(crate) const fn encode(self) -> [u8; TIMESTAMPS_LEN] {
        let ([a, b, c, d], [e, f, g, h]) = (self.value.to_be_bytes(), self.echo.to_be_bytes());
        let [nop, pad, kind, len] = TIMESTAMPS_HEAD;
        [nop, pad, kind, len, a, b, c, d, e, f, g, h]
    }

    /// The partial checksum of [`encode`](Self::encode).
    #[inline]
    pub(crate) const fn sum(self) -> u32 {
        checksum::halves(u32::from_be_bytes(TIMESTAMPS_HEAD))
            + checksum::halves(self.value)
            + checksum::halves(self.echo)
    }
}

/// At most four SACK blocks, in the order of the option.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SackBlocks {
    len: u8,
    // Those from `len` on are zero, so that equality may be derived.
    blocks: [(SeqNum, SeqNum); Self::MAX],
}

impl SackBlocks {
    /// As many as an option has room for.
    pub const MAX: usize = 4;

    /// None.
    #[inline]
    pub const fn new() -> Self {
        Self {
            len: 0,
            blocks: [(SeqNum(0), SeqNum(0)); Self::MAX],
        }
    }

    /// Appends the block from `left` up to, not including, `right`; false when
    /// four are there already.
    #[inline]
    pub fn push(&mut self, left: SeqNum, right: SeqNum) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(block) => {
                *block = (left, right);
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The blocks as (left edge, right edge), the right one excluded.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SeqNum, SeqNum)> + Clone + '_ {
        self.as_slice().iter().copied()
    }

    /// How many there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn as_slice(&self) -> &[(SeqNum, SeqNum)] {
        self.blocks.get(..self.len()).unwrap_or_default()
    }
}

/// The options of nearly each segment of a connection, if `bytes` are just
/// those: timestamps in the layout that RFC 7323 appendix A recommends.
#[inline(always)]
pub(crate) fn timestamps_alone(bytes: &[u8]) -> Option<TcpOptions> {
    let bytes: &[u8; TIMESTAMPS_LEN] = bytes.try_into().ok()?;
    if be32(bytes, 0) != u32::from_be_bytes(TIMESTAMPS_HEAD) {
        return None;
    }
    Some(TcpOptions {
        timestamps: Some(Timestamps {
            value: be32(bytes, 4),
            echo: be32(bytes, 8),
        }),
        ..TcpOptions::default()
    })
}

/// Writes `bytes` to the start of `out`; gives what is left of it.
#[inline]
fn put<const N: usize>(out: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (place, rest) = out.split_first_chunk_mut::<N>()?;
    *place = bytes;
    Some(rest)
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
