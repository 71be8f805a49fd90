//! The load generator against servers on a simulated link.

use crore_base::{Duration, Instant};
use crore_load::{LoadClient, LoadConfig, LoadReport, Workload};
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
    let mut client = Shard::new(a, client, LoadClient::new(config));
    let mut server = Shard::new(b, server, Echo { spoil, sent: 0 });
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
        remote: "10.0.0.2:7".parse().unwrap(),
        local: Vec::new(),
        connections,
        requests,
        time_limit: None,
        workload: Workload::Echo { size },
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
