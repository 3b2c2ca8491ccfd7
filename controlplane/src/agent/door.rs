//! What goes into the agent and what comes out of it: plain data.

use std::net::SocketAddr;
use std::time::Duration;

use contract::{
    Command, Event, FlowKey, Homes, Link, ServiceEvent, ServiceOrder, Timestamp, WorkerId,
};

use crate::b2bua::CallId;
use crate::identity::Identity;
use crate::installer::NextHopQuery;
use crate::ng::{CallNumber, ControlPath, Totals};
use crate::path::Path;
use crate::records::{CallRecord, Measured};
use crate::resolver::{Ask, Heard};
use crate::session::{Reports, Side};
use crate::settings::{ListenerId, TrunkId};
use crate::story::Mirrored;

/// What happened outside.
#[expect(
    clippy::large_enum_variant,
    reason = "a rejected command is as rare as it is large, and none of these is kept"
)]
#[derive(Clone, Debug)]
pub enum Input {
    /// A message arrived at a listener, by datagram or within a stream.
    Datagram {
        /// From whom.
        path: Path,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// A request of the control protocol arrived: a cookie and a dictionary.
    Control {
        /// From whom.
        path: ControlPath,
        /// The request.
        bytes: Vec<u8>,
    },
    /// What was sent from the listener to this address did not get there: an error of the socket, ICMP, a
    /// connection that was not to be had or broke before.
    SendFailed {
        /// Whom it was to reach, or is with.
        path: Path,
    },
    /// The other end of a TLS connection has shown who it is. Comes before anything that it sends.
    Identified {
        /// Whom it was to reach, or is with.
        path: Path,
        /// Who it is.
        identity: Identity,
    },
    /// A connection has ended. What was sent over it gets no response.
    ConnectionLost {
        /// Whom it was to reach, or is with.
        path: Path,
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
    /// The name servers' sockets say something.
    Dns(Heard),
    /// Which worker the packets of a port arrive at has become known or, when empty, is not known any more.
    Homes(Homes),
    /// How long the datagram that comes next has waited to be handled: what overload is known by. Need not be
    /// said of each.
    Waited {
        /// The listener at which it has come.
        listener: ListenerId,
        /// So long.
        time: Duration,
    },
    /// Nothing but that time has passed.
    Time,
    /// The answer to [`Output::Measure`], at once.
    Measured {
        /// The flow.
        flow: FlowToMeasure,
        /// What was counted for it.
        counted: Measured,
    },
    /// The answer to [`Output::Total`], at once.
    Totalled {
        /// Which question.
        number: u64,
        /// What was counted.
        totals: Totals,
    },
    /// The media services say something.
    Service(ServiceEvent),
    /// An operator ends a call.
    HangUp(CallId),
    /// Take no new calls; end what is left at `deadline`; then say [`Output::Drained`].
    Drain {
        /// When calls that are still up are ended with BYE.
        deadline: Timestamp,
    },
    /// End every call now, then say [`Output::Drained`].
    Stop,
    /// The process ends at once: what is left of calls that are up is said, and nobody told.
    Abandon,
}

/// What must happen outside.
#[expect(
    clippy::large_enum_variant,
    reason = "plain data that is moved once, as often as datagrams"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message.
    Send {
        /// To this address; from a listener of streams over the connection with it.
        path: Path,
        /// Where to, if there is no such connection: a response goes to where its client listens. `None`:
        /// a connection to the address itself is opened. The same address again: none is.
        otherwise: Option<SocketAddr>,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// Send the reply to a request of the control protocol; a connection that has gone meanwhile takes it along.
    Reply {
        /// Whom to.
        path: ControlPath,
        /// The reply: a cookie and a dictionary.
        bytes: Vec<u8>,
    },
    /// The media services are to do something; one that cannot be given to them is answered as not done.
    Service(ServiceOrder),
    /// Let the connection with an address also serve for another address of the same host (RFC 5923).
    Alias {
        /// Whom the connection is with.
        path: Path,
        /// The other address.
        alias: SocketAddr,
    },
    /// The settings are new: certificates, keys and roots are to be read by them.
    Reconfigured,
    /// The names of a trunk's peers lead to these addresses now: connections with them are the trunk's.
    Located {
        /// The trunk.
        trunk: TrunkId,
        /// All of them.
        addresses: Vec<SocketAddr>,
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
    /// Something for the name servers' sockets to do.
    Dns(Ask),
    /// Nobody needs this next hop any more.
    Forget(NextHopQuery),
    /// Say with [`Input::Measured`] what was counted for a flow of a call, before the next output: it may be
    /// about to be removed.
    Measure(FlowToMeasure),
    /// Say with [`Input::Totalled`] what the whole relay has counted, before the next output.
    Total(u64),
    /// A call is over, or an INVITE was refused: this is left of it.
    CallEnded(Box<CallRecord>),
    /// A message passed; only with [`Settings::mirror`].
    Mirror(Mirrored),
    /// No call is left after [`Input::Drain`] or [`Input::Stop`]. Said once.
    Drained,
    /// Nothing more to do until the next input or, if given, until this time: then [`Input::Time`].
    Wait(Option<Timestamp>),
}

/// For whom a flow is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowOwner {
    /// A call of SIP: the flow is about to be removed.
    Call(CallId),
    /// A call of the control protocol: the same.
    Control(CallNumber),
    /// A reply of the control protocol: the flow goes on.
    Survey(u64),
}

/// A flow to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowToMeasure {
    /// For whom.
    pub owner: FlowOwner,
    /// Who sends to it.
    pub from: Side,
    /// Where its packets arrive.
    pub key: FlowKey,
    /// Whether RTP was expected there, with or without RTCP; if not, RTCP alone.
    pub rtp: bool,
    /// Where it was reported how its RTP was received.
    pub reports: Option<Reports>,
}
