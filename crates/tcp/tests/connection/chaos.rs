//! Whatever the channel does, all bytes arrive, in order, and both ends close.

use crore_base::Duration;
use crore_tcp::{CloseReason, Config, Path};
use proptest::prelude::*;

use crate::pair::{A, B, Pair, text};

/// xorshift64*: the schedule of one run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

#[derive(Clone, Debug)]
struct World {
    seed: u64,
    loss: u64,
    duplicate: u64,
    /// Milliseconds by which a packet may be late.
    jitter: u64,
    configs: [Config; 2],
    iss: [u32; 2],
    lengths: [usize; 2],
    both_open: bool,
    /// Percent of the turns in which the applications read.
    reads: u64,
    ipv6: bool,
    fast_open: Option<bool>,
}

fn config() -> impl Strategy<Value = Config> {
    let buffer = prop_oneof![1..64u32, 64..5_000u32, 5_000..300_000u32];
    (
        (buffer.clone(), buffer),
        prop_oneof![Just(u16::MAX), 64..1500u16],
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        ),
        prop_oneof![Just(0u64), Just(40)],
        1..64u16,
        1..20u32,
    )
        .prop_map(
            |((receive_buffer, send_buffer), mss_max, flags, delay, chunks, initial_window)| Config {
                receive_buffer,
                send_buffer,
                mss_max,
                window_scaling: flags.0,
                timestamps: flags.1,
                sack: flags.2,
                nodelay: flags.3,
                cork: flags.4,
                initial_window,
                syn_retries: 60,
                delayed_ack: Duration::from_millis(delay),
                max_reassembly_chunks: chunks,
                time_wait: Duration::from_secs(600),
                ..Config::default()
            },
        )
}

prop_compose! {
    fn world()(
        seed in any::<u64>(),
        (loss, duplicate) in (0..25u64, 0..20u64),
        jitter in prop_oneof![Just(0u64), 1..40u64],
        a in config(),
        b in config(),
        iss in prop_oneof![Just([u32::MAX - 2_000, u32::MAX - 50]), any::<[u32; 2]>()],
        lengths in [0..40_000usize, 0..40_000usize],
        both_open in any::<bool>(),
        reads in prop_oneof![Just(100u64), 5..100u64],
        ipv6 in any::<bool>(),
        fast_open in prop_oneof![2 => Just(None), 1 => any::<bool>().prop_map(Some)],
    ) -> World {
        // Tiny windows move a byte at a time, and mostly by timers.
        let tiny = |c: &Config| c.receive_buffer < 64 || c.send_buffer < 64;
        let lengths = if tiny(&a) || tiny(&b) { lengths.map(|n| n % 400) } else { lengths };
        World { seed, loss, duplicate, jitter, configs: [a, b], iss, lengths, both_open, reads, ipv6, fast_open }
    }
}

fn run(world: &World) -> Pair {
    run_marked(world, false)
}

fn run_marked(world: &World, urgent: bool) -> Pair {
    let [a, b] = world.configs.clone();
    let mut pair = Pair::new(a, b);
    pair.urgent = urgent;
    pair.fast_open = world.fast_open;
    pair.path = if world.ipv6 {
        Path::ipv6(1500)
    } else {
        Path::ipv4(1500)
    };
    let mut dice = Dice::new(world.seed);
    let World {
        loss,
        duplicate,
        jitter,
        ..
    } = *world;
    pair.fate = Box::new(move |_| {
        if dice.below(100) < loss {
            return vec![];
        }
        let mut delay = || Duration::from_millis(5 + dice.below(jitter + 1));
        let first = delay();
        let second = delay();
        if dice.below(100) < duplicate {
            vec![first, second]
        } else {
            vec![first]
        }
    });
    for (i, end) in pair.ends.iter_mut().enumerate() {
        end.iss = crore_base::SeqNum(world.iss[i]);
        end.to_send = text(i as u32, world.lengths[i]);
        end.finish = true;
    }
    pair.open(A);
    if world.both_open {
        pair.open(B);
    }
    let mut dice = Dice::new(!world.seed);
    let reads = world.reads;
    let end = pair.now + Duration::from_secs(40 * 3600);
    let mut done = false;
    while !done && pair.now < end {
        // Idle but for readers that sleep: they wake up.
        for end in &mut pair.ends {
            end.reading = true;
        }
        done = pair.drive(end.since(pair.now), |p| {
            for end in &mut p.ends {
                end.reading = dice.below(100) < reads;
            }
            p.ends[A].eof && p.ends[B].eof
        });
    }
    pair
}

proptest! {
    #[test]
    fn header_prediction_changes_nothing(world in world()) {
        // The mark of urgency keeps every segment on the long way.
        let (short, long) = (run_marked(&world, false), run_marked(&world, true));
        prop_assert_eq!(&short.trace, &long.trace, "the same segments at the same times");
        prop_assert_eq!(&short.dispositions, &long.dispositions, "with the same outcome");
        for (short, long) in short.ends.iter().zip(&long.ends) {
            prop_assert_eq!(&short.events, &long.events, "the same events");
            prop_assert_eq!(&short.received, &long.received, "the same bytes");
        }
    }

    #[test]
    fn all_bytes_arrive_and_both_ends_finish(world in world()) {
        let mut pair = run(&world);
        prop_assert_eq!(
            [pair.ends[A].closed(), pair.ends[B].closed()].map(|c| c.filter(|&r| r != CloseReason::Finished)),
            [None, None],
            "nobody gave up"
        );
        pair.assert_delivered();
        prop_assert!(pair.ends[A].eof && pair.ends[B].eof, "both saw the end: {:?} {:?}", pair.ends[A].state(), pair.ends[B].state());
        // The last FIN's acknowledgment may still be lost a few times.
        for end in &mut pair.ends {
            end.reading = true;
        }
        pair.run_for(Duration::from_secs(3 * 3600));
        for end in &mut pair.ends {
            prop_assert_eq!(end.closed(), Some(CloseReason::Finished), "in good order");
            prop_assert!(end.conn().is_closed(), "nothing is left behind");
            prop_assert_eq!(end.conn().stats().buffered, crore_tcp::Buffered::default(), "no memory is pinned");
        }
    }
}
