//! Next hops: which device, VLAN and MAC addresses a packet to a destination leaves with.
//!
//! Media that a worker sends bypasses the kernel, so the control plane asks the kernel in its stead:
//! the routing decision and the neighbour's MAC address become a [`Link`] that a flow entry carries.
//! An answered question stays watched: when a route, a link or a neighbour changes, the answer comes
//! again.

use std::fmt;

use contract::Link;

/// The answer to a [`crate::installer::NextHopQuery`]. While a neighbour is being resolved there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Send to this link.
    Resolved(Link),
    /// It cannot be reached now, and why. A later answer may say otherwise.
    Unreachable(Unreachable),
}

impl NextHop {
    /// The link to send to, if there is one.
    pub const fn link(self) -> Option<Link> {
        match self {
            Self::Resolved(link) => Some(link),
            Self::Unreachable(_) => None,
        }
    }
}

/// Why a destination has no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// The kernel has no route to it, or one that says unreachable, blackhole or prohibit.
    NoRoute,
    /// It is one of the host's own addresses.
    OwnAddress,
    /// A broadcast or multicast address, or the unspecified one.
    NotUnicast,
    /// `source` is of the other family, or not an address of the host.
    BadSource,
    /// The route leaves by a device that the dataplane does not serve.
    OtherDevice,
    /// The device is down.
    LinkDown,
    /// Nobody answers for the next hop's address (ARP, neighbour discovery).
    NoNeighbour,
    /// As many destinations are watched as can be.
    TooMany,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no route to it",
            Self::OwnAddress => "it is an address of this host",
            Self::NotUnicast => "not a unicast address",
            Self::BadSource => "the source address is not on this host",
            Self::OtherDevice => "its route leaves by a device that carries no media",
            Self::LinkDown => "the device is down",
            Self::NoNeighbour => "nobody answers for the next hop's address",
            Self::TooMany => "too many destinations are watched",
        })
    }
}
