//! The link's promises: order, time, bounds, counts.

use super::*;

fn send(nic: &mut SimNic, bytes: &[u8]) -> bool {
    let Some(buffer) = nic.reserve(bytes.len()) else {
        return false;
    };
    buffer.copy_from_slice(bytes);
    nic.commit(bytes.len(), TxMeta::default());
    true
}

fn receive(nic: &mut SimNic, now: Instant) -> Vec<Chunk> {
    let mut frames = Vec::new();
    nic.rx_burst(now, &mut frames);
    frames.into_iter().map(|frame| frame.data).collect()
}

const MS: Duration = Duration::from_millis(1);

fn at_ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

#[test]
fn a_frame_arrives_after_the_delay_and_not_before() {
    let (mut left, mut right) = link(LinkConfig {
        delay: MS,
        ..LinkConfig::default()
    });
    assert!(send(&mut left, b"hello"), "there is room");
    assert_eq!(right.next_arrival(), None, "not on its way before the flush");
    assert_eq!(left.flush(at_ms(5)), 0, "the link takes it");
    assert_eq!(right.next_arrival(), Some(at_ms(6)), "after the delay");
    assert!(
        receive(&mut right, at_ms(6) - Duration::from_nanos(1)).is_empty(),
        "not before"
    );
    assert_eq!(
        receive(&mut right, at_ms(6)),
        [Chunk::copy_from(b"hello")],
        "then"
    );
    assert!(receive(&mut left, at_ms(99)).is_empty(), "not back to its sender");
}

#[test]
fn the_line_sends_one_frame_after_the_other() {
    let (mut left, mut right) = link(LinkConfig {
        delay: Duration::from_millis(10),
        rate: Some(100_000),
        ..LinkConfig::default()
    });
    send(&mut left, &[1; 100]);
    send(&mut left, &[2; 200]);
    left.flush(at_ms(0));
    assert_eq!(right.next_arrival(), Some(at_ms(11)), "100 bytes take 1 ms");
    assert_eq!(receive(&mut right, at_ms(11)).len(), 1, "the first");
    assert_eq!(right.next_arrival(), Some(at_ms(13)), "200 more bytes 2 ms more");
}

#[test]
fn a_full_link_refuses_and_what_it_refused_goes_later() {
    let (mut left, mut right) = link(LinkConfig {
        queue_frames: 4,
        delay: MS,
        ..LinkConfig::default()
    });
    let sent = (0..1000u32)
        .take_while(|n| send(&mut left, &n.to_be_bytes()))
        .count();
    assert_eq!(sent, BACKLOG, "the backlog is bounded");
    assert_eq!(left.flush(at_ms(0)), BACKLOG - 4, "the rest is kept");
    assert_eq!(left.next_arrival(), Some(at_ms(1)), "when there will be room");
    let mut received = Vec::new();
    for ms in 1..=BACKLOG as u64 {
        received.extend(receive(&mut right, at_ms(ms)));
        left.flush(at_ms(ms));
    }
    let expected: Vec<_> = (0..BACKLOG as u32)
        .map(|n| Chunk::copy_from(&n.to_be_bytes()))
        .collect();
    assert_eq!(received, expected, "all of it, in order");
    assert_eq!(left.link().counters(End::Left).no_buffer, 1, "the one refusal");
}

#[test]
fn a_link_that_drops_when_full_counts_what_it_drops() {
    let (mut left, mut right) = link(LinkConfig {
        queue_frames: 4,
        when_full: WhenFull::Drop,
        ..LinkConfig::default()
    });
    for n in 0..10u8 {
        send(&mut left, &[n]);
    }
    assert_eq!(left.flush(at_ms(0)), 0, "nothing is kept");
    assert_eq!(receive(&mut right, at_ms(9)).len(), 4, "what fitted");
    let counters = right.link().counters(End::Left);
    assert_eq!((counters.sent, counters.dropped), (10, 6), "the rest is counted");
}

#[test]
fn a_burst_delivers_no_more_than_its_bound() {
    let (mut left, mut right) = link(LinkConfig::default());
    for n in 0..100u8 {
        send(&mut left, &[n]);
    }
    left.flush(at_ms(0));
    let mut frames = Vec::new();
    assert_eq!(right.rx_burst(at_ms(1), &mut frames), BURST, "one burst");
    assert_eq!(right.rx_burst(at_ms(1), &mut frames), BURST, "another");
    assert_eq!(frames.len(), 2 * BURST, "appended");
    assert!(
        right.next_arrival().is_some_and(|t| t <= at_ms(1)),
        "more at once"
    );
}

#[test]
fn a_dry_pool_gives_no_buffer_until_it_is_filled() {
    let (mut left, _right) = link(LinkConfig::default());
    let control = left.link();
    control.set_dry(End::Left, true);
    assert!(left.reserve(60).is_none(), "dry");
    assert_eq!(control.counters(End::Left).no_buffer, 1, "counted");
    control.set_dry(End::Left, false);
    assert!(left.reserve(60).is_some(), "filled");
}

#[test]
fn reserving_without_committing_leaves_no_trace() {
    let (mut left, mut right) = link(LinkConfig::default());
    assert!(left.reserve(60).is_some(), "there is room");
    left.flush(at_ms(0));
    assert!(receive(&mut right, at_ms(9)).is_empty(), "nothing was committed");
    assert!(left.reserve(14 + 1500).is_some(), "a frame of the full MTU");
    assert!(left.reserve(14 + 1501).is_none(), "but no more");
    assert_eq!(left.link().counters(End::Left).oversize, 1, "which is counted");
}

#[test]
fn what_is_sent_while_the_link_is_down_is_lost() {
    let (mut left, mut right) = link(LinkConfig::default());
    let control = left.link();
    send(&mut left, b"before");
    left.flush(at_ms(0));
    control.set_down(true);
    send(&mut left, b"during");
    left.flush(at_ms(0));
    control.set_down(false);
    send(&mut left, b"after");
    left.flush(at_ms(0));
    let expected = [Chunk::copy_from(b"before"), Chunk::copy_from(b"after")];
    assert_eq!(receive(&mut right, at_ms(9)), expected, "all but the middle one");
    assert_eq!(control.counters(End::Left).vanished, 1, "which is counted");
}

#[test]
fn a_checksum_left_to_the_nic_arrives_marked() {
    let (mut left, mut right) = link(LinkConfig {
        checksum_offloads: true,
        ..LinkConfig::default()
    });
    assert!(left.capabilities().tx_tcp_checksum, "offered");
    for offload_checksum in [true, false] {
        left.reserve(60);
        let meta = TxMeta {
            offload_checksum,
            ..TxMeta::default()
        };
        left.commit(60, meta);
    }
    left.flush(at_ms(0));
    let mut frames = Vec::new();
    right.rx_burst(at_ms(9), &mut frames);
    let marks: Vec<_> = frames.iter().map(|frame| frame.checksum).collect();
    assert_eq!(marks, [RxChecksum::Partial, RxChecksum::Unknown], "one by one");
}

#[test]
fn a_frame_can_be_forged_from_either_end() {
    let (mut left, mut right) = link(LinkConfig::default());
    let control = left.link();
    control.inject(End::Left, at_ms(0), Chunk::copy_from(b"as left"));
    control.inject(End::Right, at_ms(0), Chunk::copy_from(b"as right"));
    assert_eq!(
        receive(&mut right, at_ms(9)),
        [Chunk::copy_from(b"as left")],
        "to the right"
    );
    assert_eq!(
        receive(&mut left, at_ms(9)),
        [Chunk::copy_from(b"as right")],
        "to the left"
    );
}

#[test]
fn the_tap_sees_what_the_hash_covers() {
    let run = |payload: &[u8], ms: u64| {
        let (mut left, _right) = link(LinkConfig::default());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        left.link().set_tap(Some(Box::new(move |tapped| {
            sink.borrow_mut()
                .push((tapped.at, tapped.from, tapped.frame.to_vec()));
        })));
        send(&mut left, payload);
        left.flush(at_ms(ms));
        let seen = seen.borrow().clone();
        assert_eq!(seen, [(at_ms(ms), End::Left, payload.to_vec())], "as it was sent");
        left.link().trace_hash()
    };
    assert_eq!(run(b"0123456789", 1), run(b"0123456789", 1), "the same trace");
    assert_ne!(run(b"0123456789", 1), run(b"0123456789", 2), "another time");
    assert_ne!(run(b"0123456789", 1), run(b"012345678x", 1), "another last byte");
    assert_ne!(run(b"0123456789", 1), run(b"x123456789", 1), "another first byte");
}

/// A segment of 10 bytes behind headers of 54, to be cut into parts of 4.
fn large(ident: u16) -> (Vec<u8>, TxMeta) {
    let mut frame = vec![0; 54 + 10];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&50u16.to_be_bytes());
    frame[18..20].copy_from_slice(&ident.to_be_bytes());
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    frame[38..42].copy_from_slice(&(u32::MAX - 3).to_be_bytes());
    frame[46] = 5 << 4;
    // ACK, PSH, FIN and CWR.
    frame[47] = 0x10 | 0x08 | 0x01 | 0x80;
    // 0x0a00 + 1 + 0x0a00 + 2, and the protocol.
    frame[50..52].copy_from_slice(&(0x1403u16 + 6).to_be_bytes());
    frame[54..].copy_from_slice(b"0123456789");
    let meta = TxMeta {
        l2_len: 14,
        l3_len: 20,
        l4_len: 20,
        ipv6: false,
        offload_checksum: true,
        segment_len: 4,
    };
    (frame, meta)
}

#[test]
fn a_large_segment_is_cut_into_those_of_the_link() {
    let (mut left, mut right) = link(LinkConfig {
        checksum_offloads: true,
        tso: true,
        ..LinkConfig::default()
    });
    let (frame, meta) = large(u16::MAX);
    left.reserve(58).expect("room")[..58].copy_from_slice(&frame[..58]);
    left.extend(6).expect("more")[..6].copy_from_slice(&frame[58..]);
    left.commit(64, meta);
    left.flush(at_ms(0));
    let frames = receive(&mut right, at_ms(9));
    let told: Vec<_> = frames
        .iter()
        .map(|f| {
            let word = |at: usize| u16::from_be_bytes([f[at], f[at + 1]]);
            let seq = u32::from_be_bytes([f[38], f[39], f[40], f[41]]);
            (&f[54..], word(16), word(18), seq, f[47], word(50))
        })
        .collect();
    let expected: [(&[u8], _, _, _, _, _); 3] = [
        (b"0123", 44, u16::MAX, u32::MAX - 3, 0x90, 0x1409 + 24),
        (b"4567", 44, 0, 0, 0x10, 0x1409 + 24),
        (b"89", 42, 1, 4, 0x19, 0x1409 + 22),
    ];
    assert_eq!(
        told, expected,
        "payload, length, identification, number, flags, sum"
    );
    assert_eq!(left.link().counters(End::Left).cut, 1, "one was cut");
}

#[test]
fn a_nic_without_that_offload_extends_nothing() {
    for (tso, dry) in [(false, false), (true, true)] {
        let (mut left, _right) = link(LinkConfig {
            checksum_offloads: true,
            tso,
            ..LinkConfig::default()
        });
        assert!(left.reserve(60).is_some(), "one frame");
        left.link().set_dry(End::Left, dry);
        assert!(left.extend(60).is_none(), "TSO {tso}, dry {dry}");
    }
}

#[test]
#[should_panic(expected = "the pseudo-header's sum, without a length")]
fn a_wrong_sum_beside_a_large_segment_is_the_senders_mistake() {
    let (mut frame, meta) = large(0);
    frame[51] ^= 1;
    crate::tso::frames_of(&frame, &meta);
}
