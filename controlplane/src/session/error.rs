//! Why the engine refuses.

use crate::settings::MediaGroupId;

/// Why the engine refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// As many sessions as configured are open.
    #[error("as many sessions as configured are open")]
    TooManySessions,
    /// The description has more media streams than configured.
    #[error("{0} media streams: more than configured")]
    TooManyStreams(usize),
    /// Every port of the group is in use or resting.
    #[error("every media port of the group is in use or resting")]
    PortsExhausted(MediaGroupId),
    /// No such session.
    #[error("no such session")]
    UnknownSession,
}

/// What a front end does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// A bound was reached: try later (SIP: 503).
    Exhausted,
    /// The body is not a session description (SIP: 400).
    Malformed,
    /// The description is valid but asks for something that is not relayed (SIP: 488).
    NotAcceptable,
    /// An offer of the other side is pending (SIP: 491).
    Glare,
    /// The caller of the engine broke its rules: no such session, an answer without an offer (SIP: 500).
    Misuse,
}

impl SessionError {
    /// What to do about it.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::TooManySessions | Self::PortsExhausted(_) => ErrorClass::Exhausted,
            Self::TooManyStreams(_) => ErrorClass::NotAcceptable,
            Self::UnknownSession => ErrorClass::Misuse,
        }
    }
}
