//! To whom it goes: what the transactions say, brought to the call that it is about, or made into a new
//! call, or refused.

use std::net::SocketAddr;

use crate::agent::Output;
use crate::path::Opened;
use crate::session::Side;
use crate::settings::{TimerMode, TrunkId};
use crate::sip::typed::Host;
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, Occurrence, Path, ServerKey};

use super::admission::{self, Refusal};
use super::call::{Call, Caller};
use super::context::Context;
use super::index::Owner;
use super::setup::Setback;
use super::transfer::{Applicant, Known};
use super::{B2bua, CallId, CallState, reliable, session_timer};

impl B2bua {
    pub(super) fn on_occurrence(&mut self, occurrence: Occurrence) -> Option<Output> {
        match occurrence {
            Occurrence::Transmit {
                path,
                otherwise,
                bytes,
            } => {
                return Some(Output::Send {
                    path,
                    otherwise,
                    bytes,
                });
            }
            Occurrence::Alias {
                path,
                sent_by,
                port,
            } => return self.alias(path, &sent_by, port),
            Occurrence::Request { key, message, path } => self.on_request(key, message, path),
            Occurrence::Ack {
                invite: Some(key),
                message,
                ..
            } => self.with_server(key, |call, cx| match call.caller.key == key {
                true => call.on_caller_ack(cx, &message),
                false => {
                    call.on_relay_ack(cx, key, &message);
                    call.on_newcomer_ack(cx, key);
                }
            }),
            Occurrence::Ack { invite: None, .. } => self.cx.count_dropped("stray_ack"),
            Occurrence::Cancel { invite, message } => {
                self.with_server(invite, |call, cx| match call.caller.key == invite {
                    true => call.on_cancel(cx, &message),
                    false if call.on_applicant_cancel(cx, invite) => {}
                    false => call.on_relay_cancel(cx, invite, &message),
                });
            }
            Occurrence::Response { key, message, path } => self.on_response(key, message, path),
            Occurrence::Challenged {
                key,
                message,
                path,
                sent,
            } => self.on_challenged(key, message, path, &sent),
            Occurrence::Timeout(key) => self.on_lost(key, Setback::Timeout),
            Occurrence::TransportError(key) => self.on_lost(key, Setback::Unreachable),
            Occurrence::Unacknowledged(key) | Occurrence::ServerTransportError(key) => {
                self.with_server(key, |call, cx| {
                    if !call.on_relay_no_ack(cx, key) && call.caller.key == key {
                        call.on_no_ack(cx);
                    }
                    call.on_newcomer_no_ack(cx, key);
                });
            }
            Occurrence::ClientEnded(key) => {
                self.cx.index.remove_client(key);
                self.cx.challenges.ended(key);
            }
            Occurrence::ServerEnded(key) => self.cx.index.remove_server(key),
        }
        None
    }

    /// A connection serves for its peer's own address too if the peer has shown a certificate and names
    /// itself by it, or by the address that it comes from (RFC 5923 §6.2, §9).
    fn alias(&self, path: Path, sent_by: &Host, port: u16) -> Option<Output> {
        let identity = self.cx.identities.of(path)?;
        let is_itself = match sent_by {
            Host::Name(name) => identity.has(name),
            host => host.ip() == Some(path.remote.ip()),
        };
        let alias = SocketAddr::new(path.remote.ip(), port);
        // Behind one address may be several trunks: nobody takes the calls to another.
        let owner = self.cx.trunk_of(path);
        let is_foreign = self.cx.routing.is_of_another(owner, path.listener, alias);
        let is_theirs = path.opened == Opened::ByThem;
        (is_theirs && is_itself && !is_foreign).then_some(Output::Alias { path, alias })
    }

    fn on_request(&mut self, key: ServerKey, mut message: Message, path: Path) {
        self.take_proof(path, &mut message);
        let in_dialog = message.to().is_ok_and(|to| to.tag().is_some());
        if let Err(refusal) = admission::check(&message) {
            if !in_dialog && message.method() == Some(&Method::Invite) {
                self.note_refused(&message, path, refusal.code());
            }
            return refusal.send(&mut self.cx, key, &message);
        }
        match (in_dialog, message.method()) {
            (true, _) => self.on_dialog_request(key, message, path),
            (false, Some(Method::Invite)) => self.on_invite(key, message, path),
            (false, Some(Method::Options)) => self.on_options(key, &message, path),
            (false, Some(Method::Message | Method::Refer | Method::Subscribe)) => {
                Refusal::method_not_allowed().send(&mut self.cx, key, &message)
            }
            // The rest has a meaning only within a dialog.
            (false, _) => self.cx.refuse(key, &message, StatusCode::NO_SUCH_CALL),
        }
    }

    fn on_invite(&mut self, key: ServerKey, mut message: Message, path: Path) {
        let admitted = self.admit(&message, path).and_then(|(trunk, user)| {
            let wanted = self.wants_place(trunk, &mut message)?;
            Ok((trunk, user, wanted))
        });
        let (trunk, user) = match admitted {
            Ok((trunk, user, None)) => (trunk, user),
            Ok((trunk, _, Some(known))) => {
                return self.on_takeover(key, message, (trunk, path), &known);
            }
            Err(refusal) => {
                self.note_refused(&message, path, refusal.code());
                return refusal.send(&mut self.cx, key, &message);
            }
        };
        let user = self.cx.routed_user(trunk, user);
        let decision = self.cx.decide(trunk, &user);
        if decision.candidates.is_empty() {
            self.note_refused(&message, path, StatusCode::NOT_FOUND);
            return self.refuse_unrouted(key, &message, trunk);
        }
        let targets = self.cx.targets(&decision.candidates);
        if targets.is_empty() {
            // Its names lead nowhere: a server that cannot be located is one that cannot be reached (RFC 3261
            // §8.1.3.1).
            let code = StatusCode::SERVICE_UNAVAILABLE;
            self.note_refused(&message, path, code);
            return self.cx.refuse(key, &message, code);
        }
        let reliable = match self.extensions(trunk, &message) {
            Ok(reliable) => reliable,
            Err(refusal) => {
                self.note_refused(&message, path, refusal.code());
                return refusal.send(&mut self.cx, key, &message);
            }
        };
        let lease = match self.cx.lease_caller(trunk, &message) {
            Ok(lease) => lease,
            Err(code) => {
                self.note_refused(&message, path, code);
                return self.cx.refuse(key, &message, code);
            }
        };
        self.cx.counters.calls_offered += 1;
        let id = CallId(self.next_call);
        self.next_call += 1;
        let call_id = message.call_id().unwrap_or_default();
        self.cx.stories.begin(self.cx.now, id, &call_id);
        self.cx.tell_route(id, trunk, (&user, &decision), &targets);
        let caller = Caller {
            trunk,
            path,
            key,
            invite: message,
            tag: self.cx.tokens.tag(),
            reliable,
        };
        self.cx.index.add_server(key, id);
        let mut call = Call::new(id, caller, targets, self.cx.now);
        call.leases.inbound = Some(lease);
        self.calls.insert(id, Box::new(call));
        self.with_call(id, |call, cx| call.try_next_target(cx));
    }

    /// An INVITE with Replaces that is carried out here: it is no call of its own.
    fn on_takeover(
        &mut self,
        key: ServerKey,
        invite: Message,
        (trunk, path): (TrunkId, Path),
        known: &Known,
    ) {
        let admitted = self.extensions(trunk, &invite).and_then(|_| {
            let lease = self.cx.lease_caller(trunk, &invite)?;
            Ok(lease)
        });
        match admitted {
            Ok(lease) => {
                let applicant = Applicant {
                    key,
                    invite,
                    path,
                    trunk,
                    tag: self.cx.tokens.tag(),
                    lease: Some(lease),
                };
                self.begin_takeover(known, applicant);
            }
            Err(refusal) => {
                self.note_refused(&invite, path, refusal.code());
                refusal.send(&mut self.cx, key, &invite);
            }
        }
    }

    /// What the INVITE and its trunk make of the extensions that are each leg's own.
    fn extensions(&self, trunk: TrunkId, invite: &Message) -> Result<reliable::Demand, Refusal> {
        let policy = self.cx.dialog_policy(trunk);
        let timer = &policy.session_timer;
        let required = invite.lists(&HeaderName::Require, session_timer::OPTION);
        if timer.mode == TimerMode::Off && required {
            let code = StatusCode::BAD_EXTENSION;
            return Err(Refusal::extension(code, session_timer::OPTION));
        }
        if session_timer::too_short(timer, invite) {
            return Err(Refusal::interval(timer.min.as_secs()));
        }
        reliable::Demand::of(invite, policy.reliable_provisional)
            .map_err(|code| Refusal::extension(code, reliable::OPTION))
    }

    /// No route applies, or none of its trunks can be reached.
    fn refuse_unrouted(&mut self, key: ServerKey, message: &Message, trunk: TrunkId) {
        let tag = self.cx.tokens.tag();
        let code = StatusCode::NOT_FOUND;
        let mut response = self.cx.own_response(message, code, Some(&tag));
        if let Some(rules) = self.cx.normalisation(trunk) {
            rules.explain(&mut response);
        }
        self.cx.refuse_with(key, response);
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
        if let Err(refusal) = admission::check_scheme(message) {
            return refusal.send(&mut self.cx, key, message);
        }
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
            if self.on_candidate_request(key, &message) {
                return;
            }
            return self.cx.refuse(key, &message, StatusCode::NO_SUCH_CALL);
        };
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let named = self.named_in(&message, (id, side));
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
                Some(Method::Prack) if side == Side::A => call.on_prack(cx, place, key, message),
                // We send no callee anything that it could acknowledge.
                Some(Method::Prack) => cx.refuse(key, &message, StatusCode::NO_SUCH_CALL),
                _ => match admission::check_hops(&message) {
                    Ok(()) if message.method() == Some(&Method::Refer) => {
                        call.on_refer(cx, (side, place), key, message, named);
                    }
                    Ok(()) if message.method() == Some(&Method::Subscribe) => {
                        call.on_subscribe(cx, (side, place), key, message);
                    }
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

    pub(super) fn on_response(&mut self, key: ClientKey, message: Message, path: Path) {
        if self.on_register(key, Some(&message)) {
            return;
        }
        self.cx.challenges.hear(key, &message);
        let id = match self.cx.index.take_client(key) {
            Some(Owner::Call(id)) => id,
            Some(Owner::LateAnswers(mut late)) => {
                late.on_response(&mut self.cx, key, &message, path);
                return self.cx.index.add_client(key, Owner::LateAnswers(late));
            }
            Some(Owner::Check(id)) => {
                self.on_check_response(id, &message);
                return self.cx.index.add_client(key, Owner::Check(id));
            }
            // A registration's is known by now.
            Some(Owner::Registration(..)) | None => return,
        };
        self.cx.index.add_client(key, Owner::Call(id));
        self.with_call(id, |call, cx| {
            let is_final = message.code().is_some_and(|code| code.is_final());
            if call.is_invite(key) {
                call.on_invite_response(cx, key, message, path);
            } else if call.transfers(key) {
                call.on_transfer_response(cx, key, &message, path);
            } else if call.lends(key) {
                call.on_loan_response(cx, &message);
            } else if let Some(side) = call.refreshes(key) {
                call.on_refresh_response(cx, side, &message);
            } else if !call.farewell.byes.contains(&key) {
                call.on_relay_response(cx, key, &message);
            } else if is_final {
                call.on_bye_done(key);
            }
        });
    }

    pub(super) fn on_lost(&mut self, key: ClientKey, setback: Setback) {
        if self.on_register(key, None) || self.on_check_lost(key) {
            return;
        }
        let Some(id) = self.cx.index.call_of(key) else {
            return;
        };
        self.cx
            .stories
            .tell(self.cx.now, id, What::Note(setback.name()));
        let code = match setback {
            Setback::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::REQUEST_TIMEOUT,
        };
        self.with_call(id, |call, cx| {
            if call.is_invite(key) {
                call.on_setback(cx, setback);
            } else if call.transfers(key) {
                call.on_transfer_lost(cx, key, code);
            } else if call.lends(key) {
                call.on_loan_lost(cx, code);
            } else if let Some(side) = call.refreshes(key) {
                call.on_refresh_lost(cx, side);
            } else if call.farewell.byes.contains(&key) {
                call.on_bye_done(key);
            } else {
                call.on_relay_lost(cx, key, code);
            }
        });
    }

    fn with_server(&mut self, key: ServerKey, act: impl FnOnce(&mut Call, &mut Context)) {
        if let Some(id) = self.cx.index.server(key) {
            self.with_call(id, act);
        }
    }

    /// Lets a call act, and lets go of it when it is over.
    pub(super) fn with_call(&mut self, id: CallId, act: impl FnOnce(&mut Call, &mut Context)) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        act(call, &mut self.cx);
        call.tell_steps(&mut self.cx);
        if call.state() == CallState::Over {
            call.release_media(&mut self.cx);
            Self::give_account(&mut self.cx, call);
            call.leave(&mut self.cx);
            self.cx.challenges.call_over(id);
            self.calls.remove(&id);
        }
        self.run_errands();
    }
}
