//! Several shards: two of our programs over shared memory, and kernel clients whose
//! kernel divides the flows in its own way.

use crate::support::{
    Program, STACK_V4, STACK_V6, Skip, Summary, Wire, World, bin, bound_to_us, have, machine_lock, or_skip,
    run,
};
use std::{fs, path::Path, process::Command, thread::available_parallelism, time::Duration};

/// Two shards of each program share two cores, by turns of the scheduler's length:
/// so many requests take some seconds.
const REQUESTS: u64 = 100_000;
const CONNECTIONS: u64 = 64;

fn two_cores() -> Result<(), Skip> {
    match available_parallelism() {
        Ok(n) if n.get() >= 2 => Ok(()),
        _ => Err(Skip("two shards need two cores".into())),
    }
}

/// The configuration of one end; `wire` is TOML.
fn config(folder: &Path, name: &str, wire: &str, address: &str, cores: &str) -> std::path::PathBuf {
    let path = folder.join(name).with_extension("toml");
    let text = format!(
        "[wire]\n{wire}queues = 2\nsocket = {:?}\n[net]\naddresses = [\"{address}/24\"]\n[eal]\ncores = {cores}\nmemory_mb = 256\n",
        folder.join("wire.sock")
    );
    fs::write(&path, text).expect("the test's folder can be written");
    path
}

/// A figure of each shard.
fn by_shard(summary: &Summary, figure: &str, shards: usize) -> Vec<u64> {
    (0..shards)
        .map(|shard| summary.number(&format!("/shards/{shard}/{figure}")))
        .collect()
}

/// Both programs on a wire with two queues, on the cores given.
fn flows_come_home(server_wire: &str, client_wire: &str, server_cores: &str, client_cores: &str) {
    or_skip!(two_cores());
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();

    let mut serve: Command = bound_to_us(bin());
    serve.args(["serve", "echo", "--config"]).arg(config(
        folder,
        "server",
        server_wire,
        STACK_V4,
        server_cores,
    ));
    let server = Program::start(serve, folder.join("server.log"));
    let mut load = bound_to_us(bin());
    load.args(["load", "echo", "--config"])
        .arg(config(folder, "client", client_wire, "10.77.0.1", client_cores))
        .args(["--target", STACK_V4])
        .args(["--requests", &REQUESTS.to_string()])
        .args(["--connections", &CONNECTIONS.to_string(), "--json"]);
    let mut client = Program::spawn(load, folder.join("client.log"));
    let answers = client.finish(Duration::from_secs(120));
    let summary = server.stop();

    assert_eq!(
        answers.number("/requests"),
        REQUESTS,
        "all were answered: {answers:?}"
    );
    assert_eq!(
        answers.number("/errors"),
        0,
        "wrong or missing answers: {answers:?}"
    );
    assert_eq!(summary.number("/accepted"), CONNECTIONS, "each connection once");
    for (end, cores, figure) in [
        (&summary, server_cores, "accepted"),
        (&answers, client_cores, "connected"),
    ] {
        let shards = cores.matches(',').count() + 1;
        let connections = by_shard(end, figure, shards);
        assert!(
            connections.iter().all(|&n| n >= CONNECTIONS / 8),
            "all shards work: {connections:?}"
        );
        assert_eq!(end.number("/rescued"), 0, "every frame came to the right shard");
    }
}

const MEMIF: [&str; 2] = [
    "kind = \"memif\"\nrole = \"server\"\n",
    "kind = \"memif\"\nrole = \"client\"\n",
];
const VHOST: [&str; 2] = ["kind = \"vhost\"\n", "kind = \"virtio_user\"\n"];

#[test]
fn two_shards_against_two_over_memif() {
    flows_come_home(MEMIF[0], MEMIF[1], "[0, 1]", "[0, 1]");
}

#[test]
fn two_shards_against_two_over_vhost_and_virtio_user() {
    flows_come_home(VHOST[0], VHOST[1], "[0, 1]", "[0, 1]");
}

#[test]
fn one_shard_with_two_queues_against_two_shards_over_memif() {
    flows_come_home(MEMIF[0], MEMIF[1], "[0, 1]", "[1]");
}

#[test]
fn two_shards_against_one_with_two_queues_over_vhost_and_virtio_user() {
    flows_come_home(VHOST[0], VHOST[1], "[0]", "[0, 1]");
}

/// Nearly all ports of two addresses, each opened by the shard to which the reply comes.
#[test]
fn two_shards_open_nearly_all_ports_that_there_are() {
    // Two addresses have 2 * 55,536.
    const HELD: u64 = 110_000;
    or_skip!(two_cores());
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();
    let limits = "[stack]\nmax_connections = 112000\nbacklog = 65536\n[serve]\nidle_timeout_seconds = 0\n";
    let configured = |name: &str, wire: &str, address: &str, gateway: &str| {
        let path = config(folder, name, wire, address, "[0, 1]");
        let text = fs::read_to_string(&path).expect("it was just written");
        let text = text.replace("[eal]\n", &format!("{gateway}[eal]\n")) + limits;
        fs::write(&path, text).expect("the test's folder can be written");
        path
    };
    let mut serve: Command = bound_to_us(bin());
    let gateway = "gateway_v4 = \"10.77.0.1\"\n";
    serve
        .args(["serve", "echo", "--config"])
        .arg(configured("server", VHOST[0], STACK_V4, gateway));
    let server = Program::start(serve, folder.join("server.log"));
    let mut load = bound_to_us(bin());
    load.args(["load", "hold", "--config"])
        .arg(configured("client", VHOST[1], "10.77.0.1", ""))
        .args(["--target", STACK_V4, "--local", "10.81.0.0/31"])
        .args([
            "--connections",
            &HELD.to_string(),
            "--requests",
            "20000",
            "--json",
        ]);
    let said = run(&mut load);
    let phases: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("each phase is a line of JSON"))
        .collect();
    let of = |phase: &str, figure: &str| {
        let report = phases.iter().find(|report| report["phase"] == phase);
        report.and_then(|report| report[figure].as_u64())
    };
    assert_eq!(of("open", "established"), Some(HELD), "{said}");
    assert_eq!(
        of("open", "failures"),
        Some(0),
        "a port was found for each at once: {said}"
    );
    assert_eq!(of("echo", "requests"), Some(20_000), "{said}");
    assert_eq!(of("echo", "mismatches"), Some(0), "{said}");
    let summary = server.stop();
    assert_eq!(
        by_shard(&summary, "accepted", 2),
        [HELD / 2; 2],
        "half of them each"
    );
    assert_eq!(summary.number("/rescued"), 0, "every reply came home");
}

/// Kernel clients, whose flows arrive on the queues of the kernel's choice.
fn all_arrives_whatever_the_queue(world: &World) -> Summary {
    const SHARDS: &str = "[eal]\ncores = [0, 1]\n";
    let program = world.serve("echo", SHARDS);
    for (version, address) in [("-4", STACK_V4), ("-6", STACK_V6)] {
        let ping = ["-c", "10", "-i", "0.1", "-W", "2"];
        let said = run(world.peer.command("ping").arg(version).args(ping).arg(address));
        assert!(
            said.contains(" 0% packet loss") && !said.contains("DUP!"),
            "{said}"
        );
        // Every byte back, on one connection in both directions at once, and on many.
        run(&mut world.peer(&format!("mirror {address} 7 --mib 16")));
        run(&mut world.peer(&format!("crowd {address} 7 --count 1000 --rounds 5 --timeout 60")));
    }
    let summary = program.stop();
    assert_eq!(summary.number("/accepted"), 2 * 1001, "each connection once");
    let accepted = by_shard(&summary, "accepted", 2);
    assert!(
        accepted.iter().all(|&n| n > 400),
        "both shards work: {accepted:?}"
    );
    let rescued: u64 = by_shard(&summary, "rescued", 2).iter().sum();
    let lost = summary.number("/rescue_full");
    assert_eq!(
        rescued + lost,
        summary.number("/rescued"),
        "what is handed on arrives, or is counted"
    );
    summary
}

#[test]
fn the_kernels_own_division_over_af_packet_costs_no_byte() {
    or_skip!(two_cores());
    or_skip!(have("ping"));
    let world = or_skip!(Wire::AfPacket.world());
    let summary = all_arrives_whatever_the_queue(&world);
    assert!(
        summary.number("/rescued") > 0,
        "the kernel's division is not ours: {summary:?}"
    );
}

#[test]
fn a_tap_device_learns_which_queue_a_flow_is_on() {
    or_skip!(two_cores());
    or_skip!(have("ping"));
    let world = or_skip!(Wire::Tap.world());
    let summary = all_arrives_whatever_the_queue(&world);
    let (rescued, frames) = (summary.number("/rescued"), summary.number("/frames_in"));
    assert!(
        rescued < frames / 4,
        "{rescued} of {frames} frames came to the wrong shard"
    );
}
