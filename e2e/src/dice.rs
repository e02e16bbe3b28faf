//! Chance that a seed decides (SplitMix64), so that a failing run can be tried again with the same choices.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The same choices from the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From any number.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed of its own for somebody who throws beside others.
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// Any of them, each as likely.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// At least `from`, less than `to`.
    pub fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A number from the environment; none: not said.
///
/// # Panics
/// When it is no number.
pub fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

/// Another one each time.
pub fn any_seed() -> u64 {
    RandomState::new().hash_one(0u8) % 1_000_000_000
}
