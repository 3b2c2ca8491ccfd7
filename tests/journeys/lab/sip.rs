//! SIP as a scripted peer writes and reads it: simple, and on purpose not the relay's own parser.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// A SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    /// Names as written, values without the space around them.
    pub(crate) headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub(crate) body: String,
}

impl Message {
    /// An empty message that starts with this line.
    pub(crate) fn new(start: impl Into<String>) -> Self {
        Self {
            start: start.into(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// Reads a datagram; panics on what no peer should have to read.
    pub(crate) fn parse(datagram: &[u8]) -> Self {
        let text = std::str::from_utf8(datagram).expect("the relay sends UTF-8 to these peers");
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no empty line in: {text}"));
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line
                    .split_once(':')
                    .unwrap_or_else(|| panic!("no colon in header line {line:?}"));
                (name.trim().to_owned(), value.trim().to_owned())
            })
            .collect();
        let message = Self {
            start,
            headers,
            body: body.to_owned(),
        };
        let length = message.header("Content-Length").map(str::parse);
        assert_eq!(length, Some(Ok(body.len())), "Content-Length of: {text}");
        message
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a session description.
    pub(crate) fn with_sdp(mut self, sdp: &str) -> Self {
        self.body = sdp.to_owned();
        self.with("Content-Type", "application/sdp")
    }

    /// Copies all headers of these names from another message, as a response does.
    pub(crate) fn copy(mut self, from: &Self, names: &[&str]) -> Self {
        for (name, value) in &from.headers {
            if names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) {
                self.headers.push((name.clone(), value.clone()));
            }
        }
        self
    }

    /// The message as it goes on the wire.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(
            text,
            "Content-Length: {}\r\n\r\n{}",
            self.body.len(),
            self.body
        );
        text
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value of a header that every such message has.
    #[track_caller]
    pub(crate) fn expect_header(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in:\n{}", self.to_text()))
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> Option<&str> {
        (!self.start.starts_with("SIP/2.0 "))
            .then(|| self.start.split(' ').next())
            .flatten()
    }

    /// The code of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("SIP/2.0 ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    /// The method of the CSeq header: what a response answers.
    pub(crate) fn cseq_method(&self) -> &str {
        let cseq = self.expect_header("CSeq");
        cseq.split_whitespace().nth(1).unwrap_or_default()
    }

    /// The number of the CSeq header.
    pub(crate) fn cseq_number(&self) -> u32 {
        let cseq = self.expect_header("CSeq");
        cseq.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("CSeq {cseq:?}"))
    }

    /// The tag parameter of From or To.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        let (_, tag) = self.header(name)?.split_once(";tag=")?;
        tag.split(';').next()
    }

    /// The URI of the Contact header.
    #[track_caller]
    pub(crate) fn contact_uri(&self) -> &str {
        let contact = self.expect_header("Contact");
        contact
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map_or(contact, |(uri, _)| uri)
    }
}

/// What an SDP of one audio stream says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction(pub(crate) &'static str);

/// Both ways: the default of RFC 3264.
pub(crate) const SENDRECV: Direction = Direction("sendrecv");
/// On hold by its sender.
pub(crate) const SENDONLY: Direction = Direction("sendonly");
/// The answer to a hold.
pub(crate) const RECVONLY: Direction = Direction("recvonly");
/// Neither.
pub(crate) const INACTIVE: Direction = Direction("inactive");

/// A session description with one G.711 stream.
pub(crate) fn audio(address: SocketAddr, version: u32, direction: Direction) -> String {
    let family = family(address.ip());
    let (host, port) = (address.ip(), address.port());
    let Direction(direction) = direction;
    format!(
        "v=0\r\no=peer 4711 {version} IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// `IP4` or `IP6`.
pub(crate) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

/// Where a session description wants its streams, in order; port 0 is a rejected one.
#[track_caller]
pub(crate) fn streams(sdp: &str) -> Vec<SocketAddr> {
    let mut session = None;
    let mut found: Vec<(Option<IpAddr>, u16)> = Vec::new();
    for line in sdp.lines() {
        if let Some(connection) = line.strip_prefix("c=IN IP") {
            let address = connection
                .split(' ')
                .nth(1)
                .and_then(|text| text.parse().ok());
            assert!(address.is_some(), "connection line {line:?}");
            match found.last_mut() {
                Some((own, _)) => *own = address,
                None => session = address,
            }
        } else if let Some(media) = line.strip_prefix("m=") {
            let port = media.split(' ').nth(1).and_then(|port| port.parse().ok());
            found.push((None, port.unwrap_or_else(|| panic!("media line {line:?}"))));
        }
    }
    found
        .into_iter()
        .map(|(own, port)| {
            let address = own
                .or(session)
                .unwrap_or_else(|| panic!("no c= in:\n{sdp}"));
            SocketAddr::new(address, port)
        })
        .collect()
}

/// Where a message wants its only stream.
#[track_caller]
pub(crate) fn stream(message: &Message) -> SocketAddr {
    let all = streams(&message.body);
    assert_eq!(all.len(), 1, "one stream in:\n{}", message.to_text());
    all[0]
}
