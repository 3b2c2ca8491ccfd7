//! Sessions as the operator sees them.

use std::net::SocketAddr;

use contract::{FlowEntry, FlowKey};

use super::SessionId;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Its media streams, in the order of the `m=` lines.
    pub streams: Vec<StreamView>,
}

/// One media stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The media type: `audio`, `video` …
    pub media: String,
    /// How far it is.
    pub state: StreamState,
    /// Party A, then party B.
    pub parties: [PartyView; 2],
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// Offered, not answered.
    Offered,
    /// Agreed by both sides.
    Active,
    /// Agreed, and silent in at least one direction.
    Held,
    /// Refused by a side or by the relay, or removed.
    Rejected,
}

/// One side of a media stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartyView {
    /// Where we receive its RTP.
    pub local_rtp: Option<SocketAddr>,
    /// Where we receive its RTCP; the same as RTP when muxed.
    pub local_rtcp: Option<SocketAddr>,
    /// Where its SDP says that it receives RTP.
    pub remote_rtp: Option<SocketAddr>,
    /// Where its SDP says that it receives RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// The source that its RTP was latched to.
    pub latched_rtp: Option<SocketAddr>,
    /// Its direction as it put it: `sendrecv`, `sendonly`, `recvonly`, `inactive`.
    pub direction: &'static str,
    /// Its formats with their names, as in `8 PCMA/8000, 101 telephone-event/8000`.
    pub codecs: String,
    /// Every worker has reported its RTP silent.
    pub silent: bool,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Where its packets arrive.
    pub key: FlowKey,
    /// The entry that the workers are to have; `None`: it is being removed.
    pub entry: Option<FlowEntry>,
    /// How many workers have acknowledged it.
    pub acknowledged: usize,
}
