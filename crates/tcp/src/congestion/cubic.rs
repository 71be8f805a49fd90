//! The window as a cubic function of time.
//!
//! Read first: RFC 9438 section 4, RFC 8511 (marks).
//!
//! All of it is counted in integers, so that a simulation gives the same figures
//! on every machine: windows in bytes, time in ticks of 2^20 ns (1.05 ms, so
//! that no division is needed).
//!
//! ```text
//!   window                                         /
//!    w_max ---|\ - - - - - - - - - ______________ /   C (t - K)^3 + w_max
//!             | \            __----      K
//!    cwnd_epoch  |_______ --
//!                0                      t ->
//! ```

use crore_base::{Duration, Instant};

use super::{Acked, MAX_WINDOW, Window};

/// What CUBIC knows besides the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cubic {
    /// W_max: where the plateau is; 0 if nothing is known of it.
    w_max: u32,
    /// cwnd_prior: the window when the threshold was set last.
    prior: u32,
    /// W_est: the window that Reno would have.
    w_est: u32,
    /// K: ticks from the beginning of the stage to the plateau.
    k: u32,
    /// What of the growth did not make a byte yet, in bytes times the window.
    credit: u32,
    /// When this stage of congestion avoidance began, put off by all the time in
    /// which the window was not what held the sender back.
    epoch: u32,
    /// Up to when that was looked at.
    clock: u32,
    /// 2^-16 bytes beyond `w_est`.
    w_est_part: u16,
    /// Whether a stage has begun.
    running: bool,
}

/// Ticks are 2^20 ns long.
const TICK_SHIFT: u32 = 20;
/// C = 0.4 segments a second cubed, for ticks, in 2^-60: 0.4 (2^20 / 10^9)^3.
const C: u64 = ((4u128 << 120) / 10u128.pow(28)) as u64;
/// Further than 137 s from the plateau the curve is as steep as the bounds on
/// growth allow, and its cube would no longer fit.
const FARTHEST: u32 = (1 << 17) - 1;

/// What is left after a loss, and after a mark, in percent.
const BETA_LOSS: u32 = 70;
const BETA_ECN: u32 = 85;

impl Cubic {
    /// Congestion avoidance: something was acknowledged while the window was
    /// what held the sender back.
    pub(super) fn avoid(&mut self, window: &mut Window, ack: &Acked) {
        let now = ticks(ack.now);
        if !self.running {
            self.begin(window, now);
        }
        self.clock = now;
        let acked = ack.acked.min(window.size);
        self.estimate(window, acked);
        let target = self.target(window, now, ack.srtt.unwrap_or_default());
        //= rfc9438#section-4.4 (MUST)
        // Below the plateau, and beyond it (section 4.5), each segment that is
        // acknowledged moves the window by its share of the way to the target.
        let size = u64::from(window.size);
        let growth = u64::from(acked) * u64::from(target - window.size) + u64::from(self.credit);
        self.credit = (growth % size) as u32;
        window.grow((growth / size).min(u64::from(target - window.size)) as u32);
        //= rfc9438#section-4.3 (SHOULD)
        // Where Reno would be faster (short paths, small windows), as fast as it.
        window.grow(self.w_est.saturating_sub(window.size));
    }

    //= rfc9438#section-4.2 (MUST NOT)
    // The curve's time stands still while the window is not what limits: else it
    // would have run far ahead when the application comes back.
    /// Nothing of the time up to `now` counts since it was last looked at.
    pub(super) const fn stand_still(&mut self, now: Instant) {
        if self.running {
            let now = ticks(now);
            self.epoch = self.epoch.wrapping_add(now.wrapping_sub(self.clock));
            self.clock = now;
        }
    }

    /// A loss, found out by acknowledgments or by a time-out.
    pub(super) fn on_loss(&mut self, window: &mut Window, flight: u32) {
        self.reduce(window, flight, BETA_LOSS);
    }

    //= rfc8511#section-3.1 (SHOULD)
    // A mark comes from a short queue, earlier than a loss, and costs less.
    pub(super) fn on_ecn(&mut self, window: &mut Window, flight: u32) {
        self.reduce(window, flight, BETA_ECN);
    }

    //= rfc9438#section-4.8 (SHOULD)
    // A time-out reduces the threshold as any loss does; the plateau of before
    // counts no more: the next stage begins at its own.
    pub(super) fn on_timeout(&mut self, window: &mut Window, flight: u32) {
        self.reduce(window, flight, BETA_LOSS);
        self.w_max = 0;
    }

    /// The window was set anew: the stage is over.
    pub(super) const fn stop(&mut self) {
        self.running = false;
        self.credit = 0;
    }

    //= rfc9438#section-4.6 (SHOULD)
    // What is in flight is reduced, to seven tenths after a loss: the window may
    // be larger than what was ever tried.
    fn reduce(&mut self, window: &mut Window, flight: u32, percent: u32) {
        let size = window.size;
        //= rfc9438#section-4.7 (SHOULD)
        // Fast convergence: who has not come back to the last plateau has a
        // rival, and leaves it more room.
        self.w_max = if size < self.w_max {
            part(size, (100 + percent) / 2)
        } else {
            size
        };
        self.prior = size;
        self.stop();
        window.reduce_to(part(flight, percent));
    }

    //= rfc9438#section-4.2 (MUST)
    // A stage begins where the window is; it reaches the plateau after
    // K = cbrt((W_max - cwnd) / C). Without a plateau above (section 4.10, after
    // a slow start that ended without loss, and 4.8, after a time-out) the window
    // itself is one, and K is 0.
    fn begin(&mut self, window: &Window, now: u32) {
        if self.prior == 0 {
            self.prior = window.size;
        }
        if self.w_max <= window.size {
            self.w_max = window.size;
            self.k = 0;
        } else {
            let way = u128::from(self.w_max - window.size) << 60;
            let cube = way / (u128::from(C) * u128::from(window.mss.max(1)));
            self.k = cube_root(u64::try_from(cube).unwrap_or(u64::MAX)).min(FARTHEST);
        }
        self.w_est = window.size;
        self.w_est_part = 0;
        self.epoch = now;
        self.running = true;
    }

    /// Where the curve will be a round trip from now, if that is neither below
    /// the window nor beyond one and a half times of it.
    fn target(&self, window: &Window, now: u32, srtt: Duration) -> u32 {
        let t = i64::from(now.wrapping_sub(self.epoch)) + (srtt.as_nanos() >> TICK_SHIFT) as i64;
        let t = t - i64::from(self.k);
        let far = t.unsigned_abs().min(u64::from(FARTHEST));
        let rise = (u128::from(far * far * far) * u128::from(C * u64::from(window.mss))) >> 60;
        let rise = u32::try_from(rise).unwrap_or(u32::MAX);
        let curve = if t < 0 {
            self.w_max.saturating_sub(rise)
        } else {
            self.w_max.saturating_add(rise)
        };
        curve.clamp(window.size, window.size.saturating_add(window.size / 2))
    }

    //= rfc9438#section-4.3 (SHOULD)
    // Reno's window grows by 3 (1 - beta) / (1 + beta) = 9/17 of a segment for
    // each window, since it falls less than Reno's would; and by a whole one from
    // where it last was reduced.
    fn estimate(&mut self, window: &Window, acked: u32) {
        let step = u64::from(acked) * u64::from(window.mss);
        let step = if self.w_est >= self.prior {
            step
        } else {
            step * 9 / 17
        };
        let part = u64::from(self.w_est_part) + (step << 16) / u64::from(window.size);
        self.w_est = u64::from(self.w_est)
            .saturating_add(part >> 16)
            .min(u64::from(MAX_WINDOW)) as u32;
        self.w_est_part = part as u16;
    }
}

const fn ticks(at: Instant) -> u32 {
    (at.as_nanos() >> TICK_SHIFT) as u32
}

fn part(of: u32, percent: u32) -> u32 {
    (u64::from(of) * u64::from(percent) / 100) as u32
}

/// The largest whole number whose cube is not above `n`.
fn cube_root(n: u64) -> u32 {
    let mut root = 0u64;
    for bit in (0..=21).rev() {
        let next = root | 1 << bit;
        // The cube root of 2^64 lies below 2^22.
        if u128::from(next).pow(3) <= u128::from(n) {
            root = next;
        }
    }
    root as u32
}

#[cfg(test)]
mod tests;
