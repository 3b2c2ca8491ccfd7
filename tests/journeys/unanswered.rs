//! Proof 3, and the ringing part of proof 5: calls that are not answered, or not by the first who is asked.

use std::time::{Duration, Instant};

use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::phone::{Dialog, Phone};
use crate::lab::relay::Setup;
use crate::lab::rtp::{Party, introduce, talk};
use crate::lab::sip::{Message, SENDRECV, audio, stream};
use crate::lab::turn::Turn;

/// The caller sends an INVITE with an offer.
fn dial(pair: &mut Pair, user: &str) -> (Dialog, Message) {
    let mut dialog = pair.caller.dialog(user);
    let offer = audio(at("10.1.0.2", 30_000), 1, SENDRECV);
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    (dialog, request)
}

/// The caller is refused with this code, acknowledges, and nothing of the call is left.
fn refused(pair: &mut Pair, request: &Message, code: u16) -> Message {
    let refusal = pair.caller.expect_response(code, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(request, &refusal));
    refusal
}

fn assert_no_call_left(pair: &mut Pair) {
    pair.assert_quiet();
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
    pair.relay.expect_gauge("flows", 0, Duration::from_secs(5));
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_callee() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (_, request) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    pair.callee.respond(&invite, 180, "Ringing", "t");
    pair.caller.expect_response(180, "INVITE");
    pair.caller.send(&pair.caller.cancel(&request));
    pair.caller.expect_response(200, "CANCEL");
    refused(&mut pair, &request, 487);
    let cancel = pair.callee.expect_request("CANCEL");
    assert_eq!(cancel.header("Via"), invite.header("Via"), "RFC 3261 9.1");
    pair.callee.respond(&cancel, 200, "OK", "t");
    pair.callee.respond(&invite, 487, "Request Terminated", "t");
    pair.callee.expect_request("ACK");
    assert_no_call_left(&mut pair);
}

#[test]
fn a_cancel_before_any_answer_waits_for_the_first_provisional() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (_, request) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    pair.caller.send(&pair.caller.cancel(&request));
    pair.caller.expect_response(200, "CANCEL");
    refused(&mut pair, &request, 487);
    pair.callee.respond(&invite, 100, "Trying", "");
    let cancel = pair.callee.expect_request("CANCEL");
    pair.callee.respond(&cancel, 200, "OK", "t");
    pair.callee.respond(&invite, 487, "Request Terminated", "t");
    pair.callee.expect_request("ACK");
    assert_no_call_left(&mut pair);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (_, request) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    pair.callee.respond(&invite, 180, "Ringing", "t");
    pair.caller.expect_response(180, "INVITE");
    pair.caller.send(&pair.caller.cancel(&request));
    pair.caller.expect_response(200, "CANCEL");
    refused(&mut pair, &request, 487);
    let cancel = pair.callee.expect_request("CANCEL");
    // The callee picked up before the CANCEL came.
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    pair.callee
        .send(&ok.with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV)));
    pair.callee.respond(&cancel, 200, "OK", "t");
    pair.callee.expect_request("ACK");
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    assert_no_call_left(&mut pair);
}

#[test]
fn a_callee_that_never_answers_is_cancelled_and_the_caller_told_408() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("no_answer", "\"2s\""));
    let start = Instant::now();
    let (_, request) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    pair.callee.respond(&invite, 180, "Ringing", "t");
    refused(&mut pair, &request, 408);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2), "408 after {took:?}");
    assert!(took < Duration::from_secs(4), "408 after {took:?}");
    let cancel = pair.callee.expect_request("CANCEL");
    pair.callee.respond(&cancel, 200, "OK", "t");
    pair.callee.respond(&invite, 487, "Request Terminated", "t");
    pair.callee.expect_request("ACK");
    pair.caller.expect_response(180, "INVITE");
    assert_no_call_left(&mut pair);
}

#[test]
fn a_callee_that_is_not_there_is_a_408_after_64_t1() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("t1", "\"50ms\""));
    let (_, request) = dial(&mut pair, "4711");
    // It hears and says nothing: timer B (RFC 3261 17.1.1.2) is 3.2 s here.
    pair.callee.expect_request("INVITE");
    refused(&mut pair, &request, 408);
    let repeats = pair
        .callee
        .repeats(|message| message.method() == Some("INVITE"));
    assert_eq!(repeats, 6, "timer A: at 1, 3, 7, 15, 31, 63 T1");
    assert_no_call_left(&mut pair);
}

#[test]
fn a_failure_keeps_its_code_and_reason() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    for (code, reason) in [(486, "Busy Here"), (480, "Gone Fishing"), (603, "Decline")] {
        let (_, request) = dial(&mut pair, "4711");
        let invite = pair.callee.expect_request("INVITE");
        pair.callee.respond(&invite, code, reason, "t");
        pair.callee.expect_request("ACK");
        let refusal = refused(&mut pair, &request, code);
        assert_eq!(refusal.start, format!("SIP/2.0 {code} {reason}"));
    }
    assert_no_call_left(&mut pair);
}

/// A call to 7..., answered by the second trunk after whatever the first did.
fn answered_by_the_second(pair: &mut Pair, patience: Duration) {
    let invite = pair
        .callee
        .expect_within(patience, "INVITE at the second trunk", |message| {
            message.method() == Some("INVITE")
        });
    let mut parties = pair.parties(30_000);
    let ok = pair.callee.response(&invite, 200, "OK", "second");
    pair.callee
        .send(&ok.with_sdp(&audio(parties[1].address(), 1, SENDRECV)));
    let ok = pair.caller.expect_response(200, "INVITE");
    parties[0].towards = Some(stream(&ok));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);
}

#[test]
fn a_503_moves_the_call_to_the_next_trunk() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut first = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5070),
        at("10.2.0.1", 5060),
    );
    dial(&mut pair, "7711");
    let invite = first.expect_request("INVITE");
    first.respond(&invite, 503, "Service Unavailable", "t");
    first.expect_request("ACK");
    answered_by_the_second(&mut pair, Duration::from_secs(5));
}

#[test]
fn a_closed_port_moves_the_call_to_the_next_trunk() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    // Nobody is bound to 5070: the callee's kernel answers with ICMP.
    dial(&mut pair, "7711");
    answered_by_the_second(&mut pair, Duration::from_secs(5));
}

#[test]
fn silence_moves_the_call_to_the_next_trunk() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default().set("t1", "\"50ms\""));
    let mut first = Phone::new(
        &pair.network.callee,
        at("10.2.0.2", 5070),
        at("10.2.0.1", 5060),
    );
    dial(&mut pair, "7711");
    first.expect_request("INVITE");
    answered_by_the_second(&mut pair, Duration::from_secs(8));
}

#[test]
fn forks_are_mirrored_and_the_first_answer_wins() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut dialog, _) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    // Two phones ring behind the callee's own proxy.
    pair.callee.respond(&invite, 180, "Ringing", "desk");
    let desk = pair.caller.expect_response(180, "INVITE");
    pair.callee.respond(&invite, 180, "Ringing", "mobile");
    let mobile = pair.caller.expect_response(180, "INVITE");
    assert_ne!(desk.tag("To"), mobile.tag("To"), "an early dialog each");

    let answer = |pair: &Pair, tag: &str, port| {
        let ok = pair.callee.response(&invite, 200, "OK", tag);
        pair.callee
            .send(&ok.with_sdp(&audio(at("10.2.0.2", port), 1, SENDRECV)));
    };
    let mut parties = pair.parties(30_000);
    answer(&pair, "mobile", 30_000);
    let ok = pair.caller.expect_response(200, "INVITE");
    assert_eq!(ok.tag("To"), mobile.tag("To"), "the mobile's dialog");
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    let ack = pair.callee.expect_request("ACK");
    assert_eq!(ack.tag("To"), Some("mobile"));

    // The desk picks up too, too late: acknowledged, ended, and the caller never hears of it.
    answer(&pair, "desk", 32_000);
    let ack = pair.callee.expect_request("ACK");
    assert_eq!(ack.tag("To"), Some("desk"));
    let bye = pair.callee.expect_request("BYE");
    assert_eq!(bye.tag("To"), Some("desk"));
    pair.callee.respond(&bye, 200, "OK", "");

    parties[0].towards = Some(stream(&ok));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);
    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    assert_eq!(bye.tag("To"), Some("mobile"));
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    assert_no_call_left(&mut pair);
}

#[test]
fn audio_goes_from_the_fork_that_was_heard_early_to_the_one_that_answers() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut dialog, _) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    let [one, desk] = pair.parties(30_000);
    let mobile = Party::g711(&pair.network.callee, at("10.2.0.2", 32_000));
    let mut says = |code, reason, tag, party: &Party| {
        let response = pair.callee.response(&invite, code, reason, tag);
        let sdp = audio(party.address(), 1, SENDRECV);
        pair.callee.send(&response.with_sdp(&sdp));
        pair.caller.expect_response(code, "INVITE")
    };
    let progress = says(183, "Session Progress", "desk", &desk);
    let mut parties = [one, desk];
    parties[0].towards = Some(stream(&progress));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);

    let ok = says(200, "OK", "mobile", &mobile);
    assert_ne!(ok.tag("To"), progress.tag("To"), "another dialog");
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    let [one, desk] = parties;
    let mut parties = [one, mobile];
    let [one, other] = &mut parties;
    introduce(one, other);
    one.towards = Some(stream(&ok));
    other.towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);

    // The desk goes on for a while: nobody hears it.
    parties[0].start_over();
    let mut desk = [desk];
    talk(&mut desk, 10);
    parties[0].listen();
    assert_eq!(parties[0].strange(), 0, "the desk is no party any more");
    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    assert_eq!(bye.tag("To"), Some("mobile"));
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    assert_no_call_left(&mut pair);
}

#[test]
fn an_answer_that_nobody_acknowledges_is_repeated_and_ended() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(
        &Setup::default()
            .set("t1", "\"50ms\"")
            .set("t2", "\"400ms\""),
    );
    let (_, _) = dial(&mut pair, "4711");
    let invite = pair.callee.expect_request("INVITE");
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    pair.callee
        .send(&ok.with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV)));
    pair.callee.expect_request("ACK");
    pair.caller.expect_response(200, "INVITE");
    // 64 T1 are 3.2 s.
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    let bye = pair.caller.expect_request("BYE");
    pair.caller.respond(&bye, 200, "OK", "");
    let repeats = pair.caller.repeats(|message| message.status() == Some(200));
    assert!(repeats >= 7, "50, 150, 350, 750, 1150 ... ms: {repeats}");
    assert_no_call_left(&mut pair);
}
