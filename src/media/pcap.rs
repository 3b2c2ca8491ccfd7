//! The packets of a recording, as a file that everybody reads: pcap, with IP as the link layer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::PacketBuilder;

/// LINKTYPE_RAW: each packet begins with its IPv4 or IPv6 header.
const RAW: u32 = 101;
/// Times in microseconds, and the byte order of whoever wrote it: ours is the little end first.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
/// No packet is longer.
const LONGEST: u32 = 65_535;
/// What the headers say that we make.
const HOPS: u8 = 64;

/// What a file begins with.
pub(crate) fn heading() -> Vec<u8> {
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    bytes.extend(VERSION.map(u16::to_le_bytes).concat());
    // The time zone and its accuracy, which nobody uses.
    bytes.extend([0; 8]);
    bytes.extend(LONGEST.to_le_bytes());
    bytes.extend(RAW.to_le_bytes());
    bytes
}

/// Appends a packet with this payload of UDP; `wall` is since 1970. Addresses of two families become IPv6.
pub(crate) fn append(
    file: &mut Vec<u8>,
    wall: Duration,
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) {
    let payload = &payload[..payload.len().min(60_000)];
    let builder = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), HOPS)
        }
        (source, destination) => PacketBuilder::ipv6(octets(source), octets(destination), HOPS),
    };
    let builder = builder.udp(source.port(), destination.port());
    let length = builder.size(payload.len()) as u32;
    file.extend((wall.as_secs() as u32).to_le_bytes());
    file.extend(wall.subsec_micros().to_le_bytes());
    file.extend([length.to_le_bytes(); 2].concat());
    let start = file.len();
    // It fails for what is too long, and for writers that fail.
    if builder.write(file, payload).is_err() {
        file.truncate(start - 16);
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use etherparse::{SlicedPacket, TransportSlice};

    /// A packet that was read back: when, from, to, payload.
    pub(crate) type Read = (Duration, SocketAddr, SocketAddr, Vec<u8>);

    /// Reads a file.
    pub(crate) fn read(file: &[u8]) -> Vec<Read> {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four"));
        assert_eq!((word(0), word(16), word(20)), (MAGIC, LONGEST, RAW));
        let (mut at, mut packets) = (24, Vec::new());
        while at < file.len() {
            let wall = Duration::new(word(at).into(), word(at + 4) * 1000);
            let length = word(at + 8) as usize;
            assert_eq!(word(at + 12) as usize, length);
            let bytes = &file[at + 16..at + 16 + length];
            at += 16 + length;
            let sliced = SlicedPacket::from_ip(bytes).expect("IP");
            let (from, to): (IpAddr, IpAddr) = match sliced.net.expect("IP") {
                etherparse::NetSlice::Ipv4(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                etherparse::NetSlice::Ipv6(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                other => panic!("{other:?}"),
            };
            let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("no UDP");
            };
            let from = SocketAddr::new(from, udp.source_port());
            let to = SocketAddr::new(to, udp.destination_port());
            packets.push((wall, from, to, udp.payload().to_vec()));
        }
        packets
    }

    #[test]
    fn both_families_are_read_back() {
        let wall = Duration::new(1_700_000_000, 123_456_000);
        let four: [SocketAddr; 2] =
            ["10.0.0.1:4000", "10.0.0.2:5000"].map(|a| a.parse().expect("one"));
        let six: [SocketAddr; 2] =
            ["[2001:db8::1]:4000", "[2001:db8::2]:5000"].map(|a| a.parse().expect("one"));
        let mut file = heading();
        append(&mut file, wall, four[0], four[1], b"RTP");
        append(&mut file, wall, six[1], six[0], b"");
        append(&mut file, wall, four[0], six[0], &[7; 70_000]);
        let mapped = "[::ffff:10.0.0.1]:4000".parse().expect("one");
        assert_eq!(
            read(&file),
            [
                (wall, four[0], four[1], b"RTP".to_vec()),
                (wall, six[1], six[0], Vec::new()),
                (wall, mapped, six[0], vec![7; 60_000]),
            ]
        );
    }
}
