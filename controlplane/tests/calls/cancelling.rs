//! CANCEL, its races, and BYE before the answer.

use std::time::Duration;

use controlplane::b2bua::CallState;

use crate::phone::{Phone, sdp};
use crate::ringing::calling;
use crate::world::{CALLEE, TRANSACTION, World};

#[test]
fn a_cancel_ends_both_sides() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "cancelled");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    assert_eq!(cancel.uri(), invite.uri());
    assert_eq!(
        cancel.via().expect("a Via").branch(),
        invite.via().expect("a Via").branch()
    );
    assert_eq!(world.state(), CallState::Cancelling);
    assert_eq!(
        world.agent.gauges().sessions,
        0,
        "the media is gone already"
    );
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    assert_eq!(world.agent.calls(), []);
    assert_eq!(world.agent.counters().calls_failed[&487], 1);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_cancel_waits_for_the_callees_first_provisional() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "waiting");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    callee.expect_nothing(&mut world);
    callee.respond(&mut world, &invite, 100, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_cancel_that_a_silent_callee_never_hears_is_given_up() {
    let mut world = World::new();
    let (mut caller, _) = calling(&mut world, "silent");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    world.advance(TRANSACTION + Duration::from_secs(1));
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    for ringing in [true, false] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "crossed");
        let callee = Phone::callee(CALLEE, &invite, "callee");
        if ringing {
            callee.respond(&mut world, &invite, 180, "");
            caller.expect(&mut world, "180");
        }
        caller.cancel(&mut world);
        caller.expect(&mut world, "200");
        let terminated = caller.expect(&mut world, "487");
        caller.ack(&mut world, &terminated, "");
        if ringing {
            let cancel = callee.expect(&mut world, "CANCEL");
            callee.respond(&mut world, &cancel, 200, "");
        }
        callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
        callee.expect(&mut world, "ACK");
        assert_eq!(world.state(), CallState::Ending);
        callee.take_bye(&mut world);
        world.assert_quiet();
        assert_eq!(world.agent.calls(), []);
        world.assert_clean();
    }
}

#[test]
fn a_cancel_after_the_200_changes_nothing() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "too-late");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.cancel(&mut world);
    // The CANCEL is answered, and that is all.
    caller.expect(&mut world, "200");
    world.assert_quiet();
    caller.ack(&mut world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_bye_before_the_answer_ends_the_call_like_a_cancel() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "early-bye");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 180, "");
    let ringing = caller.expect(&mut world, "180");
    caller.learn(&ringing);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_clean();
}

#[test]
fn a_bye_to_one_early_dialog_of_two_ends_that_one() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "one-of-two");
    let (one, two) = (
        Phone::callee(CALLEE, &invite, "one"),
        Phone::callee(CALLEE, &invite, "two"),
    );
    one.respond(&mut world, &invite, 180, "");
    let first = caller.expect(&mut world, "180");
    two.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    caller.learn(&first);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    one.take_bye(&mut world);
    assert_eq!(world.state(), CallState::Ringing);
    two.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    two.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    two.take_bye(&mut world);
    world.assert_clean();
}
