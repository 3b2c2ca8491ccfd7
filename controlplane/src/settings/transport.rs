//! What carries SIP between us and a neighbour, and what TLS needs for it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What carries SIP (RFC 3261 §18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// Streams.
    Tcp,
    /// Streams within TLS.
    Tls,
}

impl Transport {
    /// Every transport.
    pub const ALL: &'static [Self] = &[Self::Udp, Self::Tcp, Self::Tls];

    /// Whether it repeats by itself what gets lost, so that transactions need not.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The port where none is said (RFC 3261 §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// Its name in URIs and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The transport of this name.
    pub fn named(name: &str) -> Option<Self> {
        let is = |each: &&Self| each.name().eq_ignore_ascii_case(name);
        Self::ALL.iter().find(is).copied()
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bounds on the connections of a listener that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at a time, of both directions. One more is closed at once.
    pub connections: usize,
    /// Connections at a time with one address.
    pub from_one_address: usize,
    /// How long a connection may be silent before it is closed.
    pub idle: Duration,
    /// How often connections that we have opened are kept alive with a double CRLF (RFC 5626 §3.5.1);
    /// `None`: never.
    pub keep_alive: Option<Duration>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            from_one_address: 256,
            idle: Duration::from_secs(600),
            keep_alive: None,
        }
    }
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// The certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether who connects must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// It is not asked for one.
    #[default]
    Off,
    /// It may; one that nobody vouches for ends the handshake.
    Optional,
    /// It must.
    Required,
}

/// What a TLS listener shows and believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What it shows: to who connects, and to whom it connects unless the trunk has its own.
    pub identity: KeyPair,
    /// Roots, as a PEM file, that vouch for the certificates of others.
    pub trust: Option<PathBuf>,
    /// Whether who connects must show a certificate.
    pub clients: ClientCertificates,
}

/// What TLS connections with a trunk show and believe. The default leaves everything to the listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkTls {
    /// Roots, as a PEM file, that vouch for the trunk's certificates in the listener's place.
    pub trust: Option<PathBuf>,
    /// What is shown to the trunk in the listener's place.
    pub identity: Option<KeyPair>,
    /// The names, in lower case, of which its certificate must have one. Requests over TLS are the trunk's
    /// by these, whatever address they come from. Empty: its certificate must name the peer's address, and
    /// requests are the trunk's by address.
    pub names: Vec<String>,
}

/// The address that others know a listener by, when a NAT stands between: 1:1, so that the ports stay
/// unless one is said.
pub(super) fn announced(bound: SocketAddr, advertised: Option<SocketAddr>) -> SocketAddr {
    match advertised {
        Some(address) if address.port() == 0 => SocketAddr::new(address.ip(), bound.port()),
        Some(address) => address,
        None => bound,
    }
}
