//! Authorization and Proxy-Authorization: who answers a challenge, and how.

use std::fmt;

use super::DigestError;
use super::algorithm::Algorithm;
use super::calculation::Protection;
use super::parameters::{Writer, schemes};

/// Credentials. Texts are as between their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub user: String,
    /// For whom.
    pub realm: String,
    /// The challenge's nonce.
    pub nonce: String,
    /// The Request-URI.
    pub uri: String,
    /// The proof, in hexadecimal.
    pub response: String,
    /// How it was made.
    pub algorithm: Algorithm,
    /// What it protects.
    pub protection: Protection,
    /// The client's nonce; empty without one.
    pub cnonce: String,
    /// How often the nonce has been used; 0 without a protection.
    pub count: u32,
    /// What the challenge said is to be returned.
    pub opaque: Option<String>,
}

impl Credentials {
    /// Reads a header value.
    ///
    /// # Errors
    /// It does not follow the grammar, is of another scheme, or made in a way that we do not know.
    pub fn parse(value: &[u8]) -> Result<Self, DigestError> {
        let found = schemes(value)?;
        let [parameters] = &found[..] else {
            return Err(DigestError::Malformed);
        };
        let algorithm = match parameters.value("algorithm") {
            None => Algorithm::DEFAULT,
            Some(name) => Algorithm::named(name).ok_or(DigestError::Unknown)?,
        };
        let protection = match parameters.value("qop") {
            None => Protection::None,
            Some(name) => Protection::named(name).ok_or(DigestError::Unknown)?,
        };
        let (cnonce, count) = match protection {
            // The -sess forms need a client nonce all the same.
            Protection::None => (parameters.value("cnonce").unwrap_or_default().to_owned(), 0),
            _ => (
                parameters.required("cnonce")?,
                count(&parameters.required("nc")?)?,
            ),
        };
        Ok(Self {
            user: parameters.required("username")?,
            realm: parameters.required("realm")?,
            nonce: parameters.required("nonce")?,
            uri: parameters.required("uri")?,
            response: parameters.required("response")?,
            algorithm,
            protection,
            cnonce,
            count,
            opaque: parameters.value("opaque").map(str::to_owned),
        })
    }
}

/// `nc`: eight hexadecimal digits.
fn count(text: &str) -> Result<u32, DigestError> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| digits);
    number.ok_or(DigestError::Malformed)
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::digest(f)?;
        writer.quoted("username", &self.user)?;
        writer.quoted("realm", &self.realm)?;
        writer.quoted("nonce", &self.nonce)?;
        writer.quoted("uri", &self.uri)?;
        writer.quoted("response", &self.response)?;
        writer.plain("algorithm", self.algorithm)?;
        if !self.cnonce.is_empty() || self.protection != Protection::None {
            writer.quoted("cnonce", &self.cnonce)?;
        }
        if let Some(opaque) = &self.opaque {
            writer.quoted("opaque", opaque)?;
        }
        if let Some(name) = self.protection.name() {
            writer.plain("qop", name)?;
            writer.plain("nc", format_args!("{:08x}", self.count))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_3261: &str = "Digest username=\"bob\", realm=\"biloxi.com\", \
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"sip:bob@biloxi.com\", qop=auth, nc=00000001, \
        cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", \
        opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";

    #[test]
    fn the_credentials_of_rfc_3261() {
        let credentials = Credentials::parse(RFC_3261.as_bytes()).expect("credentials");
        assert_eq!(credentials.user, "bob");
        assert_eq!(credentials.protection, Protection::Auth);
        assert_eq!(
            (credentials.count, credentials.cnonce.as_str()),
            (1, "0a4f113b")
        );
        let written = credentials.to_string();
        assert!(written.ends_with("qop=auth, nc=00000001"), "{written}");
        assert_eq!(Credentials::parse(written.as_bytes()), Ok(credentials));
    }

    #[test]
    fn the_count_is_hexadecimal_and_has_eight_digits() {
        for (nc, count) in [
            ("0000001f", Some(31)),
            ("1", None),
            ("+0000001", None),
            ("zzzzzzzz", None),
        ] {
            let text = RFC_3261.replace("nc=00000001", &format!("nc={nc}"));
            let read = Credentials::parse(text.as_bytes())
                .ok()
                .map(|read| read.count);
            assert_eq!(read, count, "{nc}");
        }
        let without = RFC_3261.replace("nc=00000001, ", "");
        assert_eq!(
            Credentials::parse(without.as_bytes()),
            Err(DigestError::Malformed)
        );
    }
}
