//! Faults are repeatable, counted, within bounds, and never touch what they
//! were not asked to.

use super::*;
use crate::sim::{self, LinkConfig, SimNic, WhenFull};

const MS: Duration = Duration::from_millis(1);

fn at_ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// An IPv4 frame (by its EtherType) that carries `n`.
fn frame(n: u32) -> Vec<u8> {
    let mut frame = vec![0x5a; 64];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..18].copy_from_slice(&n.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]])
}

fn send(nic: &mut impl Nic, bytes: &[u8]) -> bool {
    let Some(buffer) = nic.reserve(bytes.len()) else {
        return false;
    };
    buffer[..bytes.len()].copy_from_slice(bytes);
    nic.commit(bytes.len(), TxMeta::default());
    true
}

struct Setup {
    left: FaultNic<SimNic>,
    right: SimNic,
}

/// A link without delay whose left end has faults.
fn setup(seed: u64, rx: Faults, tx: Faults) -> Setup {
    let (left, right) = sim::link(LinkConfig {
        delay: Duration::ZERO,
        ..LinkConfig::default()
    });
    Setup {
        left: FaultNic::new(left, FaultConfig { seed, rx, tx }),
        right,
    }
}

impl Setup {
    /// Sends `count` frames each way, one a millisecond, and returns with their
    /// times what arrived at the left and at the right.
    fn exchange(&mut self, count: u32) -> [Vec<(Instant, Chunk)>; 2] {
        let mut arrived = [Vec::new(), Vec::new()];
        for n in 0..count {
            let now = at_ms(u64::from(n));
            assert!(send(&mut self.right, &frame(n)), "room on a link without delay");
            assert!(send(&mut self.left, &frame(n)), "room in the wrapper");
            self.turn(now, &mut arrived);
        }
        while let Some(next) = self
            .left
            .next_arrival()
            .into_iter()
            .chain(self.right.next_arrival())
            .min()
        {
            self.turn(next.max(at_ms(u64::from(count))), &mut arrived);
        }
        assert_eq!(self.left.held(), 0, "nothing is kept for ever");
        arrived
    }

    fn turn(&mut self, now: Instant, arrived: &mut [Vec<(Instant, Chunk)>; 2]) {
        self.left.flush(now);
        self.right.flush(now);
        let mut frames = Vec::new();
        while self.left.rx_burst(now, &mut frames) > 0 {}
        arrived[0].extend(frames.drain(..).map(|frame| (now, frame.data)));
        while self.right.rx_burst(now, &mut frames) > 0 {}
        arrived[1].extend(frames.drain(..).map(|frame| (now, frame.data)));
    }
}

const STORM: Faults = Faults {
    hole_above: 0,
    loss: 0.1,
    duplicate: 0.1,
    reorder: 0.1,
    corrupt: 0.1,
    mark: 0.0,
    bleach: 0.0,
    acc_ecn: AccEcnFate::Pass,
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(3),
    bursts: Bursts {
        enter: 0.0,
        leave: 0.0,
        loss: 0.0,
    },
    bottleneck: Bottleneck {
        bytes_per_second: 0,
        queue_bytes: 0,
    },
};

#[test]
fn without_faults_everything_passes_in_order_and_at_once() {
    let mut setup = setup(1, Faults::default(), Faults::default());
    for side in setup.exchange(2000) {
        assert_eq!(side.len(), 2000, "nothing lost, nothing doubled");
        for (n, (at, data)) in side.iter().enumerate() {
            assert_eq!(*data, frame(n as u32), "untouched, in order");
            assert_eq!(*at, at_ms(n as u64), "at once");
        }
    }
    let FaultStats { rx, tx } = setup.left.stats();
    let expected = FaultCounts {
        seen: 2000,
        passed: 2000,
        ..FaultCounts::default()
    };
    assert_eq!([rx, tx], [expected; 2], "nothing was done");
    assert!(
        Faults::default().is_none() && !STORM.is_none(),
        "and that is known"
    );
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_one_others() {
    let run = |seed| setup(seed, STORM, STORM).exchange(500);
    assert_eq!(run(42), run(42), "repeatable to the byte and the nanosecond");
    assert_ne!(run(42), run(43), "and the seed matters");
    let [rx, tx] = run(42).map(|side| side.iter().map(|(_, f)| number(f)).collect::<Vec<_>>());
    assert_ne!(rx, tx, "the directions draw their own numbers");
}

#[test]
fn the_rates_are_what_was_asked_for() {
    const COUNT: u32 = 20_000;
    // Five standard deviations of a binomial with p = 0.1: a fixed seed makes it
    // an assertion about the code, not about luck.
    let near = |n: u64, of: u64| {
        let (mean, sigma) = (of as f64 * 0.1, (of as f64 * 0.09).sqrt());
        (n as f64 - mean).abs() < 5.0 * sigma
    };
    let mut setup = setup(7, STORM, STORM);
    let arrived = setup.exchange(COUNT);
    let FaultStats { rx, tx } = setup.left.stats();
    for (counts, side) in [rx, tx].iter().zip(&arrived) {
        let survivors = counts.seen - counts.lost;
        assert_eq!(counts.seen, u64::from(COUNT), "all of them");
        assert!(near(counts.lost, counts.seen), "loss: {counts:?}");
        assert!(near(counts.duplicated, survivors), "duplication: {counts:?}");
        let copies = survivors + counts.duplicated;
        assert!(near(counts.reordered, copies), "reordering: {counts:?}");
        assert!(near(counts.corrupted, copies), "corruption: {counts:?}");
        assert_eq!(counts.passed, copies, "what was not lost came through");
        assert_eq!(side.len() as u64, copies, "and arrived");
    }
}

#[test]
fn delayed_frames_come_out_in_order_of_time() {
    let jittered = Faults {
        delay: MS.saturating_mul(5),
        jitter: MS.saturating_mul(4),
        ..Faults::default()
    };
    for side in setup(3, jittered, jittered).exchange(1000) {
        assert_eq!(side.len(), 1000, "nothing lost");
        assert!(side.is_sorted_by_key(|(at, _)| *at), "time goes forward");
        for (at, data) in &side {
            let late = at.since(at_ms(u64::from(number(data))));
            assert!(late >= MS.saturating_mul(5), "never early: {late:?}");
            assert!(late <= MS.saturating_mul(10), "nor later than asked: {late:?}");
        }
        assert!(
            !side.is_sorted_by_key(|(_, data)| number(data)),
            "jitter beyond the spacing reorders"
        );
    }
    let constant = Faults {
        delay: MS.saturating_mul(5),
        ..Faults::default()
    };
    for side in setup(3, constant, constant).exchange(1000) {
        assert!(
            side.is_sorted_by_key(|(_, data)| number(data)),
            "a constant delay does not"
        );
    }
}

#[test]
fn damage_is_one_byte_of_the_packet_and_the_original_is_untouched() {
    let corrupting = Faults {
        corrupt: 1.0,
        duplicate: 1.0,
        ..Faults::default()
    };
    for side in setup(5, corrupting, corrupting).exchange(300) {
        assert_eq!(side.len(), 600, "each one twice");
        for (at, data) in side {
            let sent = frame(at.as_millis() as u32);
            let differing: Vec<_> = (0..sent.len()).filter(|&i| sent[i] != data[i]).collect();
            assert_eq!(data.len(), sent.len(), "no byte lost");
            assert_eq!(differing.len(), 1, "one byte");
            assert!(differing[0] >= ETHERNET_HEADER, "under a checksum");
        }
    }
}

#[test]
fn what_no_checksum_covers_is_lost_instead_of_damaged() {
    let corrupting = Faults {
        corrupt: 1.0,
        ..Faults::default()
    };
    let mut setup = setup(5, Faults::default(), corrupting);
    let mut arp = frame(0);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    for bytes in [&arp[..], &arp[..14], &arp[..6]] {
        send(&mut setup.left, bytes);
    }
    setup.left.flush(at_ms(0));
    assert_eq!(setup.right.next_arrival(), None, "none of them came");
    assert_eq!(setup.left.stats().tx.corrupted, 3, "but all are counted");
}

#[test]
fn a_nic_that_takes_nothing_makes_the_wrapper_refuse() {
    let mut setup = setup(1, Faults::default(), Faults::default());
    let control = setup.left.inner().link();
    control.set_dry(sim::End::Left, true);
    let mut accepted = 0;
    for _ in 0..100 {
        for _ in 0..BURST {
            accepted += u32::from(send(&mut setup.left, &frame(accepted)));
        }
        setup.left.flush(at_ms(1));
    }
    assert_eq!(accepted as usize, TX_BACKLOG, "bounded");
    assert_eq!(setup.left.flush(at_ms(1)), TX_BACKLOG, "kept");
    assert_eq!(
        setup.left.next_arrival(),
        None,
        "the mere passing of time changes nothing"
    );
    control.set_dry(sim::End::Left, false);
    assert_eq!(setup.left.flush(at_ms(2)), 0, "all gone");
    let mut frames = Vec::new();
    while setup.right.rx_burst(at_ms(2), &mut frames) > 0 {}
    let numbers: Vec<_> = frames.iter().map(|frame| number(&frame.data)).collect();
    assert_eq!(numbers, (0..accepted).collect::<Vec<_>>(), "in order");
}

#[test]
fn no_more_than_the_bound_is_held_and_the_rest_is_counted() {
    let (left, mut right) = sim::link(LinkConfig {
        delay: Duration::ZERO,
        when_full: WhenFull::Drop,
        ..LinkConfig::default()
    });
    let slow = Faults {
        delay: MS.saturating_mul(1000),
        ..Faults::default()
    };
    let config = FaultConfig {
        seed: 1,
        rx: slow,
        tx: slow,
    };
    let mut left = FaultNic::new(left, config);
    let mut frames = Vec::new();
    for n in 0..HELD_MAX as u32 + 100 {
        send(&mut left, &frame(n));
        left.flush(at_ms(0));
        send(&mut right, &frame(n));
        right.flush(at_ms(0));
        left.rx_burst(at_ms(0), &mut frames);
    }
    assert_eq!(left.held(), 2 * HELD_MAX, "both directions full");
    let stats = left.stats();
    assert_eq!((stats.rx.overflowed, stats.tx.overflowed), (100, 100), "counted");
    assert_eq!(left.next_arrival(), Some(at_ms(1000)), "the first of them");
}

#[test]
fn offloads_are_masked_and_verdicts_taken_back() {
    let (left, mut right) = sim::link(LinkConfig {
        checksum_offloads: true,
        tso: true,
        delay: Duration::ZERO,
        ..LinkConfig::default()
    });
    let corrupt = Faults {
        corrupt: 0.5,
        ..Faults::default()
    };
    let config = FaultConfig {
        seed: 11,
        rx: corrupt,
        ..FaultConfig::default()
    };
    let mut left = FaultNic::new(left, config);
    let Capabilities {
        mac,
        mtu,
        tx_ipv4_checksum,
        tx_tcp_checksum,
        tx_tso,
        rx_checksum,
    } = *left.capabilities();
    assert_eq!((mac, mtu), (LinkConfig::default().mac[0], 1500), "the NIC's own");
    assert!(
        !tx_ipv4_checksum && !tx_tcp_checksum && !tx_tso && !rx_checksum,
        "software must see the damage"
    );
    for n in 0..100 {
        right.reserve(64).expect("room").copy_from_slice(&frame(n));
        let meta = TxMeta {
            offload_checksum: true,
            ..TxMeta::default()
        };
        right.commit(64, meta);
    }
    right.flush(at_ms(0));
    let mut frames = Vec::new();
    while left.rx_burst(at_ms(0), &mut frames) > 0 {}
    for (n, received) in frames.iter().enumerate() {
        let expected = if received.data == frame(n as u32) {
            RxChecksum::Partial
        } else {
            RxChecksum::Unknown
        };
        assert_eq!(received.checksum, expected, "only the undamaged keep it");
    }
    assert!(left.stats().rx.corrupted > 20, "some were damaged");
}

#[test]
fn reserving_without_committing_leaves_no_trace() {
    let mut setup = setup(1, Faults::default(), Faults::default());
    assert!(setup.left.reserve(60).is_some(), "there is room");
    setup.left.flush(at_ms(0));
    assert_eq!(setup.right.next_arrival(), None, "nothing was committed");
    assert!(setup.left.reserve(14 + 1501).is_none(), "no frame beyond the MTU");
}

#[test]
fn a_bottleneck_spaces_frames_out_keeps_their_order_and_counts_what_finds_no_room() {
    // A frame of 64 bytes takes 4 ms, and five may wait; one comes each millisecond.
    let narrow = Faults {
        bottleneck: Bottleneck {
            bytes_per_second: 16_000,
            queue_bytes: 5 * 64,
        },
        delay: MS.saturating_mul(10),
        ..Faults::default()
    };
    let mut setup = setup(1, narrow, narrow);
    let arrived = setup.exchange(400);
    let FaultStats { rx, tx } = setup.left.stats();
    for (counts, side) in [rx, tx].iter().zip(&arrived) {
        assert_eq!(
            counts.seen,
            counts.queue_full + counts.passed,
            "each is counted once"
        );
        assert!(
            (100..=106).contains(&side.len()),
            "a quarter passes: {}",
            side.len()
        );
        assert!(side.is_sorted_by_key(|(_, data)| number(data)), "in order");
        for pair in side.windows(2) {
            let gap = pair[1].0.since(pair[0].0);
            assert!(gap >= MS.saturating_mul(4), "at the rate: {gap:?}");
        }
        let (at, data) = &side[50];
        let late = at.since(at_ms(u64::from(number(data))));
        let most = MS.saturating_mul(10 + 5 * 4);
        assert!(
            late > MS.saturating_mul(25) && late <= most,
            "delay and a full queue: {late:?}"
        );
    }
}

#[test]
fn losses_in_bursts_are_repeatable_and_counted() {
    let bursty = Faults {
        bursts: Bursts {
            enter: 0.02,
            leave: 0.2,
            loss: 1.0,
        },
        ..Faults::default()
    };
    let run = |seed| {
        let mut setup = setup(seed, bursty, bursty);
        let arrived = setup.exchange(2000);
        let FaultStats { rx, tx } = setup.left.stats();
        for (counts, side) in [rx, tx].iter().zip(&arrived) {
            assert_eq!(
                counts.seen - counts.lost,
                side.len() as u64,
                "what was not lost came"
            );
            assert!(counts.lost > 100, "a tenth or so is lost: {}", counts.lost);
        }
        arrived
    };
    assert_eq!(run(5), run(5), "one seed, one outcome");
    assert_ne!(run(5), run(6), "and the seed matters");
}

#[test]
fn a_longer_path_may_hold_more_than_the_usual_number() {
    let slow = Faults {
        delay: MS.saturating_mul(1000),
        ..Faults::default()
    };
    let Setup { left, .. } = setup(1, Faults::default(), slow);
    let mut left = left.holding(10_000);
    for n in 0..10_100 {
        send(&mut left, &frame(n));
        left.flush(at_ms(0));
    }
    assert_eq!(left.held(), 10_000, "as many as allowed");
    assert_eq!(left.stats().tx.overflowed, 100, "and no more");
}

#[test]
fn marks_and_wiped_fields_are_counted_and_change_nothing_else() {
    let with = |mark, bleach| Faults {
        mark,
        bleach,
        ..Faults::default()
    };
    // The second byte of the IP header is the lowest but two of the number.
    let ect = |n: u32| n << 18 | 2 << 16 | n;
    let run = |faults| {
        let mut setup = setup(3, Faults::default(), faults);
        for n in 0..1000 {
            assert!(send(&mut setup.left, &frame(ect(n))), "room in the wrapper");
            setup.left.flush(at_ms(0));
        }
        let mut frames = Vec::new();
        while setup.right.rx_burst(at_ms(0), &mut frames) > 0 {}
        let fields: Vec<_> = frames.iter().map(|frame| frame.data[15] & 3).collect();
        assert_eq!(fields.len(), 1000, "nothing is lost");
        let count = |field| fields.iter().filter(|&&f| f == field).count() as u64;
        (count(3), count(0), setup.left.stats().tx)
    };
    let (marked, _, counts) = run(with(0.1, 0.0));
    assert!((50..200).contains(&marked), "about a tenth: {marked}");
    assert_eq!((counts.marked, counts.bleached), (marked, 0));
    let (marked, wiped, counts) = run(with(0.1, 1.0));
    assert_eq!((marked, wiped, counts.bleached), (0, 1000, 1000), "all is wiped");
}

#[test]
fn a_black_hole_swallows_what_is_large_and_nothing_else() {
    let hole = Faults {
        hole_above: 49,
        ..Faults::default()
    };
    let mut narrow = setup(1, Faults::default(), hole);
    let [_, arrived] = narrow.exchange(20);
    assert_eq!(arrived.len(), 0, "packets of 50 bytes");
    assert_eq!(narrow.left.stats().tx.lost, 20, "are lost, and counted");
    let wide = Faults {
        hole_above: 50,
        ..Faults::default()
    };
    let [_, arrived] = setup(1, Faults::default(), wide).exchange(20);
    assert_eq!(arrived.len(), 20, "what just fits gets through");
}
