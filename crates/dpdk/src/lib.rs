//! Safe DPDK: one [`Eal`] a process, [`Mempool`]s of packet buffers, [`Port`]s
//! built from a typed [`PortConfig`], their queues, and [`PortNic`], which makes a
//! pair of queues a [`crore_nic::Nic`].
//!
//! Read first: the DPDK programmer's guide on EAL, mempools, mbufs and poll-mode
//! drivers; `README.md` of this crate for what each driver asks.
//!
//! Always true:
//! * a handle keeps alive what it stands on: queues their port, a port its EAL
//!   and its mempools, a mempool its EAL;
//! * a buffer is in one place: [`Mbuf`] owns it, [`TxQueue::burst`] takes it, a
//!   [`Chunk`](crore_netbuf::Chunk) counts it; a pool that still has buffers out
//!   when its last handle goes is left in place rather than freed under them;
//! * a queue is polled by the thread that claimed it and by no other.
//!
//! ```text
//!   Eal ── Mempool ──┐
//!    └──── Port ─────┴─ QueuePair ──claim()──> RxQueue + TxQueue ──> PortNic
//!          (any thread)   (Send)               (this thread's only)
//! ```

mod devargs;
mod eal;
mod error;
mod forward;
mod info;
mod log_capture;
mod mbuf;
mod memory;
mod mempool;
mod nic;
mod port;
mod queue;
mod ring;
mod rss;
mod stats;
mod thread;
mod tsc;
mod vdev;
mod wire;

pub use eal::{Eal, EalConfig, HugePages, LogLevel, PciDevices};
pub use error::Error;
pub use forward::{ForwardStats, forward};
pub use info::{Link, PortInfo};
pub use mbuf::{Burst, Mbuf};
pub use memory::FreeHugePages;
pub use mempool::{Mempool, MempoolConfig};
pub use nic::PortNic;
pub use port::{NUMBER_OF_QUEUES, Offloads, Port, PortConfig};
pub use queue::{QueuePair, RxQueue, TxQueue};
pub use ring::{RingConfig, ring_ports};
pub use rss::Rss;
pub use stats::{PortStats, XStat};
pub use thread::{pin_to_core, register_thread};
pub use tsc::Tsc;
pub use vdev::Vdev;
pub use wire::{MemifRole, Wire};

/// The DPDK release that is running, as `DPDK 22.11.11`.
pub fn version() -> String {
    // SAFETY: rte_version returns a pointer to a static string and has no terms.
    unsafe { core::ffi::CStr::from_ptr(dpdk_sys::rte_version()) }
        .to_string_lossy()
        .into_owned()
}
