//! The Toeplitz hash of receive-side scaling, as Microsoft specified it and nearly every NIC does it.
//!
//! The hash of an input is the exclusive or of the key's 32-bit windows at the positions of the input's one bits.
//! It is linear, so that the hash of (address, port) is that of the address alone, of the port's high byte alone
//! and of its low byte alone, exclusive-ored: a whole port range costs two small tables.

/// The hash of `input`, whose first bit is at bit `at` of the whole input; what lies before counts as zeros. A key
/// that is too short for the input goes on with zeros.
pub fn hash(key: &[u8], at: usize, input: &[u8]) -> u32 {
    let bits = input.iter().enumerate().flat_map(|(index, byte)| {
        let ones = (0..8).filter(move |bit| byte & (0x80 >> bit) != 0);
        ones.map(move |bit| at + index * 8 + bit)
    });
    bits.fold(0, |hash, bit| hash ^ window(key, bit))
}

/// The 32 bits of the key from this bit on.
fn window(key: &[u8], bit: usize) -> u32 {
    let byte = |offset: usize| u64::from(key.get(bit / 8 + offset).copied().unwrap_or(0));
    let five = (0..5).fold(0, |bits, offset| bits << 8 | byte(offset));
    // The upper 32 of the 40 bits, after what precedes the window is shifted out.
    (five << (bit % 8) >> 8) as u32
}

/// The hashes of all ports, for one position of the port in the input.
#[derive(Clone, Debug)]
pub struct PortHashes {
    high: [u32; 256],
    low: [u32; 256],
}

impl PortHashes {
    /// For ports whose first bit is at bit `at` of the input.
    pub fn new(key: &[u8], at: usize) -> Self {
        let of = |at: usize| {
            move |byte: usize| {
                let byte = byte as u8;
                hash(key, at, &[byte])
            }
        };
        Self {
            high: std::array::from_fn(of(at)),
            low: std::array::from_fn(of(at + 8)),
        }
    }

    /// The port's part of the hash.
    pub fn of(&self, port: u16) -> u32 {
        let [high, low] = port.to_be_bytes();
        self.high[usize::from(high)] ^ self.low[usize::from(low)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    /// The key and the vectors of Microsoft's "Verifying the RSS Hash Calculation".
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn bytes(address: &str) -> Vec<u8> {
        match address.parse().expect("an address") {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        }
    }

    /// Destination, its port, source, its port, the hash with ports, the hash of addresses alone.
    const VECTORS: [(&str, u16, &str, u16, u32, u32); 8] = [
        (
            "161.142.100.80",
            1766,
            "66.9.149.187",
            2794,
            0x51cc_c178,
            0x323e_8fc2,
        ),
        (
            "65.69.140.83",
            4739,
            "199.92.111.2",
            14230,
            0xc626_b0ea,
            0xd718_262a,
        ),
        (
            "12.22.207.184",
            38024,
            "24.19.198.95",
            12898,
            0x5c2b_394a,
            0xd2d0_a5de,
        ),
        (
            "209.142.163.6",
            2217,
            "38.27.205.30",
            48228,
            0xafc7_327f,
            0x8298_9176,
        ),
        (
            "202.188.127.2",
            1303,
            "153.39.163.191",
            44251,
            0x10e8_28a2,
            0x5d18_09c5,
        ),
        (
            "3ffe:2501:200:3::1",
            1766,
            "3ffe:2501:200:1fff::7",
            2794,
            0x4020_7d3d,
            0x2cc1_8cd5,
        ),
        (
            "ff02::1",
            4739,
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            0xdde5_1bbf,
            0x0f0c_461c,
        ),
        (
            "fe80::200:f8ff:fe21:67cf",
            38024,
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            0x02d1_feef,
            0x4b61_e985,
        ),
    ];

    #[test]
    fn the_published_vectors() {
        for (to, to_port, from, from_port, with_ports, without) in VECTORS {
            let addresses = [bytes(from), bytes(to)].concat();
            assert_eq!(hash(&KEY, 0, &addresses), without, "{to}");
            let ports = [from_port.to_be_bytes(), to_port.to_be_bytes()].concat();
            let whole = [addresses.clone(), ports].concat();
            assert_eq!(hash(&KEY, 0, &whole), with_ports, "{to}");
        }
    }

    #[test]
    fn parts_are_hashed_by_themselves() {
        for (to, to_port, from, from_port, with_ports, _) in VECTORS {
            let (from, to) = (bytes(from), bytes(to));
            let width = from.len() * 8;
            let parts = [
                hash(&KEY, 0, &from),
                hash(&KEY, width, &to),
                PortHashes::new(&KEY, 2 * width).of(from_port),
                PortHashes::new(&KEY, 2 * width + 16).of(to_port),
            ];
            assert_eq!(parts.iter().fold(0, |all, part| all ^ part), with_ports);
        }
    }

    #[test]
    fn behind_the_keys_end_there_are_zeros() {
        assert_eq!(hash(&KEY, 320, &[0xff]), 0);
        assert_eq!(hash(&[0x80], 0, &[0x80]), 0x8000_0000);
    }
}
