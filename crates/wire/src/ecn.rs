//! The ECN field of an IP header.
//!
//! Read first: RFC 3168 section 5, RFC 8311 (what became of ECT(1)).

/// What a packet says of congestion, and whether routers may mark it instead of
/// dropping it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Ecn {
    /// Its sender does not understand marks.
    #[default]
    NotEct = 0,
    /// ECN-capable transport, codepoint 1.
    Ect1 = 1,
    /// ECN-capable transport, codepoint 0: the usual one.
    Ect0 = 2,
    /// Congestion was experienced on the way.
    Ce = 3,
}

impl Ecn {
    /// The codepoint in the two low bits of `bits`.
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As it stands in the header.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}
