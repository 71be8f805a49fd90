//! Plays a script against a host.
//!
//! Time is virtual: it goes on to whatever is next, the script's next event or
//! the stack's next timer, and nothing waits for anything. An event at an exact
//! time happens at that time; a packet that is expected may be early or late by
//! the tolerance; a relative time counts from the event before as it stands in
//! the script, or from when it really was if the script left that open.

mod calls;
mod packets;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crore_base::{Duration, Instant};

use super::ast::{Action, Event, Micros, Script, When};
use super::code::{self, Judgement};
use super::flow::Flow;
use super::info;
use super::notation::Seconds;
use super::report::{Failure, Outcome, Verdict};
use super::settings::Settings;
use crate::posix::{Call, Fd, Host, Outcome as Called, Output, Packet, Reply, TCP_INFO_LEN, Ticket};

/// Why a script goes no further.
pub(super) enum Stop {
    /// What was expected did not happen.
    Fail(Box<Failure>),
    /// It asks for something that is not ours to do.
    NotApplicable(String),
}

pub(super) type Step<T = ()> = Result<T, Stop>;

/// A file of the script's application.
#[derive(Clone, Copy, Debug)]
struct File {
    /// Its real number.
    fd: Fd,
    /// The connection that it stands for.
    flow: Option<usize>,
    /// How many bytes were written, and read.
    written: u32,
    read: u32,
}

/// A call that has not come back.
struct Pending {
    event: Event,
    call: super::ast::Call,
    made: calls::Made,
    ticket: Ticket,
    /// When it is to come back.
    ends: Micros,
}

struct Runner<'s> {
    settings: &'s Settings,
    host: Host,
    /// When the event before happened, for relative times.
    before: Micros,
    flows: Vec<Flow>,
    /// The connection that packets without ports belong to.
    current: Option<usize>,
    /// By the script's own numbers.
    files: BTreeMap<i64, File>,
    pending: Option<Pending>,
    /// Packets of the stack that were looked at and put back.
    put_back: Option<Packet>,
    /// The port that the last `bind` gave.
    bound_port: u16,
    next_port: u16,
    /// Whether all payload of the stack is the pattern, and whether what is read
    /// must be (no longer once a script writes texts, or urgent bytes go out of line).
    writes_pattern: bool,
    reads_pattern: bool,
    packets: u64,
    /// What happened, a line each.
    trace: Vec<String>,
}

/// So many lines of what happened are kept, the first ones: more than a script has.
const TRACE_MAX: usize = 10_000;

/// Plays a script from its first event to its last.
pub(super) fn play(script: &Script) -> Outcome {
    let settings = match Settings::of(script) {
        Ok(settings) => settings,
        Err(reason) => return Outcome::not_applicable(reason),
    };
    let host = match Host::new(settings.endpoints(), settings.knobs.clone()) {
        Ok(host) => host,
        Err(error) => return Outcome::not_applicable(format!("no such host: {error}")),
    };
    let mut runner = Runner {
        settings: &settings,
        host,
        before: 0,
        flows: Vec::new(),
        current: None,
        files: BTreeMap::new(),
        pending: None,
        put_back: None,
        bound_port: settings.bind_port,
        next_port: 49_152,
        writes_pattern: true,
        reads_pattern: true,
        packets: 0,
        trace: Vec::new(),
    };
    let ended = runner.run(script);
    let verdict = match ended {
        Ok(()) => Verdict::Pass,
        Err(Stop::Fail(failure)) => Verdict::Fail(failure),
        Err(Stop::NotApplicable(reason)) => Verdict::NotApplicable(reason),
    };
    Outcome {
        verdict,
        notes: settings.notes.clone(),
        packets: runner.packets,
        virtual_micros: runner.now() as u64,
        trace: runner.trace,
    }
}

impl Runner<'_> {
    fn run(&mut self, script: &Script) -> Step {
        for event in &script.events {
            self.event(event)?;
        }
        self.await_pending()?;
        if self.settings.strict {
            self.nothing_left(script.events.last())?;
        }
        Ok(())
    }

    /// The time, in microseconds since the script began.
    fn now(&self) -> Micros {
        (self.host.now().as_nanos() / 1000) as Micros
    }

    fn note(&mut self, at: Micros, what: impl core::fmt::Display) {
        if self.trace.len() < TRACE_MAX {
            self.trace.push(format!("{} {what}", Seconds(at)));
        }
    }

    fn event(&mut self, event: &Event) -> Step {
        match &event.action {
            Action::Packet(packet) if packet.direction == super::ast::Direction::Outbound => {
                return self.expect(event, packet);
            }
            _ => {}
        }
        let at = match event.when {
            When::Absolute(at) => at,
            When::Relative(after) => self.before + after,
            // The parser lets only packets of the stack have other times.
            When::AbsoluteRange(..) | When::RelativeRange(..) | When::Any => self.before,
        };
        self.go_to(at);
        let begins = self.before;
        self.before = at;
        match &event.action {
            Action::Packet(packet) => self.put_in(event, packet),
            Action::Call(call) => self.call(event, call, begins),
            Action::Command(_) => Ok(()),
            Action::Code(code) => self.judge(event, code),
        }
    }

    fn go_to(&mut self, at: Micros) {
        self.host.advance(instant(at));
    }

    fn call(&mut self, event: &Event, call: &super::ast::Call, begins: Micros) -> Step {
        self.await_pending()?;
        let call = self.settings.defined(call);
        let (made, posix) = self.translate(&call).map_err(|reason| unfit(event, &reason))?;
        let ends = call.ends.map(|ends| match event.when {
            When::Relative(_) => begins + ends,
            _ => ends,
        });
        match self.host.call(posix) {
            Called::Ready(reply) => {
                // One that is to wait may not come back before its time.
                if let Some(ends) = ends {
                    self.in_time(event, ends, &reply)?;
                }
                self.check(event, &call, &made, reply)
            }
            Called::WouldBlock(ticket) => {
                self.after_blocking(&call, &made);
                let Some(ends) = ends else {
                    return self.blocked(event, &call, made, ticket);
                };
                self.pending = Some(Pending {
                    event: event.clone(),
                    call,
                    made,
                    ticket,
                    ends,
                });
                Ok(())
            }
        }
    }

    /// A call that was not expected to wait may still take as long as the tolerance.
    fn blocked(&mut self, event: &Event, call: &super::ast::Call, made: calls::Made, ticket: Ticket) -> Step {
        let limit = self.now() + self.settings.tolerance;
        match self.reply_by(ticket, limit) {
            Some(reply) => self.check(event, call, &made, reply),
            None => {
                let what = format!("{} waits where it is to come back at once", call.name);
                Err(self.fail(event, what))
            }
        }
    }

    /// The call that waits comes back, when and as it is to.
    fn await_pending(&mut self) -> Step {
        let Some(pending) = self.pending.take() else {
            return Ok(());
        };
        let limit = pending.ends + self.settings.tolerance;
        let Some(reply) = self.reply_by(pending.ticket, limit) else {
            let what = format!(
                "{} has not come back by {}",
                pending.call.name,
                Seconds(pending.ends)
            );
            return Err(self.fail(&pending.event, what));
        };
        self.in_time(&pending.event, pending.ends, &reply)?;
        self.check(&pending.event, &pending.call, &pending.made, reply)
    }

    fn reply_by(&mut self, ticket: Ticket, limit: Micros) -> Option<Reply> {
        loop {
            if let Some(reply) = self.host.reply(ticket) {
                return Some(reply);
            }
            if !self.host.advance_to_next(instant(limit)) {
                return self.host.reply(ticket);
            }
        }
    }

    fn in_time(&self, event: &Event, ends: Micros, reply: &Reply) -> Step {
        let at = (reply.at.as_nanos() / 1000) as Micros;
        if (at - ends).abs() <= self.settings.tolerance {
            return Ok(());
        }
        let what = format!(
            "the call is to come back at {}, came back at {}",
            Seconds(ends),
            Seconds(at)
        );
        Err(self.fail(event, what))
    }

    fn judge(&mut self, event: &Event, code: &str) -> Step {
        let info = self.tcp_info();
        let lookup = |name: &str| info::value(info.as_deref(), name);
        match code::judge(code, &lookup) {
            Judgement::Holds => Ok(()),
            Judgement::Fails(what) => Err(self.fail(event, format!("does not hold: {what}"))),
            Judgement::Unknown(why) => Err(unfit(event, &why)),
        }
    }

    /// `struct tcp_info` of the connection that the script is about.
    fn tcp_info(&mut self) -> Option<Vec<u8>> {
        let files = self.files.values();
        let of_flow = files
            .clone()
            .rev()
            .find(|file| file.flow.is_some() && file.flow == self.current);
        let fd = of_flow.or_else(|| files.clone().next_back())?.fd;
        let asked = Call::GetOption {
            fd,
            level: libc::IPPROTO_TCP,
            name: libc::TCP_INFO,
            len: TCP_INFO_LEN,
        };
        match self.host.call(asked) {
            Called::Ready(Reply {
                output: Output::Bytes(bytes),
                ..
            }) => Some(bytes),
            _ => None,
        }
    }

    fn fail(&self, event: &Event, what: impl Into<String>) -> Stop {
        Stop::Fail(Box::new(Failure {
            line: event.line,
            what: what.into(),
            event: event.to_string(),
            expected: None,
            seen: None,
            at_micros: self.now() as u64,
        }))
    }
}

fn unfit(event: &Event, reason: &str) -> Stop {
    Stop::NotApplicable(format!("line {}: {reason}", event.line))
}

fn instant(at: Micros) -> Instant {
    Instant::ZERO + Duration::from_micros(at.max(0) as u64)
}
