//! PRACKs that pass from the caller to the callee, with the answer to a reliable offer or an offer of their own.

use crate::session::{Rewritten, Side};
use crate::sip::{Message, Method, StatusCode};
use crate::transaction::ServerKey;

use super::{Offer, Phase, Relay, RelayId, in_dialog};
use crate::b2bua::call::{Call, code_of};
use crate::b2bua::context::Context;
use crate::b2bua::ending::Cause;
use crate::b2bua::held::Then;
use crate::b2bua::passing;

/// What a PRACK brings.
enum Brought {
    Nothing,
    Answer(Rewritten),
    Offer(Rewritten),
}

impl Call {
    /// Passes a PRACK on that acknowledges the callee's response with this RSeq.
    pub(in crate::b2bua) fn relay_prack(
        &mut self,
        cx: &mut Context,
        place: usize,
        key: ServerKey,
        prack: Message,
        rseq: u32,
    ) {
        let brought = match self.brought(cx, place, &prack) {
            Ok(brought) => brought,
            Err((code, cause)) => {
                cx.refuse(key, &prack, code);
                // What is refused is the offer or the answer: the response itself is acknowledged.
                self.prack_callee(cx, place, rseq);
                if let Some(cause) = cause {
                    self.hang_up(cx, cause);
                }
                return;
            }
        };
        let (rack, pair) = (self.callee_rack(rseq), self.pairs.get(place));
        let Some(pair) = pair else {
            return cx.refuse(key, &prack, StatusCode::NO_SUCH_CALL);
        };
        let id = RelayId(self.next_relay);
        self.next_relay = self.next_relay.wrapping_add(1);
        cx.index.add_server(key, self.id);
        self.relays.push(Relay {
            id,
            from: Side::A,
            method: Method::Prack,
            tag: pair.caller.local_tag().to_owned(),
            server: key,
            request: prack,
            client: None,
            asked: None,
            rack,
            offer: match brought {
                Brought::Nothing => Offer::None,
                Brought::Answer(_) => Offer::Answer,
                Brought::Offer(_) => Offer::InRequest,
            },
            phase: Phase::Pending,
        });
        match brought {
            Brought::Nothing => self.forward(cx, id, None),
            Brought::Answer(Rewritten { sdp, ticket })
            | Brought::Offer(Rewritten { sdp, ticket }) => {
                self.when_ready(cx, ticket, Then::Forward(id, Some(sdp)));
            }
        }
    }

    /// What the PRACK brings; the code that it is refused with otherwise, and why the call ends, if it does.
    fn brought(
        &mut self,
        cx: &mut Context,
        place: usize,
        prack: &Message,
    ) -> Result<Brought, (StatusCode, Option<Cause>)> {
        let open = self.pairs.get(place).and_then(|pair| pair.talk.open());
        let sdp = passing::sdp_of(prack);
        match (open, sdp) {
            (Some(Side::B), None) => Err((StatusCode::BAD_REQUEST, Some(Cause::NoDescription))),
            (Some(Side::B), Some(sdp)) => match self.answer_in(cx, place, Side::A, sdp) {
                Ok(rewritten) => Ok(Brought::Answer(rewritten)),
                Err(error) => Err((code_of(cx, &error), Some(Cause::BadDescription))),
            },
            (_, None) => Ok(Brought::Nothing),
            (_, Some(sdp)) => {
                if let Some(code) = self.offer_in_the_way(place, Side::A) {
                    return Err((code, None));
                }
                match self.offer_in(cx, place, Side::A, sdp) {
                    Ok(rewritten) => Ok(Brought::Offer(rewritten)),
                    Err(error) => Err((in_dialog(code_of(cx, &error)), None)),
                }
            }
        }
    }

    /// The PRACK with the caller's answer is on its way: the exchange is over.
    pub(super) fn answer_is_out(&mut self, cx: &mut Context, id: RelayId) {
        let relay = self.relays.iter().find(|relay| relay.id == id);
        if let Some(place) = relay.and_then(|relay| self.place_of(&relay.tag)) {
            self.conclude_offer(cx, place);
        }
    }
}
