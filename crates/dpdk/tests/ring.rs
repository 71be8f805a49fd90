//! Frames over a pair of ring ports, and where every buffer is meanwhile.

mod common;

use common::{frame, nic, now, number, open, pool, receive, send, start};
use std::time::Duration;

use crore_dpdk::{
    Eal, Error, HugePages, Mempool, Port, PortConfig, PortNic, RingConfig, forward, ring_ports,
};
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
    a_pool_runs_low_before_it_runs_dry(&mut left, &mut right, &pool);
    the_forwarder_sends_back(&mut left, &mut right);
    a_dry_pool_gives_no_room(&mut left, &pool);

    queues_lead_to_their_like(&eal, &pool);

    // Leaves frames in the ring, in the backlog and reserved, and closes all.
    for n in 0..300 {
        send(&mut left, &frame(n));
    }
    let _ = left.reserve(100);
    drop((left, right, a, b));
    assert_eq!(pool.in_use(), 0, "what was left in rings and backlogs went back");
}

fn queues_lead_to_their_like(eal: &Eal, pool: &Mempool) {
    let pair = RingConfig {
        name: "wide".into(),
        queues: 2,
        slots: 64,
    };
    let (a, b) = ring_ports(eal, &pair).expect("a pair of two queues");
    let config = PortConfig {
        queues: 2,
        ..PortConfig::default()
    };
    let open = |name: &str| Port::open(eal, name, &config, pool).expect("the port opens");
    let (a, b) = (open(&a), open(&b));
    let nics = |port: Port| -> Vec<PortNic> {
        port.take_queues()
            .into_iter()
            .map(|pair| PortNic::new(pair).expect("claimed"))
            .collect()
    };
    let (mut a, mut b) = (nics(a), nics(b));
    for queue in [1, 0] {
        assert!(send(&mut a[queue], &frame(queue as u32)), "room");
        a[queue].flush(now());
        assert!(receive(&mut b[1 - queue]).is_empty(), "not on the other queue");
        let got = receive(&mut b[queue]);
        assert_eq!(got.len(), 1, "on the same queue");
        assert_eq!(number(&got[0].data), Some(queue as u32), "the same frame");
    }
}

fn frames_pass_in_order(left: &mut PortNic, right: &mut PortNic) {
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

fn the_backlog_is_bounded(left: &mut PortNic, right: &mut PortNic, pool: &Mempool) {
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

fn chunks_hold_their_buffers(left: &mut PortNic, right: &mut PortNic, pool: &Mempool) {
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

fn a_pool_runs_low_before_it_runs_dry(left: &mut PortNic, right: &mut PortNic, pool: &Mempool) {
    assert!(!right.rx_pressure(), "plenty at first");
    let mut unread = Vec::new();
    while !right.rx_pressure() {
        assert!(send(left, &frame(0)), "the pool is dry, and nobody was warned");
        left.flush(now());
        right.rx_burst(now(), &mut unread);
    }
    let spare = pool.available();
    assert!(spare > 256, "the warning comes while {spare} buffers are left");
    unread.clear();
    let mut frames = Vec::new();
    for _ in 0..1000 {
        assert_eq!(right.rx_burst(now(), &mut frames), 0, "nothing to receive");
    }
    assert!(
        !right.rx_pressure(),
        "the warning goes when buffers came back, traffic or not"
    );
}

fn the_forwarder_sends_back(left: &mut PortNic, right: &mut PortNic) {
    for n in 0..50 {
        assert!(send(left, &frame(n)), "room");
    }
    left.flush(now());
    let stats = forward(right, Duration::from_millis(20), &|| false);
    assert_eq!(
        (stats.received, stats.sent, stats.dropped),
        (50, 50, 0),
        "all of them"
    );
    let back = receive(left);
    assert_eq!(back.len(), 50, "all of them");
    assert_eq!(back[0].data[..6], frame(0)[6..12], "to where it came from");
    assert_eq!(back[0].data[6..12], frame(0)[..6], "from where it was sent to");
}

fn a_dry_pool_gives_no_room(left: &mut PortNic, pool: &Mempool) {
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
