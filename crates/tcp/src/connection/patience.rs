//! How long this end bears a peer that is silent, stuck or slow to part.
//!
//! Read first: RFC 9293 sections 3.8.3, 3.8.4, 3.9.1 and 3.10.8 (user time-out),
//! RFC 6429 (a window that stays shut), RFC 5482 (what a user time-out means).
//!
//! Always true: whatever the peer does, a connection that the application has
//! closed ends after a bounded number of attempts to finish.

use crore_base::{Duration, Instant, SeqNum};

use super::{Connection, Owed};
use crate::{CloseReason, State, Unreachable};

/// Since when nothing of what was sent, or waits, has been acknowledged. It is
/// taken up when a timer runs out, and stands as long as SND.UNA does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    una: SeqNum,
    since: Instant,
    /// Timers that ran out since, whether or not the peer answered.
    attempts: u8,
}

impl Stall {
    pub(super) const NONE: Self = Self {
        una: SeqNum(0),
        since: Instant::FAR_FUTURE,
        attempts: 0,
    };
}

impl Connection {
    /// The timer of something in flight ran out, or that of a window: is it to be
    /// tried once more? If not, the connection has ended.
    ///
    //= rfc9293#section-3.8.3 (MUST)
    // After R2 unanswered retransmissions the connection is given up; for a SYN
    // there is a limit of its own.
    pub(super) fn bears_another(&mut self, now: Instant) -> bool {
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        if self.stall.una != self.snd.una || self.stall.since == Instant::FAR_FUTURE {
            // The timer was started when SND.UNA moved last, or something was sent.
            let since = Instant::ZERO + now.since(Instant::ZERO + self.rtt.rto());
            (self.stall.una, self.stall.since, self.stall.attempts) = (self.snd.una, since, 0);
        }
        let stalled = now.since(self.stall.since);
        //= rfc9293#section-3.9.1.2 (MAY)
        // The application may say for how long what it sent can stay
        // unacknowledged. One attempt is made, however short that is; and that a
        // peer answers with a shut window is no acknowledgment.
        if self.stall.attempts > 0 && self.config.user_timeout.is_some_and(|limit| stalled >= limit) {
            self.give_up(CloseReason::UserTimedOut);
            return false;
        }
        let limit = if opening {
            self.config.syn_retries
        } else {
            self.config.data_retries
        };
        if self.retries >= limit {
            self.give_up(if opening {
                CloseReason::OpenTimedOut
            } else {
                CloseReason::TimedOut
            });
            return false;
        }
        //= rfc6429#section-3 (MAY)
        // A window that stays shut is borne as long as the peer answers; but not
        // for longer than the operator says, nor for data that no application
        // stands behind any more.
        let orphaned = self.released && !opening && self.stall.attempts >= self.config.orphan_retries;
        let shut = self.snd.wnd == 0;
        let stuck = shut && self.config.persist_timeout.is_some_and(|limit| stalled >= limit);
        if orphaned || stuck {
            self.fail_with_reset(CloseReason::TimedOut);
            return false;
        }
        self.stall.attempts = self.stall.attempts.saturating_add(1);
        true
    }

    /// `wait`, cut short where the user time-out ends before it.
    pub(super) fn wait_at_most(&self, now: Instant, wait: Duration) -> Duration {
        const LEAST: Duration = Duration::from_millis(1);
        match self.config.user_timeout {
            Some(limit) if self.stall.since != Instant::FAR_FUTURE && self.stall.una == self.snd.una => {
                wait.min(limit.saturating_sub(now.since(self.stall.since)).max(LEAST))
            }
            _ => wait,
        }
    }

    /// The end, since nobody answers; or since the network said why.
    fn give_up(&mut self, reason: CloseReason) {
        self.fail(self.soft_error.map_or(reason, Unreachable::reason));
    }

    /// The peer was not heard for as long as a keepalive waits, as far as the
    /// owner knows, who had the connection parked: it is probed now, and again
    /// as often as any silent peer.
    pub fn probe(&mut self, now: Instant) {
        if let Some(idle) = self.config.keepalive.idle() {
            self.heard_at = now - idle;
            self.on_timeout(now);
        }
    }

    /// The peer was heard at `at`, or is to be treated as if it had been.
    pub fn assume_heard(&mut self, at: Instant) {
        self.heard_at = self.heard_at.max(at);
    }

    //= rfc9293#section-3.8.4 (MUST)
    // Keepalives are sent only where they were asked for, and only when nothing
    // was heard for the interval; what is in flight has a timer of its own.
    pub(super) fn keepalive_at(&self) -> Option<Instant> {
        let keepalive = &self.config.keepalive;
        let idle = keepalive.idle()?;
        let listens = matches!(
            self.state,
            State::Established | State::CloseWait | State::FinWait2
        );
        if !listens || self.snd.una != self.snd.nxt {
            return None;
        }
        let next = idle + keepalive.interval.saturating_mul(u64::from(self.keepalives));
        let wait = match self.config.user_timeout {
            Some(limit) if self.keepalives > 0 => next.min(limit.max(idle)),
            _ => next,
        };
        Some(self.heard_at + wait)
    }

    //= rfc9293#section-3.8.4 (MUST)
    // One probe without an answer proves nothing: only several are the end, or a
    // silence as long as the user time-out. The peer is told, if it is there.
    pub(super) fn on_keepalive_timeout(&mut self, now: Instant) {
        let silent = now.since(self.heard_at);
        let (over, reason) = match self.config.user_timeout {
            Some(limit) => (self.keepalives > 0 && silent >= limit, CloseReason::UserTimedOut),
            None => (
                self.keepalives >= self.config.keepalive.count.max(1),
                CloseReason::KeepaliveTimedOut,
            ),
        };
        if over {
            self.fail_with_reset(self.soft_error.map_or(reason, Unreachable::reason));
            return;
        }
        self.keepalives = self.keepalives.saturating_add(1);
        self.counts.keepalives = self.counts.keepalives.saturating_add(1);
        self.owed.add(Owed::KEEPALIVE);
    }

    /// The application has closed and waits until what it wrote is acknowledged,
    /// our FIN included; [`crate::Event::Flushed`] or the end follows.
    pub const fn is_lingering(&self) -> bool {
        self.linger_until.is_some()
    }

    /// The application has given the connection up, and it still has something to
    /// bring to the peer.
    #[inline]
    pub fn is_orphan(&self) -> bool {
        self.released && self.linger_until.is_none() && self.is_parting()
    }

    fn is_parting(&self) -> bool {
        let over = matches!(self.state, State::FinWait2 | State::TimeWait | State::Closed);
        !over
    }

    /// A close that may take a while begins.
    pub(super) fn begin_linger(&mut self, now: Instant) {
        if let Some(time) = self.config.linger
            && self.is_parting()
        {
            self.linger_until = Some(now + time);
        }
    }

    /// What was written has arrived, and the FIN: the application waits no more.
    pub(super) fn end_linger_if_done(&mut self) -> bool {
        self.state != State::Closed && !self.is_parting() && self.linger_until.take().is_some()
    }

    pub(super) fn on_linger_timeout(&mut self) {
        self.fail_with_reset(CloseReason::LingerTimedOut);
    }
}
