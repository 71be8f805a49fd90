//! Two of our programs over shared memory: no kernel on the path, a million checked answers,
//! or fewer in jumbo frames.

use crate::support::{Program, STACK_V4, Skip, Summary, bin, bound_to_us, machine_lock, or_skip, two_cores};
use std::{fs, path::Path, process::Command, time::Duration};

const MEMIF_SERVER: &str = "kind = \"memif\"\nrole = \"server\"\n";
const MEMIF_CLIENT: &str = "kind = \"memif\"\nrole = \"client\"\n";
const VHOST: &str = "kind = \"vhost\"\n";
const VIRTIO_USER: &str = "kind = \"virtio_user\"\n";

/// What one end of a wire asks and the other answers.
struct Questions {
    count: u64,
    connections: u64,
    bytes: u64,
    /// TOML in `[net]` of both ends.
    net: &'static str,
}

const A_MILLION: Questions = Questions {
    count: 1_000_000,
    connections: 32,
    bytes: 64,
    net: "",
};

/// Long enough that nearly all segments are full.
const IN_JUMBO_FRAMES: Questions = Questions {
    count: 2000,
    connections: 8,
    bytes: 200_000,
    net: "mtu = 9000\n",
};

/// Long answers in ordinary frames.
const LONG: Questions = Questions {
    count: 2000,
    connections: 8,
    bytes: 200_000,
    net: "",
};

/// The configuration of one end; `wire` is TOML.
fn config(folder: &Path, name: &str, wire: &str, net: &str, core: u32) -> std::path::PathBuf {
    let path = folder.join(name).with_extension("toml");
    let text = format!(
        "[wire]\n{wire}socket = {:?}\n[net]\n{net}[eal]\ncores = [{core}]\nmemory_mb = 256\n",
        folder.join("wire.sock")
    );
    fs::write(&path, text).expect("the test's folder can be written");
    path
}

/// Asks, checks every answer, and says what the server's summary is.
fn ask(questions: &Questions, server_wire: &str, client_wire: &str) -> Result<Summary, Skip> {
    ask_both(questions, server_wire, client_wire).map(|(server, _)| server)
}

/// The same with the client's summary as well.
fn ask_both(questions: &Questions, server_wire: &str, client_wire: &str) -> Result<(Summary, Summary), Skip> {
    let Questions {
        count,
        connections,
        bytes,
        net,
    } = questions;
    two_cores()?;
    let _machine = machine_lock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = folder.path();

    let net_of = |address: &str| format!("addresses = [\"{address}/24\"]\n{net}");
    let mut serve: Command = bound_to_us(bin());
    serve.args(["serve", "echo", "--config"]).arg(config(
        folder,
        "server",
        server_wire,
        &net_of(STACK_V4),
        0,
    ));
    let server = Program::start(serve, folder.join("server.log"));

    let mut load = bound_to_us(bin());
    load.args(["load", "echo", "--config"])
        .arg(config(folder, "client", client_wire, &net_of("10.77.0.1"), 1))
        .args(["--target", STACK_V4])
        .args(["--requests", &count.to_string()])
        .args(["--size", &bytes.to_string()])
        .args(["--connections", &connections.to_string(), "--json"]);
    let mut client = Program::spawn(load, folder.join("client.log"));
    let answers: Summary = client.finish(Duration::from_secs(120));
    assert_eq!(
        answers.number("/requests"),
        *count,
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
        *connections,
        "the client opened so many"
    );
    Ok((summary, answers))
}

/// Asks with an MTU of 9000, and looks whether the segments of the answers are as large.
fn ask_in_jumbo_frames(server_wire: &str, client_wire: &str) {
    let summary = or_skip!(ask(&IN_JUMBO_FRAMES, server_wire, client_wire));
    let Questions { count, bytes, .. } = IN_JUMBO_FRAMES;
    assert_eq!(summary.number("/wire/mtu"), 9000, "as it was asked for");
    // An answer of 200,000 bytes is 23 segments of 8948 bytes or 139 of 1448; and there are
    // acknowledgments.
    assert!(
        summary.number("/segments_out") < count * bytes / 4000,
        "most segments are large: {summary:?}"
    );
}

#[test]
fn a_million_requests_over_memif() {
    or_skip!(ask(&A_MILLION, MEMIF_SERVER, MEMIF_CLIENT));
}

#[test]
fn a_million_requests_over_vhost_and_virtio_user() {
    or_skip!(ask(&A_MILLION, VHOST, VIRTIO_USER));
}

/// virtio hands large segments on whole: a client behind virtio_user leaves them to the
/// port, and its server puts up with segments larger than any frame.
#[test]
fn large_segments_over_virtio_user_are_left_to_the_port() {
    let (server, client) = or_skip!(ask_both(&LONG, VHOST, VIRTIO_USER));
    assert!(
        client.number("/cut_by_nic") > LONG.count * LONG.bytes / 1448 / 2,
        "most segments were: {client:?}"
    );
    assert_eq!(server.number("/cut_by_nic"), 0, "a vhost port can't: {server:?}");
    assert!(
        server.number("/cut") > 1000,
        "there the stack does it: {server:?}"
    );
}

#[test]
fn jumbo_frames_over_memif() {
    ask_in_jumbo_frames(MEMIF_SERVER, MEMIF_CLIENT);
}

#[test]
fn jumbo_frames_over_vhost_and_virtio_user() {
    ask_in_jumbo_frames(VHOST, VIRTIO_USER);
}
