//! What a way through a network has besides independent mishaps: a narrowest
//! place with a queue before it, and losses that come together.
//!
//! Read first: Gilbert, "Capacity of a burst-noise channel" (1960), and Elliott
//! (1963); RFC 7567 section 1 for what a queue that is full does to TCP.
//!
//! Always true: the queue never holds more than its configured bytes, but for
//! one frame that finds it empty; frames leave it in the order in which they came.

use crore_base::{Duration, Instant};

use crate::prng::Prng;

/// The narrowest place of a way, with a queue before it that throws away what
/// does not fit (tail drop).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bottleneck {
    /// Bytes of frames that pass in a second; 0: as many as come.
    pub bytes_per_second: u64,
    /// Bytes of frames that wait at most. One frame always has a place.
    pub queue_bytes: u64,
}

/// Losses that come together: a way that is good or bad, frame by frame
/// (Gilbert and Elliott's model). It is bad for `1 / leave` frames in the mean.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Bursts {
    /// The chance that it turns bad with a frame; 0: never.
    pub enter: f64,
    /// The chance that it turns good with a frame.
    pub leave: f64,
    /// The chance that a frame is lost while it is bad.
    pub loss: f64,
}

/// Where one direction's way stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// When the narrowest place has let through all that it took.
    free: Instant,
    /// Within a burst of losses.
    bad: bool,
}

impl Way {
    /// Whether a burst takes this frame. Without bursts nothing is drawn.
    pub(super) fn swallows(&mut self, bursts: Bursts, prng: &mut Prng) -> bool {
        if bursts.enter <= 0.0 {
            self.bad = false;
            return false;
        }
        let turns = if self.bad { bursts.leave } else { bursts.enter };
        self.bad ^= prng.chance(turns);
        self.bad && prng.chance(bursts.loss)
    }

    /// When a frame that comes now has passed the narrowest place; `None` when
    /// the queue before it has no room.
    pub(super) fn passes(&mut self, now: Instant, bytes: usize, bottleneck: Bottleneck) -> Option<Instant> {
        let Bottleneck {
            bytes_per_second: rate @ 1..,
            queue_bytes,
        } = bottleneck
        else {
            return Some(now);
        };
        let bytes = bytes as u64;
        if self.free > now {
            let waiting = u128::from(self.free.since(now).as_nanos()) * u128::from(rate) / 1_000_000_000;
            if waiting + u128::from(bytes) > u128::from(queue_bytes) {
                return None;
            }
        }
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        self.free = self.free.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 1,000 bytes takes a millisecond, and four of them may wait.
    const NARROW: Bottleneck = Bottleneck {
        bytes_per_second: 1_000_000,
        queue_bytes: 4_000,
    };

    #[test]
    fn frames_leave_the_bottleneck_at_its_rate_and_the_queue_is_bounded() {
        let mut way = Way::default();
        let start = Instant::from_millis(10);
        for n in 1..=4 {
            let leaves = way.passes(start, 1_000, NARROW);
            assert_eq!(leaves, Some(Instant::from_millis(10 + n)), "frame {n}, in turn");
        }
        assert_eq!(way.passes(start, 1_000, NARROW), None, "the fifth finds no room");
        let later = Instant::from_millis(11);
        let leaves = way.passes(later, 1_000, NARROW);
        assert_eq!(leaves, Some(Instant::from_millis(15)), "one has left meanwhile");
        let idle = Instant::from_millis(100);
        let leaves = way.passes(idle, 5_000, NARROW);
        assert_eq!(
            leaves,
            Some(Instant::from_millis(105)),
            "an idle line takes a frame that no queue would, and owes nothing for the pause"
        );
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut way = Way::default();
        let now = Instant::from_millis(3);
        for _ in 0..100 {
            assert_eq!(
                way.passes(now, 9_000, Bottleneck::default()),
                Some(now),
                "at once"
            );
        }
    }

    #[test]
    fn bursts_are_as_long_and_as_frequent_as_asked() {
        const FRAMES: u32 = 200_000;
        let bursts = Bursts {
            enter: 0.01,
            leave: 0.25,
            loss: 1.0,
        };
        let (mut way, mut prng) = (Way::default(), Prng::new(7));
        let (mut lost, mut runs, mut before) = (0u32, 0u32, false);
        for _ in 0..FRAMES {
            let now = way.swallows(bursts, &mut prng);
            lost += u32::from(now);
            runs += u32::from(now && !before);
            before = now;
        }
        let length = f64::from(lost) / f64::from(runs);
        assert!((3.8..4.2).contains(&length), "1 / leave frames: {length}");
        let share = f64::from(lost) / f64::from(FRAMES);
        let expected = 0.01 / (0.01 + 0.25);
        assert!((share / expected - 1.0).abs() < 0.1, "{share} for {expected}");
    }

    #[test]
    fn without_bursts_no_number_is_drawn() {
        let (mut way, mut prng) = (Way::default(), Prng::new(1));
        assert!(!way.swallows(Bursts::default(), &mut prng), "nothing is lost");
        assert_eq!(
            prng.next_u64(),
            Prng::new(1).next_u64(),
            "and seeds mean what they meant"
        );
    }
}
