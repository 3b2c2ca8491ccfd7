//! Names that somebody waits for: asked once for all who do, and for a bounded time.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::Timestamp;

use super::locate::Walk;
use super::{Destination, Location, Lookup, LookupId, News, Question, Resolver, Ways};

/// How long somebody waits for a name that is not known yet: a request within a dialog is sent as good as it
/// can be after that. Its transaction's timers begin then; the other side of the call waits too.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// Names that are waited for at a time. Beyond that nobody waits.
pub(super) const AWAITED: usize = 256;

/// A name that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    waiting: Vec<LookupId>,
    questions: BTreeSet<Question>,
    pub(super) until: Timestamp,
}

impl Resolver {
    /// Finds the places of any name, now if it is known.
    pub fn look_up(&mut self, destination: Destination, ways: Ways, now: Timestamp) -> Lookup {
        self.counters.lookups += 1;
        let (walk, stale) = self.walk(&destination, &ways, now, true);
        if walk.unasked.is_empty() {
            return Lookup::Now(self.settle(&walk, stale));
        }
        let key = (destination, ways);
        if !self.has_servers() || !self.awaited.contains_key(&key) && self.awaited.len() >= AWAITED
        {
            self.counters.lookups_refused += 1;
            return Lookup::Now(Vec::new());
        }
        self.last_lookup += 1;
        let id = LookupId(self.last_lookup);
        let awaited = self.awaited.entry(key).or_insert_with(|| Awaited {
            waiting: Vec::new(),
            questions: BTreeSet::new(),
            until: now + PATIENCE,
        });
        awaited.waiting.push(id);
        awaited.questions.clone_from(&walk.questions);
        self.ask(walk.unasked, now);
        self.land(now);
        Lookup::Later(id)
    }

    /// Tells those who wait for a name that the question led to, or goes on asking for them.
    pub(super) fn tell(&mut self, question: &Question, now: Timestamp) {
        let concerned: Vec<_> = self
            .awaited
            .iter()
            .filter(|(_, awaited)| awaited.questions.contains(question))
            .map(|(key, _)| key.clone())
            .collect();
        for key in concerned {
            let (walk, stale) = self.walk(&key.0, &key.1, now, true);
            if walk.unasked.is_empty() {
                let locations = self.settle(&walk, stale);
                self.found(&key, locations);
                continue;
            }
            if let Some(awaited) = self.awaited.get_mut(&key) {
                awaited.questions.clone_from(&walk.questions);
            }
            self.ask(walk.unasked, now);
        }
    }

    /// Those who have waited for too long get what there is: also what has ended.
    pub(super) fn give_up(&mut self, now: Timestamp) {
        let late = self
            .awaited
            .iter()
            .filter(|(_, awaited)| awaited.until <= now);
        let late: Vec<_> = late.map(|(key, _)| key.clone()).collect();
        for key in late {
            self.counters.lookups_late += 1;
            let (walk, stale) = self.walk(&key.0, &key.1, now, false);
            let locations = self.settle(&walk, stale);
            self.found(&key, locations);
        }
    }

    fn found(&mut self, key: &(Destination, Ways), locations: Vec<Location>) {
        let waiting = self.awaited.remove(key).map(|awaited| awaited.waiting);
        for id in waiting.unwrap_or_default() {
            self.news.push_back(News::Found(id, locations.clone()));
        }
    }

    /// The outcome of a lookup.
    fn settle(&mut self, walk: &Walk, stale: bool) -> Vec<Location> {
        let order = walk.plan.order(&mut self.rng);
        if order.is_empty() {
            self.counters.lookups_failed += 1;
        } else if stale {
            self.counters.stale_uses += 1;
        }
        order
    }
}
