//! Calls and their answers, as values.

use core::fmt;
use std::net::SocketAddr;

use crore_base::Instant;

/// A file number of a [`super::Host`].
pub type Fd = i32;

/// An error of a call, by POSIX's number as Linux has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// An address that a program hands over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// IPv4 or IPv6.
    Ip(SocketAddr),
    /// `AF_UNSPEC`: the peer is to be forgotten.
    Unspecified,
    /// Of some other family, or too short for its own.
    Other,
}

/// What a program asks. Numbers are those of Linux' headers.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The parameters have the names that the manual pages give them.
pub enum Call {
    Socket {
        domain: i32,
        kind: i32,
        protocol: i32,
    },
    Bind {
        fd: Fd,
        address: Address,
    },
    Listen {
        fd: Fd,
        backlog: i32,
    },
    /// accept and accept4; gives the new file and [`Output::Address`].
    Accept {
        fd: Fd,
        flags: i32,
    },
    Connect {
        fd: Fd,
        address: Address,
    },
    /// read, readv, recv, recvfrom, recvmsg: `len` is all the room together.
    Receive {
        fd: Fd,
        len: usize,
        flags: i32,
    },
    /// write, writev, send, sendto, sendmsg.
    Send {
        fd: Fd,
        data: Vec<u8>,
        flags: i32,
        to: Option<Address>,
    },
    Shutdown {
        fd: Fd,
        how: i32,
    },
    Close {
        fd: Fd,
    },
    Fcntl {
        fd: Fd,
        command: i32,
        argument: i64,
    },
    /// `value` is what the argument points to; gives [`Output::Int`] where
    /// something is to be written back.
    Ioctl {
        fd: Fd,
        request: u64,
        value: i32,
    },
    /// Gives [`Output::Bytes`], at most `len` of them.
    GetOption {
        fd: Fd,
        level: i32,
        name: i32,
        len: usize,
    },
    SetOption {
        fd: Fd,
        level: i32,
        name: i32,
        value: Vec<u8>,
    },
    /// getsockname; gives [`Output::Address`].
    LocalAddress {
        fd: Fd,
    },
    /// getpeername; gives [`Output::Address`].
    PeerAddress {
        fd: Fd,
    },
    /// Files and the events asked for; gives [`Output::Poll`]. The time-out is
    /// in milliseconds, negative for none.
    Poll {
        fds: Vec<(Fd, i16)>,
        timeout_ms: i32,
    },
    EpollCreate,
    EpollControl {
        epoll: Fd,
        operation: i32,
        fd: Fd,
        events: u32,
        data: u64,
    },
    /// Gives [`Output::Epoll`].
    EpollWait {
        epoll: Fd,
        most: usize,
        timeout_ms: i32,
    },
    /// Gives [`Output::Pipe`].
    Pipe,
    Splice {
        from: Fd,
        to: Fd,
        len: usize,
        flags: u32,
    },
}

/// What a call gives besides its value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Output {
    /// Nothing.
    #[default]
    None,
    /// An address.
    Address(SocketAddr),
    /// Received bytes, and `msg_flags`. (With `MSG_TRUNC` there are fewer bytes
    /// than the call's value says: they were thrown away.)
    Data {
        /// The bytes.
        bytes: Vec<u8>,
        /// `msg_flags` of recvmsg.
        flags: i32,
        /// With `TCP_INQ`: how much is left to be read, the end counted as a byte.
        /// recvmsg hands it over as a control message, `TCP_CM_INQ`.
        inq: Option<i32>,
    },
    /// An option's value.
    Bytes(Vec<u8>),
    /// An ioctl's.
    Int(i32),
    /// `revents`, in the order of the question.
    Poll(Vec<i16>),
    /// Events and the word that goes with them.
    Epoll(Vec<(u32, u64)>),
    /// Where to read, and where to write.
    Pipe(Fd, Fd),
}

/// The answer to a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its value, as the call would return it, or the error.
    pub result: Result<i64, Errno>,
    /// What it gives besides.
    pub output: Output,
    /// When it was done.
    pub at: Instant,
}

/// A call that waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(pub(super) u64);

/// What became of a call at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is done.
    Ready(Reply),
    /// A program would sleep in it now; see [`super::Host::reply`].
    WouldBlock(Ticket),
}

impl Errno {
    /// The name, as in `ECONNRESET`, of those that a socket can give.
    pub const fn name(self) -> Option<&'static str> {
        let mut at = 0;
        while at < NAMES.len() {
            if NAMES[at].0 == self.0 {
                return Some(NAMES[at].1);
            }
            at += 1;
        }
        None
    }

    /// The error of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, n)| *n == name).map(|&(n, _)| Self(n))
    }
}

macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// The errors that a socket can give.
const NAMES: &[(i32, &str)] = names! {
    EPERM ENOENT EINTR EIO EBADF EAGAIN ENOMEM EACCES EFAULT EEXIST EINVAL ENFILE EMFILE ENOTTY ESPIPE EPIPE
    ENOSYS EPROTO ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT
    EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED
    ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY
    EINPROGRESS ECANCELED ELOOP
};

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
