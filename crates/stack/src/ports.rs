//! Which local port an active open uses.
//!
//! Read first: RFC 6056 section 3.3.3 (algorithm 3, simple hash-based port
//! selection): ports advance by one from an offset that is a keyed hash of the
//! destination, so that nobody outside can guess the next one, and the same
//! four-tuple comes back as late as can be.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

/// How many counters share the destinations; the more, the less one
/// destination's opens tell about another's.
const COUNTERS: usize = 1024;

pub(crate) struct PortPicker {
    key: [u8; 16],
    first: u16,
    count: u32,
    next: Box<[u32; COUNTERS]>,
}

impl PortPicker {
    pub(crate) fn new(key: [u8; 16], first: u16, last: u16) -> Self {
        Self {
            key,
            first,
            count: u32::from(last - first) + 1,
            next: Box::new([0; COUNTERS]),
        }
    }

    //= rfc6056#section-3.3.3 (SHOULD)
    // A port for a connection from `local` to `remote` of which `is_free` says
    // that it is not in use. Ends after one round through the range.
    pub(crate) fn pick(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let hash = self.hash(local, remote);
        let counter = &mut self.next[hash as usize % COUNTERS];
        let offset = (hash >> 32) as u32;
        for _ in 0..self.count {
            let port = self.first + (offset.wrapping_add(*counter) % self.count) as u16;
            *counter = counter.wrapping_add(1);
            if is_free(port) {
                return Some(port);
            }
        }
        None
    }

    fn hash(&self, local: IpAddr, remote: SocketAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        for addr in [local, remote.ip()] {
            match addr {
                IpAddr::V4(a) => hasher.write(&a.octets()),
                IpAddr::V6(a) => hasher.write(&a.octets()),
            }
        }
        hasher.write_u16(remote.port());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_is_used_once_before_any_comes_again() {
        let mut picker = PortPicker::new([7; 16], 60_000, 60_099);
        let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let mut used = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let port = picker
                .pick(local, remote, |p| !used.contains(&p))
                .expect("one is free");
            assert!(
                (60_000..=60_099).contains(&port) && used.insert(port),
                "{port} in range and new"
            );
        }
        assert_eq!(
            picker.pick(local, remote, |p| !used.contains(&p)),
            None,
            "all are taken"
        );
    }
}
