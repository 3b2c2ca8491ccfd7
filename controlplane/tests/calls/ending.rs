//! How answered calls end.

use std::time::Duration;

use contract::Event;
use contract::WorkerId;
use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, header, sdp};
use crate::plain::established;
use crate::ringing::calling;
use crate::world::{CALLEE, MEDIA_TIMEOUT, TRANSACTION, World};

#[test]
fn either_side_ends_the_call_and_its_reason_passes() {
    for by_caller in [true, false] {
        let mut world = World::new();
        let (caller, callee) = established(&mut world, "ended");
        let (mut one, other) = match by_caller {
            true => (caller, callee),
            false => (callee, caller),
        };
        one.request_with(&mut world, "BYE", "", "Reason: Q.850;cause=16\r\n");
        one.expect(&mut world, "200");
        assert_eq!(world.agent.gauges().sessions, 0);
        let bye = other.take_bye(&mut world);
        assert_eq!(header(&bye, HeaderName::Reason), "Q.850;cause=16");
        assert_eq!(world.agent.calls(), []);
        let who = if by_caller { "caller" } else { "callee" };
        assert_eq!(world.agent.counters().calls_ended[who], 1);
        // The dialog is gone.
        one.request(&mut world, "BYE", "");
        one.expect(&mut world, "481");
        world.assert_clean();
    }
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut world = World::new();
    let (mut caller, mut callee) = established(&mut world, "crossing");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let ours = callee.expect(&mut world, "BYE");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    callee.respond(&mut world, &ours, 200, "");
    world.assert_quiet();
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn a_bye_that_nobody_answers_is_given_up() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "gone");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    world.advance(TRANSACTION + Duration::from_secs(1));
    let mut sent = 0;
    while world.next(callee.at).is_some() {
        sent += 1;
    }
    assert_eq!(sent, 11, "0, 0.5, 1.5, 3.5, then every 4 s up to 32 s");
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn the_2xx_is_repeated_until_its_ack_and_without_one_both_sides_get_bye() {
    let mut world = World::new();
    let (caller, invite) = calling(&mut world, "no-ack");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    caller.expect(&mut world, "200");
    world.advance(Duration::from_secs(31));
    for _ in 0..9 {
        caller.expect(&mut world, "200");
    }
    assert_eq!(world.state(), CallState::Answered);
    world.advance(Duration::from_secs(2));
    while world.call().state == CallState::Answered {
        world.advance(Duration::from_secs(1));
    }
    callee.take_bye(&mut world);
    let mut last = caller.expect(&mut world, "200");
    while last.code().is_some() {
        last = world.next(caller.at).expect("a BYE after the last 200");
    }
    caller.respond(&mut world, &last, 200, "");
    assert_eq!(world.agent.calls(), []);
    assert_eq!(world.agent.counters().calls_ended["no_ack"], 1);
    world.assert_clean();
}

#[test]
fn a_bye_to_a_caller_that_has_not_acknowledged_waits_for_its_ack() {
    for acknowledges in [true, false] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "owed");
        let mut callee = Phone::callee(CALLEE, &invite, "callee");
        callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
        callee.expect(&mut world, "ACK");
        let answer = caller.expect(&mut world, "200");
        let reason = "Reason: Q.850;cause=16\r\n";
        callee.request_with(&mut world, "BYE", "", reason);
        callee.expect(&mut world, "200");
        caller.expect_nothing(&mut world);
        assert_eq!(world.state(), CallState::Ending);
        if acknowledges {
            caller.ack(&mut world, &answer, "");
        } else {
            world.advance(TRANSACTION);
            while caller_hears(&mut world, &caller) != "BYE" {}
            world.advance(Duration::from_secs(1));
        }
        if acknowledges {
            let bye = caller.take_bye(&mut world);
            assert_eq!(header(&bye, HeaderName::Reason), "Q.850;cause=16");
            assert_eq!(world.agent.calls(), []);
        }
        world.assert_clean();
    }
}

#[test]
fn a_caller_that_ends_the_call_itself_is_owed_no_bye() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "both");
    let mut callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    caller.learn(&answer);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    assert_eq!(world.agent.calls(), []);
    caller.cseq -= 1;
    caller.ack(&mut world, &answer, "");
    world.assert_quiet();
    world.assert_clean();
}

fn caller_hears(world: &mut World, caller: &Phone) -> String {
    let message = world.next(caller.at).expect("2xx after 2xx, then BYE");
    match message.method() {
        Some(method) => method.to_string(),
        None => "200".into(),
    }
}

#[test]
fn a_caller_may_end_a_call_that_it_has_not_acknowledged() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "hasty");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.learn(&answer);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert_eq!(world.agent.calls(), []);
    // The ACK was late; the 2xx needs it no less.
    caller.cseq -= 1;
    caller.ack(&mut world, &answer, "");
    world.assert_clean();
}

#[test]
fn an_operator_ends_a_call() {
    let mut world = World::new();
    let (caller, callee) = established(&mut world, "operated");
    let id = world.call().id;
    world.handle(Input::HangUp(id));
    let bye = caller.take_bye(&mut world);
    assert!(header(&bye, HeaderName::Reason).contains("operator"));
    callee.take_bye(&mut world);
    assert_eq!(world.agent.counters().calls_ended["operator"], 1);
    world.handle(Input::HangUp(id));
    world.assert_clean();
}

#[test]
fn an_operator_ends_a_call_that_rings() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "operated");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    let id = world.call().id;
    world.handle(Input::HangUp(id));
    let failure = caller.expect(&mut world, "480");
    caller.ack(&mut world, &failure, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_clean();
}

#[test]
fn silence_ends_the_call_on_both_sides() {
    let mut world = World::new();
    let (caller, callee) = established(&mut world, "silent");
    world.advance(Duration::from_secs(1));
    let flows: Vec<_> = world.flows[0]
        .values()
        .filter(|entry| entry.idle_after == Some(MEDIA_TIMEOUT))
        .map(|entry| entry.id)
        .collect();
    assert!(
        !flows.is_empty(),
        "the flows of a call that is up are watched"
    );
    for worker in 0..2 {
        for flow in &flows {
            world.handle(Input::Worker {
                worker: WorkerId(worker),
                event: Event::Idle(*flow),
            });
        }
    }
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    assert_eq!(world.agent.counters().calls_ended["media_timeout"], 1);
    world.assert_clean();
}
