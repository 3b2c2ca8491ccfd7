//! How a packet leaves: prebuilt header bytes that are laid before the payload, and the few fields that
//! differ from packet to packet.
//!
//! The payload never moves, nor does the UDP header. The new headers end where the payload starts, whatever
//! the family and the tags that the packet came with, so the start of the packet moves within the frame's
//! headroom instead:
//!
//! ```text
//!   arrived      |headroom            | eth | ipv4 | udp | payload |
//!   leaves       |headroom | eth | tag |    ipv6     | udp | payload |
//!                 ▲ front ▲  tail                 ▲4▲               TEMPLATE_LEN bytes, right-aligned
//!
//!   tail, 46 bytes:   as IPv4   two tags or the MACs' end | ethertype | header | ports    all of the header
//!                     as IPv6                               ethertype | header | ports
//!   front, 20 bytes:  as IPv6   MACs | two tags                                           of IPv6 only
//! ```
//!
//! So an IPv4 egress is whole in one cache line with what the flow's gate needs, and IPv6 has a second one.
//! The last four bytes, UDP's length and checksum, are each packet's own.
//!
//! TTL and hop limit are set to 64, not decremented: the relay is the media endpoint of both legs, so
//! the legs' paths must not show through each other. What a loop would need, a packet of ours that
//! comes back to us, the latch refuses as coming from a wrong source. IPv4 packets carry DF and
//! identification 0 (an atomic datagram, RFC 6864 §4). ECN bits pass through (RFC 6679).
//!
//! Checksums are computed on words as they stand in the packet, in whichever byte order the machine loads
//! them: the sum commutes with swapping (RFC 1071 §2 B).
//!
//! Knows nothing of flows' tables, latches or devices' sockets.

use std::net::{IpAddr, SocketAddr};

use contract::{DeviceId, DropReason, DscpMarking, Egress, Link, VlanTag, VlanTags};

use crate::classify::Family;
use crate::wire::{checksum, ethernet, ipv4, ipv6, udp};

/// The longest header: Ethernet with two tags, IPv6, UDP.
pub const TEMPLATE_LEN: usize = ethernet::MAX_HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN;
/// TTL and hop limit of every packet that leaves.
pub const HOP_LIMIT: u8 = 64;

/// The bytes before a payload: what is left of the old headers, right-aligned, and the place of the new.
pub type Window = [u8; TEMPLATE_LEN];

/// Bytes of [`Headers`]' tail: the longest IPv4 header, without UDP's length and checksum.
const TAIL: usize = TEMPLATE_LEN - FRONT - 4;
/// Bytes of [`Front`]: what an IPv6 header with two tags has more.
const FRONT: usize = ipv6::HEADER_LEN - ipv4::HEADER_LEN;
const _: () = assert!(FRONT == 20 && TAIL == 46);

/// Where headers start in a [`Window`].
const UDP: usize = TEMPLATE_LEN - udp::HEADER_LEN;
const IPV4: usize = UDP - ipv4::HEADER_LEN;
const IPV6: usize = UDP - ipv6::HEADER_LEN;
const UDP_CHECKSUM: usize = UDP + 6;

/// [`Headers::lead`] of an egress whose receiver is not known, or not the next hop to it. A length of headers
/// is more.
const NO_DESTINATION: u8 = 0;
const NO_NEXT_HOP: u8 = 1;
/// The shortest IPv6 headers; all IPv4 headers are shorter.
const SHORTEST_V6: u8 = (ethernet::HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN) as u8;

/// An egress: what differs between egresses, and most of the header bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// Sum of the IPv4 header without traffic class and length.
    header_sum: u16,
    /// What the link takes of a UDP header and its payload.
    room: u16,
    /// The device that transmits.
    pub device: DeviceId,
    /// Bits of the traffic class that pass through, as an IPv4 header's second byte. Those that are set stand in
    /// the tail.
    keep: [u8; 2],
    /// Length of the headers from Ethernet to UDP, or why there are none.
    lead: u8,
    /// The table's own byte: a flow's line has no other place for it.
    pub label: u8,
    tail: [u8; TAIL],
}

/// The first bytes of an IPv6 egress's headers.
pub type Front = [u8; FRONT];

impl Default for Headers {
    /// No way out.
    fn default() -> Self {
        Self {
            header_sum: 0,
            room: 0,
            device: DeviceId(0),
            keep: [0; 2],
            lead: NO_DESTINATION,
            label: 0,
            tail: [0; TAIL],
        }
    }
}

impl Headers {
    /// The sum of the new addresses and ports.
    pub fn endpoints_sum(&self) -> u16 {
        // The tail ends with the addresses and the ports.
        let addresses = if self.is_v6() { 32 } else { 8 };
        self.tail
            .last_chunk::<36>()
            .map_or(0, |last| checksum::raw(&last[32 - addresses..]))
    }

    /// Whether packets leave as IPv6, so that they need a [`Front`].
    #[inline]
    pub const fn is_v6(&self) -> bool {
        self.lead >= SHORTEST_V6
    }
}

/// Prepares an egress. An entry's receiver and source are of one family.
pub fn prepare(egress: &Egress) -> (Headers, Front) {
    let mut headers = Headers::default();
    let mut front = [0; FRONT];
    let Some(destination) = egress.destination else {
        return (headers, front);
    };
    let Some(link) = egress.link else {
        headers.lead = NO_NEXT_HOP;
        return (headers, front);
    };
    let (family, source) = Family::number(egress.source.address);
    let (_, receiver) = Family::number(destination.ip());
    let mut template = [0; TEMPLATE_LEN];
    template[UDP..UDP + 2].copy_from_slice(&egress.source.port.to_be_bytes());
    template[UDP + 2..UDP + 4].copy_from_slice(&destination.port().to_be_bytes());
    let (network, header_len) = match family {
        Family::V4 => {
            headers.header_sum = ipv4_header(&mut template, source, receiver);
            (IPV4, ipv4::HEADER_LEN)
        }
        Family::V6 => {
            ipv6_header(&mut template, source, receiver);
            (IPV6, ipv6::HEADER_LEN)
        }
    };
    let start = link_header(&mut template, network, family, &link);
    headers.device = link.device;
    headers.room = link.mtu.saturating_sub(header_len as u16);
    headers.lead = (TEMPLATE_LEN - start) as u8;
    let (keep, set) = match egress.dscp {
        DscpMarking::Preserve => (0xff, 0),
        DscpMarking::Set(code_point) => (0b11, code_point << 2),
    };
    headers.keep = [0, keep];
    match family {
        Family::V4 => template[IPV4 + 1] = set,
        Family::V6 => put_class(&mut template, set),
    }
    front.copy_from_slice(&template[..FRONT]);
    headers.tail.copy_from_slice(&template[FRONT..FRONT + TAIL]);
    (headers, front)
}

/// What a rewrite adds to a UDP checksum's sum: in with the new addresses and ports, out with the old.
#[inline]
pub const fn difference(new: u16, old: u16) -> u16 {
    checksum::add(!old, new)
}

/// The sum of two endpoints as a UDP checksum covers them.
pub const fn endpoints_sum(port: u16, address: u128, other_port: u16, other: u128) -> u16 {
    let one = checksum::add(checksum::sum_u128(address), port);
    let two = checksum::add(checksum::sum_u128(other), other_port);
    checksum::add(one, two).to_be()
}

/// Writes the IPv4 header and gives the sum of its constant part.
fn ipv4_header(template: &mut Window, source: u128, receiver: u128) -> u16 {
    let header = &mut template[IPV4..UDP];
    header[0] = ipv4::VERSION_AND_LENGTH;
    header[6..8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
    header[8] = HOP_LIMIT;
    header[9] = ipv4::UDP;
    header[12..16].copy_from_slice(&(source as u32).to_be_bytes());
    header[16..20].copy_from_slice(&(receiver as u32).to_be_bytes());
    // Without the first word, which is the packet's own.
    checksum::raw(&header[4..])
}

fn ipv6_header(template: &mut Window, source: u128, receiver: u128) {
    let header = &mut template[IPV6..UDP];
    header[0] = 0x60;
    header[6] = ipv4::UDP;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&source.to_be_bytes());
    header[24..40].copy_from_slice(&receiver.to_be_bytes());
}

/// Writes the Ethernet header before `network` and gives its start.
fn link_header(template: &mut Window, network: usize, family: Family, link: &Link) -> usize {
    let (outer, inner) = match link.vlan {
        VlanTags::None => (None, None),
        VlanTags::Single(tag) => (Some(tag), None),
        VlanTags::Double(outer, inner) => (Some(outer), Some(inner)),
    };
    let tags = [outer, inner].into_iter().flatten();
    let start = network - ethernet::HEADER_LEN - ethernet::TAG_LEN * tags.clone().count();
    template[start..start + 6].copy_from_slice(&link.destination.0);
    template[start + 6..start + 12].copy_from_slice(&link.source.0);
    let mut at = start + 12;
    for VlanTag { tpid, tci } in tags {
        template[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
        template[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
        at += ethernet::TAG_LEN;
    }
    let ethertype = match family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    template[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
    start
}

/// Cuts a frame before its payload: the window for the headers, and what follows it. `None` when there is
/// not that much room before the payload.
#[inline]
pub fn window(frame: &mut [u8], payload: usize) -> Option<(&mut Window, &mut [u8])> {
    let at = payload.checked_sub(TEMPLATE_LEN)?;
    let (window, rest) = frame.get_mut(at..)?.split_first_chunk_mut()?;
    Some((window, rest))
}

/// The source address of an IPv4 packet, as it stands there.
#[inline(always)]
pub fn source_v4(window: &Window) -> [u8; 4] {
    const AT: usize = IPV4 + 12;
    [window[AT], window[AT + 1], window[AT + 2], window[AT + 3]]
}

/// The source address of an IPv6 packet, as it stands there.
#[inline(always)]
pub fn source_v6(window: &Window) -> [u8; 16] {
    let mut source = [0; 16];
    source.copy_from_slice(&window[IPV6 + 8..IPV6 + 24]);
    source
}

/// The source port, as it stands there.
#[inline(always)]
pub fn source_port(window: &Window) -> [u8; 2] {
    [window[UDP], window[UDP + 1]]
}

/// Where a packet came from.
pub fn remote(family: Family, window: &Window) -> SocketAddr {
    let address = match family {
        Family::V4 => IpAddr::from(source_v4(window)),
        Family::V6 => IpAddr::from(source_v6(window)),
    };
    SocketAddr::new(address, u16::from_be_bytes(source_port(window)))
}

/// The sum of a packet's addresses and ports.
pub fn arrived_sum(family: Family, window: &Window) -> u16 {
    let addresses = match family {
        Family::V4 => 8,
        Family::V6 => 32,
    };
    checksum::raw(&window[UDP - addresses..UDP + 4])
}

/// Length of a packet's UDP header and payload.
#[inline(always)]
pub fn udp_len(window: &Window) -> u16 {
    u16::from_be_bytes([window[UDP + 4], window[UDP + 5]])
}

/// How much of that is payload.
#[inline(always)]
pub const fn payload_len(udp_len: u16) -> u16 {
    udp_len.wrapping_sub(udp::HEADER_LEN as u16)
}

/// Where a packet lies in its frame after a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How far its start lies before its payload.
    pub lead: usize,
    /// Its length.
    pub len: usize,
}

/// Lays the new headers over those of a packet that came in `family` and is sound; `udp_len` is its [`udp_len`],
/// `difference` is
/// [`difference`] between the egress and the arrival, `front` gives the first bytes of IPv6 headers, and
/// `payload` starts with the payload.
#[inline(always)]
pub fn apply(
    headers: &Headers,
    front: impl FnOnce() -> Front,
    family: Family,
    udp_len: u16,
    difference: impl FnOnce(&Window) -> u16,
    window: &mut Window,
    payload: &[u8],
) -> Result<Extent, DropReason> {
    if udp_len > headers.room {
        return Err(match headers.lead {
            NO_DESTINATION => DropReason::NoDestination,
            NO_NEXT_HOP => DropReason::NoNextHop,
            _ => DropReason::TooBig,
        });
    }
    let is_v6 = headers.is_v6();
    let old = u16::from_ne_bytes([window[UDP_CHECKSUM], window[UDP_CHECKSUM + 1]]);
    let checksum = match (old, family) {
        (0, _) if is_v6 => full_checksum(headers.endpoints_sum(), udp_len, payload),
        (0, Family::V4) => 0,
        (finished, _) => checksum::udp_field(checksum::add(!finished, difference(window))),
    };
    if is_v6 {
        let kept = traffic_class(family, window) & headers.keep[1];
        window[..FRONT].copy_from_slice(&front());
        window[FRONT..FRONT + TAIL].copy_from_slice(&headers.tail);
        let class = kept | traffic_class(Family::V6, window);
        put_class(window, class);
        window[IPV6 + 4..IPV6 + 6].copy_from_slice(&udp_len.to_be_bytes());
    } else {
        let first = first_word(headers, family, udp_len, window);
        let sum = checksum::add_word(headers.header_sum, first);
        window[FRONT..FRONT + TAIL].copy_from_slice(&headers.tail);
        window[IPV4..IPV4 + 4].copy_from_slice(&first.to_ne_bytes());
        window[IPV4 + 10..IPV4 + 12].copy_from_slice(&(!sum).to_ne_bytes());
    }
    window[UDP_CHECKSUM..].copy_from_slice(&checksum.to_ne_bytes());
    let lead = usize::from(headers.lead);
    Ok(Extent {
        lead,
        len: lead + usize::from(udp_len) - udp::HEADER_LEN,
    })
}

/// Version, header length, traffic class and total length of an IPv4 header, as they stand in a packet.
#[inline(always)]
fn first_word(headers: &Headers, family: Family, udp_len: u16, window: &Window) -> u32 {
    const AT: usize = IPV4 - FRONT;
    let tail = &headers.tail;
    let set = u32::from_ne_bytes([tail[AT], tail[AT + 1], tail[AT + 2], tail[AT + 3]]);
    let [low, high] = headers.keep;
    let kept = match family {
        Family::V4 => {
            // The length stays: a sound IPv4 packet ends with its UDP datagram ([`crate::classify`] sees to it).
            let old = [
                window[IPV4],
                window[IPV4 + 1],
                window[IPV4 + 2],
                window[IPV4 + 3],
            ];
            u32::from_ne_bytes(old) & u32::from_ne_bytes([low, high, 0xff, 0xff])
        }
        Family::V6 => {
            let class = traffic_class(family, window) & high;
            let [more, less] = (udp_len + ipv4::HEADER_LEN as u16).to_be_bytes();
            u32::from_ne_bytes([0, class, more, less])
        }
    };
    kept | set
}

/// Writes version, traffic class and no flow label of an IPv6 header.
#[inline(always)]
fn put_class(window: &mut Window, class: u8) {
    let word = [0x60 | class >> 4, class << 4, 0, 0];
    window[IPV6..IPV6 + 4].copy_from_slice(&word);
}

/// DSCP and ECN of what arrived.
#[inline(always)]
fn traffic_class(family: Family, window: &Window) -> u8 {
    match family {
        Family::V4 => window[IPV4 + 1],
        Family::V6 => window[IPV6] << 4 | window[IPV6 + 1] >> 4,
    }
}

/// The checksum of a packet that came without one and leaves in a family that demands it.
#[cold]
fn full_checksum(endpoints_sum: u16, udp_len: u16, payload: &[u8]) -> u16 {
    let len = usize::from(udp_len) - udp::HEADER_LEN;
    let payload = payload.get(..len).unwrap_or(&[]);
    let headers = checksum::add(checksum::udp_constant(udp_len), udp_len).to_be();
    let body = checksum::add(headers, checksum::raw(payload));
    checksum::udp_field(checksum::add(endpoints_sum, body))
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

    /// A frame with the headers of an IPv4 packet, ECN 1 and no UDP checksum, before the payload at `payload`.
    fn frame(payload: usize, payload_len: u16) -> [u8; 512] {
        let mut frame = [0xee; 512];
        let (window, _) = window(&mut frame, payload).expect("room");
        window[IPV4..].fill(0);
        window[IPV4..IPV4 + 2].copy_from_slice(&[0x45, 1]);
        window[IPV4 + 2..IPV4 + 4].copy_from_slice(&(payload_len + 28).to_be_bytes());
        window[UDP + 4..UDP + 6].copy_from_slice(&(payload_len + 8).to_be_bytes());
        frame
    }

    fn leave(egress: &Egress, frame: &mut [u8], payload: usize) -> Result<Extent, DropReason> {
        let (headers, front) = prepare(egress);
        let (window, rest) = window(frame, payload).expect("room");
        let udp_len = udp_len(window);
        apply(&headers, || front, Family::V4, udp_len, |_| 0, window, rest)
    }

    #[test]
    fn an_untagged_ipv4_header_is_byte_for_byte_what_it_should_be() {
        let mut frame = frame(200, 12);
        let extent = leave(&egress(VlanTags::None, 1500), &mut frame, 200);
        assert_eq!(extent, Ok(Extent { lead: 42, len: 54 }));
        assert_eq!(prepare(&egress(VlanTags::None, 1500)).0.device, DeviceId(3));
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
        let egress = egress(VlanTags::Double(tag, tag), 128);
        let whole = leave(&egress, &mut frame(256, 100), 256);
        assert_eq!(whole, Ok(Extent { lead: 50, len: 150 }));
        let over = leave(&egress, &mut frame(256, 101), 256);
        assert_eq!(over, Err(DropReason::TooBig));
    }

    #[test]
    fn a_frame_without_headroom_has_no_window() {
        let mut frame = [0_u8; 256];
        assert!(window(&mut frame, TEMPLATE_LEN - 1).is_none());
        assert!(window(&mut frame, TEMPLATE_LEN).is_some());
        assert!(window(&mut frame, 257).is_none());
    }

    #[test]
    fn what_is_unknown_is_said() {
        let mut unknown = egress(VlanTags::None, 1500);
        unknown.link = None;
        let refused = leave(&unknown, &mut frame(200, 12), 200);
        assert_eq!(refused, Err(DropReason::NoNextHop));
        unknown.destination = None;
        let refused = leave(&unknown, &mut frame(200, 12), 200);
        assert_eq!(refused, Err(DropReason::NoDestination));
    }
}
