//! Most packets at a glance: the shapes that nearly all media has, recognised by a few wide loads from
//! arrays whose bounds are checked once.
//!
//! What it lets through [`super::headers`] and [`super::classify`] let through as well, and say the same of
//! it; a test sees to that. About all else it says nothing, and they are asked. Its shapes: at most two
//! VLAN tags, IPv4 that ends with its UDP datagram or IPv6 likewise, a UDP checksum where IPv6 demands it.

use super::Content;
use crate::wire::{ethernet, ipv4, ipv6, rtcp, udp};

/// What stands at these places of a packet, known to be there and sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whom it is for.
    pub destination: Destination,
    /// Destination port.
    pub port: u16,
    /// Where the UDP payload starts, from the start of the packet.
    pub payload: usize,
    /// What it carries.
    pub content: Content,
}

/// A destination address, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Of IPv4.
    V4(u32),
    /// Of IPv6.
    V6(u128),
}

/// Ethertype and the headers after it, up to the first word of the payload.
const IPV4_HEAD: usize = 2 + ipv4::HEADER_LEN + udp::HEADER_LEN + 2;
const IPV6_HEAD: usize = 2 + ipv6::HEADER_LEN + udp::HEADER_LEN + 2;

/// Looks at a packet. `None`: nothing can be said of it here.
#[inline(always)]
pub fn glance(packet: &[u8]) -> Option<Glance> {
    let mut at = ethernet::HEADER_LEN - 2;
    let mut rest = packet.get(at..)?;
    let mut ethertype = u16::from_be_bytes(*rest.first_chunk()?);
    if ethertype == ethernet::IPV4 {
        return ipv4(rest, at);
    }
    for _ in 0..2 {
        if !ethernet::is_tag(ethertype) {
            break;
        }
        at += ethernet::TAG_LEN;
        rest = rest.get(ethernet::TAG_LEN..)?;
        ethertype = u16::from_be_bytes(*rest.first_chunk()?);
    }
    match ethertype {
        ethernet::IPV4 => ipv4(rest, at),
        ethernet::IPV6 => ipv6(rest, at),
        _ => None,
    }
}

#[inline(always)]
fn ipv4(rest: &[u8], at: usize) -> Option<Glance> {
    const IP: usize = 2;
    const UDP: usize = IP + ipv4::HEADER_LEN;
    let head: &[u8; IPV4_HEAD] = rest.first_chunk()?;
    // Version and header length; flags but "don't fragment" and offset; protocol.
    let shape = u32::from_be_bytes([head[IP], head[IP + 6] & 0x3f, head[IP + 7], head[IP + 9]]);
    if shape != u32::from_be_bytes([ipv4::VERSION_AND_LENGTH, 0, 0, ipv4::UDP]) {
        return None;
    }
    let total = u16::from_be_bytes([head[IP + 2], head[IP + 3]]);
    let udp_len = u16::from_be_bytes([head[UDP + 4], head[UDP + 5]]);
    let whole = usize::from(total) + IP <= rest.len();
    if usize::from(udp_len) + ipv4::HEADER_LEN != usize::from(total) || !whole {
        return None;
    }
    if !ipv4::checksum_is_right(head[IP..].first_chunk()?) {
        return None;
    }
    let destination = u32::from_be_bytes([head[18], head[19], head[20], head[21]]);
    Some(Glance {
        destination: Destination::V4(destination),
        port: u16::from_be_bytes([head[UDP + 2], head[UDP + 3]]),
        payload: at + UDP + udp::HEADER_LEN,
        content: content(head.last_chunk()?, udp_len, rest, UDP)?,
    })
}

#[inline(always)]
fn ipv6(rest: &[u8], at: usize) -> Option<Glance> {
    const IP: usize = 2;
    const UDP: usize = IP + ipv6::HEADER_LEN;
    let head: &[u8; IPV6_HEAD] = rest.first_chunk()?;
    let room = u16::from_be_bytes([head[IP + 4], head[IP + 5]]);
    let udp_len = u16::from_be_bytes([head[UDP + 4], head[UDP + 5]]);
    let whole = UDP + usize::from(room) <= rest.len();
    let has_checksum = head[UDP + 6] | head[UDP + 7] != 0;
    if head[IP] >> 4 != 6 || head[IP + 6] != ipv4::UDP || udp_len != room || !whole || !has_checksum
    {
        return None;
    }
    Some(Glance {
        destination: Destination::V6(u128::from_be_bytes(*head[IP + 24..].first_chunk()?)),
        port: u16::from_be_bytes([head[UDP + 2], head[UDP + 3]]),
        payload: at + UDP + udp::HEADER_LEN,
        content: content(head.last_chunk()?, udp_len, rest, UDP)?,
    })
}

/// RTP of the plainest kind by its first two bytes; what else there is by all rules. `None`: the UDP
/// datagram is shorter than its header.
#[inline(always)]
fn content(first: &[u8; 2], udp_len: u16, rest: &[u8], udp: usize) -> Option<Content> {
    // Version 2, any padding, no extension, no CSRCs.
    let plain = first[0] & 0xdf == 0x80 && !rtcp::is_packet_type(first[1]);
    if plain && usize::from(udp_len) >= udp::HEADER_LEN + 12 {
        return Some(Content::Rtp);
    }
    let payload = rest.get(udp + udp::HEADER_LEN..udp + usize::from(udp_len))?;
    Some(super::content(payload))
}
