//! Sessions as the operator sees them.

use std::net::SocketAddr;

use contract::{FlowEntry, FlowKey};

use super::media_stream::{MediaStream, Phase};
use super::party::{Component, Mux, Party};
use super::state::Session;
use super::{SessionId, Side};
use crate::sdp::Profile;

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
    /// What its packets are.
    pub profile: Profile,
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
    /// Where we receive its RTP, or UDPTL.
    pub local_rtp: Option<SocketAddr>,
    /// Where we receive its RTCP; the same as RTP when muxed, and nowhere when there is none.
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
    /// The RTP clock of what is sent to the party that it faces, in Hz: the unit of the jitter that this reports.
    pub clock_rate: Option<u32>,
}

/// The view of a session; `silent` tells whether every worker finds the flow at a port idle.
pub(super) fn session(
    id: SessionId,
    session: &Session,
    silent: &dyn Fn(FlowKey) -> bool,
) -> SessionView {
    let streams = session.streams.iter().map(|stream| StreamView {
        media: String::from_utf8_lossy(&stream.media)
            .escape_default()
            .to_string(),
        profile: stream.profile,
        state: state(stream),
        parties: [Side::A, Side::B].map(|side| party(stream, side, silent)),
    });
    SessionView {
        id,
        streams: streams.collect(),
    }
}

/// The RTP clock of what is sent to the party that the flow at this port faces.
pub(super) fn clock_rate(session: &Session, key: FlowKey) -> Option<u32> {
    let faces = |party: &&Party| {
        party.locals().any(|local| {
            [Component::Rtp, Component::Rtcp]
                .map(|each| local.key(each))
                .contains(&key)
        })
    };
    let mut parties = session
        .streams
        .iter()
        .flat_map(|stream| [Side::A, Side::B].map(|side| stream.party(side)));
    parties.find(faces)?.remote.as_ref()?.clock_rate
}

fn state(stream: &MediaStream) -> StreamState {
    match stream.phase {
        Phase::Offered => StreamState::Offered,
        Phase::Active if stream.is_held() => StreamState::Held,
        Phase::Active => StreamState::Active,
        Phase::Unused | Phase::Refused => StreamState::Rejected,
    }
}

fn party(stream: &MediaStream, side: Side, silent: &dyn Fn(FlowKey) -> bool) -> PartyView {
    let party = stream.party(side);
    let local = party.announced_local();
    let rtcp = match party.mux {
        Mux::On => Component::Rtp,
        Mux::Off | Mux::Possible => Component::Rtcp,
    };
    let at = |component| local.map(|local| local.key(component).socket_addr());
    let remote = party.remote.as_ref();
    PartyView {
        local_rtp: at(Component::Rtp),
        local_rtcp: at(rtcp).filter(|_| stream.profile != Profile::Udptl),
        remote_rtp: remote.and_then(|remote| remote.rtp),
        remote_rtcp: remote.and_then(|remote| remote.address(rtcp)),
        latched_rtp: party
            .locals()
            .find_map(|local| local.latched(Component::Rtp)),
        direction: remote.map_or("", |remote| remote.direction.name()),
        codecs: remote
            .map(|remote| remote.codecs.clone())
            .unwrap_or_default(),
        silent: stream.announced_rtp(side).is_some_and(silent),
    }
}
