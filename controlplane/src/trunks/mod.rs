//! Trunks in service: which of a trunk's peers are well, which is called first, and how much may go through.
//!
//! ```text
//!   route ─► targets ─► selection (priority, weight) ─► those that are well first ─► the call tries them
//!                            ▲ health: OPTIONS, and what calls meet
//!   call in ─► limits ─► lease … given back when the call is over
//! ```
//!
//! Sans-IO, and without SIP: who asks a peer with OPTIONS is told when ([`Trunks::due`]) and says what came of
//! it. docs/trunks.md has the tables.

mod bucket;
mod health;
mod limits;
mod selection;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::deadlines::Deadlines;
use crate::routing::{Routing, Target};
use crate::settings::{Check, Peer, Settings, TrunkId};

use self::health::{Change, Health};
use self::selection::Rank;

pub(crate) use bucket::Bucket;
pub(crate) use health::Evidence;
pub use health::{HealthRow, HealthState, HealthTrigger, TABLE};
pub use limits::Limit;
pub(crate) use limits::{Account, Lease, Ledger, Way};
pub use view::{PeerView, TrunkView};

/// How far from its time a check may be, in percent: peers that are asked together once must not be for ever.
const JITTER: u32 = 10;
/// The first check of each peer comes within so long of the start.
const FIRST_CHECK: Duration = Duration::from_secs(1);

/// What a peer's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// It is to be asked.
    Check,
    /// Its answer should be here.
    Answer,
    /// It has rested.
    Rest,
}

/// What is known of one peer: of a target, be it a target of many calls or of none.
#[derive(Debug)]
struct PeerRecord {
    rank: Rank,
    health: Health,
    /// When the OPTIONS left that has no answer yet.
    asked: Option<Timestamp>,
    last_code: Option<u16>,
    last_rtt: Option<Duration>,
    checks: u64,
    failures: u64,
}

/// Every trunk's peers and limits.
#[derive(Debug)]
pub(crate) struct Trunks {
    names: Vec<String>,
    checks: Vec<Check>,
    peers: BTreeMap<Target, PeerRecord>,
    deadlines: Deadlines<(Target, Timer)>,
    ledger: Ledger,
    rng: StdRng,
    /// Changes of state since the start.
    changes: u64,
}

impl Trunks {
    pub(crate) fn new(settings: &Settings, routing: &Routing, rng: StdRng, now: Timestamp) -> Self {
        let mut trunks = Self {
            names: settings.trunks.iter().map(|t| t.name.clone()).collect(),
            checks: settings.trunks.iter().map(|t| t.check.clone()).collect(),
            peers: BTreeMap::new(),
            deadlines: Deadlines::new(),
            ledger: Ledger::new(settings, now),
            rng,
            changes: 0,
        };
        for (trunk, _) in (0..).map(TrunkId).zip(&settings.trunks) {
            trunks.set_peers(trunk, routing.peers_of(trunk), now);
        }
        trunks
    }

    /// Takes new settings: limits, checks and peers. What is known of peers that stay is kept.
    pub(crate) fn reconfigure(&mut self, settings: &Settings, routing: &Routing, now: Timestamp) {
        self.names = settings.trunks.iter().map(|t| t.name.clone()).collect();
        self.checks = settings.trunks.iter().map(|t| t.check.clone()).collect();
        self.ledger.reconfigure(settings, now);
        for (trunk, _) in (0..).map(TrunkId).zip(&settings.trunks) {
            self.set_peers(trunk, routing.peers_of(trunk), now);
            self.keep_asking(trunk, now);
        }
    }

    /// Begins to ask peers that were not asked before, or stops. One that nobody asks any more is judged anew:
    /// no check would bring it back.
    fn keep_asking(&mut self, trunk: TrunkId, now: Timestamp) {
        let asks = self
            .check_of(trunk)
            .is_some_and(|check| check.every.is_some());
        let ids: Vec<Target> = self.of(trunk).map(|(id, _)| *id).collect();
        for id in ids {
            let asked = self.deadlines.of((id, Timer::Check)).is_some();
            if asks && !asked {
                self.deadlines.set((id, Timer::Check), now);
            } else if asked && !asks {
                self.deadlines.clear((id, Timer::Check));
                self.deadlines.clear((id, Timer::Answer));
                if let Some(record) = self.peers.get_mut(&id) {
                    record.asked = None;
                    record.health = Health::new(now);
                }
            }
        }
    }

    /// The peers of a trunk, in place of those that it had; what is known of those that stay is kept.
    pub(crate) fn set_peers(
        &mut self,
        trunk: TrunkId,
        peers: impl Iterator<Item = (Target, Peer)>,
        now: Timestamp,
    ) {
        let peers: Vec<(Target, Peer)> = peers.collect();
        let gone: Vec<Target> = self
            .of(trunk)
            .map(|(id, _)| *id)
            .filter(|known| !peers.iter().any(|(id, _)| id == known))
            .collect();
        for id in gone {
            self.peers.remove(&id);
            for timer in [Timer::Check, Timer::Answer, Timer::Rest] {
                self.deadlines.clear((id, timer));
            }
        }
        for (id, peer) in peers {
            let rank = Rank {
                priority: peer.priority,
                weight: peer.weight,
            };
            match self.peers.get_mut(&id) {
                Some(known) => known.rank = rank,
                None => self.add(id, rank, now),
            }
        }
    }

    fn add(&mut self, id: Target, rank: Rank, now: Timestamp) {
        let record = PeerRecord {
            rank,
            health: Health::new(now),
            asked: None,
            last_code: None,
            last_rtt: None,
            checks: 0,
            failures: 0,
        };
        self.peers.insert(id, record);
        if let Some(every) = self.check_of(id.trunk).and_then(|check| check.every) {
            let within = every.min(FIRST_CHECK);
            let first = within.mul_f64(self.rng.random_range(0.0..1.0));
            self.deadlines.set((id, Timer::Check), now + first);
        }
    }

    /// The targets of a call in the order of trying: within a trunk by priority and weight; and those that are
    /// well before those that are not, which are left out unless no other is left.
    pub(crate) fn select(&mut self, targets: Vec<Target>) -> Vec<Target> {
        let mut ordered = Vec::with_capacity(targets.len());
        let mut rest = targets.into_iter().peekable();
        while let Some(first) = rest.next() {
            let trunk = first.trunk;
            // The places of one name go together, in the order that the DNS gave.
            let mut group = vec![(self.rank(&first), vec![first])];
            while let Some(next) = rest.next_if(|next| next.trunk == trunk) {
                match group.last_mut() {
                    Some((_, same)) if next.name.is_some() && is_of(same, next) => same.push(next),
                    _ => group.push((self.rank(&next), vec![next])),
                }
            }
            let ordered_group = selection::order(&mut self.rng, group);
            ordered.extend(ordered_group.into_iter().flatten());
        }
        let usable: Vec<Target> = ordered
            .iter()
            .copied()
            .filter(|target| self.is_usable(target))
            .collect();
        match usable.is_empty() {
            true => ordered,
            false => usable,
        }
    }

    fn rank(&self, target: &Target) -> Rank {
        let known = self.peers.get(&target.itself());
        known.map_or_else(Rank::default, |record| record.rank)
    }

    fn is_usable(&self, target: &Target) -> bool {
        let known = self.peers.get(&target.itself());
        known.is_none_or(|record| record.health.state().is_usable())
    }

    /// What has been seen of a peer. Of one that nobody knows any more nothing is kept.
    pub(crate) fn witness(&mut self, id: Target, evidence: Evidence, now: Timestamp) {
        let id = id.itself();
        let Some(check) = self.checks.get(usize::from(id.trunk.0)) else {
            return;
        };
        let Some(record) = self.peers.get_mut(&id) else {
            return;
        };
        record.failures += u64::from(evidence != Evidence::Success);
        let change = record.health.witness(evidence, check, now);
        self.follow(id, change, now);
    }

    /// The next peer that is to be asked now. Whoever asks says so with [`Self::asked`].
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Target> {
        while let Some((id, timer)) = self.deadlines.expire(now) {
            match timer {
                Timer::Check => {
                    self.schedule(id, now);
                    let asks = self.peers.get(&id).is_some_and(|record| {
                        // One that wants to be left alone is.
                        record.health.state() != HealthState::Resting && record.asked.is_none()
                    });
                    if asks {
                        return Some(id);
                    }
                }
                Timer::Answer => {
                    if let Some(record) = self.peers.get_mut(&id) {
                        record.asked = None;
                        (record.last_code, record.last_rtt) = (None, None);
                    }
                    self.witness(id, Evidence::Failure, now);
                }
                Timer::Rest => {
                    let record = self.peers.get_mut(&id);
                    let change = record.and_then(|record| record.health.on_time(now));
                    self.follow(id, change, now);
                }
            }
        }
        None
    }

    /// OPTIONS has left for the peer.
    pub(crate) fn asked(&mut self, id: Target, now: Timestamp) {
        let timeout = self.check_of(id.trunk).map(|check| check.timeout);
        if let (Some(timeout), Some(record)) = (timeout, self.peers.get_mut(&id)) {
            record.asked = Some(now);
            record.checks += 1;
            self.deadlines.set((id, Timer::Answer), now + timeout);
        }
    }

    /// The final answer to OPTIONS, or that it could not be sent (`None`). One that comes too late says nothing.
    pub(crate) fn answered(
        &mut self,
        id: Target,
        code: Option<u16>,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) {
        let Some(check) = self.check_of(id.trunk) else {
            return;
        };
        let failed = code.is_none_or(|code| check.down_codes.contains(&code));
        let Some(record) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(asked) = record.asked.take() else {
            return;
        };
        self.deadlines.clear((id, Timer::Answer));
        record.last_code = code;
        record.last_rtt = code.map(|_| now.since(asked));
        let evidence = match (failed, retry_after) {
            (true, Some(wanted)) => Evidence::RetryAfter(wanted),
            (true, None) => Evidence::Failure,
            (false, _) => Evidence::Success,
        };
        self.witness(id, evidence, now);
    }

    /// When [`Self::due`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Changes of state since the start.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    fn check_of(&self, trunk: TrunkId) -> Option<&Check> {
        self.checks.get(usize::from(trunk.0))
    }

    fn of(&self, trunk: TrunkId) -> impl Iterator<Item = (&Target, &PeerRecord)> {
        self.peers.iter().filter(move |(id, _)| id.trunk == trunk)
    }

    fn schedule(&mut self, id: Target, now: Timestamp) {
        let Some(every) = self.check_of(id.trunk).and_then(|check| check.every) else {
            return;
        };
        let percent = self.rng.random_range(100 - JITTER..=100 + JITTER);
        let next = every.saturating_mul(percent) / 100;
        self.deadlines.set((id, Timer::Check), now + next);
    }

    /// Keeps the deadline of a rest, and tells the operator of a change.
    fn follow(&mut self, id: Target, change: Option<Change>, now: Timestamp) {
        let Some(record) = self.peers.get(&id) else {
            return;
        };
        match record.health.deadline() {
            Some(until) => self.deadlines.set((id, Timer::Rest), until.max(now)),
            None => {
                self.deadlines.clear((id, Timer::Rest));
            }
        }
        let Some(Change { from, to }) = change else {
            return;
        };
        self.changes += 1;
        let name = self.names.get(usize::from(id.trunk.0));
        let trunk = name.map_or("", String::as_str);
        let peer = id.peer;
        match (from.is_usable(), to.is_usable()) {
            (true, false) => tracing::warn!(trunk, %peer, %from, %to, "peer out of service"),
            (false, true) => tracing::info!(trunk, %peer, %from, %to, "peer in service"),
            _ => tracing::debug!(trunk, %peer, %from, %to, "peer"),
        }
    }
}

/// Whether the targets are those of the same name.
fn is_of(targets: &[Target], next: Target) -> bool {
    targets.last().is_some_and(|last| last.name == next.name)
}

#[cfg(test)]
mod tests;
