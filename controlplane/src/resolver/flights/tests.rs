//! What becomes of one question, whatever the servers do.

use super::super::record::RecordType;
use super::super::test_bench::{Bench, FIRST, Mood, SECOND, addr, config};
use super::super::{Config, Destination, DomainName, Family, Heard, Lookup, Ways};
use super::*;
use crate::settings::Transport;
use hickory_proto::op::{Message, MessageType, ResponseCode};

const ZONE: &str = "x.example 60 A 192.0.2.1";

fn look_up(bench: &mut Bench, host: &str) -> Lookup {
    let host = DomainName::parse(host).expect("a name");
    let ways = Ways::new([(Transport::Udp, Family::V4)]);
    let destination = Destination::of(host, Some(5060));
    let lookup = bench.resolver.look_up(destination, ways, bench.now);
    bench.settle();
    lookup
}

/// Where the last lookup led, if it is known by now.
fn found(bench: &mut Bench) -> Option<Vec<String>> {
    match bench.news.pop_front() {
        Some(super::super::News::Found(_, places)) => Some(
            places
                .iter()
                .map(|place| place.address.to_string())
                .collect(),
        ),
        _ => None,
    }
}

fn place() -> Option<Vec<String>> {
    Some(vec!["192.0.2.1:5060".to_owned()])
}

fn servers(bench: &Bench) -> Vec<(SocketAddr, Carrier)> {
    bench
        .seen
        .iter()
        .map(|seen| (seen.server, seen.carrier))
        .collect()
}

#[test]
fn the_first_server_is_asked_and_its_answer_ends_it() {
    let mut bench = Bench::new(ZONE);
    look_up(&mut bench, "x.example");
    assert_eq!(found(&mut bench), place());
    assert_eq!(servers(&bench), [(addr(FIRST), Carrier::Udp)]);
    assert!(bench.open.is_empty(), "its socket is closed");
    assert_eq!(bench.resolver.deadline(), None);
}

#[test]
fn silence_leads_to_the_next_server_and_it_is_remembered() {
    let mut bench = Bench::new("x.example 60 A 192.0.2.1\ny.example 60 A 192.0.2.2");
    bench.moods.insert(addr(FIRST), Mood::Silent);
    look_up(&mut bench, "x.example");
    bench.advance(Duration::from_millis(999));
    assert_eq!(found(&mut bench), None);
    bench.advance(Duration::from_millis(1));
    assert_eq!(found(&mut bench), place());
    assert_eq!(bench.resolver.counters().timeouts, 1);
    bench.seen.clear();
    look_up(&mut bench, "y.example");
    assert_eq!(servers(&bench), [(addr(SECOND), Carrier::Udp)]);
    // After half a minute the first has its chance again.
    bench.moods.insert(addr(FIRST), Mood::Well);
    bench.advance(Duration::from_secs(30));
    bench.seen.clear();
    look_up(&mut bench, "z.example");
    assert_eq!(servers(&bench), [(addr(FIRST), Carrier::Udp)]);
}

#[test]
fn errors_lead_to_the_next_server_at_once() {
    for mood in [
        Mood::Gone,
        Mood::Says(ResponseCode::ServFail),
        Mood::Says(ResponseCode::Refused),
    ] {
        let mut bench = Bench::new(ZONE);
        bench.moods.insert(addr(FIRST), mood);
        look_up(&mut bench, "x.example");
        assert_eq!(found(&mut bench), place(), "{mood:?}");
        assert_eq!(bench.seen.len(), 2, "{mood:?}");
    }
}

#[test]
fn each_server_is_asked_as_often_as_configured_and_no_more() {
    let mut bench = Bench::new(ZONE);
    bench.all(Mood::Silent);
    look_up(&mut bench, "x.example");
    bench.advance(Duration::from_secs(60));
    let [a, b] = [FIRST, SECOND].map(|server| (addr(server), Carrier::Udp));
    assert_eq!(servers(&bench), [a, b, a, b]);
    assert_eq!(found(&mut bench), Some(Vec::new()));
    assert_eq!(bench.resolver.counters().failures, 1);
    assert!(bench.open.is_empty());
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let mut bench = Bench::new(ZONE);
    bench.moods.insert(addr(FIRST), Mood::Brief);
    look_up(&mut bench, "x.example");
    assert_eq!(found(&mut bench), place());
    let first = addr(FIRST);
    let expected = [(first, Carrier::Udp), (first, Carrier::Tcp)];
    assert_eq!(servers(&bench), expected);
    assert_eq!(bench.resolver.counters().truncated, 1);

    let mut bench = Bench::new(ZONE);
    bench.moods.insert(addr(FIRST), Mood::BriefOnly);
    look_up(&mut bench, "x.example");
    assert_eq!(found(&mut bench), place(), "by the second server");
    assert_eq!(bench.seen.len(), 3);
}

#[test]
fn a_server_without_edns_is_asked_without() {
    let mut bench = Bench::new(ZONE);
    bench.all(Mood::Old);
    look_up(&mut bench, "x.example");
    assert_eq!(found(&mut bench), place());
    let edns: Vec<_> = bench
        .seen
        .iter()
        .map(|seen| seen.query.edns.is_some())
        .collect();
    assert_eq!(edns, [true, false]);
    assert_eq!(bench.seen[1].server, addr(FIRST));
}

#[test]
fn forged_answers_are_dropped_and_the_true_one_is_waited_for() {
    let mut bench = Bench::new(ZONE);
    bench.all(Mood::Silent);
    look_up(&mut bench, "x.example");
    let seen = bench.seen[0].clone();
    let mut truth = seen.query.clone();
    truth.metadata.message_type = MessageType::Response;
    let mut forged = truth.clone();
    forged.metadata.id ^= 1;
    let mut other = truth.clone();
    other.queries[0].set_name("y.example.".parse().expect("a name"));
    let say = |bench: &mut Bench, from: &str, bytes: Vec<u8>| {
        let heard = Heard::Answer {
            attempt: seen.attempt,
            from: addr(from),
            bytes,
        };
        bench.resolver.on_heard(heard, bench.now);
        bench.settle();
    };
    let bytes = |message: &Message| message.to_vec().expect("a message");
    say(&mut bench, FIRST, bytes(&forged));
    say(&mut bench, FIRST, bytes(&other));
    say(&mut bench, FIRST, b"garbage".to_vec());
    say(&mut bench, SECOND, bytes(&truth));
    assert_eq!(found(&mut bench), None);
    assert_eq!(bench.seen.len(), 1, "nothing was given up");
    let counters = bench.resolver.counters();
    let ignored = [
        counters.ignored_id,
        counters.ignored_question,
        counters.ignored_malformed,
        counters.ignored_source,
    ];
    assert_eq!(ignored, [1; 4]);
    say(&mut bench, FIRST, bytes(&truth));
    assert_eq!(bench.resolver.counters().answers, 1);
    say(&mut bench, FIRST, bytes(&truth));
    assert_eq!(bench.resolver.counters().ignored_late, 1);
}

#[test]
fn ids_are_drawn_anew_for_each_attempt() {
    let config = Config {
        attempts: 10,
        ..config()
    };
    let mut bench = Bench::with(config, ZONE);
    bench.all(Mood::Gone);
    look_up(&mut bench, "x.example");
    let ids: HashSet<u16> = bench
        .seen
        .iter()
        .map(|seen| seen.query.metadata.id)
        .collect();
    assert_eq!((bench.seen.len(), ids.len()), (20, 20));
}

#[test]
fn no_more_fly_than_bounded_and_the_rest_waits_its_turn() {
    let mut flights = Flights::new(
        &[addr(FIRST)],
        Duration::from_secs(1),
        1,
        rand::SeedableRng::seed_from_u64(1),
    );
    let question = |number: usize| Question {
        name: DomainName::parse(&format!("n{number}.example")).expect("a name"),
        kind: RecordType::A,
    };
    let now = Timestamp::ZERO;
    let total = FLYING + QUEUED + 10;
    for number in 0..total {
        flights.begin(question(number), now);
        flights.begin(question(number), now);
    }
    assert_eq!(flights.flying.len(), FLYING);
    let refused: Vec<_> = std::iter::from_fn(|| flights.poll_landed()).collect();
    // Those that were refused were refused twice.
    assert_eq!(refused.len(), 20);
    assert!(
        refused
            .iter()
            .all(|landed| landed.outcome == Err(Failure::Overload))
    );
    let mut landed = 0;
    while let Some(due) = flights.deadline() {
        flights.on_time(due);
        landed += std::iter::from_fn(|| flights.poll_landed()).count();
        assert!(flights.flying.len() <= FLYING);
    }
    assert_eq!(landed, FLYING + QUEUED);
    assert_eq!(flights.len(), 0);
}

#[test]
fn without_servers_nothing_is_asked() {
    let config = Config {
        servers: Vec::new(),
        ..config()
    };
    let mut bench = Bench::with(config, ZONE);
    assert_eq!(look_up(&mut bench, "x.example"), Lookup::Now(Vec::new()));
    assert_eq!(bench.resolver.deadline(), None);
}

#[test]
fn a_flood_of_forged_answers_is_not_the_servers_fault() {
    let mut bench = Bench::new(ZONE);
    bench.moods.insert(addr(FIRST), Mood::Silent);
    look_up(&mut bench, "x.example");
    let attempt = bench.seen.last().expect("a query").attempt;
    let now = bench.now;
    bench.moods.insert(addr(FIRST), Mood::Well);
    bench.resolver.on_heard(Heard::Flooded { attempt }, now);
    bench.settle();
    assert_eq!(found(&mut bench), place());
    assert_eq!(bench.resolver.counters().flooded, 1);
    assert_eq!(bench.resolver.counters().unreachable, 0);
    // It is asked first again.
    look_up(&mut bench, "y.example");
    assert_eq!(servers(&bench).last(), Some(&(addr(FIRST), Carrier::Udp)));
    // Once answered, the flood is of no interest.
    bench.resolver.on_heard(Heard::Flooded { attempt }, now);
    assert_eq!(bench.resolver.counters().flooded, 1);
}
