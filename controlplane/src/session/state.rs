//! One session: its legs, its streams, and where it stands between offer and answer.

use std::collections::{BTreeMap, BTreeSet};

use contract::{DscpMarking, FlowKey, LatchPolicy, Payload};

use super::handling::SidesHandling;
use super::leg::Leg;
use super::media_stream::{MediaStream, Patience, Phase, Treatment};
use super::party::{Component, Mux, Party};
use super::{EndedFlow, MuxTerms, Reports, SessionError, SessionId, Side, Terms};
use crate::installer::{Plan, Ticket};
use crate::relay_ports::PortPair;
use crate::sdp::Stream;

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) legs: [Leg; 2],
    pub(super) streams: Vec<MediaStream>,
    /// How long its parties may be silent, where that is not what the engine says.
    pub(super) patience: Option<Patience>,
    /// What overrules the media groups.
    pub(super) overruled: Overruled,
    /// What is done to its media beside relaying it, if anything is.
    pub(super) handling: Option<Box<SidesHandling>>,
    pub(super) exchange: Exchange,
    /// The streams as they were before the exchange: what a rejected offer leads back to.
    before: Option<Vec<MediaStream>>,
    /// Confirmed at least once: silence counts from now on.
    pub(super) established: bool,
    pub(super) timed_out: bool,
    /// The ports that flows were wanted at last.
    pub(super) keys: BTreeMap<FlowKey, Facing>,
    /// The tickets that somebody still holds.
    pub(super) tickets: BTreeSet<Ticket>,
}

/// What terms have said of how the packets of a session are treated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overruled {
    latch: [Option<LatchPolicy>; 2],
    dscp: Option<DscpMarking>,
}

impl Overruled {
    /// What one side has said counts from now on.
    pub(super) fn hear(&mut self, from: Side, terms: &Terms) {
        let latch = &mut self.latch[from.index()];
        *latch = terms.latch.or(*latch);
        self.dscp = terms.dscp.or(self.dscp);
    }

    /// How the flows of a side are treated that its media group treats so.
    pub(super) fn apply(&self, side: Side, group: Treatment) -> Treatment {
        Treatment {
            latch: self.latch[side.index()].unwrap_or(group.latch),
            dscp: self.dscp.unwrap_or(group.dscp),
        }
    }
}

/// Whom a flow of the session faces, and what it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facing {
    side: Side,
    rtp: bool,
    reports: Option<Reports>,
}

impl Facing {
    /// The same of a flow that has come to its end.
    pub(super) const fn ended(self, session: SessionId, key: FlowKey) -> EndedFlow {
        EndedFlow {
            session,
            from: self.side,
            key,
            rtp: self.rtp,
            reports: self.reports,
        }
    }
}

/// Offer and answer (RFC 3264).
///
/// ```text
///   Settled ── offer ──► Offered ── answer ──► Answered ─┐ answer (another fork)
///      ▲                    │                     │  ▲───┘
///      └──── reject_offer ──┴─────────────────────┤
///      └──── confirm, or the next offer ──────────┘
/// ```
#[derive(Debug)]
pub(super) enum Exchange {
    Settled,
    Offered(Offer),
    Answered(Offer),
}

/// The last offer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) from: Side,
    pub(super) streams: Vec<Stream>,
    /// What was said of rtcp-mux with it.
    pub(super) mux: MuxTerms,
}

impl Session {
    pub(super) fn new(a: Leg, b: Leg) -> Self {
        Self {
            legs: [a, b],
            streams: Vec::new(),
            patience: None,
            overruled: Overruled::default(),
            handling: None,
            exchange: Exchange::Settled,
            before: None,
            established: false,
            timed_out: false,
            keys: BTreeMap::new(),
            tickets: BTreeSet::new(),
        }
    }

    /// Every pair of ports that the session may still need.
    pub(super) fn pairs(&self) -> BTreeSet<PortPair> {
        let before = self.before.iter().flatten();
        self.streams
            .iter()
            .chain(before)
            .flat_map(MediaStream::pairs)
            .collect()
    }

    /// Whom the flow of a plan faces.
    pub(super) fn facing(&self, plan: &Plan) -> Facing {
        let of_b = self
            .streams
            .iter()
            .any(|stream| stream.faces(Side::B, plan.key));
        let side = if of_b { Side::B } else { Side::A };
        let mut streams = self.streams.iter();
        let stream = streams.find(|stream| stream.faces(side, plan.key));
        Facing {
            side,
            rtp: plan.rtp.is_some(),
            reports: stream.and_then(|stream| reports(stream.party(side.other()), plan)),
        }
    }

    /// Whether this side may offer now.
    pub(super) fn may_offer(&self, from: Side) -> Result<(), SessionError> {
        match &self.exchange {
            Exchange::Offered(offer) if offer.from != from => Err(SessionError::OfferPending),
            _ => Ok(()),
        }
    }

    /// How many `m=` lines a new offer must have: those that an answer has agreed to.
    pub(super) fn agreed_streams(&self) -> usize {
        match (&self.exchange, &self.before) {
            (Exchange::Offered(_), Some(before)) => before.len(),
            _ => self.streams.len(),
        }
    }

    /// The other side's offer that this side is to answer.
    pub(super) fn offer_for(&self, answerer: Side) -> Result<&Offer, SessionError> {
        match &self.exchange {
            Exchange::Offered(offer) | Exchange::Answered(offer) if offer.from != answerer => {
                Ok(offer)
            }
            _ => Err(SessionError::NoOffer),
        }
    }

    pub(super) fn begin(&mut self, offer: Offer, streams: Vec<MediaStream>) {
        let former = std::mem::replace(&mut self.streams, streams);
        self.before.get_or_insert(former);
        self.exchange = Exchange::Offered(offer);
    }

    pub(super) fn answer_with(&mut self, streams: Vec<MediaStream>) {
        self.streams = streams;
        self.exchange = match std::mem::replace(&mut self.exchange, Exchange::Settled) {
            Exchange::Offered(offer) | Exchange::Answered(offer) => Exchange::Answered(offer),
            Exchange::Settled => Exchange::Settled,
        };
    }

    /// An answered exchange is over: what it refused is gone for good.
    pub(super) fn settle(&mut self) {
        if !matches!(self.exchange, Exchange::Answered(_)) {
            return;
        }
        self.exchange = Exchange::Settled;
        self.before = None;
        for stream in &mut self.streams {
            if stream.phase == Phase::Refused {
                *stream = MediaStream::unused(stream.media.clone());
            }
        }
    }

    /// The exchange is final. Latches that nobody has passed yet start anew: a party that was only
    /// ringing begins to send now.
    pub(super) fn confirm(&mut self) {
        self.settle();
        self.established = true;
        let active = self
            .streams
            .iter_mut()
            .filter(|stream| stream.phase == Phase::Active);
        for party in active.flat_map(MediaStream::parties_mut) {
            party.arm_open_latches();
        }
    }

    /// The exchange never was.
    pub(super) fn roll_back(&mut self) -> Result<(), SessionError> {
        let before = self.before.take().ok_or(SessionError::NoOffer)?;
        let newer = std::mem::replace(&mut self.streams, before);
        self.exchange = Exchange::Settled;
        for (stream, newer) in self.streams.iter_mut().zip(&newer) {
            stream.keep_latches_of(newer);
        }
        Ok(())
    }

    /// Another party on this side: what was agreed with the former is void.
    pub(super) fn retarget(&mut self, side: Side, leg: Leg) {
        self.legs[side.index()] = leg;
        self.exchange = Exchange::Settled;
        self.before = None;
        for stream in &mut self.streams {
            stream.forget(side);
        }
    }
}

/// Where `receiver` reports what it receives of the RTP that a plan sends to it.
fn reports(receiver: &Party, plan: &Plan) -> Option<Reports> {
    let rtp = plan.rtp.filter(|_| plan.payload == Payload::Rtp)?.source;
    let mut locals = receiver.locals();
    let local = locals.find(|local| local.key(Component::Rtp) == rtp)?;
    let component = match receiver.mux {
        Mux::On => Component::Rtp,
        Mux::Off | Mux::Possible => Component::Rtcp,
    };
    Some(Reports {
        at: local.key(component),
        clock_rate: receiver.remote.as_ref()?.clock_rate,
    })
}
