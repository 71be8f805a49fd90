//! What lies between the stack and a kernel: routers with narrow links behind them, marks, links
//! that bear large frames.

use crate::support::{Download, GATEWAYS, STACK_V4, STACK_V6, Wire, World, or_skip, run};

/// What goes over a path that has to be found out; some thousand segments.
const MIB: u64 = 64;
/// Less than the stack's link bears, more than IPv6 demands of every link.
const NARROW: u16 = 1300;

fn a_narrow_link_is_learnt(address: &str) {
    let world = or_skip!(World::routed(NARROW));
    let download = or_skip!(Download::new(&world, MIB));
    let keys = format!("{GATEWAYS}{}", download.serve_keys());
    let program = world.serve("http", &keys);
    download.fetch(&world, address);
    let summary = program.stop();
    assert_eq!(
        summary.number("/path_mtu_learnt"),
        1,
        "the router was believed, and had to say it once"
    );
    assert!(
        summary.number("/segments_out") > MIB * (1 << 20) / u64::from(NARROW),
        "segments are no larger than the narrow link bears"
    );
}

#[test]
fn a_download_through_a_narrow_router_finds_the_path_mtu_over_ipv4() {
    a_narrow_link_is_learnt(STACK_V4);
}

#[test]
fn a_download_through_a_narrow_router_finds_the_path_mtu_over_ipv6() {
    a_narrow_link_is_learnt(STACK_V6);
}

#[test]
fn a_kernel_that_offers_ecn_gets_it_and_one_that_does_not_is_left_alone() {
    let world = or_skip!(Wire::AfPacket.world());
    let download = or_skip!(Download::new(&world, 1));
    let keys = format!("{}[tcp]\necn = \"on\"\n", download.serve_keys());
    let program = world.serve("http", &keys);
    for offered in [0, 1] {
        run(world
            .peer
            .command("sysctl")
            .args(["-q", "-w", &format!("net.ipv4.tcp_ecn={offered}")]));
        for address in [STACK_V4, STACK_V6] {
            download.fetch(&world, address);
        }
    }
    let summary = program.stop();
    assert_eq!(summary.number("/accepted"), 4, "each download has its connection");
    assert_eq!(summary.number("/ecn_agreed"), 2, "those that offered it");
}

#[test]
fn a_link_of_9000_bytes_is_filled_both_ways() {
    let world = or_skip!(Wire::AfPacket.world());
    world.set_mtu(9000);
    let keys = "[tcp]\ntimestamps = false\n";
    let program = world.serve("echo", keys);
    for address in [STACK_V4, STACK_V6] {
        let said = run(&mut world.peer(&format!("mirror {address} 7 --mib {MIB}")));
        let headers = if address == STACK_V4 { 40 } else { 60 };
        assert!(
            said.contains(&format!("\"mss\": {}", 9000 - headers)),
            "the kernel's segments are as large as the link: {said}"
        );
    }
    let summary = program.stop();
    assert_eq!(summary.number("/wire/mtu"), 9000, "that of the interface");
    // 8960 or 8940 bytes in most, and some acknowledgments.
    assert!(
        summary.number("/segments_out") < 2 * MIB * (1 << 20) / 4000,
        "ours too: {summary:?}"
    );
}
