//! Buffers grow with what the path carries, for nothing else, and no further
//! than allowed.

use std::rc::Rc;

use crore_base::{Duration, Instant};
use crore_tcp::{Config, Connection, Disposition, TcpOption};

use crate::bottleneck::{Bottleneck, Way};
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

/// What the program's configuration says by default.
fn defaults() -> Config {
    Config {
        receive_buffer_max: 6 << 20,
        send_buffer_max: 4 << 20,
        ..Config::default()
    }
}

#[test]
fn a_long_fat_path_is_filled_from_the_default_buffers_both_ways() {
    // 200 Mbit/s and 100 ms: 2.5 MB are under way, ten times what a buffer begins with.
    let path = Way {
        rate: 25_000_000,
        queue: 2_500_000,
        round_trip: Duration::from_millis(100),
    };
    const FOR_EVER: u64 = u64::MAX;
    for (forth, back) in [(FOR_EVER, 0), (0, FOR_EVER)] {
        let mut way = Bottleneck::new(path);
        let flow = way.add_with_buffers(&defaults(), Duration::ZERO, forth, back);
        // So long it takes to grow, and to get over what slow start has lost.
        way.run(Duration::from_secs(5));
        let before = way.flows[flow].received + way.flows[flow].received_back;
        way.run(Duration::from_secs(10));
        let carried = way.flows[flow].received + way.flows[flow].received_back - before;
        let most = path.rate * 10 * 1448 / 1514;
        assert!(
            carried * 100 >= most * 85,
            "{} per cent of what the line carries",
            carried * 100 / most
        );
    }
}

#[test]
fn the_first_half_of_a_buffer_tells_already_how_fast_the_peer_is() {
    let config = Config {
        initial_window: 1000,
        ..growing()
    };
    let mut line_free = Instant::ZERO;
    let mut pair = Pair::connected_with(config.clone(), config).with_fate(move |packet| {
        line_free = line_free.max(packet.at) + Duration::from_micros(100);
        vec![line_free.since(packet.at) + crate::pair::DELAY]
    });
    // The clock must not have run since the connection was opened.
    pair.run_for(Duration::from_secs(10));
    send(&mut pair, 60_000);
    pair.run_for(crate::pair::DELAY.saturating_mul(3));
    let window = pair.ends[A].conn().stats().send_window;
    assert!(window > START, "a round trip later it has grown: {window}");
}

#[test]
fn while_memory_is_scarce_nothing_grows_and_what_has_grown_is_as_at_first() {
    let (mut pair, _, wide) = carry(&growing(), 8 << 20);
    assert!(wide > CEILING / 2, "it has grown: {wide}");
    pair.settle();
    for end in [A, B] {
        pair.ends[end].conn().set_short_of_memory(true);
    }
    let room = pair.ends[A].conn().write_capacity();
    assert_eq!(room, START as usize, "no more is taken than at first");
    let edge = |pair: &mut Pair| {
        let stats = pair.ends[B].conn().stats();
        stats.received.wrapping_add(stats.receive_window)
    };
    let offered = edge(&mut pair);
    send(&mut pair, wide as usize / 2);
    pair.settle();
    assert_eq!(
        edge(&mut pair),
        offered,
        "what was offered stands, and no more is"
    );
    send(&mut pair, 4 << 20);
    assert!(
        pair.drive(Duration::from_secs(600), |p| p.is_delivered()),
        "it goes on"
    );
    pair.settle();
    let window = pair.ends[A].conn().stats().send_window;
    assert!(window <= START, "as large as at first: {window}");
    for end in [A, B] {
        pair.ends[end].conn().set_short_of_memory(false);
    }
    send(&mut pair, 8 << 20);
    let mut widest = 0;
    pair.drive(Duration::from_secs(600), |p| {
        widest = widest.max(p.ends[A].conn().stats().send_window);
        p.is_delivered()
    });
    pair.assert_delivered();
    assert!(widest > CEILING / 2, "with plenty it grows again: {widest}");
}

#[test]
fn a_woken_connection_holds_all_that_it_had_offered() {
    let (mut pair, ..) = carry(&growing(), 8 << 20);
    pair.settle();
    let end = &mut pair.ends[B];
    let (config, path) = (Rc::clone(&end.config), pair.path);
    let parked = end.conn().park().expect("nothing is going on");
    let woken = Connection::wake(&config, &parked, 77, path, false);
    end.connection = Some(woken);
    let offered = end.conn().stats().receive_window;
    assert!(offered > CEILING / 2, "what was offered stands: {offered}");
    // All of it comes, but the first byte, in small segments.
    let nxt = end.conn().rcv_nxt();
    let segment = pair.in_order(B, crore_wire::Flags::ACK);
    let small = [1; 1000];
    for at in (1..offered - 1000).step_by(1000) {
        let mut segment = segment;
        segment.seq = nxt + at;
        let taken = pair.inject(B, &segment, &small);
        assert_eq!(taken, Disposition::Accepted, "{at} of {offered}");
    }
    pair.ends[B].reading = false;
    pair.inject(B, &segment, &[1]);
    let readable = pair.ends[B].conn().readable();
    assert!(
        readable > CEILING as usize / 2,
        "it is all for the reader: {readable}"
    );
}
