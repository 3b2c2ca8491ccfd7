//! What the binary plugs into the loop: the other plane, and a guest with sockets of its own (the
//! admin socket).

use std::os::fd::{BorrowedFd, RawFd};

use contract::{Command, Event, FlowKey, Homes, ServiceEvent, ServiceOrder, Timestamp, WorkerId};

use super::Host;
use crate::agent::Agent;
use crate::ng::Totals;
use crate::records::{CallRecord, Measured, Quality};
use crate::session::Reports;
use crate::story::Mirrored;

/// The other plane, as the loop sees it. The binary implements it over the real one.
pub trait Dataplane {
    /// Puts a command into the worker's mailbox, unless that is full. Never blocks. A worker that sleeps need not hear of it
    /// before [`Dataplane::ring`].
    fn submit(&mut self, worker: WorkerId, command: Command) -> Result<(), MailboxFull>;

    /// Wakes the workers that sleep on commands: no more come for now.
    fn ring(&mut self) {}

    /// Silences the doorbell, then appends every event that waits. Never blocks.
    fn drain(&mut self, events: &mut Vec<(WorkerId, Event)>);

    /// Readable while events may wait, or a worker has died.
    fn doorbell(&self) -> BorrowedFd<'_>;

    /// A worker that serves its queues no more. Asked after each [`Dataplane::drain`].
    fn dead_worker(&self) -> Option<WorkerId>;

    /// Which worker the packets of a port arrive at, when that is known anew or (empty) not any more. Asked
    /// after each [`Dataplane::drain`].
    fn homes(&mut self) -> Option<Homes> {
        None
    }

    /// What all workers together have counted so far for the flow at a port; nothing for one that is not there.
    fn measure(&mut self, key: FlowKey) -> Measured {
        let _ = key;
        Measured::default()
    }

    /// What all workers together have counted so far.
    fn totals(&mut self) -> Totals {
        Totals::default()
    }

    /// Gives an order to the media services, if they can take it. Without such services requests are refused, and there
    /// is nothing else to do. Never blocks.
    fn order(&mut self, order: ServiceOrder) -> Result<(), ServiceOrder> {
        match order.is_request() {
            true => Err(order),
            false => Ok(()),
        }
    }

    /// Appends what the media services have to say. Asked after each [`Dataplane::drain`], so they ring the doorbell.
    fn heed(&mut self, events: &mut Vec<ServiceEvent>) {
        let _ = events;
    }

    /// What the reports that arrive at a port say of what is sent to their sender, if there were any.
    fn reported(&mut self, reports: &Reports) -> Option<Quality> {
        let _ = reports;
        None
    }
}

/// The worker's mailbox is full: the command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxFull;

/// Somebody who lives in the loop's thread and talks to the agent between its inputs: the binary's admin
/// socket. All its sockets stand behind one file descriptor (an epoll instance of its own), so that the
/// loop need not know them.
pub trait Guest {
    /// Readable while it has work. Registered once, edge-triggered; open for as long as the guest lives.
    fn doorbell(&self) -> RawFd;

    /// Does the work that waits, a bounded amount of it, and collects the answers that the agent has. Called when
    /// the doorbell rings, when an answer waits ([`Agent::has_answers`]), and at the time that the last call returned: `now` or earlier when it has left work undone. The loop polls the
    /// agent's outputs afterwards. Never blocks.
    fn serve(&mut self, agent: &mut Agent, host: &Host, now: Timestamp) -> Option<Timestamp>;

    /// SIGHUP has come. It is served next.
    fn hang_up(&mut self) {}
    /// A call is over. Never blocks.
    fn call_ended(&mut self, record: Box<CallRecord>, now: Timestamp) {
        let _ = (record, now);
    }

    /// A SIP message passed; only with [`crate::settings::Settings::mirror`]. Never blocks.
    fn mirror(&mut self, message: Mirrored, now: Timestamp) {
        let _ = (message, now);
    }
}
