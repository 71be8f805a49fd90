//! Bytes that depend on their position, so that a byte out of place shows.

/// An endless stream of bytes, different for each `seed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern(u64);

impl Pattern {
    /// The stream of one direction of one connection.
    pub fn new(seed: u64, connection: usize, from_left: bool) -> Self {
        let stream = (connection as u64) << 1 | u64::from(from_left);
        Self(mix(mix(!seed) ^ stream))
    }

    /// Writes the bytes from `position` on into `out`.
    pub fn fill(self, position: u64, out: &mut [u8]) {
        let mut at = position;
        let mut rest = out;
        while !rest.is_empty() {
            let word = self.word(at / 8).to_le_bytes();
            let from = (at % 8) as usize;
            let n = (8 - from).min(rest.len());
            rest[..n].copy_from_slice(&word[from..from + n]);
            rest = &mut rest[n..];
            at += n as u64;
        }
    }

    /// The position of the first byte of `data`, which starts at `position`,
    /// that is not this stream's.
    pub fn first_difference(self, position: u64, data: &[u8]) -> Option<u64> {
        let mut expected = [0; 512];
        let mut at = position;
        for piece in data.chunks(expected.len()) {
            let expected = &mut expected[..piece.len()];
            self.fill(at, expected);
            if expected != piece {
                let wrong = expected.iter().zip(piece).position(|(a, b)| a != b);
                return wrong.map(|offset| at + offset as u64);
            }
            at += piece.len() as u64;
        }
        None
    }

    fn word(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// The finaliser of splitmix64.
fn mix(word: u64) -> u64 {
    let z = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut_and_shows_each_misplaced_byte() {
        let pattern = Pattern::new(3, 1, true);
        let mut whole = vec![0; 3000];
        pattern.fill(5, &mut whole);
        let mut piecewise = Vec::new();
        for (i, len) in (1..77).enumerate() {
            let mut piece = vec![0; len];
            pattern.fill(5 + piecewise.len() as u64, &mut piece);
            piecewise.extend(piece);
            assert_eq!(piecewise, whole[..piecewise.len()], "after {i} pieces");
        }
        assert_eq!(pattern.first_difference(5, &whole), None, "right as it is");
        assert_eq!(pattern.first_difference(6, &whole), Some(6), "shifted by one");
        whole[2999] ^= 1;
        assert_eq!(
            pattern.first_difference(5, &whole),
            Some(5 + 2999),
            "the last byte"
        );
    }

    #[test]
    fn the_directions_and_connections_differ() {
        let mut all = Vec::new();
        for connection in 0..3 {
            for from_left in [true, false] {
                let mut bytes = [0; 16];
                Pattern::new(9, connection, from_left).fill(0, &mut bytes);
                assert!(!all.contains(&bytes), "connection {connection}");
                all.push(bytes);
            }
        }
    }
}
