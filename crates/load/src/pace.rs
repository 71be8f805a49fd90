//! How much may have been begun by when: a rate, reached by a ramp.

use crore_base::Duration;

/// A rate that is reached evenly within the ramp, and kept from then on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    per_second: f64,
    ramp_seconds: f64,
}

impl Pace {
    /// So many a second after `ramp`.
    pub fn new(per_second: u64, ramp: Duration) -> Self {
        Self {
            per_second: per_second.max(1) as f64,
            ramp_seconds: ramp.as_secs_f64(),
        }
    }

    /// An even part of it, where `parts` of them go on at once.
    pub fn part(self, parts: u16) -> Self {
        Self {
            per_second: self.per_second / f64::from(parts.max(1)),
            ..self
        }
    }

    /// How many are due after so long.
    pub(crate) fn due(self, elapsed: Duration) -> u64 {
        let t = elapsed.as_secs_f64();
        let begun = if t < self.ramp_seconds {
            self.per_second * t * t / (2.0 * self.ramp_seconds)
        } else {
            self.per_second * (t - self.ramp_seconds / 2.0)
        };
        // The first is due at once.
        begun as u64 + 1
    }

    /// After how long the one with this number, counted from 0, is due.
    pub(crate) fn time_of(self, number: u64) -> Duration {
        let number = number as f64;
        let within_ramp = self.per_second * self.ramp_seconds / 2.0;
        let seconds = if number < within_ramp {
            (2.0 * self.ramp_seconds * number / self.per_second).sqrt()
        } else {
            number / self.per_second + self.ramp_seconds / 2.0
        };
        Duration::from_nanos((seconds * 1e9) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_begins_half_as_many_and_each_is_due_at_its_time() {
        let steady = Pace::new(1000, Duration::ZERO);
        let ramped = Pace::new(1000, Duration::from_secs(2));
        for (pace, millis, due) in [
            (steady, 0, 1),
            (steady, 500, 501),
            (steady, 3000, 3001),
            (ramped, 0, 1),
            (ramped, 1000, 251),
            (ramped, 2000, 1001),
            (ramped, 3000, 2001),
        ] {
            assert_eq!(
                pace.due(Duration::from_millis(millis)),
                due,
                "{pace:?} after {millis} ms"
            );
        }
        for pace in [steady, ramped] {
            for number in [0, 1, 100, 999, 1000, 1001, 54_321] {
                let at = pace.time_of(number);
                let then = pace.due(at + Duration::from_micros(1));
                assert_eq!(then, number + 1, "{pace:?}: number {number} is due at {at:?}");
            }
        }
    }
}
