//! The memfd that holds a UMEM: what a successor process finds in it.
//!
//! ```text
//!        0 ┌──────────────────────────────────────────────┐
//!          │ magic, version, geometry                     │ written once, before the first socket
//!       64 │ owner                                        │ 0: nobody; else whoever may touch the rest
//!      128 │ free count                                   │
//!      256 │ ring sizes of 64 sockets (ifindex, queue)    │ the kernel does not report them
//!     4096 ├──────────────────────────────────────────────┤
//!          │ free list: u32 × frame count                 │ a stack: entries 0 to free count, exclusive
//!          ├──────────────────────────────────────────────┤ next multiple of 4096: `frames_offset`
//!          │ frames: frame size × frame count             │ what the kernel registers
//!          └──────────────────────────────────────────────┘
//! ```
//!
//! All numbers are in native byte order: the file never leaves the machine. A frame is pushed to the
//! free list by writing its entry before the count, and popped by lowering the count first, so that at
//! any instant, a kill included, the entries below the count are whole.

use std::mem::size_of;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Error;
use crate::umem::UmemConfig;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"AF_XDPum");
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_SIZE: usize = 4096;
pub(crate) const PAGE: usize = 4096;
pub(crate) const HUGE_PAGE: usize = 2 << 20;
/// Sockets that one UMEM can record.
pub(crate) const MAX_SOCKETS: usize = 64;
/// What the kernel keeps in front of each received packet for XDP (`XDP_PACKET_HEADROOM`).
pub(crate) const XDP_HEADROOM: u32 = 256;
/// Bounds the free list and the address arithmetic: 2^22 frames of 4 KiB are 16 GiB.
const MAX_FRAMES: u32 = 1 << 22;

/// The first page of the file.
#[repr(C, align(4096))]
pub(crate) struct Header {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) frame_size: u32,
    pub(crate) frame_count: u32,
    pub(crate) headroom: u32,
    pub(crate) frames_offset: u64,
    pub(crate) length: u64,
    pub(crate) page_size: u64,
    _pad0: [u8; 16],
    pub(crate) owner: AtomicU64,
    _pad1: [u8; 56],
    pub(crate) free_count: AtomicU32,
    _pad2: [u8; 124],
    pub(crate) sockets: [SocketRecord; MAX_SOCKETS],
}

/// The rings of one socket, as they were last made for (ifindex, queue).
#[repr(C)]
pub(crate) struct SocketRecord {
    /// 0 for an unused record.
    pub(crate) ifindex: AtomicU32,
    pub(crate) queue: AtomicU32,
    pub(crate) rx: AtomicU32,
    pub(crate) tx: AtomicU32,
    pub(crate) fill: AtomicU32,
    pub(crate) completion: AtomicU32,
    /// Whether it was bound with `XDP_USE_NEED_WAKEUP`.
    pub(crate) need_wakeup: AtomicU32,
    /// `XDP_MAX_TX_SKB_BUDGET`, 0 for the kernel's default.
    pub(crate) tx_budget: AtomicU32,
}

impl SocketRecord {
    pub(crate) fn is_of(&self, ifindex: u32, queue: u32) -> bool {
        self.ifindex.load(Ordering::Acquire) == ifindex
            && self.queue.load(Ordering::Relaxed) == queue
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.ifindex.load(Ordering::Relaxed) == 0
    }
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE);
const _: () = assert!(std::mem::offset_of!(Header, owner) == 64);
const _: () = assert!(std::mem::offset_of!(Header, free_count) == 128);
const _: () = assert!(std::mem::offset_of!(Header, sockets) == 256);

/// The sizes that follow from a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) frame_size: u32,
    pub(crate) frame_count: u32,
    pub(crate) headroom: u32,
    pub(crate) frames_offset: usize,
    /// Of the whole file, before rounding up to the page size in use.
    pub(crate) length: usize,
}

impl Geometry {
    /// Refuses what the kernel would, with a reason.
    pub(crate) fn new(config: &UmemConfig) -> Result<Self, Error> {
        let UmemConfig {
            frame_count,
            frame_size,
            headroom,
            ..
        } = *config;
        if frame_size != 2048 && frame_size != 4096 {
            return Err(Error::Geometry(format!(
                "a UMEM's frames are 2048 or 4096 bytes, not {frame_size}"
            )));
        }
        if !(1..=MAX_FRAMES).contains(&frame_count) || frame_count * (frame_size / 2048) % 2 != 0 {
            return Err(Error::Geometry(format!(
                "a UMEM has 1 to {MAX_FRAMES} frames that fill whole pages, not {frame_count} of {frame_size} bytes"
            )));
        }
        if headroom + XDP_HEADROOM >= frame_size {
            return Err(Error::Geometry(format!(
                "{headroom} bytes of headroom and the kernel's {XDP_HEADROOM} leave no room in a frame of {frame_size}"
            )));
        }
        let list = frame_count as usize * size_of::<u32>();
        let frames_offset = HEADER_SIZE + list.next_multiple_of(PAGE);
        Ok(Self {
            frame_size,
            frame_count,
            headroom,
            frames_offset,
            length: frames_offset + frame_count as usize * frame_size as usize,
        })
    }

    /// Bytes of frames.
    pub(crate) fn frames_length(&self) -> usize {
        self.frame_count as usize * self.frame_size as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(frame_count: u32, frame_size: u32, headroom: u32) -> UmemConfig {
        UmemConfig {
            frame_count,
            frame_size,
            headroom,
            ..UmemConfig::default()
        }
    }

    #[test]
    fn frames_start_on_a_page_after_the_free_list() {
        for (count, offset) in [(2, 8192), (1024, 8192), (1026, 12288), (4096, 20480)] {
            let geometry = Geometry::new(&config(count, 2048, 0)).expect("a valid geometry");
            assert_eq!(geometry.frames_offset, offset);
            assert_eq!(geometry.length, offset + count as usize * 2048);
        }
    }

    #[test]
    fn impossible_geometries_are_refused() {
        for (count, size, headroom) in [
            (0, 4096, 0),
            (3, 2048, 0),
            (MAX_FRAMES + 2, 4096, 0),
            (16, 1024, 0),
            (16, 8192, 0),
            (16, 2048, 2048 - 256),
        ] {
            let result = Geometry::new(&config(count, size, headroom));
            assert!(
                matches!(result, Err(Error::Geometry(_))),
                "{count} {size} {headroom}"
            );
        }
    }
}
