//! The states of a connection.

/// Where a connection stands (RFC 9293 section 3.3.2). LISTEN is not among
/// them: a listener is no connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum State {
    /// A SYN was sent, or is about to be.
    SynSent,
    /// SYNs crossed or a SYN came in; ours is not acknowledged yet.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// We have finished, and that is not acknowledged yet.
    FinWait1,
    /// We have finished, which is acknowledged; the peer has not.
    FinWait2,
    /// The peer has finished; we have not.
    CloseWait,
    /// Both have finished at once; ours is not acknowledged yet.
    Closing,
    /// The peer had finished, then we; ours is not acknowledged yet.
    LastAck,
    /// Both have finished; old segments are waited out.
    TimeWait,
    /// No connection any more.
    #[default]
    Closed,
}

impl State {
    /// Whether both initial sequence numbers are agreed on.
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::SynSent | Self::SynReceived | Self::Closed)
    }

    /// Whether data from the peer is still expected.
    pub(crate) const fn can_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether data, or our FIN, may be in flight or wait to be sent.
    pub(crate) const fn can_transmit(self) -> bool {
        matches!(
            self,
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck
        )
    }
}
