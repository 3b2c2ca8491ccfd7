//! What never becomes a call, and what the sender is told.

use std::time::Duration;

use controlplane::settings::{Route, TrunkId};
use controlplane::sip::HeaderName;
use regex::Regex;

use crate::phone::{Phone, expect, header, sdp};
use crate::ringing::calling;
use crate::world::{CALLEE, CALLER, INSIDE, OUTSIDE, TRANSACTION, World, addr, settings};

/// What an INVITE to `user` with these headers and this body is answered with.
fn refused(user: &str, more: &str, body: &str, code: &str) -> controlplane::sip::Message {
    let mut world = World::new();
    let mut caller = Phone::caller("refused");
    caller.invite_with(&mut world, user, body, more);
    caller.expect(&mut world, "100");
    let answer = caller.expect(&mut world, code);
    assert!(
        header(&answer, HeaderName::To).contains("tag="),
        "{answer:?}"
    );
    caller.ack(&mut world, &answer, "");
    world.assert_quiet();
    assert_eq!(world.agent.gauges().sessions, 0);
    let counters = world.agent.counters();
    let number: u16 = code.parse().expect("a code");
    let counted = counters
        .requests_refused
        .get(&number)
        .or(counters.calls_failed.get(&number));
    assert_eq!(counted, Some(&1));
    world.assert_clean();
    answer
}

#[test]
fn what_an_invite_is_refused_for() {
    let offer = sdp("10.1.0.2", 4000);
    refused("404", "", &offer, "404");
    refused("900", "Max-Forwards: 0\r\n", &offer, "483");
    let bad = refused("900", "Require: timer, 100rel, foo, bar\r\n", &offer, "420");
    assert_eq!(
        bad.headers.values(&HeaderName::Unsupported),
        [b"foo".to_vec(), b"bar".to_vec()]
    );
    refused("900", "Proxy-Require: bar\r\n", &offer, "420");
    let body = refused(
        "900",
        "Content-Type: multipart/mixed;boundary=x\r\n",
        "--x",
        "415",
    );
    assert_eq!(header(&body, HeaderName::Accept), "application/sdp");
    let coded = refused("900", "Content-Encoding: gzip\r\n", &offer, "415");
    assert_eq!(header(&coded, HeaderName::AcceptEncoding), "identity");
    refused("900", "", "this is no description", "400");
    refused("900", "Record-Route: <sip:10.1.0.9;lr\r\n", &offer, "400");
    let tcptl = offer.replace("m=audio 4000 RTP/AVP 8", "m=image 4000 tcptl t38");
    refused("900", "", &tcptl, "488");
}

#[test]
fn only_sip_and_tel_addresses_can_be_called() {
    for (uri, code) in [
        ("sips:900@10.1.0.1", "416"),
        ("mailto:900@10.1.0.1", "416"),
        ("tel:+49-30-900;phone-context=x", "100"),
    ] {
        let mut world = World::new();
        let mut caller = Phone::caller("schemes");
        caller.target = uri.into();
        caller.peer = format!("<{uri}>");
        caller.request(&mut world, "INVITE", &sdp("10.1.0.2", 4000));
        caller.expect(&mut world, "100");
        if code != "100" {
            let answer = caller.expect(&mut world, code);
            caller.ack(&mut world, &answer, "");
            continue;
        }
        let invite = expect(&mut world, addr(CALLEE), "INVITE");
        let called = invite.uri().expect("a request").as_str().to_owned();
        assert!(
            called.ends_with(&format!("@{CALLEE};user=phone")),
            "{called}"
        );
    }
}

#[test]
fn a_stranger_gets_a_403_without_state_and_not_too_many() {
    let mut world = World::new();
    let stranger = |name: &str| Phone::new("10.1.0.66:5060", INSIDE, name);
    for count in 0..15 {
        let mut scanner = stranger(&format!("scan-{count}"));
        scanner.invite(&mut world, "900", &sdp("10.1.0.66", 4000));
        if count < 10 {
            let forbidden = scanner.expect(&mut world, "403");
            scanner.ack(&mut world, &forbidden, "");
        }
        scanner.expect_nothing(&mut world);
    }
    assert_eq!(world.agent.gauges(), Default::default(), "no state at all");
    let counters = world.agent.counters();
    assert_eq!(counters.requests_refused[&403], 10);
    assert_eq!(counters.messages_dropped["stranger"], 5);
    assert_eq!(counters.messages_dropped["stranger_ack"], 10);
    world.advance(Duration::from_secs(1));
    let mut scanner = stranger("later");
    scanner.target = "sip:10.1.0.1".into();
    scanner.peer = "<sip:10.1.0.1>".into();
    scanner.request(&mut world, "OPTIONS", "");
    scanner.expect(&mut world, "403");
    // Through a NAT: back to where it came from, which the answer names (RFC 3581).
    let translated = "OPTIONS sip:10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.0.9:5060;rport;branch=z9hG4bKn\r\n\
        From: <sip:x@y>;tag=1\r\nTo: <sip:10.1.0.1>\r\nCall-ID: nat\r\nCSeq: 1 OPTIONS\r\n\r\n";
    let outside = addr("10.1.0.77:40001");
    world.send(outside, addr(INSIDE), translated.into());
    let answer = expect(&mut world, outside, "403");
    assert_eq!(
        header(&answer, HeaderName::Via),
        "SIP/2.0/UDP 192.168.0.9:5060;rport=40001;branch=z9hG4bKn;received=10.1.0.77"
    );
    // Without what every request has, nobody would know the answer for its own.
    let bare = translated.replace("Call-ID: nat\r\n", "");
    world.send(outside, addr(INSIDE), bare.into());
    assert_eq!(world.next(outside), None);
    world.send(addr("10.1.0.66:5060"), addr(INSIDE), b"garbage".to_vec());
    assert_eq!(
        world.agent.counters().messages_dropped["stranger_not_sip"],
        1
    );
}

#[test]
fn a_trunk_is_known_only_at_its_own_listener() {
    let mut world = World::new();
    let mut caller = Phone::new(CALLER, OUTSIDE, "wrong-door");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "403");
    world.assert_clean();
}

#[test]
fn methods_outside_dialogs() {
    for (method, code) in [
        ("REFER", "405"),
        ("NOTIFY", "481"),
        ("SUBSCRIBE", "405"),
        ("MESSAGE", "405"),
        ("PRACK", "481"),
        ("REGISTER", "405"),
        ("PUBLISH", "405"),
        ("DANCE", "501"),
        ("BYE", "481"),
        ("INFO", "481"),
        ("UPDATE", "481"),
    ] {
        let mut world = World::new();
        let mut caller = Phone::caller("methods");
        caller.target = format!("sip:900@{INSIDE}");
        caller.peer = format!("<sip:900@{INSIDE}>");
        caller.request(&mut world, method, "");
        let answer = caller.expect(&mut world, code);
        let allows = header(&answer, HeaderName::Allow);
        assert_eq!(allows.contains("INVITE"), code != "481", "{method}");
        // A tag of a dialog that never was.
        caller.peer = format!("<sip:900@{INSIDE}>;tag=nowhere");
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "481");
        world.assert_clean();
    }
}

#[test]
fn options_say_what_we_take() {
    let mut world = World::new();
    let mut caller = Phone::caller("options");
    caller.target = format!("sip:{INSIDE}");
    caller.peer = format!("<sip:{INSIDE}>");
    caller.request(&mut world, "OPTIONS", "");
    let answer = caller.expect(&mut world, "200");
    assert_eq!(header(&answer, HeaderName::Allow), "INVITE");
    assert_eq!(answer.headers.values(&HeaderName::Allow).len(), 10);
    assert_eq!(header(&answer, HeaderName::Accept), "application/sdp");
    for option in ["timer", "histinfo", "uui", "100rel"] {
        assert!(answer.lists(&HeaderName::Supported, option), "{option}");
    }
    assert_eq!(
        header(&answer, HeaderName::Contact),
        format!("<sip:{INSIDE}>")
    );
    world.assert_clean();
}

#[test]
fn calls_are_bounded_and_so_are_sessions_and_ports() {
    let mut few = settings();
    few.limits.calls = 1;
    let mut world = World::with(few, 1);
    let (mut first, invite) = calling(&mut world, "first");
    let mut second = Phone::caller("second");
    second.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    second.expect(&mut world, "100");
    let full = second.expect(&mut world, "503");
    assert!(!header(&full, HeaderName::RetryAfter).is_empty());
    second.ack(&mut world, &full, "");
    second.peer = format!("<sip:{INSIDE}>");
    second.request(&mut world, "OPTIONS", "");
    second.expect(&mut world, "503");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = first.expect(&mut world, "486");
    first.ack(&mut world, &busy, "");
    world.assert_clean();

    let mut narrow = settings();
    for group in &mut narrow.media_groups {
        group.ports = (20_000, 20_001);
    }
    let mut world = World::with(narrow, 1);
    let (mut first, invite) = calling(&mut world, "one");
    second = Phone::caller("two");
    second.invite(&mut world, "900", &sdp("10.1.0.2", 4002));
    second.expect(&mut world, "100");
    let full = second.expect(&mut world, "503");
    second.ack(&mut world, &full, "");
    let counters = world.agent.counters();
    assert_eq!(counters.sessions_refused["exhausted"], 1);
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = first.expect(&mut world, "486");
    first.ack(&mut world, &busy, "");
    world.assert_clean();
}

#[test]
fn our_own_invite_that_proxies_send_back_is_a_loop_unless_it_was_forwarded() {
    for (user, code) in [("900", "482"), ("back", "100")] {
        let mut world = World::new();
        let (mut caller, invite) = calling(&mut world, "round");
        let text = String::from_utf8(invite.to_bytes()).expect("text");
        // A proxy at the callee's address sends it to us: its Via on top, a hop less.
        let start = format!("INVITE sip:900@{CALLEE} SIP/2.0\r\n");
        let back = text
            .replace(
                &start,
                &format!(
                    "INVITE sip:{user}@{OUTSIDE} SIP/2.0\r\n\
                    Via: SIP/2.0/UDP {CALLEE};branch=z9hG4bKproxy\r\n"
                ),
            )
            .replace("Max-Forwards: 69", "Max-Forwards: 68");
        assert_ne!(text, back);
        world.send(addr(CALLEE), addr(OUTSIDE), back.into_bytes());
        let mut answer = world.next(addr(CALLEE)).expect("an answer");
        if code == "482" && answer.code().is_some_and(|code| code.is_provisional()) {
            answer = world.next(addr(CALLEE)).expect("a final answer");
        }
        assert_eq!(
            answer.code().map(|code| code.to_string()).as_deref(),
            Some(code)
        );
        if code == "100" {
            caller.expect(&mut world, "INVITE");
        }
        caller.cancel(&mut world);
    }
}

#[test]
fn an_invite_that_passes_the_same_way_again_is_a_loop_even_after_its_call() {
    // Users "hairpin" are called at the trunk that calls them.
    let mut hairpin = settings();
    hairpin.routes.insert(
        0,
        Route::new(
            Some(TrunkId(0)),
            Some(Regex::new("hairpin").expect("a pattern")),
            [TrunkId(0)],
        ),
    );
    let mut world = World::with(hairpin, 1);
    let mut caller = Phone::caller("round");
    caller.invite(&mut world, "hairpin", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let mut looped = expect(&mut world, addr(CALLER), "INVITE");
    looped.headers.push_front(
        HeaderName::Via,
        format!("SIP/2.0/UDP {CALLER};branch=z9hG4bKproxy"),
    );
    let looped = looped.to_bytes();
    // No transaction: the first answer is the last.
    world.send(addr(CALLER), addr(INSIDE), looped.clone());
    expect(&mut world, addr(CALLER), "482");
    caller.cancel(&mut world);
    world.advance(TRANSACTION);
    world.clear(addr(CALLER));
    assert_eq!(world.agent.calls(), []);
    world.send(addr(CALLER), addr(INSIDE), looped);
    expect(&mut world, addr(CALLER), "482");
    world.assert_quiet();
    assert_eq!(world.agent.counters().transactions.looped, 2);
    world.assert_clean();
}

#[test]
fn the_same_invite_by_two_ways_is_one_call() {
    let mut world = World::new();
    let (caller, _) = calling(&mut world, "merged");
    let text = format!(
        "INVITE sip:900@{INSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bKother-way\r\n\
        Max-Forwards: 70\r\nFrom: {}\r\nTo: <sip:900@{INSIDE}>\r\nCall-ID: merged\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:ua@{CALLER}>\r\nContent-Length: 0\r\n\r\n",
        caller.own
    );
    world.send(addr(CALLER), addr(INSIDE), text.into_bytes());
    caller.expect(&mut world, "482");
    assert_eq!(world.agent.calls().len(), 1);
}
