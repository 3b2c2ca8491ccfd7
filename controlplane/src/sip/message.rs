//! A SIP message: start line, headers, body.

use super::typed::Uri;
use super::{HeaderName, Headers, Method, ParseError, StatusCode, reader};

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub start: StartLine,
    /// Its headers, in order.
    pub headers: Headers,
    /// Its body, as long as Content-Length says.
    pub body: Vec<u8>,
}

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    /// A request line.
    Request {
        /// What is asked.
        method: Method,
        /// Of whom.
        uri: Uri,
    },
    /// A status line.
    Response {
        /// The answer.
        code: StatusCode,
        /// The answer for people: any bytes but line ends.
        reason: Vec<u8>,
    },
}

impl Message {
    /// The largest message that is read, in bytes: what a UDP datagram can hold.
    pub const MAX_SIZE: usize = 65_535;
    /// The largest number of header fields. Real messages have some twenty; a hundred hops of Via
    /// still fit. Without a bound, 65 kB of one-letter headers would cost 16,000 allocations.
    pub const MAX_HEADERS: usize = 256;
    /// The longest header field, in bytes, folding included. Identity tokens (RFC 8224) reach a few kB.
    pub const MAX_HEADER_SIZE: usize = 8192;

    /// Reads one datagram.
    ///
    /// Bytes after the body that Content-Length announces are ignored; without Content-Length the
    /// body is the rest (RFC 3261 §18.3).
    ///
    /// # Errors
    /// [`ParseError`] says what is wrong and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        reader::read(bytes)
    }

    /// The message as it goes onto the wire. Content-Length is made to fit the body, and added when
    /// it is absent; nothing else changes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fits = self.content_length() == Ok(Some(self.body.len()));
        let fields: usize = self.headers.iter().map(|field| field.raw().len() + 2).sum();
        let mut bytes = Vec::with_capacity(fields + self.body.len() + 128);
        self.write_start_line(&mut bytes);
        for field in self.headers.iter() {
            if fits || field.name() != &HeaderName::ContentLength {
                bytes.extend_from_slice(field.raw());
                bytes.extend_from_slice(b"\r\n");
            }
        }
        if !fits {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// How many bytes [`Self::to_bytes`] gives, about: a Content-Length that is to be added is not counted.
    pub fn size(&self) -> usize {
        let start = match &self.start {
            StartLine::Request { method, uri } => method.as_str().len() + uri.as_str().len() + 12,
            StartLine::Response { reason, .. } => reason.len() + 14,
        };
        let fields: usize = self.headers.iter().map(|field| field.raw().len() + 2).sum();
        start + fields + 2 + self.body.len()
    }

    fn write_start_line(&self, bytes: &mut Vec<u8>) {
        match &self.start {
            StartLine::Request { method, uri } => {
                bytes.extend(format!("{method} {uri} SIP/2.0\r\n").into_bytes());
            }
            StartLine::Response { code, reason } => {
                bytes.extend(format!("SIP/2.0 {code} ").into_bytes());
                bytes.extend(reason.iter().map(|&byte| match byte {
                    b'\r' | b'\n' => b' ',
                    other => other,
                }));
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A request without headers.
    pub fn request(method: Method, uri: Uri) -> Self {
        Self {
            start: StartLine::Request { method, uri },
            headers: Headers::default(),
            body: Vec::new(),
        }
    }

    /// The method, if it is a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI, if it is a request.
    pub fn uri(&self) -> Option<&Uri> {
        match &self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// Gives a request another Request-URI.
    pub fn readdress(&mut self, to: Uri) {
        if let StartLine::Request { uri, .. } = &mut self.start {
            *uri = to;
        }
    }

    /// The status code, if it is a response.
    pub fn code(&self) -> Option<StatusCode> {
        match &self.start {
            StartLine::Response { code, .. } => Some(*code),
            StartLine::Request { .. } => None,
        }
    }
}
