//! poll and epoll.

use super::{Answer, Attempt, Progress, done, fail};
use crate::posix::call::{Errno, Fd, Output};
use crate::posix::file::{Epoll, File, Item, Kind, Pipe};
use crate::posix::host::Host;

/// Always told, whether asked for or not.
const ALWAYS: i16 = libc::POLLERR | libc::POLLHUP;

impl Host {
    pub(super) fn poll(&mut self, fds: &[(Fd, i16)], timeout_ms: i32, progress: &mut Progress) -> Attempt {
        let seen: Vec<i16> = fds
            .iter()
            .map(|&(fd, events)| match fd {
                // One to be left out.
                ..0 => 0,
                _ => match self.ready(fd) {
                    Some((ready, _)) => ready & (events | ALWAYS),
                    None => libc::POLLNVAL,
                },
            })
            .collect();
        let count = seen.iter().filter(|&&ready| ready != 0).count();
        let answer = |count: usize| Some(Ok((count as i64, Output::Poll(seen.clone()))));
        if count > 0 {
            return answer(count);
        }
        self.wait_ms(timeout_ms, progress)?;
        answer(0)
    }

    pub(super) fn epoll_create(&mut self) -> Answer {
        let fd = self.open_file(Kind::Epoll(Epoll::default()), false);
        done(i64::from(fd))
    }

    pub(super) fn epoll_control(
        &mut self,
        epoll: Fd,
        operation: i32,
        fd: Fd,
        events: u32,
        data: u64,
    ) -> Answer {
        if !self.files.contains_key(&fd) {
            return fail(libc::EBADF);
        }
        let Kind::Epoll(watched) = &mut self.file(epoll)?.kind else {
            return fail(libc::EINVAL);
        };
        if epoll == fd {
            return fail(libc::EINVAL);
        }
        let item = Item {
            events,
            data,
            seen: None,
        };
        let is_there = watched.items.contains_key(&fd);
        match operation {
            libc::EPOLL_CTL_ADD if is_there => fail(libc::EEXIST),
            libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL if !is_there => fail(libc::ENOENT),
            libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD => {
                watched.items.insert(fd, item);
                done(0)
            }
            libc::EPOLL_CTL_DEL => {
                watched.items.remove(&fd);
                done(0)
            }
            _ => fail(libc::EINVAL),
        }
    }

    pub(super) fn epoll_wait(
        &mut self,
        epoll: Fd,
        most: usize,
        timeout_ms: i32,
        progress: &mut Progress,
    ) -> Attempt {
        let watched = match self.file(epoll) {
            Ok(File {
                kind: Kind::Epoll(watched),
                ..
            }) => core::mem::take(&mut watched.items),
            Ok(_) => return Some(fail(libc::EINVAL)),
            Err(errno) => return Some(Err(errno)),
        };
        let mut items = watched;
        let found = if most == 0 {
            Err(Errno(libc::EINVAL))
        } else {
            Ok(items
                .iter_mut()
                .filter_map(|(&fd, item)| self.fire(fd, item))
                .take(most)
                .collect::<Vec<_>>())
        };
        if let Ok(File {
            kind: Kind::Epoll(watched),
            ..
        }) = self.file(epoll)
        {
            watched.items = items;
        }
        let found = match found {
            Ok(found) => found,
            Err(errno) => return Some(Err(errno)),
        };
        if found.is_empty() {
            self.wait_ms(timeout_ms, progress)?;
        }
        Some(Ok((found.len() as i64, Output::Epoll(found))))
    }

    /// `Some` when such a call has waited long enough.
    fn wait_ms(&self, timeout_ms: i32, progress: &mut Progress) -> Option<()> {
        let limit = u64::try_from(timeout_ms).ok();
        // What it would answer does not matter.
        self.wait(progress, timeout_ms == 0, limit, Errno(libc::EAGAIN))
            .map(|_| ())
    }

    /// What is to be told of one that is watched, if anything.
    fn fire(&self, fd: Fd, item: &mut Item) -> Option<(u32, u64)> {
        const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
        const EDGE: u32 = libc::EPOLLET as u32;
        let (ready, wakes) = self.ready(fd)?;
        if item.events == 0 {
            return None;
        }
        // poll's and epoll's events have the same numbers.
        let wanted = item.events | ALWAYS as u32;
        let told = u32::from(ready as u16) & wanted;
        if told == 0 || (item.events & EDGE != 0 && item.seen == Some(wakes)) {
            return None;
        }
        item.seen = Some(wakes);
        if item.events & ONESHOT != 0 {
            item.events = 0;
        }
        Some((told, item.data))
    }

    /// What is true of a file, and how often that may have changed.
    fn ready(&self, fd: Fd) -> Option<(i16, u64)> {
        match self.files.get(&fd)?.kind {
            Kind::Socket(id) => {
                let socket = self.sockets.get(&id)?;
                Some((socket.readiness(&self.stack), socket.wakes))
            }
            Kind::Pipe { pipe, writes } => {
                let pipe = self.pipes.get(&pipe)?;
                Some((pipe_readiness(pipe, writes), pipe.bytes.len() as u64))
            }
            Kind::Epoll(_) => Some((0, 0)),
        }
    }
}

fn pipe_readiness(pipe: &Pipe, writes: bool) -> i16 {
    let mut ready = 0;
    if writes {
        if !pipe.has_reader {
            ready |= libc::POLLERR;
        }
        if pipe.room() > 0 {
            ready |= libc::POLLOUT | libc::POLLWRNORM;
        }
    } else {
        if !pipe.bytes.is_empty() {
            ready |= libc::POLLIN | libc::POLLRDNORM;
        }
        if !pipe.has_writer {
            ready |= libc::POLLHUP;
        }
    }
    ready
}
