//! A cursor over one header value.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Host, Params, TypedError};
use crate::sip::lexer;

/// Reads a value from left to right. Every method that does not find what it looks for leaves the
/// cursor where it was or fails the whole value.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Passes white space; whether there was some.
    pub(super) fn skip_space(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(lexer::is_space) {
            self.at += 1;
        }
        self.at > from
    }

    /// Passes the byte, with white space on both sides of it; whether it was there.
    pub(super) fn separator(&mut self, byte: u8) -> bool {
        let from = self.at;
        self.skip_space();
        if self.peek() == Some(byte) {
            self.at += 1;
            self.skip_space();
            return true;
        }
        self.at = from;
        false
    }

    /// Passes one byte; whether it was there.
    pub(super) fn byte(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// Passes and gives what is wanted, perhaps nothing.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| wanted(**byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A token.
    pub(super) fn token(&mut self) -> Result<&'a str, TypedError> {
        lexer::token(self.take_while(lexer::is_token)).ok_or(TypedError::Malformed)
    }

    /// A quoted string, quotes included; the cursor is at the first.
    pub(super) fn quoted(&mut self) -> Result<&'a [u8], TypedError> {
        let rest = self.rest();
        let mut length = 1;
        loop {
            match rest.get(length) {
                None => return Err(TypedError::Malformed),
                Some(b'"') => break,
                Some(b'\\') => length += 2,
                Some(_) => length += 1,
            }
        }
        self.at += length + 1;
        rest.get(..=length).ok_or(TypedError::Malformed)
    }

    /// A host and, behind a colon, a port (RFC 3261 §25.1 `hostport`, `sent-by`).
    pub(super) fn host_port(&mut self) -> Result<(Host, Option<u16>), TypedError> {
        let host = if self.byte(b'[') {
            let text = self.take_while(|byte| byte != b']');
            if !self.byte(b']') {
                return Err(TypedError::Malformed);
            }
            Host::V6(ipv6(text).ok_or(TypedError::Malformed)?)
        } else {
            let text = self.take_while(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
            });
            let text = lexer::token(text).ok_or(TypedError::Malformed)?;
            match text.parse::<Ipv4Addr>() {
                Ok(address) => Host::V4(address),
                Err(_) => Host::Name(text.to_owned()),
            }
        };
        if !self.separator(b':') {
            return Ok((host, None));
        }
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let port = super::digits(digits).and_then(|port| u16::try_from(port).ok());
        port.map(|port| (host, Some(port)))
            .ok_or(TypedError::Malformed)
    }

    /// Parameters, each behind a semicolon, up to the end of the value.
    pub(super) fn params(&mut self) -> Result<Params, TypedError> {
        let mut params = Params::default();
        while self.separator(b';') {
            let name = self.token()?;
            let value = if self.separator(b'=') {
                Some(self.param_value()?)
            } else {
                None
            };
            params.append(name, value);
        }
        self.skip_space();
        if self.is_at_end() {
            Ok(params)
        } else {
            Err(TypedError::Malformed)
        }
    }

    /// A quoted string, or a run of visible bytes: wider than a token, because `received` holds bare
    /// IPv6 addresses, and some tags hold `=`.
    fn param_value(&mut self) -> Result<&'a [u8], TypedError> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let value = self
            .take_while(|byte| !matches!(byte, 0..=0x20 | 0x7f | b';' | b',' | b'"' | b'<' | b'>'));
        if value.is_empty() {
            return Err(TypedError::Malformed);
        }
        Ok(value)
    }
}

/// An IPv6 address. The grammar of RFC 3261 leads to three colons before an embedded IPv4 address, where two are meant;
/// RFC 5118 §4.10 asks for tolerance.
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse().ok();
    address.or_else(|| text.replacen(":::", "::", 1).parse().ok())
}
