//! What a connection tells of itself. Numbers are relative, as in `lone.rs`.

use crore_base::Duration;
use crore_tcp::{Config, CongestionKind, Recovery, State, Stats};
use crore_wire::Segment;

use crate::lone::{ACK, ISS, Lone, MSS, path, plain, seg, syn};

const M: u32 = MSS as u32;
const RTT: Duration = Duration::from_millis(20);

/// Ten segments in flight for a round trip, with SACK.
fn flight() -> Lone {
    let mut first = syn();
    first.options.sack_permitted = true;
    let config = Config {
        sack: true,
        pacing: true,
        initial_window: 40,
        ..plain()
    };
    let mut lone = Lone::answering(config, &first);
    lone.out();
    lone.pass(RTT);
    lone.recv(&seg(ACK, 1, 1), b"");
    lone.conn.write(&[b'x'; 10_000]).expect("open");
    while lone.conn.stats().in_flight < 10 * M {
        lone.out();
        lone.pass(Duration::from_millis(1));
    }
    lone.pass(RTT);
    lone
}

/// An acknowledgment with SACK blocks, relative as it is.
fn sacks(ack: u32, blocks: &[(u32, u32)]) -> Segment {
    let mut segment = seg(ACK, 1, ack);
    for &(left, right) in blocks {
        segment.options.sack.push(ISS + left, ISS + right);
    }
    segment
}

#[test]
fn a_snapshot_tells_how_a_loss_goes_by() {
    let mut lone = flight();
    let before = lone.conn.stats();
    assert_eq!(
        (before.state, before.recovery),
        (State::Established, Recovery::None)
    );
    assert_eq!(
        (before.mss, before.receive_mss, before.path_mtu),
        (MSS, MSS, MSS + 40)
    );
    assert_eq!((before.delivered, before.resent, before.duplicates), (0, 0, 0));
    assert_eq!(before.congestion, CongestionKind::NewReno);
    assert!(
        before.pacing_rate.is_some_and(|rate| rate > 1_000_000),
        "40 segments in 20 ms"
    );
    assert_eq!((before.send_buffer, before.receive_buffer), (100_000, 10_000));

    lone.recv(&sacks(1, &[(1 + M, 1 + 5 * M)]), b"");
    let found = lone.conn.stats();
    assert_eq!(found.recovery, Recovery::Fast);
    assert_eq!(
        (found.lost, found.sacked, found.resent),
        (M, 4 * M, 0),
        "the first is lost"
    );
    lone.out();
    let repaired = lone.conn.stats();
    assert_eq!((repaired.lost, repaired.resent), (0, M), "and sent again");
    assert_eq!(
        (repaired.delivered, repaired.acknowledged),
        (4 * M, 0),
        "four have arrived"
    );

    // It was only late: what was sent again came twice.
    lone.recv(&sacks(1 + 5 * M, &[(1, 1 + M)]), b"");
    let Stats {
        duplicates,
        delivered,
        resent,
        ..
    } = lone.conn.stats();
    assert_eq!((duplicates, delivered, resent), (1, 5 * M, 0));
}

#[test]
fn ages_are_of_data_and_of_any_segment_apart() {
    let mut lone = Lone::established(plain());
    let began = lone.now;
    lone.pass(RTT);
    lone.recv(&seg(ACK, 1, 1), b"text");
    lone.pass(RTT);
    lone.recv(
        &Segment {
            window: 100,
            ..seg(ACK, 5, 1)
        },
        b"",
    );
    let stats = lone.conn.stats();
    assert_eq!(stats.received_at, began + RTT, "text came last");
    assert_eq!(stats.heard_at, began + RTT + RTT, "and the peer was heard later");
    // Out of order, which takes the long way.
    lone.pass(RTT);
    lone.recv(&seg(ACK, 50, 1), b"text");
    assert_eq!(lone.conn.stats().received_at, lone.now);
}

#[test]
fn a_parked_connection_tells_what_its_record_keeps() {
    let mut lone = Lone::established(plain());
    lone.recv(&seg(ACK, 1, 1), b"text");
    lone.read_all();
    lone.out();
    lone.events();
    let before = lone.conn.stats();
    let parked = lone.conn.park().expect("nothing goes on");
    let config = std::rc::Rc::new(plain());
    let woken = crore_tcp::Connection::wake(&config, &parked, 0, path(), false).stats();
    for (of, was, is) in [
        ("mss", before.mss.into(), woken.mss.into()),
        ("receive_mss", before.receive_mss.into(), woken.receive_mss.into()),
        ("path_mtu", before.path_mtu.into(), woken.path_mtu.into()),
        ("send_window", before.send_window, woken.send_window),
        ("receive_window", before.receive_window, woken.receive_window),
        ("send_buffer", before.send_buffer, woken.send_buffer),
        ("receive_buffer", before.receive_buffer, woken.receive_buffer),
        ("ssthresh", before.ssthresh, woken.ssthresh),
    ] {
        assert_eq!(was, is, "{of}");
    }
    assert_eq!((woken.state, woken.congestion), (before.state, before.congestion));
}
