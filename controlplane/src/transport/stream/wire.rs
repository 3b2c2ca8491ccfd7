//! The bytes of one connection: a TCP socket, plain or within TLS. Knows no messages.

use std::io::{self, Read, Write};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::Connection as Session;
use rustls::pki_types::CertificateDer;

/// Bytes that TLS may hold encrypted before the socket takes them. More would count as sent what has not left.
const ENCRYPTED: usize = 64 << 10;

/// A TCP socket, plain or within TLS.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<Session>>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, tls: Option<Session>) -> Self {
        let tls = tls.map(|mut session| {
            session.set_buffer_limit(Some(ENCRYPTED));
            Box::new(session)
        });
        Self { socket, tls }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.socket.register(registry, token, interest)
    }

    pub(super) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the TCP connection is up; an error when it will not be.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on with the TLS handshake; whether it is over. Without TLS it always is.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        let Some(session) = &mut self.tls else {
            return Ok(true);
        };
        loop {
            flush(session, &mut self.socket)?;
            if !session.is_handshaking() {
                return Ok(true);
            }
            match session.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => process(session, &mut self.socket)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(!session.is_handshaking());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The certificates that the other side has shown.
    pub(super) fn shown(&self) -> &[CertificateDer<'static>] {
        let session = self.tls.as_deref();
        session
            .and_then(|session| session.peer_certificates())
            .unwrap_or_default()
    }

    /// Reads what there is; 0 at the end. `WouldBlock`: nothing now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match &mut self.tls {
                None => self.socket.read(buffer),
                Some(session) => read_within(session, &mut self.socket, buffer),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An end without close_notify: SIP says by itself where its messages end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
        }
    }

    /// Writes what there is room for. `WouldBlock`: no room now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let outcome = match &mut self.tls {
                None => self.socket.write(bytes),
                Some(session) => {
                    let taken = session.writer().write(bytes)?;
                    flush(session, &mut self.socket)?;
                    match taken {
                        0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
                        taken => Ok(taken),
                    }
                }
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Writes what TLS holds encrypted; whether something is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            None => Ok(false),
            Some(session) => {
                flush(session, &mut self.socket)?;
                Ok(session.wants_write())
            }
        }
    }

    /// Says goodbye, as far as there is room for it.
    pub(super) fn close(&mut self) {
        if let Some(session) = &mut self.tls {
            session.send_close_notify();
            let _ = flush(session, &mut self.socket);
        }
    }
}

fn read_within(
    session: &mut Session,
    socket: &mut TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        session.read_tls(socket)?;
        process(session, socket)?;
    }
}

/// Takes in what has been read. What is wrong with it is also told to the other side, by an alert.
fn process(session: &mut Session, socket: &mut TcpStream) -> io::Result<()> {
    let outcome = session.process_new_packets();
    if session.wants_write() {
        let flushed = flush(session, socket);
        if outcome.is_ok() {
            flushed?;
        }
    }
    outcome
        .map(|_| ())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn flush(session: &mut Session, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
