//! A whole `Stack` with listeners and open connections, under a script of
//! frames (made well, mutated, or plain bytes), calls of the application, dry
//! pools and time.
//!
//! What it sends is parsed as a peer would: a frame that a peer would drop, or
//! that is too long for the link, is a bug.

use core::net::IpAddr;

use crore_base::{Duration, Instant, MacAddr, RxChecksum, SeqNum};
use crore_netbuf::Chunk;
use crore_nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use crore_stack::{ConnId, CookiePolicy, Event, Read, Stack, StackConfig};
use crore_wire::{
    ARP_FRAME_LEN, Arp, ArpOperation, Flags, IpEmit, Link, NEIGHBOR_FRAME_LEN, NeighborAdvertisement, Packet,
    Segment, TcpOptions, Timestamps, TxChecksum, emit_arp, emit_neighbor_advertisement, emit_tcp, parse,
    tcp_headers_len,
};

use crate::frames::fix_checksums;
use crate::script::Script;

const STEPS: usize = 200;
const MTU: u16 = 1500;
const MAX_CONNECTIONS: u32 = 6;
const RECEIVE_BUFFER: u32 = 20_000;
const RECEIVE_BUDGET: u64 = 50_000;
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Frames that the peer remembers, to mutate them.
const REMEMBERED: usize = 32;

/// The target.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(script.u8());
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
        world.check();
    }
    world.finish();
}

/// A NIC that keeps what it is given, and can be out of buffers.
struct TestNic {
    capabilities: Capabilities,
    buffer: Vec<u8>,
    sent: Vec<(Vec<u8>, TxMeta)>,
    /// Buffers that are left.
    room: usize,
}

impl Nic for TestNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, _into: &mut Vec<RxFrame>) -> usize {
        0
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        assert!(
            len <= usize::from(MTU) + 14,
            "{len} bytes are too long for the link"
        );
        (self.sent.len() < self.room).then(|| &mut self.buffer[..len])
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        self.sent.push((self.buffer[..len].to_vec(), meta));
    }

    fn flush(&mut self, _now: Instant) -> usize {
        0
    }
}

/// What the peer knows of one flow: what it saw last from this host.
#[derive(Clone, Copy)]
struct Flow {
    ours: IpAddr,
    peer: IpAddr,
    /// The last segment that this host sent on it.
    last: Segment,
    /// What an honest peer would send next.
    next_seq: SeqNum,
    next_ack: SeqNum,
}

struct World {
    stack: Stack,
    nic: TestNic,
    now: Instant,
    flows: Vec<Flow>,
    conns: Vec<ConnId>,
    /// Frames of the peer's that were delivered.
    history: Vec<Vec<u8>>,
    /// Whether the peer answers questions for its addresses.
    resolves: bool,
}

impl World {
    fn new(bits: u8) -> Self {
        let mut config = StackConfig {
            addresses: vec![(v4(1), 24), (v6(1), 64)],
            max_connections: MAX_CONNECTIONS,
            max_neighbors: 4,
            receive_budget: RECEIVE_BUDGET,
            resets_per_second: 100,
            echo_replies_per_second: 100,
            ..StackConfig::default()
        };
        let policies = [
            CookiePolicy::Overflow,
            CookiePolicy::Always,
            CookiePolicy::Overflow,
            CookiePolicy::Never,
        ];
        config.syn_cookies = policies[usize::from(bits >> 3 & 3)];
        let backlog = if bits & 32 == 0 { 3 } else { 1 };
        config.tcp.receive_buffer = RECEIVE_BUFFER;
        config.tcp.send_buffer = 20_000;
        config.tcp.time_wait = Duration::from_secs(2);
        config.tcp.syn_retries = 2;
        config.tcp.data_retries = 4;
        let capabilities = Capabilities {
            mac: OURS,
            mtu: MTU,
            tx_ipv4_checksum: false,
            tx_tcp_checksum: bits & 1 == 1,
            tx_tso: false,
            rx_checksum: false,
        };
        let mut stack = Stack::new(config, &capabilities, [bits; 16]).expect("a good configuration");
        for any in ["0.0.0.0:80", "[::]:80", "10.0.0.1:81"] {
            let addr = any.parse().expect("an address");
            stack.listen(addr, backlog).expect("nobody listens there yet");
        }
        let mut world = Self {
            stack,
            nic: TestNic {
                capabilities,
                buffer: vec![0; 2048],
                sent: Vec::new(),
                room: usize::MAX,
            },
            now: Instant::from_millis(5),
            flows: Vec::new(),
            conns: Vec::new(),
            history: Vec::new(),
            resolves: bits & 2 == 0,
        };
        world.turn();
        if bits & 4 == 0 {
            world.open(v4(2), v4(1), 1000, 80);
            world.open(v6(2), v6(1), 1001, 80);
        }
        world
    }

    /// An honest peer opens a connection.
    fn open(&mut self, peer: IpAddr, ours: IpAddr, from: u16, to: u16) {
        let syn = Segment {
            src_port: from,
            dst_port: to,
            seq: SeqNum(u32::MAX - 2000),
            flags: Flags::SYN,
            window: 40_000,
            options: TcpOptions {
                mss: Some(1460),
                sack_permitted: true,
                timestamps: Some(Timestamps { value: 1, echo: 0 }),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        self.deliver(tcp_frame(peer, ours, &syn, 0), RxChecksum::Unknown);
        self.turn();
        if let Some(flow) = self.flows.last().copied() {
            let segment = answer(&flow, Flags::ACK);
            self.deliver(tcp_frame(flow.peer, flow.ours, &segment, 10), RxChecksum::Unknown);
            self.turn();
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 16 {
            0..4 => {
                let frame = self.draw_segment(script);
                self.hostile(script, frame);
            }
            4 | 5 => {
                let nth = usize::from(script.u8());
                if let Some(frame) = self.history.get(nth % self.history.len().max(1)).cloned() {
                    self.hostile(script, frame);
                }
            }
            6 => {
                let frame = script.bytes(1600).to_vec();
                self.hostile(script, frame);
            }
            7 => self.control(script),
            8..11 => self.application(script),
            11 => {
                self.now += Duration::from_millis(u64::from(script.u16()));
                self.stack.on_timeout(self.now);
            }
            12 => {
                if let Some(due) = self.stack.next_timeout() {
                    self.now = self.now.max(due);
                }
                self.stack.on_timeout(self.now);
            }
            13 => {
                self.nic.room = script.pick(&[usize::MAX, 0, 1, 3]);
                self.stack.set_rx_pressure(script.bool());
                self.resolves ^= script.one_in(8);
            }
            _ => self.turn(),
        }
    }

    /// A TCP segment, from a known flow or a new one, near what is expected.
    fn draw_segment(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let nth = usize::from(script.u8());
        let known = self.flows.get(nth % self.flows.len().max(1)).copied();
        let flags = script.pick(&[
            Flags::ACK,
            Flags::ACK | Flags::PSH,
            Flags::ACK | Flags::FIN,
            Flags::SYN,
            Flags::RST,
            Flags::SYN | Flags::ACK,
            Flags::RST | Flags::ACK,
            Flags::ACK,
        ]);
        let (flow, mut segment) = match known {
            Some(flow) if nth < 200 => (flow, answer(&flow, flags)),
            _ => {
                let six = script.bool();
                let flow = Flow {
                    ours: if six { v6(1) } else { v4(1) },
                    peer: if six { v6(script.u8()) } else { v4(script.u8()) },
                    last: Segment::default(),
                    next_seq: SeqNum(script.u32()),
                    next_ack: SeqNum(script.u32()),
                };
                let segment = Segment {
                    src_port: script.near(1002) as u16,
                    dst_port: script.pick(&[80, 80, 81, 82]),
                    seq: flow.next_seq,
                    ack: flow.next_ack,
                    flags,
                    window: 1000,
                    ..Segment::default()
                };
                (flow, segment)
            }
        };
        segment.seq = SeqNum(script.near(segment.seq.0));
        segment.ack = SeqNum(script.near(segment.ack.0));
        segment.window = script.pick(&[segment.window, 0xffff, 0, 1]);
        let len = script.pick(&[0, 0, 1, 100, 1400, 1400]);
        tcp_frame(flow.peer, flow.ours, &segment, len)
    }

    /// Delivers `frame`, mutated or not, its checksums made right or not.
    fn hostile(&mut self, script: &mut Script<'_>, mut frame: Vec<u8>) {
        for _ in 0..script.pick(&[0, 0, 1, 3]) {
            let at = usize::from(script.u16());
            if !frame.is_empty() {
                let at = at % frame.len();
                frame[at] = script.u8();
            }
        }
        if script.one_in(8) {
            frame.truncate(usize::from(script.u16()));
        }
        if script.one_in(16) {
            frame.extend_from_slice(script.bytes(300));
        }
        if script.bool() {
            fix_checksums(&mut frame);
        }
        let verdict = script.pick(&[
            RxChecksum::Unknown,
            RxChecksum::Unknown,
            RxChecksum::Good,
            RxChecksum::Bad,
            RxChecksum::Partial,
        ]);
        let copies = if script.one_in(8) { BURST } else { 1 };
        for _ in 0..copies {
            self.deliver(frame.clone(), verdict);
        }
    }

    fn deliver(&mut self, frame: Vec<u8>, checksum: RxChecksum) {
        if self.history.len() == REMEMBERED {
            self.history.remove(0);
        }
        let data = Chunk::copy_from(&frame);
        self.history.push(frame);
        self.stack
            .on_burst(self.now, &mut vec![RxFrame { data, checksum }]);
    }

    /// ARP, neighbour discovery and ICMP.
    fn control(&mut self, script: &mut Script<'_>) {
        let frame = match script.u8() % 4 {
            0 => arp(
                ArpOperation::Request,
                script.u8(),
                MacAddr([2, 0, 0, 0, 0, script.u8()]),
            ),
            1 => arp(
                ArpOperation::Reply,
                script.u8(),
                MacAddr([2, 0, 0, 0, 0, script.u8()]),
            ),
            2 => advertisement(script.u8(), MacAddr([2, 0, 0, 0, 0, script.u8()])),
            _ => self.icmp(script),
        };
        self.hostile(script, frame);
    }

    /// An ICMP message over IPv4: an echo request, or an error about a segment
    /// that this host sent.
    fn icmp(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(OURS.0);
        frame.extend(PEER.0);
        frame.extend([8, 0]);
        let message = match self.flows.first() {
            Some(flow) if script.bool() => {
                let seq = SeqNum(script.near(flow.last.seq.0));
                let quoted = Segment { seq, ..flow.last };
                let quote = tcp_frame(flow.ours, flow.peer, &quoted, 0);
                let mut message = vec![3, script.u8() % 16, 0, 0, 0, 0, 0, 0];
                message[6..8].copy_from_slice(&script.u16().to_be_bytes());
                message.extend_from_slice(&quote[14..]);
                message
            }
            _ => [&[8, 0, 0, 0, 0, 1, 0, 1], script.bytes(1600)].concat(),
        };
        let total = (20 + message.len()) as u16;
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        frame.extend(message);
        fix_checksums(&mut frame);
        frame
    }

    fn application(&mut self, script: &mut Script<'_>) {
        let nth = usize::from(script.u8());
        let Some(&conn) = self.conns.get(nth % self.conns.len().max(1)) else {
            return self.connect(script);
        };
        match script.u8() % 12 {
            0..3 => {
                let _ = self.stack.write(conn, &vec![7; usize::from(script.u16() % 9000)]);
            }
            3 => {
                let data = Chunk::copy_from(script.bytes(3000));
                let _ = self.stack.write_chunk(conn, data);
            }
            4..7 => while let Ok(Read::Data(_)) = self.stack.read(conn) {},
            7 => self.stack.shutdown_write(conn),
            8 => self.stack.close(self.now, conn),
            9 => self.stack.abort(conn),
            10 => self.stack.set_nodelay(conn, script.bool()),
            _ => self.connect(script),
        }
    }

    fn connect(&mut self, script: &mut Script<'_>) {
        let host = script.pick(&[2, 2, 3, 9]);
        let ip = if script.bool() { v4(host) } else { v6(host) };
        let remote = (ip, script.pick(&[80, 0, 7])).into();
        if let Ok(conn) = self.stack.connect(self.now, None, remote) {
            self.conns.push(conn);
        }
    }

    /// The end of a burst: events, then output, which the peer looks at.
    fn turn(&mut self) {
        self.now += Duration::from_micros(10);
        let mut events = 0;
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Opened { conn, .. } if !self.conns.contains(&conn) => self.conns.push(conn),
                Event::Closed { conn, .. } => self.conns.retain(|&c| c != conn),
                _ => {}
            }
            events += 1;
            assert!(events < 10_000, "events without end");
        }
        self.stack.poll_transmit(self.now, &mut self.nic);
        for (frame, meta) in core::mem::take(&mut self.nic.sent) {
            self.look_at(&frame, meta);
        }
    }

    /// A frame that this host sent, as a peer sees it.
    fn look_at(&mut self, frame: &[u8], meta: TxMeta) {
        let verdict = if meta.offload_checksum {
            RxChecksum::Good
        } else {
            RxChecksum::Unknown
        };
        let parsed = parse(frame, verdict).expect("what is sent can be received");
        assert_eq!(parsed.src_mac, OURS, "it comes from here");
        match parsed.packet {
            Packet::Tcp { ip, segment, payload } => {
                let headers = usize::from(meta.l2_len) + usize::from(meta.l3_len) + usize::from(meta.l4_len);
                // Where nothing is left to the NIC the lengths need not be told.
                assert!(
                    headers == payload.start || !meta.offload_checksum,
                    "the NIC is told where the headers end"
                );
                self.remember(ip.src, ip.dst, segment, payload.len());
            }
            Packet::Arp(question) if question.operation == ArpOperation::Request && self.resolves => {
                let [.., host] = question.target_ip.octets();
                if host != 1 {
                    self.deliver(arp(ArpOperation::Reply, host, PEER), RxChecksum::Unknown);
                }
            }
            Packet::NeighborSolicitation { solicitation, .. } if self.resolves => {
                let [.., host] = solicitation.target.octets();
                if host != 1 {
                    self.deliver(advertisement(host, PEER), RxChecksum::Unknown);
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, ours: IpAddr, peer: IpAddr, last: Segment, payload: usize) {
        let flow = Flow {
            ours,
            peer,
            last,
            next_seq: last.ack,
            next_ack: last.seq + last.sequence_len(payload),
        };
        let same =
            |f: &Flow| f.peer == peer && f.last.src_port == last.src_port && f.last.dst_port == last.dst_port;
        match self.flows.iter_mut().find(|f| same(f)) {
            Some(known) => *known = flow,
            None => {
                if self.flows.len() == 16 {
                    self.flows.remove(0);
                }
                self.flows.push(flow);
            }
        }
    }

    fn check(&self) {
        assert!(
            self.stack.connections() <= MAX_CONNECTIONS as usize,
            "no more slots than configured"
        );
        let most = RECEIVE_BUDGET + u64::from(MAX_CONNECTIONS) * 9000;
        assert!(
            self.stack.received_held() <= most,
            "{} bytes of received data held",
            self.stack.received_held()
        );
    }

    /// Whatever happened, everything ends when all are aborted.
    fn finish(&mut self) {
        self.nic.room = usize::MAX;
        self.stack.abort_all();
        for _ in 0..100 {
            self.turn();
            self.check();
            if !self.stack.has_work() {
                break;
            }
        }
        // A reset waits for its neighbour, who is asked for three times.
        for wait in [1, 1, 1, 1, 300] {
            self.now += Duration::from_secs(wait);
            self.stack.on_timeout(self.now);
            self.turn();
        }
        assert_eq!(self.stack.connections(), 0, "no slot stays in use");
        assert_eq!(self.stack.received_held(), 0, "no received byte stays held");
    }
}

fn v4(host: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, host])
}

fn v6(host: u8) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)])
}

/// What an honest peer would answer on `flow`.
fn answer(flow: &Flow, flags: Flags) -> Segment {
    Segment {
        src_port: flow.last.dst_port,
        dst_port: flow.last.src_port,
        seq: flow.next_seq,
        ack: flow.next_ack,
        flags,
        window: 30_000,
        options: TcpOptions {
            timestamps: flow.last.options.timestamps.map(|t| Timestamps {
                value: t.echo.wrapping_add(1),
                echo: t.value,
            }),
            ..TcpOptions::default()
        },
        ..Segment::default()
    }
}

fn tcp_frame(src: IpAddr, dst: IpAddr, segment: &Segment, payload: usize) -> Vec<u8> {
    let link = Link { src: PEER, dst: OURS };
    let ip = IpEmit {
        src,
        dst,
        hop_limit: 64,
        ecn: 0,
        ident: 0,
    };
    let mut frame = vec![b'x'; tcp_headers_len(&ip, segment) + payload];
    emit_tcp(&mut frame, &link, &ip, segment, payload, TxChecksum::Software);
    frame
}

fn arp(operation: ArpOperation, host: u8, mac: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; ARP_FRAME_LEN];
    let link = Link { src: mac, dst: OURS };
    let arp = Arp {
        operation,
        sender_mac: mac,
        sender_ip: [10, 0, 0, host].into(),
        target_mac: OURS,
        target_ip: [10, 0, 0, 1].into(),
    };
    emit_arp(&mut frame, &link, &arp).expect("there is room");
    frame
}

fn advertisement(host: u8, mac: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; NEIGHBOR_FRAME_LEN];
    let link = Link { src: mac, dst: OURS };
    let (IpAddr::V6(target), IpAddr::V6(ours)) = (v6(host), v6(1)) else {
        return frame;
    };
    let advertisement = NeighborAdvertisement {
        target,
        target_mac: Some(mac),
        router: false,
        solicited: true,
        overriding: true,
    };
    emit_neighbor_advertisement(&mut frame, &link, target, ours, &advertisement).expect("there is room");
    frame
}
