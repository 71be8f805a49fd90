//! Calls that wait.

use crore_base::{Duration, Instant};
use crore_sim::posix::{Address, Call, Errno, Output};
use crore_wire::Flags;

use crate::peer::Net;

const ACK: Flags = Flags::ACK;

#[test]
fn a_blocking_accept_is_done_at_the_moment_of_the_handshake() {
    let mut net = Net::new();
    let fd = net.listener(0);
    let ticket = net.waits(Call::Accept { fd, flags: 0 });
    net.pass(Duration::from_millis(100));
    assert_eq!(net.host.reply(ticket), None, "nobody came");
    net.shake();
    let done = net.host.now();
    net.pass(Duration::from_millis(500));
    let reply = net.host.reply(ticket).expect("somebody came");
    assert_eq!(
        (reply.result, reply.at),
        (Ok(4), done),
        "then, not when it is asked"
    );
    assert_eq!(net.host.reply(ticket), None, "told once");
}

#[test]
fn a_blocking_connect_read_and_write_wait_for_what_they_need() {
    let mut net = Net::new();
    let fd = net.socket(0);
    let address = Address::Ip(net.remote);
    let ticket = net.waits(Call::Connect { fd, address });
    let syn = net.expect(Flags::SYN);
    let next = syn.segment.seq.0.wrapping_add(1);
    net.local.set_port(syn.segment.src_port);
    net.send(Flags::SYN | ACK, 0, next, b"");
    net.expect(ACK);
    assert_eq!(net.host.reply(ticket).map(|r| r.result), Some(Ok(0)), "connected");
    let ticket = net.waits(Call::Receive {
        fd,
        len: 10,
        flags: 0,
    });
    net.pass(Duration::from_millis(30));
    net.send(ACK, 1, next, b"abc");
    net.expect(ACK);
    let reply = net.host.reply(ticket).expect("done");
    assert_eq!(reply.result, Ok(3), "what there was");
    assert_eq!(
        reply.output,
        Output::Data {
            bytes: b"abc".to_vec(),
            flags: 0,
            inq: None,
        },
        "just that"
    );
    let ticket = net.waits(Call::Receive {
        fd,
        len: 6,
        flags: libc::MSG_WAITALL,
    });
    net.send(ACK, 4, next, b"de");
    assert_eq!(net.host.reply(ticket), None, "not all");
    net.send(ACK, 6, next, b"fghi");
    assert_eq!(net.host.reply(ticket).map(|r| r.result), Some(Ok(6)), "all");
}

#[test]
fn a_blocking_write_ends_when_all_is_taken() {
    let mut net = Net::with(crore_sim::posix::Knobs {
        sndbuf: 4_000,
        ..Default::default()
    });
    let (_, fd, next, peer) = net.accepted();
    let ticket = net.waits(Call::Send {
        fd,
        data: vec![7; 6_000],
        flags: 0,
        to: None,
    });
    let mut end = next;
    for _ in 0..10 {
        while let Some(sent) = net.sent() {
            end = end.max(sent.segment.seq.0 + sent.payload.len() as u32);
        }
        net.send(ACK, peer, end, b"");
    }
    assert_eq!(
        net.host.reply(ticket).map(|r| r.result),
        Some(Ok(6_000)),
        "all of it"
    );
    assert_eq!(end, next + 6_000, "and all of it was sent");
}

#[test]
fn poll_gives_up_at_its_time() {
    let mut net = Net::new();
    let fd = net.listener(0);
    let ticket = net.waits(Call::Poll {
        fds: vec![(fd, libc::POLLIN)],
        timeout_ms: 250,
    });
    assert_eq!(
        net.host.next_timeout(),
        Some(Instant::from_millis(250)),
        "no sooner"
    );
    net.pass(Duration::from_secs(1));
    let reply = net.host.reply(ticket).expect("done");
    assert_eq!(reply.result, Ok(0), "none of them");
    assert_eq!(reply.output, Output::Poll(vec![0]), "none of them");
    assert_eq!(reply.at, Instant::from_millis(250), "at its time");
}

#[test]
fn epoll_knows_levels_edges_and_single_shots() {
    let mut net = Net::new();
    let (_, fd, next, mut peer) = net.accepted();
    let epoll = net.value(Call::EpollCreate).expect("an epoll") as i32;
    let control = |operation, events: i32| Call::EpollControl {
        epoll,
        operation,
        fd,
        events: events as u32,
        data: 77,
    };
    let wait = || Call::EpollWait {
        epoll,
        most: 8,
        timeout_ms: 0,
    };
    let one = |events: i32| Output::Epoll(vec![(events as u32, 77)]);
    let none = Output::Epoll(Vec::new());
    assert_eq!(
        net.value(control(libc::EPOLL_CTL_ADD, libc::EPOLLIN)),
        Ok(0),
        "added"
    );
    assert_eq!(
        net.value(control(libc::EPOLL_CTL_ADD, libc::EPOLLIN)),
        Err(Errno(libc::EEXIST)),
        "twice"
    );
    assert_eq!(net.call(wait()).output, none, "nothing yet");
    let mut send = |net: &mut Net| {
        net.send(ACK, peer, next, b"ab");
        net.expect(ACK);
        peer += 2;
    };
    send(&mut net);
    assert_eq!(net.call(wait()).output, one(libc::EPOLLIN), "there is something");
    assert_eq!(net.call(wait()).output, one(libc::EPOLLIN), "and still is");
    let edge = libc::EPOLLIN | libc::EPOLLET;
    assert_eq!(net.value(control(libc::EPOLL_CTL_MOD, edge)), Ok(0), "by edges");
    assert_eq!(
        net.call(wait()).output,
        one(libc::EPOLLIN),
        "what was there counts once"
    );
    assert_eq!(net.call(wait()).output, none, "no more");
    send(&mut net);
    assert_eq!(net.call(wait()).output, one(libc::EPOLLIN), "an edge");
    let once = libc::EPOLLIN | libc::EPOLLONESHOT;
    assert_eq!(net.value(control(libc::EPOLL_CTL_MOD, once)), Ok(0), "once");
    assert_eq!(net.call(wait()).output, one(libc::EPOLLIN), "the once");
    send(&mut net);
    assert_eq!(net.call(wait()).output, none, "no more");
    let ticket = net.waits(Call::EpollWait {
        epoll,
        most: 8,
        timeout_ms: -1,
    });
    assert_eq!(
        net.value(control(libc::EPOLL_CTL_MOD, libc::EPOLLIN)),
        Ok(0),
        "armed anew"
    );
    assert_eq!(
        net.host.reply(ticket).map(|r| r.result),
        Some(Ok(1)),
        "which it hears of"
    );
}

#[test]
fn a_call_can_be_interrupted() {
    let mut net = Net::new();
    let fd = net.listener(0);
    let ticket = net.waits(Call::Accept { fd, flags: 0 });
    net.host.interrupt(ticket);
    assert_eq!(
        net.host.reply(ticket).map(|r| r.result),
        Some(Err(Errno(libc::EINTR))),
        "given up"
    );
}

#[test]
fn a_lingering_close_waits_for_the_peer() {
    let mut net = Net::new();
    let (_, fd, next, peer) = net.accepted();
    let linger = |seconds: i32| [1i32.to_ne_bytes(), seconds.to_ne_bytes()].concat();
    let set = Call::SetOption {
        fd,
        level: libc::SOL_SOCKET,
        name: libc::SO_LINGER,
        value: linger(5),
    };
    assert_eq!(net.value(set), Ok(0), "five seconds");
    assert_eq!(net.write(fd, b"last words", 0), Ok(10), "written");
    net.expect(ACK | Flags::PSH);
    let ticket = net.waits(Call::Close { fd });
    net.expect(ACK | Flags::FIN);
    net.send(ACK, peer, next + 10, b"");
    assert_eq!(net.host.reply(ticket), None, "the end is not acknowledged");
    net.send(ACK, peer, next + 11, b"");
    assert_eq!(net.host.reply(ticket).map(|r| r.result), Some(Ok(0)), "all is");
    assert_eq!(net.value(Call::Close { fd }), Err(Errno(libc::EBADF)), "closed");
}

#[test]
fn a_close_that_does_not_linger_at_all_resets() {
    let mut net = Net::new();
    let (_, fd, _, _) = net.accepted();
    let set = Call::SetOption {
        fd,
        level: libc::SOL_SOCKET,
        name: libc::SO_LINGER,
        value: [1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat(),
    };
    assert_eq!(net.value(set), Ok(0), "not a second");
    assert_eq!(net.value(Call::Close { fd }), Ok(0), "closed");
    net.expect(ACK | Flags::RST);
}
