//! What a file number stands for.

use std::collections::{BTreeMap, VecDeque};

use super::Fd;
use super::socket::SocketId;

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: Kind,
    /// `O_NONBLOCK`.
    pub(super) nonblocking: bool,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Kind {
    Socket(SocketId),
    Epoll(Epoll),
    /// An end of a pipe, by the pipe's number.
    Pipe {
        pipe: u64,
        writes: bool,
    },
}

/// A pipe: bytes on their way from one file to another.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) bytes: VecDeque<u8>,
    pub(super) has_reader: bool,
    pub(super) has_writer: bool,
}

impl Pipe {
    /// As many bytes as Linux lets wait in one.
    const CAPACITY: usize = 65_536;

    pub(super) fn room(&self) -> usize {
        Self::CAPACITY - self.bytes.len()
    }
}

/// The files that an epoll watches.
#[derive(Debug, Default)]
pub(super) struct Epoll {
    pub(super) items: BTreeMap<Fd, Item>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Item {
    /// What is asked for; none after `EPOLLONESHOT` has fired.
    pub(super) events: u32,
    pub(super) data: u64,
    /// The socket's count of wakes when it was last told of, for `EPOLLET`;
    /// none: it is to be told of in any case.
    pub(super) seen: Option<u64>,
}
