//! Receiving and sending, and pipes.

use crore_stack::{ConnId, Read, TcpOption};

use super::{Answer, Attempt, Progress, done, fail, limit};
use crate::posix::call::{Address, Errno, Fd, Output};
use crate::posix::file::{File, Kind, Pipe};
use crate::posix::host::Host;
use crate::posix::socket::{Phase, SocketId};

impl Host {
    pub(super) fn receive(&mut self, fd: Fd, len: usize, flags: i32, progress: &mut Progress) -> Attempt {
        if let Some(File {
            kind: Kind::Pipe { pipe, writes: false },
            ..
        }) = self.files.get(&fd)
        {
            let pipe = *pipe;
            // read knows pipes; recv and its like don't, and have flags.
            if flags != 0 {
                return Some(fail(libc::ENOTSOCK));
            }
            return self.read_pipe(fd, pipe, len, progress);
        }
        let id = match self.socket_id(fd) {
            Ok(id) => id,
            Err(errno) => return Some(Err(errno)),
        };
        let Some(socket) = self.sockets.get(&id) else {
            return Some(fail(libc::EBADF));
        };
        if flags & libc::MSG_ERRQUEUE != 0 {
            return Some(fail(libc::EAGAIN));
        }
        if flags & libc::MSG_OOB != 0 {
            return Some(fail(libc::EINVAL));
        }
        let (low, timeout) = (socket.options.receive_low, limit(socket.options.receive_timeout));
        let may_not = flags & libc::MSG_DONTWAIT != 0 || self.is_nonblocking(fd);
        let conn = match socket.phase {
            Phase::Fresh | Phase::Listening(_) => return Some(fail(libc::ENOTCONN)),
            Phase::Connecting(conn) | Phase::Connected(conn) => Some(conn),
            // The SYN waits for the first write.
            Phase::Deferred(_) | Phase::Over => None,
        };
        if len == 0 {
            return Some(done(0));
        }
        // What suffices: all, or as much as SO_RCVLOWAT says.
        let enough = if flags & libc::MSG_WAITALL != 0 {
            len
        } else {
            (low.max(1) as usize).min(len)
        };
        if flags & libc::MSG_PEEK != 0 {
            return self.peek(id, len, enough, flags, may_not, progress);
        }
        // One that may not sleep takes what there is; so does one that wants all,
        // which may be more than can wait at once.
        if let Some(conn) = conn
            && (may_not
                || flags & libc::MSG_WAITALL != 0
                || progress.received.len() + self.stack.readable(conn) >= enough
                || self.is_at_end(id))
        {
            self.take(conn, len, progress);
        }
        if progress.received.len() >= enough {
            return Some(self.received(id, progress, flags));
        }
        self.no_data(id, may_not, timeout, flags, progress)
    }

    /// There is not enough to read: the end, an error, or patience.
    fn no_data(
        &mut self,
        id: SocketId,
        may_not: bool,
        timeout: Option<u64>,
        flags: i32,
        progress: &mut Progress,
    ) -> Attempt {
        let some = !progress.received.is_empty();
        let at_end = self.is_at_end(id);
        let socket = self.sockets.get_mut(&id)?;
        let failed = socket.error.is_some();
        if !some {
            if let Some(errno) = socket.take_error() {
                return Some(Err(errno));
            }
            if at_end {
                return Some(self.received(id, progress, flags));
            }
        } else if at_end || failed {
            return Some(self.received(id, progress, flags));
        }
        let waited = self.wait(progress, may_not, timeout, Errno(libc::EAGAIN))?;
        Some(if some {
            self.received(id, progress, flags)
        } else {
            waited
        })
    }

    /// What a receiver gets: the bytes, or with `MSG_TRUNC` their number alone.
    fn received(&self, id: SocketId, progress: &mut Progress, flags: i32) -> Answer {
        let mut bytes = core::mem::take(&mut progress.received);
        let count = bytes.len() as i64;
        if flags & libc::MSG_TRUNC != 0 {
            bytes.clear();
        }
        let inq = self
            .sockets
            .get(&id)
            .filter(|socket| socket.options.inq)
            .map(|socket| {
                let left = socket.conn().map_or(0, |conn| self.stack.readable(conn));
                // Who has read everything can tell by it that more is to come, or not.
                if left == 0 {
                    i32::from(socket.peer_done)
                } else {
                    left as i32
                }
            });
        Ok((count, Output::Data { bytes, flags: 0, inq }))
    }

    /// Whether nothing more will ever come than lies there now.
    fn is_at_end(&self, id: SocketId) -> bool {
        self.sockets
            .get(&id)
            .is_none_or(|socket| socket.read_shut || socket.peer_done)
    }

    /// Reads up to `len` bytes, those that were read before included.
    fn take(&mut self, conn: ConnId, len: usize, progress: &mut Progress) {
        while progress.received.len() < len {
            match self.stack.read_up_to(conn, len - progress.received.len()) {
                Ok(Read::Data(chunk)) => progress.received.extend_from_slice(&chunk),
                Ok(Read::WouldBlock | Read::Eof) | Err(_) => break,
            }
        }
    }

    fn peek(
        &mut self,
        id: SocketId,
        len: usize,
        enough: usize,
        flags: i32,
        may_not: bool,
        progress: &mut Progress,
    ) -> Attempt {
        let timeout = self
            .sockets
            .get(&id)
            .and_then(|s| limit(s.options.receive_timeout));
        if let Some(conn) = self.conn_of(id) {
            let waiting = self.stack.readable(conn);
            if waiting > 0 && (may_not || waiting >= enough || self.is_at_end(id)) {
                progress.received.resize(len.min(waiting), 0);
                let copied = self.stack.peek_data(conn, 0, &mut progress.received);
                progress.received.truncate(copied);
                return Some(self.received(id, progress, flags));
            }
        }
        self.no_data(id, may_not, timeout, flags, progress)
    }

    pub(super) fn send(
        &mut self,
        fd: Fd,
        data: &[u8],
        flags: i32,
        to: Option<Address>,
        progress: &mut Progress,
    ) -> Attempt {
        if let Some(File {
            kind: Kind::Pipe { pipe, writes: true },
            ..
        }) = self.files.get(&fd)
        {
            let pipe = *pipe;
            if flags != 0 {
                return Some(fail(libc::ENOTSOCK));
            }
            return self.write_pipe(fd, pipe, data, progress);
        }
        let id = match self.socket_id(fd) {
            Ok(id) => id,
            Err(errno) => return Some(Err(errno)),
        };
        let may_not = flags & libc::MSG_DONTWAIT != 0 || self.is_nonblocking(fd);
        if self.opens_by_writing(id, flags) {
            match self.send_early(fd, data, to, may_not, progress) {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(errno) => return Some(Err(errno)),
            }
        }
        let socket = self.sockets.get_mut(&id)?;
        let timeout = limit(socket.options.send_timeout);
        if socket.error.is_some() || socket.write_shut {
            return Some(cut_short(progress).unwrap_or_else(|| {
                let errno = socket.take_error().unwrap_or(Errno(libc::EPIPE));
                Err(errno)
            }));
        }
        let conn = match socket.phase {
            Phase::Connected(conn) => conn,
            Phase::Connecting(_) => return self.wait(progress, may_not, timeout, Errno(libc::EAGAIN)),
            Phase::Fresh | Phase::Deferred(_) | Phase::Listening(_) | Phase::Over => {
                return Some(cut_short(progress).unwrap_or(fail(libc::EPIPE)));
            }
        };
        progress.sent += core::mem::take(&mut progress.early);
        let more = flags & libc::MSG_MORE != 0;
        if core::mem::replace(&mut socket.has_more, more) != more {
            let corked = more || socket.options.tcp.cork;
            self.tell(conn, TcpOption::Cork(corked));
        }
        let rest = data.get(progress.sent..).unwrap_or_default();
        let written = if flags & libc::MSG_OOB != 0 {
            self.stack.write_urgent(conn, rest)
        } else {
            self.stack.write(conn, rest)
        };
        let written = written.map_err(|_| Errno(libc::EPIPE));
        match written {
            Ok(written) => progress.sent += written,
            Err(errno) => return Some(cut_short(progress).unwrap_or(Err(errno))),
        }
        if progress.sent == data.len() {
            return Some(done(data.len() as i64));
        }
        let waited = self.wait(progress, may_not, timeout, Errno(libc::EAGAIN))?;
        Some(cut_short(progress).unwrap_or(waited))
    }

    pub(super) fn pipe(&mut self) -> Answer {
        let pipe = self.next_name();
        self.pipes.insert(
            pipe,
            Pipe {
                has_reader: true,
                has_writer: true,
                ..Pipe::default()
            },
        );
        let reads = self.open_file(Kind::Pipe { pipe, writes: false }, false);
        let writes = self.open_file(Kind::Pipe { pipe, writes: true }, false);
        Ok((0, Output::Pipe(reads, writes)))
    }

    pub(super) fn close_pipe(&mut self, pipe: u64, writes: bool) {
        let Some(state) = self.pipes.get_mut(&pipe) else {
            return;
        };
        if writes {
            state.has_writer = false;
        } else {
            state.has_reader = false;
        }
        if !state.has_reader && !state.has_writer {
            self.pipes.remove(&pipe);
        }
    }

    fn read_pipe(&mut self, fd: Fd, pipe: u64, len: usize, progress: &mut Progress) -> Attempt {
        let may_not = self.is_nonblocking(fd);
        let state = self.pipes.get_mut(&pipe)?;
        if state.bytes.is_empty() && state.has_writer && len > 0 {
            return self.wait(progress, may_not, None, Errno(libc::EAGAIN));
        }
        let count = len.min(state.bytes.len());
        progress.received = state.bytes.drain(..count).collect();
        let bytes: Vec<u8> = core::mem::take(&mut progress.received);
        let count = bytes.len() as i64;
        Some(Ok((
            count,
            Output::Data {
                bytes,
                flags: 0,
                inq: None,
            },
        )))
    }

    fn write_pipe(&mut self, fd: Fd, pipe: u64, data: &[u8], progress: &mut Progress) -> Attempt {
        let may_not = self.is_nonblocking(fd);
        let state = self.pipes.get_mut(&pipe)?;
        if !state.has_reader {
            return Some(cut_short(progress).unwrap_or(fail(libc::EPIPE)));
        }
        let rest = data.get(progress.sent..).unwrap_or_default();
        let count = rest.len().min(state.room());
        state.bytes.extend(&rest[..count]);
        progress.sent += count;
        if progress.sent == data.len() {
            return Some(done(data.len() as i64));
        }
        let waited = self.wait(progress, may_not, None, Errno(libc::EAGAIN))?;
        Some(cut_short(progress).unwrap_or(waited))
    }

    /// Bytes from a socket into a pipe, or the other way.
    pub(super) fn splice(
        &mut self,
        from: Fd,
        to: Fd,
        len: usize,
        flags: u32,
        progress: &mut Progress,
    ) -> Attempt {
        let end = |host: &Self, fd: Fd| match host.files.get(&fd).map(|file| &file.kind) {
            Some(&Kind::Pipe { pipe, writes }) => Ok(Some((pipe, writes))),
            Some(_) => Ok(None),
            None => fail(libc::EBADF),
        };
        let (source, sink) = match (end(self, from), end(self, to)) {
            (Ok(source), Ok(sink)) => (source, sink),
            (Err(errno), _) | (_, Err(errno)) => return Some(Err(errno)),
        };
        let wants_now = if flags & libc::SPLICE_F_NONBLOCK != 0 {
            libc::MSG_DONTWAIT
        } else {
            0
        };
        match (source, sink) {
            (None, Some((pipe, true))) => {
                let room = self.pipes.get(&pipe).map_or(0, Pipe::room);
                if room == 0 {
                    return self.wait(progress, wants_now != 0, None, Errno(libc::EAGAIN));
                }
                let answer = self.receive(from, len.min(room), wants_now, progress)?;
                Some(answer.map(|(value, output)| {
                    if let (Output::Data { bytes, .. }, Some(state)) = (output, self.pipes.get_mut(&pipe)) {
                        state.bytes.extend(bytes);
                    }
                    (value, Output::None)
                }))
            }
            (Some((pipe, false)), None) => {
                let state = self.pipes.get_mut(&pipe)?;
                if state.bytes.is_empty() && progress.sent == 0 {
                    if !state.has_writer {
                        return Some(done(0));
                    }
                    return self.wait(progress, wants_now != 0, None, Errno(libc::EAGAIN));
                }
                let bytes: Vec<u8> = state.bytes.iter().copied().take(len).collect();
                let answer = self.send(to, &bytes, libc::MSG_DONTWAIT | wants_now, None, progress)?;
                if let (Ok((sent, _)), Some(state)) = (&answer, self.pipes.get_mut(&pipe)) {
                    state.bytes.drain(..(*sent as usize).min(state.bytes.len()));
                }
                Some(answer)
            }
            _ => Some(fail(libc::EINVAL)),
        }
    }
}

/// The answer of a sender that has to stop before the end, if it sent anything.
fn cut_short(progress: &Progress) -> Option<Answer> {
    (progress.sent > 0).then(|| done(progress.sent as i64))
}
