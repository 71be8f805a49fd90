//! One end of one connection at work, whichever TCP carries it.
//!
//! Always true: it acts only on what it was told ([`Task::on_readable`] and its
//! like), so that an event that never comes stalls the world and shows.

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_tcp::CloseReason;
use serde::Serialize;

use crate::pattern::Pattern;
use crate::plan::{EndPlan, Finish};

/// The calls of a TCP that an application needs.
pub trait Verbs {
    /// Hands over a prefix of `data` and says how long it was; `None` when the
    /// connection is broken.
    fn write(&mut self, data: &[u8], zero_copy: bool) -> Option<usize>;
    /// Takes what was received.
    fn read(&mut self) -> Got;
    /// Ends the sending direction.
    fn shutdown_write(&mut self);
    /// Gives the connection back.
    fn close(&mut self);
    /// Resets the connection.
    fn abort(&mut self);
}

/// What a read gave.
#[derive(Debug)]
pub enum Got {
    /// Bytes.
    Data(Chunk),
    /// Nothing yet.
    Nothing,
    /// The end of the stream.
    Eof,
    /// The connection is broken.
    Broken,
}

/// How it ended for this end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskEnd {
    /// It had what it wanted and gave the connection back.
    GaveBack,
    /// It reset the connection.
    Aborted,
    /// It was told that the connection is over.
    Closed(CloseReason),
}

/// What an application saw of a connection, less what only time decides: in how
/// many pieces the bytes came, and how often it was told that there are some.
/// The bytes themselves are those of the connection's pattern, in order, since
/// anything else fails at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// Which connection, and which end of it.
    pub name: String,
    /// Whether it was told that the connection is open.
    pub opened: bool,
    /// Bytes taken by the connection.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Whether it was told that the peer has finished; `None` where it gave the
    /// connection back without waiting for that.
    pub peer_closed: Option<bool>,
    /// Whether it read up to the end of the stream; `None` as before.
    pub end_of_stream: Option<bool>,
    /// How it ended ([`TaskEnd`]).
    pub ending: String,
}

/// One end of one connection.
pub struct Task {
    name: String,
    plan: EndPlan,
    /// Bytes that the peer is to send.
    expects: u64,
    /// Whether the peer may cut its stream short.
    may_end_early: bool,
    outgoing: Pattern,
    incoming: Pattern,
    sent: u64,
    received: u64,
    opened: Option<Instant>,
    may_write: bool,
    may_read: bool,
    shut: bool,
    eof: bool,
    /// It was told that the peer has finished.
    peer_closed: bool,
    next_read: Instant,
    lingers_until: Option<Instant>,
    end: Option<TaskEnd>,
    buffer: Vec<u8>,
}

impl Task {
    /// A task that waits to be opened.
    pub fn new(name: String, plan: EndPlan, peer: &EndPlan, outgoing: Pattern, incoming: Pattern) -> Self {
        Self {
            name,
            plan,
            expects: peer.send,
            may_end_early: peer.finish.is_abortive(),
            outgoing,
            incoming,
            sent: 0,
            received: 0,
            opened: None,
            may_write: false,
            may_read: false,
            shut: false,
            eof: false,
            peer_closed: false,
            next_read: Instant::ZERO,
            lingers_until: None,
            end: None,
            buffer: Vec::new(),
        }
    }

    /// The bytes that are handed over with the wish to connect, if any are to be
    /// (there may be none to hand over); [`Self::on_early`] follows.
    pub fn early(&mut self) -> Option<&[u8]> {
        if !self.plan.early.offers {
            return None;
        }
        let most = self.plan.write_max.max(1) as u64;
        let n = if self.plan.answers_last {
            0
        } else {
            self.plan.send.min(most)
        };
        self.buffer.resize(n as usize, 0);
        self.outgoing.fill(0, &mut self.buffer);
        Some(&self.buffer)
    }

    /// So many of them were taken.
    pub fn on_early(&mut self, taken: usize) {
        self.sent = taken as u64;
    }

    /// The connection is established.
    pub fn on_opened(&mut self, now: Instant) -> Result<(), String> {
        if self.opened.is_some() || self.end.is_some() {
            return self.fail("opened twice, or after its end");
        }
        self.opened = Some(now);
        self.may_write = true;
        self.next_read = now + self.plan.reading.starts_after;
        Ok(())
    }

    /// There is more to read, or the peer has finished.
    pub fn on_readable(&mut self) -> Result<(), String> {
        self.expect_open("readable")?;
        self.may_read = true;
        Ok(())
    }

    /// The peer has finished: once, and behind its last byte comes the end of the stream.
    pub fn on_peer_closed(&mut self) -> Result<(), String> {
        if core::mem::replace(&mut self.peer_closed, true) {
            return self.fail("told twice that the peer has finished");
        }
        self.on_readable()
    }

    /// There is room to write.
    pub fn on_writable(&mut self) -> Result<(), String> {
        self.expect_open("writable")?;
        self.may_write = true;
        Ok(())
    }

    /// The connection is over.
    pub fn on_closed(&mut self, reason: CloseReason) -> Result<(), String> {
        if let Some(end) = self.end {
            return self.fail(&format!("closed ({reason:?}) after its end ({end:?})"));
        }
        self.end = Some(TaskEnd::Closed(reason));
        Ok(())
    }

    /// Does what can be done now; says whether anything was.
    pub fn pump(&mut self, now: Instant, verbs: &mut impl Verbs) -> Result<bool, String> {
        if self.opened.is_none() || self.end.is_some() {
            return Ok(false);
        }
        let before = (self.sent, self.received, self.shut, self.eof);
        self.read(now, verbs)?;
        self.write(verbs);
        self.finish(now, verbs);
        let after = (self.sent, self.received, self.shut, self.eof);
        Ok(before != after || self.end.is_some())
    }

    fn read(&mut self, now: Instant, verbs: &mut impl Verbs) -> Result<(), String> {
        while self.may_read && !self.eof && now >= self.next_read {
            match verbs.read() {
                Got::Data(chunk) => self.take(&chunk)?,
                Got::Nothing | Got::Broken => self.may_read = false,
                Got::Eof => {
                    self.eof = true;
                    if self.received != self.expects && !self.may_end_early {
                        return self.fail("the stream ended early");
                    }
                }
            }
            if self.plan.reading.every.as_nanos() > 0 && self.may_read {
                self.next_read = now + self.plan.reading.every;
            }
        }
        Ok(())
    }

    fn take(&mut self, data: &[u8]) -> Result<(), String> {
        if data.is_empty() {
            return self.fail("a read gave no bytes and no reason");
        }
        if let Some(position) = self.incoming.first_difference(self.received, data) {
            let offset = (position - self.received) as usize;
            let mut expected = vec![0; data.len()];
            self.incoming.fill(self.received, &mut expected);
            let wrong = data.iter().zip(&expected).filter(|(a, b)| a != b).count();
            return self.fail(&format!(
                "byte {position} is {:#04x} instead of {:#04x}, {wrong} of {} bytes are wrong",
                data[offset],
                expected[offset],
                data.len()
            ));
        }
        self.received += data.len() as u64;
        if self.received > self.expects {
            return self.fail("more came than was sent");
        }
        Ok(())
    }

    fn write(&mut self, verbs: &mut impl Verbs) {
        let may_speak = !self.plan.answers_last || self.eof;
        while self.may_write && may_speak && self.sent < self.plan.send {
            let left = self.plan.send - self.sent;
            let n = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.plan.write_max.max(1));
            self.buffer.resize(n, 0);
            self.outgoing.fill(self.sent, &mut self.buffer);
            let accepted = verbs.write(&self.buffer, self.plan.zero_copy);
            self.sent += accepted.unwrap_or(0) as u64;
            self.may_write = accepted == Some(n);
        }
    }

    fn finish(&mut self, now: Instant, verbs: &mut impl Verbs) {
        let all_sent = self.sent == self.plan.send;
        match self.plan.finish {
            Finish::Shutdown { awaits_end } => {
                let may_shut = !self.plan.answers_last || self.eof;
                if all_sent && may_shut && !self.shut {
                    self.shut = true;
                    verbs.shutdown_write();
                }
                if self.shut && self.eof && !awaits_end {
                    self.end = Some(TaskEnd::GaveBack);
                    verbs.close();
                }
            }
            Finish::Linger { wait } => {
                if self.eof && !self.shut && now >= *self.lingers_until.get_or_insert(now + wait) {
                    self.shut = true;
                    verbs.shutdown_write();
                }
            }
            Finish::Close => {
                if all_sent && self.received == self.expects {
                    self.end = Some(TaskEnd::GaveBack);
                    verbs.close();
                }
            }
            Finish::CloseEarly { after } => {
                if self.received >= after.min(self.expects) || self.eof {
                    self.end = Some(TaskEnd::GaveBack);
                    verbs.close();
                }
            }
            Finish::Abort { after } => {
                if self.received >= after.min(self.expects) || self.eof {
                    self.end = Some(TaskEnd::Aborted);
                    verbs.abort();
                }
            }
        }
    }

    /// When [`Self::pump`] has something to do by itself.
    pub fn next_wakeup(&self) -> Option<Instant> {
        if self.opened.is_none() || self.end.is_some() {
            return None;
        }
        let reading = (self.may_read && !self.eof).then_some(self.next_read);
        let lingering = self.lingers_until.filter(|_| !self.shut);
        reading.or(lingering)
    }

    /// Whether the connection was established, as far as this end knows.
    pub fn was_opened(&self) -> bool {
        self.opened.is_some()
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<TaskEnd> {
        self.end
    }

    /// Whether it has finished its own direction.
    pub fn has_shut(&self) -> bool {
        self.shut
    }

    /// Whether both directions ended regularly for it.
    pub fn has_finished(&self) -> bool {
        self.shut && self.eof
    }

    /// Whether it got all that the peer sent.
    pub fn is_complete(&self) -> bool {
        self.received == self.expects
    }

    /// Bytes received and found right.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What it saw.
    pub fn outcome(&self) -> Outcome {
        // One that does not wait for the peer's end may or may not have heard of it.
        let waits = !matches!(self.plan.finish, Finish::Close | Finish::CloseEarly { .. });
        Outcome {
            name: self.name.clone(),
            opened: self.opened.is_some(),
            sent: self.sent,
            received: self.received,
            peer_closed: waits.then_some(self.peer_closed),
            end_of_stream: waits.then_some(self.eof),
            ending: self.end.map_or_else(String::new, |end| format!("{end:?}")),
        }
    }

    /// One line on where it stands.
    pub fn describe(&self) -> String {
        format!(
            "{}: sent {}/{}, received {}/{}{}{}, {}",
            self.name,
            self.sent,
            self.plan.send,
            self.received,
            self.expects,
            if self.shut { ", shut" } else { "" },
            if self.eof { ", end of stream" } else { "" },
            match (self.end, self.opened) {
                (Some(end), _) => format!("{end:?}"),
                (None, Some(_)) => "open".to_owned(),
                (None, None) => "not open".to_owned(),
            }
        )
    }

    fn expect_open(&self, what: &str) -> Result<(), String> {
        if self.opened.is_none() || self.end.is_some() {
            return self.fail(&format!("{what}, but it is not open"));
        }
        Ok(())
    }

    fn fail<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} ({})", self.describe()))
    }
}

#[cfg(test)]
mod tests;
