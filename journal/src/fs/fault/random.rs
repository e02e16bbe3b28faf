//! Numbers that look random and repeat: SplitMix64. The crate has no other need of randomness, hence no dependency.

#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the numbers below `end`, which is not 0. The bias of the remainder does not matter here.
    pub(super) const fn below(&mut self, end: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is less than a usize"
        )]
        let below = (self.next() % end as u64) as usize;
        below
    }

    pub(super) const fn one_in(&mut self, times: u32) -> bool {
        self.below(times as usize) == 0
    }
}
