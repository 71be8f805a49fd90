//! The one place where the program reads a clock for the stack, and where it waits.

use crore::Instant;

/// Nanoseconds since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
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
