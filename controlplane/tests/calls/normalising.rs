//! Calls between trunks whose messages differ: numbers, names, headers, codecs and causes on their way.

use controlplane::settings::{
    CallerId, CodecName, CodecRules, HeaderRules, Pattern, Settings, Trust, UserRule,
};
use controlplane::sip::{HeaderName, Message};
use regex::Regex;

use crate::phone::{Phone, expect, header, sdp};
use crate::world::{CALLEE, SECOND, World, addr, settings};

/// Trunk 0 calls, trunk 1 is called.
fn world(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    change(&mut settings);
    World::with(settings, 1)
}

fn rule(pattern: &str, replacement: &str) -> UserRule {
    let regex = Regex::new(pattern).expect("a pattern");
    UserRule {
        pattern: Pattern::whole(&regex).expect("a pattern"),
        replacement: replacement.to_owned(),
    }
}

fn codec(name: &str) -> CodecName {
    CodecName {
        name: name.to_ascii_lowercase(),
        rate: None,
    }
}

/// The INVITE that the callee gets, and both ends.
fn call(world: &mut World, user: &str, body: &str, more: &str) -> (Phone, Phone, Message) {
    let mut caller = Phone::caller("normal");
    caller.invite_with(world, user, body, more);
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "to");
    (caller, callee, invite)
}

/// The callee answers, and the caller hangs up: whatever was changed, both ends agree.
fn complete(world: &mut World, caller: &mut Phone, callee: &Phone, invite: &Message, body: &str) {
    callee.respond(world, invite, 200, body);
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_number_is_changed_before_the_route_is_chosen_and_before_it_leaves() {
    let mut world = world(|settings| {
        settings.trunks[0].normalisation.inbound.request_user = vec![rule("00(49.*)", "+$1")];
        settings.trunks[0].normalisation.inbound.from_user = vec![rule("alice", "+4930555")];
        settings.routes[0].user = Some(Regex::new("00.*").expect("a pattern"));
        settings.trunks[1].normalisation.outbound.request_user = vec![rule("[+]49(.*)", "0$1")];
        settings.trunks[1].normalisation.outbound.to_user = vec![rule("0049(.*)", "0$1")];
    });
    let (mut caller, callee, invite) = call(&mut world, "004930123", &sdp("10.1.0.2", 4000), "");
    assert_eq!(
        invite.uri().and_then(|uri| uri.decoded_user()).as_deref(),
        Some("030123")
    );
    assert_eq!(
        invite
            .to()
            .ok()
            .and_then(|to| to.uri.decoded_user())
            .as_deref(),
        Some("030123")
    );
    let from = invite.from().expect("a From");
    assert_eq!(from.uri.decoded_user().as_deref(), Some("+4930555"));
    complete(
        &mut world,
        &mut caller,
        &callee,
        &invite,
        &sdp("10.2.0.2", 5000),
    );
}

#[test]
fn a_withheld_caller_is_named_to_nobody_that_is_not_trusted() {
    const WISH: &str = "P-Asserted-Identity: \"A\" <tel:+49301>\r\nPrivacy: id\r\n";
    for (trust, names) in [(Trust::Trusted, true), (Trust::Untrusted, false)] {
        let mut world = world(|settings| {
            settings.trunks[0].normalisation.trust = Trust::Trusted;
            settings.trunks[1].normalisation.trust = trust;
        });
        let (mut caller, mut callee, invite) = call(&mut world, "1", &sdp("10.1.0.2", 4000), WISH);
        let text = String::from_utf8(invite.to_bytes()).expect("text");
        assert_eq!(text.contains("+49301"), names, "{text}");
        assert_eq!(text.contains("Privacy: id"), names, "{text}");
        assert_eq!(text.to_lowercase().contains("alice"), names, "{text}");
        let from = header(&invite, HeaderName::From);
        assert_eq!(
            from.contains("<sip:anonymous@anonymous.invalid>"),
            !names,
            "{from}"
        );
        callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 5000));
        callee.expect(&mut world, "ACK");
        let answer = caller.expect(&mut world, "200");
        caller.ack(&mut world, &answer, "");
        // The dialog goes by the From that the callee has seen.
        callee.request(&mut world, "BYE", "");
        callee.expect(&mut world, "200");
        caller.take_bye(&mut world);
        world.assert_clean();
    }
}

#[test]
fn a_trunk_may_withhold_every_caller() {
    let mut world = world(|settings| {
        settings.trunks[1].normalisation.outbound.caller_id = CallerId::Withhold;
    });
    let (mut caller, callee, invite) = call(&mut world, "1", &sdp("10.1.0.2", 4000), "");
    assert!(
        header(&invite, HeaderName::From)
            .starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=")
    );
    complete(
        &mut world,
        &mut caller,
        &callee,
        &invite,
        &sdp("10.2.0.2", 5000),
    );
}

#[test]
fn headers_follow_the_rules_in_requests_and_responses() {
    let name = |text: &str| HeaderName::from(text);
    let mut world = world(|settings| {
        settings.trunks[1].normalisation.outbound.headers = HeaderRules {
            allow: vec![name("P-Charging-Function-Addresses")],
            deny: vec![name("X-Secret"), name("User-Agent")],
            add: vec![(name("X-Carrier"), "we".to_owned())],
            ..HeaderRules::default()
        };
        settings.trunks[1].normalisation.inbound.headers.deny = vec![name("X-Theirs")];
    });
    let more = "P-Charging-Function-Addresses: ccf=1\r\nP-Other: 1\r\nX-Secret: 1\r\nX-Fine: 1\r\n";
    let (mut caller, callee, invite) = call(&mut world, "1", &sdp("10.1.0.2", 4000), more);
    for (wanted, there) in [
        ("P-Charging-Function-Addresses", true),
        ("P-Other", false),
        ("X-Secret", false),
        ("X-Fine", true),
        ("X-Carrier", true),
        ("User-Agent", false),
    ] {
        assert_eq!(invite.headers.contains(&name(wanted)), there, "{wanted}");
    }
    callee.respond_with(&mut world, &invite, 180, "", "X-Theirs: 1\nX-Fine: 2");
    let ringing = caller.expect(&mut world, "180");
    assert!(
        !ringing.headers.contains(&name("X-Theirs")) && ringing.headers.contains(&name("X-Fine"))
    );
    complete(
        &mut world,
        &mut caller,
        &callee,
        &invite,
        &sdp("10.2.0.2", 5000),
    );
}

fn offer(formats: &str) -> String {
    sdp("10.1.0.2", 4000).replace("RTP/AVP 8", &format!("RTP/AVP {formats}"))
        + "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=fmtp:18 annexb=no\r\n"
}

#[test]
fn codecs_are_filtered_alike_in_offer_and_answer() {
    let mut world = world(|settings| {
        settings.trunks[0].normalisation.codecs = CodecRules {
            deny: vec![codec("G729")],
            ..CodecRules::default()
        }
        .into();
        settings.trunks[1].normalisation.codecs = CodecRules {
            prefer: vec![codec("PCMU")],
            ..CodecRules::default()
        }
        .into();
    });
    let (mut caller, callee, invite) = call(&mut world, "1", &offer("18 8 0 101"), "");
    let body = String::from_utf8(invite.body.clone()).expect("text");
    assert!(body.contains(" RTP/AVP 0 8 101\r\n"), "{body}");
    assert!(
        body.contains("a=fmtp:101 0-16") && !body.contains("annexb"),
        "{body}"
    );
    // A callee that answers with what it was not offered is not believed.
    let answer = sdp("10.2.0.2", 5000).replace("RTP/AVP 8", "RTP/AVP 18 8");
    callee.respond(&mut world, &invite, 200, &answer);
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    let body = String::from_utf8(answer.body.clone()).expect("text");
    assert!(body.contains(" RTP/AVP 8\r\n"), "{body}");
    caller.ack(&mut world, &answer, "");
    // A re-INVITE is filtered as well.
    caller.request(&mut world, "INVITE", &offer("18 8 101"));
    caller.expect(&mut world, "100");
    let again = callee.expect(&mut world, "INVITE");
    let body = String::from_utf8(again.body.clone()).expect("text");
    assert!(body.contains(" RTP/AVP 8 101\r\n"), "{body}");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 5000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_call_without_a_codec_left_is_488() {
    let mut world = world(|settings| {
        settings.trunks[0].normalisation.codecs = CodecRules {
            allow: vec![codec("opus")],
            ..CodecRules::default()
        }
        .into();
    });
    let mut caller = Phone::caller("mute");
    caller.invite(&mut world, "1", &offer("8 101"));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "488");
    caller.ack(&mut world, &refused, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn failures_are_understood_and_explained_by_cause_and_code() {
    use controlplane::settings::SayCause;
    let mut world = world(|settings| {
        let callees = &mut settings.trunks[1].normalisation.inbound;
        callees.causes.to_code = [(34, 503)].into();
        callees.responses = [(604, 404)].into();
        let callers = &mut settings.trunks[0].normalisation.outbound;
        callers.causes.say_cause = SayCause::WhereMissing;
        callers.responses = [(404, 480)].into();
    });
    let (mut caller, callee, invite) = call(&mut world, "1", &sdp("10.1.0.2", 4000), "");
    // No circuit: as good as 503, so that the next peer is tried.
    callee.respond_with(&mut world, &invite, 486, "", "Reason: Q.850;cause=34");
    callee.expect(&mut world, "ACK");
    let second = expect(&mut world, addr(SECOND), "INVITE");
    let callee = Phone::callee(SECOND, &second, "two");
    callee.respond(&mut world, &second, 604, "");
    callee.expect(&mut world, "ACK");
    let refused = caller.expect(&mut world, "480");
    assert_eq!(header(&refused, HeaderName::Reason), "Q.850;cause=1");
    caller.ack(&mut world, &refused, "");
    // No route at all is explained too.
    let mut caller = Phone::new(CALLEE, crate::world::OUTSIDE, "lost");
    caller.invite(&mut world, "nobody", &sdp("10.2.0.2", 5000));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "404");
    assert_eq!(header(&refused, HeaderName::Reason), "");
    caller.ack(&mut world, &refused, "");
    world.assert_clean();
}

#[test]
fn a_bye_says_a_cause_where_the_trunk_wants_one() {
    use controlplane::settings::SayCause;
    let mut world = world(|settings| {
        let callees = &mut settings.trunks[1].normalisation.outbound;
        callees.causes.say_cause = SayCause::WhereMissing;
    });
    let (mut caller, callee, invite) = call(&mut world, "1", &sdp("10.1.0.2", 4000), "");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 5000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let bye = callee.take_bye(&mut world);
    assert_eq!(header(&bye, HeaderName::Reason), "Q.850;cause=16");
    world.assert_clean();
}
