//! Initial sequence numbers and timestamp offsets that a stranger can't guess.
//!
//! Read first: RFC 6528, RFC 7323 section 7.1.

use core::net::IpAddr;

use crore_base::{FourTuple, Instant, SeqNum};
use siphasher::sip::SipHasher13;

/// Derives both from a secret key and the four-tuple.
#[derive(Clone)]
pub struct IsnGenerator {
    key: [u8; 16],
}

impl IsnGenerator {
    /// A generator under `key`, which must be random and stay secret.
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    //= rfc9293#section-3.4.1 (MUST)
    //= rfc6528#section-3 (SHOULD)
    // A clock of 4 microseconds, so that a tuple's successive connections get
    // increasing numbers, plus a keyed hash of the tuple, so that one tuple's
    // numbers tell nothing about another's.
    /// The initial sequence number for a connection opened at `now`.
    pub fn iss(&self, now: Instant, tuple: &FourTuple) -> SeqNum {
        let clock = (now.as_nanos() / 4_000) as u32;
        SeqNum(clock.wrapping_add(self.hash(0, tuple)))
    }

    //= rfc7323#section-7.1 (SHOULD)
    // Timestamps start at a point that differs by tuple, so that they reveal
    // neither uptime nor a shared host; for one tuple they never go back.
    /// What is added to the clock to make the timestamps of `tuple`.
    pub fn ts_offset(&self, tuple: &FourTuple) -> u32 {
        self.hash(1, tuple)
    }

    fn hash(&self, purpose: u8, tuple: &FourTuple) -> u32 {
        let hasher = SipHasher13::new_with_key(&self.key);
        // What IPv4 leaves out of the form for all would cost as much again.
        if let (IpAddr::V4(local), IpAddr::V4(remote)) = (tuple.local_addr, tuple.remote_addr) {
            let mut bytes = [0u8; 13];
            bytes[0] = purpose;
            bytes[1..5].copy_from_slice(&local.octets());
            bytes[5..9].copy_from_slice(&remote.octets());
            bytes[9..11].copy_from_slice(&tuple.local_port.to_be_bytes());
            bytes[11..].copy_from_slice(&tuple.remote_port.to_be_bytes());
            return hasher.hash(&bytes) as u32;
        }
        let mut bytes = [0u8; 1 + TUPLE_LEN];
        bytes[0] = purpose;
        bytes[1..].copy_from_slice(&tuple_bytes(tuple));
        hasher.hash(&bytes) as u32
    }
}

/// The key is not for logs.
impl core::fmt::Debug for IsnGenerator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IsnGenerator(secret)")
    }
}

/// Length of [`tuple_bytes`].
pub(crate) const TUPLE_LEN: usize = 37;

/// A four-tuple as bytes that no other tuple has.
pub(crate) fn tuple_bytes(tuple: &FourTuple) -> [u8; TUPLE_LEN] {
    let mut bytes = [0u8; TUPLE_LEN];
    bytes[0] = u8::from(tuple.local_addr.is_ipv6());
    bytes[1..17].copy_from_slice(&octets(tuple.local_addr));
    bytes[17..33].copy_from_slice(&octets(tuple.remote_addr));
    bytes[33..35].copy_from_slice(&tuple.local_port.to_be_bytes());
    bytes[35..37].copy_from_slice(&tuple.remote_port.to_be_bytes());
    bytes
}

pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore_base::Duration;

    fn tuple(remote_port: u16) -> FourTuple {
        FourTuple {
            local_addr: IpAddr::from([10, 0, 0, 1]),
            local_port: 80,
            remote_addr: IpAddr::from([10, 0, 0, 2]),
            remote_port,
        }
    }

    #[test]
    fn numbers_grow_with_the_clock_and_differ_by_tuple_and_key() {
        let isn = IsnGenerator::new([7; 16]);
        let now = Instant::from_millis(5);
        let first = isn.iss(now, &tuple(1000));
        let second = isn.iss(now + Duration::from_millis(4), &tuple(1000));
        assert_eq!(first.distance_to(second), 1000, "one step in 4 microseconds");
        assert_ne!(first, isn.iss(now, &tuple(1001)), "another tuple");
        assert_ne!(
            first,
            IsnGenerator::new([8; 16]).iss(now, &tuple(1000)),
            "another key"
        );
        assert_ne!(
            isn.ts_offset(&tuple(1000)),
            isn.iss(Instant::ZERO, &tuple(1000)).0,
            "timestamps must not give the sequence number away"
        );
    }
}
