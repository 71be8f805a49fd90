//! The window itself, and where it begins.
//!
//! Read first: RFC 5681 section 3.1, RFC 3465, RFC 6928.

use super::Acked;

/// Beyond what the largest scaled window allows, growth has no meaning.
pub(super) const MAX_WINDOW: u32 = 1 << 30;

/// The state that every algorithm has, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) mss: u32,
    pub(super) size: u32,
    /// Below it is slow start; [`MAX_WINDOW`] until it is found.
    pub(super) threshold: u32,
    pub(super) initial: u32,
}

impl Window {
    #[inline]
    pub(super) const fn is_slow(&self) -> bool {
        self.size < self.threshold
    }

    //= rfc5681#section-3.1 (RECOMMENDED)
    // Grow by what was acknowledged, but within a limit for each ACK, and not
    // beyond the threshold. The limit is `segments`; one after a time-out, when
    // an ACK may cover what arrived long before.
    pub(super) fn slow_start(&mut self, ack: &Acked, segments: u32, divisor: u32) {
        let segments = if ack.after_timeout { 1 } else { segments };
        let limit = self.mss.saturating_mul(segments);
        let room = self.threshold.saturating_sub(self.size);
        self.grow((ack.acked.min(limit) / divisor).min(room));
    }

    pub(super) fn grow(&mut self, by: u32) {
        self.size = self.size.saturating_add(by).min(MAX_WINDOW);
    }

    //= rfc5681#section-3.1 (MUST)
    // Not less than two segments.
    pub(super) fn reduce_to(&mut self, size: u32) {
        self.threshold = size.clamp(2 * self.mss, MAX_WINDOW);
        self.size = self.threshold;
    }
}

//= rfc6928#section-2 (SHOULD)
// Ten segments, but of large ones no more than 14,600 bytes, if those are two;
// for another number than ten the bytes are in proportion.
/// The initial window for `segments` of `mss` bytes.
pub(crate) fn initial_window(mss: u32, segments: u32) -> u32 {
    let segments = segments.max(1);
    let most = segments.saturating_mul(1460).max(2 * mss);
    mss.saturating_mul(segments).min(most).min(MAX_WINDOW)
}
