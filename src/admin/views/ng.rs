//! The second door, rtpengine's control protocol, in figures.

use serde::{Deserialize, Serialize};

use super::Counts;

/// The second door, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ng {
    /// Its calls now, those among them that wait for the end of their delay.
    pub(crate) calls: u64,
    /// Dialogues now, each with its media.
    pub(crate) dialogues: u64,
    /// Replies that wait for workers now.
    pub(crate) waiting: u64,
    /// Replies that are remembered for requests that come again.
    pub(crate) remembered: u64,
    /// Requests by command.
    pub(crate) commands: Counts,
    /// Replies with `error`, by command.
    pub(crate) errors: Counts,
    /// What else was counted, by its name; what never happened is left out.
    pub(crate) events: Counts,
    /// Its sockets.
    pub(crate) listeners: Vec<NgListener>,
}

/// One control listener; since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NgListener {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it is bound.
    pub(crate) address: String,
    /// `udp`, `tcp` or `http`.
    pub(crate) transport: String,
    /// Requests taken.
    pub(crate) requests: u64,
    /// Replies sent.
    pub(crate) replies: u64,
    /// Datagrams dropped and connections closed because their address may not ask.
    pub(crate) refused: u64,
    /// What is no request.
    pub(crate) malformed: u64,
    /// Requests that were too large.
    pub(crate) too_large: u64,
    /// Replies not sent, by why; what never happened is left out.
    pub(crate) unsent: Counts,
    /// Errors while receiving, or accepting.
    pub(crate) receive_errors: u64,
    /// Its connections; nothing for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<NgConnections>,
}

/// The connections of one control listener; what is not "now" is since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NgConnections {
    /// Now.
    pub(crate) open: u64,
    /// Accepted.
    pub(crate) accepted: u64,
    /// Closed at once: too many.
    pub(crate) turned_away: u64,
    /// That became WebSockets.
    pub(crate) web_sockets: u64,
    /// Ended because what came makes no sense.
    pub(crate) framing_errors: u64,
    /// Ended because the other side did not read, or did not end what it wrote.
    pub(crate) stalled: u64,
    /// Ended because nobody had anything to say.
    pub(crate) idle: u64,
    /// Closed, by the other side or after what it asked for.
    pub(crate) closed: u64,
    /// Broken without a word.
    pub(crate) broken: u64,
}
