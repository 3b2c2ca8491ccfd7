//! The plain call, and what it must and must not show to either side.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::Trust;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{CALLEE, CALLER, INSIDE, OUTSIDE, World, addr, settings};

/// A call that is up: the caller, and the callee.
pub(crate) fn established(world: &mut World, name: &str) -> (Phone, Phone) {
    let mut caller = Phone::caller(name);
    caller.invite(world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, &format!("to-{name}"));
    callee.respond(world, &invite, 180, "");
    caller.expect(world, "180");
    callee.respond(world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    assert!(
        world
            .agent
            .calls()
            .iter()
            .any(|call| call.state == CallState::Established)
    );
    (caller, callee)
}

#[test]
fn a_call_is_set_up_and_torn_down() {
    let mut world = World::new();
    let mut caller = Phone::caller("plain");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    assert_eq!(world.state(), CallState::Calling);

    // The flows that the INVITE announces are there before it leaves.
    let (address, towards_callee) = media_of(&invite);
    assert_eq!(address, "10.2.0.1");
    world.flow("10.2.0.1", towards_callee);

    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 180, "");
    let ringing = caller.expect(&mut world, "180");
    assert_eq!(world.state(), CallState::Ringing);
    assert!(ringing.body.is_empty());

    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let ack = callee.expect(&mut world, "ACK");
    assert_eq!(
        ack.uri().expect("a request").as_str(),
        format!("sip:ua@{CALLEE}")
    );
    let answer = caller.expect(&mut world, "200");
    assert_eq!(world.state(), CallState::Answered);
    let (address, towards_caller) = media_of(&answer);
    assert_eq!(address, "10.1.0.1");
    let egress = world.flow("10.1.0.1", towards_caller).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.2.0.2:6000")));
    assert_eq!(
        egress.source.socket_addr(),
        addr(&format!("10.2.0.1:{towards_callee}"))
    );
    let egress = world.flow("10.2.0.1", towards_callee).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("10.1.0.2:4000")));
    assert_eq!(
        header(&ringing, HeaderName::To),
        header(&answer, HeaderName::To)
    );

    caller.ack(&mut world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    world.advance(Duration::from_secs(20));
    world.assert_quiet();

    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    assert_eq!(world.state(), CallState::Ending);
    callee.take_bye(&mut world);
    world.assert_quiet();
    let counters = world.agent.counters();
    assert_eq!((counters.calls_offered, counters.calls_answered), (1, 1));
    assert_eq!(counters.calls_ended["caller"], 1);
    world.assert_clean();
}

#[test]
fn neither_side_sees_the_other_ones_names_or_addresses() {
    let mut settings = settings();
    for trunk in &mut settings.trunks {
        trunk.normalisation.trust = Trust::Trusted;
    }
    let mut world = World::with(settings, 1);
    let mut caller = Phone::caller("hidden");
    let more = "Record-Route: <sip:10.1.0.9;lr>\r\n\
        P-Asserted-Identity: \"A\" <tel:+49301>\r\n\
        User-Agent: secret/1\r\nOrganization:  two  spaces\r\nX-Carrier: 7\r\nX-Carrier: 8\r\n\
        Supported: 100rel, timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    caller.invite_with(&mut world, "+4930;npdi", &sdp("10.1.0.2", 4000), more);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let text = String::from_utf8(invite.to_bytes()).expect("text");
    for hidden in [
        "10.1.0.",
        "from-hidden",
        "secret",
        "Record-Route",
        "Session-Expires",
    ] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for shown in [
        &format!("INVITE sip:+4930;npdi@{CALLEE} SIP/2.0\r\n"),
        "From: \"Alice\" <sip:alice@10.2.0.1:5060>;tag=",
        &format!("To: <sip:+4930;npdi@{CALLEE}>\r\n"),
        "Max-Forwards: 69\r\n",
        "CSeq: 1 INVITE\r\n",
        &format!("Contact: <sip:{OUTSIDE}>\r\n"),
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, NOTIFY, PRACK, UPDATE\r\n",
        "User-Agent: tandem\r\n",
        "P-Asserted-Identity: \"A\" <tel:+49301>\r\n",
        "Organization:  two  spaces\r\n",
        "X-Carrier: 7\r\nX-Carrier: 8\r\n",
        "Supported: timer\r\n",
    ] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    let callee = Phone::callee(CALLEE, &invite, "callee");
    let more = "Server: secret/2\nRecord-Route: <sip:10.2.0.9;lr>\nX-Answer: yes";
    callee.respond_with(&mut world, &invite, 200, &sdp("10.2.0.2", 6000), more);
    // The callee's proxy stays in the dialog.
    let ack = expect(&mut world, addr("10.2.0.9:5060"), "ACK");
    assert_eq!(header(&ack, HeaderName::Route), "<sip:10.2.0.9;lr>");
    let answer = caller.expect(&mut world, "200");
    let text = String::from_utf8(answer.to_bytes()).expect("text");
    for hidden in ["10.2.0.", "tag=callee", "secret"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for shown in [
        "Record-Route: <sip:10.1.0.9;lr>\r\n",
        &format!("Contact: <sip:{INSIDE}>\r\n"),
        "Server: tandem\r\n",
        "x-answer: yes\r\n",
    ] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    caller.ack(&mut world, &answer, "");
    // And the caller's proxy in the caller's.
    let mut from_callee = callee.clone();
    from_callee.request(&mut world, "BYE", "");
    expect(&mut world, addr("10.2.0.2:5060"), "200");
    let bye = expect(&mut world, addr("10.1.0.9:5060"), "BYE");
    assert_eq!(
        bye.uri().expect("a request").as_str(),
        format!("sip:ua@{CALLER}")
    );
    caller.respond(&mut world, &bye, 200, "");
    world.assert_clean();
}

#[test]
fn the_callers_credentials_go_with_the_ack_too() {
    let mut world = World::new();
    let mut caller = Phone::caller("digest");
    let credentials =
        "Digest username=\"a\", realm=\"x\", nonce=\"y\", uri=\"sip:z\", response=\"0\"";
    let more = format!("Proxy-Authorization: {credentials}\r\n");
    caller.invite_with(&mut world, "900", &sdp("10.1.0.2", 4000), &more);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let ack = callee.expect(&mut world, "ACK");
    for message in [invite, ack] {
        let passed = header(&message, HeaderName::ProxyAuthorization);
        assert_eq!(passed, credentials, "{:?}", message.start);
    }
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let bye = callee.take_bye(&mut world);
    assert!(!bye.headers.contains(&HeaderName::ProxyAuthorization));
    world.assert_clean();
}
