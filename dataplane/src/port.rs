//! The sockets and the frame memory of one worker, as its loop sees them. [`crate::xsk_port`] is the
//! real thing, [`crate::memory_port`] its twin in memory.
//!
//! ```text
//!            release ┌──────────────┐ tend: refill
//!        ┌──────────►│  free list   ├──────────────► fill ring ─► kernel ─► RX ring ─┐
//!        │           └──────────────┘                                                │ receive
//!      worker ◄──────────────────────────────────────────────────────────────────────┘
//!        │ transmit                                                tend: reclaim
//!        └──────────► TX ring ─► kernel ─► completion ring ─────────────────────────► free list
//! ```
//!
//! Every frame is in exactly one of these places, always.

use std::time::Duration;

use contract::{DeviceId, QueueId};

use crate::report::KernelStatistics;

/// The most packets that are received at a time. Evidence: agave, Firedancer and VPP settle between 32
/// and 256; 64 keeps a batch's headers in the first-level cache.
pub const BATCH: usize = 64;

/// Access to packets in their frames. A packet is a token: whoever has it owns the frame.
pub trait Frames {
    /// The right to touch a frame, and where its packet lies in it.
    type Packet;

    /// The frame whole, headroom included, the packet's start in it, and its length.
    fn frame_mut<'a>(&'a mut self, packet: &'a mut Self::Packet) -> (&'a mut [u8], usize, usize);

    /// The packet, and its start in the frame.
    #[inline]
    fn packet_mut<'a>(&'a mut self, packet: &'a mut Self::Packet) -> (&'a mut [u8], usize) {
        let (frame, start, len) = self.frame_mut(packet);
        // A packet outside its frame is none.
        let packet = frame.get_mut(start..start + len).unwrap_or_default();
        (packet, start)
    }

    /// Asks the cache for the packet's first bytes; for one whose turn comes soon.
    #[inline]
    fn prefetch(&self, packet: &Self::Packet) {
        let _ = packet;
    }

    /// The packet's length.
    fn len_of(&self, packet: &Self::Packet) -> usize;

    /// Says where the packet lies after a rewrite; within the frame.
    fn set_extent(&mut self, packet: &mut Self::Packet, start: usize, len: usize);
}

/// Which queue a socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: DeviceId,
    /// Its queue.
    pub queue: QueueId,
}

/// How full a socket's rings are, in entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingLevels {
    /// Received packets that wait for the worker.
    pub rx: u32,
    /// Packets that wait for the kernel.
    pub tx: u32,
    /// Frames that the kernel may receive into.
    pub fill: u32,
}

/// The sockets of one worker. A socket is named by its index in [`Port::places`].
pub trait Port: Frames {
    /// Where each socket is bound.
    fn places(&self) -> &[Place];

    /// Takes completed frames back and gives the kernel fresh ones, when enough of either are due to be worth a look.
    fn tend(&mut self, socket: usize);

    /// Appends what has been received to `packets`, [`BATCH`] at the most.
    fn receive(&mut self, socket: usize, packets: &mut Vec<Self::Packet>);

    /// Moves packets to the TX ring, first ones first, and says how many it took. The others stay.
    fn transmit(&mut self, socket: usize, packets: &mut Vec<Self::Packet>) -> usize;

    /// Makes the kernel look at the TX ring if it has to be told, after a batch.
    fn kick(&mut self, socket: usize);

    /// Whether descriptors are still in the TX ring: the kernel has to be kicked again.
    fn is_transmitting(&self, socket: usize) -> bool;

    /// A free frame for a packet that is not received, if receiving can spare one.
    fn take(&mut self) -> Option<Self::Packet>;

    /// Makes a packet's frame free.
    fn release(&mut self, packet: Self::Packet);

    /// How full a socket's rings were when they were last looked at. Cheap enough for every poll.
    fn levels(&self, socket: usize) -> RingLevels;

    /// How many frames are on the free list.
    fn free_frames(&self) -> u32;

    /// The kernel's counters of a socket; `None` when it does not tell.
    fn statistics(&self, socket: usize) -> Option<KernelStatistics>;

    /// Sleeps until a frame arrives, the doorbell rings or `timeout` has passed, and silences the bell.
    fn sleep(&mut self, timeout: Duration);
}
