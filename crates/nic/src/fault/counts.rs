//! What a [`FaultNic`](super::FaultNic) has done.

/// What was done so far, by direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultStats {
    /// To frames received.
    pub rx: FaultCounts,
    /// To frames sent.
    pub tx: FaultCounts,
}

/// What was done to the frames of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts {
    /// Frames that came in.
    pub seen: u64,
    /// Frames thrown away by intent, alone or in a burst.
    pub lost: u64,
    /// Frames of which a copy was added.
    pub duplicated: u64,
    /// Frames (or copies) held back so that later ones overtake them.
    pub reordered: u64,
    /// Frames (or copies) damaged. What no checksum covers (ARP) is thrown away
    /// instead, as a NIC does on a wrong check sequence.
    pub corrupted: u64,
    /// Frames (or copies) that the queue before the bottleneck had no room for.
    pub queue_full: u64,
    /// Packets marked.
    pub marked: u64,
    /// Packets whose ECN field was not empty, and was wiped.
    pub bleached: u64,
    /// Segments that a middlebox meddled with, or did not let through.
    pub meddled: u64,
    /// Frames (or copies) thrown away because as many as allowed were held.
    pub overflowed: u64,
    /// Frames (and copies) passed on.
    pub passed: u64,
}

impl FaultStats {
    /// Adds what was done on another queue.
    pub fn merge(&mut self, other: &Self) {
        self.rx.merge(&other.rx);
        self.tx.merge(&other.tx);
    }
}

impl FaultCounts {
    fn merge(&mut self, other: &Self) {
        let Self {
            seen,
            lost,
            duplicated,
            reordered,
            corrupted,
            queue_full,
            marked,
            bleached,
            meddled,
            overflowed,
            passed,
        } = other;
        self.seen += seen;
        self.lost += lost;
        self.duplicated += duplicated;
        self.reordered += reordered;
        self.corrupted += corrupted;
        self.queue_full += queue_full;
        self.marked += marked;
        self.bleached += bleached;
        self.meddled += meddled;
        self.overflowed += overflowed;
        self.passed += passed;
    }
}
