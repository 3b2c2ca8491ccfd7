//! Forks that negotiate before one of them answers: each has reliable responses, PRACKs and UPDATEs of its own.

use std::time::Duration;

use crate::lab::network::at;
use crate::lab::pair::{Pair, inside};
use crate::lab::phone::Dialog;
use crate::lab::relay::Setup;
use crate::lab::rtp::{Party, introduce};
use crate::lab::sip::{Message, SENDRECV, audio, stream};
use crate::lab::turn::Turn;

const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE";

/// A fork answers reliably with a description, and the caller acknowledges. The caller's side of the early dialog.
#[track_caller]
fn progress(pair: &mut Pair, invite: &Message, dialog: &Dialog, tag: &str, port: u16) -> Dialog {
    let progress = pair
        .callee
        .response(invite, 183, "Session Progress", tag)
        .with("Require", "100rel")
        .with("RSeq", "71")
        .with("Allow", ALLOW)
        .with_sdp(&audio(at("10.2.0.2", port), 1, SENDRECV));
    pair.callee.send(&progress);
    let heard = pair.caller.expect_response(183, "INVITE");
    let mut early = dialog.clone();
    early.learn(&heard);
    let rseq = heard.expect_header("RSeq").to_owned();
    let prack = pair.caller.request(&mut early, "PRACK");
    pair.caller
        .send(&prack.with("RAck", format!("{rseq} {} INVITE", invite_number(dialog))));
    let prack = pair.callee.expect_request("PRACK");
    assert_eq!(prack.tag("To"), Some(tag));
    assert!(prack.expect_header("RAck").starts_with("71 "));
    pair.callee.respond(&prack, 200, "OK", "");
    pair.caller.expect_response(200, "PRACK");
    early
}

/// The CSeq of the INVITE that began it: nothing else has been sent yet.
fn invite_number(dialog: &Dialog) -> u32 {
    dialog.cseq
}

/// The caller moves its audio within an early dialog; that fork alone hears of it.
#[track_caller]
fn update(
    pair: &mut Pair,
    early: &mut Dialog,
    tag: &str,
    caller: u16,
    callee: u16,
) -> [Message; 2] {
    let update = pair.caller.request(early, "UPDATE");
    pair.caller
        .send(&update.with_sdp(&audio(at("10.1.0.2", caller), 2, SENDRECV)));
    let asked = pair.callee.expect_request("UPDATE");
    assert_eq!(asked.tag("To"), Some(tag));
    let ok = pair.callee.response(&asked, 200, "OK", "");
    pair.callee
        .send(&ok.with_sdp(&audio(at("10.2.0.2", callee), 2, SENDRECV)));
    let answer = pair.caller.expect_response(200, "UPDATE");
    assert_eq!(stream(&answer).ip(), inside(0).ip());
    [asked, answer]
}

#[test]
fn each_fork_is_updated_in_its_own_early_dialog() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut dialog = pair.caller.dialog("4711");
    let request = pair
        .caller
        .request(&mut dialog, "INVITE")
        .with("Supported", "100rel")
        .with("Allow", ALLOW)
        .with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let mut desk = progress(&mut pair, &invite, &dialog, "desk", 30_000);
    let mut mobile = progress(&mut pair, &invite, &dialog, "mobile", 31_000);
    assert_ne!(desk.remote, mobile.remote, "an early dialog each");
    update(&mut pair, &mut desk, "desk", 32_000, 32_000);
    let [asked, answer] = update(&mut pair, &mut mobile, "mobile", 33_000, 33_000);

    // What the last UPDATE said is in force before the answer.
    let mut one = Party::g711(&pair.network.caller, at("10.1.0.2", 33_000));
    let mut other = Party::g711(&pair.network.callee, at("10.2.0.2", 33_000));
    introduce(&mut one, &mut other);
    one.towards = Some(stream(&answer));
    other.towards = Some(stream(&asked));
    let mut parties = [one, other];
    Pair::assert_audio(&mut parties);

    pair.callee.respond(&invite, 200, "OK", "mobile");
    let ok = pair.caller.expect_response(200, "INVITE");
    assert_eq!(mobile.remote, ok.expect_header("To"));
    // The ACK has the number of the INVITE, the BYE the next one of the dialog.
    let last = std::mem::replace(&mut mobile.cseq, dialog.cseq);
    let ack = pair.caller.request(&mut mobile, "ACK");
    pair.caller.send(&ack);
    assert_eq!(pair.callee.expect_request("ACK").tag("To"), Some("mobile"));
    Pair::assert_audio(&mut parties);
    mobile.cseq = last;
    let bye = pair.caller.request(&mut mobile, "BYE");
    pair.caller.send(&bye);
    let bye = pair.callee.expect_request("BYE");
    assert_eq!(bye.tag("To"), Some("mobile"));
    pair.callee.respond(&bye, 200, "OK", "");
    pair.caller.expect_response(200, "BYE");
    pair.assert_quiet();
    pair.relay.expect_gauge("calls", 0, Duration::from_secs(5));
}
