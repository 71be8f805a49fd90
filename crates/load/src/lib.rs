//! A load generator: a client application on the stack, that checks every byte
//! that it gets back.
//!
//! [`LoadClient`] is a [`crore_shard::Service`]: it opens connections, keeps one
//! request outstanding on each (so an overloaded server slows it down instead of
//! being buried), verifies the replies and measures their latency.
#![forbid(unsafe_code)]

mod bounce;
mod client;
mod crowd;
mod dice;
mod http;
mod pattern;
mod report;

pub use bounce::{Bounce, BounceReport};
pub use client::{LoadClient, LoadConfig, Workload};
pub use crowd::{Command, Crowd, CrowdConfig, PhaseReport};
pub use pattern::Pattern;
pub use report::{LatencySummary, LoadReport};
