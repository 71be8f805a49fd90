//! What a Crore program is told: one TOML file, and `--set key=value` on top of it.
//!
//! Read first: `keys.rs` (every key, with its unit, range and default), then
//! `docs/CONFIG.md`, which is made of it.
//!
//! Always true: a [`Config`] that [`Config::load`] hands out has passed every
//! check that needs no DPDK; an error names the file (or `--set`) and the key.

mod check;
mod convert;
mod document;
mod error;
mod keys;
mod load;
mod prefix;
mod section;
mod value;

pub use document::{key_tables, splice_key_tables};
pub use error::ConfigError;
pub use keys::{
    Config, CongestionControl, Eal, EalLog, EcnWords, FastOpen, FaultDirection, Faults, HugePages, MemifRole,
    Net, Poll, Serve, StackLimits, SynCookies, Tcp, Wire, WireKind,
};
pub use load::{Assignment, Origin};
pub use prefix::Prefix;
pub use section::{Key, Range, Section};

#[cfg(test)]
mod tests;
