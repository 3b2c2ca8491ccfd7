//! How much goes through each trunk and through all: calls at a time, new calls a second, media.
//!
//! A call that is let in holds a [`Lease`] for each trunk that it uses. Leases cannot be copied and are
//! given back whole, so that what is counted here is exactly what is up.

use std::collections::BTreeMap;

use contract::Timestamp;

use super::bucket::Bucket;
use crate::settings::{Capacity, Rate, Settings, TrunkId, TrunkLimits};

/// Which way a call goes through a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// From the trunk to us.
    In,
    /// From us to the trunk.
    Out,
}

/// A bound that a call has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// The trunk's calls at a time, both ways together.
    Calls,
    /// The trunk's calls at a time from it.
    CallsIn,
    /// The trunk's calls at a time to it.
    CallsOut,
    /// The trunk's new calls a second from it.
    RateIn,
    /// The trunk's new calls a second to it.
    RateOut,
    /// The trunk's media.
    Bandwidth,
    /// New calls a second in all.
    TotalRate,
    /// The media of all.
    TotalBandwidth,
}

impl Limit {
    /// Its name among the counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::CallsIn => "calls_in",
            Self::CallsOut => "calls_out",
            Self::RateIn => "rate_in",
            Self::RateOut => "rate_out",
            Self::Bandwidth => "bandwidth",
            Self::TotalRate => "total_rate",
            Self::TotalBandwidth => "total_bandwidth",
        }
    }
}

/// One call's use of one trunk: to be given back with [`Ledger::release`].
#[must_use = "a lease that is dropped is never given back"]
#[derive(Debug)]
pub(crate) struct Lease {
    trunk: TrunkId,
    way: Way,
    bandwidth: u64,
}

/// What goes through one trunk.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) calls_in: usize,
    pub(crate) calls_out: usize,
    /// In bits a second, one direction.
    pub(crate) bandwidth: u64,
    pub(crate) refused: BTreeMap<Limit, u64>,
    limits: TrunkLimits,
    buckets: [Option<Bucket>; 2],
    begun: [Meter; 2],
}

/// What goes through every trunk, and through all.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    capacity: Capacity,
    bucket: Option<Bucket>,
    bandwidth: u64,
    watches_bandwidth: bool,
}

impl Way {
    const fn index(self) -> usize {
        match self {
            Self::In => 0,
            Self::Out => 1,
        }
    }
}

impl Ledger {
    pub(crate) fn new(settings: &Settings, now: Timestamp) -> Self {
        let bucket = |rate: Option<Rate>| rate.map(|rate| Bucket::new(rate, now));
        let accounts = settings.trunks.iter().map(|trunk| Account {
            calls_in: 0,
            calls_out: 0,
            bandwidth: 0,
            refused: BTreeMap::new(),
            buckets: [bucket(trunk.limits.rate_in), bucket(trunk.limits.rate_out)],
            limits: trunk.limits.clone(),
            begun: [Meter::default(); 2],
        });
        Self {
            accounts: accounts.collect(),
            capacity: settings.capacity,
            bucket: bucket(settings.capacity.rate),
            bandwidth: 0,
            watches_bandwidth: settings.capacity.bandwidth.is_some()
                || settings
                    .trunks
                    .iter()
                    .any(|trunk| trunk.limits.bandwidth.is_some()),
        }
    }

    /// Takes new limits; what is up and what was counted stays. A bucket whose rate has changed is full.
    pub(crate) fn reconfigure(&mut self, settings: &Settings, now: Timestamp) {
        let former = std::mem::replace(self, Self::new(settings, now));
        for (account, former) in self.accounts.iter_mut().zip(former.accounts) {
            if account.limits.rate_in == former.limits.rate_in
                && account.limits.rate_out == former.limits.rate_out
            {
                account.buckets = former.buckets;
            }
            account.calls_in = former.calls_in;
            account.calls_out = former.calls_out;
            account.bandwidth = former.bandwidth;
            account.refused = former.refused;
            account.begun = former.begun;
        }
        if self.capacity.rate == former.capacity.rate {
            self.bucket = former.bucket;
        }
        self.bandwidth = former.bandwidth;
    }

    /// Whether the media of a call has to be known before it is let in.
    pub(crate) const fn watches_bandwidth(&self) -> bool {
        self.watches_bandwidth
    }

    /// Lets a call through a trunk, or says what is in its way, and counts that. Nothing is taken from any
    /// limit unless all of them let it through. A call counts towards what is true of all once, when it comes
    /// in.
    pub(crate) fn lease(
        &mut self,
        trunk: TrunkId,
        way: Way,
        bandwidth: u64,
        now: Timestamp,
    ) -> Result<Lease, Limit> {
        let Some(account) = self.accounts.get_mut(usize::from(trunk.0)) else {
            return Err(Limit::Calls);
        };
        let within = |limit: Option<u64>, used: u64| {
            limit.is_none_or(|limit| used.saturating_add(bandwidth) <= limit)
        };
        let total = way == Way::In;
        let met = account
            .limit_met(way, bandwidth, now)
            .or_else(|| {
                (total && !within(self.capacity.bandwidth, self.bandwidth))
                    .then_some(Limit::TotalBandwidth)
            })
            .or_else(|| {
                let has = |bucket: &mut Bucket| bucket.has(now);
                (total && !self.bucket.as_mut().is_none_or(has)).then_some(Limit::TotalRate)
            });
        if let Some(limit) = met {
            *account.refused.entry(limit).or_default() += 1;
            return Err(limit);
        }
        account.take(way, bandwidth, now);
        if total {
            if let Some(bucket) = &mut self.bucket {
                bucket.take(now);
            }
            self.bandwidth = self.bandwidth.saturating_add(bandwidth);
        }
        Ok(Lease {
            trunk,
            way,
            bandwidth,
        })
    }

    /// The media of a call has become known, or has changed. It is counted, never refused: the call is up.
    pub(crate) fn resize(&mut self, lease: &mut Lease, bandwidth: u64) {
        let former = std::mem::replace(&mut lease.bandwidth, bandwidth);
        let change = |held: u64| held.saturating_sub(former).saturating_add(bandwidth);
        if let Some(account) = self.accounts.get_mut(usize::from(lease.trunk.0)) {
            account.bandwidth = change(account.bandwidth);
        }
        if lease.way == Way::In {
            self.bandwidth = change(self.bandwidth);
        }
    }

    /// Takes a lease back.
    pub(crate) fn release(&mut self, mut lease: Lease) {
        self.resize(&mut lease, 0);
        if let Some(account) = self.accounts.get_mut(usize::from(lease.trunk.0)) {
            let calls = account.calls_mut(lease.way);
            *calls = calls.saturating_sub(1);
        }
    }

    /// What a call from the trunk beyond a limit is answered with.
    pub(crate) fn code(&self, trunk: TrunkId) -> u16 {
        self.account(trunk)
            .map_or(503, |account| account.limits.code)
    }

    pub(crate) fn account(&self, trunk: TrunkId) -> Option<&Account> {
        self.accounts.get(usize::from(trunk.0))
    }

    /// The media of all calls, in bits a second and one direction.
    pub(crate) const fn bandwidth(&self) -> u64 {
        self.bandwidth
    }

    /// How many leases are out.
    pub(crate) fn held(&self) -> usize {
        let accounts = self.accounts.iter();
        accounts
            .map(|account| account.calls_in + account.calls_out)
            .sum()
    }
}

impl Account {
    /// What is configured.
    pub(crate) const fn limits(&self) -> &TrunkLimits {
        &self.limits
    }

    /// Calls that began in the last whole second.
    pub(crate) fn begun(&self, way: Way, now: Timestamp) -> u64 {
        self.begun
            .get(way.index())
            .map_or(0, |meter| meter.last(now))
    }

    fn limit_met(&mut self, way: Way, bandwidth: u64, now: Timestamp) -> Option<Limit> {
        let reached = |limit: Option<usize>, calls: usize| limit.is_some_and(|most| calls >= most);
        let limits = &self.limits;
        let (one_way, calls, which, rate) = match way {
            Way::In => (
                limits.calls_in,
                self.calls_in,
                Limit::CallsIn,
                Limit::RateIn,
            ),
            Way::Out => (
                limits.calls_out,
                self.calls_out,
                Limit::CallsOut,
                Limit::RateOut,
            ),
        };
        if reached(limits.calls, self.calls_in + self.calls_out) {
            return Some(Limit::Calls);
        }
        if reached(one_way, calls) {
            return Some(which);
        }
        let after = self.bandwidth.saturating_add(bandwidth);
        if limits.bandwidth.is_some_and(|most| after > most) {
            return Some(Limit::Bandwidth);
        }
        let bucket = self.buckets.get_mut(way.index()).and_then(Option::as_mut);
        match bucket.is_none_or(|bucket| bucket.has(now)) {
            true => None,
            false => Some(rate),
        }
    }

    fn take(&mut self, way: Way, bandwidth: u64, now: Timestamp) {
        *self.calls_mut(way) += 1;
        self.bandwidth = self.bandwidth.saturating_add(bandwidth);
        let place = way.index();
        if let Some(bucket) = self.buckets.get_mut(place).and_then(Option::as_mut) {
            bucket.take(now);
        }
        if let Some(meter) = self.begun.get_mut(place) {
            meter.count(now);
        }
    }

    const fn calls_mut(&mut self, way: Way) -> &mut usize {
        match way {
            Way::In => &mut self.calls_in,
            Way::Out => &mut self.calls_out,
        }
    }
}

/// How many a second: those of the last whole second.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    second: u64,
    current: u64,
    last: u64,
}

impl Meter {
    fn count(&mut self, now: Timestamp) {
        let last = self.last(now);
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            (self.second, self.current, self.last) = (second, 0, last);
        }
        self.current += 1;
    }

    fn last(&self, now: Timestamp) -> u64 {
        match (now.as_nanos() / 1_000_000_000).saturating_sub(self.second) {
            0 => self.last,
            1 => self.current,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{MediaGroupId, Trunk};
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    fn ledger(limits: TrunkLimits, capacity: Capacity) -> Ledger {
        let trunk = |name: &str| Trunk::new(name, [], [], MediaGroupId(0));
        let settings = Settings {
            trunks: vec![
                Trunk {
                    limits,
                    ..trunk("one")
                },
                trunk("other"),
            ],
            capacity,
            ..Settings::default()
        };
        Ledger::new(&settings, at(0))
    }

    const ONE: TrunkId = TrunkId(0);
    const OTHER: TrunkId = TrunkId(1);

    fn refused(ledger: &mut Ledger, trunk: TrunkId, way: Way, bandwidth: u64) -> Option<Limit> {
        ledger.lease(trunk, way, bandwidth, at(0)).err()
    }

    #[test]
    fn calls_at_a_time_are_bounded_each_way_and_together() {
        let limits = TrunkLimits {
            calls: Some(3),
            calls_in: Some(2),
            calls_out: Some(2),
            ..TrunkLimits::default()
        };
        let mut ledger = ledger(limits, Capacity::default());
        let one = ledger.lease(ONE, Way::In, 0, at(0)).expect("room");
        let two = ledger.lease(ONE, Way::In, 0, at(0)).expect("room");
        assert_eq!(refused(&mut ledger, ONE, Way::In, 0), Some(Limit::CallsIn));
        let three = ledger.lease(ONE, Way::Out, 0, at(0)).expect("room");
        assert_eq!(refused(&mut ledger, ONE, Way::Out, 0), Some(Limit::Calls));
        ledger.release(one);
        let four = ledger.lease(ONE, Way::Out, 0, at(0)).expect("room again");
        ledger.release(two);
        assert_eq!(
            refused(&mut ledger, ONE, Way::Out, 0),
            Some(Limit::CallsOut)
        );
        let account = ledger.account(ONE).expect("a trunk");
        assert_eq!((account.calls_in, account.calls_out), (0, 2));
        assert_eq!(account.refused.values().sum::<u64>(), 3);
        for lease in [three, four] {
            ledger.release(lease);
        }
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn a_second_has_so_many_calls_and_what_is_refused_costs_nothing() {
        let limits = TrunkLimits {
            rate_in: Some(Rate {
                per_second: 10,
                burst: 2,
            }),
            bandwidth: Some(100),
            ..TrunkLimits::default()
        };
        let capacity = Capacity {
            rate: Some(Rate {
                per_second: 1,
                burst: 3,
            }),
            bandwidth: None,
        };
        let mut ledger = ledger(limits, capacity);
        assert_eq!(
            refused(&mut ledger, ONE, Way::In, 101),
            Some(Limit::Bandwidth)
        );
        let mut leases: Vec<Lease> = (0..2)
            .map(|_| ledger.lease(ONE, Way::In, 0, at(0)).expect("a burst"))
            .collect();
        assert_eq!(refused(&mut ledger, ONE, Way::In, 0), Some(Limit::RateIn));
        leases.push(ledger.lease(OTHER, Way::In, 0, at(0)).expect("no limit"));
        assert_eq!(
            refused(&mut ledger, OTHER, Way::In, 0),
            Some(Limit::TotalRate)
        );
        leases.push(
            ledger
                .lease(OTHER, Way::Out, 0, at(0))
                .expect("let in once"),
        );
        assert_eq!(
            ledger.account(ONE).expect("a trunk").begun(Way::In, at(0)),
            0
        );
        let last = |ledger: &Ledger, millis| {
            let account = ledger.account(ONE).expect("a trunk");
            account.begun(Way::In, at(millis))
        };
        assert_eq!(last(&ledger, 1_500), 2);
        assert_eq!(last(&ledger, 2_500), 0);
        leases.into_iter().for_each(|lease| ledger.release(lease));
    }

    #[test]
    fn media_is_counted_as_it_becomes_known() {
        let limits = TrunkLimits {
            bandwidth: Some(200),
            ..TrunkLimits::default()
        };
        let capacity = Capacity {
            rate: None,
            bandwidth: Some(250),
        };
        let mut ledger = ledger(limits, capacity);
        let mut one = ledger.lease(ONE, Way::In, 200, at(0)).expect("room");
        assert_eq!(
            refused(&mut ledger, OTHER, Way::In, 51),
            Some(Limit::TotalBandwidth)
        );
        ledger.resize(&mut one, 30);
        assert_eq!(ledger.bandwidth(), 30);
        let other = ledger.lease(OTHER, Way::In, 51, at(0)).expect("room now");
        ledger.resize(&mut one, 500);
        assert_eq!(ledger.account(ONE).expect("a trunk").bandwidth, 500);
        ledger.release(one);
        ledger.release(other);
        assert_eq!((ledger.bandwidth(), ledger.held()), (0, 0));
    }

    #[test]
    fn new_limits_find_what_is_up() {
        let mut ledger = ledger(TrunkLimits::default(), Capacity::default());
        let leases = [(); 2].map(|()| ledger.lease(ONE, Way::In, 70, at(0)).expect("room"));
        let trunk = |name: &str| Trunk::new(name, [], [], MediaGroupId(0));
        let limits = TrunkLimits {
            calls: Some(2),
            ..TrunkLimits::default()
        };
        let mut settings = Settings {
            trunks: vec![trunk("one"), trunk("other"), trunk("new")],
            ..Settings::default()
        };
        settings.trunks[0].limits = limits;
        ledger.reconfigure(&settings, at(1));
        assert_eq!(refused(&mut ledger, ONE, Way::Out, 0), Some(Limit::Calls));
        let new = ledger.lease(TrunkId(2), Way::Out, 0, at(1));
        ledger.release(new.expect("a trunk that was not there before"));
        leases.into_iter().for_each(|lease| ledger.release(lease));
        assert_eq!(ledger.account(ONE).expect("a trunk").calls_in, 0);
        assert_eq!(ledger.bandwidth(), 0);
    }

    proptest! {
        /// Whatever is leased, changed and given back in whatever order: nothing is left, and no limit was ever
        /// passed by what was let in.
        #[test]
        fn nothing_is_left_after_any_run(
            steps in prop::collection::vec((0_u8..4, any::<bool>(), 0_u16..2, 0_u64..90, any::<prop::sample::Index>()), 0..300),
        ) {
            let limits = TrunkLimits {
                calls: Some(7),
                calls_in: Some(5),
                bandwidth: Some(300),
                ..TrunkLimits::default()
            };
            let mut ledger = ledger(limits, Capacity { rate: None, bandwidth: Some(400) });
            let mut leases: Vec<Lease> = Vec::new();
            for (what, inbound, trunk, bandwidth, which) in steps {
                let way = if inbound { Way::In } else { Way::Out };
                match what {
                    0 | 1 => {
                        if let Ok(lease) = ledger.lease(TrunkId(trunk), way, bandwidth, at(0)) {
                            leases.push(lease);
                            let account = ledger.account(ONE).expect("a trunk");
                            prop_assert!(account.calls_in + account.calls_out <= 7);
                            prop_assert!(account.calls_in <= 5);
                        }
                    }
                    2 if !leases.is_empty() => {
                        let place = which.index(leases.len());
                        // To less than it was let in with, so that the bounds hold still.
                        let less = leases[place].bandwidth.min(bandwidth);
                        ledger.resize(&mut leases[place], less);
                    }
                    _ if !leases.is_empty() => {
                        let place = which.index(leases.len());
                        ledger.release(leases.swap_remove(place));
                    }
                    _ => {}
                }
                let media: u64 = leases.iter().filter(|lease| lease.trunk == ONE).map(|lease| lease.bandwidth).sum();
                prop_assert_eq!(ledger.account(ONE).expect("a trunk").bandwidth, media);
                prop_assert!(media <= 300);
                prop_assert!(ledger.bandwidth() <= 400);
                prop_assert_eq!(ledger.held(), leases.len());
            }
            leases.into_iter().for_each(|lease| ledger.release(lease));
            prop_assert_eq!((ledger.held(), ledger.bandwidth()), (0, 0));
        }
    }
}
