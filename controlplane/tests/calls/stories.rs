//! The story of a call, told while it is up and after.

use std::time::Duration;

use contract::{Event, MacAddress, WorkerId};
use controlplane::agent::Input;
use controlplane::b2bua::CallId;
use controlplane::settings::Explain;
use controlplane::story::{StoryView, Whose};

use crate::phone::{Phone, described, expect, media_of, sdp};
use crate::plain::established;
use crate::world::{CALLEE, CALLER, TRANSACTION, World, addr, settings};

fn told(view: &StoryView) -> Vec<String> {
    let lines = view.lines.iter();
    lines
        .map(|line| format!("{}: {}", line.kind, line.text))
        .collect()
}

/// That these lines are there, in this order.
fn in_order(view: &StoryView, expected: &[&str]) {
    let told = told(view);
    let mut lines = told.iter();
    for wanted in expected {
        let found = lines.any(|line| line.contains(wanted));
        assert!(found, "no {wanted:?} in its place in\n{}", told.join("\n"));
    }
}

#[test]
fn a_whole_call_is_told_in_order() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "told");
    let flow = *world.flows[0]
        .values()
        .find(|flow| flow.rtp.is_some())
        .expect("a flow");
    let event = Event::Latched {
        flow: flow.id,
        armed: flow.latch.armed,
        remote: addr("10.1.0.2:4444"),
        next_hop: MacAddress([2, 0, 0, 0, 0, 9]),
    };
    let worker = WorkerId(0);
    world.handle(Input::Worker { worker, event });
    // A re-INVITE from the caller, held.
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    let reinvite = callee.expect(&mut world, "INVITE");
    callee.respond(
        &mut world,
        &reinvite,
        200,
        &described("10.2.0.2", 6000, 2, "recvonly"),
    );
    caller.expect(&mut world, "100");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    callee.expect(&mut world, "ACK");
    let live = world.agent.story(Whose::Call(CallId(1))).expect("it is up");
    assert!(!live.ended);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);

    let view = world
        .agent
        .story(Whose::CallId("told"))
        .expect("it is remembered");
    assert!(view.ended);
    assert_eq!(view.call, CallId(1));
    assert_eq!(view.call_ids, ["told", &callee.call_id]);
    let by_callee = world.agent.story(Whose::CallId(&callee.call_id));
    assert_eq!(by_callee.as_ref(), Some(&view));
    let (in_sdp, out_sdp) = media_of(&reinvite);
    in_order(
        &view,
        &[
            &format!("in: INVITE (1 INVITE) from {CALLER}"),
            "sdp: audio 10.1.0.2:4000 PCMA/8000",
            &format!("out: 100 Trying (1 INVITE) to {CALLER}"),
            &format!("route: \"900\" from callers by route-2 to one at {CALLEE}"),
            &format!("target: one at {CALLEE}"),
            "flows: 4 flows are installed",
            "state: calling (by FlowsReady)",
            &format!("out: INVITE (1 INVITE) to {CALLEE}"),
            "sdp: audio 10.1.0.2:4000 PCMA/8000 -> audio 10.2.0.1:",
            "in: 180 Ringing",
            "state: ringing (by Provisional)",
            "out: 180 Ringing",
            "in: 200 OK (1 INVITE)",
            "state: answering (by Answer)",
            "out: ACK",
            "out: 200 OK (1 INVITE)",
            "in: ACK",
            "state: established (by Ack)",
            "latch: port ",
            "in: INVITE (2 INVITE)",
            &format!("sendonly -> audio {in_sdp}:{out_sdp} PCMA/8000 sendonly"),
            "in: BYE (3 BYE)",
            "release: by caller: bye, Q.850 16",
            "state: ending (by Bye)",
            "flow: RTP of the caller at ",
            "out: 200 OK (3 BYE)",
            "out: BYE",
            "in: 200 OK",
            "state: over (by Done)",
        ],
    );
    assert!(view.lines.is_sorted_by_key(|line| line.at));
    world.assert_clean();
    assert_eq!(world.agent.story_counts().live, 0);
}

#[test]
fn a_refused_call_is_told_too() {
    let mut world = World::new();
    let mut caller = Phone::caller("nowhere");
    caller.invite(&mut world, "404", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "404");
    caller.ack(&mut world, &refused, "");
    let view = world
        .agent
        .story(Whose::CallId("nowhere"))
        .expect("it is remembered");
    in_order(
        &view,
        &[
            "in: INVITE",
            "out: 100 Trying",
            "release: by tandem: no_route, 404, Q.850 1",
            "out: 404 Not Found",
            "in: ACK",
        ],
    );
    assert!(world.agent.story(Whose::CallId("never")).is_none());
}

#[test]
fn repetitions_are_told_apart() {
    let mut world = World::new();
    let mut caller = Phone::caller("again");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    // Nobody answers: the INVITE is sent again after T1.
    world.advance(Duration::from_millis(600));
    expect(&mut world, addr(CALLEE), "INVITE");
    expect(&mut world, addr(CALLEE), "INVITE");
    let view = world.agent.story(Whose::CallId("again")).expect("it is up");
    let sent: Vec<_> = view
        .lines
        .iter()
        .filter_map(|line| line.message.as_ref())
        .filter(|message| message.remote == addr(CALLEE))
        .map(|message| (&*message.summary, message.repeated))
        .collect();
    assert_eq!(sent, [("INVITE", false), ("INVITE", true)]);
    let descriptions = view.lines.iter().filter(|line| line.kind == "sdp");
    assert_eq!(
        descriptions.count(),
        2,
        "what came and what left, once each"
    );
}

#[test]
fn finished_calls_are_forgotten_when_there_are_too_many_or_they_are_too_long() {
    let mut few = settings();
    few.explain = Explain {
        calls: 2,
        lines: 20,
        ..Explain::default()
    };
    let mut world = World::with(few, 1);
    for name in ["one", "two", "three"] {
        let (mut caller, callee) = established(&mut world, name);
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "200");
        callee.take_bye(&mut world);
    }
    assert!(world.agent.story(Whose::CallId("one")).is_none());
    assert!(world.agent.story(Whose::Call(CallId(1))).is_none());
    let three = world
        .agent
        .story(Whose::CallId("three"))
        .expect("it is remembered");
    assert_eq!(three.lines.len(), 20);
    assert!(three.omitted > 5, "{}", three.omitted);
    in_order(&three, &["in: INVITE", "state: over"]);
    let counts = world.agent.story_counts();
    assert_eq!((counts.finished, counts.forgotten), (2, 1));
    assert!(counts.lines_omitted >= u64::from(three.omitted));

    let mut none = settings();
    none.explain.bytes = 0;
    let mut world = World::with(none, 1);
    let (mut caller, callee) = established(&mut world, "gone");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert!(world.agent.story(Whose::CallId("gone")).is_none());
    let counts = world.agent.story_counts();
    assert_eq!((counts.live, counts.finished, counts.bytes), (0, 0, 0));
}

#[test]
fn whole_messages_are_kept_when_that_is_switched_on_and_within_the_bound() {
    let mut world = World::new();
    world.agent.keep_messages(true);
    let mut caller = Phone::caller("kept");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    let view = world.agent.story(Whose::CallId("kept")).expect("it is up");
    let mut messages = view.lines.iter().filter_map(|line| line.message.as_ref());
    let invite = messages.next().expect("the INVITE");
    let text = invite.whole.as_ref().expect("it is kept");
    assert!(text.starts_with(b"INVITE sip:900@"));
    assert_eq!(text.len(), usize::from(invite.size));
    assert!(messages.all(|message| message.whole.is_some()));

    let mut narrow = settings();
    narrow.explain.bytes = 1000;
    narrow.explain.messages = true;
    let mut world = World::with(narrow, 1);
    let mut caller = Phone::caller("narrow");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    let view = world
        .agent
        .story(Whose::CallId("narrow"))
        .expect("it is up");
    let whole = view
        .lines
        .iter()
        .filter_map(|line| line.message.as_ref()?.whole.as_ref());
    let kept: usize = whole.map(Vec::len).sum();
    assert!((1..=1000).contains(&kept), "{kept}");
    assert!(world.agent.story_counts().messages_not_kept > 0);
}

#[test]
fn the_collector_gets_every_message_with_its_call() {
    let mut mirroring = settings();
    mirroring.mirror = true;
    let mut world = World::with(mirroring, 1);
    let (mut caller, callee) = established(&mut world, "mirrored");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    let copies = std::mem::take(&mut world.mirrored);
    assert_eq!(copies.len(), 13, "{copies:?}");
    assert!(copies.iter().all(|copy| copy.call == Some(CallId(1))));
    assert!(copies[0].bytes.starts_with(b"INVITE"));
    let mut options = Phone::caller("options");
    options.target = "sip:tandem".into();
    options.peer = "<sip:tandem>".into();
    options.request(&mut world, "OPTIONS", "");
    assert_eq!(world.mirrored.len(), 2);
    assert!(world.mirrored.iter().all(|copy| copy.call.is_none()));
}

/// A story is a small part of what a call may cost the control plane.
#[test]
fn the_story_of_a_call_that_is_up_is_small() {
    let mut world = World::new();
    for call in 0..100 {
        established(&mut world, &format!("held-{call}"));
    }
    let each = world.agent.story_counts().bytes / 100;
    assert!(each < 3000, "{each} bytes a call");
}

#[test]
fn what_waits_for_a_prack_and_what_is_dropped_is_told() {
    let mut world = World::new();
    let mut caller = Phone::caller("waits");
    let more = "Require: 100rel\r\n";
    caller.invite_with(&mut world, "900", &sdp("10.1.0.2", 4000), more);
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    for fork in 0..5 {
        let callee = Phone::callee(CALLEE, &invite, &format!("fork-{fork}"));
        callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    }
    world.advance(Duration::from_millis(500));
    let callee = Phone::callee(CALLEE, &invite, "fork-0");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    world.advance(TRANSACTION);
    let story = world
        .agent
        .story(Whose::CallId("waits"))
        .expect("it is told");
    let told = |kind: &str| -> Vec<&str> {
        let lines = story.lines.iter().filter(|line| line.kind == kind);
        lines.map(|line| &*line.text).collect()
    };
    assert_eq!(told("drop"), ["too_many_forks"]);
    let timers = told("timer");
    let again = "no PRACK of the caller yet: the provisional response again";
    assert!(timers.contains(&again), "{timers:?}");
    assert!(timers.contains(&"the 2xx waits for the caller's PRACK"));
    assert!(timers.contains(&"no PRACK of the caller for 64 T1"));
}
