//! The network and the clock: what moves time on.

use std::ffi::{c_int, c_longlong, c_uint, c_void};

use crore_base::Duration;
use libc::{size_t, timeval, timezone};

use super::{Userdata, enter};
use crate::memory;

/// Where the clock begins, so that it looks like one: seconds since 1970.
const EPOCH: i64 = 1_600_000_000;

pub(crate) unsafe extern "C" fn netdev_send(userdata: Userdata, at: *const c_void, len: size_t) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "netdev_send", |adapter| {
            adapter.input(memory::copy_out(at, len)?);
            Ok(0)
        })
    };
    value as c_int
}

/// That no packet came is said by a length of 0; -1 would have the tool ask for ever.
pub(crate) unsafe extern "C" fn netdev_receive(
    userdata: Userdata,
    at: *mut c_void,
    len: *mut size_t,
    time_usecs: *mut c_longlong,
) -> c_int {
    if userdata.is_null() && !len.is_null() {
        // SAFETY: not null, and as the caller promises.
        unsafe { len.write_unaligned(0) };
        return 0;
    }
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "netdev_receive", |adapter| {
            let room = memory::read(len.cast_const())?;
            let Some(packet) = adapter.output() else {
                memory::write(len, 0)?;
                return Ok(0);
            };
            let bytes = &packet.bytes[..packet.bytes.len().min(room)];
            memory::copy_in(at, bytes)?;
            memory::write(len, bytes.len())?;
            let micros = (packet.at.as_nanos() / 1_000) as c_longlong;
            memory::write(time_usecs, EPOCH * 1_000_000 + micros)?;
            Ok(0)
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn usleep(userdata: Userdata, micros: c_uint) -> c_int {
    // SAFETY: as the caller promises.
    let value = unsafe {
        enter(userdata, "usleep", |adapter| {
            adapter.sleep(Duration::from_micros(u64::from(micros)));
            Ok(0)
        })
    };
    value as c_int
}

pub(crate) unsafe extern "C" fn gettimeofday(
    userdata: Userdata,
    at: *mut timeval,
    zone: *mut timezone,
) -> c_int {
    // SAFETY: as the caller promises; Linux leaves the zone alone, too, but for zeros.
    let value = unsafe {
        enter(userdata, "gettimeofday", |adapter| {
            let micros = (adapter.time().as_nanos() / 1_000) as i64;
            if !at.is_null() {
                let time = timeval {
                    tv_sec: EPOCH + micros / 1_000_000,
                    tv_usec: micros % 1_000_000,
                };
                memory::write(at, time)?;
            }
            if !zone.is_null() {
                zone.cast::<u8>().write_bytes(0, ZONE_LEN);
            }
            Ok(0)
        })
    };
    value as c_int
}

/// Length of a `struct timezone`: minutes west of Greenwich, and a kind of summer time.
const ZONE_LEN: usize = 2 * size_of::<c_int>();
