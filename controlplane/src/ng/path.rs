//! Whom a request came from.

use std::net::{IpAddr, SocketAddr};

/// A control listener, by its place in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlId(pub u16);

/// Where a request came from, and where its reply goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlPath {
    /// The listener that it came to.
    pub listener: ControlId,
    /// Who sent it.
    pub remote: SocketAddr,
    /// By what.
    pub way: Way,
}

/// What carried a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// A datagram to this address of ours: the reply leaves from there.
    Datagram {
        /// Our address.
        local: IpAddr,
    },
    /// A connection; its number is never used again.
    Connection {
        /// Its number.
        number: u64,
        /// Which of its requests: replies over HTTP keep the order of the requests.
        request: u64,
    },
    /// None of the door's sockets: an operator of this machine asks, and collects the reply.
    Operator {
        /// Which request.
        number: u64,
    },
}

impl ControlPath {
    /// Whether what leads there loses and doubles, so that a reply has to fit one datagram.
    pub const fn is_datagram(&self) -> bool {
        matches!(self.way, Way::Datagram { .. })
    }
}
