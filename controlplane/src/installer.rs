//! Wanted flows minus acknowledged flows are the commands that the workers are sent.

use std::net::IpAddr;

use contract::{Refusal, WorkerId};

/// A set of flows that somebody waits for: done when every worker has acknowledged every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why the flows of a ticket will not all be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketFailure {
    /// A worker refused an entry.
    Refused(WorkerId, Refusal),
    /// A worker's mailbox was full.
    MailboxFull(WorkerId),
    /// Some worker did not acknowledge in time.
    TimedOut,
}

/// Asks by which link packets from `source`, an address of ours, reach `destination`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHopQuery {
    /// The receiver.
    pub destination: IpAddr,
    /// The local media address that packets leave from; of the same family.
    pub source: IpAddr,
}
