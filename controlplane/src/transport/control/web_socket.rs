//! WebSockets (RFC 6455) as rtpengine speaks them: a message a request, a message a reply. Sans-IO: the protocol
//! runs over memory, and the connection carries the bytes.

use std::io::{self, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::outbox::{Full, Outbox};
use super::speech::{Heard, Nonsense};

/// What the library reads at a time.
const READ_BUFFER: usize = 4096;

/// One WebSocket, after its handshake.
pub(super) struct WebSocket {
    context: WebSocketContext,
    memory: Memory,
}

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}

impl WebSocket {
    /// `rest`: what came behind the handshake.
    pub(super) fn new(rest: Vec<u8>, largest: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(largest))
            .max_frame_size(Some(largest));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            memory: Memory {
                incoming: rest,
                ..Memory::default()
            },
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.memory.incoming.extend_from_slice(bytes);
    }

    /// The next request. Pings are answered, and a close is.
    pub(super) fn next(&mut self, out: &mut Outbox) -> Result<Heard, Nonsense> {
        let heard = loop {
            match self.context.read(&mut self.memory) {
                Ok(Message::Text(text)) => break Heard::Request(text.as_bytes().to_vec()),
                Ok(Message::Binary(bytes)) => break Heard::Request(bytes.to_vec()),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break Heard::Nothing;
                }
                Err(Error::ConnectionClosed) => break Heard::Close,
                Err(Error::Capacity(_)) => return Err(Nonsense::TooLarge),
                Err(_) => return Err(Nonsense::Malformed),
            }
        };
        // A pong or the close may be on its way.
        let _ = self.context.flush(&mut self.memory);
        self.hand_over(out).map_err(|Full| Nonsense::Unread)?;
        Ok(heard)
    }

    /// Sends a reply, as rtpengine does in a binary message.
    pub(super) fn reply(&mut self, bytes: Vec<u8>, out: &mut Outbox) -> Result<(), Full> {
        let message = Message::Binary(bytes.into());
        let sent = self.context.write(&mut self.memory, message);
        // After a close nothing is sent any more: who has closed does not wait.
        if sent.is_ok() {
            let _ = self.context.flush(&mut self.memory);
        }
        self.hand_over(out)
    }

    fn hand_over(&mut self, out: &mut Outbox) -> Result<(), Full> {
        let bytes = std::mem::take(&mut self.memory.outgoing);
        out.push(&bytes)
    }
}

/// A stream in memory: what has come, and what is to go.
#[derive(Debug, Default)]
struct Memory {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.incoming.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
