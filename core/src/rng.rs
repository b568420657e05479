//! Chance as a value: a seeded generator, split by purpose, so that one new draw shifts no other stream.
//!
//! xoshiro256** (Blackman, Vigna 2018) seeded through SplitMix64. Not for secrets.

/// A generator of draws. Equal seeds and equal calls give equal draws, on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rng {
    state: [u64; 4],
}

/// One step of SplitMix64: a good 64-bit mixing function.
pub const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        let mut word = seed;
        let state = core::array::from_fn(|_| {
            word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(word)
        });
        Rng { state }
    }

    /// A generator that is a pure function of these words: how weather is drawn for (seed, link, slot).
    pub fn at(words: &[u64]) -> Rng {
        Rng::new(words.iter().fold(0, |acc, word| mix(acc ^ *word).rotate_left(17)))
    }

    /// A stream of its own for one purpose; taking it does not advance `self`.
    pub fn fork(&self, purpose: &str) -> Rng {
        let name = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |acc: u64, byte| (acc ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Rng::at(&[self.state[0], self.state[1], self.state[2], self.state[3], name])
    }

    /// Sixty-four bits.
    #[expect(clippy::should_implement_trait, reason = "a generator has no end: there is no Option to give")]
    pub fn next(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= shifted;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }

    /// A number below `bound`, which must not be zero. (Multiply and shift: the bias is below 2^-32 for the bounds used here.)
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw below zero");
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range: {low} to {high}");
        low + self.below(high - low + 1)
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of them, or `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len() as u64) as usize) }
    }

    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equally_and_forks_do_not_disturb() {
        let mut a = Rng::new(7);
        let b = Rng::new(7);
        let mut fork = b.fork("election");
        assert_ne!(fork.next(), a.clone().next());
        let mut b = b;
        assert_eq!((a.next(), a.below(100)), (b.next(), b.below(100)));
    }

    #[test]
    fn draws_stay_in_range_and_reach_its_ends() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 6];
        for _ in 0..1000 {
            seen[rng.range(0, 5) as usize] = true;
        }
        assert_eq!(seen, [true; 6]);
    }
}
