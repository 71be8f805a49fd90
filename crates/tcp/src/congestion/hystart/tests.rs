use crore_base::Instant;

use super::*;
use crate::congestion::MAX_WINDOW;

const MSS: u32 = 1000;

/// Slow start in rounds of ten acknowledgments.
struct Rounds {
    hystart: HyStart,
    window: Window,
    nxt: u32,
}

impl Rounds {
    fn new(millis: u64) -> Self {
        let mut rounds = Self {
            hystart: HyStart::new(false),
            window: Window {
                mss: MSS,
                size: 100 * MSS,
                threshold: MAX_WINDOW,
                initial: 10 * MSS,
            },
            nxt: 0,
        };
        rounds.ack(0, millis);
        rounds
    }

    fn ack(&mut self, una: u32, millis: u64) -> u32 {
        let ack = Acked {
            now: Instant::ZERO,
            acked: MSS,
            una: SeqNum(una),
            nxt: SeqNum(self.nxt + 100),
            rtt: Some(Duration::from_millis(millis)),
            srtt: None,
            limited: true,
            after_timeout: false,
        };
        self.hystart.on_ack(&mut self.window, &ack)
    }

    /// One round of `samples` acknowledgments; what part the growth had after it.
    fn round(&mut self, samples: u32, millis: u64) -> u32 {
        let mut divisor = 1;
        self.nxt += 100;
        for n in 1..=samples {
            let una = if n == samples {
                self.nxt
            } else {
                self.nxt - 100 + n
            };
            divisor = self.ack(una, millis);
        }
        divisor
    }

    fn is_over(&self) -> bool {
        self.window.threshold == self.window.size
    }
}

//= rfc9406#section-4.2 (MUST)
#[test]
fn a_delay_that_stays_ends_slow_start_after_five_rounds() {
    let mut rounds = Rounds::new(50);
    assert_eq!(rounds.round(10, 50), 1, "no change");
    assert_eq!(rounds.round(10, 56), 1, "6.2 ms is an eighth, 6 ms less");
    assert_eq!(rounds.round(10, 63), 4, "7 ms more than in the round before");
    for _ in 0..3 {
        assert_eq!(rounds.round(10, 70), 4);
        assert!(!rounds.is_over(), "a quarter of the growth, for now");
    }
    rounds.round(10, 70);
    assert!(rounds.is_over(), "the fifth one, counting that in which it rose");
}

//= rfc9406#section-4.2 (MUST)
#[test]
fn a_delay_that_passes_was_jitter() {
    let mut rounds = Rounds::new(50);
    rounds.round(10, 50);
    assert_eq!(rounds.round(10, 60), 4);
    assert_eq!(rounds.round(10, 59), 1, "shorter than when it rose");
    for _ in 0..10 {
        assert_eq!(rounds.round(10, 59), 1);
    }
    assert!(!rounds.is_over());
}

#[test]
fn few_samples_say_nothing() {
    let mut rounds = Rounds::new(50);
    rounds.round(10, 50);
    assert_eq!(rounds.round(7, 80), 1, "seven are too few");
    assert_eq!(rounds.round(8, 100), 4, "eight are enough, against the seven's");
}

#[test]
fn the_threshold_lies_between_4_and_16_ms() {
    for (base, rise) in [(1, 4), (200, 16)] {
        let mut rounds = Rounds::new(base);
        rounds.round(10, base);
        assert_eq!(
            rounds.round(10, base + rise - 1),
            1,
            "{rise} ms are needed at {base} ms"
        );
        let mut rounds = Rounds::new(base);
        rounds.round(10, base);
        assert_eq!(
            rounds.round(10, base + rise),
            4,
            "{rise} ms are enough at {base} ms"
        );
    }
}
