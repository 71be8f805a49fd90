//! The caller's memory: what comes out of it, and what is written into it.
//!
//! Every function here is unsafe for the same reason: the caller of a C function
//! vouches for its pointers.

use std::ffi::{c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crore_sim::posix::{Address, Errno};
use libc::{iovec, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// As many pieces as readv and writev take (`UIO_MAXIOV`).
const PIECES: usize = 1024;

/// Reads a value from wherever `at` points, aligned or not.
///
/// # Safety
/// `at` is null, or points to a readable `T` of which every pattern of bits is one.
pub(crate) unsafe fn read<T: Copy>(at: *const T) -> Result<T, Errno> {
    if at.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: not null; the rest is the caller's promise.
    Ok(unsafe { at.read_unaligned() })
}

/// Writes a value to wherever `at` points, aligned or not.
///
/// # Safety
/// `at` is null, or points to room for a `T`.
pub(crate) unsafe fn write<T: Copy>(at: *mut T, value: T) -> Result<(), Errno> {
    if at.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: not null; the rest is the caller's promise.
    unsafe { at.write_unaligned(value) };
    Ok(())
}

/// Copies `len` bytes out.
///
/// # Safety
/// `at` is null, or points to so many readable bytes.
pub(crate) unsafe fn copy_out(at: *const c_void, len: usize) -> Result<Vec<u8>, Errno> {
    if len == 0 {
        return Ok(Vec::new());
    }
    if at.is_null() || len > isize::MAX as usize {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: not null, and by the caller's promise so many bytes, which no slice's
    // length exceeds; nobody writes to what is handed to a call meanwhile.
    Ok(unsafe { std::slice::from_raw_parts(at.cast::<u8>(), len) }.to_vec())
}

/// Copies bytes in, of which there are not more than there is room.
///
/// # Safety
/// `at` is null, or points to room for so many bytes.
pub(crate) unsafe fn copy_in(at: *mut c_void, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.is_empty() {
        return Ok(());
    }
    if at.is_null() {
        return Err(Errno(libc::EFAULT));
    }
    // SAFETY: not null, and by the caller's promise room for them; what was
    // received lies in memory of our own.
    unsafe {
        at.cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
    };
    Ok(())
}

/// The pieces of a vector.
///
/// # Safety
/// `at` is null, or points to `count` pieces.
pub(crate) unsafe fn pieces(at: *const iovec, count: usize) -> Result<Vec<iovec>, Errno> {
    if count > PIECES {
        return Err(Errno(libc::EINVAL));
    }
    (0..count)
        .map(|n| {
            // `read` looks whether it is null.
            let piece = if at.is_null() { at } else { at.wrapping_add(n) };
            // SAFETY: the caller's promise, for each of them.
            unsafe { read(piece) }
        })
        .collect()
}

/// Whether there is one that is to be filled and is not there.
pub(crate) fn lead_nowhere(pieces: &[iovec]) -> bool {
    pieces
        .iter()
        .any(|piece| piece.iov_len > 0 && piece.iov_base.is_null())
}

/// Hands a number over as a control message; its length, or 0 if there is no room.
///
/// # Safety
/// `header` says where there is room for control messages, and how much.
pub(crate) unsafe fn give_control(
    header: &libc::msghdr,
    level: c_int,
    kind: c_int,
    number: c_int,
) -> Result<usize, Errno> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    // SAFETY: both ask for lengths alone.
    let (len, space) = unsafe { (libc::CMSG_LEN(4) as usize, libc::CMSG_SPACE(4) as usize) };
    if header.msg_control.is_null() || header.msg_controllen < len {
        return Ok(0);
    }
    let mut bytes = vec![0; len];
    bytes[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
    bytes[HEADER - 8..HEADER - 4].copy_from_slice(&level.to_ne_bytes());
    bytes[HEADER - 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    bytes[len - 4..].copy_from_slice(&number.to_ne_bytes());
    // SAFETY: the caller's promise; there is room for so many.
    unsafe { copy_in(header.msg_control, &bytes) }?;
    Ok(space.min(header.msg_controllen))
}

// A length as a word, then level and kind, as Linux and its C libraries have it.
const _: () = assert!(size_of::<libc::cmsghdr>() == size_of::<usize>() + 8);

/// Room in all of them together.
pub(crate) fn room(pieces: &[iovec]) -> Result<usize, Errno> {
    let sum = pieces
        .iter()
        .try_fold(0usize, |sum, piece| sum.checked_add(piece.iov_len));
    sum.filter(|&sum| sum <= isize::MAX as usize)
        .ok_or(Errno(libc::EINVAL))
}

/// Copies the bytes of all of them out, one after the other.
///
/// # Safety
/// Each piece points to as many readable bytes as it says.
pub(crate) unsafe fn gather(pieces: &[iovec]) -> Result<Vec<u8>, Errno> {
    room(pieces)?;
    let mut all = Vec::new();
    for piece in pieces {
        // SAFETY: the caller's promise.
        all.extend(unsafe { copy_out(piece.iov_base, piece.iov_len) }?);
    }
    Ok(all)
}

/// Copies bytes in, filling one after the other.
///
/// # Safety
/// Each piece points to as much room as it says.
pub(crate) unsafe fn scatter(pieces: &[iovec], mut bytes: &[u8]) -> Result<(), Errno> {
    for piece in pieces {
        let (now, rest) = bytes.split_at(bytes.len().min(piece.iov_len));
        // SAFETY: the caller's promise; not more than fits.
        unsafe { copy_in(piece.iov_base, now) }?;
        bytes = rest;
    }
    Ok(())
}

/// A socket address.
///
/// # Safety
/// `at` is null, or points to `len` readable bytes.
pub(crate) unsafe fn address(at: *const sockaddr, len: socklen_t) -> Result<Address, Errno> {
    // As Linux: without the scope of an IPv6 address it is an older one.
    const LEAST_IPV6: usize = 24;
    let len = len as usize;
    if len < size_of::<libc::sa_family_t>() {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's promise; a family fits into it.
    let family = c_int::from(unsafe { read(at.cast::<libc::sa_family_t>()) }?);
    match family {
        libc::AF_UNSPEC => Ok(Address::Unspecified),
        libc::AF_INET if len < size_of::<sockaddr_in>() => Err(Errno(libc::EINVAL)),
        libc::AF_INET => {
            // SAFETY: the caller's promise; it is long enough.
            let address = unsafe { read(at.cast::<sockaddr_in>()) }?;
            let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
            Ok(Address::Ip(SocketAddr::new(
                ip.into(),
                u16::from_be(address.sin_port),
            )))
        }
        libc::AF_INET6 if len < LEAST_IPV6 => Err(Errno(libc::EINVAL)),
        libc::AF_INET6 => {
            // SAFETY: the caller's promise; so many bytes there are.
            let bytes = unsafe { copy_out(at.cast(), LEAST_IPV6) }?;
            let port = u16::from_be_bytes([bytes[2], bytes[3]]);
            let ip: [u8; 16] = bytes[8..LEAST_IPV6].try_into().unwrap_or_default();
            Ok(Address::Ip(SocketAddr::new(Ipv6Addr::from(ip).into(), port)))
        }
        _ => Ok(Address::Other),
    }
}

/// Hands an address back: as much of it as there is room, and its whole length.
///
/// # Safety
/// `len` is null or points to a length, and `at` then is null or points to so much room.
pub(crate) unsafe fn give_address(
    at: *mut sockaddr,
    len: *mut socklen_t,
    address: SocketAddr,
) -> Result<(), Errno> {
    if at.is_null() {
        return Ok(());
    }
    let bytes = address_bytes(address);
    // SAFETY: the caller's promise.
    let room = unsafe { read(len) }? as usize;
    // SAFETY: the caller's promise; not more than there is room.
    unsafe { copy_in(at.cast(), &bytes[..bytes.len().min(room)]) }?;
    // SAFETY: the caller's promise.
    unsafe { write(len, bytes.len() as socklen_t) }
}

/// As `struct sockaddr_in` or `sockaddr_in6`.
fn address_bytes(address: SocketAddr) -> Vec<u8> {
    let (family, len) = match address {
        SocketAddr::V4(_) => (libc::AF_INET, size_of::<sockaddr_in>()),
        SocketAddr::V6(_) => (libc::AF_INET6, size_of::<sockaddr_in6>()),
    };
    let mut bytes = vec![0; len];
    bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => bytes[4..8].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes[8..24].copy_from_slice(&ip.octets()),
    }
    bytes
}
