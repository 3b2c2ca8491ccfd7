//! 3xx: passed, or followed to where the operator lets calls go.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::{Redirect, Settings};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::world::{CALLEE, OTHER_TRUNK, OUTSIDE, SECOND, World, addr, settings};

fn following(redirect: Redirect) -> Settings {
    let mut settings = settings();
    for trunk in &mut settings.trunks {
        trunk.transfer.redirect = redirect;
    }
    settings
}

fn dial(world: &mut World, name: &str) -> Phone {
    let mut caller = Phone::caller(name);
    let more = "Diversion: <sip:first@carrier.example>;reason=user-busy\r\n";
    caller.invite_with(world, "+4930", &sdp("10.1.0.2", 4000), more);
    caller.expect(world, "100");
    caller
}

/// The target at `at` redirects its INVITE there; the INVITE.
fn redirect(world: &mut World, at: &str, contacts: &str) -> Message {
    let invite = expect(world, addr(at), "INVITE");
    let callee = Phone::callee(at, &invite, "moved");
    // The Contact that phones send comes first and leads nowhere: it is taken out.
    let mut response = invite.response(
        controlplane::sip::StatusCode::new(302).expect("a code"),
        Some("moved"),
    );
    for contact in contacts.lines() {
        response.headers.push(HeaderName::Contact, contact);
    }
    world.send(callee.at, addr(&via(&invite)), response.to_bytes());
    callee.expect(world, "ACK");
    invite
}

/// The listener of ours that an INVITE came from.
fn via(invite: &Message) -> String {
    let via = invite.via().expect("a Via");
    let ip = via.host.ip().expect("an address");
    std::net::SocketAddr::new(ip, via.port.unwrap_or(5060)).to_string()
}

/// The callee at `at` answers, the call is made and ended.
fn talk(world: &mut World, mut caller: Phone, at: &str, user: &str) -> Message {
    let invite = expect(world, addr(at), "INVITE");
    let uri = invite.uri().expect("a request");
    assert_eq!(uri.decoded_user().as_deref(), Some(user));
    let callee = Phone::callee(at, &invite, "found");
    let host = callee.at.ip().to_string();
    callee.respond(world, &invite, 200, &sdp(&host, 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    let (address, port) = media_of(&answer);
    let egress = world.flow(&address, port).rtp.expect("RTP");
    let destination = egress.destination.map(|to| to.port());
    assert_eq!(destination, Some(6000));
    caller.ack(world, &answer, "");
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
    invite
}

#[test]
fn by_default_the_caller_gets_it() {
    let mut world = World::new();
    let mut caller = dial(&mut world, "passed");
    redirect(&mut world, CALLEE, "<sip:elsewhere@10.2.0.3>");
    let response = caller.expect(&mut world, "302");
    assert!(header(&response, HeaderName::Contact).contains("elsewhere"));
    caller.ack(&mut world, &response, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_contact_at_a_peer_of_the_route_is_followed_and_the_best_comes_first() {
    let mut world = World::with(following(Redirect::Follow), 1);
    let caller = dial(&mut world, "followed");
    let contacts = "<sip:worse@10.2.0.2:5060>;q=0.3, <sip:+4940@10.2.0.3:5060>;q=0.9";
    let first = redirect(&mut world, CALLEE, contacts);
    let second = talk(&mut world, caller, SECOND, "+4940");
    for name in [HeaderName::CallId, HeaderName::From] {
        assert_ne!(header(&first, name.clone()), header(&second, name));
    }
    assert!(header(&second, HeaderName::Diversion).contains("first@carrier.example"));
    assert!(header(&second, HeaderName::To).contains("+4930"));
    assert_eq!(world.agent.counters().redirections, 1);
}

#[test]
fn a_contact_at_us_is_routed_as_if_the_caller_had_dialled_it() {
    let mut world = World::with(following(Redirect::FollowAloud), 1);
    let caller = dial(&mut world, "routed");
    redirect(&mut world, CALLEE, &format!("<sip:9001@{OUTSIDE}>"));
    let forwarded = caller.expect(&mut world, "181");
    assert!(forwarded.to().expect("To").tag().is_some());
    talk(&mut world, caller, CALLEE, "9001");
}

#[test]
fn a_telephone_number_is_routed_and_a_failure_leads_to_the_next_contact() {
    let mut world = World::with(following(Redirect::Follow), 1);
    let caller = dial(&mut world, "number");
    let contacts = "<tel:9002>, <sip:reception@[fd02::2]:5060>;q=0.1";
    redirect(&mut world, CALLEE, contacts);
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "busy");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    // Longer than failover may take: who rings is somebody.
    world.advance(Duration::from_secs(30));
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    talk(&mut world, caller, OTHER_TRUNK, "reception");
}

#[test]
fn what_is_no_peer_of_the_route_is_not_called() {
    let mut world = World::with(following(Redirect::Follow), 1);
    let mut caller = dial(&mut world, "fraud");
    let contacts = "<sip:+1900@203.0.113.9>\n<sip:+1900@premium.example>\n<sips:a@10.2.0.3>\n\
                    <sip:404@10.2.0.1:5060>\n<sip:alice@10.1.0.2:5060>\n<mailto:a@b.example>";
    redirect(&mut world, CALLEE, contacts);
    let response = caller.expect(&mut world, "480");
    assert!(!response.headers.contains(&HeaderName::Contact));
    caller.ack(&mut world, &response, "");
    let dropped = &world.agent.counters().messages_dropped;
    assert_eq!(dropped.get("contact_not_followed"), Some(&6));
    world.assert_quiet();
    world.assert_clean();
    let record = world.record();
    assert_eq!(record.release.cause, "redirected");
}

#[test]
fn rings_of_redirections_end() {
    let mut world = World::with(following(Redirect::Follow), 1);
    let mut caller = dial(&mut world, "ring");
    redirect(&mut world, CALLEE, "<sip:+4930@10.2.0.3:5060>");
    redirect(&mut world, SECOND, "<sip:+4930@10.2.0.2:5060>");
    let response = caller.expect(&mut world, "480");
    caller.ack(&mut world, &response, "");
    // Each time another user: the depth ends it.
    let mut caller = dial(&mut world, "spiral");
    for turn in 0..=5 {
        let contact = format!("<sip:user{turn}@10.2.0.2:5060>");
        redirect(&mut world, CALLEE, &contact);
    }
    let response = caller.expect(&mut world, "480");
    caller.ack(&mut world, &response, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_followed_call_can_be_cancelled_and_a_silent_contact_is_given_up() {
    let mut world = World::with(following(Redirect::Follow), 1);
    let mut caller = dial(&mut world, "cancelled");
    redirect(
        &mut world,
        CALLEE,
        "<sip:x@10.2.0.3:5060>, <sip:y@[fd02::2]:5060>",
    );
    expect(&mut world, addr(SECOND), "INVITE");
    world.advance(Duration::from_secs(5));
    world.clear(addr(SECOND));
    let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    world.clear(addr(OTHER_TRUNK));
    let callee = Phone::callee(OTHER_TRUNK, &invite, "rings");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    assert_eq!(world.state(), CallState::Ringing);
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let response = caller.expect(&mut world, "487");
    caller.ack(&mut world, &response, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &invite, 487, "");
    callee.expect(&mut world, "ACK");
    world.assert_clean();
}
