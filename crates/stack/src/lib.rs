//! One TCP/IP host on one shard, sans-IO.
//!
//! A [`Stack`] is handed received frames a burst at a time
//! ([`Stack::on_burst`]), the time ([`Stack::on_timeout`]) and the
//! application's calls; it records what is owed, and at the end of the burst
//! [`Stack::poll_transmit`] writes what there is to send into the NIC's
//! buffers. It reads no clock, draws no randomness and holds no thread.
//!
//! Where to look: `input` takes a burst apart, `output` puts frames together,
//! `control` is the built-in control plane (ARP, neighbour discovery, ICMP),
//! `socket` has the application's calls, `flow_table` finds a connection by
//! its four-tuple, `handshake` remembers the SYNs that came, `cookies` has the
//! peers remember those that are too many, `syn_ack` answers both, `timer_wheel` wakes it, `sweep` finds those that have long been silent, `neighbor` knows Ethernet addresses, `fragments` deals with IP fragments
//! and sends ICMP errors, `icmp` takes them in.
#![forbid(unsafe_code)]

mod challenges;
mod closing;
mod config;
mod control;
mod cookies;
mod counters;
mod cut;
mod event;
mod fast_open;
mod fifo;
mod flow_table;
mod fragments;
mod handshake;
mod icmp;
mod id;
mod input;
mod listener;
mod memory;
mod neighbor;
mod options;
mod output;
mod parking;
mod paths;
mod pool;
mod ports;
mod profiles;
mod rate_limit;
mod reassembly;
mod record;
mod reset_limit;
mod route;
mod runs;
mod slots;
mod socket;
mod stack;
mod sweep;
mod syn_ack;
mod time_wait;
mod timer_wheel;
mod urgent;

pub use config::{ConfigError, CookiePolicy, Share, StackConfig};
pub use counters::Counters;
pub use crore_tcp::{
    BbrState, BbrStats, Buffered, CloseReason, CongestionKind, EcnMode, Keepalive, Options, Read, Recovery,
    State, Stats, TcpOption,
};
pub use crore_wire::Steering;
pub use event::{ConnectError, Event, ListenError, OptionError, SocketError};
pub use fast_open::FastOpenPolicy;
pub use flow_table::{FlowHasher, FlowTable};
pub use id::{ConnId, ListenerId};
pub use options::{ConnectOptions, ListenOptions};
pub use reassembly::{Expired, FragmentLimits, PIECES_MAX, Reassembler, Reassembly};
pub use stack::{Stack, StackMemory};
pub use timer_wheel::TimerWheel;
