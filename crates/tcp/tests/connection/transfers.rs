//! Bytes get across, whatever the channel does.

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, State};

use crate::pair::{A, B, DELAY, Pair};

#[test]
fn both_ways_and_both_closed() {
    let mut pair = Pair::connected();
    pair.send_both(1_000_000);
    pair.ends[A].finish = true;
    pair.ends[B].finish = true;
    assert!(
        pair.drive(Duration::from_secs(60), |p| p.ends[A].eof && p.ends[B].eof),
        "both reach the end of the other's text"
    );
    pair.assert_delivered();
    pair.run_for(Duration::from_secs(200));
    pair.assert_states(State::Closed, State::Closed);
    assert_eq!(
        pair.ends[A].closed(),
        Some(CloseReason::Finished),
        "in good order"
    );
    assert!(
        pair.ends[A].conn().is_closed() && pair.ends[B].conn().is_closed(),
        "nothing is left"
    );
    assert_eq!(pair.ends[A].conn().stats().retransmits, 0, "nothing was lost");
}

#[test]
fn every_tenth_segment_lost() {
    let mut n = 0u32;
    let mut pair = Pair::connected().with_fate(move |_| {
        n += 1;
        if n % 10 == 3 { vec![] } else { vec![DELAY] }
    });
    pair.send_both(500_000);
    assert!(
        pair.drive(Duration::from_secs(600), |p| p.is_delivered()),
        "all arrives"
    );
    pair.assert_delivered();
}

#[test]
fn one_byte_buffers_make_progress() {
    let tiny = Config {
        receive_buffer: 1,
        send_buffer: 1,
        ..Config::default()
    };
    let mut pair = Pair::connected_with(tiny.clone(), tiny);
    pair.send_both(200);
    assert!(
        pair.drive(Duration::from_secs(3600), |p| p.is_delivered()),
        "byte by byte"
    );
    pair.assert_delivered();
}
