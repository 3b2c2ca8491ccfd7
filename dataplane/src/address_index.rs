//! Finds which of our media addresses a packet is for: a hash without collisions, chosen at the start
//! for the few addresses that there are.
//!
//! All of a few dozen, and of more as many as do not collide there, are in a small table of a fixed size as well,
//! where nothing has to be asked but whether it is the right one.
//!
//! The buckets are allocated by [`crate::storage`]; this module only fills and reads them.

use contract::FlowKey;

use crate::classify::Family;
use crate::settings::MediaAddress;

/// A media address and where its ports are in the table's array of ports. Words of 32 bits, so that a port
/// below the first wraps to one beyond the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local<A> {
    number: A,
    base: u32,
    /// How many ports: none in an empty bucket.
    count: u32,
    first: u32,
}

/// The buckets of one address family, a power of two of them.
#[derive(Debug)]
struct Buckets<A> {
    all: Box<[Local<A>]>,
    multiplier: u64,
    /// Their number less one.
    mask: usize,
    near: Near<A>,
}

/// Copies of the buckets that are in use, by a byte. An array for each field, so that the byte is the index.
#[derive(Debug)]
struct Near<A> {
    multiplier: u64,
    numbers: [A; NEAR],
    firsts: [u32; NEAR],
    counts: [u32; NEAR],
    bases: [u32; NEAR],
}

/// A byte's values: 4 KB for IPv4, of which packets touch four lines for each address that is in use.
const NEAR: usize = 256;

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

    /// The same, but only of the addresses that are found in the fewest instructions.
    #[inline(always)]
    pub fn find_near_v4(&self, address: [u8; 4], port: u16) -> Option<usize> {
        let number = u32::from_ne_bytes(address);
        let near = &self.v4.near;
        let at = near.index(number);
        if near.numbers[at] != number {
            return None;
        }
        near.place(at, port)
    }

    /// The same as [`AddressIndex::find`] for an IPv6 address as it stands in a packet.
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
        let multiplier =
            multipliers().find(|multiplier| fill(&mut all, *multiplier, media, &of_family))?;
        Some(Self {
            mask: all.len() - 1,
            multiplier,
            near: Near::new(&all),
            all,
        })
    }

    #[inline(always)]
    fn find(&self, number: A, port: u16) -> Option<usize> {
        let near = self.near.index(number);
        if self.near.numbers[near] == number {
            return self.near.place(near, port);
        }
        self.find_far(number, port)
    }

    #[inline(never)]
    fn find_far(&self, number: A, port: u16) -> Option<usize> {
        let local = self.all.get(bucket(number, self.multiplier, self.mask))?;
        (local.number == number).then(|| local.place(port))?
    }
}

impl<A: Number> Near<A> {
    /// Those of `all` that do not collide by the multiplier by which the most do not.
    fn new(all: &[Local<A>]) -> Self {
        let used = || all.iter().filter(|local| local.count > 0);
        let (mut best, mut most) = (Self::filled(used(), 0), 0);
        for multiplier in multipliers() {
            let next = Self::filled(used(), multiplier);
            let count = next.counts.iter().filter(|count| **count > 0).count();
            if count > most {
                (best, most) = (next, count);
            }
            if most == used().count() {
                break;
            }
        }
        best
    }

    fn filled<'a>(locals: impl Iterator<Item = &'a Local<A>>, multiplier: u64) -> Self
    where
        A: 'a,
    {
        let mut near = Self {
            multiplier,
            numbers: [A::default(); NEAR],
            firsts: [0; NEAR],
            counts: [0; NEAR],
            bases: [0; NEAR],
        };
        for local in locals {
            let at = near.index(local.number);
            if near.counts[at] == 0 {
                near.numbers[at] = local.number;
                near.firsts[at] = local.first;
                near.counts[at] = local.count;
                near.bases[at] = local.base;
            }
        }
        near
    }

    #[inline(always)]
    fn index(&self, number: A) -> usize {
        (number.mixed().wrapping_mul(self.multiplier) >> (u64::BITS - NEAR.trailing_zeros()))
            as usize
    }

    /// Where a port of the address at an index is in the array of ports.
    #[inline(always)]
    fn place(&self, index: usize, port: u16) -> Option<usize> {
        let offset = u32::from(port).wrapping_sub(self.firsts[index]);
        (offset < self.counts[index]).then(|| self.bases[index].wrapping_add(offset) as usize)
    }
}

impl<A> Local<A> {
    /// Where a port is in the array of ports, if it is one of the address's.
    #[inline(always)]
    fn place(&self, port: u16) -> Option<usize> {
        let offset = u32::from(port).wrapping_sub(self.first);
        (offset < self.count).then(|| self.base.wrapping_add(offset) as usize)
    }
}

/// Odd multiples of 2^64 / golden ratio (Fibonacci hashing, Knuth vol. 3 §6.4).
fn multipliers() -> impl Iterator<Item = u64> {
    (0..ATTEMPTS).map(|attempt| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * attempt + 1))
}

/// How many places an array of the addresses' ports has: one for each, and a margin at either end.
pub fn ports(media: &[MediaAddress]) -> usize {
    media.iter().map(ports_of).sum::<usize>() + 2 * MARGIN
}

/// Places that are no port's: a cache line of words of 32 bits, so that the lines of the others are shared with nothing
/// that is beside the array.
pub const MARGIN: usize = 16;

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
    let mut base = MARGIN as u32;
    for one in media {
        let (family, number) = Family::number(one.address);
        let place = base;
        base += ports_of(one) as u32;
        let Some(number) = of_family(family, number) else {
            continue;
        };
        let at = bucket(number, multiplier, buckets.len() - 1);
        match buckets.get_mut(at) {
            Some(free) if free.count == 0 => {
                *free = Local {
                    number,
                    base: place,
                    count: ports_of(one) as u32,
                    first: u32::from(one.ports.0),
                };
            }
            _ => return false,
        }
    }
    true
}

#[inline(always)]
fn bucket<A: Number>(number: A, multiplier: u64, mask: usize) -> usize {
    (number.mixed().wrapping_mul(multiplier) >> 40) as usize & mask
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
        let all = MARGIN..ports(&all) - MARGIN;
        assert_eq!(places, all.collect::<Vec<_>>());
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
    fn more_addresses_than_are_near_are_all_found() {
        let all: Vec<_> = (0..600_u32)
            .map(|host| {
                let last = host.to_be_bytes();
                media(&format!("10.7.{}.{}", last[2], last[3]), 7, 8)
            })
            .collect();
        let index = index(1 << 20, &all).expect("room for 600");
        let mut near = 0;
        for (number, one) in all.iter().enumerate() {
            let place = MARGIN + 2 * number + 1;
            let key = FlowKey {
                address: one.address,
                port: 8,
            };
            assert_eq!(index.find_key(&key), Some(place));
            let IpAddr::V4(address) = one.address else {
                continue;
            };
            let found = index.find_near_v4(address.octets(), 8);
            assert!(found.is_none() || found == Some(place));
            near += usize::from(found.is_some());
        }
        assert!((200..=256).contains(&near), "{near}");
        // No address, which an empty place would be taken for.
        assert_eq!(index.find_near_v4([0; 4], 0), None);
    }

    #[test]
    fn an_address_twice_is_never_kept_apart() {
        let twice = [media("10.0.0.1", 2, 3), media("10.0.0.1", 4, 5)];
        assert!(index(64, &twice).is_none());
    }
}
