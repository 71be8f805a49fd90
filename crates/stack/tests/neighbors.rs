//! What neighbours say of themselves and of others (ARP, neighbour discovery), and
//! who is believed.

mod support;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crore_base::{DropReason, MacAddr, RxChecksum};
use crore_netbuf::Chunk;
use crore_nic::RxFrame;
use crore_nic::sim::End;
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, Link as EthernetLink, NEIGHBOR_FRAME_LEN, NeighborAdvertisement,
    NeighborSolicitation, Packet, emit_arp, emit_neighbor_advertisement, emit_neighbor_solicitation, parse,
};
use support::{MOMENT, World};

const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const STRANGER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const SERVER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const STRANGER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
const AFAR: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 9);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SERVER_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2);
const OTHER_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 7);

fn link(src: MacAddr) -> EthernetLink {
    EthernetLink { src, dst: SERVER_MAC }
}

fn arp(src: MacAddr, operation: ArpOperation, sender: [u8; 4], target: [u8; 4]) -> Chunk {
    let arp = Arp {
        operation,
        sender_mac: STRANGER_MAC,
        sender_ip: sender.into(),
        target_mac: MacAddr::default(),
        target_ip: target.into(),
    };
    let mut frame = vec![0; ARP_FRAME_LEN];
    emit_arp(&mut frame, &link(src), &arp).expect("there is room");
    Chunk::copy_from(&frame)
}

fn solicitation(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Chunk {
    let solicitation = NeighborSolicitation {
        target,
        source_mac: (!src.is_unspecified()).then_some(STRANGER_MAC),
    };
    let mut frame = vec![0; NEIGHBOR_FRAME_LEN];
    let len = emit_neighbor_solicitation(&mut frame, &link(STRANGER_MAC), src, dst, &solicitation);
    frame.truncate(len.expect("there is room"));
    Chunk::copy_from(&frame)
}

fn advertisement(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr) -> Chunk {
    let advertisement = NeighborAdvertisement {
        target,
        target_mac: Some(STRANGER_MAC),
        router: false,
        solicited: false,
        overriding: true,
    };
    let mut frame = vec![0; NEIGHBOR_FRAME_LEN];
    let len = emit_neighbor_advertisement(&mut frame, &link(STRANGER_MAC), src, dst, &advertisement);
    frame.truncate(len.expect("there is room"));
    Chunk::copy_from(&frame)
}

/// A host that is talked to frame by frame, and what it says.
struct Talk {
    world: World,
    said: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Talk {
    fn new(v6: bool) -> Self {
        let mut world = World::new(v6, |_| {});
        world.run(MOMENT);
        let said = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&said);
        world.link.set_tap(Some(Box::new(move |tapped| {
            if tapped.from == End::Right {
                tap.borrow_mut().push(tapped.frame.to_vec());
            }
        })));
        Self { world, said }
    }

    fn said(&self) -> Vec<Packet> {
        let packet = |frame: Vec<u8>| parse(&frame, RxChecksum::Unknown).expect("well-formed").packet;
        self.said.borrow_mut().drain(..).map(packet).collect()
    }

    fn hears(&mut self, frame: Chunk) -> Vec<Packet> {
        self.world.link.inject(End::Left, self.world.now, frame);
        self.world.run(MOMENT);
        self.said()
    }

    fn overhears(&mut self, data: Chunk) -> Vec<Packet> {
        let checksum = RxChecksum::Unknown;
        let now = self.world.now;
        let stack = &mut self.world.server.stack;
        stack.on_overheard(now, &mut vec![RxFrame { data, checksum }]);
        self.world.run(MOMENT);
        self.said()
    }

    /// Whether it sends to `addr` without asking who that is.
    fn knows(&mut self, addr: IpAddr) -> bool {
        let server = &mut self.world.server.stack;
        server
            .connect(self.world.now, None, (addr, 80).into())
            .expect("a slot and a port");
        self.world.run(MOMENT);
        matches!(self.said()[..], [Packet::Tcp { .. }, ..])
    }

    fn dropped(&self) -> Vec<(DropReason, u64)> {
        self.world.server.stack.counters().drops.nonzero().collect()
    }
}

const ASKER: [u8; 4] = [10, 0, 0, 9];
const HOST: [u8; 4] = [10, 0, 0, 2];

#[test]
fn who_asks_for_us_by_arp_is_answered_and_known() {
    let mut talk = Talk::new(false);
    let answer = talk.hears(arp(STRANGER_MAC, ArpOperation::Request, ASKER, HOST));
    let [Packet::Arp(arp)] = &answer[..] else {
        panic!("one answer, not {answer:?}");
    };
    assert_eq!((arp.sender_ip, arp.sender_mac), (HOST.into(), SERVER_MAC));
    assert!(talk.knows(Ipv4Addr::from(ASKER).into()), "as it will be answered");
}

#[test]
fn what_nobody_can_say_by_arp_is_dropped_and_counted() {
    let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
    for (what, frame, reason) in [
        (
            "it has our address",
            arp(STRANGER_MAC, ArpOperation::Reply, HOST, HOST),
            DropReason::BadSourceAddress,
        ),
        (
            "it is on another link",
            arp(STRANGER_MAC, ArpOperation::Request, [10, 0, 9, 9], HOST),
            DropReason::OffLinkNeighbor,
        ),
        (
            "it is a group of stations",
            arp(group, ArpOperation::Request, ASKER, HOST),
            DropReason::BadSourceAddress,
        ),
    ] {
        let mut talk = Talk::new(false);
        assert_eq!(talk.hears(frame), [], "{what}");
        assert_eq!(talk.dropped(), [(reason, 1)], "{what}");
    }
}

/// Protects the cache from a link on which many talk.
#[test]
fn who_talks_to_others_or_to_all_is_not_remembered() {
    for (target, dropped) in [
        ([10, 0, 0, 7], vec![(DropReason::NotOurAddress, 1)]),
        (ASKER, vec![]),
    ] {
        let mut talk = Talk::new(false);
        let said = talk.hears(arp(STRANGER_MAC, ArpOperation::Request, ASKER, target));
        assert_eq!((said, talk.dropped()), (vec![], dropped), "{target:?}");
        assert!(!talk.knows(Ipv4Addr::from(ASKER).into()), "{target:?}");
    }
}

//= rfc4861#section-7.2.4 (MUST)
#[test]
fn who_asks_for_us_by_neighbour_discovery_is_answered_and_known() {
    let mut talk = Talk::new(true);
    let answer = talk.hears(solicitation(STRANGER, SERVER_GROUP, SERVER));
    let [Packet::NeighborAdvertisement { ip, advertisement }] = &answer[..] else {
        panic!("one answer, not {answer:?}");
    };
    assert_eq!(ip.dst, IpAddr::from(STRANGER));
    assert!(advertisement.solicited && advertisement.target_mac == Some(SERVER_MAC));
    assert!(talk.knows(STRANGER.into()));
}

//= rfc4861#section-7.2.4 (MUST)
#[test]
fn who_checks_whether_our_address_is_free_is_told_by_word_to_all() {
    let mut talk = Talk::new(true);
    let answer = talk.hears(solicitation(Ipv6Addr::UNSPECIFIED, SERVER_GROUP, SERVER));
    let [Packet::NeighborAdvertisement { ip, advertisement }] = &answer[..] else {
        panic!("one answer, not {answer:?}");
    };
    assert_eq!(ip.dst, IpAddr::from(ALL_NODES));
    assert!(!advertisement.solicited && advertisement.target == SERVER);
}

#[test]
fn what_nobody_can_say_by_neighbour_discovery_is_dropped_and_counted() {
    use DropReason::{BadSourceAddress, NotOurAddress, OffLinkNeighbor};
    for (what, frame, reason) in [
        (
            "asks for another",
            solicitation(STRANGER, SERVER_GROUP, STRANGER),
            NotOurAddress,
        ),
        (
            "asks a group that is not ours",
            solicitation(STRANGER, OTHER_GROUP, SERVER),
            NotOurAddress,
        ),
        (
            "asks as if it were us",
            solicitation(SERVER, SERVER_GROUP, SERVER),
            BadSourceAddress,
        ),
        (
            "asks from another link",
            solicitation(AFAR, SERVER_GROUP, SERVER),
            OffLinkNeighbor,
        ),
        (
            "says that it has our address",
            advertisement(STRANGER, ALL_NODES, SERVER),
            BadSourceAddress,
        ),
        (
            "says where somebody on another link is",
            advertisement(STRANGER, ALL_NODES, AFAR),
            OffLinkNeighbor,
        ),
        (
            "says it to another",
            advertisement(STRANGER, OTHER_GROUP, STRANGER),
            NotOurAddress,
        ),
    ] {
        let mut talk = Talk::new(true);
        assert_eq!(talk.hears(frame), [], "{what}");
        assert_eq!(talk.dropped(), [(reason, 1)], "{what}");
    }
}

#[test]
fn what_another_shard_answers_is_learnt_from_and_not_answered_twice() {
    let mut talk = Talk::new(false);
    let question = arp(STRANGER_MAC, ArpOperation::Request, ASKER, HOST);
    assert_eq!(talk.overhears(question), []);
    assert!(talk.knows(Ipv4Addr::from(ASKER).into()));
    let mut talk = Talk::new(true);
    let check = solicitation(Ipv6Addr::UNSPECIFIED, SERVER_GROUP, SERVER);
    assert_eq!(talk.overhears(check), []);
    assert_eq!(talk.overhears(solicitation(STRANGER, SERVER_GROUP, SERVER)), []);
    assert!(talk.knows(STRANGER.into()));
    assert_eq!(talk.dropped(), []);
}
