//! The poll loop that drives one stack on one core, and the mailbox into it.
//!
//! A [`Shard`] owns a NIC's queue pair, a stack and the application's
//! [`Service`]. [`Shard::turn`] is one bounded turn of the loop: reception,
//! timers, application, transmission. Whoever calls it reads the clock, so a
//! simulation drives the same loop under virtual time.
//!
//! A `Shard` stays on the thread that made it. A [`Mailbox`] is the way in from
//! outside: the service holds the reading side and empties it in
//! [`Service::on_turn`]. [`Peers`] is how the shards of one program hand each
//! other the frames that came to the wrong one.
#![forbid(unsafe_code)]

mod mailbox;
mod peers;
mod service;
mod shard;
mod spread;

pub use mailbox::{Full, Mailbox, mailbox};
pub use peers::{PeerCounters, Peers};
pub use service::Service;
pub use shard::{Shard, Turn};
pub use spread::Spread;
