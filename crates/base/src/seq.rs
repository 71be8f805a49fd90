//! TCP sequence numbers and window scales.
//!
//! Read first: RFC 9293 section 3.4 (sequence numbers), RFC 7323 section 2.
//!
//! Always true: sequence numbers have no total order, so there is no `Ord`;
//! every comparison says which one it means.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number modulo 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Whether `self` comes before `other` in the half of the space that ends at `other`.
    pub const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` is `other` or comes before it.
    pub const fn at_or_before(self, other: Self) -> bool {
        !other.before(self)
    }

    /// Whether `self` comes after `other`.
    pub const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether `self` is `other` or comes after it.
    pub const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// How far forward `later` lies, modulo 2^32 (the caller knows that it does
    /// lie forward; a `later` that lies behind gives a number above 2^31).
    pub const fn distance_to(self, later: Self) -> u32 {
        later.0.wrapping_sub(self.0)
    }

    /// Whether `self` lies in the `len` numbers that start at `start`.
    pub const fn within(self, start: Self, len: u32) -> bool {
        start.distance_to(self) < len
    }

    /// The later of two.
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }

    /// The earlier of two.
    pub const fn min(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    fn add(self, rhs: u32) -> Self {
        Self(self.0.wrapping_add(rhs))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, rhs: u32) {
        *self = *self + rhs;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    fn sub(self, rhs: u32) -> Self {
        Self(self.0.wrapping_sub(rhs))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The shift count of the window scale option, 0 to 14 (RFC 7323 section 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct WindowScale(u8);

impl WindowScale {
    /// No scaling.
    pub const ZERO: Self = Self(0);
    /// The largest shift that RFC 7323 allows.
    pub const MAX: Self = Self(14);

    /// A shift of `shift`, at most 14: RFC 7323 section 2.3 has a larger one
    /// taken for 14.
    pub const fn new(shift: u8) -> Self {
        if shift > 14 { Self::MAX } else { Self(shift) }
    }

    /// The smallest scale with which a 16-bit window field can say `window`
    /// (or 14, where none can).
    pub const fn for_window(window: u32) -> Self {
        let mut shift = 0;
        while shift < 14 && (window >> shift) > 0xffff {
            shift += 1;
        }
        Self(shift)
    }

    /// The shift count.
    pub const fn shift(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_across_the_wrap() {
        let (a, b) = (SeqNum(u32::MAX - 1), SeqNum(3));
        assert!(a.before(b) && b.after(a), "3 follows the wrap");
        assert_eq!(a.distance_to(b), 5, "distance wraps");
        assert!(
            b.within(a, 6) && !b.within(a, 5),
            "a window may straddle the wrap"
        );
        assert_eq!(a.max(b), b, "the later one");
    }

    #[test]
    fn a_window_scale_never_exceeds_14() {
        assert_eq!(WindowScale::new(200).shift(), 14, "RFC 7323 section 2.3");
        assert_eq!(WindowScale::for_window(65_535).shift(), 0, "fits unscaled");
        assert_eq!(WindowScale::for_window(65_536).shift(), 1, "one more needs a bit");
        assert_eq!(WindowScale::for_window(u32::MAX).shift(), 14, "as far as it goes");
    }
}
