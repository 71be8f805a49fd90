//! Linux' `struct tcp_info`, as bytes.
//!
//! What is not known is 0, as it is on a kernel that is too old for it. Units
//! are Linux': times in microseconds, windows of congestion in segments, buffers
//! in bytes.

use crore_base::Duration;
use crore_stack::{ConnId, Stack};

use super::socket::{Socket, TcpState};

/// Length of the structure, of Linux 6.7 and later.
pub const TCP_INFO_LEN: usize = 248;

// Where the fields are (include/uapi/linux/tcp.h).
const STATE: usize = 0;
const CA_STATE: usize = 1;
const OPTIONS: usize = 5;
const RTO: usize = 8;
const SND_MSS: usize = 16;
const RCV_MSS: usize = 20;
const UNACKED: usize = 24;
const PMTU: usize = 60;
const RTT: usize = 68;
const SND_SSTHRESH: usize = 76;
const SND_CWND: usize = 80;
const ADVMSS: usize = 84;
const TOTAL_RETRANS: usize = 100;
const NOTSENT_BYTES: usize = 144;
const SND_WND: usize = 228;
const RCV_WND: usize = 232;
const TOTAL_RTO: usize = 240;

/// Linux' threshold before anything was lost.
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// The structure for a socket, whatever it is.
pub(super) fn tcp_info(socket: &Socket, stack: &Stack, mtu: u16) -> Vec<u8> {
    let mut out = vec![0; TCP_INFO_LEN];
    let state = socket.tcp_state(stack);
    out[STATE] = state as u8;
    if state != TcpState::Close
        && let Some(conn) = socket.conn()
    {
        fill(&mut out, stack, conn, mtu);
    }
    out
}

fn fill(out: &mut [u8], stack: &Stack, conn: ConnId, mtu: u16) {
    let Some(stats) = stack.stats(conn) else { return };
    let mss = u32::from(stats.mss).max(1);
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let headers = match stack.four_tuple(conn) {
        Some(tuple) if tuple.local_addr.is_ipv6() => 60,
        _ => 40,
    };
    let words = [
        (RTO, micros(stats.rto)),
        (SND_MSS, mss),
        (RCV_MSS, mss),
        (UNACKED, stats.in_flight.div_ceil(mss)),
        (PMTU, u32::from(mtu)),
        (RTT, stats.srtt.map_or(0, micros)),
        (SND_SSTHRESH, threshold(stats.ssthresh, mss)),
        (SND_CWND, stats.cwnd / mss),
        (ADVMSS, u32::from(mtu.saturating_sub(headers))),
        (TOTAL_RETRANS, stats.retransmits),
        (NOTSENT_BYTES, stats.unsent),
        (SND_WND, stats.send_window),
        (RCV_WND, stats.receive_window),
    ];
    for (at, value) in words {
        out[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let timeouts = u16::try_from(stats.timeouts).unwrap_or(u16::MAX);
    out[TOTAL_RTO..TOTAL_RTO + 2].copy_from_slice(&timeouts.to_ne_bytes());
    out[CA_STATE] = 0;
    out[OPTIONS] = 0;
}

/// In segments; one that was never set is Linux' infinity.
fn threshold(bytes: u32, mss: u32) -> u32 {
    if bytes >= INFINITE_SSTHRESH {
        INFINITE_SSTHRESH
    } else {
        bytes / mss
    }
}
