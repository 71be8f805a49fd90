//! The neighbour cache: which Ethernet address an address on the link has.
//!
//! Read first: RFC 4861 section 7.3 (neighbour unreachability detection), whose
//! states serve ARP as well; RFC 826; RFC 1122 section 2.3.2.
//!
//! Always true: the cache holds at most `capacity` entries; at most
//! [`PENDING_MAX`] resolutions run at once; an entry that is being asked for has
//! a time of its next try.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crore_base::{Duration, Instant, MacAddr};
use siphasher::sip::SipHasher13;

/// RFC 4861 section 10: RETRANS_TIMER, MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT.
const RETRANSMIT: Duration = Duration::from_secs(1);
const TRIES: u8 = 3;
/// How long a failed resolution is remembered, so that a flood of packets for a
/// dead neighbour makes no flood of requests.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Resolutions that run at once.
const PENDING_MAX: usize = 1024;
/// While so many are being asked for, nobody is whose very existence is doubtful.
const DOUBTFUL_MAX: usize = 32;

/// Names an entry: an index that stays valid until the entry is evicted, when
/// its generation moves on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeighborRef {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reachability {
    /// Asked by broadcast or multicast; no address known.
    Incomplete { tries: u8, next_try: Instant },
    /// Known and confirmed at that time.
    Confirmed { at: Instant },
    /// Known, but not confirmed for long; asked by unicast and used meanwhile.
    Probing { tries: u8, next_try: Instant },
    /// Nobody answered.
    Failed { at: Instant },
}

struct Entry {
    addr: IpAddr,
    mac: MacAddr,
    generation: u32,
    state: Reachability,
    /// Connection slots that want to transmit as soon as the address is known.
    waiting: Vec<u32>,
    used: Instant,
}

/// What a sender learns of its next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resolution {
    /// Send to this address.
    Known(MacAddr),
    /// Being asked for.
    Pending,
    /// Nobody answered.
    Unreachable,
}

/// A request to put on the wire: for `target`, to everybody or to the one who had the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Solicitation {
    pub(crate) target: IpAddr,
    pub(crate) unicast: Option<MacAddr>,
}

/// Slots that can go on, and those whose next hop turned out unreachable.
#[derive(Default)]
pub(crate) struct Wakeups {
    pub(crate) resolved: Vec<u32>,
    /// With the address that nobody answered for: the slot may be another connection's by now.
    pub(crate) unreachable: Vec<(IpAddr, u32)>,
}

pub(crate) struct NeighborCache {
    index: HashMap<IpAddr, u32, KeyedHash>,
    entries: Vec<Entry>,
    capacity: usize,
    reachable_for: Duration,
    /// Entries in Incomplete or Probing.
    pending: Vec<u32>,
    /// Where the search for an entry to evict goes on.
    hand: usize,
}

impl NeighborCache {
    pub(crate) fn new(capacity: u32, reachable_for: Duration, key: [u8; 16]) -> Self {
        Self {
            index: HashMap::with_hasher(KeyedHash(key)),
            entries: Vec::new(),
            capacity: capacity.max(2) as usize,
            reachable_for,
            pending: Vec::new(),
            hand: 0,
        }
    }

    /// What is known of `addr`; starts to ask for it if need be (the request
    /// comes out of [`Self::poll_solicitation`]). `hint` saves the look-up.
    #[inline]
    pub(crate) fn resolve(
        &mut self,
        now: Instant,
        addr: IpAddr,
        hint: &mut Option<NeighborRef>,
    ) -> Resolution {
        let index = match hint.filter(|h| self.entries[h.index as usize].generation == h.generation) {
            Some(hint) => hint.index,
            None => match self.index.get(&addr) {
                Some(&index) => index,
                None => match self.create(now, addr) {
                    Some(index) => index,
                    // No room to ask: as good as lost on the way.
                    None => return Resolution::Unreachable,
                },
            },
        };
        let entry = &mut self.entries[index as usize];
        *hint = Some(NeighborRef {
            index,
            generation: entry.generation,
        });
        entry.used = now;
        match entry.state {
            Reachability::Confirmed { at } if now.since(at) < self.reachable_for => {
                Resolution::Known(entry.mac)
            }
            Reachability::Confirmed { .. } => {
                if self.pending.len() < PENDING_MAX {
                    entry.state = Reachability::Probing {
                        tries: 0,
                        next_try: now,
                    };
                    self.pending.push(index);
                }
                Resolution::Known(entry.mac)
            }
            Reachability::Probing { .. } => Resolution::Known(entry.mac),
            Reachability::Incomplete { .. } => Resolution::Pending,
            Reachability::Failed { at } if now.since(at) < FAILED_FOR => Resolution::Unreachable,
            // As above: nobody would wake who waits for one that is not asked for.
            Reachability::Failed { .. } if self.pending.len() >= PENDING_MAX => Resolution::Unreachable,
            Reachability::Failed { .. } => {
                entry.state = Reachability::Incomplete {
                    tries: 0,
                    next_try: now,
                };
                self.pending.push(index);
                Resolution::Pending
            }
        }
    }

    /// The Ethernet address of `addr`, which may not be there at all, if it is known.
    /// Asks for it only while few are being asked for and the cache is half empty: who
    /// forges addresses neither fills it nor keeps others from being found.
    pub(crate) fn resolve_doubtful(&mut self, now: Instant, addr: IpAddr) -> Option<MacAddr> {
        let has_place = self.index.contains_key(&addr) || self.entries.len() < self.capacity / 2;
        if has_place && self.pending.len() < DOUBTFUL_MAX {
            self.resolve(now, addr, &mut None);
        }
        self.known(addr)
    }

    /// The Ethernet address of `addr`, if it is known.
    fn known(&self, addr: IpAddr) -> Option<MacAddr> {
        let entry = &self.entries[*self.index.get(&addr)? as usize];
        match entry.state {
            Reachability::Confirmed { .. } | Reachability::Probing { .. } => Some(entry.mac),
            Reachability::Incomplete { .. } | Reachability::Failed { .. } => None,
        }
    }

    /// Has `slot` woken when the address is known or given up.
    pub(crate) fn wait(&mut self, hint: Option<NeighborRef>, slot: u32) {
        if let Some(hint) = hint {
            self.entries[hint.index as usize].waiting.push(slot);
        }
    }

    /// The peer behind this entry has acknowledged something new: it is reachable
    /// (RFC 4861 section 7.3.1), and need not be asked.
    #[inline]
    pub(crate) fn confirm(&mut self, now: Instant, hint: Option<NeighborRef>) {
        let Some(hint) = hint else { return };
        let entry = &mut self.entries[hint.index as usize];
        if entry.generation == hint.generation {
            if let Reachability::Confirmed { at } = &mut entry.state {
                *at = now;
            } else if let Reachability::Probing { .. } = entry.state {
                entry.state = Reachability::Confirmed { at: now };
            }
        }
    }

    /// `addr` said that it has `mac`. `create` allows a new entry (it asked for
    /// one of our addresses, so an answer to it will be due).
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        addr: IpAddr,
        mac: MacAddr,
        create: bool,
        wake: &mut Wakeups,
    ) {
        let index = match self.index.get(&addr) {
            Some(&index) => index,
            None if create => match self.create(now, addr) {
                Some(index) => index,
                None => return,
            },
            None => return,
        };
        let entry = &mut self.entries[index as usize];
        entry.mac = mac;
        entry.state = Reachability::Confirmed { at: now };
        wake.resolved.append(&mut entry.waiting);
    }

    /// The next request that is due, if any; and who has waited in vain.
    pub(crate) fn poll_solicitation(&mut self, now: Instant, wake: &mut Wakeups) -> Option<Solicitation> {
        let mut at = 0;
        while at < self.pending.len() {
            let index = self.pending[at];
            let entry = &mut self.entries[index as usize];
            let (tries, next_try, unicast) = match &mut entry.state {
                Reachability::Incomplete { tries, next_try } => (tries, next_try, None),
                Reachability::Probing { tries, next_try } => (tries, next_try, Some(entry.mac)),
                _ => {
                    self.pending.swap_remove(at);
                    continue;
                }
            };
            if *next_try > now {
                at += 1;
            } else if *tries < TRIES {
                *tries += 1;
                *next_try = now + RETRANSMIT;
                return Some(Solicitation {
                    target: entry.addr,
                    unicast,
                });
            } else if unicast.is_some() {
                // The unicast probes failed: the address may have moved to another station.
                entry.state = Reachability::Incomplete {
                    tries: 0,
                    next_try: now,
                };
            } else {
                entry.state = Reachability::Failed { at: now };
                let addr = entry.addr;
                wake.unreachable
                    .extend(entry.waiting.drain(..).map(|slot| (addr, slot)));
                self.pending.swap_remove(at);
            }
        }
        None
    }

    /// Whether anything is being asked for.
    #[inline]
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When the next request is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let due = |&index: &u32| match self.entries[index as usize].state {
            Reachability::Incomplete { next_try, .. } | Reachability::Probing { next_try, .. } => {
                Some(next_try)
            }
            _ => None,
        };
        self.pending.iter().filter_map(due).min()
    }

    fn create(&mut self, now: Instant, addr: IpAddr) -> Option<u32> {
        if self.pending.len() >= PENDING_MAX {
            return None;
        }
        let state = Reachability::Incomplete {
            tries: 0,
            next_try: now,
        };
        let entry = Entry {
            addr,
            mac: MacAddr::default(),
            generation: 0,
            state,
            waiting: Vec::new(),
            used: now,
        };
        let index = if self.entries.len() < self.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let index = self.victim(now)?;
            let old = &mut self.entries[index];
            let generation = old.generation.wrapping_add(1);
            self.index.remove(&old.addr);
            *old = Entry { generation, ..entry };
            index
        } as u32;
        self.index.insert(addr, index);
        self.pending.push(index);
        Some(index)
    }

    /// An entry that nobody waits for and nobody has used for a second; a
    /// bounded search, so that a flood of new neighbours costs little each.
    fn victim(&mut self, now: Instant) -> Option<usize> {
        for _ in 0..16.min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[self.hand];
            let settled = matches!(
                entry.state,
                Reachability::Confirmed { .. } | Reachability::Failed { .. }
            );
            if settled && entry.waiting.is_empty() && now.since(entry.used) > Duration::from_secs(1) {
                return Some(self.hand);
            }
        }
        None
    }
}

/// A hash whose key the network does not know.
pub(crate) struct KeyedHash(pub(crate) [u8; 16]);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> Self::Hasher {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write_u8(0);
        hasher
    }
}

#[cfg(test)]
mod tests;
