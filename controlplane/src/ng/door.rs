//! The door itself: requests in, replies out, and what has to wait in between.
//!
//! ```text
//!   request ─► carried out ─┬─────────────────────────────► reply
//!                           ├─ offer, answer: until every worker has the flows ─► reply
//!                           └─ query, delete: until the flows have been counted ─► reply
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};

use contract::{PlayId, ServiceEvent, TapId, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::book::{Book, CallNumber};
use super::cookies::{Asked, Cookies};
use super::media::{Play, PlaysAsked};
use super::message::{self, Encoding, Malformed};
use super::operators::Operators;
use super::path::ControlPath;
use super::path::Way;
use super::policy::Policy;
use super::report::Survey;
use super::request::{Parties, Request};
use super::value::Dictionary;
use super::{Counters, Gauges, reply};
use crate::agent::{FlowOwner, FlowToMeasure, Output};
use crate::deadlines::Deadlines;
use crate::installer::{Ticket, TicketFailure};
use crate::records::{self, FlowRecord, Measured};
use crate::session::{EndedFlow, Engine, SessionId};
use crate::wall_clock::WallClock;

/// What is lent to the door for as long as it handles something.
#[derive(Debug)]
pub(crate) struct Hands<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) now: Timestamp,
    pub(crate) wall: WallClock,
    /// Whether new calls are taken.
    pub(crate) open: bool,
}

/// Who waits for a reply.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) path: ControlPath,
    pub(super) cookie: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) command: &'static str,
}

/// A reply that waits for the workers.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asker: Asker,
    pub(super) reply: Dictionary,
    pub(super) session: SessionId,
    /// The session began with this: without its flows it is none.
    pub(super) is_new: bool,
    /// Flows of other sessions that it waits for as well.
    pub(super) also: Vec<(SessionId, Ticket)>,
}

/// What has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A dialogue that was deleted goes.
    Close(SessionId),
    /// A dialogue has waited for an answer as long as any may.
    Unanswered(SessionId),
    /// It is looked at what RTCP tells of a call's streams.
    Look(CallNumber),
    /// A call has lasted as long as any may.
    Final(CallNumber),
    /// Sounds should have begun.
    Plays(u64),
    /// A recording should have begun.
    Recording(TapId),
}

/// What became of a request.
pub(super) enum Done {
    /// This.
    Reply(Dictionary),
    /// Something later.
    Later,
}

/// The second door.
#[derive(Debug)]
pub(crate) struct Ng {
    pub(super) policy: Policy,
    /// Ours alone: what `loop-protect` marks bodies with.
    pub(super) instance: String,
    pub(super) book: Book,
    pub(super) due: Deadlines<Due>,
    pub(super) waiting: HashMap<Ticket, Waiting>,
    pub(super) surveys: HashMap<u64, Survey>,
    pub(super) last_survey: u64,
    /// Replies that wait for figures of the whole relay.
    pub(super) totals_for: HashMap<u64, Asker>,
    /// The calls that are recorded.
    pub(super) recorded: HashMap<TapId, CallNumber>,
    /// Who waits for a recording to begin.
    pub(super) recordings_asked: HashMap<TapId, VecDeque<Vec<Asker>>>,
    pub(super) last_tap: u32,
    /// Who hears what.
    pub(super) plays: BTreeMap<PlayId, Play>,
    /// What asked for the sounds that have not begun yet, stopped ones among them.
    pub(super) plays_begun: HashMap<PlayId, u64>,
    /// Who waits for sounds to begin.
    pub(super) plays_asked: HashMap<u64, PlaysAsked>,
    pub(super) last_play: u32,
    pub(super) rng: StdRng,
    cookies: Cookies,
    pub(super) operators: Operators,
    pub(super) outbox: VecDeque<Output>,
    pub(super) counters: Counters,
}

impl Ng {
    pub(crate) fn new(policy: Policy, rng: &mut StdRng) -> Self {
        Self {
            policy,
            instance: format!("{:012x}", rng.random_range(0..1_u64 << 48)),
            book: Book::default(),
            due: Deadlines::new(),
            waiting: HashMap::new(),
            surveys: HashMap::new(),
            last_survey: 0,
            totals_for: HashMap::new(),
            recorded: HashMap::new(),
            recordings_asked: HashMap::new(),
            last_tap: 0,
            plays: BTreeMap::new(),
            plays_begun: HashMap::new(),
            plays_asked: HashMap::new(),
            last_play: 0,
            rng: StdRng::from_rng(rng),
            cookies: Cookies::default(),
            operators: Operators::default(),
            outbox: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn reconfigure(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Takes a request.
    pub(crate) fn handle(&mut self, mut hands: Hands<'_>, path: ControlPath, bytes: &[u8]) {
        let opened = match message::open(bytes) {
            Ok(opened) => opened,
            Err(Malformed::NoCookie | Malformed::Incomplete) => {
                self.counters.no_cookie += 1;
                return;
            }
            Err(Malformed::NoDictionary {
                cookie,
                encoding,
                reason,
            }) => {
                self.counters.no_dictionary += 1;
                let bytes = message::seal(cookie, encoding, &reply::error(reason));
                return self.send(path, bytes);
            }
        };
        let asker = Asker {
            path,
            cookie: opened.cookie.to_vec(),
            encoding: opened.encoding,
            command: "unknown",
        };
        match self.cookies.ask(path, &asker.cookie) {
            Asked::First => {}
            Asked::InFlight => {
                self.counters.repeated += 1;
                return;
            }
            Asked::Answered(bytes) => {
                self.counters.repeated += 1;
                return self.send(path, bytes);
            }
        }
        self.take(&mut hands, asker, &opened.dictionary);
    }

    fn take(&mut self, hands: &mut Hands<'_>, mut asker: Asker, dictionary: &Dictionary) {
        let mut unknown = super::parse::Unknown::default();
        let read = Request::read(dictionary, &mut unknown);
        for flag in unknown.names() {
            self.counters.unknown_flags += 1;
            tracing::info!(flag = %flag.escape_ascii(), "a flag of ng that is not known");
        }
        let request = match read {
            Ok(request) => request,
            Err(error) => return self.reply(hands.now, asker, reply::error(error.to_string())),
        };
        asker.command = request.command();
        *self.counters.commands.entry(asker.command).or_default() += 1;
        if let Done::Reply(dictionary) = self.carry_out(hands, &asker, request) {
            self.reply(hands.now, asker, dictionary);
        }
    }

    fn carry_out(&mut self, hands: &mut Hands<'_>, asker: &Asker, request: Request) -> Done {
        match request {
            Request::Ping => Done::Reply(reply::pong()),
            Request::Offer(exchange) => self.offer(hands, asker, *exchange),
            Request::Answer(exchange) => self.answer(hands, asker, *exchange),
            Request::Delete(delete) => self.delete(hands, asker, &delete),
            Request::Query(parties) => self.query(hands, asker, parties),
            Request::List { limit } => Done::Reply(self.list(limit)),
            Request::Statistics => self.statistics(asker),
            Request::Record(record) => self.record(hands, asker, &record),
            Request::Treat(treat) => self.treat(hands, asker, &treat),
            Request::PlayDtmf(play) => self.play_dtmf(hands, asker, &play),
            Request::PlayMedia(play) => self.play_media(hands, asker, play),
            Request::StopMedia(parties) => self.stop_media(hands, &parties),
            Request::SubscribeRequest(exchange) => self.subscribe(hands, asker, &exchange),
            Request::SubscribeAnswer(exchange) => self.subscribe_answer(hands, asker, &exchange),
            Request::Unsubscribe(parties) => self.unsubscribe(hands, asker, &parties),
        }
    }

    /// Answers, and remembers the answer.
    pub(super) fn reply(&mut self, now: Timestamp, asker: Asker, dictionary: Dictionary) {
        if dictionary.get(b"result") == Some(&"error".into()) {
            *self.counters.errors.entry(asker.command).or_default() += 1;
        }
        let bytes = message::seal(&asker.cookie, asker.encoding, &dictionary);
        for path in self.cookies.answer(asker.path, &asker.cookie, &bytes, now) {
            self.send(path, bytes.clone());
        }
        self.send(asker.path, bytes);
    }

    fn send(&mut self, path: ControlPath, bytes: Vec<u8>) {
        match path.way {
            Way::Operator { number } => self.operators.answer(number, &bytes),
            _ => self.outbox.push_back(Output::Reply { path, bytes }),
        }
    }

    /// Says `ok` when every worker has the flows of these sessions as they are wanted now.
    pub(super) fn ok_when_ready(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        mut sessions: Vec<SessionId>,
    ) -> Done {
        sessions.sort_unstable();
        sessions.dedup();
        let waits = |session| Some((session, hands.engine.await_flows(hands.now, session)?));
        let mut tickets: Vec<_> = sessions.into_iter().filter_map(waits).collect();
        let Some((session, ticket)) = tickets.pop() else {
            return Done::Reply(reply::ok());
        };
        let waiting = Waiting {
            asker: asker.clone(),
            reply: reply::ok(),
            session,
            is_new: false,
            also: tickets,
        };
        self.waiting.insert(ticket, waiting);
        Done::Later
    }

    /// Every worker has the flows that a reply announces.
    pub(crate) fn on_ready(&mut self, hands: &Hands<'_>, ticket: Ticket) {
        let Some(mut waiting) = self.waiting.remove(&ticket) else {
            return;
        };
        while let Some(next) = waiting.also.pop() {
            if hands.engine.is_pending(next.1) {
                waiting.session = next.0;
                self.waiting.insert(next.1, waiting);
                return;
            }
        }
        self.reply(hands.now, waiting.asker, waiting.reply);
    }

    /// Some worker has not, and will not.
    pub(crate) fn on_failed(&mut self, mut hands: Hands<'_>, ticket: Ticket, why: TicketFailure) {
        let waits = |waiting: &Waiting| waiting.also.iter().any(|(_, other)| *other == ticket);
        let by = match self.waiting.contains_key(&ticket) {
            true => Some(ticket),
            false => self
                .waiting
                .iter()
                .find(|(_, waiting)| waits(waiting))
                .map(|(by, _)| *by),
        };
        let Some(waiting) = by.and_then(|by| self.waiting.remove(&by)) else {
            return;
        };
        self.counters.flows_refused += 1;
        tracing::warn!(why = why.name(), "the flows of a call are not to be had");
        if waiting.is_new {
            self.close(&mut hands, waiting.session);
        }
        let text = format!("The media path is not to be had: {}", why.name());
        self.reply(hands.now, waiting.asker, reply::error(text));
    }

    /// A party that should be sending is silent.
    pub(crate) fn on_media_timeout(&mut self, mut hands: Hands<'_>, session: SessionId) {
        if self.book.of_session(session).is_some() {
            let timeouts = match hands.engine.expects_media(session) {
                true => &mut self.counters.media_timeouts,
                false => &mut self.counters.silent_timeouts,
            };
            *timeouts += 1;
            self.close(&mut hands, session);
        }
    }

    /// A flow has come to its end: what it carried is to be counted before it goes.
    pub(crate) fn on_ended(&mut self, ended: EndedFlow) {
        if let Some(number) = self.book.of_session(ended.session) {
            self.measure(FlowOwner::Control(number), ended);
        }
    }

    pub(super) fn measure(&mut self, owner: FlowOwner, flow: EndedFlow) {
        self.outbox.push_back(Output::Measure(FlowToMeasure {
            owner,
            from: flow.from,
            key: flow.key,
            rtp: flow.rtp,
            reports: flow.reports,
        }));
    }

    /// A flow was counted.
    pub(crate) fn on_measured(
        &mut self,
        mut hands: Hands<'_>,
        flow: FlowToMeasure,
        measured: Measured,
    ) {
        let record = FlowRecord {
            from: flow.from,
            key: flow.key,
            rtp: flow.rtp,
            measured,
        };
        match flow.owner {
            FlowOwner::Survey(number) => self.surveyed(&mut hands, number, record),
            FlowOwner::Control(number) => {
                if let Some(call) = self.book.get_mut(number) {
                    records::add_flow(&mut call.ended, record);
                }
            }
            FlowOwner::Call(_) => {}
        }
    }

    /// The media services say something.
    pub(crate) fn on_service(&mut self, mut hands: Hands<'_>, event: ServiceEvent) {
        match event {
            ServiceEvent::Recording { tap, file } => self.on_recording(&mut hands, tap, Ok(file)),
            ServiceEvent::NotRecording { tap, reason } => {
                self.on_recording(&mut hands, tap, Err(reason));
            }
            ServiceEvent::Playing { play, duration } => {
                self.on_playing(hands.now, play, Ok(duration));
            }
            ServiceEvent::NotPlaying { play, reason } => {
                self.on_playing(hands.now, play, Err(reason));
            }
            ServiceEvent::Played(play) => self.on_played(play),
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, mut hands: Hands<'_>) {
        self.cookies.forget_old(hands.now);
        while let Some(due) = self.due.expire(hands.now) {
            match due {
                Due::Close(session) => self.close(&mut hands, session),
                Due::Unanswered(session) => {
                    self.counters.offer_timeouts += 1;
                    self.close(&mut hands, session);
                }
                Due::Look(number) => self.look(&mut hands, number),
                Due::Plays(request) => self.give_up_plays(hands.now, request),
                Due::Recording(tap) => self.give_up_recording(hands.now, tap),
                Due::Final(number) => {
                    let sessions = self.sessions_of(number);
                    if !sessions.is_empty() {
                        self.counters.final_timeouts += 1;
                    }
                    for session in sessions {
                        self.close(&mut hands, session);
                    }
                }
            }
        }
    }

    /// When [`Self::on_time`] must be called.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        [self.due.next(), self.cookies.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Whether no call is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.book.len() == 0
    }

    /// Ends every call.
    pub(crate) fn end_all(&mut self, mut hands: Hands<'_>) {
        let sessions: Vec<_> = self
            .book
            .calls()
            .flat_map(|call| call.dialogues.iter().map(|dialogue| dialogue.session))
            .collect();
        for session in sessions {
            self.close(&mut hands, session);
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            calls: self.book.len(),
            dialogues: self.book.dialogues(),
            waiting: self.waiting.len(),
            cookies: self.cookies.held(),
        }
    }

    pub(super) fn sessions_of(&self, number: CallNumber) -> Vec<SessionId> {
        let call = self.book.get(number);
        let dialogues = call.into_iter().flat_map(|call| &call.dialogues);
        dialogues.map(|dialogue| dialogue.session).collect()
    }

    /// Ends a session, and the call with its last.
    pub(super) fn close(&mut self, hands: &mut Hands<'_>, session: SessionId) {
        let Some(number) = self.book.of_session(session) else {
            return;
        };
        self.let_go(hands, number, session);
        self.due.clear(Due::Close(session));
        self.due.clear(Due::Unanswered(session));
        hands.engine.close(hands.now, session);
        self.give_up_waiting(hands.now, session);
        let place = self.book.get(number).and_then(|call| {
            let mut sessions = call.dialogues.iter().map(|dialogue| dialogue.session);
            sessions.position(|other| other == session)
        });
        self.book.remove(number, place.as_slice());
        if self.book.get(number).is_none() {
            self.due.clear(Due::Final(number));
            self.due.clear(Due::Look(number));
        }
    }

    /// A session is about to go, and what else there is of it does too: subscriptions, sounds, and with the call's last
    /// what its media was tapped for.
    fn let_go(&mut self, hands: &mut Hands<'_>, number: CallNumber, session: SessionId) {
        self.stop_playing(|(other, _)| other == session);
        let Some(call) = self.book.get_mut(number) else {
            return;
        };
        let is_last = call.dialogues.iter().all(|other| other.session == session);
        let mut ended = Vec::new();
        for subscription in &mut call.subscriptions {
            if is_last
                || subscription.session == session
                || subscription
                    .sources
                    .iter()
                    .all(|(source, _)| *source == session)
            {
                ended.push(subscription.tag.clone());
            }
        }
        for tag in ended {
            self.end_subscription(hands, number, &tag);
        }
        if is_last {
            self.end_taps(hands, number);
        }
    }

    /// What waited for flows of a session that is no more waits in vain.
    pub(super) fn give_up_waiting(&mut self, now: Timestamp, session: SessionId) {
        let of_session = |(ticket, waiting): (&Ticket, &Waiting)| {
            (waiting.session == session).then_some(*ticket)
        };
        let tickets: Vec<_> = self.waiting.iter().filter_map(of_session).collect();
        for ticket in tickets {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                self.reply(now, waiting.asker, reply::error(reply::UNKNOWN_CALL));
            }
        }
    }

    /// The call that parties name.
    pub(super) fn call_of(&self, parties: &Parties) -> Option<CallNumber> {
        self.book.number_of(&parties.call_id)
    }
}
