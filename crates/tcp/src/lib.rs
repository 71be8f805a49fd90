//! One TCP connection, sans-IO.
//!
//! A [`Connection`] is handed segments, time and the application's wishes, and
//! says what to send, when to wake it and what happened. It reads no clock,
//! draws no randomness, holds no thread and does no I/O, so that the same code
//! runs on a NIC, in a simulation under virtual time, and behind a conformance
//! tool.
//!
//! Input never answers at once: it *records* what is owed. Output is drawn at
//! the end of a burst, in two steps, so that nothing moves before a transmit
//! buffer was had:
//!
//! ```text
//! on_segment* -> poll_event* -> read/write -> { plan_transmit -> copy_payload -> commit_transmit }*
//! ```
//!
//! Read first: RFC 9293. Then, where they apply: RFC 5681 and 6582 (congestion,
//! recovery), 6298 (timer), 7323 (timestamps, window scale), 2018, 2883, 8985
//! and 9937 (SACK), 5961 (blind attacks), 6528 (initial sequence numbers), 4987
//! (SYN floods), 3168 and 9768 (ECN), 6191 and 1337 (TIME-WAIT), 5927 (ICMP).
//!
//! Always true: nothing that comes from the wire and nothing that the
//! application does out of turn makes this crate panic or grow without a bound.
#![forbid(unsafe_code)]

mod assembler;
mod config;
mod congestion;
mod connection;
mod cookie;
mod ecn;
mod event;
mod fast_open;
mod half_open;
mod isn;
mod options;
mod pacing;
mod park;
mod path_mtu;
mod prr;
mod rack;
mod receive;
mod recovery;
mod reset;
mod rtt;
mod send;
mod sent;
mod state;
mod stats;
mod timestamps;

pub use config::{Config, CongestionKind, Path};
pub use congestion::{BbrState, BbrStats};
pub use connection::{Challenges, Connection, Disposition, Grant, Plan, Read, ReadError, WriteError};
pub use cookie::SynCookies;
pub use ecn::{EcnBytes, EcnMode, EcnPolicy, SynAgain};
pub use event::{CloseReason, Event, Unreachable};
pub use fast_open::{CookieVerdict, FastOpenKeys};
pub use half_open::HalfOpen;
pub use isn::IsnGenerator;
pub use options::{Keepalive, Options, TcpOption};
pub use park::{PARKED_LEN, Parked, Stamp};
pub use path_mtu::{MtuProbing, PathMtuVerdict};
pub use reset::reset_for;
pub use state::State;
pub use stats::{Buffered, Recovery, Stats};
