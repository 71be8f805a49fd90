//! Two hosts and what lies between them, in memory and at the least cost: what
//! is counted is to be the stack.

use crore_base::{Duration, Instant, MacAddr, RxChecksum};
use crore_netbuf::Chunk;
use crore_nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use crore_stack::{ConnId, Event, FastOpenPolicy, ListenOptions, Options, Read, Stack, StackConfig};
use crore_tcp::EcnPolicy;

/// Frames that a wire holds until they are taken.
const HELD: usize = 256;
const LONGEST: usize = 1514;

/// A NIC that keeps what is sent until somebody takes it.
pub(crate) struct Wire {
    capabilities: Capabilities,
    frames: Vec<[u8; LONGEST]>,
    lengths: Vec<usize>,
}

impl Wire {
    fn new(last: u8) -> Self {
        Self {
            capabilities: Capabilities {
                mac: MacAddr([2, 0, 0, 0, 0, last]),
                mtu: 1500,
                // As on memif and the ring: nothing is left to the NIC.
                tx_ipv4_checksum: false,
                tx_tcp_checksum: false,
                tx_tso: false,
                rx_checksum: false,
            },
            frames: vec![[0; LONGEST]; HELD],
            lengths: Vec::with_capacity(HELD),
        }
    }

    /// What was sent since, as received frames.
    fn take(&mut self) -> Vec<RxFrame> {
        let frame = |(bytes, length): (&[u8; LONGEST], usize)| RxFrame {
            data: Chunk::copy_from(&bytes[..length]),
            checksum: RxChecksum::Unknown,
        };
        self.frames
            .iter()
            .zip(self.lengths.drain(..))
            .map(frame)
            .collect()
    }
}

impl Nic for Wire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, _into: &mut Vec<RxFrame>) -> usize {
        0
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.frames.get_mut(self.lengths.len())?.get_mut(..len)
    }

    fn commit(&mut self, len: usize, _meta: TxMeta) {
        self.lengths.push(len);
    }

    fn flush(&mut self, _now: Instant) -> usize {
        0
    }
}

/// A stack, its wire, and the frames that have come to it.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) wire: Wire,
    pub(crate) arrived: Vec<RxFrame>,
}

impl Host {
    fn new(last: u8, park_after: Option<Duration>, config: StackConfig) -> Self {
        let config = StackConfig {
            addresses: vec![([10, 0, 0, last].into(), 24)],
            park_after,
            ..config
        };
        let wire = Wire::new(last);
        let stack = Stack::new(config, wire.capabilities(), [last; 16]).expect("a good configuration");
        Self {
            stack,
            wire,
            arrived: Vec::with_capacity(HELD),
        }
    }

    /// A turn of the loop in which the application sends back what came.
    pub(crate) fn echo(&mut self, now: Instant) -> u32 {
        let mut bytes = 0;
        self.stack.on_burst(now, &mut self.arrived);
        self.stack.on_timeout(now);
        while let Some(event) = self.stack.poll_event() {
            let Event::Readable { conn } = event else { continue };
            while let Ok(Read::Data(chunk)) = self.stack.read(conn) {
                bytes += chunk.len() as u32;
                let taken = self.stack.write_chunk(conn, chunk);
                assert!(taken.is_ok(), "the connection is open");
            }
        }
        self.stack.poll_transmit(now, &mut self.wire);
        bytes
    }

    /// A turn in which the application reads and says nothing; the connections that opened.
    pub(crate) fn listen_only(&mut self, now: Instant) -> Vec<ConnId> {
        let mut opened = Vec::with_capacity(BURST);
        self.stack.on_burst(now, &mut self.arrived);
        self.stack.on_timeout(now);
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Opened { conn, .. } => opened.push(conn),
                Event::Readable { conn } => while let Ok(Read::Data(_)) = self.stack.read(conn) {},
                _ => {}
            }
        }
        self.stack.poll_transmit(now, &mut self.wire);
        opened
    }
}

/// A server that listens, and a client.
pub(crate) struct Hosts {
    pub(crate) now: Instant,
    pub(crate) server: Host,
    pub(crate) client: Host,
}

impl Hosts {
    /// Both ends park as `park_after` says.
    pub(crate) fn new(park_after: Option<Duration>) -> Self {
        Self::with(Host::new(1, park_after, StackConfig::default()), None)
    }

    /// A server that has switched on, and a listener that has chosen, what no
    /// client asks for and nothing gives rise to.
    pub(crate) fn ready_for_more() -> Self {
        let mut config = StackConfig {
            fast_open: FastOpenPolicy::Both,
            ..StackConfig::default()
        };
        config.tcp.ecn = EcnPolicy::AccuratePassive;
        let server = Host::new(1, Some(Duration::from_secs(1)), config);
        let options = Options {
            user_timeout: Some(Duration::from_secs(30)),
            linger: Some(Duration::from_secs(5)),
            ..server.stack.default_options()
        };
        Self::with(server, Some(options))
    }

    /// Both ends take in and plan segments of a burst together, or one by one.
    pub(crate) fn streaming(together: bool) -> Self {
        let host = |last| {
            let config = StackConfig {
                gro: together,
                gso: together,
                ..StackConfig::default()
            };
            Host::new(last, Some(Duration::from_secs(1)), config)
        };
        let mut hosts = Self::with(host(1), None);
        hosts.client = host(2);
        hosts
    }

    fn with(mut server: Host, tcp: Option<Options>) -> Self {
        let any = "0.0.0.0:7".parse().expect("an address");
        let how = ListenOptions { backlog: 1024, tcp };
        server.stack.listen_with(any, &how).expect("nobody else listens");
        let client = Host::new(2, Some(Duration::from_secs(1)), StackConfig::default());
        Self {
            now: Instant::from_millis(1),
            server,
            client,
        }
    }

    /// Lets a little time pass.
    pub(crate) fn tick(&mut self) {
        self.now += Duration::from_micros(100);
    }

    /// Begins `count` connections of the client.
    pub(crate) fn connect(&mut self, count: usize) -> Vec<ConnId> {
        let server = "10.0.0.1:7".parse().expect("an address");
        let open = |_| self.client.stack.connect(self.now, None, server);
        (0..count)
            .map(open)
            .map(|conn| conn.expect("there is room"))
            .collect()
    }

    /// Lets the client have its turn, and hands what it sent to the server's door.
    pub(crate) fn reach_server(&mut self) {
        self.client.listen_only(self.now);
        self.server.arrived.extend(self.client.wire.take());
    }

    /// Hands what the server sent to the client's door.
    pub(crate) fn reach_client(&mut self) {
        self.client.arrived.extend(self.server.wire.take());
    }

    /// Turns of both hosts until nothing is under way; what opened at the server.
    pub(crate) fn settle(&mut self) -> Vec<ConnId> {
        let mut opened = Vec::new();
        loop {
            self.tick();
            self.reach_server();
            opened.extend(self.server.listen_only(self.now));
            self.reach_client();
            let still = self.client.arrived.is_empty() && !self.client.stack.has_work();
            if still && !self.server.stack.has_work() {
                return opened;
            }
        }
    }

    /// A burst of established connections: at the client, and at the server.
    pub(crate) fn established(&mut self) -> (Vec<ConnId>, Vec<ConnId>) {
        let clients = self.connect(BURST);
        let servers = self.settle();
        assert_eq!(servers.len(), BURST, "all are established");
        // Data from the server's side: then it knows its neighbour, too.
        for &conn in &servers {
            assert_eq!(self.server.stack.write(conn, b"hello"), Ok(5), "there is room");
        }
        self.settle();
        (clients, servers)
    }
}
