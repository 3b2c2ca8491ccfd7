//! The client against challenges of every kind.

use super::*;
use crate::digest::Protection;
use crate::digest::calculation::response as computed;

fn request(method: &str) -> Message {
    let text = format!(
        "{method} sip:bob@biloxi.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 4\r\n\r\nbody"
    );
    Message::parse(text.as_bytes()).expect("a request")
}

fn challenged(headers: &[&str]) -> Message {
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
         To: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{}\r\nContent-Length: 0\r\n\r\n",
        headers.join("\r\n")
    );
    Message::parse(text.as_bytes()).expect("a response")
}

fn login(realm: Option<&str>, user: &str) -> Login {
    Login {
        realm: realm.map(str::to_owned),
        user: user.into(),
        secret: Secret::Password("zanzibar".into()),
    }
}

/// Takes a challenge and signs an INVITE: the credentials in it.
fn answer(headers: &[&str]) -> Vec<(HeaderName, Credentials)> {
    let mut answers = Answers::default();
    let mut exchange = Exchange::default();
    let logins = [login(None, "bob")];
    let outcome = answers.take(&challenged(headers), &mut exchange, &logins, || {
        "0a4f113b".into()
    });
    assert_eq!(outcome, Outcome::Answered);
    signed(&mut answers, "INVITE")
}

fn signed(answers: &mut Answers, method: &str) -> Vec<(HeaderName, Credentials)> {
    let mut message = request(method);
    answers.sign(&mut message);
    let fields = message.headers.iter();
    fields
        .filter(|field| {
            Place::ALL
                .iter()
                .any(|place| &place.credentials() == field.name())
        })
        .map(|field| {
            (
                field.name().clone(),
                Credentials::parse(&field.value()).expect("ours are good"),
            )
        })
        .collect()
}

/// What the server would compute.
fn proves(credentials: &Credentials, method: &str) -> bool {
    let hash = credentials.algorithm.hash;
    let secret = Secret::Password("zanzibar".into());
    let ha1 = secret
        .of(hash, &credentials.user, &credentials.realm)
        .expect("a password");
    let nonces = Nonces {
        server: &credentials.nonce,
        client: &credentials.cnonce,
        count: credentials.count,
    };
    let secret = session_secret(credentials.algorithm, ha1, nonces);
    let asked = Request {
        method,
        uri: "sip:bob@biloxi.com",
        body: b"body",
    };
    credentials.response == computed(hash, &secret, nonces, credentials.protection, asked)
}

#[test]
fn the_credentials_of_the_sip_example() {
    // The values of RFC 3261 §22.4 with their response as draft-smith-sipping-auth-examples computes it.
    let answered = answer(&[
        "WWW-Authenticate: Digest realm=\"biloxi.com\", qop=\"auth,auth-int\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
    ]);
    let (name, credentials) = &answered[0];
    assert_eq!(name, &HeaderName::Authorization);
    assert_eq!(credentials.response, "89eb0059246c02b2f6ee02c7961d5ea3");
    assert_eq!(
        credentials.opaque.as_deref(),
        Some("5ccc069c403ebaf9f0171e9517f40e41")
    );
    assert_eq!(credentials.uri, "sip:bob@biloxi.com");
}

#[test]
fn the_strongest_of_several_is_taken_whatever_their_order() {
    // The three of RFC 8760 §2.4, and one that nobody knows.
    let md5 = "WWW-Authenticate: Digest realm=\"r\", nonce=\"1\", qop=\"auth\", algorithm=MD5";
    let sha = "WWW-Authenticate: Digest realm=\"r\", nonce=\"2\", qop=\"auth\", algorithm=SHA-256";
    let long =
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"3\", qop=\"auth\", algorithm=SHA-512-256";
    let odd = "WWW-Authenticate: Digest realm=\"r\", nonce=\"4\", qop=\"auth\", algorithm=SHA-1024";
    let basic = "WWW-Authenticate: Basic realm=\"r\"";
    for (order, nonce) in [
        (&[odd, md5, long, sha][..], "3"),
        (&[sha, md5], "2"),
        (&[basic, odd, md5], "1"),
    ] {
        let answered = answer(order);
        assert_eq!(answered.len(), 1, "{order:?}");
        assert_eq!(answered[0].1.nonce, nonce, "{order:?}");
        assert!(proves(&answered[0].1, "INVITE"), "{order:?}");
    }
}

#[test]
fn every_protection_and_session_form_proves_the_password() {
    for (offer, protection) in [
        ("", Protection::None),
        (", algorithm=MD5-sess", Protection::None),
        (", qop=\"auth\"", Protection::Auth),
        (", qop=\"auth-int\"", Protection::AuthInt),
        (
            ", qop=\"auth-int, auth\", algorithm=SHA-256-sess",
            Protection::Auth,
        ),
        (
            ", qop=\"auth-int\", algorithm=SHA-512-256-sess",
            Protection::AuthInt,
        ),
    ] {
        let answered = answer(&[&format!(
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"{offer}"
        )]);
        let (name, credentials) = &answered[0];
        assert_eq!(
            (name, credentials.protection),
            (&HeaderName::ProxyAuthorization, protection)
        );
        assert!(proves(credentials, "INVITE"), "{offer}");
        assert_eq!(credentials.cnonce.is_empty(), offer.is_empty(), "{offer}");
    }
}

#[test]
fn a_chain_is_answered_as_a_whole_and_kept_with_a_growing_count() {
    let mut answers = Answers::default();
    let mut exchange = Exchange::default();
    let logins = [login(Some("proxy"), "p"), login(None, "bob")];
    let mut take = |answers: &mut Answers, header: &str| {
        answers.take(&challenged(&[header]), &mut exchange, &logins, || {
            "c".into()
        })
    };
    let proxy = "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"1\", qop=\"auth\"";
    let server = "WWW-Authenticate: Digest realm=\"server\", nonce=\"2\", qop=\"auth\"";
    assert_eq!(take(&mut answers, proxy), Outcome::Answered);
    assert_eq!(signed(&mut answers, "INVITE").len(), 1);
    assert_eq!(take(&mut answers, server), Outcome::Answered);
    let both = signed(&mut answers, "INVITE");
    let said: Vec<_> = both
        .iter()
        .map(|(_, one)| (one.user.as_str(), one.realm.as_str(), one.count))
        .collect();
    assert_eq!(said, [("p", "proxy", 2), ("bob", "server", 1)]);
    assert!(both.iter().all(|(_, one)| proves(one, "INVITE")));
    let bye = signed(&mut answers, "BYE");
    assert!(bye.iter().all(|(_, one)| proves(one, "BYE")));
    assert_eq!(bye[0].1.count, 3);
}

#[test]
fn wrong_credentials_end_it_and_stale_ones_do_not_do_so_for_ever() {
    let mut answers = Answers::default();
    let mut exchange = Exchange::default();
    let logins = [login(None, "bob")];
    let mut take = |stale: &str| {
        let header =
            format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"{stale}");
        answers.take(&challenged(&[&header]), &mut exchange, &logins, || {
            "c".into()
        })
    };
    assert_eq!(take(""), Outcome::Answered);
    assert_eq!(take(""), Outcome::Refused);
    let stale: Vec<_> = (0..5).map(|_| take(", stale=true")).collect();
    let answered = stale
        .iter()
        .filter(|outcome| **outcome == Outcome::Answered)
        .count();
    assert_eq!(answered, usize::from(MAX_SENT) - 2);
    assert_eq!(stale.last(), Some(&Outcome::Refused));
}

#[test]
fn without_a_login_or_a_known_algorithm_nothing_can_be_done() {
    let take = |header: &str, logins: &[Login]| {
        let mut exchange = Exchange::default();
        Answers::default().take(&challenged(&[header]), &mut exchange, logins, || "c".into())
    };
    let header = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"";
    assert_eq!(take(header, &[]), Outcome::Unable);
    assert_eq!(
        take(header, &[login(Some("other"), "bob")]),
        Outcome::Unable
    );
    assert_eq!(
        take("WWW-Authenticate: Basic realm=\"r\"", &[login(None, "bob")]),
        Outcome::Unable
    );
    let digest = Secret::ha1(&"0".repeat(32)).expect("32 digits");
    let md5_only = [Login {
        secret: digest,
        ..login(None, "bob")
    }];
    assert_eq!(take(header, &md5_only), Outcome::Answered);
    assert_eq!(
        take(&format!("{header}, algorithm=SHA-256"), &md5_only),
        Outcome::Unable
    );
}

#[test]
fn the_next_nonce_starts_a_new_count() {
    let mut answers = Answers::default();
    let logins = [login(None, "bob")];
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    answers.take(
        &challenged(&[challenge]),
        &mut Exchange::default(),
        &logins,
        || "c".into(),
    );
    assert_eq!(signed(&mut answers, "INVITE")[0].1.count, 1);
    answers.hear(&challenged(&[
        "Authentication-Info: qop=auth, cnonce=\"other\", nextnonce=\"m\"",
    ]));
    assert_eq!(signed(&mut answers, "BYE")[0].1.nonce, "n");
    answers.hear(&challenged(&[
        "Authentication-Info: nextnonce=\"m\", cnonce=\"c\"",
    ]));
    let next = &signed(&mut answers, "BYE")[0].1;
    assert_eq!((next.nonce.as_str(), next.count), ("m", 1));
    assert!(proves(next, "BYE"));
    answers.hear(&challenged(&["Authentication-Info: nextnonce=\"o\""]));
    assert_eq!(signed(&mut answers, "BYE")[0].1.nonce, "o");
}

#[test]
fn a_dialog_is_asked_for_so_many_realms_at_most() {
    let mut answers = Answers::default();
    let logins = [login(None, "bob")];
    let outcomes: Vec<_> = (0..MAX_REALMS + 2)
        .map(|number| {
            let header = format!("WWW-Authenticate: Digest realm=\"{number}\", nonce=\"n\"");
            answers.take(
                &challenged(&[&header]),
                &mut Exchange::default(),
                &logins,
                || "c".into(),
            )
        })
        .collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|one| **one == Outcome::Answered)
            .count(),
        MAX_REALMS
    );
    assert_eq!(signed(&mut answers, "INVITE").len(), MAX_REALMS);
}
