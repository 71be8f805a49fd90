//! The load generator against servers on a simulated link.

use crore_base::{Duration, Instant};
use crore_load::{
    Bulk, BulkConfig, Client, Direction, LoadClient, LoadConfig, LoadReport, Pace, Periodic, Workload,
};
use crore_nic::Nic;
use crore_nic::fault::{FaultConfig, FaultNic, Faults};
use crore_nic::sim::{LinkConfig, link};
use crore_shard::{Service, Shard};
use crore_stack::{Event, Read, Stack, StackConfig};

/// Echoes; spoils the byte at `spoil` of everything that it has sent.
struct Echo {
    spoil: Option<u64>,
    sent: u64,
}

impl Service for Echo {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        match event {
            Event::Readable { conn } => {
                while let Ok(Read::Data(chunk)) = stack.read(conn) {
                    let mut bytes = chunk.to_vec();
                    if let Some(at) = self.spoil
                        && (self.sent..self.sent + bytes.len() as u64).contains(&at)
                    {
                        bytes[(at - self.sent) as usize] ^= 1;
                    }
                    self.sent += bytes.len() as u64;
                    assert_eq!(
                        stack.write(conn, &bytes),
                        Ok(bytes.len()),
                        "one request fits the send buffer"
                    );
                }
            }
            Event::PeerClosed { conn } => stack.close(now, conn),
            _ => {}
        }
    }
}

fn stack(addr: &str, nic: &impl Nic, key: u8) -> Stack {
    let mut config = StackConfig {
        addresses: vec![(addr.parse().unwrap(), 24)],
        ..StackConfig::default()
    };
    config.tcp.time_wait = Duration::from_millis(100);
    Stack::new(config, nic.capabilities(), [key; 16]).unwrap()
}

fn run(spoil: Option<u64>, faults: Faults, config: LoadConfig) -> LoadReport {
    drive(LoadClient::new(config), Echo { spoil, sent: 0 }, faults)
}

/// Lets a client and a server go on until the client has ended and nothing is left.
fn drive(client_app: impl Client, server_app: impl Service, faults: Faults) -> LoadReport {
    let (a, b) = link(LinkConfig::default());
    let a = FaultNic::new(
        a,
        FaultConfig {
            seed: 7,
            rx: faults,
            tx: faults,
        },
    );
    let (client, mut server) = (stack("10.0.0.1", &a, 1), stack("10.0.0.2", &b, 2));
    server.listen("10.0.0.2:7".parse().unwrap(), 64).unwrap();
    let mut client = Shard::new(a, client, client_app);
    let mut server = Shard::new(b, server, server_app);
    let mut now = Instant::from_millis(1);
    for _ in 0..3_000_000 {
        client.turn(now);
        server.turn(now);
        if client.service().is_finished() && client.stack().connections() + server.stack().connections() == 0
        {
            return client.service().report(now);
        }
        let next = [client.next_wakeup(now), server.next_wakeup(now)]
            .into_iter()
            .flatten()
            .min();
        now = next.map_or(now, |at| at.max(now)) + Duration::from_micros(1);
    }
    panic!("the run does not end: {:?}", client.service().report(now));
}

fn config(connections: u32, requests: u64, size: usize) -> LoadConfig {
    LoadConfig {
        connections,
        requests,
        ..LoadConfig::new("10.0.0.2:7".parse().unwrap(), Workload::Echo { size })
    }
}

#[test]
fn every_request_is_answered_and_checked() {
    for size in [1, 64, 5000] {
        let report = run(None, Faults::default(), config(10, 500, size));
        assert_eq!(
            (report.requests, report.mismatches, report.broken),
            (500, 0, 0),
            "{size} bytes: {report:?}"
        );
        assert_eq!(report.bytes_received, 500 * size as u64, "{size} bytes");
        assert!(
            report.latency.p50_us >= 100.0,
            "a round trip takes twice the link's 50 us: {report:?}"
        );
    }
}

#[test]
fn a_wrong_byte_is_noticed() {
    let report = run(Some(1234), Faults::default(), config(4, 100, 100));
    assert_eq!(
        (report.mismatches, report.requests),
        (1, 100),
        "one reply was wrong, and made again"
    );
}

#[test]
fn a_bad_link_costs_time_but_no_byte() {
    let faults = Faults {
        loss: 0.05,
        duplicate: 0.02,
        reorder: 0.1,
        corrupt: 0.02,
        ..Faults::default()
    };
    let report = run(None, faults, config(8, 400, 3000));
    assert_eq!((report.requests, report.mismatches), (400, 0), "{report:?}");
}

#[test]
fn short_connections_carry_what_they_are_to_and_are_opened_again() {
    for per_connection in [1, 3] {
        let report = run(
            None,
            Faults::default(),
            LoadConfig {
                per_connection: Some(per_connection),
                ..config(8, 300, 64)
            },
        );
        assert_eq!(
            (
                report.requests,
                report.mismatches,
                report.broken,
                report.connect_failures
            ),
            (300, 0, 0, 0),
            "{report:?}"
        );
        let wanted = 300 / per_connection;
        assert!(
            (wanted..=wanted + 8).contains(&report.connections),
            "{per_connection} a connection: {report:?}"
        );
    }
}

#[test]
fn a_rate_is_kept_by_requests_and_by_opens() {
    let report = run(
        None,
        Faults::default(),
        LoadConfig {
            pace: Some(Pace::new(1000, Duration::ZERO)),
            ..config(4, 501, 64)
        },
    );
    assert_eq!(report.requests, 501);
    assert!(
        (0.5..0.51).contains(&report.seconds),
        "the last is due after half a second: {report:?}"
    );
    let report = run(
        None,
        Faults::default(),
        LoadConfig {
            open_pace: Some(Pace::new(100, Duration::ZERO)),
            per_connection: Some(1),
            ..config(4, 51, 64)
        },
    );
    assert!(
        (0.5..0.51).contains(&report.seconds),
        "one request on each: {report:?}"
    );
}

#[test]
fn a_server_slower_than_the_rate_shows_in_the_latency() {
    // One connection and a round trip of 100 us: 10,000 a second at most.
    let report = run(
        None,
        Faults::default(),
        LoadConfig {
            pace: Some(Pace::new(20_000, Duration::ZERO)),
            ..config(1, 2000, 64)
        },
    );
    assert_eq!((report.requests, report.mismatches), (2000, 0));
    assert!(
        report.latency.max_us > 50_000.0,
        "the wait counts from when each was due: {report:?}"
    );
}

#[test]
fn what_happens_before_it_is_warm_is_checked_and_not_counted() {
    let warm_up = LoadConfig {
        warm_up: Duration::from_millis(100),
        requests: u64::MAX,
        time_limit: Some(Duration::from_millis(50)),
        ..config(4, 0, 64)
    };
    let counted = run(None, Faults::default(), warm_up.clone());
    assert!((0.05..0.051).contains(&counted.seconds), "{counted:?}");
    // A round trip takes 100 us, and four go on at once.
    assert!((1000..=2004).contains(&counted.requests), "{counted:?}");
    assert_eq!(counted.bytes_received / 64, counted.requests, "{counted:?}");
    let spoiled = run(Some(64), Faults::default(), warm_up);
    assert_eq!(
        spoiled.mismatches, 1,
        "a wrong byte counts whenever it comes: {spoiled:?}"
    );
}

/// Sends a period again and again; spoils the byte at `spoil`.
struct Source {
    period: Vec<u8>,
    spoil: Option<u64>,
    sent: u64,
}

impl Service for Source {
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        let conn = match event {
            Event::Opened { conn, .. } | Event::Writable { conn } => conn,
            Event::PeerClosed { conn } => return stack.close(now, conn),
            _ => return,
        };
        loop {
            let at = (self.sent % self.period.len() as u64) as usize;
            let mut piece = self.period[at..].to_vec();
            if let Some(spoil) = self.spoil
                && (self.sent..self.sent + piece.len() as u64).contains(&spoil)
            {
                piece[(spoil - self.sent) as usize] ^= 1;
            }
            let accepted = stack.write(conn, &piece).unwrap_or(0);
            self.sent += accepted as u64;
            if accepted < piece.len() {
                return;
            }
        }
    }
}

#[test]
fn every_byte_of_a_stream_is_checked() {
    let period: Vec<u8> = (0..=250).collect();
    for spoil in [None, Some(300_000)] {
        let client = Bulk::new(BulkConfig {
            remote: "10.0.0.2:7".parse().unwrap(),
            local: Vec::new(),
            connections: 1,
            direction: Direction::Down,
            bytes: 1_000_000,
            warm_up: Duration::ZERO,
            time_limit: Some(Duration::from_secs(1)),
            pattern: Periodic::of(&period),
        });
        let period = period.clone();
        let report = drive(
            client,
            Source {
                period,
                spoil,
                sent: 0,
            },
            Faults::default(),
        );
        assert_eq!(report.mismatches > 0, spoil.is_some(), "{spoil:?}: {report:?}");
        if spoil.is_none() {
            assert!(report.bytes_received >= 1_000_000, "{report:?}");
            assert!(report.received_bits_per_second > 0.0, "{report:?}");
        }
    }
}
