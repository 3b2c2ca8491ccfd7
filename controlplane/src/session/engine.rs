//! The engine: every session, its ports and its flows.
//!
//! The door to this module: each method takes what happened and when, and [`Engine::poll`] gives what is to be
//! done about it. `reconcile` makes flows and ports follow the sessions; what an offer means is `negotiation`'s, which flows a stream needs is `media_stream`'s,
//! how they get to the workers is the installer's.

mod handled;
mod provisioning;
mod reconcile;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use contract::{Command, Event, FlowId, FlowKey, Homes, Link, Timestamp, WorkerId};
use rand::rngs::StdRng;

use self::provisioning::ProvisionedSessions;
use super::codec_policy::{self, Turn};
use super::leg::{Leg, Taker};
use super::media_stream::{MediaStream, Patience};
use super::negotiation::{self, Outcome};
use super::state::{Exchange, Offer, Session};
use super::{
    Counters, EndedFlow, EngineOutput, FlowView, Gauges, LegSpec, PortGauges, Rewritten,
    SessionError, SessionId, SessionView, Side, Terms, Writing, view,
};
use crate::installer::{Installer, NextHopQuery, Owner, Sighting, Ticket};
use crate::relay_ports::{PortPair, RelayPorts};
use crate::sdp::{Description, StreamReplacement};
use crate::settings::{MediaGroup, MediaGroupId, Settings};

/// Every session, its ports and its flows. Sans-IO: call a method, then [`Engine::poll`] until `None`.
///
/// A call ends for want of media when a party that should be sending, by what both sides last agreed, has been
/// silent on all of its streams for the media timeout, at every worker. Of a fax stream both parties must be: while
/// one sends a page the other is silent for minutes. Held streams expect nothing, and nothing is expected before
/// [`Engine::confirm`]: a phone may ring in silence.
#[derive(Debug)]
pub struct Engine {
    groups: Vec<MediaGroup>,
    max_sessions: usize,
    max_streams: usize,
    media_timeout: Option<Duration>,
    rng: StdRng,
    ports: RelayPorts,
    installer: Installer,
    sessions: HashMap<SessionId, Session>,
    provisioned: ProvisionedSessions,
    holders: HashMap<Ticket, SessionId>,
    /// Pairs that nobody needs any more, but that some worker may still serve, by their RTP port.
    closing: HashMap<FlowKey, PortPair>,
    outputs: VecDeque<EngineOutput>,
    /// Flows of calls that nobody needs any more, until somebody has asked.
    ended: VecDeque<EndedFlow>,
    next_session: u64,
    counters: Counters,
}

impl Engine {
    /// An engine for this many workers. Ports and session ids are drawn from `rng`: it must be seeded
    /// from the system's entropy, except in tests.
    pub fn new(settings: &Settings, workers: usize, rng: StdRng) -> Self {
        Self {
            groups: settings.media_groups.clone(),
            max_sessions: settings.limits.calls,
            max_streams: settings.limits.streams,
            media_timeout: settings.media_timeout,
            rng,
            ports: RelayPorts::new(&settings.media_groups, settings.port_rest),
            installer: Installer::new(workers),
            sessions: HashMap::new(),
            provisioned: ProvisionedSessions::new(),
            holders: HashMap::new(),
            closing: HashMap::new(),
            outputs: VecDeque::new(),
            ended: VecDeque::new(),
            next_session: 0,
            counters: Counters::default(),
        }
    }

    /// Takes other bounds and times. What sessions have been given already stays as it is; the media groups are those
    /// that it was made with.
    pub fn reconfigure(&mut self, settings: &Settings) {
        self.max_sessions = settings.limits.calls;
        self.max_streams = settings.limits.streams;
        self.media_timeout = settings.media_timeout;
        self.ports.set_rest(settings.port_rest);
    }

    /// Which worker the packets of a port arrive at: the ports of a session are chosen by it where it is known.
    pub fn set_homes(&mut self, homes: Homes) {
        self.ports.set_homes(homes);
    }

    /// Opens a session. Takes no ports yet: offers do.
    pub fn open(
        &mut self,
        _now: Timestamp,
        a: LegSpec,
        b: LegSpec,
    ) -> Result<SessionId, SessionError> {
        let result = self.check_open([&a, &b]);
        self.count(result)?;
        self.next_session += 1;
        let id = SessionId(self.next_session);
        let (a, b) = (Leg::new(a, &mut self.rng), Leg::new(b, &mut self.rng));
        self.sessions.insert(id, Session::new(a, b));
        self.counters.opened += 1;
        Ok(id)
    }

    /// Another party takes the place of `side` before the session is established (serial failover): what the
    /// former said is forgotten, its ports go to rest, and the offer has to be made again.
    pub fn retarget(
        &mut self,
        now: Timestamp,
        session: SessionId,
        side: Side,
        leg: LegSpec,
    ) -> Result<(), SessionError> {
        let result = self.check_retarget(session, &leg);
        self.count(result)?;
        let leg = Leg::new(leg, &mut self.rng);
        self.change(now, session, |session| session.retarget(side, leg));
        Ok(())
    }

    /// A party of one session is that of another, too: what it is sent from now on goes on where the former left off
    /// (RFC 3264 §8: the same `o=` line, in a higher version). Unknown sessions are ignored.
    pub fn carry_name(&mut self, from: (SessionId, Side), to: (SessionId, Side)) {
        let former = self
            .sessions
            .get(&from.0)
            .map(|session| &session.legs[from.1.index()]);
        let Some(former) = former.cloned() else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&to.0) {
            session.legs[to.1.index()].take_name(&former);
        }
    }

    /// An offer from one side, to be sent to the other. A second offer from the same side before an answer
    /// replaces the first. Streams that cannot be relayed go on with port 0.
    pub fn offer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        let terms = Terms::default();
        let result = Description::parse(sdp)
            .map_err(SessionError::from)
            .and_then(|description| self.try_offer(now, session, from, description, &terms));
        self.count(result)
    }

    /// The same for a body that has been read, and perhaps edited, on terms.
    pub fn offer_on(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        description: Description,
        terms: &Terms,
    ) -> Result<Rewritten, SessionError> {
        let result = self.try_offer(now, session, from, description, terms);
        self.count(result)
    }

    /// [`Self::answer`] for a body that has been read, and perhaps edited, on terms.
    pub fn answer_on(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        description: Description,
        terms: &Terms,
    ) -> Result<Rewritten, SessionError> {
        let result = self.try_answer(now, session, from, description, terms);
        self.count(result)
    }

    /// The parties of a session may be silent for so long, whatever the settings say of others.
    pub fn set_patience(&mut self, session: SessionId, patience: Patience) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.patience = Some(patience);
        }
    }

    /// Silence counts from now on though the exchange is not final: another answer to the offer may still come.
    pub fn establish(&mut self, now: Timestamp, session: SessionId) {
        self.change(now, session, |session| session.established = true);
    }

    /// Whether a party should be sending; if not, both are on hold or have no stream.
    pub fn expects_media(&self, session: SessionId) -> bool {
        let known = self.sessions.get(&session);
        let mut streams = known.into_iter().flat_map(|known| &known.streams);
        streams.any(|stream| stream.expects(Side::A) || stream.expects(Side::B))
    }

    /// Whether an offer of this side waits for its answer.
    pub fn awaits_answer(&self, session: SessionId, from: Side) -> bool {
        let exchange = self.sessions.get(&session).map(|known| &known.exchange);
        matches!(exchange, Some(Exchange::Offered(offer)) if offer.from == from)
    }

    /// An answer from one side to the other's last offer. May be given again: the answer of another fork,
    /// or of the 2xx after that of a 183, replaces the former.
    pub fn answer(
        &mut self,
        now: Timestamp,
        session: SessionId,
        from: Side,
        sdp: &[u8],
    ) -> Result<Rewritten, SessionError> {
        let terms = Terms::default();
        let result = Description::parse(sdp)
            .map_err(SessionError::from)
            .and_then(|description| self.try_answer(now, session, from, description, &terms));
        self.count(result)
    }

    /// The exchange is final (SIP: a 2xx to the request, or the ACK to a late offer's 2xx): rejected streams
    /// give up their ports, and from now on silence counts towards the media timeout. Without an exchange
    /// under way it only says that the session is established.
    pub fn confirm(&mut self, now: Timestamp, session: SessionId) -> Result<(), SessionError> {
        let result = match self.sessions.get(&session) {
            None => Err(SessionError::UnknownSession),
            Some(known) if matches!(known.exchange, Exchange::Offered(_)) => {
                Err(SessionError::NoAnswer)
            }
            Some(_) => Ok(()),
        };
        self.count(result)?;
        self.change(now, session, Session::confirm);
        Ok(())
    }

    /// The offer was turned down (SIP: a failure response to a re-INVITE or UPDATE): back to what was
    /// agreed before.
    pub fn reject_offer(&mut self, now: Timestamp, session: SessionId) -> Result<(), SessionError> {
        let known = self
            .sessions
            .get_mut(&session)
            .ok_or(SessionError::UnknownSession);
        let result = known.and_then(|known| {
            let pairs = known.pairs();
            known.roll_back().map(|()| pairs)
        });
        let pairs = self.count(result)?;
        self.apply(now, session, &pairs);
        Ok(())
    }

    /// Ends a session. Its ports rest once every worker has removed its flows. Unknown sessions are
    /// ignored.
    pub fn close(&mut self, now: Timestamp, session: SessionId) {
        let Some(closed) = self.sessions.remove(&session) else {
            return;
        };
        for ticket in &closed.tickets {
            self.installer.tear_up(*ticket);
            self.holders.remove(ticket);
        }
        for (key, facing) in &closed.keys {
            self.installer.unwant(now, *key);
            self.ended.push_back(facing.ended(session, *key));
        }
        for pair in closed.pairs() {
            self.drop_pair(now, pair);
        }
        self.counters.closed += 1;
        self.absorb(now);
    }

    /// A worker has something to say.
    pub fn on_event(&mut self, now: Timestamp, worker: WorkerId, event: Event) {
        match self.installer.on_event(now, worker, event) {
            None => {}
            Some(Sighting::Latched {
                owner: Owner(id),
                key,
                armed,
                remote,
            }) => self.latched(now, SessionId(id), (key, armed, remote)),
            Some(Sighting::Quiet(Owner(id))) => {
                self.check_silence(SessionId(id));
                self.end_when_silent(now, SessionId(id));
            }
        }
        self.absorb(now);
    }

    /// A worker's mailbox was full.
    pub fn command_rejected(&mut self, now: Timestamp, worker: WorkerId, command: Command) {
        self.installer.rejected(now, worker, command);
        self.absorb(now);
    }

    /// The answer to a [`EngineOutput::Resolve`], or its change; `None`: there is no way there at present.
    pub fn next_hop_resolved(&mut self, now: Timestamp, query: NextHopQuery, link: Option<Link>) {
        self.installer.next_hop(now, query, link);
        self.absorb(now);
    }

    /// When [`Engine::on_time`] is to be called.
    pub fn deadline(&self) -> Option<Timestamp> {
        let (installer, ports) = (self.installer.deadline(), self.ports.deadline());
        installer.into_iter().chain(ports).min()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Timestamp) {
        self.installer.on_time(now);
        self.ports.on_time(now);
        self.absorb(now);
    }

    /// The next thing that the engine wants done.
    pub fn poll(&mut self) -> Option<EngineOutput> {
        self.outputs.pop_front()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.installer.workers()
    }

    /// Commands that the workers have yet to answer, all workers together.
    pub fn commands_under_way(&self) -> usize {
        self.installer.under_way()
    }

    /// A session as the operator sees it.
    pub fn describe(&self, session: SessionId) -> Option<SessionView> {
        let known = self.sessions.get(&session)?;
        let silent = |key| self.installer.is_quiet(key);
        Some(view::session(session, known, &silent))
    }

    /// What one direction of a session's media takes at the most, in bits a second, by what both sides have
    /// said so far.
    pub fn bandwidth(&self, session: SessionId) -> Option<u64> {
        let known = self.sessions.get(&session)?;
        Some(known.streams.iter().map(MediaStream::bitrate).sum())
    }

    /// The same of a session description that belongs to no session yet; `None` when it cannot be read.
    pub fn bandwidth_of(&self, sdp: &[u8]) -> Option<u64> {
        let streams = Description::parse(sdp).ok()?.streams().ok()?;
        Some(streams.iter().map(|stream| stream.bitrate).sum())
    }

    /// The flows of a session.
    pub fn flows(&self, session: SessionId) -> Vec<FlowView> {
        let known = self.sessions.get(&session);
        let keys = match known {
            Some(known) => known.keys.keys().copied().collect(),
            None => self.provisioned_keys(session),
        };
        let view = |key: FlowKey| {
            let (entry, acknowledged) = self.installer.progress(key)?;
            Some(FlowView {
                key,
                entry,
                acknowledged,
                clock_rate: known.and_then(|known| view::clock_rate(known, key)),
            })
        };
        keys.into_iter().filter_map(view).collect()
    }

    /// Every flow of a session, to be counted while it goes on.
    pub fn countable(&self, session: SessionId) -> Vec<EndedFlow> {
        let keys = self
            .sessions
            .get(&session)
            .into_iter()
            .flat_map(|known| &known.keys);
        keys.map(|(key, facing)| facing.ended(session, *key))
            .collect()
    }

    /// The next flow of a call's session that has come to its end. It is being removed: the commands leave
    /// with the outputs.
    pub fn next_ended(&mut self) -> Option<EndedFlow> {
        self.ended.pop_front()
    }

    /// The session that wants the flow of this name.
    pub fn session_of(&self, flow: FlowId) -> Option<(SessionId, FlowKey)> {
        let (Owner(id), key) = self.installer.owner(flow)?;
        Some((SessionId(id), key))
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        let tally = &self.installer.tally;
        Counters {
            tickets_failed: tally.tickets_failed.clone(),
            commands_rejected: tally.rejected,
            commands_refused: tally.refused,
            commands_abandoned: tally.abandoned,
            ..self.counters.clone()
        }
    }

    /// What there is now.
    pub fn gauges(&self) -> Gauges {
        let ports = (0..).zip(&self.groups).map(|(index, _)| {
            let group = MediaGroupId(index);
            let count = self.ports.count(group);
            PortGauges {
                group,
                free: count.free,
                in_use: count.in_use,
                resting: count.resting,
            }
        });
        Gauges {
            sessions: self.sessions.len() + self.provisioned.len(),
            provisioned: self.provisioned.len(),
            flows: self.installer.flow_count(),
            tickets: self.installer.ticket_count(),
            next_hops: self.installer.next_hop_count(),
            ports: ports.collect(),
        }
    }

    fn count<T>(&mut self, result: Result<T, SessionError>) -> Result<T, SessionError> {
        if let Err(error) = &result {
            *self.counters.refused.entry(error.name()).or_default() += 1;
        }
        result
    }

    fn check_open(&self, specs: [&LegSpec; 2]) -> Result<(), SessionError> {
        self.check_room()?;
        specs
            .into_iter()
            .try_for_each(|spec| self.check_group(spec))
    }

    fn check_room(&self) -> Result<(), SessionError> {
        match self.sessions.len() + self.provisioned.len() < self.max_sessions {
            true => Ok(()),
            false => Err(SessionError::TooManySessions),
        }
    }

    fn check_retarget(&self, session: SessionId, leg: &LegSpec) -> Result<(), SessionError> {
        let known = self
            .sessions
            .get(&session)
            .ok_or(SessionError::UnknownSession)?;
        if known.established {
            return Err(SessionError::Established);
        }
        self.check_group(leg)
    }

    fn check_group(&self, leg: &LegSpec) -> Result<(), SessionError> {
        match self.groups.get(usize::from(leg.group.0)) {
            Some(_) => Ok(()),
            None => Err(SessionError::UnknownGroup),
        }
    }

    fn try_offer(
        &mut self,
        now: Timestamp,
        id: SessionId,
        from: Side,
        mut description: Description,
        terms: &Terms,
    ) -> Result<Rewritten, SessionError> {
        let session = self.sessions.get(&id).ok_or(SessionError::UnknownSession)?;
        session.may_offer(from)?;
        fit(session, from, Turn::Offer, &mut description)?;
        let mut streams = description.streams()?;
        terms.correct(&mut streams);
        negotiation::check_offer(session, &streams, self.max_streams)?;
        // A new offer says that the former exchange is over, whether or not anybody confirmed it.
        if matches!(session.exchange, Exchange::Answered(_)) {
            self.change(now, id, Session::settle);
        }
        let mux = terms.mux;
        let offer = Offer { from, streams, mux };
        let outcome = self.negotiate(now, id, |session, taker| {
            negotiation::offer(session, &offer, taker)
        })?;
        let begin = |session: &mut Session, streams| {
            session.overruled.hear(from, terms);
            session.begin(offer, streams);
        };
        let body = (&description, &terms.writing);
        self.take(now, id, from.other(), body, outcome, begin)
    }

    fn try_answer(
        &mut self,
        now: Timestamp,
        id: SessionId,
        from: Side,
        mut description: Description,
        terms: &Terms,
    ) -> Result<Rewritten, SessionError> {
        let session = self.sessions.get(&id).ok_or(SessionError::UnknownSession)?;
        session.offer_for(from)?;
        fit(session, from, Turn::Answer, &mut description)?;
        let mut streams = description.streams()?;
        terms.correct(&mut streams);
        let mux = terms.mux.answer;
        let outcome = self.negotiate(now, id, |session, taker| {
            negotiation::answer(session, from, &streams, mux, taker)
        })?;
        let accept = |session: &mut Session, streams| {
            session.overruled.hear(from, terms);
            session.answer_with(streams);
        };
        let body = (&description, &terms.writing);
        self.take(now, id, from.other(), body, outcome, accept)
    }

    /// Works out an offer or answer; if it fails, the ports that it took are free again.
    fn negotiate(
        &mut self,
        now: Timestamp,
        id: SessionId,
        with: impl FnOnce(&Session, &mut Taker<'_>) -> Result<Outcome, SessionError>,
    ) -> Result<Outcome, SessionError> {
        let session = self.sessions.get(&id).ok_or(SessionError::UnknownSession)?;
        let mut taker = Taker {
            now,
            ports: &mut self.ports,
            rng: &mut self.rng,
            groups: &self.groups,
            taken: Vec::new(),
        };
        let result = with(session, &mut taker);
        let taken = taker.taken;
        if result.is_err() {
            taken
                .into_iter()
                .for_each(|pair| self.ports.give_back(pair));
        }
        result
    }

    /// The session takes what was worked out; what is sent on waits for the flows that it announces.
    fn take(
        &mut self,
        now: Timestamp,
        id: SessionId,
        to: Side,
        (description, writing): (&Description, &Writing),
        outcome: Outcome,
        accept: impl FnOnce(&mut Session, Vec<MediaStream>),
    ) -> Result<Rewritten, SessionError> {
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or(SessionError::UnknownSession)?;
        let pairs = session.pairs();
        session.legs = outcome.legs;
        accept(session, outcome.streams);
        let leg = &mut session.legs[to.index()];
        let address = leg
            .announced(&self.groups)
            .ok_or(SessionError::UnknownGroup)?;
        let mut streams = outcome.replacements;
        for (stream, wanted) in streams.iter_mut().zip(&writing.profiles) {
            if let StreamReplacement::Relay { profile, .. } = stream {
                *profile = *wanted;
            }
        }
        let sdp = leg.write(description, &streams, address, writing);
        self.apply(now, id, &pairs);
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or(SessionError::UnknownSession)?;
        let keys: Vec<FlowKey> = session.keys.keys().copied().collect();
        let ticket = self.installer.ticket(now, &keys);
        if let Some(ticket) = ticket {
            session.tickets.insert(ticket);
            self.holders.insert(ticket, id);
        }
        Ok(Rewritten { sdp, ticket })
    }
}

/// Leaves of what a party says what both sides allow.
fn fit(
    session: &Session,
    from: Side,
    turn: Turn,
    description: &mut Description,
) -> Result<(), SessionError> {
    let rules = |side: Side| &session.legs[side.index()].spec.codecs;
    codec_policy::apply(description, turn, rules(from), rules(from.other()))
}
