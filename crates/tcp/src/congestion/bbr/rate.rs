//! At what rate the network delivers: one sample for each acknowledgment.
//!
//! Read first: draft-ietf-ccwg-bbr-06 section 4.1.
//!
//! What was so when a segment left (how much had been delivered, and when; how
//! much was lost and in flight) is written down once a burst, beside what is in
//! flight and not in it: [`SentMap`](crate::sent::SentMap) knows nothing of it,
//! and a connection with another congestion control pays nothing. A segment sent
//! once is found by its number, one sent again by when that was.
//!
//! Always true: the log is ordered by time and by number; it has [`MAX_LOG`]
//! entries at most. Where there would be more, each two neighbours become one
//! that tells of the earlier, and from then on so do those that come: a sample
//! then begins some bursts earlier (by a part in 256 of what is in flight) and is
//! an average over a longer time, but no less true.

use std::collections::VecDeque;

use crore_base::{Duration, Instant, SeqNum};

use crate::sent::Run;

/// As many bursts are remembered one by one as the map of what is in flight
/// keeps apart (28 KiB for one connection).
const MAX_LOG: usize = 512;

/// What was so when a burst left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Departure {
    sent_at: Instant,
    /// What was sent for the first time in it or before ends here.
    nxt: SeqNum,
    /// In flight when the last segment of it had left: P.tx_in_flight.
    pub(super) in_flight: u32,
    pub(super) app_limited: bool,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    pub(super) lost: u64,
}

/// What an acknowledgment tells of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sample {
    /// Bytes a second; 0 if it can't be told.
    pub(super) rate: u64,
    /// What was delivered from the departure of the newest segment that it
    /// acknowledges up to now.
    pub(super) delivered: u64,
    /// What was not known before this acknowledgment, or duplicates before it, to
    /// have arrived.
    pub(super) newly: u32,
    /// What had been delivered at that departure.
    pub(super) prior_delivered: u64,
    /// What was in flight then, and what was lost since.
    pub(super) in_flight: u32,
    pub(super) lost: u64,
    /// The application had kept the sender waiting.
    pub(super) app_limited: bool,
}

/// What is in the making while an acknowledgment is looked at.
#[derive(Clone, Copy, Debug)]
struct Newest {
    departure: Departure,
    end: SeqNum,
    send_elapsed: Duration,
    ack_elapsed: Duration,
}

/// Delivery-rate sampling of one connection.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    /// Bytes delivered, and lost, since it began.
    pub(super) delivered: u64,
    pub(super) lost: u64,
    delivered_at: Instant,
    /// When what was delivered last had been sent.
    first_sent: Instant,
    /// What was when a sample was taken last.
    taken: u64,
    /// What duplicate acknowledgments have said of that is not acknowledged yet.
    ahead: u32,
    /// Until more than this is delivered, the application is what limits; 0 if
    /// it does not.
    app_limited: u64,
    /// Nothing is known of what lies before.
    from: SeqNum,
    log: VecDeque<Departure>,
    /// So many bursts share an entry, and so many do the last one.
    stride: u32,
    joined: u32,
    newest: Option<Newest>,
}

impl Sampler {
    /// Data from `nxt` on is to be sent.
    pub(super) const fn new(now: Instant, nxt: SeqNum) -> Self {
        Self {
            delivered: 0,
            lost: 0,
            delivered_at: now,
            first_sent: now,
            taken: 0,
            ahead: 0,
            app_limited: 0,
            from: nxt,
            log: VecDeque::new(),
            stride: 1,
            joined: 0,
            newest: None,
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-4.1.2.2 (TEXT)
    // Where nothing was in flight, the time before says nothing about the
    // network: the interval begins now.
    /// Something was sent; what was sent for the first time ended at `old_nxt`
    /// before and ends at `nxt` now, and `before` and `after` were in flight.
    pub(super) fn on_sent(&mut self, now: Instant, old_nxt: SeqNum, nxt: SeqNum, before: u32, after: u32) {
        if before == 0 {
            self.first_sent = now;
            self.delivered_at = now;
        }
        match self.log.back_mut() {
            Some(last) if last.sent_at == now || self.joined < self.stride => {
                last.nxt = nxt;
                last.in_flight = after;
                self.joined += u32::from(last.sent_at != now);
                return;
            }
            Some(_) => {}
            None => self.from = old_nxt,
        }
        if self.log.len() == MAX_LOG {
            self.thin();
        }
        self.joined = 1;
        self.log.push_back(Departure {
            sent_at: now,
            nxt,
            in_flight: after,
            app_limited: self.app_limited != 0,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            lost: self.lost,
        });
    }

    fn thin(&mut self) {
        for index in 0..self.log.len() / 2 {
            let (early, late) = (self.log[2 * index], self.log[2 * index + 1]);
            self.log[index] = Departure {
                nxt: late.nxt,
                in_flight: late.in_flight,
                ..early
            };
        }
        self.log.truncate(self.log.len() / 2);
        self.stride = self.stride.saturating_mul(2);
    }

    //= draft-ietf-ccwg-bbr-06#section-4.1.2.3 (TEXT)
    // Of all that an acknowledgment covers, what was sent last tells.
    /// `run` has arrived.
    pub(super) fn on_delivered(&mut self, now: Instant, run: &Run) {
        let known = self.ahead.min(run.len());
        self.ahead -= known;
        self.delivered += u64::from(run.len() - known);
        self.delivered_at = now;
        let Some(departure) = self.departure(run) else {
            return;
        };
        let has_moment = run.is_timed() || run.was_sent_again();
        let sent_at = if has_moment {
            run.sent_at
        } else {
            departure.sent_at
        };
        let is_newest = self.newest.is_none_or(|newest| {
            sent_at > self.first_sent || (sent_at == self.first_sent && run.end.after(newest.end))
        });
        if is_newest {
            self.newest = Some(Newest {
                departure,
                end: run.end,
                send_elapsed: sent_at.since(departure.first_sent),
                ack_elapsed: now.since(departure.delivered_at),
            });
            self.first_sent = sent_at;
        }
    }

    //= draft-ietf-ccwg-bbr-06#section-4.1.3.5.1 (TEXT)
    // Else all behind a hole would seem to arrive when it is filled, at a rate
    // that no path has.
    /// Without SACK: a duplicate acknowledgment says that some segment of `size`
    /// bytes, of the `flight` that is not acknowledged, has arrived.
    pub(super) fn on_duplicate(&mut self, now: Instant, size: u32, flight: u32) {
        let more = size.min(flight.saturating_sub(self.ahead));
        self.ahead += more;
        self.delivered += u64::from(more);
        self.delivered_at = now;
    }

    pub(super) const fn ahead(&self) -> u32 {
        self.ahead
    }

    //= draft-ietf-ccwg-bbr-06#section-4.1.2.3 (TEXT)
    // No faster than it was sent, nor than it was acknowledged; what took less
    // than the shortest round trip is the acknowledgment of another copy
    // (section 4.1.3.5).
    /// All of an acknowledgment was looked at. Says what it tells, if anything.
    pub(super) fn take(&mut self, una: SeqNum, min_rtt: Option<Duration>) -> Option<Sample> {
        if self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        let newest = self.newest.take();
        self.forget(una);
        if self.log.is_empty() {
            self.ahead = 0;
        }
        let newly = self.delivered - core::mem::replace(&mut self.taken, self.delivered);
        let Newest {
            departure,
            send_elapsed,
            ack_elapsed,
            ..
        } = newest?;
        let delivered = self.delivered - departure.delivered;
        let interval = send_elapsed.max(ack_elapsed);
        let nanos = u128::from(interval.as_nanos());
        let reliable = nanos > 0 && min_rtt.is_none_or(|min| interval >= min);
        let rate = if reliable {
            u64::try_from(u128::from(delivered) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
        } else {
            0
        };
        Some(Sample {
            rate,
            delivered,
            newly: u32::try_from(newly).unwrap_or(u32::MAX),
            prior_delivered: departure.delivered,
            in_flight: departure.in_flight,
            lost: self.lost - departure.lost,
            app_limited: departure.app_limited,
        })
    }

    /// Nothing before `una` is in flight.
    fn forget(&mut self, una: SeqNum) {
        while let Some(front) = self.log.front()
            && front.nxt.at_or_before(una)
        {
            self.from = front.nxt;
            self.log.pop_front();
        }
        if self.stride > 1 && self.log.len() < MAX_LOG / 8 {
            self.stride /= 2;
        }
    }

    /// What was so when `run` was sent last, if that is known.
    pub(super) fn departure(&self, run: &Run) -> Option<Departure> {
        if run.was_sent_again() {
            let later = self.log.partition_point(|burst| burst.sent_at <= run.sent_at);
            return self.log.get(later.checked_sub(1)?).copied();
        }
        if run.end.at_or_before(self.from) {
            return None;
        }
        let index = self.log.partition_point(|burst| burst.nxt.before(run.end));
        self.log.get(index).copied()
    }

    //= draft-ietf-ccwg-bbr-06#section-4.1.2.4 (TEXT)
    // What is delivered until the gap has left the path is no measure of the
    // path.
    /// The application keeps the sender waiting, with `in_flight` bytes out.
    pub(super) fn mark_app_limited(&mut self, in_flight: u32) {
        self.app_limited = (self.delivered + u64::from(in_flight)).max(1);
    }

    pub(super) const fn is_app_limited(&self) -> bool {
        self.app_limited != 0
    }
}

#[cfg(test)]
mod tests;
