//! `tandem sessions`: sessions that are no call's.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Counts;

/// `tandem sessions open`: the answer to `open_sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenedSessions {
    /// Those that are open, in the order of the request.
    pub(crate) sessions: Vec<OpenedSession>,
    /// How many are not, by why.
    pub(crate) refused: Counts,
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenedSession {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// Which of the request's it is, from 0.
    pub(crate) index: u64,
    /// The relay's RTP port that faces party A.
    pub(crate) a: SocketAddr,
    /// The relay's RTP port that faces party B.
    pub(crate) b: SocketAddr,
}

/// `tandem sessions close`: the answer to `close_sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSessions {
    /// How many there were to be closed.
    pub(crate) closed: u64,
}

/// `tandem sessions list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    /// How many there are: more than `sessions` has when there are more than the limit.
    pub(crate) total: u64,
    /// The oldest of them.
    pub(crate) sessions: Vec<SessionLine>,
}

/// One session in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionLine {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// `opening`, or `open` when every worker has its flows.
    pub(crate) state: String,
    /// Party A.
    pub(crate) a: SocketAddr,
    /// The relay's RTP port that faces party A.
    pub(crate) relay_a: SocketAddr,
    /// The relay's RTP port that faces party B.
    pub(crate) relay_b: SocketAddr,
    /// Party B.
    pub(crate) b: SocketAddr,
    /// Where RTCP goes: `none`, `separate` or `mux`.
    pub(crate) rtcp: String,
    /// `sdp` when its flows believe the given addresses alone; absent: as their media group says.
    pub(crate) latch: Option<String>,
    /// After how many seconds of silence it is closed; absent: never.
    pub(crate) media_timeout_seconds: Option<f64>,
    /// Seconds since it was asked for.
    pub(crate) age_seconds: f64,
}
