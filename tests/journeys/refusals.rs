//! Proof 3: requests that tandem answers by itself, and those that it refuses.

use std::time::Duration;

use crate::lab::network::at;
use crate::lab::pair::{Pair, inside};
use crate::lab::phone::Phone;
use crate::lab::relay::Setup;
use crate::lab::sip::{Message, SENDRECV, audio};
use crate::lab::turn::Turn;

/// A request outside dialogs, and its answer.
fn ask(
    phone: &mut Phone,
    method: &str,
    change: impl FnOnce(Message) -> Message,
    code: u16,
) -> Message {
    let mut dialog = phone.dialog("4711");
    let request = change(phone.request(&mut dialog, method));
    phone.send(&request);
    let answer = phone.expect_response(code, method);
    if method == "INVITE" {
        phone.send(&phone.ack_refusal(&request, &answer));
    }
    answer
}

fn with_header(name: &'static str, value: &'static str) -> impl FnOnce(Message) -> Message {
    move |mut message| {
        message.headers.retain(|(known, _)| known != name);
        message.with(name, value)
    }
}

#[test]
fn options_are_answered() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let ok = ask(&mut pair.caller, "OPTIONS", |request| request, 200);
    assert!(ok.expect_header("Allow").contains("INVITE"));
    assert!(ok.expect_header("Accept").contains("application/sdp"));
    pair.assert_quiet();
}

#[test]
fn methods_that_are_not_served_are_405_and_unknown_ones_501() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    for method in ["REGISTER", "SUBSCRIBE", "PUBLISH"] {
        let refusal = ask(&mut pair.caller, method, |request| request, 405);
        assert!(refusal.expect_header("Allow").contains("INVITE"));
    }
    ask(&mut pair.caller, "FROBNICATE", |request| request, 501);
    pair.assert_quiet();
}

#[test]
fn a_request_that_has_travelled_too_far_is_483() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    ask(
        &mut pair.caller,
        "INVITE",
        with_header("Max-Forwards", "0"),
        483,
    );
    pair.assert_quiet();
}

#[test]
fn max_forwards_is_counted_down() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("4711");
    let request = pair.caller.request(&mut dialog, "INVITE");
    let request = with_header("Max-Forwards", "7")(request);
    pair.caller
        .send(&request.with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV)));
    let invite = pair.callee.expect_request("INVITE");
    assert_eq!(invite.header("Max-Forwards"), Some("6"));
}

#[test]
fn the_same_request_by_another_way_is_482() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    pair.callee.expect_request("INVITE");
    // A proxy that forks and joins again: same Call-ID, From tag and CSeq, another branch (8.2.2.2).
    let mut merged = request.clone();
    merged.headers[0].1 = pair.caller.via();
    pair.caller.send(&merged);
    let refusal = pair.caller.expect_response(482, "INVITE");
    assert_eq!(
        refusal.header("Via").map(branch),
        merged.header("Via").map(branch)
    );
}

#[test]
fn an_invite_that_a_proxy_sends_back_is_482() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    // The callee's host is a proxy whose routing leads back to tandem: its Via on top, a hop less.
    let mut looped = pair.callee.expect_request("INVITE");
    let ours = looped.expect_header("Via").to_owned();
    looped
        .headers
        .retain(|(name, _)| name != "Max-Forwards" && name != "Content-Length");
    looped.headers.insert(0, ("Via".into(), pair.callee.via()));
    let looped = looped.with("Max-Forwards", "68");
    pair.callee.send(&looped);
    let refusal = pair.callee.expect_response(482, "INVITE");
    let mut vias = refusal.headers.iter().filter(|(name, _)| name == "Via");
    assert_eq!(vias.next_back().map(|(_, via)| via), Some(&ours));
    pair.callee
        .send(&pair.callee.ack_refusal(&looped, &refusal));
    assert_eq!(pair.relay.calls("offered"), 1);
}

fn branch(via: &str) -> &str {
    let (_, rest) = via.split_once("branch=").unwrap_or_default();
    rest.split(';').next().unwrap_or_default()
}

#[test]
fn strangers_and_numbers_that_lead_nowhere_are_refused() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("999");
    let request = pair.caller.request(&mut dialog, "INVITE");
    pair.caller.send(&request);
    let refusal = pair.caller.expect_response(404, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));

    pair.network.caller.ip("address add 10.1.0.66/24 dev up0");
    let mut stranger = Phone::new(&pair.network.caller, at("10.1.0.66", 5060), inside(5060));
    ask(&mut stranger, "INVITE", |request| request, 403);
    pair.assert_quiet();
}

#[test]
fn whole_networks_may_call_or_are_not_listened_to() {
    let _turn = Turn::shared();
    let callers = "name = \"callers\"\n";
    let setup = Setup::default()
        .replace(callers, &format!("{callers}access = [\"10.1.0.64/28\"]\n"))
        .append("[limits]\ndeny = [\"10.1.0.72/30\"]\n");
    let mut pair = Pair::new(&setup);
    let mut phones = [66, 73].map(|number| {
        let address = format!("10.1.0.{number}");
        let caller = &pair.network.caller;
        caller.ip(&format!("address add {address}/24 dev up0"));
        Phone::new(caller, at(&address, 5060), inside(5060))
    });
    // A number that leads nowhere: one gets so far, the other is not answered.
    let [of_the_trunk, denied] = &mut phones;
    let mut dialog = denied.dialog("999");
    denied.send(&denied.request(&mut dialog, "INVITE"));
    ask_for("999", of_the_trunk, 404);
    denied.assert_nothing_unheard(Duration::from_millis(300));
    let status = pair.relay.json(&["status"]).to_string();
    assert!(status.contains("\"denied\":1"), "{status}");
    pair.assert_quiet();
}

fn ask_for(user: &str, phone: &mut Phone, code: u16) {
    let mut dialog = phone.dialog(user);
    let request = phone.request(&mut dialog, "INVITE");
    phone.send(&request);
    let answer = phone.expect_response(code, "INVITE");
    phone.send(&phone.ack_refusal(&request, &answer));
}

#[test]
fn requests_of_no_dialog_are_481_and_a_stray_ack_is_ignored() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let in_dialog = |mut message: Message| {
        for (name, value) in &mut message.headers {
            if name == "To" {
                value.push_str(";tag=nobody");
            }
        }
        message
    };
    ask(&mut pair.caller, "BYE", in_dialog, 481);
    ask(&mut pair.caller, "INFO", in_dialog, 481);
    let mut dialog = pair.caller.dialog("4711");
    let ack = in_dialog(pair.caller.request(&mut dialog, "ACK"));
    pair.caller.send(&ack);
    pair.caller
        .assert_nothing_unheard(Duration::from_millis(300));
    ask(&mut pair.caller, "OPTIONS", |request| request, 200);
}

#[test]
fn lost_messages_are_made_good() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("t1", "\"100ms\""));
    // The callee's host loses the first INVITE, the caller's host the first 200 to it.
    pair.network.callee.filter(
        "table inet loss { chain input { type filter hook input priority 0; \
         udp sport 5060 limit rate over 1/hour burst 1 packets accept; udp sport 5060 drop; }; }",
    );
    let (call, mut parties) = pair.call(30_000);
    assert_eq!(
        pair.callee
            .repeats(|message| message.method() == Some("INVITE")),
        0,
        "the first INVITE was lost, the second came"
    );
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn retransmissions_are_absorbed() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    for _ in 0..5 {
        pair.caller.send(&request);
    }
    let invite = pair.callee.expect_request("INVITE");
    let ok = pair
        .callee
        .response(&invite, 200, "OK", "t")
        .with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV));
    for _ in 0..5 {
        pair.callee.send(&ok);
    }
    let answer = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&answer);
    let ack = pair.caller.request(&mut dialog, "ACK");
    for _ in 0..5 {
        pair.caller.send(&ack);
    }
    pair.callee.expect_request("ACK");
    let bye = pair.caller.request(&mut dialog, "BYE");
    for _ in 0..5 {
        pair.caller.send(&bye);
    }
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    pair.assert_quiet();
    let again = |method: &'static str| move |message: &Message| message.method() == Some(method);
    assert_eq!(pair.callee.repeats(again("INVITE")), 0);
    assert_eq!(pair.callee.repeats(again("BYE")), 0);
    assert_eq!(pair.relay.calls("offered"), 1);
}
