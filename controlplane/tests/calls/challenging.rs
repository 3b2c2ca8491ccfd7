//! Callers that must prove who they are.

use controlplane::digest::{Answers, Exchange, Login, Outcome, Secret, User};
use controlplane::settings::{Challenge, Scope};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, expect, header, sdp};
use crate::world::{CALLEE, INSIDE, World, addr, settings};

fn world(scope: Scope) -> World {
    let mut settings = settings();
    settings.trunks[0].challenge = Some(Challenge {
        realm: "tandem.example".into(),
        users: vec![User {
            name: "alice".into(),
            secret: Secret::Password("wonderland".into()),
        }],
        scope,
    });
    World::with(settings, 1)
}

/// What a phone makes of a challenge.
fn take(challenged: &Message, password: &str) -> Answers {
    let mut answers = Answers::default();
    let login = Login {
        realm: None,
        user: "alice".into(),
        secret: Secret::Password(password.into()),
    };
    let outcome = answers.take(challenged, &mut Exchange::default(), &[login], || {
        "c0ffee".into()
    });
    assert_eq!(outcome, Outcome::Answered);
    answers
}

/// The header for the phone's next request.
fn credentials(answers: &mut Answers, method: &str, uri: &str, body: &str) -> String {
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut request = Message::parse(text.as_bytes()).expect("a request");
    answers.sign(&mut request);
    format!(
        "Authorization: {}\r\n",
        header(&request, HeaderName::Authorization)
    )
}

/// A caller that was asked once, and calls with good credentials; what it knows.
fn called(world: &mut World, name: &str) -> (Phone, Answers, Message) {
    let mut caller = Phone::caller(name);
    let body = sdp("10.1.0.2", 4000);
    caller.invite(world, "900", &body);
    let asked = caller.expect(world, "401");
    caller.ack(world, &asked, "");
    let mut answers = take(&asked, "wonderland");
    let uri = format!("sip:900@{INSIDE}");
    let more = credentials(&mut answers, "INVITE", &uri, &body);
    caller.invite_with(world, "900", &body, &more);
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    (caller, answers, invite)
}

#[test]
fn a_challenge_leaves_nothing_behind_and_the_strongest_comes_first() {
    let mut world = world(Scope::Calls);
    let mut caller = Phone::caller("asked");
    caller.invite(&mut world, "900", &sdp("10.1.0.2", 4000));
    let asked = caller.expect(&mut world, "401");
    let offers: Vec<_> = asked.headers.values(&HeaderName::WwwAuthenticate);
    let offers: Vec<_> = offers
        .iter()
        .map(|offer| String::from_utf8_lossy(offer))
        .collect();
    assert_eq!(offers.len(), 2);
    assert!(offers[0].contains("algorithm=SHA-256") && offers[1].contains("algorithm=MD5"));
    assert!(asked.to().expect("a To").tag().is_some());
    assert_eq!(world.agent.gauges(), Default::default());
    caller.ack(&mut world, &asked, "");
    let counters = world.agent.counters();
    assert_eq!(counters.authentication.callers.asked, 1);
    assert_eq!(counters.requests_refused[&401], 1);
    assert!(
        counters.messages_dropped.is_empty(),
        "{:?}",
        counters.messages_dropped
    );
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn good_credentials_make_a_call_and_go_no_further() {
    let mut world = world(Scope::Calls);
    let (mut caller, _, invite) = called(&mut world, "good");
    assert!(!invite.headers.contains(&HeaderName::Authorization));
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    // Within the dialog nobody is asked.
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert_eq!(world.agent.counters().authentication.callers.good, 1);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_repeated_invite_and_its_cancel_pass_the_gate() {
    let mut world = world(Scope::All);
    let (mut caller, ..) = called(&mut world, "again");
    let callee_at = addr(CALLEE);
    world.clear(callee_at);
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    let counters = world.agent.counters();
    assert_eq!(counters.authentication.callers.asked, 1);
    world.advance(std::time::Duration::from_secs(40));
    world.clear(callee_at);
    world.assert_clean();
}

#[test]
fn requests_within_the_dialog_are_asked_where_it_is_so_configured() {
    let mut world = world(Scope::All);
    let (mut caller, mut answers, invite) = called(&mut world, "within");
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "401");
    assert_eq!(world.agent.calls().len(), 1);
    let target = caller.target.clone();
    let more = credentials(&mut answers, "BYE", &target, "");
    assert!(more.contains("nc=00000002"), "{more}");
    caller.request_with(&mut world, "BYE", "", &more);
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn wrong_passwords_are_asked_again_and_at_last_forbidden() {
    let mut world = world(Scope::Calls);
    let mut caller = Phone::caller("wrong");
    let body = sdp("10.1.0.2", 4000);
    let uri = format!("sip:900@{INSIDE}");
    caller.invite(&mut world, "900", &body);
    let mut asked = caller.expect(&mut world, "401");
    for _ in 0..10 {
        let more = credentials(&mut take(&asked, "guess"), "INVITE", &uri, &body);
        caller.invite_with(&mut world, "900", &body, &more);
        asked = caller.expect(&mut world, "401");
        assert!(!header(&asked, HeaderName::WwwAuthenticate).contains("stale"));
    }
    let more = credentials(&mut take(&asked, "guess"), "INVITE", &uri, &body);
    caller.invite_with(&mut world, "900", &body, &more);
    caller.expect(&mut world, "403");
    let tally = world.agent.counters().authentication.callers;
    assert_eq!((tally.wrong, tally.shut_out, tally.good), (10, 1, 0));
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn an_old_nonce_is_stale() {
    let mut world = world(Scope::Calls);
    let mut caller = Phone::caller("stale");
    let body = sdp("10.1.0.2", 4000);
    caller.invite(&mut world, "900", &body);
    let asked = caller.expect(&mut world, "401");
    world.advance(std::time::Duration::from_secs(301));
    let uri = format!("sip:900@{INSIDE}");
    let more = credentials(&mut take(&asked, "wonderland"), "INVITE", &uri, &body);
    caller.invite_with(&mut world, "900", &body, &more);
    let stale = caller.expect(&mut world, "401");
    assert!(header(&stale, HeaderName::WwwAuthenticate).contains("stale=true"));
    let more = credentials(&mut take(&stale, "wonderland"), "INVITE", &uri, &body);
    caller.invite_with(&mut world, "900", &body, &more);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    world.assert_clean();
}
