//! Some connections that share one bottleneck, in virtual time: a line of a
//! given rate with a queue of a given length before it, each way, and a delay.
//!
//! Timers come late as those of the stack's wheel do: at the next tick of
//! 2^20 ns that begins after the deadline.

use std::collections::BTreeMap;
use std::rc::Rc;

use crore_base::{Duration, Instant, SeqNum};
use crore_netbuf::Chunk;
use crore_tcp::{Config, Connection, Path, Read, Stats};
use crore_wire::Segment;

/// What the way is like.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Bytes a second, headers included.
    pub rate: u64,
    /// Bytes that wait before the line at most; what comes beyond is lost.
    pub queue: u64,
    /// The round trip without the queue.
    pub round_trip: Duration,
}

impl Way {
    /// The product of rate and delay in bytes.
    pub fn bdp(&self) -> u64 {
        self.rate * self.round_trip.as_millis() / 1000
    }
}

/// One connection: data flows from `sender` to `receiver`, and back if asked for.
pub struct Flow {
    pub sender: Connection,
    pub receiver: Option<Connection>,
    config: Rc<Config>,
    starts: Instant,
    opened: bool,
    /// How much is yet to be written, and whether there is more of it than before.
    to_write: u64,
    eager: bool,
    pub received: u64,
    /// The same from the receiver to the sender.
    to_write_back: u64,
    pub received_back: u64,
    /// Segments of it that the queue had no room for.
    pub dropped: u64,
    /// Most bytes that left at one instant.
    pub burst: u64,
    burst_at: Instant,
    burst_now: u64,
    /// Data segments sent.
    pub sent: u64,
    /// The next data segment is lost on its way.
    pub lose_next: bool,
    /// So many of ten thousand data segments are, at random.
    pub loss: u32,
    random: u32,
}

struct Packet {
    flow: usize,
    forth: bool,
    segment: Segment,
    len: usize,
}

pub struct Bottleneck {
    pub now: Instant,
    pub flows: Vec<Flow>,
    /// May change while segments are on their way.
    pub way: Way,
    under_way: BTreeMap<(Instant, u64), Packet>,
    serial: u64,
    /// When the line has sent all that it took, back and forth.
    line_free: [Instant; 2],
    /// The longest that the queue has been, in bytes; the sum of how long each
    /// segment found it, and how many did.
    pub longest: u64,
    /// So many in a thousand packets, either way, are held back by up to so long
    /// behind the line.
    pub reorder: (u64, Duration),
    dice: u64,
    found: (u64, u64),
}

const HEADERS: u64 = 14 + 20 + 32;
const BLOCK: [u8; 16_384] = [7; 16_384];

impl Bottleneck {
    pub fn new(way: Way) -> Self {
        Self {
            now: Instant::from_millis(1_000),
            flows: Vec::new(),
            way,
            under_way: BTreeMap::new(),
            serial: 0,
            line_free: [Instant::ZERO; 2],
            longest: 0,
            reorder: (0, Duration::ZERO),
            dice: 1,
            found: (0, 0),
        }
    }

    /// One more connection, which begins after `delay` to send `bytes`.
    pub fn add(&mut self, config: &Config, delay: Duration, bytes: u64) -> usize {
        let config = Config {
            send_buffer: 1 << 24,
            receive_buffer: 1 << 24,
            ..config.clone()
        };
        self.add_with_buffers(&config, delay, bytes, 0)
    }

    /// The same with the buffers that `config` names, and `back` bytes from its
    /// receiver to its sender.
    pub fn add_with_buffers(&mut self, config: &Config, delay: Duration, bytes: u64, back: u64) -> usize {
        let config = Rc::new(config.clone());
        let (starts, n) = (self.now + delay, self.flows.len() as u32);
        let path = Path::ipv4(1500);
        let sender = Connection::open_active(Rc::clone(&config), starts, SeqNum(1000 * n), n, path);
        self.flows.push(Flow {
            sender,
            receiver: None,
            config,
            starts,
            opened: false,
            to_write: bytes,
            eager: false,
            received: 0,
            to_write_back: back,
            received_back: 0,
            dropped: 0,
            burst: 0,
            burst_at: Instant::ZERO,
            burst_now: 0,
            sent: 0,
            lose_next: false,
            loss: 0,
            random: n + 1,
        });
        self.flows.len() - 1
    }

    pub fn stats(&self, flow: usize) -> Stats {
        self.flows[flow].sender.stats()
    }

    /// The congestion window in whole segments.
    pub fn window(&self, flow: usize) -> u32 {
        let stats = self.stats(flow);
        stats.cwnd / u32::from(stats.mss)
    }

    /// Runs until `done`, or until `time` has passed. Says whether `done`.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            let Some(next) = self.next_event().filter(|&next| next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            self.step();
            if done(self) {
                return true;
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Bytes that each flow delivers in `time`.
    pub fn measure(&mut self, time: Duration) -> Vec<u64> {
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.received).collect();
        self.run(time);
        let after = self.flows.iter().map(|flow| flow.received);
        after.zip(before).map(|(after, before)| after - before).collect()
    }

    /// How long the queue was on average since this was asked last, in bytes.
    pub fn mean_queue(&mut self) -> u64 {
        let (sum, count) = core::mem::take(&mut self.found);
        sum / count.max(1)
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.under_way.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.flows.iter().flat_map(|flow| {
            let start = (!flow.opened).then_some(flow.starts);
            let start = start.or(flow.eager.then_some(self.now));
            let timers = [Some(&flow.sender), flow.receiver.as_ref()];
            let timers = timers.into_iter().flatten();
            let timers = timers.filter(|_| flow.opened).filter_map(wakes_at);
            start.into_iter().chain(timers).collect::<Vec<_>>()
        });
        timers.chain(arrival).min()
    }

    fn step(&mut self) {
        let mut touched = Vec::new();
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            let packet = first.remove();
            touched.push(packet.flow);
            self.flows[packet.flow].deliver(self.now, &packet);
        }
        for (n, flow) in self.flows.iter_mut().enumerate() {
            if flow.wake(self.now) {
                touched.push(n);
            }
        }
        for n in touched {
            self.flows[n].run_application();
            self.transmit(n, true);
            self.transmit(n, false);
        }
    }

    fn transmit(&mut self, n: usize, forth: bool) {
        loop {
            let flow = &mut self.flows[n];
            let end = if forth {
                Some(&mut flow.sender)
            } else {
                flow.receiver.as_mut()
            };
            let Some(connection) = end else {
                return;
            };
            let Some(plan) = connection.plan_transmit(self.now) else {
                return;
            };
            connection.commit_transmit(self.now, &plan);
            connection.assert_invariants();
            let packet = Packet {
                flow: n,
                forth,
                segment: plan.segment,
                len: plan.payload_len.into(),
            };
            let arrives = if packet.len > 0 {
                let len = packet.len as u64;
                let arrives = flow.note_sent(self.now, len).then(|| self.queue(forth, len));
                arrives.flatten()
            } else {
                Some(self.now + self.way.round_trip.div(2))
            };
            match arrives {
                Some(at) => {
                    let at = at + self.hold();
                    self.serial += 1;
                    self.under_way.insert((at, self.serial), packet);
                }
                None => self.flows[n].dropped += 1,
            }
        }
    }

    /// By how much longer than others the next packet takes.
    fn hold(&mut self) -> Duration {
        let (share, longest) = self.reorder;
        if share == 0 {
            return Duration::ZERO;
        }
        let mut throw = |sides: u64| {
            let dice = self.dice.wrapping_mul(6_364_136_223_846_793_005);
            self.dice = dice.wrapping_add(1_442_695_040_888_963_407);
            (self.dice >> 33) % sides
        };
        let held = throw(1000) < share;
        Duration::from_nanos(if held { 1 + throw(longest.as_nanos()) } else { 0 })
    }

    /// When so many bytes come out at the other end, if they find room.
    fn queue(&mut self, forth: bool, len: u64) -> Option<Instant> {
        let bytes = len + HEADERS;
        let line_free = &mut self.line_free[usize::from(forth)];
        let waits = line_free.since(self.now);
        let queued = waits.as_nanos() * self.way.rate / 1_000_000_000;
        if queued + bytes > self.way.queue {
            return None;
        }
        self.longest = self.longest.max(queued);
        self.found = (self.found.0 + queued, self.found.1 + 1);
        let takes = Duration::from_nanos(bytes * 1_000_000_000 / self.way.rate);
        *line_free = (*line_free).max(self.now) + takes;
        Some(*line_free + self.way.round_trip.div(2))
    }
}

/// When the stack's wheel would wake it.
fn wakes_at(connection: &Connection) -> Option<Instant> {
    let due = connection.next_timeout()?;
    Some(Instant::from_nanos(((due.as_nanos() >> 20) + 1) << 20))
}

impl Flow {
    fn deliver(&mut self, now: Instant, packet: &Packet) {
        let segment = &packet.segment;
        if !packet.forth {
            let text = Chunk::copy_from(&BLOCK[..packet.len]);
            self.sender.on_segment(now, segment, text);
            self.sender.assert_invariants();
            return;
        }
        match &mut self.receiver {
            Some(receiver) => {
                let text = Chunk::copy_from(&BLOCK[..packet.len]);
                receiver.on_segment(now, segment, text);
            }
            None => {
                let (config, iss) = (Rc::clone(&self.config), SeqNum(77));
                let path = Path::ipv4(1500);
                self.receiver = Some(Connection::open_passive(config, now, iss, 5, path, segment));
            }
        }
    }

    /// The application has so much more to send.
    pub fn write(&mut self, bytes: u64) {
        self.to_write += bytes;
        self.eager = true;
    }

    /// Whether anything is due.
    fn wake(&mut self, now: Instant) -> bool {
        let mut due = !self.opened && self.starts <= now;
        self.opened |= due;
        if !self.opened {
            return false;
        }
        due |= core::mem::take(&mut self.eager);
        for connection in [Some(&mut self.sender), self.receiver.as_mut()]
            .into_iter()
            .flatten()
        {
            if wakes_at(connection).is_some_and(|at| at <= now) {
                connection.on_timeout(now);
                due = true;
            }
        }
        due
    }

    fn run_application(&mut self) {
        run_application(&mut self.sender, &mut self.to_write, &mut self.received_back);
        if let Some(receiver) = &mut self.receiver {
            run_application(receiver, &mut self.to_write_back, &mut self.received);
        }
    }

    /// Whether it comes as far as the queue.
    fn note_sent(&mut self, now: Instant, len: u64) -> bool {
        if self.burst_at != now {
            (self.burst_at, self.burst_now) = (now, 0);
        }
        self.burst_now += len;
        self.burst = self.burst.max(self.burst_now);
        self.sent += 1;
        // Marsaglia's xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        !core::mem::take(&mut self.lose_next) && self.random % 10_000 >= self.loss
    }
}

fn run_application(connection: &mut Connection, to_write: &mut u64, read: &mut u64) {
    while *to_write > 0 {
        let len = (*to_write).min(BLOCK.len() as u64) as usize;
        let Ok(written @ 1..) = connection.write(&BLOCK[..len]) else {
            break;
        };
        *to_write -= written as u64;
    }
    while let Ok(Read::Data(chunk)) = connection.read() {
        *read += chunk.len() as u64;
    }
    while connection.poll_event().is_some() {}
}

/// Jain's index: 1 when all have the same, 1/n when one has everything.
pub fn fairness(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|&share| share as f64).sum();
    let squares: f64 = shares.iter().map(|&share| (share as f64) * (share as f64)).sum();
    sum * sum / (shares.len() as f64 * squares)
}
