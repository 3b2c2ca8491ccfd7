//! What is done to the media of sessions beside relaying it.

use contract::{FlowKey, Timestamp};

use super::super::handling::{Receiver, SideHandling};
use super::super::media_stream::{MediaStream, Phase};
use super::super::party::Component;
use super::super::{SessionId, Side};
use super::Engine;
use crate::installer::Ticket;
use crate::sdp::Profile;
use crate::settings::MediaGroupId;

impl Engine {
    /// Changes what is done to what the party on this side sends; its flows follow. Unknown sessions are ignored.
    pub fn handle_media(
        &mut self,
        now: Timestamp,
        session: SessionId,
        side: Side,
        with: impl FnOnce(&mut SideHandling),
    ) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        let handling = known.handling.get_or_insert_default();
        let before = handling.of(side).clone();
        with(handling.of_mut(side));
        let changed = *handling.of(side) != before;
        if handling.is_none() {
            known.handling = None;
        }
        if changed {
            self.change(now, session, |_| {});
        }
    }

    /// A ticket for the flows of a session as they are wanted now; `None` when every worker has them.
    pub fn await_flows(&mut self, now: Timestamp, session: SessionId) -> Option<Ticket> {
        let known = self.sessions.get_mut(&session)?;
        let keys: Vec<FlowKey> = known.keys.keys().copied().collect();
        let ticket = self.installer.ticket(now, &keys)?;
        known.tickets.insert(ticket);
        self.holders.insert(ticket, session);
        Some(ticket)
    }

    /// Whether nothing has been said of a ticket yet.
    pub fn is_pending(&self, ticket: Ticket) -> bool {
        self.holders.contains_key(&ticket)
    }

    /// What is done to what the party on this side sends.
    pub fn media_handling(&self, session: SessionId, side: Side) -> SideHandling {
        let known = self.sessions.get(&session);
        let handling = known.and_then(|known| known.handling.as_deref());
        handling
            .map(|handling| handling.of(side).clone())
            .unwrap_or_default()
    }

    /// How audio in the clear reaches the party on this side, stream by stream.
    pub fn receivers(&self, session: SessionId, side: Side) -> Vec<Receiver> {
        let known = self.sessions.get(&session);
        let streams = known.into_iter().flat_map(|known| &known.streams);
        let audible = streams.filter(|stream| {
            is_used(stream) && stream.is_audio() && stream.profile == Profile::Rtp
        });
        let receiver = |stream: &MediaStream| {
            Some(Receiver {
                key: stream.announced_rtp(side.other())?,
                spoken: stream.party(side).remote.as_ref()?.spoken,
            })
        };
        audible.filter_map(receiver).collect()
    }

    /// Which media serve a side.
    pub fn group_of(&self, session: SessionId, side: Side) -> Option<MediaGroupId> {
        let known = self.sessions.get(&session)?;
        Some(known.legs[side.index()].spec.group)
    }

    /// Where what the party on this side sends arrives, RTP and RTCP, stream by stream; `None` where nothing does.
    pub fn entrances(&self, session: SessionId, side: Side) -> Vec<Option<[FlowKey; 2]>> {
        let known = self.sessions.get(&session);
        let streams = known.into_iter().flat_map(|known| &known.streams);
        let entrance = |stream: &MediaStream| {
            let local = stream.party(side).announced_local()?;
            let both = [Component::Rtp, Component::Rtcp].map(|each| local.key(each));
            is_used(stream).then_some(both)
        };
        streams.map(entrance).collect()
    }
}

const fn is_used(stream: &MediaStream) -> bool {
    matches!(stream.phase, Phase::Offered | Phase::Active)
}
