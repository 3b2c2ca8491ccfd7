//! What the transaction layer counts.

use crate::sip::ParseErrorKind;

/// What the layer has done, and holds. The counts of events only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Client transactions now.
    pub clients: usize,
    /// Server transactions now.
    pub servers: usize,
    /// Messages that were no SIP, by [`ParseErrorKind::index`].
    pub parse_errors: [u64; ParseErrorKind::COUNT],
    /// Messages that the layer sent again.
    pub retransmitted: u64,
    /// Retransmissions of the other side that went no further.
    pub absorbed: u64,
    /// Requests answered with 503 for want of room.
    pub refused_full: u64,
    /// Requests answered with 482: the same request by two ways (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// Requests answered with 482: they had been here before.
    pub looped: u64,
    /// Responses that belong to no request of ours.
    pub stray_responses: u64,
    /// CANCELs answered with 481.
    pub stray_cancels: u64,
    /// Client transactions that ended without a final response.
    pub timeouts: u64,
    /// Large requests that were sent by datagram after all, since no stream was to be had.
    pub fallen_back: u64,
    /// Transactions that met a transport error.
    pub transport_errors: u64,
}
