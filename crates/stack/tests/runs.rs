//! Segments that are taken in, or planned, together: nobody outside can tell.

mod support;

use crore_base::{Duration, Instant};
use crore_nic::sim::{LinkConfig, WhenFull, link};
use crore_stack::{Counters, Event, StackConfig};
use crore_tcp::EcnPolicy;
use support::{Host, World};

const STEP: Duration = Duration::from_millis(1);

/// What lies between the two hosts.
#[derive(Clone, Copy)]
struct Nics {
    queue_frames: usize,
    offload: bool,
    tso: bool,
    v6: bool,
}

/// NICs that do nothing for anybody.
const fn plain(queue_frames: usize) -> Nics {
    Nics {
        queue_frames,
        offload: false,
        tso: false,
        v6: false,
    }
}

/// What a transfer of a megabyte each way over a link that loses what it has no
/// room for looked like: a hash of all frames and their times, and what both ends
/// have counted.
fn transfer(nics: Nics, tune: &dyn Fn(&mut StackConfig)) -> (u64, Counters, Counters) {
    let (a, b) = link(LinkConfig {
        queue_frames: nics.queue_frames,
        when_full: WhenFull::Drop,
        delay: Duration::from_micros(1_500),
        checksum_offloads: nics.offload,
        tso: nics.tso,
        ..LinkConfig::default()
    });
    let wire = a.link();
    let mut world = World {
        client: Host::new(a, &["10.0.0.1", "fd00::1"], 1, |config| tune(config)),
        server: Host::new(b, &["10.0.0.2", "fd00::2"], 2, |config| tune(config)),
        link: wire,
        now: Instant::from_millis(1),
    };
    let (any, server) = if nics.v6 {
        ("[::]:80", "[fd00::2]:80")
    } else {
        ("0.0.0.0:80", "10.0.0.2:80")
    };
    world.server.stack.listen(any.parse().unwrap(), 16).unwrap();
    let ours = world.connect(server);
    world.run(STEP.saturating_mul(20));
    let theirs = world.server.opened()[0];
    let text: Vec<u8> = (0..1_000_000u32).map(|n| (n / 7 % 251) as u8).collect();
    let (mut sent, mut came) = ([0, 0], [Vec::new(), Vec::new()]);
    for _ in 0..20_000 {
        for (side, host, conn) in [(0, &mut world.client, ours), (1, &mut world.server, theirs)] {
            host.events
                .retain(|event| !matches!(event, Event::Readable { .. }));
            let rest = &text[sent[side]..];
            sent[side] += host.stack.write(conn, &rest[..rest.len().min(70_001)]).unwrap();
            came[side].extend(host.read_all(conn));
        }
        if came.iter().all(|bytes| bytes.len() == text.len()) {
            break;
        }
        world.run(STEP);
    }
    assert!(
        came[0] == text && came[1] == text,
        "every byte came, at its place"
    );
    world.client.stack.close(world.now, ours);
    world.server.stack.close(world.now, theirs);
    world.run(STEP.saturating_mul(1_000));
    let counters = |host: &Host| host.stack.counters().clone();
    (
        world.link.trace_hash(),
        counters(&world.client),
        counters(&world.server),
    )
}

/// With both, with either, and with neither; what is sent has to be the same.
fn compare(queue_frames: usize, tune: impl Fn(&mut StackConfig)) -> (Counters, Counters) {
    let run = |gro: bool, gso: bool| {
        transfer(plain(queue_frames), &|config| {
            tune(config);
            (config.gro, config.gso) = (gro, gso);
        })
    };
    let (plain, client, server) = run(false, false);
    for counters in [client, server] {
        assert_eq!((counters.merged, counters.cut), (0, 0), "off is off");
    }
    assert_eq!(run(true, false).0, plain, "merging changes nothing that is sent");
    assert_eq!(run(false, true).0, plain, "nor does planning together");
    let (both, client, server) = run(true, true);
    assert_eq!(both, plain, "nor both");
    (client, server)
}

//= rfc9293#section-3.8.6.3 (SHOULD)
#[test]
fn runs_change_nothing_that_is_sent() {
    for counters in <[_; 2]>::from(compare(4_096, |_| {})) {
        assert!(counters.merged > 300, "most of 700 segments: {}", counters.merged);
        assert!(counters.cut > 300, "likewise: {}", counters.cut);
        assert_eq!(counters.retransmits, 0, "nothing was lost");
    }
}

#[test]
fn runs_change_nothing_where_segments_are_lost() {
    let (client, server) = compare(24, |_| {});
    assert!(
        client.retransmits > 10 && server.retransmits > 10,
        "much was lost"
    );
    assert!(
        client.merged > 50 && client.cut > 50,
        "and some went together all the same"
    );
}

#[test]
fn runs_change_nothing_whatever_the_options() {
    let with = |tune: fn(&mut StackConfig)| {
        let (client, _) = compare(64, tune);
        (client.merged, client.cut)
    };
    assert!(with(|c| c.tcp.sack = false).0 > 50);
    assert!(with(|c| c.tcp.timestamps = false).0 > 50);
    assert!(with(|c| c.tcp.delayed_ack = Duration::from_millis(40)).0 > 50);
    assert!(with(|c| c.tcp.ecn = EcnPolicy::On).1 > 50);
    assert!(with(|c| c.tcp.ecn = EcnPolicy::AccuratePassive).0 > 50);
    with(|c| c.tcp.ecn = EcnPolicy::Accurate);
    with(|c| c.park_after = Some(Duration::ZERO));
    with(|c| c.receive_budget = 300_000);
    with(|c| c.tcp.receive_buffer = 5_000);
    with(|c| c.tcp.send_buffer = 5_000);
    assert_eq!(
        with(|c| c.tcp.pacing = true).1,
        0,
        "a pace is kept segment by segment"
    );
}

#[test]
fn a_nic_that_cuts_segments_sends_just_those_that_the_stack_would() {
    for (queue_frames, v6) in [(4_096, false), (4_096, true), (24, false), (24, true)] {
        let run = |tso: bool, tune: &dyn Fn(&mut StackConfig)| {
            let nics = Nics {
                queue_frames,
                offload: true,
                tso,
                v6,
            };
            transfer(nics, tune)
        };
        let (alone, client, server) = run(false, &|config| (config.gro, config.gso) = (false, false));
        assert_eq!((client.cut_by_nic, server.cut_by_nic), (0, 0), "it can't");
        for gso in [false, true] {
            let (cut, client, server) = run(true, &|config| config.gso = gso);
            assert_eq!(cut, alone, "the same frames at the same times");
            for counters in [client, server] {
                assert!(counters.cut_by_nic > 100, "many: {}", counters.cut_by_nic);
                assert!(counters.cut_by_nic < counters.segments_out, "but not all");
            }
        }
    }
}
