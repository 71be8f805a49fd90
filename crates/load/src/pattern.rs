//! Bytes whose value follows from their position, so that a reply that is lost,
//! doubled, moved or mixed up with another connection's shows.

/// A prime near 64 Ki: no power of two that a stack might slip by is a period of it.
const PERIOD: usize = 65_521;

/// The pattern, laid out so that any piece up to the longest is one slice.
pub struct Pattern {
    bytes: Vec<u8>,
    longest: usize,
}

impl Pattern {
    /// A pattern of which pieces of up to `longest` bytes can be had.
    pub fn new(longest: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut period = Vec::with_capacity(PERIOD);
        for _ in 0..PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            period.push((state >> 32) as u8);
        }
        let bytes = period.iter().copied().cycle().take(PERIOD + longest).collect();
        Self { bytes, longest }
    }

    /// `len` bytes of the stream of connection `stream`, from `offset` on; at
    /// most the longest piece.
    #[inline]
    pub fn piece(&self, stream: u32, offset: u64, len: usize) -> &[u8] {
        let start = (offset.wrapping_add(u64::from(stream) * 7_919) % PERIOD as u64) as usize;
        &self.bytes[start..start + len.min(self.longest)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_stream_join_and_streams_differ() {
        let pattern = Pattern::new(1000);
        let whole = pattern.piece(3, 65_000, 1000);
        assert_eq!(
            &whole[400..],
            pattern.piece(3, 65_400, 600),
            "a piece is where it belongs"
        );
        assert_ne!(
            whole,
            pattern.piece(4, 65_000, 1000),
            "another connection's bytes differ"
        );
    }
}
