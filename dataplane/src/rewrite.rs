//! How a packet leaves: a prebuilt header that is laid before the payload, and the few fields that
//! differ from packet to packet.
//!
//! The payload never moves. The new headers end where it starts, whatever the family and the tags that
//! the packet came with, so the start of the packet moves within the frame's headroom instead:
//!
//! ```text
//!   arrived      |headroom            | eth | ipv4 | udp | payload |
//!   leaves       |headroom | eth | tag |    ipv6     | udp | payload |
//!                 ▲ TEMPLATE_LEN bytes are written, right-aligned
//! ```
//!
//! TTL and hop limit are set to 64, not decremented: the relay is the media endpoint of both legs, so
//! the legs' paths must not show through each other. What a loop would need, a packet of ours that
//! comes back to us, the latch refuses as coming from a wrong source. IPv4 packets carry DF and
//! identification 0 (an atomic datagram, RFC 6864 §4). ECN bits pass through (RFC 6679).
//!
//! Knows nothing of flows' tables, latches or devices' sockets.

use contract::{DeviceId, DropReason, DscpMarking, Egress, Link, VlanTag, VlanTags};

use crate::classify::{Arrival, Family};
use crate::wire::{checksum, ethernet, ipv4, ipv6, udp};

/// The longest header: Ethernet with two tags, IPv6, UDP.
pub const TEMPLATE_LEN: usize = ethernet::MAX_HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN;
/// TTL and hop limit of every packet that leaves.
pub const HOP_LIMIT: u8 = 64;

const IPV4_AND_UDP: usize = ipv4::HEADER_LEN + udp::HEADER_LEN;
const IPV6_AND_UDP: usize = ipv6::HEADER_LEN + udp::HEADER_LEN;

/// Whether and in which family packets leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// The receiver is not known.
    #[default]
    NoDestination,
    /// The next hop is not known.
    NoNextHop,
    /// As IPv4.
    V4,
    /// As IPv6.
    V6,
}

/// What differs between egresses beside the header bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The device that transmits.
    pub device: DeviceId,
    mtu: u16,
    /// Sum of the new addresses and ports.
    endpoints_sum: u16,
    /// Sum of the IPv4 header without traffic class and length.
    header_sum: u16,
    way: Way,
    header_len: u8,
    /// Bits of the traffic class that pass through.
    keep: u8,
    /// Bits of the traffic class that are set.
    set: u8,
}

impl Default for Plan {
    /// No way out.
    fn default() -> Self {
        Self {
            device: DeviceId(0),
            mtu: 0,
            endpoints_sum: 0,
            header_sum: 0,
            way: Way::NoDestination,
            header_len: 0,
            keep: 0,
            set: 0,
        }
    }
}

/// The header bytes of an egress, right-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template([u8; TEMPLATE_LEN]);

impl Default for Template {
    fn default() -> Self {
        Self([0; TEMPLATE_LEN])
    }
}

impl Template {
    /// The last byte, which lies in another cache line than the plan.
    #[inline]
    pub const fn last(&self) -> u8 {
        self.0[TEMPLATE_LEN - 1]
    }
}

/// Prepares an egress.
pub fn prepare(egress: &Egress) -> (Plan, Template) {
    let mut template = Template::default();
    let mut plan = Plan::default();
    let Some(destination) = egress.destination else {
        return (plan, template);
    };
    let Some(link) = egress.link else {
        plan.way = Way::NoNextHop;
        return (plan, template);
    };
    let (family, source) = Family::number(egress.source.address);
    let (_, receiver) = Family::number(destination.ip());
    let bytes = &mut template.0;
    let ports = TEMPLATE_LEN - udp::HEADER_LEN;
    bytes[ports..ports + 2].copy_from_slice(&egress.source.port.to_be_bytes());
    bytes[ports + 2..ports + 4].copy_from_slice(&destination.port().to_be_bytes());
    let (way, network) = match family {
        Family::V4 => (Way::V4, TEMPLATE_LEN - IPV4_AND_UDP),
        Family::V6 => (Way::V6, TEMPLATE_LEN - IPV6_AND_UDP),
    };
    match family {
        Family::V4 => plan.header_sum = ipv4_header(bytes, network, source, receiver),
        Family::V6 => ipv6_header(bytes, network, source, receiver),
    }
    let start = link_header(bytes, network, family, &link);
    plan.device = link.device;
    plan.mtu = link.mtu;
    plan.endpoints_sum = endpoints_sum(egress.source.port, source, destination.port(), receiver);
    plan.way = way;
    plan.header_len = (TEMPLATE_LEN - start) as u8;
    (plan.keep, plan.set) = match egress.dscp {
        DscpMarking::Preserve => (0xff, 0),
        DscpMarking::Set(code_point) => (0b11, code_point << 2),
    };
    (plan, template)
}

/// The sum of two endpoints as a UDP checksum covers them.
pub const fn endpoints_sum(port: u16, address: u128, other_port: u16, other: u128) -> u16 {
    let one = checksum::add(checksum::sum_u128(address), port);
    let two = checksum::add(checksum::sum_u128(other), other_port);
    checksum::add(one, two)
}

/// Writes the IPv4 header and gives the sum of its constant part.
fn ipv4_header(bytes: &mut [u8; TEMPLATE_LEN], at: usize, source: u128, receiver: u128) -> u16 {
    let header = &mut bytes[at..at + ipv4::HEADER_LEN];
    header[0] = ipv4::VERSION_AND_LENGTH;
    header[6..8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
    header[8] = HOP_LIMIT;
    header[9] = ipv4::UDP;
    header[12..16].copy_from_slice(&(source as u32).to_be_bytes());
    header[16..20].copy_from_slice(&(receiver as u32).to_be_bytes());
    checksum::sum(header)
}

fn ipv6_header(bytes: &mut [u8; TEMPLATE_LEN], at: usize, source: u128, receiver: u128) {
    let header = &mut bytes[at..at + ipv6::HEADER_LEN];
    header[0] = 0x60;
    header[6] = ipv4::UDP;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&source.to_be_bytes());
    header[24..40].copy_from_slice(&receiver.to_be_bytes());
}

/// Writes the Ethernet header before `network` and gives its start.
fn link_header(
    bytes: &mut [u8; TEMPLATE_LEN],
    network: usize,
    family: Family,
    link: &Link,
) -> usize {
    let (outer, inner) = match link.vlan {
        VlanTags::None => (None, None),
        VlanTags::Single(tag) => (Some(tag), None),
        VlanTags::Double(outer, inner) => (Some(outer), Some(inner)),
    };
    let tags = [outer, inner].into_iter().flatten();
    let start = network - ethernet::HEADER_LEN - ethernet::TAG_LEN * tags.clone().count();
    bytes[start..start + 6].copy_from_slice(&link.destination.0);
    bytes[start + 6..start + 12].copy_from_slice(&link.source.0);
    let mut at = start + 12;
    for VlanTag { tpid, tci } in tags {
        bytes[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
        at += ethernet::TAG_LEN;
    }
    let ethertype = match family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    bytes[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
    start
}

/// Lays the new headers before the payload, which starts at `payload` in `frame`. `old_sum` is the
/// arrival's [`Arrival::endpoints_sum`]. Gives the start of the packet in the frame.
///
/// A frame without [`TEMPLATE_LEN`] bytes before the payload cannot take the headers: `TooBig`.
#[inline]
pub fn apply(
    plan: &Plan,
    template: &Template,
    arrival: &Arrival,
    old_sum: u16,
    frame: &mut [u8],
    payload: usize,
) -> Result<usize, DropReason> {
    let network_header = match plan.way {
        Way::NoDestination => return Err(DropReason::NoDestination),
        Way::NoNextHop => return Err(DropReason::NoNextHop),
        Way::V4 => ipv4::HEADER_LEN,
        Way::V6 => ipv6::HEADER_LEN,
    };
    let udp_len = arrival.payload_len + udp::HEADER_LEN as u16;
    if usize::from(udp_len) + network_header > usize::from(plan.mtu) {
        return Err(DropReason::TooBig);
    }
    let checksum = match (arrival.udp_checksum, plan.way) {
        (0, Way::V6) => full_checksum(plan, udp_len, frame.get(payload..)),
        (0, _) => 0,
        (finished, _) => checksum::update_udp(finished, old_sum, plan.endpoints_sum),
    };
    let header = payload
        .checked_sub(TEMPLATE_LEN)
        .and_then(|at| frame.get_mut(at..))
        .and_then(|rest| rest.first_chunk_mut::<TEMPLATE_LEN>())
        .ok_or(DropReason::TooBig)?;
    *header = template.0;
    let traffic_class = arrival.traffic_class & plan.keep | plan.set;
    match plan.way {
        Way::V6 => finish_ipv6(header, traffic_class, udp_len),
        _ => finish_ipv4(header, traffic_class, udp_len, plan.header_sum),
    }
    const UDP: usize = TEMPLATE_LEN - udp::HEADER_LEN;
    header[UDP + 4..UDP + 6].copy_from_slice(&udp_len.to_be_bytes());
    header[UDP + 6..UDP + 8].copy_from_slice(&checksum.to_be_bytes());
    Ok(payload - usize::from(plan.header_len))
}

#[inline]
fn finish_ipv4(header: &mut [u8; TEMPLATE_LEN], traffic_class: u8, udp_len: u16, sum: u16) {
    const IP: usize = TEMPLATE_LEN - IPV4_AND_UDP;
    let total = udp_len + ipv4::HEADER_LEN as u16;
    let sum = checksum::add(checksum::add(sum, u16::from(traffic_class)), total);
    header[IP + 1] = traffic_class;
    header[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
    header[IP + 10..IP + 12].copy_from_slice(&(!sum).to_be_bytes());
}

#[inline]
fn finish_ipv6(header: &mut [u8; TEMPLATE_LEN], traffic_class: u8, udp_len: u16) {
    const IP: usize = TEMPLATE_LEN - IPV6_AND_UDP;
    header[IP] |= traffic_class >> 4;
    header[IP + 1] = traffic_class << 4;
    header[IP + 4..IP + 6].copy_from_slice(&udp_len.to_be_bytes());
}

/// The checksum of a packet that came without one and leaves in a family that demands it.
fn full_checksum(plan: &Plan, udp_len: u16, payload: Option<&[u8]>) -> u16 {
    let len = usize::from(udp_len) - udp::HEADER_LEN;
    let payload = payload.and_then(|bytes| bytes.get(..len)).unwrap_or(&[]);
    let headers = checksum::add(checksum::udp_constant(udp_len), udp_len);
    let body = checksum::add(headers, checksum::sum(payload));
    checksum::udp_field(checksum::add(plan.endpoints_sum, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{FlowKey, MacAddress};
    use std::net::SocketAddr;

    fn egress(vlan: VlanTags, mtu: u16) -> Egress {
        Egress {
            source: FlowKey {
                address: [10, 2, 0, 1].into(),
                port: 30_000,
            },
            destination: Some(SocketAddr::from(([10, 2, 0, 2], 4000))),
            link: Some(Link {
                device: DeviceId(3),
                source: MacAddress([2, 0, 0, 0, 0, 1]),
                destination: MacAddress([2, 0, 0, 0, 0, 2]),
                vlan,
                mtu,
            }),
            dscp: DscpMarking::Set(46),
        }
    }

    fn arrival(payload_len: u16) -> Arrival {
        Arrival {
            payload_len,
            traffic_class: 0x01,
            ..Arrival::default()
        }
    }

    #[test]
    fn an_untagged_ipv4_header_is_byte_for_byte_what_it_should_be() {
        let (plan, template) = prepare(&egress(VlanTags::None, 1500));
        let mut frame = [0xee_u8; 256];
        let start = apply(&plan, &template, &arrival(12), 0, &mut frame, 200).expect("fits");
        assert_eq!(start, 158);
        assert_eq!(plan.device, DeviceId(3));
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, // Ethernet
            0x45, 0xb9, 0, 40, 0, 0, 0x40, 0, 64, 17, 0x26, 0x06, 10, 2, 0, 1, 10, 2, 0, 2, 0x75,
            0x30, 0x0f, 0xa0, 0, 20, 0, 0, // UDP, no checksum as it came
        ];
        assert_eq!(frame[158..200], expected);
        assert_eq!(checksum::sum(&frame[172..192]), 0xffff);
        assert!(frame[200..].iter().all(|byte| *byte == 0xee));
    }

    #[test]
    fn the_mtu_counts_the_ip_packet_and_not_the_tags() {
        let tag = VlanTag {
            tpid: ethernet::CUSTOMER_TAG,
            tci: 7,
        };
        let (plan, template) = prepare(&egress(VlanTags::Double(tag, tag), 128));
        let mut frame = [0_u8; 512];
        let whole = apply(&plan, &template, &arrival(100), 0, &mut frame, 256);
        assert_eq!(whole, Ok(256 - 50));
        let over = apply(&plan, &template, &arrival(101), 0, &mut frame, 256);
        assert_eq!(over, Err(DropReason::TooBig));
    }

    #[test]
    fn a_frame_without_headroom_is_refused() {
        let (plan, template) = prepare(&egress(VlanTags::None, 1500));
        let mut frame = [0_u8; 256];
        let refused = apply(
            &plan,
            &template,
            &arrival(12),
            0,
            &mut frame,
            TEMPLATE_LEN - 1,
        );
        assert_eq!(refused, Err(DropReason::TooBig));
    }

    #[test]
    fn what_is_unknown_is_said() {
        let mut unknown = egress(VlanTags::None, 1500);
        unknown.link = None;
        let mut frame = [0_u8; 256];
        let (plan, template) = prepare(&unknown);
        let refused = apply(&plan, &template, &arrival(12), 0, &mut frame, 200);
        assert_eq!(refused, Err(DropReason::NoNextHop));
        unknown.destination = None;
        let (plan, template) = prepare(&unknown);
        let refused = apply(&plan, &template, &arrival(12), 0, &mut frame, 200);
        assert_eq!(refused, Err(DropReason::NoDestination));
    }
}
