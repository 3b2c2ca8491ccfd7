//! What a control listener has done, and its connections.

/// What one control listener has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlCounts {
    /// Requests taken.
    pub requests: u64,
    /// Replies sent, or waiting to be.
    pub replies: u64,
    /// Datagrams dropped and connections closed because their address may not ask.
    pub refused: u64,
    /// Datagrams and streams that are no request, and HTTP requests answered with an error.
    pub malformed: u64,
    /// Requests larger than the settings allow.
    pub too_large: u64,
    /// Replies that no datagram can hold.
    pub oversize: u64,
    /// Replies dropped because too many were waiting, or because their connection did not read.
    pub overflowed: u64,
    /// Replies whose connection had ended.
    pub undeliverable: u64,
    /// Replies that the kernel refused.
    pub send_errors: u64,
    /// Errors while receiving, or accepting.
    pub receive_errors: u64,
    /// Its connections; `None`: it has none, being one of UDP.
    pub connections: Option<ControlConnectionCounts>,
}

/// The connections of one control listener. What is not "now" is since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlConnectionCounts {
    /// Open now.
    pub open: usize,
    /// Accepted.
    pub accepted: u64,
    /// Closed at once: too many already.
    pub turned_away: u64,
    /// That became WebSockets.
    pub web_sockets: u64,
    /// Ended because what came makes no sense.
    pub framing_errors: u64,
    /// Ended because the other side did not read, or did not end what it wrote.
    pub stalled: u64,
    /// Ended because nobody had anything to say.
    pub idle: u64,
    /// Closed, by the other side or after what it asked for.
    pub closed: u64,
    /// Broken by the network, or by the other side without a word.
    pub broken: u64,
}

impl ControlCounts {
    pub(super) fn connections_mut(&mut self) -> &mut ControlConnectionCounts {
        self.connections.get_or_insert_default()
    }
}
