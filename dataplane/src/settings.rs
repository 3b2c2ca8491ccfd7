//! What the dataplane is told at its start, already checked. Plain data; the binary's `config` makes it.

use std::net::IpAddr;
use std::time::Duration;

use contract::{DeviceId, QueueId};

/// Everything that the dataplane is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The devices; a [`DeviceId`] is an index here.
    pub devices: Vec<Device>,
    /// The media addresses whose packets are taken from the kernel.
    pub media: Vec<MediaAddress>,
    /// One thread each.
    pub workers: Vec<Worker>,
    /// What a worker does when there is nothing to do.
    pub idle: IdlePolicy,
    /// `SO_BUSY_POLL` of every socket: workers poll the driver from their own core, for so long a call at the
    /// most, instead of waiting for its interrupts. `None`: interrupts.
    pub busy_poll: Option<Duration>,
    /// Flows that a worker holds at the most.
    pub flow_capacity: usize,
    /// Commands, and events, that wait for a worker or for the control plane at the most.
    pub mailbox_capacity: usize,
    /// Frames in a worker's UMEM, a power of two.
    pub frames: u32,
    /// Descriptors in each RX, TX and completion ring, a power of two. Fill rings are twice as deep.
    pub ring_size: u32,
}

/// A device that the dataplane serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The kernel's name of it.
    pub name: String,
    /// How frames are exchanged with the driver.
    pub mode: XdpMode,
    /// Whether UDP checksums of received frames may be unfinished.
    pub checksums: ReceivedChecksums,
    /// Whether its queues shall depend on our own addresses and ports alone.
    pub steering: Steering,
}

/// What is done about the fields that a device hashes to choose a packet's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steering {
    /// Nothing.
    Off,
    /// Destination address and port are chosen where the driver can, and put back at the end.
    Best,
    /// As [`Steering::Best`], and without them there is no start.
    Required,
}

impl Steering {
    /// Its name in the configuration and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Best => "best",
            Self::Required => "required",
        }
    }
}

/// The ladder of AF_XDP modes. `Best` tries the others from the top and the outcome is reported; the
/// others are taken at their word and fail loudly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XdpMode {
    /// The best that the device can do.
    Best,
    /// Native XDP, and the driver's DMA goes straight to the UMEM.
    ZeroCopy,
    /// Native XDP, and the kernel copies each frame.
    Copy,
    /// XDP in the generic network stack, after the socket buffer was made.
    Generic,
}

/// What is known of the UDP checksums of the frames that a device receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceivedChecksums {
    /// They came over a wire: updated incrementally (RFC 1624), so that a damaged packet stays
    /// recognisable as damaged to its receiver.
    Finished,
    /// The sender may be a kernel of the same machine that left them to hardware which is not there
    /// (veth, virtio): each is verified, and an unfinished one is finished.
    MayBeUnfinished,
}

/// A media address: UDP to it, within the port range, is the dataplane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// The device that it is reached through.
    pub device: DeviceId,
    /// The address.
    pub address: IpAddr,
    /// First and last port, inclusive.
    pub ports: (u16, u16),
}

/// One worker: a thread pinned to a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The core, numbered as the kernel numbers them.
    pub core: usize,
    /// The queues that it owns: at least one on every device, each owned by one worker only.
    pub queues: Vec<(DeviceId, QueueId)>,
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Looks again at once, for ever. For dedicated cores.
    Spin,
    /// Looks again at once for `spin` after the last frame, then sleeps until a frame or a command comes.
    Adaptive {
        /// How long it looks for another frame before it sleeps.
        spin: Duration,
    },
}
