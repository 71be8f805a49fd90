//! Sockets: how they begin, what they are told, how they end.

use std::ffi::{c_int, c_long, c_ulong, c_void};

use crore_sim::posix::{Call, Errno, Output};
use libc::{sockaddr, socklen_t};

use super::{Userdata, enter};
use crate::adapter::lock;
use crate::memory;

pub(crate) unsafe extern "C" fn socket(
    userdata: Userdata,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "socket", |adapter| {
            let call = Call::Socket {
                domain,
                kind,
                protocol,
            };
            adapter.opening(&adapter.call(call))
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn bind(
    userdata: Userdata,
    fd: c_int,
    at: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "bind", |adapter| {
            let address = memory::address(at, len)?;
            let fd = adapter.file(fd);
            adapter.plain(Call::Bind { fd, address })
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn listen(userdata: Userdata, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "listen", |adapter| {
            let fd = adapter.file(fd);
            adapter.plain(Call::Listen { fd, backlog })
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn accept(
    userdata: Userdata,
    fd: c_int,
    at: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "accept", |adapter| {
            let fd = adapter.file(fd);
            let reply = adapter.call(Call::Accept { fd, flags: 0 });
            let opened = adapter.opening(&reply)?;
            if let Output::Address(address) = reply.output {
                memory::give_address(at, len, address)?;
            }
            Ok(opened)
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn connect(
    userdata: Userdata,
    fd: c_int,
    at: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "connect", |adapter| {
            let address = memory::address(at, len)?;
            let fd = adapter.file(fd);
            adapter.plain(Call::Connect { fd, address })
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn close(userdata: Userdata, fd: c_int) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "close", |adapter| {
            let file = adapter.file(fd);
            let outcome = adapter.plain(Call::Close { fd: file });
            if outcome.is_ok() {
                lock(&adapter.descriptors).close(fd);
            }
            outcome
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn shutdown(userdata: Userdata, fd: c_int, how: c_int) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "shutdown", |adapter| {
            let fd = adapter.file(fd);
            adapter.plain(Call::Shutdown { fd, how })
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn getsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    at: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "getsockopt", |adapter| {
            let room = memory::read(len.cast_const())?;
            if room > i32::MAX as socklen_t {
                return Err(Errno(libc::EINVAL));
            }
            let fd = adapter.file(fd);
            let reply = adapter.call(Call::GetOption {
                fd,
                level,
                name,
                len: room as usize,
            });
            if let Output::Bytes(bytes) = &reply.output {
                memory::copy_in(at, bytes)?;
                memory::write(len, bytes.len() as socklen_t)?;
            }
            reply.result
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn setsockopt(
    userdata: Userdata,
    fd: c_int,
    level: c_int,
    name: c_int,
    at: *const c_void,
    len: socklen_t,
) -> c_int {
    // No option is longer.
    const MOST: usize = 256;
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "setsockopt", |adapter| {
            if len > i32::MAX as socklen_t {
                return Err(Errno(libc::EINVAL));
            }
            let value = memory::copy_out(at, (len as usize).min(MOST))?;
            let fd = adapter.file(fd);
            adapter.plain(Call::SetOption {
                fd,
                level,
                name,
                value,
            })
        })
    };
    value as c_int
}

/// What variadic.c makes of fcntl's argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn crore_packetdrill_fcntl_fixed(
    userdata: Userdata,
    fd: c_int,
    command: c_int,
    argument: c_long,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "fcntl", |adapter| {
            let fd = adapter.file(fd);
            adapter.plain(Call::Fcntl {
                fd,
                command,
                // The caller has handed over an int, of whose word only that half means anything.
                argument: i64::from(argument as c_int),
            })
        })
    };
    value as c_int
}

/// What variadic.c makes of ioctl's argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn crore_packetdrill_ioctl_fixed(
    userdata: Userdata,
    fd: c_int,
    request: c_ulong,
    argument: *mut c_void,
) -> c_int {
    let number = argument.cast::<c_int>();
    // SAFETY: as the caller promises: FIONBIO reads an int, and what gives a number
    // back writes one.
    let value = unsafe {
        enter(userdata, "ioctl", |adapter| {
            let value = if request == libc::FIONBIO {
                memory::read(number.cast_const())?
            } else {
                0
            };
            let fd = adapter.file(fd);
            let reply = adapter.call(Call::Ioctl { fd, request, value });
            if let Output::Int(value) = reply.output {
                memory::write(number, value)?;
            }
            reply.result
        })
    };
    value as c_int
}
