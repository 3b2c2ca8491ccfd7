//! Our registrations at trunks, and calls by way of an outbound proxy.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::registration::State;
use controlplane::settings::{Login, Registration, Secret};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, expect, header, sdp};
use crate::world::{CALLEE, OUTSIDE, SECOND, World, addr, settings};

const PROXY: &str = "10.2.0.9:5060";

fn register(world: &mut World, at: &str) -> (Phone, Message) {
    let request = expect(world, addr(at), "REGISTER");
    (Phone::callee(at, &request, "registrar"), request)
}

/// One address of record at the callees.
fn world() -> World {
    let mut settings = settings();
    settings.trunks[1].logins = vec![Login {
        realm: None,
        user: "tandem".into(),
        secret: Secret::Password("hush".into()),
    }];
    settings.trunks[1].registrations = vec![Registration {
        user: "+4930".into(),
        domain: "carrier.example".into(),
        registrar: None,
        expires: Duration::from_secs(3600),
        login: None,
    }];
    let mut world = World::with(settings, 1);
    world.handle(Input::Time);
    world
}

#[test]
fn a_registration_is_challenged_kept_and_taken_back_on_drain() {
    let mut world = world();
    let (registrar, request) = register(&mut world, CALLEE);
    assert_eq!(
        header(&request, HeaderName::Contact),
        format!("<sip:+4930@{OUTSIDE}>")
    );
    let challenge = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\"";
    registrar.respond_with(&mut world, &request, 401, "", challenge);
    let (_, request) = register(&mut world, CALLEE);
    assert!(header(&request, HeaderName::Authorization).contains("username=\"tandem\""));
    accept(&mut world, &request, 3600);
    assert_eq!(world.agent.registrations()[0].state, State::Registered);
    let due = world.agent.registrations()[0].due.expect("a refresh");
    let wait = due.since(world.now);
    assert!((Duration::from_secs(2700)..=Duration::from_secs(3060)).contains(&wait));
    world.advance(wait);
    let (_, request) = register(&mut world, CALLEE);
    assert!(header(&request, HeaderName::Authorization).contains("nc=0000000"));
    accept(&mut world, &request, 3600);

    let deadline = world.now + Duration::from_secs(30);
    world.handle(Input::Drain { deadline });
    assert!(!world.drained);
    let (_, request) = register(&mut world, CALLEE);
    assert_eq!(header(&request, HeaderName::Expires), "0");
    accept(&mut world, &request, 0);
    assert!(world.drained);
    world.assert_quiet();
    world.assert_clean();
}

/// 200, with the Contact that was registered.
fn accept(world: &mut World, request: &Message, expires: u32) {
    let code = controlplane::sip::StatusCode::OK;
    let mut response = request.response(code, Some("registrar"));
    let contact = header(request, HeaderName::Contact);
    response
        .headers
        .push(HeaderName::Contact, format!("{contact};expires={expires}"));
    world.send(addr(CALLEE), addr(OUTSIDE), response.to_bytes());
}

#[test]
fn a_registrar_that_is_gone_is_left_for_the_next_and_does_not_hold_the_end_up() {
    let mut world = world();
    world.clear(addr(CALLEE));
    world.advance(Duration::from_secs(33));
    world.clear(addr(CALLEE));
    let (_, request) = register(&mut world, SECOND);
    assert_eq!(world.agent.registrations()[0].last_failure, Some(408));
    let code = controlplane::sip::StatusCode::OK;
    let response = request.response(code, Some("registrar"));
    world.send(addr(SECOND), addr(OUTSIDE), response.to_bytes());
    assert_eq!(world.agent.registrations()[0].state, State::Registered);
    world.clear(addr(SECOND));
    world.handle(Input::Stop);
    world.clear(addr(SECOND));
    world.advance(Duration::from_secs(4));
    assert!(world.drained);
    world.clear(addr(SECOND));
    world.advance(Duration::from_secs(40));
    world.clear(addr(SECOND));
    world.assert_clean();
}

#[test]
fn calls_take_the_service_route_while_the_binding_lives() {
    let mut world = world();
    let (_, request) = register(&mut world, CALLEE);
    let mut response = request.response(controlplane::sip::StatusCode::OK, Some("registrar"));
    response.headers.push(
        HeaderName::from("Service-Route"),
        format!("<sip:{PROXY};lr>"),
    );
    world.send(addr(CALLEE), addr(OUTSIDE), response.to_bytes());
    let mut caller = Phone::caller("routed");
    caller.invite(&mut world, "+4940", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(PROXY), "INVITE");
    assert_eq!(
        header(&invite, HeaderName::Route),
        format!("<sip:{PROXY};lr>")
    );
    assert_eq!(
        invite.uri().expect("a request").as_str(),
        format!("sip:+4940@{CALLEE}")
    );
}

#[test]
fn a_trunk_is_called_by_its_domain_through_its_proxy_and_the_proxy_may_call() {
    let mut settings = settings();
    for trunk in [1, 3] {
        settings.trunks[trunk].domain = Some("carrier.example".into());
        settings.trunks[trunk].proxy = Some(addr(PROXY).into());
    }
    let mut world = World::with(settings, 1);
    let mut caller = Phone::caller("proxied");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(PROXY), "INVITE");
    assert_eq!(
        invite.uri().expect("a request").as_str(),
        "sip:900@carrier.example"
    );
    assert_eq!(
        header(&invite, HeaderName::Route),
        format!("<sip:{PROXY};lr>")
    );
    assert_eq!(header(&invite, HeaderName::To), "<sip:900@carrier.example>");
    assert!(header(&invite, HeaderName::From).contains("<sip:alice@carrier.example>"));
    let proxy = Phone::callee(PROXY, &invite, "to");
    proxy.respond(&mut world, &invite, 486, "");
    proxy.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");

    let mut back = Phone::new(PROXY, OUTSIDE, "back");
    back.invite(&mut world, "back", &sdp("10.2.0.9", 4000));
    back.expect(&mut world, "100");
    let invite = expect(
        &mut world,
        "10.1.0.2:5060".parse().expect("an address"),
        "INVITE",
    );
    let called = Phone::callee("10.1.0.2:5060", &invite, "to");
    called.respond(&mut world, &invite, 486, "");
    called.expect(&mut world, "ACK");
    let busy = back.expect(&mut world, "486");
    back.ack(&mut world, &busy, "");
    world.assert_quiet();
    world.assert_clean();
}
