//! Trunks that ask for credentials: the caller never hears of it, or hears that the call is forbidden.

use controlplane::b2bua::CallState;
use controlplane::digest::{Credentials, Hash, Login, Secret};
use controlplane::sip::{HeaderName, Message};

use crate::phone::{Phone, described, expect, header, sdp};
use crate::world::{CALLEE, World, addr, settings};

const PROXY: &str =
    "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"p1\", qop=\"auth\", opaque=\"o\"";
const SERVER: &str = "WWW-Authenticate: Digest realm=\"server\", nonce=\"s1\", qop=\"auth\"";

/// The callees know us as `tandem`, and the proxy before them as `transit`.
fn world() -> World {
    let login = |realm: Option<&str>, user: &str| Login {
        realm: realm.map(str::to_owned),
        user: user.into(),
        secret: Secret::Password(format!("{user}'s password")),
    };
    let mut settings = settings();
    for trunk in [1, 3] {
        settings.trunks[trunk].logins =
            vec![login(Some("proxy"), "transit"), login(None, "tandem")];
    }
    World::with(settings, 1)
}

/// The request's credentials, which must prove the password; each realm's user and count.
fn proofs(request: &Message) -> Vec<(String, u32)> {
    let names = [HeaderName::ProxyAuthorization, HeaderName::Authorization];
    let values = names.iter().flat_map(|name| request.headers.values(name));
    let credentials = values.map(|value| Credentials::parse(&value).expect("credentials"));
    credentials
        .map(|credentials| proof(request, &credentials))
        .collect()
}

fn proof(request: &Message, credentials: &Credentials) -> (String, u32) {
    let Credentials {
        user,
        realm,
        nonce,
        cnonce,
        count,
        uri,
        ..
    } = credentials;
    // An ACK has the INVITE's (RFC 3261 §22.1).
    let method = match request.method().expect("a request").as_str() {
        "ACK" => "INVITE",
        other => other,
    };
    let md5 = |parts: &[&str]| {
        Hash::Md5.of(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
    };
    let secret = md5(&[user, realm, &format!("{user}'s password")]);
    let expected = md5(&[
        &secret,
        nonce,
        &format!("{count:08x}"),
        cnonce,
        "auth",
        &md5(&[method, uri]),
    ]);
    assert_eq!(credentials.response, expected, "{credentials}");
    if method != "INVITE" {
        assert_eq!(request.uri().expect("a request").as_str(), uri);
    }
    (format!("{user}@{realm}"), *count)
}

fn cseq(request: &Message) -> u32 {
    request.cseq().expect("a number").number
}

/// A caller has dialled, and the callee has its INVITE.
fn dialled(world: &mut World, name: &str) -> (Phone, Phone, Message) {
    let mut caller = Phone::caller(name);
    caller.invite(world, "900", &sdp("10.1.0.2", 4000));
    caller.expect(world, "100");
    let invite = expect(world, addr(CALLEE), "INVITE");
    let callee = Phone::callee(CALLEE, &invite, "to");
    (caller, callee, invite)
}

/// The callee asks, and gets the INVITE again.
fn ask(world: &mut World, callee: &Phone, request: &Message, challenge: &str) -> Message {
    let code = if challenge.starts_with("Proxy") {
        407
    } else {
        401
    };
    callee.respond_with(world, request, code, "", challenge);
    let method = request.method().expect("a request").as_str();
    if method == "INVITE" {
        let ack = callee.expect(world, "ACK");
        assert_eq!(cseq(&ack), cseq(request));
    }
    callee.expect(world, method)
}

/// A call to a callee that asked for its proxy's credentials.
fn established(world: &mut World, name: &str) -> (Phone, Phone) {
    let (mut caller, callee, invite) = dialled(world, name);
    let again = ask(world, &callee, &invite, PROXY);
    callee.respond(world, &again, 200, &sdp("10.2.0.2", 6000));
    callee.expect(world, "ACK");
    let answer = caller.expect(world, "200");
    caller.ack(world, &answer, "");
    assert_eq!(world.state(), CallState::Established);
    (caller, callee)
}

#[test]
fn a_challenged_invite_is_sent_again_and_the_dialog_goes_on_with_credentials() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "plain");
    let again = ask(&mut world, &callee, &invite, PROXY);
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::To] {
        assert_eq!(header(&invite, name.clone()), header(&again, name));
    }
    assert_ne!(
        header(&invite, HeaderName::Via),
        header(&again, HeaderName::Via)
    );
    assert_eq!((cseq(&invite), cseq(&again)), (1, 2));
    assert_eq!(invite.body, again.body);
    assert_eq!(proofs(&again), [("transit@proxy".into(), 1)]);
    assert!(header(&again, HeaderName::ProxyAuthorization).contains("opaque=\"o\""));

    callee.respond(&mut world, &again, 180, "");
    caller.expect(&mut world, "180");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    let ack = callee.expect(&mut world, "ACK");
    assert_eq!(cseq(&ack), 2);
    assert_eq!(proofs(&ack), [("transit@proxy".into(), 1)]);
    // A repeated 2xx gets the same ACK.
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    assert_eq!(cseq(&callee.expect(&mut world, "ACK")), 2);
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let bye = callee.take_bye(&mut world);
    assert_eq!(cseq(&bye), 3);
    assert_eq!(proofs(&bye), [("transit@proxy".into(), 2)]);
    world.assert_quiet();
    assert_eq!(world.agent.counters().authentication.answered, 1);
    world.assert_clean();
}

#[test]
fn a_chain_of_proxies_and_the_callee_are_all_answered() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "chain");
    let second = ask(&mut world, &callee, &invite, PROXY);
    let third = ask(&mut world, &callee, &second, SERVER);
    assert_eq!(
        proofs(&third),
        [("transit@proxy".into(), 2), ("tandem@server".into(), 1)]
    );
    assert_eq!(cseq(&third), 3);
    callee.respond(&mut world, &third, 200, &sdp("10.2.0.2", 6000));
    let ack = callee.expect(&mut world, "ACK");
    assert_eq!(proofs(&ack).len(), 2);
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let bye = callee.take_bye(&mut world);
    assert_eq!(
        proofs(&bye),
        [("transit@proxy".into(), 3), ("tandem@server".into(), 2)]
    );
    world.assert_clean();
}

#[test]
fn a_password_that_is_refused_ends_the_call_with_403() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "wrong");
    let again = ask(&mut world, &callee, &invite, PROXY);
    callee.respond_with(&mut world, &again, 407, "", PROXY);
    callee.expect(&mut world, "ACK");
    let failure = caller.expect(&mut world, "403");
    assert!(!failure.headers.contains(&HeaderName::ProxyAuthenticate));
    caller.ack(&mut world, &failure, "");
    world.assert_quiet();
    let counters = world.agent.counters();
    assert_eq!(
        (
            counters.authentication.answered,
            counters.authentication.refused
        ),
        (1, 1)
    );
    world.assert_clean();
}

#[test]
fn what_we_cannot_answer_ends_the_call_with_403() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "unable");
    let odd = "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=AKAv1-MD5";
    callee.respond_with(&mut world, &invite, 401, "", odd);
    callee.expect(&mut world, "ACK");
    let failure = caller.expect(&mut world, "403");
    caller.ack(&mut world, &failure, "");
    world.assert_quiet();
    assert_eq!(world.agent.counters().authentication.unable, 1);
    world.assert_clean();
}

#[test]
fn a_stale_nonce_is_replaced_but_not_for_ever() {
    let mut world = world();
    let (mut caller, callee, mut invite) = dialled(&mut world, "stale");
    invite = ask(&mut world, &callee, &invite, PROXY);
    let mut sent = 2;
    loop {
        let stale = format!("{}, stale=true", PROXY.replace("p1", &format!("p{sent}")));
        callee.respond_with(&mut world, &invite, 407, "", &stale);
        callee.expect(&mut world, "ACK");
        let Some(again) = world.next(callee.at) else {
            break;
        };
        assert_eq!(proofs(&again), [("transit@proxy".into(), 1)]);
        invite = again;
        sent += 1;
        assert!(sent < 10, "it never ends");
    }
    assert_eq!(sent, 5);
    let failure = caller.expect(&mut world, "403");
    caller.ack(&mut world, &failure, "");
    world.assert_clean();
}

#[test]
fn requests_within_the_dialog_are_challenged_too_and_a_new_nonce_is_taken() {
    let mut world = world();
    let (mut caller, callee) = established(&mut world, "within");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let hold = callee.expect(&mut world, "INVITE");
    assert_eq!(
        (cseq(&hold), proofs(&hold)),
        (3, vec![("transit@proxy".into(), 2)])
    );
    // Not stale, but another nonce than we had: it may have grown old without being called so.
    let again = ask(&mut world, &callee, &hold, &PROXY.replace("p1", "p2"));
    assert_eq!(
        (cseq(&again), proofs(&again)),
        (4, vec![("transit@proxy".into(), 1)])
    );
    callee.respond(
        &mut world,
        &again,
        200,
        &described("10.2.0.2", 6000, 2, "recvonly"),
    );
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    assert_eq!(cseq(&callee.expect(&mut world, "ACK")), 4);

    caller.request_with(
        &mut world,
        "INFO",
        "5",
        "Content-Type: application/dtmf\r\n",
    );
    let info = callee.expect(&mut world, "INFO");
    let info = ask(&mut world, &callee, &info, SERVER);
    assert_eq!(cseq(&info), 6);
    assert_eq!(
        proofs(&info),
        [("transit@proxy".into(), 3), ("tandem@server".into(), 1)]
    );
    assert_eq!(info.body, b"5");
    callee.respond_with(
        &mut world,
        &info,
        200,
        "",
        "Authentication-Info: nextnonce=\"s2\"",
    );
    caller.expect(&mut world, "200");

    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    let bye = callee.take_bye(&mut world);
    assert_eq!(
        proofs(&bye),
        [("transit@proxy".into(), 4), ("tandem@server".into(), 1)]
    );
    assert!(header(&bye, HeaderName::Authorization).contains("nonce=\"s2\""));
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_refused_request_within_the_dialog_is_forbidden_and_the_call_stays() {
    let mut world = world();
    let (mut caller, callee) = established(&mut world, "forbidden");
    caller.request(
        &mut world,
        "INVITE",
        &described("10.1.0.2", 4000, 2, "sendonly"),
    );
    caller.expect(&mut world, "100");
    let hold = callee.expect(&mut world, "INVITE");
    let again = ask(&mut world, &callee, &hold, PROXY);
    callee.respond_with(&mut world, &again, 407, "", PROXY);
    callee.expect(&mut world, "ACK");
    let failure = caller.expect(&mut world, "403");
    caller.ack(&mut world, &failure, "");
    assert_eq!(world.state(), CallState::Established);
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    world.assert_clean();
}

#[test]
fn a_challenged_bye_ends_the_call_all_the_same() {
    for challenges in [1, 2] {
        let mut world = world();
        let (mut caller, callee) = established(&mut world, "bye");
        caller.request(&mut world, "BYE", "");
        caller.expect(&mut world, "200");
        let bye = callee.expect(&mut world, "BYE");
        let again = ask(&mut world, &callee, &bye, &PROXY.replace("p1", "p2"));
        assert_eq!(
            (cseq(&again), proofs(&again)),
            (4, vec![("transit@proxy".into(), 1)])
        );
        assert_eq!(world.state(), CallState::Ending);
        match challenges {
            1 => callee.respond(&mut world, &again, 200, ""),
            // Whatever it answers, there is nothing more that we could do.
            _ => callee.respond_with(&mut world, &again, 407, "", PROXY),
        }
        assert_eq!(world.agent.calls(), []);
        world.assert_quiet();
        world.assert_clean();
    }
}

#[test]
fn the_bye_of_a_late_fork_is_challenged_after_its_call_is_over() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "late");
    let again = ask(&mut world, &callee, &invite, PROXY);
    callee.respond(&mut world, &again, 180, "");
    caller.expect(&mut world, "180");
    callee.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    callee.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    callee.take_bye(&mut world);
    assert_eq!(world.agent.calls(), []);
    let other = Phone::callee(CALLEE, &again, "other");
    other.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6002));
    let ack = other.expect(&mut world, "ACK");
    assert_eq!(proofs(&ack).len(), 1);
    let bye = other.expect(&mut world, "BYE");
    let bye = ask(&mut world, &other, &bye, &PROXY.replace("p1", "p2"));
    assert_eq!(proofs(&bye), [("transit@proxy".into(), 1)]);
    other.respond(&mut world, &bye, 200, "");
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn an_invite_that_is_taken_back_is_not_sent_again() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "cancelled");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    callee.expect(&mut world, "CANCEL");
    callee.respond_with(&mut world, &invite, 407, "", PROXY);
    callee.expect(&mut world, "ACK");
    assert_eq!(world.agent.calls(), []);
    world.clear(callee.at);
    world.assert_clean();
}

#[test]
fn a_cancel_follows_the_invite_that_is_out() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "cancel");
    let again = ask(&mut world, &callee, &invite, PROXY);
    callee.respond(&mut world, &again, 180, "");
    caller.expect(&mut world, "180");
    caller.cancel(&mut world);
    caller.expect(&mut world, "200");
    let terminated = caller.expect(&mut world, "487");
    caller.ack(&mut world, &terminated, "");
    let cancel = callee.expect(&mut world, "CANCEL");
    assert_eq!(cseq(&cancel), cseq(&again));
    assert_eq!(
        header(&cancel, HeaderName::Via),
        header(&again, HeaderName::Via)
    );
    callee.respond(&mut world, &cancel, 200, "");
    callee.respond(&mut world, &again, 487, "");
    callee.expect(&mut world, "ACK");
    assert_eq!(world.agent.calls(), []);
    world.assert_quiet();
    world.assert_clean();
}

#[test]
fn a_challenge_after_ringing_starts_the_ringing_anew() {
    let mut world = world();
    let (mut caller, callee, invite) = dialled(&mut world, "rung");
    callee.respond(&mut world, &invite, 180, "");
    caller.expect(&mut world, "180");
    let again = ask(&mut world, &callee, &invite, SERVER);
    let other = Phone::callee(CALLEE, &again, "second");
    other.respond(&mut world, &again, 183, &sdp("10.2.0.2", 6000));
    caller.expect(&mut world, "183");
    other.respond(&mut world, &again, 200, &sdp("10.2.0.2", 6000));
    other.expect(&mut world, "ACK");
    let answer = caller.expect(&mut world, "200");
    caller.ack(&mut world, &answer, "");
    caller.request(&mut world, "BYE", "");
    caller.expect(&mut world, "200");
    assert_eq!(cseq(&other.take_bye(&mut world)), 3);
    world.assert_clean();
}

#[test]
fn a_callers_credentials_are_not_shown_to_a_trunk_that_knows_us() {
    let mut world = world();
    let mut caller = Phone::caller("secret");
    let more = "Authorization: Digest username=\"alice\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0\"\r\n";
    caller.invite_with(&mut world, "900", &sdp("10.1.0.2", 4000), more);
    caller.expect(&mut world, "100");
    let invite = expect(&mut world, addr(CALLEE), "INVITE");
    assert!(!invite.headers.contains(&HeaderName::Authorization));
    let callee = Phone::callee(CALLEE, &invite, "to");
    callee.respond(&mut world, &invite, 486, "");
    callee.expect(&mut world, "ACK");
    let busy = caller.expect(&mut world, "486");
    caller.ack(&mut world, &busy, "");
    world.assert_clean();
}
