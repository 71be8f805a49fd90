//! How a socket begins and ends.

use std::net::{IpAddr, SocketAddr};

use crore_base::Instant;
use crore_stack::{ConnId, ConnectError, ConnectOptions, ListenError, ListenOptions};

use super::{Answer, Attempt, Progress, done, fail};
use crate::posix::call::{Address, Errno, Fd, Output};
use crate::posix::file::Kind;
use crate::posix::host::Host;
use crate::posix::socket::{Listening, Phase, Socket, SocketId, TcpState, canonical};

/// The most handshakes that a listener may have at once, whatever it asks for
/// (Linux' somaxconn).
pub(super) const MAX_BACKLOG: i32 = 4096;

/// The first of the ports that are given to who wants any.
pub(in crate::posix) const FIRST_PORT: u16 = 61_000;

impl Host {
    pub(super) fn socket(&mut self, domain: i32, kind: i32, protocol: i32) -> Answer {
        let is_ipv6 = match domain {
            libc::AF_INET => false,
            libc::AF_INET6 => true,
            _ => return fail(libc::EAFNOSUPPORT),
        };
        let flags = kind & (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
        if kind & !flags != libc::SOCK_STREAM {
            // Datagrams and raw packets are not Crore's business.
            return fail(libc::ESOCKTNOSUPPORT);
        }
        if !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return fail(libc::EPROTONOSUPPORT);
        }
        let id = SocketId(self.next_name());
        let socket = Socket::new(is_ipv6, self.default_options());
        self.sockets.insert(id, socket);
        let fd = self.open_file(Kind::Socket(id), flags & libc::SOCK_NONBLOCK != 0);
        done(i64::from(fd))
    }

    pub(super) fn bind(&mut self, fd: Fd, address: Address) -> Answer {
        let id = self.socket_id(fd)?;
        let socket = self.socket_mut(fd)?;
        let address = of_family(socket.is_ipv6, address)?;
        if socket.local.is_some() || !matches!(socket.phase, Phase::Fresh) {
            return fail(libc::EINVAL);
        }
        if !self.is_ours(address.ip()) {
            return fail(libc::EADDRNOTAVAIL);
        }
        let address = match address.port() {
            0 => SocketAddr::new(address.ip(), self.free_port(id, address.ip())?),
            _ if self.is_taken(id, address) => return fail(libc::EADDRINUSE),
            _ => address,
        };
        let socket = self.socket_mut(fd)?;
        socket.local = Some(address);
        socket.is_bound = true;
        done(0)
    }

    pub(super) fn listen(&mut self, fd: Fd, backlog: i32) -> Answer {
        let id = self.socket_id(fd)?;
        let socket = self.socket_mut(fd)?;
        match socket.phase {
            Phase::Fresh => {}
            // Its backlog can't be changed any more, which nobody can tell.
            Phase::Listening(_) => return done(0),
            _ => return fail(libc::EINVAL),
        }
        let (is_ipv6, v6_only, tcp) = (socket.is_ipv6, socket.options.v6_only, socket.options.tcp);
        let backlog = backlog.clamp(0, MAX_BACKLOG) as u32;
        let local = match socket.local {
            Some(local) => local,
            None => {
                let any = socket.unspecified();
                SocketAddr::new(any, self.free_port(id, any)?)
            }
        };
        // Linux lets one more wait than was asked for.
        let how = ListenOptions {
            backlog: backlog + 1,
            tcp: Some(tcp),
        };
        let mut wanted = vec![local];
        if is_ipv6 && local.ip().is_unspecified() && !v6_only {
            wanted.push(SocketAddr::new(
                std::net::Ipv4Addr::UNSPECIFIED.into(),
                local.port(),
            ));
        }
        let mut listeners = Vec::new();
        for addr in wanted {
            match self.stack.listen_with(canonical(addr), &how) {
                Ok(listener) => listeners.push(listener),
                Err(error) => {
                    for listener in listeners {
                        self.stack.unlisten(listener);
                    }
                    return Err(listen_error(error));
                }
            }
        }
        let every = self.fast_open_bits().every_listener();
        let socket = self.socket_mut(fd)?;
        if every && socket.options.fast_open.queue == 0 {
            socket.options.fast_open.queue = backlog;
        }
        socket.local = Some(local);
        socket.error = None;
        socket.phase = Phase::Listening(Listening {
            listeners,
            queue: std::collections::VecDeque::new(),
        });
        self.tune_fast_open(id);
        done(0)
    }

    pub(super) fn accept(&mut self, fd: Fd, flags: i32, progress: &mut Progress) -> Attempt {
        if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
            return Some(fail(libc::EINVAL));
        }
        let may_not = self.is_nonblocking(fd);
        let socket = match self.socket_mut(fd) {
            Ok(socket) => socket,
            Err(errno) => return Some(Err(errno)),
        };
        let timeout = super::limit(socket.options.receive_timeout);
        let Phase::Listening(listening) = &mut socket.phase else {
            return Some(fail(libc::EINVAL));
        };
        let Some(child) = listening.queue.pop_front() else {
            return self.wait(progress, may_not, timeout, Errno(libc::EAGAIN));
        };
        let remote = self
            .sockets
            .get(&child)
            .and_then(|socket| socket.remote.map(|remote| socket.shown(remote)));
        let new = self.open_file(Kind::Socket(child), flags & libc::SOCK_NONBLOCK != 0);
        let output = remote.map_or(Output::None, Output::Address);
        Some(Ok((i64::from(new), output)))
    }

    pub(super) fn connect(&mut self, fd: Fd, address: Address, progress: &mut Progress) -> Attempt {
        let may_not = self.is_nonblocking(fd);
        let now = self.now;
        let socket = match self.socket_mut(fd) {
            Ok(socket) => socket,
            Err(errno) => return Some(Err(errno)),
        };
        let timeout = super::limit(socket.options.send_timeout);
        let began_now = match socket.phase {
            _ if address == Address::Unspecified => return Some(self.disconnect(fd)),
            Phase::Connecting(_) if progress.has_begun || !may_not => false,
            Phase::Connecting(_) => return Some(fail(libc::EALREADY)),
            Phase::Connected(_) if progress.has_begun || !socket.is_connect_told => {
                socket.is_connect_told = true;
                return Some(done(0));
            }
            Phase::Connected(_) | Phase::Listening(_) | Phase::Deferred(_) => {
                return Some(fail(libc::EISCONN));
            }
            // The attempt has failed, and whoever asks is told once; then it may be tried again.
            Phase::Over if progress.has_begun || !socket.is_connect_told => {
                let errno = socket.take_error().unwrap_or(Errno(libc::ECONNABORTED));
                socket.forget_connection();
                return Some(Err(errno));
            }
            Phase::Over => return Some(fail(libc::EISCONN)),
            Phase::Fresh => true,
        };
        if began_now {
            match self.begin_or_defer(now, fd, address) {
                Ok(true) => {}
                Ok(false) => return Some(done(0)),
                Err(errno) => return Some(Err(errno)),
            }
        }
        self.wait(progress, may_not, timeout, Errno(libc::EINPROGRESS))
    }

    /// The SYN goes, or waits for data that is to go with it (`false`).
    fn begin_or_defer(&mut self, now: Instant, fd: Fd, address: Address) -> Result<bool, Errno> {
        let socket = self.socket_mut(fd)?;
        let asks = socket.options.fast_open.connect;
        if asks {
            let remote = canonical(of_family(socket.is_ipv6, address)?);
            if self.defer_connect(fd, now, remote)? {
                return Ok(false);
            }
        }
        self.begin_connecting(now, fd, address, asks)?;
        Ok(true)
    }

    /// The SYN goes; where Fast Open is asked for, with the question for a cookie, or
    /// with what is written before the next turn.
    pub(super) fn begin_connecting(
        &mut self,
        now: Instant,
        fd: Fd,
        address: Address,
        fast_open: bool,
    ) -> Result<(), Errno> {
        let without_cookie = fast_open && self.sends_without_cookie(fd)?;
        let id = self.socket_id(fd)?;
        let socket = self.socket_mut(fd)?;
        let remote = canonical(of_family(socket.is_ipv6, address)?);
        let tcp = socket.options.tcp;
        let from = socket.local.map(canonical);
        let ip = from.map(|from| from.ip()).filter(|ip| !ip.is_unspecified());
        let how = ConnectOptions {
            local: ip,
            local_port: from.map(|from| from.port()).filter(|&port| port != 0),
            tcp: Some(tcp),
            without_cookie,
        };
        let conn = if fast_open {
            self.stack
                .connect_with_data(now, remote, &how, &[])
                .map(|(conn, _)| conn)
        } else {
            self.stack.connect_with(now, remote, &how)
        };
        let conn = conn.map_err(connect_error)?;
        self.stack.set_user(conn, id.0);
        let tuple = self.stack.four_tuple(conn);
        let socket = self.socket_mut(fd)?;
        socket.forget_connection();
        socket.phase = Phase::Connecting(conn);
        socket.remote = Some(remote);
        socket.local = tuple.map(|tuple| tuple.local());
        Ok(())
    }

    /// connect to `AF_UNSPEC`: the connection is given up, and the socket is as new.
    fn disconnect(&mut self, fd: Fd) -> Answer {
        let id = self.socket_id(fd)?;
        self.end(id, true);
        let socket = self.socket_mut(fd)?;
        socket.forget_connection();
        if !socket.is_bound {
            socket.local = None;
        }
        done(0)
    }

    pub(super) fn shutdown(&mut self, fd: Fd, how: i32) -> Answer {
        let (reads, writes) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return fail(libc::EINVAL),
        };
        let id = self.socket_id(fd)?;
        let Self { sockets, stack, .. } = self;
        let socket = sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let state = socket.tcp_state(stack);
        match state {
            TcpState::Close => return fail(libc::ENOTCONN),
            TcpState::Listen => {
                if reads {
                    self.end(id, true);
                }
                return done(0);
            }
            // An attempt to connect is given up.
            TcpState::SynSent => {
                self.end(id, true);
                let socket = self.socket_mut(fd)?;
                socket.forget_connection();
                return done(0);
            }
            _ => {}
        }
        socket.read_shut |= reads;
        socket.write_shut |= writes;
        socket.wakes += 1;
        let conn = socket.conn();
        if writes && let Some(conn) = conn {
            self.stack.shutdown_write(conn);
        }
        done(0)
    }

    /// Closes a file. One that lingers waits until its peer has all, and has said so.
    pub(super) fn close(&mut self, fd: Fd, progress: &mut Progress) -> Attempt {
        if self.lingers(fd) {
            let id = self.socket_id(fd).ok()?;
            let socket = self.sockets.get_mut(&id)?;
            socket.write_shut = true;
            let seconds = u64::from(socket.options.linger_seconds);
            if let Some(conn) = socket.conn() {
                self.stack.shutdown_write(conn);
            }
            // When the time is up it is closed all the same.
            let _over = self.wait(progress, false, Some(seconds * 1000), Errno(libc::EAGAIN))?;
        }
        Some(self.close_now(fd))
    }

    /// Whether there is something for a lingering close to wait for.
    fn lingers(&self, fd: Fd) -> bool {
        let Ok(id) = self.socket_id(fd) else {
            return false;
        };
        let Some(socket) = self.sockets.get(&id) else {
            return false;
        };
        let sleeps = !self.is_nonblocking(fd) && socket.options.linger.is_some_and(|seconds| seconds > 0);
        // What nobody has read is a reason to reset, at once.
        let Phase::Connected(conn) = socket.phase else {
            return false;
        };
        let waits = matches!(
            socket.tcp_state(&self.stack),
            TcpState::Established
                | TcpState::CloseWait
                | TcpState::FinWait1
                | TcpState::Closing
                | TcpState::LastAck
        );
        sleeps && waits && self.stack.readable(conn) == 0
    }

    fn close_now(&mut self, fd: Fd) -> Answer {
        let file = self.files.remove(&fd).ok_or(Errno(libc::EBADF))?;
        for other in self.files.values_mut() {
            if let Kind::Epoll(epoll) = &mut other.kind {
                epoll.items.remove(&fd);
            }
        }
        match file.kind {
            Kind::Socket(id) => {
                let aborts = self
                    .sockets
                    .get(&id)
                    .is_some_and(|socket| socket.options.linger == Some(0));
                self.end(id, aborts);
                self.sockets.remove(&id);
            }
            Kind::Epoll(_) => {}
            Kind::Pipe { pipe, writes } => self.close_pipe(pipe, writes),
        }
        done(0)
    }

    /// A socket's connection, or listener, is given up; `aborts`: by a reset.
    pub(super) fn end(&mut self, id: SocketId, aborts: bool) {
        let now = self.now;
        let Self { sockets, stack, .. } = self;
        let Some(socket) = sockets.get_mut(&id) else {
            return;
        };
        match core::mem::replace(&mut socket.phase, Phase::Over) {
            Phase::Connecting(conn) | Phase::Connected(conn) => {
                if aborts {
                    stack.abort(conn);
                } else {
                    stack.close(now, conn);
                }
            }
            Phase::Listening(listening) => {
                for listener in listening.listeners {
                    stack.unlisten(listener);
                }
                // Nobody will ever accept them.
                for child in listening.queue {
                    if let Some(conn) = sockets.remove(&child).and_then(|child| child.conn()) {
                        stack.abort(conn);
                    }
                }
            }
            Phase::Fresh | Phase::Deferred(_) | Phase::Over => {}
        }
    }

    pub(super) fn local_address(&mut self, fd: Fd) -> Answer {
        let socket = self.socket_mut(fd)?;
        let unspecified = SocketAddr::new(socket.unspecified(), 0);
        let local = socket.local.map_or(unspecified, |local| socket.shown(local));
        Ok((0, Output::Address(local)))
    }

    pub(super) fn peer_address(&mut self, fd: Fd) -> Answer {
        let socket = self.socket_mut(fd)?;
        match (socket.conn(), socket.remote) {
            (Some(_), Some(remote)) => Ok((0, Output::Address(socket.shown(remote)))),
            _ => fail(libc::ENOTCONN),
        }
    }

    /// Whether a socket may be bound to this address.
    fn is_ours(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_unspecified() || ip == self.local
    }

    /// Whether somebody else has this address and port to himself.
    fn is_taken(&self, id: SocketId, address: SocketAddr) -> bool {
        let Some(me) = self.sockets.get(&id) else {
            return false;
        };
        self.sockets.iter().any(|(&other_id, other)| {
            let Some(local) = other.local.filter(|_| other_id != id) else {
                return false;
            };
            let (a, b) = (canonical(local).ip(), canonical(address).ip());
            let overlaps =
                a == b || (a.is_unspecified() && other.covers(b)) || (b.is_unspecified() && me.covers(a));
            let both_reuse = me.options.reuse_address && other.options.reuse_address;
            let is_listening = matches!(other.phase, Phase::Listening(_));
            let may_share =
                (both_reuse && !is_listening) || (me.options.reuse_port && other.options.reuse_port);
            local.port() == address.port() && overlaps && !may_share
        })
    }

    /// A port that nobody is bound to.
    fn free_port(&self, id: SocketId, ip: IpAddr) -> Result<u16, Errno> {
        self.free_port_from(id, ip, FIRST_PORT)
    }

    /// The next one from `first` on.
    pub(super) fn free_port_from(&self, id: SocketId, ip: IpAddr, first: u16) -> Result<u16, Errno> {
        (first..=u16::MAX)
            .chain(FIRST_PORT..first)
            .find(|&port| !self.is_taken(id, SocketAddr::new(ip, port)))
            .ok_or(Errno(libc::EADDRINUSE))
    }

    /// The connection of a socket that has one.
    pub(super) fn conn_of(&self, id: SocketId) -> Option<ConnId> {
        self.sockets.get(&id).and_then(Socket::conn)
    }
}

/// An address for a socket of this family.
fn of_family(is_ipv6: bool, address: Address) -> Result<SocketAddr, Errno> {
    match address {
        Address::Ip(addr) if addr.is_ipv6() == is_ipv6 => Ok(addr),
        _ => fail(libc::EAFNOSUPPORT),
    }
}

fn listen_error(error: ListenError) -> Errno {
    Errno(match error {
        ListenError::InUse => libc::EADDRINUSE,
        ListenError::NotOurAddress => libc::EADDRNOTAVAIL,
        ListenError::NoPort => libc::EINVAL,
        ListenError::TooManyOptions => libc::ENOBUFS,
    })
}

fn connect_error(error: ConnectError) -> Errno {
    Errno(match error {
        ConnectError::Exhausted | ConnectError::TooManyOptions => libc::ENOBUFS,
        ConnectError::PortsExhausted | ConnectError::InUse | ConnectError::NoLocalAddress => {
            libc::EADDRNOTAVAIL
        }
        ConnectError::NoRoute | ConnectError::BadDestination | ConnectError::OtherShard => libc::ENETUNREACH,
    })
}
