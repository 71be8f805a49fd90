//! All the tasks of one host: opened by plan, told of events, pumped each turn.

use std::rc::Rc;

use crore_base::Instant;
use crore_nic::sim::End;

use crate::pattern::Pattern;
use crate::plan::{ConnPlan, Opener};
use crate::task::{Outcome, Task, TaskEnd};

/// Why a task may have ended otherwise than planned.
#[derive(Clone, Copy)]
pub struct Excuses {
    /// A host gave its neighbour up at times, so that handshakes may have failed.
    pub unreachable: bool,
    /// A host stalled, so that the other's SYN may have come before it opened: it
    /// had nothing there yet, and refused.
    pub stalled: bool,
    /// Somebody forges SYNs.
    pub attacked: bool,
    /// A host serves data of SYNs, so that a connection may be open for it before
    /// the handshake is over.
    pub early: bool,
}

/// One end's part in each planned connection.
pub struct Tasks {
    end: End,
    plans: Rc<[ConnPlan]>,
    tasks: Vec<Task>,
    epoch: Instant,
    opened: usize,
}

impl Tasks {
    /// The tasks of the host at `end`, by whose clock the world starts at `epoch`.
    /// Plans are in order of their opening.
    pub fn new(end: End, plans: Rc<[ConnPlan]>, seed: u64, epoch: Instant) -> Self {
        let task = |plan: &ConnPlan| {
            let from_left = end == End::Left;
            Task::new(
                format!("connection {} {end:?}", plan.index),
                plan.end(end).clone(),
                plan.end(end.other()),
                Pattern::new(seed, plan.index, from_left),
                Pattern::new(seed, plan.index, !from_left),
            )
        };
        Self {
            tasks: plans.iter().map(task).collect(),
            end,
            plans,
            epoch,
            opened: 0,
        }
    }

    /// The next connection that this end is to open at `now`, if one is due.
    pub fn next_to_open(&mut self, now: Instant) -> Option<ConnPlan> {
        while let Some(plan) = self.plans.get(self.opened) {
            if self.epoch + plan.opens_after > now {
                return None;
            }
            self.opened += 1;
            if plan.is_opened_by(self.end) {
                return Some(plan.clone());
            }
        }
        None
    }

    /// All the plans.
    pub fn plans(&self) -> &[ConnPlan] {
        &self.plans
    }

    /// The task of connection `index`.
    pub fn get(&mut self, index: usize) -> &mut Task {
        &mut self.tasks[index]
    }

    /// Whether connection `index` is over for its application.
    pub fn has_ended(&self, index: usize) -> bool {
        self.tasks.get(index).is_some_and(|task| task.end().is_some())
    }

    /// When something is to be done though nothing comes.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let opening = self
            .plans
            .get(self.opened)
            .map(|plan| self.epoch + plan.opens_after);
        self.tasks
            .iter()
            .filter_map(Task::next_wakeup)
            .chain(opening)
            .min()
    }

    /// Whether every connection that this end knows of has ended for it.
    pub fn are_over(&self) -> bool {
        self.opened == self.plans.len()
            && self.tasks.iter().zip(&*self.plans).all(|(task, plan)| {
                task.end().is_some() || !task.was_opened() && !plan.is_opened_by(self.end)
            })
    }

    /// Bytes received and found right.
    pub fn received(&self) -> u64 {
        self.tasks.iter().map(Task::received).sum()
    }

    /// What is wrong with the ends that the tasks came to, judged by their
    /// plans.
    pub fn verdict(&self, peer: &Self, excuses: Excuses) -> Result<(), String> {
        use crore_tcp::CloseReason::{Aborted, Finished, Refused, ResetByPeer, Unreachable};
        for ((task, other), plan) in self.tasks.iter().zip(&peer.tasks).zip(&*self.plans) {
            // One whose SYN brought data is open before its handshake fails (RFC 7413).
            let unreachable = |task: &Task| excuses.early && task.end() == Some(TaskEnd::Closed(Unreachable));
            let failed =
                !(task.was_opened() && other.was_opened()) || unreachable(task) || unreachable(other);
            if excuses.unreachable && failed {
                continue;
            }
            // Where the SYNs have crossed before, it is a reset that refuses.
            let refused = |task: &Task| {
                !task.was_opened() && matches!(task.end(), Some(TaskEnd::Closed(Refused | ResetByPeer)))
            };
            if excuses.stalled && plan.opener == Opener::Both && refused(task) && refused(other) {
                continue;
            }
            let regular = matches!(task.end(), Some(TaskEnd::GaveBack | TaskEnd::Closed(Finished)));
            // A SYN with a newer number ends the peer's TIME-WAIT, whoever sent it
            // (RFC 9293 section 3.10.7.4); our FIN again then meets nobody. What the
            // peer sent may still wait to be read at that moment, and is lost.
            let missed_the_last_ack = excuses.attacked
                && task.has_shut()
                && other.has_finished()
                && matches!(task.end(), Some(TaskEnd::Closed(ResetByPeer)));
            let fine = if plan.is_clean() {
                (regular && task.is_complete()) || missed_the_last_ack
            } else {
                let cut_off = matches!(
                    task.end(),
                    Some(TaskEnd::Aborted | TaskEnd::Closed(Aborted | ResetByPeer | Refused))
                );
                // The opener's reset may overtake the end of the handshake: then
                // the listening end never hears of the connection.
                regular || cut_off || (task.end().is_none() && other.end() == Some(TaskEnd::Aborted))
            };
            if !fine {
                return Err(format!("ended wrongly: {}", task.describe()));
            }
        }
        Ok(())
    }

    /// What each of them saw.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.tasks.iter().map(Task::outcome)
    }

    /// One line for each.
    pub fn describe(&self) -> Vec<String> {
        self.tasks.iter().map(Task::describe).collect()
    }
}
