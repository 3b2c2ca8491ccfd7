//! How calls end: CANCEL, BYE from either side, timer C, or because we say so.

use crate::records::Releaser;
use crate::session::Side;
use crate::sip::{Header, HeaderName, Message, Method, StatusCode};
use crate::story::What;
use crate::transaction::{ClientKey, ServerKey};

use super::account::Cut;
use super::answers::late_answers_acknowledge;
use super::call::Call;
use super::context::Context;
use super::{CallState, Trigger};

/// Why we end a call that neither side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An operator said so.
    Operator,
    /// The appliance is being taken out of service.
    Drain,
    /// A party is silent.
    MediaTimeout,
    /// The caller never acknowledged the answer.
    NoAck,
    /// Nobody has refreshed the session of a leg.
    SessionExpired,
    /// A party has lost the dialog, or does not answer in it any more.
    PeerGone,
    /// An answer that makes no dialog.
    BadAnswer,
    /// A session description that cannot be used, when it was too late to refuse it.
    BadDescription,
    /// A message that had to have a session description had none.
    NoDescription,
    /// The workers had no room for its flows.
    NoRoom,
    /// Its party has a place in another call.
    Transferred,
    /// Something that should hold did not.
    Broken,
}

impl Cause {
    /// The name among the counters.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Drain => "drain",
            Self::MediaTimeout => "media_timeout",
            Self::NoAck => "no_ack",
            Self::SessionExpired => "session_expired",
            Self::PeerGone => "peer_gone",
            Self::BadAnswer => "bad_answer",
            Self::BadDescription => "bad_description",
            Self::NoDescription => "no_description",
            Self::NoRoom => "no_room",
            Self::Transferred => "transferred",
            Self::Broken => "broken",
        }
    }

    /// What the caller is told when it has no answer yet.
    const fn code(self) -> StatusCode {
        match self {
            Self::Operator | Self::MediaTimeout | Self::PeerGone | Self::SessionExpired => {
                StatusCode::TEMPORARILY_UNAVAILABLE
            }
            Self::Drain | Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadAnswer | Self::BadDescription | Self::NoDescription => StatusCode::BAD_GATEWAY,
            Self::NoAck | Self::Broken | Self::Transferred => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }

    /// The Reason (RFC 3326) of the BYE.
    const fn reason(self) -> &'static str {
        match self {
            Self::Operator => "SIP;cause=480;text=\"Ended by the operator\"",
            Self::Drain => "SIP;cause=503;text=\"Out of service\"",
            Self::MediaTimeout => "SIP;cause=408;text=\"No media\"",
            Self::NoAck => "SIP;cause=408;text=\"No ACK\"",
            Self::SessionExpired => "SIP;cause=408;text=\"Session expired\"",
            Self::PeerGone => "SIP;cause=481;text=\"The other side is gone\"",
            Self::BadAnswer => "SIP;cause=502;text=\"Malformed answer\"",
            Self::BadDescription | Self::NoDescription => {
                "SIP;cause=488;text=\"Unusable session description\""
            }
            Self::NoRoom => "SIP;cause=503;text=\"No room for the media\"",
            Self::Transferred => "SIP;cause=200;text=\"Transferred\"",
            Self::Broken => "SIP;cause=500;text=\"Internal error\"",
        }
    }
}

impl Call {
    /// The caller takes its INVITE back.
    pub(super) fn on_cancel(&mut self, cx: &mut Context, cancel: &Message) {
        let reason = cancel.headers.first(&HeaderName::Reason).cloned();
        let cut = Cut::new(
            Releaser::Caller,
            "cancelled",
            StatusCode::REQUEST_TERMINATED,
        );
        self.released(cx, cut, reason.as_ref());
        self.withdraw(
            cx,
            Trigger::CallerCancels,
            StatusCode::REQUEST_TERMINATED,
            reason,
        );
    }

    /// Timer C: the callee has rung for too long.
    pub(super) fn on_no_answer(&mut self, cx: &mut Context) {
        cx.stories
            .tell(cx.now, self.id, What::Note("timer C: nobody has answered"));
        let cut = Cut::new(Releaser::Tandem, "no_answer", StatusCode::REQUEST_TIMEOUT);
        self.released(cx, cut, None);
        self.withdraw(cx, Trigger::NoAnswer, StatusCode::REQUEST_TIMEOUT, None);
    }

    /// Ends the call, wherever it is.
    pub(super) fn hang_up(&mut self, cx: &mut Context, cause: Cause) {
        let reason = Header::new(HeaderName::Reason, cause.reason());
        let code = match self.state() {
            CallState::Answered | CallState::Established => None,
            _ => Some(cause.code()),
        };
        let cut = Cut {
            by: Releaser::Tandem,
            cause: cause.name(),
            code,
        };
        self.released(cx, cut, Some(&reason));
        match self.state() {
            CallState::Answered | CallState::Established => {
                let trigger = match (self.state(), cause) {
                    (CallState::Answered, Cause::NoAck) => Trigger::NoAck,
                    _ => Trigger::HangUp,
                };
                let acknowledged = self.state() == CallState::Established || cause == Cause::NoAck;
                if self.step(trigger) {
                    self.part(cx, cause.name());
                    self.send_bye(cx, Side::B, Some(cause.reason()));
                    match acknowledged {
                        true => self.send_bye(cx, Side::A, Some(cause.reason())),
                        false => self.farewell.owe(Side::A, cause.reason().into()),
                    }
                    self.finish_if_done();
                }
            }
            _ => {
                let reason = Header::new(HeaderName::Reason, cause.reason());
                self.withdraw(cx, Trigger::HangUp, cause.code(), Some(reason));
            }
        }
    }

    /// Ends a call that the caller has no answer of, with this failure.
    pub(super) fn withdraw(
        &mut self,
        cx: &mut Context,
        trigger: Trigger,
        code: StatusCode,
        reason: Option<Header>,
    ) {
        let before = self.state();
        if !self.step(trigger) {
            return;
        }
        self.end_relays(cx);
        self.reject(cx, code);
        match before {
            CallState::Calling | CallState::Ringing => {
                let key = self.attempt.as_ref().and_then(|attempt| attempt.key);
                let cancelled = key.is_some_and(|key| {
                    let reason = reason.into_iter().collect();
                    cx.transactions.cancel(cx.now, key, reason).is_ok()
                });
                if !cancelled {
                    self.step(Trigger::Done);
                }
            }
            CallState::Answering if trigger != Trigger::Bye => {
                let reason = reason.map(|field| field.value().into_owned());
                self.send_bye_with(cx, Side::B, reason.as_deref());
                self.finish_if_done();
            }
            _ => {}
        }
    }

    /// Acknowledges a 2xx of the callee whose offer will have no answer.
    fn pay_ack(&mut self, cx: &mut Context) {
        let attempt = self.attempt.as_ref();
        if attempt.is_some_and(|attempt| attempt.owes_ack) {
            late_answers_acknowledge(self, cx, None);
        }
    }

    /// BYE from one side of a dialog.
    pub(super) fn on_bye(
        &mut self,
        cx: &mut Context,
        side: Side,
        place: usize,
        key: ServerKey,
        bye: &Message,
    ) {
        let mut response = bye.response(StatusCode::OK, None);
        cx.sign(&mut response);
        cx.respond(key, response);
        // A callee that hangs up while its offer waits for an answer has said a 2xx all the same.
        if side == Side::B {
            self.pay_ack(cx);
        }
        let reason = bye.headers.first(&HeaderName::Reason).cloned();
        match (self.state(), side) {
            (CallState::Ringing, Side::A) if self.pairs.len() == 1 => {
                let code = StatusCode::REQUEST_TERMINATED;
                let cut = Cut::new(Releaser::Caller, "cancelled", code);
                self.released(cx, cut, reason.as_ref());
                self.withdraw(cx, Trigger::CallerCancels, code, reason);
            }
            // One early dialog of several ends: the fork behind it is told, and the call goes on. A callee
            // may not end an early dialog at all (RFC 3261 §15): its INVITE will tell.
            (CallState::Ringing, _) => self.drop_fork(cx, side, place, &reason),
            (CallState::Answering, Side::A) => {
                let code = StatusCode::REQUEST_TERMINATED;
                let cut = Cut::new(Releaser::Caller, "cancelled", code);
                self.released(cx, cut, reason.as_ref());
                self.withdraw(cx, Trigger::CallerCancels, code, reason);
            }
            (CallState::Answering, Side::B) => {
                let code = StatusCode::TEMPORARILY_UNAVAILABLE;
                let cut = Cut::new(Releaser::Callee, "bye", code);
                self.released(cx, cut, reason.as_ref());
                self.withdraw(cx, Trigger::Bye, code, None);
            }
            (CallState::Established, _)
                if self.transferor_leaves(cx, side) || self.leaves_loan(cx, side) => {}
            (CallState::Answered | CallState::Established, _) => {
                self.on_final_bye(cx, side, reason.as_ref());
            }
            // Who ends what it has not acknowledged is owed nothing any more. Else byes have crossed: ours is out
            // already, and its answer is on the way.
            (CallState::Ending, _) => {
                self.farewell.take_owed(side);
                self.finish_if_done();
            }
            _ => {}
        }
    }

    pub(super) fn on_final_bye(&mut self, cx: &mut Context, side: Side, reason: Option<&Header>) {
        let acknowledged = self.state() == CallState::Established;
        if !self.step(Trigger::Bye) {
            return;
        }
        let by = match side {
            Side::A => Releaser::Caller,
            Side::B => Releaser::Callee,
        };
        let cut = Cut {
            by,
            cause: "bye",
            code: None,
        };
        self.released(cx, cut, reason);
        self.part(
            cx,
            match side {
                Side::A => "caller",
                Side::B => "callee",
            },
        );
        let reason = reason.map(|field| field.value().into_owned());
        match (side, acknowledged) {
            (Side::B, false) => self.farewell.owe(Side::A, reason.unwrap_or_default()),
            _ => self.send_bye_with(cx, side.other(), reason.as_deref()),
        }
        self.finish_if_done();
    }

    /// The caller never acknowledged the 2xx (RFC 3261 §13.3.1.4).
    pub(super) fn on_no_ack(&mut self, cx: &mut Context) {
        if let Some(reason) = self.farewell.take_owed(Side::A) {
            self.send_bye_with(cx, Side::A, Some(&reason));
            return self.finish_if_done();
        }
        if self.state() == CallState::Answered {
            self.hang_up(cx, Cause::NoAck);
        }
    }

    /// A BYE is answered, or given up.
    pub(super) fn on_bye_done(&mut self, key: ClientKey) {
        self.farewell.byes.retain(|bye| *bye != key);
        self.finish_if_done();
    }

    /// The last step, once nothing is waited for.
    pub(super) fn finish_if_done(&mut self) {
        let done = self.farewell.byes.is_empty() && self.farewell.owed.is_empty();
        if self.state() == CallState::Ending && done {
            self.step(Trigger::Done);
        }
    }

    pub(super) fn send_bye(&mut self, cx: &mut Context, side: Side, reason: Option<&str>) {
        self.send_bye_with(cx, side, reason.map(str::as_bytes));
    }

    pub(super) fn send_bye_with(&mut self, cx: &mut Context, side: Side, reason: Option<&[u8]>) {
        if [self.farewell.departed, self.farewell.given_away].contains(&Some(side)) {
            return;
        }
        if self.farewell.newcomer.is_some_and(|(_, new)| new == side) {
            let reason = reason.unwrap_or_default().to_vec();
            return self.farewell.owe(side, reason);
        }
        if side == Side::B {
            self.pay_ack(cx);
        }
        let trunk = self.trunk(side);
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        let dialog = pair.dialog_mut(side);
        let mut bye = dialog.request(Method::Bye);
        if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
            bye.headers.push(HeaderName::Reason, reason);
        }
        cx.sign(&mut bye);
        if let Some(rules) = cx.normalisation(trunk) {
            rules.explain_end(&mut bye);
        }
        match cx.request_within(Some(self.id), trunk, dialog, bye) {
            Ok(key) => self.farewell.byes.push(key),
            Err(_) => cx.drop_of(self.id, "bye_unsent"),
        }
    }

    /// An answered call comes down: no more media, no more requests.
    fn part(&mut self, cx: &mut Context, why: &'static str) {
        *cx.counters.calls_ended.entry(why).or_default() += 1;
        self.abandon_transfer(cx);
        self.recall_loan(cx);
        self.end_relays(cx);
        self.end_refreshes(cx);
        self.release_media(cx);
    }

    fn drop_fork(&mut self, cx: &mut Context, side: Side, place: usize, reason: &Option<Header>) {
        let trunk = self.trunk(Side::B);
        if place >= self.pairs.len() {
            return;
        }
        let mut pair = self.pairs.remove(place);
        cx.index.remove_tag(pair.caller.local_tag(), self.id);
        self.end_relays_without_dialog(cx);
        if side == Side::B {
            return;
        }
        let mut bye = pair.callee.request(Method::Bye);
        if let Some(reason) = reason {
            bye.headers.append(reason.clone());
        }
        cx.sign(&mut bye);
        if let Some(rules) = cx.normalisation(trunk) {
            rules.explain_end(&mut bye);
        }
        if cx.request_within(None, trunk, &pair.callee, bye).is_err() {
            cx.drop_of(self.id, "bye_unsent");
        }
    }
}
