//! The seam between a stack and what carries its frames.
//!
//! [`Nic`] is one receive queue and one transmit queue that belong to one
//! thread: a DPDK port (crate `dpdk`), or here a simulated link under virtual
//! time ([`sim`]) and a wrapper that loses, doubles, reorders, corrupts, delays
//! and marks what goes through any of them ([`fault`]).
//!
//! Nothing here reads a clock: each call that depends on time is handed `now`.
#![forbid(unsafe_code)]

mod ecn;
pub mod fault;
mod middlebox;
mod nic;
pub mod prng;
pub mod sim;
pub mod tso;

pub use nic::{BURST, Capabilities, MAX_FRAME, Nic, RxFrame, TxMeta};
