//! What a parked connection keeps, and what it begins anew.

use crore_netbuf::Chunk;
use crore_wire::{Ecn, Flags, Segment, TcpOptions, Timestamps};
use proptest::prelude::*;

use super::*;
use crate::config::MSS_FLOOR;
use crate::{EcnPolicy, Event, HalfOpen, Read};

const OFFSET: u32 = 0xfff0_0000;
const DAY: Duration = Duration::from_secs(24 * 3600);

fn path() -> Path {
    Path::ipv4(1500)
}

fn config() -> Rc<Config> {
    Rc::new(Config::default())
}

/// What the peer's SYN asks for.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    mss: u16,
    scale: Option<u8>,
    sack: bool,
    timestamps: Option<u32>,
}

const ALL: Wishes = Wishes {
    mss: 1460,
    scale: Some(7),
    sack: true,
    timestamps: Some(5_000),
};

/// A peer, as far as one connection sees it.
struct Peer {
    conn: Connection,
    seq: SeqNum,
    timestamps: Option<u32>,
    now: Instant,
}

impl Peer {
    /// A connection that this peer has opened at `now`, whose SYN-ACK was sent
    /// `resent` times more, and acknowledged after 20 ms.
    fn established(config: &Rc<Config>, now: Instant, wishes: Wishes, resent: u8) -> Self {
        let syn = Segment {
            seq: SeqNum(0xffff_fff0),
            flags: Flags::SYN,
            window: 64_000,
            options: TcpOptions {
                mss: Some(wishes.mss),
                window_scale: wishes.scale.map(WindowScale::new),
                sack_permitted: wishes.sack,
                timestamps: wishes.timestamps.map(|value| Timestamps { value, echo: 0 }),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        let mut half = HalfOpen::new(config, now, SeqNum(7_000), &syn, 0);
        for _ in 0..resent {
            half.count_resent();
        }
        let mut peer = Self {
            conn: half.wake(config, now, OFFSET, path()),
            seq: SeqNum(0xffff_fff1),
            timestamps: wishes.timestamps,
            now,
        };
        peer.wait(Duration::from_millis(20));
        let ack = peer.segment(SeqNum(7_001), 500);
        peer.hand(&ack, b"");
        assert_eq!(peer.conn.poll_event(), Some(Event::Connected), "established");
        peer
    }

    fn wait(&mut self, time: Duration) {
        let millis = time.as_millis() as u32;
        self.now += time;
        self.timestamps = self.timestamps.map(|value| value.wrapping_add(millis));
    }

    fn segment(&self, ack: SeqNum, window: u16) -> Segment {
        let echo = self.conn.ts.option(self.now).value.wrapping_sub(20);
        Segment {
            seq: self.seq,
            ack,
            flags: Flags::ACK,
            window,
            options: TcpOptions {
                timestamps: self.timestamps.map(|value| Timestamps { value, echo }),
                ..TcpOptions::default()
            },
            ..Segment::default()
        }
    }

    fn hand(&mut self, segment: &Segment, payload: &[u8]) -> crate::Disposition {
        let chunk = if payload.is_empty() {
            Chunk::empty()
        } else {
            Chunk::copy_from(payload)
        };
        self.conn.on_segment(self.now, segment, chunk)
    }

    /// The peer says `payload`, which is read and acknowledged.
    fn say(&mut self, payload: &[u8], window: u16) -> crate::Disposition {
        let segment = self.segment(self.conn.snd.nxt, window);
        let disposition = self.hand(&segment, payload);
        if disposition == crate::Disposition::Accepted {
            self.seq += payload.len() as u32;
        }
        while let Ok(Read::Data(_)) = self.conn.read() {}
        self.settle();
        disposition
    }

    /// The connection writes `count` bytes, and sends them; how many segments that took.
    fn send(&mut self, count: usize) -> usize {
        assert_eq!(self.conn.write(&vec![7; count]), Ok(count), "there is room");
        self.settle()
    }

    /// The peer acknowledges all that is in flight.
    fn acknowledge(&mut self, window: u16) {
        let segment = self.segment(self.conn.snd.nxt, window);
        self.hand(&segment, b"");
        self.settle();
    }

    /// All that is owed is sent, and all events are fetched.
    fn settle(&mut self) -> usize {
        let mut segments = 0;
        while let Some(plan) = self.conn.plan_transmit(self.now) {
            self.conn.commit_transmit(self.now, &plan);
            segments += 1;
        }
        while self.conn.poll_event().is_some() {}
        segments
    }

    /// Parked, through its bytes, and woken.
    fn park_and_wake(&mut self) -> Parked {
        let parked = self.conn.park().expect("nothing goes on");
        let kept = Parked::from_bytes(&parked.to_bytes());
        assert_eq!(kept, parked, "the bytes hold all of it");
        let released = self.conn.released;
        self.conn = Connection::wake(&self.conn.config.clone(), &kept, OFFSET, path(), released);
        self.conn.assert_invariants();
        parked
    }
}

/// Any parked connection that can be: what one field allows depends on others.
fn any_parked() -> impl Strategy<Value = Parked> {
    let numbers = any::<(u32, u32, u32, u32, u16)>();
    let ecn = prop_oneof![prop::sample::select(vec![0u8, 1, 3, 5, 7]), 8u8..32];
    let windows = (0..=WINDOW_MASK, 0u8..=14, 0u8..=14, ecn, MSS_FLOOR..9_000);
    let times = prop::option::of((1u64..134_000_000, 0u64..134_000_000, 0u32..16));
    let bits = (0u8..4, any::<[bool; 4]>(), 0u8..4);
    (numbers, windows, times, bits).prop_map(|(numbers, windows, times, bits)| {
        let (snd_nxt, rcv_nxt, ts_recent, heard, snd_wnd) = numbers;
        let (rcv_wnd, theirs, ours, ecn, mss) = windows;
        let (state, [nodelay, sack, unscaled, timestamps], window) = bits;
        // An unscaled window that is a multiple of the scale's unit is a scaled one.
        let unscaled = unscaled && theirs > 0;
        let flags: u8 = [
            (nodelay, bits::NODELAY),
            (sack, bits::SACK),
            (unscaled, bits::UNSCALED),
            (timestamps, bits::TIMESTAMPS),
        ]
        .iter()
        .map(|&(on, bit)| u8::from(on) * bit)
        .sum();
        // Large segments are few in the initial window already.
        let smss = crate::connection::smss_of(mss, timestamps);
        let small = SMALL_WINDOWS[usize::from(window)] * smss < initial_window(smss, config().initial_window);
        let window = if small { window } else { 0 };
        let micros = Duration::from_micros;
        let (srtt, rttvar) = match times {
            Some((srtt, rttvar, threshold)) => (
                RoundTrip::of(micros(srtt)),
                Variation::of(micros(rttvar)).with_threshold((threshold > 0).then_some(1 << threshold)),
            ),
            None => Default::default(),
        };
        Parked {
            snd_nxt,
            rcv_nxt,
            ts_recent: if timestamps { ts_recent } else { 0 },
            // A wait's beginning lies its length before a moment, so not at the very start.
            heard: Stamp(heard.saturating_add(10_000)),
            rcv_wnd,
            snd_wnd: if unscaled { snd_wnd | 1 } else { snd_wnd },
            mss,
            srtt: srtt.with_rest(ecn),
            rttvar,
            scales: theirs | ours << 4,
            bits: state | flags | window << bits::WINDOW_SHIFT,
        }
    })
}

proptest! {
    #[test]
    fn bytes_keep_everything(bytes in any::<[u8; PARKED_LEN]>()) {
        prop_assert_eq!(Parked::from_bytes(&bytes).to_bytes(), bytes);
    }

    /// Protects each field: whatever is parked is woken to what is parked the same way again.
    #[test]
    fn waking_takes_over_what_parking_has_kept(parked in any_parked(), released in any::<bool>()) {
        prop_assert_eq!(Parked::from_bytes(&parked.to_bytes()), parked, "through its bytes");
        let state = parked.state();
        let released = match state {
            State::TimeWait => true,
            State::Established | State::CloseWait => false,
            _ => released,
        };
        let mut conn = Connection::wake(&config(), &parked, OFFSET, path(), released);
        conn.assert_invariants();
        while conn.poll_event().is_some() {}
        prop_assert_eq!(conn.state(), state);
        prop_assert_eq!(conn.park(), Some(parked), "the same again");
    }

    /// Protects what the owner remembers from the window beside it, and the other way.
    #[test]
    fn marks_change_nothing_else(parked in any_parked(), marks in 0u8..4) {
        let marked = parked.with_marks(marks);
        prop_assert_eq!(marked.marks(), marks);
        prop_assert_eq!(marked.with_marks(0), parked, "nothing else");
        let wake = |parked| {
            let mut conn = Connection::wake(&config(), &parked, OFFSET, path(), true);
            while conn.poll_event().is_some() {}
            conn.stats()
        };
        prop_assert_eq!(wake(marked), wake(parked), "the connection does not see them");
    }

    /// Protects everything else from a switch that is turned while parked.
    #[test]
    fn nodelay_can_be_set_while_parked(parked in any_parked(), nodelay in any::<bool>()) {
        let set = parked.with_nodelay(nodelay);
        prop_assert_eq!(Connection::wake(&config(), &set, OFFSET, path(), true).nodelay, nodelay);
        let before = parked.flag(bits::NODELAY);
        prop_assert_eq!(set.with_nodelay(before), parked, "nothing else");
    }

    #[test]
    fn a_short_time_is_right_to_a_part_in_two_thousand(micros in 1u64..134_000_000) {
        let time = Duration::from_micros(micros);
        let kept = ShortTime::of(time).get().expect("it is not zero");
        prop_assert!(kept <= time, "rounded down");
        prop_assert!((time.as_micros() - kept.as_micros()) * 2000 <= micros, "{micros} us became {kept:?}");
    }

    /// Protects against a time-out that shrinks, or creeps up, by being parked.
    #[test]
    fn a_round_trip_is_rounded_up_by_a_part_in_32(micros in 1u64..=u64::from(u32::MAX), rest in 0u8..32) {
        let time = Duration::from_micros(micros);
        let short = RoundTrip::of(time).with_rest(rest);
        let kept = short.get().expect("it is not zero");
        prop_assert!(kept >= time && kept.as_micros() - micros <= micros / 32, "{micros} us became {kept:?}");
        prop_assert_eq!(RoundTrip::of(kept).get(), Some(kept), "and stays so");
        prop_assert_eq!(short.rest(), rest);
    }

    /// Protects against a time-out that shrinks by being parked, and a threshold that grows.
    #[test]
    fn a_variation_and_its_threshold_are_rounded_to_the_safe_side(micros in 16u64..120_000_000, segments in 2u32..100_000) {
        let time = Duration::from_micros(micros);
        let kept = Variation::of(time).with_threshold(Some(segments));
        let rttvar = kept.get().expect("it is not zero");
        prop_assert!((rttvar.as_micros() + 1) * 2000 >= micros * 1998, "{micros} us became {rttvar:?}");
        prop_assert!(rttvar.as_micros() <= micros + micros / 128 + 16, "{micros} us became {rttvar:?}");
        prop_assert_eq!(Variation::of(rttvar).get(), Some(rttvar), "and stays so");
        let threshold = kept.threshold().expect("one was set");
        prop_assert!(threshold <= segments && threshold >= segments.min(65_535) / 2, "{segments} became {threshold}");
        prop_assert_eq!(kept.with_threshold(None).threshold(), None);
    }

    #[test]
    fn a_stamp_lies_less_than_a_unit_back(nanos in 0u64..1 << 57) {
        let at = Instant::from_nanos(nanos);
        let kept = Stamp::of(at).instant();
        prop_assert!(kept <= at && at.since(kept) < Duration::from_millis(68));
    }

    /// Protects what RFC 9293 and RFC 7323 need to go on, for every combination
    /// of options, against a park and a wake in mid-life.
    #[test]
    fn a_woken_connection_is_the_one_that_was_parked(
        mss in 536u16..1461,
        scale in prop::option::of(0u8..15),
        sack in any::<bool>(),
        timestamps in prop::option::of(any::<u32>()),
        nodelay in any::<bool>(),
        at in 0u64..1 << 55,
        said in proptest::collection::vec((1usize..1000, any::<u16>(), any::<bool>()), 0..6),
        peer_finishes in any::<bool>(),
        pause in 0u64..70 * 24 * 3600,
    ) {
        let wishes = Wishes { mss, scale, sack, timestamps };
        let mut peer = Peer::established(&config(), Instant::from_nanos(at), wishes, 0);
        peer.conn.set_nodelay(nodelay);
        for (len, window, answers) in said {
            peer.wait(Duration::from_millis(100));
            peer.say(&vec![1; len], window);
            if answers && peer.conn.snd.wnd >= 4_000 && peer.conn.write_capacity() >= 100 {
                peer.send(100);
                peer.acknowledge(window);
            }
        }
        if peer_finishes {
            let mut fin = peer.segment(peer.conn.snd.nxt, 500);
            fin.flags = Flags::FIN | Flags::ACK;
            peer.hand(&fin, b"");
            peer.settle();
        }
        let old = |c: &Connection| (
            (c.state(), c.snd.una, c.snd.nxt, c.snd.wnd, c.snd.scale),
            (c.rcv.nxt, c.rcv.window(), c.rcv.scale, c.rcv.fin_received, c.rcv.last_ack_sent),
            (c.sack, c.nodelay, c.mss, c.smss(), c.write_capacity()),
            (c.ts.enabled, c.ts.recent()),
        );
        let before = old(&peer.conn);
        let (stats, option) = (peer.conn.stats(), peer.conn.ts.option(peer.now + Duration::from_secs(pause)));
        peer.park_and_wake();
        prop_assert_eq!(old(&peer.conn), before, "as it was");
        prop_assert_eq!(peer.conn.ts.option(peer.now + Duration::from_secs(pause)), option, "our clock, its wraps included");
        let after = peer.conn.stats();
        prop_assert_eq!(after.srtt.is_some(), stats.srtt.is_some(), "the round trip is known");
        let (rto, old_rto) = (after.rto.as_micros(), stats.rto.as_micros());
        prop_assert!(rto * 100 >= old_rto * 99 && rto <= old_rto + old_rto / 32 + 64, "{:?} became {:?}", stats.rto, after.rto);
        prop_assert_eq!(peer.conn.read().ok(), Some(if peer_finishes { Read::Eof } else { Read::WouldBlock }));
        if !peer_finishes {
            prop_assert_eq!(peer.say(b"goes on", 500), crate::Disposition::Accepted);
        }
        peer.conn.assert_invariants();
    }
}

//= rfc5681#section-4.1 (SHOULD)
/// Protects the path after a silence: no burst of the old window, and slow start
/// only as far as a loss has allowed.
#[test]
fn the_window_starts_anew_and_the_threshold_stays() {
    let config = config();
    let mut peer = Peer::established(&config, Instant::from_millis(5), ALL, 0);
    let smss = peer.conn.smss();
    for _ in 0..12 {
        peer.send(60_000);
        peer.acknowledge(0xffff);
    }
    let grown = peer.conn.stats();
    assert!(grown.cwnd > 20 * smss, "it had grown, to {}", grown.cwnd);
    peer.park_and_wake();
    let woken = peer.conn.stats();
    assert_eq!(woken.cwnd, config.initial_window * smss, "the restart window");
    assert_eq!(woken.ssthresh, grown.ssthresh, "nothing was ever lost");

    peer.send(100_000);
    // First the tail is probed.
    for _ in 0..2 {
        peer.settle();
        peer.wait(Duration::from_secs(5));
        peer.conn.on_timeout(peer.now);
    }
    let lost = peer.conn.stats();
    peer.settle();
    peer.wait(Duration::from_millis(30));
    while peer.conn.snd.una != peer.conn.snd.nxt || peer.conn.snd.has_unsent() {
        peer.acknowledge(0xffff);
    }
    let grown = peer.conn.stats();
    peer.park_and_wake();
    let woken = peer.conn.stats();
    assert!(lost.ssthresh < 1 << 20, "a loss has set it: {}", lost.ssthresh);
    // Three quarters of what was used since may be more (RFC 7661 section 4.4.3).
    let most = lost.ssthresh.max(grown.cwnd);
    assert!(woken.ssthresh <= most, "no higher than it was");
    assert!(
        woken.ssthresh >= lost.ssthresh / 2,
        "nor much lower: {}",
        woken.ssthresh
    );
}

/// A model of the path is forgotten, as a window is: it begins anew from the
/// initial one (RFC 5681 section 4.1).
#[test]
fn with_bbr_a_woken_connection_starts_up_anew() {
    let config = Rc::new(Config {
        congestion: crate::CongestionKind::Bbr,
        ..Config::default()
    });
    let mut peer = Peer::established(&config, Instant::from_millis(5), ALL, 0);
    assert_eq!(peer.conn.stats().bbr, None, "nothing was sent");
    for _ in 0..8 {
        while peer.conn.write(&[7; 10_000]).is_ok_and(|taken| taken > 0) {}
        while peer.conn.stats().send_queued > 0 {
            peer.settle();
            peer.wait(Duration::from_millis(40));
            peer.acknowledge(60_000);
        }
    }
    let before = peer.conn.stats();
    assert!(before.bbr.is_some_and(|bbr| bbr.bandwidth > 0), "{before:?}");
    peer.park_and_wake();
    let woken = peer.conn.stats();
    assert_eq!(woken.bbr, None, "forgotten");
    let most = before.cwnd.min(10 * peer.conn.smss());
    assert!(
        woken.cwnd <= most,
        "no more than it was, nor than at first: {}",
        woken.cwnd
    );
    peer.send(1000);
    let bbr = peer.conn.stats().bbr.expect("data was sent");
    assert_eq!(bbr.state, crate::BbrState::Startup);
    assert_eq!(bbr.min_rtt, woken.srtt, "what is kept is of use");
}

/// Protects a path that could not bear more than a segment from a sudden ten.
#[test]
fn a_window_below_the_initial_one_does_not_grow_by_being_parked() {
    for (resent, window) in [(0, 10), (1, 1)] {
        let mut peer = Peer::established(&config(), Instant::from_millis(5), ALL, resent);
        let segments = |conn: &Connection| conn.stats().cwnd / conn.smss();
        assert_eq!(segments(&peer.conn), window, "resent {resent} times");
        for _ in 0..3 {
            peer.park_and_wake();
            assert_eq!(segments(&peer.conn), window, "resent {resent} times");
        }
    }
    let mut peer = Peer::established(&config(), Instant::from_millis(5), ALL, 0);
    let smss = peer.conn.smss();
    for (segments, kept) in [(1, 1), (2, 2), (3, 2), (4, 4), (9, 4), (10, 10), (50, 10)] {
        let config = Rc::clone(&peer.conn.config);
        peer.conn.congestion.start(&config, smss);
        peer.conn.congestion.resume(Some(segments), None);
        peer.park_and_wake();
        assert_eq!(peer.conn.stats().cwnd, kept * smss, "{segments} segments");
    }
}

//= rfc6298#section-5 (MUST)
/// Protects the longer time-out of a connection whose SYN-ACK was lost, as long
/// as nothing was measured.
#[test]
fn a_lost_syn_is_not_forgotten_by_parking() {
    let silent = Wishes {
        timestamps: None,
        ..ALL
    };
    let mut peer = Peer::established(&config(), Instant::from_millis(5), silent, 1);
    assert_eq!(
        (peer.conn.stats().srtt, peer.conn.stats().rto),
        (None, Duration::from_secs(3))
    );
    peer.park_and_wake();
    assert_eq!(
        (peer.conn.stats().srtt, peer.conn.stats().rto),
        (None, Duration::from_secs(3)),
        "woken"
    );
    peer.send(100);
    peer.wait(Duration::from_millis(40));
    peer.acknowledge(500);
    let rto = peer.conn.stats().rto;
    assert!(rto < Duration::from_secs(1), "measured at last: {rto:?}");
}

/// Protects a path without timestamps that has become slower than the time-out:
/// what is acknowledged after it was sent twice measures nothing, so the doubled
/// time-out is all that is known.
#[test]
fn a_backed_off_time_out_is_kept() {
    let silent = Wishes {
        timestamps: None,
        ..ALL
    };
    let mut peer = Peer::established(&config(), Instant::from_millis(5), silent, 0);
    let before = peer.conn.stats();
    assert_eq!(
        before.srtt,
        Some(Duration::from_millis(20)),
        "measured by the handshake"
    );
    peer.send(100);
    // First the tail is probed.
    for _ in 0..2 {
        peer.wait(before.rto);
        peer.conn.on_timeout(peer.now);
        peer.settle();
    }
    peer.acknowledge(500);
    let doubled = peer.conn.stats().rto;
    assert_eq!(doubled, before.rto.saturating_mul(2), "backed off");
    peer.park_and_wake();
    let woken = peer.conn.stats().rto;
    assert!(
        woken >= doubled.saturating_sub(Duration::from_millis(1)),
        "{woken:?}"
    );
    assert!(woken <= doubled + doubled.div(64), "{woken:?}");
}

//= rfc7323#section-5.5 (MUST)
/// Protects against old segments for 24 days, and the connection from being cut
/// off after them, for a peer whose clock has gone half-way round.
#[test]
fn ts_recent_is_believed_for_24_days_of_being_parked() {
    for (days, believed) in [
        (1, true),
        (23, true),
        (25, false),
        (40, false),
        (50, false),
        (3000, false),
    ] {
        let mut peer = Peer::established(&config(), Instant::ZERO + DAY.saturating_mul(100), ALL, 0);
        peer.say(b"x", 500);
        let recent = peer.conn.ts.recent();
        let heard_at = peer.now;
        peer.park_and_wake();
        assert_eq!(peer.conn.ts.recent(), recent, "kept");
        let now = heard_at + DAY.saturating_mul(days);
        for back in [1, 1 << 30, (1 << 31) - 1] {
            let outdated = peer.conn.ts.is_outdated(now, recent.wrapping_sub(back));
            assert_eq!(outdated, believed, "{days} days, {back} ms back");
        }
        peer.now = now;
        peer.timestamps = Some(recent.wrapping_sub(2));
        let taken = peer.say(b"y", 500) == crate::Disposition::Accepted;
        assert_eq!(taken, !believed, "{days} days");
    }
}

/// Protects the ends of the stream in both directions: what was told is not told
/// again, and is still so.
#[test]
fn a_finished_direction_stays_finished() {
    let mut peer = Peer::established(&config(), Instant::from_millis(5), ALL, 0);
    let mut fin = peer.segment(peer.conn.snd.nxt, 500);
    fin.flags = Flags::FIN | Flags::ACK;
    peer.hand(&fin, b"");
    peer.settle();
    peer.park_and_wake();
    assert_eq!(peer.conn.read().ok(), Some(Read::Eof), "the peer has finished");
    assert_eq!(peer.conn.poll_event(), None, "which was told before");
    assert_eq!(peer.send(10), 1, "and can still be written to");

    let mut peer = Peer::established(&config(), Instant::from_millis(5), ALL, 0);
    peer.conn.shutdown_write();
    peer.settle();
    peer.acknowledge(500);
    let before = (peer.conn.snd.fin_queued, peer.conn.snd.end());
    peer.park_and_wake();
    assert_eq!(peer.conn.state(), State::FinWait2);
    assert_eq!(
        (peer.conn.snd.fin_queued, peer.conn.snd.end()),
        before,
        "our FIN counts"
    );
    assert!(peer.conn.write(b"x").is_err(), "our side has finished");
    assert_eq!(peer.settle(), 0, "the FIN was sent and acknowledged");
    assert_eq!(
        peer.say(b"more", 500),
        crate::Disposition::Accepted,
        "the peer has not"
    );
}

/// Protects a wait that is the application's no more from starting anew by being parked.
#[test]
fn a_wait_runs_on_while_parked() {
    let config = config();
    let mut peer = Peer::established(&config, Instant::from_millis(70_000), ALL, 0);
    peer.conn.close(peer.now);
    peer.settle();
    peer.acknowledge(500);
    let ends = peer.conn.next_timeout().expect("it waits for the peer's FIN");
    peer.wait(Duration::from_secs(7));
    peer.park_and_wake();
    let resumed = peer.conn.next_timeout().expect("it still does");
    assert!(
        resumed <= ends && ends.since(resumed) < Duration::from_millis(68),
        "FIN-WAIT-2"
    );
    let mut fin = peer.segment(peer.conn.snd.nxt, 500);
    fin.flags = Flags::FIN | Flags::ACK;
    peer.hand(&fin, b"");
    peer.settle();
    assert_eq!(peer.conn.state(), State::TimeWait);
    let ends = peer.conn.next_timeout().expect("it waits");
    peer.wait(Duration::from_secs(20));
    peer.park_and_wake();
    let resumed = peer.conn.next_timeout().expect("it still does");
    assert!(
        resumed <= ends && ends.since(resumed) < Duration::from_millis(68),
        "TIME-WAIT"
    );
}

/// The handshake that `syn` begins, and the segment that may end it.
fn any_ending() -> impl Strategy<Value = (Segment, Segment)> {
    let near = prop_oneof![4 => Just(0i32), 2 => -3i32..70_000, 1 => any::<i32>()];
    let stamps = |near: fn() -> BoxedStrategy<u32>| {
        proptest::option::weighted(
            0.8,
            (near(), near()).prop_map(|(value, echo)| Timestamps { value, echo }),
        )
    };
    let value = || prop_oneof![4 => 0u32..8, 1 => any::<u32>()].boxed();
    let flags = prop_oneof![
        6 => Just(Flags::ACK),
        2 => Just(Flags::ACK | Flags::PSH),
        1 => Just(Flags::ACK | Flags::FIN),
        1 => Just(Flags::ACK | Flags::RST),
        1 => Just(Flags::ACK | Flags::SYN),
        1 => Just(Flags::PSH),
    ];
    let options = (
        proptest::option::of(any::<u16>()),
        proptest::option::of(0u8..15),
        any::<bool>(),
        stamps(value),
    );
    let syn = (any::<u32>(), any::<u16>(), 0u16..8, options).prop_map(
        |(seq, window, ecn, (mss, scale, sack, timestamps))| Segment {
            seq: SeqNum(seq),
            flags: Flags::SYN | Flags::from_bits(ecn << 6),
            window,
            options: TcpOptions {
                mss,
                window_scale: scale.map(WindowScale::new),
                sack_permitted: sack,
                timestamps,
                ..TcpOptions::default()
            },
            ..Segment::default()
        },
    );
    let marks = (0u16..8, 0u8..4);
    let last = (near.clone(), near, flags, any::<u16>(), stamps(value), marks);
    (syn, last).prop_map(|(syn, (seq, ack, flags, window, timestamps, (ace, mark)))| {
        let last = Segment {
            seq: syn.seq + 1 + seq as u32,
            ack: SeqNum(7_001) + ack as u32,
            flags: flags | Flags::from_bits(ace << 6),
            ecn: Ecn::from_bits(mark),
            window,
            options: TcpOptions {
                timestamps,
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        (syn, last)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn the_short_way_from_a_handshake_ends_where_the_long_one_does(
        (syn, last) in any_ending(),
        (scaling, timestamps, sack, nodelay) in any::<(bool, bool, bool, bool)>(),
        (receive_buffer, initial_window) in (prop_oneof![0u32..100_000, any::<u32>()], prop_oneof![0u32..20, any::<u32>()]),
        mss_max in any::<u16>(),
        (resent, began, waited) in (0u8..3, 0u64..1 << 40, 0u64..100_000),
        mtu in 576u16..9_000,
        (ipv6, cookie, accurate) in any::<(bool, bool, bool)>(),
    ) {
        let config = Rc::new(Config {
            window_scaling: scaling,
            timestamps,
            sack,
            nodelay,
            receive_buffer,
            initial_window,
            mss_max,
            ecn: if accurate { EcnPolicy::AccuratePassive } else { EcnPolicy::Passive },
            ..Config::default()
        });
        let path = if ipv6 { Path::ipv6(mtu) } else { Path::ipv4(mtu) };
        let began = Instant::from_millis(began);
        let mut half = HalfOpen::new(&config, began, SeqNum(7_000), &syn, 0);
        if cookie {
            half = half.into_cookie();
        }
        for _ in 0..resent {
            half.count_resent();
        }
        let now = began + Duration::from_millis(waited);
        // Timestamps near our clock, so that a part of the echoes makes sense.
        let offset = 0u32.wrapping_sub(now.as_millis() as u32);
        let mut conn = half.wake(&config, now, offset, path);
        let accepted = conn.on_segment(now, &last, Chunk::empty()) == crate::Disposition::Accepted;
        let long = if accepted && conn.poll_event() == Some(Event::Connected) {
            conn.park()
        } else {
            None
        };
        prop_assert_eq!(half.park(&config, now, || offset, path, &last), long);
    }
}
