//! Whom a stack talks to, and what its packets say of themselves.

mod support;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use crore_base::{DropReason, MacAddr};
use crore_netbuf::Chunk;
use crore_nic::sim::End;
use crore_stack::{ConnectError, ListenError, Stack};
use crore_wire::{IpEmit, Link as EthernetLink, TxChecksum, emit_tcp, tcp_headers_len};
use support::{MOMENT, Stranger, World, syn};

/// A SYN from `src` to `dst`, on a frame addressed to the server or to a group.
fn stray_syn(src: &str, dst: &str, dst_mac: [u8; 6]) -> Chunk {
    let link = EthernetLink {
        src: MacAddr([2, 0, 0, 0, 0, 9]),
        dst: MacAddr(dst_mac),
    };
    let ip = IpEmit {
        src: src.parse::<IpAddr>().unwrap(),
        dst: dst.parse::<IpAddr>().unwrap(),
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let segment = syn(4000, 1);
    let mut frame = vec![0; tcp_headers_len(&ip, &segment)];
    emit_tcp(&mut frame, &link, &ip, &segment, 0, TxChecksum::Software);
    Chunk::copy_from(&frame)
}

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST_MAC: [u8; 6] = [0xff; 6];

#[test]
fn a_syn_from_or_to_a_group_is_dropped_in_silence() {
    for (src, dst, mac) in [
        ("10.0.0.9", "224.0.0.1", SERVER_MAC),
        ("10.0.0.9", "255.255.255.255", SERVER_MAC),
        ("10.0.0.9", "10.0.0.2", BROADCAST_MAC),
        ("10.0.0.9", "10.0.0.2", [1, 0, 0x5e, 0, 0, 1]),
        ("224.0.0.1", "10.0.0.2", SERVER_MAC),
        ("255.255.255.255", "10.0.0.2", SERVER_MAC),
        ("0.0.0.0", "10.0.0.2", SERVER_MAC),
        ("127.0.0.1", "10.0.0.2", SERVER_MAC),
        ("10.0.0.2", "10.0.0.2", SERVER_MAC),
    ] {
        let mut world = World::new(false, |_| {});
        world
            .server
            .stack
            .listen("0.0.0.0:80".parse().unwrap(), 16)
            .unwrap();
        world.run(MOMENT);
        let stranger = Stranger::new(&world);
        world.link.inject(End::Left, world.now, stray_syn(src, dst, mac));
        world.run(MOMENT);
        assert_eq!(
            stranger.seen(),
            [],
            "nothing is said to {src} -> {dst} on {mac:x?}"
        );
        let drops = &world.server.stack.counters().drops;
        let dropped = drops.get(DropReason::NotOurAddress) + drops.get(DropReason::BadSourceAddress);
        assert_eq!(dropped, 1, "{src} -> {dst} on {mac:x?} is counted");
    }
}

#[test]
fn nobody_connects_to_a_group() {
    let mut world = World::new(false, |c| c.addresses.push(("fd00::2".parse().unwrap(), 64)));
    for remote in [
        "224.0.0.1:80",
        "255.255.255.255:80",
        "0.0.0.0:80",
        "10.0.0.9:0",
        "[ff02::1]:80",
        "[::]:80",
    ] {
        let refused = world
            .server
            .stack
            .connect(world.now, None, remote.parse().unwrap());
        assert_eq!(refused, Err(ConnectError::BadDestination), "{remote}");
    }
}

#[test]
fn frames_carry_the_configured_hop_limit() {
    for (v6, any, server, place) in [
        (false, "0.0.0.0:80", "10.0.0.2:80", 14 + 8),
        (true, "[::]:80", "[fd00::2]:80", 14 + 7),
    ] {
        let mut world = World::new(v6, |c| c.hop_limit = 7);
        world.server.stack.listen(any.parse().unwrap(), 16).unwrap();
        let limits = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&limits);
        world.link.set_tap(Some(Box::new(move |tapped| {
            let ethertype = u16::from_be_bytes([tapped.frame[12], tapped.frame[13]]);
            let protocol = tapped.frame[if ethertype == 0x0800 { 23 } else { 20 }];
            if tapped.from == End::Right && ethertype != 0x0806 && protocol == 6 {
                tap.borrow_mut().push(tapped.frame[place]);
            }
        })));
        let conn = world.connect(server);
        world.run(MOMENT);
        world.client.stack.close(world.now, conn);
        world.run(MOMENT);
        let limits = limits.borrow();
        assert!(
            limits.len() >= 2 && limits.iter().all(|&limit| limit == 7),
            "SYN-ACK and the ACK of the FIN, as configured: {limits:?}"
        );
    }
}

#[test]
fn a_syn_to_which_no_answer_finds_a_way_is_dropped() {
    let mut world = World::new(false, |_| {});
    let any = "0.0.0.0:80".parse().unwrap();
    world.server.stack.listen(any, 16).unwrap();
    world.run(MOMENT);
    let stranger = Stranger::new(&world);
    let far = stray_syn("192.0.2.9", "10.0.0.2", SERVER_MAC);
    world.link.inject(End::Left, world.now, far);
    world.run(MOMENT);
    assert_eq!(stranger.seen(), [], "there is no gateway");
    let drops: Vec<_> = world.server.stack.counters().drops.nonzero().collect();
    assert_eq!(drops, [(DropReason::NoRoute, 1)]);
    let remote = "192.0.2.9:80".parse().unwrap();
    let opened = world.server.stack.connect(world.now, None, remote);
    assert_eq!(opened, Err(ConnectError::NoRoute), "nor out");
}

#[test]
fn nobody_listens_on_or_opens_from_an_address_that_is_not_ours() {
    let mut world = World::new(false, |_| {});
    let server = &mut world.server.stack;
    let listen = |stack: &mut Stack, addr: &str| stack.listen(addr.parse().unwrap(), 4).map(|_| ());
    assert_eq!(listen(server, "10.0.0.1:80"), Err(ListenError::NotOurAddress));
    assert_eq!(listen(server, "[::]:0"), Err(ListenError::NoPort));
    assert_eq!(listen(server, "10.0.0.2:80"), Ok(()));
    assert_eq!(listen(server, "10.0.0.2:80"), Err(ListenError::InUse));
    for (local, remote) in [
        (None, "[fd00::9]:80"),
        (Some("10.0.0.7"), "10.0.0.9:80"),
        (Some("::1"), "10.0.0.9:80"),
    ] {
        let local = local.map(|addr| addr.parse().unwrap());
        let refused = server.connect(world.now, local, remote.parse().unwrap());
        assert_eq!(
            refused,
            Err(ConnectError::NoLocalAddress),
            "{local:?} to {remote}"
        );
    }
}
