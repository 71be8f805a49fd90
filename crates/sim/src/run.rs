//! One scenario from start to verdict.

use crore_base::{DropCounters, DropReason, Duration, Instant};
use crore_netbuf::live_heap_blocks;
use crore_nic::fault::FaultStats;
use crore_nic::sim::{Counters, End};
use serde::Serialize;

use crate::host::Marks;
use crate::plan::Opener;
use crate::scenario::{Kind, Scenario};
use crate::task::Outcome;
use crate::tasks::Excuses;
use crate::trace::Trace;
use crate::world::World;

/// Lines of trace that a failure shows.
const SHOWN: usize = 60;

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The scenario's seed.
    pub seed: u64,
    /// The scenario in a line.
    pub scenario: String,
    /// The hash over every frame with its time: equal for equal runs.
    pub trace_hash: u64,
    /// The world's time at the end, in nanoseconds.
    pub virtual_nanos: u64,
    /// Frames that entered the link.
    pub frames: u64,
    /// Bytes that applications received and checked.
    pub bytes: u64,
    /// Frames that faults lost or damaged.
    pub faults: u64,
    /// Turns that the hosts took.
    pub turns: u64,
    /// How often idle connections were parked.
    pub parked: u64,
    /// How often parked connections were woken.
    pub woken: u64,
    /// What the applications saw of each connection, the left host's first.
    pub outcomes: Vec<Outcome>,
    /// Whether a host gave its neighbour up at times, so that connections may
    /// have failed to open.
    pub unreachable: bool,
    /// Connections that were opened by a SYN cookie.
    pub cookies: u64,
    /// Connections that were opened by a SYN whose data was taken (RFC 7413).
    pub fast_opens: u64,
    /// What marks of congestion brought about, at both ends.
    pub marks: Marks,
    /// Ends whose sequence numbers wrapped in the first connection's transfer.
    pub wraps: u64,
    /// SYN-ACKs from the left and from the right: both in a simultaneous open.
    pub syn_acks: [u64; 2],
    /// Frames that the stacks threw away, by reason.
    pub drops: Vec<(&'static str, u64)>,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario's seed.
    pub seed: u64,
    /// The scenario in a line.
    pub scenario: String,
    /// When, by the world's clock.
    pub at: Instant,
    /// What went wrong.
    pub what: String,
    /// Where everything stood.
    pub state: Vec<String>,
    /// The last frames.
    pub trace: Vec<String>,
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        for line in &self.state {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} ({})", self.seed, self.scenario)?;
        write!(f, "failed at {:?}: {}", self.at, self.what)
    }
}

/// Runs `scenario`. `live` prints every frame.
pub fn run(scenario: &Scenario, live: bool) -> Result<Report, Box<Failure>> {
    let blocks = live_heap_blocks();
    let failure = |at, what| Failure {
        seed: scenario.seed,
        scenario: scenario.describe(),
        at,
        what,
        state: Vec::new(),
        trace: Vec::new(),
    };
    let early = |what| Box::new(failure(Instant::ZERO, what));
    let ahead = clocks(scenario).map_err(early)?;
    let mut world = World::new(scenario, ahead, Trace::new(SHOWN, live)).map_err(early)?;
    let result = world.run().and_then(|()| judge(scenario, &world));
    let result = match result {
        Ok(()) => Ok(report(scenario, &world)),
        Err(what) => {
            let mut failure = failure(world.now(), what);
            failure.state = state(&world);
            failure.trace = world.trace().lines().map(str::to_owned).collect();
            Err(Box::new(failure))
        }
    };
    drop(world);
    let left = live_heap_blocks() - blocks;
    match result {
        Ok(_) if left != 0 => Err(early(format!("{left} chunks leaked"))),
        other => other,
    }
}

/// By how much each host's clock is to be ahead, so that its first connection's
/// sequence numbers wrap where the scenario wants it: a dry run tells what they
/// would be, and RFC 6528's clock ticks once in 4 microseconds.
fn clocks(scenario: &Scenario) -> Result<[Duration; 2], String> {
    const TICK: u64 = 4_000;
    let mut ahead = [scenario.hosts[0].ahead, scenario.hosts[1].ahead];
    if scenario.hosts.iter().all(|host| host.wraps_after.is_none()) {
        return Ok(ahead);
    }
    let mut rehearsal = scenario.clone();
    rehearsal.disturbances.clear();
    for host in &mut rehearsal.hosts {
        host.rx = Default::default();
        host.tx = Default::default();
    }
    let mut world = World::new(&rehearsal, [Duration::ZERO; 2], Trace::new(0, false))?;
    world.run()?;
    for end in [End::Left, End::Right] {
        let wanted = scenario.host(end).wraps_after;
        let seen = world.trace().first_syn(end);
        if let (Some(before_wrap), Some((_, iss))) = (wanted, seen) {
            let ticks = 0u32.wrapping_sub(before_wrap).wrapping_sub(iss.0);
            ahead[end as usize] = Duration::from_nanos(u64::from(ticks) * TICK);
        }
    }
    Ok(ahead)
}

/// What is wrong with a world that came to its end.
fn judge(scenario: &Scenario, world: &World) -> Result<(), String> {
    let gave_up = |end| world.host(end).drops().get(DropReason::NeighborUnreachable) > 0;
    let may_be_unreachable = gave_up(End::Left) || gave_up(End::Right);
    for end in [End::Left, End::Right] {
        let host = world.host(end);
        if scenario.must_succeed {
            let excuses = Excuses {
                unreachable: may_be_unreachable,
                stalled: scenario.stalls(),
                attacked: scenario.attacked,
                early: scenario.serves_early(),
            };
            host.tasks().verdict(world.host(end.other()).tasks(), excuses)?;
        }
        // A forged SYN opens a connection that its supposed sender then refuses.
        // So may a host that stalls, where both open ([`Excuses::stalled`]).
        let mut plans = scenario.connections.iter();
        let may_refuse = scenario.stalls() && plans.any(|plan| plan.opener == Opener::Both);
        let judged = scenario.must_succeed && !scenario.attacked && !may_refuse;
        if judged && scenario.is_clean() && !may_be_unreachable && host.broken() != 0 {
            return Err(format!("{end:?} has {} broken connections", host.broken()));
        }
        let left = host.leftovers();
        if !left.is_empty() {
            return Err(format!("left behind at {end:?}: {}", left.join(", ")));
        }
        let Counters { oversize, .. } = world.link().counters(end);
        if oversize != 0 {
            return Err(format!("{end:?} asked for {oversize} frames beyond the MTU"));
        }
        judge_drops(scenario, end, &host.drops())?;
    }
    Ok(())
}

/// Drops that nothing in the scenario can explain are bugs.
fn judge_drops(scenario: &Scenario, end: End, drops: &DropCounters) -> Result<(), String> {
    use DropReason as R;
    let stranger = scenario.kind.is_foreign() || scenario.attacked;
    for (reason, count) in drops.nonzero() {
        let explained = match reason {
            R::Truncated
            | R::MalformedIp
            | R::BadIpChecksum
            | R::Fragment
            | R::MalformedFragment
            | R::DuplicateFragment
            | R::OverlappingFragment
            | R::FragmentTimedOut
            | R::FragmentBudget
            | R::SourceRoute
            | R::UnknownIpOption
            | R::Ipv6HeaderProblem
            | R::NoNextHeader
            | R::IcmpNotInFlight
            | R::HandshakeUnreachable
            | R::NotOurAddress
            | R::BadSourceAddress
            | R::UnknownProtocol
            | R::MalformedTcp
            | R::BadTcpChecksum
            | R::PartialTcpChecksum
            | R::MalformedIcmp
            | R::OffLinkNeighbor => scenario.corrupts(),
            R::UnknownEtherType
            | R::MalformedArp
            | R::NotForThisStation
            | R::BacklogFull
            | R::ConnectionsExhausted
            | R::NoRoute
            | R::FrameTooLarge
            | R::PoolExhausted
            | R::HandshakeQueueFull
            | R::HandshakeEvicted
            | R::TooManyOrphans
            | R::ShardMailboxFull => false,
            R::ReceiveBudget => scenario.kind == Kind::Swarm,
            // smoltcp announces itself as a router's solicitor, joins groups, and pings nobody.
            R::UnhandledIcmp => scenario.corrupts() || scenario.kind.is_foreign(),
            R::NeighborUnreachable | R::TxBufferExhausted => !scenario.is_undisturbed(),
            R::HandshakeTimedOut => !scenario.is_undisturbed() || stranger,
            R::HandshakeReset => !scenario.is_undisturbed() || stranger || !scenario.is_clean(),
            R::MissingAck => stranger,
            // Data that answers a SYN's may overtake the SYN-ACK.
            R::BadFlags => stranger || scenario.serves_early() && !scenario.is_undisturbed(),
            // Where cookies are out, a stray segment is taken for a bad one; and of a
            // window's worth of them at once not each earns a reset.
            R::DataAfterClose
            | R::NoSuchConnection
            | R::BadSynCookie
            | R::ReplyRateLimited
            | R::ControlQueueFull => {
                !scenario.is_clean() || !scenario.is_undisturbed() || scenario.kind.is_foreign()
            }
            R::SynInConnection => !scenario.is_undisturbed() || scenario.kind == Kind::SimultaneousOpen,
            R::PawsRejected | R::UnacceptableAck | R::ResetOutOfPlace => {
                !scenario.is_undisturbed() || scenario.kind.is_foreign() || !scenario.is_clean()
            }
            R::Duplicate | R::OutOfWindow | R::ReassemblyFull => true,
        };
        if !explained {
            return Err(format!("{end:?} dropped {count} as {}", reason.name()));
        }
    }
    Ok(())
}

fn report(scenario: &Scenario, world: &World) -> Report {
    let mut drops = DropCounters::new();
    let (mut bytes, mut frames, mut faults, mut wraps, mut cookies) = (0, 0, 0, 0, 0);
    let (mut parked, mut woken, mut fast_opens, mut outcomes) = (0, 0, 0, Vec::new());
    let mut marks = Marks::default();
    let trace = world.trace();
    for end in [End::Left, End::Right] {
        let host = world.host(end);
        drops.merge(&host.drops());
        let (host_parked, host_woken) = host.parked();
        parked += host_parked;
        woken += host_woken;
        outcomes.extend(host.tasks().outcomes());
        cookies += host.cookies();
        fast_opens += host.fast_opens();
        marks.add(host.marks());
        bytes += host.tasks().received();
        frames += world.link().counters(end).sent;
        let (FaultStats { rx, tx }, _) = host.faults();
        faults += rx.lost + rx.corrupted + tx.lost + tx.corrupted;
        let sent = scenario.connections.first().map_or(0, |plan| plan.end(end).send);
        let iss = trace.first_syn(end).map_or(0, |(_, iss)| u64::from(iss.0));
        wraps += u64::from(iss + sent > u64::from(u32::MAX));
    }
    Report {
        seed: scenario.seed,
        scenario: scenario.describe(),
        trace_hash: world.link().trace_hash(),
        virtual_nanos: world.now().as_nanos(),
        frames,
        bytes,
        faults,
        turns: world.turns(),
        parked,
        woken,
        outcomes,
        unreachable: drops.get(DropReason::NeighborUnreachable) > 0,
        cookies,
        fast_opens,
        marks,
        wraps,
        syn_acks: [trace.syn_acks(End::Left), trace.syn_acks(End::Right)],
        drops: drops.nonzero().map(|(reason, n)| (reason.name(), n)).collect(),
    }
}

fn state(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for end in [End::Left, End::Right] {
        let host = world.host(end);
        lines.extend(host.tasks().describe());
        let drops: Vec<_> = host
            .drops()
            .nonzero()
            .map(|(r, n)| format!("{} {n}", r.name()))
            .collect();
        let drops = drops.join(", ");
        lines.push(format!(
            "{end:?} holds {} connections; drops: {drops}",
            host.connections()
        ));
    }
    lines
}
