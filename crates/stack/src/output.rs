//! Frames put together and handed to the NIC, at the end of a burst.
//!
//! Read first: DESIGN section 3 ("One sent byte").
//!
//! Always true: a connection's state moves on only after a buffer was had, so a
//! dry pool or a full ring loses nothing; each connection sends at most
//! [`QUOTA`] segments before the others have had their turn; data, handshakes
//! and the control plane each have a budget of their own.

use crore_base::{DropReason, Instant};
use crore_nic::{Nic, TxMeta};
use crore_tcp::Unreachable;
use crore_wire::{ETHERNET_HEADER, IpEmit, Link, TxChecksum, emit_tcp, tcp_headers_len};

use crate::Stack;
use crate::cut::Cut;
use crate::neighbor::Resolution;

/// Segments that one connection sends in a row.
const QUOTA: usize = 64;
/// Segments that one call sends at most, so that reception comes round again.
const TURN: usize = 256;

/// Where there are too few buffers for all, data has them but for one handshake
/// reply and one control frame for so many frames of it: it keeps nobody from
/// connecting or from being resolved, and a flood takes no more than that from it.
const SHARE: usize = 8;
/// Data frames for which a share may be outstanding, at most.
const SHARED: usize = 8 * SHARE;
/// Handshake replies, and as many control frames, that one call sends after the
/// data: twice what a turn brings in, so that those that wait get fewer, and the
/// turn does not get long.
const AFTER: usize = 128;

/// How far a connection's transmission got.
enum Sent {
    /// It has nothing more to send now.
    All,
    /// Its quota is used up.
    Quota,
    /// There was no buffer.
    Dry,
    /// Its next hop has to be resolved first.
    AwaitsNeighbor,
}

impl Stack {
    /// Writes what there is to send into the NIC's buffers and flushes them;
    /// returns how many frames that were. What finds no buffer stays owed.
    pub fn poll_transmit<N: Nic>(&mut self, now: Instant, nic: &mut N) -> usize {
        self.memory.weigh();
        self.grant_wishes(now);
        let share = self.unshared / SHARE;
        let first = self.transmit_control(now, nic, share) + self.transmit_syn_acks(nic, share);
        let data = self.transmit_ready(now, nic);
        self.unshared = (self.unshared % SHARE + data).min(SHARED);
        let after = self.transmit_control(now, nic, AFTER) + self.transmit_syn_acks(nic, AFTER);
        nic.flush(now);
        first + data + after
    }

    /// Writes what connections have to send; returns how many frames.
    fn transmit_ready<N: Nic>(&mut self, now: Instant, nic: &mut N) -> usize {
        let mut sent = 0;
        // Each of those that are ready now gets one turn; those that become
        // ready, or stay so, meanwhile come after them or in the next call.
        for _ in 0..self.ready.len() {
            if sent >= TURN {
                break;
            }
            let Some(index) = self.ready.pop_front() else {
                break;
            };
            let (frames, outcome) = self.transmit_active(now, index, nic);
            sent += frames;
            // What is left to do for the last one needn't keep its frames waiting.
            if frames > 0 && self.ready.is_empty() {
                nic.flush(now);
            }
            let again = match outcome {
                Sent::All | Sent::AwaitsNeighbor => false,
                Sent::Quota => true,
                Sent::Dry => {
                    self.counters.tx_dry += 1;
                    self.ready.push_front(index);
                    break;
                }
            };
            self.after_turn(index, again);
        }
        sent
    }

    /// The end of a connection's turn: back to the list, timer armed, or deleted.
    fn after_turn(&mut self, index: u32, again: bool) {
        if again {
            self.ready.push_back(index);
            return;
        }
        let Some(active) = self.slots.pool.get_mut(index) else {
            return;
        };
        active.ready = false;
        let is_usual = active.conn.is_in_use() && !active.fast_opening;
        if is_usual || self.outlives_turn(index) {
            self.rearm(index);
            self.park_if_due(index);
        }
    }

    /// The rest of the turn of a connection that is over, was given back by its
    /// application, or took data before its handshake ended; false if it is deleted.
    #[inline(never)]
    fn outlives_turn(&mut self, index: u32) -> bool {
        let Some(active) = self.slots.pool.get(index) else {
            return false;
        };
        let (slot, fast_opening) = (active.slot, active.fast_opening);
        if active.conn.is_closed() && self.slots.record(slot).is_some_and(|r| r.is_released()) {
            self.delete(slot);
            return false;
        }
        if fast_opening {
            self.settle_fast_open(self.clock, index);
        }
        self.count_orphan(index);
        true
    }

    fn transmit_active<N: Nic>(&mut self, now: Instant, index: u32, nic: &mut N) -> (usize, Sent) {
        let Some(active) = self.slots.pool.get_mut(index) else {
            return (0, Sent::All);
        };
        if core::mem::take(&mut active.heard) {
            self.neighbors.confirm(now, active.neighbor);
        }
        let mut frames = 0;
        let mut link = None;
        while frames < QUOTA {
            // The plan stays where it was written: it is too large to be moved about.
            let mut plan = active.conn.plan_transmit(now);
            let Some(plan) = &mut plan else {
                return (frames, Sent::All);
            };
            let link = match link {
                Some(link) => link,
                None => match self.neighbors.resolve(now, active.next_hop, &mut active.neighbor) {
                    Resolution::Known(mac) => *link.insert(Link {
                        src: self.mac,
                        dst: mac,
                    }),
                    // The last word of a connection that is over, a reset, waits as all
                    // do: a place in the pool for as long as a resolution takes.
                    Resolution::Pending => {
                        if !core::mem::replace(&mut active.awaits_neighbor, true) {
                            self.neighbors.wait(active.neighbor, index);
                        }
                        return (frames, Sent::AwaitsNeighbor);
                    }
                    // To the connection it is a lost segment, so that its timers
                    // and its limits go on as for any other.
                    Resolution::Unreachable => {
                        active.conn.commit_transmit(now, plan);
                        self.counters.drops.count(DropReason::NeighborUnreachable);
                        frames += 1;
                        continue;
                    }
                },
            };
            plan.segment.src_port = active.tuple.local_port;
            plan.segment.dst_port = active.tuple.remote_port;
            //= rfc9293#section-3.9.1.9 (MUST)
            // The application says how its segments are to be treated on their way,
            // and may change its mind.
            //= rfc9293#section-3.9.2 (MUST)
            // How far they may go is configured: for the host, and for a connection.
            let (dscp, hop_limit) = active.conn.marking();
            let ip = IpEmit {
                src: active.tuple.local_addr,
                dst: active.tuple.remote_addr,
                hop_limit: hop_limit.unwrap_or(self.config.hop_limit),
                ecn: plan.segment.ecn.bits() | dscp,
                ident: self.ip_ident,
            };
            if self.tso || self.config.gso {
                active.conn.enlarge(now, plan, (QUOTA - frames) as u16);
                if plan.segment_len != 0 {
                    let cut = Cut {
                        link: &link,
                        ip: &ip,
                        checksum: self.tx_checksum,
                        tso: self.tso,
                    };
                    let written = cut.send(nic, &active.conn, plan);
                    if written.count == 0 {
                        return (frames, Sent::Dry);
                    }
                    active.conn.commit_transmit(now, plan);
                    self.ip_ident = self.ip_ident.wrapping_add(written.count);
                    self.counters.on_cut(&written);
                    frames += usize::from(written.count);
                    continue;
                }
            }
            let payload_len = usize::from(plan.payload_len);
            let headers = tcp_headers_len(&ip, &plan.segment);
            let Some(buf) = nic.reserve(headers + payload_len) else {
                return (frames, Sent::Dry);
            };
            active
                .conn
                .copy_payload(plan, &mut buf[headers..headers + payload_len]);
            let len = emit_tcp(buf, &link, &ip, &plan.segment, payload_len, self.tx_checksum);
            let l3_len = ip.header_len();
            let meta = TxMeta {
                l2_len: ETHERNET_HEADER as u8,
                l3_len: l3_len as u16,
                l4_len: (headers - ETHERNET_HEADER - l3_len) as u8,
                ipv6: ip.dst.is_ipv6(),
                offload_checksum: !matches!(self.tx_checksum, TxChecksum::Software),
                segment_len: 0,
            };
            nic.commit(len, meta);
            active.conn.commit_transmit(now, plan);
            self.ip_ident = self.ip_ident.wrapping_add(1);
            self.counters.segments_out += 1;
            self.counters.resets_out += u64::from(plan.segment.flags.has_rst());
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += len as u64;
            frames += 1;
        }
        (frames, Sent::Quota)
    }

    /// Puts the connections that waited for a neighbour back on the ready list.
    pub(crate) fn wake_waiting(&mut self, now: Instant) {
        if self.wakeups.resolved.is_empty() && self.wakeups.unreachable.is_empty() {
            return;
        }
        let mut wake = core::mem::take(&mut self.wakeups);
        for index in wake.resolved.drain(..) {
            if let Some(active) = self.slots.pool.get_mut(index) {
                active.awaits_neighbor = false;
            }
            self.mark_ready(index);
        }
        for (next_hop, index) in wake.unreachable.drain(..) {
            let Some(active) = self.slots.pool.get_mut(index) else {
                continue;
            };
            if !active.awaits_neighbor || active.next_hop != next_hop {
                continue;
            }
            active.awaits_neighbor = false;
            // Nobody answered for the next hop, which is final for an open that
            // has not got through, and a loss for the others.
            active.conn.on_unreachable(now, Unreachable::Host, true);
            self.counters.drops.count(DropReason::NeighborUnreachable);
            self.touch(index);
        }
        self.wakeups = wake;
    }
}
