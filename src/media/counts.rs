//! What the media services have done. Counts only grow, but for those of what there is now.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread counts and another one reads.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Says how many there are now.
    pub(crate) fn set(&self, now: usize) {
        self.0.store(now as u64, Ordering::Relaxed);
    }

    /// How many.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Copies that the services did not take off the tap in time.
    pub(crate) lost_at_tap: Count,
    /// Orders that found no room.
    pub(crate) orders_refused: Count,
    /// What was said to the control plane and found no room.
    pub(crate) events_lost: Count,
    /// Recordings that are open.
    pub(crate) recordings: Count,
    /// Recordings that have begun.
    pub(crate) recordings_begun: Count,
    /// Recordings that could not begin, or had to end.
    pub(crate) recordings_failed: Count,
    /// Packets written, or about to be.
    pub(crate) recorded_packets: Count,
    /// Bytes of them, with what the file puts around them.
    pub(crate) recorded_bytes: Count,
    /// Metadata that could not be written, or was too long.
    pub(crate) metadata_lost: Count,
    /// Parties that are forwarded.
    pub(crate) forwardings: Count,
    /// Parties that were one too many to be forwarded.
    pub(crate) forwardings_refused: Count,
    /// Connections that carry what is forwarded, or are about to.
    pub(crate) streams: Count,
    /// Packets decoded and forwarded, or about to be.
    pub(crate) forwarded_packets: Count,
    /// Packets that found no room, or whose connection broke.
    pub(crate) forward_lost: Count,
    /// Packets that came late or twice.
    pub(crate) forward_late: Count,
    /// RTP of formats that are not decoded.
    pub(crate) forward_unknown: Count,
    /// Connections that failed or broke.
    pub(crate) connections_failed: Count,
    /// What is being played.
    pub(crate) plays: Count,
    /// What has begun to play.
    pub(crate) plays_begun: Count,
    /// What could not be played.
    pub(crate) plays_failed: Count,
    /// Packets injected.
    pub(crate) played_packets: Count,
    /// Packets that the dataplane had no room for.
    pub(crate) injections_refused: Count,
}
