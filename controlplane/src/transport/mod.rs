//! SIP over UDP (RFC 3261 §18): sockets, one for each listener, that move datagrams and know nothing
//! of what is in them; and the socket that makes the kernel resolve next hops.

mod error_queue;
mod name_servers;
mod solicitor;
mod udp;

pub use name_servers::NameServers;
pub use solicitor::solicit;
pub use udp::{Received, Sent, UdpListener};

/// What one listener has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that had to wait because the socket's send buffer was full.
    pub queued: u64,
    /// Datagrams dropped because too many were waiting already.
    pub overflowed: u64,
    /// Datagrams that no UDP datagram can hold.
    pub oversize: u64,
    /// Sends that the kernel refused.
    pub send_errors: u64,
    /// ICMP errors that said that a datagram did not arrive.
    pub unreachable: u64,
    /// Errors while receiving.
    pub receive_errors: u64,
}
