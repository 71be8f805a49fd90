//! How large a segment the way to the peer bears, as far as one connection has
//! found out: what routers say, what is seen to arrive, and what is tried.
//!
//! Read first: RFC 1191 section 6.3, RFC 5927 section 7.2 (what to believe of
//! routers' messages), RFC 4821 and RFC 8899 (finding out without them).
//!
//! Sizes are those of whole segments, TCP options included, as an MSS is.
//! `Connection::mss` is what is sent now; here is why, and what may follow.
//!
//! Always true: nothing is tried above `ceiling`; a try that is under way was
//! sent as new data between `start` and `end`, and is larger than the MSS.

use crore_base::{Duration, Instant, SeqNum};

/// When a smaller path is tried again at its former size.
//= rfc1191#section-6.3 (SHOULD)
// Not sooner than ten minutes after it was found to be too large. (RFC 8899
// section 5.1.1 has the same time for its PMTU_RAISE_TIMER.)
pub(crate) const RAISE_AFTER: Duration = Duration::from_secs(600);

/// How often a size is tried before it counts as too large: losses have other
/// reasons as well (RFC 8899 section 5.1.2).
pub(crate) const TRIES: u8 = 3;

/// A search ends when there is less than this to be gained, in bytes.
const RESOLUTION: u16 = 32;

/// The sizes that a black hole lets through, one after the other, without
/// saying so: IPv6 links bear 1,280 bytes, and what fails at that has other
/// reasons; for IPv4 they are what Linux falls back to, and what every host
/// takes (RFC 1122 section 3.3.2).
const BASE_V6: u16 = 1280 - 60;
const BASES_V4: [u16; 2] = [1024, 536];

/// Time-outs in a row, with nothing coming through, after which a black hole is
/// thought of: as many as Linux has (`tcp_retries1`); fewer would take each
/// outage for one.
pub(crate) const SILENT_TIMEOUTS: u8 = 3;

/// What is done about paths that swallow large packets without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MtuProbing {
    /// Nothing: only what routers say counts.
    Off,
    /// Segments get smaller when large ones seem to vanish, and larger by and by.
    #[default]
    BlackHoles,
    /// Connections begin with small segments, and try larger ones.
    Always,
}

/// The search for what a path bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PathMtu {
    /// What the peer and the own link take.
    ceiling: u16,
    /// Whether a segment of the present size has been seen to arrive.
    proof: Proof,
    /// A router's word that is not believed yet: the size, and what it was about.
    held: Option<(u16, SeqNum)>,
    search: Search,
    limit: Limit,
    /// An acknowledgment may tell something: what was sent is waited for. It stays
    /// until one was looked at that leaves nothing to wait for.
    awaits: bool,
}

/// Who has set the size of segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    /// The ceiling, or the search.
    Own,
    /// A router, now or to an earlier connection.
    Router,
    /// A silence, which may have had other reasons: it is nobody else's business.
    BlackHole,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    None,
    /// One was sent that ends here.
    Sent(SeqNum),
    Arrived,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Search {
    /// There is nothing to find.
    Over,
    /// It goes on then, up to the ceiling.
    Rests(Instant),
    /// Something between what is sent and `high` is to be tried.
    Tries { high: u16, failed: u8 },
    /// A segment of `size` bytes is under way.
    UnderWay {
        high: u16,
        failed: u8,
        size: u16,
        start: SeqNum,
        end: SeqNum,
    },
}

/// What follows from a router's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathMtuVerdict {
    /// Segments are smaller from now on.
    Taken,
    /// It is remembered until what it is about is acknowledged, or times out.
    Held,
    /// It can't be true, or changes nothing.
    Ignored,
}

impl PathMtu {
    /// A path that may bear `ceiling`, and is used with `mss` at first.
    #[inline]
    pub(crate) fn new(now: Instant, ceiling: u16, mss: u16) -> Self {
        Self {
            ceiling,
            proof: Proof::None,
            held: None,
            search: if mss < ceiling {
                Search::Rests(now + RAISE_AFTER)
            } else {
                Search::Over
            },
            limit: if mss < ceiling { Limit::Router } else { Limit::Own },
            awaits: false,
        }
    }

    /// The search begins at once.
    pub(crate) fn start(&mut self) {
        self.search = Search::Tries {
            high: self.ceiling,
            failed: 0,
        };
    }

    /// What the peer and the own link take.
    pub(crate) const fn ceiling(&self) -> u16 {
        self.ceiling
    }

    /// Whether a segment that is sent is of interest here, which may be a `full` one.
    #[inline]
    pub(crate) fn wants_sent(&self, full: bool) -> bool {
        !matches!(self.search, Search::Over) || (full && matches!(self.proof, Proof::None))
    }

    /// Whether each acknowledgment is.
    #[inline]
    pub(crate) const fn wants_acked(&self) -> bool {
        self.awaits
    }

    /// A segment as large as they are now was sent, which ends at `end`.
    pub(crate) fn on_full_sent(&mut self, end: SeqNum) {
        if self.proof == Proof::None {
            self.proof = Proof::Sent(end);
            self.awaits = true;
        }
    }

    /// All before `una` has arrived. Gives the size that was tried with success.
    pub(crate) fn on_acked(&mut self, una: SeqNum) -> Option<u16> {
        if let Proof::Sent(end) = self.proof
            && una.at_or_after(end)
        {
            self.proof = Proof::Arrived;
        }
        //= rfc5927#section-7.2 (SHOULD)
        // What a router said did not get through got through: it was no router.
        if self.held.is_some_and(|(_, seq)| una.after(seq)) {
            self.held = None;
        }
        let tried = match self.search {
            Search::UnderWay { high, size, end, .. } if una.at_or_after(end) => {
                self.proof = Proof::Arrived;
                self.search = Search::Tries { high, failed: 0 };
                Some(size)
            }
            _ => None,
        };
        self.awaits = matches!(self.proof, Proof::Sent(_)) || self.is_trying() || self.held.is_some();
        tried
    }

    /// The segment numbered `seq` does not get through, says a router, but one
    /// of `size` would; `mss` is what is sent.
    //= rfc5927#section-7.2 (SHOULD)
    // While nothing as large has ever arrived it is believed at once. Later it
    // is only once the data times out: a path that works is not made slower
    // by a message that anybody could have sent.
    pub(crate) fn on_router(&mut self, seq: SeqNum, size: u16, mss: u16) -> PathMtuVerdict {
        if let Search::UnderWay {
            high,
            failed,
            size: tried,
            start,
            ..
        } = &mut self.search
            && seq == *start
            && size >= mss
        {
            // It is about a try, which stays one until it is found to be lost: its
            // loss says nothing else. The next one will not be larger than this.
            if size < *tried {
                (*high, *failed) = (size.min(*high), TRIES);
            }
            return PathMtuVerdict::Ignored;
        }
        if size >= mss {
            return PathMtuVerdict::Ignored;
        }
        if self.proof == Proof::Arrived {
            self.held = Some((size, seq));
            self.awaits = true;
            return PathMtuVerdict::Held;
        }
        PathMtuVerdict::Taken
    }

    /// The data from `una` on has timed out: the size that a router had named
    /// for it, if one did.
    pub(crate) fn on_timeout(&mut self, una: SeqNum) -> Option<u16> {
        let (size, seq) = self.held.take()?;
        una.at_or_before(seq).then_some(size)
    }

    /// Segments have been made smaller because a router said so: it knows.
    pub(crate) fn on_lowered(&mut self, now: Instant) {
        self.proof = Proof::None;
        self.held = None;
        self.search = Search::Rests(now + RAISE_AFTER);
        self.limit = Limit::Router;
    }

    /// The largest size below `mss` that a black hole may let through.
    pub(crate) fn base_below(mss: u16, ipv6: bool) -> Option<u16> {
        let bases: &[u16] = if ipv6 { &[BASE_V6] } else { &BASES_V4 };
        bases.iter().copied().find(|&base| base < mss)
    }

    /// Segments have been made smaller because larger ones seem to vanish: how
    /// large they may be is to be found. It may have been an outage of everything.
    pub(crate) fn on_black_hole(&mut self) {
        self.proof = Proof::None;
        self.held = None;
        self.limit = Limit::BlackHole;
        self.start();
    }

    /// Whether a router has said how large segments may be.
    pub(crate) fn is_routers(&self) -> bool {
        self.limit == Limit::Router
    }

    /// What a parked connection is to remember, of which `mss` was sent last.
    /// What a router has said is remembered elsewhere; what a silence has shown is not.
    pub(crate) fn kept(&self, mss: u16) -> u16 {
        match self.limit {
            Limit::Own | Limit::Router => self.ceiling,
            Limit::BlackHole => mss,
        }
    }

    /// When the search goes on, if it rests.
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        match self.search {
            Search::Rests(until) => Some(until),
            _ => None,
        }
    }

    /// The size to be tried next: first the largest, since what was in the way
    /// may be gone, then the middle.
    //= rfc8899#section-5.2 (SHOULD)
    // Nothing is tried before a segment of the present size was seen to arrive.
    #[inline]
    pub(crate) fn next_try(&self, mss: u16) -> Option<u16> {
        match self.search {
            Search::Tries { high, .. } if self.proof == Proof::Arrived && high > mss => {
                Some(if high == self.ceiling {
                    high
                } else {
                    mss + (high - mss).div_ceil(2)
                })
            }
            _ => None,
        }
    }

    /// A try of `size` was sent.
    pub(crate) fn on_try_sent(&mut self, size: u16, start: SeqNum, end: SeqNum) {
        if let Search::Tries { high, failed } = self.search {
            self.awaits = true;
            self.search = Search::UnderWay {
                high,
                failed,
                size,
                start,
                end,
            };
        }
    }

    /// The data between `start` and `end` is lost, and nothing else. Whether it
    /// was a try, and is nothing that says that the path is full.
    //= rfc8899#section-3 (SHOULD NOT)
    // That a try is lost is no sign of congestion.
    pub(crate) fn on_lost(&mut self, now: Instant, mss: u16, lost: (SeqNum, SeqNum)) -> bool {
        match self.search {
            Search::UnderWay { start, end, .. } if lost.0.at_or_after(start) && lost.1.at_or_before(end) => {
                self.fail(now, mss);
                true
            }
            _ => false,
        }
    }

    /// A try is under way, and will not be waited for any longer.
    pub(crate) fn give_up_try(&mut self, now: Instant, mss: u16) {
        if self.is_trying() {
            self.fail(now, mss);
        }
    }

    /// The first number of what is tried.
    pub(crate) fn try_under_way(&self) -> Option<(SeqNum, SeqNum)> {
        match self.search {
            Search::UnderWay { start, end, .. } => Some((start, end)),
            _ => None,
        }
    }

    fn is_trying(&self) -> bool {
        matches!(self.search, Search::UnderWay { .. })
    }

    fn fail(&mut self, now: Instant, mss: u16) {
        let Search::UnderWay {
            high, failed, size, ..
        } = self.search
        else {
            return;
        };
        if failed + 1 < TRIES {
            self.search = Search::Tries {
                high,
                failed: failed + 1,
            };
        } else if failed < TRIES {
            self.limit(now, size, mss);
        } else {
            // A router has said what would fit.
            self.limit(now, high.saturating_add(1), mss);
        }
    }

    /// `size` is too much.
    fn limit(&mut self, now: Instant, size: u16, mss: u16) {
        let high = size.saturating_sub(1);
        self.search = if high < mss.saturating_add(RESOLUTION) {
            Search::Rests(now + RAISE_AFTER)
        } else {
            Search::Tries { high, failed: 0 }
        };
    }

    /// Whether the search has come as near as it wants to.
    pub(crate) fn settle(&mut self, now: Instant, mss: u16) {
        if let Search::Tries { high, .. } = self.search {
            if mss >= self.ceiling {
                self.search = Search::Over;
            } else if high < mss.saturating_add(RESOLUTION) && high < self.ceiling {
                self.search = Search::Rests(now + RAISE_AFTER);
            }
        }
    }
}

#[cfg(test)]
mod tests;
