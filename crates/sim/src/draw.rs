//! The parts of a scenario, drawn at random.

use crore_base::Duration;
use crore_nic::fault::{AccEcnFate, Faults};
use crore_nic::prng::Prng;
use crore_nic::sim::{End, LinkConfig, WhenFull};
use crore_stack::{FastOpenPolicy, StackConfig};
use crore_tcp::{Config, CongestionKind, EcnPolicy, Keepalive};

use crate::foreign::ForeignConfig;
use crate::plan::{ConnPlan, Early, EndPlan, Finish, Opener, Reading, host_address};
use crate::scenario::{Disturbance, HostPlan, Kind, Scenario, StackPlan, finish_of};

pub(crate) fn link(prng: &mut Prng) -> LinkConfig {
    // Drawn aside, so that what follows stays what each seed knows.
    let mut aside = prng.clone();
    LinkConfig {
        tso: aside.chance(0.5),
        mtu: prng.pick(&[576, 1280, 1400, 1500, 1500, 1500, 9000]),
        delay: Duration::from_micros(prng.pick(&[1, 50, 500, 5_000, 40_000])),
        rate: prng.pick(&[None, None, Some(125_000_000), Some(1_250_000)]),
        when_full: prng.pick(&[WhenFull::Refuse, WhenFull::Drop]),
        queue_frames: prng.pick(&[64, 256, 4096]),
        checksum_offloads: prng.chance(0.3),
        ..LinkConfig::default()
    }
}

/// A host's clock: anywhere in the first day, so that timestamps, sequence
/// numbers and timers start anywhere.
pub(crate) fn clock(prng: &mut Prng) -> Duration {
    Duration::from_nanos(prng.below(Duration::from_secs(86_400).as_nanos()))
}

/// What leaves a fault-free, well-buffered host: the stack's defaults, with
/// both families' addresses to be filled in by the world.
pub(crate) fn default_stack() -> StackConfig {
    StackConfig {
        max_connections: 64,
        ..StackConfig::default()
    }
}

/// The addresses of the host at `end`.
pub(crate) fn addresses(end: End) -> Vec<(core::net::IpAddr, u8)> {
    vec![(host_address(end, false), 24), (host_address(end, true), 64)]
}

pub(crate) fn stack(prng: &mut Prng, kind: Kind, end: End, tiny: bool, faulty: bool) -> StackPlan {
    let buffer = |prng: &mut Prng| match (tiny, prng.below(4)) {
        (true, 0) => prng.between(1, 8),
        (true, _) => prng.between(1, 400),
        (false, 0) => prng.between(1_000, 10_000),
        (false, 1) => 1 << 20,
        (false, _) => prng.between(10_000, 300_000),
    };
    let (receive_buffer, send_buffer) = (buffer(prng) as u32, buffer(prng) as u32);
    let foreign = match kind {
        Kind::ForeignClient => Some(End::Left),
        Kind::ForeignServer => Some(End::Right),
        _ => None,
    };
    if foreign == Some(end) {
        return StackPlan::Foreign(ForeignConfig {
            receive_buffer: receive_buffer as usize,
            send_buffer: send_buffer as usize,
            timestamps: prng.chance(0.5),
            ack_delay: prng.pick(&[
                None,
                Some(Duration::from_millis(10)),
                Some(Duration::from_millis(100)),
            ]),
            nagle: prng.chance(0.5),
            seed: prng.next_u64(),
        });
    }
    let mut tcp = tcp(prng, kind, receive_buffer, send_buffer);
    if faulty || kind == Kind::DryPool {
        // A shorter one can end before the peer's last retransmission of its
        // FIN, which a reset would then answer.
        tcp.time_wait = Config::default().time_wait;
    }
    let mut together = prng.clone();
    // Drawn aside, too. The small ones are reached when several don't read, and what
    // is thrown away then has to be sent again: a matter for the swarm alone.
    let mut aside = prng.clone();
    let mut budget = |small| match kind {
        Kind::Swarm => aside.pick(&[1 << 30, 1 << 30, small]),
        _ => 1 << 30,
    };
    StackPlan::Crore(Box::new(StackConfig {
        tcp,
        gro: together.chance(0.8),
        gso: together.chance(0.8),
        receive_budget: budget(600_000),
        send_budget: budget(400_000),
        ..default_stack()
    }))
}

fn tcp(prng: &mut Prng, kind: Kind, receive_buffer: u32, send_buffer: u32) -> Config {
    // Where the other end may vanish without a word, only probes find out.
    let probes = matches!(kind, Kind::Abort | Kind::Blackhole);
    // Drawn aside, so that what follows stays what each seed knows.
    let mut aside = prng.clone();
    let congestion = aside.pick(&[CongestionKind::Cubic, CongestionKind::NewReno]);
    let pacing = aside.chance(0.3);
    let congestion = if aside.chance(0.3) {
        CongestionKind::Bbr
    } else {
        congestion
    };
    let mut sizes = prng.clone();
    let mut ceiling = || sizes.pick(&[0, 0, 100_000, 1 << 20]);
    Config {
        receive_buffer,
        receive_buffer_max: ceiling(),
        send_buffer,
        send_buffer_max: ceiling(),
        mss_max: prng.pick(&[u16::MAX, u16::MAX, 1460, 536, 100]),
        window_scaling: prng.chance(0.7),
        timestamps: prng.chance(0.7),
        sack: prng.chance(0.7),
        nodelay: prng.chance(0.7),
        initial_window: prng.pick(&[1, 2, 4, 10, 10]) as u32,
        congestion,
        pacing,
        rto_max: Duration::from_secs(prng.pick(&[5, 60])),
        syn_retries: if kind == Kind::Blackhole { 4 } else { 12 },
        data_retries: if kind == Kind::Blackhole { 8 } else { 30 },
        // Nor may what an application has closed behind it be given up early.
        orphan_retries: if kind == Kind::Blackhole { 8 } else { u8::MAX },
        time_wait: Duration::from_secs(prng.pick(&[1, 10, 60])),
        // Where every transfer must succeed, no peer that reads slowly may be given up;
        // where one may end without a word, not before the slowest has read everything.
        fin_wait_2: match kind {
            Kind::Abort => Duration::from_secs(prng.pick(&[900, 1_800])),
            Kind::Swarm => Duration::from_secs(1_800),
            Kind::Blackhole => Duration::from_secs(prng.pick(&[30, 60])),
            _ => Duration::from_secs(36_000),
        },
        delayed_ack: Duration::from_millis(prng.pick(&[0, 0, 1, 40])),
        keepalive: if probes {
            Keepalive::every(Duration::from_secs(10))
        } else {
            Keepalive::OFF
        },
        ..Config::default()
    }
}

/// What happens to frames at one end in one direction. Four such draws lie on
/// every round trip: the probabilities are what TCP survives with certainty.
pub(crate) fn faults(prng: &mut Prng, faulty: bool) -> Faults {
    if !faulty {
        return Faults::default();
    }
    let mut up_to = |most: f64| {
        if prng.chance(0.3) {
            0.0
        } else {
            most * prng.below(1000) as f64 / 1000.0
        }
    };
    Faults {
        loss: up_to(0.05),
        duplicate: up_to(0.1),
        reorder: up_to(0.2),
        corrupt: up_to(0.04),
        delay: Duration::from_micros(prng.pick(&[0, 0, 100, 10_000])),
        jitter: Duration::from_micros(prng.pick(&[0, 0, 0, 50, 2_000, 150_000])),
        ..Faults::default()
    }
}

/// What the link and the hosts make of marks of congestion. Drawn after all the
/// rest, and from a stream of its own.
pub(crate) fn marks(prng: &mut Prng, scenario: &mut Scenario) {
    if scenario.link.rate.is_some() {
        scenario.link.mark_after = prng.pick(&[
            None,
            Some(Duration::from_micros(200)),
            Some(Duration::from_millis(5)),
        ]);
    }
    for host in &mut scenario.hosts {
        if let StackPlan::Crore(config) = &mut host.stack {
            config.tcp.ecn = prng.pick(&[
                EcnPolicy::Off,
                EcnPolicy::Passive,
                EcnPolicy::On,
                EcnPolicy::AccuratePassive,
                EcnPolicy::Accurate,
                EcnPolicy::Accurate,
            ]);
        }
        // Only where something goes wrong anyway: elsewhere frames pass untouched.
        for faults in [&mut host.rx, &mut host.tx] {
            let (mark, bleach) = (
                prng.pick(&[0.0, 0.01, 0.3]),
                prng.pick(&[0.0, 0.0, 0.0, 0.1, 1.0]),
            );
            if !faults.is_none() {
                (faults.mark, faults.bleach) = (mark, bleach);
            }
        }
    }
}

/// What the path makes of accurate ECN's option, in each weather. From a stream of
/// its own, too.
pub(crate) fn middleboxes(prng: &mut Prng, scenario: &mut Scenario) {
    let all = [
        AccEcnFate::Pass,
        AccEcnFate::Pass,
        AccEcnFate::Pass,
        AccEcnFate::Strip,
        AccEcnFate::Wipe,
        AccEcnFate::Block,
    ];
    let mut meet = |faults: &mut Faults| {
        let fate = prng.pick(&all);
        if !faults.is_none() {
            faults.acc_ecn = fate;
        }
    };
    for host in &mut scenario.hosts {
        meet(&mut host.rx);
        meet(&mut host.tx);
    }
    for (_, disturbance) in &mut scenario.disturbances {
        if let Disturbance::Weather(_, weather) = disturbance {
            meet(&mut weather.rx);
            meet(&mut weather.tx);
        }
    }
}

pub(crate) fn disturbances(prng: &mut Prng, kind: Kind) -> Vec<(Duration, Disturbance)> {
    let mut all = Vec::new();
    let span = |prng: &mut Prng, ms: u64| Duration::from_nanos(prng.below(ms * 1_000_000));
    match kind {
        Kind::Blackhole => all.push((span(prng, 300), Disturbance::Down(true))),
        Kind::DryPool => {
            let mut at = Duration::ZERO;
            for _ in 0..prng.between(1, 20) {
                let end = prng.pick(&[End::Left, End::Right]);
                at = at + span(prng, 20);
                all.push((at, Disturbance::Dry(end, true)));
                at = at + span(prng, 50);
                all.push((at, Disturbance::Dry(end, false)));
            }
        }
        Kind::Storm if prng.chance(0.3) => {
            let down = span(prng, 500);
            all.push((down, Disturbance::Down(true)));
            all.push((down + span(prng, 8_000), Disturbance::Down(false)));
        }
        _ => {}
    }
    if prng.chance(0.2) {
        let end = prng.pick(&[End::Left, End::Right]);
        all.push((span(prng, 100), Disturbance::Pressure(end, true)));
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

pub(crate) fn connection(prng: &mut Prng, kind: Kind, index: usize, size: u64, tiny: bool) -> ConnPlan {
    let opener = match kind {
        Kind::ForeignClient | Kind::ForeignServer => Opener::One(End::Left),
        Kind::SimultaneousOpen => Opener::Both,
        _ => Opener::One(prng.pick(&[End::Left, End::Right])),
    };
    let mut plan = ConnPlan {
        index,
        ipv6: prng.chance(0.4),
        opener,
        opens_after: Duration::from_micros(prng.below(50_000)),
        left: end_plan(prng, kind, size, tiny),
        right: end_plan(prng, kind, size, tiny),
    };
    if let (Finish::Linger { .. }, Finish::Linger { .. }) = (plan.left.finish, plan.right.finish) {
        // Each would wait for the other.
        plan.right.finish = Finish::Close;
    }
    // smoltcp throws unread data away when its TIME-WAIT of 10 s is over.
    match kind {
        Kind::ForeignClient => plan.left.reading.every = Duration::ZERO,
        Kind::ForeignServer => plan.right.reading.every = Duration::ZERO,
        _ => {}
    }
    if kind == Kind::HalfClose {
        let last = prng.pick(&[End::Left, End::Right]);
        let last = if last == End::Left {
            &mut plan.left
        } else {
            &mut plan.right
        };
        last.answers_last = true;
    }
    plan
}

fn end_plan(prng: &mut Prng, kind: Kind, size: u64, tiny: bool) -> EndPlan {
    let send = match prng.below(5) {
        0 => 0,
        1 => prng.below(size.min(100) + 1),
        _ => prng.below(size + 1),
    };
    let slow = tiny || prng.chance(0.15);
    let reading = Reading {
        starts_after: Duration::from_millis(if slow { prng.pick(&[0, 0, 100, 7_000]) } else { 0 }),
        every: Duration::from_micros(if slow {
            prng.pick(&[0, 10, 1_000, 20_000])
        } else {
            0
        }),
    };
    EndPlan {
        send,
        write_max: prng.pick(&[1, 7, 100, 1_460, 16_384, 100_000]),
        zero_copy: prng.chance(0.4),
        answers_last: false,
        reading,
        finish: finish_of(prng, kind, size),
        early: Early::default(),
    }
}

/// Who uses Fast Open, and how. From a stream of its own, so that what else a seed
/// draws stays as it was.
pub(crate) fn early(prng: &mut Prng, hosts: &mut [HostPlan; 2], connections: &mut [ConnPlan]) {
    if prng.chance(0.4) {
        return;
    }
    for host in hosts {
        if let StackPlan::Crore(config) = &mut host.stack {
            config.fast_open = prng.pick(&[
                FastOpenPolicy::Off,
                FastOpenPolicy::Client,
                FastOpenPolicy::Server,
                FastOpenPolicy::Both,
                FastOpenPolicy::Both,
                FastOpenPolicy::Both,
            ]);
            config.fast_open_queue = prng.pick(&[1, 4, 256]);
        }
    }
    let apart = prng.chance(0.5);
    for plan in connections {
        if apart {
            // So that a cookie that one has got serves the next.
            plan.opens_after = Duration::from_micros(prng.below(10_000_000));
        }
        for end in [&mut plan.left, &mut plan.right] {
            end.early = Early {
                offers: prng.chance(0.8),
                without_cookie: prng.chance(0.4),
            };
        }
    }
}
