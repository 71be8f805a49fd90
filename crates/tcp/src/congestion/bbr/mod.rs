//! A model of the path: how fast it delivers, how long it takes, how much it
//! bears; and what follows from it for pace and window.
//!
//! Read first: draft-ietf-ccwg-bbr-06 (BBRv3) sections 3 and 5; sections that
//! are named below without a document are that draft's. `rate.rs` measures
//! (section 4.1), `filter.rs` remembers, `bounds.rs` is what losses and marks
//! do to the model, `cycle.rs` probes for more rate, `probe_rtt.rs` for a shorter
//! way, `control.rs` says what follows.
//!
//! ```text
//!   Startup -> Drain -> Down -> Cruise -> Refill -> Up --,
//!      ^                 ^                               |
//!      |                 '-------------------------------'
//!      '---- ProbeRtt <--- from each of them, at times
//! ```
//!
//! Where the draft leaves a choice: marks of congestion (section 3.7) are taken
//! for more losses than are borne; the random part of a cycle's length comes from
//! the first number that is sent ([`Bbr::new`]); the model is made when the first
//! data is sent, and forgotten when a connection is parked.

mod bounds;
mod control;
mod cycle;
mod filter;
mod probe_rtt;
mod rate;

use crore_base::{Duration, Instant, SeqNum};

use self::bounds::{Bounds, Losses};
use self::cycle::Cycle;
use self::filter::{MaxRate, MaxVolume};
use self::probe_rtt::ProbeRtt;
use self::rate::{Sample, Sampler};
use super::Window;
use crate::sent::Run;

/// Where a sender with BBR stands (draft-ietf-ccwg-bbr section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BbrState {
    /// The rate is doubled each round trip, until the path delivers no more.
    Startup,
    /// The queue that this has made is drained.
    Drain,
    /// Somewhat less than the path delivers is sent, to leave room.
    Down,
    /// As much as it delivers.
    Cruise,
    /// The pipe is filled, before more is tried.
    Refill,
    /// More than it delivers is sent, to find out whether it would.
    Up,
    /// Little is in flight, to see how short the way is.
    ProbeRtt,
}

/// What a sender with BBR knows of its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BbrStats {
    /// Where it stands.
    pub state: BbrState,
    /// What the path is thought to deliver, in bytes a second.
    pub bandwidth: u64,
    /// The shortest round trip of the last ten seconds, if one was measured.
    pub min_rtt: Option<Duration>,
    /// At how many bytes a second segments leave.
    pub pacing_rate: u64,
    /// The last rate that was measured, in bytes a second.
    pub delivery_rate: u64,
    /// Whether it is the application that keeps it from sending more.
    pub app_limited: bool,
}

/// A segment that was just sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) now: Instant,
    /// SND.NXT before it and after it.
    pub(crate) old_nxt: SeqNum,
    pub(crate) nxt: SeqNum,
    /// What was in flight before it and is now, in bytes.
    pub(crate) before: u32,
    pub(crate) after: u32,
    pub(crate) srtt: Option<Duration>,
    /// Whether the peer tells of what it holds.
    pub(crate) sack: bool,
}

/// An acknowledgment that says of something that it has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) now: Instant,
    /// SND.UNA after it.
    pub(crate) una: SeqNum,
    /// In flight now, in bytes.
    pub(crate) in_flight: u32,
    /// The round trip of what was sent last of it, if that was sent once.
    pub(crate) rtt: Option<Duration>,
    /// The shortest of the connection.
    pub(crate) min_rtt: Option<Duration>,
}

/// Packet-timed round trips (section 5.5.1): one ends when something is
/// acknowledged that was sent after its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    count: u64,
    /// It ends with the acknowledgment of what left when so much was delivered.
    next_delivered: u64,
    /// The acknowledgment at hand begins one.
    starts: bool,
}

/// Whether the path delivers all that it can (section 5.3.1.2).
#[derive(Clone, Copy, Debug, Default)]
struct FullPipe {
    /// It has been found once.
    reached: bool,
    /// It was found since it was looked for last.
    now: bool,
    rate: u64,
    count: u8,
}

/// How much more arrives at once than the rate explains (section 5.5.9).
#[derive(Clone, Copy, Debug)]
struct Aggregation {
    since: Instant,
    delivered: u64,
    most: MaxVolume,
}

/// BBR of one connection.
#[derive(Clone, Debug)]
pub(super) struct Bbr {
    state: BbrState,
    sampler: Sampler,
    rounds: Rounds,
    max_bw: MaxRate,
    /// What is sent at: no more than the path has delivered, nor than losses let.
    bw: u64,
    full: FullPipe,
    aggregation: Aggregation,
    bounds: Bounds,
    losses: Losses,
    cycle: Cycle,
    rtt: ProbeRtt,
    drain_began: u64,
    idle_restart: bool,
    /// The window before a recovery or a probe of the round trip.
    prior_window: u32,
    pacing_rate: u64,
    last_rate: u64,
    /// The window was full in this round, and in the one before.
    limited: [bool; 2],
    has_sack: bool,
    random: u64,
}

impl BbrState {
    const fn is_probe_bw(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// Whether losses are the answer to a question (section 5.5.10).
    const fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }
}

impl Bbr {
    //= draft-ietf-ccwg-bbr-06#section-5.2.1 (TEXT)
    // Cycles are to differ between flows that share a path (section 5.3.3.8.2),
    // not to be unknown to anybody: the sequence number that the first data has
    // comes from a keyed hash (RFC 6528) and serves, and a simulation can
    // repeat it.
    /// That of a connection whose first data is about to leave.
    pub(super) fn new(sent: &Sent, window: &Window) -> Self {
        let mut bbr = Self {
            state: BbrState::Startup,
            sampler: Sampler::new(sent.now, sent.old_nxt),
            rounds: Rounds::default(),
            max_bw: MaxRate::default(),
            bw: 0,
            full: FullPipe::default(),
            aggregation: Aggregation {
                since: sent.now,
                delivered: 0,
                most: MaxVolume::default(),
            },
            bounds: Bounds::NONE,
            losses: Losses::new(sent.old_nxt),
            cycle: Cycle::new(sent.now),
            rtt: ProbeRtt::new(sent.now, sent.srtt),
            drain_began: 0,
            idle_restart: false,
            prior_window: 0,
            pacing_rate: 0,
            last_rate: 0,
            limited: [false; 2],
            has_sack: sent.sack,
            random: u64::from(sent.old_nxt.0) << 1 | 1,
        };
        bbr.init_pacing_rate(window, sent.srtt);
        bbr
    }

    /// A segment was sent.
    pub(super) fn on_sent(&mut self, window: &mut Window, sent: &Sent) {
        self.has_sack = sent.sack;
        if sent.before == 0 && self.sampler.is_app_limited() {
            self.restart_from_idle(sent.now, window);
        }
        self.sampler
            .on_sent(sent.now, sent.old_nxt, sent.nxt, sent.before, sent.after);
        // No further segment would fit.
        self.limited[0] |= sent.after.saturating_add(window.mss) > window.size;
    }

    //= draft-ietf-ccwg-bbr-06#section-5.4.1 (TEXT)
    // The model stays, and with it the window: what follows is paced at the
    // rate that the path had.
    fn restart_from_idle(&mut self, now: Instant, window: &mut Window) {
        self.idle_restart = true;
        self.aggregation.since = now;
        if self.state.is_probe_bw() {
            self.set_pacing_rate_with(100, window);
        } else if self.state == BbrState::ProbeRtt {
            self.check_probe_rtt_done(now, window);
        }
    }

    /// `run` has arrived.
    #[inline]
    pub(super) fn on_run_delivered(&mut self, now: Instant, run: &Run) {
        self.sampler.on_delivered(now, run);
    }

    //= draft-ietf-ccwg-bbr-06#section-5.2.3 (TEXT)
    // The order is the draft's: each step goes by what those before it have
    // found.
    /// An acknowledgment was looked at whole: the model, the state, and what
    /// follows of it.
    pub(super) fn on_ack(&mut self, window: &mut Window, ack: &Delivered) {
        let Some(sample) = self.sampler.take(ack.una, ack.min_rtt) else {
            return;
        };
        self.note_latest_delivery(&sample);
        self.update_round(&sample);
        self.update_max_bw(&sample);
        self.adapt_to_congestion(window);
        self.update_aggregation(window, ack.now, &sample);
        self.check_full_pipe(&sample);
        self.check_startup_done(&sample);
        self.check_drain_done(window, ack);
        self.update_cycle(window, ack, &sample);
        self.update_min_rtt(ack);
        self.check_probe_rtt(window, ack, &sample);
        self.advance_latest_delivery(&sample);
        self.bw = self.max_bw.get().min(self.bounds.bw_shortterm);
        self.set_pacing_rate(window);
        self.set_window(window, sample.newly);
    }

    /// Without SACK: something of `size` bytes has arrived, of `flight`.
    pub(super) fn on_duplicate(&mut self, now: Instant, size: u32, flight: u32) {
        self.sampler.on_duplicate(now, size, flight);
    }

    /// What has arrived without being acknowledged, as duplicates say.
    pub(super) const fn ahead(&self) -> u32 {
        self.sampler.ahead()
    }

    /// The application keeps the sender waiting, with `in_flight` bytes out.
    pub(super) fn mark_app_limited(&mut self, in_flight: u32) {
        self.sampler.mark_app_limited(in_flight);
    }

    pub(super) fn stats(&self) -> BbrStats {
        BbrStats {
            state: self.state,
            bandwidth: self.bw,
            min_rtt: self.rtt.min(),
            pacing_rate: self.pacing_rate,
            delivery_rate: self.last_rate,
            app_limited: self.sampler.is_app_limited(),
        }
    }

    fn update_round(&mut self, sample: &Sample) {
        self.rounds.starts = sample.prior_delivered >= self.rounds.next_delivered;
        if self.rounds.starts {
            self.start_round();
            self.rounds.count += 1;
            self.cycle.rounds_since_up = self.cycle.rounds_since_up.saturating_add(1);
            self.limited = [false, self.limited[0]];
        }
    }

    const fn start_round(&mut self) {
        self.rounds.next_delivered = self.sampler.delivered;
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.5 (TEXT)
    // What the application has limited counts only where it is more than was
    // known.
    fn update_max_bw(&mut self, sample: &Sample) {
        if sample.rate > 0 && (sample.rate >= self.max_bw.get() || !sample.app_limited) {
            self.max_bw.update(sample.rate);
            self.last_rate = sample.rate;
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.5.9 (TEXT)
    // What has arrived since it was last owed nothing, less what the rate
    // explains.
    fn update_aggregation(&mut self, window: &Window, now: Instant, sample: &Sample) {
        /// Ten rounds, and in Startup one or two.
        const HALF: u64 = 5;
        let interval = now.since(self.aggregation.since).as_nanos();
        let expected = u128::from(self.bw) * u128::from(interval) / 1_000_000_000;
        let mut expected = u64::try_from(expected).unwrap_or(u64::MAX);
        if self.aggregation.delivered <= expected {
            self.aggregation.delivered = 0;
            self.aggregation.since = now;
            expected = 0;
        }
        self.aggregation.delivered += u64::from(sample.newly);
        let extra = (self.aggregation.delivered - expected).min(u64::from(window.size)) as u32;
        let half = if self.full.reached { HALF } else { 1 };
        self.aggregation.most.update(self.rounds.count, half, extra);
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.1.2 (TEXT)
    // Three rounds in which more was tried and less than a quarter more was
    // had.
    fn check_full_pipe(&mut self, sample: &Sample) {
        const ROUNDS: u8 = 3;
        if self.full.now || !self.rounds.starts || sample.app_limited {
            return;
        }
        if u128::from(sample.rate) * 4 >= u128::from(self.full.rate) * 5 {
            self.look_for_full_pipe(sample.rate);
            return;
        }
        self.full.count += 1;
        self.full.now = self.full.count >= ROUNDS;
        self.full.reached |= self.full.now;
    }

    /// From now on, where `rate` is had.
    const fn look_for_full_pipe(&mut self, rate: u64) {
        self.full.rate = rate;
        self.full.count = 0;
        self.full.now = false;
    }

    fn check_startup_done(&mut self, sample: &Sample) {
        self.check_startup_loss(sample);
        if self.state == BbrState::Startup && self.full.reached {
            self.state = BbrState::Drain;
            self.drain_began = self.rounds.count;
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-5.3.2 (TEXT)
    // Until the queue is gone, as far as is known, but not for more than three
    // rounds.
    fn check_drain_done(&mut self, window: &Window, ack: &Delivered) {
        const ROUNDS: u64 = 3;
        if self.state == BbrState::Drain
            && (ack.in_flight <= self.volume(window, self.bw, 100)
                || self.rounds.count > self.drain_began + ROUNDS)
        {
            self.start_down(ack.now);
        }
    }

    /// A number below `below`, or 0.
    fn draw(&mut self, below: u64) -> u64 {
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below.max(1)
    }
}

#[cfg(test)]
mod tests;
