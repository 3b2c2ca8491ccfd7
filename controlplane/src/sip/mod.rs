//! SIP messages (RFC 3261): bytes in, a lossless [`Message`] out, and back.
//!
//! Sits between the transport (which delivers one datagram, one message) and the transaction layer.
//! A header that nobody touches leaves byte for byte as it came, folding, odd spacing and compact
//! names included. Values are given a meaning by [`typed`], on demand and one at a time.
//!
//! Refuses to know sockets, clocks, transactions, dialogs, and what a body means.

mod essentials;
mod header_name;
mod headers;
mod lexer;
mod message;
mod method;
mod parse_error;
mod reader;
mod responses;
mod status;
mod tokens;
pub mod typed;

pub use header_name::HeaderName;
pub use headers::{Header, Headers};
pub use message::{Message, StartLine};
pub use method::Method;
pub use parse_error::{ParseError, ParseErrorKind};
pub use status::StatusCode;
pub use tokens::Tokens;
