//! Queries to name servers, over UDP and TCP (RFC 1035 §4.2, RFC 7766): one socket for each query, closed with
//! it. Knows nothing of what is in the messages but the length that goes before each over TCP.
//!
//! A socket of its own for each query means a port of its own, which the kernel draws at random from
//! `ip_local_port_range`, and a socket that is connected hears its server alone: both make forged answers
//! hard (RFC 5452 §9). All stand behind one file descriptor, an epoll instance of their own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

use crate::resolver::{Ask, AttemptId, Carrier, Heard};

/// Datagrams that one query may get. More are a flood of forged answers: the query is given up, and the
/// next one has another port.
const DATAGRAMS: usize = 32;
/// The largest datagram that can come.
const LARGEST: usize = 65_535;
/// Sockets looked at in one go.
const EVENTS: usize = 128;

/// The queries that are out.
#[derive(Debug)]
pub struct NameServers {
    poll: Poll,
    events: Events,
    sockets: BTreeMap<AttemptId, Query>,
    buffer: Vec<u8>,
    /// What has been heard and not been told.
    heard: VecDeque<Heard>,
}

#[derive(Debug)]
struct Query {
    server: SocketAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp {
        socket: UdpSocket,
        received: usize,
    },
    Tcp {
        stream: TcpStream,
        /// What has not been sent yet.
        unsent: Vec<u8>,
        received: Vec<u8>,
    },
}

/// How reading from a socket ended.
enum Outcome {
    /// Nothing more for now.
    Waits,
    /// These messages.
    Messages(Vec<Vec<u8>>),
    /// These, and then the socket is of no more use.
    Last(Vec<Vec<u8>>, End),
}

/// Why a socket is of no more use.
#[derive(Clone, Copy)]
enum End {
    Failed,
    Flooded,
}

impl NameServers {
    /// Without any query.
    ///
    /// # Errors
    /// The kernel gives no epoll instance.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            sockets: BTreeMap::new(),
            buffer: vec![0; LARGEST],
            heard: VecDeque::new(),
        })
    }

    /// Readable when a query has something to say.
    pub fn doorbell(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Sends a query, or closes its socket. Never blocks. What cannot be sent is heard of by
    /// [`Self::next_heard`].
    pub fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::Close { attempt } => {
                self.close(attempt);
            }
            Ask::Send {
                attempt,
                server,
                carrier,
                bytes,
            } => match self.open(attempt, server, carrier, bytes) {
                Ok(query) => {
                    self.sockets.insert(attempt, query);
                }
                Err(error) => {
                    tracing::debug!(%server, %error, "name server");
                    self.heard.push_back(Heard::Failed { attempt });
                }
            },
        }
    }

    /// Reads what has come. Called when the doorbell has rung.
    pub fn read(&mut self) {
        let mut ended = Vec::new();
        loop {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            if self.events.is_empty() {
                return;
            }
            // A socket that has come to its end is closed at once: a flood would keep it ringing.
            for event in &self.events {
                let attempt = AttemptId(event.token().0 as u64);
                let Some(query) = self.sockets.get_mut(&attempt) else {
                    continue;
                };
                let from = query.server;
                let (messages, end) = match query.socket.advance(&mut self.buffer) {
                    Outcome::Waits => continue,
                    Outcome::Messages(messages) => (messages, None),
                    Outcome::Last(messages, end) => (messages, Some(end)),
                };
                let answers = messages.into_iter().map(|bytes| Heard::Answer {
                    attempt,
                    from,
                    bytes,
                });
                self.heard.extend(answers);
                if let Some(end) = end {
                    ended.push(attempt);
                    self.heard.push_back(match end {
                        End::Failed => Heard::Failed { attempt },
                        End::Flooded => Heard::Flooded { attempt },
                    });
                }
            }
            for attempt in ended.drain(..) {
                self.close(attempt);
            }
        }
    }

    fn close(&mut self, attempt: AttemptId) {
        if let Some(mut query) = self.sockets.remove(&attempt) {
            // It leaves the epoll instance by being closed anyhow.
            let _ = self.poll.registry().deregister(query.source());
        }
    }

    /// The next thing that was heard.
    pub fn next_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn open(
        &self,
        attempt: AttemptId,
        server: SocketAddr,
        carrier: Carrier,
        bytes: Vec<u8>,
    ) -> io::Result<Query> {
        let token = Token(usize::try_from(attempt.0).map_err(io::Error::other)?);
        let socket = match carrier {
            Carrier::Udp => {
                let any: IpAddr = match server {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
                socket.connect(server)?;
                socket.send(&bytes)?;
                let received = 0;
                Socket::Udp { socket, received }
            }
            Carrier::Tcp => {
                let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
                let mut unsent = length.to_be_bytes().to_vec();
                unsent.extend(bytes);
                Socket::Tcp {
                    stream: TcpStream::connect(server)?,
                    unsent,
                    received: Vec::new(),
                }
            }
        };
        let mut query = Query { server, socket };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(query.source(), token, interest)?;
        Ok(query)
    }
}

impl Query {
    fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Socket::Udp { socket, .. } => socket,
            Socket::Tcp { stream, .. } => stream,
        }
    }
}

impl Socket {
    /// Sends and receives as far as the kernel lets it.
    fn advance(&mut self, buffer: &mut [u8]) -> Outcome {
        match self {
            Self::Udp { socket, received } => read_datagrams(socket, received, buffer),
            Self::Tcp {
                stream,
                unsent,
                received,
            } => match exchange(stream, unsent, received, buffer) {
                Ok(()) => match framed(received) {
                    Some(message) => Outcome::Messages(vec![message]),
                    None => Outcome::Waits,
                },
                Err(_) => Outcome::Last(Vec::new(), End::Failed),
            },
        }
    }
}

fn read_datagrams(socket: &UdpSocket, received: &mut usize, buffer: &mut [u8]) -> Outcome {
    let mut messages = Vec::new();
    while *received < DATAGRAMS {
        match socket.recv(buffer) {
            Ok(length) => {
                *received += 1;
                messages.extend(buffer.get(..length).map(<[u8]>::to_vec));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && messages.is_empty() => {
                return Outcome::Waits;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Outcome::Messages(messages);
            }
            // ICMP: nobody is there. Whoever sent what came before may have been.
            Err(_) => return Outcome::Last(messages, End::Failed),
        }
    }
    Outcome::Last(messages, End::Flooded)
}

/// Sends what is left to be sent and reads what is there. An error once the connection has ended, unless
/// the answer is whole.
fn exchange(
    stream: &mut TcpStream,
    unsent: &mut Vec<u8>,
    received: &mut Vec<u8>,
    buffer: &mut [u8],
) -> io::Result<()> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(sent) => {
                unsent.drain(..sent.min(unsent.len()));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_early(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    while framed(received).is_none() {
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => received.extend(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_early(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the connection is still being made, or has nothing for us yet.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// The first message, once it is whole: its length comes before it in two bytes.
fn framed(received: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = received.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.get(..length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket as StdUdpSocket};
    use std::thread;
    use std::time::Instant;

    fn query(attempt: u64, server: SocketAddr, carrier: Carrier) -> Ask {
        Ask::Send {
            attempt: AttemptId(attempt),
            server,
            carrier,
            bytes: b"question".to_vec(),
        }
    }

    fn hear(servers: &mut NameServers) -> Heard {
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            servers.read();
            if let Some(heard) = servers.next_heard() {
                return heard;
            }
            assert!(Instant::now() < until, "nothing within two seconds");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn answer(attempt: u64, from: SocketAddr, bytes: &[u8]) -> Heard {
        Heard::Answer {
            attempt: AttemptId(attempt),
            from,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn datagrams_come_from_ports_of_their_own_and_only_the_server_is_heard() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let server = StdUdpSocket::bind(local).expect("a loopback port");
            let address = server.local_addr().expect("bound");
            let mut servers = NameServers::new().expect("an epoll instance");
            let mut ports = Vec::new();
            for attempt in 1..=2 {
                servers.carry_out(query(attempt, address, Carrier::Udp));
                let mut buffer = [0; 64];
                let (length, from) = server.recv_from(&mut buffer).expect("a query");
                assert_eq!(&buffer[..length], b"question");
                let stranger = StdUdpSocket::bind(local).expect("a loopback port");
                stranger.send_to(b"forged", from).expect("sent");
                server.send_to(b"answer", from).expect("sent");
                assert_eq!(hear(&mut servers), answer(attempt, address, b"answer"));
                ports.push(from.port());
            }
            assert_ne!(ports[0], ports[1]);
            let close = |attempt| Ask::Close {
                attempt: AttemptId(attempt),
            };
            servers.carry_out(close(1));
            servers.carry_out(close(2));
            assert!(servers.sockets.is_empty());
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_noticed_at_once() {
        let gone = StdUdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        let address = gone.local_addr().expect("bound");
        drop(gone);
        let mut servers = NameServers::new().expect("an epoll instance");
        for (attempt, carrier) in [(1, Carrier::Udp), (2, Carrier::Tcp)] {
            servers.carry_out(query(attempt, address, carrier));
            let attempt = AttemptId(attempt);
            assert_eq!(hear(&mut servers), Heard::Failed { attempt });
        }
    }

    #[test]
    fn a_flood_gives_the_query_up_and_the_answer_in_it_is_heard() {
        let server = StdUdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        let address = server.local_addr().expect("bound");
        let mut servers = NameServers::new().expect("an epoll instance");
        servers.carry_out(query(1, address, Carrier::Udp));
        let (_, from) = server.recv_from(&mut [0; 64]).expect("a query");
        for _ in 0..DATAGRAMS - 2 {
            server.send_to(b"forged", from).expect("sent");
        }
        server.send_to(b"answer", from).expect("sent");
        for _ in 0..100 {
            server.send_to(b"forged", from).expect("sent");
        }
        let mut heard = Vec::new();
        while heard.len() <= DATAGRAMS {
            heard.push(hear(&mut servers));
        }
        let right = heard
            .iter()
            .filter(|heard| **heard == answer(1, address, b"answer"));
        assert_eq!(right.count(), 1);
        let attempt = AttemptId(1);
        assert_eq!(heard.pop(), Some(Heard::Flooded { attempt }));
        servers.read();
        assert_eq!(servers.next_heard(), None, "its socket is closed");
        assert!(servers.sockets.is_empty());
    }

    #[test]
    fn messages_over_tcp_are_framed_and_may_come_in_pieces() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = server.local_addr().expect("bound");
        let mut servers = NameServers::new().expect("an epoll instance");
        let big = vec![7; 60_000];
        let sent = big.clone();
        let peer = thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("a connection");
            let mut query = [0; 10];
            stream.read_exact(&mut query).expect("a query");
            assert_eq!(&query, b"\x00\x08question");
            stream
                .write_all(&60_000_u16.to_be_bytes()[..1])
                .expect("sent");
            thread::sleep(Duration::from_millis(20));
            stream
                .write_all(&60_000_u16.to_be_bytes()[1..])
                .expect("sent");
            stream.write_all(&sent).expect("sent");
            let (mut stream, _) = server.accept().expect("a connection");
            stream.read_exact(&mut query).expect("a query");
            stream.write_all(b"\x00\x08half").expect("sent");
        });
        servers.carry_out(query(1, address, Carrier::Tcp));
        assert_eq!(hear(&mut servers), answer(1, address, &big));
        servers.carry_out(query(2, address, Carrier::Tcp));
        let attempt = AttemptId(2);
        assert_eq!(hear(&mut servers), Heard::Failed { attempt });
        peer.join().expect("the server saw what it should");
    }
}
