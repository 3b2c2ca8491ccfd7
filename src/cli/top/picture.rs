//! What happened in one interval: the model of every view. Plain data, made by [`super::between`].
//!
//! The fields' names are an interface: `tandem top --json` prints them, `docs/operations.md` lists them.

use serde::Serialize;

use crate::admin::views::{Counts, Residence, Ring, Status, Workers, XdpStatistics};

/// What a running tandem said at one time. The two answers have times of their own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) workers: Workers,
}

/// One interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Picture {
    /// The running program.
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) state: String,
    pub(super) uptime_seconds: f64,
    pub(super) started_unix_ms: u64,
    /// When the interval ended, and how long it was, by the dataplane's answers.
    pub(super) at_ns: u64,
    pub(super) interval_ns: u64,
    pub(super) calls: CallFlow,
    pub(super) media: Held,
    pub(super) totals: Totals,
    pub(super) workers: Vec<WorkerPicture>,
    pub(super) queues: Vec<QueuePicture>,
    pub(super) devices: Vec<DevicePicture>,
    pub(super) drops: Vec<Drop>,
}

/// Calls up at its end, and what became of calls in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CallFlow {
    pub(super) active: u64,
    pub(super) limit: u64,
    pub(super) offered: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) ended: u64,
    pub(super) offered_per_second: f64,
    pub(super) answered_per_second: f64,
    pub(super) failed_per_second: f64,
    pub(super) ended_per_second: f64,
}

/// Media held at its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Held {
    pub(super) sessions: u64,
    pub(super) flows: u64,
}

/// Frames carried. Bits are those of the frames without preamble and checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Traffic {
    pub(super) rx_packets: u64,
    pub(super) rx_pps: f64,
    pub(super) rx_bps: f64,
    pub(super) tx_packets: u64,
    pub(super) tx_pps: f64,
    pub(super) tx_bps: f64,
}

/// Frames lost: dropped by the workers, and by the kernel because a ring had no room or no frame for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Lost {
    pub(super) dropped: u64,
    pub(super) dropped_per_second: f64,
    pub(super) ring_dropped: u64,
    pub(super) ring_dropped_per_second: f64,
}

impl Lost {
    /// Both together.
    pub(super) fn per_second(&self) -> f64 {
        self.dropped_per_second + self.ring_dropped_per_second
    }
}

/// Shares of a worker's time, which add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Cpu {
    pub(super) busy: f64,
    pub(super) idle: f64,
    pub(super) asleep: f64,
}

/// All workers together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Totals {
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    #[serde(flatten)]
    pub(super) lost: Lost,
    pub(super) residence_ns: Residence,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct WorkerPicture {
    pub(super) worker: u16,
    pub(super) core: u64,
    pub(super) running: bool,
    pub(super) flows: u64,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    #[serde(flatten)]
    pub(super) lost: Lost,
    /// What the worker dropped, by reason.
    pub(super) drops: Counts,
    /// `null` when it booked no time, as a dead one.
    pub(super) cpu: Option<Cpu>,
    pub(super) batches: u64,
    pub(super) sleeps: u64,
    pub(super) residence_ns: Residence,
    pub(super) frames: u32,
    pub(super) free_frames: u32,
}

/// One queue of a device, which is one socket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct QueuePicture {
    pub(super) device: String,
    pub(super) queue: u32,
    pub(super) worker: u16,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) ring_dropped: u64,
    pub(super) ring_dropped_per_second: f64,
    /// How full the rings were at the worker's last poll.
    pub(super) rx_ring: Ring,
    pub(super) tx_ring: Ring,
    pub(super) fill_ring: Ring,
    /// The most that ever waited in the RX ring, not only in this interval.
    pub(super) rx_ring_max: u32,
    /// The kernel's own counters.
    pub(super) xdp_statistics: XdpStatistics,
}

/// One device: its queues together, and what its XDP program decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DevicePicture {
    pub(super) device: String,
    pub(super) driver: String,
    pub(super) xdp_mode: String,
    pub(super) queues: u32,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    pub(super) ring_dropped: u64,
    pub(super) ring_dropped_per_second: f64,
    pub(super) verdicts: Counts,
    /// Frames that the XDP program left to the kernel.
    pub(super) kernel_pps: f64,
}

/// A reason for which frames are dropped, if ever one was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Drop {
    pub(super) reason: String,
    pub(super) counted_by: CountedBy,
    pub(super) count: u64,
    pub(super) per_second: f64,
    pub(super) since_start: u64,
}

/// Who counted a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CountedBy {
    /// A worker: the frame was looked at, and dropped for what it is.
    Worker,
    /// The kernel: the frame never reached the worker, or never left.
    Kernel,
    /// The kernel, but times that something was wanting rather than frames.
    KernelTimes,
}

impl CountedBy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Kernel => "kernel",
            Self::KernelTimes => "kernel, times",
        }
    }
}
