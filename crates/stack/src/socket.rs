//! The application's calls.

use core::net::{IpAddr, SocketAddr};

use crore_base::{FourTuple, Instant};
use crore_netbuf::Chunk;
use crore_tcp::{Connection, Path, Read, State, WriteError};

use crate::slots::Slot;
use crate::{CloseReason, ConnId, ConnectError, Event, ListenError, ListenerId, SocketError, Stack};

impl Stack {
    /// Listens on `addr`; an unspecified address (`0.0.0.0`, `::`) stands for
    /// all of this host's addresses of that family. `backlog` bounds the
    /// handshakes that may be under way at once; a SYN beyond it is dropped.
    pub fn listen(&mut self, addr: SocketAddr, backlog: u32) -> Result<ListenerId, ListenError> {
        if !addr.ip().is_unspecified() && !self.routes.is_ours(addr.ip()) {
            return Err(ListenError::NotOurAddress);
        }
        self.listeners.add(addr, backlog)
    }

    /// Stops listening; connections that it got go on. Whether it existed.
    pub fn unlisten(&mut self, listener: ListenerId) -> bool {
        self.listeners.remove(listener)
    }

    /// Opens a connection to `remote`, from `local` or from the address that
    /// fits best. [`Event::Opened`] or [`Event::Closed`] follows.
    pub fn connect(
        &mut self,
        now: Instant,
        local: Option<IpAddr>,
        remote: SocketAddr,
    ) -> Result<ConnId, ConnectError> {
        let local_addr = self.check_destination(local, remote)?;
        let Self {
            ports,
            listeners,
            flows,
            slots,
            hasher,
            ..
        } = self;
        let tuple_from = |local_port| FourTuple {
            local_addr,
            local_port,
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        };
        let is_free = |port| {
            let tuple = tuple_from(port);
            let same = |slot| slots.get(slot).is_some_and(|s: &Slot| s.tuple == tuple);
            !listeners.uses_port(port) && flows.find(hasher.hash(&tuple), same).is_none()
        };
        let port = ports
            .pick(local_addr, remote, is_free)
            .ok_or(ConnectError::PortsExhausted)?;
        self.open(now, tuple_from(port))
    }

    /// Opens a connection from just this `local` address and port.
    pub fn connect_from(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnId, ConnectError> {
        let local_addr = self.check_destination(Some(local.ip()), remote)?;
        let tuple = FourTuple {
            local_addr,
            local_port: local.port(),
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        };
        if self.find(&tuple).is_some() || local.port() == 0 {
            return Err(ConnectError::InUse);
        }
        self.open(now, tuple)
    }

    /// The address that a connection to `remote` comes from, if there can be one.
    fn check_destination(&self, local: Option<IpAddr>, remote: SocketAddr) -> Result<IpAddr, ConnectError> {
        let ip = remote.ip();
        let broadcast = matches!(ip, IpAddr::V4(a) if a.is_broadcast());
        if remote.port() == 0
            || ip.is_multicast()
            || ip.is_unspecified()
            || broadcast
            || self.routes.is_ours(ip)
        {
            return Err(ConnectError::BadDestination);
        }
        if self.slots.is_full() {
            return Err(ConnectError::Exhausted);
        }
        let local = local
            .or_else(|| self.routes.source_for(ip))
            .ok_or(ConnectError::NoLocalAddress)?;
        if local.is_ipv4() != ip.is_ipv4() || !self.routes.is_ours(local) {
            return Err(ConnectError::NoLocalAddress);
        }
        Ok(local)
    }

    fn open(&mut self, now: Instant, tuple: FourTuple) -> Result<ConnId, ConnectError> {
        let next_hop = self
            .routes
            .next_hop(tuple.remote_addr)
            .ok_or(ConnectError::NoRoute)?;
        let iss = self.isn.iss(now, &tuple);
        let ts_offset = self.isn.ts_offset(&tuple);
        let path = self.path_to(tuple.remote_addr);
        let conn = Connection::open_active(self.tcp.clone(), now, iss, ts_offset, path);
        let index = self.add_slot(now, conn, tuple, next_hop, None);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.known_to_app = true;
        }
        Ok(self.slots.id(index))
    }

    pub(crate) fn add_slot(
        &mut self,
        now: Instant,
        conn: Connection,
        tuple: FourTuple,
        next_hop: IpAddr,
        listener: Option<ListenerId>,
    ) -> u32 {
        let hash = self.hasher.hash(&tuple);
        let index = self.slots.insert(Slot {
            conn,
            tuple,
            hash,
            next_hop,
            neighbor: None,
            user: 0,
            listener,
            half_open: listener.is_some(),
            known_to_app: false,
            released: false,
            ready: false,
            has_events: false,
            awaits_neighbor: false,
            heard: false,
            moved_at: now,
            charged: 0,
        });
        self.flows.insert(hash, index);
        self.counters.connections_peak = self.counters.connections_peak.max(self.slots.len() as u64);
        self.touch(index);
        index
    }

    /// The slot of the connection that `tuple` names.
    pub(crate) fn find(&self, tuple: &FourTuple) -> Option<u32> {
        let same = |index| self.slots.get(index).is_some_and(|slot| slot.tuple == *tuple);
        self.flows.find(self.hasher.hash(tuple), same)
    }

    /// What fits into one segment to `remote` by this port's MTU.
    //= rfc9293#section-3.7.1 (MUST)
    // The MSS is the MTU less the fixed IP and TCP headers, options not counted (RFC 6691).
    pub(crate) fn path_to(&self, remote: IpAddr) -> Path {
        if remote.is_ipv4() {
            Path::ipv4(self.mtu)
        } else {
            Path::ipv6(self.mtu)
        }
    }

    /// The next thing that the application should know, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.ended.pop_front() {
            return Some(event);
        }
        while let Some(&index) = self.events.front() {
            if let Some(event) = self.poll_slot_event(index) {
                return Some(event);
            }
            self.events.pop_front();
            if let Some(slot) = self.slots.get_mut(index) {
                slot.has_events = false;
            }
        }
        None
    }

    fn poll_slot_event(&mut self, index: u32) -> Option<Event> {
        loop {
            let slot = self.slots.get_mut(index)?;
            let event = slot.conn.poll_event()?;
            let (heard, user) = (slot.known_to_app && !slot.released, slot.user);
            let conn = self.slots.id(index);
            match event {
                crore_tcp::Event::Connected => return self.on_connected(index),
                crore_tcp::Event::Closed(reason) => {
                    self.counters.broken +=
                        u64::from(!matches!(reason, CloseReason::Finished | CloseReason::Aborted));
                    // The handle dies here; what TCP still owes the peer it pays by itself.
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.released = true;
                    }
                    self.mark_ready(index);
                    if heard {
                        return Some(Event::Closed { conn, reason, user });
                    }
                }
                crore_tcp::Event::Readable if heard => return Some(Event::Readable { conn }),
                crore_tcp::Event::Writable if heard => return Some(Event::Writable { conn }),
                crore_tcp::Event::PeerClosed if heard => return Some(Event::PeerClosed { conn }),
                // Not known yet (still in its handshake), or given back.
                _ => {}
            }
        }
    }

    fn on_connected(&mut self, index: u32) -> Option<Event> {
        let conn = self.slots.id(index);
        let slot = self.slots.get_mut(index)?;
        let listener = slot.listener;
        slot.known_to_app = true;
        if slot.half_open {
            slot.half_open = false;
            if let Some(listener) = listener {
                self.listeners.handshake_ended(listener);
            }
        }
        match listener {
            Some(_) => self.counters.accepted += 1,
            None => self.counters.connected += 1,
        }
        Some(Event::Opened { conn, listener })
    }

    /// The connection at a slot index, if there is one that the application
    /// knows and has not given back. With [`Self::slot_bound`] all of them can
    /// be visited, a few at a time.
    pub fn connection_at(&self, index: usize) -> Option<ConnId> {
        let index = u32::try_from(index).ok()?;
        let slot = self.slots.get(index)?;
        (slot.known_to_app && !slot.released).then(|| self.slots.id(index))
    }

    /// All slot indices in use lie below it.
    pub fn slot_bound(&self) -> usize {
        self.slots.bound()
    }

    /// The application's own word for a connection; 0 until it sets one.
    #[inline]
    pub fn user(&self, conn: ConnId) -> u64 {
        self.slots.by_id(conn).map_or(0, |slot| slot.user)
    }

    /// Sets the application's own word.
    #[inline]
    pub fn set_user(&mut self, conn: ConnId, user: u64) {
        if let Some(slot) = self.slots.by_id_mut(conn) {
            slot.user = user;
        }
    }

    /// Copies as much of `data` into the send buffer as fits, and says how
    /// much; when it is less than all, [`Event::Writable`] follows.
    #[inline]
    pub fn write(&mut self, conn: ConnId, data: &[u8]) -> Result<usize, SocketError> {
        let slot = self.slots.by_id_mut(conn).ok_or(SocketError::Gone)?;
        let accepted = slot.conn.write(data).map_err(write_error)?;
        self.mark_ready(conn.slot);
        Ok(accepted)
    }

    /// Like [`Self::write`], without copying the bytes.
    #[inline]
    pub fn write_chunk(&mut self, conn: ConnId, data: Chunk) -> Result<usize, SocketError> {
        let slot = self.slots.by_id_mut(conn).ok_or(SocketError::Gone)?;
        let accepted = slot.conn.write_chunk(data).map_err(write_error)?;
        self.mark_ready(conn.slot);
        Ok(accepted)
    }

    /// Bytes that [`Self::write`] would take now.
    #[inline]
    pub fn write_capacity(&self, conn: ConnId) -> usize {
        self.slots
            .by_id(conn)
            .map_or(0, |slot| slot.conn.write_capacity())
    }

    /// Takes received bytes, as they lie in the packet buffer if they can.
    #[inline]
    pub fn read(&mut self, conn: ConnId) -> Result<Read, SocketError> {
        let slot = self.slots.by_id_mut(conn).ok_or(SocketError::Gone)?;
        let read = slot.conn.read().map_err(|_| SocketError::ReadClosed)?;
        let ended = matches!(slot.conn.state(), State::Closed | State::TimeWait);
        self.settle(conn.slot);
        if ended {
            // The end was held back until everything was read.
            self.touch(conn.slot);
        } else {
            self.mark_ready(conn.slot);
        }
        Ok(read)
    }

    /// Bytes that can be read now.
    pub fn readable(&self, conn: ConnId) -> usize {
        self.slots.by_id(conn).map_or(0, |slot| slot.conn.readable())
    }

    /// Sends FIN after what has been written; reading goes on.
    pub fn shutdown_write(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.by_id_mut(conn) {
            slot.conn.shutdown_write();
            self.touch(conn.slot);
        }
    }

    /// Gives the connection back: what was written is still sent, what comes is
    /// answered as RFC 9293 section 3.6 says, and no event follows. The handle
    /// is dead from here on.
    pub fn close(&mut self, now: Instant, conn: ConnId) {
        if let Some(slot) = self.slots.by_id_mut(conn) {
            slot.conn.close(now);
            slot.released = true;
            self.settle(conn.slot);
            self.touch(conn.slot);
        }
    }

    /// Resets the connection. No event follows; the handle is dead from here on.
    pub fn abort(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.by_id_mut(conn) {
            slot.conn.abort();
            slot.released = true;
            self.settle(conn.slot);
            self.touch(conn.slot);
        }
    }

    /// Resets everything that is open, to be followed by a last transmission.
    pub fn abort_all(&mut self) {
        let all: Vec<u32> = self.slots.indices().collect();
        for index in all {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.conn.abort();
                slot.released = true;
            }
            self.settle(index);
            self.touch(index);
        }
    }

    /// Whether small writes are sent at once (`true`) or gathered while data is
    /// in flight (Nagle, RFC 9293 section 3.7.4).
    pub fn set_nodelay(&mut self, conn: ConnId, nodelay: bool) {
        if let Some(slot) = self.slots.by_id_mut(conn) {
            slot.conn.set_nodelay(nodelay);
        }
    }

    /// Who the two ends are.
    pub fn four_tuple(&self, conn: ConnId) -> Option<FourTuple> {
        self.slots.by_id(conn).map(|slot| slot.tuple)
    }

    /// The connection's TCP state.
    pub fn state(&self, conn: ConnId) -> Option<State> {
        self.slots.by_id(conn).map(|slot| slot.conn.state())
    }

    /// The connection's inner figures: round-trip time, windows, retransmissions.
    pub fn stats(&self, conn: ConnId) -> Option<crore_tcp::Stats> {
        self.slots.by_id(conn).map(|slot| slot.conn.stats())
    }

    /// Counts the received bytes that a connection holds against the budget.
    pub(crate) fn settle(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let held = slot.conn.received_footprint() as u32;
        self.received_held = self.received_held - u64::from(slot.charged) + u64::from(held);
        slot.charged = held;
    }
}

fn write_error(error: WriteError) -> SocketError {
    match error {
        WriteError::Closed => SocketError::WriteClosed,
    }
}
