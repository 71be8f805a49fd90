//! What an operator may choose, and what the path dictates.

use crore_base::{Duration, WindowScale};
use crore_wire::OptionOrder;

use crate::{Keepalive, MtuProbing};

use crate::EcnPolicy;

/// The smallest segment size that is ever used for sending, whatever a peer or
/// a router claims, in bytes: options may take 40 of it, and a peer that asks
/// for less wants our processor, not our data.
pub(crate) const MSS_FLOOR: u16 = 64;

/// The tunables of a connection; one set serves all connections of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes received in order that may wait for the application; bounds the
    /// advertised window. 0 is taken for 1. Default 262,144.
    pub receive_buffer: u32,
    /// As far as [`Self::receive_buffer`] grows, connection by connection, when the
    /// peer fills it within a round trip and the application keeps up; at most 64
    /// times as large, so that the scale of the window stays fine enough for its
    /// start. Not more than that: it does not grow. Default 0.
    pub receive_buffer_max: u32,
    /// Most bytes that the advertised window is to allow; what
    /// [`Self::receive_buffer`] has beyond it stays unused. Default 2^32 - 1: no
    /// bound of its own.
    pub window_clamp: u32,
    /// Bytes written by the application that may wait for acknowledgment. 0 is
    /// taken for 1. Default 262,144.
    pub send_buffer: u32,
    /// As far as [`Self::send_buffer`] grows, connection by connection, to twice the
    /// congestion window. Not more than that: it does not grow. Default 0.
    pub send_buffer_max: u32,
    /// Upper bound on the maximum segment size, in bytes, in both directions;
    /// 65,535 leaves it to the MTU. Less than 64 is taken for 64. Default 65,535.
    pub mss_max: u16,
    /// Whether to offer and use window scaling (RFC 7323). Default true.
    pub window_scaling: bool,
    /// The window scale that is offered; none: the least that the receive buffer
    /// needs. Default none.
    pub window_scale: Option<WindowScale>,
    /// In which order the options stand on a SYN. Default Linux's.
    pub syn_option_order: OptionOrder,
    /// Whether to offer and use timestamps (RFC 7323). Default true.
    pub timestamps: bool,
    /// Whether to offer and use selective acknowledgments (RFC 2018). Default true.
    pub sack: bool,
    /// Whether and how to use explicit congestion notification. Default: accepted
    /// where the peer offers it (RFC 3168).
    pub ecn: EcnPolicy,
    /// Whether small segments are sent at once (true), or held while earlier
    /// data is unacknowledged (Nagle's algorithm). Default true.
    pub nodelay: bool,
    /// Whether segments that are not full are held back, for 200 ms at most,
    /// whatever [`Self::nodelay`] says, for an application that has more to write.
    /// Default false.
    pub cork: bool,
    /// Initial congestion window in segments (RFC 6928), if they are not larger
    /// than 1460 bytes. 0 is taken for 1. Default 10.
    pub initial_window: u32,
    /// Retransmission time-out before the first round trip was measured
    /// (RFC 6298). Default 1 s.
    pub rto_initial: Duration,
    /// Lower bound of the retransmission time-out. Default 200 ms.
    pub rto_min: Duration,
    /// Upper bound of the retransmission time-out, backed off. Default 60 s.
    pub rto_max: Duration,
    /// How often a SYN or SYN-ACK is sent again before giving up. Default 6.
    pub syn_retries: u8,
    /// How often data (or a probe) is sent again without any answer before
    /// giving up: R2 of RFC 9293 section 3.8.3. Default 15.
    pub data_retries: u8,
    /// How often data is tried to be brought to the peer of a connection that the
    /// application has closed, even while the peer answers with a shut window.
    /// Default 8.
    pub orphan_retries: u8,
    /// How long a window may stay shut on data that waits, though the peer
    /// answers probes; none: for ever, as RFC 9293 section 3.8.6.1 asks. Default
    /// none.
    pub persist_timeout: Option<Duration>,
    /// How long a connection stays in TIME-WAIT. Default 60 s.
    pub time_wait: Duration,
    /// How long a connection that the application has closed stays in
    /// FIN-WAIT-2. Default 60 s.
    pub fin_wait_2: Duration,
    /// How long the acknowledgment of a lone segment may be held back. Zero
    /// acknowledges once at the end of every burst. Default zero.
    pub delayed_ack: Duration,
    /// How many separate pieces of out-of-order data a connection may hold, for
    /// each 256 KiB of its window: a piece is a segment, as a rule. Default 512.
    pub max_reassembly_chunks: u16,
    /// The congestion control algorithm. Default CUBIC.
    pub congestion: CongestionKind,
    /// Whether segments are spread over the round trip instead of leaving as soon
    /// as the window allows; with BBR they always are. Default false.
    pub pacing: bool,
    /// Whether and when a silent peer is probed (RFC 9293 section 3.8.4).
    /// Default off.
    pub keepalive: Keepalive,
    /// What is done about paths that swallow large packets without a word.
    /// Default [`MtuProbing::BlackHoles`].
    pub mtu_probing: MtuProbing,
    /// How long data, or a probe, may stay unacknowledged, or a window shut on
    /// data that waits, before the connection is given up (RFC 9293 section
    /// 3.9.1's user time-out); none leaves it to [`Self::data_retries`] and to the
    /// keepalive's count. Default none.
    pub user_timeout: Option<Duration>,
    /// The differentiated services codepoint of what is sent (RFC 2474), in the
    /// upper six bits; the other two are not looked at. Default 0.
    pub dscp: u8,
    /// How many hops what is sent may go; none leaves it to the host. Default none.
    pub hop_limit: Option<u8>,
    /// How long a close may take until what was written, and the FIN, are
    /// acknowledged; then the connection is reset. Zero resets at once, none gives
    /// it all the time that it needs. Default none.
    pub linger: Option<Duration>,
}

impl Config {
    pub(crate) const fn paces(&self) -> bool {
        self.pacing || matches!(self.congestion, CongestionKind::Bbr)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            receive_buffer: 256 * 1024,
            receive_buffer_max: 0,
            window_clamp: u32::MAX,
            send_buffer: 256 * 1024,
            send_buffer_max: 0,
            mss_max: u16::MAX,
            window_scaling: true,
            window_scale: None,
            syn_option_order: OptionOrder::Linux,
            timestamps: true,
            sack: true,
            ecn: EcnPolicy::Passive,
            nodelay: true,
            cork: false,
            initial_window: 10,
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(60),
            syn_retries: 6,
            data_retries: 15,
            orphan_retries: 8,
            persist_timeout: None,
            time_wait: Duration::from_secs(60),
            fin_wait_2: Duration::from_secs(60),
            delayed_ack: Duration::ZERO,
            max_reassembly_chunks: 512,
            congestion: CongestionKind::default(),
            pacing: false,
            keepalive: Keepalive::OFF,
            mtu_probing: MtuProbing::BlackHoles,
            user_timeout: None,
            dscp: 0,
            hop_limit: None,
            linger: None,
        }
    }
}

impl Config {
    /// The scale of the windows that this end offers, where windows are scaled.
    pub(crate) fn offered_scale(&self) -> WindowScale {
        self.window_scale.unwrap_or(WindowScale::for_window(
            self.receive_buffer.max(self.receive_buffer_most()),
        ))
    }
}

/// Which congestion control algorithm a connection runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CongestionKind {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// RFC 5681 with byte counting.
    NewReno,
    /// BBRv3 (draft-ietf-ccwg-bbr-06), which paces by itself.
    Bbr,
}

impl CongestionKind {
    /// Its name, as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
            Self::Bbr => "bbr",
        }
    }
}

/// What the way to the peer allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The largest TCP segment that this host can send and receive there, in
    /// bytes without TCP options: the MTU less the IP and the TCP header.
    pub mss: u16,
    /// The largest that is known to get there, as far as anybody has said: at
    /// most as large.
    pub send_mss: u16,
    /// Whether the path is IPv6; it decides what a silent peer's MSS is.
    pub ipv6: bool,
}

impl Path {
    /// An IPv4 path over links of `mtu` bytes.
    pub const fn ipv4(mtu: u16) -> Self {
        Self {
            mss: mtu.saturating_sub(40),
            send_mss: mtu.saturating_sub(40),
            ipv6: false,
        }
    }

    /// An IPv6 path over links of `mtu` bytes.
    pub const fn ipv6(mtu: u16) -> Self {
        Self {
            mss: mtu.saturating_sub(60),
            send_mss: mtu.saturating_sub(60),
            ipv6: true,
        }
    }

    /// The same path, of which it is known that packets of more than `mtu` bytes
    /// don't get to its end. What is received there may be larger.
    pub const fn bearing(mut self, mtu: u16) -> Self {
        let known = mtu.saturating_sub(if self.ipv6 { 60 } else { 40 });
        if known < self.send_mss {
            self.send_mss = known;
        }
        self
    }

    //= rfc9293#section-3.7.1 (MUST)
    // A peer that names no MSS is taken to receive 536 bytes over IPv4 and
    // 1,220 over IPv6.
    /// The MSS of a peer that names none.
    pub const fn default_mss(self) -> u16 {
        if self.ipv6 { 1220 } else { 536 }
    }
}
