//! What a middlebox does to segments with an option that it does not know: here the
//! one of accurate ECN.
//!
//! Read first: RFC 9768 section 3.2.3 (the option), RFC 1624 (a checksum, kept right).

use crore_netbuf::Chunk;

use crate::fault::FaultCounts;

const ETHERNET_HEADER: usize = 14;
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;
const END: u8 = 0;
const NOP: u8 = 1;
/// AccECN0 and AccECN1.
const KINDS: [u8; 2] = [172, 174];

/// What becomes of a segment that carries the option of accurate ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccEcnFate {
    /// It passes.
    #[default]
    Pass,
    /// It passes, the option overwritten.
    Strip,
    /// It passes, the option's counters set to zero.
    Wipe,
    /// It does not pass.
    Block,
}

/// Where TCP's options lie, in a frame that has a TCP header.
fn options_of(frame: &[u8]) -> Option<(usize, usize)> {
    let tcp = ETHERNET_HEADER
        + match *frame.get(12..15)? {
            [0x08, 0x00, first] => {
                let is_whole = frame.get(20)? & 0x3f == 0 && *frame.get(21)? == 0;
                (is_whole && *frame.get(23)? == TCP).then_some(usize::from(first & 0xf) * 4)?
            }
            [0x86, 0xdd, _] => (*frame.get(20)? == TCP).then_some(40)?,
            _ => return None,
        };
    let end = tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4;
    (tcp + TCP_HEADER <= end && end <= frame.len()).then_some((tcp + TCP_HEADER, end))
}

/// Where the option lies among `options`, and how long it is.
fn find(options: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        match *options.get(at)? {
            END => return None,
            NOP => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 || at + len > options.len() {
                    return None;
                }
                if KINDS.contains(&kind) {
                    return Some((at, len));
                }
                at += len;
            }
        }
    }
}

/// The frame behind the middlebox, if it gets through.
pub(crate) fn on_way(frame: Chunk, fate: AccEcnFate, counts: &mut FaultCounts) -> Option<Chunk> {
    if fate == AccEcnFate::Pass {
        return Some(frame);
    }
    let Some((start, end)) = options_of(&frame) else {
        return Some(frame);
    };
    let Some((at, len)) = find(&frame[start..end]) else {
        return Some(frame);
    };
    counts.meddled += 1;
    if fate == AccEcnFate::Block {
        counts.lost += 1;
        return None;
    }
    let mut bytes = frame.to_vec();
    let option = &mut bytes[start + at..start + at + len];
    if fate == AccEcnFate::Strip {
        option.fill(NOP);
    } else {
        option[2..].fill(0);
    }
    // Eqn. 3 of RFC 1624, over all options: HC' = ~(~HC + ~m + m').
    let field = start - TCP_HEADER + 16;
    let old = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    let (before, after) = (sum(&frame[start..end]), sum(&bytes[start..end]));
    let new = !fold(u32::from(!old) + u32::from(!before) + u32::from(after));
    bytes[field..field + 2].copy_from_slice(&new.to_be_bytes());
    Some(Chunk::copy_from(&bytes))
}

fn sum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    fold(
        words
            .iter()
            .map(|&word| u32::from(u16::from_be_bytes(word)))
            .sum(),
    )
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose TCP header stands at `tcp`, with `options`.
    fn frame(v6: bool, options: &[u8]) -> Vec<u8> {
        let tcp = ETHERNET_HEADER + if v6 { 40 } else { 20 };
        let mut frame = vec![0x5a; tcp + TCP_HEADER];
        if v6 {
            frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            frame[20] = TCP;
        } else {
            frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
            frame[20..22].copy_from_slice(&[0x40, 0]);
            frame[23] = TCP;
        }
        frame[tcp + 12] = ((TCP_HEADER + options.len()) as u8 / 4) << 4;
        frame.extend(options);
        frame.extend(b"text");
        frame
    }

    #[test]
    fn the_option_is_stripped_wiped_or_blocked_in_either_family() {
        let options = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 172, 8, 0, 1, 2, 3, 4, 5];
        for v6 in [false, true] {
            let before = frame(v6, &options);
            let start = before.len() - 4 - options.len();
            let field = start - 4;
            let mut counts = FaultCounts::default();
            let mut pass = |fate| on_way(Chunk::copy_from(&before), fate, &mut counts);
            assert_eq!(pass(AccEcnFate::Pass).as_deref(), Some(&before[..]));
            assert_eq!(pass(AccEcnFate::Block), None);
            for (fate, left) in [
                (AccEcnFate::Strip, [1; 8]),
                (AccEcnFate::Wipe, [172, 8, 0, 0, 0, 0, 0, 0]),
            ] {
                let after = pass(fate).expect("it gets through");
                assert_eq!(after[start + 12..start + 20], left, "{fate:?}");
                assert_eq!(sum(&after[start - 20..]), sum(&before[start - 20..]), "{fate:?}");
                let whole = (after[..field].to_vec(), after[field + 2..start + 12].to_vec());
                assert_eq!(whole.0, before[..field], "{fate:?}");
                assert_eq!(whole.1, before[field + 2..start + 12], "{fate:?}");
                assert_eq!(after[start + 20..], *b"text");
            }
            assert_eq!(counts.meddled, 3);
        }
    }

    #[test]
    fn what_has_no_such_option_passes() {
        let none: [&[u8]; 6] = [
            &[],
            &[1, 1, 8, 10, 172, 2, 3, 4, 5, 6, 7, 8],
            &[0, 172, 2, 1],
            &[254, 0, 172, 2],
            &[254, 9, 172, 2],
            &[1, 1, 1, 172],
        ];
        for options in none {
            let before = Chunk::copy_from(&frame(false, options));
            let mut counts = FaultCounts::default();
            let after = on_way(before.clone(), AccEcnFate::Block, &mut counts);
            assert_eq!(after.as_deref(), Some(&before[..]), "{options:?}");
        }
        for short in 0..40 {
            let cut = Chunk::copy_from(&frame(false, &[172, 2, 1, 1])[..short]);
            let mut counts = FaultCounts::default();
            assert!(
                on_way(cut, AccEcnFate::Block, &mut counts).is_some(),
                "{short} bytes"
            );
        }
    }
}
