//! A token bucket: so many a second, with a burst of a tenth of a second.

use crore_base::Instant;

/// Allows `per_second` of something.
#[derive(Debug)]
pub(crate) struct RateLimit {
    nanos_each: u64,
    burst_nanos: u64,
    /// When the bucket would be full again were nothing taken: the virtual
    /// scheduling form of the leaky bucket, one word of state.
    next_free: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32) -> Self {
        let nanos_each = 1_000_000_000 / u64::from(per_second.max(1));
        let burst = u64::from(per_second / 10).max(1);
        Self {
            nanos_each,
            burst_nanos: nanos_each.saturating_mul(burst),
            next_free: Instant::ZERO,
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let start = self.next_free.max(now);
        let taken = start + crore_base::Duration::from_nanos(self.nanos_each);
        if taken.since(now).as_nanos() > self.burst_nanos {
            return false;
        }
        self.next_free = taken;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_a_second_no_more_than_the_rate_and_one_burst_pass() {
        let mut limit = RateLimit::new(100);
        let passed = (0..100_000u64)
            .filter(|i| limit.allow(Instant::from_nanos(i * 10_000)))
            .count();
        assert!(
            (100..=110).contains(&passed),
            "{passed} passed in a second at 100/s"
        );
    }
}
