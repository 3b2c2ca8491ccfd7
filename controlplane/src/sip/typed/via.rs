//! Via: where a request came from, and where its response goes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::scanner::Scanner;
use super::{Host, Params, TypedError};
use crate::sip::Tokens;

/// The transport of a Via.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// Any other, in upper case.
    Other(String),
}

/// One Via value (RFC 3261 §20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// How the request was sent.
    pub transport: Transport,
    /// Who sent it: the host of sent-by.
    pub host: Host,
    /// Who sent it: the port of sent-by.
    pub port: Option<u16>,
    /// All parameters.
    pub params: Params,
}

impl Via {
    /// Reads one Via value.
    ///
    /// # Errors
    /// It does not follow the grammar.
    pub fn parse(value: &[u8]) -> Result<Self, TypedError> {
        let mut scanner = Scanner::new(value);
        scanner.skip_space();
        let protocol = scanner.token()?;
        let slash = scanner.separator(b'/');
        let version = scanner.token()?;
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" || !slash {
            return Err(TypedError::Malformed);
        }
        if !scanner.separator(b'/') {
            return Err(TypedError::Malformed);
        }
        let transport = Transport::from(scanner.token()?);
        if !scanner.skip_space() {
            return Err(TypedError::Malformed);
        }
        let (host, port) = scanner.host_port()?;
        Ok(Self {
            transport,
            host,
            port,
            params: scanner.params()?,
        })
    }

    /// The Via of a request that we send: with `rport` (RFC 3581), so that the answer comes back
    /// through whatever the request went through.
    pub fn new(transport: Transport, sent_by: SocketAddr, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        Self {
            transport,
            host: Host::from(sent_by.ip()),
            port: Some(sent_by.port()),
            params,
        }
    }

    /// Notes the source that the request came from (RFC 3261 §18.2.1, RFC 3581 §4): `received`
    /// always, which the RFCs ask for only when sent-by differs, and `rport` when the client asked.
    pub fn note_source(&mut self, source: SocketAddr) {
        self.params.set("received", Some(&source.ip().to_string()));
        if self.params.contains("rport") {
            self.params.set("rport", Some(&source.port().to_string()));
        }
    }

    /// Where a response to the request goes over UDP (RFC 3261 §18.2.2, RFC 3581 §4), once the source
    /// is noted: to `received` and, in order of preference, `rport`, sent-by's port, 5060. `maddr` is
    /// not followed: it would let a request choose whom we send to.
    pub fn response_address(&self) -> Option<SocketAddr> {
        let address = self.received().or_else(|| self.host.ip())?;
        let port = self.rport().or(self.port).unwrap_or(5060);
        Some(SocketAddr::new(address, port))
    }

    /// The branch.
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
    }

    /// Whether the branch is unique by RFC 3261 §8.1.1.7. The cookie alone names nothing.
    pub fn has_unique_branch(&self) -> bool {
        let cookie = Tokens::MAGIC_COOKIE;
        self.branch().is_some_and(|branch| {
            let start = branch.get(..cookie.len());
            branch.len() > cookie.len()
                && start.is_some_and(|start| start.eq_ignore_ascii_case(cookie))
        })
    }

    /// The source address that the receiver saw.
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.value("received")?;
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse().ok()
    }

    /// The source port that the receiver saw.
    pub fn rport(&self) -> Option<u16> {
        self.params.value("rport")?.parse().ok()
    }
}

impl From<&str> for Transport {
    fn from(text: &str) -> Self {
        match text.to_ascii_uppercase().as_str() {
            "UDP" => Self::Udp,
            "TCP" => Self::Tcp,
            "TLS" => Self::Tls,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Other(name) => name,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Via {
        Via::parse(value.as_bytes()).expect(value)
    }

    #[test]
    fn white_space_and_ipv6_are_read() {
        let via = parse("SIP  / 2.0 / udp  192.0.2.2 : 5070 ; branch = 390skdjuw;hidden");
        assert_eq!(
            via.to_string(),
            "SIP/2.0/UDP 192.0.2.2:5070;branch=390skdjuw;hidden"
        );
        let six = parse("SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3");
        assert_eq!(six.received(), "2001:db8::9:255".parse().ok());
        assert_eq!(
            six.response_address(),
            "[2001:db8::9:255]:5060".parse().ok()
        );
        let bracketed = parse("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255]");
        assert_eq!(bracketed.received(), six.received());
    }

    #[test]
    fn the_source_is_noted_and_the_response_goes_there() {
        let source = "198.51.100.7:9999".parse().expect("an address");
        let mut plain = parse("SIP/2.0/UDP host.example:5080;branch=b");
        plain.note_source(source);
        assert_eq!(plain.response_address(), "198.51.100.7:5080".parse().ok());
        let mut symmetric = parse("SIP/2.0/UDP host.example:5080;rport;branch=b");
        symmetric.note_source(source);
        assert_eq!(symmetric.response_address(), Some(source));
        assert_eq!(
            symmetric.to_string(),
            "SIP/2.0/UDP host.example:5080;rport=9999;branch=b;received=198.51.100.7"
        );
        assert_eq!(parse("SIP/2.0/UDP host.example").response_address(), None);
    }

    #[test]
    fn what_follows_no_grammar_is_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/1.0/UDP a",
            "HTTP/2.0/UDP a",
            "SIP/2.0 a",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP a:",
            "SIP/2.0/UDP a:65536",
            "SIP/2.0/UDP a;;",
            "SIP/2.0/UDP ::1",
            "SIP/2.0/UDPa",
        ] {
            assert_eq!(
                Via::parse(bad.as_bytes()),
                Err(TypedError::Malformed),
                "{bad}"
            );
        }
    }
}
