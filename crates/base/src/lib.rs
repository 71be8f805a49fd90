//! The vocabulary that every layer of Crore speaks: time, sequence numbers,
//! addresses, and the reasons for throwing a packet away.
//!
//! Nothing here does I/O, reads a clock or allocates after construction.
#![forbid(unsafe_code)]

mod address;
mod checksum;
mod drop_reason;
mod seq;
mod time;

pub use address::{FourTuple, MacAddr};
pub use checksum::RxChecksum;
pub use drop_reason::{DropCounters, DropReason};
pub use seq::{SeqNum, WindowScale};
pub use time::{Duration, Instant};
