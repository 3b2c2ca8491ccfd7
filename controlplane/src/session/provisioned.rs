//! A session without session descriptions: both parties' addresses are given beforehand.
//!
//! It is kept packed, because there may be a hundred thousand: what its flows are and whom they believe is
//! asked of the [`MediaStream`] that [`Provisioned::stream`] makes of it, so that the rules of streams are
//! written once.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{Handling, LatchPolicy, Timestamp};

use super::media_stream::{MediaStream, Patience, Treatment};
use super::party::{Component, Mux, Party};
use super::{SessionError, Side};
use crate::installer::{Plan, TicketFailure};
use crate::relay_ports::PortPair;
use crate::settings::{MediaGroup, MediaGroupId};

/// What a provisioned session is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provision {
    /// Where the relay's address and ports towards party A and party B come from; the party's address
    /// decides about the family.
    pub groups: [MediaGroupId; 2],
    /// Where party A and party B send RTP from and receive it.
    pub parties: [SocketAddr; 2],
    /// Where their RTCP goes.
    pub rtcp: Rtcp,
    /// Whom its flows believe; `None`: as their media group says.
    pub latch: Option<LatchPolicy>,
    /// After how long without a packet from a party the session is closed; `None`: never.
    pub media_timeout: Option<Duration>,
}

/// Where RTCP goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rtcp {
    /// It is not relayed.
    None,
    /// To the port after that of RTP, at the parties and at the relay.
    Separate,
    /// To the port of RTP (RFC 5761).
    Mux,
}

impl Rtcp {
    /// Its name in requests and lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Separate => "separate",
            Self::Mux => "mux",
        }
    }
}

/// What became of [`super::Engine::provision`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioning {
    /// Every worker forwards all of its flows.
    Open,
    /// Some worker does not, and will not: nothing is left of the session.
    Failed(TicketFailure),
    /// A party cannot be reached: nothing is left of the session.
    NoNextHop,
    /// It was closed before every worker had its flows.
    Closed,
}

/// A provisioned session as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvisionedView {
    /// Its name.
    pub id: super::SessionId,
    /// Party A's and party B's address, as they were given.
    pub parties: [SocketAddr; 2],
    /// The relay's RTP ports that face party A and party B.
    pub relay: [SocketAddr; 2],
    /// Where RTCP goes.
    pub rtcp: Rtcp,
    /// Whom its flows believe; `None`: as their media group says.
    pub latch: Option<LatchPolicy>,
    /// After how long a silence it is closed.
    pub media_timeout: Option<Duration>,
    /// Since when it has been there.
    pub since: Timestamp,
    /// Whether every worker has all of its flows.
    pub open: bool,
}

/// A provisioned session, packed.
#[derive(Debug)]
pub(super) struct Provisioned {
    pairs: [PortPair; 2],
    parties: [(IpAddr, u16); 2],
    rtcp: Rtcp,
    latch: Option<LatchPolicy>,
    media_timeout: Option<Duration>,
    since: Timestamp,
    pub(super) open: bool,
    /// Whom the ports were latched to, by side and component: most are never, and need no room.
    latched: Option<Box<Latched>>,
}

type Latched = [[Option<SocketAddr>; 2]; 2];

const COMPONENTS: [Component; 2] = [Component::Rtp, Component::Rtcp];

impl Provision {
    /// Whether media can be sent to the parties at all.
    pub(super) fn check(&self) -> Result<(), SessionError> {
        let last = match self.rtcp {
            Rtcp::Separate => u16::MAX - 1,
            Rtcp::None | Rtcp::Mux => u16::MAX,
        };
        for party in self.parties {
            let ip = party.ip();
            let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
            let scoped = matches!(party, SocketAddr::V6(v6) if v6.scope_id() != 0);
            let no_host = ip.is_unspecified() || ip.is_multicast() || broadcast || scoped;
            if no_host || !(1..=last).contains(&party.port()) {
                return Err(SessionError::BadParty(party));
            }
        }
        Ok(())
    }
}

impl Provisioned {
    pub(super) fn new(provision: &Provision, pairs: [PortPair; 2], now: Timestamp) -> Self {
        Self {
            pairs,
            parties: provision.parties.map(|party| (party.ip(), party.port())),
            rtcp: provision.rtcp,
            latch: provision.latch,
            media_timeout: provision.media_timeout,
            since: now,
            open: false,
            latched: None,
        }
    }

    pub(super) const fn pairs(&self) -> [PortPair; 2] {
        self.pairs
    }

    /// The session as a stream that both parties have agreed to.
    pub(super) fn stream(&self) -> MediaStream {
        MediaStream::agreed([Side::A, Side::B].map(|side| self.party(side)))
    }

    /// The flows that it needs. `groups` are those of the configuration.
    pub(super) fn plans(&self, groups: &[MediaGroup]) -> Vec<Plan> {
        let treatment = |pair: &PortPair| {
            let group = groups.get(usize::from(pair.group.0))?;
            let latch = self.latch.unwrap_or(group.latch);
            Some(Treatment {
                latch,
                dscp: group.dscp,
            })
        };
        let [Some(a), Some(b)] = self.pairs.each_ref().map(treatment) else {
            return Vec::new();
        };
        let patience = Patience {
            sending: self.media_timeout,
            held: None,
        };
        let mut plans = self
            .stream()
            .plans([a, b], patience, |_, _, _| Handling::default());
        if self.rtcp == Rtcp::None {
            plans.retain(|plan| plan.rtp.is_some());
        }
        plans
    }

    /// A worker latched a source. Whether that is news.
    pub(super) fn latched(
        &mut self,
        key: contract::FlowKey,
        armed: u32,
        source: SocketAddr,
    ) -> bool {
        let mut stream = self.stream();
        let follows = self.latch == Some(contract::LatchPolicy::Follow);
        let mut parties = stream.parties_mut().iter_mut();
        if !parties.any(|party| party.latched(key, armed, source, follows)) {
            return false;
        }
        let whom = |side| {
            let local = stream.party(side).locals().next();
            COMPONENTS.map(|component| local.and_then(|local| local.latched(component)))
        };
        self.latched = Some(Box::new([Side::A, Side::B].map(whom)));
        true
    }

    pub(super) fn view(&self, id: super::SessionId) -> ProvisionedView {
        ProvisionedView {
            id,
            parties: self.parties.map(SocketAddr::from),
            relay: self.pairs.map(|pair| pair.rtp().socket_addr()),
            rtcp: self.rtcp,
            latch: self.latch,
            media_timeout: self.media_timeout,
            since: self.since,
            open: self.open,
        }
    }

    fn party(&self, side: Side) -> Party {
        let (address, port) = self.parties[side.index()];
        let rtcp = match self.rtcp {
            Rtcp::None => None,
            Rtcp::Separate => Some(SocketAddr::new(address, port.saturating_add(1))),
            Rtcp::Mux => Some(SocketAddr::new(address, port)),
        };
        let mux = match self.rtcp {
            Rtcp::Mux => Mux::On,
            Rtcp::None | Rtcp::Separate => Mux::Off,
        };
        let rtp = SocketAddr::new(address, port);
        let mut party = Party::known(self.pairs[side.index()], rtp, rtcp, mux);
        let latched = self.latched.as_ref().map(|latched| latched[side.index()]);
        for (component, source) in COMPONENTS.into_iter().zip(latched.into_iter().flatten()) {
            party.restore(component, source);
        }
        party
    }
}
