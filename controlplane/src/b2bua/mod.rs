//! The back-to-back user agent (RFC 7092): each call is a dialog with the caller, dialogs with the
//! callee, and a media session between them.

mod state;
mod view;

pub use state::{CallState, Row, TABLE, Trigger};
pub use view::{CallDetail, CallId, CallSummary, Counters, Gauges, LegView};
