//! `tandem workers`: workers, sockets, rings.

use serde::{Deserialize, Serialize};

use super::{Counts, Residence, Taken, WorkerTotals};

/// `tandem workers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workers {
    /// When.
    #[serde(flatten)]
    pub(crate) taken: Taken,
    /// Every worker.
    pub(crate) workers: Vec<Worker>,
    /// All of them together.
    pub(crate) totals: WorkerTotals,
    /// How each device chooses the queue of a packet, and so its worker.
    pub(crate) steering: Vec<Steering>,
}

/// How a device chooses queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steering {
    /// The device's name.
    pub(crate) device: String,
    /// What the configuration asks for: `off`, `best`, `required`.
    pub(crate) wanted: String,
    /// By address family, those that it has media addresses of.
    pub(crate) families: Vec<SteeringFamily>,
}

/// The same for UDP of one family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SteeringFamily {
    /// `udp4` or `udp6`.
    pub(crate) family: String,
    /// The header fields that the queue depends on, in ethtool's letters; null: the driver does not say.
    pub(crate) hash_fields: Option<String>,
    /// The fields before they were changed; null: they were not.
    pub(crate) hash_fields_before: Option<String>,
    /// Whether it is known which worker a port's packets arrive at.
    pub(crate) mapping: String,
    /// Why it cannot be known.
    pub(crate) why: Option<String>,
    /// Flows with packets that were looked at last.
    pub(crate) flows_seen: u64,
    /// Those of them that came to more than one worker.
    pub(crate) flows_split: u64,
    /// The share of their packets that came to the flow's home.
    pub(crate) home_share: Option<f64>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) worker: u16,
    /// The core it is pinned to.
    pub(crate) core: u64,
    /// Whether its thread runs.
    pub(crate) running: bool,
    /// Frames received on all its sockets.
    pub(crate) rx_packets: u64,
    /// Bytes in them.
    pub(crate) rx_bytes: u64,
    /// Frames sent on all its sockets.
    pub(crate) tx_packets: u64,
    /// Bytes in them.
    pub(crate) tx_bytes: u64,
    /// Frames dropped.
    pub(crate) dropped: u64,
    /// The same by reason; reasons that never applied are left out.
    pub(crate) drops: Counts,
    /// What was done to packets beside forwarding them, in packets; what never was is left out.
    #[serde(default)]
    pub(crate) handled: Counts,
    /// Batches received.
    pub(crate) batches: u64,
    /// How often it slept for want of work.
    pub(crate) sleeps: u64,
    /// Nanoseconds in polls that found work.
    pub(crate) busy_ns: u64,
    /// Nanoseconds in polls that found none.
    pub(crate) idle_ns: u64,
    /// Nanoseconds asleep.
    pub(crate) asleep_ns: u64,
    /// How long frames stayed.
    pub(crate) residence_ns: Residence,
    /// The same as (nanoseconds, frames), rising: the middle of each bucket that counted any, a bucket being at
    /// the most a sixteenth as wide as its value. Two answers' difference is the residence of the time between.
    pub(crate) residence_buckets: Vec<(u64, u64)>,
    /// Flows installed.
    pub(crate) flows: u64,
    /// Frames of its memory.
    pub(crate) frames: u32,
    /// Frames that are in no ring.
    pub(crate) free_frames: u32,
    /// Bytes in a page of its memory.
    pub(crate) page_size: u64,
    /// Commands that its mailbox had no room for.
    pub(crate) commands_refused: u64,
    /// Events that had to wait because the control plane's mailbox was full.
    pub(crate) events_delayed: u64,
    /// Its AF_XDP sockets.
    pub(crate) sockets: Vec<Socket>,
}

/// One AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Socket {
    /// The device's name.
    pub(crate) device: String,
    /// The queue.
    pub(crate) queue: u32,
    /// Whether the kernel says that it is in zero-copy mode.
    pub(crate) zero_copy: bool,
    /// Whether the kernel says when it wants to be called.
    pub(crate) need_wakeup: bool,
    /// Whether the worker polls the driver instead of waiting for interrupts.
    pub(crate) busy_poll: bool,
    /// Packets that one call sends at the most in copy mode; absent where the kernel does not let it be chosen.
    pub(crate) tx_budget: Option<u32>,
    /// Frames received.
    pub(crate) rx_packets: u64,
    /// Bytes in them.
    pub(crate) rx_bytes: u64,
    /// Frames sent.
    pub(crate) tx_packets: u64,
    /// Bytes in them.
    pub(crate) tx_bytes: u64,
    /// Packets that waited in the RX ring at the last poll.
    pub(crate) rx_ring: Ring,
    /// The most that ever waited there.
    pub(crate) rx_ring_max: u32,
    /// Packets left in the TX ring by the last poll.
    pub(crate) tx_ring: Ring,
    /// Frames left in the fill ring by the last poll.
    pub(crate) fill_ring: Ring,
    /// The kernel's own counters.
    pub(crate) xdp_statistics: XdpStatistics,
}

/// How full a ring is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Entries in it.
    pub(crate) level: u32,
    /// Entries that it has room for.
    pub(crate) size: u32,
}

/// `struct xdp_statistics` of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct XdpStatistics {
    /// Dropped for other reasons than those below.
    pub(crate) rx_dropped: u64,
    /// Dropped because the RX ring was full.
    pub(crate) rx_ring_full: u64,
    /// Times that the fill ring was found empty.
    pub(crate) rx_fill_ring_empty_descs: u64,
    /// Invalid descriptors in the fill ring.
    pub(crate) rx_invalid_descs: u64,
    /// Invalid descriptors in the TX ring.
    pub(crate) tx_invalid_descs: u64,
    /// Times that the TX ring was found empty.
    pub(crate) tx_ring_empty_descs: u64,
}
