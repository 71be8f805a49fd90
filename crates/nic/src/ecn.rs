//! The ECN field of a frame under way: what a router on it would read and write.
//!
//! Read first: RFC 3168 section 5, RFC 1624 (the header checksum, kept right).

use crore_netbuf::Chunk;

use crate::fault::FaultCounts;

const ETHERNET_HEADER: usize = 14;
/// Congestion experienced.
const CE: u8 = 3;
/// Not ECN-capable.
const NOT_ECT: u8 = 0;

/// The field of an IP packet; none of anything else.
fn read(frame: &[u8]) -> Option<u8> {
    match frame.get(12..16)? {
        [0x08, 0x00, _, class] => Some(class & 3),
        [0x86, 0xdd, _, class] => Some(class >> 4 & 3),
        _ => None,
    }
}

/// The frame as a congested router hands it on, if it is one that can be marked.
pub(crate) fn marked(frame: &Chunk) -> Option<Chunk> {
    matches!(read(frame)?, 1 | 2).then(|| write(frame, CE))?
}

/// The frame with `ecn` in the field of its IP header.
fn write(frame: &Chunk, ecn: u8) -> Option<Chunk> {
    let old = read(frame)?;
    let mut header = *frame.first_chunk::<{ ETHERNET_HEADER + 12 }>()?;
    if header[12] == 0x08 {
        header[15] = header[15] & !3 | ecn;
        // Eqn. 3 of RFC 1624: HC' = ~(~HC + ~m + m').
        let sum = u16::from_be_bytes([header[24], header[25]]);
        let sum = u32::from(!sum) + u32::from(!u16::from(old)) + u32::from(ecn);
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        header[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    } else {
        header[15] = header[15] & !0x30 | ecn << 4;
    }
    let mut rewritten = Chunk::with_capacity(frame.len());
    rewritten.try_extend(&header);
    rewritten.try_extend(&frame[header.len()..]);
    Some(rewritten)
}

/// The frame behind a router that may mark it, and then a middlebox that may wipe
/// the field.
pub(crate) fn on_way(mut frame: Chunk, marks: bool, bleaches: bool, counts: &mut FaultCounts) -> Chunk {
    if marks && let Some(marked) = marked(&frame) {
        counts.marked += 1;
        frame = marked;
    }
    if bleaches
        && read(&frame).is_some_and(|ecn| ecn != NOT_ECT)
        && let Some(bleached) = write(&frame, NOT_ECT)
    {
        counts.bleached += 1;
        frame = bleached;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_changed_in_either_family_and_nothing_else() {
        let mut v4 = vec![7; 60];
        v4[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0xb8 | 2]);
        let sum = |frame: &[u8]| {
            let words = frame[14..34].chunks(2);
            let sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            let sum = (sum & 0xffff) + (sum >> 16);
            (sum & 0xffff) + (sum >> 16)
        };
        v4[24..26].copy_from_slice(&[0, 0]);
        let check = !(sum(&v4) as u16);
        v4[24..26].copy_from_slice(&check.to_be_bytes());
        let frame = Chunk::copy_from(&v4);
        let after = marked(&frame).expect("ECT(0)");
        assert_eq!((after[15], read(&after)), (0xb8 | CE, Some(CE)));
        assert_eq!(sum(&after), 0xffff, "the header's checksum holds");
        assert_eq!(after[26..], v4[26..], "the rest is as it was");
        assert!(marked(&after).is_none(), "marked already");

        let mut v6 = vec![9; 60];
        v6[12..16].copy_from_slice(&[0x86, 0xdd, 0x6b, 0x9f]);
        let frame = Chunk::copy_from(&v6);
        assert_eq!(read(&frame), Some(1));
        let after = write(&frame, NOT_ECT).expect("an IP packet");
        assert_eq!(after[15], 0x8f, "the two bits alone");
        assert!(marked(&after).is_none(), "what is not capable is not marked");

        let arp = Chunk::copy_from(&[0x08; 60]);
        assert!(marked(&arp).is_none() && write(&arp, CE).is_none());
    }
}
