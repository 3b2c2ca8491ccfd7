//! WWW-Authenticate and Proxy-Authenticate: who asks for credentials, and for which.

use std::fmt;

use super::DigestError;
use super::algorithm::Algorithm;
use super::calculation::Protection;
use super::parameters::{Parameters, Writer, schemes};

/// Which protections a challenge offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It does not say: RFC 2069.
    None,
    /// `auth` alone.
    Auth,
    /// `auth-int` alone.
    AuthInt,
    /// Both.
    Both,
}

impl Offered {
    /// What we answer with. `auth-int` only where it is asked for: whatever changes a body on its way, and NAT
    /// helpers do, would break it.
    pub const fn chosen(self) -> Protection {
        match self {
            Self::None => Protection::None,
            Self::Auth | Self::Both => Protection::Auth,
            Self::AuthInt => Protection::AuthInt,
        }
    }

    /// Whether credentials may protect in this way.
    pub fn allows(self, protection: Protection) -> bool {
        match protection {
            Protection::None => self == Self::None,
            Protection::Auth => matches!(self, Self::Auth | Self::Both),
            Protection::AuthInt => matches!(self, Self::AuthInt | Self::Both),
        }
    }

    fn read(list: Option<&str>) -> Result<Self, DigestError> {
        let Some(list) = list else {
            return Ok(Self::None);
        };
        let known = |wanted| {
            list.split(',')
                .any(|word| Protection::named(word.trim()) == Some(wanted))
        };
        match (known(Protection::Auth), known(Protection::AuthInt)) {
            (true, true) => Ok(Self::Both),
            (true, false) => Ok(Self::Auth),
            (false, true) => Ok(Self::AuthInt),
            (false, false) => Err(DigestError::Unknown),
        }
    }

    const fn written(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
            Self::Both => Some("auth,auth-int"),
        }
    }
}

/// One challenge. Texts are as between their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Whose credentials are asked for.
    pub realm: String,
    /// What the response is to be made with.
    pub nonce: String,
    /// What is to be returned.
    pub opaque: Option<String>,
    /// The credentials were good, and their nonce too old.
    pub stale: bool,
    /// How the response is made.
    pub algorithm: Algorithm,
    /// What is protected.
    pub offered: Offered,
}

impl Challenge {
    /// Reads a header value; each challenge in it that is well formed but asks for what we do not know is an
    /// error in its place.
    ///
    /// # Errors
    /// The value does not follow the grammar, or is of another scheme.
    pub fn parse(value: &[u8]) -> Result<Vec<Result<Self, DigestError>>, DigestError> {
        let found = schemes(value)?;
        Ok(found.iter().map(Self::read).collect())
    }

    fn read(parameters: &Parameters) -> Result<Self, DigestError> {
        let algorithm = match parameters.value("algorithm") {
            None => Algorithm::DEFAULT,
            Some(name) => Algorithm::named(name).ok_or(DigestError::Unknown)?,
        };
        Ok(Self {
            realm: parameters.required("realm")?,
            nonce: parameters.required("nonce")?,
            opaque: parameters.value("opaque").map(str::to_owned),
            stale: parameters
                .value("stale")
                .is_some_and(|word| word.eq_ignore_ascii_case("true")),
            algorithm,
            offered: Offered::read(parameters.value("qop"))?,
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::digest(f)?;
        writer.quoted("realm", &self.realm)?;
        writer.quoted("nonce", &self.nonce)?;
        if let Some(opaque) = &self.opaque {
            writer.quoted("opaque", opaque)?;
        }
        if self.stale {
            writer.plain("stale", "true")?;
        }
        writer.plain("algorithm", self.algorithm)?;
        match self.offered.written() {
            Some(list) => writer.quoted("qop", list),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Hash;

    fn read(text: &str) -> Result<Challenge, DigestError> {
        Challenge::parse(text.as_bytes())?.remove(0)
    }

    #[test]
    fn the_challenge_of_rfc_3261() {
        let challenge = read(
            "Digest realm=\"atlanta.com\", domain=\"sip:boxesbybob.com\", qop=\"auth\", \
             nonce=\"f84f1cec41e6cbe5aea9c8e88d359\", opaque=\"\", stale=FALSE, algorithm=MD5",
        );
        let expected = Challenge {
            realm: "atlanta.com".into(),
            nonce: "f84f1cec41e6cbe5aea9c8e88d359".into(),
            opaque: Some(String::new()),
            stale: false,
            algorithm: Algorithm::DEFAULT,
            offered: Offered::Auth,
        };
        assert_eq!(challenge, Ok(expected));
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_unknown_is_said() {
        let bare = read("Digest realm=\"\", nonce=\"n\"").expect("a challenge");
        assert_eq!(
            (bare.offered, bare.algorithm),
            (Offered::None, Algorithm::DEFAULT)
        );
        assert_eq!(bare.offered.chosen(), Protection::None);
        let both = read(
            "Digest realm=a,nonce=n,qop=\"x, auth-int , AUTH\",algorithm=sha-256-sess,stale=True",
        );
        let both = both.expect("a challenge");
        assert_eq!((both.offered, both.stale), (Offered::Both, true));
        assert_eq!(
            both.algorithm,
            Algorithm {
                hash: Hash::Sha256,
                session: true
            }
        );
        assert_eq!(
            read("Digest realm=a,nonce=n,algorithm=AKAv1-MD5"),
            Err(DigestError::Unknown)
        );
        assert_eq!(
            read("Digest realm=a,nonce=n,qop=\"token\""),
            Err(DigestError::Unknown)
        );
        assert_eq!(read("Digest realm=a"), Err(DigestError::Malformed));
    }

    #[test]
    fn several_may_share_a_value() {
        let value = b"Digest realm=a, nonce=1, algorithm=X, Digest realm=a, nonce=2";
        let challenges = Challenge::parse(value).expect("two");
        assert_eq!(challenges[0], Err(DigestError::Unknown));
        assert_eq!(
            challenges[1].as_ref().map(|second| second.nonce.as_str()),
            Ok("2")
        );
    }
}
