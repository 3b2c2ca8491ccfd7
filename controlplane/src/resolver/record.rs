//! Questions to the DNS and what is learnt from the answers: the four kinds of records that lead to a
//! SIP server, and nothing of their wire format.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::DomainName;

/// The kinds of records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// Servers of a service (RFC 2782).
    Srv,
    /// Services of a domain (RFC 3403).
    Naptr,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
            Self::Naptr => "NAPTR",
        })
    }
}

/// What a name server is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Of which name.
    pub name: DomainName,
    /// Records of which kind.
    pub kind: RecordType,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// A server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Lower ones go first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// The host; the root says that the service is not offered.
    pub target: DomainName,
}

/// A service of a domain (RFC 3403 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    /// Lower ones go first, and higher ones are not considered once one fits.
    pub order: u16,
    /// Among those of one order, lower ones go first.
    pub preference: u16,
    /// In lower case; `s`: the replacement has SRV records.
    pub flags: String,
    /// In upper case, such as `SIP+D2U`.
    pub service: String,
    /// Whether there is a regular expression instead of a replacement.
    pub has_regexp: bool,
    /// Where to ask next.
    pub replacement: DomainName,
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// An address, of the family that was asked for.
    Address(IpAddr),
    /// A server.
    Service(Service),
    /// A service.
    Pointer(Pointer),
}

impl From<Ipv4Addr> for Data {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address.into())
    }
}

impl From<Ipv6Addr> for Data {
    fn from(address: Ipv6Addr) -> Self {
        Self::Address(address.into())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Service(srv) => write!(
                f,
                "{} {} {} {}",
                srv.priority, srv.weight, srv.port, srv.target
            ),
            Self::Pointer(naptr) => write!(
                f,
                "{} {} \"{}\" \"{}\" {}",
                naptr.order, naptr.preference, naptr.flags, naptr.service, naptr.replacement
            ),
        }
    }
}

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// These records, at least one.
    Records(Vec<Data>),
    /// The name is another one's alias, and that one has to be asked (CNAME).
    Alias(DomainName),
    /// There is no such name.
    NoName,
    /// The name has no records of the kind.
    NoRecords,
}

/// An answer, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was answered.
    pub value: Value,
    /// As the records say, not bounded yet.
    pub ttl: Duration,
}
