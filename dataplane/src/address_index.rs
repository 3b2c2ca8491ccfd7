//! Finds which of our media addresses a packet is for: a hash without collisions, chosen at the start
//! for the few addresses that there are.
//!
//! The buckets are allocated by [`crate::storage`]; this module only fills and reads them.

use contract::FlowKey;

use crate::classify::Family;
use crate::settings::MediaAddress;

/// A media address and where its ports are in the table's array of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    number: u128,
    family: Family,
    first: u16,
    last: u16,
    base: u32,
}

/// The media addresses by hash.
#[derive(Debug)]
pub struct AddressIndex {
    /// A power of two of buckets.
    buckets: Box<[Option<Local>]>,
    multiplier: u64,
}

/// How many multipliers are tried for a number of buckets.
const ATTEMPTS: u64 = 1000;

impl AddressIndex {
    /// Fills empty buckets, a power of two of them. Gives the buckets' fitness: `None` when no multiplier
    /// tried keeps the addresses apart, so that more buckets are needed (or an address is there twice).
    pub fn new(mut buckets: Box<[Option<Local>]>, media: &[MediaAddress]) -> Option<Self> {
        debug_assert!(buckets.len().is_power_of_two());
        (0..ATTEMPTS)
            .find_map(|attempt| {
                // Odd multiples of 2^64 / golden ratio (Fibonacci hashing, Knuth vol. 3 §6.4).
                let multiplier = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * attempt + 1);
                fill(&mut buckets, multiplier, media).then_some(multiplier)
            })
            .map(|multiplier| Self {
                buckets,
                multiplier,
            })
    }

    /// Where a port of one of the addresses is in the array of ports.
    #[inline]
    pub fn find(&self, family: Family, number: u128, port: u16) -> Option<usize> {
        let bucket = bucket(family, number, self.multiplier, self.buckets.len());
        let local = self.buckets.get(bucket)?.as_ref()?;
        let ours = local.number == number && local.family == family;
        if !ours || port < local.first || port > local.last {
            return None;
        }
        Some(local.base as usize + usize::from(port - local.first))
    }

    /// The same for a key.
    pub fn find_key(&self, key: &FlowKey) -> Option<usize> {
        let (family, number) = Family::number(key.address);
        self.find(family, number, key.port)
    }
}

/// How many ports the addresses have together.
pub fn ports(media: &[MediaAddress]) -> usize {
    media.iter().map(ports_of).sum()
}

fn ports_of(media: &MediaAddress) -> usize {
    let (first, last) = media.ports;
    usize::from(last.saturating_sub(first)) + 1
}

fn fill(buckets: &mut [Option<Local>], multiplier: u64, media: &[MediaAddress]) -> bool {
    buckets.fill(None);
    let mut base = 0;
    for one in media {
        let (family, number) = Family::number(one.address);
        let at = bucket(family, number, multiplier, buckets.len());
        match buckets.get_mut(at) {
            Some(free @ None) => {
                *free = Some(Local {
                    number,
                    family,
                    first: one.ports.0,
                    last: one.ports.1,
                    base,
                });
            }
            _ => return false,
        }
        base += ports_of(one) as u32;
    }
    true
}

#[inline]
const fn bucket(family: Family, number: u128, multiplier: u64, buckets: usize) -> usize {
    let family = (family as u64) << 33;
    let mixed = (number as u64) ^ ((number >> 64) as u64).rotate_left(23) ^ family;
    (mixed.wrapping_mul(multiplier) >> 40) as usize & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::DeviceId;
    use std::net::IpAddr;

    fn media(address: &str, first: u16, last: u16) -> MediaAddress {
        MediaAddress {
            device: DeviceId(0),
            address: address.parse().expect("an address"),
            ports: (first, last),
        }
    }

    #[test]
    fn every_port_of_every_address_has_its_own_place() {
        let mut all = vec![media("fd00::1", 20_000, 20_009), media("::10.0.0.1", 5, 5)];
        all.extend((0..40).map(|host| media(&format!("10.0.0.{host}"), 40_000, 40_003)));
        let index = AddressIndex::new(vec![None; 256].into(), &all).expect("256 buckets for 42");
        let mut places = Vec::new();
        for one in &all {
            for port in one.ports.0..=one.ports.1 {
                let address: IpAddr = one.address;
                places.push(index.find_key(&FlowKey { address, port }).expect("ours"));
            }
        }
        assert_eq!(places, (0..ports(&all)).collect::<Vec<_>>());
        for (address, port) in [
            ("fd00::1", 19_999),
            ("fd00::1", 20_010),
            ("fd00::2", 20_000),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(index.find_key(&FlowKey { address, port }), None);
        }
        // The same number in the other family is another address.
        assert_eq!(index.find(Family::V6, 0x0a00_0002, 40_000), None);
    }

    #[test]
    fn an_address_twice_is_never_kept_apart() {
        let twice = [media("10.0.0.1", 2, 3), media("10.0.0.1", 4, 5)];
        assert!(AddressIndex::new(vec![None; 64].into(), &twice).is_none());
    }
}
