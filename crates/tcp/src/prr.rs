//! How much is sent for each acknowledgment while losses are repaired.
//!
//! Read first: RFC 9937 section 6.
//!
//! Always true: above the threshold no more is sent than the threshold's part of
//! what has arrived since the recovery began; below it, what is in flight does
//! not rise above the threshold; but for less than a segment, which leaves whole.

/// Proportional Rate Reduction of one recovery, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prr {
    /// What was in flight when it began: RecoverFS.
    began_with: u32,
    delivered: u32,
    out: u32,
    /// Up to what may be in flight now.
    window: u32,
}

impl Prr {
    //= rfc9937#section-6.1 (MUST)
    /// A recovery begins with `flight` bytes out that were not known to have
    /// arrived before the acknowledgment that began it.
    pub(crate) const fn new(flight: u32) -> Self {
        Self {
            began_with: if flight > 0 { flight } else { 1 },
            delivered: 0,
            out: 0,
            window: 0,
        }
    }

    //= rfc9937#section-6.2 (MUST)
    // Above the threshold so much leaves that the rest of the reduction is spread
    // over the round trip. Below it as much as arrives (conservation), and one
    // segment more while acknowledgments move on and show no further loss.
    /// `delivered` bytes have arrived; `pipe` are in flight.
    pub(crate) fn on_ack(&mut self, delivered: u32, pipe: u32, threshold: u32, mss: u32, is_safe: bool) {
        if delivered == 0 && self.out > 0 {
            return;
        }
        self.delivered = self.delivered.saturating_add(delivered);
        let allowed = if pipe > threshold {
            let share =
                (u64::from(self.delivered) * u64::from(threshold)).div_ceil(u64::from(self.began_with));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            let conserved = self.delivered.saturating_sub(self.out).max(delivered);
            let bound = if is_safe { conserved + mss } else { conserved };
            bound.min(threshold - pipe)
        };
        // The first retransmission leaves at once.
        let forced = if self.out == 0 { mss } else { 0 };
        self.window = pipe.saturating_add(if allowed == 0 { forced } else { allowed });
    }

    /// Time has shown a loss: one segment may leave.
    pub(crate) const fn on_timer(&mut self, pipe: u32, mss: u32) {
        self.window = pipe.saturating_add(mss);
    }

    //= rfc9937#section-6.3 (MUST)
    /// So many bytes were sent, old or new.
    pub(crate) const fn on_sent(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    /// How much may leave now with `pipe` in flight; where it is anything, a
    /// whole segment may.
    pub(crate) const fn budget(&self, pipe: u32) -> u32 {
        self.window.saturating_sub(pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// One ACK; then whole segments leave while anything may. Says how many.
    fn ack(prr: &mut Prr, delivered: u32, pipe: &mut u32, threshold: u32, is_safe: bool) -> u32 {
        *pipe -= delivered;
        prr.on_ack(delivered, *pipe, threshold, MSS, is_safe);
        let mut sent = 0;
        while prr.budget(*pipe) > 0 {
            prr.on_sent(MSS);
            *pipe += MSS;
            sent += 1;
        }
        sent
    }

    /// Protects the self clock: no burst and no silence (RFC 9937 section 6.2).
    #[test]
    fn seven_of_ten_leave_spread_over_the_round_trip() {
        let mut prr = Prr::new(20 * MSS);
        // Of 20 the first was lost.
        let mut pipe = 19 * MSS;
        let sent: Vec<_> = (0..19)
            .map(|_| ack(&mut prr, MSS, &mut pipe, 14 * MSS, false))
            .collect();
        assert_eq!(sent[0], 1, "the retransmission at once");
        assert!(sent.iter().all(|&n| n <= 1), "no burst: {sent:?}");
        assert_eq!(sent.iter().sum::<u32>(), 14, "as many as the threshold says");
        assert_eq!(pipe, 14 * MSS, "which are in flight at the end");
    }

    /// Protects a path that has lost half a window from a burst (RFC 9937 section 6.2).
    #[test]
    fn below_the_threshold_what_arrives_is_conserved() {
        let mut prr = Prr::new(20 * MSS);
        // Most of 20 was lost: two are in flight.
        let mut pipe = 3 * MSS;
        assert_eq!(
            ack(&mut prr, MSS, &mut pipe, 10 * MSS, false),
            1,
            "one for one: no further loss"
        );
        assert_eq!(
            ack(&mut prr, MSS, &mut pipe, 10 * MSS, true),
            2,
            "one more when it is safe"
        );
        assert_eq!(
            ack(&mut prr, MSS, &mut pipe, 10 * MSS, true),
            2,
            "as in slow start"
        );
        let mut pipe = 9 * MSS + 500;
        assert_eq!(
            ack(&mut prr, MSS, &mut pipe, 10 * MSS, true),
            2,
            "up to the threshold, whole segments"
        );
    }

    /// Protects against a stream of tiny SACKs that would each let a segment out.
    #[test]
    fn bytes_count_not_acknowledgments() {
        let mut prr = Prr::new(20 * MSS);
        let mut pipe = 19 * MSS;
        let sent: u32 = (0..1000)
            .map(|_| ack(&mut prr, 1, &mut pipe, 10 * MSS, false))
            .sum();
        assert_eq!(sent, 1, "a thousand bytes in a thousand ACKs are one segment");
    }
}
