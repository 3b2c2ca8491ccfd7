//! The back-to-back user agent (RFC 7092): each call is a dialog with the caller, dialogs with the
//! callee, and a media session between them.
//!
//! Takes what the transactions and the session engine say to the call that it is about. Knows what
//! SIP says about calls; refuses to know sockets, clocks, and what a session description means.

mod admission;
mod answers;
mod call;
mod context;
mod ending;
mod held;
mod index;
mod late_answers;
mod passing;
mod relay;
mod setup;
mod state;
mod view;

use std::collections::BTreeMap;

use contract::{Command, Event, Link, Timestamp, WorkerId};
use rand::rngs::StdRng;

use crate::agent::Output;
use crate::installer::{NextHopQuery, Ticket};
use crate::session::{EngineOutput, Side};
use crate::settings::{Settings, TrunkId};
use crate::sip::{Message, Method, ParseErrorKind, StatusCode};
use crate::transaction::{ClientKey, Occurrence, Path, ServerKey};

use self::admission::Refusal;
use self::call::{Call, Caller};
use self::context::Context;
use self::ending::Cause;
use self::index::Owner;
use self::setup::Setback;

pub use state::{CallState, Row, TABLE, Trigger};
pub use view::{CallDetail, CallId, CallSummary, Counters, Gauges, LegView};

/// Every call, and what they work with.
#[derive(Debug)]
pub(crate) struct B2bua {
    cx: Context,
    calls: BTreeMap<CallId, Call>,
    next_call: u64,
    /// No new calls.
    closed: bool,
}

impl B2bua {
    pub(crate) fn new(settings: Settings, workers: usize, rng: StdRng) -> Self {
        Self {
            cx: Context::new(settings, workers, rng),
            calls: BTreeMap::new(),
            next_call: 1,
            closed: false,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.cx.settings
    }

    /// Sets the time of all that follows.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        self.cx.now = now;
    }

    pub(crate) fn on_datagram(&mut self, path: Path, bytes: &[u8]) {
        self.cx.transactions.receive(self.cx.now, path, bytes);
    }

    pub(crate) fn on_send_failed(&mut self, path: Path) {
        self.cx.transactions.transport_failed(self.cx.now, path);
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, event: Event) {
        self.cx.engine.on_event(self.cx.now, worker, event);
    }

    pub(crate) fn on_command_rejected(&mut self, worker: WorkerId, command: Command) {
        self.cx
            .engine
            .command_rejected(self.cx.now, worker, command);
    }

    pub(crate) fn on_next_hop(&mut self, query: NextHopQuery, link: Option<Link>) {
        self.cx.engine.next_hop_resolved(self.cx.now, query, link);
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self) {
        self.cx.transactions.on_time(self.cx.now);
        self.cx.engine.on_time(self.cx.now);
        while let Some(id) = self.cx.timers.expire(self.cx.now) {
            self.with_call(id, |call, cx| call.on_no_answer(cx));
        }
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let cx = &self.cx;
        [
            cx.transactions.deadline(),
            cx.engine.deadline(),
            cx.timers.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Refuses new calls from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the trunks know the sender, or the request belongs to a dialog that there is.
    pub(crate) fn knows(&self, path: Path, message: Option<&Message>) -> bool {
        self.cx
            .routing
            .trunk_of(path.listener, path.remote)
            .is_some()
            || message.is_some_and(|message| {
                let to = message.to().ok();
                let tag = to.as_ref().and_then(|to| to.tag());
                tag.is_some_and(|tag| self.cx.index.tag(tag).is_some())
            })
    }

    /// An operator ends a call.
    pub(crate) fn hang_up(&mut self, id: CallId) {
        self.with_call(id, |call, cx| call.hang_up(cx, Cause::Operator));
    }

    /// Ends every call.
    pub(crate) fn hang_up_all(&mut self) {
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            self.with_call(id, |call, cx| call.hang_up(cx, Cause::Drain));
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn count_dropped(&mut self, why: &'static str) {
        self.cx.count_dropped(why);
    }

    /// Counts a request that was answered without a transaction.
    pub(crate) fn count_refused(&mut self, code: StatusCode) {
        let code = code.as_u16();
        *self.cx.counters.requests_refused.entry(code).or_default() += 1;
    }

    /// The next thing to be done outside.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(occurrence) = self.cx.transactions.poll() {
                if let Some(output) = self.on_occurrence(occurrence) {
                    return Some(output);
                }
                continue;
            }
            match self.cx.engine.poll()? {
                EngineOutput::Command { worker, command } => {
                    return Some(Output::Command { worker, command });
                }
                EngineOutput::Resolve(query) => return Some(Output::Resolve(query)),
                EngineOutput::Forget(query) => return Some(Output::Forget(query)),
                EngineOutput::Ready(ticket) => {
                    self.with_ticket(ticket, |call, cx| call.on_ready(cx, ticket));
                }
                EngineOutput::Failed(ticket, why) => {
                    self.with_ticket(ticket, |call, cx| call.on_failed(cx, ticket, why));
                }
                EngineOutput::MediaTimeout(session) => {
                    if let Some(id) = self.cx.index.session(session) {
                        self.with_call(id, |call, cx| call.hang_up(cx, Cause::MediaTimeout));
                    }
                }
            }
        }
    }

    fn on_occurrence(&mut self, occurrence: Occurrence) -> Option<Output> {
        match occurrence {
            Occurrence::Transmit { path, bytes } => {
                return Some(Output::Send {
                    listener: path.listener,
                    remote: path.remote,
                    bytes,
                });
            }
            Occurrence::Request { key, message, path } => self.on_request(key, message, path),
            Occurrence::Ack {
                invite: Some(key),
                message,
                ..
            } => self.with_server(key, |call, cx| match call.caller.key == key {
                true => call.on_caller_ack(cx, &message),
                false => call.on_relay_ack(cx, key, &message),
            }),
            Occurrence::Ack { invite: None, .. } => self.cx.count_dropped("stray_ack"),
            Occurrence::Cancel { invite, message } => {
                self.with_server(invite, |call, cx| match call.caller.key == invite {
                    true => call.on_cancel(cx, &message),
                    false => call.on_relay_cancel(cx, invite, &message),
                });
            }
            Occurrence::Response { key, message, path } => self.on_response(key, message, path),
            Occurrence::Timeout(key) => self.on_lost(key, Setback::Timeout),
            Occurrence::TransportError(key) => self.on_lost(key, Setback::Unreachable),
            Occurrence::Unacknowledged(key) | Occurrence::ServerTransportError(key) => {
                self.with_server(key, |call, cx| {
                    if !call.on_relay_no_ack(cx, key) && call.caller.key == key {
                        call.on_no_ack(cx);
                    }
                });
            }
            Occurrence::ClientEnded(key) => self.cx.index.remove_client(key),
            Occurrence::ServerEnded(key) => self.cx.index.remove_server(key),
        }
        None
    }

    fn on_request(&mut self, key: ServerKey, message: Message, path: Path) {
        if let Err(refusal) = admission::check(&message) {
            return refusal.send(&mut self.cx, key, &message);
        }
        let in_dialog = message.to().is_ok_and(|to| to.tag().is_some());
        match (in_dialog, message.method()) {
            (true, _) => self.on_dialog_request(key, message, path),
            (false, Some(Method::Invite)) => self.on_invite(key, message, path),
            (false, Some(Method::Options)) => self.on_options(key, &message, path),
            // The rest has a meaning only within a dialog.
            (false, _) => self.cx.refuse(key, &message, StatusCode::NO_SUCH_CALL),
        }
    }

    fn on_invite(&mut self, key: ServerKey, message: Message, path: Path) {
        let (trunk, user) = match self.admit(&message, path) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal.send(&mut self.cx, key, &message),
        };
        let targets = self.cx.routing.targets(trunk, &user);
        if targets.is_empty() {
            return self.cx.refuse(key, &message, StatusCode::NOT_FOUND);
        }
        self.cx.counters.calls_offered += 1;
        let id = CallId(self.next_call);
        self.next_call += 1;
        let caller = Caller {
            trunk,
            path,
            key,
            invite: message,
            tag: self.cx.tokens.tag(),
        };
        self.cx.index.add_server(key, id);
        let call = Call::new(id, caller, targets, self.cx.now);
        self.calls.insert(id, call);
        self.with_call(id, |call, cx| call.try_next_target(cx));
    }

    fn admit(&self, message: &Message, path: Path) -> Result<(TrunkId, String), Refusal> {
        admission::check_hops(message)?;
        let admitted = admission::check_call(&self.cx, message, path)?;
        if self.is_our_own(message) {
            return Err(StatusCode::LOOP_DETECTED.into());
        }
        if self.closed || self.calls.len() >= self.cx.settings.limits.calls {
            return Err(StatusCode::SERVICE_UNAVAILABLE.into());
        }
        Ok(admitted)
    }

    /// Whether the INVITE is one that we sent and that proxies have sent back, for the same user. For
    /// another user it is a call that was forwarded (a spiral, RFC 3261 §6), which hops bound.
    fn is_our_own(&self, message: &Message) -> bool {
        let (Ok(from), Ok(call_id), Some(uri)) = (message.from(), message.call_id(), message.uri())
        else {
            return false;
        };
        let sent = from
            .tag()
            .and_then(|tag| self.cx.index.tag(tag))
            .and_then(|(id, _)| self.calls.get(&id)?.attempt.as_ref());
        sent.is_some_and(|sent| {
            sent.invite.call_id().is_ok_and(|sent| sent == call_id)
                && sent.invite.uri().and_then(|sent| sent.decoded_user()) == uri.decoded_user()
        })
    }

    /// OPTIONS outside a dialog asks what an INVITE would be answered (RFC 3261 §11.2); operators use
    /// it to find out who takes calls.
    fn on_options(&mut self, key: ServerKey, message: &Message, path: Path) {
        if self.closed || self.calls.len() >= self.cx.settings.limits.calls {
            return self
                .cx
                .refuse(key, message, StatusCode::SERVICE_UNAVAILABLE);
        }
        let response = admission::capabilities(&mut self.cx, message, path);
        self.cx.respond(key, response);
    }

    fn on_dialog_request(&mut self, key: ServerKey, message: Message, path: Path) {
        let Some((id, side, place)) = self.dialog_of(&message) else {
            return self.cx.refuse(key, &message, StatusCode::NO_SUCH_CALL);
        };
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        self.with_call(id, |call, cx| {
            let admitted = call
                .pairs
                .get_mut(place)
                .is_some_and(|pair| pair.dialog_mut(side).admit(number));
            if !admitted {
                return cx.refuse(key, &message, StatusCode::SERVER_INTERNAL_ERROR);
            }
            match message.method() {
                Some(Method::Bye) => call.on_bye(cx, side, place, key, &message),
                Some(Method::Options) => {
                    let response = admission::capabilities(cx, &message, path);
                    cx.respond(key, response);
                }
                _ => match admission::check_hops(&message) {
                    Ok(()) => call.begin_relay(cx, side, place, key, message),
                    Err(refusal) => refusal.send(cx, key, &message),
                },
            }
        });
    }

    /// The call, the side of it, and the dialog that a request is in.
    fn dialog_of(&self, message: &Message) -> Option<(CallId, Side, usize)> {
        let (to, from) = (message.to().ok()?, message.from().ok()?);
        let call_id = message.call_id().ok()?;
        let (id, side) = self.cx.index.tag(to.tag()?)?;
        let call = self.calls.get(&id)?;
        let place = call.pair_at(side, &call_id, to.tag()?, from.tag().unwrap_or_default())?;
        Some((id, side, place))
    }

    fn on_response(&mut self, key: ClientKey, message: Message, path: Path) {
        let id = match self.cx.index.take_client(key) {
            Some(Owner::Call(id)) => id,
            Some(Owner::LateAnswers(mut late)) => {
                late.on_response(&mut self.cx, key, &message, path);
                return self.cx.index.add_client(key, Owner::LateAnswers(late));
            }
            None => return,
        };
        self.cx.index.add_client(key, Owner::Call(id));
        self.with_call(id, |call, cx| {
            let is_final = message.code().is_some_and(|code| code.is_final());
            if call.is_invite(key) {
                call.on_invite_response(cx, key, message, path);
            } else if !call.farewell.byes.contains(&key) {
                call.on_relay_response(cx, key, &message);
            } else if is_final {
                call.on_bye_done(key);
            }
        });
    }

    fn on_lost(&mut self, key: ClientKey, setback: Setback) {
        let Some(id) = self.cx.index.call_of(key) else {
            return;
        };
        let code = match setback {
            Setback::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::REQUEST_TIMEOUT,
        };
        self.with_call(id, |call, cx| {
            if call.is_invite(key) {
                call.on_setback(cx, setback);
            } else if call.farewell.byes.contains(&key) {
                call.on_bye_done(key);
            } else {
                call.on_relay_lost(cx, key, code);
            }
        });
    }

    fn with_ticket(&mut self, ticket: Ticket, act: impl FnOnce(&mut Call, &mut Context)) {
        if let Some(id) = self.cx.index.take_ticket(ticket) {
            self.with_call(id, act);
        }
    }

    fn with_server(&mut self, key: ServerKey, act: impl FnOnce(&mut Call, &mut Context)) {
        if let Some(id) = self.cx.index.server(key) {
            self.with_call(id, act);
        }
    }

    /// Lets a call act, and lets go of it when it is over.
    fn with_call(&mut self, id: CallId, act: impl FnOnce(&mut Call, &mut Context)) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        act(call, &mut self.cx);
        if call.state() == CallState::Over {
            call.leave(&mut self.cx);
            self.calls.remove(&id);
        }
    }

    /// The calls, oldest first.
    pub(crate) fn calls(&self) -> Vec<CallSummary> {
        let calls = self.calls.values();
        calls.map(|call| call.summary(&self.cx)).collect()
    }

    pub(crate) fn call(&self, id: CallId) -> Option<CallDetail> {
        let call = self.calls.get(&id)?;
        let cx = &self.cx;
        Some(CallDetail {
            summary: call.summary(cx),
            caller: call.caller_leg(cx),
            callees: call.callee_legs(cx),
            media: call.session.and_then(|id| cx.engine.describe(id)),
            flows: call.session.map_or_else(Vec::new, |id| cx.engine.flows(id)),
        })
    }

    pub(crate) fn counters(&self) -> Counters {
        let transactions = self.cx.transactions.counters();
        let errors = ParseErrorKind::ALL.iter().zip(transactions.parse_errors);
        Counters {
            parse_errors: errors
                .filter(|(_, count)| *count > 0)
                .map(|(kind, count)| (kind.name(), count))
                .collect(),
            transactions,
            sessions: self.cx.engine.counters(),
            ..self.cx.counters.clone()
        }
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let transactions = self.cx.transactions.counters();
        let media = self.cx.engine.gauges();
        Gauges {
            calls: self.calls.len(),
            dialogs: self.cx.index.dialogs(),
            transactions: transactions.clients + transactions.servers,
            owned: self.cx.index.held(),
            sessions: media.sessions,
            flows: media.flows,
            next_hops: media.next_hops,
            ports_in_use: media.ports.iter().map(|ports| ports.in_use).sum(),
            ports_resting: media.ports.iter().map(|ports| ports.resting).sum(),
        }
    }
}
