//! Session-Expires: how long a session lives without being refreshed, and who refreshes it.

use std::fmt;

use super::{TypedError, digits};

/// The interval and the end that refreshes (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// Seconds.
    pub seconds: u32,
    /// `None` where that is still to be agreed on.
    pub refresher: Option<RefreshingEnd>,
}

/// An end of one request: who sent it, or who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshingEnd {
    /// `uac`: who sent the request.
    Client,
    /// `uas`: who answers it.
    Server,
}

impl SessionExpires {
    /// Reads a header value. Parameters that nobody knows are passed over.
    ///
    /// # Errors
    /// It does not begin with a number of 32 bits, or names a refresher that is no end.
    pub fn parse(value: &[u8]) -> Result<Self, TypedError> {
        let mut refresher = None;
        for parameter in value.split(|&byte| byte == b';').skip(1) {
            let mut parts = parameter.splitn(2, |&byte| byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            if !name.eq_ignore_ascii_case(b"refresher") {
                continue;
            }
            let end = parts.next().unwrap_or_default().trim_ascii();
            refresher = Some(match end.to_ascii_lowercase().as_slice() {
                b"uac" => RefreshingEnd::Client,
                b"uas" => RefreshingEnd::Server,
                _ => return Err(TypedError::Malformed),
            });
        }
        Ok(Self {
            seconds: seconds(value)?,
            refresher,
        })
    }
}

/// The number that a value begins with, up to its parameters.
pub(super) fn seconds(value: &[u8]) -> Result<u32, TypedError> {
    let number = value.split(|&byte| byte == b';').next();
    digits(number.unwrap_or_default().trim_ascii()).ok_or(TypedError::Malformed)
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            None => Ok(()),
            Some(RefreshingEnd::Client) => f.write_str(";refresher=uac"),
            Some(RefreshingEnd::Server) => f.write_str(";refresher=uas"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_perhaps_who_refreshes() {
        for (text, seconds, refresher) in [
            ("1800", 1800, None),
            ("90 ; refresher = UAC", 90, Some(RefreshingEnd::Client)),
            ("4000;x=y;refresher=uas", 4000, Some(RefreshingEnd::Server)),
        ] {
            let expected = SessionExpires { seconds, refresher };
            assert_eq!(
                SessionExpires::parse(text.as_bytes()),
                Ok(expected),
                "{text}"
            );
        }
        for bad in [
            "",
            "x",
            ";refresher=uac",
            "90;refresher=me",
            "90;refresher",
            "4294967296",
        ] {
            assert!(SessionExpires::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let shown = SessionExpires::parse(b"90; refresher=uas").expect("a value");
        assert_eq!(shown.to_string(), "90;refresher=uas");
    }
}
