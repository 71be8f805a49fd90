//! A stretch of what is in flight.

use crore_base::{Instant, SeqNum};

/// A stretch of the sequence space with one story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) start: SeqNum,
    pub(crate) end: SeqNum,
    /// When it was sent last.
    pub(crate) sent_at: Instant,
    pub(super) marks: u8,
}

impl Run {
    /// The peer holds it, as it says.
    pub(super) const SACKED: u8 = 1;
    /// It is thought lost, and was not sent again since.
    pub(super) const LOST: u8 = 2;
    /// It was sent more than once.
    pub(super) const AGAIN: u8 = 4;
    /// `sent_at` is not the moment when all of it was sent.
    pub(super) const BLURRED: u8 = 8;

    pub(crate) const fn len(&self) -> u32 {
        self.start.distance_to(self.end)
    }

    pub(crate) const fn is_sacked(&self) -> bool {
        self.marks & Self::SACKED != 0
    }

    pub(crate) const fn is_lost(&self) -> bool {
        self.marks & Self::LOST != 0
    }

    /// Whether it was sent more than once.
    pub(crate) const fn was_sent_again(&self) -> bool {
        self.marks & Self::AGAIN != 0
    }

    /// Whether its acknowledgment tells a round trip (Karn's algorithm).
    pub(crate) const fn is_timed(&self) -> bool {
        self.marks & (Self::AGAIN | Self::BLURRED) == 0
    }

    /// Whether it was sent once, and nothing is known of it.
    pub(super) const fn is_untouched(&self) -> bool {
        self.marks & (Self::SACKED | Self::LOST | Self::AGAIN) == 0
    }
}
