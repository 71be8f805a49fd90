//! Crore as packetdrill drives it: a shared library with one function that fills
//! in a table of functions, over the virtual-time sockets of
//! [`crore_sim::posix`].
//!
//! `docs/PACKETDRILL.md` says how to use it. Where to look: `interface.rs` is the
//! table, `flags.rs` what the tool may say at the start, `adapter.rs` threads and
//! time, `descriptor.rs` real descriptors, `calls.rs` the functions,
//! `memory.rs` the caller's memory.
//!
//! # Threads and time
//!
//! The tool has two threads: one that goes through the script, and one that makes
//! the calls that are expected to block. Time moves only when somebody asks for it: `usleep`,
//! `netdev_receive`, and a microsecond with each `gettimeofday`. A call that
//! blocks sleeps on a condition variable. It is *carried out* by whoever moves the
//! time or brings the packet that it waited for, at that very moment of virtual
//! time, so that it does not matter when the sleeper is woken; and the first
//! `gettimeofday` of the woken thread tells that moment, whatever the time is by
//! then, since that is how the tool finds out how long a call has blocked.
//!
//! # What the caller promises
//!
//! What C demands of every function of the table: pointers are valid for what they
//! point to, as the manual page of the call says, `userdata` is what
//! [`packetdrill_interface_init`] put there, and no call begins after `free` has.

mod adapter;
mod calls;
mod descriptor;
mod flags;
mod interface;
mod memory;

pub use interface::Interface;

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use adapter::Adapter;

/// Fills in the table. When the flags make no host, that is said on standard
/// error, and every call fails with `ENODEV`.
///
/// # Safety
/// `flags` is null or a string that ends in a NUL; `interface` is null or room for
/// a [`Interface`], aligned as one, that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(flags: *const c_char, interface: *mut Interface) {
    calls::guarded("packetdrill_interface_init", || {
        let text = if flags.is_null() {
            None
        } else {
            // SAFETY: not null, and by the caller's promise a string that ends in a NUL.
            Some(unsafe { CStr::from_ptr(flags) })
        };
        let adapter = text
            .ok_or_else(|| "no flags".to_owned())
            .and_then(|text| text.to_str().map_err(|error| error.to_string()))
            .and_then(|text| Adapter::from_flags(text).map_err(|error| error.to_string()));
        let userdata = match adapter {
            Ok(adapter) => Arc::into_raw(Arc::new(adapter)),
            Err(error) => {
                eprintln!(
                    "crore_packetdrill: {error} (flags: \"local=<ip>,remote=<ip>,gateway=<ip>,knobs=<file>\")"
                );
                std::ptr::null()
            }
        };
        if interface.is_null() {
            eprintln!("crore_packetdrill: there is no table to fill in");
            return;
        }
        // SAFETY: not null, and by the caller's promise aligned room for the table.
        unsafe { interface.write(Interface::with(userdata)) };
    });
}
