//! Most packets at a glance: the shapes that nearly all media has, recognised by a few wide loads from
//! an array whose bounds are checked once.
//!
//! What it lets through [`super::headers`] and [`super::classify`] let through as well, and say the same of
//! it; a test sees to that. About all else it says nothing, and they are asked. Its shapes: at most two
//! VLAN tags, IPv4 that ends with its UDP datagram or IPv6 likewise, a UDP checksum where IPv6 demands it, and
//! 8 bytes of payload, which the shortest RTCP has.

use super::Content;
use crate::wire::{ethernet, ipv4, ipv6, rtcp, rtp, udp};

/// A packet that is known to be whole and sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// It is IPv4.
    V4(Seen<[u8; 4]>),
    /// It is IPv6.
    V6(Seen<[u8; 16]>),
}

/// What stands at these places of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<A> {
    /// Destination address, as it stands there.
    pub destination: A,
    /// Destination port.
    pub port: u16,
    /// Where the UDP payload starts in the packet.
    pub payload: usize,
    /// What it carries.
    pub content: Content,
}

impl<A> Seen<A> {
    /// Whether [`usual`] may have seen it as well.
    #[inline(always)]
    pub const fn is_usual(&self) -> bool {
        self.payload == PAYLOAD_V4 && matches!(self.content, Content::Rtp)
    }
}

/// Where headers start in an untagged packet.
const ETHERTYPE: usize = ethernet::HEADER_LEN - 2;
const IP: usize = ethernet::HEADER_LEN;
const UDP_V4: usize = IP + ipv4::HEADER_LEN;
const UDP_V6: usize = IP + ipv6::HEADER_LEN;
const PAYLOAD_V4: usize = UDP_V4 + udp::HEADER_LEN;
/// Untagged headers and the first bytes of the payload.
const HEAD_V4: usize = PAYLOAD_V4 + rtcp::MIN_LEN;
const HEAD_RTP: usize = PAYLOAD_V4 + rtp::HEADER_LEN;
const HEAD_V6: usize = UDP_V6 + udp::HEADER_LEN + rtcp::MIN_LEN;

/// Looks whether a packet is what most are: RTP without padding, extension and CSRCs, in untagged IPv4 that ends
/// with the packet. Says of such what [`glance`] says, in fewer instructions.
#[inline(always)]
pub fn usual(packet: &[u8]) -> Option<Seen<[u8; 4]>> {
    let head: &[u8; HEAD_RTP] = packet.first_chunk()?;
    // Both lengths follow from the packet's.
    let len = u16::try_from(packet.len()).ok()?;
    let total = len.wrapping_sub(IP as u16).to_be_bytes();
    let udp_len = len.wrapping_sub(UDP_V4 as u16).to_be_bytes();
    // One question after the other: answers that are kept to be joined cost more than what they are of.
    if word(head, IP + 2) != total || !is_ipv4_udp(head) || word(head, UDP_V4 + 4) != udp_len {
        return None;
    }
    if !is_rtp_alone(word(head, PAYLOAD_V4)) {
        return None;
    }
    if !ipv4::checksum_is_right(head[IP..].first_chunk()?) {
        return None;
    }
    Some(seen_v4(head, 0, Content::Rtp))
}

/// Looks at a packet. `None`: nothing can be said of it here.
#[inline(always)]
pub fn glance(packet: &[u8]) -> Option<Glance> {
    // What comes after the tags is looked at as if the packet had started so much later: of what is before the
    // ethertype nothing is asked.
    let (mut rest, mut tags) = (packet, 0);
    loop {
        let head: &[u8; HEAD_V4] = rest.first_chunk()?;
        if is_ipv4_udp(head) {
            return ipv4(rest, head, tags).map(Glance::V4);
        }
        let ethertype = u16::from_be_bytes(word(head, ETHERTYPE));
        if ethertype == ethernet::IPV6 {
            return ipv6(rest, tags).map(Glance::V6);
        }
        if !ethernet::is_tag(ethertype) || tags == 2 * ethernet::TAG_LEN {
            return None;
        }
        tags += ethernet::TAG_LEN;
        rest = rest.get(ethernet::TAG_LEN..)?;
    }
}

#[inline(always)]
const fn word<const LEN: usize>(head: &[u8; LEN], at: usize) -> [u8; 2] {
    [head[at], head[at + 1]]
}

/// IPv4 without options, no fragment, UDP.
#[inline(always)]
fn is_ipv4_udp<const LEN: usize>(head: &[u8; LEN]) -> bool {
    // Loaded as a word: bytes that are masked would be loaded one by one.
    let fragment = head[IP + 6..].first_chunk().copied();
    let fragment = fragment.map_or(0, u16::from_ne_bytes);
    word(head, ETHERTYPE) == ethernet::IPV4.to_be_bytes()
        && head[IP] == ipv4::VERSION_AND_LENGTH
        && fragment & u16::from_ne_bytes([0x3f, 0xff]) == 0
        && head[IP + 9] == ipv4::UDP
}

/// Looks on at what [`is_ipv4_udp`], after so many bytes of tags.
#[inline(always)]
fn ipv4(packet: &[u8], head: &[u8; HEAD_V4], tags: usize) -> Option<Seen<[u8; 4]>> {
    const LEAST: usize = HEAD_V4 - IP;
    let total = u16::from_be_bytes(word(head, IP + 2));
    let udp_len = total.wrapping_sub(ipv4::HEADER_LEN as u16);
    // Both at once: at least as long as the head, and at the most as the packet, which is.
    let fits = usize::from(total).wrapping_sub(LEAST) <= packet.len() - HEAD_V4;
    let header = head[IP..].first_chunk()?;
    if word(head, UDP_V4 + 4) != udp_len.to_be_bytes() || !fits || !ipv4::checksum_is_right(header)
    {
        return None;
    }
    Some(seen_v4(head, tags, content(packet, PAYLOAD_V4, udp_len)))
}

#[inline(always)]
fn seen_v4<const LEN: usize>(head: &[u8; LEN], tags: usize, content: Content) -> Seen<[u8; 4]> {
    const TO: usize = IP + 16;
    Seen {
        destination: [head[TO], head[TO + 1], head[TO + 2], head[TO + 3]],
        port: u16::from_be_bytes(word(head, UDP_V4 + 2)),
        payload: tags + PAYLOAD_V4,
        content,
    }
}

#[inline(always)]
fn ipv6(packet: &[u8], tags: usize) -> Option<Seen<[u8; 16]>> {
    const LEAST: usize = HEAD_V6 - UDP_V6;
    let head: &[u8; HEAD_V6] = packet.first_chunk()?;
    let room = word(head, IP + 4);
    let udp_len = u16::from_be_bytes(room);
    let fits = usize::from(udp_len).wrapping_sub(LEAST) <= packet.len() - HEAD_V6;
    let is_whole = word(head, UDP_V6 + 4) == room && fits;
    let is_udp = head[IP] >> 4 == 6 && head[IP + 6] == ipv4::UDP;
    if !is_udp || !is_whole || word(head, UDP_V6 + 6) == [0, 0] {
        return None;
    }
    Some(Seen {
        destination: *head[IP + 24..].first_chunk()?,
        port: u16::from_be_bytes(word(head, UDP_V6 + 2)),
        payload: tags + UDP_V6 + udp::HEADER_LEN,
        content: content(packet, UDP_V6 + udp::HEADER_LEN, udp_len),
    })
}

/// RTP of the plainest kind by its first two bytes; what else there is by all rules. The payload starts at
/// `payload` in the packet, which is whole.
#[inline(always)]
fn content(packet: &[u8], payload: usize, udp_len: u16) -> Content {
    const RTP: u16 = (udp::HEADER_LEN + rtp::HEADER_LEN) as u16;
    let first = packet.get(payload..).and_then(|rest| rest.first_chunk());
    if first.is_some_and(|first| is_plain_rtp(*first)) && udp_len >= RTP {
        return Content::Rtp;
    }
    content_by_all_rules(packet, payload, udp_len)
}

/// Version 2, no padding, no extension, no CSRCs, and none of RTCP's packet types.
#[inline(always)]
const fn is_rtp_alone(first: [u8; 2]) -> bool {
    // What differs from RTCP: nothing of the first byte, and of the second at least one of the upper three bits.
    // Turned by a byte that is a number from 0x20 to 0xff, and whatever else differs makes it larger.
    let differs = u16::from_le_bytes(first) ^ 0xc080;
    (differs as u32).rotate_right(8).wrapping_sub(0x20) < 0xe0
}

/// Version 2, any padding, no extension, no CSRCs, and none of RTCP's packet types.
#[inline(always)]
const fn is_plain_rtp(first: [u8; 2]) -> bool {
    // What differs of the bits that matter: none of the first byte's, and some of the second's upper three, which tell
    // RTCP. Turned by 13 bits these are a number from 1 to 7, and whatever else differs makes it larger.
    let differs = (u16::from_le_bytes(first) ^ 0xc080) & 0xe0df;
    (differs as u32).rotate_right(13).wrapping_sub(1) < 7
}

#[inline(never)]
fn content_by_all_rules(packet: &[u8], payload: usize, udp_len: u16) -> Content {
    let end = payload + usize::from(udp_len).saturating_sub(udp::HEADER_LEN);
    super::content(packet.get(payload..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_bytes_tell_plain_rtp() {
        for word in 0..=u16::MAX {
            let first @ [one, two] = word.to_be_bytes();
            let is_rtcp = rtcp::is_packet_type(two);
            assert_eq!(is_rtp_alone(first), one == 0x80 && !is_rtcp, "{word:04x}");
            let is_plain = (one == 0x80 || one == 0xa0) && !is_rtcp;
            assert_eq!(is_plain_rtp(first), is_plain, "{word:04x}");
        }
    }
}
