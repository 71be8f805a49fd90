//! The connections of a stack: a record for each, a place in the pool for those
//! that are active, and the lists of those that wait.
//!
//! Read first: DESIGN section 4.
//!
//! Always true: a record is on the free list or stands for a connection that is
//! in the flow table; there are never more than `max_connections`; an active
//! record and its place in the pool name each other.

use crore_base::FourTuple;
use crore_slab::{HugeVec, MemoryError};
use crore_tcp::{HalfOpen, Parked, State};

use crate::ConnId;
use crate::fifo::Fifo;
use crate::pool::{Active, Cell, Pool};
use crate::record::{Kind, Locals, Record};

const NIL: u32 = u32::MAX;
/// Lists of handshakes: by how often the SYN-ACK was sent again.
pub(crate) const HANDSHAKE_LISTS: usize = 16;

pub(crate) struct Slots {
    records: HugeVec<Record>,
    free: u32,
    used: u32,
    max: u32,
    pub(crate) pool: Pool,
    locals: Locals,
    /// Parked in TIME-WAIT.
    pub(crate) time_wait: Fifo,
    /// Handshakes that somebody else began, by how often the SYN-ACK was sent again.
    pub(crate) handshakes: [Fifo; HANDSHAKE_LISTS],
}

impl Slots {
    pub(crate) fn new(max: u32, max_active: u32) -> Result<Self, MemoryError> {
        Ok(Self {
            records: HugeVec::with_capacity(max as usize)?,
            free: NIL,
            used: 0,
            max,
            pool: Pool::new(max_active.min(max)),
            locals: Locals::default(),
            time_wait: Fifo::EMPTY,
            handshakes: [const { Fifo::EMPTY }; HANDSHAKE_LISTS],
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.max
    }

    /// Takes a record for a connection of `tuple`; none if all are taken. What
    /// it stands for is to be set next.
    fn take(&mut self, tuple: &FourTuple) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let local = self.locals.number(tuple.local_addr)?;
        let slot = match self.records.get(self.free as usize) {
            Some(record) => {
                let slot = self.free;
                self.free = record.index();
                slot
            }
            None => {
                self.records.push(Record::FREE);
                self.records.len() as u32 - 1
            }
        };
        self.records[slot as usize].begin(tuple, local);
        self.used += 1;
        Some(slot)
    }

    /// Takes a record for an active connection; none if all records are taken,
    /// or all places in the pool. `make` is told the record.
    pub(crate) fn insert(
        &mut self,
        tuple: &FourTuple,
        make: impl FnOnce(u32) -> Active,
    ) -> Option<(u32, u32)> {
        if self.pool.is_full() {
            return None;
        }
        let slot = self.take(tuple)?;
        let index = self.pool.insert(make(slot));
        self.records[slot as usize].set_active(index);
        Some((slot, index))
    }

    /// Takes a record for a handshake, and puts it on the first list.
    pub(crate) fn insert_half_open(&mut self, tuple: &FourTuple, half: HalfOpen) -> Option<u32> {
        let slot = self.take(tuple)?;
        self.records[slot as usize].set_half_open(half);
        self.handshakes[0].push(&mut self.records, slot);
        Some(slot)
    }

    /// The SYN-ACK of a handshake was sent once more: it moves to the next list.
    pub(crate) fn advance_half_open(&mut self, slot: u32) -> Option<HalfOpen> {
        let mut half = self.records.get(slot as usize)?.half_open()?;
        self.unlink_half_open(slot, &half);
        half.count_resent();
        self.records[slot as usize].set_half_open(half);
        self.handshakes[list_of(&half)].push(&mut self.records, slot);
        Some(half)
    }

    /// What the handshake at `slot` has settled has changed; how often its SYN-ACK
    /// was sent has not.
    pub(crate) fn renew_half_open(&mut self, slot: u32, half: HalfOpen) {
        if let Some(record) = self.records.get_mut(slot as usize) {
            record.set_half_open(half);
        }
    }

    fn unlink_half_open(&mut self, slot: u32, half: &HalfOpen) {
        self.handshakes[list_of(half)].remove(&mut self.records, slot);
    }

    /// The handshake that is least likely to be gone on with: of those whose
    /// SYN-ACK was sent again most often, the oldest.
    pub(crate) fn least_handshake(&self) -> Option<u32> {
        self.handshakes.iter().rev().find_map(Fifo::front)
    }

    /// Makes a record active whose connection was parked, or in its handshake; it
    /// is to fill the place that this gives. The caller has asked whether the pool
    /// is full.
    #[inline]
    pub(crate) fn activate(&mut self, slot: u32) -> (u32, &mut Cell) {
        self.unlink(slot);
        let (index, place) = self.pool.take_place();
        self.records[slot as usize].set_active(index);
        (index, place)
    }

    /// Parks what is at `index` of the pool as `parked`.
    pub(crate) fn park(&mut self, index: u32, parked: Parked) {
        let Some(active) = self.pool.remove(index) else {
            return;
        };
        let record = &mut self.records[active.slot as usize];
        record.set_parked(parked);
        if parked.state() == State::TimeWait {
            self.time_wait.push(&mut self.records, active.slot);
        }
    }

    /// A handshake becomes a parked connection, which the application is told of.
    pub(crate) fn park_half_open(&mut self, slot: u32, parked: Parked) {
        self.unlink(slot);
        if let Some(record) = self.records.get_mut(slot as usize) {
            record.set_parked(parked);
            record.set_known();
        }
    }

    /// Gives a record back, and its place in the pool; handles are stale from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Active> {
        self.unlink(slot);
        let record = self.records.get_mut(slot as usize)?;
        let active = match record.kind() {
            Kind::Free => return None,
            Kind::Active => self.pool.remove(record.index()),
            Kind::Parked | Kind::HalfOpen => None,
        };
        record.set_free(self.free);
        self.free = slot;
        self.used -= 1;
        active
    }

    /// Takes a record off the list that it waits on, if it does.
    fn unlink(&mut self, slot: u32) {
        let Some(record) = self.records.get(slot as usize) else {
            return;
        };
        if let Some(half) = record.half_open() {
            self.unlink_half_open(slot, &half);
        } else if record.parked().is_some_and(|p| p.state() == State::TimeWait) {
            self.time_wait.remove(&mut self.records, slot);
        }
    }

    /// The place in the pool of the connection at `slot`, if it is active.
    #[inline]
    pub(crate) fn active_index(&self, slot: u32) -> Option<u32> {
        let record = self.records.get(slot as usize)?;
        (record.kind() == Kind::Active).then(|| record.index())
    }

    #[inline]
    pub(crate) fn record(&self, slot: u32) -> Option<&Record> {
        self.records.get(slot as usize)
    }

    #[inline]
    pub(crate) fn record_mut(&mut self, slot: u32) -> Option<&mut Record> {
        self.records.get_mut(slot as usize)
    }

    /// Brings a record nearer.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.records.prefetch(slot as usize);
    }

    /// Brings the record nearer whose wait follows that of `slot`.
    pub(crate) fn prefetch_next_wait(&self, slot: u32) {
        if let Some(next) = self.time_wait.after(&self.records, slot) {
            self.prefetch(next);
        }
    }

    /// Whether the connection at `slot` is that of `tuple`.
    #[inline]
    pub(crate) fn is_of(&self, slot: u32, tuple: &FourTuple) -> bool {
        self.records
            .get(slot as usize)
            .is_some_and(|record| record.is_of(tuple, &self.locals))
    }

    /// Who the two ends of the connection at `slot` are.
    pub(crate) fn tuple(&self, slot: u32) -> Option<FourTuple> {
        let record = self.records.get(slot as usize)?;
        (record.kind() != Kind::Free).then(|| record.tuple(&self.locals))
    }

    /// The record that `id` names, unless the handle is stale or was given back.
    #[inline]
    pub(crate) fn by_id(&self, id: ConnId) -> Option<&Record> {
        let record = self.records.get(id.slot as usize)?;
        (record.generation() == id.generation && record.is_held()).then_some(record)
    }

    #[inline]
    pub(crate) fn by_id_mut(&mut self, id: ConnId) -> Option<&mut Record> {
        let record = self.records.get_mut(id.slot as usize)?;
        (record.generation() == id.generation && record.is_held()).then_some(record)
    }

    /// The active connection that `id` names, if it is one.
    #[inline]
    pub(crate) fn active_by_id(&self, id: ConnId) -> Option<&Active> {
        let record = self.by_id(id)?;
        if record.kind() == Kind::Active {
            self.pool.get(record.index())
        } else {
            None
        }
    }

    /// The handle to the record at `slot`.
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId::new(slot, self.records[slot as usize].generation())
    }

    /// All slots in use lie below it.
    pub(crate) fn bound(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.used as usize
    }
}

fn list_of(half: &HalfOpen) -> usize {
    usize::from(half.resent()).min(HANDSHAKE_LISTS - 1)
}

#[cfg(test)]
mod tests;
