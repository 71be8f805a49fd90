//! What a person meets first: the demonstration, the list of ports, and mistakes in a configuration.

use crate::support::{Namespace, Skip, Summary, bin, machine_lock, or_skip, output, run, skipped};
use serde_json::Value;
use std::{fs, process::Command};

const GOOD: &str = "[wire]\nkind = \"tap\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n";

/// Each mistake, and what the one line about it must name besides the file.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[wire]\nkind = \"tap\"\n[net]\naddress = \"10.77.0.2/24\"\n",
        "net.address",
    ),
    ("[wire]\nkind = \"tap\"\n[nett]\n", "nett"),
    (
        "[wire]\nkind = \"tin-can\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n",
        "wire.kind",
    ),
    (
        "[wire]\nkind = \"tap\"\n[net]\naddresses = [\"10.77.0.256/24\"]\n",
        "net.addresses",
    ),
    (
        "[wire]\nkind = \"tap\"\n[net]\naddresses = [\"10.77.0.2\"]\n",
        "net.addresses",
    ),
    ("[wire]\nkind = \"tap\"\n", "net.addresses"),
    (
        "[wire]\nkind = \"af_packet\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n",
        "wire.interface",
    ),
    (
        "[wire]\nkind = \"af_packet\"\ninterface = \"nosuch0\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n",
        "wire.interface",
    ),
    (
        "[wire]\nkind = \"memif\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n",
        "wire.socket",
    ),
    (
        "[wire]\nkind = \"tap\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n[tcp]\nmss = 1\n",
        "tcp.mss",
    ),
    (
        "[wire]\nkind = \"tap\"\n[net]\naddresses = [\"10.77.0.2/24\"]\n[tcp]\nsack = 1\n",
        "tcp.sack",
    ),
];

#[test]
fn a_mistake_in_the_configuration_is_one_line_that_names_file_and_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("wrong.toml");
    for &(text, key) in MISTAKES {
        fs::write(&path, text).expect("the test's folder can be written");
        let said = output(Command::new(bin()).args(["serve", "http", "--config"]).arg(&path));
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "exit code for {text:?}: {errors}");
        assert_eq!(
            errors.trim_end().lines().count(),
            1,
            "one line for {text:?}: {errors}"
        );
        assert!(
            errors.contains("wrong.toml"),
            "the file is named for {text:?}: {errors}"
        );
        assert!(errors.contains(key), "{key} is named for {text:?}: {errors}");
    }
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_that_names_the_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("good.toml");
    fs::write(&path, GOOD).expect("the test's folder can be written");
    for (set, key) in [
        ("tcp.mss=1", "tcp.mss"),
        ("tcp.nosuch=1", "tcp.nosuch"),
        ("tcp.mss", "tcp.mss"),
        ("net.addresses=[\"::1/128\"]", "net.addresses"),
    ] {
        let said = output(
            Command::new(bin())
                .args(["serve", "http", "--config"])
                .arg(&path)
                .args(["--set", set]),
        );
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "exit code for --set {set}: {errors}");
        assert_eq!(
            errors.trim_end().lines().count(),
            1,
            "one line for --set {set}: {errors}"
        );
        assert!(errors.contains(key), "{key} is named for --set {set}: {errors}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let said = output(Command::new(bin()).args(["serve", "http", "--config", "no/such.toml"]));
    let errors = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(2), "{errors}");
    assert!(errors.contains("no/such.toml"), "{errors}");
}

#[test]
fn the_version_names_dpdk_too() {
    let said = output(Command::new(bin()).arg("--version"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains(env!("CARGO_PKG_VERSION")) && said.contains("DPDK"),
        "{said}"
    );
}

#[test]
fn the_demonstration_fetches_one_page_through_the_kernel_and_ends() {
    let _machine = machine_lock();
    let namespace = or_skip!(Namespace::new("demo"));
    let said = output(namespace.command(bin()).args(["demo", "--once"]));
    let out = String::from_utf8_lossy(&said.stdout);
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{}\n{out}\n{errors}", said.status);
    let summary = Summary::parse(&out);
    assert_eq!(summary.number("/connections"), 0, "{out}");
    assert_eq!(summary.number("/mbufs_in_use"), 0, "{out}");
}

#[test]
fn the_demonstration_works_without_any_privilege() {
    let _machine = machine_lock();
    // `nobody`, without the capabilities that a TAP device needs.
    let said = output(
        Command::new("setpriv")
            .args([
                "--reuid",
                "65534",
                "--regid",
                "65534",
                "--clear-groups",
                "--bounding-set=-all",
                "--",
            ])
            .arg(bin())
            .args(["demo", "--once"]),
    );
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{}\n{errors}", said.status);
    assert!(
        errors.contains("net_ring"),
        "it says what it fell back to: {errors}"
    );
    Summary::parse(&String::from_utf8_lossy(&said.stdout));
}

#[test]
fn the_ports_and_their_offloads_are_listed() {
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("ring.toml");
    fs::write(&path, GOOD.replace("\"tap\"", "\"ring\"")).expect("the test's folder can be written");
    let said = output(Command::new(bin()).args(["ports", "--config"]).arg(&path));
    let out = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    for words in ["net_ring", "asked", "send TCP checksum", "MTU"] {
        assert!(out.contains(words), "{words} in {out}");
    }
}

/// What `crore ports --json` says of the first port's features.
fn features(config: &str, set: &str, namespace: &Namespace) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("wire.toml");
    fs::write(
        &path,
        config.replace("SOCKET", &folder.path().join("wire.sock").display().to_string()),
    )
    .expect("the test's folder can be written");
    let mut ports = namespace.command(bin());
    ports.args(["ports", "--json", "--config"]).arg(&path);
    let ports: Value = serde_json::from_str(&run(ports.args(["--set", set]))).expect("JSON");
    ports[0]["features"].clone()
}

#[test]
fn of_each_feature_it_is_told_whether_a_port_has_it_was_asked_for_it_and_uses_it() {
    let _machine = machine_lock();
    let namespace = or_skip!(Namespace::new("ports"));
    let told = |features: &Value, name: &str| {
        let feature = &features[name];
        let all = ["has", "asked", "got"].map(|key| feature[key].clone());
        assert_eq!(
            feature["why"].is_string(),
            all[0] == true && all[2] == false,
            "what a port has and does not use is explained: {name} {feature}"
        );
        all
    };
    let vhost = GOOD.replace("\"tap\"", "\"vhost\"\nsocket = \"SOCKET\"");
    let by_default = features(&vhost, "net.mtu=9000", &namespace);
    assert_eq!(told(&by_default, "tx_tcp_checksum"), [true, true, true]);
    assert_eq!(told(&by_default, "tx_ipv4_checksum"), [false, true, false]);
    assert_eq!(by_default["mtu"]["got"], 9000, "{by_default}");
    assert_eq!(by_default["queues"]["asked"], 1, "{by_default}");
    let refused = features(&vhost, "wire.offload=false", &namespace);
    assert_eq!(told(&refused, "tx_tcp_checksum"), [true, false, false]);
    let tap = features(GOOD, "wire.queues=2", &namespace);
    assert_eq!(told(&tap, "rx_checksum"), [true, true, false]);
    assert_eq!(told(&tap, "tso"), [true, true, false]);
    assert_eq!(told(&tap, "rss"), [true, true, false]);
    assert_eq!(tap["queues"]["got"], 2, "{tap}");
}

#[test]
fn an_mtu_that_a_driver_can_not_do_is_refused_with_its_limit() {
    let _machine = machine_lock();
    let namespace = or_skip!(Namespace::new("mtu"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("tap.toml");
    fs::write(&path, format!("{GOOD}mtu = 9000\n")).expect("the test's folder can be written");
    let said = output(namespace.command(bin()).args(["ports", "--config"]).arg(&path));
    let errors = String::from_utf8_lossy(&said.stderr);
    if said.status.success() {
        return skipped(&Skip("this DPDK's net_tap does jumbo frames".into()));
    }
    for words in ["net_tap", "an MTU of 9000", "576 to 15"] {
        assert!(errors.contains(words), "{words} in {errors}");
    }
}

#[test]
fn a_configuration_that_no_machine_has_memory_for_is_refused_with_its_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("large.toml");
    let large = "[stack]\nmax_connections = 1_073_741_823\nmax_active = 1_073_741_823\n";
    fs::write(&path, format!("{GOOD}{large}")).expect("the test's folder can be written");
    for command in [&["serve", "echo"][..], &["check"]] {
        let said = output(Command::new(bin()).args(command).arg("--config").arg(&path));
        let errors = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(2), "{command:?}: {errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "one line: {errors}");
        for number in ["1073741823", "records 65536 MiB", "memory available"] {
            assert!(errors.contains(number), "{number} in {errors}");
        }
    }
}
