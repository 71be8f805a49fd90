//! The most of late, of rates and of volumes.
//!
//! Read first: draft-ietf-ccwg-bbr-06 sections 5.5.3 to 5.5.6 and 5.5.9.

/// The highest rate of this cycle of probing and of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxRate {
    before: u64,
    now: u64,
}

impl MaxRate {
    pub(super) fn update(&mut self, rate: u64) {
        self.now = self.now.max(rate);
    }

    /// A cycle is over. One without a sample does not count: what was known
    /// would be forgotten for nothing.
    pub(super) const fn advance(&mut self) {
        if self.now > 0 {
            self.before = self.now;
            self.now = 0;
        }
    }

    pub(super) fn get(self) -> u64 {
        self.before.max(self.now)
    }
}

/// The largest volume within a number of rounds, which are kept as two halves:
/// so it remembers between half of them and all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxVolume {
    before: u32,
    now: u32,
    since: u64,
}

impl MaxVolume {
    /// `volume` was seen in `round`; half of the filter is `half` rounds.
    pub(super) fn update(&mut self, round: u64, half: u64, volume: u32) {
        let passed = round.saturating_sub(self.since);
        if passed >= half {
            self.before = if passed < 2 * half { self.now } else { 0 };
            self.now = 0;
            self.since = round;
        }
        self.now = self.now.max(volume);
    }

    pub(super) fn get(self) -> u32 {
        self.before.max(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects the rate from one bad cycle, and from being believed for ever
    /// (section 5.5.6).
    #[test]
    fn a_rate_is_remembered_for_two_cycles() {
        let mut filter = MaxRate::default();
        filter.update(100);
        filter.update(80);
        assert_eq!(filter.get(), 100, "the highest");
        filter.advance();
        filter.update(50);
        assert_eq!(filter.get(), 100, "of the cycle before too");
        filter.advance();
        assert_eq!(filter.get(), 50, "no longer");
        filter.advance();
        filter.advance();
        assert_eq!(filter.get(), 50, "cycles without a sample do not count");
    }

    #[test]
    fn a_volume_is_remembered_for_so_many_rounds() {
        let mut filter = MaxVolume::default();
        filter.update(3, 5, 1_000);
        filter.update(4, 5, 10);
        assert_eq!(filter.get(), 1_000);
        filter.update(6, 5, 10);
        assert_eq!(filter.get(), 1_000, "in the second half");
        filter.update(11, 5, 20);
        assert_eq!(filter.get(), 20, "both halves are newer");
        filter.update(30, 5, 7);
        assert_eq!(filter.get(), 7, "a long silence forgets both");
    }
}
