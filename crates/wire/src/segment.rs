//! A TCP segment's header, in host terms.
//!
//! Read first: RFC 9293 section 3.1 (header format), RFC 3168 section 6.1 (ECE, CWR),
//! RFC 9768 section 3 (AE).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crore_base::SeqNum;

use crate::{Ecn, TcpOptions};

/// Length of a TCP header without options, in bytes.
pub(crate) const TCP_HEADER: usize = 20;

/// The header of one TCP segment; its payload travels beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// SEG.SEQ: number of the first byte, or of the SYN.
    pub seq: SeqNum,
    /// SEG.ACK: the next number expected; meaningful with [`Flags::ACK`] only.
    pub ack: SeqNum,
    /// The control bits.
    pub flags: Flags,
    /// The window field as it stands in the header, unscaled.
    pub window: u16,
    /// The urgent pointer; meaningful with [`Flags::URG`] only.
    pub urgent: u16,
    /// The ECN field of the IP header that it came with, or is to be sent with.
    pub ecn: Ecn,
    /// The options that were understood, or are to be sent.
    pub options: TcpOptions,
}

impl Segment {
    /// Length of the TCP header with its options, in bytes (20 to 60, a multiple of 4).
    #[inline]
    pub fn header_len(&self) -> usize {
        TCP_HEADER + self.options.encoded_len()
    }

    /// SEG.LEN: what a segment with `payload_len` bytes takes of the sequence
    /// space; SYN and FIN count one each.
    #[inline]
    pub fn sequence_len(&self, payload_len: usize) -> u32 {
        payload_len as u32 + u32::from(self.flags.has_syn()) + u32::from(self.flags.has_fin())
    }
}

/// The nine control bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// No bit at all.
    pub const NONE: Self = Self(0);
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push function.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);
    /// Accurate ECN (RFC 9768).
    pub const AE: Self = Self(0x100);

    /// The flags in the low bits of the header word `bits`; what stands above
    /// them (the data offset, and bits without a meaning) is left out.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// As they stand in the header's word.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether at least one of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those in `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in `other` too.
    #[inline]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether none is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether FIN is set.
    #[inline]
    pub const fn has_fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// Whether SYN is set.
    #[inline]
    pub const fn has_syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// Whether RST is set.
    #[inline]
    pub const fn has_rst(self) -> bool {
        self.contains(Self::RST)
    }

    /// Whether PSH is set.
    #[inline]
    pub const fn has_psh(self) -> bool {
        self.contains(Self::PSH)
    }

    /// Whether ACK is set.
    #[inline]
    pub const fn has_ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// Whether URG is set.
    #[inline]
    pub const fn has_urg(self) -> bool {
        self.contains(Self::URG)
    }

    /// Whether ECE is set.
    #[inline]
    pub const fn has_ece(self) -> bool {
        self.contains(Self::ECE)
    }

    /// Whether CWR is set.
    #[inline]
    pub const fn has_cwr(self) -> bool {
        self.contains(Self::CWR)
    }

    /// Whether AE is set.
    #[inline]
    pub const fn has_ae(self) -> bool {
        self.contains(Self::AE)
    }
}

impl BitOr for Flags {
    type Output = Self;
    #[inline]
    fn bitor(self, rhs: Self) -> Self {
        self.union(rhs)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, rhs: Self) {
        *self = self.union(rhs);
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"];
        if self.is_empty() {
            return f.write_str("NONE");
        }
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nine_control_bits_are_kept_and_named() {
        for bits in 0..=u16::MAX {
            let kept = bits & 0x1ff;
            assert_eq!(Flags::from_bits(bits).bits(), kept, "those, and no others");
        }
        assert_eq!(format!("{:?}", Flags::AE | Flags::ACK), "ACK|AE");
        let flags = Flags::SYN | Flags::ECE | Flags::CWR;
        assert_eq!(
            format!("{flags:?}"),
            "SYN|ECE|CWR",
            "an ECN-setup SYN reads as one"
        );
        assert!(
            flags.contains(Flags::ECE | Flags::CWR) && !flags.contains(Flags::SYN | Flags::ACK),
            "contains means all of them"
        );
    }

    #[test]
    fn syn_and_fin_take_a_sequence_number_each() {
        let mut segment = Segment::default();
        assert_eq!(segment.sequence_len(5), 5, "data only");
        segment.flags = Flags::SYN | Flags::FIN;
        assert_eq!(segment.sequence_len(5), 7, "RFC 9293 section 3.4");
    }
}
