//! The four machines as one table (RFC 3261 §17, RFC 6026). `docs/sip-transactions.md` shows the same
//! rows, and a test compares them; what is not in the table does not happen.

use super::timer::Timer;

/// One of the four machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// RFC 3261 §17.1.1.
    InviteClient,
    /// RFC 3261 §17.1.2.
    Client,
    /// RFC 3261 §17.2.1.
    InviteServer,
    /// RFC 3261 §17.2.2.
    Server,
}

/// A state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Does not exist yet.
    Start,
    /// INVITE sent, nothing heard.
    Calling,
    /// Request sent and nothing heard; or received and nothing said.
    Trying,
    /// A provisional response has passed.
    Proceeding,
    /// A 2xx to INVITE has passed.
    Accepted,
    /// A failure of INVITE, or any final response to another request, has passed.
    Completed,
    /// The ACK of the failure has come.
    Confirmed,
    /// Forgotten.
    Terminated,
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The request: to be sent, or received for the first time or again.
    Request,
    /// A provisional response comes from the network (client) or the user (server).
    Provisional,
    /// A 2xx.
    Success,
    /// A 3xx to 6xx.
    Failure,
    /// An ACK.
    Ack,
    /// The user takes the INVITE back.
    Cancel,
    /// A timer has run out.
    Timer(Timer),
    /// What was sent could not be delivered.
    TransportError,
    /// The same, over a stream that was chosen only because the request is large.
    FallBack,
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send the request, the first time or again.
    SendRequest,
    /// Send 100 Trying.
    SendTrying,
    /// Send the user's response and keep it.
    SendResponse,
    /// Send the last response again, if there is one.
    Repeat,
    /// Send the ACK of the failure, the first time or again.
    SendAck,
    /// Send the CANCEL that the user has asked for, if it has.
    SendCancel,
    /// Give the message to the user.
    Tell,
    /// Acknowledge a 2xx that the user has acknowledged before; give another to the user.
    TellSuccess,
    /// Give the ACK of the 2xx to the user, once.
    TellAck,
    /// Tell the user that nothing came in time.
    TellTimeout,
    /// Tell the user, unless the ACK has come, that it has not.
    TellUnacknowledged,
    /// Tell the user that the transport failed.
    TellTransportError,
    /// Start a timer.
    Start(Timer),
    /// Start a timer again, for longer.
    Longer(Timer),
    /// Start timer E again, for T2.
    Slow(Timer),
    /// Stop a timer.
    Stop(Timer),
}

/// One row: in this state, at this event, do this and go there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) machine: Machine,
    pub(crate) state: State,
    pub(crate) event: Event,
    pub(crate) next: State,
    pub(crate) actions: &'static [Action],
}

/// The row for an event, if anything happens at it.
pub(crate) fn row(machine: Machine, state: State, event: Event) -> Option<&'static Row> {
    ROWS.iter()
        .find(|row| row.machine == machine && row.state == state && row.event == event)
}

macro_rules! rows {
    ($($machine:ident $state:ident, $event:expr => $next:ident [$($action:expr),*];)+) => {
        &[$(Row {
            machine: Machine::$machine,
            state: State::$state,
            event: $event,
            next: State::$next,
            actions: &[$($action),*],
        },)+]
    };
}

use Action::{
    Longer, Repeat, SendAck, SendCancel, SendRequest, SendResponse, SendTrying, Slow, Start, Stop,
    Tell, TellAck, TellSuccess, TellTimeout, TellTransportError, TellUnacknowledged,
};
use Event::{Ack, Cancel, Failure, FallBack, Provisional, Request, Success, TransportError};
use Timer::{A, B, Cancelled, D, E, F, G, H, I, J, K, L, M};

/// Every row.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = rows! {
    InviteClient Start, Request => Calling [SendRequest, Start(A), Start(B)];
    InviteClient Calling, Event::Timer(A) => Calling [SendRequest, Longer(A)];
    InviteClient Calling, Event::Timer(B) => Terminated [TellTimeout];
    InviteClient Calling, TransportError => Terminated [TellTransportError];
    InviteClient Calling, FallBack => Calling [SendRequest, Start(A), Start(B)];
    InviteClient Calling, Cancel => Calling [];
    InviteClient Calling, Provisional => Proceeding [Stop(A), Stop(B), Tell, SendCancel];
    InviteClient Calling, Success => Accepted [Stop(A), Stop(B), TellSuccess, Start(M)];
    InviteClient Calling, Failure => Completed [Stop(A), Stop(B), SendAck, Tell, Start(D)];
    InviteClient Proceeding, Provisional => Proceeding [Tell];
    InviteClient Proceeding, Cancel => Proceeding [SendCancel];
    InviteClient Proceeding, Event::Timer(Cancelled) => Terminated [TellTimeout];
    InviteClient Proceeding, Success => Accepted [Stop(Cancelled), TellSuccess, Start(M)];
    InviteClient Proceeding, Failure => Completed [Stop(Cancelled), SendAck, Tell, Start(D)];
    InviteClient Completed, Failure => Completed [SendAck];
    InviteClient Completed, TransportError => Terminated [];
    InviteClient Completed, Event::Timer(D) => Terminated [];
    InviteClient Accepted, Success => Accepted [TellSuccess];
    InviteClient Accepted, Event::Timer(M) => Terminated [];

    Client Start, Request => Trying [SendRequest, Start(E), Start(F)];
    Client Trying, Event::Timer(E) => Trying [SendRequest, Longer(E)];
    Client Trying, Event::Timer(F) => Terminated [TellTimeout];
    Client Trying, TransportError => Terminated [TellTransportError];
    Client Trying, FallBack => Trying [SendRequest, Start(E), Start(F)];
    Client Trying, Provisional => Proceeding [Tell];
    Client Trying, Success => Completed [Stop(E), Stop(F), Tell, Start(K)];
    Client Trying, Failure => Completed [Stop(E), Stop(F), Tell, Start(K)];
    Client Proceeding, Event::Timer(E) => Proceeding [SendRequest, Slow(E)];
    Client Proceeding, Event::Timer(F) => Terminated [TellTimeout];
    Client Proceeding, TransportError => Terminated [TellTransportError];
    Client Proceeding, Provisional => Proceeding [Tell];
    Client Proceeding, Success => Completed [Stop(E), Stop(F), Tell, Start(K)];
    Client Proceeding, Failure => Completed [Stop(E), Stop(F), Tell, Start(K)];
    Client Completed, Event::Timer(K) => Terminated [];

    InviteServer Start, Request => Proceeding [SendTrying, Tell];
    InviteServer Proceeding, Request => Proceeding [Repeat];
    InviteServer Proceeding, Provisional => Proceeding [SendResponse];
    InviteServer Proceeding, Success => Accepted [SendResponse, Start(Timer::Success), Start(L)];
    InviteServer Proceeding, Failure => Completed [SendResponse, Start(G), Start(H)];
    InviteServer Proceeding, TransportError => Proceeding [TellTransportError];
    InviteServer Completed, Request => Completed [Repeat];
    InviteServer Completed, Event::Timer(G) => Completed [Repeat, Longer(G)];
    InviteServer Completed, Event::Timer(H) => Terminated [];
    InviteServer Completed, Ack => Confirmed [Stop(G), Stop(H), Start(I)];
    InviteServer Completed, TransportError => Completed [TellTransportError];
    InviteServer Confirmed, Event::Timer(I) => Terminated [];
    InviteServer Accepted, Event::Timer(Timer::Success) => Accepted [Repeat, Longer(Timer::Success)];
    InviteServer Accepted, Ack => Accepted [Stop(Timer::Success), TellAck];
    InviteServer Accepted, TransportError => Accepted [TellTransportError];
    InviteServer Accepted, Event::Timer(L) => Terminated [TellUnacknowledged];

    Server Start, Request => Trying [Tell];
    Server Trying, Provisional => Proceeding [SendResponse];
    Server Trying, Success => Completed [SendResponse, Start(J)];
    Server Trying, Failure => Completed [SendResponse, Start(J)];
    Server Proceeding, Request => Proceeding [Repeat];
    Server Proceeding, Provisional => Proceeding [SendResponse];
    Server Proceeding, Success => Completed [SendResponse, Start(J)];
    Server Proceeding, Failure => Completed [SendResponse, Start(J)];
    Server Proceeding, TransportError => Terminated [TellTransportError];
    Server Completed, Request => Completed [Repeat];
    Server Completed, TransportError => Terminated [TellTransportError];
    Server Completed, Event::Timer(J) => Terminated [];
};
