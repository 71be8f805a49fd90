//! Accurate ECN: a counter of marks on every acknowledgment instead of one echo.
//!
//! Read first: RFC 9768 sections 3.1 and 3.2, appendix A.2; `option.rs` for the
//! option that supplements it.
//!
//! The three flags AE, CWR and ECE are one number, ACE. On a SYN and a SYN-ACK it
//! negotiates, and tells which mark the SYN came with; on the bare acknowledgment
//! of the SYN-ACK it tells which mark that came with; on all others it is the
//! number of marked segments that came, modulo eight.

use crore_base::SeqNum;
use crore_wire::{AccEcnOption, Ecn, Flags, Segment};

use super::{EcnBytes, EcnMode, EcnState, option};

/// Where both counters begin: not at zero, so that flags that something on the way
/// has cleared are told from a counter.
const FIRST: u8 = 5;
/// Where the bits of ACE stand among the flags.
const SHIFT: u32 = 6;
/// Acknowledgments that cover at least so many segments may hide a whole turn of
/// the counter.
const TURN: u32 = 8;

/// ACE as it stands in the flags.
pub(crate) const fn number(flags: Flags) -> u8 {
    (flags.bits() >> SHIFT) as u8 & 7
}

const fn flags(number: u8) -> Flags {
    Flags::from_bits(((number & 7) as u16) << SHIFT)
}

//= rfc9768#section-3.1.1 (MUST)
// The SYN-ACK feeds back the mark that the SYN came with; and, by the same
// encoding, the bare acknowledgment of the SYN-ACK that one's (3.2.2.1).
pub(super) const fn handshake_flags(mark: Ecn) -> Flags {
    flags(match mark {
        Ecn::NotEct => 0b010,
        Ecn::Ect1 => 0b011,
        Ecn::Ect0 => 0b100,
        Ecn::Ce => 0b110,
    })
}

/// What one connection counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// Marked segments that came (r.cep); the low three bits count.
    received: u8,
    /// What the peer has told of its count (s.cep), modulo eight; none if that was
    /// forgotten while parked.
    told: Option<u8>,
    /// Marked segments since an acknowledgment was sent.
    unacked: u8,
    /// The last segment was marked.
    was_marked: bool,
    /// The last feedback told of marks.
    was_told: bool,
    /// No counter has come from the peer yet.
    is_unproven: bool,
    /// What the peer tells is not to be believed.
    is_deaf: bool,
    /// The mark of the latest SYN or SYN-ACK.
    pub(super) syn_mark: Ecn,
    /// A marked SYN-ACK was counted.
    counted_syn_ack: bool,
    /// Segments that an acknowledgment covers on average, times eight; large while
    /// that is not known.
    usual: u32,
}

impl Counters {
    pub(super) const NEW: Self = Self {
        received: FIRST,
        told: Some(FIRST),
        unacked: 0,
        was_marked: false,
        was_told: false,
        is_unproven: true,
        is_deaf: false,
        syn_mark: Ecn::NotEct,
        counted_syn_ack: false,
        usual: TURN * 8,
    };

    /// Of a connection that was parked when so many had come.
    pub(super) const fn woken(received: u8) -> Self {
        Self {
            received,
            told: None,
            is_unproven: false,
            ..Self::NEW
        }
    }

    /// The count, as much of it as ever goes out.
    pub(super) const fn received(&self) -> u8 {
        self.received & 7
    }

    pub(super) const fn ack_sent(&mut self) {
        self.unacked = 0;
    }
}

impl EcnState {
    /// The flags of every segment from here on.
    pub(super) fn show_count(&mut self) {
        self.echo = flags(self.counters.received);
    }

    //= rfc9768#section-3.1.5 (MUST NOT)
    // Who answered a SYN in this mode, and got or sent one without ECN since, does
    // not know what the peer makes of it, and marks nothing for the rest.
    /// No data is marked any more; what comes is counted, told and heeded as before.
    pub(crate) fn send_unmarked(&mut self) {
        self.mark = Ecn::NotEct;
    }

    /// Our SYN-ACK tells no longer that marks are understood.
    pub(crate) fn on_syn_ack_sent(&mut self, resent: u8) {
        if self.mode == EcnMode::Accurate && self.mode.syn_ack_flags(Ecn::NotEct, resent).is_empty() {
            self.send_unmarked();
        }
    }

    /// A SYN came: the latest one counts.
    pub(crate) const fn heard_syn(mut self, mark: Ecn) -> Self {
        self.counters.syn_mark = mark;
        self
    }

    //= rfc9768#section-3.2.3.2.2 (SHOULD)
    // A SYN or SYN-ACK that comes again, or is sent again, may do so because the
    // option was on its answer.
    /// An answer that had the option may be lost.
    pub(crate) fn suspect_option(&mut self) {
        self.bytes.suspect();
    }

    /// The option of the SYN-ACK, sent again `resent` times, in `room` bytes.
    pub(crate) fn syn_ack_option(&self, resent: u8, room: usize) -> Option<AccEcnOption> {
        let may = self.mode == EcnMode::Accurate && resent == 0 && self.bytes.is_unsuspected();
        if may { option::on_syn_ack(room) } else { None }
    }

    //= rfc9768#section-3.2.3.2.1 (SHOULD)
    // The acknowledgment of the SYN-ACK has the option.
    /// The option of the bare acknowledgment of a SYN-ACK.
    pub(crate) fn first_ack_option(&self, room: usize) -> Option<AccEcnOption> {
        self.bytes
            .is_unsuspected()
            .then(|| self.bytes.option(room))
            .flatten()
    }

    /// Whether the next bare acknowledgment has the option.
    #[inline(always)]
    pub(crate) fn shows_bytes(&self) -> bool {
        self.mode == EcnMode::Accurate && self.bytes.is_due()
    }

    /// Whether the next text has; `calm` while none is being sent again.
    #[inline(always)]
    pub(crate) fn shows_bytes_with_text(&self, calm: impl FnOnce() -> bool) -> bool {
        self.mode == EcnMode::Accurate && self.bytes.is_due_with_text(calm())
    }

    /// The option in `room` bytes.
    pub(crate) fn option(&self, room: usize) -> Option<AccEcnOption> {
        self.bytes.option(room)
    }

    /// The option was sent; `text_end` if with new text up to there.
    pub(crate) fn option_sent(&mut self, text_end: Option<SeqNum>) {
        self.bytes.option_sent(text_end);
    }

    /// Text from `seq` on is sent again.
    pub(crate) fn on_sent_again(&mut self, seq: SeqNum) {
        self.bytes.on_sent_again(seq);
    }

    /// The retransmission timer has run out.
    pub(crate) fn on_timeout(&mut self) {
        self.bytes.on_timeout();
    }

    /// Text came that was acknowledged before.
    pub(crate) fn on_text_again(&mut self) {
        self.bytes.on_text_again();
    }

    /// What the peer has told of bytes by marks.
    pub(crate) const fn bytes_told(&self) -> EcnBytes {
        self.bytes.heard()
    }

    /// The flags of the SYN-ACK, sent again `resent` times.
    pub(crate) fn syn_ack_flags(&self, resent: u8) -> Flags {
        self.mode.syn_ack_flags(self.counters.syn_mark, resent)
    }

    /// The flags of the bare acknowledgment of a SYN-ACK.
    pub(crate) const fn first_ack_flags(&self) -> Flags {
        handshake_flags(self.counters.syn_mark)
    }

    //= rfc9768#section-3.2.2.2 (MUST)
    // A marked SYN-ACK is counted, once however often it comes. What it tells of
    // our SYN is no part of the counter.
    //= rfc9768#section-3.2.2.3 (MAY)
    // Our SYN was not marked: if it arrived so, something on the way writes there.
    /// The peer's SYN-ACK came, for the first time or again, with `len` bytes of text.
    /// Whether it tells that our SYN was marked by a congested router.
    pub(crate) fn on_syn_ack(&mut self, syn_ack: &Segment, len: u32) -> bool {
        self.counters.syn_mark = syn_ack.ecn;
        self.bytes.receive(syn_ack.ecn, len);
        self.bytes.hear_syn_ack(&syn_ack.options);
        if syn_ack.ecn == Ecn::Ce && !self.counters.counted_syn_ack {
            self.counters.counted_syn_ack = true;
            self.counters.received += 1;
            self.show_count();
        }
        let told = number(syn_ack.flags);
        if matches!(told, 0b011 | 0b100 | 0b110) {
            self.send_unmarked();
        }
        told == 0b110
    }

    //= rfc9768#section-3.2.2.1 (MUST)
    // In SYN-RECEIVED a bare acknowledgment without SACK blocks tells which mark
    // our SYN-ACK came with. Zero means that the peer, or the path, does not speak
    // this: nothing is marked, nothing heeded, and feedback given all the same.
    /// The segment that ends the handshake on the side that did not open it; `bare`
    /// without text. Whether it tells of congestion.
    pub(crate) fn on_final_ack(&mut self, seg: &Segment, bare: bool) -> bool {
        let told = number(seg.flags);
        self.bytes.on_acknowledged(seg.ack);
        if !bare || !seg.options.sack.is_empty() {
            return self.on_count(seg, 1, 1);
        }
        self.bytes.hear(&seg.options);
        match told {
            0b000 => {
                self.send_unmarked();
                self.counters.is_deaf = true;
            }
            0b011 | 0b100 => self.send_unmarked(),
            0b110 => {
                self.send_unmarked();
                self.counters.told = Some(FIRST + 1);
            }
            _ => {}
        }
        told == 0b110
    }

    //= rfc9768#section-3.2 (MUST)
    // Every acceptable marked segment is counted, bare acknowledgments and
    // retransmissions among them.
    //= rfc9768#section-3.2.2.5.1 (SHOULD)
    // The first marked data after an unmarked segment is acknowledged at once; so
    // is every second marked segment while data waits for it, else every third.
    /// An acceptable segment came, with so many bytes of text. Whether an
    /// acknowledgment is to be sent at once.
    pub(super) fn count(&mut self, seg: &Segment, len: u32, data_waits: bool) -> bool {
        let (is_marked, has_text) = (seg.ecn == Ecn::Ce, len > 0);
        self.bytes.receive(seg.ecn, len);
        let counters = &mut self.counters;
        let begins = is_marked && !counters.was_marked && has_text;
        counters.was_marked = is_marked;
        if !is_marked {
            return false;
        }
        counters.received = counters.received.wrapping_add(1);
        counters.unacked = counters.unacked.saturating_add(1);
        let most = if has_text || data_waits { 2 } else { 3 };
        let is_due = begins || counters.unacked >= most;
        self.ce_received = self.ce_received.saturating_add(1);
        self.show_count();
        is_due
    }

    //= rfc9768#section-3.2.2.5.2 (SHOULD)
    // An acknowledgment that covers eight segments or more may hide a turn of the
    // counter. Whether it does, the option tells. Without one (3.2.3.2.3) it is taken
    // to do so where acknowledgments cover few as a rule, so that some must be
    // missing, and marks are about.
    //= rfc9768#section-3.2.2.4 (MAY)
    // A first count of zero is none: something clears the flags.
    /// The peer tells its count in a segment that acknowledges something, `packets`
    /// segments of ours of at most `smss` bytes. Whether it tells of marks.
    pub(crate) fn on_count(&mut self, seg: &Segment, packets: u32, smss: u32) -> bool {
        let now = number(seg.flags);
        let bytes = self.bytes.hear(&seg.options);
        self.bytes.on_acknowledged(seg.ack);
        let counters = &mut self.counters;
        if core::mem::take(&mut counters.is_unproven) && now == 0 {
            counters.is_deaf = true;
            self.send_unmarked();
            return false;
        }
        let Some(before) = counters.told.replace(now).filter(|_| !counters.is_deaf) else {
            return false;
        };
        let least = u32::from(now.wrapping_sub(before) & 7);
        let most = if packets >= TURN {
            packets - (packets - least) % TURN
        } else {
            least
        };
        let marks_are_about = least > 0 || counters.was_told;
        let may_hide = match bytes {
            Some(bytes) => !is_enough(least, most, bytes, smss),
            None => counters.usual < TURN * 8 / 2 && marks_are_about,
        };
        let marks = if may_hide { most } else { least };
        counters.usual = counters.usual - counters.usual / 8 + packets.min(64);
        counters.was_told = marks > 0;
        self.ece_received = self.ece_received.saturating_add(marks);
        if !self.bytes.reconcile(marks, bytes, packets < TURN) {
            self.send_unmarked();
        }
        marks > 0
    }
}

/// Whether `bytes` are what `least` marked segments have, rather than `most`: appendix
/// A.2.2's algorithm.
fn is_enough(least: u32, most: u32, bytes: u32, smss: u32) -> bool {
    u64::from(bytes) <= u64::from(smss) * u64::from(least)
        && u64::from(bytes) * 2 < u64::from(smss) * u64::from(most.max(1))
}

#[cfg(test)]
mod tests {
    use crore_base::SeqNum;

    use super::*;

    fn state() -> EcnState {
        EcnState::new(EcnMode::Accurate, SeqNum(0))
    }

    fn with(ace: u8, ecn: Ecn) -> Segment {
        Segment {
            flags: Flags::ACK | flags(ace),
            ecn,
            ..Segment::default()
        }
    }

    #[test]
    fn the_encodings_are_those_of_the_tables() {
        for (mark, flags) in [
            (Ecn::NotEct, Flags::CWR),
            (Ecn::Ect1, Flags::CWR | Flags::ECE),
            (Ecn::Ect0, Flags::AE),
            (Ecn::Ce, Flags::AE | Flags::CWR),
        ] {
            assert_eq!(handshake_flags(mark), flags, "{mark:?}");
        }
        assert_eq!(state().echo(), Flags::AE | Flags::ECE, "the counter begins at 5");
    }

    #[test]
    fn the_final_ack_is_read_by_table_4() {
        for (ace, told, marks, heeds, congested) in [
            (0b000, 5, false, false, false),
            (0b001, 5, true, true, false),
            (0b010, 5, true, true, false),
            (0b011, 5, false, true, false),
            (0b100, 5, false, true, false),
            (0b101, 5, true, true, false),
            (0b110, 6, false, true, true),
            (0b111, 5, true, true, false),
        ] {
            let mut ecn = state();
            assert_eq!(
                ecn.on_final_ack(&with(ace, Ecn::NotEct), true),
                congested,
                "{ace:03b}"
            );
            assert_eq!(ecn.counters.told, Some(told), "{ace:03b}");
            assert_eq!(ecn.on_new_data().0 == Ecn::Ect0, marks, "{ace:03b}");
            assert_eq!(!ecn.counters.is_deaf, heeds, "{ace:03b}");
        }
        let mut ecn = state();
        assert!(
            ecn.on_final_ack(&with(6, Ecn::NotEct), false),
            "with text it is the counter"
        );
        assert_eq!(ecn.on_new_data().0, Ecn::Ect0, "and tells nothing of the SYN-ACK");
    }

    #[test]
    fn marks_are_counted_over_the_turn_of_the_counter() {
        let mut ecn = state();
        assert!(!ecn.on_count(&with(5, Ecn::NotEct), 1, 1_000));
        assert!(ecn.on_count(&with(2, Ecn::NotEct), 7, 1_000), "five more");
        assert_eq!(ecn.ece_received, 5);
    }

    #[test]
    fn a_hidden_turn_is_suspected_only_where_it_is_likely() {
        let mut ecn = state();
        assert!(
            !ecn.on_count(&with(5, Ecn::NotEct), 40, 1_000),
            "who acknowledges bursts, always does"
        );
        for _ in 0..40 {
            assert!(!ecn.on_count(&with(5, Ecn::NotEct), 2, 1_000));
        }
        assert!(
            !ecn.on_count(&with(5, Ecn::NotEct), 40, 1_000),
            "no mark for long"
        );
        for _ in 0..40 {
            ecn.on_count(&with(5, Ecn::NotEct), 2, 1_000);
        }
        assert!(ecn.on_count(&with(7, Ecn::NotEct), 10, 1_000));
        assert_eq!(ecn.ece_received, 10, "appendix A.2.1's own example");
    }

    #[test]
    fn bytes_decide_between_two_counts_as_appendix_a_2_2_has_it() {
        for (least, most, bytes, is_enough) in [
            (0, 8, 1_460, false),
            (2, 10, 1_460, true),
            (7, 15, 10_200, true),
            (2, 10, 3_000, false),
            (0, 8, 0, true),
            (8, 16, 8 * 1_460, false),
        ] {
            assert_eq!(
                super::is_enough(least, most, bytes, 1_460),
                is_enough,
                "{least} or {most}, {bytes} bytes"
            );
        }
    }

    #[test]
    fn a_first_count_of_zero_is_none() {
        let mut ecn = state();
        assert!(!ecn.on_count(&with(0, Ecn::NotEct), 1, 1_000));
        assert!(
            !ecn.on_count(&with(3, Ecn::NotEct), 1, 1_000),
            "it is deaf from then on"
        );
        assert_eq!(ecn.on_new_data().0, Ecn::NotEct);
        assert!(ecn.count(&with(5, Ecn::Ce), 100, false), "but it counts");
        assert_eq!(ecn.echo(), flags(6), "and tells");
    }

    #[test]
    fn marks_are_acknowledged_when_they_begin_and_by_twos_and_threes() {
        let mut ecn = state();
        assert!(!ecn.count(&with(5, Ecn::Ect0), 100, false));
        assert!(ecn.count(&with(5, Ecn::Ce), 100, false), "they begin");
        ecn.ack_sent();
        assert!(!ecn.count(&with(5, Ecn::Ce), 100, true), "the first since");
        assert!(ecn.count(&with(5, Ecn::Ce), 100, true), "the second");
        ecn.ack_sent();
        assert!(!ecn.count(&with(5, Ecn::Ce), 0, false));
        assert!(!ecn.count(&with(5, Ecn::Ce), 0, false));
        assert!(ecn.count(&with(5, Ecn::Ce), 0, false), "the third bare one");
        assert_eq!(ecn.echo(), flags(5 + 6), "all are counted");
    }
}
