//! Frames between two processes over memif and over vhost/virtio_user, on huge
//! pages and on ordinary ones: each frame is echoed and checked, and at the end
//! both processes have all their buffers back.
//!
//! Both ends are this binary again, told by environment variables what to be.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{frame, nic, now, number, open, pool, receive, send, skipped, start, until};
use crore_base::RxChecksum;
use crore_dpdk::{FreeHugePages, HugePages, MemifRole, Wire};
use crore_nic::{Nic, RxFrame, TxMeta};

const ROLE: &str = "CRORE_TEST_ROLE";
const CASE: &str = "CRORE_TEST_CASE";
const SOCKET: &str = "CRORE_TEST_SOCKET";
const HUGE: &str = "CRORE_TEST_HUGE";
const FRAMES: u32 = 20_000;
const WINDOW: u32 = 64;
/// The echo's number of the last frame; no other frame has it.
const GOODBYE: u32 = u32::MAX;
/// The extension of the file by which that peer says that it is in full flow.
const BABBLES: &str = "babbles";
/// The number of every frame of a peer that gets killed.
const VICTIMS: u32 = u32::MAX - 1;

#[test]
fn every_frame_comes_back_and_every_buffer_too() {
    if let Ok(role) = std::env::var(ROLE) {
        return end(&role);
    }
    let mut pages = vec![HugePages::Never];
    if FreeHugePages::read().mib >= 2 * 96 {
        pages.push(HugePages::Require);
    } else {
        skipped("huge pages: fewer than 192 MiB are free");
    }
    for huge in pages {
        run("vhost-killed", huge);
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
    if case.ends_with("-killed") {
        let mut victim = spawn("victim");
        let babbles = socket.with_extension(BABBLES);
        assert!(until(20, || babbles.exists()), "the victim gets frames back");
        let _ = std::fs::remove_file(babbles);
        victim.kill().expect("a child can be killed");
        victim.wait().expect("and waited for");
    }
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
            max_frame: 1518,
            mac: None,
        },
        "vhost" | "vhost-killed" if server => Wire::Vhost {
            path: socket,
            queues: 1,
            client: false,
            tso: false,
        },
        "vhost" | "vhost-killed" => Wire::VirtioUser {
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
            tso: false,
        },
    }
}

fn end(role: &str) {
    let case = std::env::var(CASE).expect("told by the parent");
    let huge = std::env::var(HUGE).is_ok_and(|huge| huge == "1");
    let wire = wire(&case, role);
    if role != "server" {
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
        "victim" => babble(&mut nic),
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
            if frame.data[12..14] == [8, 0] {
                check_segment(frame);
                waiting.pop();
                segment(nic);
                continue;
            }
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

const PSEUDO_HEADER_SUM: [u8; 2] = [0x14, 0x21];
const CHECKSUM: [u8; 2] = [0xa3, 0x38];

/// A checksum that was left to a port is right when it arrives, or the other port
/// says that it was left out.
fn check_segment(frame: &RxFrame) {
    let sum = &frame.data[50..52];
    assert!(
        sum == CHECKSUM || (sum == PSEUDO_HEADER_SUM && frame.checksum == RxChecksum::Partial),
        "checksum {sum:02x?} with the verdict {:?}",
        frame.checksum
    );
}

/// A TCP segment whose checksum is left to the port, if it takes that over.
fn segment(nic: &mut crore_dpdk::PortNic) {
    #[rustfmt::skip]
    let bytes: [u8; 58] = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0x26, 0xca, 10, 0, 0, 1, 10, 0, 0, 2,
        0, 80, 0x1f, 0x90, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
        b'd', b'a', b't', b'a',
    ];
    let offload_checksum = nic.capabilities().tx_tcp_checksum;
    // What was meant for a peer that is gone may be kept in front of it.
    let there_is_room = until(10, || nic.flush(now()) == 0);
    assert!(there_is_room, "the ring takes what was kept");
    let room = nic.reserve(bytes.len()).expect("room for one frame");
    room[..bytes.len()].copy_from_slice(&bytes);
    room[50..52].copy_from_slice(if offload_checksum {
        &PSEUDO_HEADER_SUM
    } else {
        &CHECKSUM
    });
    let meta = TxMeta {
        l2_len: 14,
        l3_len: 20,
        l4_len: 20,
        ipv6: false,
        offload_checksum,
        segment_len: 0,
    };
    nic.commit(bytes.len(), meta);
    nic.flush(now());
}

/// Sends and receives until it is killed.
fn babble(nic: &mut crore_dpdk::PortNic) {
    let mut back = 0;
    until(30, || {
        while send(nic, &frame(VICTIMS)) {}
        nic.flush(now());
        let before = back;
        back += receive(nic).len();
        if before < 10_000 && back >= 10_000 {
            let socket = std::env::var(SOCKET).expect("told by the parent");
            let babbles = std::path::Path::new(&socket).with_extension(BABBLES);
            std::fs::write(babbles, "").expect("a file beside the socket");
        }
        false
    });
}

fn ask(nic: &mut crore_dpdk::PortNic) {
    segment(nic);
    let (mut next, mut expected, mut segments) = (0, 0, 0);
    let done = until(30, || {
        while next < FRAMES && next - expected < WINDOW && send(nic, &frame(next)) {
            next += 1;
        }
        nic.flush(now());
        for received in receive(nic) {
            if received.data[12..14] == [8, 0] {
                check_segment(&received);
                segments += 1;
                continue;
            }
            if number(&received.data) == Some(VICTIMS) {
                continue;
            }
            assert_eq!(number(&received.data), Some(expected), "in order and whole");
            expected += 1;
        }
        expected == FRAMES && segments == 1
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
