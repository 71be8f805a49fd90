//! What is thought lost, and what is sent again.
//!
//! Read first: RFC 5681 section 3.2, RFC 6582 (without SACK), RFC 6675 (with it).
//!
//! Always true: `resend` means something in [`Phase::Resend`] only, and lies in
//! `[una, nxt]` then; `high_rxt`, `pipe` and `rescued` mean something in
//! [`Phase::Fast`] only.

use crore_base::SeqNum;

/// How the sender is placed towards loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing is thought lost.
    Open,
    /// Fast recovery: a loss was found out by duplicate acknowledgments.
    Fast,
    /// All from `resend` on is sent anew: after a time-out, a smaller path
    /// MTU, or a window that was shut on data in flight.
    Resend,
}

/// Loss detection and recovery of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossRecovery {
    pub(crate) phase: Phase,
    /// Consecutive duplicate acknowledgments.
    pub(crate) dup_acks: u8,
    /// The first unacknowledged segment is to be sent again now.
    pub(crate) head_owed: bool,
    /// The one rescue retransmission of this recovery was made (RFC 6675 rule 4).
    pub(crate) rescued: bool,
    /// Whether [`Self::recover`] still bars fast retransmit (RFC 6582).
    guarded: bool,
    /// The recovery is over when all before this is acknowledged.
    pub(crate) recover: SeqNum,
    /// What is sent next in [`Phase::Resend`].
    pub(crate) resend: SeqNum,
    /// All below this was sent again, or is SACKed.
    pub(crate) high_rxt: SeqNum,
    /// What is thought to be in flight.
    pub(crate) pipe: u32,
    /// By how much duplicate acknowledgments widen the window (RFC 6582), in
    /// bytes: each of them says that a segment has left the network.
    pub(crate) inflation: u32,
}

impl LossRecovery {
    pub(crate) const fn new(iss: SeqNum) -> Self {
        Self {
            phase: Phase::Open,
            dup_acks: 0,
            head_owed: false,
            rescued: false,
            guarded: false,
            recover: iss,
            resend: iss,
            high_rxt: iss,
            pipe: 0,
            inflation: 0,
        }
    }

    /// Whether nothing hints at a loss.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.phase == Phase::Open && self.dup_acks == 0
    }

    /// Fast recovery begins.
    pub(crate) const fn enter_fast(&mut self, una: SeqNum, nxt: SeqNum, inflation: u32) {
        self.phase = Phase::Fast;
        self.head_owed = true;
        self.rescued = false;
        self.guarded = true;
        self.recover = nxt;
        self.high_rxt = una;
        self.inflation = inflation;
    }

    /// All from `una` on is to be sent anew.
    pub(crate) const fn enter_resend(&mut self, una: SeqNum, nxt: SeqNum) {
        self.phase = Phase::Resend;
        self.dup_acks = 0;
        self.head_owed = false;
        self.guarded = true;
        self.recover = nxt;
        self.resend = una;
        self.inflation = 0;
    }

    /// The recovery is over.
    pub(crate) const fn leave(&mut self) {
        self.phase = Phase::Open;
        self.dup_acks = 0;
        self.head_owed = false;
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
    pub(crate) const fn on_progress(&mut self, una: SeqNum) {
        if self.guarded && una.after(self.recover) {
            self.guarded = false;
        }
    }
}
