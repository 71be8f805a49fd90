//! The one place where the program reads a clock for the stack, and where it waits.

use crore::Instant;
use crore_dpdk::Tsc;

/// Nanoseconds since it was started.
///
/// The kernel's clock is right and takes some 25 ns to read, which a turn that
/// finds nothing has to pay as well. So where the CPU's counter ticks evenly, it
/// counts from one look at the kernel's clock to the next.
#[derive(Debug)]
pub(crate) struct Clock {
    started: std::time::Instant,
    counter: Option<(Tsc, Counted)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let started = std::time::Instant::now();
        Self {
            started,
            counter: Tsc::invariant().map(|tsc| (tsc, Counted::new(tsc.ticks()))),
        }
    }

    #[inline]
    pub(crate) fn now(&mut self) -> Instant {
        let started = self.started;
        let real = || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let nanos = match &mut self.counter {
            Some((tsc, counted)) => counted.now(tsc.ticks(), real),
            None => real(),
        };
        Instant::from_nanos(nanos)
    }
}

/// The time by a counter of even ticks, held to the real time.
///
/// Always true: it never goes back; what it gives was the real time, or is
/// counted from it for less than [`Self::LOOK`]. A counter that jumps or stops is
/// found out at the next look and measured afresh; the time stands still until the
/// real one has caught up.
#[derive(Debug)]
struct Counted {
    /// Where the counter stood when it began to be measured, and the real time then.
    first_tick: u64,
    first: u64,
    /// Where it is counted from, and the time there.
    tick: u64,
    nanos: u64,
    /// Nanoseconds a tick, times 2^32; 0 while it is being found out.
    rate: u64,
    /// Ticks from `tick` to the next look at the real time.
    until_look: u64,
    /// The real time when it was looked at last.
    looked: u64,
    /// What was given out last.
    last: u64,
}

impl Counted {
    /// For so long the rate is measured before the counter is believed: one in
    /// 100,000, when looking takes 100 ns.
    const MEASURE: u64 = 10_000_000;
    /// The real time is looked at so often.
    const LOOK: u64 = 1_000_000;

    const fn new(tick: u64) -> Self {
        Self {
            first_tick: tick,
            first: 0,
            tick,
            nanos: 0,
            rate: 0,
            until_look: 0,
            looked: 0,
            last: 0,
        }
    }

    /// The time when the counter stands at `tick`; `real` is the real one.
    #[inline]
    fn now(&mut self, tick: u64, real: impl FnOnce() -> u64) -> u64 {
        let ticks = tick.wrapping_sub(self.tick);
        // A counter that went back beyond that is as one that went far ahead.
        if ticks < self.until_look {
            self.last = self.last.max(self.nanos + scaled(ticks, self.rate));
        } else {
            self.look(tick, real());
        }
        self.last
    }

    #[cold]
    fn look(&mut self, tick: u64, real: u64) {
        let counted = scaled(tick.wrapping_sub(self.tick), self.rate);
        let passed = real.saturating_sub(self.looked);
        // Or this thread was kept from running between the two readings.
        if self.rate > 0 && counted.abs_diff(passed) > passed / 100 + Self::LOOK / 100 {
            (self.first_tick, self.first, self.rate) = (tick, real, 0);
            self.until_look = 0;
        }
        (self.tick, self.looked) = (tick, real);
        self.nanos = real.max(self.last);
        self.last = self.nanos;
        let measured = real.saturating_sub(self.first);
        if measured < Self::MEASURE {
            return;
        }
        // Measured for ever longer, so that it becomes ever more exact.
        let ticks = tick.wrapping_sub(self.first_tick).max(1);
        let rate = ((u128::from(measured) << 32) / u128::from(ticks)).clamp(1, u128::from(u64::MAX)) as u64;
        let until_look = (u128::from(Self::LOOK) << 32) / u128::from(rate);
        self.until_look = u64::try_from(until_look).unwrap_or(0);
        // One that is ahead of the real time goes slower, by as much in one step.
        let ahead = (self.nanos - real).min(Self::LOOK / 2);
        self.rate = (u128::from(rate) * u128::from(Self::LOOK - ahead) / u128::from(Self::LOOK)) as u64;
    }
}

/// `ticks` of `rate` in nanoseconds.
#[inline(always)]
fn scaled(ticks: u64, rate: u64) -> u64 {
    ((u128::from(ticks) * u128::from(rate)) >> 32) as u64
}

/// Rests this thread for about `time`; it may come back early.
///
/// Not `std::thread::sleep`: net_tap announces each packet by a signal, and a
/// relative sleep that signals interrupt is begun again with what the kernel
/// says remains of it, which under a storm of them was seen to grow. A thread
/// then slept for seconds instead of milliseconds. Parking counts towards a
/// fixed point in time.
pub(crate) fn rest(time: std::time::Duration) {
    std::thread::park_timeout(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks of 2.5 GHz, from a counter that has run for long.
    fn ticks_at(nanos: u64) -> u64 {
        (u64::MAX - 1_000_000).wrapping_add(nanos * 5 / 2)
    }

    #[test]
    fn the_counted_time_is_the_real_one_within_some_nanoseconds() {
        let mut counted = Counted::new(ticks_at(0));
        let mut looks = 0;
        for real in (0..2_000_000_000).step_by(997) {
            let now = counted.now(ticks_at(real), || {
                looks += 1;
                real
            });
            assert!(now.abs_diff(real) <= 2, "{now} at {real}");
        }
        assert!(
            looks < 2_000 + 10_040,
            "once a millisecond, and while measuring: {looks}"
        );
    }

    #[test]
    fn a_counter_that_jumps_or_stops_never_turns_time_back_nor_leads_it_astray() {
        let mut counted = Counted::new(ticks_at(0));
        let (mut before, mut jumped) = (0, 0u64);
        for step in 0..2_000_000u64 {
            let real = step * 1_000;
            match step {
                // Forward by little, by much; back by little, by much.
                100_000 => jumped = 2_000_000,
                500_000 => jumped = 1 << 40,
                700_000 => jumped -= 100_000,
                900_000 => jumped = 0,
                _ => {}
            }
            // It stands still for 2 ms.
            let counter = if (1_200_000..1_202_000).contains(&step) {
                1_200_000_000
            } else {
                real
            };
            let now = counted.now(ticks_at(counter).wrapping_add(jumped), || real);
            assert!(now >= before, "{now} after {before}");
            assert!(now.abs_diff(real) <= 3_000_000, "{now} at {real}");
            before = now;
        }
    }

    #[test]
    fn the_clock_of_this_machine_keeps_time() {
        let mut clock = Clock::start();
        let started = std::time::Instant::now();
        let mut before = clock.now();
        while started.elapsed() < std::time::Duration::from_millis(50) {
            let now = clock.now();
            assert!(now >= before, "never back");
            before = now;
        }
        let (ours, real) = (clock.now().as_nanos(), started.elapsed().as_nanos() as u64);
        assert!(ours.abs_diff(real) < 5_000_000, "{ours} against {real}");
    }
}
