//! Which local port an active open uses.
//!
//! Read first: RFC 6056 section 3.3.3 (algorithm 3, simple hash-based port
//! selection): ports advance by one from an offset that is a keyed hash of the
//! destination, so that nobody outside can guess the next one, and the same
//! four-tuple comes back as late as can be.
//!
//! As long as few ports of a destination are taken, the next candidate is nearly
//! always free, and nothing is kept but a counter that many destinations share.
//! A destination that is opened often gets a *lane*: one bit for each port, so
//! that the next candidate is found in a few steps even when nearly all are
//! taken or belong to other shards.
//!
//! Always true: a lane is a memory of answers, never the answer itself: each port
//! is asked about before it is handed out. A bit that is off means that the port
//! was taken, or another shard's, when asked, and nobody has said since that it
//! is free again; so a lane without bits means that all are taken.

use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;
use std::hash::BuildHasher;

use crore_base::FourTuple;
use siphasher::sip::SipHasher13;

use crate::config::Share;

mod lane;

use lane::Lane;

/// How many counters share the destinations; the more, the less one
/// destination's opens tell about another's.
const COUNTERS: usize = 1024;
/// A destination gets a lane at every such open of its counter, at the earliest:
/// making one costs as much as some dozens of opens.
const LANE_EVERY: u32 = 256;
/// Or when so many candidates in a row were not to be had.
const MISSES_MAX: u32 = 64;
/// Lanes there may be beside those that the connections account for.
const LANES_SPARE: usize = 16;
/// Lanes looked at for one that can be given up.
const LOOK: usize = 8;
/// A destination counts as dense when this part of its ports is taken: a lane
/// then costs half a byte for each of its connections, and less with each more.
const DENSE_SHARE: u32 = 4;

/// What can be asked about a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Candidate {
    /// It can be used.
    Free,
    /// Its four-tuple is in use.
    Taken,
    /// A listener has it: nothing to be remembered, since listeners come and go.
    Listened,
}

pub(crate) struct PortPicker {
    hasher: KeyedHash,
    first: u16,
    count: u32,
    share: Option<Share>,
    /// Candidates in a row that are not to be had, before a lane is made.
    misses_max: u32,
    /// A destination with so many ports taken is dense.
    dense: u32,
    next: Box<[u32; COUNTERS]>,
    lanes: HashMap<Destination, u32, KeyedHash>,
    /// By the numbers in `lanes`.
    table: Vec<Option<(Destination, Lane)>>,
    free: Vec<u32>,
    lanes_max: usize,
    /// Where the search for a lane to give up goes on.
    hand: usize,
}

/// A local address and where its connections go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Destination {
    local: IpAddr,
    remote: SocketAddr,
}

impl PortPicker {
    /// Ports from `first` to `last`, of which replies come back to `share`, for at
    /// most `max_connections`.
    pub(crate) fn new(
        key: [u8; 16],
        first: u16,
        last: u16,
        share: Option<Share>,
        max_connections: u32,
    ) -> Self {
        let count = u32::from(last - first) + 1;
        let shards = share
            .as_ref()
            .map_or(1, |share| u32::from(share.steering.shards()));
        let dense = (count / shards / DENSE_SHARE).max(1);
        Self {
            hasher: KeyedHash(key),
            first,
            count,
            share,
            misses_max: (MISSES_MAX * shards).min(count - 1),
            dense,
            next: Box::new([0; COUNTERS]),
            lanes: HashMap::with_hasher(KeyedHash(key)),
            table: Vec::new(),
            free: Vec::new(),
            lanes_max: (max_connections / dense) as usize + LANES_SPARE,
            hand: 0,
        }
    }

    //= rfc6056#section-3.3.3 (SHOULD)
    // A port for a connection from `local` to `remote`, of which `ask` says that
    // it can be used. Ends after one round through the range.
    pub(crate) fn pick(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut ask: impl FnMut(u16) -> Candidate,
    ) -> Option<u16> {
        let destination = Destination { local, remote };
        if let Some(&lane) = self.lanes.get(&destination) {
            return self.pick_in_lane(lane, ask);
        }
        let hash = self.hasher.hash_one(destination);
        let offset = (hash >> 32) as u32;
        for misses in 0..self.count {
            let counter = &mut self.next[hash as usize % COUNTERS];
            let at = offset.wrapping_add(*counter) % self.count;
            *counter = counter.wrapping_add(1);
            let popular = misses == 0 && counter.is_multiple_of(LANE_EVERY);
            if (popular || misses == self.misses_max)
                && let Some(lane) = self.make_lane(destination, at)
            {
                return self.pick_in_lane(lane, ask);
            }
            let port = self.first + at as u16;
            if self.is_ours(&destination, port) && ask(port) == Candidate::Free {
                return Some(port);
            }
        }
        None
    }

    fn pick_in_lane(&mut self, number: u32, mut ask: impl FnMut(u16) -> Candidate) -> Option<u16> {
        let Self {
            table, share, first, ..
        } = self;
        let (destination, lane) = table.get_mut(number as usize)?.as_mut()?;
        let ours = |port| comes_home(share.as_ref(), destination, port);
        let mut begun = None;
        loop {
            let at = lane.next()?;
            let port = *first + at;
            if !ours(port) {
                lane.strike(at);
                continue;
            }
            match ask(port) {
                Candidate::Free => {
                    lane.take(at);
                    return Some(port);
                }
                Candidate::Taken => lane.take(at),
                // Its bit stays: the round ends when it comes up again.
                Candidate::Listened if begun == Some(at) => return None,
                Candidate::Listened => {
                    begun.get_or_insert(at);
                    lane.pass(at);
                }
            }
        }
    }

    /// The ports that have been in use for longest, at most `limit` of them, of a
    /// destination all of whose ports are taken.
    pub(crate) fn oldest(
        &self,
        local: IpAddr,
        remote: SocketAddr,
        limit: usize,
    ) -> impl Iterator<Item = u16> + '_ {
        let destination = Destination { local, remote };
        let lane = self.lanes.get(&destination);
        let start = match lane.and_then(|&n| self.table.get(n as usize)?.as_ref()) {
            Some((_, lane)) => lane.cursor(),
            None => {
                let hash = self.hasher.hash_one(destination);
                ((hash >> 32) as u32).wrapping_add(self.next[hash as usize % COUNTERS]) % self.count
            }
        };
        (0..self.count)
            .map(move |i| self.first + ((start + i) % self.count) as u16)
            .filter(move |&port| self.is_ours(&destination, port))
            .take(limit)
    }

    /// The connection of `tuple` is over: its port can be picked again.
    pub(crate) fn release(&mut self, tuple: &FourTuple) {
        let at = u32::from(tuple.local_port).wrapping_sub(self.first.into());
        if at >= self.count || self.lanes.is_empty() {
            return;
        }
        let destination = Destination {
            local: tuple.local_addr,
            remote: tuple.remote(),
        };
        let Some(&number) = self.lanes.get(&destination) else {
            return;
        };
        let Some(Some((_, lane))) = self.table.get_mut(number as usize) else {
            return;
        };
        lane.give_back(at as u16);
        if lane.taken() == 0 {
            self.drop_lane(number);
        }
    }

    /// Whether replies to `port` of this destination come to this shard.
    pub(crate) fn comes_home(&self, local: IpAddr, remote: SocketAddr, port: u16) -> bool {
        self.is_ours(&Destination { local, remote }, port)
    }

    fn is_ours(&self, destination: &Destination, port: u16) -> bool {
        comes_home(self.share.as_ref(), destination, port)
    }

    /// A lane whose first candidate is `start`; none if there are as many as may
    /// be and none of those looked at can be given up.
    fn make_lane(&mut self, destination: Destination, start: u32) -> Option<u32> {
        if self.lanes.len() >= self.lanes_max {
            self.give_up_lane()?;
        }
        let made = Some((destination, Lane::new(self.count, start)));
        let number = match self.free.pop() {
            Some(number) => {
                self.table[number as usize] = made;
                number
            }
            None => {
                self.table.push(made);
                self.table.len() as u32 - 1
            }
        };
        self.lanes.insert(destination, number);
        Some(number)
    }

    /// Gives up a lane of a destination that is not dense.
    fn give_up_lane(&mut self) -> Option<()> {
        for _ in 0..LOOK {
            self.hand = (self.hand + 1) % self.table.len();
            let number = self.hand as u32;
            if matches!(&self.table[self.hand], Some((_, lane)) if lane.taken() < self.dense) {
                self.drop_lane(number);
                return Some(());
            }
        }
        None
    }

    fn drop_lane(&mut self, number: u32) {
        if let Some((destination, _)) = self.table[number as usize].take() {
            self.lanes.remove(&destination);
            self.free.push(number);
        }
    }

    /// How many lanes there are.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

fn comes_home(share: Option<&Share>, destination: &Destination, port: u16) -> bool {
    share.is_none_or(|share| {
        let flow = FourTuple {
            local_addr: destination.local,
            local_port: port,
            remote_addr: destination.remote.ip(),
            remote_port: destination.remote.port(),
        };
        share.owns(&flow)
    })
}

/// A hash that nobody outside can compute, for destinations that they choose.
#[derive(Clone)]
struct KeyedHash([u8; 16]);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

#[cfg(test)]
mod tests;
