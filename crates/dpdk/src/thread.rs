//! What a thread needs before it may poll: its core, and an id of EAL's.
//!
//! A thread without an EAL id has no mempool cache, so that each buffer taken or
//! given back is an atomic operation on a shared ring.

use std::cell::RefCell;

use crate::error::{Error, errno_text, rte_errno};

struct Registration;

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: made only after rte_thread_register succeeded on this thread, and
        // dropped by this thread (thread-local storage) once.
        unsafe { dpdk_sys::rte_thread_unregister() };
    }
}

thread_local! {
    static REGISTRATION: RefCell<Option<Registration>> = const { RefCell::new(None) };
}

/// Gives the calling thread an EAL id, and with it a cache in every mempool; does
/// nothing when it has one. The id goes back when the thread ends.
///
/// # Errors
/// When DPDK has no id left (128 in Debian's build).
pub fn register_thread() -> Result<(), Error> {
    // SAFETY: reads a thread-local integer.
    if unsafe { dpdk_sys::crore_has_lcore() } != 0 {
        return Ok(());
    }
    // SAFETY: no terms; EAL not being up is an error return.
    if unsafe { dpdk_sys::rte_thread_register() } != 0 {
        return Err(Error::Call {
            call: "rte_thread_register",
            said: errno_text(rte_errno()),
        });
    }
    REGISTRATION.with(|slot| *slot.borrow_mut() = Some(Registration));
    Ok(())
}

/// Pins the calling thread to one core.
///
/// # Errors
/// When the core does not exist or is not among those that this process may use.
pub fn pin_to_core(core: u16) -> Result<(), Error> {
    let mut set = Affinity::none();
    if !set.add(core) {
        return Err(Error::BadArgument {
            what: format!("core {core}"),
            why: format!("cores are numbered below {}", libc::CPU_SETSIZE),
        });
    }
    set.apply().map_err(|said| Error::Call {
        call: "sched_setaffinity",
        said,
    })
}

/// A set of cores that a thread may run on.
#[derive(Clone, Copy)]
pub(crate) struct Affinity(libc::cpu_set_t);

impl Affinity {
    fn none() -> Self {
        // SAFETY: cpu_set_t is an array of integers, for which all-zero is the empty set.
        Self(unsafe { core::mem::zeroed() })
    }

    fn add(&mut self, core: u16) -> bool {
        if i32::from(core) >= libc::CPU_SETSIZE {
            return false;
        }
        // SAFETY: the index is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(core.into(), &mut self.0) };
        true
    }

    /// The calling thread's.
    pub(crate) fn current() -> Option<Self> {
        let mut set = Self::none();
        // SAFETY: the pointer and size describe `set`.
        let status = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set.0) };
        (status == 0).then_some(set)
    }

    /// The lowest core in it.
    pub(crate) fn first(&self) -> Option<u16> {
        (0..libc::CPU_SETSIZE as u16).find(|core| {
            // SAFETY: the index is below CPU_SETSIZE.
            unsafe { libc::CPU_ISSET((*core).into(), &self.0) }
        })
    }

    /// Makes it the calling thread's.
    pub(crate) fn apply(&self) -> Result<(), String> {
        // SAFETY: the pointer and size describe a live set.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().to_string()),
        }
    }
}
