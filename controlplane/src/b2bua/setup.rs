//! The caller's INVITE: offered to one target after another until one takes it.

use contract::Timestamp;

use crate::records::{Outcome, Releaser};
use crate::routing::Target;
use crate::session::{Rewritten, SessionError, Side};
use crate::settings::{Failover, Takeover, TrunkId};
use crate::sip::typed::{Host, NameAddr, Uri};
use crate::sip::{Header, HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::TransactionError;

use super::account::{self, Cut};
use super::call::{Attempt, Call, code_of};
use super::context::Context;
use super::held::Then;
use super::index::Owner;
use super::late_answers::LateAnswers;
use super::negotiation::Focus;
use super::outbound::{at_domain, named_at_domain};
use super::{Trigger, passing, reliable, session_timer};
use crate::dialog::MAX_FORWARDS;

/// How many times the no-answer time a callee may ring in all. Each provisional response starts
/// timer C anew (RFC 3261 §16.7), and RFC 3261 §13.3.1.1 asks callees to send one a minute: without a bound
/// a callee that does so rings for ever; with a small one, queues that announce waiting times break.
const LONGEST_RINGING: u32 = 4;

/// The host of callers that want to stay unknown (RFC 3323 §4.1.1.3): it names nobody's network.
pub(super) const ANONYMOUS_HOST: &str = "anonymous.invalid";

/// Why a target is given up.
#[derive(Debug)]
pub(super) enum Setback {
    /// The target's final response.
    Response(Message),
    /// No response at all.
    Timeout,
    /// It cannot be reached.
    Unreachable,
}

impl Setback {
    /// What a story says of it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Response(_) => "the request has failed",
            Self::Timeout => "no response: the request is given up",
            Self::Unreachable => "the request could not be sent",
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Response(response) => {
                Outcome::Code(response.code().map_or(0, StatusCode::as_u16))
            }
            Self::Timeout => Outcome::Timeout,
            Self::Unreachable => Outcome::Unreachable,
        }
    }
}

impl Call {
    /// Makes the offer for the next target; the INVITE leaves once its flows are there.
    pub(super) fn try_next_target(&mut self, cx: &mut Context) {
        let mut code = StatusCode::NOT_FOUND;
        while let Some(target) = self.next_target(cx.now) {
            self.forget_attempt(cx);
            let policy = reliable::policy(cx, target.trunk);
            let reliable = match reliable::offered(policy, self.caller.reliable, self.has_offer()) {
                Ok(reliable) => reliable,
                Err(refused) => {
                    code = refused;
                    continue;
                }
            };
            if self.lease_target(cx, target).is_err() {
                cx.counters.full_targets += 1;
                let note = What::Note("the target's trunk has no room");
                cx.stories.tell(cx.now, self.id, note);
                code = StatusCode::SERVICE_UNAVAILABLE;
                continue;
            }
            match self.prepare(cx, target, reliable) {
                Ok(rewritten) => {
                    let (sdp, ticket) = match rewritten {
                        Some(Rewritten { sdp, ticket }) => (Some(sdp), ticket),
                        None => (None, None),
                    };
                    return self.when_ready(cx, ticket, Then::Invite(sdp));
                }
                Err(error) => code = code_of(cx, &error),
            }
            // What one target's media group lacks, ports or a family, another's may have; what cannot be
            // read is no better elsewhere.
            if code == StatusCode::BAD_REQUEST {
                break;
            }
        }
        self.targets.clear();
        self.redirection.clear();
        self.step(Trigger::Failure);
        self.reject(cx, code);
    }

    fn prepare(
        &mut self,
        cx: &mut Context,
        target: Target,
        reliable: Option<HeaderName>,
    ) -> Result<Option<Rewritten>, SessionError> {
        let path = cx.way_out(target);
        let callee = cx.leg_spec(target.trunk, path);
        let session = match self.session {
            Some(session) => {
                cx.engine.retarget(cx.now, session, Side::B, callee)?;
                session
            }
            None => {
                let caller = cx.leg_spec(self.caller.trunk, self.caller.path);
                let session = cx.engine.open(cx.now, caller, callee)?;
                cx.index.add_session(session, self.id);
                self.session = Some(session);
                session
            }
        };
        let offer = passing::sdp_of(&self.caller.invite);
        let rewritten = match offer {
            Some(sdp) => Some(cx.engine.offer(cx.now, session, Side::A, sdp)?),
            None => None,
        };
        self.focus = Focus::default();
        let tag = cx.tokens.tag();
        cx.index.add_tag(&tag, self.id, Side::B);
        let wished = self.redirected_invite();
        let from = self.caller.trunk;
        let mut invite = callee_invite(cx, from, &wished, cx.leaving(target), &tag);
        if let Some(header) = &reliable {
            invite.headers.push(header.clone(), reliable::OPTION);
        }
        let asked = &self.caller.invite;
        session_timer::ask_callee(cx, self.caller.trunk, target.trunk, asked, &mut invite);
        self.timers.forget_callee();
        let ringing = cx.settings.no_answer.saturating_mul(LONGEST_RINGING);
        self.tries(cx, &target, invite.call_id().ok());
        self.attempt = Some(Attempt {
            target,
            invite,
            tag,
            key: None,
            reliable: reliable.is_some(),
            owes_ack: false,
            heard: false,
            rings_until: cx.now + ringing,
        });
        Ok(rewritten)
    }

    /// The flows are there: the INVITE leaves.
    pub(super) fn send_invite(&mut self, cx: &mut Context, sdp: Option<Vec<u8>>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if let Some(sdp) = sdp {
            passing::set_sdp(&mut attempt.invite, sdp);
        }
        let path = cx.way_out(attempt.target);
        match cx.forward(self.id, self.caller.key, attempt.invite.clone(), path) {
            Ok(key) => {
                attempt.key = Some(key);
                cx.timers.set(self.id, cx.now + cx.settings.no_answer);
                self.step(Trigger::FlowsReady);
                self.measure_media(cx);
                self.await_target(cx);
            }
            Err(TransactionError::Full) => {
                self.step(Trigger::Failure);
                self.reject(cx, StatusCode::SERVICE_UNAVAILABLE);
            }
            Err(TransactionError::TooLate | TransactionError::Unfit) => {
                self.step(Trigger::Failure);
                self.reject(cx, StatusCode::SERVER_INTERNAL_ERROR);
            }
        }
    }

    /// The target is given up. The next is tried when this one is silent, unreachable or out of
    /// service; any other answer is the callee's, and the caller gets it.
    pub(super) fn on_setback(&mut self, cx: &mut Context, setback: Setback) {
        cx.timers.clear(self.id);
        self.account.outcome(setback.outcome());
        if self.state() == super::CallState::Cancelling {
            self.step(Trigger::Failure);
            return;
        }
        if let Setback::Response(response) = &setback
            && (self.ask_for_longer(cx, response) || self.follow(cx, response))
        {
            return;
        }
        let another = match &setback {
            Setback::Response(response) => self.leads_on(cx, response),
            Setback::Timeout | Setback::Unreachable => {
                self.blame_target(cx);
                true
            }
        };
        if another && self.fail_over(cx) {
            return;
        }
        if !self.step(Trigger::Failure) {
            return;
        }
        match setback {
            Setback::Response(response) => {
                let code = response.code().unwrap_or(StatusCode::SERVER_INTERNAL_ERROR);
                let cut = Cut::new(Releaser::Callee, "failure", code);
                self.released(cx, cut, account::reason_of(&response));
                let tag = self.caller.tag.clone();
                let mut passed = passing::response(&self.caller.invite, Some(&tag), &response);
                cx.sign(&mut passed);
                cx.cross(self.way_from(Side::B), &response, &mut passed);
                self.reject_with(cx, passed);
            }
            Setback::Timeout => {
                let code = StatusCode::REQUEST_TIMEOUT;
                self.released(cx, Cut::new(Releaser::Tandem, "timeout", code), None);
                self.reject(cx, code);
            }
            Setback::Unreachable => {
                let code = StatusCode::SERVICE_UNAVAILABLE;
                self.released(cx, Cut::new(Releaser::Tandem, "unreachable", code), None);
                self.reject(cx, code);
            }
        }
    }

    /// Whether the target's failure leads to the next one, as its trunk is configured.
    fn leads_on(&self, cx: &Context, response: &Message) -> bool {
        let code = response.code().map_or(0, StatusCode::as_u16);
        // A redirection names its Contacts for the very case that one of them fails (RFC 3261 §8.1.3.4).
        self.redirection.has_more() && code < 600 || self.failover(cx).codes.contains(&code)
    }

    fn failover(&self, cx: &Context) -> Failover {
        let trunk = self.trunk(Side::B);
        let trunk = cx.settings.trunks.get(usize::from(trunk.0));
        trunk.map_or_else(Failover::default, |trunk| trunk.failover.clone())
    }

    /// Goes on to the next target, if there is one and there is time for it; false when not.
    fn fail_over(&mut self, cx: &mut Context) -> bool {
        let until = self.searching_since() + self.failover(cx).total;
        let in_time = cx.now < until || self.redirection.has_more();
        if !self.has_target() || !in_time || !self.step(Trigger::NextTarget) {
            return false;
        }
        cx.counters.failovers += 1;
        self.move_on(cx);
        true
    }

    /// Leaves the present target for the next.
    pub(super) fn move_on(&mut self, cx: &mut Context) {
        for ticket in self.held.clear() {
            cx.index.take_ticket(ticket);
        }
        self.try_next_target(cx);
    }

    /// Since when somebody who answers is looked for: a redirection starts anew.
    fn searching_since(&self) -> Timestamp {
        self.redirection.since().unwrap_or(self.started)
    }

    /// The INVITE is out: for how long its target may be silent. The last one may be until the caller has to be
    /// answered.
    fn await_target(&mut self, cx: &mut Context) {
        let failover = self.failover(cx);
        let total = self.searching_since() + failover.total;
        let until = match self.has_target() {
            false => total,
            true => total.min(cx.now + failover.after),
        };
        cx.patience.set(self.id, until.max(cx.now));
    }

    /// The target has said nothing at all for too long.
    pub(super) fn on_silence(&mut self, cx: &mut Context) {
        if self.state() != super::CallState::Calling {
            return;
        }
        cx.counters.silent_targets += 1;
        let note = What::Note("the target has been silent for too long");
        cx.stories.tell(cx.now, self.id, note);
        self.account.outcome(Setback::Timeout.outcome());
        self.blame_target(cx);
        let given_up = self.attempt.as_ref().and_then(|attempt| {
            let late = LateAnswers::Forks {
                trunk: attempt.target.trunk,
                invite: Box::new(attempt.invite.clone()),
                settled: Vec::new(),
            };
            Some((attempt.key?, late))
        });
        if !self.fail_over(cx) {
            let code = StatusCode::REQUEST_TIMEOUT;
            self.released(cx, Cut::new(Releaser::Tandem, "timeout", code), None);
            return self.withdraw(cx, Trigger::NoAnswer, code, None);
        }
        // It may still answer: that is acknowledged and ended, and it rings for nobody.
        if let Some((key, late)) = given_up {
            cx.index.hand_over(key, Owner::LateAnswers(Box::new(late)));
            let reason = Header::new(
                HeaderName::Reason,
                "SIP;cause=408;text=\"Another was called\"",
            );
            if cx.transactions.cancel(cx.now, key, vec![reason]).is_err() {
                cx.drop_of(self.id, "cancel_too_late");
            }
        }
    }

    /// The caller's final response is a failure of our own.
    pub(super) fn reject(&mut self, cx: &mut Context, code: StatusCode) {
        let mut response = cx.own_response(&self.caller.invite, code, Some(&self.caller.tag));
        if code == StatusCode::EXTENSION_REQUIRED {
            response.headers.push(HeaderName::Require, reliable::OPTION);
        }
        self.reject_with(cx, response);
    }

    pub(super) fn reject_with(&mut self, cx: &mut Context, mut response: Message) {
        if let Some(rules) = cx.normalisation(self.caller.trunk) {
            rules.explain(&mut response);
        }
        let code = response.code().map_or(0, StatusCode::as_u16);
        *cx.counters.calls_failed.entry(code).or_default() += 1;
        let cut = Cut {
            by: Releaser::Tandem,
            cause: "refused",
            code: response.code(),
        };
        self.released(cx, cut, None);
        cx.respond(self.caller.key, response);
        self.release_media(cx);
    }
}

/// The INVITE for a callee, without body: nothing in it names the caller's side but what the caller
/// says of itself in the headers that pass.
pub(super) fn callee_invite(
    cx: &mut Context,
    from_trunk: TrunkId,
    invite: &Message,
    target: Target,
    tag: &str,
) -> Message {
    let (host, port) = host_of(cx, target);
    let uri = match invite.uri() {
        Some(uri) => addressed_to(uri, &host, port),
        None => Uri::sip_at(None, host.clone(), port),
    };
    let domain = cx.domain_of(target);
    let uri = at_domain(uri, domain);
    let mut message = Message::request(Method::Invite, uri);
    let hops = invite.max_forwards().ok().flatten();
    let hops = hops.map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    let own = cx.settings.listeners.get(usize::from(target.listener.0));
    let from = invite.from().ok().map(|from| match own {
        Some(own) => {
            let own = own.announced();
            let from = hidden(from, &Host::from(own.ip()), Some(own.port()));
            named_at_domain(from, domain)
        }
        None => from,
    });
    let to = invite.to().ok();
    let to = to.map(|to| named_at_domain(hidden(to, &host, port), domain));
    let routes = cx.routes_out(target);
    let call_id = cx.tokens.call_id();
    let headers = &mut message.headers;
    headers.push(HeaderName::MaxForwards, hops.to_string());
    for route in routes {
        headers.push(HeaderName::Route, route.to_bytes());
    }
    if let Some(from) = from {
        headers.push(HeaderName::From, from.with_tag(tag).to_bytes());
    }
    if let Some(to) = to {
        headers.push(HeaderName::To, to.to_bytes());
    }
    headers.push(HeaderName::CallId, call_id);
    headers.push(HeaderName::CSeq, "1 INVITE");
    cx.introduce(&mut message, target.listener);
    passing::pass(invite, &mut message);
    if cx.transfer_policy(from_trunk).replaces == Takeover::Pass {
        passing::pass_replaces(invite, &mut message);
    }
    if let Some(crossing) = cx.crossing(from_trunk, target.trunk) {
        crossing.invite(invite, &mut message);
    }
    cx.withhold_credentials(target.trunk, &mut message);
    message
}

/// What a target is called by: its name if that led there, its address if not.
pub(super) fn host_of(cx: &Context, target: Target) -> (Host, Option<u16>) {
    let peer = target.peer;
    match target.name.and_then(|name| cx.routing.name(name)) {
        Some(name) => (Host::Name(name.host.to_string()), name.port),
        None => (Host::from(peer.ip()), Some(peer.port())),
    }
}

/// The callee's address at the target's host, by its name if that led there: the user and its parameters
/// stay. A telephone number becomes a SIP URI that says it is one (RFC 3261 §19.1.6).
pub(super) fn addressed_to(uri: &Uri, host: &Host, port: Option<u16>) -> Uri {
    if uri.is_sip() {
        return uri.at_host(host.clone(), port);
    }
    let number = uri.decoded_user();
    let plain = Uri::sip_at(number.as_deref(), host.clone(), port);
    let text = format!("{plain};user=phone");
    Uri::parse(text.as_bytes()).unwrap_or(plain)
}

/// The same name and user at a host that this side may know, without any parameters.
pub(super) fn hidden(name: NameAddr, host: &Host, port: Option<u16>) -> NameAddr {
    let anonymous = matches!(
        name.uri.host(),
        Some(Host::Name(host)) if host.eq_ignore_ascii_case(ANONYMOUS_HOST)
    );
    let uri = match name.uri.is_sip() && !anonymous {
        true => name.uri.at_host(host.clone(), port),
        false => name.uri.clone(),
    };
    NameAddr {
        display: name.display,
        ..NameAddr::new(uri)
    }
}
