//! How long what was learnt is believed.

use std::net::Ipv4Addr;

use super::super::DomainName;
use super::super::record::{Data, RecordType};
use super::*;

fn question(name: &str) -> Question {
    Question {
        name: DomainName::parse(name).expect("a name"),
        kind: RecordType::A,
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn records() -> Value {
    Value::Records(vec![Data::from(Ipv4Addr::LOCALHOST)])
}

fn answer(value: Value, seconds: u64) -> Answer {
    let ttl = Duration::from_secs(seconds);
    Answer { value, ttl }
}

fn cache() -> Cache {
    Cache::new(Duration::from_secs(1000))
}

fn state(cache: &Cache, name: &str, now: Timestamp) -> State {
    cache.state(&cache.entries[&question(name)], now)
}

#[test]
fn ttls_hold_within_bounds() {
    for (value, ttl, lives) in [
        (records(), 60, 60),
        (records(), 0, 1),
        (records(), 10_000_000, 86_400),
        (Value::NoName, 60, 60),
        (Value::NoName, 7200, 300),
        (Value::NoRecords, 0, 1),
    ] {
        let mut cache = cache();
        cache.learn(&question("a"), answer(value, ttl), at(100));
        assert_eq!(state(&cache, "a", at(100 + lives - 1)), State::Fresh);
        assert_ne!(state(&cache, "a", at(100 + lives)), State::Fresh);
    }
}

#[test]
fn an_answer_serves_beyond_its_ttl_but_a_no_does_not() {
    let mut cache = cache();
    cache.learn(&question("a"), answer(records(), 60), at(0));
    cache.learn(&question("b"), answer(Value::NoName, 60), at(0));
    assert_eq!(state(&cache, "a", at(60)), State::Stale);
    assert_eq!(state(&cache, "a", at(1059)), State::Stale);
    assert_eq!(state(&cache, "a", at(1060)), State::Unasked);
    assert_eq!(state(&cache, "b", at(60)), State::Unasked);
}

#[test]
fn the_pause_after_failures_doubles_and_ends_with_an_answer() {
    let mut cache = cache();
    let a = question("a");
    let mut now = at(0);
    for pause in [2, 4, 8, 16, 30, 30, 30] {
        cache.fail(&a, Failure::Timeout, now);
        assert_eq!(state(&cache, "a", now), State::Failed);
        now = now + Duration::from_secs(pause);
        assert_eq!(cache.due(&a), Some(now));
        assert_eq!(state(&cache, "a", now), State::Unasked);
    }
    cache.learn(&a, answer(records(), 60), now);
    assert_eq!(state(&cache, "a", now), State::Fresh);
    cache.fail(&a, Failure::Timeout, now);
    assert_eq!(cache.due(&a), Some(now + Duration::from_secs(2)));
    assert_eq!(
        state(&cache, "a", now),
        State::Fresh,
        "the answer still holds"
    );
}

#[test]
fn answers_are_renewed_before_they_end() {
    for (ttl, due) in [(1, 800), (60, 48_000), (3600, 3_540_000)] {
        let mut cache = cache();
        cache.learn(&question("a"), answer(records(), ttl), at(0));
        let due = Timestamp::ZERO + Duration::from_millis(due);
        assert_eq!(cache.due(&question("a")), Some(due));
    }
    assert_eq!(cache().due(&question("a")), None);
}

#[test]
fn who_is_patient_gets_what_has_ended_only_when_nothing_else_can_be_had() {
    let mut cache = cache();
    let a = question("a");
    let know = |cache: &Cache, patient| cache.know(&a, at(70), patient, &mut BTreeSet::new());
    cache.learn(&a, answer(records(), 60), at(0));
    assert_eq!(know(&cache, true), (Knowledge::Unasked(a.clone()), false));
    assert!(matches!(
        know(&cache, false),
        (Knowledge::Records(_), false)
    ));
    cache.fail(&a, Failure::Timeout, at(70));
    assert!(matches!(know(&cache, true), (Knowledge::Records(_), true)));
    assert!(matches!(know(&cache, false), (Knowledge::Records(_), true)));
}

#[test]
fn aliases_are_followed_as_far_as_they_are_known() {
    let mut cache = cache();
    let alias = |name| Value::Alias(DomainName::parse(name).expect("a name"));
    cache.learn(&question("a"), answer(alias("b"), 60), at(0));
    let mut looked_at = BTreeSet::new();
    let known = cache.know(&question("a"), at(0), true, &mut looked_at);
    assert_eq!(known.0, Knowledge::Unasked(question("b")));
    assert_eq!(looked_at, [question("a"), question("b")].into());
    cache.learn(&question("b"), answer(records(), 60), at(0));
    let known = cache.know(&question("a"), at(0), true, &mut looked_at);
    assert!(matches!(known.0, Knowledge::Records(records) if records.len() == 1));
    // A ring ends.
    cache.learn(&question("b"), answer(alias("a"), 60), at(0));
    let known = cache.know(&question("a"), at(0), true, &mut looked_at);
    assert_eq!(known.0, Knowledge::Records(Vec::new()));
}

#[test]
fn the_cache_is_bounded_and_what_is_watched_stays() {
    let mut cache = cache();
    let kept = question("n0");
    for number in 0..2 * CACHED {
        cache.make_room(|question| *question == kept);
        let name = question(&format!("n{number}"));
        cache.learn(&name, answer(records(), 60 + number as u64), at(0));
        assert!(cache.len() <= CACHED);
    }
    assert!(cache.entries.contains_key(&kept));
    let last = question(&format!("n{}", 2 * CACHED - 1));
    assert!(
        cache.entries.contains_key(&last),
        "what ends first goes first"
    );
    assert!(cache.evicted >= CACHED as u64);
}
