//! Calls of a script, made into calls of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::ast::{self, Expr};
use super::super::flow::pattern;
use super::super::settings::Family;
use super::super::symbols;
use super::Runner;
use crate::posix::{Address, Call, Fd};

/// What was asked, as far as the answer is judged by it.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// A file comes to be.
    Opens,
    /// A connection begins: the script's file, the peer's port.
    Connects(i64, u16),
    /// A connection is taken from a listener.
    Accepts,
    /// A port is given.
    Binds(u16),
    /// Packets without ports belong to a new connection from here on.
    Listens,
    /// A file ends.
    Closes(i64),
    /// Bytes go out.
    Sends(i64),
    /// Bytes come in: the file, the text that is expected, whether they stay.
    Receives {
        file: i64,
        text: Option<(Vec<u8>, bool)>,
        stays: bool,
    },
    /// An option's value, or an ioctl's, is to be this.
    Value(Expr),
    /// What poll says of its files.
    Polls(Vec<Expr>),
    /// What epoll says.
    Epolls(Vec<Expr>),
    /// An address.
    Addresses(Expr),
    /// Two files.
    Pipes(Expr),
    /// Only the result counts.
    Plain,
}

type Unfit<T> = Result<T, String>;

/// The arguments of a call, by their places.
struct Arguments<'a> {
    call: &'a ast::Call,
}

impl<'a> Arguments<'a> {
    fn at(&self, place: usize) -> Unfit<&'a Expr> {
        let found = self.call.arguments.get(place);
        found.ok_or_else(|| format!("{} is given too little", self.call.name))
    }

    fn number(&self, place: usize) -> Unfit<i64> {
        symbols::number(self.at(place)?)
    }

    fn int(&self, place: usize) -> Unfit<i32> {
        Ok(self.number(place)? as i32)
    }

    /// A number, or this if it is not given.
    fn int_or(&self, place: usize, otherwise: i32) -> Unfit<i32> {
        match self.call.arguments.get(place) {
            Some(value) => Ok(symbols::number(value)? as i32),
            None => Ok(otherwise),
        }
    }

    fn size(&self, place: usize) -> Unfit<usize> {
        usize::try_from(self.number(place)?)
            .map_err(|_| format!("{} is given a negative size", self.call.name))
    }
}

impl Runner<'_> {
    /// The call that the host is to carry out, and how its answer is judged.
    pub(super) fn translate(&mut self, call: &ast::Call) -> Unfit<(Made, Call)> {
        let given = Arguments { call };
        match call.name.as_str() {
            "socket" | "bind" | "listen" | "accept" | "accept4" | "connect" | "close" | "shutdown"
            | "getsockname" | "getpeername" => self.opening(&given),
            "read" | "readv" | "recv" | "recvfrom" | "recvmsg" => self.receiving(&given),
            "write" | "writev" | "send" | "sendto" | "sendmsg" => self.sending(&given),
            "getsockopt" | "setsockopt" | "fcntl" | "ioctl" => self.options(&given),
            "poll" | "epoll_create" | "epoll_create1" | "epoll_ctl" | "epoll_wait" => self.waiting(&given),
            "pipe" => Ok((Made::Pipes(given.at(0)?.clone()), Call::Pipe)),
            "splice" => Ok((
                Made::Plain,
                Call::Splice {
                    from: self.fd(given.number(0)?),
                    to: self.fd(given.number(2)?),
                    len: given.size(4)?,
                    flags: given.int_or(5, 0)? as u32,
                },
            )),
            other => Err(format!("the call {other} is not known here")),
        }
    }

    /// The host's number for a file of the script; one that it does not know stays as it is.
    fn fd(&self, script: i64) -> Fd {
        match self.files.get(&script) {
            Some(file) => file.fd,
            // A number that the script has not opened must not be anybody else's.
            None if self.files.values().any(|file| i64::from(file.fd) == script) => -1,
            None => script as Fd,
        }
    }

    fn opening(&mut self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let name = given.call.name.as_str();
        if name == "socket" {
            return self.socket(given);
        }
        let file = given.number(0)?;
        let fd = self.fd(file);
        Ok(match name {
            "bind" => {
                let address = self.address(given.at(1)?, self.settings.local, self.settings.bind_port)?;
                (Made::Binds(port(address)), Call::Bind { fd, address })
            }
            "connect" => {
                let address = self.address(given.at(1)?, self.settings.remote, self.settings.connect_port)?;
                (Made::Connects(file, port(address)), Call::Connect { fd, address })
            }
            "listen" => {
                let backlog = given.int(1)?;
                (Made::Listens, Call::Listen { fd, backlog })
            }
            "accept" | "accept4" => {
                let flags = given.int_or(3, 0)?;
                (Made::Accepts, Call::Accept { fd, flags })
            }
            "close" => (Made::Closes(file), Call::Close { fd }),
            "shutdown" => {
                let how = given.int(1)?;
                (Made::Plain, Call::Shutdown { fd, how })
            }
            "getsockname" => (Made::Addresses(given.at(1)?.clone()), Call::LocalAddress { fd }),
            _ => (Made::Addresses(given.at(1)?.clone()), Call::PeerAddress { fd }),
        })
    }

    fn socket(&self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let domain = match given.at(0)? {
            Expr::Ellipsis if self.settings.family == Family::V4 => libc::AF_INET,
            Expr::Ellipsis => libc::AF_INET6,
            named => symbols::number(named)? as i32,
        };
        let kind = given.int(1)?;
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let protocol = given.int(2)?;
        if kind & !flags != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return Err("a socket that is not TCP's".to_owned());
        }
        let call = Call::Socket {
            domain,
            kind,
            protocol,
        };
        Ok((Made::Opens, call))
    }

    /// `...` stands for the usual one.
    fn address(&self, expr: &Expr, usual: IpAddr, port: u16) -> Unfit<Address> {
        if *expr == Expr::Ellipsis {
            return Ok(Address::Ip(SocketAddr::new(self.mapped(usual), port)));
        }
        let family = expr.field("sa_family").or_else(|| expr.field("sin_family"));
        match family
            .map(symbols::number)
            .transpose()?
            .map(|family| family as i32)
        {
            Some(libc::AF_UNSPEC) => return Ok(Address::Unspecified),
            Some(libc::AF_INET | libc::AF_INET6) => {}
            _ => return Err("an address of a family that is not known here".to_owned()),
        }
        let port = expr.field("sin_port").or_else(|| expr.field("sin6_port"));
        let port = port.map_or(Ok(0), symbols::number)? as u16;
        let ip = expr.field("sin_addr").or_else(|| expr.field("sin6_addr"));
        let ip = match ip {
            Some(ip) => ip_address(ip)?,
            None => return Err("an address without an address".to_owned()),
        };
        Ok(Address::Ip(SocketAddr::new(ip, port)))
    }

    /// An IPv4 address as an IPv6 socket has it, where sockets are of IPv6.
    fn mapped(&self, ip: IpAddr) -> IpAddr {
        match (self.settings.family, ip) {
            (Family::Mapped, IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            _ => ip,
        }
    }

    fn receiving(&mut self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let file = given.number(0)?;
        let buffer = given.at(1)?;
        let (text, len, flags) = match given.call.name.as_str() {
            "readv" => (None, vector_len(buffer)?, 0),
            "recvmsg" => {
                let vector = buffer.field("msg_iov").ok_or("a message without a vector")?;
                if matches!(buffer.field("msg_control"), Some(Expr::List(list)) if !list.is_empty()) {
                    return Err("control messages are not known here".to_owned());
                }
                (None, vector_len(vector)?, given.int(2)?)
            }
            _ => (text_of(buffer), given.size(2)?, given.int_or(3, 0)?),
        };
        let made = Made::Receives {
            file,
            text,
            stays: flags & libc::MSG_PEEK != 0,
        };
        let fd = self.fd(file);
        Ok((made, Call::Receive { fd, len, flags }))
    }

    fn sending(&mut self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let file = given.number(0)?;
        let buffer = given.at(1)?;
        let mut to = None;
        let (parts, flags) = match given.call.name.as_str() {
            "writev" => (vector_parts(buffer)?, 0),
            "sendmsg" => {
                let vector = buffer.field("msg_iov").ok_or("a message without a vector")?;
                (vector_parts(vector)?, given.int_or(2, 0)?)
            }
            _ => {
                let parts = vec![(text_of(buffer).map(|(text, _)| text), given.size(2)?)];
                (parts, given.int_or(3, 0)?)
            }
        };
        if given.call.name == "sendto" && flags & libc::MSG_FASTOPEN != 0 {
            let usual = (self.settings.remote, self.settings.connect_port);
            to = Some(self.address(given.at(4)?, usual.0, usual.1)?);
        }
        if flags & libc::MSG_OOB != 0 {
            self.reads_pattern = false;
        }
        let mut at = self.files.get(&file).map_or(0, |file| file.written);
        let mut data = Vec::new();
        for (text, len) in parts {
            match text {
                Some(mut text) => {
                    self.writes_pattern = false;
                    text.resize(len, 0);
                    data.extend(text);
                }
                None => data.extend(pattern(at, len)),
            }
            at = at.wrapping_add(len as u32);
        }
        let fd = self.fd(file);
        let made = match to {
            Some(to) => Made::Connects(file, port(to)),
            None => Made::Sends(file),
        };
        Ok((made, Call::Send { fd, data, flags, to }))
    }

    fn options(&self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let fd = self.fd(given.number(0)?);
        Ok(match given.call.name.as_str() {
            "getsockopt" => {
                let expected = given.at(3)?.clone();
                let (level, name) = (given.int(1)?, given.int(2)?);
                let len = match given.at(4) {
                    Ok(Expr::Ellipsis) | Err(_) => 256,
                    Ok(len) => symbols::number(len)?.max(0) as usize,
                };
                (Made::Value(expected), Call::GetOption { fd, level, name, len })
            }
            "setsockopt" => {
                let (level, name) = (given.int(1)?, given.int(2)?);
                let value = option_value(given.at(3)?)?;
                (
                    Made::Plain,
                    Call::SetOption {
                        fd,
                        level,
                        name,
                        value,
                    },
                )
            }
            "fcntl" => {
                let command = given.int(1)?;
                let argument = given.int_or(2, 0)?.into();
                (
                    Made::Plain,
                    Call::Fcntl {
                        fd,
                        command,
                        argument,
                    },
                )
            }
            _ => {
                let request = given.number(1)? as u64;
                let expected = given.call.arguments.get(2).cloned().unwrap_or(Expr::Ellipsis);
                let value = symbols::number(&expected).unwrap_or_default() as i32;
                (Made::Value(expected), Call::Ioctl { fd, request, value })
            }
        })
    }

    fn waiting(&self, given: &Arguments<'_>) -> Unfit<(Made, Call)> {
        let list = |expr: &Expr| match expr {
            Expr::List(items) => items.clone(),
            other => vec![other.clone()],
        };
        Ok(match given.call.name.as_str() {
            "poll" => {
                let asked = list(given.at(0)?);
                let fds = asked.iter().map(|item| self.polled(item)).collect::<Unfit<_>>()?;
                let timeout_ms = given.int(2)?;
                (Made::Polls(asked), Call::Poll { fds, timeout_ms })
            }
            "epoll_ctl" => {
                let (epoll, operation) = (self.fd(given.number(0)?), given.int(1)?);
                let fd = self.fd(given.number(2)?);
                let event = given.call.arguments.get(3);
                let events = event
                    .and_then(|event| event.field("events"))
                    .map_or(Ok(0), symbols::number)?;
                let data = event.and_then(data_of).map_or(Ok(0), symbols::number)?;
                let call = Call::EpollControl {
                    epoll,
                    operation,
                    fd,
                    events: events as u32,
                    data: data as u64,
                };
                (Made::Plain, call)
            }
            "epoll_wait" => {
                let call = Call::EpollWait {
                    epoll: self.fd(given.number(0)?),
                    most: given.size(2)?,
                    timeout_ms: given.int(3)?,
                };
                (Made::Epolls(list(given.at(1)?)), call)
            }
            _ => (Made::Opens, Call::EpollCreate),
        })
    }

    fn polled(&self, item: &Expr) -> Unfit<(Fd, i16)> {
        let (Some(fd), Some(events)) = (item.field("fd"), item.field("events")) else {
            return Err("poll wants {fd=, events=, revents=}".to_owned());
        };
        Ok((self.fd(symbols::number(fd)?), symbols::number(events)? as i16))
    }
}

/// The word that goes with an event of epoll; the script's own numbers stay there.
pub(super) fn data_of(event: &Expr) -> Option<&Expr> {
    ["fd", "u32", "u64", "ptr"]
        .iter()
        .find_map(|name| event.field(name))
}

fn port(address: Address) -> u16 {
    match address {
        Address::Ip(address) => address.port(),
        Address::Unspecified | Address::Other => 0,
    }
}

fn text_of(buffer: &Expr) -> Option<(Vec<u8>, bool)> {
    match buffer {
        Expr::Text(text, open) => Some((text.clone(), *open)),
        _ => None,
    }
}

pub(super) fn ip_address(expr: &Expr) -> Unfit<IpAddr> {
    match expr {
        Expr::Address(ip) => Ok(*ip),
        Expr::Apply(_, values) => match values.as_slice() {
            [Expr::Text(text, _)] => {
                let text = String::from_utf8_lossy(text);
                text.parse().map_err(|_| format!("{text} is no address"))
            }
            [Expr::Word(word)] if word == "INADDR_ANY" => Ok(Ipv4Addr::UNSPECIFIED.into()),
            _ => Err("this is no address".to_owned()),
        },
        Expr::Word(word) if word == "INADDR_ANY" => Ok(Ipv4Addr::UNSPECIFIED.into()),
        Expr::Word(word) if word == "in6addr_any" => Ok(Ipv6Addr::UNSPECIFIED.into()),
        _ => Err("this is no address".to_owned()),
    }
}

/// `[{..., 1000}, {"text", 4}]`: what stands in each part, and its length.
fn vector_parts(expr: &Expr) -> Unfit<Vec<(Option<Vec<u8>>, usize)>> {
    let Expr::List(parts) = expr else {
        return Err("a vector is a list".to_owned());
    };
    let part = |part: &Expr| {
        let Expr::Struct(fields) = part else {
            return Err("a part of a vector is {base, length}".to_owned());
        };
        let [base, len] = fields.as_slice() else {
            return Err("a part of a vector is {base, length}".to_owned());
        };
        let len = symbols::number(&len.value)?;
        Ok((
            text_of(&base.value).map(|(text, _)| text),
            usize::try_from(len).unwrap_or_default(),
        ))
    };
    parts.iter().map(part).collect()
}

fn vector_len(expr: &Expr) -> Unfit<usize> {
    Ok(vector_parts(expr)?.iter().map(|(_, len)| len).sum())
}

/// An option's value as the bytes that a program would hand over.
pub(super) fn option_value(expr: &Expr) -> Unfit<Vec<u8>> {
    let pair = |first: &str, second: &str| -> Option<Unfit<(i64, i64)>> {
        let (first, second) = (expr.field(first)?, expr.field(second)?);
        Some(symbols::number(first).and_then(|first| Ok((first, symbols::number(second)?))))
    };
    if let Expr::Text(text, _) = expr {
        return Ok(text.clone());
    }
    if let Expr::List(items) = expr
        && let [item @ (Expr::Struct(_) | Expr::Text(..))] = items.as_slice()
    {
        return option_value(item);
    }
    if let Some(linger) = pair("onoff", "linger") {
        let (on, seconds) = linger?;
        return Ok([(on as i32).to_ne_bytes(), (seconds as i32).to_ne_bytes()].concat());
    }
    if let Some(time) = pair("tv_sec", "tv_usec") {
        let (seconds, micros) = time?;
        return Ok([seconds.to_ne_bytes(), micros.to_ne_bytes()].concat());
    }
    Ok((symbols::number(expr)? as i32).to_ne_bytes().to_vec())
}
