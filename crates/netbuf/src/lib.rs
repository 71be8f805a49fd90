//! Reference-counted packet bytes, on the heap or in a NIC's packet buffer,
//! and queues of them.
//!
//! A [`Chunk`] is a view of bytes that somebody owns: a heap block, a packet
//! buffer (mbuf) of a NIC's pool, or the program itself. Cutting and cloning it
//! never copies and never allocates, so that received data reaches the
//! application as the bytes that the NIC wrote. A [`ByteQueue`] is an ordered
//! run of chunks: the send and receive queues of a connection.
//!
//! Nothing here may leave its thread: the counts are not atomic, and both types
//! are `!Send` and `!Sync`:
//!
//! ```compile_fail
//! fn travels<T: Send>(_: T) {}
//! travels(crore_netbuf::Chunk::empty());
//! ```

mod chunk;
mod heap;
mod queue;

pub use chunk::{Chunk, ExternalVtable};
pub use heap::live_heap_blocks;
pub use queue::ByteQueue;
