//! What a connection can say about itself.

use crore_base::{Duration, Instant};

use crate::{BbrStats, CongestionKind, EcnBytes, EcnMode, State};

/// A snapshot of one connection: what Linux' `struct tcp_info` tells, in bytes and
/// moments. A parked connection gives it without being woken, as it will go on
/// when it is: what its record does not keep (counts of what happened before, the
/// shortest round trip, when data went or came last) stands as at a beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Where it stands.
    pub state: State,
    /// Whether it is put away into its record; only who parks it can know.
    pub parked: bool,
    /// Smoothed round-trip time; none before the first measurement.
    pub srtt: Option<Duration>,
    /// How much it varies; zero before the first measurement.
    pub rttvar: Duration,
    /// The retransmission time-out as it stands, backed off.
    pub rto: Duration,
    /// Who says how large the congestion window is.
    pub congestion: CongestionKind,
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow start threshold in bytes.
    pub ssthresh: u32,
    /// Bytes of sequence space sent and not acknowledged.
    pub in_flight: u32,
    /// Bytes written by the application and not acknowledged.
    pub send_queued: u32,
    /// Those of them that were never sent.
    pub unsent: u32,
    /// The peer's window in bytes.
    pub send_window: u32,
    /// The window that this end has advertised, as far as it is unused, in bytes.
    pub receive_window: u32,
    /// Largest payload that is sent, in bytes, before SACK blocks.
    pub mss: u16,
    /// Largest segment that this end takes, in bytes without options, as its SYN said.
    pub receive_mss: u16,
    /// Segments sent again, for whatever reason.
    pub retransmits: u32,
    /// How often the retransmission timer ran out.
    pub timeouts: u32,
    /// How often fast recovery was entered.
    pub fast_recoveries: u32,
    /// Keepalive probes.
    pub keepalives: u32,
    /// What was agreed on about explicit congestion notification.
    pub ecn: EcnMode,
    /// Data segments that came marked: the network is congested towards here.
    pub ce_received: u32,
    /// Acknowledgments that told of marked segments of ours.
    pub ece_received: u32,
    /// Bytes that the peer says have come, by mark (accurate ECN's option).
    pub ecn_bytes: EcnBytes,
    /// Retransmissions and probes since the peer last showed that it lives.
    pub retries: u8,
    /// Bytes of the peer's that have come in order, modulo 2^32.
    pub received: u32,
    /// Bytes of ours that are acknowledged, modulo 2^32.
    pub acknowledged: u32,
    /// When an acceptable segment came last.
    pub heard_at: Instant,
    /// When data was sent last.
    pub sent_at: Instant,
    /// When data came last; of a connection without any, when it was made or woken.
    pub received_at: Instant,
    /// Whether timestamps are in use.
    pub timestamps: bool,
    /// Whether selective acknowledgments are.
    pub sack: bool,
    /// By how many bits the peer's windows and ours are scaled, if they are.
    pub scales: Option<(u8, u8)>,
    /// How the sender is placed towards loss.
    pub recovery: Recovery,
    /// Bytes in flight that the peer reports to have come.
    pub sacked: u32,
    /// Bytes that are taken for lost and were not sent again yet.
    pub lost: u32,
    /// Bytes in flight that were sent more than once.
    pub resent: u32,
    /// Bytes of ours that the peer has, as far as it has told, modulo 2^32.
    pub delivered: u32,
    /// Reports of something that came twice (RFC 2883).
    pub duplicates: u32,
    /// The largest packet that the path takes, in bytes, as far as is known.
    pub path_mtu: u16,
    /// Tail loss probes sent (RFC 8985).
    pub probes: u32,
    /// Recoveries and time-outs that turned out to be for nothing, and were undone.
    pub spurious: u32,
    /// Whether the path was seen to deliver out of order.
    pub reordering_seen: bool,
    /// For how long what is late is waited for before it counts as lost (RFC 8985).
    pub reordering_window: Duration,
    /// At how many bytes a second data leaves; none where it is not paced, or the
    /// round trip not known.
    pub pacing_rate: Option<u64>,
    /// The shortest round trip of late; none before the first measurement.
    pub min_rtt: Option<Duration>,
    /// Whether data came with a SYN, from either end, and was taken.
    pub syn_data: bool,
    /// What BBR knows of the path, where it is in use and data was sent.
    pub bbr: Option<BbrStats>,
    /// How much may wait to be acknowledged, in bytes.
    pub send_buffer: u32,
    /// How much may wait for the reader, in bytes.
    pub receive_buffer: u32,
    /// Memory pinned by data.
    pub buffered: Buffered,
}

/// How a sender is placed towards loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recovery {
    /// Nothing is thought lost.
    #[default]
    None,
    /// A loss was found out by acknowledgments, and is being repaired.
    Fast,
    /// All that was taken for lost is sent anew in slow start, mostly after a
    /// time-out.
    Loss,
}

/// Memory that a connection's data pins, in bytes: whole blocks and packet
/// buffers, not only the bytes in view.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buffered {
    /// Written by the application and not acknowledged.
    pub send: usize,
    /// Received in order and not read.
    pub receive: usize,
    /// Received out of order.
    pub reassembly: usize,
}
