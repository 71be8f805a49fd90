//! Two connections joined by an in-memory channel, in virtual time.
//!
//! After every step the connections' own invariants are asserted, and for every
//! segment that nothing leaves the peer's window (but probes) and that nothing
//! is acknowledged that was never sent.

use std::collections::BTreeMap;
use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{CloseReason, Config, Connection, Disposition, Event, Path, Read, State};
use crore_wire::{FastOpenCookie, Flags, Segment};

pub const A: usize = 0;
pub const B: usize = 1;

/// One segment on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    pub from: usize,
    /// How many its sender had sent before it.
    pub index: usize,
    pub segment: Segment,
    pub payload: Vec<u8>,
    /// When it was sent.
    pub at: Instant,
    /// How many copies of it arrive.
    pub copies: usize,
}

impl Packet {
    /// Flags, relative to nothing: for scripts that pick a segment by its kind.
    pub fn has(&self, flags: Flags) -> bool {
        self.segment.flags.contains(flags)
    }
}

/// What the channel does with a packet: the delays of the copies that arrive
/// (none: it is lost).
pub type Fate = Box<dyn FnMut(&Packet) -> Vec<Duration>>;

/// One end, with an application that sends a given text and keeps what it reads.
pub struct End {
    pub connection: Option<Connection>,
    pub config: Rc<Config>,
    pub iss: SeqNum,
    pub to_send: Vec<u8>,
    pub sent: usize,
    /// Shut down once all is written.
    pub finish: bool,
    pub received: Vec<u8>,
    pub eof: bool,
    /// Whether the application reads.
    pub reading: bool,
    pub events: Vec<Event>,
    packets: usize,
    /// One past the highest number that the peer has allowed this end, as
    /// delivered.
    allowed: Option<SeqNum>,
    /// How the peer scales: as its SYN said, if ours said something too.
    scales: bool,
    peer_scale: Option<u8>,
}

impl End {
    fn new(config: Config, iss: u32) -> Self {
        Self {
            connection: None,
            config: Rc::new(config),
            iss: SeqNum(iss),
            to_send: Vec::new(),
            sent: 0,
            finish: false,
            received: Vec::new(),
            eof: false,
            reading: true,
            events: Vec::new(),
            packets: 0,
            allowed: None,
            scales: false,
            peer_scale: None,
        }
    }

    pub fn conn(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("this end is open")
    }

    pub fn state(&self) -> Option<State> {
        self.connection.as_ref().map(Connection::state)
    }

    pub fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        })
    }

    /// The application's turn.
    fn run_application(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if self.sent < self.to_send.len()
            && let Ok(n) = connection.write(&self.to_send[self.sent..])
        {
            self.sent += n;
        }
        if self.finish && self.sent == self.to_send.len() {
            connection.shutdown_write();
        }
        while self.reading {
            match connection.read() {
                Ok(Read::Data(chunk)) => self.received.extend_from_slice(&chunk),
                Ok(Read::Eof) => {
                    self.eof = true;
                    break;
                }
                Ok(Read::WouldBlock) | Err(_) => break,
            }
        }
        while let Some(event) = connection.poll_event() {
            assert!(
                !matches!(self.events.last(), Some(Event::Closed(_))),
                "nothing follows Closed, not {event:?}"
            );
            assert!(
                matches!(event, Event::Readable | Event::Writable | Event::Urgent)
                    || !self.events.contains(&event),
                "{event:?} came twice"
            );
            self.events.push(event);
        }
    }
}

pub struct Pair {
    pub now: Instant,
    pub ends: [End; 2],
    pub fate: Fate,
    /// What the channel does to a packet's headers on the way.
    pub on_way: Box<dyn FnMut(&mut Packet)>,
    /// All segments that were sent, lost ones too.
    pub trace: Vec<Packet>,
    /// What became of those that arrived.
    pub dispositions: Vec<(usize, Disposition)>,
    /// Transmit buffers are had (or the pool is dry).
    pub can_send: bool,
    pub path: Path,
    /// Whether segments arrive marked urgent, which means nothing but keeps them
    /// off the short way.
    pub urgent: bool,
    /// Whether SYNs carry a Fast Open cookie and data, and if so, whether the other
    /// end takes it.
    pub fast_open: Option<bool>,
    in_flight: BTreeMap<(Instant, u64), Packet>,
    serial: u64,
}

pub const DELAY: Duration = Duration::from_millis(10);

impl Pair {
    /// Two ends, a perfect channel of [`DELAY`] between them, nothing open yet.
    pub fn new(a: Config, b: Config) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            ends: [End::new(a, 1_000), End::new(b, 500_000)],
            fate: Box::new(|_| vec![DELAY]),
            on_way: Box::new(|_| {}),
            trace: Vec::new(),
            dispositions: Vec::new(),
            can_send: true,
            urgent: false,
            fast_open: None,
            path: Path::ipv4(1500),
            in_flight: BTreeMap::new(),
            serial: 0,
        }
    }

    /// An established connection between two ends with default configurations.
    pub fn connected() -> Self {
        Self::connected_with(Config::default(), Config::default())
    }

    pub fn connected_with(a: Config, b: Config) -> Self {
        let mut pair = Self::new(a, b);
        pair.open(A);
        pair.settle();
        pair.assert_states(State::Established, State::Established);
        pair
    }

    /// `end` opens actively; the other one listens (or opens too).
    pub fn open(&mut self, end: usize) {
        let (config, iss) = (Rc::clone(&self.ends[end].config), self.ends[end].iss);
        let offset = 0x1000_0000 * end as u32;
        let mut connection = Connection::open_active(config, self.now, iss, offset, self.path);
        if self.fast_open.is_some() {
            let cookie = FastOpenCookie::new(&[7; 8]).expect("eight bytes are a cookie");
            connection.offer_fast_open(cookie, self.path.mss);
        }
        self.ends[end].connection = Some(connection);
    }

    /// Lets the channel do as `fate` says.
    pub fn with_fate(mut self, fate: impl FnMut(&Packet) -> Vec<Duration> + 'static) -> Self {
        self.fate = Box::new(fate);
        self
    }

    /// Loses what `lost` picks.
    pub fn lose(&mut self, mut lost: impl FnMut(&Packet) -> bool + 'static) {
        self.fate = Box::new(move |packet| if lost(packet) { vec![] } else { vec![DELAY] });
    }

    /// Runs until `done`, or until nothing is left to happen, or `limit` has
    /// passed. Says whether `done`.
    pub fn drive(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        let mut steps_at_once = 0u32;
        loop {
            self.turn();
            if done(self) {
                return true;
            }
            let Some(next) = self.next_event() else {
                return false;
            };
            if next > end {
                self.now = end;
                return false;
            }
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            assert!(steps_at_once < 1_000, "time stands still at {:?}", self.now);
            self.now = self.now.max(next);
        }
    }

    /// Runs until the channel is empty and no end has anything to say, short of
    /// timers that lie more than 5 s ahead.
    pub fn settle(&mut self) {
        self.drive(Duration::from_secs(5), |pair| {
            pair.in_flight.is_empty() && pair.nothing_armed()
        });
    }

    fn nothing_armed(&self) -> bool {
        self.ends
            .iter()
            .filter_map(|end| end.connection.as_ref()?.next_timeout())
            .all(|at| at > self.now + Duration::from_secs(5))
    }

    pub fn run_for(&mut self, time: Duration) {
        self.drive(time, |_| false);
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.first_key_value().map(|(&(at, _), _)| at);
        self.ends
            .iter()
            .filter_map(|end| end.connection.as_ref()?.next_timeout())
            .chain(arrival)
            .min()
    }

    /// One turn of the loop: what has arrived, timers, applications, output.
    pub fn turn(&mut self) {
        while let Some(first) = self.in_flight.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let packet = first.remove();
            self.deliver(packet);
        }
        for end in &mut self.ends {
            if let Some(connection) = &mut end.connection {
                if connection.next_timeout().is_some_and(|at| at <= self.now) {
                    connection.on_timeout(self.now);
                }
                connection.assert_invariants();
            }
            end.run_application();
        }
        self.transmit(A);
        self.transmit(B);
    }

    fn deliver(&mut self, packet: Packet) {
        let to = 1 - packet.from;
        let mut seg = packet.segment;
        if self.urgent && !seg.flags.has_syn() {
            seg.flags |= Flags::URG;
        }
        let seg = &seg;
        let end = &mut self.ends[to];
        let Some(connection) = &mut end.connection else {
            if seg.flags.has_syn() && !seg.flags.has_ack() {
                let config = Rc::clone(&end.config);
                let mut connection = Connection::open_passive(config, self.now, end.iss, 77, self.path, seg);
                if self.fast_open == Some(true) && seg.options.fast_open.is_some() {
                    connection.accept_fast_open(Chunk::copy_from(&packet.payload), None);
                }
                end.connection = Some(connection);
                end.note_window(seg);
            }
            return;
        };
        let disposition = connection.on_segment(self.now, seg, Chunk::copy_from(&packet.payload));
        connection.assert_invariants();
        end.note_window(seg);
        self.dispositions.push((to, disposition));
    }

    /// Draws output as a stack does: plan, reserve, copy, commit.
    pub fn transmit(&mut self, from: usize) {
        for round in 0.. {
            assert!(round < 10_000, "output without end");
            let peer_nxt = self.ends[1 - from].connection.as_ref().map(Connection::snd_nxt);
            let end = &mut self.ends[from];
            let Some(connection) = &mut end.connection else {
                return;
            };
            let Some(plan) = connection.plan_transmit(self.now) else {
                return;
            };
            if !self.can_send {
                return;
            }
            let mut payload = vec![0; usize::from(plan.payload_len)];
            connection.copy_payload(&plan, &mut payload);
            connection.commit_transmit(self.now, &plan);
            connection.assert_invariants();
            let seg = &plan.segment;
            if let Some(peer_nxt) = peer_nxt
                && seg.flags.has_ack()
                && !seg.flags.has_rst()
            {
                assert!(seg.ack.at_or_before(peer_nxt), "an ACK of something never sent");
            }
            assert!(
                payload.len() + seg.header_len() - 20 <= usize::from(self.path.mss),
                "a segment with its options fits the path"
            );
            if seg.flags.has_syn() {
                end.scales = seg.options.window_scale.is_some();
            }
            let mut packet = Packet {
                at: self.now,
                copies: 0,
                from,
                index: end.packets,
                segment: plan.segment,
                payload,
            };
            end.packets += 1;
            let fate = (self.fate)(&packet);
            let mut carried = packet.clone();
            (self.on_way)(&mut carried);
            for &delay in &fate {
                self.serial += 1;
                self.in_flight
                    .insert((self.now + delay, self.serial), carried.clone());
            }
            packet.copies = fate.len();
            self.trace.push(packet);
            self.check_window(from);
        }
    }

    /// What was sent last stays within what the peer has allowed.
    fn check_window(&self, from: usize) {
        let Some(Packet {
            segment: seg,
            payload,
            ..
        }) = self.trace.last()
        else {
            return;
        };
        let last = seg.seq + seg.sequence_len(payload.len());
        if let Some(allowed) = self.ends[from].allowed
            && !seg.flags.has_syn()
        {
            assert!(
                last.at_or_before(allowed + 1),
                "{last:?} is beyond the window up to {allowed:?}, and no probe"
            );
            assert!(
                !last.after(allowed) || seg.sequence_len(payload.len()) == 1 || payload.is_empty(),
                "a probe is one byte"
            );
        }
    }

    /// Hands `to` a segment out of nowhere.
    pub fn inject(&mut self, to: usize, segment: &Segment, payload: &[u8]) -> Disposition {
        let now = self.now;
        let connection = self.ends[to].conn();
        let disposition = connection.on_segment(now, segment, Chunk::copy_from(payload));
        connection.assert_invariants();
        disposition
    }

    /// A segment from the other end to `to` as it would stand in the stream:
    /// next in number, acknowledging all, timestamps right.
    pub fn in_order(&mut self, to: usize, flags: Flags) -> Segment {
        let now = self.now;
        let receiver = self.ends[to].conn();
        let (seq, ack) = (receiver.rcv_nxt(), receiver.snd_nxt());
        let mut segment = Segment {
            seq,
            ack,
            flags,
            window: 0xffff,
            ..Segment::default()
        };
        // The peer's own idea of its options.
        let sample = self.trace.iter().rev().find(|packet| packet.from == 1 - to);
        if let Some(mut timestamps) = sample.and_then(|packet| packet.segment.options.timestamps) {
            timestamps.value = timestamps.value.wrapping_add(now.as_millis() as u32 & 0xff);
            segment.options.timestamps = Some(timestamps);
        }
        segment
    }

    /// Each end sends `len` bytes of its own text.
    pub fn send_both(&mut self, len: usize) {
        self.ends[A].to_send = text(1, len);
        self.ends[B].to_send = text(2, len);
    }

    pub fn assert_states(&self, a: State, b: State) {
        assert_eq!(
            (self.ends[A].state(), self.ends[B].state()),
            (Some(a), Some(b)),
            "the states of both ends"
        );
    }

    /// Both texts have arrived whole.
    pub fn assert_delivered(&self) {
        for (from, to) in [(A, B), (B, A)] {
            let (sent, received) = (&self.ends[from].to_send, &self.ends[to].received);
            assert!(
                sent == received,
                "{} bytes arrived of {}; the first wrong one is {:?}",
                received.len(),
                sent.len(),
                sent.iter().zip(received).position(|(a, b)| a != b)
            );
        }
    }

    pub fn is_delivered(&self) -> bool {
        self.ends[A].to_send.len() == self.ends[B].received.len()
            && self.ends[B].to_send.len() == self.ends[A].received.len()
    }

    /// The segments that `from` has sent.
    pub fn sent_by(&self, from: usize) -> impl Iterator<Item = &Packet> {
        self.trace.iter().filter(move |packet| packet.from == from)
    }
}

impl End {
    /// A segment that came tells how far this end may send.
    fn note_window(&mut self, seg: &Segment) {
        if !seg.flags.has_ack() && !seg.flags.has_syn() || seg.flags.has_rst() {
            return;
        }
        let (base, shift) = if seg.flags.has_syn() {
            self.peer_scale = seg.options.window_scale.map(|scale| scale.shift());
            {
                let base = if seg.flags.has_ack() {
                    seg.ack
                } else {
                    self.iss + 1
                };
                (base, 0)
            }
        } else {
            let shift = self.peer_scale.filter(|_| self.scales);
            (seg.ack, shift.unwrap_or(0))
        };
        let edge = base + (u32::from(seg.window) << shift);
        self.allowed = Some(self.allowed.map_or(edge, |allowed| allowed.max(edge)));
    }
}

/// A failed test shows how it came to that.
impl Drop for Pair {
    fn drop(&mut self) {
        const SHOWN: usize = 40;
        if !std::thread::panicking() {
            return;
        }
        let skipped = self.trace.len().saturating_sub(SHOWN);
        eprintln!("the last segments ({skipped} before them are not shown):");
        for packet in &self.trace[skipped..] {
            let Packet {
                at,
                from,
                segment,
                payload,
                copies,
                ..
            } = packet;
            let name = ["A", "B"][*from];
            let sack = if segment.options.sack.is_empty() {
                String::new()
            } else {
                format!(" sack {:?}", segment.options.sack)
            };
            eprintln!(
                "{at:?} {name} {:?} seq {:?} len {} ack {:?} win {}{sack} ({copies} arrive)",
                segment.flags,
                segment.seq,
                payload.len(),
                segment.ack,
                segment.window,
            );
        }
        for end in &self.ends {
            eprintln!("{:?}", end.connection);
        }
    }
}

/// A text of `len` bytes that differs by `salt` and has no short period.
pub fn text(salt: u32, len: usize) -> Vec<u8> {
    let mut x = salt.wrapping_mul(0x9e37_79b9) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect()
}
