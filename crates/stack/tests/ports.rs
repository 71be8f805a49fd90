//! Local ports of active opens: what becomes of them when all are taken.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use crore_base::{Duration, FourTuple};
use crore_nic::sim::{LinkConfig, link};
use crore_stack::{ConnectError, Share, StackConfig};
use crore_wire::Steering;
use support::{Host, MOMENT, World};

/// A world whose client has a single port.
fn world(tune: impl FnOnce(&mut StackConfig)) -> World {
    let mut world = World::new(false, |_| {});
    world
        .server
        .stack
        .listen("0.0.0.0:80".parse().unwrap(), 16)
        .unwrap();
    let (nic, server) = link(LinkConfig::default());
    world.link = nic.link();
    world.client = Host::new(nic, &["10.0.0.1"], 1, |config| {
        (config.ephemeral_first, config.ephemeral_last) = (40_000, 40_000);
        tune(config);
    });
    world.server.nic = server;
    world
}

/// Opens, and closes from here, so that the wait is at this end.
fn open_and_close(world: &mut World) {
    let conn = world.connect("10.0.0.2:80");
    world.run(MOMENT);
    let accepted = *world.server.opened().last().expect("it came");
    world.client.stack.close(world.now, conn);
    world.run(MOMENT);
    world.server.stack.close(world.now, accepted);
    world.run(MOMENT);
}

#[test]
fn a_port_in_time_wait_serves_again_once_it_has_waited_a_while() {
    let mut world = world(|_| {});
    let remote = "10.0.0.2:80".parse().unwrap();
    open_and_close(&mut world);
    assert_eq!(world.client.stack.connections(), 1, "it waits in TIME-WAIT");
    let at_once = world.client.stack.connect(world.now, None, remote);
    assert_eq!(
        at_once,
        Err(ConnectError::PortsExhausted),
        "old segments may be under way"
    );
    world.run(Duration::from_millis(1200));
    open_and_close(&mut world);
    assert_eq!(world.client.opened().len(), 2, "the same port, a new connection");
    assert_eq!(
        world.client.stack.counters().time_wait_recycled,
        1,
        "and it is counted"
    );
    let drops: Vec<_> = world.server.stack.counters().drops.nonzero().collect();
    assert!(drops.is_empty(), "the server takes it for new: {drops:?}");
}

#[test]
fn without_timestamps_a_port_in_time_wait_is_left_alone() {
    let mut world = world(|config| config.tcp.timestamps = false);
    open_and_close(&mut world);
    world.run(Duration::from_secs(5));
    let again = world
        .client
        .stack
        .connect(world.now, None, "10.0.0.2:80".parse().unwrap());
    assert_eq!(
        again,
        Err(ConnectError::PortsExhausted),
        "nothing would tell old from new"
    );
}

#[test]
fn a_port_that_is_listened_on_or_in_use_is_picked_by_nobody() {
    let mut world = world(|config| (config.ephemeral_first, config.ephemeral_last) = (40_000, 40_002));
    let client = &mut world.client.stack;
    let listener = client.listen("10.0.0.1:40001".parse().unwrap(), 4).unwrap();
    let remote = "10.0.0.2:80".parse().unwrap();
    let mut port = || {
        let conn = client.connect(world.now, None, remote)?;
        let tuple = client.four_tuple(conn).expect("it is there");
        Ok(tuple.local_port)
    };
    let mut ports = [port().unwrap(), port().unwrap()];
    ports.sort_unstable();
    assert_eq!(ports, [40_000, 40_002]);
    assert_eq!(port(), Err(ConnectError::PortsExhausted));
    assert!(client.unlisten(listener) && !client.unlisten(listener), "once");
}

#[test]
fn an_open_takes_the_record_of_a_connection_that_only_waits() {
    let mut world = world(|config| {
        config.max_connections = 1;
        (config.ephemeral_first, config.ephemeral_last) = (40_000, 40_100);
    });
    open_and_close(&mut world);
    assert_eq!(world.client.stack.unfinished(), 0, "nothing is to be settled");
    assert_eq!(world.client.stack.connections(), 1, "it waits in TIME-WAIT");
    world.connect("10.0.0.2:80");
    assert_eq!(world.client.stack.unfinished(), 1);
    let full = world
        .client
        .stack
        .connect(world.now, None, "10.0.0.2:80".parse().unwrap());
    assert_eq!(full, Err(ConnectError::Exhausted), "not that of one that lives");
    world.run(MOMENT);
    assert_eq!(world.client.opened().len(), 2);
    assert_eq!(world.client.stack.counters().time_wait_recycled, 1, "counted");
}

#[test]
fn a_port_whose_replies_come_to_another_shard_is_refused() {
    let steering = Arc::new(Steering::symmetric(2, 2));
    let share = Share {
        steering: Arc::clone(&steering),
        shard: 0,
    };
    let mut world = world(|config| config.share = Some(share));
    let remote: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let client = &mut world.client.stack;
    let mut ours = 0;
    for port in 5_000..5_032 {
        let local = SocketAddr::new("10.0.0.1".parse().unwrap(), port);
        let tuple = FourTuple {
            local_addr: local.ip(),
            local_port: port,
            remote_addr: remote.ip(),
            remote_port: remote.port(),
        };
        let opened = client.connect_from(world.now, local, remote);
        if steering.shard_of(&tuple) == 0 {
            assert!(opened.is_ok(), "{port}: {opened:?}");
            ours += 1;
        } else {
            assert_eq!(opened, Err(ConnectError::OtherShard), "{port}");
        }
    }
    assert!((4..28).contains(&ours), "{ours} of 32");
}
