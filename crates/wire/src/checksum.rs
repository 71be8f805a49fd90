//! The Internet checksum: ones-complement sums of 16-bit words.
//!
//! Read first: RFC 1071 (section 2 for why byte order and grouping don't
//! matter), RFC 1624.
//!
//! A *partial* sum is a `u32` that holds a sum of big-endian words; partial
//! sums may be added, as long as they do not pass 2^32: [`sum`] and
//! [`pseudo_header`] leave room for thousands. [`fold`] brings one to 16 bits,
//! and the complement of that is what a header carries.
//!
//! Two loops, each the fastest of a dozen tried at its lengths: short pieces
//! take a carry chain without set-up, long ones a loop that the vectoriser
//! turns into five instructions for 16 bytes, with plain SSE2.

use core::net::IpAddr;

/// From this length on, in bytes, the vectorised loop pays for its set-up.
const LONG: usize = 256;

/// The partial sum of `data`, at most 0xffff. An odd last byte counts as if a
/// zero followed it, so only the last piece of a packet may be odd, unless
/// [`combine`] joins them.
#[inline]
pub fn sum(data: &[u8]) -> u32 {
    // The words are added in the machine's own order and the result swapped
    // once: ones-complement addition commutes with that (RFC 1071 section 2.B).
    let total = if data.len() < LONG {
        sum_short(data)
    } else {
        sum_long(data)
    };
    u32::from(u16::from_be(fold64(total)))
}

/// [`sum`] for an IPv4 header without options, which each packet has.
#[inline(always)]
pub(crate) fn sum_ipv4_header(header: &[u8; 20]) -> u32 {
    let (words, _) = header.as_chunks::<4>();
    let mut total = 0;
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    u32::from(u16::from_be(fold64(total)))
}

/// Adds 64-bit words with end-around carry: the same sum modulo 0xffff.
#[inline]
fn sum_short(data: &[u8]) -> u64 {
    let (blocks, rest) = data.as_chunks::<32>();
    let mut total = 0u64;
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let mut carry = false;
        for word in words {
            (total, carry) = total.carrying_add(u64::from_ne_bytes(*word), carry);
        }
        total = end_around(total, carry);
    }
    let (words, mut tail) = rest.as_chunks::<8>();
    for word in words {
        let (sum, carry) = total.overflowing_add(u64::from_ne_bytes(*word));
        total = end_around(sum, carry);
    }
    let mut last = 0u64;
    if let Some((word, rest)) = tail.split_first_chunk() {
        last += u64::from(u32::from_ne_bytes(*word));
        tail = rest;
    }
    if let Some((word, rest)) = tail.split_first_chunk() {
        last += u64::from(u16::from_ne_bytes(*word));
        tail = rest;
    }
    if let &[byte] = tail {
        last += u64::from(u16::from_ne_bytes([byte, 0]));
    }
    let (sum, carry) = total.overflowing_add(last);
    end_around(sum, carry)
}

/// After a carry a sum is at most 2^64 - 2, so this can't carry again.
#[inline(always)]
const fn end_around(sum: u64, carry: bool) -> u64 {
    sum.wrapping_add(carry as u64)
}

/// Adds whole 64-bit words and, apart, their upper halves. The sum of the lower
/// halves is what of the first is not in the second, exactly, though the first
/// wraps: no real sum of halves reaches 2^64.
// Kept this plain on purpose: lanes written out by hand fall back to scalar
// code at the slightest change around them.
#[inline(never)]
fn sum_long(data: &[u8]) -> u64 {
    let (words, rest) = data.as_chunks::<8>();
    let mut whole = 0u64;
    let mut upper = 0u64;
    for word in words {
        let word = u64::from_ne_bytes(*word);
        whole = whole.wrapping_add(word);
        upper = upper.wrapping_add(word >> 32);
    }
    let lower = whole.wrapping_sub(upper << 32);
    u64::from(fold64(lower)) + u64::from(fold64(upper)) + u64::from(fold64(sum_short(rest)))
}

/// The partial sum of two pieces that lie one after the other, the first one
/// `first_len` bytes long: an odd length moves the second by one byte, which
/// swaps its words.
#[inline]
pub fn combine(first: u32, first_len: usize, second: u32) -> u32 {
    let second = fold(second);
    let second = if first_len % 2 == 1 {
        second.swap_bytes()
    } else {
        second
    };
    u32::from(fold(first)) + u32::from(second)
}

/// A partial sum brought to 16 bits, not yet complemented.
#[inline]
pub const fn fold(partial: u32) -> u16 {
    let once = (partial >> 16) + (partial & 0xffff);
    ((once >> 16) + (once & 0xffff)) as u16
}

/// The value for a checksum field over what `partial` sums up, the field
/// itself counted as zero.
#[inline]
pub const fn finish(partial: u32) -> u16 {
    !fold(partial)
}

/// Whether `partial`, a sum that includes the checksum field, proves that
/// field right.
#[inline]
pub const fn verifies(partial: u32) -> bool {
    fold(partial) == 0xffff
}

/// A checksum field after one 16-bit word under it changed from `old` to
/// `new` (RFC 1624 equation 3).
#[inline]
pub const fn update(field: u16, old: u16, new: u16) -> u16 {
    finish((!field) as u32 + (!old) as u32 + new as u32)
}

/// The partial sum of a pseudo-header (RFC 9293 section 3.1, RFC 8200 section
/// 8.1) for `len` bytes of transport header and payload.
#[inline(always)]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: u32) -> u32 {
    address(src) + address(dst) + u32::from(protocol) + (len >> 16) + (len & 0xffff)
}

#[inline(always)]
fn address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => halves(v4.to_bits()),
        IpAddr::V6(v6) => v6.segments().iter().map(|&word| u32::from(word)).sum(),
    }
}

/// The partial sum of a field of 32 bits.
#[inline(always)]
pub(crate) const fn halves(field: u32) -> u32 {
    (field >> 16) + (field & 0xffff)
}

#[inline]
const fn fold64(sum: u64) -> u16 {
    // Each step leaves the sum as it was modulo 0xffff.
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{IpProtocol, checksum as theirs};

    fn naive(data: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in data.chunks(2) {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            total += u32::from(word);
            total = (total >> 16) + (total & 0xffff);
        }
        total as u16
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&data), 0xddf2, "RFC 1071 section 3");
        assert_eq!(sum(&[]), 0, "nothing sums to nothing");
        assert_eq!(sum(&[0x12]), 0x1200, "an odd byte is the high one");
    }

    #[test]
    fn the_heaviest_frame_does_not_overflow() {
        let data = vec![0xff; 1 << 17];
        assert_eq!(sum(&data), 0xffff, "all ones stay all ones");
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_naive_sum(data in proptest::collection::vec(any::<u8>(), 0..4096), skip in 0usize..9) {
            // Skipping moves the slice to every alignment.
            let data = &data[skip.min(data.len())..];
            prop_assert_eq!(sum(data), u32::from(naive(data)));
            prop_assert_eq!(sum(data), u32::from(theirs::data(data)), "smoltcp's");
        }

        #[test]
        fn pieces_combine_at_odd_and_even_places(data in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
            let (first, second) = data.split_at(at.min(data.len()));
            let joined = combine(sum(first), first.len(), sum(second));
            prop_assert_eq!(u32::from(fold(joined)), sum(&data));
        }

        #[test]
        fn a_changed_word_updates_the_field(mut data in proptest::collection::vec(any::<u8>(), 2..80), new: u16) {
            data[0] |= 1; // an all-zero packet has no checksum to speak of
            let before = finish(sum(&data));
            let old = u16::from_be_bytes([data[0], data[1]]);
            data[..2].copy_from_slice(&(new | 1).to_be_bytes());
            let updated = update(before, old, new | 1);
            prop_assert_eq!(updated, finish(sum(&data)));
        }

        #[test]
        fn pseudo_headers_equal_smoltcps(a: [u8; 16], b: [u8; 16], len in 0u32..65_536) {
            let (src4, dst4) = (<[u8; 4]>::try_from(&a[..4]).unwrap(), <[u8; 4]>::try_from(&b[..4]).unwrap());
            for (src, dst) in [(IpAddr::from(src4), IpAddr::from(dst4)), (IpAddr::from(a), IpAddr::from(b))] {
                let wanted = match (src, dst) {
                    (IpAddr::V4(s), IpAddr::V4(d)) => theirs::pseudo_header_v4(&s, &d, IpProtocol::Tcp, len),
                    (IpAddr::V6(s), IpAddr::V6(d)) => theirs::pseudo_header_v6(&s, &d, IpProtocol::Tcp, len),
                    _ => unreachable!("both are of one family"),
                };
                prop_assert_eq!(fold(pseudo_header(src, dst, 6, len)), wanted);
            }
        }
    }
}
