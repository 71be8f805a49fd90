//! Segments of a burst that go on where the one before them ends, taken in at once:
//! generic receive offload in software.
//!
//! Read first: `input.rs`; `header_prediction.rs` of crate `tcp`, which says what a
//! run does.
//!
//! A run is segments that stand one behind the other in a burst, belong to one
//! flow, carry text, and differ in nothing but their numbers and PSH. It is looked
//! up and taken in as if it were one segment, if it is just what the connection
//! expects. If not (something is missing, a window is full, the connection is
//! parked, memory is short), its segments are taken in one by one, as they came.
//!
//! Always true: what is taken in as a run has the outcome that its segments would
//! have had one by one, since nothing is made of them but a slice of the burst: no
//! mark, no echo, no acknowledgment differs. So nothing is lost by it, and the
//! burst bounds it.

use crore_base::Instant;
use crore_wire::{Ecn, Flags};

use crate::Stack;
use crate::input::Pending;

/// Flags that segments of a run may have, as long as all have the same; those of
/// accurate ECN are a counter, which then stands still.
const ALIKE: Flags =
    Flags::from_bits(Flags::ACK.bits() | Flags::ECE.bits() | Flags::CWR.bits() | Flags::AE.bits());

/// Marks those that follow the one before them.
pub(crate) fn find(burst: &mut [Pending]) {
    // Where the one before it ends; the number alone decides nearly always.
    let mut expected = None;
    for at in 0..burst.len() {
        let pending = &burst[at];
        let (seq, len) = (pending.segment.seq, pending.payload.len() as u32);
        if expected.replace(seq + len) == Some(seq) && follows(&burst[at - 1], &burst[at]) {
            burst[at].follows = true;
        }
    }
}

#[inline(never)]
fn follows(before: &Pending, next: &Pending) -> bool {
    !before.payload.is_empty()
        && !next.payload.is_empty()
        && before.tuple == next.tuple
        && are_alike(before, next)
}

/// A mark of congestion is news for each segment that has it; so are SACK blocks,
/// and another timestamp, window or acknowledgment.
fn are_alike(before: &Pending, next: &Pending) -> bool {
    let (a, b) = (&before.segment, &next.segment);
    let flags = |flags: Flags| flags.without(Flags::PSH);
    a.ack == b.ack
        && a.window == b.window
        && flags(a.flags) == flags(b.flags)
        && flags(a.flags).has_ack()
        && flags(a.flags).without(ALIKE).is_empty()
        && a.ecn == b.ecn
        && a.ecn != Ecn::Ce
        && a.options == b.options
        && a.options.sack.is_empty()
}

impl Stack {
    /// Takes in a run that begins with `first`, and says what of `behind` is no
    /// part of it.
    #[inline(never)]
    pub(crate) fn on_run<'a>(
        &mut self,
        now: Instant,
        first: &mut Pending,
        behind: &'a mut [Pending],
    ) -> &'a mut [Pending] {
        let count = behind.iter().take_while(|pending| pending.follows).count();
        let (followers, rest) = behind.split_at_mut(count);
        if !self.take_run(now, first, followers) {
            let (hash, candidate) = (first.hash, first.candidate);
            for pending in core::iter::once(first).chain(followers) {
                (pending.hash, pending.candidate) = (hash, candidate);
                self.on_pending(now, pending);
            }
        }
        rest
    }

    /// Whether the run could be taken in as one.
    fn take_run(&mut self, now: Instant, first: &mut Pending, followers: &mut [Pending]) -> bool {
        let Some(slot) = first
            .candidate
            .filter(|&slot| self.slots.is_of(slot, &first.tuple))
        else {
            return false;
        };
        let Some(index) = self.slots.active_index(slot) else {
            return false;
        };
        let Some(active) = self.slots.pool.get_mut(index) else {
            return false;
        };
        let (mut text, mut pinned) = (0, 0);
        for pending in core::iter::once(&*first).chain(&*followers) {
            text += pending.payload.len();
            pinned += pending.footprint();
        }
        if !self.memory.has_plenty_for(pinned as u64) || !active.conn.expects_run(&first.segment, text) {
            return false;
        }
        let segment = first.segment;
        let (before, scarce) = (active.conn.snd_una(), self.memory.packets_are_low());
        self.counters.merged += followers.len() as u64;
        let all = core::iter::once(first).chain(followers);
        (active.conn).on_run(now, &segment, all.map(|pending| pending.take_payload(scarce)));
        let acked = active.conn.snd_una() != before;
        active.heard |= acked;
        active.moved(now);
        active.settle(&mut self.memory);
        if acked && active.charged_written > 0 {
            active.settle_written(&mut self.memory);
        }
        active.list(index, &mut self.ready, &mut self.events);
        true
    }
}
