//! The target of a transfer: called on behalf of the party that remains, without a session description, so that what it
//! answers is an offer.

use crate::dialog::Dialog;
use crate::records::Outcome;
use crate::routing::Target;
use crate::session::Side;
use crate::settings::{Failover, TrunkId};
use crate::sip::typed::NameAddr;
use crate::sip::{Header, HeaderName, Message, Method, StatusCode};
use crate::transaction::{ClientKey, Path, ServerKey};
use crate::trunks::{Evidence, Lease, Way};

use super::super::alarms::Alarm;
use super::super::call::Call;
use super::super::challenges::renumber;
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::index::Owner;
use super::super::late_answers::{self, LateAnswers};
use super::super::service::evidence_of;
use super::super::{B2bua, CallId, session_timer, setup};
use super::newcomer::Newcomer;
use super::referral::Referral;
use super::table::{Stage, Trigger};

/// One target and its INVITE.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The call that is transferred.
    call: CallId,
    pub(super) target: Target,
    /// As it was sent, without Via.
    pub(super) invite: Message,
    pub(super) tag: String,
    pub(super) key: ClientKey,
    pub(super) lease: Option<Lease>,
    /// It has answered, be it with 100.
    heard: bool,
    /// Its 2xx, and the dialog that this makes.
    pub(super) answer: Option<(Message, Dialog)>,
}

impl Candidate {
    /// Nobody wants it any more: its INVITE is taken back, or its dialog ended.
    pub(super) fn end(mut self, cx: &mut Context) {
        self.forget(cx);
        let trunk = self.target.trunk;
        let answered = self.answer.take();
        let late = LateAnswers::Forks {
            trunk,
            invite: Box::new(self.invite),
            settled: answered
                .iter()
                .map(|(_, dialog)| dialog.remote_tag().to_owned())
                .collect(),
        };
        cx.index
            .hand_over(self.key, Owner::LateAnswers(Box::new(late)));
        if let Some((_, dialog)) = answered {
            return late_answers::acknowledge_and_end(cx, self.key, trunk, dialog);
        }
        let reason = Header::new(HeaderName::Reason, "SIP;cause=487;text=\"Not transferred\"");
        if cx
            .transactions
            .cancel(cx.now, self.key, vec![reason])
            .is_err()
        {
            cx.count_dropped("cancel_too_late");
        }
    }

    /// It has been silent, or cannot be reached: no sign that its peer is well, unless it has answered before.
    fn blame(&self, cx: &mut Context) {
        if !self.heard {
            cx.trunks.witness(self.target, Evidence::Failure, cx.now);
        }
    }

    /// It has failed: nothing is owed to it.
    fn forget(&mut self, cx: &mut Context) {
        cx.index.remove_tag(&self.tag, self.call);
        if let Some(lease) = self.lease.take() {
            cx.trunks.ledger_mut().release(lease);
        }
    }
}

impl B2bua {
    /// A request in the dialog with a transfer's target, which is no dialog of the call yet. False when it is none.
    pub(in crate::b2bua) fn on_candidate_request(
        &mut self,
        key: ServerKey,
        message: &Message,
    ) -> bool {
        let tag = message.to().ok();
        let tag = tag.as_ref().and_then(|to| to.tag());
        let Some((id, _)) = tag.and_then(|tag| self.cx.index.tag(tag)) else {
            return false;
        };
        let mut taken = false;
        self.with_call(id, |call, cx| {
            taken = call.on_candidate_bye(cx, key, message)
        });
        taken
    }
}

impl Call {
    /// The INVITE as the party that remains would send it: from it, to whom the REFER names.
    pub(super) fn wish(&self, by: Side, request: &Message, referral: &Referral) -> Message {
        let party = self.party(by.other());
        let mut wish = Message::request(Method::Invite, referral.target.clone());
        if let Some(hops) = request.headers.value(&HeaderName::MaxForwards) {
            wish.headers.push(HeaderName::MaxForwards, hops);
        }
        if let Some(party) = &party {
            wish.headers.push(HeaderName::From, &party.name);
        }
        let to = NameAddr::new(referral.target.clone());
        wish.headers.push(HeaderName::To, to.to_bytes());
        if let Some(by) = &referral.by {
            wish.headers.push(HeaderName::ReferredBy, by.to_bytes());
        }
        if let Ok(Some(replaces)) = Referral::replaces(request) {
            let name = replaces.to_string();
            wish.headers.push(HeaderName::Replaces, name);
        }
        for field in party.into_iter().flat_map(|party| party.says) {
            wish.headers.append(field);
        }
        wish
    }

    /// Calls the next target; with none left the transfer fails with this code.
    pub(super) fn next_candidate(&mut self, cx: &mut Context, mut code: StatusCode) {
        while let Some(target) = self
            .transfer
            .as_mut()
            .and_then(|transfer| transfer.targets.pop_front())
        {
            let bandwidth = match self.session {
                Some(session) => cx.engine.bandwidth(session).unwrap_or_default(),
                None => 0,
            };
            let ledger = cx.trunks.ledger_mut();
            let Ok(lease) = ledger.lease(target.trunk, Way::Out, bandwidth, cx.now) else {
                cx.counters.full_targets += 1;
                code = StatusCode::SERVICE_UNAVAILABLE;
                continue;
            };
            let Some((invite, tag)) = self.candidate_invite(cx, target) else {
                return;
            };
            let path = cx.way_out(target);
            let Ok(key) = cx.request_outside(self.id, invite.clone(), path) else {
                cx.trunks.ledger_mut().release(lease);
                code = StatusCode::SERVICE_UNAVAILABLE;
                continue;
            };
            cx.index.add_tag(&tag, self.id, Side::B);
            self.tries(cx, &target, invite.call_id().ok());
            let Some(transfer) = &mut self.transfer else {
                return;
            };
            let last = transfer.targets.is_empty();
            transfer.newcomer = Some(Newcomer::Called(Box::new(Candidate {
                call: self.id,
                target,
                invite,
                tag,
                key,
                lease: Some(lease),
                heard: false,
                answer: None,
            })));
            let failover = failover(cx, target);
            let patience = if last { failover.total } else { failover.after };
            let until = cx.now + patience;
            return cx.alarms.set(self.id, Alarm::Transfer, Some(until));
        }
        self.fail_transfer(cx, Trigger::Failure, code);
    }

    fn candidate_invite(&self, cx: &mut Context, target: Target) -> Option<(Message, String)> {
        let transfer = self.transfer.as_ref()?;
        let tag = cx.tokens.tag();
        let wish = transfer.wish.as_ref()?;
        let rest = self.trunk(transfer.by.other());
        let leaving = cx.leaving(target);
        let mut invite = setup::callee_invite(cx, rest, wish, leaving, &tag);
        if let (Some(by), Some((host, port, _))) = (
            wish.headers.value(&HeaderName::ReferredBy),
            cx.own_host(leaving.listener),
        ) && let Ok(by) = NameAddr::parse(&by)
        {
            let by = setup::hidden(by, &host, Some(port));
            invite.headers.push(HeaderName::ReferredBy, by.to_bytes());
        }
        if let Some(replaces) = wish.headers.value(&HeaderName::Replaces) {
            invite.headers.set(HeaderName::Replaces, replaces);
            // Without the extension the target would ring, as if it were called anew.
            invite.headers.push(HeaderName::Require, super::REPLACES);
        }
        session_timer::ask_callee(cx, rest, target.trunk, wish, &mut invite);
        Some((invite, tag))
    }

    /// The trunk that the dialog with this tag of ours is with.
    pub(in crate::b2bua) fn trunk_behind(&self, tag: &str, side: Side) -> TrunkId {
        let transfer = self.transfer.as_ref();
        let candidate = transfer.and_then(|transfer| transfer.candidate());
        match candidate.filter(|candidate| candidate.tag == tag) {
            Some(candidate) => candidate.target.trunk,
            None => self.trunk(side),
        }
    }

    /// The target's INVITE was sent again under another number. False when the transaction is not the target's.
    pub(in crate::b2bua) fn renumber_candidate(&mut self, key: ClientKey, number: u32) -> bool {
        let transfer = self.transfer.as_mut();
        let candidate = transfer.and_then(|transfer| transfer.candidate_mut());
        let Some(candidate) = candidate.filter(|candidate| candidate.key == key) else {
            return false;
        };
        renumber(&mut candidate.invite, number);
        true
    }

    /// Whether a transaction of ours belongs to the transfer.
    pub(in crate::b2bua) fn transfers(&self, key: ClientKey) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| {
            let candidate = transfer.candidate();
            candidate.is_some_and(|candidate| candidate.key == key) || transfer.join == Some(key)
        })
    }

    /// A response to one of the transfer's requests.
    pub(in crate::b2bua) fn on_transfer_response(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        response: &Message,
        path: Path,
    ) {
        let Some(code) = response.code() else {
            return;
        };
        let join = self.transfer.as_ref().and_then(|transfer| transfer.join);
        if join == Some(key) {
            return self.on_join_response(cx, code, response);
        }
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let stage = transfer.stage;
        let (Stage::Inviting, Some(candidate)) = (stage, transfer.candidate_mut()) else {
            return;
        };
        let evidence = evidence_of(response);
        let first = !std::mem::replace(&mut candidate.heard, true);
        if first || evidence != Evidence::Success {
            cx.trunks.witness(candidate.target, evidence, cx.now);
        }
        if code.is_provisional() {
            if first {
                let until = cx.now + cx.settings.no_answer;
                cx.alarms.set(self.id, Alarm::Transfer, Some(until));
            }
            return;
        }
        if code.is_success() {
            self.account.outcome(Outcome::Code(code.as_u16()));
            return self.on_candidate_answer(cx, response, path);
        }
        if code == StatusCode::INTERVAL_TOO_SMALL && self.ask_candidate_for_longer(cx, response) {
            return;
        }
        self.account.outcome(Outcome::Code(code.as_u16()));
        self.on_candidate_failed(
            cx,
            understood(cx, self.trunk_of_candidate(), response, code),
        );
    }

    fn trunk_of_candidate(&self) -> Option<TrunkId> {
        let candidate = self.transfer.as_ref()?.candidate()?;
        Some(candidate.target.trunk)
    }

    /// The target wants a longer session interval than its INVITE asks for: it is sent again with that. False when the
    /// failure is the target's last word.
    fn ask_candidate_for_longer(&mut self, cx: &mut Context, response: &Message) -> bool {
        let Ok(least) = response.min_se() else {
            return false;
        };
        let Some(transfer) = &self.transfer else {
            return false;
        };
        let rest = self.trunk(transfer.by.other());
        let Some(candidate) = transfer.candidate() else {
            return false;
        };
        let mut invite = candidate.invite.clone();
        let trunk = candidate.target.trunk;
        if !session_timer::lengthen_for(cx, (trunk, rest), least, &mut invite) {
            return false;
        }
        let path = cx.way_out(candidate.target);
        let Ok(key) = cx.request_outside(self.id, invite.clone(), path) else {
            return false;
        };
        let transfer = self.transfer.as_mut();
        if let Some(candidate) = transfer.and_then(|transfer| transfer.candidate_mut()) {
            candidate.invite = invite;
            candidate.key = key;
        }
        true
    }

    /// No response came to one of the transfer's requests, or it could not be sent.
    pub(in crate::b2bua) fn on_transfer_lost(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        code: StatusCode,
    ) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if transfer.join == Some(key) {
            transfer.join = None;
            return self.hang_up(cx, Cause::PeerGone);
        }
        if transfer.stage == Stage::Inviting {
            self.account.outcome(match code {
                StatusCode::SERVICE_UNAVAILABLE => Outcome::Unreachable,
                _ => Outcome::Timeout,
            });
            if let Some(candidate) = transfer.candidate() {
                candidate.blame(cx);
            }
            self.lead_on(cx, true, code);
        }
    }

    fn on_candidate_failed(&mut self, cx: &mut Context, code: StatusCode) {
        let candidate = self.transfer.as_ref();
        let candidate = candidate.and_then(|transfer| transfer.candidate());
        let leads_on = candidate.is_some_and(|candidate| {
            failover(cx, candidate.target)
                .codes
                .contains(&code.as_u16())
        });
        self.lead_on(cx, leads_on, code);
    }

    /// The present target has failed: the next is called, if that is what the failure leads to.
    fn lead_on(&mut self, cx: &mut Context, leads_on: bool, code: StatusCode) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if let Some(mut candidate) = transfer.take_candidate() {
            candidate.forget(cx);
        }
        if leads_on && !transfer.targets.is_empty() && transfer.step(Trigger::NextTarget) {
            return self.next_candidate(cx, code);
        }
        self.fail_transfer(cx, Trigger::Failure, code);
    }

    /// The target has rung, or been silent, for too long.
    pub(super) fn on_candidate_silent(&mut self, cx: &mut Context) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let code = StatusCode::REQUEST_TIMEOUT;
        let Some(candidate) = transfer.take_candidate() else {
            return;
        };
        self.account.outcome(Outcome::Timeout);
        let silent = !candidate.heard;
        candidate.blame(cx);
        candidate.end(cx);
        self.lead_on(cx, silent, code);
    }

    fn on_candidate_answer(&mut self, cx: &mut Context, response: &Message, path: Path) {
        cx.alarms.set(self.id, Alarm::Transfer, None);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let Some(candidate) = transfer.candidate_mut() else {
            return;
        };
        let (dialog, readable) = match Dialog::of_client(&candidate.invite, response, path) {
            Ok(dialog) => (Some(dialog), true),
            Err(_) => {
                let mut bare = response.clone();
                bare.headers.remove(&HeaderName::Contact);
                bare.headers.remove(&HeaderName::RecordRoute);
                (
                    Dialog::of_client(&candidate.invite, &bare, path).ok(),
                    false,
                )
            }
        };
        candidate.answer = dialog.map(|dialog| (response.clone(), dialog));
        if !readable {
            transfer.step(Trigger::Answer);
            return self.fail_transfer(cx, Trigger::Failure, StatusCode::BAD_GATEWAY);
        }
        self.on_newcomer_offer(cx, response);
    }

    /// A request of a target that has answered, before it has its place in the call. False when it is in no such dialog.
    pub(super) fn on_candidate_bye(
        &mut self,
        cx: &mut Context,
        key: ServerKey,
        message: &Message,
    ) -> bool {
        let Some(transfer) = &self.transfer else {
            return false;
        };
        let named = |dialog: &Dialog| {
            let (to, from) = (message.to().ok()?, message.from().ok()?);
            let (to, from) = (to.tag()?.to_owned(), from.tag()?.to_owned());
            Some(dialog.is(&message.call_id().ok()?, &to, &from))
        };
        let is_its = transfer.candidate().is_some_and(|candidate| {
            let answer = candidate.answer.as_ref();
            answer.and_then(|(_, dialog)| named(dialog)) == Some(true)
        });
        if !is_its {
            return false;
        }
        if message.method() != Some(&Method::Bye) {
            cx.refuse(key, message, StatusCode::REQUEST_PENDING);
            return true;
        }
        let mut response = message.response(StatusCode::OK, None);
        cx.sign(&mut response);
        cx.respond(key, response);
        self.on_newcomer_gone(cx, StatusCode::TEMPORARILY_UNAVAILABLE);
        true
    }
}

/// The failure as the trunk's normalisation wants it understood.
fn understood(
    cx: &Context,
    trunk: Option<TrunkId>,
    response: &Message,
    code: StatusCode,
) -> StatusCode {
    let Some(rules) = trunk.and_then(|trunk| cx.normalisation(trunk)) else {
        return code;
    };
    let mut response = response.clone();
    rules.understand(&mut response);
    response.code().unwrap_or(code)
}

fn failover(cx: &Context, target: Target) -> Failover {
    let trunk = cx.settings.trunks.get(usize::from(target.trunk.0));
    trunk.map_or_else(Failover::default, |trunk| trunk.failover.clone())
}
