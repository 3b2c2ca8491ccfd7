//! What every call works with: transactions, media, routes, names, counters, and the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use contract::Timestamp;
use rand::rngs::StdRng;

use crate::agent::Output;
use crate::deadlines::Deadlines;
use crate::dialog::Dialog;
use crate::digest::Guard;
use crate::identity::Identities;
use crate::normalise::Crossing;
use crate::registration::Registrations;
use crate::resolver::{LookupId, Resolver, WatchId};
use crate::routing::{Candidate, Decision, NameId, Query, Routing, Target};
use crate::session::{Engine, Family, LegSpec, SessionId};
use crate::settings::{
    DialogPolicy, ListenerId, MediaGroupId, Normalisation, Refer, Settings, Takeover, Transport,
    TrunkId,
};
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Message, Method, StatusCode, Tokens};
use crate::story::{Stories, What};
use crate::transaction::{
    ClientKey, Config, Path, RETRY_AFTER, ServerKey, TransactionError, Transactions,
};
use crate::trunks::Trunks;
use crate::wall_clock::WallClock;

use super::alarms::Alarms;
use super::challenges::Challenges;
use super::elsewhere::Elsewhere;
use super::index::{Index, Owner};
use super::next_hops::Unsent;
use super::transfer::{self, Errand};
use super::{CallId, Counters};
use super::{next_hops, passing};

#[derive(Debug)]
pub(super) struct Context {
    pub(super) now: Timestamp,
    pub(super) settings: Settings,
    pub(super) routing: Routing,
    /// Who is at the other end of TLS connections.
    pub(super) identities: Identities,
    /// The dice of trunks that share calls.
    dice: StdRng,
    /// The time of day at [`Timestamp::ZERO`].
    pub(super) wall: WallClock,
    pub(super) transactions: Transactions,
    pub(super) engine: Engine,
    pub(super) resolver: Resolver,
    /// What waits for a name to be resolved.
    pub(super) unsent: BTreeMap<LookupId, Unsent>,
    pub(super) tokens: Tokens,
    pub(super) index: Index,
    /// Timer C of each call that rings.
    pub(super) timers: Deadlines<CallId>,
    /// Until when each call waits for a target that is silent.
    pub(super) patience: Deadlines<CallId>,
    pub(super) trunks: Trunks,
    /// What else calls have to do at a time.
    pub(super) alarms: Alarms,
    pub(super) counters: Counters,
    pub(super) stories: Stories,
    /// What calls leave behind when they end, before everything else that is to be done.
    pub(super) outbox: VecDeque<Output>,
    /// What concerns sessions that are no call's.
    pub(super) elsewhere: VecDeque<Elsewhere>,
    /// What calls want of each other, which the next does before anything else happens.
    pub(super) errands: VecDeque<(CallId, Errand)>,
    /// What our own requests have been asked for.
    pub(super) challenges: Challenges,
    /// What we register at trunks.
    pub(super) registrations: Registrations,
    /// Looks at the credentials of callers.
    pub(super) guard: Guard,
}

impl Context {
    pub(super) fn new(settings: Settings, workers: usize, mut rng: StdRng) -> Self {
        use rand::SeedableRng;
        let transactions = Transactions::new(Config::from(&settings), StdRng::from_rng(&mut rng));
        let routing = Routing::new(&settings);
        let guard = Guard::new(StdRng::from_rng(&mut rng));
        let engine = Engine::new(&settings, workers, StdRng::from_rng(&mut rng));
        let from = StdRng::from_rng(&mut rng);
        let trunks = Trunks::new(&settings, &routing, from, Timestamp::ZERO);
        let dice = StdRng::from_rng(&mut rng);
        let mut tokens = Tokens::new(rng);
        let resolver = next_hops::resolver(&settings.dns, &routing, &mut tokens);
        Self {
            now: Timestamp::ZERO,
            dice,
            wall: WallClock::default(),
            registrations: Registrations::new(&settings, &routing, tokens.split()),
            routing,
            identities: Identities::default(),
            resolver,
            unsent: BTreeMap::new(),
            transactions,
            engine,
            tokens,
            index: Index::default(),
            timers: Deadlines::new(),
            patience: Deadlines::new(),
            trunks,
            alarms: Alarms::default(),
            counters: Counters::default(),
            stories: Stories::new(settings.explain, settings.mirror),
            outbox: VecDeque::new(),
            elsewhere: VecDeque::new(),
            errands: VecDeque::new(),
            challenges: Challenges::default(),
            guard,
            settings,
        }
    }

    /// What comes from now on goes by these settings.
    pub(super) fn reconfigure(&mut self, settings: Settings) {
        let mut explain = settings.explain;
        if explain.messages == self.settings.explain.messages {
            // The file says what it said: an operator may have said otherwise since.
            explain.messages = self.stories.keeps_messages();
        }
        self.stories.reconfigure(explain, settings.mirror);
        self.routing = Routing::new(&settings);
        self.transactions.reconfigure(Config::from(&settings));
        self.engine.reconfigure(&settings);
        self.trunks.reconfigure(&settings, &self.routing, self.now);
        self.settings = settings;
        self.rename_peers();
        self.registrations
            .reconfigure(self.now, &self.settings, &self.routing);
    }

    /// Where a call may go now.
    pub(super) fn decide(&mut self, from: TrunkId, user: &str) -> Decision {
        self.decide_at(from, user, self.wall.at(self.now))
    }

    /// Where a call may go at some time.
    pub(super) fn decide_at(&mut self, from: TrunkId, user: &str, at: jiff::Timestamp) -> Decision {
        let query = Query { from, user, at };
        self.routing.decide(&query, &mut self.dice)
    }

    /// The user part that a call from the trunk is routed by.
    pub(super) fn routed_user(&self, from: TrunkId, user: String) -> String {
        match self.normalisation(from) {
            Some(rules) => rules.routed_user(user),
            None => user,
        }
    }

    /// How the trunk's messages differ from ours.
    pub(super) fn normalisation(&self, trunk: TrunkId) -> Option<&Normalisation> {
        let trunk = self.settings.trunks.get(usize::from(trunk.0))?;
        Some(&trunk.normalisation)
    }

    /// The rules for messages from one trunk to another.
    pub(super) fn crossing(&self, from: TrunkId, to: TrunkId) -> Option<Crossing<'_>> {
        Some(Crossing {
            from: self.normalisation(from)?,
            to: self.normalisation(to)?,
        })
    }

    /// Changes what is to leave within a dialog, or as a response; `original` is what came.
    pub(super) fn cross(&self, way: (TrunkId, TrunkId), original: &Message, message: &mut Message) {
        if let Some(crossing) = self.crossing(way.0, way.1) {
            crossing.within(original, message);
        }
    }

    /// The media that a party behind this trunk and address gets.
    pub(super) fn leg_spec(&self, trunk: TrunkId, path: Path) -> LegSpec {
        let group = self
            .settings
            .trunks
            .get(usize::from(trunk.0))
            .map_or(MediaGroupId(0), |trunk| trunk.media);
        let family = match path.remote.is_ipv4() {
            true => Family::V4,
            false => Family::V6,
        };
        LegSpec {
            group,
            family: Some(family),
            codecs: self
                .normalisation(trunk)
                .map(|rules| rules.codecs.clone())
                .unwrap_or_default(),
        }
    }

    /// The trunk that a message on this path belongs to.
    pub(super) fn trunk_of(&self, path: Path) -> Option<TrunkId> {
        let identity = self.identities.of(path);
        self.routing.trunk_of(path.listener, path.remote, identity)
    }

    /// Where a call to these candidates may be sent, in the order of trying: peers that are well go before those that
    /// are not. None when their names lead nowhere.
    pub(super) fn targets(&mut self, candidates: &[Candidate]) -> Vec<Target> {
        let places = self.routed(candidates);
        let selected = self.trunks.select(places);
        self.through_proxies(selected)
    }

    /// The same in the order of the configuration, however they are.
    pub(super) fn places(&mut self, candidates: &[Candidate]) -> Vec<Target> {
        let places = self.routed(candidates);
        self.through_proxies(places)
    }

    fn routed(&mut self, candidates: &[Candidate]) -> Vec<Target> {
        let resolver = &mut self.resolver;
        let locate = |name: NameId| resolver.order(WatchId(name.0));
        self.routing.targets(candidates, locate)
    }

    /// The trunk's name.
    pub(super) fn trunk_name(&self, trunk: TrunkId) -> &str {
        self.settings
            .trunks
            .get(usize::from(trunk.0))
            .map_or("", |trunk| &trunk.name)
    }

    /// What the trunk's dialogs may use.
    pub(super) fn dialog_policy(&self, trunk: TrunkId) -> DialogPolicy {
        let trunk = self.settings.trunks.get(usize::from(trunk.0));
        trunk.map_or_else(DialogPolicy::default, |trunk| trunk.dialog)
    }

    /// Our address as peers of this listener know it.
    pub(super) fn own_uri(&self, listener: ListenerId) -> Option<Uri> {
        let listener = self.settings.listeners.get(usize::from(listener.0))?;
        let uri = Uri::sip(None, listener.announced());
        Some(match listener.transport {
            Transport::Udp => uri,
            other => uri.with_parameter("transport", other.name()),
        })
    }

    /// Adds what every message of ours that can make or refresh a dialog says of us.
    pub(super) fn introduce(&self, message: &mut Message, listener: ListenerId) {
        if let Some(uri) = self.own_uri(listener) {
            let contact = NameAddr::new(uri).to_bytes();
            message.headers.push(HeaderName::Contact, contact);
        }
        message.headers.push(HeaderName::Allow, passing::ALLOW);
        if self.takes_refer(listener) {
            let refer = Method::Refer.as_str();
            message.headers.push(HeaderName::Allow, refer);
        }
        if self.takes_replaces(listener) {
            let option = transfer::REPLACES;
            message.headers.push(HeaderName::Supported, option);
        }
        self.sign(message);
    }

    /// Whether a trunk at this listener may transfer calls.
    fn takes_refer(&self, listener: ListenerId) -> bool {
        let mut trunks = self.settings.trunks.iter();
        trunks
            .any(|trunk| trunk.transfer.refer != Refer::Off && trunk.listeners.contains(&listener))
    }

    /// Whether a trunk at this listener may take others' places.
    fn takes_replaces(&self, listener: ListenerId) -> bool {
        let mut trunks = self.settings.trunks.iter();
        trunks.any(|trunk| {
            trunk.transfer.replaces != Takeover::Off && trunk.listeners.contains(&listener)
        })
    }

    /// Adds our product token.
    pub(super) fn sign(&self, message: &mut Message) {
        let name = match message.method() {
            Some(_) => HeaderName::UserAgent,
            None => HeaderName::Server,
        };
        if !self.settings.server_name.is_empty() {
            message.headers.push(name, &self.settings.server_name);
        }
    }

    /// The way of a request in the dialog: from the listener that the dialog knows us by, or, when its
    /// target is of another address family or wants another transport, from the trunk's listener of those.
    pub(super) fn path_of(&self, trunk: TrunkId, dialog: &Dialog) -> Path {
        let known = dialog.path();
        let remote = dialog.next_hop();
        let spoken = self.routing.transport_of(known.listener);
        let spoken = spoken.unwrap_or_default();
        let wanted = match remote == known.remote {
            true => spoken,
            false => dialog.transport().unwrap_or(spoken),
        };
        let same_family = remote.is_ipv4() == known.remote.is_ipv4();
        let listener = match same_family && wanted == spoken {
            true => Some(known.listener),
            false => self.routing.listener_for(trunk, remote, wanted),
        };
        let or_known = || same_family.then_some(known.listener);
        let or_any = || self.routing.listener_for(trunk, remote, spoken);
        match listener.or_else(or_known).or_else(or_any) {
            Some(listener) if listener == known.listener && remote == known.remote => known,
            Some(listener) => Path::to(listener, remote),
            None => known,
        }
    }

    /// Sends a request of a call that passes on what another asks, and remembers whose it is: should it come
    /// back, the Via tells.
    pub(super) fn forward(
        &mut self,
        call: CallId,
        origin: ServerKey,
        mut message: Message,
        path: Path,
    ) -> Result<ClientKey, TransactionError> {
        let now = self.now;
        let tag = self.challenges.equip(&mut message);
        let key = self.transactions.forward(now, origin, message, path)?;
        self.challenges.sent(key, tag);
        self.index.add_client(key, Owner::Call(call));
        Ok(key)
    }

    /// Sends a request of a call outside of its dialogs, and remembers whose it is.
    pub(super) fn request_outside(
        &mut self,
        call: CallId,
        mut message: Message,
        path: Path,
    ) -> Result<ClientKey, TransactionError> {
        let tag = self.challenges.equip(&mut message);
        let key = self.transactions.request(self.now, message, path)?;
        self.challenges.sent(key, tag);
        self.index.add_client(key, Owner::Call(call));
        Ok(key)
    }

    /// How long a request waits that has met another's (RFC 3261 §14.1): longer where the dialog's Call-ID is ours, so
    /// that the two do not meet again.
    pub(super) fn glare_pause(&mut self, dialog: &Dialog) -> Duration {
        let tens = match dialog.is_ours() {
            true => 210 + self.tokens.up_to(190),
            false => self.tokens.up_to(200),
        };
        Duration::from_millis(u64::from(tens.max(1)) * 10)
    }

    /// Answers a request; false when the transaction takes no answer any more.
    pub(super) fn respond(&mut self, key: ServerKey, response: Message) -> bool {
        self.transactions.respond(self.now, key, response).is_ok()
    }

    /// A response of our own making. 503 says when to try again; so does 500, at random, so that two
    /// requests that were in each other's way are not again (RFC 3261 §14.2).
    pub(super) fn own_response(
        &mut self,
        request: &Message,
        code: StatusCode,
        tag: Option<&str>,
    ) -> Message {
        let mut response = request.response(code, tag);
        let seconds = match code {
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER),
            StatusCode::SERVER_INTERNAL_ERROR => Some(self.tokens.up_to(10)),
            _ => None,
        };
        if let Some(seconds) = seconds {
            let seconds = seconds.to_string();
            response.headers.push(HeaderName::RetryAfter, seconds);
        }
        self.sign(&mut response);
        response
    }

    /// Turns a request down that belongs to no call, or that the call it belongs to does not take.
    pub(super) fn refuse(&mut self, key: ServerKey, request: &Message, code: StatusCode) {
        let tag = self.tokens.tag();
        let response = self.own_response(request, code, Some(&tag));
        self.refuse_with(key, response);
    }

    /// The same with a response that has more to say.
    pub(super) fn refuse_with(&mut self, key: ServerKey, response: Message) {
        let code = response.code().map_or(0, StatusCode::as_u16);
        *self.counters.requests_refused.entry(code).or_default() += 1;
        self.respond(key, response);
    }

    /// Ends a session of a call.
    pub(super) fn close_session(&mut self, session: SessionId) {
        self.engine.close(self.now, session);
        self.ask_for_ended_flows();
        self.index.remove_session(session);
    }

    /// Counts something that was dropped, and tells the call's story of it.
    pub(super) fn drop_of(&mut self, call: CallId, why: &'static str) {
        self.count_dropped(why);
        self.stories.tell(self.now, call, What::Dropped(why));
    }

    /// Tells the call's story of a timer.
    pub(super) fn tell_timer(&mut self, call: CallId, text: impl Into<Box<str>>) {
        let timer = What::Timer(text.into());
        self.stories.tell(self.now, call, timer);
    }

    pub(super) fn count_dropped(&mut self, why: &'static str) {
        *self.counters.messages_dropped.entry(why).or_default() += 1;
    }
}
