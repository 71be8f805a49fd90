//! Which bytes of a stream have come, by their distance from its first number.

/// Disjoint ranges in order, none touching another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Adds `from..to`, and says whether any of it was new.
    pub(crate) fn add(&mut self, from: u32, to: u32) -> bool {
        if from >= to || self.contains(from, to) {
            return false;
        }
        let first = self.0.partition_point(|range| range.1 < from);
        let last = first + self.0[first..].partition_point(|range| range.0 <= to);
        let merged = self.0[first..last]
            .iter()
            .fold((from, to), |all, range| (all.0.min(range.0), all.1.max(range.1)));
        self.0.splice(first..last, [merged]);
        true
    }

    /// Whether all of `from..to` has come.
    pub(crate) fn contains(&self, from: u32, to: u32) -> bool {
        let next = self.0.partition_point(|range| range.1 <= from);
        from >= to
            || self
                .0
                .get(next)
                .is_some_and(|range| range.0 <= from && to <= range.1)
    }

    /// How far everything has come from the first byte on.
    pub(crate) fn contiguous(&self) -> u32 {
        match self.0.first() {
            Some(&(0, to)) => to,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        /// Protects the judgement of acknowledgments from a mistake of the judge.
        #[test]
        fn ranges_agree_with_a_plain_set_of_bytes(
            pieces in proptest::collection::vec((0u32..60, 0u32..20), 0..40),
            asked in (0u32..60, 0u32..20),
        ) {
            let (mut ranges, mut plain) = (Ranges::default(), [false; 100]);
            for (from, len) in pieces {
                let bytes = &mut plain[from as usize..(from + len) as usize];
                let new = bytes.contains(&false);
                bytes.fill(true);
                prop_assert_eq!(ranges.add(from, from + len), new);
            }
            let (from, to) = (asked.0, asked.0 + asked.1);
            let all = !plain[from as usize..to as usize].contains(&false);
            prop_assert_eq!(ranges.contains(from, to), all);
            let first_gap = plain.iter().position(|there| !there).unwrap_or(100);
            prop_assert_eq!(ranges.contiguous(), first_gap as u32);
        }
    }
}
