//! Parking is invisible: a seed played with every connection parked as soon as
//! nothing is going on, and again with none ever parked, looks the same to both
//! applications.
//!
//! Read first: DESIGN section 4, `crore_tcp::Parked`.
//!
//! What may differ is time, and what follows from it: a woken connection begins
//! with the restart window (RFC 5681 section 4.1), so frames are other ones, and
//! the faults hit others. What must not differ is what each application saw
//! ([`Outcome`](crate::task::Outcome)): the bytes, their order (both are checked
//! against the connection's pattern as they come), the peer's end, and how the
//! connection ended.

use crore_base::{Duration, Instant};

use crate::run::{Failure, Report, run};
use crate::scenario::{Scenario, StackPlan};

/// Both runs of a seed.
#[derive(Clone, Debug)]
pub struct ParkingComparison {
    /// Parked after every quiet moment.
    pub forced: Report,
    /// Never parked.
    pub never: Report,
    /// Whether the outcomes had to be equal, and were. They need not be where a
    /// race decides: who aborts first, how far a link that dies had got, whether
    /// a neighbour was given up under loss.
    pub strict: bool,
}

/// Plays `scenario` twice, and compares. `live` prints every frame of the first.
pub fn compare_parking(scenario: &Scenario, live: bool) -> Result<ParkingComparison, Box<Failure>> {
    let forced = run(&parking_after(scenario, Some(Duration::ZERO)), live)?;
    let never = run(&parking_after(scenario, None), false)?;
    let failure = |what| {
        Box::new(Failure {
            seed: scenario.seed,
            scenario: scenario.describe(),
            at: Instant::from_nanos(forced.virtual_nanos),
            what,
            state: Vec::new(),
            trace: Vec::new(),
        })
    };
    if never.parked + never.woken != 0 {
        return Err(failure(format!(
            "{} connections were parked though parking was off",
            never.parked
        )));
    }
    let unreachable = forced.unreachable || never.unreachable;
    let strict = scenario.must_succeed && scenario.is_clean() && !unreachable;
    if strict {
        let mut pairs = forced.outcomes.iter().zip(&never.outcomes);
        if let Some((forced, never)) = pairs.find(|(forced, never)| forced != never) {
            return Err(failure(format!(
                "parking shows: {forced:?}, but {never:?} without"
            )));
        }
    }
    Ok(ParkingComparison {
        forced,
        never,
        strict,
    })
}

fn parking_after(scenario: &Scenario, after: Option<Duration>) -> Scenario {
    let mut scenario = scenario.clone();
    for host in &mut scenario.hosts {
        host.park_after(after);
        if let StackPlan::Crore(config) = &mut host.stack {
            // A pool that is never full, so that want of room parks nothing either.
            config.max_active = config.max_connections;
        }
    }
    scenario
}
