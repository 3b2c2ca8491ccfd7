//! What a frame is: media for one of our addresses, or a reason to drop it. First stop of a packet's
//! journey in user space.
//!
//! [`headers`] asks the same question as the XDP program (`bpf/redirect.bpf.c`) and must answer it the
//! same way; [`classify`] goes on to what the kernel did not look at: lengths, checksums, and whether
//! the payload is RTP, RTCP or STUN. [`glance`] says the same of most packets in a fraction of the time.
//! Knows the wire, but neither flows nor what is done with them.

mod glance;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use contract::DropReason;

use crate::settings::ReceivedChecksums;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp::{self, Udp};
use crate::wire::{checksum, ethernet, rtcp, rtp, stun};

pub use glance::{Glance, Seen, glance, usual};

/// The address family of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4: an address is the low 32 bits of its number.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// Where the headers of a UDP packet lie in its frame, and whom it is for. Lengths are unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Destination address, as a number.
    pub destination: u128,
    /// Destination port.
    pub port: u16,
    /// Where the IP header starts.
    pub network: usize,
    /// Where the UDP header starts; it is whole.
    pub transport: usize,
}

/// What the first bytes of a UDP payload say that it is (RFC 7983); a bit each, for sets of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// A whole RTP header.
    Rtp = 1,
    /// A whole first RTCP packet.
    Rtcp = 2,
    /// A STUN header.
    Stun = 4,
    /// None of them.
    #[default]
    Unknown = 8,
}

/// A packet whose headers are sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Source address, as a number.
    pub source: u128,
    /// Destination address, as a number.
    pub destination: u128,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
    /// Where the UDP payload starts, counted from the start of the packet.
    pub payload: u16,
    /// The UDP payload's length.
    pub payload_len: u16,
    /// The UDP checksum, finished; 0 says that there is none (IPv4 only).
    pub udp_checksum: u16,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4 or IPv6.
    pub family: Family,
    /// What it carries.
    pub content: Content,
}

impl Arrival {
    /// Where it came from.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.family.address(self.source), self.source_port)
    }
}

impl Family {
    /// The address of this family that a number stands for.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(number as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(number).into(),
        }
    }

    /// An address as family and number.
    pub const fn number(address: IpAddr) -> (Self, u128) {
        match address {
            IpAddr::V4(v4) => (Self::V4, v4.to_bits() as u128),
            IpAddr::V6(v6) => (Self::V6, v6.to_bits()),
        }
    }
}

/// Finds the UDP packet in a frame: Ethernet, at most two VLAN tags, IPv4 without options that is no
/// fragment or IPv6 without extension headers, UDP.
#[inline]
pub fn headers(packet: &[u8]) -> Result<Headers, DropReason> {
    let (ethertype, network) = ethernet::payload(packet).ok_or(DropReason::Truncated)?;
    let rest = packet.get(network..).ok_or(DropReason::Truncated)?;
    let (family, destination, transport) = match ethertype {
        ethernet::IPV4 => {
            let ip = Ipv4::new(rest).ok_or(DropReason::Truncated)?;
            if !ip.is_plain() || ip.is_fragment() || ip.protocol() != ipv4::UDP {
                return Err(DropReason::NotMedia);
            }
            let destination = u128::from(ip.destination());
            (Family::V4, destination, network + ipv4::HEADER_LEN)
        }
        ethernet::IPV6 => {
            let ip = Ipv6::new(rest).ok_or(DropReason::Truncated)?;
            if !ip.is_version_6() || ip.next_header() != ipv4::UDP {
                return Err(DropReason::NotMedia);
            }
            (Family::V6, ip.destination(), network + ipv6::HEADER_LEN)
        }
        _ => return Err(DropReason::NotMedia),
    };
    let udp = packet.get(transport..).and_then(Udp::new);
    let port = udp.ok_or(DropReason::Truncated)?.destination();
    Ok(Headers {
        family,
        destination,
        port,
        network,
        transport,
    })
}

/// Checks a packet whose headers were found: lengths, checksums as far as `checksums` asks for, and
/// content.
#[inline]
pub fn classify(
    packet: &[u8],
    headers: &Headers,
    checksums: ReceivedChecksums,
) -> Result<Arrival, DropReason> {
    let ip = packet.get(headers.network..).ok_or(DropReason::Truncated)?;
    let udp = packet
        .get(headers.transport..)
        .and_then(Udp::new)
        .ok_or(DropReason::Truncated)?;
    let (source, traffic_class, room, sound) = match headers.family {
        Family::V4 => {
            let view = Ipv4::new(ip).ok_or(DropReason::Truncated)?;
            let total = usize::from(view.total_len());
            if total > ip.len() {
                return Err(DropReason::Truncated);
            }
            let source = u128::from(view.source());
            let room = total.saturating_sub(ipv4::HEADER_LEN);
            let sound = view.checksum_is_right();
            (source, view.traffic_class(), room, sound)
        }
        Family::V6 => {
            let view = Ipv6::new(ip).ok_or(DropReason::Truncated)?;
            let room = usize::from(view.payload_len());
            if room + ipv6::HEADER_LEN > ip.len() {
                return Err(DropReason::Truncated);
            }
            (view.source(), view.traffic_class(), room, true)
        }
    };
    let udp_len = usize::from(udp.total_len());
    if udp_len < udp::HEADER_LEN || udp_len > room {
        return Err(DropReason::Truncated);
    }
    if !sound {
        return Err(DropReason::BadIpChecksum);
    }
    let start = headers.transport + udp::HEADER_LEN;
    let payload_len = udp_len - udp::HEADER_LEN;
    let payload = packet
        .get(start..start + payload_len)
        .ok_or(DropReason::Truncated)?;
    let mut arrival = Arrival {
        source,
        destination: headers.destination,
        source_port: udp.source(),
        port: headers.port,
        payload: start as u16,
        payload_len: payload_len as u16,
        udp_checksum: udp.checksum(),
        traffic_class,
        family: headers.family,
        content: content(payload),
    };
    arrival.udp_checksum = checked_udp_checksum(&arrival, payload, checksums)?;
    Ok(arrival)
}

/// Brings a packet that [`classify`] has let through into the usual shape, where it stands: the IPv4
/// packet's length says that it ends with its UDP datagram, and its UDP checksum is finished.
pub fn straighten(packet: &mut [u8], headers: &Headers, arrival: &Arrival) {
    let udp_len = arrival.payload_len + udp::HEADER_LEN as u16;
    let mut put = |at: usize, word: u16| {
        if let Some(place) = packet.get_mut(at..at + 2) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    };
    put(headers.transport + 6, arrival.udp_checksum);
    if headers.family == Family::V4 {
        put(headers.network + 2, udp_len + ipv4::HEADER_LEN as u16);
    }
}

/// RFC 7983, as far as it concerns us.
#[inline]
fn content(payload: &[u8]) -> Content {
    match payload.first_chunk::<2>() {
        Some([_, second]) if rtcp::is_packet_type(*second) && rtcp::is_valid(payload) => {
            Content::Rtcp
        }
        Some([_, second]) if !rtcp::is_packet_type(*second) && rtp::is_valid(payload) => {
            Content::Rtp
        }
        _ if stun::is_valid(payload) => Content::Stun,
        _ => Content::Unknown,
    }
}

/// The packet's UDP checksum as a receiver should have seen it.
///
/// A sender on the same machine may have left the sum of the pseudo-header in the field, for hardware
/// to finish (`CHECKSUM_PARTIAL`, linux/skbuff.h). Such a frame has not been on any wire, so finishing
/// it hides no damage.
#[inline]
fn checked_udp_checksum(
    arrival: &Arrival,
    payload: &[u8],
    checksums: ReceivedChecksums,
) -> Result<u16, DropReason> {
    if arrival.udp_checksum == 0 {
        return match arrival.family {
            Family::V4 => Ok(0),
            Family::V6 => Err(DropReason::BadUdpChecksum),
        };
    }
    match checksums {
        ReceivedChecksums::Finished => Ok(arrival.udp_checksum),
        ReceivedChecksums::MayBeUnfinished => verified(arrival, payload),
    }
}

fn verified(arrival: &Arrival, payload: &[u8]) -> Result<u16, DropReason> {
    let addresses = checksum::add(
        checksum::sum_u128(arrival.source),
        checksum::sum_u128(arrival.destination),
    );
    let udp_len = arrival.payload_len + udp::HEADER_LEN as u16;
    let pseudo = checksum::add(addresses, checksum::udp_constant(udp_len));
    let ports = checksum::add(arrival.source_port, arrival.port);
    let body = checksum::add(checksum::add(ports, udp_len), checksum::sum(payload));
    let right = checksum::udp_field(checksum::add(pseudo, body));
    if arrival.udp_checksum == right || arrival.udp_checksum == pseudo {
        return Ok(right);
    }
    Err(DropReason::BadUdpChecksum)
}

/// Checks the UDP checksum of a packet that [`glance`] let through, and finishes it where it stands.
#[inline]
pub fn finish(packet: &mut [u8], family: Family, payload: usize) -> Result<(), DropReason> {
    const TRUNCATED: DropReason = DropReason::Truncated;
    let addresses = match family {
        Family::V4 => 8,
        Family::V6 => 32,
    };
    let udp = payload.checked_sub(udp::HEADER_LEN).ok_or(TRUNCATED)?;
    let start = udp.checked_sub(addresses).ok_or(TRUNCATED)?;
    let covered = packet.get_mut(start..).ok_or(TRUNCATED)?;
    let header = covered.get(addresses..).and_then(Udp::new);
    let udp_len = header.ok_or(TRUNCATED)?.total_len();
    let end = addresses + usize::from(udp_len);
    let covered = covered.get_mut(..end).ok_or(TRUNCATED)?;
    let (pseudo, datagram) = covered.split_at_mut_checked(addresses).ok_or(TRUNCATED)?;
    let constant = checksum::udp_constant(udp_len).to_be();
    let pseudo = checksum::add(checksum::raw(pseudo), constant);
    let all = checksum::add(pseudo, checksum::raw(datagram));
    let header: &mut [u8; udp::HEADER_LEN] = datagram.first_chunk_mut().ok_or(TRUNCATED)?;
    let field = u16::from_ne_bytes([header[6], header[7]]);
    if field == 0 || all == 0xffff {
        // None, which IPv4 allows, or right.
        return Ok(());
    }
    if field != pseudo {
        return Err(DropReason::BadUdpChecksum);
    }
    let right = checksum::udp_field(checksum::add(all, !field));
    header[6..8].copy_from_slice(&right.to_ne_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.1.0.2:20000 to 10.1.0.1:30000, a 12-byte RTP header, checksums right.
    fn frame() -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        let mut ip = vec![
            0x45, 0xb8, 0, 40, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 2, 10, 1, 0, 1,
        ];
        let sum = checksum::sum(&ip);
        ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
        bytes.extend(ip);
        bytes.extend([0x4e, 0x20, 0x75, 0x30, 0, 20, 0, 0]);
        bytes.extend([0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4]);
        let sum = checksum::add(checksum::sum(&bytes[26..]), checksum::udp_constant(20));
        bytes[40..42].copy_from_slice(&checksum::udp_field(sum).to_be_bytes());
        bytes
    }

    fn ask(frame: &[u8], checksums: ReceivedChecksums) -> Result<Arrival, DropReason> {
        headers(frame).and_then(|headers| classify(frame, &headers, checksums))
    }

    #[test]
    fn a_sound_packet_arrives_with_its_fields() {
        let frame = frame();
        let arrival = ask(&frame, ReceivedChecksums::MayBeUnfinished).expect("sound");
        assert_eq!(arrival.source, 0x0a01_0002);
        assert_eq!(arrival.destination, 0x0a01_0001);
        assert_eq!((arrival.source_port, arrival.port), (20_000, 30_000));
        assert_eq!((arrival.payload, arrival.payload_len), (42, 12));
        assert_eq!(arrival.traffic_class, 0xb8);
        assert_eq!(arrival.content, Content::Rtp);
        assert_eq!(
            arrival.udp_checksum,
            u16::from_be_bytes([frame[40], frame[41]])
        );
    }

    #[test]
    fn every_truncation_is_counted_as_one() {
        let frame = frame();
        for len in 0..frame.len() {
            let reason = ask(&frame[..len], ReceivedChecksums::Finished);
            assert_eq!(reason, Err(DropReason::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn trailing_padding_is_ignored() {
        let mut frame = frame();
        let arrival = ask(&frame, ReceivedChecksums::MayBeUnfinished);
        frame.extend([0xaa; 6]);
        assert_eq!(ask(&frame, ReceivedChecksums::MayBeUnfinished), arrival);
    }

    #[test]
    fn an_unfinished_checksum_is_finished_and_a_wrong_one_dropped() {
        let right = frame();
        let mut unfinished = right.clone();
        let pseudo = checksum::add(checksum::sum(&right[26..34]), checksum::udp_constant(20));
        unfinished[40..42].copy_from_slice(&pseudo.to_be_bytes());
        assert_eq!(
            ask(&unfinished, ReceivedChecksums::MayBeUnfinished),
            ask(&right, ReceivedChecksums::Finished)
        );
        let mut wrong = right;
        wrong[53] ^= 1;
        let verdict = ask(&wrong, ReceivedChecksums::MayBeUnfinished);
        assert_eq!(verdict, Err(DropReason::BadUdpChecksum));
        // From a wire it is passed on, still wrong, for the receiver to see.
        assert!(ask(&wrong, ReceivedChecksums::Finished).is_ok());
    }

    #[test]
    fn lengths_that_contradict_each_other_are_truncation() {
        for (at, value) in [(16, 41_u16), (16, 27), (38, 7), (38, 21)] {
            let mut frame = frame();
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
            if at == 16 {
                frame[24..26].fill(0);
                let sum = checksum::sum(&frame[14..34]);
                frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
            }
            let verdict = ask(&frame, ReceivedChecksums::Finished);
            assert_eq!(verdict, Err(DropReason::Truncated), "{value} at {at}");
        }
    }

    #[test]
    fn what_the_kernel_should_have_kept_is_not_media() {
        for (at, value) in [
            (12, 0x86),
            (14, 0x46),
            (14, 0x65),
            (20, 0x20),
            (21, 1),
            (23, 6),
        ] {
            let mut frame = frame();
            frame[at] = value;
            assert_eq!(headers(&frame), Err(DropReason::NotMedia), "byte {at}");
        }
    }

    #[test]
    fn contents_are_told_apart_by_their_first_bytes() {
        let mut stun = [0_u8; 20];
        stun[4..8].copy_from_slice(&stun::MAGIC_COOKIE);
        assert_eq!(content(&stun), Content::Stun);
        assert_eq!(content(&[0x80, 200, 0, 1, 0, 0, 0, 0]), Content::Rtcp);
        assert_eq!(content(&[0x80, 200, 0, 9, 0, 0, 0, 0]), Content::Unknown);
        assert_eq!(
            content(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            Content::Rtp
        );
        assert_eq!(content(&[22, 254, 253]), Content::Unknown);
        assert_eq!(content(&[]), Content::Unknown);
    }
}
