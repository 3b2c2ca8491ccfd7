//! The event loop of the control plane: the one thread, and the only reader of a clock, that drives
//! the sans-IO machines with what arrives and carries out what they answer.

mod hooks;
mod start_error;

use std::io;
use std::time::{Duration, Instant};

use contract::Timestamp;

use crate::agent::Agent;
use crate::installer::NextHopQuery;
use crate::neighbours::{NeighbourCounts, NextHop};
use crate::settings::Settings;
use crate::transport::ListenerCounts;

pub use hooks::{Dataplane, Guest, MailboxFull};
pub use start_error::StartError;

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

/// What the loop needs besides [`Settings`].
#[derive(Clone, Debug)]
pub struct Setup {
    /// The time of both planes.
    pub clock: Clock,
    /// The kernel's names of the dataplane's devices; a [`contract::DeviceId`] is an index here.
    pub devices: Vec<String>,
    /// How long SIGTERM, or the first SIGINT, leaves to the calls that are up.
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

/// The sockets and the next hops: what the loop knows of the host.
#[derive(Debug)]
pub struct Host {}

impl Host {
    /// What each listener has received and sent, by [`crate::settings::ListenerId`].
    pub fn listeners(&self) -> Vec<ListenerCounts> {
        Vec::new()
    }

    /// What is known of next hops, in figures.
    pub fn neighbours(&self) -> NeighbourCounts {
        NeighbourCounts::default()
    }

    /// Whether new calls are refused because the process is to end.
    pub fn draining(&self) -> bool {
        false
    }

    /// Every watched next hop; `None` while it is being resolved.
    pub fn next_hops(&self) -> Vec<(NextHopQuery, Option<NextHop>)> {
        Vec::new()
    }
}

/// The event loop with its sockets.
#[derive(Debug)]
pub struct Server {
    host: Host,
}

impl Server {
    /// Opens the listeners, the netlink sockets and the signals. Done before privileges are dropped.
    pub fn bind(settings: &Settings, setup: Setup) -> Result<Self, StartError> {
        let _ = (settings, setup);
        Ok(Self { host: Host {} })
    }

    /// Runs until a signal has ended it. An error is one of the poll itself: everything else is counted
    /// and survived.
    pub fn run<D: Dataplane, G: Guest>(
        self,
        agent: &mut Agent,
        dataplane: &mut D,
        guest: &mut G,
    ) -> io::Result<Ended> {
        let _ = (agent, dataplane, guest, self.host);
        Ok(Ended::Drained)
    }
}
