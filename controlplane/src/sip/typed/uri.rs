//! URIs: of SIP, read into parts; of any other scheme, kept whole.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use super::scanner::Scanner;
use super::{Host, TypedError};

/// A URI, kept as it was written. The parts of `sip:` and `sips:` are known; of any other scheme
/// (`tel:`, `urn:`) only the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    text: String,
    /// Where the scheme's colon is.
    colon: usize,
    sip: Option<SipParts>,
}

/// ```text
///   sip:user:password@host:port;parameters?headers
///       ^user                  ^tail
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SipParts {
    /// All before the `@`.
    userinfo: Option<Range<usize>>,
    host: Host,
    port: Option<u16>,
    /// Where the parameters start.
    tail: usize,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// No scheme, no host, a bad port, white space, angle brackets, or bytes that are not UTF-8.
    pub fn parse(text: &[u8]) -> Result<Self, TypedError> {
        let text = std::str::from_utf8(text).map_err(|_| TypedError::Malformed)?;
        let forbidden =
            |letter: char| letter.is_whitespace() || letter.is_control() || "<>\"".contains(letter);
        let (scheme, rest) = text.split_once(':').ok_or(TypedError::Malformed)?;
        let mut letters = scheme.bytes();
        let is_scheme = letters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || rest.is_empty() || text.contains(forbidden) {
            return Err(TypedError::Malformed);
        }
        let is_sip = scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
        Ok(Self {
            text: text.to_owned(),
            colon: scheme.len(),
            sip: if is_sip {
                Some(SipParts::parse(text, scheme.len() + 1)?)
            } else {
                None
            },
        })
    }

    /// What stands for a Request-URI that could not be read, in a request that is only answered.
    pub(in crate::sip) fn unknown() -> Self {
        Self {
            text: "sip:unreadable.invalid".to_owned(),
            colon: 3,
            sip: None,
        }
    }

    /// `sip:user@host:port`, or without user. The user is taken as written in a URI; what must not stand
    /// there is escaped.
    pub fn sip(user: Option<&str>, address: SocketAddr) -> Self {
        Self::sip_at(user, Host::from(address.ip()), Some(address.port()))
    }

    /// The same with a host that may be a name, and without port if none is given.
    pub fn sip_at(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        let mut text = "sip:".to_owned();
        let userinfo = user.map(|user| {
            escape_user(user, &mut text);
            let range = 4..text.len();
            text.push('@');
            range
        });
        text.push_str(&host.to_string());
        if let Some(port) = port {
            text.push(':');
            text.push_str(&port.to_string());
        }
        Self {
            sip: Some(SipParts {
                userinfo,
                host,
                port,
                tail: text.len(),
            }),
            text,
            colon: 3,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> String {
        self.part(0..self.colon).to_ascii_lowercase()
    }

    /// Whether it is `sip:` or `sips:`.
    pub const fn is_sip(&self) -> bool {
        self.sip.is_some()
    }

    /// The user part of a SIP URI, as it was written: without the password, escapes left alone.
    pub fn user(&self) -> Option<&str> {
        let userinfo = self.sip.as_ref()?.userinfo.clone()?;
        self.part(userinfo).split(':').next()
    }

    /// The user part of a SIP URI with its escapes (`%40`) decoded; for any other scheme, `tel:`
    /// above all, what stands between the scheme and the parameters.
    pub fn decoded_user(&self) -> Option<String> {
        if self.is_sip() {
            return self.user().map(unescape);
        }
        let rest = self.part(self.colon + 1..self.text.len());
        rest.split(';').next().map(unescape)
    }

    /// The host of a SIP URI.
    pub fn host(&self) -> Option<Host> {
        self.sip.as_ref().map(|parts| parts.host.clone())
    }

    /// The port of a SIP URI.
    pub fn port(&self) -> Option<u16> {
        self.sip.as_ref()?.port
    }

    /// Where a SIP URI with a literal address leads: port 5060 (5061 over TLS) unless it says
    /// another. A domain name leads nowhere without the DNS.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let parts = self.sip.as_ref()?;
        let default = if self.is_over_tls() { 5061 } else { 5060 };
        let address = parts.host.ip()?;
        Some(SocketAddr::new(address, parts.port.unwrap_or(default)))
    }

    /// Whether it asks for TLS: `sips:`, or `transport=tls`.
    pub fn is_over_tls(&self) -> bool {
        let said = || self.parameter("transport");
        self.is_sip() && (self.colon == 4 || said().is_some_and(|t| t.eq_ignore_ascii_case("tls")))
    }

    /// The same SIP URI with a parameter more, which it must not have yet; one with headers, or of another
    /// scheme, stays as it is.
    #[must_use]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Self {
        if self.is_sip() && !self.text.contains('?') {
            self.text.push_str(&format!(";{name}={value}"));
        }
        self
    }

    /// A parameter of a SIP URI: its value, empty when it has none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find_map(|parameter| {
            let (known, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The same URI with another user part, given decoded: what must not stand there is escaped. All else stays,
    /// but a password, which was the former user's. `None` where there is no place for a user.
    pub fn with_user(&self, user: &str) -> Option<Self> {
        let (start, end) = match &self.sip {
            Some(parts) => match &parts.userinfo {
                Some(userinfo) => (userinfo.start, userinfo.end),
                None => return None,
            },
            None if self.scheme() == "tel" => {
                let rest = self.part(self.colon + 1..self.text.len());
                let length = rest.split(';').next().unwrap_or_default().len();
                (self.colon + 1, self.colon + 1 + length)
            }
            None => return None,
        };
        let mut text = self.part(0..start).to_owned();
        escape_user(&user.replace('%', "%25"), &mut text);
        text.push_str(self.part(end..self.text.len()));
        Self::parse(text.as_bytes()).ok()
    }

    /// The same SIP URI at another host and port: user and parameters stay, except `maddr` and
    /// `transport`, which belong to the host, and headers, which a Request-URI cannot hold. A URI
    /// of another scheme stays as it is.
    pub fn at(&self, address: SocketAddr) -> Self {
        self.at_host(Host::from(address.ip()), Some(address.port()))
    }

    /// The same at a host that may be a name, and without port if none is given.
    pub fn at_host(&self, host: Host, port: Option<u16>) -> Self {
        if !self.is_sip() {
            return self.clone();
        }
        let mut moved = Self::sip_at(self.user(), host, port);
        for parameter in self.parameters() {
            let name = parameter.split('=').next().unwrap_or_default();
            if !["maddr", "transport"].contains(&name.to_ascii_lowercase().as_str()) {
                moved.text.push(';');
                moved.text.push_str(parameter);
            }
        }
        moved
    }

    /// The same SIP URI at a host that is not known by its address: user and parameters stay as with [`Self::at`].
    /// `None` when the host is none.
    pub fn at_domain(&self, host: &str) -> Option<Self> {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let moved = self.at(unspecified).text.replacen("0.0.0.0:0", host, 1);
        Self::parse(moved.as_bytes()).ok().filter(Self::is_sip)
    }

    /// A header of a SIP URI, its escapes decoded: what a request to it is to carry.
    pub fn header(&self, name: &str) -> Option<String> {
        self.header_values(name).next()
    }

    /// The same, of each header of the name.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = String> {
        let headers = self.headers().unwrap_or_default().split('&');
        headers.filter_map(move |header| {
            let (known, value) = header.split_once('=')?;
            let is_it = unescape(known).eq_ignore_ascii_case(name);
            is_it.then(|| unescape(value))
        })
    }

    /// The same SIP URI without the headers of this name.
    #[must_use]
    pub fn without_header(&self, name: &str) -> Self {
        let headers = self.headers().unwrap_or_default().split('&');
        let kept = headers.filter(|header| {
            let known = header.split('=').next().unwrap_or_default();
            !known.is_empty() && !unescape(known).eq_ignore_ascii_case(name)
        });
        let kept = kept.collect::<Vec<_>>().join("&");
        let mut uri = self.clone();
        uri.text = self.without_headers().to_owned();
        if !kept.is_empty() {
            uri.text.push('?');
            uri.text.push_str(&kept);
        }
        uri
    }

    /// The headers of a SIP URI, as they were written.
    pub fn headers(&self) -> Option<&str> {
        let tail = self.sip.as_ref()?.tail;
        let (_, headers) = self.part(tail..self.text.len()).split_once('?')?;
        Some(headers)
    }

    /// As it was written, but for the headers of a SIP URI.
    pub fn without_headers(&self) -> &str {
        let length = self.headers().map_or(0, |headers| headers.len() + 1);
        self.part(0..self.text.len() - length)
    }

    fn parameters(&self) -> impl Iterator<Item = &str> {
        let tail = self
            .sip
            .as_ref()
            .map_or(self.text.len(), |parts| parts.tail);
        let parameters = self.part(tail..self.text.len()).split('?').next();
        let parameters = parameters.unwrap_or_default().split(';');
        parameters.filter(|parameter| !parameter.is_empty())
    }

    fn part(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }
}

impl SipParts {
    fn parse(text: &str, start: usize) -> Result<Self, TypedError> {
        let rest = text.get(start..).unwrap_or_default();
        let (userinfo, host_at) = match rest.split_once('@') {
            Some((user, after)) if !user.is_empty() && !user.starts_with(':') => {
                if after.contains('@') {
                    return Err(TypedError::Malformed);
                }
                let end = start + user.len();
                (Some(start..end), end + 1)
            }
            Some(_) => return Err(TypedError::Malformed),
            None => (None, start),
        };
        let mut scanner = Scanner::new(text.as_bytes().get(host_at..).unwrap_or_default());
        let (host, port) = scanner.host_port()?;
        if !matches!(scanner.peek(), None | Some(b';' | b'?')) {
            return Err(TypedError::Malformed);
        }
        Ok(Self {
            userinfo,
            host,
            port,
            tail: text.len() - scanner.rest().len(),
        })
    }
}

/// Appends `user` with everything escaped that RFC 3261 §25.1 does not allow in `user`.
fn escape_user(user: &str, text: &mut String) {
    let bytes = user.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let is_escape = byte == b'%'
            && bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if is_escape || byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `%` and two hexadecimal digits become the byte; anything else stays. Bytes that are not UTF-8
/// become U+FFFD.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|digits| first == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri {
        Uri::parse(text.as_bytes()).expect(text)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_parts_of_sip_uris() {
        let uri = parse("sip:+49;x=y:secret@[2001:db8::1]:5070;transport=udp;lr?subject=a");
        assert_eq!(uri.user(), Some("+49;x=y"));
        assert_eq!(uri.socket_addr(), Some(address("[2001:db8::1]:5070")));
        assert_eq!(uri.parameter("LR"), Some(""));
        assert_eq!(uri.parameter("transport"), Some("udp"));
        assert_eq!(uri.parameter("subject"), None);
        assert_eq!(
            parse("SIPS:10.0.0.1").socket_addr(),
            Some(address("10.0.0.1:5061"))
        );
        assert_eq!(parse("sip:example.com").socket_addr(), None);
        let escaped = parse("sip:sip%3Auser%40example.com@company.com;other-param=summit");
        assert_eq!(
            escaped.decoded_user().as_deref(),
            Some("sip:user@example.com")
        );
        assert_eq!(
            parse("sip:a%zz%4@b").decoded_user().as_deref(),
            Some("a%zz%4")
        );
        assert_eq!(
            parse("tel:+4930;phone-context=x").decoded_user().as_deref(),
            Some("+4930")
        );
        assert!(!parse("nobodyKnowsThisScheme:totallyopaquecontent").is_sip());
    }

    #[test]
    fn another_host_keeps_user_and_parameters() {
        let moved = parse("sip:a%40b:pw@x;transport=tcp;user=phone?h=v").at(address("[::1]:5060"));
        assert_eq!(moved.as_str(), "sip:a%40b@[::1]:5060;user=phone");
        assert_eq!(Uri::parse(moved.as_str().as_bytes()), Ok(moved));
        assert_eq!(parse("tel:+1").at(address("10.0.0.1:1")), parse("tel:+1"));
        let named = parse("sip:+49@x;user=phone").at_host(Host::Name("b.example".into()), None);
        assert_eq!(named.as_str(), "sip:+49@b.example;user=phone");
        assert_eq!(Uri::parse(named.as_str().as_bytes()), Ok(named));
        let odd = Uri::sip(Some("a b@c%41"), address("10.0.0.1:5060"));
        assert_eq!(odd.as_str(), "sip:a%20b%40c%41@10.0.0.1:5060");
        assert_eq!(Uri::parse(odd.as_str().as_bytes()), Ok(odd));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            "",
            "sip",
            "sip:",
            ":a",
            "1sip:a",
            "sip:a b",
            "<sip:a>",
            "sip:a@",
            "sip:@a",
            "sip::p@a",
            "sip:a@b@c",
            "sip:a@b:",
            "sip:a@b:99999",
            "sip:a@[::1",
            "sip:a@b/c",
            "sip:a@::1",
        ] {
            assert_eq!(
                Uri::parse(bad.as_bytes()),
                Err(TypedError::Malformed),
                "{bad}"
            );
        }
        assert_eq!(Uri::parse(b"sip:\xff@b"), Err(TypedError::Malformed));
    }
}
