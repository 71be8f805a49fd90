//! TCP options: what was understood of those received, and what is sent.
//!
//! Read first: RFC 9293 section 3.2, RFC 7323 (window scale, timestamps),
//! RFC 2018 (SACK), RFC 6691 (MSS).
//!
//! Always true: what [`TcpOptions::encoded_len`] says is what emitting writes,
//! a multiple of 4 and at most 40.

use core::fmt;

use crore_base::{SeqNum, WindowScale};

/// The most that a TCP header can carry in options, in bytes.
const OPTIONS_MAX: usize = 40;

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
}

impl TcpOptions {
    /// Their length in the header, in bytes: a multiple of 4, at most 40.
    /// SACK blocks that don't fit are left out.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let fixed = self.fixed_len();
        fixed + self.sack_len(OPTIONS_MAX - fixed)
    }

    /// Length of all but the SACK blocks, a multiple of 4, at most 24. An
    /// option of 2, 3 or 10 bytes is padded with NOPs in front to a multiple
    /// of 4, except that SACK-permitted takes the place of a timestamp's NOPs.
    #[inline]
    fn fixed_len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 12 } else { 0 };
        let permitted = if self.sack_permitted && self.timestamps.is_none() {
            4
        } else {
            0
        };
        mss + scale + timestamps + permitted
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

/// The two values of a timestamps option.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the receiver's clock as the sender last saw it; meaningful with
    /// ACK only.
    pub echo: u32,
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

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
