//! Datagrams that came in fragments, put together again, IPv4's and IPv6's alike.
//!
//! Read first: RFC 815 (the algorithm), RFC 8200 section 4.5, RFC 5722 (overlaps),
//! RFC 4963 (why IPv4's wait is short), RFC 3168 section 5.3 (ECN).
//!
//! Always true: `bytes` and `datagrams` are within their limits, each sender's
//! part of them within a quarter; the pieces of a datagram are in order and
//! don't overlap; nothing is looked through whose length an attacker chooses
//! (a datagram has [`PIECES_MAX`] pieces, a search for a sender's oldest one
//! goes through as many entries as there are datagrams, or twice that).

use core::net::IpAddr;
use std::collections::{HashMap, VecDeque};

use crore_base::{DropCounters, DropReason, Duration, Instant};
use crore_wire::Fragment;

use crate::neighbor::KeyedHash;

//= rfc8200#section-4.5 (MUST)
// Sixty seconds after the first of them came, what is incomplete is given up.
const WAIT_V6: Duration = Duration::from_secs(60);
/// RFC 1122 recommends sixty seconds and more. At today's rates IPv4's 16 bits of
/// identification come round in less (RFC 4963), so that a piece that waits for
/// so long meets those of another datagram; Linux waits for as long as this.
const WAIT_V4: Duration = Duration::from_secs(30);

/// Pieces that one datagram may come in: the longest one in packets of 576 bytes
/// takes 119.
pub const PIECES_MAX: usize = 128;

/// What a piece costs besides its bytes, roughly; so that very small ones can't
/// take much more than the budget.
const PIECE_OVERHEAD: usize = 64;

/// The part of each limit that one sender (in IPv6: one /64) may take: that many
/// of them together fill all of it.
const SENDERS: usize = 4;

/// How much may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentLimits {
    /// Bytes of fragments, and what it takes to keep them. 0: none are kept.
    pub bytes: usize,
    /// Datagrams.
    pub datagrams: usize,
}

/// What becomes of a fragment that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reassembly {
    /// It waits for others.
    Waits,
    /// It was the last that was missing: the frame that was sent in pieces.
    Whole(Vec<u8>),
}

/// A datagram whose time is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Its first fragment, headers included, if that came: the sender is told.
    pub first: Option<Vec<u8>>,
}

/// The datagrams of which fragments have come, and not all.
pub struct Reassembler {
    limits: FragmentLimits,
    waiting: HashMap<Key, Datagram, KeyedHash>,
    /// Each sender's part; those of whom nothing waits are not in it.
    senders: HashMap<Sender, Part, KeyedHash>,
    /// By family, in the order in which they began, and so in which they end.
    /// Some are gone already.
    order: [VecDeque<Entry>; 2],
    bytes: usize,
    serial: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// In IPv4 only.
    protocol: u8,
}

impl Key {
    fn of(fragment: &Fragment) -> Self {
        let Fragment { ip, id, protocol, .. } = fragment;
        Self {
            src: ip.src,
            dst: ip.dst,
            id: *id,
            protocol: if ip.src.is_ipv4() { *protocol } else { 0 },
        }
    }

    /// Whoever has an address of IPv6 has 64 bits of them.
    fn sender(&self) -> Sender {
        match self.src {
            IpAddr::V4(addr) => Sender(addr.to_bits().into()),
            IpAddr::V6(addr) => Sender((addr.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Sender(u64);

#[derive(Clone, Copy, Default)]
struct Part {
    bytes: usize,
    datagrams: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    /// Tells it from a later datagram of the same key.
    serial: u64,
    until: Instant,
}

struct Datagram {
    serial: u64,
    /// It is given up, and what else comes of it is thrown away.
    poisoned: bool,
    /// What the fragments have said about congestion: a bit for each codepoint.
    ecn: u8,
    /// How long it is, once the last fragment has said so.
    total: Option<u32>,
    /// Bytes that have come.
    have: u32,
    /// What it counts for in the budget.
    charged: usize,
    /// The first fragment, and its frame as far as its data.
    first: Option<(Fragment, Vec<u8>)>,
    pieces: Vec<Piece>,
}

struct Piece {
    offset: u32,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.offset + self.data.len() as u32
    }
}

impl Reassembler {
    /// An empty one. `key` is secret: nobody can choose what meets in a table.
    pub fn new(limits: FragmentLimits, key: [u8; 16]) -> Self {
        Self {
            limits,
            waiting: HashMap::with_hasher(KeyedHash(key)),
            senders: HashMap::with_hasher(KeyedHash(key)),
            order: [VecDeque::new(), VecDeque::new()],
            bytes: 0,
            serial: 0,
        }
    }

    /// Takes in a fragment, which lies in `frame`. What has to make room for it
    /// is counted in `drops`; what becomes of the fragment itself is the answer.
    pub fn on_fragment(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        frame: &[u8],
        drops: &mut DropCounters,
    ) -> Result<Reassembly, DropReason> {
        if self.limits.bytes == 0 || self.limits.datagrams == 0 {
            return Err(DropReason::Fragment);
        }
        let data = frame.get(fragment.data.clone()).unwrap_or_default();
        if data.is_empty() {
            return Err(DropReason::MalformedFragment);
        }
        let key = Key::of(fragment);
        let place = match self.waiting.get(&key) {
            Some(datagram) => datagram.place(fragment, data)?,
            None => Ok(0),
        };
        let Ok(place) = place else {
            // Those that wait are thrown away as well, and those that come.
            self.poison(&key, drops);
            return Err(DropReason::OverlappingFragment);
        };
        let headers = frame.len().min(fragment.data.start);
        let first = if fragment.offset == 0 { headers } else { 0 };
        let cost = data.len() + first + PIECE_OVERHEAD;
        if !self.waiting.contains_key(&key) {
            self.begin(now, key, drops);
        }
        if !self.afford(&key, cost, drops) {
            return Err(DropReason::FragmentBudget);
        }
        let Some(datagram) = self.waiting.get_mut(&key) else {
            return Err(DropReason::FragmentBudget);
        };
        datagram.charged += cost;
        datagram.take(fragment, frame, data, place);
        if !datagram.is_complete() {
            return Ok(Reassembly::Waits);
        }
        let whole = datagram.whole();
        self.remove(&key);
        whole.map(Reassembly::Whole)
    }

    /// The next one whose time is up at `now`, if any; its fragments are counted
    /// in `drops`.
    //= rfc8200#section-4.5 (MUST)
    // If the first fragment came, its sender is told that the others did not.
    pub fn poll_expired(&mut self, now: Instant, drops: &mut DropCounters) -> Option<Expired> {
        for family in 0..self.order.len() {
            while let Some(entry) = self.order[family].front().copied() {
                let gone = !self.is_current(&entry);
                if !gone && entry.until > now {
                    break;
                }
                self.order[family].pop_front();
                if gone {
                    continue;
                }
                let Some(datagram) = self.remove(&entry.key) else {
                    continue;
                };
                drops.count_many(DropReason::FragmentTimedOut, datagram.pieces.len() as u64);
                if datagram.poisoned {
                    continue;
                }
                let first = datagram.first.map(|(_, mut frame)| {
                    let data = datagram.pieces.first().map(|piece| piece.data.as_slice());
                    frame.extend_from_slice(data.unwrap_or_default());
                    frame
                });
                return Some(Expired { first });
            }
        }
        None
    }

    /// When [`Self::poll_expired`] is to be asked, at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        let fronts = self.order.iter().filter_map(VecDeque::front);
        fronts.map(|entry| entry.until).min()
    }

    /// Bytes of the budget that are in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Datagrams that wait, those that were given up and are remembered included.
    pub fn datagrams(&self) -> usize {
        self.waiting.len()
    }

    fn is_current(&self, entry: &Entry) -> bool {
        self.waiting
            .get(&entry.key)
            .is_some_and(|datagram| datagram.serial == entry.serial)
    }

    /// A datagram's first fragment to arrive: a place for it.
    fn begin(&mut self, now: Instant, key: Key, drops: &mut DropCounters) {
        let sender = key.sender();
        let own = (self.limits.datagrams / SENDERS).max(1);
        if self
            .senders
            .get(&sender)
            .is_some_and(|part| part.datagrams >= own)
        {
            self.evict(Some(sender), None, drops);
        }
        if self.waiting.len() >= self.limits.datagrams {
            self.evict(None, None, drops);
        }
        self.serial += 1;
        let family = usize::from(key.src.is_ipv6());
        let wait = if family == 0 { WAIT_V4 } else { WAIT_V6 };
        self.tidy(family);
        self.order[family].push_back(Entry {
            key,
            serial: self.serial,
            until: now + wait,
        });
        self.senders.entry(sender).or_default().datagrams += 1;
        self.waiting.insert(key, Datagram::new(self.serial));
    }

    /// Takes out of the order what is gone, once that is the larger part: a
    /// step for each that was put in.
    fn tidy(&mut self, family: usize) {
        if self.order[family].len() >= 2 * self.limits.datagrams {
            let mut order = core::mem::take(&mut self.order[family]);
            order.retain(|entry| self.is_current(entry));
            self.order[family] = order;
        }
    }

    /// Makes room for `cost` bytes of the datagram `key`, and takes it; whether that went.
    fn afford(&mut self, key: &Key, cost: usize, drops: &mut DropCounters) -> bool {
        let sender = key.sender();
        let own = self.limits.bytes / SENDERS;
        let held = |senders: &HashMap<Sender, Part, KeyedHash>| senders.get(&sender).map_or(0, |p| p.bytes);
        while held(&self.senders) + cost > own {
            if !self.evict(Some(sender), Some(key), drops) {
                return false;
            }
        }
        while self.bytes + cost > self.limits.bytes {
            if !self.evict(None, Some(key), drops) {
                return false;
            }
        }
        self.bytes += cost;
        if let Some(part) = self.senders.get_mut(&sender) {
            part.bytes += cost;
        }
        true
    }

    /// Gives up the oldest datagram, or the oldest of `sender`, but not `spared`;
    /// whether there was one.
    fn evict(&mut self, sender: Option<Sender>, spared: Option<&Key>, drops: &mut DropCounters) -> bool {
        let fits = |entry: &&Entry| {
            sender.is_none_or(|sender| entry.key.sender() == sender)
                && spared.is_none_or(|key| *key != entry.key)
                && self.is_current(entry)
        };
        let oldest = self.order.iter().filter_map(|order| order.iter().find(fits));
        let Some(key) = oldest.min_by_key(|entry| entry.serial).map(|entry| entry.key) else {
            return false;
        };
        if let Some(datagram) = self.remove(&key) {
            drops.count_many(DropReason::FragmentBudget, datagram.pieces.len() as u64);
        }
        true
    }

    //= rfc5722#section-4 (MUST)
    // When any of a datagram's fragments overlap, all of it is thrown away in
    // silence, what is still to come included; in IPv4 as well, where it serves
    // nobody but those who want to be misunderstood (RFC 1858).
    fn poison(&mut self, key: &Key, drops: &mut DropCounters) {
        let Some(datagram) = self.waiting.get_mut(key) else {
            return;
        };
        let charged = core::mem::take(&mut datagram.charged);
        let pieces = core::mem::take(&mut datagram.pieces);
        drops.count_many(DropReason::OverlappingFragment, pieces.len() as u64);
        datagram.first = None;
        datagram.poisoned = true;
        self.bytes -= charged;
        if let Some(part) = self.senders.get_mut(&key.sender()) {
            part.bytes -= charged;
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Datagram> {
        let datagram = self.waiting.remove(key)?;
        self.bytes -= datagram.charged;
        if let Some(part) = self.senders.get_mut(&key.sender()) {
            part.bytes -= datagram.charged;
            part.datagrams -= 1;
            if part.datagrams == 0 {
                self.senders.remove(&key.sender());
            }
        }
        Some(datagram)
    }
}

/// The fragments contradict each other.
struct Overlap;

impl Datagram {
    fn new(serial: u64) -> Self {
        Self {
            serial,
            poisoned: false,
            ecn: 0,
            total: None,
            have: 0,
            charged: 0,
            first: None,
            pieces: Vec::new(),
        }
    }

    /// Where among the pieces one belongs.
    fn place(&self, fragment: &Fragment, data: &[u8]) -> Result<Result<usize, Overlap>, DropReason> {
        if self.poisoned {
            return Err(DropReason::OverlappingFragment);
        }
        let (offset, end) = (u32::from(fragment.offset), fragment.end());
        let place = self.pieces.partition_point(|piece| piece.offset < offset);
        let next = self.pieces.get(place);
        //= rfc8200#section-4.5 (MAY)
        // What the network has doubled is no attempt at anything.
        if next.is_some_and(|next| next.offset == offset && next.data == data) && self.agrees(fragment) {
            return Err(DropReason::DuplicateFragment);
        }
        let before = place.checked_sub(1).and_then(|before| self.pieces.get(before));
        let overlaps = before.is_some_and(|before| before.end() > offset)
            || next.is_some_and(|next| next.offset < end)
            || !self.agrees(fragment)
            || self.pieces.len() >= PIECES_MAX;
        Ok(if overlaps { Err(Overlap) } else { Ok(place) })
    }

    /// Whether what a fragment says about the datagram's length can be true.
    fn agrees(&self, fragment: &Fragment) -> bool {
        let furthest = self.pieces.last().map_or(0, Piece::end);
        match (self.total, fragment.more) {
            (None, true) => true,
            (None, false) => furthest <= fragment.end(),
            (Some(total), true) => fragment.end() < total,
            (Some(total), false) => fragment.end() == total,
        }
    }

    fn take(&mut self, fragment: &Fragment, frame: &[u8], data: &[u8], place: usize) {
        self.ecn |= 1 << (fragment.ip.ecn & 3);
        self.have += data.len() as u32;
        if !fragment.more {
            self.total = Some(fragment.end());
        }
        if fragment.offset == 0 {
            let headers = frame.get(..fragment.data.start).unwrap_or_default();
            self.first = Some((fragment.clone(), headers.to_vec()));
        }
        self.pieces.insert(
            place,
            Piece {
                offset: fragment.offset.into(),
                data: data.to_vec(),
            },
        );
    }

    /// Since pieces don't overlap, what has come is all when it is as much.
    fn is_complete(&self) -> bool {
        self.total == Some(self.have)
    }

    //= rfc3168#section-5.3 (MUST)
    // A mark on one fragment is a mark on the datagram; unless some of them say
    // that their sender knows no marks: then it can't be trusted, and is dropped.
    fn whole(&self) -> Result<Vec<u8>, DropReason> {
        const NOT_ECT: u8 = 1;
        const CE: u8 = 1 << 3;
        let (fragment, frame) = self.first.as_ref().ok_or(DropReason::MalformedFragment)?;
        let marked = self.ecn & CE != 0;
        if marked && self.ecn & NOT_ECT != 0 {
            return Err(DropReason::MalformedFragment);
        }
        let ecn = if marked { 3 } else { fragment.ip.ecn };
        let data = self.pieces.iter().map(|piece| piece.data.as_slice());
        fragment
            .whole(frame, ecn, data)
            .ok_or(DropReason::MalformedFragment)
    }
}

#[cfg(test)]
mod tests;
