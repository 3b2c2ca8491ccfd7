//! The next hops that somebody needs: their MAC addresses, and when to make the kernel ask for them.
//!
//! Frames sent through AF_XDP never touch the kernel's neighbour entries, so the kernel would let an
//! entry that all the media leaves by grow stale and forget it. A hop in use is therefore solicited
//! when its entry goes stale, fails or disappears. A MAC address once known stays in use until another
//! one takes its place: a wrong one costs no more than none.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use contract::{MacAddress, Timestamp};

use super::kernel::Reachability;
use crate::installer::NextHopQuery;

/// The kernel asks three times, a second apart (`mcast_solicit`, `retrans_time_ms`), before it gives
/// up: sooner, a second solicitation finds the first still going; later, a call waits for nothing.
const ASKING: Duration = Duration::from_secs(4);
/// The first pause after nobody answered; doubled with each failure up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A party that comes back is found after this long at the worst.
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// One hop is solicited no more often than this, whatever its entry does: a station that changes its
/// MAC address in a loop must not use up everyone's solicitations.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// Solicitations in a row, and then for each second, over all hops: as many ARP requests as a small
/// router takes without policing them. More would be seen as a scan; fewer would leave the thousand
/// neighbours of a large subnet, each stale every 30 s or so, unconfirmed.
const BURST: u32 = 32;
const PER_SECOND: u32 = 100;

/// A next hop: the link by ifindex, and its address there.
pub(super) type HopKey = (u32, IpAddr);

#[derive(Debug, Default)]
struct Hop {
    users: BTreeSet<NextHopQuery>,
    mac: Option<MacAddress>,
    failures: u32,
    solicited: Option<Timestamp>,
    due: Option<Timestamp>,
}

/// All hops in use.
#[derive(Debug)]
pub(super) struct Hops {
    hops: HashMap<HopKey, Hop>,
    due: BTreeSet<(Timestamp, HopKey)>,
    budget: Budget,
}

impl Hops {
    pub(super) fn new() -> Self {
        Self {
            hops: HashMap::new(),
            due: BTreeSet::new(),
            budget: Budget {
                tokens: BURST,
                refilled: Timestamp::ZERO,
            },
        }
    }

    /// `query` now leaves by this hop. `entry` is what the kernel's table says of it.
    pub(super) fn join(
        &mut self,
        key: HopKey,
        query: NextHopQuery,
        entry: Option<Reachability>,
        now: Timestamp,
    ) {
        let fresh = !self.hops.contains_key(&key);
        self.hops.entry(key).or_default().users.insert(query);
        if !fresh {
            return;
        }
        match entry {
            // An old failure is no answer to a new question.
            None | Some(Reachability::Failed) => self.schedule(key, Some(now)),
            Some(state) => {
                self.learn(key, state, now);
            }
        }
    }

    /// `query` no longer leaves by this hop.
    pub(super) fn leave(&mut self, key: HopKey, query: &NextHopQuery) {
        let Some(hop) = self.hops.get_mut(&key) else {
            return;
        };
        hop.users.remove(query);
        if hop.users.is_empty() {
            self.schedule(key, None);
            self.hops.remove(&key);
        }
    }

    /// Who leaves by this hop.
    pub(super) fn users(&self, key: HopKey) -> Vec<NextHopQuery> {
        self.hops
            .get(&key)
            .map(|hop| hop.users.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(super) fn keys(&self) -> Vec<HopKey> {
        self.hops.keys().copied().collect()
    }

    /// The MAC address to use.
    pub(super) fn mac(&self, key: HopKey) -> Option<MacAddress> {
        self.hops.get(&key)?.mac
    }

    /// Whether the kernel has asked for the hop and got no answer.
    pub(super) fn has_failed(&self, key: HopKey) -> bool {
        self.hops.get(&key).is_some_and(|hop| hop.failures > 0)
    }

    /// The kernel's entry of a hop is now like this. Says whether the hop is used.
    pub(super) fn learn(&mut self, key: HopKey, state: Reachability, now: Timestamp) -> bool {
        let Some(hop) = self.hops.get_mut(&key) else {
            return false;
        };
        let soonest = hop.solicited.map_or(now, |at| now.max(at + LEAST_INTERVAL));
        let due = match state {
            Reachability::Confirmed(mac) => {
                hop.mac = Some(mac);
                hop.failures = 0;
                None
            }
            Reachability::Stale(mac) => {
                hop.mac = Some(mac);
                hop.failures = 0;
                Some(soonest)
            }
            Reachability::Probing(mac) => {
                hop.mac = Some(mac);
                Some(hop.due.unwrap_or(now + LONGEST_PAUSE))
            }
            Reachability::Incomplete => Some(hop.due.unwrap_or(now + ASKING)),
            Reachability::Failed => {
                hop.failures = hop.failures.saturating_add(1);
                Some(now + pause(hop.failures))
            }
        };
        self.schedule(key, due);
        true
    }

    /// The kernel has forgotten the entry of a hop.
    pub(super) fn forgotten(&mut self, key: HopKey, now: Timestamp) {
        let Some(hop) = self.hops.get(&key) else {
            return;
        };
        let soonest = match hop.solicited {
            Some(at) if hop.failures > 0 => now.max(at + pause(hop.failures)),
            Some(at) => now.max(at + LEAST_INTERVAL),
            None => now,
        };
        self.schedule(key, Some(soonest));
    }

    /// The next hop to solicit, if one is due and the budget allows: by any of its users.
    pub(super) fn solicit(&mut self, now: Timestamp) -> Option<(HopKey, NextHopQuery)> {
        let &(due, key) = self.due.first()?;
        if due > now || !self.budget.take(now) {
            return None;
        }
        let hop = self.hops.get_mut(&key)?;
        hop.solicited = Some(now);
        let user = hop.users.first().copied();
        let pause = ASKING.max(pause(hop.failures));
        self.schedule(key, Some(now + pause));
        user.map(|query| (key, query))
    }

    /// When [`Self::solicit`] has something to give next.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let (due, _) = self.due.first()?;
        Some((*due).max(self.budget.next()))
    }

    fn schedule(&mut self, key: HopKey, due: Option<Timestamp>) {
        let Some(hop) = self.hops.get_mut(&key) else {
            return;
        };
        if let Some(before) = hop.due.take() {
            self.due.remove(&(before, key));
        }
        if let Some(at) = due {
            self.due.insert((at, key));
        }
        hop.due = due;
    }
}

/// How long to wait after this many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

/// A token bucket of [`BURST`] tokens, refilled [`PER_SECOND`].
#[derive(Debug)]
struct Budget {
    tokens: u32,
    /// Up to when the refill has been counted.
    refilled: Timestamp,
}

impl Budget {
    const REFILL: Duration = Duration::from_nanos(1_000_000_000 / PER_SECOND as u64);

    fn take(&mut self, now: Timestamp) -> bool {
        let new = now.since(self.refilled).as_nanos() / Self::REFILL.as_nanos();
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(new) >= BURST {
            self.tokens = BURST;
            self.refilled = now;
        } else {
            self.tokens += new;
            self.refilled = self.refilled + Self::REFILL * new;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// The earliest time at which a token may be there.
    fn next(&self) -> Timestamp {
        if self.tokens > 0 {
            Timestamp::ZERO
        } else {
            self.refilled + Self::REFILL
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn hop(last: u8) -> (HopKey, NextHopQuery) {
        let destination = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let query = NextHopQuery {
            destination,
            source,
        };
        ((3, destination), query)
    }

    #[test]
    fn failures_are_retried_ever_more_seldom_and_a_mac_resets_them() {
        let mut hops = Hops::new();
        let (key, query) = hop(2);
        hops.join(key, query, None, at(0));
        assert_eq!(hops.solicit(at(0)), Some((key, query)));
        assert_eq!(hops.solicit(at(0)), None);
        let mut now = at(3_000);
        for expected in [1, 2, 4, 8, 16, 32, 32] {
            hops.learn(key, Reachability::Failed, now);
            let due = hops.deadline().expect("a failed hop is retried");
            assert_eq!(due.since(now), Duration::from_secs(expected));
            now = due;
            assert!(hops.solicit(now).is_some());
        }
        hops.learn(key, Reachability::Confirmed(MAC), now);
        assert_eq!(hops.deadline(), None);
        assert!(!hops.has_failed(key));
    }

    #[test]
    fn a_known_mac_outlives_staleness_failure_and_garbage_collection() {
        let mut hops = Hops::new();
        let (key, query) = hop(2);
        hops.join(key, query, Some(Reachability::Stale(MAC)), at(0));
        assert_eq!(hops.mac(key), Some(MAC));
        assert!(hops.solicit(at(0)).is_some(), "stale: confirm it");
        hops.learn(key, Reachability::Failed, at(8_000));
        assert_eq!(hops.mac(key), Some(MAC));
        hops.forgotten(key, at(9_000));
        assert_eq!(hops.mac(key), Some(MAC));
        assert!(hops.deadline().is_some());
        hops.leave(key, &query);
        assert_eq!(hops.deadline(), None);
        assert_eq!(hops.mac(key), None);
    }

    #[test]
    fn one_hop_that_flaps_is_solicited_once_a_second() {
        let mut hops = Hops::new();
        let (key, query) = hop(2);
        hops.join(key, query, None, at(0));
        let mut solicited = 0;
        for millis in 0..10_000 {
            hops.learn(key, Reachability::Stale(MAC), at(millis));
            solicited += u32::from(hops.solicit(at(millis)).is_some());
        }
        assert_eq!(solicited, 10);
    }

    #[test]
    fn the_budget_bounds_all_hops_together() {
        let mut hops = Hops::new();
        for last in 0..=255 {
            let (key, query) = hop(last);
            hops.join(key, query, None, at(5_000));
        }
        let burst = std::iter::from_fn(|| hops.solicit(at(5_000))).count();
        assert_eq!(burst, BURST as usize);
        let next = hops.deadline().expect("the others wait");
        assert_eq!(next, at(5_010));
        let second = std::iter::from_fn(|| hops.solicit(at(5_300))).count();
        assert_eq!(second, 30);
    }
}
