//! The other end, which does just what a test says.

use std::net::{IpAddr, SocketAddr};

use crore_base::{Duration, Instant, MacAddr, RxChecksum, SeqNum};
use crore_sim::posix::{Address, Call, Endpoints, Errno, Fd, Host, Knobs, Outcome, Output, Reply, Ticket};
use crore_wire::{
    ETHERNET_HEADER, Flags, IpEmit, Link, Segment, TcpOptions, TxChecksum, emit_tcp, tcp_headers_len,
};

pub(crate) const LOCAL: &str = "192.0.2.1:8080";
pub(crate) const REMOTE: &str = "198.51.100.2:5000";

/// A host and its peer.
pub(crate) struct Net {
    pub(crate) host: Host,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// A TCP packet that the host has sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) segment: Segment,
    pub(crate) payload: Vec<u8>,
    pub(crate) at: Instant,
    /// DSCP and ECN, and the hops left.
    pub(crate) class: u8,
    pub(crate) hops: u8,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(Knobs::default())
    }

    pub(crate) fn with(knobs: Knobs) -> Self {
        Self::between(LOCAL, REMOTE, knobs)
    }

    pub(crate) fn between(local: &str, remote: &str, knobs: Knobs) -> Self {
        let (local, remote): (SocketAddr, SocketAddr) = (local.parse().unwrap(), remote.parse().unwrap());
        let endpoints = Endpoints {
            local: local.ip(),
            gateway: None,
        };
        Self {
            host: Host::new(endpoints, knobs).expect("a host"),
            local,
            remote,
        }
    }

    /// A call that must not wait.
    pub(crate) fn call(&mut self, call: Call) -> Reply {
        match self.host.call(call.clone()) {
            Outcome::Ready(reply) => reply,
            Outcome::WouldBlock(_) => panic!("{call:?} waits"),
        }
    }

    /// The value of a call that must not wait.
    pub(crate) fn value(&mut self, call: Call) -> Result<i64, Errno> {
        self.call(call).result
    }

    /// A call that has to wait.
    pub(crate) fn waits(&mut self, call: Call) -> Ticket {
        match self.host.call(call.clone()) {
            Outcome::WouldBlock(ticket) => ticket,
            Outcome::Ready(reply) => panic!("{call:?} gives {reply:?} at once"),
        }
    }

    pub(crate) fn socket(&mut self, flags: i32) -> Fd {
        let domain = if self.local.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        };
        let fd = self.value(Call::Socket {
            domain,
            kind: libc::SOCK_STREAM | flags,
            protocol: libc::IPPROTO_TCP,
        });
        fd.expect("a socket") as Fd
    }

    /// A socket that listens on the local port.
    pub(crate) fn listener(&mut self, flags: i32) -> Fd {
        let fd = self.socket(flags);
        let address = Address::Ip(self.local);
        assert_eq!(self.value(Call::Bind { fd, address }), Ok(0), "bound");
        assert_eq!(self.value(Call::Listen { fd, backlog: 8 }), Ok(0), "listening");
        fd
    }

    /// A segment comes from the peer.
    pub(crate) fn send(&mut self, flags: Flags, seq: u32, ack: u32, payload: &[u8]) {
        self.send_with(flags, seq, ack, payload, |_| {});
    }

    /// The same with something else in its header.
    pub(crate) fn send_with(
        &mut self,
        flags: Flags,
        seq: u32,
        ack: u32,
        payload: &[u8],
        with: impl Fn(&mut Segment),
    ) {
        let mut segment = Segment {
            src_port: self.remote.port(),
            dst_port: self.local.port(),
            seq: SeqNum(seq),
            ack: SeqNum(ack),
            flags,
            window: 32_792,
            ..Segment::default()
        };
        with(&mut segment);
        let packet = packet(self.remote.ip(), self.local.ip(), &segment, payload);
        self.host.input(&packet);
    }

    /// The packet that was sent longest ago.
    pub(crate) fn sent(&mut self) -> Option<Sent> {
        let packet = self.host.output()?;
        Some(parse(&packet.bytes, packet.at))
    }

    /// The packet that must have been sent, with these flags.
    pub(crate) fn expect(&mut self, flags: Flags) -> Sent {
        let sent = self.sent().expect("a packet");
        assert_eq!(sent.segment.flags, flags, "{sent:?}");
        sent
    }

    /// Nothing must have been sent.
    pub(crate) fn expect_nothing(&mut self) {
        let sent = self.sent();
        assert!(sent.is_none(), "{sent:?}");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let to = self.host.now() + time;
        self.host.advance(to);
    }

    /// An active open, to the end; the file, and our numbers: the next of the
    /// host's, and of the peer's.
    pub(crate) fn connected(&mut self) -> (Fd, u32, u32) {
        let fd = self.socket(libc::SOCK_NONBLOCK);
        let address = Address::Ip(self.remote);
        assert_eq!(
            self.value(Call::Connect { fd, address }),
            Err(Errno(libc::EINPROGRESS)),
            "it takes its time"
        );
        let syn = self.expect(Flags::SYN);
        self.local.set_port(syn.segment.src_port);
        let next = syn.segment.seq.0.wrapping_add(1);
        self.pass(Duration::from_millis(10));
        self.send_with(Flags::SYN | Flags::ACK, 0, next, b"", |segment| {
            segment.options = mss()
        });
        self.expect(Flags::ACK);
        (fd, next, 1)
    }

    /// A passive open, to the end; the listener, the file, and the numbers as above.
    pub(crate) fn accepted(&mut self) -> (Fd, Fd, u32, u32) {
        let listener = self.listener(0);
        let next = self.shake();
        let reply = self.call(Call::Accept {
            fd: listener,
            flags: 0,
        });
        assert_eq!(reply.output, Output::Address(self.remote), "who it is");
        (listener, reply.result.expect("accepted") as Fd, next, 1)
    }

    /// The peer opens a connection; the next number of the host's.
    pub(crate) fn shake(&mut self) -> u32 {
        self.send_with(Flags::SYN, 0, 0, b"", |segment| segment.options = mss());
        let answer = self.expect(Flags::SYN | Flags::ACK);
        let next = answer.segment.seq.0.wrapping_add(1);
        self.pass(Duration::from_millis(10));
        self.send(Flags::ACK, 1, next, b"");
        next
    }

    pub(crate) fn receive(&mut self, fd: Fd, len: usize, flags: i32) -> Result<Vec<u8>, Errno> {
        let reply = self.call(Call::Receive { fd, len, flags });
        reply.result.map(|_| match reply.output {
            Output::Data { bytes, .. } => bytes,
            _ => Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, fd: Fd, data: &[u8], flags: i32) -> Result<i64, Errno> {
        self.value(Call::Send {
            fd,
            data: data.to_vec(),
            flags,
            to: None,
        })
    }

    pub(crate) fn option(&mut self, fd: Fd, level: i32, name: i32) -> Result<i32, Errno> {
        let reply = self.call(Call::GetOption {
            fd,
            level,
            name,
            len: 4,
        });
        reply.result.map(|_| match reply.output {
            Output::Bytes(bytes) => i32::from_ne_bytes(bytes.try_into().expect("a number")),
            other => panic!("{other:?}"),
        })
    }

    pub(crate) fn set(&mut self, fd: Fd, level: i32, name: i32, value: i32) -> Result<i64, Errno> {
        let value = value.to_ne_bytes().to_vec();
        self.value(Call::SetOption {
            fd,
            level,
            name,
            value,
        })
    }

    pub(crate) fn ready(&mut self, fd: Fd) -> i16 {
        let every = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP | libc::POLLPRI;
        let reply = self.call(Call::Poll {
            fds: vec![(fd, every)],
            timeout_ms: 0,
        });
        match reply.output {
            Output::Poll(ready) => ready[0],
            other => panic!("{other:?}"),
        }
    }
}

fn mss() -> TcpOptions {
    TcpOptions {
        mss: Some(1460),
        ..TcpOptions::default()
    }
}

/// A TCP segment as an IP packet.
pub(crate) fn packet(src: IpAddr, dst: IpAddr, segment: &Segment, payload: &[u8]) -> Vec<u8> {
    let ip = IpEmit {
        src,
        dst,
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let link = Link {
        src: MacAddr::default(),
        dst: MacAddr::default(),
    };
    let headers = tcp_headers_len(&ip, segment);
    let mut frame = vec![0; headers + payload.len()];
    frame[headers..].copy_from_slice(payload);
    let len = emit_tcp(
        &mut frame,
        &link,
        &ip,
        segment,
        payload.len(),
        TxChecksum::Software,
    );
    assert_eq!(len, frame.len(), "all of it");
    frame.split_off(ETHERNET_HEADER)
}

fn parse(packet: &[u8], at: Instant) -> Sent {
    let ethertype = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let mut frame = vec![0; ETHERNET_HEADER - 2];
    frame.extend_from_slice(&ethertype);
    frame.extend_from_slice(packet);
    match crore_wire::parse(&frame, RxChecksum::Unknown).map(|frame| frame.packet) {
        Ok(crore_wire::Packet::Tcp { segment, payload, .. }) => Sent {
            segment,
            payload: frame[payload].to_vec(),
            at,
            class: if packet[0] >> 4 == 4 {
                packet[1]
            } else {
                packet[0] << 4 | packet[1] >> 4
            },
            hops: if packet[0] >> 4 == 4 { packet[8] } else { packet[7] },
        },
        other => panic!("no TCP: {other:?}"),
    }
}
