//! Why the engine refuses.

use std::net::SocketAddr;

use crate::sdp::SdpError;
use crate::settings::MediaGroupId;

use super::Family;

/// Why the engine refused. The session is then as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// As many sessions as configured are open.
    #[error("as many sessions as configured are open")]
    TooManySessions,
    /// The body is not a session description that can be relayed.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The description has more media streams than configured.
    #[error("{0} media streams: more than configured")]
    TooManyStreams(usize),
    /// A new offer must keep every `m=` line of the agreed one (RFC 3264 §8).
    #[error("{offered} media streams offered where {agreed} are agreed")]
    FewerStreams {
        /// In the new offer.
        offered: usize,
        /// In the session.
        agreed: usize,
    },
    /// An answer must have as many `m=` lines as the offer (RFC 3264 §6).
    #[error("{answered} media streams answered where {offered} were offered")]
    AnswerCount {
        /// In the offer.
        offered: usize,
        /// In the answer.
        answered: usize,
    },
    /// An answer's `m=` line has another media type than the offer's, or one of the two is fax (UDPTL) and the other
    /// RTP.
    #[error("stream {stream} is answered with another media type")]
    MediaMismatch {
        /// The stream, counted from 1.
        stream: usize,
    },
    /// The offer has streams in use, and the relay can carry none of them.
    #[error("none of the offered streams is RTP or UDPTL")]
    NothingToRelay,
    /// The rules of the two sides leave no stream a codec.
    #[error("no codec of the description is allowed on both sides")]
    NoCodec,
    /// The party uses an address family that its media group has no address of.
    #[error("the media group has no address of the party's family")]
    NoSuchFamily {
        /// The group.
        group: MediaGroupId,
        /// The family.
        family: Family,
    },
    /// Every port of the group is in use or resting.
    #[error("every media port of the group is in use or resting")]
    PortsExhausted(MediaGroupId),
    /// A party of a provisioned session is at an address that nothing can be sent to.
    #[error("nothing can be sent to {0}")]
    BadParty(SocketAddr),
    /// The other side's offer has not been answered yet.
    #[error("an offer of the other side is pending")]
    OfferPending,
    /// There is no offer of the other side to answer, or none to reject.
    #[error("there is no such offer")]
    NoOffer,
    /// The offer has not been answered yet.
    #[error("the offer has not been answered")]
    NoAnswer,
    /// The session is established: its parties stay.
    #[error("the session is established")]
    Established,
    /// No such session.
    #[error("no such session")]
    UnknownSession,
    /// No such media group.
    #[error("no such media group")]
    UnknownGroup,
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
            Self::Sdp(SdpError::BadAddress { .. }) => ErrorClass::NotAcceptable,
            Self::Sdp(_) => ErrorClass::Malformed,
            Self::TooManyStreams(_)
            | Self::FewerStreams { .. }
            | Self::AnswerCount { .. }
            | Self::MediaMismatch { .. }
            | Self::NothingToRelay
            | Self::NoCodec
            | Self::NoSuchFamily { .. }
            | Self::BadParty(_) => ErrorClass::NotAcceptable,
            Self::OfferPending => ErrorClass::Glare,
            Self::NoOffer
            | Self::NoAnswer
            | Self::Established
            | Self::UnknownSession
            | Self::UnknownGroup => ErrorClass::Misuse,
        }
    }

    /// Its name in counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooManySessions => "too_many_sessions",
            Self::Sdp(_) => "bad_sdp",
            Self::TooManyStreams(_) => "too_many_streams",
            Self::FewerStreams { .. } => "fewer_streams",
            Self::AnswerCount { .. } => "answer_count",
            Self::MediaMismatch { .. } => "media_mismatch",
            Self::NothingToRelay => "nothing_to_relay",
            Self::NoCodec => "no_codec",
            Self::NoSuchFamily { .. } => "no_such_family",
            Self::PortsExhausted(_) => "ports_exhausted",
            Self::BadParty(_) => "bad_party",
            Self::OfferPending => "offer_pending",
            Self::NoOffer => "no_offer",
            Self::NoAnswer => "no_answer",
            Self::Established => "established",
            Self::UnknownSession => "unknown_session",
            Self::UnknownGroup => "unknown_group",
        }
    }
}
