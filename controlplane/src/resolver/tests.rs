//! Names that are kept resolved, and names that are waited for, on virtual time.

use super::test_bench::{Bench, Mood, config};
use std::net::SocketAddr;
use std::time::Duration;

use super::waiting::{AWAITED, PATIENCE};
use super::*;
use crate::settings::Transport;

const CARRIER: &str = "
    carrier.example 60 NAPTR 10 10 s SIP+D2U _sip._udp.carrier.example
    _sip._udp.carrier.example 30 SRV 10 0 5060 one.carrier.example
    _sip._udp.carrier.example 30 SRV 20 0 5062 two.carrier.example
    one.carrier.example 10 A 192.0.2.1
    two.carrier.example 100 CNAME host.elsewhere.example
    host.elsewhere.example 100 A 192.0.2.2
";

const SECOND: Duration = Duration::from_secs(1);

fn ways() -> Ways {
    Ways::new([(Transport::Udp, Family::V4)])
}

fn destination(host: &str) -> Destination {
    Destination::of(DomainName::parse(host).expect("a name"), None)
}

fn watch(bench: &mut Bench, host: &str) -> WatchId {
    bench.resolver.watch_all(vec![(destination(host), ways())]);
    bench.advance(Duration::ZERO);
    WatchId(0)
}

fn places(bench: &mut Bench, id: WatchId) -> Vec<String> {
    let order = bench.resolver.order(id);
    order
        .iter()
        .map(|place| place.address.to_string())
        .collect()
}

fn state(bench: &Bench) -> NameState {
    bench
        .resolver
        .names(bench.now)
        .next()
        .expect("a name")
        .state
}

#[test]
fn a_watched_name_is_resolved_step_by_step_and_asks_nothing_that_it_does_not_need() {
    let mut bench = Bench::new(CARRIER);
    let id = watch(&mut bench, "carrier.example");
    assert_eq!(places(&mut bench, id), ["192.0.2.1:5060", "192.0.2.2:5062"]);
    assert_eq!(
        bench.asked(),
        [
            "carrier.example NAPTR",
            "_sip._udp.carrier.example SRV",
            "one.carrier.example A",
            "two.carrier.example A",
        ]
    );
    assert_eq!(bench.news.pop_front(), Some(News::Changed(id)));
    assert_eq!(bench.news.pop_front(), None);
    assert_eq!(state(&bench), NameState::Resolved);
}

#[test]
fn each_answer_is_renewed_before_its_own_ttl_ends() {
    let mut bench = Bench::new(CARRIER);
    let id = watch(&mut bench, "carrier.example");
    bench.asked();
    bench.advance(8 * SECOND - Duration::from_millis(1));
    assert_eq!(bench.asked(), [""; 0]);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.asked(), ["one.carrier.example A"]);
    // A changed address is used from then on.
    bench.set_zone(&CARRIER.replace("192.0.2.1", "192.0.2.7"));
    bench.news.clear();
    bench.advance(8 * SECOND);
    assert_eq!(bench.asked(), ["one.carrier.example A"]);
    assert_eq!(bench.news.pop_front(), Some(News::Changed(id)));
    assert_eq!(places(&mut bench, id)[0], "192.0.2.7:5060");
    bench.advance(24 * SECOND - 16 * SECOND);
    let expected = ["_sip._udp.carrier.example SRV", "one.carrier.example A"];
    assert_eq!(bench.asked(), expected);
}

#[test]
fn a_new_server_of_the_service_is_resolved_before_the_plan_changes() {
    let mut bench = Bench::new(CARRIER);
    let id = watch(&mut bench, "carrier.example");
    let more = "
        _sip._udp.carrier.example 30 SRV 5 0 5060 new.carrier.example
        new.carrier.example 30 A 192.0.2.3
    ";
    bench.set_zone(&format!("{CARRIER}{more}"));
    bench.advance(24 * SECOND);
    let first = places(&mut bench, id).remove(0);
    assert_eq!(first, "192.0.2.3:5060");
}

#[test]
fn while_no_server_answers_the_last_answer_serves_for_as_long_as_allowed() {
    let mut bench = Bench::new(CARRIER);
    let id = watch(&mut bench, "carrier.example");
    bench.all(Mood::Silent);
    bench.news.clear();
    bench.advance(100 * SECOND);
    assert_eq!(state(&bench), NameState::Stale);
    assert_eq!(places(&mut bench, id), ["192.0.2.1:5060", "192.0.2.2:5062"]);
    assert_eq!(bench.resolver.counters().stale_uses, 1);
    assert_eq!(bench.news.pop_front(), None, "the plan is the same");
    // The queries of the outage are few: each question every half minute, twice to each server.
    bench.seen.clear();
    bench.advance(300 * SECOND);
    let queries = bench.seen.len();
    assert!((100..200).contains(&queries), "{queries} queries in 300 s");
    bench.advance(3600 * SECOND);
    assert_eq!(state(&bench), NameState::Failed);
    assert_eq!(places(&mut bench, id), [""; 0]);
    // And back.
    bench.all(Mood::Well);
    bench.advance(40 * SECOND);
    assert_eq!(state(&bench), NameState::Resolved);
    assert_eq!(places(&mut bench, id).len(), 2);
}

#[test]
fn a_no_of_the_dns_is_believed_at_once() {
    let mut bench = Bench::new(CARRIER);
    let id = watch(&mut bench, "carrier.example");
    bench.set_zone("other.example 60 A 192.0.2.1");
    bench.advance(100 * SECOND);
    assert_eq!(state(&bench), NameState::Nowhere);
    assert_eq!(places(&mut bench, id), [""; 0]);
    bench.set_zone(CARRIER);
    bench.advance(30 * SECOND);
    assert_eq!(
        places(&mut bench, id).len(),
        2,
        "asked again when the no has ended"
    );
}

#[test]
fn a_name_that_nobody_resolves_is_asked_for_again_and_again() {
    let mut bench = Bench::new(CARRIER);
    bench.all(Mood::Gone);
    let id = watch(&mut bench, "carrier.example");
    bench.advance(10 * SECOND);
    assert_eq!(state(&bench), NameState::Failed);
    bench.all(Mood::Well);
    bench.advance(10 * SECOND);
    assert_eq!(places(&mut bench, id).len(), 2);
}

#[test]
fn another_configuration_keeps_what_is_known() {
    let mut bench = Bench::new(CARRIER);
    watch(&mut bench, "carrier.example");
    bench.asked();
    bench.set_zone(&format!("{CARRIER}new.example 60 A 192.0.2.4"));
    let names = vec![
        (destination("new.example"), ways()),
        (destination("carrier.example"), ways()),
    ];
    bench.resolver.watch_all(names);
    bench.advance(Duration::ZERO);
    assert_eq!(places(&mut bench, WatchId(1)).len(), 2);
    assert_eq!(places(&mut bench, WatchId(0)), ["192.0.2.4:5060"]);
    let asked = bench.asked();
    assert!(
        asked.iter().all(|asked| asked.contains("new.example")),
        "{asked:?}"
    );
    // Other name servers take over, also what is on its way.
    bench.all(Mood::Silent);
    let silent = bench
        .resolver
        .look_up(destination("x.example"), ways(), bench.now);
    assert!(matches!(silent, Lookup::Later(_)));
    bench.settle();
    bench.seen.clear();
    let other: SocketAddr = "192.0.2.99:53".parse().expect("an address");
    bench.moods.insert(other, Mood::Well);
    bench.resolver.reconfigure(Config {
        servers: vec![other],
        ..config()
    });
    bench.resolver.on_time(bench.now);
    bench.settle();
    assert_eq!(bench.seen[0].server, other);
    bench.resolver.watch_all(Vec::new());
    bench.advance(10 * SECOND);
    assert_eq!(bench.resolver.deadline(), None);
}

#[test]
fn calls_are_spread_by_weight() {
    let mut bench = Bench::new(
        "
        _sip._udp.x.example 30 SRV 10 75 5060 one.x.example
        _sip._udp.x.example 30 SRV 10 25 5060 two.x.example
        one.x.example 30 A 192.0.2.1
        two.x.example 30 A 192.0.2.2
        ",
    );
    let id = watch(&mut bench, "x.example");
    let first = |_: &u32| places(&mut bench, id)[0] == "192.0.2.1:5060";
    let firsts = (0..10_000).filter(first).count();
    assert!((7300..7700).contains(&firsts), "{firsts} of 10000");
}

#[test]
fn a_lookup_waits_once_and_is_answered_from_what_is_known_then() {
    let mut bench = Bench::new(CARRIER);
    let now = bench.now;
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), now);
    let Lookup::Later(first) = lookup else {
        panic!("{lookup:?}");
    };
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), now);
    let Lookup::Later(second) = lookup else {
        panic!("{lookup:?}");
    };
    bench.settle();
    for id in [first, second] {
        let Some(News::Found(found, places)) = bench.news.pop_front() else {
            panic!("no news");
        };
        assert_eq!((found, places.len()), (id, 2));
    }
    assert_eq!(bench.asked().len(), 4, "one query for both");
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), now);
    assert!(matches!(lookup, Lookup::Now(places) if places.len() == 2));
    assert_eq!(
        bench.resolver.deadline(),
        None,
        "nothing is kept for nobody"
    );
    // Once the TTL has ended it is asked anew, by its first question that has ended.
    bench.advance(61 * SECOND);
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), bench.now);
    assert!(matches!(lookup, Lookup::Later(_)));
}

#[test]
fn nobody_waits_for_long() {
    let mut bench = Bench::new(CARRIER);
    bench.all(Mood::Silent);
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), bench.now);
    let Lookup::Later(id) = lookup else {
        panic!("{lookup:?}");
    };
    bench.advance(PATIENCE - Duration::from_millis(1));
    assert_eq!(bench.news.pop_front(), None);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.news.pop_front(), Some(News::Found(id, Vec::new())));
    assert_eq!(bench.resolver.counters().lookups_late, 1);
    // While the pause after the failure lasts, the next does not wait at all.
    bench.advance(2 * SECOND);
    let lookup = bench
        .resolver
        .look_up(destination("carrier.example"), ways(), bench.now);
    assert!(
        matches!(lookup, Lookup::Later(_) | Lookup::Now(_)),
        "{lookup:?}"
    );
}

#[test]
fn who_waits_gets_what_has_ended_when_nobody_answers() {
    let mut bench = Bench::new("x.example 10 A 192.0.2.1");
    let at = |bench: &mut Bench| {
        let destination = Destination {
            port: Some(5060),
            ..destination("x.example")
        };
        let lookup = bench.resolver.look_up(destination, ways(), bench.now);
        bench.advance(5 * SECOND);
        lookup
    };
    at(&mut bench);
    bench.news.clear();
    bench.advance(20 * SECOND);
    bench.all(Mood::Gone);
    let lookup = at(&mut bench);
    assert!(matches!(lookup, Lookup::Later(_)));
    let news = bench.news.pop_front();
    assert!(matches!(news, Some(News::Found(_, places)) if places.len() == 1));
    assert_eq!(bench.resolver.counters().stale_uses, 1);
}

#[test]
fn no_more_names_than_bounded_are_waited_for() {
    let mut bench = Bench::new("");
    bench.all(Mood::Silent);
    for number in 0..AWAITED {
        let name = destination(&format!("n{number}.example"));
        let lookup = bench.resolver.look_up(name, ways(), bench.now);
        assert!(matches!(lookup, Lookup::Later(_)));
    }
    let lookup = bench
        .resolver
        .look_up(destination("more.example"), ways(), bench.now);
    assert_eq!(lookup, Lookup::Now(Vec::new()));
    assert_eq!(bench.resolver.counters().lookups_refused, 1);
    let lookup = bench
        .resolver
        .look_up(destination("n0.example"), ways(), bench.now);
    assert!(
        matches!(lookup, Lookup::Later(_)),
        "for the same name more may wait"
    );
}

#[test]
fn what_is_known_is_shown() {
    let mut bench = Bench::new(CARRIER);
    watch(&mut bench, "carrier.example");
    bench.advance(SECOND);
    let records: Vec<_> = bench.resolver.records(bench.now).collect();
    let srv = records
        .iter()
        .find(|record| record.question.kind == RecordType::Srv)
        .expect("the service");
    assert_eq!(srv.question.to_string(), "_sip._udp.carrier.example SRV");
    assert_eq!(srv.values[0], "10 0 5060 one.carrier.example");
    assert_eq!((srv.ttl, srv.age), (Some(30 * SECOND), Some(SECOND)));
    assert_eq!((srv.state, srv.failures, srv.why), ("fresh", 0, None));
    let name = bench.resolver.names(bench.now).next().expect("a name");
    assert_eq!(
        (name.name.as_str(), name.age),
        ("carrier.example", Some(SECOND))
    );
    assert_eq!(name.locations.len(), 2);
    assert_eq!(bench.resolver.known(), 4);
    assert_eq!(bench.resolver.asking(), 0);
    assert_eq!(bench.resolver.servers(), config().servers);
}
