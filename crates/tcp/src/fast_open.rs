//! Cookies for TCP Fast Open: how a server knows a client again that has shown
//! before that it is where it says it is.
//!
//! Read first: RFC 7413 sections 4.1.2 and 5.1.
//!
//! Always true: a cookie is good for one pair of addresses; it tells nothing of
//! the key, and nothing is remembered of whom it was given to.

use core::hash::Hasher;
use core::net::IpAddr;

use crore_base::Instant;
use crore_wire::FastOpenCookie;
use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24x128};

use crate::isn::octets;

/// A key that was not chosen is another one each 2^46 ns, 19.5 hours. A cookie is
/// good in its own period and in the next.
const PERIOD_SHIFT: u32 = 46;

/// Makes cookies and recognises them.
#[derive(Clone)]
pub struct FastOpenKeys {
    secret: [u8; 16],
    /// Those that were chosen, the first of which makes new ones.
    chosen: Vec<[u8; 16]>,
}

/// What a cookie is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieVerdict {
    /// It was made here for just these addresses.
    Good,
    /// The same, under a key that is going out of use: the client gets a new one.
    Old,
    /// It was not.
    Bad,
}

impl FastOpenKeys {
    /// Under keys that follow from `secret` (random, and kept secret) and change
    /// as time goes; or under `chosen` ones, where several hosts must know each
    /// other's cookies: the first makes them, all recognise them.
    pub const fn new(secret: [u8; 16], chosen: Vec<[u8; 16]>) -> Self {
        Self { secret, chosen }
    }

    //= rfc7413#section-4.1.2 (MUST)
    // Only a cookie that this host made for the client's address is good; keys
    // change, so that cookies grow old.
    /// The cookie for `client`, which wants to talk to `server`.
    pub fn cookie(&self, now: Instant, client: IpAddr, server: IpAddr) -> FastOpenCookie {
        let key = match self.chosen.first() {
            Some(key) => *key,
            None => self.key_of(period(now)),
        };
        cookie_under(&key, client, server)
    }

    /// What `cookie` is worth in the hands of `client`.
    pub fn judge(
        &self,
        now: Instant,
        client: IpAddr,
        server: IpAddr,
        cookie: &FastOpenCookie,
    ) -> CookieVerdict {
        if *cookie == self.cookie(now, client, server) {
            return CookieVerdict::Good;
        }
        let is = |key: &[u8; 16]| *cookie == cookie_under(key, client, server);
        let old = if self.chosen.is_empty() {
            let current = period(now);
            current > 0 && is(&self.key_of(current - 1))
        } else {
            self.chosen.iter().skip(1).any(is)
        };
        if old {
            CookieVerdict::Old
        } else {
            CookieVerdict::Bad
        }
    }

    fn key_of(&self, period: u64) -> [u8; 16] {
        let mut hasher = SipHasher24x128::new_with_key(&self.secret);
        hasher.write_u64(period);
        hasher.finish128().as_bytes()
    }
}

/// The keys are not for logs.
impl core::fmt::Debug for FastOpenKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FastOpenKeys(secret)")
    }
}

fn period(now: Instant) -> u64 {
    now.as_nanos() >> PERIOD_SHIFT
}

fn cookie_under(key: &[u8; 16], client: IpAddr, server: IpAddr) -> FastOpenCookie {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&octets(client));
    bytes[16..].copy_from_slice(&octets(server));
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&bytes);
    FastOpenCookie::new(&hasher.finish().to_be_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore_base::Duration;

    //= rfc7413#section-4.1.2 (MUST)
    #[test]
    fn a_cookie_is_good_for_its_addresses_and_its_time() {
        let keys = FastOpenKeys::new([7; 16], Vec::new());
        let (client, server) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::from_millis(1_000);
        let cookie = keys.cookie(now, client, server);
        assert_eq!(cookie.as_bytes().len(), 8, "64 bits to guess");
        let judge = |at, client, server| keys.judge(at, client, server, &cookie);
        assert_eq!(judge(now, client, server), CookieVerdict::Good, "fresh");
        let other = IpAddr::from([10, 0, 0, 3]);
        assert_eq!(judge(now, other, server), CookieVerdict::Bad, "another client");
        assert_eq!(judge(now, client, other), CookieVerdict::Bad, "another server");
        let period = Duration::from_nanos(1 << PERIOD_SHIFT);
        assert_eq!(
            judge(now + period, client, server),
            CookieVerdict::Old,
            "the next period"
        );
        assert_eq!(
            judge(now + period + period, client, server),
            CookieVerdict::Bad,
            "grown too old"
        );
        assert_eq!(
            keys.judge(now, client, server, &FastOpenCookie::REQUEST),
            CookieVerdict::Bad,
            "nothing is no cookie"
        );
    }

    #[test]
    fn chosen_keys_are_the_same_on_each_host_and_can_be_changed_one_by_one() {
        let (client, server) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::from_millis(1_000);
        let before = FastOpenKeys::new([1; 16], vec![[5; 16]]);
        let after = FastOpenKeys::new([2; 16], vec![[6; 16], [5; 16]]);
        let cookie = before.cookie(now, client, server);
        assert_eq!(
            after.judge(now, client, server, &cookie),
            CookieVerdict::Old,
            "known"
        );
        let gone = FastOpenKeys::new([1; 16], vec![[6; 16]]);
        assert_eq!(
            gone.judge(now, client, server, &cookie),
            CookieVerdict::Bad,
            "forgotten"
        );
    }
}
