//! `crore relay`: a way between two kernel interfaces, with faults on purpose.
//!
//! What comes out of one interface goes into the other, through the same wrapper
//! that `[faults]` puts around a port: loss, delay, a narrowest place and the
//! rest. So two kernels, or a kernel and Crore, can be joined by a bad network on
//! a machine whose kernel has no netem.
//!
//! Always true: a frame that the receiving side has no room for is dropped and
//! counted; the same faults lie on both ways, with random numbers of their own.

use std::time::Duration;

use clap::Args;
use crore::config::{Assignment, ConfigError, Faults};
use crore::nic::fault::{FaultNic, FaultStats};
use crore::nic::{BURST, Nic, RxFrame, TxMeta};
use crore_dpdk::{
    Eal, EalConfig, HugePages, LogLevel, Mempool, MempoolConfig, Offloads, Port, PortConfig, PortNic, Wire,
};
use serde::Serialize;

use crate::clock::{self, Clock};
use crate::control;
use crate::failure::Failure;
use crate::run::allowed_cores;
use crate::signals::Interrupted;
use crate::summary::{FaultSummary, print_json};

#[derive(Debug, Args)]
pub(crate) struct RelayArguments {
    /// A kernel interface
    left: String,
    /// The other one
    right: String,
    /// What happens to frames, each way: keys of [faults], as in loss=0.01,delay_ms=5,rate_kbit_per_second=100000
    #[arg(long, value_name = "LIST", default_value = "")]
    faults: String,
    /// The core; without it, the first that this process may use
    #[arg(long)]
    core: Option<u16>,
    /// End when standard input closes
    #[arg(long)]
    control: bool,
}

/// Bursts that are taken from each side before the other one has its turn.
const BURSTS: usize = 4;
/// How long a relay without anything to do rests: short against any round trip
/// that it is to make longer.
const REST: Duration = Duration::from_micros(20);
/// Packet buffers: both rings of each side, and what is on its way through.
const BUFFERS: u32 = 8191;
/// Memory that EAL takes for those.
const EAL_MIB: u32 = 96;

/// What a relay did.
#[derive(Serialize)]
struct Relayed {
    /// Frames that the other side's ring had no room for.
    no_room: u64,
    /// The longest time between two looks at the rings: a frame may have waited so
    /// long besides its delay.
    longest_pause_ms: f64,
    /// `rx`: from the left to the right; `tx`: back.
    faults: FaultSummary,
}

/// Passes frames both ways until somebody asks for the end.
pub(crate) fn relay(arguments: &RelayArguments) -> Result<(), Failure> {
    let faults = faults_of(&arguments.faults)?;
    let interrupted = Interrupted::watch()?;
    let core = match arguments.core {
        Some(core) => core,
        None => allowed_cores().first().copied().unwrap_or(0),
    };
    let sides = [&arguments.left, &arguments.right].map(|name| Wire::af_packet(name, 1));
    let mut vdevs = Vec::new();
    for (index, side) in (0..).zip(&sides) {
        vdevs.extend(side.vdev(index)?);
    }
    let eal = Eal::start(&EalConfig {
        cores: vec![core],
        memory_mib: EAL_MIB,
        huge_pages: HugePages::Never,
        log_level: LogLevel::Error,
        vdevs,
        ..EalConfig::default()
    })?;
    let mtu = mtu_of(&arguments.left)?.min(mtu_of(&arguments.right)?);
    let pool = Mempool::new(&eal, MempoolConfig::for_wire(BUFFERS, &sides[0], mtu))?;
    let mut nics = Vec::new();
    for (index, side) in (0..).zip(&sides) {
        let name = side.port_name(index).unwrap_or_default();
        let settings = PortConfig {
            mtu,
            offloads: Offloads::NONE,
            promiscuous: true,
            ..PortConfig::default()
        };
        let port = Port::open(&eal, &name, &settings, &pool)?;
        let queues = port.take_queues().pop();
        nics.push(PortNic::new(
            queues.ok_or_else(|| Failure::run("the port has no queues"))?,
        )?);
    }
    let (Some(right), Some(left)) = (nics.pop(), nics.pop()) else {
        return Err(Failure::run("two sides are wanted"));
    };
    crore_dpdk::pin_to_core(core)?;
    let left = FaultNic::new(left, faults.to_fault_config()).holding(faults.held_frames as usize);
    if arguments.control {
        control::ready()?;
        control::end_with_input(&interrupted)?;
    }
    let mut relay = Relay::new(left, right);
    relay.run(&mut Clock::start(), &|| interrupted.asked());
    print_json(&Relayed {
        no_room: relay.no_room,
        longest_pause_ms: relay.longest_pause.as_secs_f64() * 1e3,
        faults: FaultSummary::of(relay.stats()),
    })
}

/// Two NICs of which one has faults, both ways.
struct Relay<L, R> {
    left: FaultNic<L>,
    right: R,
    frames: Vec<RxFrame>,
    no_room: u64,
    longest_pause: crore::Duration,
}

impl<L: Nic, R: Nic> Relay<L, R> {
    fn new(left: FaultNic<L>, right: R) -> Self {
        Self {
            left,
            right,
            frames: Vec::with_capacity(BURST * BURSTS),
            no_room: 0,
            longest_pause: crore::Duration::ZERO,
        }
    }

    fn run(&mut self, clock: &mut Clock, asked: &dyn Fn() -> bool) {
        let mut before = clock.now();
        while !asked() {
            let now = clock.now();
            self.longest_pause = self.longest_pause.max(now.since(before));
            before = now;
            if self.turn(now) == 0 {
                clock::rest(REST);
            }
        }
    }

    /// Passes on what has come, and what is due; says how many frames that was.
    fn turn(&mut self, now: crore::Instant) -> usize {
        let before = self.left.stats().tx.passed;
        let mut moved = carry(
            now,
            &mut self.left,
            &mut self.right,
            &mut self.frames,
            &mut self.no_room,
        );
        moved += carry(
            now,
            &mut self.right,
            &mut self.left,
            &mut self.frames,
            &mut self.no_room,
        );
        moved + (self.left.stats().tx.passed - before) as usize
    }

    fn stats(&self) -> FaultStats {
        self.left.stats()
    }
}

/// Carries some bursts from one NIC to another.
fn carry(
    now: crore::Instant,
    from: &mut impl Nic,
    to: &mut impl Nic,
    frames: &mut Vec<RxFrame>,
    no_room: &mut u64,
) -> usize {
    for _ in 0..BURSTS {
        if from.rx_burst(now, frames) < BURST {
            break;
        }
    }
    let moved = frames.len();
    for frame in frames.drain(..) {
        let len = frame.data.len();
        match to.reserve(len) {
            Some(room) => {
                room[..len].copy_from_slice(&frame.data);
                to.commit(len, TxMeta::default());
            }
            None => *no_room += 1,
        }
    }
    to.flush(now);
    moved
}

fn faults_of(list: &str) -> Result<Faults, Failure> {
    let mut assignments = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        assignments.push(Assignment::parse("--faults", text)?);
    }
    Ok(Faults::of(&assignments)?)
}

fn mtu_of(interface: &str) -> Result<u16, Failure> {
    crate::wire::interface_mtu(interface).ok_or_else(|| {
        let message = format!("{interface:?} is no interface here (`ip -br link` lists them)");
        ConfigError::of_origin("relay", message).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crore::nic::sim::{self, LinkConfig};

    #[test]
    fn frames_pass_both_ways_after_their_delay() {
        let link = || {
            sim::link(LinkConfig {
                delay: crore::Duration::ZERO,
                ..LinkConfig::default()
            })
        };
        let ((mut a, left), (right, mut b)) = (link(), link());
        let faults = faults_of("delay_ms=7, seed=3").expect("good");
        let mut relay = Relay::new(FaultNic::new(left, faults.to_fault_config()), right);
        let start = crore::Instant::from_millis(1);
        for nic in [&mut a, &mut b] {
            nic.reserve(60).expect("room")[..60].fill(0x5a);
            nic.commit(60, TxMeta::default());
            nic.flush(start);
        }
        let mut frames = Vec::new();
        for ms in 1..8 {
            relay.turn(crore::Instant::from_millis(ms));
            let now = crore::Instant::from_millis(ms);
            assert_eq!(
                a.rx_burst(now, &mut frames) + b.rx_burst(now, &mut frames),
                0,
                "at {ms} ms"
            );
        }
        let now = crore::Instant::from_millis(8);
        assert_eq!(relay.turn(now), 2, "both are due");
        assert_eq!(
            a.rx_burst(now, &mut frames) + b.rx_burst(now, &mut frames),
            2,
            "and arrive"
        );
        assert_eq!(relay.no_room, 0, "with room for all");
    }

    #[test]
    fn a_fault_that_is_none_is_refused() {
        assert!(faults_of("").is_ok_and(|faults| !faults.any()), "none at all");
        for wrong in ["loss", "loss=2", "speed=1"] {
            assert!(faults_of(wrong).is_err(), "{wrong}");
        }
    }
}
