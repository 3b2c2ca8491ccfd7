//! Session timers (RFC 4028): what each leg agrees on, our refreshes, and the end of calls whose peer is gone.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::{DialogPolicy, Refresher, Settings, TimerMode};
use controlplane::sip::{HeaderName, Message};
use controlplane::story::Whose;

use crate::phone::{Phone, described, expect, header, sdp};
use crate::reliable::{dial, offer, theirs};
use crate::world::{CALLEE, TRANSACTION, World, addr, settings};

const SECOND: Duration = Duration::from_secs(1);
/// The caller takes UPDATE and knows timers.
const ABLE: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE\r\nSupported: timer\r\n";

/// Both trunks of a call with such policies.
fn world(callers: impl Fn(&mut DialogPolicy), callees: impl Fn(&mut DialogPolicy)) -> World {
    let mut settings: Settings = settings();
    for trunk in &mut settings.trunks {
        match trunk.name.as_str() {
            "callers" => callers(&mut trunk.dialog),
            _ => callees(&mut trunk.dialog),
        }
    }
    World::with(settings, 1)
}

fn mode(mode: TimerMode) -> impl Fn(&mut DialogPolicy) {
    move |policy| policy.session_timer.mode = mode
}

/// Nothing but the default.
fn plain(_: &mut DialogPolicy) {}

fn expires(message: &Message) -> String {
    header(message, HeaderName::SessionExpires)
}

/// A call that is up: caller, callee, their INVITE at the callee and the caller's 2xx.
fn established(world: &mut World, asked: &str, answered: &str) -> (Phone, Phone, Message, Message) {
    let (mut caller, callee, invite) = dial(world, asked, &offer());
    callee.respond_with(world, &invite, 200, &theirs(), answered);
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    (caller, callee, invite, answer)
}

fn end(world: &mut World, mut caller: Phone, callee: &Phone) {
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

/// Both sides get BYE with this in its Reason.
fn both_end(world: &mut World, caller: &Phone, callee: &Phone, reason: &str, cause: &str) {
    for phone in [callee, caller] {
        let bye = phone.take_bye(world);
        let said = header(&bye, HeaderName::Reason);
        assert!(said.contains(reason), "{said}");
    }
    world.assert_quiet();
    assert_eq!(world.agent.counters().calls_ended[cause], 1);
    world.assert_clean();
}

#[test]
fn we_refresh_by_update_at_half_of_the_interval() {
    let mut world = World::new();
    let asked = format!("{ABLE}Session-Expires: 600\r\n");
    let (caller, callee, invite, answer) = established(&mut world, &asked, "");
    // The callee's leg has nothing of it.
    assert_eq!(expires(&invite), "");
    assert_eq!(expires(&answer), "600;refresher=uas");
    for _ in 0..3 {
        world.advance(299 * SECOND);
        world.assert_quiet();
        world.advance(SECOND);
        let update = caller.expect(&mut world, "UPDATE");
        assert_eq!(expires(&update), "600;refresher=uac");
        assert!(update.body.is_empty());
        let more = "Session-Expires: 600;refresher=uac\nRequire: timer";
        caller.respond_with(&mut world, &update, 200, "", more);
    }
    world.assert_quiet();
    assert_eq!(world.agent.counters().sessions_refreshed, 3);
    end(&mut world, caller, &callee);
}

#[test]
fn we_refresh_by_reinvite_with_the_same_description_where_update_is_not_taken() {
    let mut world = World::new();
    let asked = "Supported: timer\r\nSession-Expires: 600\r\n";
    let (mut caller, callee, _, answer) = established(&mut world, asked, "");
    world.advance(300 * SECOND);
    let refresh = caller.expect(&mut world, "INVITE");
    assert_eq!(refresh.body, answer.body, "the same, and the same version");
    assert_eq!(expires(&refresh), "600;refresher=uac");
    // No other offer stands beside it.
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4002, 9, "sendrecv"),
    );
    caller.expect(&mut world, "491");
    let mut asking = callee.clone();
    asking.request(
        &mut world,
        "INVITE",
        &described("10.2.0.2", 6002, 2, "sendrecv"),
    );
    asking.expect(&mut world, "100");
    let busy = asking.expect(&mut world, "500");
    asking.ack(&mut world, &busy, "");
    let more = "Session-Expires: 600;refresher=uac\nRequire: timer";
    caller.respond_with(&mut world, &refresh, 200, &offer(), more);
    let ack = caller.expect(&mut world, "ACK");
    assert_eq!(
        header(&ack, HeaderName::CSeq).split(' ').next(),
        header(&refresh, HeaderName::CSeq).split(' ').next()
    );
    world.assert_quiet();
    // The next one is answered from elsewhere: the media follows.
    world.advance(300 * SECOND);
    let refresh = caller.expect(&mut world, "INVITE");
    assert_eq!(refresh.body, answer.body);
    let moved = described("10.1.0.2", 4400, 2, "sendrecv");
    caller.respond_with(&mut world, &refresh, 200, &moved, more);
    caller.expect(&mut world, "ACK");
    let flows: Vec<_> = world.flows[0]
        .values()
        .filter_map(|flow| flow.rtp)
        .collect();
    assert!(
        flows
            .iter()
            .any(|rtp| rtp.destination == Some(addr("10.1.0.2:4400")))
    );
    // One that is refused leaves all as it is, and is made again.
    world.advance(300 * SECOND);
    let refresh = caller.expect(&mut world, "INVITE");
    caller.respond_with(&mut world, &refresh, 500, "", "Retry-After: 5");
    caller.expect(&mut world, "ACK");
    world.advance(5 * SECOND);
    let refresh = caller.expect(&mut world, "INVITE");
    caller.respond_with(&mut world, &refresh, 200, &moved, more);
    caller.expect(&mut world, "ACK");
    caller.cseq += 1;
    end(&mut world, caller, &callee);
}

#[test]
fn a_peer_that_says_it_takes_update_and_does_not_gets_a_reinvite() {
    let mut world = World::new();
    let asked = format!("{ABLE}Session-Expires: 600\r\n");
    let (caller, callee, _, _) = established(&mut world, &asked, "");
    world.advance(300 * SECOND);
    let update = caller.expect(&mut world, "UPDATE");
    caller.respond(&mut world, &update, 405, "");
    world.advance(Duration::from_millis(1));
    let refresh = caller.expect(&mut world, "INVITE");
    let more = "Session-Expires: 600;refresher=uac\nRequire: timer";
    caller.respond_with(&mut world, &refresh, 200, &offer(), more);
    caller.expect(&mut world, "ACK");
    end(&mut world, caller, &callee);
}

#[test]
fn a_peer_that_does_not_refresh_loses_the_call() {
    let mut world = World::new();
    let asked = format!("{ABLE}Session-Expires: 600;refresher=uac\r\n");
    let (mut caller, mut callee, _, answer) = established(&mut world, &asked, "");
    assert_eq!(expires(&answer), "600;refresher=uac");
    assert!(answer.lists(&HeaderName::Require, "timer"));
    world.advance(567 * SECOND);
    world.assert_quiet();
    // Its refresh passes to the other leg, where it says nothing of a timer.
    caller.request_with(&mut world, "UPDATE", "", &asked);
    let update = callee.expect(&mut world, "UPDATE");
    assert_eq!(expires(&update), "");
    callee.respond(&mut world, &update, 200, "");
    let agreed = caller.expect(&mut world, "200");
    assert_eq!(expires(&agreed), "600;refresher=uac");
    // One of the other side's refreshes nothing here but by what it says itself.
    callee.request(&mut world, "UPDATE", "");
    let update = caller.expect(&mut world, "UPDATE");
    assert_eq!(expires(&update), "600;refresher=uas");
    let more = "Session-Expires: 600;refresher=uas\nRequire: timer";
    caller.respond_with(&mut world, &update, 200, "", more);
    assert_eq!(expires(&callee.expect(&mut world, "200")), "");
    world.advance(567 * SECOND);
    world.assert_quiet();
    world.advance(SECOND);
    both_end(
        &mut world,
        &caller,
        &callee,
        "Session expired",
        "session_expired",
    );
}

#[test]
fn a_peer_that_does_not_answer_our_refresh_loses_the_call() {
    for code in [None, Some(481), Some(408)] {
        let mut world = World::new();
        let asked = format!("{ABLE}Session-Expires: 600\r\n");
        let (caller, callee, _, _) = established(&mut world, &asked, "");
        world.advance(300 * SECOND);
        let update = caller.expect(&mut world, "UPDATE");
        match code {
            Some(code) => caller.respond(&mut world, &update, code, ""),
            None => {
                world.advance(TRANSACTION - Duration::from_millis(1));
                world.clear(caller.at);
                callee.expect_nothing(&mut world);
                world.advance(Duration::from_millis(1));
            }
        }
        both_end(&mut world, &caller, &callee, "cause=481", "peer_gone");
    }
}

#[test]
fn we_ask_where_the_trunk_says_so_and_follow_the_callees_longer_interval() {
    let mut world = world(plain, mode(TimerMode::Request));
    let (mut caller, callee, invite) = dial(&mut world, "", &offer());
    assert_eq!(expires(&invite), "1800;refresher=uac");
    assert!(invite.lists(&HeaderName::Supported, "timer"));
    callee.respond_with(&mut world, &invite, 422, "", "Min-SE: 3600");
    callee.expect(&mut world, "ACK");
    caller.expect_nothing(&mut world);
    let again = expect(&mut world, addr(CALLEE), "INVITE");
    assert_eq!(header(&again, HeaderName::CSeq), "2 INVITE");
    assert_eq!(header(&again, HeaderName::CallId), callee.call_id);
    assert_eq!(again.body, invite.body);
    assert_eq!(expires(&again), "3600;refresher=uac");
    assert_eq!(header(&again, HeaderName::MinSe), "3600");
    // The first is heard of no more.
    callee.respond(&mut world, &invite, 180, "");
    caller.expect_nothing(&mut world);
    let more = "Require: timer\nSession-Expires: 3600;refresher=uas\nAllow: UPDATE";
    callee.respond_with(&mut world, &again, 200, &theirs(), more);
    assert_eq!(
        header(&callee.expect(&mut world, "ACK"), HeaderName::CSeq),
        "2 ACK"
    );
    let answer = caller.expect(&mut world, "200");
    assert_eq!(expires(&answer), "");
    caller.ack(&mut world, &answer, "");
    // The callee refreshes by re-INVITE, and keeps to what was agreed.
    world.advance(1800 * SECOND);
    world.assert_quiet();
    let mut asking = callee.clone();
    let more = "Supported: timer\r\nSession-Expires: 3600;refresher=uac\r\n";
    asking.request_with(&mut world, "INVITE", &theirs(), more);
    asking.expect(&mut world, "100");
    let passed = caller.expect(&mut world, "INVITE");
    assert_eq!(expires(&passed), "");
    caller.respond(&mut world, &passed, 200, &offer());
    caller.expect(&mut world, "ACK");
    let agreed = asking.expect(&mut world, "200");
    assert_eq!(expires(&agreed), "1800;refresher=uac");
    asking.ack(&mut world, &agreed, "");
    world.advance((1800 - 32) * SECOND);
    both_end(
        &mut world,
        &caller,
        &callee,
        "Session expired",
        "session_expired",
    );
}

#[test]
fn a_callee_that_knows_no_timers_is_asked_whether_it_is_there() {
    let mut world = world(plain, mode(TimerMode::Request));
    let (mut caller, callee, _, _) = established(&mut world, "", "Allow: INVITE, UPDATE");
    world.advance(900 * SECOND);
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 200, "");
    world.advance(900 * SECOND);
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 500, "");
    // Nothing expires.
    world.advance(Duration::from_secs(16));
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 481, "");
    caller.cseq += 1;
    both_end(&mut world, &caller, &callee, "cause=481", "peer_gone");
}

#[test]
fn our_refresh_that_meets_another_is_sent_again_by_who_owns_the_call_id() {
    // The caller's Call-ID is its own, the callee's is ours.
    for (side, least, most) in [("caller", 0, 2_000), ("callee", 2_100, 4_000)] {
        let mut world = world(plain, mode(TimerMode::Request));
        let asked = match side {
            "caller" => format!("{ABLE}Session-Expires: 600\r\n"),
            _ => String::new(),
        };
        let agreed = "Require: timer\nSession-Expires: 1800;refresher=uac\nAllow: UPDATE";
        let (caller, callee, _, _) = established(&mut world, &asked, agreed);
        let phone = if side == "caller" { &caller } else { &callee };
        world.advance(if side == "caller" { 300 } else { 900 } * SECOND);
        let update = phone.expect(&mut world, "UPDATE");
        phone.respond(&mut world, &update, 491, "");
        let begin = world.now;
        let again = loop {
            if let Some(message) = world.next(phone.at) {
                break message;
            }
            world.advance(Duration::from_millis(10));
        };
        let waited = world.now.since(begin).as_millis();
        assert!((least..=most + 10).contains(&waited), "{side}: {waited} ms");
        let more = format!("Require: timer\nSession-Expires: {}", expires(&again));
        phone.respond_with(&mut world, &again, 200, "", &more);
        end(&mut world, caller, &callee);
    }
}

#[test]
fn too_short_an_interval_is_refused() {
    let mut world = World::new();
    let mut caller = Phone::caller("hasty");
    let asked = "Supported: timer\r\nSession-Expires: 60\r\n";
    caller.invite_with(&mut world, "900", &offer(), asked);
    caller.expect(&mut world, "100");
    let refusal = caller.expect(&mut world, "422");
    assert_eq!(header(&refusal, HeaderName::MinSe), "90");
    caller.ack(&mut world, &refusal, "");
    let (mut caller, callee, _, _) = established(&mut world, "", "");
    caller.request_with(&mut world, "UPDATE", "", asked);
    let refusal = caller.expect(&mut world, "422");
    assert_eq!(header(&refusal, HeaderName::MinSe), "90");
    end(&mut world, caller, &callee);
}

#[test]
fn where_both_trunks_let_them_the_peers_agree_between_themselves() {
    let asked = "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 120\r\n";
    let agreed = "Require: timer\nSession-Expires: 1200;refresher=uac";
    let mut passing = world(mode(TimerMode::Pass), mode(TimerMode::Pass));
    let (mut caller, callee, invite, answer) = established(&mut passing, asked, agreed);
    assert_eq!(expires(&invite), "1800;refresher=uac");
    assert_eq!(header(&invite, HeaderName::MinSe), "120");
    assert!(invite.lists(&HeaderName::Supported, "timer"));
    assert_eq!(expires(&answer), "1200;refresher=uac");
    assert!(answer.lists(&HeaderName::Require, "timer"));
    // Nobody of us minds whether anybody refreshes.
    passing.advance(7200 * SECOND);
    passing.assert_quiet();
    caller.request_with(&mut passing, "UPDATE", "", asked);
    let update = callee.expect(&mut passing, "UPDATE");
    assert_eq!(expires(&update), "1800;refresher=uac");
    callee.respond_with(&mut passing, &update, 422, "", "Min-SE: 2000");
    let refusal = caller.expect(&mut passing, "422");
    assert_eq!(header(&refusal, HeaderName::MinSe), "2000");
    end(&mut passing, caller, &callee);
    // One alone cannot pass anything.
    let mut half = world(mode(TimerMode::Pass), plain);
    let (caller, callee, invite, answer) = established(&mut half, asked, "");
    assert_eq!(expires(&invite), "");
    assert_eq!(expires(&answer), "1800;refresher=uac");
    end(&mut half, caller, &callee);
}

#[test]
fn a_trunk_may_do_without() {
    let mut world = world(mode(TimerMode::Off), mode(TimerMode::Off));
    let mut caller = Phone::caller("insists");
    caller.invite_with(
        &mut world,
        "900",
        &offer(),
        "Require: timer\r\nSession-Expires: 600\r\n",
    );
    caller.expect(&mut world, "100");
    let refusal = caller.expect(&mut world, "420");
    assert_eq!(header(&refusal, HeaderName::Unsupported), "timer");
    caller.ack(&mut world, &refusal, "");
    let asked = "Supported: timer\r\nSession-Expires: 600\r\n";
    let (caller, callee, invite, answer) = established(&mut world, asked, "");
    assert!(!invite.lists(&HeaderName::Supported, "timer"));
    assert_eq!((expires(&invite), expires(&answer)), Default::default());
    world.advance(7200 * SECOND);
    end(&mut world, caller, &callee);
}

#[test]
fn the_peer_refreshes_where_the_trunk_would_rather_have_it_so() {
    let peer = |policy: &mut DialogPolicy| {
        policy.session_timer.mode = TimerMode::Request;
        policy.session_timer.refresher = Refresher::Peer;
        policy.session_timer.expires = Duration::from_secs(300);
    };
    let mut world = world(peer, peer);
    let (caller, callee, invite, answer) = established(&mut world, ABLE, "");
    assert_eq!(expires(&invite), "300;refresher=uas");
    assert_eq!(expires(&answer), "300;refresher=uac");
    world.advance(150 * SECOND);
    // The callee knows no timers, and is looked after by us.
    let refresh = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &refresh, 200, &theirs());
    callee.expect(&mut world, "ACK");
    world.advance(118 * SECOND);
    both_end(
        &mut world,
        &caller,
        &callee,
        "Session expired",
        "session_expired",
    );
}

#[test]
fn a_call_that_ends_takes_its_refresh_back() {
    let mut world = World::new();
    let asked = "Supported: timer\r\nSession-Expires: 600\r\n";
    let (mut caller, callee, _, _) = established(&mut world, asked, "");
    world.advance(300 * SECOND);
    let refresh = caller.expect(&mut world, "INVITE");
    caller.respond(&mut world, &refresh, 100, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let cancel = caller.expect(&mut world, "CANCEL");
    callee.take_bye(&mut world);
    caller.respond(&mut world, &cancel, 200, "");
    // It has answered meanwhile: that is acknowledged, and all.
    caller.respond(&mut world, &refresh, 200, &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "ACK");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_longer_interval_is_asked_for_by_way_of_the_proxy_too() {
    let mut settings = settings();
    for trunk in &mut settings.trunks {
        trunk.dialog.session_timer.mode = TimerMode::Request;
    }
    let proxy = "10.2.0.9:5060";
    settings.trunks[3].proxy = Some(addr(proxy).into());
    let mut world = World::with(settings, 1);
    let mut caller = Phone::caller("proxied");
    caller.invite(&mut world, "900", &offer());
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(proxy), "INVITE");
    let callee = Phone::callee(proxy, &invite, "callee");
    callee.respond_with(&mut world, &invite, 422, "", "Min-SE: 3600");
    callee.expect(&mut world, "ACK");
    let again = expect(&mut world, addr(proxy), "INVITE");
    callee.respond(&mut world, &again, 486, "");
    callee.expect(&mut world, "ACK");
    let refusal = caller.expect(&mut world, "486");
    caller.ack(&mut world, &refusal, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn its_story_is_told() {
    let mut world = world(mode(TimerMode::Request), mode(TimerMode::Request));
    let (caller, callee, ..) = established(&mut world, "Supported: timer\r\n", "");
    let id = world.call().id;
    let story = world.agent.story(Whose::Call(id)).expect("it is up");
    let lines = story.lines.iter().filter(|line| line.kind == "timer");
    let told: Vec<_> = lines.map(|line| &*line.text).collect();
    assert_eq!(
        told,
        [
            "the session of the caller's leg lasts 1800 s, and tandem refreshes it",
            "the session of the callee's leg lasts 1800 s, and tandem refreshes it",
        ]
    );
    end(&mut world, caller, &callee);
}
