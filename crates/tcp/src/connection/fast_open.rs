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
    /// Our SYN carries this, and data if it is a cookie; `mss` is what the peer
    /// took last time.
    Offer { cookie: FastOpenCookie, mss: u16 },
    /// The data of a SYN was taken, and may be answered at once; the client gets a
    /// new cookie for its old one.
    Accepted(Option<FastOpenCookie>),
    /// The handshake is over; the peer gave us this.
    Settled(Option<Grant>),
}

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
    /// if it is no cookie, to ask for one.
    pub fn offer_fast_open(&mut self, cookie: FastOpenCookie, mss: u16) {
        if self.state == State::SynSent && self.snd.nxt == self.snd.iss {
            self.fast_open = Some(Box::new(FastOpen::Offer { cookie, mss }));
        }
    }

    //= rfc7413#section-4.2.2 (MUST)
    // The SYN's cookie was good: its data counts, and can be read and answered
    // before the handshake is over. To be called right after
    // [`Self::open_passive`].
    /// Takes the data of a SYN whose cookie was good; `renewal` takes that one's place.
    pub fn accept_fast_open(&mut self, data: Chunk, renewal: Option<FastOpenCookie>) {
        self.fast_open = Some(Box::new(FastOpen::Accepted(renewal)));
        self.events.add(PendingEvents::CONNECTED);
        let limit = usize::from(self.config.max_reassembly_chunks);
        if !data.is_empty() && self.rcv.accept(self.rcv.nxt, data, false, limit).readable {
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
            Some(FastOpen::Settled(grant)) => *grant,
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
        matches!(self.fast_open.as_deref(), Some(FastOpen::Accepted(_)))
    }

    //= rfc7413#section-4.1.3.1 (SHOULD)
    // When a SYN gets no answer it is sent again without data and without cookie.
    /// What our SYN is to carry: the option, and how many bytes of data, given
    /// that its other options take `options` bytes.
    pub(super) fn fast_open_offer(&self, options: usize) -> Option<(FastOpenCookie, u16)> {
        let (cookie, mss) = match *self.fast_open.as_deref()? {
            FastOpen::Offer { cookie, mss } => (cookie, mss),
            FastOpen::Accepted(renewal) => return renewal.map(|cookie| (cookie, 0)),
            FastOpen::Settled(_) => return None,
        };
        if self.snd.nxt != self.snd.iss || self.state != State::SynSent {
            return None;
        }
        if cookie.is_request() {
            return Some((cookie, 0));
        }
        // Kind, length, and NOPs to a multiple of four.
        let option = (2 + cookie.as_bytes().len()).next_multiple_of(4);
        let limit = self.config.segment_limit(self.path.mss.min(mss));
        let room = usize::from(limit).saturating_sub(options + option);
        let data = self.snd.unsent_from(self.snd.iss + 1).min(room as u32);
        Some((cookie, data as u16))
    }

    /// The SYN-ACK came, with this option.
    pub(super) fn settle_fast_open(&mut self, cookie: Option<FastOpenCookie>, mss: Option<u16>) {
        if let Some(fast_open) = self.fast_open.as_deref_mut()
            && let FastOpen::Offer { .. } = fast_open
        {
            let cookie = cookie.filter(|cookie| !cookie.is_request());
            *fast_open = FastOpen::Settled(cookie.map(|cookie| Grant { cookie, mss }));
        }
    }

    //= rfc7413#section-4.2.1 (MUST)
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
