//! The other door's commands about media: what becomes of the flows, and what the media services are told.

use std::time::Duration;

use contract::{
    FlowEntry, FlowKey, Media, PlayFormat, PlaySource, ServiceEvent, ServiceOrder, TapId,
};
use controlplane::agent::Input;
use controlplane::ng::{Dictionary, Value};

use crate::controlled::{Proxy, inner, media_of, number, ok, reason, replies, request, text};
use crate::world::{REST, World, addr, settings};

const EVENTS: &str = "RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000";

fn body(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=ua 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} {EVENTS}\r\n"
    )
}

/// A call with everything configured, whose parties know key presses: `a` and `b`, called by labels too.
fn call() -> (World, Proxy, [FlowKey; 2]) {
    let mut settings = settings();
    settings.ng.recording = true;
    settings.ng.forwarding = true;
    settings.ng.playing = true;
    let (mut world, mut proxy) = (World::with(settings, 1), Proxy::new());
    let (a, b) = (body("10.1.0.2", 4000), body("10.2.0.2", 6000));
    let tags = [("call-id", "x"), ("from-tag", "a")];
    let offer = [
        ("sdp", &*a),
        ("label", "caller"),
        ("direction", "inside outside"),
    ];
    let towards_b = media_of(&ok(proxy.ask(
        &mut world,
        "offer",
        &[&tags[..], &offer].concat(),
    )));
    let answer = [("to-tag", "b"), ("sdp", &*b), ("label", "callee")];
    let towards_a = media_of(&ok(proxy.ask(
        &mut world,
        "answer",
        &[&tags[..], &answer].concat(),
    )));
    let keys = [towards_a, towards_b].map(|at| FlowKey {
        address: at.ip(),
        port: at.port(),
    });
    (world, proxy, keys)
}

/// What every worker has at a port.
fn flow(world: &World, key: FlowKey) -> FlowEntry {
    let entries: Vec<_> = world.flows.iter().map(|flows| flows[&key]).collect();
    assert!(entries.windows(2).all(|pair| pair[0] == pair[1]));
    entries[0]
}

fn of<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("call-id", "x")], more].concat()
}

fn orders(world: &mut World) -> Vec<ServiceOrder> {
    std::mem::take(&mut world.orders)
}

#[test]
fn media_is_blocked_silenced_and_let_through_again_by_party() {
    let (mut world, mut proxy, [from_a, from_b]) = call();
    let media = |world: &World| [from_a, from_b].map(|key| flow(world, key).handling.media);
    ok(proxy.ask(&mut world, "block media", &of(&[("from-tag", "a")])));
    assert_eq!(media(&world), [Media::Block, Media::Pass]);
    ok(proxy.ask(&mut world, "silence media", &of(&[])));
    assert_eq!(media(&world), [Media::Block, Media::Silence]);
    ok(proxy.ask(&mut world, "unblock media", &of(&[("label", "caller")])));
    assert_eq!(media(&world), [Media::Silence; 2]);
    ok(proxy.ask(
        &mut world,
        "unsilence media",
        &of(&[("address", "10.2.0.2")]),
    ));
    assert_eq!(media(&world), [Media::Silence, Media::Pass]);
    ok(proxy.ask(
        &mut world,
        "unsilence media",
        &of(&[("to-tag", "b"), ("from-tag", "a")]),
    ));
    assert_eq!(media(&world), [Media::Pass; 2]);
    ok(proxy.ask(&mut world, "block DTMF", &of(&[("from-tag", "b")])));
    let events = flow(&world, from_b).handling.events;
    assert!(events.blocked && events.types.contains(101) && !events.types.contains(8));
    assert!(!flow(&world, from_a).handling.events.blocked);
}

#[test]
fn whom_nobody_knows_is_an_error() {
    let (mut world, mut proxy, _) = call();
    let mut asked =
        |command: &str, pairs: &[(&str, &str)]| reason(&proxy.ask(&mut world, command, pairs));
    assert_eq!(asked("block media", &[("call-id", "y")]), "Unknown call-ID");
    assert_eq!(
        asked("start recording", &[("call-id", "y")]),
        "Unknown call-id"
    );
    assert_eq!(
        asked("block media", &of(&[("from-tag", "z")])),
        "From-tag given, but no such tag exists"
    );
    assert_eq!(
        asked("block DTMF", &of(&[("label", "nobody")])),
        "No monologue matching the given label"
    );
    assert_eq!(
        asked("play DTMF", &of(&[("code", "1")])),
        "No participant party specified"
    );
    assert_eq!(
        asked("stop media", &of(&[("from-tag", "a")])),
        "Not currently playing media"
    );
    assert_eq!(
        asked(
            "subscribe answer",
            &of(&[("to-tag", "s"), ("sdp", &body("10.2.0.9", 9000))])
        ),
        "To-tag not found"
    );
}

#[test]
fn keys_are_pressed_as_the_receiver_knows_them() {
    let (mut world, mut proxy, [from_a, from_b]) = call();
    let press = [
        ("from-tag", "a"),
        ("code", "1#"),
        ("volume", "-20"),
        ("duration", "9999"),
    ];
    ok(proxy.ask(&mut world, "play DTMF", &of(&press)));
    let first = flow(&world, from_a).handling.press.expect("pressed");
    assert_eq!(
        (first.digits.at(0), first.digits.at(1)),
        (Some(1), Some(11))
    );
    assert_eq!(
        (
            first.payload_type,
            first.clock_rate,
            first.duration,
            first.pause
        ),
        (101, 8000, 5000, 100)
    );
    assert_eq!(flow(&world, from_b).handling.press, None);
    ok(proxy.ask(&mut world, "play DTMF", &of(&press)));
    let second = flow(&world, from_a).handling.press.expect("pressed");
    assert_ne!(first.count, second.count, "pressed again");
}

#[test]
fn a_recording_taps_both_sides_until_the_call_ends() {
    let (mut world, mut proxy, [from_a, from_b]) = call();
    let taps = |world: &World| [from_a, from_b].map(|key| flow(world, key).handling.tap);
    proxy.send(
        &mut world,
        &request("start recording", &of(&[("metadata", "customer=7")])),
    );
    let asked = orders(&mut world);
    let [ServiceOrder::Record(recording), said @ ..] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(said.len(), 2, "what both have said so far");
    assert_eq!(recording.call_id, b"x");
    assert_eq!(recording.metadata, "customer=7");
    let tap = recording.tap;
    assert_eq!(tap, tap.call());
    assert_eq!(taps(&world), [Some(tap), Some(TapId(tap.0 | 1))]);
    assert!(replies(&mut world).is_empty(), "the file is not there yet");
    let file = "x.pcap".to_owned();
    world.handle(Input::Service(ServiceEvent::Recording { tap, file }));
    ok(replies(&mut world).remove(0).1);
    ok(proxy.ask(&mut world, "pause recording", &of(&[])));
    ok(proxy.ask(&mut world, "start recording", &of(&[])));
    let hold = body("10.1.0.2", 4000) + "a=sendonly\r\n";
    let again = [("from-tag", "a"), ("to-tag", "b"), ("sdp", &*hold)];
    ok(proxy.ask(&mut world, "offer", &of(&again)));
    ok(proxy.ask(
        &mut world,
        "delete",
        &of(&[("from-tag", "a"), ("delete-delay", "0")]),
    ));
    let asked = orders(&mut world);
    let [
        paused,
        resumed,
        ServiceOrder::Describe { text, .. },
        stopped,
    ] = &asked[..]
    else {
        panic!("{asked:?}");
    };
    assert_eq!(*paused, ServiceOrder::PauseRecording(tap));
    assert_eq!(*resumed, ServiceOrder::ResumeRecording(tap));
    assert!(text.contains("a=sendonly"), "{text}");
    assert_eq!(*stopped, ServiceOrder::StopRecording(tap));
}

#[test]
fn a_recording_that_fails_is_told_and_taps_nothing() {
    let (mut world, mut proxy, [from_a, _]) = call();
    proxy.send(&mut world, &request("start recording", &of(&[])));
    let asked = orders(&mut world);
    let Some(ServiceOrder::Record(recording)) = asked.first() else {
        panic!("not recorded");
    };
    let reason = "No space left on device".to_owned();
    world.handle(Input::Service(ServiceEvent::NotRecording {
        tap: recording.tap,
        reason: reason.clone(),
    }));
    assert_eq!(self::reason(&replies(&mut world).remove(0).1), reason);
    assert_eq!(flow(&world, from_a).handling.tap, None);
    assert_eq!(world.agent.control_counters().not_recorded, 1);
}

#[test]
fn forwarding_is_of_one_side() {
    let (mut world, mut proxy, [from_a, from_b]) = call();
    ok(proxy.ask(&mut world, "start forwarding", &of(&[("from-tag", "b")])));
    let asked = orders(&mut world);
    let [ServiceOrder::Forward(forwarding)] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(forwarding.metadata, b"x");
    assert_eq!(flow(&world, from_b).handling.tap, Some(forwarding.tap));
    assert_eq!(flow(&world, from_a).handling.tap, None);
    ok(proxy.ask(&mut world, "stop forwarding", &of(&[])));
    assert_eq!(
        orders(&mut world),
        [ServiceOrder::StopForwarding(forwarding.tap)]
    );
    assert_eq!(flow(&world, from_b).handling.tap, None);
}

#[test]
fn a_sound_is_injected_where_the_other_partys_packets_arrive() {
    let (mut world, mut proxy, [from_a, _]) = call();
    let play = [
        ("from-tag", "b"),
        ("file", "welcome.wav"),
        ("repeat-times", "2"),
    ];
    proxy.send(&mut world, &request("play media", &of(&play)));
    let asked = orders(&mut world);
    let [ServiceOrder::Play(playing)] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(playing.keys, [from_a]);
    assert_eq!(playing.source, PlaySource::File("welcome.wav".into()));
    assert_eq!(playing.formats, [PlayFormat::Pcma(8)]);
    let (play, duration) = (playing.play, Duration::from_millis(1500));
    world.handle(Input::Service(ServiceEvent::Playing { play, duration }));
    assert_eq!(
        number(&ok(replies(&mut world).remove(0).1), "duration"),
        1500
    );
    ok(proxy.ask(&mut world, "stop media", &of(&[("from-tag", "b")])));
    assert_eq!(orders(&mut world), [ServiceOrder::StopPlaying(play)]);
    proxy.send(
        &mut world,
        &request(
            "play media",
            &of(&[("from-tag", "a"), ("file", "none.wav")]),
        ),
    );
    let Some(ServiceOrder::Play(playing)) = orders(&mut world).pop() else {
        panic!("not played");
    };
    world.handle(Input::Service(ServiceEvent::NotPlaying {
        play: playing.play,
        reason: "no such file".into(),
    }));
    assert_eq!(
        reason(&replies(&mut world).remove(0).1),
        "Failed to start media playback from file"
    );
}

#[test]
fn a_subscriber_gets_copies_until_it_leaves_or_the_call_ends() {
    let (mut world, mut proxy, [from_a, from_b]) = call();
    let ask = [
        ("from-tag", "a"),
        ("to-tag", "spy"),
        ("direction", "inside outside"),
    ];
    let offered = ok(proxy.ask(&mut world, "subscribe request", &of(&ask)));
    assert_eq!(text(&offered, "from-tag"), "a");
    assert!(text(&offered, "sdp").contains("a=sendonly"));
    assert_eq!(flow(&world, from_a).handling.copies, [None; 4]);
    let listen = body("10.2.0.9", 9000) + "a=recvonly\r\n";
    ok(proxy.ask(
        &mut world,
        "subscribe answer",
        &of(&[("to-tag", "spy"), ("sdp", &listen)]),
    ));
    let copy = flow(&world, from_a).handling.copies[0].expect("copied");
    let to_spy = flow(&world, copy).rtp.expect("an egress");
    assert_eq!(to_spy.destination, Some(addr("10.2.0.9:9000")));
    assert_eq!(to_spy.source.socket_addr(), media_of(&offered));
    let from_spy = flow(&world, to_spy.source).handling.media;
    assert_eq!(from_spy, Media::Drop, "it only listens");
    assert_eq!(flow(&world, from_b).handling.copies, [None; 4]);
    let told = ok(proxy.ask(&mut world, "query", &of(&[])));
    let listeners = inner(&told, &["tags", "a"]).get(b"subscribers");
    let Some(Value::List(listeners)) = listeners else {
        panic!("{listeners:?}");
    };
    assert_eq!(listeners.len(), 2);
    assert_eq!(text(inner(&told, &["tags", "spy"]), "tag"), "spy");
    ok(proxy.ask(&mut world, "unsubscribe", &of(&[("to-tag", "spy")])));
    assert_eq!(flow(&world, from_a).handling.copies, [None; 4]);
    assert!(world.flows.iter().all(|flows| !flows.contains_key(&copy)));

    // Everybody is subscribed to, and the call ends.
    let both = ok(proxy.ask(&mut world, "subscribe request", &of(&[("flags", "all")])));
    assert_eq!(text(&both, "sdp").matches("m=audio").count(), 2);
    let tag = text(&both, "to-tag");
    let listen = format!("{listen}m=audio 9100 {EVENTS}\r\na=recvonly\r\n");
    ok(proxy.ask(
        &mut world,
        "subscribe answer",
        &of(&[("to-tag", &tag), ("sdp", &listen)]),
    ));
    for (key, port) in [(from_a, 9000), (from_b, 9100)] {
        let copy = flow(&world, key).handling.copies[0].expect("copied");
        let to_spy = flow(&world, copy).rtp.expect("an egress");
        assert_eq!(to_spy.destination.map(|to| to.port()), Some(port));
    }
    ok(proxy.ask(
        &mut world,
        "delete",
        &of(&[("from-tag", "a"), ("delete-delay", "0")]),
    ));
    world.advance(REST);
    assert!(world.flows.iter().all(|flows| flows.is_empty()));
    let gauges = world.agent.gauges();
    assert_eq!((gauges.sessions, gauges.ports_in_use), (0, 0));
}

#[test]
fn what_is_not_configured_is_refused() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    proxy.call(&mut world, "x");
    let file: &[(&str, &str)] = &[("from-tag", "a"), ("file", "a.wav")];
    let refused: [(&str, &[(&str, &str)]); 3] = [
        ("start recording", &[]),
        ("start forwarding", &[]),
        ("play media", file),
    ];
    for (command, pairs) in refused {
        let reply: Dictionary = proxy.ask(&mut world, command, &of(pairs));
        assert!(!reason(&reply).is_empty(), "{command}");
    }
    assert_eq!(orders(&mut world), []);
}

#[test]
fn a_sound_that_is_stopped_before_it_begins_is_answered_for() {
    let (mut world, mut proxy, _) = call();
    let play = request("play media", &of(&[("from-tag", "b"), ("file", "a.wav")]));
    proxy.send(&mut world, &play);
    let Some(ServiceOrder::Play(playing)) = orders(&mut world).pop() else {
        panic!("not played");
    };
    ok(proxy.ask(&mut world, "stop media", &of(&[("from-tag", "b")])));
    let (play, duration) = (playing.play, Duration::from_secs(1));
    world.handle(Input::Service(ServiceEvent::Playing { play, duration }));
    assert_eq!(text(&replies(&mut world).remove(0).1, "result"), "ok");
}

#[test]
fn a_sound_ends_where_its_stream_does_and_nobody_waits_for_ever() {
    let (mut world, mut proxy, _) = call();
    let play = request("play media", &of(&[("from-tag", "b"), ("file", "a.wav")]));
    proxy.send(&mut world, &play);
    let Some(ServiceOrder::Play(playing)) = orders(&mut world).pop() else {
        panic!("not played");
    };
    world.advance(Duration::from_secs(11));
    assert_eq!(
        reason(&replies(&mut world).remove(0).1),
        "Failed to start media playback from file"
    );
    let other = body("10.1.0.2", 4000).replace("RTP/AVP 8 101", "RTP/AVP 0 101");
    let again = [("from-tag", "a"), ("to-tag", "b"), ("sdp", &*other)];
    ok(proxy.ask(&mut world, "offer", &of(&again)));
    let answer = body("10.2.0.2", 6000).replace("RTP/AVP 8 101", "RTP/AVP 0 101");
    let again = [("from-tag", "a"), ("to-tag", "b"), ("sdp", &*answer)];
    ok(proxy.ask(&mut world, "answer", &of(&again)));
    assert_eq!(
        orders(&mut world),
        [ServiceOrder::StopPlaying(playing.play)]
    );
}

#[test]
fn encrypted_media_is_blocked_where_it_cannot_be_silenced() {
    let (mut world, mut proxy) = (World::new(), Proxy::new());
    let secure = |address: &str, port: u16| body(address, port).replace("RTP/AVP", "RTP/SAVP");
    let (a, b) = (secure("10.1.0.2", 4000), secure("10.2.0.2", 6000));
    let tags = [("call-id", "x"), ("from-tag", "a")];
    ok(proxy.ask(&mut world, "offer", &[&tags[..], &[("sdp", &*a)]].concat()));
    let answer = [("to-tag", "b"), ("sdp", &*b)];
    let towards_a = media_of(&ok(proxy.ask(
        &mut world,
        "answer",
        &[&tags[..], &answer].concat(),
    )));
    let from_a = FlowKey {
        address: towards_a.ip(),
        port: towards_a.port(),
    };
    ok(proxy.ask(&mut world, "silence media", &of(&[("from-tag", "a")])));
    ok(proxy.ask(&mut world, "block DTMF", &of(&[("from-tag", "a")])));
    let handling = flow(&world, from_a).handling;
    assert_eq!(handling.media, Media::Block);
    assert!(handling.events.blocked && handling.events.types.contains(101));
}

#[test]
fn flags_within_flags_end_somewhere() {
    let (mut world, mut proxy, _) = call();
    let deep = "flags=".repeat(10_000) + "x";
    let before = world.agent.control_counters().unknown_flags;
    let asked = Dictionary::new()
        .with("command", "ping")
        .with("flags", vec![Value::from(&*deep)]);
    proxy.send(&mut world, &asked);
    assert_eq!(text(&replies(&mut world).remove(0).1, "result"), "pong");
    assert_eq!(world.agent.control_counters().unknown_flags, before + 1);
}
