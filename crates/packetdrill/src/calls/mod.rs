//! The functions of the table: the caller's memory in, a call of the host, and
//! its answer out.

mod data;
mod ready;
mod sockets;
mod time;

use std::ffi::{c_int, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crore_sim::posix::{Address, Call, Errno, Fd, Output, Reply};

use crate::adapter::{Adapter, lock};

pub(crate) use data::{
    pipe, read, readv, recv, recvfrom, recvmsg, send, sendmsg, sendto, splice, write, writev,
};
pub(crate) use ready::{epoll_create, epoll_ctl, epoll_wait, poll};
pub(crate) use sockets::{accept, bind, close, connect, getsockopt, listen, setsockopt, shutdown, socket};
pub(crate) use time::{gettimeofday, netdev_receive, netdev_send, usleep};

type Userdata = *mut c_void;
/// What a function returns: a value, or -1 and `errno`.
type Outcome = Result<i64, Errno>;

/// A file number that no file of the host has.
const NO_FILE: Fd = i32::MAX;

unsafe extern "C" {
    // variadic.c
    pub(crate) fn crore_packetdrill_fcntl(userdata: Userdata, fd: c_int, cmd: c_int, ...) -> c_int;
    pub(crate) fn crore_packetdrill_ioctl(userdata: Userdata, fd: c_int, request: c_ulong, ...) -> c_int;
}

/// Nothing unwinds into C: a panic is said and ends the process, since a test that
/// has found a bug must not go on as if it had not.
pub(crate) fn guarded<T>(name: &str, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        eprintln!("crore_packetdrill: {name} has failed; this is a bug in Crore");
        std::process::abort();
    })
}

/// Does what a function does, with the adapter that `userdata` is.
///
/// # Safety
/// `userdata` is null or what [`crate::packetdrill_interface_init`] made, and has not been freed.
unsafe fn enter(userdata: Userdata, name: &str, body: impl FnOnce(&Adapter) -> Outcome) -> i64 {
    let outcome = guarded(name, || {
        let adapter = userdata.cast_const().cast::<Adapter>();
        if adapter.is_null() {
            return Err(Errno(libc::ENODEV));
        }
        // SAFETY: it came from Arc::into_raw, whose reference is held until `free`,
        // which by the caller's promise has not begun.
        let adapter = unsafe {
            Arc::increment_strong_count(adapter);
            Arc::from_raw(adapter)
        };
        body(&adapter)
    });
    outcome.unwrap_or_else(|errno| {
        // SAFETY: each thread has its own errno, which lives as long as the thread.
        unsafe { *libc::__errno_location() = errno.0 };
        -1
    })
}

/// What a receiving call has brought.
#[derive(Default)]
struct Received {
    value: i64,
    bytes: Vec<u8>,
    flags: c_int,
    /// How much is left, for those who asked (`TCP_INQ`).
    inq: Option<c_int>,
}

impl Adapter {
    /// The host's file number for a descriptor. One that is none is one of no file.
    fn file(&self, fd: c_int) -> Fd {
        lock(&self.descriptors).file(fd).unwrap_or(NO_FILE)
    }

    /// A call that gives nothing but its value.
    fn plain(&self, call: Call) -> Outcome {
        self.call(call).result
    }

    /// A descriptor for a file that a call has opened.
    fn publish_file(&self, file: Fd) -> Result<c_int, Errno> {
        let opened = lock(&self.descriptors).open(file);
        match opened {
            Ok((fd, stale)) => {
                if let Some(file) = stale {
                    self.call(Call::Close { fd: file });
                }
                Ok(fd)
            }
            Err(errno) => {
                self.call(Call::Close { fd: file });
                Err(errno)
            }
        }
    }

    /// A call that opens a file; its descriptor.
    fn opening(&self, reply: &Reply) -> Outcome {
        let file = reply.result?;
        self.publish_file(file as Fd).map(i64::from)
    }

    /// What a receiving call brings. What is not to be put anywhere is not taken
    /// either (`nowhere`): the caller is told that once there is something.
    fn receive(&self, fd: c_int, len: usize, flags: c_int, nowhere: bool) -> Result<Received, Errno> {
        let fd = self.file(fd);
        let flags = if nowhere { flags | libc::MSG_PEEK } else { flags };
        let reply = self.call(Call::Receive { fd, len, flags });
        let value = reply.result?;
        match reply.output {
            Output::Data { bytes, .. } if nowhere && !bytes.is_empty() => Err(Errno(libc::EFAULT)),
            Output::Data { bytes, flags, inq } => Ok(Received {
                value,
                bytes,
                flags,
                inq,
            }),
            _ => Ok(Received {
                value,
                ..Received::default()
            }),
        }
    }

    fn send(&self, fd: c_int, data: Vec<u8>, flags: c_int, to: Option<Address>) -> Outcome {
        let fd = self.file(fd);
        self.plain(Call::Send { fd, data, flags, to })
    }
}

// Every function of the table is unsafe to call for the reason that `lib.rs` gives under
// "What the caller promises", and each SAFETY comment rests on that.

pub(crate) unsafe extern "C" fn free(userdata: Userdata) {
    guarded("free", || {
        if userdata.is_null() {
            return;
        }
        // SAFETY: it came from Arc::into_raw, and this is the one call that gives
        // that reference back. Threads that are still inside have their own.
        let adapter = unsafe { Arc::from_raw(userdata.cast_const().cast::<Adapter>()) };
        adapter.stop();
    });
}
