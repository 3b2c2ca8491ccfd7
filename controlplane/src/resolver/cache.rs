//! What is known of questions: answers until their TTL ends and, while nobody answers, beyond it
//! (RFC 2308, RFC 8767). Bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::Timestamp;

use super::flights::Failure;
use super::locate::Knowledge;
use super::record::{Answer, Question, Value};

/// Questions that are known at a time. Each costs a few hundred bytes.
pub(super) const CACHED: usize = 4096;

/// The shortest life of an answer: a TTL of 0 must not make each call ask.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: a mistake of an operator elsewhere should not outlive a day.
const LONGEST: Duration = Duration::from_secs(86_400);
/// The longest life of a "no". RFC 2308 §5 allows hours; a trunk must not be gone for as long as that after
/// its records have come back.
const LONGEST_NO: Duration = Duration::from_secs(300);

/// How long a question is left alone after a failure, doubled with each further one (RFC 2308 §7 allows
/// 5 minutes at the most).
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause: how much later than the name servers themselves we notice that they are back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Aliases followed from one question.
const MOST_ALIASES: usize = 8;

/// What is kept of one question.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// The last answer, its age and its end.
    pub(super) answer: Option<Known>,
    /// The failures since then.
    pub(super) failure: Option<Failed>,
}

impl Entry {
    /// Whether it is too early to ask again after a failure.
    fn is_paused(&self, now: Timestamp) -> bool {
        self.failure.is_some_and(|failed| now < failed.until)
    }
}

/// An answer that was had.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) value: Value,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) times: u32,
    pub(super) why: Failure,
    /// Not asked again before this.
    pub(super) until: Timestamp,
}

/// What an entry is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its TTL has not ended.
    Fresh,
    /// Its TTL has ended, and a new answer is awaited or cannot be had: the old one serves.
    Stale,
    /// Nobody would say.
    Failed,
    /// It has to be asked.
    Unasked,
}

#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
    /// How long an answer serves after its TTL while no other can be had.
    max_stale: Duration,
    pub(super) evicted: u64,
}

impl Cache {
    pub(super) const fn new(max_stale: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            max_stale,
            evicted: 0,
        }
    }

    pub(super) fn set_max_stale(&mut self, max_stale: Duration) {
        self.max_stale = max_stale;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&Question, &Entry)> {
        self.entries.iter()
    }

    /// Takes an answer in, in the place of what was known.
    pub(super) fn learn(&mut self, question: &Question, answer: Answer, now: Timestamp) {
        let longest = match answer.value {
            Value::Records(_) | Value::Alias(_) => LONGEST,
            Value::NoName | Value::NoRecords => LONGEST_NO,
        };
        let known = Known {
            value: answer.value,
            since: now,
            until: now + answer.ttl.clamp(SHORTEST, longest),
        };
        let entry = self.entries.entry(question.clone()).or_default();
        entry.answer = Some(known);
        entry.failure = None;
    }

    /// Notes that nobody would answer.
    pub(super) fn fail(&mut self, question: &Question, why: Failure, now: Timestamp) {
        let entry = self.entries.entry(question.clone()).or_default();
        let times = entry
            .failure
            .map_or(0, |failed| failed.times)
            .saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(10));
        entry.failure = Some(Failed {
            times,
            why,
            until: now + pause.min(LONGEST_PAUSE),
        });
    }

    /// Makes room, sparing what `keep` holds: an eighth goes at a time, what ends first.
    pub(super) fn make_room(&mut self, keep: impl Fn(&Question) -> bool) {
        if self.entries.len() < CACHED {
            return;
        }
        let ends = |entry: &Entry| entry.answer.as_ref().map(|known| known.until);
        let mut victims: Vec<_> = self
            .entries
            .iter()
            .filter(|(question, _)| !keep(question))
            .map(|(question, entry)| (ends(entry), question.clone()))
            .collect();
        victims.sort();
        for (_, question) in victims.into_iter().take(CACHED / 8) {
            self.entries.remove(&question);
            self.evicted += 1;
        }
    }

    pub(super) fn state(&self, entry: &Entry, now: Timestamp) -> State {
        match &entry.answer {
            Some(known) if now < known.until => State::Fresh,
            Some(known)
                if now < known.until + self.max_stale
                    && matches!(known.value, Value::Records(_) | Value::Alias(_)) =>
            {
                State::Stale
            }
            _ if entry.is_paused(now) => State::Failed,
            _ => State::Unasked,
        }
    }

    /// When the question should be asked again so that its answer never ends: some time before that, or
    /// when a failure's pause has passed. `None`: it is not known at all.
    pub(super) fn due(&self, question: &Question) -> Option<Timestamp> {
        let entry = self.entries.get(question)?;
        if let Some(failed) = entry.failure {
            return Some(failed.until);
        }
        let known = entry.answer.as_ref()?;
        Some(known.since + early(known.until.since(known.since)))
    }

    /// What is known of a question, aliases followed, and whether that rests on an answer whose TTL has
    /// ended and that cannot be renewed. Every
    /// question on the way goes into `looked_at`. `patient`: an answer whose TTL has ended serves only if no
    /// other can be had.
    pub(super) fn know(
        &self,
        question: &Question,
        now: Timestamp,
        patient: bool,
        looked_at: &mut BTreeSet<Question>,
    ) -> (Knowledge, bool) {
        let mut question = question.clone();
        let mut stale = false;
        for _ in 0..=MOST_ALIASES {
            looked_at.insert(question.clone());
            let Some(entry) = self.entries.get(&question) else {
                return (Knowledge::Unasked(question), stale);
            };
            match self.state(entry, now) {
                State::Fresh => {}
                State::Stale if patient && !entry.is_paused(now) => {
                    return (Knowledge::Unasked(question), stale);
                }
                State::Stale => stale |= entry.is_paused(now),
                State::Failed => return (Knowledge::Failed, stale),
                State::Unasked => return (Knowledge::Unasked(question), stale),
            }
            match entry.answer.as_ref().map(|known| &known.value) {
                Some(Value::Records(records)) => {
                    return (Knowledge::Records(records.clone()), stale);
                }
                Some(Value::Alias(name)) => question.name = name.clone(),
                Some(Value::NoName | Value::NoRecords) | None => break,
            }
        }
        (Knowledge::Records(Vec::new()), stale)
    }
}

/// How long after an answer the next is asked for: when a fifth of its TTL is left, or a minute.
fn early(ttl: Duration) -> Duration {
    const LEAD: Duration = Duration::from_secs(60);
    ttl.saturating_sub((ttl / 5).min(LEAD))
}

#[cfg(test)]
mod tests;
