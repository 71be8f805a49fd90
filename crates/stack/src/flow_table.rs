//! From a four-tuple to the slot that holds its connection.
//!
//! Read first: DESIGN section 4. Open addressing with linear probing and
//! backward-shift deletion, so there are no tombstones and a look-up of an
//! absent key ends at the first empty entry.
//!
//! Always true: at most half of the entries are in use (the table is sized for
//! `max_connections` at construction and never grows); an entry is 8 bytes: the
//! low 32 bits of a keyed hash, which say both where the entry belongs and,
//! nearly always, whether it is the one sought, and the slot.
//!
//! The table does not hold the tuples: it hands out candidates, and the caller
//! compares the tuple in the slot.

use core::hash::Hasher;
use core::net::IpAddr;

use crore_base::FourTuple;
use siphasher::sip::SipHasher13;

/// Marks an entry without a connection.
const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    slot: u32,
}

const VACANT: Entry = Entry { hash: 0, slot: EMPTY };

/// The keyed hash of a four-tuple; an attacker who does not know the key can't
/// choose tuples that collide.
#[derive(Clone, Copy, Debug)]
pub struct FlowHasher {
    key: [u8; 16],
}

impl FlowHasher {
    /// A hash keyed with 16 secret bytes.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The hash of `tuple`, the same on every call.
    #[inline]
    pub fn hash(&self, tuple: &FourTuple) -> u32 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let ports = u32::from(tuple.local_port) << 16 | u32::from(tuple.remote_port);
        match (tuple.local_addr, tuple.remote_addr) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let addrs = u64::from(u32::from(local)) << 32 | u64::from(u32::from(remote));
                hasher.write_u64(addrs);
            }
            (local, remote) => {
                hasher.write_u128(wide(local));
                hasher.write_u128(wide(remote));
            }
        }
        hasher.write_u32(ports);
        hasher.finish() as u32
    }
}

fn wide(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}

/// The table itself.
pub struct FlowTable {
    entries: Box<[Entry]>,
    mask: usize,
    used: usize,
}

impl FlowTable {
    /// A table for up to `max_connections` entries.
    pub fn new(max_connections: u32) -> Self {
        let size = (max_connections.max(8) as usize * 2).next_power_of_two();
        Self {
            entries: vec![VACANT; size].into_boxed_slice(),
            mask: size - 1,
            used: 0,
        }
    }

    /// The slot whose hash is `hash` and of which `is_it` says that it is the one.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize & self.mask;
        loop {
            let entry = self.entries[at];
            if entry.slot == EMPTY {
                return None;
            }
            if entry.hash == hash && is_it(entry.slot) {
                return Some(entry.slot);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Loads the first entry that a look-up of `hash` will probe, so that the
    /// misses of a whole burst overlap. The value is the entry's slot, whatever
    /// its hash; it only has to be used so that the load is not dropped.
    #[inline]
    pub fn touch(&self, hash: u32) -> u32 {
        self.entries[hash as usize & self.mask].slot
    }

    /// Adds `slot` under `hash`. The caller keeps within `max_connections` and
    /// has made sure that the tuple is not in the table.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        assert!(
            self.used * 2 < self.entries.len() + 1,
            "the flow table is sized for every slot"
        );
        let mut at = hash as usize & self.mask;
        while self.entries[at].slot != EMPTY {
            at = (at + 1) & self.mask;
        }
        self.entries[at] = Entry { hash, slot };
        self.used += 1;
    }

    /// Removes `slot` from under `hash`; whether it was there.
    pub fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let mut at = hash as usize & self.mask;
        loop {
            let entry = self.entries[at];
            if entry.slot == EMPTY {
                return false;
            }
            if entry.slot == slot && entry.hash == hash {
                break;
            }
            at = (at + 1) & self.mask;
        }
        self.close_gap(at);
        self.used -= 1;
        true
    }

    /// Moves later entries of the probe run back over `gap`, so that every
    /// entry stays reachable from its home.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let entry = self.entries[at];
            if entry.slot == EMPTY {
                break;
            }
            let home = entry.hash as usize & self.mask;
            // The entry may move back to the gap unless its home lies after it.
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(gap) & self.mask) {
                self.entries[gap] = entry;
                gap = at;
            }
        }
        self.entries[gap] = VACANT;
    }

    /// Entries in use.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no entry is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_plain_map(ops in proptest::collection::vec((any::<bool>(), 0u32..24, 0u32..6), 1..400)) {
            // Few distinct hashes, so that runs collide, wrap and overlap all the time.
            let mut table = FlowTable::new(32);
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            for (insert, slot, spread) in ops {
                let hash = spread.wrapping_mul(0x3fff_fffd).wrapping_sub(3);
                if insert {
                    if let std::collections::btree_map::Entry::Vacant(v) = model.entry(slot) {
                        v.insert(hash);
                        table.insert(hash, slot);
                    }
                } else {
                    let had = model.get(&slot) == Some(&hash);
                    prop_assert_eq!(table.remove(hash, slot), had, "remove says whether it was there");
                    if had { model.remove(&slot); }
                }
                prop_assert_eq!(table.len(), model.len(), "count");
                for (&slot, &hash) in &model {
                    prop_assert_eq!(table.find(hash, |s| s == slot), Some(slot), "every entry stays reachable");
                }
                for slot in 0..24 {
                    if !model.contains_key(&slot) {
                        for spread in 0..6u32 {
                            let hash = spread.wrapping_mul(0x3fff_fffd).wrapping_sub(3);
                            prop_assert_eq!(table.find(hash, |s| s == slot), None, "nothing else is");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_hash_depends_on_the_key_and_on_every_part_of_the_tuple() {
        let tuple = FourTuple {
            local_addr: "10.0.0.1".parse().unwrap(),
            local_port: 80,
            remote_addr: "10.0.0.2".parse().unwrap(),
            remote_port: 4000,
        };
        let hasher = FlowHasher::new([1; 16]);
        assert_ne!(
            hasher.hash(&tuple),
            FlowHasher::new([2; 16]).hash(&tuple),
            "the key matters"
        );
        for other in [
            FourTuple {
                local_port: 81,
                ..tuple
            },
            FourTuple {
                remote_port: 4001,
                ..tuple
            },
            FourTuple {
                local_addr: "10.0.0.3".parse().unwrap(),
                ..tuple
            },
            FourTuple {
                remote_addr: "10.0.0.3".parse().unwrap(),
                ..tuple
            },
        ] {
            assert_ne!(
                hasher.hash(&tuple),
                hasher.hash(&other),
                "{other:?} is another connection"
            );
        }
    }
}
