//! How many resets are sent for segments that belong to no connection.
//!
//! Read first: RFC 5961 section 7, CVE-2016-5696, [`crate::challenges`].
//!
//! A forged segment that hits a connection costs no such reset, and one that hits
//! none does: with one limit for all, whoever forges could count what is left of it
//! by segments of its own, and learn which connections others have. So each address
//! draws from a part of its own, and who shares a part is drawn anew each span by a
//! secret key. A part that was spent stays so until then: who finds by that that it
//! shares one with somebody learns nothing more from it. What remains is one guess
//! in a span, for somebody who can watch from about as many networks as there are
//! parts.
//!
//! Always true: no part gives more than its share in a span, so that all together
//! give no more than is allowed.

use core::hash::BuildHasher;
use core::net::IpAddr;

use crore_base::{Duration, Instant};

use crate::neighbor::KeyedHash;

/// How long a drawing of the parts holds.
const SPAN: Duration = Duration::from_secs(1);

/// The more parts, the fewer addresses share one; they cost four bytes each.
const PARTS_MAX: u32 = 1024;

/// What a part gives at least, as far as the whole has it: a peer that has lost its
/// connections is to hear of more than a few at once.
const SHARE_MIN: u32 = 32;

/// Allows so many a second, to each address its part.
pub(crate) struct ResetLimit {
    key: KeyedHash,
    /// Where in a second spans begin, which nobody knows either.
    phase: u64,
    span: u64,
    share: u32,
    /// How many were sent in this span: a power of two of parts.
    sent: Box<[u32]>,
}

impl ResetLimit {
    /// None are allowed if `per_second` is zero. `key` is secret.
    pub(crate) fn new(per_second: u32, key: [u8; 16]) -> Self {
        let parts = 1 << (per_second / SHARE_MIN).clamp(1, PARTS_MAX).ilog2();
        let key = KeyedHash(key);
        Self {
            phase: key.hash_one(()) % SPAN.as_nanos(),
            key,
            span: 0,
            share: per_second / parts,
            sent: vec![0; parts as usize].into(),
        }
    }

    //= rfc5961#section-7 (SHOULD)
    // What is limited is limited so that a forger learns nothing of others by it.
    /// Takes one for `addr`, if there is one.
    pub(crate) fn allow(&mut self, now: Instant, addr: IpAddr) -> bool {
        let span = now.as_nanos().saturating_add(self.phase) / SPAN.as_nanos();
        if span != self.span {
            self.span = span;
            self.sent.fill(0);
        }
        let part = self.part(addr);
        let Some(sent) = self.sent.get_mut(part).filter(|sent| **sent < self.share) else {
            return false;
        };
        *sent += 1;
        true
    }

    fn part(&self, addr: IpAddr) -> usize {
        // Whoever has one address of an IPv6 network may well have all of it.
        let network = match addr {
            IpAddr::V4(addr) => u64::from(addr.to_bits()),
            IpAddr::V6(addr) => (addr.to_bits() >> 64) as u64,
        };
        let hash = self.key.hash_one((self.span, addr.is_ipv6(), network));
        hash as usize & (self.sent.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    fn passed(limit: &mut ResetLimit, now: Instant, addr: IpAddr, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(limit.allow(now, addr))).sum()
    }

    #[test]
    fn over_a_span_no_more_than_the_rate_pass_from_however_many_addresses() {
        for per_second in [0, 1, 31, 100, 10_000, 12_500, 100_000, 1_000_000] {
            let mut limit = ResetLimit::new(per_second, [3; 16]);
            let now = Instant::from_millis(5_000);
            let all: u32 = (0..4_000)
                .map(|n| passed(&mut limit, now, v4(n), per_second / 500 + 1))
                .sum();
            assert!(all <= per_second, "{all} passed at {per_second}/s");
            assert!(all >= per_second / 2, "only {all} passed at {per_second}/s");
        }
    }

    #[test]
    fn one_address_gets_its_share_of_each_span_and_then_nothing() {
        let mut limit = ResetLimit::new(100_000, [3; 16]);
        for second in 5..9 {
            let now = Instant::from_millis(second * 1_000);
            assert_eq!(
                passed(&mut limit, now, v4(7), 1_000),
                97,
                "100,000 in 1,024 parts"
            );
        }
    }

    #[test]
    fn who_shares_a_part_changes_with_each_span_and_with_the_key() {
        let sharing = |key: u8, second: u64| -> Vec<u32> {
            let mut limit = ResetLimit::new(1_024, [key; 16]);
            let now = Instant::from_millis(second * 1_000);
            passed(&mut limit, now, v4(0), 32);
            (1..500).filter(|&n| !limit.allow(now, v4(n))).collect()
        };
        let first = sharing(3, 5);
        assert!((1..60).contains(&first.len()), "about one in 32: {first:?}");
        assert_eq!(first, sharing(3, 5), "no chance in it");
        let again = sharing(3, 6);
        let both = first.iter().filter(|n| again.contains(n)).count();
        assert!(both < first.len() / 2, "drawn anew: {first:?}, {again:?}");
        assert_ne!(first, sharing(4, 5), "another key");
    }

    #[test]
    fn an_ipv6_network_has_one_part() {
        let mut limit = ResetLimit::new(100_000, [3; 16]);
        let now = Instant::from_millis(5_000);
        let addr = |n: u128| IpAddr::V6(((0x2001_0db8_u128 << 96) + n).into());
        let all: u32 = (0..1_000).map(|n| passed(&mut limit, now, addr(n), 1)).sum();
        assert_eq!(all, 97, "from a thousand addresses of one network");
        let next: u32 = passed(&mut limit, now, addr(1 << 64), 1);
        assert_eq!(next, 1, "another network");
    }
}
