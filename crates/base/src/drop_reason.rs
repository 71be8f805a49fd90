//! Why a packet was thrown away. Nothing is dropped without one of these.
//!
//! A packet's error is a counted reason, not a `Result` that travels nor a log
//! line: both would cost most when a flood comes.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why something that came from the wire, or was to go to it, was thrown away.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $variant,)* }

        impl DropReason {
            /// All of them, in order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name under which it is counted and reported (snake case, stable).
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than the headers it claims, or than Ethernet's.
    Truncated = "truncated",
    /// Not addressed to this station's Ethernet address.
    NotForThisStation = "not_for_this_station",
    /// An EtherType that nobody here speaks.
    UnknownEtherType = "unknown_ethertype",
    /// A header that contradicts itself (version, lengths).
    MalformedIp = "malformed_ip",
    /// The IPv4 header's checksum is wrong.
    BadIpChecksum = "bad_ip_checksum",
    /// An IP fragment where none are reassembled (`stack.fragment_budget_bytes` is 0).
    Fragment = "fragment",
    /// A fragment whose length or place makes no sense.
    MalformedFragment = "malformed_fragment",
    /// A fragment of a datagram that had come before, byte for byte.
    DuplicateFragment = "duplicate_fragment",
    /// A fragment of a datagram whose fragments overlap or contradict each other
    /// (RFC 5722); none of them counts.
    OverlappingFragment = "overlapping_fragment",
    /// A fragment that waited for the others in vain.
    FragmentTimedOut = "fragment_timed_out",
    /// A fragment that made room for newer ones, or of a sender that has too many waiting.
    FragmentBudget = "fragment_budget",
    /// An IPv4 packet with a source route (RFC 7126).
    SourceRoute = "source_route",
    /// An IPv6 option that is not known and forbids to go on.
    UnknownIpOption = "unknown_ip_option",
    /// An IPv6 header with a problem of which its sender is told.
    Ipv6HeaderProblem = "ipv6_header_problem",
    /// An IPv6 packet that says that it carries nothing.
    NoNextHeader = "no_next_header",
    /// Not addressed to any address of this host.
    NotOurAddress = "not_our_address",
    /// A source address that no host may use (multicast, broadcast, unspecified, our own).
    BadSourceAddress = "bad_source_address",
    /// An IP protocol that nobody here speaks.
    UnknownProtocol = "unknown_protocol",
    /// A TCP header that contradicts itself.
    MalformedTcp = "malformed_tcp",
    /// The TCP checksum is wrong.
    BadTcpChecksum = "bad_tcp_checksum",
    /// The TCP checksum is only the pseudo-header's: the peer left it to an
    /// offload that never happened (veth: `ethtool -K <peer> tx off`).
    PartialTcpChecksum = "partial_tcp_checksum",
    /// An ARP packet that contradicts itself or claims an impossible address.
    MalformedArp = "malformed_arp",
    /// An ICMP message that contradicts itself, or whose checksum is wrong.
    MalformedIcmp = "malformed_icmp",
    /// An ICMP message that asks for nothing that we do.
    UnhandledIcmp = "unhandled_icmp",
    /// An ICMP error that quotes nothing that is in flight on a connection (RFC 5927).
    IcmpNotInFlight = "icmp_not_in_flight",
    /// A neighbour message from an address that is not on the link.
    OffLinkNeighbor = "off_link_neighbor",
    /// No listener and no connection; a reset was owed for it.
    NoSuchConnection = "no_such_connection",
    /// A reset for an unknown connection, or such an owed one over its rate.
    ReplyRateLimited = "reply_rate_limited",
    /// The listener's backlog of handshakes is full.
    BacklogFull = "backlog_full",
    /// An acknowledgment of no SYN cookie that was sent from here of late.
    BadSynCookie = "bad_syn_cookie",
    /// The queue of SYN-ACKs that wait for a transmit buffer is full.
    HandshakeQueueFull = "handshake_queue_full",
    /// A handshake that gave its record to a peer that had shown that it is there.
    HandshakeEvicted = "handshake_evicted",
    /// No free connection slot.
    ConnectionsExhausted = "connections_exhausted",
    /// No free place among the active connections, and none of them idle.
    PoolExhausted = "pool_exhausted",
    /// A handshake that its peer, or who was taken for it, refused to go on with.
    HandshakeReset = "handshake_reset",
    /// A handshake whose SYN-ACK can't reach its peer, as a router or the peer says.
    HandshakeUnreachable = "handshake_unreachable",
    /// A handshake that nobody went on with.
    HandshakeTimedOut = "handshake_timed_out",
    /// The segment lies outside the receive window.
    OutOfWindow = "out_of_window",
    /// Every byte of it had been received before.
    Duplicate = "duplicate",
    /// The timestamp is older than the last one (PAWS, RFC 7323 section 5).
    PawsRejected = "paws_rejected",
    /// An acknowledgment of something that was never sent, or too old to be true.
    UnacceptableAck = "unacceptable_ack",
    /// A segment without ACK where the state demands one.
    MissingAck = "missing_ack",
    /// A reset that does not hit RCV.NXT (RFC 5961 section 3.2).
    ResetOutOfPlace = "reset_out_of_place",
    /// A SYN in a synchronised state (RFC 5961 section 4.2).
    SynInConnection = "syn_in_connection",
    /// Flags that make no sense together in this state.
    BadFlags = "bad_flags",
    /// A connection given up by its application while too many others were still
    /// parting from their peers; it was reset.
    TooManyOrphans = "too_many_orphans",
    /// Data that came after the application had closed.
    DataAfterClose = "data_after_close",
    /// Out-of-order data beyond the reassembly bound.
    ReassemblyFull = "reassembly_full",
    /// The budget for received data is used up.
    ReceiveBudget = "receive_budget",
    /// No transmit buffer for something that is not sent again by itself.
    TxBufferExhausted = "tx_buffer_exhausted",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The next hop did not answer to neighbour resolution.
    NeighborUnreachable = "neighbor_unreachable",
    /// The queue of packets that wait for control-plane replies is full.
    ControlQueueFull = "control_queue_full",
    /// A frame for another shard whose mailbox is full.
    ShardMailboxFull = "shard_mailbox_full",
    /// A frame in more pieces, or larger, than a buffer takes.
    FrameTooLarge = "frame_too_large",
}

/// One counter for each [`DropReason`].
#[derive(Clone, Debug)]
pub struct DropCounters([u64; DropReason::ALL.len()]);

impl DropCounters {
    /// All zero.
    pub const fn new() -> Self {
        Self([0; DropReason::ALL.len()])
    }

    /// Counts one drop.
    pub fn count(&mut self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Counts `n` drops for one reason.
    pub fn count_many(&mut self, reason: DropReason, n: u64) {
        self.0[reason as usize] = self.0[reason as usize].wrapping_add(n);
    }

    /// How often `reason` was counted.
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that were counted at least once, with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&r| (r, self.get(r)))
            .filter(|&(_, n)| n != 0)
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }
}

impl Default for DropCounters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_counter() {
        let mut counters = DropCounters::new();
        for (i, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, i, "ALL is in the order of the counters");
            assert!(
                DropReason::ALL[..i].iter().all(|r| r.name() != reason.name()),
                "{} is used twice",
                reason.name()
            );
            counters.count_many(reason, i as u64);
        }
        assert_eq!(
            counters.nonzero().count(),
            DropReason::ALL.len() - 1,
            "zero counts are left out"
        );
    }
}
