//! The arithmetic (RFC 7616 §3.4): from a secret, a challenge and a request to a response.

use super::algorithm::{Algorithm, Hash};

/// What of the request is protected, and against what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// RFC 2069: no client nonce, no count.
    None,
    /// Method and URI, with client nonce and count.
    Auth,
    /// The body as well.
    AuthInt,
}

impl Protection {
    /// The name in `qop`; `None` where none is written.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }

    /// The protection of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Auth, Self::AuthInt];
        all.into_iter().find(|one| {
            one.name()
                .is_some_and(|known| known.eq_ignore_ascii_case(name))
        })
    }
}

/// What a response is made of, besides the secret and what is said of the nonces.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The Request-URI, as the credentials name it.
    pub uri: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The nonces of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nonces<'a> {
    pub(super) server: &'a str,
    pub(super) client: &'a str,
    pub(super) count: u32,
}

/// The secret of a session: for the `-sess` forms it is bound to the first nonces.
pub(super) fn session_secret(algorithm: Algorithm, ha1: String, nonces: Nonces<'_>) -> String {
    match algorithm.session {
        true => algorithm.hash.of(&[
            ha1.as_bytes(),
            nonces.server.as_bytes(),
            nonces.client.as_bytes(),
        ]),
        false => ha1,
    }
}

/// The `response` of credentials.
pub(super) fn response(
    hash: Hash,
    secret: &str,
    nonces: Nonces<'_>,
    protection: Protection,
    request: Request<'_>,
) -> String {
    let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
    let asked = match protection {
        Protection::AuthInt => hash.of(&[method, uri, hash.of(&[request.body]).as_bytes()]),
        _ => hash.of(&[method, uri]),
    };
    let (secret, server) = (secret.as_bytes(), nonces.server.as_bytes());
    match protection.name() {
        None => hash.of(&[secret, server, asked.as_bytes()]),
        Some(name) => {
            let count = format!("{:08x}", nonces.count);
            let client = nonces.client.as_bytes();
            hash.of(&[
                secret,
                server,
                count.as_bytes(),
                client,
                name.as_bytes(),
                asked.as_bytes(),
            ])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Secret;

    struct Example {
        hash: Hash,
        user: &'static str,
        realm: &'static str,
        password: &'static str,
        nonces: Nonces<'static>,
        protection: Protection,
        uri: &'static str,
    }

    impl Example {
        fn response(&self) -> String {
            let secret = Secret::Password(self.password.into());
            let ha1 = secret
                .of(self.hash, self.user, self.realm)
                .expect("a password");
            let request = Request {
                method: "GET",
                uri: self.uri,
                body: b"",
            };
            response(self.hash, &ha1, self.nonces, self.protection, request)
        }
    }

    const MUFASA: Example = Example {
        hash: Hash::Md5,
        user: "Mufasa",
        realm: "http-auth@example.org",
        password: "Circle of Life",
        nonces: Nonces {
            server: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            client: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            count: 1,
        },
        protection: Protection::Auth,
        uri: "/dir/index.html",
    };

    #[test]
    fn the_examples_of_rfc_7616() {
        assert_eq!(MUFASA.response(), "8ca523f5e9506fed4657c9700eebdbec");
        let sha = Example {
            hash: Hash::Sha256,
            ..MUFASA
        };
        assert_eq!(
            sha.response(),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        // As erratum 4897 corrects it: the RFC's own figure is of a draft of SHA-512/256.
        let jason = Example {
            hash: Hash::Sha512_256,
            user: "J\u{e4}s\u{f8}n Doe",
            realm: "api@example.org",
            password: "Secret, or not?",
            nonces: Nonces {
                server: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
                client: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
                count: 1,
            },
            protection: Protection::Auth,
            uri: "/doe.json",
        };
        assert_eq!(
            jason.response(),
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
        );
    }

    #[test]
    fn the_examples_of_rfc_2617_and_rfc_2069() {
        let old = Example {
            realm: "testrealm@host.com",
            password: "Circle Of Life",
            nonces: Nonces {
                server: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                client: "0a4f113b",
                count: 1,
            },
            ..MUFASA
        };
        assert_eq!(old.response(), "6629fae49393a05397450978507c4ef1");
        // As erratum 749 corrects it.
        let older = Example {
            password: "CircleOfLife",
            protection: Protection::None,
            ..old
        };
        assert_eq!(older.response(), "1949323746fe6a43ef61f9606e7febea");
    }

    #[test]
    fn auth_int_covers_the_body_and_sess_binds_the_secret() {
        let request = |body| Request {
            method: "INVITE",
            uri: "sip:b@x",
            body,
        };
        let nonces = MUFASA.nonces;
        let with = |body| {
            response(
                Hash::Md5,
                "secret",
                nonces,
                Protection::AuthInt,
                request(body),
            )
        };
        assert_ne!(with(b"v=0"), with(b"v=1"));
        let algorithm = Algorithm {
            hash: Hash::Md5,
            session: true,
        };
        let bound = session_secret(algorithm, "secret".into(), nonces);
        let parts = format!("secret:{}:{}", nonces.server, nonces.client);
        assert_eq!(bound, Hash::Md5.of(&[parts.as_bytes()]));
        assert_eq!(
            session_secret(Algorithm::DEFAULT, "secret".into(), nonces),
            "secret"
        );
    }
}
