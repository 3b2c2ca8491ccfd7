//! The media services in figures: recordings, forwarding, announcements.

use serde::{Deserialize, Serialize};

/// The media services, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaServices {
    /// Copies of packets that the services did not take in time.
    pub(crate) lost_at_tap: u64,
    /// Orders of the control plane that found no room.
    pub(crate) orders_refused: u64,
    /// What was said to the control plane and found no room.
    pub(crate) events_lost: u64,
    /// Recordings; null when it is not configured where to.
    pub(crate) recordings: Option<Recordings>,
    /// Forwarding; null when it is not configured where to.
    pub(crate) forwarding: Option<Forwarding>,
    /// Announcements.
    pub(crate) plays: Plays,
}

/// Recordings, what is not "now" since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recordings {
    /// Where they are.
    pub(crate) directory: String,
    /// Open now.
    pub(crate) active: u64,
    /// Begun.
    pub(crate) begun: u64,
    /// They could not begin, or had to end.
    pub(crate) failed: u64,
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes of the files.
    pub(crate) bytes: u64,
    /// Metadata that could not be written, or was too long.
    pub(crate) metadata_lost: u64,
}

/// Forwarding, what is not "now" since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwarding {
    /// Who takes it.
    pub(crate) to: String,
    /// Parties now.
    pub(crate) parties: u64,
    /// Connections now.
    pub(crate) streams: u64,
    /// Parties that were one too many.
    pub(crate) refused: u64,
    /// Packets sent.
    pub(crate) packets: u64,
    /// Packets that found no room, or whose connection broke.
    pub(crate) lost: u64,
    /// Packets that came late or twice.
    pub(crate) late: u64,
    /// RTP that is not decoded.
    pub(crate) unknown: u64,
    /// Connections that failed or broke.
    pub(crate) connections_failed: u64,
}

/// Announcements, what is not "now" since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plays {
    /// Where the files are; null when none can be named.
    pub(crate) directory: Option<String>,
    /// Playing now.
    pub(crate) active: u64,
    /// Begun.
    pub(crate) begun: u64,
    /// They could not be played.
    pub(crate) failed: u64,
    /// Packets injected.
    pub(crate) packets: u64,
    /// Packets that the workers had no room for.
    pub(crate) injections_refused: u64,
}
