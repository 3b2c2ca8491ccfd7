//! The transaction layer (RFC 3261 §17, as corrected by RFC 6026), sans-IO.
//!
//! Sits between the transport (datagrams) and the transaction user (the B2BUA). Retransmits and absorbs
//! retransmissions, answers what needs no user (100 Trying, ACK of failures, 200 for CANCEL, 481, 482,
//! 503 when full, 400), and tells the user the rest as [`Occurrence`]s.
//!
//! Refuses to know dialogs, calls, routing, bodies. Reads no clock and touches no socket: inputs come
//! with `now`, outputs wait in [`Transactions::poll`].

use std::fmt;
use std::net::SocketAddr;

use contract::Timestamp;
use rand::rngs::StdRng;

use crate::settings::{ListenerId, Settings, SipTimers};
use crate::sip::{Header, Message, ParseErrorKind, Tokens};

/// Between which socket of ours and which address of theirs a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Our socket.
    pub listener: ListenerId,
    /// Their address.
    pub remote: SocketAddr,
}

/// A transaction that the other side began. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(u64);

/// A transaction that we began. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u64);

/// What the layer is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// T1, T2 and T4.
    pub timers: SipTimers,
    /// The bound on transactions. An incoming request beyond it is answered with 503 and forgotten;
    /// our own requests, which end calls too, may fill as many again.
    pub capacity: usize,
    /// The address of each listener, by [`ListenerId`]: what its Via says.
    pub listeners: Vec<SocketAddr>,
}

impl From<&Settings> for Config {
    fn from(settings: &Settings) -> Self {
        Self {
            timers: settings.timers,
            capacity: settings.limits.transactions,
            listeners: settings
                .listeners
                .iter()
                .map(|listener| listener.address)
                .collect(),
        }
    }
}

/// What the layer has to say, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// Send these bytes.
    Transmit {
        /// From where, to where.
        path: Path,
        /// One message.
        bytes: Vec<u8>,
    },
    /// A new request, neither ACK nor CANCEL. Its top Via holds `received` (and `rport`). An INVITE
    /// has been answered with 100 already.
    Request {
        /// Where to respond.
        key: ServerKey,
        /// The request.
        message: Message,
        /// How it came.
        path: Path,
    },
    /// An ACK for a 2xx. Delivered once for each 2xx that we sent; an ACK that belongs to no
    /// INVITE that we know comes with `None`.
    Ack {
        /// The INVITE that the 2xx answered.
        invite: Option<ServerKey>,
        /// The ACK, perhaps with an answer.
        message: Message,
        /// How it came.
        path: Path,
    },
    /// The other side takes back an INVITE that has no final response yet. The CANCEL itself has been
    /// answered; the user now ends the INVITE, with 487 unless it has something else to say.
    Cancel {
        /// The INVITE.
        invite: ServerKey,
        /// The CANCEL, perhaps with a Reason.
        message: Message,
    },
    /// A response to one of our requests. Of an INVITE: each provisional response, each 2xx that is not
    /// acknowledged yet (there may be several, from several branches), or one failure, already
    /// acknowledged.
    Response {
        /// The request.
        key: ClientKey,
        /// The response.
        message: Message,
        /// How it came.
        path: Path,
    },
    /// No final response came in time (timers B, F; or 64*T1 after a CANCEL). As good as a 408.
    Timeout(ClientKey),
    /// The request could not be sent. As good as a 503.
    TransportError(ClientKey),
    /// A response could not be sent.
    ServerTransportError(ServerKey),
    /// No ACK came for our 2xx in 64*T1: the call is to be ended with BYE (RFC 3261 §13.3.1.4).
    Unacknowledged(ServerKey),
    /// The layer has forgotten the transaction: nothing more comes for it.
    ClientEnded(ClientKey),
    /// The layer has forgotten the transaction: responses to it go nowhere.
    ServerEnded(ServerKey),
}

/// Why the layer took something not on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// There is no room for another transaction.
    Full,
    /// The transaction is unknown or over, or in a state where this has no sense.
    TooLate,
    /// The message is of the wrong kind, lacks what the layer needs, or names no listener of ours.
    Unfit,
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for another transaction",
            Self::TooLate => "the transaction is over",
            Self::Unfit => "the message does not fit",
        })
    }
}

impl std::error::Error for TransactionError {}

/// What the layer has done, and holds. The counts of events only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Client transactions now.
    pub clients: usize,
    /// Server transactions now.
    pub servers: usize,
    /// Messages that were no SIP, by [`ParseErrorKind::index`].
    pub parse_errors: [u64; ParseErrorKind::COUNT],
    /// Messages that the layer sent again.
    pub retransmitted: u64,
    /// Retransmissions of the other side that went no further.
    pub absorbed: u64,
    /// Requests answered with 503 for want of room.
    pub refused_full: u64,
    /// Requests answered with 482: the same request by two ways (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// Requests answered with 482: they had been here before.
    pub looped: u64,
    /// Responses that belong to no request of ours.
    pub stray_responses: u64,
    /// CANCELs answered with 481.
    pub stray_cancels: u64,
    /// Client transactions that ended without a final response.
    pub timeouts: u64,
    /// Transactions that met a transport error.
    pub transport_errors: u64,
}

/// All transactions of the appliance.
#[derive(Debug)]
pub struct Transactions {
    config: Config,
    tokens: Tokens,
    counters: Counters,
}

impl Transactions {
    /// Without any transaction.
    pub fn new(config: Config, rng: StdRng) -> Self {
        Self {
            config,
            tokens: Tokens::new(rng),
            counters: Counters::default(),
        }
    }

    /// A datagram came. What is no SIP is counted, and answered where it can be.
    pub fn receive(&mut self, now: Timestamp, path: Path, bytes: &[u8]) {
        let _ = (now, path, bytes);
    }

    /// Sends a request, neither ACK nor CANCEL, and watches over it. The layer adds the Via.
    ///
    /// # Errors
    /// [`TransactionError::Full`] or [`TransactionError::Unfit`].
    pub fn request(
        &mut self,
        now: Timestamp,
        message: Message,
        path: Path,
    ) -> Result<ClientKey, TransactionError> {
        let _ = (now, message, path, &self.config, &mut self.tokens);
        Err(TransactionError::Full)
    }

    /// Answers a request. A 2xx to an INVITE is sent again until its ACK comes.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] after a final response (but a second 2xx of the same INVITE is
    /// no mistake of a B2BUA and is refused the same way), or [`TransactionError::Unfit`].
    pub fn respond(
        &mut self,
        now: Timestamp,
        key: ServerKey,
        response: Message,
    ) -> Result<(), TransactionError> {
        let _ = (now, key, response);
        Err(TransactionError::TooLate)
    }

    /// Sends the ACK for a 2xx of this INVITE, and sends it again whenever the 2xx with the same To-tag
    /// comes again. The layer adds the Via. The ACK may leave by another path than the INVITE.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] or [`TransactionError::Unfit`].
    pub fn acknowledge(
        &mut self,
        key: ClientKey,
        ack: Message,
        path: Path,
    ) -> Result<(), TransactionError> {
        let _ = (key, ack, path);
        Err(TransactionError::TooLate)
    }

    /// Takes an INVITE back: a CANCEL leaves as soon as a provisional response allows it (RFC 3261 §9.1),
    /// with these headers added (Reason). The INVITE still ends with a response (487 as a rule; a 2xx if
    /// they crossed) or a timeout.
    ///
    /// # Errors
    /// [`TransactionError::TooLate`] when it has its final response or is cancelled already.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        key: ClientKey,
        headers: Vec<Header>,
    ) -> Result<(), TransactionError> {
        let _ = (now, key, headers);
        Err(TransactionError::TooLate)
    }

    /// The transport could not send to this path (an ICMP error, no route).
    pub fn transport_failed(&mut self, now: Timestamp, path: Path) {
        let _ = (now, path);
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub fn deadline(&self) -> Option<Timestamp> {
        None
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The next thing that the layer has to say.
    pub fn poll(&mut self) -> Option<Occurrence> {
        None
    }

    /// What the layer has done, and holds.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
