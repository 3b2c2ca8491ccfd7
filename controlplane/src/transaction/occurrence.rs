//! What the transaction layer says to its user.

use std::fmt;
use std::net::SocketAddr;

use super::{ClientKey, Path, Sent, ServerKey};
use crate::sip::Message;
use crate::sip::typed::Host;

/// What the layer has to say, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// Send these bytes.
    Transmit {
        /// From where, to where.
        path: Path,
        /// To where if the connection to there is gone; `None`: a new one may be opened to there.
        otherwise: Option<SocketAddr>,
        /// One message.
        bytes: Vec<u8>,
    },
    /// A client offers the connection that its request came over for requests to it as well (RFC 5923 §5).
    /// Whether it may depends on who it is.
    Alias {
        /// The connection.
        path: Path,
        /// Who sent it, by its Via.
        sent_by: Host,
        /// The port of it.
        port: u16,
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
    /// The request was answered with 401 or 407 (and an INVITE's response acknowledged). Either it is sent again with
    /// [`super::Transactions::retry`], or this is its final response.
    Challenged {
        /// The request.
        key: ClientKey,
        /// The response.
        message: Message,
        /// How it came.
        path: Path,
        /// The request as it was sent.
        sent: Box<Sent>,
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
