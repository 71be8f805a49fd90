//! Carrying calls out: an attempt answers, or says that it has to wait.

mod data;
pub(super) mod early;
mod open;
mod options;
mod ready;

pub(super) use open::FIRST_PORT;

use crore_base::{Duration, Instant};

use super::call::{Call, Errno, Fd, Output};
use super::file::{File, Kind};
use super::host::Host;
use super::socket::{Socket, SocketId};

/// What a call gives: its value and what goes with it, or an error.
pub(super) type Answer = Result<(i64, Output), Errno>;
/// An answer, or none yet.
pub(super) type Attempt = Option<Answer>;

/// What a call that waits has done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It has waited before: what is done once is done.
    pub(super) has_begun: bool,
    /// When it gives up, if ever.
    pub(super) deadline: Option<Instant>,
    /// Bytes sent.
    pub(super) sent: usize,
    /// Bytes that went with a SYN which is not acknowledged yet.
    pub(super) early: usize,
    /// Bytes received.
    pub(super) received: Vec<u8>,
}

impl Progress {
    /// What it would answer if it were cut short now; none if it has nothing.
    pub(super) fn so_far(self) -> Option<Answer> {
        if self.sent > 0 {
            Some(done(self.sent as i64))
        } else if !self.received.is_empty() {
            Some(Ok((
                self.received.len() as i64,
                Output::Data {
                    bytes: self.received,
                    flags: 0,
                    inq: None,
                },
            )))
        } else {
            None
        }
    }
}

impl Host {
    /// Tries a call. `None`: it has to wait, and will be tried again.
    pub(super) fn attempt(&mut self, call: &mut Call, progress: &mut Progress) -> Attempt {
        match call {
            Call::Socket {
                domain,
                kind,
                protocol,
            } => Some(self.socket(*domain, *kind, *protocol)),
            Call::Bind { fd, address } => Some(self.bind(*fd, *address)),
            Call::Listen { fd, backlog } => Some(self.listen(*fd, *backlog)),
            Call::Accept { fd, flags } => self.accept(*fd, *flags, progress),
            Call::Connect { fd, address } => self.connect(*fd, *address, progress),
            Call::Receive { fd, len, flags } => self.receive(*fd, *len, *flags, progress),
            Call::Send { fd, data, flags, to } => self.send(*fd, data, *flags, *to, progress),
            Call::Shutdown { fd, how } => Some(self.shutdown(*fd, *how)),
            Call::Close { fd } => self.close(*fd, progress),
            Call::Fcntl {
                fd,
                command,
                argument,
            } => Some(self.fcntl(*fd, *command, *argument)),
            Call::Ioctl { fd, request, value } => Some(self.ioctl(*fd, *request, *value)),
            Call::GetOption { fd, level, name, len } => Some(self.get_option(*fd, *level, *name, *len)),
            Call::SetOption {
                fd,
                level,
                name,
                value,
            } => Some(self.set_option(*fd, *level, *name, value)),
            Call::LocalAddress { fd } => Some(self.local_address(*fd)),
            Call::PeerAddress { fd } => Some(self.peer_address(*fd)),
            Call::Poll { fds, timeout_ms } => self.poll(fds, *timeout_ms, progress),
            Call::EpollCreate => Some(self.epoll_create()),
            Call::EpollControl {
                epoll,
                operation,
                fd,
                events,
                data,
            } => Some(self.epoll_control(*epoll, *operation, *fd, *events, *data)),
            Call::EpollWait {
                epoll,
                most,
                timeout_ms,
            } => self.epoll_wait(*epoll, *most, *timeout_ms, progress),
            Call::Pipe => Some(self.pipe()),
            Call::Splice { from, to, len, flags } => self.splice(*from, *to, *len, *flags, progress),
        }
    }

    pub(super) fn file(&mut self, fd: Fd) -> Result<&mut File, Errno> {
        self.files.get_mut(&fd).ok_or(Errno(libc::EBADF))
    }

    /// The socket that a file number stands for.
    pub(super) fn socket_id(&self, fd: Fd) -> Result<SocketId, Errno> {
        match self.files.get(&fd) {
            Some(File {
                kind: Kind::Socket(id),
                ..
            }) => Ok(*id),
            Some(_) => Err(Errno(libc::ENOTSOCK)),
            None => Err(Errno(libc::EBADF)),
        }
    }

    pub(super) fn socket_mut(&mut self, fd: Fd) -> Result<&mut Socket, Errno> {
        let id = self.socket_id(fd)?;
        self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))
    }

    /// Whether a call on `fd` may not sleep.
    pub(super) fn is_nonblocking(&self, fd: Fd) -> bool {
        self.files.get(&fd).is_some_and(|file| file.nonblocking)
    }

    /// A call has to wait. At most for `timeout_ms` from its beginning on, if
    /// there is such a limit: then, or if it `may_not`, `otherwise` is the answer.
    pub(super) fn wait(
        &self,
        progress: &mut Progress,
        may_not: bool,
        timeout_ms: Option<u64>,
        otherwise: Errno,
    ) -> Attempt {
        if may_not {
            return Some(Err(otherwise));
        }
        if !core::mem::replace(&mut progress.has_begun, true) {
            progress.deadline = timeout_ms.map(|ms| self.now + Duration::from_millis(ms));
        }
        let is_over = progress.deadline.is_some_and(|deadline| self.now >= deadline);
        is_over.then_some(Err(otherwise))
    }
}

/// The answer of a call that gives nothing but its value.
pub(super) fn done(value: i64) -> Answer {
    Ok((value, Output::None))
}

/// The answer of a call that fails.
pub(super) fn fail<T>(errno: i32) -> Result<T, Errno> {
    Err(Errno(errno))
}

/// What is a limit in milliseconds to `SO_RCVTIMEO`, where 0 is none.
pub(super) fn limit(timeout_ms: u64) -> Option<u64> {
    (timeout_ms > 0).then_some(timeout_ms)
}
