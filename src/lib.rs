//! Crore: a kernel-bypass TCP stack on DPDK, for servers with very many connections.
//!
//! This library is what an application that runs to completion needs: the
//! [`Service`] that it implements, the [`Stack`] that it speaks to, the
//! [`Shard`] that drives both, and the program's own [`services`] and
//! [`config`]. The program `crore` puts a DPDK port under it.
//!
//! A service is told what happened and answers at once; nothing waits. This one
//! says a line to each client and closes:
//!
//! ```
//! use crore::{Event, Instant, Service, Stack};
//!
//! struct Greeter {
//!     greeted: u64,
//! }
//!
//! impl Service for Greeter {
//!     fn on_event(&mut self, stack: &mut Stack, now: Instant, event: Event) {
//!         if let Event::Opened { conn, .. } = event {
//!             if stack.write(conn, b"hello\r\n").is_ok() {
//!                 self.greeted += 1;
//!             }
//!             stack.close(now, conn);
//!         }
//!     }
//! }
//!
//! // Two NICs joined in memory; a program takes a DPDK port instead.
//! let (ours, theirs) = crore::nic::sim::link(Default::default());
//! # let _ = theirs;
//! let config = crore::StackConfig {
//!     addresses: vec![("10.77.0.2".parse().unwrap(), 24)],
//!     ..Default::default()
//! };
//! let mut stack = Stack::new(config, crore::nic::Nic::capabilities(&ours), [7; 16]).unwrap();
//! stack.listen("0.0.0.0:7000".parse().unwrap(), 64).unwrap();
//! let mut shard = crore::Shard::new(ours, stack, Greeter { greeted: 0 });
//! shard.turn(Instant::ZERO);
//! ```
#![forbid(unsafe_code)]

pub mod config;
pub mod services;

pub use crore_base::{DropCounters, DropReason, Duration, FourTuple, Instant, MacAddr};
pub use crore_netbuf::Chunk;
pub use crore_nic as nic;
pub use crore_shard::{Mailbox, PeerCounters, Peers, Service, Shard, Spread, Turn, mailbox};
pub use crore_stack::{
    BbrState, BbrStats, Buffered, CloseReason, CongestionKind, ConnId, ConnectError, ConnectOptions,
    Counters, EcnMode, Event, Keepalive, ListenError, ListenOptions, ListenerId, OptionError, Options, Read,
    Recovery, Share, SocketError, Stack, StackConfig, StackMemory, State, Stats, Steering, TcpOption,
};
