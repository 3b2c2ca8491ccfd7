//! Timers of everything below the event loop: when something is due, and what.
//!
//! Reads no clock: the owner is told the time and asks what has come due.

use std::collections::{BTreeMap, BTreeSet};

use contract::Timestamp;

/// At most one deadline for each key. Setting, clearing and expiring cost O(log n); equal deadlines
/// expire in the order of their keys, so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    queue: BTreeSet<(Timestamp, K)>,
    due: BTreeMap<K, Timestamp>,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Without any deadline.
    pub const fn new() -> Self {
        Self {
            queue: BTreeSet::new(),
            due: BTreeMap::new(),
        }
    }

    /// Sets the key's deadline, in the place of the one that it had.
    pub fn set(&mut self, key: K, at: Timestamp) {
        self.clear(key);
        self.queue.insert((at, key));
        self.due.insert(key, at);
    }

    /// Takes the key's deadline away; whether it had one.
    pub fn clear(&mut self, key: K) -> bool {
        match self.due.remove(&key) {
            Some(at) => self.queue.remove(&(at, key)),
            None => false,
        }
    }

    /// Takes the deadlines of all keys from `first` to `last` away.
    pub fn clear_between(&mut self, first: K, last: K) {
        while let Some((&key, _)) = self.due.range(first..=last).next() {
            self.clear(key);
        }
    }

    /// When the key is due.
    pub fn of(&self, key: K) -> Option<Timestamp> {
        self.due.get(&key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest key that is due at `now`. Called until it says `None`.
    pub fn expire(&mut self, now: Timestamp) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.due.remove(&key);
        Some(key)
    }

    /// How many deadlines there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_expire_in_order_and_only_when_due() {
        let at = Timestamp::from_nanos;
        let mut deadlines = Deadlines::new();
        deadlines.set('b', at(20));
        deadlines.set('a', at(20));
        deadlines.set('c', at(10));
        deadlines.set('c', at(30));
        deadlines.set('d', at(5));
        assert!(deadlines.clear('d'));
        assert!(!deadlines.clear('d'));
        assert_eq!(deadlines.next(), Some(at(20)));
        assert_eq!(deadlines.of('c'), Some(at(30)));
        assert_eq!(deadlines.expire(at(19)), None);
        assert_eq!(deadlines.expire(at(20)), Some('a'));
        assert_eq!(deadlines.expire(at(20)), Some('b'));
        assert_eq!(deadlines.expire(at(20)), None);
        assert_eq!(deadlines.len(), 1);
        assert_eq!(deadlines.expire(at(31)), Some('c'));
        assert!(deadlines.is_empty());
        assert_eq!(deadlines.next(), None);
    }
}
