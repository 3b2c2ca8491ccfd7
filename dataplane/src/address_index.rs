//! Finds which of our media addresses a packet is for: a hash without collisions, chosen at the start
//! for the few addresses that there are.
//!
//! The buckets are allocated by [`crate::storage`]; this module only fills and reads them.

use contract::FlowKey;

use crate::classify::Family;
use crate::settings::MediaAddress;

/// A media address and where its ports are in the table's array of ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local<A> {
    number: A,
    base: u32,
    /// How many ports: none in an empty bucket.
    count: u32,
    first: u16,
}

/// The buckets of one address family, a power of two of them.
#[derive(Debug)]
struct Buckets<A> {
    all: Box<[Local<A>]>,
    multiplier: u64,
}

/// The media addresses by hash.
#[derive(Debug)]
pub struct AddressIndex {
    v4: Buckets<u32>,
    v6: Buckets<u128>,
}

/// An address as the number that is loaded from where it stands in a packet.
pub trait Number: Copy + Default + Eq {
    /// All of it in 64 bits.
    fn mixed(self) -> u64;
}

impl Number for u32 {
    #[inline]
    fn mixed(self) -> u64 {
        u64::from(self)
    }
}

impl Number for u128 {
    #[inline]
    fn mixed(self) -> u64 {
        (self as u64) ^ ((self >> 64) as u64).rotate_left(23)
    }
}

/// How many multipliers are tried for a number of buckets.
const ATTEMPTS: u64 = 1000;

impl AddressIndex {
    /// Fills empty buckets, a power of two of them for each family. Gives the buckets' fitness: `None` when
    /// no multiplier tried keeps the addresses apart, so that more buckets are needed (or an address is
    /// there twice).
    pub fn new(
        v4: Box<[Local<u32>]>,
        v6: Box<[Local<u128>]>,
        media: &[MediaAddress],
    ) -> Option<Self> {
        Some(Self {
            v4: Buckets::new(v4, media, |family, number| {
                (family == Family::V4).then_some((number as u32).to_be())
            })?,
            v6: Buckets::new(v6, media, |family, number| {
                (family == Family::V6).then_some(number.to_be())
            })?,
        })
    }

    /// Where a port of one of the addresses is in the array of ports.
    #[inline]
    pub fn find(&self, family: Family, number: u128, port: u16) -> Option<usize> {
        match family {
            Family::V4 => self.find_v4((number as u32).to_be_bytes(), port),
            Family::V6 => self.find_v6(number.to_be_bytes(), port),
        }
    }

    /// The same for an IPv4 address as it stands in a packet.
    #[inline(always)]
    pub fn find_v4(&self, address: [u8; 4], port: u16) -> Option<usize> {
        self.v4.find(u32::from_ne_bytes(address), port)
    }

    /// The same for an IPv6 address as it stands in a packet.
    #[inline(always)]
    pub fn find_v6(&self, address: [u8; 16], port: u16) -> Option<usize> {
        self.v6.find(u128::from_ne_bytes(address), port)
    }

    /// The same for a key.
    pub fn find_key(&self, key: &FlowKey) -> Option<usize> {
        let (family, number) = Family::number(key.address);
        self.find(family, number, key.port)
    }
}

impl<A: Number> Buckets<A> {
    fn new(
        mut all: Box<[Local<A>]>,
        media: &[MediaAddress],
        of_family: impl Fn(Family, u128) -> Option<A>,
    ) -> Option<Self> {
        debug_assert!(all.len().is_power_of_two());
        let multiplier = (0..ATTEMPTS).find_map(|attempt| {
            // Odd multiples of 2^64 / golden ratio (Fibonacci hashing, Knuth vol. 3 §6.4).
            let multiplier = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * attempt + 1);
            fill(&mut all, multiplier, media, &of_family).then_some(multiplier)
        })?;
        Some(Self { all, multiplier })
    }

    #[inline]
    fn find(&self, number: A, port: u16) -> Option<usize> {
        let local = self
            .all
            .get(bucket(number, self.multiplier, self.all.len()))?;
        let offset = port.wrapping_sub(local.first);
        if local.number != number || u32::from(offset) >= local.count {
            return None;
        }
        Some(local.base as usize + usize::from(offset))
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

fn fill<A: Number>(
    buckets: &mut [Local<A>],
    multiplier: u64,
    media: &[MediaAddress],
    of_family: impl Fn(Family, u128) -> Option<A>,
) -> bool {
    buckets.fill(Local::default());
    let mut base = 0;
    for one in media {
        let (family, number) = Family::number(one.address);
        let place = base;
        base += ports_of(one) as u32;
        let Some(number) = of_family(family, number) else {
            continue;
        };
        let at = bucket(number, multiplier, buckets.len());
        match buckets.get_mut(at) {
            Some(free) if free.count == 0 => {
                *free = Local {
                    number,
                    base: place,
                    count: ports_of(one) as u32,
                    first: one.ports.0,
                };
            }
            _ => return false,
        }
    }
    true
}

#[inline]
fn bucket<A: Number>(number: A, multiplier: u64, buckets: usize) -> usize {
    (number.mixed().wrapping_mul(multiplier) >> 40) as usize & (buckets - 1)
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

    fn index(buckets: usize, media: &[MediaAddress]) -> Option<AddressIndex> {
        AddressIndex::new(
            vec![Local::default(); buckets].into(),
            vec![Local::default(); buckets].into(),
            media,
        )
    }

    #[test]
    fn every_port_of_every_address_has_its_own_place() {
        let mut all = vec![media("fd00::1", 20_000, 20_009), media("::10.0.0.1", 5, 5)];
        all.extend((0..40).map(|host| media(&format!("10.0.0.{host}"), 40_000, 40_003)));
        let index = index(256, &all).expect("256 buckets for 42");
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
        assert!(index(64, &twice).is_none());
    }
}
