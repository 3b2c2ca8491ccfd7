//! What is spoken over a connection of a control listener: how requests are told apart in its bytes, and how replies
//! are put into them. Sans-IO.

use super::frames::{FrameError, Frames};
use super::http::Http;
use super::outbox::{Full, Outbox};
use super::web_socket::WebSocket;
use crate::settings::{ControlListener, ControlTransport};

/// What has come to its end in what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A request.
    Request(Vec<u8>),
    /// Something that is no request, and was answered.
    Answered,
    /// Something that is no request, and was answered with an error.
    Refused,
    /// The same, and nothing of what follows can be understood; whether it was too large.
    RefusedForGood(bool),
    /// From here on a WebSocket is spoken.
    Upgrade,
    /// The last word has been said.
    Close,
    /// Nothing so far.
    Nothing,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    Malformed,
    TooLarge,
    /// What is written to it is not read.
    Unread,
}

/// What is spoken.
#[derive(Debug)]
pub(super) enum Speech {
    /// Messages one after the other.
    Framed(Frames),
    Http(Http),
    WebSocket(Box<WebSocket>),
}

impl Speech {
    /// What the settings say.
    pub(super) fn of(settings: &ControlListener) -> Self {
        let largest = settings.largest_request;
        match settings.transport {
            ControlTransport::Http => Self::Http(Http::new(largest)),
            ControlTransport::Tcp | ControlTransport::Udp => Self::Framed(Frames::new(largest)),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Framed(frames) => frames.push(bytes),
            Self::Http(http) => http.push(bytes),
            Self::WebSocket(socket) => socket.push(bytes),
        }
    }

    /// What comes next. Some of it is answered here.
    pub(super) fn next(&mut self, out: &mut Outbox) -> Result<Heard, Nonsense> {
        match self {
            Self::Framed(frames) => match frames.next() {
                None => Ok(Heard::Nothing),
                Some(Ok(bytes)) => Ok(Heard::Request(bytes)),
                Some(Err(FrameError::TooLarge)) => Err(Nonsense::TooLarge),
                Some(Err(_)) => Err(Nonsense::Malformed),
            },
            Self::Http(http) => {
                let heard = http.next(out);
                if heard == Ok(Heard::Upgrade) {
                    *self = Self::WebSocket(Box::new(http.upgrade()));
                }
                heard
            }
            Self::WebSocket(socket) => socket.next(out),
        }
    }

    /// Puts a reply into the bytes; whether the connection goes on after it.
    pub(super) fn reply(&mut self, bytes: Vec<u8>, out: &mut Outbox) -> Result<bool, Full> {
        match self {
            Self::Framed(_) => out.push(&bytes).map(|()| true),
            Self::Http(http) => http.reply(&bytes, out),
            Self::WebSocket(socket) => socket.reply(bytes, out).map(|()| true),
        }
    }

    /// Nobody has answered in time.
    pub(super) fn give_up(&mut self, out: &mut Outbox) {
        if let Self::Http(http) = self {
            http.give_up(out);
        }
    }

    /// Whether a request has begun and not ended.
    pub(super) fn is_within(&self) -> bool {
        match self {
            Self::Framed(frames) => frames.is_within(),
            Self::Http(http) => http.is_within(),
            Self::WebSocket(_) => false,
        }
    }

    /// Whether nothing more is heard before a reply.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self, Self::Http(http) if http.is_answering())
    }
}
