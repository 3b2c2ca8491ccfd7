//! The meaning of rtnetlink messages (`include/uapi/linux/rtnetlink.h`, `if_link.h`, `if_addr.h`,
//! `neighbour.h`): from bytes to [`Change`]s and routing decisions. Only what next hops need is read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use contract::MacAddress;

use super::wire::{Message, attributes, attributes_after, u8_at, u16_at, u32_at};
use crate::neighbours::Unreachable;
use crate::neighbours::kernel::{
    Change, LinkState, Reachability, Resolution, Route, RouteAnswer, VlanOf,
};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

const ARPHRD_ETHER: u16 = 1;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_POINTOPOINT: u32 = 0x10;
const IFF_RUNNING: u32 = 0x40;
const IFF_NOARP: u32 = 0x80;

const NUD_INCOMPLETE: u16 = 0x01;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_PROXY: u8 = 0x08;

const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
const RTN_ANYCAST: u8 = 4;
const RTN_MULTICAST: u8 = 5;

/// What a message of the monitor, or of a dump, says.
pub(super) fn change(message: &Message<'_>) -> Option<Change> {
    let body = message.body;
    match message.kind {
        RTM_NEWLINK => link(body).map(Change::Link),
        RTM_DELLINK if u8_at(body, 0)? == AF_UNSPEC => Some(Change::LinkGone(u32_at(body, 4)?)),
        RTM_NEWADDR => address(body).map(|(link, address)| Change::Address(link, address)),
        RTM_DELADDR => address(body).map(|(link, address)| Change::AddressGone(link, address)),
        RTM_NEWNEIGH => neighbour(body),
        RTM_DELNEIGH => {
            let (link, address) = neighbour_key(body)?;
            Some(Change::NeighbourGone { link, address })
        }
        RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => Some(Change::Routing),
        _ => None,
    }
}

/// `ifinfomsg`: family:u8 pad:u8 type:u16 index:i32 flags:u32 change:u32.
///
/// Other families than AF_UNSPEC tell of bridge ports and IPv6 settings. A message without an MTU is
/// one of a wireless driver, not a description of the link.
fn link(body: &[u8]) -> Option<LinkState> {
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_LINK: u16 = 5;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_LINK_NETNSID: u16 = 37;

    if u8_at(body, 0)? != AF_UNSPEC {
        return None;
    }
    let ethernet = u16_at(body, 2)? == ARPHRD_ETHER;
    let flags = u32_at(body, 8)?;
    let (mut mac, mut name, mut mtu, mut parent, mut tag) = (None, None, None, None, None);
    let mut parent_is_elsewhere = false;
    for (kind, value) in attributes_after(body, 16) {
        match kind {
            IFLA_ADDRESS if ethernet => mac = mac_address(value),
            IFLA_IFNAME => name = text(value),
            IFLA_MTU => mtu = u32_at(value, 0),
            IFLA_LINK => parent = u32_at(value, 0),
            IFLA_LINKINFO => tag = vlan_tag(value),
            IFLA_LINK_NETNSID => parent_is_elsewhere = true,
            _ => {}
        }
    }
    let vlan = match (parent, tag) {
        (Some(parent), Some((tpid, id))) if !parent_is_elsewhere => {
            Some(VlanOf { parent, tpid, id })
        }
        _ => None,
    };
    let resolution = if flags & (IFF_NOARP | IFF_LOOPBACK) != 0 {
        Resolution::NoArp
    } else if flags & IFF_POINTOPOINT != 0 {
        Resolution::PointToPoint
    } else {
        Resolution::Ask
    };
    Some(LinkState {
        index: u32_at(body, 4)?,
        name: name?,
        mac,
        mtu: mtu?,
        up: flags & IFF_UP != 0 && flags & IFF_RUNNING != 0,
        resolution,
        vlan,
    })
}

/// The TPID and VLAN id in IFLA_LINKINFO, when its kind is `vlan`.
fn vlan_tag(info: &[u8]) -> Option<(u16, u16)> {
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const IFLA_VLAN_ID: u16 = 1;
    const IFLA_VLAN_PROTOCOL: u16 = 5;

    let (mut is_vlan, mut id, mut tpid) = (false, None, 0x8100);
    for (kind, value) in attributes(info) {
        match kind {
            IFLA_INFO_KIND => is_vlan = text(value).as_deref() == Some("vlan"),
            IFLA_INFO_DATA => {
                for (kind, value) in attributes(value) {
                    match kind {
                        IFLA_VLAN_ID => id = u16_at(value, 0),
                        // The one field in network byte order.
                        IFLA_VLAN_PROTOCOL => tpid = u16_at(value, 0).map_or(tpid, u16::from_be),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    is_vlan.then_some((tpid, id?))
}

/// `ifaddrmsg`: family:u8 prefix:u8 flags:u8 scope:u8 index:u32. On a point-to-point link IFA_ADDRESS
/// is the other end's.
fn address(body: &[u8]) -> Option<(u32, IpAddr)> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;

    let (mut local, mut address) = (None, None);
    for (kind, value) in attributes_after(body, 8) {
        match kind {
            IFA_LOCAL => local = ip_address(value),
            IFA_ADDRESS => address = ip_address(value),
            _ => {}
        }
    }
    Some((u32_at(body, 4)?, local.or(address)?))
}

/// `ndmsg`: family:u8 pad:[u8; 3] ifindex:i32 state:u16 flags:u8 type:u8.
fn neighbour(body: &[u8]) -> Option<Change> {
    const NDA_LLADDR: u16 = 2;

    let (link, address) = neighbour_key(body)?;
    let mac = attributes_after(body, 12)
        .find(|(kind, _)| *kind == NDA_LLADDR)
        .and_then(|(_, value)| mac_address(value));
    let nud = u16_at(body, 8)?;
    let state = match mac {
        _ if nud & NUD_FAILED != 0 => Reachability::Failed,
        _ if nud & NUD_INCOMPLETE != 0 => Reachability::Incomplete,
        Some(mac) if nud & (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP) != 0 => {
            Reachability::Confirmed(mac)
        }
        Some(mac) if nud & (NUD_DELAY | NUD_PROBE) != 0 => Reachability::Probing(mac),
        Some(mac) if nud & NUD_STALE != 0 => Reachability::Stale(mac),
        _ => Reachability::Incomplete,
    };
    Some(Change::Neighbour {
        link,
        address,
        state,
    })
}

/// Bridges tell of their forwarding table by the same messages (AF_BRIDGE); proxy entries are ours.
fn neighbour_key(body: &[u8]) -> Option<(u32, IpAddr)> {
    const NDA_DST: u16 = 1;

    let family = u8_at(body, 0)?;
    let proxy = u8_at(body, 10)? & NTF_PROXY != 0;
    if proxy || (family != AF_INET && family != AF_INET6) {
        return None;
    }
    let (_, address) = attributes_after(body, 12).find(|(kind, _)| *kind == NDA_DST)?;
    Some((u32_at(body, 4)?, ip_address(address)?))
}

/// The answer to RTM_GETROUTE. `rtmsg`: family dst_len src_len tos table protocol scope type (u8
/// each) flags:u32.
pub(super) fn route(body: &[u8]) -> RouteAnswer {
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    const RTA_METRICS: u16 = 8;
    const RTA_VIA: u16 = 18;
    const RTAX_MTU: u16 = 2;

    match u8_at(body, 7) {
        Some(RTN_UNICAST) => {}
        Some(RTN_LOCAL) => return Err(Unreachable::OwnAddress),
        Some(RTN_BROADCAST | RTN_MULTICAST | RTN_ANYCAST) => return Err(Unreachable::NotUnicast),
        _ => return Err(Unreachable::NoRoute),
    }
    let (mut link, mut gateway, mut mtu) = (None, None, None);
    for (kind, value) in attributes_after(body, 12) {
        match kind {
            RTA_OIF => link = u32_at(value, 0),
            RTA_GATEWAY => gateway = ip_address(value),
            // `rtvia`: family:u16, then the address.
            RTA_VIA => gateway = value.get(2..).and_then(ip_address),
            RTA_METRICS => {
                mtu = attributes(value)
                    .find(|(kind, _)| *kind == RTAX_MTU)
                    .and_then(|(_, value)| u32_at(value, 0))
                    .filter(|mtu| *mtu > 0);
            }
            _ => {}
        }
    }
    let link = link.ok_or(Unreachable::NoRoute)?;
    Ok(Route { link, gateway, mtu })
}

fn ip_address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(value).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

fn mac_address(value: &[u8]) -> Option<MacAddress> {
    value.try_into().ok().map(MacAddress)
}

/// A string that a NUL may end.
fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|byte| *byte == 0);
    let value = value.get(..end.unwrap_or(value.len()))?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Request, messages};
    use super::*;

    fn decoded(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Option<Change> {
        let mut request = Request::new(kind, 0, 1, header);
        for (kind, value) in attributes {
            request = request.attribute(*kind, value);
        }
        let bytes = request.finish();
        let message = messages(&bytes).next().expect("one message was built");
        change(&message)
    }

    fn link_header(family: u8, flags: u32) -> [u8; 16] {
        let mut header = [0; 16];
        header[0] = family;
        header[2..4].copy_from_slice(&ARPHRD_ETHER.to_ne_bytes());
        header[4..8].copy_from_slice(&9_u32.to_ne_bytes());
        header[8..12].copy_from_slice(&flags.to_ne_bytes());
        header
    }

    #[test]
    fn a_vlan_sub_interface_names_its_parent_and_tag() {
        let mut data = Vec::new();
        data.extend_from_slice(&[6, 0, 1, 0, 12, 0, 0, 0]);
        data.extend_from_slice(&[6, 0, 5, 0, 0x88, 0xa8, 0, 0]);
        let mut info = vec![9, 0, 1, 0, b'v', b'l', b'a', b'n', 0, 0, 0, 0];
        info.extend_from_slice(&[20, 0, 2, 0]);
        info.extend_from_slice(&data);
        let attributes: &[(u16, &[u8])] = &[
            (3, b"in0.12\0"),
            (1, &[2, 0, 0, 0, 0, 1]),
            (4, &1496_u32.to_ne_bytes()),
            (5, &3_u32.to_ne_bytes()),
            (18, &info),
        ];
        let header = link_header(AF_UNSPEC, IFF_UP | IFF_RUNNING);
        let expected = LinkState {
            index: 9,
            name: "in0.12".to_owned(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            mtu: 1496,
            up: true,
            resolution: Resolution::Ask,
            vlan: Some(VlanOf {
                parent: 3,
                tpid: 0x88a8,
                id: 12,
            }),
        };
        assert_eq!(
            decoded(RTM_NEWLINK, &header, attributes),
            Some(Change::Link(expected))
        );
        let bridge = link_header(7, IFF_UP);
        assert_eq!(decoded(RTM_NEWLINK, &bridge, attributes), None);
        assert_eq!(decoded(RTM_DELLINK, &bridge, attributes), None);
        assert_eq!(
            decoded(RTM_NEWLINK, &header, &attributes[..1]),
            None,
            "no MTU: not a description"
        );
    }

    #[test]
    fn neighbour_states_keep_what_matters() {
        let mac = MacAddress([2, 0, 0, 0, 0, 7]);
        let read = |state: u16, flags: u8, with_mac: bool| {
            let mut header = [0; 12];
            header[0] = AF_INET;
            header[4..8].copy_from_slice(&3_u32.to_ne_bytes());
            header[8..10].copy_from_slice(&state.to_ne_bytes());
            header[10] = flags;
            let attributes: &[(u16, &[u8])] = &[(1, &[10, 0, 0, 2]), (2, &mac.0)];
            let count = if with_mac { 2 } else { 1 };
            match decoded(RTM_NEWNEIGH, &header, &attributes[..count])? {
                Change::Neighbour { state, .. } => Some(state),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read(NUD_STALE, 0, true), Some(Reachability::Stale(mac)));
        assert_eq!(read(NUD_PROBE, 0, true), Some(Reachability::Probing(mac)));
        assert_eq!(
            read(NUD_PERMANENT, 0, true),
            Some(Reachability::Confirmed(mac))
        );
        assert_eq!(read(NUD_FAILED, 0, false), Some(Reachability::Failed));
        assert_eq!(
            read(NUD_INCOMPLETE, 0, false),
            Some(Reachability::Incomplete)
        );
        assert_eq!(
            read(NUD_REACHABLE, 0, false),
            Some(Reachability::Incomplete)
        );
        assert_eq!(read(NUD_REACHABLE, NTF_PROXY, true), None);
    }

    #[test]
    fn every_kind_of_route_has_its_answer() {
        let read = |kind: u8, attributes: &[(u16, &[u8])]| {
            let mut request = Request::new(
                RTM_NEWROUTE,
                0,
                1,
                &[2, 32, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0],
            );
            for (kind, value) in attributes {
                request = request.attribute(*kind, value);
            }
            let bytes = request.finish();
            let message = messages(&bytes).next().expect("one message was built");
            route(message.body)
        };
        let oif: (u16, &[u8]) = (4, &3_u32.to_ne_bytes());
        let mut via = vec![10, 0];
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        via.extend_from_slice(&router.octets());
        let expected = Route {
            link: 3,
            gateway: Some(router.into()),
            mtu: Some(1400),
        };
        let metrics = [8, 0, 2, 0, 0x78, 5, 0, 0];
        assert_eq!(
            read(RTN_UNICAST, &[oif, (18, &via), (8, &metrics)]),
            Ok(expected)
        );
        assert_eq!(read(RTN_LOCAL, &[oif]), Err(Unreachable::OwnAddress));
        assert_eq!(read(RTN_BROADCAST, &[oif]), Err(Unreachable::NotUnicast));
        assert_eq!(read(6, &[oif]), Err(Unreachable::NoRoute));
        assert_eq!(read(RTN_UNICAST, &[]), Err(Unreachable::NoRoute));
    }
}
