//! TCP Fast Open: data in SYNs, both ways.
//!
//! Read first: RFC 7413, [`crore_tcp::FastOpenKeys`], `connection/fast_open.rs` of
//! the tcp crate.
//!
//! As a server: a SYN with a good cookie takes a place in the pool at once, and its
//! data can be read before the handshake is over. A listener has so many of them at
//! most; beyond that, and whenever anything else is in the way, the handshake is an
//! ordinary one. As a client: cookies are remembered by address, and so is where
//! SYNs with data get no answer.
//!
//! Always true: with Fast Open off, a SYN takes the way that it took before there
//! was any; what a peer whose address is not proven can take here is bounded by the
//! listener's limit.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};

use crore_base::{Duration, Instant, SeqNum};
use crore_tcp::{Connection, CookieVerdict, FastOpenKeys, Grant};
use crore_wire::FastOpenCookie;

use crate::input::Pending;
use crate::listener::Door;
use crate::pool::Active;
use crate::{ConnId, ConnectError, ConnectOptions, CookiePolicy, ListenerId, Stack};

/// Who uses TCP Fast Open (RFC 7413).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FastOpenPolicy {
    /// Nobody.
    #[default]
    Off,
    /// Connections that this host opens with data.
    Client,
    /// Listeners.
    Server,
    /// Both.
    Both,
}

impl FastOpenPolicy {
    const fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Both)
    }

    /// Whether listeners do.
    pub(crate) const fn is_server(self) -> bool {
        matches!(self, Self::Server | Self::Both)
    }
}

/// Servers whose cookies are remembered, at most; one that was not used for the
/// longest time gives way.
const CACHE_MAX: usize = 1_024;

/// For how long no data goes with a SYN to a server after one that did was lost;
/// twice as long each time, up to [`DOUBLED_MOST`] times.
const DISABLED: Duration = Duration::from_secs(3_600);
const DOUBLED_MOST: u8 = 6;

/// How long a handshake that failed goes on counting against its listener's limit.
const HELD: Duration = Duration::from_secs(60);

/// What Fast Open needs in a stack.
pub(crate) struct FastOpen {
    policy: FastOpenPolicy,
    keys: FastOpenKeys,
    servers: BTreeMap<IpAddr, Server>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug)]
struct Server {
    grant: Option<Grant>,
    /// Failures in a row.
    failures: u8,
    disabled_until: Instant,
    used_at: Instant,
}

impl FastOpen {
    pub(crate) fn new(policy: FastOpenPolicy, keys: FastOpenKeys) -> Self {
        Self {
            policy,
            keys,
            servers: BTreeMap::new(),
        }
    }

    /// Whether a cookie of `server` is there to be used.
    fn knows(&self, now: Instant, server: IpAddr) -> bool {
        let known = self.servers.get(&server);
        known.is_some_and(|known| known.grant.is_some() && known.disabled_until <= now)
    }

    /// What a SYN to `server` is to carry, whose default MSS is `mss`; nothing
    /// while that was found not to get through.
    fn offer(&mut self, now: Instant, server: IpAddr, mss: u16) -> Option<(FastOpenCookie, u16)> {
        let Some(known) = self.servers.get_mut(&server) else {
            return Some((FastOpenCookie::REQUEST, mss));
        };
        known.used_at = now;
        if now < known.disabled_until {
            return None;
        }
        Some(match known.grant {
            Some(grant) => (grant.cookie, grant.mss.unwrap_or(mss)),
            None => (FastOpenCookie::REQUEST, mss),
        })
    }

    //= rfc7413#section-4.1.3 (MUST)
    // The client keeps the cookie by the server's address, with the MSS.
    /// `server` gave `grant`.
    fn remember(&mut self, now: Instant, server: IpAddr, grant: Grant) {
        let known = self.entry(now, server);
        known.grant = Some(grant);
        known.failures = 0;
    }

    //= rfc7413#section-4.1.3.1 (SHOULD)
    // Where a SYN with data, or with the option, got no answer, none is sent for a
    // while: something on the way may throw them away.
    fn note_failure(&mut self, now: Instant, server: IpAddr) {
        let known = self.entry(now, server);
        known.grant = None;
        let factor = 1 << known.failures.min(DOUBLED_MOST);
        known.disabled_until = now + DISABLED.saturating_mul(factor);
        known.failures = known.failures.saturating_add(1);
    }

    fn entry(&mut self, now: Instant, server: IpAddr) -> &mut Server {
        if self.servers.len() >= CACHE_MAX && !self.servers.contains_key(&server) {
            let oldest = self.servers.iter().min_by_key(|(_, known)| known.used_at);
            if let Some(oldest) = oldest.map(|(&addr, _)| addr) {
                self.servers.remove(&oldest);
            }
        }
        let known = self.servers.entry(server).or_insert(Server {
            grant: None,
            failures: 0,
            disabled_until: Instant::ZERO,
            used_at: now,
        });
        known.used_at = now;
        known
    }
}

/// Handshakes of one listener whose data was taken before they were over.
#[derive(Default)]
pub(crate) struct FastOpenQueue {
    /// How many there may be.
    pub(crate) max: u32,
    /// Whether data is taken without a cookie.
    pub(crate) trusting: bool,
    pending: u32,
    /// When those that have failed cease to count.
    held: VecDeque<Instant>,
}

impl FastOpenQueue {
    pub(crate) fn with_max(max: u32) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Takes a place, if there is one.
    pub(crate) fn enter(&mut self, now: Instant) -> bool {
        while self.held.front().is_some_and(|&until| until <= now) {
            self.held.pop_front();
        }
        let free = u64::from(self.pending) + (self.held.len() as u64) < u64::from(self.max);
        self.pending += u32::from(free);
        free
    }

    //= rfc7413#section-5.1 (MUST)
    // One that was reset goes on counting for a while, or an attacker could have
    // any number of SYNs with data served whose resets are somebody else's.
    /// Gives the place back; later if the handshake has `failed`.
    pub(crate) fn leave(&mut self, now: Instant, failed: bool) {
        self.pending = self.pending.saturating_sub(1);
        if failed {
            self.held.push_back(now + HELD);
        }
    }
}

/// What a SYN with the option is answered by.
pub(crate) enum SynWithCookie {
    /// Its data was taken; the connection is there.
    Opened,
    /// An ordinary handshake, by which the client is given a cookie or not.
    Ordinary { grants: bool },
}

impl Stack {
    /// How many handshakes of `listener` may have had their data taken at once;
    /// zero turns Fast Open off for it. It is
    /// [`crate::StackConfig::fast_open_queue`] until set otherwise. Whether there is
    /// such a listener; where listeners don't use Fast Open at all, it means nothing.
    pub fn set_fast_open_queue(&mut self, listener: ListenerId, max: u32) -> bool {
        let max = if self.config.fast_open.is_server() { max } else { 0 };
        self.listeners.set_fast_open_max(listener, max)
    }

    /// Whether `listener` takes the data of a SYN without asking for a cookie. That is
    /// for networks where nobody can forge an address, or where it does not matter;
    /// the limit of [`Self::set_fast_open_queue`] holds all the same. Whether there is
    /// such a listener.
    pub fn set_fast_open_without_cookie(&mut self, listener: ListenerId, trusting: bool) -> bool {
        self.listeners.set_fast_open_trusting(listener, trusting)
    }

    /// Whether listeners here use Fast Open, as [`crate::StackConfig::fast_open`] says.
    pub fn is_fast_open_server(&self) -> bool {
        self.fast_open.policy.is_server()
    }

    /// Whether data would go with the SYN of a connection to `server` that is opened
    /// by [`Self::connect_with_data`]: a cookie of its is known.
    pub fn knows_fast_open(&self, now: Instant, server: IpAddr) -> bool {
        self.fast_open.policy.is_client() && self.fast_open.knows(now, server)
    }

    /// How many bytes the SYN can carry that is about to be sent for `conn`; zero if
    /// it is to carry none.
    pub fn syn_room(&self, conn: ConnId) -> usize {
        self.slots
            .active_by_id(conn)
            .map_or(0, |active| active.conn.syn_room())
    }

    //= rfc7413#section-4.2.2 (MUST)
    // With a cookie of the server's, the SYN carries data; without one, it asks for
    // one, and the data follows the handshake.
    /// As [`Self::connect_with`], with the first data; says how much of it was
    /// taken. Where Fast Open is used and the server is known, it goes with the SYN.
    pub fn connect_with_data(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        how: &ConnectOptions,
        data: &[u8],
    ) -> Result<(ConnId, usize), ConnectError> {
        let conn = self.connect_with(now, remote, how)?;
        let offer = if self.fast_open.policy.is_client() {
            let default = if how.without_cookie {
                // Where so much is known of the network, its MTU is, too.
                u16::MAX
            } else {
                self.path_to(remote.ip()).default_mss()
            };
            let offer = self.fast_open.offer(now, remote.ip(), default);
            offer.map(|(cookie, mss)| ((!how.without_cookie).then_some(cookie), mss))
        } else {
            None
        };
        let Some(index) = self.slots.active_index(conn.slot) else {
            return Ok((conn, 0));
        };
        let Some(active) = self.slots.pool.get_mut(index) else {
            return Ok((conn, 0));
        };
        if let Some((cookie, mss)) = offer {
            active.conn.offer_fast_open(cookie, mss);
            let asks = cookie.is_some_and(|cookie| cookie.is_request());
            self.counters.fast_opens_out += u64::from(!asks);
        }
        let taken = active.conn.write(data).unwrap_or(0);
        self.mark_ready(index);
        Ok((conn, taken))
    }

    /// A SYN with a Fast Open option for a listener that serves it.
    ///
    //= rfc7413#section-4.2.2 (MUST)
    // A good cookie, and a place: the data is taken. A bad one: an ordinary
    // handshake, and a good cookie for the next time.
    pub(crate) fn on_syn_with_cookie(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        listener: Door,
        iss: SeqNum,
    ) -> SynWithCookie {
        let ordinary = |grants| SynWithCookie::Ordinary { grants };
        let (client, server) = (pending.tuple.remote_addr, pending.tuple.local_addr);
        let verdict = match pending.segment.options.fast_open {
            _ if listener.trusts && !pending.payload.is_empty() => CookieVerdict::Good,
            None => return ordinary(false),
            Some(cookie) if cookie.is_request() => return ordinary(true),
            Some(cookie) => self.fast_open.keys.judge(now, client, server, &cookie),
        };
        let may_open = verdict != CookieVerdict::Bad
            && self.cookies.policy != CookiePolicy::Always
            && !pending.segment.flags.has_fin()
            && self.make_room()
            && self.listeners.enter_fast_open(now, listener.id);
        if !may_open {
            self.counters.fast_opens_refused += 1;
            return ordinary(verdict != CookieVerdict::Good);
        }
        let renewal =
            (verdict == CookieVerdict::Old).then(|| self.fast_open.keys.cookie(now, client, server));
        if self.open_fast(now, pending, listener, iss, renewal) {
            self.counters.fast_opens_in += 1;
            SynWithCookie::Opened
        } else {
            self.listeners.leave_fast_open(now, listener.id, false);
            ordinary(false)
        }
    }

    fn open_fast(
        &mut self,
        now: Instant,
        pending: &mut Pending,
        listener: Door,
        iss: SeqNum,
        renewal: Option<FastOpenCookie>,
    ) -> bool {
        let tuple = pending.tuple;
        let (ts_offset, path) = (self.isn.ts_offset(&tuple), self.path_to(tuple.remote_addr));
        let config = self.tcp.get(listener.profile).clone();
        let mut conn = Connection::open_passive(config, now, iss, ts_offset, path, &pending.segment);
        // Over the budget for received data, the client sends it again.
        let data = if !self.memory.is_received_full() {
            pending.take_payload(self.memory.packets_are_low())
        } else {
            crore_netbuf::Chunk::empty()
        };
        conn.accept_fast_open(data, renewal);
        let mut active = self.make_active(now, conn, tuple, Some(listener.id));
        active.fast_opening = true;
        let Some((slot, index)) = self.slots.insert(&tuple, |slot| Active { slot, ..active }) else {
            return false;
        };
        self.tcp.assign(slot, listener.profile);
        self.listeners.handshake_began(listener.id);
        self.flows.insert(pending.hash, slot);
        self.note_peak();
        if let Some(active) = self.slots.pool.get_mut(index) {
            active.settle(&mut self.memory);
        }
        self.touch(index);
        true
    }

    /// The cookie that `client` is given by a listener at `server` if it asks now.
    pub fn fast_open_cookie(&self, now: Instant, client: IpAddr, server: IpAddr) -> FastOpenCookie {
        self.fast_open.keys.cookie(now, client, server)
    }

    /// The handshake at `index`, whose data was taken before its end, may be over.
    #[inline(never)]
    pub(crate) fn settle_fast_open(&mut self, now: Instant, index: u32) {
        let Some(active) = self.slots.pool.get_mut(index) else {
            return;
        };
        if active.conn.is_fast_opening() {
            return;
        }
        active.fast_opening = false;
        let failed = active.conn.state() == crate::State::Closed;
        if let Some(listener) = active.listener {
            self.listeners.leave_fast_open(now, listener, failed);
        }
    }

    /// The connection at `index`, which this host has opened, is open, or over:
    /// what is learnt by that of its server.
    #[cold]
    pub(crate) fn learn_from_fast_open(&mut self, index: u32) {
        if !self.fast_open.policy.is_client() {
            return;
        }
        let Some(active) = self.slots.pool.get(index) else {
            return;
        };
        let server = active.tuple.remote_addr;
        if active.listener.is_some() {
            return;
        }
        if active.conn.fast_open_failed() {
            self.fast_open.note_failure(self.clock, server);
        } else if let Some(grant) = active.conn.fast_open_grant() {
            self.fast_open.remember(self.clock, server, grant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(byte: u8) -> Grant {
        Grant {
            cookie: FastOpenCookie::new(&[byte; 8]).unwrap(),
            mss: Some(1_400),
        }
    }

    /// Protects memory from an application that talks to ever more servers.
    #[test]
    fn the_cache_is_bounded_and_forgets_whom_nobody_asks_for() {
        let mut fast_open = FastOpen::new(FastOpenPolicy::Client, FastOpenKeys::new([0; 16], Vec::new()));
        let addr = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..CACHE_MAX as u32 + 10 {
            let now = Instant::from_millis(u64::from(n));
            fast_open.remember(now, addr(n), grant(1));
            // The first one stays in use.
            fast_open.offer(now, addr(0), 536);
        }
        assert_eq!(fast_open.servers.len(), CACHE_MAX, "no more than that");
        let now = Instant::from_millis(5_000);
        assert_eq!(
            fast_open.offer(now, addr(0), 536),
            Some((grant(1).cookie, 1_400)),
            "the one in use, with its MSS"
        );
        let request = Some((FastOpenCookie::REQUEST, 536));
        assert_eq!(fast_open.offer(now, addr(1), 536), request, "one that was not");
    }

    //= rfc7413#section-4.1.3.1 (SHOULD)
    #[test]
    fn a_server_whose_syns_with_data_vanish_is_left_alone_for_a_while() {
        let mut fast_open = FastOpen::new(FastOpenPolicy::Client, FastOpenKeys::new([0; 16], Vec::new()));
        let server = IpAddr::from([10, 0, 0, 1]);
        let mut now = Instant::from_millis(1_000);
        fast_open.remember(now, server, grant(1));
        for hours in [1, 2, 4] {
            fast_open.note_failure(now, server);
            now += Duration::from_secs(3_600 * hours - 1);
            assert_eq!(fast_open.offer(now, server, 536), None, "not within {hours} h");
            now += Duration::from_secs(2);
            let request = Some((FastOpenCookie::REQUEST, 536));
            assert_eq!(
                fast_open.offer(now, server, 536),
                request,
                "{hours} h: it is asked anew"
            );
        }
        fast_open.remember(now, server, grant(2));
        fast_open.note_failure(now, server);
        now += Duration::from_secs(3_601);
        assert!(
            fast_open.offer(now, server, 536).is_some(),
            "a success begins anew"
        );
    }

    //= rfc7413#section-5.1 (MUST)
    #[test]
    fn handshakes_that_fail_go_on_counting_for_a_while() {
        let mut queue = FastOpenQueue::with_max(2);
        let now = Instant::from_millis(1_000);
        assert!(
            queue.enter(now) && queue.enter(now) && !queue.enter(now),
            "two at once"
        );
        queue.leave(now, false);
        assert!(queue.enter(now), "one has succeeded");
        queue.leave(now, true);
        assert!(!queue.enter(now), "one has failed");
        assert!(queue.enter(now + HELD), "a minute later");
        assert!(!FastOpenQueue::with_max(0).enter(now), "zero is off");
    }
}
