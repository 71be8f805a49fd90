//! The applications that come with Crore: `http`, `echo`, `discard`, `chargen`.
//!
//! Each is a [`Service`](crore_shard::Service) that runs to completion on its
//! shard's thread, and an [`App`], which is what the program asks of it beyond
//! events: to listen, to finish, to count.
//!
//! Always true: a connection is in its application's [`Roster`] from `Opened`
//! until `Closed` or until the application gave it back, whichever comes first.

mod app;
mod chargen;
mod discard;
mod echo;
pub mod http;
mod pattern;
mod roster;

pub use app::{App, AppCounters, Families, Listeners};
pub use chargen::Chargen;
pub use discard::Discard;
pub use echo::Echo;
pub use http::Http;
pub use pattern::{PATTERN_PERIOD, Pattern};
pub use roster::Roster;

#[cfg(test)]
mod tests;
