//! Which worker the packets to one address arrive at, by port: the device's hash, worked out beforehand.

use std::collections::HashMap;
use std::net::IpAddr;

use af_xdp::{HashFields, Rss};
use contract::WorkerId;

use crate::toeplitz::{self, PortHashes};

/// Where the chosen fields lie in what is hashed. The specification has four fields in a fixed order; what a
/// device does with those that are left out it does not say, so both are tried on what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The chosen fields follow each other.
    Packed,
    /// Fields that are left out are zeros.
    InPlace,
}

impl Layout {
    /// Every one of them.
    pub const ALL: [Self; 2] = [Self::Packed, Self::InPlace];
}

/// The homes of an address's ports under one layout.
#[derive(Clone, Debug)]
pub struct Foretold {
    address: u32,
    ports: Option<Box<PortHashes>>,
    /// By the remainder of the hash; `None`: a queue without a worker.
    homes: Box<[Option<WorkerId>]>,
}

impl Foretold {
    /// For packets whose hash depends on these fields of the destination. `owners`: the workers of the queues.
    pub fn new(
        layout: Layout,
        address: IpAddr,
        fields: HashFields,
        rss: &Rss,
        owners: &HashMap<u32, WorkerId>,
    ) -> Self {
        let octets: Vec<u8> = match address {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        };
        let width = octets.len() * 8;
        let by_address = fields.has(HashFields::DESTINATION);
        let (address_at, port_at) = match layout {
            Layout::Packed if by_address => (0, width),
            Layout::Packed => (0, 0),
            Layout::InPlace => (width, 2 * width + 16),
        };
        let ports = fields.has(HashFields::DESTINATION_PORT);
        Self {
            address: match by_address {
                true => toeplitz::hash(&rss.key, address_at, &octets),
                false => 0,
            },
            ports: ports.then(|| Box::new(PortHashes::new(&rss.key, port_at))),
            homes: rss
                .indirection
                .iter()
                .map(|queue| owners.get(queue).copied())
                .collect(),
        }
    }

    /// The worker that packets to this port arrive at.
    pub fn home(&self, port: u16) -> Option<WorkerId> {
        let hash = self.address ^ self.ports.as_ref().map_or(0, |ports| ports.of(port));
        let index = hash as usize % self.homes.len().max(1);
        self.homes.get(index).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::OURS;
    use af_xdp::HashFunction;

    fn rss() -> Rss {
        Rss {
            function: HashFunction::Toeplitz,
            symmetric: false,
            indirection: (0..128).map(|entry| entry % 4).collect(),
            key: (0..40_u8)
                .map(|byte| byte.wrapping_mul(37) ^ 0x6d)
                .collect(),
        }
    }

    fn owners() -> HashMap<u32, WorkerId> {
        (0..3_u16)
            .map(|queue| (u32::from(queue), WorkerId(queue + 10)))
            .collect()
    }

    /// By the definition: the hash of the whole input, the table, the queue's owner.
    fn by_definition(input: &[u8]) -> Option<WorkerId> {
        let rss = rss();
        let hash = toeplitz::hash(&rss.key, 0, input);
        let queue = rss.indirection[hash as usize % rss.indirection.len()];
        owners().get(&queue).copied()
    }

    #[test]
    fn homes_are_what_the_hash_of_the_whole_input_gives() {
        let v4: IpAddr = [192, 0, 2, 1].into();
        let v6: IpAddr = "2001:db8::7".parse().expect("an address");
        let mut seen = HashMap::new();
        for (address, octets) in [
            (v4, vec![192, 0, 2, 1]),
            (
                v6,
                "2001:db8::7"
                    .parse::<std::net::Ipv6Addr>()
                    .expect("an address")
                    .octets()
                    .into(),
            ),
        ] {
            let foretold =
                |layout, fields| Foretold::new(layout, address, fields, &rss(), &owners());
            let packed = foretold(Layout::Packed, OURS);
            let in_place = foretold(Layout::InPlace, OURS);
            let port_alone = foretold(Layout::Packed, HashFields::DESTINATION_PORT);
            let address_alone = foretold(Layout::InPlace, HashFields::DESTINATION);
            for port in [0_u16, 1, 20_000, 20_002, 29_999, 65_535] {
                let wire = port.to_be_bytes();
                let zeros = vec![0; octets.len()];
                let whole = [&octets[..], &wire].concat();
                assert_eq!(packed.home(port), by_definition(&whole));
                let spread = [&zeros[..], &octets, &[0, 0], &wire].concat();
                assert_eq!(in_place.home(port), by_definition(&spread));
                assert_eq!(port_alone.home(port), by_definition(&wire));
                assert_eq!(
                    address_alone.home(port),
                    by_definition(&[&zeros[..], &octets].concat())
                );
                *seen.entry(packed.home(port)).or_insert(0) += 1;
            }
        }
        assert!(seen.len() > 2, "{seen:?}");
    }
}
