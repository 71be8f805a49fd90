use super::*;
use crore_wire::Steering;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap as Map};
use std::sync::Arc;

fn share(shards: u16, shard: u16) -> Option<Share> {
    let steering = Arc::new(Steering::symmetric(shards, shards));
    (shards > 1).then_some(Share { steering, shard })
}

fn picker(first: u16, last: u16, share: Option<Share>) -> PortPicker {
    PortPicker::new([7; 16], first, last, share, 1 << 20)
}

fn tuple(local: IpAddr, port: u16, remote: SocketAddr) -> FourTuple {
    FourTuple {
        local_addr: local,
        local_port: port,
        remote_addr: remote.ip(),
        remote_port: remote.port(),
    }
}

/// Hands out all that can be had, against a set.
fn drain(picker: &mut PortPicker, local: IpAddr, remote: SocketAddr, used: &mut BTreeSet<u16>) -> u64 {
    let mut asked = 0;
    while let Some(port) = picker.pick(local, remote, |port| {
        asked += 1;
        if used.contains(&port) {
            Candidate::Taken
        } else {
            Candidate::Free
        }
    }) {
        assert!(used.insert(port), "{port} is new");
    }
    asked
}

#[test]
fn every_port_of_the_range_is_used_once_before_any_comes_again() {
    let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    for (first, last) in [(60_000, 60_000), (60_000, 60_099), (10_000, 65_535), (1, 65_535)] {
        let mut picker = picker(first, last, None);
        let mut used = BTreeSet::new();
        let asked = drain(&mut picker, local, remote, &mut used);
        let all = u64::from(last - first) + 1;
        assert_eq!(used.len() as u64, all, "{first} to {last}: all of them");
        assert!(asked <= 3 * all, "{first} to {last}: {asked} questions in all");
    }
}

#[test]
fn the_shards_divide_the_ports_among_them() {
    let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let steering = Steering::symmetric(3, 3);
    let mut all = BTreeSet::new();
    for shard in 0..3 {
        let mut used = BTreeSet::new();
        drain(
            &mut picker(10_000, 65_535, share(3, shard)),
            local,
            remote,
            &mut used,
        );
        for &port in &used {
            let flow = tuple(local, port, remote);
            assert_eq!(steering.shard_of(&flow), shard, "replies to {port} come home");
            assert!(all.insert(port), "{port} is one shard's only");
        }
    }
    assert_eq!(all.len(), 55_536, "no port is nobody's");
}

#[test]
fn a_full_destination_costs_a_few_steps_each_time() {
    let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let mut picker = picker(10_000, 65_535, share(2, 1));
    let mut used = BTreeSet::new();
    drain(&mut picker, local, remote, &mut used);
    let mut asked = 0;
    let mut last = None;
    for nth in 0..10_000usize {
        let gone = *used.iter().nth(nth * 7919 % used.len()).unwrap();
        used.remove(&gone);
        picker.release(&tuple(local, gone, remote));
        let port = picker.pick(local, remote, |port| {
            asked += 1;
            if used.contains(&port) {
                Candidate::Taken
            } else {
                Candidate::Free
            }
        });
        assert_eq!(port, Some(gone), "the only one that is free");
        used.insert(gone);
        last = picker.pick(local, remote, |_| unreachable!("nothing is left to ask about"));
    }
    assert_eq!(last, None, "all are taken");
    assert_eq!(asked, 10_000, "one question for each port");
}

#[test]
fn lanes_are_bounded_and_go_with_their_last_connection() {
    let remote = "10.0.0.2:80".parse().unwrap();
    let mut picker = PortPicker::new([7; 16], 10_000, 65_535, None, 65_536);
    let max = picker.lanes_max;
    let mut open = Vec::new();
    for host in 0..200u32 {
        let local = IpAddr::V4((0x0a01_0000 + host).into());
        let mut used = BTreeSet::new();
        for _ in 0..1000 {
            let port = picker
                .pick(local, remote, |port| {
                    if used.contains(&port) {
                        Candidate::Taken
                    } else {
                        Candidate::Free
                    }
                })
                .unwrap();
            used.insert(port);
            open.push(tuple(local, port, remote));
        }
        assert!(picker.lanes() <= max, "{} of {max} lanes", picker.lanes());
    }
    assert!(picker.lanes() > 0, "what is opened often has a lane");
    for tuple in open {
        picker.release(&tuple);
    }
    assert_eq!(picker.lanes(), 0, "nothing is open, nothing is kept");
}

#[test]
fn a_listeners_port_is_passed_over_and_used_when_it_is_free() {
    let (local, remote) = ("10.0.0.1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    let mut picker = picker(20_000, 20_399, None);
    let mut used = BTreeSet::new();
    let mut listening = true;
    for round in [399, 1] {
        for _ in 0..round {
            let port = picker.pick(local, remote, |port| match port {
                20_007 if listening => Candidate::Listened,
                port if used.contains(&port) => Candidate::Taken,
                _ => Candidate::Free,
            });
            assert!(used.insert(port.expect("one is free")), "{port:?} is new");
        }
        let none = picker.pick(local, remote, |port| match port {
            20_007 if listening => Candidate::Listened,
            _ => Candidate::Taken,
        });
        assert_eq!(none, None, "no other is left");
        listening = false;
    }
    assert!(used.contains(&20_007), "nobody listens there any more");
}

proptest! {
    /// Protects against handing out what is taken or another shard's, and against
    /// saying that all are taken when one is free, whatever is opened and closed.
    #[test]
    fn the_picker_agrees_with_a_set(
        ops in proptest::collection::vec((0u8..4, any::<u16>(), any::<bool>()), 1..2500),
        count in 1u16..700, shards in 1u16..4,
    ) {
        let first = 20_000;
        let share = share(shards, 0);
        let mut picker = PortPicker::new([9; 16], first, first + count - 1, share.clone(), 1024);
        let remote: SocketAddr = "10.9.0.2:80".parse().unwrap();
        let mut used: Map<IpAddr, BTreeSet<u16>> = Map::new();
        for (host, choice, open) in ops {
            let local: IpAddr = format!("10.9.1.{host}").parse().unwrap();
            let set = used.entry(local).or_default();
            if open {
                let ask = |port| if set.contains(&port) { Candidate::Taken } else { Candidate::Free };
                let ours = |port: &u16| share.as_ref().is_none_or(|s| s.owns(&tuple(local, *port, remote)));
                let free = (first..first + count).filter(ours).any(|port| !set.contains(&port));
                match picker.pick(local, remote, ask) {
                    Some(port) => {
                        prop_assert!(ours(&port) && (first..first + count).contains(&port), "{} can be used", port);
                        prop_assert!(set.insert(port), "{} is free", port);
                    }
                    None => prop_assert!(!free, "there is none only if there is none"),
                }
            } else if !set.is_empty() {
                let port = *set.iter().nth(usize::from(choice) % set.len()).unwrap();
                set.remove(&port);
                picker.release(&tuple(local, port, remote));
            }
        }
    }
}
