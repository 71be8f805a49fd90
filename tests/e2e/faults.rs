//! A wire that loses, doubles, disorders and corrupts, between the stack and a real kernel.

use crate::support::{STACK_V4, STACK_V6, Wire, or_skip, run};

/// How much goes each way; enough that every kind of fault meets every kind of segment.
const MIB: u64 = 64;

// One frame in twenty suffers each fault, in both directions. The shortest
// retransmission time-outs are cut at both ends: at 200 ms the test would mostly wait.
const BAD_WIRE: &str = "
[tcp]
rto_min_ms = 10
[faults]
loss = 0.05
duplicate = 0.05
reorder = 0.05
corrupt = 0.05
seed = 7
";

fn an_echo_survives(address: &str) {
    let world = or_skip!(Wire::AfPacket.world());
    for route in [
        "10.77.0.0/24 proto kernel src 10.77.0.1",
        "fd77::/64 proto kernel metric 256",
    ] {
        let (prefix, rest) = route.split_once(' ').expect("a route has more than its prefix");
        world
            .peer
            .ip(&format!("route replace {prefix} dev peer0 {rest} rto_min 10ms"));
    }
    let program = world.serve("echo", BAD_WIRE);
    run(&mut world.peer(&format!("mirror {address} 7 --mib {MIB} --timeout 200")));
    let summary = program.stop();
    assert!(
        summary.number("/retransmits") > 0,
        "such a wire makes both ends retransmit"
    );
    assert!(
        summary.drops("bad_tcp_checksum") > 0,
        "corruption is caught by the checksum"
    );
}

#[test]
fn an_echo_over_a_bad_wire_arrives_intact_over_ipv4() {
    an_echo_survives(STACK_V4);
}

#[test]
fn an_echo_over_a_bad_wire_arrives_intact_over_ipv6() {
    an_echo_survives(STACK_V6);
}
