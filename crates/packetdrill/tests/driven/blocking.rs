//! Calls that block, in a thread of their own, while another moves time on.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crore_wire::Flags;

use crate::library::{Library, errno};
use crate::packets::{Says, expect, packet};
use crate::tool::{Tool, says};

const ACK: Flags = Flags::ACK;
const FLAGS: &str = "local=192.168.0.1,remote=192.0.2.1,gateway=192.168.0.2";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A thread in a call: what comes of it, and the time that it is told then.
struct Blocked<T> {
    thread: JoinHandle<(T, i64)>,
    id: Receiver<i32>,
}

impl<T: Send + 'static> Blocked<T> {
    fn call(library: Library, call: impl FnOnce(&Library) -> T + Send + 'static) -> Self {
        let (tell, id) = channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: asks for a number.
            tell.send(unsafe { libc::gettid() })
                .expect("somebody wants to know");
            let value = call(&library);
            (value, library.time())
        });
        Self { thread, id }
    }

    fn falls_asleep(&self) {
        falls_asleep(&self.id);
    }

    fn ends(self) -> (T, i64) {
        self.thread.join().expect("it returns")
    }

    fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Waits until the thread that says who it is sleeps, in the way in which the
/// tool finds out.
fn falls_asleep(id: &Receiver<i32>) {
    let id = id.recv().expect("it says who it is");
    let stat = format!("/proc/self/task/{id}/stat");
    for _ in 0..2_000 {
        let text = std::fs::read_to_string(&stat).expect("it lives");
        let state = text.rsplit(')').next().unwrap_or_default();
        if state.trim_start().starts_with('S') {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it does not sleep");
}

fn listening(library: &Library) -> (i32, SocketAddr, SocketAddr) {
    let (local, remote) = (addr("192.168.0.1:8080"), addr("192.0.2.1:5000"));
    let fd = library.socket(libc::AF_INET, 0);
    assert_eq!(library.bind(fd, local), 0, "bound");
    assert_eq!(library.listen(fd, 1), 0, "listening");
    (fd, local, remote)
}

/// The peer's part of a handshake; the host's next number.
fn shake(library: &Library, local: SocketAddr, remote: SocketAddr) -> u32 {
    let says = |flags, seq, ack| Says {
        flags,
        seq,
        ack,
        payload: b"",
    };
    library.inject(&packet(remote, local, says(Flags::SYN, 0, 0)));
    let (answer, ..) = expect(library, Flags::SYN | ACK);
    let next = answer.seq.0.wrapping_add(1);
    library.sleep(100_000);
    library.inject(&packet(remote, local, says(ACK, 1, next)));
    next
}

#[test]
fn accept_and_read_block_until_virtual_time_brings_what_they_want() {
    let library = Library::start(FLAGS);
    let (fd, local, remote) = listening(&library);
    let start = library.time();
    let accepts = Blocked::call(library, move |library| library.accept(fd).0);
    accepts.falls_asleep();
    library.sleep(200_000);
    assert!(!accepts.is_over(), "time alone does not bring anybody");
    let next = shake(&library, local, remote);
    // The other thread runs when it does; time goes on meanwhile.
    library.sleep(5_000_000);
    let (new, at) = accepts.ends();
    assert!(new > fd, "accepted");
    let after = at - start;
    assert!(
        (300_000..=300_100).contains(&after),
        "{after} us: at the handshake's end, not later"
    );
    let reads = Blocked::call(library, move |library| library.read(new, 100));
    reads.falls_asleep();
    library.sleep(50_000);
    let sent_at = library.time();
    let says = Says {
        flags: ACK | Flags::PSH,
        seq: 1,
        ack: next,
        payload: b"hello",
    };
    library.inject(&packet(remote, local, says));
    expect(&library, ACK);
    let (bytes, at) = reads.ends();
    assert_eq!(bytes, Ok(b"hello".to_vec()), "received");
    assert!((at - sent_at).abs() <= 5, "{} us: when it came", at - sent_at);
    library.free();
}

#[test]
fn connect_blocks_until_it_is_answered_or_given_up() {
    let library = Library::start(FLAGS);
    let remote = addr("192.0.2.1:80");
    let fd = library.socket(libc::AF_INET, 0);
    let connects = Blocked::call(library, move |library| library.connect(fd, remote));
    connects.falls_asleep();
    let (syn, ..) = expect(&library, Flags::SYN);
    library.sleep(20_000);
    let says = Says {
        flags: Flags::SYN | ACK,
        seq: 0,
        ack: syn.seq.0.wrapping_add(1),
        payload: b"",
    };
    library.inject(&packet(
        remote,
        addr(&format!("192.168.0.1:{}", syn.src_port)),
        says,
    ));
    expect(&library, ACK);
    assert_eq!(connects.ends().0, 0, "connected");
    let fd = library.socket(libc::AF_INET, 0);
    assert_eq!(
        library.set(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1),
        0,
        "impatient"
    );
    let start = library.time();
    let connects = Blocked::call(library, move |library| (library.connect(fd, remote), errno()));
    connects.falls_asleep();
    expect(&library, Flags::SYN);
    expect(&library, Flags::SYN);
    assert!(library.sniff().is_none(), "that was all");
    let (outcome, at) = connects.ends();
    assert_eq!(outcome, (-1, libc::ETIMEDOUT), "given up");
    let after = (at - start) / 1_000;
    assert!((3_000..3_010).contains(&after), "{after} ms: one second, and two");
    library.free();
}

#[test]
fn write_blocks_while_there_is_no_room() {
    let library = Library::start(FLAGS);
    let (fd, local, remote) = listening(&library);
    let next = shake(&library, local, remote);
    let (new, _) = library.accept(fd);
    assert_eq!(
        library.set(new, libc::SOL_SOCKET, libc::SO_SNDBUF, 4_000),
        0,
        "little room"
    );
    let writes = Blocked::call(library, move |library| library.write(new, &[1; 40_000]));
    writes.falls_asleep();
    let mut acked = next;
    while acked != next + 40_000 {
        let (data, payload, _) = expect_data(&library);
        acked = data + payload;
        let says = Says {
            flags: ACK,
            seq: 1,
            ack: acked,
            payload: b"",
        };
        library.inject(&packet(remote, local, says));
    }
    assert_eq!(writes.ends().0, 40_000, "all of it");
    library.free();
}

/// Number and length of the next packet, whatever its flags.
fn expect_data(library: &Library) -> (u32, u32, i64) {
    let (packet, time) = library.sniff().expect("a packet");
    let header = usize::from(packet[32] >> 4) * 4;
    let seq = u32::from_be_bytes(packet[24..28].try_into().expect("four bytes"));
    (seq, (packet.len() - 20 - header) as u32, time)
}

#[test]
fn a_call_with_a_time_out_takes_it_when_nobody_else_moves_time() {
    let library = Library::start(FLAGS);
    let (fd, ..) = listening(&library);
    let start = library.time();
    assert_eq!(library.poll(fd, libc::POLLIN, 250), (0, 0), "nobody came");
    let after = library.time() - start;
    assert!((250_000..=250_010).contains(&after), "{after} us");
    library.free();
}

#[test]
fn the_end_wakes_those_who_sleep() {
    let library = Library::start(FLAGS);
    let (fd, ..) = listening(&library);
    let (tell, id) = channel();
    let accepts = std::thread::spawn(move || {
        // SAFETY: asks for a number.
        tell.send(unsafe { libc::gettid() })
            .expect("somebody wants to know");
        let outcome = library.accept(fd).0;
        (outcome, errno())
    });
    falls_asleep(&id);
    library.free();
    assert_eq!(accepts.join().expect("it returns"), (-1, libc::EINTR), "given up");
}

/// As in a script: `+0...0.200 accept(3, ..., ...) = 4` and what follows from it,
/// gone through in the tool's own way, so often that a race would show.
#[test]
fn scripts_with_blocking_calls_run_in_the_tools_own_way() {
    for _ in 0..25 {
        let library = Library::start(FLAGS);
        let (local, remote) = (addr("192.168.0.1:8080"), addr("192.0.2.1:5000"));
        let tool = Tool::start(library);
        let fd = tool.call(0, |library| library.socket(libc::AF_INET, 0));
        tool.call(0, |library| {
            assert_eq!(library.bind(fd, local), 0, "bound");
            assert_eq!(library.listen(fd, 1), 0, "listening");
        });
        // The next descriptor is not known before; the tool maps it.
        let (tell, told) = channel();
        tool.blocks(0, 200_000, 0, move |library| {
            let new = library.accept(fd).0;
            tell.send(new).expect("somebody wants to know");
            i64::from(new < 0)
        });
        tool.inject(100_000, &packet(remote, local, says(Flags::SYN, 0, 0, b"")));
        let (answer, _) = tool.expect(100_000, Flags::SYN | ACK);
        let next = answer.seq.0.wrapping_add(1);
        tool.inject(200_000, &packet(remote, local, says(ACK, 1, next, b"")));
        let new = told.recv().expect("accepted");
        // It waits for its time in the second thread, then blocks, then is done.
        tool.blocks(300_000, 500_000, 5, move |library| {
            library.read(new, 100).map_or(-1, |bytes| bytes.len() as i64)
        });
        tool.inject(
            500_000,
            &packet(remote, local, says(ACK | Flags::PSH, 1, next, b"12345")),
        );
        tool.expect(500_000, ACK);
        // Its time is up while the main thread waits for a packet's.
        tool.blocks(700_000, 900_000, 0, move |library| {
            i64::from(library.poll(new, libc::POLLIN, 200).0)
        });
        tool.inject(950_000, &packet(remote, local, says(ACK, 6, next, b"")));
        let written = tool.call(950_000, |library| library.write(new, b"reply"));
        assert_eq!(written, 5, "written");
        tool.expect(950_000, ACK | Flags::PSH);
        tool.ends();
    }
}
