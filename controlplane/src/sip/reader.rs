//! Reads one datagram into a [`Message`].
//!
//! Reads on after a first fault, as far as there is sense in it, so that a broken request can be
//! answered: Via, From, To, Call-ID and CSeq are often whole.

use super::lexer::{self, Line};
use super::typed::Uri;
use super::{
    Header, HeaderName, Headers, Message, Method, ParseError, ParseErrorKind, StartLine, StatusCode,
};

/// A fault and where it is.
type Fault = (usize, ParseErrorKind);

/// See [`Message::parse`].
pub(super) fn read(bytes: &[u8]) -> Result<Message, ParseError> {
    let fail = |at, what| ParseError {
        at,
        what,
        request: None,
    };
    if bytes.len() > Message::MAX_SIZE {
        return Err(fail(Message::MAX_SIZE, ParseErrorKind::TooLarge));
    }
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .ok_or_else(|| fail(bytes.len(), ParseErrorKind::Blank))?;
    let first = match lexer::line(bytes, start) {
        Line::Text(range) => range,
        Line::Stray(at) => return Err(fail(at, ParseErrorKind::StrayLineEnd)),
        Line::Unended => return Err(fail(bytes.len(), ParseErrorKind::NoEndOfHeaders)),
    };
    let after_first = first.end + 2;
    let text = bytes.get(first).unwrap_or_default();
    let (start_line, first_fault) =
        read_start_line(text, start).map_err(|(at, what)| fail(at, what))?;
    let (headers, body_at, header_fault) = read_headers(bytes, after_first);
    let mut message = Message {
        start: start_line,
        headers,
        body: Vec::new(),
    };
    let fault = first_fault
        .or(header_fault)
        .or_else(|| read_body(bytes, body_at, &mut message).err());
    match fault {
        None => Ok(message),
        Some((at, what)) => Err(ParseError {
            at,
            what,
            request: message.method().is_some().then(|| Box::new(message)),
        }),
    }
}

/// The start line. An error: nothing that could be answered. A fault beside the line: a request
/// that can be, with a Request-URI that says nothing.
fn read_start_line(text: &[u8], at: usize) -> Result<(StartLine, Option<Fault>), Fault> {
    let starts_with_version = text
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
    if starts_with_version {
        return Ok((read_status_line(text, at)?, None));
    }
    let words: Vec<&[u8]> = text.split(|byte| lexer::is_space(*byte)).collect();
    let version = words.iter().rev().find(|word| !word.is_empty());
    let is_sip = version.is_some_and(|word| {
        word.get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
    });
    let (true, Some(method)) = (is_sip, words.first()) else {
        return Err((at, ParseErrorKind::StartLine));
    };
    let Some(name) = lexer::token(method) else {
        return Err((at, ParseErrorKind::Method));
    };
    let method = Method::from(name);
    let unread = |at, what| {
        let start = StartLine::Request {
            method: method.clone(),
            uri: Uri::unknown(),
        };
        Ok((start, Some((at, what))))
    };
    let [_, uri, version] = words.as_slice() else {
        return unread(at, ParseErrorKind::StartLine);
    };
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return unread(at, ParseErrorKind::Version);
    }
    match Uri::parse(uri) {
        Ok(uri) => Ok((StartLine::Request { method, uri }, None)),
        Err(_) => unread(at + name.len() + 1, ParseErrorKind::RequestUri),
    }
}

fn read_status_line(text: &[u8], at: usize) -> Result<StartLine, Fault> {
    let mut words = text.splitn(3, |&byte| byte == b' ');
    let version = words.next().unwrap_or_default();
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Err((at, ParseErrorKind::Version));
    }
    let code = words
        .next()
        .filter(|digits| digits.len() == 3 && digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .and_then(StatusCode::new)
        .ok_or((at + version.len() + 1, ParseErrorKind::StatusCode))?;
    // The space before an empty reason phrase is mandatory, and often forgotten.
    let reason = words.next().unwrap_or_default().to_vec();
    Ok(StartLine::Response { code, reason })
}

/// The header fields from `from` on, where the body starts, and the first fault.
fn read_headers(bytes: &[u8], from: usize) -> (Headers, usize, Option<Fault>) {
    let mut headers = Headers::default();
    let mut fault: Option<Fault> = None;
    let mut at = from;
    loop {
        let end = match field_end(bytes, at) {
            Ok(end) => end,
            Err(found) => return (headers, bytes.len(), fault.or(Some(found))),
        };
        if end == at {
            return (headers, end + 2, fault);
        }
        if headers.len() == Message::MAX_HEADERS {
            let found = (at, ParseErrorKind::TooManyHeaders);
            return (headers, bytes.len(), fault.or(Some(found)));
        }
        if end - at > Message::MAX_HEADER_SIZE {
            fault = fault.or(Some((at, ParseErrorKind::HeaderTooLong)));
        } else {
            match Header::from_wire(bytes.get(at..end).unwrap_or_default()) {
                Some(field) => headers.append(field),
                None => fault = fault.or(Some((at, ParseErrorKind::HeaderName))),
            }
        }
        at = end + 2;
    }
}

/// Where the field that starts at `at` ends, its folded lines included: the offset of its last CRLF.
fn field_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let mut from = at;
    loop {
        let end = match lexer::line(bytes, from) {
            Line::Text(range) => range.end,
            Line::Stray(at) => return Err((at, ParseErrorKind::StrayLineEnd)),
            Line::Unended => return Err((bytes.len(), ParseErrorKind::NoEndOfHeaders)),
        };
        let folded = matches!(bytes.get(end + 2), Some(b' ' | b'\t'));
        if end == at || !folded {
            return Ok(end);
        }
        from = end + 2;
    }
}

/// Takes the body that Content-Length announces; without one, all that there is (RFC 3261 §18.3).
fn read_body(bytes: &[u8], at: usize, message: &mut Message) -> Result<(), Fault> {
    let rest = bytes.get(at..).unwrap_or_default();
    let body = match message.content_length() {
        Err(()) => return Err((at, ParseErrorKind::ContentLength)),
        Ok(None) => rest,
        Ok(Some(length)) => rest
            .get(..length)
            .ok_or((bytes.len(), ParseErrorKind::BodyTooShort))?,
    };
    message.body = body.to_vec();
    Ok(())
}

impl Message {
    /// What Content-Length says, if it is there; an error when it is no number, or says two things.
    pub(super) fn content_length(&self) -> Result<Option<usize>, ()> {
        let mut said = None;
        for field in self.headers.all(&HeaderName::ContentLength) {
            let value = field.value();
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(());
            }
            // A number too large for usize is larger than any message.
            let length = std::str::from_utf8(&value)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(usize::MAX);
            if said.is_some_and(|said| said != length) {
                return Err(());
            }
            said = Some(length);
        }
        Ok(said)
    }
}
