//! Several shards on each end of a wire with several queues, and what becomes of
//! frames that come to the wrong one. One thread drives them all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crore_base::{DropReason, Duration, Instant, MacAddr, RxChecksum};
use crore_load::{Client, LoadClient, LoadConfig, Workload};
use crore_netbuf::Chunk;
use crore_nic::{BURST, Capabilities, Nic, RxFrame, TxMeta};
use crore_shard::{PeerCounters, Peers, Service, Shard, Spread};
use crore_stack::{Event, Read, Share, Stack, StackConfig, Steering};

const CONNECTIONS: u32 = 200;
const REQUESTS: u64 = 2_000;

/// One direction of one queue.
type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// A queue pair.
struct QueueNic {
    capabilities: Capabilities,
    rx: Frames,
    tx: Frames,
    reserved: Vec<u8>,
}

impl QueueNic {
    fn new(mac: MacAddr, rx: &Frames, tx: &Frames) -> Self {
        Self {
            capabilities: Capabilities {
                mac,
                mtu: 1500,
                tx_ipv4_checksum: false,
                tx_tcp_checksum: false,
                tx_tso: false,
                rx_checksum: false,
            },
            rx: rx.clone(),
            tx: tx.clone(),
            reserved: vec![0; 2048],
        }
    }
}

impl Nic for QueueNic {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, into: &mut Vec<RxFrame>) -> usize {
        let mut rx = self.rx.borrow_mut();
        let count = rx.len().min(BURST);
        into.extend(rx.drain(..count).map(|bytes| RxFrame {
            data: Chunk::copy_from(&bytes),
            checksum: RxChecksum::Unknown,
        }));
        count
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.reserved.get_mut(..len)
    }

    fn commit(&mut self, len: usize, _meta: TxMeta) {
        self.tx.borrow_mut().push_back(self.reserved[..len].to_vec());
    }

    fn flush(&mut self, _now: Instant) -> usize {
        0
    }
}

struct Echo;

impl Service for Echo {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Readable { conn } => {
                while let Ok(Read::Data(chunk)) = stack.read(conn) {
                    assert_eq!(stack.write(conn, &chunk), Ok(chunk.len()), "requests are small");
                }
            }
            Event::PeerClosed { conn } => stack.close(now, conn),
            _ => {}
        }
    }
}

/// One end: its shards, and its side of each queue.
struct End<S: Service> {
    shards: Vec<Shard<Box<dyn Nic>, S>>,
    rx: Vec<Frames>,
    tx: Vec<Frames>,
}

fn end<S: Service>(host: u8, queues: u16, shards: u16, mut service: impl FnMut(u16) -> S) -> End<S> {
    let steering = Arc::new(Steering::symmetric(queues, shards));
    let mac = MacAddr([2, 0, 0, 0, 0, host]);
    let frames = || (0..queues).map(|_| Frames::default()).collect::<Vec<_>>();
    let (rx, tx) = (frames(), frames());
    let nic = |queue: u16| QueueNic::new(mac, &rx[usize::from(queue)], &tx[usize::from(queue)]);
    let mut make = |peers: Peers, shard: u16| {
        let mut mine: Vec<u16> = (shard..queues).step_by(shards.into()).collect();
        let nic: Box<dyn Nic> = if mine.len() == 1 {
            Box::new(nic(mine.remove(0)))
        } else {
            let nics = mine.into_iter().map(|queue| (queue, nic(queue))).collect();
            Box::new(Spread::new(steering.clone(), nics).expect("it has queues"))
        };
        let mut config = StackConfig {
            addresses: vec![(format!("10.0.0.{host}").parse().unwrap(), 24)],
            max_connections: 4096,
            share: Some(Share {
                steering: steering.clone(),
                shard,
            }),
            ..StackConfig::default()
        };
        config.tcp.time_wait = Duration::from_millis(10);
        let mut stack = Stack::new(config, nic.capabilities(), [host ^ shard as u8; 16]).unwrap();
        stack.listen("0.0.0.0:7".parse().unwrap(), 1024).unwrap();
        Shard::new(nic, stack, service(shard)).among(peers)
    };
    let peers = Peers::of(&steering);
    let shards = peers
        .into_iter()
        .zip(0..)
        .map(|(p, shard)| make(p, shard))
        .collect();
    End { shards, rx, tx }
}

fn turn<S: Service>(end: &mut End<S>, now: Instant) {
    for shard in &mut end.shards {
        shard.turn(now);
    }
}

fn client(shards: u16) -> LoadClient {
    LoadClient::new(LoadConfig {
        connections: CONNECTIONS / u32::from(shards),
        requests: REQUESTS / u64::from(shards),
        ..LoadConfig::new("10.0.0.2:7".parse().unwrap(), Workload::Echo { size: 100 })
    })
}

/// Moves what was sent to where `route` says; it is told the frame and the queue that it was sent on.
fn carry(from: &[Frames], to: &[Frames], route: &mut impl FnMut(usize, &[u8]) -> usize) {
    for (queue, frames) in from.iter().enumerate() {
        for frame in frames.borrow_mut().drain(..) {
            to[route(queue, &frame)].borrow_mut().push_back(frame);
        }
    }
}

struct Outcome {
    /// Requests answered, by the client's shard.
    requests: Vec<u64>,
    /// Connections accepted, by the server's shard.
    accepted: Vec<u64>,
    clients: Vec<PeerCounters>,
    servers: Vec<PeerCounters>,
}

fn run(
    queues: u16,
    clients: u16,
    servers: u16,
    mut to_server: impl FnMut(usize, &[u8]) -> usize,
    mut to_client: impl FnMut(usize, &[u8]) -> usize,
) -> Outcome {
    let mut left = end(1, queues, clients, |_| client(clients));
    let mut right = end(2, queues, servers, |_| Echo);
    let mut now = Instant::from_millis(1);
    for _ in 0..200_000 {
        turn(&mut left, now);
        carry(&left.tx, &right.rx, &mut to_server);
        turn(&mut right, now);
        carry(&right.tx, &left.rx, &mut to_client);
        now += Duration::from_micros(10);
        let open = |stack: &Stack| stack.connections() > 0;
        let busy = left
            .shards
            .iter()
            .any(|s| open(s.stack()) || !s.service().is_finished());
        if !busy && !right.shards.iter().any(|s| open(s.stack())) {
            let reports = left.shards.iter().map(|s| s.service().report(now));
            for report in reports {
                let errors = report.mismatches + report.broken + report.connect_failures;
                assert_eq!(errors, 0, "{report:?}");
            }
            return Outcome {
                requests: left.shards.iter().map(|s| s.service().requests()).collect(),
                accepted: right
                    .shards
                    .iter()
                    .map(|s| s.stack().counters().accepted)
                    .collect(),
                clients: left.shards.iter().map(Shard::peer_counters).collect(),
                servers: right.shards.iter().map(Shard::peer_counters).collect(),
            };
        }
    }
    panic!("the run does not end");
}

#[test]
fn a_flow_that_leaves_on_its_queue_comes_back_on_it() {
    let same = |queue: usize, _: &[u8]| queue;
    for (queues, clients, servers) in [(2, 2, 2), (3, 3, 3), (2, 1, 2), (2, 2, 1), (4, 1, 2), (4, 2, 4)] {
        let outcome = run(queues, clients, servers, same, same);
        let what = format!("{queues} queues, {clients} and {servers} shards");
        assert_eq!(
            outcome.requests.iter().sum::<u64>(),
            REQUESTS / u64::from(clients) * u64::from(clients),
            "{what}"
        );
        assert!(
            outcome.accepted.iter().all(|&n| n > 20),
            "{what}: {:?}",
            outcome.accepted
        );
        for counters in outcome.clients.iter().chain(&outcome.servers) {
            assert_eq!(
                (counters.handed_on, counters.rescued),
                (0, 0),
                "{what}: nothing is lost"
            );
        }
    }
}

#[test]
fn what_comes_to_the_wrong_shard_is_handed_to_the_right_one() {
    let wrong = |queue: usize, _: &[u8]| 1 - queue;
    let outcome = run(2, 2, 2, wrong, wrong);
    assert_eq!(outcome.requests, [REQUESTS / 2; 2], "all are answered");
    let accepted: u64 = outcome.accepted.iter().sum();
    assert_eq!(accepted, u64::from(CONNECTIONS), "each connection once");
    for end in [&outcome.clients, &outcome.servers] {
        let sum = |of: fn(&PeerCounters) -> u64| end.iter().map(of).sum::<u64>();
        assert_eq!(
            sum(|c| c.handed_on),
            sum(|c| c.rescued),
            "none is lost on the way"
        );
        assert!(sum(|c| c.rescued) > REQUESTS, "every segment");
        assert_eq!(sum(|c| c.mailbox_full), 0, "there was room");
    }
}

#[test]
fn a_division_that_is_not_ours_costs_time_but_no_byte() {
    let mut dice = 1u32;
    let mut any = move |_: usize, _: &[u8]| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 16) as usize % 3
    };
    let mut other = any;
    let outcome = run(3, 3, 3, |q, f| any(q, f), |q, f| other(q, f));
    assert_eq!(
        outcome.requests.iter().sum::<u64>(),
        REQUESTS / 3 * 3,
        "all are answered"
    );
}

#[test]
fn one_question_for_an_address_gets_one_answer_and_all_shards_learn_from_it() {
    let answers = Rc::new(RefCell::new([0; 2]));
    let count = |frame: &[u8]| {
        if frame[12..14] == [8, 6] && frame[..6] != [0xff; 6] {
            answers.borrow_mut()[usize::from(frame[21]) - 1] += 1;
        }
    };
    let to = |queue: usize, frame: &[u8]| {
        count(frame);
        queue
    };
    let outcome = run(2, 2, 2, to, to);
    // Each of the client's shards asks once, at the same moment; the server's know
    // by then who it is, and ask nothing.
    assert_eq!(answers.borrow()[1], 2, "answers");
    for counters in outcome.clients.iter().chain(&outcome.servers) {
        assert!(counters.news > 0, "{counters:?}");
    }
}

#[test]
fn a_mailbox_that_nobody_empties_is_full_at_last_and_that_is_counted() {
    let mut server = end(2, 2, 2, |_| Echo);
    let mut clients = end(1, 2, 2, |_| client(2));
    let mut now = Instant::from_millis(1);
    for _ in 0..20 {
        turn(&mut clients, now);
        carry(&clients.tx, &server.rx, &mut |queue, _| queue);
        turn(&mut server, now);
        carry(&server.tx, &clients.rx, &mut |queue, _| queue);
        now += Duration::from_micros(10);
    }
    // A segment of shard 1's, again and again on the queue of shard 0.
    let steering = Steering::symmetric(2, 2);
    let theirs = |frame: &[u8]| steering.queue_of_sent(frame) == Some(1);
    let frame = loop {
        turn(&mut clients, now);
        let sent: Vec<_> = clients
            .tx
            .iter()
            .flat_map(|f| f.borrow_mut().split_off(0))
            .collect();
        if let Some(frame) = sent.into_iter().find(|frame| theirs(frame)) {
            break frame;
        }
        now += Duration::from_millis(10);
    };
    for _ in 0..5000 {
        server.rx[0].borrow_mut().push_back(frame.clone());
    }
    for _ in 0..100 {
        server.shards[0].turn(now);
    }
    let counters = server.shards[0].peer_counters();
    assert_eq!(counters.handed_on, 5000, "all were looked at");
    assert!((3900..4000).contains(&counters.mailbox_full), "{counters:?}");
    let drops = &server.shards[0].stack().counters().drops;
    assert_eq!(
        drops.get(DropReason::ShardMailboxFull),
        counters.mailbox_full,
        "and counted"
    );
    for _ in 0..100 {
        server.shards[1].turn(now);
    }
    assert_eq!(
        server.shards[1].peer_counters().rescued + counters.mailbox_full,
        5000,
        "the rest arrived"
    );
}
