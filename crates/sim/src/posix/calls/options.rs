//! getsockopt, setsockopt, fcntl and ioctl.

use super::{Answer, done, fail};
use crate::posix::call::{Errno, Fd, Output};
use crate::posix::host::Host;
use crate::posix::info;
use crate::posix::socket::{Phase, SocketId};

/// Numbers that the libc crate does not have: include/uapi/linux/sockios.h and tcp.h.
const SIOCOUTQNSD: u64 = 0x894b;
const SIOCATMARK: u64 = 0x8905;
const FIONREAD: u64 = libc::FIONREAD;
const FIONBIO: u64 = libc::FIONBIO;
const TIOCOUTQ: u64 = libc::TIOCOUTQ;

/// The least that Linux makes of a buffer.
const LEAST_BUFFER: i32 = 1024;
/// The most that setsockopt may ask for.
const MOST_BUFFER: i32 = 1 << 29;

/// Options that are numbers, that are remembered and read back, and that change
/// nothing here, with what they are at first.
const KEPT: &[(i32, i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_BROADCAST, 0),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE, 0),
    (libc::SOL_SOCKET, libc::SO_MARK, 0),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE, 0),
    (libc::SOL_SOCKET, libc::SO_PRIORITY, 0),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP, 0),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY, 0),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 0),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 7200),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 75),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 9),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2, 60),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT, 6),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 0),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 0),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 0),
    (libc::IPPROTO_TCP, libc::TCP_TIMESTAMP, 0),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT),
    (libc::IPPROTO_IP, libc::IP_RECVERR, 0),
    (libc::IPPROTO_IP, libc::IP_RECVTOS, 0),
    (libc::IPPROTO_IP, libc::IP_TOS, 0),
    (libc::IPPROTO_IP, libc::IP_TTL, 64),
    (
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::IPV6_PMTUDISC_WANT,
    ),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 0),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 0),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 0),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 64),
];

impl Host {
    pub(super) fn get_option(&mut self, fd: Fd, level: i32, name: i32, len: usize) -> Answer {
        let id = self.socket_id(fd)?;
        let value = match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_INFO) => self.info(id)?,
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                let mut name = self.congestion_name().as_bytes().to_vec();
                name.resize(16, 0);
                name
            }
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let socket = self.socket_mut(fd)?;
                let onoff = i32::from(socket.options.linger.is_some());
                let seconds = socket.options.linger_seconds as i32;
                [onoff.to_ne_bytes(), seconds.to_ne_bytes()].concat()
            }
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) => {
                let options = &self.socket_mut(fd)?.options;
                let millis = if name == libc::SO_RCVTIMEO {
                    options.receive_timeout
                } else {
                    options.send_timeout
                };
                let (seconds, micros) = ((millis / 1000) as i64, (millis % 1000 * 1000) as i64);
                [seconds.to_ne_bytes(), micros.to_ne_bytes()].concat()
            }
            _ => self.get_number(id, level, name)?.to_ne_bytes().to_vec(),
        };
        let mut value = value;
        value.truncate(len);
        Ok((0, Output::Bytes(value)))
    }

    fn get_number(&mut self, id: SocketId, level: i32, name: i32) -> Result<i32, Errno> {
        let mtu = i32::from(self.knobs.mtu);
        let mss = self.conn_of(id).and_then(|conn| self.stack.stats(conn));
        let mss = mss.map_or(536, |stats| i32::from(stats.mss));
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let is_listening = matches!(socket.phase, Phase::Listening(_));
        let is_connected = socket.conn().is_some();
        let options = &socket.options;
        Ok(match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => socket.take_error().map_or(0, |errno| errno.0),
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) if socket.is_ipv6 => libc::AF_INET6,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => libc::AF_INET,
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => i32::from(is_listening),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => i32::from(options.reuse_address),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => i32::from(options.reuse_port),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(options.keepalive),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => options.receive_buffer as i32,
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => options.send_buffer as i32,
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => options.receive_low as i32,
            (libc::SOL_SOCKET, libc::SO_SNDLOWAT) => 1,
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(options.nodelay),
            (libc::IPPROTO_TCP, libc::TCP_CORK) => i32::from(options.cork),
            (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => i32::from(options.quick_ack),
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => mss,
            (libc::IPPROTO_IP, libc::IP_MTU) | (libc::IPPROTO_IPV6, libc::IPV6_MTU) => {
                if !is_connected {
                    return fail(libc::ENOTCONN);
                }
                mtu
            }
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => i32::from(options.v6_only),
            _ => {
                let key = (level, name);
                let kept = options
                    .kept
                    .iter()
                    .find(|(k, _)| *k == key)
                    .map(|&(_, value)| value);
                let initial = KEPT
                    .iter()
                    .find(|(l, n, _)| (*l, *n) == key)
                    .map(|&(.., value)| value);
                kept.or(initial).ok_or(Errno(libc::ENOPROTOOPT))?
            }
        })
    }

    pub(super) fn set_option(&mut self, fd: Fd, level: i32, name: i32, value: &[u8]) -> Answer {
        let id = self.socket_id(fd)?;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let [on, seconds] = pair(value)?;
                let socket = self.socket_mut(fd)?;
                socket.options.linger_seconds = seconds.max(0) as u32;
                socket.options.linger = (on != 0).then_some(socket.options.linger_seconds);
                return done(0);
            }
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) => {
                let millis = time(value)?;
                let options = &mut self.socket_mut(fd)?.options;
                if name == libc::SO_RCVTIMEO {
                    options.receive_timeout = millis;
                } else {
                    options.send_timeout = millis;
                }
                return done(0);
            }
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
                return match self.congestion_names().iter().any(|name| name.as_bytes() == text) {
                    true => done(0),
                    false => fail(libc::ENOENT),
                };
            }
            _ => {}
        }
        let number = number(value)?;
        self.set_number(id, level, name, number)
    }

    fn set_number(&mut self, id: SocketId, level: i32, name: i32, number: i32) -> Answer {
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let conn = socket.conn();
        let is_bound = socket.local.is_some();
        let options = &mut socket.options;
        let on = number != 0;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => options.reuse_address = on,
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => options.reuse_port = on,
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => options.keepalive = on,
            // Linux gives twice what is asked for, half of it for its own use.
            (libc::SOL_SOCKET, libc::SO_RCVBUF | libc::SO_RCVBUFFORCE) => {
                options.receive_buffer = 2 * number.clamp(LEAST_BUFFER, MOST_BUFFER) as u32;
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_SNDBUFFORCE) => {
                options.send_buffer = 2 * number.clamp(2 * LEAST_BUFFER, MOST_BUFFER) as u32;
            }
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => options.receive_low = number.max(1) as u32,
            (
                libc::SOL_SOCKET,
                libc::SO_ERROR
                | libc::SO_TYPE
                | libc::SO_PROTOCOL
                | libc::SO_DOMAIN
                | libc::SO_ACCEPTCONN
                | libc::SO_SNDLOWAT,
            ) => return fail(libc::ENOPROTOOPT),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
                options.nodelay = on;
                if let Some(conn) = conn {
                    self.stack.set_nodelay(conn, on);
                }
                if on {
                    self.push_held(id);
                }
            }
            (libc::IPPROTO_TCP, libc::TCP_CORK) => {
                options.cork = on;
                if !on {
                    self.push_held(id);
                }
            }
            (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => options.quick_ack = on,
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => {
                if is_bound {
                    return fail(libc::EINVAL);
                }
                options.v6_only = on;
            }
            _ => {
                let key = (level, name);
                if !KEPT.iter().any(|(l, n, _)| (*l, *n) == key) {
                    return fail(libc::ENOPROTOOPT);
                }
                options.kept.retain(|(k, _)| *k != key);
                options.kept.push((key, number));
            }
        }
        done(0)
    }

    fn info(&self, id: SocketId) -> Result<Vec<u8>, Errno> {
        let socket = self.sockets.get(&id).ok_or(Errno(libc::EBADF))?;
        Ok(info::tcp_info(socket, &self.stack, self.knobs.mtu))
    }

    pub(super) fn fcntl(&mut self, fd: Fd, command: i32, argument: i64) -> Answer {
        let file = self.file(fd)?;
        match command {
            libc::F_GETFL => {
                let nonblocking = if file.nonblocking { libc::O_NONBLOCK } else { 0 };
                done(i64::from(libc::O_RDWR | nonblocking))
            }
            libc::F_SETFL => {
                file.nonblocking = argument & i64::from(libc::O_NONBLOCK) != 0;
                done(0)
            }
            libc::F_GETFD | libc::F_SETFD => done(0),
            _ => fail(libc::EINVAL),
        }
    }

    pub(super) fn ioctl(&mut self, fd: Fd, request: u64, value: i32) -> Answer {
        if request == FIONBIO {
            self.file(fd)?.nonblocking = value != 0;
            return done(0);
        }
        let id = self.socket_id(fd)?;
        let socket = self.sockets.get(&id).ok_or(Errno(libc::EBADF))?;
        if matches!(socket.phase, Phase::Listening(_)) {
            return fail(libc::EINVAL);
        }
        let held = socket.held.len() as i32;
        let conn = socket.conn();
        let stats = conn.and_then(|conn| self.stack.stats(conn)).unwrap_or_default();
        let number = match request {
            FIONREAD => conn.map_or(0, |conn| self.stack.readable(conn) as i32),
            TIOCOUTQ => stats.send_queued as i32 + held,
            SIOCOUTQNSD => stats.unsent as i32 + held,
            SIOCATMARK => 0,
            _ => return fail(libc::ENOTTY),
        };
        Ok((0, Output::Int(number)))
    }

    fn congestion_name(&self) -> &'static str {
        "reno"
    }

    fn congestion_names(&self) -> &'static [&'static str] {
        &["reno"]
    }
}

/// An option that is a number.
fn number(value: &[u8]) -> Result<i32, Errno> {
    match value.first_chunk::<4>() {
        Some(bytes) => Ok(i32::from_ne_bytes(*bytes)),
        None => fail(libc::EINVAL),
    }
}

/// A `struct linger`.
fn pair(value: &[u8]) -> Result<[i32; 2], Errno> {
    let (first, rest) = value.split_first_chunk::<4>().ok_or(Errno(libc::EINVAL))?;
    Ok([i32::from_ne_bytes(*first), number(rest)?])
}

/// A `struct timeval`, in milliseconds.
fn time(value: &[u8]) -> Result<u64, Errno> {
    let (seconds, rest) = value.split_first_chunk::<8>().ok_or(Errno(libc::EINVAL))?;
    let micros = rest.first_chunk::<8>().ok_or(Errno(libc::EINVAL))?;
    let (seconds, micros) = (i64::from_ne_bytes(*seconds), i64::from_ne_bytes(*micros));
    if !(0..1_000_000).contains(&micros) {
        return fail(libc::EDOM);
    }
    let millis = seconds
        .max(0)
        .saturating_mul(1000)
        .saturating_add((micros + 999) / 1000);
    Ok(millis as u64)
}
