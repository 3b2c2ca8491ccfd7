//! One media stream between two parties, and the flows that it needs.

use std::time::Duration;

use contract::{DscpMarking, FlowKey, Handling, LatchPolicy, Payload};

use super::party::{Component, Mux, Party};
use super::{Family, Side};
use crate::installer::Plan;
use crate::relay_ports::PortPair;
use crate::sdp::Profile;
use crate::settings::MediaGroup;

/// One `m=` line of a session.
#[derive(Clone, Debug, Default)]
pub(super) struct MediaStream {
    /// The media type of the last offer.
    pub(super) media: Vec<u8>,
    /// What its packets are: by the offer that began it, then by the last that was accepted.
    pub(super) profile: Profile,
    pub(super) phase: Phase,
    parties: [Party; 2],
}

/// How the flows of one side are to be treated: what a media group says, or is overruled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Treatment {
    pub(super) latch: LatchPolicy,
    pub(super) dscp: DscpMarking,
}

/// How long a party may be silent; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// One that should be sending.
    pub sending: Option<Duration>,
    /// One of whom nothing is expected, as long as nothing is of the other.
    pub held: Option<Duration>,
}

impl From<&MediaGroup> for Treatment {
    fn from(group: &MediaGroup) -> Self {
        Self {
            latch: group.latch,
            dscp: group.dscp,
        }
    }
}

/// How far a stream is.
///
/// ```text
///   Unused ── offer ──► Offered ── answer ──► Active ── answer with port 0 ──► Refused ── settled ──► Unused
///                          └────── answer with port 0 ──────────────────────────►┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Port 0 on both sides: no ports of ours, no flows.
    #[default]
    Unused,
    /// Offered: flows are there for early media, and towards the offerer they lead somewhere.
    Offered,
    /// Answered.
    Active,
    /// The last answer refused it. Its ports stay until the exchange is settled: another fork's answer may
    /// accept.
    Refused,
}

impl MediaStream {
    /// What one direction takes at the most, in bits a second. What flows is among what both sides name, so
    /// the side that names less decides.
    pub(super) fn bitrate(&self) -> u64 {
        if !matches!(self.phase, Phase::Offered | Phase::Active) {
            return 0;
        }
        let said = [Side::A, Side::B].map(|side| {
            let remote = self.party(side).remote.as_ref();
            remote.map(|remote| remote.bitrate)
        });
        said.into_iter().flatten().min().unwrap_or(0)
    }

    /// A stream of port 0.
    pub(super) fn unused(media: Vec<u8>) -> Self {
        Self {
            media,
            ..Self::default()
        }
    }

    /// A stream that both parties have agreed to.
    pub(super) fn agreed(parties: [Party; 2]) -> Self {
        Self {
            phase: Phase::Active,
            parties,
            ..Self::default()
        }
    }

    /// The answer is port 0.
    pub(super) fn refuse(&mut self) {
        if self.phase != Phase::Unused {
            self.phase = Phase::Refused;
        }
    }

    /// Back from a later state that is void: what was latched in it still is.
    pub(super) fn keep_latches_of(&mut self, newer: &Self) {
        for side in [Side::A, Side::B] {
            self.party_mut(side).keep_latches_of(newer.party(side));
        }
    }

    /// The party on this side is gone, its successor not known yet.
    pub(super) fn forget(&mut self, side: Side) {
        *self.party_mut(side) = Party::default();
        if self.phase != Phase::Unused {
            self.phase = Phase::Offered;
        }
    }

    pub(super) const fn party(&self, side: Side) -> &Party {
        &self.parties[side.index()]
    }

    pub(super) const fn party_mut(&mut self, side: Side) -> &mut Party {
        &mut self.parties[side.index()]
    }

    pub(super) const fn parties_mut(&mut self) -> &mut [Party; 2] {
        &mut self.parties
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = PortPair> {
        self.parties
            .iter()
            .flat_map(|party| party.locals().map(|local| local.pair))
    }

    /// Whether the party on this side should be sending, by what both have said.
    pub(super) fn expects(&self, side: Side) -> bool {
        self.phase == Phase::Active
            && self.party(side).sends()
            && self.party(side.other()).receives()
    }

    /// Whether what arrives at the port comes from the party on this side.
    pub(super) fn faces(&self, side: Side, key: FlowKey) -> bool {
        let mut locals = self.party(side).locals();
        locals.any(|local| local.key(Component::Rtp) == key || local.key(Component::Rtcp) == key)
    }

    /// Where the party on this side was told to send RTP.
    pub(super) fn announced_rtp(&self, side: Side) -> Option<FlowKey> {
        Some(self.party(side).announced_local()?.key(Component::Rtp))
    }

    /// The ports whose silence, all together, is that of the party on this side. Of a fax both: while one machine sends a
    /// page the other has nothing to say for minutes, so only the silence of both tells that nobody is left.
    pub(super) fn listened_at(&self, side: Side) -> impl Iterator<Item = FlowKey> {
        let both = self.profile == Profile::Udptl;
        [Side::A, Side::B]
            .into_iter()
            .filter(move |one| *one == side || both && self.expects(*one))
            .filter_map(|one| self.announced_rtp(one))
    }

    /// Whether a party has put it on hold, or both.
    pub(super) fn is_held(&self) -> bool {
        self.phase == Phase::Active && !(self.expects(Side::A) && self.expects(Side::B))
    }

    pub(super) fn is_audio(&self) -> bool {
        self.media.eq_ignore_ascii_case(b"audio")
    }

    /// The flows that the stream needs. `sides` are how party A's and party B's are treated, `handling` says what
    /// else is done to what a side sends.
    pub(super) fn plans(
        &self,
        sides: [Treatment; 2],
        patience: Patience,
        handling: impl Fn(Side, Component, Payload) -> Handling,
    ) -> Vec<Plan> {
        if !matches!(self.phase, Phase::Offered | Phase::Active) {
            return Vec::new();
        }
        [Side::A, Side::B]
            .into_iter()
            .flat_map(|side| self.plans_facing(side, sides, patience, &handling))
            .collect()
    }

    /// The flows for what the party on this side sends.
    fn plans_facing(
        &self,
        side: Side,
        sides: [Treatment; 2],
        patience: Patience,
        handling: &impl Fn(Side, Component, Payload) -> Handling,
    ) -> Vec<Plan> {
        let idle_after = match self.expects(side) {
            true => patience.sending,
            false => patience.held,
        };
        let (near, far) = (self.party(side), self.party(side.other()));
        let dscp = sides[side.other().index()].dscp;
        let policy = sides[side.index()].latch;
        let rtp = far.egress(Component::Rtp, dscp);
        let rtcp = far.egress(Component::Rtcp, dscp);
        let (Some(rtp), Some(rtcp)) = (rtp, rtcp) else {
            return Vec::new();
        };
        let payload = payload(self.profile);
        let has_rtcp = payload != Payload::Datagrams;
        let mut plans = Vec::new();
        for local in near.locals() {
            let announced = near.announced == Some(Family::of(local.pair.address));
            plans.push(Plan {
                key: local.key(Component::Rtp),
                payload,
                latch: near.believes(local, Component::Rtp, policy),
                rtp: Some(rtp),
                rtcp: (has_rtcp && near.mux != Mux::Off).then_some(rtcp),
                idle_after: idle_after.filter(|_| announced),
                handling: handling(side, Component::Rtp, payload),
            });
            if has_rtcp && near.mux != Mux::On {
                plans.push(Plan {
                    key: local.key(Component::Rtcp),
                    payload,
                    latch: near.believes(local, Component::Rtcp, policy),
                    rtp: None,
                    rtcp: Some(rtcp),
                    idle_after: None,
                    handling: handling(side, Component::Rtcp, payload),
                });
            }
        }
        plans
    }
}

/// What the workers need to know of a stream's packets.
const fn payload(profile: Profile) -> Payload {
    match profile {
        Profile::Rtp => Payload::Rtp,
        Profile::Srtp => Payload::Srtp,
        Profile::Udptl => Payload::Datagrams,
    }
}
