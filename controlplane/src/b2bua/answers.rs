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
use crate::installer::Ticket;
use crate::records::Outcome;
use crate::session::{Rewritten, SessionError, Side};
use crate::sip::{HeaderName, Message, StatusCode};
use crate::transaction::{ClientKey, Path};

use super::call::{Call, Pair, code_of};
use super::context::Context;
use super::ending::Cause;
use super::held::Then;
use super::index::Owner;
use super::late_answers::{self, LateAnswers};
use super::negotiation::Talk;
use super::reliable::{Arrival, Incoming, Outgoing, Progress};
use super::setup::Setback;
use super::{CallState, Trigger, early_media, passing};

/// The first RSeq is a random number up to this one (RFC 3262 §3: below 2^31), so that there is room above it.
pub(super) const FIRST_RSEQ: u32 = 1 << 30;

/// Why a response of the callee cannot be passed on.
enum Unusable {
    /// Too many forks.
    Forks,
    /// It makes no dialog.
    Malformed,
}

/// How a provisional response goes from the callee to the caller.
#[derive(Clone, Copy)]
struct Way {
    /// The callee gets a PRACK for it.
    acknowledged: bool,
    /// The caller is to send one.
    reliably: bool,
    /// The caller does not hear of its session description.
    hidden: bool,
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
            let mut response = response;
            if let Some(rules) = cx.normalisation(self.trunk(Side::B)) {
                rules.understand(&mut response);
            }
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
            Err(Unusable::Forks) => return cx.drop_of(self.id, "too_many_forks"),
            Err(Unusable::Malformed) => return cx.drop_of(self.id, "provisional_malformed"),
        };
        if let Some(attempt) = &self.attempt {
            let until = (cx.now + cx.settings.no_answer).min(attempt.rings_until);
            cx.timers.set(self.id, until);
        }
        self.step(Trigger::Provisional);
        if let Some(code) = response.code() {
            self.account.rings(cx.now, code);
        }
        let owed = match self.arrival(place, response) {
            Arrival::Plain => None,
            Arrival::Reliable(rseq) => Some(rseq),
            Arrival::Void(why) => return cx.drop_of(self.id, why),
        };
        let reliably = self.goes_reliably(owed.is_some());
        if let Some(rseq) = owed.filter(|_| !reliably) {
            self.prack_callee(cx, place, rseq);
        }
        let mut passed = self.mirrored(cx, place, response);
        let hidden = self.has_offer() && self.hides_early_media(cx, place, response);
        let way = Way {
            acknowledged: owed.is_some(),
            reliably,
            hidden,
        };
        let described = self.describe_progress(cx, place, response, way);
        if hidden && passing::sdp_of(response).is_some() {
            early_media::ring(&mut passed);
        }
        let describes = described.is_some();
        let ticket = described.and_then(|Rewritten { sdp, ticket }| {
            passing::set_sdp(&mut passed, sdp);
            ticket
        });
        let tag = self
            .pairs
            .get(place)
            .map(|pair| pair.caller.local_tag().to_owned());
        let progress = Progress {
            response: passed,
            describes,
            owed,
        };
        let then = Then::Provisional(tag.unwrap_or_default(), progress);
        self.when_ready(cx, ticket, then);
    }

    /// The session description of a provisional response, for the caller: an answer, or the offer that the
    /// INVITE asked for. `None` where there is none, or nothing that may be passed on.
    fn describe_progress(
        &mut self,
        cx: &mut Context,
        place: usize,
        response: &Message,
        way: Way,
    ) -> Option<Rewritten> {
        let sdp = passing::sdp_of(response)?;
        let answers = self.has_offer();
        let talk = &self.pairs.get(place)?.talk;
        let rewritten = match answers {
            // What follows the answer is void (RFC 3261 §13.2.1).
            true if talk.is_settled(Side::B) => return None,
            true => self.answer_in(cx, place, Side::B, sdp),
            // Only what is acknowledged can be an offer.
            false
                if !way.acknowledged
                    || !way.reliably
                    || talk.is_complete()
                    || talk.open().is_some() =>
            {
                return None;
            }
            false => self.offer_in(cx, place, Side::B, sdp),
        };
        let rewritten = match rewritten {
            Ok(rewritten) => rewritten,
            // No offer was accepted by a provisional response yet: the 2xx will say again.
            Err(error) => {
                code_of(cx, &error);
                return None;
            }
        };
        let talk = &mut self.pairs.get_mut(place)?.talk;
        if way.acknowledged && answers {
            talk.settle(Side::B);
        }
        // An answer that is acknowledged is said once.
        let told = answers && (talk.told || way.hidden);
        talk.told |= answers && way.reliably && !way.hidden;
        (!told).then_some(rewritten)
    }

    fn on_answer(&mut self, cx: &mut Context, key: ClientKey, response: &Message, path: Path) {
        let (place, readable) = match self.fork(cx, response, path, true) {
            Ok(place) => (Some(place), true),
            Err(_) => (self.unreadable_fork(cx, response, path), false),
        };
        let Some(place) = place else {
            return;
        };
        self.drop_pick_up(cx, StatusCode::BUSY_HERE);
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
        let complete = self
            .pairs
            .first()
            .is_some_and(|pair| pair.talk.is_complete());
        if self.has_offer() || complete {
            late_answers_acknowledge(self, cx, None);
        } else if let Some(attempt) = &mut self.attempt {
            attempt.owes_ack = true;
        }
        let mut passed = self.mirrored(cx, 0, response);
        self.time_answer(cx, response, &mut passed);
        match self.describe_answer(cx, response, &mut passed) {
            Ok(ticket) => self.when_ready(cx, ticket, Then::Answer(passed)),
            Err(cause) => self.hang_up(cx, cause),
        }
    }

    /// Gives the 2xx for the caller its session description, unless all has been said before.
    fn describe_answer(
        &mut self,
        cx: &mut Context,
        response: &Message,
        passed: &mut Message,
    ) -> Result<Option<Ticket>, Cause> {
        let talk = &self.pairs.first().ok_or(Cause::Broken)?.talk;
        let unusable = |cx: &mut Context, error: SessionError| {
            code_of(cx, &error);
            Cause::BadDescription
        };
        if talk.is_complete() {
            let led = self.lead_to(cx, 0);
            return led.map_err(|error| unusable(cx, error));
        }
        // On the callee's leg the answer may have been final already; then the 2xx says nothing new.
        let fresh = passing::sdp_of(response).filter(|_| !talk.is_settled(Side::B));
        let sdp = fresh.or(talk.heard()).ok_or(Cause::NoDescription)?.to_vec();
        let told = talk.is_settled(Side::A);
        let rewritten = match self.has_offer() {
            true => self.answer_in(cx, 0, Side::B, &sdp),
            false => self.offer_in(cx, 0, Side::B, &sdp),
        };
        let rewritten = rewritten.map_err(|error| unusable(cx, error))?;
        if !told {
            passing::set_sdp(passed, rewritten.sdp);
        }
        Ok(rewritten.ticket)
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

    /// The 2xx leaves for the caller, once what it may not overtake is acknowledged.
    pub(super) fn send_answer(&mut self, cx: &mut Context, response: Message) {
        if let Some(response) = self.hold_answer(cx, response) {
            self.deliver_answer(cx, response);
        }
    }

    /// The 2xx leaves for the caller.
    pub(super) fn deliver_answer(&mut self, cx: &mut Context, response: Message) {
        if self.step(Trigger::FlowsReady) {
            self.give_answer(cx, response);
        }
    }

    pub(super) fn give_answer(&mut self, cx: &mut Context, response: Message) {
        if !cx.respond(self.caller.key, response) {
            return self.hang_up(cx, Cause::Broken);
        }
        cx.counters.calls_answered += 1;
        self.start_timers(cx);
        match self
            .pairs
            .first()
            .is_some_and(|pair| pair.talk.is_complete())
        {
            true => self.confirm_media(cx, 0),
            false if self.has_offer() => self.conclude_offer(cx, 0),
            false => {}
        }
    }

    /// The caller's ACK.
    pub(super) fn on_caller_ack(&mut self, cx: &mut Context, ack: &Message) {
        if let Some(reason) = self.farewell.take_owed(Side::A) {
            self.send_bye_with(cx, Side::A, Some(&reason));
            return self.finish_if_done();
        }
        let owed = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.owes_ack);
        if !self.step(Trigger::Ack) || !owed {
            return;
        }
        let Some(sdp) = passing::sdp_of(ack) else {
            return self.hang_up(cx, Cause::NoDescription);
        };
        match self.answer_in(cx, 0, Side::A, sdp) {
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
            self.conclude_offer(cx, 0);
        } else {
            self.hang_up(cx, Cause::Broken);
        }
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
        cx.index.hand_over(key, Owner::LateAnswers(Box::new(late)));
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
            early_media_granted: false,
            talk: Talk::new(passing::sdp_of(&self.caller.invite)),
            outgoing: Outgoing::new(cx.tokens.up_to(FIRST_RSEQ)),
            incoming: Incoming::default(),
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
        cx.drop_of(self.id, "answer_malformed");
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
        cx.cross(self.way_from(Side::B), response, &mut passed);
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
    late_answers::acknowledge(cx, key, attempt.target.trunk, &pair.callee, sdp)
}
