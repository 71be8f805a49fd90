//! Buffers grow with what the path carries, for nothing else, and no further
//! than allowed.

use std::rc::Rc;

use crore_base::Duration;
use crore_tcp::{Config, TcpOption};

use crate::pair::{A, B, Pair, text};

const START: u32 = 64 * 1024;
const CEILING: u32 = 2 << 20;

/// Buffers that start small and may grow.
fn growing() -> Config {
    Config {
        receive_buffer: START,
        receive_buffer_max: CEILING,
        send_buffer: START,
        send_buffer_max: CEILING,
        ..Config::default()
    }
}

/// A's application has so many bytes more to send.
fn send(pair: &mut Pair, bytes: usize) {
    let len = pair.ends[A].to_send.len() + bytes;
    pair.ends[A].to_send = text(1, len);
}

/// How long `bytes` take from A to B; the pair, and the largest window that B
/// offered.
fn carry(config: &Config, bytes: usize) -> (Pair, Duration, u32) {
    let mut pair = Pair::connected_with(config.clone(), config.clone());
    send(&mut pair, bytes);
    let started = pair.now;
    let mut widest = 0;
    let done = pair.drive(Duration::from_secs(600), |p| {
        widest = widest.max(p.ends[A].conn().stats().send_window);
        p.is_delivered()
    });
    assert!(done, "all arrives");
    pair.assert_delivered();
    let took = pair.now.since(started);
    (pair, took, widest)
}

#[test]
fn both_buffers_grow_until_the_path_is_full() {
    const BYTES: usize = 8 << 20;
    let fixed = Config {
        receive_buffer_max: 0,
        send_buffer_max: 0,
        ..growing()
    };
    let (_, slow, narrow) = carry(&fixed, BYTES);
    assert!(narrow <= START, "a fixed buffer stays: {narrow}");
    let (_, fast, wide) = carry(&growing(), BYTES);
    assert!(
        wide > CEILING / 2 && wide <= CEILING + (1 << 6),
        "to the ceiling, and not beyond: {wide}"
    );
    assert!(
        fast < slow.div(3),
        "several times as fast over the same path: {fast:?}, not {slow:?}"
    );
    for grows in [true, false] {
        let one = Config {
            receive_buffer_max: if grows { CEILING } else { 0 },
            send_buffer_max: if grows { 0 } else { CEILING },
            ..growing()
        };
        let (_, took, _) = carry(&one, BYTES);
        assert!(took > slow.div(2), "either alone is of little use: {took:?}");
    }
}

#[test]
fn they_grow_over_a_lossy_path_too() {
    let mut n = 0u32;
    let mut pair = Pair::connected_with(growing(), growing()).with_fate(move |_| {
        n += 1;
        if n % 997 == 500 {
            vec![]
        } else {
            vec![crate::pair::DELAY]
        }
    });
    send(&mut pair, 6 << 20);
    let mut widest = 0;
    let done = pair.drive(Duration::from_secs(600), |p| {
        widest = widest.max(p.ends[A].conn().stats().send_window);
        p.is_delivered()
    });
    assert!(done, "all arrives");
    pair.assert_delivered();
    assert!(widest > 2 * START, "it grew: {widest}");
}

#[test]
fn a_slow_conversation_needs_no_larger_buffer() {
    let mut pair = Pair::connected_with(growing(), growing());
    for _ in 0..100 {
        // More than the buffer in all, and never much at a time.
        send(&mut pair, 4_000);
        pair.run_for(Duration::from_millis(200));
    }
    pair.assert_delivered();
    let window = pair.ends[A].conn().stats().send_window;
    assert!(window <= START, "nothing grew: {window}");
}

#[test]
fn who_does_not_read_gets_no_larger_buffer() {
    let mut pair = Pair::connected_with(growing(), growing());
    pair.ends[B].reading = false;
    send(&mut pair, 4 << 20);
    pair.run_for(Duration::from_secs(30));
    let waiting = pair.ends[B].conn().readable();
    assert!(waiting <= START as usize, "as much as it started with: {waiting}");
    pair.ends[B].reading = true;
    assert!(
        pair.drive(Duration::from_secs(600), |p| p.is_delivered()),
        "and it goes on when the reader does"
    );
    pair.assert_delivered();
}

#[test]
fn another_option_leaves_what_has_grown_and_a_chosen_size_takes_its_place() {
    let (mut pair, ..) = carry(&growing(), 8 << 20);
    pair.settle();
    let room = |pair: &mut Pair| pair.ends[A].conn().write_capacity();
    let grown = room(&mut pair);
    assert!(grown > START as usize, "it has grown: {grown}");
    let mut options = crore_tcp::Options::of(&growing());
    options.set(TcpOption::Nodelay(false));
    let config = Rc::new(options.apply_to(&growing()));
    pair.ends[A].conn().configure(config);
    assert_eq!(
        room(&mut pair),
        grown,
        "Nagle's algorithm has nothing to do with it"
    );
    options.set(TcpOption::SendBuffer(10_000));
    options.set(TcpOption::ReceiveBuffer(20_000));
    let config = Rc::new(options.apply_to(&growing()));
    assert_eq!(
        (config.send_buffer_max, config.receive_buffer_max),
        (0, 0),
        "a chosen size does not grow"
    );
    pair.ends[A].conn().configure(config);
    assert_eq!(room(&mut pair), 10_000, "it counts at once");
}
