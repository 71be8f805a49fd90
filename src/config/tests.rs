//! What an operator may get wrong, and that what is documented is what is there.

use std::collections::BTreeSet;

use crore_base::Duration;
use toml::Value;

use super::keys::{Eal, Faults, Net, Serve, StackLimits, Tcp, Wire, for_each_section};
use super::{Assignment, Config, Section, splice_key_tables};

const GOOD: &str = "[net]\naddresses = [\"10.77.0.2/24\", \"fd77::2/64\"]\n";

fn parse(text: &str, sets: &[&str]) -> Result<Config, String> {
    let sets: Result<Vec<_>, _> = sets.iter().map(|s| Assignment::parse("--set", s)).collect();
    let sets = sets.map_err(|e| e.to_string())?;
    Config::parse("x.toml", text, &sets).map_err(|e| e.to_string())
}

#[test]
fn a_mistake_in_the_file_is_named_with_file_and_key() {
    let table = [
        ("[wire\n", "x.toml:1: "),
        ("a = 1\n", "x.toml: a: belongs into a section"),
        ("[nett]\n", "x.toml: nett: no such section"),
        (
            "[tcp]\nmms = 1200\n",
            "x.toml: tcp.mms: no such key; did you mean tcp.mss?",
        ),
        (
            "[tcp]\nport = 80\n",
            "x.toml: tcp.port: no such key; did you mean serve.port?",
        ),
        (
            "[tcp]\nmss = \"big\"\n",
            "x.toml: tcp.mss: wants a whole number, not the text \"big\"",
        ),
        (
            "[tcp]\nmss = 1\n",
            "x.toml: tcp.mss: 1 is outside its range, 88 to 65535 bytes",
        ),
        (
            "[tcp]\nmss = -1\n",
            "x.toml: tcp.mss: -1 is outside its range, 88 to 65535 bytes",
        ),
        (
            "[tcp]\nmss = 1000000\n",
            "x.toml: tcp.mss: 1000000 is outside its range",
        ),
        (
            "[tcp]\nsack = 1\n",
            "x.toml: tcp.sack: wants true or false, not the number 1",
        ),
        (
            "[tcp]\nrto_min_ms = 500\nrto_max_ms = 400\n",
            "x.toml: tcp.rto_min_ms: 500 ms is more than",
        ),
        (
            "[faults]\nloss = 1.5\n",
            "x.toml: faults.loss: 1.5 is outside its range, 0 to 1 probability",
        ),
        (
            "[wire]\nkind = \"tin-can\"\n",
            "x.toml: wire.kind: \"tin-can\" is none of tap, af_packet",
        ),
        (
            "[wire]\nkind = \"af_packet\"\n",
            "x.toml: wire.interface: is needed for a af_packet wire",
        ),
        (
            "[wire]\nkind = \"af_packet\"\ninterface = \"nosuch0\"\n",
            "x.toml: wire.interface: there is no interface \"nosuch0\" here",
        ),
        (
            "[wire]\nkind = \"tap\"\ninterface = \"lo\"\n",
            "x.toml: wire.interface: an interface \"lo\" exists",
        ),
        (
            "[wire]\nkind = \"tap\"\nsocket = \"/tmp/s\"\n",
            "x.toml: wire.socket: belongs to memif, vhost",
        ),
        ("[wire]\nkind = \"memif\"\n", "x.toml: wire.socket: is needed"),
        (
            "[wire]\nkind = \"memif\"\nsocket = \"/no/such/folder/s\"\n",
            "x.toml: wire.socket: there is no directory /no/such/folder",
        ),
        (
            "[wire]\nkind = \"virtio_user\"\nsocket = \"/tmp/crore-no-such-socket\"\n",
            "x.toml: wire.socket: there is no socket",
        ),
        (
            "[wire]\nkind = \"pci\"\naddress = \"eth0\"\n",
            "x.toml: wire.address: \"eth0\" is no PCI address",
        ),
        (
            "[wire]\nkind = \"pci\"\naddress = \"0000:ff:1f.7\"\n",
            "x.toml: wire.address: there is no PCI device",
        ),
        (
            "[wire]\nkind = \"ring\"\n[net]\n",
            "x.toml: net.addresses: is needed",
        ),
        (
            "[net]\naddresses = [\"10.77.0.256/24\"]\n",
            "x.toml: net.addresses: \"10.77.0.256\" is no IP",
        ),
        (
            "[net]\naddresses = [\"10.77.0.2\"]\n",
            "x.toml: net.addresses: \"10.77.0.2\" has no prefix",
        ),
        (
            "[net]\naddresses = [\"10.77.0.2/33\"]\n",
            "x.toml: net.addresses: \"33\" is no prefix length",
        ),
        (
            "[net]\naddresses = [\"224.0.0.1/24\"]\n",
            "x.toml: net.addresses: 224.0.0.1 is no address that a",
        ),
        (
            "[net]\naddresses = \"10.77.0.2/24\"\n",
            "x.toml: net.addresses: wants a list",
        ),
        (
            "[net]\naddresses = [\"10.0.0.1/8\", \"10.0.0.1/24\"]\n",
            "x.toml: net.addresses: 10.0.0.1 is there",
        ),
        (
            "[net]\nmac = \"01:00:00:00:00:00\"\n",
            "x.toml: net.mac: 01:00:00:00:00:00 is no address",
        ),
        (
            "[net]\nmac = \"2:0:0:0:0:1\"\n",
            "x.toml: net.mac: \"2:0:0:0:0:1\": an Ethernet address is",
        ),
        (
            "[net]\ngateway_v4 = \"fd77::1\"\n",
            "x.toml: net.gateway_v4: fd77::1 is an IPv6 address",
        ),
        (
            "[net]\ngateway_v6 = \"10.77.0.1\"\n",
            "x.toml: net.gateway_v6: 10.77.0.1 is an IPv4 address",
        ),
        (
            "[serve]\nroot = \"/no/such/folder\"\n",
            "x.toml: serve.root: /no/such/folder",
        ),
        (
            "[eal]\ncores = [1, 0, 1]\n",
            "x.toml: eal.cores: core 1 is there twice",
        ),
        (
            "[wire]\nqueues = 1\n[eal]\ncores = [0, 1]\n",
            "x.toml: wire.queues: 1 are too few for 2 shards",
        ),
        (
            "[wire]\nqueues = 17\n",
            "x.toml: wire.queues: 17 pairs of queues are too many: a tap wire has at most 16",
        ),
        (
            "[wire]\nbuffers = 4095\n[eal]\ncores = [0, 1, 2]\n",
            "x.toml: wire.buffers: 4095 are too few: 3 queues and 3 shards keep 4608",
        ),
        (
            "[stack]\nephemeral_first = 7\nephemeral_last = 6\n",
            "x.toml: stack.ephemeral_first: 7 lies above",
        ),
    ];
    for (text, wanted) in table {
        // What is not about addresses has some, so that nothing else is wrong.
        let text = if text.contains("addresses") || text.contains("[net]\n") {
            text.replace("[net]\nmac", &format!("{GOOD}mac"))
                .replace("[net]\ngate", &format!("{GOOD}gate"))
        } else {
            format!("{text}{GOOD}")
        };
        let said = parse(&text, &[]).expect_err(&text);
        assert!(
            said.starts_with(wanted),
            "for {text:?}:\n  said   {said}\n  wanted {wanted}"
        );
        assert_eq!(said.lines().count(), 1, "one line: {said}");
    }
}

#[test]
fn keys_of_one_wire_that_contradict_its_addresses_are_refused() {
    let table = [
        (
            "wire.host_addresses=[\"10.77.0.2/24\"]",
            "--set: wire.host_addresses: 10.77.0.2 is Crore's own",
        ),
        (
            "net.gateway_v4=10.78.0.1",
            "--set: net.gateway_v4: 10.78.0.1 is not on the link",
        ),
        (
            "net.gateway_v4=10.77.0.2",
            "--set: net.gateway_v4: 10.77.0.2 is Crore's own",
        ),
        (
            "net.gateway_v6=fd78::1",
            "--set: net.gateway_v6: fd78::1 is not on the link",
        ),
    ];
    for (set, wanted) in table {
        let said = parse(GOOD, &[set]).expect_err(set);
        assert!(said.starts_with(wanted), "for {set}: {said}");
    }
    let only_v6 = "[net]\naddresses = [\"fd77::2/64\"]\ngateway_v4 = \"10.77.0.1\"\n";
    let said = parse(only_v6, &[]).expect_err("a gateway of a family without address");
    assert!(said.contains("net.addresses has no IPv4 address"), "{said}");
    parse(GOOD, &["net.gateway_v6=fe80::1"]).expect("a link-local gateway is on every link");
}

#[test]
fn the_command_line_wins_over_the_file_and_quotes_may_be_left_out() {
    let text = format!("[tcp]\nmss = 1000\n{GOOD}");
    let config = parse(
        &text,
        &["tcp.mss=1200", "wire.interface=crore7", "tcp.sack=false"],
    )
    .expect("it is good");
    assert_eq!(config.tcp.mss, 1200, "the command line wins");
    assert_eq!(
        config.wire.interface.as_deref(),
        Some("crore7"),
        "no quotes needed"
    );
    assert!(!config.tcp.sack, "a word of TOML's is no text");
    let config = parse(&text, &["tcp.mss=1200", "tcp.mss=1300"]).expect("it is good");
    assert_eq!(config.tcp.mss, 1300, "the last one wins");
}

#[test]
fn a_mistake_on_the_command_line_is_named_with_its_option() {
    for (set, wanted) in [
        ("tcp.mss=1", "--set: tcp.mss: 1 is outside"),
        ("tcp.nosuch=1", "--set: tcp.nosuch: no such key"),
        ("tcp.mss", "--set: \"tcp.mss\": wants key=value"),
        ("=1", "--set: \"=1\": wants key=value"),
        ("mss=1", "--set: mss: no such key; did you mean tcp.mss?"),
        ("tcp.mss=1\nb=2", "--set: tcp.mss: wants a whole number"),
    ] {
        let said = parse(GOOD, &[set]).expect_err(set);
        assert!(said.starts_with(wanted), "for {set:?}: {said}");
    }
}

#[test]
fn every_key_reads_back_its_own_default() {
    let mut paths = BTreeSet::new();
    macro_rules! each {
        ($($field:ident : $ty:ty),+) => { $(
            let mut fresh = <$ty>::default();
            for key in <$ty>::keys() {
                assert!(paths.insert(format!("{}.{}", <$ty>::NAME, key.name)), "{} twice", key.name);
                assert!(!key.doc.trim().is_empty(), "{} is documented", key.name);
                assert_eq!(fresh.get(key.name), key.default, "the default of {}", key.name);
                if let Some(default) = &key.default {
                    assert_eq!(fresh.set(key.name, default), Ok(()), "the default of {} is in range", key.name);
                }
            }
            assert_eq!(fresh, <$ty>::default(), "reading what was written changes nothing");
        )+ };
    }
    for_each_section!(each);
    assert_eq!(
        paths.into_iter().collect::<Vec<_>>().len(),
        Config::paths().len(),
        "no path is missing"
    );
}

#[test]
fn no_value_of_any_kind_makes_a_key_panic() {
    let values = [
        Value::Integer(i64::MIN),
        Value::Integer(0),
        Value::Integer(i64::MAX),
        Value::Float(f64::NAN),
        Value::String(String::new()),
        Value::String("\0".into()),
        Value::Boolean(true),
        Value::Array(vec![Value::Integer(70_000)]),
        Value::Array(vec![Value::String("::/0".into())]),
        Value::Table(toml::Table::new()),
    ];
    for path in Config::paths() {
        for value in &values {
            let set = Assignment {
                option: "--set",
                key: path.clone(),
                value: value.clone(),
            };
            let _ = Config::parse("x.toml", GOOD, &[set]);
        }
    }
}

#[test]
fn the_defaults_here_are_those_of_the_crates_below() {
    let mut ours = parse(GOOD, &[]).expect("it is good").stack_config();
    // Buffers that grow belong to a program that has the machine; a library's stay as they are.
    (ours.tcp.receive_buffer_max, ours.tcp.send_buffer_max) = (0, 0);
    let theirs = crore_stack::StackConfig {
        addresses: ours.addresses.clone(),
        // The program's own applications end silent connections; others decide for themselves.
        idle_timeout: ours.idle_timeout,
        ..Default::default()
    };
    assert_eq!(
        format!("{ours:?}"),
        format!("{theirs:?}"),
        "a default is decided once"
    );
}

#[test]
fn seconds_and_milliseconds_arrive_as_what_they_are() {
    let config = parse(
        GOOD,
        &["tcp.rto_min_ms=50", "tcp.keepalive_ms=7000", "faults.delay_ms=3"],
    )
    .expect("good");
    let tcp = config.tcp.to_tcp();
    assert_eq!(tcp.rto_min, Duration::from_millis(50), "milliseconds");
    assert_eq!(
        tcp.keepalive.idle(),
        Some(Duration::from_secs(7)),
        "zero is never, this is not"
    );
    assert!(config.faults.any(), "a delay is a fault");
    assert_eq!(
        config.faults.to_fault_config().rx.delay,
        Duration::from_millis(3),
        "both ways"
    );
    let config = parse(GOOD, &["faults.loss=0.5", "faults.direction=tx"]).expect("good");
    let faults = config.faults.to_fault_config();
    assert!(faults.rx.is_none() && faults.tx.loss == 0.5, "one way only");
    let config = parse(
        GOOD,
        &["faults.rate_kbit_per_second=100000", "faults.burst_enter=0.01"],
    );
    let faults = config.expect("good").faults;
    assert!(faults.any(), "a bottleneck and bursts are faults");
    let rx = faults.to_fault_config().rx;
    assert_eq!(rx.bottleneck.bytes_per_second, 12_500_000, "kilobits in bytes");
    assert_eq!(rx.bottleneck.queue_bytes, 131_072, "with the usual queue");
    assert_eq!(
        (rx.bursts.enter, rx.bursts.leave),
        (0.01, 0.25),
        "and bursts of four"
    );
}

/// Set `CRORE_UPDATE_DOCS` to have the document renewed instead.
#[test]
fn the_document_has_every_key_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG.md");
    let document = std::fs::read_to_string(path).expect("docs/CONFIG.md is there");
    let wanted = splice_key_tables(&document).expect("it has markers for the tables");
    if std::env::var_os("CRORE_UPDATE_DOCS").is_some() {
        std::fs::write(path, wanted).expect("it can be written");
        return;
    }
    assert!(
        document == wanted,
        "renew it: cargo run -- config-doc docs/CONFIG.md"
    );
}

#[test]
fn every_file_in_dpdk_config_is_right() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dpdk-config");
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(folder).expect("dpdk-config is there") {
        let path = entry.expect("it can be read").path();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        // Interfaces and sockets are those of another machine: put `lo` and a folder that exists.
        let sets: &[&str] = match path.file_stem().and_then(|s| s.to_str()) {
            Some("af-packet" | "af-xdp") => &["wire.interface=lo"],
            Some("virtio-user") => &["wire.socket=/tmp/crore-test.sock", "wire.reverse=true"],
            Some("memif" | "vhost") => &["wire.socket=/tmp/crore-test.sock"],
            _ => &[],
        };
        let sets: Vec<_> = sets
            .iter()
            .map(|s| Assignment::parse("--set", s).expect("good"))
            .collect();
        let config = Config::parse(&name, &text, &sets).unwrap_or_else(|e| panic!("{e}"));
        kinds.push(config.wire.kind.word());
    }
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "af_packet",
            "af_xdp",
            "memif",
            "ring",
            "tap",
            "vhost",
            "virtio_user"
        ],
        "one file for each wire that needs no NIC"
    );
}
