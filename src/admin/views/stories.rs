//! The views of what calls did: stories, records, copies.

use serde::{Deserialize, Serialize};

/// What became of records; in `tandem status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cdr {
    /// The file.
    pub(crate) file: String,
    /// `json` or `csv`.
    pub(crate) format: String,
    /// They wait for the writer.
    pub(crate) queued: u64,
    /// They are in the file.
    pub(crate) written: u64,
    /// They are in the file, and perhaps not on the disk.
    pub(crate) unsynced: u64,
    /// Lost: there was no room in the queue.
    pub(crate) lost_queue_full: u64,
    /// Lost: the file could not be written.
    pub(crate) lost_write_failed: u64,
    /// Files that were put aside.
    pub(crate) rotated: u64,
}

/// What became of the copies for a collector; in `tandem status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Collector {
    /// Where they go.
    pub(crate) address: String,
    /// Given to the kernel.
    pub(crate) sent: u64,
    /// Not taken by the kernel, or refused by the collector's host.
    pub(crate) failed: u64,
    /// Longer than a datagram can be.
    pub(crate) too_long: u64,
}

/// What is held of stories; in `tandem status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stories {
    /// Of calls that are up.
    pub(crate) live: u64,
    /// Of calls that are over.
    pub(crate) finished: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// Of calls that are over, and had to go.
    pub(crate) forgotten: u64,
    /// Lines left out of long ones.
    pub(crate) lines_omitted: u64,
    /// Whole messages that there was no room for.
    pub(crate) messages_not_kept: u64,
    /// Whether whole messages are kept now.
    pub(crate) keeps_messages: bool,
}

/// `tandem explain` and `tandem trace`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Story {
    /// The call's number.
    pub(crate) call: u64,
    /// Whether it is over.
    pub(crate) ended: bool,
    /// The Call-IDs of its legs, the caller's first.
    pub(crate) call_ids: Vec<String>,
    /// When its INVITE came: RFC 3339, UTC.
    pub(crate) started: String,
    /// The same in microseconds since 1970.
    pub(crate) started_unix_us: u64,
    /// What happened, in order.
    pub(crate) lines: Vec<StoryLine>,
    /// Lines that were left out in the middle.
    pub(crate) omitted: u64,
}

/// One line of a story.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoryLine {
    /// Seconds since the INVITE came.
    pub(crate) at_seconds: f64,
    /// `in`, `out`, `sdp`, `route`, `target`, `state`, `flows`, `flow`, `latch`, `release`, `note`.
    pub(crate) kind: String,
    /// What happened.
    pub(crate) text: String,
    /// The message, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<StoryMessage>,
}

/// A message of a story.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoryMessage {
    /// Whether it was ours.
    pub(crate) sent: bool,
    /// Our address.
    pub(crate) local: String,
    /// Theirs.
    pub(crate) remote: String,
    /// `udp`, `tcp` or `tls`.
    pub(crate) transport: String,
    /// `INVITE`, or `180 Ringing`.
    pub(crate) summary: String,
    /// `1 INVITE`.
    pub(crate) cseq: String,
    /// Bytes.
    pub(crate) size: u64,
    /// It had passed before, byte for byte.
    pub(crate) repeated: bool,
    /// The message in hexadecimal digits, where whole messages are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<String>,
}

/// `tandem trace --keep`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeping {
    /// Whether whole messages are kept from now on.
    pub(crate) keep: bool,
}
