//! The gate: what is refused, how, and what never is.

use super::*;
use crate::settings::ListenerId;
use crate::sip::{HeaderName, Message, StatusCode};
use proptest::prelude::*;

const INVITE: &str = "INVITE sip:bob@10.0.0.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK-1;rport, SIP/2.0/UDP 10.0.0.8;branch=z9hG4bK-0\r\n\
    v: SIP/2.0/UDP 10.0.0.9\r\n\
    From: \"A\" <sip:a@x>;tag=1\r\n\
    To: <sip:bob@10.0.0.1>\r\n\
    i: one\r\n\
    CSeq: 7 INVITE\r\n\
    Content-Length: 0\r\n\r\n";

fn at(millis: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(millis)
}

fn path() -> Path {
    Path::to(ListenerId(0), "10.0.0.2:9999".parse().expect("an address"))
}

/// A gate in the midst of overload, which lets nothing in for a while after `at(1_000)`.
fn shedding() -> Gate {
    let mut gate = Gate::new(Overload {
        floor: 1,
        ..Overload::default()
    });
    for millis in (0..=1_000).step_by(50) {
        gate.observe(ListenerId(0), Duration::from_secs(1), at(millis));
    }
    assert!(gate.view(at(1_000)).shedding);
    while gate.controller.admit(at(1_000)) {}
    gate
}

fn judge(gate: &mut Gate, text: &str) -> Verdict {
    gate.judge(path(), text.as_bytes(), at(1_000), |_| false)
}

fn refusal(verdict: Verdict) -> Message {
    let Verdict::Refuse(back, bytes, _) = verdict else {
        panic!("not refused: {verdict:?}");
    };
    assert_eq!(back, path().remote);
    Message::parse(&bytes).expect("a refusal is SIP")
}

#[test]
fn a_new_call_is_refused_with_all_that_its_client_knows_it_by() {
    let response = refusal(judge(&mut shedding(), INVITE));
    assert_eq!(response.check(), Ok(()));
    assert_eq!(response.code(), Some(StatusCode::SERVICE_UNAVAILABLE));
    let request = Message::parse(INVITE.as_bytes()).expect("an INVITE");
    let values = |message: &Message, name| message.headers.values(&name).len();
    assert_eq!(values(&response, HeaderName::Via), 3);
    let via = response.via().expect("a Via");
    assert_eq!(via.branch(), Some("z9hG4bK-1"));
    assert_eq!(via.rport(), Some(9999));
    assert_eq!(response.call_id(), request.call_id());
    assert_eq!(response.cseq(), request.cseq());
    let to = response.to().expect("a To");
    assert_eq!(to.tag(), Some(TAG));
    let retry = response.headers.value(&HeaderName::RetryAfter);
    assert_eq!(retry.as_deref(), Some(&b"5"[..]));
}

#[test]
fn a_refused_call_stays_refused_and_one_with_a_transaction_passes() {
    let mut gate = shedding();
    let Verdict::Refuse(back, response, Some(shed)) = judge(&mut gate, INVITE) else {
        panic!("not refused for the first time");
    };
    assert_eq!(
        (shed.call_id.as_str(), shed.uri.as_str()),
        ("one", "sip:bob@10.0.0.1")
    );
    assert_eq!(
        (shed.from.as_str(), shed.to.as_str()),
        ("sip:a@x", "sip:bob@10.0.0.1")
    );
    let again = Verdict::Refuse(back, response, None);
    assert_eq!(judge(&mut gate, INVITE), again, "the same answer");
    // When the overload is over, its retransmissions are still those of a refused call.
    for millis in (1_000..20_000).step_by(50) {
        gate.observe(ListenerId(0), Duration::ZERO, at(millis));
    }
    assert!(!gate.view(at(20_000)).shedding);
    assert_eq!(
        gate.judge(path(), INVITE.as_bytes(), at(20_000), |_| false),
        again
    );
    let other = INVITE.replace("branch=z9hG4bK-1", "branch=z9hG4bK-2");
    assert_eq!(
        gate.judge(path(), other.as_bytes(), at(20_000), |_| false),
        Verdict::Pass
    );
    let mut gate = shedding();
    assert_eq!(
        gate.judge(path(), INVITE.as_bytes(), at(1_000), |_| true),
        Verdict::Pass
    );
    assert_eq!(gate.view(at(1_000)).refused, 0);
}

#[test]
fn nothing_but_new_calls_is_ever_refused() {
    let mut gate = shedding();
    let in_dialog = INVITE.replace("To: <sip:bob@10.0.0.1>", "To: <sip:bob@10.0.0.1> ; Tag=x");
    assert_eq!(judge(&mut gate, &in_dialog), Verdict::Pass);
    for method in ["BYE", "ACK", "CANCEL", "PRACK", "OPTIONS", "UPDATE", "INFO"] {
        assert_eq!(
            judge(&mut gate, &INVITE.replace("INVITE", method)),
            Verdict::Pass
        );
    }
    for odd in [
        INVITE.replace("\r\nCSeq", "\r\n folded\r\nCSeq"),
        INVITE.replace("i: one", "i: one\r\nCall-ID: two"),
        INVITE.replace("i: one\r\n", ""),
        INVITE.replace("To: <sip:bob", "To: \"a\rb\" <sip:bob"),
        INVITE.replace("rport", "x=\"a,b\""),
        INVITE.replace("SIP/2.0/UDP 10.0.0.2", "SIP/2.0/UDP :::"),
        "INVITE ".to_owned(),
        "SIP/2.0 200 OK\r\n\r\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(judge(&mut gate, &odd), Verdict::Pass, "{odd}");
    }
    assert_eq!(gate.view(at(1_000)).refused, 0);
}

#[test]
fn the_ack_of_a_refusal_goes_no_further() {
    let mut gate = shedding();
    let ack = |tag: &str| {
        let ack = INVITE.replace("INVITE", "ACK");
        ack.replace(
            "To: <sip:bob@10.0.0.1>",
            &format!("To: <sip:bob@10.0.0.1>{tag}"),
        )
    };
    assert_eq!(judge(&mut gate, &ack(";tag=overload")), Verdict::Drop);
    assert_eq!(judge(&mut gate, &ack(";tag=another")), Verdict::Pass);
    assert_eq!(judge(&mut gate, &ack("")), Verdict::Pass);
    assert_eq!(gate.view(at(1_000)).acks, 1);
}

proptest! {
    /// Whatever comes, it is judged without a panic, and what is answered can be read.
    #[test]
    fn anything_can_be_judged(
        at in 0_usize..400,
        cut in 0_usize..400,
        byte: u8,
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut.max(7));
        bytes.extend(tail);
        if let Verdict::Refuse(_, response, _) = shedding().judge(path(), &bytes, super::tests::at(1_000), |_| false) {
            prop_assert!(response.starts_with(b"SIP/2.0 503 "));
        }
    }

    #[test]
    fn any_text_after_the_method_can_be_judged(text in "INVITE [ -~\r\n]{0,300}") {
        let _ = judge(&mut shedding(), &text);
    }
}
