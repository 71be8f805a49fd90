//! Explicit congestion notification: what is agreed on, what is told, what is owed.
//!
//! Read first: RFC 3168 section 6.1, RFC 8311 section 4.
//!
//! Always true: with ECN off, nothing here ever changes, no flag and no mark is
//! sent, and what is received means nothing; in one window of data the congestion
//! window is reduced once at most.

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
}

/// What both ends have agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnMode {
    /// Nothing.
    #[default]
    Off,
    /// One echo a window (RFC 3168).
    Classic,
}

/// The two flags of an ECN-setup SYN.
const SETUP: Flags = Flags::ECE.union(Flags::CWR);
/// All flags that have to do with ECN.
const ALL: Flags = SETUP.union(Flags::AE);

impl EcnPolicy {
    //= rfc3168#section-6.1.1.1 (MAY)
    // A SYN that got no answer is sent again without ECN, in case something on
    // the way drops what it does not know.
    /// The flags of our SYN, sent again or for the first time.
    pub(crate) fn offer(self, again: bool) -> Flags {
        match self {
            Self::On if !again => SETUP,
            _ => Flags::NONE,
        }
    }

    //= rfc3168#section-6.1.1 (MUST)
    // ECN is agreed on when the SYN has both flags; the SYN-ACK then has ECE alone.
    /// What the peer's SYN leads to.
    pub(crate) fn answer(self, syn: &Segment) -> EcnMode {
        if self != Self::Off && syn.flags.intersection(ALL) == SETUP {
            EcnMode::Classic
        } else {
            EcnMode::Off
        }
    }
}

impl EcnMode {
    //= rfc3168#section-6.1.1 (MUST)
    // A SYN-ACK that reflects both flags comes from one who knows neither.
    /// What the SYN-ACK says that answers our offer.
    pub(crate) fn of_syn_ack(offered: Flags, syn_ack: &Segment) -> Self {
        if offered == SETUP && syn_ack.flags.intersection(ALL) == Flags::ECE {
            Self::Classic
        } else {
            Self::Off
        }
    }

    /// The flags of a SYN-ACK that agrees to it.
    pub(crate) const fn syn_ack_flags(self) -> Flags {
        match self {
            Self::Off => Flags::NONE,
            Self::Classic => Flags::ECE,
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
        ce_received: 0,
        ece_received: 0,
    };

    /// As agreed on in the handshake, our numbers beginning at `iss`.
    pub(crate) const fn new(mode: EcnMode, iss: SeqNum) -> Self {
        match mode {
            EcnMode::Off => Self::OFF,
            EcnMode::Classic => Self {
                mode,
                mark: Ecn::Ect0,
                watched: 1 << Ecn::Ce.bits(),
                reduced_at: iss,
                ..Self::OFF
            },
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
    /// Acceptable data came.
    pub(crate) fn on_data(&mut self, seg: &Segment) {
        if self.mode != EcnMode::Classic {
            return;
        }
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

    //= rfc3168#section-6.1.2 (MUST)
    // The window is reduced once for a window of data: not again before what was
    // sent after the last reduction, whatever its cause, is acknowledged.
    /// A mark is echoed by an acknowledgment of `ack`; whether the window is to be
    /// reduced for it.
    pub(crate) fn on_echo(&mut self, ack: SeqNum, nxt: SeqNum) -> bool {
        self.ece_received = self.ece_received.saturating_add(1);
        // Told by the place of the last reduction, which is long past when it
        // does not lie in what is in flight.
        let was_reduced = self.reduced_at.at_or_after(ack) && self.reduced_at.at_or_before(nxt);
        if was_reduced {
            return false;
        }
        self.on_window_reduced(nxt);
        true
    }

    //= rfc3168#section-6.1.2 (MUST)
    // The peer is told of a reduction, be it for a mark or for a loss, by the
    // first new data that is sent after it.
    /// The congestion window was reduced.
    pub(crate) fn on_window_reduced(&mut self, nxt: SeqNum) {
        if self.mode == EcnMode::Classic {
            self.reduced_at = nxt;
            self.cwr = Flags::CWR;
        }
    }

    /// What a segment with an acknowledgment says besides.
    #[inline(always)]
    pub(crate) const fn echo(&self) -> Flags {
        self.echo
    }

    //= rfc3168#section-6.1.2 (MUST)
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

    /// What of it a parked connection has to remember, in [`Self::PARKED_BITS`] bits.
    pub(crate) fn park(&self) -> u8 {
        match self.mode {
            EcnMode::Off => 0,
            EcnMode::Classic => 1 | u8::from(self.echo.has_ece()) << 1 | u8::from(self.cwr.has_cwr()) << 2,
        }
    }

    /// What [`Self::park`] gave, of a connection whose SND.NXT is `nxt`.
    pub(crate) fn wake(parked: u8, nxt: SeqNum) -> Self {
        if parked & 1 == 0 {
            return Self::OFF;
        }
        let flag = |bit, flag| if parked & bit != 0 { flag } else { Flags::NONE };
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
    fn only_the_right_flags_agree_on_ecn() {
        for bits in 0..8u16 {
            let flags = Flags::from_bits(bits << 6);
            let syn = seg(Flags::SYN | flags, Ecn::NotEct);
            let setup = flags == SETUP;
            assert_eq!(EcnPolicy::Off.answer(&syn), EcnMode::Off, "{flags:?}");
            for policy in [EcnPolicy::Passive, EcnPolicy::On] {
                assert_eq!(policy.answer(&syn) == EcnMode::Classic, setup, "{flags:?}");
            }
            let syn_ack = seg(Flags::SYN | Flags::ACK | flags, Ecn::NotEct);
            assert_eq!(
                EcnMode::of_syn_ack(SETUP, &syn_ack) == EcnMode::Classic,
                flags == Flags::ECE,
                "{flags:?}"
            );
            assert_eq!(
                EcnMode::of_syn_ack(Flags::NONE, &syn_ack),
                EcnMode::Off,
                "none asked"
            );
        }
        assert_eq!(EcnPolicy::On.offer(false), SETUP);
        assert_eq!(EcnPolicy::On.offer(true), Flags::NONE, "given up for a lost SYN");
        assert_eq!(EcnPolicy::Passive.offer(false), Flags::NONE, "only answered");
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
        assert!(ecn.on_echo(SeqNum(100), SeqNum(1000)), "the first echo");
        assert!(!ecn.on_echo(SeqNum(1000), SeqNum(2000)), "the same window");
        assert!(ecn.on_echo(SeqNum(1001), SeqNum(2000)), "data sent after it");
        ecn.on_window_reduced(SeqNum(3000));
        assert!(!ecn.on_echo(SeqNum(2500), SeqNum(3000)), "a loss counts too");
        let far = SeqNum(3000) + (1 << 31) + 5;
        assert!(ecn.on_echo(far, far + 10), "half the numbers later");
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
