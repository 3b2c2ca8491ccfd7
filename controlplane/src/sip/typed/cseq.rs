//! CSeq: a request's number and method.

use std::fmt;

use super::{TypedError, digits};
use crate::sip::Method;

/// The number and method of a request within its dialog (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// Reads a header value.
    ///
    /// # Errors
    /// It is no number below 2^31, white space and a token.
    pub fn parse(value: &[u8]) -> Result<Self, TypedError> {
        let mut words = value
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let (Some(number), Some(method), None) = (words.next(), words.next(), words.next()) else {
            return Err(TypedError::Malformed);
        };
        let number = digits(number).filter(|&number| number < 1 << 31);
        let method = std::str::from_utf8(method).map_err(|_| TypedError::Malformed)?;
        Ok(Self {
            number: number.ok_or(TypedError::Malformed)?,
            method: Method::from(method),
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}
