//! Explicit congestion notification through all the ways in which a connection
//! comes about here: the record of a handshake, a cookie, the pool, and parking.

mod support;

use crore_base::{DropReason, Duration};
use crore_stack::{CookiePolicy, FastOpenPolicy, StackConfig};
use crore_tcp::{EcnMode, EcnPolicy};
use crore_wire::{FastOpenCookie, Flags, Segment};
use support::{MOMENT, Stranger, World, syn};

const ANY: &str = "0.0.0.0:80";
const SERVER: &str = "10.0.0.2:80";

/// The flags that make the number `ace`.
fn ace(ace: u16) -> Flags {
    Flags::from_bits(ace << 6)
}

fn world(client: EcnPolicy, tune: impl FnOnce(&mut StackConfig)) -> World {
    let mut world = World::of(false, |c| c.tcp.ecn = client, tune);
    world.server.stack.listen(ANY.parse().unwrap(), 16).unwrap();
    world
}

#[test]
fn every_way_in_agrees_on_the_same_and_parking_does_not_forget_it() {
    use EcnPolicy::{Accurate, AccuratePassive, On, Passive};
    for (client, server, cookies, mode) in [
        (On, Passive, CookiePolicy::Never, EcnMode::Classic),
        (On, Passive, CookiePolicy::Always, EcnMode::Off),
        (Accurate, Passive, CookiePolicy::Never, EcnMode::Classic),
        (Accurate, AccuratePassive, CookiePolicy::Never, EcnMode::Accurate),
        (Accurate, AccuratePassive, CookiePolicy::Always, EcnMode::Accurate),
    ] {
        for park_after in [None, Some(Duration::ZERO)] {
            let mut world = world(client, |c| {
                c.tcp.ecn = server;
                c.syn_cookies = cookies;
                c.park_after = park_after;
            });
            let conn = world.connect(SERVER);
            world.run(MOMENT);
            let accepted = world.server.opened()[0];
            for _ in 0..3 {
                world.client.stack.write(conn, b"hello").unwrap();
                world.run(MOMENT);
                assert_eq!(world.server.read_all(accepted), b"hello");
                world.server.stack.write(accepted, b"and back").unwrap();
                world.run(MOMENT);
                assert_eq!(world.client.read_all(conn), b"and back");
            }
            let agreed = u64::from(mode != EcnMode::Off);
            for host in [&world.client, &world.server] {
                assert_eq!(
                    host.stack.counters().ecn_agreed,
                    agreed,
                    "{client:?} {server:?} {cookies:?}"
                );
            }
            assert_eq!(world.client.stack.stats(conn).unwrap().ecn, mode);
            // Woken by data that is not read yet.
            world.client.stack.write(conn, b"?").unwrap();
            world.run(MOMENT);
            let woken = world.server.stack.counters().woken;
            assert_eq!(woken > 0, park_after.is_some(), "it was parked: {woken}");
            assert_eq!(
                world.server.stack.stats(accepted).unwrap().ecn,
                mode,
                "{client:?} {server:?}"
            );
        }
    }
}

#[test]
fn a_syn_of_another_kind_of_ecn_resets_the_handshake() {
    let mut world = world(EcnPolicy::Off, |c| c.tcp.ecn = EcnPolicy::AccuratePassive);
    let stranger = Stranger::new(&world);
    let mut send = |flags: Flags| {
        let segment = Segment {
            flags: Flags::SYN | flags,
            ..syn(4000, 1000)
        };
        stranger.send(world.now, 7, &segment, b"");
        world.run(Duration::from_millis(1));
        let seen = stranger.seen().last().map(|s| s.flags);
        (seen, world.server.stack.connections())
    };
    let agrees = Some(Flags::SYN | Flags::ACK | ace(0b010));
    assert_eq!(send(ace(0b111)), (agrees, 1));
    assert_eq!(
        send(Flags::NONE),
        (agrees, 1),
        "one without is answered as before"
    );
    assert_eq!(
        send(ace(0b011)),
        (Some(Flags::RST | Flags::ACK), 0),
        "one of RFC 3168's is not"
    );
    assert_eq!(world.server.stack.counters().drops.get(DropReason::BadFlags), 1);
}

/// Protects the SYN-ACK's header from an option too many, and a client on a path that
/// takes none from waiting for ever.
#[test]
fn the_option_of_accurate_ecn_is_on_the_first_syn_ack_where_there_is_room() {
    for (cookies, asks, first) in [
        (CookiePolicy::Never, false, Some(3)),
        (CookiePolicy::Never, true, Some(2)),
        (CookiePolicy::Always, false, None),
    ] {
        let mut world = world(EcnPolicy::Off, |c| {
            c.tcp.ecn = EcnPolicy::AccuratePassive;
            c.syn_cookies = cookies;
            c.fast_open = FastOpenPolicy::Server;
        });
        let stranger = Stranger::new(&world);
        for fields in [first, None] {
            let mut segment = Segment {
                flags: Flags::SYN | ace(0b111),
                ..syn(4000, 1000)
            };
            segment.options.fast_open = asks.then(FastOpenCookie::default);
            stranger.send(world.now, 7, &segment, b"");
            world.run(Duration::from_millis(1));
            let seen = *stranger.seen().last().expect("it is answered");
            assert_eq!(seen.flags, Flags::SYN | Flags::ACK | ace(0b010));
            let given = seen.options.fast_open.is_some();
            assert_eq!(given, asks, "{cookies:?}");
            let option = seen.options.accurate_ecn;
            assert_eq!(
                option.map(|option| option.len()),
                fields,
                "{cookies:?}, asks {asks}"
            );
        }
    }
}

#[test]
fn a_syn_again_without_ecn_ends_rfc_3168s() {
    let mut world = world(EcnPolicy::Off, |_| {});
    let stranger = Stranger::new(&world);
    for (flags, answer) in [(ace(0b011), Flags::ECE), (Flags::NONE, Flags::NONE)] {
        let segment = Segment {
            flags: Flags::SYN | flags,
            ..syn(4000, 1000)
        };
        stranger.send(world.now, 7, &segment, b"");
        world.run(Duration::from_millis(1));
        let seen = stranger.seen().last().map(|s| s.flags);
        assert_eq!(seen, Some(Flags::SYN | Flags::ACK | answer));
    }
}
