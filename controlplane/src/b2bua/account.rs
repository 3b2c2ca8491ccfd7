//! What a call gives account of: the record that is left of it, and the notes in its story.
//!
//! The rest of the module says in one line each what happened; nothing here changes what a call does.

use std::collections::VecDeque;

use contract::{Event, Timestamp};

use crate::agent::{FlowOwner, FlowToMeasure, Output};
use crate::overload::Shed;
use crate::records::{
    self, CallRecord, FlowRecord, LegRecord, MOST_TRIES, Measured, Outcome, Release, Releaser, Try,
    q850,
};
use crate::routing::{Decision, Target};
use crate::session::SessionView;
use crate::settings::TrunkId;
use crate::sip::{Header, HeaderName, Message, StatusCode};
use crate::story::{Mirrored, StoryView, Way, What, Whose};
use crate::transaction::Path;

use super::call::Call;
use super::context::Context;
use super::elsewhere::Elsewhere;
use super::{B2bua, CallId, CallState, Trigger};

/// Reason headers are kept up to this length.
const LONGEST_REASON: usize = 256;

/// Targets of a route that its story names.
const MOST_TARGETS: usize = 8;

/// Stands for the trunk of who is at none.
const NO_TRUNK: TrunkId = TrunkId(u16::MAX);

/// What a call remembers for its record.
#[derive(Debug, Default)]
pub(super) struct Account {
    ringing: Option<Timestamp>,
    /// Who called, where another party has the caller's place now.
    caller: Option<Box<LegRecord>>,
    release: Option<Box<Release>>,
    tries: Vec<Try>,
    /// The present target is beyond [`MOST_TRIES`].
    unlisted: bool,
    media: Option<SessionView>,
    flows: Vec<FlowRecord>,
    /// Steps that the story has not been told of.
    steps: Vec<(Trigger, CallState)>,
}

impl Account {
    /// The call has moved on.
    pub(super) fn step(&mut self, trigger: Trigger, next: CallState) {
        self.steps.push((trigger, next));
    }

    /// The callee rings.
    pub(super) fn rings(&mut self, now: Timestamp, code: StatusCode) {
        if (180..190).contains(&code.as_u16()) {
            self.ringing.get_or_insert(now);
        }
    }

    /// The last target has come to this.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        if let Some(last) = self.tries.last_mut().filter(|_| !self.unlisted) {
            last.outcome = outcome;
        }
    }
}

/// Who ended a call and why, before the time and the Reason are added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) by: Releaser,
    pub(super) cause: &'static str,
    pub(super) code: Option<StatusCode>,
}

impl Cut {
    pub(super) const fn new(by: Releaser, cause: &'static str, code: StatusCode) -> Self {
        Self {
            by,
            cause,
            code: Some(code),
        }
    }
}

impl Call {
    /// The call is being ended. What is said first counts: it is nearest to the reason.
    pub(super) fn released(&mut self, cx: &mut Context, cut: Cut, reason: Option<&Header>) {
        if self.account.release.is_some() {
            return;
        }
        let release = release(cx.now, cut, reason);
        cx.stories
            .tell(cx.now, self.id, What::Released(Box::new(release.clone())));
        self.account.release = Some(Box::new(release));
    }

    /// The call is offered to a target now, in a leg of this Call-ID if that is a new one.
    pub(super) fn tries(&mut self, cx: &mut Context, target: &Target, call_id: Option<String>) {
        let trunk = cx.trunk_name(target.trunk).to_owned();
        let text = format!("{trunk} at {}", target.peer);
        if let Some(call_id) = call_id {
            cx.stories.add_call_id(self.id, &call_id);
        }
        cx.stories.tell(cx.now, self.id, What::Target(text.into()));
        self.account.unlisted = self.account.tries.len() >= MOST_TRIES;
        if !self.account.unlisted {
            self.account.tries.push(Try {
                trunk,
                peer: target.peer,
                outcome: Outcome::Pending,
            });
        }
    }

    /// Another party takes the caller's place: the record keeps who called.
    pub(super) fn note_caller(&mut self, cx: &Context) {
        if self.account.caller.is_none() {
            self.account.caller = Some(Box::new(self.caller_record(cx)));
        }
    }

    fn caller_record(&self, cx: &Context) -> LegRecord {
        leg(cx, self.caller.trunk, self.caller.path, &self.caller.invite)
    }

    /// The media are about to be released.
    pub(super) fn note_media(&mut self, cx: &Context) {
        if let Some(view) = self.session.and_then(|id| cx.engine.describe(id)) {
            self.account.media = Some(view);
        }
    }

    /// Tells the story what the call did meanwhile.
    pub(super) fn tell_steps(&mut self, cx: &mut Context) {
        for (trigger, next) in self.account.steps.drain(..) {
            cx.stories
                .tell(cx.now, self.id, What::Step { trigger, next });
        }
    }

    /// What is left of the call; it is over.
    fn record(&mut self, cx: &mut Context) -> CallRecord {
        let account = std::mem::take(&mut self.account);
        let own = Cut {
            by: Releaser::Tandem,
            cause: "unknown",
            code: None,
        };
        let caller = match account.caller {
            Some(caller) => *caller,
            None => self.caller_record(cx),
        };
        let callee = self.attempt.as_ref().map(|attempt| {
            let path = Path::to(attempt.target.listener, attempt.target.peer);
            let path = self.pairs.first().map_or(path, |pair| pair.callee.path());
            leg(cx, attempt.target.trunk, path, &attempt.invite)
        });
        CallRecord {
            id: self.id,
            caller,
            callee,
            tries: account.tries,
            started: self.started,
            ringing: account.ringing,
            answered: self.answered,
            release: account
                .release
                .map_or_else(|| release(cx.now, own, None), |known| *known),
            media: account.media,
            flows: account.flows,
        }
    }
}

impl Context {
    /// Asks for the counts of every flow that has come to its end. Before the session is forgotten.
    pub(super) fn ask_for_ended_flows(&mut self) {
        while let Some(ended) = self.engine.next_ended() {
            let Some(call) = self.index.session(ended.session) else {
                self.elsewhere.push_back(Elsewhere::Ended(ended));
                continue;
            };
            self.outbox.push_back(Output::Measure(FlowToMeasure {
                owner: FlowOwner::Call(call),
                from: ended.from,
                key: ended.key,
                rtp: ended.rtp,
                reports: ended.reports,
            }));
        }
    }

    /// The route that a call takes.
    pub(super) fn tell_route(
        &mut self,
        call: CallId,
        from: TrunkId,
        (user, decision): (&str, &Decision),
        to: &[Target],
    ) {
        let route = decision.route_name().unwrap_or("no route");
        let mut text = format!("{user:?} from {} by {route} to ", self.trunk_name(from));
        for (place, target) in to.iter().take(MOST_TARGETS).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let trunk = self.trunk_name(target.trunk);
            text.push_str(&format!("{comma}{trunk} at {}", target.peer));
            let mut candidates = decision.candidates.iter();
            let why = candidates.find(|candidate| candidate.trunk == target.trunk);
            let why = why.map(ToString::to_string).unwrap_or_default();
            if !why.is_empty() {
                text.push_str(&format!(" ({why})"));
            }
        }
        match to.len().saturating_sub(MOST_TARGETS) {
            0 if to.is_empty() => text.push_str("nobody"),
            0 => {}
            more => text.push_str(&format!(", and {more} more")),
        }
        self.stories.tell(self.now, call, What::Routed(text.into()));
    }
}

impl B2bua {
    /// A message passed a listener.
    pub(crate) fn witness(&mut self, path: Path, way: Way, bytes: &[u8]) {
        self.cx.stories.witness(self.cx.now, path, way, bytes);
    }

    pub(crate) fn next_mirrored(&mut self) -> Option<Mirrored> {
        self.cx.stories.next_mirrored()
    }

    pub(crate) fn story(&self, whose: Whose<'_>) -> Option<StoryView> {
        self.cx.stories.view(whose)
    }

    pub(crate) fn story_counts(&self) -> crate::story::Counts {
        self.cx.stories.counts()
    }

    pub(crate) fn keeps_messages(&self) -> bool {
        self.cx.stories.keeps_messages()
    }

    pub(crate) fn keep_messages(&mut self, keep: bool) {
        self.cx.stories.keep_messages(keep);
    }

    /// Nothing more will come of the calls that are left: each leaves its record.
    pub(crate) fn abandon(&mut self) {
        while let Some((id, mut call)) = self.calls.pop_first() {
            let cx = &mut self.cx;
            let cut = Cut {
                by: Releaser::Tandem,
                cause: "abandoned",
                code: None,
            };
            call.released(cx, cut, None);
            call.release_media(cx);
            Self::give_account(cx, &mut call);
            call.leave(cx);
            tracing::warn!(call = id.0, "a call is given up without an end");
        }
    }

    /// A flow was counted: for a call that is up, or for the record of one that has just ended.
    pub(crate) fn on_measured(&mut self, flow: FlowToMeasure, measured: Measured) {
        let record = FlowRecord {
            from: flow.from,
            key: flow.key,
            rtp: flow.rtp,
            measured,
        };
        let FlowOwner::Call(id) = flow.owner else {
            return;
        };
        let cx = &mut self.cx;
        cx.stories
            .tell(cx.now, id, What::FlowEnded(Box::new(record)));
        match self.calls.get_mut(&id) {
            Some(call) => records::add_flow(&mut call.account.flows, record),
            None => add_to_record(&mut cx.outbox, id, record),
        }
    }

    /// A worker believes a source now.
    pub(super) fn tell_latch(&mut self, event: &Event) {
        let Event::Latched { flow, remote, .. } = event else {
            return;
        };
        if let Some((session, key)) = self.cx.engine.session_of(*flow)
            && let Some(call) = self.cx.index.session(session)
        {
            let what = What::Latched(Box::new((key, *remote)));
            self.cx.stories.tell(self.cx.now, call, what);
        }
    }

    /// The call is over, and leaves its record behind.
    pub(super) fn give_account(cx: &mut Context, call: &mut Call) {
        call.tell_steps(cx);
        let record = call.record(cx);
        cx.stories.finish(record.id);
        cx.outbox.push_back(Output::CallEnded(Box::new(record)));
    }

    /// An INVITE that would have begun a call is refused: it has a number, a story and a record, too.
    pub(super) fn note_refused(&mut self, invite: &Message, path: Path, code: StatusCode) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let cx = &mut self.cx;
        let call_id = invite.call_id().unwrap_or_default();
        cx.stories.begin(cx.now, id, &call_id);
        let cause = match code {
            StatusCode::NOT_FOUND => "no_route",
            StatusCode::SERVICE_UNAVAILABLE if self.closed => "drain",
            StatusCode::SERVICE_UNAVAILABLE => "limit",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::LOOP_DETECTED => "loop",
            StatusCode::TOO_MANY_HOPS => "hops",
            _ => "refused",
        };
        let release = release(cx.now, Cut::new(Releaser::Tandem, cause, code), None);
        cx.stories
            .tell(cx.now, id, What::Released(Box::new(release.clone())));
        cx.stories.finish(id);
        let trunk = cx.trunk_of(path);
        let caller = leg(cx, trunk.unwrap_or(NO_TRUNK), path, invite);
        cx.leave_refused(id, caller, release);
    }

    /// An INVITE was refused for want of time, before it was looked at: it leaves a record, and no story that
    /// others would have to go for.
    pub(crate) fn note_shed(&mut self, shed: Shed, path: Path) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let cx = &mut self.cx;
        let cut = Cut::new(
            Releaser::Tandem,
            "overload",
            StatusCode::SERVICE_UNAVAILABLE,
        );
        let release = release(cx.now, cut, None);
        let trunk = cx.trunk_of(path).unwrap_or(NO_TRUNK);
        let caller = LegRecord {
            call_id: shed.call_id,
            uri: shed.uri,
            from: shed.from,
            to: shed.to,
            ..blank_leg(cx, trunk, path)
        };
        cx.leave_refused(id, caller, release);
    }
}

impl Context {
    /// The record of an INVITE that has become no call.
    fn leave_refused(&mut self, id: CallId, caller: LegRecord, release: Release) {
        self.outbox
            .push_back(Output::CallEnded(Box::new(CallRecord {
                id,
                caller,
                callee: None,
                tries: Vec::new(),
                started: self.now,
                ringing: None,
                answered: None,
                release,
                media: None,
                flows: Vec::new(),
            })));
    }
}

fn add_to_record(outbox: &mut VecDeque<Output>, call: CallId, flow: FlowRecord) {
    let record = outbox.iter_mut().find_map(|output| match output {
        Output::CallEnded(record) if record.id == call => Some(record),
        _ => None,
    });
    if let Some(record) = record {
        record.add_flow(flow);
    }
}

fn release(now: Timestamp, cut: Cut, reason: Option<&Header>) -> Release {
    let reason = reason.map(|field| printable(&field.value()));
    let (q850, sip) = reason.as_deref().map_or((None, None), q850::read_reason);
    let code = cut.code.map(StatusCode::as_u16).or(sip);
    let by_code = match code {
        Some(code) => q850::cause_of(code),
        None => Some(q850::NORMAL_CLEARING),
    };
    Release {
        at: now,
        by: cut.by,
        cause: cut.cause,
        code,
        q850: q850.or(by_code),
        reason,
    }
}

/// What a terminal shows as it is.
fn printable(bytes: &[u8]) -> Box<str> {
    let text = bytes.iter().take(LONGEST_REASON);
    let text = text.map(|&byte| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    });
    text.collect::<String>().into()
}

fn leg(cx: &Context, trunk: TrunkId, path: Path, invite: &Message) -> LegRecord {
    let name = |name: Result<crate::sip::typed::NameAddr, _>| {
        name.map_or_else(
            |_: crate::sip::typed::TypedError| String::new(),
            |name| name.uri.to_string(),
        )
    };
    LegRecord {
        call_id: invite.call_id().unwrap_or_default(),
        uri: invite.uri().map(ToString::to_string).unwrap_or_default(),
        from: name(invite.from()),
        to: name(invite.to()),
        ..blank_leg(cx, trunk, path)
    }
}

/// A leg of which is known where it is, and not what it says.
fn blank_leg(cx: &Context, trunk: TrunkId, path: Path) -> LegRecord {
    let listener = cx.settings.listeners.get(usize::from(path.listener.0));
    LegRecord {
        trunk: match trunk {
            NO_TRUNK => String::new(),
            trunk => cx.trunk_name(trunk).to_owned(),
        },
        call_id: String::new(),
        local: listener.map(|listener| listener.announced()),
        remote: path.remote,
        uri: String::new(),
        from: String::new(),
        to: String::new(),
    }
}

/// The Reason of a message.
pub(super) fn reason_of(message: &Message) -> Option<&Header> {
    message.headers.first(&HeaderName::Reason)
}
