//! The only source of randomness.
//!
//! An [`Rng`] is seeded once, by whoever builds the worker, and handed down by [`Rng::fork`], so that a run can be repeated
//! from its seed whatever the order in which tasks draw.

use std::time::Duration;

/// A seeded generator; not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// The generator of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A generator seeded by the machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that draws a seed")]
    pub fn system() -> Self {
        Self(fastrand::Rng::new())
    }

    /// A generator of its own for a part of the program.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.0.usize(..bound) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// A number from 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// A duration from zero to `most`.
    pub fn duration_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.unit())
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }

    /// 128 random bits in the form of a version 4 UUID.
    pub fn uuid(&mut self) -> String {
        let bits = (u128::from(self.bits()) << 64 | u128::from(self.bits())) & !(0xf000 << 64) & !(0xc000 << 48)
            | (0x4000 << 64)
            | (0x8000 << 48);
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_draws() {
        let (mut a, mut b) = (Rng::seeded(7), Rng::seeded(7));
        assert_eq!(a.fork().bits(), b.fork().bits());
        assert_eq!(a.bits(), b.bits());
        assert_eq!(a.below(0), 0);
    }

    #[test]
    fn uuid_has_version_and_variant() {
        let mut rng = Rng::seeded(1);
        for _ in 0..100 {
            let uuid = rng.uuid();
            assert_eq!(uuid.len(), 36);
            assert_eq!(&uuid[14..15], "4");
            assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        }
    }
}
