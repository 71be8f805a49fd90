//! The bounded way into a shard from other threads.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

/// The mailbox was full; here is the command back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the shard's mailbox is full")]
pub struct Full<C>(pub C);

/// The sending side, for any thread.
#[derive(Debug)]
pub struct Mailbox<C>(Arc<ArrayQueue<C>>);

/// A mailbox for up to `capacity` commands, and the side that the shard reads.
pub fn mailbox<C>(capacity: usize) -> (Mailbox<C>, Mailbox<C>) {
    let queue = Arc::new(ArrayQueue::new(capacity.max(1)));
    (Mailbox(queue.clone()), Mailbox(queue))
}

impl<C> Mailbox<C> {
    /// Leaves a command for the shard; gives it back when the mailbox is full.
    pub fn send(&self, command: C) -> Result<(), Full<C>> {
        self.0.push(command).map_err(Full)
    }

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the oldest command.
    pub fn receive(&self) -> Option<C> {
        self.0.pop()
    }
}

impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_gives_the_command_back() {
        let (outside, inside) = mailbox(2);
        assert_eq!(
            (outside.send(1), outside.send(2)),
            (Ok(()), Ok(())),
            "room for two"
        );
        assert_eq!(outside.send(3), Err(Full(3)), "not for a third");
        assert_eq!(inside.receive(), Some(1), "in order");
        assert_eq!(outside.send(3), Ok(()), "room again");
    }
}
