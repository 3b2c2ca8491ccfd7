//! A peer's end of TCP or TLS: what its phone sends by datagram goes into a stream, and the messages of every
//! stream go to the phone. So the phones of the lab need not know what carries them.
//!
//! ```text
//!   Phone ◄─ UDP ─► Line ◄─ TCP or TLS ─► the relay
//! ```

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use super::network::Host;

/// What a TLS end shows and believes.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    /// For connections that it accepts.
    pub(crate) server: Arc<ServerConfig>,
    /// For those that it opens.
    pub(crate) client: Arc<ClientConfig>,
    /// The name that it asks the relay for.
    pub(crate) relay: ServerName<'static>,
}

/// What has become of its connections.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU32,
    opened: AtomicU32,
    refused: AtomicU32,
    /// Close everything, once.
    hang_up: AtomicBool,
    over: AtomicBool,
}

/// One end. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Line {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Listens at `says` for the relay, and connects to it at `relay` when there is no connection to send
    /// over; the phone's own socket is `phone`, and it sends to `to`.
    pub(crate) fn new(
        host: &Host,
        says: SocketAddr,
        relay: SocketAddr,
        (phone, to): (SocketAddr, SocketAddr),
        secrets: Option<Secrets>,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let ours = Arc::clone(&counts);
        let namespace = File::open(format!("/run/netns/{}", host.name()))
            .expect("the namespace lives as long as the host");
        let datagrams = host.udp(to);
        let listener = host
            .within(|| TcpListener::bind(says))
            .unwrap_or_else(|error| panic!("listen at {says}: {error}"));
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("journeys run as root");
            let mut end = End {
                datagrams,
                listener,
                relay,
                phone,
                secrets,
                streams: Vec::new(),
                counts: ours,
            };
            end.run().expect("sockets of one's own can be used");
        });
        Self {
            counts,
            thread: Some(thread),
        }
    }

    /// How many connections the relay has opened to here.
    pub(crate) fn accepted(&self) -> u32 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many it has opened to the relay.
    pub(crate) fn opened(&self) -> u32 {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// How many have failed: a handshake that went wrong, a connection that was not to be had.
    pub(crate) fn refused(&self) -> u32 {
        self.counts.refused.load(Ordering::SeqCst)
    }

    /// Closes every connection, and waits until that is done.
    pub(crate) fn hang_up(&self) {
        self.counts.hang_up.store(true, Ordering::SeqCst);
        while self.counts.hang_up.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.counts.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(
                std::thread::panicking() || outcome.is_ok(),
                "the line broke"
            );
        }
    }
}

/// The thread's side.
struct End {
    datagrams: UdpSocket,
    listener: TcpListener,
    relay: SocketAddr,
    phone: SocketAddr,
    secrets: Option<Secrets>,
    /// The last is what is sent over.
    streams: Vec<Stream>,
    counts: Arc<Counts>,
}

struct Stream {
    socket: TcpStream,
    tls: Option<Connection>,
    received: Vec<u8>,
}

impl End {
    fn run(&mut self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let moment = Some(Duration::from_millis(1));
        self.datagrams.set_read_timeout(moment)?;
        let mut buffer = vec![0; 65_536];
        while !self.counts.over.load(Ordering::SeqCst) {
            if self.counts.hang_up.load(Ordering::SeqCst) {
                self.streams.clear();
                self.counts.hang_up.store(false, Ordering::SeqCst);
            }
            if let Ok((socket, _)) = self.listener.accept() {
                let tls = self.secrets.as_ref().map(|secrets| {
                    let server = ServerConnection::new(Arc::clone(&secrets.server));
                    server.expect("the configuration is whole").into()
                });
                self.counts.accepted.fetch_add(1, Ordering::SeqCst);
                self.streams.push(Stream::new(socket, tls)?);
            }
            if let Ok((length, _)) = self.datagrams.recv_from(&mut buffer) {
                self.send(&buffer[..length]);
            }
            for at in (0..self.streams.len()).rev() {
                let (messages, open) = self.streams[at].receive(&mut buffer);
                for message in messages {
                    self.datagrams.send_to(&message, self.phone)?;
                }
                if !open {
                    let stream = self.streams.remove(at);
                    let shaking = stream.tls.is_some_and(|tls| tls.is_handshaking());
                    self.counts
                        .refused
                        .fetch_add(shaking.into(), Ordering::SeqCst);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &[u8]) {
        if self.streams.is_empty() {
            match TcpStream::connect(self.relay) {
                Ok(socket) => {
                    let tls = self.secrets.as_ref().map(|secrets| {
                        let (client, name) = (Arc::clone(&secrets.client), secrets.relay.clone());
                        let client = ClientConnection::new(client, name);
                        client.expect("the configuration is whole").into()
                    });
                    self.counts.opened.fetch_add(1, Ordering::SeqCst);
                    let stream = Stream::new(socket, tls).expect("a socket of one's own");
                    self.streams.push(stream);
                }
                Err(_) => {
                    self.counts.refused.fetch_add(1, Ordering::SeqCst);
                    return;
                }
            }
        }
        let Some(stream) = self.streams.last_mut() else {
            return;
        };
        if stream.send(message).is_err() {
            self.streams.pop();
            self.counts.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Stream {
    fn new(socket: TcpStream, tls: Option<Connection>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            received: Vec::new(),
        })
    }

    /// Writes the whole message, waiting for room and for the end of the handshake.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        let sent = match &mut self.tls {
            None => self.socket.write_all(message),
            Some(tls) => {
                let written = tls.writer().write_all(message);
                let patience = Some(Duration::from_secs(5));
                self.socket.set_read_timeout(patience)?;
                let mut outcome = written;
                while outcome.is_ok() && (tls.is_handshaking() || tls.wants_write()) {
                    outcome = tls.complete_io(&mut self.socket).map(|_| ());
                }
                outcome
            }
        };
        self.socket.set_nonblocking(true)?;
        sent
    }

    /// The messages that have come, and whether the stream is still open.
    fn receive(&mut self, buffer: &mut [u8]) -> (Vec<Vec<u8>>, bool) {
        let mut open = true;
        loop {
            match self.read(buffer) {
                Ok(0) => open = false,
                Ok(length) => {
                    self.received.extend_from_slice(&buffer[..length]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => open = false,
            }
            break;
        }
        let messages = std::iter::from_fn(|| self.message()).collect();
        (messages, open)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            let read = tls.read_tls(&mut self.socket)?;
            let outcome = tls.process_new_packets();
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            outcome.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if read == 0 && tls.is_handshaking() {
                return Ok(0);
            }
        }
    }

    /// The next whole message; the relay always writes Content-Length, in full.
    fn message(&mut self) -> Option<Vec<u8>> {
        let head = self
            .received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?
            + 4;
        let text = String::from_utf8_lossy(&self.received[..head]).into_owned();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok())
            .unwrap_or_else(|| panic!("no Content-Length in {text}"));
        let whole = head + length;
        (self.received.len() >= whole).then(|| self.received.drain(..whole).collect())
    }
}
