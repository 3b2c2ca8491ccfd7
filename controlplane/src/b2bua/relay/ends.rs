//! How relays end otherwise than by an answer: taken back, failed, or because the call comes down.

use crate::sip::{HeaderName, Message, Method, StatusCode};
use crate::transaction::ServerKey;

use super::{Offer, Phase, Relay, RelayId};
use crate::b2bua::CallState;
use crate::b2bua::call::Call;
use crate::b2bua::context::Context;
use crate::b2bua::ending::Cause;
use crate::b2bua::index::Owner;
use crate::b2bua::late_answers::LateAnswers;

impl Call {
    /// The one who asked takes its re-INVITE back. What the other side makes of that decides: it may
    /// have agreed already.
    pub(in crate::b2bua) fn on_relay_cancel(
        &mut self,
        cx: &mut Context,
        key: ServerKey,
        cancel: &Message,
    ) {
        let Some(relay) = self
            .relays
            .iter_mut()
            .find(|relay| relay.server == key && relay.phase == Phase::Pending)
        else {
            return;
        };
        let id = relay.id;
        let Some(client) = relay.client else {
            return self.fail_relay(cx, id, StatusCode::REQUEST_TERMINATED);
        };
        relay.phase = Phase::Cancelled;
        let reason = cancel.headers.first(&HeaderName::Reason).cloned();
        // Too late means that the 2xx is here already and waits for its flows: it will be passed on.
        let _ = cx
            .transactions
            .cancel(cx.now, client, reason.into_iter().collect());
    }

    /// No ACK came for a re-INVITE's 2xx. True if the transaction was a relay's.
    pub(in crate::b2bua) fn on_relay_no_ack(&mut self, cx: &mut Context, key: ServerKey) -> bool {
        let known = self.relays.iter().any(|relay| relay.server == key);
        if known {
            self.hang_up(cx, Cause::NoAck);
        }
        known
    }

    /// Answers the one who asked with a failure of our own, and puts the session back.
    pub(in crate::b2bua) fn fail_relay(&mut self, cx: &mut Context, id: RelayId, code: StatusCode) {
        let Some(place) = self.relays.iter().position(|relay| relay.id == id) else {
            return;
        };
        self.acknowledge_unanswered(cx, place);
        let relay = self.relays.remove(place);
        cx.refuse(relay.server, &relay.request, code);
        self.take_offer_back(cx, &relay);
    }

    /// The call comes down: pending requests are answered with 487 (RFC 3261 §15.1.2). A re-INVITE that is out on the
    /// other leg is taken back, and a 2xx that has crossed with that acknowledged; everything else ends by itself.
    pub(in crate::b2bua) fn end_relays(&mut self, cx: &mut Context) {
        while !self.relays.is_empty() {
            self.acknowledge_unanswered(cx, 0);
            let relay = self.relays.remove(0);
            if relay.phase != Phase::AwaitsAck {
                cx.refuse(relay.server, &relay.request, StatusCode::REQUEST_TERMINATED);
            }
            let (Method::Invite, Phase::Pending | Phase::Cancelled) = (&relay.method, relay.phase)
            else {
                continue;
            };
            let to = relay.from.other();
            let (Some(key), Some(pair)) = (relay.client, self.pairs.first()) else {
                continue;
            };
            let late = LateAnswers::InDialog {
                trunk: self.trunk(to),
                dialog: Box::new(pair.dialog(to).clone()),
            };
            cx.index.hand_over(key, Owner::LateAnswers(Box::new(late)));
            // Cancelled before, or over already: then there is nothing left to take back.
            let _ = cx.transactions.cancel(cx.now, key, Vec::new());
        }
    }

    /// Early dialogs have ended (another fork has answered, the next target is tried): requests that are on
    /// their way within them find none any more. No offer is among them: the INVITE's own is still open.
    pub(in crate::b2bua) fn end_relays_without_dialog(&mut self, cx: &mut Context) {
        let pairs = &self.pairs;
        let lost = |relay: &mut Relay| {
            let mut tags = pairs.iter().map(|pair| pair.caller.local_tag());
            !tags.any(|tag| tag == relay.tag)
        };
        for relay in self.relays.extract_if(.., lost) {
            cx.refuse(relay.server, &relay.request, StatusCode::NO_SUCH_CALL);
        }
    }

    /// Acknowledges a re-INVITE's 2xx whose offer will have no answer.
    fn acknowledge_unanswered(&mut self, cx: &mut Context, place: usize) {
        let Some(relay) = self.relays.get(place) else {
            return;
        };
        let answered = matches!(relay.phase, Phase::Answered | Phase::AwaitsAck);
        if answered && relay.offer == Offer::InResponse {
            self.acknowledge_relay(cx, relay.id, None);
        }
    }

    /// 481 and 408 to a request that keeps the dialog alive mean that the dialog is gone (RFC 3261
    /// §12.2.1.2, RFC 5057). While it rings, only the INVITE decides: there may be other early dialogs.
    pub(super) fn end_if_gone(&mut self, cx: &mut Context, relay: &Relay, code: StatusCode) {
        let gone = match code {
            // Of NOTIFY it may be the subscription alone that is gone (RFC 5057 §5.1).
            StatusCode::NO_SUCH_CALL => relay.method != Method::Notify,
            StatusCode::REQUEST_TIMEOUT => relay.keeps_alive(),
            _ => false,
        };
        if gone {
            self.peer_gone(cx);
        }
    }

    pub(in crate::b2bua) fn peer_gone(&mut self, cx: &mut Context) {
        if matches!(self.state(), CallState::Answered | CallState::Established) {
            self.hang_up(cx, Cause::PeerGone);
        }
    }

    pub(super) fn take_offer_back(&mut self, cx: &mut Context, relay: &Relay) {
        if matches!(relay.offer, Offer::None | Offer::Answer) {
            return;
        }
        let place = self.place_of(&relay.tag);
        let open = |place: &usize| {
            let pair = self.pairs.get(*place);
            pair.is_some_and(|pair| pair.talk.open().is_some())
        };
        if let Some(place) = place.filter(open) {
            self.reject_in(cx, place);
        }
    }
}
