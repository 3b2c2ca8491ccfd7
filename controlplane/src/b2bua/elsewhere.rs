//! What the session engine says of sessions that are no call's: they came by another door.

use crate::installer::{Ticket, TicketFailure};
use crate::session::{EndedFlow, Provisioning, SessionId};

/// News of a session that no call knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// Every worker has the flows of the ticket.
    Ready(Ticket),
    /// Some worker has not.
    Failed(Ticket, TicketFailure),
    /// A party is silent.
    MediaTimeout(SessionId),
    /// A flow is about to be removed.
    Ended(EndedFlow),
    /// What became of a session that was provisioned.
    Provisioned(SessionId, Provisioning),
}
