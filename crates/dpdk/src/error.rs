//! What can go wrong between Crore and DPDK, with what DPDK said and what to do.

use core::ffi::CStr;

/// A call that failed. Each message is one line: what failed, what DPDK said,
/// and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EAL starts once in a process, even when it was shut down or failed.
    #[error("DPDK was started before in this process, and starts only once")]
    AlreadyStarted,
    /// An argument that can't be handed to DPDK.
    #[error("{what}: {why}")]
    BadArgument {
        /// Which argument.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Huge pages were asked for and there are too few.
    #[error(
        "{wanted_mib} MiB of free huge pages are wanted, {free_mib} MiB are free; \
         reserve them with `echo {pages} > /proc/sys/vm/nr_hugepages`, or allow ordinary pages"
    )]
    HugePages {
        /// What the configuration asks for, in MiB.
        wanted_mib: u32,
        /// What is free, in MiB.
        free_mib: u32,
        /// A number of 2 MiB pages that would do.
        pages: u32,
    },
    /// A device that can't do with ordinary pages.
    #[error(
        "`{name}` shares its packet buffers with another process, which takes huge pages, and {wanted_mib} MiB \
         of them are not to be had: reserve them (/proc/sys/vm/nr_hugepages), or turn zero copy off"
    )]
    NeedsHugePages {
        /// The device's name.
        name: String,
        /// What the configuration asks for, in MiB.
        wanted_mib: u32,
    },
    /// `rte_eal_init` failed.
    #[error("DPDK did not start: {said}; {hint}")]
    Eal {
        /// DPDK's own words.
        said: String,
        /// What to do.
        hint: String,
    },
    /// A device was asked for and made no port.
    #[error("no port came up for `{name}`: {said}; {hint}")]
    NoPort {
        /// The device's name, as in `net_tap0`.
        name: String,
        /// DPDK's own words.
        said: String,
        /// What to do.
        hint: String,
    },
    /// A pool of packet buffers could not be made.
    #[error("a pool of {count} packet buffers of {size} bytes could not be made: {said}; {hint}")]
    Mempool {
        /// Buffers asked for.
        count: u32,
        /// Bytes of each.
        size: u16,
        /// DPDK's own words.
        said: String,
        /// What to do.
        hint: &'static str,
    },
    /// A port refused its configuration.
    #[error("port `{port}`: {step} failed: {said}; {hint}")]
    Port {
        /// The port's name.
        port: String,
        /// What was being done.
        step: &'static str,
        /// DPDK's own words.
        said: String,
        /// What to do.
        hint: String,
    },
    /// A limit of the port's driver.
    #[error("port `{port}`: {what} of {wanted} was asked for, its driver ({driver}) allows {limit}")]
    Limit {
        /// The port's name.
        port: String,
        /// Its driver's name.
        driver: String,
        /// What was asked for.
        what: &'static str,
        /// How much.
        wanted: u32,
        /// The most (or least) there can be.
        limit: String,
    },
    /// A call that fails only for want of memory or ids.
    #[error("{call} failed: {said}")]
    Call {
        /// The DPDK or system call.
        call: &'static str,
        /// Its reason.
        said: String,
    },
}

/// The text of a DPDK error number, of either sign.
pub(crate) fn errno_text(errno: i32) -> String {
    let errno = errno.saturating_abs();
    // SAFETY: rte_strerror takes any number and returns a NUL-terminated string in
    // static or thread-local storage, copied before the next call can change it.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(errno)) };
    format!("{} (errno {errno})", text.to_string_lossy())
}

/// The calling thread's `rte_errno`.
pub(crate) fn rte_errno() -> i32 {
    // SAFETY: reads a thread-local integer.
    unsafe { dpdk_sys::crore_errno() }
}
