//! What the callee says to the INVITE: early dialogs, the answer, and its acknowledgement.
//!
//! ```text
//!   caller        tandem         proxy that forks     callees
//!     │◄─ 180;tag=x ─│◄─ 180;tag=1 ─────│◄──────────── 1      each early dialog of the callee's side
//!     │◄─ 183;tag=y ─│◄─ 183;tag=2 ─────│◄──────────── 2      has its mirror on the caller's side
//!     │◄─ 200;tag=y ─│◄─ 200;tag=2 ─────│◄──────────── 2      the first 2xx wins
//!     │── ACK ──────►│─── ACK ─────────►│             1      a later one is acknowledged and ended
//! ```

use crate::dialog::Dialog;
use crate::records::Outcome;
use crate::session::Side;
use crate::sip::{HeaderName, Message, StatusCode};
use crate::transaction::{ClientKey, Path};

use super::call::{Call, Pair, code_of};
use super::context::Context;
use super::ending::Cause;
use super::held::Then;
use super::index::Owner;
use super::late_answers::{self, LateAnswers};
use super::setup::Setback;
use super::{CallState, Trigger, passing};

/// Why a response of the callee cannot be passed on.
enum Unusable {
    /// Too many forks.
    Forks,
    /// It makes no dialog.
    Malformed,
}

impl Call {
    /// A response to the callee's INVITE.
    pub(super) fn on_invite_response(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        response: Message,
        path: Path,
    ) {
        let Some(code) = response.code() else {
            return;
        };
        self.heard_target(cx, &response);
        if code == StatusCode::TRYING {
            return;
        }
        if code.is_failure() {
            return self.on_setback(cx, Setback::Response(response));
        }
        match (code.is_provisional(), self.state()) {
            (true, CallState::Calling | CallState::Ringing) => {
                self.on_provisional(cx, &response, path);
            }
            (false, CallState::Calling | CallState::Ringing) => {
                self.on_answer(cx, key, &response, path);
            }
            (false, CallState::Cancelling) => self.on_crossed_answer(cx, key, &response, path),
            _ => {}
        }
    }

    fn on_provisional(&mut self, cx: &mut Context, response: &Message, path: Path) {
        let place = match self.fork(cx, response, path, false) {
            Ok(place) => place,
            Err(Unusable::Forks) => return cx.count_dropped("too_many_forks"),
            Err(Unusable::Malformed) => return cx.count_dropped("provisional_malformed"),
        };
        if let Some(attempt) = &self.attempt {
            let until = (cx.now + cx.settings.no_answer).min(attempt.rings_until);
            cx.timers.set(self.id, until);
        }
        self.step(Trigger::Provisional);
        if let Some(code) = response.code() {
            self.account.rings(cx.now, code);
        }
        let mut passed = self.mirrored(cx, place, response);
        let mut ticket = None;
        if let (Some(sdp), Some(session), true) =
            (passing::sdp_of(response), self.session, self.has_offer())
        {
            match cx.engine.answer(cx.now, session, Side::B, sdp) {
                Ok(rewritten) => {
                    ticket = rewritten.ticket;
                    passing::set_sdp(&mut passed, rewritten.sdp);
                    if let Some(pair) = self.pairs.get_mut(place) {
                        pair.answer = Some(sdp.to_vec());
                    }
                }
                // No offer was accepted by a provisional response yet: the 2xx will say again.
                Err(error) => {
                    code_of(cx, &error);
                }
            }
        }
        self.when_ready(cx, ticket, Then::Provisional(passed));
    }

    fn on_answer(&mut self, cx: &mut Context, key: ClientKey, response: &Message, path: Path) {
        let (place, readable) = match self.fork(cx, response, path, true) {
            Ok(place) => (Some(place), true),
            Err(_) => (self.unreadable_fork(cx, response, path), false),
        };
        let Some(place) = place else {
            return;
        };
        self.retain_pair(cx, Some(place));
        self.settle_invite(cx, key);
        cx.timers.clear(self.id);
        self.answered = Some(cx.now);
        let code = response.code().map_or(0, StatusCode::as_u16);
        self.account.outcome(Outcome::Code(code));
        self.step(Trigger::Answer);
        if !readable {
            late_answers_acknowledge(self, cx, None);
            return self.hang_up(cx, Cause::BadAnswer);
        }
        if self.has_offer() {
            late_answers_acknowledge(self, cx, None);
        } else if let Some(attempt) = &mut self.attempt {
            attempt.owes_ack = true;
        }
        let mut passed = self.mirrored(cx, 0, response);
        let sdp = passing::sdp_of(response)
            .map(<[u8]>::to_vec)
            .or_else(|| self.pairs.first().and_then(|pair| pair.answer.clone()));
        let (Some(sdp), Some(session)) = (sdp, self.session) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        let rewritten = match self.has_offer() {
            true => cx.engine.answer(cx.now, session, Side::B, &sdp),
            false => cx.engine.offer(cx.now, session, Side::B, &sdp),
        };
        match rewritten {
            Ok(rewritten) => {
                self.open_offer = (!self.has_offer()).then_some(Side::B);
                passing::set_sdp(&mut passed, rewritten.sdp);
                self.when_ready(cx, rewritten.ticket, Then::Answer(passed));
            }
            Err(error) => {
                code_of(cx, &error);
                self.hang_up(cx, Cause::BadDescription);
            }
        }
    }

    /// The 2xx and our CANCEL crossed: the callee has a dialog that nobody wants.
    fn on_crossed_answer(
        &mut self,
        cx: &mut Context,
        key: ClientKey,
        response: &Message,
        path: Path,
    ) {
        let place = match self.fork(cx, response, path, true) {
            Ok(place) => Some(place),
            Err(_) => self.unreadable_fork(cx, response, path),
        };
        let Some(place) = place else {
            return;
        };
        self.retain_pair(cx, Some(place));
        self.settle_invite(cx, key);
        self.step(Trigger::Answer);
        late_answers_acknowledge(self, cx, None);
        self.send_bye(cx, Side::B, None);
        self.finish_if_done();
    }

    /// The 2xx leaves for the caller.
    pub(super) fn send_answer(&mut self, cx: &mut Context, response: Message) {
        if !self.step(Trigger::FlowsReady) {
            return;
        }
        if !cx.respond(self.caller.key, response) {
            return self.hang_up(cx, Cause::Broken);
        }
        cx.counters.calls_answered += 1;
        if self.has_offer() {
            self.conclude_offer(cx);
        }
    }

    /// The caller's ACK.
    pub(super) fn on_caller_ack(&mut self, cx: &mut Context, ack: &Message) {
        if let Some(reason) = self.farewell.owed.take() {
            self.send_bye_with(cx, Side::A, Some(&reason));
            return self.finish_if_done();
        }
        if !self.step(Trigger::Ack) || self.has_offer() {
            return;
        }
        let (Some(sdp), Some(session)) = (passing::sdp_of(ack), self.session) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        match cx.engine.answer(cx.now, session, Side::A, sdp) {
            Ok(rewritten) => {
                self.when_ready(cx, rewritten.ticket, Then::Acknowledge(rewritten.sdp));
            }
            Err(error) => {
                code_of(cx, &error);
                self.hang_up(cx, Cause::BadDescription);
            }
        }
    }

    /// The flows of the caller's answer are there: the callee's 2xx is acknowledged with it.
    pub(super) fn acknowledge_callee(&mut self, cx: &mut Context, sdp: Option<Vec<u8>>) {
        if late_answers_acknowledge(self, cx, sdp) {
            self.conclude_offer(cx);
        } else {
            self.hang_up(cx, Cause::Broken);
        }
    }

    /// The exchange of session descriptions is final.
    pub(super) fn conclude_offer(&mut self, cx: &mut Context) {
        self.open_offer = None;
        if let Some(session) = self.session
            && let Err(error) = cx.engine.confirm(cx.now, session)
        {
            code_of(cx, &error);
        }
        self.measure_media(cx);
    }

    /// From now on every further 2xx to the INVITE is acknowledged and ended.
    fn settle_invite(&mut self, cx: &mut Context, key: ClientKey) {
        let (Some(attempt), Some(winner)) = (&self.attempt, self.pairs.first()) else {
            return;
        };
        let late = LateAnswers::Forks {
            trunk: attempt.target.trunk,
            invite: Box::new(attempt.invite.clone()),
            settled: vec![winner.callee.remote_tag().to_owned()],
        };
        cx.index.add_client(key, Owner::LateAnswers(Box::new(late)));
    }

    /// The place of the fork that the response belongs to: made if it is new, and there is room or
    /// it has won.
    fn fork(
        &mut self,
        cx: &mut Context,
        response: &Message,
        path: Path,
        won: bool,
    ) -> Result<usize, Unusable> {
        let tag = response.to().map_err(|_| Unusable::Malformed)?;
        let tag = tag.tag().unwrap_or_default();
        let known = self
            .pairs
            .iter()
            .position(|pair| pair.callee.remote_tag() == tag);
        if let Some(place) = known {
            if let Some(pair) = self.pairs.get_mut(place) {
                match won {
                    true => pair.callee.confirm(response),
                    false => pair.callee.refresh_target(response),
                }
            }
            return Ok(place);
        }
        if !won && self.pairs.len() >= cx.settings.limits.forks {
            return Err(Unusable::Forks);
        }
        let Some(attempt) = &self.attempt else {
            return Err(Unusable::Malformed);
        };
        let callee =
            Dialog::of_client(&attempt.invite, response, path).map_err(|_| Unusable::Malformed)?;
        let tag = cx.tokens.tag();
        let caller = Dialog::of_server(&self.caller.invite, &tag, self.caller.path)
            .map_err(|_| Unusable::Malformed)?;
        cx.index.add_tag(&tag, self.id, Side::A);
        self.pairs.push(Pair {
            caller,
            callee,
            answer: None,
        });
        Ok(self.pairs.len() - 1)
    }

    /// The place of the fork of a 2xx whose Contact or Record-Route cannot be read. The callee believes in
    /// its dialog all the same: it gets its ACK and BYE where the 2xx came from.
    fn unreadable_fork(
        &mut self,
        cx: &mut Context,
        response: &Message,
        path: Path,
    ) -> Option<usize> {
        cx.count_dropped("answer_malformed");
        let mut bare = response.clone();
        bare.headers.remove(&HeaderName::Contact);
        bare.headers.remove(&HeaderName::RecordRoute);
        self.fork(cx, &bare, path, true).ok()
    }

    /// The callee's response in the caller's dialog, without body.
    fn mirrored(&self, cx: &Context, place: usize, response: &Message) -> Message {
        let invite = &self.caller.invite;
        let tag = self
            .pairs
            .get(place)
            .map_or(&*self.caller.tag, |pair| pair.caller.local_tag());
        let mut passed = passing::response(invite, Some(tag), response);
        passing::record_routes(invite, &mut passed);
        cx.introduce(&mut passed, self.caller.path.listener);
        passed
    }
}

/// ACK for the callee's 2xx. False when its transaction is gone.
pub(super) fn late_answers_acknowledge(
    call: &mut Call,
    cx: &mut Context,
    sdp: Option<Vec<u8>>,
) -> bool {
    let (Some(attempt), Some(pair)) = (&mut call.attempt, call.pairs.first()) else {
        return false;
    };
    attempt.owes_ack = false;
    let Some(key) = attempt.key else {
        return false;
    };
    /// The INVITE that begins a call is the first request of its dialog.
    const FIRST: u32 = 1;
    late_answers::acknowledge(cx, key, attempt.target.trunk, &pair.callee, FIRST, sdp)
}
