//! One host with POSIX sockets, in virtual time: a real [`crore_stack::Stack`]
//! behind calls as programs make them, raw IP packets in and out.
//!
//! A [`Host`] holds no thread and reads no clock. [`Host::call`] carries out a
//! [`Call`]; one that has to wait answers with a [`Ticket`], is tried again
//! whenever anything has happened, and its [`Reply`] says when it was done. Time
//! moves by [`Host::advance`] alone. So a script runner sits on it (one thread,
//! time that jumps) as well as a library that blocks real threads
//! (`crates/packetdrill`).
//!
//! Errors, flags and option values are those of Linux. No signal is ever raised.
//!
//! ```text
//!  Call -> call.rs   -> host.rs (clock, packets, who waits) -> Stack
//!             |           calls/open.rs     socket, bind, listen, accept, connect, close
//!             |           calls/data.rs     receiving and sending
//!             |           calls/early.rs    Fast Open: data with the SYN
//!             |           calls/options.rs  get- and setsockopt, fcntl, ioctl
//!             |           calls/ready.rs    poll and epoll
//!             v
//!           Reply       socket.rs what a socket is, info.rs struct tcp_info,
//!                       wire.rs the link that is hidden, knobs.rs what a run may choose
//! ```

mod call;
mod calls;
mod file;
mod host;
mod info;
mod knobs;
mod socket;
mod wire;

pub use call::{Address, Call, Errno, Fd, Outcome, Output, Reply, Ticket};
pub use host::{Endpoints, Host, HostError, Packet};
pub use info::TCP_INFO_LEN;
pub use knobs::{CongestionName, EcnKnob, EcnWord, KnobError, Knobs, SynOptionOrder, WindowScaleKnob};
