//! Trunks in service: failover within a bounded time, peers that go down and come back, limits.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::settings::{Check, Failover, Network, Peer, Rate, Settings, TrunkLimits};
use controlplane::sip::{HeaderName, Message};
use controlplane::trunks::{HealthState, PeerView, TrunkView};

use crate::phone::{Phone, expect, header, sdp};
use crate::world::{CALLEE, CALLER, OTHER_TRUNK, SECOND, TRANSACTION, World, addr, settings};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn dial(world: &mut World, name: &str) -> Phone {
    let mut caller = Phone::caller(name);
    caller.invite(world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    caller
}

/// The target's INVITE, answered with 200 and acknowledged; the caller has its 200 and acknowledges it.
fn answer_at(world: &mut World, caller: &mut Phone, at: &str) -> Phone {
    let invite = expect(world, addr(at), "INVITE");
    let callee = Phone::callee(at, &invite, "up");
    let host = addr(at).ip().to_string();
    callee.respond(world, &invite, 200, &sdp(&host, 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    callee
}

fn hang_up(world: &mut World, caller: &mut Phone, callee: &Phone) {
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
}

/// A whole call to a target.
fn call_to(world: &mut World, name: &str, at: &str) {
    let mut caller = dial(world, name);
    let callee = answer_at(world, &mut caller, at);
    hang_up(world, &mut caller, &callee);
}

fn refuse(world: &mut World, at: &str, code: u16, more: &str) {
    let invite = expect(world, addr(at), "INVITE");
    let callee = Phone::callee(at, &invite, "down");
    callee.respond_with(world, &invite, code, "", more);
    callee.expect(world, "ACK");
}

fn trunk(world: &World, name: &str) -> TrunkView {
    let trunks = world.agent.trunks();
    let found = trunks.into_iter().find(|trunk| trunk.name == name);
    found.expect("a trunk of that name")
}

fn peer(world: &World, name: &str, at: &str) -> PeerView {
    let peers = trunk(world, name).peers;
    let found = peers.into_iter().find(|peer| peer.address == addr(at));
    found.expect("a peer at that address")
}

/// The callees' trunk, changed.
fn with(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    change(&mut settings);
    World::with(settings, 1)
}

fn every_half_minute() -> Check {
    Check {
        every: Some(SECONDS(30)),
        longest_retry_after: SECONDS(60),
        ..Check::default()
    }
}

#[test]
fn a_silent_target_is_given_up_in_time_and_what_it_says_later_is_ended() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "slow");
    let first = expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(SECONDS(4));
    let callee = answer_at(&mut world, &mut caller, SECOND);
    assert_eq!(world.agent.counters().silent_targets, 1);
    // It wakes up: cancelled as soon as it may be, and its answer crosses that.
    world.clear(addr(CALLEE));
    let late = Phone::callee(CALLEE, &first, "late");
    late.respond(&mut world, &first, 180, "");
    let cancel = late.expect(&mut world, "CANCEL");
    assert!(header(&cancel, HeaderName::Reason).contains("cause=408"));
    late.respond(&mut world, &first, 200, &sdp("10.2.0.2", 6000));
    late.respond(&mut world, &cancel, 200, "");
    late.expect(&mut world, "ACK");
    late.take_bye(&mut world);
    caller.expect_nothing(&mut world);
    assert_eq!(world.agent.counters().forks_ended, 1);
    hang_up(&mut world, &mut caller, &callee);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_silent_target_that_refuses_late_is_acknowledged_and_no_more() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "slow");
    let first = expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(SECONDS(4));
    let callee = answer_at(&mut world, &mut caller, SECOND);
    world.clear(addr(CALLEE));
    let late = Phone::callee(CALLEE, &first, "late");
    late.respond(&mut world, &first, 486, "");
    late.expect(&mut world, "ACK");
    hang_up(&mut world, &mut caller, &callee);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn the_caller_is_answered_at_the_bound_however_many_are_silent() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "nobody");
    for (target, wait) in [(CALLEE, 4_000), (SECOND, 4_000), (OTHER_TRUNK, 1_999)] {
        expect(&mut world, addr(target), "INVITE");
        world.advance(Duration::from_millis(wait));
    }
    caller.expect_nothing(&mut world);
    world.advance(Duration::from_millis(1));
    let lost = caller.expect(&mut world, "408");
    caller.ack(&mut world, &lost, "");
    assert_eq!(world.agent.counters().silent_targets, 3);
    assert_eq!(world.agent.counters().failovers, 2);
    for target in [CALLEE, SECOND, OTHER_TRUNK] {
        world.clear(addr(target));
    }
    world.advance(TRANSACTION);
    world.take_mail();
    world.assert_clean();
}

#[test]
fn the_only_target_may_be_silent_until_the_bound() {
    let mut world = World::new();
    let mut caller = Phone::caller("only");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(SECONDS(9));
    world.clear(addr(CALLEE));
    let callee = Phone::callee(CALLEE, &invite, "up");
    callee.respond(&mut world, &invite, 100, "");
    // From here on only timer C bounds it.
    world.advance(SECONDS(60));
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    hang_up(&mut world, &mut caller, &callee);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn which_failures_lead_on_is_the_trunks_to_say_and_only_in_time() {
    for code in [500, 502, 503, 504] {
        let mut world = World::new();
        let mut caller = dial(&mut world, "on");
        refuse(&mut world, CALLEE, code, "");
        let callee = answer_at(&mut world, &mut caller, SECOND);
        hang_up(&mut world, &mut caller, &callee);
        world.assert_clean();
    }
    let mut world = with(|settings| {
        settings.trunks[1].failover = Failover {
            codes: vec![404],
            ..Failover::default()
        };
    });
    let mut caller = dial(&mut world, "configured");
    refuse(&mut world, CALLEE, 404, "");
    refuse(&mut world, SECOND, 503, "");
    let failure = caller.expect(&mut world, "503");
    caller.ack(&mut world, &failure, "");
    world.assert_clean();

    let mut world = World::new();
    let mut caller = dial(&mut world, "late");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "down");
    callee.respond(&mut world, &invite, 100, "");
    world.advance(SECONDS(11));
    callee.respond(&mut world, &invite, 503, "");
    callee.expect(&mut world, "ACK");
    let failure = caller.expect(&mut world, "503");
    caller.ack(&mut world, &failure, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn what_calls_meet_takes_a_peer_out_and_a_rest_brings_it_back() {
    let mut world = World::new();
    for round in 0..3 {
        let mut caller = dial(&mut world, &format!("round-{round}"));
        refuse(&mut world, CALLEE, 503, "");
        let callee = answer_at(&mut world, &mut caller, SECOND);
        hang_up(&mut world, &mut caller, &callee);
    }
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Down);
    assert_eq!(peer(&world, "callees", SECOND).state, HealthState::Up);
    // The same machine, as a peer of another trunk, has met no call.
    assert_eq!(peer(&world, "one", CALLEE).state, HealthState::Unknown);
    call_to(&mut world, "past", SECOND);
    world.advance(SECONDS(31));
    call_to(&mut world, "again", CALLEE);
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Up);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn retry_after_keeps_calls_away_for_as_long() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "first");
    refuse(
        &mut world,
        CALLEE,
        503,
        "Retry-After: 20 (maintenance);duration=3",
    );
    let callee = answer_at(&mut world, &mut caller, SECOND);
    hang_up(&mut world, &mut caller, &callee);
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Resting);
    world.advance(SECONDS(19));
    call_to(&mut world, "still", SECOND);
    world.advance(SECONDS(1));
    call_to(&mut world, "over", CALLEE);
    world.assert_quiet();
    world.assert_clean();
}

/// A peer's answers to all the OPTIONS that it has been sent.
fn answer_options(world: &mut World, at: &str, code: u16) -> usize {
    let mut answered = 0;
    while let Some(message) = world.next(addr(at)) {
        let is_options = message
            .method()
            .is_some_and(|method| method.as_str() == "OPTIONS");
        assert!(is_options, "{:?}", message.start);
        let phone = callee_of(at, &message);
        phone.respond(world, &message, code, "");
        answered += 1;
    }
    answered
}

fn callee_of(at: &str, options: &Message) -> Phone {
    Phone::callee(at, options, "options")
}

#[test]
fn options_find_out_who_is_down_and_who_is_back() {
    let mut world = with(|settings| settings.trunks[1].check = every_half_minute());
    let pass = |world: &mut World, seconds: u64, first: Option<u16>| {
        for _ in 0..seconds {
            world.advance(SECONDS(1));
            match first {
                Some(code) => {
                    answer_options(world, CALLEE, code);
                }
                None => world.clear(addr(CALLEE)),
            }
            answer_options(world, SECOND, 405);
        }
    };
    pass(&mut world, 2, Some(200));
    let first = peer(&world, "callees", CALLEE);
    assert_eq!((first.state, first.last_code), (HealthState::Up, Some(200)));
    assert_eq!((first.checks, first.failures), (1, 0));
    assert!(first.last_rtt.is_some());
    pass(&mut world, 105, None);
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Down);
    let second = peer(&world, "callees", SECOND);
    assert_eq!(
        (second.state, second.last_code),
        (HealthState::Up, Some(405))
    );
    assert_eq!(
        peer(&world, "one", CALLEE).checks,
        0,
        "only where it is asked for"
    );
    call_to(&mut world, "past", SECOND);
    // It answers again: not at once, and then it is the first again.
    pass(&mut world, 70, Some(200));
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Up);
    call_to(&mut world, "back", CALLEE);
    pass(&mut world, 100, Some(503));
    assert_eq!(peer(&world, "callees", CALLEE).state, HealthState::Down);
    assert!(world.agent.counters().peer_changes >= 8);
    // Once every peer is down calls go there all the same.
    for target in [SECOND, OTHER_TRUNK] {
        world.unreachable.push(addr(target));
    }
    for round in 0..3 {
        let mut caller = dial(&mut world, &format!("dead-{round}"));
        let lost = caller.expect(&mut world, "503");
        caller.ack(&mut world, &lost, "");
    }
    assert_eq!(peer(&world, "others", OTHER_TRUNK).state, HealthState::Down);
    call_to(&mut world, "hope", CALLEE);
}

#[test]
fn peers_of_one_priority_share_the_calls_by_weight() {
    let mut world = with(|settings| {
        let weigh = |at: &str, weight| Peer {
            weight,
            ..Peer::from(addr(at))
        };
        settings.trunks[1].peers = vec![weigh(CALLEE, 30), weigh(SECOND, 10)];
    });
    let mut firsts = 0;
    for number in 0..200 {
        let mut caller = dial(&mut world, &format!("call-{number}"));
        let first = [CALLEE, SECOND]
            .into_iter()
            .find(|at| world.next(addr(at)).is_some());
        firsts += u32::from(first == Some(CALLEE));
        let id = world.call().id;
        world.handle(Input::HangUp(id));
        let refused = caller.expect(&mut world, "480");
        caller.ack(&mut world, &refused, "");
        world.advance(TRANSACTION);
        world.take_mail();
    }
    // 150 of 200, and five standard deviations.
    assert!((119..=181).contains(&firsts), "{firsts}");
    world.assert_clean();
}

fn limited(limits: TrunkLimits, of: usize) -> World {
    with(|settings| settings.trunks[of].limits = limits)
}

#[test]
fn a_full_trunk_refuses_who_comes_from_it_and_is_itself_again_at_once() {
    let limits = TrunkLimits {
        calls_in: Some(1),
        code: 486,
        ..TrunkLimits::default()
    };
    let mut world = limited(limits, 0);
    let mut caller = dial(&mut world, "fills");
    let callee = answer_at(&mut world, &mut caller, CALLEE);
    let mut second = dial(&mut world, "too-many");
    let refused = second.expect(&mut world, "486");
    second.ack(&mut world, &refused, "");
    let callers = trunk(&world, "callers");
    assert_eq!((callers.calls_in, callers.refused["calls_in"]), (1, 1));
    assert_eq!(trunk(&world, "callees").calls_out, 1);
    hang_up(&mut world, &mut caller, &callee);
    call_to(&mut world, "next", CALLEE);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_refusal_with_503_says_when_to_try_again() {
    let limits = TrunkLimits {
        rate_in: Some(Rate {
            per_second: 1,
            burst: 1,
        }),
        ..TrunkLimits::default()
    };
    let mut world = limited(limits, 0);
    call_to(&mut world, "one", CALLEE);
    let mut second = dial(&mut world, "two");
    let refused = second.expect(&mut world, "503");
    assert!(refused.headers.contains(&HeaderName::RetryAfter));
    second.ack(&mut world, &refused, "");
    world.advance(SECONDS(1));
    call_to(&mut world, "three", CALLEE);
    world.assert_clean();
}

#[test]
fn a_full_trunk_is_passed_by_and_the_last_one_leaves_503() {
    let limits = TrunkLimits {
        calls_out: Some(1),
        ..TrunkLimits::default()
    };
    let mut world = limited(limits, 1);
    let mut caller = dial(&mut world, "fills");
    let callee = answer_at(&mut world, &mut caller, CALLEE);
    call_to(&mut world, "overflows", OTHER_TRUNK);
    assert_eq!(world.agent.counters().full_targets, 2, "both its peers");
    assert_eq!(trunk(&world, "callees").refused["calls_out"], 2);
    hang_up(&mut world, &mut caller, &callee);
    world.assert_clean();

    let limits = TrunkLimits {
        calls: Some(0),
        ..TrunkLimits::default()
    };
    let mut world = limited(limits, 3);
    let mut caller = Phone::caller("nowhere");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "503");
    caller.ack(&mut world, &refused, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn media_is_counted_by_what_is_offered_then_by_what_is_answered() {
    let limits = TrunkLimits {
        bandwidth: Some(100_000),
        ..TrunkLimits::default()
    };
    let mut world = limited(limits, 0);
    let mut caller = Phone::caller("wide");
    let offer = sdp("10.1.0.2", 4000).replace("RTP/AVP 8", "RTP/AVP 18 8");
    caller.invite(&mut world, "900", &offer);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    assert_eq!(trunk(&world, "callers").bandwidth, 80_000);
    let callee = Phone::callee(CALLEE, &invite, "narrow");
    let answer = sdp("10.2.0.2", 6000).replace("RTP/AVP 8", "RTP/AVP 18");
    callee.respond(&mut world, &invite, 200, &answer);
    callee.expect(&mut world, "ACK");
    let ok = caller.expect(&mut world, "200");
    caller.ack(&mut world, &ok, "");
    for name in ["callers", "one"] {
        assert_eq!(trunk(&world, name).bandwidth, 24_000, "{name}");
    }
    assert_eq!(world.agent.gauges().bandwidth, 24_000);
    let mut second = dial(&mut world, "too-wide");
    let refused = second.expect(&mut world, "503");
    second.ack(&mut world, &refused, "");
    assert_eq!(trunk(&world, "callers").refused["bandwidth"], 1);
    hang_up(&mut world, &mut caller, &callee);
    world.assert_clean();
}

#[test]
fn who_is_let_in_by_network_and_who_is_not_heard_at_all() {
    let network = |text: &str| text.parse::<Network>().expect("a network");
    let mut world = with(|settings| {
        settings.trunks[0].access = vec![network("10.1.0.0/24")];
        settings.deny = vec![network("10.1.0.128/25")];
    });
    let mut neighbour = Phone::new("10.1.0.77:5061", crate::world::INSIDE, "neighbour");
    neighbour.invite(&mut world, "900", &sdp("10.1.0.77", 4000));
    neighbour.expect(&mut world, "100");
    assert_eq!(world.call().from_trunk, "callers");
    let mut denied = Phone::new("10.1.0.200:5061", crate::world::INSIDE, "denied");
    denied.invite(&mut world, "900", &sdp("10.1.0.200", 4000));
    denied.expect_nothing(&mut world);
    assert_eq!(world.agent.counters().messages_dropped["denied"], 1);
    neighbour.cancel(&mut world);
    world.advance(TRANSACTION);
    world.take_mail();
    world.assert_clean();
}

#[test]
fn overload_refuses_new_calls_and_leaves_the_others_alone() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "up");
    let callee = answer_at(&mut world, &mut caller, CALLEE);
    let mut rings = dial(&mut world, "rings");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    // What comes has waited for a second, again and again.
    for _ in 0..60 {
        world.waits(SECONDS(1));
        world.advance(Duration::from_millis(50));
    }
    world.take_mail();
    assert!(world.agent.overload(world.now).shedding);
    let mut refused = 0;
    for number in 0..50 {
        world.waits(SECONDS(1));
        let mut new = Phone::caller(&format!("new-{number}"));
        new.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
        let response = world.next(addr(CALLER)).expect("an answer");
        if response.code().is_some_and(|code| code.as_u16() == 503) {
            assert!(response.headers.contains(&HeaderName::RetryAfter));
            new.ack(&mut world, &response, "");
            refused += 1;
        }
    }
    assert!(refused >= 40, "{refused}");
    assert_eq!(world.agent.overload(world.now).refused, refused);
    assert_eq!(world.agent.overload(world.now).acks, refused);
    // Both calls go on as if nothing were.
    world.take_mail();
    Phone::callee(CALLEE, &invite, "second").respond(&mut world, &invite, 486, "");
    let busy = rings.expect(&mut world, "486");
    rings.ack(&mut world, &busy, "");
    world.clear(addr(CALLEE));
    hang_up(&mut world, &mut caller, &callee);
    // And when nothing waits any more, every call is let in.
    world.advance(SECONDS(5));
    for call in world.agent.calls() {
        assert_ne!(call.state, CallState::Established);
        world.handle(Input::HangUp(call.id));
    }
    world.advance(SECONDS(120));
    world.take_mail();
    let before = world.agent.overload(world.now).refused;
    call_to(&mut world, "after", CALLEE);
    assert_eq!(world.agent.overload(world.now).refused, before);
    assert!(!world.agent.overload(world.now).shedding);
}
