//! Frames as a party sends them: headers prepared once for each flow, payload and UDP checksum for each packet.

use std::net::{IpAddr, SocketAddr};

use super::{ETHERNET, FlowNumber, HEADERS_V4, HEADERS_V6, Payload, Stamp, sum};
use crate::streams::Content;

/// The TTL or hop limit that packets are sent with.
pub const TTL: u8 = 64;
const UDP: u8 = 17;

/// What all frames of a side have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The device's own MAC address.
    pub own: [u8; 6],
    /// The next hop's.
    pub next_hop: [u8; 6],
    /// The DSCP that packets are marked with.
    pub dscp: u8,
}

/// One flow as its sender knows it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Ethernet, IP and UDP headers, the UDP checksum zero.
    headers: [u8; HEADERS_V6],
    headers_len: usize,
    /// Of the pseudo-header and the UDP header.
    sum: u64,
    flow: FlowNumber,
    content: Content,
    payload_len: usize,
    /// The sequence of the next packet.
    next: u64,
}

impl Outgoing {
    /// A flow from `source` to `destination`, with `payload_len` bytes of UDP payload.
    pub fn new(
        flow: FlowNumber,
        content: Content,
        (source, destination): (SocketAddr, SocketAddr),
        link: &Link,
        payload_len: usize,
    ) -> Self {
        let udp_len = 8 + payload_len as u16;
        let mut headers = [0; HEADERS_V6];
        headers[..6].copy_from_slice(&link.next_hop);
        headers[6..12].copy_from_slice(&link.own);
        let traffic_class = link.dscp << 2;
        let headers_len = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                headers[12..14].copy_from_slice(&[0x08, 0x00]);
                let ip = &mut headers[ETHERNET..ETHERNET + 20];
                ip[0] = 0x45;
                ip[1] = traffic_class;
                ip[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
                ip[6] = 0x40; // don't fragment
                ip[8] = TTL;
                ip[9] = UDP;
                ip[12..16].copy_from_slice(&source.octets());
                ip[16..20].copy_from_slice(&destination.octets());
                let checksum = !sum::fold(sum::wide(ip));
                ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
                HEADERS_V4
            }
            (source, destination) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                headers[12..14].copy_from_slice(&[0x86, 0xdd]);
                let ip = &mut headers[ETHERNET..ETHERNET + 40];
                ip[0] = 0x60 | traffic_class >> 4;
                ip[1] = traffic_class << 4;
                ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
                ip[6] = UDP;
                ip[7] = TTL;
                ip[8..24].copy_from_slice(&octets(source));
                ip[24..40].copy_from_slice(&octets(destination));
                HEADERS_V6
            }
        };
        let udp = &mut headers[headers_len - 8..headers_len];
        udp[..2].copy_from_slice(&source.port().to_be_bytes());
        udp[2..4].copy_from_slice(&destination.port().to_be_bytes());
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
        Self {
            sum: sum_of_udp(source, destination, udp_len),
            headers,
            headers_len,
            flow,
            content,
            payload_len,
            next: 0,
        }
    }

    /// The same, its first packet with this sequence.
    pub fn beginning_at(self, sequence: u64) -> Self {
        Self {
            next: sequence,
            ..self
        }
    }

    /// Its number.
    pub fn flow(&self) -> FlowNumber {
        self.flow
    }

    /// How many packets have been written.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// The frame's length in bytes.
    pub fn frame_len(&self) -> usize {
        self.headers_len + self.payload_len
    }

    /// Writes the flow's next packet to the start of `frame`, which must be long enough. Says how long it is.
    #[inline]
    pub fn write_next(&mut self, frame: &mut [u8], run: u32, trial: u32, due: u64) -> usize {
        let stamp = Stamp {
            run,
            trial,
            flow: self.flow,
            sequence: self.next,
            due,
        };
        self.next += 1;
        let length = self.headers_len + self.payload_len;
        if let Some(headers) = frame.first_chunk_mut::<HEADERS_V6>() {
            // The longer of the two: a copy of known length. The payload comes over its end.
            *headers = self.headers;
        }
        let payload = Payload::new(self.content, &stamp, self.payload_len);
        let sum = payload.write(&mut frame[self.headers_len..length]);
        let checksum = sum::udp_field(self.sum + sum);
        frame[self.headers_len - 2..self.headers_len].copy_from_slice(&checksum);
        length
    }
}

/// The sum of the pseudo-header and of the UDP header without its checksum.
pub fn sum_of_udp(source: SocketAddr, destination: SocketAddr, udp_len: u16) -> u64 {
    let mut total = 2 * u64::from(udp_len.to_be()) + u64::from(u16::from(UDP).to_be());
    for address in [source, destination] {
        total += u64::from(address.port().to_be());
        total += match address.ip() {
            IpAddr::V4(address) => sum::wide(&address.octets()),
            IpAddr::V6(address) => sum::wide(&address.octets()),
        };
    }
    total
}

/// The sum of the pseudo-header alone: what a kernel puts where hardware is to finish the checksum.
pub fn sum_of_pseudo_header(source: SocketAddr, destination: SocketAddr, udp_len: u16) -> u64 {
    let ports = u64::from(source.port().to_be()) + u64::from(destination.port().to_be());
    sum_of_udp(source, destination, udp_len) - ports - u64::from(udp_len.to_be())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_are_what_another_parser_reads(
            v6 in any::<bool>(), rtcp in any::<bool>(), hosts in any::<[u128; 2]>(),
            ports in [1_u16.., 1_u16..], words in 15_usize..=350, dscp in 0_u8..64,
            due in any::<u64>(), number in any::<u32>(), skipped in 0_usize..3,
        ) {
            let address = |host: u128, port| match v6 {
                true => SocketAddr::new(IpAddr::V6(host.into()), port),
                false => SocketAddr::new(IpAddr::V4((host as u32).into()), port),
            };
            let (source, destination) = (address(hosts[0], ports[0]), address(hosts[1], ports[1]));
            let link = Link { own: [2, 0, 0, 0, 0, 7], next_hop: [2, 0, 0, 0, 0, 9], dscp };
            let content = if rtcp { Content::Rtcp } else { Content::Rtp };
            let length = 4 * words;
            let mut flow =
                Outgoing::new(FlowNumber(number), content, (source, destination), &link, length);
            let mut frame = [0xaa; 1792];
            for _ in 0..=skipped {
                prop_assert_eq!(flow.write_next(&mut frame, 5, 6, due), flow.frame_len());
            }
            let frame = &frame[..flow.frame_len()];
            let parsed = PacketHeaders::from_ethernet_slice(frame).expect("a frame");
            let Some(etherparse::LinkHeader::Ethernet2(ethernet)) = parsed.link else {
                panic!("no Ethernet");
            };
            prop_assert_eq!(ethernet.source, link.own);
            prop_assert_eq!(ethernet.destination, link.next_hop);
            let Some(TransportHeader::Udp(udp)) = parsed.transport else { panic!("no UDP") };
            let payload = parsed.payload.slice();
            prop_assert_eq!(payload.len(), length);
            prop_assert_eq!((udp.source_port, udp.destination_port), (ports[0], ports[1]));
            prop_assert_eq!(usize::from(udp.length), 8 + length);
            let checksum = match parsed.net {
                Some(NetHeaders::Ipv4(ip, _)) => {
                    prop_assert_eq!(SocketAddr::new(IpAddr::V4(ip.source.into()), ports[0]), source);
                    prop_assert_eq!(
                        SocketAddr::new(IpAddr::V4(ip.destination.into()), ports[1]), destination);
                    prop_assert_eq!((ip.dscp.value(), ip.time_to_live), (dscp, 64));
                    prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    udp.calc_checksum_ipv4(&ip, payload)
                }
                Some(NetHeaders::Ipv6(ip, _)) => {
                    prop_assert_eq!(SocketAddr::new(IpAddr::V6(ip.source.into()), ports[0]), source);
                    prop_assert_eq!(
                        SocketAddr::new(IpAddr::V6(ip.destination.into()), ports[1]), destination);
                    prop_assert_eq!((ip.traffic_class >> 2, ip.hop_limit), (dscp, 64));
                    udp.calc_checksum_ipv6(&ip, payload)
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(checksum.expect("it fits"), udp.checksum);
            let stamp = Stamp::read(payload).expect("a stamp");
            prop_assert_eq!((stamp.sequence, stamp.due), (skipped as u64, due));
            prop_assert_eq!((stamp.run, stamp.trial, stamp.flow.0), (5, 6, number));
        }
    }

    #[test]
    fn an_unfinished_checksum_is_the_pseudo_headers_sum() {
        let address = |text: &str| text.parse().expect("an address");
        let sum = sum_of_pseudo_header(address("10.1.0.2:1"), address("10.2.0.2:9"), 180);
        // 0a01 + 0002 + 0a02 + 0002 + 0011 + 00b4
        assert_eq!(sum::fold(sum).to_ne_bytes(), 0x14cc_u16.to_be_bytes());
    }
}
