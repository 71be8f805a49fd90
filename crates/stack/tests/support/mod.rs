//! Two hosts on a simulated link.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use crore_base::{Duration, Instant, MacAddr, RxChecksum, SeqNum, WindowScale};
use crore_netbuf::Chunk;
use crore_nic::sim::{End, Link, LinkConfig, SimNic, link};
use crore_nic::{Nic, RxFrame};
use crore_stack::{CloseReason, ConnId, Event, Read, Stack, StackConfig};
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, ETHERNET_HEADER, Flags, IpEmit, Link as EthernetLink, Packet, Segment,
    TcpOptions, Timestamps, TxChecksum, checksum, emit_arp, emit_echo_reply, emit_tcp, parse,
    tcp_headers_len,
};

pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) nic: SimNic,
    pub(crate) frames: Vec<RxFrame>,
    pub(crate) events: Vec<Event>,
}

impl Host {
    pub(crate) fn new(nic: SimNic, addresses: &[&str], key: u8, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig {
            addresses: addresses
                .iter()
                .map(|a| (a.parse().unwrap(), if a.contains(':') { 64 } else { 24 }))
                .collect(),
            max_connections: 64,
            ..StackConfig::default()
        };
        tune(&mut config);
        let stack = Stack::new(config, nic.capabilities(), [key; 16]).expect("a good configuration");
        Self {
            stack,
            nic,
            frames: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        while self.nic.rx_burst(now, &mut self.frames) > 0 {
            self.stack.on_burst(now, &mut self.frames);
        }
        self.stack.on_timeout(now);
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
        self.stack.poll_transmit(now, &mut self.nic);
    }

    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        if self.stack.has_work() {
            return Some(now);
        }
        [self.stack.next_timeout(), self.nic.next_arrival()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn opened(&self) -> Vec<ConnId> {
        let conn = |e: &Event| match e {
            Event::Opened { conn, .. } => Some(*conn),
            _ => None,
        };
        self.events.iter().filter_map(conn).collect()
    }

    pub(crate) fn closed(&self) -> Vec<CloseReason> {
        let reason = |e: &Event| match e {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    pub(crate) fn read_all(&mut self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Read::Data(chunk)) = self.stack.read(conn) {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }
}

pub(crate) struct World {
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) link: Link,
    pub(crate) now: Instant,
}

impl World {
    pub(crate) fn new(v6: bool, tune: impl FnOnce(&mut StackConfig)) -> Self {
        Self::of(v6, |_| {}, tune)
    }

    /// A world whose client and server are set by one function each.
    pub(crate) fn of(
        v6: bool,
        tune_client: impl FnOnce(&mut StackConfig),
        tune: impl FnOnce(&mut StackConfig),
    ) -> Self {
        let (a, b) = link(LinkConfig::default());
        let wire = a.link();
        let (client, server) = if v6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        Self {
            client: Host::new(a, &[client], 1, tune_client),
            server: Host::new(b, &[server], 2, tune),
            link: wire,
            now: Instant::from_millis(1),
        }
    }

    /// Lets `time` pass, from one thing that happens to the next.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            self.client.turn(self.now);
            self.server.turn(self.now);
            let next = [self.client.wakeup(self.now), self.server.wakeup(self.now)]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= end => self.now = at.max(self.now + Duration::from_micros(1)),
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the hosts never come to rest");
    }

    pub(crate) fn connect(&mut self, remote: &str) -> ConnId {
        self.client
            .stack
            .connect(self.now, None, remote.parse().unwrap())
            .expect("a slot and a port")
    }
}

const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const FROM_STRANGER: EthernetLink = EthernetLink {
    src: STRANGER,
    dst: MacAddr([2, 0, 0, 0, 0, 2]),
};

/// Somebody on the link who sends whatever segments it likes to the server at
/// 10.0.0.2, and sees what comes back.
pub(crate) struct Stranger {
    link: Link,
    seen: Rc<RefCell<Vec<Segment>>>,
}

impl Stranger {
    pub(crate) fn new(world: &World) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&seen);
        world.link.set_tap(Some(Box::new(move |tapped| {
            let parsed = parse(tapped.frame, RxChecksum::Unknown).expect("what is sent can be received");
            if let (End::Right, Packet::Tcp { segment, .. }) = (tapped.from, parsed.packet) {
                tap.borrow_mut().push(segment);
            }
        })));
        Self {
            link: world.link.clone(),
            seen,
        }
    }

    /// What the server has sent since the last call, to anybody.
    pub(crate) fn seen(&self) -> Vec<Segment> {
        self.seen.borrow_mut().drain(..).collect()
    }

    /// Makes 10.0.0.`host` known to the server, which can then send there by itself.
    pub(crate) fn introduce(&self, now: Instant, host: u8) {
        self.link.inject(End::Left, now, arp_frame(host));
    }

    /// Sends the server an ICMP error from 10.0.0.`host` about `segment`, which the
    /// server is said to have sent there.
    pub(crate) fn complain(&self, now: Instant, host: u8, (kind, code): (u8, u8), segment: &Segment) {
        let ip = |src: u8, dst: u8| IpEmit {
            src: IpAddr::from([10, 0, 0, src]),
            dst: IpAddr::from([10, 0, 0, dst]),
            hop_limit: 64,
            ecn: 0,
            ident: 0,
        };
        let quoted_ip = ip(2, host);
        let mut quote = vec![0; tcp_headers_len(&quoted_ip, segment)];
        let checksum = TxChecksum::Software;
        emit_tcp(&mut quote, &FROM_STRANGER, &quoted_ip, segment, 0, checksum);
        let message = [&[0; 8][..], &quote[ETHERNET_HEADER..]].concat();
        let start = ETHERNET_HEADER + 20;
        let mut frame = vec![0; start + message.len()];
        emit_echo_reply(&mut frame, &FROM_STRANGER, &ip(host, 2), &message).expect("there is room");
        let body = &mut frame[start..];
        body[..4].copy_from_slice(&[kind, code, 0, 0]);
        let sum = checksum::finish(checksum::sum(body));
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        self.link.inject(End::Left, now, Chunk::copy_from(&frame));
    }

    /// Sends `segment` to the server as if from 10.0.0.`host`.
    pub(crate) fn send(&self, now: Instant, host: u8, segment: &Segment, payload: &[u8]) {
        self.link
            .inject(End::Left, now, forged_frame(host, segment, payload));
    }
}

/// The question for the server's address by which the server learns that of 10.0.0.`host`.
pub(crate) fn arp_frame(host: u8) -> Chunk {
    let arp = Arp {
        operation: ArpOperation::Request,
        sender_mac: STRANGER,
        sender_ip: [10, 0, 0, host].into(),
        target_mac: MacAddr::default(),
        target_ip: [10, 0, 0, 2].into(),
    };
    let mut frame = vec![0; ARP_FRAME_LEN];
    emit_arp(&mut frame, &FROM_STRANGER, &arp).expect("there is room");
    Chunk::copy_from(&frame)
}

/// A frame for the server at 10.0.0.2 that claims to be from 10.0.0.`host`.
pub(crate) fn forged_frame(host: u8, segment: &Segment, payload: &[u8]) -> Chunk {
    let ip = IpEmit {
        src: IpAddr::from([10, 0, 0, host]),
        dst: IpAddr::from([10, 0, 0, 2]),
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let headers = tcp_headers_len(&ip, segment);
    let mut frame = vec![0; headers + payload.len()];
    frame[headers..].copy_from_slice(payload);
    emit_tcp(
        &mut frame,
        &FROM_STRANGER,
        &ip,
        segment,
        payload.len(),
        TxChecksum::Software,
    );
    Chunk::copy_from(&frame)
}

/// A SYN to port 80 with all options.
pub(crate) fn syn(src_port: u16, seq: u32) -> Segment {
    Segment {
        src_port,
        dst_port: 80,
        seq: SeqNum(seq),
        flags: Flags::SYN,
        window: 20_000,
        options: TcpOptions {
            mss: Some(1460),
            window_scale: Some(WindowScale::new(6)),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 100, echo: 0 }),
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

/// What an honest peer answers to `segment`, which carried nothing but its flags.
pub(crate) fn answer(segment: &Segment, flags: Flags) -> Segment {
    Segment {
        src_port: segment.dst_port,
        dst_port: segment.src_port,
        seq: segment.ack,
        ack: segment.seq + segment.sequence_len(0),
        flags,
        window: 20_000,
        options: TcpOptions {
            timestamps: segment.options.timestamps.map(|theirs| Timestamps {
                value: theirs.echo.wrapping_add(1),
                echo: theirs.value,
            }),
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

pub(crate) const MOMENT: Duration = Duration::from_millis(50);
