//! Messages in a stream of bytes (RFC 3261 §18.3, RFC 5626 §3.5.1), sans-IO: bytes go in as they come,
//! whole messages and the line ends between them come out.
//!
//! Of a message it knows only what says where it ends: the empty line after the headers, and
//! Content-Length. What is in the headers and the body is for others to read.
//!
//! ```text
//!   CRLF CRLF                keep-alives: a frame each
//!   INVITE ... SIP/2.0 CRLF  the first line: a look at it tells SIP from anything else
//!   Content-Length: 3 CRLF
//!   CRLF
//!   abc                      the body; the next message follows at once
//! ```

use std::ops::Range;

use thiserror::Error;

/// The longest header section, its empty line included, in bytes; also the longest message. What a UDP
/// datagram can hold, so that a message is as large over any transport.
pub const LARGEST_MESSAGE: usize = 65_535;
/// The longest first line, in bytes: a Request-URI of several kB, as no sane peer sends.
const LONGEST_FIRST_LINE: usize = 8192;

/// What stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, from its first line to the end of its body.
    Message(Vec<u8>),
    /// A CRLF between messages: one answers a keep-alive, two in a row are one.
    LineEnd,
}

/// Why a stream makes no sense any more. There is no way to find the next message in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// The first line is no SIP.
    #[error("its first line is no SIP")]
    NotSip,
    /// The header section does not end within [`LARGEST_MESSAGE`].
    #[error("its headers do not end")]
    EndlessHeaders,
    /// Content-Length is no number, or there are two that differ.
    #[error("its Content-Length says nothing")]
    ContentLength,
    /// Headers and body are longer than [`LARGEST_MESSAGE`].
    #[error("it is too large")]
    TooLarge,
}

/// One direction of one stream.
#[derive(Debug, Default)]
pub struct Framer {
    /// What has come and is not a frame yet: never more than a message and one read.
    buffer: Vec<u8>,
    /// Where the frame that is being read begins.
    start: usize,
    /// How far the end of the headers has been looked for, from `start`.
    looked: usize,
    /// The length of the whole message, once its headers are there.
    length: Option<usize>,
    broken: Option<FramingError>,
}

impl Framer {
    /// Takes bytes as they came. [`Self::next`] is asked until it has nothing before more are put in, so
    /// that the buffer stays bounded.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more bytes come.
    ///
    /// # Errors
    /// The stream makes no sense from here on; every later call says so too.
    #[expect(
        clippy::should_implement_trait,
        reason = "None is no end: more may come"
    )]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        if let Some(error) = self.broken {
            return Some(Err(error));
        }
        match self.read() {
            Ok(frame) => frame.map(Ok),
            Err(error) => {
                self.broken = Some(error);
                self.buffer = Vec::new();
                self.start = 0;
                Some(Err(error))
            }
        }
    }

    /// Whether a part of a message has come, and not its end.
    pub fn is_within(&self) -> bool {
        self.start < self.buffer.len()
    }

    /// Why the stream makes no sense any more, if it does not.
    pub fn broken(&self) -> Option<FramingError> {
        self.broken
    }

    fn read(&mut self) -> Result<Option<Frame>, FramingError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        match rest {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => {
                self.start += 2;
                return Ok(Some(Frame::LineEnd));
            }
            _ => {}
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.read_head()? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        self.length = Some(length);
        let whole = self.start..self.start.saturating_add(length);
        let Some(message) = self.buffer.get(whole).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.start += length;
        self.looked = 0;
        self.length = None;
        Ok(Some(Frame::Message(message)))
    }

    /// The length of the whole message, once its headers are there.
    fn read_head(&mut self) -> Result<Option<usize>, FramingError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        check_first_line(rest)?;
        // The end may have begun in what was looked at before.
        let from = self.looked.saturating_sub(3);
        let unseen = rest.get(from..).unwrap_or_default();
        let end = unseen.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|at| from + at + 4) else {
            self.looked = rest.len();
            return match rest.len() >= LARGEST_MESSAGE {
                true => Err(FramingError::EndlessHeaders),
                false => Ok(None),
            };
        };
        let body = content_length(rest.get(..end).unwrap_or_default())?;
        match end.saturating_add(body) {
            length if length > LARGEST_MESSAGE => Err(FramingError::TooLarge),
            length => Ok(Some(length)),
        }
    }
}

/// Tells SIP from anything else as soon as there is enough to tell: a method or a version begins with
/// a letter of a token, and the line holds `SIP/`.
fn check_first_line(head: &[u8]) -> Result<(), FramingError> {
    let first = head.first().copied().unwrap_or(b'A');
    let is_token = first.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&first);
    let end = head.windows(2).position(|two| two == b"\r\n");
    let is_sip = match end {
        Some(end) => {
            let line = head.get(..end).unwrap_or_default();
            line.windows(4)
                .any(|four| four.eq_ignore_ascii_case(b"SIP/"))
        }
        None => head.len() < LONGEST_FIRST_LINE,
    };
    match is_token && is_sip {
        true => Ok(()),
        false => Err(FramingError::NotSip),
    }
}

/// What Content-Length says; 0 without one: over a stream it is mandatory (RFC 3261 §20.14), so that
/// what lacks it has no body, or else the body is what makes no sense next.
fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut said = None;
    for field in fields(head) {
        let Some(value) = value_of_content_length(head.get(field).unwrap_or_default()) else {
            continue;
        };
        let digits = value.trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(FramingError::ContentLength);
        }
        // A number too large for usize is larger than any message.
        let length = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(usize::MAX);
        if said.is_some_and(|said| said != length) {
            return Err(FramingError::ContentLength);
        }
        said = Some(length);
    }
    Ok(said.unwrap_or(0))
}

/// Where the header fields are, folded lines included, and the first line before them.
fn fields(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at;
        loop {
            let rest = head.get(at..).filter(|rest| !rest.is_empty())?;
            let line = rest.windows(2).position(|two| two == b"\r\n")?;
            at += line + 2;
            if !matches!(head.get(at), Some(b' ' | b'\t')) {
                return Some(from..at - 2);
            }
        }
    })
}

fn value_of_content_length(field: &[u8]) -> Option<&[u8]> {
    // Most fields are none: a look at the first letter spares the rest.
    if !matches!(field.first(), Some(b'c' | b'C' | b'l' | b'L')) {
        return None;
    }
    let colon = field.iter().position(|&byte| byte == b':')?;
    let name = field.get(..colon)?.trim_ascii_end();
    let is_length = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l");
    is_length.then(|| field.get(colon + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(framer: &mut Framer) -> Vec<Result<Frame, FramingError>> {
        let mut found = Vec::new();
        while let Some(frame) = framer.next() {
            let over = frame.is_err();
            found.push(frame);
            if over {
                break;
            }
        }
        found
    }

    fn all(bytes: &[u8]) -> Vec<Result<Frame, FramingError>> {
        let mut framer = Framer::default();
        framer.push(bytes);
        frames(&mut framer)
    }

    fn message(text: &str) -> Result<Frame, FramingError> {
        Ok(Frame::Message(text.as_bytes().to_vec()))
    }

    #[test]
    fn messages_end_where_content_length_says() {
        let (one, two) = (
            "OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\nTo: x\r\n\r\nabc",
            "SIP/2.0 200 OK\r\nl :\r\n 0\r\n\r\n",
        );
        assert_eq!(
            all(format!("{one}\r\n\r\n{two}{one}").as_bytes()),
            [
                message(one),
                Ok(Frame::LineEnd),
                Ok(Frame::LineEnd),
                message(two),
                message(one)
            ]
        );
        // Without a length there is no body.
        let bare = "BYE sip:a SIP/2.0\r\nTo: x\r\n\r\n";
        assert_eq!(all(bare.as_bytes()), [message(bare)]);
    }

    #[test]
    fn what_makes_no_sense_says_why_once_and_for_all() {
        let large = format!(
            "A sip:a SIP/2.0\r\nContent-Length: {}\r\n\r\n",
            LARGEST_MESSAGE
        );
        let endless = format!("A sip:a SIP/2.0\r\nX: {}", "x".repeat(LARGEST_MESSAGE));
        for (bytes, error) in [
            ("\x16\x03\x01\x02\x00", FramingError::NotSip),
            ("GET / HTTP/1.1\r\n", FramingError::NotSip),
            (&"x".repeat(LONGEST_FIRST_LINE), FramingError::NotSip),
            ("\n\n", FramingError::NotSip),
            ("A b SIP/2.0\r\nl: x\r\n\r\n", FramingError::ContentLength),
            ("A b SIP/2.0\r\nl: -1\r\n\r\n", FramingError::ContentLength),
            (
                "A b SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
                FramingError::ContentLength,
            ),
            (
                "A b SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n",
                FramingError::TooLarge,
            ),
            (&large, FramingError::TooLarge),
            (&endless, FramingError::EndlessHeaders),
        ] {
            let mut framer = Framer::default();
            framer.push(bytes.as_bytes());
            assert_eq!(framer.next(), Some(Err(error)), "{bytes:.40?}");
            framer.push(b"BYE sip:a SIP/2.0\r\n\r\n");
            assert_eq!(framer.next(), Some(Err(error)), "{bytes:.40?}");
        }
    }

    #[test]
    fn a_part_of_a_message_is_known_as_one() {
        let mut framer = Framer::default();
        framer.push(b"BYE sip:a SIP/2.0\r\n");
        assert_eq!(framer.next(), None);
        assert!(framer.is_within());
        framer.push(b"\r\n");
        assert!(framer.next().is_some());
        assert!(!framer.is_within());
    }

    /// A message with any body, a keep-alive, or a header section that is not quite usual.
    fn frame() -> impl Strategy<Value = Frame> {
        let body = proptest::collection::vec(any::<u8>(), 0..300);
        let name = prop_oneof![
            Just("Content-Length"),
            Just("content-length "),
            Just("L"),
            Just("l\t"),
        ];
        let message = (name, body, "[ -~]{0,40}").prop_map(|(name, body, text)| {
            let head = format!(
                "INVITE sip:a@b SIP/2.0\r\nSubject: {text}\r\n folded\r\n{name}: {}\r\n\r\n",
                body.len()
            );
            Frame::Message([head.as_bytes(), &body].concat())
        });
        prop_oneof![4 => message, 1 => Just(Frame::LineEnd)]
    }

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        match frame {
            Frame::Message(bytes) => bytes.clone(),
            Frame::LineEnd => b"\r\n".to_vec(),
        }
    }

    proptest! {
        /// Wherever the network cuts the stream, the same messages come out of it.
        #[test]
        fn any_split_of_a_stream_gives_the_same_frames(
            sent in proptest::collection::vec(frame(), 0..12),
            cuts in proptest::collection::vec(1usize..200, 1..40),
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(bytes_of).collect();
            let mut framer = Framer::default();
            let mut got = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                framer.push(now);
                got.extend(frames(&mut framer));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let sent: Vec<_> = sent.into_iter().map(Ok).collect();
            prop_assert_eq!(got, sent);
            prop_assert!(!framer.is_within());
        }

        /// Nothing that comes makes it panic, grow, or change its mind about where it broke.
        #[test]
        fn any_bytes_are_survived(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()],
                0..3000,
            ),
            cut in 1usize..50,
        ) {
            let whole = all(&bytes);
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for part in bytes.chunks(cut) {
                framer.push(part);
                got.extend(frames(&mut framer));
                prop_assert!(framer.buffer.len() <= LARGEST_MESSAGE + cut);
                if got.last().is_some_and(Result::is_err) {
                    break;
                }
            }
            prop_assert_eq!(got, whole);
        }
    }
}
