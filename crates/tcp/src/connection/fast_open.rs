//! Data before the handshake is over.
//!
//! Read first: RFC 7413 sections 3, 4.2 and 4.3.
//!
//! Always true: without Fast Open there is nothing here; with it, whatever the
//! other end or the network makes of it, each byte arrives once: what a SYN
//! carried and the SYN-ACK does not acknowledge is sent again.

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_wire::FastOpenCookie;

use super::Connection;
use crate::State;
use crate::event::PendingEvents;

/// What one connection has to do with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum FastOpen {
    /// Our SYN carries this, and data unless it asks for a cookie; `mss` is what
    /// the peer took last time. Without a cookie it carries data alone.
    Offer {
        cookie: Option<FastOpenCookie>,
        mss: u16,
    },
    /// A SYN was believed, and may be answered at once; whether it had data, which
    /// was taken. The client gets a new cookie for its old one.
    Accepted {
        renewal: Option<FastOpenCookie>,
        data: bool,
    },
    /// The handshake is over; the peer gave us this, and took data of our SYN or not.
    Settled { grant: Option<Grant>, data: bool },
}

/// As much of a segment as options may take (RFC 9293 section 3.1): data of a SYN
/// leaves room for them, so that the same bytes fit into a segment if they have to be
/// sent again.
const OPTIONS_MAX: u16 = 40;

/// What a server has given for the next time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The cookie.
    pub cookie: FastOpenCookie,
    /// The MSS that the server named; none if it named none.
    pub mss: Option<u16>,
}

impl Connection {
    /// To be called before the SYN goes: it is to carry `cookie`, and as much of
    /// what is written by then as fits a peer with `mss` (without options); or,
    /// if it is no cookie, to ask for one. With `None` it carries data and no option:
    /// the server is known to want no cookie.
    pub fn offer_fast_open(&mut self, cookie: impl Into<Option<FastOpenCookie>>, mss: u16) {
        if self.state == State::SynSent && self.snd.nxt == self.snd.iss {
            let cookie = cookie.into();
            self.fast_open = Some(Box::new(FastOpen::Offer { cookie, mss }));
        }
    }

    /// How many bytes the SYN can carry that is about to be sent; zero if it is to
    /// carry none.
    pub fn syn_room(&self) -> usize {
        match self.fast_open.as_deref() {
            Some(&FastOpen::Offer { cookie, mss })
                if self.snd.nxt == self.snd.iss
                    && self.state == State::SynSent
                    && !cookie.is_some_and(|cookie| cookie.is_request()) =>
            {
                let limit = self.config.segment_limit(self.path.mss.min(mss));
                usize::from(limit.saturating_sub(OPTIONS_MAX))
            }
            _ => 0,
        }
    }

    /// Whether data of a SYN, of ours or of the peer's, was taken by whom it was for.
    pub(super) fn syn_data_taken(&self) -> bool {
        match self.fast_open.as_deref() {
            Some(FastOpen::Accepted { data, .. } | FastOpen::Settled { data, .. }) => *data,
            Some(FastOpen::Offer { .. }) | None => false,
        }
    }

    //= rfc7413#section-4.2.2 (MUST)
    // The SYN's cookie was good: its data counts, and can be read and answered
    // before the handshake is over. To be called right after
    // [`Self::open_passive`].
    /// Takes the data of a SYN whose cookie was good; `renewal` takes that one's place.
    pub fn accept_fast_open(&mut self, data: Chunk, renewal: Option<FastOpenCookie>) {
        let has_data = !data.is_empty();
        self.fast_open = Some(Box::new(FastOpen::Accepted {
            renewal,
            data: has_data,
        }));
        self.events.add(PendingEvents::CONNECTED);
        let limit = usize::from(self.config.max_reassembly_chunks);
        if has_data && self.rcv.accept(self.rcv.nxt, data, false, limit).readable {
            self.events.add(PendingEvents::READABLE);
        }
    }

    /// Whether it is in a handshake whose data was taken already.
    pub fn is_fast_opening(&self) -> bool {
        self.state == State::SynReceived && self.sends_early()
    }

    /// What the peer gave for the next time, once it has.
    pub fn fast_open_grant(&self) -> Option<Grant> {
        match self.fast_open.as_deref() {
            Some(FastOpen::Settled { grant, .. }) => *grant,
            _ => None,
        }
    }

    /// Whether data, or the question for a cookie, went with our SYN, and that SYN
    /// got no answer: something on the way may throw such SYNs away.
    pub fn fast_open_failed(&self) -> bool {
        self.syn_lost && self.fast_open.is_some() && !self.sends_early()
    }

    /// Whether data may go in SYN-RECEIVED.
    #[inline]
    pub(super) fn sends_early(&self) -> bool {
        matches!(self.fast_open.as_deref(), Some(FastOpen::Accepted { .. }))
    }

    //= rfc7413#section-4.1.3.1 (SHOULD)
    // When a SYN gets no answer it is sent again without data and without cookie.
    /// What our SYN, or our SYN-ACK, is to carry: the option, and how many bytes of data.
    pub(super) fn fast_open_offer(&self) -> (Option<FastOpenCookie>, u16) {
        match self.fast_open.as_deref() {
            Some(&FastOpen::Offer { cookie, .. })
                if self.snd.nxt == self.snd.iss && self.state == State::SynSent =>
            {
                let room = self.syn_room() as u32;
                let data = self.snd.unsent_from(self.snd.iss + 1).min(room);
                (cookie, data as u16)
            }
            Some(&FastOpen::Accepted { renewal, .. }) => (renewal, 0),
            _ => (None, 0),
        }
    }

    /// The SYN-ACK came, with this option.
    pub(super) fn settle_fast_open(&mut self, cookie: Option<FastOpenCookie>, mss: Option<u16>) {
        let data = self.snd.una.after(self.snd.iss + 1);
        if let Some(fast_open) = self.fast_open.as_deref_mut()
            && let FastOpen::Offer { cookie: offered, .. } = *fast_open
        {
            // What nobody has asked for is nothing to be kept.
            let cookie = cookie.filter(|cookie| offered.is_some() && !cookie.is_request());
            let grant = cookie.map(|cookie| Grant { cookie, mss });
            *fast_open = FastOpen::Settled { grant, data };
        }
    }

    //= rfc7413#section-4.2.2 (MUST)
    // What the SYN carried and its acknowledgment does not cover is sent again; it
    // was not lost to congestion.
    /// Our SYN is acknowledged, and perhaps some data with it: what is still out is
    /// guarded, or sent again if it went with the SYN.
    pub(super) fn guard_early_data(&mut self, now: Instant) {
        if self.snd.una == self.snd.nxt {
            return;
        }
        if self.sends_early() {
            self.guard_flight(now);
        } else {
            self.resend_all(now);
        }
    }
}
