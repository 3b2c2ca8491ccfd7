//! Control listeners on real sockets of the loopback device, their time told by the test.

use std::io::{Read, Write};
use std::net::{TcpStream as Client, UdpSocket};
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::*;
use crate::settings::Network;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener with a loop of its own, whose door answers with the request in capitals.
struct Side {
    poll: Poll,
    listener: ControlListener,
    now: Timestamp,
    /// Requests that wait for their replies, when replies are withheld.
    withheld: Option<Vec<(ControlPath, Vec<u8>)>>,
}

fn settings(transport: ControlTransport) -> settings::ControlListener {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    settings::ControlListener::new("ng", any).over(transport)
}

impl Side {
    fn new(settings: &settings::ControlListener) -> Self {
        let mut listener = ControlListener::open(ControlId(3), settings).expect("a loopback port");
        let poll = Poll::new().expect("epoll");
        listener
            .register(poll.registry(), Token(7))
            .expect("registered");
        Self {
            poll,
            listener,
            now: Timestamp::from_nanos(1),
            withheld: None,
        }
    }

    fn over(transport: ControlTransport) -> Self {
        Self::new(&settings(transport))
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_address().expect("bound")
    }

    /// One turn of the loop.
    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = Some(Duration::from_millis(2));
        self.poll.poll(&mut events, wait).expect("polled");
        for event in &events {
            self.listener.on_event(event, self.now);
        }
        self.listener.on_time(self.now);
        let mut buffer = vec![0; 65_535];
        loop {
            match self.listener.receive(&mut buffer, self.now) {
                ControlArrival::Nothing => break,
                ControlArrival::Working => {}
                ControlArrival::Request(path, bytes) => {
                    assert_eq!(path.listener, ControlId(3));
                    match &mut self.withheld {
                        Some(withheld) => withheld.push((path, bytes)),
                        None => self.answer(path, &bytes),
                    }
                }
            }
        }
    }

    fn answer(&mut self, path: ControlPath, bytes: &[u8]) {
        let reply = bytes.to_ascii_uppercase();
        self.listener.reply(path, reply, self.now);
    }

    /// Works until something holds.
    #[track_caller]
    fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < end, "not in time: {:?}", self.counts());
            self.turn();
        }
    }

    fn counts(&self) -> ControlCounts {
        self.listener.counts()
    }

    fn connections(&self) -> ControlConnectionCounts {
        self.counts().connections.expect("a listener of streams")
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.address()).expect("accepted");
        let patience = Some(Duration::from_millis(5));
        client.set_read_timeout(patience).expect("set");
        client
    }

    /// What the client reads until it ends so, or the connection does.
    #[track_caller]
    fn read_until(&mut self, client: &mut Client, end: &str) -> String {
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        let until = Instant::now() + PATIENCE;
        while !text.ends_with(end) || end.is_empty() {
            assert!(Instant::now() < until, "so far {text:?}");
            self.turn();
            match client.read(&mut buffer) {
                Ok(0) => return text,
                Ok(count) => text += &String::from_utf8_lossy(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return text,
                Err(_) => {}
            }
        }
        text
    }
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    let mut side = Side::new(&settings::ControlListener {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..settings(ControlTransport::Udp)
    });
    let port = side.address().port();
    for asked in [[127, 0, 0, 1], [127, 9, 9, 9]] {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        client
            .connect((asked, port).into_addr())
            .expect("connected");
        client.send(b"c {}").expect("sent");
        let before = side.counts().replies;
        side.until(|side| side.counts().replies > before);
        let mut buffer = [0; 100];
        // A connected socket hears nobody else.
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        let count = client.recv(&mut buffer).expect("answered");
        assert_eq!(&buffer[..count], b"C {}");
    }
    let mut side = Side::new(&settings::ControlListener {
        address: "[::]:0".parse().expect("an address"),
        ..settings(ControlTransport::Udp)
    });
    let client = UdpSocket::bind("[::1]:0").expect("a loopback port");
    let port = side.address().port();
    client.connect(("::1", port)).expect("connected");
    client.send(b"c {}").expect("sent");
    side.until(|side| side.counts().replies == 1);
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    assert!(client.recv(&mut [0; 100]).is_ok());
}

/// An address out of its bytes and a port.
trait IntoAddr {
    fn into_addr(self) -> SocketAddr;
}

impl IntoAddr for ([u8; 4], u16) {
    fn into_addr(self) -> SocketAddr {
        SocketAddr::from(self)
    }
}

#[test]
fn who_may_not_ask_is_not_answered_over_any_transport() {
    let elsewhere: Network = "192.0.2.0/24".parse().expect("a network");
    let only_elsewhere = |transport| settings::ControlListener {
        allow: vec![elsewhere],
        ..settings(transport)
    };
    let mut side = Side::new(&only_elsewhere(ControlTransport::Udp));
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    client.send_to(b"c {}", side.address()).expect("sent");
    side.until(|side| side.counts().refused == 1);
    assert_eq!(side.counts().requests, 0);
    for transport in [ControlTransport::Tcp, ControlTransport::Http] {
        let mut side = Side::new(&only_elsewhere(transport));
        let mut client = side.connect();
        assert_eq!(side.read_until(&mut client, ""), "");
        assert_eq!(side.counts().refused, 1);
        assert_eq!(side.connections().accepted, 0);
    }
}

#[test]
fn datagrams_that_are_empty_or_too_large_are_dropped_and_counted() {
    let mut side = Side::new(&settings::ControlListener {
        largest_request: 10,
        ..settings(ControlTransport::Udp)
    });
    let client = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
    for bytes in [&b""[..], b"c 345678901", b"c 34567890"] {
        client.send_to(bytes, side.address()).expect("sent");
    }
    side.until(|side| side.counts().requests == 1);
    let counts = side.counts();
    assert_eq!((counts.malformed, counts.too_large), (1, 1));
    // A reply that no datagram holds is counted, and harms nothing.
    let path = ControlPath {
        listener: ControlId(3),
        remote: client.local_addr().expect("bound"),
        way: Way::Datagram {
            local: side.address().ip(),
        },
    };
    side.listener.reply(path, vec![b'x'; 65_600], side.now);
    assert_eq!(side.counts().oversize, 1);
}

#[test]
fn requests_in_a_stream_are_answered_each() {
    let mut side = Side::over(ControlTransport::Tcp);
    let mut client = side.connect();
    let (first, second) = ("a {\"x\":1}", "\nb d1:xi1ee");
    client.write_all(first.as_bytes()).expect("written");
    client.write_all(&second.as_bytes()[..5]).expect("written");
    assert_eq!(side.read_until(&mut client, "}"), "A {\"X\":1}");
    client.write_all(&second.as_bytes()[5..]).expect("written");
    side.until(|side| side.counts().requests == 2);
    assert_eq!(side.read_until(&mut client, "EE"), "B D1:XI1EE");
    client.write_all(b"nonsense\n").expect("written");
    assert_eq!(side.read_until(&mut client, ""), "");
    assert_eq!(side.connections().framing_errors, 1);
    assert_eq!(side.counts().malformed, 1);
    assert_eq!(side.connections().open, 0);
}

#[test]
fn who_shuts_its_half_still_gets_what_it_is_owed() {
    let mut side = Side::over(ControlTransport::Tcp);
    side.withheld = Some(Vec::new());
    let mut client = side.connect();
    client.write_all(b"a {}").expect("written");
    client.shutdown(std::net::Shutdown::Write).expect("shut");
    side.until(|side| side.withheld.as_ref().is_some_and(|all| all.len() == 1));
    side.turn();
    let (path, bytes) = side.withheld.take().expect("withheld").remove(0);
    side.answer(path, &bytes);
    assert_eq!(side.read_until(&mut client, ""), "A {}");
    assert_eq!(side.connections().closed, 1);
    side.answer(path, &bytes);
    assert_eq!(side.counts().undeliverable, 1, "its number is nobody's");
}

#[test]
fn connections_are_bounded_and_the_silent_and_the_slow_end() {
    let mut side = Side::new(&settings::ControlListener {
        connections: 2,
        ..settings(ControlTransport::Tcp)
    });
    let (_silent, mut slow) = (side.connect(), side.connect());
    side.until(|side| side.connections().open == 2);
    let mut third = side.connect();
    assert_eq!(side.read_until(&mut third, ""), "");
    assert_eq!(side.connections().turned_away, 1);
    slow.write_all(b"c {\"never").expect("written");
    (0..5).for_each(|_| side.turn());
    side.now = side.now + 21 * SECOND;
    side.until(|side| side.connections().stalled == 1);
    assert_eq!(side.connections().open, 1);
    side.now = side.now + 600 * SECOND;
    side.until(|side| side.connections().idle == 1);
    assert_eq!(side.connections().open, 0);
}

#[test]
fn who_does_not_read_is_dropped_and_counted() {
    let mut side = Side::over(ControlTransport::Tcp);
    side.withheld = Some(Vec::new());
    let mut client = side.connect();
    client.write_all(b"a {}").expect("written");
    side.until(|side| side.withheld.as_ref().is_some_and(|all| all.len() == 1));
    let (path, _) = side.withheld.take().expect("withheld").remove(0);
    // More than the socket's buffers and the queue hold.
    for _ in 0..200 {
        side.listener.reply(path, vec![b'x'; 60_000], side.now);
    }
    assert_eq!(side.counts().overflowed, 1);
    assert_eq!(side.connections().stalled, 1);
    assert!(side.counts().undeliverable > 0);
    assert_eq!(side.connections().open, 0);
}

fn post(content: &str) -> String {
    let length = content.len();
    format!(
        "POST /ng HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-rtpengine-ng\r\n\
         Content-Length: {length}\r\n\r\n{content}"
    )
}

#[test]
fn posts_are_answered_in_order_and_a_connection_serves_many() {
    let mut side = Side::over(ControlTransport::Http);
    let mut client = side.connect();
    let both = [post("a {}"), post("b {}")].concat();
    client.write_all(both.as_bytes()).expect("written");
    let text = side.read_until(&mut client, "B {}");
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{text}");
    assert!(
        text.contains("\r\nContent-Length: 4\r\n\r\nA {}HTTP"),
        "{text}"
    );
    client
        .write_all(b"GET /other HTTP/1.1\r\n\r\n")
        .expect("written");
    let text = side.read_until(&mut client, "not found\n");
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
    client.write_all(post("c {}").as_bytes()).expect("written");
    assert!(side.read_until(&mut client, "C {}").ends_with("C {}"));
    assert_eq!((side.counts().requests, side.counts().malformed), (3, 1));
}

#[test]
fn a_post_too_large_is_refused_and_the_refusal_can_be_read() {
    let mut side = Side::over(ControlTransport::Http);
    let mut client = side.connect();
    let large = post(&format!("c {}", "x".repeat(100_000)));
    client.write_all(large.as_bytes()).expect("written");
    let text = side.read_until(&mut client, "");
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    assert_eq!(side.counts().too_large, 1);
    drop(client);
    side.until(|side| side.connections().open == 0);
}

#[test]
fn a_post_that_nobody_answers_ends_with_504() {
    let mut side = Side::over(ControlTransport::Http);
    side.withheld = Some(Vec::new());
    let mut client = side.connect();
    client.write_all(post("a {}").as_bytes()).expect("written");
    side.until(|side| side.withheld.as_ref().is_some_and(|all| all.len() == 1));
    side.now = side.now + 15 * SECOND;
    let text = side.read_until(&mut client, "");
    assert!(text.starts_with("HTTP/1.1 504 "), "{text}");
}

/// A WebSocket of the client's, after its handshake.
fn web_socket(side: &mut Side) -> WebSocket<Client> {
    let mut client = side.connect();
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n";
    client.write_all(upgrade.as_bytes()).expect("written");
    let text = side.read_until(&mut client, "\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    WebSocket::from_raw_socket(client, Role::Client, None)
}

/// The next message of the server's; `None` when it has closed.
fn next_message(side: &mut Side, socket: &mut WebSocket<Client>) -> Option<Message> {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no message");
        side.turn();
        match socket.read() {
            Ok(message) => return Some(message),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

#[test]
fn web_sockets_carry_requests_in_text_and_binary_and_answer_pings_and_a_close() {
    let mut side = Side::over(ControlTransport::Http);
    let mut socket = web_socket(&mut side);
    for request in [Message::text("a {}"), Message::binary(b"a {}".to_vec())] {
        socket.send(request).expect("sent");
        let reply = next_message(&mut side, &mut socket);
        assert_eq!(reply, Some(Message::binary(b"A {}".to_vec())));
    }
    socket.send(Message::Ping("hi".into())).expect("sent");
    let pong = next_message(&mut side, &mut socket);
    assert_eq!(pong, Some(Message::Pong("hi".into())));
    socket.close(None).expect("sent");
    let close = next_message(&mut side, &mut socket);
    assert!(matches!(close, Some(Message::Close(_))), "{close:?}");
    assert_eq!(next_message(&mut side, &mut socket), None);
    drop(socket);
    side.until(|side| side.connections().open == 0);
    assert_eq!(side.connections().web_sockets, 1);
    assert_eq!(side.connections().closed, 1);
}

#[test]
fn nonsense_and_giants_over_a_web_socket_end_it() {
    let mut side = Side::over(ControlTransport::Http);
    let mut socket = web_socket(&mut side);
    let giant = Message::binary(vec![b'x'; 70_000]);
    socket.send(giant).expect("sent");
    assert_eq!(next_message(&mut side, &mut socket), None);
    assert_eq!(side.counts().too_large, 1);
    let mut socket = web_socket(&mut side);
    socket.get_mut().write_all(&[0xff; 20]).expect("written");
    assert_eq!(next_message(&mut side, &mut socket), None);
    assert_eq!(side.counts().malformed, 1);
    assert_eq!(side.connections().framing_errors, 2);
}
