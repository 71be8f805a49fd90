//! SYN-ACKs on their way out: a queue and a budget of their own, apart from data
//! and from the control plane, so that a flood of SYNs fills this and nothing else.
//!
//! Read first: DESIGN section 4 (separate budgets).
//!
//! Always true: at most [`QUEUE_MAX`] wait, in memory that was taken at the
//! start; a SYN that would be one too many is dropped before it costs anything.

use std::collections::VecDeque;

use crore_base::{FourTuple, Instant, MacAddr};
use crore_nic::{Nic, TxMeta};
use crore_tcp::HalfOpen;
use crore_wire::{ETHERNET_HEADER, IpEmit, Link, Segment, TxChecksum, emit_tcp, tcp_headers_len};

use crate::Stack;
use crate::profiles::ProfileId;

/// SYN-ACKs that wait for a transmit buffer: what two turns of the loop can
/// bring in bursts that hold nothing but SYNs, twice.
const QUEUE_MAX: usize = 256;

/// A SYN-ACK that is owed.
struct SynAck {
    to: MacAddr,
    tuple: FourTuple,
    segment: Segment,
    /// For its IP header.
    dscp: u8,
    hop_limit: u8,
}

/// Those that wait.
pub(crate) struct SynAckQueue(VecDeque<SynAck>);

impl SynAckQueue {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(QUEUE_MAX))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= QUEUE_MAX
    }
}

impl Stack {
    /// Owes the SYN-ACK of `half` to the station `to`. Whether there was room for it.
    pub(crate) fn owe_syn_ack(
        &mut self,
        now: Instant,
        tuple: &FourTuple,
        half: &HalfOpen,
        profile: ProfileId,
        to: MacAddr,
    ) -> bool {
        if self.syn_acks.is_full() {
            return false;
        }
        let path = self.path_to(tuple.remote_addr);
        let config = self.tcp.get(profile);
        let segment = Segment {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            ..half.syn_ack(config, now, self.isn.ts_offset(tuple), path)
        };
        self.syn_acks.0.push_back(SynAck {
            to,
            tuple: *tuple,
            segment,
            dscp: config.dscp,
            hop_limit: config.hop_limit.unwrap_or(self.config.hop_limit),
        });
        if half.grants() {
            self.grant_cookie(now, tuple);
        }
        true
    }

    /// The SYN-ACK that is owed last, to the client of `tuple`, brings a cookie.
    #[cold]
    fn grant_cookie(&mut self, now: Instant, tuple: &FourTuple) {
        let cookie = self.fast_open_cookie(now, tuple.remote_addr, tuple.local_addr);
        if let Some(owed) = self.syn_acks.0.back_mut() {
            let options = &mut owed.segment.options;
            options.fast_open = Some(cookie);
            // What it leaves of the header.
            let room = options.spare_len();
            options.accurate_ecn = options.accurate_ecn.and_then(|option| option.shortened(room));
            self.counters.fast_open_cookies += 1;
        }
    }

    /// Writes at most `most` of the SYN-ACKs that are owed; returns how many.
    pub(crate) fn transmit_syn_acks<N: Nic>(&mut self, nic: &mut N, most: usize) -> usize {
        let mut sent = 0;
        while sent < most
            && let Some(owed) = self.syn_acks.0.front()
        {
            let SynAck {
                to, tuple, segment, ..
            } = owed;
            let link = Link {
                src: self.mac,
                dst: *to,
            };
            let ip = IpEmit {
                src: tuple.local_addr,
                dst: tuple.remote_addr,
                hop_limit: owed.hop_limit,
                ecn: owed.dscp,
                ident: 0,
            };
            let Some(buf) = nic.reserve(tcp_headers_len(&ip, segment)) else {
                self.counters.tx_dry += 1;
                break;
            };
            let len = emit_tcp(buf, &link, &ip, segment, 0, TxChecksum::Software);
            let meta = TxMeta {
                l2_len: ETHERNET_HEADER as u8,
                ..TxMeta::default()
            };
            nic.commit(len, meta);
            self.counters.segments_out += 1;
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += len as u64;
            self.syn_acks.0.pop_front();
            sent += 1;
        }
        sent
    }
}
