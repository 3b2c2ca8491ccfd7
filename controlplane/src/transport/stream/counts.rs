//! What the connections of a listener have done and been.

use super::connection::Why;
use crate::transport::ListenerCounts;

/// The connections of one listener. What is not "now" is since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now, or on their way to be.
    pub open: usize,
    /// Of others, within their TLS handshake now.
    pub handshaking: usize,
    /// Accepted.
    pub accepted: u64,
    /// That we opened, or began to.
    pub opened: u64,
    /// Closed at once: too many already, in all, of this address, or within their handshake.
    pub turned_away: u64,
    /// That we opened and that did not come up.
    pub failed: u64,
    /// Whose TLS handshake failed or was not over in time, or whose TLS broke.
    pub tls_failed: u64,
    /// Ended because what came was no SIP.
    pub framing_errors: u64,
    /// Ended because the other side did not read, or did not end what it wrote.
    pub stalled: u64,
    /// Ended because nobody had anything to say.
    pub idle: u64,
    /// Closed by the other side.
    pub closed: u64,
    /// Broken by the network, or by the other side without a word.
    pub broken: u64,
}

impl ConnectionCounts {
    /// Counts an end.
    pub(super) fn count(&mut self, why: &Why) {
        *match why {
            Why::Closed => &mut self.closed,
            Why::Broken => &mut self.broken,
            Why::NotUp(_) => &mut self.failed,
            Why::Tls(_) => &mut self.tls_failed,
            Why::Framing(_) => &mut self.framing_errors,
            Why::Stalled => &mut self.stalled,
            Why::Idle => &mut self.idle,
        } += 1;
    }
}

impl ListenerCounts {
    pub(super) fn connections(&self) -> ConnectionCounts {
        self.connections.unwrap_or_default()
    }

    pub(super) fn connections_mut(&mut self) -> &mut ConnectionCounts {
        self.connections.get_or_insert_default()
    }
}
