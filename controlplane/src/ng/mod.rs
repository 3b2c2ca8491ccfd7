//! The second door to the session engine: rtpengine's `ng` control protocol, as Kamailio and OpenSIPS speak it.
//!
//! ```text
//!   transport ─► message (cookie, dictionary) ─► cookies (seen before?) ─► request ─► calls ─► session engine
//!             ◄─ message ◄─ reply ◄───────────── cookies ◄──────────────────────────┘
//! ```
//!
//! Sans-IO like all that is behind a door: it knows neither sockets nor clocks.

pub mod bencode;
mod book;
pub mod cookies;
mod counters;
#[cfg(test)]
mod documented;
mod door;
mod exchange;
mod ignored;
pub mod json;
mod media;
pub mod message;
mod operators;
pub mod parse;
mod path;
mod policy;
mod quality;
mod recording;
mod reply;
mod report;
pub mod request;
mod shape;
#[cfg(test)]
mod spellings;
mod subscribing;
mod totals;
mod value;
mod words;

pub use book::CallNumber;
pub use counters::{Counters, Gauges};
pub(crate) use door::{Hands, Ng};
pub use operators::{MOST_OF_OPERATORS, OperatorRequest, TooManyOfOperators};
pub use path::{ControlId, ControlPath, Way};
pub use policy::Policy;
pub use totals::Totals;
pub use value::{Dictionary, Value};

/// How deep lists and dictionaries may lie in each other: what clients send is four deep at the most.
pub const NESTED: usize = 16;
/// Values in one message: a thousand flags would be many.
pub const MOST_VALUES: usize = 8_192;
