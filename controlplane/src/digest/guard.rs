//! The server's half: whether the credentials of a request are good, and what is asked for when they are not.

use std::net::IpAddr;

use contract::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use subtle::ConstantTimeEq;

use crate::sip::typed::Uri;
use crate::sip::{HeaderName, Message};

use super::algorithm::{Algorithm, Hash};
use super::calculation::{self, Protection, Request, response};
use super::challenge::{Challenge, Offered};
use super::credentials::Credentials;
use super::failures::Failures;
use super::nonces::{Nonces, Standing};
use super::secret::{Secret, escaped};

/// What we offer, the strongest first. SHA-512-256 is left out: hardly a phone knows it, and it is no stronger here.
const OFFERED: [Hash; 2] = [Hash::Sha256, Hash::Md5];

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as it is.
    pub name: String,
    /// What only the two of us know.
    pub secret: Secret,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its credentials are good.
    Good,
    /// It is to be asked for credentials: the values of WWW-Authenticate, in order.
    Challenge(Vec<String>),
    /// Wrong too often: 403, and no word about why.
    ShutOut,
}

/// What has been decided, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Good credentials.
    pub good: u64,
    /// None for our realm, so a challenge.
    pub asked: u64,
    /// Right, with a nonce that is too old or not ours any more.
    pub stale: u64,
    /// Right, and used before.
    pub replayed: u64,
    /// Wrong user, password, or Request-URI.
    pub wrong: u64,
    /// Not looked at, after too many wrong ones.
    pub shut_out: u64,
}

/// Checks credentials.
#[derive(Debug)]
pub struct Guard {
    nonces: Nonces,
    failures: Failures,
    rng: StdRng,
    tally: Tally,
}

impl Guard {
    /// A guard whose nonces nobody else can make: `rng` is seeded from the system's entropy, except in tests.
    pub fn new(mut rng: StdRng) -> Self {
        let mut key = [0; 64];
        rng.fill_bytes(&mut key);
        Self {
            nonces: Nonces::new(key),
            failures: Failures::default(),
            rng,
            tally: Tally::default(),
        }
    }

    /// What has been decided since the start.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Looks at the credentials that a request from `source` has for the realm.
    pub fn check(
        &mut self,
        now: Timestamp,
        realm: &str,
        users: &[User],
        request: &Message,
        source: IpAddr,
    ) -> Verdict {
        let realm = escaped(realm);
        let Some(credentials) = credentials_for(&realm, users, request) else {
            self.tally.asked += 1;
            return self.challenge(now, &realm, users, false);
        };
        let place = users
            .iter()
            .position(|user| escaped(&user.name) == credentials.user);
        let who = (source, place);
        if self.failures.is_shut_out(now, who) {
            self.tally.shut_out += 1;
            return Verdict::ShutOut;
        }
        let user = place.and_then(|place| users.get(place));
        if !proves(&credentials, user, request) {
            self.tally.wrong += 1;
            self.failures.note(now, who);
            return self.challenge(now, &realm, users, false);
        }
        let count = match credentials.protection {
            // Without a count a nonce is good once.
            Protection::None => 1,
            _ => credentials.count,
        };
        match self.nonces.standing(now, &realm, &credentials.nonce) {
            Standing::Good(made, random) if self.nonces.admit(now, made, random, count) => {
                self.tally.good += 1;
                return Verdict::Good;
            }
            Standing::Good(..) => self.tally.replayed += 1,
            Standing::Stale | Standing::Foreign => self.tally.stale += 1,
        }
        self.challenge(now, &realm, users, true)
    }

    /// How many nonces are remembered.
    pub fn held(&mut self, now: Timestamp) -> usize {
        self.nonces.forget(now);
        self.nonces.held()
    }

    fn challenge(&mut self, now: Timestamp, realm: &str, users: &[User], stale: bool) -> Verdict {
        let nonce = self.nonces.make(now, realm, self.rng.next_u64());
        let challenge = |hash| Challenge {
            realm: realm.to_owned(),
            nonce: nonce.clone(),
            opaque: None,
            stale,
            algorithm: Algorithm::plain(hash),
            offered: Offered::Both,
        };
        Verdict::Challenge(
            offered(users)
                .map(|hash| challenge(hash).to_string())
                .collect(),
        )
    }
}

/// What every user can answer: of those whose password we do not have, only the digest that we have.
fn offered(users: &[User]) -> impl Iterator<Item = Hash> {
    let hashes = OFFERED.into_iter();
    hashes.filter(|hash| users.iter().all(|user| user.secret.serves(*hash)))
}

/// The request's credentials for the realm, of an algorithm that is offered; the strongest of several.
fn credentials_for(realm: &str, users: &[User], request: &Message) -> Option<Credentials> {
    let values = request.headers.values(&HeaderName::Authorization);
    let readable = values
        .iter()
        .filter_map(|value| Credentials::parse(value).ok());
    readable
        .filter(|credentials| credentials.realm == realm && !credentials.algorithm.session)
        .filter(|credentials| offered(users).any(|hash| hash == credentials.algorithm.hash))
        .max_by_key(|credentials| credentials.algorithm.hash)
}

/// Whether the response is what the user's secret makes of the request. An unknown user takes as long as a known one.
fn proves(credentials: &Credentials, user: Option<&User>, request: &Message) -> bool {
    let hash = credentials.algorithm.hash;
    let nobody = Secret::Password(String::new());
    let secret = user.map_or(&nobody, |user| &user.secret);
    let (Some(ha1), Some(method)) = (
        secret.of(hash, &credentials.user, &credentials.realm),
        request.method(),
    ) else {
        return false;
    };
    let nonces = calculation::Nonces {
        server: &credentials.nonce,
        client: &credentials.cnonce,
        count: credentials.count,
    };
    let asked = Request {
        method: method.as_str(),
        uri: &credentials.uri,
        body: &request.body,
    };
    let expected = response(hash, &ha1, nonces, credentials.protection, asked);
    let said = credentials.response.to_ascii_lowercase();
    let same = bool::from(expected.as_bytes().ct_eq(said.as_bytes()));
    same && user.is_some() && is_asked_for(&credentials.uri, request)
}

/// Whether the credentials are for this request: their URI names the user and host of the Request-URI. Its
/// parameters may differ: what lies between adds and drops them.
fn is_asked_for(uri: &str, request: &Message) -> bool {
    let (Some(asked), Ok(named)) = (request.uri(), Uri::parse(uri.as_bytes())) else {
        return false;
    };
    asked == &named
        || asked.is_sip()
            && asked.decoded_user() == named.decoded_user()
            && asked.host() == named.host()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Answers, Exchange, Login, Outcome};
    use rand::SeedableRng;
    use std::time::Duration;

    const REALM: &str = "tandem \"example\"";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(1) + Duration::from_secs(seconds)
    }

    fn users() -> Vec<User> {
        let user = |name: &str, password: &str| User {
            name: name.into(),
            secret: Secret::Password(password.into()),
        };
        vec![user("alice", "wonder\"land"), user("bob", "builder")]
    }

    fn guard() -> Guard {
        Guard::new(StdRng::seed_from_u64(1))
    }

    fn request(body: &str) -> Message {
        let text = format!(
            "INVITE sip:+4930@10.0.0.1:5060;user=phone SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
             From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.as_bytes()).expect("a request")
    }

    fn check(guard: &mut Guard, seconds: u64, request: &Message) -> Verdict {
        let source = "10.0.0.2".parse().expect("an address");
        guard.check(at(seconds), REALM, &users(), request, source)
    }

    /// A phone that takes the challenge.
    fn phone(verdict: &Verdict, password: &str) -> Answers {
        let Verdict::Challenge(values) = verdict else {
            panic!("a challenge: {verdict:?}");
        };
        let mut challenged = request("");
        for value in values {
            challenged.headers.push(HeaderName::WwwAuthenticate, value);
        }
        let login = Login {
            realm: Some(REALM.into()),
            user: "alice".into(),
            secret: Secret::Password(password.into()),
        };
        let mut answers = Answers::default();
        let taken = answers.take(&challenged, &mut Exchange::default(), &[login], || {
            "cc".into()
        });
        assert_eq!(taken, Outcome::Answered);
        answers
    }

    fn signed(answers: &mut Answers) -> Message {
        let mut message = request("v=0");
        answers.sign(&mut message);
        message
    }

    fn says_stale(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Challenge(values) if values.iter().all(|value| value.contains("stale=true")))
    }

    #[test]
    fn our_own_client_is_let_in_with_the_strongest_and_its_count_goes_on() {
        let mut guard = guard();
        let asked = check(&mut guard, 1, &request(""));
        let Verdict::Challenge(values) = &asked else {
            panic!("{asked:?}");
        };
        assert!(
            values[0].contains("algorithm=SHA-256") && values[1].contains("algorithm=MD5"),
            "{values:?}"
        );
        let mut phone = phone(&asked, "wonder\"land");
        let first = signed(&mut phone);
        let credentials = String::from_utf8(
            first
                .headers
                .value(&HeaderName::Authorization)
                .expect("some"),
        )
        .expect("text");
        assert!(credentials.contains("algorithm=SHA-256"), "{credentials}");
        assert_eq!(check(&mut guard, 2, &first), Verdict::Good);
        assert_eq!(check(&mut guard, 3, &signed(&mut phone)), Verdict::Good);
        assert!(says_stale(&check(&mut guard, 4, &first)), "a replay");
        let tally = guard.tally();
        assert_eq!((tally.asked, tally.good, tally.replayed), (1, 2, 1));
    }

    #[test]
    fn an_old_nonce_is_stale_and_a_changed_request_wrong() {
        let mut guard = guard();
        let asked = check(&mut guard, 1, &request(""));
        let mut phone = phone(&asked, "wonder\"land");
        assert!(says_stale(&check(&mut guard, 400, &signed(&mut phone))));
        let mut elsewhere = signed(&mut phone);
        let text = String::from_utf8(elsewhere.to_bytes())
            .expect("text")
            .replacen("+4930@", "+4931@", 1);
        elsewhere = Message::parse(text.as_bytes()).expect("a request");
        let verdict = check(&mut guard, 2, &elsewhere);
        assert!(matches!(verdict, Verdict::Challenge(_)) && !says_stale(&verdict));
        assert_eq!(guard.tally().wrong, 1);
        let text = String::from_utf8(signed(&mut phone).to_bytes())
            .expect("text")
            .replacen(";user=phone", "", 1);
        let fewer = Message::parse(text.as_bytes()).expect("a request");
        assert_eq!(check(&mut guard, 2, &fewer), Verdict::Good);
    }

    #[test]
    fn wrong_passwords_and_unknown_users_are_asked_again_and_then_shut_out() {
        let mut guard = guard();
        let asked = check(&mut guard, 1, &request(""));
        for _ in 0..10 {
            let verdict = check(&mut guard, 2, &signed(&mut phone(&asked, "guess")));
            assert!(matches!(verdict, Verdict::Challenge(_)) && !says_stale(&verdict));
        }
        assert_eq!(
            check(&mut guard, 3, &signed(&mut phone(&asked, "wonder\"land"))),
            Verdict::ShutOut
        );
        assert_eq!(
            check(&mut guard, 70, &signed(&mut phone(&asked, "wonder\"land"))),
            Verdict::Good
        );
        let mut stranger = signed(&mut phone(&asked, ""));
        let value = String::from_utf8(
            stranger
                .headers
                .value(&HeaderName::Authorization)
                .expect("some"),
        )
        .expect("text");
        stranger
            .headers
            .set(HeaderName::Authorization, value.replace("alice", "mallory"));
        assert!(matches!(
            check(&mut guard, 70, &stranger),
            Verdict::Challenge(_)
        ));
        assert_eq!(guard.tally().wrong, 11);
    }

    #[test]
    fn auth_int_protects_the_body_and_without_protection_a_nonce_is_good_once() {
        let mut guard = guard();
        let Verdict::Challenge(values) = check(&mut guard, 1, &request("")) else {
            panic!("a challenge");
        };
        let only = |qop: &str| {
            let offer = values
                .iter()
                .map(|value| value.replace(", qop=\"auth,auth-int\"", qop));
            Verdict::Challenge(offer.collect())
        };
        let mut whole = phone(&only(", qop=\"auth-int\""), "wonder\"land");
        let message = signed(&mut whole);
        let mut tampered = message.clone();
        tampered.body = b"v=1".to_vec();
        assert!(matches!(
            check(&mut guard, 2, &tampered),
            Verdict::Challenge(_)
        ));
        assert_eq!(check(&mut guard, 2, &message), Verdict::Good);
        let mut guard = super::tests::guard();
        let mut old = phone(&only(""), "wonder\"land");
        assert_eq!(check(&mut guard, 2, &signed(&mut old)), Verdict::Good);
        assert!(says_stale(&check(&mut guard, 2, &signed(&mut old))));
        assert_eq!(guard.held(at(2)), 1);
        assert_eq!(guard.held(at(400)), 0);
    }

    #[test]
    fn users_whose_digest_alone_is_known_are_offered_what_it_serves() {
        let digest = Hash::Md5.of(&[b"alice", REALM.as_bytes(), b"x"]);
        let users = [User {
            name: "alice".into(),
            secret: Secret::ha1(&digest).expect("a digest"),
        }];
        let verdict = guard().check(
            at(1),
            REALM,
            &users,
            &request(""),
            "10.0.0.2".parse().expect("an address"),
        );
        let Verdict::Challenge(values) = verdict else {
            panic!("a challenge");
        };
        assert_eq!(values.len(), 1);
        assert!(values[0].contains("algorithm=MD5"));
    }
}
