//! What routers have said of the paths to single destinations: the largest
//! packet that gets there.
//!
//! Read first: RFC 1191 sections 3, 5 and 6.3, RFC 8201 section 5.2.
//!
//! Always true: at most [`PATHS_MAX`] destinations are remembered, each once;
//! only what a live connection has believed or found out is.

use core::net::IpAddr;
use std::collections::{HashMap, VecDeque};

use crore_base::{Duration, Instant};

use crate::neighbor::KeyedHash;

/// Destinations that are remembered. More than that have a smaller MTU than the
/// link only where a tunnel leads to all of them; then the oldest are found out anew.
const PATHS_MAX: usize = 4096;

//= rfc1191#section-6.3 (SHOULD)
// What is known is forgotten after ten minutes: the path may have become better.
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// The paths that bear less than the link.
pub(crate) struct Paths {
    known: HashMap<IpAddr, Known, KeyedHash>,
    /// The destinations in the order in which they were first heard of.
    order: VecDeque<IpAddr>,
}

#[derive(Clone, Copy)]
struct Known {
    mtu: u16,
    until: Instant,
}

impl Paths {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self {
            known: HashMap::with_hasher(KeyedHash(key)),
            order: VecDeque::new(),
        }
    }

    /// The largest packet that gets to `dst`, if that is less than the link's.
    #[inline]
    pub(crate) fn mtu(&self, now: Instant, dst: IpAddr) -> Option<u16> {
        if self.known.is_empty() {
            return None;
        }
        let known = self.known.get(&dst)?;
        (known.until > now).then_some(known.mtu)
    }

    /// Segments of `mss` bytes have been seen to get to `dst`, which may be more
    /// than was known.
    pub(crate) fn raise(&mut self, dst: IpAddr, mss: u16) {
        if let Some(known) = self.known.get_mut(&dst) {
            known.mtu = known.mtu.max(mss.saturating_add(tcp_headers(dst)));
        }
    }

    /// Packets of more than `mtu` bytes don't get to `dst`.
    pub(crate) fn learn(&mut self, now: Instant, dst: IpAddr, mtu: u16) {
        let until = now + KNOWN_FOR;
        if let Some(known) = self.known.get_mut(&dst) {
            *known = Known { mtu, until };
            return;
        }
        while let Some(oldest) = self.order.front() {
            let old = self.known.get(oldest).is_none_or(|known| known.until <= now);
            if !old && self.order.len() < PATHS_MAX {
                break;
            }
            self.known.remove(oldest);
            self.order.pop_front();
        }
        self.known.insert(dst, Known { mtu, until });
        self.order.push_back(dst);
    }
}

/// What an IP and a TCP header take without options.
pub(crate) fn tcp_headers(dst: IpAddr) -> u16 {
    if dst.is_ipv4() { 40 } else { 60 }
}

/// The sizes of packets that links have, with some below that are named by
/// routers which don't know their own (RFC 1191 section 7).
const PLATEAUS: [u16; 10] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];

//= rfc1191#section-5 (SHOULD)
// A router that says too large, and not what would fit, leaves the next lower
// plateau below the packet's own length to be tried.
pub(crate) fn plateau_below(len: u16) -> u16 {
    let below = PLATEAUS.iter().find(|&&plateau| plateau < len);
    below.copied().unwrap_or(68)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn what_is_known_of_a_path_is_forgotten_after_ten_minutes() {
        let mut paths = Paths::new([1; 16]);
        let now = Instant::from_millis(5);
        paths.learn(now, host(1), 1400);
        paths.learn(now, host(1), 1300);
        assert_eq!(paths.mtu(now, host(1)), Some(1300), "the last word");
        assert_eq!(paths.mtu(now, host(2)), None, "of that destination alone");
        let later = now + KNOWN_FOR;
        assert_eq!(paths.mtu(later, host(1)), None, "RFC 1191 section 6.3");
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let mut paths = Paths::new([1; 16]);
        let now = Instant::from_millis(5);
        let many = PATHS_MAX as u32 + 10;
        for n in 0..many {
            paths.learn(now, host(n), 1400);
            assert!(paths.known.len() <= PATHS_MAX, "bounded");
            assert_eq!(paths.known.len(), paths.order.len(), "each once");
        }
        assert_eq!(paths.mtu(now, host(9)), None, "the first ones are gone");
        assert_eq!(paths.mtu(now, host(10)), Some(1400), "the others are not");
        paths.learn(now + KNOWN_FOR, host(0), 1400);
        assert_eq!(paths.known.len(), 1, "what has run out makes room");
    }

    #[test]
    fn plateaus_are_those_of_rfc_1191() {
        for (len, expected) in [(1500, 1492), (1492, 1006), (9000, 8166), (600, 508), (60, 68)] {
            assert_eq!(plateau_below(len), expected, "below {len}");
        }
    }
}
