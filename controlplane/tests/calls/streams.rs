//! Calls over TCP and TLS: nothing is repeated, connections that are lost end only what waits for them, and who
//! somebody is follows from a certificate.

use std::net::SocketAddr;
use std::time::Duration;

use controlplane::agent::Input;
use controlplane::b2bua::CallState;
use controlplane::identity::Identity;
use controlplane::path::{Opened, Path};
use controlplane::settings::{ListenerId, Settings, Transport};
use controlplane::sip::HeaderName;

use crate::phone::{Phone, expect, header, media_of, sdp};
use crate::plain::established;
use crate::world::{CALLEE, CALLER, INSIDE, OUTSIDE, SECOND, World, addr, settings};

/// The listeners towards callers and callees are of this transport.
fn over(transport: Transport) -> Settings {
    let mut settings = settings();
    for listener in settings.listeners.iter_mut().take(2) {
        listener.transport = transport;
    }
    for trunk in &mut settings.trunks {
        for peer in &mut trunk.peers {
            peer.transport = match peer.address.is_ipv4() {
                true => transport,
                false => Transport::Udp,
            };
        }
    }
    settings
}

#[test]
fn a_call_over_tcp_repeats_nothing_and_says_what_it_speaks() {
    let mut world = World::with(over(Transport::Tcp), 1);
    let mut caller = Phone::caller("stream");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let via = header(&invite, HeaderName::Via);
    assert!(via.starts_with(&format!("SIP/2.0/TCP {OUTSIDE};")), "{via}");
    let contact = header(&invite, HeaderName::Contact);
    assert_eq!(contact, format!("<sip:{OUTSIDE};transport=tcp>"));
    // Over UDP there would be two repetitions by now.
    world.advance(Duration::from_secs(2));
    world.assert_quiet();
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    world.advance(Duration::from_secs(2));
    world.assert_quiet();
    caller.ack(&mut world, &busy, "");
    world.assert_clean();
}

#[test]
fn a_connection_that_is_lost_before_a_response_leads_to_the_next_target() {
    let mut world = World::with(over(Transport::Tcp), 1);
    let mut caller = Phone::caller("lost");
    caller.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    expect(&mut world, addr(CALLEE), "INVITE");
    world.handle(Input::ConnectionLost {
        path: Path::to(ListenerId(1), addr(CALLEE)),
    });
    let second = expect(&mut world, addr(SECOND), "INVITE");
    assert_eq!(world.agent.counters().failovers, 1);
    let callee = Phone::callee(SECOND, &second, "second");
    callee.respond(&mut world, &second, 480, "");
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "480");
    caller.ack(&mut world, &answer, "");
    world.assert_clean();
}

#[test]
fn a_call_that_is_up_outlives_its_connections() {
    let mut world = World::with(over(Transport::Tcp), 1);
    let (mut caller, callee) = established(&mut world, "up");
    for (listener, remote) in [(0, CALLER), (1, CALLEE)] {
        world.handle(Input::ConnectionLost {
            path: Path::to(ListenerId(listener), addr(remote)),
        });
    }
    assert_eq!(world.state(), CallState::Established);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_certificate_says_whose_request_it_is_while_its_connection_is_up() {
    let mut settings = over(Transport::Tls);
    settings.trunks[0].tls.names = vec!["caller.example".to_owned()];
    let mut world = World::with(settings, 1);
    // From the right address, without the name.
    let mut stranger = Phone::caller("stranger");
    stranger.invite(&mut world, "+4930", &sdp("10.1.0.2", 4000));
    stranger.expect(&mut world, "403");
    // From any address, with it.
    let elsewhere = "10.77.0.7:40001";
    let identified = |name: &str| Input::Identified {
        path: Path::to(ListenerId(0), addr(elsewhere)),
        identity: Identity {
            names: vec![name.to_owned()],
            by_listener: true,
            by_trunks: Vec::new(),
        },
    };
    world.handle(identified("caller.example"));
    let mut caller = Phone::new(elsewhere, INSIDE, "named");
    caller.invite(&mut world, "404", &sdp("10.77.0.7", 4000));
    caller.expect(&mut world, "100");
    let refused = caller.expect(&mut world, "404");
    caller.ack(&mut world, &refused, "");
    world.handle(Input::ConnectionLost {
        path: Path::to(ListenerId(0), addr(elsewhere)),
    });
    let mut again = Phone::new(elsewhere, INSIDE, "unnamed");
    again.invite(&mut world, "404", &sdp("10.77.0.7", 4000));
    again.expect(&mut world, "403");
    world.assert_clean();
}

/// By the connection to the first listener that they have opened from there.
fn theirs(from: SocketAddr) -> Path {
    Path {
        opened: Opened::ByThem,
        ..Path::to(ListenerId(0), from)
    }
}

#[test]
fn two_connections_with_one_address_are_two() {
    let mut settings = over(Transport::Tls);
    settings.trunks[0].tls.names = vec!["caller.example".to_owned()];
    let mut world = World::with(settings, 1);
    let ours = Path::to(ListenerId(0), addr(CALLER));
    let identity = Identity {
        names: vec!["caller.example".to_owned()],
        by_listener: true,
        by_trunks: Vec::new(),
    };
    world.handle(Input::Identified {
        path: ours,
        identity,
    });
    let mut dials = |opened, name: &str, code: &str| {
        world.opened = opened;
        let mut caller = Phone::caller(name);
        caller.invite(&mut world, "404", &sdp("10.1.0.2", 4000));
        if code == "404" {
            caller.expect(&mut world, "100");
        }
        let refused = caller.expect(&mut world, code);
        if code == "404" {
            caller.ack(&mut world, &refused, "");
        }
        // The other's end is none of ours.
        let path = theirs(addr(CALLER));
        world.handle(Input::ConnectionLost { path });
    };
    dials(Opened::ByThem, "unnamed", "403");
    dials(Opened::ByUs, "named", "404");
    dials(Opened::ByUs, "still-named", "404");
    world.assert_clean();
}

#[test]
fn behind_a_nat_the_outer_address_is_what_is_said() {
    let mut settings = settings();
    settings.listeners[1].advertised = Some(addr("203.0.113.1:0"));
    settings.media_groups[1].advertised = vec!["203.0.113.2".parse().expect("an address")];
    let mut world = World::with(settings, 1);
    let mut caller = Phone::caller("outer");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let via = header(&invite, HeaderName::Via);
    assert!(via.starts_with("SIP/2.0/UDP 203.0.113.1:5060;"), "{via}");
    assert_eq!(
        header(&invite, HeaderName::Contact),
        "<sip:203.0.113.1:5060>"
    );
    assert!(header(&invite, HeaderName::From).contains("@203.0.113.1:5060>"));
    let text = String::from_utf8_lossy(&invite.to_bytes()).into_owned();
    let head = text.split("\r\n\r\n").next().expect("headers");
    assert!(!head.contains("10.2.0.1"), "{head}");
    // The flow is at the inner address.
    let (address, port) = media_of(&invite);
    assert_eq!(address, "203.0.113.2");
    world.flow("10.2.0.1", port);
}

#[test]
fn a_connection_serves_for_the_address_that_its_certificate_vouches_for() {
    let mut settings = over(Transport::Tls);
    settings.trunks[0].tls.names = vec!["caller.example".to_owned()];
    let mut world = World::with(settings, 1);
    world.opened = Opened::ByThem;
    let from = addr("10.77.0.7:40001");
    let mut number = 0;
    let mut said = |world: &mut World, via: &str| {
        number += 1;
        let text = format!(
            "OPTIONS sip:{INSIDE} SIP/2.0\r\nVia: SIP/2.0/TLS {via};branch=z9hG4bK-{number}\r\n\
             From: <sip:a@caller.example>;tag=a\r\nTo: <sip:{INSIDE}>\r\nCall-ID: alias-{number}\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        world.send(from, addr(INSIDE), text.into_bytes());
        world.clear(from);
        std::mem::take(&mut world.aliases)
    };
    // Nobody vouches for it.
    assert_eq!(said(&mut world, "caller.example:5061;alias"), []);
    world.handle(Input::Identified {
        path: theirs(from),
        identity: Identity {
            names: vec!["caller.example".to_owned()],
            by_listener: true,
            by_trunks: Vec::new(),
        },
    });
    let known = [(ListenerId(0), from, addr("10.77.0.7:5061"))];
    assert_eq!(said(&mut world, "caller.example:5061;alias"), known);
    assert_eq!(said(&mut world, "10.77.0.7:5061;alias"), known);
    // Without a port it is that of TLS.
    assert_eq!(said(&mut world, "caller.example;alias"), known);
    // Another name, another address, or no wish.
    assert_eq!(said(&mut world, "other.example:5061;alias"), []);
    assert_eq!(said(&mut world, "10.77.0.8:5061;alias"), []);
    assert_eq!(said(&mut world, "caller.example:5061"), []);
    world.assert_clean();
}
