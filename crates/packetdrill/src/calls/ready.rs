//! poll and epoll.

use std::ffi::c_int;

use crore_sim::posix::{Call, Errno, Output};
use libc::{epoll_event, nfds_t, pollfd};

use super::{Userdata, enter};
use crate::memory;

/// Descriptors that one poll looks at, at most.
const POLLED: nfds_t = 65_536;

pub(crate) unsafe extern "C" fn poll(
    userdata: Userdata,
    at: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "poll", |adapter| {
            if count > POLLED {
                return Err(Errno(libc::EINVAL));
            }
            let place = |n: usize| if at.is_null() { at } else { at.wrapping_add(n) };
            let mut polled = Vec::new();
            for n in 0..count as usize {
                polled.push(memory::read(place(n).cast_const())?);
            }
            let fds = polled
                .iter()
                .map(|one| (if one.fd < 0 { -1 } else { adapter.file(one.fd) }, one.events))
                .collect();
            let reply = adapter.call(Call::Poll {
                fds,
                timeout_ms: timeout,
            });
            if let Output::Poll(ready) = &reply.output {
                for (n, (mut one, &revents)) in polled.into_iter().zip(ready).enumerate() {
                    one.revents = revents;
                    memory::write(place(n), one)?;
                }
            }
            reply.result
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn epoll_create(userdata: Userdata, size: c_int) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "epoll_create", |adapter| {
            if size <= 0 {
                return Err(Errno(libc::EINVAL));
            }
            adapter.opening(&adapter.call(Call::EpollCreate))
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn epoll_ctl(
    userdata: Userdata,
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "epoll_ctl", |adapter| {
            let (events, data) = if operation == libc::EPOLL_CTL_DEL {
                (0, 0)
            } else {
                let event = memory::read(event.cast_const())?;
                (event.events, event.u64)
            };
            let (epoll, fd) = (adapter.file(epoll), adapter.file(fd));
            adapter.plain(Call::EpollControl {
                epoll,
                operation,
                fd,
                events,
                data,
            })
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn epoll_wait(
    userdata: Userdata,
    epoll: c_int,
    at: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "epoll_wait", |adapter| {
            let most = usize::try_from(most).map_err(|_| Errno(libc::EINVAL))?;
            let epoll = adapter.file(epoll);
            let reply = adapter.call(Call::EpollWait {
                epoll,
                most,
                timeout_ms: timeout,
            });
            if let Output::Epoll(found) = &reply.output {
                for (n, &(events, data)) in found.iter().enumerate() {
                    let place = if at.is_null() { at } else { at.wrapping_add(n) };
                    memory::write(place, epoll_event { events, u64: data })?;
                }
            }
            reply.result
        })
    };
    value as c_int
}
