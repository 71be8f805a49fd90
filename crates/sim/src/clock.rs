//! A host's own clock: a world's hosts were not started at the same moment.

use crore_base::{Duration, Instant};
use crore_nic::{Capabilities, Nic, RxFrame, TxMeta};

/// A NIC in the world's time, seen by a host whose clock is ahead of it.
pub struct ClockedNic<N> {
    inner: N,
    ahead: Duration,
}

impl<N: Nic> ClockedNic<N> {
    /// Wraps `inner` for a host whose clock is `ahead` of the world's.
    pub fn new(inner: N, ahead: Duration) -> Self {
        Self { inner, ahead }
    }

    /// The NIC in the world's time.
    pub fn inner(&self) -> &N {
        &self.inner
    }

    /// The NIC in the world's time.
    pub fn inner_mut(&mut self) -> &mut N {
        &mut self.inner
    }
}

impl<N: Nic> Nic for ClockedNic<N> {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn rx_burst(&mut self, now: Instant, into: &mut Vec<RxFrame>) -> usize {
        self.inner.rx_burst(now - self.ahead, into)
    }

    fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        self.inner.reserve(len)
    }

    fn extend(&mut self, len: usize) -> Option<&mut [u8]> {
        self.inner.extend(len)
    }

    fn commit(&mut self, len: usize, meta: TxMeta) {
        self.inner.commit(len, meta);
    }

    fn flush(&mut self, now: Instant) -> usize {
        self.inner.flush(now - self.ahead)
    }

    fn rx_pressure(&self) -> bool {
        self.inner.rx_pressure()
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.inner.next_arrival().map(|at| at + self.ahead)
    }
}
