//! Linux' `struct tcp_info`, as bytes.
//!
//! What is not known is 0, as it is on a kernel that is too old for it. Units
//! are Linux': times in microseconds, windows of congestion in segments, buffers
//! in bytes.

use crore_base::{Duration, Instant};
use crore_stack::Stack;
use crore_tcp::{EcnMode, Recovery, Stats};

use super::socket::{Socket, TcpState};

/// Length of the structure, of Linux 6.7 and later.
pub const TCP_INFO_LEN: usize = 248;

// Where the fields are (include/uapi/linux/tcp.h).
const STATE: usize = 0;
const CA_STATE: usize = 1;
const RETRANSMITS: usize = 2;
const BACKOFF: usize = 4;
const OPTIONS: usize = 5;
const SCALES: usize = 6;
const APP_LIMITED: usize = 7;
const RTO: usize = 8;
const SND_MSS: usize = 16;
const RCV_MSS: usize = 20;
const UNACKED: usize = 24;
const SACKED: usize = 28;
const LOST: usize = 32;
const RETRANS: usize = 36;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
const PMTU: usize = 60;
const RTT: usize = 68;
const RTTVAR: usize = 72;
const SND_SSTHRESH: usize = 76;
const SND_CWND: usize = 80;
const ADVMSS: usize = 84;
const REORDERING: usize = 88;
const TOTAL_RETRANS: usize = 100;
const PACING_RATE: usize = 104;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
const NOTSENT_BYTES: usize = 144;
const MIN_RTT: usize = 148;
const DELIVERY_RATE: usize = 160;
const DELIVERED: usize = 192;
const DELIVERED_CE: usize = 196;
const DSACK_DUPS: usize = 216;
const REORD_SEEN: usize = 220;
const SND_WND: usize = 228;
const RCV_WND: usize = 232;
const TOTAL_RTO: usize = 240;

/// How many segments a packet may be overtaken by, as Linux begins.
const USUAL_REORDERING: u32 = 3;
/// Linux' threshold before anything was lost.
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// What `tcpi_ca_state` says.
const CA_OPEN: u8 = 0;
const CA_DISORDER: u8 = 1;
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;

/// Bits of `tcpi_options`.
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_ECN: u8 = 8;
const OPT_ECN_SEEN: u8 = 16;
const OPT_SYN_DATA: u8 = 32;

/// The structure for a socket, whatever it is.
pub(super) fn tcp_info(socket: &Socket, stack: &Stack, now: Instant) -> Vec<u8> {
    let mut out = vec![0; TCP_INFO_LEN];
    let state = socket.tcp_state(stack);
    out[STATE] = state as u8;
    let stats = socket.conn().and_then(|conn| stack.stats(conn));
    if state != TcpState::Close
        && let Some(stats) = stats
    {
        let since = |at: Instant| u32::try_from(now.since(at).as_millis()).unwrap_or(u32::MAX);
        put(&mut out, LAST_DATA_RECV, since(stats.received_at));
        put(&mut out, LAST_DATA_SENT, since(stats.sent_at));
        put(&mut out, LAST_ACK_RECV, since(stats.heard_at));
        fill(&mut out, &stats);
    }
    out
}

fn fill(out: &mut [u8], stats: &Stats) {
    let mss = u32::from(stats.mss).max(1);
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let words = [
        (RTO, micros(stats.rto)),
        (SND_MSS, mss),
        (RCV_MSS, mss),
        (UNACKED, stats.in_flight.div_ceil(mss)),
        (SACKED, stats.sacked.div_ceil(mss)),
        (LOST, stats.lost.div_ceil(mss)),
        (RETRANS, stats.resent.div_ceil(mss)),
        (PMTU, u32::from(stats.path_mtu)),
        (ADVMSS, u32::from(stats.receive_mss)),
        (DELIVERED, stats.delivered.div_ceil(mss)),
        (DELIVERED_CE, stats.ece_received),
        (DSACK_DUPS, stats.duplicates),
        (MIN_RTT, stats.min_rtt.map_or(u32::MAX, micros)),
        (REORD_SEEN, u32::from(stats.reordering_seen)),
        (RTT, stats.srtt.map_or(0, micros)),
        (RTTVAR, micros(stats.rttvar)),
        (SND_SSTHRESH, threshold(stats.ssthresh, mss)),
        (SND_CWND, stats.cwnd / mss),
        (REORDERING, USUAL_REORDERING),
        (TOTAL_RETRANS, stats.retransmits),
        (NOTSENT_BYTES, stats.unsent),
        (SND_WND, stats.send_window),
        (RCV_WND, stats.receive_window),
    ];
    for (at, value) in words {
        put(out, at, value);
    }
    let longs = [
        (BYTES_ACKED, u64::from(stats.acknowledged)),
        (BYTES_RECEIVED, u64::from(stats.received)),
        // Linux' word for no limit.
        (PACING_RATE, stats.pacing_rate.unwrap_or(u64::MAX)),
        (DELIVERY_RATE, stats.bbr.map_or(0, |bbr| bbr.delivery_rate)),
    ];
    for (at, value) in longs {
        out[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    let timeouts = u16::try_from(stats.timeouts).unwrap_or(u16::MAX);
    out[TOTAL_RTO..TOTAL_RTO + 2].copy_from_slice(&timeouts.to_ne_bytes());
    out[CA_STATE] = match stats.recovery {
        Recovery::Loss => CA_LOSS,
        Recovery::Fast => CA_RECOVERY,
        Recovery::None if stats.sacked > 0 => CA_DISORDER,
        Recovery::None => CA_OPEN,
    };
    out[RETRANSMITS] = stats.retries;
    out[BACKOFF] = stats.retries;
    // Two fields of four bits, the first one in the low ones on little-endian machines.
    if let Some((theirs, ours)) = stats.scales {
        out[SCALES] = if cfg!(target_endian = "little") {
            theirs & 15 | ours << 4
        } else {
            theirs << 4 | ours & 15
        };
    }
    out[APP_LIMITED] = u8::from(stats.bbr.is_some_and(|bbr| bbr.app_limited));
    let options = [
        (stats.timestamps, OPT_TIMESTAMPS),
        (stats.sack, OPT_SACK),
        (stats.scales.is_some(), OPT_WSCALE),
        (stats.ecn != EcnMode::Off, OPT_ECN),
        (stats.ce_received > 0, OPT_ECN_SEEN),
        (stats.syn_data, OPT_SYN_DATA),
    ];
    out[OPTIONS] = options
        .into_iter()
        .filter(|(is_on, _)| *is_on)
        .fold(0, |bits, (_, bit)| bits | bit);
}

fn put(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// In segments; one that was never set is Linux' infinity.
fn threshold(bytes: u32, mss: u32) -> u32 {
    if bytes >= INFINITE_SSTHRESH {
        INFINITE_SSTHRESH
    } else {
        bytes / mss
    }
}
