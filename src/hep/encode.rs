//! A SIP message as a HEP3 packet (Homer Encapsulation Protocol, version 3): chunks of vendor 0, each with its
//! type and length.
//!
//! ```text
//!   "HEP3" | length, 2 bytes | chunk | chunk | …        chunk: vendor 2 | type 2 | length 2, with these six | value
//! ```

use std::net::{IpAddr, SocketAddr};

const FAMILY: u16 = 0x0001;
const PROTOCOL: u16 = 0x0002;
const IPV4_SOURCE: u16 = 0x0003;
const IPV4_DESTINATION: u16 = 0x0004;
const IPV6_SOURCE: u16 = 0x0005;
const IPV6_DESTINATION: u16 = 0x0006;
const SOURCE_PORT: u16 = 0x0007;
const DESTINATION_PORT: u16 = 0x0008;
const SECONDS: u16 = 0x0009;
const MICROSECONDS: u16 = 0x000a;
const PROTOCOL_TYPE: u16 = 0x000b;
const AGENT: u16 = 0x000c;
const PASSWORD: u16 = 0x000e;
const PAYLOAD: u16 = 0x000f;
const CORRELATION: u16 = 0x0011;

/// AF_INET and AF_INET6, as Linux numbers them: so does HEP.
const INET: u8 = 2;
const INET6: u8 = 10;
/// The protocol type of SIP.
const SIP: u8 = 1;

/// The largest payload of a UDP datagram over IPv4.
const MOST: usize = 65_507;

/// What a packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// The IP protocol: 17 for UDP, 6 for TCP.
    pub(super) protocol: u8,
    /// Seconds since 1970, and microseconds.
    pub(super) time: (u32, u32),
    /// The number of the one who captured it.
    pub(super) agent: u32,
    pub(super) password: Option<&'a str>,
    pub(super) correlation: Option<&'a str>,
    pub(super) payload: &'a [u8],
}

impl Packet<'_> {
    /// The packet's bytes; `None` when it does not fit a datagram.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = b"HEP3\0\0".to_vec();
        let family = if self.source.is_ipv4() { INET } else { INET6 };
        chunk(&mut bytes, FAMILY, &[family]);
        chunk(&mut bytes, PROTOCOL, &[self.protocol]);
        address(&mut bytes, self.source.ip(), IPV4_SOURCE, IPV6_SOURCE);
        let destination = self.destination.ip();
        address(&mut bytes, destination, IPV4_DESTINATION, IPV6_DESTINATION);
        chunk(&mut bytes, SOURCE_PORT, &self.source.port().to_be_bytes());
        let port = self.destination.port().to_be_bytes();
        chunk(&mut bytes, DESTINATION_PORT, &port);
        chunk(&mut bytes, SECONDS, &self.time.0.to_be_bytes());
        chunk(&mut bytes, MICROSECONDS, &self.time.1.to_be_bytes());
        chunk(&mut bytes, PROTOCOL_TYPE, &[SIP]);
        chunk(&mut bytes, AGENT, &self.agent.to_be_bytes());
        if let Some(password) = self.password {
            chunk(&mut bytes, PASSWORD, password.as_bytes());
        }
        if let Some(correlation) = self.correlation {
            chunk(&mut bytes, CORRELATION, correlation.as_bytes());
        }
        if bytes.len() + 6 + self.payload.len() > MOST {
            return None;
        }
        chunk(&mut bytes, PAYLOAD, self.payload);
        let length = u16::try_from(bytes.len()).ok()?;
        bytes.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        Some(bytes)
    }
}

fn address(bytes: &mut Vec<u8>, address: IpAddr, four: u16, six: u16) {
    match address {
        IpAddr::V4(address) => chunk(bytes, four, &address.octets()),
        IpAddr::V6(address) => chunk(bytes, six, &address.octets()),
    }
}

fn chunk(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 6).unwrap_or(u16::MAX);
    bytes.extend([0, 0]);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every chunk by its type. Panics where the packet is no HEP3.
    pub(in crate::hep) fn decode(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        let (head, mut rest) = packet.split_at(6);
        assert_eq!(&head[..4], b"HEP3");
        assert_eq!(
            usize::from(u16::from_be_bytes([head[4], head[5]])),
            packet.len()
        );
        let mut chunks = BTreeMap::new();
        while !rest.is_empty() {
            assert_eq!(&rest[..2], [0, 0], "the vendor");
            let kind = u16::from_be_bytes([rest[2], rest[3]]);
            let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
            let (chunk, after) = rest.split_at(length);
            assert!(
                chunks.insert(kind, chunk[6..].to_vec()).is_none(),
                "twice: {kind}"
            );
            rest = after;
        }
        chunks
    }

    fn packet<'a>(source: &str, destination: &str, payload: &'a [u8]) -> Packet<'a> {
        Packet {
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            protocol: 17,
            time: (1_700_000_000, 250_000),
            agent: 2001,
            password: Some("secret"),
            correlation: Some("17"),
            payload,
        }
    }

    #[test]
    fn every_chunk_reads_back() {
        let message = b"OPTIONS sip:a SIP/2.0\r\n\r\n";
        let bytes = packet("10.0.0.1:5060", "10.0.0.2:5080", message).encode();
        let chunks = decode(&bytes.expect("it fits"));
        let expected: BTreeMap<u16, Vec<u8>> = BTreeMap::from([
            (1, vec![2]),
            (2, vec![17]),
            (3, vec![10, 0, 0, 1]),
            (4, vec![10, 0, 0, 2]),
            (7, 5060_u16.to_be_bytes().to_vec()),
            (8, 5080_u16.to_be_bytes().to_vec()),
            (9, 1_700_000_000_u32.to_be_bytes().to_vec()),
            (10, 250_000_u32.to_be_bytes().to_vec()),
            (11, vec![1]),
            (12, 2001_u32.to_be_bytes().to_vec()),
            (14, b"secret".to_vec()),
            (15, message.to_vec()),
            (17, b"17".to_vec()),
        ]);
        assert_eq!(chunks, expected);
        let six = packet("[fd00::1]:5060", "[fd00::2]:5061", message).encode();
        let chunks = decode(&six.expect("it fits"));
        assert_eq!(chunks[&1], [10]);
        assert_eq!((chunks[&5].len(), chunks[&6][15]), (16, 2));
        assert!(!chunks.contains_key(&3));
    }

    #[test]
    fn what_fits_no_datagram_is_none() {
        let long = vec![b'x'; 65_500];
        assert!(packet("10.0.0.1:1", "10.0.0.2:2", &long).encode().is_none());
    }
}
