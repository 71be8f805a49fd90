//! What a stack tells the application, and what it answers to its calls.

use crore_tcp::CloseReason;
use thiserror::Error;

use crate::{ConnId, ListenerId};

/// Something that happened to a connection. Edge-triggered: `Readable` says
/// that there is more to read than when it was last said, so read until
/// [`crore_tcp::Read::WouldBlock`] or remember to come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The connection is established: one that a listener got, or one of ours.
    Opened {
        /// Which connection.
        conn: ConnId,
        /// The listener that it came to; `None` for one that this host opened.
        listener: Option<ListenerId>,
    },
    /// Bytes can be read.
    Readable {
        /// Which connection.
        conn: ConnId,
    },
    /// The send buffer has room again after a write that it refused in part.
    Writable {
        /// Which connection.
        conn: ConnId,
    },
    /// The peer will send no more; what it sent can still be read, and more can be written.
    PeerClosed {
        /// Which connection.
        conn: ConnId,
    },
    /// The peer has marked data that was not read yet as urgent:
    /// [`crate::Stack::urgent_mark`] says where it ends. It is read like any other.
    Urgent {
        /// Which connection.
        conn: ConnId,
    },
    /// Nothing has moved, either way, for [`crate::StackConfig::idle_timeout`].
    /// Said again after each further such time.
    Idle {
        /// Which connection.
        conn: ConnId,
    },
    /// The connection is over, and the handle is dead.
    Closed {
        /// Which connection it was.
        conn: ConnId,
        /// Why it ended.
        reason: CloseReason,
        /// The application's own word, as it last stood.
        user: u64,
    },
}

/// Why a call on a connection could not be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SocketError {
    /// The handle is stale: the connection ended, or was given back by `close`.
    #[error("the connection is gone")]
    Gone,
    /// The write side was shut down, or the connection is over.
    #[error("the connection can't be written any more")]
    WriteClosed,
    /// The connection was cut off.
    #[error("the connection can't be read any more")]
    ReadClosed,
}

/// Why options could not be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum OptionError {
    /// The handle is stale, or there is no such listener.
    #[error("the connection or listener is gone")]
    Gone,
    /// As many different sets of options are in use as can be.
    #[error("too many different sets of options")]
    TooMany,
}

/// Why a listener could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListenError {
    /// Another listener has this address and port.
    #[error("another listener has this address and port")]
    InUse,
    /// The address is none of this host's.
    #[error("the address is none of this host's")]
    NotOurAddress,
    /// Port 0 can't be listened on.
    #[error("port 0 can't be listened on")]
    NoPort,
    /// As many different sets of options are in use as can be.
    #[error("too many different sets of options")]
    TooManyOptions,
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ConnectError {
    /// All `max_connections` slots are taken.
    #[error("all connection slots are taken (stack.max_connections)")]
    Exhausted,
    /// No free local port for this destination.
    #[error("no free local port for this destination")]
    PortsExhausted,
    /// No route to the destination.
    #[error("no route to the destination")]
    NoRoute,
    /// No address of this host fits the destination's family, or the one asked for is not ours.
    #[error("no local address for this destination")]
    NoLocalAddress,
    /// The destination can't be connected to (port 0, multicast, unspecified).
    #[error("the destination can't be connected to")]
    BadDestination,
    /// The four-tuple is in use.
    #[error("the four-tuple is in use")]
    InUse,
    /// The replies would come to another shard.
    #[error("replies to this port come to another shard")]
    OtherShard,
    /// As many different sets of options are in use as can be.
    #[error("too many different sets of options")]
    TooManyOptions,
}
