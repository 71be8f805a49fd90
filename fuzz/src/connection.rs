//! One `tcp::Connection`, of either origin, under a script of segments, calls
//! of the application, ICMP errors and time.
//!
//! Every byte says where in its stream it belongs, by its sequence number
//! alone; so whatever comes out, on either side, can be checked without a
//! model of what was accepted.

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum, WindowScale};
use crore_netbuf::Chunk;
use crore_tcp::{
    Buffered, Config, Connection, Disposition, EcnMode, EcnPolicy, Event, Keepalive, Path, Read, State,
    Unreachable,
};
use crore_wire::{AccEcnOption, AccEcnOrder, Ecn, Flags, SackBlocks, Segment, TcpOptions, Timestamps};

use crate::pattern;
use crate::script::Script;

/// Steps of one script; more would only be slower.
const STEPS: usize = 400;
/// More segments than this in one go are an endless loop.
const BURST_MAX: usize = 20_000;

/// Kinds of events.
const KINDS: usize = 7;

/// The target.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(&mut script);
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
        world.check();
    }
    world.finish();
}

struct World {
    conn: Connection,
    config: Rc<Config>,
    now: Instant,
    /// Our stream: number of the first byte, and how many were written.
    first: u32,
    written: u32,
    /// The peer's stream: the number of the next byte that the application
    /// will read, once known.
    next_read: Option<u32>,
    /// The largest payload that was ever allowed.
    path_mss: u16,
    /// What the peer saw last of our timestamps.
    ts_seen: u32,
    was_in_syn_sent: bool,
    ended: bool,
}

impl World {
    fn new(script: &mut Script<'_>) -> Self {
        let bits = script.u8();
        let config = Rc::new(Config {
            receive_buffer: script.pick(&[65_536, 1, 300, 4_096, 262_144]),
            send_buffer: script.pick(&[65_536, 1, 300, 4_096, 262_144]),
            mss_max: script.pick(&[u16::MAX, 0, 536, 100]),
            window_scaling: bits & 1 == 0,
            timestamps: bits & 2 == 0,
            sack: bits & 4 == 0,
            nodelay: bits & 8 == 0,
            delayed_ack: script.pick(&[Duration::ZERO, Duration::from_millis(40)]),
            keepalive: script.pick(&[Keepalive::OFF, Keepalive::every(Duration::from_secs(10))]),
            max_reassembly_chunks: script.pick(&[512, 0, 1, 8]),
            syn_retries: 3,
            data_retries: 5,
            ecn: if bits & 64 == 0 {
                EcnPolicy::default()
            } else {
                EcnPolicy::Accurate
            },
            ..Config::default()
        });
        let asks = Flags::AE | Flags::CWR | Flags::ECE;
        let now = Instant::from_millis(1000);
        let iss = SeqNum(script.near(u32::MAX - 1000));
        let path = Path::ipv4(1500);
        let passive = bits & 16 == 0;
        let (conn, next_read) = if passive {
            let syn = Segment {
                seq: SeqNum(script.near(u32::MAX - 500)),
                flags: if bits & 64 == 0 {
                    Flags::SYN
                } else {
                    Flags::SYN | asks
                },
                window: script.near(65_535) as u16,
                options: options(script, 1, iss),
                ..Segment::default()
            };
            let conn = Connection::open_passive(Rc::clone(&config), now, iss, 7, path, &syn);
            (conn, Some(syn.seq.0.wrapping_add(1)))
        } else {
            (
                Connection::open_active(Rc::clone(&config), now, iss, 7, path),
                None,
            )
        };
        let mut world = Self {
            conn,
            config,
            now,
            first: iss.0.wrapping_add(1),
            written: 0,
            next_read,
            path_mss: path.mss,
            ts_seen: 0,
            was_in_syn_sent: !passive,
            ended: false,
        };
        // Most scripts are to start from an open connection.
        if bits & 32 == 0 {
            world.transmit(usize::MAX);
            world.complete_handshake();
        }
        world
    }

    fn complete_handshake(&mut self) {
        let answers = self.was_in_syn_sent;
        // Accurate ECN is agreed on, if it was asked for.
        let agrees = if self.config.ecn == EcnPolicy::Accurate {
            Flags::CWR
        } else {
            Flags::NONE
        };
        let segment = Segment {
            seq: self.next_read.map_or(SeqNum(99_000), SeqNum),
            ack: self.conn.snd_nxt(),
            flags: agrees
                | if answers {
                    Flags::SYN | Flags::ACK
                } else {
                    Flags::ACK
                },
            window: 65_000,
            options: TcpOptions {
                mss: answers.then_some(1460),
                window_scale: answers.then_some(WindowScale::new(3)),
                sack_permitted: answers,
                timestamps: Some(Timestamps {
                    value: 2,
                    echo: self.ts_seen,
                }),
                ..TcpOptions::default()
            },
            ..Segment::default()
        };
        self.segment(&segment, 0, false);
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.u8() % 16 {
            0..6 => {
                let (segment, len) = self.draw_segment(script);
                self.segment(&segment, len, script.bool());
            }
            6 | 7 => self.transmit(usize::from(script.u8())),
            8 => {
                let len = usize::from(script.u16() % 8192);
                self.write(len, script.bool());
            }
            9 => self.read(usize::from(script.u8())),
            10 => {
                // To the next deadline, or just short of or beyond it.
                if let Some(due) = self.conn.next_timeout() {
                    self.now = self.now.max(due);
                }
                self.conn.on_timeout(self.now);
            }
            11 => {
                self.now += Duration::from_micros(u64::from(script.u32()) << (script.u8() % 8));
                if script.bool() {
                    self.conn.on_timeout(self.now);
                }
            }
            12 => {
                let mss = script.u16();
                self.conn.on_path_mtu(self.now, self.conn.snd_una(), mss);
            }
            13 => self
                .conn
                .on_unreachable(self.now, Unreachable::Host, script.one_in(4)),
            14 => self.events(),
            _ => match script.u8() % 16 {
                0..4 => self.conn.shutdown_write(),
                4 | 5 => self.conn.close(self.now),
                6 => self.conn.abort(),
                _ => self.conn.set_nodelay(script.bool()),
            },
        }
    }

    fn draw_segment(&mut self, script: &mut Script<'_>) -> (Segment, usize) {
        let flags = script.pick(&[
            Flags::ACK,
            Flags::ACK | Flags::PSH,
            Flags::ACK | Flags::FIN,
            Flags::SYN,
            Flags::SYN | Flags::ACK,
            Flags::RST,
            Flags::RST | Flags::ACK,
            Flags::ACK,
        ]);
        let flags = match script.u8() % 16 {
            0 => Flags::from_bits(script.u16()),
            _ => flags,
        };
        let ack = script.pick(&[self.conn.snd_una(), self.conn.snd_nxt()]);
        // What a marking path and the peer's counter make of it, where that means anything.
        let (count, ecn) = match self.conn.ecn() {
            EcnMode::Accurate => {
                let bits = script.u8();
                (
                    Flags::from_bits(u16::from(bits >> 2 & 7) << 6),
                    Ecn::from_bits(bits),
                )
            }
            _ => (Flags::NONE, Ecn::NotEct),
        };
        let segment = Segment {
            seq: SeqNum(script.near(self.conn.rcv_nxt().0)),
            ack: SeqNum(script.near(ack.0)),
            flags: flags | count,
            ecn,
            window: script.pick(&[0xffff, 0, 1, 1000, 20_000]),
            urgent: u16::from(script.u8()),
            options: options(script, self.ts_seen, self.conn.snd_una()),
            ..Segment::default()
        };
        let len = match script.u8() % 8 {
            0..3 => 0,
            3 | 4 => 1000,
            5 => usize::from(script.u8()),
            _ => usize::from(script.u16() % 9000),
        };
        (segment, len)
    }

    /// The peer's segment arrives, with the bytes that its number asks for;
    /// `roomy`: in a buffer much larger than they are.
    fn segment(&mut self, segment: &Segment, len: usize, roomy: bool) {
        let first = segment.seq + u32::from(segment.flags.has_syn());
        let bytes = pattern::bytes(first.0, len);
        let payload = if roomy {
            let mut block = Chunk::with_capacity(2048.max(len + 100));
            block.try_extend(&[0xee; 100]);
            block.try_extend(&bytes);
            block.slice(100..100 + len)
        } else {
            Chunk::copy_from(&bytes)
        };
        let disposition = self.conn.on_segment(self.now, segment, payload);
        if let Disposition::Reopen { .. } = disposition {
            assert_eq!(self.conn.state(), State::TimeWait, "only TIME-WAIT gives way");
        }
        if self.was_in_syn_sent && self.conn.state() != State::SynSent {
            self.was_in_syn_sent = false;
            if self.conn.state() != State::Closed {
                self.next_read = Some(segment.seq.0.wrapping_add(1));
            }
        }
    }

    fn transmit(&mut self, max: usize) {
        let mut sent = 0;
        while sent < max {
            let Some(plan) = self.conn.plan_transmit(self.now) else {
                return;
            };
            let segment = plan.segment;
            let len = usize::from(plan.payload_len);
            assert!(
                len + segment.options.encoded_len() <= usize::from(self.path_mss.max(64)),
                "{len} bytes are more than the path takes"
            );
            let mut payload = vec![0xcc; len];
            self.conn.copy_payload(&plan, &mut payload);
            pattern::check(segment.seq.0, &payload, "sent");
            if len > 0 {
                let end = segment.seq.0.wrapping_add(len as u32).wrapping_sub(self.first);
                assert!(
                    end <= self.written,
                    "{end} bytes sent of {} written",
                    self.written
                );
            }
            assert!(
                !(segment.flags.has_syn() && segment.flags.has_fin()),
                "no SYN with FIN"
            );
            self.conn.commit_transmit(self.now, &plan);
            if let Some(Timestamps { value, .. }) = segment.options.timestamps {
                self.ts_seen = value;
            }
            sent += 1;
            assert!(sent < BURST_MAX, "the same over and over: {plan:?}");
        }
    }

    fn write(&mut self, len: usize, as_chunk: bool) {
        let bytes = pattern::bytes(self.first.wrapping_add(self.written), len);
        let taken = if as_chunk {
            self.conn.write_chunk(Chunk::copy_from(&bytes))
        } else {
            self.conn.write(&bytes)
        };
        if let Ok(taken) = taken {
            assert!(taken <= len, "no more than was given");
            self.written += taken as u32;
        }
    }

    fn read(&mut self, times: usize) {
        for _ in 0..times {
            match self.conn.read() {
                Ok(Read::Data(chunk)) => {
                    assert!(!chunk.is_empty(), "data is never empty");
                    let at = self.next_read.expect("nothing is read before the handshake");
                    pattern::check(at, &chunk, "read");
                    self.next_read = Some(at.wrapping_add(chunk.len() as u32));
                }
                _ => return,
            }
        }
    }

    fn events(&mut self) {
        let mut count = 0;
        while let Some(event) = self.conn.poll_event() {
            assert!(!self.ended, "{event:?} after the end");
            self.ended = matches!(event, Event::Closed(_));
            count += 1;
            assert!(count <= KINDS, "each kind is pending at most once");
        }
    }

    fn check(&self) {
        self.conn.assert_invariants();
        let buffered = self.conn.stats().buffered;
        let receive = self.config.receive_buffer.max(1) as usize;
        let held = buffered.receive + buffered.reassembly;
        assert!(
            held <= 8 * receive + 16 * 1024,
            "{held} bytes held for a receive buffer of {receive}"
        );
        let send = self.config.send_buffer.max(1) as usize;
        assert!(
            buffered.send <= 8 * send + 16 * 1024,
            "{} bytes held for a send buffer of {send}",
            buffered.send
        );
    }

    /// Whatever happened, an abort ends it, and leaves nothing.
    fn finish(&mut self) {
        self.events();
        for _ in 0..1000 {
            // A peer that is silent for ever must not keep anything for ever.
            self.transmit(usize::MAX);
            self.read(usize::MAX);
            self.events();
            let Some(due) = self.conn.next_timeout() else {
                break;
            };
            self.now = self.now.max(due) + Duration::from_nanos(1);
            self.conn.on_timeout(self.now);
            self.check();
        }
        self.conn.abort();
        self.transmit(usize::MAX);
        self.events();
        assert!(self.conn.is_closed(), "an aborted connection can be deleted");
        assert_eq!(self.conn.next_timeout(), None, "and wants no timer");
        let buffered = self.conn.stats().buffered;
        assert_eq!(buffered, Buffered::default(), "nor memory, in {:?}", self.conn);
    }
}

/// Options as a peer may send them; `echo` is what it saw of our clock, SACK
/// blocks lie around `una`.
fn options(script: &mut Script<'_>, echo: u32, una: SeqNum) -> TcpOptions {
    let bits = script.u8();
    let mut options = TcpOptions::default();
    if bits & 1 == 0 {
        options.timestamps = Some(Timestamps {
            value: script.near(3),
            echo: script.near(echo),
        });
    }
    if bits & 6 == 6 {
        options.mss = Some(script.u16());
        options.window_scale = Some(WindowScale::new(script.u8() % 16));
        options.sack_permitted = true;
    }
    if bits & 24 == 24 {
        let mut sack = SackBlocks::new();
        for _ in 0..script.u8() % 5 {
            let left = script.near(una.0).wrapping_add(u32::from(script.u8()) * 100);
            sack.push(
                SeqNum(left),
                SeqNum(left.wrapping_add(u32::from(script.u16() % 4000))),
            );
        }
        options.sack = sack;
    }
    if bits & 96 == 96 {
        let order = match bits & 128 {
            0 => AccEcnOrder::Ect0First,
            _ => AccEcnOrder::Ect1First,
        };
        let counters: [u32; 3] = std::array::from_fn(|_| script.near(1));
        let fields = usize::from(script.u8() % 4);
        options.accurate_ecn = Some(AccEcnOption::new(order, &counters[..fields]));
    }
    options
}
