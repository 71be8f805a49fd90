//! The family in which everything may happen at once.
//!
//! Each seed draws two stacks with knobs of their own, a line, connections of
//! every sort side by side, and a weather that changes: for a while frames are
//! lost, singly or in rows, doubled, overtaken, damaged, delayed, or swallowed for their size; the line goes
//! down and up; buffers run dry; a host stands still; somebody repeats and forges.
//! First nothing wrong may happen under all that. Then the weather clears for
//! good, and everything must come to its end within [`PATIENCE`].

use std::rc::Rc;

use crore_base::Duration;
use crore_nic::fault::{Bottleneck, Bursts, Faults};
use crore_nic::prng::Prng;
use crore_nic::sim::End;
use crore_tcp::Keepalive;

use crate::draw;
use crate::scenario::{Disturbance, HostPlan, Kind, Scenario, StackPlan, Weather};

/// How long after the last disturbance a world may take to its end: time-outs
/// that were backed off to a minute, keepalives, the slowest of readers behind
/// the smallest of windows, and the longest wait for a FIN.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// How connections behave, each for itself.
const MANNERS: [Kind; 6] = [
    Kind::Calm,
    Kind::Storm,
    Kind::TinyWindows,
    Kind::HalfClose,
    Kind::SimultaneousOpen,
    Kind::Abort,
];

pub(crate) fn scenario(seed: u64) -> Scenario {
    let mut prng = Prng::stream(seed, 110);
    let prng = &mut prng;
    let tiny = prng.chance(0.15);
    let mut link = draw::link(prng);
    link.checksum_offloads = false;
    let hosts = [End::Left, End::Right].map(|end| {
        let mut stack = draw::stack(prng, Kind::Swarm, end, tiny, true);
        if let StackPlan::Crore(config) = &mut stack {
            config.tcp.keepalive = Keepalive::every(Duration::from_secs(prng.pick(&[10, 30, 60])));
            config.park_after = prng.pick(&[None, Some(Duration::ZERO), Some(Duration::from_secs(1))]);
        }
        HostPlan {
            stack,
            rx: Faults::default(),
            tx: Faults::default(),
            wraps_after: None,
            ahead: draw::clock(prng),
        }
    });
    // One path in eight swallows what is large, and goes on doing so: nobody but
    // the stacks themselves can find out (RFC 8899).
    let hole = if link.mtu > 1_300 && prng.chance(0.125) {
        1_300
    } else {
        0
    };
    let (disturbances, calm_after) = weather(prng, hole);
    let mut scenario = Scenario {
        seed,
        kind: Kind::Swarm,
        link,
        hosts,
        connections: Rc::from([]),
        disturbances,
        must_succeed: true,
        attacked: prng.chance(0.25),
        ends_within: Some(calm_after + PATIENCE),
    };
    let size = scenario.largest_transfer(true);
    let mut connections: Vec<_> = (0..prng.between(1, 8) as usize)
        .map(|index| {
            let manner = prng.pick(&MANNERS);
            let slow = tiny || manner == Kind::TinyWindows;
            draw::connection(prng, manner, index, size, slow)
        })
        .collect();
    draw::early(
        &mut Prng::stream(seed, 111),
        &mut scenario.hosts,
        &mut connections,
    );
    scenario.set_connections(connections);
    draw::marks(prng, &mut scenario);
    draw::middleboxes(&mut Prng::stream(seed, 111), &mut scenario);
    scenario
}

/// What happens to the line and to the hosts, in order, and when it is over.
fn weather(prng: &mut Prng, hole_above: u16) -> (Vec<(Duration, Disturbance)>, Duration) {
    let mut all = Vec::new();
    let mut at = Duration::ZERO;
    let ms = |prng: &mut Prng, most: u64| Duration::from_nanos(prng.below(most * 1_000_000));
    let clear = Weather {
        rx: Faults {
            hole_above,
            ..Faults::default()
        },
        tx: Faults::default(),
    };
    for end in [End::Left, End::Right] {
        all.push((at, Disturbance::Weather(end, clear)));
    }
    for _ in 0..prng.between(1, 8) {
        let end = prng.pick(&[End::Left, End::Right]);
        match prng.below(8) {
            0 => {
                all.push((at, Disturbance::Down(true)));
                at = at + ms(prng, 8_000);
                all.push((at, Disturbance::Down(false)));
            }
            1 => {
                all.push((at, Disturbance::Dry(end, true)));
                at = at + ms(prng, 2_000);
                all.push((at, Disturbance::Dry(end, false)));
            }
            2 => {
                all.push((at, Disturbance::Pressure(end, true)));
                at = at + ms(prng, 2_000);
                all.push((at, Disturbance::Pressure(end, false)));
            }
            3 => all.push((at, Disturbance::Stall(end, ms(prng, 5_000)))),
            _ => {
                let rx = Faults {
                    hole_above,
                    ..faults(prng)
                };
                let tx = Faults {
                    corrupt: 0.0,
                    ..faults(prng)
                };
                all.push((at, Disturbance::Weather(end, Weather { rx, tx })));
            }
        }
        at = at + ms(prng, 3_000);
    }
    for end in [End::Left, End::Right] {
        all.push((at, Disturbance::Weather(end, clear)));
    }
    (all, at)
}

/// What one weather does to the frames of one direction.
fn faults(prng: &mut Prng) -> Faults {
    let mut faults = draw::faults(prng, true);
    if prng.chance(0.3) {
        faults.bursts = Bursts {
            enter: prng.pick(&[0.001, 0.01, 0.05]),
            leave: prng.pick(&[0.1, 0.5]),
            loss: prng.pick(&[0.5, 1.0]),
        };
    }
    if prng.chance(0.3) {
        faults.mark = prng.pick(&[0.01, 0.1, 0.5]);
    }
    if prng.chance(0.1) {
        faults.bleach = prng.pick(&[0.1, 1.0]);
    }
    if prng.chance(0.2) {
        faults.bottleneck = Bottleneck {
            bytes_per_second: prng.pick(&[20_000, 125_000, 1_250_000]),
            queue_bytes: prng.pick(&[3_000, 20_000, 200_000]),
        };
    }
    faults
}
