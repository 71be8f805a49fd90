//! The kernel's own TCP and everyday tools as clients, the same scenarios over each wire.

use crate::support::{
    Download, STACK_V4, STACK_V6, Wire, World, have, large_mib, load_seconds, or_skip, run, url,
};

macro_rules! over_each_wire {
    ($($scenario:ident),+ $(,)?) => {
        mod af_packet {
            $(#[test] fn $scenario() { super::$scenario(super::Wire::AfPacket) })+
        }
        mod af_xdp {
            $(#[test] fn $scenario() { super::$scenario(super::Wire::AfXdp) })+
        }
        mod tap {
            $(#[test] fn $scenario() { super::$scenario(super::Wire::Tap) })+
        }
    };
}

over_each_wire!(
    ping_is_answered,
    ping_in_fragments_is_answered_in_fragments,
    curl_fetches_pages_on_one_kept_connection,
    curl_fetches_a_large_file_unchanged,
    discard_takes_a_large_stream,
    chargen_sends_a_large_stream_without_a_wrong_byte,
    wrk_with_a_thousand_connections_sees_no_socket_error,
    ten_thousand_connections_echo_at_once,
);

fn ping_is_answered(wire: Wire) {
    let world = or_skip!(wire.world());
    or_skip!(have("ping"));
    let program = world.serve("discard", "");
    for (version, address) in [("-4", STACK_V4), ("-6", STACK_V6)] {
        let said = run(world
            .peer
            .command("ping")
            .args([version, "-c", "5", "-i", "0.2", "-W", "2", address]));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
    // Larger than one frame can be wrong in its own ways: the largest that fits, too.
    run(world
        .peer
        .command("ping")
        .args(["-c", "2", "-i", "0.2", "-W", "2", "-s", "1472", STACK_V4]));
    program.stop();
}

fn ping_in_fragments_is_answered_in_fragments(wire: Wire) {
    const PINGS: u64 = 5;
    let world = or_skip!(wire.world());
    or_skip!(have("ping"));
    let program = world.serve("discard", "");
    // DPDK's af_packet has the kernel put IPv4 fragments together, and cuts off what is
    // longer than a slot of its ring: there, only our own fragments can be seen.
    let (size_v4, pieces) = if wire == Wire::AfPacket {
        ("1700", PINGS)
    } else {
        ("4000", 2 * PINGS)
    };
    for (version, address, size) in [("-4", STACK_V4, size_v4), ("-6", STACK_V6, "4000")] {
        let mut ping = world.peer.command("ping");
        ping.args([version, "-c", &PINGS.to_string(), "-i", "0.2", "-W", "2"]);
        // The kernel compares each byte that comes back, and says so when one is wrong.
        let said = run(ping.args(["-s", size, address]));
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert!(!said.contains("wrong data"), "{said}");
    }
    let summary = program.stop();
    assert_eq!(
        summary.number("/reassembled"),
        pieces,
        "what came in pieces was put together: {summary:?}"
    );
}

fn curl_fetches_pages_on_one_kept_connection(wire: Wire) {
    let world = or_skip!(wire.world());
    or_skip!(have("curl"));
    let program = world.serve("http", "[serve]\nhttp_body_bytes = 4000\n");
    for address in [STACK_V4, STACK_V6] {
        let url = url(address, "a/page?and=more");
        let said = run(world.peer.command("curl").args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "20",
            "--write-out",
            "%{http_code} %{size_download} %{num_connects}\\n",
            "--output",
            "/dev/null",
            "--output",
            "/dev/null",
            &url,
            &url,
        ]));
        assert_eq!(
            said, "200 4000 1\n200 4000 0\n",
            "two pages of {url}, one connection"
        );
    }
    let summary = program.stop();
    assert_eq!(
        summary.number("/accepted"),
        2,
        "one connection for each IP version"
    );
}

fn curl_fetches_a_large_file_unchanged(wire: Wire) {
    let world = or_skip!(wire.world());
    let download = or_skip!(Download::new(&world, large_mib()));
    let program = world.serve("http", &download.serve_keys());
    for address in [STACK_V4, STACK_V6] {
        download.fetch(&world, address);
    }
    let summary = program.stop();
    assert!(
        summary.number("/cut") > 100,
        "segments were planned together: {summary:?}"
    );
}

fn discard_takes_a_large_stream(wire: Wire) {
    let world = or_skip!(wire.world());
    let program = world.serve("discard", "");
    for address in [STACK_V4, STACK_V6] {
        run(&mut world.peer(&format!("send {address} 9 --mib {}", large_mib())));
    }
    let summary = program.stop();
    let wanted = 2 * large_mib() * (1 << 20);
    assert_eq!(
        summary.number("/bytes_in"),
        wanted,
        "bytes that the service was handed"
    );
    assert!(
        summary.number("/merged") > 100,
        "segments of a burst were taken in together: {summary:?}"
    );
}

fn chargen_sends_a_large_stream_without_a_wrong_byte(wire: Wire) {
    let world = or_skip!(wire.world());
    let program = world.serve("chargen", "");
    for address in [STACK_V4, STACK_V6] {
        run(&mut world.peer(&format!("receive {address} 19 --mib {}", large_mib())));
    }
    program.stop();
}

fn wrk_with_a_thousand_connections_sees_no_socket_error(wire: Wire) {
    let world = or_skip!(wire.world());
    or_skip!(have("wrk"));
    let program = world.serve("http", "");
    for address in [STACK_V4, STACK_V6] {
        let url = url(address, "");
        let said = run(world.peer.command("prlimit").args([
            "--nofile=4096:4096",
            "wrk",
            "-t",
            "1",
            "-c",
            "1000",
            "-d",
            &format!("{}s", load_seconds()),
            "--timeout",
            "10s",
            &url,
        ]));
        assert!(said.contains("Requests/sec"), "{said}");
        assert!(!said.contains("Socket errors"), "{said}");
        assert!(!said.contains("Non-2xx"), "{said}");
    }
    let summary = program.stop();
    // One more each: wrk looks whether anybody is there before it begins.
    assert_eq!(
        summary.number("/accepted"),
        2 * 1001,
        "wrk opened every connection once"
    );
}

fn ten_thousand_connections_echo_at_once(wire: Wire) {
    let world: World = or_skip!(wire.world());
    let program = world.serve("echo", "");
    run(&mut world.peer(&format!(
        "crowd {STACK_V4} 7 --count 10000 --rounds 3 --timeout 120"
    )));
    let summary = program.stop();
    assert_eq!(
        summary.number("/accepted"),
        10_000,
        "each connection was accepted once"
    );
}
