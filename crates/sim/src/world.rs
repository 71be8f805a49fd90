//! Two hosts, a link, and time that jumps to whatever happens next.
//!
//! Always true: time never goes back; nothing happens that was not caused by a
//! frame, a timer, an application's plan or a disturbance, all of which the
//! scenario's seed determines.

use std::cell::RefCell;
use std::rc::Rc;

use crore_base::{Duration, Instant};
use crore_nic::fault::{FaultConfig, FaultNic};
use crore_nic::sim::{self, End, Link, SimNic};

use crate::attacker::Attacker;
use crate::draw;
use crate::foreign::ForeignHost;
use crate::host::{CroreHost, Host, LinkNic};
use crate::referee::Referee;
use crate::scenario::{Disturbance, HostPlan, Scenario, StackPlan};
use crate::tasks::Tasks;
use crate::trace::Trace;

/// No scenario takes longer, in its own time: back-off included, a day is ample.
const TIME_LIMIT: Duration = Duration::from_secs(86_400);
/// Turns at one instant, after which the hosts are taken to run in circles.
const TURNS_AT_ONCE: u32 = 100_000;
/// Turns of a whole run, after which it is taken to get nowhere.
const TURNS: u64 = 20_000_000;
/// How far time goes when a host wants its turn at once but does nothing in it
/// (it waits for a transmit buffer).
const BUSY_STEP: Duration = Duration::from_micros(100);

/// Two hosts and what lies between them.
pub struct World {
    now: Instant,
    hosts: [Box<dyn Host>; 2],
    link: Link,
    disturbances: std::vec::IntoIter<(Duration, Disturbance)>,
    next_disturbance: Option<(Duration, Disturbance)>,
    /// Until when each host stands still.
    stalled: [Instant; 2],
    /// When all must be over.
    deadline: Instant,
    trace: Rc<RefCell<Trace>>,
    attacker: Option<Rc<RefCell<Attacker>>>,
    turns: u64,
}

impl World {
    /// The world at the start of `scenario`, its hosts' clocks ahead by `ahead`.
    pub fn new(scenario: &Scenario, ahead: [Duration; 2], trace: Trace) -> Result<Self, String> {
        let (left, right) = sim::link(scenario.link.clone());
        let link = left.link();
        let trace = Rc::new(RefCell::new(trace));
        let sink = Rc::clone(&trace);
        let attacker = scenario.attacked.then(|| {
            Rc::new(RefCell::new(Attacker::new(
                scenario.seed,
                scenario.serves_early(),
            )))
        });
        let observer = attacker.clone();
        link.set_tap(Some(Box::new(move |tapped| {
            sink.borrow_mut().record(tapped);
            // It does not listen to itself: borrowed, it is sending.
            if let Some(Ok(mut attacker)) = observer.as_ref().map(|a| a.try_borrow_mut()) {
                attacker.on_frame(tapped);
            }
        })));
        let [left_ahead, right_ahead] = ahead;
        let mut disturbances = scenario.disturbances.clone().into_iter();
        Ok(Self {
            now: Instant::ZERO,
            hosts: [
                host(scenario, End::Left, left, left_ahead)?,
                host(scenario, End::Right, right, right_ahead)?,
            ],
            link,
            next_disturbance: disturbances.next(),
            stalled: [Instant::ZERO; 2],
            deadline: Instant::ZERO + scenario.ends_within.unwrap_or(TIME_LIMIT),
            disturbances,
            trace,
            attacker,
            turns: 0,
        })
    }

    /// Runs until both hosts are done, or something goes wrong.
    pub fn run(&mut self) -> Result<(), String> {
        loop {
            self.disturb();
            self.attack();
            self.settle()?;
            if self.is_over() {
                return Ok(());
            }
            self.advance()?;
        }
    }

    /// Does what is to be done to the link now.
    fn disturb(&mut self) {
        while let Some((at, disturbance)) = self.next_disturbance {
            if Instant::ZERO + at > self.now {
                break;
            }
            match disturbance {
                Disturbance::Down(down) => self.link.set_down(down),
                Disturbance::Dry(end, dry) => self.link.set_dry(end, dry),
                Disturbance::Pressure(end, scarce) => self.link.set_pressure(end, scarce),
                Disturbance::Stall(end, time) => self.stalled[end as usize] = self.now + time,
                Disturbance::Weather(end, weather) => self.hosts[end as usize].set_weather(weather),
            }
            self.trace
                .borrow_mut()
                .note(self.now, &format!("{disturbance:?}"));
            self.next_disturbance = self.disturbances.next();
        }
    }

    /// Sends what the attacker has planned for now.
    fn attack(&mut self) {
        let Some(attacker) = &self.attacker else { return };
        let mut attacker = attacker.borrow_mut();
        while let Some((from, frame)) = attacker.poll(self.now) {
            self.trace.borrow_mut().note(self.now, "forged or repeated:");
            self.link.inject(from, self.now, frame);
        }
    }

    /// Gives both hosts their turns until neither has anything to do now.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..TURNS_AT_ONCE {
            let mut progress = false;
            for (host, stalled) in self.hosts.iter_mut().zip(self.stalled) {
                if stalled > self.now {
                    continue;
                }
                self.turns += 1;
                progress |= host.turn(self.now)?;
            }
            if !progress {
                return Ok(());
            }
        }
        Err(format!(
            "{TURNS_AT_ONCE} turns at one instant: the hosts run in circles"
        ))
    }

    /// Moves time on to what comes next.
    fn advance(&mut self) -> Result<(), String> {
        let now = self.now;
        let mut wakeups = [None; 2];
        for ((host, wakeup), stalled) in self.hosts.iter_mut().zip(&mut wakeups).zip(self.stalled) {
            *wakeup = host.next_wakeup(now).map(|at| at.max(stalled));
            if wakeup.is_none() && host.awaits_acknowledgment() {
                return Err("something is unacknowledged, and no timer runs".to_owned());
            }
        }
        let disturbance = self.next_disturbance.map(|(at, _)| Instant::ZERO + at);
        let attack = self.attacker.as_ref().and_then(|a| a.borrow().next_timeout());
        let wakeups = wakeups.into_iter().flatten();
        let Some(next) = wakeups.chain(disturbance).chain(attack).min() else {
            return Err("nothing will ever happen again, but the world is not over".to_owned());
        };
        self.now = if next > now { next } else { now + BUSY_STEP };
        if self.now > self.deadline {
            return Err(format!("not over at {:?}", self.deadline));
        }
        if self.turns > TURNS {
            return Err(format!("not over after {TURNS} turns"));
        }
        Ok(())
    }

    /// Whether all is done and nothing is under way.
    fn is_over(&self) -> bool {
        self.link.in_flight() == 0
            && self.hosts.iter().all(|host| {
                let (_, held) = host.faults();
                held == 0 && host.connections() == 0 && host.tasks().are_over()
            })
    }

    /// The time by the world's clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The host at `end`.
    pub fn host(&self, end: End) -> &dyn Host {
        &*self.hosts[end as usize]
    }

    /// The link between them.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Turns that both hosts took.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// What was recorded of the frames.
    pub fn trace(&self) -> std::cell::Ref<'_, Trace> {
        self.trace.borrow()
    }
}

fn host(scenario: &Scenario, end: End, nic: SimNic, ahead: Duration) -> Result<Box<dyn Host>, String> {
    let HostPlan { stack, rx, tx, .. } = scenario.host(end);
    let seed = scenario.seed.wrapping_mul(2).wrapping_add(end as u64);
    let (rx, tx) = (*rx, *tx);
    let changes = scenario
        .disturbances
        .iter()
        .any(|(_, what)| matches!(what, Disturbance::Weather(at, _) if *at == end));
    let nic = if rx.is_none() && tx.is_none() && !changes {
        LinkNic::Plain(nic)
    } else {
        LinkNic::Faulty(Box::new(FaultNic::new(nic, FaultConfig { seed, rx, tx })))
    };
    let plans = Rc::clone(&scenario.connections);
    let tasks = |epoch| Tasks::new(end, plans, scenario.seed, epoch);
    match stack {
        StackPlan::Crore(config) => {
            let mut config = (**config).clone();
            config.addresses = draw::addresses(end);
            let key = u128::from(scenario.seed) << 1 | end as u128;
            let tasks = tasks(Instant::ZERO + ahead);
            let referee = Referee::new(end, Rc::clone(&scenario.connections), scenario.seed);
            let host = CroreHost::new(end, nic, config, key.to_be_bytes(), ahead, tasks, referee)?;
            Ok(Box::new(host))
        }
        StackPlan::Foreign(config) => {
            let host = ForeignHost::new(end, nic, config, tasks(Instant::ZERO))?;
            Ok(Box::new(host))
        }
    }
}
