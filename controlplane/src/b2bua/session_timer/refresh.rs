//! Our own refreshes: UPDATE without a description where the peer takes it, else re-INVITE with the description that
//! it was sent last (RFC 4028 §7.4), and what comes of them.

use std::time::Duration;

use crate::session::Side;
use crate::sip::{Message, Method, StatusCode};
use crate::transaction::ClientKey;

use super::super::CallState;
use super::super::call::{Call, code_of};
use super::super::context::Context;
use super::super::ending::Cause;
use super::super::index::Owner;
use super::super::late_answers::{self, LateAnswers};
use super::super::passing;
use super::super::service::retry_after;
use super::leg;

/// Our request within the dialog of one leg.
#[derive(Debug)]
pub(in crate::b2bua) struct Refresh {
    key: ClientKey,
    request: Message,
}

impl Call {
    /// The side whose refresh the transaction is.
    pub(in crate::b2bua) fn refreshes(&self, key: ClientKey) -> Option<Side> {
        let is = |refresh: &Option<Refresh>| refresh.as_ref().is_some_and(|known| known.key == key);
        if is(&self.timers.caller.refresh) {
            return Some(Side::A);
        }
        is(&self.timers.callee.refresh).then_some(Side::B)
    }

    /// Sends the refresh that is due; where another request is in the way, after a pause.
    pub(super) fn refresh(&mut self, cx: &mut Context, side: Side) {
        let updates = self.timers.of(side).updates;
        // An INVITE that is on its way refreshes by itself, and no offer may be made beside it.
        let free = self.state() == CallState::Established && !self.exchanges();
        if !updates && !free {
            return self.pause_for_glare(cx, side);
        }
        let sdp = match updates {
            true => None,
            false => match self.description_again(cx, side) {
                Some(sdp) => Some(sdp),
                None => return self.pause_for_glare(cx, side),
            },
        };
        let trunk = self.trunk(side);
        let Some(pair) = self.pairs.first_mut() else {
            return;
        };
        let dialog = pair.dialog_mut(side);
        let mut request = dialog.request(match updates {
            true => Method::Update,
            false => Method::Invite,
        });
        let listener = cx.path_of(trunk, dialog).listener;
        cx.introduce(&mut request, listener);
        self.time_request(cx, side, None, &mut request);
        if let Some(sdp) = sdp {
            passing::set_sdp(&mut request, sdp);
        }
        let Some(pair) = self.pairs.first() else {
            return;
        };
        match cx.request_within(Some(self.id), trunk, pair.dialog(side), request.clone()) {
            Ok(key) => {
                cx.counters.sessions_refreshed += 1;
                let text = format!("the session of {} is being refreshed", leg(side));
                cx.tell_timer(self.id, text);
                let leg = self.timers.of(side);
                leg.refresh = Some(Refresh { key, request });
            }
            Err(_) => self.on_refresh_refused(cx, side, None),
        }
    }

    /// The description that this side was sent last, as an offer. What the other side has said is offered once more,
    /// so it is the same to the letter unless the first exchange was the other way round and muxed.
    fn description_again(&mut self, cx: &mut Context, side: Side) -> Option<Vec<u8>> {
        let said = self.pairs.first()?.talk.said(side.other())?.to_vec();
        match self.offer_in(cx, 0, side.other(), &said) {
            Ok(rewritten) => Some(rewritten.sdp),
            Err(error) => {
                code_of(cx, &error);
                None
            }
        }
    }

    /// A response to our refresh.
    pub(in crate::b2bua) fn on_refresh_response(
        &mut self,
        cx: &mut Context,
        side: Side,
        response: &Message,
    ) {
        let Some(code) = response.code().filter(|code| code.is_final()) else {
            return;
        };
        let Some(refresh) = self.timers.of(side).refresh.take() else {
            return;
        };
        if code.is_success() {
            return self.on_refreshed(cx, side, &refresh, response);
        }
        self.take_refresh_back(cx, &refresh);
        match code {
            StatusCode::REQUEST_PENDING => self.pause_for_glare(cx, side),
            StatusCode::REQUEST_TIMEOUT | StatusCode::NO_SUCH_CALL => {
                self.timers.of(side).clock.gone();
                self.hang_up(cx, Cause::PeerGone);
            }
            StatusCode::INTERVAL_TOO_SMALL => {
                let least = response.min_se().unwrap_or_default();
                let raised = self.timers.of(side).raise(least);
                self.on_refresh_refused(cx, side, raised.then_some(Duration::ZERO));
            }
            // It says that it takes UPDATE, and does not.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                let leg = self.timers.of(side);
                let other = std::mem::replace(&mut leg.updates, false);
                self.on_refresh_refused(cx, side, other.then_some(Duration::ZERO));
            }
            _ => {
                self.on_refresh_refused(cx, side, retry_after(response));
            }
        }
    }

    /// No response came, or the refresh could not be sent.
    pub(in crate::b2bua) fn on_refresh_lost(&mut self, cx: &mut Context, side: Side) {
        if let Some(refresh) = self.timers.of(side).refresh.take() {
            self.take_refresh_back(cx, &refresh);
        }
        self.timers.of(side).clock.gone();
        self.hang_up(cx, Cause::PeerGone);
    }

    fn on_refreshed(
        &mut self,
        cx: &mut Context,
        side: Side,
        refresh: &Refresh,
        response: &Message,
    ) {
        let trunk = self.trunk(side);
        if let Some(pair) = self.pairs.first_mut() {
            pair.dialog_mut(side).refresh_target(response);
        }
        let asked = refresh.request.session_expires().ok();
        self.time_learn(cx, side, asked, response);
        if refresh.request.method() != Some(&Method::Invite) {
            return;
        }
        if let Some(pair) = self.pairs.first() {
            late_answers::acknowledge(cx, refresh.key, trunk, pair.dialog(side), None);
        }
        let answer = passing::sdp_of(response).map(|sdp| self.answer_in(cx, 0, side, sdp));
        match answer {
            Some(Ok(_)) => self.conclude_offer(cx, 0),
            Some(Err(error)) => {
                code_of(cx, &error);
                self.hang_up(cx, Cause::BadDescription);
            }
            None => self.reject_in(cx, 0),
        }
    }

    fn on_refresh_refused(&mut self, cx: &mut Context, side: Side, pause: Option<Duration>) {
        let now = cx.now;
        let text = format!("the refresh of {} has failed: once more later", leg(side));
        cx.tell_timer(self.id, text);
        self.timers.of(side).clock.refused(now, pause);
        self.set_session_alarm(cx, side);
    }

    fn pause_for_glare(&mut self, cx: &mut Context, side: Side) {
        let Some(pair) = self.pairs.first() else {
            return;
        };
        let pause = cx.glare_pause(pair.dialog(side));
        let text = format!(
            "the refresh of {} waits: another exchange is in the way",
            leg(side)
        );
        cx.tell_timer(self.id, text);
        let now = cx.now;
        self.timers.of(side).clock.glare(now, pause);
        self.set_session_alarm(cx, side);
    }

    fn take_refresh_back(&mut self, cx: &mut Context, refresh: &Refresh) {
        if refresh.request.method() == Some(&Method::Invite) {
            self.reject_in(cx, 0);
        }
    }

    /// The call comes down: a re-INVITE that is out is left to end by itself.
    pub(in crate::b2bua) fn end_refreshes(&mut self, cx: &mut Context) {
        for side in [Side::A, Side::B] {
            let Some(refresh) = self.timers.of(side).refresh.take() else {
                continue;
            };
            let (Some(Method::Invite), Some(pair)) = (refresh.request.method(), self.pairs.first())
            else {
                continue;
            };
            let late = LateAnswers::InDialog {
                trunk: self.trunk(side),
                dialog: Box::new(pair.dialog(side).clone()),
            };
            cx.index
                .hand_over(refresh.key, Owner::LateAnswers(Box::new(late)));
            let _ = cx.transactions.cancel(cx.now, refresh.key, Vec::new());
        }
    }
}
