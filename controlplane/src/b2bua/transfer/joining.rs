//! The target and the party that remains are brought together: the target's offer goes to the other by re-INVITE, the answer
//! to the target in the ACK. Then the target has the transferor's place in the call.

use std::time::Duration;

use crate::dialog::Dialog;
use crate::session::{Rewritten, SessionError, Side};
use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::Path;

use super::super::alarms::Alarm;
use super::super::call::{Call, code_of};
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::held::Then;
use super::super::index::Owner;
use super::super::late_answers::{self, LateAnswers};
use super::super::negotiation::{Focus, Talk};
use super::super::passing;
use super::super::relay::in_dialog;
use super::candidate::Candidate;
use super::table::{Stage, Trigger};
use super::{Media, Transfer};

/// How often the party that remains is asked, when its own requests are in the way.
const MOST_JOINS: u32 = 3;

impl Call {
    /// The target's offer, made ready for the party that remains.
    pub(super) fn prepare_join(&mut self, cx: &mut Context, offer: &[u8]) {
        match self.offer_of_candidate(cx, offer) {
            Ok(Some(Rewritten { ticket, .. })) => self.when_ready(cx, ticket, Then::Join),
            Ok(None) => {
                self.fail_transfer(cx, Trigger::Failure, StatusCode::NOT_ACCEPTABLE_HERE);
            }
            Err(error) => {
                let code = in_dialog(code_of(cx, &error));
                self.fail_transfer(cx, Trigger::Failure, code);
            }
        }
    }

    /// Opens the media between the two; `None` when the offer has fewer streams than the party that remains has
    /// agreed to, which no re-INVITE can take from it (RFC 3264 §8).
    fn offer_of_candidate(
        &mut self,
        cx: &mut Context,
        offer: &[u8],
    ) -> Result<Option<Rewritten>, SessionError> {
        let unknown = SessionError::UnknownSession;
        let former = self.session.ok_or(unknown)?;
        let transfer = self.transfer.as_mut().ok_or(SessionError::UnknownSession)?;
        let (by, rest) = (transfer.by, transfer.by.other());
        let candidate = transfer.candidate.as_ref();
        let target = candidate
            .map(|candidate| candidate.target)
            .ok_or(SessionError::UnknownSession)?;
        let path = Path {
            listener: target.listener,
            remote: target.peer,
        };
        let theirs = cx.leg_spec(target.trunk, path);
        let kept = self.pairs.first().map(|pair| pair.dialog(rest).path());
        let kept = cx.leg_spec(self.trunk(rest), kept.unwrap_or(path));
        let session = match by {
            Side::A => cx.engine.open(cx.now, theirs, kept)?,
            Side::B => cx.engine.open(cx.now, kept, theirs)?,
        };
        cx.index.add_session(session, self.id);
        cx.engine.carry_name(former, session, rest);
        let Some(transfer) = &mut self.transfer else {
            return Ok(None);
        };
        let media = transfer.media.insert(Media {
            session,
            offer: offer.to_vec(),
            rewritten: Vec::new(),
            answer: Vec::new(),
        });
        let rewritten = cx.engine.offer(cx.now, session, by, offer)?;
        media.rewritten.clone_from(&rewritten.sdp);
        let streams = |id| cx.engine.describe(id).map_or(0, |view| view.streams.len());
        Ok((streams(session) >= streams(former)).then_some(rewritten))
    }

    /// The flows are there: the party that remains is asked.
    pub(in crate::b2bua) fn send_join(&mut self, cx: &mut Context) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if transfer.step(Trigger::FlowsReady) {
            self.invite_rest(cx);
        }
    }

    /// The pause is over.
    pub(super) fn join_again(&mut self, cx: &mut Context) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if transfer.step(Trigger::Due) {
            self.invite_rest(cx);
        }
    }

    fn invite_rest(&mut self, cx: &mut Context) {
        let Some((rest, sdp)) = self.transfer.as_ref().and_then(|transfer| {
            let media = transfer.media.as_ref()?;
            Some((transfer.by.other(), media.rewritten.clone()))
        }) else {
            return;
        };
        let trunk = self.trunk(rest);
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        let dialog = pair.dialog_mut(rest);
        let mut request = dialog.request(Method::Invite);
        let number = dialog.local_cseq();
        let listener = cx.path_of(trunk, dialog).listener;
        cx.introduce(&mut request, listener);
        self.time_request(cx, rest, None, &mut request);
        passing::set_sdp(&mut request, sdp);
        let Some(pair) = self.pairs.first() else {
            return;
        };
        let sent = cx.request_within(Some(self.id), trunk, pair.dialog(rest), request);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.joins += 1;
        match sent {
            Ok(key) => transfer.join = Some((key, number)),
            Err(_) => {
                let code = StatusCode::SERVER_INTERNAL_ERROR;
                self.fail_transfer(cx, Trigger::Failure, code);
            }
        }
    }

    /// What the party that remains says.
    pub(super) fn on_join_response(
        &mut self,
        cx: &mut Context,
        code: StatusCode,
        response: &Message,
    ) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if code.is_provisional() {
            return;
        }
        let Some((key, number)) = transfer.join.take() else {
            return;
        };
        let (rest, joins) = (transfer.by.other(), transfer.joins);
        let gone = transfer
            .candidate
            .as_ref()
            .is_none_or(|candidate| candidate.gone);
        if code.is_success() {
            let trunk = self.trunk(rest);
            if let Some(pair) = self.pairs.first_mut() {
                let dialog = pair.dialog_mut(rest);
                dialog.refresh_target(response);
                late_answers::acknowledge(cx, key, trunk, dialog, number, None);
            }
            return match gone {
                // It has agreed to talk to somebody who is not there any more.
                true => self.hang_up(cx, Cause::PeerGone),
                false => self.on_joined(cx, rest, response),
            };
        }
        match code {
            StatusCode::REQUEST_PENDING if !gone && joins < MOST_JOINS => {
                self.pause_join(cx, rest);
            }
            StatusCode::NO_SUCH_CALL | StatusCode::REQUEST_TIMEOUT => {
                self.hang_up(cx, Cause::PeerGone);
            }
            _ => self.fail_transfer(cx, Trigger::Failure, code),
        }
    }

    /// RFC 3261 §14.1: whoever owns the Call-ID waits longer. It is ours towards a callee.
    fn pause_join(&mut self, cx: &mut Context, rest: Side) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if !transfer.step(Trigger::Glare) {
            return;
        }
        let hundredths = match rest {
            Side::A => cx.tokens.up_to(200),
            Side::B => 210 + cx.tokens.up_to(190),
        };
        let pause = Duration::from_millis(u64::from(hundredths.max(1)) * 10);
        cx.alarms
            .set(self.id, Alarm::Transfer, Some(cx.now + pause));
    }

    fn on_joined(&mut self, cx: &mut Context, rest: Side, response: &Message) {
        self.time_learn(cx, rest, None, response);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let (Some(media), true) = (&mut transfer.media, transfer.stage == Stage::Joining) else {
            return;
        };
        // From here on the former session is void for the party that remains: there is no way back.
        let Some(answer) = passing::sdp_of(response) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        media.answer = answer.to_vec();
        let session = media.session;
        match cx.engine.answer(cx.now, session, rest, answer) {
            Ok(Rewritten { sdp, ticket }) => {
                transfer.step(Trigger::Answer);
                self.when_ready(cx, ticket, Then::Connect(sdp));
            }
            Err(error) => {
                code_of(cx, &error);
                self.hang_up(cx, Cause::BadDescription);
            }
        }
    }

    /// The flows of the transfer will not be there.
    pub(in crate::b2bua) fn on_join_without_flows(&mut self, cx: &mut Context, code: StatusCode) {
        let stage = self.transfer.as_ref().map(|transfer| transfer.stage);
        match stage {
            Some(Stage::Preparing) => self.fail_transfer(cx, Trigger::FlowsFailed, code),
            Some(Stage::Connecting) => self.hang_up(cx, Cause::NoRoom),
            _ => {}
        }
    }

    /// The flows of the answer are there: the target gets it, and the transferor's place.
    pub(in crate::b2bua) fn connect(&mut self, cx: &mut Context, sdp: Vec<u8>) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if !transfer.step(Trigger::FlowsReady) {
            return;
        }
        let by = transfer.by;
        self.notify_transferor(cx, StatusCode::OK);
        self.end_relays(cx);
        self.send_bye(cx, by, None);
        self.farewell.departed = None;
        let Some(mut transfer) = self.transfer.take() else {
            return;
        };
        let (Some(candidate), Some(media)) = (transfer.candidate.take(), transfer.media.take())
        else {
            return;
        };
        cx.counters.transfers_made += 1;
        let note = What::Note("the target has taken the transferor's place");
        cx.stories.tell(cx.now, self.id, note);
        self.take_place(cx, by, candidate, media, sdp);
    }

    fn take_place(
        &mut self,
        cx: &mut Context,
        by: Side,
        candidate: Candidate,
        media: Media,
        sdp: Vec<u8>,
    ) {
        let trunk = candidate.target.trunk;
        let Some((response, dialog)) = candidate.answer else {
            return self.hang_up(cx, Cause::Broken);
        };
        let number = candidate.invite.cseq().map_or(1, |cseq| cseq.number);
        let sent = late_answers::acknowledge(cx, candidate.key, trunk, &dialog, number, Some(sdp));
        let late = LateAnswers::Forks {
            trunk,
            invite: Box::new(candidate.invite.clone()),
            settled: vec![dialog.remote_tag().to_owned()],
        };
        cx.index
            .add_client(candidate.key, Owner::LateAnswers(Box::new(late)));
        if let Some(former) = self.session.replace(media.session) {
            cx.engine.close(cx.now, former);
            cx.ask_for_ended_flows();
            cx.index.remove_session(former);
        }
        self.rename(cx, by, &candidate.tag, dialog);
        if let Some(pair) = self.pairs.first_mut() {
            pair.talk = Talk::agreed(by, media.offer, media.answer);
        }
        self.focus = Focus::default();
        let lease = match by {
            Side::A => std::mem::replace(&mut self.leases.inbound, candidate.lease),
            Side::B => std::mem::replace(&mut self.leases.outbound, candidate.lease),
        };
        if let Some(lease) = lease {
            cx.trunks.ledger_mut().release(lease);
        }
        let asked = candidate.invite.session_expires().ok();
        if by == Side::A {
            self.note_caller(cx);
        }
        self.take_trunk(by, candidate.target, candidate.invite, candidate.tag);
        self.timers.forget(by);
        self.time_learn(cx, by, asked, &response);
        self.confirm_media(cx, 0);
        if !sent {
            self.hang_up(cx, Cause::Broken);
        }
    }

    /// The dialog of this side is another, found by another tag of ours.
    fn rename(&mut self, cx: &mut Context, side: Side, tag: &str, dialog: Dialog) {
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        cx.index.remove_tag(pair.dialog(side).local_tag());
        cx.index.add_tag(tag, self.id, side);
        *pair.dialog_mut(side) = dialog;
    }

    /// From now on this side is behind another trunk.
    fn take_trunk(
        &mut self,
        side: Side,
        target: crate::routing::Target,
        invite: Message,
        tag: String,
    ) {
        match (side, &mut self.attempt) {
            (Side::A, _) => {
                self.caller.trunk = target.trunk;
                self.caller.path = Path {
                    listener: target.listener,
                    remote: target.peer,
                };
            }
            (Side::B, Some(attempt)) => {
                attempt.target = target;
                attempt.invite = invite;
                attempt.tag = tag;
                attempt.owes_ack = false;
            }
            (Side::B, None) => {}
        }
    }

    /// The re-INVITE to the party that remains is left to end by itself.
    pub(super) fn end_join(&mut self, cx: &mut Context, transfer: &mut Transfer) {
        let rest = transfer.by.other();
        let (Some((key, number)), Some(pair)) = (transfer.join.take(), self.pairs.first()) else {
            return;
        };
        let late = LateAnswers::InDialog {
            trunk: self.trunk(rest),
            dialog: Box::new(pair.dialog(rest).clone()),
            number,
        };
        cx.index.add_client(key, Owner::LateAnswers(Box::new(late)));
        let reason = crate::sip::Header::new(HeaderName::Reason, "SIP;cause=487");
        let _ = cx.transactions.cancel(cx.now, key, vec![reason]);
    }
}
