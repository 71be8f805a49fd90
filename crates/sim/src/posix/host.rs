//! The host itself: its clock, its packets, and the calls that wait.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crore_base::{Duration, Instant};
use crore_nic::{Nic, RxFrame};
use crore_stack::{ConfigError, ConnId, CookiePolicy, Event, Stack, StackConfig};
use thiserror::Error;

use super::call::{Call, Errno, Fd, Outcome, Output, Reply, Ticket};
use super::calls::{FIRST_PORT, Progress};
use super::file::{File, Kind, Pipe};
use super::knobs::Knobs;
use super::socket::{FastOpenOptions, Options, Phase, Socket, SocketId};
use super::wire::IpNic;

/// Turns at one instant, after which the host is taken to run in circles.
const TURNS_AT_ONCE: u32 = 100_000;
/// How far time goes when something is due at once but nothing comes of it.
const STEP: Duration = Duration::from_micros(1);
/// File numbers below this belong to the program: standard input, output, error.
const FIRST_FD: Fd = 3;

/// Who the host is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// The host's own address.
    pub local: IpAddr,
    /// Its next hop; none: everybody is on its link.
    pub gateway: Option<IpAddr>,
}

/// Why a host could not be made.
#[derive(Debug, Error)]
pub enum HostError {
    /// The addresses don't fit together.
    #[error("the gateway {gateway} is not of the family of {local}")]
    Families {
        /// The host's address.
        local: IpAddr,
        /// The gateway's.
        gateway: IpAddr,
    },
    /// The stack refuses its configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
}

/// An IP packet that the host has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// From the first byte of the IP header on.
    pub bytes: Vec<u8>,
    /// When it left.
    pub at: Instant,
}

/// One host with POSIX sockets, in virtual time.
pub struct Host {
    pub(super) now: Instant,
    /// Its address.
    pub(super) local: IpAddr,
    pub(super) stack: Stack,
    nic: IpNic,
    frames: Vec<RxFrame>,
    pub(super) knobs: Knobs,
    pub(super) files: BTreeMap<Fd, File>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    pub(super) pipes: BTreeMap<u64, Pipe>,
    /// Names for sockets and pipes that were not used yet.
    next_name: u64,
    next_ticket: u64,
    /// Where the port is looked for of a connection that is opened by its first write.
    pub(super) next_early_port: u16,
    /// Calls that wait, in the order in which they came.
    waiting: Vec<Waiting>,
    /// Replies of calls that waited, until they are fetched.
    done: BTreeMap<Ticket, Reply>,
}

/// A call that waits.
struct Waiting {
    ticket: Ticket,
    call: Call,
    progress: Progress,
}

impl Host {
    /// A host at the time [`Instant::ZERO`].
    ///
    /// # Errors
    /// When the addresses make no host.
    pub fn new(endpoints: Endpoints, knobs: Knobs) -> Result<Self, HostError> {
        let Endpoints { local, gateway } = endpoints;
        if let Some(gateway) = gateway
            && gateway.is_ipv4() != local.is_ipv4()
        {
            return Err(HostError::Families { local, gateway });
        }
        let prefix = gateway.map_or(0, |gateway| common_prefix(local, gateway));
        let config = StackConfig {
            addresses: vec![(local, prefix)],
            gateway_v4: gateway.and_then(|g| match g {
                IpAddr::V4(g) => Some(g),
                IpAddr::V6(_) => None,
            }),
            gateway_v6: gateway.and_then(|g| match g {
                IpAddr::V6(g) => Some(g),
                IpAddr::V4(_) => None,
            }),
            max_connections: 4096,
            max_active: 4096,
            // Neighbours are made up: they need not be asked again and again.
            neighbor_reachable: Duration::from_secs(1 << 30),
            // What is looked at from so near is not to be put away.
            park_after: None,
            syn_cookies: CookiePolicy::Never,
            ephemeral_first: 32_768,
            ephemeral_last: 60_999,
            tcp: knobs.tcp(),
            fast_open: knobs.fast_open_policy(),
            // Listeners say for themselves how many they take.
            fast_open_queue: 0,
            ..StackConfig::default()
        };
        let nic = IpNic::new(local, gateway, knobs.mtu);
        let key = u128::from(knobs.seed) << 64 | u128::from(!knobs.seed);
        let stack = Stack::new(config, nic.capabilities(), key.to_be_bytes())?;
        let mut host = Self {
            now: Instant::ZERO,
            local,
            stack,
            nic,
            frames: Vec::new(),
            knobs,
            files: BTreeMap::new(),
            sockets: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_name: 1,
            next_ticket: 0,
            next_early_port: FIRST_PORT,
            waiting: Vec::new(),
            done: BTreeMap::new(),
        };
        host.settle();
        Ok(host)
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A program makes a call.
    pub fn call(&mut self, call: Call) -> Outcome {
        let mut call = call;
        let mut progress = Progress::default();
        match self.attempt(&mut call, &mut progress) {
            Some(answer) => {
                let reply = self.reply_of(answer);
                self.settle();
                Outcome::Ready(reply)
            }
            None => {
                let ticket = Ticket(self.next_ticket);
                self.next_ticket += 1;
                self.waiting.push(Waiting {
                    ticket,
                    call,
                    progress,
                });
                self.settle();
                // What it did itself may be all that it waited for.
                match self.done.remove(&ticket) {
                    Some(reply) => Outcome::Ready(reply),
                    None => Outcome::WouldBlock(ticket),
                }
            }
        }
    }

    /// The reply to a call that had to wait, once it is done. It is handed out once.
    pub fn reply(&mut self, ticket: Ticket) -> Option<Reply> {
        self.done.remove(&ticket)
    }

    /// Gives a waiting call up, as a signal does: its reply will be `EINTR`,
    /// unless it is done already or has moved some bytes.
    pub fn interrupt(&mut self, ticket: Ticket) {
        let Some(at) = self.waiting.iter().position(|w| w.ticket == ticket) else {
            return;
        };
        let waiting = self.waiting.remove(at);
        let answer = waiting.progress.so_far().unwrap_or(Err(Errno(libc::EINTR)));
        let reply = self.reply_of(answer);
        self.done.insert(ticket, reply);
    }

    /// When a waiting call gives up by itself, if ever.
    pub fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        let waiting = self.waiting.iter().find(|waiting| waiting.ticket == ticket)?;
        waiting.progress.deadline
    }

    /// Connections that the stack still holds, in whatever state.
    pub fn connections(&self) -> usize {
        self.stack.connections()
    }

    /// What was chosen for this host.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Calls that wait, in the order in which they were made.
    pub fn waiting(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.waiting.iter().map(|waiting| waiting.ticket)
    }

    /// An IP packet arrives, now.
    pub fn input(&mut self, packet: &[u8]) {
        self.nic.deliver(packet);
        self.settle();
    }

    /// The packet that was sent longest ago and not fetched yet.
    pub fn output(&mut self) -> Option<Packet> {
        let (bytes, at) = self.nic.fetch()?;
        // A full ring has room again.
        if self.stack.has_work() {
            self.settle();
        }
        Some(Packet { bytes, at })
    }

    /// Whether [`Self::output`] has something.
    pub fn has_output(&self) -> bool {
        self.nic.has_sent()
    }

    /// The next time at which anything happens by itself; `None`: nothing will.
    pub fn next_timeout(&self) -> Option<Instant> {
        let calls = self
            .waiting
            .iter()
            .filter_map(|waiting| waiting.progress.deadline);
        calls.chain(self.stack.next_timeout()).min()
    }

    /// Time goes on to `to` (or stands still, if that is past); what is due on
    /// the way happens at its own time.
    pub fn advance(&mut self, to: Instant) {
        while let Some(due) = self.next_timeout().filter(|&due| due <= to) {
            self.step(due);
        }
        if to > self.now {
            self.now = to;
        }
    }

    /// Time goes on to what happens next by itself, but not beyond `limit`; says
    /// whether anything was due till then.
    pub fn advance_to_next(&mut self, limit: Instant) -> bool {
        match self.next_timeout().filter(|&due| due <= limit) {
            Some(due) => {
                self.step(due);
                true
            }
            None => {
                self.now = self.now.max(limit);
                false
            }
        }
    }

    fn step(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.stack.on_timeout(self.now);
        self.settle();
        // Nothing may be due for ever.
        if self.next_timeout().is_some_and(|next| next <= self.now) {
            self.now += STEP;
        }
    }

    /// Everything that follows from what has happened, until nothing more does.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_AT_ONCE {
            let mut moved = false;
            if self.nic.has_come() {
                self.nic.rx_burst(self.now, &mut self.frames);
                self.stack.on_burst(self.now, &mut self.frames);
                moved = true;
            }
            while let Some(event) = self.stack.poll_event() {
                self.on_event(event);
                moved = true;
            }
            moved |= self.try_waiting();
            moved |= self.stack.poll_transmit(self.now, &mut self.nic) > 0;
            if !moved && !self.nic.has_come() {
                return;
            }
        }
        debug_assert!(
            false,
            "{TURNS_AT_ONCE} turns at one instant: the host runs in circles"
        );
    }

    /// Tries the calls that wait; says whether one of them is done.
    fn try_waiting(&mut self) -> bool {
        let mut any = false;
        let mut at = 0;
        while at < self.waiting.len() {
            let mut waiting = self.waiting.remove(at);
            match self.attempt(&mut waiting.call, &mut waiting.progress) {
                Some(answer) => {
                    let reply = self.reply_of(answer);
                    self.done.insert(waiting.ticket, reply);
                    any = true;
                }
                None => {
                    self.waiting.insert(at, waiting);
                    at += 1;
                }
            }
        }
        any
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened {
                conn,
                listener: Some(listener),
            } => self.on_accepted(conn, listener),
            Event::Opened { conn, listener: None } => {
                if let Some(socket) = self.socket_of(conn) {
                    socket.phase = Phase::Connected(conn);
                    socket.wakes += 1;
                }
            }
            Event::Urgent { conn } => {
                if let Some(socket) = self.socket_of(conn) {
                    socket.wakes += 1;
                }
            }
            Event::Readable { conn } => {
                if let Some(socket) = self.socket_of(conn) {
                    socket.wakes += 1;
                }
            }
            Event::Writable { conn } => {
                if let Some(socket) = self.socket_of(conn) {
                    socket.wakes += 1;
                }
            }
            Event::PeerClosed { conn } => {
                if let Some(socket) = self.socket_of(conn) {
                    socket.peer_done = true;
                    socket.wakes += 1;
                }
            }
            Event::Idle { .. } => {}
            Event::Closed { reason, user, .. } => {
                if let Some(socket) = self.sockets.get_mut(&SocketId(user)) {
                    socket.on_closed(reason);
                }
            }
        }
    }

    /// A listener has got a connection.
    fn on_accepted(&mut self, conn: ConnId, listener: crore_stack::ListenerId) {
        let name = self.next_name();
        let child = SocketId(name);
        let tuple = self.stack.four_tuple(conn);
        let mut parents = self.sockets.values_mut();
        let parent = parents.find_map(|socket| match &mut socket.phase {
            Phase::Listening(listening) if listening.listeners.contains(&listener) => {
                listening.queue.push_back(child);
                socket.wakes += 1;
                Some((socket.is_ipv6, socket.options.clone()))
            }
            _ => None,
        });
        let (Some((is_ipv6, options)), Some(tuple)) = (parent, tuple) else {
            // It listens no more.
            self.stack.abort(conn);
            return;
        };
        let mut socket = Socket::new(is_ipv6, options);
        socket.phase = Phase::Connected(conn);
        socket.is_connect_told = true;
        socket.local = Some(tuple.local());
        socket.remote = Some(tuple.remote());
        self.stack.set_user(conn, name);
        self.sockets.insert(child, socket);
    }

    fn socket_of(&mut self, conn: ConnId) -> Option<&mut Socket> {
        self.sockets.get_mut(&SocketId(self.stack.user(conn)))
    }

    fn reply_of(&self, answer: Result<(i64, Output), Errno>) -> Reply {
        let (result, output) = match answer {
            Ok((value, output)) => (Ok(value), output),
            Err(errno) => (Err(errno), Output::None),
        };
        Reply {
            result,
            output,
            at: self.now,
        }
    }

    /// A name for a socket or a pipe.
    pub(super) fn next_name(&mut self) -> u64 {
        let name = self.next_name;
        self.next_name += 1;
        name
    }

    /// Opens a file under the lowest number that is free, as POSIX demands.
    pub(super) fn open_file(&mut self, kind: Kind, nonblocking: bool) -> Fd {
        let mut fd = FIRST_FD;
        while self.files.contains_key(&fd) {
            fd += 1;
        }
        self.files.insert(fd, File { kind, nonblocking });
        fd
    }

    /// What a fresh socket has for its options.
    pub(super) fn default_options(&self) -> Options {
        Options {
            reuse_address: false,
            reuse_port: false,
            v6_only: false,
            tcp: self.stack.default_options(),
            linger: None,
            linger_seconds: 0,
            receive_buffer: self.knobs.rcvbuf,
            send_buffer: self.knobs.sndbuf,
            receive_low: 1,
            receive_timeout: 0,
            send_timeout: 0,
            congestion: self.knobs.congestion,
            inq: false,
            fast_open: FastOpenOptions::default(),
            kept: Vec::new(),
        }
    }
}

/// The longest prefix that both addresses have, and not longer than links'
/// usually are, so that nobody's address is a broadcast.
fn common_prefix(a: IpAddr, b: IpAddr) -> u8 {
    let common = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => bits_v4(a, b).min(24),
        (IpAddr::V6(a), IpAddr::V6(b)) => bits_v6(a, b).min(64),
        _ => 0,
    };
    common as u8
}

fn bits_v4(a: Ipv4Addr, b: Ipv4Addr) -> u32 {
    (a.to_bits() ^ b.to_bits()).leading_zeros()
}

fn bits_v6(a: Ipv6Addr, b: Ipv6Addr) -> u32 {
    (a.to_bits() ^ b.to_bits()).leading_zeros()
}
