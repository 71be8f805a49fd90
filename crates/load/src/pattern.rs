//! Bytes whose value follows from their position, so that a reply that is lost,
//! doubled, moved or mixed up with another connection's shows.

/// A prime near 64 Ki: no power of two that a stack might slip by is a period of it.
const PERIOD: usize = 65_521;

/// Bytes that come again after a period, laid out so that any piece up to the
/// longest is one slice.
#[derive(Clone, Debug)]
pub struct Periodic {
    bytes: Vec<u8>,
    period: usize,
}

impl Periodic {
    /// The longest piece that can be had of any.
    pub const PIECE_MAX: usize = 128 * 1024;

    /// `period` again and again. It must not be empty.
    pub fn of(period: &[u8]) -> Self {
        Self::up_to(period, Self::PIECE_MAX)
    }

    fn up_to(period: &[u8], longest: usize) -> Self {
        assert!(!period.is_empty(), "nothing can't come again");
        Self {
            bytes: period
                .iter()
                .copied()
                .cycle()
                .take(period.len() + longest)
                .collect(),
            period: period.len(),
        }
    }

    /// Where in what is laid out the byte at `offset` lies.
    pub(crate) fn place(&self, offset: u64) -> usize {
        (offset % self.period as u64) as usize
    }

    /// A period, and as many bytes behind it as the longest piece has.
    pub(crate) fn laid_out(&self, longest: usize) -> &[u8] {
        &self.bytes[..self.period + longest]
    }

    /// Whether `data` is what has to be at `offset`.
    pub fn is_at(&self, mut offset: u64, data: &[u8]) -> bool {
        data.chunks(Self::PIECE_MAX).all(|piece| {
            let start = self.place(offset);
            offset += piece.len() as u64;
            piece == &self.bytes[start..start + piece.len()]
        })
    }
}

/// What requests are made of: a stream for each connection.
pub struct Pattern {
    bytes: Periodic,
    longest: usize,
}

impl Pattern {
    /// A pattern of which pieces of up to `longest` bytes can be had.
    pub fn new(longest: usize) -> Self {
        Self {
            bytes: Periodic::up_to(&Self::period(), longest),
            longest,
        }
    }

    /// The bytes that come again and again.
    pub fn period() -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut period = Vec::with_capacity(PERIOD);
        for _ in 0..PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            period.push((state >> 32) as u8);
        }
        period
    }

    /// `len` bytes of the stream of connection `stream`, from `offset` on; at
    /// most the longest piece.
    #[inline]
    pub fn piece(&self, stream: u32, offset: u64, len: usize) -> &[u8] {
        let start = (offset.wrapping_add(u64::from(stream) * 7_919) % PERIOD as u64) as usize;
        &self.bytes.bytes[start..start + len.min(self.longest)]
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

    #[test]
    fn a_periodic_stream_knows_its_place_however_long_the_piece() {
        let stream = Periodic::of(b"abcde");
        let long: Vec<u8> = b"cdeab"
            .iter()
            .copied()
            .cycle()
            .take(Periodic::PIECE_MAX * 2 + 7)
            .collect();
        assert!(stream.is_at(2, &long) && stream.is_at(1_000_002, &long));
        assert!(!stream.is_at(3, &long), "one further");
        let mut wrong = long;
        wrong[Periodic::PIECE_MAX + 1] ^= 1;
        assert!(!stream.is_at(2, &wrong), "one byte in the second piece");
        assert!(stream.is_at(9, b""), "nothing is everywhere");
    }
}
