//! When each connection wants to be woken.
//!
//! A hierarchical timing wheel (Varghese and Lauck, 1987): six levels of 64
//! buckets, each level 64 times coarser than the one below. Arming, moving and
//! cancelling are constant-time; a timer cascades at most five times in its life.
//! The links are indices into an array with one entry a slot, so nothing is
//! allocated after construction.
//!
//! Always true: a timer never fires early; it fires at most one tick late once
//! [`TimerWheel::pop_expired`] is called; a slot has at most one timer.

use crore_base::{Duration, Instant};

/// A tick is 2^20 ns, 1.05 ms: fine against an RTO of 200 ms, coarse enough
/// that a busy connection's timers share buckets.
const TICK_SHIFT: u32 = 20;
const LEVELS: usize = 6;
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// The furthest that a deadline can lie ahead, in ticks; what is later is
/// brought forward to it and simply asked again then.
const HORIZON: u64 = 1 << (LEVEL_BITS * LEVELS as u32);

const NIL: u32 = u32::MAX;
const UNARMED: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    prev: u32,
    /// Level * 64 + bucket, or [`UNARMED`].
    place: u16,
    /// In ticks.
    deadline: u64,
}

const UNLINKED: Link = Link {
    next: NIL,
    prev: NIL,
    place: UNARMED,
    deadline: 0,
};

/// The wheel for the timers of up to a fixed number of slots.
pub struct TimerWheel {
    links: Vec<Link>,
    heads: Box<[u32; LEVELS * BUCKETS]>,
    occupied: [u64; LEVELS],
    /// Every tick before this one has been handled.
    now: u64,
    /// No bucket is due before this tick, so that nothing has to be looked at.
    quiet_until: u64,
    armed: usize,
}

impl TimerWheel {
    /// Bytes of memory for each slot.
    pub const LINK_BYTES: usize = size_of::<Link>();

    /// A wheel for slots `0..capacity`, whose first tick is at `now`.
    pub fn new(capacity: u32, now: Instant) -> Self {
        Self {
            links: Vec::with_capacity(capacity as usize),
            heads: Box::new([NIL; LEVELS * BUCKETS]),
            occupied: [0; LEVELS],
            now: now.as_nanos() >> TICK_SHIFT,
            quiet_until: 0,
            armed: 0,
        }
    }

    /// Arms the timer of `slot` for `deadline`, in place of what it was armed for.
    pub fn arm(&mut self, slot: u32, deadline: Instant) {
        self.cancel(slot);
        let tick = (deadline.as_nanos() >> TICK_SHIFT) + 1;
        let tick = tick.clamp(self.now, self.now + HORIZON - 1);
        self.link(slot, tick);
        self.armed += 1;
    }

    /// Disarms the timer of `slot`, if it is armed.
    pub fn cancel(&mut self, slot: u32) {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, UNLINKED);
        }
        if self.links[slot as usize].place != UNARMED {
            self.unlink(slot);
            self.armed -= 1;
        }
    }

    /// The time at or after which the timer of `slot` fires, if it is armed.
    pub fn deadline(&self, slot: u32) -> Option<Instant> {
        let link = self.links.get(slot as usize)?;
        (link.place != UNARMED).then(|| Instant::from_nanos(link.deadline << TICK_SHIFT))
    }

    /// Takes one slot whose time has come out of the wheel. To be called until
    /// it gives `None`.
    #[inline]
    pub fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_nanos() >> TICK_SHIFT;
        if target < self.quiet_until {
            self.now = self.now.max(target);
            return None;
        }
        self.pop_due(target)
    }

    fn pop_due(&mut self, target: u64) -> Option<u32> {
        loop {
            let next = self.next_bucket();
            let (level, bucket, due) = match next {
                Some(next) if next.2 <= target => next,
                _ => {
                    self.now = self.now.max(target);
                    self.quiet_until = next.map_or(u64::MAX, |(_, _, due)| due);
                    return None;
                }
            };
            self.now = self.now.max(due);
            let slot = self.heads[level * BUCKETS + bucket];
            let deadline = self.links[slot as usize].deadline;
            self.unlink(slot);
            if deadline <= self.now {
                self.armed -= 1;
                return Some(slot);
            }
            // It came down from a coarse level before its time: one level lower now.
            self.link(slot, deadline);
        }
    }

    /// A time before which no timer fires, or `None` when none is armed.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_bucket()
            .map(|(_, _, due)| Instant::from_nanos(due << TICK_SHIFT))
    }

    /// The length of a tick.
    pub const fn tick() -> Duration {
        Duration::from_nanos(1 << TICK_SHIFT)
    }

    /// How many timers are armed.
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// The bucket that is handled next: level, bucket, and the tick at which it is due.
    fn next_bucket(&self) -> Option<(usize, usize, u64)> {
        let mut soonest: Option<(usize, usize, u64)> = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = LEVEL_BITS * level as u32;
            let here = (self.now >> shift) as u32 % BUCKETS as u32;
            let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
            let bucket = ((here + ahead) % BUCKETS as u32) as usize;
            let start = ((self.now >> shift) + u64::from(ahead)) << shift;
            let due = start.max(self.now);
            if soonest.is_none_or(|(_, _, other)| due < other) {
                soonest = Some((level, bucket, due));
            }
        }
        soonest
    }

    fn link(&mut self, slot: u32, deadline: u64) {
        self.quiet_until = 0;
        // The level is that of the highest digit (base 64) in which the deadline
        // differs from now: below it, the bucket would come round too early.
        let differing = (deadline ^ self.now) | 1;
        let level = ((63 - differing.leading_zeros()) / LEVEL_BITS).min(LEVELS as u32 - 1);
        let bucket = (deadline >> (LEVEL_BITS * level)) as usize % BUCKETS;
        let place = level as usize * BUCKETS + bucket;
        let head = self.heads[place];
        self.links[slot as usize] = Link {
            next: head,
            prev: NIL,
            place: place as u16,
            deadline,
        };
        if head != NIL {
            self.links[head as usize].prev = slot;
        }
        self.heads[place] = slot;
        self.occupied[level as usize] |= 1 << bucket;
    }

    fn unlink(&mut self, slot: u32) {
        let Link {
            next, prev, place, ..
        } = self.links[slot as usize];
        let place = place as usize;
        if prev == NIL {
            self.heads[place] = next;
            if next == NIL {
                self.occupied[place / BUCKETS] &= !(1 << (place % BUCKETS));
            }
        } else {
            self.links[prev as usize].next = next;
        }
        if next != NIL {
            self.links[next as usize].prev = prev;
        }
        self.links[slot as usize].place = UNARMED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_timer_fires_not_early_and_within_a_tick() {
        for millis in [1, 5, 63, 64, 65, 70, 4096, 5000, 300_000, 20_000_000, 300_000_000] {
            let mut wheel = TimerWheel::new(1, Instant::ZERO);
            let deadline = Instant::from_millis(millis);
            wheel.arm(0, deadline);
            let mut now = Instant::ZERO;
            while wheel.pop_expired(now).is_none() {
                let next = wheel.next_deadline().expect("an armed wheel has a next deadline");
                assert!(next > now, "{millis} ms: the wheel must move on");
                now = next;
            }
            assert!(now >= deadline, "{millis} ms fired early, at {now:?}");
            assert!(
                now <= deadline + TimerWheel::tick(),
                "{millis} ms fired late, at {now:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(ops in proptest::collection::vec((0u8..4, 0u32..8, 0u64..u64::MAX), 1..200)) {
            let mut wheel = TimerWheel::new(8, Instant::from_millis(77));
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            let mut now = Instant::from_millis(77);
            for (op, slot, draw) in ops {
                match op {
                    0 | 1 => {
                        let deadline = now + Duration::from_nanos(draw >> (draw % 40 + 20));
                        wheel.arm(slot, deadline);
                        model.insert(slot, deadline);
                    }
                    2 => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        now += Duration::from_nanos(draw >> (draw % 36 + 24));
                        while let Some(slot) = wheel.pop_expired(now) {
                            let deadline = model.remove(&slot);
                            prop_assert!(deadline.is_some_and(|d| d <= now), "slot {slot} fired early or was not armed");
                        }
                        for (slot, deadline) in &model {
                            prop_assert!(*deadline + TimerWheel::tick() > now, "slot {slot} is overdue");
                        }
                    }
                }
                prop_assert_eq!(wheel.armed(), model.len(), "count");
            }
        }
    }
}
