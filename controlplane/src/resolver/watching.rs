//! Names that are kept resolved: each record is asked for again before its TTL ends, and the plan of a name
//! changes as a whole.

use std::collections::BTreeSet;

use contract::Timestamp;

use super::locate::Walk;
use super::{Destination, Location, NameState, News, Plan, Question, Resolver, WatchId, Ways};

/// A name that is kept resolved.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) destination: Destination,
    ways: Ways,
    /// As far as it is known; kept while a new one is worked out.
    pub(super) plan: Plan,
    pub(super) questions: BTreeSet<Question>,
    pub(super) state: NameState,
    /// When the plan was last made of answers that had not ended.
    pub(super) fresh_at: Option<Timestamp>,
}

impl Resolver {
    /// Keeps these names resolved from now on, and no others; what is known of one that was watched before
    /// stays. [`Self::on_time`] begins.
    pub fn watch_all(&mut self, names: Vec<(Destination, Ways)>) {
        let mut former = std::mem::take(&mut self.watched);
        for (destination, ways) in names {
            let same =
                |watched: &Watched| (&watched.destination, &watched.ways) == (&destination, &ways);
            let place = former.iter().position(same);
            let watched = match place.map(|place| former.swap_remove(place)) {
                Some(watched) => watched,
                None => Watched::new(destination, ways),
            };
            self.watched.push(watched);
        }
        let work = self.has_servers() && !self.watched.is_empty();
        self.refresh_at = work.then_some(Timestamp::ZERO);
    }

    /// Asks again what ends soon, of every name that is due.
    pub(super) fn refresh(&mut self, now: Timestamp) {
        if self.refresh_at.is_none_or(|at| at > now) {
            return;
        }
        for index in 0..self.watched.len() {
            if self.due(index).is_some_and(|due| due <= now) {
                self.follow(index, now);
            }
        }
        self.land(now);
        self.schedule();
    }

    /// What is known of a watched name.
    pub fn plan(&self, id: WatchId) -> Option<&Plan> {
        self.watched.get(id.0).map(|watched| &watched.plan)
    }

    /// The places of a watched name in an order drawn for one call.
    pub fn order(&mut self, id: WatchId) -> Vec<Location> {
        let Some(watched) = self.watched.get(id.0) else {
            return Vec::new();
        };
        if watched.state == NameState::Stale {
            self.counters.stale_uses += 1;
        }
        watched.plan.order(&mut self.rng)
    }

    pub(super) fn schedule(&mut self) {
        let due = (0..self.watched.len()).filter_map(|index| self.due(index));
        self.refresh_at = due.min();
    }

    /// When something of a watched name has to be asked; `None`: not before an answer comes.
    fn due(&self, index: usize) -> Option<Timestamp> {
        let watched = self.watched.get(index)?;
        if watched.questions.is_empty() {
            return Some(Timestamp::ZERO);
        }
        let mut idle = watched
            .questions
            .iter()
            .filter(|question| !self.flights.is_asking(question));
        let first = self.due_of(idle.next()?);
        Some(
            idle.map(|question| self.due_of(question))
                .fold(first, Timestamp::min),
        )
    }

    fn due_of(&self, question: &Question) -> Timestamp {
        self.cache.due(question).unwrap_or(Timestamp::ZERO)
    }

    /// A question has been settled: a watched name that led to it goes on from there.
    pub(super) fn go_on(&mut self, index: usize, question: &Question, now: Timestamp) {
        let concerned = self.watched.get(index);
        if concerned.is_some_and(|watched| watched.questions.contains(question)) {
            self.follow(index, now);
        }
    }

    /// Works a watched name's plan out anew, and asks what it lacks or what ends soon.
    fn follow(&mut self, index: usize, now: Timestamp) {
        let Some(watched) = self.watched.get(index) else {
            return;
        };
        let (walk, stale) = self.walk(&watched.destination, &watched.ways, now, false);
        let due = |question: &&Question| self.due_of(question) <= now;
        let due = walk.questions.iter().filter(due);
        let asked: BTreeSet<_> = due.chain(&walk.unasked).cloned().collect();
        self.take_plan(index, walk, stale, now);
        self.ask(asked, now);
    }

    fn take_plan(&mut self, index: usize, walk: Walk, stale: bool, now: Timestamp) {
        let Some(watched) = self.watched.get_mut(index) else {
            return;
        };
        watched.questions = walk.questions;
        if !walk.unasked.is_empty() {
            // The old plan serves until the new one is whole.
            return;
        }
        let state = match (walk.plan.is_empty(), stale) {
            (false, false) => NameState::Resolved,
            (false, true) => NameState::Stale,
            (true, _) if walk.failed => NameState::Failed,
            (true, _) => NameState::Nowhere,
        };
        if state == NameState::Resolved {
            watched.fresh_at = Some(now);
        }
        watched.note(state);
        if watched.plan != walk.plan {
            watched.plan = walk.plan;
            self.news.push_back(News::Changed(WatchId(index)));
        }
    }
}

impl Watched {
    const fn new(destination: Destination, ways: Ways) -> Self {
        Self {
            destination,
            ways,
            plan: Plan::new(),
            questions: BTreeSet::new(),
            state: NameState::Unknown,
            fresh_at: None,
        }
    }

    /// The operator hears of each change for the worse, and of the end of it.
    fn note(&mut self, state: NameState) {
        if self.state == state {
            return;
        }
        let name = &self.destination;
        match state {
            NameState::Resolved => tracing::info!(%name, "resolved"),
            NameState::Stale => {
                tracing::warn!(%name, "no name server answers: the last answer is used");
            }
            NameState::Nowhere => tracing::warn!(%name, "the DNS has no server for this name"),
            NameState::Failed => tracing::warn!(%name, "cannot be resolved"),
            NameState::Unknown => {}
        }
        self.state = state;
    }
}
