//! Frames between two processes over memif and over vhost/virtio_user, on huge
//! pages and on ordinary ones: each frame is echoed and checked, and at the end
//! both processes have all their buffers back.
//!
//! Both ends are this binary again, told by environment variables what to be.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{frame, nic, now, number, open, pool, receive, send, skipped, start, until};
use crore_dpdk::{FreeHugePages, HugePages, MemifRole, Wire};
use crore_nic::{Nic, RxFrame};

const ROLE: &str = "CRORE_TEST_ROLE";
const CASE: &str = "CRORE_TEST_CASE";
const SOCKET: &str = "CRORE_TEST_SOCKET";
const HUGE: &str = "CRORE_TEST_HUGE";
const FRAMES: u32 = 20_000;
const WINDOW: u32 = 64;
/// The echo's number of the last frame; no other frame has it.
const GOODBYE: u32 = u32::MAX;

#[test]
fn every_frame_comes_back_and_every_buffer_too() {
    if let Ok(role) = std::env::var(ROLE) {
        return end(&role);
    }
    let mut pages = vec![HugePages::Never];
    if FreeHugePages::read().mib >= 2 * 64 {
        pages.push(HugePages::Require);
    } else {
        skipped("huge pages: fewer than 128 MiB are free");
    }
    for huge in pages {
        for case in ["memif", "memif-zero-copy", "vhost", "vhost-client"] {
            // Zero copy shares the pool itself, which ordinary pages can't be.
            if case != "memif-zero-copy" || huge == HugePages::Require {
                run(case, huge);
            }
        }
    }
}

fn run(case: &str, huge: HugePages) {
    let socket = std::env::temp_dir().join(format!("crore-two-{}-{case}.sock", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let spawn = |role: &str| -> Child {
        Command::new(std::env::current_exe().expect("this binary"))
            .args(["--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(CASE, case)
            .env(SOCKET, &socket)
            .env(HUGE, if huge == HugePages::Require { "1" } else { "0" })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this binary runs again")
    };
    let server = spawn("server");
    let client = spawn("client");
    let (server, client) = (server.wait_with_output(), client.wait_with_output());
    let _ = std::fs::remove_file(&socket);
    for (role, output) in [("server", server), ("client", client)] {
        let output = output.expect("the child can be waited for");
        assert!(
            output.status.success(),
            "{case} {huge:?} {role}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    println!("{case} with huge pages {huge:?}: {FRAMES} frames there and back");
}

fn wire(case: &str, role: &str) -> Wire {
    let socket = std::env::var(SOCKET).expect("told by the parent");
    let server = role == "server";
    match case {
        "memif" | "memif-zero-copy" => Wire::Memif {
            socket,
            role: if server {
                MemifRole::Server
            } else {
                MemifRole::Client
            },
            id: 0,
            zero_copy: case == "memif-zero-copy",
            mac: None,
        },
        "vhost" if server => Wire::Vhost {
            path: socket,
            queues: 1,
            client: false,
        },
        "vhost" => Wire::VirtioUser {
            path: socket,
            queues: 1,
            server: false,
            mac: None,
        },
        // The driver's side makes the socket, the device's side connects.
        _ if server => Wire::VirtioUser {
            path: socket,
            queues: 1,
            server: true,
            mac: None,
        },
        _ => Wire::Vhost {
            path: socket,
            queues: 1,
            client: true,
        },
    }
}

fn end(role: &str) {
    let case = std::env::var(CASE).expect("told by the parent");
    let huge = std::env::var(HUGE).is_ok_and(|huge| huge == "1");
    let wire = wire(&case, role);
    if role == "client" {
        // virtio_user looks for its peer's socket when EAL starts.
        let socket = std::env::var(SOCKET).expect("told by the parent");
        assert!(
            until(20, || std::path::Path::new(&socket).exists()),
            "the server makes its socket"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let vdev = wire.vdev(0).expect("good arguments").expect("a vdev");
    let name = vdev.name().to_owned();
    let eal = start(
        vec![vdev],
        if huge {
            HugePages::Require
        } else {
            HugePages::Never
        },
    )
    .expect("EAL starts");
    let pool = pool(&eal);
    let port = open(&eal, &name, &pool);
    assert!(port.wait_for_link(Duration::from_secs(20)), "the peer connects");
    println!("{role}: {:?} {:?}", port.offloads(), port.link());
    let mut nic = nic(&port);
    match role {
        "server" => echo(&mut nic),
        _ => ask(&mut nic),
    }
    println!("{role}: {:?}", port.stats());
    let gives_back = port.gives_back_all();
    assert_eq!(
        gives_back,
        !(case == "memif-zero-copy" && role == "client"),
        "only one end keeps some"
    );
    drop((nic, port));
    if gives_back {
        assert_eq!(pool.in_use(), 0, "{role}: every buffer came back");
    }
}

fn echo(nic: &mut crore_dpdk::PortNic) {
    let mut waiting: Vec<RxFrame> = Vec::new();
    let done = until(30, || {
        if waiting.is_empty() {
            waiting = receive(nic);
            waiting.reverse();
        }
        while let Some(frame) = waiting.last() {
            if !send(nic, &frame.data) {
                break;
            }
            let frame = waiting.pop();
            if frame.and_then(|frame| number(&frame.data)) == Some(GOODBYE) {
                return until(5, || nic.flush(now()) == 0);
            }
        }
        nic.flush(now());
        false
    });
    assert!(done, "the client said goodbye");
    // Not polling while the peer goes: memif frees under a poller's feet.
    std::thread::sleep(Duration::from_millis(500));
}

fn ask(nic: &mut crore_dpdk::PortNic) {
    let (mut next, mut expected) = (0, 0);
    let done = until(30, || {
        while next < FRAMES && next - expected < WINDOW && send(nic, &frame(next)) {
            next += 1;
        }
        nic.flush(now());
        for received in receive(nic) {
            assert_eq!(number(&received.data), Some(expected), "in order and whole");
            expected += 1;
        }
        expected == FRAMES
    });
    assert!(done, "{expected} of {FRAMES} came back");
    assert!(send(nic, &frame(GOODBYE)), "room for one frame");
    let done = until(10, || {
        nic.flush(now());
        receive(nic)
            .iter()
            .any(|received| number(&received.data) == Some(GOODBYE))
    });
    assert!(done, "the goodbye comes back");
}
