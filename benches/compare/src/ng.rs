//! rtpengine's control protocol, `ng`, as far as the comparison needs it: one datagram a request, `COOKIE
//! DICTIONARY`, answered by one with the same cookie. The dictionary is JSON, which rtpengine takes as well as
//! bencode since its 10.x; it answers in the form of the question.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use tandem_load::streams::{Content, Stream};

use crate::error::Error;

/// How long an answer may take, and how often a request is sent before it is given up. rtpengine answers a
/// repeated cookie from memory, so a repetition does nothing twice.
const PATIENCE: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 5;

/// A client of one rtpengine.
pub(crate) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    requests: u64,
}

/// The media addresses of one call: the RTP ports that rtpengine opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Towards A.
    pub(crate) a: SocketAddr,
    /// Towards B.
    pub(crate) b: SocketAddr,
}

impl Client {
    /// Talks to the ng port of an rtpengine.
    pub(crate) fn new(server: SocketAddr) -> Result<Self, Error> {
        let any: SocketAddr = if server.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = open().map_err(|error| failed(server, &error))?;
        Ok(Self {
            socket,
            server,
            requests: 0,
        })
    }

    /// Whether it answers.
    pub(crate) fn ping(&mut self) -> Result<(), Error> {
        let answer = self.ask(&json!({"command": "ping"}))?;
        match answer.get("result").and_then(Value::as_str) {
            Some("pong") => Ok(()),
            _ => Err(failed(self.server, &format!("ping got {answer}"))),
        }
    }

    /// Opens one call between A and B: A's offer, then B's answer. The interfaces are named as rtpengine was
    /// started with them.
    pub(crate) fn open(
        &mut self,
        number: usize,
        a: SocketAddr,
        b: SocketAddr,
        [towards_a, towards_b]: [&str; 2],
    ) -> Result<Relayed, Error> {
        let call = format!("comparison-{number}");
        let offer = signalling("offer", &call, a, [towards_a, towards_b]);
        let relayed_b = media_address(&self.sdp_of(&offer)?)?;
        let mut answer = signalling("answer", &call, b, [towards_b, towards_a]);
        answer["to-tag"] = json!("b");
        let relayed_a = media_address(&self.sdp_of(&answer)?)?;
        Ok(Relayed {
            a: relayed_a,
            b: relayed_b,
        })
    }

    /// Opens a call and says which stream it carries.
    pub(crate) fn open_stream(
        &mut self,
        number: usize,
        (a, b): (SocketAddr, SocketAddr),
        interfaces: [&str; 2],
    ) -> Result<Stream, Error> {
        let relayed = self.open(number, a, b, interfaces)?;
        Ok(Stream {
            a,
            relay_a: relayed.a,
            relay_b: relayed.b,
            b,
            content: Content::Rtp,
        })
    }

    fn sdp_of(&mut self, request: &Value) -> Result<String, Error> {
        let answer = self.ask(request)?;
        match (answer["result"].as_str(), answer["sdp"].as_str()) {
            (Some("ok"), Some(sdp)) => Ok(sdp.to_owned()),
            _ => {
                let why = answer["error-reason"].as_str().map(str::to_owned);
                let why = why.unwrap_or_else(|| answer.to_string());
                Err(failed(
                    self.server,
                    &format!("{} failed: {why}", request["command"]),
                ))
            }
        }
    }

    fn ask(&mut self, request: &Value) -> Result<Value, Error> {
        self.requests += 1;
        let cookie = format!("{}-{}", std::process::id(), self.requests);
        let datagram = format!("{cookie} {request}");
        let mut answer = vec![0; 65_536];
        for _ in 0..ATTEMPTS {
            self.socket
                .send(datagram.as_bytes())
                .map_err(|error| failed(self.server, &error))?;
            loop {
                match self.socket.recv(&mut answer) {
                    Ok(length) => match answered(&cookie, &answer[..length])? {
                        Some(value) => return Ok(value),
                        // Late, to a request that was repeated.
                        None => continue,
                    },
                    Err(error) if is_timeout(&error) => break,
                    Err(error) => return Err(failed(self.server, &error)),
                }
            }
        }
        Err(failed(self.server, &"no answer"))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn failed(server: SocketAddr, why: &dyn std::fmt::Display) -> Error {
    Error::Peer(format!("rtpengine at {server}: {why}"))
}

/// What a datagram answers; `None` if it has another cookie.
fn answered(cookie: &str, datagram: &[u8]) -> Result<Option<Value>, Error> {
    let text = std::str::from_utf8(datagram)
        .map_err(|_| Error::Peer("rtpengine answered no UTF-8".to_owned()))?;
    let Some(rest) = text
        .strip_prefix(cookie)
        .and_then(|rest| rest.strip_prefix(' '))
    else {
        return Ok(None);
    };
    serde_json::from_str(rest)
        .map(Some)
        .map_err(|error| Error::Peer(format!("rtpengine answered no JSON: {error}")))
}

/// An offer or an answer. `party` is whose SDP it is; `direction` the interfaces on the side of who sends it and
/// on the other.
fn signalling(command: &str, call: &str, party: SocketAddr, direction: [&str; 2]) -> Value {
    json!({
        "command": command,
        "call-id": call,
        "from-tag": "a",
        "sdp": sdp(party),
        "direction": direction,
        "replace": ["origin", "session-connection"],
        "ICE": "remove",
        // Of another source than the one that SDP gave nothing is relayed, as tandem does it with `latch = "sdp"`.
        "flags": ["strict-source"],
        "transport-protocol": "RTP/AVP",
    })
}

/// One audio stream of G.711 A-law.
fn sdp(party: SocketAddr) -> String {
    let (family, address) = match party.ip() {
        IpAddr::V4(address) => ("IP4", address.to_string()),
        IpAddr::V6(address) => ("IP6", address.to_string()),
    };
    let port = party.port();
    format!(
        "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// Where the first media stream of an SDP wants its RTP.
fn media_address(sdp: &str) -> Result<SocketAddr, Error> {
    let find = || {
        let port = sdp
            .lines()
            .find_map(|line| line.strip_prefix("m=audio "))?
            .split(' ')
            .next()?
            .parse::<u16>()
            .ok()?;
        // The stream's own line, which stands after the session's, is the one that counts.
        let address = sdp
            .lines()
            .filter_map(|line| {
                line.strip_prefix("c=IN IP4 ")
                    .or_else(|| line.strip_prefix("c=IN IP6 "))
            })
            .next_back()?
            .trim()
            .parse::<IpAddr>()
            .ok()?;
        (port != 0).then_some(SocketAddr::new(address, port))
    };
    find().ok_or_else(|| Error::Peer(format!("rtpengine's SDP names no media address: {sdp:?}")))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ANSWERED: &str = "v=0\r\no=- 1 1 IN IP4 10.2.0.1\r\ns=-\r\nc=IN IP4 10.2.0.1\r\nt=0 0\r\n\
        m=audio 20040 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\na=rtcp:20041\r\n";

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_media_address_is_read_from_sdp() {
        assert_eq!(media_address(ANSWERED).expect("one"), at("10.2.0.1:20040"));
        let own_line = ANSWERED.replace("a=sendrecv", "c=IN IP6 fd02::1\r\na=sendrecv");
        assert_eq!(
            media_address(&own_line).expect("one"),
            at("[fd02::1]:20040")
        );
        assert!(media_address(&ANSWERED.replace("20040", "0")).is_err());
        assert!(media_address("v=0\r\n").is_err());
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let value = answered("1-2", b"1-2 {\"result\":\"pong\"}").expect("JSON");
        assert_eq!(value, Some(json!({"result": "pong"})));
        assert_eq!(answered("1-2", b"1-21 {}").expect("ignored"), None);
        assert!(answered("1-2", b"1-2 d6:result4:ponge").is_err());
        assert!(answered("1-2", &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn the_offer_names_both_sides() {
        let offer = signalling("offer", "x", at("10.1.0.2:20000"), ["a", "b"]);
        assert_eq!(offer["direction"], json!(["a", "b"]));
        assert_eq!(offer["ICE"], "remove");
        assert_eq!(offer["flags"], json!(["strict-source"]));
        let sdp = offer["sdp"].as_str().expect("text");
        assert!(sdp.contains("c=IN IP4 10.1.0.2\r\n"));
        assert!(sdp.contains("m=audio 20000 RTP/AVP 8\r\n"));
    }

    /// An rtpengine that answers the first `answers` requests, after having ignored the first datagram.
    fn rtpengine(answers: Vec<Value>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("its address");
        thread::spawn(move || {
            let mut datagram = [0; 65_536];
            let (_, _) = socket.recv_from(&mut datagram).expect("the lost one");
            for answer in answers {
                let (length, client) = socket.recv_from(&mut datagram).expect("a request");
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                let (cookie, request) = text.split_once(' ').expect("a cookie");
                let request: Value = serde_json::from_str(request).expect("JSON");
                let stale = format!("stale {}", json!({"result": "ok"}));
                socket.send_to(stale.as_bytes(), client).expect("sent");
                let mut answer = answer;
                answer["asked"] = request["command"].clone();
                let reply = format!("{cookie} {answer}");
                socket.send_to(reply.as_bytes(), client).expect("sent");
            }
        });
        address
    }

    #[test]
    fn a_call_is_opened_though_a_datagram_is_lost() {
        let towards_a = ANSWERED
            .replace("10.2.0.1", "10.1.0.1")
            .replace("20040", "20060");
        let server = rtpengine(vec![
            json!({"result": "ok", "sdp": ANSWERED}),
            json!({"result": "ok", "sdp": towards_a}),
        ]);
        let mut client = Client::new(server).expect("a client");
        let parties = (at("10.1.0.2:20000"), at("10.2.0.2:20000"));
        let stream = client.open_stream(0, parties, ["a", "b"]).expect("a call");
        assert_eq!(stream.relay_a, at("10.1.0.1:20060"));
        assert_eq!(stream.relay_b, at("10.2.0.1:20040"));
        assert_eq!((stream.a, stream.b), parties);
    }

    #[test]
    fn a_refusal_is_told() {
        let server = rtpengine(vec![
            json!({"result": "error", "error-reason": "Ran out of ports"}),
        ]);
        let mut client = Client::new(server).expect("a client");
        let refused = client
            .open(0, at("10.1.0.2:20000"), at("10.2.0.2:20000"), ["a", "b"])
            .expect_err("no call");
        assert!(
            refused.to_string().contains("Ran out of ports"),
            "{refused}"
        );
    }
}
