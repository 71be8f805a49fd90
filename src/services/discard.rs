//! RFC 863: what comes is counted and thrown away.

use crore_base::Instant;
use crore_stack::{ConnId, Read, Stack};

use super::AppCounters;
use super::served::{Desk, Served, Talk};

/// The discard service.
pub type Discard = Served<DiscardTalk>;

/// What the discard service does on its connections.
#[derive(Debug, Default)]
pub struct DiscardTalk {
    counters: AppCounters,
}

impl Discard {
    /// A discard service.
    pub fn new() -> Self {
        Self::of(DiscardTalk::default())
    }
}

impl Default for Discard {
    fn default() -> Self {
        Self::new()
    }
}

impl Talk for DiscardTalk {
    const NAME: &'static str = "discard";
    const PORT: u16 = 9;
    type State = ();

    fn on_ready(&mut self, desk: &mut Desk<()>, stack: &mut Stack, now: Instant, conn: ConnId) {
        loop {
            match stack.read(conn) {
                Ok(Read::Data(chunk)) => {
                    self.counters.requests += 1;
                    self.counters.bytes_in += chunk.len() as u64;
                }
                Ok(Read::Eof) => return desk.close(stack, now, conn),
                // After an error `Closed` comes by itself.
                Ok(Read::WouldBlock) | Err(_) => return,
            }
        }
    }

    /// The write side is shut, by which a polite peer knows that it should end;
    /// what it still sends is still taken.
    fn on_drain(&mut self, _desk: &mut Desk<()>, stack: &mut Stack, _now: Instant, conn: ConnId) {
        stack.shutdown_write(conn);
    }

    fn counters(&self) -> &AppCounters {
        &self.counters
    }

    fn counters_mut(&mut self) -> &mut AppCounters {
        &mut self.counters
    }
}
