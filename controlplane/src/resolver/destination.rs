//! What is looked for, and by which ways it could be reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::DomainName;
use crate::settings::Transport;

/// What SRV records of a transport are found under (RFC 3263 §4.1).
pub(super) const fn service_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    }
}

/// The transport that a NAPTR record names.
pub(super) fn of_naptr(service: &str) -> Option<Transport> {
    match service {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// By which transports and families something may be reached, the preferred first: one for each kind of
/// listener that whoever asks has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ways(Vec<(Transport, Family)>);

impl Ways {
    /// These, each once.
    pub fn new(ways: impl IntoIterator<Item = (Transport, Family)>) -> Self {
        let mut unique = Vec::new();
        for way in ways {
            if !unique.contains(&way) {
                unique.push(way);
            }
        }
        Self(unique)
    }

    /// The transports, the preferred first.
    pub fn transports(&self) -> Vec<Transport> {
        let mut transports = Vec::new();
        for (transport, _) in &self.0 {
            if !transports.contains(transport) {
                transports.push(*transport);
            }
        }
        transports
    }

    /// The families that the transport reaches, the preferred first.
    pub fn families(&self, transport: Transport) -> impl Iterator<Item = Family> {
        let of_transport = self.0.iter().filter(move |(each, _)| *each == transport);
        of_transport.map(|(_, family)| *family)
    }
}

/// The host part of a SIP URI that has to be located: a name, never an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The name.
    pub host: DomainName,
    /// The port, if the URI names one: then there is no service to be looked for.
    pub port: Option<u16>,
    /// The `transport` parameter, if there is one.
    pub transport: Option<Transport>,
    /// A `sips:` URI: only TLS will do.
    pub secure: bool,
}

impl Destination {
    /// A `sip:` URI with a name alone.
    pub const fn of(host: DomainName, port: Option<u16>) -> Self {
        Self {
            host,
            port,
            transport: None,
            secure: false,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "" })?;
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={transport}"),
            None => Ok(()),
        }
    }
}

/// One place to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// How.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}
