//! `crore load hold`: very many connections, in phases.

use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration as StdDuration;

use crore::Duration;
use crore::config::Config;
use crore::services::{App, AppCounters, Echo};

use crore::{Event, Instant, Mailbox, Service, Stack, mailbox};
use crore_load::{Command, Crowd, CrowdConfig, PhaseReport};

use super::LoadArguments;
use crate::clock;
use crate::control;
use crate::failure::Failure;
use crate::run::{Launch, Running};
use crate::signals::Interrupted;
use crate::summary::print_json;
use crate::work::Work;
use crate::worker::Part;

/// Opens under way at once, where nobody says otherwise.
const OPENING: u32 = 512;
/// How long the other end of the wire may take to come.
const LINK_LIMIT: StdDuration = StdDuration::from_secs(10);
/// How often it is looked whether a phase is over.
const LOOK: StdDuration = StdDuration::from_millis(1);

/// Opens, asks, rests, closes: as its arguments or its standard input say.
pub(super) fn hold(arguments: &LoadArguments, config: &Config, local: Vec<IpAddr>) -> Result<(), Failure> {
    let crowd = CrowdConfig {
        remote: arguments.remote(Echo::PORT),
        local,
        connections: arguments.connections,
        opening: arguments.opening.unwrap_or(OPENING),
        open_pace: arguments.open_pace()?,
        outstanding: arguments.outstanding,
        size: arguments.size as usize,
        seed: 1,
    };
    let lines: Vec<Line> = (0..config.shards()).map(|_| Line::new()).collect();
    let theirs = lines.clone();
    let launch = Launch::new("load", config, move |_, part| {
        let Line { commands, reports } = theirs[usize::from(part.index)].clone();
        Ok(Holding(Crowd::new(part_of(&crowd, part), commands, reports)))
    });
    let interrupted = Interrupted::watch()?;
    let running = Running::start(config, arguments.other_end.before(config, launch)?)?;
    let talker = Talker {
        lines,
        connections: arguments.connections,
    };
    if arguments.control {
        for port in &running.wire().ports {
            port.wait_for_link(LINK_LIMIT);
        }
        control::ready()?;
        let (heard, commands) = mpsc::channel();
        let shards = running.figures();
        control::listen(&interrupted, move |line| match parse(line) {
            None if line == "stats" => control::tell_stats(&shards),
            // Nobody receives any more after `quit`.
            Some(command) => drop(heard.send(command)),
            None => eprintln!("not understood: {line:?}"),
        })?;
        talker.start(commands.into_iter())?;
    } else {
        talker.start(script(arguments).into_iter())?;
    }
    running.watch(config, &interrupted, arguments.json || arguments.control);
    let ended = running.finish_when(|| match arguments.control {
        true => control::stopped(&interrupted),
        false => Ok(()),
    })?;
    let outcomes = ended.outcomes.iter().flatten();
    let left: usize = outcomes.map(|outcome| outcome.connections).sum();
    log::debug!("{left} connections are left in TIME-WAIT");
    if ended.mbufs_in_use > 0 {
        return Err(Failure::run(format!(
            "{} packet buffers have not come back: a bug",
            ended.mbufs_in_use
        )));
    }
    Ok(())
}

/// The phases that the arguments ask for.
fn script(arguments: &LoadArguments) -> Vec<Command> {
    let mut script = vec![Command::Open];
    if arguments.requests > 0 {
        script.push(Command::Echo {
            requests: arguments.requests,
            among: arguments.connections,
        });
    }
    if let Some(seconds) = arguments.seconds {
        script.push(Command::Rest(Duration::from_secs(seconds)));
    }
    script.extend([Command::Close, Command::Quit]);
    script
}

/// What one of the shards holds, so that all together hold what `crowd` says.
fn part_of(crowd: &CrowdConfig, part: Part) -> CrowdConfig {
    let share = |of_all: u32| part.share(of_all.into()) as u32;
    CrowdConfig {
        connections: share(crowd.connections),
        opening: share(crowd.opening).max(1),
        open_pace: crowd.open_pace.map(|pace| pace.part(part.of)),
        outstanding: share(crowd.outstanding).max(1),
        seed: crowd.seed + u64::from(part.index),
        ..crowd.clone()
    }
}

/// What one of the shards does, so that all together do what `command` says.
fn part_of_command(command: Command, connections: u32, part: Part) -> Command {
    match command {
        Command::Echo { requests, among } => Command::Echo {
            requests: part.share_among(requests, u64::from(among.min(connections))),
            among: part.share(among.into()) as u32,
        },
        command => command,
    }
}

/// The way to a shard, and back.
#[derive(Clone)]
struct Line {
    commands: Mailbox<Command>,
    reports: Mailbox<PhaseReport>,
}

impl Line {
    fn new() -> Self {
        Self {
            commands: mailbox(1).0,
            reports: mailbox(1).0,
        }
    }

    fn report(&self) -> PhaseReport {
        loop {
            match self.reports.receive() {
                Some(report) => return report,
                None => clock::rest(LOOK),
            }
        }
    }
}

/// Hands commands to the shards, one after the other, and prints what came of each.
struct Talker {
    lines: Vec<Line>,
    connections: u32,
}

impl Talker {
    fn start(self, script: impl Iterator<Item = Command> + Send + 'static) -> Result<(), Failure> {
        thread::Builder::new()
            .name("control".into())
            .spawn(move || self.talk(script))
            .map(drop)
            .map_err(|e| Failure::run(format!("no thread: {e}")))
    }

    fn talk(&self, script: impl Iterator<Item = Command>) {
        for command in script {
            self.carry_out(command);
        }
    }

    fn carry_out(&self, command: Command) {
        let of = self.lines.len() as u16;
        for (index, line) in (0..of).zip(&self.lines) {
            let part = part_of_command(command, self.connections, Part { index, of });
            if line.commands.send(part).is_err() {
                return;
            }
        }
        if command == Command::Quit {
            return;
        }
        let reports = self.lines.iter().map(Line::report);
        let report = reports.reduce(|mut all, one| {
            all.merge(&one);
            all
        });
        if let Err(error) = print_json(&report) {
            log::error!("{error}");
        }
    }
}

fn parse(line: &str) -> Option<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["open"] => Some(Command::Open),
        ["echo", requests, among] => Some(Command::Echo {
            requests: requests.parse().ok()?,
            among: among.parse().ok()?,
        }),
        ["rest", seconds] => Some(Command::Rest(Duration::from_secs(seconds.parse().ok()?))),
        ["close"] => Some(Command::Close),
        ["quit"] => Some(Command::Quit),
        _ => None,
    }
}

/// A shard that holds a crowd.
struct Holding(Crowd);

impl Service for Holding {
    #[inline]
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
        self.0.on_event(stack, now, event);
    }

    #[inline]
    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        self.0.on_turn(stack, now);
    }

    fn next_wakeup(&self) -> Option<Instant> {
        self.0.next_wakeup()
    }
}

impl Work for Holding {
    fn begin(&mut self, _stack: &mut Stack) -> Result<(), Failure> {
        Ok(())
    }

    fn counters(&self) -> AppCounters {
        AppCounters {
            requests: self.0.requests(),
            ..AppCounters::default()
        }
    }

    fn open(&self) -> usize {
        self.0.open()
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    fn drain(&mut self, _stack: &mut Stack, _now: Instant) {}

    fn abort_all(&mut self, _stack: &mut Stack) {}
}
