//! Answers of the host, held against what the script says.

use std::net::SocketAddr;

use super::super::ast::{self, Event, Expr};
use super::super::flow::pattern;
use super::super::symbols;
use super::calls::{Made, data_of, ip_address, option_value};
use super::{File, Runner, Step, unfit};
use crate::posix::{Call, Fd, Outcome, Output, Reply};

impl Runner<'_> {
    /// Whether a call answered as it is to, and what follows from it.
    pub(super) fn check(&mut self, event: &Event, call: &ast::Call, made: &Made, reply: Reply) -> Step {
        let came = match reply.result {
            Ok(value) => value.to_string(),
            Err(errno) => format!("-1 {errno}"),
        };
        let at = (reply.at.as_nanos() / 1000) as i64;
        self.note(at, format_args!("{}(...) = {came}", call.name));
        let wrong = self.wrong_result(event, call, made, &reply)?;
        if let Some(wrong) = wrong {
            return Err(self.fail(event, wrong));
        }
        let value = reply.result.unwrap_or(-1);
        match self.follow(call, made, value, &reply.output) {
            Ok(()) => Ok(()),
            Err(wrong) => Err(self.fail(event, wrong)),
        }
    }

    fn wrong_result(
        &self,
        event: &Event,
        call: &ast::Call,
        made: &Made,
        reply: &Reply,
    ) -> Step<Option<String>> {
        if call.result == Expr::Ellipsis {
            return Ok(None);
        }
        let expected = symbols::number(&call.result).map_err(|reason| unfit(event, &reason))?;
        let said = |errno: Option<&str>, value: i64| match errno {
            Some(errno) => format!("{value} {errno}"),
            None => value.to_string(),
        };
        let (value, errno) = match reply.result {
            Ok(value) => (value, None),
            Err(errno) => (-1, Some(errno)),
        };
        let opens = matches!(made, Made::Opens | Made::Accepts) && expected >= 0 && value >= 0;
        let same = opens || value == expected || same_file_flags(call, expected, value);
        let named = call.errno.as_deref();
        let same_errno = named.is_none_or(|name| errno.is_some() && errno == symbols::errno(name));
        if same && same_errno {
            return Ok(None);
        }
        let seen = errno.map(|errno| errno.to_string());
        Ok(Some(format!(
            "{} is to give {}, gave {}",
            call.name,
            said(named, expected),
            said(seen.as_deref(), value)
        )))
    }

    fn follow(&mut self, call: &ast::Call, made: &Made, value: i64, output: &Output) -> Result<(), String> {
        match made {
            Made::Opens if value >= 0 => self.open(call, value as Fd, None),
            Made::Accepts if value >= 0 => {
                let flow = match output {
                    Output::Address(peer) => self.flow_from(peer.port()),
                    _ => None,
                };
                self.open(call, value as Fd, flow);
            }
            Made::Connects(file, port) => {
                self.connected(*file, *port);
                self.wrote(*file, value);
            }
            Made::Binds(port) if value == 0 && *port != 0 => self.bound_port = *port,
            Made::Listens if value == 0 => self.current = None,
            Made::Closes(file) if value == 0 => {
                self.files.remove(file);
            }
            Made::Sends(file) => self.wrote(*file, value),
            Made::Receives { file, text, stays } if value >= 0 => {
                return self.received(*file, text.as_ref(), *stays, value, output);
            }
            Made::Value(expected) if value >= 0 => return same_value(expected, output),
            Made::Polls(asked) if value >= 0 => return same_poll(asked, output),
            Made::Epolls(expected) if value > 0 => return same_epoll(expected, output),
            Made::Addresses(expected) if value >= 0 => return same_address(expected, output),
            Made::Pipes(expected) => return self.piped(expected, output),
            _ => {}
        }
        Ok(())
    }

    /// A file of the script is open: under the number that the script says.
    fn open(&mut self, call: &ast::Call, fd: Fd, flow: Option<usize>) {
        let number = symbols::number(&call.result).unwrap_or_else(|_| fd.into());
        let file = File {
            fd,
            flow,
            written: 0,
            read: 0,
        };
        self.files.insert(number, file);
    }

    fn flow_from(&self, remote_port: u16) -> Option<usize> {
        self.flows
            .iter()
            .rposition(|flow| flow.remote_port == remote_port)
    }

    /// What is so already while a call waits.
    pub(super) fn after_blocking(&mut self, _call: &ast::Call, made: &Made) {
        if let Made::Connects(file, port) = made {
            self.connected(*file, *port);
        }
    }

    /// A file has a connection of its own, if it has none that lives.
    fn connected(&mut self, number: i64, remote_port: u16) {
        let Some(file) = self.files.get(&number).copied() else {
            return;
        };
        let local = match self.host.call(Call::LocalAddress { fd: file.fd }) {
            Outcome::Ready(Reply {
                output: Output::Address(local),
                ..
            }) => local.port(),
            _ => return,
        };
        let known = file
            .flow
            .is_some_and(|at| self.flows[at].local_port == Some(local));
        if local == 0 || remote_port == 0 || known {
            return;
        }
        let flow = self.new_flow(Some(local), remote_port, None);
        self.current = Some(flow);
        self.files.insert(
            number,
            File {
                fd: file.fd,
                flow: Some(flow),
                written: 0,
                read: 0,
            },
        );
    }

    fn wrote(&mut self, number: i64, value: i64) {
        if let Some(file) = self.files.get_mut(&number) {
            file.written = file.written.wrapping_add(value.max(0) as u32);
        }
    }

    fn received(
        &mut self,
        number: i64,
        text: Option<&(Vec<u8>, bool)>,
        stays: bool,
        value: i64,
        output: &Output,
    ) -> Result<(), String> {
        let Some(file) = self.files.get_mut(&number) else {
            return Ok(());
        };
        let at = file.read;
        if !stays {
            file.read = file.read.wrapping_add(value as u32);
        }
        let Output::Data { bytes, .. } = output else {
            return Ok(());
        };
        if let Some((text, open)) = text {
            let same = if *open {
                bytes.starts_with(text)
            } else {
                bytes == text
            };
            return if same {
                Ok(())
            } else {
                Err(format!(
                    "read {:?}, expected {:?}",
                    String::from_utf8_lossy(bytes),
                    String::from_utf8_lossy(text)
                ))
            };
        }
        if self.reads_pattern && *bytes != pattern(at, bytes.len()) {
            return Err(format!(
                "the {value} bytes that were read are not those that were sent"
            ));
        }
        Ok(())
    }

    fn piped(&mut self, expected: &Expr, output: &Output) -> Result<(), String> {
        let (Expr::List(ends), Output::Pipe(reads, writes)) = (expected, output) else {
            return Ok(());
        };
        for (end, fd) in ends.iter().zip([*reads, *writes]) {
            let number = symbols::number(end)?;
            let file = File {
                fd,
                flow: None,
                written: 0,
                read: 0,
            };
            self.files.insert(number, file);
        }
        Ok(())
    }
}

/// FreeBSD's number for O_NONBLOCK, which its scripts write, is 4.
fn same_file_flags(call: &ast::Call, expected: i64, value: i64) -> bool {
    let asks = call.name == "fcntl" && call.arguments.get(1) == Some(&Expr::Word("F_GETFL".to_owned()));
    let nonblocking = i64::from(libc::O_NONBLOCK);
    let as_freebsd = (value & !nonblocking) | if value & nonblocking != 0 { 4 } else { 0 };
    asks && as_freebsd == expected
}

fn same_value(expected: &Expr, output: &Output) -> Result<(), String> {
    if *expected == Expr::Ellipsis || *expected == Expr::List(vec![Expr::Ellipsis]) {
        return Ok(());
    }
    let wanted = option_value(expected)?;
    let seen = match output {
        Output::Bytes(bytes) => bytes.clone(),
        Output::Int(value) => value.to_ne_bytes().to_vec(),
        _ => return Ok(()),
    };
    let same = match expected {
        // A text may have room behind it.
        Expr::Text(..) => seen.starts_with(&wanted) && seen[wanted.len()..].iter().all(|&byte| byte == 0),
        _ => seen == wanted,
    };
    if same {
        return Ok(());
    }
    Err(format!(
        "the value is to be {}, is {}",
        shown(&wanted),
        shown(&seen)
    ))
}

fn shown(bytes: &[u8]) -> String {
    match bytes.as_array::<4>() {
        Some(bytes) => i32::from_ne_bytes(*bytes).to_string(),
        None => format!("{bytes:?}"),
    }
}

fn same_poll(asked: &[Expr], output: &Output) -> Result<(), String> {
    let Output::Poll(seen) = output else { return Ok(()) };
    for (item, seen) in asked.iter().zip(seen) {
        let expected = item.field("revents").map_or(Ok(0), symbols::number)?;
        if expected != i64::from(*seen) {
            return Err(format!("revents is to be {expected:#x}, is {seen:#x}"));
        }
    }
    Ok(())
}

fn same_epoll(expected: &[Expr], output: &Output) -> Result<(), String> {
    let Output::Epoll(seen) = output else {
        return Ok(());
    };
    for (item, (events, data)) in expected.iter().zip(seen) {
        let wanted = item.field("events").map_or(Ok(0), symbols::number)?;
        if wanted != i64::from(*events) {
            return Err(format!("events is to be {wanted:#x}, is {events:#x}"));
        }
        let wanted = data_of(item).map_or(Ok(0), symbols::number)?;
        if wanted as u64 != *data {
            return Err(format!("the word with the events is to be {wanted}, is {data}"));
        }
    }
    Ok(())
}

fn same_address(expected: &Expr, output: &Output) -> Result<(), String> {
    let Output::Address(seen) = output else {
        return Ok(());
    };
    let port = expected.field("sin_port").or_else(|| expected.field("sin6_port"));
    let ip = expected.field("sin_addr").or_else(|| expected.field("sin6_addr"));
    let (Some(port), Some(ip)) = (port, ip) else {
        return Ok(());
    };
    let wanted = SocketAddr::new(ip_address(ip)?, symbols::number(port)? as u16);
    if wanted == *seen {
        Ok(())
    } else {
        Err(format!("the address is to be {wanted}, is {seen}"))
    }
}
