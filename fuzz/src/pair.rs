//! Two connections and the wire between them, under a list of operations: what
//! both applications do, what becomes of each segment on its way, and time.
//!
//! Every byte tells where it belongs. When the list is at its end the wire is
//! kind, and both streams must arrive whole and end in order.

use std::collections::VecDeque;
use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Config, CongestionKind, Connection, Event, Path, Read};
use crore_wire::Segment;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};

use crate::pattern;

/// Operations of one list; more would only be slower.
const OPERATIONS: usize = 300;
/// Segments under way in one direction; more are lost.
const WIRE: usize = 1_000;
/// Bytes of a stream.
const STREAM: u32 = 100_000;
/// Turns of the end within which both must have finished: a window of one byte
/// is probed for each of them.
const TURNS: usize = 400_000;

/// One thing that happens. `right` says to which of the two.
#[derive(Arbitrary, Debug)]
enum Operation {
    /// The application writes.
    Write { right: bool, len: u16 },
    /// It reads up to so many pieces.
    Read { right: bool, pieces: u8 },
    /// It has written all that it will.
    Finish { right: bool },
    /// It wants small segments to go at once, or not.
    Nodelay { right: bool, on: bool },
    /// So many segments arrive.
    Deliver { right: bool, count: u8 },
    /// One of those under way is lost.
    Lose { right: bool, which: u8 },
    /// One of them comes twice.
    Double { right: bool, which: u8 },
    /// One of them overtakes all others.
    Overtake { right: bool, which: u8 },
    /// A router takes no more than so much.
    Narrow { right: bool, mss: u16 },
    /// Time passes, in units of 100 microseconds.
    Pass { time: u16 },
    /// Time goes on to the next deadline.
    Wait,
}

/// How the two are set.
#[derive(Arbitrary, Debug)]
struct Setup {
    origin: u32,
    buffers: [u8; 4],
    sack: bool,
    timestamps: bool,
    scaling: bool,
    congestion: u8,
    delayed: bool,
    small: bool,
}

/// The target.
pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(setup) = Setup::arbitrary(&mut bytes) else {
        return;
    };
    let mut world = World::new(&setup);
    for _ in 0..OPERATIONS {
        if bytes.is_empty() {
            break;
        }
        let Ok(operation) = Operation::arbitrary(&mut bytes) else {
            break;
        };
        world.apply(&operation);
    }
    world.finish();
}

struct End {
    conn: Connection,
    /// The number of its stream's first byte, and how many it has written.
    first: u32,
    written: u32,
    /// How many of the other's it has read.
    read: u32,
    eof: bool,
    finished: bool,
    /// What it has sent that has not arrived.
    wire: VecDeque<(Segment, Vec<u8>)>,
}

struct World {
    now: Instant,
    ends: [End; 2],
}

impl World {
    fn new(setup: &Setup) -> Self {
        let buffer = |choice: u8| [65_536, 1_000, 10, 1, 262_144][usize::from(choice % 5)];
        let config = |receive, send| {
            Rc::new(Config {
                receive_buffer: buffer(receive),
                send_buffer: buffer(send),
                mss_max: if setup.small { 100 } else { 1_400 },
                sack: setup.sack,
                timestamps: setup.timestamps,
                window_scaling: setup.scaling,
                delayed_ack: Duration::from_millis(if setup.delayed { 40 } else { 0 }),
                congestion: match setup.congestion % 3 {
                    0 => CongestionKind::Cubic,
                    1 => CongestionKind::NewReno,
                    _ => CongestionKind::Bbr,
                },
                // However much is lost, nobody gives up.
                syn_retries: u8::MAX,
                data_retries: u8::MAX,
                ..Config::default()
            })
        };
        let now = Instant::from_millis(1_000);
        let [a, b, c, d] = setup.buffers;
        let (left, right) = (config(a, b), config(c, d));
        let isses = [SeqNum(setup.origin), SeqNum(!setup.origin)];
        let path = Path::ipv4(1_500);
        let mut opener = Connection::open_active(left, now, isses[0], 5, path);
        let plan = opener.plan_transmit(now).expect("a SYN is owed");
        opener.commit_transmit(now, &plan);
        let listener = Connection::open_passive(right, now, isses[1], 9, path, &plan.segment);
        let end = |conn, iss: SeqNum| End {
            conn,
            first: iss.0.wrapping_add(1),
            written: 0,
            read: 0,
            eof: false,
            finished: false,
            wire: VecDeque::new(),
        };
        let mut world = Self {
            now,
            ends: [end(opener, isses[0]), end(listener, isses[1])],
        };
        world.transmit();
        world
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Write { right, len } => self.write(usize::from(right), u32::from(len)),
            Operation::Read { right, pieces } => self.read(usize::from(right), usize::from(pieces)),
            Operation::Finish { right } => self.shut(usize::from(right)),
            Operation::Nodelay { right, on } => self.ends[usize::from(right)].conn.set_nodelay(on),
            Operation::Deliver { right, count } => self.deliver(usize::from(right), usize::from(count)),
            Operation::Lose { right, which } => drop(self.pick(right, which)),
            Operation::Double { right, which } => {
                if let Some(copied) = self.pick(right, which) {
                    let wire = &mut self.ends[usize::from(!right)].wire;
                    wire.push_back(copied.clone());
                    wire.push_back(copied);
                }
            }
            Operation::Overtake { right, which } => {
                if let Some(first) = self.pick(right, which) {
                    self.ends[usize::from(!right)].wire.push_front(first);
                }
            }
            Operation::Narrow { right, mss } => {
                let now = self.now;
                let conn = &mut self.ends[usize::from(right)].conn;
                let una = conn.snd_una();
                conn.on_path_mtu(now, una, mss);
            }
            Operation::Pass { time } => self.pass(Duration::from_micros(100 * u64::from(time))),
            Operation::Wait => self.wait(),
        }
        self.transmit();
    }

    /// One of the segments that are on their way to an end.
    fn pick(&mut self, right: bool, which: u8) -> Option<(Segment, Vec<u8>)> {
        let wire = &mut self.ends[usize::from(!right)].wire;
        let which = usize::from(which).checked_rem(wire.len())?;
        wire.remove(which)
    }

    fn write(&mut self, index: usize, len: u32) {
        let end = &mut self.ends[index];
        let len = len.min(STREAM - end.written);
        let bytes = pattern::bytes(end.first.wrapping_add(end.written), len as usize);
        if !end.finished
            && let Ok(taken) = end.conn.write(&bytes)
        {
            assert!(taken <= bytes.len(), "no more than was given");
            end.written += taken as u32;
        }
    }

    fn shut(&mut self, index: usize) {
        self.ends[index].finished = true;
        self.ends[index].conn.shutdown_write();
    }

    fn read(&mut self, index: usize, pieces: usize) {
        let [first, written] = [self.ends[1 - index].first, self.ends[1 - index].written];
        let end = &mut self.ends[index];
        for _ in 0..pieces {
            match end.conn.read() {
                Ok(Read::Data(chunk)) => {
                    assert!(!chunk.is_empty(), "data is never empty");
                    pattern::check(first.wrapping_add(end.read), &chunk, "read");
                    end.read += chunk.len() as u32;
                    assert!(end.read <= written, "no more than was written");
                }
                Ok(Read::Eof) => {
                    assert_eq!(end.read, written, "the end comes behind the last byte");
                    end.eof = true;
                    return;
                }
                _ => return,
            }
        }
    }

    fn deliver(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            let Some((segment, payload)) = self.ends[1 - index].wire.pop_front() else {
                return;
            };
            let conn = &mut self.ends[index].conn;
            conn.on_segment(self.now, &segment, Chunk::copy_from(&payload));
            conn.assert_invariants();
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            end.conn.on_timeout(self.now);
            end.conn.assert_invariants();
        }
    }

    fn wait(&mut self) {
        let deadlines = self.ends.iter().filter_map(|end| end.conn.next_timeout());
        if let Some(due) = deadlines.min() {
            self.now = self.now.max(due);
        }
        self.pass(Duration::ZERO);
    }

    fn transmit(&mut self) {
        for end in &mut self.ends {
            for _ in 0.. {
                let Some(plan) = end.conn.plan_transmit(self.now) else {
                    break;
                };
                let mut payload = vec![0xcc; usize::from(plan.payload_len)];
                end.conn.copy_payload(&plan, &mut payload);
                pattern::check(plan.segment.seq.0, &payload, "sent");
                end.conn.commit_transmit(self.now, &plan);
                assert!(!plan.segment.flags.has_rst(), "nobody breaks off");
                if end.wire.len() < WIRE {
                    end.wire.push_back((plan.segment, payload));
                }
            }
            end.conn.assert_invariants();
        }
    }

    fn events(&mut self) {
        for end in &mut self.ends {
            while let Some(event) = end.conn.poll_event() {
                if let Event::Closed(reason) = event {
                    assert_eq!(
                        reason,
                        crore_tcp::CloseReason::Finished,
                        "however bad the wire was, nobody gave up"
                    );
                }
            }
        }
    }

    /// From now on all arrives, and both have said everything.
    fn finish(&mut self) {
        self.shut(0);
        self.shut(1);
        for _ in 0..TURNS {
            self.transmit();
            let under_way = self.ends.iter().any(|end| !end.wire.is_empty());
            for index in [0, 1] {
                self.deliver(index, WIRE);
                self.read(index, usize::MAX);
            }
            self.events();
            if self.ends.iter().all(|end| end.eof) && self.ends.iter().all(|end| end.conn.is_closed()) {
                return;
            }
            if !under_way {
                self.wait();
            } else {
                self.now += Duration::from_micros(100);
            }
        }
        panic!(
            "not over: {:?}",
            [0, 1].map(|index| (&self.ends[index].conn, self.ends[index].read))
        );
    }
}
