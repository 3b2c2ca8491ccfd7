//! The meaning of header values, read on demand.
//!
//! `rsip` (0.4) reads what it is fit for: media types (Content-Type), and it is the oracle of the
//! tests of addresses and CSeq. Addresses, Via and CSeq themselves are read by our own small scanner:
//! `rsip` takes neither IPv6 hosts (it cuts them at their first colon), extension methods, `tel:` URIs,
//! folding nor bytes that are not UTF-8, and drops what follows the part that it understood; a B2BUA
//! between two address families meets all of these daily. Where both read a value, they agree.
//!
//! Refuses to know which header a value came from, beyond the accessors of [`Message`] below.

mod cseq;
mod host;
mod name_addr;
mod params;
mod rack;
mod scanner;
mod session_expires;
mod uri;
mod via;

use std::fmt;

use rsip::headers::typed::MediaType;
use rsip::headers::{ContentType, ToTypedHeader, UntypedHeader};

use super::{HeaderName, Message};

pub use cseq::CSeq;
pub use host::Host;
pub use name_addr::NameAddr;
pub use params::Params;
pub use rack::RAck;
pub use session_expires::{RefreshingEnd, SessionExpires};
pub use uri::Uri;
pub use via::{Transport, Via};

/// A header value that has no meaning, or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypedError {
    /// The message has no such header.
    Missing,
    /// The value does not follow the header's grammar.
    Malformed,
}

impl fmt::Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "header missing",
            Self::Malformed => "malformed header value",
        })
    }
}

impl std::error::Error for TypedError {}

/// The typed values of a message's headers.
impl Message {
    /// The topmost Via.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn via(&self) -> Result<Via, TypedError> {
        Via::parse(&self.first_value(&HeaderName::Via)?)
    }

    /// From.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn from(&self) -> Result<NameAddr, TypedError> {
        NameAddr::parse(&self.first_value(&HeaderName::From)?)
    }

    /// To.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn to(&self) -> Result<NameAddr, TypedError> {
        NameAddr::parse(&self.first_value(&HeaderName::To)?)
    }

    /// The first Contact. `Contact: *` (REGISTER only) is no address, so malformed here.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn contact(&self) -> Result<NameAddr, TypedError> {
        NameAddr::parse(&self.first_value(&HeaderName::Contact)?)
    }

    /// Every Record-Route or Route value, in order.
    ///
    /// # Errors
    /// One is malformed. That there is none is no error.
    pub fn routes(&self, name: &HeaderName) -> Result<Vec<NameAddr>, TypedError> {
        let values = self.headers.values(name);
        values.iter().map(|value| NameAddr::parse(value)).collect()
    }

    /// Call-ID.
    ///
    /// # Errors
    /// It is absent, holds white space or is not UTF-8.
    pub fn call_id(&self) -> Result<String, TypedError> {
        let value = self.first_value(&HeaderName::CallId)?;
        let text = String::from_utf8(value).map_err(|_| TypedError::Malformed)?;
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(TypedError::Malformed);
        }
        Ok(text)
    }

    /// CSeq.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn cseq(&self) -> Result<CSeq, TypedError> {
        CSeq::parse(&self.first_value(&HeaderName::CSeq)?)
    }

    /// Max-Forwards; `None` when it is absent, as in requests of RFC 2543.
    ///
    /// # Errors
    /// It is no number from 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, TypedError> {
        let Some(value) = self.headers.value(&HeaderName::MaxForwards) else {
            return Ok(None);
        };
        digits(&value)
            .and_then(|number| u8::try_from(number).ok())
            .map(Some)
            .ok_or(TypedError::Malformed)
    }

    /// RSeq: the number of a reliable provisional response (RFC 3262 §7.1).
    ///
    /// # Errors
    /// It is absent, or no number of 32 bits above 0.
    pub fn rseq(&self) -> Result<u32, TypedError> {
        digits(&self.first_value(&HeaderName::RSeq)?)
            .filter(|number| *number > 0)
            .ok_or(TypedError::Malformed)
    }

    /// RAck.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn rack(&self) -> Result<RAck, TypedError> {
        RAck::parse(&self.first_value(&HeaderName::RAck)?)
    }

    /// Session-Expires.
    ///
    /// # Errors
    /// It is absent or malformed.
    pub fn session_expires(&self) -> Result<SessionExpires, TypedError> {
        SessionExpires::parse(&self.first_value(&HeaderName::SessionExpires)?)
    }

    /// Min-SE in seconds, without its parameters (RFC 4028 §5).
    ///
    /// # Errors
    /// It is absent or no number of 32 bits.
    pub fn min_se(&self) -> Result<u32, TypedError> {
        session_expires::seconds(&self.first_value(&HeaderName::MinSe)?)
    }

    /// The body's media type without parameters, in lower case, such as `application/sdp`; `None` when
    /// the message names none, or names it in a way that RFC 3261 §20.15 does not allow.
    pub fn content_type(&self) -> Option<String> {
        let value = self.headers.value(&HeaderName::ContentType)?;
        let text = String::from_utf8(value).ok()?;
        let name = match ContentType::new(text).typed().ok()?.0 {
            MediaType::Sdp(_) => return Some("application/sdp".to_owned()),
            MediaType::Other(name, _) => name,
        };
        // The grammar allows white space around the slash.
        let words = name.split_whitespace();
        Some(words.collect::<String>().to_ascii_lowercase())
    }

    /// Whether a list header, such as Require or Allow, holds the word, in any case.
    pub fn lists(&self, name: &HeaderName, word: &str) -> bool {
        let values = self.headers.values(name);
        values
            .iter()
            .any(|value| value.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn first_value(&self, name: &HeaderName) -> Result<Vec<u8>, TypedError> {
        self.headers.value(name).ok_or(TypedError::Missing)
    }
}

/// A decimal number of at least one digit and nothing else.
fn digits(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_read_without_its_parameters() {
        for (value, media) in [
            ("application/sdp", Some("application/sdp")),
            ("Application/SDP;charset=utf-8", Some("application/sdp")),
            (
                "application / sdp ; charset=\"utf-8\"",
                Some("application/sdp"),
            ),
            ("multipart/mixed;boundary=b1", Some("multipart/mixed")),
            ("application/sdp;;", None),
        ] {
            let text = format!(
                "OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                 From: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: 1\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Type: {value}\r\nContent-Length: 0\r\n\r\n"
            );
            let message = Message::parse(text.as_bytes()).expect("the message is whole");
            assert_eq!(message.content_type().as_deref(), media, "{value}");
        }
    }
}
