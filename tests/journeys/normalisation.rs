//! Trunks that differ, on the wire: numbers, names, codecs and causes, and what the running tandem says it would do.

use std::time::Duration;

use crate::lab::call::Call;
use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::phone::Dialog;
use crate::lab::relay::Setup;
use crate::lab::sip::{SENDRECV, audio};
use crate::lab::turn::Turn;

/// The callers' numbers begin with 00, the callees want a 0; no caller is named; G.711 alone.
fn setup() -> Setup {
    Setup::default()
        .replace(
            "[[trunk]]\nname = \"callees4\"",
            "[trunk.inbound]\nrequest_user = [{ match = \"0049(.*)\", replace = \"4${1}\" }]\n\
             [trunk.outbound]\nsay_cause = true\nresponses = { 486 = 480 }\n\n\
             [[trunk]]\nname = \"callees4\"",
        )
        .replace(
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]\nmedia = \"outside\"\n",
            "peers = [\"10.2.0.2:5060\"]\nlisteners = [\"outside4\"]\nmedia = \"outside\"\n\
             [trunk.outbound]\nrequest_user = [{ match = \"4(.*)\", replace = \"0$1\" }]\n\
             caller_id = \"withhold\"\nheaders_add = [{ name = \"X-Carrier\", value = \"we\" }]\n\
             [trunk.codecs]\nallow = [\"PCMA\"]\nptime = \"30ms\"\n\n",
        )
}

#[test]
fn a_call_crosses_in_the_terms_of_each_side() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&setup());
    let mut dialog = pair.caller.dialog("0049711");
    let offer =
        audio(at("10.1.0.2", 30_000), 1, SENDRECV).replace("RTP/AVP 8\r\n", "RTP/AVP 0 8\r\n");
    let request = pair.caller.request(&mut dialog, "INVITE");
    let request = request
        .with("P-Asserted-Identity", "<tel:+49555>")
        .with_sdp(&offer);
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    assert_eq!(invite.start, "INVITE sip:0711@10.2.0.2:5060 SIP/2.0");
    let from = invite.expect_header("From");
    assert!(
        from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="),
        "{from}"
    );
    assert_eq!(invite.header("P-Asserted-Identity"), None);
    assert_eq!(invite.header("X-Carrier"), Some("we"));
    assert!(
        invite.body.contains(" RTP/AVP 8\r\n") && invite.body.contains("a=ptime:30\r\n"),
        "{}",
        invite.body
    );
    // The running tandem says the same of such a call.
    let said = pair.relay.json(&["route", "callers", "0049711"]);
    let first = said
        .pointer("/candidates/0/request/0")
        .and_then(|line| line.as_str());
    assert_eq!(first, Some(invite.start.as_str()));
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    pair.callee
        .send(&ok.with_sdp(&audio(at("10.2.0.2", 30_000), 1, SENDRECV)));
    let answer = pair.caller.expect_response(200, "INVITE");
    dialog.learn(&answer);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    let call = Call {
        caller: dialog,
        callee: Dialog::callee(&invite, "t"),
        caller_sends_to: at("10.1.0.1", 20_000),
        callee_sends_to: at("10.2.0.1", 20_000),
        invite,
        answer,
    };
    // The callee knows the caller by the From that it was shown.
    call.callee_hangs_up(&mut pair.caller, &mut pair.callee);
    pair.caller
        .assert_nothing_unheard(Duration::from_millis(200));
}

#[test]
fn a_refusal_is_explained_in_the_callers_terms() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&setup());
    let mut dialog = pair.caller.dialog("4711");
    let request = pair.caller.request(&mut dialog, "INVITE");
    let request = request.with_sdp(&audio(at("10.1.0.2", 30_000), 1, SENDRECV));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    pair.callee.respond(&invite, 486, "Busy Here", "t");
    pair.callee.expect_request("ACK");
    let refused = pair.caller.expect_response(480, "INVITE");
    assert_eq!(refused.header("Reason"), Some("Q.850;cause=17"));
    pair.caller
        .send(&pair.caller.ack_refusal(&request, &refused));
}
