//! The back-to-back user agent (RFC 7092): each call is a dialog with the caller, dialogs with the
//! callee, and a media session between them.
//!
//! Takes what the transactions and the session engine say to the call that it is about. Knows what
//! SIP says about calls; refuses to know sockets, clocks, and what a session description means.

mod account;
mod admission;
mod alarms;
mod answers;
mod call;
mod challenges;
mod context;
mod dispatch;
mod dry_run;
mod early_media;
mod elsewhere;
mod ending;
mod gate;
mod held;
mod index;
mod late_answers;
mod negotiation;
mod next_hops;
mod outbound;
mod passing;
mod redirect;
mod registering;
mod relay;
mod reliable;
mod service;
mod session_timer;
mod setup;
mod state;
mod transfer;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use contract::{Command, Event, Homes, Link, Timestamp, WorkerId};
use rand::rngs::StdRng;

use crate::agent::Output;
use crate::identity::Identity;
use crate::installer::NextHopQuery;
use crate::resolver::{Heard, Resolver};
use crate::session::{Engine, EngineOutput};
use crate::settings::Settings;
use crate::sip::typed::Via;
use crate::sip::{Message, ParseErrorKind, StatusCode};
use crate::transaction::Path;
use crate::trunks::TrunkView;
use crate::wall_clock::WallClock;

use self::alarms::Alarm;
use self::call::Call;
use self::context::Context;
use self::ending::Cause;

pub(crate) use elsewhere::Elsewhere;

pub use dry_run::{DryAttempt, DryRun};
pub use state::{CallState, Row, TABLE, Trigger};
pub use transfer::{TRANSFER_TABLE, TransferRow, TransferStage, TransferTrigger};
pub use view::{
    AuthenticationCounters, CallDetail, CallId, CallSummary, Counters, Gauges, LegView,
};

/// Every call, and what they work with.
#[derive(Debug)]
pub(crate) struct B2bua {
    cx: Context,
    calls: BTreeMap<CallId, Box<Call>>,
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

    /// Takes new settings, which [`Settings::check_successor_of`] the present ones.
    pub(crate) fn reconfigure(&mut self, settings: Settings) {
        self.cx.reconfigure(settings);
    }

    /// Sets the time of all that follows.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        self.cx.now = now;
    }

    /// Tells the time of day, from now on.
    pub(crate) fn set_wall_clock(&mut self, clock: WallClock) {
        self.cx.wall = clock;
    }

    pub(crate) fn on_datagram(&mut self, path: Path, bytes: &[u8]) {
        if self.may_enter(path, bytes) {
            self.cx.transactions.receive(self.cx.now, path, bytes);
        }
    }

    pub(crate) fn on_send_failed(&mut self, path: Path) {
        self.cx.transactions.transport_failed(self.cx.now, path);
    }

    pub(crate) fn on_identified(&mut self, path: Path, identity: Identity) {
        self.cx.identities.note(path, identity);
    }

    pub(crate) fn on_connection_lost(&mut self, path: Path) {
        self.cx.identities.forget(path);
        self.cx.transactions.connection_lost(self.cx.now, path);
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, event: Event) {
        self.tell_latch(&event);
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

    pub(crate) fn on_dns(&mut self, heard: Heard) {
        self.cx.resolver.on_heard(heard, self.cx.now);
        self.take_news();
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.cx.resolver
    }

    pub(crate) fn set_homes(&mut self, homes: Homes) {
        self.cx.engine.set_homes(homes);
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self) {
        self.cx.transactions.on_time(self.cx.now);
        self.cx.registrations.on_time(self.cx.now);
        self.cx.engine.on_time(self.cx.now);
        self.cx.resolver.on_time(self.cx.now);
        self.take_news();
        while let Some(id) = self.cx.timers.expire(self.cx.now) {
            self.with_call(id, |call, cx| call.on_no_answer(cx));
        }
        while let Some(id) = self.cx.patience.expire(self.cx.now) {
            self.with_call(id, |call, cx| call.on_silence(cx));
        }
        self.check_peers();
        while let Some((id, alarm)) = self.cx.alarms.expire(self.cx.now) {
            self.with_call(id, |call, cx| match alarm {
                Alarm::Reliable => call.on_reliable_due(cx),
                Alarm::Session(side) => call.on_session_due(cx, side),
                Alarm::Transfer => call.on_transfer_due(cx),
            });
        }
    }

    /// When [`Self::on_time`] must be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let cx = &self.cx;
        [
            cx.transactions.deadline(),
            cx.registrations.deadline(),
            cx.engine.deadline(),
            cx.resolver.deadline(),
            cx.timers.next(),
            cx.patience.next(),
            cx.trunks.deadline(),
            cx.alarms.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Refuses new calls from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.cx.registrations.stop(self.cx.now);
    }

    /// Whether the trunks know the sender, or the request belongs to a dialog that there is.
    pub(crate) fn knows(&self, path: Path, message: Option<&Message>) -> bool {
        self.cx.trunk_of(path).is_some()
            || message.is_some_and(|message| {
                let to = message.to().ok();
                let tag = to.as_ref().and_then(|to| to.tag());
                tag.is_some_and(|tag| self.cx.index.tag(tag).is_some())
            })
    }

    /// Whether nothing is taken from this address at all.
    pub(crate) fn denies(&self, remote: SocketAddr) -> bool {
        let deny = &self.cx.settings.deny;
        deny.iter().any(|network| network.contains(&remote.ip()))
    }

    /// Whether an INVITE with this top Via has a transaction.
    pub(crate) fn has_invite(&self, via: &Via) -> bool {
        self.cx.transactions.has_invite(via)
    }

    /// Whether the room for transactions is all but used up.
    pub(crate) fn is_crowded(&self) -> bool {
        let used = self.cx.transactions.held();
        used >= self.cx.settings.limits.transactions / 10 * 9
    }

    /// The trunks as the operator sees them.
    pub(crate) fn trunks(&self) -> Vec<TrunkView> {
        self.cx.trunks.views(self.cx.now)
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
        self.calls.is_empty() && (!self.closed || self.cx.registrations.is_idle())
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
            self.take_news();
            self.cx.ask_for_ended_flows();
            if !self.cx.elsewhere.is_empty() {
                return None;
            }
            // Before the commands that remove what is to be measured.
            if let Some(output) = self.cx.outbox.pop_front() {
                return Some(output);
            }
            if let Some(occurrence) = self.cx.transactions.poll() {
                if let Some(output) = self.on_occurrence(occurrence) {
                    return Some(output);
                }
                continue;
            }
            if let Some(ask) = self.cx.resolver.poll_ask() {
                return Some(Output::Dns(ask));
            }
            if self.send_registers() {
                continue;
            }
            match self.cx.engine.poll()? {
                EngineOutput::Command { worker, command } => {
                    return Some(Output::Command { worker, command });
                }
                EngineOutput::Resolve(query) => return Some(Output::Resolve(query)),
                EngineOutput::Forget(query) => return Some(Output::Forget(query)),
                EngineOutput::Ready(ticket) => match self.cx.index.take_ticket(ticket) {
                    Some(id) => self.with_call(id, |call, cx| call.on_ready(cx, ticket)),
                    None => self.cx.elsewhere.push_back(Elsewhere::Ready(ticket)),
                },
                EngineOutput::Failed(ticket, why) => match self.cx.index.take_ticket(ticket) {
                    Some(id) => self.with_call(id, |call, cx| call.on_failed(cx, ticket, why)),
                    None => self.cx.elsewhere.push_back(Elsewhere::Failed(ticket, why)),
                },
                EngineOutput::MediaTimeout(session) => match self.cx.index.session(session) {
                    Some(id) => {
                        self.with_call(id, |call, cx| call.hang_up(cx, Cause::MediaTimeout));
                    }
                    None => self
                        .cx
                        .elsewhere
                        .push_back(Elsewhere::MediaTimeout(session)),
                },
                EngineOutput::Provisioned(session, what) => {
                    let news = Elsewhere::Provisioned(session, what);
                    self.cx.elsewhere.push_back(news);
                }
            }
        }
    }

    /// The session engine, for those who are no call.
    pub(crate) fn engine(&self) -> &Engine {
        &self.cx.engine
    }

    /// The same, to open and close sessions of one's own.
    pub(crate) fn engine_mut(&mut self) -> &mut Engine {
        &mut self.cx.engine
    }

    /// The next news of a session that is no call's. Nothing else comes of [`Self::poll`] before it is heard.
    pub(crate) fn next_elsewhere(&mut self) -> Option<Elsewhere> {
        self.cx.elsewhere.pop_front()
    }

    /// The time of day.
    pub(crate) const fn wall_clock(&self) -> WallClock {
        self.cx.wall
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
            transfer: call.transfer_stage(),
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
            peer_changes: self.cx.trunks.changes(),
            authentication: AuthenticationCounters {
                callers: self.cx.guard.tally(),
                ..self.cx.counters.authentication
            },
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
            leases: self.cx.trunks.ledger().held(),
            bandwidth: self.cx.trunks.ledger().bandwidth(),
            resolving: self.cx.unsent.len(),
            owned: self.cx.index.held() + self.cx.challenges.held(),
            sessions: media.sessions,
            provisioned: media.provisioned,
            flows: media.flows,
            next_hops: media.next_hops,
            ports_in_use: media.ports.iter().map(|ports| ports.in_use).sum(),
            ports_resting: media.ports.iter().map(|ports| ports.resting).sum(),
        }
    }
}
