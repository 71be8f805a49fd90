//! Calls that don't wait, and their errors.

use crore_base::{Duration, SeqNum};
use crore_sim::posix::{Address, Call, Errno, Knobs, Output};
use crore_wire::Flags;

use crate::peer::Net;

const ACK: Flags = Flags::ACK;

fn err<T>(errno: i32) -> Result<T, Errno> {
    Err(Errno(errno))
}

#[test]
fn an_active_open_goes_through_its_errors() {
    let mut net = Net::new();
    let fd = net.socket(libc::SOCK_NONBLOCK);
    assert_eq!(fd, 3, "the lowest that is free");
    let address = Address::Ip(net.remote);
    let connect = Call::Connect { fd, address };
    assert_eq!(net.value(connect.clone()), err(libc::EINPROGRESS), "begun");
    assert_eq!(net.value(connect.clone()), err(libc::EALREADY), "still at it");
    assert_eq!(net.receive(fd, 1, 0), err(libc::EAGAIN), "nothing yet");
    assert_eq!(net.write(fd, b"x", 0), err(libc::EAGAIN), "not yet");
    assert_eq!(net.ready(fd), 0, "nothing to be done");
    let syn = net.expect(Flags::SYN);
    let next = syn.segment.seq.0.wrapping_add(1);
    net.local.set_port(syn.segment.src_port);
    net.send(Flags::SYN | ACK, 0, next, b"");
    net.expect(ACK);
    assert_eq!(net.ready(fd), libc::POLLOUT, "it can be written");
    assert_eq!(
        net.value(connect.clone()),
        Ok(0),
        "and is told once that it is connected"
    );
    assert_eq!(net.value(connect), err(libc::EISCONN), "not twice");
    assert_eq!(
        net.option(fd, libc::SOL_SOCKET, libc::SO_ERROR),
        Ok(0),
        "no error"
    );
    assert_eq!(net.write(fd, b"hello", 0), Ok(5), "written");
    let data = net.expect(ACK | Flags::PSH);
    assert_eq!(data.payload, b"hello", "sent");
}

#[test]
fn a_refused_open_says_so_once() {
    let mut net = Net::new();
    let fd = net.socket(libc::SOCK_NONBLOCK);
    let address = Address::Ip(net.remote);
    let _ = net.value(Call::Connect { fd, address });
    let syn = net.expect(Flags::SYN);
    net.local.set_port(syn.segment.src_port);
    net.send(Flags::RST | ACK, 0, syn.segment.seq.0.wrapping_add(1), b"");
    let ready = net.ready(fd);
    assert_ne!(ready & libc::POLLERR, 0, "{ready:x}: an error");
    assert_ne!(ready & libc::POLLHUP, 0, "{ready:x}: nobody there");
    assert_eq!(
        net.option(fd, libc::SOL_SOCKET, libc::SO_ERROR),
        Ok(libc::ECONNREFUSED),
        "told"
    );
    assert_eq!(net.option(fd, libc::SOL_SOCKET, libc::SO_ERROR), Ok(0), "once");
    assert_eq!(net.write(fd, b"x", 0), err(libc::EPIPE), "nobody to write to");
}

#[test]
fn a_passive_open_is_accepted_read_and_closed() {
    let mut net = Net::new();
    let (listener, fd, next, peer) = net.accepted();
    assert_eq!((listener, fd), (3, 4), "numbers in their order");
    net.send(ACK | Flags::PSH, peer, next, b"request");
    net.expect(ACK);
    assert_eq!(
        net.receive(fd, 3, libc::MSG_PEEK),
        Ok(b"req".to_vec()),
        "looked at"
    );
    assert_eq!(net.receive(fd, 3, 0), Ok(b"req".to_vec()), "taken in part");
    let waiting = net.call(Call::Ioctl {
        fd,
        request: libc::FIONREAD,
        value: 0,
    });
    assert_eq!(waiting.output, Output::Int(4), "the rest waits");
    assert_eq!(net.receive(fd, 100, 0), Ok(b"uest".to_vec()), "taken");
    assert_eq!(
        net.receive(fd, 100, libc::MSG_DONTWAIT),
        err(libc::EAGAIN),
        "no more"
    );
    net.send(ACK | Flags::FIN, peer + 7, next, b"");
    net.expect(ACK);
    assert_eq!(net.receive(fd, 100, 0), Ok(Vec::new()), "the end");
    assert_eq!(
        net.ready(fd),
        libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP,
        "half of it is over"
    );
    assert_eq!(net.value(Call::Close { fd }), Ok(0), "closed");
    net.expect(ACK | Flags::FIN);
    assert_eq!(net.value(Call::Close { fd }), err(libc::EBADF), "once");
}

#[test]
fn a_reset_is_told_to_whoever_reads_first() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    net.send(Flags::RST, peer, 0, b"");
    assert_eq!(net.receive(fd, 10, 0), err(libc::ECONNRESET), "told");
    assert_eq!(net.receive(fd, 10, 0), Ok(Vec::new()), "then it is just over");
    assert_eq!(net.write(fd, b"x", 0), err(libc::EPIPE), "and can't be written");
    assert_eq!(
        net.value(Call::Shutdown {
            fd,
            how: libc::SHUT_WR
        }),
        err(libc::ENOTCONN),
        "nor shut down"
    );
    net.send(ACK, peer, next, b"late");
    net.expect(Flags::RST);
}

#[test]
fn a_reset_after_the_peer_has_finished_breaks_the_pipe() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    net.send(ACK | Flags::FIN, peer, next, b"");
    net.expect(ACK);
    net.send(Flags::RST, peer + 1, 0, b"");
    assert_eq!(
        net.option(fd, libc::SOL_SOCKET, libc::SO_ERROR),
        Ok(libc::EPIPE),
        "as Linux says it in CLOSE-WAIT"
    );
}

#[test]
fn addresses_that_do_not_do_are_refused() {
    let mut net = Net::new();
    let fd = net.socket(0);
    let bind = |fd, text: &str| Call::Bind {
        fd,
        address: Address::Ip(text.parse().unwrap()),
    };
    assert_eq!(
        net.value(bind(fd, "192.0.2.9:80")),
        err(libc::EADDRNOTAVAIL),
        "not ours"
    );
    assert_eq!(
        net.value(bind(fd, "[::1]:80")),
        err(libc::EAFNOSUPPORT),
        "another family"
    );
    assert_eq!(net.value(bind(fd, "0.0.0.0:80")), Ok(0), "any");
    assert_eq!(net.value(bind(fd, "0.0.0.0:81")), err(libc::EINVAL), "twice");
    let other = net.socket(0);
    assert_eq!(
        net.value(bind(other, "192.0.2.1:80")),
        err(libc::EADDRINUSE),
        "taken"
    );
    assert_eq!(
        net.value(Call::Accept { fd, flags: 0 }),
        err(libc::EINVAL),
        "it does not listen"
    );
    assert_eq!(net.receive(fd, 1, 0), err(libc::ENOTCONN), "nobody there");
    assert_eq!(net.write(fd, b"x", 0), err(libc::EPIPE), "nobody there");
    assert_eq!(
        net.value(Call::PeerAddress { fd }),
        err(libc::ENOTCONN),
        "nobody there"
    );
    assert_eq!(
        net.value(Call::Listen { fd: 99, backlog: 1 }),
        err(libc::EBADF),
        "no file"
    );
    let raw = Call::Socket {
        domain: libc::AF_UNIX,
        kind: libc::SOCK_STREAM,
        protocol: 0,
    };
    assert_eq!(net.value(raw), err(libc::EAFNOSUPPORT), "no such family");
}

#[test]
fn a_silent_peer_is_given_up_in_virtual_time() {
    let mut net = Net::with(Knobs {
        syn_retries: 2,
        ..Knobs::default()
    });
    let fd = net.socket(libc::SOCK_NONBLOCK);
    let address = Address::Ip(net.remote);
    let _ = net.value(Call::Connect { fd, address });
    net.pass(Duration::from_secs(60));
    let times: Vec<u64> = std::iter::from_fn(|| net.sent())
        .map(|sent| sent.at.as_millis())
        .collect();
    let near = |wanted: [u64; 3]| {
        times
            .iter()
            .zip(wanted)
            .all(|(&at, wanted)| at.abs_diff(wanted) <= 1)
    };
    assert!(
        times.len() == 3 && near([0, 1000, 3000]),
        "at its own times, not when it is looked at: {times:?}"
    );
    assert_eq!(
        net.option(fd, libc::SOL_SOCKET, libc::SO_ERROR),
        Ok(libc::ETIMEDOUT),
        "given up"
    );
}

#[test]
fn a_listener_takes_its_unaccepted_connections_with_it() {
    let mut net = Net::new();
    let listener = net.listener(0);
    net.shake();
    assert_eq!(net.ready(listener), libc::POLLIN, "one waits");
    assert_eq!(net.value(Call::Close { fd: listener }), Ok(0), "closed");
    net.expect(ACK | Flags::RST);
}

#[test]
fn ipv6_works_alike() {
    let mut net = Net::between("[2001:db8::1]:8080", "[2001:db8:1::2]:5000", Knobs::default());
    let (_, fd, next, peer) = net.accepted();
    net.send(ACK, peer, next, b"six");
    net.expect(ACK);
    assert_eq!(net.receive(fd, 10, 0), Ok(b"six".to_vec()), "received");
    let (active, ..) = {
        net.remote.set_port(80);
        net.connected()
    };
    assert_eq!(net.write(active, b"x", 0), Ok(1), "sent");
}

#[test]
fn acknowledgments_are_delayed_as_the_knobs_say() {
    let mut net = Net::with(Knobs {
        delayed_ack_ms: Some(40),
        ..Knobs::default()
    });
    let (_, _, next, peer) = net.accepted();
    let full = [1; 1460];
    net.send(ACK, peer, next, &full);
    net.expect_nothing();
    net.send(ACK, peer + 1460, next, &full);
    net.expect(ACK);
    net.send(ACK, peer + 2920, next, b"lone");
    net.pass(Duration::from_millis(39));
    net.expect_nothing();
    net.pass(Duration::from_millis(2));
    net.expect(ACK);
}

#[test]
fn a_cork_holds_back_what_fills_no_segment() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    let cork = |net: &mut Net, on| net.set(fd, libc::IPPROTO_TCP, libc::TCP_CORK, on);
    assert_eq!(cork(&mut net, 1), Ok(0), "corked");
    assert_eq!(net.write(fd, &[1; 100], 0), Ok(100), "taken");
    assert_eq!(net.write(fd, &[2; 1400], 0), Ok(1400), "taken");
    assert_eq!(
        net.sent().map(|sent| sent.payload.len()),
        Some(1460),
        "a whole segment"
    );
    net.expect_nothing();
    let unsent = |net: &mut Net| {
        let reply = net.call(Call::Ioctl {
            fd,
            request: 0x894b,
            value: 0,
        });
        reply.output
    };
    assert_eq!(unsent(&mut net), Output::Int(40), "SIOCOUTQNSD counts it");
    assert_eq!(cork(&mut net, 0), Ok(0), "uncorked");
    // Nagle: something is in flight.
    net.expect_nothing();
    assert_eq!(
        net.set(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        Ok(0),
        "in a hurry"
    );
    assert_eq!(net.sent().map(|sent| sent.payload.len()), Some(40), "the rest");
    net.send(ACK, peer, next + 1500, b"");
    assert_eq!(net.write(fd, b"more", libc::MSG_MORE), Ok(4), "more will come");
    net.expect_nothing();
    net.pass(Duration::from_millis(201));
    assert_eq!(
        net.sent().map(|sent| sent.payload),
        Some(b"more".to_vec()),
        "or not"
    );
}

#[test]
fn a_reader_who_asks_is_told_how_much_is_left() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    assert_eq!(net.set(fd, libc::IPPROTO_TCP, libc::TCP_INQ, 1), Ok(0), "asked");
    net.send(ACK, peer, next, b"12345");
    net.expect(ACK);
    let left = |net: &mut Net, len| match net.call(Call::Receive { fd, len, flags: 0 }).output {
        Output::Data { inq, .. } => inq,
        other => panic!("{other:?}"),
    };
    assert_eq!(left(&mut net, 2), Some(3), "three more");
    net.send(ACK | Flags::FIN, peer + 5, next, b"6");
    net.expect(ACK);
    assert_eq!(left(&mut net, 3), Some(1), "the last one");
    assert_eq!(
        left(&mut net, 3),
        Some(1),
        "and then the end, which counts as a byte"
    );
}

#[test]
fn tcp_info_says_what_was_agreed_on_and_what_has_passed() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    let info = |net: &mut Net| {
        let reply = net.call(Call::GetOption {
            fd,
            level: libc::IPPROTO_TCP,
            name: libc::TCP_INFO,
            len: 1_000,
        });
        match reply.output {
            Output::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    };
    let word = |info: &[u8], at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    let first = info(&mut net);
    assert_eq!(
        first.len(),
        crore_sim::posix::TCP_INFO_LEN,
        "no more than there is"
    );
    assert_eq!(
        (first[0], first[5]),
        (1, 0),
        "established; the peer has offered nothing"
    );
    net.send(ACK, peer, next, &[0; 100]);
    net.expect(ACK);
    assert_eq!(net.write(fd, &[0; 50], 0), Ok(50), "written");
    net.expect(ACK | Flags::PSH);
    net.pass(Duration::from_millis(70));
    net.send(ACK, peer + 100, next + 50, b"");
    let then = info(&mut net);
    let long = |at: usize| u64::from_ne_bytes(then[at..at + 8].try_into().unwrap());
    assert_eq!(word(&then, 52), 70, "ms since data came");
    assert_eq!(
        (word(&then, 44), word(&then, 56)),
        (70, 0),
        "since it was sent, and answered"
    );
    assert_eq!(
        (long(120), long(128)),
        (50, 100),
        "bytes acknowledged, and received"
    );
    assert_eq!(word(&then, 16), 1460, "the segment size");
    assert_eq!(
        (word(&then, 60), word(&then, 84)),
        (1500, 1460),
        "the path's, and ours"
    );
    assert_eq!(long(104), u64::MAX, "nothing is paced");
}

/// What the IP header says, of both families, from the SYN-ACK on.
#[test]
fn a_socket_says_how_its_packets_are_to_be_treated() {
    for (local, remote, level, class, hops) in [
        (
            crate::peer::LOCAL,
            crate::peer::REMOTE,
            libc::IPPROTO_IP,
            libc::IP_TOS,
            libc::IP_TTL,
        ),
        (
            "[2001:db8::1]:8080",
            "[2001:db8:1::2]:5000",
            libc::IPPROTO_IPV6,
            libc::IPV6_TCLASS,
            libc::IPV6_UNICAST_HOPS,
        ),
    ] {
        let mut net = Net::between(local, remote, Knobs::default());
        let listener = net.listener(0);
        assert_eq!(net.option(listener, level, hops), Ok(64), "as usual");
        assert_eq!(
            net.set(listener, level, class, 0x23),
            Ok(0),
            "CS1; the rest is ECN's"
        );
        assert_eq!(net.set(listener, level, hops, 4), Ok(0), "not far");
        net.send(Flags::SYN, 0, 0, b"");
        let answer = net.expect(Flags::SYN | ACK);
        assert_eq!((answer.class, answer.hops), (0x20, 4), "the SYN-ACK");
        let next = answer.segment.seq.0.wrapping_add(1);
        net.send(ACK, 1, next, b"");
        let accept = Call::Accept {
            fd: listener,
            flags: 0,
        };
        let fd = net.value(accept).expect("accepted") as i32;
        assert_eq!(net.write(fd, b"x", 0), Ok(1), "written");
        let sent = net.expect(ACK | Flags::PSH);
        assert_eq!((sent.class, sent.hops), (0x20, 4), "it has what its listener had");
        assert_eq!(net.set(fd, level, class, 0xe0), Ok(0), "CS7");
        assert_eq!(net.set(fd, level, hops, -1), Ok(0), "as usual again");
        assert_eq!(net.set(fd, level, hops, 256), err(libc::EINVAL), "no such limit");
        assert_eq!(net.option(fd, level, class), Ok(0xe0), "read back");
        net.send(ACK, 1, next + 1, b"");
        assert_eq!(net.write(fd, b"y", 0), Ok(1), "written");
        let sent = net.expect(ACK | Flags::PSH);
        assert_eq!((sent.class, sent.hops), (0xe0, 64), "from now on");
    }
}

#[test]
fn a_port_with_connections_is_bound_again_by_those_who_say_so() {
    let mut net = Net::new();
    let (listener, ..) = net.accepted();
    assert_eq!(net.value(Call::Close { fd: listener }), Ok(0), "no more of them");
    let address = Address::Ip(net.local);
    let second = net.socket(0);
    let bind = Call::Bind { fd: second, address };
    assert_eq!(
        net.value(bind.clone()),
        err(libc::EADDRINUSE),
        "one is still there"
    );
    assert_eq!(
        net.set(second, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
        Ok(0),
        "never mind"
    );
    assert_eq!(
        net.value(bind),
        err(libc::EADDRINUSE),
        "the other one has not said so"
    );
    let mut net = Net::new();
    let listener = net.socket(0);
    assert_eq!(
        net.set(listener, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
        Ok(0),
        "said"
    );
    let bind = Call::Bind {
        fd: listener,
        address,
    };
    assert_eq!(net.value(bind), Ok(0), "bound");
    assert_eq!(
        net.value(Call::Listen {
            fd: listener,
            backlog: 1
        }),
        Ok(0),
        "listening"
    );
    net.shake();
    let accept = Call::Accept {
        fd: listener,
        flags: 0,
    };
    assert_eq!(net.value(accept), Ok(4), "accepted");
    assert_eq!(net.value(Call::Close { fd: listener }), Ok(0), "no more of them");
    let second = net.socket(0);
    assert_eq!(
        net.set(second, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
        Ok(0),
        "said"
    );
    let bind = Call::Bind { fd: second, address };
    assert_eq!(net.value(bind), Ok(0), "both have said so");
}

#[test]
fn tcp_info_tells_of_losses_and_their_repair() {
    let mut net = Net::new();
    let listener = net.listener(0);
    net.send_with(Flags::SYN, 0, 0, b"", |segment| {
        segment.options.sack_permitted = true;
        segment.options.mss = Some(1000);
    });
    let next = net.expect(Flags::SYN | ACK).segment.seq.0.wrapping_add(1);
    net.pass(Duration::from_millis(100));
    net.send(ACK, 1, next, b"");
    let accept = Call::Accept {
        fd: listener,
        flags: 0,
    };
    let fd = net.value(accept).expect("accepted") as i32;
    assert_eq!(net.write(fd, &[0; 10_000], 0), Ok(10_000), "ten segments");
    net.pass(Duration::from_millis(100));
    net.send_with(ACK, 1, next, b"", |segment| {
        segment
            .options
            .sack
            .push(SeqNum(next + 1_000), SeqNum(next + 8_000));
    });
    let reply = net.call(Call::GetOption {
        fd,
        level: libc::IPPROTO_TCP,
        name: libc::TCP_INFO,
        len: 1_000,
    });
    let Output::Bytes(info) = reply.output else {
        panic!("{reply:?}")
    };
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    assert_eq!((info[1], info[5]), (3, 2), "in recovery; with SACK");
    assert_eq!(
        (word(24), word(28), word(32)),
        (10, 7, 0),
        "in flight, reported, lost and not sent again"
    );
    assert_eq!(
        (word(36), word(192), word(216)),
        (1, 7, 0),
        "sent again, delivered, came twice"
    );
    assert_eq!(word(100), 1, "sent again");
    assert!((99_000..=101_000).contains(&word(148)), "the shortest round trip");
    assert_eq!(
        net.option(fd, libc::IPPROTO_IP, libc::IP_MTU),
        Ok(1500),
        "of the path"
    );
}
