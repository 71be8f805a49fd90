//! What is to happen in a world, all of it drawn from one seed.

use std::rc::Rc;

use crore_base::Duration;
use crore_nic::fault::Faults;
use crore_nic::prng::Prng;
use crore_nic::sim::{End, LinkConfig, WhenFull};
use crore_stack::{CookiePolicy, FastOpenPolicy, StackConfig};

use crate::draw;
use crate::foreign::ForeignConfig;
use crate::plan::{ConnPlan, EndPlan, Finish, Opener};
use crate::swarm;

/// A family of scenarios.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub enum Kind {
    /// Transfers over a link without faults.
    Calm,
    /// Transfers under loss, duplication, reordering, corruption, jitter and outages.
    Storm,
    /// Receive buffers of a few bytes, and readers that dawdle.
    TinyWindows,
    /// Sequence numbers that wrap in the middle of a transfer.
    SequenceWrap,
    /// One end says nothing until the other has finished.
    HalfClose,
    /// Both ends open the same connection at the same time.
    SimultaneousOpen,
    /// Resets, and closing with data unread.
    Abort,
    /// The link goes down for ever.
    Blackhole,
    /// No transmit buffers, now and then.
    DryPool,
    /// Somebody on the link repeats old frames and forges others.
    Hostile,
    /// smoltcp opens connections to Crore.
    ForeignClient,
    /// Crore opens connections to smoltcp.
    ForeignServer,
    /// All of it at once, until the weather clears.
    Swarm,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Calm,
        Self::Storm,
        Self::TinyWindows,
        Self::SequenceWrap,
        Self::HalfClose,
        Self::SimultaneousOpen,
        Self::Abort,
        Self::Blackhole,
        Self::DryPool,
        Self::Hostile,
        Self::ForeignClient,
        Self::ForeignServer,
        Self::Swarm,
    ];

    /// Whether one of the hosts runs another TCP than Crore's.
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::ForeignClient | Self::ForeignServer)
    }
}

/// All that determines a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it was drawn from.
    pub seed: u64,
    /// Its family.
    pub kind: Kind,
    /// The link.
    pub link: LinkConfig,
    /// The hosts at the left and at the right end.
    pub hosts: [HostPlan; 2],
    /// The connections, in order of their opening.
    pub connections: Rc<[ConnPlan]>,
    /// What is done to the link, and when, in order.
    pub disturbances: Vec<(Duration, Disturbance)>,
    /// Whether every transfer must come to its regular end; else any end will do.
    pub must_succeed: bool,
    /// Whether somebody on the link repeats old frames and forges others.
    pub attacked: bool,
    /// When everything must be over, by the world's clock.
    pub ends_within: Option<Duration>,
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Which TCP it runs.
    pub stack: StackPlan,
    /// What its NIC does to received frames.
    pub rx: Faults,
    /// What its NIC does to frames that are sent.
    pub tx: Faults,
    /// Wanted: the first connection's initial sequence number so far before the wrap.
    pub wraps_after: Option<u32>,
    /// By how much its clock is ahead of the world's (where no wrap is wanted).
    pub ahead: Duration,
}

impl HostPlan {
    /// When this host, if it runs Crore's TCP, parks its idle connections.
    pub fn park_after(&mut self, after: Option<Duration>) {
        if let StackPlan::Crore(config) = &mut self.stack {
            config.park_after = after;
        }
    }

    /// Has this host, if it runs Crore's TCP, answer every SYN by a cookie.
    fn answer_with_cookies(&mut self) {
        if let StackPlan::Crore(config) = &mut self.stack {
            config.syn_cookies = CookiePolicy::Always;
        }
    }
}

/// Which TCP a host runs.
#[derive(Clone, Debug)]
pub enum StackPlan {
    /// Crore's.
    Crore(Box<StackConfig>),
    /// smoltcp's.
    Foreign(ForeignConfig),
}

/// Something done to the world from outside.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is a handful of them in a world")]
pub enum Disturbance {
    /// The link goes down (true) or up.
    Down(bool),
    /// A host runs out of transmit buffers (true), or has them again.
    Dry(End, bool),
    /// A host's packet buffers become scarce (true), or plenty again.
    Pressure(End, bool),
    /// A host stands still for so long, as a virtual machine does: for it, the
    /// clock jumps.
    Stall(End, Duration),
    /// What a host's NIC does to its frames changes.
    Weather(End, Weather),
}

/// What a NIC does to its frames, both ways.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Weather {
    /// To those received.
    pub rx: Faults,
    /// To those sent.
    pub tx: Faults,
}

impl Scenario {
    /// The scenario that `seed` determines, its family included.
    pub fn from_seed(seed: u64) -> Self {
        let kind = Prng::stream(seed, 100).pick(&Kind::ALL);
        Self::of(kind, seed)
    }

    /// The scenario of the family `kind` that `seed` determines.
    pub fn of(kind: Kind, seed: u64) -> Self {
        if kind == Kind::Swarm {
            return swarm::scenario(seed);
        }
        let mut prng = Prng::stream(seed, 101);
        let prng = &mut prng;
        let tiny = kind == Kind::TinyWindows || kind.is_foreign() && prng.chance(0.2);
        let faulty = kind == Kind::Storm || !matches!(kind, Kind::Calm | Kind::DryPool) && prng.chance(0.5);
        let link = draw::link(prng);
        let mut scenario = Self {
            seed,
            kind,
            hosts: [End::Left, End::Right].map(|end| HostPlan {
                stack: draw::stack(prng, kind, end, tiny, faulty),
                rx: draw::faults(prng, faulty),
                tx: Faults {
                    // Two damaged bytes can make up for each other in a 16-bit sum:
                    // one place in each direction where it happens, and none gets through.
                    corrupt: 0.0,
                    ..draw::faults(prng, faulty)
                },
                wraps_after: None,
                ahead: draw::clock(prng),
            }),
            link,
            connections: Rc::from([]),
            disturbances: draw::disturbances(prng, kind),
            must_succeed: kind != Kind::Blackhole,
            attacked: kind == Kind::Hostile,
            ends_within: None,
        };
        let size = scenario.largest_transfer(faulty);
        if kind.is_foreign() || kind == Kind::Hostile {
            // Neither smoltcp nor what was seen on the link knows of unfinished checksums.
            scenario.link.checksum_offloads = false;
        }
        // A stream of its own, so that what else a seed draws stays as it was.
        let mut drawn = Prng::stream(seed, 102);
        for host in &mut scenario.hosts {
            host.park_after(drawn.pick(&[None, Some(Duration::ZERO), Some(Duration::from_secs(1))]));
        }
        // Not where the acknowledgment may be lost that completes a handshake: the
        // host would never hear of a client that waits for its first word.
        if scenario.delivers_all() {
            for host in &mut scenario.hosts {
                if drawn.chance(0.4) {
                    host.answer_with_cookies();
                }
            }
        }
        draw::marks(&mut Prng::stream(seed, 103), &mut scenario);
        draw::middleboxes(&mut Prng::stream(seed, 104), &mut scenario);
        let count = match kind {
            Kind::SequenceWrap => 1,
            _ if tiny => prng.between(1, 3),
            _ => prng.between(1, 8),
        };
        let connections = (0..count as usize)
            .map(|index| draw::connection(prng, kind, index, size, tiny))
            .collect();
        scenario.set_connections(connections);
        if kind == Kind::SequenceWrap {
            let first = &scenario.connections[0];
            let sizes = [first.left.send, first.right.send];
            for (host, size) in scenario.hosts.iter_mut().zip(sizes) {
                host.wraps_after = Some(prng.between(0, size.min(1 << 30)) as u32);
            }
        }
        scenario
    }

    /// Takes the connections in the order of their opening; none runs over IPv6
    /// where the line is too narrow for that.
    pub(crate) fn set_connections(&mut self, mut connections: Vec<ConnPlan>) {
        connections.sort_by_key(|plan| plan.opens_after);
        for (index, plan) in connections.iter_mut().enumerate() {
            plan.index = index;
            plan.ipv6 &= self.link.mtu >= 1280;
        }
        self.connections = connections.into();
    }

    /// The least eventful scenario: one connection from the left over a plain
    /// link, `left` and `right` bytes each way.
    pub fn plain(seed: u64, left: u64, right: u64) -> Self {
        let mut prng = Prng::new(seed);
        Self {
            seed,
            kind: Kind::Calm,
            link: LinkConfig::default(),
            hosts: [End::Left, End::Right].map(|_| HostPlan {
                stack: StackPlan::Crore(Box::new(draw::default_stack())),
                rx: Faults::default(),
                tx: Faults::default(),
                wraps_after: None,
                ahead: draw::clock(&mut prng),
            }),
            connections: Rc::from([ConnPlan {
                index: 0,
                ipv6: false,
                opener: Opener::One(End::Left),
                opens_after: Duration::ZERO,
                left: EndPlan::plain(left),
                right: EndPlan::plain(right),
            }]),
            disturbances: Vec::new(),
            must_succeed: true,
            attacked: false,
            ends_within: None,
        }
    }

    /// The host at `end`.
    pub fn host(&self, end: End) -> &HostPlan {
        &self.hosts[end as usize]
    }

    /// Whether any frame is damaged on its way.
    pub fn corrupts(&self) -> bool {
        let weathers = self.disturbances.iter().filter_map(|(_, what)| match what {
            Disturbance::Weather(_, weather) => Some(*weather),
            _ => None,
        });
        let hosts = self.hosts.iter().map(|host| Weather {
            rx: host.rx,
            tx: host.tx,
        });
        hosts
            .chain(weathers)
            .any(|weather| weather.rx.corrupt > 0.0 || weather.tx.corrupt > 0.0)
    }

    /// Whether a host does nothing for a while.
    pub fn stalls(&self) -> bool {
        let mut all = self.disturbances.iter();
        all.any(|(_, what)| matches!(what, Disturbance::Stall(..)))
    }

    /// Whether all frames arrive once, in order, undamaged, and so soon that
    /// nothing is sent again.
    pub fn is_undisturbed(&self) -> bool {
        let LinkConfig {
            rate,
            when_full,
            delay,
            ..
        } = &self.link;
        // A full link makes frames wait for a delay's length, or worse.
        let direct = !self.attacked
            && rate.is_none()
            && *when_full == WhenFull::Refuse
            && *delay <= Duration::from_micros(50);
        direct
            && self.disturbances.is_empty()
            && self
                .hosts
                .iter()
                .all(|host| host.rx.is_none() && host.tx.is_none())
    }

    /// Whether a host may answer a SYN's data before the handshake is over (RFC 7413).
    pub(crate) fn serves_early(&self) -> bool {
        self.hosts.iter().any(|host| match &host.stack {
            StackPlan::Crore(config) => {
                matches!(config.fast_open, FastOpenPolicy::Server | FastOpenPolicy::Both)
            }
            StackPlan::Foreign(_) => false,
        })
    }

    /// Whether all frames arrive, once and in order, however late; until the
    /// link goes down, if it does.
    fn delivers_all(&self) -> bool {
        let calm = |host: &HostPlan| host.rx.is_none() && host.tx.is_none();
        self.hosts.iter().all(calm) && self.link.when_full == WhenFull::Refuse && !self.attacked
    }

    /// Whether each connection is carried through by both of its applications.
    pub fn is_clean(&self) -> bool {
        self.connections.iter().all(ConnPlan::is_clean)
    }

    /// Bytes that a direction may carry so that a run stays short: a tiny
    /// window costs a round trip for each of its fills, and sometimes a probe.
    pub(crate) fn largest_transfer(&self, faulty: bool) -> u64 {
        let buffers = self.hosts.iter().map(|host| match &host.stack {
            StackPlan::Crore(config) => u64::from(config.tcp.receive_buffer.min(config.tcp.send_buffer)),
            StackPlan::Foreign(config) => config.receive_buffer.min(config.send_buffer) as u64,
        });
        let window = buffers.min().unwrap_or(1).max(1);
        let most = if faulty { 200_000 } else { 1_000_000 };
        window.saturating_mul(60).clamp(60, most)
    }

    /// One line for a report.
    pub fn describe(&self) -> String {
        let bytes: u64 = self.connections.iter().map(ConnPlan::bytes).sum();
        let families = self.connections.iter().filter(|plan| plan.ipv6).count();
        format!(
            "{:?}, {} connections ({families} IPv6), {bytes} bytes, mtu {}, delay {:?}{}",
            self.kind,
            self.connections.len(),
            self.link.mtu,
            self.link.delay,
            if self.is_undisturbed() { "" } else { ", disturbed" },
        )
    }
}

/// How `kind` has an end finish.
pub(crate) fn finish_of(prng: &mut Prng, kind: Kind, size: u64) -> Finish {
    let after = prng.below(size + 1);
    match kind {
        Kind::Abort => match prng.below(5) {
            4 => Finish::Linger {
                wait: Duration::from_secs(prng.pick(&[1, 20, 200])),
            },
            0 => Finish::Abort { after },
            1 => Finish::CloseEarly { after },
            2 => Finish::Close,
            _ => Finish::Shutdown {
                awaits_end: prng.chance(0.5),
            },
        },
        Kind::HalfClose => Finish::Shutdown {
            awaits_end: prng.chance(0.5),
        },
        _ if prng.chance(0.3) => Finish::Close,
        _ => Finish::Shutdown {
            awaits_end: prng.chance(0.5),
        },
    }
}
