//! Session descriptions (RFC 8866): read for their meaning, edited by line, never re-generated.
//!
//! A [`Description`] keeps every line of the body byte for byte, with its own line ending. What it
//! understands is only what a relay must: who receives media where ([`Stream`]), the few lines that
//! say so ([`Replacement`] rewrites them), and which lines belong to which codec, so that one can be left out
//! whole ([`Verdict`]). It refuses to know what a codec is, and it knows nothing of offers and answers: that is
//! `session`'s.
//!
//! ```text
//!   bytes ─► Description ─► streams(): Vec<Stream>          what the party wants
//!                      └──► rewrite(&Replacement) ─► bytes   the same, with our addresses
//! ```

mod bandwidth;
mod codec_filter;
mod codecs;
mod description;
mod edit;
mod line;
mod rewrite;
mod stream;

pub use codec_filter::{Codec, Left, Verdict};
pub use description::Description;
pub use rewrite::{
    MuxLine, Origin, OriginLine, Replacement, RtcpLine, RtpProfile, StreamReplacement,
};
pub use stream::{Direction, Profile, Spoken, Stream, Use};

/// Bodies larger than this are refused: larger than any that a datagram carries.
pub const MAX_BODY: usize = 65_535;
/// Bodies of more lines than this are refused.
pub const MAX_LINES: usize = 2_048;

/// Why a body is not a session description that can be relayed. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SdpError {
    /// Larger than [`MAX_BODY`] or of more lines than [`MAX_LINES`].
    #[error("the session description is too large")]
    TooLarge,
    /// The first line is not `v=0`.
    #[error("not a session description: the first line is not v=0")]
    NotSdp,
    /// A line with a NUL, or with a CR that no LF follows: RFC 8866 §9 allows neither, and a receiver that
    /// takes a bare CR for a line's end would read lines that tandem did not.
    #[error("line {line}: a NUL or a bare CR")]
    BadByte {
        /// The line.
        line: usize,
    },
    /// There is no `o=` line before the first `m=`, or more than one.
    #[error("the session description has no single o= line")]
    NoOrigin,
    /// An `m=` line that is not media, port, protocol and formats.
    #[error("line {line}: not a media description")]
    BadMedia {
        /// The line.
        line: usize,
    },
    /// A `c=` line or the address of an `a=rtcp` that is not a numeric unicast address, or unspecified.
    #[error("line {line}: not a numeric unicast address")]
    BadAddress {
        /// The line.
        line: usize,
    },
    /// An `a=rtcp` line whose port is no port.
    #[error("line {line}: not an RTCP port")]
    BadRtcp {
        /// The line.
        line: usize,
    },
    /// A stream in use has no `c=` line, neither its own nor the session's.
    #[error("line {line}: no c= line says where this stream's media goes")]
    NoConnection {
        /// The stream's `m=` line.
        line: usize,
    },
}
