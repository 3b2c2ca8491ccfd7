//! The second door to the session engine: rtpengine's `ng` control protocol, as Kamailio and OpenSIPS speak it.
//!
//! ```text
//!   transport ─► message (cookie, dictionary) ─► cookies (seen before?) ─► request ─► calls ─► session engine
//!             ◄─ message ◄─ reply ◄───────────── cookies ◄──────────────────────────┘
//! ```
//!
//! Sans-IO like all that is behind a door: it knows neither sockets nor clocks.

mod path;
pub mod request;
mod value;

pub use path::{ControlId, ControlPath, Way};
pub use value::{Dictionary, Value};
