//! `crore bench` from end to end: that it works and says what it is to say, never how fast.

use crate::support::{Namespace, Summary, bin, bound_to_us, have, machine_lock, or_skip, output, two_cores};
use std::path::Path;

const CONNECTIONS: u64 = 100_000;

/// Runs a benchmark in its short form and gives its report.
fn bench(words: &[&str]) -> Summary {
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let report = folder.path().join("report.json");
    let mut command = bound_to_us(bin());
    command
        .arg("bench")
        .args(words)
        .args(["--quick", "--json"])
        .arg(&report)
        // Its own folder goes here, so that it shows whether anything is left.
        .env("TMPDIR", folder.path());
    let output = output(&mut command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(left_in(folder.path()), ["report.json"], "nothing else is left");
    Summary::of_file(&report)
}

fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn many_connections_are_held_at_both_ends_and_every_reply_is_right() {
    or_skip!(two_cores());
    let report = bench(&["c10m", "--connections", &CONNECTIONS.to_string()]);
    for key in [
        "/connections_requested",
        "/server_established",
        "/client_established",
    ] {
        assert_eq!(report.number(key), CONNECTIONS, "{key}: {report:?}");
    }
    for key in ["/mismatches", "/resets", "/server_left"] {
        assert_eq!(report.number(key), 0, "{key}: {report:?}");
    }
    for key in [
        "/open_seconds",
        "/opens_per_second",
        "/server_bytes_total",
        "/server_bytes_per_connection",
        "/echo_per_second",
        "/echo_per_second_1000",
        "/echo_ratio",
        "/close_seconds",
    ] {
        assert!(report.real(key) > 0.0, "{key}: {report:?}");
    }
}

#[test]
fn the_kernels_wire_is_made_measured_and_removed() {
    or_skip!(two_cores());
    or_skip!(Namespace::new("bench"));
    let report = bench(&["rps", "--wire", "af_packet", "--workload", "echo"]);
    for figure in ["/rows/0/requests_per_second", "/rows/0/forwarder_per_second"] {
        assert!(report.real(figure) > 0.0, "{figure}: {report:?}");
    }
    no_namespace_is_left();
}

fn no_namespace_is_left() {
    let namespaces = output(std::process::Command::new("ip").args(["netns", "list"]));
    let namespaces = String::from_utf8_lossy(&namespaces.stdout).into_owned();
    // Somebody else's benchmark may be running.
    let left: Vec<_> = namespaces
        .lines()
        .filter_map(|line| line.split(' ').next()?.strip_prefix("crore-bench-"))
        .filter_map(|rest| rest.split('-').next())
        .filter(|pid| !Path::new("/proc").join(pid).exists())
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
}

#[test]
fn bad_networks_are_crossed_and_bottlenecks_shared_with_linux() {
    or_skip!(two_cores());
    or_skip!(have("ethtool"));
    or_skip!(Namespace::new("bench"));
    // A wrong byte or a failed connection would be an exit code of 1.
    let report = bench(&[
        "linux",
        "--loss=0,1",
        "--reorder=5",
        "--rtt=10",
        "--congestion=cubic",
    ]);
    for cell in 0..6 {
        for who in ["crore", "linux"] {
            let rate = format!("/cells/{cell}/{who}_mbit_per_second");
            assert!(report.real(&rate) > 0.0, "{rate}: {report:?}");
        }
    }
    for (cell, harm) in [(1, "reordered"), (2, "lost")] {
        let count = format!("/cells/{cell}/crore/0/relay/faults/rx/{harm}");
        assert!(report.number(&count) > 0, "{count}: {report:?}");
    }
    assert!(report.real("/sharing/0/jain") > 0.0, "{report:?}");
    no_namespace_is_left();
}

#[test]
fn both_ends_in_one_process_are_measured_on_a_ring() {
    or_skip!(two_cores());
    let connections = CONNECTIONS.to_string();
    for (words, figure) in [
        (&["c10m", "--connections", &connections][..], "/echo_per_second"),
        (&["rps", "--workload", "http"], "/rows/0/requests_per_second"),
        (&["cps"], "/rows/0/frames_per_connection"),
        (&["stream"], "/rows/3/gbit_per_second"),
        (&["latency"], "/p50_ratio"),
        (&["scaling"], "/ratio"),
    ] {
        // A wrong reply or a failed connection would be an exit code of 1.
        let report = bench(&[words, &["--wire", "ring"]].concat());
        assert!(report.real(figure) > 0.0, "{words:?}: {figure}: {report:?}");
    }
}

#[test]
fn the_others_measure_something_and_every_reply_is_right() {
    or_skip!(two_cores());
    for (name, figures) in [
        ("latency", &["/p50_us", "/forwarder_p50_us", "/p50_ratio"][..]),
        (
            "cps",
            &[
                "/rows/0/connections_per_second",
                "/rows/0/frames_per_connection",
                "/rows/0/forwarder_ratio",
            ],
        ),
        (
            "rps",
            &[
                "/rows/0/requests_per_second",
                "/rows/1/requests_per_second",
                "/rows/1/forwarder_ratio",
            ],
        ),
        ("parse", &["/rows/0/nanoseconds", "/rows/2/nanoseconds"]),
        ("lookup", &["/rows/0/nanoseconds", "/rows/3/nanoseconds"]),
        // So would be an honest client that a flood keeps out.
        (
            "synflood",
            &[
                "/honest_per_second_alone",
                "/rows/0/syns_per_second",
                "/rows/0/honest_per_second",
                "/rows/1/honest_per_second",
            ],
        ),
        (
            "scaling",
            &[
                "/rows/0/requests_per_second",
                "/rows/1/requests_per_second",
                "/ratio",
            ],
        ),
        ("stream", &["/rows/0/gbit_per_second", "/rows/3/gbit_per_second"]),
    ] {
        // A wrong reply or a failed connection would be an exit code of 1.
        let report = bench(&[name]);
        for figure in figures {
            assert!(report.real(figure) > 0.0, "{name}: {figure}: {report:?}");
        }
    }
}
