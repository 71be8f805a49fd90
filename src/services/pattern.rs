//! Bytes whose place can be told from their value: RFC 864's rotating lines.
//!
//! Line `n` has 72 printable characters, starting with the `n`-th of the 95,
//! and ends in CR LF; after 95 lines it starts over. So a byte that is lost,
//! doubled or swapped shows.

use crore_netbuf::Chunk;

const PRINTABLE: usize = 95;
const LINE: usize = 72;

/// After so many bytes the pattern repeats.
pub const PATTERN_PERIOD: usize = PRINTABLE * (LINE + 2);

/// Periods in the buffer from which pieces are cut.
const PERIODS: usize = 10;

/// The endless pattern, cut into pieces without copying.
#[derive(Debug)]
pub struct Pattern(Chunk);

impl Pattern {
    /// The longest piece.
    pub const PIECE_MAX: usize = (PERIODS - 1) * PATTERN_PERIOD;

    /// Makes the buffer that all pieces share.
    pub fn new() -> Self {
        let bytes: Vec<u8> = (0..PERIODS * PATTERN_PERIOD)
            .map(|i| Self::byte_at(i as u64))
            .collect();
        Self(Chunk::copy_from(&bytes))
    }

    /// The byte at `offset` of the endless pattern.
    pub const fn byte_at(offset: u64) -> u8 {
        let at = (offset % PATTERN_PERIOD as u64) as usize;
        let (line, column) = (at / (LINE + 2), at % (LINE + 2));
        match column {
            LINE => b'\r',
            c if c > LINE => b'\n',
            c => b' ' + ((line + c) % PRINTABLE) as u8,
        }
    }

    /// `len` bytes (at most [`Self::PIECE_MAX`]) from `offset` on.
    pub fn piece(&self, offset: u64, len: usize) -> Chunk {
        let start = (offset % PATTERN_PERIOD as u64) as usize;
        self.0.slice(start..start + len.min(Self::PIECE_MAX))
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self::new()
    }
}
