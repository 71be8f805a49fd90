//! Handles that an application holds.

use core::fmt;
use core::marker::PhantomData;

/// A connection of one stack. Stale handles are recognised: the slot's
/// generation moves on each time it is reused.
///
/// It is not `Send`, since it means nothing on another shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    not_send: PhantomData<*const ()>,
}

impl ConnId {
    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        Self {
            slot,
            generation,
            not_send: PhantomData,
        }
    }

    /// The slot's index, below `max_connections`: an application can index its
    /// own per-connection state by it.
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn#{}.{}", self.slot, self.generation)
    }
}

/// A listener of one stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub(crate) u32);
