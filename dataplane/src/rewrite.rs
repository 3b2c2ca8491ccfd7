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

mod payload;
mod prepare;

use std::net::{IpAddr, SocketAddr};

use contract::{DeviceId, DropReason};

use crate::classify::Family;
use crate::wire::{checksum, ethernet, ipv4, ipv6, udp};

pub use payload::{arrive_from_nowhere, change_payload};
pub use prepare::prepare;

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

/// [`Headers::skip`] of an egress whose receiver is not known, or not the next hop to it. A window is shorter.
const NO_DESTINATION: u8 = 255;
const NO_NEXT_HOP: u8 = 254;
/// The most that IPv6 headers leave of a window; all IPv4 headers leave more.
const MOST_V6: u8 =
    (TEMPLATE_LEN - ethernet::HEADER_LEN - ipv6::HEADER_LEN - udp::HEADER_LEN) as u8;

/// An egress: what differs between egresses, and most of the header bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Headers {
    /// What the link takes of a UDP header and its payload.
    room: u16,
    /// The device that transmits.
    pub device: DeviceId,
    /// Which bits of an arrived IPv4 header's first word pass through: those of the traffic class that are not
    /// set, and the length. Those that are set stand in the tail.
    keep: [u8; 4],
    /// What the headers, from Ethernet to UDP, leave of a window, or why there are none.
    skip: u8,
    /// The table's own byte: a flow's line has no other place for it.
    pub label: u8,
    /// Where IPv4's checksum stands it has the sum of the header without its first word.
    tail: [u8; TAIL],
}

const _: () = assert!(
    size_of::<Headers>() == 56,
    "a cache line with a source and an adjustment"
);

/// Where an IPv6 and an IPv4 header and the checksum of this start in the tail.
const TAIL_IPV6: usize = IPV6 - FRONT;
const TAIL_IPV4: usize = IPV4 - FRONT;
const TAIL_SUM: usize = TAIL_IPV4 + 10;

/// The first bytes of an IPv6 egress's headers.
pub type Front = [u8; FRONT];

impl Default for Headers {
    /// No way out.
    fn default() -> Self {
        Self {
            room: 0,
            device: DeviceId(0),
            keep: [0; 4],
            skip: NO_DESTINATION,
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

    /// What the UDP checksum of a packet that came in `family` needs for this egress, if it has one
    /// ([`checksum::adjustment`]).
    pub fn adjustment(&self, family: Family, window: &Window) -> u16 {
        let old = arrived_sum(family, window);
        checksum::adjustment(difference(self.endpoints_sum(), old))
    }

    /// Whether packets leave as IPv6, so that they need a [`Front`].
    #[inline(always)]
    pub const fn is_v6(&self) -> bool {
        self.skip <= MOST_V6
    }

    /// The first word of an IPv6 header: version and what is set of the traffic class.
    #[inline(always)]
    const fn first_word_v6(&self) -> u32 {
        let tail = &self.tail;
        u32::from_ne_bytes([
            tail[TAIL_IPV6],
            tail[TAIL_IPV6 + 1],
            tail[TAIL_IPV6 + 2],
            tail[TAIL_IPV6 + 3],
        ])
    }

    /// The first word of an IPv4 header: version, header length and what is set of the traffic class.
    #[inline(always)]
    const fn first_word(&self) -> u32 {
        let tail = &self.tail;
        u32::from_ne_bytes([
            tail[TAIL_IPV4],
            tail[TAIL_IPV4 + 1],
            tail[TAIL_IPV4 + 2],
            tail[TAIL_IPV4 + 3],
        ])
    }

    /// The IPv4 header's sum without that word.
    #[inline(always)]
    const fn header_sum(&self) -> u16 {
        u16::from_ne_bytes([self.tail[TAIL_SUM], self.tail[TAIL_SUM + 1]])
    }
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

/// Where the window of a payload starts in the frame. Before the frame is behind its end.
#[inline(always)]
pub const fn window_before(payload: usize) -> u16 {
    (payload as u16).wrapping_sub(TEMPLATE_LEN as u16)
}

/// The window that starts there. `None` when it does not lie in the frame.
#[inline(always)]
pub fn window(frame: &mut [u8], at: u16) -> Option<&mut Window> {
    let at = usize::from(at);
    // Frames are of one size, so that a loop need not compute the last place again for each.
    let last = frame.len().checked_sub(TEMPLATE_LEN)?;
    if at > last {
        return None;
    }
    frame[at..].first_chunk_mut()
}

/// The window that starts there, and what follows it in the frame.
#[inline]
pub fn window_and_rest(frame: &mut [u8], at: u16) -> Option<(&mut Window, &mut [u8])> {
    frame.get_mut(usize::from(at)..)?.split_first_chunk_mut()
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
fn arrived_sum(family: Family, window: &Window) -> u16 {
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

/// Length of a packet's UDP payload.
pub fn payload_len(window: &Window) -> usize {
    usize::from(udp_len(window)).saturating_sub(udp::HEADER_LEN)
}

/// The UDP checksum, as it stands there.
#[inline(always)]
fn udp_checksum(window: &Window) -> u16 {
    u16::from_ne_bytes([window[UDP_CHECKSUM], window[UDP_CHECKSUM + 1]])
}

/// Where a packet lies in its frame after a rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How far its start lies behind that of the [`Window`].
    pub skip: usize,
    /// Its length.
    pub len: usize,
}

/// Where a packet with such headers lies.
#[inline(always)]
fn extent(headers: &Headers, udp_len: u16) -> Extent {
    const FIRST: u16 = (TEMPLATE_LEN - udp::HEADER_LEN) as u16;
    let skip = headers.skip;
    // In 16 bits, which is known of both then.
    let len = udp_len.wrapping_add(FIRST).wrapping_sub(u16::from(skip));
    Extent {
        skip: usize::from(skip),
        len: usize::from(len),
    }
}

/// What [`usual`] has read of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// Its [`udp_len`].
    pub udp_len: u16,
    checksum: u16,
}

/// Whether a packet that came as IPv4 may leave by [`apply_usual`]: it has a UDP checksum, and fits.
#[inline(always)]
pub fn usual(headers: &Headers, window: &Window) -> Option<Usual> {
    let (udp_len, checksum) = (udp_len(window), udp_checksum(window));
    (udp_len <= headers.room && checksum != 0).then_some(Usual { udp_len, checksum })
}

/// The usual case of [`apply`]: a packet of which [`usual`] was said leaves as IPv4.
#[inline(always)]
pub fn apply_usual(
    headers: &Headers,
    adjustment: u16,
    usual: &Usual,
    window: &mut Window,
) -> Extent {
    let checksum = checksum::add(usual.checksum, adjustment);
    lay_ipv4(headers, Family::V4, usual.udp_len, window);
    window[UDP_CHECKSUM..].copy_from_slice(&checksum.to_ne_bytes());
    extent(headers, usual.udp_len)
}

/// Lays the new headers over those of a packet that came in `family` and is sound. `adjustment` is what its UDP
/// checksum needs ([`Headers::adjustment`]), `front` gives the first bytes of IPv6 headers, and `payload` starts with
/// the payload.
#[inline(always)]
pub fn apply(
    headers: &Headers,
    front: &Front,
    family: Family,
    adjustment: impl FnOnce(&Window) -> u16,
    window: &mut Window,
    payload: &[u8],
) -> Result<Extent, DropReason> {
    let udp_len = udp_len(window);
    if udp_len > headers.room {
        return Err(match headers.skip {
            NO_DESTINATION => DropReason::NoDestination,
            NO_NEXT_HOP => DropReason::NoNextHop,
            _ => DropReason::TooBig,
        });
    }
    let is_v6 = headers.is_v6();
    let checksum = match udp_checksum(window) {
        0 if is_v6 => full_checksum(headers.endpoints_sum(), udp_len, payload),
        0 => 0,
        finished => checksum::add(finished, adjustment(window)),
    };
    if is_v6 {
        let kept = traffic_class(family, window) & headers.keep[1];
        let first = (u32::from(kept) << 20).to_be() | headers.first_word_v6();
        window[..FRONT].copy_from_slice(front);
        window[FRONT..FRONT + TAIL].copy_from_slice(&headers.tail);
        window[IPV6..IPV6 + 4].copy_from_slice(&first.to_ne_bytes());
        window[IPV6 + 4..IPV6 + 6].copy_from_slice(&udp_len.to_be_bytes());
    } else {
        lay_ipv4(headers, family, udp_len, window);
    }
    window[UDP_CHECKSUM..].copy_from_slice(&checksum.to_ne_bytes());
    Ok(extent(headers, udp_len))
}

/// Lays the headers of an egress of IPv4, all but the UDP checksum.
#[inline(always)]
fn lay_ipv4(headers: &Headers, family: Family, udp_len: u16, window: &mut Window) {
    let first = first_word(headers, family, udp_len, window);
    let sum = checksum::add_word(headers.header_sum(), first);
    window[FRONT..FRONT + TAIL].copy_from_slice(&headers.tail);
    window[IPV4..IPV4 + 4].copy_from_slice(&first.to_ne_bytes());
    window[IPV4 + 10..IPV4 + 12].copy_from_slice(&(!sum).to_ne_bytes());
}

/// Version, header length, traffic class and total length of an IPv4 header, as they stand in a packet.
#[inline(always)]
fn first_word(headers: &Headers, family: Family, udp_len: u16, window: &Window) -> u32 {
    let arrived = match family {
        // The length stays: a sound IPv4 packet ends with its UDP datagram ([`crate::classify`] sees to it).
        Family::V4 => [
            window[IPV4],
            window[IPV4 + 1],
            window[IPV4 + 2],
            window[IPV4 + 3],
        ],
        Family::V6 => {
            let [more, less] = (udp_len + ipv4::HEADER_LEN as u16).to_be_bytes();
            [0, traffic_class(family, window), more, less]
        }
    };
    u32::from_ne_bytes(arrived) & u32::from_ne_bytes(headers.keep) | headers.first_word()
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
    use contract::{DscpMarking, Egress, FlowKey, Link, MacAddress, VlanTag, VlanTags};
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
        let window = window(&mut frame, window_before(payload)).expect("room");
        window[IPV4..].fill(0);
        window[IPV4..IPV4 + 2].copy_from_slice(&[0x45, 1]);
        window[IPV4 + 2..IPV4 + 4].copy_from_slice(&(payload_len + 28).to_be_bytes());
        window[UDP + 4..UDP + 6].copy_from_slice(&(payload_len + 8).to_be_bytes());
        frame
    }

    fn leave(egress: &Egress, frame: &mut [u8], payload: usize) -> Result<Extent, DropReason> {
        let (headers, front) = prepare(egress);
        let (window, rest) = window_and_rest(frame, window_before(payload)).expect("room");
        apply(&headers, &front, Family::V4, |_| 0, window, rest)
    }

    #[test]
    fn an_untagged_ipv4_header_is_byte_for_byte_what_it_should_be() {
        let mut frame = frame(200, 12);
        let extent = leave(&egress(VlanTags::None, 1500), &mut frame, 200);
        assert_eq!(extent, Ok(Extent { skip: 28, len: 54 }));
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
        assert_eq!(whole, Ok(Extent { skip: 20, len: 150 }));
        let over = leave(&egress, &mut frame(256, 101), 256);
        assert_eq!(over, Err(DropReason::TooBig));
    }

    #[test]
    fn a_frame_without_headroom_has_no_window() {
        let mut frame = [0_u8; 256];
        for (payload, has) in [
            (0, false),
            (69, false),
            (70, true),
            (256, true),
            (257, false),
        ] {
            let at = window_before(payload);
            assert_eq!(window(&mut frame, at).is_some(), has, "{payload}");
            assert_eq!(window_and_rest(&mut frame, at).is_some(), has, "{payload}");
        }
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
