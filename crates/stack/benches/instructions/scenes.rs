//! What is counted.

use std::hint::black_box;
use std::rc::Rc;

use crore_base::{Duration, FourTuple, Instant, MacAddr, RxChecksum, SeqNum, WindowScale};
use crore_netbuf::Chunk;
use crore_nic::BURST;
use crore_stack::{ConnId, FlowHasher, FlowTable};
use crore_tcp::{Config, Connection, HalfOpen, PARKED_LEN, Parked, Path};
use crore_wire::{Flags, IpEmit, Link, Segment, TcpOptions, Timestamps, TxChecksum, emit_tcp, parse};

use crate::Scene;
use crate::hosts::Hosts;

type Make = fn() -> Box<dyn Scene>;

/// All scenes by their names.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("parse", || Box::new(Parse::new())),
    ("lookup_hit", || Box::new(Lookup::new())),
    ("data_echoed", || {
        Box::new(Echo::new(Hosts::new(AFTER_A_SECOND), false))
    }),
    ("data_echoed_ready", || {
        Box::new(Echo::new(Hosts::ready_for_more(), false))
    }),
    ("data_echoed_parked", || {
        Box::new(Echo::new(Hosts::new(Some(Duration::ZERO)), true))
    }),
    ("pure_ack", || Box::new(PureAck::new())),
    ("stream_received", || Box::new(StreamReceived(Stream::new(true)))),
    ("stream_received_singly", || {
        Box::new(StreamReceived(Stream::new(false)))
    }),
    ("stream_sent", || Box::new(StreamSent(Stream::new(true)))),
    ("stream_sent_singly", || Box::new(StreamSent(Stream::new(false)))),
    ("syn_answered", || Box::new(Syn::new(Hosts::new(AFTER_A_SECOND)))),
    ("syn_answered_ready", || {
        Box::new(Syn::new(Hosts::ready_for_more()))
    }),
    ("handshake_ends", || Box::new(LastAck::new())),
    ("connection_wake", || Box::new(Wake::new())),
    ("connection_park", || Box::new(Park::new())),
];

/// When idle connections are parked where it is not the point: not meanwhile.
const AFTER_A_SECOND: Option<Duration> = Some(Duration::from_secs(1));

/// Operations in a round: a burst.
const BURST_OPERATIONS: u32 = BURST as u32;

/// The request that a client sends.
const REQUEST: [u8; 64] = [0x5a; 64];

/// One TCP frame of 64 bytes taken apart, checksums in software.
struct Parse {
    frame: Vec<u8>,
}

impl Parse {
    fn new() -> Self {
        let mut frame = vec![0; 64];
        let link = Link {
            src: MacAddr([2, 0, 0, 0, 0, 1]),
            dst: MacAddr([2, 0, 0, 0, 0, 2]),
        };
        let ip = IpEmit {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            hop_limit: 64,
            ecn: 0,
            ident: 1,
        };
        let segment = Segment {
            src_port: 4000,
            dst_port: 7,
            seq: SeqNum(1),
            ack: SeqNum(2),
            flags: Flags::ACK | Flags::PSH,
            window: 1000,
            ..Segment::default()
        };
        let len = emit_tcp(&mut frame, &link, &ip, &segment, 10, TxChecksum::Software);
        assert_eq!(len, 64, "14 + 20 + 20 + 10");
        Self { frame }
    }
}

impl Scene for Parse {
    fn prepare(&mut self) {}

    fn run(&mut self) {
        for _ in 0..BURST {
            let parsed = parse(black_box(&self.frame), RxChecksum::Unknown);
            assert!(black_box(parsed).is_ok(), "a good frame");
        }
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// A tuple hashed, and found in a table of a million.
struct Lookup {
    hasher: FlowHasher,
    table: FlowTable,
    tuples: Vec<(u32, FourTuple)>,
    next: u32,
}

impl Lookup {
    const ENTRIES: u32 = 1_000_000;

    fn new() -> Self {
        let hasher = FlowHasher::new([7; 16]);
        let mut table = FlowTable::new(Self::ENTRIES).expect("some megabytes");
        for n in 0..Self::ENTRIES {
            table.insert(hasher.hash(&Self::tuple(n)), n);
        }
        Self {
            hasher,
            table,
            tuples: Vec::with_capacity(BURST),
            next: 0,
        }
    }

    fn tuple(n: u32) -> FourTuple {
        FourTuple {
            local_addr: [10, 0, 0, 1].into(),
            local_port: 7,
            remote_addr: (0x0a01_0000 + n / 50_000).to_be_bytes().into(),
            remote_port: (10_000 + n % 50_000) as u16,
        }
    }
}

impl Scene for Lookup {
    fn prepare(&mut self) {
        self.tuples.clear();
        for _ in 0..BURST {
            // All over the table; the step and the number of entries have no common factor.
            self.next = (self.next + 61_803) % Self::ENTRIES;
            self.tuples.push((self.next, Self::tuple(self.next)));
        }
    }

    fn run(&mut self) {
        for (slot, tuple) in &self.tuples {
            let hash = self.hasher.hash(black_box(tuple));
            let found = self.table.find(hash, |candidate| candidate == *slot);
            assert_eq!(found, Some(*slot), "it is there");
        }
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// A burst of requests, one on each of 32 connections, received in order, read,
/// and echoed: a whole turn of the server's loop. Parked connections are woken
/// for it, and parked again when the acknowledgment comes (not counted).
struct Echo {
    hosts: Hosts,
    clients: Vec<ConnId>,
    parked: bool,
}

impl Echo {
    fn new(mut hosts: Hosts, parked: bool) -> Self {
        let (clients, _) = hosts.established();
        Self {
            hosts,
            clients,
            parked,
        }
    }
}

impl Scene for Echo {
    fn prepare(&mut self) {
        self.hosts.reach_client();
        self.hosts.settle();
        let active = self.hosts.server.stack.active_connections();
        assert_eq!(active, if self.parked { 0 } else { BURST }, "between the rounds");
        self.hosts.tick();
        for &conn in &self.clients {
            let written = self.hosts.client.stack.write(conn, &REQUEST);
            assert_eq!(written, Ok(REQUEST.len()), "there is room");
        }
        self.hosts.reach_server();
        assert_eq!(self.hosts.server.arrived.len(), BURST, "a request from each");
    }

    fn run(&mut self) {
        let bytes = self.hosts.server.echo(self.hosts.now);
        assert_eq!(bytes, BURST_OPERATIONS * REQUEST.len() as u32, "all of it");
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// A bare acknowledgment of all that is in flight, on each of 32 connections,
/// and the turn that it causes.
struct PureAck {
    hosts: Hosts,
    servers: Vec<ConnId>,
}

impl PureAck {
    fn new() -> Self {
        let mut hosts = Hosts::new(AFTER_A_SECOND);
        let (_, servers) = hosts.established();
        Self { hosts, servers }
    }
}

impl Scene for PureAck {
    fn prepare(&mut self) {
        self.hosts.settle();
        for &conn in &self.servers {
            let written = self.hosts.server.stack.write(conn, &REQUEST);
            assert_eq!(written, Ok(REQUEST.len()), "there is room");
        }
        self.hosts.server.listen_only(self.hosts.now);
        self.hosts.reach_client();
        self.hosts.reach_server();
        assert_eq!(
            self.hosts.server.arrived.len(),
            BURST,
            "an acknowledgment for each"
        );
    }

    fn run(&mut self) {
        let opened = self.hosts.server.listen_only(self.hosts.now);
        assert!(opened.is_empty(), "nothing but acknowledgments");
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// A burst of full segments of one connection, from the server to the client or to
/// the server; taken in and planned together, or one by one.
struct Stream {
    hosts: Hosts,
    client: ConnId,
    server: ConnId,
    text: Vec<u8>,
}

impl Stream {
    /// Payload of a full segment with timestamps.
    const SEGMENT: usize = 1448;

    fn new(together: bool) -> Self {
        let mut hosts = Hosts::streaming(together);
        let (clients, servers) = hosts.established();
        let (client, server) = (clients[0], servers[0]);
        let text = vec![0x5a; BURST * Self::SEGMENT];
        // Until a whole burst leaves at once, both ways.
        for _ in 0..8 {
            for (host, conn) in [(&mut hosts.client, client), (&mut hosts.server, server)] {
                assert_eq!(host.stack.write(conn, &text), Ok(text.len()), "there is room");
            }
            hosts.settle();
        }
        Self {
            hosts,
            client,
            server,
            text,
        }
    }
}

/// The burst received, and read at once.
struct StreamReceived(Stream);

impl Scene for StreamReceived {
    fn prepare(&mut self) {
        let Stream {
            hosts, client, text, ..
        } = &mut self.0;
        hosts.settle();
        let written = hosts.client.stack.write(*client, text);
        assert_eq!(written, Ok(text.len()), "there is room");
        hosts.reach_server();
        assert_eq!(hosts.server.arrived.len(), BURST, "a burst of full segments");
    }

    fn run(&mut self) {
        let hosts = &mut self.0.hosts;
        hosts.server.listen_only(hosts.now);
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// The burst sent: what the end of a turn does.
struct StreamSent(Stream);

impl Scene for StreamSent {
    fn prepare(&mut self) {
        let Stream {
            hosts, server, text, ..
        } = &mut self.0;
        hosts.reach_client();
        hosts.settle();
        let written = hosts.server.stack.write(*server, text);
        assert_eq!(written, Ok(text.len()), "there is room");
    }

    fn run(&mut self) {
        let hosts = &mut self.0.hosts;
        let sent = hosts
            .server
            .stack
            .poll_transmit(hosts.now, &mut hosts.server.wire);
        assert_eq!(sent, BURST, "the window lets all of them out");
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// A burst of SYNs, recorded and answered.
struct Syn {
    hosts: Hosts,
}

impl Syn {
    fn new(mut hosts: Hosts) -> Self {
        hosts.established();
        Self { hosts }
    }
}

impl Scene for Syn {
    fn prepare(&mut self) {
        self.hosts.reach_client();
        self.hosts.settle();
        self.hosts.client.stack.abort_all();
        self.hosts.settle();
        assert_eq!(self.hosts.server.stack.connections(), 0, "all were reset");
        self.hosts.connect(BURST);
        self.hosts.reach_server();
        assert_eq!(self.hosts.server.arrived.len(), BURST, "a SYN of each");
    }

    fn run(&mut self) {
        self.hosts.server.listen_only(self.hosts.now);
        assert_eq!(
            self.hosts.server.stack.connections(),
            BURST,
            "each has its record"
        );
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// The acknowledgments that end a burst of handshakes: connections made, parked, and told of.
struct LastAck {
    syns: Syn,
}

impl LastAck {
    fn new() -> Self {
        Self {
            syns: Syn::new(Hosts::new(AFTER_A_SECOND)),
        }
    }
}

impl Scene for LastAck {
    fn prepare(&mut self) {
        self.syns.prepare();
        self.syns.run();
        let hosts = &mut self.syns.hosts;
        hosts.reach_client();
        hosts.reach_server();
        assert_eq!(hosts.server.arrived.len(), BURST, "an acknowledgment of each");
    }

    fn run(&mut self) {
        let hosts = &mut self.syns.hosts;
        let opened = hosts.server.listen_only(hosts.now);
        assert_eq!(opened.len(), BURST, "all are told of");
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// An established connection as it is parked after some traffic, and what it is woken with.
fn parked() -> (Rc<Config>, Path, Parked) {
    let config = Rc::new(Config::default());
    let path = Path::ipv4(1500);
    let now = Instant::from_millis(1);
    let half = HalfOpen::new(&config, now, SeqNum(1000), &syn(), 0);
    let mut conn = half.wake(&config, now, 77, path);
    let ack = Segment {
        seq: SeqNum(501),
        ack: SeqNum(1001),
        flags: Flags::ACK,
        window: 512,
        options: TcpOptions {
            timestamps: Some(Timestamps { value: 9, echo: 78 }),
            ..Default::default()
        },
        ..Segment::default()
    };
    conn.on_segment(now + Duration::from_millis(3), &ack, Chunk::empty());
    while conn.poll_event().is_some() {}
    let parked = conn.park().expect("nothing goes on");
    (config, path, parked)
}

/// A SYN with all the options.
fn syn() -> Segment {
    Segment {
        seq: SeqNum(500),
        flags: Flags::SYN,
        window: 64_000,
        options: TcpOptions {
            mss: Some(1460),
            window_scale: Some(WindowScale::new(7)),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 8, echo: 0 }),
            ..Default::default()
        },
        ..Segment::default()
    }
}

/// A connection made of its parked form.
struct Wake {
    config: Rc<Config>,
    path: Path,
    bytes: [u8; PARKED_LEN],
    /// A place for each, as the stack's pool has them.
    woken: Vec<Option<Connection>>,
}

impl Wake {
    fn new() -> Self {
        let (config, path, parked) = parked();
        Self {
            config,
            path,
            bytes: parked.to_bytes(),
            woken: Vec::new(),
        }
    }
}

impl Scene for Wake {
    fn prepare(&mut self) {
        self.woken.clear();
        self.woken.resize_with(BURST, || None);
    }

    fn run(&mut self) {
        for place in &mut self.woken {
            let parked = Parked::from_bytes(black_box(&self.bytes));
            *place = Some(Connection::wake(&self.config, &parked, 77, self.path, false));
        }
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}

/// The parked form made of a connection.
struct Park {
    awake: Connection,
    bytes: [u8; PARKED_LEN],
}

impl Park {
    fn new() -> Self {
        let (config, path, parked) = parked();
        Self {
            awake: Connection::wake(&config, &parked, 77, path, false),
            bytes: [0; PARKED_LEN],
        }
    }
}

impl Scene for Park {
    fn prepare(&mut self) {}

    fn run(&mut self) {
        for _ in 0..BURST {
            let parked = black_box(&self.awake).park().expect("nothing goes on");
            self.bytes = black_box(parked.to_bytes());
        }
    }

    fn operations(&self) -> u32 {
        BURST_OPERATIONS
    }
}
