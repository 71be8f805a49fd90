//! Two hosts on a simulated link.
#![allow(dead_code, reason = "each test binary uses its part")]

use crore_base::{Duration, Instant};
use crore_nic::sim::{Link, LinkConfig, SimNic, link};
use crore_nic::{Nic, RxFrame};
use crore_stack::{CloseReason, ConnId, Event, Read, Stack, StackConfig};

pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) nic: SimNic,
    pub(crate) frames: Vec<RxFrame>,
    pub(crate) events: Vec<Event>,
}

impl Host {
    pub(crate) fn new(nic: SimNic, addresses: &[&str], key: u8, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig {
            addresses: addresses
                .iter()
                .map(|a| (a.parse().unwrap(), if a.contains(':') { 64 } else { 24 }))
                .collect(),
            max_connections: 64,
            ..StackConfig::default()
        };
        tune(&mut config);
        let stack = Stack::new(config, nic.capabilities(), [key; 16]).expect("a good configuration");
        Self {
            stack,
            nic,
            frames: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn turn(&mut self, now: Instant) {
        while self.nic.rx_burst(now, &mut self.frames) > 0 {
            self.stack.on_burst(now, &mut self.frames);
        }
        self.stack.on_timeout(now);
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
        self.stack.poll_transmit(now, &mut self.nic);
    }

    pub(crate) fn wakeup(&self, now: Instant) -> Option<Instant> {
        if self.stack.has_work() {
            return Some(now);
        }
        [self.stack.next_timeout(), self.nic.next_arrival()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn opened(&self) -> Vec<ConnId> {
        let conn = |e: &Event| match e {
            Event::Opened { conn, .. } => Some(*conn),
            _ => None,
        };
        self.events.iter().filter_map(conn).collect()
    }

    pub(crate) fn closed(&self) -> Vec<CloseReason> {
        let reason = |e: &Event| match e {
            Event::Closed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    pub(crate) fn read_all(&mut self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Read::Data(chunk)) = self.stack.read(conn) {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }
}

pub(crate) struct World {
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) link: Link,
    pub(crate) now: Instant,
}

impl World {
    pub(crate) fn new(v6: bool, tune: impl FnOnce(&mut StackConfig)) -> Self {
        let (a, b) = link(LinkConfig::default());
        let wire = a.link();
        let (client, server) = if v6 {
            ("fd00::1", "fd00::2")
        } else {
            ("10.0.0.1", "10.0.0.2")
        };
        Self {
            client: Host::new(a, &[client], 1, |_| {}),
            server: Host::new(b, &[server], 2, tune),
            link: wire,
            now: Instant::from_millis(1),
        }
    }

    /// Lets `time` pass, from one thing that happens to the next.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            self.client.turn(self.now);
            self.server.turn(self.now);
            let next = [self.client.wakeup(self.now), self.server.wakeup(self.now)]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= end => self.now = at.max(self.now + Duration::from_micros(1)),
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the hosts never come to rest");
    }

    pub(crate) fn connect(&mut self, remote: &str) -> ConnId {
        self.client
            .stack
            .connect(self.now, None, remote.parse().unwrap())
            .expect("a slot and a port")
    }
}

pub(crate) const MOMENT: Duration = Duration::from_millis(50);
