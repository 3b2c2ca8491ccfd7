//! The client's half: what has been asked for, and the credentials that go with every request from then on.
//!
//! ```text
//!   INVITE                            ─►    a response with challenges:  take
//!                 ◄─  407 realm=p           the request again, with all: sign
//!   INVITE p                          ─►
//!                 ◄─  401 realm=s           a chain asks one after the other; each is kept
//!   INVITE p s                        ─►
//!                 ◄─  200                   it may bring the next nonce: hear
//!   BYE p s                           ─►    without being asked
//! ```

use crate::sip::{HeaderName, Message};

use super::DigestError;
use super::calculation::{Nonces, Protection, Request, response, session_secret};
use super::challenge::Challenge;
use super::credentials::Credentials;
use super::parameters;
use super::secret::{Secret, escaped};

/// Realms that one dialog may be asked for. A chain has two or three proxies; each more makes every request
/// longer.
const MAX_REALMS: usize = 8;

/// How often one request is sent in all: once for each realm of a chain and once for a nonce that has grown old.
const MAX_SENT: u8 = 5;

/// Who asks: a proxy on the way, or the one at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A user agent server: WWW-Authenticate, Authorization.
    Server,
    /// A proxy: Proxy-Authenticate, Proxy-Authorization.
    Proxy,
}

impl Place {
    const ALL: [Self; 2] = [Self::Server, Self::Proxy];

    /// The header that asks.
    pub const fn challenge(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    /// The header that answers.
    pub const fn credentials(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }

    /// The header of a success that brings the next nonce (RFC 7615), in lower case.
    const fn information(self) -> &'static str {
        match self {
            Self::Server => "authentication-info",
            Self::Proxy => "proxy-authentication-info",
        }
    }
}

/// Who we are, to one realm or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The realm; `None`: every one that no other login names.
    pub realm: Option<String>,
    /// The user, as it is.
    pub user: String,
    /// What only the two of us know.
    pub secret: Secret,
}

/// What one request has been asked for, over all the times that it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    answered: Vec<(Place, String)>,
    again: u8,
}

/// What becomes of a challenged request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is to be sent again: [`Answers::sign`] has what it lacked.
    Answered,
    /// The credentials that it had were no good, or it was asked too often.
    Refused,
    /// We have no credentials for any of the realms, or know none of the algorithms.
    Unable,
}

/// The realms that a dialog or a registration has been asked for.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    realms: Vec<Realm>,
}

#[derive(Clone, Debug)]
struct Realm {
    place: Place,
    challenge: Challenge,
    /// As between quotes.
    user: String,
    /// `H(A1)`.
    secret: Secret,
    cnonce: String,
    /// How often the nonce has been used.
    count: u32,
}

impl Answers {
    /// Whether nothing has been asked for.
    pub fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }

    /// Takes the challenges of a 401 or 407 in. `cnonce` makes a nonce of ours: unpredictable.
    pub fn take(
        &mut self,
        challenged: &Message,
        exchange: &mut Exchange,
        logins: &[Login],
        mut cnonce: impl FnMut() -> String,
    ) -> Outcome {
        let mut outcome = Outcome::Unable;
        for (place, challenge, login) in answerable(challenged, logins) {
            let before = exchange
                .answered
                .iter()
                .any(|(known, realm)| *known == place && *realm == challenge.realm);
            if before && !challenge.stale || exchange.again + 1 >= MAX_SENT {
                return Outcome::Refused;
            }
            let Some(realm) = Realm::new(place, challenge, login, cnonce()) else {
                continue;
            };
            if !before {
                exchange
                    .answered
                    .push((place, realm.challenge.realm.clone()));
            }
            if self.put(realm) {
                outcome = Outcome::Answered;
            }
        }
        if outcome == Outcome::Answered {
            exchange.again += 1;
        }
        outcome
    }

    /// Adds credentials for everything that has been asked for; those that the request has, whosever they are,
    /// are taken out.
    pub fn sign(&mut self, request: &mut Message) {
        if self.realms.is_empty() {
            return;
        }
        strip(request);
        let (Some(method), Some(uri)) = (request.method(), request.uri()) else {
            return;
        };
        let (method, uri) = (method.as_str().to_owned(), uri.as_str().to_owned());
        let Message { headers, body, .. } = request;
        for realm in &mut self.realms {
            let asked = Request {
                method: &method,
                uri: &uri,
                body,
            };
            let credentials = realm.credentials(asked);
            headers.push(realm.place.credentials(), credentials.to_string());
        }
    }

    /// Takes the next nonce that a success brings.
    pub fn hear(&mut self, response: &Message) {
        for place in Place::ALL {
            let name = HeaderName::from(place.information());
            for value in response.headers.values(&name) {
                if let Ok((next, cnonce)) = next_nonce(&value) {
                    self.renew(place, next, cnonce.as_deref());
                }
            }
        }
    }

    /// The header names no realm: what it belongs to is known by our own nonce, or because there is but one.
    fn renew(&mut self, place: Place, next: String, cnonce: Option<&str>) {
        let mut realms = self.realms.iter_mut().filter(|realm| realm.place == place);
        let found = match cnonce {
            Some(cnonce) => realms.find(|realm| realm.cnonce == cnonce),
            None => realms.next().filter(|_| realms.next().is_none()),
        };
        if let Some(realm) = found {
            realm.challenge.nonce = next;
            realm.count = 0;
        }
    }

    /// Puts a realm in the place of the one of that name; false when there are too many.
    fn put(&mut self, realm: Realm) -> bool {
        let same = |known: &&mut Realm| {
            known.place == realm.place && known.challenge.realm == realm.challenge.realm
        };
        if let Some(known) = self.realms.iter_mut().find(same) {
            *known = realm;
            return true;
        }
        let room = self.realms.len() < MAX_REALMS;
        if room {
            self.realms.push(realm);
        }
        room
    }
}

impl Realm {
    fn new(place: Place, challenge: Challenge, login: &Login, cnonce: String) -> Option<Self> {
        let user = escaped(&login.user);
        let hash = challenge.algorithm.hash;
        let ha1 = login.secret.of(hash, &user, &challenge.realm)?;
        let nonces = Nonces {
            server: &challenge.nonce,
            client: &cnonce,
            count: 0,
        };
        let digest = session_secret(challenge.algorithm, ha1, nonces);
        Some(Self {
            place,
            user,
            secret: Secret::Ha1 { hash, digest },
            cnonce,
            count: 0,
            challenge,
        })
    }

    fn credentials(&mut self, request: Request<'_>) -> Credentials {
        let Self { challenge, .. } = self;
        let protection = challenge.offered.chosen();
        let algorithm = challenge.algorithm;
        self.count = self.count.saturating_add(1);
        let nonces = Nonces {
            server: &challenge.nonce,
            client: &self.cnonce,
            count: self.count,
        };
        let secret = self
            .secret
            .of(algorithm.hash, &self.user, &challenge.realm)
            .unwrap_or_default();
        let response = response(algorithm.hash, &secret, nonces, protection, request);
        let named = protection != Protection::None || algorithm.session;
        Credentials {
            user: self.user.clone(),
            realm: challenge.realm.clone(),
            nonce: challenge.nonce.clone(),
            uri: request.uri.to_owned(),
            response,
            algorithm,
            protection,
            cnonce: if named {
                self.cnonce.clone()
            } else {
                String::new()
            },
            count: if protection == Protection::None {
                0
            } else {
                self.count
            },
            opaque: challenge.opaque.clone(),
        }
    }
}

/// Of every realm that asks, the strongest challenge that we can answer, and with whose name; of two as strong
/// the first (RFC 8760 §2.4).
fn answerable<'a>(challenged: &Message, logins: &'a [Login]) -> Vec<(Place, Challenge, &'a Login)> {
    let mut found: Vec<(Place, Challenge, &Login)> = Vec::new();
    for (place, challenge) in challenges(challenged) {
        let Some(login) = login_for(&challenge, logins) else {
            continue;
        };
        let same = found
            .iter_mut()
            .find(|(at, known, _)| *at == place && known.realm == challenge.realm);
        match same {
            Some((_, known, by)) => {
                if challenge.algorithm.hash > known.algorithm.hash {
                    (*known, *by) = (challenge, login);
                }
            }
            None => found.push((place, challenge, login)),
        }
    }
    found
}

fn challenges(challenged: &Message) -> Vec<(Place, Challenge)> {
    let mut found = Vec::new();
    for place in Place::ALL {
        for value in challenged.headers.values(&place.challenge()) {
            let readable = Challenge::parse(&value)
                .unwrap_or_default()
                .into_iter()
                .flatten();
            found.extend(readable.map(|challenge| (place, challenge)));
        }
    }
    found
}

/// A login that names the realm goes before one that names none.
fn login_for<'a>(challenge: &Challenge, logins: &'a [Login]) -> Option<&'a Login> {
    let fits = |login: &&Login| login.secret.serves(challenge.algorithm.hash);
    let mut named = logins
        .iter()
        .filter(|login| login.realm.as_deref().map(escaped).as_deref() == Some(&challenge.realm));
    let mut any = logins.iter().filter(|login| login.realm.is_none());
    named.find(fits).or_else(|| any.find(fits))
}

/// `nextnonce` and the client's nonce that it answers.
pub(super) fn next_nonce(value: &[u8]) -> Result<(String, Option<String>), DigestError> {
    let parameters = parameters::bare(value)?;
    let next = parameters.required("nextnonce")?;
    Ok((next, parameters.value("cnonce").map(str::to_owned)))
}

/// Takes all credentials out of a request.
pub fn strip(request: &mut Message) {
    for place in Place::ALL {
        request.headers.remove(&place.credentials());
    }
}

/// Takes the credentials for one realm out of a request.
pub fn strip_realm(request: &mut Message, realm: &str) {
    let realm = escaped(realm);
    for name in Place::ALL.map(Place::credentials) {
        let fields: Vec<_> = request.headers.all(&name).cloned().collect();
        request.headers.remove(&name);
        for field in fields {
            let credentials = Credentials::parse(&field.value());
            if !credentials.is_ok_and(|credentials| credentials.realm == realm) {
                request.headers.append(field);
            }
        }
    }
}

#[cfg(test)]
mod tests;
