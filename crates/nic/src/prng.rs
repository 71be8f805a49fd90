//! Repeatable random numbers for faults and simulations; never for secrets.
//!
//! Read first: Blackman and Vigna, "Scrambled linear pseudorandom number
//! generators" (xoshiro256**, seeded by splitmix64).

/// xoshiro256**: the same seed gives the same numbers, on every machine and in
/// every version of this crate.
#[derive(Clone, Debug)]
pub struct Prng([u64; 4]);

impl Prng {
    /// A generator that `seed` determines; any seed will do.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self(core::array::from_fn(|_| splitmix64(&mut mixer)))
    }

    /// A generator of its own for the part called `stream`, so that draws in one
    /// part don't shift those in another.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut mixer = seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self::new(splitmix64(&mut mixer))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias is below
    /// `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`; `low` when they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).checked_add(1) {
            Some(span) => low + self.below(span),
            None => self.next_u64(),
        }
    }

    /// True with the given probability: never at 0, always at 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        let unit = (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < probability
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut mixer = 1_234_567;
        assert_eq!(
            splitmix64(&mut mixer),
            6_457_827_717_110_365_317,
            "the published first number of splitmix64 from 1234567"
        );
        let mut raw = Prng([1, 2, 3, 4]);
        let published = [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240];
        assert_eq!(
            published.map(|_| raw.next_u64()),
            published,
            "the published start of xoshiro256** from 1, 2, 3, 4"
        );
    }

    #[test]
    fn bounds_and_probabilities_hold_at_their_ends() {
        let mut prng = Prng::new(7);
        assert_eq!(prng.below(0), 0, "nothing below nothing");
        assert_eq!(prng.between(5, 5), 5, "a range of one");
        for _ in 0..1000 {
            assert!(prng.below(3) < 3, "below its bound");
            assert!((10..=12).contains(&prng.between(10, 12)), "inside the range");
            assert!(!prng.chance(0.0), "0 is never");
            assert!(prng.chance(1.0), "1 is always");
        }
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let (mut a, mut b) = (Prng::stream(9, 0), Prng::stream(9, 1));
        assert_ne!(a.next_u64(), b.next_u64(), "independent streams");
    }
}
