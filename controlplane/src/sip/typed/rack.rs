//! RAck: which reliable provisional response a PRACK acknowledges.

use std::fmt;

use super::{TypedError, digits};
use crate::sip::Method;

/// The RSeq of the response, and the CSeq of the request that it answered (RFC 3262 §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RAck {
    /// The response's RSeq.
    pub rseq: u32,
    /// The request's number.
    pub cseq: u32,
    /// The request's method.
    pub method: Method,
}

impl RAck {
    /// Reads a header value.
    ///
    /// # Errors
    /// It is not two numbers of 32 bits and a token, with white space between them.
    pub fn parse(value: &[u8]) -> Result<Self, TypedError> {
        let mut words = value
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let (Some(rseq), Some(cseq), Some(method), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(TypedError::Malformed);
        };
        let method = std::str::from_utf8(method).map_err(|_| TypedError::Malformed)?;
        Ok(Self {
            rseq: digits(rseq).ok_or(TypedError::Malformed)?,
            cseq: digits(cseq).ok_or(TypedError::Malformed)?,
            method: Method::from(method),
        })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_and_a_method() {
        let rack = RAck::parse(b" 776656 \t1 INVITE").expect("a RAck");
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        for bad in [
            "",
            "1 INVITE",
            "1 2",
            "1 2 INVITE x",
            "-1 2 INVITE",
            "4294967296 1 INVITE",
        ] {
            assert!(RAck::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
