//! What the dataplane says of itself, for `status`, `workers` and `flows`. Plain data: a picture of
//! counters that go on counting while it is taken, so sums of different counters may differ by the
//! packets of that moment.

use std::net::SocketAddr;
use std::time::Duration;

use contract::{DeviceId, DropReason, QueueId, Timestamp, WorkerId};

use crate::port::RingLevels;
use crate::settings::Steering;
use crate::steering::arrivals::{Knowledge, Seen};

/// Every device and every worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of the settings: a [`DeviceId`] is an index here.
    pub devices: Vec<DeviceReport>,
    /// In the order of the settings: a [`WorkerId`] is an index here.
    pub workers: Vec<WorkerReport>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReport {
    /// The kernel's name of it.
    pub name: String,
    /// Its driver, as ethtool names it.
    pub driver: String,
    /// How frames are exchanged with the driver, as it turned out.
    pub mode: ModeInForce,
    /// RX queues that the device has.
    pub queues: u32,
    /// The NUMA node of its hardware; `None` when it has none or the kernel does not know.
    pub numa_node: Option<u32>,
    /// What is done about the queue that a packet arrives on.
    pub steering: Steering,
    /// How UDP of each family that it has media addresses of is steered.
    pub families: Vec<FamilyReport>,
    /// What the XDP program decided, by the name of the verdict: frames since the start.
    pub verdicts: Vec<(&'static str, u64)>,
}

/// How a device chooses queues for UDP of one family, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyReport {
    /// `udp4` or `udp6`.
    pub name: &'static str,
    /// The header fields that the queue depends on, in ethtool's letters; `None` when the driver does not say.
    pub fields: Option<String>,
    /// The fields that were in force before they were changed, if they were.
    pub before: Option<String>,
    /// How far the homes of ports are known.
    pub knowledge: Knowledge,
    /// Why they are not known, when they cannot be.
    pub why: Option<String>,
    /// Where packets arrived.
    pub seen: Seen,
}

/// The rung of the AF_XDP ladder that a device ended up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModeInForce {
    /// Native XDP, and the driver's DMA goes straight to the UMEM.
    ZeroCopy,
    /// Native XDP, and the kernel copies each frame.
    Copy,
    /// XDP in the generic network stack, after the socket buffer was made.
    Generic,
}

impl ModeInForce {
    /// The mode's name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
            Self::Generic => "generic",
        }
    }
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Which.
    pub worker: WorkerId,
    /// The core it is pinned to.
    pub core: usize,
    /// NUMA nodes, as they were when it started.
    pub numa: NumaPlaces,
    /// Whether its thread still runs.
    pub running: bool,
    /// One for each (device, queue) that it owns.
    pub sockets: Vec<SocketReport>,
    /// Frames dropped, by [`DropReason::index`].
    pub drops: [u64; DropReason::COUNT],
    /// Batches received that held at least one frame.
    pub batches: u64,
    /// How often it slept for want of work.
    pub sleeps: u64,
    /// Where its time went.
    pub time: TimeSpent,
    /// How long frames stayed, from the read of the RX ring to the return of the TX kick, as
    /// (nanoseconds, frames): the middle of each bucket that counted any, rising. A bucket is at the
    /// most a sixteenth as wide as its value.
    pub residence: Vec<(u64, u64)>,
    /// Frames of its UMEM.
    pub frames: u32,
    /// Frames that are in no ring.
    pub free_frames: u32,
    /// Bytes in a page of its UMEM: 4096, or 2 MB where the kernel had huge pages to give.
    pub page_size: usize,
    /// Flows installed.
    pub flows: u64,
    /// Commands that its mailbox had no room for.
    pub commands_refused: u64,
    /// How often an event had to wait because the control plane's mailbox was full.
    pub events_delayed: u64,
    /// What it has done to packets beside forwarding them.
    pub handled: HandledReport,
}

/// What a worker has done to packets beside forwarding them, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandledReport {
    /// Became silence.
    pub silenced: u64,
    /// Became key presses.
    pub pressed: u64,
    /// Were offered to the tap.
    pub tapped: u64,
    /// Of these the tap had no room for: recordings and listeners miss them.
    pub tap_lost: u64,
    /// Left as copies of others.
    pub copied: u64,
    /// Were injected and left.
    pub injected: u64,
    /// Were to be injected, and the worker had no room for them.
    pub injections_refused: u64,
    /// Copies and injected ones that did not leave: no flow, no way out, no free frame.
    pub not_made: u64,
}

impl WorkerReport {
    /// Frames dropped for this reason.
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }
}

/// On which NUMA nodes a worker and its memory lie, by the kernel's word. Several nodes: the first had no room
/// for all. None: the kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumaPlaces {
    /// Its core.
    pub core: Option<u32>,
    /// The frames of its UMEM, ascending.
    pub umem: Vec<u32>,
    /// Its flow table and its flows' counters, ascending.
    pub tables: Vec<u32>,
}

/// Where a worker's time went since it started, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSpent {
    /// In polls that found work: packets, commands, a TX ring to kick, slots to sweep.
    pub busy: u64,
    /// In polls that found none.
    pub idle: u64,
    /// Asleep.
    pub asleep: u64,
}

/// One AF_XDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketReport {
    /// The device that it is bound to.
    pub device: DeviceId,
    /// The queue that it is bound to.
    pub queue: QueueId,
    /// How it is bound.
    pub binding: Binding,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes of frames received.
    pub rx_bytes: u64,
    /// Frames handed to the kernel.
    pub tx_packets: u64,
    /// Bytes of frames handed to the kernel.
    pub tx_bytes: u64,
    /// How full its rings were at the last poll: what waited in the RX ring before the poll, what was left in
    /// the others after it.
    pub levels: RingLevels,
    /// The most that ever waited in the RX ring.
    pub rx_level_max: u32,
    /// The kernel's own counters (`XDP_STATISTICS`).
    pub kernel: KernelStatistics,
}

/// How a socket is bound, as it turned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Whether the kernel says that it is in zero-copy mode (`XDP_OPTIONS`).
    pub zero_copy: bool,
    /// Whether the kernel says when it wants to be called (`XDP_USE_NEED_WAKEUP`).
    pub need_wakeup: bool,
    /// Whether its worker polls the driver instead of waiting for interrupts: asked for, and possible with this
    /// driver ([`af_xdp::Socket::napi_id`]) as far as the kernel knew when the socket was bound.
    pub busy_poll: bool,
    /// Packets that one call sends at the most in copy mode; `None`: the kernel does not let it be chosen
    /// (before 6.17), and sends 32.
    pub tx_budget: Option<u32>,
    /// How many entries its rings have.
    pub depths: RingLevels,
}

/// `struct xdp_statistics` of `linux/if_xdp.h`: frames, since the socket was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStatistics {
    /// Dropped for other reasons than an invalid descriptor.
    pub rx_dropped: u64,
    /// Dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times that the fill ring was found empty.
    pub fill_ring_empty: u64,
    /// Invalid descriptors in the fill ring.
    pub rx_invalid_descriptors: u64,
    /// Invalid descriptors in the TX ring.
    pub tx_invalid_descriptors: u64,
    /// Times that the TX ring was found empty.
    pub tx_ring_empty: u64,
}

/// What one worker counted for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTally {
    /// Whose count.
    pub worker: WorkerId,
    /// Packets accepted, those included that could then not be sent on (no next hop, TX ring full).
    pub packets: u64,
    /// Bytes of UDP payload in them.
    pub bytes: u64,
    /// When the last of them came.
    pub last_seen: Option<Timestamp>,
    /// Packets dropped for coming from another source than the flow's.
    pub wrong_source: u64,
    /// The source that this worker has latched, or was told of.
    pub latched: Option<SocketAddr>,
    /// What the party that the flow faces reported by RTCP; `None`: nothing came this worker's way, or it was encrypted.
    pub reception: Option<Reception>,
}

/// How a party receives what is sent to it, by its own reports (RFC 3550 §6.4.1). Its reports come to the flow that faces
/// it, so this is about the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// Reports so far.
    pub reports: u64,
    /// The SSRC of the stream that the last was about.
    pub about: u32,
    /// By the last: packets lost since the one before, in 256ths of those expected.
    pub fraction_lost: u8,
    /// By the last: packets lost in all. Duplicates make it negative.
    pub lost: i32,
    /// By the last: interarrival jitter, in units of the RTP clock.
    pub jitter: u32,
    /// From the relay to the party and back, by the last report that told.
    pub round_trip: Option<Duration>,
    /// When the last came.
    pub last: Timestamp,
}
