//! One binding and its machine.

use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;

use crate::digest::{Answers, Exchange, Outcome};
use crate::resolver::Location;
use crate::routing::Routing;
use crate::settings::{self, Listener, ListenerId, Login, Server, Settings, TrunkId};
use crate::sip::typed::{NameAddr, Uri};
use crate::sip::{HeaderName, Message, Method, StatusCode, Tokens};
use crate::transaction::Path;

use super::table::{State, Trigger};
use super::{Counts, Doing, Order, RegistrationView, Reply, backoff, reading};

/// How long taking a binding back may last: retransmissions at 0.5, 1.5 and 3.5 s have left by then. A process that stops does
/// not wait longer for a registrar that does not answer; the binding ends by itself.
const LONGEST_FAREWELL: Duration = Duration::from_secs(4);

/// The longest binding that is asked for when a registrar wants a longer one than we do.
const MOST_EXPIRES: Duration = Duration::from_secs(24 * 3600);

/// How often 423 is believed in a row.
const MOST_TOO_BRIEF: u32 = 2;

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) trunk: TrunkId,
    registration: settings::Registration,
    /// Where REGISTERs may go, by what the configuration says.
    reach: Reach,
    /// Who we are to the registrar.
    logins: Vec<Login>,
    state: State,
    /// Where REGISTERs may go now, in order, and what we are called there.
    ways: Vec<(Path, NameAddr)>,
    way: usize,
    server_name: String,
    aor: Uri,
    call_id: String,
    tag: String,
    cseq: u32,
    /// How long we ask for now.
    asked: Duration,
    too_brief: u32,
    answers: Answers,
    exchange: Exchange,
    /// When the registrar forgets us.
    expires: Option<Timestamp>,
    service_route: Vec<NameAddr>,
    /// Rounds in a row.
    failures: u32,
    retry_after: Option<Duration>,
    last_failure: Option<u16>,
    counts: Counts,
    /// The configuration has it no more, or not so.
    dismissed: bool,
}

impl Binding {
    pub(super) fn new(
        settings: &Settings,
        routing: &Routing,
        trunk: TrunkId,
        registration: &settings::Registration,
        tokens: &mut Tokens,
    ) -> Self {
        let aor = format!("sip:{}@{}", registration.user, registration.domain);
        let reach = Reach::new(settings, trunk, registration);
        Self {
            trunk,
            ways: reach.ways(routing, trunk, &registration.user, tokens),
            reach,
            logins: logins(settings, trunk, registration),
            state: State::Idle,
            way: 0,
            server_name: settings.server_name.clone(),
            aor: Uri::parse(aor.as_bytes())
                .unwrap_or_else(|_| Uri::sip(None, SocketAddr::from(([0; 4], 0)))),
            call_id: tokens.call_id(),
            tag: tokens.tag(),
            cseq: 0,
            asked: registration.expires,
            too_brief: 0,
            answers: Answers::default(),
            exchange: Exchange::default(),
            expires: None,
            service_route: Vec::new(),
            failures: 0,
            retry_after: None,
            last_failure: None,
            counts: Counts::default(),
            dismissed: false,
            registration: registration.clone(),
        }
    }

    /// Takes the place of one that is gone. A late answer to that one's last REGISTER is none to ours.
    pub(super) const fn succeed(&mut self, gone: &Self) {
        self.cseq = gone.cseq;
    }

    /// Whether it is still what these settings say.
    pub(super) fn is_of(
        &self,
        settings: &Settings,
        trunk: TrunkId,
        registration: &settings::Registration,
    ) -> bool {
        !self.dismissed
            && self.trunk == trunk
            && self.registration == *registration
            && self.logins == logins(settings, trunk, registration)
            && self.reach == Reach::new(settings, trunk, registration)
    }

    /// Names lead elsewhere now. A registrar that is still among their places stays the one that is asked.
    pub(super) fn relocate(&mut self, doing: &mut Doing<'_>, routing: &Routing) {
        if self.dismissed || !self.reach.has_names() {
            return;
        }
        let user = &self.registration.user;
        let ways = self.reach.ways(routing, self.trunk, user, doing.tokens);
        let current = self.ways.get(self.way);
        let kept = current.and_then(|current| ways.iter().position(|way| way == current));
        let was_nowhere = self.ways.is_empty();
        self.way = kept.unwrap_or(0);
        self.ways = ways;
        let rests = matches!(self.state, State::Idle | State::Backoff);
        if was_nowhere && rests && !self.ways.is_empty() {
            doing.wait(Duration::ZERO);
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Ended, and not to be seen any more.
    pub(super) fn is_gone(&self) -> bool {
        self.dismissed && self.state == State::Idle
    }

    pub(super) fn service_route(&self) -> &[NameAddr] {
        &self.service_route
    }

    /// It is time.
    pub(super) fn on_due(&mut self, doing: &mut Doing<'_>) {
        let from_the_first = matches!(self.state, State::Idle | State::Backoff);
        // Nobody to ask, until a name leads somewhere: see `relocate`.
        let is_nowhere = self.ways.is_empty() && self.reach.has_names();
        if from_the_first && (self.dismissed || is_nowhere) || !self.step(Trigger::Due) {
            return;
        }
        match self.state {
            State::Registering | State::Refreshing => {
                if from_the_first {
                    self.way = 0;
                }
                self.begin(doing);
            }
            _ => self.end(),
        }
    }

    /// It is to be taken back.
    pub(super) fn stop(&mut self, doing: &mut Doing<'_>) {
        self.dismissed = true;
        if !self.step(Trigger::Stop) {
            return;
        }
        doing.stop_waiting();
        match self.state {
            State::Unregistering => self.take_back(doing),
            State::Withdrawing => doing.wait(LONGEST_FAREWELL),
            _ => self.end(),
        }
    }

    /// What came of a REGISTER.
    pub(super) fn on_reply(&mut self, doing: &mut Doing<'_>, attempt: u32, reply: Reply<'_>) {
        let waits = !matches!(self.state, State::Idle | State::Registered | State::Backoff);
        if attempt != self.cseq || !waits {
            return;
        }
        let response = match reply {
            Reply::Response(response) => response,
            Reply::Lost => return self.on_failure(doing, StatusCode::REQUEST_TIMEOUT, None),
        };
        let Some(code) = response.code().filter(|code| code.is_final()) else {
            return;
        };
        if code.is_success() {
            return self.on_success(doing, response);
        }
        if code.is_challenge() && self.answer(doing, response) {
            return;
        }
        if code.as_u16() == 423 && self.ask_longer(doing, response) {
            return;
        }
        self.on_failure(doing, code, Some(response));
    }

    fn on_success(&mut self, doing: &mut Doing<'_>, response: &Message) {
        self.answers.hear(response);
        let was_withdrawing = self.state == State::Withdrawing;
        let granted = match self.state {
            State::Unregistering => Some(Duration::ZERO),
            _ => self
                .contact()
                .and_then(|contact| reading::granted(response, &contact, self.asked)),
        };
        let Some(granted) = granted else {
            // It has accepted something else than what we asked for.
            return self.on_failure(doing, StatusCode::BAD_GATEWAY, None);
        };
        if granted.is_zero() && !self.asked.is_zero() {
            // It has taken the binding away that we asked it to keep.
            self.end();
            return self.on_failure(doing, StatusCode::BAD_GATEWAY, None);
        }
        if !self.step(Trigger::Accepted) {
            return;
        }
        self.counts.accepted += 1;
        doing.stop_waiting();
        if was_withdrawing {
            return self.take_back(doing);
        }
        if self.state == State::Idle {
            return self.end();
        }
        self.failures = 0;
        self.last_failure = None;
        self.expires = Some(doing.now + granted);
        self.service_route = reading::service_route(response);
        let luck = doing.luck();
        doing.wait(backoff::refresh(granted, luck));
    }

    /// Sends it again with credentials; whether there were some.
    fn answer(&mut self, doing: &mut Doing<'_>, response: &Message) -> bool {
        let tokens = &mut *doing.tokens;
        let outcome = self
            .answers
            .take(response, &mut self.exchange, &self.logins, || tokens.tag());
        let answered = outcome == Outcome::Answered;
        if answered {
            self.counts.challenged += 1;
            self.send(doing);
        }
        answered
    }

    /// Sends it again as the registrar wants it; whether that is something that we can ask for.
    fn ask_longer(&mut self, doing: &mut Doing<'_>, response: &Message) -> bool {
        let least = reading::min_expires(response);
        let Some(least) = least.filter(|least| *least > self.asked && *least <= MOST_EXPIRES)
        else {
            return false;
        };
        if self.too_brief >= MOST_TOO_BRIEF || !self.step(Trigger::TooBrief) {
            return false;
        }
        self.too_brief += 1;
        self.asked = least;
        self.send(doing);
        true
    }

    fn on_failure(&mut self, doing: &mut Doing<'_>, code: StatusCode, response: Option<&Message>) {
        self.last_failure = Some(code.as_u16());
        let asked = response.and_then(reading::retry_after);
        self.retry_after = self.retry_after.max(asked);
        let elsewhere = matches!(code.as_u16(), 408 | 500..=599) && self.way + 1 < self.ways.len();
        if elsewhere && self.step(Trigger::NextRegistrar) {
            self.way += 1;
            self.answers = Answers::default();
            self.exchange = Exchange::default();
            return self.send(doing);
        }
        if !self.step(Trigger::Failed) {
            return;
        }
        doing.stop_waiting();
        if self.state == State::Idle {
            return self.end();
        }
        self.counts.failed += 1;
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(
            aor = self.aor.as_str(),
            code = code.as_u16(),
            "registration failed"
        );
        let luck = doing.luck();
        let retry_after = self.retry_after.take();
        doing.wait(backoff::wait(self.failures, luck, retry_after));
    }

    /// A new round.
    fn begin(&mut self, doing: &mut Doing<'_>) {
        self.too_brief = 0;
        self.retry_after = None;
        self.exchange = Exchange::default();
        if self.expires.is_some_and(|at| at <= doing.now) {
            self.expires = None;
        }
        self.send(doing);
    }

    fn take_back(&mut self, doing: &mut Doing<'_>) {
        self.exchange = Exchange::default();
        self.asked = Duration::ZERO;
        doing.wait(LONGEST_FAREWELL);
        self.send(doing);
    }

    /// No binding any more.
    fn end(&mut self) {
        self.expires = None;
        self.service_route.clear();
    }

    fn send(&mut self, doing: &mut Doing<'_>) {
        let Some((path, contact)) = self.ways.get(self.way).cloned() else {
            return self.on_failure(doing, StatusCode::REQUEST_TIMEOUT, None);
        };
        self.cseq = self.cseq.saturating_add(1);
        self.counts.sent += 1;
        let mut request = self.request(&contact);
        self.answers.sign(&mut request);
        doing.orders.push_back(Order {
            id: doing.id,
            attempt: self.cseq,
            request,
            path,
        });
    }

    fn request(&self, contact: &NameAddr) -> Message {
        let registrar = format!("sip:{}", self.registration.domain);
        let uri = Uri::parse(registrar.as_bytes()).unwrap_or_else(|_| self.aor.clone());
        let mut request = Message::request(Method::Register, uri);
        let own = NameAddr::new(self.aor.clone());
        let seconds = self.asked.as_secs().to_string();
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, own.clone().with_tag(&self.tag).to_bytes());
        headers.push(HeaderName::To, own.to_bytes());
        headers.push(HeaderName::CallId, &self.call_id);
        headers.push(HeaderName::CSeq, format!("{} REGISTER", self.cseq));
        headers.push(HeaderName::Contact, contact.to_bytes());
        headers.push(HeaderName::Expires, seconds);
        if !self.server_name.is_empty() {
            headers.push(HeaderName::UserAgent, &self.server_name);
        }
        request
    }

    fn contact(&self) -> Option<NameAddr> {
        self.ways.get(self.way).map(|(_, contact)| contact.clone())
    }

    fn step(&mut self, trigger: Trigger) -> bool {
        let Some(next) = self.state.after(trigger) else {
            return false;
        };
        tracing::debug!(aor = self.aor.as_str(), state = %self.state, ?trigger, %next);
        self.state = next;
        true
    }

    pub(super) fn view(&self, due: Option<Timestamp>) -> RegistrationView {
        RegistrationView {
            trunk: self.trunk,
            aor: self.aor.to_string(),
            registrar: self.ways.get(self.way).map(|(path, _)| path.remote),
            state: self.state,
            expires: self.expires,
            due,
            last_failure: self.last_failure,
            counts: self.counts,
        }
    }
}

/// Its own login goes before the trunk's.
fn logins(
    settings: &Settings,
    trunk: TrunkId,
    registration: &settings::Registration,
) -> Vec<Login> {
    let of_trunk = settings
        .trunks
        .get(usize::from(trunk.0))
        .map(|trunk| trunk.logins.clone());
    let own = registration.login.clone().into_iter();
    own.chain(of_trunk.unwrap_or_default()).collect()
}

/// Where REGISTERs may go, as the configuration has it: all that the ways there depend on but the DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reach {
    servers: Vec<Server>,
    /// The trunk's, with what each is announced as.
    listeners: Vec<(ListenerId, Listener)>,
}

impl Reach {
    fn new(settings: &Settings, trunk: TrunkId, registration: &settings::Registration) -> Self {
        let Some(known) = settings.trunks.get(usize::from(trunk.0)) else {
            return Self {
                servers: Vec::new(),
                listeners: Vec::new(),
            };
        };
        let only = registration.registrar.as_ref().or(known.proxy.as_ref());
        let servers = match only {
            Some(only) => vec![only.clone()],
            None => peers_in_order(known),
        };
        let listener = |id: &ListenerId| {
            let listener = settings.listeners.get(usize::from(id.0))?;
            Some((*id, listener.clone()))
        };
        Self {
            servers,
            listeners: known.listeners.iter().filter_map(listener).collect(),
        }
    }

    fn has_names(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.address().is_none())
    }

    /// The ways there now, and the Contact that is registered by each: our address at the listener that REGISTERs
    /// leave by.
    fn ways(
        &self,
        routing: &Routing,
        trunk: TrunkId,
        user: &str,
        tokens: &mut Tokens,
    ) -> Vec<(Path, NameAddr)> {
        let places = self.servers.iter().flat_map(|server| {
            routing.server_at(trunk, server, |_, plan| plan.order(tokens.dice()))
        });
        let way = |(listener, place): (ListenerId, Location)| {
            let remote = place.address;
            let mut listeners = self.listeners.iter();
            let (_, known) = listeners.find(|(id, _)| *id == listener)?;
            let contact = Uri::sip(Some(user), known.announced());
            let contact = match known.transport {
                settings::Transport::Udp => contact,
                other => contact.with_parameter("transport", other.name()),
            };
            Some((Path::to(listener, remote), NameAddr::new(contact)))
        };
        places.filter_map(way).collect()
    }
}

/// A trunk's peers by their priorities, as servers.
fn peers_in_order(trunk: &settings::Trunk) -> Vec<Server> {
    let addresses = trunk.peers.iter();
    let addresses = addresses.map(|peer| (peer.priority, Server::Address(*peer)));
    let names = trunk.names.iter();
    let names = names.map(|name| (name.priority, Server::Name(name.destination.clone())));
    let mut ranked: Vec<_> = addresses.chain(names).collect();
    ranked.sort_by_key(|(priority, _)| *priority);
    ranked.into_iter().map(|(_, server)| server).collect()
}
