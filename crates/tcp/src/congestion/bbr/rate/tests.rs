use super::*;
use crate::sent::SentMap;

const SIZE: u32 = 1000;

const fn at(ms: u64) -> Instant {
    Instant::from_millis(10_000 + ms)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A sender and what it has in flight.
struct Flight {
    sent: SentMap,
    sampler: Sampler,
    una: SeqNum,
    nxt: SeqNum,
}

impl Flight {
    fn new() -> Self {
        let first = SeqNum(u32::MAX - 5_000);
        Self {
            sent: SentMap::new(first),
            sampler: Sampler::new(at(0), first),
            una: first,
            nxt: first,
        }
    }

    fn pipe(&self) -> u32 {
        self.una.distance_to(self.nxt) - self.sent.sacked() - self.sent.lost()
    }

    fn send(&mut self, now: Instant) {
        let (old, before) = (self.nxt, self.pipe());
        self.nxt += SIZE;
        self.sent.push(old, self.nxt, now);
        self.sampler.on_sent(now, old, self.nxt, before, before + SIZE);
    }

    fn resend(&mut self, now: Instant, n: u32) {
        let before = self.pipe();
        let start = self.una + n * SIZE;
        self.sent.resend(start, start + SIZE, now);
        self.sampler
            .on_sent(now, self.nxt, self.nxt, before, before + SIZE);
    }

    /// Acknowledges so many more segments.
    fn ack(&mut self, now: Instant, segments: u32) -> Option<Sample> {
        self.una += segments * SIZE;
        let sampler = &mut self.sampler;
        self.sent
            .acknowledge(self.una, |run| sampler.on_delivered(now, run));
        self.sampler.take(self.una, Some(ms(40)))
    }

    /// SACKs the segments `from..to` behind `una`.
    fn sack(&mut self, now: Instant, from: u32, to: u32) -> Option<Sample> {
        let sampler = &mut self.sampler;
        let (left, right) = (self.una + from * SIZE, self.una + to * SIZE);
        self.sent.sack(left, right, |run| sampler.on_delivered(now, run));
        self.sampler.take(self.una, Some(ms(40)))
    }

    /// A segment each millisecond up to `until`, acknowledged 40 ms later each.
    fn steady(&mut self, until: u64) -> Option<Sample> {
        let mut last = None;
        for t in 0..until {
            if t >= 40 {
                last = self.ack(at(t), 1);
            }
            self.send(at(t));
        }
        last
    }
}

#[test]
fn a_steady_stream_shows_its_rate() {
    let mut flight = Flight::new();
    let sample = flight.steady(200).expect("something was delivered");
    assert_eq!(sample.rate, 1_000_000, "1,000 bytes a millisecond");
    assert_eq!(
        (sample.delivered, sample.in_flight),
        (40_000, 40_000),
        "of a round trip"
    );
    assert!(!sample.app_limited && sample.lost == 0);
}

#[test]
fn the_first_flight_is_measured_from_its_departure() {
    let mut flight = Flight::new();
    for _ in 0..10 {
        flight.send(at(0));
    }
    let sample = flight.ack(at(40), 10).expect("all of it");
    assert_eq!((sample.rate, sample.prior_delivered), (250_000, 0), "in 40 ms");
    // A second of silence does not count.
    flight.send(at(1_000));
    let sample = flight.ack(at(1_040), 1).expect("one");
    assert_eq!(sample.rate, 25_000, "one in 40 ms");
}

#[test]
fn the_next_round_trip_after_a_pause_is_the_applications() {
    let mut flight = Flight::new();
    flight.steady(100);
    flight.sampler.mark_app_limited(flight.pipe());
    let before = flight.ack(at(100), 1).expect("one");
    assert!(!before.app_limited, "it was sent before");
    flight.send(at(110));
    assert!(flight.sampler.is_app_limited());
    for t in 111..150 {
        flight.ack(at(t), 1).expect("one");
    }
    let after = flight.ack(at(150), 1).expect("what was sent in the pause");
    assert!(after.app_limited);
    assert!(!flight.sampler.is_app_limited(), "the gap has left the path");
}

#[test]
fn acknowledgments_that_come_at_once_show_no_more_than_was_sent() {
    let mut flight = Flight::new();
    flight.steady(140);
    // 40 are out, and the acknowledgments of 39 come within a moment.
    for t in 140..179 {
        flight.send(at(t));
    }
    let sample = flight.ack(at(179), 39).expect("39 at once");
    assert_eq!(sample.rate, 40_000_000 / 41, "40 segments in 41 ms");
    let squeezed = flight.ack(at(180), 39).expect("too soon to be true");
    assert_eq!(squeezed.delivered, 78_000, "in 41 ms");
    assert_eq!(squeezed.rate, 1_000_000, "but they took 78 to be sent");
}

#[test]
fn what_comes_sooner_than_it_can_is_another_copy_and_tells_nothing() {
    for (after, rate) in [(2, 0), (39, 0), (40, 25_000)] {
        let mut flight = Flight::new();
        flight.send(at(0));
        flight.sent.mark_any_lost(|_| true);
        flight.resend(at(200), 0);
        let sample = flight.ack(at(200 + after), 1).expect("it was delivered");
        assert_eq!(sample.rate, rate, "{after} ms after it was sent again");
    }
    let mut flight = Flight::new();
    flight.steady(100);
    for t in 100..110 {
        flight.sack(at(t), 1, 2 + (t - 100) as u32);
    }
    flight.resend(at(110), 0);
    let late = flight.ack(at(150), 11).expect("the second copy");
    // 49 ms of a stream from which nothing else came for 40: 11 segments less the ten.
    assert_eq!(late.delivered, u64::from(SIZE), "since it was sent again");
    assert!(late.rate > 0 && late.rate < 30_000, "{}", late.rate);
}

#[test]
fn losses_since_the_departure_are_counted() {
    let mut flight = Flight::new();
    flight.steady(100);
    flight.sampler.lost += 3_000;
    let sample = flight.ack(at(100), 1).expect("one");
    assert_eq!(sample.lost, 3_000, "it was in flight then");
    flight.send(at(101));
    for t in 101..140 {
        flight.ack(at(t), 1);
    }
    let sample = flight.ack(at(141), 1).expect("sent after it");
    assert_eq!(sample.lost, 0);
}

/// Protects memory, and the rate where bursts are many (a path of a second with
/// a burst each tenth of a millisecond).
#[test]
fn the_log_is_bounded_and_a_sample_stays_true() {
    let mut flight = Flight::new();
    let tick = |n: u64| at(0) + Duration::from_micros(100 * n);
    let mut worst = 0;
    for n in 0..40_000u64 {
        if n >= 10_000 {
            let sample = flight.ack(tick(n), 1).expect("known");
            // Until then it is the first flight, which knows of no acknowledgment.
            if n >= 21_000 {
                assert!(
                    (9_900_000..=10_100_000).contains(&sample.rate),
                    "{n}: {}",
                    sample.rate
                );
            }
        }
        flight.send(tick(n));
        worst = worst.max(flight.sampler.log.len());
        assert!(flight.sampler.log.iter().is_sorted_by_key(|burst| burst.sent_at));
    }
    assert_eq!(worst, MAX_LOG);
}

#[test]
fn of_what_was_sent_before_it_began_nothing_is_told() {
    let mut flight = Flight::new();
    flight.sent.push(flight.nxt, flight.nxt + SIZE, at(0));
    flight.nxt += SIZE;
    flight.send(at(1));
    assert_eq!(flight.ack(at(41), 1), None, "another algorithm's time");
    assert!(flight.ack(at(42), 1).is_some());
}

/// Protects the rate where there is no SACK (section 4.1.3.5.1): a hole that is
/// filled acknowledges at once what has come all along.
#[test]
fn duplicates_count_as_what_they_tell_of() {
    let mut flight = Flight::new();
    flight.steady(100);
    // The first of the 40 is lost; a duplicate comes for each of the others.
    for t in 101..140 {
        flight.send(at(t));
        let out = flight.una.distance_to(flight.nxt);
        flight.sampler.on_duplicate(at(t), SIZE, out);
    }
    assert_eq!(flight.sampler.ahead(), 39_000);
    flight.resend(at(140), 0);
    for t in 141..180 {
        flight.send(at(t));
        let out = flight.una.distance_to(flight.nxt);
        flight.sampler.on_duplicate(at(t), SIZE, out);
    }
    let sample = flight.ack(at(180), 79).expect("all before and the hole");
    assert_eq!(sample.delivered, 40_000, "in 41 ms");
    assert_eq!(sample.newly, 79_000);
    assert!(
        (400_000..=1_000_000).contains(&sample.rate),
        "no faster than it came: {}",
        sample.rate
    );
    assert_eq!(flight.sampler.ahead(), 0, "all of it is acknowledged now");
    flight.sampler.on_duplicate(at(181), SIZE, 0);
    assert_eq!(flight.sampler.ahead(), 0, "nothing is out that could have come");
}
