//! The packets that arrive: one made by the book, copies of it addressed to other flows.

use std::net::{IpAddr, SocketAddr};

use contract::FlowKey;
use etherparse::PacketBuilder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::shape::{Content, Damage};

/// Bytes of RTP in a packet: 20 ms of G.711 and the header.
pub const PAYLOAD: usize = 172;
const ETHERNET: usize = 14;
const TAG: usize = 4;

/// A packet, and where its headers are.
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Vec<u8>,
    network: usize,
    transport: usize,
}

impl Packet {
    /// A packet that a party sends, with checksums that are right.
    pub fn new(from: SocketAddr, to: FlowKey, tags: usize, content: Content) -> Self {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 2, 0], [2, 0, 0, 0, 1, 0]);
        let (builder, header) = match (from.ip(), to.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                (ethernet.ipv4(from.octets(), to.octets(), 63), 20)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                (ethernet.ipv6(from.octets(), to.octets(), 63), 40)
            }
            _ => unreachable!("both are on the receiving side"),
        };
        let mut bytes = Vec::new();
        builder
            .udp(from.port(), to.port)
            .write(&mut bytes, &payload(content))
            .expect("a vector takes any packet");
        for _ in 0..tags {
            let at = 12;
            bytes.splice(at..at, [0x81, 0, 0, 7]);
        }
        let network = ETHERNET + tags * TAG;
        Self {
            bytes,
            network,
            transport: network + header,
        }
    }

    /// Its length.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes, which none has.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes a copy that is directed to another flow, its checksums right (RFC 1624), and damages it then.
    pub fn write(&self, frame: &mut [u8], to: &FlowKey, damage: Damage) {
        frame[..self.bytes.len()].copy_from_slice(&self.bytes);
        let udp = self.transport;
        let mut sum = u32::from(!u16::from_be_bytes([frame[udp + 6], frame[udp + 7]]));
        let mut put = |at: usize, new: &[u8]| {
            for (offset, pair) in new.chunks_exact(2).enumerate() {
                let at = at + 2 * offset;
                sum += u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]]));
                sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
                frame[at..at + 2].copy_from_slice(pair);
            }
        };
        match to.address {
            IpAddr::V4(v4) => put(self.network + 16, &v4.octets()),
            IpAddr::V6(v6) => put(self.network + 24, &v6.octets()),
        }
        put(udp + 2, &to.port.to_be_bytes());
        let checksum = match !folded(sum) {
            0 => 0xffff,
            right => right,
        };
        frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
        if to.address.is_ipv4() {
            let header = &mut frame[self.network..self.transport];
            header[10..12].fill(0);
            let words = header.chunks_exact(2);
            let sum = words.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let checksum = !folded(sum.sum());
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        match damage {
            Damage::None | Damage::Cut => {}
            Damage::Protocol => frame[self.network + 9] = 6,
            Damage::Header => frame[self.network + 4] ^= 1,
            Damage::Payload => frame[udp + 30] ^= 1,
            Damage::Source => frame[udp + 1] ^= 1,
        }
    }
}

const fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn payload(content: Content) -> Vec<u8> {
    let (mut bytes, len) = match content {
        Content::Rtp => (vec![0x80, 8, 0, 1, 0, 0, 0, 160], PAYLOAD),
        Content::Rtcp => (vec![0x81, 201, 0, 7], 32),
        Content::Stun => (vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], 20),
        Content::Noise => (vec![0x16, 0xfe, 0xfd], PAYLOAD),
    };
    let mut rng = StdRng::seed_from_u64(8);
    bytes.resize_with(len, || rng.random());
    bytes
}
