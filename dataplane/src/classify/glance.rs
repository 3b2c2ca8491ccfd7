//! Most packets at a glance: the shapes that nearly all media has, recognised by a few wide loads from
//! arrays whose bounds are checked once.
//!
//! What it lets through [`super::headers`] and [`super::classify`] let through as well, and say the same of
//! it; a test sees to that. About all else it says nothing, and they are asked. Its shapes: at most two
//! VLAN tags, IPv4 that ends with its UDP datagram or IPv6 likewise, a UDP checksum where IPv6 demands it.

use super::Content;
use crate::wire::{ethernet, ipv4, ipv6, rtcp, rtp, udp};

/// What stands at these places of a packet, known to be there and sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whom it is for.
    pub destination: Destination,
    /// Destination port.
    pub port: u16,
    /// Where the UDP payload starts in the frame.
    pub payload: usize,
    /// What it carries.
    pub content: Content,
}

/// A destination address, as it stands in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Of IPv4.
    V4([u8; 4]),
    /// Of IPv6.
    V6([u8; 16]),
}

/// Ethertype and the headers after it, up to the first word of the payload.
const IPV4_HEAD: usize = 2 + ipv4::HEADER_LEN + udp::HEADER_LEN + 2;
const IPV6_HEAD: usize = 2 + ipv6::HEADER_LEN + udp::HEADER_LEN + 2;

/// Looks at a packet of `len` bytes from `start` in a frame. `None`: nothing can be said of it here.
#[inline(always)]
pub fn glance(frame: &[u8], start: usize, len: usize) -> Option<Glance> {
    let mut at = start + ethernet::HEADER_LEN - 2;
    let end = start + len;
    let mut ethertype = u16::from_be_bytes(*chunk(frame, at)?);
    if ethertype == ethernet::IPV4 {
        return ipv4(frame, at, end);
    }
    for _ in 0..2 {
        if !ethernet::is_tag(ethertype) {
            break;
        }
        at += ethernet::TAG_LEN;
        ethertype = u16::from_be_bytes(*chunk(frame, at)?);
    }
    match ethertype {
        ethernet::IPV4 => ipv4(frame, at, end),
        ethernet::IPV6 => ipv6(frame, at, end),
        _ => None,
    }
}

#[inline(always)]
fn chunk<const LEN: usize>(frame: &[u8], at: usize) -> Option<&[u8; LEN]> {
    frame.get(at..at + LEN)?.first_chunk()
}

/// Looks at what follows from the ethertype `at`. The bytes of the head may lie behind the packet's end, as
/// long as it is not known to be whole.
#[inline(always)]
fn ipv4(frame: &[u8], at: usize, end: usize) -> Option<Glance> {
    const IP: usize = 2;
    const UDP: usize = IP + ipv4::HEADER_LEN;
    let head: &[u8; IPV4_HEAD] = chunk(frame, at)?;
    let fragment = u32::from_ne_bytes(*head[IP + 6..].first_chunk()?);
    let fragment = fragment & u32::from_ne_bytes([0x3f, 0xff, 0, 0xff]);
    if head[IP] != ipv4::VERSION_AND_LENGTH || fragment != u32::from_ne_bytes([0, 0, 0, ipv4::UDP])
    {
        return None;
    }
    let udp_len = u16::from_be_bytes([head[UDP + 4], head[UDP + 5]]);
    let total = udp_len.wrapping_add(ipv4::HEADER_LEN as u16);
    if [head[IP + 2], head[IP + 3]] != total.to_be_bytes() || at + IP + usize::from(total) > end {
        return None;
    }
    if !ipv4::checksum_is_right(head[IP..].first_chunk()?) {
        return None;
    }
    Some(Glance {
        destination: Destination::V4(*head[IP + 16..].first_chunk()?),
        port: u16::from_be_bytes([head[UDP + 2], head[UDP + 3]]),
        payload: at + UDP + udp::HEADER_LEN,
        content: content(head.last_chunk()?, udp_len, frame, at + UDP)?,
    })
}

#[inline(always)]
fn ipv6(frame: &[u8], at: usize, end: usize) -> Option<Glance> {
    const IP: usize = 2;
    const UDP: usize = IP + ipv6::HEADER_LEN;
    let head: &[u8; IPV6_HEAD] = chunk(frame, at)?;
    let room = u16::from_be_bytes([head[IP + 4], head[IP + 5]]);
    let udp_len = u16::from_be_bytes([head[UDP + 4], head[UDP + 5]]);
    let whole = at + UDP + usize::from(room) <= end;
    let has_checksum = head[UDP + 6] | head[UDP + 7] != 0;
    if head[IP] >> 4 != 6 || head[IP + 6] != ipv4::UDP || udp_len != room || !whole || !has_checksum
    {
        return None;
    }
    Some(Glance {
        destination: Destination::V6(*head[IP + 24..].first_chunk()?),
        port: u16::from_be_bytes([head[UDP + 2], head[UDP + 3]]),
        payload: at + UDP + udp::HEADER_LEN,
        content: content(head.last_chunk()?, udp_len, frame, at + UDP)?,
    })
}

/// RTP of the plainest kind by its first two bytes; what else there is by all rules. `None`: the UDP
/// datagram, which starts at `udp`, is shorter than its header.
#[inline(always)]
fn content(first: &[u8; 2], udp_len: u16, frame: &[u8], udp: usize) -> Option<Content> {
    // Version 2, any padding, no extension, no CSRCs; and the bits that tell RTCP's packet types.
    let first = u16::from_le_bytes(*first) & 0xe0df;
    let plain = first as u8 == 0x80 && !rtcp::is_packet_type((first >> 8) as u8);
    if plain && usize::from(udp_len) >= udp::HEADER_LEN + rtp::HEADER_LEN {
        return Some(Content::Rtp);
    }
    let payload = frame.get(udp + udp::HEADER_LEN..udp + usize::from(udp_len))?;
    Some(super::content(payload))
}
