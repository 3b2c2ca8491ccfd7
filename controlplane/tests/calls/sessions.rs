//! Requests for sessions without SIP: answered when all is done, at the workers' pace, beside calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use contract::{LatchPolicy, Refusal};
use controlplane::agent::Input;
use controlplane::provisioning::{
    ANSWERED_WITHIN, Answer, MOST_REQUESTS, MOST_SESSIONS, OpenSessions, Opened, Overload,
    RequestId,
};
use controlplane::session::{Rtcp, SessionId};

use crate::world::{Workers, World, addr, settings};

fn request(count: usize) -> OpenSessions {
    let party = |address: &str, index: usize| {
        let port = 10_000 + 2 * u16::try_from(index).expect("few sessions");
        SocketAddr::new(addr(address).ip(), port)
    };
    OpenSessions {
        a_media: "inside".into(),
        b_media: "outside".into(),
        rtcp: Rtcp::Separate,
        latch: Some(LatchPolicy::Sdp),
        media_timeout: None,
        parties: (0..count)
            .map(|index| [party("10.1.0.7:0", index), party("10.2.0.7:0", index)])
            .collect(),
    }
}

fn ask(world: &mut World, request: OpenSessions) -> RequestId {
    let taken = world.agent.open_sessions(request, world.now);
    world.settle();
    taken.expect("there is room for the request")
}

type Counts = BTreeMap<&'static str, u64>;

fn opened(world: &mut World, id: RequestId) -> (Vec<Opened>, Counts) {
    match world.agent.collect(id) {
        Some(Answer::Opened { sessions, refused }) => (sessions, refused),
        other => panic!("no answer to a request to open: {other:?}"),
    }
}

#[test]
fn the_most_sessions_of_a_request_are_opened_in_its_order_and_closed() {
    let mut world = World::new();
    let id = ask(&mut world, request(MOST_SESSIONS));
    assert!(world.agent.has_answers());
    let (sessions, refused) = opened(&mut world, id);
    assert!(refused.is_empty() && !world.agent.has_answers());
    let places: Vec<_> = sessions.iter().map(|opened| opened.index).collect();
    assert!(places.iter().copied().eq(0..MOST_SESSIONS));
    assert_eq!(world.flows[1].len(), 4 * MOST_SESSIONS);
    let listed = world.agent.sessions(SessionId(0), 1_000);
    assert!(
        listed
            .map(|view| view.id)
            .eq(sessions.iter().map(|one| one.id))
    );

    let ids = sessions.iter().map(|opened| opened.id);
    let ids: Vec<_> = ids.chain([SessionId(1 << 40)]).collect();
    let (closed, unknown) = ids.split_at(MOST_SESSIONS);
    for (ids, count) in [(closed, MOST_SESSIONS), (closed, 0), (unknown, 0)] {
        let taken = world.agent.close_sessions(ids.to_vec(), world.now);
        world.settle();
        let answer = world.agent.collect(taken.expect("there is room"));
        let count = count as u64;
        assert_eq!(answer, Some(Answer::Closed { count }));
    }
    world.assert_clean();
}

#[test]
fn what_is_too_much_is_not_taken() {
    let mut world = World::new();
    let large = world
        .agent
        .open_sessions(request(MOST_SESSIONS + 1), world.now);
    assert_eq!(large, Err(Overload::Sessions(MOST_SESSIONS + 1)));
    let many = vec![SessionId(1); MOST_SESSIONS + 1];
    let large = world.agent.close_sessions(many, world.now);
    assert_eq!(large, Err(Overload::Sessions(MOST_SESSIONS + 1)));
    world.workers = Workers::Slow;
    for _ in 0..MOST_REQUESTS {
        ask(&mut world, request(1));
    }
    let another = world.agent.open_sessions(request(1), world.now);
    assert_eq!(another, Err(Overload::Requests));
    let nothing = World::new().agent.open_sessions(request(0), world.now);
    assert!(nothing.is_ok());
}

#[test]
fn an_empty_request_is_answered_at_once() {
    let mut world = World::new();
    let id = ask(&mut world, request(0));
    assert_eq!(opened(&mut world, id), (Vec::new(), Counts::new()));
}

#[test]
fn no_more_is_begun_than_the_workers_have_room_for() {
    let mut world = World::new();
    world.workers = Workers::Slow;
    let id = ask(&mut world, request(MOST_SESSIONS));
    let under_way = world.waiting_commands();
    assert!((256..=2 * 264).contains(&under_way), "{under_way}");
    assert!(world.agent.collect(id).is_none());
    while world.waiting_commands() > 0 {
        assert!(world.waiting_commands() <= 2 * 264);
        world.release_once();
    }
    assert_eq!(opened(&mut world, id).0.len(), MOST_SESSIONS);
}

#[test]
fn a_client_that_leaves_loses_the_answer_and_no_session() {
    let mut world = World::new();
    world.workers = Workers::Slow;
    let id = ask(&mut world, request(100));
    world.agent.forget(id);
    while world.waiting_commands() > 0 {
        world.release_once();
    }
    assert!(!world.agent.has_answers() && world.agent.collect(id).is_none());
    assert_eq!(world.agent.gauges().provisioned, 100);
    assert!(
        world
            .agent
            .sessions(SessionId(0), 100)
            .all(|view| view.open)
    );
    // One that is forgotten when it is complete leaves nothing either.
    world.workers = Workers::Prompt;
    let id = ask(&mut world, request(1));
    world.agent.forget(id);
    assert!(!world.agent.has_answers());
}

#[test]
fn refusals_are_counted_by_reason_and_the_rest_is_open() {
    let mut settings = settings();
    settings.limits.calls = 10;
    let mut world = World::with(settings, 1);
    let mut mixed = request(13);
    mixed.parties[0][0].set_port(0);
    mixed.parties[3][1] = addr("[fd02::7]:5000");
    mixed.parties[4][0] = addr("[fd01::7]:5000");
    let id = ask(&mut world, mixed);
    let (sessions, refused) = opened(&mut world, id);
    let places: Vec<_> = sessions.iter().map(|opened| opened.index).collect();
    assert_eq!(places, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11]);
    let expected = [
        ("bad_party", 1),
        // `inside` has no IPv6 address.
        ("no_such_family", 1),
        ("too_many_sessions", 1),
    ];
    assert_eq!(refused, Counts::from(expected));

    let mut unknown = request(3);
    unknown.b_media = "nowhere".into();
    let id = ask(&mut world, unknown);
    let refused = Counts::from([("unknown_group", 3)]);
    assert_eq!(opened(&mut world, id), (Vec::new(), refused));
}

#[test]
fn workers_that_say_no_or_nothing_leave_nothing_behind() {
    for (workers, reason) in [
        (Workers::Refusing(Refusal::TableFull), "refused"),
        (Workers::Full, "mailbox_full"),
    ] {
        let mut world = World::new();
        world.workers = workers;
        let id = ask(&mut world, request(5));
        let refused = Counts::from([(reason, 5)]);
        assert_eq!(opened(&mut world, id), (Vec::new(), refused));
        world.workers = Workers::Prompt;
        world.assert_clean();
    }
    // More than may be under way: the rest is never begun.
    let mut world = World::new();
    world.workers = Workers::Deaf;
    let id = ask(&mut world, request(MOST_SESSIONS));
    let asked = world.now;
    while !world.agent.has_answers() && world.now.since(asked) < 2 * ANSWERED_WITHIN {
        world.advance(Duration::from_millis(250));
    }
    assert!(world.now.since(asked) <= ANSWERED_WITHIN);
    let (sessions, refused) = opened(&mut world, id);
    assert!(sessions.is_empty());
    assert_eq!(refused, Counts::from([("timed_out", MOST_SESSIONS as u64)]));
}

#[test]
fn a_drain_takes_no_more_and_waits_for_those_that_are_open() {
    let mut world = World::new();
    let id = ask(&mut world, request(2));
    let (sessions, _) = opened(&mut world, id);
    let deadline = world.now + Duration::from_secs(30);
    world.handle(Input::Drain { deadline });
    let id = ask(&mut world, request(2));
    let refused = Counts::from([("draining", 2)]);
    assert_eq!(opened(&mut world, id), (Vec::new(), refused));
    assert!(!world.drained);
    let ids = sessions.iter().map(|opened| opened.id).collect();
    world
        .agent
        .close_sessions(ids, world.now)
        .expect("there is room");
    world.settle();
    assert!(world.drained);

    let mut world = World::new();
    ask(&mut world, request(2));
    let deadline = world.now + Duration::from_secs(30);
    world.handle(Input::Drain { deadline });
    world.advance(Duration::from_secs(29));
    assert!(!world.drained);
    world.advance(Duration::from_secs(2));
    assert!(world.drained, "they end with the process");
}
