use super::*;
use crate::{Arp, ArpOperation, IpEmit, Link, Segment, TxChecksum, emit_arp, emit_tcp};
use core::net::Ipv4Addr;
use crore_base::{MacAddr, SeqNum};
use proptest::prelude::*;

fn link() -> Link {
    Link {
        src: MacAddr([2, 0, 0, 0, 0, 1]),
        dst: MacAddr([2, 0, 0, 0, 0, 2]),
    }
}

/// A SYN of `flow`'s peer, as received.
fn syn(flow: &FourTuple) -> Vec<u8> {
    let ip = IpEmit {
        src: flow.remote_addr,
        dst: flow.local_addr,
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let segment = Segment {
        src_port: flow.remote_port,
        dst_port: flow.local_port,
        seq: SeqNum(1),
        ..Segment::default()
    };
    let mut frame = vec![0; 128];
    let len = emit_tcp(&mut frame, &link(), &ip, &segment, 0, TxChecksum::Software);
    frame.truncate(len);
    frame
}

fn flow(v6: bool, host: u8, port: u16) -> FourTuple {
    let addr = |last: u8| {
        if v6 {
            format!("fd00::{last:x}").parse().unwrap()
        } else {
            format!("10.0.0.{last}").parse().unwrap()
        }
    };
    FourTuple {
        local_addr: addr(1),
        local_port: port,
        remote_addr: addr(host),
        remote_port: 80,
    }
}

proptest! {
    /// Protects the agreement of the three ways to ask: by flow, by a received
    /// frame, and by the same flow's frame as its other end sends it.
    #[test]
    fn a_flow_and_its_frames_have_the_same_shard(
        v6 in any::<bool>(), host in 2u8..250, port in 1u16.., queues in 1u16..9, shards in 1u16..5,
    ) {
        let shards = shards.min(queues);
        let steering = Steering::symmetric(queues, shards);
        let flow = flow(v6, host, port);
        let shard = steering.shard_of(&flow);
        prop_assert!(shard < shards, "one of the shards");
        prop_assert_eq!(steering.whose(&syn(&flow)), Whose::Shard(shard), "received");
        let theirs = FourTuple {
            local_addr: flow.remote_addr,
            local_port: flow.remote_port,
            remote_addr: flow.local_addr,
            remote_port: flow.local_port,
        };
        let queue = steering.queue_of_sent(&syn(&theirs)).unwrap();
        prop_assert_eq!(queue % shards, shard, "the queue that the other end sends on");
        prop_assert_eq!(steering.shard_of(&theirs), shard, "seen from the other end");
    }

    /// Protects against whatever comes.
    #[test]
    fn any_bytes_belong_to_somebody(mut frame in proptest::collection::vec(any::<u8>(), 0..120), kind in 0usize..4) {
        let kinds: [[u8; 2]; 4] = [[8, 0], [0x86, 0xdd], [8, 6], [1, 1]];
        if frame.len() >= 14 {
            frame[12..14].copy_from_slice(&kinds[kind]);
        }
        if let Whose::Shard(shard) = Steering::symmetric(4, 3).whose(&frame) {
            prop_assert!(shard < 3, "one of the shards");
        }
    }
}

#[test]
fn flows_are_spread_evenly() {
    let steering = Steering::symmetric(4, 4);
    let mut counts = [0; 4];
    for port in 10_000..60_000 {
        counts[usize::from(steering.shard_of(&flow(false, 9, port)))] += 1;
    }
    for count in counts {
        assert!((12_000..13_000).contains(&count), "{counts:?}");
    }
}

#[test]
fn news_about_neighbours_is_for_everybody_and_junk_for_its_finder() {
    let steering = Steering::symmetric(2, 2);
    let mut frame = vec![0; 64];
    let arp = Arp {
        operation: ArpOperation::Reply,
        sender_mac: link().src,
        sender_ip: Ipv4Addr::new(10, 0, 0, 9),
        target_mac: link().dst,
        target_ip: Ipv4Addr::new(10, 0, 0, 1),
    };
    let len = emit_arp(&mut frame, &link(), &arp).unwrap();
    frame.truncate(len);
    assert_eq!(steering.whose(&frame), Whose::Everybody, "an ARP reply");
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(steering.whose(&frame), Whose::Finder, "an unknown EtherType");
    let mut fragment = syn(&flow(false, 9, 7));
    fragment[14 + 6] |= 0x20;
    assert_eq!(steering.whose(&fragment), Whose::Finder, "a fragment");
}

#[test]
fn a_table_of_the_nics_decides_where_there_is_one() {
    let key = Toeplitz::symmetric_key(40);
    let swapped = Steering::of_nic(&key, &[1, 0], 2).unwrap();
    let plain = Steering::symmetric(2, 2);
    for port in 1..200 {
        let flow = flow(false, 9, port);
        assert_eq!(swapped.shard_of(&flow), 1 - plain.shard_of(&flow), "port {port}");
    }
    assert!(Steering::of_nic(&key, &[0, 1, 0], 2).is_none(), "no power of two");
    assert!(Steering::of_nic(&key[..20], &[0, 1], 2).is_none(), "a short key");
}
