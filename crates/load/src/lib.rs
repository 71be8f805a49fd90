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
mod http;
mod pace;
mod pattern;
mod report;

pub use bounce::{Bounce, BounceReport};
pub use bulk::{Bulk, BulkConfig, Direction};
pub use client::{Client, LoadClient, LoadConfig, OPENING, Workload};
pub use crowd::{Command, Crowd, CrowdConfig, PhaseReport};
pub use pace::Pace;
pub use pattern::{Pattern, Periodic};
pub use report::{Latencies, LatencySummary, LoadReport};
