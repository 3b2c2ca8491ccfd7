//! Proof 3: dialogs on the wire, from ringing to the end, with scripted peers.

use std::time::Duration;

use crate::lab::network::at;
use crate::lab::pair::{Pair, inside, outside};
use crate::lab::phone::{Dialog, Phone};
use crate::lab::relay::Setup;
use crate::lab::rtp::{Party, introduce, talk};
use crate::lab::sip::{INACTIVE, Message, RECVONLY, SENDONLY, SENDRECV, audio, stream, streams};
use crate::lab::turn::Turn;

#[test]
fn a_call_rings_is_answered_talks_and_ends() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);

    assert_eq!(call.caller_sends_to.ip(), inside(0).ip());
    assert_eq!(call.callee_sends_to.ip(), outside(0).ip());
    assert_eq!(call.callee_sends_to.port() % 2, 0, "RTP ports are even");
    let invite = call.invite.to_text();
    for hidden in ["10.1.0", &call.caller.call_id] {
        assert!(!invite.contains(hidden), "{hidden} shows in:\n{invite}");
    }
    let answer = call.answer.to_text();
    assert!(!answer.contains("10.2.0"), "the callee shows in:\n{answer}");
    pair.finish(call);
}

#[test]
fn the_callee_may_hang_up() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (call, _parties) = pair.call(30_000);
    call.callee_hangs_up(&mut pair.caller, &mut pair.callee);
    pair.assert_quiet();
}

#[test]
fn early_media_is_heard_before_the_answer() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = pair.parties(30_000);
    let mut dialog = pair.caller.dialog("4711");
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&audio(
        parties[0].address(),
        1,
        SENDRECV,
    ));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let sdp = audio(parties[1].address(), 1, SENDRECV);
    let progress = pair
        .callee
        .response(&invite, 183, "Session Progress", "early");
    pair.callee.send(&progress.with_sdp(&sdp));
    let progress = pair.caller.expect_response(183, "INVITE");
    parties[0].towards = Some(stream(&progress));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);

    let ok = pair.callee.response(&invite, 200, "OK", "early");
    pair.callee.send(&ok.with_sdp(&sdp));
    let answer = pair.caller.expect_response(200, "INVITE");
    assert_eq!(
        answer.tag("To"),
        progress.tag("To"),
        "one dialog throughout"
    );
    assert_eq!(stream(&answer), stream(&progress));
    dialog.learn(&answer);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    Pair::assert_audio(&mut parties);

    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    pair.assert_quiet();
}

/// One offer and answer within the dialog; what the other side was offered and what the sender was answered.
pub(crate) fn renegotiate(
    (from, to): (&mut Phone, &mut Phone),
    dialog: &mut Dialog,
    offer: &str,
    answer: &str,
) -> (String, String) {
    let request = from.request(dialog, "INVITE").with_sdp(offer);
    from.send(&request);
    let invite = to.expect_request("INVITE");
    to.send(&to.response(&invite, 200, "OK", "").with_sdp(answer));
    let ok = from.expect_response(200, "INVITE");
    let ack = from.request(dialog, "ACK");
    from.send(&ack);
    to.expect_request("ACK");
    (invite.body, ok.body)
}

#[test]
fn hold_and_resume_from_either_side() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let (one, other) = (parties[0].address(), parties[1].address());

    // By the caller, with sendonly.
    let ends = (&mut pair.caller, &mut pair.callee);
    let (hold, _) = renegotiate(
        ends,
        &mut call.caller,
        &audio(one, 2, SENDONLY),
        &audio(other, 2, RECVONLY),
    );
    assert!(hold.contains("a=sendonly\r\n"), "{hold}");
    let ends = (&mut pair.caller, &mut pair.callee);
    let (resume, _) = renegotiate(
        ends,
        &mut call.caller,
        &audio(one, 3, SENDRECV),
        &audio(other, 3, SENDRECV),
    );
    assert_eq!(streams(&resume), [call.callee_sends_to]);
    Pair::assert_audio(&mut parties);

    // By the callee, with inactive.
    let ends = (&mut pair.callee, &mut pair.caller);
    let (hold, answered) = renegotiate(
        ends,
        &mut call.callee,
        &audio(other, 4, INACTIVE),
        &audio(one, 4, INACTIVE),
    );
    assert!(hold.contains("a=inactive\r\n"), "{hold}");
    assert!(answered.contains("a=inactive\r\n"), "{answered}");
    let ends = (&mut pair.callee, &mut pair.caller);
    let (resume, _) = renegotiate(
        ends,
        &mut call.callee,
        &audio(other, 5, SENDRECV),
        &audio(one, 5, SENDRECV),
    );
    assert_eq!(streams(&resume), [call.caller_sends_to]);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn hold_in_the_old_way_names_no_address() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    let (one, other) = (parties[0].address(), parties[1].address());
    let old_hold = audio(one, 2, SENDRECV).replace("c=IN IP4 10.1.0.2", "c=IN IP4 0.0.0.0");
    let ends = (&mut pair.caller, &mut pair.callee);
    renegotiate(
        ends,
        &mut call.caller,
        &old_hold,
        &audio(other, 2, SENDRECV),
    );
    parties[1].start_over();
    talk(&mut parties[1..], 10);
    parties[0].listen();
    assert_eq!(parties[0].heard(), 0, "0.0.0.0 wants nothing");
    let ends = (&mut pair.caller, &mut pair.callee);
    renegotiate(
        ends,
        &mut call.caller,
        &audio(one, 3, SENDRECV),
        &audio(other, 3, SENDRECV),
    );
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn audio_follows_a_new_address() {
    let _turn = Turn::shared();
    // The old address is locked for good when the new one comes.
    let mut pair = Pair::new(&Setup::default().set("latch_window", "\"500ms\""));
    let (mut call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);

    pair.network.caller.ip("address add 10.1.0.7/24 dev up0");
    let mut moved = Party::g711(&pair.network.caller, at("10.1.0.7", 31_000));
    let [_, mut other] = parties;
    introduce(&mut moved, &mut other);
    let ends = (&mut pair.caller, &mut pair.callee);
    let (offered, answered) = renegotiate(
        ends,
        &mut call.caller,
        &audio(moved.address(), 2, SENDRECV),
        &audio(other.address(), 2, SENDRECV),
    );
    moved.towards = Some(streams(&answered)[0]);
    other.towards = Some(streams(&offered)[0]);
    let mut parties = [moved, other];
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn a_refused_renegotiation_leaves_the_call_as_it_was() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    let elsewhere = "10.1.0.9:31000".parse().expect("an address");
    let request = pair
        .caller
        .request(&mut call.caller, "INVITE")
        .with_sdp(&audio(elsewhere, 2, SENDRECV));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    pair.callee.respond(&invite, 488, "Not Acceptable Here", "");
    pair.callee.expect_request("ACK");
    let refusal = pair.caller.expect_response(488, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refusal));
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn the_offer_may_come_late() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = pair.parties(30_000);
    let mut dialog = pair.caller.dialog("4711");
    let request = pair.caller.request(&mut dialog, "INVITE");
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    assert_eq!(invite.body, "", "no offer yet");
    let offer = audio(parties[1].address(), 1, SENDRECV);
    let ok = pair.callee.response(&invite, 200, "OK", "late");
    pair.callee.send(&ok.with_sdp(&offer));
    let ok = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&ok);
    let answer = audio(parties[0].address(), 1, SENDRECV);
    let ack = pair.caller.request(&mut dialog, "ACK").with_sdp(&answer);
    pair.caller.send(&ack);
    let ack = pair.callee.expect_request("ACK");
    parties[0].towards = Some(stream(&ok));
    parties[1].towards = Some(stream(&ack));
    Pair::assert_audio(&mut parties);

    let bye = pair.caller.request(&mut dialog, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    pair.assert_quiet();
}

#[test]
fn info_and_update_are_relayed_with_their_bodies() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    let digit = "Signal=5\r\nDuration=160\r\n";
    let mut info = pair
        .caller
        .request(&mut call.caller, "INFO")
        .with("Content-Type", "application/dtmf-relay");
    info.body = digit.to_owned();
    pair.caller.send(&info);
    let info = pair.callee.expect_request("INFO");
    assert_eq!(info.body, digit);
    assert_eq!(info.header("Content-Type"), Some("application/dtmf-relay"));
    pair.callee.respond(&info, 200, "OK", "");
    pair.caller.expect_response(200, "INFO");

    let update = pair.callee.request(&mut call.callee, "UPDATE");
    pair.callee.send(&update);
    let update = pair.caller.expect_request("UPDATE");
    pair.caller.respond(&update, 200, "OK", "");
    pair.callee.expect_response(200, "UPDATE");

    // UPDATE with an offer moves the audio as a re-INVITE does (RFC 3311).
    let offer = audio(parties[0].address(), 2, SENDRECV);
    let update = pair
        .caller
        .request(&mut call.caller, "UPDATE")
        .with_sdp(&offer);
    pair.caller.send(&update);
    let update = pair.callee.expect_request("UPDATE");
    assert_eq!(stream(&update).ip(), outside(0).ip());
    let answer = audio(parties[1].address(), 2, SENDRECV);
    let ok = pair.callee.response(&update, 200, "OK", "");
    pair.callee.send(&ok.with_sdp(&answer));
    let ok = pair.caller.expect_response(200, "UPDATE");
    assert_eq!(stream(&ok).ip(), inside(0).ip());
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn two_renegotiations_at_once_are_both_put_off() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    let (one, other) = (parties[0].address(), parties[1].address());
    let by_caller = pair.caller.request(&mut call.caller, "INVITE");
    let by_caller = by_caller.with_sdp(&audio(one, 2, SENDRECV));
    pair.caller.send(&by_caller);
    // The callee's is sent before it has read the caller's (RFC 3261 14.1).
    let held = pair.callee.expect_request("INVITE");
    let by_callee = pair.callee.request(&mut call.callee, "INVITE");
    let by_callee = by_callee.with_sdp(&audio(other, 2, SENDRECV));
    pair.callee.send(&by_callee);
    let refusal = pair.callee.expect_response(491, "INVITE");
    pair.callee
        .send(&pair.callee.ack_refusal(&by_callee, &refusal));
    pair.callee.respond(&held, 491, "Request Pending", "");
    pair.callee.expect_request("ACK");
    let refusal = pair.caller.expect_response(491, "INVITE");
    pair.caller
        .send(&pair.caller.ack_refusal(&by_caller, &refusal));
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn both_may_hang_up_at_once() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, _parties) = pair.call(30_000);
    let by_caller = pair.caller.request(&mut call.caller, "BYE");
    let by_callee = pair.callee.request(&mut call.callee, "BYE");
    pair.caller.send(&by_caller);
    pair.callee.send(&by_callee);
    // Each gets an answer to its own; whether it also sees the other's depends on who was first.
    let over = |message: &Message| {
        message.cseq_method() == "BYE" && matches!(message.status(), Some(200 | 481))
    };
    pair.caller.expect("an answer to BYE", over);
    pair.callee.expect("an answer to BYE", over);
    for phone in [&mut pair.caller, &mut pair.callee] {
        if let Some(bye) = phone.heard(|message| message.method() == Some("BYE")) {
            phone.respond(&bye, 200, "OK", "");
        }
    }
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
}

#[test]
fn several_streams_and_a_rejected_one() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut sound = pair.parties(30_000);
    let mut second = pair.parties(30_004);
    let line = |port: u16| format!("m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n");
    let offer = audio(sound[0].address(), 1, SENDRECV)
        + &format!(
            "m=video 30008 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n{}",
            line(30_004)
        );
    let mut dialog = pair.caller.dialog("4711");
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let answer = audio(sound[1].address(), 1, SENDRECV)
        + &format!("m=video 0 RTP/AVP 96\r\n{}", line(30_004));
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    pair.callee.send(&ok.with_sdp(&answer));
    let ok = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    let (offered, answered) = (streams(&invite.body), streams(&ok.body));
    assert_eq!((offered.len(), answered.len()), (3, 3));
    assert_eq!(answered[1].port(), 0, "rejected: {}", ok.body);
    for (parties, index) in [(&mut sound, 0), (&mut second, 2)] {
        parties[0].towards = Some(answered[index]);
        parties[1].towards = Some(offered[index]);
        Pair::assert_audio(parties);
    }
}

/// A session description of audio and further streams, each one line of G.711 at a port; 0 is a rejected one.
fn with_streams(party: &Party, version: u32, ports: &[u16]) -> String {
    let mut sdp = audio(party.address(), version, SENDRECV);
    for port in ports {
        sdp += &format!("m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n");
    }
    sdp
}

#[test]
fn streams_come_and_go_in_the_middle_of_a_call() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut first) = pair.call(30_000);
    let mut added = pair.parties(30_004);
    let flows = |pair: &Pair| {
        let status = pair.relay.json(&["status"]);
        status.pointer("/media/flows").and_then(|n| n.as_u64())
    };
    assert_eq!(flows(&pair), Some(4), "RTP and RTCP each way");

    // A second stream is added.
    let (offer, answer) = (
        with_streams(&first[0], 2, &[30_004]),
        with_streams(&first[1], 2, &[30_004]),
    );
    let ends = (&mut pair.caller, &mut pair.callee);
    let (offered, answered) = renegotiate(ends, &mut call.caller, &offer, &answer);
    let (offered, answered) = (streams(&offered), streams(&answered));
    assert_eq!(offered[0], call.callee_sends_to, "the first stays");
    assert_eq!(answered[0], call.caller_sends_to, "the first stays");
    added[0].towards = Some(answered[1]);
    added[1].towards = Some(offered[1]);
    Pair::assert_audio(&mut first);
    Pair::assert_audio(&mut added);
    assert_eq!(flows(&pair), Some(8));

    // The callee removes it; its ports carry nothing any more.
    let (offer, answer) = (
        with_streams(&first[1], 3, &[0]),
        with_streams(&first[0], 3, &[0]),
    );
    let ends = (&mut pair.callee, &mut pair.caller);
    let (offered, answered) = renegotiate(ends, &mut call.callee, &offer, &answer);
    assert_eq!(streams(&offered)[1].port(), 0, "{offered}");
    assert_eq!(streams(&answered)[1].port(), 0, "{answered}");
    pair.relay.expect_gauge("flows", 4, Duration::from_secs(5));
    added.iter_mut().for_each(Party::start_over);
    talk(&mut added, 5);
    for party in &added {
        assert_eq!(party.heard(), 0, "removed");
    }
    Pair::assert_audio(&mut first);

    // Its place is taken by another.
    let (offer, answer) = (
        with_streams(&first[0], 4, &[30_004]),
        with_streams(&first[1], 4, &[30_004]),
    );
    let ends = (&mut pair.caller, &mut pair.callee);
    let (offered, answered) = renegotiate(ends, &mut call.caller, &offer, &answer);
    let again = streams(&answered)[1];
    assert_ne!(Some(again), added[0].towards, "the old port rests");
    added[0].towards = Some(again);
    added[1].towards = Some(streams(&offered)[1]);
    Pair::assert_audio(&mut first);
    Pair::assert_audio(&mut added);
    pair.finish(call);
}
