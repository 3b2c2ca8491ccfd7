//! Attended transfers that tandem carries out: both calls of the transferor go through it, or one of them does.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::settings::Refer;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, expect, header, sdp};
use crate::replacing::named;
use crate::transferring::{OVER, hang_up, hears, leads_to, referring, target, up};
use crate::world::{OTHER_TRUNK, World, addr};

/// Alice talks to two: with the callee, whom she transfers, and with the target.
struct Desk {
    world: World,
    first: Phone,
    callee: Phone,
    second: Phone,
    target: Phone,
}

impl Desk {
    fn new() -> Self {
        let mut world = World::with(referring(Refer::Local), 1);
        let (first, callee) = up(&mut world, "first");
        let mut second = Phone::caller("second");
        second.invite(&mut world, "8001", &sdp("10.1.0.2", 4100));
        second.expect(&mut world, "100");
        let invite = expect(&mut world, addr(OTHER_TRUNK), "INVITE");
        let target = Phone::callee(OTHER_TRUNK, &invite, "target");
        target.respond(&mut world, &invite, 200, &sdp("fd02::2", 7000));
        target.expect(&mut world, "ACK");
        let answer = second.expect(&mut world, "200");
        second.ack(&mut world, &answer, "");
        Self {
            world,
            first,
            callee,
            second,
            target,
        }
    }

    /// She asks for the transfer.
    fn refer(&mut self) {
        let name = named(&self.second);
        self.refer_to(&name);
        self.first.expect(&mut self.world, "202");
        hears(
            &mut self.world,
            &self.first,
            "100 Trying",
            "active;expires=900",
        );
    }

    fn refer_to(&mut self, name: &str) {
        let name = name.replace(';', "%3B").replace('=', "%3D");
        let asks = format!("Refer-To: <sip:8001@10.1.0.1?Replaces={name}>\r\n");
        self.first.request_with(&mut self.world, "REFER", "", &asks);
    }

    /// The target is asked for an offer, and makes it.
    fn offers(&mut self) {
        let again = self.target.expect(&mut self.world, "INVITE");
        assert!(again.body.is_empty(), "it is to make the offer");
        self.target
            .respond(&mut self.world, &again, 200, &sdp("fd02::2", 7002));
    }

    /// Both calls are as they were.
    fn both_go_on(mut self) {
        let states: Vec<_> = self
            .world
            .agent
            .calls()
            .iter()
            .map(|call| call.state)
            .collect();
        assert_eq!(states, [CallState::Established; 2]);
        self.second
            .request(&mut self.world, "INVITE", &sdp("10.1.0.2", 4104));
        self.second.expect(&mut self.world, "100");
        let again = self.target.expect(&mut self.world, "INVITE");
        self.target
            .respond(&mut self.world, &again, 200, &sdp("fd02::2", 7004));
        self.target.expect(&mut self.world, "ACK");
        let answer = self.second.expect(&mut self.world, "200");
        assert_eq!(leads_to(&self.world, &again), "10.1.0.2:4104");
        assert_eq!(leads_to(&self.world, &answer), "[fd02::2]:7004");
        self.second.ack(&mut self.world, &answer, "");
        self.first.request(&mut self.world, "BYE", "");
        self.first.expect(&mut self.world, "200");
        self.callee.take_bye(&mut self.world);
        hang_up(&mut self.world, self.second, &self.target);
    }
}

#[test]
fn the_two_others_are_joined() {
    for leaves in [false, true] {
        let mut desk = Desk::new();
        desk.refer();
        if leaves {
            // Many phones hang up both at once.
            for phone in [&mut desk.first, &mut desk.second] {
                phone.request(&mut desk.world, "BYE", "");
                phone.expect(&mut desk.world, "200");
            }
        }
        desk.offers();
        let again = desk.callee.expect(&mut desk.world, "INVITE");
        assert_eq!(leads_to(&desk.world, &again), "[fd02::2]:7002");
        desk.callee
            .respond(&mut desk.world, &again, 200, &sdp("10.2.0.2", 6002));
        desk.callee.expect(&mut desk.world, "ACK");
        let ack = desk.target.expect(&mut desk.world, "ACK");
        assert_eq!(leads_to(&desk.world, &ack), "10.2.0.2:6002");
        let body = String::from_utf8_lossy(&ack.body).into_owned();
        let origin = body.lines().nth(1).expect("o=").to_owned();
        assert_eq!(origin.split(' ').nth(2), Some("2"), "{origin}");
        if !leaves {
            hears(&mut desk.world, &desk.first, "200 OK", OVER);
            desk.first.take_bye(&mut desk.world);
            desk.second.take_bye(&mut desk.world);
        }
        let call = desk.world.call();
        assert_eq!(call.from_trunk, "others");
        assert_eq!(desk.world.agent.counters().transfers_made, 1);
        let record = desk.world.record();
        assert_eq!(record.release.cause, "transferred");
        let mut target = desk.target;
        target.cseq = 300;
        target.request_with(&mut desk.world, "INFO", "x", "Content-Type: text/plain\r\n");
        let info = desk.callee.expect(&mut desk.world, "INFO");
        desk.callee.respond(&mut desk.world, &info, 200, "");
        target.expect(&mut desk.world, "200");
        hang_up(&mut desk.world, desk.callee, &target);
        let record = desk.world.record();
        let tried: Vec<_> = record.tries.iter().map(|tried| &*tried.trunk).collect();
        assert_eq!(tried, ["callees", "others"]);
    }
}

#[test]
fn a_target_that_refuses_leaves_both_calls_as_they_were() {
    let mut desk = Desk::new();
    desk.refer();
    let again = desk.target.expect(&mut desk.world, "INVITE");
    desk.target.respond(&mut desk.world, &again, 488, "");
    desk.target.expect(&mut desk.world, "ACK");
    hears(
        &mut desk.world,
        &desk.first,
        "488 Not Acceptable Here",
        OVER,
    );
    desk.both_go_on();
}

#[test]
fn a_party_that_refuses_gives_the_target_back_to_its_call() {
    let mut desk = Desk::new();
    desk.refer();
    desk.offers();
    // Meanwhile neither call takes anything else.
    desk.second
        .request(&mut desk.world, "INVITE", &sdp("10.1.0.2", 4102));
    desk.second.expect(&mut desk.world, "100");
    let refusal = desk.second.expect(&mut desk.world, "491");
    desk.second.ack(&mut desk.world, &refusal, "");
    let again = desk.callee.expect(&mut desk.world, "INVITE");
    desk.callee.respond(&mut desk.world, &again, 488, "");
    desk.callee.expect(&mut desk.world, "ACK");
    let ack = desk.target.expect(&mut desk.world, "ACK");
    assert_eq!(leads_to(&desk.world, &ack), "10.1.0.2:4100");
    hears(
        &mut desk.world,
        &desk.first,
        "488 Not Acceptable Here",
        OVER,
    );
    desk.both_go_on();
}

#[test]
fn a_transferor_that_is_given_up_in_vain_is_hung_up_on_by_both() {
    let mut desk = Desk::new();
    desk.refer();
    for phone in [&mut desk.first, &mut desk.second] {
        phone.request(&mut desk.world, "BYE", "");
        phone.expect(&mut desk.world, "200");
    }
    desk.offers();
    let again = desk.callee.expect(&mut desk.world, "INVITE");
    desk.callee.respond(&mut desk.world, &again, 488, "");
    desk.callee.expect(&mut desk.world, "ACK");
    desk.callee.take_bye(&mut desk.world);
    desk.target.expect(&mut desk.world, "ACK");
    desk.target.take_bye(&mut desk.world);
    desk.world.assert_quiet();
    desk.world.assert_clean();
}

#[test]
fn a_target_in_an_exchange_of_its_own_is_asked_again() {
    let mut desk = Desk::new();
    desk.refer();
    let again = desk.target.expect(&mut desk.world, "INVITE");
    desk.target.respond(&mut desk.world, &again, 491, "");
    desk.target.expect(&mut desk.world, "ACK");
    // The Call-ID is ours: not before 2.1 s.
    desk.world.advance(Duration::from_millis(2_099));
    desk.target.expect_nothing(&mut desk.world);
    desk.world.advance(Duration::from_millis(1_901));
    desk.offers();
    desk.world.clear(desk.target.at);
    let again = desk.callee.expect(&mut desk.world, "INVITE");
    desk.callee.respond(&mut desk.world, &again, 486, "");
    desk.callee.expect(&mut desk.world, "ACK");
    desk.target.expect(&mut desk.world, "ACK");
    hears(&mut desk.world, &desk.first, "486 Busy Here", OVER);
    desk.both_go_on();
}

#[test]
fn a_target_that_hangs_up_meanwhile_leaves_the_call_as_it_was() {
    for joining in [false, true] {
        let mut desk = Desk::new();
        desk.refer();
        let asked = desk.target.expect(&mut desk.world, "INVITE");
        if joining {
            desk.target
                .respond(&mut desk.world, &asked, 200, &sdp("fd02::2", 7002));
        }
        desk.target.request(&mut desk.world, "BYE", "");
        desk.second.take_bye(&mut desk.world);
        desk.target.expect(&mut desk.world, "200");
        let told = match joining {
            true => {
                desk.target.expect(&mut desk.world, "ACK");
                let again = desk.callee.expect(&mut desk.world, "INVITE");
                desk.callee.respond(&mut desk.world, &again, 487, "");
                desk.callee.expect(&mut desk.world, "ACK");
                "487 Request Terminated"
            }
            false => "480 Temporarily Unavailable",
        };
        if !joining {
            desk.target.respond(&mut desk.world, &asked, 487, "");
            desk.target.expect(&mut desk.world, "ACK");
        }
        hears(&mut desk.world, &desk.first, told, OVER);
        hang_up(&mut desk.world, desk.first, &desk.callee);
    }
}

#[test]
fn a_party_that_hangs_up_meanwhile_leaves_the_consultation_as_it_was() {
    let mut desk = Desk::new();
    desk.refer();
    desk.offers();
    let again = desk.callee.expect(&mut desk.world, "INVITE");
    desk.callee.request(&mut desk.world, "BYE", "");
    desk.callee.expect(&mut desk.world, "200");
    desk.callee.respond(&mut desk.world, &again, 487, "");
    desk.callee.expect(&mut desk.world, "ACK");
    hears(&mut desk.world, &desk.first, "487 Request Terminated", OVER);
    desk.first.take_bye(&mut desk.world);
    let ack = desk.target.expect(&mut desk.world, "ACK");
    assert_eq!(leads_to(&desk.world, &ack), "10.1.0.2:4100");
    hang_up(&mut desk.world, desk.second, &desk.target);
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let mut desk = Desk::new();
    let own = named(&desk.first);
    let other = named(&desk.second);
    for (name, code) in [
        (own, "603"),
        (format!("{other};early-only"), "486"),
        ("x;to-tag=1".into(), "400"),
    ] {
        desk.refer_to(&name);
        let refusal = desk.first.expect(&mut desk.world, code);
        assert!(refusal.body.is_empty());
    }
    desk.both_go_on();
}

#[test]
fn a_dialog_that_is_not_ours_is_replaced_by_whom_the_routes_lead_to() {
    let mut world = World::with(referring(Refer::Local), 1);
    let (mut caller, callee) = up(&mut world, "foreign");
    let asks = "Refer-To: <sip:8001@10.1.0.1?Replaces=abc%40pbx%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n";
    caller.request_with(&mut world, "REFER", "", asks);
    caller.expect(&mut world, "202");
    hears(&mut world, &caller, "100 Trying", "active;expires=900");
    let (mut target, invite) = target(&mut world, OTHER_TRUNK, ("fd02::2", 7000));
    let name = header(&invite, HeaderName::Replaces);
    assert_eq!(name, "abc@pbx;to-tag=1;from-tag=2");
    assert!(invite.lists(&HeaderName::Require, "replaces"));
    let again = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "ACK");
    target.expect(&mut world, "ACK");
    hears(&mut world, &caller, "200 OK", OVER);
    caller.take_bye(&mut world);
    target.cseq = 300;
    hang_up(&mut world, target, &callee);
}

#[test]
fn the_subscription_may_be_refreshed_and_ended() {
    let mut desk = Desk::new();
    let event = |event: &str, expires: &str| format!("Event: {event}\r\n{expires}");
    desk.first
        .request_with(&mut desk.world, "SUBSCRIBE", "", &event("refer", ""));
    desk.first.expect(&mut desk.world, "481");
    desk.refer();
    let number = desk.first.cseq;
    for (package, code) in [("dialog", "489"), ("refer;id=999", "481")] {
        desk.first
            .request_with(&mut desk.world, "SUBSCRIBE", "", &event(package, ""));
        let refusal = desk.first.expect(&mut desk.world, code);
        let known = header(&refusal, HeaderName::from("Allow-Events"));
        assert_eq!(known == "refer", code == "489");
    }
    desk.first
        .request_with(&mut desk.world, "SUBSCRIBE", "", "");
    desk.first.expect(&mut desk.world, "400");
    let own = format!("refer;id={number}");
    let more = event(&own, "Expires: 5000\r\n");
    desk.first
        .request_with(&mut desk.world, "SUBSCRIBE", "", &more);
    let taken = desk.first.expect(&mut desk.world, "200");
    assert_eq!(header(&taken, HeaderName::Expires), "900");
    hears(
        &mut desk.world,
        &desk.first,
        "100 Trying",
        "active;expires=900",
    );
    let more = event("refer", "Expires: 0\r\n");
    desk.first
        .request_with(&mut desk.world, "SUBSCRIBE", "", &more);
    let ended = desk.first.expect(&mut desk.world, "200");
    assert_eq!(header(&ended, HeaderName::Expires), "0");
    hears(
        &mut desk.world,
        &desk.first,
        "100 Trying",
        "terminated;reason=timeout",
    );
    // The transfer goes on, and its end is told to nobody.
    let again = desk.target.expect(&mut desk.world, "INVITE");
    desk.target.respond(&mut desk.world, &again, 486, "");
    desk.target.expect(&mut desk.world, "ACK");
    desk.first.expect_nothing(&mut desk.world);
    desk.both_go_on();
}

#[test]
fn nobody_names_the_dialog_of_another_trunk() {
    let mut desk = Desk::new();
    // What the target has with us is not hers to give away.
    let name = named(&desk.target);
    desk.refer_to(&name);
    desk.first.expect(&mut desk.world, "403");
    desk.both_go_on();
}
