//! What comes in pieces, in any order and overlapping, against a plain model:
//! a bit for each byte of the stream.

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Config, Connection, Disposition, Path, Read, State};
use crore_wire::{Flags, Segment, TcpOptions};

use crate::pattern;
use crate::script::Script;

/// Bytes of the stream.
const STREAM: usize = 4_000;
const STEPS: usize = 300;

/// The target.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(&mut script);
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        let at = usize::from(script.u16()) % STREAM;
        let len = usize::from(script.u16()) % 600;
        match script.u8() % 8 {
            0 => world.read(),
            // At the front, where it counts.
            1 | 2 => world.arrives(world.front(), len),
            3 => world.arrives(world.front() + at % 50, len),
            _ => world.arrives(at, len),
        }
    }
    world.finish();
}

struct World {
    conn: Connection,
    now: Instant,
    irs: u32,
    /// Which bytes of the stream were accepted.
    held: Vec<bool>,
    read: usize,
    /// Whether the bound on pieces was met: then some were refused.
    refused: bool,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let irs = script.near(u32::MAX - 5000);
        let config = Rc::new(Config {
            receive_buffer: 65_535,
            window_scaling: false,
            max_reassembly_chunks: script.pick(&[512, 4, 64]),
            ..Config::default()
        });
        let now = Instant::from_millis(1);
        let syn = Segment {
            seq: SeqNum(irs),
            flags: Flags::SYN,
            window: 1000,
            options: TcpOptions {
                sack_permitted: true,
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        let iss = SeqNum(77);
        let conn = Connection::open_passive(config, now, iss, 0, Path::ipv4(1500), &syn);
        let mut world = Self {
            conn,
            now,
            irs,
            held: vec![false; STREAM],
            read: 0,
            refused: false,
        };
        world.transmit();
        world.arrives(0, 0);
        assert_eq!(world.conn.state(), State::Established, "the handshake is done");
        world
    }

    /// The first byte that has not come.
    fn front(&self) -> usize {
        self.held.iter().position(|&held| !held).unwrap_or(STREAM)
    }

    fn arrives(&mut self, at: usize, len: usize) {
        let len = len.min(STREAM - at.min(STREAM));
        let seq = SeqNum(self.irs) + 1 + at as u32;
        let segment = Segment {
            seq,
            ack: self.conn.snd_nxt(),
            flags: Flags::ACK,
            window: 1000,
            ..Segment::default()
        };
        let payload = Chunk::copy_from(&pattern::bytes(seq.0, len));
        let front = self.front();
        let disposition = self.conn.on_segment(self.now, &segment, payload);
        // The window is larger than the stream: nothing lies outside, so only
        // the bound on pieces can refuse, and never what comes in order.
        let refused = disposition == Disposition::Dropped(crore_base::DropReason::ReassemblyFull);
        self.refused |= refused;
        if !refused {
            self.held[at.min(STREAM)..at.min(STREAM) + len].fill(true);
        }
        assert!(!(refused && at <= front), "what comes in order has room");
        self.conn.assert_invariants();
        self.now += Duration::from_micros(1);
        let told = SeqNum(self.irs.wrapping_add(1)).distance_to(self.conn.rcv_nxt()) as usize;
        if self.refused {
            assert!(told >= front, "what was acknowledged stays so");
            self.held[..told].fill(true);
        } else {
            assert_eq!(told, self.front(), "the front is where the model has it");
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        while let Some(plan) = self.conn.plan_transmit(self.now) {
            for (left, right) in plan.segment.options.sack.iter() {
                let place = |seq: SeqNum| SeqNum(self.irs.wrapping_add(1)).distance_to(seq) as usize;
                let (left, right) = (place(left), place(right));
                assert!(left < right && right <= STREAM, "a block within the stream");
                assert!(
                    self.refused || self.held[left..right].iter().all(|&held| held),
                    "nothing is reported that did not come"
                );
            }
            self.conn.commit_transmit(self.now, &plan);
        }
    }

    fn read(&mut self) {
        while let Ok(Read::Data(chunk)) = self.conn.read() {
            let at = self.irs.wrapping_add(1).wrapping_add(self.read as u32);
            pattern::check(at, &chunk, "read");
            self.read += chunk.len();
        }
        let front = SeqNum(self.irs.wrapping_add(1)).distance_to(self.conn.rcv_nxt()) as usize;
        assert_eq!(self.read, front, "all that is in order can be read");
        self.transmit();
    }

    /// The sender sends everything again, in order: nothing may be missing.
    fn finish(&mut self) {
        for at in (0..STREAM).step_by(500) {
            self.arrives(at, 500);
        }
        self.read();
        assert_eq!(self.read, STREAM, "the whole stream");
        assert_eq!(self.conn.received_footprint(), 0, "nothing is held");
    }
}
