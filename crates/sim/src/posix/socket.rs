//! A socket: what it has been told, what it has heard, how it looks to poll.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crore_stack::{CloseReason, ConnId, ListenerId, Stack, State};

use super::Errno;
use super::knobs::CongestionName;

/// A socket's name inside a host. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SocketId(pub(super) u64);

/// A TCP socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// Whether it was made for IPv6.
    pub(super) is_ipv6: bool,
    pub(super) options: Options,
    /// What it was bound to, or is connected from.
    pub(super) local: Option<SocketAddr>,
    /// Whether a program has bound it to a port of its own choice.
    pub(super) is_bound: bool,
    pub(super) remote: Option<SocketAddr>,
    pub(super) phase: Phase,
    /// What `SO_ERROR` says next, and whoever reads or writes is told.
    pub(super) error: Option<Errno>,
    /// `shutdown(SHUT_RD)` was called.
    pub(super) read_shut: bool,
    /// `shutdown(SHUT_WR)` was called.
    pub(super) write_shut: bool,
    /// The peer has finished, or the connection is over.
    pub(super) peer_done: bool,
    /// A call to connect has returned 0, or the connection came from a listener:
    /// the next call is told that there is one.
    pub(super) is_connect_told: bool,
    /// The last write said that more would come (`MSG_MORE`).
    pub(super) has_more: bool,
    /// How often there was something new: what edges are made of.
    pub(super) wakes: u64,
}

/// How far a socket's life has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Neither connected nor listening.
    Fresh,
    /// connect was called with `TCP_FASTOPEN_CONNECT`: the SYN goes with the first write.
    Deferred(SocketAddr),
    Listening(Listening),
    Connecting(ConnId),
    Connected(ConnId),
    /// Its connection is over.
    Over,
}

/// A listening socket's own part.
#[derive(Debug)]
pub(super) struct Listening {
    /// Two if it serves both families.
    pub(super) listeners: Vec<ListenerId>,
    /// Connections that wait to be accepted, in their order.
    pub(super) queue: VecDeque<SocketId>,
}

/// What setsockopt has set. Those that the stack has to know of are handed to it.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) reuse_address: bool,
    pub(super) reuse_port: bool,
    pub(super) v6_only: bool,
    /// What the stack is told of a connection.
    pub(super) tcp: crore_stack::Options,
    /// Seconds to linger, if it is on.
    pub(super) linger: Option<u32>,
    pub(super) linger_seconds: u32,
    /// What getsockopt says of the buffers.
    pub(super) receive_buffer: u32,
    pub(super) send_buffer: u32,
    pub(super) receive_low: u32,
    /// Milliseconds; 0 for ever.
    pub(super) receive_timeout: u64,
    pub(super) send_timeout: u64,
    /// The name of the congestion control.
    pub(super) congestion: CongestionName,
    /// `TCP_INQ`.
    pub(super) inq: bool,
    pub(super) fast_open: FastOpenOptions,
    /// Options that are remembered and have no effect of their own, by level and name.
    pub(super) kept: Vec<((i32, i32), i32)>,
}

/// What is asked for of TCP Fast Open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FastOpenOptions {
    /// How many handshakes of a listener may have brought data (`TCP_FASTOPEN`).
    pub(super) queue: u32,
    /// connect waits for data (`TCP_FASTOPEN_CONNECT`).
    pub(super) connect: bool,
    /// Data goes, and is taken, without a cookie (`TCP_FASTOPEN_NO_COOKIE`).
    pub(super) no_cookie: bool,
}

impl Socket {
    pub(super) fn new(is_ipv6: bool, options: Options) -> Self {
        Self {
            is_ipv6,
            options,
            local: None,
            is_bound: false,
            remote: None,
            phase: Phase::Fresh,
            error: None,
            read_shut: false,
            write_shut: false,
            peer_done: false,
            is_connect_told: false,
            has_more: false,
            wakes: 0,
        }
    }

    /// As if it had never been connected, but for its options and its binding.
    pub(super) fn forget_connection(&mut self) {
        self.phase = Phase::Fresh;
        self.remote = None;
        self.error = None;
        self.read_shut = false;
        self.write_shut = false;
        self.peer_done = false;
        self.is_connect_told = false;
        self.has_more = false;
    }

    /// Whether a socket that is bound to no address in particular gets what is
    /// for this one.
    pub(super) fn covers(&self, ip: IpAddr) -> bool {
        ip.is_ipv6() == self.is_ipv6 || (self.is_ipv6 && !self.options.v6_only)
    }

    /// Its connection, if it has one that lives.
    pub(super) fn conn(&self) -> Option<ConnId> {
        match self.phase {
            Phase::Connecting(conn) | Phase::Connected(conn) => Some(conn),
            _ => None,
        }
    }

    /// The pending error, which is told once.
    pub(super) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// The connection has ended for `reason`, when it stood where it last did.
    pub(super) fn on_closed(&mut self, reason: CloseReason) {
        let was_connecting = matches!(self.phase, Phase::Connecting(_));
        self.error = match reason {
            CloseReason::Finished => None,
            CloseReason::Refused => Some(Errno(libc::ECONNREFUSED)),
            // A peer that has finished and then resets can't be reset any more
            // by what is written: the writer's pipe is broken.
            CloseReason::ResetByPeer if was_connecting => Some(Errno(libc::ECONNREFUSED)),
            CloseReason::ResetByPeer if self.peer_done && !self.write_shut => Some(Errno(libc::EPIPE)),
            CloseReason::ResetByPeer => Some(Errno(libc::ECONNRESET)),
            CloseReason::OpenTimedOut
            | CloseReason::TimedOut
            | CloseReason::KeepaliveTimedOut
            | CloseReason::UserTimedOut
            | CloseReason::LingerTimedOut => Some(Errno(libc::ETIMEDOUT)),
            CloseReason::Unreachable => Some(Errno(libc::EHOSTUNREACH)),
            CloseReason::NetworkUnreachable => Some(Errno(libc::ENETUNREACH)),
            CloseReason::ProtocolUnreachable => Some(Errno(libc::ENOPROTOOPT)),
            CloseReason::Aborted => Some(Errno(libc::ECONNABORTED)),
        };
        self.phase = Phase::Over;
        self.peer_done = true;
        self.wakes += 1;
    }

    /// TCP's state, with LISTEN and the absence of a connection.
    pub(super) fn tcp_state(&self, stack: &Stack) -> TcpState {
        match &self.phase {
            Phase::Fresh | Phase::Over => TcpState::Close,
            Phase::Listening(_) => TcpState::Listen,
            Phase::Deferred(_) => TcpState::SynSent,
            Phase::Connecting(conn) | Phase::Connected(conn) => match stack.state(*conn) {
                Some(State::SynSent) => TcpState::SynSent,
                Some(State::SynReceived) => TcpState::SynReceived,
                Some(State::Established) => TcpState::Established,
                Some(State::FinWait1) => TcpState::FinWait1,
                Some(State::FinWait2) => TcpState::FinWait2,
                Some(State::CloseWait) => TcpState::CloseWait,
                Some(State::Closing) => TcpState::Closing,
                Some(State::LastAck) => TcpState::LastAck,
                Some(State::TimeWait) => TcpState::TimeWait,
                Some(State::Closed) | None => TcpState::Close,
            },
        }
    }

    /// What poll would say, every event that is true now.
    pub(super) fn readiness(&self, stack: &Stack) -> i16 {
        let mut ready = 0;
        if let Phase::Listening(listening) = &self.phase {
            if !listening.queue.is_empty() {
                ready |= libc::POLLIN | libc::POLLRDNORM;
            }
            return ready;
        }
        let state = self.tcp_state(stack);
        let read_shut = self.read_shut || self.peer_done;
        if (read_shut && self.write_shut) || state == TcpState::Close {
            ready |= libc::POLLHUP;
        }
        if read_shut {
            ready |= libc::POLLIN | libc::POLLRDNORM | libc::POLLRDHUP;
        }
        if matches!(self.phase, Phase::Deferred(_)) {
            ready |= libc::POLLOUT | libc::POLLWRNORM;
        }
        // A handshake that has brought data is open to its program.
        if !matches!(self.phase, Phase::Connecting(_) | Phase::Deferred(_)) {
            let waiting = self.conn().map_or(0, |conn| stack.readable(conn));
            if waiting >= self.options.receive_low.max(1) as usize {
                ready |= libc::POLLIN | libc::POLLRDNORM;
            }
            //= rfc6093#section-5 (SHOULD)
            // Urgent data lies in line, where it was sent. As in Linux there is some
            // once the marked byte has come, until it is read.
            let mark = self.conn().and_then(|conn| stack.urgent_mark(conn));
            if mark.is_some_and(|before| before < waiting) {
                ready |= libc::POLLPRI;
            }
            if self.may_write(stack) {
                ready |= libc::POLLOUT | libc::POLLWRNORM;
            }
        }
        if self.error.is_some() {
            ready |= libc::POLLERR;
        }
        ready
    }

    /// Whether a writer is worth waking: a third of its buffer is free.
    fn may_write(&self, stack: &Stack) -> bool {
        match self.phase {
            Phase::Connected(conn) if !self.write_shut => {
                stack.write_capacity(conn) >= (self.options.tcp.send_buffer / 3).max(1) as usize
            }
            _ => true,
        }
    }

    /// An address as this socket's family shows it.
    pub(super) fn shown(&self, addr: SocketAddr) -> SocketAddr {
        match addr.ip() {
            IpAddr::V4(ip) if self.is_ipv6 => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
            _ => addr,
        }
    }

    /// No address of its family.
    pub(super) fn unspecified(&self) -> IpAddr {
        if self.is_ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        }
    }
}

/// TCP's states by Linux' numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum TcpState {
    Established = 1,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

/// An IPv4 address in IPv6's clothes is IPv4 on the wire.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
