//! The application's calls.

use core::net::{IpAddr, SocketAddr};

use crore_base::{FourTuple, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Connection, EcnMode, Read, ReadError, State, Stats, WriteError};

use crate::pool::Active;
use crate::ports::Candidate;
use crate::profiles::ProfileId;
use crate::record::{Kind, Wish};
use crate::{
    CloseReason, ConnId, ConnectError, ConnectOptions, Event, ListenError, ListenOptions, ListenerId,
    SocketError, Stack,
};

impl Stack {
    /// Listens on `addr`; an unspecified address (`0.0.0.0`, `::`) stands for
    /// all of this host's addresses of that family. `backlog` bounds the
    /// handshakes that are remembered at once; a SYN beyond it is answered by a
    /// cookie, or dropped ([`crate::StackConfig::syn_cookies`]).
    pub fn listen(&mut self, addr: SocketAddr, backlog: u32) -> Result<ListenerId, ListenError> {
        self.listen_with(addr, &ListenOptions::with_backlog(backlog))
    }

    /// Stops listening; connections that it got go on. Whether it existed.
    pub fn unlisten(&mut self, listener: ListenerId) -> bool {
        if let Some(profile) = self.listeners.profile(listener) {
            self.tcp.release(profile);
        }
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
        let how = ConnectOptions {
            local,
            ..ConnectOptions::default()
        };
        self.connect_with(now, remote, &how)
    }

    /// From whatever port is free.
    pub(crate) fn connect_from_any_port(
        &mut self,
        now: Instant,
        local_addr: IpAddr,
        remote: SocketAddr,
        profile: ProfileId,
    ) -> Result<ConnId, ConnectError> {
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
        // Of the port that was asked about last, which is the one that is picked.
        let mut hash = 0;
        let ask = |port| {
            let tuple = tuple_from(port);
            let same = |slot| slots.is_of(slot, &tuple);
            hash = hasher.hash(&tuple);
            if listeners.uses_port(port) {
                Candidate::Listened
            } else if flows.find(hash, same).is_some() {
                Candidate::Taken
            } else {
                Candidate::Free
            }
        };
        match ports.pick(local_addr, remote, ask) {
            Some(port) => self.open(now, tuple_from(port), hash, profile, None),
            None => self.open_after_time_wait(now, local_addr, remote, profile),
        }
    }

    /// Opens a connection from just this `local` address and port.
    pub fn connect_from(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<ConnId, ConnectError> {
        let how = ConnectOptions {
            local: Some(local.ip()),
            local_port: Some(local.port()),
            ..ConnectOptions::default()
        };
        self.connect_with(now, remote, &how)
    }

    /// From just this port.
    pub(crate) fn connect_from_port(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        profile: ProfileId,
    ) -> Result<ConnId, ConnectError> {
        let local_addr = local.ip();
        let tuple = FourTuple {
            local_addr,
            local_port: local.port(),
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        };
        if self.find(&tuple).is_some() || local.port() == 0 {
            return Err(ConnectError::InUse);
        }
        if !self.ports.comes_home(local_addr, remote, local.port()) {
            return Err(ConnectError::OtherShard);
        }
        self.open(now, tuple, self.hasher.hash(&tuple), profile, None)
    }

    //= rfc9293#section-3.9.1.1 (MUST)
    // Nobody connects to a group or to what no host can have; an application may
    // name the local address, which then is that of all that is sent.
    /// The address that a connection to `remote` comes from, if there can be one.
    pub(crate) fn check_destination(
        &self,
        local: Option<IpAddr>,
        remote: SocketAddr,
    ) -> Result<IpAddr, ConnectError> {
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
        let local = local
            .or_else(|| self.routes.source_for(ip))
            .ok_or(ConnectError::NoLocalAddress)?;
        if local.is_ipv4() != ip.is_ipv4() || !self.routes.is_ours(local) {
            return Err(ConnectError::NoLocalAddress);
        }
        Ok(local)
    }

    /// Opens a connection of `tuple`, whose hash is `hash`; `iss_above`: with a
    /// sequence number beyond this one.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        hash: u32,
        profile: ProfileId,
        iss_above: Option<SeqNum>,
    ) -> Result<ConnId, ConnectError> {
        if self.routes.next_hop(tuple.remote_addr).is_none() {
            return Err(ConnectError::NoRoute);
        }
        if self.slots.is_full() {
            self.recycle_time_wait();
        }
        if !self.make_room() {
            return Err(ConnectError::Exhausted);
        }
        let mut iss = self.isn.iss(now, &tuple);
        if let Some(above) = iss_above
            && iss.at_or_before(above)
        {
            // As when the peer reopens: no old segment in flight can look new.
            iss = above + 65_535 + 1;
        }
        let ts_offset = self.isn.ts_offset(&tuple);
        let path = self.path_to(tuple.remote_addr);
        let conn = Connection::open_active(self.tcp.get(profile).clone(), now, iss, ts_offset, path);
        let active = self.make_active(now, conn, tuple, None);
        let made = self.slots.insert(&tuple, |slot| Active { slot, ..active });
        let (slot, index) = made.ok_or(ConnectError::Exhausted)?;
        if let Some(record) = self.slots.record_mut(slot) {
            record.set_known();
        }
        self.tcp.assign(slot, profile);
        self.flows.insert(hash, slot);
        self.note_peak();
        self.touch(index);
        Ok(self.slots.id(slot))
    }

    /// The slot of the connection that `tuple` names.
    pub(crate) fn find(&self, tuple: &FourTuple) -> Option<u32> {
        let same = |slot| self.slots.is_of(slot, tuple);
        self.flows.find(self.hasher.hash(tuple), same)
    }

    /// The next thing that the application should know, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.ended.pop_front() {
            return Some(event);
        }
        while let Some(&index) = self.events.front() {
            let event = self.poll_active_event(index);
            // One that has told all leaves the list at once, without being asked again.
            match self.slots.pool.get_mut(index) {
                Some(active) if event.is_some() && active.conn.has_events() => {}
                Some(active) => {
                    active.has_events = false;
                    self.events.pop_front();
                }
                None => {
                    self.events.pop_front();
                }
            }
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn poll_active_event(&mut self, index: u32) -> Option<Event> {
        loop {
            let active = self.slots.pool.get_mut(index)?;
            let event = active.conn.poll_event()?;
            let slot = active.slot;
            let record = self.slots.record(slot)?;
            let heard = record.is_held();
            let conn = ConnId::new(slot, record.generation());
            match event {
                crore_tcp::Event::Connected => return self.on_connected(index),
                crore_tcp::Event::Closed(reason) => {
                    let user = self.on_closed(index, slot, reason)?;
                    if heard {
                        return Some(Event::Closed { conn, reason, user });
                    }
                }
                crore_tcp::Event::Flushed if heard => {
                    // The application waited for this; the rest TCP does by itself.
                    let record = self.slots.record_mut(slot)?;
                    record.set_released();
                    let (reason, user) = (CloseReason::Finished, record.user);
                    return Some(Event::Closed { conn, reason, user });
                }
                crore_tcp::Event::Readable if heard => return Some(Event::Readable { conn }),
                crore_tcp::Event::Writable if heard => return Some(Event::Writable { conn }),
                crore_tcp::Event::Urgent if heard => return Some(Event::Urgent { conn }),
                crore_tcp::Event::PeerClosed if heard => return Some(Event::PeerClosed { conn }),
                // Not known yet (still in its handshake), or given back.
                _ => {}
            }
        }
    }

    #[inline(never)]
    fn on_connected(&mut self, index: u32) -> Option<Event> {
        let active = self.slots.pool.get_mut(index)?;
        let (slot, listener) = (active.slot, active.listener);
        self.counters.ecn_agreed += u64::from(active.conn.ecn() != EcnMode::Off);
        if core::mem::take(&mut active.half_open)
            && let Some(listener) = listener
        {
            self.listeners.handshake_ended(listener);
        }
        if let Some(record) = self.slots.record_mut(slot) {
            record.set_known();
        }
        match listener {
            Some(_) => self.counters.accepted += 1,
            None => {
                self.counters.connected += 1;
                self.learn_from_fast_open(index);
            }
        }
        let conn = self.slots.id(slot);
        Some(Event::Opened { conn, listener })
    }

    /// The connection at a slot index, if there is one that the application
    /// knows and has not given back. With [`Self::slot_bound`] all of them can
    /// be visited, a few at a time.
    pub fn connection_at(&self, index: usize) -> Option<ConnId> {
        let slot = u32::try_from(index).ok()?;
        let record = self.slots.record(slot)?;
        record.is_held().then(|| self.slots.id(slot))
    }

    /// All slot indices in use lie below it.
    pub fn slot_bound(&self) -> usize {
        self.slots.bound()
    }

    /// The application's own word for a connection; 0 until it sets one.
    #[inline]
    pub fn user(&self, conn: ConnId) -> u64 {
        self.slots.by_id(conn).map_or(0, |record| record.user)
    }

    /// Sets the application's own word.
    #[inline]
    pub fn set_user(&mut self, conn: ConnId, user: u64) {
        if let Some(record) = self.slots.by_id_mut(conn) {
            record.user = user;
        }
    }

    /// The place in the pool of a connection that the application holds. It is
    /// woken if need be; without a place for it, `wish` is remembered.
    #[inline]
    pub(crate) fn active_for(&mut self, conn: ConnId, wish: Wish) -> Result<Option<u32>, SocketError> {
        let record = self.slots.by_id(conn).ok_or(SocketError::Gone)?;
        if record.kind() == Kind::Active {
            return Ok(Some(record.index()));
        }
        let index = self.activate(self.clock, conn.slot);
        if index.is_none() {
            self.wish(conn.slot, wish);
        }
        Ok(index)
    }

    /// Copies as much of `data` into the send buffer as fits, and says how
    /// much; when it is less than all, [`Event::Writable`] follows. Nothing at
    /// all fits while the pool of active connections is used up.
    #[inline]
    pub fn write(&mut self, conn: ConnId, data: &[u8]) -> Result<usize, SocketError> {
        self.write_by(conn, |connection| connection.write(data))
    }

    /// Like [`Self::write`], without copying the bytes.
    #[inline]
    pub fn write_chunk(&mut self, conn: ConnId, data: Chunk) -> Result<usize, SocketError> {
        self.write_by(conn, |connection| connection.write_chunk(data))
    }

    #[inline]
    pub(crate) fn write_by(
        &mut self,
        conn: ConnId,
        write: impl FnOnce(&mut Connection) -> Result<usize, WriteError>,
    ) -> Result<usize, SocketError> {
        let Some(index) = self.active_for(conn, Wish::Write)? else {
            return Ok(0);
        };
        let active = self.slots.pool.get_mut(index).ok_or(SocketError::Gone)?;
        active.conn.set_short_of_memory(self.memory.is_short());
        let accepted = write(&mut active.conn).map_err(write_error)?;
        active.settle_written(&mut self.memory);
        self.mark_ready(index);
        Ok(accepted)
    }

    /// Bytes that [`Self::write`] would take now.
    #[inline]
    pub fn write_capacity(&self, conn: ConnId) -> usize {
        self.peek(conn, Connection::write_capacity).unwrap_or(0)
    }

    /// Takes received bytes, as they lie in the packet buffer if they can.
    // Inlined into the application, so that the chunk passes in registers: written
    // to memory in parts, it would be waited for when it is moved on as a whole.
    #[inline(always)]
    pub fn read(&mut self, conn: ConnId) -> Result<Read, SocketError> {
        let record = self.slots.by_id(conn).ok_or(SocketError::Gone)?;
        if let Some(parked) = record.parked() {
            // Nothing unread is ever parked.
            return Ok(match parked.state() {
                State::CloseWait | State::TimeWait => Read::Eof,
                _ => Read::WouldBlock,
            });
        }
        let index = record.index();
        let active = self.slots.pool.get_mut(index).ok_or(SocketError::Gone)?;
        // The chunk goes from the queue to the caller without a stop between.
        let chunk = match active.conn.read() {
            Ok(Read::Data(chunk)) => chunk,
            Ok(Read::WouldBlock) => return Ok(Read::WouldBlock),
            Ok(Read::Eof) => return Ok(Read::Eof),
            Err(ReadError::Closed) => return Err(SocketError::ReadClosed),
        };
        active.settle(&mut self.memory);
        if matches!(active.conn.state(), State::Closed | State::TimeWait) {
            // The end was held back until everything was read.
            self.touch(index);
        } else {
            self.mark_ready(index);
        }
        Ok(Read::Data(chunk))
    }

    /// As [`Self::read`], but not more than `most` bytes.
    pub fn read_up_to(&mut self, conn: ConnId, most: usize) -> Result<Read, SocketError> {
        if self.slots.active_by_id(conn).is_none() {
            // Parked, or gone: there is nothing to be cut off.
            return self.read(conn);
        }
        let index = self.slots.active_index(conn.slot).ok_or(SocketError::Gone)?;
        let active = self.slots.pool.get_mut(index).ok_or(SocketError::Gone)?;
        let read = active
            .conn
            .read_up_to(most)
            .map_err(|_| SocketError::ReadClosed)?;
        if matches!(read, Read::Data(_)) {
            active.settle(&mut self.memory);
            self.touch(index);
        }
        Ok(read)
    }

    /// Copies what could be read, from `skip` bytes on, without taking it; says
    /// how much that was.
    pub fn peek_data(&self, conn: ConnId, skip: usize, out: &mut [u8]) -> usize {
        self.slots
            .active_by_id(conn)
            .map_or(0, |active| active.conn.peek(skip, out))
    }

    /// Bytes that can be read now.
    pub fn readable(&self, conn: ConnId) -> usize {
        self.slots
            .active_by_id(conn)
            .map_or(0, |active| active.conn.readable())
    }

    /// Whether small writes are sent at once (`true`) or gathered while data is
    /// in flight (Nagle, RFC 9293 section 3.7.4).
    pub fn set_nodelay(&mut self, conn: ConnId, nodelay: bool) {
        let Some(record) = self.slots.by_id_mut(conn) else {
            return;
        };
        if let Some(parked) = record.parked() {
            record.set_parked(parked.with_nodelay(nodelay));
        } else if let Some(index) = self.slots.active_index(conn.slot)
            && let Some(active) = self.slots.pool.get_mut(index)
        {
            active.conn.set_nodelay(nodelay);
            // What small writes wait may go.
            self.mark_ready(index);
        }
    }

    /// Who the two ends are.
    pub fn four_tuple(&self, conn: ConnId) -> Option<FourTuple> {
        self.slots.by_id(conn)?;
        self.slots.tuple(conn.slot)
    }

    /// The connection's TCP state.
    pub fn state(&self, conn: ConnId) -> Option<State> {
        match self.slots.by_id(conn)?.parked() {
            Some(parked) => Some(parked.state()),
            None => self.slots.active_by_id(conn).map(|active| active.conn.state()),
        }
    }

    /// What there is to know of a connection: round-trip time, windows, losses, what
    /// is in use. A parked one is not woken for it.
    pub fn stats(&self, conn: ConnId) -> Option<Stats> {
        let mut stats = self.peek(conn, Connection::stats)?;
        stats.parked = self.slots.by_id(conn)?.kind() == Kind::Parked;
        Some(stats)
    }

    /// What `ask` says of a connection; of a parked one as it would be if woken.
    fn peek<T>(&self, conn: ConnId, ask: impl FnOnce(&Connection) -> T) -> Option<T> {
        let record = self.slots.by_id(conn)?;
        let Some(parked) = record.parked() else {
            return self.slots.active_by_id(conn).map(|active| ask(&active.conn));
        };
        let tuple = self.slots.tuple(conn.slot)?;
        let ts_offset = self.isn.ts_offset(&tuple);
        let path = self.path_to(tuple.remote_addr);
        Some(ask(&Connection::wake(
            self.tcp.of(conn.slot),
            &parked,
            ts_offset,
            path,
            false,
        )))
    }
}

fn write_error(error: WriteError) -> SocketError {
    match error {
        WriteError::Closed => SocketError::WriteClosed,
    }
}
