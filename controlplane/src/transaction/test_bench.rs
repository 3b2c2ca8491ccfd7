//! A transaction layer on virtual time, with a scripted peer: what the tests of this module drive.

use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::timer::Timer;
use super::{ClientKey, Config, Hop, Id, Occurrence, Path, ServerKey, Transactions};
use crate::settings::{ListenerId, SipTimers, Transport};
use crate::sip::{HeaderName, Message, Method, StatusCode};

/// The layer, the time, and what the layer has said since it was asked last.
pub(super) struct Bench {
    pub(super) layer: Transactions,
    pub(super) now: Timestamp,
    /// What the peer is talked to over.
    pub(super) path: Path,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The peer that most tests talk to.
pub(super) fn peer() -> Path {
    Path::to(ListenerId(0), address("192.0.2.1:5060"))
}

/// The same peer over TCP.
pub(super) fn peer_by_stream() -> Path {
    Path {
        listener: ListenerId(2),
        ..peer()
    }
}

/// A request of the peer, outside a dialog.
pub(super) fn incoming(method: &str, branch: &str) -> String {
    format!(
        "{method} sip:200@198.51.100.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\r\n\
         From: <sip:100@192.0.2.1>;tag=from1\r\n\
         To: <sip:200@198.51.100.1>\r\n\
         Call-ID: call-{branch}\r\n\
         CSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// A request of ours, without Via.
pub(super) fn outgoing(method: &str) -> Message {
    let text = incoming(method, "none");
    let mut message = Message::parse(text.as_bytes()).expect("a message");
    message.headers.remove(&HeaderName::Via);
    message
}

pub(super) fn parse(bytes: &[u8]) -> Message {
    Message::parse(bytes).expect("what the layer sends can be read")
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_capacity(1000)
    }

    pub(super) fn with_capacity(capacity: usize) -> Self {
        let config = Config {
            timers: SipTimers::default(),
            capacity,
            listeners: vec![
                Hop {
                    for_large: Some(ListenerId(2)),
                    ..Hop::new(Transport::Udp, address("198.51.100.1:5060"))
                },
                Hop::new(Transport::Udp, address("[2001:db8::1]:5060")),
                Hop::new(Transport::Tcp, address("198.51.100.1:5060")),
            ],
        };
        Self {
            layer: Transactions::new(config, StdRng::seed_from_u64(1)),
            now: Timestamp::from_nanos(1_000_000_000),
            path: peer(),
        }
    }

    /// Everything that has been said and not yet heard.
    pub(super) fn heard(&mut self) -> Vec<Occurrence> {
        std::iter::from_fn(|| self.layer.poll()).collect()
    }

    /// The messages among what has been said.
    pub(super) fn sent(&mut self) -> Vec<Message> {
        let heard = self.heard();
        heard
            .iter()
            .filter_map(|occurrence| match occurrence {
                Occurrence::Transmit { bytes, .. } => Some(parse(bytes)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn receive(&mut self, text: &str) {
        self.layer.receive(self.now, self.path, text.as_bytes());
    }

    pub(super) fn receive_message(&mut self, message: &Message) {
        self.layer.receive(self.now, self.path, &message.to_bytes());
    }

    /// Lets a request in that the user is told of.
    pub(super) fn serve(&mut self, text: &str) -> (ServerKey, Message) {
        self.receive(text);
        let heard = self.heard();
        let request = heard.into_iter().find_map(|occurrence| match occurrence {
            Occurrence::Request { key, message, .. } => Some((key, message)),
            _ => None,
        });
        request.expect("the user is told")
    }

    /// Sends a request; its key and itself as sent.
    pub(super) fn ask(&mut self, method: &str) -> (ClientKey, Message) {
        let request = outgoing(method);
        let key = self.layer.request(self.now, request, self.path);
        let sent = self.sent().pop().expect("the request is sent");
        (key.expect("there is room"), sent)
    }

    pub(super) fn respond(&mut self, key: ServerKey, request: &Message, code: u16) {
        let response = request.response(status(code), Some("to1"));
        self.layer
            .respond(self.now, key, response)
            .expect("the response fits");
    }

    /// Lets time pass, doing what is due on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.layer.deadline().filter(|due| *due <= end) {
            self.now = due;
            self.layer.on_time(due);
        }
        self.now = end;
    }

    /// Lets time pass until just before the timer runs out; forgets what is said on the way.
    pub(super) fn until_timer(&mut self, id: Id, timer: Timer) {
        let due = self.due(id, timer).expect("the timer runs");
        while let Some(earlier) = self.layer.deadline().filter(|earlier| *earlier < due) {
            self.now = earlier;
            self.layer.on_time(earlier);
        }
        self.now = due;
        self.heard();
    }

    pub(super) fn due(&self, id: Id, timer: Timer) -> Option<Timestamp> {
        self.layer.deadlines.of((id, timer))
    }

    /// Whether nothing at all is left in the layer.
    pub(super) fn is_empty(&self) -> bool {
        let layer = &self.layer;
        layer.clients.is_empty()
            && layer.servers.is_empty()
            && layer.by_branch.is_empty()
            && layer.by_match.is_empty()
            && layer.by_merge.is_empty()
            && layer.by_ack.is_empty()
            && layer.by_path.is_empty()
            && layer.deadlines.is_empty()
    }
}

pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::new(code).expect("a status code")
}

/// Each occurrence in a word or two.
pub(super) fn words(heard: &[Occurrence]) -> Vec<String> {
    heard.iter().map(word).collect()
}

fn word(occurrence: &Occurrence) -> String {
    match occurrence {
        Occurrence::Transmit { bytes, .. } => {
            let message = parse(bytes);
            match (message.method().map(Method::as_str), message.code()) {
                (Some(method), _) => format!("send {method}"),
                (None, Some(code)) => format!("send {code}"),
                (None, None) => unreachable!("a message is one or the other"),
            }
        }
        Occurrence::Alias { .. } => "alias".to_owned(),
        Occurrence::Request { .. } => "request".to_owned(),
        Occurrence::Ack { .. } => "ack".to_owned(),
        Occurrence::Cancel { .. } => "cancel".to_owned(),
        Occurrence::Response { message, .. } => {
            let code = message.code().map(|code| code.to_string());
            format!("response {}", code.unwrap_or_default())
        }
        Occurrence::Challenged { .. } => "challenged".to_owned(),
        Occurrence::Timeout(_) => "timeout".to_owned(),
        Occurrence::TransportError(_) | Occurrence::ServerTransportError(_) => {
            "transport error".to_owned()
        }
        Occurrence::Unacknowledged(_) => "unacknowledged".to_owned(),
        Occurrence::ClientEnded(_) | Occurrence::ServerEnded(_) => "ended".to_owned(),
    }
}
