//! One connection: its bytes, its messages in both directions, and its life.

use std::io;
use std::net::SocketAddr;

use contract::Timestamp;

use super::wire::Wire;
use crate::identity::Identity;
use crate::path::Opened;
use crate::transport::framing::{Frame, Framer, FramingError};
use crate::transport::life::{Life, Phase};
use crate::transport::outbox::{Outbox, Parcel};

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Why {
    /// The other side closed it.
    Closed,
    /// The network broke it, or the other side did without a word.
    Broken,
    /// It did not come up.
    NotUp(io::Error),
    /// TLS did not come up, or broke.
    Tls(io::Error),
    /// What came is no SIP.
    Framing(FramingError),
    /// The other side does not read, or does not end what it writes.
    Stalled,
    /// Nobody had anything to say.
    Idle,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) remote: SocketAddr,
    /// Another address that it also serves (RFC 5923).
    pub(super) alias: Option<SocketAddr>,
    /// More may be there to be read.
    pub(super) is_ready: bool,
    /// With an address of no trunk.
    pub(super) is_stranger: bool,
    /// Who has shown to be at its other end.
    pub(super) identity: Option<Identity>,
    wire: Wire,
    pub(super) life: Life,
    framer: Framer,
    outbox: Outbox,
}

impl Connection {
    pub(super) fn new(remote: SocketAddr, wire: Wire, life: Life) -> Self {
        Self {
            remote,
            alias: None,
            is_ready: false,
            is_stranger: false,
            identity: None,
            wire,
            life,
            framer: Framer::default(),
            outbox: Outbox::default(),
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Goes on with coming up; whether it has just come to be open.
    pub(super) fn come_up(&mut self, now: Timestamp) -> Result<bool, Why> {
        if self.life.phase() == Phase::Connecting {
            if !self.wire.is_connected().map_err(Why::NotUp)? {
                return Ok(false);
            }
            let next = match self.wire.is_tls() {
                true => Phase::Handshaking,
                false => Phase::Open,
            };
            self.life.enter(next, now);
            if next == Phase::Open {
                return Ok(true);
            }
        }
        if self.life.phase() == Phase::Handshaking && self.wire.handshake().map_err(Why::Tls)? {
            self.life.enter(Phase::Open, now);
            return Ok(true);
        }
        Ok(false)
    }

    /// Lets a message wait to be written; gives it back when too many do.
    pub(super) fn put(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        self.outbox.push(parcel)
    }

    /// Writes what waits, as far as there is room; how many messages that ended.
    pub(super) fn write(&mut self, now: Timestamp) -> Result<u64, Why> {
        let (mut messages, mut progress) = (0, false);
        let mut room = true;
        while let Some(bytes) = self.outbox.front().filter(|_| room) {
            match self.wire.write(bytes) {
                Ok(count) => {
                    progress = true;
                    if self.outbox.advance(count) {
                        messages += 1;
                        self.life.wrote(now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => room = false,
                Err(error) => return Err(broken(error)),
            }
        }
        let held = self.wire.flush().map_err(broken)?;
        let waits = held || !self.outbox.is_empty();
        self.life.set_writing(waits, progress, now);
        Ok(messages)
    }

    /// Reads once; the messages that have come to their end, and whether more may be there. What is
    /// wrong with the rest is found at the next read.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        now: Timestamp,
    ) -> Result<(Vec<Vec<u8>>, bool), Why> {
        let count = match self.wire.read(buffer) {
            Ok(0) => return Err(Why::Closed),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok((Vec::new(), false));
            }
            Err(error) => return Err(broken(error)),
        };
        self.framer.push(buffer.get(..count).unwrap_or_default());
        let (mut messages, mut pinged) = (Vec::new(), false);
        while let Some(frame) = self.framer.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    self.life.message(now);
                    messages.push(bytes);
                }
                Ok(Frame::LineEnd) => pinged |= self.life.line_end(now),
                Err(error) if messages.is_empty() => return Err(Why::Framing(error)),
                Err(_) => break,
            }
        }
        if pinged {
            // One for all that came at once: a flood gets no flood. No room: it is written to more than it
            // reads, and that alone ends it.
            let _ = self.outbox.push(Parcel::line_ends(self.remote, 1));
        }
        self.life.set_reading(self.framer.is_within(), now);
        Ok((messages, true))
    }

    /// Whether the stream makes no sense any more.
    pub(super) fn nonsense(&mut self) -> Option<FramingError> {
        self.framer.broken()
    }

    pub(super) fn opened(&self) -> Opened {
        self.life.opened()
    }

    /// Closes it; what was not written.
    pub(super) fn close(mut self) -> impl Iterator<Item = Parcel> {
        self.wire.close();
        self.outbox.into_unsent().into_iter()
    }
}

fn broken(error: io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::InvalidData => Why::Tls(error),
        _ => Why::Broken,
    }
}
