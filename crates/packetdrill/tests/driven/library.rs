//! Loading the library. The table is declared here once more, so that a test
//! fails when the library's own differs from what the tool has in its header.

use std::ffi::{CString, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use libc::{epoll_event, iovec, msghdr, pollfd, sockaddr, socklen_t, ssize_t, timeval};

type P = *mut c_void;
type Call3 = unsafe extern "C" fn(P, c_int, c_int, c_int) -> c_int;
type Call2 = unsafe extern "C" fn(P, c_int, c_int) -> c_int;
type Call1 = unsafe extern "C" fn(P, c_int) -> c_int;
type WithAddress = unsafe extern "C" fn(P, c_int, *const sockaddr, socklen_t) -> c_int;

/// The tool's header, in its order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) userdata: P,
    pub(crate) free: unsafe extern "C" fn(P),
    pub(crate) socket: Call3,
    pub(crate) bind: WithAddress,
    pub(crate) listen: Call2,
    pub(crate) accept: unsafe extern "C" fn(P, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub(crate) connect: WithAddress,
    pub(crate) read: unsafe extern "C" fn(P, c_int, P, usize) -> ssize_t,
    pub(crate) readv: unsafe extern "C" fn(P, c_int, *const iovec, c_int) -> ssize_t,
    pub(crate) recv: unsafe extern "C" fn(P, c_int, P, usize, c_int) -> ssize_t,
    pub(crate) recvfrom:
        unsafe extern "C" fn(P, c_int, P, usize, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t,
    pub(crate) recvmsg: unsafe extern "C" fn(P, c_int, *mut msghdr, c_int) -> ssize_t,
    pub(crate) write: unsafe extern "C" fn(P, c_int, *const c_void, usize) -> ssize_t,
    pub(crate) writev: unsafe extern "C" fn(P, c_int, *const iovec, c_int) -> ssize_t,
    pub(crate) send: unsafe extern "C" fn(P, c_int, *const c_void, usize, c_int) -> ssize_t,
    pub(crate) sendto:
        unsafe extern "C" fn(P, c_int, *const c_void, usize, c_int, *const sockaddr, socklen_t) -> ssize_t,
    pub(crate) sendmsg: unsafe extern "C" fn(P, c_int, *const msghdr, c_int) -> ssize_t,
    pub(crate) fcntl: unsafe extern "C" fn(P, c_int, c_int, ...) -> c_int,
    pub(crate) ioctl: unsafe extern "C" fn(P, c_int, c_ulong, ...) -> c_int,
    pub(crate) close: Call1,
    pub(crate) shutdown: Call2,
    pub(crate) getsockopt: unsafe extern "C" fn(P, c_int, c_int, c_int, P, *mut socklen_t) -> c_int,
    pub(crate) setsockopt: unsafe extern "C" fn(P, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub(crate) poll: unsafe extern "C" fn(P, *mut pollfd, c_ulong, c_int) -> c_int,
    pub(crate) netdev_send: unsafe extern "C" fn(P, *const c_void, usize) -> c_int,
    pub(crate) netdev_receive: unsafe extern "C" fn(P, P, *mut usize, *mut c_longlong) -> c_int,
    pub(crate) usleep: unsafe extern "C" fn(P, c_uint) -> c_int,
    pub(crate) gettimeofday: unsafe extern "C" fn(P, *mut timeval, P) -> c_int,
    pub(crate) epoll_create: Call1,
    pub(crate) epoll_ctl: unsafe extern "C" fn(P, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub(crate) epoll_wait: unsafe extern "C" fn(P, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub(crate) pipe: unsafe extern "C" fn(P, *mut c_int) -> c_int,
    pub(crate) splice: unsafe extern "C" fn(P, c_int, *mut i64, c_int, *mut i64, usize, c_uint) -> c_int,
}

// SAFETY: the tool shares the table between its threads, and so do these tests.
unsafe impl Send for Table {}
// SAFETY: the same.
unsafe impl Sync for Table {}

/// A loaded library with a host.
#[derive(Clone, Copy)]
pub(crate) struct Library {
    pub(crate) table: Table,
}

impl Library {
    pub(crate) fn start(flags: &str) -> Self {
        type Init = unsafe extern "C" fn(*const c_char, *mut Table);
        let path = CString::new(library().to_str().expect("a plain path")).expect("no NUL");
        let how = libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE | libc::RTLD_DEEPBIND;
        // SAFETY: a string that ends in a NUL; the library's constructors are Rust's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), how) };
        assert!(!handle.is_null(), "{path:?} can be loaded");
        // SAFETY: the handle is good, and the name a string.
        let init = unsafe { libc::dlsym(handle, c"packetdrill_interface_init".as_ptr()) };
        assert!(!init.is_null(), "it has the one function that the tool looks for");
        // SAFETY: this is its type in the tool's header.
        let init = unsafe { std::mem::transmute::<*mut c_void, Init>(init) };
        let flags = CString::new(flags).expect("no NUL");
        let mut table = MaybeUninit::<Table>::uninit();
        // SAFETY: a string, and room for the table, which init fills in.
        let table = unsafe {
            init(flags.as_ptr(), table.as_mut_ptr());
            table.assume_init()
        };
        Self { table }
    }

    pub(crate) fn free(self) {
        // SAFETY: no call follows it.
        unsafe { (self.table.free)(self.table.userdata) }
    }

    pub(crate) fn socket(&self, domain: c_int, flags: c_int) -> c_int {
        // SAFETY: numbers alone.
        unsafe { (self.table.socket)(self.table.userdata, domain, libc::SOCK_STREAM | flags, 0) }
    }

    pub(crate) fn bind(&self, fd: c_int, to: SocketAddr) -> c_int {
        self.with_address(self.table.bind, fd, to)
    }

    pub(crate) fn connect(&self, fd: c_int, to: SocketAddr) -> c_int {
        self.with_address(self.table.connect, fd, to)
    }

    fn with_address(&self, call: WithAddress, fd: c_int, to: SocketAddr) -> c_int {
        let (bytes, len) = address(to);
        // SAFETY: so many bytes of an address.
        unsafe { call(self.table.userdata, fd, bytes.as_ptr().cast(), len) }
    }

    pub(crate) fn listen(&self, fd: c_int, backlog: c_int) -> c_int {
        // SAFETY: numbers alone.
        unsafe { (self.table.listen)(self.table.userdata, fd, backlog) }
    }

    /// The new descriptor, and who it is.
    pub(crate) fn accept(&self, fd: c_int) -> (c_int, Vec<u8>) {
        let mut address = vec![0u8; 28];
        let mut len = address.len() as socklen_t;
        // SAFETY: so much room.
        let new =
            unsafe { (self.table.accept)(self.table.userdata, fd, address.as_mut_ptr().cast(), &mut len) };
        address.truncate(len as usize);
        (new, address)
    }

    pub(crate) fn read(&self, fd: c_int, len: usize) -> Result<Vec<u8>, c_int> {
        self.recv(fd, len, 0)
    }

    pub(crate) fn recv(&self, fd: c_int, len: usize, flags: c_int) -> Result<Vec<u8>, c_int> {
        let mut bytes = vec![0u8; len];
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: so much room.
        let got = unsafe {
            if flags == 0 {
                (self.table.read)(self.table.userdata, fd, at, len)
            } else {
                (self.table.recv)(self.table.userdata, fd, at, len, flags)
            }
        };
        if got < 0 {
            return Err(errno());
        }
        bytes.truncate(got as usize);
        Ok(bytes)
    }

    pub(crate) fn write(&self, fd: c_int, bytes: &[u8]) -> isize {
        // SAFETY: so many bytes.
        unsafe { (self.table.write)(self.table.userdata, fd, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub(crate) fn sendto(&self, fd: c_int, bytes: &[u8], flags: c_int, to: SocketAddr) -> isize {
        let (name, name_len) = address(to);
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        let name = name.as_ptr().cast();
        // SAFETY: so many bytes, and so many of an address.
        unsafe { (self.table.sendto)(self.table.userdata, fd, at, len, flags, name, name_len) }
    }

    pub(crate) fn close(&self, fd: c_int) -> c_int {
        // SAFETY: a number alone.
        unsafe { (self.table.close)(self.table.userdata, fd) }
    }

    pub(crate) fn shutdown(&self, fd: c_int, how: c_int) -> c_int {
        // SAFETY: numbers alone.
        unsafe { (self.table.shutdown)(self.table.userdata, fd, how) }
    }

    pub(crate) fn fcntl(&self, fd: c_int, command: c_int, argument: c_int) -> c_int {
        // SAFETY: numbers alone.
        unsafe { (self.table.fcntl)(self.table.userdata, fd, command, argument) }
    }

    /// An ioctl whose argument points to a number.
    pub(crate) fn ioctl(&self, fd: c_int, request: c_ulong, value: &mut c_int) -> c_int {
        // SAFETY: a number that may be read and written.
        unsafe { (self.table.ioctl)(self.table.userdata, fd, request, std::ptr::from_mut(value)) }
    }

    pub(crate) fn option(&self, fd: c_int, level: c_int, name: c_int, room: usize) -> Result<Vec<u8>, c_int> {
        let mut bytes = vec![0u8; room];
        let mut len = room as socklen_t;
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: so much room.
        let result = unsafe { (self.table.getsockopt)(self.table.userdata, fd, level, name, at, &mut len) };
        bytes.truncate(len as usize);
        if result == 0 { Ok(bytes) } else { Err(errno()) }
    }

    pub(crate) fn error(&self, fd: c_int) -> c_int {
        let bytes = self
            .option(fd, libc::SOL_SOCKET, libc::SO_ERROR, 4)
            .expect("it is a socket");
        c_int::from_ne_bytes(bytes.try_into().expect("a number"))
    }

    pub(crate) fn set(&self, fd: c_int, level: c_int, name: c_int, value: c_int) -> c_int {
        let at = std::ptr::from_ref(&value).cast();
        // SAFETY: a number.
        unsafe { (self.table.setsockopt)(self.table.userdata, fd, level, name, at, 4) }
    }

    /// What is true of one descriptor.
    pub(crate) fn poll(&self, fd: c_int, events: i16, timeout: c_int) -> (c_int, i16) {
        let mut one = pollfd {
            fd,
            events,
            revents: 0,
        };
        // SAFETY: one of them.
        let count = unsafe { (self.table.poll)(self.table.userdata, &mut one, 1, timeout) };
        (count, one.revents)
    }

    pub(crate) fn inject(&self, packet: &[u8]) {
        let (at, len) = (packet.as_ptr().cast(), packet.len());
        // SAFETY: so many bytes.
        let result = unsafe { (self.table.netdev_send)(self.table.userdata, at, len) };
        assert_eq!(result, 0, "it is taken");
    }

    /// The next packet, and when it left; none if none comes.
    pub(crate) fn sniff(&self) -> Option<(Vec<u8>, i64)> {
        let mut bytes = vec![0u8; 65_536];
        let mut len = bytes.len();
        let mut time = 0;
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: so much room.
        let result = unsafe { (self.table.netdev_receive)(self.table.userdata, at, &mut len, &mut time) };
        assert_eq!(result, 0, "anything else has the tool ask for ever");
        bytes.truncate(len);
        (len > 0).then_some((bytes, time))
    }

    pub(crate) fn sleep(&self, micros: u32) {
        // SAFETY: a number alone.
        let result = unsafe { (self.table.usleep)(self.table.userdata, micros) };
        assert_eq!(result, 0, "time goes on");
    }

    /// Microseconds.
    pub(crate) fn time(&self) -> i64 {
        let mut time = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: room for the time; nobody asks for the zone.
        let result =
            unsafe { (self.table.gettimeofday)(self.table.userdata, &mut time, std::ptr::null_mut()) };
        assert_eq!(result, 0, "there is a time");
        time.tv_sec * 1_000_000 + time.tv_usec
    }
}

/// An address as C has it, and its length.
fn address(of: SocketAddr) -> ([u8; 28], socklen_t) {
    let mut bytes = [0u8; 28];
    let len = match of.ip() {
        IpAddr::V4(ip) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&ip.octets());
            16
        }
        IpAddr::V6(ip) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[8..24].copy_from_slice(&ip.octets());
            28
        }
    };
    bytes[2..4].copy_from_slice(&of.port().to_be_bytes());
    (bytes, len)
}

pub(crate) fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Where cargo has put it: beside the folder that this test is in.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a program");
    let deps = test.parent().expect("in a folder");
    let folders = [deps.parent().unwrap_or(deps), deps];
    let mut candidates = folders
        .map(|folder| folder.join("libcrore_packetdrill.so"))
        .into_iter();
    candidates
        .find(|path| path.exists())
        .expect("libcrore_packetdrill.so is built with this test")
}

/// A word of C's `long` is what variadic functions hand over.
const _: () = assert!(size_of::<c_long>() == size_of::<P>());
