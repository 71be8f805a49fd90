//! What a connection tells its owner.

/// Something that the application wants to know. Edge-triggered: each kind is
/// pending at most once, however often it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The handshake is complete.
    Connected,
    /// There is more to read than there was.
    Readable,
    /// There is room again after a write was cut short.
    Writable,
    /// The peer has finished sending; what it sent before can still be read.
    PeerClosed,
    /// The peer has marked data that was not read yet as urgent: see
    /// [`crate::Connection::urgent_mark`].
    Urgent,
    /// What was written before a close that lingers has arrived, our FIN too: the
    /// application need not wait any longer. Only [`Event::Closed`] follows.
    Flushed,
    /// The connection is over. Comes once, and last.
    Closed(CloseReason),
}

//= rfc9293#section-3.9.1.8 (MUST)
// Whatever ends a connection is told, with its cause.
/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// Both ends finished.
    Finished,
    /// The peer reset it.
    ResetByPeer,
    /// The peer refused to open it.
    Refused,
    /// The peer did not answer our SYN, or our SYN-ACK.
    OpenTimedOut,
    /// The peer did not acknowledge what was sent, or kept its window shut for
    /// longer than it may.
    TimedOut,
    /// The peer did not answer keepalive probes.
    KeepaliveTimedOut,
    /// Nothing was acknowledged for as long as the application bears it
    /// ([`crate::Config::user_timeout`]).
    UserTimedOut,
    /// The application has closed, and bringing what it wrote to the peer took
    /// longer than it bears ([`crate::Config::linger`]).
    LingerTimedOut,
    /// The network said, or neighbour resolution, that the peer can't be reached.
    Unreachable,
    /// The network said that the peer's network can't be reached.
    NetworkUnreachable,
    /// The peer's host said that it does not speak TCP.
    ProtocolUnreachable,
    /// This end aborted it, or closed it with data unread.
    Aborted,
}

impl CloseReason {
    /// Whether it ended since something did not come in time (`ETIMEDOUT`).
    pub const fn is_time_out(self) -> bool {
        matches!(
            self,
            Self::OpenTimedOut
                | Self::TimedOut
                | Self::KeepaliveTimedOut
                | Self::UserTimedOut
                | Self::LingerTimedOut
        )
    }
}

/// What the network says can't be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreachable {
    /// The peer's network.
    Network,
    /// The peer's host.
    Host,
    /// Its TCP.
    Protocol,
    /// Its port.
    Port,
}

impl Unreachable {
    /// What becomes of a connection by it, if it ends by it.
    pub(crate) const fn reason(self) -> CloseReason {
        match self {
            Self::Network => CloseReason::NetworkUnreachable,
            Self::Host => CloseReason::Unreachable,
            Self::Protocol => CloseReason::ProtocolUnreachable,
            Self::Port => CloseReason::Refused,
        }
    }
}

/// The events that wait to be polled.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PendingEvents {
    bits: u8,
    reason: Option<CloseReason>,
}

impl PendingEvents {
    pub(crate) const CONNECTED: u8 = 1;
    pub(crate) const READABLE: u8 = 2;
    pub(crate) const WRITABLE: u8 = 4;
    pub(crate) const PEER_CLOSED: u8 = 8;
    pub(crate) const URGENT: u8 = 16;
    const CLOSED: u8 = 32;

    /// The orderly end, and nothing before it.
    pub(crate) const FINISHED: Self = Self {
        bits: Self::CLOSED,
        reason: Some(CloseReason::Finished),
    };

    pub(crate) const fn add(&mut self, bit: u8) {
        self.bits |= bit;
    }

    /// The end; the first reason stands.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        if self.reason.is_none() {
            self.reason = Some(reason);
            self.bits |= Self::CLOSED;
        }
    }

    /// Forgets all but the beginning and the end.
    pub(crate) const fn retain_ends(&mut self) {
        self.bits &= Self::CONNECTED | Self::CLOSED;
    }

    /// Forgets all but the end.
    pub(crate) const fn retain_closed(&mut self) {
        self.bits &= Self::CLOSED;
    }

    /// The next one; the end only if `may_end`.
    pub(crate) fn next(&mut self, may_end: bool) -> Option<Event> {
        let eligible = if may_end {
            self.bits
        } else {
            self.bits & !Self::CLOSED
        };
        if eligible == 0 {
            return None;
        }
        let bit = 1 << eligible.trailing_zeros();
        self.bits &= !bit;
        match bit {
            Self::CONNECTED => Some(Event::Connected),
            Self::READABLE => Some(Event::Readable),
            Self::WRITABLE => Some(Event::Writable),
            Self::PEER_CLOSED => Some(Event::PeerClosed),
            Self::URGENT => Some(Event::Urgent),
            _ => self.reason.map(Event::Closed),
        }
    }

    /// Whether nothing waits to be told.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Whether the end was told.
    pub(crate) const fn end_was_told(&self) -> bool {
        self.reason.is_some() && self.bits & Self::CLOSED == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_too_long_is_told_from_what_was_refused() {
        use CloseReason::*;
        for reason in [
            OpenTimedOut,
            TimedOut,
            KeepaliveTimedOut,
            UserTimedOut,
            LingerTimedOut,
        ] {
            assert!(reason.is_time_out(), "{reason:?}");
        }
        for reason in [
            Finished,
            Refused,
            ResetByPeer,
            Unreachable,
            NetworkUnreachable,
            Aborted,
        ] {
            assert!(!reason.is_time_out(), "{reason:?}");
        }
    }

    #[test]
    fn the_end_comes_once_and_last() {
        let mut pending = PendingEvents::default();
        pending.close(CloseReason::Finished);
        pending.add(PendingEvents::READABLE);
        pending.close(CloseReason::TimedOut);
        assert_eq!(
            pending.next(true),
            Some(Event::Readable),
            "what came before the end is told before it"
        );
        assert_eq!(pending.next(false), None, "the end waits while it must");
        assert_eq!(
            pending.next(true),
            Some(Event::Closed(CloseReason::Finished)),
            "the first reason stands"
        );
        pending.close(CloseReason::Aborted);
        assert_eq!(pending.next(true), None, "there is one end");
        assert!(pending.end_was_told(), "and it was told");
    }
}
