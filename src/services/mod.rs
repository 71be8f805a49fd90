//! The applications that come with Crore: `http`, `echo`, `discard`, `chargen`.
//!
//! Each is a [`Service`](crore_shard::Service) that runs to completion on its
//! shard's thread, and an [`App`], which is what the program asks of it beyond
//! events: to listen, to finish, to count.
//!
//! What they have in common is in `served`; each of them says, as a [`Talk`],
//! what it does on its connections.

mod app;
mod chargen;
mod discard;
mod echo;
pub mod http;
mod pattern;
mod served;

pub use app::{App, AppCounters, Families, Listeners};
pub use chargen::Chargen;
pub use discard::Discard;
pub use echo::Echo;
pub use http::Http;
pub use pattern::{PATTERN_PERIOD, Pattern};
pub use served::{Desk, Served, Talk};

#[cfg(test)]
mod tests;
