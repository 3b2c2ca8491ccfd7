//! What the kernel says of the host's network, as plain data: `netlink` makes it, `neighbours` reads it.

use std::net::IpAddr;

use contract::MacAddress;

use super::Unreachable;

/// A change of the host's network, or a part of its state when it is told from the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link is there, or is now like this.
    Link(LinkState),
    /// The link of this ifindex is gone.
    LinkGone(u32),
    /// The host has this address.
    Address(u32, IpAddr),
    /// The host has lost this address.
    AddressGone(u32, IpAddr),
    /// An entry of the neighbour table.
    Neighbour {
        /// The link, by ifindex.
        link: u32,
        /// The neighbour's address.
        address: IpAddr,
        /// What is known of it.
        state: Reachability,
    },
    /// An entry has left the neighbour table.
    NeighbourGone {
        /// The link, by ifindex.
        link: u32,
        /// The neighbour's address.
        address: IpAddr,
    },
    /// Some route or routing rule is another one than before.
    Routing,
}

/// What the kernel knows of a neighbour: its NUD state, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// REACHABLE, PERMANENT or NOARP: nothing to do.
    Confirmed(MacAddress),
    /// STALE: good until something better is known, but the kernel will forget it unless it is used.
    Stale(MacAddress),
    /// DELAY or PROBE: good, and the kernel is making sure already.
    Probing(MacAddress),
    /// INCOMPLETE or NONE: the kernel is asking.
    Incomplete,
    /// FAILED: nobody answered.
    Failed,
}

/// A link, as RTM_NEWLINK tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its ifindex.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address; `None` when its link layer is not Ethernet.
    pub mac: Option<MacAddress>,
    /// The largest IP packet that it takes.
    pub mtu: u32,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// How neighbours are found on it.
    pub resolution: Resolution,
    /// What it is made of when it is a VLAN sub-interface.
    pub vlan: Option<VlanOf>,
}

/// How neighbours are found on a link (`arp_constructor` and `ndisc_constructor` of the kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// ARP or neighbour discovery.
    Ask,
    /// IFF_NOARP: everything goes to the link's own address.
    NoArp,
    /// IFF_POINTOPOINT: everything goes to the broadcast address.
    PointToPoint,
}

/// A VLAN sub-interface's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanOf {
    /// The ifindex of the link below.
    pub parent: u32,
    /// The ethertype of its tag, host byte order.
    pub tpid: u16,
    /// The VLAN id.
    pub id: u16,
}

/// The kernel's routing decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The ifindex of the link that the packet leaves by.
    pub link: u32,
    /// The router that it goes to; `None` when the destination itself is on the link. May be of the
    /// other family (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// The path's MTU when it is less than the link's.
    pub mtu: Option<u32>,
}

/// A routing decision, or why there is none.
pub type RouteAnswer = Result<Route, Unreachable>;
