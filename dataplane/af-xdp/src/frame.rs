//! A frame that user space owns, and the packet in it.

use crate::umem::UmemId;

/// The right to touch one frame of a UMEM, and where its packet lies in it.
///
/// A frame belongs to exactly one of: the free list, a ring, the kernel, or whoever holds its `Frame`.
/// The type cannot be copied, so that the bytes of a frame are only reached while no ring has it:
/// putting it on a ring consumes it, and the ring gives a new one back.
///
/// ```text
///   take_frame ──► Frame ──► transmit ──► TX ring ──► kernel ──► completion ring ──► reclaim ─┐
///       ▲            ▲ └───► free_frame ─────────────────────────────────────────────────────┐│
///   free list        └────── receive ◄─── RX ring ◄── kernel ◄── fill ring ◄─── refill ◄──┐  ││
///       ▲                                                                                 │  ││
///       └─────────────────────────────────────────────────────────────────────────────────┴──┴┘
/// ```
///
/// Dropping a `Frame` loses it until the UMEM itself ends: give it to [`crate::Umem::free_frame`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped frame is lost to its UMEM: transmit it or free it"]
pub struct Frame {
    pub(crate) umem: UmemId,
    /// Where the frame starts in this process's memory: a frame of that UMEM, seen to when this was made, so
    /// that no access has to look again.
    pub(crate) start: usize,
    /// Where the packet starts, from the start of the frame.
    pub(crate) offset: u16,
    /// The packet's length; it ends within the frame.
    pub(crate) length: u16,
}

impl Frame {
    /// Where the packet starts, in bytes from the start of the frame.
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// The packet's length in bytes.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there is no packet in the frame.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}
