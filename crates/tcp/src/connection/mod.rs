//! One connection: its parts, its birth and its end.
//!
//! Where to look: `segment_arrives.rs` holds RFC 9293 section 3.10.7 in its
//! order, `header_prediction.rs` the short way for the usual segment, `handshake.rs` the SYN states, `acknowledgment.rs` what an ACK means,
//! `loss.rs` what it says of losses, `model.rs` what a model of the path is told of it all,
//! `transmit.rs` how a segment is planned and committed, `pick.rs` which data
//! goes into it, `timers.rs` what time brings, `patience.rs` how long it is waited for, `app.rs` the application's verbs,
//! `owed.rs` what is to be paid, `buffers.rs` how much may wait; `ecn.rs` what congestion marks bring about.
//! How large segments are is decided in `path.rs`.
//!
//! Always true (checked by [`Connection::assert_invariants`]): the sequence
//! spaces are in order; a retransmission timer runs whenever something is
//! unacknowledged; nothing is acknowledged that has not come.

mod acknowledgment;
mod app;
mod buffers;
mod ecn;
mod fast_open;
mod handshake;
mod header_prediction;
mod large;
mod loss;
mod model;
mod owed;
mod path;
mod patience;
mod pick;
mod segment_arrives;
mod stats;
mod timers;
mod transmit;
mod urgent;

use std::rc::Rc;

use crore_base::{DropReason, Instant, SeqNum};

use crate::congestion::Congestion;
use crate::ecn::EcnState;
use crate::event::PendingEvents;
use crate::pacing::Pacing;
use crate::path_mtu::PathMtu;
use crate::rack::Rack;
use crate::receive::ReceiveSpace;
use crate::recovery::{LossRecovery, Phase};
use crate::rtt::RttEstimator;
use crate::send::SendSpace;
use crate::sent::SentMap;
use crate::timestamps::TimestampState;
use crate::{CloseReason, Config, EcnMode, Event, Path, State, Unreachable};

pub use app::{Read, ReadError, WriteError};
use fast_open::FastOpen;
pub use fast_open::Grant;
pub use owed::Challenges;
use owed::Owed;
pub(crate) use path::first_mss;
use patience::Stall;
use timers::Timer;
pub use transmit::Plan;
use urgent::Urgent;

/// Bytes that the timestamps option takes in a header, with its padding.
const TIMESTAMPS_LEN: u32 = 12;

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) state: State,
    /// The application has closed, or aborted: nobody reads, nobody is told
    /// anything but the end.
    pub(crate) released: bool,
    pub(crate) nodelay: bool,
    /// Segments that are not full wait.
    corked: bool,
    /// No buffer may grow (see `buffers.rs`).
    is_short_of_memory: bool,
    /// Both ends permitted SACK.
    pub(crate) sack: bool,
    /// Both ends scale their windows.
    pub(crate) scaling: bool,
    /// Our SYN or SYN-ACK had to be sent again.
    pub(crate) syn_lost: bool,
    /// The network has said since the peer was last heard that it is unreachable.
    soft_error: Option<Unreachable>,
    /// Retransmissions and probes since the peer last showed that it lives.
    pub(crate) retries: u8,
    /// Keepalive probes since then.
    keepalives: u8,
    /// Largest segment to send, in bytes, options included (RFC 6691).
    pub(crate) mss: u16,
    pub(crate) events: PendingEvents,
    owed: Owed,
    timer: Timer,
    stall: Stall,
    /// Until when a close may take, if somebody waits for it.
    linger_until: Option<Instant>,
    /// When the retransmission timer runs out, whichever guards the flight now.
    rto_at: Instant,
    /// When an acceptable segment came last.
    heard_at: Instant,
    /// When data was sent last.
    sent_at: Instant,
    /// When data came last.
    received_at: Instant,
    pub(crate) snd: SendSpace,
    pub(crate) rcv: ReceiveSpace,
    pub(crate) ts: TimestampState,
    pub(crate) rtt: RttEstimator,
    pub(crate) congestion: Congestion,
    pacing: Pacing,
    pub(crate) ecn: EcnState,
    /// What is in flight.
    pub(crate) sent: SentMap,
    rack: Rack,
    recovery: LossRecovery,
    path: Path,
    pub(crate) path_mtu: PathMtu,
    /// None for all but a few, as the next one is.
    urgent: Option<Box<Urgent>>,
    fast_open: Option<Box<FastOpen>>,
    counts: Counts,
    pub(crate) config: Rc<Config>,
}

/// What [`crate::Stats`] reports of the past: what is seldom in few bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    retransmits: u32,
    timeouts: u16,
    fast_recoveries: u16,
    keepalives: u16,
    probes: u16,
    spurious: u16,
    duplicates: u16,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// It was taken.
    Accepted,
    /// It, or some of it, was thrown away. Something may be owed for it.
    Dropped(DropReason),
    /// A SYN that may open a new connection in the place of this one, which is
    /// in TIME-WAIT and is to be deleted: hand the SYN to the listener.
    Reopen {
        /// The new initial sequence number must lie beyond this.
        iss_above: SeqNum,
    },
}

impl Connection {
    /// One whose segment size is to be set ([`Self::set_peer_mss`]) before anything
    /// else.
    pub(crate) fn new(
        config: Rc<Config>,
        now: Instant,
        iss: SeqNum,
        ts_offset: u32,
        path: Path,
        state: State,
        owed: u8,
    ) -> Self {
        let snd = SendSpace::new(iss, config.send_buffer);
        let rcv = ReceiveSpace::new(config.receive_limit(), config.offered_scale());
        Self {
            owed: Owed::new(owed),
            ..Self::with_spaces(config, now, (snd, rcv), ts_offset, path, (state, false))
        }
    }

    /// The same where the sequence spaces are known; whether the application has
    /// given it back stands beside its state, in which it has been since `now`.
    // Inlined, so that it is made where it is to be: it is large.
    #[inline(always)]
    pub(crate) fn with_spaces(
        config: Rc<Config>,
        now: Instant,
        (snd, rcv): (SendSpace, ReceiveSpace),
        ts_offset: u32,
        path: Path,
        (state, released): (State, bool),
    ) -> Self {
        let nxt = snd.nxt;
        let rtt = RttEstimator::new(config.rto_initial, config.rto_min, config.rto_max);
        Self {
            state,
            released,
            nodelay: config.nodelay,
            corked: config.cork,
            is_short_of_memory: false,
            sack: false,
            scaling: false,
            syn_lost: false,
            soft_error: None,
            retries: 0,
            keepalives: 0,
            mss: 0,
            events: match state {
                State::TimeWait => PendingEvents::FINISHED,
                _ => PendingEvents::default(),
            },
            owed: Owed::new(0),
            timer: Timer::of_state(&config, state, released, now),
            stall: Stall::NONE,
            linger_until: None,
            rto_at: now,
            heard_at: now,
            sent_at: now,
            received_at: now,
            snd,
            rcv,
            ts: TimestampState::new(ts_offset),
            rtt,
            congestion: Congestion::new(&config, 1),
            ecn: EcnState::OFF,
            sent: SentMap::new(nxt),
            rack: Rack::new(nxt),
            pacing: Pacing::new(config.paces()),
            recovery: LossRecovery::new(nxt),
            path,
            path_mtu: PathMtu::new(now, 0, 0),
            urgent: None,
            fast_open: None,
            counts: Counts::default(),
            config,
        }
    }

    /// The DSCP in its place in the IP header, and how many hops segments may go
    /// if not as many as the host's do.
    #[inline]
    pub fn marking(&self) -> (u8, Option<u8>) {
        (self.config.dscp, self.config.hop_limit)
    }

    /// The next event, if one is pending. [`Event::Closed`] waits until the
    /// application has read what came before an orderly end.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.released {
            self.events.retain_closed();
            if self.end_linger_if_done() {
                return Some(Event::Flushed);
            }
        }
        let may_end = self.released || self.rcv.readable() == 0;
        self.events.next(may_end)
    }

    /// Whether an event is pending, be it one that has to wait.
    #[inline]
    pub const fn has_events(&self) -> bool {
        !self.events.is_empty() || self.linger_until.is_some()
    }

    /// Where the connection stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether it is not over, and its application has not given it back: the
    /// usual case, in which its owner has nothing to look after.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        self.state != State::Closed && !self.released
    }

    /// Whether it can be deleted: it is closed, its owner was told, and nothing
    /// is owed to the peer.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed && self.owed.is_empty() && self.events.end_was_told()
    }

    /// What was agreed on about explicit congestion notification.
    pub const fn ecn(&self) -> EcnMode {
        self.ecn.mode()
    }

    /// SND.NXT: the next sequence number that will be used.
    pub const fn snd_nxt(&self) -> SeqNum {
        self.snd.nxt
    }

    /// SND.UNA: the oldest one that is not acknowledged.
    pub const fn snd_una(&self) -> SeqNum {
        self.snd.una
    }

    /// RCV.NXT: the next one expected from the peer.
    pub const fn rcv_nxt(&self) -> SeqNum {
        self.rcv.nxt
    }

    /// Memory that received data pins, in order and out of order, in bytes.
    pub fn received_footprint(&self) -> usize {
        let (receive, reassembly) = self.rcv.footprint();
        receive + reassembly
    }

    /// The challenge ACKs that it has sent of late, for whoever parks it: they are
    /// no part of [`crate::Parked`].
    pub fn challenges(&self, now: Instant) -> Option<Challenges> {
        self.owed.challenges(now)
    }

    /// It had sent these before it was parked.
    pub const fn resume_challenges(&mut self, sent: Challenges) {
        self.owed.resume_challenges(sent);
    }

    /// Asserts what is always true. For tests and simulations: it costs more
    /// than a segment.
    ///
    /// # Panics
    /// When this crate is wrong.
    pub fn assert_invariants(&self) {
        let Self { snd, rcv, .. } = self;
        assert!(
            snd.una.at_or_before(snd.nxt),
            "una {:?} <= nxt {:?}",
            snd.una,
            snd.nxt
        );
        if self.state == State::Closed {
            return;
        }
        assert!(
            snd.nxt.at_or_before(snd.end()),
            "nxt {:?} <= all that there is to send {:?}",
            snd.nxt,
            snd.end()
        );
        assert!(
            snd.una == snd.nxt || self.timer.guards_flight(),
            "unacknowledged data has a timer, not {:?}",
            self.timer
        );
        assert!(
            rcv.last_ack_sent.at_or_before(rcv.nxt),
            "nothing is acknowledged that has not come"
        );
        assert!(
            rcv.readable() <= rcv.most() as usize,
            "no more waits for the reader than the buffer allows"
        );
        let mut end = snd.una;
        let (mut sacked, mut lost) = (0, 0);
        for run in self.sent.iter() {
            assert!(run.start == end && run.end.after(end), "the runs lie end to end");
            assert!(
                !(run.is_sacked() && run.is_lost()),
                "what has arrived is not lost"
            );
            end = run.end;
            sacked += if run.is_sacked() { run.len() } else { 0 };
            lost += if run.is_lost() { run.len() } else { 0 };
        }
        assert_eq!(end, snd.nxt, "from una to nxt");
        assert_eq!(
            (sacked, lost),
            (self.sent.sacked(), self.sent.lost()),
            "the sums are right"
        );
        assert!(
            lost == 0 || self.recovery.phase != Phase::Open,
            "what is lost is being repaired"
        );
    }

    /// What the peer named as its MSS, or none: sets ours for sending.
    ///
    //= rfc6691#section-2 (MUST)
    // The value counts no options; what options take is subtracted from each
    // segment that carries them.
    pub(crate) fn set_peer_mss(&mut self, named: Option<u16>) {
        self.set_ceiling(peer_mss(&self.config, self.path, named));
        self.congestion.start(&self.config, self.smss());
    }

    /// No segment is larger than `ceiling`, which the peer and the own link set;
    /// nor, for now, than what the path is known to bear.
    fn set_ceiling(&mut self, ceiling: u16) {
        (self.mss, self.path_mtu) = first_mss(&self.config, self.path, self.heard_at, ceiling);
    }

    //= rfc9293#section-3.7.1 (MUST)
    // The effective size is what the peer takes and the path carries, less the
    // options of the segment.
    /// SMSS: payload of a full segment without SACK blocks, in bytes.
    pub(crate) fn smss(&self) -> u32 {
        smss_of(self.mss, self.ts.enabled)
    }

    /// The end, as it should be. What was received in order can still be read.
    fn finish(&mut self) {
        self.state = State::Closed;
        self.timer = Timer::OFF;
        self.linger_until = None;
        self.owed.keep_only(0);
        self.snd.clear();
        self.sent.clear();
        self.rcv.clear_early();
        self.events.close(CloseReason::Finished);
    }

    /// The end by misfortune or will: everything is dropped.
    fn fail(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.timer = Timer::OFF;
        self.linger_until = None;
        self.owed.keep_only(Owed::RESET);
        self.snd.clear();
        self.sent.clear();
        self.rcv.clear();
        self.events.retain_ends();
        self.events.close(reason);
    }

    /// The end that the peer learns of by a reset.
    fn fail_with_reset(&mut self, reason: CloseReason) {
        self.fail(reason);
        self.owed.add(Owed::RESET);
    }
}

/// What is sent to a peer that named `named` as its MSS, or none.
pub(crate) fn peer_mss(config: &Config, path: Path, named: Option<u16>) -> u16 {
    let peer = named.unwrap_or(path.default_mss());
    config.segment_limit(peer.min(path.mss))
}

/// SMSS for an MSS of `mss`.
#[inline]
pub(crate) fn smss_of(mss: u16, timestamps: bool) -> u32 {
    u32::from(mss) - if timestamps { TIMESTAMPS_LEN } else { 0 }
}
