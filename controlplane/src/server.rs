//! The event loop of the control plane: the one thread, and the only reader of a clock, that drives
//! the sans-IO machines with what arrives and carries out what they answer.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use contract::{Command, Event, Timestamp, WorkerId};

use crate::agent::Agent;

/// The clock of a process: CLOCK_MONOTONIC since an origin that both planes share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that stands at [`Timestamp::ZERO`] at `origin`.
    pub const fn since(origin: Instant) -> Self {
        Self { origin }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.origin.elapsed()
    }
}

/// The other plane, as the loop sees it. The binary implements it over the real one.
pub trait Dataplane {
    /// Puts a command into the worker's mailbox, unless that is full. Never blocks.
    fn submit(&mut self, worker: WorkerId, command: Command) -> Result<(), MailboxFull>;

    /// Silences the doorbell, then appends every event that waits. Never blocks.
    fn drain(&mut self, events: &mut Vec<(WorkerId, Event)>);

    /// Readable while events may wait.
    fn doorbell(&self) -> BorrowedFd<'_>;
}

/// The worker's mailbox is full: the command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxFull;

/// Somebody who lives in the loop's thread and talks to the agent between its inputs: the binary's admin
/// socket. All its sockets stand behind one file descriptor (an epoll instance of its own), so that the
/// loop need not know them.
pub trait Guest {
    /// Readable while it has work. Registered once, edge-triggered.
    fn doorbell(&self) -> BorrowedFd<'_>;

    /// Does the work that waits, a bounded amount of it, and leaves the doorbell ringing if there is
    /// more. Called when the doorbell rings, and at the time that the last call returned. The loop
    /// polls the agent's outputs afterwards. Never blocks.
    fn serve(&mut self, agent: &mut Agent, now: Timestamp) -> Option<Timestamp>;
}

/// What the loop needs besides [`crate::settings::Settings`].
#[derive(Clone, Debug)]
pub struct Setup {
    /// The time of both planes.
    pub clock: Clock,
    /// The kernel's names of the dataplane's devices; a [`contract::DeviceId`] is an index here.
    pub devices: Vec<String>,
    /// How long SIGTERM leaves to the calls that are up.
    pub drain_timeout: Duration,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// After a drain: no call is left.
    Drained,
    /// At once, by a second SIGINT: calls may have been cut off.
    AtOnce,
}

/// Why the server could not start: one sentence for the operator each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the SIP port.
    #[error("listener {name}: {address} is in use by another process (`ss -ulnp` tells which)")]
    PortInUse {
        /// The listener's name.
        name: String,
        /// Its address.
        address: std::net::SocketAddr,
    },
    /// The listener's address is not on the host.
    #[error("listener {name}: {address} is not an address of this host (`ip address` lists them)")]
    NotOurAddress {
        /// The listener's name.
        name: String,
        /// Its address.
        address: std::net::SocketAddr,
    },
    /// A SIP port below 1024 without the capability.
    #[error("listener {name}: {address} needs CAP_NET_BIND_SERVICE")]
    PrivilegedPort {
        /// The listener's name.
        name: String,
        /// Its address.
        address: std::net::SocketAddr,
    },
    /// Anything else that the kernel refused.
    #[error("{call} ({subject}): {error}")]
    Kernel {
        /// The call.
        call: &'static str,
        /// What it was made for.
        subject: String,
        /// What the kernel said.
        error: io::Error,
    },
}
