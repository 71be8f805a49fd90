//! One connection against crafted segments. The peer's numbers are relative to
//! its initial one, ours to ours: 1 is the first byte in both directions.

use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Config, CongestionKind, Connection, Disposition, Event, Path, Read, State};
use crore_wire::{Flags, Segment, TcpOptions};

pub const ISS: SeqNum = SeqNum(u32::MAX - 3);
pub const IRS: SeqNum = SeqNum(5_000);

pub const SYN: Flags = Flags::SYN;
pub const ACK: Flags = Flags::ACK;
pub const FIN: Flags = Flags::FIN;
pub const RST: Flags = Flags::RST;

pub struct Lone {
    pub conn: Connection,
    pub now: Instant,
}

/// No options and halved windows, so that numbers are simple; the path takes
/// 1,000 bytes.
pub fn plain() -> Config {
    Config {
        window_scaling: false,
        timestamps: false,
        sack: false,
        receive_buffer: 10_000,
        send_buffer: 100_000,
        congestion: CongestionKind::NewReno,
        ..Config::default()
    }
}

pub const MSS: u16 = 1_000;

pub fn path() -> Path {
    Path {
        mss: MSS,
        send_mss: MSS,
        ipv6: false,
    }
}

/// A segment from the peer; `seq` and `ack` are relative.
pub fn seg(flags: Flags, seq: u32, ack: u32) -> Segment {
    Segment {
        seq: IRS + seq,
        ack: if flags.has_ack() { ISS + ack } else { SeqNum(0) },
        flags,
        window: 50_000,
        ..Segment::default()
    }
}

/// The peer's SYN.
pub fn syn() -> Segment {
    Segment {
        options: TcpOptions {
            mss: Some(MSS),
            ..TcpOptions::default()
        },
        ..seg(SYN, 0, 0)
    }
}

/// A segment that was sent, its numbers made relative.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub flags: Flags,
    pub seq: u32,
    pub ack: u32,
    pub len: usize,
    pub window: u16,
}

impl Lone {
    pub fn opening(config: Config) -> Self {
        let now = Instant::from_millis(1_000);
        let conn = Connection::open_active(Rc::new(config), now, ISS, 0, path());
        Self { conn, now }
    }

    pub fn listening(config: Config) -> Self {
        Self::answering(config, &syn())
    }

    pub fn answering(config: Config, syn: &Segment) -> Self {
        let now = Instant::from_millis(1_000);
        let conn = Connection::open_passive(Rc::new(config), now, ISS, 0, path(), syn);
        Self { conn, now }
    }

    /// Established by the peer's open, events told.
    pub fn established(config: Config) -> Self {
        let mut lone = Self::listening(config);
        lone.out();
        lone.recv(&seg(ACK, 1, 1), b"");
        assert_eq!(lone.conn.state(), State::Established, "by the peer's open");
        lone.events();
        lone
    }

    /// In `state`, with nothing owed.
    pub fn in_state(state: State, config: Config) -> Self {
        let mut lone = match state {
            State::SynSent => Self::opening(config),
            State::SynReceived => Self::listening(config),
            _ => Self::established(config),
        };
        match state {
            State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
                lone.conn.shutdown_write()
            }
            State::CloseWait | State::LastAck => {
                lone.recv(&seg(FIN | ACK, 1, 1), b"");
            }
            _ => {}
        }
        lone.out();
        match state {
            State::FinWait2 | State::TimeWait => {
                lone.recv(&seg(ACK, 1, 2), b"");
            }
            State::Closing => {
                lone.recv(&seg(FIN | ACK, 1, 1), b"");
            }
            State::LastAck => lone.conn.shutdown_write(),
            _ => {}
        }
        if state == State::TimeWait {
            lone.recv(&seg(FIN | ACK, 1, 2), b"");
        }
        lone.out();
        lone.events();
        assert_eq!(lone.conn.state(), state, "the state that was asked for");
        lone
    }

    pub fn recv(&mut self, segment: &Segment, payload: &[u8]) -> Disposition {
        let disposition = self.conn.on_segment(self.now, segment, Chunk::copy_from(payload));
        self.conn.assert_invariants();
        disposition
    }

    /// Everything that it sends now.
    pub fn out(&mut self) -> Vec<Sent> {
        self.out_raw()
            .iter()
            .map(|(segment, payload)| Sent {
                flags: segment.flags.without(Flags::PSH),
                seq: ISS.distance_to(segment.seq),
                ack: if segment.flags.has_ack() {
                    IRS.distance_to(segment.ack)
                } else {
                    0
                },
                len: payload.len(),
                window: segment.window,
            })
            .collect()
    }

    pub fn out_raw(&mut self) -> Vec<(Segment, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(plan) = self.conn.plan_transmit(self.now) {
            let mut payload = vec![0; usize::from(plan.payload_len)];
            self.conn.copy_payload(&plan, &mut payload);
            self.conn.commit_transmit(self.now, &plan);
            self.conn.assert_invariants();
            sent.push((plan.segment, payload));
            assert!(sent.len() < 1_000, "output without end");
        }
        sent
    }

    /// What it sends now, in short: `ACK`, `SYN|ACK`, `RST@7`.
    pub fn said(&mut self) -> String {
        let sent = self.out();
        let words: Vec<String> = sent
            .iter()
            .map(|s| match s {
                s if s.flags.has_rst() => format!("RST@{}", s.seq),
                s if s.len > 0 => format!("{:?}+{}", s.flags, s.len),
                s => format!("{:?}", s.flags),
            })
            .collect();
        words.join(" ")
    }

    /// (relative number, length) of the data that it sends now.
    pub fn data(&mut self) -> Vec<(u32, usize)> {
        self.out()
            .iter()
            .filter(|s| s.len > 0)
            .map(|s| (s.seq, s.len))
            .collect()
    }

    /// Time passes until its next timer, which runs; says how long that was.
    pub fn wait(&mut self) -> Duration {
        let at = self.conn.next_timeout().expect("a timer runs");
        let waited = at.since(self.now);
        self.now = self.now.max(at);
        self.conn.on_timeout(self.now);
        self.conn.assert_invariants();
        waited
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.conn.next_timeout().is_some_and(|at| at <= self.now) {
            self.conn.on_timeout(self.now);
        }
        self.conn.assert_invariants();
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.conn.poll_event()).collect()
    }

    pub fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Read::Data(chunk)) = self.conn.read() {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }
}
