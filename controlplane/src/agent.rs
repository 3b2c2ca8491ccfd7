//! The control plane as one machine without IO: inputs and the time go in through [`Agent::handle`],
//! and [`Agent::poll_output`] gives outputs until it says how long to wait.
//!
//! The agent joins what the parts keep apart: SIP transactions, calls ([`crate::b2bua`]) and media
//! sessions. It knows neither sockets nor clocks nor the kernel; the event loop (`server`) and the
//! journeys on virtual time drive it alike:
//!
//! ```text
//!   loop {
//!       agent.handle(input, now);
//!       loop { match agent.poll_output(now) { Output::Wait(until) => break, output => carry_out(output) } }
//!   }
//! ```

mod door;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use contract::Timestamp;
use rand::rngs::StdRng;

use crate::b2bua::{B2bua, CallDetail, CallId, CallSummary, Counters, DryRun, Elsewhere, Gauges};
use crate::ng::{self, Hands, Ng, OperatorRequest, TooManyOfOperators};
use crate::overload::{Gate, Verdict};
use crate::provisioning::{Answer, OpenSessions, Overload, RequestId, Requests};
use crate::registration::RegistrationView;
use crate::resolver::Resolver;
use crate::session::{FlowView, ProvisionedView, SessionId};
use crate::settings::{Settings, TrunkId, Unlike};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::{self, StoryView, Way, Whose};
use crate::transaction::Path;
use crate::trunks::TrunkView;
use crate::wall_clock::WallClock;

pub use self::door::{FlowOwner, FlowToMeasure, Input, Output};
pub use crate::overload::OverloadView;

/// How long after [`Output::Drained`] would be due the last BYEs may still wait for their answers: the
/// retransmissions at 0.5, 1.5 and 3.5 s have left by then, and a peer that has answered none of them
/// will not answer the rest in the time that an operator waits for a service to stop.
const LAST_BYES: Duration = Duration::from_secs(4);

/// How many requests from unknown addresses are answered in a second. An operator who has forgotten to
/// configure a peer sees the 403; a scanner, or whoever makes us answer to forged addresses, gets
/// next to nothing.
const STRANGERS_PER_SECOND: u32 = 10;

/// Our tag in what strangers are answered: no state means the same for every retransmission (RFC 3261
/// §8.2.7).
const STRANGERS_TAG: &str = "stateless";

/// Whether new calls are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Open,
    /// No new calls; what is up may stay until then.
    Draining(Timestamp),
    /// Every call is being ended; whatever has not by then is given up.
    Ending(Timestamp),
    Drained,
}

/// The control plane, sans-IO.
#[derive(Debug)]
pub struct Agent {
    calls: B2bua,
    /// Refuses new calls when there is too much to do.
    gate: Gate,
    /// Sessions that are no call's.
    requests: Requests,
    /// The other door.
    ng: Ng,
    service: Service,
    /// Strangers answered since the second began.
    strangers: (Timestamp, u32),
    /// What was decided here and has not left yet.
    outputs: VecDeque<Output>,
}

impl Agent {
    /// An agent for `workers` workers. All that must be unpredictable (tags, branches, ports) comes
    /// from `rng`: it must be seeded from the system's entropy, except in tests.
    pub fn new(settings: Settings, workers: usize, mut rng: StdRng) -> Self {
        Self {
            ng: Ng::new(ng::Policy::of(&settings), &mut rng),
            gate: Gate::new(settings.overload),
            calls: B2bua::new(settings, workers, rng),
            requests: Requests::default(),
            service: Service::Open,
            strangers: (Timestamp::ZERO, 0),
            outputs: VecDeque::new(),
        }
    }

    /// Tells the time of day, from now on. Until then it is 1970.
    pub fn set_wall_clock(&mut self, clock: WallClock) {
        self.calls.set_wall_clock(clock);
    }

    /// Takes one input. Outputs that it causes wait in [`Self::poll_output`].
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        self.calls.set_time(now);
        match input {
            Input::Datagram { path, bytes } => self.on_datagram(path, &bytes, now),
            Input::Control { path, bytes } => {
                self.with_ng(now, |ng, hands| ng.handle(hands, path, &bytes));
            }
            Input::SendFailed { path } => self.calls.on_send_failed(path),
            Input::Identified { path, identity } => self.calls.on_identified(path, identity),
            Input::ConnectionLost { path } => self.calls.on_connection_lost(path),
            Input::Worker { worker, event } => self.calls.on_worker(worker, event),
            Input::CommandRejected { worker, command } => {
                self.calls.on_command_rejected(worker, command);
            }
            Input::NextHop { query, answer } => self.calls.on_next_hop(query, answer),
            Input::Dns(heard) => self.calls.on_dns(heard),
            Input::Homes(homes) => self.calls.set_homes(homes),
            Input::Waited { listener, time } => {
                // Nothing comes of it by itself: the datagram follows.
                return self.gate.observe(listener, time, now);
            }
            Input::Time => {}
            Input::Measured { flow, counted } => match flow.owner {
                FlowOwner::Call(_) => self.calls.on_measured(flow, counted),
                FlowOwner::Control(_) | FlowOwner::Survey(_) => {
                    self.with_ng(now, |ng, hands| ng.on_measured(hands, flow, counted));
                }
            },
            Input::Totalled { number, totals } => {
                self.with_ng(now, |ng, hands| ng.on_totals(hands, number, &totals));
            }
            Input::Service(event) => {
                self.with_ng(now, |ng, hands| ng.on_service(hands, event));
            }
            Input::HangUp(call) => self.calls.hang_up(call),
            Input::Abandon => self.calls.abandon(),
            Input::Drain { deadline } => {
                self.calls.close();
                if self.service == Service::Open {
                    self.service = Service::Draining(deadline);
                }
            }
            Input::Stop => {
                self.calls.close();
                if matches!(self.service, Service::Open | Service::Draining(_)) {
                    self.service = Service::Draining(now);
                }
            }
        }
        self.calls.on_time();
        if self.ng.deadline().is_some_and(|at| at <= now) {
            self.with_ng(now, |ng, hands| ng.on_time(hands));
        }
        self.advance(now);
        self.check_service(now);
    }

    /// The next output; [`Output::Wait`] when there is none.
    pub fn poll_output(&mut self, now: Timestamp) -> Output {
        let output = self.next_output(now);
        if let Output::Send { path, bytes, .. } = &output {
            self.calls.witness(*path, Way::Sent, bytes);
        }
        output
    }

    fn next_output(&mut self, now: Timestamp) -> Output {
        self.calls.set_time(now);
        loop {
            if let Some(output) = self.pop_output() {
                return output;
            }
            // What became of sessions comes to light only now, and makes room for the next.
            if !self.advance(now) {
                break;
            }
        }
        self.check_service(now);
        if let Some(output) = self.pop_output() {
            return output;
        }
        // Last, when it has turned out whose they are.
        if let Some(mirrored) = self.calls.next_mirrored() {
            return Output::Mirror(mirrored);
        }
        Output::Wait(self.deadline())
    }

    fn pop_output(&mut self) -> Option<Output> {
        let own = self.outputs.pop_front().or_else(|| self.ng.poll());
        own.or_else(|| self.calls.poll())
    }

    fn with_ng<T>(&mut self, now: Timestamp, act: impl FnOnce(&mut Ng, Hands<'_>) -> T) -> T {
        let hands = Hands {
            wall: self.calls.wall_clock(),
            engine: self.calls.engine_mut(),
            now,
            open: self.service == Service::Open,
        };
        act(&mut self.ng, hands)
    }

    /// What came by the control protocol since the start.
    pub fn control_counters(&self) -> &ng::Counters {
        self.ng.counters()
    }

    /// What is held of it now.
    pub fn control_gauges(&self) -> ng::Gauges {
        self.ng.gauges()
    }

    /// What the agent was configured with.
    pub fn settings(&self) -> &Settings {
        self.calls.settings()
    }

    /// Takes a new configuration, whole: calls that are up stay as they are, what comes from now on goes by it.
    ///
    /// # Errors
    /// [`Unlike`], and nothing has changed: the settings are not of this process.
    pub fn reconfigure(&mut self, settings: Settings, now: Timestamp) -> Result<(), Unlike> {
        settings.check_successor_of(self.settings())?;
        self.gate.reconfigure(settings.overload);
        self.ng.reconfigure(ng::Policy::of(&settings));
        self.calls.set_time(now);
        self.calls.reconfigure(settings);
        self.outputs.push_back(Output::Reconfigured);
        self.handle(Input::Time, now);
        Ok(())
    }

    /// The calls that are up, oldest first.
    pub fn calls(&self) -> Vec<CallSummary> {
        self.calls.calls()
    }

    /// One call in full; `None` if there is none of that id.
    pub fn call(&self, id: CallId) -> Option<CallDetail> {
        self.calls.call(id)
    }

    /// The story of a call that is up, or that is remembered.
    pub fn story(&self, whose: Whose<'_>) -> Option<StoryView> {
        self.calls.story(whose)
    }

    /// What is held of stories.
    pub fn story_counts(&self) -> story::Counts {
        self.calls.story_counts()
    }

    /// Whether whole messages are kept.
    pub fn keeps_messages(&self) -> bool {
        self.calls.keeps_messages()
    }

    /// Keeps whole messages in stories from now on, or only what they say in short.
    pub fn keep_messages(&mut self, keep: bool) {
        self.calls.keep_messages(keep);
    }

    /// What would become of an INVITE from a trunk at some time. Nothing is sent.
    pub fn dry_run(&mut self, from: TrunkId, invite: &Message, at: jiff::Timestamp) -> DryRun {
        self.calls.dry_run(from, invite, at)
    }

    /// Takes a request for sessions without SIP. [`Self::collect`] has the answer when it is there.
    pub fn open_sessions(
        &mut self,
        request: OpenSessions,
        now: Timestamp,
    ) -> Result<RequestId, Overload> {
        let groups = &self.calls.settings().media_groups;
        let id = self.requests.open(now, groups, request)?;
        self.handle(Input::Time, now);
        Ok(id)
    }

    /// Takes a request to close sessions without SIP: those of calls are no operator's to close.
    pub fn close_sessions(
        &mut self,
        ids: Vec<SessionId>,
        now: Timestamp,
    ) -> Result<RequestId, Overload> {
        let id = self.requests.close(now, ids)?;
        self.handle(Input::Time, now);
        Ok(id)
    }

    /// The answer to a request, once: `None` while it is being carried out.
    pub fn collect(&mut self, id: RequestId) -> Option<Answer> {
        self.requests.collect(id)
    }

    /// Nobody waits for the answer any more; the request is carried out all the same.
    pub fn forget(&mut self, id: RequestId) {
        self.requests.forget(id);
    }

    /// Takes a request of the control protocol from an operator: a dictionary, without a cookie.
    /// [`Self::collect_reply`] has the reply when it is there.
    ///
    /// # Errors
    /// Too many are unanswered.
    pub fn ask_control(
        &mut self,
        dictionary: &[u8],
        now: Timestamp,
    ) -> Result<OperatorRequest, TooManyOfOperators> {
        self.calls.set_time(now);
        let request = self.with_ng(now, |ng, hands| ng.ask(hands, dictionary))?;
        self.handle(Input::Time, now);
        Ok(request)
    }

    /// The dictionary of a reply, once, in the encoding of the request: `None` while it is being carried out.
    pub fn collect_reply(&mut self, request: OperatorRequest) -> Option<Vec<u8>> {
        self.ng.collect(request)
    }

    /// Nobody waits for the reply any more; the request is carried out all the same.
    pub fn forget_reply(&mut self, request: OperatorRequest) {
        self.ng.forget(request);
    }

    /// Whether an answer waits to be collected.
    pub fn has_answers(&self) -> bool {
        self.requests.has_answers() || self.ng.has_replies()
    }

    /// Sessions without SIP, named after `after`, the oldest first; at most `limit`.
    pub fn sessions(
        &self,
        after: SessionId,
        limit: usize,
    ) -> impl Iterator<Item = ProvisionedView> {
        self.calls.engine().provisioned_after(after, limit)
    }

    /// The flows of a session without SIP; `None` if there is none of that name.
    pub fn session_flows(&self, id: SessionId) -> Option<Vec<FlowView>> {
        let engine = self.calls.engine();
        engine.provisioned(id).map(|_| engine.flows(id))
    }

    /// What we register at trunks, and how far that has come.
    pub fn registrations(&self) -> Vec<RegistrationView> {
        self.calls.registrations()
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        self.calls.counters()
    }

    /// What is held now.
    pub fn gauges(&self) -> Gauges {
        self.calls.gauges()
    }

    /// The trunks: their peers, what goes through them, what was refused.
    pub fn trunks(&self) -> Vec<TrunkView> {
        self.calls.trunks()
    }

    /// What is done against too much signalling.
    pub fn overload(&self, now: Timestamp) -> OverloadView {
        self.gate.view(now)
    }

    /// What is known of names.
    pub fn resolver(&self) -> &Resolver {
        self.calls.resolver()
    }

    /// Whether new calls are refused.
    pub fn is_draining(&self) -> bool {
        self.service != Service::Open
    }

    /// Only trunks and the dialogs that there are may speak; what a stranger asks makes no state.
    fn on_datagram(&mut self, path: Path, bytes: &[u8], now: Timestamp) {
        if self.calls.denies(path.remote) {
            return self.calls.count_dropped("denied");
        }
        let of_trunk = self.calls.knows(path, None);
        if of_trunk && !self.passes_the_gate(path, bytes, now) {
            return;
        }
        self.calls.witness(path, Way::Received, bytes);
        if of_trunk {
            return self.calls.on_datagram(path, bytes);
        }
        match Message::parse(bytes) {
            Ok(message) if message.method().is_none() || self.calls.knows(path, Some(&message)) => {
                self.calls.on_datagram(path, bytes);
            }
            Ok(message) => self.turn_away(path, &message, now),
            Err(_) => self.calls.count_dropped("stranger_not_sip"),
        }
    }

    /// Whether a datagram of a trunk is handled; if not, it has been answered, and nothing of it is kept.
    fn passes_the_gate(&mut self, path: Path, bytes: &[u8], now: Timestamp) -> bool {
        if self.calls.is_crowded() {
            self.gate.crowd(now);
        }
        let calls = &self.calls;
        let has_transaction = |via: &_| calls.has_invite(via);
        match self.gate.judge(path, bytes, now, has_transaction) {
            Verdict::Pass => true,
            Verdict::Drop => false,
            Verdict::Refuse(back, answer, first) => {
                self.calls.count_refused(StatusCode::SERVICE_UNAVAILABLE);
                if let Some(shed) = first {
                    self.calls.note_shed(shed, path);
                }
                self.answer(path, back, answer);
                false
            }
        }
    }

    fn turn_away(&mut self, path: Path, request: &Message, now: Timestamp) {
        let (since, _) = self.strangers;
        if now.since(since) >= Duration::from_secs(1) {
            self.strangers = (now, 0);
        }
        if request.method() == Some(&Method::Ack) {
            return self.calls.count_dropped("stranger_ack");
        }
        let via = request.via().ok().filter(|_| request.check().is_ok());
        let Some(mut via) = via.filter(|_| self.strangers.1 < STRANGERS_PER_SECOND) else {
            return self.calls.count_dropped("stranger");
        };
        self.strangers.1 += 1;
        self.calls.count_refused(StatusCode::FORBIDDEN);
        via.note_source(path.remote);
        let mut response = request.response(StatusCode::FORBIDDEN, Some(STRANGERS_TAG));
        response
            .headers
            .replace_first(&HeaderName::Via, via.to_string());
        let back = via.response_address().unwrap_or(path.remote);
        self.answer(path, back, response.to_bytes());
    }

    /// Sends an answer that leaves nothing behind: to where the Via says or, over a stream, back through it. Who
    /// does not wait for the answer is not called back.
    fn answer(&mut self, path: Path, back: SocketAddr, bytes: Vec<u8>) {
        let listener = self.settings().listeners.get(usize::from(path.listener.0));
        let by_stream = listener.is_some_and(|listener| listener.transport.is_reliable());
        self.outputs.push_back(Output::Send {
            path: match by_stream {
                true => path,
                false => Path::to(path.listener, back),
            },
            otherwise: by_stream.then_some(path.remote),
            bytes,
        });
    }

    /// Whether anything came of it.
    fn advance(&mut self, now: Timestamp) -> bool {
        let mut advanced = false;
        while let Some(news) = self.calls.next_elsewhere() {
            advanced = true;
            match news {
                Elsewhere::Provisioned(session, what) => {
                    self.requests.settled(session, what, self.calls.engine());
                }
                Elsewhere::Ready(ticket) => {
                    self.with_ng(now, |ng, hands| ng.on_ready(&hands, ticket));
                }
                Elsewhere::Failed(ticket, why) => {
                    self.with_ng(now, |ng, hands| ng.on_failed(hands, ticket, why));
                }
                Elsewhere::MediaTimeout(session) => {
                    self.with_ng(now, |ng, hands| ng.on_media_timeout(hands, session));
                }
                Elsewhere::Ended(flow) => self.ng.on_ended(flow),
            }
        }
        let open = self.service == Service::Open;
        let engine = self.calls.engine_mut();
        self.requests.advance(now, engine, open) || advanced
    }

    /// Whether nothing is left that a drain waits for.
    fn is_idle(&self) -> bool {
        let sessions = self.calls.engine().provisioned_count();
        self.calls.is_idle() && sessions == 0 && self.requests.is_idle() && self.ng.is_idle()
    }

    fn check_service(&mut self, now: Timestamp) {
        if let Service::Draining(deadline) = self.service
            && now >= deadline
            && !self.is_idle()
        {
            self.service = Service::Ending(now + LAST_BYES);
            self.calls.hang_up_all();
            self.with_ng(now, |ng, hands| ng.end_all(hands));
        }
        let done = match self.service {
            Service::Open | Service::Drained => false,
            Service::Draining(_) => self.is_idle(),
            // Sessions that are no call's have nobody to be told of their end: they end with the process.
            Service::Ending(until) => self.calls.is_idle() || now >= until,
        };
        if done {
            self.calls.abandon();
            self.service = Service::Drained;
            self.outputs.push_back(Output::Drained);
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let service = match self.service {
            Service::Draining(at) | Service::Ending(at) => Some(at),
            Service::Open | Service::Drained => None,
        };
        let others = [
            self.calls.deadline(),
            self.requests.deadline(),
            self.ng.deadline(),
        ];
        service
            .into_iter()
            .chain(others.into_iter().flatten())
            .min()
    }
}
