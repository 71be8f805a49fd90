//! Frames over a pair of ring ports, and where every buffer is meanwhile.

mod common;

use common::{frame, nic, now, number, open, pool, receive, send, start};
use crore_dpdk::{Error, HugePages, Mempool, RingConfig, ring_ports};
use crore_nic::{BURST, Nic, RxFrame};

#[test]
fn every_buffer_comes_back_whatever_happened_to_its_frame() {
    let eal = start(Vec::new(), HugePages::Auto).expect("EAL starts without devices");
    assert!(
        matches!(start(Vec::new(), HugePages::Auto), Err(Error::AlreadyStarted)),
        "EAL starts once"
    );
    let pool = pool(&eal);
    let (a, b) = ring_ports(
        &eal,
        &RingConfig {
            slots: 256,
            ..RingConfig::default()
        },
    )
    .expect("two ports");
    let names: Vec<String> = eal.ports().into_iter().map(|port| port.name).collect();
    assert_eq!(names, [a.clone(), b.clone()], "both are listed");
    let (a, b) = (open(&eal, &a, &pool), open(&eal, &b, &pool));
    assert!(
        a.take_queues().len() == 1 && a.take_queues().is_empty(),
        "queues are handed out once"
    );
    // The queues of `a` went with the assertion: a port without queues is of no use.
    drop(a);
    drop(b);
    assert_eq!(pool.in_use(), 0, "closed ports hold nothing");

    let pair = RingConfig {
        name: "again".into(),
        slots: 256,
        ..RingConfig::default()
    };
    let (a, b) = ring_ports(&eal, &pair).expect("a second pair");
    let (a, b) = (open(&eal, &a, &pool), open(&eal, &b, &pool));
    let (mut left, mut right) = (nic(&a), nic(&b));
    frames_pass_in_order(&mut left, &mut right);
    assert_eq!(
        b.stats().expect("rings count").rx_frames,
        5000,
        "each frame is counted"
    );
    assert!(!a.xstats().expect("rings count").is_empty(), "named counters");
    the_backlog_is_bounded(&mut left, &mut right, &pool);
    chunks_hold_their_buffers(&mut left, &mut right, &pool);
    a_dry_pool_gives_no_room(&mut left, &pool);

    // Leaves frames in the ring, in the backlog and reserved, and closes all.
    for n in 0..300 {
        send(&mut left, &frame(n));
    }
    let _ = left.reserve(100);
    drop((left, right, a, b));
    assert_eq!(pool.in_use(), 0, "what was left in rings and backlogs went back");
}

fn frames_pass_in_order(left: &mut crore_dpdk::PortNic, right: &mut crore_dpdk::PortNic) {
    let mut expected = 0;
    let mut next = 0;
    while expected < 5000 {
        while next < 5000 && send(left, &frame(next)) {
            next += 1;
        }
        left.flush(now());
        for received in receive(right) {
            assert_eq!(number(&received.data), Some(expected), "in order and whole");
            expected += 1;
        }
    }
}

fn the_backlog_is_bounded(left: &mut crore_dpdk::PortNic, right: &mut crore_dpdk::PortNic, pool: &Mempool) {
    let mut taken = 0;
    while send(left, &frame(taken)) {
        taken += 1;
        assert!(taken < 2000, "a full ring must show in reserve");
    }
    let kept = left.flush(now());
    assert_eq!(
        taken as usize,
        255 + kept,
        "the ring is full and the rest is kept"
    );
    assert!(left.reserve(60).is_none(), "no room for more");
    let mut arrived = 0;
    while arrived < taken {
        for received in receive(right) {
            assert_eq!(
                number(&received.data),
                Some(arrived),
                "nothing is lost behind a full ring"
            );
            arrived += 1;
        }
        left.flush(now());
    }
    assert_eq!(left.flush(now()), 0, "nothing is kept any more");
    // What the cache holds ready to be sent is all that is out.
    assert!(pool.in_use() < 32, "{} buffers are out", pool.in_use());
}

fn chunks_hold_their_buffers(
    left: &mut crore_dpdk::PortNic,
    right: &mut crore_dpdk::PortNic,
    pool: &Mempool,
) {
    let before = pool.in_use();
    assert!(send(left, &frame(7)), "room");
    left.flush(now());
    let mut frames: Vec<RxFrame> = Vec::with_capacity(BURST);
    assert_eq!(right.rx_burst(now(), &mut frames), 1, "one frame");
    let chunk = frames.remove(0).data;
    assert!(chunk.is_external(), "it is the packet buffer itself");
    assert_eq!(chunk.footprint(), 2048 + 128, "which is pinned whole");
    let part = chunk.slice(14..18);
    drop(chunk);
    assert_eq!(
        pool.in_use(),
        before,
        "moved from the cache to the chunk, and a view still holds it"
    );
    assert_eq!(part.as_ref(), 7u32.to_be_bytes(), "and its bytes are still there");
    drop(part);
    assert_eq!(pool.in_use(), before - 1, "the last view gave it back");
}

fn a_dry_pool_gives_no_room(left: &mut crore_dpdk::PortNic, pool: &Mempool) {
    let mut hoard = Vec::new();
    while let Some(mbuf) = crore_dpdk::Mbuf::new(pool) {
        hoard.push(mbuf);
    }
    assert_eq!(pool.available(), 0, "dry");
    let mut in_cache = 0;
    while left.reserve(60).is_some() {
        left.commit(60, crore_nic::TxMeta::default());
        in_cache += 1;
        assert!(in_cache <= 32, "a dry pool must show in reserve");
    }
    drop(hoard);
    assert!(left.reserve(60).is_some(), "room again");
    assert!(left.reserve(4000).is_none(), "but never for more than a buffer");
}
