//! Data that goes with the SYN: `MSG_FASTOPEN`, and `TCP_FASTOPEN_CONNECT` where
//! the first write opens the connection.
//!
//! Read first: RFC 7413 appendix A, tcp(7), `Documentation/networking/ip-sysctl` of
//! Linux on `tcp_fastopen`.

use crore_base::Instant;
use std::net::{IpAddr, SocketAddr};

use super::{Answer, Attempt, Progress, done, fail, limit};
use crate::posix::call::{Address, Errno, Fd};
use crate::posix::host::Host;
use crate::posix::socket::{Phase, SocketId};

/// What Linux' sysctl `tcp_fastopen` turns on, by its bits.
#[derive(Clone, Copy, Debug)]
pub(in crate::posix) struct FastOpenBits(pub(in crate::posix) u32);

impl FastOpenBits {
    pub(in crate::posix) const fn client(self) -> bool {
        self.0 & 1 != 0
    }

    pub(in crate::posix) const fn server(self) -> bool {
        self.0 & 2 != 0
    }

    /// Clients send data without having a cookie.
    const fn client_without_cookie(self) -> bool {
        self.0 & 4 != 0
    }

    /// Servers take data without being shown one.
    pub(super) const fn server_without_cookie(self) -> bool {
        self.0 & 0x200 != 0
    }

    /// Each listener is a server, without `TCP_FASTOPEN`.
    pub(super) const fn every_listener(self) -> bool {
        self.server() && self.0 & 0x400 != 0
    }
}

impl Host {
    /// The Fast Open cookie that a client at `client` is given if it asks for one now.
    pub fn fast_open_cookie(&self, client: IpAddr) -> Vec<u8> {
        let cookie = self.stack.fast_open_cookie(self.now, client, self.local);
        cookie.as_bytes().to_vec()
    }

    pub(super) fn fast_open_bits(&self) -> FastOpenBits {
        FastOpenBits(self.knobs.fast_open)
    }

    /// Whether a write on a socket opens its connection, as this one's flags or an
    /// earlier `connect` would have it.
    pub(super) fn opens_by_writing(&self, id: SocketId, flags: i32) -> bool {
        let deferred = self
            .sockets
            .get(&id)
            .is_some_and(|socket| matches!(socket.phase, Phase::Deferred(_)));
        flags & libc::MSG_FASTOPEN != 0 || deferred
    }

    /// A write that opens the connection. One that may not sleep says how much went
    /// with the SYN, or that it is under way. `None` for one that may: it goes on as
    /// any write does, once the connection is open, with what is left.
    pub(super) fn send_early(
        &mut self,
        fd: Fd,
        data: &[u8],
        to: Option<Address>,
        may_not: bool,
        progress: &mut Progress,
    ) -> Result<Attempt, Errno> {
        let bits = self.fast_open_bits();
        let socket = self.socket_mut(fd)?;
        let timeout = limit(socket.options.send_timeout);
        let refused = !bits.client() || to == Some(Address::Unspecified);
        match socket.phase {
            _ if refused && !progress.has_begun => return fail(libc::EOPNOTSUPP),
            Phase::Fresh => {
                let to = to.ok_or(Errno(libc::EINVAL))?;
                progress.early = self.begin_with_data(fd, to, data)?;
            }
            Phase::Deferred(remote) => {
                progress.early = self.begin_with_data(fd, Address::Ip(remote), data)?;
            }
            Phase::Connecting(_) if progress.has_begun || !may_not => {}
            Phase::Connecting(_) => return fail(libc::EALREADY),
            Phase::Connected(_) if progress.has_begun || !socket.is_connect_told => {
                socket.is_connect_told = true;
                return Ok(None);
            }
            // The attempt has failed, which is told once; then it may be tried again.
            Phase::Over if progress.has_begun || !socket.is_connect_told => {
                let errno = socket.take_error().unwrap_or(Errno(libc::ECONNABORTED));
                socket.forget_connection();
                return Err(errno);
            }
            Phase::Connected(_) | Phase::Listening(_) | Phase::Over => return fail(libc::EISCONN),
        }
        let early = progress.early;
        let waited = self.wait(progress, may_not, timeout, Errno(libc::EINPROGRESS));
        Ok(waited.map(|answer| if early > 0 { done(early as i64) } else { answer }))
    }

    /// Sends the SYN, and with it as much of the data as it can carry; says how much.
    fn begin_with_data(&mut self, fd: Fd, to: Address, data: &[u8]) -> Result<usize, Errno> {
        let now = self.now;
        self.begin_connecting(now, fd, to, true)?;
        let id = self.socket_id(fd)?;
        let Some(conn) = self.conn_of(id) else {
            return Ok(0);
        };
        let room = self.stack.syn_room(conn).min(data.len());
        Ok(self.stack.write(conn, &data[..room]).unwrap_or(0))
    }

    /// connect with `TCP_FASTOPEN_CONNECT`: where the server's cookie is known, the
    /// SYN waits for the first write. Says whether it does.
    pub(super) fn defer_connect(&mut self, fd: Fd, now: Instant, remote: SocketAddr) -> Result<bool, Errno> {
        let without = self.sends_without_cookie(fd)?;
        if !without && !self.stack.knows_fast_open(now, remote.ip()) {
            return Ok(false);
        }
        let id = self.socket_id(fd)?;
        let ip = self.local;
        // Each time another one: a connection of before may be in TIME-WAIT.
        let from = self.next_early_port;
        let port = self.free_port_from(id, ip, from)?;
        self.next_early_port = port.checked_add(1).unwrap_or(super::FIRST_PORT);
        let socket = self.socket_mut(fd)?;
        let bound = socket.local.filter(|local| local.port() != 0);
        socket.local = Some(SocketAddr::new(ip, bound.map_or(port, |bound| bound.port())));
        socket.remote = Some(remote);
        socket.phase = Phase::Deferred(remote);
        Ok(true)
    }

    /// Whether data may go with the SYN although no cookie is known.
    pub(super) fn sends_without_cookie(&mut self, fd: Fd) -> Result<bool, Errno> {
        let bits = self.fast_open_bits();
        let socket = self.socket_mut(fd)?;
        Ok(bits.client_without_cookie() || socket.options.fast_open.no_cookie)
    }

    /// What a listener has of Fast Open, if it is to have it.
    pub(super) fn tune_fast_open(&mut self, id: SocketId) {
        let bits = self.fast_open_bits();
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        let Phase::Listening(listening) = &socket.phase else {
            return;
        };
        let fast_open = socket.options.fast_open;
        for &listener in &listening.listeners {
            self.stack.set_fast_open_queue(listener, fast_open.queue);
            let trusting = fast_open.no_cookie || bits.server_without_cookie();
            self.stack.set_fast_open_without_cookie(listener, trusting);
        }
    }

    /// `TCP_FASTOPEN` and its like are set.
    pub(super) fn set_fast_open(&mut self, id: SocketId, name: i32, number: i32) -> Answer {
        let bits = self.fast_open_bits();
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let is_fresh = matches!(socket.phase, Phase::Fresh | Phase::Over);
        let is_listening = matches!(socket.phase, Phase::Listening(_));
        let fast_open = &mut socket.options.fast_open;
        match name {
            libc::TCP_FASTOPEN if number >= 0 && (is_fresh || is_listening) => {
                fast_open.queue = number.min(super::open::MAX_BACKLOG) as u32;
            }
            libc::TCP_FASTOPEN_CONNECT if !matches!(number, 0 | 1) => return fail(libc::EINVAL),
            libc::TCP_FASTOPEN_CONNECT if !bits.client() => return fail(libc::EOPNOTSUPP),
            libc::TCP_FASTOPEN_CONNECT if is_fresh => fast_open.connect = number != 0,
            libc::TCP_FASTOPEN_NO_COOKIE if matches!(number, 0 | 1) && (is_fresh || is_listening) => {
                fast_open.no_cookie = number != 0;
            }
            _ => return fail(libc::EINVAL),
        }
        self.tune_fast_open(id);
        done(0)
    }
}
