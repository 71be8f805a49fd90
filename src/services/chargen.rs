//! RFC 864: the rotating pattern, as fast as the peer takes it.

use crore_base::Instant;
use crore_stack::{ConnId, Read, SocketError, Stack};

use super::served::{Desk, Served, Talk};
use super::{AppCounters, Pattern};

/// The character generator.
pub type Chargen = Served<ChargenTalk>;

/// What the character generator does on its connections.
#[derive(Debug)]
pub struct ChargenTalk {
    counters: AppCounters,
    pattern: Pattern,
    /// Bytes for each connection; `None`: until the peer closes.
    limit: Option<u64>,
}

/// How far a connection is.
#[derive(Debug)]
pub struct Position {
    sent: u64,
    /// The write side is shut: all was sent.
    finished: bool,
}

impl Chargen {
    /// A generator of `limit` bytes for each connection (`None`: endless).
    pub fn new(limit: Option<u64>) -> Self {
        Self::of(ChargenTalk {
            counters: AppCounters::default(),
            pattern: Pattern::new(),
            limit,
        })
    }
}

impl ChargenTalk {
    /// Writes until the send buffer refuses.
    fn fill(
        &mut self,
        desk: &mut Desk<Position>,
        stack: &mut Stack,
        conn: ConnId,
    ) -> Result<(), SocketError> {
        let draining = desk.is_draining();
        let Some(position) = desk.state(stack, conn).filter(|p| !p.finished) else {
            return Ok(());
        };
        let limit = self.limit.unwrap_or(u64::MAX);
        let before = position.sent;
        while position.sent < limit && !draining {
            let len = (limit - position.sent).min(Pattern::PIECE_MAX as u64) as usize;
            let accepted = stack.write_chunk(conn, self.pattern.piece(position.sent, len))?;
            position.sent += accepted as u64;
            if accepted < len {
                break;
            }
        }
        self.counters.bytes_out += position.sent - before;
        if position.sent >= limit || draining {
            position.finished = true;
            self.counters.requests += 1;
            stack.shutdown_write(conn);
        }
        Ok(())
    }

    /// Throws away what the peer says, and ends when it does.
    fn drop_input(&mut self, desk: &mut Desk<Position>, stack: &mut Stack, now: Instant, conn: ConnId) {
        loop {
            match stack.read(conn) {
                Ok(Read::Data(chunk)) => self.counters.bytes_in += chunk.len() as u64,
                Ok(Read::Eof) => {
                    let done = desk.state(stack, conn).is_none_or(|p| p.finished);
                    if done || self.limit.is_none() {
                        desk.close(stack, now, conn);
                    }
                    return;
                }
                Ok(Read::WouldBlock) | Err(_) => return,
            }
        }
    }
}

impl Talk for ChargenTalk {
    const NAME: &'static str = "chargen";
    const PORT: u16 = 19;
    type State = Position;

    fn on_opened(&mut self, desk: &mut Desk<Position>, stack: &mut Stack, now: Instant, conn: ConnId) {
        let position = Position {
            sent: 0,
            finished: false,
        };
        desk.put(stack, conn, position);
        self.on_ready(desk, stack, now, conn);
    }

    fn on_ready(&mut self, desk: &mut Desk<Position>, stack: &mut Stack, now: Instant, conn: ConnId) {
        // After an error `Closed` comes by itself.
        if self.fill(desk, stack, conn).is_ok() {
            self.drop_input(desk, stack, now, conn);
        }
    }

    fn on_idle(&mut self, desk: &mut Desk<Position>, stack: &mut Stack, _now: Instant, conn: ConnId) {
        desk.abort(stack, conn);
    }

    fn counters(&self) -> &AppCounters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut AppCounters {
        &mut self.counters
    }
}
