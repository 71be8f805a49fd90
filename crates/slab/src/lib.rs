//! Arrays of a fixed capacity in huge pages: what a stack keeps for every
//! connection lies in them.
//!
//! Ten million records looked up at random miss the TLB at every step in pages
//! of 4 KiB; in pages of 2 MiB a look-up is up to twice as fast.
//!
//! Where to look: `array` is the array, `region` gets its memory.

mod array;
mod region;

pub use array::{HugeVec, prefetch_all};
pub use region::{MemoryError, Pages};
