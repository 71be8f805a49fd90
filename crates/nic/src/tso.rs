//! What a NIC with TSO does to a large segment, in software: for NICs that are
//! played, and for those who watch what such a one sends.
//!
//! Always true: the segments carry the payload whole and in order, each but the
//! last as much as was asked for; their headers say what those of as many single
//! frames would.

use crate::nic::TxMeta;

const VERSION_6: usize = 40;

/// The frames that leave when `frame` is handed to a NIC with `meta`: itself, if it
/// is none that is to be cut.
///
/// # Panics
/// When the frame is not what [`TxMeta`] says of it: a mistake of who handed it over.
pub fn frames_of(frame: &[u8], meta: &TxMeta) -> Vec<Vec<u8>> {
    if meta.segment_len == 0 {
        return vec![frame.to_vec()];
    }
    assert!(meta.offload_checksum, "who cuts a segment makes its checksums");
    let (l2, l3, l4) = (
        usize::from(meta.l2_len),
        usize::from(meta.l3_len),
        usize::from(meta.l4_len),
    );
    let headers = l2 + l3 + l4;
    assert!(frame.len() > headers, "there is a payload");
    assert_eq!(
        usize::from(frame[l2 + l3 + 12] >> 4) * 4,
        l4,
        "the TCP header ends there"
    );
    assert_eq!(
        word(frame, l2 + l3 + 16),
        fold(pseudo_header(frame, meta, 0)),
        "the pseudo-header's sum, without a length"
    );
    let said = if meta.ipv6 {
        assert_eq!(l3, VERSION_6, "no extension headers");
        usize::from(word(frame, l2 + 4)) + l2 + l3
    } else {
        assert_eq!(usize::from(frame[l2] & 15) * 4, l3, "the IP header ends there");
        usize::from(word(frame, l2 + 2)) + l2
    };
    assert_eq!(said, frame.len(), "the IP header says how long it is");
    let pieces = frame[headers..].chunks(meta.segment_len.into());
    let count = pieces.len();
    let one = |(index, payload): (usize, &[u8])| {
        let mut piece = frame[..headers].to_vec();
        piece.extend_from_slice(payload);
        let skip = index * usize::from(meta.segment_len);
        write_headers(&mut piece, meta, index, skip as u32, index + 1 == count);
        piece
    };
    pieces.enumerate().map(one).collect()
}

/// Makes the headers of the large segment those of its `index`-th part.
fn write_headers(piece: &mut [u8], meta: &TxMeta, index: usize, skip: u32, is_last: bool) {
    const FIN_AND_PSH: u8 = 0x09;
    const CWR: u8 = 0x80;
    let (l2, l3) = (usize::from(meta.l2_len), usize::from(meta.l3_len));
    let tcp = l2 + l3;
    let tcp_len = piece.len() - tcp;
    if meta.ipv6 {
        put(piece, l2 + 4, tcp_len as u16);
    } else {
        let ident = word(piece, l2 + 4).wrapping_add(index as u16);
        put(piece, l2 + 2, (l3 + tcp_len) as u16);
        put(piece, l2 + 4, ident);
        // One that was left to be finished, as TCP's is, is left so.
        if word(piece, l2 + 10) != 0 {
            put(piece, l2 + 10, 0);
            let sum = !fold(sum(&piece[l2..tcp]));
            put(piece, l2 + 10, sum);
        }
    }
    let seq = u32::from_be_bytes([piece[tcp + 4], piece[tcp + 5], piece[tcp + 6], piece[tcp + 7]]);
    piece[tcp + 4..tcp + 8].copy_from_slice(&seq.wrapping_add(skip).to_be_bytes());
    if !is_last {
        piece[tcp + 13] &= !FIN_AND_PSH;
    }
    if index > 0 {
        piece[tcp + 13] &= !CWR;
    }
    let pseudo = fold(pseudo_header(piece, meta, tcp_len as u32));
    put(piece, tcp + 16, pseudo);
}

fn pseudo_header(frame: &[u8], meta: &TxMeta, len: u32) -> u32 {
    const TCP: u32 = 6;
    let l2 = usize::from(meta.l2_len);
    let addresses = if meta.ipv6 {
        l2 + 8..l2 + 40
    } else {
        l2 + 12..l2 + 20
    };
    sum(&frame[addresses]) + TCP + (len >> 16) + (len & 0xffff)
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
