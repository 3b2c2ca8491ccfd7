//! From one target to the next, and what the caller gets when none is left.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{CALLEE, OTHER_TRUNK, SECOND, TRANSACTION, World, addr};

fn dial(world: &mut World, name: &str) -> Phone {
    let mut caller = Phone::caller(name);
    caller.invite(world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    caller
}

/// The target at `at` says 503 to its INVITE.
fn out_of_service(world: &mut World, at: &str) {
    let invite = expect(world, addr(at), "INVITE");
    let callee = Phone::callee(at, &invite, "down");
    callee.respond_with(world, &invite, 503, "", "Retry-After: 3600");
    callee.expect(world, "ACK");
}

#[test]
fn a_call_goes_to_the_next_peer_and_the_next_trunk_with_its_media() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "wandering");
    let first = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &first, "down");
    callee.respond(&mut world, &first, 180, "");
    caller.expect(&mut world, "180");
    callee.respond(&mut world, &first, 503, "");
    callee.expect(&mut world, "ACK");
    // The second peer cannot be reached, the third target is over IPv6.
    let second = expect(&mut world, addr(SECOND), "INVITE");
    assert_ne!(
        header(&first, HeaderName::CallId),
        header(&second, HeaderName::CallId)
    );
    let callee = Phone::callee(SECOND, &second, "down");
    callee.respond(&mut world, &second, 503, "");
    callee.expect(&mut world, "ACK");
    let third = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    assert_eq!(media_of(&third).0, "fd02::1");
    assert_eq!(world.call().to_trunk.as_deref(), Some("others"));
    let callee = Phone::callee(OTHER_TRUNK, &third, "up");
    callee.respond(&mut world, &third, 200, &sdp("fd02::2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    let (address, port) = media_of(&answer);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    assert_eq!(egress.destination, Some(addr("[fd02::2]:6000")));
    caller.ack(&mut world, &answer, "");
    assert_eq!(world.agent.counters().failovers, 2);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn silence_and_network_errors_lead_on_too() {
    let mut world = World::new();
    world.unreachable.push(addr(SECOND));
    let mut caller = dial(&mut world, "silent");
    expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(Duration::from_secs(4));
    world.clear(addr(CALLEE));
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let callee = Phone::callee(OTHER_TRUNK, &invite, "up");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    assert_eq!(world.agent.counters().failovers, 2);
    world.assert_clean();
}

#[test]
fn the_last_failure_is_the_callers() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "nowhere");
    out_of_service(&mut world, CALLEE);
    out_of_service(&mut world, SECOND);
    expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    world.advance(TRANSACTION);
    world.clear(addr(OTHER_TRUNK));
    let lost = caller.expect(&mut world, "408");
    caller.ack(&mut world, &lost, "");
    world.assert_clean();

    let mut world = World::new();
    for target in [CALLEE, SECOND, OTHER_TRUNK] {
        world.unreachable.push(addr(target));
    }
    let mut caller = dial(&mut world, "unreachable");
    let lost = caller.expect(&mut world, "503");
    caller.ack(&mut world, &lost, "");
    world.assert_clean();
}

#[test]
fn a_target_that_is_out_of_service_does_not_take_us_along() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "down");
    for target in [CALLEE, SECOND, OTHER_TRUNK] {
        out_of_service(&mut world, target);
    }
    let failure = caller.expect(&mut world, "503");
    assert!(!failure.headers.contains(&HeaderName::RetryAfter));
    caller.ack(&mut world, &failure, "");
    world.assert_clean();
}

#[test]
fn an_answer_of_the_callee_is_not_second_guessed() {
    for (code, more, passed) in [
        (
            302,
            "Warning: 399 10.2.0.2 \"moved\"",
            "Warning: 399 far-end \"moved\"",
        ),
        (401, "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"", ""),
        (404, "Reason: Q.850;cause=1", ""),
        (405, "Allow: PUBLISH", "Allow: INVITE, ACK"),
        (415, "Accept: text/plain", ""),
        (420, "Unsupported: timer", ""),
        (486, "", ""),
        (501, "Retry-After: 7", ""),
        (603, "", ""),
    ] {
        let passed = if passed.is_empty() { more } else { passed };
        let mut world = World::new();
        let mut caller = dial(&mut world, "decided");
        let invite = expect(&mut world, addr(CALLEE), "INVITE");
        let callee = Phone::callee(CALLEE, &invite, "down");
        callee.respond_with(&mut world, &invite, code, "", more);
        callee.expect(&mut world, "ACK");
        let failure = caller.expect(&mut world, &code.to_string());
        let text = String::from_utf8(failure.to_bytes()).expect("text");
        assert!(text.contains(passed), "{passed} in {text}");
        assert_eq!(text.contains("Contact"), code == 302, "{text}");
        caller.ack(&mut world, &failure, "");
        assert_eq!(world.agent.counters().calls_failed[&code], 1);
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn a_cancel_ends_the_wandering() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "stopped");
    out_of_service(&mut world, CALLEE);
    let invite = expect(&mut world, addr(SECOND), "INVITE");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    assert_eq!(world.state(), CallState::Cancelling);
    let callee = Phone::callee(SECOND, &invite, "down");
    callee.respond(&mut world, &invite, 503, "");
    callee.expect(&mut world, "ACK");
    world.assert_quiet();
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}
