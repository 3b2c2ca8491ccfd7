//! Taking the appliance out of service, and workers that do not do their part.

use std::time::Duration;

use contract::Refusal;
use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, described, expect, header, sdp};
use crate::plain::established;
use crate::ringing::calling;
use crate::world::{CALLEE, INSIDE, Workers, World, addr};

/// How long the installer waits for workers.
const FLOWS: Duration = Duration::from_secs(3);

#[test]
fn a_drain_refuses_new_calls_and_waits_for_those_that_are_up() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "drained");
    let deadline = world.now + Duration::from_secs(30);
    world.handle(Input::Drain { deadline });
    let mut late = Phone::caller("late");
    late.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    late.expect(&mut world, "100");
    let closed = late.expect(&mut world, "503");
    assert!(!header(&closed, HeaderName::RetryAfter).is_empty());
    late.ack(&mut world, &closed, "");
    late.peer = format!("<sip:{INSIDE}>");
    late.request(&mut world, "OPTIONS", "");
    late.expect(&mut world, "503");
    assert!(!world.drained && world.agent.is_draining());
    // What is up may still change.
    caller.request(&mut world, "UPDATE", "");
    let update = callee.expect(&mut world, "UPDATE");
    callee.respond(&mut world, &update, 200, "");
    caller.expect(&mut world, "200");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert!(world.drained);
    world.assert_clean();
}

#[test]
fn at_the_deadline_calls_are_ended_and_ringing_ones_refused() {
    let mut world = World::new();
    let (caller, callee) = established(&mut world, "up");
    let (mut ringing, invite) = calling(&mut world, "ringing");
    let rung = Phone::callee(CALLEE, &invite, "rung");
    rung.respond(&mut world, &invite, 180, "");
    ringing.expect(&mut world, "180");
    let deadline = world.now + Duration::from_secs(30);
    world.handle(Input::Drain { deadline });
    world.advance(Duration::from_secs(30));
    let mut sent = Vec::new();
    while let Some(message) = world.next(caller.at) {
        sent.push(message);
    }
    let closed = sent.iter().find(|sent| sent.code().is_some()).expect("503");
    assert_eq!(closed.code().map(|code| code.as_u16()), Some(503));
    ringing.ack(&mut world, closed, "");
    let bye = sent
        .iter()
        .find(|sent| sent.method().is_some())
        .expect("BYE");
    caller.respond(&mut world, bye, 200, "");
    callee.take_bye(&mut world);
    assert!(!world.drained);
    let cancel = rung.expect(&mut world, "CANCEL");
    rung.respond(&mut world, &cancel, 200, "");
    rung.respond(&mut world, &invite, 487, "");
    rung.expect(&mut world, "ACK");
    assert!(world.drained);
    assert_eq!(world.agent.counters().calls_ended["drain"], 1);
    world.assert_clean();
}

#[test]
fn a_stop_does_not_wait_for_the_deaf() {
    let mut world = World::new();
    let (caller, callee) = established(&mut world, "stopped");
    world.handle(Input::Stop);
    expect(&mut world, caller.at, "BYE");
    expect(&mut world, callee.at, "BYE");
    world.advance(Duration::from_secs(3));
    assert!(!world.drained);
    world.advance(Duration::from_secs(1));
    assert!(world.drained);
    let mut idle = World::new();
    idle.handle(Input::Stop);
    assert!(idle.drained);
}

#[test]
fn nothing_is_announced_before_every_worker_forwards_it() {
    let mut world = World::new();
    world.workers = Workers::Deaf;
    let mut caller = Phone::caller("held");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    assert_eq!(world.state(), CallState::Preparing);
    world.advance(Duration::from_millis(500));
    world.assert_quiet();
}

#[test]
fn a_call_whose_flows_cannot_be_installed_is_refused() {
    for (workers, code) in [
        (Workers::Deaf, "503"),
        (Workers::Full, "503"),
        (Workers::Refusing(Refusal::TableFull), "503"),
        (Workers::Refusing(Refusal::UnknownDevice), "500"),
    ] {
        let mut world = World::new();
        world.workers = workers;
        let mut caller = Phone::caller("refused");
        caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
        caller.expect(&mut world, "100");
        world.advance(FLOWS);
        let failure = caller.expect(&mut world, code);
        while world.next(caller.at).is_some() {}
        caller.ack(&mut world, &failure, "");
        assert!(world.next(addr(CALLEE)).is_none(), "{workers:?}");
        assert_eq!(world.agent.calls(), []);
        world.workers = Workers::Prompt;
        world.advance(Duration::from_secs(300));
        assert_eq!(world.agent.gauges().transactions, 0);
    }
}

#[test]
fn an_answer_whose_flows_cannot_be_installed_undoes_the_call() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "undone");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    world.workers = Workers::Deaf;
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    assert_eq!(world.state(), CallState::Answering);
    caller.expect_nothing(&mut world);
    world.advance(FLOWS);
    let failure = caller.expect(&mut world, "503");
    while world.next(caller.at).is_some() {}
    caller.ack(&mut world, &failure, "");
    let bye = callee.expect(&mut world, "BYE");
    callee.respond(&mut world, &bye, 200, "");
    assert_eq!(world.agent.calls(), []);
}

#[test]
fn early_media_whose_flows_cannot_be_installed_undoes_the_call() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "undone");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    world.workers = Workers::Deaf;
    callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    world.advance(FLOWS);
    let failure = caller.expect(&mut world, "503");
    while world.next(caller.at).is_some() {}
    caller.ack(&mut world, &failure, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    assert_eq!(world.agent.calls(), []);
}

#[test]
fn a_reinvite_whose_flows_cannot_be_installed_is_refused_and_the_call_stays() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "stays");
    world.workers = Workers::Deaf;
    let two_streams = format!(
        "{}m=audio 4010 RTP/AVP 8\r\n",
        described("10.1.0.2", 4000, 2, "sendrecv")
    );
    caller.request(&mut world, "INVITE", &two_streams);
    caller.expect(&mut world, "100");
    callee.expect_nothing(&mut world);
    world.advance(FLOWS);
    let failure = caller.expect(&mut world, "500");
    while world.next(caller.at).is_some() {}
    caller.ack(&mut world, &failure, "");
    assert_eq!(world.state(), CallState::Established);
    world.workers = Workers::Prompt;
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert_eq!(world.agent.calls(), []);
}

#[test]
fn the_views_tell_what_a_call_is() {
    let mut world = World::new();
    let (caller, callee) = established(&mut world, "seen");
    let call = world.call();
    assert_eq!(
        (call.from.as_str(), call.to.as_str()),
        ("sip:alice@10.1.0.2:5060", "sip:900@10.1.0.1:5060")
    );
    assert_eq!(
        (call.from_trunk.as_str(), call.to_trunk.as_deref()),
        ("callers", Some("one"))
    );
    assert!(call.answered.is_some_and(|at| at >= call.started));
    let detail = world.agent.call(call.id).expect("there");
    assert_eq!(detail.caller.call_id, caller.call_id);
    assert_eq!(detail.callees[0].call_id, callee.call_id);
    assert_eq!(detail.callees[0].remote, addr(CALLEE));
    assert_eq!(detail.flows.len(), 4);
    assert_eq!(detail.media.expect("a session").streams.len(), 1);
    let gauges = world.agent.gauges();
    assert_eq!(
        (gauges.calls, gauges.sessions, gauges.flows, gauges.dialogs),
        (1, 1, 4, 2)
    );
}
