//! Peers and next hops that are known by name.

use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::resolver::{Destination, DomainName};
use controlplane::settings::{NamedPeer, Settings};
use controlplane::sip::HeaderName;

use crate::name_server::Mood;
use crate::phone::{Phone, expect, header, sdp};
use crate::world::{
    CALLEE, CALLER, INSIDE, OTHER_TRUNK, OUTSIDE, SECOND, TRANSACTION, World, addr, settings,
};

const CARRIER: &str = "
    carrier.example 60 NAPTR 10 10 s SIP+D2U _sip._udp.carrier.example
    _sip._udp.carrier.example 60 SRV 10 0 5060 one.carrier.example
    _sip._udp.carrier.example 60 SRV 20 0 5060 two.carrier.example
    one.carrier.example 60 A 10.2.0.2
    two.carrier.example 60 A 10.2.0.3
    caller.example 60 A 10.1.0.2
    caller.example 60 A 10.1.0.9
";

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// The callees' trunk has names for peers, and so has the callers'.
fn named() -> Settings {
    let mut settings = settings();
    let name = |text| NamedPeer {
        destination: Destination::of(DomainName::parse(text).expect("a name"), None),
        priority: 1,
        weight: 1,
    };
    settings.dns.servers = vec![addr("192.0.2.53:53"), addr("192.0.2.54:53")];
    for (trunk, text) in [(0, "caller.example"), (1, "carrier.example")] {
        settings.trunks[trunk].peers.clear();
        settings.trunks[trunk].names = vec![name(text)];
    }
    settings
}

fn world() -> World {
    let mut world = World::with(named(), 1);
    world.dns.know(CARRIER);
    world.handle(Input::Time);
    world
}

/// Only the next hops are names.
fn next_hops() -> World {
    let mut settings = settings();
    settings.dns.servers = vec![addr("192.0.2.53:53"), addr("192.0.2.54:53")];
    let mut world = World::with(settings, 1);
    world.dns.know("");
    world
}

fn dial(world: &mut World, name: &str) -> Phone {
    let mut caller = Phone::caller(name);
    caller.invite(world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    caller
}

/// Nothing is left but what keeps the names resolved.
fn assert_clean(world: &mut World) {
    world.advance(SECONDS(120));
    assert_eq!(world.agent.gauges(), Default::default());
}

#[test]
fn a_call_finds_the_server_that_the_name_leads_to() {
    let mut world = world();
    let mut caller = dial(&mut world, "named");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let uri = invite.uri().expect("a request").to_string();
    assert_eq!(
        uri, "sip:+4930@carrier.example",
        "the name stays (RFC 3263)"
    );
    let to = header(&invite, HeaderName::To);
    assert!(to.contains("sip:+4930@carrier.example"), "{to}");
    let callee = Phone::callee(CALLEE, &invite, "up");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let answer = caller.expect(&mut world, "200");
    callee.expect(&mut world, "ACK");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert_clean(&mut world);
}

#[test]
fn failover_goes_on_in_the_order_of_the_service() {
    for silent in [false, true] {
        let mut world = world();
        if !silent {
            world.unreachable.push(addr(CALLEE));
        }
        let mut caller = dial(&mut world, "over");
        if silent {
            world.advance(SECONDS(4));
            world.clear(addr(CALLEE));
        }
        let second = expect(&mut world, addr(SECOND), "INVITE");
        let callee = Phone::callee(SECOND, &second, "busy");
        callee.respond(&mut world, &second, 486, "");
        callee.expect(&mut world, "ACK");
        let busy = caller.expect(&mut world, "486");
        caller.ack(&mut world, &busy, "");
        assert_eq!(world.agent.counters().failovers, 1);
        assert_clean(&mut world);
    }
}

#[test]
fn every_address_of_a_name_may_call_from_any_port_and_no_other() {
    let mut world = world();
    for at in [CALLER, "10.1.0.9:40001"] {
        let mut caller = Phone::new(at, INSIDE, at);
        caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
        caller.expect(&mut world, "100");
        assert_eq!(world.call().from_trunk, "callers");
        caller.cancel(&mut world);
        world.advance(TRANSACTION);
        world.take_mail();
    }
    let mut stranger = Phone::new("10.1.0.8:5060", INSIDE, "stranger");
    stranger.invite(&mut world, "+4930", &sdp("10.1.0.8", 4000));
    stranger.expect(&mut world, "403");
    // An address that the name has left is a stranger's.
    world.dns.know(&CARRIER.replace("10.1.0.9", "10.1.0.8"));
    world.advance(SECONDS(60));
    let mut stranger = Phone::new("10.1.0.9:5060", INSIDE, "left");
    stranger.invite(&mut world, "+4930", &sdp("10.1.0.9", 4000));
    stranger.expect(&mut world, "403");
    let mut known = Phone::new("10.1.0.8:5060", INSIDE, "new");
    known.invite(&mut world, "+4930", &sdp("10.1.0.8", 4000));
    known.expect(&mut world, "100");
}

#[test]
fn a_changed_address_is_called_once_the_ttl_has_ended() {
    let mut world = world();
    world.dns.know(&CARRIER.replace("A 10.2.0.2", "A 10.2.0.7"));
    world.advance(SECONDS(40));
    dial(&mut world, "before");
    expect(&mut world, addr(CALLEE), "INVITE");
    world.advance(SECONDS(20));
    world.take_mail();
    dial(&mut world, "after");
    expect(&mut world, addr("10.2.0.7:5060"), "INVITE");
}

#[test]
fn no_call_waits_for_a_name_server() {
    let mut settings = named();
    settings.trunks[0].peers = vec![addr(CALLER).into()];
    let mut world = World::with(settings, 1);
    world.dns.know(CARRIER);
    world.dns.mood = Mood::Silent;
    world.handle(Input::Time);
    world.advance(SECONDS(1));
    // The callees' name is not known yet: the call goes to the next trunk at once.
    dial(&mut world, "early");
    expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    world.dns.mood = Mood::Well;
    world.advance(SECONDS(40));
    world.take_mail();
    dial(&mut world, "late");
    expect(&mut world, addr(CALLEE), "INVITE");
}

#[test]
fn a_trunk_whose_names_lead_nowhere_is_out_of_service() {
    let mut world = World::with(named(), 1);
    world.dns.know("caller.example 60 A 10.1.0.2");
    world.handle(Input::Time);
    let mut caller = Phone::caller("nowhere");
    // By the route over the callees, and then a trunk over IPv6 that has an address.
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    expect(&mut world, addr(OTHER_TRUNK), "INVITE");
    let mut settings = named();
    if let controlplane::settings::RouteTo::Trunks(trunks) = &mut settings.routes[2].to {
        trunks.pop();
    }
    let mut world = World::with(settings, 1);
    world.dns.know("caller.example 60 A 10.1.0.2");
    world.handle(Input::Time);
    let mut caller = Phone::caller("nowhere");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    caller.expect(&mut world, "503");
}

#[test]
fn while_the_dns_is_down_calls_go_on() {
    let mut world = world();
    world.dns.mood = Mood::Silent;
    world.advance(SECONDS(3600));
    dial(&mut world, "stale");
    expect(&mut world, addr(CALLEE), "INVITE");
    assert!(world.agent.resolver().counters().stale_uses > 0);
    world.advance(SECONDS(86_400));
    world.take_mail();
    let mut caller = Phone::caller("ended");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "403");
}

/// The same phone at another address.
fn at(address: std::net::SocketAddr, mut phone: Phone) -> Phone {
    phone.at = address;
    phone
}

/// A call whose callee answers with this Contact; the callee, and what came of its 200.
fn answered_at(world: &mut World, contact: &str) -> (Phone, Phone) {
    let mut caller = dial(world, "hop");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "up");
    let code = controlplane::sip::StatusCode::OK;
    let mut response = invite.response(code, Some("up"));
    response.headers.push(HeaderName::Contact, contact);
    response
        .headers
        .push(HeaderName::ContentType, "application/sdp");
    response.body = sdp("10.2.0.2", 6000).into();
    world.send(addr(CALLEE), addr(OUTSIDE), response.to_bytes());
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    (caller, callee)
}

#[test]
fn the_ack_goes_where_the_contacts_name_leads_once_that_is_known() {
    let mut world = next_hops();
    world.dns.know("gw.example 60 A 10.2.0.7");
    world.dns.mood = Mood::Slow;
    let (mut caller, callee) = answered_at(&mut world, "<sip:bob@gw.example:5062>");
    let gateway = addr("10.2.0.7:5062");
    assert_eq!(world.agent.gauges().resolving, 1);
    assert_eq!(
        world.state(),
        CallState::Established,
        "the caller does not wait"
    );
    // The caller hangs up meanwhile: the BYE does not overtake the ACK.
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    assert_eq!(world.state(), CallState::Ending);
    while let Some(heard) = world.dns.next_late() {
        world.handle(Input::Dns(heard));
    }
    expect(&mut world, gateway, "ACK");
    let bye = expect(&mut world, gateway, "BYE");
    assert_eq!(
        bye.uri().expect("a request").to_string(),
        "sip:bob@gw.example:5062"
    );
    let callee = at(gateway, callee);
    callee.respond(&mut world, &bye, 200, "");
    assert_eq!(world.agent.calls(), []);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_name_without_port_leads_by_its_service_and_the_dialogs_own_server_goes_first() {
    let mut world = next_hops();
    world.dns.know(
        "
        _sip._udp.gw.example 60 SRV 10 0 5060 other.example
        _sip._udp.gw.example 60 SRV 20 0 5060 own.example
        other.example 60 A 10.2.0.7
        own.example 60 A 10.2.0.2
        ",
    );
    let (mut caller, callee) = answered_at(&mut world, "<sip:bob@gw.example>");
    callee.expect(&mut world, "ACK");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_name_that_leads_nowhere_leads_back_to_where_the_dialog_came_from() {
    for mood in [Mood::Well, Mood::Silent] {
        let mut world = next_hops();
        world.dns.mood = mood;
        let (mut caller, callee) = answered_at(&mut world, "<sip:bob@gw.example>");
        if mood == Mood::Silent {
            callee.expect_nothing(&mut world);
            world.advance(SECONDS(3));
        }
        callee.expect(&mut world, "ACK");
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "200");
        world.advance(SECONDS(3));
        callee.take_bye(&mut world);
        world.assert_clean();
    }
}

#[test]
fn requests_within_the_dialog_find_a_caller_by_its_record_route() {
    let mut world = next_hops();
    world.dns.know("proxy.example 60 A 10.1.0.7");
    let mut caller = Phone::caller("routed");
    let route = "Record-Route: <sip:proxy.example:5070;lr>\r\n";
    caller.invite_with(&mut world, "+4930", &sdp("10.1.0.2", 4000), route);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let mut callee = Phone::callee(CALLEE, &invite, "up");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    let answer = caller.expect(&mut world, "200");
    callee.expect(&mut world, "ACK");
    caller.ack(&mut world, &answer, "");
    callee.request(&mut world, "INFO", "");
    let proxy = addr("10.1.0.7:5070");
    let info = expect(&mut world, proxy, "INFO");
    assert_eq!(
        header(&info, HeaderName::Route),
        "<sip:proxy.example:5070;lr>"
    );
    let at_proxy = at(proxy, caller.clone());
    at_proxy.respond(&mut world, &info, 200, "");
    callee.expect(&mut world, "200");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    at_proxy.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_slow_name_holds_up_nobody_elses_requests() {
    let mut world = next_hops();
    world.dns.mood = Mood::Silent;
    answered_at(&mut world, "<sip:bob@gw.example>");
    let mut other = Phone::new("10.1.0.2:5099", INSIDE, "other");
    other.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    other.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "other");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    other.expect(&mut world, "200");
}
