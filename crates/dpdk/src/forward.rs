//! The bare forwarder: the least that can be done with a frame, and so the limit
//! of a wire against which a stack is measured.

use std::time::{Duration, Instant};

use crate::mbuf::{Burst, Mbuf};
use crate::nic::PortNic;

/// What a forwarder did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ForwardStats {
    /// Frames taken from the receive queue.
    pub received: u64,
    /// Frames sent back.
    pub sent: u64,
    /// Frames that the ring had no room for.
    pub dropped: u64,
    /// Polls that found nothing.
    pub empty_polls: u64,
}

/// Sends every received frame back to its sender for `time`, or until `stop` says
/// so (asked once in 256 polls): receive a burst, swap the Ethernet addresses,
/// send.
pub fn forward(nic: &mut PortNic, time: Duration, stop: &dyn Fn() -> bool) -> ForwardStats {
    const LOOK: u32 = 256;
    let (rx, tx) = nic.queues();
    let mut stats = ForwardStats::default();
    let mut burst = Burst::new();
    let deadline = Instant::now() + time;
    let mut polls = 0u32;
    loop {
        polls = polls.wrapping_add(1);
        if polls.is_multiple_of(LOOK) && (Instant::now() >= deadline || stop()) {
            return stats;
        }
        let got = rx.burst(&mut burst);
        if got == 0 {
            stats.empty_polls += 1;
            continue;
        }
        burst.iter_mut().for_each(swap_addresses);
        let sent = tx.burst(&mut burst);
        stats.received += got as u64;
        stats.sent += sent as u64;
        stats.dropped += burst.len() as u64;
        burst.clear();
    }
}

fn swap_addresses(mbuf: &mut Mbuf) {
    if let Some((destination, rest)) = mbuf.split_first_chunk_mut::<6>()
        && let Some(source) = rest.first_chunk_mut::<6>()
    {
        core::mem::swap(destination, source);
    }
}
