//! What is left of a call: one record for each, whatever became of it.

use std::time::Duration;

use contract::{Event, FlowKey, WorkerId};
use controlplane::agent::Input;
use controlplane::records::{CallRecord, Measured, Outcome, Quality, Releaser};
use controlplane::session::Side;
use controlplane::sip::Method;

use crate::phone::{Phone, expect, sdp};
use crate::plain::established;
use crate::ringing::calling;
use crate::world::{
    CALLEE, CALLER, INSIDE, MEDIA_TIMEOUT, NO_ANSWER, OUTSIDE, REST, SECOND, TRANSACTION, World,
    addr, settings,
};

/// How a call ended: who, why, the code, the Q.850 cause.
fn end(record: &CallRecord) -> (Releaser, &'static str, Option<u16>, Option<u8>) {
    let release = &record.release;
    (release.by, release.cause, release.code, release.q850)
}

#[test]
fn an_answered_call_gives_full_account() {
    let mut world = World::new();
    let began = world.now;
    let mut caller = Phone::caller("whole");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "to");
    world.advance(Duration::from_secs(1));
    // It was sent again meanwhile.
    world.clear(addr(CALLEE));
    callee.respond(&mut world, &invite, 180, "");
    world.advance(Duration::from_secs(5));
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    caller.expect(&mut world, "180");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    assert!(world.records.is_empty());

    // The workers have counted something at every port.
    let keys: Vec<FlowKey> = world.flows[0].keys().copied().collect();
    assert_eq!(keys.len(), 4, "RTP and RTCP, towards either side");
    for key in &keys {
        let inside = key.address == addr(INSIDE).ip();
        let packets = match (inside, key.port % 2) {
            (true, 0) => 1000,
            (false, 0) => 900,
            (true, _) => 7,
            (false, _) => 5,
        };
        let quality = (packets == 900).then_some(Quality {
            lost: 100,
            jitter: Some(Duration::from_millis(3)),
            ..Quality::default()
        });
        let measured = Measured {
            packets,
            bytes: packets * 172,
            wrong_source: 1,
            quality,
            last_packet: None,
        };
        world.counted.insert(*key, measured);
    }
    world.advance(Duration::from_secs(60));
    caller.request_with(&mut world, "BYE", "", "Reason: Q.850;cause=31\r\n");
    caller.expect(&mut world, "200");
    let ended = world.now;
    world.advance(Duration::from_secs(1));
    assert!(
        world.records.is_empty(),
        "the callee has not answered its BYE"
    );
    callee.take_bye(&mut world);

    let record = world.record();
    assert_eq!(record.id.0, 1);
    assert_eq!(record.caller.call_id, "whole");
    assert_eq!(
        (&*record.caller.trunk, record.caller.remote),
        ("callers", addr(CALLER))
    );
    assert_eq!(record.caller.local, Some(addr(INSIDE)));
    assert_eq!(record.caller.from, format!("sip:alice@{CALLER}"));
    assert_eq!(record.caller.uri, format!("sip:900@{INSIDE}"));
    let callee_leg = record.callee.as_ref().expect("it was offered");
    assert_eq!(
        (&*callee_leg.trunk, callee_leg.remote),
        ("one", addr(CALLEE))
    );
    assert_eq!(callee_leg.local, Some(addr(OUTSIDE)));
    assert_eq!(callee_leg.uri, format!("sip:900@{CALLEE}"));
    assert_eq!(callee_leg.from, format!("sip:alice@{OUTSIDE}"));
    assert_eq!(callee_leg.call_id, callee.call_id);
    assert_eq!(record.tries.len(), 1);
    assert_eq!(record.tries[0].outcome, Outcome::Code(200));
    let second = Duration::from_secs(1);
    assert_eq!(record.started, began);
    assert_eq!(record.ringing, Some(began + second));
    assert_eq!(record.answered, Some(began + 6 * second));
    assert_eq!(record.release.at, ended);
    assert_eq!(record.duration(), Some(60 * second));
    assert_eq!(end(&record), (Releaser::Caller, "bye", None, Some(31)));
    assert_eq!(record.release.reason.as_deref(), Some("Q.850;cause=31"));
    assert_eq!(record.codec().as_deref(), Some("PCMA/8000"));
    let stream = record.first_stream().expect("audio");
    assert_eq!(stream.parties[0].remote_rtp, Some(addr("10.1.0.2:4000")));
    assert_eq!(stream.parties[1].remote_rtp, Some(addr("10.2.0.2:6000")));

    let (from_caller, from_callee) = (record.direction(Side::A), record.direction(Side::B));
    assert_eq!((from_caller.packets, from_caller.bytes), (1000, 172_000));
    assert_eq!((from_caller.rtcp_packets, from_caller.wrong_source), (7, 2));
    assert_eq!((from_caller.lost, from_caller.mos), (None, None));
    assert_eq!((from_callee.packets, from_callee.rtcp_packets), (900, 5));
    assert_eq!(from_callee.lost, Some(100));
    assert!(from_callee.mos.is_some_and(|mos| (3.0..3.6).contains(&mos)));
    world.assert_clean();
}

#[test]
fn every_end_has_its_cause_and_its_side() {
    // The callee hangs up.
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "callee");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    caller.take_bye(&mut world);
    assert_eq!(
        end(&world.record()),
        (Releaser::Callee, "bye", None, Some(16))
    );

    // An operator does.
    let (caller, callee) = established(&mut world, "operator");
    let call = world.call().id;
    world.handle(Input::HangUp(call));
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    let expected = (Releaser::Tandem, "operator", Some(480), Some(18));
    assert_eq!(end(&world.record()), expected);

    // Nobody speaks.
    let (caller, callee) = established(&mut world, "silent");
    world.advance(MEDIA_TIMEOUT);
    let flows: Vec<_> = world.flows[0].values().map(|flow| flow.id).collect();
    for worker in [WorkerId(0), WorkerId(1)] {
        for flow in &flows {
            let event = Event::Idle(*flow);
            world.handle(Input::Worker { worker, event });
        }
    }
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    let expected = (Releaser::Tandem, "media_timeout", Some(408), Some(102));
    assert_eq!(end(&world.record()), expected);

    // The appliance goes out of service.
    let (caller, callee) = established(&mut world, "drained");
    let deadline = world.now;
    world.handle(Input::Drain { deadline });
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    assert!(world.drained);
    let expected = (Releaser::Tandem, "drain", Some(503), Some(41));
    assert_eq!(end(&world.record()), expected);
    world.assert_clean();
}

#[test]
fn calls_that_nobody_answers_leave_a_record_too() {
    // Taken back.
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "cancelled");
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let ended = caller.expect(&mut world, "487");
    caller.ack(&mut world, &ended, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    let record = world.record();
    let expected = (Releaser::Caller, "cancelled", Some(487), Some(16));
    assert_eq!(end(&record), expected);
    assert!(record.ringing.is_some() && record.answered.is_none());
    assert_eq!(record.flows.len(), 4, "early media would have been counted");
    assert_eq!(record.duration(), None);

    // Busy.
    let (mut caller, invite) = calling(&mut world, "busy");
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond_with(&mut world, &invite, 486, "", "Reason: Q.850;cause=17\n");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    let record = world.record();
    assert_eq!(
        end(&record),
        (Releaser::Callee, "failure", Some(486), Some(17))
    );
    assert_eq!(record.tries[0].outcome, Outcome::Code(486));

    // It rings until timer C.
    let (caller, invite) = calling(&mut world, "unanswered");
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 180, "");
    world.advance(NO_ANSWER);
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    let expected = (Releaser::Tandem, "no_answer", Some(408), Some(102));
    assert_eq!(end(&world.record()), expected);
    world.clear(caller.at);
    world.clear(callee.at);
    world.assert_clean();
}

#[test]
fn every_target_that_was_tried_is_named() {
    let mut world = World::new();
    let mut caller = Phone::caller("wandering");
    caller.invite(&mut world, "800", &sdp("10.1.0.2", 4000));
    let first = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &first, "one");
    callee.respond(&mut world, &first, 503, "");
    let second = expect(&mut world, addr(SECOND), "INVITE");
    world.clear(addr(CALLEE));
    let callee = Phone::callee(SECOND, &second, "two");
    callee.respond(&mut world, &second, 404, "");
    let record = world.record();
    let tries: Vec<_> = record
        .tries
        .iter()
        .map(|each| (each.peer, each.outcome))
        .collect();
    assert_eq!(
        tries,
        [
            (addr(CALLEE), Outcome::Code(503)),
            (addr(SECOND), Outcome::Code(404))
        ]
    );
    assert_eq!(
        end(&record),
        (Releaser::Callee, "failure", Some(404), Some(1))
    );
    let callee = record.callee.expect("the last one");
    assert_eq!(callee.remote, addr(SECOND));
}

#[test]
fn silence_and_a_dead_network_are_ours_to_tell() {
    let mut world = World::new();
    let mut caller = Phone::caller("deaf");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    world.advance(TRANSACTION);
    let expected = (Releaser::Tandem, "timeout", Some(408), Some(102));
    let record = world.record();
    assert_eq!(end(&record), expected);
    assert_eq!(record.tries[0].outcome, Outcome::Timeout);
    world.unreachable.push(addr(CALLEE));
    let mut caller = Phone::caller("cut");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    let expected = (Releaser::Tandem, "unreachable", Some(503), Some(41));
    assert_eq!(end(&world.record()), expected);
}

#[test]
fn what_is_refused_is_recorded_with_its_reason() {
    let mut small = settings();
    small.limits.calls = 1;
    let mut world = World::with(small, 1);
    let (_caller, _callee) = established(&mut world, "first");
    let mut refused = |user: &str, more: &str| {
        let mut caller = Phone::caller(&format!("refused-{user}"));
        caller.invite_with(&mut world, user, &sdp("10.1.0.2", 4002), more);
        world.clear(caller.at);
        let record = world.record();
        assert_eq!(record.caller.call_id, caller.call_id);
        assert_eq!(record.caller.trunk, "callers");
        assert!(record.callee.is_none() && record.flows.is_empty());
        (record.release.cause, record.release.code, record.id.0)
    };
    assert_eq!(refused("900", ""), ("limit", Some(503), 2));
    assert_eq!(
        refused("901", "Max-Forwards: 0\r\n"),
        ("hops", Some(483), 3)
    );
    assert_eq!(
        refused("902", "Require: path\r\n"),
        ("refused", Some(420), 4)
    );
    let mut world = World::new();
    let mut caller = Phone::caller("nowhere");
    caller.invite(&mut world, "404", &sdp("10.1.0.2", 4002));
    let record = world.record();
    assert_eq!(
        end(&record),
        (Releaser::Tandem, "no_route", Some(404), Some(1))
    );
    world.handle(Input::Drain {
        deadline: world.now,
    });
    let mut caller = Phone::caller("late");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    assert_eq!(world.record().release.cause, "drain");
}

#[test]
fn flows_that_change_during_the_call_are_all_counted() {
    let mut world = World::new();
    let mut caller = Phone::caller("moved");
    caller.invite(&mut world, "800", &sdp("10.1.0.2", 4000));
    let first = expect(&mut world, addr(CALLEE), "INVITE");
    for key in world.flows[0].keys() {
        let measured = Measured {
            packets: 10,
            ..Measured::default()
        };
        world.counted.insert(*key, measured);
    }
    // The ports towards the first callee go with it.
    let callee = Phone::callee(CALLEE, &first, "one");
    callee.respond(&mut world, &first, 503, "");
    let second = expect(&mut world, addr(SECOND), "INVITE");
    let callee = Phone::callee(SECOND, &second, "two");
    callee.respond(&mut world, &second, 486, "");
    let record = world.record();
    assert_eq!(record.direction(Side::A).packets, 10);
    assert_eq!(record.direction(Side::B).packets, 10);
    let of_callee = record.flows.iter().filter(|flow| flow.from == Side::B);
    assert_eq!(of_callee.count(), 4, "two ports of either callee");
}

#[test]
fn an_end_at_once_loses_no_record() {
    let mut world = World::new();
    let (_caller, _callee) = established(&mut world, "cut");
    world.handle(Input::Abandon);
    let record = world.record();
    assert_eq!(record.release.cause, "abandoned");
    assert_eq!(record.flows.len(), 4);
    assert_eq!(world.agent.calls(), []);
}

#[test]
fn what_is_shed_leaves_one_record_however_often_it_is_sent() {
    let mut world = World::new();
    for _ in 0..60 {
        world.waits(Duration::from_secs(1));
        world.advance(Duration::from_millis(50));
    }
    for number in 0..50 {
        world.waits(Duration::from_secs(1));
        let mut caller = Phone::caller(&format!("shed-{number}"));
        caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
        // The same INVITE once more.
        caller.cseq -= 1;
        caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    }
    let shed = world.records.iter();
    let shed: Vec<_> = shed
        .filter(|record| record.release.cause == "overload")
        .collect();
    assert!((40..=50).contains(&shed.len()), "{}", shed.len());
    let overload = world.agent.overload(world.now);
    assert_eq!(overload.refused, 2 * shed.len() as u64);
    assert_eq!(shed[0].release.code, Some(503));
    assert_eq!(shed[0].caller.trunk, "callers");
    assert!(
        world
            .agent
            .story(controlplane::story::Whose::Call(shed[0].id))
            .is_none()
    );
}

#[test]
fn a_target_beyond_the_list_does_not_change_what_is_listed() {
    let mut settings = settings();
    let peers = (10..30).map(|last| addr(&format!("10.2.0.{last}:5060")));
    settings.trunks[3].peers = peers.clone().map(Into::into).collect();
    let mut world = World::with(settings, 1);
    let mut caller = Phone::caller("many");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    for place in 1..=17 {
        let mail = world.take_mail();
        let (at, invite) = mail
            .into_iter()
            .find(|(_, message)| message.method() == Some(&Method::Invite))
            .expect("the next target's INVITE");
        let callee = Phone::callee(&at.to_string(), &invite, "callee");
        let code = if place < 17 { 503 } else { 486 };
        callee.respond(&mut world, &invite, code, "");
    }
    world.advance(REST);
    let record = world.record();
    assert_eq!(record.tries.len(), 16);
    assert_eq!(record.tries[15].outcome, Outcome::Code(503));
    assert_eq!(record.release.code, Some(486));
}
