//! Requests within early dialogs: what becomes of them when the dialog ends and the call goes on.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::sip::Message;

use crate::phone::{Phone, expect, sdp};
use crate::ringing::calling;
use crate::world::{CALLEE, SECOND, TRANSACTION, World, addr};

/// A fork that rings, and the caller's end of its early dialog.
fn ringing(world: &mut World, caller: &Phone, invite: &Message, tag: &str) -> (Phone, Phone) {
    let fork = Phone::callee(CALLEE, invite, tag);
    fork.respond(world, invite, 180, "");
    let mut early = caller.clone();
    early.learn(&caller.expect(world, "180"));
    (fork, early)
}

#[test]
fn a_request_of_a_fork_that_loses_is_481_and_the_winner_talks_on() {
    for (method, outcome) in [("INFO", "481"), ("UPDATE", "481"), ("UPDATE", "")] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "forked");
        let (loser, mut early) = ringing(&mut world, &caller, &invite, "loser");
        early.request(&mut world, method, "");
        let pending = loser.expect(&mut world, method);
        let winner = Phone::callee(CALLEE, &invite, "winner");
        winner.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
        winner.expect(&mut world, "ACK");
        caller.expect(&mut world, "481");
        let answer = caller.expect(&mut world, "200");
        caller.ack(&mut world, &answer, "");
        // Whatever the loser makes of it, or if it says nothing at all.
        match outcome {
            "" => world.advance(TRANSACTION),
            _ => loser.respond(&mut world, &pending, 481, ""),
        }
        world.clear(addr(CALLEE));
        assert_eq!(world.state(), CallState::Established);
        caller.cseq = early.cseq;
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "200");
        winner.take_bye(&mut world);
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn a_request_that_is_pending_when_the_callee_declines_is_answered() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "declined");
    let (callee, mut early) = ringing(&mut world, &caller, &invite, "callee");
    early.request(&mut world, "INFO", "");
    callee.expect(&mut world, "INFO");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let mut codes = [
        world.next(caller.at).expect("an answer"),
        world.next(caller.at).expect("another"),
    ];
    codes.sort_by_key(Message::code);
    let [lost, busy] = &codes;
    assert_eq!(lost.code().map(|code| code.as_u16()), Some(481));
    assert_eq!(busy.code().map(|code| code.as_u16()), Some(486));
    caller.ack(&mut world, busy, "");
    // The callee is silent: its INFO is repeated until it is given up.
    world.advance(TRANSACTION);
    world.clear(addr(CALLEE));
    world.assert_clean();
}

#[test]
fn a_request_that_is_pending_when_the_next_target_is_tried_harms_nobody() {
    let mut world = World::new();
    let mut caller = Phone::caller("stale");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let (first, mut early) = ringing(&mut world, &caller, &invite, "first");
    early.request(&mut world, "UPDATE", "");
    let update = first.expect(&mut world, "UPDATE");
    first.respond(&mut world, &invite, 503, "");
    first.expect(&mut world, "ACK");
    caller.expect(&mut world, "481");
    let invite = expect(&mut world, addr(SECOND), "INVITE");
    let second = Phone::callee(SECOND, &invite, "second");
    second.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    first.respond(&mut world, &update, 481, "");
    // Nothing leads to the first early dialog any more.
    early.request(&mut world, "INFO", "");
    caller.expect(&mut world, "481");
    assert_eq!(world.state(), CallState::Ringing);
    second.respond(&mut world, &invite, 200, &sdp("10.2.0.3", 6000));
    second.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.cseq = early.cseq;
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    second.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn an_early_dialog_that_the_callee_has_lost_does_not_end_the_call() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "forgetful");
    let (callee, mut early) = ringing(&mut world, &caller, &invite, "callee");
    early.request(&mut world, "UPDATE", "");
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 481, "");
    caller.expect(&mut world, "481");
    assert_eq!(world.state(), CallState::Ringing);
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn nobody_offers_in_an_update_what_the_2xx_is_to_offer() {
    let mut world = World::new();
    let mut caller = Phone::caller("late");
    caller.invite(&mut world, "900", "");
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let (mut callee, mut early) = ringing(&mut world, &caller, &invite, "callee");
    early.request(&mut world, "UPDATE", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "491");
    callee.request(&mut world, "UPDATE", &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "500");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let offer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &offer, &sdp("10.1.0.2", 4000));
    callee.expect(&mut world, "ACK");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.state(), CallState::Established);
    caller.cseq = early.cseq;
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}
