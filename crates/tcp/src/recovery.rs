//! What is thought lost, and what is sent again.
//!
//! Read first: RFC 5681 section 3.2, RFC 6582 (without SACK), RFC 8985 (with
//! it: `rack.rs` says what is lost, `prr.rs` how much may leave), RFC 3522, 4015
//! and 5682 (recoveries that were none).
//!
//! Always true: `inflation` means something in [`Phase::Fast`] without SACK
//! only, `prr` with it only, `frto` in [`Phase::Loss`] only.

use crore_base::{Instant, SeqNum};

use crate::prr::Prr;
use crate::sent::Run;

/// How many duplicates of an acknowledgment make a loss.
pub(crate) const DUP_THRESH: u32 = 3;

/// How the sender is placed towards loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing is thought lost.
    Open,
    /// Fast recovery: a loss was found out by acknowledgments.
    Fast,
    /// What is marked lost is sent anew in slow start: after a time-out, a
    /// smaller path MTU, or a window that was shut on data in flight.
    Loss,
}

/// How far F-RTO has come in finding out whether a time-out was false.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frto {
    /// It does not ask, or has found that it was not.
    Off,
    /// The first segment was sent again.
    Asked,
    /// That was acknowledged, and new data is sent: what comes next tells.
    Probing,
}

/// Loss detection and recovery of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossRecovery {
    pub(crate) phase: Phase,
    /// Consecutive duplicate acknowledgments.
    pub(crate) dup_acks: u8,
    /// The first unacknowledged segment is to be sent again now.
    pub(crate) head_owed: bool,
    /// A tail loss probe is to be sent now.
    pub(crate) probe_owed: bool,
    pub(crate) frto: Frto,
    /// Whether [`Self::recover`] still bars fast retransmit (RFC 6582).
    guarded: bool,
    /// The recovery is over when all before this is acknowledged.
    pub(crate) recover: SeqNum,
    /// By how much duplicate acknowledgments widen the window (RFC 6582), in
    /// bytes: each of them says that a segment has left the network.
    pub(crate) inflation: u32,
    pub(crate) prr: Prr,
    /// The tail loss probe that nothing is known of yet.
    pub(crate) probe: Option<Probe>,
    pub(crate) episode: Episode,
}

/// A tail loss probe (RFC 8985 section 7): what was in flight ended here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Probe {
    pub(crate) end: SeqNum,
    /// It was the last segment again, not a new one.
    pub(crate) again: bool,
}

impl LossRecovery {
    pub(crate) const fn new(iss: SeqNum) -> Self {
        Self {
            phase: Phase::Open,
            dup_acks: 0,
            head_owed: false,
            probe_owed: false,
            frto: Frto::Off,
            guarded: false,
            recover: iss,
            inflation: 0,
            prr: Prr::new(0),
            probe: None,
            episode: Episode::new(iss),
        }
    }

    /// Whether nothing hints at a loss.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.phase == Phase::Open && self.dup_acks == 0 && self.probe.is_none()
    }

    /// Whether no recovery and no probe asks for something to be sent.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.phase == Phase::Open && !self.probe_owed
    }

    /// Fast recovery begins; `flight` is for [`Prr::new`].
    pub(crate) const fn enter_fast(&mut self, una: SeqNum, nxt: SeqNum, flight: u32) {
        self.begin(Phase::Fast, nxt);
        self.episode = Episode::begin(una, nxt, false);
        self.prr = Prr::new(flight);
    }

    /// What is lost is to be sent anew. The episode begins with it, unless it
    /// goes `on` with one.
    pub(crate) const fn enter_loss(&mut self, una: SeqNum, nxt: SeqNum, on: bool) {
        self.begin(Phase::Loss, nxt);
        if !on {
            self.episode = Episode::begin(una, nxt, true);
        }
    }

    const fn begin(&mut self, phase: Phase, nxt: SeqNum) {
        self.phase = phase;
        self.dup_acks = 0;
        self.head_owed = false;
        self.probe_owed = false;
        self.probe = None;
        self.frto = Frto::Off;
        self.guarded = true;
        self.recover = nxt;
        self.inflation = 0;
    }

    /// The recovery is over. What it sent again in vain the peer will have said
    /// when `nxt`, the next number now, is acknowledged.
    pub(crate) const fn leave(&mut self, nxt: SeqNum) {
        self.episode.until = nxt;
        self.phase = Phase::Open;
        self.dup_acks = 0;
        self.head_owed = false;
        self.frto = Frto::Off;
        self.inflation = 0;
    }

    //= rfc6582#section-3.2 (MUST)
    // Without SACK, duplicate acknowledgments of something below the last
    // recovery's end may be its own echo, and start no new one.
    pub(crate) const fn bars_fast_retransmit(&self, una: SeqNum) -> bool {
        self.guarded && !una.after(self.recover)
    }

    /// `una` has moved. Lifts the bar once it is passed, since a `recover` left
    /// behind would seem to lie ahead half a sequence space later.
    #[inline]
    pub(crate) const fn on_progress(&mut self, una: SeqNum) {
        if self.guarded && una.after(self.recover) {
            self.guarded = false;
        }
        if self.episode.is_open && una.after(self.episode.until) && matches!(self.phase, Phase::Open) {
            self.episode.is_open = false;
        }
    }
}

/// What tells whether a recovery was needed: it was not if all that it sent
/// again was there already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Episode {
    is_open: bool,
    /// What was in flight when it began.
    from: SeqNum,
    to: SeqNum,
    /// Once it is over: what more the peer says of it is said before this is acknowledged.
    until: SeqNum,
    /// A time-out began it.
    pub(crate) timed_out: bool,
    /// Something was sent again: first what is here, at this time of our timestamp clock.
    resent: bool,
    first: (SeqNum, u32),
    /// Bytes sent again that the peer has not reported as duplicates.
    unexplained: u32,
    /// Everything was reported.
    explained: bool,
}

impl Episode {
    const fn new(una: SeqNum) -> Self {
        Self {
            is_open: false,
            from: una,
            to: una,
            until: una,
            timed_out: false,
            resent: false,
            first: (una, 0),
            unexplained: 0,
            explained: false,
        }
    }

    const fn begin(una: SeqNum, nxt: SeqNum, timed_out: bool) -> Self {
        let mut episode = Self::new(una);
        episode.is_open = true;
        episode.to = nxt;
        episode.timed_out = timed_out;
        episode
    }

    /// It was false, or is of no interest any more.
    pub(crate) const fn close(&mut self) {
        self.is_open = false;
    }

    /// `bytes` from `seq` on were sent again when our timestamp clock showed `clock`.
    pub(crate) const fn on_resent(&mut self, seq: SeqNum, bytes: u32, clock: u32) {
        if !self.resent {
            self.resent = true;
            self.first = (seq, clock);
        }
        self.unexplained = self.unexplained.saturating_add(bytes);
        self.explained = false;
    }

    //= rfc2883#section-4 (MUST)
    // The first block names what came a second time.
    pub(crate) const fn on_dsack(&mut self, left: SeqNum, right: SeqNum) {
        if !self.is_open || left.before(self.from) || right.after(self.to) || self.unexplained == 0 {
            return;
        }
        self.unexplained = self.unexplained.saturating_sub(left.distance_to(right));
        self.explained = self.unexplained == 0;
    }

    /// Whether every retransmission turned out to be a duplicate.
    pub(crate) const fn was_in_vain(&self) -> bool {
        self.is_open && self.explained
    }

    //= rfc3522#section-3.2 (MUST)
    // The acknowledgment that moves on from the first retransmission echoes an
    // earlier timestamp than that one's: it answers the first copy. One that moves
    // on from elsewhere answers something that was merely late, and tells nothing
    // of what was sent again.
    /// When the first retransmission was sent, by our timestamp clock, if it was
    /// that of `una`.
    pub(crate) fn first_resent(&self, una: SeqNum) -> Option<u32> {
        let (seq, clock) = self.first;
        (self.is_open && self.resent && seq == una).then_some(clock)
    }
}

/// What an acknowledgment says has arrived that was not known to have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    pub(crate) bytes: u32,
    /// When what has arrived was sent, of what was sent once: first and last.
    pub(crate) timed: Option<(Instant, Instant)>,
    /// Something that was sent once, before the recovery, is among it.
    pub(crate) original: bool,
}

impl News {
    /// `run` has arrived; the recovery is over at `recover`.
    #[inline]
    pub(crate) fn add(&mut self, run: &Run, recover: SeqNum) {
        self.bytes += run.len();
        if run.is_timed() {
            let at = run.sent_at;
            let (first, last) = self.timed.unwrap_or((at, at));
            self.timed = Some((first.min(at), last.max(at)));
        }
        self.original |= !run.was_sent_again() && run.start.before(recover);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects real losses from being undone on a path that reorders (RFC 3522 section 3.2).
    #[test]
    fn only_what_moves_on_from_the_first_retransmission_is_its_answer() {
        let mut episode = Episode::begin(SeqNum(1_000), SeqNum(9_000), false);
        // What is at 1,000 is merely late; 3,000 was lost.
        episode.on_resent(SeqNum(3_000), 1_000, 77);
        episode.on_resent(SeqNum(5_000), 1_000, 78);
        assert_eq!(episode.first_resent(SeqNum(1_000)), None, "it answers another");
        assert_eq!(episode.first_resent(SeqNum(3_000)), Some(77), "its own answer");
        assert_eq!(
            episode.first_resent(SeqNum(5_000)),
            None,
            "the first alone counts"
        );
        episode.close();
        assert_eq!(episode.first_resent(SeqNum(3_000)), None, "it is settled");
    }
}
