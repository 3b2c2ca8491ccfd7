//! The layer as its user and its peer see it, on virtual time.

use std::time::Duration;

use contract::Timestamp;

use super::test_bench::{
    Bench, address, incoming, outgoing, parse, peer, peer_by_stream, status, words,
};
use super::{Occurrence, Path, RETRY_AFTER, TransactionError};
use crate::settings::ListenerId;
use crate::sip::{Header, HeaderName, Message, ParseErrorKind, StatusCode};

const BRANCH: &str = "z9hG4bKtest";

fn dialog_ack(invite: &Message, success: &Message, branch: &str) -> Message {
    let mut ack = invite.ack_for_failure(success);
    let via = format!("SIP/2.0/UDP 192.0.2.1:5060;branch={branch}");
    ack.headers.set(HeaderName::Via, via);
    ack
}

#[test]
fn an_unanswered_invite_is_sent_seven_times_in_32_seconds() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.ask("INVITE");
    let mut times = Vec::new();
    while let Some(due) = bench.layer.deadline() {
        bench.now = due;
        bench.layer.on_time(due);
        let elapsed = due.since(start).as_millis();
        times.extend(
            words(&bench.heard())
                .into_iter()
                .map(|word| (elapsed, word)),
        );
    }
    let sent = |at| (at, "send INVITE".to_owned());
    assert_eq!(
        times,
        [
            sent(500),
            sent(1500),
            sent(3500),
            sent(7500),
            sent(15_500),
            sent(31_500),
            (32_000, "timeout".to_owned()),
            (32_000, "ended".to_owned()),
        ]
    );
    assert_eq!(bench.layer.counters().retransmitted, 6);
    assert_eq!(bench.layer.counters().timeouts, 1);
    assert!(bench.is_empty());
}

#[test]
fn other_requests_are_sent_every_t2_at_most() {
    let mut bench = Bench::new();
    bench.ask("BYE");
    bench.pass(Duration::from_secs(33));
    let heard = words(&bench.heard());
    let sent = heard.iter().filter(|word| *word == "send BYE").count();
    assert_eq!(sent, 10, "0.5, 1.5, 3.5, then every 4 s up to 31.5");
    assert_eq!(heard[10..], ["timeout", "ended"]);
    assert!(bench.is_empty());
}

#[test]
fn a_2xx_is_repeated_until_its_ack_which_is_told_once() {
    let mut bench = Bench::new();
    let (key, invite) = bench.serve(&incoming("INVITE", BRANCH));
    bench.respond(key, &invite, 200);
    let success = bench.sent().pop().expect("a 2xx");
    bench.pass(Duration::from_millis(3600));
    assert_eq!(words(&bench.heard()), ["send 200"; 3]);
    let mut stranger = dialog_ack(&invite, &success, BRANCH);
    stranger
        .headers
        .set(HeaderName::To, "<sip:200@198.51.100.1>;tag=wrong");
    bench.receive_message(&stranger);
    assert!(matches!(
        bench.heard()[..],
        [Occurrence::Ack { invite: None, .. }]
    ));
    let ack = dialog_ack(&invite, &success, "z9hG4bKack");
    bench.receive_message(&ack);
    let heard = bench.heard();
    let [
        Occurrence::Ack {
            invite: of,
            message,
            path,
        },
    ] = &heard[..]
    else {
        panic!("{heard:?}");
    };
    assert_eq!((*of, *path), (Some(key), peer()));
    assert_eq!(message.to_bytes(), ack.to_bytes());
    bench.receive_message(&ack);
    bench.pass(Duration::from_secs(40));
    assert_eq!(words(&bench.heard()), ["ended"]);
    assert!(bench.is_empty());
}

#[test]
fn a_2xx_without_ack_is_told_after_32_seconds() {
    let mut bench = Bench::new();
    let (key, invite) = bench.serve(&incoming("INVITE", BRANCH));
    bench.respond(key, &invite, 200);
    bench.pass(Duration::from_secs(32));
    let heard = bench.heard();
    let sent = words(&heard)
        .iter()
        .filter(|word| *word == "send 200")
        .count();
    assert_eq!(sent, 11);
    assert_eq!(
        heard[11..],
        [
            Occurrence::Unacknowledged(key),
            Occurrence::ServerEnded(key)
        ]
    );
    let late = invite.response(status(200), Some("to1"));
    let answered = bench.layer.respond(bench.now, key, late);
    assert_eq!(answered, Err(TransactionError::TooLate));
}

#[test]
fn each_branch_of_a_fork_is_told_and_acknowledged_again_when_it_repeats() {
    let mut bench = Bench::new();
    let (key, invite) = bench.ask("INVITE");
    let one = invite.response(status(200), Some("one"));
    let two = invite.response(status(200), Some("two"));
    bench.receive_message(&one);
    bench.receive_message(&two);
    assert_eq!(words(&bench.heard()), ["response 200", "response 200"]);
    let mut ack = invite.ack_for_failure(&one);
    ack.headers.remove(&HeaderName::Via);
    bench.layer.acknowledge(key, ack, peer()).expect("accepted");
    let first = bench.heard();
    assert_eq!(words(&first), ["send ACK"]);
    bench.receive_message(&one);
    assert_eq!(bench.heard(), first, "the same ACK, byte for byte");
    bench.receive_message(&two);
    assert_eq!(words(&bench.heard()), ["response 200"]);
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.heard(), [Occurrence::ClientEnded(key)]);
    let ack = outgoing("ACK");
    let late = bench.layer.acknowledge(key, ack, peer());
    assert_eq!(late, Err(TransactionError::TooLate));
    assert!(bench.is_empty());
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new();
    let (key, invite) = bench.ask("INVITE");
    let reason = Header::new(HeaderName::Reason, "SIP;cause=200");
    let asked = bench.layer.cancel(bench.now, key, vec![reason]);
    assert_eq!(asked, Ok(()));
    let again = bench.layer.cancel(bench.now, key, Vec::new());
    assert_eq!(again, Err(TransactionError::TooLate));
    assert_eq!(bench.heard(), []);
    bench.receive_message(&invite.response(status(100), None));
    let heard = bench.heard();
    assert_eq!(words(&heard), ["response 100", "send CANCEL"]);
    let Occurrence::Transmit { bytes, .. } = &heard[1] else {
        panic!("a CANCEL");
    };
    let cancel = parse(bytes);
    assert_eq!(cancel.uri(), invite.uri());
    assert_eq!(cancel.via(), invite.via());
    assert_eq!(
        cancel.headers.value(&HeaderName::Reason),
        Some(b"SIP;cause=200".to_vec())
    );
    bench.receive_message(&cancel.response(status(200), Some("to1")));
    assert_eq!(bench.heard(), [], "the CANCEL's answer is the layer's");
    bench.receive_message(&invite.response(status(487), Some("to1")));
    assert_eq!(words(&bench.heard()), ["send ACK", "response 487"]);
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.heard(), [Occurrence::ClientEnded(key)]);
    assert!(bench.is_empty());
}

#[test]
fn a_cancelled_invite_without_an_end_times_out() {
    let mut bench = Bench::new();
    let (key, invite) = bench.ask("INVITE");
    bench.receive_message(&invite.response(status(180), Some("to1")));
    bench.pass(Duration::from_secs(100));
    assert_eq!(
        words(&bench.heard()),
        ["response 180"],
        "an INVITE may ring on"
    );
    let asked = bench.layer.cancel(bench.now, key, Vec::new());
    assert_eq!(asked, Ok(()));
    bench.pass(Duration::from_secs(33));
    let heard = bench.heard();
    assert!(heard.contains(&Occurrence::Timeout(key)));
    assert_eq!(heard.last(), Some(&Occurrence::ClientEnded(key)));
    assert!(bench.is_empty());
}

#[test]
fn a_cancel_is_answered_and_told_only_while_it_matters() {
    let mut bench = Bench::new();
    let (key, invite) = bench.serve(&incoming("INVITE", BRANCH));
    bench.respond(key, &invite, 180);
    bench.heard();
    let cancel = incoming("CANCEL", BRANCH);
    bench.receive(&cancel);
    let heard = bench.heard();
    assert_eq!(words(&heard), ["cancel", "send 200"]);
    assert!(matches!(&heard[0], Occurrence::Cancel { invite, .. } if *invite == key));
    let Occurrence::Transmit { bytes, .. } = &heard[1] else {
        panic!("a response");
    };
    let answer = parse(bytes);
    assert_eq!(
        answer.to().expect("To").tag(),
        Some("to1"),
        "the INVITE's tag"
    );
    bench.receive(&cancel);
    assert_eq!(words(&bench.heard()), ["send 200"]);
    bench.respond(key, &invite, 487);
    assert_eq!(words(&bench.heard()), ["send 487"]);
    bench.pass(Duration::from_secs(40));
    assert!(bench.is_empty());
    bench.heard();
    bench.receive(&cancel);
    assert_eq!(words(&bench.heard()), ["send 481"]);
    assert_eq!(bench.layer.counters().stray_cancels, 1);
}

#[test]
fn responses_go_where_the_request_came_from() {
    let mut bench = Bench::new();
    let from = Path::to(ListenerId(1), address("[2001:db8::9]:40000"));
    let cases = [
        (
            "192.0.2.77:5070",
            "[2001:db8::9]:5070",
            "received=2001:db8::9",
        ),
        ("host.example;rport", "[2001:db8::9]:40000", "rport=40000"),
        (
            "host.example;maddr=192.0.2.9",
            "[2001:db8::9]:5060",
            "received",
        ),
    ];
    for (number, (sent_by, back, noted)) in cases.into_iter().enumerate() {
        let text = incoming("OPTIONS", &format!("z9hG4bK{number}"));
        let text = text.replace("192.0.2.1:5060;branch", &format!("{sent_by};branch"));
        bench.layer.receive(bench.now, from, text.as_bytes());
        let heard = bench.heard();
        let [Occurrence::Request { key, message, .. }] = &heard[..] else {
            panic!("{heard:?}");
        };
        bench.respond(*key, message, 200);
        let heard = bench.heard();
        let [Occurrence::Transmit { path, bytes, .. }] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert_eq!((path.listener, path.remote), (from.listener, address(back)));
        assert!(String::from_utf8_lossy(bytes).contains(noted), "{noted}");
    }
}

#[test]
fn the_same_request_by_another_way_is_refused() {
    let mut bench = Bench::new();
    bench.serve(&incoming("INVITE", BRANCH));
    let merged =
        incoming("INVITE", "z9hG4bKother").replace("call-z9hG4bKother", "call-z9hG4bKtest");
    bench.receive(&merged);
    bench.receive(&merged);
    let heard = bench.heard();
    assert_eq!(words(&heard), ["send 482", "send 482"]);
    assert_eq!(heard[0], heard[1], "the same To tag without a transaction");
    assert_eq!(bench.layer.counters().merged, 2);
    let within = merged.replace(
        "<sip:200@198.51.100.1>\r\nCall",
        "<sip:200@198.51.100.1>;tag=x\r\nCall",
    );
    bench.serve(&within);
}

#[test]
fn a_request_that_comes_back_the_same_way_is_a_loop() {
    let mut bench = Bench::new();
    let (key, _) = bench.serve(&incoming("INVITE", BRANCH));
    let forwarded = bench
        .layer
        .forward(bench.now, key, outgoing("INVITE"), peer());
    assert!(forwarded.is_ok());
    let mut looped = bench.sent().pop().expect("the request is sent");
    looped.headers.push_front(
        HeaderName::Via,
        "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKproxy",
    );
    looped.headers.set(HeaderName::CallId, "new");
    bench.receive_message(&looped);
    assert_eq!(words(&bench.heard()), ["send 482"]);
    assert_eq!(bench.layer.counters().looped, 1);
    let elsewhere = Path::to(ListenerId(0), address("192.0.2.2:5060"));
    bench
        .layer
        .receive(bench.now, elsewhere, &looped.to_bytes());
    assert_eq!(words(&bench.heard()), ["send 100", "request"]);
}

#[test]
fn beyond_the_bound_new_requests_get_503_and_calls_can_still_end() {
    let mut bench = Bench::with_capacity(2);
    bench.serve(&incoming("INVITE", "z9hG4bK1"));
    bench.serve(&incoming("INVITE", "z9hG4bK2"));
    bench.receive(&incoming("INVITE", "z9hG4bK3"));
    assert_eq!(words(&bench.heard()), ["send 503"]);
    assert_eq!(bench.layer.counters().refused_full, 1);
    assert_eq!(bench.layer.counters().servers, 2);
    bench.receive(&incoming("CANCEL", "z9hG4bK1"));
    assert_eq!(words(&bench.heard()), ["cancel", "send 200"]);
    bench.ask("BYE");
    let refused = bench.layer.request(bench.now, outgoing("BYE"), peer());
    assert_eq!(refused, Err(TransactionError::Full));
    bench.receive(&incoming("CANCEL", "z9hG4bK2"));
    let refused = bench.sent().pop().expect("a response");
    assert_eq!(refused.code(), Some(StatusCode::SERVICE_UNAVAILABLE));
    let seconds = refused.headers.value(&HeaderName::RetryAfter);
    assert_eq!(seconds, Some(RETRY_AFTER.to_string().into_bytes()));
}

#[test]
fn clients_of_rfc_2543_are_matched_without_branch() {
    let mut bench = Bench::new();
    let old = incoming("INVITE", "1");
    let (key, invite) = bench.serve(&old);
    bench.receive(&old);
    assert_eq!(words(&bench.heard()), ["send 100"]);
    bench.receive(&old.replace("INVITE", "CANCEL"));
    assert_eq!(words(&bench.heard()), ["cancel", "send 200"]);
    bench.respond(key, &invite, 487);
    let failure = bench.sent().pop().expect("a response");
    let mut ack = parse(old.as_bytes()).ack_for_failure(&failure);
    bench.receive_message(&ack);
    assert_eq!(bench.heard(), []);
    bench.pass(Duration::from_secs(6));
    assert_eq!(
        bench.heard(),
        [Occurrence::ServerEnded(key)],
        "the ACK was matched: timer I"
    );
    ack.headers.set(HeaderName::CallId, "another");
    bench.receive_message(&ack);
    assert_eq!(words(&bench.heard()), ["ack"]);
}

#[test]
fn broken_requests_are_counted_and_answered_when_they_can_be() {
    let mut bench = Bench::new();
    let good = incoming("INVITE", BRANCH);
    let cases = [
        (
            good.replace("Length: 0", "Length: 9"),
            ParseErrorKind::BodyTooShort,
            "send 400",
        ),
        (
            good.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
            ParseErrorKind::Version,
            "send 505",
        ),
        (
            good.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
            ParseErrorKind::CSeqMethod,
            "send 400",
        ),
        (
            good.replace("To:", "X:"),
            ParseErrorKind::MissingHeader,
            "send 400",
        ),
        (
            good.replace("Max-Forwards: 70\r\n", &"X: y\r\n".repeat(300)),
            ParseErrorKind::TooManyHeaders,
            "send 513",
        ),
        (
            good.replace("Via:", "X:"),
            ParseErrorKind::MissingHeader,
            "",
        ),
        (
            good.replace("INVITE sip", "IN(ITE sip"),
            ParseErrorKind::Method,
            "",
        ),
        (
            good.replace("INVITE", "ACK").replace("Max", "Max Max"),
            ParseErrorKind::HeaderName,
            "",
        ),
        ("\r\n\r\n".to_owned(), ParseErrorKind::Blank, ""),
    ];
    for (text, kind, answer) in cases {
        let before = bench.layer.counters().parse_errors[kind.index()];
        bench.receive(&text);
        assert_eq!(words(&bench.heard()).join(","), answer, "{text}");
        let after = bench.layer.counters().parse_errors[kind.index()];
        assert_eq!(after, before + 1, "{text}");
    }
    assert!(bench.is_empty());
}

#[test]
fn stray_responses_are_counted_and_go_nowhere() {
    let mut bench = Bench::new();
    let (_, bye) = bench.ask("BYE");
    let mut two_vias = bye.response(status(200), Some("x"));
    two_vias
        .headers
        .push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1");
    bench.receive_message(&two_vias);
    let other = incoming("BYE", "z9hG4bKnobody");
    bench.receive_message(&parse(other.as_bytes()).response(status(200), None));
    assert_eq!(bench.heard(), []);
    assert_eq!(bench.layer.counters().stray_responses, 2);
}

#[test]
fn a_transport_error_ends_what_was_sent_to_that_address_only() {
    let mut bench = Bench::new();
    let (key, _) = bench.ask("INVITE");
    let elsewhere = Path::to(ListenerId(0), address("192.0.2.2:5060"));
    bench.layer.transport_failed(bench.now, elsewhere);
    assert_eq!(bench.heard(), []);
    bench.layer.transport_failed(bench.now, peer());
    assert_eq!(
        bench.heard(),
        [
            Occurrence::TransportError(key),
            Occurrence::ClientEnded(key)
        ]
    );
    assert!(bench.is_empty());
}

#[test]
fn unfit_messages_are_refused() {
    let mut bench = Bench::new();
    let nowhere = Path {
        listener: ListenerId(9),
        ..peer()
    };
    let unfit = Err(TransactionError::Unfit);
    let now = Timestamp::from_nanos(1);
    assert_eq!(bench.layer.request(now, outgoing("BYE"), nowhere), unfit);
    assert_eq!(bench.layer.request(now, outgoing("ACK"), peer()), unfit);
    assert_eq!(bench.layer.request(now, outgoing("CANCEL"), peer()), unfit);
    let mut headless = outgoing("BYE");
    headless.headers.remove(&HeaderName::CallId);
    assert_eq!(bench.layer.request(now, headless, peer()), unfit);
    assert!(bench.is_empty());
}

#[test]
fn a_large_request_goes_by_stream_and_falls_back_with_the_same_branch() {
    let mut bench = Bench::new();
    let mut request = outgoing("INVITE");
    request.body = vec![b'x'; 1300];
    let large = request.clone();
    let key = bench.layer.request(bench.now, request, peer());
    let stream = bench.heard();
    let [Occurrence::Transmit { path, bytes, .. }] = &stream[..] else {
        panic!("{stream:?}");
    };
    assert_eq!(*path, peer_by_stream());
    let first = parse(bytes).via().expect("a Via");
    assert_eq!(first.transport, crate::sip::typed::Transport::Tcp);
    bench.layer.connection_lost(bench.now, peer_by_stream());
    let datagram = bench.heard();
    let [Occurrence::Transmit { path, bytes, .. }] = &datagram[..] else {
        panic!("{datagram:?}");
    };
    assert_eq!(*path, peer());
    let second = parse(bytes).via().expect("a Via");
    assert_eq!(second.transport, crate::sip::typed::Transport::Udp);
    assert_eq!(second.branch(), first.branch());
    assert_eq!(bench.layer.counters().fallen_back, 1);
    // Lost again, it is lost.
    bench.layer.transport_failed(bench.now, peer());
    let key = key.expect("there is room");
    let ended = [
        Occurrence::TransportError(key),
        Occurrence::ClientEnded(key),
    ];
    assert_eq!(bench.heard(), ended);
    // The refusal is remembered, for a while.
    let sent_by = |bench: &mut Bench| {
        let sent = bench.layer.request(bench.now, large.clone(), peer());
        assert!(sent.is_ok());
        match &bench.heard()[..] {
            [Occurrence::Transmit { path, .. }] => *path,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sent_by(&mut bench), peer());
    bench.pass(Duration::from_secs(301));
    bench.heard();
    assert_eq!(sent_by(&mut bench), peer_by_stream());
}

#[test]
fn requests_up_to_the_limit_stay_datagrams() {
    for (size, by_stream) in [(1000, false), (1160, false), (1161, true)] {
        let mut bench = Bench::new();
        let mut request = outgoing("INVITE");
        request.body = vec![b'x'; size - request.size()];
        assert_eq!(request.size(), size);
        bench
            .layer
            .request(bench.now, request, peer())
            .expect("there is room");
        let heard = bench.heard();
        let [Occurrence::Transmit { path, bytes, .. }] = &heard[..] else {
            panic!("{heard:?}");
        };
        assert_eq!(*path == peer_by_stream(), by_stream, "{size}");
        assert!(by_stream || bytes.len() <= 1300);
    }
}

#[test]
fn a_response_over_a_stream_has_another_way() {
    let mut bench = Bench::new();
    bench.path = Path {
        remote: address("192.0.2.1:40001"),
        ..peer_by_stream()
    };
    let path = bench.path;
    bench.receive(&incoming("OPTIONS", "z9hG4bKs"));
    let heard = bench.heard();
    let Some(Occurrence::Request { key, message, .. }) = heard.first() else {
        panic!("{heard:?}");
    };
    bench.respond(*key, message, 200);
    let sent = bench.heard();
    let Some(Occurrence::Transmit {
        path: back,
        otherwise,
        ..
    }) = sent.first()
    else {
        panic!("{sent:?}");
    };
    assert_eq!(*back, path);
    assert_eq!(*otherwise, Some(address("192.0.2.1:5060")));
}

#[test]
fn a_lost_connection_ends_what_waits_and_leaves_what_answers() {
    let mut bench = Bench::new();
    bench.path = peer_by_stream();
    let (asked, _) = bench.ask("INVITE");
    let (ringing, sent) = bench.ask("INVITE");
    bench.receive_message(&sent.response(status(180), Some("to1")));
    let (key, request) = bench.serve(&incoming("INVITE", "z9hG4bKl"));
    bench.heard();
    bench.layer.connection_lost(bench.now, peer_by_stream());
    let lost = [
        Occurrence::TransportError(asked),
        Occurrence::ClientEnded(asked),
    ];
    assert_eq!(bench.heard(), lost);
    bench.respond(key, &request, 200);
    assert_eq!(words(&bench.heard()), ["send 200"]);
    let cancelled = bench.layer.cancel(bench.now, ringing, Vec::new());
    assert!(cancelled.is_ok(), "it still rings");
}
