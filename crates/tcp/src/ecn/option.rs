//! The option of accurate ECN: bytes counted by mark, beside the count of segments.
//!
//! Read first: RFC 9768 sections 3.2.3.2 and 3.2.3.3, appendices A.1 and A.2.2.
//!
//! It supplements the three flags, and may vanish: stripped, wiped, or together with
//! the segment that carries it. Whatever does not get through is left out from then
//! on, and what does not come is done without.
//!
//! Always true: an option that is sent has each counter that has moved since the
//! last one; a connection that has forgotten its counters sends none.

use crore_base::SeqNum;
use crore_wire::{AccEcnOption, AccEcnOrder, Ecn, TcpOptions};

//= rfc9768#section-3.2.1 (MUST)
// Neither of ECT's counters begins at zero, so that one that was wiped shows.
/// Where the counters begin, in AccECN0's order.
const FIRST: [u32; 3] = [1, 0, 1];
/// Their places in that order.
const ECT0: usize = 0;
const CE: usize = 1;
const ECT1: usize = 2;
/// The bits of all three.
const ALL: u8 = 0b111;
/// On the wire they count modulo 2^24.
const MODULUS: u32 = 1 << 24;
/// Segments with the option that may get lost before it is taken for the cause.
const LOSSES: u8 = 2;
/// How often what was acknowledged with the option may come again before that is
/// taken for the cause, where hardly more such acknowledgments went out than these.
const VAIN: u8 = 3;
const FEW: u8 = 8;
/// How often bytes may be told of as marked, and no segment, before something is
/// taken to write in between. Not the first time: where segments are tiny, eight of
/// them may hide in a turn of the other counter, but hardly three times in a row.
const LIES: u8 = 3;

/// Bytes that arrived at the other end of a connection, by their marks, as far as it
/// has told; modulo 2^32, and from 1 on for the two codepoints of ECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EcnBytes {
    /// With ECT(0) (s.e0b).
    pub ect0: u32,
    /// With CE (s.ceb).
    pub ce: u32,
    /// With ECT(1) (s.e1b).
    pub ect1: u32,
}

/// Whether the path takes segments that carry the option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passage {
    /// No text was sent with it, or what was got lost.
    Untried,
    /// Text that ends here was.
    Tried(SeqNum),
    /// Such text was acknowledged.
    Open,
    /// It is sent no more.
    Shut,
}

/// What one connection knows of its option, in both roles.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByteCounts {
    /// Bytes that came (r.e0b, r.ceb, r.e1b).
    received: [u32; 3],
    /// Which of them have ever moved, a bit each.
    moved: u8,
    /// Which have since the peer was told.
    untold: u8,
    passage: Passage,
    /// Segments with the option that seem lost, or a SYN-ACK.
    losses: u8,
    /// Acknowledgments with the option since something came twice, and how often in a
    /// row something did.
    told: u8,
    vain: u8,
    /// What the peer has told (s.e0b, s.ceb, s.e1b), and which of it is known.
    heard: [u32; 3],
    known: u8,
    /// An option has come.
    has_heard: bool,
    /// What comes is not to be believed.
    is_deaf: bool,
    /// The other counter has moved, or may have, since one has told of bytes with CE.
    has_marks: bool,
    /// How often in a row they have contradicted each other.
    lies: u8,
}

impl ByteCounts {
    pub(super) const NEW: Self = Self {
        received: FIRST,
        moved: 0,
        untold: 0,
        passage: Passage::Untried,
        losses: 0,
        told: 0,
        vain: 0,
        heard: FIRST,
        known: ALL,
        has_heard: false,
        is_deaf: false,
        has_marks: false,
        lies: 0,
    };

    /// Of a connection that was parked; `fresh` if nothing had moved until then.
    pub(super) const fn woken(fresh: bool) -> Self {
        Self {
            passage: if fresh { Passage::Untried } else { Passage::Shut },
            known: 0,
            has_marks: true,
            ..Self::NEW
        }
    }

    /// Whether a woken one can go on with what [`Self::NEW`] says.
    pub(super) fn is_fresh(&self) -> bool {
        self.moved == 0 && self.passage != Passage::Shut
    }

    //= rfc9768#section-3.2 (MUST)
    // The text of every acceptable segment is counted under its mark, old text and
    // retransmissions too; that of a SYN is not.
    /// `len` bytes of text came marked so.
    pub(super) fn receive(&mut self, mark: Ecn, len: u32) {
        let place = match mark {
            Ecn::Ect0 => ECT0,
            Ecn::Ce => CE,
            Ecn::Ect1 => ECT1,
            Ecn::NotEct => return,
        };
        if len > 0 {
            self.received[place] = self.received[place].wrapping_add(len);
            self.moved |= 1 << place;
            self.untold |= 1 << place;
        }
    }

    //= rfc9768#section-3.2.3.3 (SHOULD)
    // Each acknowledgment has the option if a counter has moved since the last one:
    // the simple scheme, by which it is repeated as long as anything moves.
    //= rfc9768#section-3.2.3.2.2 (MAY)
    // Once something seems lost because of it, text alone tests the path again: of bare
    // acknowledgments nobody would learn whether they arrive.
    /// Whether a bare acknowledgment is to have the option.
    pub(super) fn is_due(&self) -> bool {
        let may_pass = match self.passage {
            Passage::Untried | Passage::Tried(_) => self.losses == 0,
            Passage::Open => true,
            Passage::Shut => false,
        };
        self.untold != 0 && may_pass
    }

    //= rfc9768#section-3.2.3.2.1 (SHOULD)
    // The first text that is sent has the option, whether there is news or not.
    //= rfc9768#section-3.2.3.2.2 (SHOULD)
    // What may have been lost because of it is sent again without, and nothing more
    // with it until that is known; see `on_sent_again`.
    /// Whether text is; `calm` while none is being sent again.
    pub(super) fn is_due_with_text(&self, calm: bool) -> bool {
        match self.passage {
            Passage::Untried => calm,
            Passage::Tried(_) => calm && self.untold != 0,
            Passage::Open => self.untold != 0,
            Passage::Shut => false,
        }
    }

    //= rfc9768#section-3.2.3.3 (MUST)
    // Counters that have moved since the last option are in this one, or there is
    // none. What else has ever moved goes along where there is room.
    /// The option, in `room` bytes.
    pub(super) fn option(&self, room: usize) -> Option<AccEcnOption> {
        let wanted = if self.moved == 0 { ALL } else { self.moved };
        [wanted, self.untold].into_iter().find_map(|counters| {
            let (ect0_first, ect1_first) = (fields_of(counters, ECT0), fields_of(counters, ECT1));
            let fields = ect0_first.min(ect1_first);
            let [ect0, ce, ect1] = self.received;
            let option = if ect0_first <= ect1_first {
                AccEcnOption::new(AccEcnOrder::Ect0First, &[ect0, ce, ect1][..fields])
            } else {
                AccEcnOption::new(AccEcnOrder::Ect1First, &[ect1, ce, ect0][..fields])
            };
            (option.encoded_len() <= room).then_some(option)
        })
    }

    /// The option was sent with an acknowledgment; `text_end` if with new text up to
    /// there.
    pub(super) fn option_sent(&mut self, text_end: Option<SeqNum>) {
        self.untold = 0;
        self.told = self.told.saturating_add(1);
        if let (Some(end), Passage::Untried) = (text_end, self.passage) {
            self.passage = Passage::Tried(end);
        }
    }

    /// The peer has everything before `ack`.
    pub(super) fn on_acknowledged(&mut self, ack: SeqNum) {
        if let Passage::Tried(end) = self.passage
            && ack.at_or_after(end)
        {
            self.passage = Passage::Open;
            self.losses = 0;
        }
    }

    //= rfc9768#section-3.2.3.2.2 (MAY)
    // The path may have become another one, which does not take the option: it is
    // tested again as at first.
    /// The retransmission timer has run out.
    pub(super) fn on_timeout(&mut self) {
        if self.passage == Passage::Open {
            self.passage = Passage::Untried;
            self.losses = 1;
        }
    }

    //= rfc9768#section-3.2.3.2.2 (SHOULD)
    // Text with the option got lost. The next new text tries once more, in case it
    // was for another reason; if that gets lost too, there is no option any more.
    /// Text from `seq` on is sent again.
    pub(super) fn on_sent_again(&mut self, seq: SeqNum) {
        if let Passage::Tried(end) = self.passage
            && seq.before(end)
        {
            self.losses += 1;
            self.passage = if self.losses < LOSSES {
                Passage::Untried
            } else {
                Passage::Shut
            };
        }
    }

    /// A SYN-ACK with the option may have been lost.
    pub(super) fn suspect(&mut self) {
        self.losses = self.losses.max(1);
    }

    /// Whether nothing with the option may have been lost yet.
    pub(super) const fn is_unsuspected(&self) -> bool {
        self.losses == 0
    }

    //= rfc9768#section-3.2.3.2.2 (MAY)
    // Who sends little but acknowledgments learns nothing from losses, but sees that
    // what it has acknowledged comes again, always. (What comes again moves no counter:
    // it is acknowledged without the option, and the peer goes on.)
    /// Text came that was acknowledged before.
    pub(super) fn on_text_again(&mut self) {
        let told = core::mem::take(&mut self.told);
        if told == 0 {
            return;
        }
        self.vain = if told <= FEW { self.vain + 1 } else { 1 };
        if self.vain >= VAIN {
            self.passage = Passage::Shut;
        }
    }

    //= rfc9768#section-3.2.3.2.4 (MAY)
    // A first counter of ECT that is zero was wiped: nothing is believed from there on.
    //= rfc9768#section-3.2.3.2.4 (MUST NOT)
    // Other than that any beginning is as good as ours.
    //= rfc9768#section-3.2.3.2.3 (MAY)
    // An option is taken whenever it comes, whether the first segments had one or not.
    /// What the options of a segment that is not outdated tell: how many bytes have
    /// come with CE besides those that were told of before, if that can be known.
    pub(super) fn hear(&mut self, options: &TcpOptions) -> Option<u32> {
        let option = options.accurate_ecn.as_ref().filter(|_| !self.is_deaf)?;
        let wiped = option.e0b() == Some(0) || option.e1b() == Some(0);
        if !core::mem::replace(&mut self.has_heard, true) && wiped {
            self.is_deaf = true;
            return None;
        }
        self.take(ECT0, option.e0b());
        self.take(ECT1, option.e1b());
        self.take(CE, option.ceb())
    }

    /// What a SYN-ACK tells. One that comes again may be older than what was heard since.
    pub(super) fn hear_syn_ack(&mut self, options: &TcpOptions) {
        if !self.has_heard {
            self.hear(options);
        }
    }

    /// How far a counter has moved, by the least that it can be.
    fn take(&mut self, place: usize, field: Option<u32>) -> Option<u32> {
        let now = field?;
        let was_known = self.known >> place & 1 != 0;
        self.known |= 1 << place;
        let moved = now.wrapping_sub(self.heard[place]) % MODULUS;
        self.heard[place] = self.heard[place].wrapping_add(moved);
        was_known.then_some(moved)
    }

    //= rfc9768#section-3.2.3.2.5 (MUST)
    // Bytes with CE, and no segment with it, though so few were acknowledged that
    // the three flags can't have turned: something writes there, and what is sent is
    // marked no more.
    /// `marks` segments were told of by the flags, and `bytes` by the option, if that
    /// told; `sure` if the flags can't have turned. Whether the two agree.
    pub(super) fn reconcile(&mut self, marks: u32, bytes: Option<u32>, sure: bool) -> bool {
        let Some(bytes) = bytes else {
            self.has_marks |= marks > 0 || !sure;
            return true;
        };
        let is_lie = bytes > 0 && marks == 0 && sure && !self.has_marks;
        if is_lie {
            self.lies += 1;
        } else if bytes > 0 {
            self.lies = 0;
        }
        self.has_marks = false;
        self.lies < LIES
    }

    /// All that the peer has told.
    pub(super) const fn heard(&self) -> EcnBytes {
        let [ect0, ce, ect1] = self.heard;
        EcnBytes { ect0, ce, ect1 }
    }
}

//= rfc9768#section-3.2.3.2.1 (SHOULD)
// The SYN-ACK tests whether the option gets through; with fewer counters where others
// leave it no more room.
//= rfc9768#section-3.2.3.2.2 (SHOULD)
// One that is sent again has none.
/// The option of a SYN-ACK.
pub(crate) fn on_syn_ack(room: usize) -> Option<AccEcnOption> {
    AccEcnOption::new(AccEcnOrder::Ect0First, &FIRST).shortened(room)
}

/// How many fields an option has that begins with `first`, and leaves none of `counters` out.
const fn fields_of(counters: u8, first: usize) -> usize {
    let last = ECT0 + ECT1 - first;
    if counters >> last & 1 != 0 {
        3
    } else if counters >> CE & 1 != 0 {
        2
    } else {
        (counters >> first & 1) as usize
    }
}

#[cfg(test)]
mod tests;
