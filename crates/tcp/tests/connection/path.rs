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
