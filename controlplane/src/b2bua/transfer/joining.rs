//! The newcomer and the party that remains are brought together: the newcomer's offer goes to the other by re-INVITE, the
//! answer back to the newcomer. Then that has its place in the call.

use crate::session::{Rewritten, SessionError, SessionId, Side};
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
use super::super::negotiation::Talk;
use super::super::passing;
use super::super::relay::in_dialog;
use super::candidate::Candidate;
use super::lending::Errand;
use super::newcomer::Newcomer;
use super::seat::Seat;
use super::table::{Stage, Trigger};
use super::{Media, Transfer};

/// How often the party that remains is asked, when its own requests are in the way.
pub(super) const MOST_JOINS: u32 = 3;

impl Call {
    /// The target's offer, made ready for the party that remains.
    pub(super) fn prepare_join(&mut self, cx: &mut Context, offer: &[u8]) {
        match self.offer_of_newcomer(cx, offer) {
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

    /// The newcomer has answered with an offer.
    pub(super) fn on_newcomer_offer(&mut self, cx: &mut Context, response: &Message) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if !transfer.step(Trigger::Answer) {
            return;
        }
        let note = What::Note("the target of the transfer has answered");
        cx.stories.tell(cx.now, self.id, note);
        match passing::sdp_of(response) {
            Some(sdp) => self.prepare_join(cx, sdp),
            None => self.fail_transfer(cx, Trigger::Failure, StatusCode::NOT_ACCEPTABLE_HERE),
        }
    }

    /// The newcomer makes no offer: the party that remains is asked for one.
    pub(super) fn ask_for_offer(&mut self, cx: &mut Context) {
        match self.open_media(cx, None) {
            Ok(_) => self.invite_rest(cx),
            Err(error) => {
                let code = in_dialog(code_of(cx, &error));
                self.fail_transfer(cx, Trigger::Failure, code);
            }
        }
    }

    /// The offer for the party that remains; `None` when the newcomer's has fewer streams than that has
    /// agreed to, which no re-INVITE can take from it (RFC 3264 §8).
    fn offer_of_newcomer(
        &mut self,
        cx: &mut Context,
        offer: &[u8],
    ) -> Result<Option<Rewritten>, SessionError> {
        let former = self.session.ok_or(SessionError::UnknownSession)?;
        let session = self.open_media(cx, Some(offer))?;
        let Some(transfer) = &mut self.transfer else {
            return Ok(None);
        };
        let rewritten = cx.engine.offer(cx.now, session, transfer.by, offer)?;
        if let Some(media) = &mut transfer.media {
            media.rewritten.clone_from(&rewritten.sdp);
        }
        let streams = |id| cx.engine.describe(id).map_or(0, |view| view.streams.len());
        Ok((streams(session) >= streams(former)).then_some(rewritten))
    }

    /// Opens the media between the two.
    fn open_media(
        &mut self,
        cx: &mut Context,
        offer: Option<&[u8]>,
    ) -> Result<SessionId, SessionError> {
        let unknown = SessionError::UnknownSession;
        let former = self.session.ok_or(unknown)?;
        let transfer = self.transfer.as_ref().ok_or(SessionError::UnknownSession)?;
        let newcomer = transfer.newcomer.as_ref();
        let newcomer = newcomer.ok_or(SessionError::UnknownSession)?;
        let (by, rest, target) = (transfer.by, transfer.by.other(), newcomer.target());
        let borrowed = match newcomer {
            Newcomer::Lent(borrowed) => Some((borrowed.session, borrowed.side)),
            _ => None,
        };
        let path = match newcomer {
            Newcomer::Called(_) => cx.way_out(target),
            Newcomer::Lent(_) | Newcomer::Calling(_) => Path::to(target.listener, target.peer),
        };
        let theirs = cx.leg_spec(target.trunk, path);
        let kept = self.pairs.first().map(|pair| pair.dialog(rest).path());
        let kept = cx.leg_spec(self.trunk(rest), kept.unwrap_or(path));
        let session = match by {
            Side::A => cx.engine.open(cx.now, theirs, kept)?,
            Side::B => cx.engine.open(cx.now, kept, theirs)?,
        };
        cx.index.add_session(session, self.id);
        cx.engine.carry_name((former, rest), (session, rest));
        if let Some(known) = borrowed {
            cx.engine.carry_name(known, (session, by));
        }
        if let Some(transfer) = &mut self.transfer {
            transfer.media = Some(Media {
                session,
                offer: offer.map(<[u8]>::to_vec),
                rewritten: Vec::new(),
                answer: None,
            });
        }
        Ok(session)
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
            let offers = media.offer.is_some();
            Some((transfer.by.other(), offers.then(|| media.rewritten.clone())))
        }) else {
            return;
        };
        let Some(mut request) = self.bare_invite(cx, rest) else {
            return;
        };
        if let Some(sdp) = sdp {
            passing::set_sdp(&mut request, sdp);
        }
        let asked = request.session_expires().ok();
        let trunk = self.trunk(rest);
        let Some(pair) = self.pairs.first() else {
            return;
        };
        let sent = cx.request_within(Some(self.id), trunk, pair.dialog(rest), request);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.joins += 1;
        transfer.asked = asked;
        match sent {
            Ok(key) => transfer.join = Some(key),
            Err(_) => {
                let code = StatusCode::SERVER_INTERNAL_ERROR;
                self.fail_transfer(cx, Trigger::Failure, code);
            }
        }
    }

    /// A re-INVITE of ours to this side, without description.
    pub(super) fn bare_invite(&mut self, cx: &mut Context, side: Side) -> Option<Message> {
        let trunk = self.trunk(side);
        let dialog = self.pairs.first_mut()?.dialog_mut(side);
        let mut request = dialog.request(Method::Invite);
        let listener = cx.path_of(trunk, dialog).listener;
        cx.introduce(&mut request, listener);
        self.time_request(cx, side, None, &mut request);
        Some(request)
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
        let Some(key) = transfer.join else {
            return;
        };
        let (rest, joins) = (transfer.by.other(), transfer.joins);
        let (gone, calls) = (transfer.gone, !transfer.referred());
        let offers = transfer
            .media
            .as_ref()
            .is_some_and(|media| media.offer.is_some());
        if code.is_success() {
            // An offer of its own is acknowledged with the newcomer's answer.
            if offers {
                transfer.join = None;
            }
            let trunk = self.trunk(rest);
            if let Some(pair) = self.pairs.first_mut() {
                let dialog = pair.dialog_mut(rest);
                dialog.refresh_target(response);
                if offers {
                    late_answers::acknowledge(cx, key, trunk, dialog, None);
                }
            }
            return match gone && !calls {
                // It has agreed to talk to somebody who is not there any more.
                true => self.hang_up(cx, Cause::PeerGone),
                false => self.on_joined(cx, rest, response),
            };
        }
        transfer.join = None;
        match code {
            StatusCode::REQUEST_PENDING if !gone && joins < MOST_JOINS => {
                self.pause_join(cx, rest);
            }
            StatusCode::NO_SUCH_CALL | StatusCode::REQUEST_TIMEOUT => {
                self.hang_up(cx, Cause::PeerGone);
            }
            StatusCode::INTERVAL_TOO_SMALL if !gone && self.follows_least(cx, rest, response) => {
                self.invite_rest(cx);
            }
            _ => self.fail_transfer(cx, Trigger::Failure, code),
        }
    }

    fn pause_join(&mut self, cx: &mut Context, rest: Side) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if !transfer.step(Trigger::Glare) {
            return;
        }
        let Some(pair) = self.pairs.first() else {
            return;
        };
        let pause = cx.glare_pause(pair.dialog(rest));
        cx.alarms
            .set(self.id, Alarm::Transfer, Some(cx.now + pause));
    }

    fn on_joined(&mut self, cx: &mut Context, rest: Side, response: &Message) {
        let asked = self.transfer.as_ref().and_then(|transfer| transfer.asked);
        self.time_learn(cx, rest, asked, response);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let (Some(media), true) = (&mut transfer.media, transfer.stage == Stage::Joining) else {
            return;
        };
        // From here on the former session is void for the party that remains: there is no way back.
        let Some(said) = passing::sdp_of(response) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        media.answer = Some(response.clone());
        let session = media.session;
        let rewritten = match media.offer {
            Some(_) => cx.engine.answer(cx.now, session, rest, said),
            None => cx.engine.offer(cx.now, session, rest, said),
        };
        match rewritten {
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

    /// The flows of the answer are there: the newcomer gets it, and the place of who leaves.
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
        cx.counters.transfers_made += 1;
        let note = What::Note("the newcomer has the place of the one that leaves");
        cx.stories.tell(cx.now, self.id, note);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if let Some(Newcomer::Lent(borrowed)) = &transfer.newcomer {
            return cx.errand(borrowed.lender, Errand::Give(self.id, sdp));
        }
        let (newcomer, media) = (transfer.newcomer.take(), transfer.media.take());
        let join = transfer.join.take();
        self.transfer = None;
        let (Some(newcomer), Some(media)) = (newcomer, media) else {
            return;
        };
        match newcomer {
            Newcomer::Called(candidate) => self.seat_candidate(cx, by, *candidate, media, sdp),
            Newcomer::Calling(applicant) => {
                self.seat_applicant(cx, by, *applicant, (media, join, sdp));
            }
            Newcomer::Lent(_) => {}
        }
    }

    fn seat_candidate(
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
        let sent = late_answers::acknowledge(cx, candidate.key, trunk, &dialog, Some(sdp));
        let late = LateAnswers::Forks {
            trunk,
            invite: Box::new(candidate.invite.clone()),
            settled: vec![dialog.remote_tag().to_owned()],
        };
        cx.index
            .hand_over(candidate.key, Owner::LateAnswers(Box::new(late)));
        let said = media.answer.as_ref().and_then(passing::sdp_of);
        let said = said.unwrap_or_default().to_vec();
        let asked = candidate.invite.session_expires().ok();
        let seat = Seat {
            session: media.session,
            target: candidate.target,
            invite: candidate.invite,
            tag: candidate.tag,
            dialog,
            lease: candidate.lease,
            talk: Talk::agreed(by, media.offer.unwrap_or_default(), said),
        };
        self.take_seat(cx, by, seat);
        self.timers.forget(by);
        self.time_learn(cx, by, asked, &response);
        self.confirm_media(cx, 0);
        if !sent {
            self.hang_up(cx, Cause::Broken);
        }
    }

    /// The re-INVITE to the party that remains is left to end by itself.
    pub(super) fn end_join(&mut self, cx: &mut Context, transfer: &mut Transfer) {
        let rest = transfer.by.other();
        let (Some(key), Some(pair)) = (transfer.join.take(), self.pairs.first()) else {
            return;
        };
        let answered = transfer
            .media
            .as_ref()
            .is_some_and(|media| media.answer.is_some());
        if answered {
            let trunk = self.trunk(rest);
            late_answers::acknowledge(cx, key, trunk, pair.dialog(rest), None);
            return;
        }
        let late = LateAnswers::InDialog {
            trunk: self.trunk(rest),
            dialog: Box::new(pair.dialog(rest).clone()),
        };
        cx.index.hand_over(key, Owner::LateAnswers(Box::new(late)));
        let reason = crate::sip::Header::new(HeaderName::Reason, "SIP;cause=487");
        let _ = cx.transactions.cancel(cx.now, key, vec![reason]);
    }
}
