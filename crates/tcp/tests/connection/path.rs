//! Paths that bear less than the link.

use crore_base::Duration;
use crore_tcp::{Config, MtuProbing, PathMtuVerdict, Stats};

use crate::lone::{ACK, Lone, MSS, plain, seg};
use crate::pair::{A, B, DELAY, Packet, Pair, text};

const MINUTE: Duration = Duration::from_secs(60);

fn probing(mtu_probing: MtuProbing) -> Config {
    Config {
        mtu_probing,
        send_buffer: 1 << 20,
        receive_buffer: 1 << 20,
        ..Config::default()
    }
}

/// Length of the IPv4 packet that carries it.
fn packet_len(packet: &Packet) -> usize {
    20 + packet.segment.header_len() + packet.payload.len()
}

/// A pair over a path that swallows what is larger than `mtu`.
fn over_black_hole(config: Config, mtu: usize) -> Pair {
    let mut pair = Pair::connected_with(config, Config::default());
    pair.lose(move |packet| packet_len(packet) > mtu);
    pair
}

fn send(pair: &mut Pair, len: usize) {
    let more = text(3, len);
    pair.ends[A].to_send.extend_from_slice(&more);
}

fn stats(pair: &mut Pair) -> Stats {
    pair.ends[A].conn().stats()
}

#[test]
fn a_transfer_through_a_black_hole_finishes_and_finds_its_size() {
    for mtu in [576, 1100, 1280, 1400, 1492] {
        let mut pair = over_black_hole(probing(MtuProbing::BlackHoles), mtu);
        send(&mut pair, 2_000_000);
        assert!(
            pair.drive(MINUTE, |pair| pair.is_delivered()),
            "all of it arrives through {mtu} bytes"
        );
        pair.assert_delivered();
        let mss = usize::from(stats(&mut pair).mss) + 12;
        assert!(mss + 40 <= mtu, "{mss} fits {mtu}");
        let near = mtu >= 1280 && mss + 40 + 64 < mtu;
        assert!(!near, "and {mss} comes near to {mtu}");
    }
}

#[test]
fn with_probing_off_a_black_hole_stays_one() {
    let mut pair = over_black_hole(probing(MtuProbing::Off), 1400);
    send(&mut pair, 100_000);
    assert!(!pair.drive(MINUTE, |pair| pair.is_delivered()), "as of old");
}

#[test]
fn a_try_that_is_lost_does_not_slow_the_connection() {
    let mut pair = over_black_hole(probing(MtuProbing::Always), 1300);
    send(&mut pair, 1_000_000);
    assert!(pair.drive(MINUTE, |pair| pair.is_delivered()), "delivered");
    let large = pair.sent_by(A).filter(|p| p.copies == 0).count();
    let found = stats(&mut pair);
    assert!(large > 0, "some were tried in vain");
    assert_eq!(found.timeouts, 0, "none waited for a timer");
    assert_eq!(found.fast_recoveries, 0, "nor counted as congestion");
    assert!(found.ssthresh >= 1 << 29, "slow start has not been ended by it");
}

#[test]
fn always_begins_small_and_grows_to_what_the_path_bears() {
    let mut pair = Pair::connected_with(probing(MtuProbing::Always), Config::default());
    send(&mut pair, 1_000_000);
    assert_eq!(stats(&mut pair).mss, 1024 - 12, "small at first");
    assert!(pair.drive(MINUTE, |pair| pair.is_delivered()), "delivered");
    assert_eq!(stats(&mut pair).mss, 1460 - 12, "the link's size at last");
}

#[test]
fn an_outage_is_no_black_hole_for_long() {
    let mut pair = Pair::connected_with(probing(MtuProbing::BlackHoles), Config::default());
    let back = pair.now + Duration::from_secs(3);
    pair.lose(move |packet| packet.at < back);
    send(&mut pair, 2_000_000);
    assert!(pair.drive(MINUTE, |pair| pair.is_delivered()), "delivered");
    assert_eq!(stats(&mut pair).mss, 1460 - 12, "as large as before");
}

/// Established, `segments` full ones sent, the first one acknowledged.
fn proven(segments: u32) -> Lone {
    let config = Config {
        initial_window: 40,
        ..plain()
    };
    let mut lone = Lone::established(config);
    let bytes = text(1, (segments * u32::from(MSS)) as usize);
    lone.conn.write(&bytes).expect("open");
    lone.data();
    lone.recv(&seg(ACK, 1, 1 + u32::from(MSS)), b"");
    lone
}

#[test]
fn once_large_segments_arrive_a_router_is_believed_only_after_a_time_out() {
    let mut lone = proven(4);
    let head = lone.conn.snd_una();
    let verdict = lone.conn.on_path_mtu(lone.now, head, 600);
    assert_eq!(verdict, PathMtuVerdict::Held, "it works, so why change it");
    assert_eq!(lone.data(), [], "nothing is sent for it");
    lone.wait();
    assert_eq!(
        lone.data()[0],
        (1 + u32::from(MSS), 600),
        "it did not work, so the router was right (RFC 5927 section 7.2)"
    );
}

#[test]
fn a_router_that_was_wrong_about_what_arrives_is_forgotten() {
    let mut lone = proven(4);
    let head = lone.conn.snd_una();
    lone.conn.on_path_mtu(lone.now, head, 600);
    lone.recv(&seg(ACK, 1, 1 + 2 * u32::from(MSS)), b"");
    lone.wait();
    assert_eq!(lone.data()[0].1, usize::from(MSS), "another loss, the old size");
}

#[test]
fn a_path_is_tried_again_at_its_old_size_after_ten_minutes() {
    let mut pair = Pair::connected_with(probing(MtuProbing::BlackHoles), Config::default());
    send(&mut pair, 10_000);
    pair.turn();
    let (now, una) = (pair.now, pair.ends[A].conn().snd_una());
    let verdict = pair.ends[A].conn().on_path_mtu(now, una, 1300);
    assert_eq!(verdict, PathMtuVerdict::Taken, "nothing as large has arrived");
    pair.settle();
    send(&mut pair, 200_000);
    pair.run_for(MINUTE);
    assert_eq!(stats(&mut pair).mss, 1300 - 12, "not yet");
    pair.run_for(Duration::from_secs(600));
    pair.now += Duration::from_secs(600);
    for _ in 0..4 {
        send(&mut pair, 200_000);
        pair.run_for(MINUTE);
    }
    assert_eq!(stats(&mut pair).mss, 1460 - 12, "RFC 1191 section 6.3");
    pair.assert_delivered();
    assert_eq!(pair.ends[B].received.len(), 1_010_000, "{DELAY:?} each way");
}

/// Protects connections that can't try larger segments from a path that was
/// narrow for a while.
#[test]
fn without_sack_a_router_is_asked_again_after_ten_minutes() {
    let mut lone = Lone::established(plain());
    let mut acked = 1_001;
    let mut send = |lone: &mut Lone| {
        lone.conn.write(&text(1, 3_000)).expect("open");
        let sizes: Vec<_> = lone.data().iter().map(|&(_, len)| len).collect();
        acked += 3_000;
        lone.recv(&seg(ACK, 1, acked), b"");
        sizes
    };
    lone.conn.write(&text(1, 1_000)).expect("open");
    lone.data();
    let head = lone.conn.snd_una();
    let verdict = lone.conn.on_path_mtu(lone.now, head, 600);
    assert_eq!(verdict, PathMtuVerdict::Taken);
    assert_eq!(lone.data(), [(1, 600), (601, 400)]);
    lone.recv(&seg(ACK, 1, 1_001), b"");
    lone.pass(Duration::from_secs(599));
    assert_eq!(send(&mut lone), [600; 5], "not yet");
    lone.pass(Duration::from_secs(2));
    assert_eq!(send(&mut lone), [600, 1_000, 1_000, 400], "RFC 1191 section 6.3");
}

//= rfc8899#section-3 (SHOULD NOT)
#[test]
fn a_try_that_a_router_stops_does_not_slow_the_connection() {
    let mut pair = over_black_hole(probing(MtuProbing::Always), 1300);
    send(&mut pair, 1_000_000);
    let mut told = 0;
    while pair.drive(Duration::from_millis(1), |_| false) || !pair.is_delivered() {
        let lost: Vec<_> = pair
            .sent_by(A)
            .filter(|packet| packet.copies == 0)
            .map(|packet| packet.segment.seq)
            .collect();
        for &seq in &lost[told..] {
            let now = pair.now;
            let verdict = pair.ends[A].conn().on_path_mtu(now, seq, 1260);
            assert_eq!(verdict, PathMtuVerdict::Ignored, "the size in use fits");
        }
        told = lost.len();
        assert!(pair.now < crore_base::Instant::ZERO + MINUTE, "delivered");
    }
    pair.assert_delivered();
    let found = stats(&mut pair);
    assert!(told > 0, "a router had something to say");
    assert_eq!(found.fast_recoveries, 0, "but of no congestion");
    assert!(found.ssthresh >= 1 << 29, "slow start has not been ended by it");
}

#[test]
fn a_try_that_is_lost_with_other_data_is_a_loss() {
    let mut pair = over_black_hole(probing(MtuProbing::Always), 1300);
    let mut n = 0;
    pair.lose(move |packet| {
        n += usize::from(packet.from == A && !packet.payload.is_empty());
        packet_len(packet) > 1300 || n % 20 == 10
    });
    send(&mut pair, 1_000_000);
    assert!(pair.drive(MINUTE, |pair| pair.is_delivered()), "delivered");
    pair.assert_delivered();
    let found = stats(&mut pair);
    assert!(found.fast_recoveries > 0, "the path is full, and says so");
    assert!(found.mss <= 1260 - 12 && found.ssthresh < 1 << 29);
}
