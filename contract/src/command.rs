//! What the planes say to each other.

use std::fmt;
use std::net::SocketAddr;

use crate::{FlowEntry, FlowId, FlowKey, MacAddress};

/// The control plane to one worker. Each is answered, in order, with exactly one acknowledgement:
/// [`Event::Installed`], [`Event::Updated`], [`Event::Removed`] or [`Event::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Forward packets that arrive at the entry's key. Refused when the key is taken by another flow.
    Install(FlowEntry),
    /// Replace the entry of this id at its key. A latch that the worker made itself survives unless
    /// [`crate::Latch::armed`] differs or the entry names another latched source, and the entries that send
    /// towards a latched party keep sending to the latched address.
    Update(FlowEntry),
    /// Forget the flow.
    Remove {
        /// The flow.
        id: FlowId,
        /// Where it is installed.
        key: FlowKey,
    },
}

impl Command {
    /// The flow that the command is about.
    pub const fn flow(&self) -> FlowId {
        match self {
            Self::Install(entry) | Self::Update(entry) => entry.id,
            Self::Remove { id, .. } => *id,
        }
    }
}

/// One worker to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The flow is installed: the next packet at its key is forwarded.
    Installed(FlowId),
    /// The flow's entry has been replaced.
    Updated(FlowId),
    /// The flow is gone from this worker.
    Removed(FlowId),
    /// The command was not carried out, and changed nothing.
    Refused(FlowId, Refusal),
    /// The flow's latch has chosen a source. The worker already sends there.
    Latched {
        /// The flow whose party it is.
        flow: FlowId,
        /// The [`crate::Latch::armed`] count that the choice was made under.
        armed: u32,
        /// The source address and port of the packet that decided.
        remote: SocketAddr,
        /// The MAC address it came from: the next hop until the control plane says better.
        next_hop: MacAddress,
    },
    /// No packet was accepted at this worker for the entry's `idle_after`. Said once until a packet comes,
    /// and again after each [`Command::Update`] that leaves the flow idle. The flow is idle when every
    /// worker has said so.
    Idle(FlowId),
    /// On a flow that this worker had reported idle a packet was accepted, or silence counts anew because
    /// the latch was armed.
    Active(FlowId),
}

impl Event {
    /// The flow that the event is about.
    pub const fn flow(&self) -> FlowId {
        match self {
            Self::Installed(id)
            | Self::Updated(id)
            | Self::Removed(id)
            | Self::Refused(id, _)
            | Self::Idle(id)
            | Self::Active(id) => *id,
            Self::Latched { flow, .. } => *flow,
        }
    }
}

/// Why a worker did not carry out a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The key's address is not a media address of this worker, or the port is outside its range.
    UnknownKey,
    /// The key holds another flow.
    KeyTaken,
    /// The worker holds as many flows as it was configured for.
    TableFull,
    /// No flow of that id at that key.
    UnknownFlow,
    /// The entry names a device that this worker has no socket on.
    UnknownDevice,
    /// The entry contradicts itself: source and destination of an egress differ in address family, neither RTP
    /// nor RTCP goes anywhere, or RTCP does of a flow that has none.
    Malformed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "no media address and port of this worker",
            Self::KeyTaken => "the port holds another flow",
            Self::TableFull => "the flow table is full",
            Self::UnknownFlow => "no such flow at that port",
            Self::UnknownDevice => "no socket on the egress device",
            Self::Malformed => "the entry contradicts itself",
        })
    }
}
