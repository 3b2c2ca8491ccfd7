//! Our registrations at trunks, and calls by way of an outbound proxy.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::registration::State;
use controlplane::resolver::{Destination, DomainName};
use controlplane::settings::{Login, Registration, Secret, Server, Trunk};
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

const ZONE: &str = "
    _sip._udp.sip.carrier.example 60 SRV 10 0 5070 one.carrier.example
    _sip._udp.sip.carrier.example 60 SRV 20 0 5070 two.carrier.example
    one.carrier.example 60 A 10.2.0.2
    two.carrier.example 60 A 10.2.0.3
";
const ONE: &str = "10.2.0.2:5070";
const TWO: &str = "10.2.0.3:5070";

fn carrier() -> Server {
    let name = DomainName::parse("sip.carrier.example").expect("a name");
    Server::Name(Destination::of(name, None))
}

/// The callees' trunk registers at a name, or is called through it.
fn by_name(change: impl Fn(&mut Trunk), zone: &str) -> World {
    let mut settings = settings();
    settings.dns.servers = vec![addr("192.0.2.53:53")];
    // The trunk of "9.*" too.
    for trunk in [1, 3] {
        change(&mut settings.trunks[trunk]);
    }
    let mut world = World::with(settings, 1);
    world.dns.know(zone);
    world.handle(Input::Time);
    world
}

fn registering(trunk: &mut Trunk) {
    if trunk.name != "callees" {
        return;
    }
    trunk.registrations = vec![Registration {
        user: "+4930".into(),
        domain: "carrier.example".into(),
        registrar: Some(carrier()),
        expires: Duration::from_secs(3600),
        login: None,
    }];
}

#[test]
fn a_registrar_is_found_by_its_name_and_the_next_when_the_first_is_silent() {
    let mut world = by_name(registering, ZONE);
    let (_, first) = register(&mut world, ONE);
    assert_eq!(
        first.uri().expect("a request").as_str(),
        "sip:carrier.example"
    );
    world.advance(Duration::from_secs(33));
    world.clear(addr(ONE));
    let (_, second) = register(&mut world, TWO);
    accept(&mut world, &second, 3600);
    let view = &world.agent.registrations()[0];
    assert_eq!(
        (view.state, view.registrar),
        (State::Registered, Some(addr(TWO)))
    );
}

#[test]
fn a_registration_waits_for_its_name_and_follows_it() {
    let mut world = by_name(registering, "");
    world.assert_quiet();
    let view = &world.agent.registrations()[0];
    assert_eq!((view.state, view.registrar), (State::Idle, None));
    world.dns.know(ZONE);
    world.advance(Duration::from_secs(330));
    let (_, request) = register(&mut world, ONE);
    accept(&mut world, &request, 3600);
    // The refresh goes to where the name leads by then, with the same binding.
    world.dns.know(&ZONE.replace("A 10.2.0.2", "A 10.2.0.7"));
    world.advance(Duration::from_secs(3100));
    let (_, moved) = register(&mut world, "10.2.0.7:5070");
    assert_eq!(
        header(&moved, HeaderName::CallId),
        header(&request, HeaderName::CallId)
    );
}

#[test]
fn calls_go_through_the_places_of_a_proxy_that_is_a_name_and_its_places_may_call() {
    let mut world = by_name(|trunk| trunk.proxy = Some(carrier()), ZONE);
    let mut caller = Phone::caller("by-name");
    caller.invite(&mut world, "+4940", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(ONE), "INVITE");
    assert_eq!(
        header(&invite, HeaderName::Route),
        "<sip:sip.carrier.example;lr>"
    );
    assert_eq!(
        invite.uri().expect("a request").as_str(),
        format!("sip:+4940@{CALLEE}")
    );
    world.advance(Duration::from_secs(4));
    world.clear(addr(ONE));
    let invite = expect(&mut world, addr(TWO), "INVITE");
    let proxy = Phone::callee(TWO, &invite, "to");
    proxy.respond(&mut world, &invite, 486, "");
    proxy.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    assert_eq!(world.agent.counters().failovers, 1);

    let mut back = Phone::new("10.2.0.3:40001", OUTSIDE, "back");
    back.invite(&mut world, "back", &sdp("10.2.0.9", 4000));
    back.expect(&mut world, "100");
    assert_eq!(world.call().from_trunk, "callees");
}

#[test]
fn a_trunk_whose_proxy_is_nowhere_takes_no_calls() {
    let mut world = by_name(|trunk| trunk.proxy = Some(carrier()), "");
    let mut caller = Phone::caller("nowhere");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "503");
    caller.ack(&mut world, &refused, "");
    world.assert_quiet();
}
