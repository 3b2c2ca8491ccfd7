//! The dataplane as the binary sees it: started from settings, commanded through mailboxes, reported on.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use contract::{Command, Event, FlowKey, WorkerId};

use crate::report::{FlowTally, Report};
use crate::settings::Settings;
use crate::start_error::StartError;

/// The worker's mailbox has no room: nothing of the command was or will be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxFull;

/// The running workers. Dropping it stops them.
#[derive(Debug)]
pub struct Dataplane {
    doorbell: OwnedFd,
}

impl Dataplane {
    /// Opens the devices, loads and attaches the XDP programs, makes the sockets and starts a pinned
    /// thread for each worker. Times in events and tallies count from `origin`.
    pub fn start(settings: &Settings, origin: Instant) -> Result<Self, StartError> {
        let _ = (settings, origin);
        Err(StartError::Settings("the dataplane has no workers".into()))
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        0
    }

    /// Hands a command to a worker and wakes it if it sleeps.
    pub fn submit(&self, worker: WorkerId, command: Command) -> Result<(), MailboxFull> {
        let _ = (worker, command);
        Err(MailboxFull)
    }

    /// Readable while events wait: for the control plane's event loop.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.doorbell.as_fd()
    }

    /// Moves every waiting event to `events`, oldest first for each worker, and silences the doorbell.
    pub fn drain(&self, events: &mut Vec<(WorkerId, Event)>) {
        let _ = events;
    }

    /// The state of every device and worker.
    pub fn report(&self) -> Report {
        Report {
            devices: Vec::new(),
            workers: Vec::new(),
        }
    }

    /// What each worker that holds a flow at this key counted for it.
    pub fn flow_tally(&self, key: FlowKey) -> Vec<FlowTally> {
        let _ = key;
        Vec::new()
    }

    /// Stops the workers, joins their threads and detaches the programs.
    pub fn stop(self) {}
}
