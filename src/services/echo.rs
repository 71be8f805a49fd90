//! RFC 862: what comes goes back, in the very buffers in which it came.

use crore_base::Instant;
use crore_netbuf::Chunk;
use crore_stack::{ConnId, Read, SocketError, Stack};

use super::AppCounters;
use super::served::{Desk, Served, Talk};

/// The echo service.
pub type Echo = Served<EchoTalk>;

/// What the echo service does on its connections. A peer that does not read is
/// not read from either: what its send buffer refuses waits here, at most one
/// chunk, and reading goes on when there is room.
#[derive(Debug, Default)]
pub struct EchoTalk {
    counters: AppCounters,
}

impl Echo {
    /// An echo service.
    pub fn new() -> Self {
        Self::of(EchoTalk::default())
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::new()
    }
}

enum Flow {
    Open,
    Ended,
}

impl EchoTalk {
    fn echo(&mut self, desk: &mut Desk<Chunk>, stack: &mut Stack, conn: ConnId) -> Result<Flow, SocketError> {
        if Desk::<Chunk>::has_state(stack, conn)
            && let Some(rest) = desk.take(stack, conn)
            && !self.send(desk, stack, conn, rest)?
        {
            return Ok(Flow::Open);
        }
        loop {
            match stack.read(conn)? {
                Read::Data(chunk) => {
                    self.counters.requests += 1;
                    self.counters.bytes_in += chunk.len() as u64;
                    if !self.send(desk, stack, conn, chunk)? {
                        return Ok(Flow::Open);
                    }
                }
                Read::WouldBlock if desk.is_draining() => return Ok(Flow::Ended),
                Read::WouldBlock => return Ok(Flow::Open),
                Read::Eof => return Ok(Flow::Ended),
            }
        }
    }

    /// Writes a chunk; `false` when a rest of it must wait for room.
    fn send(
        &mut self,
        desk: &mut Desk<Chunk>,
        stack: &mut Stack,
        conn: ConnId,
        mut chunk: Chunk,
    ) -> Result<bool, SocketError> {
        let len = chunk.len();
        let accepted = stack.write_chunk(conn, chunk.clone())?;
        self.counters.bytes_out += accepted as u64;
        if accepted == len {
            return Ok(true);
        }
        chunk.advance(accepted);
        desk.put(stack, conn, chunk);
        Ok(false)
    }
}

impl Talk for EchoTalk {
    const NAME: &'static str = "echo";
    const PORT: u16 = 7;
    type State = Chunk;

    fn on_ready(&mut self, desk: &mut Desk<Chunk>, stack: &mut Stack, now: Instant, conn: ConnId) {
        match self.echo(desk, stack, conn) {
            Ok(Flow::Ended) => desk.close(stack, now, conn),
            // After an error `Closed` tells why, and comes by itself.
            Ok(Flow::Open) | Err(_) => {}
        }
    }

    fn counters(&self) -> &AppCounters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut AppCounters {
        &mut self.counters
    }
}
