//! Why bytes are no SIP message.

use std::fmt;

use super::{Message, StatusCode};

macro_rules! parse_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $counter:literal, $text:literal;)+) => {
        /// What is wrong with a message. Each kind is also a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ParseErrorKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ParseErrorKind {
            /// Every kind, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// How many kinds there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The kind's name in counters: lower case, words joined by underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $counter,)+ }
            }

            /// The kind in words, fit for a reason phrase.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The kind's place among the counters.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

parse_errors! {
    /// Nothing but line ends: a keep-alive of the sender (RFC 5626 §3.5.1).
    Blank = "blank", "Nothing but line ends";
    /// Larger than [`Message::MAX_SIZE`].
    TooLarge = "too_large", "Message too large";
    /// The bytes end before the empty line that ends the headers.
    NoEndOfHeaders = "no_end_of_headers", "No empty line after the headers";
    /// A carriage return or line feed that is not part of CRLF.
    StrayLineEnd = "stray_line_end", "Carriage return or line feed on its own";
    /// The first line is neither a request line nor a status line.
    StartLine = "start_line", "Malformed first line";
    /// The request's method is not a token.
    Method = "method", "Malformed method";
    /// The Request-URI is no URI.
    RequestUri = "request_uri", "Malformed Request-URI";
    /// Another version than SIP/2.0.
    Version = "version", "Version is not SIP/2.0";
    /// The status code is not a number from 100 to 699.
    StatusCode = "status_code", "Malformed status code";
    /// A line of the headers has no colon, or no token before it.
    HeaderName = "header_name", "Malformed header name";
    /// More header fields than [`Message::MAX_HEADERS`].
    TooManyHeaders = "too_many_headers", "Too many header fields";
    /// A header field longer than [`Message::MAX_HEADER_SIZE`].
    HeaderTooLong = "header_too_long", "Header field too long";
    /// Content-Length is not a number, or there are two that differ.
    ContentLength = "content_length", "Malformed Content-Length";
    /// The datagram ends before the body that Content-Length announces.
    BodyTooShort = "body_too_short", "Body shorter than Content-Length";
    /// A header that every message needs is absent.
    MissingHeader = "missing_header", "Mandatory header missing";
    /// A header that may stand once stands twice.
    RepeatedHeader = "repeated_header", "Header repeated that may stand once";
    /// A header that the transaction layer needs has no meaning.
    BadHeader = "bad_header", "Malformed mandatory header";
    /// The method of CSeq is not the request's.
    CSeqMethod = "cseq_method", "Method of CSeq differs from the request's";
}

/// Why bytes are no SIP message, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The offset of the first byte that does not fit; the length of the whole when something is
    /// missing.
    pub at: usize,
    /// What is wrong.
    pub what: ParseErrorKind,
    /// The message as far as it could be read, if that far it is a request: enough, often, to
    /// answer it.
    pub request: Option<Box<Message>>,
}

impl ParseError {
    /// What to answer a request of this fault with (RFC 3261 §8.2, §21.4.1, §21.5.6, §21.5.7).
    pub const fn status(&self) -> StatusCode {
        match self.what {
            ParseErrorKind::TooLarge
            | ParseErrorKind::TooManyHeaders
            | ParseErrorKind::HeaderTooLong => StatusCode::MESSAGE_TOO_LARGE,
            ParseErrorKind::Version => StatusCode::VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what.words(), self.at)
    }
}

impl std::error::Error for ParseError {}
