//! What a sender keeps of its peer's reports (RFC 2018), against a plain model: a
//! bit for each segment that was reported.
//!
//! The peer is honest, and loses what the input says; which of its reports are sent,
//! and how much of them, the input says too. Nothing that was reported is sent again
//! until a time-out; and in the end everything arrives.

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Config, Connection, Path};
use crore_wire::{Flags, SackBlocks, Segment, TcpOptions, Timestamps};

use crate::pattern;
use crate::script::Script;

/// Bytes of a segment, and segments of the stream.
const MSS: usize = 100;
const SEGMENTS: usize = 200;
const STEPS: usize = 300;
/// Turns of the end within which everything must have arrived.
const TURNS: usize = 20_000;

/// The target.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(&mut script);
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        match script.u8() % 8 {
            0..5 => world.report(&mut script),
            5 => world.pass(Duration::from_micros(u64::from(script.u16()) * 10)),
            6 => world.wait(),
            _ => world.write(&mut script),
        }
        world.transmit(Some(&mut script));
    }
    world.finish();
}

struct World {
    conn: Connection,
    now: Instant,
    first: u32,
    written: usize,
    timestamps: bool,
    their_clock: u32,
    our_clock: u32,
    /// By segment: what has arrived, and what the sender was told of that.
    arrived: Vec<bool>,
    told: Vec<bool>,
    /// Time-outs until now: a time-out may forget what was told.
    timeouts: u32,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let iss = SeqNum(script.near(u32::MAX - 5_000));
        let timestamps = script.bool();
        let options = |ts: u32| TcpOptions {
            sack_permitted: true,
            timestamps: timestamps.then_some(Timestamps { value: ts, echo: 0 }),
            ..TcpOptions::default()
        };
        let config = Rc::new(Config {
            // Options of an established connection count into the segment.
            mss_max: (MSS + if timestamps { 12 } else { 0 }) as u16,
            initial_window: script.pick(&[10, 1, 200]),
            send_buffer: 1 << 20,
            timestamps,
            window_scaling: false,
            data_retries: u8::MAX,
            ..Config::default()
        });
        let now = Instant::from_millis(1_000);
        let syn = Segment {
            seq: SeqNum(7),
            flags: Flags::SYN,
            window: 60_000,
            options: options(1),
            ..Segment::default()
        };
        let conn = Connection::open_passive(config, now, iss, 3, Path::ipv4(1_500), &syn);
        let mut world = Self {
            conn,
            now,
            first: iss.0.wrapping_add(1),
            written: 0,
            timestamps,
            their_clock: 1,
            our_clock: 0,
            arrived: vec![false; SEGMENTS],
            told: vec![false; SEGMENTS],
            timeouts: 0,
        };
        world.transmit(None);
        world.pass(Duration::from_millis(10));
        world.acknowledge(0, SackBlocks::new());
        world
    }

    fn write(&mut self, script: &mut Script<'_>) {
        let count = usize::from(script.u8() % 64).min(SEGMENTS - self.written);
        self.append(count);
    }

    fn append(&mut self, segments: usize) {
        let at = self.first.wrapping_add((self.written * MSS) as u32);
        let bytes = pattern::bytes(at, segments * MSS);
        let taken = self.conn.write(&bytes).expect("it is open");
        assert_eq!(taken, bytes.len(), "there is room for the whole stream");
        self.written += segments;
    }

    fn front(&self) -> usize {
        self.arrived.iter().position(|&there| !there).unwrap_or(SEGMENTS)
    }

    /// The ranges beyond the front that have arrived.
    fn ranges(&self) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let mut at = self.front();
        while at < SEGMENTS {
            let start = (at..SEGMENTS).find(|&i| self.arrived[i]).unwrap_or(SEGMENTS);
            let end = (start..SEGMENTS).find(|&i| !self.arrived[i]).unwrap_or(SEGMENTS);
            if start < end {
                ranges.push((start, end));
            }
            at = end;
        }
        ranges
    }

    fn number(&self, segment: usize) -> SeqNum {
        SeqNum(self.first.wrapping_add((segment * MSS) as u32))
    }

    /// An acknowledgment with up to three of the ranges, whole or in part.
    fn report(&mut self, script: &mut Script<'_>) {
        let ranges = self.ranges();
        let mut sack = SackBlocks::new();
        for _ in 0..script.u8() % 4 {
            let Some(which) = usize::from(script.u8()).checked_rem(ranges.len()) else {
                break;
            };
            let (mut start, end) = ranges[which];
            if script.bool() {
                start += usize::from(script.u8()) % (end - start);
            }
            if sack.push(self.number(start), self.number(end)) {
                self.told[start..end].fill(true);
            }
        }
        let front = self.front();
        self.acknowledge(front, sack);
    }

    fn acknowledge(&mut self, front: usize, sack: SackBlocks) {
        self.told[..front].fill(true);
        self.their_clock += 1;
        let segment = Segment {
            seq: SeqNum(8),
            ack: self.number(front),
            flags: Flags::ACK,
            window: 60_000,
            options: TcpOptions {
                sack,
                timestamps: self.timestamps.then_some(Timestamps {
                    value: self.their_clock,
                    echo: self.our_clock,
                }),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        self.conn.on_segment(self.now, &segment, Chunk::copy_from(&[]));
        self.conn.assert_invariants();
        self.forget_if_timed_out();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.conn.on_timeout(self.now);
        self.conn.assert_invariants();
        self.forget_if_timed_out();
    }

    fn wait(&mut self) {
        if let Some(due) = self.conn.next_timeout() {
            self.now = self.now.max(due);
        }
        self.pass(Duration::ZERO);
    }

    fn forget_if_timed_out(&mut self) {
        let timeouts = self.conn.stats().timeouts;
        if core::mem::replace(&mut self.timeouts, timeouts) != timeouts {
            let una = self.conn.snd_una();
            let front = SeqNum(self.first).distance_to(una) as usize / MSS;
            self.told[front.min(SEGMENTS)..].fill(false);
        }
    }

    /// What is sent arrives, or does not, as the input says; without one it does.
    fn transmit(&mut self, mut script: Option<&mut Script<'_>>) {
        while let Some(plan) = self.conn.plan_transmit(self.now) {
            let len = usize::from(plan.payload_len);
            let mut payload = vec![0xcc; len];
            self.conn.copy_payload(&plan, &mut payload);
            pattern::check(plan.segment.seq.0, &payload, "sent");
            self.conn.commit_transmit(self.now, &plan);
            if let Some(Timestamps { value, .. }) = plan.segment.options.timestamps {
                self.our_clock = value;
            }
            if len == 0 {
                continue;
            }
            let start = SeqNum(self.first).distance_to(plan.segment.seq) as usize;
            assert_eq!((start % MSS, len % MSS), (0, 0), "segments are whole");
            let segments = start / MSS..(start + len) / MSS;
            assert!(segments.end <= self.written, "no more than was written");
            assert!(
                segments.clone().any(|segment| !self.told[segment]),
                "{segments:?} were sent again though the peer has reported them"
            );
            let lost = script.as_deref_mut().is_some_and(|script| script.one_in(3));
            if !lost {
                self.arrived[segments].fill(true);
            }
        }
        self.conn.assert_invariants();
    }

    /// From now on all arrives, and the peer says so.
    fn finish(&mut self) {
        self.append(SEGMENTS - self.written);
        for _ in 0..TURNS {
            let before = self.front();
            self.transmit(None);
            if self.conn.snd_una() == self.number(SEGMENTS) {
                return;
            }
            self.now += Duration::from_millis(1);
            let mut sack = SackBlocks::new();
            for (start, end) in self.ranges().into_iter().take(3) {
                if sack.push(self.number(start), self.number(end)) {
                    self.told[start..end].fill(true);
                }
            }
            let front = self.front();
            self.acknowledge(front, sack);
            if front == before {
                self.wait();
            }
        }
        panic!("not over: {:?}", self.conn);
    }
}
