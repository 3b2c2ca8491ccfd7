//! What the resolver knows, for the operator.

use std::time::Duration;

use contract::Timestamp;

use super::cache::State;
use super::record::Value;
use super::{Failure, Location, Question, Resolver};

/// How a watched name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameState {
    /// Not resolved yet.
    Unknown,
    /// By answers that hold.
    Resolved,
    /// By answers that have ended, because no name server answers.
    Stale,
    /// The DNS says that there is no server for it.
    Nowhere,
    /// No name server answers, and no answer is left that could serve.
    Failed,
}

impl NameState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Resolved => "resolved",
            Self::Stale => "stale",
            Self::Nowhere => "nowhere",
            Self::Failed => "failed",
        }
    }
}

/// A watched name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameView {
    /// The name, with its port and transport if these were given.
    pub name: String,
    /// How it stands.
    pub state: NameState,
    /// Since its plan was last made of answers that held.
    pub age: Option<Duration>,
    /// Where it leads, in no order.
    pub locations: Vec<Location>,
}

/// What is kept of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordView {
    /// The question.
    pub question: Question,
    /// The records, in the words of a zone file; "no such name", "no records".
    pub values: Vec<String>,
    /// What its TTL was, within our bounds.
    pub ttl: Option<Duration>,
    /// Since it was answered.
    pub age: Option<Duration>,
    /// `fresh`, `stale`, `failed` or `expired`.
    pub state: &'static str,
    /// Failures since then.
    pub failures: u32,
    /// Why the last one failed.
    pub why: Option<Failure>,
}

impl Resolver {
    /// The watched names, in the order in which they were given.
    pub fn names(&self, now: Timestamp) -> impl Iterator<Item = NameView> {
        self.watched.iter().map(move |watched| NameView {
            name: watched.destination.to_string(),
            state: watched.state,
            age: watched.fresh_at.map(|at| now.since(at)),
            locations: watched.plan.locations().collect(),
        })
    }

    /// Every question that is known, by name.
    pub fn records(&self, now: Timestamp) -> impl Iterator<Item = RecordView> {
        self.cache.entries().map(move |(question, entry)| {
            let known = entry.answer.as_ref();
            RecordView {
                question: question.clone(),
                values: known.map_or_else(Vec::new, |known| spell(&known.value)),
                ttl: known.map(|known| known.until.since(known.since)),
                age: known.map(|known| now.since(known.since)),
                state: match self.cache.state(entry, now) {
                    State::Fresh => "fresh",
                    State::Stale => "stale",
                    State::Failed => "failed",
                    State::Unasked => "expired",
                },
                failures: entry.failure.map_or(0, |failed| failed.times),
                why: entry.failure.map(|failed| failed.why),
            }
        })
    }

    /// Questions that are known.
    pub fn known(&self) -> usize {
        self.cache.len()
    }

    /// Questions on their way to the name servers.
    pub fn asking(&self) -> usize {
        self.flights.len()
    }

    /// The name servers.
    pub fn servers(&self) -> &[std::net::SocketAddr] {
        &self.config.servers
    }
}

fn spell(value: &Value) -> Vec<String> {
    match value {
        Value::Records(records) => records.iter().map(ToString::to_string).collect(),
        Value::Alias(name) => vec![format!("CNAME {name}")],
        Value::NoName => vec!["no such name".to_owned()],
        Value::NoRecords => vec!["no records".to_owned()],
    }
}
