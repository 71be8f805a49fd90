//! Two of our programs over shared memory: no kernel on the path, a million checked answers.

use crate::support::{Program, STACK_V4, Summary, bin, bound_to_us, machine_lock, or_skip, two_cores};
use std::{fs, path::Path, process::Command, time::Duration};

const REQUESTS: u64 = 1_000_000;
const CONNECTIONS: u64 = 32;

/// The configuration of one end; `wire` is TOML.
fn config(folder: &Path, name: &str, wire: &str, address: &str, core: u32) -> std::path::PathBuf {
    let path = folder.join(name).with_extension("toml");
    let text = format!(
        "[wire]\n{wire}socket = {:?}\n[net]\naddresses = [\"{address}/24\"]\n[eal]\ncores = [{core}]\nmemory_mb = 256\n",
        folder.join("wire.sock")
    );
    fs::write(&path, text).expect("the test's folder can be written");
    path
}

fn a_million_answers(server_wire: &str, client_wire: &str) {
    or_skip!(two_cores());
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();

    let mut serve: Command = bound_to_us(bin());
    serve
        .args(["serve", "echo", "--config"])
        .arg(config(folder, "server", server_wire, STACK_V4, 0));
    let server = Program::start(serve, folder.join("server.log"));

    let mut load = bound_to_us(bin());
    load.args(["load", "echo", "--config"])
        .arg(config(folder, "client", client_wire, "10.77.0.1", 1))
        .args(["--target", STACK_V4])
        .args(["--requests", &REQUESTS.to_string()])
        .args(["--connections", &CONNECTIONS.to_string(), "--json"]);
    let mut client = Program::spawn(load, folder.join("client.log"));
    let answers: Summary = client.finish(Duration::from_secs(120));
    assert_eq!(
        answers.number("/requests"),
        REQUESTS,
        "every request was answered: {answers:?}"
    );
    assert_eq!(
        answers.number("/errors"),
        0,
        "wrong or missing answers: {answers:?}"
    );

    let summary = server.stop();
    assert_eq!(
        summary.number("/accepted"),
        CONNECTIONS,
        "the client opened so many"
    );
}

#[test]
fn a_million_requests_over_memif() {
    a_million_answers(
        "kind = \"memif\"\nrole = \"server\"\n",
        "kind = \"memif\"\nrole = \"client\"\n",
    );
}

#[test]
fn a_million_requests_over_vhost_and_virtio_user() {
    a_million_answers("kind = \"vhost\"\n", "kind = \"virtio_user\"\n");
}
