//! Peers that die, reset, fall silent or were never set up right: nothing leaks.
//!
//! Where a connection should end by itself, the live line is watched until it says
//! so; the summary alone would also be content with what the shutdown swept away.

use crate::support::{Program, STACK_V4, STACK_V6, Wire, World, or_skip, run, wait_until};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

/// A peer that holds `count` connections to `port`, says and reads nothing.
struct Holder(Child);

impl Holder {
    fn new(world: &World, program: &Program, port: u16, count: u64) -> Self {
        let mut child = world
            .peer(&format!("hold {STACK_V4} {port} --count {count}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("it tells when it holds them");
        assert_eq!(line.trim(), format!("{{\"holding\": {count}}}"));
        wait_until("all are open", Duration::from_secs(10), || {
            program.open_connections() == Some(count)
        });
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until_none_is_open(program: &Program, seconds: u64) {
    wait_until("every connection is gone", Duration::from_secs(seconds), || {
        program.open_connections() == Some(0)
    });
}

#[test]
fn resets_in_the_middle_of_a_transfer_leave_nothing() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("chargen", "");
    run(&mut world.peer(&format!("reset {STACK_V4} 19 --count 200")));
    run(&mut world.peer(&format!("reset {STACK_V6} 19 --count 200")));
    wait_until_none_is_open(&program, 5);
    let summary = program.stop();
    assert_eq!(
        summary.number("/accepted"),
        400,
        "every connection was there before its reset"
    );
}

#[test]
fn after_a_half_close_the_rest_still_arrives() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("echo", "");
    run(&mut world.peer(&format!("half-close {STACK_V4} 7 --count 20")));
    run(&mut world.peer(&format!("half-close {STACK_V6} 7 --count 20")));
    wait_until_none_is_open(&program, 5);
    program.stop();
}

#[test]
fn a_killed_peer_that_never_read_leaves_nothing() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("chargen", "");
    Holder::new(&world, &program, 19, 50).kill();
    wait_until_none_is_open(&program, 5);
    program.stop();
}

#[test]
fn a_peer_that_vanishes_without_a_word_is_given_up() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve(
        "chargen",
        "[tcp]\nrto_initial_ms = 200\nrto_min_ms = 50\nrto_max_ms = 400\ndata_retries = 4\n",
    );
    let mut holder = Holder::new(&world, &program, 19, 50);
    world.peer_link(false);
    holder.kill();
    wait_until_none_is_open(&program, 30);
    let summary = program.stop();
    assert_eq!(summary.number("/broken"), 50, "each of them was given up");
}

#[test]
fn a_peer_that_says_nothing_is_closed_after_the_idle_timeout() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("echo", "[serve]\nidle_timeout_seconds = 4\n");
    let _holder = Holder::new(&world, &program, 7, 50);
    wait_until_none_is_open(&program, 15);
    let summary = program.stop();
    assert_eq!(
        summary.number("/idle_closed"),
        50,
        "they were ended for their silence"
    );
}

#[test]
fn a_peer_that_never_reads_is_closed_after_the_idle_timeout() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("chargen", "[serve]\nidle_timeout_seconds = 4\n");
    let _holder = Holder::new(&world, &program, 19, 50);
    wait_until_none_is_open(&program, 15);
    let summary = program.stop();
    assert_eq!(
        summary.number("/idle_closed"),
        50,
        "they were ended for their silence"
    );
}

#[test]
fn connections_still_open_at_the_end_are_reset_and_counted() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("chargen", "[serve]\ndrain_seconds = 1\n");
    let _holder = Holder::new(&world, &program, 19, 50);
    let summary = program.stop();
    assert_eq!(summary.number("/reset_at_end"), 50, "their time was up");
}

#[test]
fn the_kernel_connects_by_cookies_with_timestamps_and_without() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve("echo", "[stack]\nsyn_cookies = \"always\"\n");
    for timestamps in [1, 0] {
        let setting = format!("net.ipv4.tcp_timestamps={timestamps}");
        run(world.peer.command("sysctl").args(["-q", "-w", &setting]));
        for address in [STACK_V4, STACK_V6] {
            run(&mut world.peer(&format!("crowd {address} 7 --count 500 --rounds 2")));
            // A window of more than 64 KiB, where it is scaled, and loss of nothing.
            run(&mut world.peer(&format!("mirror {address} 7 --mib 16")));
        }
    }
    let summary = program.stop();
    assert_eq!(summary.number("/accepted"), 4 * 501, "each was accepted once");
    assert_eq!(summary.number("/cookies_accepted"), 4 * 501, "by its cookie");
    assert_eq!(
        summary.drops("bad_syn_cookie"),
        0,
        "no cookie was taken for a forgery"
    );
}

#[test]
fn a_flood_of_forged_syns_keeps_no_client_out() {
    let world = or_skip!(Wire::AfPacket.world());
    let program = world.serve(
        "echo",
        "[stack]\nbacklog = 64\nmax_connections = 2000\n[tcp]\nsyn_retries = 1\n",
    );
    let mut flood = world
        .peer(&format!("flood {STACK_V4} 7 --count 200000"))
        .stdout(Stdio::null())
        .spawn()
        .expect("python3 starts");
    let mut crowds = 0;
    while flood.try_wait().expect("it is our child").is_none() {
        run(&mut world.peer(&format!("crowd {STACK_V4} 7 --count 200 --rounds 3")));
        crowds += 1;
    }
    let summary = program.stop();
    assert_eq!(summary.number("/accepted"), crowds * 200, "each client got in");
    assert!(summary.number("/cookies_sent") > 10_000, "{summary:?}");
    assert!(
        summary.number("/connections_peak") <= 64 + 2 * 200 + 200,
        "the flood was not remembered: {summary:?}"
    );
}

#[test]
fn the_checksum_trap_of_veth_is_counted_and_its_cure_named() {
    let world = or_skip!(Wire::AfPacket.world());
    world.peer_checksum_offload(true);
    let program = world.serve("http", "");
    let fetched = world
        .peer
        .command("curl")
        .args(["--silent", "--max-time", "4", "--output", "/dev/null"])
        .arg(format!("http://{STACK_V4}/"))
        .status()
        .expect("curl starts");
    assert!(
        !fetched.success(),
        "if this works now, the trap is gone and so may this test be"
    );
    let log = program.log();
    assert!(
        log.contains("ethtool -K") && log.contains("tx off"),
        "the cure is named while it hurts: {log}"
    );
    let summary = program.stop();
    assert!(summary.drops("partial_tcp_checksum") > 0, "{summary:?}");
}
