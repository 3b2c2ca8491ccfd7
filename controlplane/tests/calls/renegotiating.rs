//! Requests within the dialog: re-INVITE, UPDATE, INFO, OPTIONS, and what is not taken.

use std::time::Duration;

use controlplane::b2bua::CallState;
use controlplane::sip::HeaderName;

use crate::phone::{Phone, described, header, media_of, sdp};
use crate::plain::established;
use crate::ringing::calling;
use crate::world::{CALLEE, TRANSACTION, World, addr};

fn end(world: &mut World, mut caller: Phone, callee: Phone) {
    caller.request(world, "BYE", "");
    caller.expect(world, "200");
    callee.take_bye(world);
    world.assert_quiet();
    world.assert_clean();
}

/// The destination of what arrives from the caller.
fn from_caller(world: &World) -> Option<std::net::SocketAddr> {
    let entries = world.flows[0].values();
    let mut inside = entries.filter(|entry| entry.key.address == addr("10.1.0.1:0").ip());
    let egress = inside.find_map(|entry| entry.rtp);
    egress.expect("the caller's RTP flow").destination
}

#[test]
fn hold_and_resume_from_either_side() {
    for by_caller in [true, false] {
        let mut world = World::new();
        let (mut caller, mut callee) = established(&mut world, "hold");
        for (version, direction, answer) in
            [(2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")]
        {
            let (one, other, host, port, from, back) = match by_caller {
                true => (&mut caller, &callee, "10.1.0.2", 4000, "10.2.0.2", 6000),
                false => (&mut callee, &caller, "10.2.0.2", 6000, "10.1.0.2", 4000),
            };
            one.request(
                &mut world,
                "INVITE",
                &described(host, port, version, direction),
            );
            one.expect(&mut world, "100");
            let invite = other.expect(&mut world, "INVITE");
            let body = String::from_utf8_lossy(&invite.body).into_owned();
            assert!(body.contains(&format!("a={direction}")), "{body}");
            assert!(!body.contains(host), "{body}");
            other.respond(
                &mut world,
                &invite,
                200,
                &described(from, back, version, answer),
            );
            other.expect(&mut world, "ACK");
            let agreed = one.expect(&mut world, "200");
            let body = String::from_utf8_lossy(&agreed.body).into_owned();
            assert!(body.contains(&format!("a={answer}")), "{body}");
            one.ack(&mut world, &agreed, "");
            let watched = world.flows[0]
                .values()
                .filter(|entry| entry.idle_after.is_some());
            // The side that is held is not to send; the one that holds may.
            assert_eq!(watched.count(), if direction == "sendonly" { 1 } else { 2 });
        }
        assert_eq!(world.state(), CallState::Established);
        end(&mut world, caller, callee);
    }
}

#[test]
fn a_change_of_address_moves_the_media() {
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "moved");
    assert_eq!(from_caller(&world), Some(addr("10.2.0.2:6000")));
    callee.request(
        &mut world,
        "INVITE",
        &described("10.2.0.77", 7000, 2, "sendrecv"),
    );
    callee.expect(&mut world, "100");
    let invite = caller.expect(&mut world, "INVITE");
    caller.respond(
        &mut world,
        &invite,
        200,
        &described("10.1.0.2", 4000, 2, "sendrecv"),
    );
    caller.expect(&mut world, "ACK");
    let agreed = callee.expect(&mut world, "200");
    callee.ack(&mut world, &agreed, "");
    assert_eq!(from_caller(&world), Some(addr("10.2.0.77:7000")));
    end(&mut world, caller, callee);
}

#[test]
fn a_rejected_reinvite_leaves_everything_as_it_was() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "rejected");
    let before = world.flows[0].clone();
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.66", 4400, 2, "sendrecv"),
    );
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    callee.respond_with(&mut world, &invite, 488, "", "Warning: 399 x \"no\"");
    callee.expect(&mut world, "ACK");
    let refused = caller.expect(&mut world, "488");
    assert_eq!(header(&refused, HeaderName::Warning), "399 far-end \"no\"");
    caller.ack(&mut world, &refused, "");
    let key = |flows: &std::collections::BTreeMap<_, contract::FlowEntry>| -> Vec<_> {
        let entries = flows.values();
        entries
            .map(|entry| (entry.key, entry.rtp.map(|rtp| rtp.destination)))
            .collect()
    };
    assert_eq!(key(&world.flows[0]), key(&before));
    assert_eq!(world.state(), CallState::Established);
    // And the next one is taken.
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.66", 4400, 2, "sendrecv"),
    );
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    callee.respond(
        &mut world,
        &invite,
        200,
        &described("10.2.0.2", 6000, 2, "sendrecv"),
    );
    callee.expect(&mut world, "ACK");
    let agreed = caller.expect(&mut world, "200");
    caller.ack(&mut world, &agreed, "");
    end(&mut world, caller, callee);
}

#[test]
fn reinvites_that_cross_are_both_refused() {
    let mut world = World::new();
    let (mut caller, mut callee) = established(&mut world, "glare");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let ours = callee.expect(&mut world, "INVITE");
    callee.request(
        &mut world,
        "INVITE",
        &described("10.2.0.2", 6000, 2, "sendonly"),
    );
    callee.expect(&mut world, "100");
    let glare = callee.expect(&mut world, "491");
    callee.ack(&mut world, &glare, "");
    callee.respond(&mut world, &ours, 491, "");
    callee.expect(&mut world, "ACK");
    let glare = caller.expect(&mut world, "491");
    caller.ack(&mut world, &glare, "");
    assert_eq!(world.state(), CallState::Established);
    end(&mut world, caller, callee);
}

#[test]
fn a_second_reinvite_of_the_same_side_is_told_to_wait() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "impatient");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let first = callee.expect(&mut world, "INVITE");
    let mut again = caller.clone();
    again.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 3, "sendrecv"),
    );
    again.expect(&mut world, "100");
    let wait = again.expect(&mut world, "500");
    let seconds = header(&wait, HeaderName::RetryAfter);
    assert!(seconds.parse::<u8>().is_ok_and(|seconds| seconds <= 10));
    again.ack(&mut world, &wait, "");
    callee.respond(
        &mut world,
        &first,
        200,
        &described("10.2.0.2", 6000, 2, "recvonly"),
    );
    callee.expect(&mut world, "ACK");
    let agreed = caller.expect(&mut world, "200");
    caller.ack(&mut world, &agreed, "");
    caller.cseq = again.cseq;
    end(&mut world, caller, callee);
}

#[test]
fn a_reinvite_may_leave_the_offer_to_the_other_side() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "late-again");
    caller.request(&mut world, "INVITE", "");
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    assert!(invite.body.is_empty());
    callee.respond(
        &mut world,
        &invite,
        200,
        &described("10.2.0.2", 6600, 2, "sendrecv"),
    );
    let offer = caller.expect(&mut world, "200");
    assert_eq!(media_of(&offer).0, "10.1.0.1");
    callee.expect_nothing(&mut world);
    callee.respond(
        &mut world,
        &invite,
        200,
        &described("10.2.0.2", 6600, 2, "sendrecv"),
    );
    world.assert_quiet();
    caller.ack(
        &mut world,
        &offer,
        &described("10.1.0.2", 4000, 2, "sendrecv"),
    );
    let ack = callee.expect(&mut world, "ACK");
    assert_eq!(media_of(&ack).0, "10.2.0.1");
    assert_eq!(from_caller(&world), Some(addr("10.2.0.2:6600")));
    end(&mut world, caller, callee);
}

#[test]
fn a_reinvite_is_taken_back_as_the_other_side_decides() {
    for agreed in [true, false] {
        let mut world = World::new();
        let (mut caller, callee) = established(&mut world, "undecided");
        caller.request(
            &mut world,
            "INVITE",
            &described("10.1.0.2", 4000, 2, "sendonly"),
        );
        caller.expect(&mut world, "100");
        let invite = callee.expect(&mut world, "INVITE");
        callee.respond(&mut world, &invite, 180, "");
        caller.expect(&mut world, "180");
        caller.cancel(&mut world);
        caller.expect(&mut world, "200");
        let cancel = callee.expect(&mut world, "CANCEL");
        callee.respond(&mut world, &cancel, 200, "");
        if agreed {
            let body = described("10.2.0.2", 6000, 2, "recvonly");
            callee.respond(&mut world, &invite, 200, &body);
        } else {
            callee.respond(&mut world, &invite, 487, "");
        }
        callee.expect(&mut world, "ACK");
        let outcome = caller.expect(&mut world, if agreed { "200" } else { "487" });
        caller.ack(&mut world, &outcome, "");
        assert_eq!(world.state(), CallState::Established);
        end(&mut world, caller, callee);
    }
}

#[test]
fn a_bye_ends_a_reinvite_that_is_not_answered() {
    let mut world = World::new();
    let (mut caller, mut callee) = established(&mut world, "cut-off");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &invite, 100, "");
    callee.request(&mut world, "BYE", "");
    callee.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    caller.take_bye(&mut world);
    let cancel = callee.expect(&mut world, "CANCEL");
    callee.respond(&mut world, &cancel, 200, "");
    // It had agreed before: its 2xx still gets its ACK.
    callee.respond(
        &mut world,
        &invite,
        200,
        &described("10.2.0.2", 6000, 2, "recvonly"),
    );
    callee.expect(&mut world, "ACK");
    world.assert_quiet();
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn a_reinvite_that_finds_the_dialog_gone_ends_the_call() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "amnesia");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &invite, 481, "");
    callee.expect(&mut world, "ACK");
    let gone = caller.expect(&mut world, "481");
    caller.ack(&mut world, &gone, "");
    caller.take_bye(&mut world);
    callee.take_bye(&mut world);
    assert_eq!(world.agent.counters().calls_ended["peer_gone"], 1);
    world.assert_clean();
}

#[test]
fn a_reinvite_that_nobody_answers_ends_the_call() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "deaf");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    world.advance(TRANSACTION);
    let lost = caller.expect(&mut world, "408");
    caller.ack(&mut world, &lost, "");
    caller.take_bye(&mut world);
    world.clear(callee.at);
    world.advance(TRANSACTION);
    world.clear(callee.at);
    assert_eq!(world.agent.calls(), []);
    world.assert_clean();
}

#[test]
fn an_update_offers_and_its_answer_comes_back() {
    let mut world = World::new();
    let (caller, mut callee) = established(&mut world, "update");
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6600, 2, "sendrecv"),
    );
    let update = caller.expect(&mut world, "UPDATE");
    assert_eq!(media_of(&update).0, "10.1.0.1");
    caller.respond(
        &mut world,
        &update,
        200,
        &described("10.1.0.2", 4400, 2, "sendrecv"),
    );
    let agreed = callee.expect(&mut world, "200");
    assert_eq!(media_of(&agreed).0, "10.2.0.1");
    assert_eq!(from_caller(&world), Some(addr("10.2.0.2:6600")));
    // One without an offer only refreshes.
    callee.request_with(&mut world, "UPDATE", "", "");
    let update = caller.expect(&mut world, "UPDATE");
    assert_eq!(header(&update, HeaderName::Contact), "<sip:10.1.0.1:5060>");
    caller.respond(&mut world, &update, 200, "");
    callee.expect(&mut world, "200");
    end(&mut world, caller, callee);
}

#[test]
fn offers_that_cross_are_told_so() {
    let mut world = World::new();
    let (mut caller, mut callee) = established(&mut world, "offers");
    caller.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    let ours = callee.expect(&mut world, "UPDATE");
    callee.request(
        &mut world,
        "UPDATE",
        &described("10.2.0.2", 6000, 2, "sendonly"),
    );
    callee.expect(&mut world, "491");
    let mut again = caller.clone();
    again.request(
        &mut world,
        "UPDATE",
        &described("10.1.0.2", 4000, 3, "sendonly"),
    );
    again.expect(&mut world, "500");
    // An INVITE that asks for an offer is in the way no less.
    for (phone, code) in [(&mut callee, "491"), (&mut again, "500")] {
        phone.request(&mut world, "INVITE", "");
        phone.expect(&mut world, "100");
        let refused = phone.expect(&mut world, code);
        phone.ack(&mut world, &refused, "");
    }
    callee.respond(
        &mut world,
        &ours,
        200,
        &described("10.2.0.2", 6000, 2, "recvonly"),
    );
    caller.expect(&mut world, "200");
    caller.cseq = again.cseq;
    end(&mut world, caller, callee);
}

#[test]
fn info_passes_with_its_body_in_both_directions_and_while_it_rings() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "info");
    let callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 183, &sdp("10.2.0.2", 6000));
    let progress = caller.expect(&mut world, "183");
    caller.learn(&progress);
    let kind = "Content-Type: application/dtmf-relay\r\nInfo-Package: x\r\n";
    caller.request_with(&mut world, "INFO", "Signal=5\r\n", kind);
    let info = callee.expect(&mut world, "INFO");
    assert_eq!(info.body, b"Signal=5\r\n");
    assert_eq!(
        header(&info, HeaderName::ContentType),
        "application/dtmf-relay"
    );
    assert_eq!(header(&info, HeaderName::from("Info-Package")), "x");
    callee.respond(&mut world, &info, 415, "");
    caller.expect(&mut world, "415");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.cseq -= 1;
    caller.ack(&mut world, &answer, "");
    caller.cseq += 1;

    let mut callee = callee;
    callee.request_with(&mut world, "INFO", "Signal=6\r\n", kind);
    let info = caller.expect(&mut world, "INFO");
    let answer = "Content-Type: text/plain";
    caller.respond_with(&mut world, &info, 200, "heard", answer);
    let heard = callee.expect(&mut world, "200");
    assert_eq!(heard.body, b"heard");
    end(&mut world, caller, callee);
}

#[test]
fn an_info_that_nobody_answers_is_a_408_and_the_call_stays() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "info-lost");
    caller.request_with(&mut world, "INFO", "x", "Content-Type: text/plain\r\n");
    world.advance(TRANSACTION);
    world.clear(callee.at);
    caller.expect(&mut world, "408");
    assert_eq!(world.state(), CallState::Established);
    end(&mut world, caller, callee);
}

#[test]
fn requests_on_their_way_are_bounded() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "flood");
    for _ in 0..8 {
        caller.request_with(&mut world, "INFO", "x", "Content-Type: text/plain\r\n");
    }
    let waiting: Vec<_> = (0..8).map(|_| callee.expect(&mut world, "INFO")).collect();
    caller.request_with(&mut world, "INFO", "x", "Content-Type: text/plain\r\n");
    caller.expect(&mut world, "500");
    for info in waiting {
        callee.respond(&mut world, &info, 200, "");
        caller.expect(&mut world, "200");
    }
    end(&mut world, caller, callee);
}

#[test]
fn other_methods_are_refused_within_the_dialog_too() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "methods");
    for (method, code) in [
        ("OPTIONS", "200"),
        ("REFER", "405"),
        ("SUBSCRIBE", "405"),
        ("REGISTER", "405"),
        ("PUBLISH", "405"),
        ("DANCE", "501"),
    ] {
        caller.request(&mut world, method, "");
        let answer = caller.expect(&mut world, code);
        assert!(
            header(&answer, HeaderName::Allow).contains("INVITE"),
            "{method}"
        );
    }
    callee.expect_nothing(&mut world);
    end(&mut world, caller, callee);
}

#[test]
fn notify_passes_with_its_event_and_its_481_ends_nothing() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "notify");
    let more = "Event: refer;id=7\r\nSubscription-State: active;expires=60\r\nContent-Type: text/plain\r\n";
    caller.request_with(&mut world, "NOTIFY", "so far", more);
    let notify = callee.expect(&mut world, "NOTIFY");
    assert_eq!(header(&notify, HeaderName::Event), "refer;id=7");
    assert_eq!(
        header(&notify, HeaderName::SubscriptionState),
        "active;expires=60"
    );
    assert_eq!(notify.body, b"so far");
    callee.respond(&mut world, &notify, 481, "");
    caller.expect(&mut world, "481");
    assert_eq!(world.state(), CallState::Established);
    let long = "x".repeat(20_000);
    caller.request_with(&mut world, "NOTIFY", &long, more);
    caller.expect(&mut world, "413");
    callee.expect_nothing(&mut world);
    end(&mut world, caller, callee);
}

#[test]
fn a_request_out_of_order_or_out_of_hops_goes_no_further() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "order");
    let mut late = caller.clone();
    late.cseq -= 1;
    let text = "Content-Type: text/plain\r\n";
    caller.cseq += 5;
    caller.request_with(&mut world, "INFO", "x", text);
    let info = callee.expect(&mut world, "INFO");
    callee.respond(&mut world, &info, 200, "");
    caller.expect(&mut world, "200");
    late.request_with(&mut world, "INFO", "x", text);
    late.expect(&mut world, "500");
    caller.request_with(
        &mut world,
        "INFO",
        "x",
        "Content-Type: text/plain\r\nMax-Forwards: 0\r\n",
    );
    caller.expect(&mut world, "483");
    callee.expect_nothing(&mut world);
    end(&mut world, caller, callee);
}

#[test]
fn a_reinvite_during_the_ack_of_the_first_invite_is_told_to_wait() {
    let mut world = World::new();
    let (mut caller, invite) = calling(&mut world, "soon");
    let mut callee = Phone::callee(CALLEE, &invite, "callee");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    callee.request(
        &mut world,
        "INVITE",
        &described("10.2.0.2", 6000, 2, "sendonly"),
    );
    callee.expect(&mut world, "100");
    let glare = callee.expect(&mut world, "491");
    callee.ack(&mut world, &glare, "");
    caller.ack(&mut world, &answer, "");
    world.advance(Duration::from_secs(1));
    end(&mut world, caller, callee);
}

#[test]
fn a_reinvite_whose_2xx_is_never_acknowledged_ends_the_call() {
    let mut world = World::new();
    let (mut caller, callee) = established(&mut world, "unacknowledged");
    caller.request(&mut world, "INVITE", &sdp("10.1.0.2", 4002));
    caller.expect(&mut world, "100");
    let invite = callee.expect(&mut world, "INVITE");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6002));
    callee.expect(&mut world, "ACK");
    world.advance(TRANSACTION);
    callee.take_bye(&mut world);
    world.clear(caller.at);
    world.assert_clean();
    assert_eq!(world.record().release.cause, "no_ack");
}
