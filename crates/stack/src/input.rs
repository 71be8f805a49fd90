//! A burst of received frames, taken apart and handed to whom they are for.
//!
//! Read first: DESIGN section 3 ("One received packet"), RFC 9293 section 3.10.7.
//!
//! The burst is walked in passes (parse all; hash and prefetch the flow table's
//! bucket for all; prefetch the records for all, then their places in the pool;
//! then look up and process each) so that the cache misses of different packets
//! overlap instead of queueing up.

use core::net::IpAddr;
use core::ops::Range;

use crore_base::{DropReason, FourTuple, Instant, MacAddr, SeqNum};
use crore_netbuf::Chunk;
use crore_nic::RxFrame;
use crore_tcp::{Disposition, reset_for};
use crore_wire::{Frame, IpInfo, Link, Packet, Segment, parse, parse_plain};

use crate::runs;
use crate::{CloseReason, Event, Stack};

/// A TCP segment of the burst between its passes.
pub(crate) struct Pending {
    pub(crate) tuple: FourTuple,
    /// Of the tuple; set in the second pass, as the next one is in the third.
    pub(crate) hash: u32,
    /// The slot that the flow table's first bucket suggests; not compared yet.
    pub(crate) candidate: Option<u32>,
    pub(crate) segment: Segment,
    /// The sender on this link, for answers that keep no state.
    pub(crate) src_mac: MacAddr,
    /// The frame as it came, until the payload is taken.
    frame: Chunk,
    /// Where the payload lies in the frame.
    pub(crate) payload: Range<usize>,
    /// It goes on where the one before it ends (`runs.rs`).
    pub(crate) follows: bool,
}

impl Pending {
    /// Memory that its payload may pin, in bytes, with the bookkeeping.
    pub(crate) fn footprint(&self) -> usize {
        const ENTRY: usize = 64;
        self.frame.footprint() + ENTRY
    }

    /// The payload, as it lies in the packet buffer; or a copy of it where
    /// those are scarce.
    #[inline(always)]
    pub(crate) fn take_payload(&mut self, scarce: bool) -> Chunk {
        if self.payload.is_empty() {
            Chunk::empty()
        } else if scarce && self.frame.is_external() {
            self.copy_payload()
        } else {
            core::mem::take(&mut self.frame).into_slice(self.payload.clone())
        }
    }

    #[cold]
    fn copy_payload(&self) -> Chunk {
        Chunk::copy_from(&self.frame[self.payload.clone()])
    }
}

/// Room for one burst, kept between bursts.
#[derive(Default)]
pub(crate) struct Scratch {
    tcp: Vec<Pending>,
}

impl Stack {
    /// Takes in a burst of received frames. Nothing is sent yet: what is owed
    /// is recorded, and [`Stack::poll_transmit`] draws it once at the end.
    pub fn on_burst(&mut self, now: Instant, frames: &mut Vec<RxFrame>) {
        self.memory.weigh();
        let mut scratch = core::mem::take(&mut self.scratch);
        for frame in frames.drain(..) {
            self.counters.rx_frames += 1;
            self.counters.rx_bytes += frame.data.len() as u64;
            let sorted = match parse_plain(&frame.data, frame.checksum) {
                Some(plain) => {
                    let addresses = (IpAddr::V4(plain.src), IpAddr::V4(plain.dst));
                    let macs = (plain.src_mac, plain.dst_mac);
                    let payload = plain.payload.0..plain.payload.1;
                    self.put_aside(
                        macs,
                        addresses,
                        plain.segment,
                        frame.data,
                        payload,
                        &mut scratch.tcp,
                    )
                }
                None => self.sort(now, frame, &mut scratch.tcp),
            };
            if let Err(reason) = sorted {
                self.counters.drops.count(reason);
            }
        }
        if self.config.gro {
            runs::find(&mut scratch.tcp);
        }
        for pending in scratch.tcp.iter_mut().filter(|pending| !pending.follows) {
            pending.hash = self.hasher.hash(&pending.tuple);
            self.flows.prefetch(pending.hash);
        }
        for pending in scratch.tcp.iter_mut().filter(|pending| !pending.follows) {
            pending.candidate = self.flows.candidate(pending.hash);
            if let Some(slot) = pending.candidate {
                self.slots.prefetch(slot);
            }
        }
        for pending in &scratch.tcp {
            if let Some(index) = pending.candidate.and_then(|slot| self.slots.active_index(slot)) {
                self.slots.pool.prefetch(index);
            }
        }
        let mut rest = scratch.tcp.as_mut_slice();
        while let Some((pending, behind)) = rest.split_first_mut() {
            rest = if behind.first().is_some_and(|next| next.follows) {
                self.on_run(now, pending, behind)
            } else {
                self.on_pending(now, pending);
                behind
            };
        }
        scratch.tcp.clear();
        self.scratch = scratch;
        self.wake_waiting(now);
    }

    /// Takes in what another shard has received and answers, for what can be
    /// learnt from it: who has which Ethernet address.
    pub fn on_overheard(&mut self, now: Instant, frames: &mut Vec<RxFrame>) {
        self.overhearing = true;
        self.on_burst(now, frames);
        self.overhearing = false;
    }

    /// Deals with everything but TCP at once, and puts TCP aside for the next passes.
    #[inline(never)]
    fn sort(&mut self, now: Instant, frame: RxFrame, tcp: &mut Vec<Pending>) -> Result<(), DropReason> {
        match parse(&frame.data, frame.checksum) {
            Ok(parsed) => self.sort_parsed(now, parsed, frame.data, tcp),
            Err(reason) => Err(reason),
        }
    }

    /// The same for a frame that is taken apart.
    // Inlined, as what takes it apart is: a frame is large, and would be copied from
    // one to the other.
    #[inline(always)]
    pub(crate) fn sort_parsed(
        &mut self,
        now: Instant,
        parsed: Frame,
        data: Chunk,
        tcp: &mut Vec<Pending>,
    ) -> Result<(), DropReason> {
        let Frame {
            src_mac,
            dst_mac,
            packet,
        } = parsed;
        match packet {
            Packet::Tcp { ip, segment, payload } => {
                let (macs, addresses) = ((src_mac, dst_mac), (ip.src, ip.dst));
                self.put_aside(macs, addresses, segment, data, payload, tcp)
            }
            Packet::Fragment(fragment) => self.on_fragment(now, (src_mac, dst_mac), &fragment, &data, tcp),
            other => {
                self.check_macs(src_mac, dst_mac)?;
                self.on_control(now, src_mac, other, &data)
            }
        }
    }

    #[inline(always)]
    pub(crate) fn check_macs(&self, src: MacAddr, dst: MacAddr) -> Result<(), DropReason> {
        if dst != self.mac && !dst.is_multicast() {
            return Err(DropReason::NotForThisStation);
        }
        if src.is_multicast() {
            return Err(DropReason::BadSourceAddress);
        }
        Ok(())
    }

    /// Puts a TCP segment aside for the next passes, if it can be for this host.
    /// Macs and addresses are pairs of source and destination.
    #[inline(always)]
    fn put_aside(
        &mut self,
        (src_mac, dst_mac): (MacAddr, MacAddr),
        (src, dst): (IpAddr, IpAddr),
        segment: Segment,
        data: Chunk,
        payload: Range<usize>,
        tcp: &mut Vec<Pending>,
    ) -> Result<(), DropReason> {
        self.check_macs(src_mac, dst_mac)?;
        //= rfc9293#section-3.9.2.3 (MUST)
        // A segment to or from a broadcast or multicast address is dropped in silence.
        if dst_mac.is_multicast() || !self.routes.is_ours(dst) {
            return Err(DropReason::NotOurAddress);
        }
        check_addresses(src, dst)?;
        let tuple = FourTuple {
            local_addr: dst,
            local_port: segment.dst_port,
            remote_addr: src,
            remote_port: segment.src_port,
        };
        self.counters.segments_in += 1;
        tcp.push(Pending {
            tuple,
            hash: 0,
            candidate: None,
            segment,
            src_mac,
            frame: data,
            payload,
            follows: false,
        });
        Ok(())
    }

    pub(crate) fn check_source(&self, ip: &IpInfo) -> Result<(), DropReason> {
        check_addresses(ip.src, ip.dst)
    }

    /// Takes one segment in for itself. Inlined, as what it calls: nearly all segments
    /// pass here.
    #[inline(always)]
    pub(crate) fn on_pending(&mut self, now: Instant, pending: &mut Pending) {
        if let Err(reason) = self.on_tcp(now, pending) {
            self.counters.drops.count(reason);
        }
    }

    #[inline(always)]
    fn on_tcp(&mut self, now: Instant, pending: &mut Pending) -> Result<(), DropReason> {
        let same = |slot: &u32| self.slots.is_of(*slot, &pending.tuple);
        let found = match pending.candidate.filter(same) {
            Some(slot) => Some(slot),
            // An earlier segment of the burst may have put it there just now.
            None => self.flows.find(pending.hash, |slot| same(&slot)),
        };
        let Some(slot) = found else {
            return self.on_miss(now, pending, None);
        };
        if pending.segment.flags.has_syn()
            && let Some(iss_above) = self.reopens(now, slot, &pending.segment)
        {
            return self.on_reopen(now, slot, pending, iss_above);
        }
        match self.activate(now, slot) {
            Some(index) => self.on_active(now, index, pending),
            None => match self.slots.record(slot).and_then(|record| record.half_open()) {
                Some(half) => self.on_half_open(now, slot, &half, pending),
                None => Err(DropReason::PoolExhausted),
            },
        }
    }

    /// A segment for the connection at `index` of the pool.
    #[inline]
    pub(crate) fn on_active(
        &mut self,
        now: Instant,
        index: u32,
        pending: &mut Pending,
    ) -> Result<(), DropReason> {
        let Some(active) = self.slots.pool.get_mut(index) else {
            return Ok(());
        };
        let payload = pending.take_payload(self.memory.packets_are_low());
        let had_payload = !payload.is_empty();
        // Over the budget, those pay whose applications have left data lying;
        // a connection that holds nothing goes on, so that the slow ones can't
        // starve the others. Beyond the budget goes one segment a connection, and
        // what lets its application have what waits behind a hole: if holes could use
        // the budget up, nothing would ever fill them.
        if had_payload
            && self.memory.is_received_full()
            && active.charged > 0
            && !active.conn.unblocks(&pending.segment)
        {
            return Err(DropReason::ReceiveBudget);
        }
        if pending.segment.flags.has_rst() {
            self.counters.resets_in += 1;
        }
        let before = active.conn.snd_una();
        match active.conn.on_segment(now, &pending.segment, payload) {
            Disposition::Accepted => {
                let acked = active.conn.snd_una() != before;
                active.heard |= acked;
                if acked || had_payload || pending.segment.flags.has_fin() {
                    active.moved(now);
                }
                if had_payload || active.charged > 0 {
                    active.settle(&mut self.memory);
                }
                if acked && active.charged_written > 0 {
                    active.settle_written(&mut self.memory);
                }
                active.list(index, &mut self.ready, &mut self.events);
                Ok(())
            }
            Disposition::Dropped(reason) => {
                self.touch(index);
                Err(reason)
            }
            Disposition::Reopen { iss_above } => {
                let slot = active.slot;
                self.on_reopen(now, slot, pending, iss_above)
            }
        }
    }

    //= rfc6191#section-2 (SHOULD)
    // A SYN that is surely newer than the connection in TIME-WAIT ends it and
    // starts the next one, with a sequence number above the old ones; but only
    // where somebody listens, and nobody has yet to read what the old one brought:
    // else anybody who knows the ports could end a wait, or take bytes away.
    fn on_reopen(
        &mut self,
        now: Instant,
        slot: u32,
        pending: &mut Pending,
        iss_above: SeqNum,
    ) -> Result<(), DropReason> {
        let FourTuple {
            local_addr,
            local_port,
            ..
        } = pending.tuple;
        let listened = self.listeners.find(local_addr, local_port).is_some();
        let active = self
            .slots
            .active_index(slot)
            .and_then(|index| self.slots.pool.get(index));
        if !listened || active.is_some_and(|active| active.conn.readable() > 0) {
            return Err(DropReason::SynInConnection);
        }
        if self.syn_acks.is_full() {
            return Err(DropReason::HandshakeQueueFull);
        }
        if let Some(record) = self.slots.record(slot)
            && record.is_held()
        {
            self.ended.push_back(Event::Closed {
                conn: self.slots.id(slot),
                reason: CloseReason::Finished,
                user: record.user,
            });
        }
        self.delete(slot);
        self.on_miss(now, pending, Some(iss_above))
    }

    /// A segment for no connection: a SYN for a listener, or a case for a reset.
    fn on_miss(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        iss_above: Option<SeqNum>,
    ) -> Result<(), DropReason> {
        let flags = pending.segment.flags;
        //= rfc9293#section-3.10.7.2 (MUST)
        // LISTEN: a RST is ignored, an ACK earns a RST, a SYN begins a handshake.
        if flags.has_rst() {
            return Err(DropReason::NoSuchConnection);
        }
        let FourTuple {
            local_addr,
            local_port,
            ..
        } = pending.tuple;
        if let Some(listener) = self.listeners.find(local_addr, local_port) {
            match (flags.has_syn(), flags.has_ack()) {
                (true, false) => return self.on_syn(now, pending, listener, iss_above),
                (false, true) if self.cookies.are_out(now) => return self.on_cookie(now, pending, listener),
                // What asks for nothing and answers nothing is dropped.
                (false, false) => return Err(DropReason::NoSuchConnection),
                (_, true) => {}
            }
        }
        self.on_stray(now, pending, DropReason::NoSuchConnection)
    }

    /// A segment that hits nothing, or answers nothing that was sent: a reset
    /// for its sender, within a limit.
    pub(crate) fn on_stray(
        &mut self,
        now: Instant,
        pending: &Pending,
        reason: DropReason,
    ) -> Result<(), DropReason> {
        if self.owe_reset(now, pending) {
            Err(reason)
        } else {
            Err(DropReason::ReplyRateLimited)
        }
    }

    /// Owes a reset for a segment, if there is to be one; whether the limit allowed it.
    pub(crate) fn owe_reset(&mut self, now: Instant, pending: &Pending) -> bool {
        if !self.reset_limit.allow(now, pending.tuple.remote_addr) {
            return false;
        }
        if let Some(reset) = reset_for(&pending.segment, pending.payload.len()) {
            let link = Link {
                src: self.mac,
                dst: pending.src_mac,
            };
            self.control
                .segment(&link, &pending.tuple, &reset, self.config.hop_limit);
            self.counters.resets_out += 1;
        }
        true
    }
}

//= rfc1122#section-3.2.1.3 (MUST)
// No host has a multicast, broadcast or unspecified address, and none but this one has ours.
#[inline(always)]
fn check_addresses(src: IpAddr, dst: IpAddr) -> Result<(), DropReason> {
    let impossible = match src {
        IpAddr::V4(a) => a.is_multicast() || a.is_broadcast() || a.is_unspecified() || a.is_loopback(),
        IpAddr::V6(a) => a.is_multicast() || a.is_unspecified() || a.is_loopback(),
    };
    if impossible || src == dst {
        Err(DropReason::BadSourceAddress)
    } else {
        Ok(())
    }
}
