//! Early media, forks, late offers: what happens between INVITE and the answer.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{CALLEE, NO_ANSWER, World, addr};

/// A call that rings nowhere yet: the caller, and the INVITE at the callee.
pub(crate) fn calling(world: &mut World, name: &str) -> (Phone, controlplane::sip::Message) {
    let mut caller = Phone::caller(name);
    caller.invite(world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    (caller, invite)
}

#[test]
fn early_media_has_its_flows_before_the_caller_hears_of_it() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "early");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    let progress = caller.expect(&mut world, "183");
    let (address, port) = media_of(&progress);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    // The 2xx repeats the answer, and the caller's side of it stays.
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(media_of(&answer).1, port);
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_2xx_without_description_stands_by_the_one_of_its_183() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "lazy");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    let other = Phone::callee(CALLEE, &invite, "other");
    callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    other.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 7000));
    caller.expect(&mut world, "183");
    caller.expect(&mut world, "183");
    callee.respond(&mut world, &invite, 200, "");
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    let (address, port) = media_of(&answer);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn each_fork_has_its_mirror_and_the_first_answer_wins() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "forked");
    let forks: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|tag| Phone::callee(CALLEE, &invite, tag))
        .collect();
    let mut tags = Vec::new();
    for fork in &forks {
        fork.respond(&mut world, &invite, 180, "");
        tags.push(header(&caller.expect(&mut world, "180"), HeaderName::To));
    }
    forks[1].respond(&mut world, &invite, 180, "");
    let again = header(&caller.expect(&mut world, "180"), HeaderName::To);
    assert_eq!(again, tags[1]);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each early dialog has a tag of its own");
    let call = world.call();
    let view = world.agent.call(call.id).expect("there");
    assert_eq!(view.callees.len(), 3);

    forks[1].respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6002));
    forks[1].expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(header(&answer, HeaderName::To), again);
    caller.ack(&mut world, &answer, "");

    // A fork that rang, and one that never did, answer too late.
    let unheard = Phone::callee(CALLEE, &invite, "four");
    for fork in [&forks[0], &unheard] {
        fork.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6004));
        let ack = fork.expect(&mut world, "ACK");
        let bye = fork.take_bye(&mut world);
        let tag = fork.own.split("tag=").nth(1).expect("a tag");
        for message in [ack, bye] {
            assert!(header(&message, HeaderName::To).ends_with(tag));
        }
        // Its retransmission is acknowledged, and ended no second time.
        fork.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6004));
        fork.expect(&mut world, "ACK");
    }
    world.assert_quiet();
    assert_eq!(world.state(), CallState::Established);
    assert_eq!(world.agent.counters().forks_ended, 2);

    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    forks[1].take_bye(&mut world);
    // Even a call that is gone cleans up after itself.
    let last = Phone::callee(CALLEE, &invite, "five");
    last.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6006));
    last.expect(&mut world, "ACK");
    last.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn forks_are_bounded_and_the_one_beyond_may_still_answer() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "bounded");
    for tag in ["1", "2", "3", "4"] {
        Phone::callee(CALLEE, &invite, tag).respond(&mut world, &invite, 180, "");
        caller.expect(&mut world, "180");
    }
    let fifth = Phone::callee(CALLEE, &invite, "5");
    fifth.respond(&mut world, &invite, 180, "");
    caller.expect_nothing(&mut world);
    assert_eq!(world.agent.counters().messages_dropped["too_many_forks"], 1);
    fifth.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    fifth.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    fifth.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_late_offer_is_the_callees_and_its_answer_is_in_the_ack() {
    let mut world = World::new();
    let mut caller = Phone::caller("late");
    caller.invite(&mut world, "900", "");
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    assert!(invite.body.is_empty());
    let callee = Phone::callee(CALLEE, &invite, "callee");
    // No offer stands in a provisional response that is not acknowledged (RFC 3261 §13.2.1).
    callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    assert!(caller.expect(&mut world, "183").body.is_empty());
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let offer = caller.expect(&mut world, "200");
    let (address, towards_caller) = media_of(&offer);
    assert_eq!(address, "10.1.0.1");
    callee.expect_nothing(&mut world);
    // The callee repeats its 2xx as long as nobody acknowledges it.
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    world.assert_quiet();

    caller.ack(&mut world, &offer, &sdp("10.1.0.2", 4000));
    let ack = callee.expect(&mut world, "ACK");
    let (address, towards_callee) = media_of(&ack);
    assert_eq!(address, "10.2.0.1");
    let egress = world.flow("10.1.0.1", towards_caller).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    let egress = world.flow("10.2.0.1", towards_callee).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.1.0.2:4000")));
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    assert_eq!(callee.expect(&mut world, "ACK").body, ack.body);
    assert_eq!(world.state(), CallState::Established);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_late_offer_without_answer_ends_the_call() {
    let mut world = World::new();
    let mut caller = Phone::caller("mute");
    caller.invite(&mut world, "900", "");
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let offer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &offer, "");
    // A 2xx is acknowledged before its dialog is ended.
    callee.expect(&mut world, "ACK");
    callee.take_bye(&mut world);
    caller.take_bye(&mut world);
    assert_eq!(world.agent.counters().calls_ended["no_description"], 1);
    world.assert_clean();
}

#[test]
fn a_callee_that_never_answers_is_cancelled() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "patient");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    world.advance(NO_ANSWER - Duration::from_secs(1));
    world.assert_quiet();
    // RFC 3261 §16.7: a provisional response starts timer C anew.
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    world.advance(NO_ANSWER - Duration::from_secs(1));
    world.assert_quiet();
    world.advance(Duration::from_secs(1));
    let failure = caller.expect(&mut world, "408");
    caller.ack(&mut world, &failure, "");
    assert_eq!(world.state(), CallState::Cancelling);
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_quiet();
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn ringing_is_bounded_however_often_the_callee_says_so() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "endless");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    let mut minutes = 0;
    while world.state() == CallState::Calling || world.state() == CallState::Ringing {
        callee.respond(&mut world, &invite, 180, "");
        caller.expect(&mut world, "180");
        world.advance(Duration::from_secs(60));
        minutes += 1;
        assert!(minutes <= 12, "four times the no-answer time");
    }
    assert_eq!(minutes, 12);
    let failure = caller.expect(&mut world, "408");
    caller.ack(&mut world, &failure, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_clean();
}

#[test]
fn an_answer_that_cannot_be_used_ends_the_call_on_both_sides() {
    for body in ["", "v=0\r\nnonsense\r\n"] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "unusable");
        let callee = Phone::callee(CALLEE, &invite, "callee");
        callee.respond(&mut world, &invite, 200, body);
        callee.expect(&mut world, "ACK");
        callee.take_bye(&mut world);
        let failure = caller.expect(&mut world, "502");
        caller.ack(&mut world, &failure, "");
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn an_answer_that_makes_no_dialog_is_acknowledged_and_ended() {
    for cancelled in [false, true] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "unreadable");
        let callee = Phone::callee(CALLEE, &invite, "callee");
        callee.respond(&mut world, &invite, 180, "");
        caller.expect(&mut world, "180");
        if cancelled {
            caller.cancel(&mut world);
            caller.expect(&mut world, "200");
            let cancel = callee.expect(&mut world, "CANCEL");
            callee.respond(&mut world, &cancel, 200, "");
        }
        let other = Phone::callee(CALLEE, &invite, "other");
        let routes = "Record-Route: <sip:10.2.0.9;lr";
        let body = sdp("10.2.0.2", 6000);
        other.respond_with(&mut world, &invite, 200, &body, routes);
        let ack = other.expect(&mut world, "ACK");
        assert!(header(&ack, HeaderName::To).ends_with("tag=other"));
        other.take_bye(&mut world);
        let failure = caller.expect(&mut world, if cancelled { "487" } else { "502" });
        caller.ack(&mut world, &failure, "");
        world.assert_quiet();
        assert_eq!(world.agent.calls(), []);
        assert_eq!(
            world.agent.counters().messages_dropped["answer_malformed"],
            1
        );
        world.assert_clean();
    }
}
