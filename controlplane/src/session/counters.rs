//! What the engine counts.

use std::collections::BTreeMap;

use crate::settings::MediaGroupId;

/// Counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions opened.
    pub opened: u64,
    /// Sessions closed.
    pub closed: u64,
    /// Refusals by [`super::SessionError::name`].
    pub refused: BTreeMap<&'static str, u64>,
    /// Sessions whose media timed out.
    pub media_timeouts: u64,
    /// Tickets that failed, by [`crate::installer::TicketFailure::name`].
    pub tickets_failed: BTreeMap<&'static str, u64>,
    /// Commands that a full mailbox sent back.
    pub commands_rejected: u64,
    /// Commands that workers refused.
    pub commands_refused: u64,
    /// Commands given up after too many full mailboxes. The ports concerned are never used again.
    pub commands_abandoned: u64,
    /// Latches that workers reported and that were believed.
    pub latches: u64,
}

/// What there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Open sessions.
    pub sessions: usize,
    /// Those of them that were provisioned.
    pub provisioned: usize,
    /// Flows wanted, or not yet gone from every worker.
    pub flows: usize,
    /// Tickets that somebody waits for.
    pub tickets: usize,
    /// Next hops that are watched.
    pub next_hops: usize,
    /// Ports by media group.
    pub ports: Vec<PortGauges>,
}

/// The ports of one media group, counted in pairs (RTP and RTCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortGauges {
    /// The group.
    pub group: MediaGroupId,
    /// Ready for use.
    pub free: usize,
    /// In use.
    pub in_use: usize,
    /// Closed, and resting before reuse.
    pub resting: usize,
}
