//! getsockopt, setsockopt, fcntl and ioctl.

use crore_base::Duration;
use crore_stack::{ConnId, Keepalive, Options, TcpOption};

use super::{Answer, done, fail};
use crate::posix::call::{Errno, Fd, Output};
use crate::posix::host::Host;
use crate::posix::info;
use crate::posix::knobs::CongestionName;
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

/// How far packets go unless told otherwise.
const HOPS: u8 = 64;

/// Options that are numbers, that are remembered and read back, and that change
/// nothing here, with what they are at first.
const KEPT: &[(i32, i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_BROADCAST, 0),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL, 0),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE, 0),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU, -1),
    (libc::SOL_SOCKET, libc::SO_MARK, 0),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE, 0),
    (libc::SOL_SOCKET, libc::SO_PRIORITY, 0),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP, 0),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0),
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY, 0),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 0),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 0),
    (libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, 0),
    (libc::IPPROTO_TCP, libc::TCP_THIN_DUPACK, 0),
    (libc::IPPROTO_TCP, libc::TCP_THIN_LINEAR_TIMEOUTS, 0),
    (libc::IPPROTO_TCP, libc::TCP_TIMESTAMP, 0),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 0),
    (libc::IPPROTO_IP, libc::IP_FREEBIND, 0),
    (libc::IPPROTO_IP, libc::IP_TRANSPARENT, 0),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT),
    (libc::IPPROTO_IP, libc::IP_RECVERR, 0),
    (libc::IPPROTO_IP, libc::IP_RECVTOS, 0),
    (
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::IPV6_PMTUDISC_WANT,
    ),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 0),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 0),
];

impl Host {
    pub(super) fn get_option(&mut self, fd: Fd, level: i32, name: i32, len: usize) -> Answer {
        let id = self.socket_id(fd)?;
        let value = match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_INFO) => self.info(id)?,
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                let name = self.socket_mut(fd)?.options.congestion.linux_name();
                let mut name = name.as_bytes().to_vec();
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
        let stats = self.conn_of(id).and_then(|conn| self.stack.stats(conn));
        let live_mss = stats.map(|stats| i32::from(stats.mss));
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let is_listening = matches!(socket.phase, Phase::Listening(_));
        let options = &socket.options;
        let tcp = &options.tcp;
        let seconds = |time: Duration| (time.as_millis() / 1000) as i32;
        Ok(match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => socket.take_error().map_or(0, |errno| errno.0),
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) if socket.is_ipv6 => libc::AF_INET6,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => libc::AF_INET,
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => i32::from(is_listening),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => i32::from(options.reuse_address),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => i32::from(options.reuse_port),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(tcp.keepalive.on),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => options.receive_buffer as i32,
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => options.send_buffer as i32,
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => options.receive_low as i32,
            (libc::SOL_SOCKET, libc::SO_SNDLOWAT) => 1,
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(tcp.nodelay),
            (libc::IPPROTO_TCP, libc::TCP_CORK) => i32::from(tcp.cork),
            (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => i32::from(tcp.delayed_ack == Duration::ZERO),
            // What was asked for, until there is a connection that knows.
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => live_mss.unwrap_or(match tcp.mss_max {
                u16::MAX => 536,
                asked => i32::from(asked),
            }),
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => i32::from(tcp.dscp),
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
                i32::from(tcp.hop_limit.unwrap_or(HOPS))
            }
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => seconds(tcp.keepalive.idle),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => seconds(tcp.keepalive.interval),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => i32::from(tcp.keepalive.count),
            (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => i32::from(tcp.syn_retries),
            (libc::IPPROTO_TCP, libc::TCP_LINGER2) => seconds(tcp.fin_wait_2),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                tcp.user_timeout.map_or(0, |time| time.as_millis() as i32)
            }
            (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => match tcp.window_clamp {
                u32::MAX => 0,
                clamp => clamp as i32,
            },
            (libc::IPPROTO_IP, libc::IP_MTU) | (libc::IPPROTO_IPV6, libc::IPV6_MTU) => {
                i32::from(stats.ok_or(Errno(libc::ENOTCONN))?.path_mtu)
            }
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => i32::from(options.v6_only),
            (libc::IPPROTO_TCP, libc::TCP_INQ) => i32::from(options.inq),
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN) => options.fast_open.queue as i32,
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT) => i32::from(options.fast_open.connect),
            (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_NO_COOKIE) => i32::from(options.fast_open.no_cookie),
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
                let name = CongestionName::from_linux(text).ok_or(Errno(libc::ENOENT))?;
                self.socket_mut(fd)?.options.congestion = name;
                return self.tune(id, TcpOption::Congestion(name.kind()));
            }
            _ => {}
        }
        // The oldest of all options may be bytes.
        let number = match value {
            &[byte] if level == libc::IPPROTO_IP => i32::from(byte),
            _ => number(value)?,
        };
        match (level, name) {
            (
                libc::IPPROTO_TCP,
                libc::TCP_FASTOPEN | libc::TCP_FASTOPEN_CONNECT | libc::TCP_FASTOPEN_NO_COOKIE,
            ) => self.set_fast_open(id, name, number),
            _ => self.set_number(id, level, name, number),
        }
    }

    fn set_number(&mut self, id: SocketId, level: i32, name: i32, number: i32) -> Answer {
        let usual_delay = self.usual_delay();
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        let is_bound = socket.local.is_some();
        let options = &mut socket.options;
        let on = number != 0;
        let key = (level, name);
        match key {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => options.reuse_address = on,
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => options.reuse_port = on,
            (libc::IPPROTO_TCP, libc::TCP_INQ) => match number {
                0 | 1 => options.inq = on,
                _ => return fail(libc::EINVAL),
            },
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => options.receive_low = number.max(1) as u32,
            // Linux says twice what is asked for: half of it is for its own use.
            (libc::SOL_SOCKET, libc::SO_RCVBUF | libc::SO_RCVBUFFORCE) => {
                let asked = number.clamp(LEAST_BUFFER, MOST_BUFFER) as u32;
                options.receive_buffer = 2 * asked;
                return self.tune(id, TcpOption::ReceiveBuffer(asked));
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_SNDBUFFORCE) => {
                let asked = number.clamp(2 * LEAST_BUFFER, MOST_BUFFER) as u32;
                options.send_buffer = 2 * asked;
                return self.tune(id, TcpOption::SendBuffer(2 * asked));
            }
            (
                libc::SOL_SOCKET,
                libc::SO_ERROR
                | libc::SO_TYPE
                | libc::SO_PROTOCOL
                | libc::SO_DOMAIN
                | libc::SO_ACCEPTCONN
                | libc::SO_SNDLOWAT,
            ) => return fail(libc::ENOPROTOOPT),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) if is_bound => return fail(libc::EINVAL),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => options.v6_only = on,
            _ => {
                if let Some(option) = tcp_option(key, number, &options.tcp, usual_delay)? {
                    let answer = self.tune(id, option)?;
                    // As in Linux: what a cork or MSG_MORE holds back goes out; what is
                    // written later is held back again.
                    if option == TcpOption::Nodelay(true)
                        && let Some(conn) = self.conn_of(id)
                    {
                        self.tell(conn, TcpOption::Cork(false));
                    }
                    return Ok(answer);
                }
                if !KEPT.iter().any(|(l, n, _)| (*l, *n) == key) {
                    return fail(libc::ENOPROTOOPT);
                }
                options.kept.retain(|(k, _)| *k != key);
                options.kept.push((key, number));
            }
        }
        done(0)
    }

    /// How long an acknowledgment waits that is not to be quick.
    fn usual_delay(&self) -> Duration {
        const USUAL: Duration = Duration::from_millis(40);
        match self.knobs.ack_delay() {
            Duration::ZERO => USUAL,
            delay => delay,
        }
    }

    /// Sets one of the options that the stack knows: for the socket, and for what
    /// it has by now.
    fn tune(&mut self, id: SocketId, option: TcpOption) -> Answer {
        let socket = self.sockets.get_mut(&id).ok_or(Errno(libc::EBADF))?;
        socket.options.tcp.set(option);
        let tcp = socket.options.tcp;
        match &socket.phase {
            Phase::Connecting(conn) | Phase::Connected(conn) => {
                let conn = *conn;
                self.tell(conn, option);
            }
            Phase::Listening(listening) => {
                for &listener in &listening.listeners {
                    self.stack
                        .set_listener_options(listener, tcp)
                        .map_err(|_| Errno(libc::ENOBUFS))?;
                }
            }
            Phase::Fresh | Phase::Deferred(_) | Phase::Over => {}
        }
        done(0)
    }

    /// Tells the stack of one connection's option.
    pub(super) fn tell(&mut self, conn: ConnId, option: TcpOption) {
        // It is gone, or there are a thousand different sets: nothing to be done.
        let _ = self.stack.set_option(conn, option);
    }

    fn info(&self, id: SocketId) -> Result<Vec<u8>, Errno> {
        let socket = self.sockets.get(&id).ok_or(Errno(libc::EBADF))?;
        Ok(info::tcp_info(socket, &self.stack, self.now))
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
        let conn = socket.conn();
        let stats = conn.and_then(|conn| self.stack.stats(conn)).unwrap_or_default();
        let number = match request {
            FIONREAD => conn.map_or(0, |conn| self.stack.readable(conn) as i32),
            TIOCOUTQ => stats.send_queued as i32,
            SIOCOUTQNSD => stats.unsent as i32,
            SIOCATMARK => i32::from(conn.is_some_and(|conn| self.stack.urgent_mark(conn) == Some(0))),
            _ => return fail(libc::ENOTTY),
        };
        Ok((0, Output::Int(number)))
    }
}

/// What an option means to the stack, if it is one of its own.
fn tcp_option(
    (level, name): (i32, i32),
    number: i32,
    now: &Options,
    usual_delay: Duration,
) -> Result<Option<TcpOption>, Errno> {
    let on = number != 0;
    let keepalive = now.keepalive;
    let seconds = |number: i32| Duration::from_secs(number as u64);
    // A number that is in its range.
    let within = |range: core::ops::RangeInclusive<i32>| {
        if range.contains(&number) {
            Ok(number)
        } else {
            fail(libc::EINVAL)
        }
    };
    Ok(Some(match (level, name) {
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => TcpOption::Keepalive(Keepalive { on, ..keepalive }),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => TcpOption::Keepalive(Keepalive {
            idle: seconds(within(1..=32_767)?),
            ..keepalive
        }),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => TcpOption::Keepalive(Keepalive {
            interval: seconds(within(1..=32_767)?),
            ..keepalive
        }),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => TcpOption::Keepalive(Keepalive {
            count: within(1..=127)? as u8,
            ..keepalive
        }),
        // As many bits of it as are the program's to set.
        (libc::IPPROTO_IP, libc::IP_TOS) => TcpOption::Dscp(number as u8),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => match within(-1..=255)? {
            -1 => TcpOption::Dscp(0),
            class => TcpOption::Dscp(class as u8),
        },
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => match number {
            -1 => TcpOption::HopLimit(None),
            _ => TcpOption::HopLimit(Some(within(1..=255)? as u8)),
        },
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => TcpOption::Nodelay(on),
        (libc::IPPROTO_TCP, libc::TCP_CORK) => TcpOption::Cork(on),
        (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => {
            TcpOption::DelayedAck(if on { Duration::ZERO } else { usual_delay })
        }
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) if !on => TcpOption::MssMax(u16::MAX),
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => TcpOption::MssMax(within(88..=32_767)? as u16),
        (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => TcpOption::SynRetries(within(1..=127)? as u8),
        (libc::IPPROTO_TCP, libc::TCP_LINGER2) => TcpOption::FinWait2(match number {
            ..0 => Duration::ZERO,
            0 => Duration::from_secs(60),
            _ => seconds(number),
        }),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
            let millis = within(0..=i32::MAX)? as u64;
            TcpOption::UserTimeout((millis > 0).then_some(Duration::from_millis(millis)))
        }
        (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => TcpOption::WindowClamp(if on {
            number.max(LEAST_BUFFER / 2) as u32
        } else {
            u32::MAX
        }),
        _ => return Ok(None),
    }))
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
