//! The table of functions, as the tool declares it in C.

use std::ffi::{c_int, c_long, c_longlong, c_uint, c_ulong, c_void};

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval,
    timezone,
};

use crate::adapter::Adapter;
use crate::calls;

type Userdata = *mut c_void;

/// `struct packetdrill_interface`: a word, and 32 functions that take it first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(
    missing_docs,
    reason = "each field is the system call of its name; manual pages say what they do"
)]
pub struct Interface {
    pub userdata: Userdata,
    pub free: unsafe extern "C" fn(Userdata),
    pub socket: unsafe extern "C" fn(Userdata, c_int, c_int, c_int) -> c_int,
    pub bind: unsafe extern "C" fn(Userdata, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: unsafe extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub accept: unsafe extern "C" fn(Userdata, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: unsafe extern "C" fn(Userdata, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: unsafe extern "C" fn(Userdata, c_int, *mut c_void, size_t) -> ssize_t,
    pub readv: unsafe extern "C" fn(Userdata, c_int, *const iovec, c_int) -> ssize_t,
    pub recv: unsafe extern "C" fn(Userdata, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    pub recvfrom: unsafe extern "C" fn(
        Userdata,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    pub recvmsg: unsafe extern "C" fn(Userdata, c_int, *mut msghdr, c_int) -> ssize_t,
    pub write: unsafe extern "C" fn(Userdata, c_int, *const c_void, size_t) -> ssize_t,
    pub writev: unsafe extern "C" fn(Userdata, c_int, *const iovec, c_int) -> ssize_t,
    pub send: unsafe extern "C" fn(Userdata, c_int, *const c_void, size_t, c_int) -> ssize_t,
    pub sendto: unsafe extern "C" fn(
        Userdata,
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    pub sendmsg: unsafe extern "C" fn(Userdata, c_int, *const msghdr, c_int) -> ssize_t,
    pub fcntl: unsafe extern "C" fn(Userdata, c_int, c_int, ...) -> c_int,
    pub ioctl: unsafe extern "C" fn(Userdata, c_int, c_ulong, ...) -> c_int,
    pub close: unsafe extern "C" fn(Userdata, c_int) -> c_int,
    pub shutdown: unsafe extern "C" fn(Userdata, c_int, c_int) -> c_int,
    pub getsockopt: unsafe extern "C" fn(Userdata, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt: unsafe extern "C" fn(Userdata, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: unsafe extern "C" fn(Userdata, *mut pollfd, nfds_t, c_int) -> c_int,
    pub netdev_send: unsafe extern "C" fn(Userdata, *const c_void, size_t) -> c_int,
    pub netdev_receive: unsafe extern "C" fn(Userdata, *mut c_void, *mut size_t, *mut c_longlong) -> c_int,
    pub usleep: unsafe extern "C" fn(Userdata, c_uint) -> c_int,
    pub gettimeofday: unsafe extern "C" fn(Userdata, *mut timeval, *mut timezone) -> c_int,
    pub epoll_create: unsafe extern "C" fn(Userdata, c_int) -> c_int,
    pub epoll_ctl: unsafe extern "C" fn(Userdata, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait: unsafe extern "C" fn(Userdata, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: unsafe extern "C" fn(Userdata, *mut c_int) -> c_int,
    pub splice:
        unsafe extern "C" fn(Userdata, c_int, *mut loff_t, c_int, *mut loff_t, size_t, c_uint) -> c_int,
}

// A word for each, whatever the machine.
const _: () = assert!(size_of::<Interface>() == 33 * size_of::<*const c_void>());
// variadic.c hands words on.
const _: () = assert!(size_of::<c_long>() == size_of::<*const c_void>());

impl Interface {
    pub(crate) fn with(userdata: *const Adapter) -> Self {
        Self {
            userdata: userdata.cast_mut().cast(),
            free: calls::free,
            socket: calls::socket,
            bind: calls::bind,
            listen: calls::listen,
            accept: calls::accept,
            connect: calls::connect,
            read: calls::read,
            readv: calls::readv,
            recv: calls::recv,
            recvfrom: calls::recvfrom,
            recvmsg: calls::recvmsg,
            write: calls::write,
            writev: calls::writev,
            send: calls::send,
            sendto: calls::sendto,
            sendmsg: calls::sendmsg,
            fcntl: calls::crore_packetdrill_fcntl,
            ioctl: calls::crore_packetdrill_ioctl,
            close: calls::close,
            shutdown: calls::shutdown,
            getsockopt: calls::getsockopt,
            setsockopt: calls::setsockopt,
            poll: calls::poll,
            netdev_send: calls::netdev_send,
            netdev_receive: calls::netdev_receive,
            usleep: calls::usleep,
            gettimeofday: calls::gettimeofday,
            epoll_create: calls::epoll_create,
            epoll_ctl: calls::epoll_ctl,
            epoll_wait: calls::epoll_wait,
            pipe: calls::pipe,
            splice: calls::splice,
        }
    }
}
