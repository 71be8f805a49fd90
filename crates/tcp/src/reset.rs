//! The reset for a segment that belongs to no connection.
//!
//! Read first: RFC 9293 section 3.10.7.1 (CLOSED) and 3.5.2.

use crore_base::SeqNum;
use crore_wire::{Flags, Segment};

//= rfc9293#section-3.10.7.1 (MUST)
// A reset is never answered. Anything else is answered by a reset that the
// sender will accept: numbered by its acknowledgment, or, where it has none,
// acknowledging all of it.
/// The reset that answers `seg`, which carried `payload_len` bytes and hit no
/// connection; none if it was a reset itself. Ports are swapped.
pub fn reset_for(seg: &Segment, payload_len: usize) -> Option<Segment> {
    if seg.flags.has_rst() {
        return None;
    }
    let (seq, ack, flags) = if seg.flags.has_ack() {
        (seg.ack, SeqNum(0), Flags::RST)
    } else {
        let end = seg.seq + seg.sequence_len(payload_len);
        (SeqNum(0), end, Flags::RST | Flags::ACK)
    };
    Some(Segment {
        src_port: seg.dst_port,
        dst_port: seg.src_port,
        seq,
        ack,
        flags,
        window: 0,
        ..Segment::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_numbered_so_that_its_receiver_believes_it() {
        let mut seg = Segment {
            src_port: 1,
            dst_port: 2,
            seq: SeqNum(100),
            ack: SeqNum(777),
            flags: Flags::ACK,
            ..Segment::default()
        };
        let rst = reset_for(&seg, 10).expect("an ACK is answered");
        assert_eq!(
            (rst.seq, rst.flags),
            (SeqNum(777), Flags::RST),
            "numbered by the acknowledgment"
        );
        assert_eq!((rst.src_port, rst.dst_port), (2, 1), "ports are swapped");
        seg.flags = Flags::SYN;
        let rst = reset_for(&seg, 10).expect("a SYN is answered");
        assert_eq!(
            (rst.seq, rst.ack, rst.flags),
            (SeqNum(0), SeqNum(111), Flags::RST | Flags::ACK),
            "all of it is acknowledged, its SYN included"
        );
        seg.flags = Flags::RST | Flags::ACK;
        assert_eq!(reset_for(&seg, 0), None, "a reset is never answered");
    }
}
