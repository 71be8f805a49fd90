//! The connections of a stack: a slab of slots, each with a generation.
//!
//! Always true: a slot is either on the free list or holds a connection that is
//! in the flow table; the number of slots never exceeds `max_connections`.

use core::net::IpAddr;

use crore_base::{FourTuple, Instant};
use crore_tcp::Connection;

use crate::neighbor::NeighborRef;
use crate::{ConnId, ListenerId};

/// One connection and what the stack keeps beside it.
pub(crate) struct Slot {
    pub(crate) conn: Connection,
    pub(crate) tuple: FourTuple,
    pub(crate) hash: u32,
    /// The neighbour that its packets go to.
    pub(crate) next_hop: IpAddr,
    pub(crate) neighbor: Option<NeighborRef>,
    pub(crate) user: u64,
    /// The listener that it came to.
    pub(crate) listener: Option<ListenerId>,
    /// Counted among its listener's handshakes.
    pub(crate) half_open: bool,
    /// The application has been told that it exists, or opened it itself.
    pub(crate) known_to_app: bool,
    /// The application has given it back; it hears no more of it.
    pub(crate) released: bool,
    /// On the ready list.
    pub(crate) ready: bool,
    /// On the event list.
    pub(crate) has_events: bool,
    /// Waits for its next hop's Ethernet address.
    pub(crate) awaits_neighbor: bool,
    /// The peer's segments got through since the last transmission.
    pub(crate) heard: bool,
    /// When data last moved, either way, or the application was last told that none does.
    pub(crate) moved_at: Instant,
    /// Bytes of received data that were last counted against the budget.
    pub(crate) charged: u32,
}

enum Cell {
    Free { next: Option<u32> },
    Used(Box<Slot>),
}

pub(crate) struct Slots {
    cells: Vec<(u32, Cell)>,
    free: Option<u32>,
    used: u32,
    max: u32,
}

impl Slots {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            cells: Vec::with_capacity(max as usize),
            free: None,
            used: 0,
            max,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.max
    }

    /// Takes a slot. The caller has asked [`Self::is_full`].
    pub(crate) fn insert(&mut self, slot: Slot) -> u32 {
        assert!(!self.is_full(), "asked before");
        self.used += 1;
        let cell = Cell::Used(Box::new(slot));
        match self.free {
            Some(index) => {
                let place = &mut self.cells[index as usize];
                if let Cell::Free { next } = place.1 {
                    self.free = next;
                }
                place.1 = cell;
                index
            }
            None => {
                self.cells.push((0, cell));
                self.cells.len() as u32 - 1
            }
        }
    }

    /// Gives a slot back; handles to it are stale from now on.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Slot> {
        let place = self.cells.get_mut(index as usize)?;
        if let Cell::Free { .. } = place.1 {
            return None;
        }
        place.0 = place.0.wrapping_add(1);
        let old = core::mem::replace(&mut place.1, Cell::Free { next: self.free });
        self.free = Some(index);
        self.used -= 1;
        match old {
            Cell::Used(slot) => Some(*slot),
            Cell::Free { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Slot> {
        match self.cells.get(index as usize) {
            Some((_, Cell::Used(slot))) => Some(slot),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Slot> {
        match self.cells.get_mut(index as usize) {
            Some((_, Cell::Used(slot))) => Some(slot),
            _ => None,
        }
    }

    /// The slot that `id` names, unless the handle is stale or was given back.
    #[inline]
    pub(crate) fn by_id(&self, id: ConnId) -> Option<&Slot> {
        match self.cells.get(id.slot as usize) {
            Some((generation, Cell::Used(slot))) if *generation == id.generation && !slot.released => {
                Some(slot)
            }
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn by_id_mut(&mut self, id: ConnId) -> Option<&mut Slot> {
        match self.cells.get_mut(id.slot as usize) {
            Some((generation, Cell::Used(slot))) if *generation == id.generation && !slot.released => {
                Some(slot)
            }
            _ => None,
        }
    }

    /// The handle to the slot at `index`.
    #[inline]
    pub(crate) fn id(&self, index: u32) -> ConnId {
        ConnId::new(index, self.cells[index as usize].0)
    }

    /// All indices in use lie below it.
    pub(crate) fn bound(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.used as usize
    }

    /// The indices of all slots in use. For shutting down, not for the data path.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        let used = |(i, (_, cell)): (usize, &(u32, Cell))| matches!(cell, Cell::Used(_)).then_some(i as u32);
        self.cells.iter().enumerate().filter_map(used)
    }
}
