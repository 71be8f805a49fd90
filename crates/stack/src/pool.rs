//! The pool of active connections: those with something in flight, unread, out
//! of order or owed, and those that were a moment ago.
//!
//! Always true: at most `max` of them exist; a place in the pool is named by its
//! index, which no packet and no application ever sees.

use core::net::IpAddr;
use std::collections::VecDeque;

use crore_base::{FourTuple, Instant};
use crore_tcp::Connection;

use crate::ListenerId;
use crate::neighbor::NeighborRef;

/// An active connection and what the stack keeps beside it.
pub(crate) struct Active {
    pub(crate) conn: Connection,
    /// Its record.
    pub(crate) slot: u32,
    /// On the ready list.
    pub(crate) ready: bool,
    /// On the event list.
    pub(crate) has_events: bool,
    /// Waits for its next hop's Ethernet address.
    pub(crate) awaits_neighbor: bool,
    /// The peer's segments got through since the last transmission.
    pub(crate) heard: bool,
    /// Counted among its listener's handshakes.
    pub(crate) half_open: bool,
    /// Counted among its listener's handshakes whose data was taken already.
    pub(crate) fast_opening: bool,
    /// Counted among the orphans.
    pub(crate) orphan: bool,
    /// Bytes of received data that were last counted against the budget.
    pub(crate) charged: u32,
    /// The same of written data beyond what each connection may hold.
    pub(crate) charged_written: u32,
    /// The listener that it came to.
    pub(crate) listener: Option<ListenerId>,
    pub(crate) tuple: FourTuple,
    /// The neighbour that its packets go to.
    pub(crate) next_hop: IpAddr,
    pub(crate) neighbor: Option<NeighborRef>,
    /// When data last moved, either way.
    pub(crate) moved_at: Instant,
    /// Whether the application was last told of the silence in an odd period of
    /// it (see `sweep.rs`).
    pub(crate) told: bool,
}

impl Active {
    /// `conn`, whose record is `slot`, with nothing to be done for it yet.
    #[inline(always)]
    pub(crate) fn new(
        slot: u32,
        conn: Connection,
        tuple: FourTuple,
        next_hop: IpAddr,
        listener: Option<ListenerId>,
        moved_at: Instant,
    ) -> Self {
        Self {
            conn,
            slot,
            ready: false,
            has_events: false,
            awaits_neighbor: false,
            heard: false,
            half_open: listener.is_some(),
            fast_opening: false,
            orphan: false,
            charged: 0,
            charged_written: 0,
            listener,
            next_hop,
            tuple,
            neighbor: None,
            moved_at,
            told: false,
        }
    }

    /// Data moved: a silence, if there was one, is over.
    #[inline]
    pub(crate) fn moved(&mut self, now: Instant) {
        self.moved_at = now;
        self.told = false;
    }
}

impl Active {
    /// Puts itself, whose place is `index`, on both lists of the stack.
    #[inline]
    pub(crate) fn list(&mut self, index: u32, ready: &mut VecDeque<u32>, events: &mut VecDeque<u32>) {
        if !core::mem::replace(&mut self.ready, true) {
            ready.push_back(index);
        }
        if !core::mem::replace(&mut self.has_events, true) {
            events.push_back(index);
        }
    }
}

const NIL: u32 = u32::MAX;
/// So many active connections fit a core's own cache (some 1.5 MB). Beyond it,
/// waking one costs less than the misses on one that was kept.
const HOT: u32 = 2048;

// Each waking makes all of it: what is wanted by few connections belongs elsewhere. 17 cache lines; docs/CAPACITY.md names the size.
const _: () = assert!(size_of::<Cell>() <= 1088);

#[expect(clippy::large_enum_variant, reason = "a slab: the variants share a place")]
pub(crate) enum Cell {
    Free { next: u32 },
    Used(Active),
}

impl Cell {
    /// Fills a free one. (Inlined, so that `active` is made in it and not copied on
    /// the way: it is large.)
    #[inline(always)]
    pub(crate) fn fill(&mut self, active: Active) {
        debug_assert!(matches!(self, Self::Free { .. }), "given out once");
        // A free one has nothing to drop, and need not be asked.
        core::mem::forget(core::mem::replace(self, Self::Used(active)));
    }
}

pub(crate) struct Pool {
    cells: Vec<Cell>,
    free: u32,
    used: u32,
    max: u32,
}

impl Pool {
    /// A pool of up to `max` connections. Address space is taken for all of
    /// them, memory only for as many as are ever in use at once.
    pub(crate) fn new(max: u32) -> Self {
        Self {
            cells: Vec::with_capacity(max as usize),
            free: NIL,
            used: 0,
            max,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.max
    }

    /// Whether so many are in use that what is idle should not stay.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        self.used > HOT.min(self.max / 4 * 3)
    }

    /// Takes a connection in. The caller has asked [`Self::is_full`].
    pub(crate) fn insert(&mut self, active: Active) -> u32 {
        let (index, place) = self.take_place();
        place.fill(active);
        index
    }

    /// Gives a place away, which is to be filled at once. The caller has asked
    /// [`Self::is_full`].
    #[inline]
    pub(crate) fn take_place(&mut self) -> (u32, &mut Cell) {
        debug_assert!(!self.is_full(), "asked before");
        if self.free == NIL {
            self.add_place();
        }
        let index = self.free;
        let place = &mut self.cells[index as usize];
        if let Cell::Free { next } = *place {
            self.free = next;
        }
        self.used += 1;
        (index, place)
    }

    #[cold]
    fn add_place(&mut self) {
        self.free = self.cells.len() as u32;
        self.cells.push(Cell::Free { next: NIL });
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<Active> {
        let place = self.cells.get_mut(index as usize)?;
        if let Cell::Free { .. } = place {
            return None;
        }
        let old = core::mem::replace(place, Cell::Free { next: self.free });
        self.free = index;
        self.used -= 1;
        match old {
            Cell::Used(active) => Some(active),
            Cell::Free { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Active> {
        match self.cells.get(index as usize) {
            Some(Cell::Used(active)) => Some(active),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Active> {
        match self.cells.get_mut(index as usize) {
            Some(Cell::Used(active)) => Some(active),
            _ => None,
        }
    }

    /// Brings a connection nearer, all of it.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(cell) = self.cells.get(index as usize) {
            crore_slab::prefetch_all(cell);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used as usize
    }

    /// All indices in use lie below it.
    pub(crate) fn bound(&self) -> usize {
        self.cells.len()
    }

    /// Bytes that one connection takes, apart from what it buffers.
    pub(crate) const fn place_size() -> usize {
        size_of::<Cell>()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crore_tcp::{Config, Parked, Path};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    /// An established connection of `tuple`, on which nothing goes on.
    pub(crate) fn idle(slot: u32, tuple: FourTuple) -> Active {
        let path = Path {
            mss: 1440,
            send_mss: 1440,
            ipv6: tuple.remote_addr.is_ipv6(),
        };
        let config = Rc::new(Config::default());
        let conn = Connection::wake(&config, &Parked::default(), 0, path, false);
        Active::new(slot, conn, tuple, tuple.remote_addr, None, Instant::ZERO)
    }

    fn active(slot: u32) -> Active {
        let tuple = FourTuple {
            local_addr: "10.0.0.1".parse().unwrap(),
            local_port: 80,
            remote_addr: "10.0.0.2".parse().unwrap(),
            remote_port: 4000,
        };
        idle(slot, tuple)
    }

    proptest! {
        /// Protects against a place that is given out twice, lost, or found after it was given back.
        #[test]
        fn the_pool_agrees_with_a_plain_map(ops in proptest::collection::vec((any::<bool>(), 0u32..10), 1..200)) {
            const MAX: u32 = 8;
            let mut pool = Pool::new(MAX);
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            for (number, (insert, index)) in (0u32..).zip(ops) {
                if insert && !pool.is_full() {
                    let index = pool.insert(active(number));
                    prop_assert_eq!(model.insert(index, number), None, "a place is given out once");
                } else if !insert {
                    let taken = pool.remove(index).map(|a| a.slot);
                    prop_assert_eq!(taken, model.remove(&index), "what was put there");
                }
                prop_assert_eq!(pool.len(), model.len(), "count");
                prop_assert_eq!(pool.is_full(), model.len() == MAX as usize, "full");
                prop_assert!(pool.bound() <= MAX as usize, "within its bound");
                for index in 0..12 {
                    let there = pool.get(index).map(|a| a.slot);
                    prop_assert_eq!(there, model.get(&index).copied(), "found");
                    prop_assert_eq!(pool.get_mut(index).map(|a| a.slot), there, "the same to change");
                }
            }
        }
    }

    /// Protects a busy pool from keeping what is idle, and an almost empty one from parking what is busy.
    #[test]
    fn a_pool_is_pressed_when_three_quarters_are_in_use() {
        let mut pool = Pool::new(8);
        let mut pressed = Vec::new();
        while !pool.is_full() {
            pool.insert(active(0));
            pressed.push(pool.is_pressed());
        }
        assert_eq!(
            pressed,
            [false, false, false, false, false, false, true, true],
            "beyond six of eight"
        );
        pool.remove(3);
        pool.remove(4);
        assert!(!pool.is_pressed(), "two came back");
    }
}
