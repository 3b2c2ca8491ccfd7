//! Each rule on a message, and that no rule makes a header of a value.

use super::*;
use crate::settings::{
    CauseRules, Diversion, HeaderReplacement, HeaderRules, Identity, Pattern, SayCause,
};
use proptest::prelude::*;
use regex::Regex;

fn pattern(text: &str) -> Pattern {
    Pattern::whole(&Regex::new(text).expect("a pattern")).expect("a pattern")
}

fn rule(text: &str, replacement: &str) -> UserRule {
    UserRule {
        pattern: pattern(text),
        replacement: replacement.to_owned(),
    }
}

fn trusted() -> Normalisation {
    Normalisation {
        trust: Trust::Trusted,
        ..Normalisation::default()
    }
}

/// An INVITE with these headers more.
fn invite(more: &str) -> Message {
    let text = format!(
        "INVITE sip:0049301234@10.0.0.1;user=phone SIP/2.0\r\nFrom: \"Alice\" <sip:030555@10.0.0.1>;tag=t\r\n\
         To: <sip:0049301234@10.0.0.1>\r\n{more}Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.as_bytes()).expect("a message")
}

/// What such an INVITE becomes.
fn crossed(from: &Normalisation, to: &Normalisation, more: &str) -> Message {
    let original = invite(more);
    let mut message = original.clone();
    Crossing { from, to }.invite(&original, &mut message);
    // Whatever was done, what leaves can be read.
    let read = Message::parse(&message.to_bytes()).expect("it is SIP");
    assert_eq!(read.headers.len(), message.headers.len());
    message
}

fn header(message: &Message, name: &str) -> Option<String> {
    let value = message.headers.first(&HeaderName::from(name))?.value();
    Some(String::from_utf8_lossy(&value).into_owned())
}

const PAI: &str = "P-Asserted-Identity: \"Alice\" <sip:+4930555@home.example>\r\n";

#[test]
fn user_parts_are_changed_by_the_first_rule_that_matches_the_whole() {
    let mut from = trusted();
    from.inbound.request_user = vec![rule("00([1-9][0-9]*)", "+$1"), rule(".*", "never")];
    from.inbound.from_user = vec![rule("0(?<rest>[1-9][0-9]*)", "+49${rest}")];
    let mut to = trusted();
    to.outbound.request_user = vec![rule("[+]49(.*)", "0$1#")];
    to.outbound.to_user = vec![rule("0049", "part of it only")];
    let message = crossed(&from, &to, "");
    let uri = message.uri().map(ToString::to_string);
    assert_eq!(uri.as_deref(), Some("sip:0301234%23@10.0.0.1;user=phone"));
    assert_eq!(
        header(&message, "From").as_deref(),
        Some("\"Alice\" <sip:+4930555@10.0.0.1>;tag=t")
    );
    assert_eq!(
        header(&message, "To").as_deref(),
        Some("<sip:0049301234@10.0.0.1>")
    );
    assert_eq!(from.routed_user("0049301".to_owned()), "+49301");
    assert_eq!(to.routed_user("0049301".to_owned()), "0049301");
}

#[test]
fn identities_have_their_user_parts_changed_too() {
    let mut to = trusted();
    to.outbound.identity_user = vec![rule("[+]49(.*)", "0$1")];
    let more = format!(
        "{PAI}P-Asserted-Identity: <tel:+4930666;phone-context=x>\r\nDiversion: <sip:+4930@x>;reason=no-answer\r\n"
    );
    let message = crossed(&trusted(), &to, &more);
    let values = message.headers.values(&HeaderName::PAssertedIdentity);
    assert_eq!(
        values,
        [
            b"\"Alice\" <sip:030555@home.example>".to_vec(),
            b"<tel:030666;phone-context=x>".to_vec()
        ]
    );
    assert_eq!(
        header(&message, "Diversion").as_deref(),
        Some("<sip:030@x>;reason=no-answer")
    );
}

#[test]
fn identities_cross_only_between_trusted_trunks() {
    let untrusted = Normalisation::default();
    let more = format!(
        "{PAI}Remote-Party-ID: <sip:a@x>;party=calling\r\nP-Preferred-Identity: <sip:a@x>\r\n"
    );
    for (from, to, passes) in [
        (&trusted(), &trusted(), true),
        (&trusted(), &untrusted, false),
        (&untrusted, &trusted(), false),
    ] {
        let message = crossed(from, to, &more);
        for name in [
            "P-Asserted-Identity",
            "Remote-Party-ID",
            "P-Preferred-Identity",
        ] {
            assert_eq!(header(&message, name).is_some(), passes, "{name}");
        }
        let from = header(&message, "From");
        assert_eq!(
            from.as_deref(),
            Some("\"Alice\" <sip:030555@10.0.0.1>;tag=t")
        );
    }
}

#[test]
fn privacy_is_carried_out_towards_the_untrusted_and_passed_to_the_trusted() {
    let untrusted = Normalisation::default();
    const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=t";
    let more = |wish: &str| {
        format!(
            "{PAI}Privacy: {wish}\r\nSubject: me\r\nDiversion: <sip:b@x>\r\nHistory-Info: <sip:b@x>;index=1\r\n"
        )
    };
    // Asked for, anonymous, Subject, History-Info and Diversion, what is left of Privacy.
    for (wish, anonymous, subject, history, left) in [
        ("id", true, true, true, None),
        ("user;critical", true, false, true, None),
        ("header ; Session", false, true, false, Some("session")),
        ("history", false, true, false, None),
        ("none", false, true, true, Some("none")),
        ("id;user;header", true, false, false, None),
    ] {
        let message = crossed(&trusted(), &untrusted, &more(wish));
        let from = header(&message, "From").expect("a From");
        assert_eq!(from == ANONYMOUS, anonymous, "{wish}: {from}");
        assert_eq!(header(&message, "Subject").is_some(), subject, "{wish}");
        for name in ["History-Info", "Diversion"] {
            assert_eq!(header(&message, name).is_some(), history, "{wish}: {name}");
        }
        assert_eq!(header(&message, "Privacy").as_deref(), left, "{wish}");
        assert_eq!(header(&message, "P-Asserted-Identity"), None, "{wish}");
        let message = crossed(&trusted(), &trusted(), &more(wish));
        assert_eq!(header(&message, "Privacy").as_deref(), Some(wish));
        assert!(
            header(&message, "P-Asserted-Identity").is_some()
                && header(&message, "Subject").is_some()
        );
    }
}

#[test]
fn entries_that_ask_for_privacy_themselves_are_anonymous_to_the_untrusted() {
    const NOBODY: &str = "sip:anonymous@anonymous.invalid";
    // The header, what came, what leaves towards a trunk that is not trusted.
    for (name, came, leaves) in [
        (
            "History-Info",
            "\"B\" <sip:b@x?Privacy=history>;index=1;who=b",
            Some(format!("<{NOBODY}>;index=1")),
        ),
        (
            "History-Info",
            "<sip:a@x?Privacy=none>;index=1, <sip:b?@x;user=phone;cause=486?Reason=SIP%3Bcause%3D486&privacy=History>;index=1.1;mp=1",
            Some(format!(
                "<sip:a@x>;index=1, <{NOBODY};cause=486?Reason=SIP%3Bcause%3D486>;index=1.1;mp=1"
            )),
        ),
        (
            "History-Info",
            "<sip:b@x?%50rivacy=none&Privacy=session%3B%20histor%79>;index=1",
            Some(format!("<{NOBODY}>;index=1")),
        ),
        (
            "History-Info",
            "<sip:a@x?Privacy=header>;index=1",
            Some("<sip:a@x>;index=1".to_owned()),
        ),
        ("History-Info", "sip:b@x?Privacy=history;index=1", None),
        (
            "Diversion",
            "\"B\" <sip:b@x>;reason=user-busy;counter=1;privacy=full;who=b, <sip:a@x>;privacy=off",
            Some(format!(
                "<{NOBODY}>;reason=user-busy;counter=1, <sip:a@x>;privacy=off"
            )),
        ),
        (
            "Diversion",
            "<sip:b@x>;privacy=\"NAME\"",
            Some(format!("<{NOBODY}>")),
        ),
        (
            "Diversion",
            "<sip:b@x>;privacy=uri",
            Some(format!("<{NOBODY}>")),
        ),
        (
            "Diversion",
            "<sip:b@x>;privacy",
            Some(format!("<{NOBODY}>")),
        ),
        (
            "Diversion",
            "<sip:b@x>;privacy=off;privacy=full",
            Some(format!("<{NOBODY}>")),
        ),
        ("Diversion", "sip:b@x?privacy=full", None),
    ] {
        let more = format!("{name}: {came}\r\n");
        let message = crossed(&trusted(), &Normalisation::default(), &more);
        assert_eq!(header(&message, name), leaves, "{came}");
        let from = header(&message, "From").expect("a From");
        assert!(
            from.contains("Alice"),
            "that is the way's wish, not the caller's"
        );
        let message = crossed(&trusted(), &trusted(), &more);
        assert_eq!(header(&message, name).as_deref(), Some(came));
    }
}

#[test]
fn entries_that_are_made_from_private_ones_are_private_too() {
    let mut to = Normalisation::default();
    to.outbound.diversion = Diversion::Diversion;
    let history = "History-Info: <sip:a@x>;index=1, <sip:b@x?Privacy=history>;index=1.1, \
                   <sip:b@x;cause=486>;index=1.1.1\r\n";
    let message = crossed(&trusted(), &to, history);
    assert_eq!(
        header(&message, "Diversion").as_deref(),
        Some("<sip:anonymous@anonymous.invalid>;reason=user-busy;counter=1")
    );
    to.outbound.diversion = Diversion::HistoryInfo;
    let message = crossed(
        &trusted(),
        &to,
        "Diversion: <sip:b@x>;reason=no-answer;privacy=full\r\n",
    );
    assert_eq!(
        header(&message, "History-Info").as_deref(),
        Some(
            "<sip:anonymous@anonymous.invalid>;index=1, \
             <sip:0049301234@10.0.0.1;user=phone;cause=408>;index=1.1"
        )
    );
}

#[test]
fn what_remote_party_id_asks_for_outlives_it() {
    let untrusted = Normalisation::default();
    // Remote-Party-ID, and whether the caller is to stay unknown.
    for (party, hidden) in [
        ("<sip:a@x>;party=calling;privacy=full", true),
        ("<sip:a@x>;privacy=name", true),
        ("<sip:a@x>;privacy=\"Uri\"", true),
        (
            "<sip:a@x>;party=calling;privacy=off, <sip:a@y>;privacy=full",
            true,
        ),
        ("<sip:a@x>;party=calling;privacy=off", false),
        ("<sip:a@x>;party=calling", false),
        ("<sip:b@x>;party=called;privacy=full", false),
    ] {
        let more = format!("Remote-Party-ID: {party}\r\n");
        let is_anonymous = |message: &Message| {
            let from = header(message, "From").expect("a From");
            !from.contains("Alice") && from.contains("anonymous@anonymous.invalid")
        };
        for from in [&trusted(), &untrusted] {
            let message = crossed(from, &untrusted, &more);
            assert_eq!(is_anonymous(&message), hidden, "{party}");
            assert_eq!(header(&message, "Remote-Party-ID"), None, "{party}");
            assert_eq!(header(&message, "Privacy"), None, "it is carried out");
        }
        // Whoever is trusted is told who it is, and that nobody else is to know.
        let message = crossed(&trusted(), &trusted(), &more);
        assert_eq!(header(&message, "Remote-Party-ID").as_deref(), Some(party));
        let message = crossed(&untrusted, &trusted(), &more);
        assert_eq!(header(&message, "Remote-Party-ID"), None);
        let wish = header(&message, "Privacy");
        assert_eq!(wish.as_deref(), hidden.then_some("id"), "{party}");
    }
}

#[test]
fn a_withheld_caller_is_named_to_trusted_trunks_only_and_with_a_wish() {
    let mut to = trusted();
    to.outbound.caller_id = CallerId::Withhold;
    let message = crossed(&trusted(), &to, PAI);
    assert_eq!(
        header(&message, "From").as_deref(),
        Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=t")
    );
    assert_eq!(header(&message, "Privacy").as_deref(), Some("id"));
    assert!(header(&message, "P-Asserted-Identity").is_some());
    let more = format!("{PAI}Privacy: none\r\n");
    assert_eq!(
        header(&crossed(&trusted(), &to, &more), "Privacy").as_deref(),
        Some("id")
    );
    to.trust = Trust::Untrusted;
    let message = crossed(&trusted(), &to, PAI);
    assert_eq!(header(&message, "P-Asserted-Identity"), None);
    assert_eq!(header(&message, "Privacy"), None);
}

#[test]
fn the_callers_identity_takes_the_form_that_the_trunk_wants() {
    let mut to = trusted();
    to.outbound.identity = Identity::RemoteParty;
    let more = format!("{PAI}Privacy: id\r\n");
    let message = crossed(&trusted(), &to, &more);
    assert_eq!(header(&message, "P-Asserted-Identity"), None);
    assert_eq!(
        header(&message, "Remote-Party-ID").as_deref(),
        Some("\"Alice\" <sip:+4930555@home.example>;party=calling;screen=yes;privacy=full")
    );
    to.outbound.identity = Identity::Asserted;
    let more = "Remote-Party-ID: <sip:a@x>;party=calling;privacy=full\r\n";
    let message = crossed(&trusted(), &to, more);
    assert_eq!(
        header(&message, "P-Asserted-Identity").as_deref(),
        Some("<sip:a@x>")
    );
    assert_eq!(header(&message, "Privacy").as_deref(), Some("id"));
    assert_eq!(header(&message, "Remote-Party-ID"), None);
    to.outbound.identity = Identity::Preferred;
    let message = crossed(&trusted(), &to, PAI);
    assert_eq!(
        header(&message, "P-Preferred-Identity").as_deref(),
        Some("\"Alice\" <sip:+4930555@home.example>")
    );
}

#[test]
fn headers_are_let_through_kept_out_changed_and_added() {
    let name = |text: &str| HeaderName::from(text);
    let mut to = trusted();
    to.outbound.headers = HeaderRules {
        allow: vec![name("P-Charging-Function"), name("Via"), name("Subject")],
        deny: vec![name("X-Secret")],
        replace: vec![
            HeaderReplacement {
                name: name("X-Route"),
                pattern: pattern("(?<first>[a-z]+)-.*"),
                replacement: "${first}\r\nEvil: 1".to_owned(),
            },
            HeaderReplacement {
                name: name("X-Empty"),
                pattern: pattern(".*"),
                replacement: String::new(),
            },
        ],
        add: vec![(name("X-Carrier"), "tandem".to_owned())],
    };
    let original = invite("P-Charging-Function: ccf\r\nVia: x\r\nSubject: once\r\n");
    let mut message = invite(
        "Subject: once\r\nX-Secret: a\r\nx-secret: b\r\nX-Route: abc-def\r\nX-Route: ABC\r\nX-Empty: e\r\n",
    );
    let from = trusted();
    Crossing {
        from: &from,
        to: &to,
    }
    .invite(&original, &mut message);
    let text = String::from_utf8(message.to_bytes()).expect("text");
    for (line, times) in [
        ("P-Charging-Function: ccf\r\n", 1),
        ("Via:", 0),
        ("Subject: once\r\n", 1),
        ("ecret", 0),
        ("\r\nEvil", 0),
        ("abc  Evil: 1\r\n", 1),
        ("ABC\r\n", 1),
        ("mpty", 0),
        ("x-carrier: tandem\r\n", 1),
    ] {
        assert_eq!(
            text.to_lowercase().matches(&line.to_lowercase()).count(),
            times,
            "{line} in {text}"
        );
    }
    let mut within = invite("");
    Crossing {
        from: &from,
        to: &to,
    }
    .within(&original, &mut within);
    assert_eq!(
        header(&within, "X-Carrier"),
        None,
        "only what begins a dialog gets it"
    );
}

#[test]
fn diversions_take_the_form_that_the_trunk_wants() {
    let mut to = trusted();
    to.outbound.diversion = Diversion::HistoryInfo;
    let message = crossed(&trusted(), &to, "Diversion: <sip:b@x>;reason=no-answer\r\n");
    let values = message.headers.values(&HeaderName::HistoryInfo);
    assert_eq!(values.len(), 2);
    assert_eq!(
        values[1],
        b"<sip:0049301234@10.0.0.1;user=phone;cause=408>;index=1.1".to_vec()
    );
}

fn failure(code: u16, reason: Option<&str>) -> Message {
    let mut response = invite("").response(StatusCode::new(code).expect("a code"), None);
    if let Some(reason) = reason {
        response.headers.push(HeaderName::Reason, reason);
    }
    response
}

#[test]
fn failures_are_understood_by_cause_or_code_and_explained() {
    let mut trunk = trusted();
    trunk.inbound.responses = [(404, 503), (200, 500), (480, 200)].into();
    trunk.inbound.causes.to_code = [(34, 503)].into();
    trunk.outbound.responses = [(503, 480)].into();
    trunk.outbound.causes = CauseRules {
        to_cause: [(503, 42)].into(),
        say_cause: SayCause::WhereMissing,
        ..CauseRules::default()
    };
    let understood = |code, reason| {
        let mut response = failure(code, reason);
        trunk.understand(&mut response);
        response.code().map(StatusCode::as_u16)
    };
    assert_eq!(understood(404, None), Some(503));
    assert_eq!(
        understood(486, Some("Q.850;cause=34;text=\"no circuit\"")),
        Some(503)
    );
    assert_eq!(understood(486, Some("SIP;cause=34")), Some(486));
    assert_eq!(understood(200, None), Some(200), "a success stays one");
    assert_eq!(understood(480, None), Some(480), "a failure stays one");
    let explained = |code, reason| {
        let mut response = failure(code, reason);
        trunk.explain(&mut response);
        (
            response.code().map(StatusCode::as_u16),
            header(&response, "Reason"),
        )
    };
    assert_eq!(
        explained(503, None),
        (Some(480), Some("Q.850;cause=42".to_owned()))
    );
    assert_eq!(
        explained(486, None),
        (Some(486), Some("Q.850;cause=17".to_owned()))
    );
    assert_eq!(explained(599, None), (Some(599), None), "the RFC has none");
    let said = Some("Q.850 ; cause=3");
    assert_eq!(explained(404, said), (Some(404), said.map(str::to_owned)));
    let mut bye = invite("Reason: SIP;cause=503;text=\"Out of service\"\r\n");
    trunk.explain_end(&mut bye);
    let reasons = bye.headers.values(&HeaderName::Reason);
    assert_eq!(reasons.last(), Some(&b"Q.850;cause=42".to_vec()));
    let mut bye = invite("");
    trunk.explain_end(&mut bye);
    assert_eq!(header(&bye, "Reason").as_deref(), Some("Q.850;cause=16"));
}

proptest! {
    /// Whatever a rule's captures hold: the message has the headers that it had, and no more.
    #[test]
    fn a_rewritten_value_never_begins_a_line(
        user in "[ -~]{0,12}",
        value in "[ -~\t]{0,24}",
        replacement in "[$\\{\\}1 a\r\n:<>@;%\"]{0,12}",
    ) {
        let mut to = trusted();
        to.outbound.request_user = vec![rule("(.*)", &replacement)];
        to.outbound.from_user = to.outbound.request_user.clone();
        to.outbound.identity_user = to.outbound.request_user.clone();
        to.outbound.headers.replace = vec![HeaderReplacement {
            name: HeaderName::from("X-A"),
            pattern: pattern("(.*)"),
            replacement: replacement.clone(),
        }];
        to.outbound.headers.add = vec![(HeaderName::from("X-B"), replacement)];
        let mut original = invite(PAI);
        original.headers.push(HeaderName::from("X-A"), value);
        if let StartLine::Request { uri, .. } = &mut original.start
            && let Some(changed) = uri.with_user(&user)
        {
            *uri = changed;
        }
        let mut message = original.clone();
        Crossing { from: &trusted(), to: &to }.invite(&original, &mut message);
        let read = Message::parse(&message.to_bytes()).expect("it is SIP");
        prop_assert_eq!(read.headers.len(), message.headers.len());
        for (read, written) in read.headers.iter().zip(message.headers.iter()) {
            prop_assert_eq!(read.name(), written.name());
        }
        prop_assert_eq!(read.uri(), message.uri());
        prop_assert!(read.from().is_ok());
    }
}
