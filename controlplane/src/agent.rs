//! The control plane as one machine without IO: inputs and the time go in through [`Agent::handle`],
//! and [`Agent::poll_output`] gives outputs until it says how long to wait.
//!
//! The agent joins what the parts keep apart: SIP transactions, calls ([`crate::b2bua`]) and media
//! sessions. It knows neither sockets nor clocks nor the kernel; the event loop (`server`) and the
//! journeys on virtual time drive it alike:
//!
//! ```text
//!   loop {
//!       agent.handle(input, now);
//!       loop { match agent.poll_output(now) { Output::Wait(until) => break, output => carry_out(output) } }
//!   }
//! ```

use std::net::SocketAddr;

use contract::{Command, Event, Link, Timestamp, WorkerId};
use rand::rngs::StdRng;

use crate::b2bua::{CallDetail, CallId, CallSummary, Counters, Gauges};
use crate::installer::NextHopQuery;
use crate::settings::{ListenerId, Settings};

/// What happened outside.
#[expect(
    clippy::large_enum_variant,
    reason = "plain data that is moved once, as often as datagrams"
)]
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram arrived at a listener.
    Datagram {
        /// The listener.
        listener: ListenerId,
        /// Its sender.
        remote: SocketAddr,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// What was sent from the listener to this address did not get there (an error of the socket, or
    /// ICMP).
    SendFailed {
        /// The listener.
        listener: ListenerId,
        /// The address.
        remote: SocketAddr,
    },
    /// A worker said something.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// What it said.
        event: Event,
    },
    /// The worker's mailbox was full: it never saw the command.
    CommandRejected {
        /// The worker.
        worker: WorkerId,
        /// The command, as [`Output::Command`] gave it.
        command: Command,
    },
    /// The answer to [`Output::Resolve`]; may come again whenever it changes.
    NextHop {
        /// The question.
        query: NextHopQuery,
        /// The next hop; `None` while nobody answers for it.
        answer: Option<Link>,
    },
    /// Nothing but that time has passed.
    Time,
    /// An operator ends a call.
    HangUp(CallId),
    /// Take no new calls; end what is left at `deadline`; then say [`Output::Drained`].
    Drain {
        /// When calls that are still up are ended with BYE.
        deadline: Timestamp,
    },
    /// End every call now, then say [`Output::Drained`].
    Stop,
}

/// What must happen outside.
#[expect(
    clippy::large_enum_variant,
    reason = "plain data that is moved once, as often as datagrams"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// From this listener.
        listener: ListenerId,
        /// To this address.
        remote: SocketAddr,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// Put a command into a worker's mailbox.
    Command {
        /// The worker.
        worker: WorkerId,
        /// The command.
        command: Command,
    },
    /// Find the next hop, and say so again whenever it changes, until [`Output::Forget`].
    Resolve(NextHopQuery),
    /// Nobody needs this next hop any more.
    Forget(NextHopQuery),
    /// No call is left after [`Input::Drain`] or [`Input::Stop`]. Said once.
    Drained,
    /// Nothing more to do until the next input or, if given, until this time: then [`Input::Time`].
    Wait(Option<Timestamp>),
}

/// The control plane, sans-IO.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
}

impl Agent {
    /// An agent for `workers` workers. All that must be unpredictable (tags, branches, ports) comes
    /// from `rng`: it must be seeded from the
    /// system's entropy, except in tests.
    pub fn new(settings: Settings, workers: usize, rng: StdRng) -> Self {
        let _ = (workers, rng);
        Self { settings }
    }

    /// Takes one input. Outputs that it causes wait in [`Self::poll_output`].
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        let _ = (input, now);
    }

    /// The next output; [`Output::Wait`] when there is none.
    pub fn poll_output(&mut self, now: Timestamp) -> Output {
        let _ = now;
        Output::Wait(None)
    }

    /// What the agent was configured with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The calls that are up, oldest first.
    pub fn calls(&self) -> Vec<CallSummary> {
        Vec::new()
    }

    /// One call in full; `None` if there is none of that id.
    pub fn call(&self, id: CallId) -> Option<CallDetail> {
        let _ = id;
        None
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// What is held now.
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}
