//! Bytes in and out, and pipes.

use std::ffi::{c_int, c_uint, c_void};

use crore_sim::posix::{Call, Errno, Output};
use libc::{iovec, loff_t, msghdr, size_t, sockaddr, socklen_t, ssize_t};

use super::{Userdata, enter};
use crate::memory;

/// A control message that the libc crate has no name for: include/uapi/linux/tcp.h.
const TCP_CM_INQ: c_int = 36;

pub(crate) unsafe extern "C" fn read(userdata: Userdata, fd: c_int, at: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { recv(userdata, fd, at, len, 0) }
}

pub(crate) unsafe extern "C" fn readv(
    userdata: Userdata,
    fd: c_int,
    at: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "readv", |adapter| {
            let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
            let pieces = memory::pieces(at, count)?;
            let nowhere = memory::lead_nowhere(&pieces);
            let received = adapter.receive(fd, memory::room(&pieces)?, 0, nowhere)?;
            memory::scatter(&pieces, &received.bytes)?;
            Ok(received.value)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn recv(
    userdata: Userdata,
    fd: c_int,
    at: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises; nobody is to be told who sent it.
    unsafe {
        recvfrom(
            userdata,
            fd,
            at,
            len,
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    }
}

pub(crate) unsafe extern "C" fn recvfrom(
    userdata: Userdata,
    fd: c_int,
    at: *mut c_void,
    len: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_len: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "recvfrom", |adapter| {
            let received = adapter.receive(fd, len, flags, at.is_null())?;
            memory::copy_in(at, &received.bytes)?;
            if !from.is_null() && !from_len.is_null() {
                // A stream has one sender, whom nobody names.
                memory::write(from_len, 0)?;
            }
            Ok(received.value)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn recvmsg(
    userdata: Userdata,
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "recvmsg", |adapter| {
            let mut header = memory::read(message.cast_const())?;
            let pieces = memory::pieces(header.msg_iov, header.msg_iovlen)?;
            let nowhere = memory::lead_nowhere(&pieces);
            let received = adapter.receive(fd, memory::room(&pieces)?, flags, nowhere)?;
            memory::scatter(&pieces, &received.bytes)?;
            header.msg_namelen = 0;
            header.msg_flags = received.flags;
            header.msg_controllen = match received.inq {
                Some(left) => {
                    let given = memory::give_control(&header, libc::IPPROTO_TCP, TCP_CM_INQ, left)?;
                    if given == 0 {
                        header.msg_flags |= libc::MSG_CTRUNC;
                    }
                    given
                }
                None => 0,
            };
            memory::write(message, header)?;
            Ok(received.value)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn write(
    userdata: Userdata,
    fd: c_int,
    at: *const c_void,
    len: size_t,
) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { send(userdata, fd, at, len, 0) }
}

pub(crate) unsafe extern "C" fn writev(
    userdata: Userdata,
    fd: c_int,
    at: *const iovec,
    count: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "writev", |adapter| {
            let count = usize::try_from(count).map_err(|_| Errno(libc::EINVAL))?;
            let pieces = memory::pieces(at, count)?;
            adapter.send(fd, memory::gather(&pieces)?, 0, None)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn send(
    userdata: Userdata,
    fd: c_int,
    at: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises; to nobody in particular.
    unsafe { sendto(userdata, fd, at, len, flags, std::ptr::null(), 0) }
}

pub(crate) unsafe extern "C" fn sendto(
    userdata: Userdata,
    fd: c_int,
    at: *const c_void,
    len: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_len: socklen_t,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "sendto", |adapter| {
            let to = if to.is_null() {
                None
            } else {
                Some(memory::address(to, to_len)?)
            };
            adapter.send(fd, memory::copy_out(at, len)?, flags, to)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn sendmsg(
    userdata: Userdata,
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "sendmsg", |adapter| {
            let header = memory::read(message)?;
            let pieces = memory::pieces(header.msg_iov, header.msg_iovlen)?;
            let to = if header.msg_name.is_null() || header.msg_namelen == 0 {
                None
            } else {
                Some(memory::address(header.msg_name.cast(), header.msg_namelen)?)
            };
            adapter.send(fd, memory::gather(&pieces)?, flags, to)
        })
    };
    value as ssize_t
}

pub(crate) unsafe extern "C" fn pipe(userdata: Userdata, at: *mut c_int) -> c_int {
    // SAFETY: as the caller promises; there is room for two.
    let value = unsafe {
        enter(userdata, "pipe", |adapter| {
            let reply = adapter.call(Call::Pipe);
            reply.result?;
            if let Output::Pipe(reads, writes) = reply.output {
                let reads = adapter.publish_file(reads)?;
                let writes = adapter.publish_file(writes)?;
                memory::write(at.cast::<[c_int; 2]>(), [reads, writes])?;
            }
            Ok(0)
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn splice(
    userdata: Userdata,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "splice", |adapter| {
            for offset in [from_offset, to_offset] {
                // The tool always hands over a pointer, to 0 where the script says NULL.
                if !offset.is_null() && memory::read(offset.cast_const())? != 0 {
                    return Err(Errno(libc::ESPIPE));
                }
            }
            let (from, to) = (adapter.file(from), adapter.file(to));
            adapter.plain(Call::Splice { from, to, len, flags })
        })
    };
    value as c_int
}
