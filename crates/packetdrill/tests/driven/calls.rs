//! Calls that don't block.

use std::net::SocketAddr;

use crore_wire::Flags;

use crate::library::{Library, errno};
use crate::packets::{Says, expect, packet};

const ACK: Flags = Flags::ACK;
const FLAGS: &str = "local=192.168.0.1,remote=192.0.2.1,gateway=192.168.0.2";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// An active open to the end: the descriptor, both ends, and our next number.
fn connected(library: &Library) -> (i32, SocketAddr, SocketAddr, u32) {
    let remote = addr("192.0.2.1:80");
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    assert!(fd > 2, "a descriptor of the process");
    assert_eq!(
        (library.connect(fd, remote), errno()),
        (-1, libc::EINPROGRESS),
        "begun"
    );
    let (syn, ..) = expect(library, Flags::SYN);
    let local = addr(&format!("192.168.0.1:{}", syn.src_port));
    let next = syn.seq.0.wrapping_add(1);
    library.sleep(100_000);
    let says = Says {
        flags: Flags::SYN | ACK,
        seq: 0,
        ack: next,
        payload: b"",
    };
    library.inject(&packet(remote, local, says));
    expect(library, ACK);
    (fd, local, remote, next)
}

#[test]
fn an_active_open_carries_data_both_ways() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    assert_eq!(library.error(fd), 0, "no error");
    let info = library
        .option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 248)
        .expect("it is TCP");
    assert_eq!((info.len(), info[0]), (248, 1), "established");
    let rtt = u32::from_ne_bytes(info[68..72].try_into().expect("four bytes"));
    assert!((99_000..=101_000).contains(&rtt), "{rtt} us is the round trip");
    assert_eq!(library.write(fd, b"GET /"), 5, "written");
    let (data, payload, _) = expect(&library, ACK | Flags::PSH);
    assert_eq!((data.seq.0, &payload[..]), (next, &b"GET /"[..]), "sent");
    let mut queued = 0;
    assert_eq!(library.ioctl(fd, libc::TIOCOUTQ, &mut queued), 0, "asked");
    assert_eq!(queued, 5, "not acknowledged yet");
    let says = Says {
        flags: ACK | Flags::PSH,
        seq: 1,
        ack: next + 5,
        payload: b"200 OK",
    };
    library.inject(&packet(remote, local, says));
    expect(&library, ACK);
    assert_eq!(library.ioctl(fd, libc::TIOCOUTQ, &mut queued), 0, "asked");
    assert_eq!(queued, 0, "acknowledged");
    assert_eq!(
        library.recv(fd, 3, libc::MSG_PEEK),
        Ok(b"200".to_vec()),
        "looked at"
    );
    assert_eq!(library.read(fd, 100), Ok(b"200 OK".to_vec()), "received");
    assert_eq!(library.read(fd, 100), Err(libc::EAGAIN), "no more");
    let short = library
        .option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 104)
        .expect("an old program");
    assert_eq!(short.len(), 104, "as much as there is room");
    assert_eq!(library.shutdown(fd, libc::SHUT_WR), 0, "finished");
    expect(&library, ACK | Flags::FIN);
    assert_eq!(
        (library.write(fd, b"x"), errno()),
        (-1, libc::EPIPE),
        "and no signal"
    );
    library.free();
}

#[test]
fn vectors_and_messages_are_put_together_and_taken_apart() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    let table = library.table;
    let (mut one, mut two) = (*b"ab", *b"cde");
    let piece = |at: *mut u8, len| libc::iovec {
        iov_base: at.cast(),
        iov_len: len,
    };
    let mut pieces = [piece(one.as_mut_ptr(), 2), piece(two.as_mut_ptr(), 3)];
    // SAFETY: two pieces of so many bytes.
    let sent = unsafe { (table.writev)(table.userdata, fd, pieces.as_ptr(), 2) };
    assert_eq!(sent, 5, "both");
    let (_, payload, _) = expect(&library, ACK | Flags::PSH);
    assert_eq!(payload, b"abcde", "in their order");
    let says = Says {
        flags: ACK,
        seq: 1,
        ack: next + 5,
        payload: b"12345",
    };
    library.inject(&packet(remote, local, says));
    expect(&library, ACK);
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = 2;
    message.msg_controllen = 7;
    // SAFETY: two pieces with room for so many bytes; nothing else is pointed to.
    let got = unsafe { (table.recvmsg)(table.userdata, fd, &mut message, 0) };
    assert_eq!((got, one, two), (5, *b"12", *b"345"), "one after the other");
    assert_eq!(
        (message.msg_controllen, message.msg_flags),
        (0, 0),
        "nothing else"
    );
    library.free();
}

#[test]
fn fcntl_and_ioctl_have_their_one_argument() {
    let library = Library::start(FLAGS);
    let fd = library.socket(libc::AF_INET, 0);
    assert_eq!(library.fcntl(fd, libc::F_GETFL, 0), libc::O_RDWR, "it blocks");
    assert_eq!(
        library.fcntl(fd, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK),
        0,
        "told"
    );
    assert_eq!(
        library.fcntl(fd, libc::F_GETFL, 0),
        libc::O_RDWR | libc::O_NONBLOCK,
        "it does not"
    );
    assert_eq!(library.ioctl(fd, libc::FIONBIO, &mut 0), 0, "told");
    assert_eq!(
        library.fcntl(fd, libc::F_GETFL, 0),
        libc::O_RDWR,
        "it blocks again"
    );
    library.free();
}

#[test]
fn errors_are_those_of_linux() {
    let library = Library::start(FLAGS);
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    let fails = |value: i32, wanted: i32, what: &str| {
        assert_eq!((value, errno()), (-1, wanted), "{what}");
    };
    fails(
        library.socket(libc::AF_UNIX, 0),
        libc::EAFNOSUPPORT,
        "another family",
    );
    fails(
        library.bind(fd, addr("10.0.0.1:80")),
        libc::EADDRNOTAVAIL,
        "not ours",
    );
    fails(
        library.bind(fd, addr("[::1]:80")),
        libc::EAFNOSUPPORT,
        "another family",
    );
    fails(library.listen(1_000, 1), libc::EBADF, "no descriptor");
    fails(library.close(1_000), libc::EBADF, "no descriptor");
    fails(library.accept(fd).0, libc::EINVAL, "it does not listen");
    fails(
        library.shutdown(fd, libc::SHUT_WR),
        libc::ENOTCONN,
        "nobody there",
    );
    assert_eq!(library.read(fd, 1), Err(libc::ENOTCONN), "nobody there");
    assert_eq!(
        library.option(fd, 12_345, 1, 4),
        Err(libc::ENOPROTOOPT),
        "no such option"
    );
    assert_eq!(library.bind(fd, addr("192.168.0.1:80")), 0, "bound");
    assert_eq!(library.listen(fd, 5), 0, "listening");
    fails(library.accept(fd).0, libc::EAGAIN, "nobody came");
    fails(
        library.connect(fd, addr("192.0.2.1:80")),
        libc::EISCONN,
        "it listens",
    );
    let other = library.socket(libc::AF_INET, 0);
    fails(
        library.bind(other, addr("192.168.0.1:80")),
        libc::EADDRINUSE,
        "taken",
    );
    let table = library.table;
    // SAFETY: an address that is too short, and one that is not there.
    unsafe {
        let short = [libc::AF_INET as u8, 0, 0];
        let bound = (table.bind)(table.userdata, other, short.as_ptr().cast(), 3);
        fails(bound, libc::EINVAL, "cut short");
        let bound = (table.bind)(table.userdata, other, std::ptr::null(), 16);
        fails(bound, libc::EFAULT, "nowhere");
    }
    library.free();
}

#[test]
fn a_refusal_a_reset_and_a_time_out_are_told() {
    let library = Library::start(FLAGS);
    let remote = addr("192.0.2.1:81");
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    assert_eq!(library.connect(fd, remote), -1, "begun");
    let (syn, ..) = expect(&library, Flags::SYN);
    let local = addr(&format!("192.168.0.1:{}", syn.src_port));
    let says = Says {
        flags: Flags::RST | ACK,
        seq: 0,
        ack: syn.seq.0.wrapping_add(1),
        payload: b"",
    };
    library.inject(&packet(remote, local, says));
    assert_eq!(library.error(fd), libc::ECONNREFUSED, "refused");
    let (fd, local, remote, _) = connected(&library);
    let says = Says {
        flags: Flags::RST,
        seq: 1,
        ack: 0,
        payload: b"",
    };
    library.inject(&packet(remote, local, says));
    assert_eq!(library.read(fd, 1), Err(libc::ECONNRESET), "reset");
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    assert_eq!(
        library.set(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1),
        0,
        "impatient"
    );
    assert_eq!(library.connect(fd, remote), -1, "begun");
    expect(&library, Flags::SYN);
    expect(&library, Flags::SYN);
    library.sleep(10_000_000);
    assert_eq!(library.error(fd), libc::ETIMEDOUT, "given up");
    library.free();
}

#[test]
fn the_clock_ticks_and_packets_have_their_times() {
    let library = Library::start(FLAGS);
    let start = library.time();
    let ticks: Vec<i64> = (0..5).map(|_| library.time() - start).collect();
    assert_eq!(ticks, [1, 2, 3, 4, 5], "a microsecond each");
    library.sleep(1_000_000);
    assert_eq!(library.time() - start, 1_000_006, "as long as was slept");
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    assert_eq!(library.connect(fd, addr("192.0.2.1:80")), -1, "begun");
    let began = library.time();
    let (.., first) = expect(&library, Flags::SYN);
    assert!((began - first).abs() <= 2, "it left when connect was called");
    let (.., second) = expect(&library, Flags::SYN);
    let apart = second - first;
    assert!(
        (1_000_000..=1_002_000).contains(&apart),
        "{apart} us, a time-out later"
    );
    assert!(library.time() >= second, "for which time went on");
    library.free();
}

#[test]
fn a_packet_that_does_not_come_is_told_by_its_length() {
    let library = Library::start(FLAGS);
    assert!(library.sniff().is_none(), "nobody has anything to send");
    let (_, _, _, _) = connected(&library);
    assert!(library.sniff().is_none(), "nor a connection that rests");
    library.free();
}

#[test]
fn poll_and_epoll_say_what_is_true() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    let both = libc::POLLIN | libc::POLLOUT;
    assert_eq!(library.poll(fd, both, 0), (1, libc::POLLOUT), "writable");
    assert_eq!(library.poll(1_000, both, 0), (1, libc::POLLNVAL), "no descriptor");
    assert_eq!(library.poll(-1, both, 0), (0, 0), "left out");
    let table = library.table;
    // SAFETY: a number; then room for the events.
    let (epoll, mut event) = unsafe {
        let epoll = (table.epoll_create)(table.userdata, 1);
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
            u64: 0x1234_5678_9abc_def0,
        };
        let added = (table.epoll_ctl)(table.userdata, epoll, libc::EPOLL_CTL_ADD, fd, &mut event);
        assert_eq!(added, 0, "watched");
        (epoll, event)
    };
    let mut wait = |timeout| {
        // SAFETY: room for one event.
        let count = unsafe { (table.epoll_wait)(table.userdata, epoll, &mut event, 1, timeout) };
        let (events, data) = (event.events, event.u64);
        (count, events, data)
    };
    assert_eq!(wait(0).0, 0, "nothing yet");
    let says = Says {
        flags: ACK | Flags::FIN,
        seq: 1,
        ack: next,
        payload: b"bye",
    };
    library.inject(&packet(remote, local, says));
    let wanted = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
    assert_eq!(wait(0), (1, wanted, 0x1234_5678_9abc_def0), "both, and the word");
    library.free();
}

#[test]
fn ipv6_works_alike() {
    let library =
        Library::start("local=fd3d:fa7b:d17d::1,remote=fd3d:fa7b:d17d::2,gateway=fd3d:fa7b:d17d::3");
    let (local, remote) = (addr("[fd3d:fa7b:d17d::1]:8080"), addr("[fd3d:fa7b:d17d::2]:5000"));
    let listener = library.socket(libc::AF_INET6, libc::SOCK_NONBLOCK);
    assert_eq!(library.bind(listener, local), 0, "bound");
    assert_eq!(library.listen(listener, 1), 0, "listening");
    let mut says = Says {
        flags: Flags::SYN,
        seq: 0,
        ack: 0,
        payload: b"",
    };
    library.inject(&packet(remote, local, says));
    let (answer, ..) = expect(&library, Flags::SYN | ACK);
    says = Says {
        flags: ACK,
        seq: 1,
        ack: answer.seq.0.wrapping_add(1),
        payload: b"",
    };
    library.inject(&packet(remote, local, says));
    let (fd, who) = library.accept(listener);
    assert!(fd > listener, "accepted");
    let SocketAddr::V6(wanted) = remote else {
        unreachable!()
    };
    assert_eq!(who.len(), 28, "struct sockaddr_in6");
    assert_eq!(who[2..4], wanted.port().to_be_bytes(), "its port");
    assert_eq!(who[8..24], wanted.ip().octets(), "its address");
    library.free();
}

#[test]
fn a_pipe_takes_what_is_spliced_from_a_socket() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    let table = library.table;
    let mut ends = [0; 2];
    // SAFETY: room for two.
    let made = unsafe { (table.pipe)(table.userdata, ends.as_mut_ptr()) };
    assert_eq!(made, 0, "a pipe");
    let says = Says {
        flags: ACK,
        seq: 1,
        ack: next,
        payload: b"through",
    };
    library.inject(&packet(remote, local, says));
    expect(&library, ACK);
    let mut zero = 0;
    // SAFETY: offsets that may be read; the tool hands them over alike.
    let moved = unsafe {
        (table.splice)(
            table.userdata,
            fd,
            &mut zero,
            ends[1],
            std::ptr::null_mut(),
            100,
            0,
        )
    };
    assert_eq!(moved, 7, "all there was");
    assert_eq!(
        library.read(ends[0], 100),
        Ok(b"through".to_vec()),
        "through the pipe"
    );
    library.free();
}

#[test]
fn data_goes_with_the_syn_where_it_is_asked_for() {
    let remote = addr("192.0.2.1:80");
    let begun = |knobs: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), knobs).expect("written");
        let library = Library::start(&format!("{FLAGS},knobs={}", file.path().display()));
        let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
        (library, fd)
    };
    let send = |library: &Library, fd| {
        let sent = library.sendto(fd, b"hello", libc::MSG_FASTOPEN, remote);
        if sent < 0 { Err(errno()) } else { Ok(sent) }
    };
    // Without a cookie it is asked for.
    let (library, fd) = begun("");
    assert_eq!(
        send(&library, fd),
        Err(libc::EINPROGRESS),
        "under way, without data"
    );
    let (syn, payload, _) = expect(&library, Flags::SYN);
    assert!(
        syn.options.fast_open.is_some_and(|cookie| cookie.is_request()),
        "it asks"
    );
    assert_eq!(payload, b"", "without data");
    assert_eq!(send(&library, fd), Err(libc::EALREADY), "it is under way");
    library.free();
    // Where none is needed the data goes.
    let (library, fd) = begun("fast_open = 5");
    assert_eq!(send(&library, fd), Ok(5), "sent");
    let (syn, payload, _) = expect(&library, Flags::SYN);
    assert_eq!(
        (syn.options.fast_open, &payload[..]),
        (None, &b"hello"[..]),
        "at once"
    );
    library.free();
    // And where nobody may use it, the program is told.
    let (library, fd) = begun("fast_open = 0");
    assert_eq!(send(&library, fd), Err(libc::EOPNOTSUPP), "refused");
    library.free();
}

#[test]
fn knobs_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "syn_option_order = \"freebsd\"\nwindow_scale = 6\n").expect("written");
    let flags = format!("{FLAGS},knobs={}", file.path().display());
    let library = Library::start(&flags);
    let fd = library.socket(libc::AF_INET, libc::SOCK_NONBLOCK);
    assert_eq!(library.connect(fd, addr("192.0.2.1:80")), -1, "begun");
    let (syn, _) = library.sniff().expect("a SYN");
    assert_eq!(
        syn[40..48],
        [2, 4, 5, 180, 1, 3, 3, 6],
        "MSS, and then the scale that was chosen"
    );
    library.free();
    std::fs::write(file.path(), "syn_option_odor = \"freebsd\"\n").expect("written");
    let library = Library::start(&flags);
    assert_eq!(
        (library.socket(libc::AF_INET, 0), errno()),
        (-1, libc::ENODEV),
        "no host without good knobs"
    );
    assert!(
        library.sniff().is_none(),
        "and no packets, which ends the tool's wait"
    );
    library.free();
}

#[test]
fn the_end_leaves_no_descriptor_behind() {
    let is_open = |fd: i32| {
        // SAFETY: asks about a number.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    };
    let library = Library::start(FLAGS);
    let (fd, ..) = connected(&library);
    let listener = library.socket(libc::AF_INET, 0);
    let closed = library.socket(libc::AF_INET, 0);
    assert!(is_open(fd) && is_open(listener) && is_open(closed), "real ones");
    assert_eq!(library.close(closed), 0, "closed");
    assert!(!is_open(closed), "really");
    // The tool closes what is left with libc, then frees.
    // SAFETY: it is open, and nobody else's.
    assert_eq!(unsafe { libc::close(listener) }, 0, "behind its back");
    library.free();
    assert!(!is_open(fd), "the rest is closed at the end");
}

#[test]
fn a_buffer_that_is_not_there_takes_nothing() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    let table = library.table;
    let nowhere = std::ptr::null_mut();
    // SAFETY: null, of which the calls must not make more than an error.
    let (wrote, read) = unsafe {
        let wrote = (table.write)(table.userdata, fd, nowhere, 10);
        let wrote = (wrote, errno());
        let says = Says {
            flags: ACK,
            seq: 1,
            ack: next,
            payload: b"still here",
        };
        library.inject(&packet(remote, local, says));
        let read = (table.read)(table.userdata, fd, nowhere, 10);
        (wrote, (read, errno()))
    };
    assert_eq!((wrote, read), ((-1, libc::EFAULT), (-1, libc::EFAULT)), "both");
    assert_eq!(
        library.read(fd, 100),
        Ok(b"still here".to_vec()),
        "nothing is lost"
    );
    library.free();
}

#[test]
fn what_is_left_comes_as_a_control_message() {
    let library = Library::start(FLAGS);
    let (fd, local, remote, next) = connected(&library);
    assert_eq!(library.set(fd, libc::IPPROTO_TCP, libc::TCP_INQ, 1), 0, "asked");
    let says = Says {
        flags: ACK,
        seq: 1,
        ack: next,
        payload: b"0123456789",
    };
    library.inject(&packet(remote, local, says));
    let (mut bytes, mut control) = ([0u8; 4], [0u64; 8]);
    let mut piece = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let table = library.table;
    // SAFETY: one piece, and room for control messages, aligned as they must be.
    let (got, level, kind, left) = unsafe {
        let got = (table.recvmsg)(table.userdata, fd, &mut message, 0);
        let first = libc::CMSG_FIRSTHDR(&message);
        assert!(!first.is_null(), "there is one");
        let left = libc::CMSG_DATA(first).cast::<i32>().read_unaligned();
        (got, (*first).cmsg_level, (*first).cmsg_type, left)
    };
    assert_eq!((got, &bytes), (4, b"0123"), "received");
    assert_eq!(
        (level, kind, left),
        (libc::IPPROTO_TCP, 36, 6),
        "TCP_CM_INQ: six more"
    );
    library.free();
}
