//! What replies look like: the words are rtpengine's, since its clients compare them.

use super::value::{Dictionary, Value};
use crate::sdp::SdpError;
use crate::session::SessionError;

/// `{"result":"pong"}`.
pub(super) fn pong() -> Dictionary {
    Dictionary::new().with("result", "pong")
}

/// Done.
pub(super) fn ok() -> Dictionary {
    Dictionary::new().with("result", "ok")
}

/// Done, though not as the client may think.
pub(super) fn warning(text: &str) -> Dictionary {
    Dictionary::new().with("warning", text).with("result", "ok")
}

/// Not done.
pub(super) fn error(reason: impl Into<Value>) -> Dictionary {
    Dictionary::new()
        .with("result", "error")
        .with("error-reason", reason)
}

/// Another relay should be asked.
pub(super) fn load_limit(message: &str) -> Dictionary {
    Dictionary::new()
        .with("result", "load limit")
        .with("message", message)
}

/// An offer or answer that the session engine refused.
pub(super) fn refused(error: &SessionError, supports_load_limit: bool) -> Dictionary {
    match error {
        SessionError::TooManySessions => limited(PARALLEL_SESSIONS, supports_load_limit),
        SessionError::PortsExhausted(_) => self::error("Ran out of ports"),
        SessionError::Sdp(SdpError::NoConnection { .. }) => {
            self::error("Incomplete SDP specification")
        }
        SessionError::Sdp(_) => self::error(FAILED_TO_PARSE),
        SessionError::UnknownSession => self::error(UNKNOWN_CALL),
        other => self::error(other.to_string()),
    }
}

/// No new calls for now.
pub(super) fn limited(why: &str, supports_load_limit: bool) -> Dictionary {
    match supports_load_limit {
        true => load_limit(why),
        false => error(why),
    }
}

pub(super) const UNKNOWN_CALL: &str = "Unknown call-id";
/// What commands about media say instead, but for those about recording.
pub(super) const UNKNOWN_CALL_OF_MEDIA: &str = "Unknown call-ID";
pub(super) const PARALLEL_SESSIONS: &str = "Parallel session limit reached";
pub(super) const NO_SUCH_CALL: &str = "Call-ID not found or tags didn't match";
pub(super) const FAILED_TO_PARSE: &str = "Failed to parse SDP";
