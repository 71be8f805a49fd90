//! What a connection does about the size of its segments.
//!
//! Read first: RFC 1191, RFC 8201, RFC 8899; what is known of the path, and what
//! of it is believed, is in `path_mtu.rs`.

use crore_base::{Instant, SeqNum};

use super::Connection;
use crate::config::MSS_FLOOR;
use crate::path_mtu::{PathMtu, PathMtuVerdict, SILENT_TIMEOUTS};
use crate::{Config, MtuProbing, Path, State};

/// Segments that have to follow a try, so that its loss shows by what arrives
/// behind it (RFC 4821 section 7.2).
const BEHIND_A_TRY: u32 = 4;

impl Connection {
    /// A router says that the segment numbered `seq`, which is in flight, does
    /// not get through, and that one of `mss` bytes (options included) would.
    ///
    //= rfc8201#section-4 (MUST)
    // A path of IPv6 bears 1,280 bytes; a message that names less is none. In
    // IPv4, what names less than 552 is taken for 552: lower values are more
    // likely forged than true (RFC 5927 section 7.2).
    pub fn on_path_mtu(&mut self, now: Instant, seq: SeqNum, mss: u16) -> PathMtuVerdict {
        const LEAST_V4: u16 = 552 - 40;
        const LEAST_V6: u16 = 1280 - 60;
        if self.state == State::Closed || (self.path.ipv6 && mss < LEAST_V6) {
            return PathMtuVerdict::Ignored;
        }
        let mss = if self.path.ipv6 { mss } else { mss.max(LEAST_V4) };
        let verdict = self.path_mtu.on_router(seq, mss, self.mss);
        if verdict == PathMtuVerdict::Taken {
            self.take_router_word(now, mss);
        }
        verdict
    }

    //= rfc1191#section-6.4 (SHOULD)
    // What was too large is sent again at once; that is no sign of congestion.
    fn take_router_word(&mut self, now: Instant, mss: u16) {
        self.path_mtu.on_lowered(now);
        self.use_mss(mss);
        if self.snd.flight() > 0 && self.state.can_transmit() {
            self.resend_all(now);
        }
    }

    fn use_mss(&mut self, mss: u16) {
        self.mss = mss;
        self.path.send_mss = mss;
        self.congestion.set_mss(self.smss());
    }

    /// The retransmission timer has run out: smaller segments may help.
    //= rfc8899#section-4.3 (MAY)
    // A path that has swallowed the same data time and again, without a word,
    // may be one that swallows what is large.
    pub(super) fn shrink_after_timeout(&mut self, now: Instant) {
        self.path_mtu.give_up_try(now, self.mss);
        if let Some(mss) = self.path_mtu.on_timeout(self.snd.una) {
            self.path_mtu.on_lowered(now);
            self.use_mss(mss);
            return;
        }
        let waits = self.config.mtu_probing == MtuProbing::Off || self.retries < SILENT_TIMEOUTS;
        if waits || self.snd.wnd == 0 {
            return;
        }
        let Some(base) = PathMtu::base_below(self.mss, self.path.ipv6) else {
            return;
        };
        // What is small already does not vanish for its size.
        let data = self.snd.una.distance_to(self.snd.data_end().max(self.snd.una));
        if data.min(self.smss()) + u32::from(self.mss) - self.smss() > u32::from(base) {
            self.path_mtu.on_black_hole();
            self.use_mss(base);
        }
    }

    /// New data of `len` bytes was sent that ends at `end`, while the size of
    /// segments is of interest.
    #[cold]
    pub(super) fn watch_sent(&mut self, now: Instant, start: SeqNum, end: SeqNum, len: u32) {
        let smss = self.smss();
        if len > smss {
            let size = u16::try_from(len + u32::from(self.mss) - smss).unwrap_or(u16::MAX);
            self.path_mtu.on_try_sent(size, start, end);
        } else if len == smss {
            self.path_mtu.on_full_sent(end);
        }
        if self.path_mtu.rests_until().is_some_and(|until| until <= now) {
            self.raise(now);
        }
    }

    /// Ten minutes after it was found too small the path is tried again.
    fn raise(&mut self, now: Instant) {
        if self.can_try() {
            self.path_mtu.start();
        } else {
            // The old way: a router will say so if it is still too much.
            let ceiling = self.path_mtu.ceiling();
            self.path_mtu = PathMtu::new(now, ceiling, ceiling);
            self.use_mss(ceiling);
        }
    }

    /// More was acknowledged, while the size of segments is of interest.
    #[cold]
    pub(super) fn watch_acked(&mut self, now: Instant) {
        if let Some(size) = self.path_mtu.on_acked(self.snd.una) {
            self.use_mss(size);
            self.path_mtu.settle(now, self.mss);
        }
    }

    /// Without SACK, a try that is lost can't be told from congestion.
    fn can_try(&self) -> bool {
        self.sack && self.config.mtu_probing != MtuProbing::Off
    }

    /// The payload of a larger segment that is to be tried now; none if that has to wait.
    //= rfc4821#section-7.2 (SHOULD)
    // A try carries data that is to be sent anyway, in front of more that the
    // windows let out: then its loss shows. None is made while something else is
    // lost.
    #[cold]
    pub(super) fn room_for_try(&self, now: Instant) -> Option<u32> {
        let size = self.path_mtu.next_try(self.mss)?;
        let len = u32::from(size) - (u32::from(self.mss) - self.smss());
        let whole = len + BEHIND_A_TRY * self.smss();
        let fits = self.can_try()
            && self.recovery.is_calm()
            && self.recovery.is_silent()
            && !self.sends_sack()
            && !self.shows_bytes(true)
            && self.snd.unsent_data() >= whole
            && self.snd.window_beyond(self.snd.nxt) >= whole
            && self.window_at(now).saturating_sub(self.snd.flight()) >= whole;
        fits.then_some(len)
    }

    /// Something is lost. Whether it is a larger segment that was tried, and
    /// nothing else.
    pub(super) fn only_a_try_is_lost(&mut self, now: Instant) -> bool {
        let Some((start, end)) = self.path_mtu.try_under_way() else {
            return false;
        };
        let only = self.sent.lost() == start.distance_to(end);
        if self.snd.una != start || !only {
            // The path is full, and says so; the try is judged as well.
            self.path_mtu.give_up_try(now, self.mss);
            return false;
        }
        self.path_mtu.on_lost(now, self.mss, (start, end))
    }

    /// The largest segment that the path bears, options included, as routers
    /// have said, if that is less than the peer and the own link take.
    pub fn path_limit(&self) -> Option<u16> {
        (self.mss < self.path_mtu.ceiling() && self.path_mtu.is_routers()).then_some(self.mss)
    }
}

/// The size of segments to begin with where the peer and the own link take
/// `ceiling`, and what is to be found out about it.
#[inline]
pub(crate) fn first_mss(config: &Config, path: Path, now: Instant, ceiling: u16) -> (u16, PathMtu) {
    let mss = ceiling.min(path.send_mss.max(MSS_FLOOR));
    let mut path_mtu = PathMtu::new(now, ceiling, mss);
    if config.mtu_probing == MtuProbing::Always
        && let Some(base) = PathMtu::base_below(mss, path.ipv6)
    {
        path_mtu.start();
        return (base, path_mtu);
    }
    (mss, path_mtu)
}
