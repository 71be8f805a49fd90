//! A load generator: a client application on the stack, that checks every byte
//! that it gets back.
//!
//! [`LoadClient`] is a [`crore_shard::Service`]: it opens connections, keeps one
//! request outstanding on each (so an overloaded server slows it down instead of
//! being buried), verifies the replies and measures their latency.
#![forbid(unsafe_code)]

mod bounce;
mod bulk;
mod client;
mod crowd;
mod dice;
mod flood;
mod http;
mod pace;
mod pattern;
mod report;

pub use bounce::{Bounce, BounceReport};
pub use bulk::{Bulk, BulkConfig, Direction};
pub use client::{LoadClient, LoadConfig, OPENING, Workload};
pub use crowd::{Command, Crowd, CrowdConfig, PhaseReport};
pub use flood::{FloodNic, FloodReport};
pub use pace::Pace;
pub use pattern::{Pattern, Periodic};
pub use report::{Latencies, LatencySummary, LoadReport};

use crore_base::Instant;
use crore_shard::Service;
use crore_stack::Stack;

/// A client application that ends by itself.
pub trait Client: Service {
    /// Whether the run is over.
    fn is_finished(&self) -> bool;
    /// Requests answered so far.
    fn requests(&self) -> u64;
    /// Connections begun and not yet ended.
    fn open(&self) -> usize;
    /// The figures so far, as of `now`.
    fn report(&self, now: Instant) -> LoadReport;
    /// Ends the run: nothing more is asked, and every connection is ended. It
    /// comes to its end by itself when all is done or the time is over.
    fn finish(&mut self, stack: &mut Stack, now: Instant);
}
