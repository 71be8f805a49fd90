//! One bottleneck, two streams of Crore's and two of Linux's from the same host.

use serde::Serialize;

use super::lane::{Pair, Way};
use super::{Arguments, FAIRNESS_MIN, Found, Run};
use crate::failure::Failure;

/// Streams of each.
const STREAMS: u32 = 2;

/// How a bottleneck was shared.
#[derive(Debug, Serialize)]
pub(super) struct Sharing {
    way: String,
    congestion: &'static str,
    crore_mbit_per_second: Vec<f64>,
    linux_mbit_per_second: Vec<f64>,
    /// (sum of x)^2 / (n * sum of x^2): 1 when all have the same.
    jain: f64,
    reached: bool,
    pub(super) wrong: u64,
}

/// Round trips without delay tell nothing of fairness that the machine's own noise
/// does not.
pub(super) fn runs(arguments: &Arguments) -> Vec<Run> {
    let seconds = if arguments.common.quick {
        2
    } else {
        arguments.sharing_seconds
    };
    let mut runs = Vec::new();
    for &rtt_ms in arguments.rtt.iter().filter(|&&rtt| rtt > 0) {
        for &congestion in &arguments.congestion {
            if !super::crore_has(congestion) {
                continue;
            }
            for repeat in 0..arguments.repeats() {
                runs.push(Run {
                    pair: Pair::CroreSends,
                    way: Way {
                        faults: format!("{},seed={}", arguments.way(rtt_ms), arguments.seed + repeat),
                    },
                    congestion: congestion.word(),
                    connections: STREAMS,
                    warm_up: seconds / 2,
                    seconds,
                });
            }
        }
    }
    runs
}

pub(super) fn evaluate(runs: &[Run], found: &[Result<[Found; 2], Failure>]) -> Vec<Sharing> {
    let mut sharing = Vec::new();
    for (run, found) in runs.iter().zip(found) {
        let Ok([crore, linux]) = found else { continue };
        let rates = |found: &Found| {
            let rate = |&bytes: &u64| bytes as f64 * 8.0 / 1e6 / run.seconds as f64;
            found.flows.iter().map(rate).collect::<Vec<_>>()
        };
        let (ours, theirs) = (rates(crore), rates(linux));
        let jain = jain(&[&ours[..], &theirs[..]].concat());
        sharing.push(Sharing {
            way: run.way.faults.clone(),
            congestion: run.congestion,
            crore_mbit_per_second: ours,
            linux_mbit_per_second: theirs,
            jain,
            reached: jain >= FAIRNESS_MIN,
            wrong: crore.wrong + linux.wrong,
        });
    }
    sharing
}

pub(super) fn table(sharing: &[Sharing]) -> Vec<String> {
    let said = |rates: &[f64]| {
        let rates: Vec<_> = rates.iter().map(|rate| format!("{rate:.1}")).collect();
        rates.join(" + ")
    };
    sharing
        .iter()
        .map(|one| {
            format!(
                "one bottleneck, {}: Crore {} Mbit/s, Linux {} Mbit/s, Jain's index {:.3}{} ({})",
                one.congestion,
                said(&one.crore_mbit_per_second),
                said(&one.linux_mbit_per_second),
                one.jain,
                if one.reached { "" } else { "  below" },
                one.way,
            )
        })
        .collect()
}

/// Jain's index of fairness; zero of nothing.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares > 0.0 {
        sum * sum / (shares.len() as f64 * squares)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn even_shares_are_fair_and_one_who_has_all_is_not() {
        assert_eq!(jain(&[]), 0.0);
        assert_eq!(jain(&[5.0; 4]), 1.0);
        assert_eq!(jain(&[8.0, 0.0, 0.0, 0.0]), 0.25);
        assert!((jain(&[1.0, 1.0, 2.0, 2.0]) - 0.9).abs() < 1e-9);
    }
}
