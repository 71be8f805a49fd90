//! Explicit congestion notification: what is agreed on, what is told, what is owed.
//!
//! Read first: RFC 3168 section 6.1, RFC 8311 section 4; `accurate.rs` and `option.rs`
//! for RFC 9768.
//!
//! Always true: with ECN off, nothing here ever changes, no flag and no mark is
//! sent, and what is received means nothing; in one window of data the congestion
//! window is reduced once at most.

mod accurate;
mod option;

pub(crate) use accurate::number as accurate_number;
pub use option::EcnBytes;
pub(crate) use option::on_syn_ack as syn_ack_option;

use crore_base::SeqNum;
use crore_wire::{Ecn, Flags, Segment};

/// Whether and how explicit congestion notification is offered and accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnPolicy {
    /// It is not spoken.
    Off,
    /// Accepted (RFC 3168) where the peer offers it, not offered.
    #[default]
    Passive,
    /// Offered and accepted (RFC 3168).
    On,
    /// Accepted, accurate ECN (RFC 9768) too, not offered.
    AccuratePassive,
    /// Accurate ECN is offered, either is accepted.
    Accurate,
}

/// What both ends have agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnMode {
    /// Nothing.
    #[default]
    Off,
    /// One echo a window (RFC 3168).
    Classic,
    /// A counter of marks on each acknowledgment (RFC 9768).
    Accurate,
}

/// What it means that a SYN comes again with other flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SynAgain {
    /// Nothing, or no more than which mark it came with.
    Same,
    /// There is to be no ECN, or no marked data.
    Changed,
    /// The two can't be told apart later: the handshake is to be reset.
    Reset,
}

/// The two flags of an ECN-setup SYN.
const SETUP: Flags = Flags::ECE.union(Flags::CWR);
/// All flags that have to do with ECN.
const ALL: Flags = SETUP.union(Flags::AE);

impl EcnPolicy {
    //= rfc3168#section-6.1.1.1 (MAY)
    // A SYN that got no answer is sent again without ECN, in case something on
    // the way drops what it does not know.
    //= rfc9768#section-3.1.4.1 (SHOULD)
    // Accurate ECN is asked for twice before that.
    /// The flags of our SYN, sent again `resent` times.
    pub(crate) fn offer(self, resent: u8) -> Flags {
        match self {
            Self::On if resent == 0 => SETUP,
            Self::Accurate if resent < 2 => ALL,
            _ => Flags::NONE,
        }
    }

    /// Whether accurate ECN is spoken.
    pub(crate) const fn is_accurate(self) -> bool {
        matches!(self, Self::AccuratePassive | Self::Accurate)
    }

    //= rfc3168#section-6.1.1 (MUST)
    // ECN is agreed on when the SYN has both flags; the SYN-ACK then has ECE alone.
    //= rfc9768#section-3.1.2 (MUST)
    // No flag is answered by no ECN, the two by RFC 3168's, all three, and whatever
    // else there may be one day (3.1.3), by accurate ECN.
    /// What the peer's SYN leads to.
    pub(crate) fn answer(self, syn: &Segment) -> EcnMode {
        let said = syn.flags.intersection(ALL);
        match self {
            Self::Off => EcnMode::Off,
            Self::Passive | Self::On if said.contains(SETUP) => EcnMode::Classic,
            Self::Passive | Self::On => EcnMode::Off,
            _ if said.is_empty() => EcnMode::Off,
            _ if said == SETUP => EcnMode::Classic,
            _ => EcnMode::Accurate,
        }
    }

    //= rfc3168#section-6.1.1 (MUST)
    // A SYN-ACK that reflects all flags comes from one who knows none. Who has sent
    // a SYN without ECN, be it besides one with it, sends no marked data.
    //= rfc9768#section-3.1.2 (MUST)
    // The SYN-ACK says which of the two it is to be; the combination that is not
    // used yet counts as accurate ECN (3.1.3).
    /// What a SYN-ACK says to our SYN, sent again `resent` times.
    pub(crate) fn accept(self, resent: u8, syn_ack: &Segment) -> EcnMode {
        let said = syn_ack.flags.intersection(ALL);
        let offered = self.offer(resent);
        match (self, accurate::number(said)) {
            (Self::On, _) if offered == SETUP && said.intersection(SETUP) == Flags::ECE => EcnMode::Classic,
            (Self::Accurate, 0b001) if !offered.is_empty() => EcnMode::Classic,
            (Self::Accurate, 0b010..=0b110) => EcnMode::Accurate,
            _ => EcnMode::Off,
        }
    }
}

impl EcnMode {
    //= rfc9768#section-3.2.3.2.2 (SHOULD)
    // When the SYN-ACK was lost twice, its flags may be to blame; the mode stays.
    /// The flags of a SYN-ACK that agrees to it, sent again `resent` times, where the
    /// SYN came marked with `mark`.
    pub(crate) fn syn_ack_flags(self, mark: Ecn, resent: u8) -> Flags {
        match self {
            Self::Classic => Flags::ECE,
            Self::Accurate if resent < 2 => accurate::handshake_flags(mark),
            Self::Off | Self::Accurate => Flags::NONE,
        }
    }

    //= rfc3168#section-6.1.1 (SHOULD NOT)
    // Who has received a SYN without ECN, be it besides one with it, sends no
    // marked data.
    //= rfc9768#section-3.1.5 (MUST)
    // The mode is that of the first SYN. One without ECN is answered as before; one
    // that asks for RFC 3168's after one that asks for accurate ECN, or the other
    // way round, is reset.
    /// What it means that the peer's SYN comes again, and now leads to `again`.
    pub(crate) fn on_syn_again(self, again: Self) -> SynAgain {
        match (self, again) {
            (Self::Off, _) | (Self::Classic, Self::Classic) | (Self::Accurate, Self::Accurate) => {
                SynAgain::Same
            }
            (_, Self::Off) => SynAgain::Changed,
            _ => SynAgain::Reset,
        }
    }
}

/// One connection's ECN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EcnState {
    mode: EcnMode,
    /// The mark of new data.
    mark: Ecn,
    /// Which codepoints of received segments are news, a bit each.
    watched: u8,
    /// What every segment says besides that has an acknowledgment.
    echo: Flags,
    /// CWR, if the next new data is to carry it.
    cwr: Flags,
    /// The flags, but for PSH, of a segment that brings no news.
    expected: Flags,
    /// SND.NXT when the window was last reduced.
    reduced_at: SeqNum,
    counters: accurate::Counters,
    bytes: option::ByteCounts,
    /// Marked data segments that came.
    pub(crate) ce_received: u32,
    /// Acknowledgments that told of a mark.
    pub(crate) ece_received: u32,
}

impl EcnState {
    pub(crate) const OFF: Self = Self {
        mode: EcnMode::Off,
        mark: Ecn::NotEct,
        watched: 0,
        echo: Flags::NONE,
        cwr: Flags::NONE,
        expected: Flags::ACK,
        reduced_at: SeqNum(0),
        counters: accurate::Counters::NEW,
        bytes: option::ByteCounts::NEW,
        ce_received: 0,
        ece_received: 0,
    };

    /// As agreed on in the handshake, our numbers beginning at `iss`.
    pub(crate) fn new(mode: EcnMode, iss: SeqNum) -> Self {
        match mode {
            EcnMode::Off => Self::OFF,
            EcnMode::Classic => Self {
                mode,
                mark: Ecn::Ect0,
                watched: 1 << Ecn::Ce.bits(),
                reduced_at: iss,
                ..Self::OFF
            },
            EcnMode::Accurate => {
                let mut ecn = Self {
                    mode,
                    mark: Ecn::Ect0,
                    // None is: each tells a count.
                    expected: Flags::NONE,
                    reduced_at: iss,
                    ..Self::OFF
                };
                ecn.show_count();
                ecn
            }
        }
    }

    pub(crate) const fn mode(&self) -> EcnMode {
        self.mode
    }

    /// Whether flags and mark of `seg` say nothing that was not known.
    #[inline(always)]
    pub(crate) fn expects(&self, seg: &Segment) -> bool {
        let is_watched = self.watched >> seg.ecn.bits() & 1 != 0;
        seg.flags.without(Flags::PSH) == self.expected && !is_watched
    }

    //= rfc3168#section-6.1.3 (MUST)
    // From a mark on, every acknowledgment has ECE, until new data says by CWR
    // that the window was reduced; what is marked again from there on counts anew.
    //= rfc3168#section-6.1.5 (SHOULD)
    // What lies outside of the window (it does not get here) says nothing, since
    // anybody can send it.
    /// An acceptable segment came, with so many bytes of text; `data_waits` for an
    /// acknowledgment. Whether one is to be sent at once.
    pub(crate) fn on_segment(&mut self, seg: &Segment, len: u32, data_waits: bool) -> bool {
        match self.mode {
            EcnMode::Classic if len > 0 => self.on_data(seg),
            EcnMode::Accurate => return self.count(seg, len, data_waits),
            _ => {}
        }
        false
    }

    fn on_data(&mut self, seg: &Segment) {
        if seg.flags.has_cwr() {
            self.echo = Flags::NONE;
        }
        if seg.ecn == Ecn::Ce {
            self.echo = Flags::ECE;
            self.ce_received = self.ce_received.saturating_add(1);
        }
    }

    /// Whether `seg` echoes a mark.
    #[inline]
    pub(crate) fn is_echo(&self, seg: &Segment) -> bool {
        seg.flags.has_ece() && self.mode == EcnMode::Classic
    }

    /// An acknowledgment came; whether it echoes a mark.
    pub(crate) fn on_echo(&mut self, seg: &Segment) -> bool {
        let is_echo = self.is_echo(seg);
        self.ece_received = self.ece_received.saturating_add(u32::from(is_echo));
        is_echo
    }

    //= rfc3168#section-6.1.2 (SHOULD)
    // The window is reduced once for a window of data: not again before what was
    // sent after the last reduction, whatever its cause, is acknowledged.
    /// An acknowledgment of `ack` tells of a mark; whether the window is to be
    /// reduced for it.
    pub(crate) fn reduces(&mut self, ack: SeqNum, nxt: SeqNum) -> bool {
        if ack == self.reduced_at || self.has_reduced(ack, nxt) {
            return false;
        }
        self.on_window_reduced(nxt);
        true
    }

    /// Whether the window was reduced since what follows `una` was sent, up to
    /// `nxt`: told by the place of the last reduction, which is long past when it
    /// does not lie in what is in flight.
    pub(crate) fn has_reduced(&self, una: SeqNum, nxt: SeqNum) -> bool {
        self.reduced_at.after(una) && self.reduced_at.at_or_before(nxt)
    }

    /// The last reduction was undone while all up to `una` was acknowledged: the
    /// next mark counts.
    pub(crate) fn on_reduction_undone(&mut self, una: SeqNum) {
        self.reduced_at = una - 1;
    }

    //= rfc3168#section-6.1.2 (SHOULD)
    // The peer is told of a reduction, be it for a mark or for a loss, by the
    // first new data that is sent after it.
    /// The congestion window was reduced.
    pub(crate) fn on_window_reduced(&mut self, nxt: SeqNum) {
        self.reduced_at = nxt;
        //= rfc9768#section-3.1.5 (MUST NOT)
        // Where marks are counted nobody waits to be told.
        if self.mode == EcnMode::Classic {
            self.cwr = Flags::CWR;
        }
    }

    /// An acknowledgment was sent.
    #[inline(always)]
    pub(crate) const fn ack_sent(&mut self) {
        self.counters.ack_sent();
    }

    /// What a segment with an acknowledgment says besides.
    #[inline(always)]
    pub(crate) const fn echo(&self) -> Flags {
        self.echo
    }

    //= rfc3168#section-6.1.5 (MUST NOT)
    // New data may be marked; retransmissions (6.1.5), window probes (6.1.6), bare
    // acknowledgments (6.1.4) and SYNs (6.1.1) must not be.
    /// How new data goes out: its mark, and the flags that it carries besides.
    #[inline(always)]
    pub(crate) const fn on_new_data(&self) -> (Ecn, Flags) {
        (self.mark, self.cwr)
    }

    /// New data was sent.
    #[inline(always)]
    pub(crate) const fn new_data_sent(&mut self) {
        self.cwr = Flags::NONE;
    }

    //= rfc9768#section-3.2.3 (RECOMMENDED)
    // The option is sent and read. But for three counters of 24 bits there is no room:
    // once one has moved, a connection that was parked sends none any more, and the
    // peer has the flags alone.
    /// What of it a parked connection has to remember, in five bits: agreement,
    /// what is owed, or how many marks were counted, and whether none of the counters
    /// of bytes has moved. What the peer has counted is learnt anew from its next
    /// acknowledgment.
    pub(crate) fn park(&self) -> u8 {
        match self.mode {
            EcnMode::Off => 0,
            EcnMode::Classic => 1 | u8::from(self.echo.has_ece()) << 1 | u8::from(self.cwr.has_cwr()) << 2,
            EcnMode::Accurate if self.mark == Ecn::NotEct => 24 | self.counters.received(),
            EcnMode::Accurate if !self.bytes.is_fresh() => 16 | self.counters.received(),
            EcnMode::Accurate => 8 | self.counters.received(),
        }
    }

    /// What [`Self::park`] gave, of a connection whose SND.NXT is `nxt`.
    pub(crate) fn wake(parked: u8, nxt: SeqNum) -> Self {
        let flag = |bit, flag| if parked & bit != 0 { flag } else { Flags::NONE };
        if parked & 24 != 0 {
            let mut ecn = Self::new(EcnMode::Accurate, nxt);
            ecn.counters = accurate::Counters::woken(parked & 7);
            ecn.bytes = option::ByteCounts::woken(parked & 16 == 0);
            ecn.show_count();
            if parked & 24 == 24 {
                ecn.send_unmarked();
            }
            return ecn;
        }
        if parked & 1 == 0 {
            return Self::OFF;
        }
        Self {
            echo: flag(2, Flags::ECE),
            cwr: flag(4, Flags::CWR),
            ..Self::new(EcnMode::Classic, nxt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seg(flags: Flags, ecn: Ecn) -> Segment {
        Segment {
            flags,
            ecn,
            ..Segment::default()
        }
    }

    #[test]
    fn every_combination_of_flags_leads_where_the_tables_say() {
        use EcnMode::{Accurate, Classic, Off};
        // By the number that AE, CWR and ECE make: what a SYN leads to, here with
        // RFC 3168 and with accurate ECN, and what a SYN-ACK does, to either.
        for (ace, classic, accurate, to_classic, to_accurate) in [
            (0b000, Off, Off, Off, Off),
            (0b001, Off, Accurate, Classic, Classic),
            (0b010, Off, Accurate, Off, Accurate),
            (0b011, Classic, Classic, Off, Accurate),
            (0b100, Off, Accurate, Off, Accurate),
            (0b101, Off, Accurate, Classic, Accurate),
            (0b110, Off, Accurate, Off, Accurate),
            (0b111, Classic, Accurate, Off, Off),
        ] {
            let flags = Flags::from_bits(ace << 6);
            let syn = seg(Flags::SYN | flags, Ecn::NotEct);
            assert_eq!(EcnPolicy::Off.answer(&syn), Off, "{ace:03b}");
            for policy in [EcnPolicy::Passive, EcnPolicy::On] {
                assert_eq!(policy.answer(&syn), classic, "{policy:?} {ace:03b}");
            }
            for policy in [EcnPolicy::AccuratePassive, EcnPolicy::Accurate] {
                assert_eq!(policy.answer(&syn), accurate, "{policy:?} {ace:03b}");
            }
            let syn_ack = seg(Flags::SYN | Flags::ACK | flags, Ecn::NotEct);
            assert_eq!(EcnPolicy::On.accept(0, &syn_ack), to_classic, "{ace:03b}");
            assert_eq!(
                EcnPolicy::On.accept(1, &syn_ack),
                Off,
                "{ace:03b}, a SYN without sent"
            );
            assert_eq!(EcnPolicy::Accurate.accept(1, &syn_ack), to_accurate, "{ace:03b}");
            for policy in [EcnPolicy::Off, EcnPolicy::Passive, EcnPolicy::AccuratePassive] {
                assert_eq!(policy.accept(0, &syn_ack), Off, "none was asked for");
            }
        }
        let offers = |policy: EcnPolicy| [0, 1, 2].map(|resent| policy.offer(resent));
        assert_eq!(offers(EcnPolicy::On), [SETUP, Flags::NONE, Flags::NONE]);
        assert_eq!(offers(EcnPolicy::Accurate), [ALL, ALL, Flags::NONE]);
        assert_eq!(offers(EcnPolicy::AccuratePassive), [Flags::NONE; 3]);
    }

    #[test]
    fn a_mark_is_echoed_until_cwr_and_cwr_with_a_mark_starts_anew() {
        let mut ecn = EcnState::new(EcnMode::Classic, SeqNum(0));
        ecn.on_data(&seg(Flags::ACK, Ecn::Ect0));
        assert_eq!(ecn.echo(), Flags::NONE, "no mark");
        ecn.on_data(&seg(Flags::ACK, Ecn::Ce));
        ecn.on_data(&seg(Flags::ACK, Ecn::Ect0));
        assert_eq!(ecn.echo(), Flags::ECE, "not forgotten");
        ecn.on_data(&seg(Flags::ACK | Flags::CWR, Ecn::Ce));
        assert_eq!(ecn.echo(), Flags::ECE, "marked after the reduction");
        ecn.on_data(&seg(Flags::ACK | Flags::CWR, Ecn::NotEct));
        assert_eq!(ecn.echo(), Flags::NONE, "the peer knows");
    }

    #[test]
    fn a_window_is_reduced_once() {
        let mut ecn = EcnState::new(EcnMode::Classic, SeqNum(0));
        assert!(ecn.reduces(SeqNum(100), SeqNum(1000)), "the first echo");
        assert!(!ecn.reduces(SeqNum(1000), SeqNum(2000)), "the same window");
        assert!(ecn.reduces(SeqNum(1001), SeqNum(2000)), "data sent after it");
        ecn.on_window_reduced(SeqNum(3000));
        assert!(!ecn.reduces(SeqNum(2500), SeqNum(3000)), "a loss counts too");
        let far = SeqNum(3000) + (1 << 31) + 5;
        assert!(ecn.reduces(far, far + 10), "half the numbers later");
    }

    #[test]
    fn parking_keeps_what_is_owed() {
        let mut ecn = EcnState::new(EcnMode::Classic, SeqNum(0));
        for state in 0..4 {
            if state & 1 != 0 {
                ecn.on_data(&seg(Flags::ACK, Ecn::Ce));
            }
            if state & 2 != 0 {
                ecn.on_window_reduced(SeqNum(9));
            }
            let woken = EcnState::wake(ecn.park(), SeqNum(9));
            assert_eq!(
                (woken.mode(), woken.echo(), woken.on_new_data()),
                (ecn.mode(), ecn.echo(), ecn.on_new_data())
            );
        }
        assert_eq!(
            EcnState::wake(EcnState::OFF.park(), SeqNum(9)).mode(),
            EcnMode::Off
        );
    }
}
