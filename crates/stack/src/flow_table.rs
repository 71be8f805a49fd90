//! From a four-tuple to the slot that holds its connection.
//!
//! Read first: DESIGN section 4. Buckets of one cache line with eight entries
//! each; an entry that finds its bucket full goes to the next one, and every
//! bucket counts those that have passed it. So there are no tombstones, and a
//! look-up of an absent key ends at the first bucket that nobody has passed:
//! after one and a half on the average when the table is full (with seven of
//! eight entries filled it would be four). A deletion lets one that has passed
//! come back.
//!
//! Always true: at most six of eight entries are in use (the table is sized for
//! `max_connections` at construction and never grows, and need not be a power of
//! two), so that it costs 10.7 bytes for each connection; an entry is 8 bytes: 32
//! bits of a keyed hash, which say both where the entry belongs and, nearly
//! always, whether it is the one sought, and 30 bits of slot. The two bits
//! between them are two digits of the bucket's count.
//!
//! The table does not hold the tuples: it hands out candidates, and the caller
//! compares the tuple in the slot.

use core::net::IpAddr;

use crore_base::FourTuple;
use crore_slab::{HugeVec, MemoryError, Pages};
use siphasher::sip::SipHasher13;

/// Entries of a bucket, and how many of them are filled when the table is full.
const WIDTH: usize = 8;
const FILLED: usize = 6;

/// Marks an entry without a connection.
const EMPTY: u64 = SLOT_MASK;
const SLOT_MASK: u64 = (1 << 30) - 1;
/// Where an entry's two digits of its bucket's count stand.
const DIGITS_SHIFT: u32 = 30;
const DIGITS_MASK: u64 = 3 << DIGITS_SHIFT;
/// The largest count; a bucket that was passed so often keeps it for ever.
const COUNT_MAX: u32 = (1 << (2 * WIDTH)) - 1;

/// Slots that a table can name lie below this.
pub(crate) const SLOTS_MAX: u32 = EMPTY as u32;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket([u64; WIDTH]);

const VACANT: Bucket = Bucket([EMPTY; WIDTH]);

impl Bucket {
    #[inline]
    fn is_passed(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) & DIGITS_MASK != 0
    }

    fn count(&self) -> u32 {
        let digits = |word: &u64| (word & DIGITS_MASK) >> DIGITS_SHIFT;
        self.0
            .iter()
            .rev()
            .fold(0, |count, word| count << 2 | digits(word) as u32)
    }

    fn set_count(&mut self, count: u32) {
        for (i, word) in self.0.iter_mut().enumerate() {
            let digits = u64::from(count >> (2 * i) & 3);
            *word = *word & !DIGITS_MASK | digits << DIGITS_SHIFT;
        }
    }

    /// Sets an entry, leaving its digits as they are.
    fn set(&mut self, at: usize, hash: u32, slot: u64) {
        self.0[at] = u64::from(hash) << 32 | self.0[at] & DIGITS_MASK | slot;
    }

    fn position(&self, hash: u32, slot: u64) -> Option<usize> {
        let wanted = u64::from(hash) << 32 | slot;
        self.0.iter().position(|word| word & !DIGITS_MASK == wanted)
    }

    fn vacancy(&self) -> Option<usize> {
        self.0.iter().position(|word| word & SLOT_MASK == EMPTY)
    }
}

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
        let hasher = SipHasher13::new_with_key(&self.key);
        let ports = u32::from(tuple.local_port) << 16 | u32::from(tuple.remote_port);
        match (tuple.local_addr, tuple.remote_addr) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut bytes = [0; 12];
                let addrs = u64::from(u32::from(local)) << 32 | u64::from(u32::from(remote));
                bytes[..8].copy_from_slice(&addrs.to_le_bytes());
                bytes[8..].copy_from_slice(&ports.to_le_bytes());
                hasher.hash(&bytes) as u32
            }
            (local, remote) => {
                let mut bytes = [0; 36];
                bytes[..16].copy_from_slice(&wide(local).to_le_bytes());
                bytes[16..32].copy_from_slice(&wide(remote).to_le_bytes());
                bytes[32..].copy_from_slice(&ports.to_le_bytes());
                hasher.hash(&bytes) as u32
            }
        }
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
    buckets: HugeVec<Bucket>,
    used: usize,
}

impl FlowTable {
    /// A table for up to `max_connections` entries.
    pub fn new(max_connections: u32) -> Result<Self, MemoryError> {
        let buckets = (max_connections as usize).div_ceil(FILLED).max(1);
        Ok(Self {
            buckets: HugeVec::filled(VACANT, buckets)?,
            used: 0,
        })
    }

    /// Bytes of memory that a table for so many entries takes.
    pub const fn bytes_for(max_connections: u32) -> usize {
        (max_connections as usize).div_ceil(FILLED) * size_of::<Bucket>()
    }

    /// Where a hash belongs: the upper bits of it, scaled to the table's size.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() {
            0
        } else {
            bucket + 1
        }
    }

    /// The slot whose hash is `hash` and of which `is_it` says that it is the one.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for word in bucket.0 {
                let slot = word & SLOT_MASK;
                if (word >> 32) as u32 == hash && slot != EMPTY && is_it(slot as u32) {
                    return Some(slot as u32);
                }
            }
            if !bucket.is_passed() {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Brings the bucket that a look-up of `hash` will read first nearer.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        self.buckets.prefetch(self.home(hash));
    }

    /// The slot that a look-up of `hash` will most likely give, by its first
    /// bucket alone: good enough to prefetch by.
    #[inline]
    pub fn candidate(&self, hash: u32) -> Option<u32> {
        let bucket = &self.buckets[self.home(hash)];
        let same = |word: &&u64| (**word >> 32) as u32 == hash && **word & SLOT_MASK != EMPTY;
        bucket.0.iter().find(same).map(|word| (word & SLOT_MASK) as u32)
    }

    /// Adds `slot` under `hash`. The caller keeps within `max_connections` and
    /// has made sure that the tuple is not in the table.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        assert!(
            self.used < self.buckets.len() * WIDTH,
            "the flow table is sized for every slot"
        );
        debug_assert!(slot < SLOTS_MAX, "the table can name it");
        let mut at = self.home(hash);
        loop {
            let next = self.after(at);
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.vacancy() {
                bucket.set(place, hash, u64::from(slot));
                self.used += 1;
                return;
            }
            bucket.set_count((bucket.count() + 1).min(COUNT_MAX));
            at = next;
        }
    }

    /// Takes `slot` out from under `hash`; whether it was there.
    pub fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let home = self.home(hash);
        let mut at = home;
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.position(hash, u64::from(slot)) {
                bucket.set(place, 0, EMPTY);
                self.used -= 1;
                self.unpass(home, at);
                self.fill(at, place);
                return true;
            }
            if !bucket.is_passed() {
                return false;
            }
            at = self.after(at);
        }
        false
    }

    /// Moves entries that had to pass the bucket of a vacancy back into it, and
    /// so on with what that leaves. Without it a table that is used for long
    /// would have its entries ever further from home.
    fn fill(&mut self, mut bucket: usize, mut place: usize) {
        while self.buckets[bucket].is_passed() {
            let Some((found, from)) = self.passenger(bucket) else {
                return;
            };
            let word = self.buckets[found].0[from];
            self.buckets[found].set(from, 0, EMPTY);
            self.buckets[bucket].set(place, (word >> 32) as u32, word & SLOT_MASK);
            self.unpass(bucket, found);
            (bucket, place) = (found, from);
        }
    }

    /// The nearest entry that has passed `bucket`: where it is now.
    fn passenger(&self, bucket: usize) -> Option<(usize, usize)> {
        let buckets = self.buckets.len();
        let distance = |from: usize, to: usize| {
            if to >= from {
                to - from
            } else {
                to + buckets - from
            }
        };
        let mut at = self.after(bucket);
        while at != bucket {
            let beyond = distance(bucket, at);
            let passed = |word: &u64| {
                word & SLOT_MASK != EMPTY && distance(self.home((word >> 32) as u32), at) >= beyond
            };
            if let Some(from) = self.buckets[at].0.iter().position(passed) {
                return Some((at, from));
            }
            at = self.after(at);
        }
        None
    }

    /// An entry that had passed the buckets from `home` up to `end` is gone.
    fn unpass(&mut self, home: usize, end: usize) {
        let mut at = home;
        while at != end {
            let next = self.after(at);
            let bucket = &mut self.buckets[at];
            let count = bucket.count();
            if count < COUNT_MAX {
                bucket.set_count(count - 1);
            }
            at = next;
        }
    }

    /// How many entries are in use.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Bytes of memory that the table takes.
    pub const fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    /// Which pages it lies in.
    pub fn pages(&self) -> Pages {
        self.buckets.pages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_table_agrees_with_a_plain_map(ops in proptest::collection::vec((any::<bool>(), 0u32..24, 0u32..6), 1..400)) {
            // Few distinct hashes, so that runs collide, wrap and overlap all the time.
            let mut table = FlowTable::new(24).expect("a little memory");
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

    /// Protects against a table that slows down, or refuses, as it fills up or
    /// is used for long.
    #[test]
    fn a_full_table_is_small_and_absent_keys_end_early() {
        const MAX: u32 = 60_000;
        let mut table = FlowTable::new(MAX).expect("a little memory");
        assert!(
            table.bytes() * 10 <= MAX as usize * 107,
            "10.7 bytes for each connection"
        );
        let hash = |key: u32| {
            let mut hasher = SipHasher13::new_with_key(&[3; 16]);
            hasher.write_u32(key);
            hasher.finish() as u32
        };
        for key in 0..MAX {
            table.insert(hash(key), key);
        }
        // Everything is replaced, some of it several times.
        for key in 0..3 * MAX {
            assert!(table.remove(hash(key), key % MAX), "it is there");
            table.insert(hash(key + MAX), key % MAX);
        }
        assert_eq!(table.len(), MAX as usize, "full");
        let passed = table.buckets.iter().filter(|bucket| bucket.is_passed()).count();
        assert!(
            passed * 4 < table.buckets.len(),
            "{passed} of {} buckets lead on",
            table.buckets.len()
        );
        let (mut all, mut longest) = (0, 0);
        for home in 0..table.buckets.len() {
            let (mut at, mut length) = (home, 1);
            while table.buckets[at].is_passed() {
                at = table.after(at);
                length += 1;
            }
            all += length;
            longest = longest.max(length);
        }
        // Linear probing with such buckets and random keys: 1.5 on the average,
        // and a longest run that grows with the logarithm of the table's size.
        assert!(
            all * 10 < table.buckets.len() * 18,
            "{all} buckets for {} absent keys",
            table.buckets.len()
        );
        assert!(longest <= 40, "an absent key looked at {longest} buckets");
        for key in 0..MAX {
            assert!(table.remove(hash(key + 3 * MAX), key), "it is there");
        }
        assert!(
            table.buckets.iter().all(|bucket| bucket.count() == 0),
            "empty, nothing was passed"
        );
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
