//! Every key of the configuration, declared once: its type, default, unit,
//! range and meaning. The struct, the reading, the checks and `docs/CONFIG.md`
//! come from here.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crore_base::MacAddr;

use super::Prefix;
use super::section::Range::{OneOf, Real, Whole, Words};
use super::section::section;
use super::value::words;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Which wire.
    pub wire: Wire,
    /// How DPDK's environment starts.
    pub eal: Eal,
    /// Who this host is on the link.
    pub net: Net,
    /// The TCP connection's limits and timers.
    pub tcp: Tcp,
    /// The stack's limits.
    pub stack: StackLimits,
    /// The served application.
    pub serve: Serve,
    /// Faults made on purpose.
    pub faults: Faults,
}

/// Applies a macro to every section of [`Config`]: its field and its type.
macro_rules! for_each_section {
    ($apply:ident) => {
        $apply! { wire: Wire, eal: Eal, net: Net, tcp: Tcp, stack: StackLimits, serve: Serve, faults: Faults }
    };
}
pub(super) use for_each_section;

words! {
    /// The kinds of wire that a port can stand on.
    WireKind {
        /// A TAP device: the host itself is on the other end.
        Tap = "tap",
        /// A packet socket on a kernel interface.
        AfPacket = "af_packet",
        /// An XDP socket on a kernel interface.
        AfXdp = "af_xdp",
        /// Shared memory with another process.
        Memif = "memif",
        /// The device side of virtio, over a unix socket.
        Vhost = "vhost",
        /// The driver side of virtio, over a unix socket.
        VirtioUser = "virtio_user",
        /// Two ports in this process, joined by rings.
        Ring = "ring",
        /// A NIC that is bound to a driver for user space.
        Pci = "pci",
    }
}

words! {
    /// Which side of a memif this is.
    MemifRole {
        /// Makes the socket, and the memory's other end is told of it.
        Server = "server",
        /// Connects to the socket, again and again until it is there.
        Client = "client",
    }
}

words! {
    /// What to do about huge pages.
    HugePages {
        /// Use them when enough are free, else ordinary pages and a warning.
        Auto = "auto",
        /// Ordinary pages.
        Never = "never",
        /// Refuse to start without them.
        Require = "require",
    }
}

words! {
    /// How much DPDK itself says.
    EalLog {
        /// Errors only.
        Error = "error",
        /// Warnings too.
        Warning = "warning",
        /// What each part decided.
        Notice = "notice",
        /// Progress.
        Info = "info",
        /// Everything.
        Debug = "debug",
    }
}

words! {
    /// What an idle core does.
    Poll {
        /// It sleeps for tens of microseconds at a time once nothing has happened for a while.
        Adaptive = "adaptive",
        /// It keeps polling.
        Busy = "busy",
        /// It lets whatever else is on the core have it after each turn without work.
        Yield = "yield",
    }
}

words! {
    /// Which way faults are made.
    FaultDirection {
        /// On what is received and on what is sent.
        Both = "both",
        /// On what is received only.
        Rx = "rx",
        /// On what is sent only.
        Tx = "tx",
    }
}

words! {
    /// Whether explicit congestion notification is used.
    EcnWords {
        /// Never.
        Off = "off",
        /// Where the peer offers it.
        Passive = "passive",
        /// It is offered, and accepted.
        On = "on",
        /// Where the peer offers it, accurate ECN too.
        AccuratePassive = "accurate-passive",
        /// Accurate ECN is offered, either is accepted.
        Accurate = "accurate",
    }
}

words! {
    /// What is done about paths that swallow large packets.
    MtuProbing {
        /// Nothing.
        Off = "off",
        /// Segments get smaller where large ones vanish.
        BlackHoles = "black-holes",
        /// Connections begin with small segments.
        Always = "always",
    }
}

words! {
    /// Who sends data with SYNs.
    FastOpen {
        /// Nobody.
        Off = "off",
        /// Connections that this host opens.
        Client = "client",
        /// Those that it gets.
        Server = "server",
        /// Both.
        Both = "both",
    }
}

words! {
    /// When a SYN is answered by a cookie.
    SynCookies {
        /// Never.
        Never = "never",
        /// When too many handshakes are under way to remember another one.
        Overflow = "overflow",
        /// Always.
        Always = "always",
    }
}

words! {
    /// How the congestion window grows and falls.
    CongestionControl {
        /// CUBIC, RFC 9438.
        Cubic = "cubic",
        /// Halved and regained a segment each round trip, RFC 5681.
        NewReno = "newreno",
        /// By a model of the path, BBRv3 (draft-ietf-ccwg-bbr-06).
        Bbr = "bbr",
    }
}

section! {
    /// The wire that the port stands on. `kind` decides which of the other keys
    /// apply; one that does not belong to the kind is an error.
    Wire = "wire" {
        /// What carries the frames.
        kind: WireKind = WireKind::Tap, "", OneOf(WireKind::WORDS);
        /// `tap`: the name of the kernel's interface that is made (default `crore0`).
        /// `af_packet`, `af_xdp`: the existing kernel interface to use (needed).
        interface: Option<String> = None, "", Words("an interface name, 1 to 15 characters");
        /// `tap`: addresses that the kernel's end of the wire is given, so that the host itself can be a client.
        host_addresses: Vec<Prefix> = Vec::new(), "", Words("addresses with prefix lengths");
        /// `memif`, `vhost`, `virtio_user`: the unix socket over which both ends meet (needed).
        socket: Option<PathBuf> = None, "", Words("a path of at most 107 bytes");
        /// `memif`: which side this is; one end is the server, the other the client.
        role: MemifRole = MemifRole::Server, "", OneOf(MemifRole::WORDS);
        /// `memif`: the number of the interface on the socket; both ends say the same.
        id: u32 = 0, "", Whole(0, u32::MAX as u64);
        /// `memif`, client: receive without copying out of the shared memory.
        zero_copy: bool = false, "", Words("true, false");
        /// `vhost`: connect to the socket instead of making it; `virtio_user`: make it instead of connecting.
        reverse: bool = false, "", Words("true, false");
        /// `af_packet`: send without the kernel's queueing discipline.
        qdisc_bypass: bool = true, "", Words("true, false");
        /// `af_xdp`: copy frames even where the driver could share them (veth needs it).
        force_copy: bool = true, "", Words("true, false");
        /// `af_xdp`: packets that one busy-poll may handle; 0 leaves busy-polling out, without which veth stalls.
        busy_budget: u16 = 0, "packets", Whole(0, 1024);
        /// `pci`: the NIC, as `dpdk-devbind.py --status` names it (needed).
        address: Option<String> = None, "", Words("domain:bus:device.function");
        /// Pairs of queues of the port; each shard takes its part of them. Absent: one for each shard. Both ends of `memif`, `vhost` and `virtio_user` have to have as many.
        queues: Option<u16> = None, "pairs", Whole(1, 1024);
        /// Descriptors of the receive ring, for each queue.
        rx_descriptors: u16 = 1024, "packets", Whole(64, 4096);
        /// Descriptors of the transmit ring, for each queue.
        tx_descriptors: u16 = 1024, "packets", Whole(64, 4096);
        /// Packet buffers in the pool, for receiving, sending and received data that nobody has read yet. A power of two less one uses memory best.
        buffers: u32 = 16_383, "packets", Whole(1023, 4_194_303);
        /// Let the NIC make and check checksums where it can.
        offload: bool = true, "", Words("true, false");
        /// Let the NIC cut large TCP segments into those of the MTU where it can (TSO). A `vhost` wire offers that to its other end. Not without `offload`.
        tso: bool = true, "", Words("true, false");
        /// Take in at once what comes of a flow in one burst (generic receive offload, in software).
        gro: bool = true, "", Words("true, false");
        /// Plan full segments that may leave at once together, and cut them apart as they are written (generic segmentation offload, in software).
        gso: bool = true, "", Words("true, false");
    }
}

section! {
    /// DPDK's environment (EAL): which cores, how much memory, which pages.
    Eal = "eal" {
        /// The cores, one shard on each, pinned to it. Empty: one shard, on the first core that this process may use.
        cores: Vec<u16> = Vec::new(), "core numbers", Whole(0, 1023);
        /// Memory that DPDK takes at start.
        memory_mb: u32 = 512, "MiB", Whole(64, 1_048_576);
        /// Huge pages make every access to packet buffers cheaper.
        huge_pages: HugePages = HugePages::Auto, "", OneOf(HugePages::WORDS);
        /// How much DPDK itself says.
        log_level: EalLog = EalLog::Warning, "", OneOf(EalLog::WORDS);
    }
}

section! {
    /// Who this host is on the link.
    Net = "net" {
        /// This host's addresses. A link-local IPv6 address comes by itself with the first IPv6 address.
        addresses: Vec<Prefix> = Vec::new(), "", Words("addresses with prefix lengths; at least one");
        /// The next hop for IPv4 destinations off the link.
        gateway_v4: Option<Ipv4Addr> = None, "", Words("an IPv4 address on the link of one of `addresses`");
        /// The next hop for IPv6 destinations off the link.
        gateway_v6: Option<Ipv6Addr> = None, "", Words("an IPv6 address on the link of one of `addresses`, or link-local");
        /// The largest IP packet that is sent or received. Absent: the kernel interface's for `af_packet` and `af_xdp`, else 1500.
        mtu: Option<u16> = None, "bytes", Whole(1280, 9000);
        /// The Ethernet address, for `tap`, `memif` and `virtio_user`. Absent: the port's own; a fixed one for `tap`.
        mac: Option<MacAddr> = None, "", Words("six pairs of hex digits; a station's, not a group's");
    }
}

section! {
    /// The TCP connection's limits and timers.
    Tcp = "tcp" {
        /// The largest segment sent or asked for, options included. It is at most what the MTU allows anyway.
        mss: u16 = 65_535, "bytes", Whole(88, 65_535);
        /// Most received bytes that wait for the application, and so the window that is offered.
        receive_buffer_bytes: u32 = 262_144, "bytes", Whole(2048, 1_073_741_824);
        /// As far as that grows, for a connection whose peer fills it within a round trip and whose application keeps up. Not more than `receive_buffer_bytes`: it does not grow.
        receive_buffer_max_bytes: u32 = 6_291_456, "bytes", Whole(0, 1_073_741_824);
        /// Most bytes written by the application that are not acknowledged yet.
        send_buffer_bytes: u32 = 262_144, "bytes", Whole(2048, 1_073_741_824);
        /// As far as that grows, to twice the congestion window of a connection. Not more than `send_buffer_bytes`: it does not grow.
        send_buffer_max_bytes: u32 = 4_194_304, "bytes", Whole(0, 1_073_741_824);
        /// Offer window scaling (RFC 7323), needed for windows above 65,535 bytes.
        window_scaling: bool = true, "", Words("true, false");
        /// Offer timestamps (RFC 7323).
        timestamps: bool = true, "", Words("true, false");
        /// Offer selective acknowledgments (RFC 2018).
        sack: bool = true, "", Words("true, false");
        /// Explicit congestion notification (RFC 3168): a congested router marks segments instead of dropping them. `passive`: accepted where the peer offers it; `on`: offered too; `accurate-passive` and `accurate`: the same with accurate ECN (RFC 9768), and with RFC 3168's for peers that know no more (the option that counts bytes goes along wherever the path takes it).
        ecn: EcnWords = EcnWords::Passive, "", OneOf(EcnWords::WORDS);
        /// Send small segments at once instead of waiting for outstanding data (Nagle's algorithm off).
        nodelay: bool = true, "", Words("true, false");
        /// The congestion window at the start of a connection (RFC 6928). For segments above 1460 bytes it is fewer of them: so many times 1460 bytes, but two at least.
        initial_window: u32 = 10, "segments", Whole(1, 1000);
        /// How the congestion window grows and falls: `cubic` (RFC 9438) or `newreno` (RFC 5681), both of which leave the first slow start as HyStart++ says (RFC 9406), or `bbr` (BBRv3, draft-ietf-ccwg-bbr-06), which measures what the path delivers and paces by itself.
        congestion: CongestionControl = CongestionControl::Cubic, "", OneOf(CongestionControl::WORDS);
        /// Spread segments over the round trip instead of sending as soon as the window allows. What is due within a millisecond goes together, so on paths shorter than that it changes nothing. With `congestion = "bbr"` it is always on.
        pacing: bool = false, "", Words("true, false");
        /// The retransmission time-out before the round trip was measured.
        rto_initial_ms: u64 = 1000, "ms", Whole(1, 60_000);
        /// The shortest retransmission time-out.
        rto_min_ms: u64 = 200, "ms", Whole(1, 60_000);
        /// The longest retransmission time-out.
        rto_max_ms: u64 = 60_000, "ms", Whole(1, 600_000);
        /// How often a SYN is sent again before the attempt is given up.
        syn_retries: u8 = 6, "retransmissions", Whole(0, 255);
        /// How often data is sent again before the connection is given up.
        data_retries: u8 = 15, "retransmissions", Whole(1, 255);
        /// How often data is sent again on a connection that the application has closed, or a shut window probed, before the connection is given up.
        orphan_retries: u8 = 8, "attempts", Whole(1, 255);
        /// How long data may stay unacknowledged, or wait before a shut window, before the connection is given up, whatever `data_retries` and `keepalive_probes` say. 0: as long as those say.
        user_timeout_ms: u64 = 0, "ms", Whole(0, 86_400_000);
        /// How long a window may stay shut on data that waits, though the peer answers (RFC 6429). 0: for ever.
        persist_timeout_ms: u64 = 0, "ms", Whole(0, 86_400_000);
        /// How long a connection stays in TIME-WAIT.
        time_wait_ms: u64 = 60_000, "ms", Whole(0, 240_000);
        /// How long a closed connection waits for the peer's FIN.
        fin_wait_2_ms: u64 = 60_000, "ms", Whole(1, 3_600_000);
        /// How long an acknowledgment of a lone segment may wait for data to ride on. 0: it goes when the burst ends.
        delayed_ack_ms: u64 = 0, "ms", Whole(0, 500);
        /// What is done about paths that swallow large packets without a word (RFC 8899): `black-holes`: segments get smaller where large ones seem to vanish, and larger ones are tried by and by; `always`: every connection begins with small ones; `off`: only what routers say counts.
        mtu_probing: MtuProbing = MtuProbing::BlackHoles, "", OneOf(MtuProbing::WORDS);
        /// Data with the SYN (TCP Fast Open, RFC 7413), for connections that this host opens with data, for those that it gets, or for both. Data of a SYN that comes twice may be served twice.
        fast_open: FastOpen = FastOpen::Off, "", OneOf(FastOpen::WORDS);
        /// Keys of Fast Open cookies: 32 hex digits each, separated by commas; the first makes cookies, all recognise them. Absent: made at the start, and changed as time goes.
        fast_open_keys: Option<String> = None, "", Words("hex digits");
        /// Pieces of out-of-order data that one connection keeps, for each 256 KiB of its window.
        reassembly_chunks: u16 = 512, "pieces", Whole(1, 65_535);
        /// How long a silent connection rests before the peer is asked whether it is alive. 0: never.
        keepalive_ms: u64 = 0, "ms", Whole(0, 86_400_000);
        /// How long the peer has to answer such a question before it is asked again.
        keepalive_interval_ms: u64 = 75_000, "ms", Whole(1, 86_400_000);
        /// How often it is asked in vain before the connection is given up.
        keepalive_probes: u8 = 9, "probes", Whole(1, 127);
    }
}

section! {
    /// The stack's limits. All memory for them is bounded at the start. They are
    /// for the whole program: each shard gets an even part of those that are
    /// counted in connections, bytes or a second.
    StackLimits = "stack" {
        /// Connections in all states together.
        max_connections: u32 = 65_536, "connections", Whole(1, 1_073_741_823);
        /// Connections that may be active at once: with something in flight, unread, out of order or owed. The others take 64 bytes each.
        max_active: u32 = 65_536, "connections", Whole(1, 1_073_741_824);
        /// After how long without data an idle connection is parked in its 64 bytes; under pressure at once.
        park_after_ms: u64 = 1000, "ms", Whole(0, 86_400_000);
        /// Connections that may be on their way to their end, given up by the application, with data or a FIN that the peer has not acknowledged; one more is reset. 0: no limit but `max_active`.
        max_orphans: u32 = 0, "connections", Whole(0, 1_073_741_824);
        /// After how long a connection whose peer has finished is ended although the application has not (CLOSE-WAIT). 0: never.
        close_wait_limit_seconds: u64 = 0, "s", Whole(0, 31_536_000);
        /// Handshakes that a listener remembers at once.
        backlog: u32 = 4096, "connections", Whole(1, 1_073_741_824);
        /// When a SYN is answered without remembering it, by a SYN cookie: `overflow`: when the backlog, or the last record, is taken by handshakes; `never`: a SYN is dropped then. A client without timestamps gets neither window scaling nor SACK by a cookie.
        syn_cookies: SynCookies = SynCookies::Overflow, "", OneOf(SynCookies::WORDS);
        /// Handshakes of a listener whose data may be served before they are over (`tcp.fast_open`). 0: none.
        fast_open_queue: u32 = 256, "connections", Whole(0, 1_048_576);
        /// Entries of the neighbour cache, of each shard.
        max_neighbors: u32 = 4096, "entries", Whole(1, 1_048_576);
        /// Received data that all connections hold together.
        receive_budget_bytes: u64 = 1_073_741_824, "bytes", Whole(65_536, 1_099_511_627_776);
        /// Written data that all connections hold together beyond `tcp.send_buffer_bytes` of each. From three quarters of it on, and of `receive_budget_bytes`, no buffer grows, and those that have grown count for what they started with.
        send_budget_bytes: u64 = 1_073_741_824, "bytes", Whole(0, 1_099_511_627_776);
        /// Resets sent for segments that belong to no connection. They are divided among up to 1,024 parts of the addresses, drawn anew each second, so that nobody learns of others by counting his own.
        resets_per_second: u32 = 100_000, "a second", Whole(0, 10_000_000);
        /// Answers to ping.
        echo_replies_per_second: u32 = 10_000, "a second", Whole(0, 10_000_000);
        /// ICMP errors about packets that nobody here can use.
        icmp_errors_per_second: u32 = 1_000, "a second", Whole(0, 10_000_000);
        /// Fragments of IP datagrams that wait for the others, of which one sender has a quarter at most. 0: fragments are dropped.
        fragment_budget_bytes: u64 = 4_194_304, "bytes", Whole(0, 1_073_741_824);
        /// Datagrams that wait to be whole.
        fragment_datagrams: u32 = 1_024, "datagrams", Whole(1, 1_048_576);
        /// The first local port of connections that this host opens.
        ephemeral_first: u16 = 10_000, "", Whole(1, 65_535);
        /// The last local port of connections that this host opens.
        ephemeral_last: u16 = 65_535, "", Whole(1, 65_535);
        /// TTL and hop limit of what is sent.
        hop_limit: u8 = 64, "hops", Whole(1, 255);
        /// How long a neighbour's address is trusted without a sign of life.
        neighbor_reachable_ms: u64 = 30_000, "ms", Whole(100, 3_600_000);
    }
}

section! {
    /// The served application, and the loop that it runs in.
    Serve = "serve" {
        /// The TCP port. Absent: the service's own (http 80, echo 7, discard 9, chargen 19).
        port: Option<u16> = None, "", Whole(1, 65_535);
        /// `http`: the size of the body that every path answers with, when no `root` is given.
        http_body_bytes: u64 = 64, "bytes", Whole(0, 1_099_511_627_776);
        /// `http`: serve the files below this directory instead.
        root: Option<PathBuf> = None, "", Words("an existing directory");
        /// `chargen`: end each connection after so many bytes. 0: when the peer closes.
        chargen_bytes: u64 = 0, "bytes", Whole(0, 1_099_511_627_776);
        /// Close a connection on which nothing has moved for so long. 0: never.
        idle_timeout_seconds: u64 = 60, "s", Whole(0, 86_400);
        /// How long open connections may take to finish after SIGINT or SIGTERM; what is left is reset.
        drain_seconds: u64 = 5, "s", Whole(0, 3600);
        /// Stop by itself after so long. 0: run until a signal.
        duration_seconds: u64 = 0, "s", Whole(0, 31_536_000);
        /// How often the live line is printed. 0: never.
        live_seconds: u64 = 1, "s", Whole(0, 3600);
        /// What a core does while nothing happens; `yield` is for a core that several shards share.
        poll: Poll = Poll::Adaptive, "", OneOf(Poll::WORDS);
    }
}

section! {
    /// Faults made on purpose between the port and the stack, to see what they
    /// do. With any of them the NIC's checksum offloads stay unused, so that
    /// corruption is caught.
    Faults = "faults" {
        /// The chance that a frame vanishes.
        loss: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance that a frame comes twice.
        duplicate: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance that a frame is overtaken by later ones.
        reorder: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance that a bit of a frame is flipped.
        corrupt: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance that a packet that can be marked (ECT) is marked as by a congested router.
        mark: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance that a packet's ECN field is wiped.
        bleach: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// How much longer every frame takes.
        delay_ms: u64 = 0, "ms", Whole(0, 10_000);
        /// The most that is added to the delay at random.
        jitter_ms: u64 = 0, "ms", Whole(0, 10_000);
        /// The chance, with each frame, that losses that come together begin (Gilbert and Elliott's model).
        burst_enter: f64 = 0.0, "probability", Real(0.0, 1.0);
        /// The chance, with each frame, that they end again: they last for 1 / `burst_leave` frames in the mean.
        burst_leave: f64 = 0.25, "probability", Real(0.0, 1.0);
        /// The chance that a frame vanishes meanwhile.
        burst_loss: f64 = 1.0, "probability", Real(0.0, 1.0);
        /// What the narrowest place of the way lets through. 0: as much as comes.
        rate_kbit_per_second: u64 = 0, "kbit/s", Whole(0, 1_000_000_000);
        /// How much waits before the narrowest place; what comes on top of it vanishes.
        queue_bytes: u64 = 131_072, "bytes", Whole(0, 1_073_741_824);
        /// How many frames may be under way at once, each way. More vanish.
        held_frames: u32 = 4096, "frames", Whole(1, 1_048_576);
        /// Which way they are made.
        direction: FaultDirection = FaultDirection::Both, "", OneOf(FaultDirection::WORDS);
        /// What the drawing starts from: the same seed and traffic give the same faults.
        seed: u64 = 1, "", Whole(0, 9_223_372_036_854_775_807);
    }
}

impl Faults {
    /// Whether anything is to be done to the traffic at all.
    pub fn any(&self) -> bool {
        let chances = [
            self.loss,
            self.duplicate,
            self.reorder,
            self.corrupt,
            self.mark,
            self.bleach,
            self.burst_enter,
        ];
        let numbers = [self.delay_ms, self.jitter_ms, self.rate_kbit_per_second];
        chances.iter().any(|&p| p > 0.0) || numbers.iter().any(|&n| n > 0)
    }
}
