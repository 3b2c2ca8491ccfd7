//! Finds SIP servers by their names (RFC 3263), sans-IO: queries go out, answers and `now` come in.
//!
//! ```text
//!   peers' names ─► watch ─┐           ┌─► plan of each: places to try, kept resolved in the background
//!   next hops ──► look up ─┤─► locate ─┤
//!                          │  (what is └─► places, or wait
//!                          │   known?)
//!                          └── cache ◄── flights ◄─► Ask, Heard ◄─► the name servers' sockets
//! ```
//!
//! Nothing here blocks or waits: what is not known yet is asked, and whoever wants it hears of it. Refuses to know
//! SIP messages, trunks, calls; sockets and clocks.

mod cache;
mod counters;
mod destination;
mod door;
mod flights;
mod locate;
mod name;
mod record;
mod select;
#[cfg(test)]
mod test_bench;
mod view;
mod waiting;
mod watching;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contract::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;

use cache::Cache;
use flights::Flights;
use locate::Walk;
use waiting::Awaited;
use watching::Watched;

pub use counters::Counters;
pub use destination::{Destination, Family, Location, Ways};
pub use door::{Ask, AttemptId, Carrier, Config, Heard, Lookup, LookupId, News, WatchId};
pub use flights::Failure;
pub use locate::Plan;
pub use name::DomainName;
pub use record::{Answer, Data, Pointer, Question, RecordType, Service, Value};
pub use view::{NameState, NameView, RecordView};

/// The resolver.
#[derive(Debug)]
pub struct Resolver {
    config: Config,
    cache: Cache,
    flights: Flights,
    watched: Vec<Watched>,
    awaited: BTreeMap<(Destination, Ways), Awaited>,
    last_lookup: u64,
    rng: StdRng,
    news: VecDeque<News>,
    /// When the next watched name is due; `None`: nothing before an answer comes.
    refresh_at: Option<Timestamp>,
    /// Those of lookups; the queries' are theirs.
    counters: Counters,
}

impl Resolver {
    /// Knows nothing yet. `rng` must be unpredictable, except in tests.
    pub fn new(config: Config, mut rng: StdRng) -> Self {
        let for_ids = StdRng::from_rng(&mut rng);
        Self {
            cache: Cache::new(config.max_stale),
            flights: Flights::new(&config.servers, config.timeout, config.attempts, for_ids),
            config,
            watched: Vec::new(),
            awaited: BTreeMap::new(),
            last_lookup: 0,
            rng,
            news: VecDeque::new(),
            refresh_at: None,
            counters: Counters::default(),
        }
    }

    /// Whether any name can be resolved.
    pub fn has_servers(&self) -> bool {
        !self.config.servers.is_empty()
    }

    /// Goes by another configuration from now on. What is known, and what is being asked, stays.
    pub fn reconfigure(&mut self, config: Config) {
        if config == self.config {
            return;
        }
        self.cache.set_max_stale(config.max_stale);
        let (servers, timeout, attempts) = (&config.servers, config.timeout, config.attempts);
        self.flights.reconfigure(servers, timeout, attempts);
        self.config = config;
    }

    /// The sockets say something.
    pub fn on_heard(&mut self, heard: Heard, now: Timestamp) {
        match heard {
            Heard::Answer {
                attempt,
                from,
                bytes,
            } => self.flights.on_answer(attempt, from, &bytes, now),
            Heard::Flooded { attempt } => self.flights.on_flood(attempt, now),
            Heard::Failed { attempt } => self.flights.on_failed(attempt, now),
        }
        self.land(now);
    }

    /// Asks what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        self.flights.on_time(now);
        self.land(now);
        self.refresh(now);
        self.give_up(now);
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        let waiting = self.awaited.values().map(|awaited| awaited.until);
        let others = [self.refresh_at, self.flights.deadline()];
        waiting.chain(others.into_iter().flatten()).min()
    }

    /// The next thing that the sockets are to do.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.flights.poll_ask()
    }

    /// The next thing to be heard of.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        let ours = &self.counters;
        Counters {
            lookups: ours.lookups,
            lookups_failed: ours.lookups_failed,
            lookups_refused: ours.lookups_refused,
            lookups_late: ours.lookups_late,
            stale_uses: ours.stale_uses,
            evicted: self.cache.evicted,
            ..self.flights.counters
        }
    }

    fn ask(&mut self, questions: BTreeSet<Question>, now: Timestamp) {
        for question in questions {
            self.flights.begin(question, now);
        }
    }

    /// Takes in what has come of the queries, and what it leads to.
    fn land(&mut self, now: Timestamp) {
        let mut news = false;
        while let Some(landed) = self.flights.poll_landed() {
            news = true;
            let question = landed.question;
            let watched = &self.watched;
            let keep = |question: &Question| {
                let holds = |watched: &Watched| watched.questions.contains(question);
                watched.iter().any(holds)
            };
            self.cache.make_room(keep);
            match landed.outcome {
                Ok(answer) => self.cache.learn(&question, answer, now),
                Err(why) => {
                    tracing::debug!(%question, %why, "no answer");
                    self.cache.fail(&question, why, now);
                }
            }
            for index in 0..self.watched.len() {
                self.go_on(index, &question, now);
            }
            self.tell(&question, now);
        }
        if news {
            self.schedule();
        }
    }

    /// Walks as far as the cache leads; also whether it used an answer that has ended and that no server
    /// renews.
    fn walk(
        &self,
        destination: &Destination,
        ways: &Ways,
        now: Timestamp,
        patient: bool,
    ) -> (Walk, bool) {
        let mut stale = false;
        let walk = locate::walk(destination, ways, |question, looked_at| {
            let (known, ended) = self.cache.know(question, now, patient, looked_at);
            stale |= ended;
            known
        });
        (walk, stale)
    }
}

#[cfg(test)]
mod tests;
