//! Allocates a worker's tables, once, before its first packet. The pure modules work on what they are
//! given here.

use std::ops::Range;
use std::sync::atomic::AtomicU64;

use af_xdp::numa::span;

use crate::address_index::{self, AddressIndex, Local, MARGIN};
use crate::flow_table::{Arrays, Cold, FlowTable, Handled, Hot, Slot, Watch};
use crate::news::News;
use crate::settings::MediaAddress;

/// Why the tables cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// An address of the settings is there twice.
    #[error("a media address is configured twice")]
    AddressTwice,
    /// More flows than slots can be numbered.
    #[error("the flow capacity must be between 1 and {}", u32::MAX - 1)]
    Capacity,
}

/// Things of which there are usually few, and room for many: memory for them comes with their first use.
#[derive(Debug)]
pub struct Pool<T> {
    /// Never grows beyond what was reserved at the start.
    all: Vec<T>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T> Pool<T> {
    /// Room for so many.
    pub fn new(capacity: usize) -> Self {
        Self {
            all: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Puts one in and says where, if there is room.
    pub fn put(&mut self, item: T) -> Option<u32> {
        if let Some(at) = self.free.pop() {
            *self.get_mut(at)? = item;
            return Some(at);
        }
        if self.all.len() == self.capacity {
            return None;
        }
        self.all.push(item);
        Some(self.all.len() as u32 - 1)
    }

    /// The one at a place.
    pub fn get(&self, at: u32) -> Option<&T> {
        self.all.get(at as usize)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.all.get_mut(at as usize)
    }

    /// The one at a place, which was put there and not freed yet, is not needed any more.
    pub fn free(&mut self, at: u32) {
        self.free.push(at);
    }
}

/// An empty flow table.
pub fn flow_table(media: &[MediaAddress], capacity: usize) -> Result<FlowTable, StorageError> {
    if capacity == 0 || capacity >= u32::MAX as usize {
        return Err(StorageError::Capacity);
    }
    let arrays = Arrays {
        ports: filled(address_index::ports(media), || Slot::NONE),
        hot: filled(capacity, Hot::default),
        wide: zeroed(capacity),
        apart: zeroed(capacity),
        watch: filled(capacity, Watch::default),
        cold: filled(capacity, Cold::default),
        handled: Handled::new(vec![0; capacity].into(), Pool::new(capacity)),
    };
    Ok(FlowTable::new(address_index(media)?, arrays))
}

/// An array in pages of 2 MB as far as the kernel has them: at random places, a translation is then nearly always
/// in the processor's cache of them.
pub fn filled<T>(len: usize, element: impl FnMut() -> T) -> Box<[T]> {
    let mut all = Vec::with_capacity(len);
    af_xdp::wish_huge_pages(all.spare_capacity_mut());
    all.resize_with(len, element);
    all.into()
}

/// An array that is never written here: the kernel gives zeroed pages when they are first used. (The standard
/// library asks for such memory by itself for elements that it sees to be zero: numbers, and arrays of up
/// to 16.)
fn zeroed(len: usize) -> Box<[[[u8; 16]; 4]]> {
    let all = vec![[[0; 16]; 4]; len];
    af_xdp::wish_huge_pages(&all);
    all.into()
}

/// Words that others read while they are written: memory for them comes with their use, as above.
pub fn zeroed_words<const WORDS: usize>(len: usize) -> Box<[[AtomicU64; WORDS]]>
where
    [AtomicU64; WORDS]: bytemuck::Zeroable,
{
    bytemuck::zeroed_slice_box(len)
}

/// The addresses of a table's arrays, but those whose memory comes with their use.
pub fn spans(table: &FlowTable) -> [Range<usize>; 4] {
    let Arrays {
        ports,
        hot,
        wide: _,
        apart: _,
        watch,
        cold,
        handled: _,
    } = &table.arrays;
    [within_margins(ports), span(hot), span(watch), span(cold)]
}

/// The addresses of an array's places for ports.
pub fn within_margins<T>(ports: &[T]) -> Range<usize> {
    span(&ports[MARGIN..ports.len() - MARGIN])
}

/// The index of the media addresses.
pub fn address_index(media: &[MediaAddress]) -> Result<AddressIndex, StorageError> {
    // Four buckets an address and doubling from there: a thousand multipliers nearly always suffice
    // at the first size; 2^20 buckets keep any two different addresses apart in practice.
    let first = (4 * media.len()).next_power_of_two().max(8);
    std::iter::successors(Some(first), |size| Some(size * 2))
        .take_while(|size| *size <= 1 << 20)
        .find_map(|size| {
            let v4 = vec![Local::default(); size].into();
            let v6 = vec![Local::default(); size].into();
            AddressIndex::new(v4, v6, media)
        })
        .ok_or(StorageError::AddressTwice)
}

/// Room for news of every slot.
pub fn news(capacity: usize) -> News {
    News::new(filled(capacity, || 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::DeviceId;

    #[test]
    fn hundreds_of_addresses_find_buckets() {
        let media: Vec<_> = (0..500_u32)
            .map(|host| MediaAddress {
                device: DeviceId(0),
                address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + host).into(),
                ports: (20_000, 20_001),
            })
            .collect();
        assert!(address_index(&media).is_ok());
        let twice = [media[0], media[0]];
        assert_eq!(
            address_index(&twice).map(|_| ()),
            Err(StorageError::AddressTwice)
        );
    }

    #[test]
    fn a_table_for_no_flow_is_refused() {
        assert!(matches!(flow_table(&[], 0), Err(StorageError::Capacity)));
    }
}
