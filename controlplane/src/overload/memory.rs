//! Which INVITEs were refused of late: in two generations, the older of which is forgotten whole.

use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use contract::Timestamp;

/// How long a generation is filled. An INVITE is sent again for 64 T1, 32 s by default (RFC 3261 §17.1.1.2),
/// and what is remembered is remembered for one to two generations.
const GENERATION: Duration = Duration::from_secs(32);
/// Names in one generation: some 1 MB. Beyond it refused INVITEs are forgotten early, and their retransmissions
/// may be let in as if they were new.
const MOST: usize = 65_536;

/// Names, by what they hash to.
#[derive(Debug, Default)]
pub(super) struct Memory {
    young: HashSet<u64>,
    old: HashSet<u64>,
    turned: Timestamp,
}

impl Memory {
    pub(super) fn insert(&mut self, name: u64, now: Timestamp) {
        if self.is_empty() {
            self.turned = now;
        }
        if self.young.len() < MOST {
            self.young.insert(name);
        }
    }

    pub(super) fn contains(&self, name: u64) -> bool {
        self.young.contains(&name) || self.old.contains(&name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// Forgets what is old enough.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let age = now.since(self.turned);
        if age < GENERATION || self.is_empty() {
            return;
        }
        self.old = mem::take(&mut self.young);
        if age >= GENERATION * 2 {
            self.old = HashSet::new();
        }
        self.turned = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_name_is_known_for_one_to_two_generations_and_then_no_more() {
        let mut memory = Memory::default();
        memory.insert(1, at(100));
        memory.forget(at(131));
        memory.insert(2, at(131));
        memory.forget(at(132));
        assert!(memory.contains(1) && memory.contains(2) && !memory.contains(3));
        memory.forget(at(163));
        assert!(memory.contains(1) && memory.contains(2));
        memory.forget(at(164));
        assert!(memory.is_empty());
    }

    #[test]
    fn there_is_a_bound() {
        let mut memory = Memory::default();
        for name in 0..=MOST as u64 {
            memory.insert(name, at(0));
        }
        assert!(memory.contains(0) && !memory.contains(MOST as u64));
        memory.forget(at(100));
        assert!(memory.is_empty());
    }
}
