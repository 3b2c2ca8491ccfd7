//! Random names for dialogs and transactions: tags, branches, Call-IDs.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Makes tags, branches and Call-IDs that nobody can guess, from a generator that the caller seeds:
/// from the system in the server, from a constant in a test.
pub struct Tokens {
    rng: StdRng,
}

impl Tokens {
    /// The cookie that every branch of RFC 3261 starts with (§8.1.1.7).
    pub const MAGIC_COOKIE: &'static str = "z9hG4bK";

    /// Takes the generator over.
    pub const fn new(rng: StdRng) -> Self {
        Self { rng }
    }

    /// A second, independent generator, seeded from this one.
    pub fn split(&mut self) -> Self {
        Self::new(StdRng::from_rng(&mut self.rng))
    }

    /// A generator for somebody else, seeded from this one.
    pub fn generator(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.rng)
    }

    /// A From or To tag: 64 random bits (RFC 3261 §19.3 asks for 32).
    pub fn tag(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    /// What else is to be drawn.
    pub const fn dice(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// A number from 0 to `most`, as likely as any other.
    pub fn up_to(&mut self, most: u32) -> u32 {
        self.rng.random_range(0..=most)
    }

    /// A branch: the magic cookie and 96 random bits.
    pub fn branch(&mut self) -> String {
        format!(
            "{}{:016x}{:08x}",
            Self::MAGIC_COOKIE,
            self.rng.next_u64(),
            self.rng.next_u32()
        )
    }

    /// A Call-ID: 128 random bits, and no host, which RFC 3261 §8.1.1.4 leaves to choice: it would
    /// tell the far side where we are.
    pub fn call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }
}

impl fmt::Debug for Tokens {
    /// Tells nothing of the generator's state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_repeat_with_the_seed_and_differ_within_it() {
        let mut one = Tokens::new(StdRng::seed_from_u64(7));
        let mut two = Tokens::new(StdRng::seed_from_u64(7));
        let first = (one.tag(), one.branch(), one.call_id());
        assert_eq!(first, (two.tag(), two.branch(), two.call_id()));
        assert_ne!(first, (one.tag(), one.branch(), one.call_id()));
        assert!(first.1.starts_with(Tokens::MAGIC_COOKIE));
        assert_ne!(one.split().tag(), two.tag());
    }
}
