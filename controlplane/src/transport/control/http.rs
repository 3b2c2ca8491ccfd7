//! HTTP/1.1 (RFC 9112), as much of it as rtpengine speaks: `POST /ng` with one request for its content, answered in
//! its turn; `GET /ping`; and the way into a WebSocket (RFC 6455 §4). Sans-IO.
//!
//! A request is heard only when the one before has been answered: replies keep the order of the requests by
//! themselves, and who does not read is not read from.

use httparse::{EMPTY_HEADER, Header, Status};
use tungstenite::handshake::derive_accept_key;

use super::outbox::{Full, Outbox};
use super::speech::{Heard, Nonsense};
use super::web_socket::WebSocket;

/// Bytes of a request's head: a client of this protocol sends some two hundred.
const LONGEST_HEAD: usize = 8192;
/// Header fields of a request.
const MOST_HEADERS: usize = 32;
/// What rtpengine calls the content, in both directions.
const CONTENT_TYPE: &str = "application/x-rtpengine-ng";
/// What a WebSocket must offer to speak.
const SUBPROTOCOL: &str = "ng.rtpengine.com";

/// One connection of HTTP.
#[derive(Debug)]
pub(super) struct Http {
    buffer: Vec<u8>,
    largest: usize,
    /// The head of the request whose content is still coming.
    head: Option<Head>,
    /// A request is being answered; whether another may follow.
    answering: Option<Persistence>,
}

/// What the head of a request amounts to.
#[derive(Clone, Debug)]
struct Head {
    /// Bytes of content.
    content: usize,
    persistence: Persistence,
    /// The client waits for a word before it sends the content.
    expects: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Request,
    Ping,
    /// With what proves that the handshake was understood.
    WebSocket(String),
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    KeepAlive,
    Close,
}

/// Why a request is answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    NotFound,
    NotPost,
    NoLength,
    TooLarge,
    OtherContent,
    LongHead,
    TookTooLong,
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::NotPost => "405 Method Not Allowed",
            Self::NoLength => "411 Length Required",
            Self::TooLarge => "413 Content Too Large",
            Self::OtherContent => "415 Unsupported Media Type",
            Self::LongHead => "431 Request Header Fields Too Large",
            Self::TookTooLong => "504 Gateway Timeout",
        }
    }

    /// Whether the connection's next request can be told from the rest of this one.
    const fn can_go_on(self) -> bool {
        matches!(self, Self::NotFound | Self::NotPost | Self::OtherContent)
    }
}

impl Http {
    pub(super) fn new(largest: usize) -> Self {
        Self {
            buffer: Vec::new(),
            largest,
            head: None,
            answering: None,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a request has begun and not ended.
    pub(super) fn is_within(&self) -> bool {
        self.answering.is_none() && (self.head.is_some() || !self.buffer.is_empty())
    }

    /// Whether a request is being answered: until then no other is heard.
    pub(super) fn is_answering(&self) -> bool {
        self.answering.is_some()
    }

    /// The next request. What is no request of the protocol is answered here.
    pub(super) fn next(&mut self, out: &mut Outbox) -> Result<Heard, Nonsense> {
        if self.answering.is_some() {
            return Ok(Heard::Nothing);
        }
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.read_head() {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(Heard::Nothing),
                Err(refusal) => return self.refuse(refusal, Persistence::Close, out),
            },
        };
        if self.buffer.len() < head.content {
            return self.wait_for_content(head, out);
        }
        let rest = self.buffer.split_off(head.content);
        let content = std::mem::replace(&mut self.buffer, rest);
        match head.what {
            What::Refused(refusal) => self.refuse(refusal, head.persistence, out),
            // Who says no cookie gets no reply: here it needs an answer all the same.
            What::Request if !has_cookie(&content) => {
                self.refuse(Refusal::Malformed, head.persistence, out)
            }
            What::Request => {
                self.answering = Some(head.persistence);
                Ok(Heard::Request(content))
            }
            What::Ping => {
                respond(out, "200 OK", "text/plain", b"pong\n", head.persistence)?;
                Ok(after(head.persistence))
            }
            What::WebSocket(accept) => {
                let response = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
                );
                out.push(response.as_bytes())
                    .map_err(|Full| Nonsense::Unread)?;
                Ok(Heard::Upgrade)
            }
        }
    }

    /// Answers the request that was heard last; whether another may follow.
    pub(super) fn reply(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<bool, Full> {
        let Some(persistence) = self.answering.take() else {
            return Ok(true);
        };
        write_response(out, "200 OK", CONTENT_TYPE, bytes, persistence)?;
        Ok(persistence == Persistence::KeepAlive)
    }

    /// The WebSocket that follows an upgrade.
    pub(super) fn upgrade(&mut self) -> WebSocket {
        WebSocket::new(std::mem::take(&mut self.buffer), self.largest)
    }

    /// Nobody has answered in time.
    pub(super) fn give_up(&mut self, out: &mut Outbox) {
        self.answering = None;
        let _ = self.refuse(Refusal::TookTooLong, Persistence::Close, out);
    }

    fn wait_for_content(&mut self, mut head: Head, out: &mut Outbox) -> Result<Heard, Nonsense> {
        if std::mem::take(&mut head.expects) {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            out.push(go_on).map_err(|Full| Nonsense::Unread)?;
        }
        self.head = Some(head);
        Ok(Heard::Nothing)
    }

    fn refuse(
        &mut self,
        refusal: Refusal,
        persistence: Persistence,
        out: &mut Outbox,
    ) -> Result<Heard, Nonsense> {
        let text = refusal.status();
        let reason = text.split_once(' ').map_or(text, |(_, reason)| reason);
        let content = format!("{}\n", reason.to_ascii_lowercase());
        respond(out, text, "text/plain", content.as_bytes(), persistence)?;
        Ok(match after(persistence) {
            Heard::Close => Heard::RefusedForGood(refusal == Refusal::TooLarge),
            _ => Heard::Refused,
        })
    }

    /// Takes a whole head off the buffer; `None` while it is not there.
    fn read_head(&mut self) -> Result<Option<Head>, Refusal> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        // A few line ends between requests are to be skipped (RFC 9112 §2.2): the parser does.
        let length = match request.parse(&self.buffer) {
            Ok(Status::Complete(length)) if length <= LONGEST_HEAD => length,
            Ok(Status::Partial) if self.buffer.len() <= LONGEST_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::LongHead),
            Err(_) => return Err(Refusal::Malformed),
        };
        let head = understand(&request, self.largest)?;
        self.buffer.drain(..length);
        Ok(Some(head))
    }
}

/// Whether there is something before a space: only that much of a message is this module's business.
fn has_cookie(content: &[u8]) -> bool {
    content.iter().position(|byte| *byte == b' ') > Some(0)
}

fn after(persistence: Persistence) -> Heard {
    match persistence {
        Persistence::KeepAlive => Heard::Answered,
        Persistence::Close => Heard::Close,
    }
}

fn respond(
    out: &mut Outbox,
    status: &str,
    kind: &str,
    content: &[u8],
    persistence: Persistence,
) -> Result<(), Nonsense> {
    write_response(out, status, kind, content, persistence).map_err(|Full| Nonsense::Unread)
}

fn write_response(
    out: &mut Outbox,
    status: &str,
    kind: &str,
    content: &[u8],
    persistence: Persistence,
) -> Result<(), Full> {
    let length = content.len();
    let allow = match status.starts_with("405") {
        true => "Allow: POST\r\n",
        false => "",
    };
    let connection = match persistence {
        Persistence::KeepAlive => "",
        Persistence::Close => "Connection: close\r\n",
    };
    let mut response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}{connection}\r\n"
    )
    .into_bytes();
    response.extend_from_slice(content);
    out.push(&response)
}

/// What a whole head asks for.
fn understand(request: &httparse::Request<'_, '_>, largest: usize) -> Result<Head, Refusal> {
    let headers = &*request.headers;
    let content = content_length(headers)?;
    if content.unwrap_or(0) > largest {
        return Err(Refusal::TooLarge);
    }
    let is_1_0 = request.version == Some(0);
    let persistence = match lists(headers, "Connection", "close")
        || (is_1_0 && !lists(headers, "Connection", "keep-alive"))
    {
        true => Persistence::Close,
        false => Persistence::KeepAlive,
    };
    let what = match (request.method, request.path) {
        (Some("GET"), _) if lists(headers, "Upgrade", "websocket") => web_socket(headers)?,
        (Some("POST"), Some("/ng")) if content.is_none() => return Err(Refusal::NoLength),
        (Some("POST"), Some("/ng")) if is_ng(headers) => What::Request,
        (Some("POST"), Some("/ng")) => What::Refused(Refusal::OtherContent),
        (Some("GET"), Some("/ping")) => What::Ping,
        (_, Some("/ng")) => What::Refused(Refusal::NotPost),
        _ => What::Refused(Refusal::NotFound),
    };
    let persistence = match &what {
        What::Refused(refusal) if !refusal.can_go_on() => Persistence::Close,
        _ => persistence,
    };
    Ok(Head {
        content: content.unwrap_or(0),
        persistence,
        expects: lists(headers, "Expect", "100-continue"),
        what,
    })
}

/// The length of the content; `None`: none is said. Content in chunks is not taken: who knows its request knows
/// how long that is.
fn content_length(headers: &[Header<'_>]) -> Result<Option<usize>, Refusal> {
    if values(headers, "Transfer-Encoding").next().is_some() {
        return Err(Refusal::NoLength);
    }
    let mut length = None;
    for value in values(headers, "Content-Length") {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than a number holds say that it is too large, too.
        let said = value.parse().unwrap_or(usize::MAX);
        // Two that differ are how requests are smuggled (RFC 9112 §6.3).
        if !digits || length.is_some_and(|before| before != said) {
            return Err(Refusal::Malformed);
        }
        length = Some(said);
    }
    Ok(length)
}

fn is_ng(headers: &[Header<'_>]) -> bool {
    values(headers, "Content-Type").any(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case(CONTENT_TYPE)
    })
}

fn web_socket(headers: &[Header<'_>]) -> Result<What, Refusal> {
    let key = values(headers, "Sec-WebSocket-Key").next();
    let key = key.filter(|key| key.len() == 24);
    let is_offer = lists(headers, "Connection", "upgrade")
        && values(headers, "Sec-WebSocket-Version").any(|version| version == "13")
        && values(headers, "Sec-WebSocket-Protocol")
            .any(|value| value.split(',').any(|each| each.trim() == SUBPROTOCOL));
    match key.filter(|_| is_offer) {
        Some(key) => Ok(What::WebSocket(derive_accept_key(key.as_bytes()))),
        None => Err(Refusal::Malformed),
    }
}

/// The values of a header field that are text.
fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h str> {
    let named = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
}

/// Whether a header field that is a list holds this word.
fn lists(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    values(headers, name).any(|value| {
        let mut words = value.split(',').map(str::trim);
        words.any(|each| each.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: usize = 1000;

    /// What a connection hears and writes when this comes, byte by byte.
    fn talk(bytes: &[u8]) -> (Vec<Heard>, String) {
        let (mut http, mut out) = (Http::new(LARGEST), Outbox::default());
        let mut heard = Vec::new();
        for byte in bytes {
            http.push(&[*byte]);
            while let Ok(what) = http.next(&mut out) {
                match what {
                    Heard::Nothing => break,
                    Heard::Request(_) => {
                        assert_eq!(http.next(&mut out), Ok(Heard::Nothing), "one at a time");
                        assert!(http.reply(b"c1 reply", &mut out).is_ok());
                    }
                    Heard::Close | Heard::RefusedForGood(_) => {
                        heard.push(what);
                        return (heard, written(out));
                    }
                    _ => {}
                }
                heard.push(what);
            }
        }
        (heard, written(out))
    }

    fn written(mut out: Outbox) -> String {
        let mut bytes = Vec::new();
        out.write_to(&mut bytes).expect("memory");
        String::from_utf8(bytes).expect("text")
    }

    fn post(path: &str, fields: &str, content: &str) -> Vec<u8> {
        let length = content.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {length}\r\n\r\n{content}"
        )
        .into_bytes()
    }

    const NG: &str = "Content-Type: application/x-rtpengine-ng\r\n";

    #[test]
    fn requests_are_heard_and_answered_in_their_turn() {
        let request = post("/ng", NG, "c1 request");
        let (heard, written) = talk(&[&request[..], &request[..]].concat());
        let one = Heard::Request(b"c1 request".to_vec());
        assert_eq!(heard, [one.clone(), one]);
        let response = "HTTP/1.1 200 OK\r\nContent-Type: application/x-rtpengine-ng\r\n\
                        Content-Length: 8\r\n\r\nc1 reply";
        assert_eq!(written, response.repeat(2));
    }

    #[test]
    fn what_is_no_request_is_answered_and_the_connection_goes_on_if_it_can() {
        let refusals: [(Vec<u8>, &str, Heard); 13] = [
            (post("/x", NG, "c1 r"), "404 ", Heard::Refused),
            (post("/ng", "", "c1 r"), "415 ", Heard::Refused),
            (post("/ng", NG, "nocookie"), "400 ", Heard::Refused),
            (post("/ng", NG, " r"), "400 ", Heard::Refused),
            (b"GET /ng HTTP/1.1\r\n\r\n".to_vec(), "405 ", Heard::Refused),
            (
                b"GET /ping HTTP/1.1\r\n\r\n".to_vec(),
                "200 ",
                Heard::Answered,
            ),
            (b"GET /ping HTTP/1.0\r\n\r\n".to_vec(), "200 ", Heard::Close),
            (
                format!("POST /ng HTTP/1.1\r\n{NG}\r\n").into_bytes(),
                "411 ",
                Heard::RefusedForGood(false),
            ),
            (
                format!("POST /ng HTTP/1.1\r\n{NG}Transfer-Encoding: chunked\r\n\r\n").into_bytes(),
                "411 ",
                Heard::RefusedForGood(false),
            ),
            (
                post("/ng", NG, &"c ".repeat(LARGEST)),
                "413 ",
                Heard::RefusedForGood(true),
            ),
            (
                post("/ng", "Content-Length: 3\r\n", "c1 r"),
                "400 ",
                Heard::RefusedForGood(false),
            ),
            (
                post(
                    "/ng",
                    &format!("X: {}\r\n", "x".repeat(LONGEST_HEAD)),
                    "c1 r",
                ),
                "431 ",
                Heard::RefusedForGood(false),
            ),
            (
                b"\x80\x01\x02\r\n\r\n".to_vec(),
                "400 ",
                Heard::RefusedForGood(false),
            ),
        ];
        for (bytes, status, expected) in refusals {
            let (heard, written) = talk(&bytes);
            let shown = String::from_utf8_lossy(&bytes)
                .chars()
                .take(80)
                .collect::<String>();
            assert_eq!(heard, [expected], "{shown}");
            assert!(
                written.starts_with(&format!("HTTP/1.1 {status}")),
                "{shown}: {written}"
            );
        }
    }

    #[test]
    fn numbers_that_are_none_or_too_large_are_refused() {
        for (length, status) in [
            ("-1", "400"),
            ("1x", "400"),
            ("99999999999999999999", "413"),
        ] {
            let head = format!("POST /ng HTTP/1.1\r\n{NG}Content-Length: {length}\r\n\r\n");
            let (_, written) = talk(head.as_bytes());
            assert!(
                written.starts_with(&format!("HTTP/1.1 {status}")),
                "{length}: {written}"
            );
        }
    }

    #[test]
    fn a_client_that_waits_for_a_word_gets_it() {
        let (heard, written) = talk(&post(
            "/ng",
            &format!("{NG}Expect: 100-continue\r\n"),
            "c r",
        ));
        assert_eq!(heard.len(), 1);
        assert!(
            written.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
            "{written}"
        );
    }

    fn upgrade(subprotocol: &str) -> Vec<u8> {
        format!(
            "GET /any HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_web_socket_needs_the_subprotocol() {
        let (heard, written) = talk(&upgrade("other, ng.rtpengine.com"));
        assert_eq!(heard, [Heard::Upgrade]);
        // The example of RFC 6455 §1.3.
        assert!(
            written.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{written}"
        );
        assert!(written.contains("Sec-WebSocket-Protocol: ng.rtpengine.com\r\n"));
        let (heard, written) = talk(&upgrade("other"));
        assert_eq!(heard, [Heard::RefusedForGood(false)]);
        assert!(written.starts_with("HTTP/1.1 400 "), "{written}");
    }
}
