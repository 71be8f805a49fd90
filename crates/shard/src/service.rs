//! What an application implements to run on the shard's own thread.

use crore_base::Instant;
use crore_stack::{Event, Stack};

/// An application that runs to completion: each call handles what has happened
/// and returns, and nothing else runs on the core meanwhile.
pub trait Service {
    /// Something happened to a connection.
    fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event);

    /// Called once a turn, after the turn's events.
    fn on_turn(&mut self, stack: &mut Stack, now: Instant) {
        let _ = (stack, now);
    }

    /// When [`Self::on_turn`] wants to be called even though nothing happens;
    /// an idle shard sleeps until then.
    fn next_wakeup(&self) -> Option<Instant> {
        None
    }
}
